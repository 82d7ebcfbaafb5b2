//! The alerts and the dashboard ask for metrics that exist: what `podkey serve` shows, and a few of Kubernetes'.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::{Value, json};

use super::alerts::rules;
use super::rendered::{Manifests, root};
use super::support::webhook::Webhook;

/// Not podkey's own, with their labels: the API server's (k8s.io/apiserver, pkg/admission/metrics),
/// kube-state-metrics' (docs/metrics/workload/deployment-metrics.md and pod-metrics.md, as kube-state-metrics 2.18 showed them), the
/// kubelet's at /metrics/probes (k8s.io/kubernetes, pkg/kubelet/prober), and Prometheus' own of each target.
const OF_OTHERS: [(&str, &[&str]); 12] = [
    (
        "apiserver_admission_webhook_admission_duration_seconds_bucket",
        &["name", "type", "operation", "rejected", "le"],
    ),
    (
        "apiserver_admission_webhook_rejection_count",
        &["name", "type", "operation", "error_type", "rejection_code", "instance"],
    ),
    ("kube_deployment_status_replicas_ready", &["namespace", "deployment"]),
    ("kube_pod_init_container_status_last_terminated_reason", &OF_A_CONTAINER),
    ("kube_pod_init_container_status_terminated_reason", &OF_A_CONTAINER),
    ("kube_pod_init_container_status_waiting_reason", &OF_A_CONTAINER),
    ("kube_pod_init_container_status_ready", &OF_A_CONTAINER),
    ("kube_pod_init_container_status_restarts_total", &OF_A_CONTAINER),
    ("kube_pod_status_phase", &["namespace", "pod", "uid", "phase"]),
    ("kube_pod_created", &["namespace", "pod", "uid"]),
    (
        "prober_probe_total",
        &["namespace", "pod", "pod_uid", "container", "probe_type", "result"],
    ),
    ("up", &["job", "instance"]),
];

/// kube-state-metrics' labels of a container; `reason` only where the name of the metric has the word.
const OF_A_CONTAINER: [&str; 5] = ["namespace", "pod", "uid", "container", "reason"];

/// Only there once podkey has made a CA of its own, for which it needs an API server: known by its name in the source.
pub(super) const ONCE_THERE_IS_A_CA: &str = "podkey_ca_expiry_timestamp_seconds";

/// What Prometheus adds to each sample of a PodMonitor's target.
const OF_THE_TARGET: [&str; 5] = ["namespace", "pod", "container", "job", "instance"];

/// By metric: its labels, each with the values it was seen with.
pub(super) type Exposed = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

/// What the program shows, started with the config that the chart gives it.
pub(super) fn exposed() -> Exposed {
    let config = Manifests::chart(json!({})).config();
    let webhook = Webhook::start_with_config(&config, &["--grace", "0s"]);
    let text = webhook.admin_get("/metrics").text();
    let mut exposed = Exposed::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (series, _value) = line.rsplit_once(' ').unwrap();
        let query = Query::read(series);
        let (name, labels) = &query.selectors[0];
        let known = exposed.entry(name.clone()).or_default();
        for (label, value) in labels {
            known.entry(label.clone()).or_default().insert(value.clone());
        }
    }
    assert!(exposed.len() > 5, "{text}");
    let source = fs::read_to_string(root().join("src/webhook/metrics/mod.rs")).unwrap();
    let name = ONCE_THERE_IS_A_CA.strip_prefix("podkey_").unwrap();
    assert!(
        source.contains(&format!("\"{name}\"")),
        "no {name} in src/webhook/metrics/mod.rs"
    );
    exposed.entry(ONCE_THERE_IS_A_CA.to_owned()).or_default();
    exposed
}

/// The parts of a PromQL expression that name something.
#[derive(Debug, Default)]
struct Query {
    /// Each metric with its label matchers.
    selectors: Vec<(String, Vec<(String, String)>)>,
    /// What it is grouped by.
    grouping: Vec<String>,
}

impl Query {
    /// Reads as much of PromQL as our queries use; panics at anything else.
    fn read(text: &str) -> Self {
        const AGGREGATIONS: [&str; 5] = ["sum", "min", "max", "count", "avg"];
        const SET_OPERATORS: [&str; 3] = ["and", "or", "unless"];
        let mut query = Self::default();
        let mut rest = text.trim_start();
        while let Some(c) = rest.chars().next() {
            if c.is_ascii_alphabetic() || c == '_' {
                let name = word(&mut rest);
                if name == "offset" {
                    word(&mut rest);
                } else if name == "by" || name == "on" {
                    let (labels, after) = rest.strip_prefix('(').unwrap().split_once(')').unwrap();
                    query
                        .grouping
                        .extend(labels.split(',').map(|label| label.trim().to_owned()));
                    rest = after;
                } else if let Some(matchers) = rest.strip_prefix('{') {
                    let (labels, after) = matchers.split_once('}').unwrap();
                    query
                        .selectors
                        .push((name.to_owned(), labels.split(',').map(matcher).collect()));
                    rest = after;
                } else if !rest.starts_with('(') && ![AGGREGATIONS.as_slice(), &SET_OPERATORS].concat().contains(&name)
                {
                    query.selectors.push((name.to_owned(), Vec::new()));
                }
            } else if let Some(after) = rest.strip_prefix('[') {
                rest = after.split_once(']').unwrap().1;
            } else {
                assert!(
                    c.is_ascii_digit() || " \n().,<>=*/+-".contains(c),
                    "{c:?} is more PromQL than this test knows: {text}"
                );
                rest = &rest[1..];
            }
            rest = rest.trim_start();
        }
        query
    }
}

/// The next word, which is taken away, and the spaces after it.
fn word<'a>(rest: &mut &'a str) -> &'a str {
    let end = rest
        .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .unwrap_or(rest.len());
    let (word, after) = rest.split_at(end);
    *rest = after.trim_start();
    word
}

fn matcher(text: &str) -> (String, String) {
    let (label, value) = text.split_once('=').unwrap_or_else(|| panic!("no matcher: {text}"));
    // Of `label!="value"`, too: a value that does not exist is a mistake there as well.
    (
        label.trim().trim_end_matches('!').to_owned(),
        value.trim().trim_matches('"').to_owned(),
    )
}

/// What is wrong with a query; nothing, if all that it names exists.
pub(super) fn complaints(text: &str, exposed: &Exposed) -> Vec<String> {
    let query = Query::read(text);
    let mut complaints = Vec::new();
    let mut labels_of_all = BTreeSet::new();
    for (metric, matchers) in &query.selectors {
        let foreign = OF_OTHERS.iter().find(|(name, _)| name == metric);
        let labels: BTreeSet<&str> = match (foreign, exposed.get(metric)) {
            (Some((_, labels)), _) => labels.iter().copied().collect(),
            (None, Some(labels)) => labels.keys().map(String::as_str).chain(OF_THE_TARGET).collect(),
            (None, None) => {
                complaints.push(format!("no metric {metric}"));
                continue;
            }
        };
        for (label, value) in matchers {
            if !labels.contains(label.as_str()) {
                complaints.push(format!("{metric} has no label {label}"));
            }
            let seen = exposed.get(metric).and_then(|labels| labels.get(label));
            if seen.is_some_and(|values| !values.contains(value)) {
                complaints.push(format!("{metric} has no {label}={value}"));
            }
        }
        labels_of_all.extend(labels.into_iter().map(str::to_owned));
    }
    for label in query.grouping.iter().filter(|label| !labels_of_all.contains(*label)) {
        complaints.push(format!("grouped by {label}, which is no label there"));
    }
    if query.selectors.is_empty() {
        complaints.push("asks for nothing".to_owned());
    }
    complaints
}

/// As Grafana's sidecar finds it.
fn dashboard() -> Value {
    let manifests = Manifests::chart(json!({"metrics": {"dashboard": {"enabled": true}, "labels": {"a": "b"}}}));
    let map = manifests.named("ConfigMap", "podkey-dashboard");
    let labels = &map["metadata"]["labels"];
    assert_eq!((&labels["grafana_dashboard"], &labels["a"]), (&json!("1"), &json!("b")));
    let text = map["data"]["podkey.json"].as_str().unwrap();
    let file = fs::read_to_string(root().join("manifests/chart/dashboards/podkey.json")).unwrap();
    assert_eq!(
        text.trim_end(),
        file.trim_end(),
        "nothing in it is a template of Helm's"
    );
    serde_json::from_str(text).unwrap()
}

#[test]
fn every_alert_asks_for_metrics_that_exist_and_says_what_it_means() {
    let exposed = exposed();
    for mode in ["self", "cert-manager", "files"] {
        let rules = rules(mode);
        assert!(rules.len() > 5);
        for rule in &rules {
            let complaints = complaints(rule["expr"].as_str().unwrap(), &exposed);
            assert!(complaints.is_empty(), "{}: {complaints:?}", rule["alert"]);
            assert!(["critical", "warning"].contains(&rule["labels"]["severity"].as_str().unwrap()));
            for text in ["summary", "description"] {
                assert!(rule["annotations"][text].is_string(), "{}: {text}", rule["alert"]);
            }
        }
    }
}

#[test]
fn every_panel_asks_for_metrics_that_exist() {
    let exposed = exposed();
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut ids = BTreeSet::new();
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64()), "{}", panel["title"]);
        for target in panel["targets"].as_array().unwrap() {
            let query = target["expr"].as_str().unwrap();
            let complaints = complaints(query, &exposed);
            assert!(complaints.is_empty(), "{}: {complaints:?}", panel["title"]);
            // A legend such as {{pod}} is a label that is left after grouping.
            let legend = target["legendFormat"].as_str().unwrap();
            let labels: Vec<&str> = legend
                .split("{{")
                .skip(1)
                .map(|rest| rest.split_once("}}").unwrap().0)
                .collect();
            let grouping = format!("by ({})", labels.join(", "));
            assert!(
                labels.is_empty() || query.contains(&grouping),
                "{}: {legend}",
                panel["title"]
            );
        }
    }
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        let query = variable["query"].as_str().unwrap();
        if let Some(metric) = query.strip_prefix("label_values(") {
            assert!(exposed.contains_key(metric.split(',').next().unwrap()), "{query}");
        }
    }
}

/// A panel that shows another number than its alert hides the reason of the alert.
#[test]
fn panels_show_what_the_alerts_count() {
    let spaced = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let rules = rules("self");
    let dashboard = dashboard();
    for (alert, before, panel) in [
        (
            "PodkeyInitFails",
            "count by (namespace, reason) (",
            "Pods whose podkey-init fails, by namespace",
        ),
        (
            "PodkeyStaleFiles",
            "count by (namespace) (",
            "Pods with stale files, by namespace",
        ),
    ] {
        let rule = rules.iter().find(|rule| rule["alert"] == alert).unwrap();
        let expression = spaced(rule["expr"].as_str().unwrap());
        let pods = expression.strip_prefix(before).unwrap().strip_suffix(") > 0").unwrap();
        let panels = dashboard["panels"].as_array().unwrap();
        let shown = panels.iter().find(|shown| shown["title"] == panel).unwrap();
        let query = shown["targets"][0]["expr"].as_str().unwrap();
        assert!(query.contains(pods), "{alert}: no {pods} in {query}");
    }
}

/// Grafana keeps one dashboard of a uid, and its sidecar one file of a name.
#[test]
fn dashboards_of_two_releases_do_not_replace_each_other() {
    let one_in = |namespace: &str, labels: Value| {
        let values = json!({"metrics": {"dashboard": {"enabled": true}, "labels": labels}});
        let manifests = Manifests::chart_in(namespace, values);
        let map = manifests.named("ConfigMap", "podkey-dashboard").clone();
        let (file, text) = map["data"].as_object().unwrap().iter().next().unwrap();
        let dashboard: Value = serde_json::from_str(text.as_str().unwrap()).unwrap();
        let uid = dashboard["uid"].as_str().unwrap().to_owned();
        (
            file.clone(),
            uid,
            map["metadata"]["labels"]["grafana_dashboard"].clone(),
        )
    };
    let platform = one_in("platform", json!({}));
    let expected = (
        "podkey-platform.json".to_owned(),
        "podkey-platform".to_owned(),
        json!("1"),
    );
    assert_eq!(platform, expected);
    let long = one_in(&"n".repeat(60), json!({}));
    assert_eq!(long.1.len(), 40);
    // The sidecar may look for another value of the label.
    let other = one_in("platform", json!({"grafana_dashboard": "podkey"}));
    assert_eq!(other.2, "podkey");
}

#[test]
fn a_query_for_what_does_not_exist_is_seen() {
    let labels = BTreeMap::from([("result".to_owned(), BTreeSet::from(["denied".to_owned()]))]);
    let exposed = Exposed::from([("podkey_admissions_total".to_owned(), labels)]);
    for (query, expected) in [
        (
            r#"sum(rate(podkey_admissions_total{namespace="a",result="denied"}[5m])) > 0.5"#,
            "",
        ),
        ("sum by (result, pod) (podkey_admissions_total)", ""),
        (
            r#"rate(podkey_admission_total[5m])"#,
            "no metric podkey_admission_total",
        ),
        (
            r#"podkey_admissions_total{outcome="denied"}"#,
            "podkey_admissions_total has no label outcome",
        ),
        (
            r#"podkey_admissions_total{result="refused"}"#,
            "podkey_admissions_total has no result=refused",
        ),
        (
            "sum by (reason) (podkey_admissions_total)",
            "grouped by reason, which is no label there",
        ),
        ("time() > 1 and podkey_panics", "no metric podkey_panics"),
        ("time() > 1", "asks for nothing"),
    ] {
        assert_eq!(complaints(query, &exposed).join("; "), expected, "{query}");
    }
}

#[test]
fn the_pod_monitor_reads_the_admin_port_of_podkey_s_pods() {
    let manifests = Manifests::chart(json!({"metrics": {"podMonitor": {"enabled": true}, "labels": {"release": "p"}}}));
    let monitor = manifests.one("PodMonitor");
    assert_eq!(monitor["metadata"]["labels"]["release"], "p");
    assert_eq!(monitor["metadata"]["labels"]["app.kubernetes.io/name"], "podkey");
    let labels = &manifests.one("Deployment")["spec"]["selector"]["matchLabels"];
    assert_eq!(&monitor["spec"]["selector"]["matchLabels"], labels);
    assert_eq!(
        monitor["spec"]["podMetricsEndpoints"],
        json!([{"port": "admin", "path": "/metrics"}])
    );
    let ports = manifests.container()["ports"].as_array().unwrap();
    assert!(ports.iter().any(|port| port["name"] == "admin"));
}
