//! What a container runs by itself: its command, the commands of its probes and lifecycle hooks, and the scripts that those
//! begin with. No secret goes there: whoever writes the secret would decide what runs.
//!
//! A path that a program is only given, such as `--config /etc/app.yaml` or `. /etc/app.env`, is a place for a secret like any
//! other.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::additions::normalized;
use super::destinations::Destinations;
use super::files::FileRequest;
use super::pod::{Container, Text};
use super::problem::{Problems, quoted};
use super::readers::Reader;
use super::request::InjectionRequest;
use crate::plan::EXEC;

/// The longest path that Linux takes, in bytes.
const MAX_PATH_BYTES: usize = 4096;

/// Every file that would be in the place of a program of a container that gets it.
pub(super) fn check(readers: &[Reader<'_, '_>], request: &InjectionRequest, problems: &mut Problems) {
    if request.files.is_empty() {
        return;
    }
    let destinations = Destinations::of(&request.files);
    for reader in readers {
        if problems.is_full() {
            return;
        }
        let mut found: BTreeMap<usize, (&FileRequest, String)> = BTreeMap::new();
        each(reader.container, |program| {
            if let Some(file) = destinations.at_or_above(program) {
                found.entry(file.index).or_insert_with(|| (file, program.to_owned()));
            }
        });
        for (file, program) in found.into_values() {
            problems.push_with(|| {
                let (written, container) = (quoted(&file.file.to_string()), quoted(&reader.container.name));
                let what = match file.file.path() == *program {
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
pub(super) fn each(container: &Container<'_>, mut found: impl FnMut(&str)) {
    let directory = container.working_dir.as_deref().filter(|path| path.starts_with('/'));
    let mut program = |word: &str| {
        let path = match (word.starts_with('/'), word.contains('/'), directory) {
            (true, ..) => normalized(word),
            (false, true, Some(directory)) => normalized(&format!("{directory}/{word}")),
            // Where it is only the image knows.
            (false, ..) => return,
        };
        if path.len() <= MAX_PATH_BYTES {
            found(&path);
        }
    };
    let (command, args) = (container.command(), container.args());
    let words: Vec<&str> = command.iter().chain(&args).map(|word| &**word).collect();
    let words = words.strip_prefix(&EXEC[..]).unwrap_or(&words);
    if let Some(name) = words.first().filter(|word| !word.contains('/')) {
        let path = container.variables(|var| var.name == "PATH");
        let path = path.get("PATH").and_then(|var| var.value.as_deref());
        for directory in path.into_iter().flat_map(|path| path.split(':')) {
            program(&format!("{directory}/{name}"));
        }
    }
    // The arguments of an image's own command may begin with a file for it.
    if !command.is_empty() || words.first().is_some_and(|word| may_run(word)) {
        run(words, &mut program);
    }
    for text in [
        container.liveness_probe,
        container.readiness_probe,
        container.startup_probe,
    ] {
        run_action(parsed(text), &mut program);
    }
    let hooks: Hooks<'_> = parsed(container.lifecycle).unwrap_or_default();
    run_action(hooks.post_start, &mut program);
    run_action(hooks.pre_stop, &mut program);
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

fn run_action(action: Option<Action<'_>>, program: &mut dyn FnMut(&str)) {
    if let Some(exec) = action.and_then(|action| action.exec) {
        let words: Vec<&str> = exec.command.iter().map(|word| &**word).collect();
        run(&words, program);
    }
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
    /// Runs a command: what comes behind its options, and this many words of its own.
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
        "busybox" | "catatonit" | "doas" | "dumb-init" | "env" | "exec" | "nice" | "nohup" | "setpriv" | "setsid"
        | "stdbuf" | "sudo" | "tini" | "time" | "toybox" => Kind::Wrapper(0),
        "chroot" | "gosu" | "su-exec" | "timeout" => Kind::Wrapper(1),
        _ => Kind::Other,
    }
}

/// The programs that a command runs, one by way of the other.
fn run(words: &[&str], program: &mut dyn FnMut(&str)) {
    let mut rest = words;
    while let [name, arguments @ ..] = rest {
        program(name);
        match kind(name) {
            Kind::Shell => return shell(arguments, program),
            Kind::Interpreter => {
                let operand = arguments.iter().find(|word| !word.starts_with('-'));
                return operand.into_iter().for_each(|path| program(path));
            }
            Kind::Wrapper(own) => {
                let skipped = |word: &&&str| word.starts_with('-') || is_assignment(word);
                let options = arguments.iter().take_while(skipped).count();
                rest = arguments.get(options + own..).unwrap_or_default();
            }
            Kind::Other => return,
        }
    }
}

/// What a shell runs that gets these arguments.
fn shell(arguments: &[&str], program: &mut dyn FnMut(&str)) {
    let mut is_text = false;
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        match word.strip_prefix(['-', '+']) {
            None if is_text => return script(word, program),
            None => return program(word),
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

/// `NAME=value` before a command.
fn is_assignment(word: &str) -> bool {
    word.split_once('=')
        .is_some_and(|(name, _)| crate::text::is_variable_name(name))
}

/// The programs that a shell's script runs: what its simple commands begin with. (A file that it reads into itself, as `.`
/// does with an environment, is data.)
fn script(text: &str, program: &mut dyn FnMut(&str)) {
    const KEYWORDS: [&str; 10] = [
        "!", "do", "elif", "else", "if", "then", "trap", "until", "while", "command",
    ];
    for command in text.split([';', '|', '&', '\n', '(', ')', '{', '}', '`']) {
        let words = command.split_whitespace().map(|word| word.trim_matches(['"', '\'']));
        let words: Vec<&str> = words
            .skip_while(|word| KEYWORDS.contains(word) || is_assignment(word))
            .collect();
        run(&words, program);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inject::Pod;

    fn programs(container: &str) -> Vec<String> {
        let pod = format!(r#"{{"spec":{{"containers":[{{"name":"web",{container}}}]}}}}"#);
        let pod = Pod::parse(&pod).unwrap();
        let mut programs = Vec::new();
        each(&pod.spec.containers[0], |path| programs.push(path.to_owned()));
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
            (r#""livenessProbe":7,"lifecycle":[],"command":{}"#, &[]),
        ] {
            assert_eq!(programs(container), expected, "{container}");
        }
    }
}
