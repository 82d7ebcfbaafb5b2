//! Requests to Vault and OpenBao: log in, read or write, renew, revoke. Each request is retried as `classify` decides, within the
//! one [`Deadline`] of the run, or tried once where that deadline says so. Knows nothing of files and formats.
//!
//! The crate vaultrs is not used: podkey makes few kinds of requests. Its types are not used either: the login types print the JWT
//! in `Debug` and build a wrong path, and the revocation type has a tab in its path.

mod answer;
mod ask;
mod batch;
mod cancellation;
mod classify;
mod error;
mod error_response;
mod explain;
mod fail_fast;
mod failed_try;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod inline;
mod inline_batch;
mod inline_headers;
mod lifetime;
mod login;
mod look_up;
mod mount;
mod read;
mod renew;
mod revoke;
mod sender;
mod service_account;
mod session;
mod transport;
mod wanted;

use std::cell::Cell;

pub(crate) use self::answer::{Reading, Renewed};
pub(crate) use self::batch::Readings;
pub(crate) use self::cancellation::Cancellation;
pub(crate) use self::error::{VaultError, VaultErrorKind};
pub(crate) use self::inline::log_why_session;
pub(crate) use self::login::{LOGIN_GRACE, LoginToken};
use self::look_up::Mounts;
pub(crate) use self::revoke::Revoked;
pub(crate) use self::sender::{Sender, bound_pod, sender_text};
pub(crate) use self::service_account::is_later;
pub(crate) use self::session::{Session, SessionHandover};
use self::transport::Transport;
pub(crate) use self::wanted::Wanted;
use crate::http::{Deadline, KeptConnection, RetryDecision};
use crate::plan::Connection;

/// A server, and the time for requests to it.
pub(crate) struct Vault {
    transport: Transport,
    deadline: Deadline,
    /// The open connection, which one request after another uses. Taken out during a request.
    kept: Cell<KeptConnection>,
    namespace: Option<String>,
    /// How many failures were explained, see `explain`.
    explained: Cell<u32>,
    /// None: paths are read as written.
    mounts: Option<Mounts>,
}

impl Vault {
    /// Prepares requests of this sender to the server. Connects to nothing yet.
    pub(crate) fn new(connection: &Connection, deadline: Deadline, sender: Sender) -> Result<Self, VaultError> {
        Ok(Self {
            transport: Transport::new(connection, sender)?,
            deadline,
            kept: Cell::default(),
            namespace: connection.namespace.as_ref().map(ToString::to_string),
            explained: Cell::new(0),
            mounts: None,
        })
    }

    /// Closes the connection that is kept between requests.
    pub(crate) fn close_connection(&self) {
        self.kept.set(KeptConnection::default());
    }

    /// Adds the namespace to the hint of the decision's error, see [`Self::with_namespace`].
    fn decided(&self, decision: RetryDecision<VaultError>) -> RetryDecision<VaultError> {
        match decision {
            RetryDecision::GiveUp(error) => RetryDecision::GiveUp(self.with_namespace(error)),
            RetryDecision::Retry(pause, window, error) => {
                RetryDecision::Retry(pause, window, self.with_namespace(error))
            }
        }
    }

    /// Adds the namespace to the hint where a wrong namespace could be the reason. With a wrong namespace the server reports a
    /// missing path or a missing permission.
    fn with_namespace(&self, mut error: VaultError) -> VaultError {
        if let Some(namespace) = &self.namespace
            && matches!(
                error.kind,
                VaultErrorKind::Denied | VaultErrorKind::NotFound | VaultErrorKind::NoEngine
            )
            && !error.hint.contains("(namespace ")
        {
            error.hint = format!("{} (namespace {namespace})", error.hint)
                .trim_start()
                .to_owned();
        }
        error
    }
}
