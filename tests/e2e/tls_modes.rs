//! From one `tls.mode` to another, as docs/operate/certificates.md says, while pods are created.

use std::io::Write as _;

use serde_json::{Value, json};

use crate::ca::Ca;
use crate::harness::api::cluster;
use crate::harness::churn::{Churn, Outcome};
use crate::harness::install::{self, CHART, OTHER_RELEASE, helm};
use crate::harness::namespace::{CLUSTER_ROLE_BINDINGS, Namespace};
use crate::harness::pod::pod;
use crate::harness::{LIMIT, merge, wait};
use crate::install::release;

/// `helm upgrade --reuse-values` with these CAs as `caBundle`, until the new replicas serve.
fn upgrade(name: &str, authorities: &str, more: &[&str]) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(authorities.as_bytes()).unwrap();
    let bundle = format!("tls.files.caBundle={}", file.path().display());
    let args = [
        "upgrade",
        name,
        CHART,
        "--namespace",
        name,
        "--reuse-values",
        "--wait",
        "--timeout",
        "3m",
    ];
    let args = [&args, ["--set-file", bundle.as_str()].as_slice(), more].concat();
    helm(&args).unwrap_or_else(|error| panic!("helm: {error}"));
}

/// podkey owns the field caBundle, and Helm 4 applies as the server does: without --force-conflicts it replaces the replicas and stops
/// at caBundle, so that annotated pods are refused.
#[test]
fn from_self_to_files_no_pod_is_refused() {
    let release = release("tls-modes");
    let name = release.name.as_str();
    let apps = Namespace::labelled("tls-modes-apps", &json!({OTHER_RELEASE: name}));
    let selector = json!({"matchExpressions": null, "matchLabels": {OTHER_RELEASE: name}});
    let ours = json!({
        "guard": {"enabled": false}, "webhook": {"namespaceSelector": selector}, "vaultK8s": {"enabled": false},
    });
    install::upgrade(name, name, &merge(install::values(), &ours)).unwrap_or_else(|error| panic!("helm: {error}"));
    install::replicas_in(name);

    let annotations = json!({"podkey.dev/role": "any", "podkey.dev/files": "[{secret: kv/data/any, file: any}]"});
    let annotated = merge(pod("churn", "true"), &json!({"metadata": {"annotations": annotations}}));
    // Helm waits for the replicas, not until each node knows the way to them.
    let asked = || {
        apps.try_create_as(cluster(), &annotated, "?dryRun=All")
            .is_success()
            .then_some(())
    };
    wait(LIMIT, asked).expect("podkey does not answer");
    let churn = Churn::start(&apps, &annotated, 8);
    cluster().delete(&format!("{CLUSTER_ROLE_BINDINGS}/podkey.{name}"));
    let ca = Ca::new("of the operator");
    let leaf = ca.leaf(&[&format!("podkey.{name}.svc")]);
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "podkey-tls"}, "type": "kubernetes.io/tls",
        "stringData": {"tls.crt": leaf.cert, "tls.key": leaf.key},
    });
    cluster().create(&release.path("secrets"), &secret);
    let own = cluster().get(&release.path("secrets/podkey-ca"))["data"]["ca.crt"].clone();
    let both = decoded(&own) + &ca.pem();
    upgrade(name, &both, &["--set", "tls.mode=files", "--force-conflicts"]);
    install::replicas_in(name);
    upgrade(name, &ca.pem(), &[]);
    std::thread::sleep(std::time::Duration::from_secs(3));
    let attempts = churn.stop();

    println!("from self to files: {} annotated pods", attempts.len());
    let others: Vec<_> = attempts
        .iter()
        .filter(|attempt| attempt.outcome != Outcome::Injected)
        .collect();
    assert!(others.is_empty(), "{} of {}: {others:#?}", others.len(), attempts.len());
    let configuration = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";
    let configuration = cluster().get(&format!("{configuration}/podkey.{name}"));
    let bundle = decoded(&configuration["webhooks"][0]["clientConfig"]["caBundle"]);
    assert_eq!(bundle.trim(), ca.pem().trim());
}

/// A value of a Secret or a `caBundle`, as text.
fn decoded(base64: &Value) -> String {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::STANDARD.decode(base64.as_str().unwrap());
    String::from_utf8(bytes.unwrap()).unwrap()
}
