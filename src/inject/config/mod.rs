//! The operator's config: which servers there are, who may use them, and what podkey's own containers look like.
//!
//! Parsing is pure: the file's text comes in, and a function that reads the CA files it names.

pub(crate) mod agent;
mod error;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::value::RawValue;

pub use self::agent::{AgentConfig, AgentResources};
pub use self::error::ConfigError;
use self::error::wrong;
use crate::inject::check::policy::AllowRule;
use crate::inject::kubernetes::KubernetesVersion;
use crate::inject::patch::volumes::TOKEN_SECONDS;
use crate::inject::request::yaml_error::explain;
use crate::plan::{
    self, ApiPath, Audience, AuthMethod, Budget, DEFAULT_HOOK_DEADLINE, JobLogin, JobPolicy, MAX_PLAN_BYTES, Role,
    ServerName, spelling,
};

/// The whole config.
#[derive(Debug, Clone)]
pub struct Config {
    /// podkey's own containers.
    pub agent: AgentConfig,
    /// Servers by name.
    pub connections: BTreeMap<String, Connection>,
    /// Pods whose containers see each other's processes are injected too, although the job can then read the agent.
    pub allow_shared_process_namespace: bool,
    /// The cluster's version; none: not known, and taken as new enough for everything.
    pub kubernetes_version: Option<KubernetesVersion>,
}

/// A server, with what the plan says of it and what only the webhook needs.
#[derive(Debug, Clone)]
pub struct Connection {
    /// As it goes into plans.
    pub server: plan::Connection,
    /// The same as the text that plans have it in.
    pub(crate) server_json: Box<RawValue>,
    /// The life of the service-account token in a pod whose files are refreshed, in seconds.
    pub(crate) refresh_token_seconds: i64,
    /// All tries of one agent together.
    pub budget: Budget,
    /// How pods log in.
    pub method: AuthMethod,
    /// Where the auth method is mounted, unless the author says otherwise.
    pub mount: ApiPath,
    /// The audience of the service-account token; none is the API server's own.
    pub audience: Option<String>,
    /// The role, unless the author says otherwise.
    pub role: Option<Role>,
    /// What the hooks of runner pods do.
    pub job: JobConnection,
    /// None: Vault's policies alone decide.
    pub allow: Option<Vec<AllowRule>>,
}

/// What a connection has for the jobs of runner pods.
#[derive(Debug, Clone)]
pub struct JobConnection {
    /// How the job logs in with GitHub's token; none: it cannot.
    pub login: Option<JobLogin>,
    /// Which jobs get secrets; none: the pod's author alone decides.
    pub policy: Option<JobPolicy>,
    /// How long one hook may take.
    pub deadline: Budget,
}

/// Nothing that we serialise can fail; if it ever does, the start does.
fn unwritable<T>(error: serde_json::Error) -> Result<T, ConfigError> {
    wrong("podkey", format!("cannot be written as JSON: {error}"))
}

/// The config file as it is written.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ConfigFile {
    agent: AgentConfig,
    connections: BTreeMap<String, ConnectionFile>,
    #[serde(default)]
    allow_shared_process_namespace: bool,
    #[serde(default)]
    kubernetes_version: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ConnectionFile {
    address: String,
    #[serde(default)]
    ca_file: Option<PathBuf>,
    #[serde(default)]
    tls_server_name: Option<String>,
    #[serde(default)]
    namespace: Option<String>,
    #[serde(default)]
    budget: Option<String>,
    #[serde(default)]
    allow_insecure_http: bool,
    #[serde(default)]
    auth: AuthFile,
    #[serde(default)]
    job: JobFile,
    #[serde(default, deserialize_with = "rules")]
    allow: Option<Vec<AllowRule>>,
}

/// An `allow` whose rules are all commented out must not allow everything.
fn rules<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<AllowRule>>, D::Error> {
    match Option::deserialize(deserializer)? {
        Some(rules) => Ok(Some(rules)),
        None => Err(serde::de::Error::custom(
            "allow is there without a rule: write [] to allow nobody, or remove it to let Vault's policies alone decide",
        )),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AuthFile {
    #[serde(default = "default_method")]
    method: AuthMethod,
    #[serde(default)]
    mount: Option<String>,
    #[serde(default = "default_audience")]
    audience: String,
    #[serde(default)]
    role: String,
    #[serde(default)]
    refresh_token_seconds: Option<u64>,
}

impl Default for AuthFile {
    fn default() -> Self {
        Self {
            method: default_method(),
            mount: None,
            audience: default_audience(),
            role: String::new(),
            refresh_token_seconds: None,
        }
    }
}

/// A connection's `job`.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct JobFile {
    #[serde(default)]
    method: Option<JobMethod>,
    #[serde(default)]
    mount: Option<String>,
    #[serde(default)]
    role: Option<String>,
    #[serde(default)]
    audience: Option<String>,
    #[serde(default)]
    deadline: Option<String>,
    #[serde(default, deserialize_with = "job_policy")]
    policy: Option<JobPolicy>,
}

/// GitHub gives a job one kind of token, and only one method takes it.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum JobMethod {
    Jwt,
}

/// A policy whose fields are all commented out must not allow every job.
fn job_policy<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<JobPolicy>, D::Error> {
    match Option::deserialize(deserializer)? {
        Some(policy) => Ok(Some(policy)),
        None => Err(serde::de::Error::custom(
            "policy is there without a field: write repositories, events, protectedRefs or forks, or remove it",
        )),
    }
}

fn default_method() -> AuthMethod {
    AuthMethod::Kubernetes
}

fn default_audience() -> String {
    "vault".to_owned()
}

/// How long `podkey-token` lives in pods whose files are kept fresh, with the kubernetes method: OpenBao ≥ 2.6.4 and 2.7.1 ask at
/// each renewal whether it is still good. The jwt method asks nobody, and takes a token after its pod is gone too: there, no
/// token lives longer than it must.
const REFRESH_TOKEN_SECONDS: u64 = 24 * 3600;
/// As in the API server's own check of `expirationSeconds`.
const MAX_TOKEN_SECONDS: i64 = 1 << 32;

/// What a plan needs beside the CA bundle: some hundred files.
const REST_OF_PLAN_BYTES: usize = 16 * 1024;

impl Config {
    /// Parses the file's text. `read_ca` gives the certificates of a CA file as PEM, or says what is wrong with it.
    pub fn parse(text: &str, read_ca: impl Fn(&Path) -> Result<String, String>) -> Result<Self, ConfigError> {
        if text.lines().all(|line| {
            matches!(
                line.trim_start_matches('\u{feff}').trim_start().chars().next(),
                None | Some('#')
            )
        }) {
            return Err(ConfigError::Yaml(
                "has nothing in it: it needs agent.image and connections".to_owned(),
            ));
        }
        let file: ConfigFile =
            serde_saphyr::from_str(text).map_err(|error| ConfigError::Yaml(explain(&error, text)))?;
        if file.agent.image.trim().is_empty() {
            return wrong("agent.image", "is empty");
        }
        if file
            .agent
            .run_as_user
            .is_some_and(|uid| !(1..=i64::from(i32::MAX)).contains(&uid))
        {
            return wrong("agent.runAsUser", "is no user ID from 1 to 2147483647 (null sets none)");
        }
        file.agent.resources.check()?;
        let kubernetes_version = file.kubernetes_version.as_deref().map(str::trim);
        let kubernetes_version = kubernetes_version
            .filter(|text| !text.is_empty())
            .map(|text| {
                text.parse()
                    .or_else(|why| wrong("kubernetesVersion", format!("{text:?} {why}")))
            })
            .transpose()?;
        if file.connections.is_empty() {
            return wrong("connections", "is empty: name at least one server");
        }
        let mut connections = BTreeMap::new();
        for (name, connection) in file.connections {
            let connection = connection.check(&name, &read_ca)?;
            connections.insert(name, connection);
        }
        Ok(Self {
            agent: file.agent,
            connections,
            allow_shared_process_namespace: file.allow_shared_process_namespace,
            kubernetes_version,
        })
    }
}

impl ConnectionFile {
    fn check(self, name: &str, read_ca: &impl Fn(&Path) -> Result<String, String>) -> Result<Connection, ConfigError> {
        let key = |field: &str| format!("connections.{name}.{field}");
        if name.is_empty() || name.len() > 63 || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
        {
            return wrong(
                format!("connections.{name:?}"),
                "is no name of up to 63 letters, digits, -, _ and .",
            );
        }
        fn parse<T: std::str::FromStr<Err = plan::Invalid>>(key: String, text: &str) -> Result<T, ConfigError> {
            parse_unless(spelling::of_plain_text, key, text)
        }
        fn parse_unless<T: std::str::FromStr<Err = plan::Invalid>>(
            wrong_spelling: fn(&str) -> Option<String>,
            key: String,
            text: &str,
        ) -> Result<T, ConfigError> {
            spelling::parse(text, wrong_spelling).or_else(|why| wrong(key, format!("{text:?} {why}")))
        }
        /// An empty text and one left out are the same.
        fn given(text: Option<&str>) -> Option<&str> {
            text.map(str::trim).filter(|text| !text.is_empty())
        }
        let address: plan::Address = parse(key("address"), self.address.trim())?;
        if !address.is_tls() && !self.allow_insecure_http {
            return wrong(
                key("address"),
                "is http://: tokens and secrets would cross the network in clear text. Use https://, or set allowInsecureHttp: true",
            );
        }
        let ca = match self.ca_file.as_deref().filter(|path| !path.as_os_str().is_empty()) {
            None => None,
            Some(_) if !address.is_tls() => {
                return wrong(
                    key("caFile"),
                    "is given for an http:// address, which has no certificate",
                );
            }
            Some(path) => match read_ca(path) {
                Ok(pem) => Some(pem),
                Err(why) => return wrong(key("caFile"), format!("{} {why}", path.display())),
            },
        };
        // Each line break is two bytes in JSON.
        let ca_bytes = ca.as_ref().map_or(0, |pem| pem.len() + pem.matches('\n').count());
        if ca_bytes > MAX_PLAN_BYTES - REST_OF_PLAN_BYTES {
            return wrong(
                key("caFile"),
                format!(
                    "has {ca_bytes} bytes of certificates, more than fits into a pod: keep the ones that sign this server's certificate"
                ),
            );
        }
        let method = self.auth.method;
        let default_mount = match method {
            AuthMethod::Kubernetes => "kubernetes",
            AuthMethod::Jwt => "jwt",
        };
        let mount = given(self.auth.mount.as_deref()).unwrap_or(default_mount);
        let audience = self.auth.audience.trim();
        if audience.len() > 1024 || audience.chars().any(char::is_control) {
            return wrong(key("auth.audience"), "is no audience");
        }
        let job = self.job;
        let role = given(job.role.as_deref());
        if role.is_none() && (job.method.is_some() || given(job.mount.as_deref().or(job.audience.as_deref())).is_some())
        {
            return wrong(
                key("job.role"),
                "is missing: the job logs in as a role of the jwt auth method that is bound to GitHub's tokens",
            );
        }
        let login = role.map(|role| {
            Ok(JobLogin {
                mount: parse_unless(
                    spelling::of_mount,
                    key("job.mount"),
                    given(job.mount.as_deref()).unwrap_or("jwt").trim_matches('/'),
                )?,
                role: parse_unless(spelling::of_role, key("job.role"), role)?,
                audience: given(job.audience.as_deref())
                    .map(|text| parse::<Audience>(key("job.audience"), text))
                    .transpose()?,
            })
        });
        for (index, rule) in self.allow.iter().flatten().enumerate() {
            if let Some((field, why)) = rule.matches_nothing() {
                return wrong(format!("{}[{index}].{field}", key("allow")), why);
            }
        }
        let job = JobConnection {
            login: login.transpose()?,
            policy: job.policy,
            deadline: parse(
                key("job.deadline"),
                given(job.deadline.as_deref()).unwrap_or(DEFAULT_HOOK_DEADLINE),
            )?,
        };
        let server = plan::Connection {
            name: name.to_owned(),
            address,
            ca,
            tls_server_name: given(self.tls_server_name.as_deref())
                .map(|text| parse::<ServerName>(key("tlsServerName"), text))
                .transpose()?,
            namespace: given(self.namespace.as_deref().map(|text| text.trim().trim_end_matches('/')))
                .map(|text| parse::<ApiPath>(key("namespace"), text))
                .transpose()?,
            allow_insecure_http: self.allow_insecure_http,
        };
        let audience = Some(audience).filter(|audience| !audience.is_empty());
        let server_json = serde_json::to_string(&server).or_else(unwritable)?;
        let refresh_seconds = match (self.auth.refresh_token_seconds, method) {
            (Some(seconds), _) => Some(seconds),
            (None, AuthMethod::Kubernetes) => Some(REFRESH_TOKEN_SECONDS),
            (None, AuthMethod::Jwt) => None,
        };
        let refresh_seconds = match refresh_seconds.map(i64::try_from) {
            None => TOKEN_SECONDS,
            Some(Ok(seconds)) if (TOKEN_SECONDS..=MAX_TOKEN_SECONDS).contains(&seconds) => seconds,
            Some(_) => {
                return wrong(
                    key("auth.refreshTokenSeconds"),
                    format!(
                        "is no number of seconds from {}, the shortest life that Kubernetes gives a token, to {MAX_TOKEN_SECONDS}",
                        TOKEN_SECONDS
                    ),
                );
            }
        };
        Ok(Connection {
            server_json: RawValue::from_string(plan::without_dollars(&server_json)).or_else(unwritable)?,
            refresh_token_seconds: refresh_seconds,
            server,
            budget: given(self.budget.as_deref())
                .map(|text| parse(key("budget"), text))
                .transpose()?
                .unwrap_or_default(),
            method,
            mount: parse_unless(spelling::of_mount, key("auth.mount"), mount.trim_matches('/'))?,
            audience: audience.map(str::to_owned),
            role: given(Some(&self.auth.role))
                .map(|text| parse_unless(spelling::of_role, key("auth.role"), text))
                .transpose()?,
            job,
            allow: self.allow,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inject::pod::quantity::Quantity;

    const DOCUMENTED: &str = r#"
agent:
  image: registry.example.com/podkey:1.0.0
  imagePullPolicy: IfNotPresent
  runAsUser: 65532
  resources: { requests: {cpu: 10m, memory: 16Mi}, limits: {cpu: 500m, memory: 64Mi} }
connections:
  default:
    address: https://vault.vault.svc:8200     # http:// only with allowInsecureHttp: true
    caFile: /etc/podkey/vault-ca.pem          # only these CAs are trusted; the image's bundle if left out
    tlsServerName: ""
    namespace: ""                             # Vault Enterprise or OpenBao namespace
    budget: 5m                                # all tries of one agent together
    auth: { method: kubernetes, mount: kubernetes, audience: vault, role: "" }
    job:                                      # for the jobs of runner pods: GitHub's own token, and which jobs get secrets
      { method: jwt, mount: github, role: ci, audience: "https://vault.example.com", deadline: 30s,
        policy: { repositories: ["octo-org/*"], events: [push], protectedRefs: true, forks: deny } }
    allow:                                    # left out: Vault's policies alone decide
    - namespaces: [arc-runners]
      serviceAccounts: ["arc-runner-set-gha-rs-*"]
      roles: [actions]
      authMounts: [my-cluster/arc-runners]
      secrets: ["arc-runners/data/**"]
"#;

    fn parse(text: &str) -> Result<Config, ConfigError> {
        Config::parse(text, |_| Ok("-----BEGIN CERTIFICATE-----\n".into()))
    }

    #[test]
    fn the_documented_config_parses() {
        let config = parse(DOCUMENTED).unwrap();
        assert_eq!(config.agent.run_as_user, Some(65532));
        assert_eq!(config.agent.resources, AgentResources::default());
        let connection = &config.connections["default"];
        assert_eq!(connection.audience.as_deref(), Some("vault"));
        assert_eq!(connection.role, None);
        assert_eq!(connection.server.namespace, None);
        assert!(connection.server.ca.is_some());
        assert_eq!(connection.allow.as_ref().unwrap().len(), 1);
    }

    #[test]
    fn the_shortest_config_has_the_documented_defaults() {
        let config = parse("agent: {image: i}\nconnections: {default: {address: 'https://v'}}").unwrap();
        let connection = &config.connections["default"];
        assert_eq!(connection.method, AuthMethod::Kubernetes);
        assert_eq!(connection.mount.as_str(), "kubernetes");
        assert_eq!(connection.audience.as_deref(), Some("vault"));
        assert_eq!(connection.budget, Budget::default());
        assert!(connection.allow.is_none());
        assert_eq!(config.agent.run_as_user, Some(65532));
        let config =
            parse("agent: {image: i, runAsUser: null}\nconnections: {d: {address: 'https://v', auth: {audience: ''}}}")
                .unwrap();
        assert_eq!(config.agent.run_as_user, None);
        assert_eq!(config.connections["d"].audience, None);
    }

    #[test]
    fn the_version_of_kubernetes_may_be_said_and_is_not_known_otherwise() {
        let version = |text: &str| {
            let text = format!("{text}agent: {{image: i}}\nconnections: {{d: {{address: 'https://v'}}}}");
            parse(&text)
                .unwrap()
                .kubernetes_version
                .map(|version| version.to_string())
        };
        assert_eq!(version(""), None);
        assert_eq!(version("kubernetesVersion: \"\"\n"), None);
        assert_eq!(version("kubernetesVersion: \"1.33\"\n").as_deref(), Some("1.33"));
        // Without quotes YAML has a number, which is not 1.3.
        assert_eq!(version("kubernetesVersion: 1.30\n").as_deref(), Some("1.30"));
    }

    #[test]
    fn a_connection_may_have_an_identity_and_a_policy_for_jobs() {
        let job = |text: &str| {
            let text = format!("agent: {{image: i}}\nconnections: {{d: {{address: 'https://v', {text}}}}}");
            parse(&text).unwrap().connections["d"].job.clone()
        };
        let nothing = job("job: {}");
        assert!(nothing.login.is_none() && nothing.policy.is_none());
        assert_eq!(nothing.deadline.duration().as_secs(), 30);
        let login = job("job: {role: ci}").login.unwrap();
        assert_eq!((login.mount.as_str(), login.audience), ("jwt", None));
        let all = job(
            "job: {method: jwt, mount: github/, role: ci, audience: 'https://v', deadline: 1m, policy: {events: [push]}}",
        );
        let login = all.login.unwrap();
        assert_eq!(login.mount.as_str(), "github");
        assert_eq!(login.audience.unwrap().as_str(), "https://v");
        assert_eq!(all.deadline.duration().as_secs(), 60);
        assert!(all.policy.unwrap().events.unwrap()[0].matches("push"));
        // No job at all, rather than any job.
        assert_eq!(
            job("job: {policy: {repositories: []}}").policy.unwrap().repositories,
            Some(Vec::new())
        );
    }

    #[test]
    fn the_token_of_pods_that_refresh_lives_a_day_where_a_renewal_may_need_it() {
        let seconds = |auth: &str| {
            let text = format!("agent: {{image: i}}\nconnections: {{d: {{address: 'https://v', auth: {{{auth}}}}}}}");
            parse(&text).unwrap().connections["d"].refresh_token_seconds
        };
        assert_eq!(seconds(""), 86_400);
        assert_eq!(seconds("method: jwt"), 600);
        assert_eq!(seconds("method: jwt, refreshTokenSeconds: 7200"), 7200);
        assert_eq!(seconds("refreshTokenSeconds: 600"), 600);
        assert_eq!(seconds("refreshTokenSeconds: 4294967296"), 4_294_967_296);
    }

    #[test]
    fn errors_name_the_place() {
        let connection =
            |text: &str| format!("agent: {{image: i}}\nconnections:\n  d: {{address: 'https://v', {text}}}");
        for (text, expected) in [
            (DOCUMENTED.replace("imagePullPolicy", "imagePullPolice"), "line 4"),
            (DOCUMENTED.replace("budget", "budgt"), "line 13"),
            (DOCUMENTED.replace("serviceAccounts", "serviceAccount"), "line 20"),
            (DOCUMENTED.replace("method: kubernetes", "method: ldap"), "line 14"),
            ("agent: {image: i}".into(), "connections"),
            ("agent: {image: i}\nconnections: {}".into(), "connections: is empty"),
            ("connections: {d: {address: 'https://v'}}".into(), "agent"),
            (
                "agent: {image: ''}\nconnections: {d: {address: 'https://v'}}".into(),
                "agent.image: is empty",
            ),
            (
                "agent: {image: i, runAsUser: 0}\nconnections: {d: {address: 'https://v'}}".into(),
                "agent.runAsUser: is no user ID",
            ),
            (
                "agent: {image: i}\nconnections: {d: {address: 'http://v'}}".into(),
                "connections.d.address: is http://",
            ),
            (
                "agent: {image: i}\nconnections: {d: {address: 'v:8200'}}".into(),
                "connections.d.address: \"v:8200\" does not begin with https://",
            ),
            (
                "agent: {image: i}\nconnections: {'d d': {address: 'https://v'}}".into(),
                "is no name",
            ),
            (
                connection("namespace: a//b"),
                "connections.d.namespace: \"a//b\" has an empty segment",
            ),
            (
                connection("tlsServerName: 'a b'"),
                "connections.d.tlsServerName: \"a b\" is neither",
            ),
            (
                connection("budget: 1h"),
                "connections.d.budget: \"1h\" is longer than 15m",
            ),
            (
                connection("auth: {mount: ../x}"),
                "connections.d.auth.mount: \"../x\" has a segment",
            ),
            (connection("auth: {role: \"a\\nb\"}"), "connections.d.auth.role"),
            (
                connection("allow: [{roles: ['']}]"),
                "is an empty pattern, which matches nothing",
            ),
            (connection("job: {mount: github}"), "connections.d.job.role: is missing"),
            (connection("job: {method: jwt}"), "connections.d.job.role: is missing"),
            (connection("job: {role: r, method: kubernetes}"), "line 3"),
            (
                connection("job: {role: r, mount: a//b}"),
                "connections.d.job.mount: \"a//b\" has an empty",
            ),
            (
                connection("job: {role: r, audience: \"a\\nb\"}"),
                "connections.d.job.audience",
            ),
            (
                connection("job: {deadline: 1h}"),
                "connections.d.job.deadline: \"1h\" is longer than 15m",
            ),
            (connection("job: {policy: }"), "policy is there without a field"),
            (connection("job: {policy: {repository: [a/b]}}"), "line 3"),
            (connection("job: {policy: {events: ['']}}"), "is an empty pattern"),
            (connection("job: {policy: {forks: maybe}}"), "line 3"),
            (connection("surprise: 1"), "line 3"),
            (
                connection("auth: {refreshTokenSeconds: 599}"),
                "connections.d.auth.refreshTokenSeconds: is no number of seconds from 600",
            ),
            (
                connection("auth: {refreshTokenSeconds: 4294967297}"),
                "connections.d.auth.refreshTokenSeconds: is no number of seconds from 600",
            ),
            (
                connection("auth: {refreshTokenSeconds: 18446744073709551615}"),
                "connections.d.auth.refreshTokenSeconds: is no number",
            ),
            (connection("auth: {refreshTokenSeconds: -1}"), "line 3"),
            (connection("auth: {refreshTokenSeconds: 1d}"), "line 3"),
            (
                format!("kubernetesVersion: new\n{}", connection("")),
                "kubernetesVersion: \"new\" is no version of Kubernetes such as \"1.33\"",
            ),
            (connection("allow: "), "allow is there without a rule"),
            (connection("allow: [{secrets: }]"), "line 3"),
            (
                "agent: {image: i, resources: {limits: {cpu: lots}}}\nconnections: {d: {address: 'https://v'}}".into(),
                "line 1",
            ),
        ] {
            let error = parse(&text).expect_err(&text).to_string();
            assert!(error.contains(expected), "{text}\n=> {error}");
        }
    }

    #[test]
    fn what_another_program_would_have_taken_is_told_with_what_to_write() {
        let connection =
            |text: &str| format!("agent: {{image: i}}\nconnections:\n  d: {{address: 'https://v', {text}}}");
        for (text, expected) in [
            (
                "agent: {image: i}\nconnections: {d: {address: 'https://v:8200/v1'}}".into(),
                "connections.d.address: \"https://v:8200/v1\" has something after host and port, where podkey puts /v1/ and the \
                 path itself: write \"https://v:8200\"",
            ),
            (
                "agent: {image: i}\nconnections: {d: {address: 'http://v/ui/vault'}}".into(),
                "write \"http://v\"",
            ),
            (
                "agent: {image: i}\nconnections: {d: {address: '${VAULT_ADDR}'}}".into(),
                "connections.d.address: \"${VAULT_ADDR}\" has \"${VAULT_ADDR}\", which nobody fills in here",
            ),
            (
                connection("auth: {mount: auth/kubernetes}"),
                "connections.d.auth.mount: \"auth/kubernetes\" is the path of a login: write the mount alone, without v1/, auth/ \
                 and /login: \"kubernetes\"",
            ),
            (
                connection("job: {role: r, mount: auth/github/login}"),
                "connections.d.job.mount: \"auth/github/login\" is the path of a login",
            ),
            (
                connection("auth: {role: auth/kubernetes/role/web}"),
                "connections.d.auth.role: \"auth/kubernetes/role/web\" has a /, which no role has: write the role alone, \"web\"",
            ),
            (
                connection("job: {role: '{{ x }}'}"),
                "connections.d.job.role: \"{{ x }}\" has {{ … }}",
            ),
            (
                connection("allow: [{secrets: ['a/**']}, {secrets: ['v1/secret/**']}]"),
                "connections.d.allow[1].secrets: \"v1/secret/**\" begins with v1/, which podkey puts in front of each path: write \
                 \"secret/**\"",
            ),
            (
                connection("allow: [{secrets: ['secret/data/']}]"),
                "connections.d.allow[0].secrets: \"secret/data/\" ends with a slash, and no path does: write \"secret/data/**\"",
            ),
            (
                connection("allow: [{authMounts: ['auth/*']}]"),
                "connections.d.allow[0].authMounts: \"auth/*\" is the path of a login",
            ),
            (
                connection("allow: [{serviceAccounts: ['system:serviceaccount:web:app']}]"),
                "connections.d.allow[0].serviceAccounts: \"system:serviceaccount:web:app\" is no name of a service account alone: \
                 write \"app\"",
            ),
        ] {
            let error = parse(&text).expect_err(&text).to_string();
            assert!(error.contains(expected), "{text}\n=> {error}");
        }
        for good in [
            "auth: {mount: authentik}",
            "allow: [{secrets: ['**', 'v1/data/*', 'kv/data/100%']}]",
            "namespace: team/",
        ] {
            assert!(parse(&connection(good)).is_ok(), "{good}");
        }
    }

    /// The words of a library are for programmers: none of them is in a message, and each names its key and what to write.
    #[test]
    fn a_value_of_another_kind_is_told_in_our_own_words() {
        let connection =
            |text: &str| format!("agent: {{image: i}}\nconnections:\n  d: {{address: 'https://v', {text}}}");
        for (text, expected) in [
            (
                connection("allow: [{secrets: }]"),
                "line 3, column 45: secrets has another kind of value than it takes: write a list, such as [a, b]",
            ),
            (
                connection("allow: {secrets: [a]}"),
                "allow has another kind of value than it takes: write a list",
            ),
            (
                connection("allow: [{secrets: a}]"),
                "secrets has another kind of value than it takes: write a list",
            ),
            (
                connection("auth: kubernetes"),
                "auth has another kind of value than it takes: write fields below it",
            ),
            (
                connection("auth: {role: [a]}"),
                "role has another kind of value than it takes: write one text, in quotes",
            ),
            (
                connection("allowInsecureHttp: maybe"),
                "allowInsecureHttp has another kind of value than it takes: write true or false",
            ),
            (
                connection("job: {policy: {repositories: a}}"),
                "repositories has another kind of value than it takes: write a list",
            ),
            (
                connection("job: {policy: {protectedRefs: 1}}"),
                "protectedRefs has another kind of value",
            ),
            (
                connection("auth: {method: ldap}"),
                "\"ldap\" is none of kubernetes, jwt",
            ),
            (
                connection("budgt: 1m"),
                "\"budgt\" is no key here (did you mean \"budget\"?): there are address, caFile",
            ),
            (
                connection("allow: [{roles: ['']}]"),
                "is an empty pattern, which matches nothing",
            ),
            (connection("allow: "), "allow is there without a rule"),
            (connection("job: {policy: }"), "policy is there without a field"),
            (
                "agent: {image: i}\nconnections: [a]".into(),
                "connections has another kind of value than it takes: write fields",
            ),
            (
                "agent: i\nconnections: {}".into(),
                "agent has another kind of value than it takes: write fields",
            ),
            (
                "agent: {image: i, runAsUser: root}\nconnections: {}".into(),
                "runAsUser has another kind of value than it takes: write a whole number",
            ),
            (
                "agent: {imagePullPolicy: always, image: i}\nconnections: {}".into(),
                "\"always\" is none of Always, IfNotPresent, Never (did you mean \"Always\"?)",
            ),
            (
                "agent: {image: i, resources: {limits: {cpu: lots}}}\nconnections: {}".into(),
                "cpu is not a quantity such as 500m or 64Mi",
            ),
            (
                "agent: {imagePullPolicy: Always}\nconnections: {}".into(),
                "the key image is missing",
            ),
            ("agent: {image: i}".into(), "the key connections is missing"),
            (
                "just text".into(),
                "here stands another kind of value than podkey takes: write fields below it",
            ),
            (
                "- a".into(),
                "here stands another kind of value than podkey takes: write fields below it",
            ),
            ("agent: {image: i".into(), "it is no YAML in line"),
            ("agent: {image: \"i}\n".into(), "it is no YAML in line"),
            ("agent: {image: *i}".into(), "a reference (*name) has no anchor"),
            (
                "agent: {image: i}\nconnections: {}\n---\na: b".into(),
                "a second document begins: write one",
            ),
        ] {
            let error = parse(&text).expect_err(&text).to_string();
            assert!(error.contains(expected), "{text}\n=> {error}");
            for library in [
                "expected",
                "invalid type",
                "mapping",
                "sequence",
                "scalar",
                "unknown field",
                "missing field",
                "variant",
                '`'.to_string().as_str(),
            ] {
                assert!(!error.contains(library), "{text}\n=> {error}");
            }
        }
    }

    #[test]
    fn resources_that_would_keep_a_pod_from_starting_are_refused() {
        let resources = |text: &str| {
            parse(&format!(
                "agent: {{image: i, resources: {text}}}\nconnections: {{d: {{address: 'https://v'}}}}"
            ))
            .map(|config| config.agent.resources)
        };
        for (text, expected) in [
            (
                "{requests: {memory: 128Mi}}",
                "agent.resources.requests.memory: 128Mi is more than the limit of 64Mi, which is the default: set \
                 agent.resources.limits.memory to 128Mi or more",
            ),
            (
                "{requests: {cpu: 2}, limits: {cpu: 1500m}}",
                "agent.resources.requests.cpu: 2 is more than the limit of 1500m: set agent.resources.limits.cpu to 2 or more",
            ),
            (
                "{limits: {memroy: 64Mi}}",
                "agent.resources.limits.memroy: is none of cpu, memory, ephemeral-storage (did you mean \"memory\"?)",
            ),
            ("{limits: {cpu: 0m}}", "agent.resources.limits.cpu: is 0: leave it out"),
            (
                "{limits: {memory: 64m}}",
                "agent.resources.limits.memory: \"64m\" is not even 1Ki",
            ),
            ("{limit: {cpu: 1}}", "line 1"),
        ] {
            let error = resources(text).expect_err(text).to_string();
            assert!(error.contains(expected), "{text}\n=> {error}");
        }
        for (text, requests, limits) in [
            ("{}", "10m 16Mi", "500m 64Mi"),
            ("{requests: null}", "10m 16Mi", "500m 64Mi"),
            ("{requests: {cpu: 0, memory: 64Mi}}", "0 64Mi", "500m 64Mi"),
            ("{requests: {memory: 65536Ki}}", "65536Ki", "500m 64Mi"),
            ("{limits: {memory: 8Mi}}", "10m", "8Mi"),
            ("{limits: {}}", "10m 16Mi", ""),
            ("{limits: {ephemeral-storage: 1Mi}}", "10m 16Mi", "1Mi"),
            ("{requests: {memory: 128Mi}, limits: {cpu: 1}}", "128Mi", "1"),
        ] {
            let parsed = resources(text).expect(text);
            let shown = |from: &BTreeMap<String, Quantity>| {
                let all: Vec<_> = from.values().map(Quantity::to_string).collect();
                all.join(" ")
            };
            assert_eq!(
                (shown(&parsed.requests), shown(&parsed.limits)),
                (requests.to_owned(), limits.to_owned()),
                "{text}"
            );
        }
    }

    #[test]
    fn a_ca_bundle_that_cannot_fit_into_a_pod_is_refused_at_the_start() {
        let error = Config::parse(DOCUMENTED, |_| Ok("x".repeat(MAX_PLAN_BYTES)))
            .expect_err("too large")
            .to_string();
        assert!(error.contains("connections.default.caFile: has 98304 bytes"), "{error}");
        let error = Config::parse(DOCUMENTED, |_| Err("is empty".into()))
            .expect_err("bad")
            .to_string();
        assert_eq!(error, "connections.default.caFile: /etc/podkey/vault-ca.pem is empty");
    }
}
