//! `podkey migrate vault-action` as its user meets it. Each folder of `tests/migrate/` is a case: `workflow.yml` and what is
//! said of it, `shown.txt`, which ends with the exit code. `PODKEY_UPDATE=1` writes the latter anew: read the difference.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "support/shown.rs"]
mod shown;

use std::path::Path;

use crate::shown::shown;

/// What `podkey migrate vault-action` shows for these files.
fn migrate(folder: &Path, workflows: &[&str]) -> String {
    shown(folder, &[&["migrate", "vault-action"], workflows].concat())
}

#[test]
fn each_case_is_shown_as_it_should_be() {
    let update = std::env::var_os("PODKEY_UPDATE").is_some();
    let mut cases = 0;
    for entry in std::fs::read_dir("tests/migrate").unwrap() {
        let folder = entry.unwrap().path();
        cases += 1;
        let shown = migrate(&folder, &["workflow.yml"]);
        let golden = folder.join("shown.txt");
        if update {
            std::fs::write(&golden, &shown).unwrap();
        }
        let expected = std::fs::read_to_string(&golden).unwrap_or_default();
        assert_eq!(shown, expected, "{}", folder.display());
    }
    assert!(cases >= 8, "{cases}");
}

/// What is shown is what podkey reads: nobody mends it by hand.
#[test]
fn the_annotations_shown_are_taken_by_podkey() {
    for case in ["a-kubeconfig-by-kubernetes-auth", "paths-and-names-of-every-kind"] {
        let shown = migrate(&Path::new("tests/migrate").join(case), &["workflow.yml"]);
        let mut entries = 0;
        for env in shown.split("podkey.dev/env: |\n").skip(1) {
            let env: String = env.lines().take_while(|line| line.ends_with(" ;")).collect();
            entries += podkey::env::grammar::parse::<podkey::plan::ApiPath>(&env)
                .unwrap()
                .len();
        }
        assert!(entries > 0, "{shown}");
    }
}

#[test]
fn several_workflows_are_shown_one_after_the_other_and_an_unreadable_one_is_an_error() {
    let folder = Path::new("tests/migrate");
    let (none, whole) = (
        "a-workflow-without-vault-action/workflow.yml",
        "a-kubeconfig-by-kubernetes-auth/workflow.yml",
    );
    let shown = migrate(folder, &[none, whole, none]);
    assert_eq!(shown.matches(": no step of vault-action\n").count(), 2, "{shown}");
    assert!(shown.ends_with("exit code 0\n"), "{shown}");
    let shown = migrate(folder, &["/nope.yml"]);
    assert_eq!(
        shown,
        "cannot read /nope.yml: No such file or directory (os error 2)\nexit code 64\n"
    );
    let temporary = tempfile::tempdir().unwrap();
    for (text, expected) in [
        ("a: [", "w.yml cannot be read: "),
        ("jobs: {a: {steps: 1}}", "w.yml cannot be read: "),
        (
            "on: push\n",
            "w.yml is neither a workflow nor a composite action: it has no jobs and no runs\n",
        ),
    ] {
        std::fs::write(temporary.path().join("w.yml"), text).unwrap();
        let shown = migrate(temporary.path(), &["w.yml"]);
        assert!(
            shown.starts_with(expected) && shown.ends_with("exit code 64\n"),
            "{text}: {shown}"
        );
    }
}
