//! The log lines and counters of the certificate's upkeep. Each failure is counted every time, and logged once a minute.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::SelfManaged;
use super::authority::Leaf;
use super::steps::{BundleFault, Moment};
use crate::cluster::{CallError, CallErrorKind};
use crate::telemetry::LogThrottle;
use crate::webhook::metrics::{Metrics, UpkeepFailure};

/// The time between two log lines about one failure.
const LOG_PAUSE: Duration = Duration::from_secs(60);

/// The log and the counters of one replica's upkeep.
pub(super) struct UpkeepLog {
    names: SelfManaged,
    metrics: Arc<Metrics>,
    /// The throttles, by the beginning of the message, up to the colon.
    logged: BTreeMap<String, LogThrottle<Duration>>,
}

/// The change that was written into the Secret.
pub(super) enum SecretChange {
    /// A new CA, and why.
    Begun(String),
    /// A successor beside the CA that signs.
    Prepared,
    /// The successor signs.
    Promoted,
    /// The replica's memory of the Secret, and why.
    Restored(String),
    /// Trusted CAs that were missing.
    Completed,
}

impl UpkeepLog {
    pub(super) fn new(names: SelfManaged, metrics: Arc<Metrics>) -> Self {
        Self {
            names,
            metrics,
            logged: BTreeMap::new(),
        }
    }

    pub(super) fn secret_written(&self, change: SecretChange) {
        let secret = format!("{}/{}", self.names.namespace, self.names.secret);
        match change {
            SecretChange::Begun(why) => tracing::info!(secret, why, "podkey has made a new CA"),
            SecretChange::Prepared => tracing::info!(
                secret,
                "the CA ages: podkey has made its successor, which signs once all API servers trust it"
            ),
            SecretChange::Promoted => tracing::info!(
                secret,
                "the next CA signs from now on; the CA before stays trusted until it expires"
            ),
            SecretChange::Restored(why) => {
                tracing::warn!(secret, why, "the Secret was lost: it is restored from memory");
            }
            SecretChange::Completed => tracing::info!(secret, "the Secret lists all trusted CAs again"),
        }
    }

    /// `has_leaf`: podkey already serves, so its CA must have been in the `caBundle` before.
    pub(super) fn published(&self, fault: BundleFault, has_leaf: bool) {
        let configuration = &self.names.webhook_configuration;
        let found = match fault {
            BundleFault::Blank if !has_leaf => return tracing::info!(configuration, "podkey has set the caBundle"),
            BundleFault::Incomplete => return tracing::info!(configuration, "podkey has added a CA to the caBundle"),
            BundleFault::Blank => "blank",
            BundleFault::Foreign => "foreign",
        };
        self.metrics.ca_bundle_restored();
        tracing::warn!(
            configuration,
            found,
            "the caBundle was not podkey's: podkey has restored it. Configure whatever else writes it (Helm, Argo CD, cert-manager) to ignore it"
        );
    }

    pub(super) fn signed(&self, leaf: &Leaf) {
        tracing::info!(
            certificate_expires = %humantime::format_rfc3339_seconds(leaf.served.not_after),
            ca_expires = %humantime::format_rfc3339_seconds(leaf.issuer.not_after),
            "new certificate in use"
        );
    }

    pub(super) fn foreign_secret(&mut self, at: Moment, leaf: Option<&Leaf>) {
        let SelfManaged { namespace, secret, .. } = &self.names;
        let message = format!(
            "the Secret {namespace}/{secret} is not podkey's, and podkey does not change it: move its data to another Secret and \
             delete it, or name another Secret for podkey's CA with --tls-secret (the chart's fullnameOverride)"
        );
        self.trouble(at, leaf, UpkeepFailure::Refused, &message);
    }

    pub(super) fn no_configuration(&mut self, at: Moment, leaf: Option<&Leaf>) {
        let name = &self.names.webhook_configuration;
        let message = format!(
            "there is no MutatingWebhookConfiguration {name}: without it the API server does not call podkey. Apply podkey's \
             manifests or chart again, or name another configuration with --webhook-configuration"
        );
        self.trouble(at, leaf, UpkeepFailure::NoConfiguration, &message);
    }

    pub(super) fn no_webhook(&mut self, at: Moment, leaf: Option<&Leaf>) {
        let SelfManaged {
            service,
            namespace,
            webhook_configuration: name,
            ..
        } = &self.names;
        let message = format!(
            "no webhook of the MutatingWebhookConfiguration {name} calls the Service {namespace}/{service}: set its \
             clientConfig.service, or name another Service or configuration with --service, --namespace or \
             --webhook-configuration"
        );
        self.trouble(at, leaf, UpkeepFailure::NoConfiguration, &message);
    }

    pub(super) fn does_not_stay(&mut self, at: Moment, leaf: Option<&Leaf>) {
        let message = "another client changes podkey's Secret or caBundle each time that podkey has written it: find that \
                       client, and configure it to ignore them";
        self.trouble(at, leaf, UpkeepFailure::Refused, message);
    }

    pub(super) fn always_second(&mut self, at: Moment, leaf: Option<&Leaf>) {
        let message = "another client changes podkey's Secret or caBundle each time that podkey is about to write it: find \
                       that client, and configure it to ignore them";
        self.trouble(at, leaf, UpkeepFailure::Refused, message);
    }

    pub(super) fn call_failed(&mut self, at: Moment, leaf: Option<&Leaf>, error: &CallError) {
        let failure = match error.kind {
            CallErrorKind::Unreachable => UpkeepFailure::Unreachable,
            CallErrorKind::Forbidden => UpkeepFailure::Forbidden,
            CallErrorKind::Refused | CallErrorKind::Conflict | CallErrorKind::NotFound => UpkeepFailure::Refused,
        };
        self.trouble(at, leaf, failure, &error.message);
    }

    /// `leaf` is the certificate that podkey serves with meanwhile.
    pub(super) fn trouble(&mut self, at: Moment, leaf: Option<&Leaf>, failure: UpkeepFailure, message: &str) {
        self.metrics.upkeep_failure(failure);
        // The text after the colon may differ each time.
        let gist = message.split(':').next().unwrap_or_default();
        let throttle = self
            .logged
            .entry(gist.to_owned())
            .or_insert(LogThrottle::new(LOG_PAUSE));
        if !throttle.allows(at.uptime) {
            return;
        }
        match leaf.filter(|leaf| leaf.is_valid(at.now)) {
            Some(leaf) => {
                let until = humantime::format_rfc3339_seconds(leaf.served.not_after);
                tracing::warn!(certificate_expires = %until, "{message}. podkey goes on serving with its present certificate");
            }
            None => tracing::error!("{message}. podkey is not ready: it has no valid certificate to serve with"),
        }
    }
}
