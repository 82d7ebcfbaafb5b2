//! `podkey.dev/job-temp`: copies of a job's files where a job in a container sees them.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

use serde_json::json;

use crate::job_pod::Pod;
use crate::support::agent::Agent;
use crate::support::fake_vault::{FakeVault, json as answer, logged_in, secret_body};

fn fake() -> FakeVault {
    FakeVault::plain(logged_in(|_, _| answer(200, &secret_body(r#"{"a":"canary-of-a"}"#))))
}

fn pod(fake: &FakeVault) -> Pod {
    Pod::new(Agent::for_fake(fake))
        .with("/files/0/file", json!("/tmp/kubeconfig"))
        .with("/files/0/mode", json!("0400"))
        .file(json!({"secret": "kv/data/web", "key": "a", "format": "raw", "file": "d/b", "mode": "0444"}))
        .with("/job/temp", json!({"KUBECONFIG": "/tmp/kubeconfig"}))
        .canary("canary-of-")
        .ready()
}

fn temp(pod: &Pod) -> PathBuf {
    PathBuf::from(&pod.runner.env["RUNNER_TEMP"])
}

#[test]
fn each_file_has_a_copy_that_its_variable_names_until_the_job_ends() {
    let mut pod = pod(&fake());
    let step = pod.started();
    step.succeeds();
    let copy = temp(&pod).join("podkey/tmp/kubeconfig");
    assert_eq!(step.variable("KUBECONFIG"), copy.to_str());
    assert_eq!(step.env.as_ref().unwrap().len(), 1);
    // A step in a container has another name for it, and finds the same file there.
    let inside = pod.runner.in_container("KUBECONFIG").unwrap();
    assert_eq!(inside, "/__w/_temp/podkey/tmp/kubeconfig");
    assert_eq!(pod.runner.outside_container(&inside).as_ref(), Some(&copy));
    for (copy, mode) in [
        (copy.clone(), 0o600),
        (temp(&pod).join("podkey/podkey/secrets/d/b"), 0o644),
    ] {
        assert_eq!(fs::read(&copy).unwrap(), b"canary-of-a");
        assert_eq!(
            fs::metadata(&copy).unwrap().permissions().mode() & 0o7777,
            mode,
            "{}",
            copy.display()
        );
    }
    // What a container sees is the same file by another name; the job may change it.
    fs::write(&copy, "changed").unwrap();
    assert_eq!(pod.completed().code, 0);
    assert!(!copy.exists() && !temp(&pod).join("podkey/podkey/secrets/d/b").exists());
}

#[test]
fn a_job_that_fails_leaves_no_copy() {
    let mut pod = pod(&fake());
    pod.runner.set("GITHUB_STEP_SUMMARY", "/nonexistent");
    let leftover = temp(&pod).join("podkey/tmp");
    fs::create_dir_all(&leftover).unwrap();
    fs::write(leftover.join("kubeconfig"), "canary-of-b").unwrap();
    pod.runner.pull_request("pull_request", Some((2, "evil/octo-repo")));
    pod.started().fails(&["podkey 77"]);
    assert!(!leftover.join("kubeconfig").exists());
}

#[test]
fn the_completed_hook_removes_the_copies_also_without_a_plan() {
    let mut pod = pod(&fake());
    pod.started().succeeds();
    assert!(temp(&pod).join("podkey/tmp/kubeconfig").exists());
    fs::remove_file(pod.path("podkey/bin/plan.json")).unwrap();
    assert_eq!(pod.completed().code, 0);
    assert_eq!(fs::read_dir(temp(&pod).join("podkey")).unwrap().count(), 0);
}

#[test]
fn a_job_fails_if_its_files_cannot_be_copied() {
    for place in ["", "relative", "/nonexistent"] {
        let mut pod = pod(&fake());
        pod.runner.set("RUNNER_TEMP", place);
        pod.started().fails(&["podkey 73 stage=write"]);
        assert_eq!(pod.left(), [""; 0]);
    }
    let mut pod = pod(&fake());
    let elsewhere = tempfile::tempdir().unwrap();
    symlink(elsewhere.path(), temp(&pod).join("podkey")).unwrap();
    pod.started().fails(&["podkey 73", "symbolic link"]);
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0);
}

#[test]
fn a_skipped_file_has_no_copy_and_its_variable_stays() {
    let fake = FakeVault::plain(logged_in(|request, _| match request.target.contains("gone") {
        true => answer(404, r#"{"errors":[]}"#),
        false => answer(200, &secret_body(r#"{"a":"canary-of-a"}"#)),
    }));
    let mut pod = Pod::new(Agent::for_fake(&fake))
        .with("/ignoreNotFound", json!(true))
        .with("/files/0/file", json!("/tmp/kubeconfig"))
        .with("/files/0/secret", json!("kv/data/gone"))
        .with("/job/temp", json!({"KUBECONFIG": "/tmp/kubeconfig"}))
        .ready();
    let step = pod.started();
    step.succeeds();
    assert_eq!(step.variable("KUBECONFIG"), None);
    assert!(!temp(&pod).join("podkey").exists());
}
