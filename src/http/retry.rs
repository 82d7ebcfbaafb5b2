//! Retries: back-off with full jitter, the server's `Retry-After`, and one time budget for all retries of a run. Whether an
//! error is worth a retry is for the caller to decide.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::telemetry::LogThrottle;

const BASE: Duration = Duration::from_millis(500);
const CAP: Duration = Duration::from_secs(15);
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
/// The longest `Retry-After` that is honoured.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(60);
/// The log has at most one line about retries of a request in this time.
const LOG_INTERVAL: Duration = Duration::from_secs(10);
/// The time that the last try of a budget gets.
const LAST_TRY: Duration = Duration::from_millis(100);

/// How long to try.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Deadline {
    /// All requests of a run, with their retries, share one budget: when the budget began, and how long it lasts.
    Run(Instant, Duration),
    /// Each request has this time, and there is no retry: the caller has a schedule.
    Try(Duration),
}

impl Deadline {
    /// The deadline of a run that begins now.
    pub(crate) fn start(budget: Duration) -> Self {
        Self::Run(Instant::now(), budget)
    }

    /// Logs what a failed request left behind: as a warning, or for debugging only where the caller has a schedule. Such a caller
    /// tries for ever, and logs its failures at its own rate.
    pub(crate) fn warn(&self, message: std::fmt::Arguments<'_>) {
        match self {
            Self::Run(..) => tracing::warn!("{message}"),
            Self::Try(_) => tracing::debug!("{message}"),
        }
    }

    /// The end of a request that begins now.
    pub(crate) fn end(&self) -> Instant {
        match self {
            Self::Run(started, budget) => *started + *budget,
            Self::Try(limit) => Instant::now() + *limit,
        }
    }
}

/// What to do about a failed try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RetryDecision<E> {
    /// No retry.
    GiveUp(E),
    /// Try again after the pause, within the window; then give up.
    Retry(Pause, RetryWindow, E),
}

/// How long to wait before the next try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pause {
    /// Exponential back-off with full jitter.
    Jitter,
    /// 50 ms to 1 s: the server will be ready in a moment.
    Short,
    /// At least a second and the server's `Retry-After`, and growing.
    Throttled(Option<Duration>),
    /// This long.
    Fixed(Duration),
}

/// How long to go on trying. Never longer than the budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RetryWindow {
    /// Until the budget ends.
    Budget,
    /// Until a quarter of the budget is used.
    QuarterBudget,
    /// This long after the first failure of this kind.
    SinceFirst(Duration),
    /// This long from now.
    FromNow(Duration),
    /// One retry.
    Once,
}

/// An error that can be retried.
pub(crate) trait RetryError: Clone {
    /// Whether both errors have the same cause. [`RetryWindow::SinceFirst`] and [`RetryWindow::Once`] begin again with each new
    /// cause.
    fn is_same_kind(&self, other: &Self) -> bool;
    /// What happened, for the log.
    fn message(&self) -> &str;
    /// Adds the wait that the server asked for.
    fn with_retry_after(self, wait: Option<Duration>) -> Self;
    /// The error of a request that had no answer in time.
    fn no_answer(message: String, hint: &str) -> Self;
}

/// The tries of one request.
pub(crate) struct Tries<E> {
    deadline: Deadline,
    /// The request, as the beginning of a message.
    request: String,
    failed: u32,
    streak: Option<Streak<E>>,
    throttle: LogThrottle<Instant>,
}

/// Failures of the same kind in a row.
struct Streak<E> {
    last: E,
    since: Instant,
    count: u32,
}

impl<E: RetryError> Tries<E> {
    pub(crate) fn new(deadline: Deadline, request: String) -> Self {
        Self {
            deadline,
            request,
            failed: 0,
            streak: None,
            throttle: LogThrottle::new(LOG_INTERVAL),
        }
    }

    /// Waits before the next try. The error is the end of the tries.
    pub(crate) async fn pause(&mut self, decision: RetryDecision<E>) -> Result<(), E> {
        let (pause, window, error) = match decision {
            RetryDecision::GiveUp(error) => return Err(error),
            RetryDecision::Retry(pause, window, error) => (pause, window, error),
        };
        let (started, budget) = match self.deadline {
            Deadline::Run(started, budget) => (started, budget),
            Deadline::Try(_) => {
                return Err(match pause {
                    Pause::Throttled(wait) => error.with_retry_after(wait),
                    _ => error,
                });
            }
        };
        let now = Instant::now();
        let (since, count) = match self.streak.take() {
            Some(streak) if streak.last.is_same_kind(&error) => (streak.since, streak.count + 1),
            _ => (now, 1),
        };
        let end = match window {
            RetryWindow::Budget => self.deadline.end(),
            RetryWindow::QuarterBudget => started + budget / 4,
            RetryWindow::SinceFirst(length) => since + length,
            RetryWindow::FromNow(length) => now + length,
            RetryWindow::Once if count == 1 => self.deadline.end(),
            RetryWindow::Once => now,
        }
        .min(self.deadline.end());
        let left = end.saturating_duration_since(now);
        let Some(wait) = fit(wait_for(pause, self.failed, fastrand::f64()), left, pause) else {
            return Err(error);
        };
        self.failed += 1;
        self.log_retry(now, wait, &error);
        self.streak = Some(Streak {
            last: error,
            since,
            count,
        });
        sleep(wait).await;
        Ok(())
    }

    fn log_retry(&mut self, now: Instant, wait: Duration, error: &E) {
        if self.throttle.allows(now) {
            tracing::warn!(
                attempt = self.failed,
                next_in_ms = wait.as_millis() as u64,
                reason = error.message(),
                "{} failed, trying again",
                self.request
            );
        }
    }

    /// The error to report when the budget ends during a request: the last one, or that there was no answer.
    pub(crate) fn out_of_time(&self) -> E {
        if let Some(streak) = &self.streak {
            return streak.last.clone();
        }
        let limit = match self.deadline {
            Deadline::Run(_, budget) => format!("the budget of {}", humantime::format_duration(budget)),
            Deadline::Try(limit) => humantime::format_duration(limit).to_string(),
        };
        E::no_answer(
            format!("{} had no answer within {limit}", self.request),
            "is the server overloaded, or does something in between swallow the traffic?",
        )
    }
}

/// How long a pause is after `failed` failed tries; `random` is from 0 to 1.
fn wait_for(pause: Pause, failed: u32, random: f64) -> Duration {
    let growing = |base: Duration, cap: Duration| base.saturating_mul(1 << failed.min(16)).min(cap);
    match pause {
        Pause::Jitter => growing(BASE, CAP).mul_f64(random).max(SHORTEST_PAUSE),
        Pause::Short => growing(Duration::from_millis(50), Duration::from_secs(1)).mul_f64(0.5 + random / 2.0),
        Pause::Throttled(asked) => {
            let least = asked
                .unwrap_or_default()
                .clamp(Duration::from_secs(1), LONGEST_RETRY_AFTER);
            least + growing(BASE, CAP).mul_f64(random)
        }
        Pause::Fixed(wait) => wait,
    }
}

/// The wait cut to the time left, so that the last try comes at the end of that time. None where there is no time for another
/// try, or where the server's `Retry-After` is longer than the time left.
fn fit(wait: Duration, left: Duration, pause: Pause) -> Option<Duration> {
    match pause {
        _ if left < 2 * LAST_TRY => None,
        Pause::Throttled(Some(asked)) if asked.min(LONGEST_RETRY_AFTER) > left => None,
        _ => Some(wait.min(left - LAST_TRY)),
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

    /// An error of a kind that is a number.
    #[derive(Debug, Clone)]
    struct TestError {
        kind: u8,
        message: String,
        retry_after: Option<Duration>,
    }

    fn error(kind: u8) -> TestError {
        TestError {
            kind,
            message: "x".into(),
            retry_after: None,
        }
    }

    impl RetryError for TestError {
        fn is_same_kind(&self, other: &Self) -> bool {
            self.kind == other.kind
        }

        fn message(&self) -> &str {
            &self.message
        }

        fn with_retry_after(self, retry_after: Option<Duration>) -> Self {
            Self { retry_after, ..self }
        }

        fn no_answer(message: String, _: &str) -> Self {
            Self { message, ..error(0) }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn retries_end_with_their_window_and_never_outlast_the_budget() {
        for (window, budget, tries, lasts) in [
            (RetryWindow::Budget, 20, 3.., 19.0..=20.0),
            (RetryWindow::QuarterBudget, 20, 2.., 4.0..=5.0),
            (RetryWindow::SinceFirst(Duration::from_secs(8)), 20, 2.., 7.0..=8.0),
            (RetryWindow::SinceFirst(Duration::from_secs(800)), 20, 2.., 19.0..=20.0),
            (RetryWindow::Once, 20, 2.., 0.0..=1.0),
        ] {
            let begun = Instant::now();
            let mut all = Tries::<TestError>::new(Deadline::start(Duration::from_secs(budget)), "it".into());
            let mut count = 1;
            while all
                .pause(RetryDecision::Retry(Pause::Jitter, window, error(1)))
                .await
                .is_ok()
            {
                count += 1;
            }
            let took = begun.elapsed().as_secs_f64();
            assert!(tries.contains(&count), "{window:?}: {count} tries");
            assert!(lasts.contains(&took), "{window:?}: {took} s");
            if window == RetryWindow::Once {
                assert_eq!(count, 2);
            }
        }
    }

    #[tokio::test]
    async fn a_caller_with_a_schedule_gets_each_failure_at_once_with_its_retry_after() {
        let mut tries = Tries::<TestError>::new(Deadline::Try(Duration::from_secs(9)), "it".into());
        for (pause, asked) in [
            (Pause::Jitter, None),
            (Pause::Throttled(None), None),
            (Pause::Throttled(Some(Duration::from_secs(7))), Some(7)),
            (Pause::Throttled(Some(Duration::from_secs(9000))), Some(9000)),
        ] {
            let decision = RetryDecision::Retry(pause, RetryWindow::Budget, error(1));
            let error = tries.pause(decision).await.unwrap_err();
            assert_eq!(error.retry_after, asked.map(Duration::from_secs));
        }
        assert!(tries.out_of_time().message.contains("no answer within 9s"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_window_from_now_lasts_as_long_as_it_says() {
        let begun = Instant::now();
        let window = Duration::from_secs(5);
        let mut tries = Tries::<TestError>::new(Deadline::start(Duration::from_secs(60)), "it".into());
        while let Some(left) = window.checked_sub(begun.elapsed())
            && tries
                .pause(RetryDecision::Retry(Pause::Short, RetryWindow::FromNow(left), error(1)))
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
