//! The operator's allow rules: which pods may use a connection for what.

use std::fmt;

use serde::Deserialize;

use crate::inject::pod::Pod;
use crate::plan::{PathTemplate, Pattern, Plan, pattern, spelling};
use crate::text::quoted;

/// One rule. All fields must match, and a field left out matches all.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AllowRule {
    /// Namespaces of pods.
    #[serde(default, deserialize_with = "pattern::list")]
    pub namespaces: Option<Vec<Pattern>>,
    /// Service accounts of pods.
    #[serde(default, deserialize_with = "pattern::list")]
    pub service_accounts: Option<Vec<Pattern>>,
    /// Vault roles.
    #[serde(default, deserialize_with = "pattern::list")]
    pub roles: Option<Vec<Pattern>>,
    /// Mounts of auth methods.
    #[serde(default, deserialize_with = "pattern::list")]
    pub auth_mounts: Option<Vec<Pattern>>,
    /// API paths of secrets, those that `data` writes included.
    #[serde(default, deserialize_with = "pattern::list")]
    pub secrets: Option<Vec<Pattern>>,
    /// API paths that `data` may write. Left out: none, because a rule for reading must not be one for writing.
    #[serde(default, deserialize_with = "pattern::list")]
    pub writes: Option<Vec<Pattern>>,
}

/// A condition of a rule, in the order in which the rule's fields stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Condition {
    Namespaces,
    ServiceAccounts,
    Roles,
    AuthMounts,
    Secrets,
    Writes,
}

impl Condition {
    const ALL: [Self; 6] = [
        Self::Namespaces,
        Self::ServiceAccounts,
        Self::Roles,
        Self::AuthMounts,
        Self::Secrets,
        Self::Writes,
    ];

    /// The rule's field, as the operator writes it.
    fn field(self) -> &'static str {
        match self {
            Self::Namespaces => "namespaces",
            Self::ServiceAccounts => "serviceAccounts",
            Self::Roles => "roles",
            Self::AuthMounts => "authMounts",
            Self::Secrets => "secrets",
            Self::Writes => "writes",
        }
    }
}

/// Why no rule allows what a pod asks for. Only the operator may see this: the rules are his, and anyone who reaches the
/// webhook may probe it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoRule {
    /// The list of rules is empty.
    Empty,
    /// One rule has fewer unmet conditions than the others; of equals, it stands first.
    Nearest {
        /// The rule's place in the list, from 0.
        rule: usize,
        /// Each unmet condition's field, and the first of the pod's values that the field does not match.
        unmet: Vec<(&'static str, String)>,
    },
}

impl fmt::Display for NoRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("allow is an empty list, which allows nobody"),
            Self::Nearest { rule, unmet } => {
                write!(f, "allow[{rule}] comes nearest")?;
                for (index, (field, value)) in unmet.iter().enumerate() {
                    let separator = if index == 0 { ": " } else { ", " };
                    write!(f, "{separator}{field} does not match {}", quoted(value))?;
                }
                Ok(())
            }
        }
    }
}

/// Whether one of the rules allows the whole of what a pod asks for; if none does, which one comes nearest. (The job's own
/// login is the operator's choice, not the author's.)
pub(crate) fn check<C>(rules: &[AllowRule], pod: &Pod<'_>, namespace: &str, plan: &Plan<C>) -> Result<(), NoRule> {
    if rules
        .iter()
        .any(|rule| rule.unmet(pod, namespace, plan).next().is_none())
    {
        return Ok(());
    }
    let unmet = rules.iter().map(|rule| rule.unmet(pod, namespace, plan));
    let nearest = unmet.enumerate().min_by_key(|(_, unmet)| unmet.clone().count());
    Err(match nearest {
        None => NoRule::Empty,
        Some((rule, unmet)) => NoRule::Nearest {
            rule,
            unmet: unmet
                .map(|(condition, value)| (condition.field(), value.to_owned()))
                .collect(),
        },
    })
}

impl AllowRule {
    /// A field with a pattern that no pod can match, and why: the rule would silently allow less than it says.
    pub(crate) fn matches_nothing(&self) -> Option<(&'static str, String)> {
        let wrong = |patterns: &Option<Vec<Pattern>>, why: fn(&str) -> Option<String>| {
            let patterns = patterns.iter().flatten().map(Pattern::to_string);
            let mut told = patterns.filter_map(|text| Some(format!("{} {}", quoted(&text), why(&text)?)));
            told.next()
        };
        let account = |text: &str| {
            let name = text.rsplit([':', '/']).next().unwrap_or_default();
            (name != text).then(|| format!("is no name of a service account alone: write {}", quoted(name)))
        };
        let secret = |text: &str| match text.strip_suffix('/') {
            Some(folder) => Some(format!(
                "ends with a slash, and no path does: write {}",
                quoted(&format!("{folder}/**"))
            )),
            None => spelling::of_path(text),
        };
        let conditions = [
            (Condition::Namespaces, wrong(&self.namespaces, spelling::of_plain_text)),
            (Condition::ServiceAccounts, wrong(&self.service_accounts, account)),
            (Condition::Roles, wrong(&self.roles, spelling::of_plain_text)),
            (Condition::AuthMounts, wrong(&self.auth_mounts, spelling::of_mount)),
            (Condition::Secrets, wrong(&self.secrets, secret)),
            (Condition::Writes, wrong(&self.writes, secret)),
        ];
        let mut conditions = conditions.into_iter();
        conditions.find_map(|(condition, why)| Some((condition.field(), why?)))
    }

    /// Each condition that the pod does not meet, with its first value that does not match. None: the rule allows.
    fn unmet<'v, C>(
        &'v self,
        pod: &'v Pod<'_>,
        namespace: &'v str,
        plan: &'v Plan<C>,
    ) -> impl Iterator<Item = (Condition, &'v str)> + Clone {
        let conditions = Condition::ALL.into_iter();
        conditions.filter_map(move |condition| Some((condition, self.first_unmet(condition, pod, namespace, plan)?)))
    }

    fn first_unmet<'v, C>(
        &self,
        condition: Condition,
        pod: &'v Pod<'_>,
        namespace: &'v str,
        plan: &'v Plan<C>,
    ) -> Option<&'v str> {
        let unmet = |patterns: &Option<Vec<Pattern>>, text: &'v str| {
            let patterns = patterns.as_ref()?;
            let matches = patterns.iter().any(|pattern| pattern.matches(text));
            (!matches).then_some(text)
        };
        match condition {
            Condition::Namespaces => unmet(&self.namespaces, namespace),
            Condition::ServiceAccounts => unmet(&self.service_accounts, pod.service_account()),
            Condition::Roles => unmet(&self.roles, plan.login.as_ref()?.role.as_str()),
            Condition::AuthMounts => unmet(&self.auth_mounts, plan.login.as_ref()?.mount.as_str()),
            Condition::Secrets => {
                let files = plan.files.iter().map(|file| &file.secret);
                let mut paths = files.chain(plan.env.iter().map(|env| &env.secret));
                paths
                    .find_map(|path| unmet(&self.secrets, path.as_str()))
                    .or_else(|| self.first_unmet_of_the_job(plan))
            }
            // A job only reads.
            Condition::Writes => {
                let written = plan.files.iter().filter(|file| file.data.is_some());
                let mut paths = written.map(|file| file.secret.as_str());
                let patterns = self.writes.as_deref().unwrap_or_default();
                paths.find(|path| !patterns.iter().any(|pattern| pattern.matches(path)))
            }
        }
    }

    fn first_unmet_of_the_job<'v, C>(&self, plan: &'v Plan<C>) -> Option<&'v str> {
        let (patterns, job) = (self.secrets.as_ref()?, plan.job.as_ref()?);
        let files = job.files.iter().map(|file| &file.secret);
        let mut paths = files.chain(job.env.iter().map(|env| &env.secret));
        let matches = |path: &PathTemplate| patterns.iter().any(|pattern| pattern.matches_template(path));
        paths.find(|path| !matches(path)).map(|path| path.as_path().as_str())
    }
}
