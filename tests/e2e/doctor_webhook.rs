//! `podkey doctor`, where podkey's own objects are broken: no other test may run at the same time. The command that the doctor prints
//! brings podkey back; what a failed test leaves broken, the end of the test brings back.

use serde_json::{Value, json};

use crate::doctor::bench::Doctor;
use crate::doctor::pods::annotated;
use crate::harness::api::cluster;
use crate::harness::install::{self, NAME};
use crate::harness::namespace::Namespace;
use crate::harness::{LIMIT, wait};

const CONFIGURATION: &str = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/podkey";
const SERVICE: &str = "/api/v1/namespaces/podkey/services/podkey";
const POLICY: &str = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/podkey-guard";
const RESTORE: &str = "helm rollback podkey \"$(helm get all podkey --namespace podkey --template";

/// Brings podkey back when the test ends.
struct Repair;

impl Drop for Repair {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = install::kubectl(&["delete", "service", NAME, "--namespace", NAME], "");
            let _ = install::upgrade(NAME, NAME, &install::values());
            let _ = install::kubectl(&["rollout", "restart", "deployment/podkey", "--namespace", NAME], "");
        }
    }
}

/// Breaks something, and lets the doctor mend it. Other parts learn of the end a moment late.
#[track_caller]
fn mends(topic: &str, break_it: impl FnOnce(), check: &str, parts: &[&str]) {
    mends_again(topic, break_it, || {}, check, parts);
}

/// The same, where podkey itself mends the fault after some seconds: `again` runs before each look of the doctor.
fn mends_again(topic: &str, break_it: impl FnOnce(), again: impl Fn(), check: &str, parts: &[&str]) {
    let namespace = Namespace::new(topic);
    let pod = annotated(&namespace);
    let _repair = Repair;
    break_it();
    let doctor = Doctor::of(&namespace.name, &pod);
    doctor.mends_of(&doctor.finds(check, again), parts);
    install::ready();
    install::reached();
}

/// Replaces fields of the webhook for podkey's own annotations.
fn change_webhook(change: &Value) {
    let configuration = cluster().get(CONFIGURATION);
    let mut webhooks = configuration["webhooks"].clone();
    for webhook in webhooks.as_array_mut().unwrap() {
        if webhook["name"] == "pods.podkey.dev" {
            json_patch::merge(webhook, change);
        }
    }
    cluster().patch(CONFIGURATION, &json!({"webhooks": webhooks}));
}

#[test]
fn a_configuration_that_was_deleted_comes_back() {
    mends("gone", || cluster().delete(CONFIGURATION), "webhook", &[RESTORE]);
    // With another owner of the fields, Helm would refuse to change them.
    let mut values = install::values();
    values["webhook"]["timeoutSeconds"] = json!(6);
    for values in [values, install::values()] {
        install::upgrade(NAME, NAME, &values).unwrap();
    }
}

#[test]
fn rules_without_new_pods_come_back() {
    let rules = json!([{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["pods"]}]);
    mends(
        "rules",
        || change_webhook(&json!({"rules": rules})),
        "webhook",
        &[RESTORE],
    );
}

#[test]
fn a_match_condition_that_leaves_the_pod_out_comes_back() {
    let expression = "has(object.metadata.labels) && 'secrets' in object.metadata.labels";
    let change = json!({"matchConditions": [{"name": "podkey-annotation", "expression": expression}]});
    mends(
        "condition",
        || change_webhook(&change),
        "webhook-match-conditions",
        &[RESTORE],
    );
}

#[test]
fn a_match_condition_that_fails_is_taken_away() {
    let expression = "object.metadata.labels['secrets'] == 'yes'";
    let change = json!({"matchConditions": [{"name": "labelled", "expression": expression}]});
    let parts = ["kubectl patch mutatingwebhookconfiguration podkey", "podkey-annotation"];
    mends("fails", || change_webhook(&change), "webhook-match-conditions", &parts);
}

#[test]
fn an_object_selector_that_leaves_the_pod_out_comes_back() {
    let selector = json!({"objectSelector": {"matchLabels": {"secrets": "yes"}}});
    mends(
        "selector",
        || change_webhook(&selector),
        "webhook",
        &["kubectl patch", "objectSelector"],
    );
}

#[test]
fn a_service_that_was_deleted_comes_back() {
    mends("service", || cluster().delete(SERVICE), "webhook-service", &[RESTORE]);
}

#[test]
fn a_service_that_selects_nothing_comes_back() {
    let selector = json!({"spec": {"selector": {"app.kubernetes.io/name": "other"}}});
    let break_it = || drop(cluster().patch(SERVICE, &selector));
    mends("selects", break_it, "webhook-service", &[RESTORE]);
}

#[test]
fn a_port_that_the_service_has_not_comes_back() {
    let port = json!({"clientConfig": {"service": {"port": 444}}});
    mends("no-port", || change_webhook(&port), "webhook-service", &[RESTORE]);
}

#[test]
fn a_deployment_without_replicas_is_scaled() {
    let scale = "kubectl scale deployment/podkey --namespace podkey --replicas=2";
    let break_it = || install::scale(0);
    mends("scaled", break_it, "webhook-replicas", &[scale]);
}

/// podkey writes the caBundle again after some seconds, by itself; a restart is faster.
#[test]
fn a_ca_that_did_not_sign_the_served_certificate_is_replaced() {
    use base64::Engine as _;
    let other = crate::ca::Ca::new("somebody else").pem();
    let bundle = base64::engine::general_purpose::STANDARD.encode(other);
    let change = json!({"clientConfig": {"caBundle": bundle}});
    mends_again(
        "ca",
        || {},
        || change_webhook(&change),
        "webhook-ca",
        &["kubectl rollout restart deployment/podkey --namespace podkey"],
    );
}

/// podkey is away, and failurePolicy hides it. The doctor warns of both policies.
#[test]
fn a_pod_that_exists_does_not_hide_that_podkey_is_away() {
    let namespace = Namespace::new("away");
    let created = namespace.create(&annotated(&namespace));
    created.until("made", |pod| pod["metadata"]["uid"].is_string());
    let _repair = Repair;
    change_webhook(&json!({"failurePolicy": "Ignore", "reinvocationPolicy": "Never"}));
    install::scale(0);
    let doctor = Doctor::in_namespace(&namespace.name).arg("web");
    let seen = wait(LIMIT, || {
        let seen = doctor.examine();
        let called = seen.findings.iter().find(|finding| finding.check == "webhook-call");
        called.is_some_and(|called| called.level == "fault").then_some(seen)
    });
    let story = seen.map_or_else(|| doctor.examine().story(), |seen| seen.story());
    println!("{story}");
    install::scale(2);
    change_webhook(&json!({"failurePolicy": "Fail", "reinvocationPolicy": "IfNeeded"}));
    install::ready();
    install::reached();
    assert!(story.contains("fault: webhook-call: "), "{story}");
    for check in ["webhook-failure-policy", "webhook-reinvocation"] {
        assert!(story.contains(&format!("warning: {check}: ")), "{story}");
    }
    assert!(!story.contains("ok: admission: "), "{story}");
}

#[test]
fn a_guard_whose_policy_is_missing_comes_back() {
    mends("guard", || cluster().delete(POLICY), "guard", &[RESTORE]);
}
