//! The rules between the parts of a plan, in words for the author of the pod: where the mistake is, what is wrong, what to write.
//! The rules themselves are in [`crate::plan::rules`]; the agent refuses a plan that breaks one.

use crate::inject::problem::{Problems, quoted};
use crate::inject::request::files::file::FileRequest;
use crate::inject::words::keys::{CONNECTION, ENV, EXPORT, FILES, JOB_ENV, JOB_HOOKS, ON_CHANGE, REFRESH, ROLE};
use crate::plan::rules::{MAX_KUBELET_NAME, Rule, Subject, Violation};
use crate::plan::{ApiPath, ENV_DIR, MAX_FILES, MAX_ON_CHANGE, MAX_TEMPLATE_REQUESTS, OnChange, SECRETS_DIR};

/// What an author writes that rules are about. The positions in violations are positions in these lists.
#[derive(Clone, Copy, Default)]
pub(crate) struct Authored<'r> {
    pub(crate) files: &'r [FileRequest],
    pub(crate) on_change: &'r [OnChange],
}

/// Reports broken rules.
pub(crate) fn report(violations: impl Iterator<Item = Violation>, authored: Authored<'_>, problems: &mut Problems) {
    for violation in violations {
        problems.push_with(|| authored.words(violation));
    }
}

impl Authored<'_> {
    /// The key, and the rest of a sentence that begins with the key.
    fn words(self, violation: Violation) -> (String, String) {
        if let Subject::File(position) = violation.subject
            && let Some(file) = self.files.get(position)
            && let Some((field, message)) = of_file(violation.rule, file, self.files)
        {
            return (file.place_of(field), message);
        }
        if let Subject::Request { file, number } = violation.subject
            && let Some(file) = self.files.get(file)
            && let Some(request) = file.requests().nth(number)
            && let Some((field, message)) = of_request(violation.rule, request.secret, file.how_data_is_written())
        {
            return (file.place_of(file.field(field)), message);
        }
        (annotation(violation.subject).to_owned(), of_pod(violation, self))
    }
}

/// The annotation that a violation is about.
fn annotation(subject: Subject) -> &'static str {
    match subject {
        Subject::Plan | Subject::File(_) | Subject::Request { .. } | Subject::Templates | Subject::Copy(_) => FILES,
        Subject::Connection => CONNECTION,
        Subject::Login => ROLE,
        Subject::Env | Subject::EnvEntry(_) | Subject::Exec | Subject::KubeletEnv => ENV,
        Subject::JobEnv | Subject::JobEnvEntry(_) | Subject::JobLogin => JOB_ENV,
        Subject::Export => EXPORT,
        Subject::Refresh => REFRESH,
        Subject::OnChange | Subject::Action(_) => ON_CHANGE,
    }
}

/// Why a field cannot be in an entry that makes several files.
pub(crate) const EACH_FIELD: &str =
    "cannot be where `file` has {{ .SecretKey }}, which makes a file of each field: remove one of the two";

/// The field that has to change because of a request for this path, and the rest of a sentence that begins with the field. `data` is
/// what the author wrote that makes the request a write. None: the rule is not about a request.
fn of_request(rule: Rule, path: &ApiPath, data: &str) -> Option<(&'static str, String)> {
    let secret = quoted(path.as_str());
    Some(match rule {
        Rule::SecretHoldsTokens => ("secret", format!("{secret} is about tokens, not a secret")),
        Rule::DataForJob => (
            "data",
            format!("{secret} would be written by each job, and only init writes: remove {data}, or `as: job`"),
        ),
        Rule::DataForServer => (
            "data",
            format!(
                "{secret} belongs to the server itself, and podkey writes to secrets engines only, not to auth, cubbyhole, \
                 identity or sys: remove {data}"
            ),
        ),
        Rule::DataChangesEngine => ("data", changes_engine(path, data)),
        Rule::DataWithVersion => (
            "version",
            "is for a secret that is read, and `data` makes the request a write: remove one of the two".to_owned(),
        ),
        _ => return None,
    })
}

/// The field of a file's entry that has to change, and the rest of a sentence that begins with the field.
/// None: the rule is about the pod as a whole.
fn of_file(rule: Rule, file: &FileRequest, all: &[FileRequest]) -> Option<(&'static str, String)> {
    let name = quoted(&file.shown());
    Some(match rule {
        Rule::EachFieldWithKey => ("key", EACH_FIELD.to_owned()),
        Rule::EachFieldWithKeys => ("keys", EACH_FIELD.to_owned()),
        Rule::EachFieldWithTemplate => ("template", EACH_FIELD.to_owned()),
        Rule::EachFieldWithFormat => ("format", EACH_FIELD.to_owned()),
        Rule::EachFieldForJob => ("as", EACH_FIELD.to_owned()),
        Rule::RawNeedsKey => (
            "format",
            "\"raw\" needs a key: several fields are json, yaml, dotenv, shell or properties".to_owned(),
        ),
        Rule::NotAVariable { key } => (
            "keys",
            format!(
                "has the name {}, which is no name of a variable ([A-Za-z_][A-Za-z0-9_]*): write NAME: FIELD, or another format",
                quoted(file.key_name(key))
            ),
        ),
        Rule::DecodeNeedsKey => ("decode", "needs a key: only one field can be decoded".to_owned()),
        Rule::SameDestination { other } => ("file", conflict(&name, "the destination of", all.get(other))),
        Rule::OverlappingDestination { other } => ("file", conflict(&name, "in conflict with", all.get(other))),
        Rule::InVariablesDirectory => (
            "file",
            format!(
                "{name} is in {}, where podkey puts the values of variables: choose another place",
                quoted(&format!("{SECRETS_DIR}/{ENV_DIR}"))
            ),
        ),
        Rule::WhenGoneNeedsRefresh => ("when-gone", needs_refresh()),
        Rule::JobFileWithRefresh => (
            "as",
            format!(
                "cannot be \"job\" with {REFRESH}, which lets only podkey-sidecar write: use {JOB_ENV}, or write \"never\" there"
            ),
        ),
        Rule::MountWithRefresh => ("file", mount_with_refresh(file)),
        Rule::ReservedWithRefresh => (
            "file",
            format!(
                "{name} is where podkey keeps the files' versions and .status.json with {REFRESH}: choose another name"
            ),
        ),
        _ => return None,
    })
}

/// The rest of a sentence that begins with the annotation.
fn of_pod(Violation { subject, rule }: Violation, authored: Authored<'_>) -> String {
    match rule {
        Rule::OnChangeNeedsRefresh => needs_refresh(),
        Rule::NothingToRefresh => {
            "has nothing to keep fresh, because the job reads every secret, once: write \"never\"".to_owned()
        }
        Rule::PolicyWithRefresh => {
            "cannot be together with a job policy, because podkey-sidecar would write again what the policy refused: write \
             \"never\""
                .to_owned()
        }
        Rule::VariableFilesWithRefresh => format!(
            "cannot be \"false\" for {JOB_ENV} with {REFRESH}, which lets only podkey-sidecar write files: remove it, or write \
             \"never\" there"
        ),
        Rule::TooManyActions(count) => format!("has {count} lines, allowed are {MAX_ON_CHANGE}"),
        Rule::RestartNotAlone => {
            "has \"restart\" beside other actions, and a restart ends the programs that they inform: write \"restart\" alone".to_owned()
        }
        Rule::RestartWithHooks => format!(
            "\"restart\" would end the runner's job: remove it, because each job gets the new values, or write {JOB_HOOKS}: \"false\""
        ),
        Rule::TouchedIsReplaced => {
            let action = match subject {
                Subject::Action(position) => authored.on_change.get(position).map(ToString::to_string),
                _ => None,
            };
            format!(
                "{} is where podkey replaces files: touch another name, or something in a directory of its own",
                quoted(&action.unwrap_or_default())
            )
        }
        Rule::TouchedNowhere => {
            let action = match subject {
                Subject::Action(position) => authored.on_change.get(position).map(ToString::to_string),
                _ => None,
            };
            format!(
                "{} is in a directory where podkey puts no file: touch a file beside a secret",
                quoted(&action.unwrap_or_default())
            )
        }
        Rule::TooManyFiles(count) => format!("has {count} files, allowed are {MAX_FILES}"),
        Rule::TooManyRequests(count) => {
            format!("has templates that name {count} secrets, allowed are {MAX_TEMPLATE_REQUESTS} in one pod")
        }
        Rule::NamesUnknownToKubelet => format!(
            "has * in {}, but the kubelet needs the names of variables before the pod starts: write each field and its name",
            entry(subject)
        ),
        Rule::NameNotForKubelet => format!(
            "has a name in {} that the kubelet cannot read from a file: write at most {MAX_KUBELET_NAME} ASCII characters, the first \
             of them not #",
            entry(subject)
        ),
        // `of_file` has the words for the rules about a file. The other rules are checked where the config and the annotations are
        // parsed, or they are about what podkey itself adds.
        Rule::TooManyVariables(_)
        | Rule::DirectoryWithHooks
        | Rule::TokenFilePlace
        | Rule::NeedsInit
        | Rule::NothingToDeliver
        | Rule::NothingToStart
        | Rule::NothingForKubelet
        | Rule::CopyOfNoFile
        | Rule::InitNeedsLogin
        | Rule::JobNeedsLogin
        | Rule::InsecureHttp
        | Rule::SecretHoldsTokens
        | Rule::DataForJob
        | Rule::DataForServer
        | Rule::DataChangesEngine
        | Rule::DataWithVersion
        | Rule::EachFieldWithKey
        | Rule::EachFieldWithKeys
        | Rule::EachFieldWithTemplate
        | Rule::EachFieldWithFormat
        | Rule::EachFieldForJob
        | Rule::RawNeedsKey
        | Rule::DecodeNeedsKey
        | Rule::NotAVariable { .. }
        | Rule::SameDestination { .. }
        | Rule::OverlappingDestination { .. }
        | Rule::InVariablesDirectory
        | Rule::WhenGoneNeedsRefresh
        | Rule::JobFileWithRefresh
        | Rule::MountWithRefresh
        | Rule::ReservedWithRefresh => format!("cannot be delivered: {rule}"),
    }
}

/// The entry of `podkey.dev/env`, counted from 1 as in its other messages.
fn entry(subject: Subject) -> String {
    match subject {
        Subject::EnvEntry(index) => format!("entry {}", index + 1),
        _ => "an entry".to_owned(),
    }
}

fn needs_refresh() -> String {
    format!("needs {REFRESH}, for example \"30s\", because without it the files never change: add it, or remove this")
}

fn changes_engine(path: &ApiPath, data: &str) -> String {
    format!(
        "{} cannot be written: a write to {} changes what the engine stores. podkey writes to endpoints that answer with a secret, \
         such as pki/issue/NAME, ssh/sign/NAME, transit/decrypt/NAME; to read a secret, remove {data}",
        quoted(path.as_str()),
        quoted(path.changes_its_engine().unwrap_or_default())
    )
}

fn conflict(name: &str, relation: &str, other: Option<&FileRequest>) -> String {
    let other = other.map(|other| format!("{} ({})", other.place(), quoted(&other.shown())));
    format!("{name} is {relation} {}", other.unwrap_or_default())
}

fn mount_with_refresh(file: &FileRequest) -> String {
    let path = file.file.path();
    let relative = path.rsplit('/').next().unwrap_or_default();
    format!(
        "{} is mounted on its own, which {REFRESH} cannot replace: write {}, which the containers see at {}, and let `env` name \
         it to the program",
        quoted(&file.file.to_string()),
        quoted(relative),
        quoted(&format!("{SECRETS_DIR}/{relative}")),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inject::pod::Pod;
    use crate::inject::request::{InjectionRequest, annotations};

    fn request() -> InjectionRequest {
        let pod = r#"{"metadata": {"annotations": {
            "podkey.dev/files": "- {secret: kv/data/web, key: k, file: a}\n- {secret: kv/data/web, key: k, file: /tmp/b}",
            "podkey.dev/on-change": "touch:reload"
        }}, "spec": {"containers": []}}"#;
        let pod = Pod::parse(pod).unwrap();
        let mut problems = Problems::default();
        let request = annotations::parse(pod.metadata.annotations.as_ref().unwrap(), &mut problems);
        assert!(problems.is_empty(), "{problems}");
        request
    }

    #[test]
    fn each_rule_that_an_author_can_break_has_words_that_begin_with_the_place() {
        let request = request();
        let authored = Authored {
            files: &request.files,
            on_change: &request.on_change,
        };
        let file = Subject::File(1);
        let secret = Subject::Request { file: 1, number: 0 };
        for (subject, rule, expected) in [
            (
                secret,
                Rule::SecretHoldsTokens,
                "files[1].secret: \"kv/data/web\" is about tokens",
            ),
            (
                secret,
                Rule::DataForJob,
                "files[1].data: \"kv/data/web\" would be written by each job",
            ),
            (
                secret,
                Rule::DataForServer,
                "files[1].data: \"kv/data/web\" belongs to the server itself",
            ),
            (
                secret,
                Rule::DataChangesEngine,
                "files[1].data: \"kv/data/web\" cannot be written: a write to \"data\"",
            ),
            (
                secret,
                Rule::DataWithVersion,
                "files[1].version: is for a secret that is read",
            ),
            (file, Rule::EachFieldWithKey, "files[1].key: cannot be where `file` has"),
            (
                file,
                Rule::EachFieldWithFormat,
                "files[1].format: cannot be where `file` has",
            ),
            (file, Rule::EachFieldForJob, "files[1].as: cannot be where `file` has"),
            (
                file,
                Rule::EachFieldWithKeys,
                "files[1].keys: cannot be where `file` has",
            ),
            (
                file,
                Rule::EachFieldWithTemplate,
                "files[1].template: cannot be where `file` has",
            ),
            (
                file,
                Rule::NotAVariable { key: 0 },
                "files[1].keys: has the name \"\", which",
            ),
            (
                Subject::Templates,
                Rule::TooManyRequests(257),
                "files: has templates that name 257 secrets",
            ),
            (file, Rule::RawNeedsKey, "files[1].format: \"raw\" needs a key"),
            (file, Rule::DecodeNeedsKey, "files[1].decode: needs a key"),
            (
                file,
                Rule::SameDestination { other: 0 },
                "files[1].file: \"/tmp/b\" is the destination of podkey.dev/files[0] (\"a\")",
            ),
            (
                file,
                Rule::OverlappingDestination { other: 0 },
                "files[1].file: \"/tmp/b\" is in conflict with podkey.dev/files[0]",
            ),
            (
                file,
                Rule::InVariablesDirectory,
                "files[1].file: \"/tmp/b\" is in \"/podkey/secrets/env\"",
            ),
            (
                file,
                Rule::WhenGoneNeedsRefresh,
                "files[1].when-gone: needs podkey.dev/refresh",
            ),
            (
                file,
                Rule::JobFileWithRefresh,
                "files[1].as: cannot be \"job\" with podkey.dev/refresh",
            ),
            (
                file,
                Rule::MountWithRefresh,
                "files[1].file: \"/tmp/b\" is mounted on its own",
            ),
            (
                file,
                Rule::ReservedWithRefresh,
                "files[1].file: \"/tmp/b\" is where podkey keeps",
            ),
            (
                Subject::OnChange,
                Rule::OnChangeNeedsRefresh,
                "on-change: needs podkey.dev/refresh",
            ),
            (Subject::OnChange, Rule::TooManyActions(9), "on-change: has 9 lines"),
            (
                Subject::OnChange,
                Rule::RestartNotAlone,
                "on-change: has \"restart\" beside other actions",
            ),
            (
                Subject::OnChange,
                Rule::RestartWithHooks,
                "on-change: \"restart\" would end the runner's job",
            ),
            (
                Subject::Action(0),
                Rule::TouchedIsReplaced,
                "on-change: \"touch:reload\" is where podkey replaces files",
            ),
            (
                Subject::Refresh,
                Rule::NothingToRefresh,
                "refresh: has nothing to keep fresh",
            ),
            (
                Subject::Refresh,
                Rule::PolicyWithRefresh,
                "refresh: cannot be together with a job policy",
            ),
            (
                Subject::Export,
                Rule::VariableFilesWithRefresh,
                "export: cannot be \"false\" for podkey.dev/job-env",
            ),
            (Subject::Plan, Rule::TooManyFiles(65), "files: has 65 files"),
            (
                Subject::EnvEntry(1),
                Rule::NamesUnknownToKubelet,
                "env: has * in entry 2, but the kubelet needs",
            ),
            (
                Subject::EnvEntry(0),
                Rule::NameNotForKubelet,
                "env: has a name in entry 1 that the kubelet",
            ),
        ] {
            let mut problems = Problems::default();
            report([Violation { subject, rule }].into_iter(), authored, &mut problems);
            let reported = problems.to_string();
            assert!(
                reported.starts_with(&format!("podkey.dev/{expected}")),
                "{rule:?}: {reported}"
            );
        }
    }
}
