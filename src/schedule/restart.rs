//! When a change restarts the pod's containers (`on-change: restart`). Pure; the times are those of [`super::Schedule`].

use std::time::Duration;

/// The shortest time between two restarts, whatever the interval is.
const LEAST_PAUSE: Duration = Duration::from_secs(60);
/// The time between two restarts, in intervals.
const PAUSE_INTERVALS: u32 = 4;

/// The restarts of one pod: a secret that changes again and again must not restart the containers again and again. A change during the
/// pause waits for its end, with all other changes of the pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Restarts {
    pause: Duration,
    /// When the containers were last restarted because of a change. None: never.
    last: Option<Duration>,
    /// The containers have not seen a change yet.
    pending: bool,
}

impl Restarts {
    /// `last` and `pending` are what an earlier process has noted. A `last` in the future, which no clock of this machine has shown,
    /// counts as now: a pause too many is better than a loop.
    pub(crate) fn new(now: Duration, interval: Duration, last: Option<Duration>, pending: bool) -> Self {
        Self {
            pause: interval.saturating_mul(PAUSE_INTERVALS).max(LEAST_PAUSE),
            last: last.map(|last| last.min(now)),
            pending,
        }
    }

    /// When the containers were last restarted.
    pub(crate) fn last(&self) -> Option<Duration> {
        self.last
    }

    /// The time between two restarts.
    pub(crate) fn pause(&self) -> Duration {
        self.pause
    }

    /// Notes a change of what the containers have. Returns whether the change is the first since the last restart.
    pub(crate) fn changed(&mut self) -> bool {
        !std::mem::replace(&mut self.pending, true)
    }

    /// Notes that the containers restart now.
    pub(crate) fn restarted(&mut self, now: Duration) {
        self.last = Some(now);
        self.pending = false;
    }

    /// When the containers are to be restarted. None: there is no reason.
    pub(crate) fn due(&self) -> Option<Duration> {
        self.pending
            .then(|| self.last.map_or(Duration::ZERO, |last| last.saturating_add(self.pause)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_first_change_restarts_at_once_and_later_changes_wait_for_the_pause() {
        for (interval, pause) in [(5, 60), (15, 60), (30, 120), (86400, 4 * 86400)] {
            let mut restarts = Restarts::new(seconds(1000), seconds(interval), None, false);
            assert_eq!(restarts.due(), None);
            assert!(restarts.changed());
            assert!(restarts.due().unwrap() <= seconds(1000), "at once");
            restarts.restarted(seconds(1001));
            assert_eq!(restarts.due(), None);
            assert!(restarts.changed() && !restarts.changed());
            assert_eq!(restarts.due(), Some(seconds(1001 + pause)));
        }
    }

    #[test]
    fn the_next_process_knows_the_last_restart_and_the_change_that_waits() {
        let known = Restarts::new(seconds(1000), seconds(5), Some(seconds(990)), true);
        assert_eq!(known.due(), Some(seconds(1050)));
        let done = Restarts::new(seconds(1000), seconds(5), Some(seconds(990)), false);
        assert_eq!(done.due(), None);
    }

    #[test]
    fn a_last_restart_in_the_future_delays_the_next_by_one_pause_and_no_more() {
        let restarts = Restarts::new(seconds(10), seconds(5), Some(seconds(1_000_000)), true);
        assert_eq!(restarts.due(), Some(seconds(70)));
        let far = Restarts::new(seconds(10), Duration::MAX, Some(Duration::MAX), true);
        assert_eq!(far.due(), Some(Duration::MAX));
    }

    proptest! {
        /// However often secrets change, and however often the sidecar is killed, there is at most one restart in a pause, and no
        /// change stays unseen.
        #[test]
        fn no_change_is_lost_and_there_is_one_restart_in_a_pause(
            interval in 5u64..100,
            steps in prop::collection::vec((0u64..50, any::<bool>(), any::<bool>()), 1..200),
        ) {
            let (mut now, interval) = (seconds(1000), seconds(interval));
            let mut restarts = Restarts::new(now, interval, None, false);
            let pause = restarts.pause();
            let (mut done, mut unseen) = (Vec::new(), false);
            for (wait, changes, killed) in steps {
                now += seconds(wait);
                if changes {
                    restarts.changed();
                    unseen = true;
                }
                if killed {
                    restarts = Restarts::new(now, interval, restarts.last(), restarts.due().is_some());
                }
                prop_assert_eq!(restarts.due().is_some(), unseen);
                if restarts.due().is_some_and(|due| due <= now) {
                    restarts.restarted(now);
                    done.push(now);
                    unseen = false;
                }
            }
            prop_assert!(done.windows(2).all(|two| two[1] - two[0] >= pause), "{:?}", done);
        }
    }
}
