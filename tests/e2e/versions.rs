//! API servers alone. The oldest Kubernetes that podkey supports accepts podkey's manifests and calls podkey as the newest
//! does, on which all other tests run; and each knows every field of the pods that podkey makes. No pod starts, because there
//! is no node.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::harness::api::Api;
use crate::harness::command::run;
use crate::harness::control::{Beside, control};
use crate::harness::install::{self, NAME};
use crate::harness::pod::{definition, fresh, init_containers, pod};
use crate::harness::{LIMIT, merge, wait};

/// The oldest Kubernetes that podkey supports.
const OLDEST: &str = "1.30";

/// An API server of the test's own, which ends when this is dropped.
struct ControlPlane(Beside);

impl ControlPlane {
    /// None where this run may not start one.
    fn up(version: &str) -> Option<Self> {
        let control = control(&format!("the API server of Kubernetes {version}"))?;
        let plane = Self(Beside::up(control, "--control-plane", &["--kubernetes", version]));
        let api = Api::of(plane.kubeconfig());
        println!("Kubernetes {}", api.get("/version")["gitVersion"]);
        Some(plane)
    }

    fn kubeconfig(&self) -> &Path {
        Path::new(&self.0.env["PODKEY_E2E_KUBECONFIG"])
    }

    #[track_caller]
    fn kubectl(&self, args: &[&str], input: &str) -> String {
        let (printed, said) = run("kubectl", self.kubeconfig(), args, input).unwrap_or_else(|error| panic!("{error}"));
        assert!(!said.contains("Warning"), "{args:?}: {said}");
        printed
    }
}

/// `podkey serve` on this machine, with the rights that the chart gives it. Killed when dropped.
struct Serve {
    child: Child,
    listen: u16,
    admin: u16,
}

impl Serve {
    fn start(folder: &Path, host: &str) -> Self {
        let log = folder.join("log");
        let child = Command::new(env!("CARGO_BIN_EXE_podkey"))
            .args(["serve", "--namespace", NAME, "--config"])
            .arg(folder.join("config.yaml"))
            .args(["--listen", &format!("{host}:0"), "--admin-listen", "127.0.0.1:0"])
            .env("KUBECONFIG", folder.join("kubeconfig"))
            .stderr(std::fs::File::create(&log).unwrap())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let mut serve = Self {
            child,
            listen: 0,
            admin: 0,
        };
        let text = || std::fs::read_to_string(&log).unwrap();
        let serving = wait(LIMIT, || {
            let lines = text();
            let lines = lines
                .lines()
                .filter_map(|line| serde_json::from_str::<Value>(line).ok());
            lines.into_iter().find(|line| line["message"] == "serving")
        })
        .unwrap_or_else(|| panic!("{}", text()));
        let port = |field: &str| {
            serving[field]
                .as_str()
                .unwrap()
                .rsplit(':')
                .next()
                .unwrap()
                .parse()
                .unwrap()
        };
        (serve.listen, serve.admin) = (port("listen"), port("admin_listen"));
        wait(LIMIT, || (serve.get("/readyz").0 == 200).then_some(()))
            .unwrap_or_else(|| panic!("not ready: {}", text()));
        serve
    }

    fn get(&self, path: &str) -> (u16, String) {
        crate::http::call(self.admin, "GET", path, &[], "").unwrap()
    }

    /// Reviews that podkey has answered.
    fn reviews(&self) -> u64 {
        let metrics = self.get("/metrics").1;
        let lines = metrics
            .lines()
            .filter(|line| line.starts_with("podkey_admissions_total{"));
        lines
            .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
            .sum()
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Creates the objects that a controller would create, and a kubeconfig with the rights of podkey's service account.
fn kubeconfig_of_podkey(plane: &ControlPlane, api: &Api) -> String {
    let path = format!("/api/v1/namespaces/{NAME}/serviceaccounts/{NAME}/token");
    let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
    let token = api.create(&path, &request)["status"]["token"].clone();
    let mut kubeconfig: Value = serde_saphyr::from_str(&std::fs::read_to_string(plane.kubeconfig()).unwrap()).unwrap();
    kubeconfig["users"][0]["user"] = json!({"token": token});
    kubeconfig.to_string()
}

#[test]
fn the_oldest_api_server_takes_the_manifests_and_sends_us_annotated_pods_alone() {
    let Some(plane) = ControlPlane::up(OLDEST) else {
        return;
    };
    let api = Api::of(plane.kubeconfig());

    // The chart's manifests, applied by the server, twice; then the plain one, tried out.
    for name in [NAME, "apps"] {
        api.create("/api/v1/namespaces", &json!({"metadata": {"name": name}}));
    }
    let folder = tempfile::tempdir().unwrap();
    let manifests = install::template(&install::values(), &["--kube-version", OLDEST]);
    let applied = plane.kubectl(&["apply", "--server-side", "-f", "-"], &manifests);
    assert!(applied.lines().count() > 10, "{applied}");

    // What a controller would have made of the rest: a service account for the pods, and where the Service leads.
    api.create(
        "/api/v1/namespaces/apps/serviceaccounts",
        &json!({"metadata": {"name": "default"}}),
    );
    std::fs::write(folder.path().join("kubeconfig"), kubeconfig_of_podkey(&plane, &api)).unwrap();
    std::fs::write(
        folder.path().join("config.yaml"),
        json!({
            "agent": {"image": "registry.example.com/podkey:1"},
            "connections": {"default": {"address": "https://vault.vault.svc:8200"}},
        })
        .to_string(),
    )
    .unwrap();
    let host = &plane.0.env["PODKEY_E2E_HOST_ADDRESS"];
    let podkey = Serve::start(folder.path(), host);
    api.create(
        &format!("/api/v1/namespaces/{NAME}/endpoints"),
        &json!({
            "metadata": {"name": NAME},
            "subsets": [{"addresses": [{"ip": host}], "ports": [{"name": "webhook", "port": podkey.listen}]}],
        }),
    );

    let ask = |pod: &Value, query: &str| {
        let pod = merge(json!({"apiVersion": "v1", "kind": "Pod"}), pod);
        api.call("POST", &format!("/api/v1/namespaces/apps/pods{query}"), &pod)
    };
    let annotated = |name: &str| {
        let annotations = json!({
            "podkey.dev/role": "reader", "podkey.dev/files": "[{secret: kv/data/web, key: password, file: password}]",
        });
        merge(pod(name, "true"), &json!({"metadata": {"annotations": annotations}}))
    };
    let mut last = String::new();
    wait(LIMIT, || {
        let answer = ask(&annotated("app"), "?dryRun=All");
        last = answer.text.clone();
        answer.is_success().then_some(())
    })
    .unwrap_or_else(|| panic!("{last}"));

    // A dry run, and then in earnest.
    let before = podkey.reviews();
    assert_eq!(
        init_containers(&ask(&annotated("app"), "?dryRun=All").json()),
        ["podkey-init"]
    );
    assert_eq!(api.get("/api/v1/namespaces/apps/pods")["items"], json!([]));
    let created = ask(&annotated("app"), "");
    assert_eq!(init_containers(&created.json()), ["podkey-init"], "{}", created.text);
    assert_eq!(created.warnings, Vec::<String>::new());
    // Twice each: the API server mounts the pod's own token in podkey-init, and asks again because of that.
    let seen = podkey.reviews() - before;
    println!("2 annotated pods: {seen} reviews");
    assert!(seen >= 2);

    // With a sidecar.
    let created = ask(&fresh(annotated("fresh"), "15s"), "").json();
    assert_eq!(
        init_containers(&created),
        ["podkey-init", "podkey-sidecar"],
        "{created}"
    );
    assert_eq!(definition(&created, "podkey-sidecar")["restartPolicy"], "Always");
    let seen = podkey.reviews() - before;

    // The match condition: pods of others stay away, a mistaken annotation of ours does not.
    for number in 0..20 {
        let mut other = pod(&format!("other-{number}"), "true");
        other["metadata"]["annotations"] = json!({"vault.hashicorp.com/agent-inject": "false", "podkey.dev": "x"});
        let answer = ask(&other, "?dryRun=All");
        assert!(
            answer.is_success() && init_containers(&answer.json()).is_empty(),
            "{}",
            answer.text
        );
    }
    assert_eq!(podkey.reviews() - before, seen, "after 20 pods without our annotations");
    let mistaken = merge(
        pod("app", "true"),
        &json!({"metadata": {"annotations": {"podkey.dev/fils": "x"}}}),
    );
    let refused = ask(&mistaken, "");
    assert_eq!(refused.status, 403, "{}", refused.text);
    assert!(refused.message().contains("podkey.dev/fils"), "{}", refused.message());
    // Nor does anything but a new pod.
    api.patch(
        "/api/v1/namespaces/apps/pods/app",
        &json!({"metadata": {"labels": {"a": "b"}}}),
    );
    assert_eq!(podkey.reviews() - before, seen + 1, "after an update");

    // The policy for ephemeral containers.
    let debug = |mounts: Value| {
        let path = "/api/v1/namespaces/apps/pods/app/ephemeralcontainers?dryRun=All";
        let container = json!({"name": "debug", "image": "busybox", "volumeMounts": mounts});
        api.call("PATCH", path, &json!({"spec": {"ephemeralContainers": [container]}}))
    };
    let refused = wait(LIMIT, || {
        let answer = debug(json!([{"name": "podkey-secrets", "mountPath": "/secrets"}]));
        (!answer.is_success()).then_some(answer)
    })
    .expect("the policy comes into force");
    assert!(
        refused.status == 403 && refused.message().contains("podkey: an ephemeral container"),
        "{}",
        refused.text
    );
    let answer = debug(json!([]));
    assert!(answer.is_success(), "{}", answer.text);

    // Applied again, the manifests leave what podkey wrote: its CA in both places.
    let path = format!("/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/{NAME}");
    let bundle = || api.get(&path)["webhooks"][0]["clientConfig"]["caBundle"].clone();
    let secret = || api.get(&format!("/api/v1/namespaces/{NAME}/secrets/{NAME}-ca"))["data"].clone();
    let (ca, key) = (bundle(), secret());
    assert!(ca.is_string() && key.is_object());
    plane.kubectl(&["apply", "--server-side", "-f", "-"], &manifests);
    plane.kubectl(
        &["apply", "--server-side", "--dry-run=server", "-f", "-"],
        include_str!("../../manifests/podkey.yaml"),
    );
    assert_eq!((bundle(), secret()), (ca, key));
    assert!(ask(&annotated("again"), "?dryRun=All").is_success());
}

/// The golden files of `podkey inject`: name of the case, the pod before and after. Cases whose pod is refused are left out.
fn golden_pods() -> Vec<(String, Value, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/inject");
    let read = |path: &Path| -> Option<Value> {
        let text = std::fs::read_to_string(path).ok()?;
        Some(serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
    };
    std::fs::read_dir(folder)
        .unwrap()
        .filter_map(|entry| {
            let path = entry.unwrap().path();
            let patched = read(&path.join("patched.yaml"))?;
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            Some((name, read(&path.join("pod.yaml"))?, patched))
        })
        .collect()
}

/// Fields of pods that the oldest Kubernetes does not know. podkey writes them only where the operator asks for them.
fn has_newer_fields(pod: &Value) -> bool {
    let text = pod["spec"].to_string();
    let image_volume = pod["spec"]["volumes"]
        .as_array()
        .is_some_and(|volumes| volumes.iter().any(|volume| volume["image"].is_object()));
    image_volume
        || ["\"fileKeyRef\":", "\"restartPolicyRules\":"]
            .iter()
            .any(|field| text.contains(field))
}

/// Creates the pod, tried out: the API server refuses fields that it does not know, instead of dropping them.
fn tried(api: &Api, pod: &Value) -> Result<(), String> {
    let namespace = pod["metadata"]["namespace"].as_str().unwrap_or("web");
    let path = format!("/api/v1/namespaces/{namespace}/pods?dryRun=All&fieldValidation=Strict");
    let answer = api.call("POST", &path, pod);
    if answer.is_success() {
        Ok(())
    } else {
        Err(answer.message())
    }
}

fn every_golden_pod_is_accepted(version: &str, may_be_refused: impl Fn(&Value) -> bool) {
    let Some(plane) = ControlPlane::up(version) else {
        return;
    };
    let api = Api::of(plane.kubeconfig());
    let golden = golden_pods();
    let accounts: BTreeSet<_> = golden
        .iter()
        .map(|(_, pod, _)| {
            let of = |value: &Value, default: &str| value.as_str().unwrap_or(default).to_owned();
            (
                of(&pod["metadata"]["namespace"], "web"),
                of(&pod["spec"]["serviceAccountName"], "default"),
            )
        })
        .collect();
    for (namespace, account) in &accounts {
        // Some of them are there.
        api.call("POST", "/api/v1/namespaces", &json!({"metadata": {"name": namespace}}));
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts");
        api.call("POST", &path, &json!({"metadata": {"name": account}}));
    }
    let (mut accepted, mut wrong) = (0, Vec::new());
    for (name, pod, patched) in &golden {
        // A pod that is refused without podkey, too, says nothing.
        if tried(&api, pod).is_err() {
            continue;
        }
        match (tried(&api, patched), may_be_refused(patched)) {
            (Ok(()), false) => accepted += 1,
            (Err(message), false) => wrong.push(format!("{name}: {message}")),
            (Ok(()), true) => wrong.push(format!(
                "{name}: accepted, with fields that Kubernetes {version} does not know"
            )),
            (Err(_), true) => {}
        }
    }
    println!("{accepted} of {} pods accepted", golden.len());
    assert_eq!(wrong, Vec::<String>::new());
    assert!(accepted > 250, "{accepted} of {}", golden.len());
}

#[test]
fn the_oldest_api_server_knows_every_field_of_every_golden_pod() {
    every_golden_pod_is_accepted(OLDEST, has_newer_fields);
}

#[test]
fn the_newest_api_server_knows_every_field_of_every_golden_pod() {
    every_golden_pod_is_accepted("1.37", |_| false);
}
