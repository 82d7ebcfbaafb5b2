//! The parts of a workflow or a composite action that matter for vault-action: the steps and their lines.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use serde_saphyr::{Spanned, UserMessageFormatter};

/// Steps with shared variables: the steps of one job, or of a composite action.
#[derive(Debug)]
pub(super) struct WorkflowJob {
    /// The key of the job; None in a composite action.
    pub(super) id: Option<String>,
    /// The label of the job's machine, if the job has only one label.
    pub(super) runs_on: Option<String>,
    /// The lines of the job. The range counts from 1 and does not include its end.
    pub(super) lines: std::ops::Range<usize>,
    pub(super) steps: Vec<WorkflowStep>,
}

#[derive(Debug)]
pub(super) struct WorkflowStep {
    /// The first line of the step, counted from 1.
    pub(super) line: usize,
    pub(super) id: Option<String>,
    pub(super) name: Option<String>,
    pub(super) uses: Option<String>,
    /// The value of `if`.
    pub(super) condition: Option<String>,
    /// The inputs, each as text.
    pub(super) inputs: BTreeMap<String, String>,
}

impl WorkflowStep {
    /// Whether the step runs vault-action, in any version.
    pub(super) fn is_vault_action(&self) -> bool {
        let action = self.uses.as_deref().unwrap_or_default().split('@').next();
        action.is_some_and(|action| action.trim().eq_ignore_ascii_case("hashicorp/vault-action"))
    }
}

#[derive(Deserialize)]
struct RawWorkflow {
    jobs: Option<BTreeMap<String, Spanned<RawJob>>>,
    runs: Option<RawJob>,
}

#[derive(Deserialize)]
struct RawJob {
    #[serde(rename = "runs-on", default)]
    runs_on: Value,
    steps: Option<Vec<Spanned<RawStep>>>,
}

#[derive(Deserialize)]
struct RawStep {
    id: Option<String>,
    name: Option<Value>,
    uses: Option<String>,
    #[serde(rename = "if", default)]
    condition: Value,
    with: Option<BTreeMap<String, Value>>,
}

/// Reads the text. The error is the end of a sentence that begins with the file's name.
pub(super) fn read(text: &str) -> Result<Vec<WorkflowJob>, String> {
    let file: RawWorkflow = serde_saphyr::from_str(text)
        .map_err(|error| format!("cannot be read: {}", error.render_with_formatter(&UserMessageFormatter)))?;
    let line_of = |at: serde_saphyr::Location| usize::try_from(at.line()).unwrap_or(usize::MAX);
    let mut jobs: Vec<WorkflowJob> = Vec::new();
    for (id, job) in file.jobs.into_iter().flatten() {
        let begin = line_of(job.referenced);
        jobs.push(WorkflowJob::new(Some(id), begin, job.value));
    }
    jobs.extend(file.runs.map(|runs| WorkflowJob::new(None, 1, runs)));
    if jobs.is_empty() {
        return Err("is neither a workflow nor a composite action: it has no jobs and no runs".to_owned());
    }
    jobs.sort_by_key(|job| job.lines.start);
    for index in 1..jobs.len() {
        jobs[index - 1].lines.end = jobs[index].lines.start;
    }
    Ok(jobs)
}

impl WorkflowJob {
    fn new(id: Option<String>, begin: usize, job: RawJob) -> Self {
        let steps = job.steps.into_iter().flatten().map(|step| {
            let line = usize::try_from(step.referenced.line()).unwrap_or(usize::MAX);
            let step = step.value;
            WorkflowStep {
                line,
                id: step.id,
                name: step.name.as_ref().and_then(text),
                uses: step.uses,
                condition: text(&step.condition),
                inputs: step
                    .with
                    .into_iter()
                    .flatten()
                    .map(|(name, value)| (name, text(&value).unwrap_or_default()))
                    .collect(),
            }
        });
        Self {
            id,
            runs_on: only_label(&job.runs_on).map(str::to_owned),
            lines: begin..usize::MAX,
            steps: steps.collect(),
        }
    }
}

/// The label of a job's machine, if there is only one. (With several labels, even GitHub's own labels mean a scale set.)
fn only_label(runs_on: &Value) -> Option<&str> {
    match runs_on {
        Value::String(label) => Some(label),
        Value::Array(labels) => match &labels[..] {
            [label] => label.as_str(),
            _ => None,
        },
        Value::Object(machine) if !machine.contains_key("group") => only_label(machine.get("labels")?),
        _ => None,
    }
}

/// A scalar as GitHub passes it on.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}
