//! podkey, installed once a run, with Helm, from the chart in this checkout.

use std::fs::File;
use std::sync::{LazyLock, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::api::{Answer, cluster};
use super::command::run;
use super::namespace::Namespace;
use super::pod::pod;
use super::settings::settings;
use super::{LIMIT, wait};

/// Release and namespace.
pub const NAME: &str = "podkey";

/// The label of namespaces that belong to another release, which it names.
pub const OTHER_RELEASE: &str = "podkey-e2e-release";

/// The chart, in this checkout.
pub const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/manifests/chart");

/// Waits until podkey is there; the first call installs it.
pub fn podkey() {
    static INSTALLED: LazyLock<()> = LazyLock::new(install);
    LazyLock::force(&INSTALLED);
}

/// The operator's config, as the tests want it.
pub fn config() -> Value {
    let settings = settings();
    let connection = |address: &str| json!({"address": address, "caFile": "/etc/podkey/vault-ca.pem", "budget": "3m"});
    let mut config = json!({
        "connections": {
            "default": connection(&settings.openbao),
            "no-audience": super::merge(connection(&settings.openbao), &json!({"auth": {"audience": ""}})),
            // The shortest life that Kubernetes gives a service-account token.
            "brief": super::merge(connection(&settings.openbao), &json!({"auth": {"refreshTokenSeconds": 600}})),
            "jwt": super::merge(connection(&settings.openbao), &json!({"auth": {"method": "jwt"}})),
            "inline": super::merge(connection(&settings.openbao), &json!({"auth": {"inline": true}})),
            // The same server, by CAs that did not sign its certificate.
            "untrusted": {"address": settings.openbao, "caFile": "", "budget": "20s"},
            // Nobody listens on this port of the pod itself.
            "nobody": {"address": "http://127.0.0.1:9", "allowInsecureHttp": true, "budget": "5s"},
        },
    });
    if let Some(address) = &settings.openbao_http {
        config["connections"]["http"] = json!({"address": address, "allowInsecureHttp": true, "budget": "3m"});
    }
    config
}

/// The chart's values, as the tests want them, and as whoever runs them wants them over that.
pub fn values() -> Value {
    let image = settings().image.as_str();
    let (repository, tag) = image.rsplit_once(':').expect("PODKEY_E2E_IMAGE with a tag");
    let values = json!({
        "image": {"repository": repository, "tag": tag, "pullPolicy": "IfNotPresent"},
        "config": config(),
        "vaultCa": settings().openbao_ca,
        "vaultK8s": {"enabled": true},
        "guard": {"enabled": true},
        // The default is 5 s. A process of a loaded machine may stand still for longer.
        "webhook": {"timeoutSeconds": 30, "namespaceSelector": {"matchExpressions": [{"key": OTHER_RELEASE, "operator": "DoesNotExist"}]}},
    });
    super::merge(values, &settings().values)
}

/// Runs helm as the cluster's administrator; gives what it printed.
pub fn helm(args: &[&str]) -> Result<String, String> {
    run("helm", &settings().kubeconfig, args, "").map(|(printed, _)| printed)
}

/// The chart's manifests with these values, without the pod of `helm test`, and with more arguments of `helm template`.
pub fn template(values: &Value, more: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("values.yaml");
    std::fs::write(&file, values.to_string()).unwrap();
    let args = [
        "template",
        NAME,
        CHART,
        "--skip-tests",
        "--namespace",
        NAME,
        "--values",
        file.to_str().unwrap(),
    ];
    helm(&[&args, more].concat()).unwrap()
}

/// Runs kubectl as the cluster's administrator; gives what it printed and said.
pub fn kubectl(args: &[&str], input: &str) -> Result<String, String> {
    run("kubectl", &settings().kubeconfig, args, input).map(|(printed, said)| printed + &said)
}

/// Installs the chart, or brings what is installed to these values. Gives helm's words when it fails.
pub fn upgrade(release: &str, namespace: &str, values: &Value) -> Result<String, String> {
    let file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    std::fs::write(file.path(), values.to_string()).unwrap();
    helm(&[
        "upgrade",
        "--install",
        release,
        CHART,
        "--namespace",
        namespace,
        "--create-namespace",
        "--values",
        file.path().to_str().unwrap(),
        "--wait",
        "--timeout",
        "3m",
    ])
}

/// Gives pods one more connection, to a server with this CA, until the next run installs podkey anew.
pub fn connect(name: &str, connection: Value, ca: &str) {
    podkey();
    let mut values = values();
    values["vaultCa"] = json!(settings().openbao_ca.clone() + ca);
    values["config"]["connections"][name] = connection;
    upgrade(NAME, NAME, &values).unwrap_or_else(|error| panic!("helm: {error}\n{}", story()));
    replicas();
    reached();
}

fn install() {
    alone();
    sweep();
    upgrade(NAME, NAME, &values()).unwrap_or_else(|error| panic!("helm: {error}\n{}", story()));
    // The image may be another one under the same name, and a replica of before would answer as that one did.
    restart();
    replicas();
    reached();
}

/// Waits until podkey answers for pods: nodes know the way to its replicas a moment after these are ready.
pub fn reached() {
    let namespace = Namespace::bare("reached", &json!({}));
    let refused = json!({"metadata": {"annotations": {"podkey.dev/files": "no list"}}});
    let refused = super::merge(pod("refused", "true"), &refused);
    let answer = || namespace.try_create_as(cluster(), &refused, "?dryRun=All").message();
    let by_podkey = || answer().contains("denied the request").then_some(());
    wait(LIMIT, by_podkey).unwrap_or_else(|| panic!("pods do not reach podkey: {}\n{}", answer(), story()));
}

/// Waits until no other run on this machine uses the cluster: two would install podkey over each other. The lock is on the
/// kubeconfig, and ends with this process.
fn alone() {
    static LOCK: OnceLock<File> = OnceLock::new();
    let kubeconfig = File::open(&settings().kubeconfig).unwrap();
    if kubeconfig.try_lock().is_err() {
        println!("another run uses this cluster: waiting for its end");
        kubeconfig.lock().unwrap();
    }
    let _ = LOCK.set(kubeconfig);
}

/// Replaces every replica, and waits until the new ones serve.
pub fn restart() {
    let path = format!("/apis/apps/v1/namespaces/{NAME}/deployments/{NAME}");
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_millis()
        .to_string();
    let restarted = json!({"podkey-e2e/restarted": now});
    cluster().patch(
        &path,
        &json!({"spec": {"template": {"metadata": {"annotations": restarted}}}}),
    );
    ready();
}

/// Another number of replicas; waits until the last one is there, or gone.
pub fn scale(replicas: u32) {
    let path = format!("/apis/apps/v1/namespaces/{NAME}/deployments/{NAME}/scale");
    cluster().patch(&path, &json!({"spec": {"replicas": replicas}}));
    ready();
    wait(LIMIT, || (pods().len() == replicas as usize).then_some(())).unwrap_or_else(|| panic!("{}", story()));
}

/// Waits until the deployment is as it is wanted. Replicas of before may still answer: see [`replicas`].
pub fn ready() {
    let path = format!("/apis/apps/v1/namespaces/{NAME}/deployments/{NAME}");
    wait(LIMIT, || {
        let answer = cluster().try_call("GET", &path, &Value::Null).ok()?;
        let deployment = answer.is_success().then(|| answer.json())?;
        let (wanted, status) = (&deployment["spec"]["replicas"], &deployment["status"]);
        // A count of none is left out.
        let is = status["observedGeneration"] == deployment["metadata"]["generation"]
            && ["replicas", "updatedReplicas", "readyReplicas"]
                .iter()
                .all(|field| status[field].as_u64().unwrap_or_default() == wanted.as_u64().unwrap());
        is.then_some(())
    })
    .unwrap_or_else(|| panic!("podkey does not get ready\n{}", story()));
}

/// The webhook's pods, those that are about to go too.
pub fn pods() -> Vec<Value> {
    pods_in(NAME)
}

/// The same of the release in this namespace.
fn pods_in(namespace: &str) -> Vec<Value> {
    let selector = format!("labelSelector=app.kubernetes.io%2Fname%3D{NAME}");
    let pods = cluster().get(&format!("/api/v1/namespaces/{namespace}/pods?{selector}"));
    pods["items"].as_array().cloned().unwrap_or_default()
}

/// The webhook's pods, once those that are being replaced are gone.
pub fn replicas() -> Vec<String> {
    replicas_in(NAME)
}

/// The same of the release in this namespace.
pub fn replicas_in(namespace: &str) -> Vec<String> {
    wait(LIMIT, || {
        let pods = pods_in(namespace);
        let stays = |pod: &Value| pod["metadata"]["deletionTimestamp"].is_null() && pod["status"]["phase"] == "Running";
        let name = |pod: &Value| pod["metadata"]["name"].as_str().unwrap().to_owned();
        pods.iter().all(stays).then(|| pods.iter().map(name).collect())
    })
    .unwrap_or_else(|| panic!("podkey's pods keep changing\n{}", story()))
}

/// What a replica answers on its admin port, such as `metrics`.
pub fn admin(replica: &str, path: &str) -> Answer {
    let path = format!("/api/v1/namespaces/{NAME}/pods/{replica}:8080/proxy/{path}");
    cluster().insist("GET", &path, &Value::Null)
}

/// Takes away what a killed run left; what is younger than an hour may be of a run beside this one.
fn sweep() {
    use super::namespace::{CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, LABEL};
    let hour_ago = SystemTime::now() - Duration::from_hours(1);
    let hour_ago = humantime::format_rfc3339_seconds(hour_ago).to_string();
    for path in [
        "/api/v1/namespaces",
        CLUSTER_ROLES,
        CLUSTER_ROLE_BINDINGS,
        "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations",
    ] {
        let left = cluster().get(&format!("{path}?labelSelector={LABEL}"));
        for object in left["items"].as_array().into_iter().flatten() {
            let metadata = &object["metadata"];
            if metadata["creationTimestamp"].as_str() < Some(&hour_ago) {
                let name = metadata["name"].as_str().unwrap();
                let _ = cluster().call("DELETE", &format!("{path}/{name}"), &Value::Null);
            }
        }
    }
}

/// Why podkey does not get ready.
fn story() -> String {
    let mut story = String::new();
    for what in ["pods", "events"] {
        let answer = cluster().call("GET", &format!("/api/v1/namespaces/{NAME}/{what}"), &Value::Null);
        for object in answer.json()["items"].as_array().into_iter().flatten() {
            let shown = if what == "pods" {
                &object["status"]
            } else {
                &object["message"]
            };
            story += &format!("{what}: {}: {shown}\n", object["metadata"]["name"]);
        }
    }
    story
}
