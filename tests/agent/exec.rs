//! `podkey-agent exec`: a container's own command, with the variables that `init` delivered, or not at all.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::deliver::bao;
use crate::job_pod::Pod;
use crate::process::send;
use crate::support::agent::Agent;
use crate::support::fake_vault::{FakeVault, json as answer, logged_in, secret_body};
use crate::support::openbao::OpenBao;

/// Blanks, a quote, line ends, what a shell or Kubernetes would expand, and bytes that are no text.
const VALUE: &str = " canary-of-exec-$(id) '$$\n\"%0A* ";

/// A pod without job hooks whose command the agent starts, `init` done.
fn pod(agent: Agent, path: &str) -> Pod {
    let mut pod = Pod::new(agent)
        .env(path, "a", "API_TOKEN")
        .with("/exec", json!(true))
        .canary("canary-of-exec-");
    pod.agent.plan.as_object_mut().unwrap().remove("job");
    pod
}

fn real(bao: &OpenBao) -> Pod {
    bao.write("arc-runners/data/exec", &json!({"data": {"a": VALUE}}));
    pod(Agent::for_bao(bao), "arc-runners/data/exec").ready()
}

fn exec(pod: &Pod, command: &[&str]) -> Command {
    let mut exec = Command::new(pod.path("podkey/bin/podkey-agent"));
    exec.args(["exec", "--root"])
        .arg(pod.agent.root())
        .arg("--")
        .args(command);
    exec.env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("OWN", "kept")
        .stdin(Stdio::null());
    exec.stdout(Stdio::piped()).stderr(Stdio::piped());
    exec
}

/// That the command did not start, and why.
#[track_caller]
fn refused(output: &Output, code: i32, texts: &[&str]) {
    let stderr = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert!(output.stdout.is_empty(), "it started");
    assert!(!stderr.contains("canary"), "{stderr}");
    let report: Value = serde_json::from_str(stderr.lines().last().unwrap()).unwrap();
    assert_eq!(report["stage"], "exec");
    for text in texts {
        let told = format!("{} {}", report["message"], report["hint"]);
        assert!(told.contains(text), "no {text:?} in {told}");
    }
}

#[test]
fn the_command_has_its_variables_its_arguments_as_written_and_its_exit_code() {
    let pod = real(bao());
    let output = exec(
        &pod,
        &[
            "sh",
            "-c",
            "printf '%s|' \"$API_TOKEN\" \"$OWN\" \"$@\"; exit 42",
            "sh",
            "$OWN",
            "*",
            "--root",
            ";",
        ],
    );
    let output = { output }.output().unwrap();
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        format!("{VALUE}|kept|$OWN|*|--root|;|")
    );
    assert_eq!(output.status.code(), Some(42));
    assert!(output.stderr.is_empty(), "what the command did not say");
    // Nothing else came with it, and nothing of the agent's own stays: `sh` alone would say the same.
    let plain = |mut command: Command| String::from_utf8(command.output().unwrap().stdout).unwrap();
    let names = plain(exec(&pod, &["env"]));
    let names: Vec<&str> = names
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, _)| name)
        .collect();
    assert_eq!(names, ["API_TOKEN", "OWN", "PATH"]);
    let script = "ulimit -Sc; ulimit -Hc; grep -E 'Sig(Blk|Ign)' /proc/self/status";
    let mut alone = Command::new("sh");
    alone.args(["-c", script]).stdin(Stdio::null());
    assert_eq!(plain(exec(&pod, &["sh", "-c", script])), plain(alone));
    // A container that starts again finds its variables again.
    assert!(exec(&pod, &["true"]).status().unwrap().success());
}

#[test]
fn the_command_itself_gets_the_signal() {
    let pod = real(bao());
    let script = "trap 'exit 7' TERM; echo $$; while :; do sleep 0.05; done";
    let mut child = exec(&pod, &["/bin/sh", "-c", script]).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert_eq!(line.trim(), child.id().to_string());
    send("-TERM", &child);
    assert_eq!(child.wait().unwrap().code(), Some(7));
}

#[test]
fn without_every_variable_the_command_does_not_start() {
    const VALUE: &str = "podkey/secrets/env/API_TOKEN";
    const OUTCOME: &str = "podkey/bin/outcome.json";
    type Case = (&'static str, fn(&Pod), i32, &'static [&'static str]);
    let cases: [Case; 10] = [
        (
            "no value",
            |pod| fs::remove_file(pod.path(VALUE)).unwrap(),
            64,
            &["API_TOKEN", "is gone"],
        ),
        (
            "no directory",
            |pod| fs::remove_dir_all(pod.path("podkey/secrets")).unwrap(),
            64,
            &["API_TOKEN", "is gone"],
        ),
        (
            "a link",
            |pod| {
                fs::rename(pod.path(VALUE), pod.path("elsewhere")).unwrap();
                symlink(pod.path("elsewhere"), pod.path(VALUE)).unwrap();
            },
            64,
            &["cannot read the value of API_TOKEN", "runAsUser"],
        ),
        (
            "a directory",
            |pod| {
                fs::remove_file(pod.path(VALUE)).unwrap();
                fs::create_dir(pod.path(VALUE)).unwrap();
            },
            64,
            &["API_TOKEN", "not a regular file"],
        ),
        (
            "a NUL",
            |pod| rewrite(pod, VALUE, b"canary-of-exec\0"),
            65,
            &["API_TOKEN", "NUL byte", "podkey.dev/files"],
        ),
        (
            "too long",
            |pod| rewrite(pod, VALUE, &vec![b'x'; 128 * 1024 - 10]),
            65,
            &["API_TOKEN", "131062 bytes"],
        ),
        (
            "no outcome",
            |pod| fs::remove_file(pod.path(OUTCOME)).unwrap(),
            64,
            &["outcome.json", "no such file", "podkey-init"],
        ),
        (
            "no sense in it",
            |pod| rewrite(pod, OUTCOME, b"{}"),
            64,
            &["outcome.json", "does not parse"],
        ),
        (
            "an outcome that failed",
            |pod| {
                let report = json!({"code": 66, "stage": "read", "connection": "fake", "message": "x", "hint": ""});
                rewrite(pod, OUTCOME, json!({"failed": report}).to_string().as_bytes());
            },
            64,
            &["outcome.json", "podkey-init delivered nothing", "read the log"],
        ),
        (
            "a variable that takes over",
            |pod| {
                let text = pod.text(OUTCOME).replace("API_TOKEN", "LD_PRELOAD");
                rewrite(pod, OUTCOME, text.as_bytes());
            },
            64,
            &["LD_PRELOAD", "decides what a program runs"],
        ),
    ];
    let fake = FakeVault::plain(logged_in(|_, _| {
        answer(200, &secret_body(r#"{"a":"canary-of-exec-1"}"#))
    }));
    for (name, spoil, code, texts) in cases {
        let pod = pod(Agent::for_fake(&fake), "kv/data/web").ready();
        spoil(&pod);
        println!("{name}");
        refused(&exec(&pod, &["echo", "started"]).output().unwrap(), code, texts);
    }
}

fn rewrite(pod: &Pod, path: &str, bytes: &[u8]) {
    fs::remove_file(pod.path(path)).unwrap();
    fs::write(pod.path(path), bytes).unwrap();
}

#[test]
fn the_longest_value_that_the_kernel_takes_arrives_and_a_command_that_cannot_start_is_reported() {
    let fake = FakeVault::plain(logged_in(|_, _| {
        answer(200, &secret_body(r#"{"a":"canary-of-exec-1"}"#))
    }));
    let pod = pod(Agent::for_fake(&fake), "kv/data/web").ready();
    rewrite(&pod, "podkey/secrets/env/API_TOKEN", &vec![b'x'; 128 * 1024 - 11]);
    let output = exec(&pod, &["sh", "-c", "echo ${#API_TOKEN}"]).output().unwrap();
    assert_eq!(output.stdout, b"131061\n");
    refused(
        &exec(&pod, &["/nonexistent"]).output().unwrap(),
        64,
        &["/nonexistent", "No such file", "`command`"],
    );
    let usage = exec(&pod, &[]).output().unwrap();
    assert_eq!(usage.status.code(), Some(64));
}

#[test]
fn init_leaves_the_agent_and_refuses_a_value_that_no_environment_can_hold() {
    let text = |value: &str| {
        let body = secret_body(&json!({"a": value}).to_string());
        FakeVault::plain(logged_in(move |_, _| answer(200, &body)))
    };
    let fake = text("canary-of-exec-1");
    let good = pod(Agent::for_fake(&fake), "kv/data/web");
    good.init().expect(0, &["delivered 1 file and 1 variable"]);
    let mut left: Vec<_> = fs::read_dir(good.path("podkey/bin"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    left.sort();
    assert_eq!(left, ["outcome.json", "podkey-agent"]);
    for (value, told) in [("canary-of-exec-\0", "NUL byte"), (&*"x".repeat(128 * 1024), "128 KiB")] {
        let fake = text(value);
        let pod = pod(Agent::for_fake(&fake), "kv/data/web");
        pod.init()
            .expect(65, &["API_TOKEN", told, "podkey.dev/files"])
            .stage("render");
        assert_eq!(pod.agent.all_files(), [""; 0]);
    }
}
