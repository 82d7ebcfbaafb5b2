//! Client tokens: when the schedule renews, replaces and revokes them, and what a service-account token allows.

use super::*;

#[test]
fn a_token_that_never_ends_is_neither_renewed_nor_replaced() {
    let mut case = case(86400, &[STATIC]);
    for _ in 0..1000 {
        case.reads_static(Ok(STATIC));
    }
}

#[test]
fn a_periodic_token_is_renewed_for_ever_and_a_token_near_its_maximum_ttl_is_replaced() {
    let mut case = with_token(86400, grant(1000, true), &[lease(9000, true)]);
    let mut last = 0.0;
    for _ in 0..2 {
        let now = case.renews_token(Ok(grant(1000, true)));
        about(now - last, 600.0, 650.0);
        last = now;
    }
    let shorter = case.renews_token(Ok(grant(600, true)));
    // The lease is not due yet, but is read with the new token. Then the old token is revoked.
    let login = case.logs_in(Ok(grant(1000, true)));
    about(login - shorter, 360.0, 390.0);
    assert!(case.schedule.keeps(TokenNumber(0)) && case.schedule.keeps(TokenNumber(1)));
    assert_eq!(case.reads(Ok(lease(9000, true))), login);
    let Work::Revoke(number) = case.work() else { panic!() };
    assert_eq!(number, TokenNumber(0));
    about(case.since_start() - login, 30.0, 30.0);
    case.schedule.revoked(case.now, number, Ok(()));
    assert!(!case.schedule.keeps(TokenNumber(0)));
    case.renews_token(Ok(grant(1000, true)));
}

#[test]
fn a_token_that_is_not_renewable_is_replaced_in_time_and_no_lease_outlives_its_token() {
    let mut case = with_token(86400, grant(1000, false), &[lease(9000, true)]);
    about(case.logs_in(Err(WorkFailure::Failed)), 600.0, 650.0);
    while case.since_start() < 1000.0 {
        assert_eq!(case.state(), SecretFreshness::Fresh);
        case.logs_in(Err(WorkFailure::Failed));
    }
    case.now = START + secs(1000);
    assert_eq!(case.state(), SecretFreshness::Expired);
    let login = case.logs_in(Ok(grant(1000, false)));
    assert_eq!(case.reads(Ok(lease(9000, true))), login);
    assert_eq!(case.state(), SecretFreshness::Fresh);
    // The old token has expired, so there is no revocation.
    assert!(!case.schedule.keeps(TokenNumber(0)));
}

#[test]
fn the_old_token_lives_until_its_lease_is_replaced() {
    let mut case = with_token(86400, grant(1000, false), &[lease(900, false)]);
    about(case.reads(Ok(lease(900, false))), 540.0, 585.0);
    let login = case.logs_in(Ok(grant(1000, false)));
    about(login, 600.0, 650.0);
    // The read waits for the limiter.
    let read = case.reads(Ok(lease(900, false)));
    about(read - login, 30.0, 300.0);
    assert!(matches!(case.work(), Work::Revoke(TokenNumber(0))));
    about(case.since_start() - read, 1.0, 30.0);
}

#[test]
fn a_token_that_the_app_has_is_not_revoked_when_it_is_replaced() {
    let mut case = with_token(86400, grant(1000, false), &[]);
    case.schedule.leave_replaced_tokens();
    let first = case.logs_in(Ok(grant(1000, false)));
    about(first, 600.0, 650.0);
    assert!(case.schedule.keeps(TokenNumber(0)), "its end is not yet");
    // The next work is the next login, and no revocation.
    case.logs_in(Ok(grant(1000, false)));
    assert!(!case.schedule.keeps(TokenNumber(0)), "it has expired");
    assert!(case.schedule.keeps(TokenNumber(1)));
}

#[test]
fn the_token_of_a_lease_without_a_ttl_is_revoked_after_the_lease_is_replaced() {
    let mut case = with_token(15, grant(1000, false), &[lease(0, true), STATIC]);
    let Work::Read(_) = case.work() else { panic!() };
    case.schedule
        .read(case.now, &[(SecretIndex(1), Err(WorkFailure::Denied))]);
    case.logs_in(Ok(grant(1000, false)));
    let read = loop {
        match case.work() {
            Work::Read(_) => case.schedule.read(case.now, &[(SecretIndex(1), Ok(STATIC))]),
            Work::ReadLeased(_, _permit) => {
                case.read(Ok(lease(0, true)));
                break case.since_start();
            }
            work => panic!("{work:?}"),
        }
    };
    about(read, 1000.0 / 3.0, 1000.0);
    loop {
        match case.work() {
            Work::Read(_) => case.schedule.read(case.now, &[(SecretIndex(1), Ok(STATIC))]),
            Work::Revoke(TokenNumber(0)) => break about(case.since_start() - read, 1.0, 30.0),
            work => panic!("{work:?}"),
        }
    }
}

#[test]
fn a_token_whose_renewal_is_denied_is_replaced_at_once() {
    for failure in [WorkFailure::Denied, WorkFailure::Gone] {
        let mut case = with_token(86400, grant(1000, true), &[]);
        let renewal = case.renews_token(Err(failure));
        assert_eq!(case.logs_in(Ok(grant(1000, true))), renewal);
    }
    // After other failures the renewal is retried, and the token replaced after nine tenths of the TTL.
    let mut case = with_token(86400, grant(1000, true), &[]);
    let login = loop {
        match case.work() {
            Work::RenewToken => case.schedule.token_renewed(case.now, Err(WorkFailure::Failed)),
            Work::Login(_) => break case.since_start(),
            work => panic!("{work:?}"),
        }
    };
    assert_eq!(login, 900.0);
}

#[test]
fn a_token_with_few_uses_is_replaced_before_its_last_use() {
    let few = Grant {
        uses: 4,
        proof: None,
        ..grant(0, false)
    };
    let mut case = with_token(100, few, &[STATIC, STATIC]);
    let sources = [(SecretIndex(0), Ok(STATIC)), (SecretIndex(1), Ok(STATIC))];
    let Work::Read(_) = case.work() else { panic!() };
    case.schedule.read(case.now, &sources);
    let Work::Read(first) = case.work() else { panic!() };
    assert_eq!(first, [SecretIndex(0)], "one use is left, and one to revoke it");
    case.schedule.read(case.now, &sources[..1]);
    case.logs_in(Ok(few));
    let Work::Read(second) = case.work() else { panic!() };
    assert_eq!(second, [SecretIndex(1)]);
    case.schedule.read(case.now, &sources[1..]);
    assert!(matches!(case.work(), Work::Revoke(TokenNumber(0))));
    // A token for one request counts as a failed login.
    let mut case = with_token(100, Grant { uses: 1, ..few }, &[STATIC]);
    let first = case.logs_in(Ok(Grant { uses: 1, ..few }));
    about(case.logs_in(Ok(few)) - first, 5.0, 10.0);
}

/// A grant of a login with a service-account token that has `left` seconds of a life of `life` seconds.
fn proven(ttl: u64, left: u64, life: u64) -> Grant {
    let (left, life) = (secs(left), secs(life));
    Grant {
        proof: Some(Proof { left, life }),
        ..grant(ttl, true)
    }
}

impl ScheduleCase {
    /// Does the due work until the next [`Work::LoginIfNewer`]. Returns the time, in seconds since the start.
    fn until_relogin(&mut self) -> f64 {
        loop {
            match self.work() {
                Work::LoginIfNewer(_) => return self.since_start(),
                Work::RenewToken => self.schedule.token_renewed(self.now, Ok(grant(1200, true))),
                Work::RenewLease(_) => self.schedule.lease_renewed(self.now, FIRST, Ok(lease(1200, true))),
                work => panic!("{:?}: {work:?}", self.now),
            }
        }
    }
}

#[test]
fn a_login_comes_before_the_service_account_token_expires_and_leased_secrets_are_read_after_it() {
    let mut case = with_token(86400, proven(1200, 3600, 3600), &[lease(1200, true)]);
    about(case.until_relogin(), 3600.0 * 0.86, 3600.0 * 0.90);
    case.schedule.logged_in(case.now, Ok(proven(1200, 3000, 3600)));
    let logged_in = case.since_start();
    let read = case.reads(Ok(lease(1200, true)));
    assert!(read - logged_in < 60.0, "{read} after {logged_in}");
    let Work::Revoke(number) = case.work() else { panic!() };
    assert_eq!(number, TokenNumber::default());
    about(case.since_start() - read, 30.0, 30.0);
    case.schedule.revoked(case.now, number, Ok(()));
    about(
        case.until_relogin() - logged_in,
        3000.0 - 0.14 * 3600.0,
        3000.0 - 0.10 * 3600.0,
    );
}

#[test]
fn without_a_newer_service_account_token_there_is_no_login_and_the_token_is_renewed() {
    let mut case = with_token(86400, proven(600, 600, 600), &[]);
    let mut looked = Vec::new();
    while case.since_start() < 3000.0 {
        match case.work() {
            Work::LoginIfNewer(_) => {
                looked.push(case.since_start());
                case.schedule.nothing_newer(case.now);
            }
            Work::RenewToken => case.schedule.token_renewed(case.now, Ok(grant(600, true))),
            work => panic!("{:?}: {work:?}", case.now),
        }
    }
    about(looked[0], 600.0 * 0.86, 600.0 * 0.90);
    let before = looked.iter().filter(|at| **at < 600.0).count();
    about(before as f64, 10.0, 40.0);
    about((looked.len() - before) as f64, 70.0, 81.0);
}

#[test]
fn a_refused_login_does_not_change_the_token() {
    let mut case = with_token(86400, proven(1200, 3600, 3600), &[lease(1200, true)]);
    let (mut refused, mut renewed) = (0, 0);
    while case.since_start() < 6000.0 {
        match case.work() {
            Work::LoginIfNewer(_) => {
                refused += 1;
                case.schedule.logged_in(case.now, Err(WorkFailure::Denied));
            }
            Work::RenewToken => case.schedule.token_renewed(case.now, Ok(grant(1200, true))),
            Work::RenewLease(_) => {
                renewed += 1;
                case.schedule.lease_renewed(case.now, FIRST, Ok(lease(1200, true)));
            }
            work => panic!("{:?}: {work:?}", case.now),
        }
        assert_eq!(case.state(), SecretFreshness::Fresh);
    }
    about(f64::from(refused), 2.0, 40.0);
    about(f64::from(renewed), 6.0, 9.0);
}

/// The wall clock is far ahead, so every new service-account token of the kubelet seems to expire at once.
#[test]
fn service_account_tokens_that_seem_to_expire_at_once_cause_no_storm_of_logins() {
    let mut case = with_token(86400, proven(1200, 1, 3600), &[]);
    let (mut looked, mut logins) = (0, 0);
    while case.since_start() < 3600.0 {
        match case.work() {
            Work::LoginIfNewer(_) => {
                looked += 1;
                case.schedule.nothing_newer(case.now);
            }
            Work::RenewToken => case.schedule.token_renewed(case.now, Err(WorkFailure::Denied)),
            Work::Login(_) => {
                logins += 1;
                case.schedule.logged_in(case.now, Ok(proven(1200, 1, 3600)));
            }
            Work::Revoke(number) => case.schedule.revoked(case.now, number, Ok(())),
            work => panic!("{:?}: {work:?}", case.now),
        }
    }
    assert!(
        looked < 30 && logins < 6,
        "looked {looked} times, logged in {logins} times"
    );
}

#[test]
fn a_token_that_may_not_be_renewed_any_more_costs_one_login_and_no_lease() {
    let mut case = with_token(86400, grant(1200, true), &[lease(3600, true)]);
    about(case.renews_token(Err(WorkFailure::Denied)), 720.0, 780.0);
    let logged_in = case.logs_in(Ok(grant(1200, true)));
    let mut work = case.work();
    if let Work::RenewToken = work {
        case.schedule.token_renewed(case.now, Ok(grant(1200, true)));
        work = case.work();
    }
    let Work::ReadLeased(_, permit) = work else {
        panic!("{work:?}")
    };
    drop(permit);
    assert!(
        case.since_start() < logged_in + 480.0,
        "before the end of the first one"
    );
    assert_ne!(case.state(), SecretFreshness::Expired);
}

#[test]
fn a_lease_lasts_no_longer_than_its_token() {
    for (token, own, lasts) in [
        (grant(6, false), lease(3600, true), 6),
        (grant(3600, false), lease(6, true), 6),
        (grant(0, false), lease(3600, true), 3600),
        (grant(60, true), lease(0, false), 60),
    ] {
        let case = with_token(86400, token, &[own]);
        assert_eq!(
            case.schedule.lease_duration(FIRST),
            Some(secs(lasts)),
            "{token:?} {own:?}"
        );
    }
    let mut case = with_token(86400, grant(60, true), &[lease(3600, true)]);
    case.renews_token(Ok(grant(60, true)));
    let lasts = case.schedule.lease_duration(FIRST).unwrap().as_secs_f64();
    about(lasts - case.since_start(), 60.0, 60.0);
    assert_eq!(
        with_token(60, grant(6, false), &[STATIC])
            .schedule
            .lease_duration(FIRST),
        None
    );
}
