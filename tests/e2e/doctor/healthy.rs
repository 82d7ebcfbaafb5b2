//! Set-ups without a fault: the doctor finds neither fault nor warning. And what the doctor says to a user with few rights.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::bench::{Doctor, Finding};
use super::pods::{annotated, policy};
use crate::harness::api::cluster;
use crate::harness::install::OTHER_RELEASE;
use crate::harness::namespace::Namespace;
use crate::harness::openbao::Vault;
use crate::harness::pod::{container, fresh, pod};
use crate::harness::settings::settings;
use crate::harness::{LIMIT, merge, wait};

fn is_content(namespace: &Namespace, pod: &Value) {
    Doctor::of(&namespace.name, pod).is_content();
}

#[test]
fn a_plain_pod() {
    let namespace = Namespace::new("plain");
    is_content(&namespace, &annotated(&namespace));
}

#[test]
fn a_pod_with_refresh() {
    let namespace = Namespace::new("fresh");
    is_content(&namespace, &fresh(annotated(&namespace), "30s"));
}

#[test]
fn a_runner() {
    let namespace = Namespace::new("runner");
    let mut pod = merge(
        annotated(&namespace),
        &json!({"metadata": {"labels": {"actions-ephemeral-runner": "True"}}}),
    );
    pod["spec"]["containers"] = json!([container("runner", "true")]);
    is_content(&namespace, &pod);
}

#[test]
fn a_restricted_pod() {
    let namespace = Namespace::labelled("safe", &json!({"pod-security.kubernetes.io/enforce": "restricted"}));
    let mut pod = merge(
        annotated(&namespace),
        &json!({"spec": {"securityContext": {
            "runAsNonRoot": true, "runAsUser": 1001, "seccompProfile": {"type": "RuntimeDefault"},
        }}}),
    );
    pod["spec"]["containers"][0]["securityContext"] =
        json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}});
    is_content(&namespace, &pod);
}

#[test]
fn a_quota_and_a_limit_range_that_fit() {
    let namespace = Namespace::new("fits");
    let size = json!({"cpu": "500m", "memory": "64Mi"});
    let limit =
        json!({"type": "Container", "default": size, "defaultRequest": size, "max": {"memory": "1Gi", "cpu": "1"}});
    let range =
        json!({"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "sizes"}, "spec": {"limits": [limit]}});
    cluster().create(&namespace.path("limitranges"), &range);
    let hard =
        json!({"pods": "5", "limits.cpu": "2", "limits.memory": "1Gi", "requests.cpu": "2", "requests.memory": "1Gi"});
    let quota =
        json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "team"}, "spec": {"hard": hard}});
    cluster().create(&namespace.path("resourcequotas"), &quota);
    is_content(&namespace, &annotated(&namespace));
}

#[test]
fn a_policy_with_the_right_egress() {
    let namespace = Namespace::new("egress");
    let address = settings().openbao.trim_start_matches("https://");
    let (host, port) = address.rsplit_once(':').unwrap();
    let port: u16 = port.parse().unwrap();
    let egress =
        json!([{"to": [{"ipBlock": {"cidr": format!("{host}/32")}}], "ports": [{"port": port, "protocol": "TCP"}]}]);
    policy(
        &namespace,
        &json!({"podSelector": {}, "policyTypes": ["Egress", "Ingress"], "egress": egress}),
    );
    is_content(&namespace, &annotated(&namespace));
}

#[test]
fn a_policy_that_is_not_for_the_pod() {
    let namespace = Namespace::new("others");
    policy(
        &namespace,
        &json!({"podSelector": {"matchLabels": {"app": "db"}}, "policyTypes": ["Egress"]}),
    );
    is_content(&namespace, &annotated(&namespace));
}

#[test]
fn the_template_of_a_deployment() {
    let namespace = Namespace::new("template");
    let labels = json!({"app": "web"});
    let mut template = merge(
        annotated(&namespace),
        &json!({"metadata": {"name": null, "labels": labels}}),
    );
    template["spec"]["restartPolicy"] = json!("Always");
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {"selector": {"matchLabels": labels}, "template": template},
    });
    is_content(&namespace, &deployment);
}

#[test]
fn variables_with_an_account_of_the_pod_s_own() {
    let namespace = Namespace::new("variables");
    namespace.service_account("web");
    let vault = Vault::new(&namespace);
    vault.put("web", &json!({"password": "s3cret"}));
    vault.role(
        "own",
        &json!({"audience": "vault", "bound_service_account_names": ["web"]}),
    );
    let annotations = json!({
        "podkey.dev/role": "own", "podkey.dev/auth-mount": vault.auth,
        "podkey.dev/env": format!("{}/data/web password | PASSWORD", vault.kv),
    });
    let pod = merge(
        pod("web", "true"),
        &json!({"metadata": {"annotations": annotations}, "spec": {"serviceAccountName": "web"}}),
    );
    is_content(&namespace, &pod);
}

#[test]
fn a_pod_that_exists() {
    let namespace = Namespace::new("exists");
    let pod = annotated(&namespace);
    let running = merge(pod, &json!({"spec": {"containers": [container("main", "sleep 600")]}}));
    let created = namespace.create(&running);
    created.until("made", |pod| pod["metadata"]["uid"].is_string());
    Doctor::in_namespace(&namespace.name).arg("pod/web").is_content();
}

/// The dry run's copy of such a pod has podkey's parts, whether or not podkey is called.
#[test]
fn a_pod_that_exists_does_not_hide_that_podkey_is_not_called() {
    let namespace = Namespace::new("hides");
    let pod = annotated(&namespace);
    let running = merge(pod, &json!({"spec": {"containers": [container("main", "sleep 600")]}}));
    let created = namespace.create(&running);
    created.until("made", |pod| pod["metadata"]["uid"].is_string());
    let path = format!("/api/v1/namespaces/{}", namespace.name);
    cluster().patch(&path, &json!({"metadata": {"labels": {OTHER_RELEASE: "another"}}}));
    let seen = Doctor::in_namespace(&namespace.name).arg("web").examine();
    let fault = seen
        .first_fault()
        .unwrap_or_else(|| panic!("no fault\n{}", seen.story()));
    assert_eq!(fault.check, "webhook-namespace", "{}", seen.story());
    let is_praised =
        |finding: &&Finding| ["webhook-call", "admission"].contains(&finding.check.as_str()) && finding.level == "ok";
    assert!(seen.findings.iter().find(is_praised).is_none(), "{}", seen.story());
}

#[test]
fn a_pod_that_exists_in_a_full_quota_is_no_fault() {
    let namespace = Namespace::new("full");
    let hard = json!({"pods": "1"});
    let quota =
        json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "team"}, "spec": {"hard": hard}});
    cluster().create(&namespace.path("resourcequotas"), &quota);
    let pod = annotated(&namespace);
    let running = merge(pod, &json!({"spec": {"containers": [container("main", "sleep 600")]}}));
    let created = namespace.create(&running);
    created.until("made", |pod| pod["metadata"]["uid"].is_string());
    let doctor = Doctor::in_namespace(&namespace.name).arg("web");
    // The quota counts a moment late.
    let seen = wait(LIMIT, || {
        let seen = doctor.examine();
        seen.findings
            .iter()
            .any(|finding| finding.check == "resource-quota")
            .then_some(seen)
    });
    let seen = seen.expect("the quota is full");
    assert_eq!(
        (seen.code, seen.first_fault().is_none()),
        (Some(0), true),
        "{}",
        seen.story()
    );
}

#[test]
fn namespaces_that_the_webhook_leaves_out_on_purpose() {
    let _installed = Namespace::new("excluded");
    for namespace in ["podkey", "kube-system"] {
        Doctor::in_namespace(namespace).is_content();
    }
}

/// The rules are about the pods' port, and the pod connects to the Service's.
#[test]
fn an_address_that_is_a_service_with_a_policy_for_its_pods() {
    let namespace = Namespace::new("service");
    let labels = json!({"app": "vault"});
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "vault"},
        "spec": {"selector": labels, "ports": [{"port": 443, "targetPort": "api"}]}});
    cluster().create(&namespace.path("services"), &service);
    let egress = json!([
        {"to": [{"podSelector": {"matchLabels": labels}}], "ports": [{"port": 8200}]},
        {"ports": [{"port": 5353, "protocol": "UDP"}]},
    ]);
    policy(
        &namespace,
        &json!({"podSelector": {}, "policyTypes": ["Egress"], "egress": egress}),
    );
    let pod = annotated(&namespace);
    let running = merge(pod, &json!({"spec": {"containers": [container("main", "sleep 600")]}}));
    let created = namespace.create(&running);
    let made = created.until("made", |pod| pod["metadata"]["uid"].is_string());
    let service = cluster().get(&namespace.path("services/vault"));
    let ip = service["spec"]["clusterIP"].as_str().unwrap();
    for host in [ip.to_owned(), format!("vault.{}.svc", namespace.name)] {
        let manifest = with_address(&made, &format!("https://{host}"));
        // Nothing answers at the address, which is not what is asked here.
        let seen = Doctor::of(&namespace.name, &manifest).examine();
        let levels = seen.findings.iter().filter(|finding| finding.check == "network-policy");
        let levels: Vec<&str> = levels.map(|finding| finding.level.as_str()).collect();
        assert!(!levels.is_empty() && !levels.contains(&"fault"), "{}", seen.story());
    }
}

/// The pod as a manifest, with another address of the server in its plan.
fn with_address(pod: &Value, address: &str) -> Value {
    let mut pod =
        json!({"metadata": {"name": "web", "annotations": pod["metadata"]["annotations"]}, "spec": pod["spec"]});
    let inits = pod["spec"]["initContainers"].as_array_mut().unwrap();
    for variable in inits
        .iter_mut()
        .flat_map(|init| init["env"].as_array_mut().into_iter().flatten())
    {
        if variable["name"] == "PODKEY_PLAN" {
            let mut plan: Value = serde_json::from_str(variable["value"].as_str().unwrap()).unwrap();
            plan["connection"]["address"] = json!(address);
            variable["value"] = json!(plan.to_string());
        }
    }
    pod
}

#[test]
fn the_cluster_alone() {
    let namespace = Namespace::new("alone");
    Doctor::in_namespace(&namespace.name).is_content();
}

/// A kubeconfig of a service account with the ClusterRole `admin` in the namespace.
fn namespace_admin(namespace: &Namespace) -> tempfile::NamedTempFile {
    namespace.service_account("boss");
    let rbac = "rbac.authorization.k8s.io";
    cluster().create(
        &namespace.group_path(&format!("{rbac}/v1"), "rolebindings"),
        &json!({
            "apiVersion": format!("{rbac}/v1"), "kind": "RoleBinding", "metadata": {"name": "boss"},
            "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": "admin"},
            "subjects": [{"kind": "ServiceAccount", "name": "boss", "namespace": namespace.name}],
        }),
    );
    let text = std::fs::read_to_string(&settings().kubeconfig).unwrap();
    let mut kubeconfig: Value = serde_saphyr::from_str(&text).unwrap();
    let name = kubeconfig["users"][0]["name"].clone();
    kubeconfig["users"] = json!([{"name": name, "user": {"token": namespace.token("boss", None)}}]);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), kubeconfig.to_string()).unwrap();
    file
}

#[test]
fn a_namespace_s_administrator_learns_what_may_be_seen_and_which_rights_are_missing() {
    let namespace = Namespace::new("boss");
    let pod = annotated(&namespace);
    let file = namespace_admin(&namespace);
    let doctor = |pod: &Value| Doctor::of(&namespace.name, pod).kubeconfig(PathBuf::from(file.path()));
    doctor(&pod).is_content();
    let seen = doctor(&pod).examine();
    let right = seen.findings.iter().find(|finding| finding.check == "webhook").unwrap();
    assert_eq!(right.level, "unseen", "{}", seen.story());
    assert!(
        right.message.contains("list mutatingwebhookconfigurations"),
        "{}",
        seen.story()
    );
    let called = seen.findings.iter().find(|finding| finding.check == "webhook-call");
    assert_eq!(called.unwrap().level, "ok", "{}", seen.story());
    // What a namespace has is still found and mended.
    let other = merge(pod, &json!({"spec": {"serviceAccountName": "web"}}));
    doctor(&other).mends("service-account", &["kubectl create serviceaccount web"]);
}
