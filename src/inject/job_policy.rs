//! Which jobs get the secrets, as a set of YAML fields: the annotation `podkey.dev/job-policy`. A connection's `job.policy` in the
//! config has the same fields.

use std::str::FromStr;

use crate::inject::problem::{Problems, did_you_mean, one_of, quoted, unquoted};
use crate::inject::words::keys::JOB_POLICY;
use crate::inject::words::{DocumentedKey, Scope};
use crate::inject::yaml::{self, Node};
use crate::plan::words::none_of;
use crate::plan::{Forks, Invalid, JobPolicy, spelling};

/// One field.
pub(crate) struct JobPolicyField {
    pub(crate) documented: DocumentedKey,
    /// Parses the value. The error ends a sentence that begins with the field.
    parse: fn(&Node<'_>, &mut JobPolicy) -> Result<(), String>,
}

impl JobPolicyField {
    const fn value(mut self, value: &'static str) -> Self {
        self.documented.value = value;
        self
    }

    const fn details(mut self, details: &'static str) -> Self {
        self.documented.details = details;
        self
    }
}

const fn field(
    key: &'static str,
    default: &'static str,
    example: &'static str,
    meaning: &'static str,
    parse: fn(&Node<'_>, &mut JobPolicy) -> Result<(), String>,
) -> JobPolicyField {
    let documented = DocumentedKey {
        key,
        meaning,
        default,
        scope: Scope::JobHooks,
        example,
        value: "",
        details: "",
    };
    JobPolicyField { documented, parse }
}

/// The fields of the annotation and of a connection's `job.policy`.
#[rustfmt::skip]
pub(crate) const FIELDS: &[JobPolicyField] = &[
    field("repositories", "every repository", "[octo-org/*]", "The repositories whose jobs get secrets, as patterns.",
        |node, policy| list(node, NO_NAMES).map(|patterns| policy.repositories = Some(patterns)))
        .value("a list of patterns: `*` matches within a segment")
        .details("Somebody else can register the name of a repository that was deleted or renamed: prefer ids."),
    field("repositoryIds", "every repository", "['456789']",
        "The ids of the repositories whose jobs get secrets. An id is never given to another repository; a name can be.",
        |node, policy| list(node, NO_IDS).map(|ids| policy.repository_ids = Some(ids)))
        .value("a list of ids, which have digits alone")
        .details("`gh api repos/OWNER/NAME --jq .id` prints the id."),
    field("ownerIds", "every owner", "['123456']", "The ids of the users and organizations whose repositories' jobs get secrets.",
        |node, policy| list(node, NO_IDS).map(|ids| policy.owner_ids = Some(ids)))
        .value("a list of ids, which have digits alone")
        .details("`gh api repos/OWNER/NAME --jq .owner.id` prints the id."),
    field("events", "every event", "[push]", "The events whose jobs get secrets, as patterns.",
        |node, policy| list(node, NO_NAMES).map(|patterns| policy.events = Some(patterns)))
        .value("a list of patterns")
        .details("Comments (`issue_comment`) do not say whether a pull request comes from a fork: list the events that you want."),
    field("protectedRefs", "`false`", "true", "Whether only jobs of protected branches and tags get secrets.",
        |node, policy| word(node, &["true", "false"]).map(|text| policy.protected_refs = text == "true")),
    field("forks", "`deny`", "allow", "Whether jobs of pull requests from forks get secrets.",
        |node, policy| word(node, Forks::NAMES).map(|text| policy.forks = text.parse().unwrap_or_default())),
];

/// Parses the annotation's value.
pub(crate) fn parse(text: &str, problems: &mut Problems) -> Option<JobPolicy> {
    let fields = match yaml::parse(text) {
        Ok(Node::Map(fields)) if !fields.is_empty() => fields,
        Ok(_) => {
            problems.push(
                JOB_POLICY,
                "is not a set of fields, for example \"repositories: [octo-org/*]\"",
            );
            return None;
        }
        Err(why) => {
            problems.push(JOB_POLICY, why);
            return None;
        }
    };
    let before = problems.len();
    let mut policy = JobPolicy::default();
    for (name, node) in fields {
        let parsed = match FIELDS.iter().find(|field| field.documented.key == name) {
            Some(field) => (field.parse)(&node, &mut policy),
            None => {
                let hint = did_you_mean(&name, FIELDS.iter().map(|field| field.documented.key));
                Err(format!("is not a field of a job policy{hint}"))
            }
        };
        if let Err(why) = parsed {
            problems.push(format!("{JOB_POLICY}.{}", unquoted(&name)), why);
        }
    }
    (before == problems.len()).then_some(policy)
}

fn word<'n>(node: &'n Node<'_>, words: &[&str]) -> Result<&'n str, String> {
    match node {
        Node::Scalar(text) if words.contains(&&**text) => Ok(text),
        Node::Scalar(text) => Err(one_of(text, words)),
        _ => Err(none_of(words).to_string()),
    }
}

const NO_NAMES: &str = "is not a list of names: write [a, b]";
const NO_IDS: &str = "is not a list of ids: write ['456789', '456790']";

fn list<T: FromStr<Err = Invalid>>(node: &Node<'_>, no_list: &str) -> Result<Vec<T>, String> {
    let Node::List(items) = node else {
        return Err(no_list.to_owned());
    };
    if items.is_empty() {
        return Err("is an empty list, which allows no job: name at least one, or leave the field out".to_owned());
    }
    let item = |item: &Node<'_>| match item {
        Node::Scalar(text) => {
            spelling::parse(text, spelling::of_plain_text).map_err(|why| format!("{} {why}", quoted(text)))
        }
        _ => Err(no_list.to_owned()),
    };
    items.iter().map(item).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::GitHubId;

    #[test]
    fn each_problem_names_its_field_and_all_problems_are_reported_together() {
        for (text, expected) in [
            ("", "p: is not a set of fields"),
            ("[a]", "p: is not a set of fields"),
            ("{}", "p: is not a set of fields"),
            ("a: [", "p: is not valid YAML"),
            (
                "repository: [a/b]",
                "p.repository: is not a field of a job policy (did you mean \"repositories\"?)",
            ),
            ("repositories: a/b", "p.repositories: is not a list"),
            ("repositories:", "p.repositories: is not a list"),
            ("events: []", "p.events: is an empty list"),
            ("events: ['']", "p.events: \"\" is an empty pattern"),
            ("events: [[push]]", "p.events: is not a list"),
            (
                "repositoryIds: 456789",
                "p.repositoryIds: is not a list of ids: write ['456789', '456790']",
            ),
            ("ownerIds: []", "p.ownerIds: is an empty list"),
            ("ownerIds: [~]", "p.ownerIds: is not a list of ids"),
            (
                "repositoryIds: [456789, octo-org/octo-repo]",
                "p.repositoryIds: \"octo-org/octo-repo\" is not an id, which has digits alone, such as 456789: \"gh api repos/OWNER/NAME",
            ),
            ("ownerIds: [0123]", "p.ownerIds: \"0123\" is not an id"),
            ("ownerIds: ['1*']", "p.ownerIds: \"1*\" is not an id"),
            ("ownerIds: [\"12 \"]", "p.ownerIds: \"12 \" is not an id"),
            ("repositoryId: ['1']", "did you mean \"repositoryIds\"?"),
            ("protectedRefs: yes", "p.protectedRefs: \"yes\" is none of true, false"),
            (
                "forks: alow",
                "p.forks: \"alow\" is none of deny, allow (did you mean \"allow\"?)",
            ),
            ("forks: [allow]", "p.forks: is none of deny, allow"),
        ] {
            let mut problems = Problems::default();
            assert_eq!(parse(text, &mut problems), None, "{text}");
            let problems = problems.to_string().replace(JOB_POLICY, "p");
            assert!(problems.contains(expected), "{text:?}: {problems}");
        }
        let mut problems = Problems::default();
        parse("{forks: x, events: y, z: 1}", &mut problems);
        assert_eq!(problems.len(), 3, "{problems}");
    }

    #[test]
    fn the_documented_policy_parses() {
        let mut problems = Problems::default();
        let text = "repositories: [octo-org/*, other/repo]\nrepositoryIds: [456789, '9007199254740993']\nownerIds:\n- 123456\nevents: [push]\nprotectedRefs: true\nforks: allow\n";
        let policy = parse(text, &mut problems).unwrap();
        assert!(problems.is_empty(), "{problems}");
        assert_eq!(policy.repositories.unwrap().len(), 2);
        let ids = |ids: Option<Vec<GitHubId>>| ids.unwrap().iter().map(GitHubId::to_string).collect::<Vec<_>>();
        assert_eq!(ids(policy.repository_ids), ["456789", "9007199254740993"]);
        assert_eq!(ids(policy.owner_ids), ["123456"]);
        assert!(policy.events.unwrap()[0].matches("push"));
        assert!(policy.protected_refs);
        assert_eq!(policy.forks, Forks::Allow);
    }
}
