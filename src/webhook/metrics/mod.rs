//! The metrics at `/metrics`. No label has a value that a pod's author can choose, because authors could fill the memory with
//! new values. One label has names of namespaces, and their number is bounded: see [`refused`].

mod labels;
mod refused;

use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry};

use labels::{AdmissionLabel, BuildLabel, CutLabel, InvalidLabel, PodLabel, UpkeepFailureLabel};
use refused::RefusedPods;

pub(super) use labels::{
    AccountPart, AccountPartLabel, AdmissionResult, CutReason, InvalidReason, PodResult, UpkeepFailure,
};

/// The webhook's metrics.
pub(super) struct Metrics {
    registry: Registry,
    admissions: Family<AdmissionLabel, Counter>,
    pods: Family<PodLabel, Counter>,
    refused: RefusedPods,
    invalid: Family<InvalidLabel, Counter>,
    duration: Histogram,
    pub(super) in_flight: Gauge,
    pub(super) panics: Counter,
    pub(super) connections: ConnectionMetrics,
    certificate: CertificateMetrics,
}

/// The metrics of connections and of their memory. Clones share the values.
#[derive(Clone, Default)]
pub(super) struct ConnectionMetrics {
    /// Connections that are open.
    pub(super) open: Gauge,
    /// Connections that podkey has ended.
    cuts: Family<CutLabel, Counter>,
    /// Bytes of the account that are taken.
    pub(super) account: Family<AccountPartLabel, Gauge>,
}

/// The metrics of the serving certificate.
struct CertificateMetrics {
    expiry: ExpiryGauge,
    reload_failures: Counter,
    /// Not shown for certificates from files, because podkey does not know the CA that signed them.
    ca_expiry: ExpiryGauge,
    ca_bundle_restorations: Counter,
    upkeep_failures: Family<UpkeepFailureLabel, Counter>,
}

/// A time in Unix seconds. Not shown until the time is known: 0 would mean a certificate that expired long ago.
#[derive(Debug, Clone, Default)]
struct ExpiryGauge(Gauge<f64, AtomicU64>);

impl EncodeMetric for ExpiryGauge {
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

/// Seconds. From a tenth of podkey's usual time up to the API server's own buckets for webhooks
/// (`apiserver_admission_webhook_admission_duration_seconds`).
const BUCKETS: [f64; 11] = [
    0.000_05, 0.000_1, 0.000_25, 0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 10.0,
];

impl Metrics {
    pub(super) fn new() -> Self {
        let mut registry = Registry::with_prefix("podkey");
        let build: Family<BuildLabel, Gauge> = labelled([BuildLabel {
            version: crate::VERSION,
        }]);
        build
            .get_or_create(&BuildLabel {
                version: crate::VERSION,
            })
            .set(1);
        registry.register("build_info", "The version that runs", build);
        Self {
            admissions: registered(
                &mut registry,
                "admissions",
                "Admission requests by result. One pod may make several: see podkey_pods_total",
                labelled(AdmissionResult::ALL.map(|result| AdmissionLabel { result })),
            ),
            pods: registered(
                &mut registry,
                "pods",
                "Pods that asked for secrets, by result, each counted once: no dry runs, and no second review of a pod",
                labelled(PodLabel::ALL),
            ),
            refused: RefusedPods::new(&mut registry),
            invalid: registered(
                &mut registry,
                "invalid_requests",
                "Requests that podkey answered without a decision about a pod, by reason",
                labelled(InvalidReason::ALL.map(|reason| InvalidLabel { reason })),
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
                "Faults of podkey: requests that failed by a fault, and restarts of the task that keeps the certificate",
                Counter::default(),
            ),
            connections: ConnectionMetrics::new(&mut registry),
            certificate: CertificateMetrics::new(&mut registry),
            registry,
        }
    }

    /// Counts an admission request.
    pub(super) fn admission(&self, result: AdmissionResult, duration: Duration) {
        self.admissions.get_or_create(&AdmissionLabel { result }).inc();
        self.duration.observe(duration.as_secs_f64());
    }

    /// Counts a request that podkey answers without a decision about a pod.
    pub(super) fn invalid(&self, reason: InvalidReason, duration: Duration) {
        self.admission(AdmissionResult::Invalid, duration);
        self.invalid.get_or_create(&InvalidLabel { reason }).inc();
    }

    /// Counts a pod.
    pub(super) fn pod(&self, result: PodResult, namespace: &str) {
        self.pods.get_or_create(&result.into()).inc();
        if let PodResult::Denied(reason) = result {
            self.refused.count(namespace, reason, Instant::now());
        }
    }

    /// Shows when the serving certificate expires.
    pub(super) fn show_certificate_expiry(&self, expiry: SystemTime) {
        self.certificate.expiry.0.set(unix_seconds(expiry));
    }

    /// Shows when the current CA expires.
    pub(super) fn show_ca_expiry(&self, expiry: SystemTime) {
        self.certificate.ca_expiry.0.set(unix_seconds(expiry));
    }

    /// Counts changed certificate files that podkey could not use.
    pub(super) fn certificate_reload_failed(&self) {
        self.certificate.reload_failures.inc();
    }

    /// Counts a `caBundle` that was blank or foreign and that podkey has restored.
    pub(super) fn ca_bundle_restored(&self) {
        self.certificate.ca_bundle_restorations.inc();
    }

    /// Counts a failure to keep podkey's own certificate.
    pub(super) fn upkeep_failure(&self, reason: UpkeepFailure) {
        let label = UpkeepFailureLabel { reason };
        self.certificate.upkeep_failures.get_or_create(&label).inc();
    }

    /// In the OpenMetrics text format, which Prometheus reads.
    pub(super) fn encode(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

impl ConnectionMetrics {
    fn new(registry: &mut Registry) -> Self {
        Self {
            open: registered(
                registry,
                "connections_open",
                "Connections to the webhook that are open",
                Gauge::default(),
            ),
            cuts: registered(
                registry,
                "connection_cuts",
                "Connections to the webhook that podkey ended, by reason",
                labelled(CutReason::ALL.map(|reason| CutLabel { reason })),
            ),
            account: registered(
                registry,
                "account_bytes",
                "Memory that large requests and answers hold, by part of the account",
                Family::default(),
            ),
        }
    }

    /// Counts a connection that podkey has ended.
    pub(super) fn cut(&self, reason: CutReason) {
        self.cuts.get_or_create(&CutLabel { reason }).inc();
    }
}

impl CertificateMetrics {
    fn new(registry: &mut Registry) -> Self {
        Self {
            expiry: registered(
                registry,
                "certificate_expiry_timestamp_seconds",
                "When the serving certificate expires, as Unix time",
                ExpiryGauge::default(),
            ),
            reload_failures: registered(
                registry,
                "certificate_reload_failures",
                "Changed certificate files that could not be used",
                Counter::default(),
            ),
            ca_expiry: registered(
                registry,
                "ca_expiry_timestamp_seconds",
                "When the CA of podkey's own certificates expires, as Unix time",
                ExpiryGauge::default(),
            ),
            ca_bundle_restorations: registered(
                registry,
                "ca_bundle_restorations",
                "How often the caBundle was blank or foreign and podkey restored it",
                Counter::default(),
            ),
            upkeep_failures: registered(
                registry,
                "tls_failures",
                "What kept podkey from making its own certificate, by reason",
                labelled(UpkeepFailure::ALL.map(|reason| UpkeepFailureLabel { reason })),
            ),
        }
    }
}

/// A family whose counters exist from the start, so that Prometheus has a rate before the first event.
fn labelled<L, M, const N: usize>(labels: [L; N]) -> Family<L, M>
where
    L: Clone + std::hash::Hash + Eq,
    M: Default,
{
    let family = Family::default();
    for label in &labels {
        let _ = family.get_or_create(label);
    }
    family
}

fn unix_seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// Gives the metric a name in the registry. Clones of a metric share their value.
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
