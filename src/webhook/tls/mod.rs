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
use x509_parser::certificate::X509Certificate;

use super::metrics::Metrics;

pub(super) use cluster::Cluster;
pub use cluster::ClusterError;
pub use files::CertificateError;
pub(super) use files::{CertificateFiles, poll};
pub use upkeep::ByItself;
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
