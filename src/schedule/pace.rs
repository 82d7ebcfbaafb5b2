//! The pause before the next request, after the server was unavailable or answered 429.

use std::time::Duration;

use fastrand::Rng;

use super::LEAST;

/// The longest pause.
const CAP: Duration = Duration::from_secs(300);
/// The first pause after a failure. (If the interval is shorter: the interval.)
const BASE: Duration = Duration::from_secs(10);

/// Back-off: the pause doubles with each failure from min(interval, 10 s) to 5 minutes. Each pause is a
/// random part of that, between half and all, so that pods whose requests failed together do not retry together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Backoff(Duration);

impl Backoff {
    pub(super) fn new(interval: Duration) -> Self {
        Self(interval.clamp(LEAST, BASE))
    }

    /// The pause after this number of failures in a row. Before an `end` (of a token, lease or certificate) the pause is at most
    /// a quarter of the time that is left: about twenty tries in the last third of a TTL of one hour.
    pub(super) fn pause(self, failures: u32, now: Duration, end: Option<Duration>, rng: &mut Rng) -> Duration {
        let grown = self.grown(failures).mul_f64(0.5 + rng.f64() / 2.0);
        let left = end.and_then(|end| end.checked_sub(now)).filter(|left| !left.is_zero());
        left.map_or(grown, |left| grown.min(left / 4)).max(LEAST)
    }

    fn grown(self, failures: u32) -> Duration {
        self.0.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(CAP)
    }
}

/// The pause that all requests share.
#[derive(Debug)]
pub(super) struct Pace {
    backoff: Backoff,
    level: u32,
    throttled: bool,
    /// When the level last rose.
    risen: Duration,
    /// No request is sent before this time.
    pub(super) until: Duration,
}

impl Pace {
    pub(super) fn new(backoff: Backoff) -> Self {
        Self {
            backoff,
            level: 0,
            throttled: false,
            risen: Duration::ZERO,
            until: Duration::ZERO,
        }
    }

    /// The server is unavailable.
    pub(super) fn unavailable(&mut self, now: Duration, end: Option<Duration>, rng: &mut Rng) {
        // Tries that are more frequent because a lease ends soon do not make later pauses longer.
        if self.level == 0 || now >= self.risen + self.backoff.grown(self.level) / 2 {
            self.rise(now);
        }
        self.until = now + self.backoff.pause(self.level, now, end, rng);
    }

    /// The server answered 429, perhaps with a `Retry-After`, which is honoured up to 5 minutes.
    pub(super) fn throttled(&mut self, now: Duration, asked: Option<Duration>, end: Option<Duration>, rng: &mut Rng) {
        self.rise(now);
        self.throttled = true;
        self.until = now + asked.unwrap_or_default().min(CAP) + self.backoff.pause(self.level, now, end, rng);
    }

    /// The server answered, with success or with an error other than 429, so the server is available. After a 429 the pauses
    /// shrink as they grew, step by step. All pods together then reach a state in which at most every second request exceeds
    /// the quota.
    pub(super) fn answered(&mut self, now: Duration, end: Option<Duration>, rng: &mut Rng) {
        self.expire(now);
        self.level = if self.throttled {
            self.level.saturating_sub(1)
        } else {
            0
        };
        self.throttled = self.level > 0;
        if self.throttled {
            self.until = now + self.backoff.pause(self.level, now, end, rng);
        }
    }

    fn rise(&mut self, now: Duration) {
        self.expire(now);
        self.risen = now;
        if self.level == 0 || self.backoff.grown(self.level) < CAP {
            self.level += 1;
        }
    }

    /// Resets the level after a long time without any request, such as on a suspended machine: the old level means nothing now.
    fn expire(&mut self, now: Duration) {
        if now > self.until + CAP {
            self.level = 0;
            self.throttled = false;
        }
    }
}
