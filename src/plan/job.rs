//! What a plan says of the runner's job: what its hooks read, mask, export and refuse. `init` leaves the plan where the
//! hooks find it, so all of this is checked again by the agent, like the rest of the plan.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{
    ApiPath, Budget, Destination, Invalid, Pattern, PlannedFile, Role, checked_text, invalid, is_false, pattern,
};
use crate::text::{is_printable, takes_over};

/// Where the `runner` container mounts the volume `podkey-bin` (read-only), and `podkey-init` (to fill it).
pub const BIN_DIR: &str = "/podkey/bin";
/// The agent itself, which `init` leaves there.
pub const AGENT: &str = "/podkey/bin/podkey-agent";
/// What stands before the command of a container whose variables the agent sets before it becomes that command.
pub const EXEC: [&str; 3] = [AGENT, "exec", "--"];
/// The runner's hooks: wrappers that run the agent beside them.
/// <https://docs.github.com/en/actions/how-tos/manage-runners/self-hosted-runners/run-scripts>
pub const JOB_STARTED: &str = "/podkey/bin/job-started.sh";
/// Likewise, after the job.
pub const JOB_COMPLETED: &str = "/podkey/bin/job-completed.sh";
/// In the `runner` container: the hook that the pod's author set himself, run after ours. An empty value, or the reference
/// that Kubernetes could not expand (it begins with `$(`), means that there is none.
pub const NEXT_JOB_STARTED_ENV: &str = "PODKEY_NEXT_JOB_STARTED";
/// Likewise, after the job.
pub const NEXT_JOB_COMPLETED_ENV: &str = "PODKEY_NEXT_JOB_COMPLETED";
/// The directory of environment variables' values, below [`super::FILES_DIR`] and so below [`super::SECRETS_DIR`]: one file
/// each, named as the variable. The hook that exports them removes them.
pub const ENV_DIR: &str = "env";
/// How long a hook may take where the operator did not say: the runner itself sets no limit.
pub const DEFAULT_HOOK_DEADLINE: &str = "30s";
/// The most entries of `podkey.dev/env` and of `podkey.dev/job-env` each.
pub const MAX_ENV_SECRETS: usize = 256;

/// The hooks' part of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JobPlan {
    /// The user whom the hooks must find themselves to be: another one could neither read nor clear the files.
    pub user: u32,
    /// Who fails where the secrets cannot be delivered.
    pub on_failure: OnFailure,
    /// What is kept out of the job's log.
    pub mask: Mask,
    /// Whether the values of variables go into the job's environment. If not, they stay in files of [`ENV_DIR`].
    pub export: bool,
    /// How long one hook may take.
    pub deadline: Budget,
    /// How the job logs in with GitHub's own token. There is one where `files` or `env` has anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<JobLogin>,
    /// Files that the started hook reads (`as: job`). `init` leaves an empty file, mode 0000, at each absolute destination.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<PlannedFile<PathTemplate>>,
    /// Variables that the started hook reads.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<EnvSecret<PathTemplate>>,
    /// The connection's and the pod's, where they have one: each must allow the job. With none the default one must.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<JobPolicy>,
    /// Copies of all files go below `RUNNER_TEMP`, the one directory that a job's container sees too. The variables are to
    /// name the copies: the runner writes such a path as the container has it, when it starts a step there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temp: Option<BTreeMap<EnvName, Destination>>,
}

impl JobPlan {
    /// Whether the started hook has anything to read.
    pub fn reads(&self) -> bool {
        !self.files.is_empty() || !self.env.is_empty()
    }
}

/// A login with the token that GitHub's OIDC provider gives the job, by the `jwt` auth method of the plan's server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JobLogin {
    /// The mount path of the auth method, without `auth/`.
    pub mount: ApiPath,
    /// The Vault role.
    pub role: Role,
    /// The audience to ask for; none is GitHub's default, the URL of the repository's owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<Audience>,
}

/// Whom a token is for: printable text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Audience(String);

checked_text!(Audience);

impl Audience {
    /// The audience as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Audience {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if text.is_empty() || text.len() > 1024 || !text.chars().all(is_printable) {
            return invalid("is no audience of up to 1024 printable bytes");
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Audience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Words that an author chooses from, with their spelling in annotations and plans.
macro_rules! words {
    ($name:ident { $($variant:ident = $word:literal),+ }) => {
        impl $name {
            /// Every value as the author writes it.
            pub const NAMES: &[&str] = &[$($word),+];
        }

        impl FromStr for $name {
            type Err = Invalid;

            fn from_str(text: &str) -> Result<Self, Invalid> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => invalid(concat!("is none of" $(, " ", $word)+)),
                }
            }
        }
    };
}

/// Who fails where the secrets cannot be delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailure {
    /// The init container exits non-zero.
    FailPod,
    /// It exits 0 and leaves the reason, and no secret; the started hook fails the job with it.
    FailJob,
}

words!(OnFailure { FailPod = "fail-pod", FailJob = "fail-job" });

/// What of a value the job's log masks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mask {
    /// The value, its lines, the leaves of structured data and further encodings, but nothing short or common.
    #[default]
    Smart,
    /// Each line that is not empty, as vault-action does.
    Lines,
    /// Nothing.
    Off,
}

words!(Mask { Smart = "smart", Lines = "lines", Off = "off" });

/// One entry of `podkey.dev/env`: what to read, and which variables come of it. In vault-action's grammar
/// `path selector | NAME`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EnvSecret<P = ApiPath> {
    /// The API path to read.
    pub secret: P,
    /// The version to read (KV v2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<std::num::NonZeroU64>,
    /// What to take of the answer.
    pub select: Select,
}

/// What an entry of `podkey.dev/env` takes of a secret. Where an answer's data has a field `data` that is not null, the
/// selection is made inside that (KV v2), as vault-action does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Select {
    /// One value.
    Value {
        /// The way to it from the secret's data, outermost first. No step at all (`$.$`): the data itself.
        at: Vec<Step>,
        /// The variable.
        name: EnvName,
    },
    /// `*`: every field, the variable named prefix and field, normalised, in upper case.
    UpperCase {
        /// What the names begin with, not normalised yet.
        prefix: String,
    },
    /// `**`: the same in the case they have.
    KeepCase {
        /// What the names begin with, not normalised yet.
        prefix: String,
    },
}

/// One step into a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Step {
    /// Into an object's member.
    Key(String),
    /// Into an array's element, from 0; from the end where negative.
    Index(i32),
}

/// The name of a variable that a job gets. Wider than a shell's, because vault-action's names are: `1NUM` and `schlüssel`
/// are fine, and so is what a container's own `env` could not have. Not those that take over a job, and none that cannot be
/// a file's name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EnvName(String);

checked_text!(EnvName);

impl EnvName {
    /// The name as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a job must not set it, though a container may: the runner believes any `GITHUB_` variable, and refuses
    /// `NODE_OPTIONS` in any case of its letters.
    pub fn is_the_runners(&self) -> bool {
        self.0.starts_with("GITHUB_") || self.0.eq_ignore_ascii_case("NODE_OPTIONS")
    }
}

impl FromStr for EnvName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if text.is_empty() || text.len() > 255 {
            return invalid("is no name of 1 to 255 bytes");
        }
        if matches!(text, "." | "..") {
            return invalid("is no name that a file could have");
        }
        // `=` and `<` end a name in GITHUB_ENV; ARC's kubernetes mode fails on quotes and `$`.
        if let Some(c) = text
            .chars()
            .find(|c| c.is_whitespace() || "=<$/\\\"'`".contains(*c) || !is_printable(*c))
        {
            return invalid(format!("has the character {c:?}, which no variable's name may have"));
        }
        if takes_over(text) {
            return invalid("is a variable that decides what a program runs, or is reserved");
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for EnvName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a path of the job's can have in it, filled in by the started hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placeholder {
    /// `{repository}`, such as `octo-org/octo-repo`: two segments of the path.
    Repository,
    /// `{owner}`, the first of the two.
    Owner,
    /// `{ref_name}`, such as `main` or `feature/x`: one segment.
    RefName,
    /// `{job}`, the key of the job in its workflow.
    Job,
    /// `{environment}`, which only the OIDC token tells.
    Environment,
}

impl Placeholder {
    /// Each as it is written between the braces.
    pub const ALL: [(&str, Self); 5] = [
        ("repository", Self::Repository),
        ("owner", Self::Owner),
        ("ref_name", Self::RefName),
        ("job", Self::Job),
        ("environment", Self::Environment),
    ];

    fn named(name: &str) -> Option<Self> {
        let (_, found) = Self::ALL.iter().find(|(other, _)| *other == name)?;
        Some(*found)
    }
}

/// An API path with [`Placeholder`]s in it, perhaps none. A brace is always a placeholder's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PathTemplate(ApiPath);

checked_text!(PathTemplate);

impl ApiPath {
    /// Whether it looks as if it were to be filled in.
    pub fn has_placeholder(&self) -> bool {
        pieces(self.as_str()).any(|piece| matches!(piece, Ok(Piece::Placeholder(_))))
    }
}

/// A part of a [`PathTemplate`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'a> {
    /// As written; may hold slashes.
    Text(&'a str),
    /// To be filled in.
    Placeholder(Placeholder),
}

impl PathTemplate {
    /// The path as written, which need not be the one that is read.
    pub fn as_path(&self) -> &ApiPath {
        &self.0
    }

    /// Text and placeholders in turn.
    pub fn pieces(&self) -> impl Iterator<Item = Piece<'_>> {
        pieces(self.0.as_str()).filter_map(Result::ok)
    }
}

/// The pieces of a text; an error is what stands between two braces, or after one that has no other.
fn pieces(text: &str) -> impl Iterator<Item = Result<Piece<'_>, &str>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        if let Some(after) = rest.strip_prefix('{') {
            let (name, behind) = after.split_once('}').unwrap_or((after, ""));
            rest = behind;
            return Some(Placeholder::named(name).map(Piece::Placeholder).ok_or(name));
        }
        let (text, behind) = rest.split_at(rest.find('{').unwrap_or(rest.len()));
        rest = behind;
        Some(if text.contains('}') {
            Err(text)
        } else {
            Ok(Piece::Text(text))
        })
    })
}

impl FromStr for PathTemplate {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        const KNOWN: &str = "{repository}, {owner}, {ref_name}, {job}, {environment}";
        let path: ApiPath = text.parse()?;
        // `a{job` and `a}` too: the one ends without its brace, the other is text with one.
        if text.matches('{').count() != text.matches('}').count() || pieces(text).any(|piece| piece.is_err()) {
            return invalid(format!("has a brace that belongs to none of {KNOWN}"));
        }
        if path
            .segments()
            .any(|segment| segment.contains("{repository}") && segment != "{repository}")
        {
            return invalid("has {repository}, which is two segments, inside one: write it between slashes");
        }
        Ok(Self(path))
    }
}

impl fmt::Display for PathTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which jobs get the secrets. All fields must allow it, and a field left out allows all, but for forks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JobPolicy {
    /// Repositories, such as `octo-org/*`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "pattern::list")]
    pub repositories: Option<Vec<Pattern>>,
    /// Events, such as `push` or `workflow_dispatch`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "pattern::list")]
    pub events: Option<Vec<Pattern>>,
    /// Only jobs of a protected branch or tag.
    #[serde(default, skip_serializing_if = "is_false")]
    pub protected_refs: bool,
    /// Jobs of a pull request from another repository.
    #[serde(default, skip_serializing_if = "Forks::are_denied")]
    pub forks: Forks,
}

/// Whether a job of a pull request from another repository gets the secrets. GitHub gives it none of its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Forks {
    /// It does not.
    #[default]
    Deny,
    /// It does.
    Allow,
}

words!(Forks { Deny = "deny", Allow = "allow" });

impl Forks {
    fn are_denied(&self) -> bool {
        *self == Self::Deny
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error<T: FromStr<Err = Invalid> + fmt::Debug>(text: &str) -> String {
        text.parse::<T>().expect_err(text).to_string()
    }

    #[test]
    fn names_of_variables_are_vault_action_s_without_those_that_take_over_a_job() {
        for good in ["KUBECONFIG_B64", "1NUM", "schlüssel", "a.b", "A-B", "密钥"] {
            assert_eq!(good.parse::<EnvName>().unwrap().as_str(), good);
        }
        for (bad, why) in [
            ("", "1 to 255"),
            (&"x".repeat(256), "1 to 255"),
            ("..", "a file"),
            ("A=B", "'='"),
            ("A<<B", "'<'"),
            ("A B", "' '"),
            ("A\nB", "'\\n'"),
            ("a/b", "'/'"),
            ("$A", "'$'"),
            ("NODE_OPTIONS", "decides what a program runs"),
            ("LD_PRELOAD", "decides what a program runs"),
            ("RUNNER_TEMP", "reserved"),
        ] {
            assert!(
                error::<EnvName>(bad).contains(why),
                "{bad:?}: {}",
                error::<EnvName>(bad)
            );
        }
    }

    #[test]
    fn a_brace_in_a_path_is_a_placeholder_s() {
        use Piece::{Placeholder as P, Text as T};
        let pieces = |text: &str| {
            format!(
                "{:?}",
                text.parse::<PathTemplate>().unwrap().pieces().collect::<Vec<_>>()
            )
        };
        for (text, expected) in [
            ("a/b", vec![T("a/b")]),
            (
                "ci/data/{repository}/x",
                vec![T("ci/data/"), P(Placeholder::Repository), T("/x")],
            ),
            (
                "{owner}-{job}/{ref_name}",
                vec![
                    P(Placeholder::Owner),
                    T("-"),
                    P(Placeholder::Job),
                    T("/"),
                    P(Placeholder::RefName),
                ],
            ),
            ("a/{environment}", vec![T("a/"), P(Placeholder::Environment)]),
        ] {
            assert_eq!(pieces(text), format!("{expected:?}"), "{text}");
        }
        for (bad, why) in [
            ("a/{repo}", "belongs to none of {repository}"),
            ("a/{job", "belongs to none"),
            ("a/job}", "belongs to none"),
            ("a/}{", "belongs to none"),
            ("a/{{job}}", "belongs to none"),
            ("a/{}", "belongs to none"),
            ("a/{repository}-x", "between slashes"),
            ("a//{job}", "empty segment"),
            ("a/%7Bjob}", "'%'"),
        ] {
            assert!(
                error::<PathTemplate>(bad).contains(why),
                "{bad:?}: {}",
                error::<PathTemplate>(bad)
            );
        }
    }

    #[test]
    fn a_policy_s_list_without_items_does_not_allow_everything() {
        let policy = |json: &str| serde_json::from_str::<JobPolicy>(json);
        assert_eq!(policy("{}").unwrap(), JobPolicy::default());
        assert_eq!(policy(r#"{"events":[]}"#).unwrap().events, Some(Vec::new()));
        assert!(policy(r#"{"repositories":null}"#).is_err());
        assert!(policy(r#"{"repositories":[""]}"#).is_err());
        assert!(policy(r#"{"forks":"maybe"}"#).is_err());
        assert!(policy(r#"{"event":["push"]}"#).is_err());
    }
}
