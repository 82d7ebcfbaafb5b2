//! What a chart's ecosystem expects: usual names, standard labels, a README of all values, and a test of an installed release.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};

use super::chart::notes;
use super::rendered::{Manifests, command, documents, helm, knows_every_field, root, with_required};

/// The pod that `helm test` makes, if there is one.
fn test_pod(namespace: &str, values: Value) -> Option<Value> {
    let args = ["template", "podkey", "manifests/chart", "--namespace", namespace];
    let output = helm(&args, &with_required(values));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let documents: Vec<Value> = serde_saphyr::from_multiple(&String::from_utf8(output.stdout).unwrap()).unwrap();
    documents.into_iter().find(|document| document["kind"] == "Pod")
}

#[test]
fn the_readme_of_the_chart_has_the_values_of_today() {
    let printed = command("manifests/chart-readme").output().unwrap();
    let committed = fs::read_to_string(root().join("manifests/chart/README.md")).unwrap();
    assert!(
        String::from_utf8(printed.stdout).unwrap() == committed,
        "manifests/chart/README.md is stale: run `make manifests`"
    );
    let mut rows: BTreeSet<&str> = BTreeSet::new();
    for row in committed.lines().filter(|line| line.starts_with("| `")) {
        assert!(rows.insert(row.split('`').nth(1).unwrap()), "twice: {row}");
    }
    let values = &documents(&root().join("manifests/chart/values.yaml"))[0];
    let mut keys = Vec::new();
    leaves(values, "", &mut keys);
    for key in keys {
        assert!(rows.contains(key.as_str()), "no row for {key}");
    }
}

/// The paths of all keys with a default, but of the annotations of the test, which are one default.
fn leaves(value: &Value, path: &str, keys: &mut Vec<String>) {
    match value {
        Value::Object(fields) if !fields.is_empty() && path != "test.annotations" => {
            for (name, value) in fields {
                let path = if path.is_empty() {
                    name.clone()
                } else {
                    format!("{path}.{name}")
                };
                leaves(value, &path, keys);
            }
        }
        _ => keys.push(path.to_owned()),
    }
}

/// The schema has each key of values.yaml, and values.yaml each key of the schema that is no wrong guess.
#[test]
fn the_schema_has_the_keys_of_the_values() {
    let schema = &documents(&root().join("manifests/chart/values.schema.json"))[0];
    let values = &documents(&root().join("manifests/chart/values.yaml"))[0];
    let known = schema["properties"].as_object().unwrap();
    let meant = known.iter().filter(|(_, rule)| rule.get("const").is_none());
    let meant: BTreeSet<_> = meant
        .map(|(key, _)| key.as_str())
        .filter(|key| *key != "global")
        .collect();
    let written: BTreeSet<_> = values.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(meant, written);
}

/// A key that a message names exists.
#[test]
fn the_right_name_is_a_name() {
    let schema = &documents(&root().join("manifests/chart/values.schema.json"))[0];
    let known = schema["properties"].as_object().unwrap();
    for (guess, rule) in known {
        let Some(message) = rule["const"]
            .as_str()
            .and_then(|message| message.strip_prefix("write "))
        else {
            continue;
        };
        let name = message.split([' ', '.', ':', ',']).next().unwrap();
        assert!(
            name == "helm's" || known[name].get("const").is_none(),
            "{guess}: {message}"
        );
    }
}

#[test]
fn nothing_is_a_value_too() {
    let nothing = json!({
        "podLabels": null, "commonLabels": null, "extraArgs": null, "deploymentAnnotations": null, "imagePullSecrets": null,
        "hostNetwork": null, "serviceAccount": {"annotations": null}, "metrics": {"serviceMonitor": {"enabled": true}},
        "podSecurityContext": {"fsGroup": null}, "revisionHistoryLimit": 0,
        // `helm upgrade --reuse-values` has none of the values that are newer than the release.
        "enabled": null, "webhook": {"listenAddress": null, "gracePeriodSeconds": null},
    });
    // Not `with_required`, which takes a null for a key that is not there.
    let mut values = with_required(json!({}));
    for (key, value) in nothing.as_object().unwrap() {
        values[key] = value.clone();
    }
    let output = helm(&["template", "podkey", "manifests/chart", "--skip-tests"], &values);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let documents: Vec<Value> = serde_saphyr::from_multiple(&String::from_utf8(output.stdout).unwrap()).unwrap();
    let deployment = documents
        .iter()
        .find(|document| document["kind"] == "Deployment")
        .unwrap();
    assert_eq!(deployment["spec"]["revisionHistoryLimit"], 0);
    assert_eq!(
        deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"],
        30
    );
    assert!(
        deployment["spec"]["template"]["spec"]["securityContext"]
            .get("fsGroup")
            .is_none()
    );
}

/// Selectors of Deployments cannot change, so an upgrade with other labels would fail.
#[test]
fn common_labels_and_the_version_are_on_every_object_and_in_no_selector() {
    let values = json!({
        "commonLabels": {"team": "platform"}, "podLabels": {"team": "of-the-pods"},
        "metrics": {"serviceMonitor": {"enabled": true}, "prometheusRule": {"enabled": true}, "dashboard": {"enabled": true}},
        "guard": {"enabled": true}, "tls": {"mode": "cert-manager"},
    });
    let manifests = Manifests::chart(values);
    for document in &manifests.0 {
        let labels = &document["metadata"]["labels"];
        let expected = [
            ("app.kubernetes.io/name", "podkey"),
            ("app.kubernetes.io/instance", "podkey"),
            ("app.kubernetes.io/version", env!("CARGO_PKG_VERSION")),
            ("app.kubernetes.io/part-of", "podkey"),
            ("app.kubernetes.io/managed-by", "Helm"),
            ("helm.sh/chart", concat!("podkey-", env!("CARGO_PKG_VERSION"))),
            ("team", "platform"),
        ];
        for (label, value) in expected {
            assert_eq!(labels[label], value, "{}: {label}", document["kind"]);
        }
    }
    let pods = &manifests.one("Deployment")["spec"]["template"]["metadata"]["labels"];
    assert_eq!(pods["team"], "of-the-pods", "the narrower label wins");
    let monitored = &manifests.named("Service", "podkey-metrics")["metadata"]["labels"];
    let selected = &manifests.one("ServiceMonitor")["spec"]["selector"]["matchLabels"];
    for (label, value) in selected.as_object().unwrap() {
        assert_eq!(&monitored[label], value);
    }
    let of_api_servers = &manifests.named("Service", "podkey")["metadata"]["labels"];
    assert!(
        of_api_servers.get("app.kubernetes.io/component").is_none(),
        "the ServiceMonitor does not see it"
    );
    for kind in ["Deployment", "PodDisruptionBudget", "NetworkPolicy", "Service"] {
        for object in manifests.of_kind(kind) {
            let spec = &object["spec"];
            let selector = [
                &spec["selector"]["matchLabels"],
                &spec["podSelector"]["matchLabels"],
                &spec["selector"],
            ]
            .into_iter()
            .find_map(Value::as_object)
            .unwrap();
            assert_eq!(selector.len(), 2, "{kind}: {selector:?}");
        }
    }
}

#[test]
fn on_the_node_s_network_a_successor_may_need_the_port_of_a_replica() {
    let values = json!({"hostNetwork": true, "webhook": {"port": 9443}, "metrics": {"port": 9080}});
    let manifests = Manifests::chart(values.clone());
    let pod = manifests.pod();
    assert_eq!(pod["hostNetwork"], true);
    assert_eq!(pod["dnsPolicy"], "ClusterFirstWithHostNet");
    let update = &manifests.one("Deployment")["spec"]["strategy"]["rollingUpdate"];
    assert_eq!(update, &json!({"maxUnavailable": 1, "maxSurge": 1}));
    assert_eq!(manifests.argument("--listen"), Some("0.0.0.0:9443"));
    assert_eq!(manifests.argument("--admin-listen"), Some("0.0.0.0:9080"));
    let ports: Vec<_> = manifests.one("NetworkPolicy")["spec"]["ingress"]
        .as_array()
        .unwrap()
        .iter()
        .map(|rule| rule["ports"][0]["port"].clone())
        .collect();
    assert_eq!(ports, [9443, 9080]);
    assert!(notes(&values).contains("whoever reaches a node reaches the ports 9443 and 9080"));
}

#[test]
fn the_log_and_more_options_arrive() {
    let manifests = Manifests::chart(json!({
        "log": {"format": "text", "level": "debug"}, "extraArgs": ["--tls-poll=20s"], "serviceAccount": {"name": "other"},
    }));
    assert_eq!(manifests.argument("--log-format"), Some("text"));
    let arguments = manifests.container()["args"].as_array().unwrap();
    assert_eq!(arguments.last().unwrap(), "--tls-poll=20s");
    assert_eq!(
        manifests.container()["env"],
        json!([{"name": "PODKEY_LOG", "value": "debug"}])
    );
    assert_eq!(manifests.pod()["serviceAccountName"], "other");
    for binding in ["RoleBinding", "ClusterRoleBinding"] {
        assert_eq!(manifests.one(binding)["subjects"][0]["name"], "other");
    }
}

#[test]
fn a_spread_of_one_s_own_keeps_what_it_says() {
    let own = json!({"matchLabels": {"a": "b"}});
    let manifests = Manifests::chart(json!({"topologySpreadConstraints": [
        {"topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "maxSkew": 2, "labelSelector": own},
    ]}));
    let constraint = &manifests.pod()["topologySpreadConstraints"][0];
    assert_eq!(
        (&constraint["maxSkew"], &constraint["labelSelector"]),
        (&json!(2), &own)
    );
    assert_eq!(constraint["matchLabelKeys"], json!(["pod-template-hash"]));
}

#[test]
fn a_longer_grace_gets_a_longer_end() {
    let manifests = Manifests::chart(json!({"webhook": {"gracePeriodSeconds": 60, "timeoutSeconds": 10}}));
    assert_eq!(manifests.argument("--grace"), Some("60s"));
    assert_eq!(manifests.pod()["terminationGracePeriodSeconds"], 85);
    assert_eq!(Manifests::chart(json!({})).argument("--grace"), None);
}

/// A cluster may have IPv6 alone.
#[test]
fn podkey_listens_on_ipv6_too() {
    let manifests = Manifests::chart(json!({"webhook": {"listenAddress": "::"}}));
    assert_eq!(manifests.argument("--listen"), Some("[::]:8443"));
    assert_eq!(manifests.argument("--admin-listen"), Some("[::]:8080"));
}

#[test]
fn helm_names_the_account_that_podkey_has() {
    assert!(notes(&json!({"serviceAccount": {"name": "other"}})).contains("The service account other may patch"));
}

#[test]
fn helm_says_when_the_test_of_a_release_means_something() {
    let narrowed = json!({"webhook": {"namespaceSelector": {"matchLabels": {"team": "a"}}}});
    assert!(notes(&narrowed).contains("default must have the labels that it asks for"));
    let all = notes(&json!({}));
    assert!(all.contains("the test then says nothing about the new ones") && !all.contains("must have the labels"));
}

/// Without podkey's answer the program of the pod is not there. With it the pod starts although Vault knows no such role.
#[test]
fn the_test_of_a_release_asks_for_a_secret_and_needs_podkey_s_answer_to_run() {
    let pod = test_pod("podkey", json!({"agentImage": {"repository": "r/agent", "tag": "9"}})).unwrap();
    knows_every_field(&pod);
    let metadata = &pod["metadata"];
    assert_eq!(metadata["annotations"]["helm.sh/hook"], "test");
    assert_eq!(metadata["namespace"], "default");
    let container = &pod["spec"]["containers"][0];
    assert_eq!(container["image"], "r/agent:9");
    let config = podkey::inject::Config::parse(&Manifests::chart(json!({})).config(), |_| Err(String::new())).unwrap();
    let text = pod.to_string();
    let view = podkey::inject::Pod::parse(&text).unwrap();
    let podkey::inject::Decision::Inject(patch, warnings) = podkey::inject::decide(&view, "default", &config) else {
        panic!("podkey does not inject {text}");
    };
    assert_eq!(warnings, Vec::<String>::new());
    let mut injected = pod.clone();
    let patch: json_patch::Patch = serde_json::from_slice(patch.as_json()).unwrap();
    json_patch::patch(&mut injected, &patch).unwrap();
    let mounts = injected["spec"]["containers"][0]["volumeMounts"].as_array().unwrap();
    let program = container["command"][0].as_str().unwrap();
    let holds = |mount: &&Value| program.starts_with(&format!("{}/", mount["mountPath"].as_str().unwrap()));
    assert_eq!(mounts.iter().filter(holds).count(), 1, "{mounts:?}");
    assert!(injected.to_string().contains(r#"onFailure\":\"fail-job"#), "{injected}");
}

#[test]
fn the_test_of_a_release_takes_the_only_connection_and_is_never_where_podkey_is() {
    let other = json!({"config": {"connections": {"default": null, "bao": {"address": "https://b"}}}});
    let pod = test_pod("podkey", other).unwrap();
    assert_eq!(pod["metadata"]["annotations"]["podkey.dev/connection"], "bao");
    let own = json!({"test": {"annotations": {"podkey.dev/connection": "mine", "podkey.dev/on-failure": "fail-pod"}}});
    let annotations = test_pod("podkey", own).unwrap()["metadata"]["annotations"].clone();
    assert_eq!(annotations["podkey.dev/connection"], "mine");
    assert_eq!(annotations["podkey.dev/on-failure"], "fail-pod");
    assert_eq!(test_pod("default", json!({})), None);
    assert!(notes(&json!({})).contains("helm test podkey --namespace platform"));
}

/// What Artifact Hub reads: https://artifacthub.io/docs/topics/annotations/helm/
#[test]
fn the_chart_says_who_made_it_and_what_it_installs() {
    let chart = &documents(&root().join("manifests/chart/Chart.yaml"))[0];
    for key in ["home", "icon", "description"] {
        assert!(chart[key].as_str().is_some_and(|text| !text.is_empty()), "{key}");
    }
    for key in ["sources", "maintainers", "keywords"] {
        assert!(chart[key].as_array().is_some_and(|list| !list.is_empty()), "{key}");
    }
    let icon = chart["icon"].as_str().unwrap().rsplit("/main/").next().unwrap();
    assert!(root().join(icon).is_file(), "{icon}");
    let annotations = &chart["annotations"];
    assert_eq!(annotations["artifacthub.io/license"], "Apache-2.0");
    for list in ["images", "links"] {
        let text = annotations[format!("artifacthub.io/{list}")].as_str().unwrap();
        assert!(
            serde_saphyr::from_str::<Vec<Value>>(text).is_ok_and(|list| !list.is_empty()),
            "{list}"
        );
    }
    let images: Vec<Value> = serde_saphyr::from_str(annotations["artifacthub.io/images"].as_str().unwrap()).unwrap();
    let default = Manifests::plain();
    assert_eq!(images[0]["image"], default.container()["image"]);
}
