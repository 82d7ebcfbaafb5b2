//! The serving certificate: what each handshake gets, and the two ways it comes about.
//!
//! - `files`: somebody else makes it and mounts it; we read the files again and again.
//! - By itself: `authority` makes certificates, `keyring` is what the Secret and the `caBundle` hold of them, `steps` decides
//!   what is to be done next, `upkeep` asks for it call by call, and `cluster` makes the calls.

mod authority;
mod cluster;
mod files;
mod keyring;
mod steps;
mod upkeep;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwapOption;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::task::JoinSet;
use x509_parser::certificate::X509Certificate;

use super::metrics::Metrics;

pub(super) use cluster::Cluster;
#[cfg(test)]
pub(super) use cluster::tests::answering;
pub use cluster::{ByItself, ClusterError};
pub use files::CertificateError;
pub(super) use files::{CertificateFiles, poll};
pub(super) use upkeep::{Upkeep, keep};

/// The certificate that each new handshake gets. None at first, where it is ours to make.
#[derive(Debug, Default)]
pub(super) struct Certificate(ArcSwapOption<Served>);

/// What is served, and what of it the probes need to know.
#[derive(Debug, Clone)]
pub(super) struct Served {
    key: Arc<CertifiedKey>,
    not_after: SystemTime,
}

impl Certificate {
    pub(super) fn serve(&self, served: Served, metrics: &Metrics) {
        metrics.show_certificate_expiry(served.not_after);
        self.0.store(Some(Arc::new(served)));
    }

    /// When it runs out, where there is one.
    pub(super) fn not_after(&self) -> Option<SystemTime> {
        self.0.load().as_ref().map(|served| served.not_after)
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.load().as_ref().map(|served| served.key.clone())
    }
}

/// After a fault, before it begins anew: a fault that comes again at once shall not fill the log.
const PAUSE_AFTER_FAULT: Duration = Duration::from_secs(15);

/// Runs what looks after the certificate, which has no end, and starts it anew where it ends all the same. Dropped, it
/// takes that with it.
pub(super) async fn without_end<F>(metrics: Arc<Metrics>, mut start: impl FnMut() -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    loop {
        let mut task = JoinSet::new();
        task.spawn(start());
        task.join_next().await;
        metrics.panics.inc();
        tracing::error!(
            pause = %humantime::format_duration(PAUSE_AFTER_FAULT),
            "a fault of podkey's own ended what looks after the certificate: please report it. Serving goes on, and it begins anew after a pause"
        );
        tokio::time::sleep(PAUSE_AFTER_FAULT).await;
    }
}

/// TLS 1.2 and 1.3, HTTP/1.1 (the API server asks for nothing else), no session resumption: the API server keeps its
/// connections, and tickets would be work on each new one for nothing.
pub(super) fn server_config(certificate: Arc<Certificate>) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(certificate);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// From when to when a certificate is valid. What is before 1970 counts as 1970.
fn validity(certificate: &X509Certificate<'_>) -> (SystemTime, SystemTime) {
    let validity = certificate.validity();
    let time = |seconds: i64| UNIX_EPOCH + Duration::from_secs(seconds.try_into().unwrap_or(0));
    (
        time(validity.not_before.timestamp()),
        time(validity.not_after.timestamp()),
    )
}

#[cfg(test)]
mod simulation;

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_fault_does_not_end_looking_after_the_certificate() {
        let metrics = Arc::new(Metrics::new());
        let (started, alive) = (Arc::new(AtomicU32::new(0)), Arc::new(()));
        let start = {
            let (started, alive) = (started.clone(), alive.clone());
            move || {
                let (turn, alive) = (started.fetch_add(1, Ordering::Relaxed), alive.clone());
                async move {
                    match turn {
                        0 => panic!("a fault"),
                        1 => {}
                        _ => std::future::pending().await,
                    }
                    drop(alive);
                }
            }
        };
        let task = tokio::spawn(without_end(metrics.clone(), start));
        tokio::time::sleep(10 * PAUSE_AFTER_FAULT).await;
        assert_eq!((started.load(Ordering::Relaxed), metrics.panics.get()), (3, 2));
        assert!(!task.is_finished());
        task.abort();
        let _ = task.await;
        tokio::task::yield_now().await;
        assert_eq!(Arc::strong_count(&alive), 1, "it goes on after the end");
    }
}
