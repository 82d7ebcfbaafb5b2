//! From the keys of each NAME to the files that podkey delivers.

use crate::inject::problem::{Problems, quoted};
use crate::inject::request::files::FileRequest;
use crate::inject::request::files::file::RequestedContent;
use crate::inject::request::rules::{Authored, report};
use crate::inject::request::vault_k8s::command;
use crate::inject::request::vault_k8s::draft::{DefaultTemplate, NamedKeys, VaultK8sDraft, said};
use crate::inject::request::vault_k8s::go;
use crate::inject::request::vault_k8s::written::Written;
use crate::plan::rules::{self, Subject};
use crate::plan::{
    ApiPath, Content, Destination, InvalidTemplate, MAX_FILES, Mode, OnChange, TemplateContent, WhenGone, spelling,
};
use crate::template::MissingField;

/// Where vault-k8s mounts the files.
const DIRECTORY: &str = "/vault/secrets";
/// The name of the file that holds the client token.
const TOKEN: &str = "token";
/// The mode of a file that names none.
const MODE: &str = "0644";

/// The files of all secrets, in the order of their NAMEs. (vault-k8s has them in the order of a Go map, which is none.) Entries
/// with a problem are left out.
pub(super) fn files(draft: &mut VaultK8sDraft<'_>, problems: &mut Problems) -> Vec<FileRequest> {
    let names = std::mem::take(&mut draft.names);
    let declared: Vec<_> = names.into_iter().filter(|(_, keys)| keys.declares()).collect();
    if declared.len() > MAX_FILES {
        let violation = rules::count(Subject::Plan, declared.len());
        report(violation.into_iter(), Authored::default(), problems);
        return Vec::new();
    }
    let mut files: Vec<FileRequest> = Vec::with_capacity(declared.len());
    for (name, keys) in &declared {
        if let Some(file) = file(files.len(), name, keys, draft, problems) {
            files.push(file);
        }
    }
    let authored = Authored {
        files: &files,
        on_change: &[],
    };
    let each = files.iter().enumerate();
    let each = each.flat_map(|(index, file)| rules::file(index, file.shape(), file.requests()));
    report(each, authored, problems);
    report(
        rules::destinations(files.iter().map(|file| &file.file)),
        authored,
        problems,
    );
    let requests = files.iter().map(|file| file.content.template_requests()).sum();
    report(
        rules::count(Subject::Templates, requests).into_iter(),
        authored,
        problems,
    );
    files
}

/// The file of the client token, as vault-k8s names it.
pub(super) fn token_file(
    draft: &VaultK8sDraft<'_>,
    files: &[FileRequest],
    problems: &mut Problems,
) -> Option<Destination> {
    let asked = draft.token?;
    let place = mount_path(draft.directory)
        .map_err(|why| report_at(draft.directory, &why, problems))
        .ok()?;
    let file = format!("{place}:{TOKEN}").parse::<Destination>();
    let file = file.map_err(|why| problems.push(asked.key(), said(&format!("{place}/{TOKEN}"), &why)));
    let file = file.ok()?;
    if let Some(other) = files.iter().find(|other| other.file.conflicts_with(&file)) {
        let why = format!(
            "puts the client token at {}, where {} puts a file: give that file another name",
            quoted(&file.path()),
            other.key.as_deref().unwrap_or_default()
        );
        problems.push(asked.key(), why);
    }
    if files.len() >= MAX_FILES {
        let why = format!("makes one file more than {MAX_FILES}, which are allowed: remove it or a secret");
        problems.push(asked.key(), why);
    }
    Some(file)
}

/// The actions after a change: those of all secrets, each once. Takes the commands out of the keys.
pub(super) fn actions(draft: &VaultK8sDraft<'_>, problems: &mut Problems) -> Vec<OnChange> {
    let mut actions = Vec::new();
    for keys in draft.names.values().filter(|keys| keys.declares()) {
        let Some(written) = keys.command.filter(|written| !written.text.trim().is_empty()) else {
            continue;
        };
        match command::action(written.text) {
            Ok(action) if actions.contains(&action) => {}
            Ok(action) => actions.push(action),
            Err(why) => problems.push(written.key(), why),
        }
    }
    actions
}

impl NamedKeys<'_> {
    /// Whether the keys make a file. A value of blanks does not.
    pub(super) fn declares(&self) -> bool {
        let mut declaring = [self.secret, self.template, self.template_file].into_iter().flatten();
        declaring.any(|written| !written.text.trim().is_empty())
    }
}

fn file<'a>(
    index: usize,
    name: &str,
    keys: &NamedKeys<'a>,
    draft: &mut VaultK8sDraft<'a>,
    problems: &mut Problems,
) -> Option<FileRequest> {
    let content = content(keys, draft, problems);
    let file = destination(name, keys, draft, problems);
    let perms = keys.perms.filter(|perms| !perms.text.is_empty());
    let mode = perms.map_or(MODE, |perms| perms.text).parse::<Mode>();
    let mode = mode.map_err(|why| report_at(perms, &why.to_string(), problems));
    let (key, template) = content?;
    Some(FileRequest {
        index,
        key: Some(key),
        content: RequestedContent::Init(Content::Template(template)),
        file: file?,
        mode: Some(mode.ok()?),
        env: None,
        when_gone: WhenGone::default(),
    })
}

/// Reports what is wrong with a value.
fn report_at(written: Option<Written<'_>>, why: &str, problems: &mut Problems) {
    if let Some(written) = written {
        problems.push(written.key(), format!("{} {why}", quoted(written.text)));
    }
}

/// The template of the file, and the key that names it.
fn content<'a>(
    keys: &NamedKeys<'a>,
    draft: &mut VaultK8sDraft<'a>,
    problems: &mut Problems,
) -> Option<(String, TemplateContent)> {
    let has_text = |written: &Written<'_>| !written.text.trim().is_empty();
    let missing = keys.missing.map_or(Ok(false), |written| go::boolean(written.text));
    let missing = missing.map_err(|why| {
        if let Some(written) = keys.missing {
            problems.push(written.key(), why);
        }
    });
    let missing = match missing.ok()? {
        true => MissingField::FailField,
        false => MissingField::Print,
    };
    if let Some(template) = keys.template.filter(has_text) {
        let parsed = TemplateContent::parse(template.text, delims(keys), missing, path);
        return finish(template, parsed, |why| why.to_string(), problems);
    }
    if let Some(file) = keys.template_file.filter(has_text) {
        let instead = file.name.replacen("-template-file-", "-template-", 1);
        problems.push(
            file.key(),
            format!(
                "names a file of the agent's container, and podkey-init has none: write the text into {}",
                quoted(&file.family.key(&instead))
            ),
        );
        return None;
    }
    let secret = keys.secret.filter(has_text)?;
    // vault-k8s writes its own template with the author's delimiters, which then is text.
    let unused = [keys.left, keys.right].into_iter().flatten();
    draft.without_effect.extend(unused.map(|written| written.name));
    let text = default_template(draft.default_template.unwrap_or_default(), secret.text);
    let parsed = TemplateContent::parse(&text, None, missing, path);
    let words = |why: InvalidTemplate| match why {
        InvalidTemplate::Request { written, problem, .. } => format!("{} {problem}", quoted(&written)),
        InvalidTemplate::Template(_) => format!("{} is not a path of a secret", quoted(secret.text)),
    };
    finish(secret, parsed, words, problems)
}

fn finish(
    written: Written<'_>,
    parsed: Result<TemplateContent, InvalidTemplate>,
    words: impl Fn(InvalidTemplate) -> String,
    problems: &mut Problems,
) -> Option<(String, TemplateContent)> {
    match parsed {
        Ok(template) if template.requests().is_empty() => problems.push(
            written.key(),
            "reads no secret: write {{ with secret \"kv/data/web\" }} … {{ end }}, or remove it",
        ),
        Ok(template) => return Some((written.key(), template)),
        Err(why) => problems.push(written.key(), words(why)),
    }
    None
}

/// What stands for `{{` and `}}`. An empty text means the usual one.
fn delims(keys: &NamedKeys<'_>) -> Option<[String; 2]> {
    let text = |written: Option<Written<'_>>, usual: &str| {
        let written = written.map(|written| written.text).filter(|text| !text.is_empty());
        written.unwrap_or(usual).to_owned()
    };
    let delims = [text(keys.left, "{{"), text(keys.right, "}}")];
    (delims != ["{{", "}}"]).then_some(delims)
}

/// vault-k8s' own templates: a line for each field, as Go prints it, or all fields as JSON.
/// <https://github.com/hashicorp/vault-k8s/blob/main/agent-inject/agent/config.go>
fn default_template(template: DefaultTemplate, path: &str) -> String {
    let path = path.trim().replace('\\', "\\\\").replace('"', "\\\"");
    match template {
        DefaultTemplate::Map => {
            format!(
                "{{{{ with secret \"{path}\" }}}}{{{{ range $k, $v := .Data }}}}{{{{ $k }}}}: {{{{ $v }}}}\n{{{{ end }}}}{{{{ end }}}}"
            )
        }
        DefaultTemplate::Json => format!("{{{{ with secret \"{path}\" }}}}{{{{ .Data | toJSON }}}}\n{{{{ end }}}}"),
    }
}

/// The most segments of a path: the agent looks up the mount, and a rule is compared with a form of the path for each segment.
const MAX_SEGMENTS: usize = 16;

/// Parses a path of a template.
fn path(text: &str) -> Result<ApiPath, String> {
    let path: ApiPath = spelling::parse(text, spelling::of_path)?;
    let segments = path.segments().count();
    if segments > MAX_SEGMENTS {
        return Err(format!("has {segments} segments, allowed are {MAX_SEGMENTS}"));
    }
    match path.has_placeholder() {
        true => Err("has a placeholder, which vault-k8s does not know".to_owned()),
        false => Ok(path),
    }
}

/// Where the file goes: below the mount path, even if the name begins with a slash.
fn destination(
    name: &str,
    keys: &NamedKeys<'_>,
    draft: &VaultK8sDraft<'_>,
    problems: &mut Problems,
) -> Option<Destination> {
    let file = keys.file.filter(|file| !file.text.is_empty());
    let keeps_case = keys.keep_case.unwrap_or(draft.keep_case);
    let name = match (file, keeps_case) {
        (Some(file), _) => clean(file.text),
        (None, true) => name.to_owned(),
        (None, false) => name.to_lowercase(),
    };
    let directory = keys.directory.or(draft.directory);
    let place = mount_path(directory)
        .map_err(|why| report_at(directory, &why, problems))
        .ok()?;
    let parsed = format!("{place}:{name}").parse::<Destination>();
    parsed
        .map_err(|why| match (directory, file, keys.secret.or(keys.template)) {
            (_, Some(file), _) => problems.push(file.key(), said(&format!("{place}/{name}"), &why)),
            (Some(written), None, _) | (None, None, Some(written)) => {
                problems.push(written.key(), said(&format!("{place}/{name}"), &why));
            }
            (None, None, None) => {}
        })
        .ok()
}

/// The directory where the files are mounted.
fn mount_path(directory: Option<Written<'_>>) -> Result<String, String> {
    let Some(written) = directory else {
        return Ok(DIRECTORY.to_owned());
    };
    if !written.text.starts_with('/') {
        return Err("is not an absolute path, such as /vault/secrets".to_owned());
    }
    let place = format!("/{}", clean(written.text));
    match Destination::in_directory(&place, "x") {
        Ok(_) => Ok(place),
        Err(why) => Err(format!("cannot be a mount for secrets: it {why}")),
    }
}

/// The path without empty segments and single dots, and without a slash at either end: as Go's `path.Join` makes it.
fn clean(path: &str) -> String {
    let segments: Vec<_> = path
        .split('/')
        .filter(|segment| !matches!(*segment, "" | "."))
        .collect();
    segments.join("/")
}
