//! `podkey-agent sidecar`, the whole story: resume from the handover of `init` → execute what the schedule says is due →
//! write the status → sleep → … → a signal → revoke → exit. The sidecar never ends by itself and never with a failure: the
//! controller of ARC's runners would take that for a failure of the job. Except with `on-change: restart`, in pods without job hooks:
//! there a change ends the sidecar with a code of its own.
//!
//! | module | what |
//! | --- | --- |
//! | `resume` | from the handover, or from the status of an earlier sidecar, to a [`state::Sidecar`] |
//! | `execute` | one login, renewal, read or revocation |
//! | `client_token` | what a client token is good for, and its revocation at the end |
//! | `intake` | what an answer of the server changes in the files |
//! | `answer` | a secret, or that there is none |
//! | `combined` | the secrets that templates combine with others |
//! | `together` | renders the files that change together |
//! | `publish` | one swap that shows the containers all changes |
//! | `kubelet_env` | the kubelet's file of variables, written after a swap |
//! | `status` | `.status.json`, and log lines about the state of files |
//! | `on_change` | informs the app after a swap |
//! | `planned_restarts` | the restarts of the containers, and the notes about them |
//! | `restart` | ends the sidecar after a swap, so that all containers restart |

mod answer;
mod client_token;
mod combined;
mod execute;
mod failures;
mod intake;
mod kubelet_env;
mod on_change;
mod planned_restarts;
mod publish;
mod restart;
mod resume;
mod state;
mod status;
mod together;

use std::time::Duration;

use tokio::time::sleep;

use self::client_token::REQUEST;
use self::restart::RestartBegun;
use self::resume::ReceivedSession;
pub(super) use self::resume::when_gone;
use self::state::Sidecar;
use super::report::{Failure, RunStage};
use super::signals::{self, Signals};
use super::{RunEnd, Runtime};
use crate::plan::sidecar_log::NOTHING_REFRESHES;
use crate::plan::{ExitCode, Plan};
use crate::vault::Cancellation;

/// The pause before another start. So long, because only a new pod may help.
const START_AGAIN: Duration = Duration::from_secs(60);
/// How long revoking may take after a signal. Everything after a signal ends within two seconds.
const REVOKE: Duration = Duration::from_millis(1000);

/// Runs until a signal, or until a change restarts the containers.
pub(super) async fn run(runtime: &Runtime) -> RunEnd {
    // Before everything else: the kernel does not deliver signals to process 1 without a handler.
    let mut signals = match Signals::handle() {
        Ok(signals) => signals,
        Err(failure) => {
            log_not_refreshed(&failure);
            return std::future::pending().await;
        }
    };
    let plan = match runtime.read_plan() {
        Ok((plan, _)) => plan,
        Err(failure) => {
            log_not_refreshed(&failure);
            let name = signals.next().await.name();
            return end(None, format!("stopped by {name}, nothing was kept fresh"));
        }
    };
    let stop = Cancellation::default();
    let (mut received, mut sidecar) = (None, None);
    let mut stopped_by = {
        let mut work = std::pin::pin!(keep_fresh(runtime, &plan, &stop, &mut received, &mut sidecar));
        tokio::select! {
            RestartBegun = &mut work => None,
            signal = signals.next() => {
                signals::stop(work.as_mut(), &stop, &mut signals).await;
                Some(signal.name())
            }
        }
    };
    // A restart is in no hurry, but the containers must not wait long for it.
    let limit = match stopped_by {
        Some(_) => REVOKE,
        None => REQUEST,
    };
    let revoke = async {
        let mut left = 0;
        if let Some(sidecar) = &mut sidecar {
            left += sidecar.revoke_all(limit).await;
        }
        if let Some(received) = &received {
            left += received.revoke(runtime, &plan, limit).await;
        }
        left
    };
    let left = tokio::select! {
        left = revoke => left,
        signal = signals.next() => {
            stopped_by.get_or_insert_with(|| signal.name());
            1
        }
    };
    let tokens = match (left, stop.token_may_be_lost()) {
        (0, false) => "nothing was left at the server",
        _ => "a client token may be left at the server until its TTL ends",
    };
    match stopped_by {
        Some(name) => end(Some(&plan), format!("stopped by {name}, {tokens}")),
        None => restart(&plan, tokens),
    }
}

/// The kubelet restarts all containers after this end.
fn restart(plan: &Plan, tokens: &str) -> RunEnd {
    let connection = Some(plan.connection.name.clone());
    let message = format!("secrets have changed: all containers of the pod restart, {tokens}");
    (
        RunStage::Refresh,
        connection,
        Err(Failure::new(ExitCode::Restart, message, "")),
    )
}

fn end(plan: Option<&Plan>, message: String) -> RunEnd {
    let connection = plan.map(|plan| plan.connection.name.clone());
    (RunStage::Refresh, connection, Ok(message))
}

/// Runs until a change restarts the containers. The caller drops this future, and then finds in `running` the sidecar whose tokens are
/// to be revoked, or in `received` the session with which no sidecar could be started.
async fn keep_fresh<'a>(
    runtime: &'a Runtime,
    plan: &'a Plan,
    stop: &'a Cancellation,
    received: &mut Option<ReceivedSession>,
    running: &mut Option<Sidecar<'a>>,
) -> RestartBegun {
    loop {
        match resume::resume(runtime, plan, stop, received) {
            Ok(Some(sidecar)) => return running.insert(sidecar).run().await,
            Ok(None) => return std::future::pending().await,
            Err(failure) => {
                log_not_refreshed(&failure);
                sleep(START_AGAIN).await;
            }
        }
    }
}

/// Logs why the sidecar does not start.
pub(super) fn log_not_refreshed(failure: &Failure) {
    tracing::error!(
        code = failure.code.number(),
        reason = failure.message,
        hint = failure.hint,
        "{NOTHING_REFRESHES}"
    );
}
