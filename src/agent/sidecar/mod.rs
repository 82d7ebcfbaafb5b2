//! `podkey-agent sidecar`, the whole story: what `init` handed over → do what the schedule says is due → sleep → … → a signal →
//! revoke → exit. It never ends by itself and never with a failure: the runner's controller would take that for the job's.

mod work;

use std::convert::Infallible;
use std::time::Duration;

use tokio::time::sleep;

use self::work::{Handed, Sidecar};
use super::init::read_plan;
use super::report::{Failure, RunStage};
use super::signals::{self, Signals};
use crate::agent::Surroundings;
use crate::plan::Plan;
use crate::vault::Stop;

/// What cannot be started is tried again, so late: nothing but a new pod may help.
const START_AGAIN: Duration = Duration::from_secs(60);
/// All that is done after a signal is done within two seconds.
const REVOKE: Duration = Duration::from_millis(1000);

/// Runs until a signal. Gives the connection's name, and what to report.
pub(super) async fn run(surroundings: &Surroundings) -> super::init::Ended {
    // First of all: the kernel keeps signals without a handler from process 1.
    let mut signals = match Signals::handle() {
        Ok(signals) => signals,
        Err(failure) => {
            complain(&failure);
            return std::future::pending().await;
        }
    };
    let ended = |plan: Option<&Plan>, message: String| {
        let connection = plan.map(|plan| plan.connection.name.clone());
        (RunStage::Refresh, connection, Ok(message))
    };
    let plan = match read_plan(surroundings) {
        Ok((plan, _)) => plan,
        Err(failure) => {
            complain(&failure);
            let name = signals.next().await.name();
            return ended(None, format!("stopped by {name}, nothing was kept fresh"));
        }
    };
    let stop = Stop::default();
    let (mut handed, mut sidecar) = (None, None);
    let name = {
        let mut work = std::pin::pin!(keep_fresh(surroundings, &plan, &stop, &mut handed, &mut sidecar));
        tokio::select! {
            never = &mut work => match never {},
            told = signals.next() => {
                signals::stop(work.as_mut(), &stop, &mut signals).await;
                told.name()
            }
        }
    };
    let revoke = async {
        let mut left = 0;
        if let Some(sidecar) = &mut sidecar {
            left += sidecar.revoke_all(REVOKE).await;
        }
        if let Some(handed) = &handed {
            left += handed.revoke(&plan, REVOKE).await;
        }
        left
    };
    let left = tokio::select! {
        left = revoke => left,
        _ = signals.next() => 1,
    };
    let tokens = match (left, stop.token_may_be_lost()) {
        (0, false) => "nothing was left at the server",
        _ => "a client token may be left at the server until its TTL ends",
    };
    ended(Some(&plan), format!("stopped by {name}, {tokens}"))
}

/// Goes on for ever. Whoever ends it finds the sidecar in `place`, to revoke its tokens, or in `handed` what could not be
/// started with.
async fn keep_fresh<'a>(
    surroundings: &'a Surroundings,
    plan: &'a Plan,
    stop: &'a Stop,
    handed: &mut Option<Handed>,
    place: &mut Option<Sidecar<'a>>,
) -> Infallible {
    loop {
        match Sidecar::start(surroundings, plan, stop, handed) {
            Ok(Some(sidecar)) => match place.insert(sidecar).run().await {},
            Ok(None) => return std::future::pending().await,
            Err(failure) => {
                complain(&failure);
                sleep(START_AGAIN).await;
            }
        }
    }
}

/// Says why nothing is kept fresh.
fn complain(failure: &Failure) {
    tracing::error!(
        code = failure.code.number(),
        reason = failure.message,
        hint = failure.hint,
        "the files stay as they are: nothing keeps them fresh"
    );
}
