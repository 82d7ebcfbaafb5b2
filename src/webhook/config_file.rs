//! Reading the operator's config file, and the CA files that the config names, once at the start.

use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::{self, PemObject};

use super::named_file::read;
use crate::inject::{Config, ConfigError};

/// Why podkey has no config.
#[derive(Debug, thiserror::Error)]
pub enum LoadConfigError {
    /// The file cannot be read.
    #[error("cannot read {path}", path = path.display())]
    Read {
        /// The config file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The file was read, but podkey cannot use the config in it.
    #[error("{path}", path = path.display())]
    Config {
        /// The config file.
        path: PathBuf,
        /// What is wrong in the config.
        source: ConfigError,
    },
}

/// Reads and checks the config file.
pub fn load(path: &Path) -> Result<Config, LoadConfigError> {
    let text = read(path)
        .and_then(|bytes| String::from_utf8(bytes).map_err(|_| std::io::Error::other("the file is not text in UTF-8")))
        .map_err(|source| LoadConfigError::Read {
            path: path.to_owned(),
            source,
        })?;
    Config::parse(&text, read_ca).map_err(|source| LoadConfigError::Config {
        path: path.to_owned(),
        source,
    })
}

/// Reads a CA file and returns only the certificates, as PEM. The certificates go into every plan. A plan must be short, and must
/// not contain a private key that is in the file by mistake.
fn read_ca(path: &Path) -> Result<String, String> {
    if path.is_dir() {
        return Err("is a directory: name the file in it".to_owned());
    }
    let bytes = read(path).map_err(|error| format!("cannot be read: {error}"))?;
    let text = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&bytes);
    let mut roots = RootCertStore::empty();
    let mut pem = String::new();
    for (index, certificate) in CertificateDer::pem_slice_iter(text).enumerate() {
        let number = index + 1;
        let certificate = certificate.map_err(|error| {
            let why = match error {
                pem::Error::MissingSectionEnd { .. } => "its line -----END … is missing",
                pem::Error::IllegalSectionStart { .. } => "its line -----BEGIN … is not complete",
                pem::Error::Base64Decode(_) => "the text between its lines -----BEGIN and -----END is not base64",
                _ => "it cannot be read",
            };
            format!("has a broken certificate, number {number}: {why}")
        })?;
        pem.push_str(&to_pem(&certificate));
        roots.add(certificate).map_err(|_| {
            format!(
                "has a certificate that podkey cannot use as a CA, number {number}: it is not an X.509 certificate of \
                 version 3, as \"openssl x509 -text\" shows"
            )
        })?;
    }
    if roots.is_empty() {
        return Err(format!("has no certificate in PEM form{}", why_no_pem(text)));
    }
    Ok(pem)
}

/// Editors on Windows write this mark before a text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Why a file without PEM certificates is not a CA file: the content that podkey recognises.
fn why_no_pem(text: &[u8]) -> &'static str {
    let has = |part: &[u8]| text.windows(part.len()).any(|window| window == part);
    if x509_parser::parse_x509_certificate(text).is_ok() {
        ": it is in DER form, which \"openssl x509 -inform der\" turns into PEM"
    } else if has(b"-----BEGIN CERTIFICATE-----") {
        ": its line -----BEGIN CERTIFICATE----- is indented or never ends"
    } else if has(b"PRIVATE KEY-----") {
        ": it has a private key, which podkey does not need"
    } else {
        ""
    }
}

fn to_pem(certificate: &CertificateDer<'_>) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(certificate);
    // RFC 7468: lines of 64 characters.
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    for (index, c) in text.chars().enumerate() {
        if index > 0 && index % 64 == 0 {
            pem.push('\n');
        }
        pem.push(c);
    }
    pem.push_str("\n-----END CERTIFICATE-----\n");
    pem
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The error as the program logs it.
    fn shown(error: LoadConfigError) -> String {
        format!("{:#}", anyhow::Error::from(error))
    }

    fn load_with_ca(ca: impl AsRef<[u8]>) -> Result<Config, String> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), ca).unwrap();
        let config = folder.path().join("config.yaml");
        let text = format!(
            "agent: {{image: i}}\nconnections: {{d: {{address: 'https://v', caFile: {}}}}}",
            folder.path().join("ca.pem").display()
        );
        std::fs::write(&config, text).unwrap();
        load(&config).map_err(shown)
    }

    fn certificate() -> String {
        rcgen::generate_simple_self_signed(["v".to_owned()]).unwrap().cert.pem()
    }

    #[test]
    fn only_the_certificates_of_a_ca_file_are_used() {
        let first = certificate();
        let second = certificate();
        let key = rcgen::KeyPair::generate().unwrap().serialize_pem();
        let config = load_with_ca(format!("# mine\n{first}{key}\n{second}")).unwrap();
        let ca = config.connections["d"].server.ca.clone().unwrap();
        let normalize = |pem: &str| pem.replace("\r\n", "\n");
        assert_eq!(ca, normalize(&first) + &normalize(&second));
    }

    #[test]
    fn an_error_in_a_ca_file_names_the_file_and_the_certificate_s_number() {
        let good = certificate();
        for (text, expected) in [
            ("", "ca.pem has no certificate in PEM form"),
            ("garbage", "ca.pem has no certificate in PEM form"),
            (
                &rcgen::KeyPair::generate().unwrap().serialize_pem(),
                "ca.pem has no certificate in PEM form",
            ),
            (
                &format!("{good}-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n"),
                "number 2: the text between its lines -----BEGIN and -----END is not base64",
            ),
            (
                &format!("{good}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
                "number 2: it is not an X.509 certificate of version 3",
            ),
            (&good[..good.len() / 2], "ca.pem has"),
        ] {
            let error = load_with_ca(text).expect_err(text);
            assert!(
                error.contains(expected) && error.contains("connections.d.caFile"),
                "{text}: {error}"
            );
        }
        assert_eq!(
            shown(load(Path::new("/does/not/exist")).unwrap_err()),
            "cannot read /does/not/exist: No such file or directory (os error 2)"
        );
    }

    #[test]
    fn a_ca_file_may_come_from_an_editor_on_windows() {
        let pem = certificate().replace("\r\n", "\n");
        let ca = |text: String| load_with_ca(text).unwrap().connections["d"].server.ca.clone().unwrap();
        assert_eq!(ca(format!("\u{feff}{pem}")), pem);
        assert_eq!(ca(pem.replace('\n', "\r\n")), pem);
    }

    #[test]
    fn the_error_about_a_wrong_ca_file_names_its_real_content() {
        let certificate = rcgen::generate_simple_self_signed(["v".to_owned()]).unwrap().cert;
        let key = rcgen::KeyPair::generate().unwrap().serialize_pem();
        let indented = certificate.pem().replace("-----BEGIN", "  -----BEGIN");
        for (ca, expected) in [
            (
                &certificate.der()[..],
                "has no certificate in PEM form: it is in DER form",
            ),
            (key.as_bytes(), "has no certificate in PEM form: it has a private key"),
            (indented.as_bytes(), "is indented or never ends"),
            (b"\xff\xfe-\0", "has no certificate in PEM form"),
        ] {
            let error = load_with_ca(ca).expect_err(expected);
            assert!(
                error.contains("connections.d.caFile: ") && error.contains("ca.pem") && error.contains(expected),
                "{error}"
            );
        }
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(
            read_ca(folder.path()),
            Err("is a directory: name the file in it".to_owned())
        );
    }

    #[test]
    fn an_error_in_the_config_names_the_config_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.yaml");
        let config = "agent: {image: i}\nconnections: {d: {address: 'https://v', caFile: ''}}\n";
        for good in [
            config.to_owned(),
            format!("\u{feff}{config}"),
            config.replace('\n', "\r\n"),
            format!("# podkey\n---\n{config}"),
        ] {
            std::fs::write(&path, &good).unwrap();
            load(&path).map_err(shown).expect(&good);
        }
        for (bad, expected) in [
            (
                &b""[..],
                "config.yaml: has nothing in it: it needs agent.image and connections",
            ),
            (b"\xef\xbb\xbf# only this\r\n\r\n", "config.yaml: has nothing in it"),
            (b"a\0\xff", "config.yaml: the file is not text in UTF-8"),
            (
                b"agent:\n\timage: i\n",
                "it is not valid YAML in line 2: the line begins with a tab",
            ),
            (
                b"agent: {image: i}\nagent: {image: i}\n",
                "line 2, column 1: the key \"agent\" is there twice",
            ),
            (b"agent: {image: i}\nconnections:\n- d\n", "line 3"),
            (
                b"apiVersion: v1\nkind: ConfigMap\n",
                "line 1, column 1: \"apiVersion\" is not a key here: the keys are agent, connections, allowSharedProcessNamespace",
            ),
            (b"agent: {image: i}\nconnections: {}\n---\na: b\n", "line 4"),
        ] {
            std::fs::write(&path, bad).unwrap();
            let error = load(&path).map_err(shown).expect_err(expected);
            assert!(error.contains(expected), "{expected}: {error}");
            // No advice of the YAML library to programmers.
            assert!(!error.contains("Options") && !error.contains("from_str"), "{error}");
        }
        assert!(shown(load(folder.path()).unwrap_err()).ends_with(": Is a directory (os error 21)"));
    }
}
