//! Reads all that is wanted: each path once, over few connections, and with every failure in its place, so that all problems
//! of a pod are reported together.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::sleep;

use super::classify::Verdict;
use super::error::{Kind, VaultError};
use super::retry::Tries;
use super::transport::Link;
use super::{Asking, Reading, Session, Vault, Wanted};

/// All answers of one run together, in bytes.
const MAX_ANSWERS: usize = 8 * 1024 * 1024;
/// How many reads one connection is good for before another one is worth its handshake, and how many there may be.
const READS_PER_CONNECTION: usize = 8;
const MAX_CONNECTIONS: usize = 4;
/// Once something has failed for good, the other paths have so long together: for one try each, whose failures are reported too.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// Whether something of the run has failed for good. From then on nothing waits for another try.
#[derive(Default)]
pub(super) struct Hurry {
    failed: Cell<bool>,
    told: Notify,
}

impl Hurry {
    fn fail(&self) {
        self.failed.set(true);
        self.told.notify_waiters();
    }

    async fn failed(&self) {
        if !self.failed.get() {
            self.told.notified().await;
        }
    }

    /// Waits before the next try, if there is to be one.
    pub(super) async fn pause(&self, tries: &mut Tries, verdict: Verdict) -> Result<(), VaultError> {
        let error = match &verdict {
            Verdict::Fatal(error) | Verdict::Retry(_, _, error) => error.clone(),
        };
        tokio::select! {
            biased;
            () = self.failed() => Err(error),
            paused = tries.pause(verdict) => paused,
        }
    }
}

/// What came of each read, in the order of what was wanted. None: it was not asked, or not answered in time, after something
/// else had failed.
pub(crate) type Readings = Vec<Option<Result<Reading, VaultError>>>;

impl Vault {
    /// Reads all that is wanted, each once, over as few connections as are worth their handshakes. After a failure for good, and
    /// one of what does not exist is none with `allow_missing`, the others are still asked, without a second try; after one
    /// that is not about a path, nothing more is.
    pub(crate) async fn read_all(&self, session: &Session, wanted: &[Wanted], allow_missing: bool) -> Readings {
        let results: RefCell<Readings> = RefCell::new(wanted.iter().map(|_| None).collect());
        let (next, taken, over) = (Cell::new(0_usize), Cell::new(0_usize), Cell::new(false));
        let hurry = Hurry::default();
        let worker = async |link: &mut Link| {
            while let Some(one) = wanted.get(next.get()).filter(|_| !over.get()) {
                let index = next.replace(next.get() + 1);
                let mut result = self.read(link, session, one, &Asking::again(), Some(&hurry)).await;
                if let Ok(reading) = &result {
                    taken.set(taken.get() + reading.size());
                    if taken.get() > MAX_ANSWERS {
                        over.set(true);
                        result = Err(VaultError::new(
                            Kind::NotVault,
                            "the answers together are larger than 8 MiB",
                            "podkey takes 4 MiB in one answer and 8 MiB in all",
                        ));
                    }
                }
                let failure = result.as_ref().err().cloned();
                let keep = |result| {
                    if let Some(place) = results.borrow_mut().get_mut(index) {
                        *place = Some(result);
                    }
                };
                keep(result);
                if let Some(error) = failure {
                    if !(error.kind.is_missing() && allow_missing) {
                        over.set(over.get() || !error.kind.is_of_one_path());
                        hurry.fail();
                    }
                    keep(Err(self.explain(link, session, one, error).await));
                }
            }
        };
        let connections = wanted.len().div_ceil(READS_PER_CONNECTION).min(MAX_CONNECTIONS);
        let extra = async |number: usize| {
            if number < connections {
                worker(&mut Link::default()).await;
            }
        };
        let mut first = self.first.take();
        // The macro joins what is written out.
        const { assert!(MAX_CONNECTIONS == 4) };
        tokio::select! {
            _ = async { tokio::join!(worker(&mut first), extra(1), extra(2), extra(3)) } => {}
            () = async { hurry.failed().await; sleep(LAST_ANSWERS).await } => {}
        }
        self.first.set(first);
        results.into_inner()
    }
}
