//! The variables and files that a job got, for its log and for the summary page of its run: names, paths and versions, never a
//! value.

use std::num::NonZeroU64;

/// One variable or file that the job got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Given<'a> {
    /// The variable, or the path of the file.
    pub(crate) name: &'a str,
    /// The secret's API path.
    pub(crate) secret: &'a str,
    /// The version (KV v2), if it is known.
    pub(crate) version: Option<NonZeroU64>,
}

/// The most variables and files in the list. Only the number of the rest is shown.
const MOST: usize = 64;

/// One line for the log, without its line feed. The caller makes the line safe with [`super::commands::plain`].
pub(crate) fn line(given: &[Given<'_>]) -> String {
    list(given, |text| text.to_owned())
}

/// One line of Markdown for the file that `GITHUB_STEP_SUMMARY` names.
pub(crate) fn markdown(given: &[Given<'_>]) -> String {
    // Only a backtick ends a code span, and only a line feed ends a paragraph.
    let code = |text: &str| {
        let text: String = text
            .chars()
            .map(|c| if c == '`' || c.is_control() { '\'' } else { c })
            .collect();
        format!("`{text}`")
    };
    format!("podkey: {}\n", list(given, code))
}

fn list(given: &[Given<'_>], shown: impl Fn(&str) -> String) -> String {
    if given.is_empty() {
        return "no secret was delivered".to_owned();
    }
    let mut parts: Vec<String> = given
        .iter()
        .take(MOST)
        .map(|Given { name, secret, version }| {
            let version = version.map_or(String::new(), |version| format!(" (version {version})"));
            format!("{} from {}{version}", shown(name), shown(secret))
        })
        .collect();
    if given.len() > MOST {
        parts.push(format!("and {} more", given.len() - MOST));
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_has_names_paths_and_versions() {
        let given = [
            Given {
                name: "/tmp/kubeconfig",
                secret: "arc-runners/data/kubeconfig/rancher-cluster",
                version: NonZeroU64::new(3),
            },
            Given {
                name: "TOKEN",
                secret: "kv/a`b",
                version: None,
            },
        ];
        assert_eq!(
            line(&given),
            "/tmp/kubeconfig from arc-runners/data/kubeconfig/rancher-cluster (version 3), TOKEN from kv/a`b"
        );
        assert_eq!(
            markdown(&given),
            "podkey: `/tmp/kubeconfig` from `arc-runners/data/kubeconfig/rancher-cluster` (version 3), \
             `TOKEN` from `kv/a'b`\n"
        );
        assert_eq!(line(&[]), "no secret was delivered");
        assert!(line(&[given[1]; 70]).ends_with(", and 6 more"));
    }
}
