//! One connection: a server, how pods log in to it, and who may use it.

use std::path::Path;

use serde_json::value::RawValue;

use super::allow::AllowRule;
use super::connection_file::{CONNECTION, ConnectionFile};
use super::error::{ConfigError, unwritable, wrong};
use super::job::JobConfig;
use super::place::ConnectionPlace;
use super::section::given;
use crate::plan::{self, ApiPath, AuthMethod, Budget, Role};

/// The connection of a pod that names none.
pub(crate) const DEFAULT_CONNECTION: &str = "default";

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
    /// Whether the reads of pods and jobs carry their login, see [`Login::inline`](plan::Login).
    pub(crate) inline: bool,
    /// What the job hooks of runner pods do.
    pub(crate) job: JobConfig,
    /// None: Vault's policies alone decide.
    pub(crate) allow: Option<Vec<AllowRule>>,
}

impl ConnectionFile {
    pub(super) fn check(
        self,
        name: &str,
        read_ca: &impl Fn(&Path) -> Result<String, String>,
    ) -> Result<ConnectionConfig, ConfigError> {
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
            inline: auth.inline,
            job: self.job.check(place, auth.inline)?,
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
