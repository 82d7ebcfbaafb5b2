//! A role of the auth method kubernetes against the pod's account, namespace and audience. The server compares them as
//! <https://github.com/openbao/openbao/blob/main/builtin/credential/kubernetes/path_login.go> does.

use serde_json::Value;

use super::examination::{Examination, PlannedLogin};
use super::glob::glob;
use super::kubernetes_config::is_api_servers;
use super::role_data::{CHECK, Role};
use super::wire::shown;
use crate::cli::doctor::api::{self, segment};
use crate::cli::doctor::finding::Findings;
use crate::cli::doctor::words::command;

pub(super) async fn check(examination: &Examination<'_>, login: &PlannedLogin, role: &Role, findings: &mut Findings) {
    check_names(examination, login, role, findings).await;
    check_audience(examination, login, role, findings);
}

async fn check_names(examination: &Examination<'_>, login: &PlannedLogin, role: &Role, findings: &mut Findings) {
    let (account, namespace) = (&examination.pod.account, &examination.situation.namespace);
    let names = role.list("bound_service_account_names");
    let namespaces = role.list("bound_service_account_namespaces");
    let mut changes = Vec::new();
    let mut wrong = Vec::new();
    // Whether the role lets in nobody else, once the account or the namespace is added.
    let is_for_pod_alone = |patterns: &[String], name: &str| patterns == [name.to_owned()];
    let mut opens = !role.text("bound_service_account_namespace_selector").is_empty();
    if !has(&names, account) {
        wrong.push(format!("the service account {account} (it takes {})", listed(&names)));
        changes.push(added("bound_service_account_names", &names, account));
        opens |= !is_for_pod_alone(&namespaces, namespace);
    }
    let selector = role.text("bound_service_account_namespace_selector");
    if !has(&namespaces, namespace) {
        match selected(examination, selector).await {
            Selected::Yes => {}
            Selected::Unknown => {
                let message = format!(
                    "whether the role {} takes the namespace {namespace} by its selector",
                    login.role
                );
                findings.unseen(
                    CHECK,
                    message,
                    Some(command(&["kubectl", "get", "namespace", namespace, "--show-labels"])),
                );
            }
            Selected::No => {
                wrong.push(format!("the namespace {namespace} (it takes {})", listed(&namespaces)));
                changes.push(added("bound_service_account_namespaces", &namespaces, namespace));
                opens |= !is_for_pod_alone(&names, account);
            }
        }
    }
    if !wrong.is_empty() {
        let message = format!("the role {} does not take {}", login.role, wrong.join(", nor "));
        match opens {
            false => findings.fault(CHECK, message, Some(login.change(examination, role, &changes))),
            // The server takes each name in each namespace.
            true => {
                let message = format!(
                    "{message}. The role takes each of its accounts in each of its namespaces, so an addition lets in more than the pod: better name a role of the pod's own"
                );
                findings.fault(CHECK, message, Some(login.show(examination)));
            }
        }
    }
}

fn listed(values: &[String]) -> String {
    match values.is_empty() {
        true => "none".to_owned(),
        false => shown(&values.join(", ")),
    }
}

fn added(field: &str, values: &[String], value: &str) -> String {
    let all: Vec<&str> = values.iter().map(String::as_str).chain([value]).collect();
    format!("{field}={}", all.join(","))
}

fn has(patterns: &[String], name: &str) -> bool {
    patterns.iter().any(|pattern| glob(pattern, name))
}

enum Selected {
    Yes,
    No,
    Unknown,
}

/// Whether a label selector, in JSON or YAML, selects the pod's namespace.
async fn selected(examination: &Examination<'_>, selector: &str) -> Selected {
    if selector.is_empty() {
        return Selected::No;
    }
    let (Some(cluster), Ok(selector)) = (
        &examination.situation.cluster,
        serde_saphyr::from_str::<Value>(selector),
    ) else {
        return Selected::Unknown;
    };
    let has_expressions = selector["matchExpressions"]
        .as_array()
        .is_some_and(|list| !list.is_empty());
    let path = format!("/api/v1/namespaces/{}", segment(&examination.situation.namespace));
    let (false, Some(wanted), Ok(namespace)) = (
        has_expressions,
        selector["matchLabels"].as_object(),
        api::get(cluster, &path).await,
    ) else {
        return Selected::Unknown;
    };
    let labels = &namespace["metadata"]["labels"];
    match wanted.iter().all(|(name, value)| labels[name] == *value) {
        true => Selected::Yes,
        false => Selected::No,
    }
}

fn check_audience(examination: &Examination<'_>, login: &PlannedLogin, role: &Role, findings: &mut Findings) {
    let of_role = role.text("audience");
    let (message, audience) = match (&login.audience, of_role) {
        (Some(audience), "") if !is_api_servers(audience) => (
            format!(
                "the role {} has no audience, so the API server is asked for a token of its own audience, and the pod's token is for {audience}",
                login.role
            ),
            audience.clone(),
        ),
        (Some(audience), of_role) if !of_role.is_empty() && of_role != audience => (
            format!(
                "the role {} wants the audience {}, and the pod's token is for {audience}",
                login.role,
                shown(of_role)
            ),
            audience.clone(),
        ),
        (None, of_role) if !of_role.is_empty() && !is_api_servers(of_role) => (
            format!(
                "the role {} wants the audience {}, and the pod's token is for the API server: the connection has audience: \"\"",
                login.role,
                shown(of_role)
            ),
            String::new(),
        ),
        _ => return,
    };
    let is_only = |field: &str, name: &str| role.list(field) == [name.to_owned()];
    let is_of_pod_alone = is_only("bound_service_account_names", &examination.pod.account)
        && is_only("bound_service_account_namespaces", &examination.situation.namespace)
        && role.text("bound_service_account_namespace_selector").is_empty();
    // A role has one audience: another one shuts out whoever uses the role today, and none opens the role to all tokens.
    match is_of_pod_alone && !audience.is_empty() {
        true => {
            let command = login.change(examination, role, &[format!("audience={audience}")]);
            findings.fault(CHECK, message, Some(command));
        }
        false => {
            let message = format!(
                "{message}. A role has one audience: change it only if no other pod uses the role, or name another role"
            );
            findings.fault(CHECK, message, Some(login.show(examination)));
        }
    }
}
