//! A runner's pod for the tests of the job hooks: `init` in its container, the volumes as the runner's container sees them,
//! and a runner that calls the hooks. Every hook is checked for what must hold at all times.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::support::agent::{Agent, Ended};
use crate::support::runner::{Runner, Step};

/// One pod.
pub(crate) struct Pod {
    pub(crate) agent: Agent,
    pub(crate) runner: Runner,
    canaries: Vec<String>,
}

/// The user whom the tests run as.
pub(crate) fn user() -> u32 {
    fs::metadata("/proc/self").unwrap().uid()
}

impl Pod {
    /// With job hooks as the webhook plans them.
    pub(crate) fn new(agent: Agent) -> Self {
        let job = json!({
            "user": user(), "onFailure": "fail-job", "mask": "smart", "export": true, "deadline": "10s",
        });
        Self {
            agent: agent.with("/job", job),
            runner: Runner::new(),
            canaries: Vec::new(),
        }
    }

    /// Sets a part of the plan by its JSON pointer.
    pub(crate) fn with(mut self, pointer: &str, value: Value) -> Self {
        self.agent = self.agent.with(pointer, value);
        self
    }

    pub(crate) fn file(mut self, file: Value) -> Self {
        self.agent = self.agent.file(file);
        self
    }

    /// One variable by path, field and name.
    pub(crate) fn env(self, path: &str, key: &str, name: &str) -> Self {
        self.entry("/env", variable(path, key, name))
    }

    /// An entry of a list in the plan.
    pub(crate) fn entry(mut self, list: &str, entry: Value) -> Self {
        let mut entries = self.agent.plan.pointer(list).cloned().unwrap_or_else(|| json!([]));
        entries.as_array_mut().unwrap().push(entry);
        self.agent = self.agent.with(list, entries);
        self
    }

    /// A text that must be seen nowhere but in files, and behind `::add-mask::`.
    pub(crate) fn canary(mut self, text: &str) -> Self {
        self.canaries.push(text.into());
        self.agent = self.agent.canary(text);
        self
    }

    pub(crate) fn init(&self) -> Ended {
        self.agent.run()
    }

    /// The agent comes with its image, and not from `init`.
    pub(crate) fn with_image(self) -> Self {
        self.with("/binary", json!("imageVolume"))
    }

    /// The same, in a pod without `podkey-init`.
    pub(crate) fn alone(self) -> Self {
        self.with_image().with("/hooksAlone", json!(true))
    }

    fn is_alone(&self) -> bool {
        self.agent.plan["hooksAlone"] == true
    }

    /// The root of the image, as the Dockerfile makes it.
    fn mount_image(&self) {
        let bin = self.path("podkey/bin");
        fs::create_dir_all(&bin).unwrap();
        // A copy could not be executed while a child of another test still has it open for writing.
        symlink(crate::support::program("podkey-agent"), bin.join("podkey-agent")).unwrap();
        for script in ["job-started.sh", "job-completed.sh"] {
            let source = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
                .join("src/agent/volume")
                .join(script);
            fs::copy(source, bin.join(script)).unwrap();
        }
    }

    /// What the kubelet makes without `podkey-init`: an empty volume for the files, and the plan in a downwardAPI volume, whose files
    /// are symlinks.
    fn mount_alone(&self) {
        let (secrets, state) = (self.path("podkey/secrets"), self.path("podkey/state"));
        for folder in [&secrets, &state.join("..2026_11_29_1"), &self.path("tmp")] {
            fs::create_dir_all(folder).unwrap();
        }
        fs::set_permissions(&secrets, fs::Permissions::from_mode(0o1777)).unwrap();
        fs::write(state.join("..2026_11_29_1/plan.json"), self.agent.plan.to_string()).unwrap();
        symlink("..2026_11_29_1", state.join("..data")).unwrap();
        symlink("..data/plan.json", state.join("plan.json")).unwrap();
    }

    /// Shows the volumes to the runner's container: a directory by its `subPath`, a single file as the very same file.
    pub(crate) fn mount(&self) {
        let root = self.agent.root();
        if self.agent.plan["binary"] == "imageVolume" {
            self.mount_image();
            match self.is_alone() {
                true => return self.mount_alone(),
                false => fs::rename(self.agent.volume().join("state"), root.join("podkey/state")).unwrap(),
            }
        }
        let directory = self.agent.volume().join("files");
        fs::create_dir_all(&directory).unwrap();
        fs::rename(directory, root.join("podkey/secrets")).unwrap();
        let job = self.agent.plan["job"]["files"].as_array().cloned().unwrap_or_default();
        let files = self.agent.plan["files"].as_array().unwrap().iter().chain(&job);
        for (index, file) in files.enumerate() {
            if let Some(path) = file["file"].as_str().unwrap().strip_prefix('/') {
                let place = root.join(path);
                fs::create_dir_all(place.parent().unwrap()).unwrap();
                fs::hard_link(self.agent.volume().join(format!("single/{index}")), place).unwrap();
            }
        }
    }

    /// Lets the runner watch for all that was delivered, but for what its rule leaves in sight: what is short, structured or
    /// no text.
    fn watch(&mut self) {
        for file in self.left() {
            let Ok(text) = fs::read_to_string(file) else { continue };
            let lines: Vec<&str> = text.lines().collect();
            if lines.len() > 1 && !text.contains("-----BEGIN ") {
                continue;
            }
            for line in lines.iter().map(|line| line.trim()) {
                if (12..4096).contains(&line.len()) && !line.starts_with("-----") && !line.starts_with(['{', '[']) {
                    self.runner.watch(line);
                }
            }
        }
    }

    /// Runs `init` and the runner as a user who is not the one of the tests, if that can be: with a copy of the program that it
    /// can reach.
    pub(crate) fn owned_by(mut self, owner: u32) -> Self {
        if owner == user() {
            return self;
        }
        let program = self.agent.root().join("podkey-agent");
        fs::copy(crate::support::program("podkey-agent"), &program).unwrap();
        let words = [
            "setpriv".into(),
            format!("--reuid={owner}"),
            format!("--regid={owner}"),
            "--clear-groups".into(),
        ];
        self.agent = self.agent.program(
            &words
                .map(PathBuf::from)
                .into_iter()
                .chain([program])
                .collect::<Vec<_>>(),
        );
        self.runner.user = Some(owner);
        for folder in [self.agent.root(), self.runner.dir()] {
            let owned = std::process::Command::new("chown")
                .args(["-R", &owner.to_string()])
                .arg(folder)
                .status();
            assert!(owned.unwrap().success());
        }
        self
    }

    /// `init`, which must succeed, and the container's start.
    pub(crate) fn ready(mut self) -> Self {
        if !self.is_alone() {
            self.init().expect(0, &[]);
        }
        self.mount();
        if self.agent.plan["job"]["mask"] == "smart" {
            self.watch();
        }
        self
    }

    /// A path as the runner's container has it.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.agent.root().join(path.trim_start_matches('/'))
    }

    pub(crate) fn text(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Whether a mounted file is empty and closed to all.
    pub(crate) fn is_closed(&self, path: &str) -> bool {
        let found = fs::metadata(self.path(path)).unwrap();
        found.len() == 0 && found.permissions().mode() & 0o7777 == 0
    }

    pub(crate) fn started(&mut self) -> Step {
        self.hook("job-started.sh")
    }

    pub(crate) fn completed(&mut self) -> Step {
        self.hook("job-completed.sh")
    }

    /// The path of a hook, and its arguments: outside a container it needs `--root`.
    pub(crate) fn hook_call(&self, name: &str) -> (PathBuf, [String; 2]) {
        let root = self.agent.root().to_str().unwrap().to_owned();
        (self.path("podkey/bin").join(name), ["--root".into(), root])
    }

    fn hook(&mut self, name: &str) -> Step {
        let (hook, arguments) = self.hook_call(name);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let step = self.runner.run(&hook, &arguments);
        self.check(&step);
        step
    }

    /// What must hold after every hook.
    pub(crate) fn check(&self, step: &Step) {
        let open: Vec<&str> = step
            .raw
            .lines()
            .filter(|line| !line.starts_with("::add-mask::"))
            .collect();
        assert_eq!(
            self.runner.shown_in(&open.join("\n")),
            None,
            "the hook itself shows a secret"
        );
        for canary in &self.canaries {
            for line in step.raw.lines().filter(|line| !line.starts_with("::add-mask::")) {
                assert!(!line.contains(canary.as_str()), "{canary:?} in {line:?}");
            }
            assert!(!step.summary.contains(canary.as_str()), "{}", step.summary);
        }
        assert!(
            !step.log.iter().any(|line| line.contains("::add-mask::")),
            "{:?}",
            step.log
        );
    }

    /// Every file that is left for the job, with its content.
    pub(crate) fn left(&self) -> Vec<String> {
        let mut left = Vec::new();
        let mut folders = vec![self.path("podkey/secrets")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                match entry.file_type().unwrap().is_dir() {
                    true => folders.push(entry.path()),
                    false => left.push(entry.path()),
                }
            }
        }
        let single = |file: &Value| Some(self.path(file["file"].as_str()?.strip_prefix('/')?));
        let job = self.agent.plan["job"]["files"].as_array().cloned().unwrap_or_default();
        left.extend(
            self.agent.plan["files"]
                .as_array()
                .unwrap()
                .iter()
                .chain(&job)
                .filter_map(single),
        );
        left.retain(|file| fs::metadata(file).is_ok_and(|found| found.len() > 0));
        left.iter().map(|file| file.display().to_string()).collect()
    }
}

/// An entry of `podkey.dev/env`, as the plan has it.
pub(crate) fn variable(path: &str, key: &str, name: &str) -> Value {
    json!({"secret": path, "select": {"value": {"at": [key], "name": name}}})
}
