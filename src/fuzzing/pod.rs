//! The webhook's decision about a pod, and its laws: a refused pod has no patch, and no word of the operator's; a patch applies,
//! only adds, carries a plan that the agent reads, is the same each time, and leaves nothing to do the second time.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a fuzz target panics if a law is broken"
)]

use std::sync::{Arc, OnceLock};

use serde_json::{Map, Value, json};

use super::input;
use crate::inject::vocabulary::{INIT_CONTAINER, SIDECAR};
use crate::inject::{Config, Decision, PREFIX, Pod, decide};
use crate::plan::{PLAN_ENV, Plan};

/// `canary` marks the words that only the operator may see.
const CONFIG: &str = "
kubernetesVersion: '1.37'
agent: { image: podkey }
allowSharedProcessNamespace: true
vaultK8s: { connection: default }
connections:
  default: { address: 'https://canary.example.com' }
  team: { address: 'https://canary.example.com', auth: { role: canary-role, audience: '' }, job: { role: canary-job } }
  governed: { address: 'https://canary.example.com', job: { role: canary-job, policy: { events: [push] } } }
  ruled:
    address: 'https://canary.example.com'
    allow: [{ namespaces: [canary-ns, ns], roles: [web], secrets: ['kv/data/{namespace}/*'] }]
";
const CANARY: &str = "canary";

/// The operator's config of all decisions here.
pub(crate) fn config() -> &'static Arc<Config> {
    static PARSED: OnceLock<Arc<Config>> = OnceLock::new();
    PARSED.get_or_init(|| {
        let config = Config::parse(CONFIG, |_| Err(String::new()));
        Arc::new(config.unwrap_or_else(|error| panic!("{error}")))
    })
}

/// The body of an AdmissionReview: the webhook's answer, then the laws of the decision about the pod.
pub fn review(bytes: &[u8]) {
    crate::webhook::fuzzing::review(bytes, config());
    let Ok(review) = serde_json::from_slice::<Value>(bytes) else {
        return;
    };
    if let Some(pod) = review.pointer("/request/object") {
        insist_on_the_laws(pod);
    }
}

/// Annotations of one pod. The first record says by its length which pod it is; each other record is `key=value`. A key
/// without a slash is podkey's.
pub fn annotations(bytes: &[u8]) {
    let Some(text) = input::text(bytes) else { return };
    let (kind, records) = input::first_record(text);
    let mut annotations = Map::new();
    for record in records.split(input::SEPARATOR) {
        let (key, value) = record.split_once('=').unwrap_or((record, ""));
        let key = if key.contains('/') {
            key.to_owned()
        } else {
            format!("{PREFIX}{key}")
        };
        annotations.insert(key, value.into());
    }
    insist_on_the_laws(&pod(kind.len(), annotations));
}

/// The value of `podkey.dev/files`.
pub fn files(bytes: &[u8]) {
    let Some(text) = input::text(bytes) else { return };
    let annotations = json!({"podkey.dev/role": "web", "podkey.dev/files": text});
    if let Value::Object(annotations) = annotations {
        insist_on_the_laws(&pod(text.len(), annotations));
    }
}

/// A pod of one of some kinds, with these annotations.
fn pod(kind: usize, annotations: Map<String, Value>) -> Value {
    let specs = [
        json!({"containers": [{"name": "web", "command": ["/app"]}]}),
        json!({"containers": [{"name": "runner", "env": [{"name": "ACTIONS_RUNNER_HOOK_JOB_STARTED", "value": "/own.sh"}]}]}),
        json!({
            "initContainers": [{"name": "prepare", "restartPolicy": "Always"}],
            "containers": [
                {"name": "web", "env": [{"name": "A", "value": "x"}, {"name": "B", "value": "$(A)"}], "securityContext": {"runAsUser": 1000},
                 "volumeMounts": [{"name": "data", "mountPath": "/data"}, {"name": "conf", "mountPath": "/conf", "readOnly": true}]},
                {"name": "istio-proxy"},
            ],
            "volumes": [{"name": "data", "emptyDir": {}}, {"name": "conf", "configMap": {"name": "x"}}],
            "securityContext": {"fsGroup": 2000},
        }),
    ];
    let index = kind % specs.len();
    let labels = if index == 1 {
        json!({"actions-ephemeral-runner": "True"})
    } else {
        json!({})
    };
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "x", "labels": labels, "annotations": annotations},
        "spec": specs[index],
    })
}

/// Every law on one pod.
fn insist_on_the_laws(pod: &Value) {
    let text = pod.to_string();
    let Ok(view) = Pod::parse(&text) else { return };
    match decide(&view, "ns", config()) {
        Decision::Ignore(warnings) => warnings.iter().for_each(|warning| assert!(!warning.is_empty())),
        Decision::Deny(problems) => {
            let message = problems.to_string();
            input::insist_on_a_line(&message);
            assert!(message.len() <= 4096 + 32, "{} bytes", message.len());
            assert!(text.contains(CANARY) || !message.contains(CANARY), "{message}");
        }
        Decision::Inject(patch, _) => {
            let again = decide(&view, "ns", config());
            let Decision::Inject(again, _) = again else {
                panic!("another decision the second time: {again:?}");
            };
            assert_eq!(patch.as_json(), again.as_json(), "another patch the second time");
            insist_on_a_patched_pod(pod.clone(), patch.as_json());
        }
    }
}

fn insist_on_a_patched_pod(mut pod: Value, patch: &[u8]) {
    let operations: Vec<Value> = serde_json::from_slice(patch).expect("a patch is JSON");
    assert!(
        operations.iter().all(|operation| operation["op"] == "add"),
        "{operations:?}"
    );
    let operations: json_patch::Patch = serde_json::from_slice(patch).expect("a patch is a JSON Patch");
    if let Err(error) = json_patch::patch(&mut pod, &operations) {
        panic!("{operations} does not apply: {error}");
    }
    insist_on_a_plan(&pod);
    let text = pod.to_string();
    let view = Pod::parse(&text).expect("a patched pod is a pod");
    match decide(&view, "ns", config()) {
        Decision::Inject(patch, _) => assert!(
            patch.is_empty(),
            "patched twice: {}",
            String::from_utf8_lossy(patch.as_json())
        ),
        other => panic!("the second time: {other:?}"),
    }
}

/// Insists that each container of podkey's has one plan, which the agent reads. The sidecar is there if the plan says so.
fn insist_on_a_plan(pod: &Value) {
    let lists = [&pod["spec"]["initContainers"], &pod["spec"]["containers"]];
    let containers = lists.into_iter().filter_map(Value::as_array).flatten();
    let plans_of = |name| {
        let own = containers.clone().filter(move |container| container["name"] == name);
        own.map(plan).collect::<Vec<_>>()
    };
    let [plan] = plans_of(INIT_CONTAINER)
        .try_into()
        .unwrap_or_else(|plans: Vec<_>| panic!("{} containers {INIT_CONTAINER}", plans.len()));
    let of_sidecar = plans_of(SIDECAR);
    assert_eq!(of_sidecar.len(), usize::from(plan.refresh.is_some()), "{SIDECAR}");
    assert!(of_sidecar.iter().all(|other| *other == plan), "the plans differ");
}

/// The plan of a container, which has exactly one.
fn plan(container: &Value) -> Plan {
    let variables = container["env"].as_array().into_iter().flatten();
    let plans: Vec<_> = variables.filter(|variable| variable["name"] == PLAN_ENV).collect();
    let [plan] = plans[..] else {
        panic!("{} has {} plans", container["name"], plans.len());
    };
    let text = plan["value"].as_str().unwrap_or_default();
    Plan::parse(text).unwrap_or_else(|error| panic!("the agent does not read its plan: {error}: {text}"))
}
