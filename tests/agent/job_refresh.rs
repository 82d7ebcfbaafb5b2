//! The job hooks in a runner whose files `podkey-sidecar` keeps fresh: the hooks see one generation of the files, through
//! symlinks and read-only, and cannot remove it.

use std::fs;

use serde_json::json;

use crate::job_bad_input::read_only;
use crate::job_pod::Pod;
use crate::support::agent::Agent;
use crate::support::fake_vault::{FakeVault, json as answer, logged_in, secret_body};
use crate::support::runner::Step;

const VALUE: &str = "canary-of-a-fresh-value";

/// A file, those of all fields, and a variable.
fn pod() -> Pod {
    let data = json!({"a": VALUE}).to_string();
    let fake = FakeVault::plain(logged_in(move |_, _| answer(200, &secret_body(&data))));
    let each = json!({"secret": "kv/data/web", "format": "raw", "file": "all/{{ .SecretKey }}", "mode": "0400"});
    Pod::new(Agent::for_fake(&fake).refresh("30s"))
        .with("/files/0/mode", json!("0400"))
        .file(each)
        .env("kv/data/web", "a", "API_TOKEN")
        .canary("canary-of")
}

/// Runs a hook as the runner's container has it: with the files mounted read-only, if that can be.
fn hook(pod: &mut Pod, name: &str) -> Step {
    let (hook, arguments) = pod.hook_call(name);
    let Some(words) = read_only(&pod.path("podkey/secrets")) else {
        return match name {
            "job-started.sh" => pod.started(),
            _ => pod.completed(),
        };
    };
    let quoted = |words: &[std::path::PathBuf]| -> String {
        words.iter().map(|word| format!(" '{}'", word.display())).collect()
    };
    let script = pod.runner.dir().join("read-only.sh");
    let call = format!(
        "exec unshare{} sh {} {}\n",
        quoted(&words[1..]),
        hook.display(),
        arguments.join(" ")
    );
    fs::write(&script, call).unwrap();
    let step = pod.runner.run(&script, &[]);
    pod.check(&step);
    step
}

fn is_masked(step: &Step, value: &str) -> bool {
    step.raw.lines().any(|line| line == format!("::add-mask::{value}"))
}

#[test]
fn refreshed_files_are_masked_and_exported_with_their_current_values() {
    let mut pod = pod().ready();
    // The sidecar has replaced the values since.
    const NOW: &str = "another-value-by-now";
    let secrets = pod.path("podkey/secrets");
    let current = secrets.join(fs::read_link(secrets.join("..data")).unwrap());
    let next = "..2099_01_01_00_00_00.0123456789abcdef";
    fs::rename(current, secrets.join(next)).unwrap();
    fs::remove_file(secrets.join("..data")).unwrap();
    std::os::unix::fs::symlink(next, secrets.join("..data")).unwrap();
    for place in ["a", "all/a", "env/API_TOKEN"] {
        fs::write(secrets.join(place), NOW).unwrap();
    }
    let step = hook(&mut pod, "job-started.sh");
    step.succeeds();
    assert!(is_masked(&step, NOW), "{}", step.raw);
    assert_eq!(step.variable("API_TOKEN"), Some(NOW));
    for place in ["a", "all/a", "env/API_TOKEN"] {
        assert_eq!(pod.text(&format!("podkey/secrets/{place}")), NOW);
    }
    let step = hook(&mut pod, "job-completed.sh");
    assert_eq!(step.code, 0);
    assert!(
        step.raw.contains("kept fresh") && !step.raw.contains("could be cleared"),
        "{}",
        step.raw
    );
    assert_eq!(pod.text("podkey/secrets/a"), NOW);
}

#[test]
fn a_file_that_the_sidecar_removed_does_not_fail_the_job() {
    let mut pod = pod().ready();
    let secrets = pod.path("podkey/secrets");
    for place in ["..data/a", "a"] {
        fs::remove_file(secrets.join(place)).unwrap();
    }
    let step = hook(&mut pod, "job-started.sh");
    step.succeeds();
    assert_eq!(step.variable("API_TOKEN"), Some(VALUE));
}

#[test]
fn a_refused_job_gets_no_variable_and_the_report_says_that_the_files_stay() {
    let mut pod = pod().ready();
    pod.runner.pull_request("pull_request", Some((2, "mallory/octo-repo")));
    let step = hook(&mut pod, "job-started.sh");
    step.fails(&[
        "podkey 77",
        "mallory/octo-repo",
        "podkey.dev/refresh",
        "until the pod ends",
    ]);
    assert_eq!(step.variable("API_TOKEN"), None);
    assert!(is_masked(&step, VALUE));
}

#[test]
fn a_failure_of_init_leaves_no_file() {
    let fake = FakeVault::plain(logged_in(|_, _| answer(403, r#"{"errors":["permission denied"]}"#)));
    let mut pod = Pod::new(Agent::for_fake(&fake).refresh("30s"));
    pod.init().expect(0, &[]);
    pod.mount();
    let step = hook(&mut pod, "job-started.sh");
    step.fails(&["podkey 77"]);
    assert!(!step.raw.contains("until the pod ends"), "{}", step.raw);
}

#[test]
fn a_link_to_anything_but_a_generation_is_not_followed() {
    for target in ["..", "..elsewhere"] {
        let mut pod = pod().ready();
        let secrets = pod.path("podkey/secrets");
        fs::create_dir_all(secrets.join(target).join("env")).unwrap();
        for place in ["a", "env/API_TOKEN"] {
            fs::write(secrets.join(target).join(place), "forged-by-somebody").unwrap();
        }
        fs::remove_file(secrets.join("..data")).unwrap();
        std::os::unix::fs::symlink(target, secrets.join("..data")).unwrap();
        let step = hook(&mut pod, "job-started.sh");
        step.fails(&["cannot read the file /podkey/secrets/a"]);
        assert_eq!(step.variable("API_TOKEN"), None);
    }
}
