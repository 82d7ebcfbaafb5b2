//! The decision about the next changes of the certificates: one pure function of the objects as just read and of the replica's
//! memory.
//!
//! All replicas share one certificate authority (CA), in one Secret. There is no leader: each replica makes the changes that
//! are due. Every write names the version that was read. If another replica has written before, the write fails, and the replica
//! reads again. The rules:
//!
//! - A CA signs nothing before the CA is in the `caBundle`. If the replica still has a valid leaf, the CA must have been in the
//!   `caBundle` for [`SETTLE`] before: API servers learn of a changed `caBundle` by a watch.
//! - A CA stays in Secret and `caBundle` until the CA has expired. A replica that knows a missing CA puts it back. The set of
//!   trusted CAs only grows, so two replicas never undo each other's work.
//! - A CA that no replica knows is removed from the `caBundle`, but only after [`STRANGER`]: in this time each replica reads the
//!   objects once, and a replica that knows the CA puts it into the Secret.
//! - If the Secret is gone or broken, the first replica that notices restores it from memory. A Secret that never was podkey's
//!   is not changed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use super::authority::{Authority, CaCertificate, Leaf};
use super::keyring::{CaBundle, Keyring, SecretContents, youngest};

/// How long a new CA is in the `caBundle` before it signs, if the replica has a valid leaf meanwhile.
pub(super) const SETTLE: Duration = Duration::from_secs(60);
/// How long a CA that this replica does not know stays in the `caBundle`. Longer than any replica's pause between two
/// reads.
pub(super) const STRANGER: Duration = Duration::from_secs(20);

/// A moment, by two clocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    /// By the clock for the validity of certificates. May jump.
    pub(super) now: SystemTime,
    /// The time since the process began. Never jumps.
    pub(super) uptime: Duration,
}

/// The Secret as just read.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum SecretSeen {
    /// The Secret could not be read.
    Unknown,
    Absent,
    There(SecretContents),
}

/// The webhook configuration as just read.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum ConfigurationSeen {
    /// The configuration could not be read.
    Unknown,
    /// There is no configuration, or no webhook in it calls podkey's Service.
    Absent,
    /// The `caBundle` of each webhook that calls podkey's Service; there is at least one.
    There(Vec<CaBundle>),
}

/// The memory of a replica between two decisions.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// The keyring in the Secret when the Secret was last usable.
    pub(super) keyring: Option<Keyring>,
    /// Every CA that was ever in the Secret.
    known: BTreeSet<CaCertificate>,
    /// The uptime at which this replica first saw a CA in every `caBundle`.
    published: BTreeMap<CaCertificate, Duration>,
    /// The uptime at which this replica first saw an unknown CA in a `caBundle`.
    strangers: BTreeMap<CaCertificate, Duration>,
    /// The certificate that this replica serves with.
    pub(super) leaf: Option<Leaf>,
    /// How many days earlier this replica makes a successor: a random number between 0 and 1.
    eagerness: f64,
}

/// The changes to make, in this order. Each step is correct even if the step before has failed.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Steps {
    pub(super) secret: Option<SecretStep>,
    pub(super) publish: Option<Publish>,
    /// The CA that signs a new leaf.
    pub(super) sign: Option<Authority>,
}

/// The change of the Secret.
#[derive(Debug, PartialEq)]
pub(super) enum SecretStep {
    /// A new CA that signs at once, because no other CA can.
    Begin {
        /// Earlier CAs, which stay trusted.
        trusted: BTreeSet<CaCertificate>,
        why: String,
    },
    /// A new CA as `next` of this keyring.
    Prepare(Keyring),
    /// The next CA signs from now on.
    Promote(Keyring),
    /// The keyring that this replica remembers, and why.
    Restore(Keyring, String),
    /// The keyring that was read, with CAs that were missing, or without values that were broken.
    Complete(Keyring),
}

/// The change of each `caBundle`.
#[derive(Debug, PartialEq)]
pub(super) struct Publish {
    pub(super) authorities: BTreeSet<CaCertificate>,
    pub(super) fault: BundleFault,
}

/// What is wrong with the `caBundle`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BundleFault {
    /// No CA is in the bundle.
    Blank,
    /// Something that is not podkey's is in the bundle, with podkey's CAs or without them.
    Foreign,
    /// Some of podkey's CAs are missing.
    Incomplete,
}

impl Memory {
    /// `eagerness`: see [`Memory::eagerness`].
    pub(super) fn new(eagerness: f64) -> Self {
        Self {
            eagerness,
            ..Self::default()
        }
    }

    /// Remembers the objects that were read.
    pub(super) fn observe(&mut self, at: Moment, secret: &SecretSeen, configuration: &ConfigurationSeen) {
        if let SecretSeen::There(SecretContents::Keyring(keyring) | SecretContents::Damaged(keyring, _)) = secret {
            let known = self.known.iter().cloned().chain(keyring.trusted());
            self.known = youngest(known, at.now);
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
            self.published.entry(authority.clone()).or_insert(at.uptime);
        }
        let (seen, known) = (&seen, &self.known);
        self.strangers
            .retain(|authority, _| seen.contains(authority) && !known.contains(authority));
        // A CA that expired long ago does no harm, and a replica whose clock is behind may still use it.
        for stranger in seen.difference(known).filter(|authority| !authority.is_over(at.now)) {
            self.strangers.entry(stranger.clone()).or_insert(at.uptime);
        }
    }

    /// How long this replica has seen a CA in every `caBundle`.
    fn published_for(&self, authority: &CaCertificate, at: Moment) -> Option<Duration> {
        let since = self.published.get(authority)?;
        Some(at.uptime.saturating_sub(*since))
    }

    /// Whether API servers have had the time to learn of a CA.
    fn is_settled(&self, authority: &CaCertificate, at: Moment) -> bool {
        self.published_for(authority, at)
            .is_some_and(|duration| duration >= SETTLE)
    }

    /// The CAs to trust: all CAs that the Secret lists or has ever listed, unless expired.
    fn trusted(&self, keyring: Option<&Keyring>, at: Moment) -> BTreeSet<CaCertificate> {
        let listed = keyring.map(|keyring| keyring.listed.clone()).unwrap_or_default();
        let mut trusted = youngest(self.known.iter().cloned().chain(listed), at.now);
        if let Some(keyring) = keyring {
            trusted.insert(keyring.current.certificate.clone());
            trusted.extend(keyring.next.as_ref().map(|next| next.certificate.clone()));
        }
        trusted
    }
}

/// The decision. `memory` has observed `secret` and `configuration` already.
pub(super) fn steps(at: Moment, secret: &SecretSeen, configuration: &ConfigurationSeen, memory: &Memory) -> Steps {
    let keyring = match secret {
        SecretSeen::There(SecretContents::Keyring(keyring) | SecretContents::Damaged(keyring, _)) => Some(keyring),
        _ => memory.keyring.as_ref(),
    };
    let trusted = memory.trusted(keyring, at);
    let secret_step = secret_step(at, secret, memory, &trusted);
    let Some(keyring) = keyring else {
        return Steps {
            secret: secret_step,
            ..Steps::default()
        };
    };
    let publish = match configuration {
        ConfigurationSeen::There(bundles) => publish(at, secret, bundles, memory, &trusted),
        ConfigurationSeen::Unknown | ConfigurationSeen::Absent => None,
    };
    Steps {
        secret: secret_step,
        publish,
        sign: may_sign(at, configuration, memory, keyring, &trusted).then(|| keyring.current.clone()),
    }
}

fn secret_step(
    at: Moment,
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
        Some(keyring) if keyring.current.certificate.is_valid(at.now) => {
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
        SecretSeen::Absent => return restore("the Secret does not exist"),
        SecretSeen::There(SecretContents::Blank) => return restore("the Secret is empty"),
        SecretSeen::There(SecretContents::Broken(why)) => return restore(why),
        // Only a replica that has used the Secret before knows that it was podkey's.
        SecretSeen::There(SecretContents::Foreign) if memory.keyring.is_none() => return None,
        SecretSeen::There(SecretContents::Foreign) => {
            return restore("the Secret holds something that is not podkey's");
        }
        SecretSeen::There(SecretContents::Keyring(keyring)) => (keyring, None),
        SecretSeen::There(SecretContents::Damaged(keyring, why)) => (keyring, Some(why)),
    };
    let listed = Keyring {
        listed: trusted.clone(),
        ..keyring.clone()
    };
    let next = keyring.next.as_ref().filter(|next| next.certificate.is_valid(at.now));
    let current_is_valid = keyring.current.certificate.is_valid(at.now);
    match next {
        // If the current CA is not valid, a wait for [`SETTLE`] has no use.
        Some(next) if !current_is_valid || memory.is_settled(&next.certificate, at) => {
            Some(SecretStep::Promote(Keyring {
                current: next.clone(),
                next: None,
                ..listed
            }))
        }
        None if !current_is_valid => begin("the CA in the Secret is not valid now"),
        None if keyring.current.is_ageing(at.now, memory.eagerness) => Some(SecretStep::Prepare(listed)),
        _ if damage.is_some() || !trusted.is_subset(&keyring.listed) => Some(SecretStep::Complete(listed)),
        _ => None,
    }
}

fn publish(
    at: Moment,
    secret: &SecretSeen,
    bundles: &[CaBundle],
    memory: &Memory,
    trusted: &BTreeSet<CaCertificate>,
) -> Option<Publish> {
    // Unless the Secret has a complete keyring, no CA is removed: another replica may be about to put the CA into the Secret.
    let read = matches!(secret, SecretSeen::There(SecretContents::Keyring(_)));
    let stays = |since: &Duration| !read || at.uptime.saturating_sub(*since) < STRANGER;
    let (young, old): (Vec<_>, Vec<_>) = memory.strangers.iter().partition(|(_, since)| stays(since));
    let complete = bundles.iter().all(|bundle| trusted.is_subset(&bundle.authorities));
    let garbage = bundles.iter().any(|bundle| bundle.garbage);
    if complete && !garbage && old.is_empty() {
        return None;
    }
    let own = bundles.iter().any(|bundle| !bundle.authorities.is_disjoint(trusted));
    let fault = if garbage || !old.is_empty() || (!own && !young.is_empty()) {
        BundleFault::Foreign
    } else if !own {
        BundleFault::Blank
    } else {
        BundleFault::Incomplete
    };
    let mut authorities = trusted.clone();
    authorities.extend(young.into_iter().map(|(authority, _)| authority.clone()));
    Some(Publish { authorities, fault })
}

fn may_sign(
    at: Moment,
    configuration: &ConfigurationSeen,
    memory: &Memory,
    keyring: &Keyring,
    trusted: &BTreeSet<CaCertificate>,
) -> bool {
    let current = &keyring.current.certificate;
    let leaf = memory.leaf.as_ref().filter(|leaf| leaf.is_valid(at.now));
    let due = leaf.is_none_or(|leaf| leaf.renew_after <= at.now || !trusted.contains(&leaf.issuer));
    let published = match (configuration, leaf) {
        // No API server calls podkey, but a replica that was ready stays ready.
        (ConfigurationSeen::Absent, _) => memory.leaf.is_some(),
        (_, Some(_)) => memory.is_settled(current, at),
        (_, None) => memory.published_for(current, at).is_some(),
    };
    due && published && current.is_valid(at.now)
}

#[cfg(test)]
#[path = "tests/steps.rs"]
mod tests;
