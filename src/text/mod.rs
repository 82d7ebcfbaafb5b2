//! What both halves must judge alike: which characters can be seen, what a variable may be called, which variables are
//! more than data, and how a value that somebody wrote stands in a message.

#[cfg(feature = "agent")]
mod steering;

#[cfg(feature = "agent")]
pub(crate) use self::steering::steers;

/// Printable: no control, no line or paragraph separator, none of the invisible characters that make two texts look the
/// same or change the direction of what follows them.
pub(crate) fn is_printable(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

/// A name that every shell takes: `[A-Za-z_][A-Za-z0-9_]*`.
pub(crate) fn is_variable_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Whether a variable of this name makes a shell, the loader, an interpreter, git or the runner load, run or write what it
/// names, or is podkey's own. Not even the author of an annotation may name such a variable. Names that a secret's writer chooses
/// are held to more, see `steering`.
pub(crate) fn takes_over(name: &str) -> bool {
    const PREFIXES: [&str; 7] = [
        "ACTIONS_",
        "BASH_FUNC_",
        "DYLD_",
        "GIT_CONFIG_",
        "LD_",
        "PODKEY_",
        "RUNNER_",
    ];
    const NAMES: [&str; 56] = [
        // Shells and the loader.
        "BASHOPTS",
        "BASH_ENV",
        "CDPATH",
        "EDITOR",
        "ENV",
        "EUID",
        "GCONV_PATH",
        "GLIBC_TUNABLES",
        "HOME",
        "IFS",
        "LOCPATH",
        "NLSPATH",
        "OPENSSL_CONF",
        "PAGER",
        "PATH",
        "PPID",
        "PROMPT_COMMAND",
        "PS1",
        "PS2",
        "PS4",
        "SHELL",
        "SHELLOPTS",
        "UID",
        "VISUAL",
        "ZDOTDIR",
        // Interpreters and runtimes.
        "DOTNET_STARTUP_HOOKS",
        "JAVA_TOOL_OPTIONS",
        "JDK_JAVA_OPTIONS",
        "NODE_OPTIONS",
        "NODE_PATH",
        "PERL5DB",
        "PERL5LIB",
        "PERL5OPT",
        "PYTHONHOME",
        "PYTHONPATH",
        "PYTHONSTARTUP",
        "PYTHONUSERBASE",
        "RUBYLIB",
        "RUBYOPT",
        "_JAVA_OPTIONS",
        // git.
        "GIT_ASKPASS",
        "GIT_EDITOR",
        "GIT_EXEC_PATH",
        "GIT_EXTERNAL_DIFF",
        "GIT_PAGER",
        "GIT_PROXY_COMMAND",
        "GIT_SEQUENCE_EDITOR",
        "GIT_SSH",
        "GIT_SSH_COMMAND",
        "GIT_TEMPLATE_DIR",
        "SSH_ASKPASS",
        // The runner's command files.
        "GITHUB_ENV",
        "GITHUB_OUTPUT",
        "GITHUB_PATH",
        "GITHUB_STATE",
        "GITHUB_STEP_SUMMARY",
    ];
    // npm takes it in capitals too.
    let is_npms = name
        .get(..11)
        .is_some_and(|start| start.eq_ignore_ascii_case("npm_config_"));
    is_npms || PREFIXES.iter().any(|prefix| name.starts_with(prefix)) || NAMES.contains(&name)
}

/// The longest value in a message, in characters.
const MOST: usize = 64;

/// A value of the author's as it stands in a message: quoted, control characters escaped, at most 64 characters.
pub(crate) fn quoted(value: &str) -> String {
    match value.char_indices().nth(MOST) {
        None => format!("{value:?}"),
        Some((end, _)) => format!("{:?}…", &value[..end]),
    }
}

/// A key that may hold anything, likewise fit for a message, without quotes.
#[cfg(feature = "webhook")]
pub(crate) fn unquoted(key: &str) -> String {
    let mut chars = key.chars();
    let mut text: String = chars.by_ref().take(MOST).flat_map(char::escape_debug).collect();
    if chars.next().is_some() {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_in_messages_are_short_and_on_one_line() {
        assert_eq!(quoted("a\n\u{1b}[31m"), r#""a\n\u{1b}[31m""#);
        assert_eq!(quoted(&"ä".repeat(1000)).chars().count(), 67);
    }

    #[test]
    fn what_cannot_be_seen_is_not_printable() {
        assert!("aä €\u{a0}".chars().all(is_printable));
        assert!(
            !"\n\u{1b}\u{ad}\u{200b}\u{2028}\u{202e}\u{2066}\u{feff}\u{fffa}"
                .chars()
                .any(is_printable)
        );
    }

    #[test]
    fn names_of_variables() {
        for name in ["A", "_", "a1_B"] {
            assert!(is_variable_name(name), "{name}");
        }
        for name in ["", "1A", "A-B", "A.B", "Ä", "A=B", "A ", "A\n"] {
            assert!(!is_variable_name(name), "{name:?}");
        }
    }

    #[test]
    fn variables_that_are_more_than_data() {
        for name in [
            "PATH",
            "LD_PRELOAD",
            "SHELL",
            "PS4",
            "GITHUB_ENV",
            "RUNNER_TEMP",
            "PODKEY_PLAN",
            "NPM_CONFIG_SCRIPT_SHELL",
            "npm_config_registry",
            "GIT_EXTERNAL_DIFF",
        ] {
            assert!(takes_over(name), "{name}");
        }
        for name in [
            "KUBECONFIG",
            "GITHUB_PAT_FILE",
            "GITHUB_TOKEN",
            "path",
            "PATHS",
            "NPM_TOKEN",
        ] {
            assert!(!takes_over(name), "{name}");
        }
    }
}
