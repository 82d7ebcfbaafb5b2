//! Which jobs get the secrets, as a set of YAML fields: the annotation `podkey.dev/job-policy`. A connection's `job.policy` in the
//! config has the same fields.

use crate::inject::problem::{Problems, did_you_mean, one_of, quoted, unquoted};
use crate::inject::words::keys::JOB_POLICY;
use crate::inject::words::{DocumentedKey, Scope};
use crate::inject::yaml::{self, Node};
use crate::plan::words::none_of;
use crate::plan::{Forks, JobPolicy, Pattern, spelling};

/// One field.
pub(crate) struct JobPolicyField {
    pub(crate) documented: DocumentedKey,
    /// Parses the value. The error ends a sentence that begins with the field.
    parse: fn(&Node<'_>, &mut JobPolicy) -> Result<(), String>,
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
    };
    JobPolicyField { documented, parse }
}

/// The fields of the annotation and of a connection's `job.policy`.
#[rustfmt::skip]
pub(crate) const FIELDS: &[JobPolicyField] = &[
    field("repositories", "every repository", "[octo-org/*]", "The repositories whose jobs get secrets, as patterns.",
        |node, policy| patterns(node).map(|patterns| policy.repositories = Some(patterns))),
    field("events", "every event", "[push]", "The events whose jobs get secrets, as patterns.",
        |node, policy| patterns(node).map(|patterns| policy.events = Some(patterns))),
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

fn patterns(node: &Node<'_>) -> Result<Vec<Pattern>, String> {
    const NO_LIST: &str = "is not a list of names: write [a, b]";
    let Node::List(items) = node else {
        return Err(NO_LIST.to_owned());
    };
    if items.is_empty() {
        return Err("is an empty list, which allows no job: name at least one, or leave the field out".to_owned());
    }
    let pattern = |item: &Node<'_>| match item {
        Node::Scalar(text) => {
            spelling::parse(text, spelling::of_plain_text).map_err(|why| format!("{} {why}", quoted(text)))
        }
        _ => Err(NO_LIST.to_owned()),
    };
    items.iter().map(pattern).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let text = "repositories: [octo-org/*, other/repo]\nevents: [push]\nprotectedRefs: true\nforks: allow\n";
        let policy = parse(text, &mut problems).unwrap();
        assert!(problems.is_empty(), "{problems}");
        assert_eq!(policy.repositories.unwrap().len(), 2);
        assert!(policy.events.unwrap()[0].matches("push"));
        assert!(policy.protected_refs);
        assert_eq!(policy.forks, Forks::Allow);
    }
}
