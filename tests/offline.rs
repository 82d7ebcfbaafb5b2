//! `podkey inject` as its user meets it: what goes in, what comes out, and the exit code.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "support/plain.rs"]
#[allow(unreachable_pub, reason = "shared by several test binaries")]
mod plain;

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::Value;

const CONFIG: &str = "agent: {image: i}\nconnections: {default: {address: 'https://vault:8200', auth: {role: web}}}\n";

const POD: &str = "
apiVersion: v1
kind: Pod
metadata:
  name: web
  annotations:
    podkey.dev/files: '- {secret: kv/data/web, key: token, file: /run-time/token, env: TOKEN_FILE}'
spec:
  containers: [{name: web, image: web, future: {beta: 1, alpha: [2.50]}}]
";

struct Ended {
    code: i32,
    stdout: String,
    stderr: String,
}

fn inject(config: &str, manifest: &str, args: &[&str]) -> Ended {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.yaml");
    std::fs::write(&path, config).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_podkey"))
        .arg("inject")
        .arg("--config")
        .arg(&path)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that has seen enough does not read to the end.
    let _ = child.stdin.take().unwrap().write_all(manifest.as_bytes());
    let output = child.wait_with_output().unwrap();
    plain::assert_for_people("stderr", &String::from_utf8_lossy(&output.stderr));
    Ended {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

#[test]
fn shows_the_injected_pod_as_yaml_and_json_and_the_patch_alone() {
    let yaml = inject(CONFIG, POD, &[]);
    assert_eq!(yaml.code, 0, "{}", yaml.stderr);
    let from_yaml: Value = serde_saphyr::from_str(&yaml.stdout).unwrap();
    let from_json: Value = serde_json::from_str(&inject(CONFIG, POD, &["-o", "json"]).stdout).unwrap();
    assert_eq!(from_yaml, from_json);
    assert_eq!(from_json["spec"]["initContainers"][0]["name"], "podkey-init");
    assert_eq!(from_json["spec"]["containers"][0]["future"]["alpha"][0], 2.5);

    let patch: json_patch::Patch = serde_json::from_str(&inject(CONFIG, POD, &["-o", "patch"]).stdout).unwrap();
    let mut pod: Value = serde_saphyr::from_str(POD).unwrap();
    json_patch::patch(&mut pod, &patch).unwrap();
    assert_eq!(pod, from_json);
}

#[test]
fn a_pod_in_its_own_order_stays_in_it() {
    let out = inject(CONFIG, POD, &[]).stdout;
    let places = [
        "apiVersion:",
        "kind:",
        "metadata:",
        "name: web",
        "spec:",
        "beta: 1",
        "alpha:",
    ]
    .map(|text| out.find(text).expect(text));
    assert!(places.is_sorted(), "{out}");
}

#[test]
fn a_pod_that_would_be_denied_ends_with_1_and_every_problem_on_a_line() {
    let bad = POD
        .replace("kv/data/web", "kv/../web")
        .replace("/run-time/token", "/proc/x");
    let ended = inject(CONFIG, &bad, &[]);
    assert_eq!((ended.code, ended.stdout.as_str()), (1, ""));
    let lines: Vec<_> = ended.stderr.lines().collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(
        lines[0].starts_with("podkey.dev/files[0].secret: \"kv/../web\""),
        "{lines:?}"
    );
    assert!(
        lines[1].starts_with("podkey.dev/files[0].file: \"/proc/x\""),
        "{lines:?}"
    );
}

#[test]
fn a_pod_that_asks_for_nothing_comes_out_as_it_went_in() {
    let plain = POD.replace("podkey.dev/files", "example.com/files");
    let ended = inject(CONFIG, &plain, &["-o", "json"]);
    assert_eq!(ended.code, 0);
    assert_eq!(
        serde_json::from_str::<Value>(&ended.stdout).unwrap(),
        serde_saphyr::from_str::<Value>(&plain).unwrap()
    );
    assert!(ended.stderr.contains("nothing to do"), "{}", ended.stderr);
    assert_eq!(inject(CONFIG, &plain, &["-o", "patch"]).stdout.trim(), "[]");
}

#[test]
fn a_pod_of_vault_k8s_is_noted_where_the_config_does_not_read_its_annotations() {
    let pod = POD.replace("podkey.dev/files", "vault.hashicorp.com/agent-inject");
    let ended = inject(CONFIG, &pod, &[]);
    assert_eq!(ended.code, 0);
    assert!(
        ended.stderr.contains("only where its config has vaultK8s"),
        "{}",
        ended.stderr
    );
}

#[test]
fn the_namespace_of_the_command_line_decides() {
    let config = CONFIG.replace("auth:", "allow: [{namespaces: [team]}], auth:");
    assert_eq!(inject(&config, POD, &[]).code, 1);
    assert_eq!(inject(&config, POD, &["--namespace", "team"]).code, 0);
    let own = POD.replace(
        "name: web\n  annotations",
        "name: web\n  namespace: team\n  annotations",
    );
    assert_eq!(inject(&config, &own, &[]).code, 0);
    assert_eq!(inject(&config, &own, &["--namespace", "other"]).code, 1);
}

#[test]
fn several_documents_come_out_in_their_order() {
    let two = format!(
        "{POD}---\n{}",
        POD.replace("name: web\n  annotations", "name: second\n  annotations")
    );
    let ended = inject(CONFIG, &two, &[]);
    let pods: Vec<Value> = serde_saphyr::from_multiple(&ended.stdout).unwrap();
    assert_eq!(pods.len(), 2);
    assert_eq!(pods[1]["metadata"]["name"], "second");
}

#[test]
fn input_that_cannot_be_used_ends_with_64_and_a_reason() {
    for (config, manifest, args, expected) in [
        ("agent: {image: i}\nconection: {}", POD, &[][..], "line 2"),
        (CONFIG, "", &[], "the manifest is empty"),
        (
            CONFIG,
            "a: [",
            &[],
            "the manifest cannot be read: it is not valid YAML in line 1",
        ),
        (
            CONFIG,
            "kind: Pod\nmetadata:\n  annotations:\n    podkey.dev/files: - secret: a\n",
            &[],
            "it is not valid YAML in line 4",
        ),
        (
            CONFIG,
            "a: 1\na: 2",
            &[],
            "line 2, column 1: the key \"a\" is there twice: remove one",
        ),
        (
            CONFIG,
            "a: *b",
            &[],
            "a reference (*name) has no anchor (&name) before it",
        ),
        (
            CONFIG,
            "{{ .Values.pod }}",
            &[],
            "put a value that has {{ … }} in it in quotes",
        ),
        (
            CONFIG,
            "image: {repository: web}\nreplicas: 2",
            &[],
            "which helm template RELEASE CHART prints",
        ),
        (
            CONFIG,
            "apiVersion: v1\nkind: Service",
            &[],
            "podkey finds no pod in Service: give a Pod, Deployment",
        ),
        (
            CONFIG,
            "{apiVersion: v1, kind: Service, metadata: {name: web}}\n---\n{apiVersion: v1, kind: ConfigMap}",
            &[],
            "podkey finds no pod in Service/web, ConfigMap: give",
        ),
        (CONFIG, "{apiVersion: v1, kind: List, items: []}", &[], "is empty"),
        (CONFIG, "just a text", &[], "a document without apiVersion and kind"),
        (CONFIG, "[1]", &[], "a document without apiVersion and kind"),
        (
            CONFIG,
            "{apiVersion: v1, kind: List, items: [{apiVersion: v1, kind: Service}, {apiVersion: apps/v1, kind: Deployment, metadata: {name: web}}]}",
            &[],
            "Deployment/web: the Deployment has no pod template",
        ),
        (
            CONFIG,
            "apiVersion: apps/v1\nkind: Deployment",
            &[],
            "no pod template at /spec/template",
        ),
        (CONFIG, "apiVersion: v1\nkind: Pod\nspec: {}", &[], "not a v1 Pod"),
        (CONFIG, POD, &["-f", "/does/not/exist"], "/does/not/exist"),
    ] {
        let ended = inject(config, manifest, args);
        assert_eq!(ended.code, 64, "{}", ended.stderr);
        assert!(ended.stderr.contains(expected), "{expected}: {}", ended.stderr);
        assert!(ended.stdout.is_empty());
    }
}

/// What kubectl 1.32 makes of each, tried with `kubectl label --local -o json`.
#[test]
fn a_manifest_is_read_as_kubectl_reads_it() {
    for (written, read) in [
        ("0644", "420"),
        ("-0644", "-420"),
        ("0_644", "420"),
        ("0o644", "420"),
        ("00", "0"),
        ("08", "8"),
        ("1_000", "1000"),
        ("0x1F", "31"),
        ("0b11", "3"),
        ("1e3", "1000"),
        ("2.0", "2"),
        ("2.5", "2.5"),
        (".5", "0.5"),
        ("yes", "true"),
        ("On", "true"),
        ("y", "true"),
        ("no", "false"),
        ("OFF", "false"),
        ("~", "null"),
        ("1:20", "\"1:20\""),
        ("2001-01-01", "\"2001-01-01\""),
        ("'0644'", "\"0644\""),
        ("\"yes\"", "\"yes\""),
        ("!!str 0644", "\"0644\""),
    ] {
        let manifest = format!("{POD}  x: {written}\n");
        let read: Value = serde_json::from_str(read).unwrap();
        let json: Value = serde_json::from_str(&inject(CONFIG, &manifest, &["-o", "json"]).stdout).unwrap();
        assert_eq!(json["spec"]["x"], read, "{written}");
        // What is shown is a manifest again.
        let yaml = inject(CONFIG, &manifest, &[]).stdout;
        let again: Value = serde_json::from_str(&inject(CONFIG, &yaml, &["-o", "json"]).stdout).unwrap();
        assert_eq!(again, json, "{written}: {yaml}");
    }
}

#[test]
fn a_manifest_may_look_as_editors_and_templates_leave_it() {
    let read = |text: &str| serde_saphyr::from_str::<Value>(text).unwrap();
    let expected = read(&inject(CONFIG, POD, &[]).stdout);
    for (what, manifest) in [
        ("a byte order mark", format!("\u{feff}{}", POD.trim_start())),
        ("line ends of Windows", POD.replace('\n', "\r\n")),
        (
            "comments and empty documents",
            format!("# first\n---\n# nothing\n--- # pod{POD}\n---\n...\n"),
        ),
        (
            "an anchor",
            POD.replace("{name: web, image: web", "{name: &name web, image: *name"),
        ),
        (
            "a merge",
            POD.replace("[{name: web, image: web", "[{<<: {name: web, image: web}"),
        ),
    ] {
        let ended = inject(CONFIG, &manifest, &[]);
        assert_eq!(ended.code, 0, "{what}: {}", ended.stderr);
        assert_eq!(read(&ended.stdout), expected, "{what}");
    }
}

const SERVICE: &str = "
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {ports: [{port: 80}]}
";

#[test]
fn documents_without_a_pod_are_skipped_with_a_note() {
    let alone: Value = serde_json::from_str(&inject(CONFIG, POD, &["-o", "json"]).stdout).unwrap();
    for manifest in [
        format!("{SERVICE}---{POD}"),
        format!("{POD}---{SERVICE}"),
        format!("{POD}---\n# nothing\n---{SERVICE}"),
    ] {
        let ended = inject(CONFIG, &manifest, &["-o", "json"]);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        assert_eq!(serde_json::from_str::<Value>(&ended.stdout).unwrap(), alone);
        assert_eq!(ended.stderr, "Service/web: skipped, podkey finds no pod in it\n");
    }
}

#[test]
fn a_list_is_unfolded() {
    let indented = |text: &str| text.trim().replace('\n', "\n  ");
    let pod: Value = serde_json::from_str(&inject(CONFIG, POD, &["-o", "json"]).stdout).unwrap();
    for list in [
        format!(
            "apiVersion: v1\nkind: List\nitems:\n- {}\n- {}\n",
            indented(SERVICE),
            indented(POD)
        ),
        format!(
            "apiVersion: v1\nkind: PodList\nitems:\n- {}\n",
            indented(&POD.replace("apiVersion: v1\nkind: Pod\n", ""))
        ),
    ] {
        let ended = inject(CONFIG, &list, &["-o", "json"]);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        assert_eq!(serde_json::from_str::<Value>(&ended.stdout).unwrap(), pod);
    }
}

#[test]
fn the_problems_of_every_document_are_reported_with_its_name() {
    let bad = POD.replace("kv/data/web", "kv/../web");
    let worse = bad
        .replace("name: web\n  annotations", "name: second\n  annotations")
        .replace("/run-time/token", "/proc/x");
    let ended = inject(CONFIG, &format!("{bad}---{SERVICE}---{POD}---{worse}"), &[]);
    assert_eq!((ended.code, ended.stdout.as_str()), (1, ""));
    let lines: Vec<_> = ended.stderr.lines().collect();
    assert_eq!(lines.len(), 3, "{lines:?}");
    for (line, start) in lines.iter().zip([
        "Pod/web: podkey.dev/files[0].secret: ",
        "Pod/second: podkey.dev/files[0].secret: ",
        "Pod/second: podkey.dev/files[0].file: ",
    ]) {
        assert!(line.starts_with(start), "{lines:?}");
    }
}

#[test]
fn problems_beyond_the_first_64_were_left_out_without_a_word() {
    let entry = "{secret: a//b, key: k, file: ../f, mode: x}, ".repeat(40);
    let bad = POD
        .replace(
            "'- {secret: kv/data/web, key: token, file: /run-time/token, env: TOKEN_FILE}'",
            &format!("'[{entry}]'"),
        )
        .replace("spec:", "    podkey.dev/bogus: x\nspec:");
    let ended = inject(CONFIG, &bad, &[]);
    assert_eq!(ended.code, 1);
    assert!(
        ended.stderr.contains("podkey.dev/bogus: is not an annotation"),
        "{}",
        ended.stderr
    );
    assert!(ended.stderr.contains("podkey.dev/files[39].mode"), "{}", ended.stderr);
}

#[test]
fn an_error_is_reported_once_with_its_cause() {
    let podkey = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_podkey")).args(args).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, stderr) = podkey(&["inject", "--config", "/nope"]);
    assert_eq!(
        (code, stderr.as_str()),
        (64, "cannot read /nope: No such file or directory (os error 2)\n")
    );
    let (code, stderr) = podkey(&["serve", "--config", "/nope"]);
    let line: Value = serde_json::from_str(&stderr).unwrap();
    assert_eq!(
        (code, line["error"].as_str()),
        (64, Some("cannot read /nope: No such file or directory (os error 2)"))
    );
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config.yaml");
    let config = config.to_str().unwrap();
    std::fs::write(config, CONFIG.replace("{image: i}", "{image: ''}")).unwrap();
    let (code, stderr) = podkey(&["inject", "--config", config]);
    assert_eq!((code, stderr), (64, format!("{config}: agent.image: is empty\n")));
    std::fs::write(config, CONFIG).unwrap();
    let (code, stderr) = podkey(&["inject", "--config", config, "-f", "/nope"]);
    assert_eq!(
        (code, stderr.as_str()),
        (64, "cannot read /nope: No such file or directory (os error 2)\n")
    );
    let (code, stderr) = podkey(&["serve", "--config", config, "--tls-poll", "0s"]);
    assert_ne!(code, 0);
    assert!(
        stderr.contains("invalid value '0s' for '--tls-poll <DURATION>': the files cannot be read without a pause"),
        "{stderr}"
    );
}

/// `podkey inject | head -1`: the reader has seen enough, and podkey reports no error.
#[test]
fn a_reader_that_closes_the_pipe_is_not_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config.yaml");
    let manifest = folder.path().join("pods.yaml");
    std::fs::write(&config, CONFIG).unwrap();
    // More than a pipe holds.
    std::fs::write(&manifest, format!("{POD}---\n").repeat(200)).unwrap();
    let podkey = |args: &[&str]| {
        // Nobody reads from the first byte on: a short output would fit into the pipe before its reader goes away.
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = Command::new(env!("CARGO_BIN_EXE_podkey"))
            .args(args)
            .stdin(Stdio::null())
            .stdout(writer)
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (config, manifest) = (config.to_str().unwrap(), manifest.to_str().unwrap());
    for format in ["yaml", "json", "patch"] {
        let ended = podkey(&["inject", "--config", config, "-f", manifest, "-o", format]);
        assert_eq!(ended, (Some(141), String::new()), "{format}");
    }
    let workflow = folder.path().join("workflow.yaml");
    std::fs::write(&workflow, "on: push\njobs: {a: {runs-on: x, steps: []}}\n").unwrap();
    let (code, stderr) = podkey(&["migrate", "vault-action", workflow.to_str().unwrap()]);
    assert!(code == Some(141) && stderr.is_empty(), "{code:?} {stderr}");
}

#[test]
fn an_annotation_where_no_pod_gets_it_is_reported_with_its_place() {
    let object = |kind: &str, place: &str| {
        format!(
            "apiVersion: v1\nkind: {kind}\nmetadata: {{name: web, {place}: {{podkey.dev/role: web, podkey.dev/injected: x}}}}\n"
        )
    };
    let pod_and_service = format!("{POD}---\n{}", object("Service", "annotations"));
    let ended = inject(CONFIG, &pod_and_service, &[]);
    assert_eq!((ended.code, ended.stdout.as_str()), (1, ""), "{}", ended.stderr);
    assert_eq!(
        ended.stderr.lines().collect::<Vec<_>>(),
        [
            "Service/web: podkey.dev/role: stands in metadata.annotations, where no pod of the Service gets it: put it on the pod template of the object that makes the pods"
        ]
    );
    // Some controllers copy the annotations of their object to its pods.
    let other = object("Rollout", "annotations").replace("v1", "argoproj.io/v1alpha1");
    let ended = inject(CONFIG, &format!("{POD}---\n{other}"), &[]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(
        ended
            .stderr
            .contains("Rollout/web: has annotations of podkey, but podkey does not know this kind"),
        "{}",
        ended.stderr
    );
    let fine = inject(CONFIG, &format!("{POD}---\n{}", object("ConfigMap", "labels")), &[]);
    assert_eq!(fine.code, 0, "{}", fine.stderr);
}

#[test]
fn annotations_with_another_prefix_are_noted() {
    for key in ["podkey.io/files", "podkey/files", "podkey.dev.files"] {
        let ended = inject(CONFIG, &POD.replace("podkey.dev/files", key), &[]);
        assert_eq!(ended.code, 0);
        let note = format!("the annotation {key} is not one of podkey's, which all begin with podkey.dev/");
        assert!(ended.stderr.contains(&note), "{}", ended.stderr);
    }
}

#[test]
fn a_namespace_that_the_webhook_is_not_asked_in_is_noted() {
    for namespace in ["kube-system", "kube-public", "kube-node-lease"] {
        let ended = inject(CONFIG, POD, &["-n", namespace]);
        assert_eq!(ended.code, 0);
        assert!(
            ended.stderr.contains(&format!("leaves the namespace {namespace} out")),
            "{}",
            ended.stderr
        );
    }
    assert_eq!(inject(CONFIG, POD, &["-n", "kube-systems"]).stderr, "");
}

#[test]
fn the_nearest_allow_rule_is_noted_for_the_reader_of_the_config() {
    let config = CONFIG.replace(
        "auth:",
        "allow: [{roles: [x], secrets: [x]}, {namespaces: [team], secrets: ['kv/**']}], auth:",
    );
    let ended = inject(&config, POD, &[]);
    assert_eq!(ended.code, 1);
    assert_eq!(
        ended.stderr.lines().last(),
        Some("note: allow[1] comes nearest: namespaces does not match \"default\"")
    );
    let nobody = inject(&CONFIG.replace("auth:", "allow: [], auth:"), POD, &[]);
    assert!(
        nobody
            .stderr
            .contains("note: allow is an empty list, which allows nobody"),
        "{}",
        nobody.stderr
    );
}

/// An author has no operator's config, and asks all the same.
#[test]
fn without_a_config_the_pod_has_placeholders_and_podkey_says_what_it_did_not_check() {
    let folder = tempfile::tempdir().unwrap();
    let named = POD.replace(
        "podkey.dev/files:",
        "podkey.dev/connection: team-b\n    podkey.dev/files:",
    );
    std::fs::write(folder.path().join("pod.yaml"), &named).unwrap();
    let ended = in_folder(folder.path(), &["pod.yaml", "-o", "json"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let pod: Value = serde_json::from_str(&ended.stdout).unwrap();
    let init = &pod["spec"]["initContainers"][0];
    assert_eq!(init["image"], "podkey.invalid/image-of-the-operator");
    let plan: Value = serde_json::from_str(init["env"][0]["value"].as_str().unwrap()).unwrap();
    assert_eq!(plan["connection"]["name"], "team-b");
    assert_eq!(plan["login"]["role"], "role-of-the-connection");
    for expected in [
        "not checked without --config: whether the operator has the connection",
        "placeholders",
    ] {
        assert!(ended.stderr.contains(expected), "{}", ended.stderr);
    }
    std::fs::write(folder.path().join("pod.yaml"), named.replace("team-b", "team b")).unwrap();
    let ended = in_folder(folder.path(), &["pod.yaml"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (1, ""));
    assert!(
        ended
            .stderr
            .starts_with("pod.yaml:7: Pod/web: podkey.dev/connection: \"team b\" is no name of a connection\n"),
        "{}",
        ended.stderr
    );
    let theirs = POD.replace("podkey.dev/files", "example.com/files");
    std::fs::write(folder.path().join("pod.yaml"), theirs).unwrap();
    let silent = in_folder(folder.path(), &["pod.yaml"]);
    assert!(!silent.stderr.contains("not checked"), "{}", silent.stderr);
}

/// `kubectl get pods -o yaml | podkey lint`: the plan of a pod in a cluster names the operator's server, which nobody has told.
#[test]
fn an_injected_pod_was_refused_without_the_config_that_injected_it() {
    let folder = tempfile::tempdir().unwrap();
    let injected = inject(CONFIG, POD, &[]).stdout;
    std::fs::write(folder.path().join("pod.yaml"), &injected).unwrap();
    let ended = in_folder(folder.path(), &["pod.yaml"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (0, &*injected), "{}", ended.stderr);
    assert!(ended.stderr.contains("is injected already"), "{}", ended.stderr);
    // A template has nobody injected.
    let copied = injected.replace("podkey.dev/injected", "example.com/x");
    std::fs::write(folder.path().join("pod.yaml"), copied).unwrap();
    assert_eq!(in_folder(folder.path(), &["pod.yaml"]).code, 1);
}

#[test]
fn a_file_with_a_problem_hides_its_own_pods_and_no_others() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("config", CONFIG);
    write("a.yaml", &POD.replace("kv/data/web", "kv/../web"));
    write("b.yaml", "a: [");
    write("c.yaml", &format!("{POD}---{SERVICE}"));
    write("d.yaml", "podkey.dev/role: [");
    write("e.json", "{\"name\": \"no manifest\"}");
    let ended = in_folder(folder.path(), &["--config", "config", ".", "-o", "json"]);
    assert_eq!(ended.code, 64);
    let pod: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(pod["metadata"]["name"], "web");
    let lines: Vec<_> = ended.stderr.lines().collect();
    for (line, start) in lines.iter().zip([
        "a.yaml:7: Pod/web: podkey.dev/files[0].secret: \"kv/../web\"",
        "b.yaml: skipped: the manifest cannot be read: it is not valid YAML",
        "c.yaml:11: Service/web: skipped, podkey finds no pod in it",
        "d.yaml:1: the manifest cannot be read: it is not valid YAML",
        "e.json: skipped: the manifest has a document without apiVersion and kind",
    ]) {
        assert!(line.starts_with(start), "{start}: {}", ended.stderr);
    }
    assert_eq!(lines.len(), 5);
    let ended = in_folder(folder.path(), &["--config", "config", "a.yaml", "-f", "c.yaml"]);
    assert_eq!(ended.code, 1);
    assert_eq!(
        ended.stdout,
        in_folder(folder.path(), &["--config", "config", "-f", "c.yaml"]).stdout
    );
    let ended = in_folder(folder.path(), &["--config", "config", "e.json"]);
    assert_eq!(ended.code, 64, "{}", ended.stderr);
}

fn in_folder(folder: &std::path::Path, args: &[&str]) -> Ended {
    let output = Command::new(env!("CARGO_BIN_EXE_podkey"))
        .arg("inject")
        .args(args)
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    plain::assert_for_people("stderr", &String::from_utf8_lossy(&output.stderr));
    Ended {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}
