//! The command that creates a role for the pod.

use super::examination::{Examination, PlannedLogin, Subject};
use super::role_data::with_own_policy;
use super::role_jwt;
use super::wanted;
use crate::plan::AuthMethod;

/// The command that creates the role, with a policy of its own for the pod's paths. None: only the operator knows what the role
/// must bind, or whether the command would change a policy cannot be seen.
pub(super) async fn create(examination: &Examination<'_>, login: &PlannedLogin) -> Option<String> {
    let mut fields = match (login.method, login.subject) {
        (AuthMethod::Kubernetes, _) => vec![
            format!("bound_service_account_names={}", examination.pod.account),
            format!("bound_service_account_namespaces={}", examination.situation.namespace),
        ],
        (AuthMethod::Jwt, Subject::Account) => vec![
            "role_type=jwt".to_owned(),
            "user_claim=sub".to_owned(),
            format!("bound_subject={}", role_jwt::subject_of(examination)),
        ],
        (AuthMethod::Jwt, Subject::Job) => role_jwt::first_fields_for_jobs(examination)?,
    };
    match (&login.audience, login.method) {
        (Some(audience), AuthMethod::Jwt) => fields.push(format!("bound_audiences={audience}")),
        (Some(audience), AuthMethod::Kubernetes) => fields.push(format!("audience={audience}")),
        // Only GitHub and the operator know it.
        (None, AuthMethod::Jwt) => return None,
        (None, AuthMethod::Kubernetes) => {}
    }
    fields.push("token_ttl=20m".to_owned());
    let wanted = wanted::of(examination.plan, login.subject);
    let rules: Vec<_> = wanted.iter().map(|wanted| wanted.rule("")).collect();
    if rules.is_empty() {
        return Some(examination.server.write(&login.role_path(), fields));
    }
    let (policy, command) = with_own_policy(examination, login, &rules).await?;
    fields.push(format!("token_policies={policy}"));
    Some(format!(
        "{command} && {}",
        examination.server.write(&login.role_path(), fields)
    ))
}
