//! What is killed, when, and for how long. Each choice comes from one seed.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use serde_json::Value;

use crate::harness::api::cluster;
use crate::harness::control::Control;
use crate::harness::install::NAME;
use crate::{Asked, Run, replicas};

/// From one kill to the next, in seconds.
const PAUSE: std::ops::Range<f64> = 8.0..32.0;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Victim {
    /// One replica's process.
    Replica,
    /// Both replicas' processes at once.
    BothReplicas,
    /// One replica's pod, which the API deletes with its usual grace.
    ReplicaPod,
    OpenBao,
    Kubelet,
    ApiServer,
    Containerd,
}

/// How often each is chosen, of 100.
const SHARES: [(Victim, u32); 7] = [
    (Victim::Replica, 20),
    (Victim::BothReplicas, 6),
    (Victim::ReplicaPod, 14),
    (Victim::OpenBao, 22),
    (Victim::Kubelet, 14),
    (Victim::ApiServer, 14),
    (Victim::Containerd, 10),
];

impl Victim {
    /// What starts again only when this test starts it: its name, and how long it is away at the most, in seconds.
    fn component(self) -> Option<(&'static str, f64)> {
        match self {
            Self::OpenBao => Some(("openbao", 45.0)),
            Self::Kubelet => Some(("kubelet", 15.0)),
            Self::ApiServer => Some(("kube-apiserver", 8.0)),
            Self::Containerd => Some(("containerd", 6.0)),
            Self::Replica | Self::BothReplicas | Self::ReplicaPod => None,
        }
    }
}

#[derive(Clone, Debug)]
pub struct Kill {
    pub victim: Victim,
    /// Seconds of the run. For a replica both are the same: the cluster starts it.
    pub from: f64,
    pub to: f64,
}

#[derive(Default)]
pub struct Kills(Mutex<Vec<Kill>>);

impl Kills {
    /// Kills until the run is over, and starts everything again.
    pub fn go_on(&self, run: &Run, control: &Control, asked: &Asked) {
        let mut random = fastrand::Rng::with_seed(asked.seed);
        let shares = shares(&asked.victims);
        // What is away, since when, and until when.
        let mut away: Vec<(Victim, f64, f64)> = Vec::new();
        let mut next = 10.0;
        while !run.is_over() || !away.is_empty() {
            let now = run.now();
            away.retain(|(victim, from, to)| {
                let stays = now < *to && !run.is_over();
                if !stays {
                    self.start(run, control, *victim, *from);
                }
                stays
            });
            if now > next && !run.is_over() {
                next = now + PAUSE.start + (PAUSE.end - PAUSE.start) * random.f64();
                let (victim, share) = (choose(&mut random, &shares), random.f64());
                if away.iter().all(|(other, _, _)| *other != victim) {
                    self.kill(run, control, victim, share, &mut away);
                }
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn kill(&self, run: &Run, control: &Control, victim: Victim, share: f64, away: &mut Vec<(Victim, f64, f64)>) {
        let now = run.now();
        println!("{now:6.0} s: {victim:?}");
        match victim.component() {
            Some((name, most)) => {
                control.run(&["kill", name]);
                away.push((victim, now, now + 1.0 + share * (most - 1.0)));
            }
            None => {
                let replicas = replicas::processes();
                let one = (share * replicas.len() as f64) as usize;
                let killed = match victim {
                    Victim::BothReplicas => replicas.iter().filter(|replica| replica.kill()).count(),
                    Victim::Replica => replicas.get(one).into_iter().filter(|replica| replica.kill()).count(),
                    _ => usize::from(delete_a_replica(share)),
                };
                match killed {
                    0 => println!("{now:6.0} s: {victim:?}: there was none to kill"),
                    _ => self.note(victim, now, now),
                }
            }
        }
    }

    fn start(&self, run: &Run, control: &Control, victim: Victim, from: f64) {
        let (name, _) = victim.component().expect("a component");
        control.run(&["start", name]);
        self.note(victim, from, run.now());
    }

    fn note(&self, victim: Victim, from: f64, to: f64) {
        self.0.lock().unwrap().push(Kill { victim, from, to });
    }

    pub fn all(&self) -> Vec<Kill> {
        let mut all = self.0.lock().unwrap().clone();
        all.sort_by(|one, other| one.from.total_cmp(&other.from));
        all
    }

    pub fn counts(&self) -> BTreeMap<Victim, (usize, f64)> {
        let mut counts = BTreeMap::<_, (usize, f64)>::new();
        for kill in self.all() {
            let count = counts.entry(kill.victim).or_default();
            count.0 += 1;
            count.1 += kill.to - kill.from;
        }
        counts
    }
}

/// The shares of what may be killed: of all, or of those that are named.
fn shares(named: &str) -> Vec<(Victim, u32)> {
    let names: Vec<&str> = named.split(',').filter(|name| !name.is_empty()).collect();
    let is_named = |victim: Victim| names.is_empty() || names.contains(&format!("{victim:?}").as_str());
    let shares: Vec<_> = SHARES.into_iter().filter(|(victim, _)| is_named(*victim)).collect();
    let unknown = names
        .iter()
        .any(|name| SHARES.iter().all(|(victim, _)| format!("{victim:?}") != *name));
    assert!(!unknown, "VICTIMS={named}: they are {SHARES:?}");
    shares
}

fn choose(random: &mut fastrand::Rng, shares: &[(Victim, u32)]) -> Victim {
    let all: u32 = shares.iter().map(|(_, share)| share).sum();
    let mut number = random.u32(..all);
    for (victim, share) in shares {
        if number < *share {
            return *victim;
        }
        number -= share;
    }
    shares[0].0
}

/// Whether there was one to delete, and the API server took it.
fn delete_a_replica(share: f64) -> bool {
    let pods = format!("/api/v1/namespaces/{NAME}/pods");
    let Ok(listed) = cluster().try_call("GET", &pods, &Value::Null) else {
        return false;
    };
    let items = listed.json()["items"].as_array().cloned().unwrap_or_default();
    let staying: Vec<_> = items
        .iter()
        .filter(|pod| pod["metadata"]["deletionTimestamp"].is_null())
        .filter_map(|pod| pod["metadata"]["name"].as_str())
        .collect();
    staying
        .get((share * staying.len() as f64) as usize)
        .map(|name| cluster().try_call("DELETE", &format!("{pods}/{name}"), &Value::Null))
        .is_some_and(|answer| answer.is_ok_and(|answer| answer.is_success()))
}
