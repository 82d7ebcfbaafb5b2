//! Stopping and starting the cluster's own parts, where this run may.

use std::process::Command;

use super::left_out;
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
