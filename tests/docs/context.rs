//! What a block of YAML is: manifests, a part of a pod, the operator's config or a part of it, or something else. A part of a pod is put
//! into pods in which it can stand.

use serde_json::{Map, Value, json};

use podkey::inject::vocabulary;

/// What a document of a block is.
pub(crate) enum Part {
    /// A manifest, as it is.
    Manifest(Value),
    /// A part of a pod, in each pod in which the part can stand: one of them has to pass.
    Pods(Vec<Value>),
    /// The operator's config, completed.
    Config(Value),
    /// Something of other programs.
    Other,
}

const OURS: &str = "podkey.dev/";
const THEIRS: [&str; 2] = ["vault.hashicorp.com/", "openbao.org/"];
const FILES: &str = "podkey.dev/files";
/// Annotations of which a pod needs one.
const SECRETS: [&str; 3] = [FILES, "podkey.dev/env", "podkey.dev/job-env"];
const RUNNER: &str = "ghcr.io/actions/actions-runner:latest";

/// What the document is, with the parts in the texts of a ConfigMap.
pub(crate) fn parts(document: &Value) -> Vec<Part> {
    let inner = document["data"].as_object().filter(|_| document["kind"] == "ConfigMap");
    let texts = inner.into_iter().flatten().filter_map(|(_, text)| text.as_str());
    let documents = texts.filter_map(|text| serde_saphyr::from_str::<Value>(text).ok());
    let inner = documents.filter(|document| document.is_object() || document.is_array());
    let mut all: Vec<Part> = inner.map(|document| part(&document)).collect();
    all.insert(0, part(document));
    all
}

fn part(document: &Value) -> Part {
    match document {
        Value::Array(items) => list(items),
        Value::Object(object) => object_part(object),
        _ => Part::Other,
    }
}

fn list(items: &[Value]) -> Part {
    let all = |is: &dyn Fn(&Map<String, Value>) -> bool| {
        !items.is_empty() && items.iter().all(|item| item.as_object().is_some_and(is))
    };
    if all(&is_file) {
        return Part::Pods(pods(&annotations([(FILES, items_as_text(items))]), None));
    }
    let rules = keys_below("connections.NAME.allow[].");
    if all(&|item| is_of(item, &rules)) {
        return Part::Config(with_connection(json!({"allow": items})));
    }
    Part::Other
}

fn items_as_text(items: &[Value]) -> String {
    Value::Array(items.to_vec()).to_string()
}

fn object_part(object: &Map<String, Value>) -> Part {
    let whole = || Value::Object(object.clone());
    let policy: Vec<&str> = vocabulary::job_policy_fields().map(|field| field.key).collect();
    if object.contains_key("kind") && object.contains_key("apiVersion") {
        Part::Manifest(whole())
    } else if object.contains_key("metadata") {
        Part::Pods(pods(&object["metadata"], object.get("spec")))
    } else if object.get("annotations").is_some_and(has_annotations) {
        Part::Pods(pods(&json!({"annotations": object["annotations"]}), None))
    } else if let Some(template) = object.get("template").filter(|template| template.is_object()) {
        Part::Manifest(runner(&template["metadata"], template.get("spec")))
    } else if let Some(template) = object.get("spec").and_then(|spec| spec.get("template")) {
        Part::Pods(pods(&template["metadata"], template.get("spec")))
    } else if !object.is_empty() && object.keys().all(|key| is_annotation(key)) {
        Part::Pods(pods(&json!({"annotations": object}), None))
    } else if is_file(object) {
        Part::Pods(pods(
            &annotations([(FILES, items_as_text(&[with_secret(object)]))]),
            None,
        ))
    } else if let Some(config) = object.get("config").filter(|config| config["connections"].is_object()) {
        // In the values of podkey's chart, which names the image.
        Part::Config(with_image(config.clone()))
    } else if object
        .get("vaultK8s")
        .is_some_and(|section| !section["enabled"].is_null())
    {
        // Values of podkey's chart.
        Part::Other
    } else if is_of(object, &keys_below("")) {
        Part::Config(with_image(whole()))
    } else if is_of(object, &keys_below("connections.NAME.")) {
        Part::Config(with_connection(whole()))
    } else if is_of(object, &policy) {
        Part::Config(with_connection(json!({"job": {"role": "ci", "policy": object}})))
    } else {
        Part::Other
    }
}

/// Whether all keys of the object are among these.
fn is_of(object: &Map<String, Value>, keys: &[&str]) -> bool {
    !object.is_empty() && object.keys().all(|key| keys.contains(&key.as_str()))
}

/// Whether the object is an entry of `podkey.dev/files`, or a part of one: it has a file, and nothing or a known field beside it.
fn is_file(object: &Map<String, Value>) -> bool {
    let is_field = |key: &String| vocabulary::file_fields().any(|field| field.key == key);
    let mut beside = object.keys().filter(|key| *key != "file");
    object.get("file").is_some_and(Value::is_string) && (object.len() == 1 || beside.any(is_field))
}

/// The entry with a secret, if nothing says what is in the file.
fn with_secret(entry: &Map<String, Value>) -> Value {
    let mut entry = entry.clone();
    if !entry.contains_key("secret") && !entry.contains_key("template") {
        entry.insert("secret".to_owned(), "kv/data/web".into());
    }
    Value::Object(entry)
}

/// The keys of the config that stand directly below the path.
fn keys_below(path: &str) -> Vec<&'static str> {
    let keys = vocabulary::config_keys().filter_map(|key| key.key.strip_prefix(path));
    keys.filter(|key| !key.contains('.')).collect()
}

fn with_image(mut config: Value) -> Value {
    if config["agent"]["image"].is_null() {
        config["agent"]["image"] = "registry.example.com/podkey:0.2.0".into();
    }
    if config["connections"].is_null() {
        config["connections"] = json!({"default": {"address": "https://vault.vault.svc:8200"}});
    }
    config
}

fn with_connection(mut connection: Value) -> Value {
    if connection["address"].is_null() {
        connection["address"] = "https://vault.vault.svc:8200".into();
    }
    if let Some(job) = connection.get_mut("job").and_then(Value::as_object_mut) {
        job.entry("role").or_insert("ci".into());
    }
    with_image(json!({"connections": {"default": connection}}))
}

fn annotations<const N: usize>(pairs: [(&str, String); N]) -> Value {
    let pairs = pairs.map(|(key, value)| (key.to_owned(), Value::String(value)));
    json!({"annotations": Map::from_iter(pairs)})
}

/// The pods in which a part of a pod can stand: a pod with a command, one whose containers see each other's processes, and a runner.
fn pods(metadata: &Value, spec: Option<&Value>) -> Vec<Value> {
    let metadata = complete(metadata);
    let mut shared = json!({"shareProcessNamespace": true, "securityContext": {"runAsUser": 1000, "fsGroup": 1000}});
    if let Some(spec) = spec {
        shared = spec.clone();
    }
    [spec.cloned().unwrap_or_else(|| json!({})), shared]
        .into_iter()
        .map(|mut spec| {
            let names = names(&metadata).unwrap_or_else(|| vec!["web".to_owned()]);
            contain(&mut spec, &names, "registry.example.com/web:1.0.0", "/bin/web");
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
        })
        .chain([runner(&metadata, spec)])
        .collect()
}

/// The template of a scale set of ARC.
fn runner(metadata: &Value, spec: Option<&Value>) -> Value {
    let metadata = complete(metadata);
    let mut spec = spec.cloned().unwrap_or_else(|| json!({}));
    let names = names(&metadata).unwrap_or_else(|| vec!["runner".to_owned()]);
    contain(&mut spec, &names, RUNNER, "/home/runner/run.sh");
    json!({
        "apiVersion": "actions.github.com/v1alpha1",
        "kind": "AutoscalingRunnerSet",
        "metadata": {"name": "runners"},
        "spec": {"template": {"metadata": metadata, "spec": spec}},
    })
}

/// The metadata with a secret to deliver: annotations such as `refresh` are nothing without one.
fn complete(metadata: &Value) -> Value {
    let mut metadata = metadata.clone();
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
        let is_ours = annotations.keys().any(|key| key.starts_with(OURS));
        if is_ours && !SECRETS.iter().any(|key| annotations.contains_key(*key)) {
            annotations.insert(FILES.to_owned(), "- { secret: kv/data/web, file: web.json }".into());
        }
    }
    metadata
}

/// The containers that the annotation names.
fn names(metadata: &Value) -> Option<Vec<String>> {
    let named = metadata["annotations"]["podkey.dev/containers"].as_str()?;
    Some(named.split(',').map(|name| name.trim().to_owned()).collect())
}

/// Completes the containers: those of the spec, or these.
fn contain(spec: &mut Value, names: &[String], image: &str, command: &str) {
    if spec["containers"].is_null() {
        spec["containers"] = names
            .iter()
            .map(|name| json!({"name": name, "command": [command]}))
            .collect();
    }
    for containers in ["containers", "initContainers"] {
        let containers = spec.get_mut(containers).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten() {
            if container.is_object() && container["image"].is_null() {
                container["image"] = image.into();
            }
        }
    }
}

/// Whether the key is of podkey, or of vault-k8s.
fn is_annotation(key: &str) -> bool {
    key.starts_with(OURS) || THEIRS.iter().any(|prefix| key.starts_with(prefix))
}

/// Whether an annotation of podkey or of vault-k8s stands anywhere in the value.
pub(crate) fn has_annotations(value: &Value) -> bool {
    match value {
        Value::Object(object) => object
            .iter()
            .any(|(key, value)| is_annotation(key) || has_annotations(value)),
        Value::Array(items) => items.iter().any(has_annotations),
        _ => false,
    }
}
