//! Variables that are more than data, so that nobody may choose these names. Each name is here once, with the reason.

/// Variables that nobody may choose, with the reason.
struct ReservedNames {
    reason: ReservedReason,
    /// Every variable with such a beginning.
    beginnings: &'static [&'static str],
    names: &'static [&'static str],
}

/// Why nobody may choose a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReservedReason {
    /// A program reads the variable and then loads, runs or writes what the variable names.
    DecidesWhatRuns(&'static str),
    /// A program sets the variable itself, and trusts its value.
    Reserved(&'static str),
}

/// npm reads its settings in lower and upper case.
const NPM_SETTINGS: &str = "npm_config_";
const NPM: ReservedReason = ReservedReason::DecidesWhatRuns("npm reads it");
/// The runner trusts every variable with this beginning.
pub(super) const GITHUB: &str = "GITHUB_";
/// The runner refuses this variable, in any case of its letters.
const NODE_OPTIONS: &str = "NODE_OPTIONS";

const RESERVED: &[ReservedNames] = &[
    ReservedNames {
        reason: ReservedReason::Reserved("podkey"),
        beginnings: &["PODKEY_"],
        names: &[],
    },
    ReservedNames {
        reason: ReservedReason::Reserved("GitHub's runner"),
        beginnings: &["ACTIONS_", "RUNNER_"],
        // The files that carry commands from a step to the runner.
        names: &[
            "GITHUB_ENV",
            "GITHUB_OUTPUT",
            "GITHUB_PATH",
            "GITHUB_STATE",
            "GITHUB_STEP_SUMMARY",
        ],
    },
    ReservedNames {
        reason: ReservedReason::DecidesWhatRuns("shells, the loader or other programs read it"),
        beginnings: &["BASH_FUNC_", "DYLD_", "LD_"],
        names: &[
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
        ],
    },
    ReservedNames {
        reason: ReservedReason::DecidesWhatRuns("interpreters and runtimes read it"),
        beginnings: &[],
        names: &[
            "DOTNET_STARTUP_HOOKS",
            "JAVA_TOOL_OPTIONS",
            "JDK_JAVA_OPTIONS",
            NODE_OPTIONS,
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
        ],
    },
    ReservedNames {
        reason: ReservedReason::DecidesWhatRuns("git and ssh read it"),
        beginnings: &["GIT_CONFIG_"],
        names: &[
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
        ],
    },
];

/// Each variable that nobody may choose, with the reason; `*` stands for any rest. npm's settings have their own row.
#[cfg(any(feature = "cli", test))]
pub(crate) fn reserved() -> impl Iterator<Item = (String, String)> {
    let npm = [(NPM_SETTINGS, NPM), ("NPM_CONFIG_", NPM)].map(|(beginning, reason)| (format!("{beginning}*"), reason));
    let rows = RESERVED.iter().flat_map(|reserved| {
        let beginnings = reserved.beginnings.iter().map(|beginning| format!("{beginning}*"));
        let names = reserved.names.iter().map(|name| (*name).to_owned());
        beginnings.chain(names).map(|name| (name, reserved.reason))
    });
    rows.chain(npm).map(|(name, reason)| (name, reason.to_string()))
}

/// Why nobody may choose this variable, not even the author of an annotation. `steering` has a stricter rule for
/// names that the writer of a secret chooses.
pub(crate) fn takes_over(name: &str) -> Option<ReservedReason> {
    if is_npm_setting(name) {
        return Some(NPM);
    }
    let reserved = RESERVED.iter().find(|reserved| {
        reserved.names.contains(&name) || reserved.beginnings.iter().any(|beginning| name.starts_with(beginning))
    })?;
    Some(reserved.reason)
}

fn is_npm_setting(name: &str) -> bool {
    let start = name.get(..NPM_SETTINGS.len());
    start.is_some_and(|start| start.eq_ignore_ascii_case(NPM_SETTINGS))
}

/// Whether the name has the beginning of reserved variables. `name` is in upper case.
#[cfg(feature = "agent")]
pub(super) fn begins_reserved(name: &str) -> bool {
    let mut beginnings = RESERVED.iter().flat_map(|reserved| reserved.beginnings);
    is_npm_setting(name) || beginnings.any(|beginning| name.starts_with(beginning))
}

/// Whether a job must not set the variable, though a container may: the runner trusts or refuses the variable.
pub(crate) fn is_runners(name: &str) -> bool {
    name.starts_with(GITHUB) || name.eq_ignore_ascii_case(NODE_OPTIONS)
}

impl std::fmt::Display for ReservedReason {
    /// The end of a sentence that begins with the variable.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::DecidesWhatRuns(readers) => write!(f, "is a variable that decides what a program runs ({readers})"),
            Self::Reserved(owner) => write!(f, "is a variable that is reserved for {owner}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_names_stand_once() {
        let names: Vec<_> = RESERVED.iter().flat_map(|reserved| reserved.names).collect();
        for (index, name) in names.iter().enumerate() {
            assert!(!names[..index].contains(name), "{name} is there twice");
        }
    }

    #[test]
    fn names_that_nobody_may_choose() {
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
            assert!(takes_over(name).is_some(), "{name}");
        }
        for name in [
            "KUBECONFIG",
            "GITHUB_PAT_FILE",
            "GITHUB_TOKEN",
            "path",
            "PATHS",
            "NPM_TOKEN",
        ] {
            assert!(takes_over(name).is_none(), "{name}");
        }
    }
}
