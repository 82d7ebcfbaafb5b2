//! The auth method of a login: whether it is mounted, of which type, and how it is set up.

use serde_json::Value;
use vaultrs::api::auth::kubernetes::requests::ReadKubernetesAuthConfigRequest;
use vaultrs::api::auth::oidc::requests::ReadConfigurationRequest;
use vaultrs::api::sys::requests::ListAuthsRequest;

use super::examination::{Examination, PlannedLogin, Subject};
use super::kubernetes_config;
use super::wire::{Answer, shown, texts};
use crate::cli::doctor::finding::Findings;
use crate::cli::doctor::{api, situation};
use crate::plan::AuthMethod;
use crate::text::nearest;

const CHECK: &str = "vault-auth";
/// GitHub's issuer of ID tokens: <https://docs.github.com/en/actions/reference/security/oidc>.
const GITHUB_ISSUER: &str = "https://token.actions.githubusercontent.com";

/// The limits of a token's life at a mount, in seconds. 0: not known.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct MountLimits {
    pub(super) default: u64,
    pub(super) max: u64,
}

/// None: the role cannot be looked at.
pub(super) async fn check(
    examination: &Examination<'_>,
    login: &PlannedLogin,
    findings: &mut Findings,
) -> Option<MountLimits> {
    let user = examination.user.as_ref()?;
    let (mount, server) = (&login.mount, &examination.server);
    let mounts = match user.ask(ListAuthsRequest {}).await {
        Ok(answer) if answer.is_good() => answer,
        Ok(_) => {
            let message = "the list of auth methods: a policy of your token lacks `read` on sys/auth";
            findings.unseen(CHECK, message, None);
            return Some(MountLimits::default());
        }
        Err(_) => {
            findings.unseen(CHECK, "the list of auth methods: no answer", None);
            return Some(MountLimits::default());
        }
    };
    let mounts = match mounts.data() {
        Value::Object(mounts) => mounts,
        // OpenBao and Vault also have the mounts beside `data`.
        _ => match &mounts.body {
            Value::Object(mounts) => mounts,
            _ => return Some(MountLimits::default()),
        },
    };
    let kind = login.method.to_string();
    let Some(found) = mounts.get(&format!("{mount}/")) else {
        let known: Vec<&str> = mounts.keys().filter_map(|key| key.strip_suffix('/')).collect();
        let near =
            nearest(mount, known).map_or(String::new(), |near| format!("; the nearest mount is {}", shown(near)));
        let message = format!("no auth method is mounted at auth/{mount}{near}");
        let enable = server.line("auth enable", [format!("-path={mount}"), kind]);
        findings.fault(CHECK, message, Some(enable));
        return None;
    };
    let actual = shown(found["type"].as_str().unwrap_or_default());
    // The method jwt is also mounted as oidc.
    if actual != kind && !(kind == "jwt" && actual == "oidc") {
        let message = format!("auth/{mount} is of the type {actual}, and the connection says method: {kind}");
        let command = server.line("auth list", [""; 0]);
        findings.fault(CHECK, message, Some(command));
        return None;
    }
    findings.ok(CHECK, format!("auth/{mount} is of the type {actual}"));
    check_config(examination, login, findings).await;
    Some(limits(examination, login).await)
}

/// The mount's limits, the server's own included.
async fn limits(examination: &Examination<'_>, login: &PlannedLogin) -> MountLimits {
    let Some(user) = &examination.user else {
        return MountLimits::default();
    };
    let tune = user.read(&format!("sys/auth/{}/tune", login.mount)).await;
    let seconds = |field: &str| {
        let tune = tune.as_ref().ok().filter(|tune| tune.is_good());
        tune.and_then(|tune| tune.data()[field].as_u64()).unwrap_or_default()
    };
    MountLimits {
        default: seconds("default_lease_ttl"),
        max: seconds("max_lease_ttl"),
    }
}

async fn check_config(examination: &Examination<'_>, login: &PlannedLogin, findings: &mut Findings) {
    let Some(user) = &examination.user else { return };
    let mount = login.mount.clone();
    let answer = match login.method {
        AuthMethod::Kubernetes => user.ask(ReadKubernetesAuthConfigRequest { mount }).await,
        AuthMethod::Jwt => user.ask(ReadConfigurationRequest { mount }).await,
    };
    let path = format!("auth/{}/config", login.mount);
    let config: Answer = match answer {
        Ok(answer) if answer.is_good() => answer,
        Ok(answer) if answer.status == 404 || (answer.status == 400 && login.method == AuthMethod::Jwt) => {
            let message = format!("{path} is empty: the auth method is not set up");
            let (hint, command) = match first_config(examination, login) {
                Ok(fields) => (String::new(), Some(examination.server.write(&path, fields))),
                Err(what) => (format!(". {what}"), None),
            };
            findings.fault("vault-auth-config", format!("{message}{hint}"), command);
            return;
        }
        Ok(_) | Err(_) => {
            let message = format!("{path}: a policy of your token lacks `read`");
            findings.unseen("vault-auth-config", message, None);
            return;
        }
    };
    match login.method {
        AuthMethod::Kubernetes => kubernetes_config::check(examination, login, config.data(), findings).await,
        AuthMethod::Jwt => check_jwt(examination, login, config.data(), findings).await,
    }
}

/// The fields of a configuration that is empty. The error is a sentence: what the operator must decide.
fn first_config(examination: &Examination<'_>, login: &PlannedLogin) -> Result<Vec<String>, &'static str> {
    let is_in_cluster = examination.plan.connection.address.host().contains(".svc");
    match (login.method, login.subject) {
        (AuthMethod::Kubernetes, _) if is_in_cluster => {
            Ok(vec!["kubernetes_host=https://kubernetes.default.svc".to_owned()])
        }
        (AuthMethod::Kubernetes, _) => Err(
            "Write kubernetes_host and kubernetes_ca_cert as the server reaches this cluster's API server, and token_reviewer_jwt of a service account with the ClusterRole system:auth-delegator",
        ),
        (AuthMethod::Jwt, Subject::Job) => Ok(vec![
            format!("oidc_discovery_url={GITHUB_ISSUER}"),
            format!("bound_issuer={GITHUB_ISSUER}"),
        ]),
        (AuthMethod::Jwt, Subject::Account) => Err(
            "Write jwt_validation_pubkeys with the keys of this cluster's service accounts, or jwks_url and jwks_ca_pem where the server reaches them, and bound_issuer",
        ),
    }
}

async fn check_jwt(examination: &Examination<'_>, login: &PlannedLogin, config: &Value, findings: &mut Findings) {
    const CHECK: &str = "vault-auth-config";
    let path = format!("auth/{}/config", login.mount);
    let text = |field: &str| config[field].as_str().unwrap_or_default();
    let has_keys = !texts(&config["jwt_validation_pubkeys"]).is_empty()
        || config["jwks_pairs"].as_array().is_some_and(|pairs| !pairs.is_empty());
    let sources = ["oidc_discovery_url", "jwks_url"];
    let url = sources.iter().map(|source| text(source)).find(|url| !url.is_empty());
    if !has_keys && url.is_none() {
        let message = format!("{path} names no key and no URL of keys: no token can be verified");
        findings.fault(CHECK, message, Some(examination.server.line("read", [path])));
        return;
    }
    let issuer = text("bound_issuer");
    if let Some(actual) = actual_issuer(examination, login, issuer).await {
        let message = format!(
            "{path} has bound_issuer {}, and the tokens have {actual}. A write replaces the whole configuration, also what cannot be read",
            shown(issuer)
        );
        findings.fault(CHECK, message, Some(examination.server.line("read", [path])));
        return;
    }
    if text("status") == "invalid" {
        let message = format!(
            "{path}: the server cannot get keys from {}",
            shown(url.unwrap_or("its configuration"))
        );
        findings.fault(CHECK, message, Some(examination.server.line("read", [path])));
        return;
    }
    findings.ok(CHECK, format!("{path} has keys to verify tokens"));
}

/// The issuer of the tokens, if it is not the bound one. None: it is, or it is not known.
async fn actual_issuer(examination: &Examination<'_>, login: &PlannedLogin, bound: &str) -> Option<String> {
    if bound.is_empty() {
        return None;
    }
    if login.subject == Subject::Job {
        // (GitHub Enterprise has issuers of its own.)
        let is_github = bound == GITHUB_ISSUER
            || bound.ends_with("/_services/token")
            || bound.starts_with(&format!("{GITHUB_ISSUER}/"));
        return (!is_github).then(|| GITHUB_ISSUER.to_owned());
    }
    let cluster = examination.situation.cluster.as_ref()?;
    let discovery = api::get(cluster, "/.well-known/openid-configuration").await.ok()?;
    let actual = situation::text(&discovery, "/issuer");
    (!actual.is_empty() && actual != bound).then(|| shown(actual))
}
