//! The start of a sidecar: from the handover of `init`, or else from the status that an earlier sidecar wrote.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::answer::{CombinedSecret, ServerAnswer};
use super::client_token::{REQUEST, grant, revoke_at_end};
use super::failures::FailureLog;
use super::on_change::Actions;
use super::planned_restarts::PlannedRestarts;
use super::state::{FileOrigin, KubeletFile, Sidecar, TrackedFile, TrackedSecret};
use crate::agent::Runtime;
use crate::agent::delivery::{FileOrder, Order};
use crate::agent::handover::{self, Handover, boot_time};
use crate::agent::report::{Failure, SetupFault};
use crate::agent::validity::Validity;
use crate::agent::volume::{FileState, FileStatus, RefreshedFiles, env, printed, shown_name};
use crate::env::select;
use crate::http::Deadline;
use crate::plan::sidecar_log::KEEPING_FRESH;
use crate::plan::{ApiPath, Destination, Login, Plan, Refresh, WhenGone};
use crate::schedule::{self, Grant, Schedule, TokenNumber};
use crate::secret::Secret;
use crate::vault::{Cancellation, Sender, Session, Vault, Wanted};

/// The session that `init` handed over. Times are those of [`boot_time`].
pub(super) struct ReceivedSession {
    session: Session,
    logged_in: Duration,
    /// How long each answer is good, in the order of the plan.
    validities: Vec<Validity>,
    /// The bodies of the answers for combined secrets, by their positions in the plan. None: there was no such secret.
    combined: BTreeMap<usize, Option<Secret>>,
    read: Duration,
}

impl ReceivedSession {
    /// Revokes the token within the limit. For a session that no sidecar took. Returns how many tokens may be left.
    pub(super) async fn revoke(&self, runtime: &Runtime, plan: &Plan, limit: Duration) -> usize {
        match Vault::new(&plan.connection, Deadline::Try(limit), sender(runtime)) {
            Ok(vault) => revoke_at_end(&vault, &self.session, limit).await,
            Err(_) => 1,
        }
    }
}

fn sender(runtime: &Runtime) -> Sender {
    Sender::of_pod("sidecar", runtime.paths.token_file())
}

type StatusByName = BTreeMap<String, FileStatus>;

/// Starts a sidecar. None: there is nothing to keep fresh, because the job will fail. The session of the handover stays in
/// `received` until a start that succeeds takes it.
pub(super) fn resume<'a>(
    runtime: &'a Runtime,
    plan: &'a Plan,
    stop: &'a Cancellation,
    received: &mut Option<ReceivedSession>,
) -> Result<Option<Sidecar<'a>>, Failure> {
    // Before anything that can fail: the token must be known to be revoked.
    match receive(runtime, received) {
        Ok(false) => {
            tracing::info!("podkey-init delivered nothing, and left that to the job: there is nothing to keep fresh");
            return Ok(None);
        }
        Ok(true) => {}
        Err(reason) => tracing::warn!(reason, "the handover of podkey-init cannot be used"),
    }
    start(runtime, plan, stop, received).map(Some)
}

fn start<'a>(
    runtime: &'a Runtime,
    plan: &'a Plan,
    stop: &'a Cancellation,
    received: &mut Option<ReceivedSession>,
) -> Result<Sidecar<'a>, Failure> {
    let (Some(refresh), Some(login)) = (&plan.refresh, &plan.login) else {
        return Err(SetupFault::NothingToRefresh.into());
    };
    let vault = Vault::new(&plan.connection, Deadline::Try(REQUEST), sender(runtime))?;
    let vault = vault.looking_up(plan.mount_lookup.as_ref());
    let shown = RefreshedFiles::open(&runtime.paths, plan)?;
    let written_status = shown.read_status();
    let order = Order::of_pod(plan);
    let files = known_files(&order, &shown, &written_status);
    let secrets = order.wanted().into_iter().map(|wanted| {
        let status = status_of(&wanted, &order, &files, &written_status);
        let shared = shared_status_of(&wanted, &order, &files, &written_status);
        TrackedSecret::resume(wanted, &order, status, shared)
    });
    let mut secrets: Vec<_> = secrets.collect();

    let now = boot_time();
    let mut sessions = BTreeMap::new();
    let after_init = received.is_some();
    let mut schedule = match received.take_if(|received| received.validities.len() == secrets.len()) {
        Some(received) => {
            let (session, schedule) = schedule_with_session(received, plan, (refresh, login), &mut secrets, now);
            sessions.insert(TokenNumber::default(), session);
            schedule
        }
        None => {
            let ages = secrets
                .iter()
                .map(|secret| secret.age(status_of(&secret.wanted, &order, &files, &written_status)));
            schedule_without_session(refresh, &secrets, ages.collect(), now)
        }
    };
    if plan.token_file.is_some() {
        schedule.leave_replaced_tokens();
    }
    Ok(Sidecar {
        runtime,
        plan,
        login,
        stop,
        vault,
        order,
        secrets,
        unsettled: Vec::new(),
        schedule,
        sessions,
        current: TokenNumber::default(),
        shown,
        files,
        written_status,
        actions: Actions::new(&refresh.on_change, runtime.paths.clone()),
        restarts: PlannedRestarts::resume(&runtime.paths, refresh, after_init),
        failures: FailureLog::new(),
        // A sidecar that was killed may have changed the values and not the file.
        write_again: plan.kubelet_env.then_some(now),
        kubelet_file: KubeletFile::outdated(plan.kubelet_env),
    })
}

/// Reads the handover. False: `init` delivered nothing, because the job will fail.
fn receive(runtime: &Runtime, received: &mut Option<ReceivedSession>) -> Result<bool, String> {
    let delivered = handover::receive(&runtime.paths, |handover| match handover {
        Handover::Failed => false,
        Handover::Delivered(handed) => {
            let (logged_in, read) = (handed.logged_in, handed.read);
            let validities = handed.sources.clone();
            let combined = handed.combined.iter().map(|(index, answer)| (*index, answer.body()));
            let combined = combined.collect();
            *received = handed.resume().map(|session| ReceivedSession {
                session,
                logged_in,
                validities,
                combined,
                read,
            });
            true
        }
    });
    Ok(delivered?.unwrap_or(true))
}

fn schedule_with_session(
    received: ReceivedSession,
    plan: &Plan,
    (refresh, login): (&Refresh, &Login),
    secrets: &mut [TrackedSecret],
    now: Duration,
) -> (Session, Schedule) {
    let session = received.session;
    tracing::info!(
        accessor = session.accessor,
        secrets = secrets.len(),
        interval = %refresh.interval,
        "{KEEPING_FRESH}, with the client token of podkey-init"
    );
    let token = schedule::Obtained {
        answer: grant(&session, plan, login),
        age: now.saturating_sub(received.logged_in),
    };
    let mut combined = received.combined;
    let read = Some(now.saturating_sub(received.read));
    let mut ages = Vec::with_capacity(secrets.len());
    for (index, (secret, validity)) in secrets.iter_mut().zip(received.validities).enumerate() {
        secret.validity = validity;
        if let (Some(known), Some(body)) = (&mut secret.combined, combined.remove(&index)) {
            known.shown = ServerAnswer::handed_over(body.as_ref(), &secret.wanted.path);
        }
        // A secret whose answer is needed and was not handed over is read at once.
        ages.push(read.filter(|_| secret.is_known()));
    }
    (session, new_schedule(refresh, Some(token), secrets, ages, now))
}

fn schedule_without_session(
    refresh: &Refresh,
    secrets: &[TrackedSecret],
    ages: Vec<Option<Duration>>,
    now: Duration,
) -> Schedule {
    tracing::info!(
        secrets = secrets.len(),
        interval = %refresh.interval,
        "{KEEPING_FRESH}; there is no client token from before, so the sidecar logs in"
    );
    new_schedule(refresh, None, secrets, ages, now)
}

/// `ages` says how long ago each secret was read. None: that is not known.
fn new_schedule(
    refresh: &Refresh,
    token: Option<schedule::Obtained<Grant>>,
    secrets: &[TrackedSecret],
    ages: Vec<Option<Duration>>,
    now: Duration,
) -> Schedule {
    let known = secrets.iter().zip(ages).map(|(secret, age)| {
        Some(schedule::Obtained {
            answer: secret.validity.lifetime(),
            age: age?,
        })
    });
    let known: Vec<_> = known.collect();
    Schedule::new(now, fastrand::u64(..), refresh.interval.duration(), token, &known)
}

impl TrackedSecret {
    /// From the status of a file that is made of this secret alone, and of a file that is made of others too.
    fn resume(
        wanted: Wanted,
        order: &Order<'_, ApiPath>,
        status: Option<&FileStatus>,
        shared: Option<&FileStatus>,
    ) -> Self {
        let last_success = status.or(shared).and_then(|status| status.last_success);
        let validity = match status.map(Validity::of_status) {
            None => Validity::missing(&wanted),
            Some(Validity::Static) if last_success.is_none() => Validity::missing(&wanted),
            Some(Validity::Static) if wanted.data.is_some() => Validity::Unknown,
            Some(validity) => validity,
        };
        Self {
            combined: order.combines(&wanted).then(CombinedSecret::default),
            wanted,
            validity,
            last_success,
            reason: None,
        }
    }

    /// Whether this process can make all files of the secret without another read.
    fn is_known(&self) -> bool {
        self.combined.as_ref().is_none_or(|combined| combined.shown.is_some())
    }

    /// How long ago the server answered, according to the status. None: that is not known.
    fn age(&self, status: Option<&FileStatus>) -> Option<Duration> {
        let age = status?.age();
        match self.validity {
            // A read at once, as a certificate would not be read before its end.
            _ if !self.is_known() && matches!(self.validity, Validity::Ends { .. }) => None,
            // "There is no such secret" is an answer too.
            Validity::Static => Some(age.unwrap_or_default()),
            _ => age,
        }
    }
}

/// The status of a file that is made of this read and others.
fn shared_status_of<'s>(
    wanted: &Wanted,
    order: &Order<'_, ApiPath>,
    files: &BTreeMap<String, TrackedFile>,
    written_status: &'s StatusByName,
) -> Option<&'s FileStatus> {
    first_status(files, written_status, |file| {
        let file = file.origin.file(order);
        file.is_some_and(|file| file.combines() && file.wanted.contains(wanted))
    })
}

/// The status of a file that is made of this read alone.
fn status_of<'s>(
    wanted: &Wanted,
    order: &Order<'_, ApiPath>,
    files: &BTreeMap<String, TrackedFile>,
    written_status: &'s StatusByName,
) -> Option<&'s FileStatus> {
    first_status(files, written_status, |file| {
        let reads = file.origin.wanted(order);
        !reads.is_empty() && reads.iter().all(|read| read == wanted)
    })
}

/// The status of the first of these files that has a status.
fn first_status<'s>(
    files: &BTreeMap<String, TrackedFile>,
    written_status: &'s StatusByName,
    is_meant: impl Fn(&TrackedFile) -> bool,
) -> Option<&'s FileStatus> {
    let mut meant = files.iter().filter(|(_, file)| is_meant(file));
    meant.find_map(|(name, _)| written_status.get(name))
}

/// The files that exist or existed, as far as the plan and the status show what they are made of.
fn known_files(
    order: &Order<'_, ApiPath>,
    shown: &RefreshedFiles,
    written_status: &StatusByName,
) -> BTreeMap<String, TrackedFile> {
    let names: BTreeSet<String> = shown.names().chain(written_status.keys().cloned()).collect();
    let known = names.into_iter().filter_map(|name| {
        let status = written_status.get(&name);
        let origin = origin(&name, order, status)?;
        let mut file = TrackedFile::new(origin, &origin.paths(order));
        file.version = status.and_then(|status| status.version);
        file.next_version = file.version;
        file.state = match status.map(|status| status.state) {
            Some(state @ (FileState::Gone | FileState::Invalid)) => state,
            _ => FileState::Fresh,
        };
        Some((name, file))
    });
    known.collect()
}

/// What happens to the file with this shown name when its secret is gone, for a process beside the sidecar.
pub(in crate::agent) fn when_gone(plan: &Plan, name: &str, status: &FileStatus) -> WhenGone {
    let order = Order::of_pod(plan);
    let origin = origin(name, &order, Some(status));
    origin.map_or(WhenGone::Keep, |origin| origin.when_gone(&order))
}

/// What makes the file with this shown name.
fn origin(name: &str, order: &Order<'_, ApiPath>, status: Option<&FileStatus>) -> Option<FileOrigin> {
    let is_made_of = |path: &ApiPath| status.is_some_and(|status| status.secret == path.as_str());
    let mut files = order.files.iter();
    if let Some(index) = files.position(|order| shown_name(&order.place) == name) {
        return Some(FileOrigin::File(index));
    }
    if let Some(number) = printed::number(name) {
        let index = order.files.iter().position(|order| order.number == number)?;
        return Some(FileOrigin::File(index));
    }
    let variable = env::variable(name).and_then(|variable| {
        let mut env = order.env.iter();
        env.position(|order| is_made_of(&order.path) && select::may_make(order.select, variable))
    });
    if let Some(index) = variable {
        return Some(FileOrigin::Variable(index));
    }
    let may_make = |order: &FileOrder<'_, ApiPath>| match &order.file.file {
        Destination::EachField(template) => template.may_make(name),
        _ => false,
    };
    let mut files = order.files.iter();
    let index =
        files.position(|order| may_make(order) && order.wanted.iter().any(|wanted| is_made_of(&wanted.path)))?;
    Some(FileOrigin::File(index))
}
