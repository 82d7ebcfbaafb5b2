//! Reads everything that a run wants: each path once, over few connections. Each failure stays in its place, so that all
//! problems of a pod are reported together.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::time::Duration;

use tokio::time::sleep;

use super::answer::Reading;
use super::error::{VaultError, VaultErrorKind};
use super::fail_fast::FailFast;
use super::inline::InlineLogin;
use super::read::ReadAttempt;
use super::session::Session;
use super::transport::MAX_ANSWERS;
use super::wanted::Wanted;
use super::{Vault, classify};
use crate::http::{KeptConnection, size};

/// With more reads than this for each connection, another connection is worth its TLS handshake.
const READS_PER_CONNECTION: usize = 8;
const MAX_CONNECTIONS: usize = 4;
/// How long the other paths have together after the first failure for good. That is enough for one try each, and the failures of
/// these tries are reported too.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// The result of each read, in the order of what was wanted. None: another read had failed, and this path was not read, or not
/// answered in time.
pub(crate) type Readings = Vec<Option<Result<Reading, VaultError>>>;

impl Vault {
    /// Reads all paths, each once, over as few connections as are worth their handshakes.
    ///
    /// After a failure for good, the other paths still get one try each. A failure that is not about one path ends all reads. With
    /// `allow_missing`, a path that does not exist is no failure.
    pub(crate) async fn read_all(&self, session: &Session, wanted: &[Wanted], allow_missing: bool) -> Readings {
        self.read_batch(Caller::Session(session), wanted, allow_missing).await
    }

    /// The same without a session. A path that is not read here needs a session, or the login failed: see `inline`.
    pub(super) async fn read_batch_inline(
        &self,
        inline: &InlineLogin<'_>,
        wanted: &[Wanted],
        allow_missing: bool,
    ) -> Readings {
        self.read_batch(Caller::Inline(inline), wanted, allow_missing).await
    }

    async fn read_batch(&self, caller: Caller<'_>, wanted: &[Wanted], allow_missing: bool) -> Readings {
        let batch = Batch {
            vault: self,
            caller,
            wanted,
            allow_missing,
            next: Cell::new(0),
            size: Cell::new(0),
            over: Cell::new(false),
            fail_fast: FailFast::default(),
            results: RefCell::new(wanted.iter().map(|_| None).collect()),
        };
        let connections = wanted.len().div_ceil(READS_PER_CONNECTION).min(MAX_CONNECTIONS);
        let extra = async |number: usize| {
            if number < connections {
                batch.read_over(&mut KeptConnection::default()).await;
            }
        };
        let mut kept = self.kept.take();
        // `join!` takes a fixed number of futures.
        const { assert!(MAX_CONNECTIONS == 4) };
        tokio::select! {
            _ = async { tokio::join!(batch.read_over(&mut kept), extra(1), extra(2), extra(3)) } => {}
            () = async { batch.fail_fast.failed().await; sleep(LAST_ANSWERS).await } => {}
        }
        self.kept.set(kept);
        batch.results.into_inner()
    }
}

/// Who reads.
#[derive(Clone, Copy)]
enum Caller<'a> {
    /// The client token of a session.
    Session(&'a Session),
    /// A login with each read.
    Inline(&'a InlineLogin<'a>),
}

/// The reads of one run, shared by its connections.
struct Batch<'a> {
    vault: &'a Vault,
    caller: Caller<'a>,
    wanted: &'a [Wanted],
    allow_missing: bool,
    /// The index of the next path to read.
    next: Cell<usize>,
    /// The bytes of all answers so far.
    size: Cell<usize>,
    /// No further path is read.
    over: Cell<bool>,
    fail_fast: FailFast,
    results: RefCell<Readings>,
}

impl Batch<'_> {
    /// Reads one path after another over one connection.
    async fn read_over(&self, kept: &mut KeptConnection) {
        while let Some(wanted) = self.wanted.get(self.next.get()).filter(|_| !self.over.get()) {
            let index = self.next.replace(self.next.get() + 1);
            let readable = match self.caller {
                Caller::Session(session) => self.vault.readable(kept, session, wanted, Some(&self.fail_fast)).await,
                Caller::Inline(_) => Ok(Cow::Borrowed(wanted)),
            };
            let result = match &readable {
                Ok(wanted) => self.read(kept, wanted).await,
                Err(error) => Some(Err(error.clone())),
            };
            let Some(result) = result else {
                self.over.set(true);
                return;
            };
            let wanted = readable.as_deref().unwrap_or(wanted);
            match result.and_then(|reading| self.counted(reading)) {
                Ok(reading) => self.keep(index, Ok(reading)),
                Err(error) => {
                    self.keep(index, Err(error.clone()));
                    if !(error.kind.is_missing() && self.allow_missing) {
                        self.over.set(self.over.get() || !error.kind.is_of_one_path());
                        self.fail_fast.fail();
                    }
                    // The time for the reads may end during this request: the error above is then the result.
                    let session = match self.caller {
                        Caller::Session(session) => Some(session),
                        Caller::Inline(_) => None,
                    };
                    let explained = self.vault.explain(kept, session, wanted, error).await;
                    self.keep(index, Err(explained));
                }
            }
        }
    }

    /// None: this path and all further ones are not read inline.
    async fn read(&self, kept: &mut KeptConnection, wanted: &Wanted) -> Option<Result<Reading, VaultError>> {
        match self.caller {
            Caller::Session(session) => {
                let attempt = ReadAttempt::repeatable();
                let fail_fast = Some(&self.fail_fast);
                let read = self.vault.read(kept, session, wanted, &attempt, fail_fast).await;
                Some(read.map_err(|error| session.refused(&wanted.path, error)))
            }
            Caller::Inline(inline) => self.vault.read_inline(kept, inline, wanted, &self.fail_fast).await,
        }
    }

    fn counted(&self, reading: Reading) -> Result<Reading, VaultError> {
        self.size.set(self.size.get() + reading.size());
        if self.size.get() <= MAX_ANSWERS {
            return Ok(reading);
        }
        self.over.set(true);
        let message = format!("the answers together are larger than {}", size(MAX_ANSWERS));
        Err(VaultError::new(
            VaultErrorKind::NotVault,
            message,
            classify::size_limits(),
        ))
    }

    fn keep(&self, index: usize, result: Result<Reading, VaultError>) {
        if let Some(place) = self.results.borrow_mut().get_mut(index) {
            *place = Some(result);
        }
    }
}
