//! `job-started` and `job-completed` in a runner, with what `init` delivered.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::Duration;

use base64::Engine as _;
use serde_json::json;

use crate::deliver::{bao, kubeconfig};
use crate::job_pod::{Pod, user};
use crate::support::agent::Agent;
use crate::support::fake_vault::{FakeVault, json as answer, logged_in, secret_body};
use crate::support::http::Request;
use crate::support::runner::Step;

const TOKEN: &str = "canary-of-%0A-token::add-mask::x";
const PEM: &str = "-----BEGIN KEY-----\ncanary-of-line-one/abcdef+\r\ncanary-of-line-two\n-----END KEY-----\n";

/// One file, and two variables, of which one has several lines.
fn fake() -> FakeVault {
    FakeVault::plain(logged_in(|_: &Request, _| {
        answer(200, &secret_body(&json!({"a": TOKEN, "pem": PEM}).to_string()))
    }))
}

fn pod(fake: &FakeVault) -> Pod {
    Pod::new(Agent::for_fake(fake))
        .with("/files/0/file", json!("/tmp/secret"))
        .with("/files/0/mode", json!("0400"))
        .env("kv/data/web", "a", "API_TOKEN")
        .env("kv/data/web", "pem", "DEPLOY_KEY")
        .canary("canary-of-")
}

#[test]
fn masks_come_first_then_the_job_gets_its_variables_and_a_summary() {
    let mut pod = pod(&fake()).ready();
    let step = pod.started();
    step.succeeds();
    let first_line = step.order.iter().position(|kind| *kind != "mask").unwrap();
    assert!(first_line > 3, "{:?}", step.order);
    assert!(
        step.order[first_line..].iter().all(|kind| *kind != "mask"),
        "{:?}",
        step.order
    );
    assert_eq!(step.variable("API_TOKEN"), Some(TOKEN));
    assert_eq!(step.variable("DEPLOY_KEY"), Some(PEM));
    assert_eq!(step.env.as_ref().unwrap().len(), 2);
    // The file stays for the job, the variables' files do not.
    assert_eq!(pod.text("tmp/secret"), TOKEN);
    assert_eq!(pod.left(), [pod.path("tmp/secret").to_str().unwrap()]);
    for text in ["/tmp/secret", "API_TOKEN", "kv/data/web"] {
        assert!(
            step.log.iter().any(|line| line.contains(text)),
            "{text}: {:?}",
            step.log
        );
        assert!(step.summary.contains(text), "{text}: {}", step.summary);
    }
    // Whatever the job prints of them is hidden, also in the encodings that the runner does not know.
    let hex: String = TOKEN.bytes().map(|byte| format!("{byte:02x}")).collect();
    let base64 = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    for printed in [TOKEN.to_owned(), hex, base64(TOKEN), base64(&format!("{TOKEN}\n"))] {
        let shown = pod.runner.masked(&printed);
        assert!(shown.len() < 8, "{printed:?} is shown as {shown:?}");
    }
    for line in ["canary-of-line-one/abcdef+", "canary-of-line-two"] {
        assert_eq!(pod.runner.masked(line), "***");
    }
    assert!(pod.runner.masked("-----BEGIN KEY-----").contains("BEGIN"), "no secret");
}

#[test]
fn a_properties_file_was_masked_as_if_its_format_were_unknown() {
    let value = "canary:of=a#properties\\file\nsecond'canary:line";
    let fake = FakeVault::plain(logged_in(move |_: &Request, _| {
        answer(
            200,
            &secret_body(&json!({"a": value, "b": "canary-of-another"}).to_string()),
        )
    }));
    let mut pod = Pod::new(Agent::for_fake(&fake))
        .with("/files/0/file", json!("app.properties"))
        .with("/files/0/key", json!(null))
        .with("/files/0/format", json!("properties"))
        .ready();
    let step = pod.started();
    step.succeeds();
    for line in value.lines() {
        assert_eq!(pod.runner.masked(line), "***");
    }
    let file = pod.text("podkey/secrets/app.properties");
    assert_eq!(pod.runner.masked(&file), "a=***\nb=***\n");
}

#[test]
fn one_log_line_has_the_job_and_the_accessor_of_the_token() {
    let mut pod = pod(&fake()).ready();
    let step = pod.started();
    let line = step.log.iter().find(|line| line.contains("fake-accessor")).unwrap();
    for text in [
        "podkey job pod=arc/runner-lq8hd uid=0f1e claimed-repository=",
        "claimed-repository=octo-org/octo-repo ",
        "claimed-run=1234567",
        "claimed-attempt=2",
        "claimed-job=build",
    ] {
        assert!(line.contains(text), "{line}");
    }
}

#[test]
fn without_export_the_files_stay() {
    let mut pod = pod(&fake()).with("/job/export", json!(false)).ready();
    let step = pod.started();
    step.succeeds();
    assert!(step.env.as_ref().unwrap().is_empty());
    assert_eq!(pod.text("podkey/secrets/env/API_TOKEN"), TOKEN);
    assert_eq!(pod.text("podkey/secrets/env/DEPLOY_KEY"), PEM);
    assert_eq!(pod.runner.masked("canary-of-line-two"), "***");
    // Twice is as once, as long as nothing was cleared.
    pod.started().succeeds();
    let step = pod.completed();
    assert_eq!(step.code, 0, "{}", step.raw);
    assert!(pod.left().is_empty(), "{:?}", pod.left());
    assert!(pod.is_closed("tmp/secret"));
}

#[test]
fn nothing_is_masked_if_the_author_says_so() {
    let mut pod = pod(&fake()).with("/job/mask", json!("off")).ready();
    let step = pod.started();
    step.succeeds();
    assert!(!step.order.contains(&"mask"));
    assert_eq!(step.variable("API_TOKEN"), Some(TOKEN));
}

/// What is wrong, and what the job's author reads of it.
type Broken = (&'static str, fn(&mut Pod), &'static [&'static str]);

#[test]
fn every_fault_fails_the_job_and_leaves_no_secret() {
    let table: &[Broken] = &[
        (
            "init never came to its end",
            |pod| fs::remove_file(pod.path("podkey/bin/outcome.json")).unwrap(),
            &[
                "podkey 64 stage=job",
                "outcome.json: there is no such file",
                "podkey-init",
            ],
        ),
        (
            "the outcome is no JSON",
            |pod| {
                fs::set_permissions(pod.path("podkey/bin/outcome.json"), fs::Permissions::from_mode(0o644)).unwrap();
                fs::write(pod.path("podkey/bin/outcome.json"), "{").unwrap();
            },
            &["podkey 64", "does not parse"],
        ),
        (
            "another user",
            |pod| {
                let plan = pod.path("podkey/bin/plan.json");
                let text = fs::read_to_string(&plan).unwrap();
                fs::set_permissions(&plan, fs::Permissions::from_mode(0o644)).unwrap();
                fs::write(&plan, text.replace(&format!("\"user\":{}", user()), "\"user\":4711")).unwrap();
            },
            &["podkey 64", "made for user 4711", "runAsUser:"],
        ),
        (
            "a file that another hook cleared",
            |pod| {
                let file = pod.path("tmp/secret");
                fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
                fs::write(&file, "").unwrap();
                fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).unwrap();
            },
            &["podkey 66", "/tmp/secret", "is gone", "ephemeral"],
        ),
        (
            "a variable that is gone",
            |pod| fs::remove_file(pod.path("podkey/secrets/env/API_TOKEN")).unwrap(),
            &["podkey 66", "API_TOKEN", "is gone"],
        ),
        (
            "a pull request from a fork",
            |pod| pod.runner.pull_request("pull_request", Some((2, "evil/octo-repo"))),
            &["podkey 77 stage=job", "evil/octo-repo", "forks: allow"],
        ),
        (
            "the same with the event that gives it GitHub's own secrets",
            |pod| {
                pod.runner
                    .pull_request("pull_request_target", Some((2, "evil/octo-repo")))
            },
            &["podkey 77", "evil/octo-repo"],
        ),
        (
            "a pull request whose repository is gone",
            |pod| pod.runner.pull_request("pull_request", None),
            &["podkey 77", "repository that was deleted"],
        ),
        (
            "an event that cannot be read",
            |pod| {
                pod.runner.pull_request("pull_request", Some((1, "octo-org/octo-repo")));
                pod.runner.set("GITHUB_EVENT_PATH", "/nonexistent");
            },
            &["podkey 77", "does not say"],
        ),
        (
            "no GITHUB_ENV",
            |pod| {
                pod.runner.set("GITHUB_ENV", "/nonexistent/env");
            },
            &["podkey 73 stage=write", "GITHUB_ENV", "No such file"],
        ),
        (
            "GITHUB_ENV is a link",
            |pod| {
                let link = pod.runner.dir().join("link");
                fs::write(pod.runner.dir().join("target"), "").unwrap();
                symlink(pod.runner.dir().join("target"), &link).unwrap();
                let link = link.to_str().unwrap().to_owned();
                pod.runner.set("GITHUB_ENV", &link);
            },
            &["podkey 73", "symbolic link"],
        ),
        (
            "GITHUB_ENV is a folder",
            |pod| {
                let folder = pod.runner.dir().to_str().unwrap().to_owned();
                pod.runner.set("GITHUB_ENV", &folder);
            },
            &["podkey 73", "GITHUB_ENV"],
        ),
    ];
    for (what, breaks, texts) in table {
        let mut pod = pod(&fake()).ready();
        breaks(&mut pod);
        let step = pod.started();
        step.fails(texts);
        assert!(pod.left().is_empty(), "{what}: {:?}", pod.left());
        assert!(pod.is_closed("tmp/secret"), "{what}");
        // What was there was masked all the same, before anything else was printed.
        assert_eq!(step.order[0], "mask", "{what}");
        assert!(step.env.as_ref().unwrap().is_empty(), "{what}");
    }
}

#[test]
fn a_failure_of_init_fails_the_job() {
    let fake = FakeVault::plain(logged_in(|_, _| {
        answer(403, r#"{"errors":["permission denied ##[add-mask]x ::error::y"]}"#)
    }));
    let mut pod = pod(&fake).ready();
    let step = pod.started();
    step.fails(&[
        "podkey 77 stage=read connection=fake",
        "permission denied",
        "kv/data/web",
    ]);
    assert!(
        !step.order.contains(&"mask"),
        "the server's words are no command: {}",
        step.raw
    );
    assert!(pod.is_closed("tmp/secret"));
    assert_eq!(pod.completed().code, 0);
}

#[test]
fn values_that_no_variable_can_hold_fail_the_job() {
    for (value, texts) in [
        (
            json!("x".repeat(127 * 1024)),
            &["podkey 65", "A has 130048 bytes", "podkey.dev/files"][..],
        ),
        (json!("canary-of-\0-nul"), &["podkey 65", "NUL byte"]),
    ] {
        let fake = FakeVault::plain(logged_in(move |_, _| {
            answer(200, &secret_body(&json!({"a": value}).to_string()))
        }));
        let mut pod = Pod::new(Agent::for_fake(&fake))
            .with("/files", json!([]))
            .env("kv/data/web", "a", "A")
            .canary("canary-of-")
            .ready();
        let step = pod.started();
        step.fails(texts);
        assert!(pod.left().is_empty());
    }
}

#[test]
fn odd_values_arrive_as_they_are() {
    for value in [
        "",
        " ",
        "\r",
        "\n",
        "x",
        "%0A",
        "\u{fffd}",
        "a\r\nb\n",
        "::error::x",
        "podkey_1\nX<<podkey_1\n",
    ] {
        let data = json!({"a": value}).to_string();
        let fake = FakeVault::plain(logged_in(move |_, _| answer(200, &secret_body(&data))));
        let mut pod = Pod::new(Agent::for_fake(&fake))
            .with("/files", json!([]))
            .env("kv/data/web", "a", "A")
            .ready();
        let step = pod.started();
        step.succeeds();
        assert_eq!(step.variable("A"), Some(value), "{value:?}");
    }
}

#[test]
fn a_value_that_is_not_masked_is_reported_and_not_shown() {
    let fake = FakeVault::plain(logged_in(|_, _| answer(200, &secret_body(r#"{"a":"q7z"}"#))));
    let mut pod = Pod::new(Agent::for_fake(&fake))
        .with("/files", json!([]))
        .env("kv/data/web", "a", "PIN")
        .ready();
    let step = pod.started();
    step.succeeds();
    let (_, title, warning) = step
        .annotations
        .iter()
        .find(|(level, _, _)| level == "warning")
        .unwrap();
    assert!(
        title.contains("not masked") && warning.contains("PIN"),
        "{title}: {warning}"
    );
    assert!(!step.raw.contains("q7z"), "{}", step.raw);
}

#[test]
fn a_job_that_the_policy_allows_gets_its_secrets() {
    let policies = json!([{"repositories": ["octo-org/*"], "events": ["push", "pull_request"]}, {"protectedRefs": true, "forks": "allow"}]);
    let mut allowed = pod(&fake()).with("/job/policies", policies.clone()).ready();
    allowed.started().succeeds();
    let mut fork = pod(&fake()).with("/job/policies", json!([{"forks": "allow"}])).ready();
    fork.runner.pull_request("pull_request", Some((2, "evil/octo-repo")));
    fork.started().succeeds();
    let mut refused = pod(&fake()).with("/job/policies", policies).ready();
    refused
        .runner
        .set("GITHUB_REF_PROTECTED", "false")
        .set("GITHUB_REPOSITORY", "other/repo");
    refused
        .started()
        .fails(&["podkey 77", "other/repo", "is not protected", "podkey.dev/job-policy"]);
    assert!(refused.left().is_empty());
}

#[test]
fn a_lease_that_ended_while_the_runner_waited_fails_the_job() {
    let leased = |seconds: u64| {
        FakeVault::plain(logged_in(move |_, _| {
            answer(
                200,
                &format!(
                    r#"{{"lease_id":"db/1","renewable":true,"lease_duration":{seconds},"data":{{"a":"canary-of-leased"}}}}"#
                ),
            )
        }))
    };
    let ready = |seconds| {
        Pod::new(Agent::for_fake(&leased(seconds)))
            .with("/files/0/file", json!("/tmp/secret"))
            .canary("canary-of-leased")
            .ready()
    };
    ready(3600).started().succeeds();
    let mut over = ready(1);
    // The end is stored in whole seconds.
    std::thread::sleep(Duration::from_millis(2100));
    over.started()
        .fails(&["podkey 65", "kv/data/web", "as: job", "podkey.dev/refresh"]);
    assert!(over.is_closed("tmp/secret"));
}

/// The masks stood before all else, also before the policy. A hook that died of them, by a signal or by what a secret holds, left
/// every file in its place, and to jobs that are not to have any.
#[test]
fn a_hook_that_is_killed_at_its_masks_leaves_no_files() {
    let data: serde_json::Map<String, serde_json::Value> = (0..200)
        .map(|n| (format!("k{n}"), json!(format!("canary-of-{n}-{}", "x".repeat(1000)))))
        .collect();
    let body = secret_body(&serde_json::Value::Object(data).to_string());
    let fake = FakeVault::plain(logged_in(move |_, _| answer(200, &body)));
    for (export, refused) in [(true, true), (true, false), (false, false)] {
        let mut pod = Pod::new(Agent::for_fake(&fake))
            .with(
                "/files",
                json!([{"secret": "kv/data/web", "key": "k0", "format": "raw", "file": "/tmp/secret", "mode": "0400"}]),
            )
            .file(json!({"secret": "kv/data/web", "format": "raw", "file": "all/{{ .SecretKey }}", "mode": "0400"}))
            .entry(
                "/env",
                json!({"secret": "kv/data/web", "select": {"keepCase": {"prefix": "P_"}}}),
            )
            .with("/job/export", json!(export))
            .ready();
        assert_eq!(pod.left().len(), 401);
        if refused {
            pod.runner.pull_request("pull_request", Some((2, "evil/octo-repo")));
        }
        let (hook, arguments) = pod.hook_call("job-started.sh");
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let mut child = pod.runner.spawn(&hook, &arguments);
        // Nobody reads more than the beginning: more masks than a pipe holds keep it where it is.
        let mut line = String::new();
        let mut printed = BufReader::new(child.stdout.take().unwrap());
        printed.read_line(&mut line).unwrap();
        assert!(line.starts_with("::add-mask::"), "the first line is no mask");
        assert!(pod.left().is_empty() && pod.is_closed("tmp/secret"), "{:?}", pod.left());
        crate::process::send("-KILL", &child);
        assert!(!child.wait().unwrap().success());
        assert!(pod.left().is_empty() && pod.is_closed("tmp/secret"), "{:?}", pod.left());
    }
}

#[test]
fn the_hook_writes_the_files_again_as_they_were() {
    let fake = FakeVault::plain(logged_in(|_, _| {
        answer(
            200,
            &secret_body(r#"{"a":"canary-of-a","b.txt":"canary-of-b","none":""}"#),
        )
    }));
    let file = |file: &str, key: &str, mode: &str| json!({"secret": "kv/data/web", "key": key, "format": "raw", "file": file, "mode": mode});
    let mut pod = Pod::new(Agent::for_fake(&fake))
        .with("/files", json!([]))
        .file(file("/tmp/secret", "a", "0400"))
        .file(file("/tmp/empty", "none", "0444"))
        .file(file("dir/deep/b", "b.txt", "0440"))
        .file(json!({"secret": "kv/data/web", "format": "raw", "file": "all/{{ .SecretKey }}", "mode": "0444"}))
        .env("kv/data/web", "a", "A")
        .with("/envMode", json!("0440"))
        .with("/job/export", json!(false))
        .ready();
    let places = [
        "tmp/secret",
        "tmp/empty",
        "podkey/secrets/dir/deep/b",
        "podkey/secrets/all/a",
        "podkey/secrets/all/b.txt",
        "podkey/secrets/all/none",
        "podkey/secrets/env/A",
    ];
    let seen = |pod: &Pod| {
        places.map(|place| {
            let found = fs::metadata(pod.path(place)).unwrap_or_else(|error| panic!("{place}: {error}"));
            (
                place,
                found.permissions().mode() & 0o7777,
                fs::read(pod.path(place)).unwrap(),
            )
        })
    };
    let before = seen(&pod);
    pod.started().succeeds();
    assert_eq!(seen(&pod), before);
    let names: Vec<_> = fs::read_dir(pod.path("podkey/secrets/all"))
        .unwrap()
        .flatten()
        .collect();
    assert_eq!(names.len(), 3, "{names:?}");
}

#[test]
fn the_second_job_of_a_pod_gets_nothing() {
    let mut pod = pod(&fake()).ready();
    pod.started().succeeds();
    assert_eq!(pod.completed().code, 0);
    assert!(pod.left().is_empty());
    pod.started().fails(&["is gone", "one job"]);
}

#[test]
fn the_completed_hook_never_fails_a_job() {
    let mut planless = pod(&fake()).ready();
    fs::remove_file(planless.path("podkey/bin/plan.json")).unwrap();
    assert_eq!(planless.completed().code, 0);
    assert!(planless.left().is_empty() && planless.is_closed("tmp/secret"));
    let mut gone = pod(&fake()).ready();
    fs::remove_file(gone.path("podkey/bin/podkey-agent")).unwrap();
    assert_eq!(gone.completed().code, 0);
    // The job put a link where a file was: what it leads to is not touched.
    let mut linked = pod(&fake())
        .file(json!({"secret": "kv/data/web", "key": "a", "format": "raw", "file": "dir/b", "mode": "0400"}))
        .ready();
    let outside = linked.runner.dir().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("b"), "the job's own").unwrap();
    fs::remove_file(linked.path("tmp/secret")).unwrap();
    symlink(outside.join("b"), linked.path("tmp/secret")).unwrap();
    fs::remove_dir_all(linked.path("podkey/secrets/dir")).unwrap();
    symlink(&outside, linked.path("podkey/secrets/dir")).unwrap();
    let step = linked.completed();
    assert_eq!(step.code, 0);
    assert!(step.raw.contains("not all of the job's secret files"), "{}", step.raw);
    assert_eq!(fs::read_to_string(outside.join("b")).unwrap(), "the job's own");
    assert!(
        !linked.path("podkey/secrets/env/API_TOKEN").exists(),
        "the others are cleared"
    );
}

/// A hook of the pod's author.
fn next(pod: &mut Pod, variable: &str, name: &str, script: &str) {
    let file = pod.runner.dir().join(name);
    fs::write(&file, script).unwrap();
    let file = file.to_str().unwrap().to_owned();
    pod.runner.set(variable, &file);
}

#[test]
fn the_authors_hook_runs_after_podkeys_hook_and_its_exit_code_counts() {
    for code in [0, 3] {
        let script = format!("echo \"after $BASH_VERSION $-\"\n[ -z \"$PODKEY_NEXT_JOB_STARTED\" ]\nexit {code}\n");
        let mut pod = pod(&fake()).ready();
        next(&mut pod, "PODKEY_NEXT_JOB_STARTED", "own.sh", &script);
        let step = pod.started();
        assert_eq!(step.code, code, "{}", step.raw);
        let his = step.log.iter().find(|line| line.starts_with("after ")).unwrap();
        assert!(his.contains('e'), "{his}");
        assert_eq!(step.variable("API_TOKEN"), (code == 0).then_some(TOKEN));
        next(&mut pod, "PODKEY_NEXT_JOB_COMPLETED", "own.sh", &script);
        pod.runner.unset("PODKEY_NEXT_JOB_STARTED");
        assert_eq!(pod.completed().code, code);
        assert!(pod.left().is_empty());
    }
}

#[test]
fn a_failing_hook_of_the_author_leaves_no_secret_for_steps_that_always_run() {
    for (end, code) in [("exit 3", 3), ("kill -9 $$", 137)] {
        let mut pod = pod(&fake()).ready();
        let script = format!(
            "[ -s {} ]\necho \"HIS=$API_TOKEN\" >>$GITHUB_ENV\n{end}\n",
            pod.path("tmp/secret").display()
        );
        next(&mut pod, "PODKEY_NEXT_JOB_STARTED", "own.sh", &script);
        let step = pod.started();
        assert_eq!(step.code, code, "{}", step.raw);
        assert!(pod.left().is_empty() && pod.is_closed("tmp/secret"), "{:?}", pod.left());
        // What he exported himself is his own business.
        assert_eq!(step.variable("HIS"), Some(""));
        assert_eq!(step.env.as_ref().unwrap().len(), 1, "{:?}", step.env);
        assert!(!step.summary.contains("API_TOKEN"), "{}", step.summary);
    }
}

#[test]
fn a_last_line_of_the_authors_hook_without_a_line_feed_is_not_joined_with_podkeys() {
    let mut pod = pod(&fake()).ready();
    next(
        &mut pod,
        "PODKEY_NEXT_JOB_STARTED",
        "own.sh",
        "printf HIS=1 >>$GITHUB_ENV\n",
    );
    let step = pod.started();
    step.succeeds();
    assert_eq!(step.variable("HIS"), Some("1"));
    assert_eq!(step.variable("API_TOKEN"), Some(TOKEN));
}

#[test]
fn the_signals_of_a_cancelled_job_reach_the_authors_hook() {
    let long = Duration::from_secs(60);
    for (traps, patience, signal, code) in [
        ("trap 'exit 7' INT", [long; 2], "-INT", 7),
        (
            "trap '' INT; trap 'exit 8' TERM",
            [Duration::from_millis(300), long],
            "-TERM",
            8,
        ),
    ] {
        let mut pod = pod(&fake()).ready();
        let ready = pod.runner.dir().join("ready");
        let script = format!("{traps}\n: >{}\nwhile :; do sleep 0.05; done\n", ready.display());
        next(&mut pod, "PODKEY_NEXT_JOB_STARTED", "own.sh", &script);
        pod.runner.patience = patience;
        let (hook, arguments) = pod.hook_call("job-started.sh");
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let child = pod.runner.spawn(&hook, &arguments);
        crate::process::wait_for(|| ready.exists());
        let (step, ended_by) = pod.runner.cancel(child);
        pod.check(&step);
        assert_eq!((ended_by, step.code), (signal, code), "{}", step.raw);
        assert!(step.env.unwrap().is_empty());
        assert!(pod.left().is_empty() && pod.is_closed("tmp/secret"), "{:?}", pod.left());
    }
}

#[test]
fn the_authors_hooks_end_on_a_signal_that_the_runner_ignores() {
    for (hook, variable) in [
        ("job-started.sh", "PODKEY_NEXT_JOB_STARTED"),
        ("job-completed.sh", "PODKEY_NEXT_JOB_COMPLETED"),
    ] {
        for (signal, code) in [("-INT", 130), ("-TERM", 143)] {
            let mut pod = pod(&fake()).ready();
            pod.runner.ignores_signals = true;
            let ready = pod.runner.dir().join("ready");
            let script = format!(
                "trap 'exit {code}' INT TERM\n: >{}\nwhile :; do sleep 0.05; done\n",
                ready.display()
            );
            next(&mut pod, variable, "own.sh", &script);
            let (hook, arguments) = pod.hook_call(hook);
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let child = pod.runner.spawn(&hook, &arguments);
            crate::process::wait_for(|| ready.exists());
            crate::process::send(signal, &child);
            let step = pod.runner.take(crate::process::ended(child));
            pod.check(&step);
            assert_eq!(step.code, code, "{variable}: {}", step.raw);
            assert!(pod.left().is_empty() && pod.is_closed("tmp/secret"), "{:?}", pod.left());
        }
    }
}

#[test]
fn a_completed_hook_of_the_author_that_cannot_be_run_fails_no_job() {
    let mut pod = pod(&fake()).ready();
    for hook in ["/nonexistent.sh", "/etc/passwd"] {
        pod.runner.set("PODKEY_NEXT_JOB_COMPLETED", hook);
        let step = pod.completed();
        assert_eq!(step.code, 0, "{}", step.raw);
        let (level, _, message) = &step.annotations[0];
        assert!(level == "warning" && message.contains(hook), "{level}: {message}");
        assert!(pod.left().is_empty());
    }
}

#[test]
fn the_authors_started_hook_does_not_run_if_podkeys_fails_and_his_completed_hook_does() {
    let mut pod = pod(&fake()).ready();
    fs::remove_file(pod.path("podkey/bin/outcome.json")).unwrap();
    next(&mut pod, "PODKEY_NEXT_JOB_STARTED", "own.sh", "echo ran\n");
    let step = pod.started();
    step.fails(&["outcome.json"]);
    assert!(!step.raw.contains("ran"), "{}", step.raw);
    fs::remove_file(pod.path("podkey/bin/plan.json")).unwrap();
    next(&mut pod, "PODKEY_NEXT_JOB_COMPLETED", "own.sh", "echo ran\n");
    assert_eq!(pod.completed().log.last().unwrap(), "ran");
}

#[test]
fn a_value_that_names_no_hook_is_ignored_or_reported() {
    let mut pod = pod(&fake()).with("/job/export", json!(false)).ready();
    for none in ["", "$(ACTIONS_RUNNER_HOOK_JOB_STARTED)", "/podkey/bin/job-started.sh"] {
        pod.runner.set("PODKEY_NEXT_JOB_STARTED", none);
        pod.started().succeeds();
    }
    next(&mut pod, "PODKEY_NEXT_JOB_STARTED", "own.py", "print('x')\n");
    pod.started().fails(&["own.py", ".sh, .ps1 or .js"]);
}

#[test]
fn a_hook_of_the_author_that_cannot_be_run_leaves_no_secret() {
    let mut pod = pod(&fake()).ready();
    pod.runner.set("PODKEY_NEXT_JOB_STARTED", "/nonexistent.sh");
    let step = pod.started();
    step.fails(&["/nonexistent.sh", "no such file"]);
    assert_eq!(
        step.variable("API_TOKEN"),
        None,
        "the runner reads the file of a hook that failed"
    );
    assert!(pod.left().is_empty(), "{:?}", pod.left());
}

#[test]
fn a_javascript_hook_runs_in_the_runners_own_node_and_a_shell_is_found_without_bash() {
    let mut pod = pod(&fake()).with("/job/export", json!(false)).ready();
    // Scripts in the place of Node and of a system without bash.
    let node = pod.runner.dir().join("externals/node20/bin/node");
    let tools = pod.runner.dir().join("tools");
    for (file, script) in [
        (&node, "#!/bin/sh\necho \"own node runs $1\"\n"),
        (
            &tools.join("sh"),
            "#!/bin/sh\ncase $2 in */own.sh) echo \"sh $*\";; *) exec /bin/sh \"$@\";; esac\n",
        ),
    ] {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, script).unwrap();
        fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap();
    }
    next(&mut pod, "PODKEY_NEXT_JOB_STARTED", "own.js", "");
    let step = pod.started();
    step.succeeds();
    let runs = |step: &Step, begins: &str, script: &str| {
        let mut lines = step.log.iter();
        assert!(
            lines.any(|line| line.starts_with(begins) && line.ends_with(script)),
            "{}",
            step.raw
        );
    };
    runs(&step, "own node runs", "own.js");
    next(&mut pod, "PODKEY_NEXT_JOB_STARTED", "own.sh", "");
    let path = tools.to_str().unwrap().to_owned();
    pod.runner.set("PATH", &path);
    let step = pod.started();
    step.succeeds();
    runs(&step, "sh -e ", "own.sh");
}

#[test]
fn many_secrets_are_masked() {
    let data: serde_json::Map<String, serde_json::Value> = (0..40)
        .map(|n| (format!("k{n}"), json!(format!("canary-of-{n}-{}", "x".repeat(1000)))))
        .collect();
    let body = secret_body(&serde_json::Value::Object(data).to_string());
    let fake = FakeVault::plain(logged_in(move |_, _| answer(200, &body)));
    let mut pod = Pod::new(Agent::for_fake(&fake))
        .with("/files", json!([]))
        .entry(
            "/env",
            json!({"secret": "kv/data/web", "select": {"keepCase": {"prefix": "P_"}}}),
        )
        .canary("canary-of-")
        .ready();
    let step = pod.started();
    step.succeeds();
    assert_eq!(step.env.as_ref().unwrap().len(), 40);
}

#[test]
fn the_kubeconfig_of_scenario_1_is_masked_leaf_by_leaf() {
    let mut pod = Pod::new(Agent::for_bao(bao())).file(kubeconfig()).ready();
    pod.started().succeeds();
    assert!(pod.runner.masked("apiVersion: v1").contains("apiVersion"), "no secret");
    assert!(pod.path("tmp/kubeconfig").exists());
}

#[test]
fn refreshed_files_are_found_and_masked() {
    for file in ["config", "web/config", "{{ .SecretKey }}"] {
        let fake = FakeVault::plain(logged_in(|_, _| {
            answer(200, &secret_body(r#"{"a":"canary-kept-fresh"}"#))
        }));
        let plan = json!([{"secret": "kv/web", "format": "raw", "file": file, "mode": "0400"}]);
        let mut pod = Pod::new(Agent::for_fake(&fake).refresh("5s")).with("/files", plan);
        if !file.contains("{{") {
            pod = pod.with("/files/0/key", json!("a"));
        }
        pod.init().expect(0, &[]);
        pod.mount();
        let step = pod.started();
        assert_eq!(step.code, 0, "{file}: {}", step.raw);
        assert!(
            step.raw.contains("::add-mask::canary-kept-fresh"),
            "{file}: {}",
            step.raw
        );
    }
}
