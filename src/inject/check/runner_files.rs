//! Files in a place that belongs to the runner: files that the runner's listener reads or runs before a job. A secret there could make
//! the runner call other hooks than podkey's, and whoever writes the secret would evade every job policy.
//!
//! Sources: <https://github.com/actions/runner>, `src/Runner.Common/HostContext.cs` (names of the runner's own files),
//! `src/Runner.Listener/Program.cs` (`.env`), `src/Misc/layoutroot` and `layoutbin` (scripts), `images/Dockerfile`.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use crate::inject::check::destinations::Destinations;
use crate::inject::pod::Container;
use crate::inject::pod::path::normalized;
use crate::inject::pod::programs::{Expansion, for_each_program};
use crate::inject::pod::runner::{
    CONTAINER_HOOK_TEMPLATE, CONTAINER_HOOKS, JOB_COMPLETED_HOOK, JOB_STARTED_HOOK, RUNNER,
};
use crate::inject::problem::{Problems, quoted};
use crate::inject::request::files::FileRequest;
use crate::inject::survey::Survey;

/// Where images have the runner: GitHub's image, GitHub's documentation, the older controller's image.
const RUNNER_DIRECTORIES: [&str; 3] = ["/home/runner", "/actions-runner", "/runner"];
/// Where jobs work in these directories.
const WORK_DIRECTORIES: [&str; 3] = ["/home/runner/_work", "/actions-runner/_work", "/runner/_work"];

/// Programs at the top of the runner's directory, or in its `bin`: a command with one of them shows where the runner is.
const LISTENERS: [&str; 6] = [
    "run.sh",
    "run-helper.sh",
    "runsvc.sh",
    "config.sh",
    "Runner.Listener",
    "RunnerService.js",
];

/// Files in a home directory that a shell reads when it starts. An entrypoint may be a shell's script.
const SHELL_FILES: [&str; 13] = [
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

/// Files that the listener's .NET runtime reads, wherever the runner is.
const RUNTIME_FILES: [&str; 2] = ["/etc/ssl/openssl.cnf", "/etc/pki/tls/openssl.cnf"];

/// The runner's hooks. A hook may run files beside itself.
const HOOK_VARIABLES: [&str; 3] = [JOB_STARTED_HOOK, JOB_COMPLETED_HOOK, CONTAINER_HOOKS];

/// Variables whose values are files or directories that the listener, the listener's shell or the hooks run or load.
const PROGRAM_VARIABLES: [&str; 22] = [
    JOB_STARTED_HOOK,
    JOB_COMPLETED_HOOK,
    CONTAINER_HOOKS,
    CONTAINER_HOOK_TEMPLATE,
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
/// The runner's directory.
const RUNNER_HOME: &str = "RUNNER_HOME";
/// The user's directory.
const HOME: &str = "HOME";

pub(super) fn check(survey: &Survey<'_>, destinations: &Destinations<'_>, problems: &mut Problems) {
    if destinations.is_empty() || !survey.has_runner() {
        return;
    }
    let mut containers = survey.pod.spec.containers.iter();
    let paths = RunnerPaths::of(containers.find(|container| container.name == RUNNER));
    let mut files: BTreeMap<usize, &FileRequest> = BTreeMap::new();
    paths.for_each_file(destinations, |file| {
        files.insert(file.index, file);
    });
    for file in files.into_values() {
        problems.push(
            file.place_of("file"),
            format!(
                "{} is in the place of a file that the runner reads or runs before a job, and whoever writes the secret could turn \
                 the job hooks off: choose another path, and let `env` name it to the job",
                quoted(&file.shown())
            ),
        );
    }
}

/// Most of these paths are the same for every pod, so podkey does not copy them for each pod.
type Paths = BTreeSet<Cow<'static, str>>;

/// The paths of a pod that belong to the runner.
struct RunnerPaths {
    /// Directories in which the runner may be.
    runners: Paths,
    /// Directories in which jobs work.
    work: Paths,
    /// Home directories.
    homes: Paths,
    /// Files, and directories with everything below them.
    whole: Paths,
}

impl RunnerPaths {
    fn of(runner: Option<&Container<'_>>) -> Self {
        let mut paths = Self {
            runners: RUNNER_DIRECTORIES.map(Cow::Borrowed).into(),
            work: WORK_DIRECTORIES.map(Cow::Borrowed).into(),
            homes: [Cow::Borrowed("/root")].into(),
            whole: RUNTIME_FILES.map(Cow::Borrowed).into(),
        };
        if let Some(runner) = runner {
            paths.add_programs(runner);
            paths.add_working_dir(runner);
            paths.add_variables(runner);
        }
        let of_the_pod = paths.runners.iter().filter(|runner| matches!(runner, Cow::Owned(_)));
        let work = of_the_pod.map(|runner| Cow::Owned(format!("{runner}/_work")));
        paths.work.extend(work);
        paths.homes.extend(paths.runners.iter().cloned());
        paths
    }

    /// Adds the directories of the runner's programs that the container runs.
    fn add_programs(&mut self, runner: &Container<'_>) {
        for_each_program(runner, |program| {
            let (directory, name) = program.rsplit_once('/').unwrap_or_default();
            let directory = directory.strip_suffix("/bin").unwrap_or(directory);
            if LISTENERS.contains(&name) && !directory.is_empty() {
                self.runners.insert(directory.to_owned().into());
            }
        });
    }

    /// ARC makes the working directory the directory of the jobs.
    fn add_working_dir(&mut self, runner: &Container<'_>) {
        if let Some(directory) = runner.working_dir.as_deref().filter(is_absolute) {
            self.work.insert(normalized(directory).into());
            self.runners.insert(normalized(directory).into());
        }
    }

    fn add_variables(&mut self, runner: &Container<'_>) {
        let variables = runner.variables(|var| {
            let name = &&*var.name;
            PROGRAM_VARIABLES.contains(name) || [RUNNER_HOME, HOME].contains(name)
        });
        let mut expansion = Expansion::of(runner);
        for (name, variable) in &variables {
            let value = expansion.expand(variable.value.as_deref().unwrap_or_default());
            let paths = value
                .split([':', ' '])
                .filter(is_absolute)
                .map(|path| Cow::Owned(normalized(path)));
            match &**name {
                RUNNER_HOME => self.runners.extend(paths),
                HOME => self.homes.extend(paths),
                _ => self.whole.extend(paths),
            }
        }
        for hook in HOOK_VARIABLES.iter().filter_map(|hook| variables.get(*hook)) {
            let hook = normalized(&expansion.expand(hook.value.as_deref().unwrap_or_default()));
            let (directory, _) = hook.rsplit_once('/').unwrap_or_default();
            // A directory with everything else in it does not belong to the hook.
            let is_shared = directory.matches('/').count() < 2
                || self.runners.contains(directory)
                || self.homes.contains(directory);
            if !is_shared {
                self.whole.insert(directory.to_owned().into());
            }
        }
    }

    /// Calls `found` with each file that is in one of the paths, or that takes the place of a directory above one of them.
    fn for_each_file<'r>(&self, destinations: &Destinations<'r>, mut found: impl FnMut(&'r FileRequest)) {
        for path in [&self.runners, &self.work, &self.whole].into_iter().flatten() {
            destinations.at_or_above(path).into_iter().for_each(&mut found);
        }
        for path in &self.whole {
            destinations.below(path).for_each(|(_, file)| found(file));
        }
        for (directories, is_taken) in [
            (&self.runners, belongs_to_runner as fn(&str) -> bool),
            // Actions, tools, scripts of steps and updates. Other names are repositories.
            (&self.work, |name| name.starts_with('_')),
            (&self.homes, |name| SHELL_FILES.contains(&name)),
        ] {
            for (rest, file) in directories.iter().flat_map(|directory| destinations.below(directory)) {
                if is_taken(rest.split('/').next().unwrap_or_default()) {
                    found(file);
                }
            }
        }
    }
}

fn is_absolute(path: &&str) -> bool {
    path.starts_with('/')
}

/// Whether a file or directory of this name, at the top of the runner's directory, belongs to the runner.
fn belongs_to_runner(name: &str) -> bool {
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
