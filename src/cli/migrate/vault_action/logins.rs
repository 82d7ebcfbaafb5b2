//! The server and the logins of a runner's steps: a pod has one role, and a connection has one server and one login for jobs.

use crate::inject::keys::CONNECTION;
use crate::text::quoted;

/// How the secrets of a step are read. A part that is None is not known from the workflow: its placeholder is printed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Login {
    /// In a way that podkey does not have.
    #[default]
    Other,
    /// By the pod, before the job, as the runner's service account.
    Pod {
        mount: Option<String>,
        role: Option<String>,
    },
    /// By the job, with GitHub's token.
    Job {
        mount: Option<String>,
        role: Option<String>,
        audience: Option<String>,
    },
}

impl Login {
    pub(super) fn is_job(&self) -> bool {
        matches!(self, Self::Job { .. })
    }
}

/// The server that a step reads from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Server {
    /// As written, which may be an expression. None: the workflow does not name the address.
    pub(super) address: Option<String>,
    /// As written, which may be an expression. None: the root namespace.
    pub(super) namespace: Option<String>,
    pub(super) has_ca: bool,
}

impl Server {
    /// Whether the step's own address or namespace is another than this server's.
    pub(super) fn differs(&self, other: &Self) -> bool {
        (self.address.is_some() && self.address != other.address) || self.namespace != other.namespace
    }
}

/// Why a step of another server does not fit.
pub(super) fn other_server() -> String {
    format!(
        "the step reads from another server or namespace, and a pod has one connection: give its jobs a scale set of their own, whose \
        template names the operator's connection in {CONNECTION}"
    )
}

/// The logins of a runner's steps.
#[derive(Default)]
pub(super) struct Logins {
    /// Mount and role of the pod. None: no step logs in as a pod.
    pod: Option<(Option<String>, Option<String>)>,
    job: Option<Login>,
}

impl Logins {
    /// Mount and role of the pod.
    pub(super) fn pod(self) -> (Option<String>, Option<String>) {
        self.pod.unwrap_or_default()
    }

    /// Adds the login of a step. Returns why the login does not fit to the others.
    pub(super) fn add(&mut self, login: &Login) -> Option<String> {
        let (mount, role) = match login {
            Login::Other => return None,
            Login::Pod { mount, role } => (mount, role),
            Login::Job { .. } if self.job.as_ref().is_none_or(|job| job == login) => {
                self.job = Some(login.clone());
                return None;
            }
            Login::Job { .. } => {
                return Some(format!(
                    "the step logs in with another role, mount or audience for GitHub's tokens, and a connection has one of each: give \
                    its jobs a scale set of their own, with a connection of its own in {CONNECTION}"
                ));
            }
        };
        let (known_mount, known_role) = self.pod.get_or_insert_with(|| (mount.clone(), role.clone()));
        if known_mount != mount {
            return Some(format!(
                "the step logs in at the mount {}, and other steps at {}: a pod has one mount: give its jobs a scale set of their own",
                shown_mount(mount.as_ref()),
                shown_mount(known_mount.as_ref()),
            ));
        }
        match (&known_role, role) {
            (Some(known), Some(role)) if known != role => Some(format!(
                "the step logs in with the role {} at the mount {}, and a pod has one role: give its jobs a scale set of their own, or \
                give the role {} the policies of both",
                quoted(role),
                shown_mount(mount.as_ref()),
                quoted(known),
            )),
            (None, _) => {
                known_role.clone_from(role);
                None
            }
            (Some(_), _) => None,
        }
    }
}

fn shown_mount(mount: Option<&String>) -> String {
    quoted(mount.map_or("kubernetes", String::as_str))
}
