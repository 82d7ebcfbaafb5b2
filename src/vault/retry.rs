//! Waiting between tries: full jitter, the server's `Retry-After`, and one budget that everything shares.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::classify::{Patience, Pause, Verdict};
use super::error::VaultError;
use crate::telemetry::LogThrottle;

const BASE: Duration = Duration::from_millis(500);
const CAP: Duration = Duration::from_secs(15);
const LEAST: Duration = Duration::from_millis(10);
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(60);
/// A line about a failure that lasts, no more often than this.
const QUIET: Duration = Duration::from_secs(10);

/// How long to try.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Deadline {
    /// All tries of one run have this time together, from then on.
    Run(Instant, Duration),
    /// Each request has this time, and there is no second try: who asks has a schedule of his own.
    Try(Duration),
}

impl Deadline {
    /// That of a run that begins now.
    pub(crate) fn start(total: Duration) -> Self {
        Self::Run(Instant::now(), total)
    }

    /// Warns of what one try left behind. Who tries for ever tells of his failures as often as is good for his log.
    pub(super) fn warn(&self, what: std::fmt::Arguments<'_>) {
        match self {
            Self::Run(..) => tracing::warn!("{what}"),
            Self::Try(_) => tracing::debug!("{what}"),
        }
    }

    /// When it ends, for a request that begins now.
    pub(crate) fn end(&self) -> Instant {
        match self {
            Self::Run(started, total) => *started + *total,
            Self::Try(limit) => Instant::now() + *limit,
        }
    }
}

/// The tries of one request.
pub(super) struct Tries {
    deadline: Deadline,
    what: String,
    failed: u32,
    /// The last kind of failure, since when it lasts, and how many in a row.
    streak: Option<(VaultError, Instant, u32)>,
    throttle: LogThrottle<Instant>,
}

impl Tries {
    pub(super) fn new(deadline: Deadline, what: String) -> Self {
        Self {
            deadline,
            what,
            failed: 0,
            streak: None,
            throttle: LogThrottle::new(QUIET),
        }
    }

    /// Waits before the next try, or gives up with the error to report.
    pub(super) async fn pause(&mut self, verdict: Verdict) -> Result<(), VaultError> {
        let (pause, patience, error) = match verdict {
            Verdict::Fatal(error) => return Err(error),
            Verdict::Retry(pause, patience, error) => (pause, patience, error),
        };
        let (started, total) = match self.deadline {
            Deadline::Run(started, total) => (started, total),
            Deadline::Try(_) => return Err(error.after(pause)),
        };
        let now = Instant::now();
        let (since, in_a_row) = match self.streak.take() {
            Some((last, since, count)) if last.kind == error.kind => (since, count + 1),
            _ => (now, 1),
        };
        let end = match patience {
            Patience::Budget => self.deadline.end(),
            Patience::QuarterBudget => started + total / 4,
            Patience::For(window) if in_a_row == 1 => now + window,
            Patience::For(window) => since + window,
            Patience::More(left) => now + left,
            Patience::Once if in_a_row == 1 => self.deadline.end(),
            Patience::Once => now,
        }
        .min(self.deadline.end());
        let left = end.saturating_duration_since(now);
        let Some(wait) = fit(wait_for(pause, self.failed, fastrand::f64()), left, pause) else {
            return Err(error);
        };
        self.failed += 1;
        if self.throttle.allows(now) {
            tracing::warn!(
                attempt = self.failed,
                next_in_ms = wait.as_millis() as u64,
                reason = error.message,
                "{} failed, trying again",
                self.what
            );
        }
        self.streak = Some((error, since, in_a_row));
        sleep(wait).await;
        Ok(())
    }

    /// When the budget ends, the tries end too, in the middle of a request if need be.
    pub(super) fn out_of_time(&self) -> VaultError {
        match &self.streak {
            Some((error, _, _)) => error.clone(),
            None => {
                let within = match self.deadline {
                    Deadline::Run(_, total) => format!("the budget of {}", humantime::format_duration(total)),
                    Deadline::Try(limit) => humantime::format_duration(limit).to_string(),
                };
                VaultError::new(
                    super::error::Kind::Unavailable,
                    format!("{} had no answer within {within}", self.what),
                    "is the server overloaded, or does something in between swallow the traffic?",
                )
            }
        }
    }
}

impl VaultError {
    /// With the wait that the server asked for, if it did. Who has a schedule knows how much of it to honour.
    fn after(mut self, pause: Pause) -> Self {
        if let Pause::Throttled(asked) = pause {
            self.retry_after = asked;
        }
        self
    }
}

/// The wait a pause stands for, before the `failed + 1`-th next try; `dice` is from 0 to 1.
fn wait_for(pause: Pause, failed: u32, dice: f64) -> Duration {
    let growing = |base: Duration, cap: Duration| base.saturating_mul(1 << failed.min(16)).min(cap);
    match pause {
        Pause::Jitter => growing(BASE, CAP).mul_f64(dice).max(LEAST),
        Pause::Short => growing(Duration::from_millis(50), Duration::from_secs(1)).mul_f64(0.5 + dice / 2.0),
        Pause::Throttled(asked) => {
            let least = asked
                .unwrap_or_default()
                .clamp(Duration::from_secs(1), LONGEST_RETRY_AFTER);
            least + growing(BASE, CAP).mul_f64(dice)
        }
        Pause::Fixed(wait) => wait,
    }
}

/// The wait cut to the time left, so that the last try comes at its end; none when there is no time for another, or
/// when the server asked for more patience than is left.
fn fit(wait: Duration, left: Duration, pause: Pause) -> Option<Duration> {
    const A_TRY: Duration = Duration::from_millis(100);
    match pause {
        _ if left < 2 * A_TRY => None,
        Pause::Throttled(Some(asked)) if asked.min(LONGEST_RETRY_AFTER) > left => None,
        _ => Some(wait.min(left - A_TRY)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_with_full_jitter_up_to_a_cap() {
        let secs = Duration::from_secs_f64;
        assert_eq!(wait_for(Pause::Jitter, 0, 1.0), secs(0.5));
        assert_eq!(wait_for(Pause::Jitter, 0, 0.0), secs(0.01));
        assert_eq!(wait_for(Pause::Jitter, 3, 0.5), secs(2.0));
        assert_eq!(wait_for(Pause::Jitter, 1000, 1.0), secs(15.0));
        assert_eq!(wait_for(Pause::Short, 0, 1.0), secs(0.05));
        assert_eq!(wait_for(Pause::Short, 30, 1.0), secs(1.0));
        assert_eq!(wait_for(Pause::Throttled(None), 0, 0.0), secs(1.0));
        assert_eq!(wait_for(Pause::Throttled(Some(secs(7.0))), 0, 0.0), secs(7.0));
        assert_eq!(wait_for(Pause::Throttled(Some(secs(9000.0))), 0, 0.0), secs(60.0));
    }

    #[test]
    fn the_last_try_comes_at_the_end_of_the_time_left() {
        let ms = Duration::from_millis;
        assert_eq!(fit(ms(500), ms(5000), Pause::Jitter), Some(ms(500)));
        assert_eq!(fit(ms(500), ms(300), Pause::Jitter), Some(ms(200)));
        assert_eq!(fit(ms(0), ms(100), Pause::Jitter), None, "no spinning at the end");
        assert_eq!(
            fit(ms(60_000), ms(5000), Pause::Throttled(Some(ms(60_000)))),
            None,
            "earlier than asked would be punished"
        );
    }

    fn error(kind: super::super::error::Kind) -> VaultError {
        VaultError::new(kind, "x", "")
    }

    #[tokio::test(start_paused = true)]
    async fn patience_ends_with_its_window_and_never_outlasts_the_budget() {
        use super::super::error::Kind;
        for (patience, budget, tries, lasts) in [
            (Patience::Budget, 20, 3.., 19.0..=20.0),
            (Patience::QuarterBudget, 20, 2.., 4.0..=5.0),
            (Patience::For(Duration::from_secs(8)), 20, 2.., 7.0..=8.0),
            (Patience::For(Duration::from_secs(800)), 20, 2.., 19.0..=20.0),
            (Patience::Once, 20, 2.., 0.0..=1.0),
        ] {
            let begun = Instant::now();
            let mut all = Tries::new(Deadline::start(Duration::from_secs(budget)), "it".into());
            let mut count = 1;
            while all
                .pause(Verdict::Retry(Pause::Jitter, patience, error(Kind::Unavailable)))
                .await
                .is_ok()
            {
                count += 1;
            }
            let took = begun.elapsed().as_secs_f64();
            assert!(tries.contains(&count), "{patience:?}: {count} tries");
            assert!(lasts.contains(&took), "{patience:?}: {took} s");
            if patience == Patience::Once {
                assert_eq!(count, 2);
            }
        }
    }

    #[tokio::test]
    async fn who_has_a_schedule_gets_each_failure_at_once_and_what_the_server_asked_for() {
        use super::super::error::Kind;
        let mut tries = Tries::new(Deadline::Try(Duration::from_secs(9)), "it".into());
        for (pause, asked) in [
            (Pause::Jitter, None),
            (Pause::Throttled(None), None),
            (Pause::Throttled(Some(Duration::from_secs(7))), Some(7)),
            (Pause::Throttled(Some(Duration::from_secs(9000))), Some(9000)),
        ] {
            let verdict = Verdict::Retry(pause, Patience::Budget, error(Kind::RateLimited));
            let told = tries.pause(verdict).await.unwrap_err();
            assert_eq!(told.retry_after, asked.map(Duration::from_secs));
        }
        assert!(tries.out_of_time().message.contains("no answer within 9s"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_window_that_is_told_from_now_lasts_as_long_as_it_says() {
        let begun = Instant::now();
        let window = Duration::from_secs(5);
        let mut tries = Tries::new(Deadline::start(Duration::from_secs(60)), "it".into());
        while let Some(left) = window.checked_sub(begun.elapsed())
            && tries
                .pause(Verdict::Retry(
                    Pause::Short,
                    Patience::More(left),
                    error(super::super::error::Kind::Denied),
                ))
                .await
                .is_ok()
        {}
        assert!(
            (4.0..=5.0).contains(&begun.elapsed().as_secs_f64()),
            "{:?}",
            begun.elapsed()
        );
    }
}
