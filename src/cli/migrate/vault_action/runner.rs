//! The machines that a job's `runs-on` names. A scale set of ARC is one label, or a group.

use serde_json::Value;

use super::expressions::{Known, expression, inside};

/// The most machines that one job's matrix may name.
const MAX_MACHINES: usize = 64;

/// Beginnings of the labels of GitHub's own machines.
const GITHUB_HOSTED: [&str; 3] = ["ubuntu-", "windows-", "macos-"];

/// A kind of machine: jobs with equal labels get pods of one template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Runner {
    /// As the workflow writes it; several labels with commas between them.
    pub(super) label: String,
    /// Whether this is GitHub's own machine, where podkey does not run.
    pub(super) is_hosted: bool,
    /// Whether podkey knows the label only as an expression.
    pub(super) is_expression: bool,
}

impl Runner {
    fn of(labels: &[String], group: Option<&str>) -> Self {
        let mut label = labels.join(", ");
        if let Some(group) = group {
            let labels = if labels.is_empty() {
                String::new()
            } else {
                format!(" with {label}")
            };
            label = format!("group {group}{labels}");
        }
        // With several labels, or in a group, even GitHub's own labels mean a machine of one's own.
        let is_hosted = match labels {
            [label] if group.is_none() => GITHUB_HOSTED
                .iter()
                .any(|begin| label.to_lowercase().starts_with(begin)),
            _ => false,
        };
        Self {
            is_hosted,
            is_expression: expression(&label).is_some(),
            label,
        }
    }

    /// Whether both names mean the same machines: GitHub ignores the case of labels.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.label.to_lowercase() == other.label.to_lowercase()
    }
}

/// The machines of a job: several where its matrix has a list of them.
pub(super) fn runners(runs_on: &Value, matrix: &Value, known: &Known<'_>) -> Vec<Runner> {
    let (labels, group) = match runs_on {
        Value::Object(machine) => (
            machine.get("labels").map(labels).unwrap_or_default(),
            machine.get("group").and_then(Value::as_str),
        ),
        other => (labels(other), None),
    };
    let labels: Vec<String> = labels.iter().map(|label| known.filled(label)).collect();
    let group = group.map(|group| known.filled(group));
    let [label] = labels.as_slice() else {
        return vec![Runner::of(&labels, group.as_deref())];
    };
    let from_matrix = whole_expression(label).and_then(|inside| inside.strip_prefix("matrix."));
    let values = from_matrix.map(|name| matrix_values(matrix, name)).unwrap_or_default();
    if values.is_empty() {
        return vec![Runner::of(&labels, group.as_deref())];
    }
    let mut runners: Vec<Runner> = Vec::new();
    for value in values.iter().take(MAX_MACHINES) {
        let runner = Runner::of(&self::labels(value), group.as_deref());
        if !runners.iter().any(|other| other.is(&runner)) {
            runners.push(runner);
        }
    }
    runners
}

/// The text between `${{` and `}}`, if the whole label is one expression.
fn whole_expression(label: &str) -> Option<&str> {
    let found = expression(label).filter(|found| *found == label.trim())?;
    Some(inside(found))
}

fn labels(value: &Value) -> Vec<String> {
    let list = value
        .as_array()
        .map_or_else(|| std::slice::from_ref(value), Vec::as_slice);
    list.iter()
        .filter_map(Value::as_str)
        .map(|label| label.trim().to_owned())
        .collect()
}

/// The values that a matrix has for a name such as `os` or `target.os`.
fn matrix_values<'v>(matrix: &'v Value, name: &str) -> Vec<&'v Value> {
    let (first, rest) = name
        .split_once('.')
        .map_or((name, None), |(first, rest)| (first, Some(rest)));
    let inside = |value: &'v Value| match rest {
        None => Some(value),
        Some(rest) => value.pointer(&format!("/{}", rest.replace('.', "/"))),
    };
    let listed = matrix.get(first).and_then(Value::as_array).into_iter().flatten();
    let included = matrix.get("include").and_then(Value::as_array).into_iter().flatten();
    let included = included.filter_map(|combination| combination.get(first));
    listed.chain(included).filter_map(inside).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(runs_on: &Value, matrix: &Value) -> Vec<String> {
        let runners = runners(runs_on, matrix, &Known::default());
        runners
            .into_iter()
            .map(|runner| format!("{} hosted={}", runner.label, runner.is_hosted))
            .collect()
    }

    #[test]
    fn a_matrix_names_each_of_its_machines_once() {
        let matrix =
            json!({"os": ["arc", "ubuntu-latest"], "include": [{"os": "ARC"}, {"os": ["self-hosted", "gpu"]}]});
        assert_eq!(
            shown(&json!("${{ matrix.os }}"), &matrix),
            [
                "arc hosted=false",
                "ubuntu-latest hosted=true",
                "self-hosted, gpu hosted=false"
            ]
        );
        let nested = json!({"target": [{"runner": "a"}, {"runner": "b"}, {"other": 1}]});
        assert_eq!(
            shown(&json!("${{matrix.target.runner}}"), &nested),
            ["a hosted=false", "b hosted=false"]
        );
        assert_eq!(
            shown(&json!("${{ matrix.none }}"), &nested),
            ["${{ matrix.none }} hosted=false"]
        );
    }

    #[test]
    fn only_a_single_label_is_github_s_own_machine() {
        assert_eq!(
            shown(&json!(["Ubuntu-24.04"]), &Value::Null),
            ["Ubuntu-24.04 hosted=true"]
        );
        assert_eq!(
            shown(&json!({"group": "big", "labels": "ubuntu-24.04"}), &Value::Null),
            ["group big with ubuntu-24.04 hosted=false"]
        );
        assert_eq!(
            shown(&json!({"group": "big"}), &Value::Null),
            ["group big hosted=false"]
        );
    }
}
