//! Keeping certificate, Secret and `caBundle` right, call by call. What to ask for next is decided here without asking, so
//! that a test can be the API server.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use super::Certificate;
use super::authority::Authority;
#[cfg(test)]
use super::authority::Leaf;
use super::cluster::{Answer, ByItself, Cluster, Failure, Reason, Request};
use super::keyring::{Contents, Keyring, read_bundle, write_bundle};
use super::steps::{Clock, ConfigurationSeen, Found, Memory, Publish, SecretSeen, SecretStep, Steps, steps};
use crate::webhook::metrics::{Metrics, TlsFailure};

/// Between two looks at Secret and configuration, give or take a tenth.
const PAUSE: Duration = Duration::from_secs(15);
/// The same while there is nothing to serve with yet.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
/// So many looks come right after each other at most, each because the one before has changed something.
const MOST_ROUNDS: u32 = 10;
/// What goes on failing is said this often.
const SAY_AGAIN: Duration = Duration::from_secs(60);

/// What comes next.
#[derive(Debug)]
pub(super) enum Turn {
    Ask(Request),
    Rest(Duration),
}

/// One replica's part in keeping the certificates.
pub(in crate::webhook) struct Upkeep {
    names: ByItself,
    memory: Memory,
    certificate: Arc<Certificate>,
    metrics: Arc<Metrics>,
    stage: Stage,
    /// Looks since the last rest.
    rounds: u32,
    /// Whether a call of this look has failed, and how many looks in a row had such.
    failed: bool,
    failures: u32,
    /// What was said of trouble, up to the colon, and when.
    said: BTreeMap<String, Duration>,
}

/// Which answer is waited for.
enum Stage {
    Resting,
    Secret,
    Configuration { secret: SecretSeen, object: Option<Value> },
    SecretWritten { look: Look, done: Done },
    Published { look: Look, found: Found },
}

/// What the steps are made from.
struct Look {
    secret: Option<Value>,
    configuration: Option<Value>,
    steps: Steps,
}

/// What is said once the Secret is written.
enum Done {
    Begun(String),
    Prepared,
    Promoted,
    Restored(String),
    Completed,
}

impl Upkeep {
    pub(in crate::webhook) fn new(names: ByItself, certificate: Arc<Certificate>, metrics: Arc<Metrics>) -> Self {
        Self {
            names,
            memory: Memory::new(fastrand::f64()),
            certificate,
            metrics,
            stage: Stage::Resting,
            rounds: 0,
            failed: false,
            failures: 0,
            said: BTreeMap::new(),
        }
    }

    #[cfg(test)]
    pub(super) fn leaf(&self) -> Option<&Leaf> {
        self.memory.leaf.as_ref()
    }

    /// Begins a look.
    pub(super) fn look(&mut self) -> Request {
        self.rounds += 1;
        self.failed = false;
        self.stage = Stage::Secret;
        Request::ReadSecret
    }

    /// Takes the answer to what was asked for last.
    pub(super) fn answer(&mut self, clock: Clock, answer: Answer) -> Turn {
        match std::mem::replace(&mut self.stage, Stage::Resting) {
            Stage::Resting => Turn::Rest(PAUSE),
            Stage::Secret => {
                let (secret, object) = match answer {
                    Ok(None) => (SecretSeen::Absent, None),
                    Ok(Some(object)) => (SecretSeen::There(Keyring::read(&object)), Some(object)),
                    Err(failure) => {
                        let unreachable = failure.reason == Reason::Unreachable;
                        self.fail(clock, &failure);
                        if unreachable {
                            // The next call would only take its time to fail.
                            return self.decide(clock, &SecretSeen::Unknown, None, &ConfigurationSeen::Unknown, None);
                        }
                        (SecretSeen::Unknown, None)
                    }
                };
                self.stage = Stage::Configuration { secret, object };
                Turn::Ask(Request::ReadConfiguration)
            }
            Stage::Configuration { secret, object } => {
                let (configuration, configuration_object) = match answer {
                    Ok(found) => (self.configuration_seen(clock, found.as_ref()), found),
                    Err(failure) => {
                        self.fail(clock, &failure);
                        (ConfigurationSeen::Unknown, None)
                    }
                };
                self.decide(clock, &secret, object, &configuration, configuration_object)
            }
            Stage::SecretWritten { look, done } => match answer {
                Ok(_) => {
                    done.say(&self.names);
                    self.look_again(clock)
                }
                Err(failure) if failure.reason == Reason::Conflict => self.after_conflict(clock),
                Err(failure) => {
                    self.fail(clock, &failure);
                    self.publish_or_sign(clock, look)
                }
            },
            Stage::Published { look, found } => match answer {
                Ok(_) => {
                    self.say_published(found);
                    self.look_again(clock)
                }
                Err(failure) if failure.reason == Reason::Conflict => self.after_conflict(clock),
                Err(failure) => {
                    self.fail(clock, &failure);
                    self.sign(clock, &look.steps)
                }
            },
        }
    }

    fn decide(
        &mut self,
        clock: Clock,
        secret: &SecretSeen,
        secret_object: Option<Value>,
        configuration: &ConfigurationSeen,
        configuration_object: Option<Value>,
    ) -> Turn {
        self.memory.observe(clock, secret, configuration);
        if self.memory.keyring.is_none() && *secret == SecretSeen::There(Contents::Foreign) {
            let ByItself { namespace, secret, .. } = &self.names;
            let message = format!(
                "the Secret {namespace}/{secret} is not podkey's, and is left as it is: move what it holds to another Secret and \
                 delete it, or name another for podkey's CA with --tls-secret (the chart's fullnameOverride)"
            );
            self.trouble(clock, TlsFailure::Refused, &message);
        }
        if let Some(keyring) = &self.memory.keyring {
            self.metrics.show_ca_expiry(keyring.current.certificate.not_after);
        }
        let mut steps = steps(clock, secret, configuration, &self.memory);
        let step = steps.secret.take();
        let look = Look {
            secret: secret_object,
            configuration: configuration_object,
            steps,
        };
        let Some(step) = step else {
            return self.publish_or_sign(clock, look);
        };
        let (keyring, done) = match new_contents(clock, step) {
            Ok(contents) => contents,
            Err(error) => {
                self.fail_to_make(clock, &error);
                return self.publish_or_sign(clock, look);
            }
        };
        let object = keyring.write(look.secret.as_ref(), &self.names.namespace, &self.names.secret);
        let request = match look.secret {
            Some(_) => Request::UpdateSecret(object),
            None => Request::CreateSecret(object),
        };
        self.stage = Stage::SecretWritten { look, done };
        Turn::Ask(request)
    }

    fn publish_or_sign(&mut self, clock: Clock, mut look: Look) -> Turn {
        if let (Some(publish), Some(configuration)) = (look.steps.publish.take(), &look.configuration) {
            let patch = patch(&self.names, configuration, &publish);
            let found = publish.found;
            self.stage = Stage::Published { look, found };
            return Turn::Ask(Request::PatchConfiguration(patch));
        }
        self.sign(clock, &look.steps)
    }

    fn sign(&mut self, clock: Clock, steps: &Steps) -> Turn {
        if let Some(authority) = &steps.sign {
            let ByItself { service, namespace, .. } = &self.names;
            let names = [
                format!("{service}.{namespace}.svc"),
                format!("{service}.{namespace}.svc.cluster.local"),
                format!("{service}.{namespace}"),
                service.clone(),
            ];
            match authority.sign(&names, clock.now) {
                Ok(leaf) => {
                    self.certificate.serve(leaf.served.clone(), &self.metrics);
                    tracing::info!(
                        certificate_expires = %humantime::format_rfc3339_seconds(leaf.served.not_after),
                        ca_expires = %humantime::format_rfc3339_seconds(leaf.issuer.not_after),
                        "new certificate in use"
                    );
                    self.memory.leaf = Some(leaf);
                }
                Err(error) => self.fail_to_make(clock, &error),
            }
        }
        self.rest()
    }

    fn look_again(&mut self, clock: Clock) -> Turn {
        if self.rounds < MOST_ROUNDS {
            return Turn::Ask(self.look());
        }
        self.trouble(
            clock,
            TlsFailure::Refused,
            "what podkey writes into its Secret or into the caBundle does not stay there: something else writes to them too",
        );
        self.rest()
    }

    /// Somebody else has changed what we were about to change: a moment later we see what they made of it.
    fn after_conflict(&mut self, clock: Clock) -> Turn {
        if self.rounds < MOST_ROUNDS {
            return Turn::Rest(Duration::from_millis(fastrand::u64(20..250)));
        }
        self.trouble(
            clock,
            TlsFailure::Refused,
            "each time that podkey was about to write its Secret or the caBundle, somebody else had just done so: something else \
             writes to them all the time",
        );
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
            // 2 s, 4 s, 8 s, and then as ever.
            failures => PAUSE.min(Duration::from_secs(1 << failures.min(5))),
        };
        Turn::Rest(pause.mul_f64(0.9 + 0.2 * fastrand::f64()))
    }

    /// The `caBundle` of each webhook that calls our Service.
    fn configuration_seen(&mut self, clock: Clock, configuration: Option<&Value>) -> ConfigurationSeen {
        let ByItself {
            service,
            namespace,
            webhook_configuration: name,
            ..
        } = self.names.clone();
        let Some(configuration) = configuration else {
            let message = format!(
                "there is no MutatingWebhookConfiguration {name}: nothing calls podkey until it is there. Apply podkey's \
                 manifests or chart again, or name another with --webhook-configuration"
            );
            self.trouble(clock, TlsFailure::NoConfiguration, &message);
            return ConfigurationSeen::Absent;
        };
        let bundles: Vec<_> = ours(&self.names, configuration)
            .map(|(_, webhook)| {
                let text = webhook["clientConfig"]["caBundle"].as_str().unwrap_or_default();
                read_bundle(&decode(text))
            })
            .collect();
        if bundles.is_empty() {
            let message = format!(
                "no webhook of the MutatingWebhookConfiguration {name} calls the Service {namespace}/{service}: set its \
                 clientConfig.service, or name another with --service, --namespace or --webhook-configuration"
            );
            self.trouble(clock, TlsFailure::NoConfiguration, &message);
            return ConfigurationSeen::Absent;
        }
        ConfigurationSeen::There(bundles)
    }

    fn say_published(&self, found: Found) {
        let configuration = &self.names.webhook_configuration;
        match found {
            // Whoever has a leaf has seen its CA there before.
            Found::Blank if self.memory.leaf.is_none() => tracing::info!(configuration, "the caBundle is set"),
            Found::Incomplete => tracing::info!(configuration, "a CA was added to the caBundle"),
            Found::Blank | Found::Foreign => {
                self.metrics.ca_bundle_restorations.inc();
                let found = if found == Found::Blank { "blank" } else { "foreign" };
                tracing::warn!(
                    configuration,
                    found,
                    "the caBundle was not podkey's, and is again. Whatever else writes it (Helm, Argo CD, cert-manager) must be told to ignore it"
                );
            }
        }
    }

    fn fail(&mut self, clock: Clock, failure: &Failure) {
        self.failed = true;
        let kind = match failure.reason {
            Reason::Unreachable => TlsFailure::Unreachable,
            Reason::Forbidden => TlsFailure::Forbidden,
            Reason::Refused | Reason::Conflict => TlsFailure::Refused,
        };
        self.trouble(clock, kind, &failure.message);
    }

    fn fail_to_make(&mut self, clock: Clock, error: &rcgen::Error) {
        self.failed = true;
        self.trouble(
            clock,
            TlsFailure::Certificate,
            &format!("cannot make a certificate: {error}"),
        );
    }

    /// Counts each time, and says it once a minute.
    fn trouble(&mut self, clock: Clock, kind: TlsFailure, message: &str) {
        self.metrics.tls_failure(kind);
        // What comes after the colon may differ each time.
        let gist = message.split(':').next().unwrap_or_default();
        let said = self.said.get(gist);
        if said.is_some_and(|said| clock.uptime.saturating_sub(*said) < SAY_AGAIN) {
            return;
        }
        self.said.insert(gist.to_owned(), clock.uptime);
        match self.memory.leaf.as_ref().filter(|leaf| leaf.is_valid(clock.now)) {
            Some(leaf) => {
                let until = humantime::format_rfc3339_seconds(leaf.served.not_after);
                tracing::warn!(certificate_expires = %until, "{message}. Serving goes on with the certificate there is");
            }
            None => tracing::error!("{message}. Not ready: there is no valid certificate to serve with"),
        }
    }
}

/// The webhooks of a configuration that call our Service, with their places.
fn ours<'a>(names: &'a ByItself, configuration: &'a Value) -> impl Iterator<Item = (usize, &'a Value)> {
    let webhooks = configuration["webhooks"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    webhooks.iter().enumerate().filter(|(_, webhook)| {
        let service = &webhook["clientConfig"]["service"];
        service["name"] == *names.service && service["namespace"] == *names.namespace
    })
}

/// What is no base64 is no certificate either.
fn decode(base64: &str) -> Vec<u8> {
    BASE64.decode(base64).unwrap_or_else(|_| base64.as_bytes().to_vec())
}

/// Sets the `caBundle` of our webhooks and nothing else. A changed resourceVersion makes the API server compare it with what
/// it has, and answer 409 where they differ; written as it is, it changes nothing.
fn patch(names: &ByItself, configuration: &Value, publish: &Publish) -> Value {
    let bundle = BASE64.encode(write_bundle(&publish.authorities));
    let version = &configuration["metadata"]["resourceVersion"];
    let mut patch = vec![json!({"op": "replace", "path": "/metadata/resourceVersion", "value": version})];
    patch.extend(ours(names, configuration).map(
        |(index, _)| json!({"op": "add", "path": format!("/webhooks/{index}/clientConfig/caBundle"), "value": bundle}),
    ));
    patch.into()
}

fn new_contents(clock: Clock, step: SecretStep) -> Result<(Keyring, Done), rcgen::Error> {
    Ok(match step {
        SecretStep::Begin { trusted, why } => {
            let keyring = Keyring {
                listed: trusted,
                ..Keyring::new(Authority::generate(clock.now)?)
            };
            (keyring, Done::Begun(why))
        }
        SecretStep::Prepare(keyring) => {
            let keyring = Keyring {
                next: Some(Authority::generate(clock.now)?),
                ..keyring
            };
            (keyring, Done::Prepared)
        }
        SecretStep::Promote(keyring) => (keyring, Done::Promoted),
        SecretStep::Restore(keyring, why) => (keyring, Done::Restored(why)),
        SecretStep::Complete(keyring) => (keyring, Done::Completed),
    })
}

impl Done {
    fn say(self, names: &ByItself) {
        let secret = format!("{}/{}", names.namespace, names.secret);
        match self {
            Self::Begun(why) => tracing::info!(secret, why, "made a new CA"),
            Self::Prepared => tracing::info!(
                secret,
                "the CA ages: its successor is made, and will sign once it is trusted everywhere"
            ),
            Self::Promoted => tracing::info!(
                secret,
                "the next CA signs from now on; the one before stays trusted until it runs out"
            ),
            Self::Restored(why) => tracing::warn!(secret, why, "the Secret was lost, and is restored from memory"),
            Self::Completed => tracing::info!(secret, "the Secret lists all trusted CAs again"),
        }
    }
}

/// Keeps at it until the process ends.
pub(in crate::webhook) async fn keep(mut upkeep: Upkeep, cluster: Arc<Cluster>, now: fn() -> SystemTime) {
    let started = Instant::now();
    loop {
        let mut request = upkeep.look();
        let pause = loop {
            let answer = cluster.call(request, now()).await;
            let clock = Clock {
                now: now(),
                uptime: started.elapsed(),
            };
            match upkeep.answer(clock, answer) {
                Turn::Ask(next) => request = next,
                Turn::Rest(pause) => break pause,
            }
        };
        tokio::time::sleep(pause).await;
    }
}
