//! Faults that one namespace has, or one manifest: each test has a namespace of its own.

use serde_json::{Value, json};

use super::bench::Doctor;
use super::pods::{annotated, policy};
use crate::harness::api::cluster;
use crate::harness::install::OTHER_RELEASE;
use crate::harness::merge;
use crate::harness::namespace::Namespace;
use crate::harness::settings::settings;

fn limit_range(namespace: &Namespace, limit: &Value) {
    let range =
        json!({"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "sizes"}, "spec": {"limits": [limit]}});
    cluster().create(&namespace.path("limitranges"), &range);
}

fn quota(namespace: &Namespace, hard: &Value) {
    let quota =
        json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "team"}, "spec": {"hard": hard}});
    cluster().create(&namespace.path("resourcequotas"), &quota);
}

/// The pod, whose container has these resources.
fn sized(namespace: &Namespace, resources: &Value) -> Value {
    let mut pod = annotated(namespace);
    pod["spec"]["containers"][0]["resources"] = resources.clone();
    pod
}

/// The host and the port of OpenBao.
fn openbao() -> (String, u16) {
    let address = settings().openbao.trim_start_matches("https://");
    let (host, port) = address.rsplit_once(':').unwrap();
    (host.to_owned(), port.parse().unwrap())
}

#[test]
fn an_account_that_does_not_exist_is_created() {
    let namespace = Namespace::new("account");
    let pod = merge(annotated(&namespace), &json!({"spec": {"serviceAccountName": "web"}}));
    Doctor::of(&namespace.name, &pod).mends(
        "service-account",
        &["kubectl create serviceaccount web", &namespace.name],
    );
}

#[test]
fn a_namespace_that_does_not_exist_is_created() {
    let namespace = Namespace::new("nowhere");
    let other = format!("{}-other", namespace.name);
    namespace.delete_later(cluster(), format!("/api/v1/namespaces/{other}"));
    let pod = annotated(&namespace);
    Doctor::of(&other, &pod).mends("namespace", &[&format!("kubectl create namespace {other}")]);
}

#[test]
fn a_namespace_that_the_webhook_leaves_out_loses_its_label() {
    let namespace = Namespace::labelled("left-out", &json!({OTHER_RELEASE: "another"}));
    let pod = annotated(&namespace);
    Doctor::of(&namespace.name, &pod).mends(
        "webhook-namespace",
        &["kubectl label", &namespace.name, &format!("{OTHER_RELEASE}-")],
    );
}

#[test]
fn a_pod_that_is_not_restricted_gets_a_security_context() {
    let namespace = Namespace::labelled("strict", &json!({"pod-security.kubernetes.io/enforce": "restricted"}));
    let pod = annotated(&namespace);
    Doctor::of(&namespace.name, &pod).mends("pod-security", &["kubectl patch --local -f pod.yaml", "runAsNonRoot"]);
}

#[test]
fn a_limit_range_below_podkey_s_limits_is_raised() {
    let namespace = Namespace::new("max");
    limit_range(
        &namespace,
        &json!({"type": "Container", "max": {"memory": "32Mi", "cpu": "100m"}}),
    );
    Doctor::of(&namespace.name, &annotated(&namespace)).mends(
        "limit-range",
        &[
            "kubectl patch limitrange sizes",
            &namespace.name,
            "/spec/limits/0/max/memory",
            "64Mi",
            "500m",
        ],
    );
}

#[test]
fn a_limit_range_above_podkey_s_requests_is_lowered() {
    let namespace = Namespace::new("min");
    limit_range(
        &namespace,
        &json!({"type": "Container", "min": {"memory": "48Mi"}, "default": {"memory": "64Mi"}}),
    );
    Doctor::of(&namespace.name, &annotated(&namespace)).mends("limit-range", &["/spec/limits/0/min/memory", "16Mi"]);
}

#[test]
fn a_limit_range_with_a_narrow_ratio_is_widened() {
    let namespace = Namespace::new("ratio");
    limit_range(
        &namespace,
        &json!({"type": "Container", "maxLimitRequestRatio": {"memory": "2"}}),
    );
    let memory = json!({"memory": "64Mi"});
    let pod = sized(&namespace, &json!({"limits": memory, "requests": memory}));
    Doctor::of(&namespace.name, &pod).mends("limit-range", &["maxLimitRequestRatio/memory", "\"4\""]);
}

#[test]
fn a_limit_range_for_whole_pods_is_raised() {
    let namespace = Namespace::new("whole");
    limit_range(&namespace, &json!({"type": "Pod", "max": {"memory": "48Mi"}}));
    let memory = json!({"memory": "32Mi"});
    let pod = sized(&namespace, &json!({"limits": memory, "requests": memory}));
    Doctor::of(&namespace.name, &pod).mends("limit-range", &["/spec/limits/0/max/memory", "64Mi"]);
}

#[test]
fn a_quota_without_room_for_podkey_is_raised() {
    let namespace = Namespace::new("quota");
    quota(&namespace, &json!({"limits.memory": "32Mi"}));
    let pod = sized(&namespace, &json!({"limits": {"memory": "16Mi"}}));
    Doctor::of(&namespace.name, &pod).mends(
        "resource-quota",
        &[
            "kubectl patch resourcequota team",
            &namespace.name,
            r#""limits.memory":"64Mi""#,
        ],
    );
}

#[test]
fn a_quota_without_room_for_another_pod_is_raised() {
    let namespace = Namespace::new("pods");
    quota(&namespace, &json!({"pods": "0"}));
    Doctor::of(&namespace.name, &annotated(&namespace)).mends("resource-quota", &[r#""pods":"1""#]);
}

#[test]
fn a_container_names_the_limits_that_a_quota_wants() {
    let namespace = Namespace::new("unnamed");
    quota(&namespace, &json!({"limits.cpu": "4", "requests.memory": "4Gi"}));
    Doctor::of(&namespace.name, &annotated(&namespace))
        .mends("resource-quota", &["--local -f pod.yaml", "main", "limits"]);
}

#[test]
fn a_policy_that_denies_everything_gets_one_beside_it() {
    let namespace = Namespace::new("denied");
    policy(&namespace, &json!({"podSelector": {}, "policyTypes": ["Egress"]}));
    let (host, port) = openbao();
    Doctor::of(&namespace.name, &annotated(&namespace)).mends(
        "network-policy",
        &[
            "kubectl apply",
            &namespace.name,
            &format!("{host}/32"),
            &port.to_string(),
        ],
    );
}

#[test]
fn a_policy_for_another_port_gets_one_beside_it() {
    let namespace = Namespace::new("port");
    let egress = json!([{"ports": [{"port": 443, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]}]);
    policy(
        &namespace,
        &json!({"podSelector": {}, "policyTypes": ["Egress"], "egress": egress}),
    );
    Doctor::of(&namespace.name, &annotated(&namespace)).mends("network-policy", &["kubectl apply"]);
}

#[test]
fn a_policy_that_excepts_the_server_gets_one_beside_it() {
    let namespace = Namespace::new("except");
    let (host, _) = openbao();
    let block = json!({"cidr": "0.0.0.0/0", "except": [format!("{host}/32")]});
    let egress = json!([{"to": [{"ipBlock": block}]}]);
    policy(
        &namespace,
        &json!({"podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Egress"], "egress": egress}),
    );
    let pod = merge(annotated(&namespace), &json!({"metadata": {"labels": {"app": "web"}}}));
    Doctor::of(&namespace.name, &pod).mends("network-policy", &["kubectl apply", r#""app":"web""#]);
}

/// The pod as the template of a Deployment, with the annotations on the Deployment.
#[test]
fn annotations_on_a_deployment_move_to_its_template() {
    let namespace = Namespace::new("deployment");
    let pod = annotated(&namespace);
    let labels = json!({"app": "web"});
    let mut template = merge(
        pod.clone(),
        &json!({"metadata": {"name": null, "annotations": null, "labels": labels}}),
    );
    template["spec"]["restartPolicy"] = json!("Always");
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "annotations": pod["metadata"]["annotations"]},
        "spec": {"selector": {"matchLabels": labels}, "template": template},
    });
    Doctor::of(&namespace.name, &deployment).mends("annotations", &["kubectl patch --local -f pod.yaml", "template"]);
}

#[test]
fn annotations_on_the_job_of_a_cron_job_move_to_its_pod_template() {
    let namespace = Namespace::new("cron");
    let pod = annotated(&namespace);
    let template = merge(pod.clone(), &json!({"metadata": {"name": null, "annotations": null}}));
    let job = json!({"metadata": {"annotations": pod["metadata"]["annotations"]}, "spec": {"template": template}});
    let cron_job = json!({
        "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "web"},
        "spec": {"schedule": "0 0 * * *", "jobTemplate": job},
    });
    Doctor::of(&namespace.name, &cron_job).mends("annotations", &["kubectl patch --local -f pod.yaml", "jobTemplate"]);
}

#[test]
fn a_shared_process_namespace_is_taken_back() {
    let namespace = Namespace::new("shared");
    let pod = merge(annotated(&namespace), &json!({"spec": {"shareProcessNamespace": true}}));
    Doctor::of(&namespace.name, &pod).mends("podkey", &["shareProcessNamespace", "pod.yaml"]);
}

#[test]
fn an_annotation_with_a_typo_is_renamed() {
    let namespace = Namespace::new("typo");
    let mut pod = annotated(&namespace);
    let annotations = pod["metadata"]["annotations"].as_object_mut().unwrap();
    let files = annotations.remove("podkey.dev/files").unwrap();
    annotations.insert("podkey.dev/fiels".to_owned(), files);
    Doctor::of(&namespace.name, &pod).mends("podkey", &["podkey.dev/fiels", "podkey.dev/files"]);
}

#[test]
fn a_value_with_a_typo_is_replaced() {
    let namespace = Namespace::new("value");
    let pod = merge(
        annotated(&namespace),
        &json!({"metadata": {"annotations": {"podkey.dev/connection": "defualt"}}}),
    );
    Doctor::of(&namespace.name, &pod).mends("podkey", &[r#""podkey.dev/connection":"default""#]);
}
