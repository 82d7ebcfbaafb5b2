//! The configuration of the auth method kubernetes, and whether its reviewer may review tokens.

use std::collections::BTreeSet;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::{Value, json};

use super::examination::{Examination, PlannedLogin};
use super::wire::shown;
use crate::cli::doctor::api::{self, ApiError, segment};
use crate::cli::doctor::finding::Findings;
use crate::cli::doctor::situation::{items, text};
use crate::cli::doctor::words;

const CHECK: &str = "vault-auth-config";
/// The issuer that the server expects where its configuration names none:
/// <https://developer.hashicorp.com/vault/docs/auth/kubernetes#discovering-the-service-account-issuer>.
const OLD_ISSUER: &str = "kubernetes/serviceaccount";

pub(super) async fn check(
    examination: &Examination<'_>,
    login: &PlannedLogin,
    config: &Value,
    findings: &mut Findings,
) {
    let path = format!("auth/{}/config", login.mount);
    let host = shown(config["kubernetes_host"].as_str().unwrap_or_default());
    let yours = examination
        .situation
        .cluster
        .as_ref()
        .map(|cluster| shown(&cluster.server));
    let yours = yours.filter(|yours| yours.trim_end_matches('/') != host.trim_end_matches('/'));
    let yours = yours.map_or_else(String::new, |yours| {
        format!(" (you ask {yours}: is that the same cluster?)")
    });
    findings.ok(
        CHECK,
        format!("{path}: the server asks the API server at {host}{yours}"),
    );
    check_api_server(examination, &path, config, findings).await;
    check_issuer(examination, &path, config, findings).await;
    let has_own_reviewer = config["token_reviewer_jwt_set"] == Value::Bool(true);
    let uses_local_token = config["disable_local_ca_jwt"] != Value::Bool(true);
    match (has_own_reviewer, uses_local_token) {
        (true, _) => {}
        (false, true) => {
            for (namespace, account) in server_accounts(examination).await {
                check_reviewer(examination, &namespace, &account, true, findings).await;
            }
        }
        (false, false) => check_pod_as_reviewer(examination, login, &path, findings).await,
    }
}

async fn check_issuer(examination: &Examination<'_>, path: &str, config: &Value, findings: &mut Findings) {
    if config["disable_iss_validation"] != Value::Bool(false) {
        return;
    }
    let Some(cluster) = &examination.situation.cluster else {
        return;
    };
    let Ok(discovery) = api::get(cluster, "/.well-known/openid-configuration").await else {
        findings.unseen(CHECK, format!("whether the issuer in {path} is the cluster's"), None);
        return;
    };
    let configured = config["issuer"]
        .as_str()
        .filter(|issuer| !issuer.is_empty())
        .unwrap_or(OLD_ISSUER);
    let actual = text(&discovery, "/issuer");
    if configured == actual {
        return;
    }
    let message = format!(
        "{path} wants the issuer {}, and the tokens of this cluster have {}",
        shown(configured),
        shown(actual)
    );
    let message = format!(
        "{message}. With disable_iss_validation=true, the API server alone checks the tokens; a write replaces the whole configuration, token_reviewer_jwt too"
    );
    findings.fault(CHECK, message, Some(examination.server.line("read", [path])));
}

/// Whether the server asks the API server that the user asks, and trusts its authority.
async fn check_api_server(examination: &Examination<'_>, path: &str, config: &Value, findings: &mut Findings) {
    let Some(cluster) = &examination.situation.cluster else {
        return;
    };
    let trusted = config["kubernetes_ca_cert"].as_str().unwrap_or_default();
    let configmap = format!(
        "/api/v1/namespaces/{}/configmaps/kube-root-ca.crt",
        segment(&examination.situation.namespace)
    );
    let Ok(configmap) = api::get(cluster, &configmap).await else {
        return;
    };
    let own = certificates(text(&configmap, "/data/ca.crt"));
    if trusted.is_empty() || own.is_empty() || certificates(trusted).iter().any(|trusted| own.contains(trusted)) {
        return;
    }
    let message = format!(
        "{path} has a kubernetes_ca_cert without an authority of this cluster (the configmap kube-root-ca.crt): each login fails with 403, unless something else answers at kubernetes_host. Write the whole configuration again with the right one, token_reviewer_jwt too"
    );
    let host = config["kubernetes_host"]
        .as_str()
        .unwrap_or_default()
        .trim_end_matches('/');
    let show = Some(examination.server.line("read", [path]));
    match host == cluster.server.trim_end_matches('/') {
        true => findings.fault(CHECK, message, show),
        false => findings.warning(CHECK, message, show),
    }
}

/// The certificates of a bundle, in DER.
fn certificates(bundle: &str) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(bundle.as_bytes())
        .filter_map(Result::ok)
        .collect()
}

/// Without any other reviewer, each token reviews itself.
async fn check_pod_as_reviewer(
    examination: &Examination<'_>,
    login: &PlannedLogin,
    path: &str,
    findings: &mut Findings,
) {
    if let Some(audience) = login.audience.as_deref().filter(|audience| !is_api_servers(audience)) {
        let message = format!(
            "{path} names no token_reviewer_jwt, so the pod's token must review itself, and a token for the audience {} cannot ask the API server",
            shown(audience)
        );
        findings.fault(CHECK, message, Some(examination.server.line("read", [path])));
        return;
    }
    check_reviewer(
        examination,
        &examination.situation.namespace,
        &examination.pod.account,
        false,
        findings,
    )
    .await;
}

/// Whether the audience is one that API servers usually have.
pub(super) fn is_api_servers(audience: &str) -> bool {
    let host = audience.strip_prefix("https://").unwrap_or(audience);
    host.starts_with("kubernetes.default") || audience == "api" || audience.starts_with("https://oidc.eks.")
}

/// The service accounts of the server's pods, if the server's address is a Service of the cluster.
async fn server_accounts(examination: &Examination<'_>) -> BTreeSet<(String, String)> {
    let mut accounts = BTreeSet::new();
    let Some(cluster) = &examination.situation.cluster else {
        return accounts;
    };
    let mut labels = examination.plan.connection.address.host().split('.');
    let (Some(service), Some(namespace), Some("svc")) = (labels.next(), labels.next(), labels.next()) else {
        return accounts;
    };
    let namespaced = format!("/api/v1/namespaces/{}", segment(namespace));
    let Ok(found) = api::get(cluster, &format!("{namespaced}/services/{}", segment(service))).await else {
        return accounts;
    };
    let selector = found.pointer("/spec/selector").and_then(Value::as_object);
    let selector = selector.into_iter().flatten();
    let selector =
        selector.filter_map(|(name, value)| Some(format!("{}%3D{}", segment(name), segment(value.as_str()?))));
    let selector: Vec<String> = selector.collect();
    if selector.is_empty() {
        return accounts;
    }
    let pods = format!("{namespaced}/pods?limit=50&labelSelector={}", selector.join("%2C"));
    let Ok(pods) = api::get(cluster, &pods).await else {
        return accounts;
    };
    for pod in items(&pods, "/items") {
        let account = text(pod, "/spec/serviceAccountName");
        if !account.is_empty() {
            accounts.insert((namespace.to_owned(), account.to_owned()));
        }
    }
    accounts
}

/// `is_servers`: the account is the server's own. Another one gets no right by a command.
async fn check_reviewer(
    examination: &Examination<'_>,
    namespace: &str,
    account: &str,
    is_servers: bool,
    findings: &mut Findings,
) {
    let Some(cluster) = &examination.situation.cluster else {
        return;
    };
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": format!("system:serviceaccount:{namespace}:{account}"),
            "groups": ["system:serviceaccounts", format!("system:serviceaccounts:{namespace}"), "system:authenticated"],
            "resourceAttributes": {"group": "authentication.k8s.io", "resource": "tokenreviews", "verb": "create"},
        },
    });
    let who = format!("{namespace}/{account}");
    match api::post(cluster, "/apis/authorization.k8s.io/v1/subjectaccessreviews", &review).await {
        Ok(answer) if answer.object.pointer("/status/allowed") == Some(&Value::Bool(true)) => {
            findings.ok(
                CHECK,
                format!("the reviewer, the service account {who}, may review tokens"),
            );
        }
        Ok(_) => {
            let message =
                format!("the service account {who} reviews the pods' tokens, and may not: each login gets 403");
            findings.fault(CHECK, message, is_servers.then(|| may_review(namespace, account)));
        }
        Err(ApiError::Forbidden(_)) => {
            let message =
                format!("whether the service account {who} may review tokens: you may not create subjectaccessreviews");
            findings.unseen(
                CHECK,
                message,
                Some("kubectl auth can-i create subjectaccessreviews".to_owned()),
            );
        }
        Err(error) => findings.unseen(CHECK, format!("whether {who} may review tokens: {error}"), None),
    }
}

/// The command that lets a service account review tokens.
fn may_review(namespace: &str, account: &str) -> String {
    words::command(&[
        "kubectl",
        "create",
        "clusterrolebinding",
        &format!("{namespace}-{account}-tokenreview"),
        "--clusterrole=system:auth-delegator",
        &format!("--serviceaccount={namespace}:{account}"),
    ])
}
