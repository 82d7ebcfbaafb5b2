//! What the annotations of vault-k8s are parsed into, one key after the other, and the parsers of single values.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::inject::problem::quoted;
use crate::inject::request::requested::Requested;
use crate::inject::request::vault_k8s::go;
use crate::inject::request::vault_k8s::written::Written;
use crate::plan::{Address, ApiPath, AuthMethod, Interval, Invalid, Role, spelling};

/// The keys that are parsed so far. A value that does not parse is left out and reported.
pub(super) struct VaultK8sDraft<'a> {
    /// The keys of each secret, by NAME.
    pub(super) names: BTreeMap<&'a str, NamedKeys<'a>>,
    pub(super) containers: Option<Vec<String>>,
    pub(super) pre_populate: bool,
    pub(super) pre_populate_only: bool,
    pub(super) default_template: Option<DefaultTemplate>,
    pub(super) directory: Option<Written<'a>>,
    pub(super) keep_case: bool,
    pub(super) run_as_user: Option<i64>,
    pub(super) run_as_same_user: bool,
    pub(super) shares_processes: Option<bool>,
    pub(super) token_volume: bool,
    /// The key that asks for the client token as a file.
    pub(super) token: Option<Written<'a>>,
    pub(super) service: Option<Address>,
    pub(super) namespace: Option<ApiPath>,
    pub(super) role: Requested<Role>,
    pub(super) config_role: Requested<Role>,
    pub(super) method: Option<AuthMethod>,
    pub(super) auth_mount: Option<ApiPath>,
    pub(super) interval: Option<(Interval, bool)>,
    /// Keys that have no effect here.
    pub(super) without_effect: Vec<&'a str>,
    /// Keys that vault-k8s does not know.
    pub(super) unknown: Vec<&'a str>,
}

/// The keys of one secret.
#[derive(Default)]
pub(super) struct NamedKeys<'a> {
    pub(super) secret: Option<Written<'a>>,
    pub(super) template: Option<Written<'a>>,
    pub(super) template_file: Option<Written<'a>>,
    pub(super) file: Option<Written<'a>>,
    pub(super) perms: Option<Written<'a>>,
    pub(super) command: Option<Written<'a>>,
    pub(super) left: Option<Written<'a>>,
    pub(super) right: Option<Written<'a>>,
    pub(super) missing: Option<Written<'a>>,
    pub(super) directory: Option<Written<'a>>,
    pub(super) keep_case: Option<bool>,
}

/// The template of a secret without one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum DefaultTemplate {
    /// A line for each field.
    #[default]
    Map,
    /// The fields as JSON.
    Json,
}

impl Default for VaultK8sDraft<'_> {
    fn default() -> Self {
        Self {
            names: BTreeMap::new(),
            containers: None,
            pre_populate: true,
            pre_populate_only: false,
            default_template: None,
            directory: None,
            keep_case: false,
            run_as_user: None,
            run_as_same_user: false,
            shares_processes: None,
            token_volume: false,
            token: None,
            service: None,
            namespace: None,
            role: Requested::Absent,
            config_role: Requested::Absent,
            method: None,
            auth_mount: None,
            interval: None,
            without_effect: Vec::new(),
            unknown: Vec::new(),
        }
    }
}

/// From a value that was parsed; the parser has reported what is wrong with it.
pub(super) fn given<T>(parsed: Option<T>) -> Requested<T> {
    parsed.into()
}

/// The end of a sentence that begins with the key.
pub(super) fn said(text: &str, why: &Invalid) -> String {
    format!("{} {why}", quoted(text))
}

pub(super) fn default_template(text: &str) -> Result<DefaultTemplate, String> {
    match text.to_ascii_lowercase().as_str() {
        "map" => Ok(DefaultTemplate::Map),
        "json" => Ok(DefaultTemplate::Json),
        _ => Err(format!("{} is neither \"map\" nor \"json\"", quoted(text))),
    }
}

/// A user or a group. vault-k8s takes an empty value as 0.
pub(super) fn user(text: &str) -> Result<i64, String> {
    let id = match text {
        "" => 0,
        text => go::integer(text)?,
    };
    match id {
        0 => Err("is 0, but podkey's containers do not run as root: remove it".to_owned()),
        1..=2_147_483_647 => Ok(id),
        _ => Err(format!("{} is not the number of a user or group", quoted(text))),
    }
}

pub(super) fn namespace(text: &str) -> Result<ApiPath, String> {
    let path = text.trim().trim_matches('/');
    path.parse().map_err(|why| said(text, &why))
}

pub(super) fn role(text: &str) -> Result<Role, String> {
    spelling::parse(text.trim(), spelling::of_role).map_err(|why| format!("{} {why}", quoted(text)))
}

pub(super) fn auth_mount(text: &str) -> Result<ApiPath, String> {
    let path = text.trim().trim_matches('/');
    let mount = path.strip_prefix("auth/").unwrap_or(path);
    spelling::parse(mount, spelling::of_mount).map_err(|why| format!("{} {why}", quoted(text)))
}

pub(super) fn method(text: &str) -> Result<AuthMethod, String> {
    match text {
        "kubernetes" => Ok(AuthMethod::Kubernetes),
        "jwt" => Ok(AuthMethod::Jwt),
        _ => Err(format!(
            "{} is a way to log in that podkey does not have: write \"kubernetes\" or \"jwt\"",
            quoted(text)
        )),
    }
}

/// The interval nearest to the given one, and whether that is another one. The agent takes a number without a unit as seconds.
pub(super) fn interval(text: &str) -> Result<(Interval, bool), String> {
    const SHORTEST: Duration = Duration::from_secs(5);
    const LONGEST: Duration = Duration::from_secs(24 * 3600);
    let asked = match text.parse::<u32>() {
        Ok(seconds) => Duration::from_secs(seconds.into()),
        Err(_) => go::duration(text)?,
    };
    let nearest = asked.clamp(SHORTEST, LONGEST);
    let interval = humantime::format_duration(nearest).to_string().parse();
    Ok((interval.map_err(|why| said(text, &why))?, nearest != asked))
}
