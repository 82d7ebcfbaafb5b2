//! Parts of a cluster fail while pods are created and start: no pod is lost, and everything recovers without help. No other
//! test may run at the same time.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::api::cluster;
use crate::harness::churn::{Churn, Outcome};
use crate::harness::control::control;
use crate::harness::install::{self, NAME};
use crate::harness::namespace::Namespace;
use crate::harness::openbao::Vault;
use crate::harness::pod::{Pod, init_containers, pod, status};
use crate::harness::{LIMIT, wait};

const SECRET: &str = "s3cret";

/// Pods that print the secret that they ask for, and end.
struct Apps<'a> {
    namespace: &'a Namespace,
    vault: Vault<'a>,
}

impl<'a> Apps<'a> {
    fn new(namespace: &'a Namespace) -> Self {
        let vault = Vault::new(namespace);
        vault.put("web", &json!({"password": SECRET}));
        Self { namespace, vault }
    }

    fn pod(&self, name: &str) -> Value {
        let files = json!([{"secret": "web", "key": "password", "file": "password"}]);
        self.vault.annotate(pod(name, "cat /podkey/secrets/password"), &files)
    }

    #[track_caller]
    fn start(&self, name: &str, count: usize) -> Vec<Pod<'a>> {
        let names = (0..count).map(|number| format!("{name}-{number}"));
        names.map(|name| self.namespace.create(&self.pod(&name))).collect()
    }

    /// Whether the API server would admit an injected pod now, and why not.
    fn admitted(&self) -> Result<(), String> {
        let pod = self.pod("asked");
        let pod = crate::harness::merge(json!({"apiVersion": "v1", "kind": "Pod"}), &pod);
        let path = self.namespace.path("pods?dryRun=All");
        let answer = cluster().try_call("POST", &path, &pod)?;
        if !answer.is_success() {
            return Err(answer.message());
        }
        assert_eq!(
            init_containers(&answer.json()),
            ["podkey-init"],
            "admitted without podkey-init"
        );
        Ok(())
    }
}

/// Every pod got its secret, and podkey-init ran once in each: it waited where that was necessary.
#[track_caller]
fn all_succeed(pods: &[Pod<'_>]) {
    for pod in pods {
        assert_eq!(pod.succeeds(), SECRET, "{}", pod.name);
        let object = pod.object();
        assert_eq!(status(&object, "podkey-init")["restartCount"], 0, "{}", pod.story());
    }
}

fn webhook_configuration() -> String {
    format!("/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/{NAME}")
}

/// Starts both replicas again, however the test ends.
struct ScaledToNone;

impl Drop for ScaledToNone {
    fn drop(&mut self) {
        install::scale(2);
    }
}

#[test]
fn while_the_webhook_is_away_only_pods_that_ask_for_secrets_are_refused_and_it_is_back_by_itself() {
    let namespace = Namespace::new("away");
    let apps = Apps::new(&namespace);
    let away = ScaledToNone;
    install::scale(0);

    let refused = namespace.try_create(&apps.pod("app"));
    println!("the webhook is away: {} {}", refused.status, refused.message());
    // A controller comes again after a 500; a client sees who refused, and why.
    assert_eq!(refused.status, 500, "{}", refused.text);
    let message = refused.message();
    let service = format!("https://{NAME}.{NAME}.svc");
    assert!(
        message.contains("failed calling webhook \"pods.podkey.dev\"") && message.contains(&service),
        "{message}"
    );
    assert_eq!(namespace.create(&pod("other", "echo here")).succeeds(), "here\n");

    // What makes pods goes on trying.
    let labels = json!({"app": "web"});
    let app = apps.pod("web");
    let mut container = app["spec"]["containers"][0].clone();
    container["command"] = json!([
        "sh",
        "-c",
        "cat /podkey/secrets/password; trap 'exit 0' TERM; while :; do sleep 1; done"
    ]);
    let sets = namespace.group_path("apps/v1", "replicasets");
    cluster().create(
        &sets,
        &json!({
            "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "web"},
            "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": {
                "metadata": {"labels": labels, "annotations": app["metadata"]["annotations"]},
                "spec": {"terminationGracePeriodSeconds": 1, "containers": [container]},
            }},
        }),
    );
    let told = wait(LIMIT, || {
        let events = namespace.events();
        events
            .into_iter()
            .find(|event| event.starts_with("ReplicaSet web: FailedCreate") && event.contains("pods.podkey.dev"))
    });
    println!("its owner's event: {}", told.expect("an event"));

    drop(away);
    let back = Instant::now();
    wait(LIMIT, || apps.admitted().ok()).expect("pods are admitted again");
    wait(LIMIT, || {
        (cluster().get(&format!("{sets}/web"))["status"]["readyReplicas"] == 1).then_some(())
    })
    .unwrap_or_else(|| panic!("{:#?}", namespace.events()));
    println!("the ReplicaSet's pod runs {:.1} s later", back.elapsed().as_secs_f64());
}

#[test]
fn a_rolling_restart_under_20_pods_a_second_loses_none() {
    let namespace = Namespace::new("rolling");
    let churn = Churn::start(&namespace, &Apps::new(&namespace).pod("app"), 20);
    let mut restarts = 0;
    while churn.now() < Duration::from_secs(60) {
        install::restart();
        restarts += 1;
    }
    let took = churn.now().as_secs_f64();
    let attempts = churn.stop();
    let mut times: Vec<_> = attempts.iter().map(|attempt| attempt.took).collect();
    times.sort_unstable();
    let lost: Vec<_> = attempts
        .iter()
        .filter(|attempt| attempt.outcome != Outcome::Injected)
        .collect();
    println!(
        "{} dry-run creations in {took:.1} s ({:.1} a second) while both replicas were replaced {restarts} times: {} failed; \
         p50 {:?}, slowest {:?}",
        attempts.len(),
        attempts.len() as f64 / took,
        lost.len(),
        times[times.len() / 2],
        times[times.len() - 1],
    );
    assert!(lost.is_empty(), "{} are lost: {lost:#?}", lost.len());
}

#[test]
fn pods_survive_a_restart_of_the_api_server() {
    let Some(control) = control("the API server restarted") else {
        return;
    };
    let namespace = Namespace::new("api-server");
    let apps = Apps::new(&namespace);
    let restarts = || {
        let pods = install::pods();
        pods.iter()
            .map(|pod| status(pod, NAME)["restartCount"].clone())
            .collect::<Vec<_>>()
    };
    let replicas = install::replicas();
    let before = restarts();
    let starting = apps.start("before", 3);
    control.restart("kube-apiserver");
    // The very first request: the API server knows its webhooks before it is ready.
    let first = apps.start("after", 2);
    all_succeed(&starting);
    all_succeed(&first);
    assert_eq!(install::replicas(), replicas);
    assert_eq!(restarts(), before);
}

#[test]
fn pods_survive_a_restart_of_the_kubelet() {
    let Some(control) = control("the kubelet restarted") else {
        return;
    };
    let namespace = Namespace::new("kubelet");
    let apps = Apps::new(&namespace);
    // A kubelet that starts must not take the webhook's replicas, which serve on, for dead ones.
    let churn = Churn::start(&namespace, &apps.pod("churn"), 10);
    let starting = apps.start("before", 3);
    let away = control.stop("kubelet");
    let meanwhile = apps.start("meanwhile", 2);
    drop(away);
    let after = apps.start("after", 2);
    for pods in [meanwhile, after] {
        all_succeed(&pods);
    }
    // A kubelet that stops while a sandbox or an init container is being made makes both again later. podkey-init has not failed then.
    for pod in &starting {
        assert_eq!(pod.succeeds(), SECRET, "{}", pod.name);
        let object = pod.object();
        let init = status(&object, "podkey-init");
        let ended = &init["lastState"]["terminated"];
        let is_killed = ended["exitCode"] == 137 && ended["reason"] != "OOMKilled";
        let is_fine = ended.is_null() || ended["exitCode"] == 0 || is_killed;
        assert!(is_fine && init["restartCount"].as_u64() <= Some(1), "{}", pod.story());
    }
    let attempts = churn.stop();
    let lost: Vec<_> = attempts
        .iter()
        .filter(|attempt| attempt.outcome != Outcome::Injected)
        .collect();
    println!("{} dry-run creations meanwhile: {} failed", attempts.len(), lost.len());
    assert!(lost.is_empty(), "{lost:#?}");
}

#[test]
fn pods_wait_for_openbao_restarted_sealed_for_20_seconds_and_down_for_60() {
    let Some(control) = control("OpenBao restarted, sealed and down") else {
        return;
    };
    let namespace = Namespace::new("openbao");
    let apps = Apps::new(&namespace);

    let restarted = apps.start("restarted", 3);
    control.restart("openbao");
    all_succeed(&restarted);

    let unsealed = control.seal_openbao();
    let while_sealed = apps.start("sealed", 3);
    std::thread::sleep(Duration::from_secs(20));
    drop(unsealed);
    all_succeed(&while_sealed);

    let up = control.stop("openbao");
    let down = Instant::now();
    let while_down = apps.start("down", 3);
    // What waits in a pod must not be started anew by a kubelet that starts anew.
    wait(LIMIT, || {
        let running = |pod: &Pod<'_>| status(&pod.object(), "podkey-init")["state"]["running"].is_object();
        while_down.iter().all(running).then_some(())
    })
    .expect("podkey-init runs");
    control.restart("kubelet");
    std::thread::sleep(Duration::from_secs(60).saturating_sub(down.elapsed()));
    drop(up);
    let back = Instant::now();
    all_succeed(&while_down);
    println!(
        "3 pods succeeded within {:.1} s of OpenBao's return",
        back.elapsed().as_secs_f64()
    );
}

#[test]
fn a_blanked_ca_bundle_and_a_deleted_secret_are_put_right() {
    let namespace = Namespace::new("heal");
    let apps = Apps::new(&namespace);
    let secret = format!("/api/v1/namespaces/{NAME}/secrets/{NAME}-ca");
    let bundle = || cluster().get(&webhook_configuration())["webhooks"][0]["clientConfig"]["caBundle"].clone();
    let good = bundle();
    assert!(good.as_str().is_some_and(|bundle| !bundle.is_empty()), "{good}");

    // While the Secret is away, the certificates in memory go on serving.
    cluster().delete(&secret);
    let gone = Instant::now();
    wait(LIMIT, || {
        apps.admitted()
            .unwrap_or_else(|error| panic!("without the Secret: {error}"));
        let found = cluster().call("GET", &secret, &Value::Null).json();
        found["data"].is_object().then_some(())
    })
    .expect("the Secret is back");
    println!("a deleted Secret: back after {:.1} s", gone.elapsed().as_secs_f64());

    let mut blanked = cluster().get(&webhook_configuration());
    blanked["webhooks"][0]["clientConfig"]["caBundle"] = Value::Null;
    cluster().insist("PUT", &webhook_configuration(), &blanked);
    let gone = Instant::now();
    wait(LIMIT, || (bundle() == good).then_some(())).unwrap_or_else(|| panic!("{good} became {}", bundle()));
    wait(LIMIT, || apps.admitted().ok()).expect("pods are admitted again");
    println!(
        "a blanked caBundle: pods are admitted again after {:.1} s",
        gone.elapsed().as_secs_f64()
    );
}
