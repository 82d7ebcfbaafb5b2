//! `agent-inject-command-NAME`: a shell command of vault-k8s that means one of podkey's actions. podkey has no shell, so every other
//! command is refused.

use crate::inject::problem::quoted;
use crate::plan::OnChange;

/// The longest command, in bytes.
const MAX_BYTES: usize = 2048;

/// The action that the command means.
pub(super) fn action(command: &str) -> Result<OnChange, String> {
    let wrong = |why: &str| {
        Err(format!(
            "{} {why}: podkey runs no shell, and does these: kill -HUP $(pidof NAME), pkill -HUP NAME, touch FILE, \
             curl -X POST http://127.0.0.1:PORT/PATH",
            quoted(command)
        ))
    };
    if command.len() > MAX_BYTES {
        return wrong("is too long");
    }
    let Some(text) = of_action(command) else {
        return wrong("is a command that podkey cannot do");
    };
    text.parse::<OnChange>().or_else(|why| wrong(&why.to_string()))
}

/// The action as `podkey.dev/on-change` has it. None: the command is no action.
fn of_action(command: &str) -> Option<String> {
    let command = without_shell(command.trim());
    // A reload that fails is no failure of the agent's.
    let command = command.strip_suffix("|| true").unwrap_or(command).trim();
    let words: Vec<&str> = command.split_whitespace().collect();
    let (program, arguments) = words.split_first()?;
    match program.rsplit('/').next()? {
        "kill" => kill(arguments),
        "pkill" => pkill(arguments),
        "touch" => touch(arguments),
        "curl" => curl(arguments),
        _ => None,
    }
}

/// The command of `sh -c "…"`.
fn without_shell(command: &str) -> &str {
    let shells = ["sh -c ", "bash -c ", "/bin/sh -c ", "/bin/bash -c "];
    let Some(inner) = shells.iter().find_map(|shell| command.strip_prefix(shell)) else {
        return command;
    };
    let inner = inner.trim();
    let mut quotes = ['"', '\''].into_iter();
    let unquoted = quotes.find_map(|quote| inner.strip_prefix(quote)?.strip_suffix(quote));
    unquoted.unwrap_or(inner).trim()
}

/// `-HUP`, `-SIGHUP`, `-1`, or `-s HUP`: the name of the signal, and the arguments behind it.
fn signal<'w>(arguments: &'w [&'w str]) -> Option<(String, &'w [&'w str])> {
    let (first, rest) = arguments.split_first()?;
    let (name, rest) = match first.strip_prefix('-')? {
        "s" => rest.split_first().map(|(name, rest)| (*name, rest))?,
        name => (name, rest),
    };
    let name = match name {
        "1" => "HUP",
        "2" => "INT",
        "3" => "QUIT",
        "10" => "USR1",
        "12" => "USR2",
        "15" => "TERM",
        "28" => "WINCH",
        name => name.strip_prefix("SIG").unwrap_or(name),
    };
    Some((format!("SIG{name}"), rest))
}

/// `kill -HUP $(pidof nginx)`.
fn kill(arguments: &[&str]) -> Option<String> {
    let (signal, rest) = signal(arguments)?;
    let inner = rest.join(" ");
    let inner = inner
        .strip_prefix("$(")
        .and_then(|inner| inner.strip_suffix(')'))
        .or_else(|| inner.strip_prefix('`')?.strip_suffix('`'))?;
    let words: Vec<&str> = inner.split_whitespace().collect();
    let name = match words.as_slice() {
        ["pidof" | "pgrep", name] | ["pgrep", "-x", name] => *name,
        _ => return None,
    };
    is_name(name).then(|| format!("signal:{signal}:{name}"))
}

/// `pkill -HUP nginx`, `pkill -HUP -x nginx`.
fn pkill(arguments: &[&str]) -> Option<String> {
    let (signal, rest) = signal(arguments)?;
    let name = match rest {
        [name] | ["-x", name] => *name,
        _ => return None,
    };
    is_name(name).then(|| format!("signal:{signal}:{name}"))
}

/// A name that is no pattern, as the kernel keeps it: `pkill` compares 15 bytes.
fn is_name(name: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"_-".contains(&b);
    !name.starts_with('-') && (1..=15).contains(&name.len()) && name.bytes().all(is_plain)
}

/// `touch /vault/secrets/reload`.
fn touch(arguments: &[&str]) -> Option<String> {
    let [path] = arguments else { return None };
    let (directory, name) = path.rsplit_once('/')?;
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"_-./".contains(&b);
    path.bytes().all(is_plain).then(|| format!("touch:{directory}:{name}"))
}

/// `curl -X POST http://127.0.0.1:9000/-/reload`.
fn curl(arguments: &[&str]) -> Option<String> {
    /// Flags that change what curl prints, and not what it asks for.
    const QUIET: [&str; 8] = ["-s", "-S", "-f", "-sS", "-sf", "-fsS", "--silent", "--fail"];
    let mut posts = false;
    let mut url = None;
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        match *word {
            "-X" | "--request" => posts = *words.next()? == "POST",
            "-XPOST" | "--request=POST" => posts = true,
            flag if QUIET.contains(&flag) => {}
            word if word.starts_with('-') || url.is_some() => return None,
            word => url = Some(word.trim_matches(['"', '\''])),
        }
    }
    let url = url.filter(|url| posts && !url.contains(['$', '`', '"', '\'', ';', '&', '|', '<', '>']))?;
    Some(format!("http:POST:{url}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reloads_that_are_common_become_actions() {
        for (command, expected) in [
            ("kill -HUP $(pidof nginx)", "signal:SIGHUP:nginx"),
            ("/bin/kill -s HUP `pgrep -x nginx`", "signal:SIGHUP:nginx"),
            ("sh -c 'kill -SIGUSR1 $(pidof envoy) || true'", "signal:SIGUSR1:envoy"),
            ("pkill -HUP nginx", "signal:SIGHUP:nginx"),
            ("/bin/sh -c \"pkill -1 -x app || true\"", "signal:SIGHUP:app"),
            (
                "curl -sf -X POST http://127.0.0.1:9090/-/reload",
                "http:POST:http://127.0.0.1:9090/-/reload",
            ),
            (
                "curl -XPOST http://localhost:9090/-/reload",
                "http:POST:http://127.0.0.1:9090/-/reload",
            ),
        ] {
            assert_eq!(
                action(command).map(|action| action.to_string()),
                Ok(expected.to_owned()),
                "{command}"
            );
        }
    }

    #[test]
    fn a_command_that_could_mean_more_is_refused() {
        for command in [
            "",
            "nginx -s reload",
            "kill -HUP 1",
            "kill -HUP $(cat /run/nginx.pid)",
            "kill $(pidof nginx)",
            "kill -KILL $(pidof nginx)",
            "pkill -HUP -f nginx",
            "pkill -HUP ng.*",
            "pkill -HUP nginx; rm -rf /vault",
            "pkill nginx",
            "curl http://127.0.0.1:9090/-/reload",
            "curl -X POST http://10.0.0.1/reload",
            "curl -X POST -d @/vault/secrets/db http://127.0.0.1/",
            "curl -X POST http://127.0.0.1/;id",
            "touch",
            "touch /vault/secrets/$NAME",
            "sh -c 'cat /vault/secrets/db > /shared/db'",
        ] {
            assert!(action(command).is_err(), "{command}");
        }
    }
}
