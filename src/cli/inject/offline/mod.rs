//! The webhook's decision without the webhook, so that the author of annotations sees their effect before a pod is created.

pub(crate) mod annotations;
mod examine;
mod finding;
pub(crate) mod manifest;
mod places;
mod rules;

#[cfg(feature = "cli")]
pub(crate) use self::examine::is_injected;
pub(crate) use self::examine::{Examined, Outcome, examine};
pub(crate) use self::finding::Level;
pub use self::places::Place;
pub(crate) use self::rules::KnownConfig;

use serde_json::Value;

use crate::inject::Config;

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
    Yaml(String, Option<Place>),
    /// The manifest has no pod in it.
    #[error("{0}")]
    Kind(String),
    /// A document that nobody takes for a Kubernetes object, such as a workflow.
    #[error("{}", manifest::NO_KIND)]
    Foreign,
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

/// Decides about every document of a manifest that has a pod in it, in order, and notes which documents have none. If one pod
/// would be refused, no pod is shown, but the problems of all pods are reported.
pub fn inject(manifest: &str, namespace: Option<&str>, config: &Config) -> Result<Vec<OfflinePod>, OfflineError> {
    let examined = examine(manifest, namespace, KnownConfig::Operators(config))?;
    let several = examined.len() > 1;
    let mut shown: Vec<OfflinePod> = Vec::new();
    let mut podless = Vec::new();
    let mut notes = Vec::new();
    let mut denied = Vec::new();
    for object in examined {
        let prefix = if several {
            format!("{}: ", object.name)
        } else {
            String::new()
        };
        let (refused, other): (Vec<_>, Vec<_>) = object
            .findings
            .iter()
            .partition(|finding| finding.level == Level::Problem);
        let refused_pod = matches!(object.outcome, Outcome::Refused);
        denied.extend(refused.iter().map(|finding| format!("{prefix}{finding}")));
        match refused_pod {
            true => denied.extend(other.iter().map(|finding| format!("{prefix}note: {finding}"))),
            false => notes.extend(other.iter().map(|finding| format!("{prefix}{finding}"))),
        }
        match object.outcome {
            Outcome::NoPod => podless.push(object.name),
            Outcome::Refused => {}
            Outcome::Pod { pod, patch } => shown.push(OfflinePod {
                pod,
                patch,
                notes: std::mem::take(&mut notes),
            }),
            Outcome::Unusable(error) => return Err(error.of(&prefix)),
        }
    }
    if !denied.is_empty() {
        return Err(OfflineError::Denied(denied));
    }
    let Some(last) = shown.last_mut() else {
        return Err(OfflineError::Kind(no_pod_in(&podless)));
    };
    last.notes.append(&mut notes);
    Ok(shown)
}

/// The most objects that a message names.
const MAX_NAMED: usize = 8;

/// That there is no pod in any of these objects.
pub(crate) fn no_pod_in(objects: &[String]) -> String {
    let known: Vec<_> = manifest::TEMPLATES.iter().map(|(_, kind, _)| *kind).collect();
    let more = match objects.len().saturating_sub(MAX_NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let named: Vec<_> = objects.iter().take(MAX_NAMED).map(String::as_str).collect();
    format!(
        "podkey finds no pod in {}{more}: give a Pod, {}",
        named.join(", "),
        known.join(", ")
    )
}
