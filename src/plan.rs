//! The plan: the fully resolved work of one pod, made by the webhook and carried out by the agent.
//!
//! Every value in it is of a type that cannot hold nonsense: parsing is validation, for the author's annotations as for
//! the plan that the agent reads back (a pod may carry our image and a hand-made plan). It names secrets and holds none:
//! whoever may read the pod can read the plan.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Where podkey's own containers mount the root of the volume `podkey-secrets`.
pub const VOLUME_DIR: &str = "/podkey/volume";
/// Where the other containers mount the volume's directory [`FILES_DIR`].
pub const SECRETS_DIR: &str = "/podkey/secrets";
/// Where podkey's own containers mount the volume `podkey-token`.
pub const TOKEN_DIR: &str = "/podkey/token";
/// The projected service-account token, as podkey's own containers see it.
pub const TOKEN_FILE: &str = "/podkey/token/token";
/// The volume's directory of files with a relative destination.
pub const FILES_DIR: &str = "files";
/// The volume's directory of files with an absolute destination, each mounted on its own.
pub const SINGLE_DIR: &str = "single";
/// The environment variable that carries the plan as JSON.
pub const PLAN_ENV: &str = "PODKEY_PLAN";

/// The plan format this program writes and reads.
pub const PLAN_VERSION: u32 = 1;
/// The longest plan in bytes. The kernel refuses one environment string of 128 KiB (`MAX_ARG_STRLEN`, execve(2)).
pub const MAX_PLAN_BYTES: usize = 96 * 1024;
/// The most files in one pod.
pub const MAX_FILES: usize = 64;
/// All rendered files together, in bytes.
pub const MAX_RENDERED_BYTES: usize = 4 * 1024 * 1024;
/// The longest budget that an operator or `PODKEY_BUDGET` may set. ARC gives up on a runner that takes longer.
pub const MAX_BUDGET: Duration = Duration::from_secs(15 * 60);
/// The budget where nobody set one.
pub const DEFAULT_BUDGET: Duration = Duration::from_secs(5 * 60);

/// What was wrong with a value, as the end of a sentence that the caller begins with the value's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(Cow<'static, str>);

fn invalid<T>(message: impl Into<Cow<'static, str>>) -> Result<T, Invalid> {
    Err(Invalid(message.into()))
}

/// The fully resolved work of one pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Plan {
    /// [`PLAN_VERSION`]. The agent refuses another one: webhook and agent come from one release.
    pub version: u32,
    /// The server to speak to.
    pub connection: Connection,
    /// How to log in to it.
    pub login: Login,
    /// How long all tries of one agent may take together.
    pub budget: Budget,
    /// A secret path that does not exist is skipped with a warning rather than failing the pod.
    #[serde(default, skip_serializing_if = "is_false")]
    pub ignore_not_found: bool,
    /// What to deliver, in the author's order.
    pub files: Vec<PlannedFile>,
}

fn is_false(value: &bool) -> bool {
    !*value
}

/// Why the text in `PODKEY_PLAN` is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// Not JSON, or a value in it is not valid.
    #[error("the plan does not parse: {0}")]
    Json(#[from] serde_json::Error),
    /// Another podkey wrote it.
    #[error(
        "the plan has version {0}, this agent reads version {PLAN_VERSION}: use the image of the webhook's release"
    )]
    Version(u32),
    /// Nothing to do, or more than an agent takes.
    #[error("the plan has {0} files, allowed are 1 to {MAX_FILES}")]
    Files(usize),
    /// Two files with one destination, or one inside the other.
    #[error("the files {0} and {1} cannot both be delivered")]
    Conflict(Destination, Destination),
    /// The connection is plain http, and its operator did not allow that.
    #[error("the connection's address is http:// without allowInsecureHttp")]
    InsecureHttp,
}

impl Plan {
    /// Parses and checks the text of [`PLAN_ENV`].
    pub fn parse(json: &str) -> Result<Self, PlanError> {
        // The version first: a plan of another version has other fields.
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let Versioned { version } = serde_json::from_str(json)?;
        if version != PLAN_VERSION {
            return Err(PlanError::Version(version));
        }
        let plan: Self = serde_json::from_str(json)?;
        if plan.files.is_empty() || plan.files.len() > MAX_FILES {
            return Err(PlanError::Files(plan.files.len()));
        }
        if !plan.connection.address.is_tls() && !plan.connection.allow_insecure_http {
            return Err(PlanError::InsecureHttp);
        }
        for (index, file) in plan.files.iter().enumerate() {
            for other in &plan.files[..index] {
                if file.file.conflicts_with(&other.file) {
                    return Err(PlanError::Conflict(other.file.clone(), file.file.clone()));
                }
            }
        }
        Ok(plan)
    }

    /// The plan as it goes into [`PLAN_ENV`]: JSON with each `$` written as `\u0024`, because Kubernetes expands
    /// `$(NAME)` and `$$` in the values of environment variables. (A `$` can only stand inside a JSON string.)
    pub fn to_env_value(&self) -> Result<String, serde_json::Error> {
        Ok(serde_json::to_string(self)?.replace('$', "\\u0024"))
    }

    /// Each file with its place below the root of the volume `podkey-secrets`, in the plan's order.
    pub fn placed_files(&self) -> impl Iterator<Item = (&PlannedFile, String)> {
        self.files
            .iter()
            .enumerate()
            .map(|(index, file)| (file, file.file.place(index)))
    }
}

/// A Vault or OpenBao server, as the operator defined it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Connection {
    /// The name that the pod's author chose it by.
    pub name: String,
    /// Scheme, host and port.
    pub address: Address,
    /// PEM certificates of the only authorities to trust. Without them: the image's bundle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// The name to expect in the server's certificate, where it is not the address's host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_server_name: Option<ServerName>,
    /// Vault Enterprise or OpenBao namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<ApiPath>,
    /// The operator accepts that tokens and secrets cross the network in clear text.
    #[serde(default, skip_serializing_if = "is_false")]
    pub allow_insecure_http: bool,
}

/// How to log in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Login {
    /// Which auth method is mounted there.
    pub method: AuthMethod,
    /// The mount path of the auth method, without `auth/`.
    pub mount: ApiPath,
    /// The Vault role.
    pub role: Role,
}

/// An auth method that takes a service-account token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthMethod {
    /// <https://developer.hashicorp.com/vault/docs/auth/kubernetes>: the server asks the API server (TokenReview).
    Kubernetes,
    /// <https://developer.hashicorp.com/vault/docs/auth/jwt>: the server checks the signature itself.
    Jwt,
}

/// One file to deliver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlannedFile {
    /// The API path to read.
    pub secret: ApiPath,
    /// The version to read (KV v2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<std::num::NonZeroU64>,
    /// The field; none means the whole secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// What the field's text is decoded from.
    #[serde(default, skip_serializing_if = "Decode::is_none")]
    pub decode: Decode,
    /// How it is written.
    pub format: Format,
    /// Where the containers see it.
    pub file: Destination,
    /// Its permissions.
    pub mode: Mode,
}

/// What a field's text is decoded from before it is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decode {
    /// Written as it is.
    #[default]
    None,
    /// RFC 4648 section 4; line breaks and missing padding are accepted, as `base64` writes them.
    Base64,
    /// RFC 4648 section 5, likewise.
    Base64url,
    /// RFC 4648 section 8, either case; line breaks are accepted.
    Hex,
}

impl Decode {
    /// Every value as the author writes it.
    pub const NAMES: [&str; 4] = ["none", "base64", "base64url", "hex"];

    fn is_none(&self) -> bool {
        *self == Self::None
    }
}

impl FromStr for Decode {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text {
            "none" => Ok(Self::None),
            "base64" => Ok(Self::Base64),
            "base64url" => Ok(Self::Base64url),
            "hex" => Ok(Self::Hex),
            _ => invalid("is none of none, base64, base64url, hex"),
        }
    }
}

/// How a field or a whole secret is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// The field's bytes and nothing else.
    Raw,
    /// JSON, numbers as the server wrote them.
    Json,
    /// YAML 1.2, one line a field.
    Yaml,
    /// `NAME='value'` lines that `sh` reads.
    Dotenv,
    /// Java properties.
    Properties,
}

impl Format {
    /// Every value as the author writes it.
    pub const NAMES: [&str; 5] = ["raw", "json", "yaml", "dotenv", "properties"];
}

impl FromStr for Format {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text {
            "raw" => Ok(Self::Raw),
            "json" => Ok(Self::Json),
            "yaml" => Ok(Self::Yaml),
            "dotenv" => Ok(Self::Dotenv),
            "properties" => Ok(Self::Properties),
            _ => invalid("is none of raw, json, yaml, dotenv, properties"),
        }
    }
}

/// Text types that are checked where they are made, and written as the text they came from.
macro_rules! checked_text {
    ($name:ident) => {
        impl TryFrom<String> for $name {
            type Error = Invalid;

            fn try_from(text: String) -> Result<Self, Invalid> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.to_string()
            }
        }
    };
}

/// A path of the HTTP API below `/v1/`, such as `arc-runners/data/kubeconfig/rancher-cluster`; also an auth mount and a
/// namespace. Segments of printable characters: Vault decodes a path once, and URL libraries normalise `..`, so `.`, `..`,
/// empty segments, `%`, `?`, `#` and backslash have no place in one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ApiPath(String);

checked_text!(ApiPath);

impl ApiPath {
    /// The path as written, without a slash at either end.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its segments, none of them empty.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }
}

impl FromStr for ApiPath {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if text.is_empty() {
            return invalid("is empty");
        }
        if text.len() > 1024 {
            return invalid("is longer than 1024 bytes");
        }
        for segment in text.split('/') {
            match segment {
                "" => return invalid("has an empty segment: no slash at the start, at the end, or twice"),
                "." | ".." => return invalid("has a segment . or .."),
                _ => {}
            }
        }
        match text
            .chars()
            .find(|c| matches!(c, '%' | '?' | '#' | '\\') || !is_printable(*c))
        {
            Some(c) => invalid(format!("has the character {c:?}, which no path may have")),
            None => Ok(Self(text.to_owned())),
        }
    }
}

impl fmt::Display for ApiPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Printable here: no control, no line or paragraph separator, none of the invisible characters that make two texts look
/// the same or change the direction of what follows them.
fn is_printable(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

/// A Vault role: printable text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Role(String);

checked_text!(Role);

impl Role {
    /// The role as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Role {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if text.is_empty() {
            return invalid("is empty");
        }
        if text.len() > 256 {
            return invalid("is longer than 256 bytes");
        }
        match text.chars().find(|c| !is_printable(*c)) {
            Some(c) => invalid(format!("has the character {c:?}, which no role may have")),
            None => Ok(Self(text.to_owned())),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A server's address: `https://host[:port]`, nothing after it. Plain `http` parses too; who uses it must ask
/// [`Address::is_tls`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Address {
    tls: bool,
    host: String,
    port: u16,
}

checked_text!(Address);

impl Address {
    /// Whether the scheme is `https`.
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// The host name or IP address, an IPv6 address without its brackets.
    pub fn host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    /// The port; without one in the text, the scheme's.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl FromStr for Address {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let (tls, rest) = match text.split_once("://") {
            Some(("https", rest)) => (true, rest),
            Some(("http", rest)) => (false, rest),
            _ => return invalid("does not begin with https://"),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains('@') {
            return invalid("has a user or a password in it");
        }
        if rest.contains(['/', '?', '#', '\\']) {
            return invalid("has something after host and port");
        }
        let Ok(authority) = rest.parse::<http::uri::Authority>() else {
            return invalid("has no valid host");
        };
        let host = authority.host();
        if host.trim_matches(['[', ']']).is_empty() {
            return invalid("has no host");
        }
        let port = match rest[host.len()..].strip_prefix(':') {
            None if tls => 443,
            None => 80,
            Some(digits) => match digits.parse::<u16>() {
                Ok(port) if port != 0 => port,
                _ => return invalid("has a port that is no number from 1 to 65535"),
            },
        };
        Ok(Self {
            tls,
            host: host.to_owned(),
            port,
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}://{}:{}",
            if self.tls { "https" } else { "http" },
            self.host,
            self.port
        )
    }
}

/// A name to expect in a certificate: a DNS name or an IP address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServerName(String);

checked_text!(ServerName);

impl ServerName {
    /// The name as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ServerName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match rustls_pki_types::ServerName::try_from(text) {
            Ok(_) => Ok(Self(text.to_owned())),
            Err(_) => invalid("is neither a DNS name nor an IP address"),
        }
    }
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How long all tries of one agent may take together: more than nothing, at most [`MAX_BUDGET`]. Written as `5m`, `1m 30s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Budget(Duration);

checked_text!(Budget);

impl Budget {
    /// As a duration.
    pub fn duration(self) -> Duration {
        self.0
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self(DEFAULT_BUDGET)
    }
}

impl FromStr for Budget {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match humantime::parse_duration(text) {
            Err(_) => invalid("is no duration such as 30s or 5m"),
            Ok(Duration::ZERO) => invalid("is no time at all"),
            Ok(duration) if duration > MAX_BUDGET => invalid("is longer than 15m"),
            Ok(duration) => Ok(Self(duration)),
        }
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", humantime::format_duration(self.0))
    }
}

/// File permissions: `0400` to `0775`, never writable for all, no setuid, setgid or sticky bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mode(u32);

checked_text!(Mode);

impl Mode {
    /// For the owner alone.
    pub const OWNER: Self = Self(0o400);
    /// For owner and group.
    pub const GROUP: Self = Self(0o440);
    /// For every user of the pod.
    pub const ALL: Self = Self(0o444);

    /// The permission bits.
    pub fn bits(self) -> u32 {
        self.0
    }
}

impl FromStr for Mode {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let digits = text.strip_prefix("0o").unwrap_or(text);
        if !(3..=4).contains(&digits.len()) || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return invalid("is no octal mode such as \"0400\"");
        }
        match u32::from_str_radix(digits, 8) {
            Err(_) => invalid("is no octal mode such as \"0400\""),
            Ok(bits) if bits & 0o7000 != 0 => invalid("has a setuid, setgid or sticky bit"),
            Ok(bits) if bits & 0o002 != 0 => invalid("lets every user write"),
            Ok(bits) => Ok(Self(bits)),
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

/// Where the containers see a file: that very path, or below [`SECRETS_DIR`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Destination {
    /// Such as `/tmp/kubeconfig`: delivered as a single-file mount.
    Absolute(String),
    /// Such as `web.env`: seen at `/podkey/secrets/web.env`.
    Relative(String),
}

checked_text!(Destination);

impl Destination {
    /// The absolute path at which the containers see it.
    pub fn path(&self) -> Cow<'_, str> {
        match self {
            Self::Absolute(path) => Cow::Borrowed(path),
            Self::Relative(path) => Cow::Owned(format!("{SECRETS_DIR}/{path}")),
        }
    }

    /// Its place below the root of the volume `podkey-secrets`, as the `index`-th file of its plan.
    pub(crate) fn place(&self, index: usize) -> String {
        match self {
            Self::Absolute(_) => format!("{SINGLE_DIR}/{index}"),
            Self::Relative(path) => format!("{FILES_DIR}/{path}"),
        }
    }

    /// Whether the two are one place, or one lies inside the other.
    pub fn conflicts_with(&self, other: &Self) -> bool {
        let (a, b) = (self.path(), other.path());
        contains(&a, &b) || contains(&b, &a)
    }
}

/// Whether the absolute path `inner` is `outer` or lies below it. Both without `.`, `..`, double or final slashes.
pub fn contains(outer: &str, inner: &str) -> bool {
    match inner.strip_prefix(outer) {
        Some(rest) => rest.is_empty() || rest.starts_with('/') || outer.ends_with('/'),
        None => false,
    }
}

impl FromStr for Destination {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if text.is_empty() {
            return invalid("is empty");
        }
        if text.len() > 4000 {
            return invalid("is longer than 4000 bytes");
        }
        if let Some(c) = text.chars().find(|c| *c == ':' || !is_printable(*c)) {
            return invalid(format!("has the character {c:?}, which no mount may have"));
        }
        let (absolute, relative) = match text.strip_prefix('/') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        if absolute && relative.is_empty() {
            return invalid("is the root directory");
        }
        for segment in relative.split('/') {
            match segment {
                "" => return invalid("has an empty segment: no slash at the end, or twice"),
                "." | ".." => return invalid("has a segment . or .."),
                _ if segment.len() > 255 => return invalid("has a segment of more than 255 bytes"),
                _ => {}
            }
        }
        if !absolute {
            return Ok(Self::Relative(text.to_owned()));
        }
        for place in FORBIDDEN_DESTINATIONS {
            if contains(place, text) {
                return invalid(format!("is in {place}, where no secret may be mounted"));
            }
            if contains(text, place) {
                return invalid(format!("is a directory that holds {place}, and cannot be a file"));
            }
        }
        Ok(Self::Absolute(text.to_owned()))
    }
}

/// Places that belong to the kernel, to podkey, or to the container's own security.
const FORBIDDEN_DESTINATIONS: [&str; 13] = [
    "/proc",
    "/sys",
    "/dev",
    "/podkey",
    "/var/run/secrets/kubernetes.io",
    "/run/secrets/kubernetes.io",
    "/etc/passwd",
    "/etc/shadow",
    "/etc/group",
    "/etc/sudoers",
    "/etc/sudoers.d",
    "/etc/ld.so.preload",
    "/etc/ld.so.cache",
];

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absolute(path) | Self::Relative(path) => f.write_str(path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error<T: FromStr<Err = Invalid> + fmt::Debug>(text: &str) -> String {
        text.parse::<T>().expect_err(text).to_string()
    }

    #[test]
    fn api_paths_are_segments_of_printable_characters() {
        for good in [
            "a",
            "arc-runners/data/kubeconfig/rancher-cluster",
            "my-cluster/arc-runners",
            "kv/data/ä b",
            "a/...",
            "a/$(X)",
        ] {
            assert_eq!(good.parse::<ApiPath>().unwrap().as_str(), good);
        }
        for (bad, why) in [
            ("", "is empty"),
            ("/a", "empty segment"),
            ("a/", "empty segment"),
            ("a//b", "empty segment"),
            ("secret/data/../../sys/mounts", ". or .."),
            ("a/./b", ". or .."),
            ("a/%2e%2e/b", "'%'"),
            ("a?list=true", "'?'"),
            ("a#b", "'#'"),
            ("a\\b", "'\\\\'"),
            ("a\nb", "'\\n'"),
            ("a\u{202e}b", "202e"),
        ] {
            assert!(
                error::<ApiPath>(bad).contains(why),
                "{bad:?}: {}",
                error::<ApiPath>(bad)
            );
        }
    }

    #[test]
    fn addresses_are_scheme_host_and_port() {
        for (text, tls, host, port) in [
            ("https://vault.vault.svc:8200", true, "vault.vault.svc", 8200),
            ("https://vault.example.com", true, "vault.example.com", 443),
            ("https://vault.example.com/", true, "vault.example.com", 443),
            ("http://127.0.0.1:8200", false, "127.0.0.1", 8200),
            ("https://[::1]:8200", true, "::1", 8200),
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!(
                (address.is_tls(), address.host(), address.port()),
                (tls, host, port),
                "{text}"
            );
            assert_eq!(address.to_string().parse::<Address>().unwrap(), address, "{text}");
        }
        for bad in [
            "",
            "vault:8200",
            "ftp://vault",
            "https://",
            "https://:8200",
            "https://u:p@vault",
            "https://vault/v1",
            "https://vault?x=1",
            "https://vault#x",
            "https://vault:0",
            "https://vault:99999",
            "https://vault:",
            "https://va ult",
            "https://vault:82x0",
            "HTTPS://vault",
            "https://[::1",
            "https://vault\\@evil",
        ] {
            assert!(bad.parse::<Address>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn modes_give_nobody_more_than_they_should() {
        for (text, bits) in [
            ("0400", 0o400),
            ("440", 0o440),
            ("0o444", 0o444),
            ("0775", 0o775),
            ("0000", 0),
        ] {
            assert_eq!(text.parse::<Mode>().unwrap().bits(), bits, "{text}");
        }
        for bad in [
            "", "4", "r--", "0888", "04000", "4400", "2440", "1444", "0002", "0666", "0777", "+400", "-400",
        ] {
            assert!(bad.parse::<Mode>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn destinations_stay_where_they_belong() {
        for good in [
            "/tmp/kubeconfig",
            "web.env",
            "a/b/c",
            "..data",
            "/var/run/x",
            "/home/runner/.kube/config",
            "$HOME",
        ] {
            assert_eq!(good.parse::<Destination>().unwrap().to_string(), good);
        }
        for bad in [
            "",
            "/",
            "//",
            "/tmp/",
            "/tmp//x",
            "a//b",
            "../x",
            "a/../b",
            "./a",
            "/proc",
            "/proc/self",
            "/sys/x",
            "/dev/null",
            "/podkey",
            "/podkey/secrets/x",
            "/etc/passwd",
            "/etc/ld.so.preload",
            "/var/run/secrets/kubernetes.io/serviceaccount/token",
            "a:b",
            "a\0b",
            "a\nb",
            "/tmp/\u{7f}",
        ] {
            assert!(bad.parse::<Destination>().is_err(), "{bad:?}");
        }
        assert!("x".repeat(256).parse::<Destination>().is_err());
        assert!(
            "/procfs".parse::<Destination>().is_ok(),
            "a name that only begins like a forbidden one"
        );
    }

    #[test]
    fn destinations_conflict_where_one_is_inside_the_other() {
        let conflict = |a: &str, b: &str| a.parse::<Destination>().unwrap().conflicts_with(&b.parse().unwrap());
        assert!(conflict("a", "a"));
        assert!(conflict("a", "a/b"));
        assert!(conflict("/tmp/a/b", "/tmp/a"));
        assert!(!conflict("a", "ab"));
        assert!(!conflict("/tmp/a", "a"));
    }

    #[test]
    fn budgets_end() {
        assert_eq!("5m".parse::<Budget>().unwrap(), Budget::default());
        assert_eq!(Budget::default().to_string(), "5m");
        for bad in ["", "5", "0s", "16m", "-1s", "never"] {
            assert!(bad.parse::<Budget>().is_err(), "{bad:?}");
        }
    }

    fn plan() -> Plan {
        Plan {
            version: PLAN_VERSION,
            connection: Connection {
                name: "default".into(),
                address: "https://vault:8200".parse().unwrap(),
                ca: None,
                tls_server_name: None,
                namespace: None,
                allow_insecure_http: false,
            },
            login: Login {
                method: AuthMethod::Kubernetes,
                mount: "kubernetes".parse().unwrap(),
                role: "$$(HOME)$".parse().unwrap(),
            },
            budget: Budget::default(),
            ignore_not_found: false,
            files: vec![PlannedFile {
                secret: "kv/data/$(HOME)".parse().unwrap(),
                version: None,
                key: Some("config".into()),
                decode: Decode::Base64,
                format: Format::Raw,
                file: "/tmp/kubeconfig".parse().unwrap(),
                mode: Mode::OWNER,
            }],
        }
    }

    #[test]
    fn a_plan_survives_the_environment_and_has_no_dollar_for_kubernetes_to_expand() {
        let text = plan().to_env_value().unwrap();
        assert!(!text.contains('$'), "{text}");
        assert_eq!(Plan::parse(&text).unwrap(), plan());
    }

    #[test]
    fn the_agent_refuses_plans_it_cannot_carry_out_whole() {
        let text = |change: fn(&mut Plan)| {
            let mut plan = plan();
            change(&mut plan);
            Plan::parse(&plan.to_env_value().unwrap())
                .expect_err("refused")
                .to_string()
        };
        assert!(text(|p| p.version = 2).contains("version 2"));
        assert!(text(|p| p.files.clear()).contains("0 files"));
        assert!(text(|p| p.files = vec![p.files[0].clone(); 65]).contains("65 files"));
        assert!(text(|p| p.files.push(p.files[0].clone())).contains("/tmp/kubeconfig and /tmp/kubeconfig"));
        assert!(text(|p| p.connection.address = "http://vault".parse().unwrap()).contains("allowInsecureHttp"));
        assert!(Plan::parse(r#"{"version":1,"surprise":true}"#).is_err());
        assert!(Plan::parse("").is_err());
    }
}
