//! What belongs to the runner of a runner pod: what its listener reads and runs before a job. A secret there could point the
//! runner at other hooks than podkey's, and whoever writes it would be free of every job policy.
//!
//! Where each thing is: <https://github.com/actions/runner>, `src/Runner.Common/HostContext.cs` (files of the runner's own, by
//! name), `src/Runner.Listener/Program.cs` (`.env`), `src/Misc/layoutroot` and `layoutbin` (scripts), `images/Dockerfile`.

use std::collections::{BTreeMap, BTreeSet};

use crate::inject::check::destinations::Destinations;
use crate::inject::check::hooks::{self, HOOK_VARIABLES};
use crate::inject::check::programs::{self, MAX_EXPANDED_BYTES};
use crate::inject::patch::additions::normalized;
use crate::inject::pod::{Container, Pod, RUNNER};
use crate::inject::problem::{Problems, quoted};
use crate::inject::request::InjectionRequest;
use crate::inject::request::files::FileRequest;

/// Where images have the runner: GitHub's own, its documentation's, the older controller's.
const DIRECTORIES: [&str; 3] = ["/home/runner", "/actions-runner", "/runner"];

/// The programs that say where the runner is, because they lie at the top of its directory or in its `bin`.
const LISTENERS: [&str; 6] = [
    "run.sh",
    "run-helper.sh",
    "runsvc.sh",
    "config.sh",
    "Runner.Listener",
    "RunnerService.js",
];

/// Read when a shell starts, which an entrypoint of one's own may be.
const SHELLS_FILES: [&str; 13] = [
    ".bash_aliases",
    ".bash_login",
    ".bash_logout",
    ".bash_profile",
    ".bashrc",
    ".kshrc",
    ".pam_environment",
    ".profile",
    ".zlogin",
    ".zlogout",
    ".zprofile",
    ".zshenv",
    ".zshrc",
];

/// Read by the .NET runtime that the listener is made of, wherever the runner is.
const EVERYWHERE: [&str; 2] = ["/etc/ssl/openssl.cnf", "/etc/pki/tls/openssl.cnf"];

/// Variables whose values are files or directories that the listener, its shell or their hooks run or load.
const VARIABLES: [&str; 22] = [
    HOOK_VARIABLES[0],
    HOOK_VARIABLES[1],
    "ACTIONS_RUNNER_CONTAINER_HOOKS",
    "ACTIONS_RUNNER_CONTAINER_HOOK_TEMPLATE",
    "BASH_ENV",
    "CORECLR_PROFILER_PATH",
    "CORECLR_PROFILER_PATH_32",
    "CORECLR_PROFILER_PATH_64",
    "CORECLR_PROFILER_PATH_ARM32",
    "CORECLR_PROFILER_PATH_ARM64",
    "DOTNET_ADDITIONAL_DEPS",
    "DOTNET_GCName",
    "DOTNET_GCPath",
    "DOTNET_STARTUP_HOOKS",
    "ENV",
    "LD_AUDIT",
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    "OPENSSL_CONF",
    "OPENSSL_ENGINES",
    "OPENSSL_MODULES",
    "PATH",
];
/// Likewise, the runner's directory and the user's.
const RUNNER_HOME: &str = "RUNNER_HOME";
const HOME: &str = "HOME";

/// Every file that would be in a place of the runner's own.
pub(crate) fn check(pod: &Pod<'_>, request: &InjectionRequest, problems: &mut Problems) {
    if request.files.is_empty() || !(pod.is_runner() || hooks::are_on(pod, request)) {
        return;
    }
    let destinations = Destinations::of(&request.files);
    let places = Places::of(pod.spec.containers.iter().find(|container| container.name == RUNNER));
    let mut files: BTreeMap<usize, &FileRequest> = BTreeMap::new();
    places.each_file(&destinations, |file| {
        files.insert(file.index, file);
    });
    for file in files.into_values() {
        problems.push(
            format!("{}.file", file.place()),
            format!(
                "{} is a place of the runner's own, which it reads or runs before a job, and whoever writes the secret could turn \
                 the job hooks off: choose another path, and let `env` name it to the job",
                quoted(&file.file.to_string())
            ),
        );
    }
}

/// What of a pod's paths belongs to its runner.
#[derive(Default)]
struct Places {
    /// Where the runner may be.
    runners: BTreeSet<String>,
    /// Where jobs work.
    work: BTreeSet<String>,
    /// Homes of users.
    homes: BTreeSet<String>,
    /// What is the runner's as a whole.
    whole: BTreeSet<String>,
}

impl Places {
    fn of(runner: Option<&Container<'_>>) -> Self {
        let mut places = Self {
            runners: DIRECTORIES.map(str::to_owned).into(),
            homes: [String::from("/root")].into(),
            whole: EVERYWHERE.map(str::to_owned).into(),
            ..Self::default()
        };
        if let Some(runner) = runner {
            places.add(runner);
        }
        places
            .work
            .extend(places.runners.iter().map(|runner| format!("{runner}/_work")));
        places.homes.extend(places.runners.iter().cloned());
        places
    }

    /// What the container says of itself.
    fn add(&mut self, runner: &Container<'_>) {
        programs::each(runner, |program| {
            let (directory, name) = program.rsplit_once('/').unwrap_or_default();
            if LISTENERS.contains(&name) {
                let directory = directory.strip_suffix("/bin").unwrap_or(directory);
                self.runners
                    .extend((!directory.is_empty()).then(|| directory.to_owned()));
            }
        });
        let is_path = |path: &&str| path.starts_with('/');
        if let Some(directory) = runner.working_dir.as_deref().filter(is_path) {
            // ARC makes it the directory of the jobs.
            self.work.insert(normalized(directory));
            self.runners.insert(normalized(directory));
        }
        let variables = runner.variables(|_| true);
        let mut room = MAX_EXPANDED_BYTES;
        let wanted = |name: &str| VARIABLES.contains(&name) || [RUNNER_HOME, HOME].contains(&name);
        for (name, variable) in variables.iter().filter(|(name, _)| wanted(name)) {
            let value = variable.value.as_deref().unwrap_or_default();
            let value = programs::expanded(value, &variables, &mut room);
            let paths = value.split([':', ' ']).filter(is_path).map(normalized);
            match &**name {
                RUNNER_HOME => self.runners.extend(paths),
                HOME => self.homes.extend(paths),
                _ => self.whole.extend(paths),
            }
        }
        let hooks = [HOOK_VARIABLES[0], HOOK_VARIABLES[1], "ACTIONS_RUNNER_CONTAINER_HOOKS"];
        for hook in hooks.iter().filter_map(|hook| variables.get(*hook)) {
            // What lies beside a hook, the hook may run, unless it lies among everything else.
            let hook = hook.value.as_deref().unwrap_or_default();
            let path = normalized(&programs::expanded(hook, &variables, &mut room));
            let (directory, _) = path.rsplit_once('/').unwrap_or_default();
            let shared = directory.matches('/').count() < 2
                || self.runners.contains(directory)
                || self.homes.contains(directory);
            self.whole.extend((!shared).then(|| directory.to_owned()));
        }
    }

    /// Calls `found` with each file in one of the places, or in the place of a directory above one.
    fn each_file<'r>(&self, destinations: &Destinations<'r>, mut found: impl FnMut(&'r FileRequest)) {
        for path in [&self.runners, &self.work, &self.whole].into_iter().flatten() {
            destinations.at_or_above(path).into_iter().for_each(&mut found);
        }
        for path in &self.whole {
            destinations.below(path).for_each(|(_, file)| found(file));
        }
        for (directories, is_taken) in [
            (&self.runners, is_the_runners as fn(&str) -> bool),
            // Actions, tools, scripts of steps and updates. The others are repositories.
            (&self.work, |name| name.starts_with('_')),
            (&self.homes, |name| SHELLS_FILES.contains(&name)),
        ] {
            for (rest, file) in directories.iter().flat_map(|directory| destinations.below(directory)) {
                if is_taken(rest.split('/').next().unwrap_or_default()) {
                    found(file);
                }
            }
        }
    }
}

/// Whether something of this name at the top of the runner's directory is the runner's.
fn is_the_runners(name: &str) -> bool {
    const NAMES: [&str; 10] = [
        ".certificates",
        ".env",
        ".options",
        ".path",
        ".service",
        ".setup_info",
        "_diag",
        "bin",
        "externals",
        "update.finished",
    ];
    // `.runner_migrated`, `.credentials_rsaparams`, `bin.2.330.0` of an update, `k8s-novolume`.
    const BEGINNINGS: [&str; 6] = [".credential", ".proxy", ".runner", "bin.", "externals.", "k8s"];
    const ENDS: [&str; 2] = [".sh", ".sh.template"];
    NAMES.contains(&name)
        || BEGINNINGS.iter().any(|beginning| name.starts_with(beginning))
        || ENDS.iter().any(|end| name.ends_with(end))
}
