//! 500 pods that started together, one server, and what its operator sees: a steady rate as computed, no synchronisation
//! after a restart, and no more than twice the quota under a rate limit.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use super::{Failure, Grant, Held, Lifetime, Schedule, Work};

const PODS: u32 = 500;
const STATIC: u32 = 2;
const INTERVAL: Duration = Duration::from_secs(15);
const TTL: Duration = Duration::from_secs(3600);
const GRANT: Grant = Grant {
    ttl: TTL,
    renewable: true,
    uses: 0,
};
const LEASE: Lifetime = Lifetime::Lease {
    ttl: TTL,
    renewable: true,
};

struct Pod {
    schedule: Schedule,
    /// The server's life that its token is of.
    token: u32,
}

struct Storm {
    pods: Vec<Pod>,
    wakes: BinaryHeap<Reverse<(Duration, usize)>>,
    time: Duration,
    away: Duration,
    /// Requests in a second.
    quota: Option<u32>,
    says_when: bool,
    life: u32,
    /// Requests of each second, and how many of them were answered.
    offered: Vec<u32>,
    served: Vec<u32>,
}

impl Storm {
    fn new() -> Self {
        let held: Vec<_> = (0..STATIC)
            .map(|_| Lifetime::Static)
            .chain([LEASE])
            .map(|what| {
                Some(Held {
                    what,
                    age: Duration::ZERO,
                })
            })
            .collect();
        let token = Held {
            what: GRANT,
            age: Duration::ZERO,
        };
        let start = |pod: u32| Duration::from_millis(u64::from(pod));
        let pod = |pod: u32| Pod {
            schedule: Schedule::new(start(pod), u64::from(pod), INTERVAL, Some(token), &held),
            token: 0,
        };
        let pods: Vec<_> = (0..PODS).map(pod).collect();
        let wake = |(index, pod): (usize, &Pod)| Reverse((pod.schedule.wake(), index));
        Self {
            wakes: pods.iter().enumerate().map(wake).collect(),
            pods,
            time: Duration::ZERO,
            away: Duration::ZERO,
            quota: None,
            says_when: false,
            life: 0,
            offered: vec![0; 3_000],
            served: vec![0; 3_000],
        }
    }

    fn second(&self) -> usize {
        usize::try_from(self.time.as_secs()).unwrap()
    }

    fn ask(&mut self) -> Result<(), Failure> {
        let second = self.second();
        self.offered[second] += 1;
        if self.time < self.away {
            return Err(Failure::Away);
        }
        if self.quota.is_some_and(|quota| self.served[second] >= quota) {
            let asked = self.says_when.then_some(Duration::from_secs(1));
            return Err(Failure::Throttled(asked));
        }
        self.served[second] += 1;
        Ok(())
    }

    fn run(&mut self, length: u64) {
        let until = self.time + Duration::from_secs(length);
        while let Some(Reverse((wake, index))) = self.wakes.peek().copied()
            && wake < until
        {
            self.wakes.pop();
            self.time = wake;
            while let Some(work) = self.pods[index].schedule.due(wake) {
                self.carry_out(index, work);
            }
            self.wakes.push(Reverse((self.pods[index].schedule.wake(), index)));
        }
        self.time = until;
    }

    fn carry_out(&mut self, index: usize, work: Work) {
        let now = self.time;
        let known = match self.pods[index].token == self.life {
            true => Ok(()),
            false => Err(Failure::Denied),
        };
        match work {
            Work::Login(_) => {
                let result = self.ask();
                if result.is_ok() {
                    self.pods[index].token = self.life;
                }
                self.pods[index].schedule.logged_in(now, result.map(|()| GRANT));
            }
            Work::RenewToken => {
                let result = self.ask().and(known).map(|()| GRANT);
                self.pods[index].schedule.token_renewed(now, result);
            }
            Work::Read(sources) => {
                let mut results = Vec::new();
                for source in &sources {
                    let result = self.ask().and(known);
                    results.push((*source, result.map(|()| Lifetime::Static)));
                    if matches!(result, Err(Failure::Away | Failure::Throttled(_))) {
                        break;
                    }
                }
                self.pods[index].schedule.read(now, &results);
                self.pods[index].schedule.unread(&sources[results.len()..]);
            }
            Work::ReadLeased(source, permit) => {
                let result = self.ask().and(known).map(|()| LEASE);
                if result.is_err() {
                    self.pods[index].schedule.unused(permit);
                }
                self.pods[index].schedule.read(now, &[(source, result)]);
            }
            Work::RenewLease(source) => {
                let result = self.ask().and(known).map(|()| LEASE);
                self.pods[index].schedule.lease_renewed(now, source, result);
            }
            Work::Revoke(number) => {
                let result = self.ask();
                self.pods[index].schedule.revoked(now, number, result);
            }
        }
    }

    /// Requests a second from one second to another: the mean, and the most in one.
    fn rate(&self, from: usize, to: usize) -> (f64, u32) {
        let seconds = &self.offered[from..to];
        let mean = f64::from(seconds.iter().sum::<u32>()) / seconds.len() as f64;
        (mean, *seconds.iter().max().unwrap())
    }
}

/// Each secret once in the interval less a twentieth, which is the middle of its jitter; lease and token once in five eighths of their TTL.
fn computed() -> f64 {
    let renewals = 2.0 / (0.625 * TTL.as_secs_f64());
    f64::from(PODS) * (f64::from(STATIC) / (0.945 * INTERVAL.as_secs_f64()) + renewals)
}

#[test]
fn the_steady_rate_is_as_computed_though_all_pods_started_together() {
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
fn after_a_restart_of_the_server_nothing_is_synchronised() {
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
        // Who is denied logs in and reads again: twice as much in the first interval.
        let most = if loses_tokens { 4.0 } else { 2.0 };
        assert!(f64::from(peak) < most * computed(), "{message}");
        assert!(while_away < computed(), "{message}");
        let (settled, _) = storm.rate(back + 600, back + 1000);
        assert!((settled / computed() - 1.0).abs() < 0.05, "{settled:.1}/s: {message}");
    }
}

#[test]
fn no_more_than_twice_the_quota_is_asked_for() {
    // What does not depend on the pods is how soon each can have noticed: it asks once in an interval. Where the quota is
    // far below what they need, they learn of it in the first interval, and climb to their pauses in some more.
    for (share, says_when, after) in [
        (0.75, false, 5),
        (0.75, true, 5),
        (0.55, false, 5),
        (0.55, true, 5),
        (0.25, false, 90),
        (0.1, true, 300),
    ] {
        let mut storm = Storm::new();
        storm.run(60);
        let quota = computed() * share;
        storm.quota = Some(quota as u32);
        storm.says_when = says_when;
        let from = storm.second();
        storm.run(900);
        let mut worst: f64 = 0.0;
        for start in from + after..from + 900 - 10 {
            worst = worst.max(storm.rate(start, start + 10).0);
        }
        let served: u32 = storm.served[from + 60..from + 900].iter().sum();
        let used = f64::from(served) / 840.0 / quota;
        let message = format!(
            "quota {quota:.1}/s, Retry-After {says_when}: at most {worst:.1}/s in ten seconds, {used:.2} of it used"
        );
        println!("{message}");
        assert!(worst <= 2.0 * quota, "{message}");
        assert!(used > 0.5, "{message}");
    }
}
