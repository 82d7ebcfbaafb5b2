//! The secrets that `init` delivered, in the runner's container. The started hook takes them into memory and removes the files;
//! it writes the files again just before the exports. A hook that is killed in between, or that fails because of the content of
//! a secret, leaves no files.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::clear::clear;
use super::{Hook, HookFile, HookPlan};
use crate::agent::report::{Failure, SetupFault};
use crate::agent::volume::outcome::{DeliveredAs, DeliveredItem, Manifest};
use crate::agent::volume::{SeenFiles, env, linked, printed};
use crate::plan::{Content, Destination, ExitCode, FieldName, Mode, SECRETS_DIR};
use crate::secret::Secret;

/// The delivered files and variables.
pub(super) struct Present {
    files: Vec<PresentFile>,
    variables: BTreeMap<String, Secret>,
}

struct PresentFile {
    /// The path in the containers.
    path: String,
    mode: Mode,
    content: PresentContent,
    /// The values that a template printed into the file, or why they are not known. None: no template made the file.
    printed: Option<Result<Vec<Secret>, String>>,
}

/// What was found at the path of a file.
enum PresentContent {
    Secret(Secret),
    /// Empty, with mode 0000: `init` or a hook left the file so, without the secret.
    Closed,
    Missing,
    Unreadable(String),
}

impl PresentContent {
    fn read(seen: &SeenFiles, path: &str, mode: Mode) -> Self {
        match seen.read(path) {
            Ok(Some(bytes)) if bytes.is_empty() && seen.is_closed(path) && mode.bits() != 0 => Self::Closed,
            Ok(Some(bytes)) => Self::Secret(bytes),
            Ok(None) => Self::Missing,
            Err(_) if seen.is_closed(path) => Self::Closed,
            Err(error) => Self::Unreadable(error.to_string()),
        }
    }
}

impl PresentFile {
    /// Whether the file is there with its secret. Errors: why the file, or a value to mask, cannot be read.
    fn usable(&self) -> Result<bool, &str> {
        match (&self.content, &self.printed) {
            (PresentContent::Unreadable(why), _) | (PresentContent::Secret(_), Some(Err(why))) => Err(why),
            (PresentContent::Secret(_), _) => Ok(true),
            (PresentContent::Closed | PresentContent::Missing, _) => Ok(false),
        }
    }
}

/// The values that the template of this number printed.
fn printed_values(seen: &SeenFiles, number: usize) -> Result<Vec<Secret>, String> {
    let problem = match printed::read(seen, number) {
        Ok(Some(values)) => return Ok(values),
        Ok(None) => "there is no such file".to_owned(),
        Err(error) => error.to_string(),
    };
    Err(format!("the list of the values to mask in it: {problem}"))
}

/// The paths of the files that may be named after a secret's fields. (Another file with a fitting name is masked too: that does
/// no harm.)
fn field_files(seen: &SeenFiles, template: &FieldName) -> Vec<String> {
    let names = seen.names_in(template.directory()).into_iter();
    let fitting = names.filter(|name| template.may_make(name));
    fitting.map(|name| format!("{SECRETS_DIR}/{name}")).collect()
}

impl Present {
    /// Reads every file and variable, and then clears the files. Refreshed files stay: a hook cannot write there.
    pub(super) fn take(hook: &Hook, it: &HookPlan) -> Result<Self, Failure> {
        let present = Self::read(hook, it)?;
        linked::link(hook.seen.paths(), &it.plan)?;
        if it.plan.refresh.is_none() {
            // A failure is not lost: if the job is refused, the files are cleared again, and a failure then is reported.
            let _ = clear(hook, &it.plan);
        }
        Ok(present)
    }

    /// The files to write again: every cleared file, but no variables that are exported.
    pub(super) fn files_to_restore<'a>(&'a self, it: &HookPlan) -> impl Iterator<Item = HookFile<'a>> {
        let taken = it.plan.refresh.is_none();
        let (export, env_mode) = (it.job.export, it.plan.env_mode.bits());
        let files = self.files.iter().filter_map(|file| match &file.content {
            PresentContent::Secret(bytes) => Some(HookFile {
                path: Cow::Borrowed(file.path.as_str()),
                mode: file.mode.bits(),
                bytes,
            }),
            PresentContent::Closed | PresentContent::Missing | PresentContent::Unreadable(_) => None,
        });
        let variables = self.variables.iter().filter(move |_| !export);
        let variables = variables.map(move |(name, bytes)| HookFile {
            path: Cow::Owned(env::path(name)),
            mode: env_mode,
            bytes,
        });
        files.chain(variables).filter(move |_| taken)
    }

    /// The values of the variables, by name.
    pub(super) fn variables(&self) -> &BTreeMap<String, Secret> {
        &self.variables
    }

    fn read(hook: &Hook, it: &HookPlan) -> Result<Self, Failure> {
        let known: Vec<_> = it.plan.destinations().map(|file| file.path().into_owned()).collect();
        let mut files = Vec::new();
        for (number, file) in it.plan.files.iter().enumerate() {
            let paths = match &file.file {
                Destination::EachField(template) => field_files(&hook.seen, template)
                    .into_iter()
                    .filter(|path| !known.contains(path))
                    .collect(),
                path => vec![path.path().into_owned()],
            };
            let is_template = matches!(file.content, Content::Template(_));
            files.extend(paths.into_iter().map(|path| PresentFile {
                content: PresentContent::read(&hook.seen, &path, file.mode),
                printed: is_template.then(|| printed_values(&hook.seen, number)),
                path,
                mode: file.mode,
            }));
        }
        let variables = env::read_all(&hook.seen).map_err(SetupFault::VariablesUnreadable)?;
        Ok(Self { files, variables })
    }

    /// The content of every file, every value that a template printed, and the value of every variable, by name.
    pub(super) fn secrets(&self) -> impl Iterator<Item = (&str, &Secret)> {
        let printed = self.files.iter().flat_map(|file| {
            let values = file.printed.iter().flatten().flatten();
            values.map(|value| (file.path.as_str(), value))
        });
        let files = self.files.iter().filter_map(|file| match &file.content {
            PresentContent::Secret(bytes) => Some((file.path.as_str(), bytes)),
            _ => None,
        });
        files
            .chain(printed)
            .chain(self.variables.iter().map(|(name, value)| (name.as_str(), value)))
    }

    /// The content of a file. None: the file is missing, closed or unreadable.
    pub(super) fn file(&self, file: &Destination) -> Option<&Secret> {
        let path = file.path();
        self.files.iter().find_map(|known| match &known.content {
            PresentContent::Secret(bytes) if known.path == path => Some(bytes),
            _ => None,
        })
    }

    /// Fails if a file or variable of the manifest is missing or unreadable.
    pub(super) fn check(&self, manifest: &Manifest, it: &HookPlan) -> Result<(), Failure> {
        for DeliveredItem { to, .. } in &manifest.delivered {
            let (what, why) = match to {
                DeliveredAs::File(path) => match self
                    .files
                    .iter()
                    .find(|known| known.path == *path)
                    .map(PresentFile::usable)
                {
                    Some(Ok(true)) => continue,
                    Some(Err(why)) => {
                        return Err(SetupFault::FileUnreadable {
                            path: path.clone(),
                            why: why.to_owned(),
                            user: it.job.user,
                        }
                        .into());
                    }
                    // The sidecar may have removed the file, as `when-gone` says. No hook can have removed it.
                    _ if it.plan.refresh.is_some() => continue,
                    _ => (path, "file"),
                },
                DeliveredAs::Env(name) if self.variables.contains_key(name) => continue,
                DeliveredAs::Env(name) => (name, "variable"),
            };
            return Err(Failure::new(
                ExitCode::NotFound,
                format!(
                    "the {why} {what}, which podkey-init delivered, is gone: a job hook of this pod has cleared it already"
                ),
                "a runner's pod serves one job: register the runner as ephemeral, as ARC does",
            ));
        }
        Ok(())
    }
}
