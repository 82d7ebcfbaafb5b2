//! The agent as a sidecar, beside the test: its log as it comes, what the containers see, and how it ends. However it ends, it
//! is checked for what must hold at all times: exit code 0 (79 where a change restarts the containers), and no secret in its log.

use std::path::PathBuf;
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::NamedTempFile;

use super::agent::Agent;
use super::plain::assert_for_people;

/// How long anything may take that has no time of its own. No test asserts that something is fast.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running sidecar. Killed when dropped.
pub struct Sidecar {
    canaries: Vec<String>,
    status: PathBuf,
    child: Child,
    /// The file that is the sidecar's stderr. A line is in the file as soon as the sidecar has written the line. A thread that reads a
    /// pipe can be late.
    stderr: NamedTempFile,
}

impl Agent {
    /// Starts the sidecar of this pod.
    pub fn sidecar(&self) -> Sidecar {
        self.sidecar_by(self.command_for("sidecar"))
    }

    /// The same by another command.
    pub fn sidecar_by(&self, mut command: Command) -> Sidecar {
        let stderr = NamedTempFile::new().unwrap();
        let child = command.stderr(stderr.reopen().unwrap()).spawn().unwrap();
        Sidecar {
            canaries: self.canaries().to_vec(),
            status: self.secrets().join(".status.json"),
            child,
            stderr,
        }
    }

    /// What is at this path below `/podkey/secrets`, as the containers see it.
    pub fn seen(&self, place: &str) -> Option<Vec<u8>> {
        std::fs::read(self.secrets().join(place)).ok()
    }

    /// The same as text.
    pub fn text(&self, place: &str) -> Option<String> {
        self.seen(place).map(|bytes| String::from_utf8(bytes).unwrap())
    }

    /// The directory that containers see as `/podkey/secrets`.
    pub fn secrets(&self) -> PathBuf {
        self.volume().join("files")
    }

    /// What the sidecar tells of its files.
    pub fn status(&self) -> Value {
        let text = self.text(".status.json").unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// Waits until something is as it should be.
    #[track_caller]
    pub fn until(&self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let begun = Instant::now();
        while !holds(self) {
            assert!(begun.elapsed() < PATIENCE, "it never came: {what}; {}", self.status());
            sleep(Duration::from_millis(20));
        }
    }
}

impl Sidecar {
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The text of the log so far.
    fn text(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.stderr.path()).unwrap()).into_owned()
    }

    /// Every whole line so far.
    pub fn log(&self) -> Vec<Value> {
        let text = self.text();
        text.split_inclusive('\n')
            .filter(|line| line.ends_with('\n'))
            .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}")))
            .collect()
    }

    /// The lines with this in their message.
    pub fn said(&self, message: &str) -> Vec<Value> {
        let mut log = self.log();
        log.retain(|line| line["message"].as_str().is_some_and(|text| text.contains(message)));
        log
    }

    #[track_caller]
    pub fn until_said(&self, message: &str) {
        let begun = Instant::now();
        while self.said(message).is_empty() {
            assert!(
                begun.elapsed() < PATIENCE,
                "it was never said: {message}; {:?}",
                self.log()
            );
            sleep(Duration::from_millis(20));
        }
    }

    pub fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Ends it as the kubelet does at the end of a pod, and gives all that it said.
    #[track_caller]
    pub fn stop(self) -> Vec<Value> {
        self.signal("-TERM");
        self.ended()
    }

    /// Waits for its end.
    #[track_caller]
    pub fn ended(self) -> Vec<Value> {
        self.ended_with(0)
    }

    /// Waits for its end with this code.
    #[track_caller]
    pub fn ended_with(mut self, code: i32) -> Vec<Value> {
        let status = self.child.wait().unwrap();
        let log = self.log();
        assert_eq!(status.code(), Some(code), "{log:?}");
        let last = log.last().unwrap();
        assert_eq!(
            (&last["code"], &last["stage"]),
            (&code.into(), &"refresh".into()),
            "{last}"
        );
        self.check();
        log
    }

    /// No secret in its log, nor in what it tells of its files.
    #[track_caller]
    fn check(&self) {
        let status = std::fs::read_to_string(&self.status).unwrap_or_default();
        let lines = self.text();
        assert_for_people("the log", &lines);
        assert_for_people("the status", &status);
        for canary in &self.canaries {
            assert!(canary.len() > 8, "a canary that short proves nothing");
            for (place, text) in [("log", &lines), ("status", &status)] {
                assert!(!text.contains(canary.as_str()), "a secret in the {place}: {text}");
            }
        }
    }

    /// Ends it as running out of memory does.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.check();
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the sidecar's log:\n{}", self.text());
        }
    }
}
