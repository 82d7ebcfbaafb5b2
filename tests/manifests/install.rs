//! The plain manifest, which is what the chart's defaults install.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use super::rendered::{Manifests, command, documents, knows_every_field, podkey, root};

#[test]
fn the_plain_manifest_is_what_the_chart_gives_today() {
    let rendered = command("manifests/render").output().unwrap();
    assert!(
        rendered.status.success(),
        "{}",
        String::from_utf8_lossy(&rendered.stderr)
    );
    let committed = fs::read_to_string(root().join("manifests/podkey.yaml")).unwrap();
    assert!(
        String::from_utf8(rendered.stdout).unwrap() == committed,
        "manifests/podkey.yaml is stale: run `make manifests`"
    );
}

#[test]
fn the_plain_manifest_is_the_chart_s_defaults_and_a_namespace() {
    let values = &documents(&root().join("manifests/plain-values.yaml"))[0];
    let keys: BTreeSet<_> = values.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, BTreeSet::from(["config"]), "everything else is the default");
    let mut plain = Manifests::plain();
    plain.0.iter().for_each(knows_every_field);
    assert_eq!(plain.0.remove(0)["kind"], "Namespace", "what is in it comes after it");
    let mut values = values.clone();
    values["image"] = json!({"repository": "ghcr.io/podkey/podkey"});
    let mut chart = Manifests::chart(values);
    chart.0.iter_mut().for_each(without_helm_s_labels);
    assert_eq!(plain, chart);
}

/// Nobody installed the plain manifest with Helm.
fn without_helm_s_labels(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.shift_remove("app.kubernetes.io/managed-by");
            fields.shift_remove("helm.sh/chart");
            fields.values_mut().for_each(without_helm_s_labels);
        }
        Value::Array(items) => items.iter_mut().for_each(without_helm_s_labels),
        _ => {}
    }
}

#[test]
fn everything_is_in_the_namespace_podkey_and_passes_restricted_there() {
    let plain = Manifests::plain();
    let labels = &plain.one("Namespace")["metadata"]["labels"];
    assert_eq!(labels["pod-security.kubernetes.io/enforce"], "restricted");
    for document in &plain.0 {
        let kind = document["kind"].as_str().unwrap();
        let of_the_cluster = [
            "Namespace",
            "ClusterRole",
            "ClusterRoleBinding",
            "MutatingWebhookConfiguration",
        ]
        .contains(&kind)
            || kind.starts_with("ValidatingAdmissionPolicy");
        assert_eq!(document["metadata"]["namespace"] == "podkey", !of_the_cluster, "{kind}");
        assert!(
            document["metadata"]["name"].as_str().unwrap().starts_with("podkey"),
            "{kind}"
        );
    }

    let pod = plain.pod();
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["securityContext"]["runAsUser"], 65532, "the image's user");
    assert_eq!(
        pod["securityContext"]["seccompProfile"],
        json!({"type": "RuntimeDefault"})
    );
    for setting in ["hostNetwork", "hostPID", "hostIPC"] {
        assert!(pod.get(setting).is_none(), "{setting}");
    }
    let allowed: BTreeSet<_> = ["configMap", "emptyDir", "projected", "secret", "name"].into();
    for volume in pod["volumes"].as_array().unwrap() {
        assert!(
            volume
                .as_object()
                .unwrap()
                .keys()
                .all(|key| allowed.contains(key.as_str())),
            "{volume}"
        );
    }
    let container = plain.container();
    assert_eq!(
        container["securityContext"],
        json!({
            "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]},
        })
    );
}

#[test]
fn a_roll_out_or_a_drain_never_takes_the_last_replica() {
    let plain = Manifests::plain();
    let spec = &plain.one("Deployment")["spec"];
    assert!(spec["replicas"].as_u64().unwrap() >= 2);
    assert_eq!(
        spec["strategy"],
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}})
    );
    assert_eq!(
        spec["template"]["spec"]["topologySpreadConstraints"][0]["topologyKey"],
        "kubernetes.io/hostname"
    );
    assert_eq!(plain.one("PodDisruptionBudget")["spec"]["maxUnavailable"], 1);

    let timeout = plain.webhook()["timeoutSeconds"].as_u64().unwrap();
    let help = String::from_utf8(podkey(&["serve", "--help"], "").stdout).unwrap();
    assert!(help.contains("served after SIGTERM [default: 10s]"), "{help}");
    let grace = 10;
    let period = plain.pod()["terminationGracePeriodSeconds"].as_u64().unwrap();
    assert!(
        period >= grace + timeout + 5,
        "{period} s are too short to shut down in"
    );

    let resources = &plain.container()["resources"];
    assert!(resources["requests"]["cpu"].is_string());
    assert!(
        resources["limits"].get("cpu").is_none(),
        "throttling shows as time-outs"
    );
}

#[test]
fn selectors_and_ports_meet() {
    let plain = Manifests::plain();
    let deployment = plain.one("Deployment");
    let labels = &deployment["spec"]["template"]["metadata"]["labels"];
    let selectors = [
        deployment["spec"]["selector"]["matchLabels"].clone(),
        deployment["spec"]["template"]["spec"]["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"].clone(),
        plain.one("Service")["spec"]["selector"].clone(),
        plain.one("PodDisruptionBudget")["spec"]["selector"]["matchLabels"].clone(),
        plain.one("NetworkPolicy")["spec"]["podSelector"]["matchLabels"].clone(),
    ];
    for selector in selectors {
        let selector = selector.as_object().unwrap();
        assert_eq!(selector.len(), 2, "a selector never changes: no version");
        for (label, value) in selector {
            assert_eq!(&labels[label], value);
        }
    }

    let container = plain.container();
    let port = |name: &str| {
        let ports = container["ports"].as_array().unwrap();
        ports.iter().find(|port| port["name"] == name).unwrap()["containerPort"]
            .as_u64()
            .unwrap()
    };
    assert_eq!(
        plain.argument("--listen").unwrap(),
        format!("0.0.0.0:{}", port("webhook"))
    );
    assert_eq!(
        plain.argument("--admin-listen").unwrap(),
        format!("0.0.0.0:{}", port("admin"))
    );
    for (probe, path) in [("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")] {
        assert_eq!(container[probe]["httpGet"], json!({"path": path, "port": "admin"}));
    }

    let service = plain.one("Service");
    assert_eq!(
        service["spec"]["ports"].as_array().unwrap().len(),
        1,
        "the admin port is not for everyone"
    );
    assert_eq!(service["spec"]["ports"][0]["targetPort"], "webhook");
    let client = &plain.webhook()["clientConfig"];
    assert_eq!(
        client["service"],
        json!({
            "namespace": service["metadata"]["namespace"], "name": service["metadata"]["name"],
            "port": service["spec"]["ports"][0]["port"], "path": "/mutate",
        })
    );

    let ingress = plain.one("NetworkPolicy")["spec"]["ingress"].clone();
    assert_eq!(ingress[0]["ports"][0]["port"].as_u64(), Some(port("webhook")));
    assert!(ingress[0].get("from").is_none(), "API servers are no pods");
    assert_eq!(ingress[1]["ports"][0]["port"].as_u64(), Some(port("admin")));
}

#[test]
fn the_config_is_mounted_where_the_program_looks() {
    let plain = Manifests::plain();
    let volumes = &plain.pod()["volumes"];
    let container = plain.container();
    assert_eq!(volumes.as_array().unwrap().len(), 1);
    assert_eq!(
        container["volumeMounts"],
        json!([{"name": volumes[0]["name"], "mountPath": "/etc/podkey", "readOnly": true}])
    );
    let projected = &volumes[0]["projected"];
    assert_eq!(
        projected["defaultMode"], 0o440,
        "for the group alone, which is the pod's fsGroup"
    );
    assert_eq!(plain.pod()["securityContext"]["fsGroup"], 65532);
    assert_eq!(
        projected["sources"],
        json!([{"configMap": {"name": plain.one("ConfigMap")["metadata"]["name"]}}])
    );
    assert_eq!(plain.argument("--config"), Some("/etc/podkey/config.yaml"));
}

#[test]
fn the_api_server_sends_new_pods_with_an_annotation_of_ours_and_nothing_else() {
    let plain = Manifests::plain();
    let webhook = plain.webhook();
    assert!(
        webhook["name"].as_str().unwrap().split('.').count() >= 3,
        "what the API server asks of the name"
    );
    let settings = json!({
        "admissionReviewVersions": ["v1"], "failurePolicy": "Fail", "sideEffects": "None", "timeoutSeconds": 5,
        "reinvocationPolicy": "IfNeeded", "matchPolicy": "Equivalent",
    });
    for (key, value) in settings.as_object().unwrap() {
        assert_eq!(&webhook[key], value, "{key}");
    }
    assert_eq!(
        webhook["rules"],
        json!([{
            "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"],
            "scope": "Namespaced",
        }])
    );
    assert_eq!(
        webhook["namespaceSelector"],
        json!({"matchExpressions": [{
            "key": "kubernetes.io/metadata.name", "operator": "NotIn",
            "values": ["kube-system", "kube-node-lease", "kube-public", "podkey"],
        }]})
    );
    let conditions = webhook["matchConditions"].as_array().unwrap();
    assert_eq!(conditions.len(), 1);
    assert_eq!(
        conditions[0]["expression"],
        "has(object.metadata.annotations) && object.metadata.annotations.exists(k, k.startsWith('podkey.dev/'))"
    );
    assert!(
        webhook["clientConfig"].get("caBundle").is_none(),
        "applying it again must not wipe the injected one"
    );
}

#[test]
fn webhook_agent_and_image_are_of_one_version() {
    let plain = Manifests::plain();
    let image = plain.container()["image"].as_str().unwrap().to_owned();
    let config: Value = serde_saphyr::from_str(&plain.config()).unwrap();
    assert_eq!(config["agent"]["image"], image, "one image holds both programs");
    assert!(image.ends_with(concat!(":", env!("CARGO_PKG_VERSION"))), "{image}");
}

/// Artifact Hub shows a version with a hyphen as a pre-release only when the chart says so.
#[test]
fn the_chart_is_a_pre_release_as_its_version_is() {
    let chart = &documents(&root().join("manifests/chart/Chart.yaml"))[0];
    let expected = env!("CARGO_PKG_VERSION").contains('-').to_string();
    assert_eq!(chart["annotations"]["artifacthub.io/prerelease"], expected);
}

/// Cargo.toml has the version. Every other file that needs the number follows.
#[test]
fn no_file_has_the_number_of_another_version() {
    let checked = Command::new(root().join(".ci/version"))
        .arg("--check")
        .output()
        .unwrap();
    let found = String::from_utf8_lossy(&checked.stdout);
    assert!(
        checked.status.success(),
        "{found}{}",
        String::from_utf8_lossy(&checked.stderr)
    );
    let dockerfile = fs::read_to_string(root().join("Dockerfile")).unwrap();
    assert!(dockerfile.contains(concat!("ARG VERSION=", env!("CARGO_PKG_VERSION"), "\n")));
}
