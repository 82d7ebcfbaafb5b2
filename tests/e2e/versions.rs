//! The newest Kubernetes that builds here, only its API server: it accepts podkey's manifests and calls podkey as other
//! versions do. No pod starts, because there is no node.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::harness::api::Api;
use crate::harness::command::run;
use crate::harness::control::{Beside, control};
use crate::harness::install::{self, CHART, NAME};
use crate::harness::pod::{definition, fresh, init_containers, pod};
use crate::harness::{LIMIT, merge, wait};

/// An API server of the test's own, which ends when this is dropped.
struct ControlPlane(Beside);

impl ControlPlane {
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
fn the_newest_api_server_takes_the_manifests_and_sends_us_annotated_pods_alone() {
    let Some(control) = control("the newest Kubernetes") else {
        return;
    };
    let plane = ControlPlane(Beside::up(control, "--control-plane", &["--kubernetes", "1.37"]));
    let api = Api::of(plane.kubeconfig());
    println!("Kubernetes {}", api.get("/version")["gitVersion"]);

    // The chart's manifests, applied by the server, twice; then the plain one, tried out.
    for name in [NAME, "apps"] {
        api.create("/api/v1/namespaces", &json!({"metadata": {"name": name}}));
    }
    let folder = tempfile::tempdir().unwrap();
    let values = folder.path().join("values.yaml");
    std::fs::write(&values, install::values().to_string()).unwrap();
    let template = [
        "template",
        NAME,
        CHART,
        "--namespace",
        NAME,
        "--values",
        values.to_str().unwrap(),
    ];
    let manifests = install::helm(&template).unwrap();
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
        &format!("/apis/discovery.k8s.io/v1/namespaces/{NAME}/endpointslices"),
        &json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": NAME, "labels": {"kubernetes.io/service-name": NAME}},
            "endpoints": [{"addresses": [host], "conditions": {"ready": true}}],
            "ports": [{"name": "webhook", "port": podkey.listen, "protocol": "TCP"}],
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
