//! `podkey-agent init`, the whole story: plan → token file → login → reads → render everything in memory → write everything →
//! revoke → exit. All or nothing.

mod failed;
mod read;
mod refreshed;
mod take_back;
mod write;

use std::cell::{Cell, OnceCell};
use std::time::Duration;

use tokio::time::timeout;

use super::report::{Failure, RunStage};
use super::signals::{self, Signals};
use super::{RunEnd, Runtime};
use crate::http::Deadline;
use crate::plan::{ExitCode, Plan};
use crate::vault::{Cancellation, Revoked, Sender, Session, Vault};

/// How long revoking may take after a signal. With the grace of a login, everything after a signal ends within two seconds:
/// the pod's own grace period may be short.
const REVOKE_AFTER_SIGNAL: Duration = Duration::from_millis(1000);
const REVOKE: Duration = Duration::from_secs(2);

/// How far a run is. Read when the run ends, also when a signal ends it.
struct InitProgress {
    stage: Cell<RunStage>,
    session: OnceCell<Session>,
    /// Why the client token is not to be revoked.
    token_kept: Cell<Option<&'static str>>,
    stop: Cancellation,
}

/// Runs until the end or a signal.
pub(super) async fn run(runtime: &Runtime) -> RunEnd {
    // Before everything else: the kernel does not deliver signals to process 1 without a handler.
    let mut signals = match Signals::handle() {
        Ok(signals) => signals,
        Err(failure) => return (RunStage::Login, None, Err(failure)),
    };
    let (plan, budget) = match runtime.read_plan() {
        Ok(read) => read,
        Err(failure) => return (RunStage::Login, None, Err(failure)),
    };
    let sender = Sender::of_pod("init", runtime.paths.token_file());
    let vault = match Vault::new(&plan.connection, Deadline::start(budget.duration()), sender) {
        Ok(vault) => vault.looking_up(plan.mount_lookup.as_ref()),
        Err(error) => return failed::end(&plan, runtime, RunStage::Login, Err(error.into())),
    };
    let progress = InitProgress {
        stage: Cell::new(RunStage::Login),
        session: OnceCell::new(),
        token_kept: Cell::new(None),
        stop: Cancellation::default(),
    };
    let (outcome, signal) = {
        let mut work = std::pin::pin!(deliver(&plan, &vault, runtime, &progress));
        tokio::select! {
            outcome = &mut work => (outcome, None),
            signal = signals.next() => {
                signals::stop(work.as_mut(), &progress.stop, &mut signals).await;
                (Ok(String::new()), Some(signal.name()))
            }
        }
        // Dropping the work removes the temporary files.
    };
    let revoked = revoke(&vault, &progress, signal.is_some(), outcome.is_ok(), &mut signals).await;
    let outcome = match signal {
        None => outcome,
        Some(name) => Err(terminated(
            name,
            revoked != Revoked::Yes || progress.stop.token_may_be_lost(),
        )),
    };
    failed::end(&plan, runtime, progress.stage.get(), outcome)
}

/// Reads, renders and writes everything. Returns what to report.
async fn deliver(plan: &Plan, vault: &Vault, runtime: &Runtime, progress: &InitProgress) -> Result<String, Failure> {
    let read = read::read_and_render(plan, vault, runtime, progress).await?;
    write::write(plan, runtime, progress, read).await
}

/// Revokes the client token, unless it is to be kept.
async fn revoke(
    vault: &Vault,
    progress: &InitProgress,
    after_signal: bool,
    delivered: bool,
    signals: &mut Signals,
) -> Revoked {
    let Some(session) = progress.session.get() else {
        return Revoked::Yes;
    };
    if let (false, true, Some(why)) = (after_signal, delivered, progress.token_kept.get()) {
        tracing::info!(
            accessor = session.accessor,
            ttl_s = session.ttl.as_secs(),
            "the client token is not revoked: {why}"
        );
        return Revoked::Yes;
    }
    let limit = if after_signal { REVOKE_AFTER_SIGNAL } else { REVOKE };
    let mut revocation = std::pin::pin!(vault.revoke(session, limit));
    tokio::select! {
        revoked = &mut revocation => revoked,
        _ = signals.next() => {
            // The files are written already: a first signal only shortens the revocation, a second signal ends it.
            let left = if after_signal { Duration::ZERO } else { REVOKE_AFTER_SIGNAL };
            timeout(left, revocation).await.unwrap_or_else(|_| {
                tracing::warn!(
                    accessor = session.accessor,
                    ttl_s = session.ttl.as_secs(),
                    "a signal cut the revocation of the client token short: the token may last until its TTL ends"
                );
                Revoked::Unanswered
            })
        }
    }
}

/// A signal stopped the run: no file is left, but a client token may be left.
fn terminated(signal: &str, token_left: bool) -> Failure {
    Failure::new(
        ExitCode::Terminated,
        format!("stopped by {signal}"),
        match token_left {
            false => "nothing was left behind",
            true => "no file was left behind; a client token may be left at the server until its TTL ends",
        },
    )
}
