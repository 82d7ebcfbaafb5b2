//! The plain manifest, in place of the release that all other tests use: no other test may run beside this one.

use serde_json::{Value, json};

use crate::harness::churn::{Churn, Outcome};
use crate::harness::install::{self, NAME, helm, kubectl};
use crate::harness::namespace::Namespace;
use crate::harness::openbao::Vault;
use crate::harness::pod::pod;
use crate::harness::settings::settings;
use crate::install::{inventory, nothing_left};

/// The manifest with the tests' image and config: a reader writes these into the file.
fn manifest() -> String {
    let text = include_str!("../../manifests/podkey.yaml");
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).unwrap();
    let mut image = String::new();
    let mut documents: Vec<String> = documents
        .into_iter()
        .map(|mut document| {
            match document["kind"].as_str() {
                Some("ConfigMap") => {
                    let mut config = install::config();
                    config["agent"] = json!({"image": settings().image, "imagePullPolicy": "IfNotPresent"});
                    document["data"]["config.yaml"] = json!(config.to_string());
                    document["data"]["vault-ca.pem"] = json!(settings().openbao_ca);
                }
                Some("Deployment") => {
                    let container = &mut document["spec"]["template"]["spec"]["containers"][0];
                    image = container["image"].to_string();
                    container["image"] = json!(settings().image);
                }
                _ => {}
            }
            document.to_string()
        })
        .collect();
    assert!(image.contains("ghcr.io/podkey/podkey"), "{image}");
    documents.push(String::new());
    documents.join("\n---\n")
}

/// Installs the tests' own release again, however the test ends.
struct Again<'a>(&'a str);

impl Drop for Again<'_> {
    fn drop(&mut self) {
        let _ = kubectl(&["delete", "--ignore-not-found", "-f", "-"], self.0);
        if install::upgrade(NAME, NAME, &install::values()).is_ok() && !std::thread::panicking() {
            install::reached();
        }
    }
}

#[test]
fn the_plain_manifest_comes_and_goes_with_kubectl() {
    let namespace = Namespace::new("plain");
    let vault = Vault::new(&namespace);
    vault.put("web", &json!({"password": "s3cret"}));
    let files = json!([{"secret": "web", "key": "password", "file": "password"}]);
    let app = |name: &str| vault.annotate(pod(name, "cat /podkey/secrets/password"), &files);

    let manifest = manifest();
    let _again = Again(&manifest);
    helm(&["uninstall", NAME, "--namespace", NAME, "--wait", "--timeout", "3m"]).unwrap();
    kubectl(&["delete", "namespace", NAME], "").unwrap();
    let before = inventory(NAME);
    let said = kubectl(&["apply", "-f", "-"], &manifest).unwrap();
    // Among others: the namespace enforces Pod Security `restricted`.
    assert!(!said.contains("Warning"), "{said}");
    install::ready();
    install::reached();
    assert_eq!(namespace.create(&app("app")).succeeds(), "s3cret");
    let said = kubectl(&["apply", "-f", "-"], &manifest).unwrap();
    // What podkey has written is not undone.
    for kind in [
        "deployment.apps",
        "mutatingwebhookconfiguration.admissionregistration.k8s.io",
    ] {
        assert!(said.contains(&format!("{kind}/podkey unchanged")), "{said}");
    }
    assert!(said.contains("secret/podkey-ca unchanged"), "{said}");

    let churn = Churn::start(&namespace, &app("churn"), 10);
    let others = Churn::start(&namespace, &pod("other", "true"), 10);
    // As docs/operate/install.md says: the manifest begins with the namespace, whose Service may be gone before the configuration.
    kubectl(&["delete", "mutatingwebhookconfiguration", NAME], "").unwrap();
    kubectl(&["delete", "--ignore-not-found", "-f", "-"], &manifest).unwrap();
    nothing_left(NAME, &before);
    for attempt in others.stop() {
        assert_eq!(attempt.outcome, Outcome::Plain, "at {:?}", attempt.at);
    }
    for attempt in churn.stop() {
        assert!(
            matches!(attempt.outcome, Outcome::Injected | Outcome::Plain),
            "at {:?}: {:?}",
            attempt.at,
            attempt.outcome
        );
    }
}
