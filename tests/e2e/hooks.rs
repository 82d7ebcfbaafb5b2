//! The runner's job hooks in a real pod: real mounts, a user who is not root, and a shell that plays the runner.

use serde_json::{Value, json};

use crate::harness::merge;
use crate::harness::namespace::Namespace;
use crate::harness::openbao::Vault;
use crate::harness::pod::{container, pod};

pub const SECRET: &str = "s3cret-of-the-job";

/// Sets the runner's variables for a hook, runs the hook as the runner does, and shows what the job has.
pub const RUNNER: &str = r#"
export GITHUB_ACTIONS=true GITHUB_REPOSITORY=octo-org/octo-repo GITHUB_EVENT_NAME=push GITHUB_REF=refs/heads/main
export GITHUB_RUN_ID=1 GITHUB_RUN_ATTEMPT=1 GITHUB_JOB=build RUNNER_TEMP=/tmp
export GITHUB_ENV=/tmp/env GITHUB_STEP_SUMMARY=/tmp/summary GITHUB_EVENT_PATH=/tmp/event.json
: >$GITHUB_ENV; : >$GITHUB_STEP_SUMMARY; echo '{}' >$GITHUB_EVENT_PATH
look() { stat -c '%a' /tmp/password; cat /tmp/password 2>&1; echo; cat /podkey/secrets/deep/password 2>&1; echo; ls -A /podkey/secrets/env 2>/dev/null; }
echo "== started"; sh -e $ACTIONS_RUNNER_HOOK_JOB_STARTED 2>&1; echo "exit $?"
echo "== variables"; cat $GITHUB_ENV
echo "== job"; look
echo "== forged"; for file in $(ls /podkey/bin); do (echo forged >/podkey/bin/$file) 2>&1; rm -f /podkey/bin/$file 2>&1; done
echo "== completed"; sh -e $ACTIONS_RUNNER_HOOK_JOB_COMPLETED 2>&1; echo "exit $?"
echo "== after"; look
echo "== end"
"#;

/// A runner pod whose `runner` container runs a script, as [`crate::harness::openbao::ROLE`], with a file at an absolute
/// place, one below `/podkey/secrets`, and a variable.
pub fn runner(vault: &Vault<'_>, script: &str) -> Value {
    let mut runner = merge(
        pod("runner", ""),
        &json!({
            "metadata": {
                "labels": {"actions-ephemeral-runner": "True"},
                "annotations": {"podkey.dev/env": format!("{}/data/web password | PASSWORD", vault.kv)},
            },
            // As ARC's image has it; the test's image is root's.
            "spec": {"securityContext": {"runAsUser": 1001}},
        }),
    );
    runner["spec"]["containers"] = json!([container("runner", script)]);
    let files = json!([
        {"secret": "web", "key": "password", "file": "deep/password"},
        {"secret": "web", "key": "password", "file": "/tmp/password", "env": "PASSWORD_FILE"},
    ]);
    vault.annotate(runner, &files)
}

/// Each section of the script's output.
pub fn section<'a>(log: &'a str, name: &str) -> &'a str {
    let head = format!("== {name}\n");
    let (_, rest) = log
        .split_once(&head)
        .unwrap_or_else(|| panic!("no section {name} in\n{log}"));
    rest.split("== ").next().unwrap()
}

/// The job had its secrets, masked and exported, and has none after its end.
#[track_caller]
pub fn is_delivered_and_cleared(log: &str) {
    let started = section(log, "started");
    assert!(started.ends_with("exit 0\n"), "{log}");
    let mask = format!("::add-mask::{SECRET}");
    let masked_at = started.lines().position(|line| line == mask).unwrap();
    // Masks come before anything else is said, and nothing else says it.
    let first_other = started
        .lines()
        .position(|line| !line.starts_with("::add-mask::"))
        .unwrap();
    assert!(masked_at < first_other, "{log}");
    assert!(
        started.lines().skip(first_other).all(|line| !line.contains(SECRET)),
        "{log}"
    );
    let variables = section(log, "variables");
    assert!(
        variables.starts_with("PASSWORD<<") && variables.contains(SECRET),
        "{log}"
    );

    assert_eq!(section(log, "job"), format!("400\n{SECRET}\n{SECRET}\n"), "{log}");
    assert_eq!(
        section(log, "forged").matches("Read-only file system").count() % 2,
        0,
        "{log}"
    );
    assert!(section(log, "completed").ends_with("exit 0\n"), "{log}");
    let after = section(log, "after");
    assert!(after.starts_with("0\n") && !after.contains(SECRET), "{log}");
}

/// As the image's own user, who owns the files, and as root, who may read everything.
#[test]
fn the_job_gets_its_secrets_masked_and_exported_and_they_are_gone_when_it_ends() {
    for user in [1001, 0] {
        let namespace = Namespace::new("hooks");
        let vault = Vault::new(&namespace);
        vault.put("web", &json!({"password": SECRET}));
        let definition = merge(
            runner(&vault, RUNNER),
            &json!({"spec": {"securityContext": {"runAsUser": user}}}),
        );
        let log = namespace.create(&definition).succeeds();
        println!("UID {user}\n{log}");

        is_delivered_and_cleared(&log);
    }
}

/// The pod starts without the secret: otherwise ARC would try one pod after the other, and the job would wait in silence.
#[test]
fn a_secret_that_is_missing_fails_the_job_and_not_the_pod() {
    let namespace = Namespace::new("hooks-fail");
    let vault = Vault::new(&namespace);
    vault.put("web", &json!({"another": SECRET}));
    let log = namespace.create(&runner(&vault, RUNNER)).succeeds();
    println!("{log}");
    let started = section(&log, "started");
    assert!(started.ends_with("exit 1\n"), "{log}");
    let error = started.lines().find(|line| line.starts_with("::error ")).unwrap();
    assert!(error.contains("podkey 66") && error.contains("password"), "{error}");
    assert!(section(&log, "job").starts_with("0\n"), "{log}");
    assert!(!log.contains(SECRET), "{log}");
}

/// A hook that the author has set before podkey was installed.
#[test]
fn a_hook_of_the_author_s_own_runs_after_ours_and_its_exit_code_counts() {
    let namespace = Namespace::new("hooks-next");
    let vault = Vault::new(&namespace);
    vault.put("web", &json!({"password": SECRET}));
    let script = format!(
        "printf 'cat /tmp/password >/tmp/seen; echo the author was here; exit 7\\n' >/tmp/own.sh\n{RUNNER}\ncat /tmp/seen"
    );
    let mut definition = runner(&vault, &script);
    definition["spec"]["containers"][0]["env"] =
        json!([{"name": "ACTIONS_RUNNER_HOOK_JOB_STARTED", "value": "/tmp/own.sh"}]);
    let log = namespace.create(&definition).succeeds();
    println!("{log}");
    let started = section(&log, "started");
    assert!(
        started.contains("\nthe author was here\n") && started.ends_with("exit 7\n"),
        "{log}"
    );
    // The job that it failed has none of ours.
    assert!(!section(&log, "job").contains(SECRET), "{log}");
    assert!(log.ends_with(&format!("== end\n{SECRET}")), "{log}");
}
