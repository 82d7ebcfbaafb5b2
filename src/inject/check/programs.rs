//! What a container runs by itself: its command, the commands of its probes and lifecycle hooks, and the scripts that those
//! begin with. No secret goes there: whoever writes the secret would decide what runs.
//!
//! A path that a program is only given, such as `--config /etc/app.yaml` or `. /etc/app.env`, is a place for a secret like any
//! other.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::inject::check::destinations::Destinations;
use crate::inject::patch::additions::normalized;
use crate::inject::patch::parts;
use crate::inject::pod::readers::Reader;
use crate::inject::pod::{Container, Pod, Text, Variables};
use crate::inject::problem::{Problems, quoted};
use crate::inject::request::InjectionRequest;
use crate::inject::request::files::FileRequest;
use crate::plan::{self, EXEC};

/// The longest path that Linux takes, in bytes.
const MAX_PATH_BYTES: usize = 4096;

/// The most that references to variables put into the words of one container, in bytes.
pub(crate) const MAX_EXPANDED_BYTES: usize = 16 * 1024;
/// The most that the paths of one container's relative words have together, in bytes.
const MAX_JOINED_BYTES: usize = 16 * 1024 * 1024;
/// The most words behind a wrapper that are followed. Of those behind them the absolute paths count.
const MAX_FOLLOWED: usize = 64;

/// Every file that would be in the place of a program of a container that gets it, or that mounts podkey's volume by itself.
pub(crate) fn check(pod: &Pod<'_>, readers: &[Reader<'_, '_>], request: &InjectionRequest, problems: &mut Problems) {
    if request.files.is_empty() {
        return;
    }
    let destinations = Destinations::of(&request.files);
    let has_files = |container: &Container<'_>| {
        let mut mounts = container.volume_mounts.iter().flatten();
        readers.iter().any(|reader| std::ptr::eq(reader.container, container))
            || mounts.any(|mount| mount.name == parts::SECRETS_VOLUME)
    };
    let others = pod.all_containers().filter(|container| !parts::is_own(container));
    for container in others.filter(|container| has_files(container)) {
        if problems.is_full() {
            return;
        }
        let mut found: BTreeMap<usize, (&FileRequest, String)> = BTreeMap::new();
        each(container, |program| {
            if let Some(file) = destinations.at_or_above(program) {
                found.entry(file.index).or_insert_with(|| (file, program.to_owned()));
            }
        });
        for (file, program) in found.into_values() {
            problems.push_with(|| {
                let (written, container) = (quoted(&file.file.to_string()), quoted(&container.name));
                let what = match plan::real(&file.file.path()) == plan::real(&program) {
                    true => format!("{written} is a program that the container {container} runs"),
                    false => format!("{written} is in the place of {}, which the container {container} runs", quoted(&program)),
                };
                (
                    format!("{}.file", file.place()),
                    format!(
                        "{what} (as its command, or in a probe or a lifecycle hook), and whoever writes the secret would decide \
                         what runs: choose another path"
                    ),
                )
            });
        }
    }
}

/// Calls `found` with the path of each program that the container runs, as far as the pod says it.
pub(crate) fn each(container: &Container<'_>, mut found: impl FnMut(&str)) {
    let variables = container.variables(|_| true);
    let mut room = MAX_EXPANDED_BYTES;
    let mut search = Search {
        directories: Vec::new(),
        room: MAX_JOINED_BYTES,
        found: &mut found,
    };
    if let Some(directory) = container.working_dir.as_deref().filter(|path| path.starts_with('/')) {
        search.enter(directory);
    }
    let (command, args) = (container.command(), container.args());
    let words: Vec<_> = command
        .iter()
        .chain(&args)
        .map(|word| expanded(word, &variables, &mut room))
        .collect();
    let words: Vec<&str> = words.iter().map(|word| &**word).collect();
    let words = words.strip_prefix(&EXEC[..]).unwrap_or(&words);
    if let Some(name) = words.first().filter(|word| !word.contains('/')) {
        let path = variables.get("PATH").and_then(|var| var.value.as_deref());
        let path = path.map(|path| expanded(path, &variables, &mut room));
        for directory in path.iter().flat_map(|path| path.split(':')) {
            search.program(&format!("{directory}/{name}"));
        }
    }
    // The arguments of an image's own command may begin with a file for it.
    if !command.is_empty() || words.first().is_some_and(|word| may_run(word)) {
        search.run(words);
    }
    let hooks: Hooks<'_> = parsed(container.lifecycle).unwrap_or_default();
    for action in [
        parsed(container.liveness_probe),
        parsed(container.readiness_probe),
        parsed(container.startup_probe),
        hooks.post_start,
        hooks.pre_stop,
    ] {
        let Some(exec) = action.and_then(|action: Action<'_>| action.exec) else {
            continue;
        };
        let words: Vec<_> = exec
            .command
            .iter()
            .map(|word| expanded(word, &variables, &mut room))
            .collect();
        let words: Vec<&str> = words.iter().map(|word| &**word).collect();
        search.run(&words);
    }
}

/// A text of the container's with the values of its plain variables in the place of `$(NAME)`, as the kubelet puts them there.
/// `room` is what the values may have together.
pub(crate) fn expanded<'t>(text: &'t str, variables: &Variables<'_>, room: &mut usize) -> Cow<'t, str> {
    /// How often a value may name another variable that names another.
    const DEPTH: usize = 8;
    fn expand(text: &str, variables: &Variables<'_>, depth: usize, room: &mut usize, out: &mut String) {
        let mut rest = text;
        while let Some(at) = rest.find("$") {
            let (before, reference) = rest.split_at(at);
            out.push_str(before);
            if let Some(escaped) = reference.strip_prefix("$$") {
                out.push('$');
                rest = escaped;
                continue;
            }
            let name = reference.strip_prefix("$(").and_then(|inner| inner.split_once(')'));
            let value = name.and_then(|(name, after)| Some((variables.get(name)?.value.as_deref()?, after)));
            match value.filter(|(value, _)| depth > 0 && value.len() < *room) {
                Some((value, after)) => {
                    *room -= value.len() + 1;
                    expand(value, variables, depth - 1, room, out);
                    rest = after;
                }
                None => {
                    out.push('$');
                    rest = &reference[1..];
                }
            }
        }
        out.push_str(rest);
    }
    if !text.contains("$(") {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    expand(text, variables, DEPTH, room, &mut out);
    Cow::Owned(out)
}

/// A probe, or what is done at one moment of a container's life.
#[derive(Deserialize)]
struct Action<'a> {
    #[serde(borrow, default)]
    exec: Option<Exec<'a>>,
}

#[derive(Deserialize)]
struct Exec<'a> {
    #[serde(borrow, default)]
    command: Vec<Text<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Hooks<'a> {
    #[serde(borrow, default)]
    post_start: Option<Action<'a>>,
    #[serde(borrow, default)]
    pre_stop: Option<Action<'a>>,
}

/// What cannot be read the API server will refuse.
fn parsed<'a, T: Deserialize<'a>>(text: Option<&'a RawValue>) -> Option<T> {
    serde_json::from_str(text?.get()).ok()
}

/// Whether a file of this name may be a program rather than data.
fn may_run(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    match name.rsplit_once('.') {
        None => true,
        Some((_, end)) => ["bash", "js", "mjs", "php", "pl", "py", "rb", "sh"].contains(&end),
    }
}

/// What a program does with the words behind it.
enum Kind {
    /// Runs a script: the first that is no option, or with `-c` that text.
    Shell,
    /// Runs a script: the first that is no option.
    Interpreter,
    /// Runs a command: what comes behind its options and their values, and this many words of its own.
    Wrapper(usize),
    /// Whatever it does with them, they are data.
    Other,
}

fn kind(program: &str) -> Kind {
    let name = program.rsplit('/').next().unwrap_or_default();
    match name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.') {
        "ash" | "bash" | "dash" | "ksh" | "sh" | "zsh" => Kind::Shell,
        "bun" | "java" | "lua" | "node" | "nodejs" | "perl" | "php" | "pypy" | "python" | "Rscript" | "ruby" => {
            Kind::Interpreter
        }
        "busybox" | "catatonit" | "doas" | "dumb-init" | "env" | "exec" | "ionice" | "nice" | "nohup" | "nsenter"
        | "runuser" | "setpriv" | "setsid" | "stdbuf" | "sudo" | "tini" | "time" | "toybox" | "unshare" | "xargs" => {
            Kind::Wrapper(0)
        }
        "chroot" | "flock" | "gosu" | "s6-setuidgid" | "su" | "su-exec" | "taskset" | "timeout" => Kind::Wrapper(1),
        _ => Kind::Other,
    }
}

/// What goes on while a container's words are read.
struct Search<'f> {
    /// Where its relative words may be, the latest last. Which one it is only the shell knows.
    directories: Vec<String>,
    room: usize,
    found: &'f mut dyn FnMut(&str),
}

impl Search<'_> {
    fn program(&mut self, word: &str) {
        if word.starts_with('/') {
            let path = normalized(word);
            if path.len() <= MAX_PATH_BYTES {
                (self.found)(&path);
            }
        } else if word.contains('/') {
            // Where it is without a directory only the image knows.
            for directory in &self.directories {
                let bytes = directory.len() + word.len() + 1;
                if bytes <= MAX_PATH_BYTES && bytes <= self.room {
                    self.room -= bytes;
                    (self.found)(&normalized(&format!("{directory}/{word}")));
                }
            }
        }
    }

    /// What `cd` does.
    fn enter(&mut self, directory: &str) {
        let last = self.directories.last().filter(|_| !directory.starts_with('/'));
        let path = match (last, directory.starts_with('/')) {
            _ if directory.len() > MAX_PATH_BYTES => return,
            (_, true) => normalized(directory),
            (Some(last), false) => normalized(&format!("{last}/{directory}")),
            (None, false) => return,
        };
        self.directories.retain(|known| *known != path);
        self.directories.push(path);
        // Each relative word is looked for in all of them.
        while self.directories.len() > 1 && self.directories.iter().map(String::len).sum::<usize>() > MAX_PATH_BYTES {
            self.directories.remove(0);
        }
    }

    /// The programs that a command runs, one by way of the other.
    fn run(&mut self, words: &[&str]) {
        let [name, arguments @ ..] = words else { return };
        self.program(name);
        match kind(name) {
            Kind::Shell => self.shell(arguments),
            Kind::Interpreter => self.interpreter(arguments),
            Kind::Wrapper(own) => self.wrapper(own, arguments),
            Kind::Other => {}
        }
    }

    fn interpreter(&mut self, arguments: &[&str]) {
        if let Some(path) = arguments.iter().find(|word| !word.starts_with('-')) {
            self.program(path);
        }
    }

    /// A word right behind an option may be its value, or the program. Whichever it is, it counts as a program, and so does what
    /// follows, up to the first word that can be nothing else.
    fn wrapper(&mut self, own: usize, arguments: &[&str]) {
        let (mut own, mut is_value, mut is_last) = (own, false, false);
        let mut left = MAX_FOLLOWED;
        for (index, word) in arguments.iter().enumerate() {
            if *word == "--" {
                (is_value, is_last) = (false, own == 0);
                continue;
            }
            if word.starts_with('-') && !is_last {
                let joined = ["--command=", "--session-command=", "--split-string=", "-S", "-c"];
                if let Some(text) = joined.iter().find_map(|option| word.strip_prefix(option)) {
                    self.script(text);
                }
                is_value = !(word.starts_with("--") && word.contains('=')) && *word != "-";
                continue;
            }
            if is_assignment(word) {
                is_value = false;
                continue;
            }
            self.program(word);
            if left > 0 {
                left -= 1;
                match kind(word) {
                    Kind::Shell => self.shell(&arguments[index + 1..]),
                    Kind::Interpreter => self.interpreter(&arguments[index + 1..]),
                    // It goes on here, with its words.
                    Kind::Wrapper(more) => {
                        own = own.max(more);
                        (is_value, is_last) = (false, false);
                        continue;
                    }
                    // `su -c TEXT`
                    Kind::Other if is_value && word.contains(char::is_whitespace) => self.script(word),
                    Kind::Other => {}
                }
            }
            match (is_value, own) {
                (true, _) => is_value = false,
                (false, 0) => return,
                (false, _) => own -= 1,
            }
        }
    }

    /// What a shell runs that gets these arguments.
    fn shell(&mut self, arguments: &[&str]) {
        let mut is_text = false;
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            match word.strip_prefix(['-', '+']) {
                None if is_text => return self.script(word),
                None => return self.program(word),
                Some("-init-file" | "-rcfile") => drop(words.next()),
                Some(long) if long.starts_with('-') => {}
                Some(flags) => {
                    is_text |= flags.contains('c');
                    // The name of an option comes behind it.
                    if flags.ends_with(['o', 'O']) {
                        words.next();
                    }
                }
            }
        }
    }

    /// The programs that a shell's script runs: what its simple commands begin with. (A file that it reads into itself, as `.`
    /// does with an environment, is data.)
    fn script(&mut self, text: &str) {
        const KEYWORDS: [&str; 10] = [
            "!", "do", "elif", "else", "if", "then", "trap", "until", "while", "command",
        ];
        let before = self.directories.clone();
        for command in text.split([';', '|', '&', '\n', '(', ')', '{', '}', '`']) {
            let words = command.split_whitespace().map(|word| word.trim_matches(['"', '\'']));
            let words: Vec<&str> = words
                .skip_while(|word| KEYWORDS.contains(word) || is_assignment(word))
                .collect();
            match &*words {
                ["cd" | "pushd", operands @ ..] => {
                    let directory = operands.iter().find(|word| !word.starts_with('-'));
                    if let Some(directory) = directory.filter(|directory| !directory.contains('$')) {
                        self.enter(directory);
                    }
                }
                words => self.run(words),
            }
        }
        self.directories = before;
    }
}

/// `NAME=value` before a command.
fn is_assignment(word: &str) -> bool {
    word.split_once('=')
        .is_some_and(|(name, _)| crate::text::is_variable_name(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn programs(container: &str) -> Vec<String> {
        let pod = format!(r#"{{"spec":{{"containers":[{{"name":"web",{container}}}]}}}}"#);
        let pod = Pod::parse(&pod).unwrap();
        let mut programs = Vec::new();
        each(&pod.spec.containers[0], |path| programs.push(path.to_owned()));
        // A word may be found in two ways.
        programs.dedup();
        programs
    }

    #[test]
    fn what_runs_is_told_from_what_is_read() {
        for (container, expected) in [
            (r#""command":["/app/run"]"#, &["/app/run"][..]),
            (
                r#""command":["/app//bin/../run","--config","/etc/app.yaml"]"#,
                &["/app/run"],
            ),
            (
                r#""command":["./run.sh"],"workingDir":"/home/runner""#,
                &["/home/runner/run.sh"],
            ),
            (r#""command":["./run.sh"]"#, &[]),
            (
                r#""command":["app"],"env":[{"name":"PATH","value":"/opt/app:/bin"}]"#,
                &["/opt/app/app", "/bin/app"],
            ),
            (
                r#""command":["bash","-eu","/app/start.sh","/etc/app.env"]"#,
                &["/app/start.sh"],
            ),
            (
                r#""command":["/bin/sh"],"args":["-ec","exec /app/run --x /etc/x"]"#,
                &["/bin/sh", "/app/run"],
            ),
            (
                r#""command":["sh","-c","A=1 /a/b && if [ -f /x ]; then sudo -E /c/d; fi\n. /run/web.env; \"/e/f\" | /g/h"]"#,
                &["/a/b", "/c/d", "/e/f", "/g/h"],
            ),
            (
                r#""command":["sh","-c","cat /etc/passwd; bash /a.sh /etc/a"]"#,
                &["/a.sh"],
            ),
            (r#""command":["bash","-euo","pipefail","-c","sh -c '/a -b'"]"#, &["/a"]),
            (
                r#""command":["tini","-g","--","env","A=b","timeout","5","python3.12","-u","/app/main.py","/x"]"#,
                &["/app/main.py"],
            ),
            (r#""command":["python","-m","app","/etc/app.yaml"]"#, &[]),
            (r#""command":["java","-jar","/app.jar","/etc/app.yaml"]"#, &["/app.jar"]),
            (
                r#""command":["/podkey/bin/podkey-agent","exec","--","/app/run"]"#,
                &["/app/run"],
            ),
            (r#""args":["/app/start.sh","/x"]"#, &["/app/start.sh"]),
            (r#""args":["/etc/redis/redis.conf"]"#, &[]),
            (
                r#""livenessProbe":{"exec":{"command":["/probe"]}},"startupProbe":{"httpGet":{"path":"/no"}},
                "readinessProbe":{"exec":{"command":["sh","-c","/ready"]}},
                "lifecycle":{"preStop":{"exec":{"command":["/stop"]}},"postStart":{"exec":{"command":["/start"]}}}"#,
                &["/probe", "/ready", "/start", "/stop"],
            ),
            (
                r#""command":["sh","-c","cd /srv/arc && ./run.sh; cd sub; ./x"],"preStop":1"#,
                &["/srv/arc/run.sh", "/srv/arc/x", "/srv/arc/sub/x"],
            ),
            (
                r#""command":["sh","-c","(cd /a); ./b"],"workingDir":"/w""#,
                &["/w/b", "/a/b"],
            ),
            (
                r#""command":["$(DIR)/run.sh"],"env":[{"name":"BASE","value":"/srv"},{"name":"DIR","value":"$(BASE)/arc"}]"#,
                &["/srv/arc/run.sh"],
            ),
            (
                r#""command":["/a/$$(DIR)/$(NONE)/$(SELF)"],"env":[{"name":"DIR","value":"/x"},{"name":"SELF","value":"s"}]"#,
                &["/a/$(DIR)/$(NONE)/s"],
            ),
            (
                r#""command":["sudo","-u","app","/app/run","--x","/etc/x"]"#,
                &["/app/run"],
            ),
            (r#""command":["nice","-n","10","/app/run"]"#, &["/app/run"]),
            (r#""command":["env","-u","X","/app/run"]"#, &["/app/run"]),
            (r#""command":["setpriv","--reuid","1","/app/run"]"#, &["/app/run"]),
            (r#""command":["timeout","-k","5","10","/app/run"]"#, &["/app/run"]),
            (r#""command":["timeout","--foreground","5","/app/run"]"#, &["/app/run"]),
            (
                r#""command":["timeout","--foreground","5","sh","-c","cd /a; ./b"]"#,
                &["/a/b"],
            ),
            (
                r#""command":["su","app","-c","/app/run --x"]"#,
                &["/app/run --x", "/app/run"],
            ),
            (r#""command":["su","-c","/app/run","app"]"#, &["/app/run"]),
            (
                r#""command":["runuser","-u","app","--","/app/run","/x"]"#,
                &["/app/run"],
            ),
            (r#""command":["flock","/lock","/app/run","/x"]"#, &["/lock", "/app/run"]),
            (r#""command":["xargs","-n","1","/app/run"]"#, &["/app/run"]),
            (r#""command":["s6-setuidgid","app","/app/run"]"#, &["/app/run"]),
            (r#""command":["gosu","app","sh","/app/run"]"#, &["/app/run"]),
            (r#""command":["su-exec","app","/app/run","/x"]"#, &["/app/run"]),
            (r#""command":["chroot","/root","/app/run"]"#, &["/root", "/app/run"]),
            (r#""command":["stdbuf","-oL","/app/run"]"#, &["/app/run"]),
            (r#""command":["ionice","-c","3","/app/run"]"#, &["/app/run"]),
            (r#""command":["taskset","-c","0","/app/run"]"#, &["/app/run"]),
            (r#""command":["unshare","-r","/app/run"]"#, &["/app/run"]),
            (r#""command":["nsenter","-t","1","-m","/app/run"]"#, &["/app/run"]),
            (r#""command":["catatonit","--","/app/run","--x","/x"]"#, &["/app/run"]),
            (
                r#""command":["/tini","-s","--","sudo","-u","a","/app/run"]"#,
                &["/tini", "/app/run"],
            ),
            (r#""command":["dumb-init","/app/run","--x","/x"]"#, &["/app/run"]),
            (r#""livenessProbe":7,"lifecycle":[],"command":{}"#, &[]),
        ] {
            assert_eq!(programs(container), expected, "{container}");
        }
    }

    #[test]
    fn variables_of_variables_have_an_end() {
        let doubling: Vec<String> = (0..40)
            .map(|n| format!(r#"{{"name":"V{n}","value":"$(V{0})$(V{0})"}}"#, n + 1))
            .collect();
        let container = format!(r#""command":["/a/$(V0)","/b"],"env":[{}]"#, doubling.join(","));
        assert_eq!(programs(&container).len(), 1);
        let itself = r#""command":["/a/$(V)"],"env":[{"name":"V","value":"/x/$(V)"}]"#;
        assert_eq!(programs(itself).len(), 1);
    }
}
