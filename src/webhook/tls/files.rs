//! The serving certificate from files, read again every few seconds. Not by inotify: Kubernetes changes a mounted Secret by
//! replacing a symlink, and a watch on the file reports nothing after that.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::crypto::ring;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

use super::{ServablePair, ServingCertificate, validity};
use crate::webhook::metrics::Metrics;
use crate::webhook::named_file;

/// Why podkey cannot use the two certificate files.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read.
    #[error("cannot read {path}: {cause}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        cause: std::io::Error,
    },
    /// A file has a wrong content.
    #[error("{path}: {message}", path = path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong: the end of a sentence that begins with the file.
        message: String,
    },
}

/// The paths of certificate and key, and their bytes when podkey last used them. Never printed.
pub(in crate::webhook) struct CertificateFiles {
    certificate: PathBuf,
    key: PathBuf,
    used: Option<FilePair>,
}

/// The files' bytes, to notice a change. The bytes of the key are wiped on drop.
#[derive(PartialEq, Eq)]
struct FilePair {
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

    /// Reads the files. `None`: the files have not changed since the last success.
    pub(in crate::webhook) fn load(&mut self, now: SystemTime) -> Result<Option<ServablePair>, CertificateError> {
        let files = self.read()?;
        if self.used.as_ref() == Some(&files) {
            return Ok(None);
        }
        let pair = self.parse(&files, now)?;
        self.used = Some(files);
        Ok(Some(pair))
    }

    fn read(&self) -> Result<FilePair, CertificateError> {
        let read = |path: &PathBuf| {
            named_file::read_regular(path).map_err(|cause| CertificateError::Read {
                path: path.clone(),
                cause,
            })
        };
        Ok(FilePair {
            certificate: read(&self.certificate)?,
            key: Zeroizing::new(read(&self.key)?),
        })
    }

    fn parse(&self, files: &FilePair, now: SystemTime) -> Result<ServablePair, CertificateError> {
        let bad_certificate = |message: String| CertificateError::Content {
            path: self.certificate.clone(),
            message,
        };
        let bad_key = |message: String| CertificateError::Content {
            path: self.key.clone(),
            message,
        };
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&files.certificate)
            .collect::<Result<_, _>>()
            .map_err(|error| bad_certificate(format!("is broken: {error}")))?;
        let Some(leaf) = chain.first() else {
            return Err(bad_certificate("has no certificate in PEM form".to_owned()));
        };
        let (_, parsed) = x509_parser::parse_x509_certificate(leaf)
            .map_err(|_| bad_certificate("is not an X.509 certificate".to_owned()))?;
        let (_, not_after) = validity(&parsed);
        if not_after <= now {
            return Err(bad_certificate(format!(
                "expired at {}",
                humantime::format_rfc3339_seconds(not_after)
            )));
        }
        let key = PrivateKeyDer::from_pem_slice(&files.key)
            .map_err(|_| bad_key("has no private key in PEM form".to_owned()))?;
        let key = ring::sign::any_supported_type(&key).map_err(|_| {
            bad_key("has a private key of a kind that podkey does not support: use P-256, RSA or Ed25519".to_owned())
        })?;
        let key = CertifiedKey::new(chain, key);
        key.keys_match().map_err(|_| {
            bad_key(format!(
                "does not belong to the certificate in {}",
                self.certificate.display()
            ))
        })?;
        Ok(ServablePair {
            key: Arc::new(key),
            not_after,
        })
    }
}

/// Reads the files again and again. An error is logged once, not after each read.
pub(in crate::webhook) async fn poll_files(
    mut files: CertificateFiles,
    every: Duration,
    now: fn() -> SystemTime,
    certificate: Arc<ServingCertificate>,
    metrics: Arc<Metrics>,
) {
    let mut logged = String::new();
    loop {
        tokio::time::sleep(every).await;
        // Not on a worker thread: a volume that hangs must not block requests.
        let loading = tokio::task::spawn_blocking(move || {
            let loaded = files.load(now());
            (files, loaded)
        });
        let Ok((back, loaded)) = loading.await else { return };
        files = back;
        match loaded {
            Ok(None) => logged.clear(),
            Ok(Some(pair)) => {
                logged.clear();
                let expires = pair.not_after;
                certificate.serve(pair, &metrics);
                tracing::info!(certificate_expires = %humantime::format_rfc3339_seconds(expires), "new certificate in use");
            }
            Err(error) => {
                let error = error.to_string();
                if logged != error {
                    metrics.certificate_reload_failed();
                    tracing::error!(%error, "cannot use the certificate files: the certificate before stays in use");
                    logged = error;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A certificate that expires after this number of days, and its key.
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
    fn a_broken_pair_is_refused_and_the_previous_pair_stays() {
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
            (&expired, &expired_key, "tls.crt: expired at"),
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
        let pair = files.load(SystemTime::now()).unwrap().unwrap();
        let bytes = format!("{:?}", key.as_bytes());
        let bytes = &bytes[1..bytes.len() - 1];
        assert!(!format!("{pair:?}").contains(bytes));
    }
}
