//! The stand-in for GitHub's service, one for each test.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::harness::api::Api;
use crate::harness::openbao::server;

/// A running stand-in. It ends when its standard input does: with this, however the test ends.
pub struct GitHub {
    child: Child,
    api: Api,
    pub url: String,
    pub ca: String,
}

impl GitHub {
    /// `program`: `arc-lab`. `address`: this machine, as pods reach it.
    pub fn start(program: &Path, address: &str) -> Self {
        let mut child = Command::new(program)
            .args(["github", address])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}: run .ci/tools arc", program.display()));
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let told: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("GitHub's stand-in does not start"));
        let text = |key: &str| told[key].as_str().unwrap().to_owned();
        Self {
            child,
            api: server(&text("url"), &text("ca"), ""),
            url: text("url"),
            ca: text("ca"),
        }
    }

    /// Queues so many jobs of one step, a script, in a container of this image or in the runner's.
    pub fn queue(&self, scale_set: &str, count: usize, script: &str, container: &str) {
        let jobs = json!({"scaleSet": scale_set, "count": count, "script": script, "container": container});
        self.api.insist("POST", "/test/jobs", &jobs);
    }

    /// Every job there was, oldest first: `state`, `runner`, `result`, `log`, `queued`, `started`, `ended`.
    pub fn jobs(&self) -> Vec<Value> {
        let jobs = self.api.get("/test/jobs");
        jobs.as_array().cloned().unwrap_or_default()
    }
}

impl Drop for GitHub {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
