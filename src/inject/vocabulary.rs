//! The vocabularies that people write: annotations, fields of a file entry, fields of a job policy, keys of the operator's
//! config. Each key stands in one row of one table; parsers, suggestions and reference pages read the table.

#[cfg(any(feature = "cli", test))]
use crate::inject::request::EnvDelivery;
use crate::inject::request::vault_k8s;
pub use crate::inject::request::vault_k8s::{Suffix, Treatment, VaultK8sKey};
use crate::inject::words::keys;
#[cfg(feature = "cli")]
pub(crate) use crate::inject::words::keys::{INJECTED, PLAN};
#[cfg(feature = "cli")]
pub(crate) use crate::inject::words::names::{GUARD_SAYS, INIT_CONTAINER, SIDECAR, WEBHOOK_SUFFIX};
#[cfg(any(feature = "cli", test))]
use crate::inject::words::vault_k8s::Family;
pub use crate::inject::words::{DocumentedKey, Scope};
use crate::inject::{config, job_policy, request::files};
#[cfg(any(feature = "cli", test))]
use crate::plan::rules::ReadBy;
#[cfg(any(feature = "cli", test))]
use crate::plan::{AuthMethod, Binary, Decode, Forks, Format, Mask, OnChange, OnFailure, WhenGone};

/// The annotations of a pod.
pub fn annotations() -> impl Iterator<Item = &'static DocumentedKey> {
    keys::ANNOTATIONS.iter().map(|annotation| &annotation.documented)
}

/// The fields of an entry of `podkey.dev/files`.
pub fn file_fields() -> impl Iterator<Item = &'static DocumentedKey> {
    files::FIELDS.iter().map(|field| &field.documented)
}

/// The fields of `podkey.dev/job-policy`, and of a connection's `job.policy`.
pub fn job_policy_fields() -> impl Iterator<Item = &'static DocumentedKey> {
    job_policy::FIELDS.iter().map(|field| &field.documented)
}

/// The keys of the operator's config, each with its path.
pub fn config_keys() -> impl Iterator<Item = &'static DocumentedKey> {
    config::keys()
}

/// The keys of vault-k8s.
pub fn vault_k8s_keys() -> impl Iterator<Item = &'static VaultK8sKey> {
    vault_k8s::KEYS.iter()
}

/// What the annotations of vault-k8s and of openbao-k8s begin with.
#[cfg(any(feature = "cli", test))]
pub(crate) const VAULT_K8S_PREFIXES: [&str; 2] = [Family::Hashicorp.prefix(), Family::Openbao.prefix()];

/// The row of an annotation of vault-k8s as it is written, without its prefix. None: vault-k8s does not know the annotation.
#[cfg(any(feature = "cli", test))]
pub(crate) fn vault_k8s_key(name: &str) -> Option<&'static VaultK8sKey> {
    vault_k8s::find(name).map(|(row, _)| row)
}

/// Whether the value says yes or no.
#[cfg(any(feature = "cli", test))]
const YES_OR_NO: &[(&str, &str)] = &[("true", "yes"), ("false", "no")];

/// The words, or the forms of a line, that the value of a key can be, each with its meaning. Empty: other values, too.
#[cfg(any(feature = "cli", test))]
pub(crate) fn words(key: &DocumentedKey) -> &'static [(&'static str, &'static str)] {
    match key.key {
        keys::ON_CHANGE => &OnChange::FORMS,
        keys::ON_FAILURE => OnFailure::MEANINGS,
        keys::ENV_DELIVERY => EnvDelivery::MEANINGS,
        keys::MASK => Mask::MEANINGS,
        "as" => ReadBy::MEANINGS,
        "decode" => Decode::MEANINGS,
        "format" => Format::MEANINGS,
        "when-gone" => WhenGone::MEANINGS,
        "forks" => Forks::MEANINGS,
        "agent.binary" => Binary::MEANINGS,
        "connections.NAME.auth.method" => AuthMethod::MEANINGS,
        _ if key.meaning.starts_with("Whether ") => YES_OR_NO,
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::inject::config::Config;
    use crate::inject::pod::Pod;
    use crate::inject::problem::Problems;
    use crate::inject::request::annotations;
    use crate::plan::{Forks, JobPolicy};

    /// What is wrong with a pod that has these annotations. The secret in it keeps "asks for no secret" away.
    fn problems(annotations: &Value) -> String {
        let pod = json!({"metadata": {"annotations": annotations}, "spec": {"containers": []}}).to_string();
        let pod = Pod::parse(&pod).unwrap();
        let mut problems = Problems::default();
        annotations::parse(pod.metadata.annotations.as_ref().unwrap(), &mut problems);
        problems.to_string()
    }

    #[test]
    fn the_example_of_each_annotation_parses_and_a_value_that_is_no_text_is_reported() {
        for annotation in annotations() {
            let mut annotations = json!({"podkey.dev/files": "- { secret: kv/data/web, file: web.json }"});
            annotations[annotation.key] = annotation.example.into();
            assert_eq!(problems(&annotations), "", "{}", annotation.key);
            annotations[annotation.key] = json!([]);
            let reported = problems(&annotations);
            assert_eq!(
                reported.starts_with(annotation.key),
                annotation.scope != Scope::Information,
                "{}: {reported}",
                annotation.key
            );
        }
    }

    #[test]
    fn the_example_of_each_field_of_a_file_parses() {
        for field in file_fields() {
            let mut entry = json!({"secret": "pki/issue/web", "file": "web", "key": "certificate"});
            let text = match serde_saphyr::from_str::<Value>(field.example).unwrap() {
                Value::Number(number) => number.to_string().into(),
                other => other,
            };
            // What the field takes the place of, and what it needs beside it.
            let replaced: &[&str] = match field.key {
                "keys" => &["key"],
                "delims" | "template" => &["secret", "key"],
                _ => &[],
            };
            for other in replaced {
                entry.as_object_mut().unwrap().remove(*other);
            }
            if field.key == "delims" {
                entry["template"] = json!("[[ with secret \"kv/data/web\" ]][[ .Data.data.user ]][[ end ]]");
            }
            entry[field.key] = text;
            let annotations = json!({"podkey.dev/files": json!([entry]).to_string()});
            assert_eq!(problems(&annotations), "", "{}", field.key);
        }
    }

    #[test]
    fn the_example_of_each_field_of_a_job_policy_parses_and_the_plan_has_the_same_fields() {
        let mut all = String::new();
        for field in job_policy_fields() {
            let line = format!("{}: {}\n", field.key, field.example);
            let annotations = json!({"podkey.dev/files": "- {secret: a/b, file: c}", "podkey.dev/job-policy": line});
            assert_eq!(problems(&annotations), "", "{}", field.key);
            all += &line;
        }
        let policy = JobPolicy {
            repositories: Some(Vec::new()),
            repository_ids: Some(Vec::new()),
            owner_ids: Some(Vec::new()),
            events: Some(Vec::new()),
            protected_refs: true,
            forks: Forks::Allow,
        };
        let Value::Object(fields) = serde_json::to_value(policy).unwrap() else {
            panic!("a policy is a set of fields");
        };
        let keys: Vec<_> = job_policy_fields().map(|field| field.key).collect();
        assert_eq!(fields.keys().collect::<Vec<_>>(), keys);
        serde_saphyr::from_str::<JobPolicy>(&all).unwrap();
    }

    #[test]
    fn the_example_of_each_key_of_the_config_parses() {
        for key in config_keys() {
            let mut config = json!({
                "agent": {"image": "i"},
                "connections": {
                    "NAME": {"address": "https://v", "job": {"role": "ci"}, "allow": [{}]},
                    "default": {"address": "https://v"},
                },
            });
            let pointer = format!("/{}", key.key.replace("[]", ".0").replace('.', "/"));
            let (parent, last) = pointer.rsplit_once('/').unwrap();
            if config.pointer(parent).is_none() {
                let (above, parent) = parent.rsplit_once('/').unwrap();
                config.pointer_mut(above).unwrap()[parent] = json!({});
            }
            config.pointer_mut(parent).unwrap()[last] = serde_saphyr::from_str(key.example).unwrap();
            let parsed = Config::parse(&config.to_string(), |_| Ok(String::new()));
            assert!(parsed.is_ok(), "{}: {}", key.key, parsed.unwrap_err());
        }
    }

    /// The words in the message about a value that is none of them. Empty: the value is not one of fixed words.
    fn refused_words(message: &str) -> Vec<String> {
        let Some((_, list)) = message.split_once(" is none of ") else {
            return Vec::new();
        };
        let list = list.split([';', '\n', '(']).next().unwrap();
        list.split(", ").map(|word| word.trim().to_owned()).collect()
    }

    #[test]
    fn the_words_of_each_key_are_those_that_its_parser_takes() {
        let names = |key: &DocumentedKey| {
            words(key)
                .iter()
                .map(|(word, _)| (*word).to_owned())
                .collect::<Vec<_>>()
        };
        for key in annotations().filter(|key| key.scope != Scope::Information) {
            let mut pod = json!({"podkey.dev/files": "- { secret: kv/data/web, file: web.json }"});
            pod[key.key] = "none-of-them".into();
            assert_eq!(refused_words(&problems(&pod)), names(key), "{}", key.key);
        }
        for key in file_fields() {
            let mut entry = json!({"secret": "pki/issue/web", "file": "web"});
            entry[key.key] = "none-of-them".into();
            let reported = problems(&json!({"podkey.dev/files": json!([entry]).to_string()}));
            assert_eq!(refused_words(&reported), names(key), "{}", key.key);
        }
        for key in job_policy_fields() {
            let policy = format!("{}: none-of-them", key.key);
            let reported =
                problems(&json!({"podkey.dev/files": "- {secret: a/b, file: c}", "podkey.dev/job-policy": policy}));
            assert_eq!(refused_words(&reported), names(key), "{}", key.key);
        }
    }

    #[test]
    fn each_meaning_is_one_paragraph_of_sentences() {
        let all = annotations()
            .chain(file_fields())
            .chain(job_policy_fields())
            .chain(config_keys());
        for key in all {
            assert!(
                key.meaning.ends_with('.') && !key.meaning.contains("  "),
                "{}: {}",
                key.key,
                key.meaning
            );
            assert!(!key.default.is_empty() && !key.default.ends_with('.'), "{}", key.key);
            assert!(
                key.details.is_empty() || key.details.ends_with('.') && !key.details.contains("  "),
                "{}: {}",
                key.key,
                key.details
            );
        }
    }

    #[test]
    fn each_key_says_what_its_value_is_or_has_words() {
        let all = annotations()
            .chain(file_fields())
            .chain(job_policy_fields())
            .chain(config_keys());
        for key in all.filter(|key| key.scope != Scope::Information) {
            assert_eq!(
                key.value.is_empty(),
                !words(key).is_empty(),
                "{}: {:?}",
                key.key,
                key.value
            );
        }
    }
}
