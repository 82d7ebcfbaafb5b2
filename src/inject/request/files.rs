//! The annotation `podkey.dev/files`: a YAML list, each entry a secret and where it goes.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::num::NonZeroU64;

use crate::inject::problem::{Problems, did_you_mean, one_of, quoted, unquoted};
use crate::inject::request::keys::FILES;
use crate::inject::request::name;
use crate::inject::request::yaml::{self, Node};
use crate::plan::{
    ApiPath, Data, Decode, Destination, Format, Invalid, MAX_FILES, Mode, PathTemplate, PlannedFile, Value, WhenGone,
    spelling,
};
use crate::text::{is_variable_name, takes_over};

/// One entry, parsed, with nothing filled in that depends on the pod.
#[derive(Debug)]
pub(crate) struct FileRequest {
    /// Where it stands in the annotation, from 0.
    pub(crate) index: usize,
    pub(crate) secret: Source,
    pub(crate) version: Option<NonZeroU64>,
    pub(crate) data: Option<Data>,
    pub(crate) key: Option<String>,
    pub(crate) decode: Decode,
    pub(crate) format: Format,
    pub(crate) file: Destination,
    /// None: by who reads it.
    pub(crate) mode: Option<Mode>,
    pub(crate) env: Option<String>,
    pub(crate) when_gone: WhenGone,
}

/// Who reads the secret, and where (`as:`).
#[derive(Debug)]
pub(crate) enum Source {
    Init(ApiPath),
    Job(PathTemplate),
}

impl FileRequest {
    /// What `init` is to deliver, if it is this file.
    pub(crate) fn for_init(&self, default_mode: Mode) -> Option<PlannedFile> {
        match &self.secret {
            Source::Init(path) => Some(self.planned(path.clone(), default_mode)),
            Source::Job(_) => None,
        }
    }

    /// What the job is to read, if it is this file.
    pub(crate) fn for_job(&self, default_mode: Mode) -> Option<PlannedFile<PathTemplate>> {
        match &self.secret {
            Source::Init(_) => None,
            Source::Job(path) => Some(self.planned(path.clone(), default_mode)),
        }
    }

    fn planned<P>(&self, secret: P, default_mode: Mode) -> PlannedFile<P> {
        PlannedFile {
            secret,
            version: self.version,
            data: self.data.clone(),
            key: self.key.clone(),
            decode: self.decode,
            format: self.format,
            file: self.file.clone(),
            mode: self.mode.unwrap_or(default_mode),
            when_gone: self.when_gone,
        }
    }

    /// `podkey.dev/files[0]`, for messages.
    pub(crate) fn place(&self) -> String {
        place(self.index)
    }
}

fn place(index: usize) -> String {
    format!("{FILES}[{index}]")
}

const FIELDS: [&str; 11] = [
    "secret",
    "key",
    "decode",
    "format",
    "file",
    "mode",
    "env",
    "version",
    "data",
    "as",
    "when-gone",
];

/// What `as` can be.
const READERS: [&str; 2] = ["init", "job"];

/// Parses the annotation's value. Entries with a problem are left out of the result. Those that the job reads come last, as
/// in the plan.
pub(crate) fn parse(text: &str, problems: &mut Problems) -> Vec<FileRequest> {
    let entries = match yaml::parse(text) {
        Ok(Node::List(entries)) if !entries.is_empty() => entries,
        Ok(_) => {
            problems.push(FILES, "is no list of files: begin each with \"- secret: …\"");
            return Vec::new();
        }
        Err(why) => {
            problems.push(FILES, why);
            return Vec::new();
        }
    };
    if entries.len() > MAX_FILES {
        problems.push(FILES, format!("has {} files, allowed are {MAX_FILES}", entries.len()));
        return Vec::new();
    }
    let mut files: Vec<FileRequest> = Vec::with_capacity(entries.len());
    for (index, node) in entries.into_iter().enumerate() {
        match node {
            Node::Map(fields) => files.extend(
                Entry {
                    index,
                    fields,
                    problems,
                }
                .parse(),
            ),
            _ => problems.push(place(index), "is no set of fields such as \"secret: …\""),
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
                    format!("{}.file", file.place()),
                    format!(
                        "{} is {same} {} ({})",
                        quoted(&file.file.to_string()),
                        other.place(),
                        quoted(&other.file.to_string())
                    ),
                );
            }
            if file.env.is_some() && file.env == other.env {
                let name = file.env.as_deref().unwrap_or_default();
                problems.push(
                    format!("{}.env", file.place()),
                    format!("{} is also set by {}", quoted(name), other.place()),
                );
            }
        }
    }
    files.sort_by_key(|file| matches!(file.secret, Source::Job(_)));
    files
}

/// One entry while its fields are taken out.
struct Entry<'a, 'p> {
    index: usize,
    fields: Vec<(Cow<'a, str>, Node<'a>)>,
    problems: &'p mut Problems,
}

impl<'a> Entry<'a, '_> {
    fn problem(&mut self, field: &str, message: impl Into<String>) {
        self.problems.push(format!("{}.{field}", place(self.index)), message);
    }

    /// The text of a field, if it is there.
    fn text(&mut self, field: &str) -> Option<Cow<'a, str>> {
        let at = self.fields.iter().position(|(name, _)| name == field)?;
        match self.fields.swap_remove(at).1 {
            Node::Scalar(text) => Some(text),
            Node::Null => {
                self.problem(field, "has no value");
                None
            }
            Node::List(_) => {
                self.problem(
                    field,
                    "is a list, and takes one text: write an entry of its own, with - in front, for each",
                );
                None
            }
            Node::Map(_) => {
                self.problem(
                    field,
                    "is a set of fields, and takes one text: put a text that begins with { in quotes",
                );
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
        self.needs(field, what);
        self.parsed(field)
    }

    /// The path of a secret.
    fn path<T: std::str::FromStr<Err = Invalid>>(&mut self) -> Option<T> {
        self.needs("secret", "the path to read, as in `vault read`");
        self.checked("secret", |text| {
            spelling::parse(text, spelling::of_path).map_err(|why| format!("{} {why}", quoted(text)))
        })
    }

    fn needs(&mut self, field: &str, what: &str) {
        if !self.fields.iter().any(|(name, _)| name == field) {
            self.problem(field, format!("is missing: {what}"));
        }
    }

    /// What the path is to be written with.
    fn data(&mut self) -> Option<Data> {
        let at = self.fields.iter().position(|(name, _)| name == "data")?;
        let Node::Map(fields) = self.fields.swap_remove(at).1 else {
            self.problem("data", "is no set of fields such as {common_name: web}");
            return None;
        };
        let before = self.problems.len();
        let mut data = BTreeMap::new();
        for (name, node) in fields {
            match value(node) {
                Ok(value) => drop(data.insert(name.into_owned(), value)),
                Err(why) => self.problem(&format!("data.{}", unquoted(&name)), why),
            }
        }
        if before != self.problems.len() {
            return None;
        }
        Data::try_from(data)
            .map_err(|why| self.problem("data", why.to_string()))
            .ok()
    }

    fn parse(mut self) -> Option<FileRequest> {
        let before = self.problems.len();
        let secret = match self.checked("as", |text| {
            READERS
                .contains(&text)
                .then(|| text == "job")
                .ok_or_else(|| one_of(text, &READERS))
        }) {
            Some(true) => self.path().map(Source::Job),
            _ => self.path().map(Source::Init),
        };
        let (path, unfilled) = match &secret {
            Some(Source::Init(path)) => (Some(path), unfilled(path, "add `as: job`")),
            Some(Source::Job(path)) => (Some(path.as_path()), None),
            None => (None, None),
        };
        let tokens = path
            .filter(|path| path.holds_tokens())
            .map(|path| format!("{} is about tokens, not a secret", quoted(path.as_str())));
        if let Some(why) = tokens.or(unfilled) {
            self.problem("secret", why);
        }
        let data = self.data();
        if data.is_some() {
            let why = match &secret {
                Some(Source::Init(path)) if path.is_the_servers_own() => Some(format!(
                    "{} is the server's own: `data` writes to secrets engines only, not to auth, cubbyhole, identity or sys",
                    quoted(path.as_str())
                )),
                Some(Source::Init(path)) => path.changes_its_engine().map(|segment| {
                    format!(
                        "{} cannot be written: a write to {} changes what the engine stores. `data` is for endpoints that answer with a secret, such as pki/issue/NAME, ssh/sign/NAME, transit/decrypt/NAME; to read a secret, remove `data`",
                        quoted(path.as_str()),
                        quoted(segment)
                    )
                }),
                None => None,
                Some(Source::Job(path)) => Some(format!(
                    "{} would be written by each job: `data` is for what init reads, so remove it, or `as: job`",
                    quoted(path.as_path().as_str())
                )),
            };
            if let Some(why) = why {
                self.problem("data", why);
            }
        }
        let path = secret.as_ref().map(|secret| match secret {
            Source::Init(path) => path,
            Source::Job(path) => path.as_path(),
        });
        let file = match path {
            Some(path) => {
                self.needs("file", "where the secret goes");
                self.checked("file", |text| match spelling::of_file(text) {
                    Some(why) => Err(format!("{} {why}", quoted(text))),
                    None => name::resolve(text, path),
                })
            }
            None => self.required("file", "where the secret goes"),
        };
        let each_field = matches!(file, Some(Destination::EachField(_)));
        let key = self.checked("key", |text| match text {
            "" => Err("is empty: leave it out for the whole secret".to_owned()),
            text if spelling::of_text(text).is_some() => Err(format!(
                "{} {}",
                quoted(text),
                spelling::of_text(text).unwrap_or_default()
            )),
            text if text.len() > 512 => Err(format!("{} is longer than 512 bytes", quoted(text))),
            text => Ok(text.to_owned()),
        });
        let decode = self
            .checked("decode", |text| text.parse().map_err(|_| one_of(text, Decode::NAMES)))
            .unwrap_or_default();
        let written_format = self.checked("format", |text| text.parse().map_err(|_| one_of(text, Format::NAMES)));
        let default_format = match key.is_some() || each_field {
            true => Format::Raw,
            false => Format::Json,
        };
        let format = written_format.unwrap_or(default_format);
        let mode = self.parsed::<Mode>("mode");
        let version = self.checked("version", |text| {
            text.parse()
                .map_err(|_| format!("{} is no version number from 1", quoted(text)))
        });
        let env = self.checked("env", |text| env_name(text).map(|()| text.to_owned()));
        let when_gone = self
            .checked("when-gone", |text| {
                text.parse().map_err(|_| one_of(text, WhenGone::NAMES))
            })
            .unwrap_or_default();
        for (name, _) in std::mem::take(&mut self.fields) {
            let hint = did_you_mean(&name, FIELDS);
            self.problem(&unquoted(&name), format!("is no field of a file{hint}"));
        }
        if before == self.problems.len() && each_field {
            const EACH: &str = "cannot be where `file` has {{ .SecretKey }}, which makes a file of each field";
            let job = matches!(secret, Some(Source::Job(_)));
            for (field, given) in [
                ("key", key.is_some()),
                ("format", written_format.is_some_and(|format| format != Format::Raw)),
                ("env", env.is_some()),
                ("as", job),
            ] {
                if given {
                    self.problem(field, format!("{EACH}: remove one of the two"));
                }
            }
        }
        if before == self.problems.len() && data.is_some() && version.is_some() {
            self.problem(
                "version",
                "is of what is read, and `data` makes it a write: remove one of the two",
            );
        }
        if before == self.problems.len() {
            if key.is_none() && format == Format::Raw && !each_field {
                self.problem(
                    "format",
                    "\"raw\" needs a key: a whole secret is json, yaml, dotenv or properties",
                );
            }
            if key.is_none() && decode != Decode::None && !each_field {
                self.problem("decode", "needs a key: it is done to one field");
            }
            if env.is_some() && file.as_ref().is_some_and(|file| file.path().contains('$')) {
                self.problem("env", "cannot name a path with a $, which Kubernetes would expand");
            }
        }
        if before != self.problems.len() {
            return None;
        }
        Some(FileRequest {
            index: self.index,
            secret: secret?,
            version,
            data,
            key,
            decode,
            format,
            file: file?,
            mode,
            env,
            when_gone,
        })
    }
}

/// A field of `data`. Scalars stay the text that they are written with.
fn value(node: Node<'_>) -> Result<Value, String> {
    const EMPTY: &str = "has no value: write \"\" for an empty one";
    let scalar = |node: Node<'_>| match node {
        Node::Scalar(text) => Ok(text.into_owned()),
        Node::Null => Err(EMPTY.to_owned()),
        Node::List(_) | Node::Map(_) => {
            Err("is nested: a field is a text, a list of texts or a set of texts".to_owned())
        }
    };
    match node {
        Node::Scalar(_) | Node::Null => scalar(node).map(Value::Text),
        Node::List(items) => items.into_iter().map(scalar).collect::<Result<_, _>>().map(Value::List),
        Node::Map(fields) => fields
            .into_iter()
            .map(|(name, node)| Ok((name.into_owned(), scalar(node)?)))
            .collect::<Result<_, _>>()
            .map(Value::Map),
    }
}

/// That `init` cannot read the path, because it has a placeholder; `instead` is what to do.
pub(crate) fn unfilled(path: &ApiPath, instead: &str) -> Option<String> {
    path.has_placeholder().then(|| {
        format!(
            "{} has a placeholder, which only the job can fill in: {instead}",
            quoted(path.as_str())
        )
    })
}

fn env_name(name: &str) -> Result<(), String> {
    if !is_variable_name(name) || name.len() > 256 {
        return Err(format!("{} is no name of a variable", quoted(name)));
    }
    if let Some(reason) = takes_over(name) {
        return Err(format!("{} {reason}", quoted(name)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn short(problems: &Problems) -> String {
        problems.to_string().replace(FILES, "f")
    }

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
        let files = parse(text, &mut problems);
        assert!(problems.is_empty(), "{problems}");
        assert_eq!(files[0].decode, Decode::Base64);
        assert_eq!(files[0].format, Format::Raw);
        assert_eq!(files[0].mode, Some(Mode::OWNER));
        assert_eq!(files[1].format, Format::Dotenv);
        assert_eq!(files[1].version, NonZeroU64::new(3));
    }

    #[test]
    fn data_keeps_the_text_of_its_scalars_and_names_come_of_templates() {
        let mut problems = Problems::default();
        let text = r#"
- secret: pki/issue/web
  data: { common_name: web.example.com, ttl: 0400, exclude_cn: true, alt_names: [a, 1.10], extensions: {permit-pty: ""} }
  file: "{{ .MountPath }}/{{ .SecretKey | replace \"_\" \"-\" }}.pem"
  when-gone: fail
"#;
        let files = parse(text, &mut problems);
        assert!(problems.is_empty(), "{problems}");
        assert_eq!(
            serde_json::to_string(&files[0].data).unwrap(),
            r#"{"alt_names":["a","1.10"],"common_name":"web.example.com","exclude_cn":"true","extensions":{"permit-pty":""},"ttl":"0400"}"#
        );
        assert_eq!(
            files[0].file.to_string(),
            r#"pki/{{ .SecretKey | replace "_" "-" }}.pem"#
        );
        assert_eq!((files[0].format, files[0].when_gone), (Format::Raw, WhenGone::Fail));
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
                "- {secret: auth/token/lookup-self, key: id, file: f}",
                "f[0].secret: \"auth/token/lookup-self\" is about tokens",
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
            (
                &format!("{good}, mode: [1]}}"),
                "f[0].mode: is a list, and takes one text",
            ),
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
            (&format!("{good}, data: b}}"), "f[0].data: is no set of fields"),
            (&format!("{good}, data: {{}}}}"), "f[0].data: has no field"),
            (&format!("{good}, data: {{a: }}}}"), "f[0].data.a: has no value"),
            (&format!("{good}, data: {{a: [b, ~]}}}}"), "f[0].data.a: has no value"),
            (&format!("{good}, data: {{a: [[b]]}}}}"), "f[0].data.a: is nested"),
            (&format!("{good}, data: {{a: {{b: [c]}}}}}}"), "f[0].data.a: is nested"),
            (&format!("{good}, data: {{'': b}}}}"), "f[0].data: has the field \"\""),
            (
                &format!("{good}, data: {{a: {}}}}}", "b".repeat(20_000)),
                "f[0].data: has 20001 bytes, allowed are 16384",
            ),
            (
                &format!("{good}, data: {{a: b}}, version: 2}}"),
                "f[0].version: is of what is read",
            ),
            (
                "- {secret: team/sys/policies/acl/x, key: k, file: f, data: {policy: x}}",
                "f[0].data: \"team/sys/policies/acl/x\" is the server's own",
            ),
            (
                "- {secret: 'pki/issue/{job}', key: k, file: f, as: job, data: {a: b}}",
                "f[0].data: \"pki/issue/{job}\" would be written by each job",
            ),
            (
                &format!("{good}, when-gone: deleted}}"),
                "f[0].when-gone: \"deleted\" is none of keep, delete, fail (did you mean \"delete\"?)",
            ),
            (
                "- {secret: a/b, file: '{{ .SecretKey }}', key: k, format: json, env: A}",
                "f[0].key: cannot be where `file` has {{ .SecretKey }}, which makes a file of each field: remove one of the two; \
                 f[0].format: cannot be where",
            ),
            (
                "- {secret: a/b, file: '{{ .SecretKey }}', as: job}",
                "f[0].as: cannot be where `file` has {{ .SecretKey }}",
            ),
            (
                "- {secret: a/b, file: '{{ .SecretKye }}'}",
                "f[0].file: \"{{ .SecretKye }}\" has the placeholder \".SecretKye\", which is none of .MountPath, \
                 .MountBaseName, .SecretPath, .SecretBaseName, .SecretKey (did you mean \".SecretKey\"?)",
            ),
            (
                "- {secret: a/b, file: '{{ .SecretPath }}'}\n- {secret: c/b, file: b}",
                "f[1].file: \"b\" is the destination of f[0]",
            ),
            (
                &format!("{good}, as: jobs}}"),
                "f[0].as: \"jobs\" is none of init, job (did you mean \"job\"?)",
            ),
            (
                "- {secret: 'a/{job}', key: k, file: f}",
                "f[0].secret: \"a/{job}\" has a placeholder, which only the job can fill in: add `as: job`",
            ),
            (
                "- {secret: 'a/{repo}', key: k, file: f, as: job}",
                "f[0].secret: \"a/{repo}\" has a brace that belongs to none of {repository}",
            ),
            (
                "- {secret: 'auth/token/{job}', key: k, file: f, as: job}",
                "is about tokens",
            ),
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
            parse(text, &mut problems);
            assert!(short(&problems).contains(expected), "{text:?}: {problems}");
        }
        let mut problems = Problems::default();
        parse("- {}\n- {secret: a, file: f, mode: x}", &mut problems);
        assert_eq!(problems.iter().count(), 3, "{problems}");
        let mut problems = Problems::default();
        parse(&"- {secret: a, file: f}\n".repeat(1000), &mut problems);
        assert_eq!(short(&problems), "f: has 1000 files, allowed are 64");
    }
}
