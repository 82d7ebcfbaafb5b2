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

#[path = "../support/mod.rs"]
mod support;

mod delivered;
mod pairs;
#[path = "../support/shown.rs"]
mod shown;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use podkey::cli::inject::offline;
use podkey::inject::Config;
use podkey::inject::vocabulary::{Suffix, Treatment, vault_k8s_keys};
use serde_json::{Value, json};

use crate::pairs::{Injected, Pair, folders, migrated, pairs, path, plan};
use crate::shown::shown;

const PAGE: &str = "docs/guides/from-vault-k8s.md";
/// How each test case of vault-k8s comes out.
const CASES: &str = "docs/develop/vault-k8s-cases.md";

/// What `podkey migrate vault-k8s` shows for these files.
fn migrate(folder: &Path, files: &[&str]) -> String {
    shown(folder, &[&["migrate", "vault-k8s", "-f"], files].concat())
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

/// Annotations that the webhook refuses are printed, and told.
#[test]
fn annotations_that_inject_refuses_do_not_exit_with_0() {
    for (case, expected) in [
        (
            "agent-inject-command-that-is-a-signal-needs-shared-processes",
            "podkey refuses the annotations above: podkey.dev/on-change",
        ),
        (
            "agent-inject-containers-without-a-container-is-denied",
            "podkey refuses the annotations above: podkey.dev/containers",
        ),
        (
            "a-pod-that-names-no-secret-is-left-alone-with-a-warning",
            "podkey refuses the annotations above: podkey.dev/files",
        ),
        (
            "agent-inject-secret-of-tokens-is-denied",
            "podkey refuses the annotations above: podkey.dev/files",
        ),
        (
            "two-names-that-make-one-file-are-denied",
            "podkey refuses the annotations above: podkey.dev/files",
        ),
    ] {
        let folder = format!("tests/inject/vault-k8s-{case}");
        let shown = shown(Path::new(&folder), &["migrate", "vault-k8s", "pod.yaml"]);
        assert!(
            shown.contains(expected) && shown.ends_with("exit code 1\n"),
            "{case}: {shown}"
        );
    }
}

/// Each file of a plan: its path in the containers, mode, delimiters, template.
fn contents(files: &[Value], path_of: impl Fn(&Value) -> String) -> Vec<[String; 4]> {
    let contents = files.iter().map(|file| {
        [
            path_of(file),
            file["mode"].to_string(),
            file["delims"].to_string(),
            file["template"].to_string(),
        ]
    });
    let mut contents: Vec<_> = contents.collect();
    contents.sort();
    contents
}

/// Every golden pod of vault-k8s: what `migrate` prints, put on the pod, passes `inject`, and the plan has the same files.
#[test]
fn what_migrate_prints_is_taken_by_inject_and_plans_the_same_files() {
    let failed: Vec<String> = pairs()
        .iter()
        .filter_map(|pair| compare(pair).err().map(|why| format!("{}: {why}", pair.case)))
        .collect();
    assert!(failed.is_empty(), "{} cases:\n{}", failed.len(), failed.join("\n"));
}

fn compare(pair: &Pair) -> Result<(), String> {
    // Where the operator's rules tell that the mount is of version 2, a person writes data/, as the note says.
    let with_data = pair.theirs.plan["mountLookup"]["allowed"].is_array();
    let theirs = match with_data {
        true => pair.with_data(&pair.theirs.plan),
        false => pair.theirs.plan.clone(),
    };
    let ours = pair.ours(with_data)?.plan;
    for key in ["login", "connection", "budget"] {
        if theirs[key] != ours[key] {
            return Err(format!("{key}: {} is {}", theirs[key], ours[key]));
        }
    }
    if theirs["refresh"]["interval"] != ours["refresh"]["interval"] {
        return Err(format!("refresh: {} is {}", theirs["refresh"], ours["refresh"]));
    }
    let files = |plan: &Value| plan["files"].as_array().unwrap().clone();
    let theirs = contents(&files(&theirs), |file| pair.moved(&path(file)));
    let ours = contents(&files(&ours), path);
    match theirs == ours {
        true => Ok(()),
        false => Err(format!("{theirs:#?}\nis\n{ours:#?}")),
    }
}

/// Containers that get files, and the actions after a change, whose paths are where `migrate` says that the files go.
#[test]
fn what_migrate_prints_serves_the_same_containers_and_informs_them_alike() {
    let (mut readers, mut actions) = (BTreeSet::new(), BTreeSet::new());
    for pair in &pairs() {
        let ours = pair.ours(false).unwrap_or_else(|_| pair.ours(true).unwrap());
        let seen = |injected: &Injected| injected.readers().into_keys().collect::<BTreeSet<_>>();
        let theirs: BTreeSet<_> = seen(&pair.theirs)
            .into_iter()
            .map(|(path, container)| (pair.moved(&path), container))
            .collect();
        assert!(!theirs.is_empty(), "{}", pair.case);
        assert_eq!(seen(&ours), theirs, "{}", pair.case);
        readers.extend(theirs.into_iter().map(|(_, container)| container));

        let on_change = |plan: &Value| plan["refresh"]["onChange"].as_array().cloned().unwrap_or_default();
        let theirs: Vec<_> = on_change(&pair.theirs.plan)
            .iter()
            .map(|action| action_after(pair, action))
            .collect();
        assert_eq!(on_change(&ours.plan), theirs, "{}", pair.case);
        actions.extend(
            theirs
                .iter()
                .filter_map(|action| Some(action.as_str()?.split(':').next()?.to_owned())),
        );
        let shares = |injected: &Injected| injected.pod["spec"]["shareProcessNamespace"].clone();
        assert_eq!(shares(&ours), shares(&pair.theirs), "{}", pair.case);
    }
    assert!(readers.len() >= 3, "{readers:?}");
    assert_eq!(actions.into_iter().collect::<Vec<_>>(), ["http", "signal", "touch"]);
}

/// The action after the migration: the file that is touched moves as the other files do.
fn action_after(pair: &Pair, action: &Value) -> Value {
    let Some((directory, name)) = action
        .as_str()
        .unwrap()
        .strip_prefix("touch:")
        .and_then(|touched| touched.split_once(':'))
    else {
        return action.clone();
    };
    let moved = pair.moved(&format!("{directory}/{name}"));
    format!(
        "touch:{}",
        moved
            .strip_prefix("/podkey/secrets/")
            .expect("the output says that the file moves")
    )
    .into()
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
    let page = std::fs::read_to_string(CASES).unwrap();
    let rows: Vec<Vec<&str>> = page
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
