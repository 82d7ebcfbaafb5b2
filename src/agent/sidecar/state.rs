//! The state of a running sidecar.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use super::answer::CombinedSecret;
use super::failures::FailureLog;
use super::on_change::Actions;
use super::planned_restarts::PlannedRestarts;
use crate::agent::Runtime;
use crate::agent::delivery::{EnvOrder, FileOrder, Order};
use crate::agent::validity::Validity;
use crate::agent::volume::{FileState, FileStatus, RefreshedFiles};
use crate::plan::{ApiPath, Destination, Login, Plan, WhenGone};
use crate::schedule::{Schedule, SecretIndex, TokenNumber};
use crate::vault::{Cancellation, Session, Vault, Wanted};

/// Everything that the sidecar knows. The only secrets in it are the client tokens, content that is not written yet, and the last
/// answers for the secrets that templates combine.
pub(super) struct Sidecar<'a> {
    pub(super) runtime: &'a Runtime,
    pub(super) plan: &'a Plan,
    pub(super) login: &'a Login,
    pub(super) stop: &'a Cancellation,
    pub(super) vault: Vault,
    pub(super) order: Order<'a, ApiPath>,
    /// What is read. The schedule names each by its index.
    pub(super) secrets: Vec<TrackedSecret>,
    /// The combined secrets whose answers came since the last [`Sidecar::settle`].
    pub(super) unsettled: Vec<SecretIndex>,
    pub(super) schedule: Schedule,
    pub(super) sessions: BTreeMap<TokenNumber, Session>,
    /// The token for all new requests.
    pub(super) current: TokenNumber,
    pub(super) shown: RefreshedFiles,
    /// The files by their shown names.
    pub(super) files: BTreeMap<String, TrackedFile>,
    /// The status that was written last.
    pub(super) written_status: BTreeMap<String, FileStatus>,
    pub(super) actions: Actions,
    /// None: changes do not restart the containers.
    pub(super) restarts: Option<PlannedRestarts>,
    pub(super) failures: FailureLog,
    /// When changes that could not be written are tried again.
    pub(super) write_again: Option<Duration>,
    pub(super) kubelet_file: KubeletFile,
}

/// How far the kubelet's file is behind the values.
#[derive(Debug, Default)]
pub(super) struct KubeletFile {
    /// Whether the file must be written.
    pub(super) is_outdated: bool,
    /// The shown names of the variables that changed since the file was written.
    pub(super) changed: BTreeSet<String>,
}

impl KubeletFile {
    pub(super) fn outdated(is_outdated: bool) -> Self {
        Self {
            is_outdated,
            changed: BTreeSet::new(),
        }
    }
}

/// A secret that is read, or a path that is written.
pub(super) struct TrackedSecret {
    pub(super) wanted: Wanted,
    pub(super) validity: Validity,
    /// When the server last gave the secret.
    pub(super) last_success: Option<SystemTime>,
    /// Why the last read failed.
    pub(super) reason: Option<String>,
    /// The last answers, if a template combines the secret with another one.
    pub(super) combined: Option<CombinedSecret>,
}

/// A file that the containers see, or saw.
pub(super) struct TrackedFile {
    pub(super) origin: FileOrigin,
    /// The paths that are read.
    pub(super) secret: String,
    /// This process rendered the file. (If not, the origin comes from the status of an earlier process.)
    pub(super) rendered_here: bool,
    /// The version of the shown content.
    pub(super) version: Option<u64>,
    /// The version of the content that the next swap writes.
    pub(super) next_version: Option<u64>,
    pub(super) state: FileState,
    pub(super) reason: Option<String>,
}

/// What makes a file: the index of an entry in the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FileOrigin {
    File(usize),
    Variable(usize),
}

impl TrackedFile {
    pub(super) fn new(origin: FileOrigin, secret: &str) -> Self {
        Self {
            origin,
            secret: secret.to_owned(),
            rendered_here: false,
            version: None,
            next_version: None,
            state: FileState::Fresh,
            reason: None,
        }
    }

    pub(super) fn set_state(&mut self, state: FileState, reason: Option<&str>) {
        (self.state, self.reason) = (state, reason.map(str::to_owned));
    }
}

impl FileOrigin {
    /// The order of a file. None: the origin makes variables.
    pub(super) fn file<'o, 'a>(self, order: &'o Order<'a, ApiPath>) -> Option<&'o FileOrder<'a, ApiPath>> {
        match self {
            Self::File(index) => order.files.get(index),
            Self::Variable(_) => None,
        }
    }

    /// The order of variables. None: the origin makes files.
    pub(super) fn variables<'o, 'a>(self, order: &'o Order<'a, ApiPath>) -> Option<&'o EnvOrder<'a>> {
        match self {
            Self::File(_) => None,
            Self::Variable(index) => order.env.get(index),
        }
    }

    /// The reads that the file is made of.
    pub(super) fn wanted(self, order: &Order<'_, ApiPath>) -> Vec<Wanted> {
        let file = self.file(order).map(|file| file.wanted.clone());
        let variables = || self.variables(order).map(|variables| vec![variables.wanted()]);
        file.or_else(variables).unwrap_or_default()
    }

    /// The paths of these reads, for people.
    pub(super) fn paths(self, order: &Order<'_, ApiPath>) -> String {
        let file = self.file(order).map(FileOrder::paths);
        let variables = || self.variables(order).map(|variables| variables.path.to_string());
        file.or_else(variables).unwrap_or_default()
    }

    /// Whether the names of the files come from the fields of the secret, one file for each.
    pub(super) fn is_each_field(self, order: &Order<'_, ApiPath>) -> bool {
        let file = self.file(order);
        file.is_some_and(|order| matches!(order.file.file, Destination::EachField(_)))
    }

    /// Whether the names of the files, or of the variables, may come from the fields of the secret.
    pub(super) fn has_changing_names(self, order: &Order<'_, ApiPath>) -> bool {
        matches!(self, Self::Variable(_)) || self.is_each_field(order)
    }

    /// Whether the file is rendered without a secret that does not exist.
    pub(super) fn does_without(self, order: &Order<'_, ApiPath>) -> bool {
        order.ignore_not_found && self.file(order).is_some_and(FileOrder::is_template)
    }

    /// What happens to the file when the secret is gone.
    pub(super) fn when_gone(self, order: &Order<'_, ApiPath>) -> WhenGone {
        self.file(order).map_or(WhenGone::Keep, |order| order.file.when_gone)
    }
}

impl Sidecar<'_> {
    pub(super) fn secret(&self, source: SecretIndex) -> Option<&TrackedSecret> {
        self.secrets.get(source.0)
    }

    pub(super) fn current_session(&self) -> Option<&Session> {
        self.sessions.get(&self.current)
    }
}
