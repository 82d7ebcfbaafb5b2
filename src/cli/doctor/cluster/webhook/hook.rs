//! One webhook of podkey's in a MutatingWebhookConfiguration.

use serde_json::{Value, json};

use crate::cli::doctor::cluster::selector;
use crate::cli::doctor::situation::text;
use crate::cli::doctor::words::command;

/// One webhook of podkey's, and the configuration that has it.
pub(super) struct Hook<'v> {
    pub(super) configuration: &'v Value,
    pub(super) webhook: &'v Value,
    /// The place among the webhooks of the configuration.
    pub(super) index: usize,
}

impl Hook<'_> {
    pub(super) fn name(&self) -> &str {
        text(self.configuration, "/metadata/name")
    }

    pub(super) fn service_namespace(&self) -> &str {
        text(self.webhook, "/clientConfig/service/namespace")
    }

    /// The command that replaces a field of the webhook.
    pub(super) fn replace(&self, field: &str, value: &Value) -> String {
        let path = format!("/webhooks/{}/{field}", self.index);
        let patch = json!([{"op": "replace", "path": path, "value": value}]).to_string();
        command(&[
            "kubectl",
            "patch",
            "mutatingwebhookconfiguration",
            self.name(),
            "--type=json",
            "-p",
            &patch,
        ])
    }

    /// Whether the webhook serves a namespace with these labels.
    pub(super) fn is_for(&self, labels: &Value) -> bool {
        selector::matches(&self.webhook["namespaceSelector"], labels)
    }
}
