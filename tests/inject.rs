//! Golden cases of the decision: each folder of `tests/inject/` is a manifest and what must come of it.
//!
//! | file | holds |
//! | --- | --- |
//! | `pod.yaml` | one manifest of any kind that `podkey inject` reads |
//! | `config.yaml` | the operator's config; left out: the one beside the folders, or `vault-k8s.yaml` for `vault-k8s-…` |
//! | `namespace.txt` | the request's namespace; left out: the manifest's own, else `default` |
//! | `patched.yaml` | expected: this pod, whole |
//! | `denied.txt` | or: these problems, one a line |
//! | `code.txt` | beside it, where the manifest is a pod: the answer's status code, 403 where only the template can be mended, 400 where the operator can mend it |
//! | `ignored` | or: no patch, because nothing was asked for or the pod is out of reach |
//! | `warnings.txt` | and these warnings, one a line; left out: none |
//!
//! `{version}` stands for podkey's own version. `PODKEY_UPDATE=1 cargo test --test inject` writes what the code does
//! over what is expected: read the difference before you commit it.
#![cfg(feature = "webhook")]
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test may fail where it stands")]

#[path = "support/plain.rs"]
#[allow(unreachable_pub, reason = "shared by several test binaries")]
mod plain;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use podkey::VERSION;
use podkey::cli::inject::offline::{self, OfflineError};
use podkey::inject::{Config, Decision, Mender, Pod, decide, vocabulary};
use serde_json::Value;

/// What is expected of a case, and what came of it: file names with their text.
type Outcome = BTreeMap<&'static str, String>;

/// What the folders with annotations of vault-k8s begin with.
const VAULT_K8S: &str = "vault-k8s-";

const EXPECTATIONS: [&str; 5] = ["patched.yaml", "denied.txt", "code.txt", "ignored", "warnings.txt"];

#[test]
fn every_case_comes_out_as_its_folder_says() {
    let root = root().join("tests/inject");
    let update = std::env::var_os("PODKEY_UPDATE").is_some();
    let mut folders: Vec<PathBuf> = fs::read_dir(&root)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    folders.sort();
    assert!(folders.len() > 100, "where have the cases gone?");
    let mut failures = String::new();
    for folder in &folders {
        let name = folder.file_name().unwrap().to_string_lossy();
        match run(&root, folder) {
            Err(why) => writeln!(failures, "\n{name}: {why}").unwrap(),
            Ok(outcome) if update => write(folder, &outcome),
            Ok(outcome) => {
                for said in ["denied.txt", "warnings.txt"]
                    .iter()
                    .filter_map(|name| outcome.get(name))
                {
                    plain::assert_for_people(&name, said);
                }
                if let Err(difference) = compare(&expected(folder), &outcome) {
                    writeln!(failures, "\n{name}: {difference}").unwrap();
                }
            }
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

/// The next release must not change a golden file: each says `{version}`.
#[test]
fn no_golden_file_has_the_number_of_a_version() {
    for folder in fs::read_dir(root().join("tests/inject")).unwrap() {
        let folder = folder.unwrap().path();
        for name in ["pod.yaml", "patched.yaml"] {
            let text = fs::read_to_string(folder.join(name)).unwrap_or_default();
            assert_eq!(without_version(&text), text, "{}", folder.join(name).display());
        }
    }
}

/// Each annotation and each field of a file is in a golden case, and no case has a key that podkey does not know. (A case that is
/// denied may misspell a key.)
#[test]
fn each_key_of_a_pod_is_in_a_golden_case() {
    let (mut annotations, mut fields) = (BTreeSet::new(), BTreeSet::new());
    for case in fs::read_dir(root().join("tests/inject")).unwrap() {
        let folder = case.unwrap().path();
        if let Some(text) = read(&folder.join("pod.yaml")).filter(|_| folder.join("patched.yaml").exists()) {
            let manifest: Value = serde_saphyr::from_str(&text).unwrap();
            written_keys(&manifest, &mut annotations, &mut fields);
        }
    }
    let of_cases = |known: &[&str], used: &BTreeSet<String>| {
        let known: BTreeSet<_> = known.iter().map(|key| (*key).to_owned()).collect();
        assert_eq!(&known, used, "the table, and the golden cases that are not denied");
    };
    let table: Vec<_> = vocabulary::annotations().map(|annotation| annotation.key).collect();
    of_cases(&table, &annotations);
    let table: Vec<_> = vocabulary::file_fields().map(|field| field.key).collect();
    of_cases(&table, &fields);
}

/// Each of the 75 keys of vault-k8s is in a case that comes out as the table says: a key that is refused in one that is denied, the
/// others in one that is not.
#[test]
fn each_key_of_vault_k8s_is_in_a_golden_case() {
    let (mut accepted, mut denied) = (BTreeSet::new(), BTreeSet::new());
    for case in fs::read_dir(root().join("tests/inject")).unwrap() {
        let folder = case.unwrap().path();
        let Some(text) = read(&folder.join("pod.yaml")).filter(|text| text.contains("vault.hashicorp.com/")) else {
            continue;
        };
        let manifest: Value = serde_saphyr::from_str(&text).unwrap();
        let annotations = manifest["metadata"]["annotations"].as_object().into_iter().flatten();
        let keys = annotations.filter_map(|(key, _)| key.strip_prefix("vault.hashicorp.com/").map(str::to_owned));
        match read(&folder.join("denied.txt")) {
            None => accepted.extend(keys),
            Some(why) => denied.extend(keys.filter(|key| why.contains(&format!("{key}: ")))),
        }
    }
    for row in vocabulary::vault_k8s_keys() {
        let of_row = |key: &String| match row.suffix {
            vocabulary::Suffix::None => key == row.key,
            _ => key == row.key || key.starts_with(&format!("{}-", row.key)),
        };
        let cases = match row.treatment {
            vocabulary::Treatment::Refused => &denied,
            _ => &accepted,
        };
        assert!(
            cases.iter().any(of_row),
            "no golden case shows what becomes of {}",
            row.key
        );
    }
}

#[test]
fn each_function_of_templates_is_in_a_golden_case() {
    let known: BTreeSet<&str> = podkey::template::function_names().collect();
    let case = read(&root().join("tests/inject/a-template-may-use-every-function/pod.yaml")).unwrap();
    let words: BTreeSet<&str> = case.split(|c: char| !c.is_alphanumeric()).collect();
    assert_eq!(
        known.difference(&words).collect::<Vec<_>>(),
        Vec::<&&str>::new(),
        "not in the golden case"
    );
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The keys of podkey's annotations in a manifest, and the fields of its files.
fn written_keys(value: &Value, annotations: &mut BTreeSet<String>, fields: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                if key.starts_with("podkey.dev/") {
                    annotations.insert(key.clone());
                }
                match value.as_str().filter(|_| key == "podkey.dev/files") {
                    Some(text) => {
                        let entries: Vec<BTreeMap<String, Value>> = serde_saphyr::from_str(text).unwrap();
                        fields.extend(entries.into_iter().flatten().map(|(field, _)| field));
                    }
                    None => written_keys(value, annotations, fields),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| written_keys(item, annotations, fields)),
        _ => {}
    }
}

/// Decides for one case, and checks what holds for every decision.
fn run(root: &Path, folder: &Path) -> Result<Outcome, String> {
    let manifest = read(&folder.join("pod.yaml")).ok_or("pod.yaml is missing")?;
    let own = folder.join("config.yaml");
    let shared = match folder
        .file_name()
        .is_some_and(|name| name.to_string_lossy().starts_with(VAULT_K8S))
    {
        true => "vault-k8s.yaml",
        false => "config.yaml",
    };
    let config_text = read(&own).or_else(|| read(&root.join(shared))).unwrap();
    let config = Config::parse(&config_text, |_| Err("no case may name a file".to_owned()))
        .map_err(|error| format!("config.yaml: {error}"))?;
    let namespace = read(&folder.join("namespace.txt"));
    let namespace = namespace.as_deref().map(str::trim);

    let document: Value = serde_saphyr::from_str(&manifest).map_err(|error| error.to_string())?;
    if document["kind"] == "Pod" {
        let namespace = namespace
            .or_else(|| document["metadata"]["namespace"].as_str())
            .unwrap_or("default");
        return decide_pod(&document, namespace, &config).and_then(|outcome| {
            if let Some(denied) = outcome.get("denied.txt") {
                check_discretion(denied, &manifest, namespace, &config_text)?;
            }
            Ok(outcome)
        });
    }
    // A template: the pod that its controller would make is podkey's own affair, so what comes of it is all there is.
    let mut outcome = Outcome::new();
    match offline::inject(&manifest, namespace, &config) {
        Err(OfflineError::Denied(problems)) => {
            let lines: Vec<_> = problems.iter().map(|problem| format!("{problem}\n")).collect();
            outcome.insert("denied.txt", lines.concat());
        }
        Err(error) => return Err(error.to_string()),
        Ok(pods) => {
            let [pod] = pods.as_slice() else {
                return Err("has several documents".to_owned());
            };
            check_idempotence(&pod.pod, namespace.unwrap_or("default"), &config)?;
            outcome.insert("patched.yaml", to_yaml(&pod.pod));
            if !pod.notes.is_empty() {
                outcome.insert("warnings.txt", lines(&pod.notes));
            }
        }
    }
    Ok(outcome)
}

fn decide_pod(pod: &Value, namespace: &str, config: &Config) -> Result<Outcome, String> {
    let text = pod.to_string();
    let view = Pod::parse(&text).map_err(|error| error.to_string())?;
    let mut outcome = Outcome::new();
    let warnings = match decide(&view, namespace, config) {
        Decision::Ignore(warnings) => {
            outcome.insert("ignored", String::new());
            warnings
        }
        Decision::Deny(problems) => {
            if problems.to_string().len() > 4096 + 32 {
                return Err(format!("the message has {} bytes", problems.to_string().len()));
            }
            let lines: Vec<_> = problems.iter().map(|p| format!("{}: {}\n", p.key, p.message)).collect();
            if let Some(line) = lines.iter().find(|line| line.matches(char::is_control).count() != 1) {
                return Err(format!("a problem has control characters: {line:?}"));
            }
            outcome.insert("denied.txt", lines.concat());
            let code = match problems.mender() {
                Mender::Author => "403\n",
                Mender::Operator => "400\n",
            };
            outcome.insert("code.txt", code.to_owned());
            Vec::new()
        }
        Decision::Inject(patch, warnings) => {
            let patch = String::from_utf8(patch.as_json().to_vec()).unwrap();
            let Decision::Inject(again, _) = decide(&view, namespace, config) else {
                return Err("the second decision is another one".to_owned());
            };
            if again.as_json() != patch.as_bytes() {
                return Err("the second patch is another one".to_owned());
            }
            let operations: Vec<Value> = serde_json::from_str(&patch).unwrap();
            if let Some(other) = operations.iter().find(|operation| operation["op"] != "add") {
                return Err(format!("an operation is no add: {other}"));
            }
            let mut patched = pod.clone();
            let patch: json_patch::Patch = serde_json::from_str(&patch).unwrap();
            json_patch::patch(&mut patched, &patch).map_err(|error| format!("the patch does not apply: {error}"))?;
            check_idempotence(&patched, namespace, config)?;
            outcome.insert("patched.yaml", to_yaml(&patched));
            warnings
        }
    };
    // The API server drops what is no header text, and cuts what is long.
    if warnings.len() > 5
        || !warnings
            .iter()
            .all(|w| w.len() < 120 && w.bytes().all(|b| (b' '..=b'~').contains(&b)))
    {
        return Err(format!("warnings that do not arrive: {warnings:?}"));
    }
    if !warnings.is_empty() {
        outcome.insert("warnings.txt", lines(&warnings));
    }
    Ok(outcome)
}

fn check_idempotence(pod: &Value, namespace: &str, config: &Config) -> Result<(), String> {
    let text = pod.to_string();
    let view = Pod::parse(&text).map_err(|error| error.to_string())?;
    match decide(&view, namespace, config) {
        Decision::Ignore(_) => Ok(()),
        Decision::Inject(patch, _) if patch.is_empty() => Ok(()),
        Decision::Inject(patch, _) => Err(format!(
            "the injected pod would be patched again: {}",
            String::from_utf8(patch.as_json().to_vec()).unwrap()
        )),
        Decision::Deny(problems) => Err(format!("the injected pod would be denied: {problems}")),
    }
}

/// Whoever reaches the webhook may probe it: a denial says nothing of the operator's that the pod did not say itself.
fn check_discretion(denied: &str, manifest: &str, namespace: &str, config: &str) -> Result<(), String> {
    let config: Value = serde_saphyr::from_str(config).unwrap();
    let mut secrets = Vec::new();
    for connection in config["connections"].as_object().into_iter().flatten().map(|(_, c)| c) {
        strings(&connection["allow"], &mut secrets);
        strings(&connection["job"], &mut secrets);
        for pointer in ["/address", "/namespace", "/tlsServerName", "/auth/role", "/auth/mount"] {
            strings(connection.pointer(pointer).unwrap_or(&Value::Null), &mut secrets);
        }
    }
    match secrets
        .into_iter()
        .find(|text| denied.contains(text) && !manifest.contains(text) && !namespace.contains(text))
    {
        None => Ok(()),
        Some(text) => Err(format!("the denial tells {text:?} of the operator's config:\n{denied}")),
    }
}

fn strings<'a>(value: &'a Value, into: &mut Vec<&'a str>) {
    match value {
        Value::String(text) if !text.is_empty() => into.push(text),
        Value::Array(values) => values.iter().for_each(|value| strings(value, into)),
        Value::Object(values) => values.values().for_each(|value| strings(value, into)),
        _ => {}
    }
}

fn lines(texts: &[String]) -> String {
    texts.iter().map(|text| format!("{text}\n")).collect()
}

fn read(path: &Path) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.replace("{version}", VERSION))
}

/// The text as a golden file has it: `{version}` for podkey's own version in `podkey.dev/injected`, in quotes because of the brace.
fn without_version(text: &str) -> String {
    let without = |line: &str| {
        let (indent, value) = line.split_once("podkey.dev/injected: ")?;
        let rest = value.trim_matches(['"', '\'']).strip_prefix(VERSION)?;
        Some(format!("{indent}podkey.dev/injected: \"{{version}}{rest}\"\n"))
    };
    let lines = text
        .lines()
        .map(|line| without(line).unwrap_or_else(|| format!("{line}\n")));
    lines.collect()
}

/// In block style, and checked to read back as it was.
fn to_yaml(pod: &Value) -> String {
    let yaml = serde_saphyr::to_string(pod).unwrap();
    let back: Value = serde_saphyr::from_str(&yaml).unwrap();
    assert_eq!(&back, pod, "YAML that reads back as something else");
    yaml
}

fn expected(folder: &Path) -> Outcome {
    let text = |name| Some((name, read(&folder.join(name))?));
    EXPECTATIONS.into_iter().filter_map(text).collect()
}

fn compare(expected: &Outcome, found: &Outcome) -> Result<(), String> {
    let names = |outcome: &Outcome| outcome.keys().copied().collect::<Vec<_>>();
    if names(expected) != names(found) {
        let found: String = found.iter().map(|(name, text)| format!("{name}:\n{text}")).collect();
        return Err(format!("expected {:?}, found {found}", names(expected)));
    }
    for (name, expected) in expected {
        let found = &found[name];
        let same = if name.ends_with(".yaml") {
            let value = |text: &str| serde_saphyr::from_str::<Value>(text).unwrap();
            value(expected) == value(found)
        } else {
            expected == found
        };
        if !same {
            return Err(format!(
                "{name} differs (- expected, + found):\n{}",
                difference(expected, found)
            ));
        }
    }
    Ok(())
}

/// The lines that only one of the texts has, as `diff` prints them.
fn difference(expected: &str, found: &str) -> String {
    let (old, new): (Vec<_>, Vec<_>) = (expected.lines().collect(), found.lines().collect());
    let same_start = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let (old, new) = (&old[same_start..], &new[same_start..]);
    let same_end = old
        .iter()
        .rev()
        .zip(new.iter().rev())
        .take_while(|(a, b)| a == b)
        .count();
    let lines = |sign, lines: &[&str]| -> String { lines.iter().map(|line| format!("{sign} {line}\n")).collect() };
    lines('-', &old[..old.len() - same_end]) + &lines('+', &new[..new.len() - same_end])
}

fn write(folder: &Path, outcome: &Outcome) {
    for name in EXPECTATIONS {
        let path = folder.join(name);
        match outcome.get(name) {
            None if path.exists() => fs::remove_file(path).unwrap(),
            None => {}
            Some(text) => {
                fs::write(path, without_version(text)).unwrap();
            }
        }
    }
}
