//! Pod Security: <https://kubernetes.io/docs/concepts/security/pod-security-standards/>. podkey's own containers pass each level.

use serde_json::{Value, json};

use crate::cli::doctor::finding::Findings;
use crate::cli::doctor::situation::{ExaminedPod, items, text};

const CHECK: &str = "pod-security";
/// The label of a namespace by which the API server refuses pods.
const ENFORCE: &str = "pod-security.kubernetes.io/enforce";

pub(super) fn passed(labels: Option<&Value>, findings: &mut Findings) {
    if let Some(labels) = labels {
        let level = labels[ENFORCE].as_str().unwrap_or("privileged");
        findings.ok(
            CHECK,
            format!("the pod passes Pod Security {level}, which the namespace enforces"),
        );
    }
}

pub(super) fn refused(message: &str, pod: &ExaminedPod, findings: &mut Findings) {
    let violation = message
        .split_once("violates ")
        .map_or(message, |(_, violation)| violation);
    let sentence = format!("the pod violates {violation}");
    let command = pod.manifest.as_ref().zip(strict(violation, &pod.written));
    findings.fault(
        CHECK,
        sentence,
        command.map(|(manifest, change)| manifest.patch_pod(change)),
    );
}

/// The change by which the author's containers pass `restricted`. None: one of the violations needs more than that.
fn strict(violation: &str, pod: &Value) -> Option<Value> {
    const MENDED: [&str; 4] = [
        "allowPrivilegeEscalation != false",
        "unrestricted capabilities",
        "runAsNonRoot != true",
        "seccompProfile",
    ];
    const TROUBLES: [&str; 12] = [
        "host namespaces",
        "hostPath",
        "hostPort",
        "privileged",
        "runAsUser=0",
        "procMount",
        "seLinuxOptions",
        "sysctl",
        "windows",
        "Windows",
        "restricted volume types",
        "non-default capabilities",
    ];
    // `privileged` is a part of the name of the first.
    let rest = violation.replace("allowPrivilegeEscalation", "");
    let mendable =
        MENDED.iter().any(|text| violation.contains(text)) && !TROUBLES.iter().any(|text| rest.contains(text));
    let context = json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}});
    let list = |name: &str| -> Vec<Value> {
        items(pod, &format!("/spec/{name}"))
            .map(|container| text(container, "/name"))
            .filter(|name| !name.starts_with("podkey-"))
            .map(|name| json!({"name": name, "securityContext": context}))
            .collect()
    };
    let mut spec = json!({"securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}}});
    for name in ["containers", "initContainers"] {
        let containers = list(name);
        if !containers.is_empty() {
            spec[name] = Value::from(containers);
        }
    }
    mendable.then(|| json!({"spec": spec}))
}
