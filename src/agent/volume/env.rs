//! The files that hold the values of variables: one file for each variable, named as the variable, in the directory
//! [`ENV_DIR`].

use std::collections::BTreeMap;
use std::io;

use super::{RenderedFile, SeenFiles, below, file, place};
use crate::plan::{ENV_DIR, EnvName, MAX_RENDERED_BYTES, Mode, SECRETS_DIR};
use crate::secret::Secret;

/// The place of the directory.
pub(in crate::agent) fn directory() -> String {
    place(ENV_DIR)
}

/// The shown name of a variable's file.
pub(in crate::agent) fn shown(variable: &str) -> String {
    format!("{ENV_DIR}/{variable}")
}

/// The path of a variable's file in the containers.
pub(in crate::agent) fn path(variable: &str) -> String {
    format!("{SECRETS_DIR}/{ENV_DIR}/{variable}")
}

/// The variable whose file has this shown name.
pub(in crate::agent) fn variable(shown: &str) -> Option<&str> {
    below(ENV_DIR, shown)
}

/// The file of a variable.
pub(in crate::agent) fn rendered(name: &EnvName, value: &Secret, mode: Mode) -> RenderedFile {
    RenderedFile {
        place: place(&shown(name.as_str())),
        mode: mode.bits(),
        bytes: value.clone(),
    }
}

/// Reads the value of one variable. None: there is no such file.
pub(in crate::agent) fn read(seen: &SeenFiles, name: &EnvName) -> io::Result<Option<Secret>> {
    file::read(&seen.at(&path(name.as_str())), MAX_RENDERED_BYTES)
}

/// Reads the values of all variables.
pub(in crate::agent) fn read_all(seen: &SeenFiles) -> io::Result<BTreeMap<String, Secret>> {
    let mut variables = BTreeMap::new();
    let entries = match std::fs::read_dir(seen.at(&path(""))) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(variables),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        // The name of a delivered variable is text.
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        if let Some(value) = file::read(&entry.path(), MAX_RENDERED_BYTES)? {
            variables.insert(name, value);
        }
    }
    Ok(variables)
}
