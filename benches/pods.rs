//! The pod, the config and the AdmissionReview that every measurement uses.

use anyhow::Context;
use podkey::inject::Config;
use serde_json::{Value, json};

/// An ARC runner pod as its controller creates it, with our annotations.
const RUNNER_POD: &str = include_str!("runner-pod.json");
pub(crate) const NAMESPACE: &str = "arc-runners";

/// What differs between two pods of one template and their reviews: a part of the names of pod, owner and Secret, of the token
/// volume's name, and of the uids of review and owner.
#[allow(dead_code, reason = "only the HTTPS measurement needs it")]
pub(crate) const NAMES: [&str; 4] = ["lq8hd", "zk7wm", "2c1f6", "5f0d9"];
/// A part of the secret's path, and what differs between two pods.
#[allow(dead_code, reason = "only the HTTPS measurement needs it")]
pub(crate) const TEXTS: [&str; 5] = ["ranch", "lq8hd", "zk7wm", "2c1f6", "5f0d9"];
/// The length of each.
#[allow(dead_code, reason = "only the HTTPS measurement needs it")]
pub(crate) const NAME_BYTES: usize = 5;

/// The operator's config: one connection, one rule.
pub(crate) const CONFIG: &str = "
agent: {image: registry.example.com/podkey:1.0.0, imagePullPolicy: IfNotPresent}
connections:
  default:
    address: https://vault.vault.svc:8200
    auth: {mount: my-cluster/arc-runners, role: actions}
    allow:
    - namespaces: [arc-runners]
      serviceAccounts: ['arc-runner-set-gha-rs-*']
      roles: [actions]
      secrets: ['arc-runners/data/**']
";

#[allow(
    dead_code,
    reason = "one of the programs that share this file has the config as a file"
)]
pub(crate) fn config() -> anyhow::Result<Config> {
    Config::parse(CONFIG, |path| Err(format!("{} is not there", path.display()))).context("the config")
}

/// The runner pod with so many more environment variables.
pub(crate) fn runner_pod(env_entries: usize) -> anyhow::Result<Value> {
    let mut pod: Value = serde_json::from_str(RUNNER_POD).context("runner-pod.json")?;
    let env = pod["spec"]["containers"][0]["env"].as_array_mut().context("its env")?;
    for index in 0..env_entries {
        env.push(
            json!({"name": format!("VARIABLE_{index:04}"), "value": format!("a value of some length, number {index}")}),
        );
    }
    Ok(pod)
}

/// The same file as a field, and as a template: the value of `podkey.dev/files`.
#[allow(dead_code, reason = "only the measurement of the decision alone needs it")]
pub(crate) const CONTENTS: [(&str, &str); 3] = [
    (
        "a field",
        "- secret: arc-runners/data/maven\n  key: settings\n  file: /home/runner/.m2/settings.xml\n  env: MAVEN_SETTINGS\n",
    ),
    ("a template", TEMPLATE),
    (
        "a template of 2 KiB",
        concat!(
            "- file: /home/runner/.m2/settings.xml\n  env: MAVEN_SETTINGS\n  template: |\n",
            include_str!("template-2k.txt")
        ),
    ),
];

/// Maven's settings.xml, with user and password of one secret.
const TEMPLATE: &str = r#"
- file: /home/runner/.m2/settings.xml
  env: MAVEN_SETTINGS
  template: |
    <settings><servers>
    {{- with secret "arc-runners/data/maven" }}
      <server><id>nexus</id><username>{{ .Data.data.user }}</username><password>{{ .Data.data.password | html }}</password></server>
    {{- end }}
    </servers></settings>
"#;

/// The runner pod with these files.
#[allow(dead_code, reason = "only the measurement of the decision alone needs it")]
pub(crate) fn runner_pod_with(files: &str) -> anyhow::Result<Value> {
    let mut pod = runner_pod(10)?;
    pod["metadata"]["annotations"]["podkey.dev/files"] = files.into();
    Ok(pod)
}

#[allow(
    dead_code,
    reason = "one of the programs that share this file decides without a review"
)]
pub(crate) fn review(pod: &Value) -> anyhow::Result<Vec<u8>> {
    Ok(serde_json::to_vec(&json!({
        "kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": "2c1f6d3e-7a0b-4a52-9f0e-0d2f0a9f4b11",
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "requestKind": {"group": "", "version": "v1", "kind": "Pod"},
            "requestResource": {"group": "", "version": "v1", "resource": "pods"},
            "name": "arc-runner-set-7xk2p-runner-lq8hd", "namespace": NAMESPACE, "operation": "CREATE",
            "userInfo": {
                "username": "system:serviceaccount:arc-systems:arc-gha-rs-controller",
                "uid": "0d9c8a7e-3a51-4a57-9d0b-4b3c0b0f5e0a",
                "groups": ["system:serviceaccounts", "system:serviceaccounts:arc-systems", "system:authenticated"],
                "extra": {
                    "authentication.kubernetes.io/pod-name": ["arc-gha-rs-controller-6d8f7c9b5-x2x7p"],
                    "authentication.kubernetes.io/pod-uid": ["7b1f5bde-6f3e-4a85-8a43-9d5a0c0f0a11"]
                }
            },
            "object": pod, "oldObject": null, "dryRun": false,
            "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"}
        }
    }))?)
}

/// The same pod with nothing of ours in it.
#[allow(dead_code, reason = "only the HTTPS measurement needs it")]
pub(crate) fn plain_pod() -> anyhow::Result<Value> {
    let mut pod = runner_pod(0)?;
    let annotations = pod["metadata"]["annotations"]
        .as_object_mut()
        .context("its annotations")?;
    annotations.retain(|key, _| !key.starts_with("podkey.dev/"));
    Ok(pod)
}
