//! The replacement of vault-k8s' annotations in a manifest, for a person who edits the manifest. Pure. No file is changed: a chart or
//! an overlay may have made the manifest, and only a person knows which.
//!
//! The result is YAML: for each pod template a document with the annotations, and all else in comments.

mod check;
mod replacement;
mod theirs;

use serde_json::Value;

use self::replacement::PodReplacement;
use crate::cli::inject::offline::{OfflineError, manifest};
use crate::cli::migrate::output::{Migration, comment};
use crate::inject::Pod;

/// The file is not a manifest: its name, and why.
#[derive(Debug, thiserror::Error)]
#[error("{0}: {1}")]
pub(crate) struct ManifestError(String, String);

/// Reads a manifest of one document or many. Each document of the result begins with `name` and the object's kind and name.
pub(crate) fn migrate(name: &str, text: &str) -> Result<Migration, ManifestError> {
    let broken = |error: OfflineError| ManifestError(name.to_owned(), error.to_string());
    let mut migration = Migration {
        text: String::new(),
        is_complete: true,
    };
    for document in manifest::read(text).map_err(broken)? {
        let object = manifest::name_of(&document).map_err(broken)?;
        let Some(pod) = manifest::pod_of(document).map_err(broken)? else {
            continue;
        };
        let json = pod.to_string();
        let view = Pod::parse(&json).map_err(|why| broken(OfflineError::Pod(format!("{object}: {why}"))))?;
        let namespace = pod.pointer("/metadata/namespace").and_then(Value::as_str);
        let Some(theirs) = theirs::of(&view, namespace.unwrap_or("default")) else {
            continue;
        };
        let mut replacement = PodReplacement::of(&theirs, &pod, &view);
        let refusals = check::refusals(&pod, &replacement, namespace.unwrap_or("default"));
        replacement.lost.extend(refusals);
        if !migration.text.is_empty() {
            migration.text.push_str("---\n");
        }
        migration
            .text
            .push_str(&replacement.shown(&format!("{name}: {object}")));
        migration.is_complete &= replacement.lost.is_empty();
    }
    if migration.text.is_empty() {
        migration.text = comment(&format!("{name}: no pod template with annotations of vault-k8s"));
    }
    Ok(migration)
}
