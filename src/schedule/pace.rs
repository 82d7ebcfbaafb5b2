//! The pause before the next request, after the server was unavailable or answered 429.

use std::time::Duration;

use fastrand::Rng;

use super::LEAST;

/// The longest pause.
pub(super) const CAP: Duration = Duration::from_secs(300);
/// The first pause after a failure. (If the interval is shorter: the interval.)
const BASE: Duration = Duration::from_secs(10);

/// The longest gap between two requests under a quota: 24 spacings, but at least 2 minutes and at most an hour.
const MOST_SPACINGS: u32 = 24;
const SHORTEST_LIMIT: Duration = Duration::from_secs(120);
const LONGEST_GAP: Duration = Duration::from_secs(3600);
/// The gap after the first 429, in spacings; and by how much each further 429 makes the gap longer.
const FIRST_429: u32 = 4;
const NEXT_429: u32 = 5;
/// For the first 429, a longer spacing counts as this spacing: a secret that is read once in an hour is tried again soon.
const FIRST_SPACING: Duration = Duration::from_secs(15);
/// A quota is forgotten when there was no 429 for this time, and the gap is less than this multiple of the spacing.
const FORGET: Duration = Duration::from_secs(600);
const NEARLY: f64 = 1.25;

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
    /// When the level last rose.
    risen: Duration,
    /// The pace under a quota. None: the server has answered no 429 for a long time.
    quota: Option<QuotaPace>,
    /// No request is sent before this time.
    pub(super) until: Duration,
}

impl Pace {
    pub(super) fn new(backoff: Backoff) -> Self {
        Self {
            backoff,
            level: 0,
            risen: Duration::ZERO,
            quota: None,
            until: Duration::ZERO,
        }
    }

    /// Whether requests are sent one at a time, because the server has answered 429.
    pub(super) fn is_limited(&self, now: Duration) -> bool {
        self.quota.is_some() && now <= self.until + LONGEST_GAP
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
    pub(super) fn throttled(&mut self, now: Duration, asked: Option<Duration>, need: Need, rng: &mut Rng) {
        self.expire(now);
        let quota = self.quota.insert(QuotaPace::after_429(self.quota, now, need.spacing));
        let pause = quota.gap.mul_f64(0.25 + rng.f64() / 2.0);
        let now = now + asked.unwrap_or_default().min(CAP);
        self.until = now + pause.min(need.latest.saturating_sub(now)).max(LEAST);
    }

    /// The server answered, with success or with an error other than 429, so the server is available.
    pub(super) fn answered(&mut self, now: Duration, need: Need, rng: &mut Rng) {
        self.expire(now);
        self.level = 0;
        self.quota = self.quota.and_then(|quota| quota.after_answer(now, need.spacing));
        if let Some(quota) = self.quota {
            let pause = quota.gap.mul_f64(0.5 + rng.f64() / 2.0);
            self.until = now + pause.min(need.latest.saturating_sub(now));
        }
    }

    fn rise(&mut self, now: Duration) {
        self.expire(now);
        self.risen = now;
        if self.level == 0 || self.backoff.grown(self.level) < CAP {
            self.level += 1;
        }
    }

    /// Forgets the past after a long time without any request, such as on a suspended machine: the past means nothing now.
    fn expire(&mut self, now: Duration) {
        if now > self.until + CAP {
            self.level = 0;
        }
        if now > self.until + LONGEST_GAP {
            self.quota = None;
        }
    }
}

/// What the pod's work needs from the pace.
#[derive(Debug, Clone, Copy)]
pub(super) struct Need {
    /// The time between two reads of secrets without a lease, if the reads were spread evenly over the interval.
    pub(super) spacing: Duration,
    /// The next request must not be later: some work has to be done before the end of a token, a lease or a certificate.
    pub(super) latest: Duration,
}

/// The pace under a quota, as in congestion control: the sidecars of many pods share the quota, and each of them sees only the
/// answers to its own requests. Requests are sent one at a time, with a gap between them.
///
/// A 429 makes the gap several times longer. An answer brings the gap closer to the spacing that the pod needs: the ratio of
/// the two becomes its power of 3/4, and its square root if the answer before was no 429 either. A long gap therefore shrinks
/// faster than a short gap, so the gaps of the pods become similar. In simulations (`tests/storm.rs`) a fifth of all requests are
/// answered 429 if the pods need three times the quota, and two fifths if they need eight times the quota.
#[derive(Debug, Clone, Copy)]
struct QuotaPace {
    gap: Duration,
    /// The time of the last 429.
    last: Duration,
    /// When an answer or a 429 last changed the gap.
    changed: Duration,
    /// The last answer was no 429.
    answered: bool,
}

impl QuotaPace {
    fn after_429(before: Option<Self>, now: Duration, spacing: Duration) -> Self {
        let least = spacing.min(FIRST_SPACING);
        let gap = match before {
            None => least * FIRST_429,
            Some(before) => before.gap.max(least) * NEXT_429,
        };
        Self {
            gap: gap.min((spacing * MOST_SPACINGS).clamp(SHORTEST_LIMIT, LONGEST_GAP)),
            last: now,
            changed: now,
            answered: false,
        }
    }

    /// Time without an answer, for example while the server was unavailable, counts too: each gap of that time counts as one answer,
    /// because the pod used nothing of the quota. None: the quota is forgotten.
    fn after_answer(self, now: Duration, spacing: Duration) -> Option<Self> {
        let mut quota = self;
        let mut quiet = now.saturating_sub(self.changed);
        loop {
            let gap = quota.gap;
            quota = quota.closer(now, spacing)?;
            match quiet.checked_sub(gap) {
                Some(rest) if quota.gap < gap => quiet = rest,
                _ => return Some(Self { changed: now, ..quota }),
            }
        }
    }

    /// The gap after one answer. None: the quota is forgotten.
    fn closer(self, now: Duration, spacing: Duration) -> Option<Self> {
        let ratio = self.gap.as_secs_f64() / spacing.as_secs_f64();
        if now > self.last + FORGET && ratio < NEARLY {
            return None;
        }
        let root = ratio.sqrt();
        let closer = if self.answered { root } else { root * root.sqrt() };
        Some(Self {
            gap: if ratio > 1.0 { spacing.mul_f64(closer) } else { self.gap },
            answered: true,
            ..self
        })
    }
}
