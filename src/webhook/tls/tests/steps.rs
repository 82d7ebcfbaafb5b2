//! The decisions of one replica, look by look.

use std::time::UNIX_EPOCH;

use super::*;

const DAY: Duration = Duration::from_secs(86400);
const LOOK: Duration = Duration::from_secs(15);

/// A replica's memory and its time.
struct ReplicaCase {
    at: Moment,
    memory: Memory,
}

fn case() -> ReplicaCase {
    ReplicaCase {
        at: Moment {
            now: UNIX_EPOCH + 20_000 * DAY,
            uptime: Duration::ZERO,
        },
        memory: Memory::new(0.0),
    }
}

impl ReplicaCase {
    fn authority(&self) -> Authority {
        Authority::generate(self.at.now).unwrap()
    }

    fn after(&mut self, duration: Duration) -> &mut Self {
        self.at.now += duration;
        self.at.uptime += duration;
        self
    }

    fn sees(&mut self, secret: SecretSeen, configuration: ConfigurationSeen) -> Steps {
        self.memory.observe(self.at, &secret, &configuration);
        let steps = steps(self.at, &secret, &configuration, &self.memory);
        if let Some(authority) = &steps.sign {
            self.memory.leaf = Some(authority.sign(&["a".to_owned()], self.at.now).unwrap());
        }
        steps
    }
}

fn secret(keyring: &Keyring) -> SecretSeen {
    SecretSeen::There(SecretContents::Keyring(Keyring {
        listed: keyring.trusted(),
        ..keyring.clone()
    }))
}

fn bundle<'a>(authorities: impl IntoIterator<Item = &'a Authority>) -> ConfigurationSeen {
    let authorities = authorities
        .into_iter()
        .map(|authority| authority.certificate.clone())
        .collect();
    ConfigurationSeen::There(vec![CaBundle {
        authorities,
        garbage: false,
    }])
}

fn fault(steps: &Steps) -> Option<BundleFault> {
    steps.publish.as_ref().map(|publish| publish.fault)
}

#[test]
fn a_new_installation_makes_a_ca_publishes_it_and_signs_its_first_leaf() {
    let mut case = case();
    let keyring = Keyring::new(case.authority());
    for nothing in [SecretSeen::Absent, SecretSeen::There(SecretContents::Blank)] {
        let steps = case.sees(nothing, bundle([]));
        assert!(matches!(steps.secret, Some(SecretStep::Begin { .. })), "{steps:?}");
        assert!(steps.publish.is_none() && steps.sign.is_none());
    }
    // Where the Secret cannot be read, no CA is made.
    assert_eq!(case.sees(SecretSeen::Unknown, bundle([])), Steps::default());
    let steps = case.sees(secret(&keyring), bundle([]));
    assert_eq!((fault(&steps), steps.sign), (Some(BundleFault::Blank), None));
    // Only one of two webhooks has the CA, so the CA does not sign yet.
    let half = match (bundle([&keyring.current]), bundle([])) {
        (ConfigurationSeen::There(one), ConfigurationSeen::There(other)) => {
            ConfigurationSeen::There([one, other].concat())
        }
        _ => unreachable!(),
    };
    let steps = case.sees(secret(&keyring), half);
    assert_eq!((fault(&steps), steps.sign), (Some(BundleFault::Incomplete), None));
    let steps = case.sees(secret(&keyring), bundle([&keyring.current]));
    assert_eq!((fault(&steps), steps.sign.is_some()), (None, true));
    assert_eq!(
        case.after(LOOK).sees(secret(&keyring), bundle([&keyring.current])),
        Steps::default()
    );
}

#[test]
fn a_successor_is_made_then_published_then_promoted() {
    let mut case = case();
    let mut keyring = Keyring::new(case.authority());
    let old = keyring.current.clone();
    case.sees(secret(&keyring), bundle([&old]));
    let steps = case.after(245 * DAY).sees(secret(&keyring), bundle([&old]));
    assert!(matches!(steps.secret, Some(SecretStep::Prepare(_))));
    let next = case.authority();
    keyring.next = Some(next.clone());
    let steps = case.sees(secret(&keyring), bundle([&old]));
    assert_eq!(
        (steps.secret, steps.publish.unwrap().authorities),
        (None, keyring.trusted())
    );
    let seen = || (secret(&keyring), bundle([&old, &next]));
    for _ in 0..4 {
        assert_eq!(case.sees(seen().0, seen().1).secret, None, "{:?}", case.at);
        case.after(LOOK);
    }
    let steps = case.sees(seen().0, seen().1);
    let Some(SecretStep::Promote(promoted)) = steps.secret else {
        panic!("{steps:?}")
    };
    assert_eq!((&promoted.current, &promoted.next), (&next, &None));
    assert!(promoted.trusted().contains(&old.certificate));
    // The leaf stays in use until it is due. The new CA signs the next leaf.
    assert_eq!(case.sees(secret(&promoted), bundle([&old, &next])), Steps::default());
    let steps = case.after(6 * DAY).sees(secret(&promoted), bundle([&old, &next]));
    assert_eq!(steps.sign, Some(next));
}

#[test]
fn a_replica_with_a_valid_leaf_waits_until_api_servers_know_the_ca_and_a_replica_without_one_does_not() {
    let mut case = case();
    let keyring = Keyring::new(case.authority());
    case.sees(secret(&keyring), bundle([&keyring.current]));
    // Another client has put another CA into Secret and caBundle at the same time.
    let mut other = Keyring::new(case.after(6 * DAY).authority());
    other.listed.insert(keyring.current.certificate.clone());
    let seen = || (secret(&other), bundle([&other.current, &keyring.current]));
    assert_eq!(case.sees(seen().0, seen().1).sign, None);
    assert!(case.after(SETTLE).sees(seen().0, seen().1).sign.is_some());
    let mut fresh = ReplicaCase {
        memory: Memory::new(0.0),
        ..case
    };
    assert!(fresh.sees(seen().0, seen().1).sign.is_some());
}

#[test]
fn a_lost_secret_is_restored_with_every_known_ca() {
    let mut case = case();
    let mut keyring = Keyring::new(case.authority());
    keyring.listed.insert(case.authority().certificate);
    case.sees(secret(&keyring), bundle([&keyring.current]));
    for lost in [
        SecretSeen::Absent,
        SecretSeen::There(SecretContents::Blank),
        SecretSeen::There(SecretContents::Broken("x".to_owned())),
    ] {
        let steps = case.sees(lost, bundle([&keyring.current]));
        let Some(SecretStep::Restore(restored, _)) = steps.secret else {
            panic!("{steps:?}")
        };
        assert_eq!(
            (restored.current, restored.listed),
            (keyring.current.clone(), keyring.trusted())
        );
    }
    // A Secret that lacks a CA is completed, and so is a Secret whose list is broken.
    let forgetful = Keyring::new(keyring.current.clone());
    let steps = case.sees(secret(&forgetful), bundle([&keyring.current]));
    assert!(matches!(steps.secret, Some(SecretStep::Complete(complete)) if complete.listed == keyring.trusted()));
    let damaged = SecretSeen::There(SecretContents::Damaged(keyring.clone(), "x".to_owned()));
    assert!(matches!(
        case.sees(damaged, bundle([&keyring.current])).secret,
        Some(SecretStep::Complete(_))
    ));
    // The remembered CA has expired: a new CA is made, and the old CAs stay trusted.
    let steps = case
        .after(366 * DAY)
        .sees(SecretSeen::Absent, bundle([&keyring.current]));
    let Some(SecretStep::Begin { trusted, .. }) = steps.secret else {
        panic!("{steps:?}")
    };
    assert_eq!(trusted, keyring.trusted());
}

#[test]
fn an_unknown_ca_is_removed_from_the_bundle_unless_a_replica_puts_it_into_the_secret() {
    let mut case = case();
    let keyring = Keyring::new(case.authority());
    let stranger = case.authority();
    let both = || bundle([&keyring.current, &stranger]);
    assert_eq!(
        fault(&case.sees(secret(&keyring), both())),
        None,
        "an unknown CA stays at first"
    );
    // A missing CA is added at once, and the unknown CA stays with it.
    let steps = case.sees(secret(&keyring), bundle([&stranger]));
    assert_eq!(fault(&steps), Some(BundleFault::Foreign));
    assert_eq!(steps.publish.unwrap().authorities.len(), 2);
    case.after(2 * LOOK);
    // Without a usable Secret no CA counts as unknown.
    for unsure in [SecretSeen::Unknown, SecretSeen::Absent] {
        assert_eq!(fault(&case.sees(unsure, both())), None);
    }
    let steps = case.sees(secret(&keyring), both());
    assert_eq!(steps.publish.unwrap().authorities, keyring.trusted());
    // Another replica has put the CA into the Secret, so the CA is trusted.
    let mut claimed = keyring.clone();
    claimed.listed.insert(stranger.certificate.clone());
    assert_eq!(fault(&case.sees(secret(&claimed), both())), None);
    let garbage = ConfigurationSeen::There(vec![CaBundle {
        garbage: true,
        ..CaBundle::default()
    }]);
    assert_eq!(fault(&case.sees(secret(&claimed), garbage)), Some(BundleFault::Foreign));
}

#[test]
fn without_an_answer_of_the_api_server_the_published_ca_signs_the_next_leaf() {
    let mut case = case();
    let keyring = Keyring::new(case.authority());
    case.sees(secret(&keyring), bundle([&keyring.current]));
    let steps = case
        .after(6 * DAY)
        .sees(SecretSeen::Unknown, ConfigurationSeen::Unknown);
    assert_eq!(steps.sign, Some(keyring.current.clone()));
    // The configuration was deleted: a ready replica stays ready, another replica does not become ready.
    let steps = case.after(6 * DAY).sees(secret(&keyring), ConfigurationSeen::Absent);
    assert!(steps.sign.is_some());
    let mut fresh = ReplicaCase {
        memory: Memory::new(0.0),
        ..case
    };
    assert_eq!(fresh.sees(secret(&keyring), ConfigurationSeen::Absent).sign, None);
}
