//! What is to be done next about the certificates: one pure function of what was just seen and what is remembered.
//!
//! All replicas share one certificate authority, in one Secret. There is no leader: each replica does by itself whatever it
//! finds to be done, every write says which version it was made from, and whoever comes second reads again. The rules:
//!
//! - Nothing is signed by an authority that is not in the `caBundle`, and where a valid leaf can be used meanwhile, not before
//!   the authority has been there for [`SETTLE`]: API servers learn of it by a watch.
//! - An authority stays in Secret and `caBundle` until it has run out. Whoever knows one that is missing puts it back: what is
//!   to be trusted only ever grows, so two replicas never undo each other's work.
//! - What nobody knows is taken out of the `caBundle`, but only after [`STRANGER`]: a replica that knows it has had a look
//!   since, and has put it into the Secret.
//! - A Secret that is gone or broken becomes again what it was, from the memory of whoever sees it first. One that was never
//!   podkey's stays as it is.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use super::authority::{Authority, CaCertificate, Leaf};
use super::keyring::{Bundle, Contents, Keyring, youngest};

/// How long a new authority is in the `caBundle` before anything is signed by it, where that can wait.
pub(super) const SETTLE: Duration = Duration::from_secs(60);
/// How long an authority that we do not know stays in the `caBundle`. Longer than the pause between two looks of any replica.
pub(super) const STRANGER: Duration = Duration::from_secs(20);

/// The time, twice: as the certificates count it, which may jump, and since the process began, which does not.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    pub(super) now: SystemTime,
    pub(super) uptime: Duration,
}

/// The Secret, as it was just seen.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum SecretSeen {
    /// The API server gave no answer that says.
    Unknown,
    Absent,
    There(Contents),
}

/// The webhook configuration, as it was just seen.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum ConfigurationSeen {
    /// The API server gave no answer that says.
    Unknown,
    Absent,
    /// The `caBundle` of each webhook in it that calls our Service; there is at least one.
    There(Vec<Bundle>),
}

/// What a replica remembers from one look to the next.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// What the Secret held when it was last usable.
    pub(super) keyring: Option<Keyring>,
    /// Every authority that was ever in the Secret.
    known: BTreeSet<CaCertificate>,
    /// Since when an authority has been in the `caBundle`, by the uptime.
    published: BTreeMap<CaCertificate, Duration>,
    /// Since when one that nobody knows has been there.
    strangers: BTreeMap<CaCertificate, Duration>,
    pub(super) leaf: Option<Leaf>,
    eagerness: f64,
}

/// What is to be done, in this order. Where a step fails, the ones after it are still right.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Steps {
    pub(super) secret: Option<SecretStep>,
    pub(super) publish: Option<Publish>,
    /// Sign a leaf.
    pub(super) sign: Option<Authority>,
}

/// What is to be written into the Secret.
#[derive(Debug, PartialEq)]
pub(super) enum SecretStep {
    /// A new authority that signs at once: there is none that can. These others stay trusted.
    Begin {
        trusted: BTreeSet<CaCertificate>,
        why: String,
    },
    /// A new authority as the next one, beside these.
    Prepare(Keyring),
    /// The next authority is the one that signs from now on.
    Promote(Keyring),
    /// What this replica remembers, and why.
    Restore(Keyring, String),
    /// The same with authorities that were missing, or without what was broken.
    Complete(Keyring),
}

/// What is to be written into each `caBundle`.
#[derive(Debug, PartialEq)]
pub(super) struct Publish {
    pub(super) authorities: BTreeSet<CaCertificate>,
    pub(super) found: Found,
}

/// What was in the `caBundle` instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    Blank,
    /// Something that is not ours, beside ours or in its place.
    Foreign,
    /// Ours, but not all of them.
    Incomplete,
}

impl Memory {
    /// `eagerness` is between 0 and 1: how many days earlier than others this replica sees that an authority ages.
    pub(super) fn new(eagerness: f64) -> Self {
        Self {
            eagerness,
            ..Self::default()
        }
    }

    /// Takes in what was seen.
    pub(super) fn observe(&mut self, clock: Clock, secret: &SecretSeen, configuration: &ConfigurationSeen) {
        if let SecretSeen::There(Contents::Keyring(keyring) | Contents::Damaged(keyring, _)) = secret {
            let known = self.known.iter().cloned().chain(keyring.trusted());
            self.known = youngest(known, clock.now);
            self.keyring = Some(keyring.clone());
        }
        let bundles = match configuration {
            ConfigurationSeen::Unknown => return,
            ConfigurationSeen::Absent => &[],
            ConfigurationSeen::There(bundles) => bundles.as_slice(),
        };
        let everywhere = |authority: &CaCertificate| {
            !bundles.is_empty() && bundles.iter().all(|bundle| bundle.authorities.contains(authority))
        };
        let seen: BTreeSet<_> = bundles.iter().flat_map(|bundle| bundle.authorities.clone()).collect();
        self.published.retain(|authority, _| everywhere(authority));
        for authority in seen.iter().filter(|authority| everywhere(authority)) {
            self.published.entry(authority.clone()).or_insert(clock.uptime);
        }
        let (seen, known) = (&seen, &self.known);
        self.strangers
            .retain(|authority, _| seen.contains(authority) && !known.contains(authority));
        // One that has long run out may be known to a replica whose clock is behind, and does no harm.
        for stranger in seen.difference(known).filter(|authority| !authority.is_over(clock.now)) {
            self.strangers.entry(stranger.clone()).or_insert(clock.uptime);
        }
    }

    /// For how long an authority has been in the `caBundle`, as far as this replica has seen.
    fn published_for(&self, authority: &CaCertificate, clock: Clock) -> Option<Duration> {
        let since = self.published.get(authority)?;
        Some(clock.uptime.saturating_sub(*since))
    }

    /// Whether API servers have had the time to learn of an authority.
    fn is_settled(&self, authority: &CaCertificate, clock: Clock) -> bool {
        self.published_for(authority, clock)
            .is_some_and(|duration| duration >= SETTLE)
    }

    /// Who is to be trusted: whoever the Secret lists or has ever listed.
    fn trusted(&self, keyring: Option<&Keyring>, clock: Clock) -> BTreeSet<CaCertificate> {
        let listed = keyring.map(|keyring| keyring.listed.clone()).unwrap_or_default();
        let mut trusted = youngest(self.known.iter().cloned().chain(listed), clock.now);
        if let Some(keyring) = keyring {
            trusted.insert(keyring.current.certificate.clone());
            trusted.extend(keyring.next.as_ref().map(|next| next.certificate.clone()));
        }
        trusted
    }
}

/// The decision. `memory` has observed what is given with it.
pub(super) fn steps(clock: Clock, secret: &SecretSeen, configuration: &ConfigurationSeen, memory: &Memory) -> Steps {
    let keyring = match secret {
        SecretSeen::There(Contents::Keyring(keyring) | Contents::Damaged(keyring, _)) => Some(keyring),
        _ => memory.keyring.as_ref(),
    };
    let trusted = memory.trusted(keyring, clock);
    let secret_step = secret_step(clock, secret, memory, &trusted);
    let Some(keyring) = keyring else {
        return Steps {
            secret: secret_step,
            ..Steps::default()
        };
    };
    let publish = match configuration {
        ConfigurationSeen::There(bundles) => publish(clock, secret, bundles, memory, &trusted),
        ConfigurationSeen::Unknown | ConfigurationSeen::Absent => None,
    };
    Steps {
        secret: secret_step,
        publish,
        sign: may_sign(clock, configuration, memory, keyring, &trusted).then(|| keyring.current.clone()),
    }
}

fn secret_step(
    clock: Clock,
    secret: &SecretSeen,
    memory: &Memory,
    trusted: &BTreeSet<CaCertificate>,
) -> Option<SecretStep> {
    let begin = |why: &str| {
        Some(SecretStep::Begin {
            trusted: trusted.clone(),
            why: why.to_owned(),
        })
    };
    let restore = |why: &str| match &memory.keyring {
        Some(keyring) if keyring.current.certificate.is_valid(clock.now) => {
            let keyring = Keyring {
                listed: trusted.clone(),
                ..keyring.clone()
            };
            Some(SecretStep::Restore(keyring, why.to_owned()))
        }
        _ => begin(why),
    };
    let (keyring, damage) = match secret {
        SecretSeen::Unknown => return None,
        SecretSeen::Absent => return restore("the Secret is not there"),
        SecretSeen::There(Contents::Blank) => return restore("the Secret is empty"),
        SecretSeen::There(Contents::Broken(why)) => return restore(why),
        // Whoever has used the Secret knows that it was podkey's; nobody else can tell.
        SecretSeen::There(Contents::Foreign) if memory.keyring.is_none() => return None,
        SecretSeen::There(Contents::Foreign) => return restore("the Secret holds something else"),
        SecretSeen::There(Contents::Keyring(keyring)) => (keyring, None),
        SecretSeen::There(Contents::Damaged(keyring, why)) => (keyring, Some(why)),
    };
    let listed = Keyring {
        listed: trusted.clone(),
        ..keyring.clone()
    };
    let next = keyring
        .next
        .as_ref()
        .filter(|next| next.certificate.is_valid(clock.now));
    let current_is_valid = keyring.current.certificate.is_valid(clock.now);
    match next {
        // Where nothing valid can be signed otherwise, nothing is gained by waiting.
        Some(next) if !current_is_valid || memory.is_settled(&next.certificate, clock) => {
            Some(SecretStep::Promote(Keyring {
                current: next.clone(),
                next: None,
                ..listed
            }))
        }
        None if !current_is_valid => begin("the CA in the Secret is not valid now"),
        None if keyring.current.is_ageing(clock.now, memory.eagerness) => Some(SecretStep::Prepare(listed)),
        _ if damage.is_some() || !trusted.is_subset(&keyring.listed) => Some(SecretStep::Complete(listed)),
        _ => None,
    }
}

fn publish(
    clock: Clock,
    secret: &SecretSeen,
    bundles: &[Bundle],
    memory: &Memory,
    trusted: &BTreeSet<CaCertificate>,
) -> Option<Publish> {
    // Who is a stranger, only a usable Secret can say: another replica may be about to put one into it.
    let read = matches!(secret, SecretSeen::There(Contents::Keyring(_)));
    let stays = |since: &Duration| !read || clock.uptime.saturating_sub(*since) < STRANGER;
    let (young, old): (Vec<_>, Vec<_>) = memory.strangers.iter().partition(|(_, since)| stays(since));
    let complete = bundles.iter().all(|bundle| trusted.is_subset(&bundle.authorities));
    let garbage = bundles.iter().any(|bundle| bundle.garbage);
    if complete && !garbage && old.is_empty() {
        return None;
    }
    let ours = bundles.iter().any(|bundle| !bundle.authorities.is_disjoint(trusted));
    let found = if garbage || !old.is_empty() || (!ours && !young.is_empty()) {
        Found::Foreign
    } else if !ours {
        Found::Blank
    } else {
        Found::Incomplete
    };
    let mut authorities = trusted.clone();
    authorities.extend(young.into_iter().map(|(authority, _)| authority.clone()));
    Some(Publish { authorities, found })
}

fn may_sign(
    clock: Clock,
    configuration: &ConfigurationSeen,
    memory: &Memory,
    keyring: &Keyring,
    trusted: &BTreeSet<CaCertificate>,
) -> bool {
    let current = &keyring.current.certificate;
    let leaf = memory.leaf.as_ref().filter(|leaf| leaf.is_valid(clock.now));
    let due = leaf.is_none_or(|leaf| leaf.renew_after <= clock.now || !trusted.contains(&leaf.issuer));
    let published = match (configuration, leaf) {
        // Nobody calls us. A replica that was ready stays ready.
        (ConfigurationSeen::Absent, _) => memory.leaf.is_some(),
        (_, Some(_)) => memory.is_settled(current, clock),
        (_, None) => memory.published_for(current, clock).is_some(),
    };
    due && published && current.is_valid(clock.now)
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    const DAY: Duration = Duration::from_secs(86400);
    const LOOK: Duration = Duration::from_secs(15);

    /// A replica, and what it sees.
    struct Case {
        clock: Clock,
        memory: Memory,
    }

    fn case() -> Case {
        Case {
            clock: Clock {
                now: UNIX_EPOCH + 20_000 * DAY,
                uptime: Duration::ZERO,
            },
            memory: Memory::new(0.0),
        }
    }

    impl Case {
        fn authority(&self) -> Authority {
            Authority::generate(self.clock.now).unwrap()
        }

        fn after(&mut self, duration: Duration) -> &mut Self {
            self.clock.now += duration;
            self.clock.uptime += duration;
            self
        }

        fn sees(&mut self, secret: SecretSeen, configuration: ConfigurationSeen) -> Steps {
            self.memory.observe(self.clock, &secret, &configuration);
            let steps = steps(self.clock, &secret, &configuration, &self.memory);
            if let Some(authority) = &steps.sign {
                self.memory.leaf = Some(authority.sign(&["a".to_owned()], self.clock.now).unwrap());
            }
            steps
        }
    }

    fn secret(keyring: &Keyring) -> SecretSeen {
        SecretSeen::There(Contents::Keyring(Keyring {
            listed: keyring.trusted(),
            ..keyring.clone()
        }))
    }

    fn bundle<'a>(authorities: impl IntoIterator<Item = &'a Authority>) -> ConfigurationSeen {
        let authorities = authorities
            .into_iter()
            .map(|authority| authority.certificate.clone())
            .collect();
        ConfigurationSeen::There(vec![Bundle {
            authorities,
            garbage: false,
        }])
    }

    fn found(steps: &Steps) -> Option<Found> {
        steps.publish.as_ref().map(|publish| publish.found)
    }

    #[test]
    fn from_nothing_to_the_first_leaf() {
        let mut case = case();
        let keyring = Keyring::new(case.authority());
        for nothing in [SecretSeen::Absent, SecretSeen::There(Contents::Blank)] {
            let steps = case.sees(nothing, bundle([]));
            assert!(matches!(steps.secret, Some(SecretStep::Begin { .. })), "{steps:?}");
            assert!(steps.publish.is_none() && steps.sign.is_none());
        }
        // Where the Secret cannot be read, nothing is made up.
        assert_eq!(case.sees(SecretSeen::Unknown, bundle([])), Steps::default());
        let steps = case.sees(secret(&keyring), bundle([]));
        assert_eq!((found(&steps), steps.sign), (Some(Found::Blank), None));
        // One of two webhooks has it: nothing is signed yet.
        let half = match (bundle([&keyring.current]), bundle([])) {
            (ConfigurationSeen::There(one), ConfigurationSeen::There(other)) => {
                ConfigurationSeen::There([one, other].concat())
            }
            _ => unreachable!(),
        };
        let steps = case.sees(secret(&keyring), half);
        assert_eq!((found(&steps), steps.sign), (Some(Found::Incomplete), None));
        let steps = case.sees(secret(&keyring), bundle([&keyring.current]));
        assert_eq!((found(&steps), steps.sign.is_some()), (None, true));
        assert_eq!(
            case.after(LOOK).sees(secret(&keyring), bundle([&keyring.current])),
            Steps::default()
        );
    }

    #[test]
    fn a_successor_is_made_published_and_only_then_promoted() {
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
            assert_eq!(case.sees(seen().0, seen().1).secret, None, "{:?}", case.clock);
            case.after(LOOK);
        }
        let steps = case.sees(seen().0, seen().1);
        let Some(SecretStep::Promote(promoted)) = steps.secret else {
            panic!("{steps:?}")
        };
        assert_eq!((&promoted.current, &promoted.next), (&next, &None));
        assert!(promoted.trusted().contains(&old.certificate));
        // The leaf goes on until it is due, and the next one is by the new authority.
        assert_eq!(case.sees(secret(&promoted), bundle([&old, &next])), Steps::default());
        let steps = case.after(6 * DAY).sees(secret(&promoted), bundle([&old, &next]));
        assert_eq!(steps.sign, Some(next));
    }

    #[test]
    fn a_valid_leaf_waits_until_the_authority_is_known_and_no_leaf_does_not() {
        let mut case = case();
        let keyring = Keyring::new(case.authority());
        case.sees(secret(&keyring), bundle([&keyring.current]));
        // Another authority, in Secret and caBundle at once: somebody else's work.
        let mut other = Keyring::new(case.after(6 * DAY).authority());
        other.listed.insert(keyring.current.certificate.clone());
        let seen = || (secret(&other), bundle([&other.current, &keyring.current]));
        assert_eq!(case.sees(seen().0, seen().1).sign, None);
        assert!(case.after(SETTLE).sees(seen().0, seen().1).sign.is_some());
        let mut fresh = Case {
            memory: Memory::new(0.0),
            ..case
        };
        assert!(fresh.sees(seen().0, seen().1).sign.is_some());
    }

    #[test]
    fn a_lost_secret_is_restored_with_all_that_is_known() {
        let mut case = case();
        let mut keyring = Keyring::new(case.authority());
        keyring.listed.insert(case.authority().certificate);
        case.sees(secret(&keyring), bundle([&keyring.current]));
        for lost in [
            SecretSeen::Absent,
            SecretSeen::There(Contents::Blank),
            SecretSeen::There(Contents::Broken("x".to_owned())),
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
        // One that forgot some of it is completed; a lost list alone as well.
        let forgetful = Keyring::new(keyring.current.clone());
        let steps = case.sees(secret(&forgetful), bundle([&keyring.current]));
        assert!(matches!(steps.secret, Some(SecretStep::Complete(complete)) if complete.listed == keyring.trusted()));
        let damaged = SecretSeen::There(Contents::Damaged(keyring.clone(), "x".to_owned()));
        assert!(matches!(
            case.sees(damaged, bundle([&keyring.current])).secret,
            Some(SecretStep::Complete(_))
        ));
        // What is remembered has run out: a new one, and the old ones stay trusted.
        let steps = case
            .after(366 * DAY)
            .sees(SecretSeen::Absent, bundle([&keyring.current]));
        let Some(SecretStep::Begin { trusted, .. }) = steps.secret else {
            panic!("{steps:?}")
        };
        assert_eq!(trusted, keyring.trusted());
    }

    #[test]
    fn strangers_leave_the_bundle_when_nobody_has_claimed_them() {
        let mut case = case();
        let keyring = Keyring::new(case.authority());
        let stranger = case.authority();
        let both = || bundle([&keyring.current, &stranger]);
        assert_eq!(found(&case.sees(secret(&keyring), both())), None, "first it may stay");
        // What is missing is added at once, and the stranger stays beside it.
        let steps = case.sees(secret(&keyring), bundle([&stranger]));
        assert_eq!(found(&steps), Some(Found::Foreign));
        assert_eq!(steps.publish.unwrap().authorities.len(), 2);
        case.after(2 * LOOK);
        // Without a usable Secret nobody can say who is a stranger.
        for unsure in [SecretSeen::Unknown, SecretSeen::Absent] {
            assert_eq!(found(&case.sees(unsure, both())), None);
        }
        let steps = case.sees(secret(&keyring), both());
        assert_eq!(steps.publish.unwrap().authorities, keyring.trusted());
        // Somebody has put it into the Secret: it is one of ours.
        let mut claimed = keyring.clone();
        claimed.listed.insert(stranger.certificate.clone());
        assert_eq!(found(&case.sees(secret(&claimed), both())), None);
        let garbage = ConfigurationSeen::There(vec![Bundle {
            garbage: true,
            ..Bundle::default()
        }]);
        assert_eq!(found(&case.sees(secret(&claimed), garbage)), Some(Found::Foreign));
    }

    #[test]
    fn without_an_answer_a_leaf_is_renewed_by_what_was_published() {
        let mut case = case();
        let keyring = Keyring::new(case.authority());
        case.sees(secret(&keyring), bundle([&keyring.current]));
        let steps = case
            .after(6 * DAY)
            .sees(SecretSeen::Unknown, ConfigurationSeen::Unknown);
        assert_eq!(steps.sign, Some(keyring.current.clone()));
        // Deleted configuration: whoever was ready stays ready, whoever was not does not become it.
        let steps = case.after(6 * DAY).sees(secret(&keyring), ConfigurationSeen::Absent);
        assert!(steps.sign.is_some());
        let mut fresh = Case {
            memory: Memory::new(0.0),
            ..case
        };
        assert_eq!(fresh.sees(secret(&keyring), ConfigurationSeen::Absent).sign, None);
    }
}
