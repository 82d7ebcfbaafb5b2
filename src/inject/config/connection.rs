//! One connection: a server, how pods log in to it, and who may use it.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::allow::AllowRule;
use super::auth::AuthSection;
use super::error::{ConfigError, unwritable, wrong};
use super::job::{JobConfig, JobSection};
use super::{given, section};
use crate::inject::vocabulary::DocumentedKey;
use crate::plan::{self, ApiPath, AuthMethod, Budget, Invalid, Role, spelling};

/// A server, with what goes into plans and what only the webhook needs.
#[derive(Debug, Clone)]
pub struct ConnectionConfig {
    /// As in plans.
    pub server: plan::Connection,
    /// `server` as the JSON text that plans contain.
    pub(crate) server_json: Box<RawValue>,
    /// How long the service-account token lives in a pod whose files are refreshed, in seconds.
    pub(crate) refresh_token_seconds: i64,
    /// The time for all tries of one agent together.
    pub(crate) budget: Budget,
    /// How pods log in.
    pub(crate) method: AuthMethod,
    /// Where the auth method is mounted, for pods that name no mount.
    pub(crate) mount: ApiPath,
    /// The audience of the service-account token. None: the audience of the API server.
    pub(crate) audience: Option<String>,
    /// The role of pods that name no role.
    pub(crate) role: Option<Role>,
    /// What the job hooks of runner pods do.
    pub(crate) job: JobConfig,
    /// None: Vault's policies alone decide.
    pub(crate) allow: Option<Vec<AllowRule>>,
}

section! {
    pub(super) struct ConnectionFile, CONNECTION: ConnectionKeys at "connections.NAME." {
        /// Scheme, host and port of the server.
        pub(super) address: String = "address": AllPods, default "required", example "'https://vault.vault.svc:8200'";
        /// A file with the only CA certificates to trust.
        #[serde(default)]
        pub(super) ca_file: Option<PathBuf> = "caFile": AllPods, default "the bundle of the image", example "/etc/podkey/ca.pem";
        /// The name to expect in the server's certificate.
        #[serde(default)]
        pub(super) tls_server_name: Option<String> = "tlsServerName": AllPods, default "the host of the address",
            example "vault.example.com";
        /// The namespace of Vault Enterprise or OpenBao.
        #[serde(default)]
        pub(super) namespace: Option<String> = "namespace": AllPods, default "none", example "team";
        /// The time for all tries of one agent together, at most 15m.
        #[serde(default)]
        pub(super) budget: Option<String> = "budget": AllPods, default "`5m`", example "2m";
        /// Whether the address may be `http://`, so that secrets cross the network in clear text.
        #[serde(default)]
        pub(super) allow_insecure_http: bool = "allowInsecureHttp": AllPods, default "`false`", example "true";
        /// How pods log in.
        #[serde(default)]
        auth: AuthSection = "auth": AllPods, default "the method `kubernetes`", example "{method: jwt}";
        /// What the job hooks of runner pods do.
        #[serde(default)]
        job: JobSection = "job": JobHooks, default "the job has no identity of its own", example "{role: ci}";
        /// The rules that say which pods may use the connection, and for what.
        #[serde(default, deserialize_with = "rules")]
        allow: Option<Vec<AllowRule>> = "allow": AllPods, default "Vault's policies alone decide", example "[{namespaces: [web]}]";
    }
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

/// The longest name of a connection, in bytes.
const MAX_NAME_BYTES: usize = 63;

impl ConnectionFile {
    pub(super) fn check(
        self,
        name: &str,
        read_ca: &impl Fn(&Path) -> Result<String, String>,
    ) -> Result<ConnectionConfig, ConfigError> {
        let is_name_character = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        if name.is_empty() || name.len() > MAX_NAME_BYTES || !name.bytes().all(is_name_character) {
            return wrong(
                format!("{}.{name:?}", super::CONFIG.connections.key),
                format!("is not a name of up to {MAX_NAME_BYTES} letters, digits, -, _ and ."),
            );
        }
        let place = ConnectionPlace { name };
        let server = self.server(place, read_ca)?;
        let auth = self.auth.check(place)?;
        self.check_rules(place)?;
        let server_json = serde_json::to_string(&server).or_else(unwritable)?;
        let budget = given(self.budget.as_deref());
        Ok(ConnectionConfig {
            server_json: RawValue::from_string(plan::without_dollars(&server_json)).or_else(unwritable)?,
            refresh_token_seconds: auth.refresh_token_seconds,
            server,
            budget: budget
                .map(|text| place.parse(&CONNECTION.budget, text))
                .transpose()?
                .unwrap_or_default(),
            method: auth.method,
            mount: auth.mount,
            audience: auth.audience,
            role: auth.role,
            job: self.job.check(place)?,
            allow: self.allow,
        })
    }

    fn check_rules(&self, place: ConnectionPlace<'_>) -> Result<(), ConfigError> {
        for (index, rule) in self.allow.iter().flatten().enumerate() {
            if let Some((key, why)) = rule.matches_nothing() {
                let key = place.key(key).replacen("[]", &format!("[{index}]"), 1);
                return wrong(key, why);
            }
        }
        Ok(())
    }
}

/// The connection that an error is about.
#[derive(Clone, Copy)]
pub(super) struct ConnectionPlace<'a> {
    pub(super) name: &'a str,
}

impl ConnectionPlace<'_> {
    /// `connections.default.auth.mount` of `connections.NAME.auth.mount`.
    fn key(self, key: &DocumentedKey) -> String {
        key.key.replacen("NAME", self.name, 1)
    }

    pub(super) fn wrong<T>(self, key: &DocumentedKey, message: impl Into<String>) -> Result<T, ConfigError> {
        wrong(self.key(key), message)
    }

    /// A text without expressions of other programs.
    pub(super) fn parse<T: FromStr<Err = Invalid>>(self, key: &DocumentedKey, text: &str) -> Result<T, ConfigError> {
        self.parse_spelled(key, spelling::of_plain_text, text)
    }

    /// A text that other programs write in other ways; `spelling` recognises those.
    pub(super) fn parse_spelled<T: FromStr<Err = Invalid>>(
        self,
        key: &DocumentedKey,
        spelling: fn(&str) -> Option<String>,
        text: &str,
    ) -> Result<T, ConfigError> {
        spelling::parse(text, spelling).or_else(|why| self.wrong(key, format!("{text:?} {why}")))
    }
}
