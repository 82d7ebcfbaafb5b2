//! Files that are no manifests, but from which a tool makes manifests: what to pipe into podkey instead.

use std::path::Path;

use super::expand::is_chart;
use crate::cli::visible::{shell_word, visible};

/// What stands in the templates of charts, and not in a manifest. (Templates of podkey's have none of these.)
const OF_CHARTS: [&str; 11] = [
    ".Values",
    ".Release.",
    ".Chart.",
    ".Capabilities.",
    "{{ include ",
    "{{- include ",
    "{{- if ",
    "{{ if .",
    "{{- range ",
    "{{- with ",
    "{{- define ",
];
/// How many folders above a file are searched for its chart: `charts/web/templates/tests/web.yaml`.
const MAX_ABOVE: usize = 4;

/// What a chart's folder is told.
pub(super) fn chart(folder: &Path, command: &str) -> String {
    format!(
        "is a Helm chart, and podkey reads manifests: {}",
        helm(&word(folder), "", command)
    )
}

/// What to pipe instead of a file that is no manifest. None: nobody knows what the file is.
pub(super) fn remedy(path: &Path, text: &str, command: &str) -> Option<String> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or_else(|| Path::new("."));
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if is_kustomization(path)
        || ["kustomization.yaml", "kustomization.yml"]
            .iter()
            .any(|name| folder.join(name).is_file())
    {
        return Some(format!(
            "is a part of a kustomization: kubectl kustomize {} | podkey {command} -f -",
            word(folder)
        ));
    }
    let chart = folder.ancestors().take(MAX_ABOVE).find(|folder| is_chart(folder));
    let is_values = name.starts_with("values") || name.ends_with("values.yaml") || name.ends_with("values.yml");
    let is_template = text.contains("{{") && OF_CHARTS.iter().any(|sign| text.contains(sign));
    let values = match is_values && name != "values.yaml" || chart.is_none() {
        true => format!(" -f {}", word(path)),
        false => String::new(),
    };
    let chart_word = chart.map_or_else(|| "CHART".to_owned(), word);
    match (is_values, is_template, chart) {
        (true, ..) => Some(format!(
            "has values for a Helm chart, and is not a manifest: {}",
            helm(&chart_word, &values, command)
        )),
        (false, true, _) | (false, false, Some(_)) => Some(format!(
            "is a part of a Helm chart, and not a manifest: {}",
            helm(&chart_word, "", command)
        )),
        (false, false, None) => None,
    }
}

/// Whether the file is the one by which kustomize makes manifests.
pub(super) fn is_kustomization(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    ["kustomization.yaml", "kustomization.yml"].contains(&name)
}

fn helm(chart: &str, values: &str, command: &str) -> String {
    format!("helm template RELEASE {chart}{values} | podkey {command} -f -")
}

fn word(path: &Path) -> String {
    let path = path.display().to_string();
    visible(&shell_word(if path.is_empty() { "." } else { &path }))
}
