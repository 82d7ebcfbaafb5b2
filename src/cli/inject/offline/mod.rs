//! The webhook's decision without the webhook, so that the author of annotations sees their effect before a pod is created.

mod annotations;
pub(crate) mod manifest;

use json_patch::Patch;
use serde_json::{Value, json};

use crate::inject::{Config, Decision, Pod, Problem, Problems, decide};

/// A pod of the manifest, after the webhook's decision.
#[derive(Debug)]
pub struct OfflinePod {
    /// The pod, with podkey's changes if it asks for secrets.
    pub pod: Value,
    /// The patch's operations.
    pub patch: Value,
    /// The webhook's warnings, and notes about the manifest.
    pub notes: Vec<String>,
}

/// Why there is no pod to show.
#[derive(Debug, thiserror::Error)]
pub enum OfflineError {
    /// The text is not valid YAML.
    #[error("the manifest cannot be read: {0}")]
    Yaml(String),
    /// The manifest has no pod in it.
    #[error("{0}")]
    Kind(String),
    /// The webhook would refuse the pod: a line for each problem.
    #[error("{}", .0.join("; "))]
    Denied(Vec<String>),
    /// The pod is not valid.
    #[error("{0}")]
    Pod(String),
}

impl OfflineError {
    /// Names the document before the message.
    fn of(self, prefix: &str) -> Self {
        match self {
            Self::Kind(message) => Self::Kind(format!("{prefix}{message}")),
            Self::Pod(message) => Self::Pod(format!("{prefix}{message}")),
            other => other,
        }
    }
}

/// Namespaces that the chart excludes in the webhook's configuration, besides the namespace of its release.
const LEFT_OUT: [&str; 3] = ["kube-system", "kube-node-lease", "kube-public"];

/// Decides about every document of a manifest that has a pod in it, in order, and notes which documents have none. If one pod
/// would be refused, no pod is shown, but the problems of all pods are reported.
pub fn inject(manifest: &str, namespace: Option<&str>, config: &Config) -> Result<Vec<OfflinePod>, OfflineError> {
    let documents = manifest::read(manifest)?;
    if documents.is_empty() {
        return Err(OfflineError::Kind("the manifest is empty".to_owned()));
    }
    let several = documents.len() > 1;
    let mut shown: Vec<OfflinePod> = Vec::new();
    let mut podless = Vec::new();
    let mut skipped = Vec::new();
    let mut denied = Vec::new();
    for document in documents {
        let name = manifest::name_of(&document)?;
        let prefix = if several { format!("{name}: ") } else { String::new() };
        let (misplaced, unknown) = annotations::misplaced(&document);
        denied.extend(misplaced.iter().map(|problem| format!("{prefix}{problem}")));
        skipped.extend(unknown.map(|note| format!("{prefix}{note}")));
        let Some(pod) = manifest::pod_of(document).map_err(|error| error.of(&prefix))? else {
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
        let known: Vec<_> = manifest::TEMPLATES.iter().map(|(_, kind, _)| *kind).collect();
        return Err(OfflineError::Kind(format!(
            "podkey finds no pod in {}: give a Pod, {}",
            podless.join(", "),
            known.join(", ")
        )));
    };
    last.notes.append(&mut skipped);
    Ok(shown)
}

fn decide_one(mut pod: Value, namespace: Option<&str>, config: &Config) -> Result<OfflinePod, OfflineError> {
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
            notes.push("podkey has nothing to do: the pod has no annotation that asks for a secret".to_owned());
            notes.extend(annotations::look_alike(&pod, config));
            Ok(OfflinePod {
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
            Ok(OfflinePod { pod, patch, notes })
        }
    }
}

/// A line for each problem, a line for the number of further problems, and a line for the allow rule that is nearest.
fn lines(problems: &Problems) -> Vec<String> {
    let listed = problems
        .iter()
        .map(|Problem { key, message, .. }| format!("{key}: {message}"));
    let mut lines: Vec<String> = listed.collect();
    let more = problems.len() - lines.len();
    if more > 0 {
        lines.push(format!("and at least {more} more problems"));
    }
    // The user of this command has the config, so may see its rules. (The webhook does not show them to a pod's author.)
    lines.extend(problems.no_rule().map(|no_rule| format!("note: {no_rule}")));
    lines
}
