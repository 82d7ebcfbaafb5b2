//! The fields of an entry of `podkey.dev/files`: one row for each, with the name, the meaning and the parser.

use std::collections::BTreeMap;

use crate::inject::problem::quoted;
use crate::inject::request::files::draft::{FieldValue, FileDraft, SecretSource, TemplateSource};
use crate::inject::request::files::file::{TEMPLATE, unfilled};
use crate::inject::request::name;
use crate::inject::request::requested::Requested;
use crate::inject::words::{DocumentedKey, Scope};
use crate::inject::yaml::Node;
use crate::plan::rules::ReadBy;
use crate::plan::{
    ApiPath, Data, Decode, Format, Invalid, Keys, MAX_KEY_BYTES, NamedField, Part, PathTemplate, TemplateContent,
    Value, WhenGone, spelling,
};
use crate::template::{MissingField, Template};
use crate::text::{is_variable_name, takes_over};

/// One field.
pub(crate) struct FileField {
    pub(crate) documented: DocumentedKey,
    /// What is missing where a required field is left out.
    pub(super) required: Option<&'static str>,
    /// Parses the value, reports what is wrong with it, and keeps the result in the draft.
    pub(super) parse: fn(FieldValue<'_, '_>, &mut FileDraft),
}

/// The longest name of a variable, in bytes.
const MAX_ENV_BYTES: usize = 256;

impl FileField {
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
    scope: Scope,
    default: &'static str,
    example: &'static str,
    meaning: &'static str,
    parse: fn(FieldValue<'_, '_>, &mut FileDraft),
) -> FileField {
    let documented = DocumentedKey {
        key,
        meaning,
        default,
        scope,
        example,
        value: "",
        details: "",
    };
    FileField {
        documented,
        required: None,
        parse,
    }
}

const fn required(
    key: &'static str,
    missing: &'static str,
    example: &'static str,
    meaning: &'static str,
    parse: fn(FieldValue<'_, '_>, &mut FileDraft),
) -> FileField {
    FileField {
        required: Some(missing),
        ..field(key, Scope::AllPods, "required", example, meaning, parse)
    }
}

/// The field that names one secret.
pub(super) const SECRET: &str = "secret";
/// The field that names the delimiters of `template`.
pub(super) const DELIMS: &str = "delims";
/// The fields that a template takes the place of.
pub(super) const OF_ONE_SECRET: [&str; 7] = [SECRET, "data", "key", "keys", "decode", "format", "version"];

/// In the order in which the fields are parsed: a parser may use what the parsers before it found.
#[rustfmt::skip]
pub(crate) const FIELDS: &[FileField] = &[
    field("as", Scope::JobHooks, "`init`", "job", "Who reads the secret: podkey-init, or the job with the job's own identity.",
        |mut value, draft| draft.read_by = value.one_of(ReadBy::NAMES).unwrap_or_default())
        .details("`job` needs the operator's `job.role`. The path may then have placeholders, such as `{repository}`."),
    field(SECRET, Scope::AllPods, "required without `template`", "kv/data/web",
        "The API path of the secret, as in `vault read`. Paths of KV version 2 contain `/data/`.", secret)
        .value("an API path"),
    field("data", Scope::AllPods, "the path is read", "{ common_name: web.example.com }",
        "Fields to write the path with: the answer to the write is the secret.", data)
        .value("a set of fields, each a text, a list of texts or a set of texts")
        .details("For engines that make something from what is written: PKI, SSH, transit. Files with the same path and data come from one answer. `data` never changes an engine: podkey refuses KV v2 secrets, roles, keys, configuration and rotation. Everybody who may read the pod sees the data: write no secret into it."),
    required("file", "where the secret goes", "web.env",
        "Where the file is: an absolute path, or a path below `/podkey/secrets/`.", file)
        .value("an absolute path, or a path below `/podkey/secrets/`")
        .details("The placeholders of Vault's Secrets Sync make names from the path and the fields: `{{ .SecretKey }}` (a file for each field), `{{ .SecretPath }}`, `{{ .SecretBaseName }}`, `{{ .MountPath }}`, `{{ .MountBaseName }}`, with `| uppercase`, `| lowercase` or `| replace \"/\" \"_\"`. No file goes to paths of the kernel, of podkey and of the system's programs, to what a container runs, and to what a runner reads before a job."),
    field("key", Scope::AllPods, "the whole secret", "password", "The field of the secret to deliver.",
        |mut value, draft| draft.part = value.checked(key).map(Part::Key))
        .value("the name of a field"),
    field("keys", Scope::AllPods, "the whole secret", "{ DB_USER: username, DB_PASSWORD: password }",
        "The fields of the secret to deliver, in this order: each as `NAME: FIELD`, or a list of fields.", keys)
        .value("`{ NAME: FIELD, … }`, or a list of fields")
        .details("NAME is the name in the file."),
    field("decode", Scope::AllPods, "`none`", "base64", "What the field's text is decoded from.",
        |mut value, draft| draft.decode = value.one_of(Decode::NAMES).unwrap_or_default())
        .details("Only with `key`."),
    field("format", Scope::AllPods, "`raw` with `key`, else `json`", "dotenv", "How the secret is written into the file.",
        |mut value, draft| draft.format = value.one_of(Format::NAMES))
        .details("The names of `dotenv` and `shell` are names of variables. With the whole secret, whoever writes the secret chooses them: stricter rules hold (`podkey explain wildcard-variables`)."),
    field(DELIMS, Scope::AllPods, "`{{` and `}}`", "[\"[[\", \"]]\"]",
        "The two texts that stand for `{{` and `}}` in `template`.", delims)
        .value("a list of two texts")
        .details("For charts whose own templates would take `{{` and `}}`."),
    field(TEMPLATE, Scope::AllPods, "the secret as `format` writes it", "user={{ with secret \"kv/data/web\" }}{{ .Data.data.user }}{{ end }}",
        "The text of the file, in the language of Go's text/template with the functions of consul-template.", template)
        .value("text")
        .details("A template takes the place of `secret`, `data`, `key`, `keys`, `decode`, `format` and `version`. Each path is a text in quotes. Bounds: 32 KiB of template, 64 calls of `secret` in a template and 256 in a pod, actions 32 deep, 1 MiB of output."),
    field("mode", Scope::AllPods, "`0400` where one user reads, else `0440` with `fsGroup`, else `0444`", "\"0440\"",
        "The permissions of the file.",
        |mut value, draft| draft.mode = value.parsed())
        .value("an octal number in quotes")
        .details("Not writable for every user; no setuid, setgid or sticky bit."),
    field("version", Scope::AllPods, "the newest", "3", "The version of the secret to read (KV version 2).",
        |mut value, draft| draft.version = value.checked(|text| {
            let version = text.parse();
            version.map_err(|_| format!("{} is not a version number (1 or more)", quoted(text)))
        }))
        .value("a number, 1 or more")
        .details("A version that does not exist is a failure (exit code 66), unless `podkey.dev/ignore-not-found` is `true`."),
    field("env", Scope::AllPods, "no variable", "KUBECONFIG", "The environment variable that holds the file's path.",
        |mut value, draft| draft.env = value.checked(|text| env_name(text).map(|()| text.to_owned())))
        .value("the name of a variable")
        .details("With a relative `file`, too."),
    field("when-gone", Scope::Refresh, "`keep`", "delete", "What happens to the file when its secret or field no longer exists.",
        |mut value, draft| draft.when_gone = value.one_of(WhenGone::NAMES).unwrap_or_default()),
];

fn secret(mut value: FieldValue<'_, '_>, draft: &mut FileDraft) {
    fn quoted_path<T: std::str::FromStr<Err = Invalid>>(text: &str) -> Result<T, String> {
        path(text).map_err(|why| format!("{} {why}", quoted(text)))
    }
    draft.secret = match draft.read_by {
        ReadBy::Init => value.checked(quoted_path).map(SecretSource::Init),
        ReadBy::Job => value.checked(quoted_path).map(SecretSource::Job),
    };
    if let Some(SecretSource::Init(path)) = &draft.secret
        && let Some(why) = unfilled(path, "add `as: job`")
    {
        value.problem(why);
    }
}

fn file(mut value: FieldValue<'_, '_>, draft: &mut FileDraft) {
    draft.file = value.checked(|text| match (spelling::of_file(text), &draft.secret) {
        (Some(why), _) => Err(format!("{} {why}", quoted(text))),
        (None, Some(secret)) => name::resolve(text, secret.path()),
        (None, None) if draft.has_template => text.parse().map_err(|why| match text.contains("{{") {
            true => format!(
                "{} has a placeholder, and a template has no path of its own to fill it in: write the name out",
                quoted(text)
            ),
            false => format!("{} {why}", quoted(text)),
        }),
        // Without a path the placeholders mean nothing; the secret's problem is reported.
        (None, None) => text.parse().map_err(|why| format!("{} {why}", quoted(text))),
    });
}

fn key(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("is empty: leave it out for the whole secret".to_owned());
    }
    if let Some(why) = spelling::of_text(text) {
        return Err(format!("{} {why}", quoted(text)));
    }
    if text.len() > MAX_KEY_BYTES {
        return Err(format!("{} is longer than {MAX_KEY_BYTES} bytes", quoted(text)));
    }
    Ok(text.to_owned())
}

fn keys(mut value: FieldValue<'_, '_>, draft: &mut FileDraft) {
    if draft.part.is_some() {
        value.problem("cannot be beside `key`, which names one field: remove one of the two");
        return;
    }
    let named: Option<Vec<NamedField>> = match std::mem::replace(&mut value.node, Node::Null) {
        Node::Map(fields) => {
            if let Some((name, _)) = fields.iter().find(|(_, node)| !matches!(node, Node::Scalar(_))) {
                value.problem_of(
                    name,
                    "is not one text: write the name of the secret's field, as in {DB_USER: username}",
                );
                return;
            }
            fields.into_iter().map(|(name, node)| named(&name, node)).collect()
        }
        Node::List(fields) => {
            let fields = fields.into_iter().map(|node| match node {
                Node::Scalar(field) => Some(NamedField {
                    name: field.to_string(),
                    field: field.into_owned(),
                }),
                Node::Null | Node::List(_) | Node::Map(_) => None,
            });
            fields.collect()
        }
        Node::Scalar(_) | Node::Null => None,
    };
    let Some(named) = named else {
        value.problem("is neither a set such as {DB_USER: username} nor a list of fields such as [username, password]");
        return;
    };
    draft.part = Keys::try_from(named)
        .map_err(|why| value.problem(why.to_string()))
        .ok()
        .map(Part::Keys);
}

fn named(name: &str, node: Node<'_>) -> Option<NamedField> {
    let field = match node {
        Node::Scalar(field) => field.into_owned(),
        Node::Null | Node::List(_) | Node::Map(_) => return None,
    };
    Some(NamedField {
        name: name.to_owned(),
        field,
    })
}

fn delims(mut value: FieldValue<'_, '_>, draft: &mut FileDraft) {
    if let Node::List(items) = std::mem::replace(&mut value.node, Node::Null)
        && let [Node::Scalar(left), Node::Scalar(right)] = items.as_slice()
    {
        // A template of no text has no problem but its delimiters.
        let tried =
            Template::parse("", (left, right)).map_err(|why| value.problem(format!("is not valid: {}", why.message)));
        draft.delims = tried.ok().map(|_| [left.to_string(), right.to_string()]).into();
    } else {
        value.problem("is not a list of two texts, such as [\"[[\", \"]]\"]");
        draft.delims = Requested::Invalid;
    }
}

fn template(mut value: FieldValue<'_, '_>, draft: &mut FileDraft) {
    let Some(text) = value.text() else { return };
    if draft.delims.is_invalid() {
        return;
    }
    let delims = draft.delims.clone().given();
    let [left, right] = delims.clone().unwrap_or_else(|| ["{{".to_owned(), "}}".to_owned()]);
    let parsed = match draft.read_by {
        ReadBy::Init => {
            TemplateContent::parse(&text, delims, MissingField::Fail, filled_path).map(TemplateSource::Init)
        }
        ReadBy::Job => {
            TemplateContent::parse(&text, delims, MissingField::Fail, path::<PathTemplate>).map(TemplateSource::Job)
        }
    };
    match parsed {
        Ok(template) if template.reads_nothing() => value.problem(format!(
            "reads no secret between {left} and {right}: write {left} with secret \"kv/data/web\" {right} … {left} end {right}, or name other \
             delimiters in `delims`"
        )),
        Ok(template) => draft.template = Some(template),
        Err(why) => value.problem(why.to_string()),
    }
}

/// Parses a path as a person writes it.
fn path<T: std::str::FromStr<Err = Invalid>>(text: &str) -> Result<T, String> {
    spelling::parse(text, spelling::of_path)
}

/// Parses a path that `init` reads.
fn filled_path(text: &str) -> Result<ApiPath, String> {
    let path: ApiPath = path(text)?;
    match path.has_placeholder() {
        true => Err("has a placeholder, which only the job can fill in: add `as: job`".to_owned()),
        false => Ok(path),
    }
}

fn env_name(name: &str) -> Result<(), String> {
    if !is_variable_name(name) || name.len() > MAX_ENV_BYTES {
        return Err(format!("{} is not a name of a variable", quoted(name)));
    }
    match takes_over(name) {
        Some(reason) => Err(format!("{} {reason}", quoted(name))),
        None => Ok(()),
    }
}

fn data(mut value: FieldValue<'_, '_>, draft: &mut FileDraft) {
    let Node::Map(fields) = std::mem::replace(&mut value.node, Node::Null) else {
        value.problem("is not a set of fields, for example {common_name: web}");
        return;
    };
    let written = fields.len();
    let mut data = BTreeMap::new();
    for (name, node) in fields {
        match data_value(node) {
            Ok(value) => drop(data.insert(name.into_owned(), value)),
            Err(why) => value.problem_of(&name, why),
        }
    }
    // YAML with a field twice does not parse: a missing field is one with a problem.
    if data.len() == written {
        draft.data = Data::try_from(data).map_err(|why| value.problem(why.to_string())).ok();
    }
}

/// A field of `data`. Scalars stay the text that they are written with.
fn data_value(node: Node<'_>) -> Result<Value, String> {
    fn scalar(node: Node<'_>) -> Result<String, String> {
        match node {
            Node::Scalar(text) => Ok(text.into_owned()),
            Node::Null => Err("has no value: write \"\" for an empty one".to_owned()),
            Node::List(_) | Node::Map(_) => {
                Err("is nested: a field is a text, a list of texts or a set of texts".to_owned())
            }
        }
    }
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
