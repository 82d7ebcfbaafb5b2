//! One OpenBao server with one secret, the programs that fetch the secret, and runs of them.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::bao_agent;
use crate::plans;
use crate::support::jwt::Claims;
use crate::support::openbao::{ACCOUNT, JWT_MOUNT, NAMESPACE, OpenBao, binary};
use crate::versions::Version;
use crate::volumes;

pub(crate) const SECRET: &str = "arc-runners/data/kubeconfig/rancher-cluster";
const KEY: &str = "config";
const ROLE: &str = "actions";
/// Where podkey's agent writes a relative file; the others write there too.
const FILE: &str = "podkey/volume/files/kubeconfig";
const TOKEN: &str = "podkey/token/token";

/// One of the programs that are compared.
pub(crate) struct Program {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    args: Vec<String>,
    env: Vec<(&'static str, String)>,
}

/// One run, as `measure` reports it.
#[derive(Deserialize)]
pub(crate) struct Run {
    begun: f64,
    there: f64,
    ended: f64,
    cpu_ms: f64,
    peak_kib: f64,
    status: i32,
}

/// The same of many runs at once: until the last file was there, until the last ended (ms), all CPU time, the highest peak.
#[derive(Default, Clone, Copy)]
pub(crate) struct Sum {
    pub(crate) there: f64,
    pub(crate) ended: f64,
    pub(crate) cpu_ms: f64,
    pub(crate) peak_kib: f64,
}

impl Sum {
    pub(crate) fn of(runs: &[Run]) -> Self {
        runs.iter().fold(Self::default(), |sum, run| Self {
            there: sum.there.max(run.there - runs[0].begun),
            ended: sum.ended.max(run.ended - runs[0].begun),
            cpu_ms: sum.cpu_ms + run.cpu_ms,
            peak_kib: sum.peak_kib.max(run.peak_kib),
        })
    }
}

/// Makes the same file as podkey's `key` and `decode`.
fn template() -> String {
    format!("{{{{ with secret \"{SECRET}\" }}}}{{{{ .Data.data.{KEY} | base64Decode }}}}{{{{ end }}}}")
}

/// The file as a field, and the same file made by the template that `bao agent` has.
pub(crate) fn field() -> Value {
    json!({"secret": SECRET, "key": KEY, "decode": "base64", "file": "kubeconfig", "mode": "0400"})
}

pub(crate) fn of_template() -> Value {
    json!({"template": template(), "file": "kubeconfig", "mode": "0400"})
}

/// The server, and the folder that the programs run in.
pub(crate) struct Bench {
    pub(crate) bao: OpenBao,
    measure: PathBuf,
    folder: tempfile::TempDir,
    content: String,
}

impl Bench {
    /// On a server that has scenario 1. `measure` is the launcher.
    pub(crate) fn new(measure: &str, bao: OpenBao) -> anyhow::Result<Self> {
        // A value of 4 KiB: a kubeconfig in base64, with a line break after every 76 characters.
        let mut content = String::from("apiVersion: v1\nkind: Config\n");
        while content.len() < 3032 {
            writeln!(
                content,
                "# line {} of a file that stands for a kubeconfig",
                content.len()
            )?;
        }
        content.truncate(3032);
        let mut value = String::new();
        for (index, letter) in STANDARD.encode(&content).chars().enumerate() {
            if index > 0 && index % 76 == 0 {
                value.push('\n');
            }
            value.push(letter);
        }
        value.push('\n');
        // A new mount of KV v2 refuses for a moment.
        let (begun, body) = (Instant::now(), json!({"data": {KEY: value}}));
        while bao.call_in("", "POST", SECRET, &body).0 != 200 {
            ensure!(begun.elapsed() < Duration::from_secs(10), "the server takes no secret");
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(Self {
            bao,
            measure: fs::canonicalize(measure)?,
            folder: volumes::folder()?,
            content,
        })
    }

    /// `podkey-agent init` of this version, with one file; `login` as [`plans::plan`] takes it.
    pub(crate) fn podkey(
        &self,
        name: &str,
        version: &Version,
        login: (&str, &Value),
        file: &Value,
    ) -> anyhow::Result<Program> {
        let annotations = json!({"podkey.dev/files": json!([file]).to_string()});
        Ok(Program {
            name: name.to_owned(),
            path: version.agent.clone(),
            args: vec!["init".into(), "--root".into(), ".".into()],
            env: vec![("PODKEY_PLAN", plans::plan(version, &self.bao, login, &annotations)?)],
        })
    }

    pub(crate) fn go(&self, path: &str) -> anyhow::Result<Program> {
        let ca = self.bao.directory().join("ca.pem").display().to_string();
        let args = [&self.bao.address(), &ca, TOKEN, JWT_MOUNT, ROLE, SECRET, KEY, FILE];
        Ok(Program {
            name: "Go".to_owned(),
            path: fs::canonicalize(path)?,
            args: args.map(str::to_owned).to_vec(),
            env: Vec::new(),
        })
    }

    pub(crate) fn bao_agent(&self) -> anyhow::Result<Program> {
        let config = self.folder.path().join("agent.hcl");
        let text = format!(
            r#"
            exit_after_auth = true
            {login}
            template {{
              contents = {template:?}
              destination = "{FILE}"
              perms = "0400"
            }}
            "#,
            login = bao_agent::login(&self.bao, TOKEN, ROLE),
            template = template(),
        );
        fs::write(&config, text)?;
        Ok(Program {
            name: "bao agent".to_owned(),
            path: binary(),
            args: vec!["agent".into(), format!("-config={}", config.display())],
            env: Vec::new(),
        })
    }

    /// Runs a program so many times at once. Every run must succeed and deliver the file.
    pub(crate) fn run(&self, program: &Program, count: usize) -> anyhow::Result<Sum> {
        let folder = tempfile::tempdir_in(self.folder.path())?;
        let token = self.bao.cluster.sign(&Claims::new(NAMESPACE, ACCOUNT, "vault"));
        let own = |index: usize| folder.path().join(index.to_string());
        for index in 0..count {
            for below in ["podkey/token", "podkey/volume", "dev"] {
                fs::create_dir_all(own(index).join(below))?;
            }
            fs::write(own(index).join(TOKEN), &token)?;
        }
        let output = Command::new(&self.measure)
            .arg(count.to_string())
            .arg(folder.path())
            .arg(FILE)
            .arg(&program.path)
            .args(&program.args)
            .env_clear()
            .env("HOME", folder.path())
            .env("PATH", "/usr/bin:/bin")
            .envs(program.env.iter().map(|(name, value)| (name, value)))
            .output()?;
        let log = || fs::read_to_string(own(0).join("log")).unwrap_or_default();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "{}: {said}{}", program.name, log());
        let runs: Vec<Run> = String::from_utf8(output.stdout)?
            .lines()
            .map(serde_json::from_str)
            .collect::<Result<_, _>>()?;
        for (index, run) in runs.iter().enumerate() {
            ensure!(run.status == 0, "{} exits {}: {}", program.name, run.status, log());
            let delivered = fs::read_to_string(own(index).join(FILE)).with_context(log)?;
            ensure!(delivered == self.content, "{} delivered something else", program.name);
        }
        // The server goes on with revoked tokens for a moment.
        std::thread::sleep(Duration::from_millis(5));
        Ok(Sum::of(&runs))
    }

    /// The requests of the audit log since it had so many entries.
    pub(crate) fn requests_after(&self, entries: usize) -> Vec<Value> {
        // The server writes the entry of a request before its answer, but a program may end before the last answer.
        std::thread::sleep(Duration::from_millis(300));
        let mut new = self.bao.audit().split_off(entries);
        new.retain(|entry| entry["type"] == "request");
        new.into_iter().map(|mut entry| entry["request"].take()).collect()
    }
}
