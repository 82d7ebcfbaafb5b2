//! The way from vault-k8s to podkey: `podkey migrate vault-k8s`, and the page about it.
//!
//! Each folder of `tests/from_vault_k8s/` is a case of `migrate`: `manifest.yaml`, and what is printed, `shown.txt`, which ends with the
//! exit code. `PODKEY_UPDATE=1` writes the latter, and the table of keys on the page, anew: read the difference.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use podkey::cli::inject::offline;
use podkey::inject::Config;
use podkey::inject::vocabulary::{Suffix, Treatment, vault_k8s_keys};
use serde_json::{Value, json};

const PAGE: &str = "docs/from-vault-k8s.md";
/// What the keys of vault-k8s and of openbao-k8s begin with.
const THEIR_PREFIXES: [&str; 2] = ["vault.hashicorp.com/", "openbao.org/"];

/// What is printed, on both streams, and the exit code.
fn migrate(folder: &Path, files: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_podkey"))
        .args(["migrate", "vault-k8s", "-f"])
        .args(files)
        .current_dir(folder)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    format!(
        "{}{}exit code {}\n",
        text(output.stdout),
        text(output.stderr),
        output.status.code().unwrap()
    )
}

fn folders(parent: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(parent).unwrap().map(|entry| entry.unwrap().path());
    let mut folders: Vec<_> = entries.filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

#[test]
fn each_case_of_migrate_is_shown_as_it_should_be() {
    let update = std::env::var_os("PODKEY_UPDATE").is_some();
    let folders = folders("tests/from_vault_k8s");
    for folder in &folders {
        let shown = migrate(folder, &["manifest.yaml"]);
        let golden = folder.join("shown.txt");
        if update {
            std::fs::write(&golden, &shown).unwrap();
        }
        let expected = std::fs::read_to_string(&golden).unwrap_or_default();
        assert_eq!(shown, expected, "{}", folder.display());
    }
    assert!(folders.len() >= 5, "{}", folders.len());
}

#[test]
fn several_files_are_shown_as_one_yaml_stream_and_an_unreadable_file_is_an_error() {
    let folder = Path::new("tests/from_vault_k8s/many-documents");
    let shown = migrate(folder, &["manifest.yaml", "manifest.yaml"]);
    let yaml = shown.rsplit_once("exit code").unwrap().0;
    let documents: Vec<Value> = serde_saphyr::from_multiple(yaml).unwrap();
    let one = migrate(folder, &["manifest.yaml"]).matches("---\n").count() + 1;
    assert_eq!(documents.len(), 2 * one, "{shown}");
    assert_eq!(
        migrate(folder, &["/nope.yaml"]),
        "cannot read /nope.yaml: No such file or directory (os error 2)\nexit code 64\n"
    );
    let temporary = tempfile::tempdir().unwrap();
    for (text, expected) in [
        ("a: [", "m.yaml: the manifest cannot be read: "),
        (
            "a: 1\n",
            "m.yaml: the manifest has a document without apiVersion and kind",
        ),
        (
            "apiVersion: v1\nkind: ConfigMap\n",
            "# m.yaml: no pod template with annotations of vault-k8s\n",
        ),
    ] {
        std::fs::write(temporary.path().join("m.yaml"), text).unwrap();
        let shown = migrate(temporary.path(), &["m.yaml"]);
        assert!(shown.starts_with(expected), "{text}: {shown}");
    }
}

/// What is printed for one pod: the annotations, and whether everything is carried over.
fn migrated(pod: &Value) -> (Value, bool, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_podkey"))
        .args(["migrate", "vault-k8s", "-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    serde_json::to_writer(child.stdin.take().unwrap(), pod).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let annotations = serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    (annotations, output.status.success(), text)
}

fn is_theirs(key: &str) -> bool {
    THEIR_PREFIXES.iter().any(|prefix| key.starts_with(prefix))
}

/// The plan in an injected pod, as JSON.
fn plan(pod: &Value) -> Value {
    let containers = pod["spec"]["initContainers"].as_array().unwrap().iter();
    let mut variables = containers.flat_map(|container| container["env"].as_array().into_iter().flatten());
    let plan = variables
        .find(|variable| variable["name"] == "PODKEY_PLAN")
        .expect("a plan");
    serde_json::from_str(plan["value"].as_str().unwrap()).unwrap()
}

/// Each file of a plan as its reader sees it, but for its directory and for what a missing field does: path below the directory,
/// permissions, delimiters, template.
fn contents(plan: &Value) -> Vec<[String; 4]> {
    let files = plan["files"].as_array().unwrap();
    let mut contents: Vec<_> = files
        .iter()
        .map(|file| {
            let place = file["file"].as_str().unwrap();
            let name = match place.split_once(':') {
                Some((_, name)) => name,
                None => place.rsplit('/').next().unwrap(),
            };
            let name = name.rsplit('/').next().unwrap().to_owned();
            let template = &file["template"];
            [
                name,
                file["mode"].to_string(),
                file["delims"].to_string(),
                template.to_string(),
            ]
        })
        .collect();
    contents.sort();
    contents
}

/// Every golden pod of vault-k8s: what `migrate` prints, put on the pod, passes `inject`, and its plan delivers the same bytes: the
/// agent makes a file from the template, the delimiters and the answers, and from nothing else.
#[test]
fn what_migrate_prints_is_taken_by_inject_and_makes_the_same_files() {
    let mut compared = 0;
    let mut failed = Vec::new();
    for folder in folders("tests/inject") {
        let Ok(manifest) = std::fs::read_to_string(folder.join("pod.yaml")) else {
            continue;
        };
        let is_injected = folder.join("patched.yaml").exists();
        let is_of_vault_k8s = folder.file_name().unwrap().to_string_lossy().starts_with("vault-k8s-");
        if !is_injected || !is_of_vault_k8s {
            continue;
        }
        let own = std::fs::read_to_string(folder.join("config.yaml"));
        let config = own
            .or_else(|_| std::fs::read_to_string("tests/inject/vault-k8s.yaml"))
            .unwrap();
        let config = Config::parse(&config, |_| Err("no case may name a file".to_owned())).unwrap();
        match compare(&manifest, &config) {
            Ok(()) => compared += 1,
            Err(why) => failed.push(format!("{}: {why}", folder.display())),
        }
    }
    assert!(failed.is_empty(), "{} cases:\n{}", failed.len(), failed.join("\n"));
    assert!(compared >= 90, "{compared} cases");
}

/// The paths without `data/` that a note names.
fn unclear(text: &str) -> Vec<&str> {
    let (_, rest) = text.split_once("paths without data/: ").unwrap_or_default();
    let (paths, _) = rest.split_once(". If the mount").unwrap_or_default();
    paths.split(", ").filter(|path| !path.is_empty()).collect()
}

fn compare(manifest: &str, config: &Config) -> Result<(), String> {
    let injected = |manifest: &str| {
        let pods = offline::inject(manifest, None, config).map_err(|error| error.to_string())?;
        pods.into_iter()
            .next()
            .map(|pod| pod.pod)
            .ok_or_else(|| "no pod".to_owned())
    };
    let theirs = injected(manifest)?;
    let mut pod: Value = serde_saphyr::from_str(manifest).map_err(|error| error.to_string())?;
    let (annotations, is_complete, text) = migrated(&pod);
    if pod["metadata"]["annotations"]["vault.hashicorp.com/agent-inject-token"] == "true" {
        let lost = "agent-inject-token: podkey's own annotations give no container the client token";
        return match !is_complete && text.contains(lost) {
            true => Ok(()),
            false => Err(format!("the client token is not named as lost:\n{text}")),
        };
    }
    if !is_complete {
        return Err(format!(
            "podkey injects the pod, and something is not carried over:\n{text}"
        ));
    }
    let at = match pod["kind"].as_str() {
        Some("Pod") => "/metadata/annotations",
        _ => "/spec/template/metadata/annotations",
    };
    let on_pod = pod
        .pointer_mut(at)
        .and_then(Value::as_object_mut)
        .ok_or("no annotations")?;
    on_pod.retain(|key, _| !is_theirs(key));
    on_pod.extend(annotations.as_object().cloned().unwrap_or_default());
    if text.contains("in podkey.dev/connection") || text.contains("or podkey.dev/connection must name") {
        // The note tells a person to do so, who knows the names of the connections.
        let name = plan(&theirs)["connection"]["name"].clone();
        on_pod.insert("podkey.dev/connection".to_owned(), name);
    }
    // Where the operator's rules tell that the mount is of version 2, a person writes data/, as the note says.
    let theirs = plan(&theirs);
    let is_version_2 = theirs["mountLookup"]["allowed"].is_array();
    let with_data = |json: String| match is_version_2 {
        true => unclear(&text)
            .iter()
            .fold(json, |json, path| json.replace(path, &path.replacen('/', "/data/", 1))),
        false => json,
    };
    let theirs: Value = serde_json::from_str(&with_data(theirs.to_string())).unwrap();
    let pod = with_data(pod.to_string());
    let ours = injected(&pod).map_err(|error| format!("denied: {error}\n{text}"))?;
    let ours = plan(&ours);
    for key in ["login", "connection", "budget"] {
        if theirs[key] != ours[key] {
            return Err(format!("{key}: {} is {}", theirs[key], ours[key]));
        }
    }
    if theirs["refresh"]["interval"] != ours["refresh"]["interval"] {
        return Err(format!("refresh: {} is {}", theirs["refresh"], ours["refresh"]));
    }
    match contents(&theirs) == contents(&ours) {
        true => Ok(()),
        false => Err(format!("{:#?}\nis\n{:#?}", contents(&theirs), contents(&ours))),
    }
}

/// The blocks of the page in this language.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    let blocks = page.split(&fence).skip(1);
    blocks
        .map(|block| block.split("```").next().unwrap().to_owned())
        .collect()
}

#[test]
fn every_pod_of_the_page_is_taken_by_inject_and_migrate_makes_the_second_of_the_first() {
    let page = std::fs::read_to_string(PAGE).unwrap();
    let config =
        "agent: {image: i}\nconnections: {default: {address: 'https://vault:8200'}}\nvaultK8s: {connection: default}\n";
    let config = Config::parse(config, |_| Err("no file".to_owned())).unwrap();
    let pods: Vec<_> = blocks(&page, "yaml")
        .into_iter()
        .filter(|block| block.starts_with("apiVersion"))
        .collect();
    for pod in &pods {
        let injected = offline::inject(pod, None, &config).unwrap_or_else(|error| panic!("{error}: {pod}"));
        assert!(!plan(&injected[0].pod).is_null());
    }
    let [before, after] = pods.as_slice() else {
        panic!("{} pods", pods.len())
    };
    let (before, after): (Value, Value) = (
        serde_saphyr::from_str(before).unwrap(),
        serde_saphyr::from_str(after).unwrap(),
    );
    let (annotations, is_complete, text) = migrated(&before);
    assert!(is_complete, "{text}");
    assert_eq!(annotations, after["metadata"]["annotations"], "{text}");
}

#[test]
fn the_values_of_the_page_are_values_of_the_chart() {
    let page = std::fs::read_to_string(PAGE).unwrap();
    let schema: Value =
        serde_saphyr::from_str(&std::fs::read_to_string("manifests/chart/values.schema.json").unwrap()).unwrap();
    let blocks = blocks(&page.replace("\n   ", "\n"), "yaml");
    let values = blocks
        .iter()
        .find(|block| block.starts_with("vaultK8s:"))
        .expect("values of podkey's chart");
    let values: Value = serde_saphyr::from_str(values).unwrap();
    let known = schema["properties"]["vaultK8s"]["properties"].as_object().unwrap();
    let written = values["vaultK8s"].as_object().unwrap();
    assert!(written.keys().all(|key| known.contains_key(key)), "{values}");
    assert_eq!(values["vaultK8s"]["enabled"], json!(true));
}

/// The table of keys on the page is made from the table that the parser itself uses.
#[test]
fn the_page_has_each_key_with_what_becomes_of_it() {
    const BEGIN: &str = "<!-- keys: made by `PODKEY_UPDATE=1 cargo test --test from_vault_k8s` -->\n";
    const END: &str = "<!-- end of keys -->";
    let mut table = "| annotation | in vault-k8s | podkey |\n| --- | --- | --- |\n".to_owned();
    for row in vault_k8s_keys() {
        let suffix = match row.suffix {
            Suffix::None => "",
            Suffix::Name => "-NAME",
            Suffix::OptionalName => "(-NAME)",
            Suffix::Parameter => "-PARAMETER",
        };
        let treatment = match row.treatment {
            Treatment::Translated => "same",
            Treatment::Limited => "allowed",
            Treatment::Ignored => "no effect",
            Treatment::Refused => "refused",
        };
        let _ = writeln!(table, "| `{}{suffix}` | {} | {treatment} |", row.key, row.meaning);
    }
    let page = std::fs::read_to_string(PAGE).unwrap();
    let (before, rest) = page.split_once(BEGIN).unwrap();
    let (written, after) = rest.split_once(END).unwrap();
    if std::env::var_os("PODKEY_UPDATE").is_some() {
        std::fs::write(PAGE, format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
        return;
    }
    assert_eq!(written, table);
}

/// Each of the 47 cases has an outcome, and the golden cases that it names exist and come out so.
#[test]
fn the_page_s_table_of_cases_names_golden_cases_that_exist() {
    let page = std::fs::read_to_string(PAGE).unwrap();
    let (_, table) = page.split_once("## vault-k8s' own test cases").unwrap();
    let rows: Vec<Vec<&str>> = table
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| case") && !line.starts_with("| ---"))
        .map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect())
        .collect();
    let numbers: Vec<usize> = rows.iter().map(|row| row[0].parse().unwrap()).collect();
    assert_eq!(numbers, (1..=47).collect::<Vec<_>>());
    for row in rows {
        assert!(["*same*", "*stricter*", "*refused*"].contains(&row[2]), "{row:?}");
        assert!(row[2] == "*same*" || !row[3].is_empty(), "no reason: {row:?}");
        let cases: Vec<_> = row[4].split('`').skip(1).step_by(2).collect();
        for case in &cases {
            assert!(
                Path::new(&format!("tests/inject/vault-k8s-{case}/pod.yaml")).exists(),
                "{case}"
            );
        }
        let is_denied = |case: &&str| Path::new(&format!("tests/inject/vault-k8s-{case}/denied.txt")).exists();
        assert!(
            row[2] != "*refused*" || cases.is_empty() || cases.iter().any(is_denied),
            "{row:?}"
        );
    }
}
