//! Makes the inputs that the fuzz targets begin with from the golden cases of podkey's tests, in fuzz/corpus/TARGET/:
//! `fuzz/run` builds and runs this program. What no golden case has is in fuzz/seeds/, and what once broke a law in fuzz/found/.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

// The instrumented code needs libFuzzer.
use podkey_fuzz as _;
use serde_json::{Value, json};

/// Between the records of an input, see `src/fuzzing/mod.rs`.
const SEPARATOR: char = '\0';
/// libFuzzer's limit here: a longer seed would be cut.
const MAX_BYTES: usize = 32 * 1024;

/// The seeds of all targets: no two of a target are equal.
#[derive(Default)]
struct Seeds(BTreeSet<(&'static str, Vec<u8>)>);

impl Seeds {
    fn add(&mut self, target: &'static str, input: impl AsRef<[u8]>) {
        let input = input.as_ref();
        if !input.is_empty() && input.len() <= MAX_BYTES {
            self.0.insert((target, input.to_vec()));
        }
    }

    /// Writes the seeds, and removes those of an earlier run: a number is another seed's when a golden case was added.
    fn write(&self, root: &Path) {
        for folder in folders(root) {
            for old in files(&folder).iter().filter(|file| is_golden(file)) {
                fs::remove_file(old).unwrap();
            }
        }
        for (number, (target, input)) in self.0.iter().enumerate() {
            let folder = root.join(target);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join(format!("golden-{number:04}")), input).unwrap();
        }
    }
}

fn main() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR"));
    let tests = fuzz.join("../tests");
    let mut seeds = Seeds::default();
    for case in folders(&tests.join("inject")) {
        of_a_pod(&case, &mut seeds);
    }
    for case in folders(&tests.join("lint"))
        .into_iter()
        .chain(folders(&tests.join("from_vault_k8s")))
    {
        for file in files(&case).into_iter().filter(|file| is_yaml(file)) {
            of_a_manifest(&read(&file), &mut seeds);
        }
    }
    for case in folders(&tests.join("migrate")) {
        let texts: Vec<String> = files(&case)
            .iter()
            .filter(|file| is_yaml(file))
            .map(|file| read(file))
            .collect();
        for text in &texts {
            let used = texts.iter().find(|other| *other != text).map_or("", String::as_str);
            seeds.add("migrate", format!("{text}{SEPARATOR}{used}"));
        }
    }
    of_templates(&tests.join("templates/table"), &mut seeds);
    for folder in ["seeds", "found"].iter().flat_map(|all| folders(&fuzz.join(all))) {
        let target = TARGETS.iter().find(|target| folder.ends_with(target));
        for file in files(&folder) {
            seeds.add(target.expect("a folder for each target"), fs::read(file).unwrap());
        }
    }
    seeds.write(&fuzz.join("corpus"));
    println!("{} seeds", seeds.0.len());
}

const TARGETS: [&str; 21] = [
    "annotations",
    "answer",
    "certificate",
    "config",
    "env",
    "files",
    "formats",
    "handover",
    "http",
    "job",
    "manifest",
    "masks",
    "migrate",
    "migrate_vault_k8s",
    "plan",
    "policy",
    "render_template",
    "review",
    "status",
    "status_file",
    "template",
];

/// A golden case of the webhook's decision: the pod, the patched pod, and the operator's config.
fn of_a_pod(case: &Path, seeds: &mut Seeds) {
    if let Ok(config) = fs::read_to_string(case.join("config.yaml")) {
        seeds.add("config", &config);
    }
    for name in ["pod.yaml", "patched.yaml"] {
        let Ok(text) = fs::read_to_string(case.join(name)) else {
            continue;
        };
        of_a_manifest(&text, seeds);
    }
}

fn of_a_manifest(text: &str, seeds: &mut Seeds) {
    seeds.add("manifest", text);
    if text.contains("agent-inject") {
        seeds.add("migrate_vault_k8s", text);
    }
    let Ok(object) = serde_saphyr::from_str::<Value>(text) else {
        return;
    };
    let pod = ["/spec/template", "/spec/jobTemplate/spec/template"]
        .iter()
        .find_map(|pointer| object.pointer(pointer))
        .unwrap_or(&object);
    seeds.add("review", review(pod));
    let annotations = pod.pointer("/metadata/annotations").and_then(Value::as_object);
    let mut records = vec!["x".repeat(usize::from(is_runner(pod)))];
    for (key, value) in annotations.into_iter().flatten() {
        let Some(value) = value.as_str() else { continue };
        records.push(format!("{}={value}", key.strip_prefix("podkey.dev/").unwrap_or(key)));
        match key.as_str() {
            "podkey.dev/files" => seeds.add("files", value),
            "podkey.dev/env" | "podkey.dev/job-env" => seeds.add("env", format!("{value}{SEPARATOR}{SECRET}")),
            "podkey.dev/plan" => seeds.add("plan", value),
            _ => {}
        }
        if value.contains("{{") {
            seeds.add("template", value);
        }
    }
    seeds.add("annotations", records.join(&SEPARATOR.to_string()));
    let containers = ["initContainers", "containers"]
        .into_iter()
        .filter_map(|list| pod["spec"][list].as_array());
    let variables = containers
        .flatten()
        .filter_map(|container| container["env"].as_array())
        .flatten();
    for plan in variables.filter(|variable| variable["name"] == "PODKEY_PLAN") {
        seeds.add("plan", plan["value"].as_str().unwrap_or_default());
    }
}

/// Data of a secret of KV v2, with what selectors look into.
const SECRET: &str = r#"{"data":{"k":"v","list":[{"a":"x"},{"a":"y"}],"deep":{"k":[1,2.50,null,true]},"a.b":"c"},"metadata":{"version":2}}"#;

fn is_runner(pod: &Value) -> bool {
    pod.pointer("/metadata/labels/actions-ephemeral-runner").is_some()
}

fn review(pod: &Value) -> String {
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "namespace": "ns",
            "operation": "CREATE",
            "object": pod,
        },
    })
    .to_string()
}

/// Each template of the table, alone and with the secrets of the table.
fn of_templates(table: &Path, seeds: &mut Seeds) {
    let awkward = read(&table.join("awkward.json"));
    let numbers = read(&table.join("numbers.json"));
    for data in [&awkward, &numbers] {
        seeds.add("formats", format!("{}{SEPARATOR}all/{{{{ .SecretKey }}}}", data.trim()));
        seeds.add("masks", data);
        seeds.add(
            "answer",
            format!("200\nContent-Type: application/json\n\n{{\"data\":{data}}}"),
        );
    }
    let answers = format!("{{\"data\":{{\"data\":{awkward},\"metadata\":{{\"version\":1}}}},\"data_too\":{numbers}}}");
    for list in ["templates.txt", "dynamic.txt", "subset.txt"] {
        for case in read(&table.join(list)).split("\n=== ") {
            let Some((_, template)) = case.split_once('\n') else {
                continue;
            };
            seeds.add("template", template);
            seeds.add("render_template", format!("{template}{SEPARATOR}{answers}"));
        }
    }
}

fn is_golden(file: &Path) -> bool {
    file.file_name()
        .is_some_and(|name| name.to_string_lossy().starts_with("golden-"))
}

fn is_yaml(file: &Path) -> bool {
    file.extension()
        .is_some_and(|extension| extension == "yaml" || extension == "yml")
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn folders(folder: &Path) -> Vec<PathBuf> {
    entries(folder).into_iter().filter(|path| path.is_dir()).collect()
}

/// The files of a folder and of the folders in it.
fn files(folder: &Path) -> Vec<PathBuf> {
    let (folders, mut found): (Vec<_>, Vec<_>) = entries(folder).into_iter().partition(|path| path.is_dir());
    found.extend(folders.iter().flat_map(|folder| files(folder)));
    found
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut entries: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    entries
}
