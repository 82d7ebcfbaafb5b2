//! The reference: `bao agent`, which renders templates with consul-template's engine (openbao-template).

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::rc::Rc;

use podkey::template::{Bounds, MissingField, SecretAnswer, SecretCall, Template};
use tempfile::TempDir;

use crate::support::http;
use crate::support::openbao::{OpenBao, binary};

/// A server and the folder in which its agents work.
pub(crate) struct Reference {
    pub bao: OpenBao,
    folder: TempDir,
}

/// One template for the agent.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub text: String,
    /// `error_on_missing_key`
    pub strict: bool,
}

impl Reference {
    pub(crate) fn start() -> Self {
        Self {
            bao: OpenBao::start(),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// Sends a body as it is: numbers keep their spelling. Gives the body of the answer.
    pub(crate) fn request(&self, method: &str, path: &str, body: &str) -> String {
        let headers = [("X-Vault-Token", "root")];
        let (status, answer) = http::call(self.bao.http_port, method, &format!("/v1/{path}"), &headers, body).unwrap();
        assert!((200..300).contains(&status), "{method} {path}: {status} {answer}");
        answer
    }

    /// The file of each template, all rendered by one agent. An error is what the agent logs: one bad template ends it.
    pub(crate) fn render(&self, cases: &[Case]) -> Result<Vec<Vec<u8>>, String> {
        let folder = tempfile::tempdir_in(self.folder.path()).unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("token"), "root").unwrap();
        let mut config = format!(
            "exit_after_auth = true\nvault {{\n address = \"http://127.0.0.1:{}\"\n retry {{ num_retries = -1 }}\n}}\n\
             auto_auth {{ method \"token_file\" {{ config = {{ token_file_path = \"{}\" }} }} }}\n\
             template_config {{ exit_on_retry_failure = true }}\n",
            self.bao.http_port,
            at("token").display()
        );
        let file = |place: usize, kind: &str| -> PathBuf { at(&format!("{place}.{kind}")) };
        for (place, case) in cases.iter().enumerate() {
            fs::write(file(place, "tpl"), &case.text).unwrap();
            writeln!(
                config,
                "template {{\n source = \"{}\"\n destination = \"{}\"\n error_on_missing_key = {}\n}}",
                file(place, "tpl").display(),
                file(place, "out").display(),
                case.strict
            )
            .unwrap();
        }
        fs::write(at("agent.hcl"), config).unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let log = fs::File::create(at("log")).unwrap();
        let status = Command::new("timeout")
            .arg("60")
            .arg(binary())
            .arg("agent")
            .arg(format!("-config={}", at("agent.hcl").display()))
            .arg("-log-level=error")
            .env("HOME", folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .status()
            .unwrap();
        if !status.success() {
            let log = fs::read_to_string(at("log")).unwrap();
            return Err(log
                .lines()
                .find(|line| line.contains("error="))
                .unwrap_or(&log)
                .to_owned());
        }
        Ok((0..cases.len())
            .map(|place| fs::read(file(place, "out")).unwrap())
            .collect())
    }
}

/// What podkey makes of a template with these answers.
pub(crate) fn ours(case: &Case, lookup: &dyn Fn(&SecretCall) -> Option<Rc<SecretAnswer>>) -> Result<Vec<u8>, String> {
    let missing = match case.strict {
        true => MissingField::FailField,
        false => MissingField::Print,
    };
    let template = Template::parse(&case.text, ("{{", "}}")).map_err(|error| error.to_string())?;
    let output = template.render(lookup, missing, Bounds::default());
    output.map(|output| output.bytes).map_err(|error| error.to_string())
}

/// Where two files differ first.
pub(crate) fn difference(theirs: &[u8], ours: &[u8]) -> String {
    let at = theirs.iter().zip(ours).take_while(|(a, b)| a == b).count();
    let part =
        |file: &[u8]| String::from_utf8_lossy(&file[at.saturating_sub(40)..(at + 60).min(file.len())]).into_owned();
    format!("at byte {at}\n  bao:    {:?}\n  podkey: {:?}", part(theirs), part(ours))
}

/// The cases of a table: name and template.
pub(crate) fn table(text: &'static str) -> Vec<(&'static str, &'static str)> {
    let cases = text.trim_start_matches("=== ").trim_end_matches('\n').split("\n=== ");
    cases.map(|case| case.split_once('\n').unwrap()).collect()
}
