//! The operator's part: the connection, and Vault's roles. No expression of a workflow goes there: a placeholder does.

use super::check;
use super::expressions::has_expression;
use super::logins::{Login, Server};
use crate::cli::migrate::output::scalar;

/// A role that the workflow does not name.
pub(super) const ROLE: &str = "YOUR-ROLE";
/// An address that the workflow does not name, or names by an expression.
const ADDRESS: &str = "https://YOUR-VAULT:8200";
/// A namespace that the workflow names by an expression.
const NAMESPACE: &str = "YOUR-NAMESPACE";

/// What the operator writes.
#[derive(Debug, Clone, Default)]
pub(super) struct Operator {
    address: String,
    namespace: Option<String>,
    has_ca: bool,
    /// Whether the pod logs in.
    by_pod: bool,
    /// How the job logs in.
    job: Option<JobPart>,
    pub(super) notes: Vec<String>,
}

/// `job` of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
struct JobPart {
    mount: String,
    role: String,
    audience: Option<String>,
}

impl Operator {
    /// The connection for steps that read from this server. `job`: how their jobs log in, if one does.
    pub(super) fn of(server: &Server, by_pod: bool, job: Option<&Login>) -> Self {
        let mut operator = Self {
            address: ADDRESS.to_owned(),
            has_ca: server.has_ca,
            by_pod,
            ..Self::default()
        };
        match &server.address {
            Some(address) if has_expression(address) => {
                operator
                    .notes
                    .push(format!("{ADDRESS} is a placeholder: the workflow has {address}"));
            }
            Some(address) => operator.use_address(address),
            None => operator
                .notes
                .push(format!("{ADDRESS} is a placeholder: the workflow names no url")),
        }
        match &server.namespace {
            Some(namespace) if has_expression(namespace) => {
                operator
                    .notes
                    .push(format!("{NAMESPACE} is a placeholder: the workflow has {namespace}"));
                operator.namespace = Some(NAMESPACE.to_owned());
            }
            Some(namespace) => operator.use_namespace(namespace),
            None => {}
        }
        if let Some(Login::Job { mount, role, audience }) = job {
            operator.use_job(mount.as_deref(), role.as_deref(), audience.as_deref());
        } else if job.is_some() {
            operator.use_job(None, None, None);
        }
        operator
    }

    fn use_address(&mut self, address: &str) {
        let usual = std::mem::replace(&mut self.address, address.to_owned());
        if let Err(why) = check::config(&self.fields()) {
            self.notes.push(format!(
                "{usual} is a placeholder: {} of the workflow is not an address that podkey takes: {why}",
                crate::text::quoted(address)
            ));
            self.address = usual;
        }
    }

    fn use_namespace(&mut self, namespace: &str) {
        self.namespace = Some(namespace.to_owned());
        if let Err(why) = check::config(&self.fields()) {
            self.notes.push(format!("{NAMESPACE} is a placeholder: {why}"));
            self.namespace = Some(NAMESPACE.to_owned());
        }
    }

    fn use_job(&mut self, mount: Option<&str>, role: Option<&str>, audience: Option<&str>) {
        self.job = Some(JobPart {
            mount: mount.unwrap_or("jwt").to_owned(),
            role: role.unwrap_or(ROLE).to_owned(),
            audience: audience.map(str::to_owned),
        });
        if role.is_none() {
            self.notes.push(format!(
                "role: {ROLE} is a placeholder: name the role of the auth method for GitHub's tokens (a step without a role took the mount's default_role)"
            ));
        }
        if let Err(why) = check::config(&self.fields()) {
            self.notes
                .push(format!("job: mount, role and audience are placeholders: {why}"));
            self.use_job(None, Some(ROLE), None);
        }
    }

    /// The fields of the connection, each on a line.
    pub(super) fn fields(&self) -> Vec<String> {
        let mut fields = vec![format!("address: {}", scalar(&self.address))];
        if self.address.starts_with("http://") {
            fields.push("allowInsecureHttp: true".to_owned());
        }
        fields.extend(
            self.namespace
                .as_ref()
                .map(|namespace| format!("namespace: {}", scalar(namespace))),
        );
        if self.has_ca {
            fields.push("caFile: /etc/podkey/vault-ca.pem".to_owned());
        }
        if self.by_pod {
            fields.push("auth: { method: kubernetes, audience: vault }".to_owned());
        }
        if let Some(job) = &self.job {
            let audience = job.audience.as_ref();
            let audience = audience.map_or(String::new(), |audience| format!(", audience: {}", scalar(audience)));
            fields.push(format!(
                "job: {{ method: jwt, mount: {}, role: {}{audience} }}",
                scalar(&job.mount),
                scalar(&job.role)
            ));
        }
        fields
    }

    /// What the operator should know about the fields.
    pub(super) fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        if self.address.starts_with("http://") {
            remarks.push("better use https: everybody on the network path can read clear text".to_owned());
        }
        if self.has_ca {
            remarks.push("caFile: the PEM file that caCertificate has in base64".to_owned());
        }
        if self.by_pod {
            remarks.push("the same audience in Vault's role; audience: \"\" for a role without one".to_owned());
        }
        remarks.extend(self.notes.iter().cloned());
        remarks
    }
}

/// The command that makes a role for the runner's service account, and what its policy must allow.
pub(super) fn role_commands(mount: Option<&str>, paths: &[String]) -> Vec<String> {
    let mount = mount.unwrap_or("kubernetes");
    let mut lines = vec![
        format!(
            "{ROLE} is a placeholder: no step names a role of this auth method. Make one, with your names in capitals:"
        ),
        format!(
            "bao write auth/{mount}/role/{ROLE} bound_service_account_names=SERVICE-ACCOUNT \
            bound_service_account_namespaces=NAMESPACE audience=vault token_policies=POLICY token_ttl=15m"
        ),
        "POLICY must allow read of:".to_owned(),
    ];
    lines.extend(paths.iter().map(|path| format!("  {path}")));
    lines
}
