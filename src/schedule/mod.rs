//! When the sidecar does what: logs in, renews its token and its leases, reads again, revokes the token it no longer needs.
//!
//! A state machine without clock, I/O or async. The loop around it has four lines: sleep until [`Schedule::wake`]; take what is
//! [`Schedule::due`], one work at a time, until there is none; do it, with one try; say what came of it. Times are durations on
//! one clock that only goes forward and counts a suspended machine's sleep too. All else comes from the server's answers,
//! never from a wall clock, and never from a look-up, which a standby may answer with a TTL of days ago.
//!
//! The rules:
//!
//! - A secret without a lease is read again after the interval less up to a tenth of it, so that no change is older than the
//!   interval when it is seen; all such secrets of the pod together. The first time comes at a random moment of the first
//!   interval, so that pods which started together do not stay together.
//! - A lease, and the token, is renewed at about two thirds of its TTL ([`term`]). What cannot be renewed, or no further
//!   (its maximum TTL is near), is replaced at that time; what failed to be renewed, after nine tenths. Tries come more
//!   often as the end comes nearer, but never twice in a second.
//! - A lease ends with the token that it was made with (<https://developer.hashicorp.com/vault/docs/concepts/lease>). After a
//!   new login the leased secrets are therefore read again with the new token, and the old one is revoked when nothing of
//!   it is in use any more.
//! - A server may ask, at each renewal of a token, whether what we logged in with is still good (OpenBao ≥ 2.6.4 and 2.7.1, with
//!   the kubernetes method). So a new login comes before that ends ([`Proof`]), as soon as there is something newer to log in
//!   with. A token whose renewal is denied is replaced at once, by one login.
//! - A token that has been replaced is given back a little later than its last lease was: whoever has just read the old
//!   credential may still use it.
//! - Whatever may make a new credential needs a [`Permit`] of the [`limiter`].
//! - A server that is away, or says 429, gets no request at all for a while ([`pace`]). What else fails is tried
//!   again by itself, with a growing pause; so is what gets no answer from a server that answers others. Files stay as they
//!   are meanwhile.
//! - Secrets without a lease take turns: none waits for another one that always fails.
//! - A read that was allowed and is denied now is answered by one new login: the token may be gone, or its role may have other
//!   policies. If that does not help, it is a failure like others.
//! - What was missed, while the machine was suspended or the server away, is done once.

mod limiter;
mod pace;
mod term;

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod storm;
#[cfg(test)]
mod tests;

use std::time::Duration;

use fastrand::Rng;

pub(crate) use self::limiter::Permit;
use self::limiter::{FLOOR, Limiter};
use self::pace::{Backoff, Pace};
use self::term::{LONGEST, Term};

/// Nothing is done twice within this.
const LEAST: Duration = Duration::from_secs(1);
/// Logins are at least this far apart, however short the tokens live.
const BETWEEN_LOGINS: Duration = Duration::from_secs(10);
/// Over so much time at the most pods that lost their tokens together read their leased secrets again.
const SPREAD: Duration = Duration::from_secs(300);
/// For so long after its last lease was replaced a token is not revoked, or for half of what is left of it.
const GRACE: Duration = Duration::from_secs(30);
/// A read that stays denied is tried with a new token again after this: a role's new policies are in new tokens only.
const LOGIN_FOR_DENIED: Duration = Duration::from_secs(3600);

/// A secret to keep fresh: its place in the list that the schedule was made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Source(pub(crate) usize);

/// A client token, as the schedule speaks of it. That of the handover is the default one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TokenNumber(u32);

/// What a token is good for, as a login or a renewal says it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Grant {
    /// Zero after a login is a token that never ends, such as a root token
    /// (<https://developer.hashicorp.com/vault/docs/concepts/tokens>).
    pub(crate) ttl: Duration,
    /// Batch tokens are not.
    pub(crate) renewable: bool,
    /// How many requests it is good for; 0 means without end.
    pub(crate) uses: u64,
    /// What the login was made with, where a renewal may need it. A renewal says nothing of it.
    pub(crate) proof: Option<Proof>,
}

/// How long that is good which a login was made with: a service-account token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Proof {
    /// From now on.
    pub(crate) left: Duration,
    /// From its making to its end.
    pub(crate) life: Duration,
}

/// For how long an answer is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lifetime {
    /// Until somebody changes it: a plain read that came without a lease.
    Static,
    /// It has a lease. With a TTL of zero it lasts as long as its token.
    Lease { ttl: Duration, renewable: bool },
    /// It ends by itself, and nothing can be done about that: a certificate.
    Ends { ttl: Duration },
    /// Nothing says how long it is good for: it was made by a write, or was not there so far and may be anything.
    Unknown,
}

/// What was obtained before, by init or by this sidecar before it was started anew.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Held<T> {
    pub(crate) what: T,
    /// How long ago it was asked for.
    pub(crate) age: Duration,
}

/// What is to be done now, with one try.
#[derive(Debug)]
pub(crate) enum Work {
    /// Log in; the new token has this number, and is the one for all other work from then on. Then [`Schedule::logged_in`].
    Login(TokenNumber),
    /// The same, if there is something newer to log in with than for the token in use. If not, [`Schedule::nothing_newer`].
    LoginAnew(TokenNumber),
    /// Renew the token. Then [`Schedule::token_renewed`].
    RenewToken,
    /// Read these, none of which has ever had a lease. Then [`Schedule::read`], for those that were asked for, and
    /// [`Schedule::unread`] for the others.
    Read(Vec<Source>),
    /// Read or write this one, which may make a new credential. Then [`Schedule::read`].
    ReadLeased(Source, Permit),
    /// Renew its lease. Then [`Schedule::lease_renewed`].
    RenewLease(Source),
    /// Revoke this token, which has been replaced. Then [`Schedule::revoked`].
    Revoke(TokenNumber),
}

/// Why work was not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The server cannot be asked now: not reached, no whole answer, sealed, without a leader, 412, 502, 503, 504.
    Away,
    /// 429, with its `Retry-After` where there is one; or a server that is away and says when to come again.
    Throttled(Option<Duration>),
    /// 403.
    Denied,
    /// There is no such secret or lease: 404 to a read, 400 "lease not found" to a renewal.
    Gone,
    /// Anything else: 400, 500, an answer that makes no sense, files that could not be written.
    Failed,
}

/// How a source is, for people to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// As the server had it when it was last due.
    Fresh,
    /// What there is comes from earlier: the last try failed, or there was none yet, or none when it was due.
    Stale,
    /// The last read was denied.
    Denied,
    /// The secret is gone from the server.
    Gone,
    /// The credential that there is has come to its end.
    Expired,
}

/// The state machine. See the module's description.
#[derive(Debug)]
pub(crate) struct Schedule {
    interval: Duration,
    rng: Rng,
    backoff: Backoff,
    pace: Pace,
    limiter: Limiter,
    token: Option<Token>,
    replaced: Vec<Replaced>,
    logins: u32,
    login: Retry,
    items: Vec<Item>,
    /// All sources. Who was asked for last is behind.
    turns: Vec<Source>,
    /// When all static sources are read next.
    round: Duration,
    /// When somebody last asked what is due: what comes of that work is counted from then.
    asked: Duration,
}

#[derive(Debug)]
struct Token {
    number: TokenNumber,
    since: Duration,
    term: Term,
    retry: Retry,
    /// Requests left, but for the one that revokes it; none: without end.
    uses: Option<u64>,
    /// When to log in anew, with something newer.
    anew: Option<Anew>,
}

#[derive(Debug, Clone, Copy)]
struct Anew {
    next: Duration,
    /// What we logged in with ends.
    end: Duration,
    /// The whole life of that.
    life: Duration,
}

/// A token that another one has replaced.
#[derive(Debug)]
struct Replaced {
    number: TokenNumber,
    /// It ends by itself.
    end: Duration,
    /// It is not to be revoked before.
    next: Duration,
}

/// The tries of one thing.
#[derive(Debug, Clone, Copy, Default)]
struct Retry {
    failures: u32,
    /// Not before.
    next: Duration,
}

#[derive(Debug)]
struct Item {
    life: Life,
    retry: Retry,
    renewals: Retry,
    state: State,
    /// Reading it has made something that ends: it needs a permit for ever.
    mints: bool,
}

#[derive(Debug)]
enum Life {
    Static,
    Unknown,
    Ends(Term),
    Lease(Term, TokenNumber),
}

/// Something to do at a time.
#[derive(Debug, Clone, Copy)]
struct Due {
    at: Duration,
    /// It makes no sense from then on.
    until: Duration,
    todo: Todo,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Todo {
    Login,
    LoginAnew,
    RenewToken,
    RenewLease(Source),
    ReadLeased(Source),
    Read,
    Revoke(TokenNumber),
}

impl Schedule {
    /// `token` is the one of the handover, whose number is the default one; without it, leases that are `held` count as lost,
    /// but their past still counts for the limiter. Sources whose past is not known are `None`.
    pub(crate) fn new(
        now: Duration,
        seed: u64,
        interval: Duration,
        token: Option<Held<Grant>>,
        held: &[Option<Held<Lifetime>>],
    ) -> Self {
        let interval = interval.min(LONGEST);
        let backoff = Backoff::new(interval);
        let mut rng = Rng::with_seed(seed);
        let round = now + interval.mul_f64(rng.f64()).max(LEAST);
        let unread = || Item {
            life: Life::Unknown,
            retry: Retry::default(),
            renewals: Retry::default(),
            state: State::Stale,
            mints: false,
        };
        let mut schedule = Self {
            interval,
            rng,
            backoff,
            pace: Pace::new(backoff),
            limiter: Limiter::new(held.len(), now),
            token: None,
            replaced: Vec::new(),
            logins: 0,
            login: Retry::default(),
            items: held.iter().map(|_| unread()).collect(),
            turns: (0..held.len()).map(Source).collect(),
            round,
            asked: now,
        };
        if let Some(Held { what, age }) = token {
            schedule.token = Some(schedule.new_token(TokenNumber::default(), now, age, what));
        }
        for (index, held) in held.iter().enumerate() {
            if let Some(Held { what, age }) = *held {
                schedule.learn(Source(index), now, age, what);
                schedule.limiter.older(Source(index), age);
                let item = &mut schedule.items[index];
                if matches!(item.life, Life::Unknown) {
                    item.retry.next = round + FLOOR;
                }
            }
        }
        if schedule.token.is_none() {
            // A certificate is as good as it was; all else is read again.
            for item in &mut schedule.items {
                match &mut item.life {
                    Life::Ends(_) => continue,
                    Life::Lease(term, _) => term.give_up(now),
                    Life::Static | Life::Unknown => {}
                }
                item.state = State::Stale;
                item.retry.next = now;
            }
        }
        schedule
    }

    /// When there is something to do next. Later than now, when nothing is [`Self::due`] now.
    pub(crate) fn wake(&self) -> Duration {
        let all = self.all_due(self.asked);
        all.map(|due| self.paced(due.at)).min().unwrap_or(Duration::MAX)
    }

    /// The work that is due for longest, if any, but what is about the token first. What came of it is to be said
    /// before the next call.
    pub(crate) fn due(&mut self, now: Duration) -> Option<Work> {
        let now = now.max(self.asked);
        self.asked = now;
        self.replaced.retain(|token| token.end > now);
        let due = self.all_due(now).filter(|due| self.paced(due.at) <= now);
        let Due { todo, .. } = due.min_by_key(|due| match due.todo {
            todo @ (Todo::Login | Todo::LoginAnew | Todo::RenewToken) => (Duration::ZERO, todo),
            todo => (due.at, todo),
        })?;
        // Also if nobody ever says what came of it.
        let next = now + LEAST;
        Some(match todo {
            Todo::Login => {
                self.login.next = next;
                Work::Login(TokenNumber(self.logins + 1))
            }
            Todo::LoginAnew => {
                self.login.next = next;
                if let Some(anew) = self.token.as_mut().and_then(|token| token.anew.as_mut()) {
                    anew.next = next;
                }
                Work::LoginAnew(TokenNumber(self.logins + 1))
            }
            Todo::RenewToken => {
                self.use_token(1);
                if let Some(token) = &mut self.token {
                    token.retry.next = next;
                }
                Work::RenewToken
            }
            Todo::RenewLease(source) => {
                self.use_token(1);
                self.items[source.0].renewals.next = next;
                Work::RenewLease(source)
            }
            Todo::ReadLeased(source) => {
                let permit = self.limiter.permit(source, now)?;
                self.use_token(1);
                self.items[source.0].retry.next = next;
                Work::ReadLeased(source, permit)
            }
            Todo::Read => {
                if self.round <= now {
                    self.round = (now + self.jittered_interval()).max(next);
                }
                let left = self.token.as_ref().and_then(|token| token.uses);
                let left = left.map_or(usize::MAX, |left| usize::try_from(left).unwrap_or(usize::MAX));
                let mut sources = Vec::new();
                for source in &self.turns {
                    let item = &mut self.items[source.0];
                    if matches!(item.life, Life::Static) && item.retry.next <= now && sources.len() < left {
                        item.retry.next = next;
                        sources.push(*source);
                    }
                }
                self.use_token(sources.len() as u64);
                Work::Read(sources)
            }
            Todo::Revoke(number) => {
                for replaced in self.replaced.iter_mut().filter(|of| of.number == number) {
                    replaced.next = next;
                }
                Work::Revoke(number)
            }
        })
    }

    /// All there is to do, now or later.
    fn all_due(&self, now: Duration) -> impl Iterator<Item = Due> {
        let token = self.token.as_ref().filter(|token| token.is_good(now));
        let replace = token.map_or(Duration::ZERO, |token| token.term.replace);
        let login = Due {
            at: replace.max(self.login.next),
            until: Duration::MAX,
            todo: Todo::Login,
        };
        let with_token = token.into_iter().flat_map(move |token| {
            let anew = token.anew.map(|anew| Due {
                at: anew.next.max(self.login.next),
                until: token.term.end,
                todo: Todo::LoginAnew,
            });
            let renew = token.term.renew.map(|at| Due {
                at: at.max(token.retry.next),
                until: token.term.end,
                todo: Todo::RenewToken,
            });
            let sources = (0..self.items.len()).map(Source);
            anew.into_iter()
                .chain(renew)
                .chain(sources.flat_map(move |source| self.due_of(source, token)))
        });
        let unused = self.replaced.iter().filter(|token| !self.is_in_use(token.number));
        let revoke = unused.map(|token| Due {
            at: token.next,
            until: token.end,
            todo: Todo::Revoke(token.number),
        });
        let all = std::iter::once(login).chain(with_token).chain(revoke);
        all.filter(|due| self.paced(due.at) < due.until)
    }

    /// What there is to do about one source with this token.
    fn due_of(&self, source: Source, token: &Token) -> impl Iterator<Item = Due> {
        let both = self.items.get(source.0).map(|item| {
            let read = |replace: Duration| Due {
                at: self.free(source, item).max(replace),
                until: token.term.end,
                todo: Todo::ReadLeased(source),
            };
            match &item.life {
                Life::Static => {
                    let read = Due {
                        at: self.free(source, item),
                        until: token.term.end,
                        todo: Todo::Read,
                    };
                    (read, None)
                }
                Life::Unknown => (read(Duration::ZERO), None),
                Life::Ends(term) => (read(term.replace), None),
                Life::Lease(term, with) => {
                    let renew = term.renew.filter(|_| *with == token.number).map(|at| Due {
                        at: at.max(item.renewals.next),
                        until: term.end.min(token.term.end),
                        todo: Todo::RenewLease(source),
                    });
                    (read(term.replace), renew)
                }
            }
        });
        both.into_iter()
            .flat_map(|(read, renew)| std::iter::once(read).chain(renew))
    }

    fn paced(&self, at: Duration) -> Duration {
        at.max(self.pace.until)
    }

    /// What came of a login.
    pub(crate) fn logged_in(&mut self, now: Duration, result: Result<Grant, Failure>) {
        // A token for a single request could be used for it or revoked, not both.
        let result = match result {
            Ok(grant) if grant.uses == 1 => Err(Failure::Failed),
            result => result,
        };
        // A login is of no use without what comes after it: it is paced together with that.
        if let Err(failure) = &result {
            self.answered(now, Some(failure));
        }
        match result {
            Ok(grant) => {
                self.logins += 1;
                self.login = Retry {
                    failures: 0,
                    next: now + BETWEEN_LOGINS,
                };
                let age = now.saturating_sub(self.asked);
                let token = self.new_token(TokenNumber(self.logins), now, age, grant);
                let old = self.token.replace(token);
                for (index, item) in self.items.iter_mut().enumerate() {
                    if item.state == State::Denied {
                        item.retry.next = now;
                    }
                    let Life::Lease(term, with) = &mut item.life else {
                        continue;
                    };
                    if let Some(old) = old.as_ref().filter(|old| old.number == *with) {
                        term.end = term.end.min(old.term.end);
                    }
                    term.give_up(now);
                    // Pods that lost their tokens together must not read again together, once the limiter lets them: but
                    // before the end of what there is.
                    let wait = self.limiter.free(Source(index)).saturating_sub(now);
                    let most = (wait / 10).min(SPREAD);
                    let left = term.end.saturating_sub(now + wait);
                    let most = if left.is_zero() { most } else { most.min(left / 2) };
                    let more = most.mul_f64(self.rng.f64());
                    item.retry.next = item.retry.next.max(now + wait + more);
                }
                self.replaced.extend(old.map(|old| Replaced {
                    number: old.number,
                    end: old.term.end,
                    next: now,
                }));
            }
            Err(Failure::Away | Failure::Throttled(_)) => {}
            Err(_) => {
                self.login = self.again(self.login, now, self.next_end(now));
            }
        }
    }

    /// There is nothing newer to log in with than for the token in use. It is looked for more often as the end of that comes
    /// nearer, and seldom once that has come.
    pub(crate) fn nothing_newer(&mut self, now: Duration) {
        if let Some(anew) = self.token.as_mut().and_then(|token| token.anew.as_mut()) {
            let pause = match anew.end.checked_sub(now) {
                Some(left) if !left.is_zero() => left / 8,
                _ => anew.life / 20,
            };
            anew.next = now + pause.max(LEAST);
        }
    }

    /// What came of renewing the token.
    pub(crate) fn token_renewed(&mut self, now: Duration, result: Result<Grant, Failure>) {
        self.answered(now, result.as_ref().err());
        let age = now.saturating_sub(self.asked);
        let Some(token) = &mut self.token else { return };
        match result {
            Ok(Grant { ttl, renewable, .. }) => {
                token.retry = Retry::default();
                token.term.renewed(now, age, ttl, renewable, &mut self.rng);
            }
            Err(Failure::Away | Failure::Throttled(_)) => {}
            // It is gone, or may not renew itself.
            Err(Failure::Denied | Failure::Gone) => token.term.give_up(now),
            Err(Failure::Failed) => {
                let (retry, end) = (token.retry, token.term.end);
                let retry = self.again(retry, now, Some(end));
                if let Some(token) = &mut self.token {
                    token.retry = retry;
                }
            }
        }
    }

    /// What came of reading each of these, once the files are as the answers say.
    pub(crate) fn read(&mut self, now: Duration, results: &[(Source, Result<Lifetime, Failure>)]) {
        let age = now.saturating_sub(self.asked);
        let throttled = |failure: &&Failure| matches!(failure, Failure::Throttled(_));
        let is_answer = |failure: &Failure| *failure != Failure::Away && !throttled(&failure);
        // Who answers others is not away.
        let answers = results
            .iter()
            .any(|(_, result)| result.as_ref().err().is_none_or(is_answer));
        for (source, result) in results {
            self.turns.retain(|other| other != source);
            self.turns.push(*source);
            match *result {
                Ok(lifetime) => self.learn(*source, now, age, lifetime),
                Err(Failure::Away) if answers => self.read_failed(*source, now, Failure::Failed),
                Err(failure) => self.read_failed(*source, now, failure),
            }
        }
        // With what was learned: a pause ends before a lease does.
        let failures = || results.iter().filter_map(|(_, result)| result.as_ref().err());
        let away = failures().find(|failure| **failure == Failure::Away && !answers);
        self.answered(now, failures().find(throttled).or(away));
    }

    /// These were given out to be read and not asked for: one before them found the server away. They are due as before.
    pub(crate) fn unread(&mut self, sources: &[Source]) {
        for source in sources {
            if let Some(item) = self.items.get_mut(source.0) {
                item.retry.next = self.asked;
            }
        }
    }

    /// What came of renewing a lease.
    pub(crate) fn lease_renewed(&mut self, now: Duration, source: Source, result: Result<Lifetime, Failure>) {
        self.answered(now, result.as_ref().err());
        let age = now.saturating_sub(self.asked);
        let Some(item) = self.items.get_mut(source.0) else {
            return;
        };
        let Life::Lease(term, _) = &mut item.life else { return };
        match result {
            Ok(lifetime) => {
                let (ttl, renewable) = match lifetime {
                    Lifetime::Lease { ttl, renewable } => (ttl, renewable),
                    _ => (Duration::ZERO, false),
                };
                item.renewals = Retry::default();
                item.retry.failures = 0;
                item.state = State::Fresh;
                term.renewed(now, age, ttl, renewable, &mut self.rng);
            }
            Err(Failure::Away | Failure::Throttled(_)) => {}
            Err(Failure::Gone) => {
                term.end = now;
                term.give_up(now);
            }
            // The token is gone, or may not renew leases. The read will tell.
            Err(Failure::Denied) => term.give_up(now),
            Err(Failure::Failed) => {
                let (renewals, end) = (item.renewals, term.end);
                self.items[source.0].renewals = self.again(renewals, now, Some(end));
            }
        }
    }

    /// What came of revoking a token that was replaced. It is not tried again for ever: it ends by itself.
    pub(crate) fn revoked(&mut self, now: Duration, number: TokenNumber, result: Result<(), Failure>) {
        self.answered(now, result.as_ref().err());
        if !matches!(result, Err(Failure::Away | Failure::Throttled(_))) {
            self.replaced.retain(|token| token.number != number);
        }
    }

    /// Whether a token is still needed: for work, for a lease that the pod has, or to be revoked.
    pub(crate) fn keeps(&self, number: TokenNumber) -> bool {
        let current = self.token.iter().map(|token| token.number);
        let mut all = current.chain(self.replaced.iter().map(|token| token.number));
        all.any(|kept| kept == number)
    }

    /// Takes back a permit that no credential can have come of: the request was not sent, or refused with a 4xx, or by a
    /// sealed server.
    pub(crate) fn unused(&mut self, permit: Permit) {
        self.limiter.unused(permit);
    }

    /// How a source is.
    pub(crate) fn state(&self, source: Source, now: Duration) -> State {
        let Some(item) = self.items.get(source.0) else {
            return State::Stale;
        };
        match &item.life {
            Life::Lease(term, with) if self.lease_end(term, *with) <= now => State::Expired,
            Life::Ends(term) if term.end <= now => State::Expired,
            // What holds it up may last: the server is away, or takes no login.
            Life::Static | Life::Unknown if item.state == State::Fresh && self.free(source, item) <= self.asked => {
                State::Stale
            }
            _ => item.state,
        }
    }

    /// How long a lease lasts, counted from when it was asked for or last renewed: until its own end or that of its token,
    /// whichever comes first. None: the source has no lease.
    pub(crate) fn lasts(&self, source: Source) -> Option<Duration> {
        match &self.items.get(source.0)?.life {
            Life::Lease(term, with) => Some(self.lease_end(term, *with).saturating_sub(term.since)),
            Life::Static | Life::Unknown | Life::Ends(_) => None,
        }
    }

    /// When the next state gets worse by itself, while nothing can be done about it.
    pub(crate) fn worsens(&self) -> Option<Duration> {
        let all = self
            .items
            .iter()
            .enumerate()
            .filter_map(|(index, item)| match &item.life {
                Life::Lease(term, with) => Some(self.lease_end(term, *with)),
                Life::Ends(term) => Some(term.end),
                Life::Static | Life::Unknown if item.state == State::Fresh => Some(self.free(Source(index), item)),
                Life::Static | Life::Unknown => None,
            });
        all.filter(|at| *at > self.asked).min()
    }

    /// From when a source may be read, for all that is known of it.
    fn free(&self, source: Source, item: &Item) -> Duration {
        match item.life {
            Life::Static => item.retry.next,
            _ => item.retry.next.max(self.limiter.free(source)),
        }
    }

    /// When a source is read or its lease renewed next, as things stand: without a token to do it with, when the next login
    /// is.
    pub(crate) fn next_try(&self, source: Source) -> Option<Duration> {
        let item = self.items.get(source.0)?;
        match self.token.as_ref().filter(|token| token.is_good(self.asked)) {
            Some(token) => self.due_of(source, token).map(|due| self.paced(due.at)).min(),
            None => Some(self.paced(self.login.next.max(self.free(source, item)))),
        }
    }

    fn new_token(&mut self, number: TokenNumber, now: Duration, age: Duration, grant: Grant) -> Token {
        let term = match grant.ttl {
            Duration::ZERO => Term::new(now, Duration::ZERO, LONGEST, false, &mut self.rng),
            ttl => Term::new(now, age, ttl, grant.renewable, &mut self.rng),
        };
        // The kubelet replaces it when four fifths of its life are over, and takes its time to do so
        // (<https://kubernetes.io/docs/concepts/storage/projected-volumes/#serviceaccounttoken>).
        let anew = grant.proof.map(|Proof { left, life }| {
            let (left, life) = (left.min(LONGEST), life.min(LONGEST));
            let before = life.mul_f64(0.10 + 0.04 * self.rng.f64());
            Anew {
                next: now + left.saturating_sub(before).max(LEAST),
                end: now + left,
                life,
            }
        });
        Token {
            number,
            since: now,
            term,
            retry: Retry::default(),
            uses: grant.uses.checked_sub(1),
            anew,
        }
    }

    /// Counts requests. A token without any left is replaced.
    fn use_token(&mut self, requests: u64) {
        let Some(token) = &mut self.token else { return };
        if let Some(uses) = &mut token.uses {
            *uses = uses.saturating_sub(requests);
            if *uses == 0 {
                token.term.give_up(self.asked);
            }
        }
    }

    /// Takes in an answer that came `age` after it was asked for.
    fn learn(&mut self, source: Source, now: Duration, age: Duration, lifetime: Lifetime) {
        let next = (now + self.jittered_interval().saturating_sub(age)).max(now + LEAST);
        if self.round <= now {
            self.round = next;
        }
        let (number, left) = match &self.token {
            Some(token) => (token.number, token.term.end.saturating_sub(now)),
            None => (TokenNumber::default(), Duration::MAX),
        };
        let Some(item) = self.items.get_mut(source.0) else {
            return;
        };
        // One without a TTL of its own lasts as long as its token, as all of them do at the most.
        let lifetime = match (lifetime, &self.token) {
            (Lifetime::Lease { ttl, .. }, Some(_)) if ttl.is_zero() => Lifetime::Lease {
                ttl: left.saturating_add(age),
                renewable: false,
            },
            (lifetime, _) => lifetime,
        };
        // The last lease of a token that has been replaced: whoever reads the file now may log in with it a moment later.
        if let Life::Lease(_, with) = &item.life
            && let Some(replaced) = self.replaced.iter_mut().find(|token| token.number == *with)
        {
            let grace = GRACE.min(replaced.end.saturating_sub(now) / 2);
            replaced.next = replaced.next.max(now + grace);
        }
        item.mints |= matches!(lifetime, Lifetime::Lease { .. } | Lifetime::Ends { .. });
        item.state = State::Fresh;
        item.renewals = Retry::default();
        item.retry = Retry {
            failures: 0,
            next: now + LEAST,
        };
        let mut made = Duration::ZERO;
        item.life = match lifetime {
            Lifetime::Static if !item.mints => {
                item.retry.next = self.round;
                Life::Static
            }
            Lifetime::Lease { ttl, renewable } if !ttl.is_zero() => {
                // It ends with its token.
                made = ttl.min(left.saturating_add(age));
                Life::Lease(Term::new(now, age, ttl, renewable, &mut self.rng), number)
            }
            Lifetime::Ends { ttl } if !ttl.is_zero() => {
                made = ttl;
                Life::Ends(Term::new(now, age, ttl, false, &mut self.rng))
            }
            _ => {
                item.retry.next = next.max(now + FLOOR.mul_f64(1.0 + 0.2 * self.rng.f64()));
                Life::Unknown
            }
        };
        if !matches!(item.life, Life::Static) {
            self.limiter.made(source, now, made.min(LONGEST));
        }
    }

    fn read_failed(&mut self, source: Source, now: Duration, failure: Failure) {
        let interval = self.jittered_interval();
        let Some(item) = self.items.get_mut(source.0) else {
            return;
        };
        let end = match &item.life {
            Life::Lease(term, _) | Life::Ends(term) => Some(term.end),
            Life::Static | Life::Unknown => None,
        };
        let was_denied = item.state == State::Denied;
        item.state = match failure {
            Failure::Denied => State::Denied,
            Failure::Gone => State::Gone,
            // This says nothing new about it.
            Failure::Away | Failure::Throttled(_) if item.state != State::Fresh => item.state,
            _ => State::Stale,
        };
        let retry = item.retry;
        let retry = match failure {
            Failure::Away | Failure::Throttled(_) => return,
            // An answer like others, where nothing ends meanwhile.
            Failure::Gone if end.is_none() => Retry {
                failures: 0,
                next: match item.life {
                    Life::Static => self.round,
                    _ => now + interval.max(LEAST),
                },
            },
            Failure::Denied => {
                // It is renewed as before until then: the login may fail.
                if let Some(token) = &mut self.token
                    && (!was_denied || now.saturating_sub(token.since) >= LOGIN_FOR_DENIED)
                {
                    token.term.replace = now;
                }
                self.again(retry, now, end)
            }
            Failure::Gone | Failure::Failed => self.again(retry, now, end),
        };
        if let Some(item) = self.items.get_mut(source.0) {
            item.retry = retry;
        }
    }

    fn again(&mut self, retry: Retry, now: Duration, end: Option<Duration>) -> Retry {
        let failures = retry.failures + 1;
        Retry {
            failures,
            next: now + self.backoff.pause(failures, now, end, &mut self.rng),
        }
    }

    /// What an answer, or none, says about the server.
    fn answered(&mut self, now: Duration, failure: Option<&Failure>) {
        let end = self.next_end(now);
        match failure {
            Some(Failure::Away) => self.pace.away(now, end, &mut self.rng),
            Some(Failure::Throttled(asked)) => self.pace.throttled(now, *asked, end, &mut self.rng),
            _ => self.pace.answered(now, end, &mut self.rng),
        }
    }

    /// When the first of all that the pod has ends.
    fn next_end(&self, now: Duration) -> Option<Duration> {
        let token = self.token.as_ref().map(|token| token.term.end);
        let ends = self.items.iter().filter_map(|item| match &item.life {
            Life::Lease(term, with) => Some(self.lease_end(term, *with)),
            Life::Ends(term) => Some(term.end),
            Life::Static | Life::Unknown => None,
        });
        ends.chain(token).filter(|end| *end > now).min()
    }

    /// A lease ends with its token. That of a token before was cut to it when that was replaced.
    fn lease_end(&self, term: &Term, with: TokenNumber) -> Duration {
        match &self.token {
            Some(token) if token.number == with => term.end.min(token.term.end),
            _ => term.end,
        }
    }

    /// Whether the pod still has a credential that was made with this token. (That of a lease which ended by our count may
    /// be good yet: the answer to a renewal may have been lost.)
    fn is_in_use(&self, number: TokenNumber) -> bool {
        let mut lives = self.items.iter().map(|item| &item.life);
        lives.any(|life| matches!(life, Life::Lease(_, with) if *with == number))
    }

    /// Never all of it: the read and the swap take their time too.
    fn jittered_interval(&mut self) -> Duration {
        self.interval.mul_f64(0.9 + 0.09 * self.rng.f64())
    }
}

impl Token {
    fn is_good(&self, now: Duration) -> bool {
        now < self.term.end && self.uses != Some(0)
    }
}
