//! Manifests as `kubectl apply` reads them: documents, lists, and the place of the pod in each kind.

use serde_json::{Map, Value, json};

use super::OfflineError;
use super::places::Place;
use crate::inject::explain;

/// Kinds with a pod template: group, kind and the place of the template.
pub(super) const TEMPLATES: [(&str, &str, &str); 11] = [
    ("apps", "Deployment", "/spec/template"),
    ("apps", "ReplicaSet", "/spec/template"),
    ("apps", "StatefulSet", "/spec/template"),
    ("apps", "DaemonSet", "/spec/template"),
    ("batch", "Job", "/spec/template"),
    ("batch", "CronJob", "/spec/jobTemplate/spec/template"),
    (ARC, "AutoscalingRunnerSet", "/spec/template"),
    (ARC, "EphemeralRunnerSet", "/spec/ephemeralRunnerSpec"),
    (ARC, "EphemeralRunner", "/spec"),
    ("", "ReplicationController", "/spec/template"),
    ("", "PodTemplate", "/template"),
];
const ARC: &str = "actions.github.com";

/// The group (empty: the core one) and the kind of an object.
pub(crate) fn group_and_kind(document: &Value) -> (&str, &str) {
    let text = |pointer: &str| document.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let group = text("/apiVersion").split_once('/').map_or("", |(group, _)| group);
    (group, text("/kind"))
}

/// The place of the pod template in objects of this kind.
pub(crate) fn template_of(group: &str, kind: &str) -> Option<&'static str> {
    let mut known = TEMPLATES.iter();
    let (_, _, place) = known.find(|(known_group, known, _)| *known_group == group && *known == kind)?;
    Some(place)
}

/// The place of the pod in an object: a JSON pointer, which is empty for a pod.
pub(super) fn template_in(document: &Value) -> &'static str {
    let (group, kind) = group_and_kind(document);
    template_of(group, kind).unwrap_or_default()
}

/// Reads a manifest as `kubectl apply` does, which is YAML 1.1: `0644` is 420 and `yes` is true.
///
/// Two differences remain: a key such as `on:` stays as written (kubectl changes it to `"true"`), and a duplicate key in a map is
/// an error here (kubectl sends the manifest to the API server, which warns or refuses).
pub(crate) fn read(manifest: &str) -> Result<Vec<Value>, OfflineError> {
    let objects = objects(manifest).map_err(|Broken { why, at }| OfflineError::Yaml(why, at))?;
    Ok(objects.into_iter().map(|object| object.value).collect())
}

/// An object of a manifest.
pub(super) struct Object {
    pub(super) value: Value,
    /// The place of the document among those that have a value, from 0.
    pub(super) document: usize,
    /// The place of the object in its document, as a JSON pointer: `/items/0` in a list.
    pub(super) pointer: String,
}

/// Why a text is not YAML, and where.
pub(super) struct Broken {
    pub(super) why: String,
    pub(super) at: Option<Place>,
}

/// The most documents of a manifest. Large charts make some hundred.
const MAX_DOCUMENTS: usize = 10_000;

/// Reads a manifest as [`read`] does.
pub(super) fn objects(manifest: &str) -> Result<Vec<Object>, Broken> {
    let options = serde_saphyr::options! {
        legacy_octal_numbers: true,
        budget: serde_saphyr::budget! { max_documents: MAX_DOCUMENTS },
    };
    let documents: Vec<Value> =
        serde_saphyr::from_multiple_with_options(manifest, options).map_err(|error| Broken {
            why: explain(&error, manifest),
            at: error.location().and_then(|at| {
                let (line, column) = (at.line().try_into().ok()?, at.column().try_into().ok()?);
                (line > 0).then_some(Place { line, column })
            }),
        })?;
    let mut objects = Vec::new();
    let documents = documents.into_iter().filter(|document| !document.is_null());
    for (document, mut value) in documents.enumerate() {
        whole_numbers(&mut value);
        unfold(
            Object {
                value,
                document,
                pointer: String::new(),
            },
            &mut objects,
        );
    }
    Ok(objects)
}

/// Adds the items of a `List` or of a list of one kind, such as `PodList`, whose items may leave out `apiVersion` and `kind`; or the
/// object itself.
fn unfold(mut object: Object, objects: &mut Vec<Object>) {
    let text = |key: &str| object.value[key].as_str().unwrap_or_default().to_owned();
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    let (Some(kind), Some(items)) = (
        kind.strip_suffix("List"),
        object.value.get_mut("items").and_then(Value::as_array_mut),
    ) else {
        objects.push(object);
        return;
    };
    for (index, mut value) in std::mem::take(items).into_iter().enumerate() {
        if let (false, Some(fields)) = (kind.is_empty() || value["kind"].is_string(), value.as_object_mut()) {
            fields.insert("apiVersion".to_owned(), Value::from(api_version.as_str()));
            fields.insert("kind".to_owned(), Value::from(kind));
        }
        let item = Object {
            value,
            document: object.document,
            pointer: format!("{}/items/{index}", object.pointer),
        };
        unfold(item, objects);
    }
}

/// What is said of an object without `apiVersion` and `kind`.
pub(super) const NO_KIND: &str = "the manifest has a document without apiVersion and kind: it is not a Kubernetes object. For a chart, \
    give its rendered manifests, which helm template RELEASE CHART prints";

/// The longest kind and name in a message, in characters. Kubernetes takes at most 253 for a name.
const MAX_NAME: usize = 320;

/// Kind and name, such as `Deployment/web`, without control characters for a terminal.
pub(crate) fn name_of(document: &Value) -> Result<String, OfflineError> {
    let text = |pointer: &str| document.pointer(pointer).and_then(Value::as_str);
    let (Some(_), Some(kind)) = (text("/apiVersion"), text("/kind")) else {
        let is_foreign = ["apiVersion", "kind", "spec"]
            .iter()
            .all(|key| document.get(key).is_none());
        return Err(match is_foreign {
            true => OfflineError::Foreign,
            false => OfflineError::Kind(NO_KIND.to_owned()),
        });
    };
    let name = text("/metadata/name").or_else(|| text("/metadata/generateName"));
    let full = name.map_or_else(|| kind.to_owned(), |name| format!("{kind}/{name}"));
    Ok(full.chars().take(MAX_NAME).flat_map(char::escape_debug).collect())
}

/// kubectl turns YAML into JSON through Go's float64, which writes `1e3` as 1000, and `08`, which is not octal, as 8. The API server
/// refuses `8.0` where it wants an integer.
fn whole_numbers(value: &mut Value) {
    /// Up to this number an f64 represents every whole number exactly.
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

/// The pod, or the pod that a controller would make from the manifest's template. None: the kind has neither.
pub(crate) fn pod_of(document: Value) -> Result<Option<Value>, OfflineError> {
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
        // ARC's controller puts this label on each runner pod, and podkey recognises runner pods by this label.
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
