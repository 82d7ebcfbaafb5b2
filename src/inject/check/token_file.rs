//! The client token as a file (`agent-inject-token` of vault-k8s): only where the operator allows that, and with a warning.

use crate::inject::config::Config;
use crate::inject::problem::Problems;
use crate::inject::request::InjectionRequest;
use crate::inject::survey::Survey;
use crate::inject::words::vault_k8s::INJECT_TOKEN;

pub(super) fn check(request: &InjectionRequest, config: &Config, problems: &mut Problems) {
    let (Some(theirs), Some(_)) = (&request.vault_k8s, &request.token_file) else {
        return;
    };
    if !config.vault_k8s.as_ref().is_some_and(|theirs| theirs.allow_tokens) {
        problems.push_for_operator(
            theirs.family.key(INJECT_TOKEN),
            "gives the client token to the containers: deliver the secrets instead, or ask the operator for \
             vaultK8s.allowTokens",
        );
    }
}

/// The warning of a pod whose containers get the client token.
pub(super) fn warning(survey: &Survey<'_>, request: &InjectionRequest) -> Option<String> {
    request.token_file.as_ref()?;
    let mode = survey.token_mode();
    Some(format!(
        "podkey: {INJECT_TOKEN}: the containers hold a client token (mode {mode}), good for all that the role may do"
    ))
}
