//! What all checks of the server know.

use vaultrs::api::token::requests::LookupTokenSelfRequest;

use super::command::ServerCommand;
use super::environment::Environment;
use super::knock::Reached;
use super::wire::{Caller, Wire};
use crate::cli::doctor::finding::Findings;
use crate::cli::doctor::situation::{ExaminedPod, Situation, items};
use crate::plan::{AuthMethod, Plan};

/// What all checks know.
pub(super) struct Examination<'a> {
    pub(super) situation: &'a Situation,
    pub(super) pod: &'a ExaminedPod,
    pub(super) plan: &'a Plan,
    pub(super) server: ServerCommand,
    pub(super) anonymous: Caller<'a>,
    /// None: the user has no token that the server takes.
    pub(super) user: Option<Caller<'a>>,
}

/// A login that the plan has.
pub(super) struct PlannedLogin {
    pub(super) subject: Subject,
    pub(super) method: AuthMethod,
    /// The path of the mount, without `auth/`.
    pub(super) mount: String,
    pub(super) role: String,
    /// The audience of the token. None: the default of whoever makes the token.
    pub(super) audience: Option<String>,
}

/// Whose token the login has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Subject {
    /// The pod's service account.
    Account,
    /// A job of GitHub Actions.
    Job,
}

impl PlannedLogin {
    /// Whether a role of the server can have this name: <https://github.com/openbao/openbao/blob/main/sdk/framework/path.go>
    /// (`GenericNameRegex`).
    pub(super) fn has_role_name(&self) -> bool {
        is_role_name(&self.role)
    }

    pub(super) fn role_path(&self) -> String {
        format!("auth/{}/role/{}", self.mount, self.role)
    }
}

/// See [`PlannedLogin::has_role_name`].
pub(crate) fn is_role_name(role: &str) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    role.chars().all(|c| is_word(c) || c == '-' || c == '.') && role.starts_with(is_word) && role.ends_with(is_word)
}

/// A caller without a token.
pub(super) fn anonymous<'a>(wire: &'a Wire, plan: &Plan) -> Caller<'a> {
    let namespace = plan.connection.namespace.as_ref();
    Caller {
        wire,
        namespace: namespace.map(|namespace| namespace.as_str().to_owned()),
        token: None,
    }
}

/// The user's own way to ask. None, with a finding: there is no token, or the server does not take it.
pub(super) async fn user<'a>(
    way: Option<&'a Reached>,
    plan: &Plan,
    environment: &Environment,
    server: &ServerCommand,
    findings: &mut Findings,
) -> Option<Caller<'a>> {
    const CHECK: &str = "vault-token";
    let missing = "auth methods, roles, policies and secrets: without a token of yours the server shows none of them";
    let prefix = if server.is_openbao { "BAO" } else { "VAULT" };
    let login = server.line("login", [""; 0]);
    let Some(token) = &environment.token else {
        let message = match environment.address {
            Some(_) => format!("{missing}; log in, or set {prefix}_TOKEN"),
            None => {
                format!("{missing}; set {prefix}_ADDR to your own way to the server, then log in or set {prefix}_TOKEN")
            }
        };
        findings.unseen(CHECK, message, environment.address.is_some().then_some(login));
        return None;
    };
    if environment.address.is_none() {
        // The address of the plan is the pod's: no command names it.
        let message = format!(
            "{missing}; the doctor sends your token to {prefix}_ADDR alone, which is not set: set it to your own way to the server"
        );
        findings.unseen(CHECK, message, None);
        return None;
    }
    // What is wrong with the address is a finding already.
    let caller = anonymous(&way?.wire, plan).with_token(Some(token.clone()));
    match caller.ask(LookupTokenSelfRequest {}).await {
        Ok(answer) if answer.is_good() => Some(caller),
        Ok(answer) => {
            let message = format!("{missing}, and it does not take yours: {}", answer.errors());
            findings.unseen(CHECK, message, Some(login));
            None
        }
        Err(_) => {
            findings.unseen(CHECK, format!("{missing}, and it did not answer about yours"), None);
            None
        }
    }
}

impl Examination<'_> {
    /// The pod's login, then that of its job.
    pub(super) fn logins(&self) -> Vec<PlannedLogin> {
        let role = self.situation.role.as_deref();
        let of_pod = self.plan.login.as_ref().map(|login| PlannedLogin {
            subject: Subject::Account,
            method: login.method,
            mount: login.mount.as_str().to_owned(),
            role: role.unwrap_or(login.role.as_str()).to_owned(),
            audience: self.audience(),
        });
        let of_job = self.plan.job.iter().filter(|job| job.reads());
        let of_job = of_job.filter_map(|job| job.login.as_ref()).map(|login| PlannedLogin {
            subject: Subject::Job,
            method: AuthMethod::Jwt,
            mount: login.mount.as_str().to_owned(),
            role: role
                .filter(|_| of_pod.is_none())
                .unwrap_or(login.role.as_str())
                .to_owned(),
            audience: login.audience.as_ref().map(|audience| audience.as_str().to_owned()),
        });
        let of_job: Vec<_> = of_job.collect();
        of_pod.into_iter().chain(of_job).collect()
    }

    /// The audience of the volume `podkey-token`. None: the API server's own.
    fn audience(&self) -> Option<String> {
        let volumes = items(&self.pod.pod, "/spec/volumes").filter(|volume| volume["name"] == "podkey-token");
        let sources = volumes.flat_map(|volume| items(volume, "/projected/sources"));
        let mut audiences = sources.filter_map(|source| source["serviceAccountToken"]["audience"].as_str());
        audiences
            .next()
            .filter(|audience| !audience.is_empty())
            .map(str::to_owned)
    }

    /// Who logs in, for messages.
    pub(super) fn who(&self, login: &PlannedLogin) -> String {
        match login.subject {
            Subject::Account => format!("the service account {}/{}", self.situation.namespace, self.pod.account),
            Subject::Job => "the job".to_owned(),
        }
    }
}
