//! What the chart refuses: values of the wrong form, values that are wrong together, and usual guesses at names.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::rendered::{helm, with_required};

/// What helm says when it refuses the values.
fn refused(values: &Value) -> String {
    let output = helm(
        &["template", "podkey", "manifests/chart", "--namespace", "podkey"],
        &with_required(values.clone()),
    );
    assert!(!output.status.success(), "not refused: {values}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_usual_guess_is_refused_with_the_right_name() {
    for (values, right) in [
        (
            json!({"replicas": 3}),
            "'/replicas': value must be 'write replicaCount'",
        ),
        (
            json!({"image": {"pullSecrets": [{"name": "a"}]}}),
            "'write imagePullSecrets, beside image'",
        ),
        (json!({"nameOverride": "a"}), "'write fullnameOverride: "),
        (json!({"topologySpread": {}}), "'write topologySpreadConstraints'"),
        (
            json!({"serviceMonitor": {"enabled": true}}),
            "'write metrics.serviceMonitor'",
        ),
        (json!({"extraEnv": []}), "'write log.level: "),
        (json!({"logLevel": "debug"}), "'write log.level'"),
        (
            json!({"metrics": {"enabled": true}}),
            "write metrics.podMonitor.enabled or metrics.serviceMonitor.enabled",
        ),
        (
            json!({"vault": {"address": "https://v"}}),
            "'write config.connections.NAME.address'",
        ),
    ] {
        let said = refused(&values);
        assert!(said.contains(right), "{values}: {said}");
    }
}

#[test]
fn values_that_cannot_be_together_are_refused_with_words() {
    let on = json!({"enabled": true});
    for (values, words) in [
        (
            json!({"extraArgs": ["--tls-poll=5s", "--config=/x"]}),
            "extraArgs has --config=/x, an option that the chart sets itself",
        ),
        (json!({"extraArgs": ["--listen"]}), "extraArgs has --listen"),
        // The kubelet would end the pod before podkey is ready for that.
        (
            json!({"extraArgs": ["--grace=60s"]}),
            "write webhook.gracePeriodSeconds",
        ),
        (json!({"enabled": false}), "enabled is false"),
        // Otherwise the operator believes that podkey serves with a certificate that podkey never reads.
        (
            json!({"tls": {"files": {"existingSecret": "mine"}}}),
            "tls.files has a value, and tls.mode is self",
        ),
        (
            json!({"tls": {"mode": "files", "certManager": {"issuerRef": {"name": "mine"}}}}),
            "tls.certManager.issuerRef has a value, and tls.mode is files",
        ),
        // Every pod of the namespace would have the rights of podkey.
        (
            json!({"serviceAccount": {"create": false, "name": "default"}}),
            "serviceAccount.name is default, and tls.mode is self",
        ),
        (
            json!({"config": {"connections": {"default": {"caFile": "/etc/podkey/ca.pem"}}}}),
            "caFile is /etc/podkey/ca.pem, a file that the chart does not mount",
        ),
        (
            json!({"vaultK8s": {"enabled": true, "connection": "bao"}}),
            "vaultK8s.connection is bao, which config.connections does not have",
        ),
        (
            json!({"webhook": {"excludedNamespaces": ["default"]}}),
            "test.namespace is default, one of webhook.excludedNamespaces",
        ),
        (
            json!({"webhook": {"port": 8080}}),
            "webhook.port and metrics.port are both 8080",
        ),
        (
            json!({"serviceAccount": {"create": false}}),
            "name the account that exists in serviceAccount.name",
        ),
        (
            json!({"metrics": {"podMonitor": on, "serviceMonitor": on}}),
            "Prometheus would count everything twice",
        ),
    ] {
        let said = refused(&values);
        assert!(said.contains(words), "{values}: {said}");
    }
}

/// A mistake that Kubernetes, podkey or nobody at all would see later.
#[test]
fn a_value_of_the_wrong_form_is_refused_with_its_place() {
    let connection = |part: Value| json!({"config": {"connections": {"default": part}}});
    let selector = |part: Value| json!({"webhook": {"namespaceSelector": {"matchExpressions": [part]}}});
    let memory = |value: Value| json!({"resources": {"limits": {"memory": value}}});
    let cidr = |text: &str| json!({"networkPolicy": {"apiServerCidrs": [text]}});
    for (values, place) in [
        (connection(json!({"address": "vault:8200"})), "/address'"),
        (connection(json!({"budget": "5"})), "/budget'"),
        (connection(json!({"job": {"deadline": "never"}})), "/job/deadline'"),
        (
            json!({"image": {"repository": "https://r/podkey"}}),
            "'/image/repository'",
        ),
        (json!({"image": {"repository": "podkey:1"}}), "'/image/repository'"),
        (
            json!({"agentImage": {"repository": "r/Podkey"}}),
            "'/agentImage/repository'",
        ),
        (json!({"image": {"tag": "sha256:a"}}), "'/image/tag'"),
        (cidr("10.0.0.0/33"), "'/networkPolicy/apiServerCidrs/0'"),
        (cidr("300.0.0.0/8"), "'/networkPolicy/apiServerCidrs/0'"),
        (cidr("2001:db8::/129"), "'/networkPolicy/apiServerCidrs/0'"),
        (
            json!({"networkPolicy": {"monitoringNamespace": "Monitoring"}}),
            "/monitoringNamespace'",
        ),
        (memory(json!("128m")), "'/resources/limits/memory'"),
        (memory(json!(128)), "'/resources/limits/memory'"),
        (memory(json!("128MB")), "'/resources/limits/memory'"),
        (
            json!({"config": {"agent": {"resources": {"limits": {"memory": "64m"}}}}}),
            "/limits/memory'",
        ),
        (selector(json!({"key": "a", "operators": "Exists"})), "'operators'"),
        (selector(json!({"key": "a", "operator": "exists"})), "/operator'"),
        (json!({"vaultCa": "ca.pem"}), "'/vaultCa'"),
        (
            json!({"tls": {"mode": "files", "files": {"caBundle": STANDARD.encode("-----BEGIN CERTIFICATE-----")}}}),
            "'/tls/files/caBundle'",
        ),
        (
            json!({"webhook": {"listenAddress": "localhost"}}),
            "'/webhook/listenAddress'",
        ),
        (
            json!({"metrics": {"labels": {"app.kubernetes.io/name": "x"}}}),
            "'app.kubernetes.io/name'",
        ),
        (
            json!({"metrics": {"prometheusRule": {"certificateExpiresWithinHours": -1}}}),
            "/certificateExpiresWithinHours'",
        ),
    ] {
        let said = refused(&values);
        assert!(said.contains(place), "{values}: {said}");
    }
}

#[test]
fn unusual_values_of_the_right_form_are_taken() {
    let connection = |part: Value| json!({"config": {"connections": {"default": part}}});
    for values in [
        json!({"image": {"repository": "localhost:5000/a/b-c_d.e", "tag": "v1_2"}}),
        json!({"image": {"repository": "[::1]:5000/a"}}),
        json!({"image": {"repository": "podkey"}}),
        json!({"networkPolicy": {"apiServerCidrs": ["0.0.0.0/0", "10.1.2.3/32", "::/0", "2001:db8::1/128"]}}),
        json!({"resources": {"limits": {"memory": "1.5Gi"}, "requests": {"memory": 134_217_728, "cpu": 0.1}}}),
        connection(json!({"budget": "1m 30s"})),
        connection(json!({"budget": "90 sec"})),
        connection(json!({"address": "http://v:8200", "allowInsecureHttp": true})),
        connection(json!({"caFile": "/run/ca.pem"})),
        json!({"enabled": true}),
        json!({"serviceAccount": {"create": false, "name": "default"}, "tls": {"mode": "files"}}),
        json!({"webhook": {"excludedNamespaces": ["default"]}, "test": {"namespace": "shop"}}),
    ] {
        let output = helm(
            &["template", "podkey", "manifests/chart"],
            &with_required(values.clone()),
        );
        assert!(
            output.status.success(),
            "{values}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}
