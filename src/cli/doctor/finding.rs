//! What the doctor finds: one sentence, and the command that mends it.

use std::fmt;

use serde::Serialize;

use super::for_cluster::for_cluster;
use super::words::{clean, command, printable_command};
use crate::cli::kubeconfig::ClusterArgs;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
    /// As it should be.
    Ok,
    /// Works today; somebody should look at it.
    Warning,
    /// A pod fails, or gets no secrets.
    Fault,
    /// The doctor could not look: a right is missing, or an earlier check found nothing to look at.
    Unseen,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Fault => "fault",
            Self::Unseen => "not checked",
        })
    }
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// Which check found this: a fixed name for machines, such as `vault-role`.
    pub(super) check: &'static str,
    pub(super) level: Level,
    /// One sentence, without a full stop at its end.
    pub(super) message: String,
    /// The command that mends a fault, with the real names filled in. For [`Level::Unseen`]: what lets the doctor look.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) command: Option<String>,
    /// The objects of the manifest that this is about, where the doctor examines more than one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) objects: Vec<String>,
}

/// All findings, in the order of the checks.
#[derive(Debug, Default)]
pub(super) struct Findings {
    all: Vec<Finding>,
    /// The cluster that the commands are for.
    cluster: ClusterArgs,
    /// The object that the next findings are about. None: there is one alone.
    object: Option<String>,
}

impl Findings {
    /// Findings whose commands go to the cluster that the user's arguments name.
    pub(super) fn of(cluster: &ClusterArgs) -> Self {
        Self {
            cluster: cluster.clone(),
            ..Self::default()
        }
    }

    /// The next findings are about this object of several. What was found for another object already is not said again: the finding
    /// names both.
    pub(super) fn about(&mut self, object: &str) {
        self.object = Some(clean(object));
    }

    pub(super) fn ok(&mut self, check: &'static str, message: impl Into<String>) {
        self.add(check, Level::Ok, message, None);
    }

    pub(super) fn warning(&mut self, check: &'static str, message: impl Into<String>, command: Option<String>) {
        self.add(check, Level::Warning, message, command);
    }

    pub(super) fn fault(&mut self, check: &'static str, message: impl Into<String>, command: Option<String>) {
        self.add(check, Level::Fault, message, command);
    }

    pub(super) fn unseen(&mut self, check: &'static str, message: impl Into<String>, command: Option<String>) {
        self.add(check, Level::Unseen, message, command);
    }

    /// The user lacks a right. Says which right, and how a cluster administrator tests it. `namespace` None: a right in the whole cluster.
    pub(super) fn unseen_right(
        &mut self,
        check: &'static str,
        what: &str,
        verb: &str,
        resource: &str,
        namespace: Option<&str>,
    ) {
        let place = namespace.map_or_else(
            || "in the whole cluster".to_owned(),
            |namespace| format!("in the namespace {namespace}"),
        );
        let message =
            format!("you may not see {what}: ask an administrator for the right to {verb} {resource} {place}");
        let scope = namespace.map_or_else(Vec::new, |namespace| vec!["--namespace", namespace]);
        let words = [&["kubectl", "auth", "can-i", verb, resource][..], &scope].concat();
        self.unseen(check, message, Some(command(&words)));
    }

    pub(super) fn all(&self) -> &[Finding] {
        &self.all
    }

    pub(super) fn has_fault(&self) -> bool {
        self.count(Level::Fault) > 0
    }

    pub(super) fn count(&self, level: Level) -> usize {
        self.all.iter().filter(|finding| finding.level == level).count()
    }

    fn add(&mut self, check: &'static str, level: Level, message: impl Into<String>, command: Option<String>) {
        let command = command.map(|command| for_cluster(&command, &self.cluster));
        let finding = Finding {
            check,
            level,
            message: clean(&message.into()),
            command: command.and_then(printable_command),
            objects: Vec::new(),
        };
        let Some(object) = self.object.clone() else {
            return self.all.push(finding);
        };
        let same = |known: &&mut Finding| {
            (known.check, known.level) == (check, level)
                && known.message == finding.message
                && known.command == finding.command
        };
        match self.all.iter_mut().find(same) {
            Some(known) if known.objects.contains(&object) => {}
            Some(known) => known.objects.push(object),
            None => self.all.push(Finding {
                objects: vec![object],
                ..finding
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_two_objects_have_in_common_is_said_once_and_names_both() {
        let mut findings = Findings::default();
        findings.ok("cluster", "answers");
        for object in ["Deployment/a", "Deployment/b"] {
            findings.about(object);
            findings.ok("webhook", "is called");
            findings.fault("podkey", format!("{object}: no role"), None);
        }
        let objects: Vec<_> = findings.all().iter().map(|finding| finding.objects.join(" ")).collect();
        assert_eq!(
            objects,
            ["", "Deployment/a Deployment/b", "Deployment/a", "Deployment/b"]
        );
    }
}
