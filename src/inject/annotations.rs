//! What the pod's author asks for: the only file that knows the annotations' keys.

use std::str::FromStr;

use super::files::{self, FileRequest};
use super::pod::{Annotations, PREFIX};
use super::problem::{Problems, did_you_mean, quoted, unquoted};
use crate::plan::{ApiPath, Invalid, Role};

/// The annotation that the webhook writes. Information only: nothing is decided by it.
pub const INJECTED: &str = "podkey.dev/injected";

/// The author's wishes, parsed, with nothing filled in.
#[derive(Debug, Default)]
pub(super) struct InjectionRequest {
    pub(super) connection: Option<String>,
    pub(super) role: Option<Role>,
    pub(super) auth_mount: Option<ApiPath>,
    pub(super) files: Vec<FileRequest>,
    /// None: the default for the kind of pod.
    pub(super) containers: Option<Vec<String>>,
    pub(super) ignore_not_found: bool,
}

/// Every key of ours.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Key {
    Connection,
    Role,
    AuthMount,
    Files,
    Env,
    Containers,
    Refresh,
    OnFailure,
    JobHooks,
    IgnoreNotFound,
    Injected,
}

const KEYS: [(&str, Key); 11] = [
    ("connection", Key::Connection),
    ("role", Key::Role),
    ("auth-mount", Key::AuthMount),
    ("files", Key::Files),
    ("env", Key::Env),
    ("containers", Key::Containers),
    ("refresh", Key::Refresh),
    ("on-failure", Key::OnFailure),
    ("job-hooks", Key::JobHooks),
    ("ignore-not-found", Key::IgnoreNotFound),
    ("injected", Key::Injected),
];

/// What to say of a wish that a later release will fulfil: the pod is denied rather than started without it.
const NOT_SUPPORTED_YET: &str = "is not supported yet";

/// Whether the author asked for anything at all.
pub(super) fn asks(annotations: &Annotations<'_>) -> bool {
    annotations.ours.iter().any(|(key, _)| key != "injected")
}

/// Parses every annotation of ours and collects what is wrong with any of them.
pub(super) fn parse(annotations: &Annotations<'_>, problems: &mut Problems) -> InjectionRequest {
    let mut request = InjectionRequest::default();
    let mut delivers = false;
    for (name, value) in &annotations.ours {
        let name = name.as_ref();
        let Some((_, key)) = KEYS.iter().find(|(known, _)| *known == name) else {
            let hint = did_you_mean(name, KEYS.map(|(known, _)| known));
            problems.push(
                format!("{PREFIX}{}", unquoted(name)),
                format!("is no annotation of podkey{hint}"),
            );
            continue;
        };
        let full = format!("{PREFIX}{name}");
        delivers |= matches!(key, Key::Files | Key::Env);
        let Some(value) = value else {
            problems.push(full, "is no text: put the value in quotes");
            continue;
        };
        match key {
            // The value is one line's worth; a block scalar's final newline is not part of it.
            Key::Connection => request.connection = Some(value.trim().to_owned()),
            Key::Role => request.role = checked(&full, value, problems),
            Key::AuthMount => request.auth_mount = checked(&full, value, problems),
            Key::Files => request.files = files::parse(&full, value, problems),
            Key::Env => problems.push(full, NOT_SUPPORTED_YET),
            Key::Containers => request.containers = containers(&full, value, problems),
            Key::Refresh => match value.trim() {
                "never" => {}
                text => match humantime::parse_duration(text) {
                    Ok(_) => problems.push(full, format!("{} {NOT_SUPPORTED_YET}, only \"never\" is", quoted(text))),
                    Err(_) => problems.push(
                        full,
                        format!("{} is neither \"never\" nor a duration such as 30s or 5m", quoted(text)),
                    ),
                },
            },
            Key::OnFailure => match value.trim() {
                "fail-pod" => {}
                "fail-job" => problems.push(full, format!("\"fail-job\" {NOT_SUPPORTED_YET}, only \"fail-pod\" is")),
                other => problems.push(full, one_of(other, &["fail-pod", "fail-job"])),
            },
            Key::JobHooks => {
                if boolean(&full, value, problems) == Some(true) {
                    problems.push(full, format!("\"true\" {NOT_SUPPORTED_YET}, only \"false\" is"));
                }
            }
            Key::IgnoreNotFound => request.ignore_not_found = boolean(&full, value, problems).unwrap_or(false),
            Key::Injected => {}
        }
    }
    if !delivers {
        // Named after the misspelt key where there is one: its problem is already in the list.
        problems.push(
            format!("{PREFIX}files"),
            "is missing: the pod has other annotations of podkey, but asks for no secret",
        );
    }
    request
}

fn checked<T: FromStr<Err = Invalid>>(key: &str, value: &str, problems: &mut Problems) -> Option<T> {
    let value = value.trim();
    value
        .parse()
        .map_err(|why| problems.push(key, format!("{} {why}", quoted(value))))
        .ok()
}

/// That a value is none of the fixed ones, with the nearest of them.
pub(super) fn one_of(written: &str, allowed: &[&str]) -> String {
    format!(
        "{} is none of {}{}",
        quoted(written),
        allowed.join(", "),
        did_you_mean(written, allowed.iter().copied())
    )
}

fn boolean(key: &str, value: &str, problems: &mut Problems) -> Option<bool> {
    match value.trim() {
        "true" => Some(true),
        "false" => Some(false),
        other => {
            problems.push(key, one_of(other, &["true", "false"]));
            None
        }
    }
}

fn containers(key: &str, value: &str, problems: &mut Problems) -> Option<Vec<String>> {
    let mut names: Vec<String> = Vec::new();
    for name in value.split(',').map(str::trim) {
        if name.is_empty() {
            problems.push(key, "has an empty name: write container names with commas between them");
        } else if !names.iter().any(|other| other == name) {
            names.push(name.to_owned());
        }
    }
    Some(names)
}
