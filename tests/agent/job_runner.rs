//! The tests' own runner, held to what is known of the real one.

use std::fs;

use crate::support::runner::{Runner, read_env};

/// What a hook that is this script gets out of the runner.
fn runs(script: &str) -> (Runner, crate::support::runner::Step) {
    let mut runner = Runner::new();
    let hook = runner.dir().join("hook.sh");
    fs::write(&hook, script).unwrap();
    let step = runner.run(&hook, &[]);
    (runner, step)
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
    let set = read_env("A=1=2\nB<<E\nx\n\nE\n\nC<<E\nE\n").unwrap();
    let set: Vec<(&str, &str)> = set.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(set, [("A", "1=2"), ("B", "x\n"), ("C", "")]);
    for bad in ["A", "A<<E\nx", "A<<E\nE ", "<<E\nE\n", "node_options=x\n"] {
        assert!(read_env(bad).is_err(), "{bad:?}");
    }
}
