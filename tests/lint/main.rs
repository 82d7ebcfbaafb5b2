//! `podkey lint` as its user meets it. Each folder beside this file is a case: `in/` is the folder in which the command runs, `args.txt`
//! its arguments, `stdin.txt` what is piped into it, if anything. `PODKEY_UPDATE=1` writes `stdout.txt`, `stderr.txt` and `code.txt`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "../support/plain.rs"]
#[allow(unreachable_pub, reason = "shared by several test binaries")]
mod plain;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

struct Ended {
    code: i32,
    stdout: String,
    stderr: String,
}

fn podkey(folder: &Path, args: &[&str], stdin: &str) -> Ended {
    let mut child = Command::new(env!("CARGO_BIN_EXE_podkey"))
        .args(args)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that reads files does not read its standard input.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let ended = Ended {
        code: output.status.code().unwrap(),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    };
    plain::assert_for_people("stdout", &ended.stdout);
    plain::assert_for_people("stderr", &ended.stderr);
    ended
}

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lint");
    let entries = std::fs::read_dir(folder).unwrap();
    let mut cases: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    cases.retain(|path| path.is_dir());
    cases.sort();
    assert!(cases.len() >= 8, "{cases:?}");
    cases
}

#[test]
fn every_case_is_told_as_its_files_say() {
    let is_update = std::env::var_os("PODKEY_UPDATE").is_some();
    let mut wrong = Vec::new();
    for case in cases() {
        let read = |name: &str| std::fs::read_to_string(case.join(name)).unwrap_or_default();
        let args = read("args.txt");
        let ended = podkey(
            &case.join("in"),
            &args.split_whitespace().collect::<Vec<_>>(),
            &read("stdin.txt"),
        );
        for (name, found) in [
            ("stdout.txt", ended.stdout),
            ("stderr.txt", ended.stderr),
            ("code.txt", format!("{}\n", ended.code)),
        ] {
            if is_update {
                std::fs::write(case.join(name), found).unwrap();
            } else if found != read(name) {
                wrong.push(format!("{}/{name}:\n{found}", case.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

const POD: &str = "
apiVersion: v1
kind: Pod
metadata:
  name: NAME
  annotations:
    podkey.dev/role: web
    podkey.dev/files: '[{secret: kv/data/web, key: token, file: FILE}]'
spec:
  containers: [{name: web, image: web}]
";

fn pod(name: &str, file: &str) -> String {
    POD.replace("NAME", name).replace("FILE", file)
}

/// The runner takes a line that begins with `::` for a command, and `##[` wherever it stands.
#[test]
fn a_manifest_cannot_make_a_workflow_command() {
    let folder = tempfile::tempdir().unwrap();
    let hostile = r#"a\n::set-env name=X::y\r\n::stop-commands::z##[add-path]/tmp\u2028::debug::%0A"#;
    let text = format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: \"{hostile}\", annotations: {{\"podkey.dev/{hostile}\": x, podkey.dev/files: \
         \"{hostile}\", podkey.dev/role: \"{hostile}\"}}}}, spec: {{containers: [{{name: \"{hostile}\"}}]}}}}\n"
    );
    let source = "# Source: ::stop-commands::x\u{202e}##[add-path]\n";
    std::fs::write(
        folder.path().join("::stop-commands::x.yaml"),
        format!("---\n{source}{text}---\n{text}"),
    )
    .unwrap();
    std::fs::write(folder.path().join("b.yaml"), "podkey.dev/x: [\n::stop-commands::x").unwrap();
    for output in ["text", "github"] {
        let ended = podkey(folder.path(), &["lint", ".", "-o", output], "");
        assert_eq!(ended.code, 64, "{}", ended.stderr);
        let all = format!("{}{}", ended.stdout, ended.stderr);
        assert!(ended.stdout.lines().count() >= 4, "{all}");
        for line in all.lines() {
            let is_ours = output == "github"
                && (line.starts_with("::error title=podkey") || line.starts_with("::warning title=podkey"));
            assert!(is_ours || !line.trim_start().starts_with("::"), "{line}");
            assert!(!line.contains("##[") && !line.contains(char::is_control), "{line}");
        }
    }
}

#[test]
fn json_names_file_line_level_object_and_key() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.yaml"), pod("a", "../x")).unwrap();
    let ended = podkey(folder.path(), &["lint", "-o", "json", "a.yaml"], "");
    let found: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(ended.code, 1);
    let expected = serde_json::json!([{
        "file": "a.yaml", "line": 8, "column": 5, "level": "error", "object": "Pod/a", "key": "podkey.dev/files[0].file",
        "message": "\"../x\" has a segment . or ..",
    }]);
    assert_eq!(found, expected);
    std::fs::write(folder.path().join("a.yaml"), pod("a", "x")).unwrap();
    let ended = podkey(folder.path(), &["lint", "-o", "json", "a.yaml"], "");
    assert_eq!((ended.code, ended.stdout.as_str()), (0, "[]\n"));
}

/// pre-commit appends the names of the changed files to the entry, and reports the exit code.
#[test]
fn the_hook_of_pre_commit_fails_for_a_problem_alone() {
    let hooks = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(".pre-commit-hooks.yaml")).unwrap();
    let hooks: Value = serde_saphyr::from_str(&hooks).unwrap();
    let hook = &hooks[0];
    assert_eq!(
        (hook["id"].as_str(), hook["language"].as_str()),
        (Some("podkey-lint"), Some("system"))
    );
    let entry: Vec<&str> = hook["entry"].as_str().unwrap().split(' ').collect();
    assert_eq!(entry[0], "podkey");
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("good.yaml", pod("good", "token")),
        ("bad.yaml", pod("bad", "../token")),
        ("workflow.yml", "on: push\njobs: {}\n".to_owned()),
        (
            "annotated-workflow.yml",
            "on: push\njobs: {a: {steps: [{run: kubectl annotate pod a podkey.dev/role=web}]}}\n".to_owned(),
        ),
        (
            "compose.yaml",
            "services: {a: {labels: {podkey.dev/role: web}}}\n".to_owned(),
        ),
        (
            "patch.json",
            "[{\"op\": \"add\", \"path\": \"/x\", \"value\": {\"podkey.dev/role\": \"web\"}}]".to_owned(),
        ),
        ("no-kind.yaml", pod("x", "token").replace("kind: Pod\n", "")),
        ("text.yaml", "podkey.dev/role\n".to_owned()),
        (
            "template.yaml",
            "{{- if .Values.x }}\nkind: Pod\n{{- end }}\n".to_owned(),
        ),
        ("package.json", "{\"name\": \"x\"}".to_owned()),
        ("odd.json", "{\"name\": ".to_owned()),
        (
            "annotated-values.yaml",
            "annotations:\n  podkey.dev/role: x\n".to_owned(),
        ),
        (
            "service.yaml",
            "{apiVersion: v1, kind: Service, metadata: {name: podkey}}\n".to_owned(),
        ),
    ] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let hook = |files: &[&str]| podkey(folder.path(), &[&entry[1..], files].concat(), "");
    let passed_over = [
        "workflow.yml",
        "annotated-workflow.yml",
        "compose.yaml",
        "patch.json",
        "text.yaml",
        "template.yaml",
        "package.json",
        "odd.json",
        "service.yaml",
    ];
    let ended = hook(&[&passed_over[..], &["good.yaml"]].concat());
    assert_eq!((ended.code, ended.stdout.as_str()), (0, ""), "{}", ended.stderr);
    let note = "compose.yaml: passed over, although podkey.dev/ stands in it: the file is no manifest of Kubernetes\n";
    assert!(ended.stderr.contains(note), "{}", ended.stderr);
    assert!(!ended.stderr.contains("template.yaml"), "{}", ended.stderr);
    let ended = hook(&["no-kind.yaml"]);
    assert_eq!(ended.code, 64, "{}", ended.stderr);
    assert!(!ended.stderr.contains("podkey inject"), "{}", ended.stderr);
    let ended = hook(&[&passed_over[..], &["good.yaml", "bad.yaml"]].concat());
    assert_eq!(ended.code, 1);
    assert_eq!(
        ended.stdout,
        "bad.yaml:8:5: error: Pod/bad: podkey.dev/files[0].file: \"../token\" has a segment . or ..\n"
    );
    let ended = hook(&["annotated-values.yaml", "bad.yaml"]);
    assert_eq!(ended.code, 64);
    assert!(
        ended
            .stderr
            .contains("helm template RELEASE CHART -f annotated-values.yaml | podkey lint -f -"),
        "{}",
        ended.stderr
    );
    assert!(ended.stdout.starts_with("bad.yaml:8"), "{}", ended.stdout);
}

#[test]
fn warnings_fail_only_a_strict_lint() {
    let folder = tempfile::tempdir().unwrap();
    let text = pod("a", "token").replace("spec:\n", "spec:\n  hostNetwork: true\n");
    std::fs::write(folder.path().join("a.yaml"), text).unwrap();
    let ended = podkey(folder.path(), &["lint", "a.yaml"], "");
    assert!(
        ended
            .stdout
            .contains("warning: Pod/a: podkey: the pod uses the host's network"),
        "{}",
        ended.stdout
    );
    assert_eq!(ended.code, 0);
    assert_eq!(podkey(folder.path(), &["lint", "--strict", "a.yaml"], "").code, 1);
}

#[test]
fn input_that_cannot_be_read_does_not_hide_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("bad.yaml"), pod("bad", "../x")).unwrap();
    std::fs::write(folder.path().join("bytes.yaml"), b"podkey.dev/\xff").unwrap();
    let large = std::fs::File::create(folder.path().join("large.yaml")).unwrap();
    large.set_len(33 * 1024 * 1024).unwrap();
    let ended = podkey(folder.path(), &["lint", "missing.yaml", "."], "");
    assert_eq!(ended.code, 64);
    assert!(ended.stdout.starts_with("bad.yaml:8:5: error"), "{}", ended.stdout);
    for expected in [
        "cannot read missing.yaml: No such file",
        "cannot read ./bytes.yaml: it is not text in UTF-8",
        "cannot read ./large.yaml: it is larger than 32 MiB",
        "1 pod with annotations of podkey in 4 files: 1 problem, 0 warnings, 3 not usable",
    ] {
        assert!(ended.stderr.contains(expected), "{expected}: {}", ended.stderr);
    }
}

/// What a pipe brings when the program in front of it has failed.
#[test]
fn an_empty_pipe_is_unusable() {
    let ended = podkey(Path::new("."), &["lint"], "");
    assert_eq!(ended.code, 64);
    assert!(ended.stderr.starts_with("the manifest is empty"), "{}", ended.stderr);
}

/// An operator may leave the user of podkey's containers to OpenShift. A pod whose own user is root needs an operator who does not.
#[test]
fn what_one_of_two_configs_permits_is_no_problem() {
    let pod = pod("a", "token");
    let signal = pod
        .replace(
            "    podkey.dev/role",
            "    podkey.dev/refresh: 30s\n    podkey.dev/on-change: signal:SIGHUP:nginx\n    podkey.dev/role",
        )
        .replace("spec:\n", "spec:\n  shareProcessNamespace: true\n");
    let mode = pod.replace("file: token", "file: token, mode: ''0400''");
    let root = pod.replace("spec:\n", "spec:\n  securityContext: {runAsUser: 0}\n");
    for (text, option) in [(signal, "--strict"), (mode, "-o=text"), (root, "-o=text")] {
        let ended = podkey(Path::new("."), &["lint", option], &text);
        assert_eq!(ended.code, 0, "{}{text}", ended.stdout);
        assert!(
            ended.stderr.contains("the user of podkey's containers"),
            "{}",
            ended.stderr
        );
    }
}

#[test]
fn without_a_config_podkey_claims_nothing_of_the_operators_connections() {
    for (name, expected) in [
        ("'team '", ""),
        ("' default'", ""),
        (
            "'team a'",
            "podkey.dev/connection: \"team a\" is no name of a connection\n",
        ),
        ("''", "podkey.dev/connection: is empty\n"),
    ] {
        let text = pod("a", "token").replace(
            "    podkey.dev/role",
            &format!("    podkey.dev/connection: {name}\n    podkey.dev/role"),
        );
        let ended = podkey(Path::new("."), &["lint"], &text);
        assert!(ended.stdout.ends_with(expected), "{name}: {}", ended.stdout);
        assert_eq!(ended.code, i32::from(!expected.is_empty()), "{}", ended.stdout);
        assert_eq!(
            ended.stdout.lines().count(),
            usize::from(!expected.is_empty()),
            "{}",
            ended.stdout
        );
    }
}

/// Such a pod was not looked at, and nothing said so.
#[test]
fn the_annotations_of_an_injected_pod_are_checked() {
    let config =
        "agent: {image: podkey:1}\nconnections: {default: {address: 'https://vault.example', auth: {role: web}}}\n";
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("config.yaml"), config).unwrap();
    let injected = podkey(
        folder.path(),
        &["inject", "--config", "config.yaml"],
        &pod("a", "token"),
    );
    assert_eq!(injected.code, 0, "{}", injected.stderr);
    let ended = podkey(folder.path(), &["lint", "--strict"], &injected.stdout);
    assert_eq!((ended.code, ended.stdout.as_str()), (0, ""));
    assert!(
        ended
            .stderr
            .contains("whether a pod that is injected already is as podkey would make it"),
        "{}",
        ended.stderr
    );
    let bad = injected.stdout.replace("file: token", "file: ../token");
    let ended = podkey(folder.path(), &["lint"], &bad);
    assert_eq!(ended.code, 1, "{bad}");
    assert!(
        ended
            .stdout
            .ends_with("podkey.dev/files[0].file: \"../token\" has a segment . or ..\n"),
        "{}",
        ended.stdout
    );
}

/// Sixty thousand of them took a minute.
#[test]
fn of_many_misplaced_annotations_the_first_are_told() {
    let annotations: String = (0..60_000).map(|n| format!("    podkey.dev/x{n}: a\n")).collect();
    for kind in [
        "apiVersion: v1\nkind: ConfigMap",
        "apiVersion: apps/v1\nkind: Deployment",
    ] {
        let text = format!(
            "{kind}\nmetadata:\n  annotations:\n{annotations}spec: {{template: {{spec: {{containers: [{{name: a}}]}}}}}}\n"
        );
        let ended = podkey(Path::new("."), &["lint"], &text);
        assert_eq!(ended.code, 1);
        assert_eq!(ended.stdout.lines().count(), 101);
        assert!(
            ended
                .stdout
                .contains("and 59900 more annotations of podkey from which no pod gets anything"),
            "{}",
            ended.stdout
        );
    }
}

#[test]
fn a_file_s_name_does_not_reach_the_terminal_raw() {
    let ended = podkey(Path::new("."), &["lint", "--config", "\u{1b}[31mr.yml"], "");
    assert_eq!(ended.code, 64);
    assert!(ended.stderr.contains("\\u{1b}[31mr.yml"), "{}", ended.stderr);
    assert!(!ended.stderr.contains('\u{1b}'), "{}", ended.stderr);
}

#[test]
fn podkey_reads_the_json_that_it_prints() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.yaml"), pod("a", "token")).unwrap();
    std::fs::write(folder.path().join("b.yaml"), pod("b", "token")).unwrap();
    for (files, count) in [(&["a.yaml"][..], 1), (&["a.yaml", "b.yaml"], 2)] {
        let printed = podkey(folder.path(), &[&["inject", "-o", "json"], files].concat(), "");
        assert_eq!(printed.code, 0, "{}", printed.stderr);
        let value: Value = serde_json::from_str(&printed.stdout).unwrap();
        assert_eq!(value["kind"], if count == 1 { "Pod" } else { "List" });
        let ended = podkey(folder.path(), &["lint"], &printed.stdout);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        assert!(ended.stderr.contains(&format!("{count} pod")), "{}", ended.stderr);
    }
}

#[test]
fn a_kind_that_podkey_does_not_know_is_told_where_the_annotation_stands() {
    let text = "apiVersion: x.example/v1\nkind: Runner\nspec:\n  items:\n  - pod:\n      podkey.dev/role: web\n";
    let ended = podkey(Path::new("."), &["lint"], text);
    assert!(
        ended.stdout.starts_with("standard input:6:7: warning: Runner: "),
        "{}",
        ended.stdout
    );
}
