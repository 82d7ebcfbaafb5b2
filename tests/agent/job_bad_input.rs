//! Faults around the job hooks, each with its result, and whole jobs in a runner: what a job may see and what it may not see.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::deliver::bao;
use crate::job_pod::{Pod, user, variable};
use crate::process::{send, wait_for};
use crate::support::agent::Agent;
use crate::support::ca::Ca;
use crate::support::fake_vault::{FakeVault, json as answer, logged_in, secret_body};
use crate::support::runner::{Step, When};

/// Its base64 and its base64url are not the same.
const VALUE: &str = "canary-of?>~value?with>all~kinds";

/// One file that is mounted on its own, one in the directory, one variable.
fn pod() -> Pod {
    with_value(VALUE)
}

fn with_value(value: &str) -> Pod {
    let data = json!({"a": value}).to_string();
    let fake = FakeVault::plain(logged_in(move |_, _| answer(200, &secret_body(&data))));
    Pod::new(Agent::for_fake(&fake))
        .with("/files/0/file", json!("/tmp/secret"))
        .with("/files/0/mode", json!("0400"))
        .file(json!({"secret": "kv/data/web", "key": "a", "format": "raw", "file": "dir/a", "mode": "0400"}))
        .env("kv/data/web", "a", "API_TOKEN")
        .canary("canary-of")
}

/// Sets the runner's variables that name the hooks. Outside a container the hooks need `--root`.
fn hooked(pod: &mut Pod) {
    for (variable, script) in [
        ("ACTIONS_RUNNER_HOOK_JOB_STARTED", "job-started.sh"),
        ("ACTIONS_RUNNER_HOOK_JOB_COMPLETED", "job-completed.sh"),
    ] {
        let (hook, arguments) = pod.hook_call(script);
        let file = pod.runner.dir().join(script);
        fs::write(&file, format!("exec sh {} {}\n", hook.display(), arguments.join(" "))).unwrap();
        pod.runner.set(variable, file.to_str().unwrap());
    }
}

fn log(step: &Option<Step>) -> String {
    step.as_ref().unwrap().log.join("\n")
}

#[test]
fn a_job_that_prints_its_secrets_in_every_way_shows_none() {
    let bao = bao();
    bao.write("arc-runners/data/whole-job", &json!({"data": {"a": VALUE, "pem": "-----BEGIN KEY-----\ncanary-of-line/one\ncanary-of-line+two\n-----END KEY-----\n"}}));
    let file = json!({"secret": "arc-runners/data/whole-job", "key": "pem", "format": "raw", "file": "/tmp/key", "mode": "0400"});
    let mut pod = Pod::new(Agent::for_bao(bao))
        .file(file)
        .env("arc-runners/data/whole-job", "a", "API_TOKEN")
        .ready();
    hooked(&mut pod);
    let key = pod.path("tmp/key");
    let print = format!(
        "printf '%s\\n' \"$API_TOKEN\" >&2\nprintf %s \"$API_TOKEN\" | base64\nprintf '%s\\n' \"$API_TOKEN\" | base64\n\
         printf %s \"$API_TOKEN\" | base64 | tr /+ _-\nprintf %s \"$API_TOKEN\" | od -An -v -tx1 | tr -d ' \\n'\necho\n\
         printf 'user:%s@host' \"$API_TOKEN\" | base64 -w0\necho\nprintf 'u:%s@h' \"$API_TOKEN\" | base64 -w0 | tr /+ _-\necho\necho \"::warning title=$API_TOKEN::$API_TOKEN\"\n\
         echo \"see $API_TOKEN\" >>$GITHUB_STEP_SUMMARY\necho \"COPY=$API_TOKEN\" >>$GITHUB_ENV\nset -x\n: \"$API_TOKEN\"\n\
         cat {0}\nbase64 {0}\n",
        key.display()
    );
    let check = format!("[ \"$COPY\" = '{VALUE}' ]\n[ -s {} ]\n", key.display());
    let job = pod.runner.job(&[(When::Success, &print), (When::Success, &check)]);
    assert!(!job.failed, "{:?}", job.steps[0].as_ref().map(|step| &step.log));
    let shown = log(&job.steps[0]);
    assert!(
        shown.contains("***") && shown.contains("-----BEGIN KEY-----"),
        "{shown}"
    );
    assert!(job.steps[0].as_ref().unwrap().summary.contains("see ***"));
    assert!(
        pod.left().is_empty() && pod.is_closed("tmp/key"),
        "the completed hook clears"
    );
}

#[test]
fn a_step_that_runs_in_spite_of_a_failed_hook_finds_nothing() {
    let mut pod = pod().ready();
    hooked(&mut pod);
    pod.runner.pull_request("pull_request", Some((2, "evil/octo-repo")));
    let look = format!(
        "cat {0}/tmp/secret || echo closed\nfind {0}/podkey/secrets -type f\necho \"[$API_TOKEN]\"\n",
        pod.agent.root().display()
    );
    let job = pod.runner.job(&[(When::Success, "echo ran\n"), (When::Always, &look)]);
    job.started.unwrap().fails(&["podkey 77"]);
    assert!(job.steps[0].is_none() && job.failed);
    // Root reads what is closed to it, and finds it empty.
    let found = log(&job.steps[1]).replace("closed\n", "");
    assert!(
        found.ends_with("[]") && !found.contains("/env/") && found.lines().count() <= 2,
        "{found}"
    );
}

/// A server that takes the connection, and says nothing.
fn stuck(pod: Pod) -> (Pod, FakeVault) {
    let github = FakeVault::plain(|_, _| crate::process::stuck());
    let mut pod = pod
        .with("/job/login", json!({"mount": "github", "role": "ci"}))
        .entry("/job/env", variable("ci/data/x", "a", "OWN"))
        .with("/job/deadline", json!("1m"))
        .ready();
    let url = format!("https://127.0.0.1:{}/idtoken", github.port);
    pod.runner
        .set("ACTIONS_ID_TOKEN_REQUEST_URL", &url)
        .set("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "x");
    fs::create_dir_all(pod.path("etc/ssl/certs")).unwrap();
    fs::write(pod.path("etc/ssl/certs/ca-certificates.crt"), Ca::new("x").pem()).unwrap();
    (pod, github)
}

fn waiting(pod: &mut Pod, github: &FakeVault) -> std::process::Child {
    let (hook, arguments) = pod.hook_call("job-started.sh");
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let child = pod.runner.spawn(&hook, &arguments);
    wait_for(|| github.connections() > 0);
    child
}

#[test]
fn a_runner_that_reads_nothing_does_not_keep_the_hook_and_its_secrets_for_ever() {
    // More masks than a pipe holds.
    let long: String = (0..2000).map(|n| format!("canary-of-line-{n:04}-of-many\n")).collect();
    let mut pod = with_value(&long).with("/env", json!([])).ready();
    let (hook, arguments) = pod.hook_call("job-started.sh");
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut child = pod.runner.spawn(&hook, &arguments);
    // The first 64 KiB are all that is taken, until the hook has ended.
    let mut ended = None;
    for _ in 0..600 {
        ended = child.try_wait().unwrap();
        if ended.is_some() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    assert_eq!(ended.expect("it hangs").code(), Some(1));
    assert!(pod.left().is_empty() && pod.is_closed("tmp/secret"), "{:?}", pod.left());
}

#[test]
fn a_hook_that_is_stopped_by_a_signal_leaves_no_secret() {
    // A runner that an entrypoint started with `./run.sh &` hands on SIGINT as ignored.
    for (signal, ignored) in [("-INT", false), ("-TERM", false), ("-INT", true), ("-TERM", true)] {
        let (mut pod, github) = stuck(pod());
        pod.runner.ignores_signals = ignored;
        let child = waiting(&mut pod, &github);
        // The wrapper has become the agent: the signal that the runner sends to its own child reaches it.
        send(signal, &child);
        let step = pod.runner.take(child.wait_with_output().unwrap());
        pod.check(&step);
        step.fails(&["podkey 143", "stopped by SIG"]);
        assert!(pod.left().is_empty() && pod.is_closed("tmp/secret"));
    }
}

#[test]
fn a_cancelled_hook_ends_with_the_first_signal_and_a_killed_hook_leaves_nothing() {
    let (mut cancelled, github) = stuck(pod());
    let child = waiting(&mut cancelled, &github);
    let (step, signal) = cancelled.runner.cancel(child);
    assert_eq!(signal, "-INT");
    step.fails(&["podkey 143", "stopped by SIGINT"]);
    assert!(cancelled.left().is_empty() && cancelled.is_closed("tmp/secret"));

    let (mut killed, github) = stuck(pod());
    let child = waiting(&mut killed, &github);
    send("-KILL", &child);
    let step = killed.runner.take(child.wait_with_output().unwrap());
    killed.check(&step);
    assert!(step.failed && step.code == 137 && step.env.unwrap().is_empty());
    // All of it was masked before, and had been taken away. The completed hook runs after a killed one too.
    assert_eq!(killed.runner.masked(VALUE), "***");
    assert!(killed.left().is_empty(), "{:?}", killed.left());
    assert_eq!(killed.completed().code, 0);
    assert!(killed.left().is_empty() && killed.is_closed("tmp/secret"));
}

#[test]
fn a_hook_that_runs_twice_fails_the_job_and_leaves_nothing() {
    let mut pod = pod().ready();
    pod.started().succeeds();
    let step = pod.started();
    step.fails(&["podkey 66", "API_TOKEN", "is gone", "a runner's pod serves one job"]);
    assert!(step.env.unwrap().is_empty() && pod.left().is_empty());
    // And the last hook as often as it likes.
    for _ in 0..2 {
        assert_eq!(pod.completed().code, 0);
    }
}

/// Replaces a file of the hooks' volume, which only podkey-init can do in a pod.
fn forge(pod: &Pod, name: &str, text: &str) {
    let file = pod.path("podkey/bin").join(name);
    fs::remove_file(&file).unwrap();
    fs::write(&file, text).unwrap();
}

#[test]
fn a_forged_outcome_gives_the_job_nothing() {
    let outcome = |delivered: serde_json::Value| {
        json!({"delivered": {"accessor": "x", "delivered": delivered, "leases": []}}).to_string()
    };
    let planted = |pod: &Pod, name: &str| {
        let directory = pod.path("podkey/secrets/env");
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join(name), "canary-of-planted").unwrap();
    };
    for (name, texts) in [
        ("LD_PRELOAD", &["podkey 65", "LD_PRELOAD"][..]),
        ("GITHUB_TOKEN", &["podkey 65", "GITHUB_TOKEN", "the runner's own"]),
        ("A=B", &["podkey 65", "A=B"]),
        ("NOT_THERE", &["podkey 66", "NOT_THERE"]),
    ] {
        let mut pod = pod().ready();
        forge(&pod, "outcome.json", &outcome(json!([{"env": name, "secret": "x"}])));
        if name != "NOT_THERE" {
            planted(&pod, name);
        }
        let step = pod.started();
        step.fails(texts);
        assert!(step.env.unwrap().is_empty() && pod.left().is_empty(), "{name}");
    }
    let mut links = pod().ready();
    let elsewhere = links.runner.dir().join("outcome.json");
    fs::write(&elsewhere, outcome(json!([]))).unwrap();
    fs::remove_file(links.path("podkey/bin/outcome.json")).unwrap();
    symlink(&elsewhere, links.path("podkey/bin/outcome.json")).unwrap();
    links.started().fails(&["podkey 64", "outcome.json"]);
    assert!(links.left().is_empty());
    let mut long = pod().ready();
    forge(&long, "outcome.json", &" ".repeat(8 << 20));
    long.started().fails(&["podkey 64", "outcome.json", "larger than"]);
    // Without a plan all is cleared that is found.
    for outcome in [None, Some("{")] {
        let mut planless = pod().ready();
        forge(&planless, "plan.json", "{}");
        let folder = planless.path("podkey/secrets");
        symlink(planless.path("tmp"), folder.join("link")).unwrap();
        if let Some(outcome) = outcome {
            forge(&planless, "outcome.json", outcome);
        }
        planless.started().fails(&["podkey 64", "plan.json"]);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        // Only the outcome names the files that are mounted on their own.
        assert_eq!(planless.is_closed("tmp/secret"), outcome.is_none());
    }
}

#[test]
fn files_of_an_older_run_are_masked_and_given_to_no_job() {
    let mut pod = pod().ready();
    fs::write(pod.path("podkey/secrets/env/OLD"), "canary-of-an-older-run").unwrap();
    fs::write(
        pod.path("podkey/secrets/env/.podkey-tmp-0123456789abcdef"),
        "canary-of-a-killed-run",
    )
    .unwrap();
    let step = pod.started();
    step.succeeds();
    assert_eq!(step.env.as_ref().unwrap().len(), 1, "{:?}", step.env);
    for value in ["canary-of-an-older-run", "canary-of-a-killed-run"] {
        assert_eq!(pod.runner.masked(value), "***");
    }
    assert!(!pod.path("podkey/secrets/env/OLD").exists());
    // The next run of init takes its outcome away before it writes anything: see the tests of init.
}

#[test]
fn a_user_who_is_not_root_can_clear_its_own_files() {
    let owner = if user() == 0 { 1001 } else { user() };
    for fails in [false, true] {
        let mut pod = pod().with("/job/user", json!(owner)).owned_by(owner);
        pod = pod.ready();
        for file in ["tmp/secret", "podkey/secrets/dir/a", "podkey/secrets/env/API_TOKEN"] {
            let found = fs::metadata(pod.path(file)).unwrap();
            assert_eq!(
                (found.uid(), found.permissions().mode() & 0o777),
                (owner, 0o400),
                "{file}"
            );
        }
        if fails {
            pod.runner.pull_request("pull_request", Some((2, "evil/octo-repo")));
            pod.started().fails(&["podkey 77"]);
        } else {
            let step = pod.started();
            step.succeeds();
            assert_eq!(step.variable("API_TOKEN"), Some(VALUE));
            assert_eq!(pod.text("tmp/secret"), VALUE);
            let step = pod.completed();
            assert!(step.code == 0 && step.raw.contains("are cleared"), "{}", step.raw);
        }
        assert!(pod.left().is_empty() && pod.is_closed("tmp/secret"), "{:?}", pod.left());
    }
}

#[test]
fn a_runner_with_another_user_fails_with_what_to_declare() {
    if user() != 0 {
        return; // Only root can be two users.
    }
    let mut pod = pod().with("/job/user", json!(1001)).owned_by(1001).ready();
    pod.runner.user = Some(1002);
    own(pod.agent.root(), 1001, 0o755);
    own(pod.runner.dir(), 1002, 0o755);
    let step = pod.started();
    step.fails(&[
        "podkey 64",
        "runs as user 1002",
        "made for user 1001",
        "runAsUser: 1002",
        "not all secret files could be cleared",
    ]);
    assert!(step.env.unwrap().is_empty());
    assert_eq!(pod.completed().code, 0);
}

/// Gives a folder and all in it to a user.
fn own(folder: &Path, owner: u32, mode: u32) {
    chown(folder, Some(owner), Some(owner)).unwrap();
    fs::set_permissions(folder, fs::Permissions::from_mode(mode)).unwrap();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        if entry.file_type().unwrap().is_dir() {
            own(&entry.path(), owner, 0o755);
        }
    }
}

/// Puts words in front of a command that bind a folder read-only, in a mount namespace of its own. None: this machine does
/// not let us.
pub(crate) fn read_only(folder: &Path) -> Option<Vec<PathBuf>> {
    let script = format!(
        "mount --bind {0} {0} && mount -o remount,ro,bind {0} && exec \"$@\"",
        folder.display()
    );
    let words: Vec<PathBuf> = ["unshare", "-m", "sh", "-c", &script, "sh"].map(PathBuf::from).into();
    let tried = Command::new(&words[0]).args(&words[1..]).arg("true").output();
    tried.is_ok_and(|output| output.status.success()).then_some(words)
}

#[test]
fn a_read_only_volume_for_the_hooks_fails_the_pod_with_a_report() {
    let mut pod = pod();
    let folder = pod.path("podkey/bin");
    fs::create_dir_all(&folder).unwrap();
    let Some(mut words) = read_only(&folder) else { return };
    words.push(crate::support::program("podkey-agent"));
    pod.agent = pod.agent.program(&words);
    pod.init()
        .expect(
            73,
            &[
                "Read-only file system",
                "must not be mounted read-only in podkey's own containers",
            ],
        )
        .stage("write");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
    assert!(
        pod.agent
            .all_files()
            .iter()
            .all(|file| pod.agent.delivered(file).is_empty()),
        "{:?}",
        pod.agent.all_files()
    );
}

#[test]
fn the_hooks_run_from_a_read_only_volume_which_no_step_can_write_to() {
    let mut pod = pod().ready();
    let folder = pod.path("podkey/bin");
    let Some(words) = read_only(&folder) else { return };
    // As the runner's container has it: the hook's own process and a step after it.
    let (hook, arguments) = pod.hook_call("job-started.sh");
    let script = format!(
        "sh {} {}\necho '{{}}' >{}/outcome.json && echo forged\ntrue\n",
        hook.display(),
        arguments.join(" "),
        folder.display()
    );
    let wrapper = pod.runner.dir().join("inside.sh");
    fs::write(&wrapper, script).unwrap();
    let words: Vec<String> = words[1..].iter().map(|word| format!("'{}'", word.display())).collect();
    let outer = pod.runner.dir().join("outside.sh");
    fs::write(
        &outer,
        format!("exec unshare {} sh {}\n", words.join(" "), wrapper.display()),
    )
    .unwrap();
    let step = pod.runner.run(&outer, &[]);
    pod.check(&step);
    step.succeeds();
    assert_eq!(step.variable("API_TOKEN"), Some(VALUE));
    assert!(
        step.raw.contains("Read-only file system") && !step.raw.contains("forged"),
        "{}",
        step.raw
    );
}

#[test]
fn where_there_is_no_bash_the_wrappers_run_in_sh() {
    let mut pod = pod().ready();
    let tools = pod.runner.dir().join("tools");
    fs::create_dir(&tools).unwrap();
    symlink("/bin/sh", tools.join("sh")).unwrap();
    pod.runner.set("PATH", tools.to_str().unwrap());
    let step = pod.started();
    step.succeeds();
    assert_eq!(step.variable("API_TOKEN"), Some(VALUE));
    assert_eq!(pod.completed().code, 0);
    assert!(pod.left().is_empty());
}

#[test]
fn a_job_without_a_file_for_its_variables_fails_and_a_job_without_a_summary_file_does_not() {
    let mut unset = pod().ready();
    unset.runner.set("GITHUB_ENV", "");
    unset
        .started()
        .fails(&["podkey 73 stage=write", "GITHUB_ENV", "not set"]);
    assert!(unset.left().is_empty() && unset.is_closed("tmp/secret"));
    let outside = |pod: &Pod| pod.runner.dir().join("outside");
    for place in ["", "/nonexistent/summary", "link", "/dev/full"] {
        let mut pod = pod().ready();
        let link = pod.runner.dir().join("link");
        fs::write(outside(&pod), "").unwrap();
        symlink(outside(&pod), &link).unwrap();
        let place = if place == "link" { link.to_str().unwrap() } else { place };
        pod.runner.set("GITHUB_STEP_SUMMARY", place);
        pod.started().succeeds();
        assert_eq!(fs::read_to_string(outside(&pod)).unwrap(), "", "{place}");
    }
}

#[test]
fn odd_values_are_masked_as_the_rule_says_and_do_not_garble_the_log() {
    for (value, masked, warned) in [
        ("   \t ", false, false),
        ("x", false, true),
        ("true", false, true),
        ("%0A%0D::add-mask::q", true, false),
        ("one-line\rother-line\r\n", true, false),
        ("::add-mask::injected", true, false),
        ("##[add-mask]injected", true, false),
        ("podkey_0123456789abcdef\nA<<podkey_0123456789abcdef\n", true, false),
    ] {
        let mut pod = with_value(value).ready();
        let step = pod.started();
        step.succeeds();
        assert_eq!(step.variable("API_TOKEN"), Some(value), "{value:?}");
        assert_eq!(step.env.as_ref().unwrap().len(), 1, "{value:?}");
        assert_eq!(pod.text("tmp/secret"), value);
        assert_eq!(step.order.contains(&"mask"), masked, "{value:?}");
        assert_eq!(
            step.annotations.iter().any(|(level, ..)| level == "warning"),
            warned,
            "{value:?}"
        );
        // A log line of any job.
        let line = "Run x: true, 0 errors % injected in q";
        assert_eq!(pod.runner.masked(line), line, "{value:?}");
    }
}

#[test]
fn a_value_that_no_variable_can_hold_is_still_a_file() {
    let long = "canary-of-long-".repeat(127 * 1024 / 15);
    let mut pod = with_value(&long).with("/env", json!([])).ready();
    let step = pod.started();
    step.succeeds();
    assert_eq!(pod.text("tmp/secret"), long);
    let (.., warning) = step.annotations.iter().find(|(level, ..)| level == "warning").unwrap();
    assert!(warning.contains("longer than 16 KiB"), "{warning}");
    assert_eq!(pod.runner.masked(&long), "***");

    let bytes = b"canary-of-bytes\xff\xfe\x00\xc3(end";
    let fake = FakeVault::plain(logged_in(|_, _| {
        answer(
            200,
            &secret_body(&json!({"a": "Y2FuYXJ5LW9mLWJ5dGVz//4Awyg="}).to_string()),
        )
    }));
    let mut pod = Pod::new(Agent::for_fake(&fake))
        .with("/files/0/file", json!("/tmp/secret"))
        .with("/files/0/mode", json!("0400"))
        .with("/files/0/decode", json!("base64"))
        .canary("canary-of")
        .ready();
    let step = pod.started();
    step.succeeds();
    let delivered = fs::read(pod.path("tmp/secret")).unwrap();
    assert_eq!(delivered, bytes[..delivered.len()], "byte for byte");
    assert!(delivered.len() > 16 && String::from_utf8(delivered.clone()).is_err());
    let hex: String = delivered.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(pod.runner.masked(&hex), "***");
    let (.., warning) = step.annotations.iter().find(|(level, ..)| level == "warning").unwrap();
    assert!(warning.contains("it is binary"), "{warning}");

    // JSON has no such text, but a file that somebody wrote there may.
    let mut pod = self::pod().ready();
    let file = pod.path("podkey/secrets/env/API_TOKEN");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&file, bytes).unwrap();
    pod.started().fails(&["podkey 65", "API_TOKEN", "NUL byte"]);
    let mut pod = self::pod().ready();
    fs::remove_file(pod.path("podkey/secrets/env/API_TOKEN")).unwrap();
    fs::write(pod.path("podkey/secrets/env/API_TOKEN"), b"canary-of-\xff-bytes").unwrap();
    let step = pod.started();
    step.fails(&["podkey 65", "API_TOKEN", "not UTF-8 text", "podkey.dev/files"]);
    assert!(step.env.unwrap().is_empty() && pod.left().is_empty());
}
