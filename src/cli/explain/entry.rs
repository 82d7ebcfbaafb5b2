//! Every name that `podkey explain` knows, as one list made from the tables.

use std::borrow::Cow;

use serde::{Serialize, Serializer};

use super::example;
use crate::inject::PREFIX;
use crate::inject::vocabulary::{self, DocumentedKey, Scope, Suffix, Treatment, VaultK8sKey};
use crate::plan::{ExitCode, FileState, STATUS_EXAMPLE, STATUS_FIELDS, STATUS_OF_FILE_FIELDS};
use crate::text::reserved;

/// What kind of name an entry explains, in the order of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Annotation,
    FileField,
    JobPolicyField,
    ConfigKey,
    VaultK8s,
    ExitCode,
    StatusField,
    Variables,
}

impl Kind {
    /// In the order of the list.
    pub(super) const ALL: [Self; 8] = [
        Self::Annotation,
        Self::FileField,
        Self::JobPolicyField,
        Self::ConfigKey,
        Self::VaultK8s,
        Self::ExitCode,
        Self::StatusField,
        Self::Variables,
    ];

    /// What an entry of this kind is.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Annotation => "annotation of a pod",
            Self::FileField => "field of an entry of podkey.dev/files",
            Self::JobPolicyField => "field of podkey.dev/job-policy, and of a connection's job.policy",
            Self::ConfigKey => "key of the operator's config",
            Self::VaultK8s => "annotation of vault-k8s, where the operator's config has vaultK8s",
            Self::ExitCode => "exit code of podkey-agent",
            Self::StatusField => "field of /podkey/secrets/.status.json",
            Self::Variables => "names of variables",
        }
    }
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.words())
    }
}

/// A word or a field, with its meaning.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Part {
    pub(super) name: String,
    pub(super) meaning: Cow<'static, str>,
}

/// Everything about one name.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Entry {
    pub(super) name: String,
    /// Every way to write the name, in lower case and without `[]`.
    #[serde(skip)]
    pub(super) spellings: Vec<String>,
    pub(super) kind: Kind,
    /// In which pods the name has an effect.
    #[serde(rename = "for", skip_serializing_if = "Option::is_none")]
    pub(super) pods: Option<&'static str>,
    pub(super) meaning: &'static str,
    /// Limits, and what must be there beside the name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) details: Option<&'static str>,
    /// What the value is. None: one of the words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) value: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) default: Option<&'static str>,
    /// What podkey does with an annotation of vault-k8s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) treatment: Option<&'static str>,
    /// What to look at after an exit code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) check: Option<&'static str>,
    /// The words that the value can be. Empty: other values, too.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) words: Vec<Part>,
    /// What stands below this name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) fields: Vec<Part>,
    /// A whole manifest or config, or the commands that show more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) example: Option<String>,
}

impl Entry {
    fn new(kind: Kind, name: String, spellings: Vec<String>, meaning: &'static str) -> Self {
        Self {
            name,
            spellings: spellings
                .into_iter()
                .map(|spelling| spelling.replace("[]", "").to_lowercase())
                .collect(),
            kind,
            pods: None,
            meaning,
            details: None,
            value: None,
            default: None,
            treatment: None,
            check: None,
            words: Vec::new(),
            fields: Vec::new(),
            example: None,
        }
    }

    fn documented(kind: Kind, name: String, spellings: Vec<String>, key: &DocumentedKey) -> Self {
        Self {
            pods: Some(match key.scope {
                Scope::AllPods => "every pod that podkey injects",
                Scope::JobHooks => "runner pods whose job hooks are on",
                Scope::Refresh => "pods with podkey.dev/refresh",
                Scope::Information => "nobody: podkey writes this annotation, for people to read",
            }),
            details: Some(key.details).filter(|text| !text.is_empty()),
            value: Some(key.value).filter(|text| !text.is_empty()),
            default: Some(key.default),
            words: parts(vocabulary::words(key)),
            ..Self::new(kind, name, spellings, key.meaning)
        }
    }

    /// The name as people write it on a command line: without podkey's prefix.
    pub(super) fn short_name(&self) -> String {
        match self.kind {
            Kind::ExitCode => self.spellings.first().cloned().unwrap_or_default(),
            _ => self.name.strip_prefix(PREFIX).unwrap_or(&self.name).to_owned(),
        }
    }
}

/// All names, kind by kind.
pub(super) fn all() -> Vec<Entry> {
    let annotations = vocabulary::annotations().map(annotation);
    let files = vocabulary::file_fields().map(file_field);
    let policies = vocabulary::job_policy_fields().map(job_policy_field);
    let config = vocabulary::config_keys().map(config_key);
    let vault_k8s = vocabulary::vault_k8s_keys().map(vault_k8s_key);
    let codes = ExitCode::ALL.into_iter().map(exit_code);
    let status = STATUS_FIELDS.iter().map(|field| status_field("", field));
    let of_file = STATUS_OF_FILE_FIELDS
        .iter()
        .map(|field| status_field("files.NAME.", field));
    annotations
        .chain(files)
        .chain(policies)
        .chain(config)
        .chain(vault_k8s)
        .chain(codes)
        .chain(status)
        .chain(of_file)
        .chain([reserved_variables(), wildcard_variables()])
        .collect()
}

fn annotation(key: &'static DocumentedKey) -> Entry {
    let bare = key.key.strip_prefix(PREFIX).unwrap_or(key.key);
    let fields = match bare {
        "files" => named(vocabulary::file_fields()),
        "job-policy" => named(vocabulary::job_policy_fields()),
        _ => Vec::new(),
    };
    Entry {
        fields,
        example: example::annotation(key),
        ..Entry::documented(
            Kind::Annotation,
            key.key.to_owned(),
            vec![key.key.to_owned(), bare.to_owned()],
            key,
        )
    }
}

fn file_field(key: &'static DocumentedKey) -> Entry {
    let name = format!("files.{}", key.key);
    let spellings = vec![name.clone(), format!("{PREFIX}{name}"), key.key.to_owned()];
    Entry {
        example: example::file_field(key),
        ..Entry::documented(Kind::FileField, name, spellings, key)
    }
}

fn job_policy_field(key: &'static DocumentedKey) -> Entry {
    let name = format!("job-policy.{}", key.key);
    let mut spellings = vec![name.clone(), format!("{PREFIX}{name}")];
    spellings.extend(suffixes(&format!("{POLICY}.{}", key.key)));
    Entry {
        example: example::job_policy_field(key),
        ..Entry::documented(Kind::JobPolicyField, name, spellings, key)
    }
}

/// The key of the config whose fields are those of a job policy.
const POLICY: &str = "connections.NAME.job.policy";
/// The key of the config whose fields have names that the operator chooses.
const CONNECTIONS: &str = "connections";

fn config_key(key: &'static DocumentedKey) -> Entry {
    let mut spellings = suffixes(key.key);
    let below = match key.key {
        CONNECTIONS => {
            spellings.push("connections.name".to_owned());
            "connections.NAME.".to_owned()
        }
        other => format!("{other}."),
    };
    let fields = match key.key {
        POLICY => named(vocabulary::job_policy_fields()),
        _ => vocabulary::config_keys()
            .filter_map(|other| {
                let name = other
                    .key
                    .strip_prefix(&below)
                    .or_else(|| other.key.strip_prefix(key.key)?.strip_prefix("[]."))?;
                (!name.contains('.')).then(|| Part {
                    name: name.to_owned(),
                    meaning: other.meaning.into(),
                })
            })
            .collect(),
    };
    Entry {
        fields,
        example: example::config_key(key),
        ..Entry::documented(Kind::ConfigKey, key.key.to_owned(), spellings, key)
    }
}

fn vault_k8s_key(key: &'static VaultK8sKey) -> Entry {
    let written = match key.suffix {
        Suffix::None => key.key.to_owned(),
        Suffix::OptionalName => format!("{}[-NAME]", key.key),
        Suffix::Name => format!("{}-NAME", key.key),
        Suffix::Parameter => format!("{}-PARAMETER", key.key),
    };
    let [hashicorp, openbao] = vocabulary::VAULT_K8S_PREFIXES;
    let mut spellings = Vec::new();
    for name in [key.key, written.as_str()] {
        spellings.extend([
            format!("{hashicorp}{name}"),
            format!("{openbao}{name}"),
            name.to_owned(),
        ]);
    }
    Entry {
        treatment: Some(match key.treatment {
            Treatment::Translated => "podkey does the same",
            Treatment::Limited => "podkey does the same within what the operator allows",
            Treatment::Ignored => "no effect; podkey warns where that makes a difference",
            Treatment::Refused => "podkey refuses the pod",
        }),
        example: example::vault_k8s(key),
        ..Entry::new(Kind::VaultK8s, format!("{hashicorp}{written}"), spellings, key.meaning)
    }
}

fn exit_code(code: ExitCode) -> Entry {
    let number = code.number().to_string();
    let spellings = vec![number.clone(), code.name().to_owned()];
    Entry {
        check: Some(code.remedy()),
        example: Some(example::exit_code(code)),
        ..Entry::new(
            Kind::ExitCode,
            format!("{number} ({})", code.name()),
            spellings,
            code.meaning(),
        )
    }
}

/// A field of the status; `above` is what stands before its name.
fn status_field(above: &str, field: &'static (&str, &str)) -> Entry {
    let (last, meaning) = field;
    let name = format!("status.{above}{last}");
    let mut spellings = vec![name.clone(), format!(".{name}"), format!("status.json.{above}{last}")];
    // Who writes `files` or `secret` alone means what a pod's author writes.
    let is_of_a_pod = vocabulary::annotations().any(|key| key.key.strip_prefix(PREFIX) == Some(*last))
        || vocabulary::file_fields().any(|key| key.key == *last);
    if !is_of_a_pod {
        spellings.push((*last).to_owned());
    }
    Entry {
        words: match *last {
            "state" => parts(FileState::MEANINGS),
            _ => Vec::new(),
        },
        example: Some(STATUS_EXAMPLE.to_owned()),
        ..Entry::new(Kind::StatusField, name, spellings, meaning)
    }
}

fn reserved_variables() -> Entry {
    let name = "reserved-variables".to_owned();
    let words = reserved().map(|(name, reason)| Part {
        name,
        meaning: reason.into(),
    });
    Entry {
        details: Some(
            "In a job, all variables `GITHUB_*` are refused, too, and `NODE_OPTIONS` in any case of its letters. Write `| OTHER_NAME` behind the key of the secret.",
        ),
        words: words.collect(),
        ..Entry::new(
            Kind::Variables,
            name.clone(),
            vec![name],
            "Variables that no annotation sets, because they are more than data: a program decides by them what it runs, loads or trusts.",
        )
    }
}

fn wildcard_variables() -> Entry {
    let name = "wildcard-variables".to_owned();
    Entry {
        details: Some(
            "A name that steers a program of a usual runner image is refused: `GIT_*`, `PIP_*`, `DOTNET_*`, `*FLAGS`, `*_OPTS`, `*PATH`, `*_PROXY`, `*_HOME`, `KUBECONFIG` and others. The \
             agent then exits with 65, lists all such names, and delivers nothing. Credentials pass (`DOCKER_PASSWORD`, `NODE_AUTH_TOKEN`, `AWS_SECRET_ACCESS_KEY`), and so does `TF_VAR_*`. \
             Write the fields one by one (`path field | NAME`), or give the wildcard a prefix that ends with `_`: `path * | APP_`. The same rules hold for a file of a whole secret \
             with the format `dotenv` or `shell`.",
        ),
        ..Entry::new(
            Kind::Variables,
            name.clone(),
            vec![name],
            "Which names of variables `*` takes from a secret: whoever writes the secret chooses them, so stricter rules hold than for names that an annotation spells.",
        )
    }
}

/// `a.b.c`, `b.c` and `c`.
fn suffixes(path: &str) -> Vec<String> {
    let dots = path.match_indices('.').map(|(at, _)| at + 1);
    std::iter::once(0)
        .chain(dots)
        .filter_map(|from| path.get(from..))
        .map(str::to_owned)
        .collect()
}

fn named(keys: impl Iterator<Item = &'static DocumentedKey>) -> Vec<Part> {
    keys.map(|key| Part {
        name: key.key.to_owned(),
        meaning: key.meaning.into(),
    })
    .collect()
}

fn parts(words: &'static [(&'static str, &'static str)]) -> Vec<Part> {
    words
        .iter()
        .map(|(word, meaning)| Part {
            name: (*word).to_owned(),
            meaning: (*meaning).into(),
        })
        .collect()
}
