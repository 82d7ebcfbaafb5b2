//! The doctor's commands go to the cluster that the doctor examines: the flags `--kubeconfig` and `--context` of the user are in them, too.

use super::words::quote;
use crate::cli::kubeconfig::ClusterArgs;

/// The command with the user's flags behind each `kubectl` and `helm` that the shell runs. A command is one word, or stands behind `|`, `&`,
/// `;`, `(` or a line break; words of others are plain or in single quotes (`words::quote`).
pub(super) fn for_cluster(command: &str, cluster: &ClusterArgs) -> String {
    let flags = |context_flag: &str| {
        let flags = [("--kubeconfig", cluster.file()), (context_flag, cluster.context())];
        let flags = flags
            .into_iter()
            .filter_map(|(flag, value)| value.map(|value| (flag, value)));
        flags
            .map(|(flag, value)| format!(" {flag} {}", quote(&value)))
            .collect::<String>()
    };
    let programs = [("kubectl", flags("--context")), ("helm", flags("--kube-context"))];
    let mut changed = String::with_capacity(command.len());
    let mut is_start = true;
    let mut is_quoted = false;
    let mut rest = command;
    while let Some(c) = rest.chars().next() {
        let program = programs.iter().find(|(program, _)| {
            let behind = rest.strip_prefix(program);
            is_start && !is_quoted && behind.is_some_and(|behind| behind.is_empty() || behind.starts_with(' '))
        });
        let length = match program {
            Some((program, _)) => program.len(),
            // The next character has no meaning for the shell. (No quotation has a single quote inside.)
            None if c == '\\' && !is_quoted => c.len_utf8() + rest[1..].chars().next().map_or(0, char::len_utf8),
            None => c.len_utf8(),
        };
        let (now, next) = rest.split_at(length);
        changed.push_str(now);
        if let Some((_, flags)) = program {
            changed.push_str(flags);
        }
        if c == '\'' {
            is_quoted = !is_quoted;
        }
        is_start = !is_quoted && (matches!(c, '|' | '&' | ';' | '(' | '{' | '\n') || (c == ' ' && is_start));
        rest = next;
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_went_to_another_cluster_than_the_examined_one() {
        let cluster = ClusterArgs::of(Some("my clusters.yaml"), Some("prod"));
        let cases = [
            (
                "kubectl cluster-info",
                "kubectl --kubeconfig 'my clusters.yaml' --context prod cluster-info",
            ),
            (
                "kubectl create ns x -o yaml | kubectl apply -f - && kubectl get ns",
                "kubectl K create ns x -o yaml | kubectl K apply -f - && kubectl K get ns",
            ),
            (
                r#"helm rollback podkey "$(helm get all podkey --template '{{.Release.Version}}')" --force-conflicts"#,
                r#"helm H rollback podkey "$(helm H get all podkey --template '{{.Release.Version}}')" --force-conflicts"#,
            ),
            (
                r#"kubectl create sa x; bao write auth/k token="$(kubectl create token x)""#,
                r#"kubectl K create sa x; bao write auth/k token="$(kubectl K create token x)""#,
            ),
            // Names of others.
            ("kubectl get pod kubectl helm", "kubectl K get pod kubectl helm"),
            (
                r"kubectl get 'a; kubectl x' 'it'\''s; kubectl y'",
                r"kubectl K get 'a; kubectl x' 'it'\''s; kubectl y'",
            ),
            (r"bao write $'\047; kubectl x\033'", r"bao write $'\047; kubectl x\033'"),
            ("bao read kubectl", "bao read kubectl"),
            ("kubectl-podkey doctor", "kubectl-podkey doctor"),
        ];
        for (command, expected) in cases {
            let expected = expected
                .replace(" K ", " --kubeconfig 'my clusters.yaml' --context prod ")
                .replace(" H ", " --kubeconfig 'my clusters.yaml' --kube-context prod ");
            assert_eq!(for_cluster(command, &cluster), expected);
            assert_eq!(for_cluster(command, &ClusterArgs::default()), command);
        }
    }
}
