//! Names that a secret's writer chooses: what a wildcard brings, with a real OpenBao, to `init`'s files, a job and a command.

use std::process::Command;

use serde_json::{Value, json};

use crate::deliver::bao;
use crate::job_pod::{Pod, variable};
use crate::support::agent::Agent;

/// An entry `path * | PREFIX` of `podkey.dev/env`.
pub(crate) fn wildcard(path: &str, prefix: &str) -> Value {
    json!({"secret": path, "select": {"upperCase": {"prefix": prefix}}})
}

/// A runner's pod with one file and these variables, before its `init`.
fn pod(entry: Value) -> Pod {
    let bao = bao();
    bao.write("arc-runners/data/beside", &json!({"data": {"a": "canary-of-beside"}}));
    Pod::new(Agent::for_bao(bao))
        .file(json!({"secret": "arc-runners/data/beside", "key": "a", "format": "raw", "file": "/tmp/beside", "mode": "0400"}))
        .entry("/env", entry)
        .canary("canary-of-")
}

/// Runs make as a step of a job with these variables would; what make prints.
fn make(pod: &Pod, variables: &[(&str, &str)]) -> String {
    let mut make = Command::new("make");
    make.args(["-f", "/dev/null", "-n"]).current_dir(pod.runner.dir());
    // The make that runs this test has variables of its own.
    for inherited in [
        "MAKEFLAGS",
        "MFLAGS",
        "MAKELEVEL",
        "MAKEFILES",
        "GNUMAKEFLAGS",
        "MAKEOVERRIDES",
    ] {
        make.env_remove(inherited);
    }
    format!("{:?}", make.envs(variables.iter().copied()).output().unwrap())
}

/// Whether this machine's make runs a command from `MAKEFLAGS`: versions and builds differ.
fn make_takes_orders(pod: &Pod) -> bool {
    let ran = pod.runner.dir().join("without-podkey");
    make(
        pod,
        &[("MAKEFLAGS", &format!("--eval=$(shell touch {})", ran.display()))],
    );
    ran.exists()
}

#[test]
fn make_ran_a_command_that_the_writer_of_a_secret_put_into_makeflags() {
    let path = "arc-runners/data/makeflags";
    let ready = |entry: Value| {
        let pod = pod(entry);
        let ran = pod.runner.dir().join("ran");
        let order = format!("--eval=$(shell touch {})", ran.display());
        bao().write(
            path,
            &json!({"data": {"MAKEFLAGS": order, "token": "canary-of-token", "git-ssh_command": "canary-of-ssh"}}),
        );
        (pod.ready(), ran)
    };
    let (mut pod, ran) = ready(wildcard(path, ""));
    let step = pod.started();
    step.fails(&[
        "podkey 65 stage=render",
        path,
        "\"MAKEFLAGS\"",
        "\"GITSSH_COMMAND\" (the field \"git-ssh_command\")",
        "path field | NAME",
        "path * | APP_",
    ]);
    assert!(
        !step.raw.contains("TOKEN"),
        "only what is refused is named: {}",
        step.raw
    );
    let exported = step.env.as_ref().unwrap();
    assert!(exported.is_empty() && pod.left().is_empty() && pod.is_closed("tmp/beside"));
    make(&pod, &[]);
    assert!(!ran.exists());
    // The author may want that very variable, and make does as it says.
    let (mut pod, ran) = ready(variable(path, "MAKEFLAGS", "MAKEFLAGS"));
    let step = pod.started();
    step.succeeds();
    let order = format!("--eval=$(shell touch {})", ran.display());
    assert_eq!(step.variable("MAKEFLAGS"), Some(&*order));
    // Where this machine's make takes such an order at all.
    let printed = make(&pod, &[("MAKEFLAGS", &order)]);
    assert!(ran.exists() || !make_takes_orders(&pod), "{printed}");
}

#[test]
fn one_bad_name_among_twenty_delivers_nothing_and_a_prefix_delivers_all() {
    let mut fields: serde_json::Map<String, Value> = (0..20)
        .map(|n| (format!("key_{n}"), json!(format!("canary-of-{n}"))))
        .collect();
    fields.insert("http_proxy".to_owned(), json!("canary-of-proxy"));
    bao().write("arc-runners/data/twenty", &json!({"data": fields}));
    let refused = pod(wildcard("arc-runners/data/twenty", "")).with("/job/onFailure", json!("fail-pod"));
    refused
        .init()
        .expect(65, &["arc-runners/data/twenty", "\"HTTP_PROXY\"", "path * | APP_"])
        .stage("render");
    assert!(
        refused
            .agent
            .all_files()
            .iter()
            .all(|file| refused.agent.delivered(file).is_empty())
    );
    let mut pod = pod(wildcard("arc-runners/data/twenty", "APP_")).ready();
    let step = pod.started();
    step.succeeds();
    assert_eq!(step.env.as_ref().unwrap().len(), 21);
    assert_eq!(step.variable("APP_HTTP_PROXY"), Some("canary-of-proxy"));
    assert_eq!(step.variable("APP_KEY_7"), Some("canary-of-7"));
}

#[test]
fn a_prefix_made_the_name_of_a_loaders_variable() {
    bao().write(
        "arc-runners/data/halves",
        &json!({"data": {"PRELOAD": "canary-of-library", "AGS": "canary-of-flags"}}),
    );
    for (prefix, name) in [("LD_", "\"LD_PRELOAD\""), ("makefl", "\"MAKEFLAGS\"")] {
        let pod = pod(wildcard("arc-runners/data/halves", prefix)).with("/job/onFailure", json!("fail-pod"));
        pod.init().expect(65, &[name]);
    }
}

#[test]
fn a_command_loaded_a_library_that_the_writer_of_a_secret_chose() {
    bao().write(
        "arc-runners/data/loaded",
        &json!({"data": {"LD_PRELOAD": "canary-of-library", "python-path": "canary-of-path"}}),
    );
    let mut pod = pod(wildcard("arc-runners/data/loaded", "")).with("/exec", json!(true));
    pod.agent.plan.as_object_mut().unwrap().remove("job");
    pod.init()
        .expect(65, &["\"LD_PRELOAD\"", "\"PYTHONPATH\" (the field \"python-path\")"]);
    assert!(
        pod.agent
            .all_files()
            .iter()
            .all(|file| pod.agent.delivered(file).is_empty())
    );
}

#[test]
fn a_shell_that_sourced_a_dotenv_file_ran_what_the_writer_of_the_secret_chose() {
    bao().write(
        "arc-runners/data/sourced",
        &json!({"data": {"GIT_SSH_COMMAND": "canary-of-ssh", "DB_PASSWORD": "canary-of-db"}}),
    );
    let file = |format: &str| {
        let file = json!({"secret": "arc-runners/data/sourced", "format": format, "file": "web.env", "mode": "0400"});
        Agent::for_bao(bao()).file(file).canary("canary-of-").run()
    };
    file("dotenv").expect(65, &["GIT_SSH_COMMAND", "json"]);
    // No shell reads these.
    for format in ["json", "yaml", "properties"] {
        file(format).expect(0, &[]);
    }
}
