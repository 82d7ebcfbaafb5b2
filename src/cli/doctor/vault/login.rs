//! A login as the pod does it, with a new token of the pod's account. The client token is revoked after the checks.

use serde_json::{Value, json};
use vaultrs::api::auth::kubernetes::requests::LoginWithKubernetesRequest;
use vaultrs::api::auth::oidc::requests::JWTLoginRequest;
use zeroize::{Zeroize as _, Zeroizing};

use super::examination::{Examination, PlannedLogin};
use super::role_create::create;
use super::role_data::Role;
use super::tls::causes;
use super::wire::{Answer, Caller, shown, texts};
use crate::cli::doctor::api::{self, ApiError, segment};
use crate::cli::doctor::finding::Findings;
use crate::cli::doctor::words;
use crate::cli::kubeconfig::KubeClient;
use crate::plan::AuthMethod;

const CHECK: &str = "vault-login";
/// The shortest life of a token that the API server gives, in seconds.
const TOKEN_SECONDS: u64 = 600;

/// A login that succeeded. No `Debug`: the token must not be printed.
pub(super) struct Session {
    pub(super) token: Zeroizing<String>,
    accessor: String,
    is_batch: bool,
    /// How often the token can be used. 0: without a limit.
    pub(super) uses: u64,
    pub(super) seconds: u64,
    pub(super) policies: Vec<String>,
}

pub(super) async fn log_in(
    examination: &Examination<'_>,
    login: &PlannedLogin,
    role: Option<&Role>,
    findings: &mut Findings,
) -> Option<Session> {
    let cluster = examination.situation.cluster.as_ref()?;
    let jwt = mint(examination, cluster, login, findings).await?;
    let mount = login.mount.clone();
    let answer = match login.method {
        AuthMethod::Kubernetes => {
            let request = LoginWithKubernetesRequest {
                mount,
                role: login.role.clone(),
                jwt: jwt.to_string(),
            };
            examination.anonymous.ask(request).await
        }
        AuthMethod::Jwt => {
            let request = JWTLoginRequest {
                mount,
                role: Some(login.role.clone()),
                jwt: jwt.to_string(),
            };
            examination.anonymous.ask(request).await
        }
    };
    match answer {
        Ok(answer) if answer.is_good() => accepted(examination, login, role, answer, findings),
        Ok(answer) => {
            refused(examination, cluster, login, role, &jwt, &answer, findings).await;
            None
        }
        Err(error) => {
            findings.unseen(CHECK, format!("the login: {}", causes(&error)), None);
            None
        }
    }
}

/// A token of the pod's account for the audience of the volume `podkey-token`.
async fn mint(
    examination: &Examination<'_>,
    cluster: &KubeClient,
    login: &PlannedLogin,
    findings: &mut Findings,
) -> Option<Zeroizing<String>> {
    let (namespace, account) = (&examination.situation.namespace, &examination.pod.account);
    let audiences: Vec<&String> = login.audience.iter().collect();
    let request = json!({
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"audiences": audiences, "expirationSeconds": TOKEN_SECONDS},
    });
    let path = format!(
        "/api/v1/namespaces/{}/serviceaccounts/{}/token",
        segment(namespace),
        segment(account)
    );
    match api::post(cluster, &path, &request).await {
        Ok(mut answer) => match answer.object.pointer_mut("/status/token").map(Value::take) {
            Some(Value::String(token)) => Some(Zeroizing::new(token)),
            _ => {
                findings.unseen(CHECK, "the login: the API server gave no token", None);
                None
            }
        },
        Err(ApiError::NotFound(_)) => {
            let message = format!("the login: there is no service account {account} in the namespace {namespace}");
            let create = words::command(&["kubectl", "create", "serviceaccount", account, "-n", namespace]);
            findings.fault(CHECK, message, Some(create));
            None
        }
        Err(ApiError::Forbidden(_)) => {
            let message = format!("the login: you may not create serviceaccounts/token in the namespace {namespace}");
            findings.unseen(CHECK, message, None);
            None
        }
        Err(error) => {
            findings.unseen(CHECK, format!("the login: the API server gave no token: {error}"), None);
            None
        }
    }
}

fn accepted(
    examination: &Examination<'_>,
    login: &PlannedLogin,
    role: Option<&Role>,
    mut answer: Answer,
    findings: &mut Findings,
) -> Option<Session> {
    let auth = &mut answer.body["auth"];
    let Value::String(token) = auth["client_token"].take() else {
        findings.fault(CHECK, "the login is answered without a token", None);
        return None;
    };
    let text = |field: &str| auth[field].as_str().unwrap_or_default().to_owned();
    let session = Session {
        token: Zeroizing::new(token),
        accessor: text("accessor"),
        is_batch: text("token_type") == "batch",
        uses: auth["num_uses"]
            .as_u64()
            .or_else(|| role.map(|role| role.number("token_num_uses")))
            .unwrap_or(0),
        seconds: auth["lease_duration"].as_u64().unwrap_or_default(),
        policies: texts(&auth["policies"]),
    };
    let kind = if session.is_batch { "a batch token" } else { "a token" };
    let message = format!(
        "{} logs in as {} and gets {kind} for {}s",
        examination.who(login),
        login.role,
        session.seconds
    );
    findings.ok(CHECK, message);
    if examination.plan.refresh.is_some() && auth["renewable"] == Value::Bool(false) && !session.is_batch {
        let message = "the login's token cannot be renewed: the sidecar logs in anew each time";
        findings.warning("vault-refresh", message, None);
    }
    Some(session)
}

async fn refused(
    examination: &Examination<'_>,
    cluster: &KubeClient,
    login: &PlannedLogin,
    role: Option<&Role>,
    jwt: &str,
    answer: &Answer,
    findings: &mut Findings,
) {
    let errors = answer.errors();
    let (mount, name) = (&login.mount, &login.role);
    let message = format!("the login at auth/{mount} as {name} is refused: {errors}");
    let says = |text: &str| errors.contains(text);
    if says("invalid role name") || says("could not be found") {
        let message = format!("auth/{mount} has no role {name}: {errors}");
        findings.fault(CHECK, message, create(examination, login).await);
        return;
    }
    let cidrs = role.map(|role| role.list("token_bound_cidrs")).unwrap_or_default();
    if !cidrs.is_empty() {
        let message = format!(
            "{message}. The role takes logins from {} alone (token_bound_cidrs), and this one came from your machine: whether the pod may log in, only the pod can show",
            shown(&cidrs.join(", "))
        );
        findings.unseen(CHECK, message, None);
        return;
    }
    let config = examination.server.line("read", [format!("auth/{mount}/config")]);
    if answer.status == 403 && login.method == AuthMethod::Kubernetes && errors == "permission denied" {
        let bound = if role.is_none() {
            ", or the role takes logins from other addresses alone"
        } else {
            ""
        };
        if is_good_token(cluster, login, jwt).await == Some(true) {
            let why = "the API server takes the token when you ask. So look at the configuration: kubernetes_host and kubernetes_ca_cert must be this cluster's, and the reviewer (token_reviewer_jwt, which nobody can read; else the server's own service account) must be valid and have the ClusterRole system:auth-delegator";
            let message = format!("{message}; {why}; or nothing is mounted at auth/{mount}{bound}");
            findings.fault(CHECK, message, Some(config));
            return;
        }
        let hint =
            format!("{message}; nothing is mounted at auth/{mount}, or the API server does not take the token{bound}");
        findings.fault(CHECK, hint, Some(examination.server.line("auth list", [""; 0])));
        return;
    }
    let of_config = ["issuer", "signature", "key", "fetch"].iter().any(|word| says(word));
    let command = match login.method == AuthMethod::Jwt && of_config {
        true => config,
        false => login.show(examination),
    };
    findings.fault(CHECK, message, Some(command));
}

/// Whether the API server takes the token, if the user may ask.
async fn is_good_token(cluster: &KubeClient, login: &PlannedLogin, jwt: &str) -> Option<bool> {
    let audiences: Vec<&String> = login.audience.iter().collect();
    let mut review = json!({
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenReview",
        "spec": {"token": jwt, "audiences": audiences},
    });
    let answer = api::post(cluster, "/apis/authentication.k8s.io/v1/tokenreviews", &review).await;
    if let Some(Value::String(token)) = review.pointer_mut("/spec/token") {
        token.zeroize();
    }
    answer.ok()?.object.pointer("/status/authenticated")?.as_bool()
}

impl Session {
    /// The pod's own way to ask.
    pub(super) fn caller<'a>(&self, examination: &Examination<'a>) -> Caller<'a> {
        examination.anonymous.with_token(Some(self.token.clone()))
    }

    pub(super) fn accessor(&self) -> Option<&str> {
        (!self.accessor.is_empty()).then_some(self.accessor.as_str())
    }
}

/// Revokes the token, by the user's token where the pod's own may not.
pub(super) async fn revoke(examination: &Examination<'_>, session: Session, findings: &mut Findings) {
    if session.is_batch {
        let message = format!(
            "the doctor's batch token cannot be revoked: it ends after {}s",
            session.seconds
        );
        findings.ok("vault-login", message);
        return;
    }
    let by_itself = session
        .caller(examination)
        .write("auth/token/revoke-self", json!({}))
        .await;
    if by_itself.is_ok_and(|answer| answer.is_good()) {
        return;
    }
    if let (Some(user), Some(accessor)) = (&examination.user, session.accessor()) {
        let by_user = user
            .write("auth/token/revoke-accessor", json!({ "accessor": accessor }))
            .await;
        if by_user.is_ok_and(|answer| answer.is_good()) {
            return;
        }
    }
    // The last use of a limited token has ended it.
    if session.uses > 0 {
        return;
    }
    let message = format!(
        "the doctor's token could not be revoked: it ends after {}s",
        session.seconds
    );
    let command = session
        .accessor()
        .map(|accessor| examination.server.line("token revoke", ["-accessor", accessor]));
    findings.warning("vault-login", message, command);
}
