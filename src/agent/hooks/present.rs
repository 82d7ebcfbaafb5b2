//! What `init` delivered, as the runner's container sees it. The started hook takes it into memory and away from the job, and
//! gives it back as its last work but one: a hook that is killed in between, or that fails on what a secret holds, leaves no files.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::clear::clear;
use super::deliver::JobFile;
use super::{Hook, HookPlan};
use crate::agent::files;
use crate::agent::outcome::{Delivered, Manifest, Target};
use crate::agent::report::{Failure, SetupFault};
use crate::plan::{Destination, ENV_DIR, ExitCode, FieldName, MAX_RENDERED_BYTES, Mode, SECRETS_DIR};
use crate::secret::Secret;

/// All of it.
pub(super) struct Present {
    files: Vec<PresentFile>,
    variables: BTreeMap<String, Secret>,
}

struct PresentFile {
    /// As the containers see it.
    path: String,
    mode: Mode,
    seen: Seen,
}

/// A file of the plan.
enum Seen {
    Secret(Secret),
    /// Empty and closed to all, as `init` leaves it without its secret, and as the hooks do.
    Closed,
    Missing,
    Unreadable(String),
}

impl Seen {
    fn at(place: &Path, mode: Mode) -> Self {
        let closed = || {
            let found = std::fs::symlink_metadata(place);
            found.is_ok_and(|found| found.is_file() && found.len() == 0 && found.permissions().mode() & 0o777 == 0)
        };
        match files::read(place, MAX_RENDERED_BYTES) {
            Ok(Some(bytes)) if bytes.is_empty() && closed() && mode.bits() != 0 => Self::Closed,
            Ok(Some(bytes)) => Self::Secret(bytes),
            Ok(None) => Self::Missing,
            Err(_) if closed() => Self::Closed,
            Err(error) => Self::Unreadable(error.to_string()),
        }
    }
}

/// The files of a secret's fields, whose names came with it: those that are there and could be. (What only looks
/// like one is masked too: that does no harm.)
fn field_files(hook: &Hook, name: &FieldName) -> Vec<String> {
    let directory = match name.directory() {
        "" => SECRETS_DIR.to_owned(),
        directory => format!("{SECRETS_DIR}/{directory}"),
    };
    let Ok(entries) = std::fs::read_dir(hook.path(&directory)) else {
        return Vec::new();
    };
    let files = entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| !kind.is_dir()));
    let paths = files.filter_map(|entry| Some(format!("{directory}/{}", entry.file_name().to_str()?)));
    paths
        .filter(|path| {
            let place = path.strip_prefix(SECRETS_DIR).and_then(|place| place.strip_prefix('/'));
            place.is_some_and(|place| name.may_make(place))
        })
        .collect()
}

impl Present {
    /// Reads all of it, and then clears it. What a sidecar keeps fresh stays: here it cannot be written.
    pub(super) fn take(hook: &Hook, it: &HookPlan) -> Result<Self, Failure> {
        let present = Self::read(hook, it)?;
        if it.plan.refresh.is_none() {
            // Whoever refuses the job clears again, and reports what cannot be cleared.
            let _ = clear(hook, &it.plan);
        }
        Ok(present)
    }

    /// The files to give back: all that were taken away, but for the variables that are exported.
    pub(super) fn kept<'a>(&'a self, it: &HookPlan) -> impl Iterator<Item = JobFile<'a>> {
        let taken = it.plan.refresh.is_none();
        let (export, env_mode) = (it.job.export, it.plan.env_mode.bits());
        let files = self.files.iter().filter_map(|file| match &file.seen {
            Seen::Secret(bytes) => Some(JobFile {
                path: Cow::Borrowed(file.path.as_str()),
                mode: file.mode.bits(),
                bytes,
            }),
            Seen::Closed | Seen::Missing | Seen::Unreadable(_) => None,
        });
        let variables = self.variables.iter().filter(move |_| !export);
        let variables = variables.map(move |(name, bytes)| JobFile {
            path: Cow::Owned(format!("{SECRETS_DIR}/{ENV_DIR}/{name}")),
            mode: env_mode,
            bytes,
        });
        files.chain(variables).filter(move |_| taken)
    }

    /// The variables' values by name.
    pub(super) fn variables(&self) -> &BTreeMap<String, Secret> {
        &self.variables
    }

    fn read(hook: &Hook, it: &HookPlan) -> Result<Self, Failure> {
        let known: Vec<_> = it.plan.destinations().map(|file| file.path().into_owned()).collect();
        let mut files = Vec::new();
        for file in &it.plan.files {
            let paths = match &file.file {
                Destination::EachField(name) => field_files(hook, name)
                    .into_iter()
                    .filter(|path| !known.contains(path))
                    .collect(),
                one => vec![one.path().into_owned()],
            };
            files.extend(paths.into_iter().map(|path| {
                let seen = Seen::at(&hook.path(&path), file.mode);
                PresentFile {
                    path,
                    mode: file.mode,
                    seen,
                }
            }));
        }
        let mut variables = BTreeMap::new();
        let directory = hook.path(&format!("{SECRETS_DIR}/{ENV_DIR}"));
        let cannot = SetupFault::VariablesUnreadable;
        let entries = match std::fs::read_dir(&directory) {
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            entries => Some(entries.map_err(cannot)?),
        };
        for entry in entries.into_iter().flatten() {
            let entry = entry.map_err(cannot)?;
            // Ours have names that are text.
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            if let Some(value) = files::read(&entry.path(), MAX_RENDERED_BYTES).map_err(cannot)? {
                variables.insert(name, value);
            }
        }
        Ok(Self { files, variables })
    }

    /// All of it, by name.
    pub(super) fn secrets(&self) -> impl Iterator<Item = (&str, &Secret)> {
        let files = self.files.iter().filter_map(|file| match &file.seen {
            Seen::Secret(bytes) => Some((file.path.as_str(), bytes)),
            _ => None,
        });
        files.chain(self.variables.iter().map(|(name, value)| (name.as_str(), value)))
    }

    /// A file's content, if it is there.
    pub(super) fn file(&self, file: &Destination) -> Option<&Secret> {
        let path = file.path();
        self.files.iter().find_map(|known| match &known.seen {
            Seen::Secret(bytes) if known.path == path => Some(bytes),
            _ => None,
        })
    }

    /// Whether all is there that the manifest names.
    pub(super) fn check(&self, manifest: &Manifest, it: &HookPlan) -> Result<(), Failure> {
        for Delivered { to, .. } in &manifest.delivered {
            let (what, why) = match to {
                Target::File(path) => match self
                    .files
                    .iter()
                    .find(|known| known.path == *path)
                    .map(|known| &known.seen)
                {
                    Some(Seen::Secret(_)) => continue,
                    Some(Seen::Unreadable(why)) => {
                        return Err(SetupFault::FileUnreadable {
                            path: path.clone(),
                            why: why.clone(),
                            user: it.job.user,
                        }
                        .into());
                    }
                    // The sidecar does as `when-gone` says, and no hook could have.
                    _ if it.plan.refresh.is_some() => continue,
                    _ => (path, "file"),
                },
                Target::Env(name) if self.variables.contains_key(name) => continue,
                Target::Env(name) => (name, "variable"),
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
