//! `podkey inject`: the webhook's decision offline, for whoever writes annotations and wants to see what comes of them.

use json_patch::Patch;
use serde_json::{Map, Value, json};

use crate::inject::{Config, Decision, INJECTED, PREFIX, Pod, Problem, Problems, decide, explain};

/// What a manifest becomes.
#[derive(Debug)]
pub struct Offline {
    /// The pod, injected where it asked for it.
    pub pod: Value,
    /// The operations that made it so.
    pub patch: Value,
    /// What the webhook would tell the pod's author.
    pub notes: Vec<String>,
}

/// Why there is no pod to show.
#[derive(Debug, thiserror::Error)]
pub enum OfflineError {
    /// The text is no YAML.
    #[error("the manifest cannot be read: {0}")]
    Yaml(String),
    /// The manifest has no pod in it.
    #[error("{0}")]
    Kind(String),
    /// The webhook would refuse the pod: a line for each problem.
    #[error("{}", .0.join("; "))]
    Denied(Vec<String>),
    /// The pod is none.
    #[error("{0}")]
    Pod(String),
}

impl OfflineError {
    /// Tells of which document it is.
    fn of(self, prefix: &str) -> Self {
        match self {
            Self::Kind(message) => Self::Kind(format!("{prefix}{message}")),
            Self::Pod(message) => Self::Pod(format!("{prefix}{message}")),
            other => other,
        }
    }
}

/// Kinds whose pod template is read, with the place of the template.
const TEMPLATES: [(&str, &str, &str); 10] = [
    ("apps", "Deployment", "/spec/template"),
    ("apps", "ReplicaSet", "/spec/template"),
    ("apps", "StatefulSet", "/spec/template"),
    ("apps", "DaemonSet", "/spec/template"),
    ("batch", "Job", "/spec/template"),
    ("batch", "CronJob", "/spec/jobTemplate/spec/template"),
    (ARC, "AutoscalingRunnerSet", "/spec/template"),
    (ARC, "EphemeralRunnerSet", "/spec/ephemeralRunnerSpec"),
    (ARC, "EphemeralRunner", "/spec"),
    ("", "PodTemplate", "/template"),
];
const ARC: &str = "actions.github.com";

/// Decides for every document of a manifest that has a pod in it, in order, and notes which have none. One that would be
/// denied leaves nothing to show, but everything wrong with the others is told too.
pub fn inject(manifest: &str, namespace: Option<&str>, config: &Config) -> Result<Vec<Offline>, OfflineError> {
    let documents = read(manifest)?;
    if documents.is_empty() {
        return Err(OfflineError::Kind("the manifest is empty".to_owned()));
    }
    let several = documents.len() > 1;
    let mut shown: Vec<Offline> = Vec::new();
    let mut podless = Vec::new();
    let mut skipped = Vec::new();
    let mut denied = Vec::new();
    for document in documents {
        let name = name_of(&document)?;
        let prefix = if several { format!("{name}: ") } else { String::new() };
        let (misplaced, unknown) = misplaced(&document);
        denied.extend(misplaced.iter().map(|problem| format!("{prefix}{problem}")));
        skipped.extend(unknown.map(|note| format!("{prefix}{note}")));
        let Some(pod) = pod_of(document).map_err(|error| error.of(&prefix))? else {
            skipped.push(format!("{prefix}skipped, podkey finds no pod in it"));
            podless.push(name);
            continue;
        };
        match decide_one(pod, namespace, config) {
            Ok(mut offline) => {
                offline.notes = skipped
                    .drain(..)
                    .chain(offline.notes.iter().map(|note| format!("{prefix}{note}")))
                    .collect();
                shown.push(offline);
            }
            Err(OfflineError::Denied(problems)) => {
                denied.extend(problems.iter().map(|problem| format!("{prefix}{problem}")));
            }
            Err(error) => return Err(error.of(&prefix)),
        }
    }
    if !denied.is_empty() {
        return Err(OfflineError::Denied(denied));
    }
    let Some(last) = shown.last_mut() else {
        let known: Vec<_> = TEMPLATES.iter().map(|(_, kind, _)| *kind).collect();
        return Err(OfflineError::Kind(format!(
            "podkey finds no pod in {}: give a Pod, {}",
            podless.join(", "),
            known.join(", ")
        )));
    };
    last.notes.append(&mut skipped);
    Ok(shown)
}

/// A problem for each of our annotations that stands where no pod gets it; or, of a kind that podkey does not know, a note.
fn misplaced(document: &Value) -> (Vec<String>, Option<String>) {
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
    let mend = match &place {
        Some(place) => format!("move it to {}", place.trim_start_matches('/').replace('/', ".")),
        None => "put it on the pod template of what makes the pods".to_owned(),
    };
    // Where people put them: on the object, on a CronJob's job, beside the template's metadata or among its labels.
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
                "{}: stands in {at}, where no pod of the {} gets it: {mend}",
                key.escape_debug(),
                kind.escape_debug()
            ));
        }
    }
    problems.dedup();
    // Some controllers hand their object's annotations on to the pods.
    if place.is_none() && !group.is_empty() {
        let note =
            "has annotations of podkey, but podkey does not know its kind: give the pod that its controller makes";
        return (Vec::new(), (!problems.is_empty()).then(|| note.to_owned()));
    }
    (problems, None)
}

/// A note on an annotation that may have been meant for podkey, of a pod that asks for nothing.
fn look_alike(pod: &Value) -> Option<String> {
    let annotations = pod.pointer("/metadata/annotations").and_then(Value::as_object);
    let mut keys = annotations.into_iter().flatten().map(|(key, _)| key.as_str());
    let key = keys.find(|key| key.contains("podkey") && !key.starts_with(PREFIX))?;
    Some(format!(
        "the annotation {} is none of podkey's, which all begin with {PREFIX}",
        key.chars().take(253).collect::<String>().escape_debug()
    ))
}

/// The group (empty: the core one) and the kind of an object.
fn group_and_kind(document: &Value) -> (&str, &str) {
    let text = |pointer: &str| document.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let group = text("/apiVersion").split_once('/').map_or("", |(group, _)| group);
    (group, text("/kind"))
}

/// Where objects of this kind have their pod template.
fn template_of(group: &str, kind: &str) -> Option<&'static str> {
    let mut known = TEMPLATES.iter();
    let (_, _, place) = known.find(|(known_group, known, _)| *known_group == group && *known == kind)?;
    Some(place)
}

/// Namespaces that the chart leaves out of the webhook's configuration, whatever its release's own is.
const LEFT_OUT: [&str; 3] = ["kube-system", "kube-node-lease", "kube-public"];

/// A line for each problem, one for those that are too many, and one for the allow rule that comes nearest.
fn lines(problems: &Problems) -> Vec<String> {
    let told = problems
        .iter()
        .map(|Problem { key, message, .. }| format!("{key}: {message}"));
    let mut lines: Vec<String> = told.collect();
    let more = problems.len() - lines.len();
    if more > 0 {
        lines.push(format!("and at least {more} problems more"));
    }
    // Whoever has the config may know its rules.
    lines.extend(problems.no_rule().map(|no_rule| format!("note: {no_rule}")));
    lines
}

/// Reads a manifest as `kubectl apply` does, which is YAML 1.1: `0644` is 420 and `yes` is true.
///
/// What differs all the same: a key such as `on:` stays as it is written (kubectl makes `"true"` of it), and a key that
/// is written twice in one map is an error here (kubectl asks the API server, which warns or refuses).
fn read(manifest: &str) -> Result<Vec<Value>, OfflineError> {
    let options = serde_saphyr::options! { legacy_octal_numbers: true };
    let mut documents: Vec<Value> = serde_saphyr::from_multiple_with_options(manifest, options)
        .map_err(|error| OfflineError::Yaml(explain(&error, manifest)))?;
    documents.retain(|document| !document.is_null());
    documents.iter_mut().for_each(whole_numbers);
    Ok(documents.into_iter().flat_map(unfold).collect())
}

/// The items of a `List`, or of a `PodList` and its like, whose items may leave out what they are; or the document itself.
fn unfold(mut document: Value) -> Vec<Value> {
    let text = |key: &str| document[key].as_str().unwrap_or_default().to_owned();
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    let (Some(kind), Some(items)) = (
        kind.strip_suffix("List"),
        document.get_mut("items").and_then(Value::as_array_mut),
    ) else {
        return vec![document];
    };
    let items = std::mem::take(items);
    let whole = items.into_iter().map(|mut item| {
        if let (false, Some(fields)) = (kind.is_empty() || item["kind"].is_string(), item.as_object_mut()) {
            fields.insert("apiVersion".to_owned(), Value::from(api_version.as_str()));
            fields.insert("kind".to_owned(), Value::from(kind));
        }
        item
    });
    whole.flat_map(unfold).collect()
}

/// `Deployment/web`, fit for one line of a terminal.
fn name_of(document: &Value) -> Result<String, OfflineError> {
    let text = |pointer: &str| document.pointer(pointer).and_then(Value::as_str);
    let (Some(_), Some(kind)) = (text("/apiVersion"), text("/kind")) else {
        return Err(OfflineError::Kind(
            "the manifest has a document without apiVersion and kind, so it is none for Kubernetes. Of a chart and its values give \
             what they make: helm template … | podkey inject --config FILE -f -"
                .to_owned(),
        ));
    };
    let name = text("/metadata/name").or_else(|| text("/metadata/generateName"));
    let full = name.map_or_else(|| kind.to_owned(), |name| format!("{kind}/{name}"));
    Ok(full.escape_debug().to_string())
}

/// kubectl turns YAML into JSON by way of Go's float64, which writes `1e3` as 1000 and `08`, no octal number, as 8. The
/// API server takes no `8.0` where it wants an integer.
fn whole_numbers(value: &mut Value) {
    /// Up to here each whole number has an f64 of its own.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match value {
        Value::Number(number) => {
            let whole = number
                .as_f64()
                .filter(|float| number.is_f64() && float.fract() == 0.0 && float.abs() <= EXACT);
            if let Some(whole) = whole {
                #[allow(clippy::cast_possible_truncation, reason = "whole, and within 2^53")]
                let whole = whole as i64;
                *value = Value::from(whole);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(whole_numbers),
        Value::Object(fields) => fields.values_mut().for_each(whole_numbers),
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

fn decide_one(mut pod: Value, namespace: Option<&str>, config: &Config) -> Result<Offline, OfflineError> {
    let text = pod.to_string();
    let view = Pod::parse(&text).map_err(|error| OfflineError::Pod(error.to_string()))?;
    let own_namespace = pod
        .pointer("/metadata/namespace")
        .and_then(Value::as_str)
        .map(str::to_owned);
    let namespace = namespace
        .map(str::to_owned)
        .or(own_namespace)
        .unwrap_or_else(|| "default".to_owned());
    match decide(&view, &namespace, config) {
        Decision::Ignore(mut notes) => {
            notes.push("podkey has nothing to do: the pod asks for nothing".to_owned());
            notes.extend(look_alike(&pod));
            Ok(Offline {
                pod,
                patch: json!([]),
                notes,
            })
        }
        Decision::Deny(problems) => Err(OfflineError::Denied(lines(&problems))),
        Decision::Inject(patch, mut notes) => {
            if LEFT_OUT.contains(&&*namespace) {
                notes.push(format!(
                    "podkey: its chart leaves the namespace {namespace} out: the webhook is not asked there, and the pod gets no secret"
                ));
            }
            let broken =
                |error: &dyn std::fmt::Display| OfflineError::Pod(format!("the patch does not apply: {error}"));
            let patch: Value = serde_json::from_slice(patch.as_json()).map_err(|error| broken(&error))?;
            let operations: Patch = serde_json::from_value(patch.clone()).map_err(|error| broken(&error))?;
            json_patch::patch(&mut pod, &operations).map_err(|error| broken(&error))?;
            Ok(Offline { pod, patch, notes })
        }
    }
}

/// The pod itself, or the one that a controller would make from the manifest's template; none where the kind has neither.
fn pod_of(document: Value) -> Result<Option<Value>, OfflineError> {
    let text = |pointer: &str| document.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (group, kind) = group_and_kind(&document);
    if group.is_empty() && kind == "Pod" {
        return Ok(Some(document));
    }
    let Some(place) = template_of(group, kind) else {
        return Ok(None);
    };
    let Some(template) = document.pointer(place).and_then(Value::as_object) else {
        return Err(OfflineError::Kind(format!("the {kind} has no pod template at {place}")));
    };
    let Some(spec) = template.get("spec") else {
        return Err(OfflineError::Kind(format!(
            "the {kind} has no pod spec at {place}/spec"
        )));
    };
    let mut metadata = template
        .get("metadata")
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default();
    for (key, pointer) in [("generateName", "/metadata/name"), ("namespace", "/metadata/namespace")] {
        let value = text(pointer);
        if !value.is_empty() && !metadata.contains_key(key) {
            metadata.insert(
                key.to_owned(),
                Value::from(if key == "generateName" {
                    format!("{value}-")
                } else {
                    value.to_owned()
                }),
            );
        }
    }
    if group == ARC {
        // ARC's controller labels each runner pod, and podkey knows it by that.
        if let Some(labels) = metadata
            .entry("labels")
            .or_insert_with(|| Value::Object(Map::new()))
            .as_object_mut()
        {
            labels.insert("actions-ephemeral-runner".to_owned(), Value::from("True"));
        }
    }
    Ok(Some(
        json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec }),
    ))
}
