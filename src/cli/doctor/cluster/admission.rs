//! What the API server says to the pod: podkey's problems and warnings, and whether podkey has injected the pod.

use serde_json::{Value, json};

use super::refusal::Refusal;
use crate::cli::doctor::examined::asks;
use crate::cli::doctor::finding::Findings;
use crate::cli::doctor::situation::{Admission, ExaminedPod, Situation, items};
use crate::cli::doctor::words::command;
use crate::cli::inject::offline::annotations::{Misplaced, misplaced};
use crate::inject::PREFIX;

const CHECK: &str = "admission";
/// podkey's own answer.
const PODKEY: &str = "podkey";

pub(super) fn check(situation: &Situation, refusal: Option<&Refusal>, findings: &mut Findings) {
    let Some(pod) = &situation.pod else {
        return;
    };
    let namespace = &situation.namespace;
    match (&pod.admission, refusal) {
        (Admission::Admitted(warnings), _) => {
            for warning in warnings {
                findings.warning(CHECK, warning, None);
            }
            admitted(pod, namespace, findings);
        }
        (_, Some(Refusal::Podkey(problems))) => {
            for problem in problems {
                findings.fault(PODKEY, problem, mend(pod, problem));
            }
        }
        (_, Some(Refusal::Other(message))) => {
            findings.fault(CHECK, format!("the API server refuses the pod: {message}"), None);
        }
        (_, Some(Refusal::NoRight)) => {
            let what = "how the API server admits the pod";
            findings.unseen_right(CHECK, what, "create", "pods", Some(namespace));
        }
        (_, Some(Refusal::NoAnswer(error))) => {
            findings.unseen(
                CHECK,
                format!("the API server does not answer to the pod's dry run: {error}"),
                None,
            );
        }
        // Each has a check of its own.
        (_, Some(_)) => findings.unseen(
            CHECK,
            "podkey's answer: another part refuses the pod before, see there",
            None,
        ),
        (_, None) => {}
    }
    misplaced_annotations(pod, findings);
}

fn admitted(pod: &ExaminedPod, namespace: &str, findings: &mut Findings) {
    let name = &pod.name;
    let is_called = || match &pod.probe {
        Some(probe) if pod.exists => matches!(Refusal::in_answer(probe), Some(Refusal::Podkey(_))),
        _ => true,
    };
    if pod.is_injected() && !is_called() {
        let message = format!(
            "{name} has podkey's parts, and the API server admits a copy: whether podkey would inject a new pod is not seen"
        );
        findings.unseen(CHECK, message, None);
    } else if pod.is_injected() {
        findings.ok(
            CHECK,
            format!("the API server admits {name}, and podkey injects the pod"),
        );
        if pod.exists && asks(&pod.written) && !has_init(&pod.written) && pod.plan.is_some() && has_init(&pod.pod) {
            created_without(pod, namespace, findings);
        }
    } else if asks(&pod.written) {
        // An earlier finding says why, where the doctor sees the webhook's configuration.
        let message = format!("the API server admits {name}, but podkey does not inject the pod: it gets no secrets");
        findings.fault(CHECK, message, None);
    } else if pod.object.as_ref().is_none_or(|object| misplaced(object).0.is_empty()) {
        let message = format!("{name} asks for no secrets: no annotation of the pod begins with {PREFIX}");
        findings.fault("annotations", message, Some("podkey explain files".to_owned()));
    }
}

fn has_init(pod: &Value) -> bool {
    items(pod, "/spec/initContainers").any(|container| container["name"] == "podkey-init")
}

/// The pod exists, and was created while podkey did not inject it.
fn created_without(pod: &ExaminedPod, namespace: &str, findings: &mut Findings) {
    let name = pod.name.trim_start_matches("pod ");
    let is_owned = items(&pod.written, "/metadata/ownerReferences").next().is_some();
    let delete = command(&["kubectl", "delete", "pod", name, "--namespace", namespace]);
    let get = command(&["kubectl", "get", "pod", name, "--namespace", namespace, "-o", "yaml"]);
    let again = format!("{get} | kubectl replace --force -f -");
    let message = format!(
        "{} was created without podkey's parts; a new pod would get its secrets",
        pod.name
    );
    findings.fault(CHECK, message, Some(if is_owned { delete } else { again }));
}

/// Annotations that stand where no pod gets them.
fn misplaced_annotations(pod: &ExaminedPod, findings: &mut Findings) {
    let Some(object) = &pod.object else {
        return;
    };
    let (found, _) = misplaced(object);
    let mut mending = moved(pod, object, &found);
    for Misplaced { key, message, .. } in found {
        // One command moves all annotations.
        findings.fault("annotations", format!("{key}: {message}"), mending.take());
    }
}

/// The command that moves the annotations to the pod template.
fn moved(pod: &ExaminedPod, object: &Value, found: &[Misplaced]) -> Option<String> {
    let manifest = pod.manifest.as_ref()?;
    let mut change = json!({});
    for Misplaced { key, pointer, .. } in found {
        let value = object.pointer(pointer)?.get(key)?.clone();
        *place_in(&mut change, pointer, key) = Value::Null;
        *place_in(&mut change, &format!("{}/metadata/annotations", manifest.template), key) = value;
    }
    (!found.is_empty()).then(|| manifest.patch(&change))
}

/// The value of a key in an object at a place; objects on the way are made.
fn place_in<'v>(object: &'v mut Value, pointer: &str, key: &str) -> &'v mut Value {
    let parts = pointer.split('/').filter(|part| !part.is_empty());
    &mut parts.fold(object, |inner, part| &mut inner[part])[key]
}

/// The command that mends one of podkey's problems. Where only the author knows what to write: the command that explains.
fn mend(pod: &ExaminedPod, problem: &str) -> Option<String> {
    let (key, message) = problem.split_once(": ")?;
    if let (Some(manifest), Some(field)) = (&pod.manifest, key.strip_prefix("spec."))
        && ["shareProcessNamespace", "hostPID"].contains(&field)
    {
        return Some(manifest.patch_pod(json!({"spec": {field: null}})));
    }
    if let Some(manifest) = &pod.manifest
        && let Some(value) = pod.written["metadata"]["annotations"][key].as_str()
        && let Some((_, rest)) = message.split_once("did you mean \"")
        && let Some((word, _)) = rest.split_once('"')
    {
        let annotations = if message.starts_with("is not an annotation") {
            let right = format!("{PREFIX}{word}");
            // The author has written both: which of the values is right, only the author knows.
            if !pod.written["metadata"]["annotations"][&right].is_null() {
                return Some(command(&["podkey", "explain", word]));
            }
            Some(json!({key: null, right: value}))
        } else {
            message.contains(&format!("{value:?}")).then(|| json!({key: word}))
        };
        if let Some(annotations) = annotations {
            return Some(manifest.patch_pod(json!({"metadata": {"annotations": annotations}})));
        }
    }
    let name: String = key.strip_prefix(PREFIX)?.split('[').next()?.to_owned();
    Some(command(&["podkey", "explain", &name]))
}
