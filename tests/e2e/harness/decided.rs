//! A pod as podkey injects it under a config of the test's own: decided here, by the webhook's own code, and created in a namespace
//! that the installed webhook leaves alone.

use podkey::inject::{Config, Decision, Pod, decide};
use serde_json::{Value, json};

use super::install::{self, OTHER_RELEASE};
use super::namespace::Namespace;
use super::settings::settings;

/// A namespace whose pods the installed webhook, if there is one, leaves alone.
pub fn namespace(topic: &str) -> Namespace {
    Namespace::bare(topic, &json!({OTHER_RELEASE: "none"}))
}

/// The config of the installed webhook, with this way for the agent's program, and an identity for jobs.
pub fn config(binary: &str) -> Value {
    let image = json!({"image": settings().image, "imagePullPolicy": "IfNotPresent", "binary": binary});
    let connection = json!({"job": {"mount": "jobs", "role": "ci", "audience": "https://vault.example.com"}});
    let config = super::merge(install::config(), &json!({"connections": {"default": connection}}));
    super::merge(config, &json!({"agent": image}))
}

/// The injected pod. Fails if podkey refuses or ignores the pod.
pub fn injected(pod: &Value, namespace: &Namespace, config: &Value) -> Value {
    let config = Config::parse(&config.to_string(), |_| Ok(settings().openbao_ca.clone())).unwrap();
    let mut pod = super::merge(json!({"apiVersion": "v1", "kind": "Pod"}), pod);
    let text = pod.to_string();
    let parsed = Pod::parse(&text).unwrap();
    match decide(&parsed, &namespace.name, &config) {
        Decision::Inject(patch, _) => {
            let patch: json_patch::Patch = serde_json::from_slice(patch.as_json()).unwrap();
            json_patch::patch(&mut pod, &patch).unwrap();
            pod
        }
        Decision::Ignore(_) => panic!("podkey ignores {pod}"),
        Decision::Deny(problems) => panic!("{problems}"),
    }
}
