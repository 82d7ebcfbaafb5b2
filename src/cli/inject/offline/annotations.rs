//! Annotations of podkey that are in the wrong place of a manifest, or misspelled.

use serde_json::Value;

use super::manifest::{group_and_kind, template_of};
use crate::inject::{Config, INJECTED, PREFIX};

/// A problem for each annotation of podkey in a place from which it reaches no pod. For a kind that podkey does not know: a note.
pub(super) fn misplaced(document: &Value) -> (Vec<String>, Option<String>) {
    let keys = |pointer: &str| -> Vec<&str> {
        let annotations = document
            .pointer(pointer)
            .and_then(Value::as_object)
            .into_iter()
            .flatten();
        let ours = annotations.map(|(key, _)| key.as_str());
        ours.filter(|key| key.starts_with(PREFIX) && *key != INJECTED).collect()
    };
    let (group, kind) = group_and_kind(document);
    let template = match kind {
        "Pod" => return (Vec::new(), None),
        _ => template_of(group, kind),
    };
    let place = template.map(|place| format!("{place}/metadata/annotations"));
    let right = place.as_deref().map(keys).unwrap_or_default();
    let remedy = match &place {
        Some(place) => format!("move it to {}", place.trim_start_matches('/').replace('/', ".")),
        None => "put it on the pod template of the object that makes the pods".to_owned(),
    };
    // Usual wrong places: on the object, on a CronJob's job, beside the template's metadata or among its labels.
    let mut wrong = vec!["/metadata/annotations".to_owned(), "/spec/annotations".to_owned()];
    if let Some(template) = template {
        wrong.push("/spec/jobTemplate/metadata/annotations".to_owned());
        wrong.push(format!("{template}/annotations"));
        wrong.push(format!("{template}/metadata/labels"));
        wrong.push(format!("{template}/spec/annotations"));
    }
    let mut problems: Vec<String> = Vec::new();
    for pointer in wrong.iter().filter(|pointer| Some(*pointer) != place.as_ref()) {
        for key in keys(pointer).into_iter().filter(|key| !right.contains(key)) {
            let at = pointer.trim_start_matches('/').replace('/', ".");
            problems.push(format!(
                "{}: stands in {at}, where no pod of the {} gets it: {remedy}",
                key.escape_debug(),
                kind.escape_debug()
            ));
        }
    }
    problems.dedup();
    // A controller that podkey does not know may copy its object's annotations to the pods.
    if place.is_none() && !group.is_empty() {
        let note = "has annotations of podkey, but podkey does not know this kind: give podkey the pod that its controller makes";
        return (Vec::new(), (!problems.is_empty()).then(|| note.to_owned()));
    }
    (problems, None)
}

/// The annotations that ask the injectors of HashiCorp and OpenBao.
const VAULT_K8S: [&str; 2] = ["vault.hashicorp.com/agent-inject", "openbao.org/agent-inject"];

/// For a pod that asks for nothing: a note on an annotation that its author may have meant for podkey.
pub(super) fn look_alike(pod: &Value, config: &Config) -> Option<String> {
    let annotations = pod.pointer("/metadata/annotations").and_then(Value::as_object);
    let mut keys = annotations.into_iter().flatten().map(|(key, _)| key.as_str());
    if !config.reads_vault_k8s() && keys.clone().any(|key| VAULT_K8S.contains(&key)) {
        return Some("podkey reads the annotations of vault-k8s only where its config has vaultK8s".to_owned());
    }
    let key = keys.find(|key| key.contains("podkey") && !key.starts_with(PREFIX))?;
    Some(format!(
        "the annotation {} is not one of podkey's, which all begin with {PREFIX}",
        key.chars().take(253).collect::<String>().escape_debug()
    ))
}
