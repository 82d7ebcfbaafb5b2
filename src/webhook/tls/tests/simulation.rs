//! Many replicas, one API server, and troubles of every kind, in simulated time: at every moment each certificate that a replica
//! serves verifies against the `caBundle`, also against the older `caBundle` of an API server that is behind.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fastrand::Rng;
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::core::v1::Secret;
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::{ServerName, UnixTime};
use serde_json::json;

use super::super::SelfManaged;
use super::super::authority::{Authority, CaCertificate, Leaf};
use super::super::keyring::{Keyring, SecretContents, read_bundle};
use super::super::steps::Moment;
use super::super::upkeep::{Turn, Upkeep};
use crate::cluster::{CallError, CallErrorKind, StoredSecret};
use crate::webhook::metrics::Metrics;

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86400);
/// How far an API server may be behind, and how long after a replica is ready the API server first calls the replica.
const BEHIND: Duration = Duration::from_secs(5);
/// A broken `caBundle` is restored within this time.
const RESTORED: Duration = Duration::from_secs(60);
/// The longest time from one look to the next, with the calls of one look.
const NEXT_LOOK: Duration = Duration::from_secs(20);

fn names() -> SelfManaged {
    SelfManaged {
        service: "podkey".into(),
        namespace: "podkey".into(),
        secret: "podkey-ca".into(),
        webhook_configuration: "podkey".into(),
    }
}

/// The API server: two objects, each with a resourceVersion that every write must name.
#[derive(Default)]
struct Store {
    secret: Option<StoredSecret>,
    configuration: Option<MutatingWebhookConfiguration>,
    version: u64,
    writes: u32,
    /// Every Secret that was ever written.
    past: Vec<StoredSecret>,
}

fn conflict<T>() -> Result<T, CallError> {
    failed(CallErrorKind::Conflict)
}

fn failed<T>(kind: CallErrorKind) -> Result<T, CallError> {
    Err(CallError {
        kind,
        message: "cannot call: lost".to_owned(),
    })
}

impl Store {
    fn next_version(&mut self) -> Option<String> {
        self.version += 1;
        Some(self.version.to_string())
    }

    fn put_secret(&mut self, mut secret: StoredSecret) {
        secret.known.metadata.resource_version = self.next_version();
        self.secret = Some(secret);
    }

    fn put_configuration(&mut self, mut configuration: MutatingWebhookConfiguration) {
        configuration.metadata.resource_version = self.next_version();
        self.configuration = Some(configuration);
    }

    fn install(&mut self) {
        let webhook = |service: &str| {
            json!({"name": format!("{service}.podkey.dev"),
                "clientConfig": {"service": {"name": service, "namespace": "podkey"}}})
        };
        let configuration = json!({
            "metadata": {"name": "podkey"},
            "webhooks": [webhook("podkey"), webhook("other"), webhook("podkey")],
        });
        self.put_configuration(serde_json::from_value(configuration).unwrap());
    }

    fn create_secret(&mut self, secret: StoredSecret) -> Result<(), CallError> {
        if self.secret.is_some() {
            return conflict();
        }
        self.write_secret(secret);
        Ok(())
    }

    fn update_secret(&mut self, secret: StoredSecret) -> Result<(), CallError> {
        let version = |secret: &StoredSecret| secret.known.metadata.resource_version.clone();
        if self
            .secret
            .as_ref()
            .is_none_or(|stored| version(stored) != version(&secret))
        {
            return conflict();
        }
        self.write_secret(secret);
        Ok(())
    }

    fn write_secret(&mut self, secret: StoredSecret) {
        self.writes += 1;
        self.past.push(secret.clone());
        self.put_secret(secret);
    }

    fn patch_configuration(&mut self, patch: &json_patch::Patch) -> Result<(), CallError> {
        let Some(configuration) = &self.configuration else {
            return conflict();
        };
        let version = configuration.metadata.resource_version.clone();
        let mut patched = serde_json::to_value(configuration).unwrap();
        json_patch::patch(&mut patched, patch).unwrap();
        let patched: MutatingWebhookConfiguration = serde_json::from_value(patched).unwrap();
        if patched.metadata.resource_version != version {
            return conflict();
        }
        let other = &patched.webhooks.as_ref().unwrap()[1];
        assert_eq!(other.client_config.ca_bundle, None, "not podkey's webhook");
        self.writes += 1;
        self.put_configuration(patched);
        Ok(())
    }

    fn bundle(&self) -> Vec<CaCertificate> {
        let Some(configuration) = &self.configuration else {
            return Vec::new();
        };
        let of = |index: usize| {
            let webhook = &configuration.webhooks.as_ref().unwrap()[index];
            let bundle = webhook.client_config.ca_bundle.as_ref();
            read_bundle(bundle.map_or(&[], |bundle| &bundle.0)).authorities
        };
        of(0).intersection(&of(2)).cloned().collect()
    }

    fn set_bundle(&mut self, pem: &str) {
        let Some(mut configuration) = self.configuration.take() else {
            return;
        };
        for index in [0, 2] {
            let webhook = &mut configuration.webhooks.as_mut().unwrap()[index];
            webhook.client_config.ca_bundle = Some(ByteString(pem.as_bytes().to_vec()));
        }
        self.put_configuration(configuration);
    }

    fn change_secret(&mut self, change: impl FnOnce(&mut Secret)) {
        if let Some(mut secret) = self.secret.take() {
            change(&mut secret.known);
            self.put_secret(secret);
        }
    }

    fn set_value(&mut self, key: &str, value: impl Into<Vec<u8>>) {
        self.change_secret(|secret| {
            let data = secret.data.get_or_insert_default();
            data.insert(key.to_owned(), ByteString(value.into()));
        });
    }

    fn keyring(&self) -> Keyring {
        match Keyring::read(self.secret.as_ref().expect("a Secret")) {
            SecretContents::Keyring(keyring) => keyring,
            other => panic!("the Secret is not whole: {other:?}"),
        }
    }
}

/// Carries out a turn, and passes the API server's answer to the replica.
fn take_turn(upkeep: &mut Upkeep, store: &mut Store, turn: Turn, at: Moment, lost: Lost) -> Turn {
    fn answered<T>(lost: Lost, carry_out: impl FnOnce() -> Result<T, CallError>) -> Result<T, CallError> {
        match lost {
            Lost::Nothing => carry_out(),
            Lost::Request => failed(CallErrorKind::Unreachable),
            Lost::Answer => {
                let _ = carry_out();
                failed(CallErrorKind::Unreachable)
            }
        }
    }
    match turn {
        Turn::ReadSecret => upkeep.secret_read(at, answered(lost, || Ok(store.secret.clone()))),
        Turn::ReadConfiguration => upkeep.configuration_read(at, answered(lost, || Ok(store.configuration.clone()))),
        Turn::CreateSecret(secret) => upkeep.secret_written(at, answered(lost, || store.create_secret(*secret))),
        Turn::UpdateSecret(secret) => upkeep.secret_written(at, answered(lost, || store.update_secret(*secret))),
        Turn::PatchConfiguration(patch) => {
            upkeep.configuration_patched(at, answered(lost, || store.patch_configuration(&patch)))
        }
        Turn::Rest(_) => upkeep.look(),
    }
}

/// The part of a call that the network loses.
#[derive(Clone, Copy)]
enum Lost {
    Nothing,
    /// The request: the API server does not carry out the call.
    Request,
    /// The answer: the API server carries out the call, but the replica gets an error.
    Answer,
}

struct Replica {
    upkeep: Upkeep,
    metrics: Arc<Metrics>,
    /// The current call. `None`: the next look begins.
    turn: Option<Turn>,
    /// When the next turn is.
    at: Duration,
    born: Duration,
    /// How far the replica's clock is ahead of the cluster's clock.
    ahead: Duration,
    first_leaf: Option<Duration>,
    checked: Option<Leaf>,
}

struct SimulatedCluster {
    rng: Rng,
    store: Store,
    replicas: Vec<Replica>,
    /// The time since the beginning. Never jumps.
    time: Duration,
    /// The cluster's clock at the beginning, with all of its jumps.
    epoch: SystemTime,
    /// Each `caBundle` that an API server may still use, with the time at which it was replaced.
    seen: VecDeque<(Duration, Vec<CaCertificate>)>,
    away_until: Duration,
    /// Until this time, certificates need not verify.
    excused_until: Duration,
    lose_calls: bool,
    /// Whether the last jump of all clocks was forward.
    ahead_of_truth: bool,
    handshakes: u32,
}

impl SimulatedCluster {
    fn new(seed: u64, replicas: usize) -> Self {
        // The replicas' own jitter comes from the thread's generator.
        fastrand::seed(seed);
        let mut world = Self {
            rng: Rng::with_seed(seed),
            store: Store::default(),
            replicas: Vec::new(),
            time: Duration::ZERO,
            epoch: UNIX_EPOCH + DAY * 365 * 60,
            seen: VecDeque::new(),
            away_until: Duration::ZERO,
            excused_until: Duration::ZERO,
            lose_calls: false,
            ahead_of_truth: true,
            handshakes: 0,
        };
        world.store.install();
        for _ in 0..replicas {
            let replica = world.new_replica();
            world.replicas.push(replica);
        }
        world
    }

    fn new_replica(&mut self) -> Replica {
        let born = self.time + Duration::from_millis(self.rng.u64(0..500));
        let metrics = Arc::new(Metrics::new());
        Replica {
            upkeep: Upkeep::new(names(), Arc::default(), metrics.clone()),
            metrics,
            turn: None,
            at: born,
            born,
            ahead: Duration::ZERO,
            first_leaf: None,
            checked: None,
        }
    }

    fn now(&self) -> SystemTime {
        self.epoch + self.time
    }

    /// Simulates this duration.
    fn run(&mut self, duration: Duration) {
        let end = self.time + duration;
        while let Some((index, at)) = self
            .replicas
            .iter()
            .map(|replica| replica.at)
            .enumerate()
            .min_by_key(|(_, at)| *at)
        {
            if at > end {
                break;
            }
            self.time = self.time.max(at);
            self.turn(index);
            self.check();
        }
        self.time = end;
        self.check();
    }

    fn turn(&mut self, index: usize) {
        let latency = Duration::from_millis(self.rng.u64(1..200));
        let away = self.time < self.away_until;
        let (lost_before, lost_after) = if self.lose_calls {
            (self.rng.u8(0..100) < 2, self.rng.u8(0..100) < 2)
        } else {
            (false, false)
        };
        let lost = match (away || lost_before, lost_after) {
            (true, _) => Lost::Request,
            (false, true) => Lost::Answer,
            (false, false) => Lost::Nothing,
        };
        let replica = &mut self.replicas[index];
        let Some(turn) = replica.turn.take() else {
            replica.turn = Some(replica.upkeep.look());
            replica.at = self.time + latency;
            return;
        };
        let at = Moment {
            now: self.epoch + self.time + replica.ahead,
            uptime: self.time - replica.born,
        };
        match take_turn(&mut replica.upkeep, &mut self.store, turn, at, lost) {
            Turn::Rest(pause) => replica.at = self.time + pause,
            turn => {
                replica.turn = Some(turn);
                replica.at = self.time + latency;
            }
        }
        if replica.first_leaf.is_none() && replica.upkeep.leaf().is_some() {
            replica.first_leaf = Some(self.time);
        }
    }

    /// Checks that each API server can verify each replica's certificate.
    fn check(&mut self) {
        let bundle = self.store.bundle();
        if self.seen.back().is_none_or(|(_, seen)| *seen != bundle) {
            if let Some(last) = self.seen.back_mut() {
                last.0 = self.time;
            }
            self.seen.push_back((Duration::MAX, bundle));
        }
        while self
            .seen
            .front()
            .is_some_and(|(until, _)| *until < self.time.saturating_sub(BEHIND))
        {
            self.seen.pop_front();
        }
        let now = self.now();
        for (index, replica) in self.replicas.iter_mut().enumerate() {
            let Some(leaf) = replica.upkeep.leaf() else { continue };
            if replica
                .checked
                .as_ref()
                .is_none_or(|checked| checked.renew_after != leaf.renew_after)
            {
                verify(leaf, now);
                replica.checked = Some(leaf.clone());
            }
            let called = replica.first_leaf.is_some_and(|since| since + BEHIND <= self.time);
            if !called || self.time < self.excused_until || self.store.configuration.is_none() {
                continue;
            }
            self.handshakes += 1;
            assert!(
                leaf.is_valid(now),
                "replica {index} at {:?}: the leaf is not valid",
                self.time
            );
            for (_, bundle) in &self.seen {
                assert!(
                    bundle.contains(&leaf.issuer),
                    "replica {index} at {:?}: {:?} is not in the caBundle {bundle:?}",
                    self.time,
                    leaf.issuer
                );
            }
        }
    }

    fn excuse(&mut self, duration: Duration) {
        self.excused_until = self.excused_until.max(self.time.max(self.away_until) + duration);
    }

    /// Checks that the replicas stop making changes, with a complete Secret, `caBundle` and certificates.
    fn converges(&mut self) {
        self.lose_calls = false;
        self.run(self.away_until.saturating_sub(self.time) + 180 * SECOND);
        let writes = self.store.writes;
        self.run(300 * SECOND);
        assert_eq!(self.store.writes, writes, "the replicas do not come to rest");
        let keyring = self.store.keyring();
        let bundle = self.store.bundle();
        assert!(keyring.trusted().iter().all(|trusted| bundle.contains(trusted)));
        assert!(
            bundle.iter().all(|authority| keyring.trusted().contains(authority)),
            "an unknown CA stayed"
        );
        for replica in &self.replicas {
            assert!(
                replica
                    .upkeep
                    .leaf()
                    .is_some_and(|leaf| leaf.is_valid(self.epoch + self.time + replica.ahead))
            );
        }
    }

    /// Makes one random trouble happen. Returns its name.
    fn mishap(&mut self) -> &'static str {
        let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let key = ["tls.crt", "tls.key", "next.crt", "next.key", "ca.crt"][self.rng.usize(0..5)];
        match self.rng.u8(0..14) {
            0 => {
                self.store.secret = None;
                "the Secret is deleted"
            }
            1 => {
                self.store.change_secret(|secret| secret.data = None);
                "the Secret is emptied"
            }
            2 => {
                self.store.set_value(key, garbage);
                "a value of the Secret is garbage"
            }
            3 => {
                self.store.change_secret(|secret| {
                    secret.data.as_mut().map(|data| data.remove(key));
                });
                "a value of the Secret is gone"
            }
            4 => {
                let other = Keyring::new(Authority::generate(self.now()).unwrap());
                self.store.put_secret(other.write(None, &names()));
                "the Secret holds another CA"
            }
            5 => {
                if let Some(index) = (!self.store.past.is_empty()).then(|| self.rng.usize(0..self.store.past.len())) {
                    let past = self.store.past[index].clone();
                    self.store.put_secret(past);
                }
                "an old Secret is restored"
            }
            6 => {
                let index = self.rng.usize(0..self.replicas.len());
                self.replicas[index] = self.new_replica();
                "a replica restarts"
            }
            7 => {
                self.away_until = self.time + Duration::from_secs(self.rng.u64(1..300));
                if self.time < self.excused_until {
                    // A broken object can only be restored when the API server is back.
                    self.excuse(RESTORED);
                }
                "the API server is away"
            }
            8 => {
                self.store.set_bundle("");
                self.excuse(RESTORED);
                "the caBundle is blanked"
            }
            9 => {
                let foreign = Authority::generate(self.now()).unwrap().certificate.pem();
                self.store
                    .set_bundle(if self.rng.bool() { &foreign } else { "garbage" });
                self.excuse(RESTORED);
                "the caBundle is foreign"
            }
            10 => {
                self.store.install();
                self.excuse(RESTORED);
                "the configuration is created again"
            }
            11 => {
                self.ahead_of_truth = true;
                self.epoch += 30 * DAY;
                // While the API server is down, it calls no replica.
                self.excuse(NEXT_LOOK);
                "all clocks jump 30 days ahead"
            }
            // Two jumps back in a row would be more than CLOCK_ERROR allows.
            12 if self.ahead_of_truth => {
                self.ahead_of_truth = false;
                self.epoch -= 30 * DAY;
                self.excuse(NEXT_LOOK);
                "all clocks jump 30 days back"
            }
            _ => {
                let index = self.rng.usize(0..self.replicas.len());
                self.replicas[index].ahead = if self.rng.bool() { 30 * DAY } else { Duration::ZERO };
                "one clock jumps 30 days ahead, or is right again"
            }
        }
    }
}

/// Verifies the leaf as a TLS client does, with the issuer as the only root.
fn verify(leaf: &Leaf, now: SystemTime) {
    let mut roots = RootCertStore::empty();
    roots.add(leaf.issuer.der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .unwrap();
    let name = ServerName::try_from("podkey.podkey.svc").unwrap();
    let certificate = &leaf.served.key.cert[0];
    let now = UnixTime::since_unix_epoch(now.duration_since(UNIX_EPOCH).unwrap());
    if let Err(error) = verifier.verify_server_cert(certificate, &[], &name, &[], now) {
        panic!("the leaf does not verify: {error}");
    }
}

#[test]
fn twenty_replicas_that_start_together_agree_on_one_ca() {
    for seed in 0..10 {
        let mut world = SimulatedCluster::new(seed, 20);
        world.run(20 * SECOND);
        assert_eq!(world.store.keyring().trusted().len(), 1, "seed {seed}");
        assert!(world.replicas.iter().all(|replica| replica.upkeep.leaf().is_some()));
        // One write of the Secret and one of the configuration.
        assert_eq!(world.store.writes, 2, "seed {seed}");
        world.converges();
    }
}

#[test]
fn a_ca_is_renewed_before_it_expires() {
    let mut world = SimulatedCluster::new(1, 3);
    world.run(60 * SECOND);
    let first = world.store.keyring().current;
    // Two years in steps of three days.
    for _ in 0..(2 * 365 / 3) {
        world.epoch += 3 * DAY;
        world.run(150 * SECOND);
    }
    let last = world.store.keyring();
    assert!(last.current != first && !last.trusted().contains(&first.certificate));
    assert!(last.trusted().len() <= 3, "{:?}", last.trusted());
    world.converges();
}

#[test]
fn a_lost_secret_is_restored_as_it_was() {
    type Loss = fn(&mut Store);
    let losses: [(&str, Loss); 4] = [
        ("deleted", |store| store.secret = None),
        ("emptied", |store| {
            store.change_secret(|secret| secret.data = Some(BTreeMap::new()));
        }),
        ("key gone", |store| store.set_value("tls.key", "")),
        ("too large", |store| store.set_value("tls.crt", "A".repeat(675_000))),
    ];
    for (loss, lose) in losses {
        let mut world = SimulatedCluster::new(2, 3);
        world.run(60 * SECOND);
        world.store.change_secret(|secret| {
            let labels = secret.metadata.labels.get_or_insert_default();
            labels.insert("mine".to_owned(), "x".to_owned());
        });
        world.store.set_value("later.version", "x");
        let before = world.store.keyring();
        let published = world.store.bundle();
        lose(&mut world.store);
        world.run(NEXT_LOOK);
        assert_eq!(world.store.keyring(), before, "{loss}");
        assert_eq!(world.store.bundle(), published, "{loss}");
        let restored = &world.store.secret.as_ref().unwrap().known;
        if loss != "deleted" {
            assert_eq!(restored.metadata.labels.as_ref().unwrap()["mine"], "x", "{loss}");
        }
        if loss == "key gone" {
            assert_eq!(restored.data.as_ref().unwrap()["later.version"].0, b"x");
        }
        world.converges();
    }
}

#[test]
fn a_new_replica_that_finds_no_secret_does_not_invalidate_the_certificates_of_other_replicas() {
    for seed in 0..10 {
        let mut world = SimulatedCluster::new(seed, 3);
        world.run(60 * SECOND);
        let old = world.store.keyring().current;
        world.store.secret = None;
        world.replicas[0] = world.new_replica();
        // The new replica is the first to look, and knows no CA. The other replicas still serve leaves of the old CA, and put the
        // old CA back in time.
        world.run(180 * SECOND);
        let keyring = world.store.keyring();
        assert!(keyring.trusted().contains(&old.certificate), "seed {seed}");
        world.converges();
    }
}

#[test]
fn a_secret_that_is_not_podkey_s_is_not_changed() {
    let mut world = SimulatedCluster::new(4, 2);
    world.store.put_secret(StoredSecret::from(Secret::default()));
    let ca = Authority::generate(world.now()).unwrap().certificate.pem();
    world.store.set_value("ca.crt", ca);
    let foreign = world.store.secret.clone();
    world.run(180 * SECOND);
    assert_eq!(world.store.secret, foreign);
    assert_eq!(world.store.writes, 0);
    let metrics = world.replicas[0].metrics.encode().unwrap();
    assert!(!metrics.contains("{reason=\"refused\"} 0"), "{metrics}");
    world.store.secret = None;
    world.converges();
}

#[test]
fn a_replica_whose_writes_always_conflict_reports_that() {
    let mut store = Store::default();
    store.install();
    let metrics = Arc::new(Metrics::new());
    let mut upkeep = Upkeep::new(names(), Arc::default(), metrics.clone());
    let at = Moment {
        now: UNIX_EPOCH + DAY * 365 * 60,
        uptime: Duration::ZERO,
    };
    let refused = || {
        !metrics
            .encode()
            .unwrap()
            .contains("_failures_total{reason=\"refused\"} 0")
    };
    for _ in 0..10 {
        assert!(!refused(), "reported too early");
        let mut turn = upkeep.look();
        while !matches!(turn, Turn::Rest(_)) {
            turn = match turn {
                Turn::CreateSecret(_) => upkeep.secret_written(at, conflict()),
                turn => take_turn(&mut upkeep, &mut store, turn, at, Lost::Nothing),
            };
        }
    }
    assert!(refused());
}

#[test]
fn without_an_api_server_podkey_continues_to_serve_for_months() {
    let mut world = SimulatedCluster::new(3, 2);
    world.run(120 * SECOND);
    world.away_until = Duration::MAX;
    for _ in 0..100 {
        world.epoch += DAY;
        world.run(60 * SECOND);
        let now = world.now();
        assert!(
            world
                .replicas
                .iter()
                .all(|replica| replica.upkeep.leaf().unwrap().is_valid(now))
        );
    }
}

#[test]
fn each_certificate_that_is_served_verifies_after_every_trouble() {
    let seeds: u64 = std::env::var("PODKEY_SEEDS").map_or(8, |seeds| seeds.parse().unwrap());
    let mut handshakes = 0;
    for seed in 0..seeds {
        let mut world = SimulatedCluster::new(seed, 5);
        world.lose_calls = seed % 2 == 1;
        world.run(60 * SECOND);
        for _ in 0..40 {
            let mishap = world.mishap();
            println!("seed {seed}, {:?}: {mishap}", world.time);
            let pause = world.rng.u64(1..180);
            world.run(Duration::from_secs(pause));
        }
        world.converges();
        handshakes += world.handshakes;
    }
    assert!(
        handshakes > 1000 * u32::try_from(seeds).unwrap(),
        "too few checks: {handshakes}"
    );
}
