//! A role as the server shows it, and the command that changes the role.

use serde_json::Value;

use super::examination::{Examination, PlannedLogin};
use super::wire::texts;
use crate::plan::AuthMethod;

pub(super) const CHECK: &str = "vault-role";

/// A role as the server shows it.
pub(super) struct Role(pub(super) Value);

impl Role {
    pub(super) fn text(&self, field: &str) -> &str {
        self.0[field].as_str().unwrap_or_default()
    }

    /// A list. A text with commas is a list too.
    pub(super) fn list(&self, field: &str) -> Vec<String> {
        match &self.0[field] {
            Value::String(text) => text
                .split(',')
                .map(|item| item.trim().to_owned())
                .filter(|item| !item.is_empty())
                .collect(),
            list => texts(list),
        }
    }

    pub(super) fn number(&self, field: &str) -> u64 {
        self.0[field].as_u64().unwrap_or_default()
    }

    pub(super) fn is(&self, field: &str) -> bool {
        self.0[field] == Value::Bool(true)
    }
}

impl PlannedLogin {
    /// The command that changes fields of the role, and keeps the others.
    pub(super) fn change(&self, examination: &Examination<'_>, role: &Role, fields: &[String]) -> String {
        // A write without these fields makes the role one of the type oidc, and its claims texts without patterns.
        let kept = ["role_type", "bound_claims_type"].iter().filter_map(|field| {
            let value = role.text(field);
            let is_kept = self.method == AuthMethod::Jwt && !value.is_empty();
            is_kept.then(|| format!("{field}={value}"))
        });
        examination
            .server
            .write(&self.role_path(), kept.chain(fields.iter().cloned()))
    }

    /// The command that shows the role.
    pub(super) fn show(&self, examination: &Examination<'_>) -> String {
        examination.server.line("read", [self.role_path()])
    }
}

/// The name of a policy that the doctor proposes: of this role of this mount alone.
fn own_policy(login: &PlannedLogin) -> String {
    format!("podkey-{}-{}", login.mount.replace('/', "-"), login.role).to_lowercase()
}

/// The policy of the role's own, and the command that writes these rules into it. None: whether there is such a policy already
/// cannot be seen.
pub(super) async fn with_own_policy(
    examination: &Examination<'_>,
    login: &PlannedLogin,
    rules: &[(String, &'static str)],
) -> Option<(String, String)> {
    let policy = own_policy(login);
    let answer = examination
        .user
        .as_ref()?
        .read(&format!("sys/policies/acl/{policy}"))
        .await;
    let command = match answer.ok()?.status {
        404 => examination.server.add_to_policy(&policy, rules, false),
        200 => examination.server.add_to_policy(&policy, rules, true),
        _ => return None,
    };
    Some((policy, command))
}
