//! The values that a template printed into its file, in a file of their own in the directory [`PRINTED_DIR`]: the job hooks mask
//! each of them. Only in pods with job hooks, which remove these files with all others.

use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{RenderedFile, SeenFiles, below, file, place};
use crate::plan::{MAX_RENDERED_BYTES, PRINTED_DIR, SECRETS_DIR};
use crate::secret::Secret;

/// The values in one file.
pub(in crate::agent) struct PrintedValues {
    /// The position of the file among the destinations of the plan.
    pub number: usize,
    /// The path of the file in the containers.
    pub path: String,
    /// The permission bits of the file.
    pub mode: u32,
    /// The values, and the texts that functions made of them.
    pub values: Vec<Secret>,
}

impl PrintedValues {
    /// How many bytes [`Self::rendered`] has.
    pub(in crate::agent) fn size(&self) -> usize {
        let values = self.values.iter();
        2 + values.map(|value| value.len().div_ceil(3) * 4 + 3).sum::<usize>()
    }

    /// The file of the values: a JSON list of texts in base64, because a value need not be text.
    pub(in crate::agent) fn rendered(&self) -> RenderedFile {
        let texts: Vec<String> = self
            .values
            .iter()
            .map(|value| STANDARD.encode(value.expose()))
            .collect();
        RenderedFile {
            place: place(&shown(self.number)),
            mode: self.mode,
            // Texts always serialise.
            bytes: Secret::from(serde_json::to_vec(&texts).unwrap_or_default()),
        }
    }
}

/// The place of the directory.
pub(in crate::agent) fn directory() -> String {
    place(PRINTED_DIR)
}

/// The shown name of the file with the values of the file of this number.
fn shown(number: usize) -> String {
    format!("{PRINTED_DIR}/{number}")
}

/// The number of the file whose values have this shown name.
pub(in crate::agent) fn number(shown: &str) -> Option<usize> {
    below(PRINTED_DIR, shown)?.parse().ok()
}

/// Reads the values in the file of this number. None: there is no such file.
pub(in crate::agent) fn read(seen: &SeenFiles, number: usize) -> io::Result<Option<Vec<Secret>>> {
    let path = format!("{SECRETS_DIR}/{}", shown(number));
    let Some(json) = file::read(&seen.at(&path), MAX_RENDERED_BYTES)? else {
        return Ok(None);
    };
    // The parser's own message could quote a value.
    let not_ours = || io::Error::other("it is not a list that podkey wrote");
    let texts: Vec<&str> = serde_json::from_slice(json.expose()).map_err(|_| not_ours())?;
    let values = texts.into_iter().map(|text| STANDARD.decode(text).map(Secret::from));
    values.collect::<Result<_, _>>().map(Some).map_err(|_| not_ours())
}
