//! `init`'s half of a plan whose files are kept fresh: it shows them in the layout that the sidecar changes, tells how they
//! are, and hands over its token.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use super::Surroundings;
use super::delivery::{Answers, Delivery};
use super::files::Rendered;
use super::handover::{Handover, Held};
use super::outcome::{Delivered, Target};
use super::report::Failure;
use super::view::{FileState, FileStatus, Status, View, below_files};
use crate::plan::{Destination, ENV_DIR, ExitCode, Plan, SECRETS_DIR};
use crate::vault::{Session, Wanted};

/// What is kept of the reads for the sidecar.
pub(super) struct Obtained {
    /// When they began, on the machine's own clock.
    pub since: Duration,
    sources: Vec<(Wanted, Held)>,
    /// How long the client token lasts after the reads; none: it never ends.
    token: Option<Duration>,
}

impl Obtained {
    pub(super) fn new(since: Duration, answers: &Answers, session: &Session) -> Self {
        let sources = answers.all().map(|(wanted, reading)| {
            let held = match reading {
                Some(reading) => Held::new(wanted, reading.lease.as_ref()),
                None => Held::missing(wanted),
            };
            (wanted.clone(), held)
        });
        Self {
            since,
            sources: sources.collect(),
            token: session.left(),
        }
    }

    /// Hands it to the sidecar with the session.
    pub(super) fn hand_over(self, session: &Session, surroundings: &Surroundings) -> Result<(), Failure> {
        let sources = self.sources.into_iter().map(|(_, held)| held).collect();
        let handover = Handover::delivered(session, self.since, sources);
        // No session has such a token.
        let handover =
            handover.ok_or_else(|| Failure::new(ExitCode::CannotWrite, "the client token is no text", ""))?;
        write(&handover, surroundings)
    }
}

/// Refuses a token that the sidecar could not work with: the sidecar asks for as long as the pod lives.
pub(super) fn lasts_for_the_sidecar(session: &Session) -> Result<(), Failure> {
    match session.uses() {
        0 => Ok(()),
        uses => Err(Failure::new(
            ExitCode::Denied,
            format!(
                "token_num_uses of the role {} is {uses}, and podkey.dev/refresh needs tokens without a limit: each one that is used \
                 up would end the leases that it made",
                session.role()
            ),
            "set token_num_uses of the role to 0, which is no limit, or write podkey.dev/refresh: never",
        )),
    }
}

/// Shows these files and no others, and tells how they are.
pub(super) fn publish(
    plan: &Plan,
    surroundings: &Surroundings,
    obtained: &Obtained,
    files: Vec<Rendered>,
    delivery: &Delivery,
) -> Result<(), Failure> {
    let mut view = open(surroundings)?;
    let mut before: BTreeSet<String> = view.places().map(str::to_owned).collect();
    for Rendered { place, mode, bytes } in files {
        let place = below_files(&place);
        before.remove(place);
        view.put(place, bytes, mode);
    }
    for place in before {
        view.remove(&place);
    }
    view.swap()?;
    let delivered = delivery.delivered.iter().zip(&delivery.made_of);
    let files = delivered.map(|(delivered, wanted)| obtained.status(delivered, wanted));
    let mut files: BTreeMap<String, FileStatus> = files.collect();
    for file in &plan.files {
        if let Destination::Relative(place) = &file.file {
            files.entry(place.clone()).or_insert_with(|| FileStatus {
                reason: Some("it was not there when the pod started".to_owned()),
                ..FileStatus::new(file.secret.as_str(), FileState::Gone)
            });
        }
    }
    view.tell(&Status::new(files))
}

/// Leaves no file, and nothing to keep fresh.
pub(super) fn leave_nothing(surroundings: &Surroundings) -> Result<(), Failure> {
    let mut view = open(surroundings)?;
    view.clear()?;
    view.tell(&Status::failed())?;
    write(&Handover::Failed, surroundings)
}

impl Obtained {
    fn status(&self, delivered: &Delivered, wanted: &Wanted) -> (String, FileStatus) {
        let below = |path: &str| path.strip_prefix(SECRETS_DIR)?.strip_prefix('/').map(str::to_owned);
        let place = match &delivered.to {
            Target::File(path) => below(path).unwrap_or_else(|| path.clone()),
            Target::Env(name) => format!("{ENV_DIR}/{name}"),
        };
        let held = self.sources.iter().find(|(source, _)| source == wanted);
        let mut status = FileStatus::new(&delivered.secret, FileState::Fresh);
        status.version = delivered.version;
        status.last_success = Some(SystemTime::now());
        status.holds(held.map_or(&Held::Static, |(_, held)| held), self.token);
        (place, status)
    }
}

fn open(surroundings: &Surroundings) -> Result<View, Failure> {
    View::open(|path| surroundings.path(path), surroundings.root.is_some())
}

fn write(handover: &Handover<'_>, surroundings: &Surroundings) -> Result<(), Failure> {
    handover.write(|path| surroundings.path(path), surroundings.root.is_some())
}
