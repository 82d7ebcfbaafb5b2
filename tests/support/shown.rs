//! What a command of `podkey` shows its user.

use std::path::Path;
use std::process::Command;

/// Runs `podkey` in the folder. The text is what it prints on both streams, and then its exit code.
pub(crate) fn shown(folder: &Path, args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_podkey"))
        .args(args)
        .current_dir(folder)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    format!(
        "{}{}exit code {}\n",
        text(output.stdout),
        text(output.stderr),
        output.status.code().unwrap()
    )
}
