//! `podkey serve` as the API server meets it: the real program, real TLS, real sockets.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "../support/mod.rs"]
mod support;

mod connections;
mod counted;
mod memory;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::process::Stdio;
use support::ca::{Ca, Leaf};
use support::webhook::{CONFIG, NAME, Reply, Webhook, command, eventually, swap_certificate};

const FILES: &str = "- {secret: arc-runners/data/kubeconfig/rancher-cluster, key: config, decode: base64, file: /tmp/kubeconfig, env: KUBECONFIG}";

/// An ARC runner pod as the webhook gets it: with unknown fields, and a secret of the pod's author in its environment.
fn pod() -> Value {
    json!({
        "kind": "Pod", "apiVersion": "v1",
        "metadata": {
            "name": "arc-runner-set-7xk2p-runner-lq8hd", "namespace": "arc-runners", "creationTimestamp": null, "surprise": {"a~b/c": [1.10]},
            "labels": {"actions-ephemeral-runner": "True"},
            "annotations": {"podkey.dev/files": FILES}
        },
        "spec": {
            "containers": [{
                "name": "runner", "image": "ghcr.io/actions/actions-runner:latest",
                "env": [{"name": "TOKEN", "value": "canary-in-the-pod"}], "resources": {}, "futureField": {"x": null}
            }],
            "serviceAccountName": "arc-runner-set-gha-rs-no-permission"
        },
        "status": {}
    })
}

fn review(pod: Value) -> Value {
    json!({
        "kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": "2c1f6d3e-7a0b-4a52-9f0e-0d2f0a9f4b11",
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "requestKind": {"group": "", "version": "v1", "kind": "Pod"},
            "requestResource": {"group": "", "version": "v1", "resource": "pods"},
            "name": "arc-runner-set-7xk2p-runner-lq8hd", "namespace": "arc-runners", "operation": "CREATE",
            "userInfo": {"username": "system:serviceaccount:arc-systems:arc-gha-rs-controller", "groups": ["system:authenticated"]},
            "object": pod, "oldObject": null, "dryRun": false,
            "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"}
        }
    })
}

fn bytes(value: &Value) -> Vec<u8> {
    serde_json::to_vec(value).unwrap()
}

/// Makes the checks that the API server makes before it uses an answer, and gives the JSON of the answer's `response`.
/// (kubernetes/apiserver, pkg/admission/plugin/webhook/request/admissionreview.go)
fn response(reply: &Reply) -> Value {
    assert_eq!(reply.status, 200, "{reply:?}");
    assert!(
        reply
            .headers
            .iter()
            .any(|header| header == "content-type: application/json"),
        "{reply:?}"
    );
    let review = reply.json();
    assert_eq!(review["apiVersion"], "admission.k8s.io/v1");
    assert_eq!(review["kind"], "AdmissionReview");
    let response = review["response"].clone();
    assert_eq!(response["uid"], "2c1f6d3e-7a0b-4a52-9f0e-0d2f0a9f4b11");
    assert!(response["allowed"].is_boolean());
    assert_eq!(response.get("patch").is_some(), response.get("patchType").is_some());
    if let Some(patch_type) = response.get("patchType") {
        assert_eq!(patch_type, "JSONPatch");
        assert_eq!(response["allowed"], true);
    }
    if response["allowed"] == false {
        assert!(
            [400, 403].map(Value::from).contains(&response["status"]["code"]),
            "{response}"
        );
        assert!(response["status"].get("reason").is_none());
    }
    for warning in response["warnings"].as_array().into_iter().flatten() {
        let warning = warning.as_str().unwrap();
        assert!(
            warning.len() < 120 && warning.bytes().all(|b| (b' '..=b'~').contains(&b)),
            "{warning:?}"
        );
    }
    response
}

fn injected(response: &Value, pod: &Value) -> Value {
    let patch = STANDARD.decode(response["patch"].as_str().expect("a patch")).unwrap();
    let patch: json_patch::Patch = serde_json::from_slice(&patch).unwrap();
    let mut pod = pod.clone();
    json_patch::patch(&mut pod, &patch).unwrap();
    pod
}

#[test]
fn an_arc_runner_pod_is_injected() {
    let webhook = Webhook::start();
    let response = response(&webhook.post(&bytes(&review(pod()))));
    assert_eq!(response["allowed"], true);
    let patched = injected(&response, &pod());
    assert_eq!(patched["spec"]["initContainers"][0]["name"], "podkey-init");
    assert_eq!(
        patched["spec"]["containers"][0]["volumeMounts"][0]["mountPath"],
        "/tmp/kubeconfig"
    );
    assert_eq!(
        patched["spec"]["containers"][0]["env"][1],
        json!({"name": "KUBECONFIG", "value": "/tmp/kubeconfig"})
    );
    assert_eq!(patched["spec"]["containers"][0]["futureField"], json!({"x": null}));
    assert_eq!(webhook.metric("podkey_admissions_total{result=\"injected\"}"), 1.0);

    // The API server calls again after other webhooks: there is nothing left to do.
    let again = self::response(&webhook.post(&bytes(&review(patched))));
    assert_eq!(again["allowed"], true);
    assert!(again.get("patch").is_none());
}

#[test]
fn equal_requests_and_their_dry_runs_get_equal_answers() {
    let webhook = Webhook::start();
    let first = webhook.post(&bytes(&review(pod())));
    let mut dry = review(pod());
    dry["request"]["dryRun"] = true.into();
    for _ in 0..10 {
        assert_eq!(webhook.post(&bytes(&review(pod()))).body, first.body);
        assert_eq!(webhook.post(&bytes(&dry)).body, first.body);
    }
    let other_process = Webhook::start();
    assert_eq!(other_process.post(&bytes(&review(pod()))).body, first.body);
}

#[test]
fn a_refusal_lists_all_problems_and_shows_nothing_of_the_operators_config() {
    let webhook = Webhook::start();
    let mut bad = pod();
    bad["metadata"]["annotations"] =
        json!({"podkey.dev/files": "- {secret: ../x, key: k, file: relative}", "podkey.dev/rol": "x"});
    let response = response(&webhook.post(&bytes(&review(bad))));
    let message = response["status"]["message"].as_str().unwrap();
    assert!(message.contains("podkey.dev/files[0].secret: \"../x\""), "{message}");
    assert!(
        message.contains("podkey.dev/rol: is not an annotation of podkey (did you mean \"role\"?)"),
        "{message}"
    );

    let mut foreign = pod();
    foreign["metadata"]["annotations"]["podkey.dev/files"] = "- {secret: other/data/x, key: k, file: relative}".into();
    let response = self::response(&webhook.post(&bytes(&review(foreign))));
    let message = response["status"]["message"].as_str().unwrap();
    assert!(message.contains("no rule of the operator's"), "{message}");
    for hidden in ["secret-role", "arc-runners/data", "vault.vault.svc", "my-cluster"] {
        assert!(!message.contains(hidden), "{message}");
    }
    assert_eq!(webhook.metric("podkey_admissions_total{result=\"denied\"}"), 2.0);
}

/// ARC never changes the pod of a runner: after a 400 for a wrong template it retried for ever and showed nothing.
#[test]
fn the_code_of_a_refusal_shows_who_can_repair_the_cause() {
    let webhook = Webhook::start();
    let code = |annotations: Value, spec: Value| {
        let mut pod = pod();
        let (old, new) = (pod["metadata"]["annotations"].as_object_mut().unwrap(), annotations);
        old.extend(new.as_object().unwrap().clone());
        pod["spec"]
            .as_object_mut()
            .unwrap()
            .extend(spec.as_object().unwrap().clone());
        let response = response(&webhook.post(&bytes(&review(pod))));
        assert_eq!(response["allowed"], false, "{response}");
        response["status"]["code"].as_u64().unwrap()
    };
    let none = json!({});
    let foreign = json!({"podkey.dev/files": "- {secret: other/data/x, key: k, file: relative}"});
    let typo = json!({"podkey.dev/rol": "x"});
    let both = json!({"podkey.dev/rol": "x", "podkey.dev/connection": "team"});
    assert_eq!(code(typo, none.clone()), 403, "an annotation");
    assert_eq!(
        code(none.clone(), json!({"os": {"name": "windows"}})),
        403,
        "the pod's spec"
    );
    assert_eq!(code(foreign, none.clone()), 400, "an allow rule");
    assert_eq!(
        code(json!({"podkey.dev/connection": "team"}), none.clone()),
        400,
        "a connection"
    );
    assert_eq!(
        code(none.clone(), json!({"hostPID": true})),
        400,
        "a setting of the operator"
    );
    assert_eq!(code(both, none), 403, "the template must change in any case");
    let unreadable = review(json!({"spec": {"containers": 7}}));
    assert_eq!(
        response(&webhook.post(&bytes(&unreadable)))["status"]["code"],
        400,
        "podkey is too old for the pod"
    );
}

#[test]
fn a_request_that_does_not_create_a_pod_is_allowed_without_a_patch() {
    let webhook = Webhook::start();
    let changed = |change: fn(&mut Value)| {
        let mut review = review(pod());
        change(&mut review["request"]);
        review
    };
    for review in [
        changed(|r| r["operation"] = "UPDATE".into()),
        changed(|r| {
            r["operation"] = "DELETE".into();
            r["object"] = Value::Null;
        }),
        changed(|r| r["operation"] = "CONNECT".into()),
        changed(|r| r["subResource"] = "ephemeralcontainers".into()),
        changed(|r| r["subResource"] = "eviction".into()),
        changed(|r| r["kind"] = json!({"group": "apps", "version": "v1", "kind": "Deployment"})),
        changed(|r| r["resource"] = json!({"group": "apps", "version": "v1", "resource": "deployments"})),
        changed(|r| r["object"]["metadata"]["annotations"] = json!({"other": "x"})),
        changed(|r| r["object"]["metadata"]["annotations"] = Value::Null),
        changed(|r| r["object"]["metadata"] = json!({})),
    ] {
        let response = response(&webhook.post(&bytes(&review)));
        assert_eq!(response["allowed"], true, "{review}");
        assert!(response.get("patch").is_none(), "{review}");
    }
    // podkey does not change a mirror pod, and warns of that.
    let mirror = changed(|r| r["object"]["metadata"]["annotations"]["kubernetes.io/config.mirror"] = "x".into());
    let response = response(&webhook.post(&bytes(&mirror)));
    assert_eq!(response["allowed"], true);
    assert!(response.get("patch").is_none());
    assert!(response["warnings"][0].as_str().unwrap().contains("mirror"));
}

#[test]
fn a_pod_that_podkey_cannot_parse_is_refused_with_the_request_s_uid() {
    let webhook = Webhook::start();
    for object in [
        json!([]),
        json!("x"),
        json!(null),
        json!({}),
        json!({"spec": {"containers": 7}}),
        json!({"spec": {"containers": ["canary"]}}),
    ] {
        let response = response(&webhook.post(&bytes(&review(object.clone()))));
        assert_eq!(response["allowed"], false, "{object}");
        let message = response["status"]["message"].as_str().unwrap();
        assert!(
            message.contains("not a v1 Pod") && !message.contains("canary"),
            "{message}"
        );
    }
    // A pod that asks for nothing is allowed, even if podkey cannot parse it.
    let mut odd = pod();
    odd["metadata"]["annotations"] = json!({"other": "x"});
    odd["spec"]["hostNetwork"] = "yes".into();
    assert_eq!(response(&webhook.post(&bytes(&review(odd))))["allowed"], true);
    // A field that podkey does not read may have any shape: a newer Kubernetes may have changed it.
    let mut odd = pod();
    odd["spec"]["tolerations"] = 7.into();
    odd["metadata"]["managedFields"] = "x".into();
    assert!(response(&webhook.post(&bytes(&review(odd)))).get("patch").is_some());
}

#[test]
fn a_pod_without_a_name_is_injected_and_logged_by_its_generate_name() {
    let webhook = Webhook::start();
    let mut review = review(pod());
    review["request"]["name"] = "".into();
    review["request"]["object"]["metadata"]["name"] = Value::Null;
    review["request"]["object"]["metadata"]["namespace"] = Value::Null;
    review["request"]["object"]["metadata"]["generateName"] = "web-5d9c-".into();
    assert!(response(&webhook.post(&bytes(&review))).get("patch").is_some());
    webhook.wait_for_log("\"name\":\"web-5d9c-\"");
}

#[test]
fn a_request_that_is_not_a_review_gets_an_http_error() {
    let webhook = Webhook::start();
    let json = "Content-Type: application/json\r\n";
    let good = bytes(&review(pod()));
    let changed = |change: fn(&mut Value)| {
        let mut review = review(pod());
        change(&mut review);
        bytes(&review)
    };
    for (line, headers, body, status) in [
        ("GET /mutate", "", Vec::new(), 405),
        ("POST /", json, good.clone(), 404),
        ("POST /mutate/x", json, good.clone(), 404),
        ("POST /mutate", "", good.clone(), 415),
        ("POST /mutate", "Content-Type: text/plain\r\n", good.clone(), 415),
        ("POST /mutate", json, Vec::new(), 400),
        ("POST /mutate", json, b"{".to_vec(), 400),
        ("POST /mutate", json, b"\xff\xfe".to_vec(), 400),
        ("POST /mutate", json, b"[]".to_vec(), 400),
        ("POST /mutate", json, b"null".to_vec(), 400),
        (
            "POST /mutate",
            json,
            changed(|r| r["apiVersion"] = "admission.k8s.io/v1beta1".into()),
            400,
        ),
        ("POST /mutate", json, changed(|r| r["kind"] = "Review".into()), 400),
        ("POST /mutate", json, changed(|r| r["request"] = Value::Null), 400),
        (
            "POST /mutate",
            json,
            changed(|r| r["request"]["uid"] = Value::Null),
            400,
        ),
        (
            "POST /mutate",
            json,
            changed(|r| r["request"]["operation"] = 7.into()),
            400,
        ),
        ("POST /mutate", json, "[".repeat(1_000_000).into_bytes(), 400),
        (
            "POST /mutate",
            json,
            format!("{{\"request\":{}", "{\"a\":".repeat(500_000)).into_bytes(),
            400,
        ),
    ] {
        let reply = webhook.connect().request(line, headers, &body);
        assert_eq!(reply.status, status, "{line} {headers}: {reply:?}");
    }
    assert_eq!(
        webhook
            .connect()
            .request(
                "POST /mutate",
                "Content-Type: application/json; charset=utf-8\r\n",
                &good
            )
            .status,
        200
    );
    assert_eq!(webhook.metric("podkey_panics_total"), 0.0);
}

#[test]
fn hostile_json_is_answered() {
    let webhook = Webhook::start();
    let text = String::from_utf8(bytes(&review(pod()))).unwrap();
    for (surprise, patched) in [
        (format!("{}1{}", "[".repeat(100), "]".repeat(100)), true),
        (format!("[{}0]", "0,".repeat(1_000_000)), true),
        (format!("1{}", "0".repeat(100_000)), true),
        ("\"\\ud800\"".to_owned(), false),
        ("1e999999999".to_owned(), true),
    ] {
        let body = text.replace("{\"a~b/c\":[1.1]}", &surprise);
        assert_ne!(body, text);
        let reply = webhook.post(body.as_bytes());
        let short: String = surprise.chars().take(20).collect();
        if patched {
            assert!(response(&reply).get("patch").is_some(), "{short}");
        } else {
            assert!(
                reply.status == 400 || response(&reply)["allowed"] == false || response(&reply).get("patch").is_some(),
                "{short}"
            );
        }
    }
    // A key that stands twice is refused.
    let body = text.replace("\"spec\":{", "\"spec\":{},\"spec\":{");
    assert_eq!(response(&webhook.post(body.as_bytes()))["allowed"], false);
    assert_eq!(webhook.metric("podkey_panics_total"), 0.0);
}

#[test]
fn a_large_review_is_accepted_and_a_huge_one_refused() {
    let webhook = Webhook::start();
    let mut large = pod();
    large["metadata"]["managedFields"] = json!(["x".repeat(7 * 1024 * 1024)]);
    assert!(response(&webhook.post(&bytes(&review(large)))).get("patch").is_some());
    let before = webhook.peak_memory();

    let reply = webhook.connect().request(
        "POST /mutate",
        "Content-Type: application/json\r\n",
        &vec![b' '; 8 * 1024 * 1024 + 1],
    );
    assert_eq!(reply.status, 413);
    let reply = webhook.connect().request(
        "POST /mutate",
        "Content-Type: application/json\r\n",
        &vec![b' '; 100 * 1024 * 1024],
    );
    assert_eq!(reply.status, 413);
    // A body without a length and without an end is cut off at the limit.
    let mut connection = webhook.connect();
    connection
        .write(
            b"POST /mutate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n",
        )
        .unwrap();
    let chunk = [b"10000\r\n".as_slice(), &[b' '; 0x10000], b"\r\n"].concat();
    let sent = (0..10_000).take_while(|_| connection.write(&chunk).is_ok()).count();
    assert!(sent < 10_000, "625 MiB were taken");
    assert!(
        webhook.peak_memory() < before + 16 * 1024,
        "{} KiB, then {} KiB",
        before,
        webhook.peak_memory()
    );
    assert!(response(&webhook.post(&bytes(&review(pod())))).get("patch").is_some());
}

#[test]
fn one_connection_carries_many_reviews_over_http_1_1() {
    let webhook = Webhook::start();
    let mut connection = webhook.connect();
    let body = bytes(&review(pod()));
    for _ in 0..1000 {
        let reply = connection.post(&body);
        assert_eq!(reply.status, 200);
        assert!(!reply.closes());
    }
    assert!(
        webhook.try_connect(&["h2"]).is_err(),
        "HTTP/2 alone has no common protocol"
    );
    assert!(webhook.try_connect(&["h2", "http/1.1"]).is_ok());
}

#[test]
fn silent_clients_of_the_admin_port_neither_fill_the_memory_nor_block_the_probes() {
    use std::io::{Read as _, Write as _};
    let webhook = Webhook::start();
    let half_sent = [b"GET /metrics HTTP/1.1\r\nX: ".as_slice(), &[b'x'; 6000]].concat();
    let mut silent: Vec<_> = (0..1000)
        .map(|_| {
            let mut client = std::net::TcpStream::connect(webhook.admin).unwrap();
            client.write_all(&half_sent).unwrap();
            client
        })
        .collect();
    assert_eq!(webhook.admin_get("/healthz").status, 200);
    // The first clients were cut; the last clients still have time.
    let mut answer = [0; 1];
    for client in &mut silent[..1000 - 64] {
        client
            .set_read_timeout(Some(std::time::Duration::from_secs(10)))
            .unwrap();
        let cut = match client.read(&mut answer) {
            Ok(read) => read == 0,
            Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
        };
        assert!(cut);
    }
    assert_eq!(webhook.admin_get("/readyz").status, 200);
}

#[test]
fn the_log_has_one_line_for_each_admission_and_nothing_of_the_pod() {
    let webhook = Webhook::start();
    webhook.post(&bytes(&review(pod())));
    let mut denied = pod();
    denied["metadata"]["annotations"]["podkey.dev/role"] = "".into();
    webhook.post(&bytes(&review(denied)));
    webhook.post(&bytes(&review(json!({"spec": {"containers": "canary-in-the-pod"}}))));
    eventually("three lines", || {
        webhook
            .log()
            .iter()
            .filter(|line| line.contains("\"message\":\"admission\""))
            .count()
            == 3
    });
    let log = webhook.log();
    let lines: Vec<Value> = log.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let first = &lines[0];
    assert_eq!(first["uid"], "2c1f6d3e-7a0b-4a52-9f0e-0d2f0a9f4b11");
    assert_eq!(first["namespace"], "arc-runners");
    assert_eq!(first["name"], "arc-runner-set-7xk2p-runner-lq8hd");
    assert_eq!(first["decision"], "injected");
    assert!(first["duration_us"].is_u64());
    assert!(lines[1]["problems"].as_str().unwrap().contains("podkey.dev/role"));
    for line in &log {
        assert!(
            !line.contains("canary-in-the-pod") && !line.contains("PODKEY_PLAN"),
            "{line}"
        );
    }
}

#[test]
fn a_denial_is_logged_with_connection_role_service_account_and_owner() {
    let webhook = Webhook::start();
    let mut denied = pod();
    denied["metadata"]["annotations"]["podkey.dev/files"] = "canary-in-the-annotation".into();
    denied["metadata"]["ownerReferences"] = json!([
        {"apiVersion": "v1", "kind": "ConfigMap", "name": "first", "uid": "1"},
        {"apiVersion": "actions.github.com/v1alpha1", "kind": "EphemeralRunner", "name": "gha-rs-7xk2p", "uid": "2", "controller": true},
    ]);
    webhook.post(&bytes(&review(denied.clone())));
    denied["metadata"]["annotations"]["podkey.dev/connection"] = "x\n".repeat(5_000).into();
    denied["metadata"]["annotations"]["podkey.dev/role"] = "y".repeat(5_000).into();
    denied["spec"]["serviceAccountName"] = "z".repeat(5_000).into();
    denied["metadata"]["ownerReferences"] = json!([{"kind": "K".repeat(5_000), "name": "n"}]);
    webhook.post(&bytes(&review(denied.clone())));
    denied["metadata"]["ownerReferences"] = json!({"kind": ["no list"]});
    webhook.post(&bytes(&review(denied)));
    let lines = admissions(&webhook, 3);
    let lengths =
        |line: &Value| ["connection", "role", "service_account", "owner"].map(|key| line[key].as_str().map(str::len));
    assert_eq!(lines[0]["owner"], "EphemeralRunner/gha-rs-7xk2p");
    assert_eq!(lines[0]["connection"], "default");
    assert_eq!(lines[0]["role"], "secret-role");
    assert_eq!(lines[0]["service_account"], "arc-runner-set-gha-rs-no-permission");
    assert_eq!(lengths(&lines[1]), [Some(253), Some(0), Some(253), Some(253)]);
    assert_eq!(lines[2]["owner"], "");
    assert!(!webhook.log().join("").contains("canary-in-the-annotation"));
}

#[test]
fn a_policy_that_names_repositories_and_no_ids_is_reported_at_the_start() {
    let with_policy = |policy: &str| format!("{CONFIG}    job: {{policy: {{repositories: [octo-org/*]{policy}}}}}\n");
    let webhook = Webhook::start_with_config(&with_policy(""), &[]);
    webhook.wait_for_log("connections.default.job.policy names repositories and no ids");
    let quiet = Webhook::start_with_config(&with_policy(", ownerIds: [123456]"), &[]);
    quiet.post(&bytes(&review(pod())));
    admissions(&quiet, 1);
    assert!(!quiet.log().join("").contains("names repositories and no ids"));
}

/// The log shows the operator which condition of which rule failed. The answer does not.
#[test]
fn a_denial_by_the_allow_rules_is_logged_with_the_nearest_rule_and_what_it_does_not_match() {
    let webhook = Webhook::start();
    let mut denied = pod();
    denied["metadata"]["annotations"]["podkey.dev/files"] = "- {secret: other/data/x, file: relative}".into();
    let message = String::from_utf8(webhook.post(&bytes(&review(denied.clone()))).body).unwrap();
    assert!(
        !message.contains("allow[") && !message.contains("does not match"),
        "{message}"
    );
    let mut elsewhere = review(denied);
    elsewhere["request"]["namespace"] = "another".into();
    webhook.post(&bytes(&elsewhere));
    webhook.post(&bytes(&review(pod())));
    let lines = admissions(&webhook, 3);
    assert_eq!(
        lines[0]["rules"],
        "allow[0] comes nearest: secrets does not match \"other/data/x\""
    );
    assert_eq!(
        lines[1]["rules"],
        "allow[0] comes nearest: namespaces does not match \"another\", secrets does not match \"other/data/x\""
    );
    assert!(
        lines[2].get("rules").is_none() && lines[2].get("role").is_none(),
        "{}",
        lines[2]
    );
}

/// Waits for so many log lines of admissions.
fn admissions(webhook: &Webhook, count: usize) -> Vec<Value> {
    let read = || -> Vec<Value> {
        let log = webhook.log();
        let lines = log.iter().filter(|line| line.contains("\"message\":\"admission\""));
        lines.map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    eventually("lines of admissions", || read().len() == count);
    read()
}

#[test]
fn new_connections_get_a_new_certificate_and_open_connections_stay() {
    let webhook = Webhook::start();
    let body = bytes(&review(pod()));
    let mut old = webhook.connect();
    assert_eq!(old.post(&body).status, 200);
    let first = old.server_certificate();
    let expiry = webhook.metric("podkey_certificate_expiry_timestamp_seconds");
    assert!(expiry > 1.7e9);

    // Certificate and key do not match: the certificate before stays in use, and an error is logged.
    let Leaf { cert, .. } = webhook.ca.leaf(&[NAME]);
    let Leaf { key, .. } = webhook.ca.leaf(&[NAME]);
    swap_certificate(webhook.folder.path(), &Leaf { cert, key });
    webhook.wait_for_log("does not belong to the certificate");
    assert_eq!(webhook.metric("podkey_certificate_reload_failures_total"), 1.0);
    assert_eq!(webhook.connect().server_certificate(), first);

    // Twice: a watch on the files would notice only the first change.
    for _ in 0..2 {
        let before = webhook.connect().server_certificate();
        swap_certificate(webhook.folder.path(), &webhook.ca.leaf(&[NAME]));
        eventually("a new certificate", || webhook.connect().server_certificate() != before);
        assert_eq!(old.post(&body).status, 200, "a connection from before the change");
    }
}

#[test]
fn on_sigterm_podkey_drains_and_then_ends() {
    let mut webhook = Webhook::start_with(&["--grace", "10s"]);
    let body = bytes(&review(pod()));
    assert_eq!(webhook.admin_get("/readyz").status, 200);
    let mut idle = webhook.connect();
    assert!(!idle.post(&body).closes());
    let mut under_way = webhook.connect();
    let head = format!(
        "POST /mutate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    under_way.write(head.as_bytes()).unwrap();
    under_way.write(&body[..100]).unwrap();

    webhook.signal("-TERM");
    eventually("not ready", || webhook.admin_get("/readyz").status == 503);
    under_way.write(&body[100..]).unwrap();
    assert_eq!(
        under_way.read_reply().unwrap().status,
        200,
        "a request that was under way is answered"
    );
    assert_eq!(webhook.admin_get("/healthz").status, 200, "alive while it serves");
    // From now on podkey does not change its certificate.
    swap_certificate(webhook.folder.path(), &webhook.ca.leaf(&[NAME]));
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert_eq!(webhook.connect().server_certificate(), idle.server_certificate());
    let reply = idle.post(&body);
    assert_eq!(reply.status, 200, "an open connection is served");
    assert!(reply.closes(), "and asked to close");
    assert_eq!(webhook.post(&body).status, 200, "a new connection too");
    assert_eq!(webhook.wait().code(), Some(0));
    assert!(std::net::TcpStream::connect(webhook.listen).is_err());
}

#[test]
fn a_second_signal_ends_podkey_at_once() {
    let mut webhook = Webhook::start_with(&["--grace", "10m"]);
    webhook.signal("-INT");
    webhook.wait_for_log("stopping");
    webhook.signal("-TERM");
    assert_eq!(webhook.wait().code(), Some(143));
}

#[test]
fn podkey_does_not_start_with_a_config_or_certificate_that_cannot_work() {
    let start = |config: Option<&str>, certificate: Option<Leaf>, more: &[&str]| {
        let folder = tempfile::tempdir().unwrap();
        if let Some(config) = config {
            std::fs::write(folder.path().join("config.yaml"), config).unwrap();
        }
        if let Some(certificate) = certificate {
            swap_certificate(folder.path(), &certificate);
        }
        let output = command(folder.path())
            .args(more)
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let pair = || Some(Ca::new("x").leaf(&[NAME]));
    let typo = CONFIG.replace("allow:", "alow:");
    for (config, certificate, code, expected) in [
        (None, pair(), 64, "config.yaml"),
        (Some(typo.as_str()), pair(), 64, "line 7"),
        (Some(CONFIG), None, 1, "tls.crt"),
        (
            Some(CONFIG),
            Some(Leaf {
                cert: String::new(),
                key: String::new(),
            }),
            1,
            "has no certificate",
        ),
    ] {
        let (status, log) = start(config, certificate, &[]);
        assert_eq!(status, Some(code), "{log}");
        assert!(log.contains(expected), "{log}");
        assert!(!log.contains("serving"), "{log}");
    }
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (status, log) = start(Some(CONFIG), pair(), &["--listen", &address]);
    assert_eq!(status, Some(2), "an option given twice: {log}");
}

#[test]
fn an_error_at_the_start_names_what_podkey_needs_to_make_its_own_certificate() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("config.yaml"), CONFIG).unwrap();
    let start = |args: &[&str], kubeconfig: Option<&str>| {
        let mut command = std::process::Command::new(support::program("podkey"));
        let config = folder.path().join("config.yaml");
        command
            .args([
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--admin-listen",
                "127.0.0.1:0",
                "--config",
            ])
            .arg(config)
            .args(args);
        for variable in ["KUBECONFIG", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"] {
            command.env_remove(variable);
        }
        let output = command
            .envs(kubeconfig.map(|path| ("KUBECONFIG", path)))
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    for (args, kubeconfig, code, expected) in [
        (&["--tls-cert", "x"] as &[&str], None, 2, "--tls-key"),
        (&["--tls-key", "x"], None, 2, "--tls-cert"),
        (&["--service", "a/../b"], None, 2, "not a valid Kubernetes name"),
        (&["--namespace", ""], None, 2, "not a valid Kubernetes name"),
        (&[], None, 1, "automountServiceAccountToken"),
        (&[], Some("/nonexistent"), 1, "the kubeconfig that KUBECONFIG names"),
    ] {
        let (status, log) = start(args, kubeconfig);
        assert_eq!(status, Some(code), "{log}");
        assert!(log.contains(expected), "{log}");
    }
}

#[test]
fn no_metric_has_a_label_with_text_from_a_pod() {
    let webhook = Webhook::start();
    webhook.post(&bytes(&review(pod())));
    let text = webhook.admin_get("/metrics").text();
    for expected in [
        "podkey_admissions_total{result=\"injected\"} 1",
        "podkey_admissions_total{result=\"ignored\"} 0",
        "podkey_admission_duration_seconds_count 1",
        "podkey_admissions_in_flight 0",
        "podkey_build_info{version=",
    ] {
        assert!(text.contains(expected), "no {expected} in\n{text}");
    }
    assert!(!text.contains("arc-runner"), "{text}");
}
