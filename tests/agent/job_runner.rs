//! The tests' own runner behaves as the real runner is known to behave.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::Duration;

use crate::support::runner::{Runner, Step, When, read_env};

fn hook(runner: &Runner, name: &str, script: &str) -> PathBuf {
    let hook = runner.dir().join(name);
    fs::write(&hook, script).unwrap();
    hook
}

/// What a hook that is this script gets out of the runner.
fn runs(script: &str) -> (Runner, Step) {
    let mut runner = Runner::new();
    let hook = hook(&runner, "hook.sh", script);
    let step = runner.run(&hook, &[]);
    (runner, step)
}

/// A runner with these two hooks.
fn with_hooks(started: &str, completed: &str) -> Runner {
    let mut runner = Runner::new();
    for (variable, name, script) in [
        ("ACTIONS_RUNNER_HOOK_JOB_STARTED", "started.sh", started),
        ("ACTIONS_RUNNER_HOOK_JOB_COMPLETED", "completed.sh", completed),
    ] {
        let hook = hook(&runner, name, script);
        runner.set(variable, hook.to_str().unwrap());
    }
    runner
}

#[test]
fn a_hook_runs_in_the_workspace_with_its_input_closed_and_stops_at_the_first_failure() {
    let (runner, step) = runs("pwd\ncat\necho \"$GITHUB_JOB $BASH_VERSION\"\nfalse\necho unreached\n");
    assert_eq!(step.code, 1);
    assert_eq!(step.log.len(), 2, "{:?}", step.log);
    assert_eq!(step.log[0], runner.env["GITHUB_WORKSPACE"]);
    assert!(step.log[1].starts_with("build "), "{:?}", step.log);
}

#[test]
fn masks_hold_for_the_whole_value_its_lines_and_the_runners_encodings() {
    let (runner, step) =
        runs("echo '::add-mask::two%0A  words here%25'\necho 'a two b'\necho ' ::error title=T%3A::no two'\n");
    assert_eq!(step.order, ["mask", "line", "annotation"]);
    assert_eq!(step.log, ["a *** b", "##[error]no ***"]);
    assert_eq!(step.annotations[0].1, "T:");
    for shown in [
        "x words here% y",
        "d29yZHMgaGVyZSU=",
        "dHdvCiAgd29yZHMgaGVyZSU=",
        "words%20here%25",
    ] {
        assert!(
            runner.masked(shown).contains("***"),
            "{shown}: {}",
            runner.masked(shown)
        );
    }
    // Not by the runner: hexadecimal.
    assert_eq!(runner.masked("776f726473"), "776f726473");
}

#[test]
fn a_lone_carriage_return_ends_a_line_and_an_old_command_may_stand_anywhere_in_it() {
    let (_, step) = runs("printf 'x\\r::warning::w\\nsee ##[error]e%%5D\\n::unknown::x\\n'");
    assert_eq!(step.order, ["line", "annotation", "annotation", "line"]);
    assert_eq!(step.annotations[1].2, "e]");
}

#[test]
fn github_env_has_two_forms_and_refuses_one_name() {
    let set = read_env("A=1=2\nB<<E\nx\n\nE\n\nC<<E\nE\nD<<=\n\r\n=\nE=<<F\n").unwrap();
    let set: Vec<(&str, &str)> = set.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(set, [("A", "1=2"), ("B", "x\n"), ("C", ""), ("D", "\r"), ("E", "<<F")]);
    for bad in ["A", "A<<E\nx", "A<<E\nE ", "A<<E\nE\r\n", "<<E\nE\n", "A<<\n\n"] {
        assert!(read_env(bad).is_err(), "{bad:?}");
    }
    // The step fails with it, and nothing of the file counts.
    let (runner, step) = runs("echo A=1 >>$GITHUB_ENV\necho B >>$GITHUB_ENV\n");
    assert!(
        step.failed && step.code == 0 && runner.job_env.is_empty(),
        "{:?}",
        step.env
    );
    // One name alone is refused, and the rest counts.
    let (runner, step) = runs("echo A=1 >>$GITHUB_ENV\necho node_options=x >>$GITHUB_ENV\n");
    assert!(!step.failed && step.annotations.len() == 1, "{:?}", step.annotations);
    assert_eq!(runner.job_env.keys().collect::<Vec<_>>(), ["A"]);
}

#[test]
fn every_mask_encoder_of_the_runner_is_applied() {
    let (runner, _) = runs("echo '::add-mask::a\"b%0D%0A<c>\\'\n");
    for shown in [
        // Base64, also without the first byte or two; a shell's, JSON's, XML's and a URL's escapes.
        "YSJiDQo8Yz5c",
        "ImINCjxjPlw=",
        "Yg0KPGM+XA==",
        "a\\\"b",
        "a\\\"b\\r\\n<c>\\\\",
        "a&quot;b",
        "a%22b%0D%0A%3Cc%3E%5C",
        "&lt;c&gt;\\",
    ] {
        assert_eq!(runner.masked(shown), "***", "{shown}");
    }
    let masks = |value: &str| {
        let (runner, _) = runs(&format!("echo '::add-mask::{value}'\n"));
        runner.masks
    };
    let has = |value: &str, form: &str| masks(value).iter().any(|mask| mask == form);
    // Quotes go where more than eight characters have them; an expression doubles its own.
    assert!(has("\"1234567\"", "1234567") && !has("\"123456\"", "123456"));
    let (runner, _) = runs("echo \"::add-mask::it's\"\n");
    assert!(runner.masks.contains(&"it''s".to_owned()));
    // PowerShell breaks a command at its last `&`, or around the letter after the first `&+`.
    for (value, parts) in [
        ("secret1&secret2&secret3", ["secret1&secret2&", "secret3"]),
        ("secret1&+secret2&secret3", ["secret1&+", "ecret2&secret3"]),
    ] {
        for part in parts {
            assert!(has(value, part), "{value}: {part}");
        }
    }
    assert!(
        !has("abcd&efgh", "abcd&") && !has("abcd&efgh", "efgh"),
        "five are too few"
    );
    assert!(has("abcde&efghij", "abcde&") && has("abcde&efghij", "efghij"));
}

#[test]
fn a_blank_mask_is_refused_and_unsafe_commands_fail_the_step() {
    let (runner, step) = runs("echo '::add-mask:: '\necho '::add-mask::'\n");
    assert!(runner.masks.is_empty() && step.annotations.len() == 2 && !step.failed);
    for command in ["::set-env name=A::1", "::add-path::/x", "##[set-env name=A]1"] {
        let (runner, step) = runs(&format!("echo '{command}'\n"));
        assert!(step.failed && step.code == 0 && runner.job_env.is_empty(), "{command}");
    }
}

#[test]
fn commands_can_be_stopped_until_a_token_comes() {
    let (runner, step) = runs(
        "echo '::stop-commands::T0ken'\necho '::add-mask::hidden'\necho '::t0ken::'\necho '::add-mask::shown'\necho hidden shown\n",
    );
    assert_eq!(step.order, ["line", "line", "line", "mask", "line"]);
    assert_eq!(step.log.last().unwrap(), "hidden ***");
    assert_eq!(runner.masked("hidden"), "hidden");
}

#[test]
fn a_job_runs_its_hooks_around_its_steps_and_only_always_runs_after_a_failure() {
    let see = "echo \"A=$A PATH=$PATH\"\n";
    let mut runner = with_hooks(
        "echo A=1 >>$GITHUB_ENV\necho /added >>$GITHUB_PATH\necho '::add-mask::s3cret-of-hook'\n",
        see,
    );
    let job = runner.job(&[
        (When::Success, "echo \"$A s3cret-of-hook\"\necho A=2 >>$GITHUB_ENV\n"),
        (When::Success, see),
    ]);
    let log = |step: &Option<Step>| step.as_ref().unwrap().log.join("\n");
    assert_eq!(log(&job.steps[0]), "1 ***");
    assert!(
        log(&job.steps[1]).starts_with("A=2 PATH=/added:"),
        "{}",
        log(&job.steps[1])
    );
    // The completed hook sees nothing of it.
    assert!(log(&job.completed).starts_with("A= PATH=/"), "{}", log(&job.completed));
    assert!(!log(&job.completed).contains("/added") && !job.failed);

    let mut runner = with_hooks("exit 3\n", "echo last\n");
    let job = runner.job(&[(When::Success, "echo no\n"), (When::Always, "echo yes\n")]);
    assert!(job.failed && job.steps[0].is_none() && job.steps[1].is_some());
    assert_eq!(job.started.unwrap().code, 3);
    assert_eq!(job.completed.unwrap().log, ["last"]);
}

#[test]
fn a_hook_that_is_missing_or_not_a_script_fails_the_job_and_no_hook_is_no_failure() {
    for (path, problem) in [("/nonexistent.sh", "doesn't exist"), ("/bin/sh", "not a valid path")] {
        let mut runner = Runner::new();
        runner.set("ACTIONS_RUNNER_HOOK_JOB_STARTED", path);
        let job = runner.job(&[(When::Success, "true")]);
        assert!(job.failed && job.steps[0].is_none() && job.completed.is_none());
        assert!(job.started.unwrap().annotations[0].2.contains(problem));
    }
    assert!(!Runner::new().job(&[(When::Success, "true")]).failed);
}

#[test]
fn the_env_file_of_the_listener_wins_and_a_job_cannot_change_it() {
    let mut runner = with_hooks("echo pod\n", "echo pod\n");
    let other = hook(&runner, "other.sh", "echo file\n");
    let env = runner.dir().join(".env");
    fs::write(
        &env,
        format!("ACTIONS_RUNNER_HOOK_JOB_STARTED={}\n=x\nno line\n", other.display()),
    )
    .unwrap();
    let script = format!(
        "echo ACTIONS_RUNNER_HOOK_JOB_COMPLETED={} >>{}\n",
        other.display(),
        env.display()
    );
    let job = runner.job(&[(When::Success, &script)]);
    assert_eq!(job.started.unwrap().log, ["file"]);
    assert_eq!(job.completed.unwrap().log, ["pod"]);
}

#[test]
fn without_bash_a_hook_runs_in_sh() {
    let mut runner = Runner::new();
    let tools = runner.dir().join("tools");
    fs::create_dir(&tools).unwrap();
    symlink("/bin/sh", tools.join("sh")).unwrap();
    let hook = hook(
        &runner,
        "hook.sh",
        "echo \"sh $0 ${BASH_VERSION:-none}\"\nfalse\necho on\n",
    );
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o444)).unwrap();
    runner.set("PATH", tools.to_str().unwrap());
    let step = runner.run(&hook, &[]);
    assert!(step.code == 1 && step.log.len() == 1, "{:?}", step.log);
    assert!(step.log[0].ends_with("hook.sh none"), "{:?}", step.log);
}

#[test]
fn a_cancelled_hook_gets_sigint_then_sigterm_then_is_killed() {
    for (traps, ended_by) in [("", "-INT"), ("trap '' INT", "-TERM"), ("trap '' INT TERM", "-KILL")] {
        let mut runner = Runner::new();
        // Short only where it is waited out: how soon a program ends is the machine's business.
        let (long, short) = (Duration::from_secs(60), Duration::from_millis(300));
        runner.patience = match ended_by {
            "-INT" => [long; 2],
            "-TERM" => [short, long],
            _ => [short; 2],
        };
        let script = format!("{traps}\necho A=1 >>$GITHUB_ENV\nexec sleep 60\n");
        let hook = hook(&runner, "hook.sh", &script);
        let child = runner.spawn(&hook, &[]);
        // A signal that comes while bash becomes another program is lost.
        let name = format!("/proc/{}/comm", child.id());
        crate::process::wait_for(|| fs::read_to_string(&name).is_ok_and(|name| name == "sleep\n"));
        let (step, signal) = runner.cancel(child);
        assert_eq!(signal, ended_by);
        assert!(step.failed && step.code > 128, "{}", step.code);
        // The command files are read whatever the end.
        assert_eq!(step.variable("A"), Some("1"));
    }
}

#[test]
fn a_secret_that_is_shown_in_any_form_fails_the_test() {
    let secret = "s3cret/of:the+job?";
    let shows = |script: &str, masked: bool| {
        let mut runner = Runner::new();
        runner.watch(secret);
        let mask = if masked {
            format!("echo '::add-mask::{secret}'\n")
        } else {
            String::new()
        };
        let hook = hook(&runner, "hook.sh", &format!("{mask}{script}"));
        catch_unwind(AssertUnwindSafe(|| runner.run(&hook, &[]))).is_err()
    };
    let print = format!("printf '%s' '{secret}'");
    for script in [
        format!("{print}\n"),
        format!("{print} >&2\n"),
        format!("{print} >>$GITHUB_STEP_SUMMARY\n"),
        format!("echo '::error title={}::x'\n", secret.replace(':', "%3A")),
        format!("echo '##[warning]x {secret}'\n"),
        format!("echo 'A={secret}' >>$GITHUB_ENV\n"),
        format!("{print} | base64\n"),
        format!("printf 'u:%s' '{secret}' | base64\n"),
        format!("printf 'us:%s@h' '{secret}' | base64\n"),
        "echo s3cret%2Fof%3Athe%2Bjob%3F\n".to_owned(),
    ] {
        assert!(shows(&script, false), "{script}");
        // The runner hides what it was told to, but for a last group of base64 that is not the value's alone.
        assert!(!shows(&script, true) || script.contains("base64"), "{script}");
    }
    for script in [
        format!("{print} | base64 | tr /+ _-\n"),
        format!("{print} | od -An -v -tx1 | tr -d ' \\n'\n"),
    ] {
        assert!(shows(&script, true), "the runner does not hide {script}");
    }
    assert!(!shows("echo s3cret\n", false));
}
