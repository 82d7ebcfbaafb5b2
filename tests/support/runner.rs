//! A runner as `actions/runner` (2.336) is on the points that a job hook depends on: how it runs the hook, what it makes of
//! each line of its output, how it masks, and how it reads the command files.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A runner with one job.
pub struct Runner {
    dir: TempDir,
    /// What a hook finds in its environment, the command files aside.
    pub env: BTreeMap<String, String>,
    /// Every text that is masked, encodings included. They stay for the whole job.
    pub masks: Vec<String>,
    files: usize,
}

/// How a hook ended, and what the runner made of it.
pub struct Step {
    pub code: i32,
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
            ("GITHUB_REPOSITORY_OWNER", "octo-org"),
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

    /// A command file, new for each step.
    fn command_file(&self, kind: &str) -> PathBuf {
        self.dir
            .path()
            .join(format!("_work/_temp/_runner_file_commands/{kind}_{}", self.files))
    }

    /// How the runner starts a hook: the interpreter by the path's ending, standard input closed.
    pub fn command(&mut self, hook: &Path, arguments: &[&str]) -> Command {
        self.files += 1;
        let kinds = [
            ("GITHUB_ENV", "set_env"),
            ("GITHUB_PATH", "add_path"),
            ("GITHUB_OUTPUT", "set_output"),
            ("GITHUB_STATE", "save_state"),
            ("GITHUB_STEP_SUMMARY", "step_summary"),
        ];
        let bash = std::env::split_paths(&self.env["PATH"])
            .map(|folder| folder.join("bash"))
            .find(|bash| bash.is_file());
        let mut command = Command::new(bash.unwrap_or_else(|| "/bin/sh".into()));
        command.arg("-e").arg(hook).args(arguments).env_clear();
        for (variable, kind) in kinds {
            let file = self.command_file(kind);
            fs::write(&file, "").unwrap();
            command.env(variable, file);
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

    /// What the runner makes of a hook that has ended.
    pub fn take(&mut self, output: Output) -> Step {
        let mut step = Step {
            code: output.status.code().unwrap_or(-1),
            raw: String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr),
            log: Vec::new(),
            annotations: Vec::new(),
            order: Vec::new(),
            env: read_env(&fs::read_to_string(self.command_file("set_env")).unwrap_or_default()),
            summary: fs::read_to_string(self.command_file("step_summary")).unwrap_or_default(),
        };
        let raw = step.raw.clone();
        for line in lines(&raw) {
            self.line(line, &mut step);
        }
        step.summary = self.masked(&step.summary);
        step
    }

    fn line(&mut self, line: &str, step: &mut Step) {
        let Some((command, title, data)) = command(line) else {
            step.order.push("line");
            step.log.push(self.masked(line));
            return;
        };
        if command == "add-mask" {
            step.order.push("mask");
            if !data.trim().is_empty() {
                self.add_mask(&data);
            }
            return;
        }
        step.order.push("annotation");
        let (title, data) = (self.masked(&title), self.masked(&data));
        step.log.push(format!("##[{command}]{data}"));
        step.annotations.push((command, title, data));
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
        assert_eq!(self.code, 0, "{}", self.raw);
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

/// Name, title and data of a workflow command, in the new form (`ActionCommand.TryParseV2`) or the old (`TryParse`).
fn command(line: &str) -> Option<(String, String, String)> {
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
        COMMANDS.contains(&name.as_str()).then_some((name, title))
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
    if let Some((before, after)) = value.split_once('&') {
        forms.extend(
            [before, after]
                .iter()
                .filter(|part| part.len() >= 6)
                .map(ToString::to_string),
        );
    }
    forms.retain(|form| !form.is_empty());
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
        if name.eq_ignore_ascii_case("NODE_OPTIONS") {
            return Err("Can't store NODE_OPTIONS output parameter using '$GITHUB_ENV' command.".to_owned());
        }
        set.insert(name, value);
    }
    Ok(set)
}
