//! The rules of the pace under a quota, one by one: what a 429 and an answer change.

use super::*;

#[test]
fn retry_after_is_honoured() {
    for (asked, from, to) in [
        (None, 15.0, 45.0),
        (Some(secs(0)), 15.0, 45.0),
        (Some(secs(40)), 55.0, 85.0),
        (Some(secs(u64::MAX)), 315.0, 345.0),
    ] {
        let mut case = case(15, &[STATIC]);
        let first = case.reads_static(Err(WorkFailure::Throttled(asked)));
        about(case.reads_static(Ok(STATIC)) - first, from, to);
    }
}

/// Regression: the time for a second try before the end was measured from the 429, and not from the end of the `Retry-After`.
#[test]
fn after_the_wait_that_the_server_asked_for_a_certificate_is_replaced_as_soon_as_its_end_wants() {
    let certificate = Lifetime::Ends { ttl: secs(600) };
    let mut case = case(3600, &[certificate]);
    let first = case.reads(Err(WorkFailure::Throttled(Some(secs(60)))));
    let second = case.reads(Err(WorkFailure::Throttled(Some(secs(60)))));
    about(second - first, 60.0, 61.0);
    about(case.reads(Ok(certificate)) - second, 60.0, 61.0);
}

#[test]
fn each_429_makes_the_pause_longer_and_each_answer_makes_it_shorter() {
    // The interval, the range of the pauses after one 429 and so on, and the range of the pauses after one answer and so on.
    for (interval, longer, shorter) in [
        (
            15,
            vec![(15.0, 45.0), (75.0, 225.0), (90.0, 270.0), (90.0, 270.0)],
            vec![(81.0, 163.0), (24.6, 49.5), (13.5, 27.5), (13.5, 20.5)],
        ),
        (
            3600,
            vec![(15.0, 45.0), (75.0, 225.0), (375.0, 1125.0), (900.0, 2700.0)],
            vec![(3240.0, 3600.0), (3240.0, 3600.0)],
        ),
    ] {
        let mut case = case(interval, &[STATIC]);
        let mut last = case.reads_static(Err(WorkFailure::Throttled(None)));
        for (number, (least, most)) in longer.iter().enumerate() {
            let result = match number + 1 == longer.len() {
                true => Ok(STATIC),
                false => Err(WorkFailure::Throttled(None)),
            };
            let now = case.reads_static(result);
            about(now - last, *least, *most);
            last = now;
        }
        for (least, most) in shorter {
            let now = case.reads_static(Ok(STATIC));
            about(now - last, least, most);
            last = now;
        }
    }
}

/// Regression: all reads of a round were sent at once, and each 429 made the next pause longer, up to five minutes, although
/// the quota was more than twice what the pod needed.
#[test]
fn a_pod_that_needs_less_than_the_quota_is_served_although_its_secrets_together_exceed_the_quota() {
    let mut case = case(15, &[STATIC; 64]);
    let (mut second, mut left, mut read, mut refused) = (0, 0, [0; 64], 0);
    while case.since_start() < 1200.0 {
        let Work::Read(sources) = case.work() else { panic!() };
        if case.now.as_secs() > second {
            (second, left) = (case.now.as_secs(), 11);
        }
        let counts = case.since_start() > 60.0;
        case.reads_until_one_fails(&sources, |SecretIndex(index)| {
            if left == 0 {
                refused += u32::from(counts);
                return Err(WorkFailure::Throttled(None));
            }
            left -= 1;
            read[index] += u32::from(counts);
            Ok(STATIC)
        });
    }
    // Once in at most 15 seconds is 76 times.
    let (least, most) = (*read.iter().min().unwrap(), *read.iter().max().unwrap());
    assert!(least >= 70 && most <= 86, "{least} to {most} reads of each secret");
    assert!(refused <= 10, "{refused} requests were refused");
}

#[test]
fn under_a_quota_renewals_come_before_reads_of_static_secrets_and_no_lease_ends() {
    let held: Vec<_> = (0..64)
        .map(|index| if index < 32 { STATIC } else { lease(3600, true) })
        .collect();
    let mut case = with_token(15, grant(3600, true), &held);
    let (mut tries, mut replaced) = (0, 0);
    let mut rng = Rng::with_seed(5);
    while case.since_start() < 4.0 * 3600.0 {
        let work = case.work();
        tries += 1;
        let refused = Err(WorkFailure::Throttled(None));
        let served = rng.bool();
        match work {
            Work::Read(sources) => {
                case.reads_until_one_fails(&sources, |_| if served { Ok(STATIC) } else { refused });
            }
            Work::RenewLease(index) => {
                let result = if served { Ok(lease(3600, true)) } else { refused };
                case.schedule.lease_renewed(case.now, index, result);
            }
            Work::RenewToken => {
                let result = Err(WorkFailure::Throttled(None));
                let result = if served { Ok(grant(3600, true)) } else { result };
                case.schedule.token_renewed(case.now, result);
            }
            Work::ReadLeased(index, permit) => {
                replaced += 1;
                if !served {
                    case.schedule.return_permit(permit);
                }
                let result = if served { Ok(lease(3600, true)) } else { refused };
                case.schedule.read(case.now, &[(index, result)]);
            }
            work => panic!("{:?}: {work:?}", case.now),
        }
        for index in 32..64 {
            let state = case.schedule.freshness(SecretIndex(index), case.now);
            assert_ne!(state, SecretFreshness::Expired, "{index} at {:?}", case.now);
        }
    }
    assert!(
        tries < 4000 && replaced < 10,
        "{tries} requests, {replaced} of them replace a lease"
    );
}

#[test]
fn a_quota_of_hours_ago_has_no_effect() {
    let mut case = case(15, &[STATIC, lease(36_000, true)]);
    for _ in 0..8 {
        case.reads_static(Err(WorkFailure::Throttled(None)));
    }
    case.now += 7 * HOUR;
    let back = case.reads_static(Ok(STATIC));
    let Work::RenewLease(source) = case.work() else {
        panic!()
    };
    assert_eq!((source, case.since_start()), (SecretIndex(1), back));
}

/// Regression: only answers made the pauses shorter, so after hours without a server a read was still twice the interval late.
#[test]
fn a_quota_before_an_outage_of_hours_has_no_effect() {
    let mut case = case(600, &[STATIC]);
    let mut now = 0.0;
    for _ in 0..4 {
        now = case.reads_static(Err(WorkFailure::Throttled(None)));
    }
    let back = now + 4.0 * 3600.0;
    while now < back {
        now = case.reads_static(Err(WorkFailure::Unavailable));
    }
    now = case.reads_static(Ok(STATIC));
    about(case.reads_static(Ok(STATIC)) - now, 540.0, 600.0);
}

/// Regression: with a long interval a pod whose token had ended waited for up to an hour before it tried the login again.
#[test]
fn under_a_quota_what_has_ended_is_replaced_within_minutes() {
    let mut case = with_token(24 * 3600, grant(600, false), &[STATIC]);
    let (mut last, mut tries) = (case.logs_in(Err(WorkFailure::Throttled(None))), 0);
    while last < 4.0 * 3600.0 {
        let now = case.logs_in(Err(WorkFailure::Throttled(None)));
        assert!(now - last < 301.0, "{last} {now}");
        (last, tries) = (now, tries + 1);
    }
    assert!(tries < 100, "{tries} tries");
}

/// Regression: each such pause was five minutes long, so pods whose tokens ended together went on together.
#[test]
fn under_a_quota_the_pauses_after_the_end_of_a_token_are_spread() {
    let mut case = with_token(24 * 3600, grant(600, false), &[STATIC]);
    let tries: Vec<_> = (0..60)
        .map(|_| case.logs_in(Err(WorkFailure::Throttled(None))))
        .filter(|time| *time > 600.0)
        .collect();
    let pauses: Vec<_> = tries.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let (least, most) = pauses.iter().fold((f64::MAX, 0.0_f64), |(least, most), pause| {
        (least.min(*pause), most.max(*pause))
    });
    about(least, 150.0, 190.0);
    about(most, 260.0, 300.0);
}

#[test]
fn under_a_quota_a_login_is_paced_together_with_the_reads_after_it() {
    let mut case = with_token(15, grant(100, false), &[STATIC]);
    for _ in 0..2 {
        case.reads_static(Err(WorkFailure::Throttled(None)));
    }
    case.now += secs(200);
    let login = case.logs_in(Ok(grant(100, false)));
    assert_eq!(case.reads_static(Ok(STATIC)), login);
}
