//! The webhook's own checks, for the pod with the annotations that are printed.

use serde_json::{Map, Value};

use super::replacement::PodReplacement;
use crate::inject::{Config, DEFAULT_CONNECTION, Decision, Pod, decide};

/// Why the webhook would refuse the pod with podkey's annotations in place of vault-k8s', whatever the operator's config is. Empty: it
/// would not.
pub(super) fn refusals(pod: &Value, replacement: &PodReplacement, namespace: &str) -> Vec<String> {
    let annotations: Result<Map<String, Value>, _> = serde_saphyr::from_str(&replacement.yaml());
    let Ok(annotations) = annotations else {
        return vec!["the annotations are not valid YAML: write them yourself".to_owned()];
    };
    let mut pod = pod.clone();
    pod["metadata"]["annotations"] = Value::Object(annotations);
    if replacement.shares_processes() {
        pod["spec"]["shareProcessNamespace"] = Value::Bool(true);
    }
    let json = pod.to_string();
    let (Some(config), Ok(pod)) = (Config::assumed(DEFAULT_CONNECTION), Pod::parse(&json)) else {
        return Vec::new();
    };
    match decide(&pod, namespace, &config) {
        Decision::Ignore(_) if replacement.lost.is_empty() => {
            vec!["nothing is left that podkey would do for the pod".to_owned()]
        }
        Decision::Inject(..) | Decision::Ignore(_) => Vec::new(),
        Decision::Deny(problems) => problems
            .iter()
            .map(|problem| {
                format!(
                    "podkey refuses the annotations above: {}: {}",
                    problem.key, problem.message
                )
            })
            .collect(),
    }
}
