//! What `/metrics` shows. No label has a value that a pod's author can choose: that would let anyone fill the memory.

use std::fmt::Write;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, EncodeMetric, LabelValueEncoder, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry};

/// The webhook's metrics.
pub(super) struct Metrics {
    registry: Registry,
    admissions: Family<Outcome, Counter>,
    duration: Histogram,
    pub(super) in_flight: Gauge,
    pub(super) panics: Counter,
    certificate_expiry: Expiry,
    pub(super) certificate_reload_failures: Counter,
    /// Not known while certificates come from files: nothing says who signed them.
    ca_expiry: Expiry,
    pub(super) ca_bundle_restorations: Counter,
    tls_failures: Family<Failure, Counter>,
    pods: Family<PodOutcome, Counter>,
    /// Connections that are open.
    pub(super) connections: Gauge,
    /// Connections that we ended, by reason.
    pub(super) connection_cuts: Family<Cut, Counter>,
    /// Bytes that are taken, by part of the account.
    pub(super) account: Family<AccountPart, Gauge>,
}

/// How an admission request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum AdmissionResult {
    Injected,
    Ignored,
    Denied,
    /// No AdmissionReview v1, too large, too slow, or the fault was ours.
    Invalid,
}

impl AdmissionResult {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Injected => "injected",
            Self::Ignored => "ignored",
            Self::Denied => "denied",
            Self::Invalid => "invalid",
        }
    }
}

impl EncodeLabelValue for AdmissionResult {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> std::fmt::Result {
        encoder.write_str(self.as_str())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    result: AdmissionResult,
}

/// What became of a pod. A pod is reviewed again when other webhooks have changed it, and a dry run makes none: each pod
/// counts once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum PodResult {
    Injected,
    Denied,
}

impl EncodeLabelValue for PodResult {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> std::fmt::Result {
        encoder.write_str(match self {
            Self::Injected => "injected",
            Self::Denied => "denied",
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PodOutcome {
    result: PodResult,
}

/// Why we ended a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum CutReason {
    /// TLS took too long.
    Handshake,
    /// No valid review came in time.
    Unproven,
    /// Nothing came for a long time.
    Idle,
    /// A request took too long.
    SlowRequest,
    /// The client did not take its answer in time.
    SlowAnswer,
    /// It made room for a newcomer.
    NoPlace,
    /// It held bytes that others waited for, and did nothing with them.
    NoMemory,
    /// It was a newcomer, and all others were working.
    Refused,
    /// It did not end when the server did.
    Stopping,
}

impl EncodeLabelValue for CutReason {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> std::fmt::Result {
        encoder.write_str(match self {
            Self::Handshake => "handshake",
            Self::Unproven => "unproven",
            Self::Idle => "idle",
            Self::SlowRequest => "slow_request",
            Self::SlowAnswer => "slow_answer",
            Self::NoPlace => "no_place",
            Self::NoMemory => "no_memory",
            Self::Refused => "turned_away",
            Self::Stopping => "stopping",
        })
    }
}

impl CutReason {
    const ALL: [Self; 9] = [
        Self::Handshake,
        Self::Unproven,
        Self::Idle,
        Self::SlowRequest,
        Self::SlowAnswer,
        Self::NoPlace,
        Self::NoMemory,
        Self::Refused,
        Self::Stopping,
    ];
}

/// The label of [`Metrics::connection_cuts`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Cut {
    pub(super) reason: CutReason,
}

/// A part of the account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Part {
    SmallBodies,
    LargeBodies,
    Answers,
}

impl EncodeLabelValue for Part {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> std::fmt::Result {
        encoder.write_str(match self {
            Self::SmallBodies => "small_bodies",
            Self::LargeBodies => "large_bodies",
            Self::Answers => "answers",
        })
    }
}

/// The label of [`Metrics::account`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct AccountPart {
    pub(super) part: Part,
}

/// What keeps podkey from looking after its certificate by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum TlsFailure {
    /// The API server gives no answer.
    Unreachable,
    /// The API server says that a right is missing.
    Forbidden,
    /// It says something else, or what was written did not stay.
    Refused,
    /// No webhook configuration calls us.
    NoConfiguration,
    /// A certificate could not be made.
    Certificate,
}

impl TlsFailure {
    const ALL: [Self; 5] = [
        Self::Unreachable,
        Self::Forbidden,
        Self::Refused,
        Self::NoConfiguration,
        Self::Certificate,
    ];
}

impl EncodeLabelValue for TlsFailure {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> std::fmt::Result {
        encoder.write_str(match self {
            Self::Unreachable => "unreachable",
            Self::Forbidden => "forbidden",
            Self::Refused => "refused",
            Self::NoConfiguration => "no_configuration",
            Self::Certificate => "certificate",
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Failure {
    reason: TlsFailure,
}

/// Unix seconds. Not shown until they are known: 0 would be a certificate that ran out long ago.
#[derive(Debug, Clone, Default)]
struct Expiry(Gauge<f64, AtomicU64>);

impl EncodeMetric for Expiry {
    fn encode(&self, encoder: MetricEncoder<'_>) -> std::fmt::Result {
        self.0.encode(encoder)
    }

    fn metric_type(&self) -> MetricType {
        self.0.metric_type()
    }

    fn is_empty(&self) -> bool {
        self.0.get() == 0.0
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Build {
    version: &'static str,
}

/// Seconds. From a tenth of what we usually take up to the API server's own buckets for webhooks
/// (`apiserver_admission_webhook_admission_duration_seconds`).
const BUCKETS: [f64; 11] = [
    0.000_05, 0.000_1, 0.000_25, 0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 10.0,
];

impl Metrics {
    pub(super) fn new() -> Self {
        let mut registry = Registry::with_prefix("podkey");
        let build = Family::<Build, Gauge>::default();
        build
            .get_or_create(&Build {
                version: crate::VERSION,
            })
            .set(1);
        registry.register("build_info", "The version that runs", build);
        let admissions = Family::<Outcome, Counter>::default();
        for result in [
            AdmissionResult::Injected,
            AdmissionResult::Ignored,
            AdmissionResult::Denied,
            AdmissionResult::Invalid,
        ] {
            // From the start, so that a rate over it exists before the first one.
            let _ = admissions.get_or_create(&Outcome { result });
        }
        let tls_failures = Family::<Failure, Counter>::default();
        for reason in TlsFailure::ALL {
            let _ = tls_failures.get_or_create(&Failure { reason });
        }
        let pods = Family::<PodOutcome, Counter>::default();
        for result in [PodResult::Injected, PodResult::Denied] {
            let _ = pods.get_or_create(&PodOutcome { result });
        }
        let connection_cuts = Family::<Cut, Counter>::default();
        for reason in CutReason::ALL {
            let _ = connection_cuts.get_or_create(&Cut { reason });
        }
        Self {
            admissions: registered(
                &mut registry,
                "admissions",
                "Admission requests by result. One pod may make several: see podkey_pods_total",
                admissions,
            ),
            pods: registered(
                &mut registry,
                "pods",
                "Pods that asked for secrets, by result, each counted once: no dry runs, and no second review of a pod",
                pods,
            ),
            connections: registered(
                &mut registry,
                "connections_open",
                "Connections to the webhook that are open",
                Gauge::default(),
            ),
            connection_cuts: registered(
                &mut registry,
                "connection_cuts",
                "Connections to the webhook that podkey ended, by reason",
                connection_cuts,
            ),
            account: registered(
                &mut registry,
                "account_bytes",
                "Memory that large requests and answers hold, by part of the account",
                Family::default(),
            ),
            duration: registered(
                &mut registry,
                "admission_duration_seconds",
                "From a request's last byte to its answer",
                Histogram::new(BUCKETS),
            ),
            in_flight: registered(
                &mut registry,
                "admissions_in_flight",
                "Requests that are being answered",
                Gauge::default(),
            ),
            panics: registered(
                &mut registry,
                "panics",
                "Faults of podkey's own: requests that failed by one, and new beginnings of what looks after the certificate",
                Counter::default(),
            ),
            certificate_expiry: registered(
                &mut registry,
                "certificate_expiry_timestamp_seconds",
                "When the serving certificate runs out, as Unix time",
                Expiry::default(),
            ),
            certificate_reload_failures: registered(
                &mut registry,
                "certificate_reload_failures",
                "Changed certificate files that could not be used",
                Counter::default(),
            ),
            ca_expiry: registered(
                &mut registry,
                "ca_expiry_timestamp_seconds",
                "When the CA of podkey's own certificates runs out, as Unix time",
                Expiry::default(),
            ),
            ca_bundle_restorations: registered(
                &mut registry,
                "ca_bundle_restorations",
                "How often the caBundle was blank or foreign and was set right",
                Counter::default(),
            ),
            tls_failures: registered(
                &mut registry,
                "tls_failures",
                "What kept podkey from looking after its own certificate, by reason",
                tls_failures,
            ),
            registry,
        }
    }

    pub(super) fn admission(&self, result: AdmissionResult, duration: Duration) {
        self.admissions.get_or_create(&Outcome { result }).inc();
        self.duration.observe(duration.as_secs_f64());
    }

    pub(super) fn pod(&self, result: PodResult) {
        self.pods.get_or_create(&PodOutcome { result }).inc();
    }

    /// When the serving certificate runs out.
    pub(super) fn show_certificate_expiry(&self, expiry: SystemTime) {
        self.certificate_expiry.0.set(unix_seconds(expiry));
    }

    /// When the authority that signs runs out.
    pub(super) fn show_ca_expiry(&self, expiry: SystemTime) {
        self.ca_expiry.0.set(unix_seconds(expiry));
    }

    pub(super) fn tls_failure(&self, reason: TlsFailure) {
        self.tls_failures.get_or_create(&Failure { reason }).inc();
    }

    /// In the OpenMetrics text format, which Prometheus reads.
    pub(super) fn encode(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

fn unix_seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// The metric, which is one and the same in every clone, with a name in the registry.
fn registered<M: Metric + Clone>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M {
    registry.register(name, help, metric.clone());
    metric
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expiry_that_is_not_known_is_not_shown() {
        let metrics = Metrics::new();
        assert!(!metrics.encode().unwrap().contains("expiry"));
        metrics.show_certificate_expiry(UNIX_EPOCH + Duration::from_secs(7));
        let text = metrics.encode().unwrap();
        assert!(
            text.contains("podkey_certificate_expiry_timestamp_seconds 7.0\n"),
            "{text}"
        );
    }
}
