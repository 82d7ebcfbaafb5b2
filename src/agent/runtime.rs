//! What `main` gives `init` and the sidecar: the plan, the budget, and where the container's paths are.

use std::ffi::OsString;
use std::path::PathBuf;

use super::report::{Failure, SetupFault};
use super::volume::ContainerPaths;
use crate::http::clean;
use crate::plan::{Budget, MAX_PLAN_BYTES, Plan};
use crate::telemetry::LogFormat;

/// What one run of the agent works with.
#[derive(Debug)]
pub struct Runtime {
    plan: Option<OsString>,
    budget: Option<OsString>,
    pub(super) paths: ContainerPaths,
    pub(super) log_format: LogFormat,
}

impl Runtime {
    /// `root` is the prefix of every path, outside a container. `log_format` is for the last line on stderr.
    pub fn new(root: Option<PathBuf>, log_format: LogFormat) -> Self {
        Self {
            plan: None,
            budget: None,
            paths: ContainerPaths::new(root),
            log_format,
        }
    }

    /// Adds the texts of `PODKEY_PLAN` and [`BUDGET_ENV`](crate::plan::BUDGET_ENV).
    pub fn with_plan(mut self, plan: Option<OsString>, budget: Option<OsString>) -> Self {
        (self.plan, self.budget) = (plan, budget);
        self
    }

    /// The text of the plan. None: it is missing or not UTF-8.
    pub(super) fn plan_text(&self) -> Option<&str> {
        self.plan.as_ref()?.to_str()
    }

    /// Parses and checks the plan, and how long all tries may take together.
    pub(super) fn read_plan(&self) -> Result<(Plan, Budget), Failure> {
        let bad = SetupFault::PlanVariable;
        let text = match &self.plan {
            None => return Err(bad(" is not set".to_owned()).into()),
            Some(text) => text.to_str().ok_or_else(|| bad(" is not UTF-8".to_owned()))?,
        };
        if text.len() > MAX_PLAN_BYTES {
            return Err(bad(format!(" is longer than {MAX_PLAN_BYTES} bytes")).into());
        }
        let plan = Plan::parse(text).map_err(|error| bad(format!(": {}", clean(&error.to_string(), 512))))?;
        let budget = self.budget(&plan).map_err(SetupFault::Budget)?;
        Ok((plan, budget))
    }

    fn budget(&self, plan: &Plan) -> Result<Budget, String> {
        let Some(text) = &self.budget else {
            return Ok(plan.budget);
        };
        let text = text.to_str().ok_or_else(|| " is not UTF-8".to_owned())?;
        text.parse().map_err(|error| format!("={:?} {error}", clean(text, 64)))
    }
}
