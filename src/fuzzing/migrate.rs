//! The commands that read manifests and workflows.

#![allow(clippy::panic, reason = "a fuzz target panics if a law is broken")]

use super::input;
use super::pod;
use crate::cli::inject::offline::{KnownConfig, Outcome, examine, manifest as manifests};
use crate::cli::migrate::output::Migration;
use crate::cli::migrate::{vault_action, vault_k8s};

/// The first record is a workflow, the second a composite action or a workflow that the first one uses.
/// Laws: see [`insist_on_yaml`].
pub fn migrate(bytes: &[u8]) {
    let Some(text) = input::text(bytes) else { return };
    let (workflow, used) = input::first_record(text);
    let files = [vault_action::WorkflowFile {
        name: ".github/workflows/w.yml".to_owned(),
        root: String::new(),
        text: workflow.to_owned(),
    }];
    let read = |_: &str| (!used.is_empty()).then(|| used.to_owned());
    let sources = vault_action::Sources {
        files: &files,
        actions: &["octo-org/vault".to_owned()],
        read: &read,
    };
    match vault_action::migrate(&sources) {
        Ok(migration) => insist_on_yaml(&migration),
        Err(error) => input::insist_on_a_line(&error.to_string()),
    }
}

/// A manifest with annotations of vault-k8s. Laws: see [`insist_on_yaml`].
pub fn migrate_vault_k8s(bytes: &[u8]) {
    let Some(text) = input::text(bytes) else { return };
    match vault_k8s::migrate("manifest.yaml", text) {
        Ok(migration) => insist_on_yaml(&migration),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// Insists that the output is YAML, and that no line is a command for GitHub's runner: the command may run in a job.
fn insist_on_yaml(migration: &Migration) {
    let text = &migration.text;
    let command = text
        .lines()
        .find(|line| line.trim_start().starts_with("::") || line.contains("##["));
    assert_eq!(command, None, "a command for the runner");
    let odd = |c: char| c.is_control() && c != '\n';
    assert!(!text.contains(odd), "control characters: {text:?}");
    if text
        .lines()
        .any(|line| !line.is_empty() && !line.starts_with('#') && line != "---")
        && let Err(error) = serde_saphyr::from_multiple::<serde_json::Value>(text)
    {
        panic!("{error}\n{text}");
    }
}

/// A manifest of `podkey inject` and `podkey lint`. Laws: each place is in the text; a patched pod obeys the laws of a decision.
pub fn manifest(bytes: &[u8]) {
    let Some(text) = input::text(bytes) else { return };
    let lines = text.lines().count() + 1;
    let Ok(examined) = examine(text, None, KnownConfig::Operators(pod::config())) else {
        return;
    };
    for object in examined {
        input::insist_on_a_line(&object.name);
        for finding in &object.findings {
            input::insist_on_a_line(&finding.to_string());
            let places = finding.at.into_iter().chain(object.at);
            for place in places {
                assert!(
                    (1..=lines).contains(&place.line),
                    "{finding} in line {} of {lines}",
                    place.line
                );
            }
        }
        if let Outcome::Pod { pod: patched, patch } = object.outcome {
            assert!(patch.is_array());
            let shown = patched.to_string();
            assert!(
                manifests::read(&shown).is_ok(),
                "podkey cannot read its own output: {shown}"
            );
        }
    }
}
