//! The schedule's rules, one by one.

mod quota;
mod simulation;
mod spread;
mod storm;
mod tokens;

use super::*;

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const START: Duration = Duration::from_secs(1000);
const HOUR: Duration = Duration::from_secs(3600);
const FIRST: SecretIndex = SecretIndex(0);
const STATIC: Lifetime = Lifetime::Static;

fn lease(ttl: u64, renewable: bool) -> Lifetime {
    Lifetime::Lease {
        ttl: secs(ttl),
        renewable,
    }
}

fn grant(ttl: u64, renewable: bool) -> Grant {
    Grant {
        ttl: secs(ttl),
        renewable,
        uses: 0,
        proof: None,
    }
}

/// A schedule and the time. Every answer takes no time.
struct ScheduleCase {
    schedule: Schedule,
    now: Duration,
}

/// A case with a token that never ends.
fn case(interval: u64, held: &[Lifetime]) -> ScheduleCase {
    with_token(interval, grant(0, false), held)
}

fn with_token(interval: u64, token: Grant, held: &[Lifetime]) -> ScheduleCase {
    let age = Duration::ZERO;
    let held: Vec<_> = held
        .iter()
        .map(|answer| Some(Obtained { answer: *answer, age }))
        .collect();
    let token = Obtained { answer: token, age };
    ScheduleCase {
        schedule: Schedule::new(START, 7, secs(interval), Some(token), &held),
        now: START,
    }
}

impl ScheduleCase {
    /// Sleeps until the next work.
    fn work(&mut self) -> Work {
        if let Some(work) = self.schedule.due(self.now) {
            return work;
        }
        let wake = self.schedule.wake();
        assert!(wake > self.now, "sleeps not at all");
        self.now = wake;
        self.schedule.due(wake).expect("woken for nothing")
    }

    fn since_start(&self) -> f64 {
        (self.now - START).as_secs_f64()
    }

    fn read(&mut self, result: Result<Lifetime, WorkFailure>) {
        self.schedule.read(self.now, &[(FIRST, result)]);
    }

    /// Does the next work, which must be a read that needs a permit. Returns its time, in seconds since the start.
    fn reads(&mut self, result: Result<Lifetime, WorkFailure>) -> f64 {
        let work = self.work();
        let Work::ReadLeased(source, permit) = work else {
            panic!("{:?}: {work:?}", self.now)
        };
        assert_eq!(source, FIRST);
        if result.is_err() && result != Err(WorkFailure::Failed) {
            self.schedule.return_permit(permit);
        }
        self.read(result);
        self.since_start()
    }

    fn renews(&mut self, result: Result<Lifetime, WorkFailure>) -> f64 {
        let work = self.work();
        assert!(matches!(work, Work::RenewLease(FIRST)), "{:?}: {work:?}", self.now);
        self.schedule.lease_renewed(self.now, FIRST, result);
        self.since_start()
    }

    fn reads_static(&mut self, result: Result<Lifetime, WorkFailure>) -> f64 {
        let work = self.work();
        let Work::Read(sources) = work else {
            panic!("{:?}: {work:?}", self.now)
        };
        let results: Vec<_> = sources.iter().map(|source| (*source, result)).collect();
        self.schedule.read(self.now, &results);
        self.since_start()
    }

    /// Reads as the sidecar does: after an unavailable server or a 429, no further secret is requested.
    fn reads_until_one_fails(
        &mut self,
        sources: &[SecretIndex],
        mut ask: impl FnMut(SecretIndex) -> Result<Lifetime, WorkFailure>,
    ) {
        let mut results = Vec::new();
        for source in sources {
            let result = ask(*source);
            results.push((*source, result));
            if matches!(result, Err(WorkFailure::Unavailable | WorkFailure::Throttled(_))) {
                break;
            }
        }
        self.schedule.read(self.now, &results);
        self.schedule.not_requested(&sources[results.len()..]);
    }

    fn logs_in(&mut self, result: Result<Grant, WorkFailure>) -> f64 {
        let work = self.work();
        assert!(matches!(work, Work::Login(_)), "{:?}: {work:?}", self.now);
        self.schedule.logged_in(self.now, result);
        self.since_start()
    }

    fn renews_token(&mut self, result: Result<Grant, WorkFailure>) -> f64 {
        let work = self.work();
        assert!(matches!(work, Work::RenewToken), "{:?}: {work:?}", self.now);
        self.schedule.token_renewed(self.now, result);
        self.since_start()
    }

    fn state(&self) -> SecretFreshness {
        self.schedule.freshness(FIRST, self.now)
    }
}

#[track_caller]
fn about(found: f64, from: f64, to: f64) {
    assert!((from..=to).contains(&found), "{found} is not from {from} to {to}");
}

#[test]
fn static_secrets_are_read_together_and_always_within_the_interval() {
    let mut case = case(100, &[STATIC, STATIC, STATIC]);
    let mut last = case.reads_static(Ok(STATIC));
    about(last, 1.0, 100.0);
    let mut pauses = Vec::new();
    for _ in 0..1000 {
        let work = case.work();
        assert!(matches!(&work, Work::Read(sources) if sources.len() == 3), "{work:?}");
        case.schedule
            .read(case.now, &[0, 1, 2].map(|index| (SecretIndex(index), Ok(STATIC))));
        pauses.push(case.since_start() - last);
        last = case.since_start();
    }
    let (least, most) = (
        pauses.iter().copied().fold(f64::MAX, f64::min),
        pauses.iter().copied().fold(0.0, f64::max),
    );
    about(least, 90.0, 91.0);
    about(most, 98.5, 99.0);
}

#[test]
fn pods_that_start_together_read_at_different_times() {
    let first: Vec<_> = (0..100)
        .map(|seed| {
            let token = Obtained {
                answer: grant(0, false),
                age: Duration::ZERO,
            };
            let held = [Some(Obtained {
                answer: STATIC,
                age: Duration::ZERO,
            })];
            Schedule::new(START, seed, secs(100), Some(token), &held).wake() - START
        })
        .collect();
    for tenth in 1..10 {
        let before = first.iter().filter(|first| **first < secs(10 * tenth)).count() as u64;
        about(before as f64, (10 * tenth) as f64 - 15.0, (10 * tenth) as f64 + 15.0);
    }
}

#[test]
fn a_secret_whose_read_failed_is_read_again_alone_and_then_with_the_others() {
    let mut case = case(100, &[STATIC, STATIC]);
    let Work::Read(sources) = case.work() else { panic!() };
    assert_eq!(sources, [SecretIndex(0), SecretIndex(1)]);
    let round = [(SecretIndex(0), Err(WorkFailure::Failed)), (SecretIndex(1), Ok(STATIC))];
    case.schedule.read(case.now, &round);
    assert_eq!(case.state(), SecretFreshness::Stale);
    let failed = case.since_start();
    let Work::Read(sources) = case.work() else { panic!() };
    assert_eq!(sources, [SecretIndex(0)]);
    about(case.since_start() - failed, 5.0, 10.0);
    case.read(Ok(STATIC));
    assert_eq!(case.state(), SecretFreshness::Fresh);
    let Work::Read(sources) = case.work() else { panic!() };
    assert_eq!(
        sources,
        [SecretIndex(1), SecretIndex(0)],
        "who was asked for last is behind"
    );
}

#[test]
fn a_secret_that_always_fails_does_not_stop_the_reads_of_other_secrets() {
    for (failure, least) in [
        (WorkFailure::Unavailable, 3600.0 / 16.5),
        (WorkFailure::Failed, 3600.0 / 16.5),
        // A 429 is a pause for all secrets.
        (WorkFailure::Throttled(None), 3600.0 / 310.0),
    ] {
        let mut case = case(15, &[STATIC, STATIC, STATIC]);
        let mut read = [0_u32; 3];
        while case.since_start() < 3600.0 {
            let Work::Read(sources) = case.work() else { panic!() };
            case.reads_until_one_fails(&sources, |source| match source {
                FIRST => Err(failure),
                SecretIndex(good) => {
                    read[good] += 1;
                    Ok(STATIC)
                }
            });
            assert_ne!(case.state(), SecretFreshness::Fresh);
        }
        for good in [1, 2] {
            about(f64::from(read[good]), least * 0.9, 3600.0 / 13.5);
        }
    }
}

#[test]
fn all_secrets_that_are_due_are_stale_while_the_server_is_unavailable_although_only_one_was_requested() {
    for failure in [WorkFailure::Unavailable, WorkFailure::Throttled(None)] {
        let mut case = case(15, &[STATIC, STATIC, STATIC]);
        let states = |case: &ScheduleCase| [0, 1, 2].map(|index| case.schedule.freshness(SecretIndex(index), case.now));
        for _ in 0..5 {
            let Work::Read(sources) = case.work() else { panic!() };
            case.reads_until_one_fails(&sources, |_| Err(failure));
            assert!(case.schedule.due(case.now).is_none());
            assert_eq!(states(&case), [SecretFreshness::Stale; 3]);
        }
        assert_eq!(case.schedule.next_try(FIRST), Some(case.schedule.wake()));
        case.reads_static(Ok(STATIC));
        let fresh = states(&case)
            .iter()
            .filter(|state| **state == SecretFreshness::Fresh)
            .count();
        // Under a quota, one request at a time.
        assert_eq!(fresh, if failure == WorkFailure::Unavailable { 3 } else { 1 });
    }
}

#[test]
fn no_secret_is_fresh_without_a_token_while_the_login_is_refused() {
    let mut case = with_token(15, grant(60, false), &[STATIC]);
    while case.since_start() < 120.0 {
        match case.work() {
            Work::Read(_) => case.read(Ok(STATIC)),
            Work::Login(_) => case.schedule.logged_in(case.now, Err(WorkFailure::Denied)),
            work => panic!("{work:?}"),
        }
    }
    assert!(case.schedule.due(case.now).is_none());
    assert_eq!(case.state(), SecretFreshness::Stale);
    assert_eq!(case.schedule.worsens(), None);
    assert_eq!(case.schedule.next_try(FIRST), Some(case.schedule.wake()));
    case.logs_in(Ok(grant(60, false)));
    case.reads_static(Ok(STATIC));
    assert_eq!(case.state(), SecretFreshness::Fresh);
}

#[test]
fn a_secret_that_gets_stale_or_expires_before_the_next_try_is_reported_in_time() {
    let mut case = with_token(1000, grant(10, false), &[STATIC, Lifetime::Ends { ttl: secs(2000) }]);
    let mut told = Vec::new();
    while told.len() < 2 {
        let worse = case.schedule.worsens().unwrap();
        if worse < case.schedule.wake() {
            case.now = worse;
            assert!(case.schedule.due(worse).is_none());
            told.push([0, 1].map(|index| case.schedule.freshness(SecretIndex(index), worse)));
        } else {
            case.logs_in(Err(WorkFailure::Denied));
        }
    }
    assert_eq!(
        told,
        [
            [SecretFreshness::Stale, SecretFreshness::Fresh],
            [SecretFreshness::Stale, SecretFreshness::Expired]
        ]
    );
    assert_eq!(case.schedule.worsens(), None);
}

#[test]
fn a_secret_that_waits_for_a_token_is_stale_while_the_server_is_unavailable() {
    let mut case = with_token(15, grant(60, true), &[STATIC]);
    while case.since_start() < 59.0 {
        match case.work() {
            Work::Read(_) => case.read(Ok(STATIC)),
            Work::RenewToken => case.schedule.token_renewed(case.now, Err(WorkFailure::Unavailable)),
            Work::Login(_) => case.schedule.logged_in(case.now, Err(WorkFailure::Unavailable)),
            work => panic!("{work:?}"),
        }
    }
    assert!(case.schedule.due(case.now).is_none());
    assert_eq!(case.state(), SecretFreshness::Stale);
}

#[test]
fn a_lease_is_renewed_at_about_two_thirds_for_ever() {
    let mut case = case(86400, &[lease(1000, true)]);
    let mut last = 0.0;
    for _ in 0..50 {
        let now = case.renews(Ok(lease(1000, true)));
        about(now - last, 600.0, 650.0);
        last = now;
    }
}

#[test]
fn a_lease_that_cannot_be_renewed_further_is_read_again() {
    // The answer to the renewal, and how much later the secret is read. 350 to 400 seconds of the old term are left.
    for (answer, from, to) in [
        (lease(300, true), 180.0, 195.0),
        (lease(1000, false), 600.0, 650.0),
        (lease(0, true), 210.0, 260.0),
        (STATIC, 210.0, 260.0),
        (lease(1, true), 1.0, 1.0),
    ] {
        let mut case = case(86400, &[lease(1000, true)]);
        let renewed = case.renews(Ok(answer));
        about(renewed, 600.0, 650.0);
        let read = case.reads(Ok(lease(1000, true)));
        about(read - renewed, from, to);
        about(case.renews(Ok(lease(1000, true))) - read, 600.0, 650.0);
    }
    let mut case = case(86400, &[lease(1000, false)]);
    about(case.reads(Ok(lease(1000, false))), 600.0, 650.0);
}

#[test]
fn absurd_durations_are_clamped() {
    for ttl in [u64::MAX, u64::MAX / 2] {
        let mut case = with_token(ttl, grant(ttl, true), &[lease(ttl, true), STATIC]);
        let wake = case.schedule.wake();
        about((wake - START).as_secs_f64(), 1.0, LONGEST.as_secs_f64());
        case.now = wake;
        assert!(case.schedule.due(wake).is_some());
    }
    let mut case = with_token(86400, grant(1000, true), &[lease(1000, true)]);
    for _ in 0..2 {
        match case.work() {
            Work::RenewLease(source) => {
                case.schedule.lease_renewed(case.now, source, Ok(lease(u64::MAX, true)));
            }
            Work::RenewToken => case.schedule.token_renewed(case.now, Ok(grant(u64::MAX, true))),
            work => panic!("{work:?}"),
        }
    }
    about((case.schedule.wake() - START).as_secs_f64(), 1e8, 1e9);
}

#[test]
fn renewals_that_always_fail_cost_one_credential_for_each_ttl() {
    let mut case = case(86400, &[lease(60, true)]);
    let (mut reads, mut renewals, mut last) = (0, 0, None);
    while case.since_start() < 600.0 {
        match case.work() {
            Work::RenewLease(_) => {
                assert!(last.is_none_or(|last| case.now >= last + LEAST));
                last = Some(case.now);
                renewals += 1;
                case.schedule.lease_renewed(case.now, FIRST, Err(WorkFailure::Failed));
            }
            Work::ReadLeased(_, _permit) => {
                reads += 1;
                case.read(Ok(lease(60, true)));
            }
            work => panic!("{work:?}"),
        }
        assert_ne!(case.state(), SecretFreshness::Expired);
    }
    assert!((10..=12).contains(&reads), "{reads} reads");
    assert!(renewals <= 10 * reads, "{renewals} renewals");
}

#[test]
fn tries_become_more_frequent_near_the_end() {
    for failure in [WorkFailure::Failed, WorkFailure::Unavailable] {
        let mut case = case(86400, &[lease(1000, true)]);
        let (mut last, mut tries) = (600.0, 0);
        while case.since_start() < 995.0 {
            match case.work() {
                Work::RenewLease(_) => case.schedule.lease_renewed(case.now, FIRST, Err(failure)),
                Work::ReadLeased(_, permit) => {
                    case.schedule.return_permit(permit);
                    case.read(Err(failure));
                }
                work => panic!("{work:?}"),
            }
            let now = case.since_start();
            about(now - last, 0.0, (1000.0 - last) / 4.0 + 1.0);
            (last, tries) = (now, tries + 1);
        }
        assert!((12..60).contains(&tries), "{tries} tries");
    }
}

#[test]
fn a_token_whose_replacement_fails_is_renewed_as_before() {
    let mut case = with_token(15, grant(1000, true), &[STATIC, lease(9000, true)]);
    let mut renewed = 0;
    while case.since_start() < 5000.0 {
        match case.work() {
            Work::Read(_) => case.read(Err(WorkFailure::Denied)),
            Work::Login(_) => case.schedule.logged_in(case.now, Err(WorkFailure::Denied)),
            Work::RenewToken => {
                renewed += 1;
                case.schedule.token_renewed(case.now, Ok(grant(1000, true)));
            }
            work => panic!("{work:?}"),
        }
        assert_eq!(
            case.schedule.freshness(SecretIndex(1), case.now),
            SecretFreshness::Fresh
        );
    }
    assert!((7..9).contains(&renewed), "{renewed} renewals");
}

#[test]
fn the_limiter_still_counts_when_every_request_fails() {
    let mut case = case(86400, &[lease(60, true)]);
    let mut reads = 0;
    while case.since_start() < 600.0 {
        match case.work() {
            Work::RenewLease(_) => case.schedule.lease_renewed(case.now, FIRST, Err(WorkFailure::Failed)),
            Work::ReadLeased(_, _permit) => {
                reads += 1;
                case.read(Err(WorkFailure::Failed));
            }
            work => panic!("{work:?}"),
        }
    }
    assert!((3..=20).contains(&reads), "{reads} reads");
    assert_eq!(case.state(), SecretFreshness::Expired);
}

#[test]
fn a_secret_whose_lease_is_gone_is_read_again_once() {
    for failure in [WorkFailure::Gone, WorkFailure::Denied] {
        let mut case = case(86400, &[lease(1000, true)]);
        let renewed = case.renews(Err(failure));
        assert_eq!(case.state() == SecretFreshness::Expired, failure == WorkFailure::Gone);
        assert_eq!(case.reads(Ok(lease(1000, true))), renewed);
        about(case.renews(Ok(lease(1000, true))) - renewed, 600.0, 650.0);
    }
    // A credential that is younger than 30 seconds: the read waits for the limiter.
    let mut case = case(86400, &[lease(40, true)]);
    let renewed = case.renews(Err(WorkFailure::Gone));
    about(renewed, 24.0, 26.0);
    assert_eq!(case.reads(Ok(lease(40, true))), 30.0);
}

#[test]
fn a_certificate_is_replaced_before_it_expires() {
    let certificate = Lifetime::Ends { ttl: 24 * HOUR };
    let mut case = case(86400, &[certificate]);
    let day = 86400.0;
    let first = case.reads(Err(WorkFailure::Failed));
    about(first, 0.60 * day, 0.65 * day);
    // A failed try may have made a certificate: the next try is a third of the TTL later, and still before the end.
    let second = case.reads(Ok(certificate));
    about(second - first, day / 3.0, day / 3.0 + 1.0);
    about(second, 0.0, day);
    assert_eq!(case.state(), SecretFreshness::Fresh);
}

#[test]
fn a_write_without_a_known_end_is_repeated_each_interval_but_not_within_30_seconds() {
    for (interval, least, most) in [(5, 30.0, 36.0), (100, 90.0, 99.0)] {
        let mut case = case(interval, &[Lifetime::Unknown]);
        let mut last = case.reads(Ok(Lifetime::Unknown));
        about(last, 30.0, 30.0 + interval as f64);
        for _ in 0..20 {
            let now = case.reads(Ok(Lifetime::Unknown));
            about(now - last, least, most);
            last = now;
        }
    }
}

#[test]
fn a_secret_that_did_not_exist_needs_a_permit_until_it_is_known_to_be_static() {
    let mut case = case(5, &[Lifetime::Unknown]);
    let mut last = case.reads(Err(WorkFailure::Gone));
    about(last, 30.0, 35.0);
    // A refused request made no credential: the secret is requested in each interval.
    for _ in 0..3 {
        let now = case.reads(Err(WorkFailure::Gone));
        about(now - last, 4.5, 5.0);
        last = now;
    }
    // A request whose answer was lost may have made a credential.
    let lost = case.reads(Err(WorkFailure::Failed));
    let found = case.reads(Ok(STATIC));
    about(found - lost, 30.0, 36.0);
    let plain = case.reads_static(Ok(STATIC));
    about(plain - found, 1.0, 5.0);
    about(case.reads_static(Ok(STATIC)) - plain, 4.5, 5.0);
}

#[test]
fn a_secret_that_once_had_a_lease_always_needs_a_permit() {
    let mut case = case(5, &[STATIC]);
    let first = case.reads_static(Ok(lease(60, false)));
    let second = case.reads(Ok(STATIC));
    about(second - first, 36.0, 39.0);
    about(case.reads(Ok(STATIC)) - second, 30.0, 36.0);
}

/// A token with a TTL of 20 seconds ends while the server is unavailable for 25 seconds.
#[test]
fn frequent_tries_near_an_end_do_not_make_later_pauses_longer() {
    let mut case = with_token(5, grant(20, true), &[STATIC]);
    let mut tries = 0;
    while case.since_start() < 25.0 {
        tries += 1;
        match case.work() {
            Work::Login(_) => case.schedule.logged_in(case.now, Err(WorkFailure::Unavailable)),
            Work::RenewToken => case.schedule.token_renewed(case.now, Err(WorkFailure::Unavailable)),
            Work::Read(sources) => case
                .schedule
                .read(case.now, &[(sources[0], Err(WorkFailure::Unavailable))]),
            work => panic!("{work:?}"),
        }
    }
    assert!(tries > 5, "{tries}");
    let wait = case.schedule.wake().saturating_sub(case.now).as_secs();
    assert!(wait <= 40, "{wait} s after {tries} tries");
}

#[test]
fn an_unavailable_server_gets_a_request_every_five_minutes() {
    let mut case = with_token(15, grant(3600, true), &[lease(3600, true), STATIC]);
    let mut asked = Vec::new();
    while case.since_start() < 86400.0 {
        asked.push(case.since_start());
        match case.work() {
            Work::Login(_) => case.schedule.logged_in(case.now, Err(WorkFailure::Unavailable)),
            Work::RenewToken => case.schedule.token_renewed(case.now, Err(WorkFailure::Unavailable)),
            Work::RenewLease(_) => case
                .schedule
                .lease_renewed(case.now, FIRST, Err(WorkFailure::Unavailable)),
            Work::ReadLeased(_, permit) => {
                case.schedule.return_permit(permit);
                case.read(Err(WorkFailure::Unavailable));
            }
            Work::Read(sources) => case
                .schedule
                .read(case.now, &[(sources[0], Err(WorkFailure::Unavailable))]),
            work @ (Work::Revoke(_) | Work::LoginIfNewer(_)) => panic!("{work:?}"),
        }
    }
    about(asked.len() as f64, 86400.0 / 300.0, 86400.0 / 225.0 + 60.0);
    let pauses: Vec<_> = asked.windows(2).map(|pair| pair[1] - pair[0]).collect();
    about(pauses[1], 4.9, 10.0);
    about(pauses[2], 9.9, 20.0);
    assert!(pauses.iter().skip(1).all(|pause| (0.9..=300.1).contains(pause)));
    assert_eq!(case.state(), SecretFreshness::Expired);
    assert_eq!(
        case.schedule.freshness(SecretIndex(1), case.now),
        SecretFreshness::Stale
    );
    // The server is available again: all work is done at once, each piece once.
    let back = case.logs_in(Ok(grant(3600, true)));
    let mut works = 0;
    while case.schedule.wake() <= case.now || works == 0 {
        match case.schedule.due(case.now) {
            Some(Work::ReadLeased(_, _permit)) => case.read(Ok(lease(3600, true))),
            Some(Work::Read(sources)) => case.schedule.read(case.now, &[(sources[0], Ok(STATIC))]),
            other => panic!("{other:?}"),
        }
        works += 1;
    }
    assert_eq!((works, case.since_start()), (2, back));
    assert_eq!(case.state(), SecretFreshness::Fresh);
}

#[test]
fn after_a_suspend_of_hours_everything_is_done_once() {
    let mut case = with_token(15, grant(3600, true), &[lease(3600, true), STATIC]);
    case.reads_static(Ok(STATIC));
    case.now += 10 * HOUR;
    assert_eq!(case.state(), SecretFreshness::Expired);
    let back = case.logs_in(Ok(grant(3600, true)));
    let mut works = Vec::new();
    while let Some(work) = case.schedule.due(case.now) {
        match &work {
            Work::ReadLeased(..) => case.read(Ok(lease(3600, true))),
            Work::Read(_) => case.schedule.read(case.now, &[(SecretIndex(1), Ok(STATIC))]),
            _ => {}
        }
        works.push(work);
    }
    assert_eq!(works.len(), 2, "{works:?}");
    about(case.reads_static(Ok(STATIC)) - back, 13.5, 16.5);
}

#[test]
fn a_clock_that_goes_back_changes_nothing() {
    let mut case = case(100, &[STATIC]);
    case.reads_static(Ok(STATIC));
    let wake = case.schedule.wake();
    assert!(case.schedule.due(Duration::ZERO).is_none());
    assert_eq!(case.schedule.wake(), wake);
}

#[test]
fn a_denied_read_causes_one_login() {
    let mut case = case(15, &[STATIC, STATIC]);
    let denied = [(SecretIndex(0), Err(WorkFailure::Denied)), (SecretIndex(1), Ok(STATIC))];
    let Work::Read(_) = case.work() else { panic!() };
    case.schedule.read(case.now, &denied);
    assert_eq!(case.state(), SecretFreshness::Denied);
    let login = case.logs_in(Ok(grant(0, false)));
    let (mut reads, mut other) = (0, 0);
    let again = loop {
        match case.work() {
            Work::Login(_) => break case.since_start(),
            Work::Revoke(number) => case.schedule.revoked(case.now, number, Ok(())),
            Work::Read(sources) => {
                let results = sources.iter().map(|source| denied[source.0]);
                case.schedule.read(case.now, &results.collect::<Vec<_>>());
                reads += u32::from(sources.contains(&FIRST));
                other += u32::from(sources.contains(&SecretIndex(1)));
            }
            work => panic!("{work:?}"),
        }
    };
    about(again - login, 3600.0, 3900.0);
    about(f64::from(reads), 15.0, 25.0);
    about(f64::from(other), 3600.0 / 16.5, 3900.0 / 13.5);
}

#[test]
fn a_sidecar_that_was_killed_logs_in_and_reads_again_when_the_limiter_allows() {
    let held = |answer, age| Some(Obtained { answer, age: secs(age) });
    let held = [
        held(STATIC, 500),
        held(lease(3600, true), 500),
        held(Lifetime::Ends { ttl: secs(3600) }, 500),
        None,
    ];
    let mut case = ScheduleCase {
        schedule: Schedule::new(START, 7, secs(600), None, &held),
        now: START,
    };
    assert_eq!(case.schedule.next_try(FIRST), Some(START));
    assert_eq!(case.state(), SecretFreshness::Stale);
    assert_eq!(case.logs_in(Ok(grant(3600, true))), 0.0);
    assert_eq!(case.reads_static(Ok(STATIC)), 0.0);
    let mut read = Vec::new();
    while read.len() < 3 {
        match case.work() {
            Work::ReadLeased(source, _permit) => {
                read.push((source.0, case.since_start()));
                let lifetime = if source.0 == 3 { STATIC } else { lease(3600, true) };
                case.schedule.read(case.now, &[(source, Ok(lifetime))]);
            }
            Work::Read(sources) => {
                let results = sources.iter().map(|source| (*source, Ok(STATIC)));
                case.schedule.read(case.now, &results.collect::<Vec<_>>());
            }
            work => panic!("{work:?}"),
        }
    }
    let at = |index| read.iter().find(|(source, _)| *source == index).unwrap().1;
    assert_eq!(at(3), 30.0, "an unknown past counts as read just now");
    about(at(1), 700.0, 770.0);
    about(at(2), 3600.0 * 0.6 - 500.0, 3600.0 * 0.65 - 500.0);
}

#[test]
fn no_work_is_handed_out_twice_although_no_result_is_reported() {
    let mut case = with_token(15, grant(60, true), &[lease(60, true), STATIC]);
    for _ in 0..200 {
        let before = case.now;
        let mut works = 0;
        while case.schedule.due(case.now).is_some() {
            works += 1;
        }
        assert!(works <= 6);
        case.now = case.schedule.wake();
        assert!(case.now > before);
    }
}

#[test]
fn the_next_try_is_known_for_each_secret() {
    let mut case = case(15, &[STATIC, lease(1000, true)]);
    assert_eq!(case.schedule.next_try(FIRST), Some(case.schedule.wake()));
    about(
        (case.schedule.next_try(SecretIndex(1)).unwrap() - START).as_secs_f64(),
        600.0,
        650.0,
    );
    case.reads_static(Err(WorkFailure::Unavailable));
    assert_eq!(case.schedule.next_try(FIRST), Some(case.schedule.wake()));
    assert_eq!(case.schedule.next_try(SecretIndex(9)), None);
    assert_eq!(
        case.schedule.freshness(SecretIndex(9), case.now),
        SecretFreshness::Stale
    );
}

#[test]
fn the_work_that_waited_for_the_longest_time_is_next() {
    // Under a quota only one piece of work is done at a time: no secret may wait for ever.
    let mut case = case(100, &[lease(1000, true), STATIC]);
    case.now += secs(700);
    let Work::Read(sources) = case.work() else { panic!() };
    assert_eq!(sources, [SecretIndex(1)]);
    case.schedule.read(case.now, &[(SecretIndex(1), Ok(STATIC))]);
    case.renews(Ok(lease(1000, true)));
}

#[test]
fn the_ttl_of_a_lease_counts_from_its_request() {
    let mut case = case(86400, &[lease(1000, true)]);
    assert!(matches!(case.work(), Work::RenewLease(_)));
    let asked = case.since_start();
    case.now += secs(100);
    case.schedule.lease_renewed(case.now, FIRST, Ok(lease(1000, true)));
    about(case.renews(Ok(lease(1000, true))) - asked, 600.0, 650.0);
}
