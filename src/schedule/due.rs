//! Which work is due, and when the next work will be.

use std::time::Duration;

use super::tokens::CurrentToken;
use super::{LEAST, Schedule, SecretIndex, SecretValidity, TokenNumber, Work};

/// Under a quota, renewals and replacements come before reads of secrets without a lease. After so many of them comes one read:
/// leases with a short TTL must not keep the sidecar from all other reads.
const BEFORE_A_READ: u32 = 3;

/// Work that will be due.
#[derive(Debug, Clone, Copy)]
struct DueWork {
    at: Duration,
    /// From this time on, the work makes no sense.
    until: Duration,
    kind: WorkKind,
}

/// [`Work`] before it is handed out. The order is the order of work that is due at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum WorkKind {
    Login,
    LoginIfNewer,
    RenewToken,
    RenewLease(SecretIndex),
    ReadLeased(SecretIndex),
    Read,
    Revoke(TokenNumber),
}

impl Schedule {
    /// The time of the next work. Later than now if no work is [`Self::due`] now.
    pub(crate) fn wake(&self) -> Duration {
        let all = self.all_due(self.asked).into_iter();
        all.map(|due| self.paced(due.at)).min().unwrap_or(Duration::MAX)
    }

    /// The work that has been due for the longest time, if any. Logins and the renewal of the token come first. Under a quota,
    /// renewals and replacements come before reads of secrets that do not end. The caller reports the result before the next call.
    pub(crate) fn due(&mut self, now: Duration) -> Option<Work> {
        let now = now.max(self.asked);
        self.asked = now;
        self.replaced.retain(|token| token.end > now);
        let due = self.all_due(now).into_iter().filter(|due| self.paced(due.at) <= now);
        let is_limited = self.pace.is_limited(now);
        let reads_wait = is_limited && self.before_a_read < BEFORE_A_READ;
        let DueWork { kind, .. } = due.min_by_key(|due| match due.kind {
            kind @ (WorkKind::Login | WorkKind::LoginIfNewer | WorkKind::RenewToken) => (false, Duration::ZERO, kind),
            kind @ (WorkKind::Read | WorkKind::Revoke(_)) => (reads_wait, due.at, kind),
            kind => (is_limited && !reads_wait, due.at, kind),
        })?;
        self.hand_out(kind, now)
    }

    /// Makes the work, and sets the time of the next try, in case the result is never reported.
    fn hand_out(&mut self, kind: WorkKind, now: Duration) -> Option<Work> {
        let next = now + LEAST;
        Some(match kind {
            WorkKind::Login => {
                self.login.next = next;
                Work::Login(TokenNumber(self.logins + 1))
            }
            WorkKind::LoginIfNewer => {
                self.login.next = next;
                if let Some(relogin) = self.token.as_mut().and_then(|token| token.relogin.as_mut()) {
                    relogin.next = next;
                }
                Work::LoginIfNewer(TokenNumber(self.logins + 1))
            }
            WorkKind::RenewToken => {
                self.use_token(1);
                if let Some(token) = &mut self.token {
                    token.retry.next = next;
                }
                Work::RenewToken
            }
            WorkKind::RenewLease(index) => {
                self.before_a_read = self.before_a_read.saturating_add(1);
                self.use_token(1);
                self.secrets[index.0].renewals.next = next;
                Work::RenewLease(index)
            }
            WorkKind::ReadLeased(index) => {
                let permit = self.limiter.permit(index, now)?;
                self.before_a_read = self.before_a_read.saturating_add(1);
                self.use_token(1);
                self.secrets[index.0].retry.next = next;
                Work::ReadLeased(index, permit)
            }
            WorkKind::Read => {
                self.before_a_read = 0;
                Work::Read(self.hand_out_static(now, next))
            }
            WorkKind::Revoke(number) => {
                for replaced in self.replaced.iter_mut().filter(|of| of.number == number) {
                    replaced.next = next;
                }
                Work::Revoke(number)
            }
        })
    }

    /// All static secrets that are due, but no more than the token has uses left. Under a quota: one.
    fn hand_out_static(&mut self, now: Duration, next: Duration) -> Vec<SecretIndex> {
        if self.next_round <= now {
            self.next_round = (now + self.jittered_interval()).max(next);
        }
        let left = self.token.as_ref().and_then(|token| token.uses);
        let left = left.map_or(usize::MAX, |left| usize::try_from(left).unwrap_or(usize::MAX));
        let left = if self.pace.is_limited(now) { left.min(1) } else { left };
        let mut indices = Vec::new();
        for index in &self.read_order {
            let secret = &mut self.secrets[index.0];
            if matches!(secret.validity, SecretValidity::Static) && secret.retry.next <= now && indices.len() < left {
                secret.retry.next = next;
                indices.push(*index);
            }
        }
        self.use_token(indices.len() as u64);
        indices
    }

    /// All work, due now or later.
    fn all_due(&self, now: Duration) -> Vec<DueWork> {
        let token = self.token.as_ref().filter(|token| token.is_valid(now));
        let replace = token.map_or(Duration::ZERO, |token| token.term.replace);
        let mut all = vec![DueWork {
            at: replace.max(self.login.next),
            until: Duration::MAX,
            kind: WorkKind::Login,
        }];
        if let Some(token) = token {
            all.extend(self.due_of_token(token).into_iter().flatten());
            for index in (0..self.secrets.len()).map(SecretIndex) {
                all.extend(self.due_of(index, token).into_iter().flatten());
            }
        }
        for token in &self.replaced {
            if !self.leaves_replaced && !self.is_in_use(token.number) {
                all.push(DueWork {
                    at: token.next,
                    until: token.end,
                    kind: WorkKind::Revoke(token.number),
                });
            }
        }
        all.retain(|due| self.paced(due.at) < due.until);
        all
    }

    /// The look for a newer service-account token, and the renewal of the client token.
    fn due_of_token(&self, token: &CurrentToken) -> [Option<DueWork>; 2] {
        let relogin = token.relogin.map(|relogin| DueWork {
            at: relogin.next.max(self.login.next),
            until: token.term.end,
            kind: WorkKind::LoginIfNewer,
        });
        let renew = token.term.renew.map(|at| DueWork {
            at: at.max(token.retry.next),
            until: token.term.end,
            kind: WorkKind::RenewToken,
        });
        [relogin, renew]
    }

    /// The work on one secret with this token: a read, and the renewal of a lease.
    fn due_of(&self, index: SecretIndex, token: &CurrentToken) -> [Option<DueWork>; 2] {
        let Some(secret) = self.secrets.get(index.0) else {
            return [None, None];
        };
        let read = |kind: WorkKind, replace: Duration| {
            Some(DueWork {
                at: self.readable_at(index, secret).max(replace),
                until: token.term.end,
                kind,
            })
        };
        match &secret.validity {
            SecretValidity::Static => [read(WorkKind::Read, Duration::ZERO), None],
            SecretValidity::Unknown => [read(WorkKind::ReadLeased(index), Duration::ZERO), None],
            SecretValidity::Ends(term) => [read(WorkKind::ReadLeased(index), term.replace), None],
            SecretValidity::Lease(term, with) => {
                let renew = term.renew.filter(|_| *with == token.number).map(|at| DueWork {
                    at: at.max(secret.renewals.next),
                    until: term.end.min(token.term.end),
                    kind: WorkKind::RenewLease(index),
                });
                [read(WorkKind::ReadLeased(index), term.replace), renew]
            }
        }
    }

    /// The expected time of the secret's next read, or of the next renewal of its lease. Without a token: the time of the
    /// next login.
    pub(crate) fn next_try(&self, index: SecretIndex) -> Option<Duration> {
        let secret = self.secrets.get(index.0)?;
        match self.token.as_ref().filter(|token| token.is_valid(self.asked)) {
            Some(token) => {
                let due = self.due_of(index, token).into_iter().flatten();
                due.map(|due| self.paced(due.at)).min()
            }
            None => Some(self.paced(self.login.next.max(self.readable_at(index, secret)))),
        }
    }

    /// The time, but not before the end of the pause that all requests share.
    fn paced(&self, at: Duration) -> Duration {
        at.max(self.pace.until)
    }
}
