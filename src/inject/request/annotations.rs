//! What the pod's author asks for, annotation by annotation.

use std::collections::BTreeSet;
use std::str::FromStr;

use crate::inject::check::refresh;
use crate::inject::pod::{Annotations, NotText};
use crate::inject::problem::{Problems, did_you_mean, one_of, quoted, unquoted};
use crate::inject::request::files;
use crate::inject::request::job_policy;
use crate::inject::request::keys::{
    AUTH_MOUNT, CONNECTION, CONTAINERS, ENV, EXPORT, FILES, IGNORE_NOT_FOUND, INJECTED, JOB_ENV, JOB_HOOKS, JOB_POLICY,
    JOB_TEMP, KEYS, MASK, ON_CHANGE, ON_FAILURE, PREFIX, REFRESH, ROLE,
};
use crate::inject::request::variables;
use crate::inject::request::{InjectionRequest, Requested};
use crate::plan::{Invalid, Mask, OnFailure, spelling};

/// The longest list of container names, in bytes.
const MAX_CONTAINERS_BYTES: usize = 4096;

/// The key without the prefix that all of them have.
fn bare(key: &str) -> &str {
    key.strip_prefix(PREFIX).unwrap_or(key)
}

/// Whether the author asked for anything at all.
pub(crate) fn asks(annotations: &Annotations<'_>) -> bool {
    annotations.ours.iter().any(|(key, _)| key != bare(INJECTED))
}

/// Whether the pod says that this very version injected it.
pub(crate) fn says_injected(annotations: &Annotations<'_>) -> bool {
    let mut ours = annotations.ours.iter();
    ours.any(|(key, value)| key == bare(INJECTED) && value.as_deref() == Ok(crate::VERSION))
}

/// Parses every annotation of ours and collects what is wrong with any of them.
pub(crate) fn parse(annotations: &Annotations<'_>, problems: &mut Problems) -> InjectionRequest {
    let mut request = InjectionRequest::default();
    let mut delivers = false;
    if annotations.too_many {
        problems.push(PREFIX, format!("has more than {} annotations", annotations.ours.len()));
    }
    for (name, value) in &annotations.ours {
        let name = name.as_ref();
        let Some(key) = KEYS.iter().copied().find(|key| bare(key) == name) else {
            let hint = did_you_mean(name, KEYS.map(bare));
            problems.push(
                format!("{PREFIX}{}", unquoted(name)),
                format!("is no annotation of podkey{hint}"),
            );
            continue;
        };
        delivers |= matches!(key, FILES | ENV | JOB_ENV);
        let value = match value {
            Ok(value) => value,
            Err(shape) => {
                problems.push(key, no_text(key, *shape));
                match key {
                    ROLE => request.role = Requested::Invalid,
                    EXPORT => request.export = Requested::Invalid,
                    JOB_HOOKS => request.job_hooks = Requested::Invalid,
                    REFRESH => request.refresh = Requested::Invalid,
                    _ => {}
                }
                continue;
            }
        };
        // A value is one line's worth; a block scalar's final newline is not part of it.
        let word = value.trim();
        match key {
            CONNECTION => request.connection = Some(word.to_owned()),
            ROLE => request.role = checked(key, word, spelling::of_role, problems).into(),
            AUTH_MOUNT => request.auth_mount = checked(key, word, spelling::of_mount, problems),
            FILES => request.files = files::parse(value, problems),
            ENV => request.env = variables::parse(value, problems),
            JOB_ENV => request.job_env = variables::parse_for_job(value, problems),
            EXPORT => request.export = boolean(key, word, problems).into(),
            MASK => request.mask = one(key, word, Mask::NAMES, problems),
            JOB_POLICY => request.job_policy = job_policy::parse(value, problems),
            JOB_TEMP => request.job_temp = boolean(key, word, problems).unwrap_or(false),
            JOB_HOOKS => request.job_hooks = boolean(key, word, problems).into(),
            ON_FAILURE => request.on_failure = one(key, word, OnFailure::NAMES, problems),
            CONTAINERS => request.containers = containers(key, value, problems),
            REFRESH if word == "never" => {}
            REFRESH => request.refresh = refresh::parse(word, problems).into(),
            ON_CHANGE => request.on_change = refresh::parse_actions(value, problems),
            IGNORE_NOT_FOUND => request.ignore_not_found = boolean(key, word, problems).unwrap_or(false),
            _ => {}
        }
    }
    if !delivers {
        // Named after the misspelt key where there is one: its problem is already in the list.
        problems.push(
            FILES,
            "is missing: the pod has other annotations of podkey, but asks for no secret",
        );
    }
    request
}

/// Why an annotation's value is no text, and how to write what was meant.
fn no_text(key: &str, shape: NotText) -> String {
    let block = format!("write | after the key, as in `{key}: |`, and the value in the lines below, further in");
    let what = match shape {
        NotText::List => "is a YAML list, and an annotation's value is one text",
        NotText::Map => "is a set of YAML fields, and an annotation's value is one text",
        NotText::Null => "has no value",
        NotText::Scalar => "is no text: put the value in quotes",
    };
    match (shape, key) {
        (NotText::Scalar, _) => what.to_owned(),
        (_, FILES | ENV | JOB_ENV | JOB_POLICY | ON_CHANGE) => format!("{what}: {block}"),
        (NotText::List, CONTAINERS) => format!("{what}: write the names with commas between them, in quotes"),
        (NotText::Null, _) => format!("{what}: write one, or remove the key"),
        (NotText::List | NotText::Map, _) => format!("{what}: write one word, in quotes where it has braces"),
    }
}

/// A word that another program would have taken in another spelling.
fn checked<T: FromStr<Err = Invalid>>(
    key: &str,
    word: &str,
    wrong: fn(&str) -> Option<String>,
    problems: &mut Problems,
) -> Option<T> {
    spelling::parse(word, wrong)
        .map_err(|why| problems.push(key, format!("{} {why}", quoted(word))))
        .ok()
}

/// One of fixed words.
fn one<T: FromStr>(key: &str, word: &str, words: &[&str], problems: &mut Problems) -> Option<T> {
    word.parse().map_err(|_| problems.push(key, one_of(word, words))).ok()
}

fn boolean(key: &str, value: &str, problems: &mut Problems) -> Option<bool> {
    match value {
        "true" => Some(true),
        "false" => Some(false),
        other => {
            problems.push(key, one_of(other, &["true", "false"]));
            None
        }
    }
}

fn containers(key: &str, value: &str, problems: &mut Problems) -> Option<Vec<String>> {
    if value.len() > MAX_CONTAINERS_BYTES {
        problems.push(key, format!("is longer than {MAX_CONTAINERS_BYTES} bytes"));
        return Some(Vec::new());
    }
    let mut seen = BTreeSet::new();
    let mut names = Vec::new();
    for name in value.split(',').map(str::trim) {
        if name.is_empty() {
            problems.push(key, "has an empty name: write container names with commas between them");
        } else if seen.insert(name) {
            names.push(name.to_owned());
        }
    }
    Some(names)
}
