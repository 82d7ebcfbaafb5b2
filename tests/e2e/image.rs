//! The agent comes as the volume of its image (Kubernetes 1.36): runners and commands with podkey-init, and runners without it.

use serde_json::{Value, json};

use crate::harness::decided;
use crate::harness::merge;
use crate::harness::namespace::Namespace;
use crate::harness::openbao::Vault;
use crate::harness::pod::{container, init_containers, pod};
use crate::hooks::{RUNNER, SECRET, runner, section};

/// The pod as podkey injects it where the agent comes as an image.
fn with_image(pod: &Value, namespace: &Namespace) -> Value {
    decided::injected(pod, namespace, &decided::config("imageVolume"))
}

#[test]
fn a_runner_whose_agent_comes_as_an_image_gets_its_secrets_and_cannot_change_the_hooks() {
    for user in [1001, 0] {
        let namespace = decided::namespace("image");
        let vault = Vault::new(&namespace);
        vault.put("web", &json!({"password": SECRET}));
        let script = format!(
            "{RUNNER}\n(echo x >/podkey/state/plan.json) 2>&1; rm -f /podkey/state/outcome.json 2>&1; ls /podkey/state"
        );
        let definition = merge(
            runner(&vault, &script),
            &json!({"spec": {"securityContext": {"runAsUser": user}}}),
        );
        let log = namespace.create(&with_image(&definition, &namespace)).succeeds();
        println!("UID {user}\n{log}");
        let started = section(&log, "started");
        assert!(
            started.starts_with("::add-mask::") && started.ends_with("exit 0\n"),
            "{log}"
        );
        assert!(section(&log, "variables").contains(SECRET), "{log}");
        assert_eq!(section(&log, "job"), format!("400\n{SECRET}\n{SECRET}\n"), "{log}");
        assert!(section(&log, "forged").contains("Read-only file system"), "{log}");
        assert!(section(&log, "completed").ends_with("exit 0\n"), "{log}");
        assert!(!section(&log, "after").contains(SECRET), "{log}");
        let end = section(&log, "end");
        assert_eq!(end.matches("Read-only file system").count(), 2, "{log}");
        assert!(end.ends_with("outcome.json\nplan.json\n"), "{log}");
    }
}

#[test]
fn a_command_starts_with_its_variables_and_no_copy_of_the_agent() {
    let namespace = decided::namespace("image-exec");
    let vault = Vault::new(&namespace);
    vault.put("web", &json!({"password": SECRET}));
    let mut definition = merge(
        pod("web", "echo $PASSWORD; ls -A /podkey/bin /podkey/state"),
        &json!({"metadata": {"annotations": vault.annotations(&json!([]))}}),
    );
    let annotations = &mut definition["metadata"]["annotations"];
    annotations["podkey.dev/env"] = json!(format!("{}/data/web password | PASSWORD", vault.kv));
    annotations.as_object_mut().unwrap().remove("podkey.dev/files");
    let log = namespace.create(&with_image(&definition, &namespace)).succeeds();
    println!("{log}");
    assert!(log.starts_with(&format!("{SECRET}\n")), "{log}");
    assert!(log.contains("podkey-agent") && log.contains("outcome.json"), "{log}");
}

/// A runner pod whose job reads everything: a file at an absolute place, one below `/podkey/secrets`, and a variable.
fn alone(vault: &Vault<'_>, script: &str) -> Value {
    let mut runner = runner(vault, script);
    runner["spec"]["containers"] = json!([container("runner", script)]);
    let files = json!([
        {"secret": "web", "key": "password", "file": "deep/password", "as": "job"},
        {"secret": "web", "key": "password", "file": "/tmp/password", "as": "job"},
    ]);
    let mut runner = vault.annotate(runner, &files);
    let annotations = &mut runner["metadata"]["annotations"];
    let env = annotations.as_object_mut().unwrap().remove("podkey.dev/env").unwrap();
    annotations["podkey.dev/job-env"] = env;
    runner
}

/// There is no GitHub here that would give the job a token: the hook finds its plan, and fails the job for want of a token. (The
/// agent's tests have such a token.)
#[test]
fn a_runner_whose_job_reads_everything_starts_without_podkey_init_and_its_hook_finds_the_plan() {
    let namespace = decided::namespace("image-alone");
    let vault = Vault::new(&namespace);
    let script = format!(
        "{RUNNER}\nstat -c '%u %a' /podkey/secrets; readlink /tmp/password; (echo x >/podkey/state/plan.json) 2>&1; rm -f /podkey/state/plan.json 2>&1; \
         ls /podkey /podkey/state"
    );
    let definition = with_image(&alone(&vault, &script), &namespace);
    assert_eq!(init_containers(&definition), [""; 0]);
    let log = namespace.create(&definition).succeeds();
    println!("{log}");
    let started = section(&log, "started");
    assert!(
        started.contains("podkey 77 stage=login") && started.ends_with("exit 1\n"),
        "{log}"
    );
    assert!(started.contains("id-token: write"), "{log}");
    // Empty, and closed to all: kubectl must not fall back to the pod's own account.
    assert!(section(&log, "job").starts_with("777\n"), "a symlink: {log}");
    assert!(section(&log, "forged").contains("Read-only file system"), "{log}");
    assert!(section(&log, "completed").ends_with("exit 0\n"), "{log}");
    let end = section(&log, "end");
    assert!(end.starts_with("0 1777\n/podkey/secrets/.linked/1\n"), "{log}");
    assert_eq!(end.matches("Read-only file system").count(), 2, "{log}");
    assert!(
        end.contains("bin\nsecrets\nstate\n") && end.ends_with("plan.json\n"),
        "{log}"
    );
}
