//! The inputs about the server and the login: what the pod's author and the operator write in their place.

use super::expressions::has_expression;
use super::logins::{Login, Server};
use super::part::StepPart;
use crate::inject::keys::{AUTH_MOUNT, FILES, JOB_ENV, ROLE};
use crate::text::quoted;

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

impl StepPart<'_> {
    /// The replacement of vault-action's login.
    pub(super) fn login(&mut self) -> Login {
        let method = self.input("method").unwrap_or("token").to_lowercase();
        match method.as_str() {
            "kubernetes" => Login::Pod {
                mount: self.literal("path", AUTH_MOUNT).filter(|mount| mount != "kubernetes"),
                role: self.literal("role", ROLE),
            },
            "jwt" if self.input("jwtPrivateKey").is_none() => {
                self.notes.push(
                    "the job keeps its \"permissions: id-token: write\", because it still logs in with GitHub's token"
                        .to_owned(),
                );
                Login::Job {
                    mount: self.literal("path", "the connection's job.mount"),
                    role: self.literal("role", "the connection's job.role"),
                    audience: self.literal("jwtGithubAudience", "the connection's job.audience"),
                }
            }
            _ => self.login_without_equivalent(&method),
        }
    }

    /// The text of an input that must not have an expression where it is going to be written.
    fn literal(&mut self, input: &str, instead: &str) -> Option<String> {
        let value = self.input(input)?;
        if has_expression(value) {
            self.lose(
                input,
                &format!(
                    "{value} is an expression, which podkey cannot fill in: write the value itself into {instead}"
                ),
            );
            return None;
        }
        Some(value.to_owned())
    }

    fn login_without_equivalent(&mut self, method: &str) -> Login {
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
        Login::default()
    }

    /// The replacement of the server's address and of the trust in the server.
    pub(super) fn server(&mut self) -> Server {
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
        let names = self.found.inputs.keys();
        let unknown = names.filter(|name| !INPUTS.iter().any(|input| input.eq_ignore_ascii_case(name)));
        for name in unknown {
            self.notes
                .push(format!("{}: vault-action has no such input", quoted(name)));
        }
        Server {
            address: self.input("url").map(|url| url.trim_end_matches('/').to_owned()),
            namespace: self.input("namespace").map(str::to_owned),
            has_ca: self.input("caCertificate").is_some(),
        }
    }
}
