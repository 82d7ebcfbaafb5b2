//! Stopping and starting the cluster's own parts, where this run may.

use std::collections::HashMap;
use std::process::Command;

use super::left_out;
use super::namespace::unique;
use super::settings::settings;

/// The command of the test cluster.
pub struct Control;

/// None on a cluster that is not ours to break, which is said: then the test is left out.
pub fn control(test: &str) -> Option<Control> {
    if settings().control.is_none() {
        left_out(
            test,
            "PODKEY_E2E_CONTROL is not set: this cluster's parts are not ours to stop",
        );
        return None;
    }
    Some(Control)
}

impl Control {
    /// Runs it; gives what it printed.
    #[track_caller]
    pub fn run(&self, args: &[&str]) -> String {
        let program = settings().control.as_ref().unwrap();
        let output = Command::new(program).args(args).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{} {args:?}: {said}", program.display());
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Returns when it answers again.
    #[track_caller]
    pub fn restart(&self, component: &'static str) {
        drop(self.stop(component));
    }

    /// Stops it, until what is returned is dropped, however the test ends.
    #[track_caller]
    pub fn stop(&self, component: &'static str) -> Away<'_> {
        let away = Away {
            control: self,
            component,
        };
        self.run(&["stop", component]);
        away
    }

    /// Starts OpenBao again, and leaves it sealed until what is returned is dropped.
    #[track_caller]
    pub fn seal_openbao(&self) -> Away<'_> {
        let away = Away {
            control: self,
            component: "openbao",
        };
        self.run(&["restart", "openbao", "--sealed"]);
        away
    }
}

/// What runs beside the cluster for one test alone. It ends when this is dropped.
pub struct Beside {
    pub control: Control,
    pub name: String,
    /// How it is reached.
    pub env: HashMap<String, String>,
}

impl Beside {
    /// `up`, with the option that says what it is, and more of them.
    pub fn up(control: Control, what: &str, more: &[&str]) -> Self {
        let mut beside = Self {
            control,
            name: format!("{}-{}", what.trim_start_matches('-'), unique()),
            env: HashMap::new(),
        };
        beside.control.run(&[&["up", what, &beside.name], more].concat());
        let lines = beside.control.run(&["env", &beside.name]);
        let pairs = lines.lines().filter_map(|line| line.split_once('='));
        beside.env = pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        beside
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        self.control.run(&["down", &self.name]);
    }
}

/// A part that is not at work. It is again when this is dropped.
pub struct Away<'a> {
    control: &'a Control,
    component: &'static str,
}

impl Drop for Away<'_> {
    fn drop(&mut self) {
        self.control.run(&["start", self.component]);
    }
}
