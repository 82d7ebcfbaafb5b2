//! The guard in a cluster: it holds annotated pods while the webhook's configuration is gone, and there is a way out.

use serde_json::{Value, json};

use super::{REFUSED, is_refusal};
use crate::harness::api::{Answer, cluster};
use crate::harness::install::{self, OTHER_RELEASE, helm};
use crate::harness::namespace::{CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, Namespace};
use crate::harness::openbao::Vault;
use crate::harness::pod::{init_containers, pod};
use crate::harness::{LIMIT, merge, wait};
use crate::install::{inventory, nothing_left};

const FOREVER: &str = "trap 'exit 0' TERM; while :; do sleep 1; done";
const ADMISSION: &str = "/apis/admissionregistration.k8s.io/v1";

/// A release of the test's own, with the guard.
struct Release {
    namespace: Namespace,
    values: Value,
}

impl Release {
    fn new() -> Self {
        let namespace = Namespace::bare("guard", &json!({}));
        let name = &namespace.name;
        let guards = ["-guard", "-guard-vault-k8s", "-ephemeral-containers"];
        let kinds = ["validatingadmissionpolicies", "validatingadmissionpolicybindings"];
        for kind in kinds {
            for suffix in guards {
                namespace.delete_later(cluster(), format!("{ADMISSION}/{kind}/podkey.{name}{suffix}"));
            }
        }
        for kind in [
            &format!("{ADMISSION}/mutatingwebhookconfigurations"),
            CLUSTER_ROLES,
            CLUSTER_ROLE_BINDINGS,
        ] {
            namespace.delete_later(cluster(), format!("{kind}/podkey.{name}"));
        }
        let selector = json!({"matchExpressions": null, "matchLabels": {OTHER_RELEASE: name}});
        let ours = json!({"guard": {"enabled": true}, "webhook": {"namespaceSelector": selector}});
        let values = merge(install::values(), &ours);
        Self { namespace, values }
    }

    /// What `helm install` and `helm upgrade` do.
    fn apply(&self) {
        let name = &self.namespace.name;
        install::upgrade(name, name, &self.values).unwrap_or_else(|error| panic!("helm: {error}"));
    }

    /// The first command of docs/operate/emergency.md.
    fn delete_configuration(&self) {
        cluster().delete(&format!(
            "{ADMISSION}/mutatingwebhookconfigurations/podkey.{}",
            self.namespace.name
        ));
    }

    /// The second command of that page.
    fn delete_bindings(&self) {
        for suffix in ["-guard", "-guard-vault-k8s"] {
            let name = format!("podkey.{}{suffix}", self.namespace.name);
            cluster().delete(&format!("{ADMISSION}/validatingadmissionpolicybindings/{name}"));
        }
    }
}

/// Waits until the answer about this pod is as told: API servers learn of a change a moment later.
#[track_caller]
fn until(what: &str, namespace: &Namespace, pod: &Value, is: impl Fn(&Answer) -> bool) {
    let mut last = None;
    wait(LIMIT, || {
        let answer = last.insert(namespace.try_create_as(cluster(), pod, "?dryRun=All"));
        is(answer).then_some(())
    })
    .unwrap_or_else(|| panic!("not {what}: {last:?}"));
}

/// Creates a Deployment of this pod, and gives its path.
fn deployment(namespace: &Namespace, pod: Value) -> String {
    let labels = json!({"app": "held"});
    let over = json!({"metadata": {"name": null, "labels": labels}, "spec": {"restartPolicy": null}});
    let deployments = namespace.group_path("apps/v1", "deployments");
    cluster().create(
        &deployments,
        &json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "held"},
            "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": merge(pod, &over)},
        }),
    );
    format!("{deployments}/held")
}

#[test]
fn without_the_webhook_s_configuration_the_guard_holds_annotated_pods_until_it_is_back() {
    install::podkey();
    let release = Release::new();
    let name = release.namespace.name.clone();
    let before = inventory(&name);
    let apps = Namespace::labelled("guarded-apps", &json!({OTHER_RELEASE: name}));
    let vault = Vault::new(&apps);
    vault.put("web", &json!({"password": "s3cret"}));
    let files = json!([{"secret": "web", "key": "password", "file": "password"}]);
    let annotated = |name: &str, script: &str| vault.annotate(pod(name, script), &files);
    let asked = annotated("asked", "true");
    let is_injected = |answer: &Answer| answer.is_success() && init_containers(&answer.json()) == ["podkey-init"];
    let is_plain = |answer: &Answer| answer.is_success() && init_containers(&answer.json()).is_empty();

    release.apply();
    until("injected", &apps, &asked, is_injected);
    assert_eq!(
        apps.create(&annotated("injected", "cat /podkey/secrets/password"))
            .succeeds(),
        "s3cret"
    );

    release.delete_configuration();
    until("refused by the guard", &apps, &asked, is_refusal);
    apps.create(&pod("plain", "true")).succeeds();
    let held = deployment(&apps, annotated("held", FOREVER));
    let way_out = format!("validatingadmissionpolicybinding podkey.{name}-guard podkey.{name}-guard-vault-k8s");
    let told = || {
        apps.events()
            .into_iter()
            .find(|event| event.contains("FailedCreate") && event.contains(REFUSED))
    };
    let event = wait(LIMIT, told).unwrap_or_else(|| panic!("{:?}", apps.events()));
    assert!(event.starts_with("ReplicaSet") && event.contains(&way_out), "{event}");

    release.apply();
    until("injected", &apps, &asked, is_injected);
    wait(LIMIT, || {
        let deployment = cluster().get(&held);
        (deployment["status"]["readyReplicas"] == 1).then_some(())
    })
    .unwrap_or_else(|| panic!("{:?}", apps.events()));

    // The way out of an emergency: the first command does not let annotated pods in, the second does.
    release.delete_configuration();
    until("refused by the guard", &apps, &asked, is_refusal);
    release.delete_bindings();
    until("let in", &apps, &asked, is_plain);
    apps.create(&annotated("let-in", "test ! -e /podkey")).succeeds();
    release.apply();
    until("injected", &apps, &asked, is_injected);

    helm(&["uninstall", &name, "--namespace", &name, "--wait", "--timeout", "3m"]).unwrap();
    until("without podkey", &apps, &asked, is_plain);
    nothing_left(&name, &before);
}
