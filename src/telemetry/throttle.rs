//! The rule for log lines about events that repeat: one line in each interval.

use std::ops::Sub;
use std::time::Duration;

/// Lets one log line through in each interval. `T` is a moment of any clock that never goes back: an `Instant`, or a
/// `Duration` since a fixed moment.
#[derive(Debug)]
pub(crate) struct LogThrottle<T> {
    interval: Duration,
    logged: Option<T>,
}

impl<T: Copy + Sub<Output = Duration>> LogThrottle<T> {
    pub(crate) const fn new(interval: Duration) -> Self {
        Self { interval, logged: None }
    }

    /// Whether to log now. `true` starts a new interval.
    pub(crate) fn allows(&mut self, now: T) -> bool {
        let allowed = self.logged.is_none_or(|logged| now - logged >= self.interval);
        if allowed {
            self.logged = Some(now);
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_in_each_interval_passes() {
        let mut throttle = LogThrottle::new(Duration::from_secs(10));
        let passed = [0, 1, 9, 10, 15, 19, 20, 100].map(|second| throttle.allows(Duration::from_secs(second)));
        assert_eq!(passed, [true, false, false, true, false, false, true, true]);
    }
}
