//! `init` in a pod with `podkey.dev/refresh`: writes the files in the layout that the sidecar changes, writes the status, and
//! hands the client token over.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use crate::agent::delivery::{Answers, Order, RenderedOrder};
use crate::agent::handover::{HandedAnswer, Handover};
use crate::agent::report::Failure;
use crate::agent::validity::{AnsweredSecret, Validity, write_earliest};
use crate::agent::volume::outcome::{DeliveredAs, DeliveredItem};
use crate::agent::volume::{
    ContainerPaths, FileState, FileStatus, RefreshedFiles, RenderedFile, StatusFile, VolumeError, below_secrets, env,
    kubelet_env, shown_name,
};
use crate::plan::{ApiPath, Destination, ExitCode, Plan};
use crate::secret::Secret;
use crate::vault::{Session, Wanted};

/// What the sidecar needs of the reads.
pub(super) struct SidecarShare {
    /// When the reads began ([`crate::agent::handover::boot_time`]).
    since: Duration,
    sources: Vec<(Wanted, Validity)>,
    /// The bodies of the answers that templates of several secrets use, by their positions in `sources`. None: there is no such
    /// secret.
    combined: BTreeMap<usize, Option<Secret>>,
    /// How long the client token lasts after the reads. None: for ever.
    token: Option<Duration>,
}

/// Refuses a token with a limited number of uses: the sidecar sends requests for as long as the pod lives.
pub(super) fn check_token(session: &Session) -> Result<(), Failure> {
    match session.uses() {
        0 => Ok(()),
        uses => Err(Failure::new(
            ExitCode::Denied,
            format!(
                "token_num_uses of the role {} is {uses}, but podkey.dev/refresh needs tokens without a limit: a token that is \
                 used up ends the leases that it made",
                session.role()
            ),
            "set token_num_uses of the role to 0, which is no limit, or write podkey.dev/refresh: never",
        )),
    }
}

impl SidecarShare {
    pub(super) fn new(since: Duration, order: &Order<'_, ApiPath>, answers: &Answers, session: &Session) -> Self {
        let combined = answers
            .all()
            .enumerate()
            .filter(|(_, (wanted, _))| order.combines(wanted));
        let combined = combined.map(|(index, (_, reading))| {
            let body = reading.map(|reading| Secret::from(reading.body().to_vec()));
            (index, body)
        });
        let sources = answers.all().map(|(wanted, reading)| {
            let validity = match reading {
                Some(reading) => Validity::new(wanted, reading.lease.as_ref()),
                None => Validity::missing(wanted),
            };
            (wanted.clone(), validity)
        });
        Self {
            since,
            sources: sources.collect(),
            combined: combined.collect(),
            token: session.left(),
        }
    }

    /// Shows these files and no others, and writes the status.
    pub(super) fn publish(
        &self,
        plan: &Plan,
        paths: &ContainerPaths,
        files: Vec<RenderedFile>,
        rendered: &RenderedOrder,
    ) -> Result<(), VolumeError> {
        let mut shown = RefreshedFiles::open(paths, plan)?;
        let mut before: BTreeSet<String> = shown.names().collect();
        for RenderedFile { place, mode, bytes } in files {
            let name = shown_name(&place);
            before.remove(&*name);
            shown.put(&name, bytes, mode);
        }
        for name in before {
            shown.remove(&name);
        }
        if let Some(failure) = shown.swap().failure {
            // All files or none, also where a directory before was changed.
            let _ = shown.clear();
            return Err(failure);
        }
        let delivered = rendered.delivered.iter().zip(&rendered.made_of);
        let files = delivered.map(|(delivered, wanted)| self.status(delivered, wanted));
        let mut files: BTreeMap<String, FileStatus> = files.collect();
        for order in &Order::of_pod(plan).files {
            if !matches!(order.file.file, Destination::EachField(_)) {
                files
                    .entry(shown_name(&order.place).into_owned())
                    .or_insert_with(|| FileStatus {
                        reason: Some("the secret was missing when the pod started".to_owned()),
                        ..FileStatus::new(&order.paths(), FileState::Gone)
                    });
            }
        }
        shown.write_status(&StatusFile::new(files))
    }

    /// Hands the session over to the sidecar.
    pub(super) fn hand_over(self, session: &Session, paths: &ContainerPaths) -> Result<(), VolumeError> {
        let sources = self.sources.into_iter().map(|(_, validity)| validity).collect();
        let combined = self.combined.iter().map(|(index, body)| {
            // A body that was parsed as JSON is text.
            let body = body.as_ref().map(|body| String::from_utf8_lossy(body.expose()));
            (*index, body.map_or(HandedAnswer::Missing, HandedAnswer::Body))
        });
        let handover = Handover::delivered(session, self.since, sources, combined.collect());
        // Never fails: the token of a session is text.
        let handover = handover.ok_or_else(|| VolumeError::new("the client token is not text", ""))?;
        handover.write(paths)
    }

    /// The shown name and the status of a file.
    fn status(&self, delivered: &DeliveredItem, wanted: &[Wanted]) -> (String, FileStatus) {
        let name = match &delivered.to {
            DeliveredAs::File(path) => below_secrets(path).unwrap_or(path).to_owned(),
            DeliveredAs::Env(name) => env::shown(name),
        };
        let sources = self.sources.iter().filter(|(source, _)| wanted.contains(source));
        let mut status = FileStatus::new(&delivered.secret, FileState::Fresh);
        status.version = delivered.version;
        let now = Some(SystemTime::now());
        status.last_success = now;
        let sources = sources.map(|(_, validity)| AnsweredSecret {
            validity,
            last_success: now,
            token: self.token,
        });
        write_earliest(&mut status, sources);
        (name, status)
    }
}

/// Leaves no file, and tells the sidecar that there is nothing to keep fresh.
pub(super) fn clear(paths: &ContainerPaths, plan: &Plan) -> Result<(), VolumeError> {
    let mut shown = RefreshedFiles::open(paths, plan)?;
    shown.clear()?;
    shown.write_status(&StatusFile::failed())?;
    if plan.kubelet_env {
        kubelet_env::remove(paths)?;
    }
    Handover::Failed.write(paths)
}
