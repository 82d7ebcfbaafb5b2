//! The webhook's own checks, for a runner pod as ARC makes it with the annotations of a block: nothing is printed that `podkey inject`
//! refuses.

use serde_json::{Map, Value, json};

use crate::inject::{Config, Decision, Pod, decide};

/// The namespace of the pod. Nothing depends on it: the connection has no allow rules.
const NAMESPACE: &str = "arc-runners";

/// What the webhook says of the annotations.
pub(super) struct Verdict {
    /// Why the webhook refuses the pod: nothing if it does not.
    pub(super) problems: Vec<String>,
    pub(super) warnings: Vec<String>,
}

/// The verdict for a runner pod with these annotations. `config` is the operator's.
pub(super) fn verdict(annotations: &[(&'static str, String)], config: &Config) -> Verdict {
    let annotations: Map<String, Value> = annotations
        .iter()
        .map(|(key, value)| ((*key).to_owned(), Value::from(value.as_str())))
        .collect();
    let pod = runner_pod(annotations).to_string();
    let broken = |why: String| Verdict {
        problems: vec![why],
        warnings: Vec::new(),
    };
    let pod = match Pod::parse(&pod) {
        Ok(pod) => pod,
        Err(error) => return broken(error.to_string()),
    };
    match decide(&pod, NAMESPACE, config) {
        Decision::Ignore(warnings) | Decision::Inject(_, warnings) => Verdict {
            problems: Vec::new(),
            warnings,
        },
        Decision::Deny(problems) => Verdict {
            problems: problems
                .iter()
                .map(|problem| format!("{}: {}", problem.key, problem.message))
                .collect(),
            warnings: Vec::new(),
        },
    }
}

/// The operator's config with a connection of these fields and nothing else. The error: why it is not valid.
pub(super) fn config(fields: &[String]) -> Result<Config, String> {
    let connection = fields.join("\n    ");
    let text = format!("agent:\n  image: podkey\nconnections:\n  default:\n    {connection}\n");
    Config::parse(&text, |_| Ok(String::new())).map_err(|error| error.to_string())
}

/// A pod as ARC's chart 0.14 makes it without a containerMode.
fn runner_pod(annotations: Map<String, Value>) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "arc-runner-set-7xk2p-runner-lq8hd",
            "namespace": NAMESPACE,
            "labels": { "actions-ephemeral-runner": "True" },
            "annotations": annotations,
        },
        "spec": {
            "restartPolicy": "Never",
            "serviceAccountName": "arc-runner-set-gha-rs-no-permission",
            "containers": [{
                "name": "runner",
                "image": "ghcr.io/actions/actions-runner:latest",
                "command": ["/home/runner/run.sh"],
                "env": [
                    { "name": "ACTIONS_RUNNER_INPUT_JITCONFIG", "valueFrom": { "secretKeyRef": { "name": "jit", "key": "jitToken" } } },
                    { "name": "GITHUB_ACTIONS_RUNNER_EXTRA_USER_AGENT", "value": "actions-runner-controller/0.14.2" },
                ],
            }],
        },
    })
}
