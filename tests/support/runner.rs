//! A runner as `actions/runner` (2.336) is on the points that a job hook depends on: how it runs the hook and cancels it, what
//! it makes of each line of its output, how it masks, and how it reads the command files. Whatever it would show, in the log,
//! in an annotation or in a summary, is looked through for the secrets it was told to watch, in every encoding.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::plain::assert_for_people;

/// A runner with one job.
pub struct Runner {
    dir: TempDir,
    /// What a hook finds in its environment, the command files aside.
    pub env: BTreeMap<String, String>,
    /// Every text that is masked, encodings included. They stay for the whole job.
    pub masks: Vec<String>,
    /// What `GITHUB_ENV` and `GITHUB_PATH` gave to the later steps. A hook does not see it.
    pub job_env: BTreeMap<String, String>,
    pub job_path: Vec<String>,
    /// Whom the runner runs as, where that is not the user of the tests.
    pub user: Option<u32>,
    /// How long a cancelled step may go on after SIGINT, and then after SIGTERM.
    pub patience: [Duration; 2],
    /// Whether it hands on SIGINT and SIGTERM as ignored, as a runner does that an entrypoint started with `./run.sh &`.
    pub ignores_signals: bool,
    secrets: Vec<String>,
    files: usize,
}

/// When a step of a job runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// As long as nothing has failed.
    Success,
    /// `if: always()`.
    Always,
}

/// A job from its first hook to its last.
pub struct Job {
    pub started: Option<Step>,
    /// Those that did not run are none.
    pub steps: Vec<Option<Step>>,
    pub completed: Option<Step>,
    pub failed: bool,
}

/// How a hook ended, and what the runner made of it.
pub struct Step {
    pub code: i32,
    /// The step failed: by its exit code, by a command, or by a command file that makes no sense.
    pub failed: bool,
    /// All that the hook wrote, standard output first.
    pub raw: String,
    /// The log as people see it.
    pub log: Vec<String>,
    /// Level, title and message.
    pub annotations: Vec<(String, String, String)>,
    /// In what order commands and lines came: `mask`, `annotation` or `line`.
    pub order: Vec<&'static str>,
    /// What `GITHUB_ENV` set, or why that file makes no sense.
    pub env: Result<BTreeMap<String, String>, String>,
    /// What `GITHUB_PATH` added.
    pub path: Vec<String>,
    /// What the runner writes at its debug level of what `GITHUB_ENV` set.
    pub debug: Vec<String>,
    pub summary: String,
}

impl Runner {
    /// For a push to the main branch of `octo-org/octo-repo`.
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let workspace = dir.path().join("_work/octo-repo/octo-repo");
        fs::create_dir_all(&workspace).unwrap();
        fs::create_dir_all(dir.path().join("_work/_temp/_runner_file_commands")).unwrap();
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        let mut env: BTreeMap<String, String> = [
            ("PATH", std::env::var("PATH").unwrap().as_str()),
            ("HOME", "/home/runner"),
            ("GITHUB_ACTIONS", "true"),
            ("CI", "true"),
            ("GITHUB_REPOSITORY", "octo-org/octo-repo"),
            ("GITHUB_REPOSITORY_ID", "456789"),
            ("GITHUB_REPOSITORY_OWNER", "octo-org"),
            ("GITHUB_REPOSITORY_OWNER_ID", "123456"),
            ("GITHUB_EVENT_NAME", "push"),
            ("GITHUB_REF", "refs/heads/main"),
            ("GITHUB_REF_NAME", "main"),
            ("GITHUB_REF_PROTECTED", "true"),
            ("GITHUB_JOB", "build"),
            ("GITHUB_RUN_ID", "1234567"),
            ("GITHUB_RUN_ATTEMPT", "2"),
            ("RUNNER_NAME", "arc-runner-set-7xk2p-runner-lq8hd"),
            ("RUNNER_TRACKING_ID", "github_1"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        env.insert("GITHUB_WORKSPACE".into(), text(&workspace));
        env.insert("RUNNER_WORKSPACE".into(), text(workspace.parent().unwrap()));
        env.insert("RUNNER_TEMP".into(), text(&dir.path().join("_work/_temp")));
        let mut runner = Self {
            dir,
            env,
            masks: Vec::new(),
            job_env: BTreeMap::new(),
            job_path: Vec::new(),
            user: None,
            patience: [Duration::from_millis(7500), Duration::from_millis(2500)],
            ignores_signals: false,
            secrets: Vec::new(),
            files: 0,
        };
        runner.event(
            "push",
            &json!({"repository": {"id": 1, "full_name": "octo-org/octo-repo"}}),
        );
        runner
    }

    /// Another event, with its payload.
    pub fn event(&mut self, name: &str, payload: &Value) {
        let file = self.dir.path().join("_work/_temp/event.json");
        fs::write(&file, payload.to_string()).unwrap();
        self.env.insert("GITHUB_EVENT_NAME".into(), name.into());
        self.env
            .insert("GITHUB_EVENT_PATH".into(), file.to_str().unwrap().into());
    }

    /// A pull request from one repository to another, or from one that is gone.
    pub fn pull_request(&mut self, event: &str, head: Option<(u64, &str)>) {
        let repo = head.map(|(id, name)| json!({"id": id, "full_name": name}));
        self.event(
            event,
            &json!({"pull_request": {
                "head": {"ref": "x", "repo": repo},
                "base": {"ref": "main", "repo": {"id": 1, "full_name": "octo-org/octo-repo"}},
            }}),
        );
    }

    pub fn set(&mut self, name: &str, value: &str) -> &mut Self {
        self.env.insert(name.into(), value.into());
        self
    }

    pub fn unset(&mut self, name: &str) -> &mut Self {
        self.env.remove(name);
        self
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A variable of the job's as a step in a container has it: a value that is a path of the work directory, or begins with one,
    /// is written as the container's (`ContainerInfo.TranslateToContainerPath`). Other directories are not mounted there.
    pub fn in_container(&self, name: &str) -> Option<String> {
        let (value, work) = (self.job_env.get(name)?, self.dir.path().join("_work"));
        let below = value.strip_prefix(work.to_str()?);
        let inside = below.filter(|rest| rest.is_empty() || rest.starts_with('/'));
        Some(inside.map_or_else(|| value.clone(), |rest| format!("/__w{rest}")))
    }

    /// What a path in such a container is on the runner, if anything.
    pub fn outside_container(&self, path: &str) -> Option<PathBuf> {
        let below = path.strip_prefix("/__w/")?;
        Some(self.dir.path().join("_work").join(below))
    }

    /// The listener's start: the file `.env` in its folder, where there is one, overwrites its environment. A job that writes
    /// there comes too late: the runner is ephemeral, and reads it no second time.
    pub fn start(&mut self) {
        let text = fs::read_to_string(self.dir.path().join(".env")).unwrap_or_default();
        for line in text.lines() {
            if let Some((name, value)) = line.split_once('=').filter(|(name, _)| !name.is_empty()) {
                self.set(name, value);
            }
        }
    }

    /// A text that must be shown nowhere from now on, nor twelve characters of it in any encoding.
    pub fn watch(&mut self, secret: &str) {
        assert!(
            secret.len() >= WINDOW,
            "{secret:?} is too short to be told from other text"
        );
        if !self.secrets.iter().any(|known| known == secret) {
            self.secrets.push(secret.to_owned());
        }
    }

    /// The first secret that shows in a text, with the form it has there.
    pub fn shown_in(&self, text: &str) -> Option<(&str, String)> {
        let seen: HashSet<&[u8]> = text.as_bytes().windows(WINDOW).collect();
        self.secrets.iter().find_map(|secret| {
            let shows = |form: &String| form.as_bytes().windows(WINDOW).any(|part| seen.contains(part));
            Some((secret.as_str(), forms(secret).into_iter().find(shows)?))
        })
    }

    /// A command file, new for each step.
    fn command_file(&self, kind: &str) -> PathBuf {
        self.dir
            .path()
            .join(format!("_work/_temp/_runner_file_commands/{kind}_{}", self.files))
    }

    /// How the runner starts a hook: `bash -e`, else `sh -e`, in the workspace, standard input closed.
    pub fn command(&mut self, hook: &Path, arguments: &[&str]) -> Command {
        self.files += 1;
        let kinds = [
            ("GITHUB_ENV", "set_env"),
            ("GITHUB_PATH", "add_path"),
            ("GITHUB_OUTPUT", "set_output"),
            ("GITHUB_STATE", "save_state"),
            ("GITHUB_STEP_SUMMARY", "step_summary"),
        ];
        let shell = |name: &'static str| {
            std::env::split_paths(&self.env["PATH"])
                .map(move |folder| folder.join(name))
                .find(|shell| shell.is_file())
        };
        let shell = shell("bash")
            .or_else(|| shell("sh"))
            .unwrap_or_else(|| "/bin/sh".into());
        super::signals::children_start_with_defaults();
        let mut command = match self.ignores_signals {
            true => {
                let mut ignoring = Command::new("/bin/sh");
                ignoring.args(["-c", "trap '' INT TERM; exec \"$@\"", "sh"]).arg(shell);
                ignoring
            }
            false => Command::new(shell),
        };
        command.arg("-e").arg(hook).args(arguments).env_clear();
        for (variable, kind) in kinds {
            let file = self.command_file(kind);
            fs::write(&file, "").unwrap();
            std::os::unix::fs::chown(&file, self.user, None).unwrap();
            command.env(variable, file);
        }
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        command
            .envs(&self.env)
            .current_dir(&self.env["GITHUB_WORKSPACE"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub fn spawn(&mut self, hook: &Path, arguments: &[&str]) -> Child {
        self.command(hook, arguments).spawn().unwrap()
    }

    pub fn run(&mut self, hook: &Path, arguments: &[&str]) -> Step {
        let output = self.command(hook, arguments).output().unwrap();
        self.take(output)
    }

    /// The hook that a variable of the runner's environment names, as the runner runs it; none where there is no such variable.
    pub fn hook(&mut self, variable: &str) -> Option<Step> {
        let path = PathBuf::from(self.env.get(variable).filter(|path| !path.is_empty())?);
        let problem = match path.extension().and_then(|ending| ending.to_str()) {
            _ if !path.is_file() => "File doesn't exist",
            // The runner takes .ps1 and .js too; no hook of these tests is one.
            Some("sh") => return Some(self.run(&path, &[])),
            _ => "is not a valid path to a script",
        };
        let mut step = Step::new(1, String::new());
        step.annotations
            .push(("error".into(), String::new(), format!("{}: {problem}", path.display())));
        Some(step)
    }

    /// A step of the job's own: a script for `bash -e`, with what the steps before it set.
    pub fn step(&mut self, script: &str) -> Step {
        let file = self.dir.path().join(format!("_work/_temp/step-{}.sh", self.files));
        fs::write(&file, script).unwrap();
        let mut command = self.command(&file, &[]);
        command.envs(&self.job_env);
        let path = self.job_path.iter().rev().cloned().chain([self.env["PATH"].clone()]);
        command.env("PATH", path.collect::<Vec<_>>().join(":"));
        let output = command.output().unwrap();
        self.take(output)
    }

    /// A whole job: the started hook, the steps, and whatever they came to, the completed hook.
    pub fn job(&mut self, steps: &[(When, &str)]) -> Job {
        self.start();
        let started = self.hook("ACTIONS_RUNNER_HOOK_JOB_STARTED");
        let mut failed = started.as_ref().is_some_and(|step| step.failed);
        let mut ran = Vec::new();
        for (when, script) in steps {
            let step = (*when == When::Always || !failed).then(|| self.step(script));
            failed |= step.as_ref().is_some_and(|step| step.failed);
            ran.push(step);
        }
        let completed = self.hook("ACTIONS_RUNNER_HOOK_JOB_COMPLETED");
        failed |= completed.as_ref().is_some_and(|step| step.failed);
        Job {
            started,
            steps: ran,
            completed,
            failed,
        }
    }

    /// Cancels what runs, as the runner does: SIGINT, then SIGTERM, then it is killed. Tells which of them ended it.
    pub fn cancel(&mut self, mut child: Child) -> (Step, &'static str) {
        let mut last = "";
        let [after_interrupt, after_terminate] = self.patience;
        for (signal, patience) in [
            ("-INT", after_interrupt),
            ("-TERM", after_terminate),
            ("-KILL", Duration::MAX),
        ] {
            last = signal;
            let sent = Command::new("kill").args([signal, &child.id().to_string()]).status();
            assert!(sent.unwrap().success());
            let begun = Instant::now();
            while child.try_wait().unwrap().is_none() && begun.elapsed() < patience {
                std::thread::sleep(Duration::from_millis(5));
            }
            if child.try_wait().unwrap().is_some() {
                break;
            }
        }
        let output = child.wait_with_output().unwrap();
        (self.take(output), last)
    }

    /// What the runner makes of a hook or a step that has ended.
    pub fn take(&mut self, output: Output) -> Step {
        let raw = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        // The runner knows a process that a signal ended by 128 and its number.
        let code = output.status.signal().map_or(-1, |signal| 128 + signal);
        let mut step = Step::new(output.status.code().unwrap_or(code), raw);
        let mut stopped = None;
        for line in lines(&step.raw.clone()) {
            self.line(line, &mut step, &mut stopped);
        }
        // A user's own steps and hooks may say what they like.
        for (_, title, message) in step.annotations.iter().filter(|(_, title, _)| title.contains("podkey")) {
            assert_for_people("an annotation", &format!("{title}: {message}"));
        }
        for line in step.log.iter().filter(|line| line.contains("podkey")) {
            assert_for_people("the job's log", line);
        }
        let text = |kind| {
            let bytes = fs::read(self.command_file(kind)).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        step.env = read_env(&text("set_env"));
        step.path = text("add_path")
            .lines()
            .filter(|line| !line.is_empty())
            .map(str::to_owned)
            .collect();
        step.summary = self.masked(&text("step_summary"));
        for line in &step.path {
            self.job_path.retain(|known| known != line);
            self.job_path.push(line.clone());
        }
        match &step.env {
            Ok(set) => {
                for (name, value) in set {
                    // An error is shown, and all the others count.
                    if name.eq_ignore_ascii_case("NODE_OPTIONS") {
                        let why = "Can't store NODE_OPTIONS output parameter using '$GITHUB_ENV' command.".to_owned();
                        step.annotations.push(("error".into(), String::new(), why));
                        continue;
                    }
                    self.job_env.insert(name.clone(), value.clone());
                    step.debug.push(self.masked(&format!("{name}='{value}'")));
                }
            }
            Err(why) => {
                step.failed = true;
                let why = self.masked(why);
                step.annotations.push(("error".into(), String::new(), why));
            }
        }
        let annotations = step
            .annotations
            .iter()
            .map(|(_, title, text)| format!("{title}\n{text}"));
        let all = step.log.iter().chain(&step.debug).cloned().chain(annotations);
        let all = all.chain([step.summary.clone()]).collect::<Vec<_>>().join("\n");
        assert_eq!(self.shown_in(&all), None, "a secret shows in: {all}");
        step
    }

    fn line(&mut self, line: &str, step: &mut Step, stopped: &mut Option<String>) {
        let Some((command, title, data)) = command(line, stopped.as_deref()) else {
            step.order.push("line");
            step.log.push(self.masked(line));
            return;
        };
        if let Some(token) = stopped {
            // Until its token comes, everything is a line.
            if command.eq_ignore_ascii_case(token) {
                *stopped = None;
            }
            step.order.push("line");
            step.log.push(self.masked(line));
            return;
        }
        match command.as_str() {
            "stop-commands" => {
                *stopped = Some(data);
                step.order.push("line");
                step.log.push(self.masked(line));
            }
            "add-mask" if !data.trim().is_empty() => {
                step.order.push("mask");
                self.add_mask(&data);
            }
            "add-mask" => self.annotate(step, "warning", "", "Can't add secret mask for empty string"),
            "set-env" | "add-path" => {
                step.failed = true;
                self.annotate(step, "error", "", &format!("The `{command}` command is disabled."));
            }
            level => self.annotate(step, level, &title, &data),
        }
    }

    fn annotate(&self, step: &mut Step, level: &str, title: &str, data: &str) {
        let (title, data) = (self.masked(title), self.masked(data));
        step.order.push("annotation");
        step.log.push(format!("##[{level}]{data}"));
        step.annotations.push((level.to_owned(), title, data));
    }

    /// Takes the masks out of what a hook printed.
    pub fn read(&mut self, printed: &str) {
        for line in lines(printed) {
            if let Some((name, _, data)) = command(line, None)
                && name == "add-mask"
                && !data.trim().is_empty()
            {
                self.add_mask(&data);
            }
        }
    }

    fn add_mask(&mut self, data: &str) {
        let parts = data.split(['\r', '\n']).map(str::trim).filter(|part| !part.is_empty());
        let values: Vec<&str> = std::iter::once(data).chain(parts).collect();
        for value in values {
            self.masks.extend(encodings(value));
        }
    }

    /// A text as the log shows it, line by line.
    pub fn masked(&self, text: &str) -> String {
        let mut hidden = vec![false; text.len()];
        for mask in self.masks.iter().filter(|mask| !mask.is_empty()) {
            let mut from = 0;
            while let Some(at) = text[from..].find(mask.as_str()) {
                let at = from + at;
                hidden[at..at + mask.len()].fill(true);
                from = at + text[at..].chars().next().map_or(1, char::len_utf8);
            }
        }
        let mut out = String::new();
        let mut was = false;
        for (at, c) in text.char_indices() {
            match hidden[at] {
                true if !was => out.push_str("***"),
                true => {}
                false => out.push(c),
            }
            was = hidden[at];
        }
        out
    }
}

impl Default for Runner {
    fn default() -> Self {
        Self::new()
    }
}

impl Step {
    fn new(code: i32, raw: String) -> Self {
        Self {
            code,
            failed: code != 0,
            raw,
            log: Vec::new(),
            annotations: Vec::new(),
            order: Vec::new(),
            env: Ok(BTreeMap::new()),
            path: Vec::new(),
            debug: Vec::new(),
            summary: String::new(),
        }
    }

    /// Insists on the exit code, and on texts of the error annotation.
    #[track_caller]
    pub fn fails(&self, texts: &[&str]) -> &Self {
        assert_eq!(self.code, 1, "{}", self.raw);
        let error = self.annotations.iter().find(|(level, _, _)| level == "error");
        let (_, title, message) = error.unwrap_or_else(|| panic!("no error annotation: {}", self.raw));
        for text in texts {
            assert!(
                title.contains(text) || message.contains(text),
                "no {text:?} in {title:?}: {message:?}"
            );
        }
        self
    }

    #[track_caller]
    pub fn succeeds(&self) -> &Self {
        assert!(self.code == 0 && !self.failed, "{} {:?}", self.raw, self.env);
        let error = self.annotations.iter().find(|(level, _, _)| level == "error");
        assert!(error.is_none(), "{error:?}");
        self
    }

    pub fn variable(&self, name: &str) -> Option<&str> {
        self.env.as_ref().unwrap().get(name).map(String::as_str)
    }
}

/// As .NET reads lines: LF, CR LF, and a lone CR end one.
fn lines(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(['\r', '\n']) {
        lines.push(&rest[..at]);
        let skipped = if rest[at..].starts_with("\r\n") { 2 } else { 1 };
        rest = &rest[at + skipped..];
    }
    if !rest.is_empty() {
        lines.push(rest);
    }
    lines
}

const COMMANDS: [&str; 11] = [
    "add-mask",
    "error",
    "warning",
    "notice",
    "debug",
    "group",
    "endgroup",
    "set-env",
    "add-path",
    "set-output",
    "stop-commands",
];

/// Name, title and data of a workflow command, in the new form (`ActionCommand.TryParseV2`) or the old (`TryParse`). A token
/// that commands were stopped with is a command too.
fn command(line: &str, token: Option<&str>) -> Option<(String, String, String)> {
    let unescape = |text: &str| text.replace("%0D", "\r").replace("%0A", "\n").replace("%25", "%");
    let known = |info: &str| {
        let (name, properties) = info.split_once(' ').unwrap_or((info, ""));
        let name = name.to_ascii_lowercase();
        let title = properties
            .trim()
            .split([',', ';'])
            .find_map(|pair| pair.strip_prefix("title="))
            .map(|title| {
                title
                    .replace("%0D", "\r")
                    .replace("%0A", "\n")
                    .replace("%3A", ":")
                    .replace("%2C", ",")
                    .replace("%25", "%")
            })
            .unwrap_or_default();
        let is_token = token.is_some_and(|token| token.eq_ignore_ascii_case(&name));
        (is_token || COMMANDS.contains(&name.as_str())).then_some((name, title))
    };
    if let Some((info, data)) = line
        .trim_start()
        .strip_prefix("::")
        .and_then(|rest| rest.split_once("::"))
        && let Some((name, title)) = known(info)
    {
        return Some((name, title, unescape(data)));
    }
    let (info, data) = line.split_once("##[")?.1.split_once(']')?;
    let (name, title) = known(info)?;
    let data = data
        .replace("%3B", ";")
        .replace("%0D", "\r")
        .replace("%0A", "\n")
        .replace("%5D", "]")
        .replace("%25", "%");
    Some((name, title, data))
}

/// The forms that the runner adds for a value (`ValueEncoders`).
fn encodings(value: &str) -> Vec<String> {
    let bytes = value.as_bytes();
    let shifted = |by: usize| STANDARD.encode(if bytes.len() > by { &bytes[by..] } else { bytes });
    let json = serde_json::to_string(value).unwrap();
    let mut percent = String::new();
    for byte in bytes {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => percent.push(char::from(*byte)),
            _ => percent.push_str(&format!("%{byte:02X}")),
        }
    }
    let xml = value
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&apos;");
    let mut forms = vec![
        value.to_owned(),
        STANDARD.encode(bytes),
        shifted(1),
        shifted(2),
        value.replace('"', "\\\""),
        value.replace('\'', "''"),
        json[1..json.len() - 1].to_owned(),
        percent,
        xml,
    ];
    if value.len() > 8 && value.starts_with('"') && value.ends_with('"') {
        forms.push(value[1..value.len() - 1].to_owned());
    }
    // PowerShell shows the parts of a command it cannot run apart, one letter after `&+` in another colour.
    let around = match value.find("&+") {
        Some(at) => Some((
            at + 2,
            at + 2 + value[at + 2..].chars().next().map_or(0, char::len_utf8),
        )),
        None => value.rfind('&').map(|at| (at + 1, at + 1)),
    };
    if let Some((end, begin)) = around {
        let parts = [&value[..end], &value[begin..]];
        let long = parts.iter().filter(|part| part.encode_utf16().count() >= 6);
        forms.extend(long.map(ToString::to_string));
    }
    forms.retain(|form| !form.is_empty());
    forms
}

/// So many characters of a secret in a row are one too many.
const WINDOW: usize = 12;

/// The forms in which a tool may print a text: those that the runner hides by itself, and those that it does not.
fn forms(secret: &str) -> Vec<String> {
    let mut forms = encodings(secret);
    let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    forms.push(hex.to_ascii_uppercase());
    forms.push(hex);
    for before in ["", "x", "xy"] {
        // Between other bytes a character or two at each end belong to both.
        let encoded = format!("{before}{secret}\n");
        let own = |text: String| {
            let begin = if before.is_empty() { 0 } else { 4 };
            text.trim_end_matches('=')[begin..].to_owned()
        };
        forms.push(own(STANDARD.encode(&encoded)));
        forms.push(own(URL_SAFE.encode(&encoded)));
    }
    forms
}

/// `GITHUB_ENV` as the runner reads it: `NAME=VALUE` and heredocs, lines end with LF.
pub fn read_env(text: &str) -> Result<BTreeMap<String, String>, String> {
    let mut set = BTreeMap::new();
    let mut rest = text;
    let next = |rest: &mut &str| -> Option<(String, bool)> {
        if rest.is_empty() {
            return None;
        }
        let (line, after, ended) = match rest.split_once('\n') {
            Some((line, after)) => (line, after, true),
            None => (*rest, "", false),
        };
        let line = line.to_owned();
        *rest = after;
        Some((line, ended))
    };
    while let Some((line, _)) = next(&mut rest) {
        if line.is_empty() {
            continue;
        }
        let (equals, heredoc) = (line.find('='), line.find("<<"));
        let (name, value) = match (equals, heredoc) {
            (Some(equals), heredoc) if heredoc.is_none_or(|heredoc| equals < heredoc) => {
                (line[..equals].to_owned(), line[equals + 1..].to_owned())
            }
            (_, Some(heredoc)) => {
                let (name, delimiter) = (&line[..heredoc], &line[heredoc + 2..]);
                if name.is_empty() || delimiter.is_empty() {
                    return Err(format!("Invalid format {line:?}"));
                }
                let mut value: Vec<String> = Vec::new();
                loop {
                    match next(&mut rest) {
                        Some((line, _)) if line == delimiter => break,
                        Some((line, true)) => value.push(line),
                        _ => return Err(format!("Matching delimiter not found {delimiter:?}")),
                    }
                }
                (name.to_owned(), value.join("\n"))
            }
            _ => return Err(format!("Invalid format {line:?}")),
        };
        set.insert(name, value);
    }
    Ok(set)
}
