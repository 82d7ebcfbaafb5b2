//! One file, from its bytes to what podkey finds in its objects.

use std::path::Path;

use super::{Command, Input, expand, not_manifest};
use crate::cli::inject::offline::{self, Examined, KnownConfig, OfflineError, Outcome, Place};
use crate::cli::input;
use crate::cli::visible::{visible, visible_path};
use crate::inject::PREFIX;

/// A file, examined.
pub(in crate::cli) struct ExaminedFile {
    /// As the command line names it. None: standard input.
    pub(in crate::cli) name: Option<String>,
    /// The objects. An empty list: the file has nothing to say of podkey. The error: no object of the file can be used.
    pub(in crate::cli) objects: Result<Vec<Examined>, Unusable>,
    /// Why a file was passed over, where somebody may miss its pods.
    pub(in crate::cli) skipped: Option<String>,
}

/// Why a file or an object of it cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) struct Unusable {
    pub(in crate::cli) message: String,
    pub(in crate::cli) at: Option<Place>,
}

impl Unusable {
    fn of(message: String) -> Self {
        Self { message, at: None }
    }
}

/// Why podkey has no objects of a file.
enum NotUsed {
    Unusable(Unusable),
    /// Nobody expects podkey to read the file.
    Skipped(String),
}

impl From<Unusable> for NotUsed {
    fn from(why: Unusable) -> Self {
        Self::Unusable(why)
    }
}

impl From<&OfflineError> for Unusable {
    fn from(error: &OfflineError) -> Self {
        Self {
            message: visible(&error.to_string()),
            at: match error {
                OfflineError::Yaml(_, at) => *at,
                OfflineError::Kind(_) | OfflineError::Foreign | OfflineError::Denied(_) | OfflineError::Pod(_) => None,
            },
        }
    }
}

/// What a text may say that concerns podkey: its own name, and what other injectors ask for.
const SIGNS: [&str; 3] = ["podkey", "vault.hashicorp.com/", "openbao.org/"];

fn concerns_podkey(text: &str) -> bool {
    SIGNS.iter().any(|sign| text.contains(sign))
}

pub(super) fn examine(
    input: Input,
    namespace: Option<&str>,
    command: Command,
    config: KnownConfig<'_>,
) -> ExaminedFile {
    let (name, objects) = match &input {
        Input::Standard => (None, standard(namespace, config)),
        Input::File { path, is_named } => match input::read(path) {
            Ok(text) => {
                let objects = file(path, &text, *is_named, namespace, command, config);
                (Some(visible_path(path)), objects)
            }
            // The error names the file.
            Err(error) => (None, Err(Unusable::of(visible(&format!("{error:#}"))).into())),
        },
        Input::Chart { path, is_named } => (Some(visible_path(path)), chart(path, *is_named, command)),
        Input::Unreadable(why) => (None, Err(Unusable::of(visible(why)).into())),
    };
    let (objects, skipped) = match objects {
        // What is no manifest may lie beside manifests, as long as nobody expects podkey to read it.
        Err(NotUsed::Skipped(why)) => (Ok(Vec::new()), Some(why)),
        Err(NotUsed::Unusable(why)) => (Err(why), None),
        Ok(objects) => (Ok(objects), None),
    };
    ExaminedFile { name, objects, skipped }
}

fn standard(namespace: Option<&str>, config: KnownConfig<'_>) -> Result<Vec<Examined>, NotUsed> {
    let text = input::read(Path::new("-")).map_err(|error| Unusable::of(format!("{error:#}")))?;
    offline::examine(&text, namespace, config).map_err(|error| Unusable::from(&error).into())
}

fn chart(folder: &Path, is_named: bool, command: Command) -> Result<Vec<Examined>, NotUsed> {
    let concerns = |file: &Path| input::read(file).is_ok_and(|text| text.contains(PREFIX));
    match is_named || expand::files_of_chart(folder).any(|file| concerns(&file)) {
        true => Err(Unusable::of(not_manifest::chart(folder, command.name())).into()),
        false => Ok(Vec::new()),
    }
}

fn file(
    path: &Path,
    text: &str,
    is_named: bool,
    namespace: Option<&str>,
    command: Command,
    config: KnownConfig<'_>,
) -> Result<Vec<Examined>, NotUsed> {
    if command == Command::Lint && !concerns_podkey(text) {
        return Ok(Vec::new());
    }
    let is_needed = is_named && command == Command::Inject || text.contains(PREFIX);
    let unusable = |why: Unusable| match (is_needed, not_manifest::remedy(path, text, command.name())) {
        // `podkey lint` names such a file only where an annotation stands in the file.
        (false, _) if command == Command::Lint => Ok(Vec::new()),
        (false, remedy) => Err(NotUsed::Skipped(remedy.unwrap_or(why.message))),
        (true, None) => Err(why.into()),
        (true, Some(message)) => Err(Unusable { message, at: why.at }.into()),
    };
    if not_manifest::is_kustomization(path) {
        return unusable(Unusable::of("is not a manifest".to_owned()));
    }
    let examined = match offline::examine(text, namespace, config) {
        Ok(examined) => examined,
        Err(error) => return unusable(Unusable::from(&error)),
    };
    // Without apiVersion and kind, or without the pod's spec: values, or the patch of a kustomization.
    let broken = |object: &Examined| match &object.outcome {
        Outcome::Unusable(error @ (OfflineError::Kind(_) | OfflineError::Foreign)) => Some(Unusable {
            at: object.at,
            ..Unusable::from(error)
        }),
        _ => None,
    };
    let is_foreign = |object: &Examined| matches!(object.outcome, Outcome::Unusable(OfflineError::Foreign));
    // A workflow that names an annotation, for example. Hooks of pre-commit name every file of a commit.
    if command == Command::Lint
        && is_needed
        && examined.iter().all(is_foreign)
        && not_manifest::remedy(path, text, command.name()).is_none()
    {
        return Err(NotUsed::Skipped("is no manifest of Kubernetes".to_owned()));
    }
    match examined.iter().find_map(broken) {
        Some(why) if examined.len() == 1 => unusable(why),
        _ => Ok(examined),
    }
}
