//! What the words of a command mean: which programs run another program, and which words are assignments.

/// Whether a file of this name may be a program. (Other files are data.)
pub(super) fn may_run(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    match name.rsplit_once('.') {
        None => true,
        Some((_, end)) => ["bash", "js", "mjs", "php", "pl", "py", "rb", "sh"].contains(&end),
    }
}

/// What a program does with its arguments.
pub(super) enum ProgramKind {
    /// Runs a script: the first argument that is not an option, or the text behind `-c`.
    Shell,
    /// Runs a script: the first argument that is not an option.
    Interpreter,
    /// Runs a command: the words behind the options, the values of the options, and so many words of the wrapper's own.
    Wrapper(usize),
    /// Runs no program: the arguments are data.
    Other,
}

pub(super) fn kind(program: &str) -> ProgramKind {
    let name = program.rsplit('/').next().unwrap_or_default();
    match name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.') {
        "ash" | "bash" | "dash" | "ksh" | "sh" | "zsh" => ProgramKind::Shell,
        "bun" | "java" | "lua" | "node" | "nodejs" | "perl" | "php" | "pypy" | "python" | "Rscript" | "ruby" => {
            ProgramKind::Interpreter
        }
        "busybox" | "catatonit" | "doas" | "dumb-init" | "env" | "exec" | "ionice" | "nice" | "nohup" | "nsenter"
        | "runuser" | "setpriv" | "setsid" | "stdbuf" | "sudo" | "tini" | "time" | "toybox" | "unshare" | "xargs" => {
            ProgramKind::Wrapper(0)
        }
        "chroot" | "flock" | "gosu" | "s6-setuidgid" | "su" | "su-exec" | "taskset" | "timeout" => {
            ProgramKind::Wrapper(1)
        }
        _ => ProgramKind::Other,
    }
}

/// Whether the word is `NAME=value`, which may stand before a command.
pub(super) fn is_assignment(word: &str) -> bool {
    word.split_once('=')
        .is_some_and(|(name, _)| crate::text::is_variable_name(name))
}
