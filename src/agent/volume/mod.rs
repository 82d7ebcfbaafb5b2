//! The volumes of the pod: the only room of the agent that knows paths and layouts. `init` and the sidecar write below
//! [`VOLUME_DIR`]; the containers, and the job hooks in them, see the directory `files` of that volume at [`SECRETS_DIR`].
//!
//! | module | what |
//! | --- | --- |
//! | `once` | files that `init` writes once, those that are mounted on their own (`subPath`) among them |
//! | `refreshed` | files that the sidecar replaces, a generation at a time |
//! | `seen` | the files as the containers see them, for the job hooks and for `exec` |
//! | `env` | the files that hold variables |
//! | `kubelet_env` | the volume `podkey-env`: the variables that the kubelet sets |
//! | `printed` | the values that templates printed, for the job's masks |
//! | `bin` | the volume `podkey-bin`: agent, wrappers, the plan for the job hooks |
//! | `outcome` | how `init` ended, beside the plan |
//! | `linked` | files of pods without `podkey-init` with an absolute destination, which is a symlink |
//! | `handover` | the client token on its way from `init` to the sidecar |
//! | `status` | `.status.json` beside the refreshed files |
//!
//! A *place* is the path of a file below the root of the volume, such as `files/web.env`. A *shown name* is the path below
//! [`SECRETS_DIR`], such as `web.env`; in a directory with a mount of its own, it is the absolute path, such as `/vault/secrets/db`.

pub(super) mod bin;
mod directory;
pub(super) mod env;
mod error;
mod file;
pub(super) mod handover;
pub(super) mod kubelet_env;
pub(super) mod linked;
pub(super) mod once;
pub(super) mod outcome;
pub(super) mod printed;
mod refreshed;
mod seen;
mod staged;
mod status;
mod termination;
mod touch;

use std::borrow::Cow;
use std::path::{Path, PathBuf};

pub(super) use self::error::VolumeError;
pub(super) use self::file::{RenderedFile, read};
pub(super) use self::printed::PrintedValues;
pub(super) use self::refreshed::{RefreshedFiles, read_status};
pub(super) use self::seen::{SeenFiles, remove_all_in};
pub(super) use self::staged::Staged;
pub(super) use self::status::{FileState, FileStatus, StatusFile};
pub(super) use self::termination::write_termination_message;
pub(super) use self::touch::touch;
use crate::plan::{
    BIN_DIR, Binary, FILES_DIR, MOUNTS_DIR, PLAN_FILE, SECRETS_DIR, STATE_DIR, STATE_PLACE, TOKEN_FILE, VOLUME_DIR,
    directory_of_place,
};

/// Where the absolute paths of the container are on this machine.
#[derive(Debug, Clone, Default)]
pub(super) struct ContainerPaths {
    /// The prefix of every path (`--root`). None in a container.
    root: Option<PathBuf>,
}

impl ContainerPaths {
    pub(super) fn new(root: Option<PathBuf>) -> Self {
        Self { root }
    }

    /// The directory that stands for `/`.
    pub(super) fn root(&self) -> &Path {
        self.root.as_deref().unwrap_or_else(|| Path::new("/"))
    }

    /// The service-account token.
    pub(super) fn token_file(&self) -> PathBuf {
        self.at(TOKEN_FILE)
    }

    /// The root of the volume `podkey-secrets`, in podkey's own containers.
    pub(super) fn volume_directory(&self) -> PathBuf {
        self.at(VOLUME_DIR)
    }

    fn at(&self, absolute: &str) -> PathBuf {
        match &self.root {
            None => PathBuf::from(absolute),
            Some(root) => root.join(absolute.trim_start_matches('/')),
        }
    }

    /// Whether missing mounts are made: only outside a container.
    fn makes_mounts(&self) -> bool {
        self.root.is_some()
    }

    /// The directory with the plan and the outcome of `init`, in the containers that use the agent. [`BIN_DIR`] comes first, and no
    /// container can write there: where `init` copied the agent, the state is beside it, and a job that is root could make a
    /// directory with the name [`STATE_DIR`]. An image has no such files, and its pod has a read-only mount at [`STATE_DIR`].
    fn state_directory(&self) -> &'static str {
        let is_copied = [PLAN_FILE, outcome::OUTCOME]
            .into_iter()
            .any(|name| self.at(BIN_DIR).join(name).symlink_metadata().is_ok());
        match !is_copied && self.at(STATE_DIR).is_dir() {
            true => STATE_DIR,
            false => BIN_DIR,
        }
    }

    /// Opens the state directory for writing, in podkey's own containers.
    fn open_state(&self, binary: Binary) -> Result<Staged, VolumeError> {
        match binary {
            Binary::Copy => self.open(BIN_DIR),
            Binary::ImageVolume => self.open(VOLUME_DIR)?.below(STATE_PLACE),
        }
    }

    /// Opens a directory of the container for writing.
    fn open(&self, absolute: &str) -> Result<Staged, VolumeError> {
        let directory = self.at(absolute);
        match self.makes_mounts() {
            true => Staged::make(&directory),
            false => Staged::open(&directory),
        }
    }
}

/// The place of the file with this shown name.
pub(super) fn place(shown: &str) -> String {
    format!("{FILES_DIR}/{shown}")
}

/// The shown name of the file at this place. (A file that is mounted on its own has none: its place is returned.)
pub(super) fn shown_name(place: &str) -> Cow<'_, str> {
    if let Some(name) = below(FILES_DIR, place) {
        return Cow::Borrowed(name);
    }
    let of_directory = below(MOUNTS_DIR, place).and_then(|rest| {
        let (segment, name) = rest.split_once('/')?;
        let directory = directory_of_place(&format!("{MOUNTS_DIR}/{segment}"))?;
        Some(Cow::Owned(format!("{directory}/{name}")))
    });
    of_directory.unwrap_or(Cow::Borrowed(place))
}

/// The path in the containers of the file with this shown name.
pub(super) fn path_of(shown: &str) -> String {
    match shown.starts_with('/') {
        true => shown.to_owned(),
        false => format!("{SECRETS_DIR}/{shown}"),
    }
}

/// The shown name of the file with this path in the containers. None: the file is mounted on its own.
pub(super) fn below_secrets(path: &str) -> Option<&str> {
    below(SECRETS_DIR, path)
}

fn below<'a>(directory: &str, path: &'a str) -> Option<&'a str> {
    path.strip_prefix(directory)?.strip_prefix('/')
}

/// The directory and the last name of a path with slashes.
fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}
