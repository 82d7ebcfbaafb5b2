//! Which pods reach the webhook. Its metrics count them, so no other test may run at the same time.

use serde_json::json;

use crate::harness::api::cluster;
use crate::harness::install::{admin, replicas};
use crate::harness::namespace::Namespace;
use crate::harness::openbao::Vault;
use crate::harness::pod::{init_containers, pod};
use crate::harness::{LIMIT, wait};

/// Reviews that all replicas together have answered.
fn reviews() -> u64 {
    let count = |replica: &String| {
        let metrics = admin(replica, "metrics").text;
        let lines = metrics
            .lines()
            .filter(|line| line.starts_with("podkey_admissions_total{"));
        lines
            .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
            .sum::<u64>()
    };
    replicas().iter().map(count).sum()
}

#[test]
fn only_annotated_pods_ever_reach_the_webhook() {
    let namespace = Namespace::new("reach");
    let vault = Vault::new(&namespace);
    let files = json!([{"secret": "web", "key": "password", "file": "password"}]);
    let annotated = vault.annotate(pod("app", "true"), &files);
    // The node may not know the way to replicas that have only just become ready.
    let admitted = || {
        namespace
            .try_create_as(cluster(), &annotated, "?dryRun=All")
            .is_success()
    };
    wait(LIMIT, || admitted().then_some(())).expect("the webhook answers");
    let before = reviews();
    for number in 0..100 {
        let mut other = pod(&format!("other-{number}"), "true");
        // Other people's annotations and labels, some of them much like ours.
        other["metadata"]["annotations"] = json!({"vault.hashicorp.com/agent-inject": "false", "podkey.dev": "x"});
        other["metadata"]["labels"] = json!({"actions-ephemeral-runner": "True", "podkey.dev/files": "x"});
        // Admission is all that counts here, and a dry run goes through it whole.
        let answer = namespace.try_create_as(cluster(), &other, "?dryRun=All");
        assert!(answer.is_success(), "{}", answer.text);
        assert!(init_containers(&answer.json()).is_empty());
    }
    assert_eq!(reviews() - before, 0, "of 100 pods without our annotations");
    for _ in 0..3 {
        let answer = namespace.try_create_as(cluster(), &annotated, "?dryRun=All");
        assert_eq!(init_containers(&answer.json()), ["podkey-init"], "{}", answer.text);
    }
    let reviews = reviews() - before;
    println!(
        "of 100 pods without our annotations 0 reached the webhook; 3 pods with them were reviewed {reviews} times"
    );
    // Twice each where the API server mounts its own token into podkey-init, and then asks whether we still agree.
    assert!((3..=6).contains(&reviews), "{reviews} reviews of 3 pods");
}
