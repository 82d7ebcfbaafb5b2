//! Annotations of podkey that are in the wrong place of a manifest, or misspelled.

use std::collections::BTreeSet;

use serde_json::Value;

use super::finding::{Finding, Level, is_ours};
use super::manifest::{group_and_kind, template_of};

use crate::inject::{Config, PREFIX, unquoted};

/// An annotation of podkey in a place from which it reaches no pod.
pub(crate) struct Misplaced {
    pub(crate) key: String,
    /// The map that the annotation stands in, as a JSON pointer.
    pub(crate) pointer: String,
    pub(crate) message: String,
}

/// What is said of an object whose kind podkey does not know.
const UNKNOWN_KIND: &str =
    "has annotations of podkey, but podkey does not know this kind: give podkey the pod that its controller makes";

/// Each annotation of podkey in a place from which it reaches no pod. For a kind that podkey does not know: a warning.
pub(crate) fn misplaced(document: &Value) -> (Vec<Misplaced>, Option<&'static str>) {
    let (group, kind) = group_and_kind(document);
    let template = match (group, kind) {
        ("", "Pod") => Some(""),
        _ => template_of(group, kind),
    };
    let place = template.map(|template| format!("{template}/metadata/annotations"));
    let right = place.as_deref().map(|place| ours(document, place)).unwrap_or_default();
    let right = BTreeSet::from_iter(right);
    let remedy = match &place {
        Some(place) => format!("move it to {}", dotted(place)),
        None => "put it on the pod template of the object that makes the pods".to_owned(),
    };
    let mut problems = Vec::new();
    for pointer in wrong_places(template) {
        if Some(&pointer) == place.as_ref() {
            continue;
        }
        for key in ours(document, &pointer).into_iter().filter(|key| !right.contains(key)) {
            let whom = match template {
                Some("") => "where podkey does not read it".to_owned(),
                _ => format!("where no pod of the {} gets it", unquoted(kind)),
            };
            let message = format!("stands in {}, {whom}: {remedy}", dotted(&pointer));
            problems.push(Misplaced {
                key: unquoted(key),
                pointer: pointer.clone(),
                message,
            });
        }
    }
    // A controller that podkey does not know may copy its object's annotations to the pods.
    if place.is_none() && !group.is_empty() {
        return (Vec::new(), has_key_of_ours(document).then_some(UNKNOWN_KIND));
    }
    (problems, None)
}

/// The keys of podkey's annotations in the map at the pointer.
fn ours<'d>(document: &'d Value, pointer: &str) -> Vec<&'d str> {
    let annotations = document.pointer(pointer).and_then(Value::as_object);
    let keys = annotations.into_iter().flatten().map(|(key, _)| key.as_str());
    keys.filter(|key| is_ours(key)).collect()
}

fn dotted(pointer: &str) -> String {
    pointer.trim_start_matches('/').replace('/', ".")
}

/// Whether a key at any depth is one of podkey's.
fn has_key_of_ours(value: &Value) -> bool {
    match value {
        Value::Object(fields) => fields.iter().any(|(key, value)| is_ours(key) || has_key_of_ours(value)),
        Value::Array(items) => items.iter().any(has_key_of_ours),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// Usual wrong places: on the object, on a CronJob's job, beside the annotations or among the labels.
fn wrong_places(template: Option<&str>) -> BTreeSet<String> {
    let mut wrong = BTreeSet::from(
        [
            "/metadata/annotations",
            "/metadata",
            "/spec/annotations",
            "/spec/metadata/annotations",
        ]
        .map(str::to_owned),
    );
    if let Some(template) = template {
        let below = [
            "/annotations",
            "/metadata",
            "/metadata/labels",
            "/spec/annotations",
            "/spec/metadata/annotations",
        ];
        wrong.extend(below.map(|place| format!("{template}{place}")));
        wrong.insert("/spec/jobTemplate/metadata/annotations".to_owned());
    }
    wrong
}

/// The annotations that ask the injectors of HashiCorp and OpenBao.
const VAULT_K8S: [&str; 2] = ["vault.hashicorp.com/agent-inject", "openbao.org/agent-inject"];

/// For a pod that asks for nothing: what its author may have meant for podkey.
pub(super) fn look_alike(pod: &Value, config: &Config) -> Option<Finding> {
    let annotations = pod.pointer("/metadata/annotations").and_then(Value::as_object);
    let mut keys = annotations.into_iter().flatten().map(|(key, _)| key.as_str());
    if !config.reads_vault_k8s() && keys.clone().any(|key| VAULT_K8S.contains(&key)) {
        // The pod may well be meant for them.
        let note = "podkey reads the annotations of vault-k8s only where its config has vaultK8s";
        return Some(Finding::of(Level::Note, note));
    }
    let key = keys.find(|key| key.contains("podkey") && !key.starts_with(PREFIX))?;
    Some(Finding::of(
        Level::Warning,
        format!(
            "the annotation {} is not one of podkey's, which all begin with {PREFIX}",
            key.chars().take(253).collect::<String>().escape_debug()
        ),
    ))
}
