//! The annotation `podkey.dev/files`: a YAML list, each entry a secret and where it goes.

use std::num::NonZeroU64;

use super::annotations::one_of;
use super::problem::{Problems, did_you_mean, quoted, unquoted};
use super::yaml::{self, Node};
use crate::plan::{ApiPath, Decode, Destination, Format, Invalid, MAX_FILES, Mode};

/// One entry, parsed, with nothing filled in that depends on the pod.
#[derive(Debug)]
pub(super) struct FileRequest {
    /// `podkey.dev/files[0]`, for messages.
    pub(super) place: String,
    pub(super) secret: ApiPath,
    pub(super) version: Option<NonZeroU64>,
    pub(super) key: Option<String>,
    pub(super) decode: Decode,
    pub(super) format: Format,
    pub(super) file: Destination,
    /// None: by who reads it.
    pub(super) mode: Option<Mode>,
    pub(super) env: Option<String>,
}

const FIELDS: [&str; 9] = [
    "secret", "key", "decode", "format", "file", "mode", "env", "version", "data",
];

/// Parses the annotation's value. Entries with a problem are left out of the result.
pub(super) fn parse(annotation: &str, text: &str, problems: &mut Problems) -> Vec<FileRequest> {
    let entries = match yaml::parse(text) {
        Ok(Node::List(entries)) if !entries.is_empty() => entries,
        Ok(_) => {
            problems.push(annotation, "is no list of files: begin each with \"- secret: …\"");
            return Vec::new();
        }
        Err(why) => {
            problems.push(annotation, why);
            return Vec::new();
        }
    };
    if entries.len() > MAX_FILES {
        problems.push(
            annotation,
            format!("has {} files, allowed are {MAX_FILES}", entries.len()),
        );
        return Vec::new();
    }
    let mut files: Vec<FileRequest> = Vec::with_capacity(entries.len());
    for (index, node) in entries.into_iter().enumerate() {
        let place = format!("{annotation}[{index}]");
        match node {
            Node::Map(fields) => files.extend(
                Entry {
                    place,
                    fields,
                    problems,
                }
                .parse(),
            ),
            _ => problems.push(place, "is no set of fields such as \"secret: …\""),
        }
    }
    for (index, file) in files.iter().enumerate() {
        for other in &files[..index] {
            if file.file.conflicts_with(&other.file) {
                let same = if file.file.path() == other.file.path() {
                    "the destination of"
                } else {
                    "in conflict with"
                };
                problems.push(
                    format!("{}.file", file.place),
                    format!(
                        "{} is {same} {} ({})",
                        quoted(&file.file.to_string()),
                        other.place,
                        quoted(&other.file.to_string())
                    ),
                );
            }
            if file.env.is_some() && file.env == other.env {
                let name = file.env.as_deref().unwrap_or_default();
                problems.push(
                    format!("{}.env", file.place),
                    format!("{} is also set by {}", quoted(name), other.place),
                );
            }
        }
    }
    files
}

/// One entry while its fields are taken out.
struct Entry<'a, 'p> {
    place: String,
    fields: Vec<(std::borrow::Cow<'a, str>, Node<'a>)>,
    problems: &'p mut Problems,
}

impl Entry<'_, '_> {
    fn problem(&mut self, field: &str, message: impl Into<String>) {
        self.problems.push(format!("{}.{field}", self.place), message);
    }

    /// The text of a field, if it is there.
    fn text(&mut self, field: &str) -> Option<String> {
        let at = self.fields.iter().position(|(name, _)| name == field)?;
        match self.fields.swap_remove(at).1 {
            Node::Scalar(text) => Some(text.into_owned()),
            Node::Null => {
                self.problem(field, "has no value");
                None
            }
            Node::List(_) | Node::Map(_) => {
                self.problem(field, "is no plain text");
                None
            }
        }
    }

    fn checked<T>(&mut self, field: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let text = self.text(field)?;
        parse(&text).map_err(|why| self.problem(field, why)).ok()
    }

    fn parsed<T: std::str::FromStr<Err = Invalid>>(&mut self, field: &str) -> Option<T> {
        self.checked(field, |text| {
            text.parse().map_err(|why| format!("{} {why}", quoted(text)))
        })
    }

    fn required<T: std::str::FromStr<Err = Invalid>>(&mut self, field: &str, what: &str) -> Option<T> {
        if !self.fields.iter().any(|(name, _)| name == field) {
            self.problem(field, format!("is missing: {what}"));
            return None;
        }
        self.parsed(field)
    }

    fn parse(mut self) -> Option<FileRequest> {
        let before = self.problems.iter().count();
        let secret = self.required::<ApiPath>("secret", "the path to read, as in `vault read`");
        let file = self.required::<Destination>("file", "where the secret goes");
        let key = self.checked("key", |text| match text {
            "" => Err("is empty: leave it out for the whole secret".to_owned()),
            text if text.len() > 512 => Err(format!("{} is longer than 512 bytes", quoted(text))),
            text => Ok(text.to_owned()),
        });
        let decode = self
            .checked("decode", |text| text.parse().map_err(|_| one_of(text, &Decode::NAMES)))
            .unwrap_or_default();
        let format = self.checked("format", |text| text.parse().map_err(|_| one_of(text, &Format::NAMES)));
        let default_format = if key.is_some() { Format::Raw } else { Format::Json };
        let format = format.unwrap_or(default_format);
        let mode = self.parsed::<Mode>("mode");
        let version = self.checked("version", |text| {
            text.parse()
                .map_err(|_| format!("{} is no version number from 1", quoted(text)))
        });
        let env = self.checked("env", |text| env_name(text).map(|()| text.to_owned()));
        if self.fields.iter().any(|(name, _)| name == "data") {
            self.problem("data", "is not supported yet");
        }
        for (name, _) in std::mem::take(&mut self.fields) {
            if name != "data" {
                let hint = did_you_mean(&name, FIELDS);
                self.problems.push(
                    format!("{}.{}", self.place, unquoted(&name)),
                    format!("is no field of a file{hint}"),
                );
            }
        }
        if before == self.problems.iter().count() {
            if key.is_none() && format == Format::Raw {
                self.problem(
                    "format",
                    "\"raw\" needs a key: a whole secret is json, yaml, dotenv or properties",
                );
            }
            if key.is_none() && decode != Decode::None {
                self.problem("decode", "needs a key: it is done to one field");
            }
            if env.is_some() && file.as_ref().is_some_and(|file| file.path().contains('$')) {
                self.problem("env", "cannot name a path with a $, which Kubernetes would expand");
            }
        }
        if before != self.problems.iter().count() {
            return None;
        }
        Some(FileRequest {
            place: self.place,
            secret: secret?,
            version,
            key,
            decode,
            format,
            file: file?,
            mode,
            env,
        })
    }
}

/// Variables that make a program load or run the file they name: who may only write annotations must not gain that.
const TAKES_OVER: [&str; 16] = [
    "BASH_ENV",
    "ENV",
    "PATH",
    "NODE_OPTIONS",
    "PYTHONPATH",
    "PYTHONHOME",
    "PYTHONSTARTUP",
    "PERL5LIB",
    "PERL5OPT",
    "RUBYLIB",
    "RUBYOPT",
    "JAVA_TOOL_OPTIONS",
    "JDK_JAVA_OPTIONS",
    "DOTNET_STARTUP_HOOKS",
    "GIT_SSH_COMMAND",
    "SHELL",
];
const TAKES_OVER_PREFIXES: [&str; 5] = ["LD_", "RUNNER_", "ACTIONS_", "PODKEY_", "BASH_FUNC_"];

fn env_name(name: &str) -> Result<(), String> {
    let mut bytes = name.bytes();
    let first = bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    if !first || !bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_') || name.len() > 256 {
        return Err(format!("{} is no name of a variable", quoted(name)));
    }
    if TAKES_OVER.contains(&name) || TAKES_OVER_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
        return Err(format!(
            "{} is a variable that decides what a program runs, or is reserved",
            quoted(name)
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_entry_parses() {
        let mut problems = Problems::default();
        let text = r#"
- secret: arc-runners/data/kubeconfig/rancher-cluster   # API path
  key: config
  decode: base64
  file: /tmp/kubeconfig
  mode: "0400"
  env: KUBECONFIG
- secret: apps/data/web
  format: dotenv
  file: web.env
  version: 3
"#;
        let files = parse("f", text, &mut problems);
        assert!(problems.is_empty(), "{problems}");
        assert_eq!(files[0].decode, Decode::Base64);
        assert_eq!(files[0].format, Format::Raw);
        assert_eq!(files[0].mode, Some(Mode::OWNER));
        assert_eq!(files[1].format, Format::Dotenv);
        assert_eq!(files[1].version, NonZeroU64::new(3));
    }

    #[test]
    fn each_problem_names_its_field_and_all_are_told_at_once() {
        let good = "- {secret: a/b, key: k, file: f";
        for (text, expected) in [
            ("", "f: is no list of files"),
            ("secret: a", "f: is no list of files"),
            ("[]", "f: is no list of files"),
            ("- a", "f[0]: is no set of fields"),
            ("- {file: f}", "f[0].secret: is missing"),
            ("- {secret: a/b, key: k}", "f[0].file: is missing"),
            (
                "- {secret: a/../b, key: k, file: f}",
                "f[0].secret: \"a/../b\" has a segment",
            ),
            (
                "- {secret: a/b, key: k, file: ../f}",
                "f[0].file: \"../f\" has a segment",
            ),
            (
                &format!("{good}, secert: x}}"),
                "f[0].secert: is no field of a file (did you mean \"secret\"?)",
            ),
            (
                &format!("{good}, mode: 0777}}"),
                "f[0].mode: \"0777\" lets every user write",
            ),
            (&format!("{good}, mode: [1]}}"), "f[0].mode: is no plain text"),
            (&format!("{good}, mode: }}"), "f[0].mode: has no value"),
            (
                &format!("{good}, decode: bas64}}"),
                "f[0].decode: \"bas64\" is none of none, base64, base64url, hex (did you mean \"base64\"?)",
            ),
            (&format!("{good}, format: xml}}"), "f[0].format: \"xml\" is none of"),
            (&format!("{good}, version: 0}}"), "f[0].version: \"0\" is no version"),
            (&format!("{good}, version: -1}}"), "f[0].version: \"-1\" is no version"),
            (&format!("{good}, env: 1A}}"), "f[0].env: \"1A\" is no name"),
            (
                &format!("{good}, env: LD_PRELOAD}}"),
                "f[0].env: \"LD_PRELOAD\" is a variable that decides",
            ),
            (&format!("{good}, data: {{a: b}}}}"), "f[0].data: is not supported yet"),
            (
                "- {secret: a, file: f, format: raw}",
                "f[0].format: \"raw\" needs a key",
            ),
            ("- {secret: a, file: f, decode: hex}", "f[0].decode: needs a key"),
            ("- {secret: a, key: \"\", file: f}", "f[0].key: is empty"),
            (
                "- {secret: a, key: k, file: /tmp/$x, env: A}",
                "f[0].env: cannot name a path with a $",
            ),
            (
                "- {secret: a, file: f}\n- {secret: b, file: f}",
                "f[1].file: \"f\" is the destination of f[0]",
            ),
            (
                "- {secret: a, file: f/g}\n- {secret: b, file: f}",
                "f[1].file: \"f\" is in conflict with f[0] (\"f/g\")",
            ),
            (
                "- {secret: a, file: f, env: A}\n- {secret: b, file: g, env: A}",
                "f[1].env: \"A\" is also set by f[0]",
            ),
        ] {
            let mut problems = Problems::default();
            parse("f", text, &mut problems);
            assert!(problems.to_string().contains(expected), "{text:?}: {problems}");
        }
        let mut problems = Problems::default();
        parse("f", "- {}\n- {secret: a, file: f, mode: x}", &mut problems);
        assert_eq!(problems.iter().count(), 3, "{problems}");
        let mut problems = Problems::default();
        parse("f", &"- {secret: a, file: f}\n".repeat(1000), &mut problems);
        assert_eq!(problems.to_string(), "f: has 1000 files, allowed are 64");
    }
}
