//! ARC's container modes, as its chart renders them.

use serde_json::json;

use super::scale_set::{STEP, ScaleSet};
use crate::harness::api::cluster;
use crate::harness::merge;
use crate::harness::pod::{definition, init_containers};

#[test]
fn with_dind_the_runner_has_its_secrets_and_docker() {
    let Some(set) = ScaleSet::new("dind") else { return };
    let vault = set.vault();
    let annotations = merge(set.annotations(&vault), &json!({"podkey.dev/refresh": "15s"}));
    // The chart's dind runs as root.
    let values = json!({
        "containerMode": {"type": "dind"}, "template": {"spec": {"securityContext": null}},
    });
    set.install(&annotations, &values);
    set.queue(1, &format!("test -e \"${{DOCKER_HOST#unix://}}\"\n{STEP}"));
    let (_, pods) = set.delivers();
    let pod = pods.values().next().unwrap();
    assert_eq!(init_containers(pod)[0], "podkey-init", "{pod}");
    assert!(!definition(pod, "dind").to_string().contains("/podkey"), "{pod}");
    set.empties();
}

#[test]
fn in_kubernetes_mode_runner_and_workflow_pod_have_their_secrets() {
    let Some(set) = ScaleSet::new("kubernetes mode") else {
        return;
    };
    let vault = set.vault();
    let file = json!([{"secret": "web", "key": "password", "file": "password"}]);
    let template = json!({"metadata": {"annotations": vault.annotations(&file)}});
    let template = json!({"metadata": {"name": "template"}, "data": {"template.json": template.to_string()}});
    cluster().create(&set.namespace.path("configmaps"), &template);
    let values = json!({
        "containerMode": {"type": "kubernetes"},
        "template": {"spec": {
            // The claim is the storage's business, and there may be no storage.
            "volumes": [{"name": "work", "emptyDir": {}}, {"name": "template", "configMap": {"name": "template"}}],
            "containers": [{
                "name": "runner", "image": set.runner_image(), "command": ["/home/runner/run.sh"],
                "env": [{"name": "ACTIONS_RUNNER_CONTAINER_HOOK_TEMPLATE", "value": "/template/template.json"}],
                "volumeMounts": [{"name": "template", "mountPath": "/template"}],
            }],
        }},
    });
    set.install(&set.annotations(&vault), &values);
    set.queue_in(1, STEP, set.runner_image());
    let (_, pods) = set.delivers();
    let pod = pods.values().next().unwrap();
    assert_eq!(init_containers(pod), ["podkey-init"], "{pod}");
    set.empties();
}
