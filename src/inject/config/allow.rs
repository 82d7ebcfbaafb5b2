//! A connection's `allow`: the rules that say which pods may use the connection, and for what.

use super::section::section;
use crate::inject::words::DocumentedKey;
use crate::plan::{Pattern, given_list, spelling};
use crate::text::quoted;

section! {
    /// One rule. A pod must match all fields of the rule.
    #[derive(Debug, Clone)]
    pub(crate) struct AllowRule, ALLOW: AllowKeys at "connections.NAME.allow[]." {
        /// The namespaces of pods.
        #[serde(default, deserialize_with = "given_list")]
        pub(crate) namespaces: Option<Vec<Pattern>> = "namespaces": AllPods, default "all", example "[web, 'team-*']",
            value "a list of patterns";
        /// The service accounts of pods.
        #[serde(default, deserialize_with = "given_list")]
        pub(crate) service_accounts: Option<Vec<Pattern>> = "serviceAccounts": AllPods, default "all", example "[web]",
            value "a list of patterns";
        /// The Vault roles.
        #[serde(default, deserialize_with = "given_list")]
        pub(crate) roles: Option<Vec<Pattern>> = "roles": AllPods, default "all", example "[web]",
            value "a list of patterns";
        /// The mounts of auth methods.
        #[serde(default, deserialize_with = "given_list")]
        pub(crate) auth_mounts: Option<Vec<Pattern>> = "authMounts": AllPods, default "all", example "[kubernetes]",
            value "a list of patterns";
        /// The API paths of secrets, those that `data` writes included.
        #[serde(default, deserialize_with = "given_list")]
        pub(crate) secrets: Option<Vec<Pattern>> = "secrets": AllPods, default "all", example "['kv/data/web/**']",
            value "a list of patterns",
            details "`*` matches within a segment of the path, `**` across segments.";
        /// The API paths that `data` may write. A rule for reading must not be a rule for writing.
        #[serde(default, deserialize_with = "given_list")]
        pub(crate) writes: Option<Vec<Pattern>> = "writes": AllPods, default "none", example "['pki/issue/web']",
            value "a list of patterns",
            details "A path that is written must match `secrets`, too.";
    }
}

/// A condition of a rule, in the order of the rule's fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Condition {
    Namespaces,
    ServiceAccounts,
    Roles,
    AuthMounts,
    Secrets,
    Writes,
}

impl Condition {
    pub(crate) const ALL: [Self; 6] = [
        Self::Namespaces,
        Self::ServiceAccounts,
        Self::Roles,
        Self::AuthMounts,
        Self::Secrets,
        Self::Writes,
    ];

    fn key(self) -> &'static DocumentedKey {
        match self {
            Self::Namespaces => &ALLOW.namespaces,
            Self::ServiceAccounts => &ALLOW.service_accounts,
            Self::Roles => &ALLOW.roles,
            Self::AuthMounts => &ALLOW.auth_mounts,
            Self::Secrets => &ALLOW.secrets,
            Self::Writes => &ALLOW.writes,
        }
    }

    /// The field, as the operator writes it.
    pub(crate) fn field(self) -> &'static str {
        self.key().last()
    }

    /// The patterns of the field.
    pub(crate) fn patterns(self, rule: &AllowRule) -> Option<&[Pattern]> {
        match self {
            Self::Namespaces => rule.namespaces.as_deref(),
            Self::ServiceAccounts => rule.service_accounts.as_deref(),
            Self::Roles => rule.roles.as_deref(),
            Self::AuthMounts => rule.auth_mounts.as_deref(),
            Self::Secrets => rule.secrets.as_deref(),
            Self::Writes => rule.writes.as_deref(),
        }
    }

    /// Why a pattern matches nothing that a pod can have.
    fn mistake(self, pattern: &str) -> Option<String> {
        match self {
            Self::Namespaces | Self::Roles => spelling::of_plain_text(pattern),
            Self::ServiceAccounts => of_account(pattern),
            Self::AuthMounts => spelling::of_mount(pattern),
            Self::Secrets | Self::Writes => of_path(pattern),
        }
    }
}

impl AllowRule {
    /// A field with a pattern that no pod can match, and why. Such a rule would allow less than the operator reads in it.
    pub(super) fn matches_nothing(&self) -> Option<(&'static DocumentedKey, String)> {
        Condition::ALL.into_iter().find_map(|condition| {
            let patterns = condition.patterns(self)?.iter().map(Pattern::to_string);
            let mut mistakes =
                patterns.filter_map(|text| Some(format!("{} {}", quoted(&text), condition.mistake(&text)?)));
            Some((condition.key(), mistakes.next()?))
        })
    }
}

fn of_account(pattern: &str) -> Option<String> {
    let name = pattern.rsplit([':', '/']).next().unwrap_or_default();
    (name != pattern).then(|| format!("is more than the name of a service account: write {}", quoted(name)))
}

fn of_path(pattern: &str) -> Option<String> {
    let Some(folder) = pattern.strip_suffix('/') else {
        return spelling::of_path(pattern);
    };
    let instead = quoted(&format!("{folder}/**"));
    Some(format!("ends with a slash, and no path does: write {instead}"))
}
