//! The serving certificate: from files, read again every few seconds. Polled rather than watched: Kubernetes changes a
//! mounted Secret by swapping a symlink, after which a watch on the file stays silent for ever.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

/// Where certificate and key are.
#[derive(Debug, Clone)]
pub(super) struct CertificateFiles {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
}

/// Why a pair of files cannot be used. The one before stays in use.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// One of them cannot be read.
    #[error("cannot read {path}: {source}", path = path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// One of them holds something else.
    #[error("{path}: {message}", path = path.display())]
    Content {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
}

/// What is served, and what of it the poller and the probes need to know.
#[derive(Debug)]
struct Current {
    key: Arc<CertifiedKey>,
    not_after: SystemTime,
    /// The files' bytes, to see a change; the key's are wiped with it.
    source: Source,
}

#[derive(Debug, PartialEq, Eq)]
struct Source {
    certificate: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
}

/// The certificate that each new handshake gets.
#[derive(Debug)]
pub(super) struct Certificate {
    files: CertificateFiles,
    current: ArcSwap<Current>,
}

/// Whether the files had changed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reload {
    Unchanged,
    Changed,
}

impl Certificate {
    pub(super) fn load(files: CertificateFiles, now: SystemTime) -> Result<Arc<Self>, CertificateError> {
        let current = files.parse(files.read()?, now)?;
        Ok(Arc::new(Self {
            files,
            current: ArcSwap::from_pointee(current),
        }))
    }

    /// Reads the files again and swaps the certificate where they hold another, usable pair.
    pub(super) fn reload(&self, now: SystemTime) -> Result<Reload, CertificateError> {
        let source = self.files.read()?;
        if source == self.current.load().source {
            return Ok(Reload::Unchanged);
        }
        self.current.store(Arc::new(self.files.parse(source, now)?));
        Ok(Reload::Changed)
    }

    /// When it runs out.
    pub(super) fn not_after(&self) -> SystemTime {
        self.current.load().not_after
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load().key.clone())
    }
}

impl CertificateFiles {
    fn read(&self) -> Result<Source, CertificateError> {
        let read = |path: &PathBuf| {
            std::fs::read(path).map_err(|source| CertificateError::Read {
                path: path.clone(),
                source,
            })
        };
        Ok(Source {
            certificate: read(&self.certificate)?,
            key: Zeroizing::new(read(&self.key)?),
        })
    }

    fn parse(&self, source: Source, now: SystemTime) -> Result<Current, CertificateError> {
        let bad_certificate = |message: String| CertificateError::Content {
            path: self.certificate.clone(),
            message,
        };
        let bad_key = |message: String| CertificateError::Content {
            path: self.key.clone(),
            message,
        };
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&source.certificate)
            .collect::<Result<_, _>>()
            .map_err(|error| bad_certificate(format!("is broken: {error}")))?;
        let Some(leaf) = chain.first() else {
            return Err(bad_certificate("has no certificate in PEM form".to_owned()));
        };
        let (_, parsed) = x509_parser::parse_x509_certificate(leaf)
            .map_err(|_| bad_certificate("is no X.509 certificate".to_owned()))?;
        let not_after =
            UNIX_EPOCH + Duration::from_secs(parsed.validity().not_after.timestamp().try_into().unwrap_or(0));
        if not_after <= now {
            return Err(bad_certificate(format!(
                "ran out at {}",
                humantime::format_rfc3339_seconds(not_after)
            )));
        }
        let key = PrivateKeyDer::from_pem_slice(&source.key)
            .map_err(|_| bad_key("has no private key in PEM form".to_owned()))?;
        let key = ring::sign::any_supported_type(&key)
            .map_err(|_| bad_key("has a private key of no usable kind (P-256, RSA, Ed25519)".to_owned()))?;
        let key = CertifiedKey::new(chain, key);
        key.keys_match().map_err(|_| {
            bad_key(format!(
                "does not belong to the certificate in {}",
                self.certificate.display()
            ))
        })?;
        Ok(Current {
            key: Arc::new(key),
            not_after,
            source,
        })
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A certificate that runs out in so many days, and its key.
    fn pair(days: i32) -> (String, String) {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(["podkey.podkey.svc".to_owned()]).unwrap();
        let day = Duration::from_secs(86400);
        let from_now = day * days.unsigned_abs();
        params.not_after = SystemTime::now().into();
        if days < 0 {
            params.not_after -= from_now
        } else {
            params.not_after += from_now
        }
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    #[test]
    fn a_broken_pair_is_refused_and_the_one_before_stays() {
        let folder = tempfile::tempdir().unwrap();
        let files = CertificateFiles {
            certificate: folder.path().join("tls.crt"),
            key: folder.path().join("tls.key"),
        };
        let write = |certificate: &str, key: &str| {
            std::fs::write(&files.certificate, certificate).unwrap();
            std::fs::write(&files.key, key).unwrap();
        };
        let now = SystemTime::now();
        let (first, first_key) = pair(2);
        let (second, second_key) = pair(4);
        write(&first, &first_key);
        let certificate = Certificate::load(files.clone(), now).unwrap();
        let expiry = certificate.not_after();
        assert_eq!(certificate.reload(now).unwrap(), Reload::Unchanged);

        let (expired, expired_key) = pair(-1);
        for (certificate_text, key_text, expected) in [
            ("", &*first_key, "tls.crt: has no certificate"),
            (&second, &first_key, "tls.key: does not belong to the certificate"),
            (&second, "", "tls.key: has no private key"),
            (&second[..second.len() / 2], &second_key, "tls.crt: "),
            (&expired, &expired_key, "tls.crt: ran out at"),
        ] {
            write(certificate_text, key_text);
            let error = certificate.reload(now).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
            assert_eq!(certificate.not_after(), expiry);
        }
        std::fs::remove_file(&files.key).unwrap();
        assert!(certificate.reload(now).unwrap_err().to_string().contains("cannot read"));

        write(&second, &second_key);
        assert_eq!(certificate.reload(now).unwrap(), Reload::Changed);
        assert!(certificate.not_after() > expiry);
    }

    #[test]
    fn the_key_is_in_no_debug_output() {
        let folder = tempfile::tempdir().unwrap();
        let files = CertificateFiles {
            certificate: folder.path().join("tls.crt"),
            key: folder.path().join("tls.key"),
        };
        let (certificate, key) = pair(1);
        std::fs::write(&files.certificate, certificate).unwrap();
        std::fs::write(&files.key, &key).unwrap();
        let loaded = Certificate::load(files, SystemTime::now()).unwrap();
        let bytes = format!("{:?}", key.as_bytes());
        assert!(!format!("{loaded:?}").contains(&bytes[1..bytes.len() - 1]));
    }
}
