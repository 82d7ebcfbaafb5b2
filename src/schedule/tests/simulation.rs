//! Schedules and a model of the server, in simulated time: outages, quotas, answers that are lost, TTLs that are too short or
//! absurdly long, tokens and leases that are gone, renewals that always fail, suspended machines, sidecars that are killed. Some
//! laws must hold in every case. Each call of `law` checks one of them.

use std::time::Duration;

use fastrand::Rng;

use super::{Grant, Lifetime, Obtained, Proof, Schedule, SecretFreshness, SecretIndex, TokenNumber, Work, WorkFailure};

const ZERO: Duration = Duration::ZERO;
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// A random length between the two, on a logarithmic scale: short lengths are as likely as long lengths.
fn length(rng: &mut Rng, from: Duration, to: Duration) -> Duration {
    let (from, to) = (from.as_secs_f64().ln(), to.as_secs_f64().ln());
    Duration::from_secs_f64((from + (to - from) * rng.f64()).exp())
}

/// The kind of secret that a path of the server returns.
#[derive(Debug, Clone, Copy)]
enum SecretKind {
    Static,
    Leased {
        ttl: Duration,
        renewable: bool,
        max: Duration,
    },
    Certificate(Duration),
    Written,
}

/// The tokens that the auth role gives.
#[derive(Debug, Clone, Copy)]
struct ServerRole {
    ttl: Duration,
    renewable: bool,
    /// The maximum TTL. Zero: no maximum, as for a periodic token.
    max: Duration,
    uses: u64,
}

#[derive(Debug)]
struct ServerToken {
    end: Duration,
    max: Duration,
    since: Duration,
    /// The end of the token by the last answer that arrived.
    told: Duration,
    uses: u64,
    /// The secrets that the token's policies do not allow, as bits.
    denied: u32,
    issued: Duration,
    /// When the service-account token of the login expires.
    proof: Duration,
}

/// The credential that the pod has.
#[derive(Debug, Clone, Copy)]
struct ServerCredential {
    end: Duration,
    max: Duration,
    since: Duration,
    /// The index of the lease's token in `tokens`. None: the credential is not a lease.
    token: Option<usize>,
    judged: bool,
}

#[derive(Debug)]
struct ServerSecret {
    kind: SecretKind,
    credential: Option<ServerCredential>,
    /// When the last credential was made, whether or not its answer arrived; and the shortest time to the next credential.
    made: Option<(Duration, Duration)>,
    known_ttl: Duration,
    /// Until when the limiter gives no permit, because a try failed or its answer was lost.
    barred: Duration,
    read: Duration,
    renewed: Option<Duration>,
    reads_fail: Duration,
    renewals_fail: Duration,
    denied: Duration,
    gone: Duration,
    /// When the last known trouble of this secret ends.
    trouble: Duration,
}

/// One sidecar, its server, and their troubles.
struct SimulatedPod {
    seed: u64,
    rng: Rng,
    time: Duration,
    interval: Duration,
    schedule: Schedule,
    role: ServerRole,
    sources: Vec<ServerSecret>,
    tokens: Vec<ServerToken>,
    /// The server's tokens that the sidecar has: the schedule's number, and the index in `tokens`.
    held: Vec<(TokenNumber, usize)>,
    token_renewed: Option<Duration>,
    logged_in: Option<Duration>,
    away: Duration,
    throttled: Duration,
    /// Until when the pauses after the last quota may make reads of static secrets late.
    slowed: Duration,
    losing: Duration,
    odd: Duration,
    logins_fail: Duration,
    /// When the last known trouble of all secrets ends.
    trouble: Duration,
    /// When the server last gave a token or a lease an earlier end than before.
    shortened: Duration,
    /// The life of a service-account token. None: the server does not check that token at renewals.
    proof: Option<Duration>,
    /// The kubelet's delay at each replacement of the service-account token.
    kubelet: Duration,
    /// The time of the server's upgrade: tokens that were issued before cannot be renewed.
    upgraded: Duration,
    latency: Duration,
    works: u64,
}

impl SimulatedPod {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let brisk = seed.is_multiple_of(100);
        let interval = match brisk {
            true => length(&mut rng, 5 * SECOND, MINUTE),
            false => length(&mut rng, 2 * MINUTE, 24 * HOUR),
        };
        let shortest = if brisk { 20 * SECOND } else { 3 * MINUTE };
        let sources = (0..rng.usize(1..7))
            .map(|_| ServerSecret {
                kind: match rng.u8(0..8) {
                    0..3 => SecretKind::Static,
                    3..6 => {
                        let ttl = length(&mut rng, shortest, 48 * HOUR);
                        SecretKind::Leased {
                            ttl,
                            renewable: rng.u8(0..4) > 0,
                            max: ttl.mul_f64(1.0 + rng.f64() * 10.0),
                        }
                    }
                    6 => SecretKind::Certificate(length(&mut rng, shortest, 48 * HOUR)),
                    _ => SecretKind::Written,
                },
                credential: None,
                made: None,
                known_ttl: ZERO,
                barred: ZERO,
                read: ZERO,
                renewed: None,
                reads_fail: ZERO,
                renewals_fail: ZERO,
                denied: ZERO,
                gone: ZERO,
                trouble: ZERO,
            })
            .collect();
        let ttl = length(&mut rng, shortest, 48 * HOUR);
        let role = match rng.u8(0..10) {
            0 => ServerRole {
                ttl: ZERO,
                renewable: false,
                max: ZERO,
                uses: 0,
            },
            1 => ServerRole {
                ttl,
                renewable: false,
                max: ttl,
                uses: 0,
            },
            2 => ServerRole {
                ttl,
                renewable: true,
                max: ZERO,
                uses: 0,
            },
            3 => ServerRole {
                ttl,
                renewable: true,
                max: ZERO,
                uses: rng.u64(20..100),
            },
            _ => ServerRole {
                ttl,
                renewable: true,
                max: ttl.mul_f64(1.0 + rng.f64() * 10.0),
                uses: 0,
            },
        };
        let mut world = Self {
            seed,
            time: 10 * MINUTE,
            interval,
            schedule: Schedule::new(ZERO, 0, interval, None, &[]),
            role,
            sources,
            tokens: Vec::new(),
            held: Vec::new(),
            token_renewed: None,
            logged_in: None,
            away: ZERO,
            throttled: ZERO,
            slowed: ZERO,
            losing: ZERO,
            odd: ZERO,
            logins_fail: ZERO,
            trouble: ZERO,
            shortened: ZERO,
            proof: (!seed.is_multiple_of(3)).then(|| length(&mut rng, 10 * MINUTE, 24 * HOUR)),
            kubelet: Duration::from_secs(rng.u64(0..90)),
            upgraded: ZERO,
            latency: Duration::from_millis(rng.u64(0..2000)),
            works: 0,
            rng,
        };
        world.init();
        world
    }

    fn law(&self, holds: bool, what: &str) {
        assert!(
            holds,
            "seed {} at {:?}: {what}\n{:#?}\n{:#?}\n{:#?}\ninterval {:?}",
            self.seed, self.time, self.sources, self.role, self.schedule, self.interval
        );
    }

    /// Does the work of `podkey-init`: logs in, reads all secrets, and hands over.
    fn init(&mut self) {
        let grant = self.new_token();
        self.held = vec![(TokenNumber::default(), 0)];
        let held: Vec<_> = (0..self.sources.len())
            .map(|index| {
                self.sources[index].read = self.time;
                let answer = self.make(index, 0, true);
                Some(Obtained {
                    answer,
                    age: 2 * SECOND,
                })
            })
            .collect();
        self.time += 2 * SECOND;
        let token = Obtained {
            answer: grant,
            age: 2 * SECOND,
        };
        self.schedule = Schedule::new(self.time, self.rng.u64(..), self.interval, Some(token), &held);
    }

    /// Kills the sidecar and starts it again. The status file may be lost.
    fn restart(&mut self) {
        let known = self.rng.u8(0..4) > 0;
        let held: Vec<_> = self
            .sources
            .iter_mut()
            .map(|source| {
                let answer = match source.kind {
                    SecretKind::Static => Lifetime::Static,
                    SecretKind::Leased { renewable, .. } => Lifetime::Lease {
                        ttl: source.known_ttl,
                        renewable,
                    },
                    SecretKind::Certificate(_) => Lifetime::Ends { ttl: source.known_ttl },
                    SecretKind::Written => Lifetime::Unknown,
                };
                let age = self.time - source.made.map_or(self.time, |(at, _)| at);
                if !known && let Some((at, _)) = source.made {
                    source.made = Some((at, 30 * SECOND));
                    source.known_ttl = ZERO;
                }
                known.then_some(Obtained { answer, age })
            })
            .collect();
        self.held.clear();
        self.token_renewed = None;
        self.logged_in = None;
        self.schedule = Schedule::new(self.time, self.rng.u64(..), self.interval, None, &held);
        // Nobody renews the old token any more, so all leases end with that token.
        self.trouble_until(self.time);
        for source in &mut self.sources {
            if let Some(credential) = &mut source.credential {
                credential.judged = true;
            }
        }
    }

    fn trouble_until(&mut self, until: Duration) {
        self.trouble = self.trouble.max(until);
    }

    fn new_token(&mut self) -> Grant {
        let denied = (0..self.sources.len())
            .filter(|index| self.sources[*index].denied > self.time)
            .fold(0, |denied, index| denied | 1 << index);
        let for_ever = 100_000 * HOUR;
        let after = |length: Duration| self.time + if length.is_zero() { for_ever } else { length };
        self.tokens.push(ServerToken {
            end: after(self.role.ttl),
            max: after(self.role.max),
            since: self.time,
            told: after(self.role.ttl),
            uses: self.role.uses,
            denied,
            issued: self.time,
            proof: self.file_ends(),
        });
        Grant {
            ttl: self.role.ttl,
            renewable: self.role.renewable,
            uses: self.role.uses,
            proof: self.proof.map(|life| Proof {
                left: self.file_ends() - self.time,
                life,
            }),
        }
    }

    /// When the service-account token in the file expires. The kubelet replaces the token after four fifths of its life.
    fn file_ends(&self) -> Duration {
        let Some(life) = self.proof else { return Duration::MAX };
        let turn = life.mul_f64(0.8);
        let mut number = (self.time.as_secs_f64() / turn.as_secs_f64()) as u32;
        if number > 0 && self.time < turn * number + self.kubelet {
            number -= 1;
        }
        turn * number + life
    }

    /// The server answers a read, and makes a credential if the secret is of such a kind.
    fn make(&mut self, index: usize, token: usize, arrives: bool) -> Lifetime {
        let left = self.tokens[token].told - self.time;
        let source = &mut self.sources[index];
        let (lifetime, ttl, max, token, lives) = match source.kind {
            SecretKind::Static => return Lifetime::Static,
            SecretKind::Written => (Lifetime::Unknown, ZERO, ZERO, None, ZERO),
            SecretKind::Certificate(ttl) => (Lifetime::Ends { ttl }, ttl, ttl, None, ttl),
            SecretKind::Leased { ttl, renewable, max } => {
                (Lifetime::Lease { ttl, renewable }, ttl, max, Some(token), ttl.min(left))
            }
        };
        let (before, time) = (source.made, self.time);
        if arrives {
            source.known_ttl = lives;
            source.credential = (!ttl.is_zero()).then_some(ServerCredential {
                end: time + ttl,
                max: time + max,
                since: time,
                token,
                judged: false,
            });
        }
        let spacing = (30 * SECOND).max(source.known_ttl / 3);
        source.made = Some((time, spacing));
        self.law(
            before.is_none_or(|(at, spacing)| time >= at + spacing),
            "two new credentials too soon after each other",
        );
        lifetime
    }

    /// Simulates the time up to `until`: does the due work, and ends leases and tokens on the server.
    fn run(&mut self, until: Duration) {
        // After a start, work may be due at once.
        self.work();
        loop {
            let wake = self.schedule.wake();
            self.law(wake > self.time, "sleeps not at all");
            self.judge(wake.min(until));
            if wake >= until {
                self.time = self.time.max(until);
                return;
            }
            self.time = wake;
            let works = self.works;
            self.work();
            self.law(self.works > works, "woke up without work");
        }
    }

    fn work(&mut self) {
        let (began, mut here) = (self.time, 0);
        // Tokens that are replaced under a quota are revoked when the quota is forgotten, all at once.
        let most = 4 + 2 * self.sources.len() + self.schedule.replaced.len();
        while let Some(work) = self.schedule.due(self.time) {
            here += 1;
            // Each piece of work once, and once more for each second that passes.
            let each = usize::try_from((self.time - began).as_secs()).unwrap() + 1;
            self.law(here <= each * most, "does not come to rest");
            self.carry_out(work);
        }
        self.works += here as u64;
    }

    /// The law of leases: no credential ends if its server was healthy during the last three tenths of the TTL. (The schedule
    /// sends its first request at about that time.)
    fn judge(&mut self, until: Duration) {
        for index in 0..self.sources.len() {
            let source = &self.sources[index];
            let Some(credential) = source.credential.filter(|credential| !credential.judged) else {
                continue;
            };
            let (mut end, mut since) = (credential.end, credential.since);
            // The answer to a renewal may be lost: then the sidecar knows only the earlier end of the token.
            if let Some(token) = credential.token.map(|token| &self.tokens[token])
                && let known = token.end.min(token.told)
                && known < end
            {
                (end, since) = (known, since.max(token.since));
            }
            if end > until {
                continue;
            }
            let ttl = end.saturating_sub(since);
            let trouble = self.trouble.max(source.trouble);
            // The limiter is allowed to delay the read past the end if the server shortened a TTL or a try failed.
            let barred = self.shortened >= since || source.barred >= end;
            let excused = ttl < MINUTE || barred || trouble > end.saturating_sub(ttl.mul_f64(0.3));
            if !excused {
                println!("{index}: ended at {end:?} of {since:?}, trouble {trouble:?}");
            }
            self.law(
                excused,
                "a credential ended although the server was healthy in the last three tenths of its TTL",
            );
            if let Some(credential) = &mut self.sources[index].credential {
                credential.judged = true;
            }
        }
    }

    /// The failure of every request at this time, if any: the server is unavailable, or answers 429.
    fn hindrance(&mut self) -> Option<WorkFailure> {
        if self.time < self.away {
            return Some(WorkFailure::Unavailable);
        }
        if self.time < self.throttled && self.rng.bool() {
            let asked = self.rng.bool().then(|| Duration::from_secs(self.rng.u64(0..60)));
            self.trouble_until(self.time + asked.unwrap_or_default());
            return Some(WorkFailure::Throttled(asked));
        }
        None
    }

    fn is_lost(&mut self) -> bool {
        let lost = self.time < self.losing && self.rng.u8(0..3) == 0;
        if lost {
            self.trouble_until(self.time);
        }
        lost
    }

    fn use_token(&mut self, token: usize) -> Result<(), WorkFailure> {
        let time = self.time;
        let token = &mut self.tokens[token];
        if token.end <= time {
            return Err(WorkFailure::Denied);
        }
        if token.uses > 0 {
            token.uses -= 1;
            if token.uses == 0 {
                token.end = time;
            }
        }
        Ok(())
    }

    /// The token in use.
    fn current(&self) -> usize {
        self.held.last().unwrap().1
    }

    fn of(&self, number: TokenNumber) -> usize {
        self.held.iter().find(|(of, _)| *of == number).unwrap().1
    }

    fn carry_out(&mut self, work: Work) {
        let sent = self.time;
        let spaced = |before: Option<Duration>| before.is_none_or(|before| sent >= before + SECOND);
        let hindrance = self.hindrance();
        match work {
            Work::LoginIfNewer(_) if self.file_ends() <= self.tokens[self.current()].proof => {
                self.schedule.nothing_newer(self.time);
            }
            Work::Login(number) | Work::LoginIfNewer(number) => {
                let before = self.logged_in.replace(sent);
                self.law(spaced(before), "two logins within 1 s");
                let result = match hindrance {
                    Some(failure) => Err(failure),
                    None if sent < self.logins_fail => {
                        Err([WorkFailure::Denied, WorkFailure::Failed][self.rng.usize(0..2)])
                    }
                    None => {
                        let grant = self.new_token();
                        match self.is_lost() {
                            true => Err(WorkFailure::Unavailable),
                            false => {
                                self.held.push((number, self.tokens.len() - 1));
                                Ok(grant)
                            }
                        }
                    }
                };
                self.time += self.latency;
                self.schedule.logged_in(self.time, result);
            }
            Work::RenewToken => {
                let before = self.token_renewed.replace(sent);
                self.law(spaced(before), "two renewals within 1 s");
                let token = self.current();
                let result = match hindrance {
                    Some(failure) => Err(failure),
                    None => self.use_token(token).and_then(|()| self.renew_token(token)),
                };
                self.time += self.latency;
                self.schedule.token_renewed(self.time, result);
            }
            Work::RenewLease(source) => {
                let before = self.sources[source.0].renewed.replace(sent);
                self.law(spaced(before), "two renewals within 1 s");
                let token = self.current();
                let result = match hindrance {
                    Some(failure) => Err(failure),
                    None => self.use_token(token).and_then(|()| self.renew_lease(source.0)),
                };
                self.time += self.latency;
                self.schedule.lease_renewed(self.time, source, result);
            }
            Work::Read(sources) => {
                self.law(!sources.is_empty(), "reads nothing");
                let mut results = Vec::new();
                for source in &sources {
                    let result = self.read_one(source.0, hindrance);
                    results.push((*source, result));
                    if matches!(result, Err(WorkFailure::Unavailable | WorkFailure::Throttled(_))) {
                        break;
                    }
                }
                self.time += self.latency;
                self.schedule.read(self.time, &results);
                self.schedule.not_requested(&sources[results.len()..]);
            }
            Work::ReadLeased(source, permit) => {
                let made = self.sources[source.0].made;
                let result = self.read_one(source.0, hindrance);
                self.time += self.latency;
                let refused = matches!(
                    result,
                    Err(WorkFailure::Denied | WorkFailure::Gone | WorkFailure::Throttled(_))
                );
                let unmade = result.is_err() && self.sources[source.0].made == made;
                if refused || (unmade && self.rng.bool()) {
                    self.schedule.return_permit(permit);
                } else if result.is_err() {
                    let source = &mut self.sources[source.0];
                    source.barred = sent + (30 * SECOND).max(source.known_ttl / 3);
                }
                self.schedule.read(self.time, &[(source, result)]);
            }
            Work::Revoke(number) => {
                let token = self.of(number);
                for source in &self.sources {
                    let in_use = source.credential.is_some_and(|credential| {
                        credential.token == Some(token) && credential.end > sent && !credential.judged
                    });
                    self.law(
                        !in_use || self.tokens[token].end <= sent,
                        "revokes a token whose lease is in use",
                    );
                }
                let result = match hindrance {
                    Some(failure) => Err(failure),
                    None => {
                        self.tokens[token].end = self.tokens[token].end.min(sent);
                        Ok(())
                    }
                };
                self.time += self.latency;
                self.schedule.revoked(self.time, number, result);
            }
        }
    }

    /// The TTL in the answer to a renewal. In an odd time: zero, one second, less than before, or absurdly much.
    fn odd(&mut self, ttl: Duration) -> Duration {
        if self.time >= self.odd {
            return ttl;
        }
        self.trouble_until(self.time);
        match self.rng.u8(0..4) {
            0 => ZERO,
            1 => SECOND,
            2 => ttl / 3,
            _ => Duration::from_secs(u64::MAX),
        }
    }

    fn renew_token(&mut self, token: usize) -> Result<Grant, WorkFailure> {
        let ServerToken { issued, proof, .. } = self.tokens[token];
        if issued < self.upgraded {
            return Err(WorkFailure::Denied);
        }
        if proof <= self.time {
            let life = self.proof.unwrap_or_default();
            let excused = self.trouble + life.mul_f64(0.2) + 15 * MINUTE >= self.time;
            self.law(
                excused,
                "a token is renewed although what it was logged in for with has ended",
            );
            return Err(WorkFailure::Denied);
        }
        let ttl = self.odd(self.role.ttl);
        let lost = self.is_lost();
        let time = self.time;
        let token = &mut self.tokens[token];
        // The server's maximum TTL applies too.
        let ttl = ttl.min(token.max.saturating_sub(time));
        if !ttl.is_zero() {
            if time + ttl < token.end {
                self.shortened = time;
            }
            (token.end, token.since) = (time + ttl, time);
        }
        if lost {
            return Err(WorkFailure::Unavailable);
        }
        if !ttl.is_zero() {
            token.told = token.end;
        }
        Ok(Grant {
            ttl,
            renewable: true,
            uses: token.uses,
            proof: None,
        })
    }

    fn renew_lease(&mut self, index: usize) -> Result<Lifetime, WorkFailure> {
        let time = self.time;
        if time < self.sources[index].renewals_fail {
            return Err(WorkFailure::Failed);
        }
        let SecretKind::Leased { ttl, renewable, .. } = self.sources[index].kind else {
            panic!("renews what has no lease");
        };
        let ttl = self.odd(ttl);
        let lost = self.is_lost();
        let tokens = &self.tokens;
        let Some(credential) = &mut self.sources[index].credential else {
            return Err(WorkFailure::Gone);
        };
        let token_ended = credential.token.is_some_and(|token| tokens[token].end <= time);
        if credential.end <= time || token_ended {
            return Err(WorkFailure::Gone);
        }
        let ttl = ttl.min(credential.max.saturating_sub(time));
        if !ttl.is_zero() {
            if time + ttl < credential.end {
                self.shortened = time;
            }
            (credential.end, credential.since) = (time + ttl, time);
        }
        if lost {
            return Err(WorkFailure::Unavailable);
        }
        Ok(Lifetime::Lease { ttl, renewable })
    }

    fn read_one(&mut self, index: usize, hindrance: Option<WorkFailure>) -> Result<Lifetime, WorkFailure> {
        if let Some(failure) = hindrance {
            return Err(failure);
        }
        let token = self.current();
        self.use_token(token)?;
        let source = &self.sources[index];
        if self.tokens[token].denied & 1 << index != 0 {
            self.sources[index].trouble = self.sources[index].trouble.max(self.time);
            return Err(WorkFailure::Denied);
        }
        if self.time < source.gone {
            return Err(WorkFailure::Gone);
        }
        if self.time < source.reads_fail {
            // Half of the failed reads have made a credential.
            if self.rng.bool() {
                self.make(index, token, false);
            }
            // The path alone fails: either a proxy answers for it, or there is no answer.
            let by_path = self.seed % 4 == 1;
            return Err(if by_path {
                WorkFailure::Unavailable
            } else {
                WorkFailure::Failed
            });
        }
        if self.is_lost() {
            self.make(index, token, false);
            return Err(WorkFailure::Unavailable);
        }
        let lifetime = self.make(index, token, true);
        if lifetime == Lifetime::Static {
            let source = &self.sources[index];
            let trouble = self.trouble.max(source.trouble);
            // A path that fails alone looks like an unavailable server for a pause or two, until another path is read.
            let mut all = self.sources.iter();
            let one_fails = all.any(|other| other.trouble + 15 * MINUTE >= source.read);
            let pause = if one_fails { 10 * MINUTE } else { ZERO };
            let late = self.time > source.read + self.interval.mul_f64(1.1) + pause + 20 * SECOND;
            // The pauses need time to shrink.
            let excused = trouble + 15 * MINUTE >= source.read || self.slowed >= source.read;
            self.law(!late || excused, "a static secret is read too late");
        }
        self.sources[index].read = self.time;
        Ok(lifetime)
    }

    /// Makes one random trouble happen.
    fn mishap(&mut self) {
        let until = self.time + length(&mut self.rng, 5 * SECOND, 6 * HOUR);
        let index = self.rng.usize(0..self.sources.len());
        let source = &mut self.sources[index];
        match self.rng.u8(0..15) {
            14 => {
                self.upgraded = self.time;
                return;
            }
            0 | 1 => self.away = until,
            2 => self.throttled = until,
            3 => self.losing = until,
            4 => {
                self.odd = until;
                return;
            }
            5 => self.logins_fail = until,
            6 => source.reads_fail = until,
            7 => {
                let for_ever = self.rng.u8(0..4) == 0;
                source.renewals_fail = if for_ever { Duration::MAX } else { until };
                return;
            }
            8 => source.denied = until,
            9 => source.gone = until,
            10 => {
                // An operator revokes the token, and so its leases.
                if let Some((_, token)) = self.held.last() {
                    let token = *token;
                    self.tokens[token].end = self.tokens[token].end.min(self.time);
                    self.trouble_until(self.time);
                    self.excuse(|credential| credential.token == Some(token));
                }
                return;
            }
            11 => {
                let time = self.time;
                source.trouble = source.trouble.max(time);
                if let Some(credential) = &mut source.credential
                    && credential.token.is_some()
                {
                    credential.end = credential.end.min(time);
                    credential.judged = true;
                }
                return;
            }
            12 => {
                // The machine is suspended, and resumes during a pause.
                self.trouble_until(until);
                self.judge(until);
                self.time = until;
                self.work();
                return;
            }
            _ => return self.restart(),
        }
        match self.sources[index].trouble {
            _ if [self.away, self.throttled, self.losing, self.logins_fail].contains(&until) => {
                self.trouble_until(until);
                if self.throttled == until {
                    self.slowed = until + 90 * MINUTE;
                }
            }
            trouble => self.sources[index].trouble = trouble.max(until),
        }
        // Issued tokens keep the policies of their login, but the policies themselves may change too.
        if self.sources[index].denied == until {
            for token in &mut self.tokens {
                token.denied |= 1 << index;
            }
        }
    }

    fn excuse(&mut self, which: impl Fn(&ServerCredential) -> bool) {
        for source in &mut self.sources {
            if let Some(credential) = source.credential.as_mut().filter(|credential| which(credential)) {
                credential.judged = true;
            }
        }
    }

    /// When all troubles are over, after some time all secrets are fresh, and only the token in use is left.
    fn recovers(&mut self) {
        let now = self.time;
        self.away = now;
        self.throttled = now;
        self.losing = now;
        self.odd = now;
        self.logins_fail = now;
        for source in &mut self.sources {
            source.reads_fail = source.reads_fail.min(now);
            source.denied = source.denied.min(now);
            source.gone = source.gone.min(now);
        }
        let slowest = self.sources.iter().map(|source| source.known_ttl / 3).max();
        let wait = slowest.unwrap_or_default().max(self.interval.mul_f64(1.1)).max(HOUR) + 42 * MINUTE;
        self.run(now + wait);
        for index in 0..self.sources.len() {
            let state = self.schedule.freshness(SecretIndex(index), self.time);
            let short = self.sources[index].known_ttl < MINUTE && state == SecretFreshness::Expired;
            self.law(
                state == SecretFreshness::Fresh || short,
                &format!("{index} is {state:?} though all is well"),
            );
        }
        let current = self.held.last().map(|(_, token)| *token);
        for (number, token) in &self.held {
            // A lease of this token was replaced a moment ago.
            let made = |source: &ServerSecret| source.made.is_some_and(|(at, _)| at + MINUTE > self.time);
            if self.schedule.keeps(*number) && self.sources.iter().any(made) {
                continue;
            }
            let lives = self.tokens[*token].told.min(self.tokens[*token].end) > self.time;
            let mut credentials = self.sources.iter().filter_map(|source| source.credential);
            let in_use = credentials.any(|credential| credential.token == Some(*token));
            self.law(!lives || in_use || Some(*token) == current, "a token is left over");
        }
    }
}

fn simulate(seeds: std::ops::Range<u64>) -> u64 {
    let mut works = 0;
    for seed in seeds {
        let mut world = SimulatedPod::new(seed);
        while world.time < 100 * HOUR {
            let calm = length(&mut world.rng, MINUTE, 24 * HOUR);
            world.run(world.time + calm);
            world.mishap();
        }
        world.recovers();
        works += world.works;
    }
    works
}

#[test]
fn the_laws_hold_in_simulations() {
    let works = simulate(0..200);
    println!("{works} works");
    assert!(works > 100_000, "too little was checked: {works}");
}

/// Regression: after a new login, a random delay was added to the wait for the limiter, and the read came after the end of
/// the lease.
#[test]
fn a_secret_that_waits_for_the_limiter_is_read_before_its_lease_ends() {
    simulate(6908..6909);
}

/// Regression: after a 429 with a `Retry-After` came a pause that was measured from the 429, so a certificate ended during the pause.
#[test]
fn a_certificate_is_replaced_in_time_after_the_wait_that_the_server_asked_for() {
    simulate(6575..6576);
}

/// Regression: the pauses of a quota stayed as long as they were while the server was unavailable, and made reads late for hours after.
#[test]
fn a_quota_is_forgotten_although_the_server_was_unavailable_after_it() {
    simulate(1297..1298);
    simulate(7021..7022);
    // Here six tokens that were replaced under the quota are revoked at once.
    simulate(4958..4959);
}

/// Two tests, so that two cores share the work: 10 s in a release build, some minutes in a debug build.
#[test]
#[ignore = "takes minutes in a debug build"]
fn the_laws_hold_for_ten_thousand_seeds_first_half() {
    assert!(simulate(0..5_000) > 1_000_000);
}

#[test]
#[ignore = "takes minutes in a debug build"]
fn the_laws_hold_for_ten_thousand_seeds_second_half() {
    assert!(simulate(5_000..10_000) > 1_000_000);
}
