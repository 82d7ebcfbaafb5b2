//! The plan of the job hooks: what they read, mask, export and refuse. The hooks read the plan from a file that `init` left, so
//! they check all of it again.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{
    ApiPath, Budget, Destination, EnvName, EnvSecret, Invalid, PathTemplate, Pattern, PlannedFile, Role, checked_text,
    given_list, invalid, is_false, words::words,
};
use crate::text::is_printable;

/// The hooks' part of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JobPlan {
    /// The user id that the hooks must have: another user could neither read nor clear the files.
    pub(crate) user: u32,
    /// Which of pod and job fails when the secrets cannot be delivered.
    pub(crate) on_failure: OnFailure,
    /// Which texts the job's log hides.
    pub(crate) mask: Mask,
    /// Whether the values of variables go into the job's environment. Otherwise they stay in files of
    /// [`ENV_DIR`](super::ENV_DIR).
    pub(crate) export: bool,
    /// The time that one hook may take.
    pub(crate) deadline: Budget,
    /// How the job logs in with GitHub's token. Always there if `files` or `env` has an entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) login: Option<JobLogin>,
    /// Files that the started hook reads (`as: job`). `init` leaves an empty file, mode 0000, at each absolute destination.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) files: Vec<PlannedFile<PathTemplate>>,
    /// Variables that the started hook reads.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) env: Vec<EnvSecret<PathTemplate>>,
    /// The policy of the connection and the policy of the pod, if any: each must allow the job. Without any, the default
    /// policy must allow the job.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) policies: Vec<JobPolicy>,
    /// Some: the started hook copies all files to a directory below `RUNNER_TEMP`, the only directory that a job's container sees
    /// too, and sets each variable here to the path of the copy of its file. For a step in the container, the runner changes such a
    /// path to the path in the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) temp: Option<BTreeMap<EnvName, Destination>>,
}

impl JobPlan {
    /// Whether the started hook has anything to read.
    pub(crate) fn reads(&self) -> bool {
        !self.files.is_empty() || !self.env.is_empty()
    }
}

/// The pod that podkey runs in, as `init` tells the job hooks. Any text: checked where it is sent.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct BoundPod {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
}

/// A login at the plan's server by the auth method `jwt`, with the token that GitHub's OIDC provider gives the job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct JobLogin {
    /// The mount path of the auth method, without `auth/`.
    pub(crate) mount: ApiPath,
    /// The Vault role.
    pub(crate) role: Role,
    /// The audience of the token. None: GitHub's default, the URL of the repository's owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) audience: Option<Audience>,
    /// As in [`Login`](super::Login).
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) inline: bool,
}

/// The receiver that a token is meant for (the claim `aud`): printable text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Audience(String);

checked_text!(Audience);

impl Audience {
    /// The audience as written.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Audience {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if text.is_empty() || text.len() > 1024 || !text.chars().all(is_printable) {
            return invalid("is not an audience of 1 to 1024 printable bytes");
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Audience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

words! {
    /// Which of pod and job fails when the secrets cannot be delivered.
    pub(crate) enum OnFailure {
        /// The pod fails: its init container ends with an error.
        FailPod = "fail-pod",
        /// The job fails: the init container leaves the reason and no secret, and the started hook fails the job with that
        /// reason.
        FailJob = "fail-job",
    }
}

words! {
    /// Which texts of a value the job's log hides.
    pub enum Mask {
        /// The value, its lines, the leaves of structured data and further encodings, but nothing short or common.
        Smart = "smart",
        /// Each line that is not empty, as vault-action does.
        Lines = "lines",
        /// Nothing.
        Off = "off",
    }
    default Smart
}

/// Which jobs get the secrets. Every field must allow the job. A field that is left out allows every job, except `forks`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct JobPolicy {
    /// Repositories, such as `octo-org/*`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given_list")]
    pub(crate) repositories: Option<Vec<Pattern>>,
    /// Ids of repositories.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given_list")]
    pub(crate) repository_ids: Option<Vec<GitHubId>>,
    /// Ids of the users and organizations that own the repositories.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given_list")]
    pub(crate) owner_ids: Option<Vec<GitHubId>>,
    /// Events, such as `push` or `workflow_dispatch`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given_list")]
    pub(crate) events: Option<Vec<Pattern>>,
    /// Whether only jobs of a protected branch or tag get the secrets.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) protected_refs: bool,
    /// Whether jobs of a pull request from another repository get the secrets.
    #[serde(default, skip_serializing_if = "Forks::are_denied")]
    pub(crate) forks: Forks,
}

/// The number of a repository, a user or an organization, as text. GitHub gives a number once; a name that becomes free can be
/// registered by somebody else. <https://docs.github.com/en/actions/reference/security/oidc>
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct GitHubId(String);

checked_text!(GitHubId);

impl GitHubId {
    /// The digits.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for GitHubId {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        // No number of 64 bits has more digits.
        let fits = (1..=20).contains(&text.len()) && !text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit());
        if !fits {
            return invalid(
                "is not an id, which has digits alone, such as 456789: \"gh api repos/OWNER/NAME --jq '.id, .owner.id'\" prints the ids \
                 of a repository and of its owner",
            );
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for GitHubId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

words! {
    /// Whether a job of a pull request from another repository gets the secrets. GitHub gives such a job none of its own secrets.
    pub(crate) enum Forks {
        /// The job gets no secret.
        Deny = "deny",
        /// The job gets the secrets.
        Allow = "allow",
    }
    default Deny
}

impl Forks {
    fn are_denied(&self) -> bool {
        *self == Self::Deny
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_list_in_a_policy_does_not_allow_every_job() {
        let policy = |json: &str| serde_json::from_str::<JobPolicy>(json);
        assert_eq!(policy("{}").unwrap(), JobPolicy::default());
        assert_eq!(policy(r#"{"events":[]}"#).unwrap().events, Some(Vec::new()));
        assert!(policy(r#"{"repositories":null}"#).is_err());
        assert!(policy(r#"{"repositories":[""]}"#).is_err());
        assert_eq!(policy(r#"{"ownerIds":[]}"#).unwrap().owner_ids, Some(Vec::new()));
        assert!(policy(r#"{"repositoryIds":null}"#).is_err());
        assert!(policy(r#"{"forks":"maybe"}"#).is_err());
        assert!(policy(r#"{"event":["push"]}"#).is_err());
    }

    #[test]
    fn an_id_is_digits_alone_and_keeps_them() {
        for good in ["1", "456789", "9007199254740993", "18446744073709551615"] {
            assert_eq!(good.parse::<GitHubId>().unwrap().as_str(), good);
        }
        for bad in [
            "",
            "0",
            "0456789",
            "456 789",
            " 1",
            "1\n",
            "-1",
            "+1",
            "1.0",
            "1e3",
            "0x1f",
            "1_000",
            "12a",
            "octo-org/octo-repo",
            "*",
            "4*",
            "１２",
            "184467440737095516150",
        ] {
            let error = bad.parse::<GitHubId>().expect_err(bad).to_string();
            assert!(
                error.contains("is not an id") && error.contains("gh api repos/"),
                "{bad}: {error}"
            );
        }
    }
}
