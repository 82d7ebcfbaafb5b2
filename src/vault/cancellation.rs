//! How a run ends early without losing a client token: a login that is under way may finish, so that its token can be revoked.

use std::cell::Cell;

use crate::http::Deadline;

/// Whether the run is to end, and what is known of its login.
#[derive(Debug, Default)]
pub(crate) struct Cancellation {
    requested: Cell<bool>,
    pub(super) login_sent: Cell<bool>,
    token_lost: Cell<bool>,
}

impl Cancellation {
    /// Asks the run to begin nothing new.
    pub(crate) fn request(&self) {
        self.requested.set(true);
    }

    pub(crate) fn is_requested(&self) -> bool {
        self.requested.get()
    }

    /// Whether the server has a login and has not answered yet: the server may be about to make a client token.
    pub(crate) fn login_in_flight(&self) -> bool {
        self.login_sent.get()
    }

    /// Whether the server may have made a client token that podkey never received.
    pub(crate) fn token_may_be_lost(&self) -> bool {
        self.token_lost.get()
    }
}

/// A login from its first byte to its whole answer. A drop in between logs that a token may be lost.
pub(super) struct LoginInFlight<'a> {
    pub(super) cancellation: &'a Cancellation,
    pub(super) deadline: Deadline,
}

impl LoginInFlight<'_> {
    pub(super) fn answered(self) {
        self.cancellation.login_sent.set(false);
    }
}

impl Drop for LoginInFlight<'_> {
    fn drop(&mut self) {
        if self.cancellation.login_sent.replace(false) {
            self.cancellation.token_lost.set(true);
            self.deadline.warn(format_args!(
                "a login had no whole answer: the server may have made a client token that lasts until its TTL"
            ));
        }
    }
}
