//! The agent's real binary, run in a folder of its own. Every run is checked for what must hold at all times: the last
//! line, the termination message, no temporary file left, and no secret anywhere but in the files.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::fake_vault::{CLIENT_TOKEN, FakeVault};
use super::jwt::Claims;
use super::openbao::{ACCOUNT, MOUNT, NAMESPACE, OpenBao};
use super::plain::assert_for_people;

/// A token that no server checks.
pub const FAKE_JWT: &str = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJzeXN0ZW06c2VydmljZWFjY291bnQ6YXJjOnJ1bm5lciIsImF1ZCI6WyJ2YXVsdCJdLCJrdWJlcm5ldGVzLmlvIjp7Im5hbWVzcGFjZSI6ImFyYyIsInBvZCI6eyJuYW1lIjoicnVubmVyLWxxOGhkIiwidWlkIjoiMGYxZSJ9fX0.canary-jwt-signature";

/// One agent to run.
pub struct Agent {
    dir: TempDir,
    pub plan: Value,
    raw_plan: Option<String>,
    env: Vec<(String, String)>,
    args: Vec<String>,
    canaries: Vec<String>,
    /// The program, and what comes before it on the command line.
    program: Vec<PathBuf>,
}

/// How a run ended.
pub struct Ended {
    pub code: i32,
    pub stderr: String,
    pub report: Value,
    pub termination: String,
    pub took: Duration,
}

impl Agent {
    /// Against the real server, as scenario 1 has it, with a token for the audience `vault`.
    pub fn for_bao(bao: &OpenBao) -> Self {
        let mut agent = Self::new(json!({
            "version": 1,
            "connection": {"name": "main", "address": bao.address(), "ca": bao.ca.pem()},
            "login": {"method": "kubernetes", "mount": MOUNT, "role": "actions-vault"},
            "budget": "20s",
            "files": [],
        }));
        agent.token(&bao.cluster.sign(&Claims::new(NAMESPACE, ACCOUNT, "vault")));
        agent
    }

    /// Against a fake server in clear text, with one file.
    pub fn for_fake(fake: &FakeVault) -> Self {
        let mut agent = Self::new(json!({
            "version": 1,
            "connection": {"name": "fake", "address": fake.address(), "allowInsecureHttp": true},
            "login": {"method": "kubernetes", "mount": "kubernetes", "role": "web"},
            "budget": "5s",
            "files": [],
        }));
        agent.token(FAKE_JWT);
        agent.canaries.push(CLIENT_TOKEN.into());
        agent.file(json!({"secret": "kv/data/web", "key": "a", "format": "raw", "file": "a", "mode": "0444"}))
    }

    pub fn new(plan: Value) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("podkey/token")).unwrap();
        fs::create_dir_all(dir.path().join("podkey/volume")).unwrap();
        Self {
            dir,
            plan,
            raw_plan: None,
            env: vec![("PODKEY_LOG".into(), "trace".into())],
            args: Vec::new(),
            canaries: Vec::new(),
            program: vec![super::program("podkey-agent")],
        }
    }

    /// Another build of the program, perhaps through an emulator.
    pub fn program(mut self, words: &[PathBuf]) -> Self {
        self.program = words.to_vec();
        self
    }

    pub fn file(mut self, file: Value) -> Self {
        self.plan["files"].as_array_mut().unwrap().push(file);
        self
    }

    /// Sets a part of the plan by its JSON pointer.
    pub fn with(mut self, pointer: &str, value: Value) -> Self {
        match self.plan.pointer_mut(pointer) {
            Some(known) => *known = value,
            None => {
                let (parent, key) = pointer.rsplit_once('/').unwrap();
                self.plan.pointer_mut(parent).unwrap()[key] = value;
            }
        }
        self
    }

    pub fn budget(self, budget: &str) -> Self {
        self.env("PODKEY_BUDGET", budget)
    }

    pub fn raw_plan(mut self, plan: &str) -> Self {
        self.raw_plan = Some(plan.into());
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.retain(|(known, _)| known != name);
        self.env.push((name.into(), value.into()));
        self
    }

    pub fn arg(mut self, arg: &str) -> Self {
        self.args.push(arg.into());
        self
    }

    /// A text that must be seen nowhere but in the files.
    pub fn canary(mut self, text: &str) -> Self {
        self.canaries.push(text.into());
        self
    }

    pub fn token(&mut self, token: &str) {
        fs::write(self.root().join("podkey/token/token"), token).unwrap();
        // The signature alone identifies it.
        self.canaries.push(token.rsplit('.').next().unwrap().trim().into());
    }

    pub fn root(&self) -> &Path {
        self.dir.path()
    }

    pub fn volume(&self) -> PathBuf {
        self.root().join("podkey/volume")
    }

    /// What was delivered at this place below the volume.
    pub fn delivered(&self, place: &str) -> Vec<u8> {
        fs::read(self.volume().join(place)).unwrap_or_else(|error| panic!("{place}: {error}"))
    }

    pub fn mode(&self, place: &str) -> u32 {
        fs::symlink_metadata(self.volume().join(place))
            .unwrap()
            .permissions()
            .mode()
            & 0o7777
    }

    /// Every file below the volume.
    pub fn all_files(&self) -> Vec<String> {
        fn walk(dir: &Path, base: &Path, found: &mut Vec<String>) {
            for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
                if entry.file_type().unwrap().is_dir() {
                    walk(&entry.path(), base, found);
                } else {
                    found.push(entry.path().strip_prefix(base).unwrap().display().to_string());
                }
            }
        }
        let mut found = Vec::new();
        walk(&self.volume(), &self.volume(), &mut found);
        found.sort();
        found
    }

    /// With `podkey.dev/refresh`.
    pub fn refresh(self, interval: &str) -> Self {
        self.with("/refresh", json!({"interval": interval}))
    }

    pub fn command(&self) -> Command {
        self.command_for("init")
    }

    /// The same for another of the agent's commands.
    pub fn command_for(&self, subcommand: &str) -> Command {
        super::signals::children_start_with_defaults();
        let mut command = Command::new(&self.program[0]);
        command
            .env_clear()
            .args(&self.program[1..])
            .arg(subcommand)
            .arg("--root")
            .arg(self.root())
            .args(&self.args);
        command.env(
            "PODKEY_PLAN",
            self.raw_plan.clone().unwrap_or_else(|| self.plan.to_string()),
        );
        command.envs(self.env.iter().cloned());
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub fn spawn(&self) -> Child {
        self.command().spawn().unwrap()
    }

    /// What every text of the agent is checked for.
    pub fn canaries(&self) -> &[String] {
        &self.canaries
    }

    pub fn run(&self) -> Ended {
        let begun = Instant::now();
        let output = self.command().output().unwrap();
        self.check(output, begun.elapsed())
    }

    /// What must hold after every run.
    pub fn check(&self, output: Output, took: Duration) -> Ended {
        use std::os::unix::process::ExitStatusExt;
        let stderr = String::from_utf8(output.stderr).expect("stderr is UTF-8");
        let code = output
            .status
            .code()
            .unwrap_or_else(|| panic!("ended by signal {:?}: {stderr}", output.status.signal()));
        assert!(output.stdout.is_empty(), "stdout is the workflow's command channel");
        let last = stderr.lines().last().unwrap_or_default();
        let report: Value = serde_json::from_str(last).unwrap_or_else(|_| panic!("last line is no JSON: {stderr}"));
        let mut keys: Vec<&String> = report.as_object().unwrap().keys().collect();
        keys.sort();
        assert_eq!(keys, ["code", "connection", "hint", "message", "stage"], "{last}");
        assert_eq!(report["code"], code, "{stderr}");
        assert!(
            ["login", "read", "render", "write"].contains(&report["stage"].as_str().unwrap()),
            "{last}"
        );
        let termination = fs::read_to_string(self.root().join("dev/termination-log")).expect("a termination message");
        assert!(termination.len() <= 1024, "{} bytes", termination.len());
        assert!(!termination.chars().any(char::is_control), "{termination:?}");
        let head = format!(
            "podkey {code} stage={} connection={}: ",
            report["stage"].as_str().unwrap(),
            report["connection"].as_str().unwrap()
        );
        assert!(termination.starts_with(&head), "{termination}");
        for canary in &self.canaries {
            assert!(canary.len() > 8, "a canary that short proves nothing");
            for (place, text) in [("stderr", &stderr), ("termination message", &termination)] {
                assert!(!text.contains(canary.as_str()), "a secret in {place}: {text}");
            }
        }
        assert_for_people("stderr", &stderr);
        assert_for_people("the termination message", &termination);
        let files = self.all_files();
        assert!(!files.iter().any(|name| name.contains(".podkey-tmp-")), "{files:?}");
        Ended {
            code,
            stderr,
            report,
            termination,
            took,
        }
    }
}

impl Ended {
    /// Insists on the exit code, and on texts that message or hint must have.
    #[track_caller]
    pub fn expect(&self, code: i32, texts: &[&str]) -> &Self {
        assert_eq!(self.code, code, "{}", self.stderr);
        let told = format!(
            "{} {}",
            self.report["message"].as_str().unwrap(),
            self.report["hint"].as_str().unwrap()
        );
        for text in texts {
            assert!(told.contains(text), "no {text:?} in {told}");
        }
        self
    }

    #[track_caller]
    pub fn stage(&self, stage: &str) -> &Self {
        assert_eq!(self.report["stage"], stage, "{}", self.stderr);
        self
    }
}
