//! podkey is installed, upgraded and removed while pods are created: no pod is blocked, no pod is injected in part, and no
//! object is left.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::api::cluster;
use crate::harness::churn::{Attempt, Churn, Outcome};
use crate::harness::install::{self, OTHER_RELEASE, helm};
use crate::harness::namespace::{CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, Namespace};
use crate::harness::openbao::Vault;
use crate::harness::pod::{pod, status};
use crate::harness::{LIMIT, merge, wait};

const SHOW: &str = "cat /podkey/secrets/password";
const FOREVER: &str = "trap 'exit 0' TERM; while :; do sleep 1; done";

/// Every object of any kind, but for events, that is in the namespace of this name, or has the name in its own name or in a
/// label.
pub fn inventory(name: &str) -> BTreeSet<String> {
    let groups = cluster().get("/apis");
    let versions = groups["groups"].as_array().into_iter().flatten();
    let versions =
        versions.map(|group| format!("/apis/{}", group["preferredVersion"]["groupVersion"].as_str().unwrap()));
    let mut found = BTreeSet::new();
    for version in versions.chain(["/api/v1".to_owned()]) {
        let resources = cluster().get(&version);
        for resource in resources["resources"].as_array().into_iter().flatten() {
            let kind = resource["name"].as_str().unwrap();
            let lists = resource["verbs"]
                .as_array()
                .is_some_and(|verbs| verbs.contains(&json!("list")));
            if !lists || kind == "events" || kind.contains('/') {
                continue;
            }
            let objects = cluster().get(&format!("{version}/{kind}"));
            for object in objects["items"].as_array().into_iter().flatten() {
                let metadata = &object["metadata"];
                let own = metadata["name"].as_str().unwrap_or_default();
                let labels = metadata["labels"].as_object().into_iter().flatten();
                let mut labels = labels.filter(|(key, _)| *key != OTHER_RELEASE);
                // Those of the tests themselves begin like podkey's.
                let is = metadata["namespace"] == name
                    || own.contains(name) && !own.starts_with("podkey-e2e")
                    || labels.any(|(_, value)| value == name);
                if is {
                    let namespace = metadata["namespace"].as_str().unwrap_or("-");
                    found.insert(format!("{version}/{kind} {namespace} {own}"));
                }
            }
        }
    }
    found
}

/// Waits until there are as many objects as before.
#[track_caller]
pub fn nothing_left(name: &str, before: &BTreeSet<String>) {
    let mut left = Vec::new();
    wait(LIMIT, || {
        left = inventory(name).difference(before).cloned().collect();
        left.is_empty().then_some(())
    })
    .unwrap_or_else(|| panic!("left behind: {left:#?}"));
    let missing: Vec<_> = before.difference(&inventory(name)).cloned().collect();
    assert!(missing.is_empty(), "taken away from others: {missing:#?}");
}

/// The outcomes in a part of the time, printed and counted.
fn between<'a>(what: &str, attempts: &'a [Attempt], from: Duration, to: Duration) -> Vec<&'a Outcome> {
    let part = attempts
        .iter()
        .filter(|attempt| attempt.at >= from && attempt.at + attempt.took <= to);
    let part: Vec<_> = part.map(|attempt| &attempt.outcome).collect();
    let count = |is: fn(&Outcome) -> bool| part.iter().filter(|outcome| is(outcome)).count();
    println!(
        "{what}: {:.1} s, {} annotated pods: {} injected, {} refused, {} without podkey, {} half-way",
        (to.saturating_sub(from)).as_secs_f64(),
        part.len(),
        count(|outcome| *outcome == Outcome::Injected),
        count(|outcome| matches!(outcome, Outcome::Refused(_))),
        count(|outcome| *outcome == Outcome::Plain),
        count(|outcome| matches!(outcome, Outcome::HalfWay(_))),
    );
    part
}

#[track_caller]
fn all_are(part: &[&Outcome], is: impl Fn(&Outcome) -> bool) {
    let others: Vec<_> = part.iter().filter(|outcome| !is(outcome)).collect();
    assert!(others.is_empty(), "{} of {}: {others:#?}", others.len(), part.len());
}

/// A namespace for a release of its own, whose objects of the cluster are deleted with it.
pub fn release(topic: &str) -> Namespace {
    let release = Namespace::bare(topic, &json!({}));
    let name = release.name.as_str();
    for (kind, suffix) in [
        (
            "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations",
            "",
        ),
        (
            "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies",
            "-ephemeral-containers",
        ),
        (
            "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings",
            "-ephemeral-containers",
        ),
        (CLUSTER_ROLES, ""),
        (CLUSTER_ROLE_BINDINGS, ""),
    ] {
        release.delete_later(cluster(), format!("{kind}/podkey.{name}{suffix}"));
    }
    release
}

#[test]
fn helm_installs_upgrades_rolls_back_and_uninstalls_while_pods_are_created() {
    install::podkey();
    let release = release("install");
    let name = release.name.as_str();
    let apps = Namespace::labelled("install-apps", &json!({OTHER_RELEASE: name}));
    let vault = Vault::new(&apps);
    vault.put("web", &json!({"password": "s3cret"}));
    let files = json!([{"secret": "web", "key": "password", "file": "password"}]);
    let annotated = |name: &str| vault.annotate(pod(name, SHOW), &files);
    let second = |name: &str| {
        let connection = json!({"metadata": {"annotations": {"podkey.dev/connection": "second"}}});
        merge(annotated(name), &connection)
    };
    let asked = |pod: &Value, status: u16| {
        let mut last = None;
        wait(LIMIT, || {
            let answer = last.insert(apps.try_create_as(cluster(), pod, "?dryRun=All"));
            (answer.status == status).then_some(())
        })
        .unwrap_or_else(|| panic!("{last:?}"));
    };
    let other = apps.create(&pod("other", FOREVER));
    other.running();
    let before = inventory(name);
    let churn = Churn::start(&apps, &annotated("churn"), 8);
    let plain = Churn::start(&apps, &pod("plain", "true"), 8);
    let config = || {
        let path = format!("/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/podkey.{name}");
        cluster().get(&path)["webhooks"][0]["clientConfig"]["caBundle"].clone()
    };
    let authority = || cluster().get(&release.path("secrets/podkey-ca"))["data"].clone();
    let replicas = || cluster().get(&release.group_path("apps/v1", "deployments/podkey"))["spec"]["replicas"].clone();

    let selector = json!({"matchExpressions": null, "matchLabels": {OTHER_RELEASE: name}});
    // The guard refuses annotated pods as long as podkey comes or goes: `guard/release.rs` has that.
    let mut asks = vault.annotations(&files);
    asks["podkey.dev/on-failure"] = json!("fail-pod");
    let ours = json!({
        "guard": {"enabled": false}, "webhook": {"namespaceSelector": selector},
        "test": {"namespace": apps.name, "annotations": asks},
    });
    let values = merge(install::values(), &ours);
    let told = |result: Result<String, String>| result.unwrap_or_else(|error| panic!("helm: {error}"));
    told(install::upgrade(name, name, &values));
    // Helm waits for the replicas, not until each node knows the way to them.
    asked(&annotated("asked"), 201);
    let installed = churn.now();
    assert_eq!(apps.create(&annotated("installed")).succeeds(), "s3cret");
    told(helm(&["test", name, "--namespace", name, "--timeout", "3m"]));
    let refused = apps.try_create(&second("too-early"));
    assert_eq!(refused.status, 400, "{}", refused.text);
    let (ca, bundle) = (authority(), config());
    let keeper = apps.create(&vault.annotate(pod("keeper", FOREVER), &files));
    keeper.running();

    // Another value, and another config.
    let connection = values["config"]["connections"]["default"].clone();
    let changed = merge(
        values,
        &json!({"replicaCount": 3, "config": {"connections": {"second": connection}}}),
    );
    told(install::upgrade(name, name, &changed));
    let upgraded = churn.now();
    // Replicas of before serve on for some seconds those who still know them.
    install::replicas_in(name);
    asked(&second("asked"), 201);
    assert_eq!(apps.create(&second("upgraded")).succeeds(), "s3cret");
    assert_eq!((replicas(), &authority(), &config()), (json!(3), &ca, &bundle));

    told(helm(&[
        "rollback",
        name,
        "1",
        "--namespace",
        name,
        "--wait",
        "--timeout",
        "3m",
    ]));
    let rolled_back = churn.now();
    asked(&second("asked"), 400);
    assert_eq!(apps.create(&annotated("rolled-back")).succeeds(), "s3cret");
    assert_eq!((replicas(), &authority(), &config()), (json!(2), &ca, &bundle));

    let uninstalling = churn.now();
    told(helm(&[
        "uninstall",
        name,
        "--namespace",
        name,
        "--wait",
        "--timeout",
        "3m",
    ]));
    nothing_left(name, &before);
    let gone = churn.now();
    std::thread::sleep(Duration::from_secs(1));
    let (end, churned, plain) = (churn.now(), churn.stop(), plain.stop());

    let while_installing = between("install", &churned, Duration::ZERO, installed);
    all_are(&while_installing, |outcome| !matches!(outcome, Outcome::HalfWay(_)));
    // Of those under way at the same time, one that began later may be the one that was decided sooner.
    let asked = churned.iter().filter(|attempt| attempt.outcome != Outcome::Plain);
    let asked = asked.map(|attempt| attempt.at + attempt.took).min().unwrap();
    all_are(
        &between("since podkey is asked", &churned, asked, installed),
        |outcome| *outcome != Outcome::Plain,
    );
    for (what, from, to) in [
        ("installed, and upgraded", installed, upgraded),
        ("rolled back", upgraded, rolled_back),
        ("as before", rolled_back, uninstalling),
    ] {
        all_are(&between(what, &churned, from, to), |outcome| {
            *outcome == Outcome::Injected
        });
    }
    all_are(&between("uninstall", &churned, uninstalling, gone), |outcome| {
        matches!(outcome, Outcome::Injected | Outcome::Plain)
    });
    all_are(&between("without podkey", &churned, gone, end), |outcome| {
        *outcome == Outcome::Plain
    });
    println!("{} pods without our annotations in that time", plain.len());
    all_are(
        &plain.iter().map(|attempt| &attempt.outcome).collect::<Vec<_>>(),
        |outcome| *outcome == Outcome::Plain,
    );

    // Pods that run keep running, those with a secret too.
    for pod in [&other, &keeper] {
        assert_eq!(status(&pod.running(), "main")["restartCount"], 0);
    }
}
