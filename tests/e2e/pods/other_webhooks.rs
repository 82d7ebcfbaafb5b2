//! A second webhook in the cluster that adds containers, once called before ours and once after.

use std::io::{BufReader, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use crate::ca::Ca;
use crate::harness::api::cluster;
use crate::harness::left_out;
use crate::harness::namespace::{LABEL, Namespace};
use crate::harness::openbao::Vault;
use crate::harness::pod::{container, definition, init_containers, pod};
use crate::harness::settings::settings;
use crate::http::Request;

/// A webhook in this process that patches each pod it has not yet patched.
struct Webhook {
    ca: String,
    url: String,
}

impl Webhook {
    /// Reachable by the API server at this host. Its thread ends with the test run.
    fn start(host: &str, patch: Value) -> Self {
        let ca = Ca::new("podkey e2e second webhook");
        let config = ca.leaf(&[host]).server_config();
        let listener = TcpListener::bind("0.0.0.0:0").unwrap();
        let url = format!("https://{host}:{}/", listener.local_addr().unwrap().port());
        let patch = STANDARD.encode(patch.to_string());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let _ = stream.set_read_timeout(Some(Duration::from_secs(10)));
                let (config, patch) = (config.clone(), patch.clone());
                std::thread::spawn(move || serve(stream, config, &patch));
            }
        });
        Self {
            ca: STANDARD.encode(ca.pem()),
            url,
        }
    }

    /// Has the API server ask it about the pods of a namespace. Webhooks are asked in the order of their names.
    fn register(&self, namespace: &Namespace, name: &str) {
        let path = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";
        let name = format!("{name}-{LABEL}-{}", namespace.name);
        cluster().create(
            path,
            &json!({
                "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
                "metadata": {"name": name, "labels": {LABEL: "webhook"}},
                "webhooks": [{
                    "name": "second.podkey-e2e.example.com", "admissionReviewVersions": ["v1"], "sideEffects": "None",
                    "failurePolicy": "Fail", "reinvocationPolicy": "IfNeeded", "timeoutSeconds": 10,
                    "clientConfig": {"url": self.url, "caBundle": self.ca},
                    "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
                    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace.name}},
                }],
            }),
        );
        namespace.delete_later(cluster(), format!("{path}/{name}"));
        // The API server takes it up by a watch, a moment later.
        let probe = probe();
        crate::harness::wait(crate::harness::LIMIT, || {
            let answer = namespace.try_create_as(cluster(), &probe, "?dryRun=All");
            (answer.is_success() && !definition(&answer.json(), "added").is_null()).then_some(())
        })
        .unwrap_or_else(|| {
            let answer = namespace.try_create_as(cluster(), &probe, "?dryRun=All");
            panic!("the second webhook is not asked: {answer:?}")
        });
    }
}

fn serve(stream: std::net::TcpStream, config: Arc<ServerConfig>, patch: &str) {
    let mut stream = BufReader::new(StreamOwned::new(ServerConnection::new(config).unwrap(), stream));
    while let Some(request) = Request::read(&mut stream) {
        let review: Value = serde_json::from_slice(&request.body).unwrap();
        let mut response = json!({"uid": review["request"]["uid"], "allowed": true});
        if definition(&review["request"]["object"], "added").is_null() {
            response["patchType"] = json!("JSONPatch");
            response["patch"] = json!(patch);
        }
        let body =
            json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}).to_string();
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        if stream.get_mut().write_all((head + &body).as_bytes()).is_err() {
            return;
        }
    }
}

/// What the other webhook adds: a container, and an init container before all others.
fn patch() -> Value {
    json!([
        {"op": "add", "path": "/spec/containers/-",
         "value": container("added", "cat /podkey/secrets/password 2>&1; true")},
        {"op": "add", "path": "/spec/initContainers/0", "value": container("added-init", "ls -d /podkey 2>&1; true")},
    ])
}

/// A pod that is none of ours.
fn probe() -> Value {
    let mut probe = pod("probe", "true");
    probe["spec"]["initContainers"] = json!([container("own-init", "true")]);
    probe
}

fn app(vault: &Vault<'_>) -> Value {
    let mut app = pod("app", "cat /podkey/secrets/password");
    app["spec"]["initContainers"] = json!([container("own-init", "true")]);
    let files = json!([{"secret": "web", "key": "password", "file": "password"}]);
    vault.put("web", &json!({"password": "s3cret"}));
    vault.annotate(app, &files)
}

/// The pod with what both webhooks added, and its log.
fn injected_beside(host: &str, name: &str, order: [&str; 3]) {
    let namespace = Namespace::new(&format!("webhook-{name}"));
    let vault = Vault::new(&namespace);
    let webhook = Webhook::start(host, patch());
    let app = app(&vault);
    webhook.register(&namespace, name);
    let pod = namespace.create(&app);
    assert_eq!(pod.succeeds(), "s3cret");
    let object = pod.object();
    assert_eq!(init_containers(&object), order);
    // Every container of the pod gets the files, the added one too; none of podkey's parts is there twice.
    assert_eq!(pod.log("added"), "s3cret");
    let named = |list: &str, name: &str| {
        let all = object["spec"][list].as_array().unwrap();
        all.iter().filter(|one| one["name"] == name).count()
    };
    assert_eq!(named("initContainers", "podkey-init"), 1);
    assert_eq!(named("volumes", "podkey-secrets") + named("volumes", "podkey-token"), 2);
}

#[test]
fn a_webhook_that_is_asked_before_ours_adds_containers() {
    let Some(host) = &settings().host else {
        return left_out("a webhook before ours", "PODKEY_E2E_HOST_ADDRESS is not set");
    };
    // What it adds comes before we look; podkey-init goes before it all the same.
    injected_beside(host, "a", ["podkey-init", "added-init", "own-init"]);
}

#[test]
fn a_webhook_that_is_asked_after_ours_adds_containers() {
    let Some(host) = &settings().host else {
        return left_out("a webhook after ours", "PODKEY_E2E_HOST_ADDRESS is not set");
    };
    // We are asked again, and give the new container its files; podkey-init stays where it is.
    injected_beside(host, "z", ["added-init", "podkey-init", "own-init"]);
}
