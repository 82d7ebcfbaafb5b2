//! The load of 500 pods that started together on one server: the computed steady rate, no peaks of simultaneous requests after
//! a restart, at most twice the quota under a rate limit, and a quota that is used and shared.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use super::{Grant, Lifetime, Obtained, Proof, Schedule, SecretFreshness, SecretIndex, Work, WorkFailure};

const PODS: u32 = 500;
const STATIC: u32 = 2;
const INTERVAL: Duration = Duration::from_secs(15);
const TTL: Duration = Duration::from_secs(3600);
/// The interval in the tests that simulate many hours.
const LONG_INTERVAL: Duration = Duration::from_secs(600);

struct StormPod {
    schedule: Schedule,
    /// The [`Storm::life`] in which the server issued the pod's token.
    token: u32,
    /// When the server issued the token, and (`proof`) when the service-account token of the login expires.
    issued: Duration,
    proof: Duration,
    logins: u32,
    /// How many requests were answered under the quota.
    served: u32,
}

struct Storm {
    pods: Vec<StormPod>,
    wakes: BinaryHeap<Reverse<(Duration, usize)>>,
    time: Duration,
    away: Duration,
    /// The most requests in a second that the server answers.
    quota: Option<u32>,
    says_when: bool,
    life: u32,
    /// The TTL of tokens and leases.
    ttl: Duration,
    /// The life of a service-account token. None: the server does not check that token at renewals.
    proof: Option<Duration>,
    /// The time of the server's upgrade: tokens that were issued before cannot be renewed.
    upgraded: Duration,
    /// The number of denied renewals.
    denied: u32,
    /// The number of logins in each second.
    logins: Vec<u32>,
    /// The number of requests in each second, and (`served`) of answered requests.
    offered: Vec<u32>,
    served: Vec<u32>,
}

impl Storm {
    fn new() -> Self {
        Self::of(INTERVAL, TTL, None, 3_000)
    }

    /// `interval`: of the pods. `ttl`: of tokens and leases. `proof`: the life of service-account tokens that the server checks.
    /// `seconds`: the longest time to simulate.
    fn of(interval: Duration, ttl: Duration, proof: Option<Duration>, seconds: usize) -> Self {
        let age = Duration::ZERO;
        let lease = Lifetime::Lease { ttl, renewable: true };
        let held: Vec<_> = (0..STATIC)
            .map(|_| Lifetime::Static)
            .chain([lease])
            .map(|answer| Some(Obtained { answer, age }))
            .collect();
        let start = |pod: u32| Duration::from_millis(u64::from(pod));
        let pod = |pod: u32| {
            let answer = Grant {
                ttl,
                renewable: true,
                uses: 0,
                proof: proof.map(|life| Proof { left: life, life }),
            };
            StormPod {
                schedule: Schedule::new(
                    start(pod),
                    u64::from(pod),
                    interval,
                    Some(Obtained { answer, age }),
                    &held,
                ),
                token: 0,
                issued: start(pod),
                proof: proof.map_or(Duration::MAX, |life| start(pod) + life),
                logins: 0,
                served: 0,
            }
        };
        let pods: Vec<_> = (0..PODS).map(pod).collect();
        let wake = |(index, pod): (usize, &StormPod)| Reverse((pod.schedule.wake(), index));
        Self {
            wakes: pods.iter().enumerate().map(wake).collect(),
            pods,
            time: Duration::ZERO,
            away: Duration::ZERO,
            quota: None,
            says_when: false,
            life: 0,
            ttl,
            proof,
            upgraded: Duration::ZERO,
            denied: 0,
            logins: vec![0; seconds],
            offered: vec![0; seconds],
            served: vec![0; seconds],
        }
    }

    /// When the service-account token in the file expires. (All pods started together.)
    fn file_ends(&self) -> Duration {
        self.proof.map_or(Duration::MAX, |life| {
            let turn = life.mul_f64(0.8);
            turn * ((self.time.as_secs_f64() / turn.as_secs_f64()) as u32) + life
        })
    }

    fn log_in(&mut self, index: usize) {
        let (now, ends) = (self.time, self.file_ends());
        let result = self.ask(index);
        if result.is_ok() {
            let (life, second) = (self.life, self.second());
            self.logins[second] += 1;
            let pod = &mut self.pods[index];
            (pod.token, pod.issued, pod.proof) = (life, now, ends);
            pod.logins += 1;
        }
        let grant = Grant {
            ttl: self.ttl,
            renewable: true,
            uses: 0,
            proof: self.proof.map(|life| Proof { left: ends - now, life }),
        };
        self.pods[index].schedule.logged_in(now, result.map(|()| grant));
    }

    fn second(&self) -> usize {
        usize::try_from(self.time.as_secs()).unwrap()
    }

    fn ask(&mut self, index: usize) -> Result<(), WorkFailure> {
        let second = self.second();
        self.offered[second] += 1;
        if self.time < self.away {
            return Err(WorkFailure::Unavailable);
        }
        if self.quota.is_some_and(|quota| self.served[second] >= quota) {
            let asked = self.says_when.then_some(Duration::from_secs(1));
            return Err(WorkFailure::Throttled(asked));
        }
        self.served[second] += 1;
        self.pods[index].served += u32::from(self.quota.is_some());
        Ok(())
    }

    fn run(&mut self, length: u64) {
        let until = self.time + Duration::from_secs(length);
        while let Some(Reverse((wake, index))) = self.wakes.peek().copied()
            && wake < until
        {
            self.wakes.pop();
            self.time = wake;
            let leased = SecretIndex(STATIC as usize);
            while let Some(work) = self.pods[index].schedule.due(wake) {
                let ended = self.pods[index].schedule.freshness(leased, wake) == SecretFreshness::Expired;
                assert!(!ended || self.life > 0, "pod {index}: its lease has ended at {wake:?}");
                self.carry_out(index, work);
            }
            self.wakes.push(Reverse((self.pods[index].schedule.wake(), index)));
        }
        self.time = until;
    }

    fn carry_out(&mut self, index: usize, work: Work) {
        let now = self.time;
        let lease = Lifetime::Lease {
            ttl: self.ttl,
            renewable: true,
        };
        let known = match self.pods[index].token == self.life {
            true => Ok(()),
            false => Err(WorkFailure::Denied),
        };
        match work {
            Work::LoginIfNewer(_) if self.file_ends() <= self.pods[index].proof => {
                self.pods[index].schedule.nothing_newer(now);
            }
            Work::Login(_) | Work::LoginIfNewer(_) => self.log_in(index),
            Work::RenewToken => {
                let pod = &self.pods[index];
                let reviewed = match pod.issued < self.upgraded || pod.proof <= now {
                    true => Err(WorkFailure::Denied),
                    false => Ok(()),
                };
                self.denied += u32::from(reviewed.is_err());
                let grant = Grant {
                    ttl: self.ttl,
                    renewable: true,
                    uses: 0,
                    proof: None,
                };
                let result = self.ask(index).and(known).and(reviewed).map(|()| grant);
                self.pods[index].schedule.token_renewed(now, result);
            }
            Work::Read(sources) => {
                let mut results = Vec::new();
                for source in &sources {
                    let result = self.ask(index).and(known);
                    results.push((*source, result.map(|()| Lifetime::Static)));
                    if matches!(result, Err(WorkFailure::Unavailable | WorkFailure::Throttled(_))) {
                        break;
                    }
                }
                self.pods[index].schedule.read(now, &results);
                self.pods[index].schedule.not_requested(&sources[results.len()..]);
            }
            Work::ReadLeased(source, permit) => {
                let result = self.ask(index).and(known).map(|()| lease);
                if result.is_err() {
                    self.pods[index].schedule.return_permit(permit);
                }
                self.pods[index].schedule.read(now, &[(source, result)]);
            }
            Work::RenewLease(source) => {
                let result = self.ask(index).and(known).map(|()| lease);
                self.pods[index].schedule.lease_renewed(now, source, result);
            }
            Work::Revoke(number) => {
                let result = self.ask(index);
                self.pods[index].schedule.revoked(now, number, result);
            }
        }
    }

    /// The requests for each second between the two: the mean, and the maximum.
    fn rate(&self, from: usize, to: usize) -> (f64, u32) {
        let seconds = &self.offered[from..to];
        let mean = f64::from(seconds.iter().sum::<u32>()) / seconds.len() as f64;
        (mean, *seconds.iter().max().unwrap())
    }
}

/// The expected requests in a second: each static secret once in 0.945 of the interval, and lease and token once in 0.625 of their
/// TTL. Both numbers are the middles of their random ranges.
fn computed() -> f64 {
    let renewals = 2.0 / (0.625 * TTL.as_secs_f64());
    f64::from(PODS) * (f64::from(STATIC) / (0.945 * INTERVAL.as_secs_f64()) + renewals)
}

#[test]
fn the_steady_rate_is_as_computed_although_all_pods_started_together() {
    let mut storm = Storm::new();
    storm.run(1800);
    let (mean, peak) = storm.rate(15, 1800);
    let message = format!(
        "computed {:.1}/s, observed {mean:.1}/s, at most {peak} in a second",
        computed()
    );
    println!("{message}");
    assert!((mean / computed() - 1.0).abs() < 0.02, "{message}");
    assert!(f64::from(peak) < 2.0 * mean, "{message}");
}

#[test]
fn pods_do_not_send_their_requests_together_after_a_restart_of_the_server() {
    for (away, loses_tokens) in [(3, false), (30, false), (1200, false), (30, true)] {
        let mut storm = Storm::new();
        storm.run(300);
        storm.away = storm.time + Duration::from_secs(away);
        storm.life += u32::from(loses_tokens);
        let back = storm.second() + usize::try_from(away).unwrap();
        storm.run(away + 1000);
        let (while_away, _) = storm.rate(300, back);
        let (mean, peak) = storm.rate(back, back + 1000);
        let message = format!(
            "away for {away} s, tokens lost: {loses_tokens}: {while_away:.1}/s meanwhile, then {mean:.1}/s, at most {peak} \
             in a second; computed {:.1}/s",
            computed()
        );
        println!("{message}");
        // A pod whose read is denied logs in and reads again: twice as many requests in the first interval.
        let most = if loses_tokens { 4.0 } else { 2.0 };
        assert!(f64::from(peak) < most * computed(), "{message}");
        assert!(while_away < computed(), "{message}");
        let (settled, _) = storm.rate(back + 600, back + 1000);
        assert!((settled / computed() - 1.0).abs() < 0.05, "{settled:.1}/s: {message}");
    }
}

/// A pod learns of the quota by the answers to its own requests, about two in an interval here.
#[test]
fn pods_come_down_to_twice_the_quota_within_a_minute_use_it_and_share_it() {
    for (times, says_when) in [
        (1.33, false),
        (1.5, true),
        (3.0, false),
        (3.0, true),
        (6.0, false),
        (8.0, true),
    ] {
        let mut storm = Storm::new();
        storm.run(60);
        let quota = (computed() / times).floor();
        storm.quota = Some(quota as u32);
        storm.says_when = says_when;
        let from = storm.second();
        storm.run(900);
        let worst = (from + 60..from + 890).map(|start| storm.rate(start, start + 10).0);
        let worst = worst.fold(0.0, f64::max) / quota;
        let used = |from: usize, to: usize| {
            let served = storm.served[from..to].iter().sum::<u32>();
            f64::from(served) / (to - from) as f64 / quota
        };
        let least_used = (from + 60..from + 840).map(|start| used(start, start + 60));
        let least_used = least_used.fold(f64::MAX, f64::min);
        // How often a pod would be served if all were served equally, and how often they were.
        let fair = used(from, from + 900) * 900.0 * quota / f64::from(PODS);
        let mut served: Vec<_> = storm.pods.iter().map(|pod| f64::from(pod.served) / fair).collect();
        served.sort_by(f64::total_cmp);
        let (least, few, most) = (served[0], served[served.len() / 20], served[served.len() - 1]);
        let (mean, _) = storm.rate(from + 60, from + 900);
        storm.quota = None;
        let back = storm.second();
        storm.run(600);
        let recovered = |after: usize| storm.rate(back + after, back + after + 60).0 / computed();
        let (soon, later) = (recovered(120), recovered(540));
        let peak = storm.rate(back, back + 600).1;
        let message = format!(
            "{times} times the quota, Retry-After {says_when}: {:.2} times the quota, at most {worst:.2} in ten seconds; at least \
             {least_used:.2} of it used in a minute; pods are served {least:.2} (of twenty: {few:.2}) to {most:.2} of what is fair; without \
             it {soon:.2} and {later:.2} of the usual requests, at most {peak} in a second",
            mean / quota,
        );
        println!("{message}");
        assert!(worst <= 2.0 && least_used > 0.8, "{message}");
        assert!(least > 0.05 && few > 0.25 && most < 5.0, "{message}");
        assert!(soon > 0.8 && later > 0.95, "{message}");
        assert!(f64::from(peak) < 2.0 * computed(), "{message}");
    }
}

/// Since 2.6.4 and 2.7.1, OpenBao checks the service-account token at each renewal of a client token. Before podkey logged in
/// again in time, all leases ended with the client token if service-account tokens lived for ten minutes.
#[test]
fn a_server_that_checks_the_service_account_token_renews_for_ever_and_few_logins_are_needed() {
    for (ttl, life) in [(1200, 3600), (3600, 3600), (600, 3600), (20, 600), (7200, 3600)] {
        let seconds = 6 * life;
        let mut storm = Storm::of(
            LONG_INTERVAL,
            Duration::from_secs(ttl),
            Some(Duration::from_secs(life)),
            seconds as usize,
        );
        storm.run(seconds - 1);
        let logins: Vec<_> = storm.pods.iter().map(|pod| pod.logins).collect();
        let (least, most) = (*logins.iter().min().unwrap(), *logins.iter().max().unwrap());
        let peak = *storm.logins.iter().max().unwrap();
        let message = format!(
            "client tokens of {ttl} s, service-account tokens of {life} s: {least} to {most} logins of each pod in {seconds} s, at \
             most {peak} logins in a second, {} renewals denied",
            storm.denied
        );
        println!("{message}");
        assert_eq!(storm.denied, 0, "{message}");
        // One login in four fifths of a life, because the kubelet then writes a new service-account token.
        let expected = seconds as f64 / (0.8 * life as f64);
        assert!(
            f64::from(least) > 0.8 * expected && f64::from(most) <= expected + 1.0,
            "{message}"
        );
        assert!(peak < 60, "{message}");
    }
}

/// The upgraded server accepts the client tokens that the older version issued, but renews none of them.
#[test]
fn an_upgrade_of_the_server_costs_each_running_sidecar_one_login() {
    let mut storm = Storm::of(LONG_INTERVAL, TTL, Some(Duration::from_secs(86_400)), 12_000);
    storm.run(600);
    storm.upgraded = storm.time;
    storm.run(11_000);
    let logins: Vec<_> = storm.pods.iter().map(|pod| pod.logins).collect();
    assert_eq!(logins, vec![1; PODS as usize]);
    assert_eq!(storm.denied, PODS);
    let peak = *storm.logins.iter().max().unwrap();
    println!("at most {peak} logins in a second");
    assert!(peak < 30, "{peak} logins in a second");
}
