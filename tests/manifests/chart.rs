//! The chart in its modes and with its options.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::rendered::{Manifests, documents, helm, knows_every_field, podkey, root, with_required};

const CA_PATH: &str = "/etc/podkey/vault-ca.pem";
const PEM: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

/// Values that together go through every branch of the templates.
fn variants() -> Vec<(&'static str, Value)> {
    let connection = json!({"address": "https://vault.vault.svc:8200", "caFile": CA_PATH});
    let on = json!({"enabled": true});
    let off = json!({"enabled": false});
    vec![
        ("the defaults", json!({})),
        ("cert-manager", json!({"tls": {"mode": "cert-manager"}})),
        (
            "cert-manager with an issuer of one's own",
            json!({"tls": {"mode": "cert-manager", "certManager": {"issuerRef": {"name": "mine", "kind": "ClusterIssuer"}}}}),
        ),
        ("files", json!({"tls": {"mode": "files"}})),
        (
            "files, both named",
            json!({"tls": {"mode": "files", "files": {"existingSecret": "mine", "caBundle": PEM}}}),
        ),
        (
            "everything optional is on",
            json!({
                "image": {"digest": format!("sha256:{}", "0".repeat(64)), "pullPolicy": "Always"}, "imagePullSecrets": [{"name": "pull"}],
                "agentImage": {"repository": "registry.example.com/agent", "tag": "2"},
                "replicaCount": 3, "vaultCa": PEM, "config": {"connections": {"default": connection}},
                "webhook": {"timeoutSeconds": 10, "namespaceSelector": {
                    "matchLabels": {"team": "a"}, "matchExpressions": [{"key": "environment", "operator": "Exists"}],
                }},
                "priorityClassName": "system-cluster-critical", "nodeSelector": {"kubernetes.io/os": "linux"},
                "tolerations": [{"operator": "Exists"}],
                "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
                "topologySpreadConstraints": [
                    {"topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "DoNotSchedule", "maxSkew": 2},
                    {"topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "ScheduleAnyway"},
                ],
                "commonLabels": {"team": "platform"}, "deploymentAnnotations": {"reloader": "yes"}, "revisionHistoryLimit": 3,
                "hostNetwork": true, "log": {"format": "text", "level": "debug"}, "extraArgs": ["--tls-poll=20s"],
                "serviceAccount": {"create": true, "name": "podkey-webhook", "annotations": {"a.example.com/b": "c"}},
                "podSecurityContext": {"runAsUser": null, "runAsGroup": null, "fsGroup": null},
                "podLabels": {"sidecar.istio.io/inject": "false"}, "podAnnotations": {"a.example.com/b": "c"},
                "networkPolicy": {"apiServerCidrs": ["192.0.2.0/28", "2001:db8::/64"], "apiServerPorts": [8443]},
                "metrics": {"podMonitor": on, "prometheusRule": on, "dashboard": on, "labels": {"release": "prometheus"}},
                "vaultK8s": {"enabled": true, "namespaceSelector": {"matchLabels": {"secrets-injector": "podkey"}}},
                "guard": on,
            }),
        ),
        (
            "everything optional is off",
            json!({
                "podDisruptionBudget": off, "networkPolicy": off, "ephemeralContainerPolicy": off,
                "topologySpreadConstraints": [], "serviceAccount": {"create": false, "name": "mine"},
            }),
        ),
        ("another name", json!({"fullnameOverride": "podkey-next"})),
        (
            "a ServiceMonitor",
            json!({"metrics": {"serviceMonitor": on, "labels": {"release": "prometheus"}, "port": 9080}, "webhook": {"port": 9443}}),
        ),
        // What Helm hands down where the chart is part of another.
        (
            "part of another chart",
            json!({"global": {"registry": "registry.example.com"}}),
        ),
    ]
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What helm says when it refuses the values.
fn refused(values: &Value) -> String {
    let args = ["template", "podkey", "manifests/chart", "--namespace", "podkey"];
    let output = helm(&args, values);
    assert!(!output.status.success(), "not refused: {values}");
    text(&output.stderr)
}

#[test]
fn helm_lint_has_no_complaint() {
    for (name, values) in variants() {
        let output = helm(&["lint", "--strict", "manifests/chart"], &with_required(values));
        assert!(output.status.success(), "{name}: {}", text(&output.stdout));
    }
    let output = helm(&["lint", "--strict", "manifests/chart"], &json!({}));
    assert!(output.status.success(), "the chart alone: {}", text(&output.stdout));
}

#[test]
fn every_object_has_only_fields_that_kubernetes_knows() {
    for (name, values) in variants() {
        let manifests = Manifests::chart(values);
        manifests.0.iter().for_each(knows_every_field);
        let mut names = BTreeSet::new();
        for document in &manifests.0 {
            let id = (document["kind"].to_string(), document["metadata"]["name"].to_string());
            assert!(names.insert(id.clone()), "{name}: {id:?} is there twice");
            assert_eq!(
                document["metadata"]["labels"]["app.kubernetes.io/name"], "podkey",
                "{name}: {id:?}"
            );
        }
    }
}

#[test]
fn names_that_yaml_would_read_as_numbers_stay_names() {
    for name in ["123", "1e3", "0x1f", "true", "null"] {
        for mode in ["self", "cert-manager", "files"] {
            let values = with_required(json!({
                "image": {"tag": name},
                "tls": {"mode": mode, "files": {"existingSecret": if mode == "files" { name } else { "" }}},
                "priorityClassName": name,
                "topologySpreadConstraints": [{"topologyKey": name, "whenUnsatisfiable": "DoNotSchedule"}],
                "serviceAccount": {"name": name}, "commonLabels": {"a": name}, "test": {"namespace": name},
                "networkPolicy": {"monitoringNamespace": name},
                "metrics": {"podMonitor": {"enabled": true}, "prometheusRule": {"enabled": true}, "dashboard": {"enabled": true}},
            }));
            let output = helm(&["template", name, "manifests/chart", "--namespace", name], &values);
            assert!(output.status.success(), "{name}, {mode}: {}", text(&output.stderr));
            let documents: Vec<Value> = serde_saphyr::from_multiple(&text(&output.stdout)).unwrap();
            documents.iter().for_each(knows_every_field);
            for document in &documents {
                let metadata = &document["metadata"];
                assert_eq!(metadata["labels"]["app.kubernetes.io/instance"], name, "{name}, {mode}");
                let namespace = metadata.get("namespace");
                assert!(
                    namespace.is_none_or(|namespace| namespace == name),
                    "{name}, {mode}: {metadata}"
                );
            }
        }
    }
}

#[test]
fn the_webhook_takes_every_rendered_config() {
    for (name, values) in variants() {
        let manifests = Manifests::chart(values);
        let read = |path: &std::path::Path| {
            let file = path
                .strip_prefix("/etc/podkey")
                .map_err(|_| "is elsewhere".to_owned())?;
            let pem = manifests.config_map()[file.to_str().unwrap()].as_str();
            pem.map(str::to_owned).ok_or_else(|| "is not there".to_owned())
        };
        let config = podkey::inject::Config::parse(&manifests.config(), read).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(
            config.connections["default"].server.ca.is_some(),
            name == "everything optional is on"
        );
    }
}

#[test]
fn every_argument_is_one_the_program_has() {
    let help = text(&podkey(&["serve", "--help"], "").stdout);
    for (name, values) in variants() {
        let manifests = Manifests::chart(values);
        let args = manifests.container()["args"].as_array().unwrap();
        assert_eq!(args[0], "serve");
        for flag in args
            .iter()
            .map(|arg| arg.as_str().unwrap())
            .filter(|arg| arg.starts_with("--"))
        {
            assert!(
                help.split_whitespace()
                    .any(|word| word == flag.split('=').next().unwrap()),
                "{name}: no {flag} in `podkey serve --help`:\n{help}"
            );
        }
    }
}

#[test]
fn the_same_values_give_the_same_bytes() {
    for (_, values) in variants() {
        assert_eq!(Manifests::chart(values.clone()), Manifests::chart(values));
    }
}

#[test]
fn what_only_the_operator_can_know_is_asked_for() {
    let required = with_required(json!({}));
    for (given, expected) in [
        (
            json!({"image": {"repository": ""}}),
            "image.repository is empty: name an image",
        ),
        (json!({"config": null}), "config.connections is empty: name a server"),
    ] {
        let mut values = required.clone();
        json_patch::merge(&mut values, &given);
        let said = refused(&values);
        assert!(said.contains(expected), "{said}");
    }
    let named = json!({"config": {"connections": {"default": {"caFile": CA_PATH}}}});
    for values in [json!({"vaultCa": PEM}), named] {
        let said = refused(&with_required(values));
        assert!(
            said.contains("give both, vaultCa and a connection whose caFile names"),
            "{said}"
        );
    }
}

#[test]
fn a_typo_or_a_value_that_cannot_be_meant_is_refused_with_its_place() {
    let connection = |part: Value| json!({"config": {"connections": {"default": part}}});
    for (values, place) in [
        (json!({"replicaCounts": 2}), "'replicaCounts'"),
        (json!({"image": {"tags": "1"}}), "'/image'"),
        (json!({"image": {"tag": 1}}), "'/image/tag'"),
        (json!({"image": {"digest": "latest"}}), "'/image/digest'"),
        (json!({"image": {"pullPolicy": "Sometimes"}}), "'/image/pullPolicy'"),
        (json!({"agentImage": {"tag": "1"}}), "'repository'"),
        (json!({"replicaCount": 0}), "'/replicaCount'"),
        (json!({"replicaCount": "2"}), "'/replicaCount'"),
        (json!({"tls": {"mode": "auto"}}), "'/tls/mode'"),
        (json!({"tls": {"files": {"secret": "a"}}}), "'/tls/files'"),
        (
            json!({"tls": {"certManager": {"issuerRef": {"issuer": "a"}}}}),
            "'/tls/certManager/issuerRef'",
        ),
        (
            json!({"webhook": {"failurePolicy": "Ignore"}}),
            "'/webhook/failurePolicy'",
        ),
        (json!({"webhook": {"timeoutSeconds": 31}}), "'/webhook/timeoutSeconds'"),
        (
            json!({"networkPolicy": {"apiServerCidrs": ["192.0.2.1"]}}),
            "'/networkPolicy/apiServerCidrs/0'",
        ),
        (json!({"metrics": {"podMonitor": true}}), "'/metrics/podMonitor'"),
        (json!({"resources": {"limit": {}}}), "'/resources'"),
        (json!({"fullnameOverride": "Podkey"}), "'/fullnameOverride'"),
        // The chart sets them, and its selectors go by them.
        (
            json!({"podLabels": {"app.kubernetes.io/name": "x"}}),
            "invalid propertyName 'app.kubernetes.io/name'",
        ),
        (
            json!({"podLabels": {"app.kubernetes.io/instance": "x"}}),
            "invalid propertyName 'app.kubernetes.io/instance'",
        ),
        (
            json!({"commonLabels": {"helm.sh/chart": "x"}}),
            "invalid propertyName 'helm.sh/chart'",
        ),
        (json!({"webhook": {"port": 443}}), "'/webhook/port'"),
        (
            json!({"topologySpreadConstraints": [{"topologyKey": "a"}]}),
            "'whenUnsatisfiable'",
        ),
        (
            json!({"podAnnotations": {"checksum/config": "x"}}),
            "invalid propertyName 'checksum/config'",
        ),
        // YAML would read it as a boolean.
        (json!({"fullnameOverride": "on"}), "'/fullnameOverride'"),
        // No ports at all would let podkey reach every one.
        (
            json!({"networkPolicy": {"apiServerPorts": []}}),
            "'/networkPolicy/apiServerPorts'",
        ),
        (
            json!({"tls": {"certManager": {"issuerRef": {"kind": "ClusterIssuer"}}}}),
            "'name'",
        ),
        (json!({"config": {"conections": {}}}), "'conections'"),
        (connection(json!({"adress": "https://v"})), "'adress'"),
        (json!({"vaultK8s": {"enable": true}}), "'enable'"),
        (json!({"vaultK8s": {"enabled": "yes"}}), "'/vaultK8s/enabled'"),
        (json!({"vaultK8s": {"allowTokens": "yes"}}), "'/vaultK8s/allowTokens'"),
        // Only here, so that API servers send podkey the pods that it is to take.
        (json!({"config": {"vaultK8s": {"connection": "default"}}}), "'vaultK8s'"),
        // Helm would leave an empty value out: then Vault's policies alone would decide.
        (
            connection(json!({"allow": "nobody"})),
            "'/config/connections/default/allow'",
        ),
        (connection(json!({"allow": [{"secret": ["a"]}]})), "'secret'"),
        (
            connection(json!({"auth": {"method": "token"}})),
            "'/config/connections/default/auth/method'",
        ),
    ] {
        let said = refused(&with_required(values.clone()));
        assert!(said.contains("values don't meet the specifications"), "{said}");
        assert!(said.contains(place), "{values}: {said}");
    }
}

/// An `allow` whose rules are all commented out must not allow everything: podkey refuses it, if Helm does not before.
#[test]
fn an_empty_allow_never_gets_lost() {
    let mut values = with_required(json!({}));
    values["config"]["connections"]["default"]["allow"] = Value::Null;
    assert!(refused(&values).contains("'/config/connections/default/allow': got null, want array"));
}

/// The part of values.schema.json at a path of properties; `*` is any key, `[]` any element.
fn schema_at(path: &str) -> Value {
    let schema = &documents(&root().join("manifests/chart/values.schema.json"))[0];
    let mut at = &schema["properties"]["config"];
    for part in path.split_whitespace() {
        at = match part {
            "*" => &at["additionalProperties"],
            "[]" => &at["items"],
            name => &at["properties"][name],
        };
    }
    at.clone()
}

#[test]
fn the_schema_has_the_keys_of_the_operator_s_config_and_no_others() {
    for (path, config) in [
        ("", "zzz: 1"),
        ("agent", "agent: {zzz: 1}"),
        ("agent resources", "agent: {image: i, resources: {zzz: 1}}"),
        ("connections *", "connections: {d: {zzz: 1}}"),
        ("connections * auth", "connections: {d: {auth: {zzz: 1}}}"),
        ("connections * job", "connections: {d: {job: {zzz: 1}}}"),
        (
            "connections * job policy",
            "connections: {d: {job: {policy: {zzz: 1}}}}",
        ),
        ("connections * allow []", "connections: {d: {allow: [{zzz: 1}]}}"),
    ] {
        let Err(error) = podkey::inject::Config::parse(config, |_| Ok(String::new())) else {
            panic!("{config} is taken");
        };
        let error = error.to_string();
        let (_, keys) = error
            .split_once("is not a key here: the keys are ")
            .unwrap_or_else(|| panic!("{error}"));
        let known: BTreeSet<_> = keys.lines().next().unwrap().split(", ").map(str::to_owned).collect();
        let at = schema_at(path);
        let mut listed: BTreeSet<_> = at["properties"].as_object().unwrap().keys().cloned().collect();
        if path.is_empty() {
            // It stands beside `config`, because it also decides which pods API servers send.
            listed.insert("vaultK8s".to_owned());
        }
        assert_eq!(listed, known, "config {path}");
        assert_eq!(at["additionalProperties"], false, "config {path}");
    }
}

#[test]
fn the_config_arrives_as_it_was_written() {
    let mut config = json!({
        "agent": {"runAsUser": 1_000_650_000, "resources": {"limits": {"memory": "64Mi"}}},
        "connections": {"default": {
            "address": "https://v", "allow": [], "auth": {"audience": ""},
            "job": {"policy": {"repositoryIds": ["456789", 9_007_199_254_740_991_u64], "ownerIds": ["18446744073709551615"]}},
        }},
        "allowSharedProcessNamespace": true,
        "kubernetesVersion": "1.30",
        "restartAllContainers": true,
    });
    let written = |config: &Value| {
        let mut values = with_required(json!({}));
        values["config"] = config.clone();
        let args = [
            "template",
            "podkey",
            "manifests/chart",
            "--show-only",
            "templates/configmap.yaml",
        ];
        let output = helm(&args, &values);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let map: Value = serde_saphyr::from_slice(&output.stdout).unwrap();
        serde_saphyr::from_str::<Value>(map["data"]["config.yaml"].as_str().unwrap()).unwrap()
    };
    for user in [json!(1_000_650_000), Value::Null] {
        config["agent"]["runAsUser"] = user;
        let mut expected = config.clone();
        expected["agent"]["image"] = json!(concat!("registry.example.com/podkey:", env!("CARGO_PKG_VERSION")));
        assert_eq!(written(&config), expected);
    }
    config["agent"]["image"] = json!("registry.example.com/mine:1");
    assert_eq!(written(&config), config, "an image of the operator's own stays");
}

/// Helm reads numbers as floating point: it would write another number.
#[test]
fn an_id_whose_digits_helm_would_change_is_refused() {
    let ids = |id: Value| {
        let mut values = with_required(json!({}));
        values["config"]["connections"]["default"]["job"] = json!({"policy": {"repositoryIds": [id]}});
        helm(&["template", "podkey", "manifests/chart"], &values)
    };
    let refused = ids(json!(9_007_199_254_740_993_u64));
    assert!(!refused.status.success() && text(&refused.stderr).contains("repositoryIds"));
    assert!(ids(json!("9007199254740993")).status.success());
}

#[test]
fn a_digest_wins_and_the_agent_may_have_another_image() {
    let digest = format!("sha256:{}", "a".repeat(64));
    let agent = |manifests: &Manifests| serde_saphyr::from_str::<Value>(&manifests.config()).unwrap()["agent"].clone();
    let manifests = Manifests::chart(json!({"image": {"digest": digest, "tag": "x"}}));
    let image = format!("registry.example.com/podkey@{digest}");
    assert_eq!(manifests.container()["image"], image);
    assert_eq!(agent(&manifests)["image"], image);

    let manifests = Manifests::chart(json!({"agentImage": {"repository": "r/agent", "tag": "9"}}));
    assert_eq!(agent(&manifests)["image"], "r/agent:9");
    assert!(
        manifests.container()["image"]
            .as_str()
            .unwrap()
            .starts_with("registry.example.com/podkey:")
    );
}

#[test]
fn only_a_changed_config_makes_new_pods() {
    let annotation = |values: Value| {
        let manifests = Manifests::chart(values);
        manifests.one("Deployment")["spec"]["template"]["metadata"]["annotations"]["checksum/config"].to_string()
    };
    let before = annotation(json!({}));
    assert_eq!(annotation(json!({"replicaCount": 5})), before);
    let changed = [
        json!({"config": {"connections": {"default": {"budget": "1m"}}}}),
        json!({"vaultCa": PEM, "config": {"connections": {"default": {"caFile": CA_PATH}}}}),
    ];
    for values in changed {
        assert_ne!(annotation(values), before);
    }
}

#[test]
fn podkey_may_keep_its_ca_and_list_nodes_and_nothing_else() {
    let manifests = Manifests::chart_in("platform", json!({"fullnameOverride": "p"}));
    let (cluster_role, role) = (manifests.one("ClusterRole"), manifests.one("Role"));
    assert_eq!(
        role["rules"],
        json!([
            {"apiGroups": [""], "resources": ["secrets"], "verbs": ["create"]},
            {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["p-ca"], "verbs": ["get", "update"]},
        ])
    );
    assert_eq!(
        cluster_role["rules"],
        json!([{
            "apiGroups": ["admissionregistration.k8s.io"], "resources": ["mutatingwebhookconfigurations"],
            "resourceNames": ["p.platform"], "verbs": ["get", "patch"],
        }, {"apiGroups": [""], "resources": ["nodes"], "verbs": ["list"]}])
    );
    assert_eq!(role["metadata"]["namespace"], "platform");
    for (binding, role) in [
        (manifests.one("RoleBinding"), role),
        (manifests.one("ClusterRoleBinding"), cluster_role),
    ] {
        assert_eq!(binding["roleRef"]["kind"], role["kind"]);
        assert_eq!(binding["roleRef"]["name"], role["metadata"]["name"]);
        assert_eq!(
            binding["subjects"],
            json!([{"kind": "ServiceAccount", "name": "p", "namespace": "platform"}])
        );
    }
    assert_eq!(manifests.pod()["serviceAccountName"], "p");
    assert_eq!(manifests.pod()["automountServiceAccountToken"], true);

    // What it may touch is what it is told to touch.
    assert_eq!(manifests.argument("--service"), Some("p"));
    assert_eq!(manifests.argument("--namespace"), Some("platform"));
    assert_eq!(manifests.argument("--tls-secret"), Some("p-ca"));
    assert_eq!(manifests.argument("--webhook-configuration"), Some("p.platform"));
    let configuration = manifests.one("MutatingWebhookConfiguration");
    assert_eq!(configuration["metadata"]["name"], "p.platform");
    assert_eq!(manifests.argument("--tls-cert"), None);

    // Neither is ever in a manifest: an upgrade, a roll-back or a sync would write over what podkey wrote.
    let secret = manifests.named("Secret", "p-ca");
    assert!(secret.get("data").is_none() && secret.get("stringData").is_none());
    assert!(manifests.webhook()["clientConfig"].get("caBundle").is_none());

    let egress = &manifests.one("NetworkPolicy")["spec"]["egress"];
    let ports = json!([{"port": 443, "protocol": "TCP"}, {"port": 6443, "protocol": "TCP"}]);
    assert_eq!(egress, &json!([{"ports": ports}]), "the API server alone");
}

#[test]
fn in_the_other_modes_podkey_has_no_rights_no_token_and_no_way_out() {
    for mode in ["cert-manager", "files"] {
        let manifests = Manifests::chart(json!({"tls": {"mode": mode}}));
        assert!(
            manifests
                .0
                .iter()
                .all(|document| !document["kind"].as_str().unwrap().contains("Role"))
        );
        assert_eq!(manifests.of_kind("Secret").count(), 0);
        assert_eq!(manifests.pod()["automountServiceAccountToken"], false);
        assert_eq!(manifests.one("ServiceAccount")["automountServiceAccountToken"], false);
        let policy = &manifests.one("NetworkPolicy")["spec"];
        assert_eq!(policy["policyTypes"], json!(["Ingress", "Egress"]));
        assert!(policy.get("egress").is_none(), "no egress at all");

        // The certificate is where the program looks for it.
        let mount = manifests.container()["volumeMounts"][0]["mountPath"].as_str().unwrap();
        let secret = &manifests.pod()["volumes"][0]["projected"]["sources"][1]["secret"];
        assert_eq!(secret["name"], "podkey-tls");
        for (flag, item) in [("--tls-cert", &secret["items"][0]), ("--tls-key", &secret["items"][1])] {
            let path = item["path"].as_str().unwrap();
            assert_eq!(manifests.argument(flag).unwrap(), format!("{mount}/{path}"));
            assert!(path.ends_with(item["key"].as_str().unwrap()));
        }
        assert_eq!(manifests.argument("--webhook-configuration"), None);
    }
}

#[test]
fn cert_manager_signs_for_the_service_and_injects_that_ca() {
    let manifests = Manifests::chart_in("platform", json!({"tls": {"mode": "cert-manager"}}));
    let certificate = manifests.named("Certificate", "podkey-tls");
    assert_eq!(certificate["spec"]["secretName"], "podkey-tls");
    assert_eq!(certificate["spec"]["dnsNames"][0], "podkey.platform.svc");
    let annotations = &manifests.one("MutatingWebhookConfiguration")["metadata"]["annotations"];
    assert_eq!(
        annotations,
        &json!({"cert-manager.io/inject-ca-from": "platform/podkey-tls"})
    );
    let issued: BTreeSet<_> = manifests
        .of_kind("Certificate")
        .map(|c| c["spec"]["secretName"].to_string())
        .collect();
    for certificate in manifests.of_kind("Certificate") {
        let issuer = manifests.named("Issuer", certificate["spec"]["issuerRef"]["name"].as_str().unwrap());
        let ca = &issuer["spec"]["ca"]["secretName"];
        assert!(ca.is_null() || issued.contains(&ca.to_string()), "{issuer}");
        assert_eq!(certificate["spec"]["privateKey"]["algorithm"], "ECDSA");
    }

    let issuer = json!({"name": "mine", "kind": "ClusterIssuer"});
    let manifests = Manifests::chart(json!({"tls": {"mode": "cert-manager", "certManager": {"issuerRef": issuer}}}));
    assert_eq!(manifests.of_kind("Issuer").count(), 0);
    assert_eq!(manifests.one("Certificate")["spec"]["issuerRef"], issuer);
}

#[test]
fn files_are_the_operator_s_and_so_is_their_ca() {
    let files = json!({"existingSecret": "mine", "caBundle": PEM});
    let manifests = Manifests::chart(json!({"tls": {"mode": "files", "files": files}}));
    assert_eq!(
        manifests.pod()["volumes"][0]["projected"]["sources"][1]["secret"]["name"],
        "mine"
    );
    assert_eq!(manifests.webhook()["clientConfig"]["caBundle"], STANDARD.encode(PEM));

    let manifests = Manifests::chart(json!({"tls": {"mode": "files"}}));
    let client = &manifests.webhook()["clientConfig"];
    assert!(
        client.get("caBundle").is_none(),
        "an empty one would wipe what is there"
    );
}

#[test]
fn the_vault_s_ca_is_the_file_that_connections_name() {
    let values = json!({"vaultCa": PEM, "config": {"connections": {"default": {"caFile": CA_PATH}}}});
    let manifests = Manifests::chart(values);
    assert_eq!(manifests.config_map()["vault-ca.pem"], PEM);
    let mount = &manifests.container()["volumeMounts"][0]["mountPath"];
    assert_eq!(CA_PATH, format!("{}/vault-ca.pem", mount.as_str().unwrap()));
    let source = &manifests.pod()["volumes"][0]["projected"]["sources"][0]["configMap"];
    assert_eq!(source, &json!({"name": "podkey"}), "all its keys");
}

#[test]
fn two_releases_share_no_name() {
    let names = |namespace: &str| -> BTreeSet<String> {
        let manifests = Manifests::chart_in(namespace, json!({}));
        let cluster = manifests
            .0
            .iter()
            .filter(|document| document["metadata"].get("namespace").is_none());
        cluster
            .map(|document| format!("{} {}", document["kind"], document["metadata"]["name"]))
            .collect()
    };
    let (first, second) = (names("podkey"), names("platform"));
    assert_eq!(first.len(), second.len());
    assert!(first.len() >= 5 && first.is_disjoint(&second), "{first:?} {second:?}");

    let named = |name: &str| {
        let manifests = Manifests::chart(json!({"fullnameOverride": name}));
        manifests
            .0
            .into_iter()
            .map(|document| format!("{} {}", document["kind"], document["metadata"]["name"]))
            .collect::<BTreeSet<_>>()
    };
    assert!(named("a").is_disjoint(&named("b")), "in one namespace");
}

#[test]
fn the_operator_narrows_which_namespaces_are_seen() {
    let selector = json!({"matchLabels": {"team": "a"}, "matchExpressions": [{"key": "b", "operator": "Exists"}]});
    let webhook = json!({"excludedNamespaces": ["kube-system"], "namespaceSelector": selector});
    let manifests = Manifests::chart_in("platform", json!({"webhook": webhook}));
    assert_eq!(
        manifests.webhook()["namespaceSelector"],
        json!({
            "matchLabels": {"team": "a"},
            "matchExpressions": [
                {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["kube-system", "platform"]},
                {"key": "b", "operator": "Exists"},
            ],
        })
    );
    let nothing = Manifests::chart(json!({"webhook": {"excludedNamespaces": []}}));
    let values = &nothing.webhook()["namespaceSelector"]["matchExpressions"][0]["values"];
    assert_eq!(values, &json!(["podkey"]), "podkey must start while podkey is down");
}

#[test]
fn the_network_is_closed_around_known_api_servers() {
    let policy = json!({
        "apiServerCidrs": ["192.0.2.0/28", "2001:db8::/64"], "apiServerPorts": [8443], "monitoringNamespace": "",
    });
    let manifests = Manifests::chart(json!({"networkPolicy": policy}));
    let spec = &manifests.one("NetworkPolicy")["spec"];
    let peers = json!([{"ipBlock": {"cidr": "192.0.2.0/28"}}, {"ipBlock": {"cidr": "2001:db8::/64"}}]);
    let port = json!([{"port": 8443, "protocol": "TCP"}]);
    assert_eq!(
        spec["ingress"],
        json!([{"ports": port, "from": peers}]),
        "and no metrics"
    );
    assert_eq!(spec["egress"], json!([{"ports": port, "to": peers}]));
}

#[test]
fn a_slower_answer_gets_a_longer_end() {
    let manifests = Manifests::chart(json!({"webhook": {"timeoutSeconds": 30}}));
    assert_eq!(manifests.webhook()["timeoutSeconds"], 30);
    assert_eq!(manifests.pod()["terminationGracePeriodSeconds"], 55);
}

#[test]
fn what_is_switched_off_is_not_there() {
    let kinds = |values: Value| -> BTreeSet<String> {
        Manifests::chart(values)
            .0
            .iter()
            .map(|document| document["kind"].as_str().unwrap().to_owned())
            .collect()
    };
    for (part, default, kind) in [
        (
            json!({"podDisruptionBudget": {"enabled": false}}),
            true,
            "PodDisruptionBudget",
        ),
        (json!({"networkPolicy": {"enabled": false}}), true, "NetworkPolicy"),
        (
            json!({"ephemeralContainerPolicy": {"enabled": false}}),
            true,
            "ValidatingAdmissionPolicy",
        ),
        (
            json!({"metrics": {"podMonitor": {"enabled": true}}}),
            false,
            "PodMonitor",
        ),
        (
            json!({"metrics": {"prometheusRule": {"enabled": true}}}),
            false,
            "PrometheusRule",
        ),
    ] {
        assert_eq!(kinds(json!({})).contains(kind), default, "{kind} by default");
        assert_eq!(kinds(part).contains(kind), !default, "{kind}");
    }
}

#[test]
fn ephemeral_containers_are_kept_from_podkey_s_volumes() {
    let manifests = Manifests::chart(json!({}));
    let policy = manifests.one("ValidatingAdmissionPolicy");
    assert_eq!(policy["spec"]["failurePolicy"], "Fail");
    assert_eq!(
        policy["spec"]["matchConstraints"]["resourceRules"],
        json!([{
            "apiGroups": [""], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["pods/ephemeralcontainers"],
        }])
    );
    let expression = policy["spec"]["validations"][0]["expression"].as_str().unwrap();
    for part in [
        "c.volumeMounts.all(m, !m.name.startsWith('podkey-'))",
        // The kubelet reads the file as root, without a mount.
        "!dyn(e.valueFrom).fileKeyRef.volumeName.startsWith('podkey-')",
    ] {
        assert!(expression.contains(part), "no {part} in {expression}");
    }
    let binding = &manifests.one("ValidatingAdmissionPolicyBinding")["spec"];
    assert_eq!(binding["policyName"], policy["metadata"]["name"]);
    assert_eq!(binding["validationActions"], json!(["Deny"]));
}

#[test]
fn pods_of_vault_k8s_are_sent_once_the_operator_wants_that_and_the_config_has_the_section() {
    let section = |manifests: &Manifests| {
        let config: Value = serde_saphyr::from_str(&manifests.config()).unwrap();
        config["vaultK8s"].clone()
    };
    for off in [
        json!({}),
        json!({"vaultK8s": {"enabled": false}}),
        json!({"vaultK8s": null}),
    ] {
        let manifests = Manifests::chart(off.clone());
        assert_eq!(manifests.webhook()["name"], "pods.podkey.dev", "{off}");
        assert_eq!(section(&manifests), Value::Null, "{off}");
    }
    let selector = |team: &str| json!({"matchLabels": {"team": team}});
    let ours = json!({"matchExpressions": [{"key": "b", "operator": "Exists"}]});
    let on = Manifests::chart(json!({
        "tls": {"mode": "files", "files": {"caBundle": PEM}},
        "webhook": {"namespaceSelector": ours}, "vaultK8s": {"enabled": true, "namespaceSelector": selector("a")},
    }));
    assert_eq!(section(&on), json!({"connection": "default", "allowTokens": false}));
    let tokens = Manifests::chart(json!({"vaultK8s": {"enabled": true, "allowTokens": true}}));
    assert_eq!(section(&tokens), json!({"connection": "default", "allowTokens": true}));
    let webhooks = on.one("MutatingWebhookConfiguration")["webhooks"].as_array().unwrap();
    let [podkey, vault_k8s] = webhooks.as_slice() else {
        panic!("{webhooks:#?}")
    };
    // One label cannot have two values: the second webhook would see no namespace, or the wrong ones.
    let values = json!({
        "webhook": {"namespaceSelector": selector("b")}, "vaultK8s": {"enabled": true, "namespaceSelector": selector("a")},
    });
    assert!(refused(&with_required(values)).contains("both name the label team, with two values"));
    // But for its name, its namespaces and its condition, the second webhook is the first.
    let mut second = vault_k8s.clone();
    for key in ["name", "namespaceSelector", "matchConditions"] {
        second[key] = podkey[key].clone();
    }
    assert_eq!(second, *podkey);
    assert_eq!(podkey["namespaceSelector"]["matchLabels"], Value::Null);
    assert_eq!(vault_k8s["namespaceSelector"]["matchLabels"], json!({"team": "a"}));
    assert_eq!(
        vault_k8s["namespaceSelector"]["matchExpressions"], podkey["namespaceSelector"]["matchExpressions"],
        "what is left out for one is left out for both"
    );
    assert_eq!(
        vault_k8s["matchConditions"],
        json!([{"name": "vault-k8s-annotation", "expression":
            "has(object.metadata.annotations) && ['vault.hashicorp.com/agent-inject', 'openbao.org/agent-inject'].exists(k, \
             k in object.metadata.annotations && \
             !(object.metadata.annotations[k] in ['', '0', 'f', 'F', 'FALSE', 'false', 'False']))"
        }])
    );
    let other = json!({"vaultK8s": {"enabled": true, "connection": "default", "namespaceSelector": {}}});
    let other = Manifests::chart(other);
    assert_eq!(
        other.one("MutatingWebhookConfiguration")["webhooks"][1]["namespaceSelector"],
        other.one("MutatingWebhookConfiguration")["webhooks"][0]["namespaceSelector"]
    );
    assert!(notes(&json!({"vaultK8s": {"enabled": true}})).contains("no namespace may be seen by both"));
}

/// What Helm prints after an installation with these values.
pub(crate) fn notes(values: &Value) -> String {
    let args = [
        "install",
        "podkey",
        "manifests/chart",
        "--namespace",
        "platform",
        "--dry-run=client",
        "--hide-secret",
    ];
    let output = helm(&args, &with_required(values.clone()));
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout).split_once("NOTES:").unwrap().1.to_owned()
}

#[test]
fn after_the_installation_helm_says_what_to_do_next() {
    let own = notes(&json!({}));
    for part in [
        "rollout status deployment/podkey",
        "mutatingwebhookconfiguration podkey.platform",
        "--dry-run=server",
        "podkey.dev/files=",
    ] {
        assert!(own.contains(part), "no {part} in {own}");
    }
    assert!(!own.contains("podkey-tls"));
    let files = notes(&json!({"tls": {"mode": "files"}}));
    assert!(
        files.contains("Secret podkey-tls") && files.contains("podkey.platform.svc"),
        "{files}"
    );
    assert!(files.contains("tls.files.caBundle is empty"), "{files}");
}

#[test]
fn helm_warns_where_the_way_out_is_open_and_of_what_the_account_can_do() {
    const ACCOUNT: &str = "every object of the";
    let cidrs = json!(["10.0.0.1/32"]);
    for (values, warned, silent) in [
        (
            json!({}),
            &["any address on the ports 443, 6443", "every pod may reach", ACCOUNT][..],
            &[][..],
        ),
        (
            json!({"networkPolicy": {"apiServerCidrs": cidrs}}),
            &[ACCOUNT],
            &["any address", "Every pod"],
        ),
        (
            json!({"networkPolicy": {"enabled": false, "apiServerCidrs": cidrs}}),
            &["nor whom podkey reaches", ACCOUNT],
            &["any address"],
        ),
        (
            json!({"tls": {"mode": "files"}}),
            &["Every pod may reach"],
            &["any address", ACCOUNT],
        ),
        (
            json!({"tls": {"mode": "cert-manager"}, "networkPolicy": {"apiServerCidrs": cidrs}}),
            &[],
            &["WARNING"],
        ),
    ] {
        let notes = notes(&values);
        for text in warned {
            assert!(notes.contains(text), "{values}: no {text:?} in {notes}");
        }
        for text in silent {
            assert!(!notes.contains(text), "{values}: {text:?} in {notes}");
        }
    }
}

#[test]
fn the_chart_is_of_the_program_s_version_and_wants_a_kubernetes_that_can_do_it() {
    let chart = &documents(&root().join("manifests/chart/Chart.yaml"))[0];
    assert_eq!(chart["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"));
    for (kubernetes, fits) in [
        ("1.29.14", false),
        ("1.30.0", true),
        ("1.30.14-gke.1", true),
        ("1.37.1", true),
    ] {
        let args = ["template", "podkey", "manifests/chart", "--kube-version", kubernetes];
        assert_eq!(
            helm(&args, &with_required(json!({}))).status.success(),
            fits,
            "{kubernetes}"
        );
    }
}
