//! A doctor with its manifest, and what it must say. The commands that the doctor prints run in the manifest's folder, by `sh`, with
//! kubectl, helm and bao in PATH, as a user would run them.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::settings::settings;
use crate::harness::{merge, wait};

/// How long the API server and the webhook may take to learn of a change.
const LEARNT: Duration = Duration::from_secs(60);

/// One finding of `podkey doctor -o json`.
#[derive(Debug, serde::Deserialize)]
pub struct Finding {
    pub check: String,
    pub level: String,
    pub message: String,
    pub command: Option<String>,
    #[serde(default)]
    pub objects: Vec<String>,
}

/// What `podkey doctor` said and how it ended.
#[derive(Debug)]
pub struct Examination {
    pub findings: Vec<Finding>,
    pub code: Option<i32>,
    pub stderr: String,
}

impl Examination {
    pub fn first_fault(&self) -> Option<&Finding> {
        self.findings.iter().find(|finding| finding.level == "fault")
    }

    /// All findings, a line each.
    pub fn story(&self) -> String {
        let mut story = String::new();
        for Finding {
            check,
            level,
            message,
            command,
            objects,
        } in &self.findings
        {
            let _ = writeln!(story, "{level}: {check}: {message} {objects:?}");
            if let Some(command) = command {
                let _ = writeln!(story, "    run: {command}");
            }
        }
        story + &self.stderr
    }
}

/// `podkey doctor -f pod.yaml`, in a folder of its own.
pub struct Doctor {
    pub folder: TempDir,
    kubeconfig: PathBuf,
    env: Vec<(String, String)>,
    args: Vec<String>,
}

impl Doctor {
    /// For this manifest, in this namespace, as the cluster's administrator, without any token of OpenBao. `kind` is `Pod`, unless
    /// the manifest has another.
    pub fn of(namespace: &str, manifest: &Value) -> Self {
        let doctor = Self::in_namespace(namespace).arg("-f").arg("pod.yaml");
        let manifest = merge(json!({"apiVersion": "v1", "kind": "Pod"}), manifest);
        std::fs::write(doctor.folder.path().join("pod.yaml"), manifest.to_string()).unwrap();
        doctor
    }

    /// The same without a manifest.
    pub fn in_namespace(namespace: &str) -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            kubeconfig: settings().kubeconfig.clone(),
            env: Vec::new(),
            args: ["-n", namespace].map(str::to_owned).to_vec(),
        }
    }

    /// As another user.
    pub fn kubeconfig(mut self, file: PathBuf) -> Self {
        self.kubeconfig = file;
        self
    }

    /// With another variable, for the doctor and for the commands.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With address, CA and root token of OpenBao, for the doctor and for the commands.
    pub fn with_token(self) -> Self {
        let ca = self.folder.path().join("openbao-ca.pem");
        std::fs::write(&ca, &settings().openbao_ca).unwrap();
        self.env("BAO_ADDR", &settings().openbao)
            .env("BAO_CACERT", ca.to_str().unwrap())
            .env("BAO_TOKEN", &settings().openbao_token)
    }

    /// With another argument.
    pub fn arg(mut self, arg: &str) -> Self {
        self.args.push(arg.to_owned());
        self
    }

    /// Without --namespace.
    pub fn without_namespace(mut self) -> Self {
        self.args.drain(..2);
        self
    }

    /// Runs the doctor once, for people. What it prints on standard output is left out.
    pub fn run_text(&self) -> Examination {
        let mut doctor = self.command(env!("CARGO_BIN_EXE_podkey"));
        let output = doctor.arg("doctor").args(&self.args).output().unwrap();
        Examination {
            findings: Vec::new(),
            code: output.status.code(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(self.folder.path())
            .env("KUBECONFIG", &self.kubeconfig);
        // No token of whoever runs the tests.
        for name in [
            "VAULT_ADDR",
            "VAULT_TOKEN",
            "VAULT_NAMESPACE",
            "BAO_ADDR",
            "BAO_TOKEN",
            "BAO_NAMESPACE",
        ] {
            command.env_remove(name);
        }
        command.env("HOME", self.folder.path()).env_remove("GITHUB_ACTIONS");
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    /// The doctor, before it runs.
    pub fn doctor(&self) -> Command {
        let mut doctor = self.command(env!("CARGO_BIN_EXE_podkey"));
        doctor.arg("doctor").args(&self.args).args(["-o", "json"]);
        doctor
    }

    /// Runs the doctor for its exit code.
    pub fn code(&self) -> Option<i32> {
        self.doctor().output().unwrap().status.code()
    }

    /// Runs the doctor once.
    #[track_caller]
    pub fn examine(&self) -> Examination {
        let output = self.doctor().output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        let findings = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}{stderr}", String::from_utf8_lossy(&output.stdout)));
        Examination {
            findings,
            code: output.status.code(),
            stderr,
        }
    }

    /// The first fault is of this check, and its command has these parts. The test runs that command, and then the doctor finds no
    /// fault.
    #[track_caller]
    pub fn mends(&self, check: &str, parts: &[&str]) {
        self.mends_of(&self.finds(check, || {}), parts);
    }

    /// What the doctor says once its first fault is of this check. `before` runs before each look.
    #[track_caller]
    pub fn finds(&self, check: &str, before: impl Fn()) -> Examination {
        let look = || {
            before();
            self.examine()
        };
        let mut seen = look();
        // The API server learns of a seeded fault a moment late.
        let found = wait(LEARNT, || {
            let found = seen.first_fault().is_some_and(|fault| fault.check == check);
            if !found {
                seen = look();
            }
            found.then_some(())
        });
        assert!(found.is_some(), "{check} is not the first fault\n{}", seen.story());
        seen
    }

    /// The command of the first fault has these parts. The test runs that command, and then the doctor finds no fault.
    #[track_caller]
    pub fn mends_of(&self, seen: &Examination, parts: &[&str]) {
        assert_eq!(seen.code, Some(1), "{}", seen.story());
        let fault = seen.first_fault().unwrap();
        println!("{}: {}", fault.check, fault.message);
        let Some(command) = fault.command.clone() else {
            panic!("no command\n{}", seen.story());
        };
        println!("    run: {command}");
        for part in parts {
            assert!(command.contains(part), "no {part:?} in the command\n{}", seen.story());
        }
        self.run(&command);
        let mut seen = self.examine();
        let content = wait(LEARNT, || {
            let content = seen.first_fault().is_none();
            if !content {
                seen = self.examine();
            }
            content.then_some(())
        });
        assert!(content.is_some(), "after {command}\n{}", seen.story());
        assert_eq!(seen.code, Some(0), "{}", seen.story());
    }

    /// Runs a command of the doctor's.
    #[track_caller]
    pub fn run(&self, command: &str) {
        let output = self.command("sh").args(["-c", command]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{command}\n{said}");
    }

    /// Whether a command succeeds.
    pub fn try_run(&self, command: &str) -> bool {
        self.command("sh").args(["-c", command]).status().unwrap().success()
    }

    /// The doctor finds neither fault nor warning.
    #[track_caller]
    pub fn is_content(&self) {
        let mut seen = self.examine();
        let alarm = |seen: &Examination| {
            let levels = ["fault", "warning"];
            seen.findings
                .iter()
                .any(|finding| levels.contains(&finding.level.as_str()))
        };
        // What a test has just set up is learnt a moment late.
        let content = wait(LEARNT, || {
            let alarm = alarm(&seen);
            if alarm {
                seen = self.examine();
            }
            (!alarm).then_some(())
        });
        assert!(content.is_some(), "a false alarm\n{}", seen.story());
        assert_eq!(seen.code, Some(0), "{}", seen.story());
    }
}
