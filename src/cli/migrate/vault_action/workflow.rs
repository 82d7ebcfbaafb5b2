//! The parts of a workflow or a composite action that matter for vault-action: jobs, machines, steps and their lines.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use serde_saphyr::Spanned;

use crate::inject::explain;

/// Names with values, each as text.
pub(super) type Texts = BTreeMap<String, String>;

/// A workflow or a composite action.
#[derive(Debug)]
pub(super) struct Document {
    /// The file's name, as messages show it.
    pub(super) name: String,
    pub(super) text: String,
    /// The jobs of a workflow; a composite action is one job without a key.
    pub(super) jobs: Vec<WorkflowJob>,
    pub(super) is_action: bool,
    /// Whether other workflows start this workflow, and nothing else does.
    pub(super) is_only_called: bool,
    /// `env` of the whole workflow.
    pub(super) env: Texts,
    /// The defaults of the inputs.
    pub(super) defaults: Texts,
    /// The outputs of a composite action.
    pub(super) outputs: Texts,
}

/// Steps with shared variables: the steps of one job, or of a composite action.
#[derive(Debug)]
pub(super) struct WorkflowJob {
    /// The key of the job; None in a composite action.
    pub(super) id: Option<String>,
    pub(super) runs_on: Value,
    /// `strategy.matrix`.
    pub(super) matrix: Value,
    /// Whether the steps run in a container of their own.
    pub(super) has_container: bool,
    /// The workflow that the job calls.
    pub(super) uses: Option<String>,
    /// The inputs for the workflow that the job calls.
    pub(super) inputs: Texts,
    pub(super) env: Texts,
    /// The outputs of a job of a workflow.
    pub(super) outputs: Texts,
    /// The lines of the job. The range counts from 1 and does not include its end.
    pub(super) lines: std::ops::Range<usize>,
    pub(super) steps: Vec<WorkflowStep>,
}

/// A step of a job or of a composite action.
#[derive(Debug)]
pub(super) struct WorkflowStep {
    /// The first line of the step, counted from 1.
    pub(super) line: usize,
    pub(super) id: Option<String>,
    pub(super) name: Option<String>,
    pub(super) uses: Option<String>,
    /// The value of `if`.
    pub(super) condition: Option<String>,
    /// The inputs.
    pub(super) inputs: Texts,
    pub(super) env: Texts,
    /// The script.
    pub(super) run: Option<String>,
}

impl WorkflowStep {
    /// The action that the step runs, such as `hashicorp/vault-action`, without its version.
    pub(super) fn action(&self) -> Option<&str> {
        self.uses.as_deref()?.split('@').next().map(str::trim)
    }
}

#[derive(Deserialize)]
struct RawWorkflow {
    #[serde(default)]
    on: Value,
    #[serde(default)]
    env: Value,
    #[serde(default)]
    inputs: Value,
    #[serde(default)]
    outputs: Value,
    jobs: Option<BTreeMap<String, Spanned<RawJob>>>,
    runs: Option<RawJob>,
}

#[derive(Deserialize)]
struct RawJob {
    #[serde(rename = "runs-on", default)]
    runs_on: Value,
    #[serde(default)]
    strategy: Value,
    #[serde(default)]
    container: Value,
    uses: Option<String>,
    #[serde(default)]
    with: Value,
    #[serde(default)]
    env: Value,
    #[serde(default)]
    outputs: Value,
    steps: Option<Vec<Spanned<RawStep>>>,
}

#[derive(Deserialize)]
struct RawStep {
    id: Option<String>,
    name: Option<Value>,
    uses: Option<String>,
    #[serde(rename = "if", default)]
    condition: Value,
    #[serde(default)]
    with: Value,
    #[serde(default)]
    env: Value,
    run: Option<Value>,
}

/// Reads the text. The error is the end of a sentence that begins with the file's name.
pub(super) fn read(name: &str, text: &str) -> Result<Document, String> {
    let file: RawWorkflow =
        serde_saphyr::from_str(text).map_err(|error| format!("cannot be read: {}", explain(&error, text)))?;
    let mut jobs: Vec<WorkflowJob> = Vec::new();
    for (id, job) in file.jobs.into_iter().flatten() {
        let begin = line_of(job.referenced);
        jobs.push(WorkflowJob::new(Some(id), begin, job.value));
    }
    let is_action = jobs.is_empty();
    jobs.extend(
        file.runs
            .filter(|_| is_action)
            .map(|runs| WorkflowJob::new(None, 1, runs)),
    );
    if jobs.is_empty() {
        return Err("is neither a workflow nor a composite action: it has no jobs and no runs".to_owned());
    }
    jobs.sort_by_key(|job| job.lines.start);
    for index in 1..jobs.len() {
        jobs[index - 1].lines.end = jobs[index].lines.start;
    }
    let called = file.on.get("workflow_call");
    let inputs = if is_action {
        Some(&file.inputs)
    } else {
        called.and_then(|call| call.get("inputs"))
    };
    Ok(Document {
        name: name.to_owned(),
        text: text.to_owned(),
        is_action,
        is_only_called: only_called(&file.on),
        env: texts(&file.env),
        defaults: fields(inputs, "default"),
        outputs: fields(Some(&file.outputs), "value"),
        jobs,
    })
}

fn line_of(at: serde_saphyr::Location) -> usize {
    usize::try_from(at.line()).unwrap_or(usize::MAX)
}

fn only_called(on: &Value) -> bool {
    match on {
        Value::String(event) => event == "workflow_call",
        Value::Array(events) => events.len() == 1 && events[0] == "workflow_call",
        Value::Object(events) => events.len() == 1 && events.contains_key("workflow_call"),
        _ => false,
    }
}

/// This field of each member, where it is a scalar.
fn fields(members: Option<&Value>, field: &str) -> Texts {
    let members = members.and_then(Value::as_object).into_iter().flatten();
    members
        .filter_map(|(name, member)| Some((name.clone(), text(member.get(field)?)?)))
        .collect()
}

impl WorkflowJob {
    fn new(id: Option<String>, begin: usize, job: RawJob) -> Self {
        let steps = job.steps.into_iter().flatten().map(|step| {
            let line = line_of(step.referenced);
            let step = step.value;
            WorkflowStep {
                line,
                id: step.id,
                name: step.name.as_ref().and_then(text),
                uses: step.uses,
                condition: text(&step.condition),
                inputs: texts(&step.with),
                env: texts(&step.env),
                run: step.run.as_ref().and_then(text),
            }
        });
        Self {
            id,
            runs_on: job.runs_on,
            matrix: job.strategy.get("matrix").cloned().unwrap_or_default(),
            has_container: !job.container.is_null(),
            uses: job.uses,
            inputs: texts(&job.with),
            env: texts(&job.env),
            outputs: texts(&job.outputs),
            lines: begin..usize::MAX,
            steps: steps.collect(),
        }
    }
}

/// The members of a map, each as GitHub passes it on.
fn texts(value: &Value) -> Texts {
    let members = value.as_object().into_iter().flatten();
    members
        .map(|(name, value)| (name.clone(), text(value).unwrap_or_default()))
        .collect()
}

/// A scalar as GitHub passes it on.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}
