//! YAML in the pages: pods and parts of pods pass `podkey lint`, and the operator's config parses.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use podkey::inject::Config;
use serde_json::Value;

use crate::context::{Part, has_annotations, parts};
use crate::page::{Block, Page};
use crate::run;

/// The operator of the pods with the annotations of vault-k8s: without a config podkey does not look at such pods.
const WITH_VAULT_K8S: &str = "
agent: {image: registry.example.com/podkey:0.2.0}
vaultK8s: {connection: default, allowTokens: true}
allowSharedProcessNamespace: true
connections: {default: {address: 'https://vault.vault.svc:8200', job: {role: ci}}}
";
/// Files with this end of their names are linted with [`WITH_VAULT_K8S`].
const THEIRS: &str = "-vault-k8s.yaml";

/// What became of the blocks.
#[derive(Default)]
pub(crate) struct Checked {
    pub(crate) problems: Vec<String>,
    pub(crate) manifests: usize,
    pub(crate) pods: usize,
    pub(crate) configs: usize,
    others: usize,
    /// Where each block is that is not checked, with the reason.
    not_checked: Vec<String>,
    /// The files that are to be linted. Of each place, one file has to pass.
    files: BTreeMap<String, (String, usize)>,
}

impl Checked {
    pub(crate) fn summary(&self) -> String {
        let mut summary = format!(
            "YAML: {} manifests, {} parts of pods and {} configs checked; {} blocks of other programs; {} not checked",
            self.manifests,
            self.pods,
            self.configs,
            self.others,
            self.not_checked.len()
        );
        for not_checked in &self.not_checked {
            let _ = write!(summary, "\n  {not_checked}");
        }
        summary
    }
}

/// Checks each YAML block of the pages.
pub(crate) fn check(pages: &[Page]) -> Checked {
    let folder = tempfile::tempdir().unwrap();
    let mut checked = Checked::default();
    for page in pages {
        for block in page.blocks() {
            if !["yaml", "yml"].contains(&block.language.as_str()) {
                continue;
            }
            let place = format!("{}:{}", page.path, block.line);
            match &block.not_checked {
                Some(reason) => checked.not_checked.push(format!("{place}: {reason}")),
                None => checked.block(&place, &block, folder.path()),
            }
        }
    }
    checked.lint(folder.path());
    checked
}

impl Checked {
    fn block(&mut self, place: &str, block: &Block, folder: &Path) {
        let documents: Vec<Value> = match serde_saphyr::from_multiple(&block.text) {
            Ok(documents) => documents,
            Err(error) => {
                let why = error.to_string();
                let why = why.lines().next().unwrap_or_default();
                self.problems.push(format!("{place}: is not valid YAML: {why}"));
                return;
            }
        };
        for (number, document) in documents.iter().enumerate() {
            let place = match number {
                0 => place.to_owned(),
                number => format!("{place}, document {}", number + 1),
            };
            for part in parts(document) {
                self.part(&place, document, part, folder);
            }
        }
    }

    fn part(&mut self, place: &str, document: &Value, part: Part, folder: &Path) {
        match part {
            Part::Manifest(manifest) => {
                self.manifests += 1;
                self.keep(place, &[manifest], folder);
            }
            Part::Pods(pods) => {
                self.pods += 1;
                self.keep(place, &pods, folder);
            }
            Part::Config(config) => {
                self.configs += 1;
                if let Err(error) = Config::parse(&config.to_string(), |_| Ok(String::new())) {
                    self.problems
                        .push(format!("{place}: as the operator's config: {error}"));
                }
            }
            Part::Other if has_annotations(document) => {
                let why = "has annotations of podkey, but is neither a manifest nor a part of a pod";
                self.problems.push(format!("{place}: {why}"));
            }
            Part::Other => self.others += 1,
        }
    }

    /// Writes the pods into files, for one run of `podkey lint`.
    fn keep(&mut self, place: &str, pods: &[Value], folder: &Path) {
        let group = self.files.len();
        for (number, pod) in pods.iter().enumerate() {
            let text = pod.to_string();
            let is_theirs = text.contains("\"vault.hashicorp.com/") || text.contains("\"openbao.org/");
            let name = format!("{group}-{number}{}", if is_theirs { THEIRS } else { ".yaml" });
            fs::write(folder.join(&name), text).unwrap();
            self.files.insert(name, (place.to_owned(), group));
        }
    }

    /// Lints all files, and keeps what is said of the places of which no file passes.
    fn lint(&mut self, folder: &Path) {
        let mut said: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let (theirs, ours): (Vec<_>, Vec<_>) = self
            .files
            .keys()
            .map(String::as_str)
            .partition(|name| name.ends_with(THEIRS));
        fs::write(folder.join("config"), WITH_VAULT_K8S).unwrap();
        for (files, options) in [(ours, &["lint"][..]), (theirs, &["lint", "--config", "config"])] {
            if files.is_empty() {
                continue;
            }
            let output = run(
                env!("CARGO_BIN_EXE_podkey"),
                "podkey",
                &[options, &files].concat(),
                folder,
            );
            let stdout = String::from_utf8(output.stdout).unwrap();
            let stderr = String::from_utf8(output.stderr).unwrap();
            assert!(stderr.contains(" with annotations of podkey in "), "{stderr}");
            for line in stdout
                .lines()
                .filter(|line| !line.contains(": warning: "))
                .chain(stderr.lines())
            {
                if let Some((file, message)) = line.split_once(':').filter(|(file, _)| self.files.contains_key(*file)) {
                    said.entry(file.to_owned()).or_default().push(message.to_owned());
                }
            }
        }
        let mut groups: BTreeMap<usize, Vec<&String>> = BTreeMap::new();
        for (file, (_, group)) in &self.files {
            groups.entry(*group).or_default().push(file);
        }
        for files in groups.values() {
            if files.iter().all(|file| said.contains_key(*file)) {
                // The first file is the plainest pod.
                let (place, _) = &self.files[files[0]];
                self.problems
                    .push(format!("{place}: {}", said[files[0]].join("\n    ")));
            }
        }
    }
}
