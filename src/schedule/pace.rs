//! How soon the server may be asked again after it was away, or said that it is asked too often.

use std::time::Duration;

use fastrand::Rng;

use super::LEAST;

/// Tries are never further apart.
const CAP: Duration = Duration::from_secs(300);
/// The first pause after a failure, where the interval is not shorter.
const BASE: Duration = Duration::from_secs(10);

/// Back-off: doubles with each failure from min(interval, 10 s) to 5 minutes; each is between half of that and all of it,
/// so that those who failed together do not come back together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Backoff(Duration);

impl Backoff {
    pub(super) fn new(interval: Duration) -> Self {
        Self(interval.clamp(LEAST, BASE))
    }

    /// The pause after so many failures in a row. Where something `end`s meanwhile, a quarter of the time until then, if
    /// that is shorter: about twenty tries on the last third of an hour.
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
    /// Nothing is asked before.
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

    /// The server is away.
    pub(super) fn away(&mut self, now: Duration, end: Option<Duration>, rng: &mut Rng) {
        // Tries that something's near end has hurried do not make the later ones rarer.
        if self.level == 0 || now >= self.risen + self.backoff.grown(self.level) / 2 {
            self.rise(now);
        }
        self.until = now + self.backoff.pause(self.level, now, end, rng);
    }

    /// The server said 429, perhaps with a `Retry-After`, which is honoured up to 5 minutes.
    pub(super) fn throttled(&mut self, now: Duration, asked: Option<Duration>, end: Option<Duration>, rng: &mut Rng) {
        self.rise(now);
        self.throttled = true;
        self.until = now + asked.unwrap_or_default().min(CAP) + self.backoff.pause(self.level, now, end, rng);
    }

    /// The server answered, whatever it said. One that was away is there again. Under a quota the pauses shrink as they
    /// grew, step by step: all pods together then settle where every second request at most is one too many.
    pub(super) fn answered(&mut self, now: Duration, end: Option<Duration>, rng: &mut Rng) {
        self.forget(now);
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
        self.forget(now);
        self.risen = now;
        if self.level == 0 || self.backoff.grown(self.level) < CAP {
            self.level += 1;
        }
    }

    /// How it was before a long time without any request, as of a suspended machine, says nothing.
    fn forget(&mut self, now: Duration) {
        if now > self.until + CAP {
            self.level = 0;
            self.throttled = false;
        }
    }
}
