//! `make demo`: the main job, seen step by step. A real OpenBao, the real webhook over TLS, the real agent, and an ARC
//! runner pod that gets its kubeconfig. Everything runs on loopback, and nothing is left running.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a demo that fails says so by panicking"
)]

#[path = "../support/mod.rs"]
mod support;

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use similar::{ChangeTag, TextDiff};
use support::jwt::Claims;
use support::openbao::{ACCOUNT, MOUNT, NAMESPACE, OpenBao};
use support::webhook::Webhook;

/// What the pod's author writes, and all that he writes.
const ANNOTATIONS: &str = "\
podkey.dev/auth-mount: my-cluster/arc-runners
podkey.dev/role: actions
podkey.dev/files: |
  - secret: arc-runners/data/kubeconfig/rancher-cluster
    key: config
    decode: base64
    file: /tmp/kubeconfig
    env: KUBECONFIG
";

/// A runner pod as ARC makes it.
const POD: &str = include_str!("../inject/the-arc-runner-pod-gets-its-kubeconfig/pod.yaml");

fn main() {
    let screen = Screen {
        colour: std::io::stdout().is_terminal(),
    };
    let mut times = Vec::new();

    screen.step(1, "An OpenBao server with a kubeconfig in it");
    let begun = Instant::now();
    let bao = OpenBao::with_scenario_1();
    let kubeconfig = kubeconfig();
    bao.write(
        "arc-runners/data/kubeconfig/rancher-cluster",
        &json!({"data": {"config": as_base64_writes_it(&kubeconfig)}}),
    );
    times.push(("OpenBao: start, set up, store the secret", begun.elapsed()));
    let tokens_before = bao.tokens();
    screen.say(&format!(
        "{} over TLS with a private CA; kubernetes auth at {MOUNT}",
        bao.address()
    ));
    screen.say("stored: arc-runners/kubeconfig/rancher-cluster, field config, through `base64`");
    screen.say(&format!(
        "role actions: for the service account {ACCOUNT} in {NAMESPACE}"
    ));

    screen.step(2, "The webhook");
    let begun = Instant::now();
    let ca_file = bao.directory().join("ca.pem");
    let webhook = Webhook::start_with_config(
        &format!(
            "agent: {{image: registry.example.com/podkey:{}}}\nconnections:\n  default:\n    address: {}\n    caFile: {}\n",
            env!("CARGO_PKG_VERSION"),
            bao.address(),
            ca_file.display()
        ),
        &["--grace", "0s"],
    );
    times.push(("webhook: start until it answers", begun.elapsed()));
    screen.say(&format!(
        "podkey serve on https://{}, with the operator's one connection: {}",
        webhook.listen,
        bao.address()
    ));

    screen.step(3, "A runner pod is created, with these annotations");
    screen.block(ANNOTATIONS);
    let mut pod: Value = serde_saphyr::from_str(POD).unwrap();
    let annotations: Value = serde_saphyr::from_str(ANNOTATIONS).unwrap();
    let all = pod["metadata"]["annotations"].as_object_mut().unwrap();
    all.retain(|key, _| !key.starts_with("podkey.dev/"));
    all.extend(annotations.as_object().unwrap().clone());

    screen.step(4, "What the webhook adds to it");
    let review = json!({
        "kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": "2c1f6d3e-7a0b-4a52-9f0e-0d2f0a9f4b11", "operation": "CREATE", "namespace": NAMESPACE,
            "kind": {"group": "", "version": "v1", "kind": "Pod"}, "resource": {"group": "", "version": "v1", "resource": "pods"},
            "name": pod["metadata"]["name"], "object": pod, "oldObject": null, "dryRun": false,
        }
    });
    let mut connection = webhook.connect();
    let begun = Instant::now();
    let reply = connection.post(review.to_string().as_bytes());
    times.push(("webhook: one admission", begun.elapsed()));
    let response = reply.json()["response"].clone();
    assert_eq!(response["allowed"], true, "{response}");
    let patch = STANDARD.decode(response["patch"].as_str().unwrap()).unwrap();
    let patch: json_patch::Patch = serde_json::from_slice(&patch).unwrap();
    let mut injected = pod.clone();
    json_patch::patch(&mut injected, &patch).unwrap();
    screen.diff(
        &serde_saphyr::to_string(&pod).unwrap(),
        &serde_saphyr::to_string(&injected).unwrap(),
    );

    screen.step(5, "The init container runs");
    // What the kubelet does: an empty volume, and a token for the audience that the volume asks for.
    let folder = tempfile::tempdir().unwrap();
    let init = &injected["spec"]["initContainers"][0];
    let audience = injected["spec"]["volumes"]
        .as_array()
        .unwrap()
        .iter()
        .find_map(|volume| {
            volume["projected"]["sources"][0]["serviceAccountToken"]["audience"]
                .as_str()
                .filter(|_| volume["name"] == "podkey-token")
        });
    let token = bao.cluster.sign(&Claims::new(NAMESPACE, ACCOUNT, audience.unwrap()));
    for mount in init["volumeMounts"].as_array().unwrap() {
        std::fs::create_dir_all(below(folder.path(), &mount["mountPath"])).unwrap();
    }
    std::fs::write(folder.path().join("podkey/token/token"), token).unwrap();
    let program = init["command"][0].as_str().unwrap().trim_start_matches('/');
    let mut command = Command::new(support::program(program));
    command
        .args(init["args"].as_array().unwrap().iter().filter_map(Value::as_str))
        .args(["--log-format", "text", "--root"])
        .arg(folder.path());
    command.env_clear();
    for variable in init["env"].as_array().unwrap() {
        command.env(variable["name"].as_str().unwrap(), variable["value"].as_str().unwrap());
    }
    let begun = Instant::now();
    let output = command.output().unwrap();
    times.push(("agent: log in, read, write, revoke, exit", begun.elapsed()));
    screen.block(&String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}", output.status);

    screen.step(6, "What the runner container finds");
    let runner = &injected["spec"]["containers"][0];
    let mount = runner["volumeMounts"]
        .as_array()
        .unwrap()
        .iter()
        .find(|mount| mount["mountPath"] == "/tmp/kubeconfig")
        .unwrap();
    let place = folder
        .path()
        .join("podkey/volume")
        .join(mount["subPath"].as_str().unwrap());
    let arrived = std::fs::read(&place).unwrap();
    let mode = std::fs::metadata(&place).unwrap().permissions().mode() & 0o7777;
    let variable = runner["env"]
        .as_array()
        .unwrap()
        .iter()
        .find(|variable| variable["name"] == "KUBECONFIG")
        .unwrap();
    screen.say(&format!(
        "KUBECONFIG={}, mode {mode:04o}, read-only, {} bytes:",
        variable["value"].as_str().unwrap(),
        arrived.len()
    ));
    screen.block(&shortened(&String::from_utf8(arrived.clone()).unwrap()));
    assert_eq!(arrived, kubeconfig.as_bytes(), "the file is not what was stored");
    screen.good("byte for byte what was stored");
    assert_eq!(bao.tokens(), tokens_before, "a Vault token is left");
    screen.good("the Vault token is revoked, the service-account token was only ever in the init container");

    screen.step(7, "How long it took");
    for (what, time) in &times {
        screen.say(&format!("{:>9}  {what}", milliseconds(*time)));
    }
    screen.say("(debug build; `make bench` measures the real ones)");
}

fn below(root: &Path, absolute: &Value) -> std::path::PathBuf {
    root.join(absolute.as_str().unwrap().trim_start_matches('/'))
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

/// A kubeconfig of the usual size, with keys that open nothing.
fn kubeconfig() -> String {
    let blob = |seed: u8, bytes: usize| {
        STANDARD.encode(
            (0..bytes)
                .map(|i| (i as u8).wrapping_mul(31).wrapping_add(seed))
                .collect::<Vec<_>>(),
        )
    };
    format!(
        "apiVersion: v1\nkind: Config\nclusters:\n- name: rancher-cluster\n  cluster:\n    server: https://rancher.example.com:6443\n    \
         certificate-authority-data: {}\ncontexts:\n- name: rancher-cluster\n  context: {{cluster: rancher-cluster, user: ci}}\n\
         current-context: rancher-cluster\nusers:\n- name: ci\n  user:\n    client-certificate-data: {}\n    client-key-data: {}\n",
        blob(1, 1100),
        blob(2, 900),
        blob(3, 240)
    )
}

/// With a line break every 76 characters and one at the end.
fn as_base64_writes_it(text: &str) -> String {
    let encoded = STANDARD.encode(text);
    let lines: Vec<_> = encoded
        .as_bytes()
        .chunks(76)
        .map(|line| String::from_utf8_lossy(line).into_owned())
        .collect();
    lines.join("\n") + "\n"
}

/// The same with all long values cut: these would be secrets.
fn shortened(text: &str) -> String {
    text.lines().fold(String::new(), |mut short, line| {
        let _ = match line.split_once("-data: ") {
            Some((key, value)) => writeln!(short, "{key}-data: {}… ({} characters)", &value[..12], value.len()),
            None => writeln!(short, "{line}"),
        };
        short
    })
}

struct Screen {
    colour: bool,
}

impl Screen {
    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }

    fn step(&self, number: u32, title: &str) {
        println!("\n{}", self.paint("1", &format!("{number}. {title}")));
    }

    fn say(&self, text: &str) {
        println!("   {text}");
    }

    fn good(&self, text: &str) {
        println!("   {} {text}", self.paint("32", "✓"));
    }

    fn block(&self, text: &str) {
        for line in text.lines() {
            println!("   {} {line}", self.paint("2", "│"));
        }
    }

    /// What is new, with two lines around it. Nothing is ever taken away.
    fn diff(&self, before: &str, after: &str) {
        let diff = TextDiff::from_lines(before, after);
        for (index, group) in diff.grouped_ops(2).iter().enumerate() {
            if index > 0 {
                println!("   {}", self.paint("2", "⋮"));
            }
            for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
                let line = change.value().trim_end();
                let line: String = if line.chars().count() > 110 {
                    line.chars().take(110).chain("…".chars()).collect()
                } else {
                    line.to_owned()
                };
                match change.tag() {
                    ChangeTag::Equal => println!("     {}", self.paint("2", &line)),
                    ChangeTag::Insert => println!("   {}", self.paint("32", &format!("+ {line}"))),
                    ChangeTag::Delete => println!("   {}", self.paint("31", &format!("- {line}"))),
                }
            }
        }
    }
}
