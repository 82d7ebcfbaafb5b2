//! The inputs in `fuzz/seeds` and `fuzz/found`, each through its door: what once broke a law, and what the targets begin with.

use std::fs;
use std::path::{Path, PathBuf};

type Door = fn(&[u8]);

/// Each target with its door.
const TARGETS: [(&str, Door); 21] = [
    ("annotations", super::annotations),
    ("answer", super::answer),
    ("certificate", super::certificate),
    ("config", super::config),
    ("env", super::env),
    ("files", super::files),
    ("formats", super::formats),
    ("handover", super::handover),
    ("http", super::http),
    ("job", super::job),
    ("manifest", super::manifest),
    ("masks", super::masks),
    ("migrate", super::migrate),
    ("migrate_vault_k8s", super::migrate_vault_k8s),
    ("plan", super::plan),
    ("policy", super::policy),
    ("render_template", super::render_template),
    ("review", super::review),
    ("status", super::status),
    ("status_file", super::status_file),
    ("template", super::template),
];

/// What the folder has. The folder must exist, and have something.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let entries: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    assert!(!entries.is_empty(), "{} is empty", folder.display());
    entries
}

#[test]
fn every_input_that_once_broke_a_law_obeys_the_laws() {
    for folder in ["fuzz/seeds", "fuzz/found"] {
        for of_target in entries(Path::new(folder)) {
            let name = of_target.file_name().unwrap();
            let target = TARGETS.iter().find(|(target, _)| name == *target);
            let (_, door) = target.unwrap_or_else(|| panic!("{} is of no target", of_target.display()));
            for file in entries(&of_target) {
                // A test shows the output of a failure alone: so this is the input that broke a law.
                println!("{}", file.display());
                door(&fs::read(&file).unwrap());
            }
        }
    }
}

#[test]
fn every_target_has_a_program_and_no_program_or_dictionary_is_without_a_target() {
    let programs = entries(Path::new("fuzz/src/bin")).into_iter();
    let mut programs: Vec<String> = programs
        .filter_map(|file| Some(file.file_stem()?.to_str()?.to_owned()))
        .collect();
    programs.sort();
    let targets = TARGETS.map(|(target, _)| target);
    assert_eq!(programs, targets);
    for dictionary in entries(Path::new("fuzz/dict")) {
        let name = dictionary.file_name().unwrap();
        assert!(targets.iter().any(|target| name == *target), "{}", dictionary.display());
    }
}
