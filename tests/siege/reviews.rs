//! The reviews that are posted: of the usual size, of the largest size, and small reviews with large answers.

use serde_json::{Value, json};

/// The API server takes objects up to so many bytes.
pub(crate) const LARGEST_OBJECT: usize = 3 * 1024 * 1024;
/// podkey takes bodies up to so many bytes.
pub(crate) const LARGEST_BODY: usize = 8 * 1024 * 1024;

const FILE: &str = "- {secret: arc-runners/data/kubeconfig, key: config, file: /tmp/kubeconfig, env: KUBECONFIG}";

fn pod(files: &str, containers: Value) -> Value {
    json!({
        "kind": "Pod", "apiVersion": "v1",
        "metadata": {"name": "web-7xk2p", "namespace": "arc-runners", "annotations": {"podkey.dev/files": files}},
        "spec": {"containers": containers, "volumes": [{"name": "data", "emptyDir": {}}]},
    })
}

fn review(pod: Value) -> Value {
    json!({
        "kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": "2c1f6d3e-7a0b-4a52-9f0e-0d2f0a9f4b11",
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "name": "web-7xk2p", "namespace": "arc-runners", "operation": "CREATE",
            "userInfo": {"username": "system:serviceaccount:arc-systems:arc-gha-rs-controller"},
            "object": pod, "oldObject": null, "dryRun": false,
        }
    })
}

fn bytes(value: &Value) -> Vec<u8> {
    serde_json::to_vec(value).unwrap()
}

/// One container, one file; a variable of so many bytes. A podkey that works answers with a patch.
pub(crate) fn usual(padding: usize) -> Vec<u8> {
    let env = json!([{"name": "PADDING", "value": "x".repeat(padding)}]);
    bytes(&review(pod(
        FILE,
        json!([{"name": "web", "image": "registry.example.com/web:1", "env": env}]),
    )))
}

/// A valid pod that is nearly as large as an object may be, in few texts.
pub(crate) fn long_texts() -> Vec<u8> {
    let env: Vec<_> = (0..40)
        .map(|n| json!({"name": format!("TEXT_{n}"), "value": "x".repeat(75_000)}))
        .collect();
    let body = bytes(&review(pod(
        FILE,
        json!([{"name": "web", "image": "registry.example.com/web:1", "env": env}]),
    )));
    assert!(body.len() > LARGEST_OBJECT - 200_000 && body.len() < LARGEST_OBJECT);
    body
}

/// A valid pod that is nearly as large as an object may be, in lists: containers, each with variables and mounts.
pub(crate) fn long_lists() -> Vec<u8> {
    let env: Vec<_> = (0..300)
        .map(|n| json!({"name": format!("VARIABLE_{n:04}"), "value": format!("value number {n:06}, of usual length")}))
        .collect();
    let mounts: Vec<_> = (0..95)
        .map(|n| json!({"name": "data", "mountPath": format!("/mnt/data/{n:04}"), "subPath": format!("{n:04}")}))
        .collect();
    let containers: Vec<_> = (0..105)
        .map(|n| json!({"name": format!("c{n}"), "image": "registry.example.com/web:1", "env": env, "volumeMounts": mounts}))
        .collect();
    let body = bytes(&review(pod(FILE, containers.into())));
    assert!(
        body.len() > LARGEST_OBJECT - 700_000 && body.len() < LARGEST_OBJECT,
        "{}",
        body.len()
    );
    body
}

/// A body of the largest size that podkey takes: a small pod with a long history.
pub(crate) fn largest_body() -> Vec<u8> {
    let mut history = pod(FILE, json!([{"name": "web", "image": "registry.example.com/web:1"}]));
    history["metadata"]["managedFields"] = json!(["x".repeat(LARGEST_BODY - 2000)]);
    bytes(&review(history))
}

/// Small in, large out: 64 files, each mounted in each of so many containers. With 255: 19 KB in, 1.9 MB out.
pub(crate) fn large_answer(containers: usize) -> Vec<u8> {
    let files: Vec<_> = (0..64)
        .map(|n| format!("- {{secret: arc-runners/data/a, key: k{n}, file: /a/f{n}}}"))
        .collect();
    let containers: Vec<_> = (0..containers)
        .map(|n| json!({"name": format!("c{n}"), "image": "i"}))
        .collect();
    bytes(&review(pod(&files.join("\n"), containers.into())))
}

/// A pod that is refused with the longest message.
pub(crate) fn denied() -> Vec<u8> {
    let mut denied = pod(FILE, json!([{"name": "web", "image": "i"}]));
    for n in 0..30 {
        denied["metadata"]["annotations"][format!("podkey.dev/unknown-{n:03}-{}", "x".repeat(100))] = "x".into();
    }
    bytes(&review(denied))
}

/// Reviews of nearly 3 MiB. Nearly all of each is one text, which may come back in the answer or the log. The text's characters
/// become longer when they are escaped.
pub(crate) fn echoes() -> Vec<Vec<u8>> {
    let text = "\u{7f}\"\\\u{85}".repeat(280_000);
    let plain = || pod(FILE, json!([{"name": "web", "image": "i"}]));
    let mut all = Vec::new();
    for field in ["uid", "name", "namespace"] {
        let mut echo = review(plain());
        echo["request"][field] = text.as_str().into();
        all.push(bytes(&echo));
    }
    for field in ["name", "generateName", "namespace"] {
        let mut echo = review(plain());
        for field in ["name", "namespace"] {
            echo["request"].as_object_mut().unwrap().remove(field);
        }
        echo["request"]["object"]["metadata"]["name"] = "".into();
        echo["request"]["object"]["metadata"][field] = text.as_str().into();
        all.push(bytes(&echo));
    }
    for key in [
        "podkey.dev/role",
        "podkey.dev/connection",
        "podkey.dev/containers",
        "podkey.dev/refresh",
        "podkey.dev/export",
    ] {
        let mut echo = plain();
        echo["metadata"]["annotations"][key] = text.as_str().into();
        all.push(bytes(&review(echo)));
    }
    let mut key = plain();
    key["metadata"]["annotations"][format!("podkey.dev/{text}")] = "x".into();
    all.push(bytes(&review(key)));
    let mut container = plain();
    container["spec"]["containers"][0]["name"] = text.as_str().into();
    container["metadata"]["annotations"]["podkey.dev/containers"] = "nobody".into();
    all.push(bytes(&review(container)));
    let mut other = review(plain());
    other["kind"] = text.as_str().into();
    all.push(bytes(&other));
    all
}
