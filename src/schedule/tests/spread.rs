//! Work that was begun together is not due together: when leases of one moment are renewed or replaced.

use std::collections::BTreeMap;

use super::*;

/// The work of a pod with 64 leases that `podkey-init` read in one second, by the second in which each is due.
fn seconds_of_work(ttl: u64, renewable: bool, token: Grant, lasts: f64) -> (BTreeMap<u64, u32>, f64) {
    let mut case = with_token(86400, token, &[lease(ttl, renewable); 64]);
    let (mut seconds, mut oldest) = (BTreeMap::new(), 0.0_f64);
    let mut since = [0.0; 64];
    while case.since_start() < lasts {
        let work = case.work();
        let now = case.since_start();
        let done = match work {
            Work::RenewLease(index) => {
                case.schedule.lease_renewed(case.now, index, Ok(lease(ttl, renewable)));
                index
            }
            Work::ReadLeased(index, _permit) => {
                case.schedule.read(case.now, &[(index, Ok(lease(ttl, renewable)))]);
                index
            }
            Work::RenewToken => {
                case.schedule.token_renewed(case.now, Ok(token));
                continue;
            }
            Work::Login(_) => {
                case.schedule.logged_in(case.now, Ok(token));
                continue;
            }
            Work::Revoke(number) => {
                case.schedule.revoked(case.now, number, Ok(()));
                continue;
            }
            work => panic!("{work:?}"),
        };
        *seconds.entry(now as u64).or_default() += 1;
        oldest = oldest.max(now - since[done.0]);
        since[done.0] = now;
    }
    (seconds, oldest)
}

#[test]
fn leases_that_were_made_together_are_renewed_or_replaced_at_different_times() {
    for (ttl, renewable, most) in [
        (3600, true, 3),
        (3600, false, 3),
        (600, true, 3),
        (300, true, 4),
        (120, true, 6),
        (120, false, 6),
    ] {
        let (seconds, oldest) = seconds_of_work(ttl, renewable, grant(0, false), 4.0 * ttl as f64);
        let (busiest, work) = (*seconds.values().max().unwrap(), seconds.values().sum::<u32>());
        let message =
            format!("TTL {ttl}, renewable {renewable}: at most {busiest} in a second, {work} in all, after {oldest} s");
        println!("{message}");
        assert!(busiest <= most, "{message}");
        // Each of them in time, and few of them early: six cycles of two thirds of the TTL in four TTLs.
        assert!(oldest <= 0.65 * ttl as f64 && work <= 64 * 8, "{message}");
    }
}

/// Regression: after the login all leases of the token were replaced in one second.
#[test]
fn leases_that_end_with_their_token_are_replaced_at_different_times() {
    let (seconds, oldest) = seconds_of_work(86400, true, grant(3600, false), 20_000.0);
    let busiest = *seconds.values().max().unwrap();
    let message = format!("at most {busiest} in a second, after {oldest} s: {seconds:?}");
    assert!(busiest <= 4 && oldest <= 0.65 * 3600.0 + 33.0, "{message}");
    assert!(seconds.len() > 100, "{message}");
}
