//! The plan that each version of podkey makes of the same pod, for the measurements of the agent.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::support::openbao::{ACCOUNT, JWT_MOUNT, NAMESPACE, OpenBao};
use crate::versions::Version;

/// How a connection logs in by the jwt method.
#[allow(
    dead_code,
    reason = "one of the programs that share this file logs in by another method"
)]
pub(crate) fn jwt_login() -> Value {
    json!({"method": "jwt", "mount": JWT_MOUNT, "role": "actions"})
}

/// The plan of a pod with these annotations. The operator's config has one connection: `address`, which has a certificate of
/// OpenBao's authority, with the login `auth`.
pub(crate) fn plan(
    version: &Version,
    bao: &OpenBao,
    (address, auth): (&str, &Value),
    annotations: &Value,
) -> anyhow::Result<String> {
    let config = json!({
        "agent": {"image": "registry.example.com/podkey:1.0.0"},
        "connections": {"default": {"address": address, "caFile": bao.directory().join("ca.pem"), "auth": auth}},
    });
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "app", "namespace": NAMESPACE, "annotations": annotations},
        "spec": {
            "serviceAccountName": ACCOUNT, "securityContext": {"runAsUser": 1000},
            "containers": [{"name": "app", "image": "registry.example.com/app:1"}],
        },
    });
    let folder = tempfile::tempdir()?;
    let file = |name: &str, content: &Value| -> anyhow::Result<PathBuf> {
        let path = folder.path().join(name);
        fs::write(&path, content.to_string())?;
        Ok(path)
    };
    let output = Command::new(&version.podkey)
        .args(["inject", "-o", "json", "--config"])
        .arg(file("config.yaml", &config)?)
        .arg("-f")
        .arg(file("pod.json", &pod)?)
        .env_clear()
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: podkey inject: {said}", version.name);
    let injected: Value = serde_json::from_slice(&output.stdout)?;
    let variables = injected["spec"]["initContainers"][0]["env"].as_array();
    let plan = variables
        .into_iter()
        .flatten()
        .find(|variable| variable["name"] == "PODKEY_PLAN")
        .and_then(|variable| variable["value"].as_str());
    Ok(plan.context("podkey injected no plan")?.to_owned())
}
