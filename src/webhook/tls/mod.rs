//! The serving certificate of each handshake, and its two sources.
//!
//! - `files`: another program makes the certificate, and the pod mounts it; podkey reads the files again and again.
//! - Self-managed: `authority` makes certificates, `keyring` reads and writes the Secret, `configuration` reads and patches the
//!   `caBundle`, `steps` decides the next changes, `upkeep` makes them call by call, and `upkeep_log` logs them.

mod authority;
mod configuration;
mod files;
mod keyring;
mod steps;
#[cfg(test)]
mod tests;
mod upkeep;
mod upkeep_log;

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

pub use files::CertificateError;
pub(super) use files::{CertificateFiles, poll_files};
pub(super) use upkeep::{Upkeep, keep_certificate};

/// The names of the objects that podkey needs to make its own certificate.
#[derive(Debug, Clone, Default)]
pub struct SelfManaged {
    /// The Service by which the API server calls podkey.
    pub service: String,
    /// The namespace of Service and Secret.
    pub namespace: String,
    /// The Secret that holds the certificate authority.
    pub secret: String,
    /// The MutatingWebhookConfiguration whose `caBundle` podkey sets.
    pub webhook_configuration: String,
}

/// The certificate that each new handshake gets. Empty until podkey has made the first certificate.
#[derive(Debug, Default)]
pub(super) struct ServingCertificate(ArcSwapOption<ServablePair>);

/// A certificate with its key, and the end of its validity.
#[derive(Debug, Clone)]
pub(super) struct ServablePair {
    key: Arc<CertifiedKey>,
    not_after: SystemTime,
}

impl ServingCertificate {
    pub(super) fn serve(&self, pair: ServablePair, metrics: &Metrics) {
        metrics.show_certificate_expiry(pair.not_after);
        self.0.store(Some(Arc::new(pair)));
    }

    /// When the certificate expires. `None`: there is no certificate.
    pub(super) fn not_after(&self) -> Option<SystemTime> {
        self.0.load().as_ref().map(|pair| pair.not_after)
    }
}

impl ResolvesServerCert for ServingCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.load().as_ref().map(|pair| pair.key.clone())
    }
}

/// The pause before a restart of the upkeep task after a fault: a fault that repeats at once must not fill the log.
const PAUSE_AFTER_FAULT: Duration = Duration::from_secs(15);

/// Runs the task that keeps the certificate. The task should never end; if it ends, it is restarted. Dropping this future ends
/// the task.
pub(super) async fn restarting<F>(metrics: Arc<Metrics>, mut start: impl FnMut() -> F)
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
            "a fault of podkey ended the task that keeps the certificate: please report it. Serving goes on, and the task starts again after a pause"
        );
        tokio::time::sleep(PAUSE_AFTER_FAULT).await;
    }
}

/// TLS 1.2 and 1.3, HTTP/1.1 (the API server asks for nothing else), no session resumption: the API server keeps its
/// connections open, and each ticket would be work for nothing.
pub(super) fn server_config(certificate: Arc<ServingCertificate>) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(certificate);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// The first and the last moment at which a certificate is valid. A time before 1970 counts as 1970.
fn validity(certificate: &X509Certificate<'_>) -> (SystemTime, SystemTime) {
    let validity = certificate.validity();
    let time = |seconds: i64| UNIX_EPOCH + Duration::from_secs(seconds.try_into().unwrap_or(0));
    (
        time(validity.not_before.timestamp()),
        time(validity.not_after.timestamp()),
    )
}
