//! The script that makes certificates for trying the chart's `tls.mode: files`.

use std::fs;
use std::process::Command;
use std::sync::Arc;

use rustls::client::danger::ServerCertVerifier as _;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use serde_json::json;

use super::rendered::{Manifests, root};

#[test]
fn the_development_certificate_lands_where_the_chart_looks_for_it() {
    let script = fs::read_to_string(root().join("certs/dev-certs.sh")).unwrap();
    assert!(script.contains("service=podkey.podkey.svc\n"));
    let manifests = Manifests::chart(json!({"tls": {"mode": "files"}}));
    let service = &manifests.webhook()["clientConfig"]["service"];
    assert_eq!(
        (&service["name"], &service["namespace"]),
        (&json!("podkey"), &json!("podkey"))
    );
    let secret = manifests.pod()["volumes"][0]["projected"]["sources"][1]["secret"]["name"]
        .as_str()
        .unwrap();
    assert!(script.contains(&format!("kubectl create secret tls {secret} --namespace podkey")));
    assert!(script.contains("--set tls.mode=files --set-file tls.files.caBundle="));
}

#[test]
fn the_development_certificate_is_one_that_rustls_takes() {
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        // The second time it keeps the CA, so that a caBundle already in the cluster stays right.
        let made = Command::new(root().join("certs/dev-certs.sh"))
            .arg(folder.path())
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }
    let certificate = CertificateDer::from_pem_file(folder.path().join("tls.crt")).unwrap();
    let authority = CertificateDer::from_pem_file(folder.path().join("ca.crt")).unwrap();
    let key = PrivateKeyDer::from_pem_file(folder.path().join("tls.key")).unwrap();

    let provider = Arc::new(rustls::crypto::ring::default_provider());
    rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .expect("certificate and key belong together");
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority).unwrap();
    let verifier = rustls::client::WebPkiServerVerifier::builder_with_provider(roots.into(), provider)
        .build()
        .unwrap();
    let name = ServerName::try_from("podkey.podkey.svc").unwrap();
    verifier
        .verify_server_cert(&certificate, &[], &name, &[], UnixTime::now())
        .unwrap();
}
