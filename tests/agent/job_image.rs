//! The agent comes with its image: what `init` leaves then, and pods without `podkey-init`, whose job hooks do all the work.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use crate::deliver::bao;
use crate::job_own;
use crate::job_pod::Pod;
use crate::process::wait_for;
use crate::support::agent::Agent;

#[test]
fn init_leaves_the_plan_and_the_outcome_and_no_agent_where_the_agent_comes_with_its_image() {
    let bao = bao();
    bao.write("arc-runners/data/image", &json!({"data": {"A": "canary-of-image"}}));
    let mut pod = Pod::new(Agent::for_bao(bao))
        .with_image()
        .env("arc-runners/data/image", "A", "API_TOKEN")
        .file(
            json!({"secret": "arc-runners/data/image", "key": "A", "format": "raw", "file": "/tmp/a", "mode": "0400"}),
        )
        .canary("canary-of-image");
    pod.init().expect(0, &["delivered 1 file and 1 variable"]);
    assert!(!pod.path("podkey/bin").exists());
    assert_eq!(
        pod.agent.all_files(),
        [
            "files/env/API_TOKEN",
            "single/0",
            "state/outcome.json",
            "state/plan.json"
        ]
    );
    assert_eq!(pod.agent.mode("state"), 0o755);
    for name in ["state/outcome.json", "state/plan.json"] {
        assert_eq!(pod.agent.mode(name), 0o444, "{name}");
    }
    pod.mount();
    let step = pod.started();
    step.succeeds();
    assert_eq!(step.variable("API_TOKEN"), Some("canary-of-image"));
    assert_eq!(pod.text("tmp/a"), "canary-of-image");
    assert_eq!(pod.completed().code, 0);
    assert!(pod.left().is_empty() && pod.is_closed("tmp/a"));
}

#[test]
fn a_failure_of_init_fails_the_job_where_the_agent_comes_with_its_image() {
    let mut pod = Pod::new(Agent::for_bao(bao()))
        .with_image()
        .file(json!({"secret": "arc-runners/data/gone", "key": "A", "format": "raw", "file": "a", "mode": "0400"}));
    pod.init().expect(0, &["left to the job hook"]);
    pod.mount();
    pod.started().fails(&["podkey 66", "arc-runners/data/gone"]);
}

#[test]
fn a_command_starts_with_its_variables_where_the_agent_comes_with_its_image() {
    let bao = bao();
    bao.write("arc-runners/data/image-exec", &json!({"data": {"A": "canary-of-exec"}}));
    let mut pod = Pod::new(Agent::for_bao(bao))
        .with_image()
        .env("arc-runners/data/image-exec", "A", "API_TOKEN")
        .with("/exec", json!(true));
    pod.agent.plan.as_object_mut().unwrap().remove("job");
    pod.init().expect(0, &[]);
    assert_eq!(pod.agent.all_files(), ["files/env/API_TOKEN", "state/outcome.json"]);
    pod.mount();
    let exec = |pod: &Pod| {
        let mut exec = Command::new(pod.path("podkey/bin/podkey-agent"));
        exec.args(["exec", "--root"]).arg(pod.agent.root());
        exec.args(["--", "sh", "-c", "echo $API_TOKEN"]).output().unwrap()
    };
    assert_eq!(exec(&pod).stdout, b"canary-of-exec\n");
    fs::remove_file(pod.path("podkey/state/outcome.json")).unwrap();
    let output = exec(&pod);
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(64));
    assert!(
        told.contains("/podkey/state/outcome.json: there is no such file"),
        "{told}"
    );
}

/// A pod without `podkey-init`, whose job reads a variable and two files.
fn alone() -> Pod {
    job_own::pod().alone().ready()
}

fn link(pod: &Pod) -> PathBuf {
    fs::read_link(pod.path("tmp/deploy")).unwrap()
}

fn mode(pod: &Pod, path: &str) -> u32 {
    fs::metadata(pod.path(path)).unwrap().permissions().mode() & 0o7777
}

#[test]
fn the_hooks_deliver_without_podkey_init() {
    let before = job_own::bao().tokens();
    let mut pod = alone();
    let step = pod.started();
    step.succeeds();
    assert_eq!(step.variable("DEPLOY_KEY"), Some("canary-of-deploy"));
    assert_eq!(
        pod.text("tmp/deploy"),
        r#"{"KEY":"canary-of-deploy","USER":"canary-of-user"}"#
    );
    assert_eq!(mode(&pod, "tmp/deploy"), 0o400);
    assert_eq!(link(&pod), pod.path("podkey/secrets/.linked/0"));
    assert_eq!(pod.text("podkey/secrets/dir/prod"), "canary-of-prod");
    for value in ["canary-of-deploy", "canary-of-user", "canary-of-prod"] {
        assert_eq!(pod.runner.masked(value), "***");
    }
    assert!(
        !step.log.iter().any(|line| line.contains("podkey-init")),
        "{:?}",
        step.log
    );
    wait_for(|| job_own::bao().tokens() <= before);
    assert_eq!(pod.completed().code, 0);
    assert!(pod.left().is_empty() && pod.is_closed("tmp/deploy"));
}

/// A tool that finds no file would fall back to something else, such as kubectl to the pod's own cluster.
#[test]
fn a_file_without_its_secret_is_closed_without_podkey_init_too() {
    let mut pod = alone();
    pod.runner.unset("ACTIONS_ID_TOKEN_REQUEST_URL");
    pod.started().fails(&["podkey 77 stage=login"]);
    assert!(pod.left().is_empty() && pod.is_closed("tmp/deploy"));
    assert_eq!(link(&pod), pod.path("podkey/secrets/.linked/0"));
}

#[test]
fn what_is_in_the_place_of_a_symlink_is_neither_replaced_nor_followed() {
    let elsewhere = tempfile::tempdir().unwrap();
    let target = elsewhere.path().join("target");
    fs::write(&target, "the author's").unwrap();
    let link = format!("a symlink to {target:?} is there already");
    for (put, what) in [
        (
            &|pod: &Pod| fs::write(pod.path("tmp/deploy"), "the author's").unwrap(),
            "a file is there already",
        ),
        (&|pod: &Pod| symlink(&target, pod.path("tmp/deploy")).unwrap(), &link),
    ] as [(&dyn Fn(&Pod), &str); 2]
    {
        let mut pod = alone();
        put(&pod);
        pod.started().fails(&["podkey 73", "cannot deliver /tmp/deploy", what]);
        assert_eq!(pod.completed().code, 0);
        assert_eq!(pod.text("tmp/deploy"), "the author's");
        assert_eq!(fs::read_to_string(&target).unwrap(), "the author's");
    }
    let mut pod = alone();
    fs::create_dir(pod.path("tmp/deploy")).unwrap();
    pod.started().fails(&["podkey 73", "a directory is there already"]);
}

#[test]
fn no_symlink_on_the_way_to_a_destination_is_followed() {
    let elsewhere = tempfile::tempdir().unwrap();
    let mut pod = job_own::pod()
        .alone()
        .with("/job/files/0/file", json!("/tmp/deep/er/deploy"))
        .ready();
    symlink(elsewhere.path(), pod.path("tmp/deep")).unwrap();
    let words = "/tmp/deep is not a directory, and podkey follows no symlink";
    pod.started().fails(&["podkey 73", "/tmp/deep/er/deploy", words]);
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0);
    fs::remove_file(pod.path("tmp/deep")).unwrap();
    fs::create_dir(pod.path("tmp/deep")).unwrap();
    fs::set_permissions(pod.path("tmp/deep"), fs::Permissions::from_mode(0o700)).unwrap();
    pod.started().succeeds();
    assert_eq!(mode(&pod, "tmp/deep"), 0o700, "the author's directory stays as it is");
    assert_eq!(mode(&pod, "tmp/deep/er"), 0o755);
    assert!(pod.text("tmp/deep/er/deploy").contains("canary-of-deploy"));
}

#[test]
fn the_policy_of_the_operator_holds_without_podkey_init() {
    let mut pod = job_own::pod()
        .alone()
        .with("/job/policies", json!([{"repositories": ["other-org/*"]}]))
        .ready();
    pod.started().fails(&["podkey 77", "octo-org/octo-repo"]);
    assert!(pod.left().is_empty());
}

#[test]
fn copies_for_jobs_in_a_container_are_made_without_podkey_init() {
    let mut pod = job_own::pod()
        .alone()
        .with("/job/temp", json!({"DEPLOY_FILE": "/tmp/deploy"}))
        .ready();
    let step = pod.started();
    step.succeeds();
    let copy = PathBuf::from(step.variable("DEPLOY_FILE").unwrap());
    assert!(copy.ends_with("_temp/podkey/tmp/deploy"), "{copy:?}");
    assert!(fs::read_to_string(&copy).unwrap().contains("canary-of-deploy"));
    assert_eq!(pod.completed().code, 0);
    assert!(!copy.exists());
}

/// A plan that needs `podkey-init` must not pass for one of the hooks alone: the hooks would not look for the outcome of `init`.
#[test]
fn a_plan_that_needs_init_is_no_plan_of_the_hooks_alone() {
    let file: Value = json!({"secret": "kv/web", "key": "a", "format": "raw", "file": "a", "mode": "0400"});
    let mut pod = job_own::pod().alone().with("/files", json!([file]));
    pod.mount();
    pod.started()
        .fails(&["podkey 64", "/podkey/state/plan.json", "not valid"]);
}

/// A job that is root in the runner can make the directory in which the state is where the agent comes with its image.
#[test]
fn a_state_that_the_job_forged_is_not_read_where_init_copied_the_agent() {
    let bao = bao();
    bao.write("arc-runners/data/forged", &json!({"data": {"A": "canary-of-forged"}}));
    let mut pod = Pod::new(Agent::for_bao(bao))
        .env("arc-runners/data/forged", "A", "API_TOKEN")
        .file(
            json!({"secret": "arc-runners/data/forged", "key": "A", "format": "raw", "file": "/tmp/a", "mode": "0400"}),
        )
        .canary("canary-of-forged")
        .ready();
    let state = pod.path("podkey/state");
    fs::create_dir_all(&state).unwrap();
    for name in ["plan.json", "outcome.json"] {
        fs::write(state.join(name), "forged").unwrap();
    }
    pod.started().succeeds();
    assert_eq!(pod.text("tmp/a"), "canary-of-forged");
    let step = pod.completed();
    assert_eq!(step.code, 0);
    assert!(!step.raw.contains("podkey/state"), "{}", step.raw);
    assert!(pod.left().is_empty() && pod.is_closed("tmp/a"));
}

/// Some runtimes mount images `noexec`.
#[test]
fn an_agent_that_cannot_be_executed_is_told_by_both_hooks() {
    let mut pod = alone();
    let agent = pod.path("podkey/bin/podkey-agent");
    fs::remove_file(&agent).unwrap();
    fs::write(&agent, "").unwrap();
    pod.started().fails(&["cannot be executed", "noexec"]);
    let step = pod.completed();
    assert_eq!(step.code, 0);
    assert!(
        step.raw
            .contains("::warning::podkey: the job's secrets were not cleared"),
        "{}",
        step.raw
    );
}
