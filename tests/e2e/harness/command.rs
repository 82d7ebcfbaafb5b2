//! helm and kubectl, as people use them.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// Runs one of them on the cluster of a kubeconfig, with this on its standard input. Gives what it printed, and what it
/// said beside that, such as warnings; or what it complained of.
pub fn run(program: &str, kubeconfig: &Path, args: &[&str], input: &str) -> Result<(String, String), String> {
    let mut child = Command::new(program)
        .args(args)
        .env("KUBECONFIG", kubeconfig)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}: `make e2e` fetches it and puts it in PATH"));
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    let _ = writer.join().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        Ok((text(&output.stdout), text(&output.stderr)))
    } else {
        Err(text(&output.stderr))
    }
}
