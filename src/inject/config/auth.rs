//! A connection's `auth`: how pods log in, and how long podkey's service-account token lives.

use super::error::ConfigError;
use super::place::ConnectionPlace;
use super::section::{given, section};
use crate::inject::kubernetes::TOKEN_SECONDS;
use crate::plan::{ApiPath, AuthMethod, Role, spelling};

section! {
    pub(super) struct AuthSection, AUTH: AuthKeys at "connections.NAME.auth." {
        /// The auth method that pods log in with: `kubernetes` or `jwt`.
        #[serde(default = "default_method")]
        method: AuthMethod = "method": AllPods, default "`kubernetes`", example "jwt";
        /// Where the auth method is mounted, for pods that name no mount.
        #[serde(default)]
        mount: Option<String> = "mount": AllPods, default "the name of the method", example "my-cluster/runners",
            value "the path of the mount";
        /// The audience of podkey's service-account token; empty for the audience of the API server.
        #[serde(default = "default_audience")]
        audience: String = "audience": AllPods, default "`vault`", example "vault",
            value "a text",
            details "The Vault role should name the same audience. A role without an audience accepts every token of the pod's service account, also the token that Kubernetes gives each container.";
        /// The Vault role of pods that name no role.
        #[serde(default)]
        role: String = "role": AllPods, default "none: each pod has to name a role", example "web",
            value "the name of a role";
        /// How many seconds podkey's service-account token lives in pods with refresh.
        #[serde(default)]
        refresh_token_seconds: Option<u64> = "refreshTokenSeconds": Refresh,
            default "`86400` with the method `kubernetes`, else `600`", example "7200",
            value "a number of seconds, `600` or more",
            details "OpenBao from 2.6.4 and 2.7.1 on asks the API server, at each renewal of a client token, whether the service-account token of its login is still good. The sidecar logs in again before it expires.";
        /// Whether each read carries its own login, which OpenBao 2.4 and newer take: no client token is made.
        #[serde(default)]
        inline: bool = "inline": AllPods, default "`false`", example "true",
            details "A pod of one secret then sends one request instead of three. Pods that need a client token log in as without `inline`: with `refresh`, with `data`, with leases, or with more than 64 paths; so do all pods where the server does not know inline authentication. The service-account token then travels in a request header: do not use `inline` behind a proxy that logs headers, or that adds a token of its own to requests without one.";
    }
}

impl Default for AuthSection {
    fn default() -> Self {
        Self {
            method: default_method(),
            mount: None,
            audience: default_audience(),
            role: String::new(),
            refresh_token_seconds: None,
            inline: false,
        }
    }
}

fn default_method() -> AuthMethod {
    AuthMethod::Kubernetes
}

fn default_audience() -> String {
    "vault".to_owned()
}

/// How long `podkey-token` lives in pods with refresh and the method kubernetes: OpenBao ≥ 2.6.4 and 2.7.1 ask the API server at
/// each renewal whether the token is still valid. The method jwt never asks, and takes a token after its pod is gone, too: there,
/// no token lives longer than it must.
const REFRESH_TOKEN_SECONDS: i64 = 24 * 3600;

/// The longest life, as in the API server's own check of `expirationSeconds`.
const MAX_TOKEN_SECONDS: i64 = 1 << 32;

/// The longest audience, in bytes.
const MAX_AUDIENCE_BYTES: usize = 1024;

/// A checked `auth`.
pub(super) struct AuthConfig {
    pub(super) method: AuthMethod,
    pub(super) mount: ApiPath,
    /// None: the audience of the API server.
    pub(super) audience: Option<String>,
    pub(super) role: Option<Role>,
    /// How long podkey's token lives in pods with refresh.
    pub(super) refresh_token_seconds: i64,
    pub(super) inline: bool,
}

impl AuthSection {
    pub(super) fn check(&self, place: ConnectionPlace<'_>) -> Result<AuthConfig, ConfigError> {
        let audience = self.audience.trim();
        if audience.len() > MAX_AUDIENCE_BYTES || audience.chars().any(char::is_control) {
            let why = format!("is not an audience of up to {MAX_AUDIENCE_BYTES} bytes without control characters");
            return place.wrong(&AUTH.audience, why);
        }
        let default_mount = match self.method {
            AuthMethod::Kubernetes => "kubernetes",
            AuthMethod::Jwt => "jwt",
        };
        let mount = given(self.mount.as_deref()).unwrap_or(default_mount).trim_matches('/');
        let role = given(Some(&self.role));
        Ok(AuthConfig {
            method: self.method,
            mount: place.parse_spelled(&AUTH.mount, spelling::of_mount, mount)?,
            audience: given(Some(audience)).map(str::to_owned),
            role: role
                .map(|role| place.parse_spelled(&AUTH.role, spelling::of_role, role))
                .transpose()?,
            refresh_token_seconds: self.refresh_token_seconds(place)?,
            inline: self.inline,
        })
    }

    fn refresh_token_seconds(&self, place: ConnectionPlace<'_>) -> Result<i64, ConfigError> {
        let Some(seconds) = self.refresh_token_seconds else {
            return Ok(match self.method {
                AuthMethod::Kubernetes => REFRESH_TOKEN_SECONDS,
                AuthMethod::Jwt => TOKEN_SECONDS,
            });
        };
        match i64::try_from(seconds) {
            Ok(seconds) if (TOKEN_SECONDS..=MAX_TOKEN_SECONDS).contains(&seconds) => Ok(seconds),
            _ => place.wrong(
                &AUTH.refresh_token_seconds,
                format!(
                    "is not a number of seconds from {TOKEN_SECONDS}, the shortest life that Kubernetes gives a token, to \
                     {MAX_TOKEN_SECONDS}"
                ),
            ),
        }
    }
}
