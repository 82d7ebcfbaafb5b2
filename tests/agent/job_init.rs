//! What `init` leaves for the runner's job hooks: the agent, the wrappers, the plan, and the outcome.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use crate::deliver::{bao, kubeconfig};
use crate::job_pod::Pod;
use crate::support::agent::Agent;
use crate::support::fake_vault::{FakeVault, json as answer, logged_in, secret_body};

fn mode(pod: &Pod, path: &str) -> u32 {
    fs::metadata(pod.path(path)).unwrap().permissions().mode() & 0o7777
}

fn outcome(pod: &Pod) -> Value {
    serde_json::from_str(&pod.text("podkey/bin/outcome.json")).unwrap()
}

#[test]
fn the_hooks_find_the_agent_two_scripts_the_plan_and_the_outcome() {
    let bao = bao();
    bao.write(
        "arc-runners/data/job-env",
        &json!({"data": {"TOKEN": "canary-token-1"}}),
    );
    let pod = Pod::new(Agent::for_bao(bao))
        .file(kubeconfig())
        .env("arc-runners/data/job-env", "TOKEN", "API_TOKEN")
        .canary("canary-token-1");
    pod.init().expect(0, &["delivered 1 file and 1 variable"]);
    for (name, expected) in [
        ("podkey-agent", 0o555),
        ("job-started.sh", 0o555),
        ("job-completed.sh", 0o555),
        ("plan.json", 0o444),
        ("outcome.json", 0o444),
    ] {
        assert_eq!(mode(&pod, &format!("podkey/bin/{name}")), expected, "{name}");
    }
    assert_eq!(
        fs::read(pod.path("podkey/bin/podkey-agent")).unwrap(),
        fs::read(crate::support::program("podkey-agent")).unwrap()
    );
    for script in ["job-started.sh", "job-completed.sh"] {
        let checked = Command::new("/bin/sh")
            .arg("-n")
            .arg(pod.path("podkey/bin").join(script))
            .status();
        assert!(checked.unwrap().success(), "{script}");
    }
    assert_eq!(pod.agent.delivered("files/env/API_TOKEN"), b"canary-token-1");
    assert_eq!(pod.agent.mode("files/env/API_TOKEN"), 0o400);
    let outcome = outcome(&pod);
    assert_eq!(
        outcome["delivered"]["delivered"],
        json!([
            {"file": "/tmp/kubeconfig", "secret": "arc-runners/data/kubeconfig/rancher-cluster", "version": 1},
            {"env": "API_TOKEN", "secret": "arc-runners/data/job-env", "version": 1},
        ])
    );
    assert!(outcome["delivered"]["accessor"].as_str().unwrap().len() > 8);
    for name in ["plan.json", "outcome.json"] {
        assert!(!pod.text(&format!("podkey/bin/{name}")).contains("canary"), "{name}");
    }
}

#[test]
fn a_failure_is_left_to_the_job_and_no_secret_with_it() {
    let bao = bao();
    bao.write("arc-runners/data/there", &json!({"data": {"a": "canary-there"}}));
    let file =
        |path: &str, file: &str| json!({"secret": path, "key": "a", "format": "raw", "file": file, "mode": "0400"});
    let pod = |path: &str| {
        Pod::new(Agent::for_bao(bao))
            .file(file("arc-runners/data/there", "/tmp/a"))
            .file(file("arc-runners/data/there", "dir/a"))
            .file(file(path, "/tmp/b"))
            .entry("/job/files", json!({"secret": "ci/data/{repository}/x", "key": "a", "format": "raw", "file": "/tmp/own", "mode": "0400"}))
            .with("/job/login", json!({"mount": "github", "role": "ci"}))
            .env("arc-runners/data/there", "a", "A")
            .canary("canary-there")
    };
    let good = pod("arc-runners/data/there");
    good.init().expect(0, &["delivered 3 files"]);
    assert_eq!(
        (good.agent.delivered("single/3"), good.agent.mode("single/3")),
        (Vec::new(), 0)
    );
    // The next run of the same pod finds what the first one left.
    let failed = good.with("/files/2/secret", json!("arc-runners/data/gone"));
    let run = failed.init();
    run.expect(
        0,
        &[
            "left to the job hook",
            "podkey 66 stage=read connection=main",
            "arc-runners/data/gone",
        ],
    );
    assert_eq!(failed.agent.all_files(), ["single/0", "single/2", "single/3"]);
    for place in ["single/0", "single/2", "single/3"] {
        assert_eq!(
            (failed.agent.delivered(place), failed.agent.mode(place)),
            (Vec::new(), 0),
            "{place}"
        );
    }
    let outcome = &outcome(&failed)["failed"];
    assert_eq!((&outcome["code"], &outcome["stage"]), (&json!(66), &json!("read")));
    assert!(fs::metadata(failed.path("podkey/bin/job-started.sh")).is_ok());
}

#[test]
fn with_on_failure_fail_pod_the_pod_fails() {
    let pod = Pod::new(Agent::for_bao(bao()))
        .file(kubeconfig())
        .with("/job/onFailure", json!("fail-pod"))
        .with("/login/role", json!("nope"));
    pod.init().expect(77, &["nope"]);
    assert!(!pod.path("podkey/bin/outcome.json").exists());
}

#[test]
fn the_outcome_of_an_earlier_run_is_removed_before_the_next_run_writes() {
    let fake = FakeVault::plain(logged_in(|_, _| answer(200, &secret_body(r#"{"a":"1"}"#))));
    let pod = Pod::new(Agent::for_fake(&fake));
    pod.init().expect(0, &[]);
    // A directory in the place of a file stops the second run in the middle of writing.
    fs::remove_file(pod.path("podkey/bin/plan.json")).unwrap();
    fs::create_dir(pod.path("podkey/bin/plan.json")).unwrap();
    pod.init()
        .expect(73, &["plan.json", "could not be left to the job hook"])
        .stage("write");
    assert!(!pod.path("podkey/bin/outcome.json").exists());
}

#[test]
fn a_file_that_cannot_be_emptied_fails_the_pod() {
    let fake = FakeVault::plain(logged_in(|_, _| answer(404, r#"{"errors":[]}"#)));
    let pod = Pod::new(Agent::for_fake(&fake)).with("/files/0/file", json!("/tmp/a"));
    fs::create_dir_all(pod.agent.volume().join("single/0")).unwrap();
    pod.init()
        .expect(73, &["could not be left to the job hook", "is a directory"]);
    assert!(!pod.path("podkey/bin/outcome.json").exists());
}

#[test]
fn secrets_without_an_outcome_do_not_stay_in_a_pod_that_fails() {
    let fake = FakeVault::plain(logged_in(|_, _| answer(200, &secret_body(r#"{"a":"canary-of-a"}"#))));
    let mut pod = Pod::new(Agent::for_fake(&fake))
        .with("/job/onFailure", json!("fail-pod"))
        .with("/files/0/file", json!("/tmp/a"))
        .env("kv/data/web", "a", "A");
    let folder = pod.path("podkey/bin");
    fs::create_dir_all(&folder).unwrap();
    // Room for the agent, the hooks and the plan, and not for one file more.
    let mount = format!(
        "mount -t tmpfs -o nr_inodes=5 tmpfs {} && exec \"$@\"",
        folder.display()
    );
    let mut words: Vec<PathBuf> = ["unshare", "-m", "sh", "-c", &mount, "sh"].map(PathBuf::from).into();
    let tried = Command::new(&words[0]).args(&words[1..]).arg("true").output();
    if !tried.is_ok_and(|output| output.status.success()) {
        return; // This machine does not let us mount.
    }
    words.push(crate::support::program("podkey-agent"));
    pod.agent = pod.agent.program(&words);
    pod.init().expect(73, &["outcome.json", "No space left"]);
    for file in pod.agent.all_files() {
        assert!(pod.agent.delivered(&file).is_empty(), "{file}");
    }
    assert!(!pod.agent.volume().join("files/env/A").exists());
}

#[test]
fn a_signal_fails_the_pod_whatever_on_failure_says() {
    let fake = FakeVault::plain(logged_in(|_, _| crate::process::stuck()));
    let pod = Pod::new(Agent::for_fake(&fake).budget("1m"));
    let child = pod.agent.spawn();
    crate::process::wait_for(|| fake.requests().len() == 2);
    crate::process::send("-TERM", &child);
    pod.agent
        .check(child.wait_with_output().unwrap(), std::time::Duration::ZERO)
        .expect(143, &[]);
    assert!(!pod.path("podkey/bin/outcome.json").exists());
}

#[test]
fn two_entries_for_one_variable_are_refused() {
    let fake = FakeVault::plain(logged_in(|_, _| answer(200, &secret_body(r#"{"a-b":"1","ab":"2"}"#))));
    let pod = Pod::new(Agent::for_fake(&fake))
        .with("/files", json!([]))
        .with("/job/onFailure", json!("fail-pod"));
    let whole = |pod: Pod| {
        pod.entry(
            "/env",
            json!({"secret": "kv/data/web", "select": {"upperCase": {"prefix": ""}}}),
        )
    };
    whole(pod)
        .init()
        .expect(65, &["the variable AB would be made twice", "kv/data/web"])
        .stage("render");
}

#[test]
fn without_job_hooks_the_variables_are_files_for_the_containers() {
    let fake = FakeVault::plain(logged_in(|_, _| {
        answer(200, &secret_body(r#"{"a":"1","o":{"b":[1,2.50]}}"#))
    }));
    let mut pod = Pod::new(Agent::for_fake(&fake))
        .env("kv/data/web", "o", "O")
        .env("kv/data/web", "a", "A")
        .with("/envMode", json!("0444"));
    pod.agent.plan.as_object_mut().unwrap().remove("job");
    pod.init().expect(0, &["delivered 1 file and 2 variables"]);
    assert_eq!(pod.agent.delivered("files/env/O"), br#"{"b":[1,2.50]}"#);
    assert_eq!(pod.agent.mode("files/env/A"), 0o444);
    assert!(!pod.path("podkey/bin").exists());
    // One read for all of them.
    assert_eq!(fake.requests().len(), 3);
}
