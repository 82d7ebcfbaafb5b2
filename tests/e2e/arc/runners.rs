//! Runners from their creation to their end.

use std::time::Instant;

use serde_json::json;

use super::scale_set::{STEP, ScaleSet};
use crate::harness::pod::{init_containers, status};
use crate::harness::{LIMIT, merge, wait};

#[test]
fn ten_runners_have_their_secrets_do_one_job_each_and_are_gone() {
    let Some(set) = ScaleSet::new("ten runners") else {
        return;
    };
    let vault = set.vault();
    set.install(&set.annotations(&vault), &json!({}));
    set.queue(10, STEP);
    let (jobs, pods) = set.delivers();
    assert_eq!(jobs.len(), 10);
    let runners: std::collections::BTreeSet<_> = jobs.iter().map(|job| job["runner"].as_str().unwrap()).collect();
    assert_eq!(runners.len(), 10, "a runner did two jobs: {runners:?}");
    for pod in pods.values() {
        assert_eq!(init_containers(pod), ["podkey-init"], "{pod}");
    }
    let left = set.empties();
    println!(
        "{} pods for 10 jobs; runners are gone {left:.1?} after the last job",
        pods.len()
    );
    wait(LIMIT, || (vault.tokens() == 0).then_some(())).expect("no token is left");
}

#[test]
fn with_refresh_the_runner_ends_as_soon_as_its_job_and_no_token_is_left() {
    let Some(set) = ScaleSet::new("refresh") else { return };
    let vault = set.vault();
    let annotations = merge(set.annotations(&vault), &json!({"podkey.dev/refresh": "15s"}));
    set.install(&annotations, &json!({}));
    set.queue(1, STEP);
    let (_, pods) = set.delivers();
    let left = set.empties();
    println!("with refresh: the runner is gone {left:.1?} after its job");
    let pod = pods.values().next().unwrap();
    assert!(init_containers(pod).contains(&"podkey-sidecar"), "{pod}");
    wait(LIMIT, || (vault.tokens() == 0).then_some(())).expect("no token is left");
}

/// The default in runner pods.
#[test]
fn a_refused_login_fails_the_job_says_why_and_the_runner_ends() {
    let Some(set) = ScaleSet::new("a refused login, fail-job") else {
        return;
    };
    let vault = set.vault();
    let annotations = merge(set.annotations(&vault), &json!({"podkey.dev/role": "absent"}));
    set.install(&annotations, &json!({}));
    set.queue(1, STEP);
    let (jobs, _) = set.finish();
    let log = jobs[0]["log"].as_str().unwrap();
    assert_eq!(jobs[0]["result"], "failed", "{log}");
    assert!(
        log.contains("::error ") && log.contains("the role absent does not exist"),
        "{log}"
    );
    assert!(!log.contains("delivered"), "{log}");
    println!("the runner is gone {:.1?} after its job", set.empties());
}

/// Why `fail-pod` is not for ARC.
#[test]
fn a_refused_login_with_fail_pod_leaves_the_job_waiting() {
    let Some(set) = ScaleSet::new("a refused login, fail-pod") else {
        return;
    };
    let vault = set.vault();
    let fails = json!({"podkey.dev/role": "late", "podkey.dev/on-failure": "fail-pod"});
    set.install(&merge(set.annotations(&vault), &fails), &json!({}));
    set.queue(1, STEP);
    let failed = set.pod("failed by podkey-init", |pod| {
        status(pod, "podkey-init")["state"]["terminated"]["exitCode"] == 77
    });
    let begun = Instant::now();
    assert_eq!(set.github.jobs()[0]["state"], "queued");
    println!(
        "fail-pod: EphemeralRunner {:?}, events {:#?}",
        set.told(),
        set.namespace.events()
    );
    set.role(&vault, "late");
    // Up to 0.13.0 ARC does nothing about such a pod. Later versions make another one.
    if set.is_older_than(0, 13, 1) {
        let failed = set.namespace.pod(failed["metadata"]["name"].as_str().unwrap());
        failed.until("failed", |pod| pod["status"]["phase"] == "Failed");
        std::thread::sleep(std::time::Duration::from_secs(6));
        let now = set.pods();
        assert_eq!(now.len(), 1, "{now:?}");
        assert_eq!(now[0]["status"]["phase"], "Failed", "{}", now[0]["status"]);
        println!("6 s after the role was mended the pod is still there, Failed: it is deleted by hand");
        failed.delete();
    }
    set.delivers();
    println!("the job is done {:.1?} after the role was mended", begun.elapsed());
}
