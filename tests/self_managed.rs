//! podkey keeps its own certificate with a real API server: real processes with a real service account's rights, called
//! through a real Service. Needs `tests/cluster/cluster`; run by `make e2e`, or alone:
//!
//!     cargo test --test self_managed
//!
//! `PODKEY_TLS_KUBERNETES=1.30` runs it against that API server. The processes listen on the host.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says what it measured"
)]

mod support;

use std::collections::{BTreeSet, HashMap};
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use podkey::webhook::{self, SelfManaged, ServeOptions, Tls};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use serde_json::{Value, json};

const CONFIG: &str = "
agent: {image: registry.example.com/podkey:1.0.0, imagePullPolicy: IfNotPresent}
connections:
  default: {address: 'https://vault.vault.svc:8200', auth: {mount: kubernetes, role: app}}
";
const CONTROL: &str = "tests/cluster/cluster";
const NAME: &str = "self-managed";

/// The API server, as its administrator.
struct Api {
    runtime: tokio::runtime::Runtime,
    client: kube::Client,
    server: String,
    ca: Value,
    /// The host, as the API server reaches it.
    host: String,
}

/// One API server for all tests. It stays up until the next run or `tests/cluster/cluster down`.
fn api() -> &'static Api {
    static API: OnceLock<Api> = OnceLock::new();
    API.get_or_init(|| {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let version = std::env::var("PODKEY_TLS_KUBERNETES").ok();
        let name = format!("{NAME}{}", version.as_deref().unwrap_or_default().replace('.', "-"));
        let mut up = Command::new(CONTROL);
        up.args(["up", "--control-plane", &name]);
        up.args(version.iter().flat_map(|version| ["--kubernetes", version]));
        assert!(up.status().unwrap().success(), "{up:?}");
        let env = Command::new(CONTROL).args(["env", &name]).output().unwrap();
        let env: HashMap<_, _> = String::from_utf8(env.stdout)
            .unwrap()
            .lines()
            .filter_map(|line| {
                let (key, value) = line.split_once('=')?;
                Some((key.to_owned(), value.trim_matches('\'').to_owned()))
            })
            .collect();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let kubeconfig = kube::config::Kubeconfig::read_from(&env["PODKEY_E2E_KUBECONFIG"]).unwrap();
        let cluster = serde_json::to_value(&kubeconfig.clusters[0].cluster).unwrap();
        let client = runtime.block_on(async {
            let config = kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default())
                .await
                .unwrap();
            kube::Client::try_from(config).unwrap()
        });
        let ca = match &cluster["certificate-authority-data"] {
            Value::Null => BASE64
                .encode(std::fs::read(cluster["certificate-authority"].as_str().unwrap()).unwrap())
                .into(),
            data => data.clone(),
        };
        Api {
            runtime,
            client,
            server: cluster["server"].as_str().unwrap().to_owned(),
            ca,
            host: env["PODKEY_E2E_HOST_ADDRESS"].clone(),
        }
    })
}

impl Api {
    fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, kube::Error> {
        let content_type = if method == "PATCH" {
            "application/merge-patch+json"
        } else {
            "application/json"
        };
        let body = body.map_or_else(Vec::new, |body| serde_json::to_vec(body).unwrap());
        let request = http::Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", content_type)
            .body(body)
            .unwrap();
        self.runtime.block_on(self.client.request(request))
    }

    fn get(&self, path: &str) -> Option<Value> {
        match self.call("GET", path, None) {
            Ok(object) => Some(object),
            Err(kube::Error::Api(status)) if status.code == 404 => None,
            Err(error) => panic!("{path}: {error}"),
        }
    }

    fn create(&self, path: &str, object: Value) -> Value {
        self.call("POST", path, Some(&object))
            .unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    fn patch(&self, path: &str, patch: Value) {
        self.call("PATCH", path, Some(&patch))
            .unwrap_or_else(|error| panic!("{path}: {error}"));
    }

    fn delete(&self, path: &str) {
        let _ = self.call("DELETE", path, None);
    }
}

/// podkey in a namespace of its own, with the objects of its chart.
struct Install {
    namespace: String,
    secret: String,
    configuration: String,
    folder: tempfile::TempDir,
    replicas: Vec<Replica>,
}

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const WEBHOOKS: &str = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";

impl Install {
    fn new(name: &str) -> Self {
        let api = api();
        let namespace = format!("{name}-{:x}", std::process::id());
        api.create("/api/v1/namespaces", json!({"metadata": {"name": namespace}}));
        let core = format!("/api/v1/namespaces/{namespace}");
        for account in ["default", "podkey"] {
            // A controller may create the first.
            let _ = api.call(
                "POST",
                &format!("{core}/serviceaccounts"),
                Some(&json!({"metadata": {"name": account}})),
            );
        }
        let subject = json!([{"kind": "ServiceAccount", "name": "podkey", "namespace": namespace}]);
        let group = "rbac.authorization.k8s.io";
        api.create(&format!("{RBAC}/namespaces/{namespace}/roles"), json!({"metadata": {"name": "podkey"}, "rules": [
            {"apiGroups": [""], "resources": ["secrets"], "verbs": ["create"]},
            {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["podkey-ca"], "verbs": ["get", "update"]},
        ]}));
        api.create(
            &format!("{RBAC}/namespaces/{namespace}/rolebindings"),
            json!({"metadata": {"name": "podkey"},
            "subjects": subject, "roleRef": {"apiGroup": group, "kind": "Role", "name": "podkey"}}),
        );
        api.create(
            &format!("{RBAC}/clusterroles"),
            json!({"metadata": {"name": namespace}, "rules": [
                {"apiGroups": ["admissionregistration.k8s.io"], "resources": ["mutatingwebhookconfigurations"],
                    "resourceNames": [namespace], "verbs": ["get", "patch"]},
                {"apiGroups": [""], "resources": ["nodes"], "verbs": ["list"]},
            ]}),
        );
        api.create(
            &format!("{RBAC}/clusterrolebindings"),
            json!({"metadata": {"name": namespace},
            "subjects": subject, "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": namespace}}),
        );
        api.create(
            &format!("{core}/services"),
            json!({"metadata": {"name": "podkey"}, "spec": {"ports": [{"name": "webhook", "port": 443}]}}),
        );
        api.create(WEBHOOKS, configuration(&namespace));

        let token = api.create(
            &format!("{core}/serviceaccounts/podkey/token"),
            json!({"spec": {"expirationSeconds": 7200}}),
        );
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.yaml"), CONFIG).unwrap();
        // A file, as a pod has it.
        std::fs::write(folder.path().join("token"), token["status"]["token"].as_str().unwrap()).unwrap();
        let kubeconfig = json!({"apiVersion": "v1", "kind": "Config", "current-context": "x",
            "clusters": [{"name": "x", "cluster": {"server": api.server, "certificate-authority-data": api.ca}}],
            "users": [{"name": "x", "user": {"tokenFile": folder.path().join("token")}}],
            "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}]});
        std::fs::write(folder.path().join("kubeconfig"), kubeconfig.to_string()).unwrap();
        Self {
            secret: format!("{core}/secrets/podkey-ca"),
            configuration: format!("{WEBHOOKS}/{namespace}"),
            namespace,
            folder,
            replicas: Vec::new(),
        }
    }

    /// Starts so many processes at once. Once they are ready, the Service leads to them, as with a kubelet and the endpoint
    /// controllers.
    fn start(&mut self, count: usize) {
        let started: Vec<_> = (0..count).map(|_| Replica::start(self)).collect();
        self.replicas.extend(started);
        self.are_ready();
    }

    /// Starts a replica whose clock is so many seconds ahead.
    fn start_with_a_clock(&mut self, ahead: i64) {
        let folder = self.folder.path();
        std::fs::write(folder.join("namespace"), &self.namespace).unwrap();
        std::fs::write(folder.join("host"), &api().host).unwrap();
        std::fs::write(folder.join("clock"), ahead.to_string()).unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "a_replica_with_a_clock_of_its_own", "--nocapture"]);
        command.env(CLOCK, folder).stdout(Stdio::null());
        let replica = Replica::spawn(command, self);
        self.replicas.push(replica);
    }

    fn are_ready(&mut self) {
        for replica in &self.replicas {
            eventually("ready", || replica.is_ready(), &self.replicas);
        }
        self.show_endpoints();
        // The API server learns of endpoints and CAs a moment later.
        self.eventually("pods are injected", || create_pod(self).is_ok());
    }

    /// The endpoint objects of both kinds: older API servers resolve a Service by Endpoints, newer ones by EndpointSlices.
    fn show_endpoints(&self) {
        let api = api();
        let namespace = &self.namespace;
        let endpoints = format!("/api/v1/namespaces/{namespace}/endpoints");
        let slices = format!("/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices");
        let subsets: Vec<_> = self.replicas.iter().map(|replica| {
            json!({"addresses": [{"ip": api.host}], "ports": [{"name": "webhook", "port": replica.listen.port()}]})
        }).collect();
        let object = json!({"metadata": {"name": "podkey"}, "subsets": subsets});
        if api.get(&format!("{endpoints}/podkey")).is_some() {
            api.call("PUT", &format!("{endpoints}/podkey"), Some(&object)).unwrap();
        } else {
            api.create(&endpoints, object);
        }
        let name = |slice: &Value| slice["metadata"]["name"].as_str().unwrap().to_owned();
        let listed = api.get(&slices).unwrap();
        let mut before: BTreeSet<_> = listed["items"].as_array().unwrap().iter().map(name).collect();
        for replica in &self.replicas {
            let port = replica.listen.port();
            // An existing slice stays: the Service must never be without endpoints.
            if before.remove(&format!("podkey-{port}")) {
                continue;
            }
            api.create(&slices, json!({"metadata": {"name": format!("podkey-{port}"), "labels": {"kubernetes.io/service-name": "podkey"}},
                "addressType": "IPv4", "ports": [{"name": "webhook", "port": port, "protocol": "TCP"}],
                "endpoints": [{"addresses": [api.host], "conditions": {"ready": true}}]}));
        }
        for gone in before {
            api.delete(&format!("{slices}/{gone}"));
        }
    }

    /// Takes all replicas but so many out of the Service, and ends them some seconds later.
    fn keep(&mut self, count: usize) {
        let ended = self.replicas.split_off(count);
        self.show_endpoints();
        std::thread::sleep(Duration::from_secs(5));
        drop(ended);
    }

    fn secret(&self) -> Value {
        api().get(&self.secret).expect("the Secret")
    }

    fn value(&self, key: &str) -> String {
        decoded(&self.secret()["data"][key])
    }

    /// The `caBundle` of both webhooks. Empty where they differ.
    fn bundle(&self) -> String {
        let configuration = api().get(&self.configuration).unwrap();
        let of = |index: usize| decoded(&configuration["webhooks"][index]["clientConfig"]["caBundle"]);
        assert!(of(1).is_empty(), "not our webhook");
        if of(0) == of(2) { of(0) } else { String::new() }
    }

    fn set_bundle(&self, bundle: &str) {
        let mut configuration = api().get(&self.configuration).unwrap();
        for index in [0, 2] {
            configuration["webhooks"][index]["clientConfig"]["caBundle"] = BASE64.encode(bundle).into();
        }
        // podkey may write at the same time; then podkey's version stays.
        let _ = api().call("PUT", &self.configuration, Some(&configuration));
    }

    fn eventually(&self, what: &str, happened: impl FnMut() -> bool) -> Duration {
        eventually(what, happened, &self.replicas)
    }

    /// The log of all replicas.
    fn log(&self) -> String {
        let log: Vec<_> = self
            .replicas
            .iter()
            .flat_map(|replica| replica.log.lock().unwrap().clone())
            .collect();
        log.join("\n")
    }

    fn no_key_was_logged(&self) {
        let log = self.log();
        for key in ["tls.key", "next.key"] {
            for line in self.value(key).lines().filter(|line| line.len() > 20) {
                assert!(!log.contains(line), "a key in the log");
            }
            let encoded = self.secret()["data"][key].as_str().unwrap_or_default().to_owned();
            assert!(
                encoded.is_empty() || !log.contains(&encoded[40..120]),
                "a key in the log"
            );
        }
        assert!(!log.contains("PRIVATE KEY"));
    }
}

impl Drop for Install {
    fn drop(&mut self) {
        self.replicas.clear();
        let api = api();
        api.delete(&self.configuration);
        api.delete(&format!("{RBAC}/clusterroles/{}", self.namespace));
        api.delete(&format!("{RBAC}/clusterrolebindings/{}", self.namespace));
        api.delete(&format!("/api/v1/namespaces/{}", self.namespace));
    }
}

fn decoded(base64: &Value) -> String {
    String::from_utf8(BASE64.decode(base64.as_str().unwrap_or_default()).unwrap()).unwrap()
}

/// Two webhooks that call podkey, and one between them that calls another Service.
fn configuration(namespace: &str) -> Value {
    let webhook = |name: &str, service: &str, resource: &str| {
        json!({
            "name": format!("{name}.podkey.dev"), "admissionReviewVersions": ["v1"], "sideEffects": "None",
            "failurePolicy": "Fail", "timeoutSeconds": 30,
            "clientConfig": {"service": {"name": service, "namespace": namespace, "path": "/mutate"}},
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": [resource]}],
        })
    };
    json!({"metadata": {"name": namespace}, "webhooks": [
        webhook("pods", "podkey", "pods"),
        webhook("other", "other", "podtemplates"),
        webhook("again", "podkey", "podtemplates"),
    ]})
}

/// A process of `podkey serve`, or of this test with another clock. Killed when dropped.
struct Replica {
    child: Child,
    listen: SocketAddr,
    admin: SocketAddr,
    log: Arc<Mutex<Vec<String>>>,
}

impl Replica {
    fn start(install: &Install) -> Self {
        let file = |name: &str| install.folder.path().join(name).display().to_string();
        let mut command = Command::new(support::program("podkey"));
        command.args([
            "serve",
            "--config",
            &file("config.yaml"),
            "--grace",
            "0s",
            "--listen",
            &format!("{}:0", api().host),
        ]);
        command.args([
            "--admin-listen",
            "127.0.0.1:0",
            "--namespace",
            &install.namespace,
            "--webhook-configuration",
            &install.namespace,
        ]);
        Self::spawn(command, install)
    }

    fn spawn(mut command: Command, install: &Install) -> Self {
        let mut child = command
            .env("KUBECONFIG", install.folder.path().join("kubeconfig"))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let log = Arc::new(Mutex::new(Vec::new()));
        let serving: Value = loop {
            let line = lines.next().expect("a log line").unwrap();
            log.lock().unwrap().push(line.clone());
            let line: Value = serde_json::from_str(&line).unwrap_or_default();
            if line["message"] == "serving" {
                break line;
            }
        };
        let sink = log.clone();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                sink.lock().unwrap().push(line);
            }
        });
        let address = |field: &str| serving[field].as_str().unwrap().parse().unwrap();
        Self {
            listen: address("listen"),
            admin: address("admin_listen"),
            child,
            log,
        }
    }

    fn is_ready(&self) -> bool {
        self.admin_get("/readyz").0 == 200
    }

    fn admin_get(&self, path: &str) -> (u16, String) {
        support::http::call(self.admin.port(), "GET", path, &[], "").unwrap()
    }

    /// Makes a TLS handshake as an API server that trusts only this bundle.
    fn handshake(&self, bundle: &str, name: &str) -> Result<CertificateDer<'static>, String> {
        let mut roots = RootCertStore::empty();
        for root in CertificateDer::pem_slice_iter(bundle.as_bytes()) {
            roots.add(root.unwrap()).unwrap();
        }
        let config = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut client =
            ClientConnection::new(Arc::new(config), ServerName::try_from(name.to_owned()).unwrap()).unwrap();
        let mut tcp = TcpStream::connect(self.listen).map_err(|error| error.to_string())?;
        tcp.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        while client.is_handshaking() {
            client.complete_io(&mut tcp).map_err(|error| error.to_string())?;
        }
        Ok(client.peer_certificates().unwrap()[0].clone().into_owned())
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits up to two minutes. Gives how long it took.
fn eventually(what: &str, mut happened: impl FnMut() -> bool, replicas: &[Replica]) -> Duration {
    let begin = Instant::now();
    while !happened() {
        if begin.elapsed() > Duration::from_secs(120) {
            let logs: Vec<_> = replicas
                .iter()
                .map(|replica| replica.log.lock().unwrap().join("\n"))
                .collect();
            panic!("did not happen: {what}\n{}", logs.join("\n--\n"));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    begin.elapsed()
}

/// While `during` runs, creates pods through the API server and makes TLS handshakes with every replica. Every pod must be
/// injected, and every handshake must verify against the published `caBundle`; there are more than ten of each.
fn without_one_failure(install: &Install, during: impl FnOnce()) {
    let stop = AtomicBool::new(false);
    let (pods, handshakes) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                match create_pod(install) {
                    Ok(()) => pods.fetch_add(1, Ordering::Relaxed),
                    Err(error) => {
                        failures.lock().unwrap().push(error);
                        0
                    }
                };
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let bundle = install.bundle();
                for replica in &install.replicas {
                    if let Err(error) = replica.handshake(&bundle, &format!("podkey.{}.svc", install.namespace)) {
                        failures.lock().unwrap().push(error);
                    }
                    handshakes.fetch_add(1, Ordering::Relaxed);
                }
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        // Also when `during` panics, the threads must end.
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            during();
            // On a slow machine `during` was too short for so many.
            install.eventually("more than ten pods and handshakes", || {
                let enough = [&pods, &handshakes]
                    .iter()
                    .all(|count| count.load(Ordering::Relaxed) > 10);
                enough || !failures.lock().unwrap().is_empty()
            });
        }));
        stop.store(true, Ordering::Relaxed);
        if let Err(panic) = result {
            std::panic::resume_unwind(panic);
        }
    });
    let failures = failures.into_inner().unwrap();
    let (pods, handshakes) = (pods.into_inner(), handshakes.into_inner());
    println!(
        "{}: {pods} pods, {handshakes} handshakes, {} failures",
        install.namespace,
        failures.len()
    );
    assert!(failures.is_empty(), "{failures:#?}\n{}", install.log());
}

fn create_pod(install: &Install) -> Result<(), String> {
    let pod = json!({
        "metadata": {"generateName": "web-", "annotations": {"podkey.dev/files": "- {secret: apps/data/web, key: password, file: web.txt}"}},
        "spec": {"containers": [{"name": "web", "image": "web"}]},
    });
    let path = format!("/api/v1/namespaces/{}/pods?dryRun=All", install.namespace);
    let created = api()
        .call("POST", &path, Some(&pod))
        .map_err(|error| error.to_string())?;
    if created["spec"]["initContainers"][0]["name"] == "podkey-init" {
        Ok(())
    } else {
        Err("not injected".to_owned())
    }
}

fn count(pem: &str) -> usize {
    pem.matches("BEGIN CERTIFICATE").count()
}

#[test]
fn twenty_replicas_that_start_together_serve_by_one_ca() {
    let mut install = Install::new("twenty");
    install.start(20);
    let bundle = install.bundle();
    assert_eq!(count(&bundle), 1, "{bundle}");
    assert_eq!(install.value("tls.crt"), bundle);
    without_one_failure(&install, || std::thread::sleep(Duration::from_secs(10)));
    for replica in &install.replicas {
        let log = replica.log.lock().unwrap().join("\n");
        assert!(
            log.contains("new certificate in use") && !log.contains("ERROR"),
            "{log}"
        );
    }
    let text = install.replicas[0].admin_get("/metrics").1;
    assert!(text.contains("podkey_ca_expiry_timestamp_seconds "), "{text}");
    assert!(
        text.contains("podkey_tls_failures_total{reason=\"forbidden\"} 0"),
        "{text}"
    );

    // A rolling restart: each new replica signs by the same CA.
    install.keep(3);
    without_one_failure(&install, || std::thread::sleep(Duration::from_secs(2)));
    install.start(2);
    assert_eq!(install.bundle(), bundle);
    install.no_key_was_logged();
}

#[test]
fn a_secret_that_is_lost_comes_back_and_nobody_notices() {
    let api = api();
    let mut install = Install::new("secret");
    // As the chart renders the Secret: empty.
    let secrets = format!("/api/v1/namespaces/{}/secrets", install.namespace);
    let empty = json!({"metadata": {"name": "podkey-ca", "labels": {"mine": "x"}, "annotations": {"helm": "y"}}, "type": "Opaque"});
    api.create(&secrets, empty);
    install.start(3);
    let ca = install.value("tls.crt");
    assert_eq!(install.secret()["metadata"]["labels"]["mine"], "x");
    without_one_failure(&install, || {
        type Loss<'a> = (&'a str, Box<dyn Fn() + 'a>);
        let secret = &install.secret;
        let set = |key: &'static str, value: Value| Box::new(move || api.patch(secret, json!({"data": {key: value}})));
        let losses: [Loss<'_>; 5] = [
            ("deleted", Box::new(|| api.delete(&install.secret))),
            (
                "emptied",
                Box::new(|| api.patch(&install.secret, json!({"data": null}))),
            ),
            ("garbage", set("tls.crt", BASE64.encode("garbage").into())),
            ("key gone", set("tls.key", Value::Null)),
            ("list gone", set("ca.crt", BASE64.encode("x").into())),
        ];
        for (loss, lose) in losses {
            lose();
            let healed = || {
                let secret = api.get(&install.secret).unwrap_or_default();
                ["tls.crt", "ca.crt"]
                    .iter()
                    .all(|key| secret["data"][*key] == *BASE64.encode(&ca))
                    && secret["data"]["tls.key"].is_string()
            };
            let took = install.eventually(loss, healed);
            println!("{loss}: healed after {took:?}");
            if loss != "deleted" {
                // The Secret was deleted with its labels; from then on it is podkey's own.
                assert!(install.secret()["metadata"]["labels"].is_object());
            }
        }
    });
    assert_eq!(install.bundle(), ca);
    install.eventually("a log line", || install.log().contains("restored from memory"));
    install.no_key_was_logged();
}

#[test]
fn a_ca_bundle_that_somebody_else_wrote_is_set_right() {
    let mut install = Install::new("bundle");
    install.start(2);
    let ours = install.bundle();
    let foreign = support::ca::Ca::new("somebody else").pem();
    for (found, bundle) in [
        ("blank", String::new()),
        ("foreign", foreign.clone()),
        ("foreign", "garbage".to_owned()),
        ("foreign", format!("{ours}{foreign}")),
    ] {
        install.set_bundle(&bundle);
        let works = install.eventually("pods are injected", || create_pod(&install).is_ok());
        let took = works + install.eventually("restored", || install.bundle() == ours);
        println!("{found}: pods again after {works:?}, restored after {took:?}");
        // The log is written by a thread of its own.
        install.eventually("a log line", || {
            install.log().contains(&format!("\"found\":\"{found}\""))
        });
        // The API server may have learnt of the other bundle after the first pod, and of the restored one after this test did.
        install.eventually("pods are injected", || create_pod(&install).is_ok());
        without_one_failure(&install, || std::thread::sleep(Duration::from_secs(2)));
    }
    // The configuration is deleted and created again.
    api().delete(&install.configuration);
    install.eventually("a log line", || {
        install.log().contains("there is no MutatingWebhookConfiguration")
    });
    assert!(
        install.replicas.iter().all(Replica::is_ready),
        "a replica that was ready stays ready"
    );
    api().create(WEBHOOKS, configuration(&install.namespace));
    install.eventually("published again", || install.bundle() == ours);
    install.eventually("pods are injected", || create_pod(&install).is_ok());
}

#[test]
fn a_ca_that_ages_is_replaced_and_nobody_notices() {
    let mut install = Install::new("renewal");
    // The CA has a hundred days left: less than a third of a year.
    let (certificate, key) = ageing_ca();
    let secrets = format!("/api/v1/namespaces/{}/secrets", install.namespace);
    let data = json!({"tls.crt": BASE64.encode(&certificate), "tls.key": BASE64.encode(&key)});
    api().create(
        &secrets,
        json!({"metadata": {"name": "podkey-ca"}, "type": "Opaque", "data": data}),
    );
    // Before the start, which publishes the CA early.
    let begun = Instant::now();
    install.start(3);
    without_one_failure(&install, || {
        install.eventually("the next CA signs", || install.value("tls.crt") != certificate);
        let took = begun.elapsed();
        println!("the next CA signs after {took:?}");
        assert!(took > Duration::from_secs(50), "too early: API servers need time");
    });
    let bundle = install.bundle();
    assert!(
        count(&bundle) == 2 && bundle.contains(&certificate),
        "the old one stays: {bundle}"
    );
    assert_eq!(install.value("next.crt"), "");
    let name = format!("podkey.{}.svc", install.namespace);
    assert!(
        install.replicas[0].handshake(&certificate, &name).is_ok(),
        "its leaf is the old one still"
    );
    install.start(1);
    assert!(
        install.replicas[3].handshake(&install.value("tls.crt"), &name).is_ok(),
        "a new replica signs by the new one"
    );
    without_one_failure(&install, || std::thread::sleep(Duration::from_secs(2)));
    install.no_key_was_logged();
}

fn ageing_ca() -> (String, String) {
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, "an older podkey's");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
    let day = Duration::from_secs(86400);
    params.not_before = (SystemTime::now() - day * 265).into();
    params.not_after = (SystemTime::now() + day * 100).into();
    let key = rcgen::KeyPair::generate().unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

const DAY_SECONDS: i64 = 24 * 60 * 60;
const CLOCK: &str = "PODKEY_TEST_CLOCK";
static AHEAD_SECONDS: AtomicI64 = AtomicI64::new(0);

/// Not a test: the process that the next test starts.
#[test]
fn a_replica_with_a_clock_of_its_own() {
    let Ok(folder) = std::env::var(CLOCK) else { return };
    let folder = Path::new(&folder);
    let clock = folder.join("clock");
    let read = move || {
        let ahead = std::fs::read_to_string(&clock)
            .ok()
            .and_then(|text| text.trim().parse().ok());
        AHEAD_SECONDS.store(ahead.unwrap_or(0), Ordering::Relaxed);
    };
    read();
    std::thread::spawn(move || {
        loop {
            read();
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    fn now() -> SystemTime {
        let ahead = AHEAD_SECONDS.load(Ordering::Relaxed);
        let by = Duration::from_secs(ahead.unsigned_abs());
        if ahead < 0 {
            SystemTime::now() - by
        } else {
            SystemTime::now() + by
        }
    }
    let namespace = std::fs::read_to_string(folder.join("namespace")).unwrap();
    podkey::telemetry::init(podkey::telemetry::LogFormat::Json, None);
    let options = ServeOptions {
        listen: format!("{}:0", std::fs::read_to_string(folder.join("host")).unwrap())
            .parse()
            .unwrap(),
        admin_listen: "127.0.0.1:0".parse().unwrap(),
        tls: Tls::SelfManaged(SelfManaged {
            service: "podkey".to_owned(),
            namespace: namespace.clone(),
            secret: "podkey-ca".to_owned(),
            webhook_configuration: namespace,
        }),
        grace: Duration::ZERO,
        now,
    };
    let config = webhook::load(&folder.join("config.yaml")).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(webhook::serve(config, options)).unwrap();
}

#[test]
fn a_clock_that_jumps_a_month_heals_itself() {
    let mut install = Install::new("clock");
    for _ in 0..2 {
        install.start_with_a_clock(0);
    }
    install.are_ready();
    let month = 30 * DAY_SECONDS;
    // The API server's clock does not jump: a certificate that is made by a wrong clock must be valid by the right clock too.
    without_one_failure(&install, || {
        for (jump, ahead) in [
            ("ahead", month),
            ("right again", 0),
            ("back", -month),
            ("right again", 0),
        ] {
            let leaves = install.log().matches("new certificate in use").count();
            std::fs::write(install.folder.path().join("clock"), ahead.to_string()).unwrap();
            if jump == "ahead" {
                let took = install.eventually("new leaves", || {
                    install.log().matches("new certificate in use").count() >= leaves + 2
                });
                println!("{jump}: new leaves after {took:?}");
            } else {
                std::thread::sleep(Duration::from_secs(20));
            }
            assert!(install.replicas.iter().all(Replica::is_ready), "{jump}");
        }
    });
    assert_eq!(count(&install.bundle()), 1);
}

#[test]
fn a_replica_whose_clock_is_most_of_a_year_off_leaves_the_shared_ca_alone() {
    let mut install = Install::new("year");
    install.start(1);
    install.are_ready();
    let (certificate, bundle) = (install.value("tls.crt"), install.bundle());
    install.start_with_a_clock(300 * DAY_SECONDS);
    install.eventually("the log names the clock", || install.log().contains("Set the clock"));
    std::thread::sleep(Duration::from_secs(20));
    assert!(!install.replicas[1].is_ready() && install.replicas[0].is_ready());
    assert!(install.secret()["data"].get("next.crt").is_none());
    assert_eq!((install.value("tls.crt"), install.bundle()), (certificate, bundle));
}

#[test]
fn a_missing_right_is_named() {
    let mut install = Install::new("rights");
    let api = api();
    let role = format!("{RBAC}/namespaces/{}/roles/podkey", install.namespace);
    let rules = api.get(&role).unwrap()["rules"].clone();
    let cluster_role = format!("{RBAC}/clusterroles/{}", install.namespace);
    api.patch(&role, json!({"rules": []}));
    let cluster_rules = api.get(&cluster_role).unwrap()["rules"].clone();
    api.patch(&cluster_role, json!({"rules": [cluster_rules[0]]}));
    let replica = Replica::start(&install);
    install.replicas.push(replica);
    let says = |text: &str| install.eventually(text, || install.log().contains(text));
    says("may not get the Secret");
    says("resourceNames [podkey-ca]");
    // An account without any right may read the version.
    let version = api.get("/version").unwrap();
    let number = |name: &str| version[name].as_str().unwrap().trim_end_matches('+').to_owned();
    says(&format!("\"version\":\"{}.{}\"", number("major"), number("minor")));
    assert_eq!(install.replicas[0].admin_get("/readyz").0, 503);
    api.patch(&role, json!({"rules": [rules[1]]}));
    says("may not create the Secret");
    says("with the verb create on secrets (without resourceNames)");
    says("may not list the nodes");
    says("a ClusterRole with the verb list on nodes");
    api.patch(&cluster_role, json!({"rules": []}));
    api.patch(&role, json!({"rules": rules}));
    says("may not get the MutatingWebhookConfiguration");
    api.patch(&cluster_role, json!({"rules": cluster_rules}));
    install.are_ready();
}

#[test]
fn the_oldest_kubelet_counts() {
    let api = api();
    let install = Install::new("kubelets");
    let names: Vec<_> = ["new", "old"].map(|age| format!("{age}-{}", install.namespace)).into();
    for (name, version, features) in [
        (&names[0], "v1.30.1", json!([])),
        (
            &names[1],
            "v1.28.3-eks-1",
            json!(["RestartAllContainersOnContainerExits"]),
        ),
    ] {
        let labels = json!({"kubernetes.io/os": "linux"});
        api.create("/api/v1/nodes", json!({"metadata": {"name": name, "labels": labels}}));
        let status =
            json!({"nodeInfo": {"kubeletVersion": version, "operatingSystem": "linux"}, "declaredFeatures": features});
        api.patch(&format!("/api/v1/nodes/{name}/status"), json!({"status": status}));
    }
    let windows = format!("windows-{}", install.namespace);
    api.create(
        "/api/v1/nodes",
        json!({"metadata": {"name": windows, "labels": {"kubernetes.io/os": "windows"}}}),
    );
    let replica = Replica::start(&install);
    let log = || replica.log.lock().unwrap().join("\n");
    let learnt = || log().contains("\"oldest\":\"1.28\"") && log().contains("\"restart_all_containers\":false");
    eventually("the oldest kubelet", learnt, std::slice::from_ref(&replica));
    for name in names.iter().chain([&windows]) {
        api.delete(&format!("/api/v1/nodes/{name}"));
    }
}

#[test]
fn an_api_server_that_is_away_is_waited_for() {
    // Nothing listens there.
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let install = Install::new("away");
    let kubeconfig = install.folder.path().join("kubeconfig");
    let right = std::fs::read_to_string(&kubeconfig).unwrap();
    std::fs::write(&kubeconfig, right.replace(&api().server, &format!("https://{free}"))).unwrap();
    let replica = Replica::start(&install);
    let log = || replica.log.lock().unwrap().join("\n");
    eventually(
        "a log line",
        || log().contains("cannot get the Secret"),
        std::slice::from_ref(&replica),
    );
    assert_eq!(replica.admin_get("/readyz").0, 503);
    assert_eq!(replica.admin_get("/healthz").0, 200);
    // After several looks there is still one log line.
    std::thread::sleep(Duration::from_secs(20));
    assert_eq!(log().matches("cannot get the Secret").count(), 1, "{}", log());
    let failures = replica.admin_get("/metrics").1;
    assert!(
        !failures.contains("podkey_tls_failures_total{reason=\"unreachable\"} 0"),
        "{failures}"
    );
}
