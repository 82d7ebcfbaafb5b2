//! The input of a command that people run: a file, or standard input.

use std::path::Path;

use anyhow::Context as _;

/// The text of the file. The file `-` is standard input.
pub(super) fn read(file: &Path) -> anyhow::Result<String> {
    if file.as_os_str() == "-" {
        std::io::read_to_string(std::io::stdin()).context("cannot read standard input")
    } else {
        std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
    }
}
