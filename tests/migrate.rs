//! `podkey migrate vault-action` as its user meets it. Each folder of `tests/migrate/` is a case: `workflow.yml`, or `.github/workflows/`
//! with further arguments in `args.txt`, and what is printed, `shown.txt`, which ends with the exit code. `PODKEY_UPDATE=1` writes the
//! latter anew: read the difference.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "support/shown.rs"]
mod shown;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::shown::shown;

/// What `podkey migrate vault-action` shows for these files.
fn migrate(folder: &Path, workflows: &[&str]) -> String {
    shown(folder, &[&["migrate", "vault-action"], workflows].concat())
}

/// The folders of the cases.
fn cases() -> Vec<PathBuf> {
    let entries = std::fs::read_dir("tests/migrate").unwrap();
    let folders: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    assert!(folders.len() >= 22, "{}", folders.len());
    folders
}

/// What is shown for a case.
fn shown_for(folder: &Path) -> String {
    let mut args = vec!["workflow.yml".to_owned()];
    if let Ok(entries) = std::fs::read_dir(folder.join(".github/workflows")) {
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        args = names.map(|name| format!(".github/workflows/{name}")).collect();
        args.sort();
    }
    let more = std::fs::read_to_string(folder.join("args.txt")).unwrap_or_default();
    args.extend(more.split_whitespace().map(str::to_owned));
    migrate(folder, &args.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn each_case_is_shown_as_it_should_be() {
    let update = std::env::var_os("PODKEY_UPDATE").is_some();
    for folder in cases() {
        let shown = shown_for(&folder);
        let golden = folder.join("shown.txt");
        if update {
            std::fs::write(&golden, &shown).unwrap();
        }
        let expected = std::fs::read_to_string(&golden).unwrap_or_default();
        assert_eq!(shown, expected, "{}", folder.display());
    }
}

/// The documents of the output, each as written.
fn documents(shown: &str) -> Vec<&str> {
    let yaml = shown.rsplit_once("exit code ").unwrap().0;
    yaml.split("---\n").collect()
}

/// The operator's config with the connection that a document's comment has.
fn config(document: &str) -> String {
    let comment = document
        .lines()
        .skip_while(|line| !line.starts_with("# The operator's connection"));
    let fields = comment.skip(1).map_while(|line| line.strip_prefix("#   "));
    let fields = fields.filter(|line| !line.starts_with("caFile: "));
    let fields: String = fields.map(|line| format!("    {line}\n")).collect();
    assert!(!fields.contains("${{"), "{fields}");
    format!("agent: {{ image: podkey }}\nconnections:\n  default:\n{fields}")
}

/// What is shown is what podkey reads: nobody mends it by hand.
#[test]
fn each_block_shown_is_taken_by_podkey_inject_for_a_runner_pod() {
    let temporary = tempfile::tempdir().unwrap();
    let mut blocks = 0;
    for folder in cases() {
        let shown = shown_for(&folder);
        for document in documents(&shown) {
            let values: Value = serde_saphyr::from_str(document).unwrap();
            let Some(template) = values.get("template") else {
                let is_comment = document.lines().all(|line| line.starts_with('#'));
                assert!(is_comment, "{}: {document}", folder.display());
                continue;
            };
            assert_eq!(values.as_object().unwrap().len(), 1, "{document}");
            blocks += 1;
            let mut template = template.clone();
            template["spec"] = json!({ "containers": [
                { "name": "runner", "image": "ghcr.io/actions/actions-runner:latest", "command": ["/home/runner/run.sh"] }
            ] });
            let scale_set = json!({
                "apiVersion": "actions.github.com/v1alpha1", "kind": "AutoscalingRunnerSet",
                "metadata": { "name": "arc", "namespace": "arc-runners" },
                "spec": { "template": template },
            });
            std::fs::write(temporary.path().join("set.yaml"), scale_set.to_string()).unwrap();
            std::fs::write(temporary.path().join("config.yaml"), config(document)).unwrap();
            let injected = self::shown(
                temporary.path(),
                &["inject", "--config", "config.yaml", "-f", "set.yaml"],
            );
            assert!(
                injected.ends_with("exit code 0\n"),
                "{}: {document}\n{injected}",
                folder.display()
            );
            assert!(injected.contains("podkey.dev/injected"), "{injected}");
        }
    }
    assert!(blocks >= 20, "{blocks}");
}

/// A line end, an escape sequence or a separator of lines in a workflow stays text of a comment.
#[test]
fn text_of_a_hostile_workflow_does_not_leave_its_comment() {
    let shown = shown_for(Path::new("tests/migrate/hostile-text"));
    let is_clean = |c: char| c == '\n' || !c.is_control() && !('\u{2028}'..='\u{202e}').contains(&c);
    assert!(shown.chars().all(is_clean), "{shown:?}");
    for document in documents(&shown) {
        let values: Value = serde_saphyr::from_str(document).unwrap();
        let keys: Vec<_> = values["template"]["metadata"]["annotations"]
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect();
        assert_eq!(keys, ["podkey.dev/job-env"], "{document}");
    }
}

/// 33 steps of one repository become one block.
#[test]
fn many_steps_of_many_files_become_one_block() {
    let temporary = tempfile::tempdir().unwrap();
    let names: Vec<String> = (0..11).map(|number| format!("w{number}.yml")).collect();
    for (number, name) in names.iter().enumerate() {
        let step = |of: &str| {
            format!(
                "  {of}:\n    runs-on: arc\n    steps:\n    - uses: hashicorp/vault-action@v3\n      with: {{ method: kubernetes, role: ci, \
                 secrets: 'ci/data/{of}{number} token | T_{of}_{number} ; ci/data/all token | ALL' }}\n"
            )
        };
        let text = format!("on: push\njobs:\n{}{}{}", step("a"), step("b"), step("c"));
        std::fs::write(temporary.path().join(name), text).unwrap();
    }
    let shown = migrate(temporary.path(), &names.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(shown.ends_with("exit code 0\n"), "{shown}");
    assert_eq!(documents(&shown).len(), 1, "{shown}");
    assert_eq!(shown.matches(": delete the step\n").count(), 33, "{shown}");
    let values: Value = serde_saphyr::from_str(documents(&shown)[0]).unwrap();
    let env = values["template"]["metadata"]["annotations"]["podkey.dev/env"]
        .as_str()
        .unwrap();
    assert_eq!(env.lines().count(), 34, "{env}");
    assert_eq!(env.matches("| ALL ;").count(), 1, "{env}");
}

/// A circle of actions, and an input that each action doubles.
#[test]
fn actions_that_use_each_other_come_to_an_end() {
    let temporary = tempfile::tempdir().unwrap();
    let root = temporary.path();
    std::fs::create_dir_all(root.join(".github/workflows")).unwrap();
    let uses = |inputs: &str| {
        format!("steps:\n  - uses: ./a\n    with: {{ x: '{inputs}' }}\n  - uses: ./a\n    with: {{ x: '{inputs}' }}\n")
    };
    std::fs::create_dir_all(root.join("a")).unwrap();
    let doubled = "${{ inputs.x }}".repeat(100);
    std::fs::write(
        root.join("a/action.yml"),
        format!("runs:\n  {}  - uses: hashicorp/vault-action@v3\n    with: {{ method: kubernetes, role: ci, secrets: 'a/${{{{ inputs.x }}}} b' }}\n", uses(&doubled)),
    )
    .unwrap();
    std::fs::write(
        root.join(".github/workflows/w.yml"),
        format!("jobs:\n a:\n  runs-on: arc\n  {}", uses(&"x".repeat(100))),
    )
    .unwrap();
    let shown = migrate(root, &[".github/workflows/w.yml"]);
    assert!(
        shown.contains("too many actions or workflows inside each other"),
        "{shown}"
    );
    assert!(shown.len() < 4_000_000, "{}", shown.len());
}

/// Each path of an action is one of the repository.
#[test]
fn an_action_outside_of_the_repository_is_not_read() {
    let temporary = tempfile::tempdir().unwrap();
    let root = temporary.path().join("repository");
    std::fs::create_dir_all(root.join(".github/workflows")).unwrap();
    let action = "runs:\n  steps:\n  - uses: hashicorp/vault-action@v3\n    with: { method: kubernetes, role: ci, secrets: a/b c }\n";
    std::fs::write(temporary.path().join("action.yml"), action).unwrap();
    let workflow = "jobs:\n  a:\n    runs-on: arc\n    steps:\n    - uses: ./../\n    - uses: ./x/../..\n";
    std::fs::write(root.join(".github/workflows/w.yml"), workflow).unwrap();
    let shown = migrate(&root, &[".github/workflows/w.yml"]);
    assert!(!shown.contains("template:"), "{shown}");
}

#[test]
fn several_workflows_are_shown_one_after_the_other_and_an_unreadable_one_is_an_error() {
    let folder = Path::new("tests/migrate");
    let (none, whole) = (
        "a-workflow-without-vault-action/workflow.yml",
        "a-kubeconfig-by-kubernetes-auth/workflow.yml",
    );
    let shown = migrate(folder, &[none, whole]);
    assert_eq!(shown.matches(": no step of vault-action\n").count(), 1, "{shown}");
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

/// The name of a file is foreign text too.
#[cfg(unix)]
#[test]
fn the_name_of_a_file_reaches_the_terminal_without_its_escape_sequences() {
    let temporary = tempfile::tempdir().unwrap();
    let name = "::stop-commands::\u{1b}[31m\nx.yml";
    std::fs::write(temporary.path().join(name), "a: [").unwrap();
    for (command, file) in [
        ("vault-action", name),
        ("vault-k8s", name),
        ("vault-action", "no\u{1b}.yml"),
    ] {
        let shown = shown(temporary.path(), &["migrate", command, file]);
        assert!(!shown.contains(['\u{1b}']), "{shown:?}");
        assert!(!shown.starts_with("::") && shown.lines().count() == 2, "{shown:?}");
        assert!(shown.ends_with("exit code 64\n"), "{shown}");
    }
}
