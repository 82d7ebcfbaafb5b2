//! The upkeep of certificate, Secret and `caBundle`. One look at Secret and configuration is a sequence of turns: each answer of the
//! API server decides the next turn. [`Upkeep`] itself makes no call, so that a test can play the API server.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use json_patch::Patch;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;

use super::authority::Authority;
#[cfg(test)]
use super::authority::Leaf;
use super::configuration::{bundles, patch};
use super::keyring::{Keyring, SecretContents};
use super::steps::{BundleFault, ConfigurationSeen, Memory, Moment, SecretSeen, SecretStep, Steps, steps};
use super::upkeep_log::{SecretChange, UpkeepLog};
use super::{SelfManaged, ServingCertificate};
use crate::cluster::{CallError, CallErrorKind, Cluster, StoredSecret};
use crate::webhook::metrics::{Metrics, UpkeepFailure};

/// The pause between two looks at Secret and configuration, plus or minus a tenth.
const PAUSE: Duration = Duration::from_secs(15);
/// The pause between two looks until the first certificate exists.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
/// The most looks in a row without the usual pause, because each look before made a change or met a conflict.
const MAX_ROUNDS: u32 = 10;

/// The next action of a replica.
#[derive(Debug)]
pub(super) enum Turn {
    ReadSecret,
    ReadConfiguration,
    CreateSecret(Box<StoredSecret>),
    /// The Secret that was read, with other data.
    UpdateSecret(Box<StoredSecret>),
    PatchConfiguration(Patch),
    Rest(Duration),
}

/// The upkeep of the certificates by one replica.
pub(in crate::webhook) struct Upkeep {
    pub(super) names: SelfManaged,
    memory: Memory,
    certificate: Arc<ServingCertificate>,
    metrics: Arc<Metrics>,
    log: UpkeepLog,
    expected: ExpectedAnswer,
    /// The number of looks since the last pause.
    rounds: u32,
    /// Whether a call of this look has failed.
    failed: bool,
    /// The number of looks in a row with a failed call.
    failures: u32,
}

/// The answer that comes next, and the data to continue after that answer.
#[derive(Default)]
enum ExpectedAnswer {
    #[default]
    Nothing,
    Configuration(SecretSeen, Option<StoredSecret>),
    SecretWritten(Look, SecretChange),
    ConfigurationPatched(Look, BundleFault),
}

/// One look: both objects as read, and the remaining steps.
struct Look {
    secret: Option<StoredSecret>,
    configuration: Option<MutatingWebhookConfiguration>,
    steps: Steps,
}

impl Upkeep {
    pub(in crate::webhook) fn new(
        names: SelfManaged,
        certificate: Arc<ServingCertificate>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            memory: Memory::new(fastrand::f64()),
            log: UpkeepLog::new(names.clone(), metrics.clone()),
            names,
            certificate,
            metrics,
            expected: ExpectedAnswer::Nothing,
            rounds: 0,
            failed: false,
            failures: 0,
        }
    }

    #[cfg(test)]
    pub(super) fn leaf(&self) -> Option<&Leaf> {
        self.memory.leaf.as_ref()
    }

    /// Begins a look.
    pub(super) fn look(&mut self) -> Turn {
        self.rounds += 1;
        self.failed = false;
        Turn::ReadSecret
    }

    /// Takes the answer to [`Turn::ReadSecret`].
    pub(super) fn secret_read(&mut self, at: Moment, answer: Result<Option<StoredSecret>, CallError>) -> Turn {
        let (seen, secret) = match answer {
            Ok(None) => (SecretSeen::Absent, None),
            Ok(Some(secret)) => (SecretSeen::There(Keyring::read(&secret)), Some(secret)),
            Err(error) => {
                self.fail(at, &error);
                if error.kind == CallErrorKind::Unreachable {
                    // The next call would only wait until it fails too.
                    return self.decide(at, &SecretSeen::Unknown, None, &ConfigurationSeen::Unknown, None);
                }
                (SecretSeen::Unknown, None)
            }
        };
        self.expected = ExpectedAnswer::Configuration(seen, secret);
        Turn::ReadConfiguration
    }

    /// Takes the answer to [`Turn::ReadConfiguration`].
    pub(super) fn configuration_read(
        &mut self,
        at: Moment,
        answer: Result<Option<MutatingWebhookConfiguration>, CallError>,
    ) -> Turn {
        let ExpectedAnswer::Configuration(seen, secret) = std::mem::take(&mut self.expected) else {
            return self.rest();
        };
        let (configuration_seen, configuration) = match answer {
            Ok(configuration) => (self.configuration_seen(at, configuration.as_ref()), configuration),
            Err(error) => {
                self.fail(at, &error);
                (ConfigurationSeen::Unknown, None)
            }
        };
        self.decide(at, &seen, secret, &configuration_seen, configuration)
    }

    /// Takes the answer to [`Turn::CreateSecret`] or [`Turn::UpdateSecret`].
    pub(super) fn secret_written(&mut self, at: Moment, answer: Result<(), CallError>) -> Turn {
        let ExpectedAnswer::SecretWritten(look, change) = std::mem::take(&mut self.expected) else {
            return self.rest();
        };
        match answer {
            Ok(()) => {
                self.log.secret_written(change);
                self.look_again(at)
            }
            Err(error) if error.kind == CallErrorKind::Conflict => self.after_conflict(at),
            Err(error) => {
                self.fail(at, &error);
                self.publish_or_sign(at, look)
            }
        }
    }

    /// Takes the answer to [`Turn::PatchConfiguration`].
    pub(super) fn configuration_patched(&mut self, at: Moment, answer: Result<(), CallError>) -> Turn {
        let ExpectedAnswer::ConfigurationPatched(look, fault) = std::mem::take(&mut self.expected) else {
            return self.rest();
        };
        match answer {
            Ok(()) => {
                self.log.published(fault, self.memory.leaf.is_some());
                self.look_again(at)
            }
            Err(error) if error.kind == CallErrorKind::Conflict => self.after_conflict(at),
            Err(error) => {
                self.fail(at, &error);
                self.sign(at, &look.steps)
            }
        }
    }

    fn configuration_seen(
        &mut self,
        at: Moment,
        configuration: Option<&MutatingWebhookConfiguration>,
    ) -> ConfigurationSeen {
        let Some(configuration) = configuration else {
            self.log.no_configuration(at, self.memory.leaf.as_ref());
            return ConfigurationSeen::Absent;
        };
        let bundles = bundles(&self.names, configuration);
        if bundles.is_empty() {
            self.log.no_webhook(at, self.memory.leaf.as_ref());
            return ConfigurationSeen::Absent;
        }
        ConfigurationSeen::There(bundles)
    }

    /// Decides the steps of this look, and takes the first step, the one for the Secret.
    fn decide(
        &mut self,
        at: Moment,
        secret_seen: &SecretSeen,
        secret: Option<StoredSecret>,
        configuration_seen: &ConfigurationSeen,
        configuration: Option<MutatingWebhookConfiguration>,
    ) -> Turn {
        self.memory.observe(at, secret_seen, configuration_seen);
        if self.memory.keyring.is_none() && *secret_seen == SecretSeen::There(SecretContents::Foreign) {
            self.log.foreign_secret(at, self.memory.leaf.as_ref());
        }
        if let Some(keyring) = &self.memory.keyring {
            self.metrics.show_ca_expiry(keyring.current.certificate.not_after);
        }
        let mut steps = steps(at, secret_seen, configuration_seen, &self.memory);
        let step = steps.secret.take();
        let look = Look {
            secret,
            configuration,
            steps,
        };
        match step.map(|step| new_keyring(at, step)) {
            None => self.publish_or_sign(at, look),
            Some(Ok((keyring, change))) => self.write_secret(look, &keyring, change),
            Some(Err(error)) => {
                self.fail_to_make(at, &error.to_string());
                self.publish_or_sign(at, look)
            }
        }
    }

    fn write_secret(&mut self, look: Look, keyring: &Keyring, change: SecretChange) -> Turn {
        let exists = look.secret.is_some();
        let secret = Box::new(keyring.write(look.secret.as_ref(), &self.names));
        self.expected = ExpectedAnswer::SecretWritten(look, change);
        if exists {
            Turn::UpdateSecret(secret)
        } else {
            Turn::CreateSecret(secret)
        }
    }

    fn publish_or_sign(&mut self, at: Moment, mut look: Look) -> Turn {
        if let (Some(publish), Some(configuration)) = (look.steps.publish.take(), &look.configuration) {
            match patch(&self.names, configuration, &publish.authorities) {
                Ok(patch) => {
                    self.expected = ExpectedAnswer::ConfigurationPatched(look, publish.fault);
                    return Turn::PatchConfiguration(patch);
                }
                Err(error) => self.fail_to_make(at, &error.to_string()),
            }
        }
        self.sign(at, &look.steps)
    }

    fn sign(&mut self, at: Moment, steps: &Steps) -> Turn {
        if let Some(authority) = &steps.sign {
            match authority.sign(&dns_names(&self.names), at.now) {
                Ok(leaf) => {
                    self.certificate.serve(leaf.served.clone(), &self.metrics);
                    self.log.signed(&leaf);
                    self.memory.leaf = Some(leaf);
                }
                Err(error) => self.fail_to_make(at, &error.to_string()),
            }
        }
        self.rest()
    }

    fn look_again(&mut self, at: Moment) -> Turn {
        if self.rounds < MAX_ROUNDS {
            return self.look();
        }
        self.log.does_not_stay(at, self.memory.leaf.as_ref());
        self.rest()
    }

    /// Another client has changed the object before this replica's write: the next look, a moment later, reads the result.
    fn after_conflict(&mut self, at: Moment) -> Turn {
        if self.rounds < MAX_ROUNDS {
            return Turn::Rest(Duration::from_millis(fastrand::u64(20..250)));
        }
        self.log.always_second(at, self.memory.leaf.as_ref());
        self.rest()
    }

    fn rest(&mut self) -> Turn {
        self.rounds = 0;
        self.failures = if self.failed {
            self.failures.saturating_add(1)
        } else {
            0
        };
        let pause = match self.failures {
            0 if self.memory.leaf.is_none() => FIRST_PAUSE,
            0 => PAUSE,
            // 2 s, 4 s, 8 s, then the usual pause.
            failures => PAUSE.min(Duration::from_secs(1 << failures.min(5))),
        };
        Turn::Rest(pause.mul_f64(0.9 + 0.2 * fastrand::f64()))
    }

    fn fail(&mut self, at: Moment, error: &CallError) {
        self.failed = true;
        self.log.call_failed(at, self.memory.leaf.as_ref(), error);
    }

    fn fail_to_make(&mut self, at: Moment, error: &str) {
        self.failed = true;
        let message = format!("cannot make a certificate: {error}");
        let leaf = self.memory.leaf.as_ref();
        self.log.trouble(at, leaf, UpkeepFailure::Certificate, &message);
    }
}

/// The keyring that a step writes into the Secret.
fn new_keyring(at: Moment, step: SecretStep) -> Result<(Keyring, SecretChange), rcgen::Error> {
    Ok(match step {
        SecretStep::Begin { trusted, why } => {
            let keyring = Keyring {
                listed: trusted,
                ..Keyring::new(Authority::generate(at.now)?)
            };
            (keyring, SecretChange::Begun(why))
        }
        SecretStep::Prepare(keyring) => {
            let keyring = Keyring {
                next: Some(Authority::generate(at.now)?),
                ..keyring
            };
            (keyring, SecretChange::Prepared)
        }
        SecretStep::Promote(keyring) => (keyring, SecretChange::Promoted),
        SecretStep::Restore(keyring, why) => (keyring, SecretChange::Restored(why)),
        SecretStep::Complete(keyring) => (keyring, SecretChange::Completed),
    })
}

/// The DNS names of podkey's Service.
fn dns_names(SelfManaged { service, namespace, .. }: &SelfManaged) -> [String; 4] {
    [
        format!("{service}.{namespace}.svc"),
        format!("{service}.{namespace}.svc.cluster.local"),
        format!("{service}.{namespace}"),
        service.clone(),
    ]
}

/// Keeps the certificate until the process ends.
pub(in crate::webhook) async fn keep_certificate(mut upkeep: Upkeep, cluster: Arc<Cluster>, now: fn() -> SystemTime) {
    let started = Instant::now();
    let at = || Moment {
        now: now(),
        uptime: started.elapsed(),
    };
    let SelfManaged {
        namespace,
        secret: name,
        webhook_configuration: configuration,
        ..
    } = upkeep.names.clone();
    let mut turn = upkeep.look();
    loop {
        turn = match turn {
            Turn::ReadSecret => {
                let answer = cluster.read_secret(&namespace, &name).await;
                upkeep.secret_read(at(), answer)
            }
            Turn::ReadConfiguration => {
                let answer = cluster.read_configuration(&configuration).await;
                upkeep.configuration_read(at(), answer)
            }
            Turn::CreateSecret(secret) => {
                let answer = cluster.create_secret(&namespace, &name, &secret).await;
                upkeep.secret_written(at(), answer)
            }
            Turn::UpdateSecret(secret) => {
                let answer = cluster.update_secret(&namespace, &name, &secret).await;
                upkeep.secret_written(at(), answer)
            }
            Turn::PatchConfiguration(patch) => {
                let answer = cluster.patch_configuration(&configuration, patch).await;
                upkeep.configuration_patched(at(), answer)
            }
            Turn::Rest(pause) => {
                tokio::time::sleep(pause).await;
                upkeep.look()
            }
        };
    }
}
