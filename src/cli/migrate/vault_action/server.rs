//! The inputs about the server and the login: their replacement by the pod's author and the operator.

use super::expressions::has_expression;
use super::replacement::Replacement;
use crate::cli::migrate::output::scalar;
use crate::inject::keys::{AUTH_MOUNT, FILES, JOB_ENV, ROLE};
use crate::text::quoted;

/// Who logs in for the job.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum LoginBy {
    /// The pod, before the job: `podkey.dev/env`.
    Pod,
    /// The job, with GitHub's token: `podkey.dev/job-env`.
    Job,
}

/// All inputs of vault-action, also those that podkey ignores. Any other input is a mistake in the workflow.
const INPUTS: [&str; 29] = [
    "url",
    "secrets",
    "pki",
    "namespace",
    "method",
    "role",
    "path",
    "token",
    "roleId",
    "secretId",
    "githubToken",
    "kubernetesTokenPath",
    "username",
    "password",
    "authPayload",
    "extraHeaders",
    "exportEnv",
    "exportToken",
    "outputToken",
    "caCertificate",
    "clientCertificate",
    "clientKey",
    "tlsSkipVerify",
    "jwtPrivateKey",
    "jwtKeyPassword",
    "jwtGithubAudience",
    "jwtTtl",
    "secretEncodingType",
    "ignoreNotFound",
];

/// Inputs without an equivalent in podkey, each with an alternative. Only an input with a value counts.
fn without_equivalent() -> [(&'static str, String); 3] {
    [
        (
            "clientCertificate",
            "podkey has no client certificates: let the server accept the pod's token alone".to_owned(),
        ),
        (
            "extraHeaders",
            "podkey sends no additional headers: configure the proxy that wants them to do without".to_owned(),
        ),
        (
            "pki",
            format!(
                "write an entry of {FILES} with \"data:\", such as {{secret: pki/issue/NAME, data: {{common_name: …}}, file: \
                NAME.json}}"
            ),
        ),
    ]
}

/// Switches without an equivalent in podkey, each with an alternative.
const SWITCHES_WITHOUT_EQUIVALENT: [(&str, &str); 3] = [
    (
        "tlsSkipVerify",
        "podkey always checks the server's certificate: give the operator the server's CA for caFile",
    ),
    ("exportToken", NO_TOKEN),
    ("outputToken", NO_TOKEN),
];
const NO_TOKEN: &str = "a job gets no Vault token: let podkey read the secrets that the token was used for";

impl Replacement<'_> {
    /// The replacement of vault-action's login. Returns who logs in.
    pub(super) fn login(&mut self) -> LoginBy {
        let method = self.input("method").unwrap_or("token").to_lowercase();
        let mount = self.input("path").unwrap_or(&method).to_owned();
        match method.as_str() {
            "kubernetes" => {
                self.login_of_pod(&mount);
                LoginBy::Pod
            }
            "jwt" if self.input("jwtPrivateKey").is_none() => {
                self.login_of_job(&mount);
                LoginBy::Job
            }
            _ => {
                self.login_without_equivalent(&method);
                LoginBy::Pod
            }
        }
    }

    fn login_of_pod(&mut self, mount: &str) {
        if has_expression(mount) {
            self.lose(
                "path",
                &format!("an annotation cannot hold an expression: write the auth mount itself into {AUTH_MOUNT}"),
            );
        } else if mount != "kubernetes" {
            self.annotations.push((AUTH_MOUNT, scalar(mount)));
        }
        match self.input("role") {
            Some(role) if has_expression(role) => self.lose(
                "role",
                &format!("an annotation cannot hold an expression: write the role itself into {ROLE}"),
            ),
            Some(role) => self.annotations.push((ROLE, scalar(role))),
            None => {}
        }
        self.operator.push(
            "auth: { method: kubernetes, audience: vault }, and the same audience in Vault's role; audience: \"\" for a role \
            without one"
                .to_owned(),
        );
    }

    fn login_of_job(&mut self, mount: &str) {
        let role = self.input("role").unwrap_or("(the mount's default_role: name it)");
        let audience = match self.input("jwtGithubAudience") {
            Some(audience) => format!(", audience: {}", scalar(audience)),
            None => String::new(),
        };
        self.operator.push(format!(
            "job: {{ method: jwt, mount: {}, role: {}{audience} }}",
            scalar(mount),
            scalar(role)
        ));
        self.notes.push(
            "the job keeps its \"permissions: id-token: write\", because it still logs in with GitHub's token"
                .to_owned(),
        );
    }

    fn login_without_equivalent(&mut self, method: &str) {
        let why = match method {
            "jwt" => "jwtPrivateKey: podkey signs no tokens of its own",
            "token" | "approle" | "userpass" | "ldap" | "github" => {
                "a credential in GitHub's secrets, which podkey makes unnecessary"
            }
            _ => "podkey does not have this login",
        };
        self.lose(
            &format!("method: {method}"),
            &format!(
                "{why}. Either let Vault accept the runner's service account (auth method kubernetes) and name its role \
                with {ROLE}, or let Vault accept GitHub's tokens (auth method jwt) for {JOB_ENV}"
            ),
        );
    }

    /// The replacement of the server's address and of the trust in the server.
    pub(super) fn connection(&mut self) {
        for (input, setting) in [("url", "address"), ("namespace", "namespace")] {
            match self.input(input) {
                Some(value) if has_expression(value) => {
                    self.operator.push(format!("{setting}: the value of {value}"));
                }
                Some(value) => self.operator.push(format!("{setting}: {}", scalar(value))),
                None => {}
            }
        }
        if self.input("url").is_some_and(|url| url.starts_with("http://")) {
            self.operator.push(
                "allowInsecureHttp: true; better use https: everybody on the network path can read clear text"
                    .to_owned(),
            );
        }
        if self.input("caCertificate").is_some() {
            self.operator
                .push("caFile: the PEM file that caCertificate has in base64".to_owned());
        }
        for (input, instead) in SWITCHES_WITHOUT_EQUIVALENT {
            if self.is_on(input) {
                self.lose(input, instead);
            }
        }
        for (input, instead) in without_equivalent() {
            if self.input(input).is_some() {
                self.lose(input, &instead);
            }
        }
        let names = self.step.inputs.keys();
        let unknown = names.filter(|name| !INPUTS.iter().any(|input| input.eq_ignore_ascii_case(name)));
        for name in unknown {
            self.notes
                .push(format!("{}: vault-action has no such input", quoted(name)));
        }
    }
}
