//! A connection's `job`: what the job hooks of runner pods do.

use serde::Deserialize;

use super::error::ConfigError;
use super::place::ConnectionPlace;
use super::section::{given, section};
use crate::inject::job_policy::FIELDS;
use crate::plan::{Budget, DEFAULT_HOOK_DEADLINE, JobLogin, JobPolicy, Pattern, spelling};

/// What a connection says of the jobs of runner pods.
#[derive(Debug, Clone)]
pub(crate) struct JobConfig {
    /// How the job logs in with GitHub's token. None: the job cannot log in.
    pub(crate) login: Option<JobLogin>,
    /// Which jobs get secrets. None: the pod's author alone decides.
    pub(crate) policy: Option<JobPolicy>,
    /// How long one hook may take.
    pub(crate) deadline: Budget,
}

impl JobConfig {
    /// Whether the policy allows some repositories, and tells them apart by their names alone. A name that became free can be
    /// registered by somebody else.
    pub(super) fn has_names_alone(&self) -> bool {
        // No repository has this name: a pattern that allows it allows every repository.
        let is_narrow =
            |patterns: &Vec<Pattern>| !patterns.is_empty() && !patterns.iter().any(|pattern| pattern.matches("\0/\0"));
        self.policy.as_ref().is_some_and(|policy| {
            policy.repositories.as_ref().is_some_and(is_narrow)
                && policy.repository_ids.is_none()
                && policy.owner_ids.is_none()
        })
    }
}

section! {
    #[derive(Default)]
    pub(super) struct JobSection, JOB: JobKeys at "connections.NAME.job." {
        /// How the job logs in: `jwt`, with GitHub's token.
        #[serde(default)]
        method: Option<JobMethod> = "method": JobHooks, default "`jwt`", example "jwt",
            value "`jwt`";
        /// Where the auth method for GitHub's token is mounted.
        #[serde(default)]
        mount: Option<String> = "mount": JobHooks, default "`jwt`", example "github",
            value "the path of the mount";
        /// The Vault role that the job logs in as.
        #[serde(default)]
        role: Option<String> = "role": JobHooks, default "none: the job cannot log in", example "ci",
            value "the name of a role";
        /// The audience of GitHub's token.
        #[serde(default)]
        audience: Option<String> = "audience": JobHooks, default "GitHub's own", example "'https://github.com/octo-org'",
            value "a text";
        /// How long one hook may take.
        #[serde(default)]
        deadline: Option<String> = "deadline": JobHooks, default "`30s`", example "1m",
            value "a duration";
        /// Which jobs get secrets.
        #[serde(default, deserialize_with = "policy")]
        policy: Option<JobPolicy> = "policy": JobHooks, default "the pod's author alone decides", example "{events: [push]}",
            value "a set of fields, as in `podkey.dev/job-policy`",
            details "The policy of the pod holds, too: both must allow the job.";
    }
}

/// GitHub gives a job one kind of token, and one auth method takes it.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum JobMethod {
    Jwt,
}

/// A policy whose fields are all commented out must not allow every job.
fn policy<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<JobPolicy>, D::Error> {
    if let Some(policy) = Option::deserialize(deserializer)? {
        return Ok(Some(policy));
    }
    let fields: Vec<_> = FIELDS.iter().map(|field| field.documented.key).collect();
    Err(serde::de::Error::custom(format!(
        "policy is there without a field: write one of {}, or remove it",
        fields.join(", ")
    )))
}

impl JobSection {
    pub(super) fn check(self, place: ConnectionPlace<'_>, inline: bool) -> Result<JobConfig, ConfigError> {
        let deadline = given(self.deadline.as_deref()).unwrap_or(DEFAULT_HOOK_DEADLINE);
        Ok(JobConfig {
            login: self.login(place, inline)?,
            deadline: place.parse(&JOB.deadline, deadline)?,
            policy: self.policy,
        })
    }

    fn login(&self, place: ConnectionPlace<'_>, inline: bool) -> Result<Option<JobLogin>, ConfigError> {
        let (mount, audience) = (given(self.mount.as_deref()), given(self.audience.as_deref()));
        let Some(role) = given(self.role.as_deref()) else {
            if self.method.is_none() && mount.is_none() && audience.is_none() {
                return Ok(None);
            }
            let why = "is missing: the job logs in as a role of the jwt auth method that is bound to GitHub's tokens";
            return place.wrong(&JOB.role, why);
        };
        let mount = mount.unwrap_or("jwt").trim_matches('/');
        Ok(Some(JobLogin {
            mount: place.parse_spelled(&JOB.mount, spelling::of_mount, mount)?,
            role: place.parse_spelled(&JOB.role, spelling::of_role, role)?,
            audience: audience.map(|text| place.parse(&JOB.audience, text)).transpose()?,
            inline,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_that_allows_every_repository_does_not_tell_repositories_apart_by_names() {
        for (policy, expected) in [
            (r#"{"repositories":["octo-org/*"]}"#, true),
            (r#"{"repositories":["*/deploy"]}"#, true),
            (r#"{"repositories":["octo-org/*"],"ownerIds":["1"]}"#, false),
            (r#"{"repositories":["**"]}"#, false),
            (r#"{"repositories":["octo-org/*","*/*"]}"#, false),
            (r#"{"repositories":[]}"#, false),
            (r#"{"events":["push"]}"#, false),
        ] {
            let job = JobConfig {
                login: None,
                policy: Some(serde_json::from_str(policy).unwrap()),
                deadline: DEFAULT_HOOK_DEADLINE.parse().unwrap(),
            };
            assert_eq!(job.has_names_alone(), expected, "{policy}");
        }
    }
}
