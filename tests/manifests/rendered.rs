//! The manifests as Kubernetes gets them: the plain one, and what Helm makes of the chart.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, Secret, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn documents(path: &Path) -> Vec<Value> {
    parsed(&fs::read_to_string(path).unwrap()).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn parsed(text: &str) -> Result<Vec<Value>, serde_saphyr::Error> {
    serde_saphyr::from_multiple(text)
}

/// A command that finds the programs that `make` put into .tools.
pub(crate) fn command(program: &str) -> Command {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(root().join(".tools/bin")).chain(std::env::split_paths(&path));
    let path = std::env::join_paths(folders.collect::<Vec<_>>()).unwrap();
    let mut command = Command::new(program);
    // Nobody's cluster, and nobody's settings of Helm.
    command
        .env("PATH", path)
        .env("KUBECONFIG", "/dev/null")
        .current_dir(root());
    command
}

/// Runs helm, with the values as a file for `--values -`.
pub(crate) fn helm(args: &[&str], values: &Value) -> Output {
    let child = command("helm")
        .args(args)
        .args(["--values", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.expect("helm is missing: run `.ci/tools helm kubectl`, as `make test` does");
    // JSON is YAML too. A helm that does not read it says why in its output.
    let _ = child.stdin.take().unwrap().write_all(values.to_string().as_bytes());
    child.wait_with_output().unwrap()
}

/// The least that one has to set, and with it what is given.
pub(crate) fn with_required(values: Value) -> Value {
    let mut all = json!({
        "image": {"repository": "registry.example.com/podkey"},
        "config": {"connections": {"default": {"address": "https://vault.vault.svc:8200"}}},
    });
    json_patch::merge(&mut all, &values);
    all
}

/// Several objects, as they are applied together.
#[derive(Debug, PartialEq)]
pub(crate) struct Manifests(pub(crate) Vec<Value>);

impl Manifests {
    /// What `kubectl apply -f manifests/podkey.yaml` applies.
    pub(crate) fn plain() -> Self {
        Self(documents(&root().join("manifests/podkey.yaml")))
    }

    /// What `helm install podkey manifests/chart --namespace podkey` applies.
    pub(crate) fn chart(values: Value) -> Self {
        Self::chart_in("podkey", values)
    }

    pub(crate) fn chart_in(namespace: &str, values: Value) -> Self {
        let args = [
            "template",
            "podkey",
            "manifests/chart",
            "--skip-tests",
            "--namespace",
            namespace,
        ];
        let output = helm(&args, &with_required(values));
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
        let text = String::from_utf8(output.stdout).unwrap();
        Self(parsed(&text).unwrap_or_else(|error| panic!("{error} in {text}")))
    }

    pub(crate) fn of_kind(&self, kind: &str) -> impl Iterator<Item = &Value> + use<'_> {
        let kind = kind.to_owned();
        self.0.iter().filter(move |document| document["kind"] == kind)
    }

    pub(crate) fn one(&self, kind: &str) -> &Value {
        let found: Vec<_> = self.of_kind(kind).collect();
        assert_eq!(found.len(), 1, "{kind}");
        found[0]
    }

    /// The object with this name, after `/`, of a kind, before it.
    pub(crate) fn named(&self, kind: &str, name: &str) -> &Value {
        let found = self.of_kind(kind).find(|document| document["metadata"]["name"] == name);
        found.unwrap_or_else(|| panic!("no {kind} {name}"))
    }

    pub(crate) fn config_map(&self) -> &Value {
        let found = self
            .of_kind("ConfigMap")
            .find(|document| document["data"].get("config.yaml").is_some());
        &found.unwrap()["data"]
    }

    /// The operator's config file.
    pub(crate) fn config(&self) -> String {
        self.config_map()["config.yaml"].as_str().unwrap().to_owned()
    }

    pub(crate) fn pod(&self) -> &Value {
        &self.one("Deployment")["spec"]["template"]["spec"]
    }

    pub(crate) fn container(&self) -> &Value {
        let containers = self.pod()["containers"].as_array().unwrap();
        assert_eq!(containers.len(), 1);
        &containers[0]
    }

    pub(crate) fn webhook(&self) -> &Value {
        let webhooks = self.one("MutatingWebhookConfiguration")["webhooks"].as_array().unwrap();
        assert_eq!(webhooks.len(), 1);
        &webhooks[0]
    }

    /// What follows a flag on the container's command line.
    pub(crate) fn argument(&self, flag: &str) -> Option<&str> {
        let args = self.container()["args"].as_array().unwrap();
        let position = args.iter().position(|arg| arg == flag)?;
        args[position + 1].as_str()
    }
}

pub(crate) fn podkey(args: &[&str], stdin: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_podkey"))
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that does not read its input closes the pipe: that is seen in what it prints.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    child.wait_with_output().unwrap()
}

/// The document survives a round trip through the type, so the API server knows every field of it.
fn round_trips<T: Serialize + DeserializeOwned>(document: &Value) {
    let typed: T = serde_json::from_value(document.clone()).unwrap_or_else(|error| panic!("{error} in {document:#}"));
    assert_eq!(
        &serde_json::to_value(&typed).unwrap(),
        document,
        "a field is misspelt or in the wrong place"
    );
}

/// Panics for an object with a field that Kubernetes does not know, or of a kind that is checked nowhere.
pub(crate) fn knows_every_field(document: &Value) {
    let kind = document["kind"].as_str().unwrap();
    match kind {
        "ClusterRole" => round_trips::<ClusterRole>(document),
        "ClusterRoleBinding" => round_trips::<ClusterRoleBinding>(document),
        "ConfigMap" => round_trips::<ConfigMap>(document),
        "Deployment" => round_trips::<Deployment>(document),
        "MutatingWebhookConfiguration" => round_trips::<MutatingWebhookConfiguration>(document),
        "Namespace" => round_trips::<Namespace>(document),
        "NetworkPolicy" => round_trips::<NetworkPolicy>(document),
        "Pod" => round_trips::<Pod>(document),
        "PodDisruptionBudget" => round_trips::<PodDisruptionBudget>(document),
        "Role" => round_trips::<Role>(document),
        "RoleBinding" => round_trips::<RoleBinding>(document),
        "Secret" => round_trips::<Secret>(document),
        "Service" => round_trips::<Service>(document),
        "ServiceAccount" => round_trips::<ServiceAccount>(document),
        "ValidatingAdmissionPolicy" => round_trips::<ValidatingAdmissionPolicy>(document),
        "ValidatingAdmissionPolicyBinding" => round_trips::<ValidatingAdmissionPolicyBinding>(document),
        // Other projects' kinds, whose types are not at hand: what is in them has tests of its own.
        "Certificate" | "Issuer" => assert_eq!(document["apiVersion"], "cert-manager.io/v1"),
        "PodMonitor" | "PrometheusRule" | "ServiceMonitor" => {
            assert_eq!(document["apiVersion"], "monitoring.coreos.com/v1")
        }
        _ => panic!("no check for {kind}"),
    }
}

pub(crate) fn yaml_files(folder: &str) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(root().join(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    files.sort();
    files
}
