//! The serving certificate from files, read again every few seconds. Polled rather than watched: Kubernetes changes a
//! mounted Secret by swapping a symlink, after which a watch on the file stays silent for ever.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::crypto::ring;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

use super::{Certificate, Served, validity};
use crate::webhook::file;
use crate::webhook::metrics::Metrics;

/// Why a pair of files cannot be used. The one before stays in use.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// One of them cannot be read.
    #[error("cannot read {path}: {cause}", path = path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
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

/// Where certificate and key are, and what was there when they were last used. Never printed.
pub(in crate::webhook) struct CertificateFiles {
    certificate: PathBuf,
    key: PathBuf,
    used: Option<Source>,
}

/// The files' bytes, to see a change; the key's are wiped with it.
#[derive(PartialEq, Eq)]
struct Source {
    certificate: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
}

impl CertificateFiles {
    pub(in crate::webhook) fn new(certificate: PathBuf, key: PathBuf) -> Self {
        Self {
            certificate,
            key,
            used: None,
        }
    }

    /// Reads the files. `None` where they hold what they held when this last succeeded.
    pub(in crate::webhook) fn load(&mut self, now: SystemTime) -> Result<Option<Served>, CertificateError> {
        let source = self.read()?;
        if self.used.as_ref() == Some(&source) {
            return Ok(None);
        }
        let served = self.parse(&source, now)?;
        self.used = Some(source);
        Ok(Some(served))
    }

    fn read(&self) -> Result<Source, CertificateError> {
        let read = |path: &PathBuf| {
            file::read(path).map_err(|cause| CertificateError::Read {
                path: path.clone(),
                cause,
            })
        };
        Ok(Source {
            certificate: read(&self.certificate)?,
            key: Zeroizing::new(read(&self.key)?),
        })
    }

    fn parse(&self, source: &Source, now: SystemTime) -> Result<Served, CertificateError> {
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
        let (_, not_after) = validity(&parsed);
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
        Ok(Served {
            key: Arc::new(key),
            not_after,
        })
    }
}

/// Reads the files again and again. What cannot be used is said once, not at each look.
pub(in crate::webhook) async fn poll(
    mut files: CertificateFiles,
    every: Duration,
    now: fn() -> SystemTime,
    certificate: Arc<Certificate>,
    metrics: Arc<Metrics>,
) {
    let mut said = String::new();
    loop {
        tokio::time::sleep(every).await;
        // Not on a worker: a volume that hangs must not keep anyone from being served.
        let loading = tokio::task::spawn_blocking(move || {
            let loaded = files.load(now());
            (files, loaded)
        });
        let Ok((back, loaded)) = loading.await else { return };
        files = back;
        match loaded {
            Ok(None) => said.clear(),
            Ok(Some(served)) => {
                said.clear();
                let expires = served.not_after;
                certificate.serve(served, &metrics);
                tracing::info!(certificate_expires = %humantime::format_rfc3339_seconds(expires), "new certificate in use");
            }
            Err(error) => {
                let error = error.to_string();
                if said != error {
                    metrics.certificate_reload_failures.inc();
                    tracing::error!(%error, "the certificate files cannot be used: the one before stays in use");
                    said = error;
                }
            }
        }
    }
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
        let mut files = CertificateFiles::new(folder.path().join("tls.crt"), folder.path().join("tls.key"));
        let (certificate_file, key_file) = (files.certificate.clone(), files.key.clone());
        let write = |certificate: &str, key: &str| {
            std::fs::write(&certificate_file, certificate).unwrap();
            std::fs::write(&key_file, key).unwrap();
        };
        let now = SystemTime::now();
        let (first, first_key) = pair(2);
        let (second, second_key) = pair(4);
        write(&first, &first_key);
        let expiry = files.load(now).unwrap().unwrap().not_after;
        assert!(files.load(now).unwrap().is_none(), "unchanged");

        let (expired, expired_key) = pair(-1);
        for (certificate_text, key_text, expected) in [
            ("", &*first_key, "tls.crt: has no certificate"),
            (&second, &first_key, "tls.key: does not belong to the certificate"),
            (&second, "", "tls.key: has no private key"),
            (&second[..second.len() / 2], &second_key, "tls.crt: "),
            (&expired, &expired_key, "tls.crt: ran out at"),
        ] {
            write(certificate_text, key_text);
            let error = files.load(now).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        std::fs::remove_file(&key_file).unwrap();
        assert!(files.load(now).unwrap_err().to_string().contains("cannot read"));

        write(&second, &second_key);
        assert!(files.load(now).unwrap().unwrap().not_after > expiry);
    }

    #[test]
    fn the_key_is_in_no_debug_output() {
        let folder = tempfile::tempdir().unwrap();
        let mut files = CertificateFiles::new(folder.path().join("tls.crt"), folder.path().join("tls.key"));
        let (certificate, key) = pair(1);
        std::fs::write(&files.certificate, certificate).unwrap();
        std::fs::write(&files.key, &key).unwrap();
        let served = files.load(SystemTime::now()).unwrap().unwrap();
        let bytes = format!("{:?}", key.as_bytes());
        let bytes = &bytes[1..bytes.len() - 1];
        assert!(!format!("{served:?}").contains(bytes));
    }
}
