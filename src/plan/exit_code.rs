//! The exit codes of `podkey-agent`: one table of number, name, meaning and remedy. The agent exits with these numbers;
//! `podkey-agent --help`, `podkey explain` and the reference page print the table.

use std::fmt::Write as _;

/// Defines [`ExitCode`] and its table from the same rows.
macro_rules! exit_codes {
    ($($variant:ident = $number:literal, $name:literal, $meaning:literal, $remedy:literal;)+) => {
        /// How a run of the agent ended, by the numbers of sysexits.h. Never 7: ARC reads 7 as an outdated runner.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum ExitCode {
            $(#[doc = concat!($meaning, ".")] $variant = $number,)+
        }

        impl ExitCode {
            /// Every exit code, by number.
            pub const ALL: [Self; [$($number),+].len()] = [$(Self::$variant),+];

            /// One word.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// One sentence without its full stop, in Markdown.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)+ }
            }

            /// What to check or to change, in Markdown.
            pub fn remedy(self) -> &'static str {
                match self { $(Self::$variant => $remedy,)+ }
            }
        }
    };
}

exit_codes! {
    Done = 0, "done", "everything was delivered", "nothing";
    Setup = 64, "setup",
        "the pod is not set up as podkey's webhook sets pods up: the command line, the plan, the service-account token, a container's user, or a command or hook to start",
        "is the image of the same release as the webhook? is `podkey-token` mounted? The message names the part that is wrong";
    BadData = 65, "data",
        "the secret's data cannot be used: it does not decode, has names that the format cannot write, is not what a template's function takes, or does not fit into a variable that the kubelet sets; or a template makes too much",
        "the field in Vault, `decode`, `format`; the line and column of the template; `env-delivery`";
    NotFound = 66, "not-found",
        "not found: path, version, key, or a field of a template; a field that is null; a `version` where there are none",
        "the path (KV v2 needs `/data/`); the message names the form where the server reports it";
    Unavailable = 69, "unavailable",
        "Vault was unreachable, sealed or uninitialised for the whole `budget`",
        "the address; NetworkPolicies; `vault status`";
    CannotWrite = 73, "cannot-write", "a file could not be written", "the message names the file and the reason";
    RateLimited = 75, "rate-limited", "rate-limited for the whole `budget`", "Vault's rate-limit quotas";
    NotVault = 76, "not-vault",
        "the answer does not come from Vault: a redirect, too large, not JSON, or JSON of something else. The message has its status and content type",
        "what stands between: proxy, ingress, service mesh, load balancer, a standby without forwarding";
    Denied = 77, "denied",
        "denied: login or read",
        "role, `auth-mount`, service account, namespace and audience; the policy; for a job, `job-policy` and the role's `bound_claims`. The message says which of them was refused, or what to check";
    Trust = 78, "trust",
        "TLS: the certificate is not trusted, expired, for another name, or of a kind that podkey does not take; the server wants a client certificate",
        "`caFile`, `tlsServerName`, the clock; the message names the algorithm, key size or name form";
    Restart = 79, "restart",
        "only `podkey-sidecar`, with `on-change: restart`: secrets have changed, and the kubelet restarts all containers of the pod",
        "nothing: the containers start again, with the new values";
    Terminated = 143, "terminated", "the pod was deleted meanwhile", "nothing: the agent was stopped by a signal";
}

impl ExitCode {
    /// The number with which a process exits.
    pub fn number(self) -> u8 {
        self as u8
    }

    /// The codes in the order in which one code is chosen for several failures: first a server that cannot be trusted or a pod
    /// that is wrong, then failures that a person must repair, last failures that may pass.
    pub const BY_WEIGHT: [Self; 8] = [
        Self::Setup,
        Self::Trust,
        Self::NotVault,
        Self::Denied,
        Self::NotFound,
        Self::BadData,
        Self::RateLimited,
        Self::Unavailable,
    ];

    /// The table as text, for `--help`.
    pub fn help() -> String {
        let mut help = String::from("Exit codes:\n");
        for code in Self::ALL {
            let (number, name) = (code.number(), code.name());
            // Writing to a String does not fail.
            let _ = writeln!(help, "{number:>5} ({name}) {}", code.meaning());
            let _ = writeln!(help, "      check: {}", code.remedy());
        }
        help
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_rise_names_differ_and_7_is_not_used() {
        let numbers = ExitCode::ALL.map(ExitCode::number);
        assert!(
            numbers.is_sorted_by(|a, b| a < b) && !numbers.contains(&7),
            "{numbers:?}"
        );
        let names: std::collections::BTreeSet<_> = ExitCode::ALL.iter().map(|code| code.name()).collect();
        assert_eq!(names.len(), numbers.len());
        assert!(ExitCode::help().contains("\n   77 (denied) denied: login or read\n      check: role, "));
    }
}
