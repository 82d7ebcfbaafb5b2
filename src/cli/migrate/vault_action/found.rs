//! The steps that run vault-action: in the jobs of workflows, in the composite actions of the repository that the jobs use, and in
//! the workflows of the repository that the jobs call. Inputs are filled in as far as they are literal.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use super::expressions::{Known, expression, inside};
use super::runner::{Runner, runners};
use super::workflow::{self, Document, Texts, WorkflowJob, WorkflowStep};
use super::{Sources, WorkflowError};
use crate::text::quoted;

/// vault-action itself.
const VAULT_ACTION: &str = "hashicorp/vault-action";
/// How deep composite actions and called workflows may be inside each other: GitHub's limit is 10.
const MAX_DEPTH: usize = 10;
/// The most steps of vault-action that are migrated at once.
const MAX_STEPS: usize = 1_000;
/// The most composite actions and workflows that are entered.
const MAX_ENTERED: usize = 1_000;
/// How much text is searched for uses of values, in bytes, each search counted anew.
const MAX_SCANNED: usize = 64 * 1024 * 1024;

/// A job with its machines.
#[derive(Debug)]
pub(super) struct RunningJob {
    /// Such as `ci.yml: job "build"`.
    pub(super) title: String,
    pub(super) runners: Vec<Runner>,
    pub(super) has_container: bool,
    /// `env` of the workflow and of the job: variables that `GITHUB_ENV` overrides.
    pub(super) env: Texts,
}

/// Steps that share variables: of a job, or of a composite action.
#[derive(Debug, Clone)]
pub(super) struct Scope {
    pub(super) document: Rc<Document>,
    pub(super) job: usize,
    pub(super) step: usize,
}

impl Scope {
    pub(super) fn job(&self) -> &WorkflowJob {
        &self.document.jobs[self.job]
    }

    pub(super) fn step(&self) -> &WorkflowStep {
        &self.job().steps[self.step]
    }
}

/// A step of vault-action.
#[derive(Debug)]
pub(super) struct FoundStep {
    /// The step, and around it the steps that use its composite action, the innermost first.
    pub(super) scopes: Vec<Scope>,
    /// The inputs, filled in as far as they are literal.
    pub(super) inputs: Texts,
    /// The number of the job among all jobs.
    pub(super) job: usize,
}

impl FoundStep {
    pub(super) fn step(&self) -> &WorkflowStep {
        self.scopes[0].step()
    }

    /// Such as `ci.yml:7`.
    pub(super) fn place(&self) -> String {
        format!("{}:{}", self.scopes[0].document.name, self.step().line)
    }
}

/// Everything that is found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) jobs: Vec<RunningJob>,
    pub(super) steps: Vec<FoundStep>,
    /// The files without a step of vault-action.
    pub(super) without: Vec<String>,
    pub(super) notes: Vec<String>,
    /// The bytes that were searched.
    scanned: Cell<usize>,
}

impl Found {
    /// Whether so many more bytes may be searched.
    pub(super) fn may_scan(&self, bytes: usize) -> bool {
        self.scanned.set(self.scanned.get().saturating_add(bytes));
        self.scanned.get() <= MAX_SCANNED
    }
}

/// Finds the steps of all files.
pub(super) fn find(sources: &Sources<'_>) -> Result<Found, WorkflowError> {
    let mut finder = Finder {
        sources,
        documents: RefCell::default(),
        found: Found::default(),
        entered: 0,
        entered_documents: Vec::new(),
    };
    let mut documents = Vec::new();
    for file in sources.files {
        let document = workflow::read(&file.name, &file.text).map_err(|why| WorkflowError(file.name.clone(), why))?;
        documents.push((Rc::new(document), file.root.as_str()));
    }
    // Composite actions and workflows that only others call are found by their users, if these are there.
    documents.sort_by_key(|(document, _)| document.is_action || document.is_only_called);
    for (document, root) in &documents {
        let by_others = document.is_action || document.is_only_called;
        if by_others && finder.entered_documents.contains(&document.name) {
            continue;
        }
        let before = finder.found.steps.len();
        finder.document(document, root, document.defaults.clone(), 0);
        if finder.found.steps.len() == before {
            finder.found.without.push(document.name.clone());
        }
    }
    Ok(finder.found)
}

struct Finder<'s> {
    sources: &'s Sources<'s>,
    /// The files of the repository that were read, by their name. None: there is no such file, or podkey cannot read it.
    documents: RefCell<BTreeMap<String, Option<Rc<Document>>>>,
    found: Found,
    entered: usize,
    /// The names of the documents that a step or a job of another document uses.
    entered_documents: Vec<String>,
}

impl Finder<'_> {
    /// Each job of a workflow, or the steps of a composite action that nobody uses here.
    fn document(&mut self, document: &Rc<Document>, root: &str, inputs: Texts, depth: usize) {
        for index in 0..document.jobs.len() {
            let job = &document.jobs[index];
            let mut known = Known {
                inputs: inputs.clone(),
                env: vec![&document.env, &job.env],
            };
            if let Some(uses) = &job.uses {
                self.called(uses, root, job, &known, depth);
                continue;
            }
            let title = match &job.id {
                Some(id) => format!("{}: job {}", document.name, quoted(id)),
                None => format!("{}: composite action", document.name),
            };
            let runners = match document.is_action {
                true => vec![Runner {
                    label: format!("of the jobs that use {}", document.name),
                    is_hosted: false,
                    is_expression: false,
                }],
                false => runners(&job.runs_on, &job.matrix, &known),
            };
            self.found.jobs.push(RunningJob {
                title,
                runners,
                has_container: job.has_container,
                env: document
                    .env
                    .iter()
                    .chain(&job.env)
                    .map(|(name, value)| (name.clone(), value.clone()))
                    .collect(),
            });
            if document.is_action {
                known.inputs.clear();
            }
            self.steps(document, root, index, &known, &[], depth);
        }
    }

    /// The workflow that a job calls.
    fn called(&mut self, uses: &str, root: &str, job: &WorkflowJob, known: &Known<'_>, depth: usize) {
        let Some(path) = uses.strip_prefix("./") else {
            let note = format!(
                "a job calls the workflow {}, which podkey does not read: give podkey that file too",
                quoted(uses)
            );
            self.note(note);
            return;
        };
        let Some(document) = self.read(root, path).filter(|document| !document.is_action) else {
            self.note(format!("the called workflow {} cannot be read", quoted(uses)));
            return;
        };
        if self.enter(&document, depth) {
            let inputs = filled(&document.defaults, &job.inputs, known);
            self.document(&document, root, inputs, depth + 1);
        }
    }

    /// The steps of a job or of a composite action. `outer`: the steps around it.
    fn steps(
        &mut self,
        document: &Rc<Document>,
        root: &str,
        index: usize,
        known: &Known<'_>,
        outer: &[Scope],
        depth: usize,
    ) {
        for (number, step) in document.jobs[index].steps.iter().enumerate() {
            let Some(action) = step.action() else { continue };
            let mut known = known.clone();
            known.env.push(&step.env);
            let scope = Scope {
                document: document.clone(),
                job: index,
                step: number,
            };
            let scopes: Vec<Scope> = [&[scope], outer].concat();
            if self.is_vault_action(action) {
                self.vault_action(step, &known, scopes);
            } else if let Some(path) = action.strip_prefix("./") {
                self.composite(path, root, step, &known, &scopes, depth);
            } else if action.to_lowercase().contains("vault") {
                self.note(format!(
                    "{}:{}: the step uses {}: if that action has the inputs of vault-action, write --action {}",
                    document.name,
                    step.line,
                    quoted(action),
                    quoted(action).trim_matches('"')
                ));
            }
        }
    }

    fn is_vault_action(&self, action: &str) -> bool {
        let names = self
            .sources
            .actions
            .iter()
            .map(|name| name.split('@').next().unwrap_or_default().trim());
        let mut names = names.chain([VAULT_ACTION]);
        names.any(|name| name.eq_ignore_ascii_case(action))
    }

    fn vault_action(&mut self, step: &WorkflowStep, known: &Known<'_>, scopes: Vec<Scope>) {
        if self.found.steps.len() == MAX_STEPS {
            self.note(format!(
                "only the first {MAX_STEPS} steps of vault-action are migrated: give podkey fewer files"
            ));
            return;
        }
        let inputs = step.inputs.iter();
        self.found.steps.push(FoundStep {
            scopes,
            inputs: inputs
                .map(|(name, value)| (name.clone(), known.filled(value)))
                .collect(),
            job: self.found.jobs.len() - 1,
        });
    }

    /// The steps of a composite action of the repository.
    fn composite(
        &mut self,
        path: &str,
        root: &str,
        step: &WorkflowStep,
        known: &Known<'_>,
        scopes: &[Scope],
        depth: usize,
    ) {
        let path = path.trim_end_matches('/');
        let files = ["action.yml", "action.yaml"].map(|file| {
            if path.is_empty() {
                file.to_owned()
            } else {
                format!("{path}/{file}")
            }
        });
        let Some(document) = files.iter().find_map(|file| self.read(root, file)) else {
            self.note(format!(
                "the action {} cannot be read: if it uses vault-action, give podkey its file",
                quoted(&format!("./{path}"))
            ));
            return;
        };
        if !document.is_action || !self.enter(&document, depth) {
            return;
        }
        let inner = Known {
            inputs: filled(&document.defaults, &step.inputs, known),
            env: known.env.clone(),
        };
        self.steps(&document, root, 0, &inner, scopes, depth + 1);
    }

    /// Whether the document may be entered: documents may use each other in a circle.
    fn enter(&mut self, document: &Document, depth: usize) -> bool {
        self.entered += 1;
        if depth == MAX_DEPTH || self.entered > MAX_ENTERED {
            self.note(format!(
                "{}: too many actions or workflows inside each other",
                document.name
            ));
            return false;
        }
        if !self.entered_documents.contains(&document.name) {
            self.entered_documents.push(document.name.clone());
        }
        true
    }

    /// A file of the repository that podkey was not given.
    fn read(&self, root: &str, path: &str) -> Option<Rc<Document>> {
        let is_inside = !path.split(['/', '\\']).any(|segment| matches!(segment, ".." | ""));
        if !is_inside {
            return None;
        }
        let path = path.trim_start_matches("./");
        let name = format!("{root}{path}");
        let mut documents = self.documents.borrow_mut();
        let document = documents.entry(name.clone()).or_insert_with(|| {
            let text = (self.sources.read)(&name)?;
            workflow::read(&name, &text).ok().map(Rc::new)
        });
        document.clone()
    }

    fn note(&mut self, note: String) {
        if !self.found.notes.contains(&note) {
            self.found.notes.push(note);
        }
    }
}

/// The inputs of an action or a workflow: what the caller gives, else the defaults. An expression stays one.
fn filled(defaults: &Texts, given: &Texts, known: &Known<'_>) -> Texts {
    let mut inputs = defaults.clone();
    for (name, value) in given {
        inputs.retain(|other, _| !other.eq_ignore_ascii_case(name));
        inputs.insert(name.clone(), known.filled(value));
    }
    inputs
}

/// The outputs of the composite action around a step that are outputs of this step: the action's name for each, and the step's.
pub(super) fn handed_on<'s>(scope: &'s Scope, id: &str) -> Vec<(&'s str, &'s str)> {
    let outputs = scope.document.outputs.iter();
    outputs
        .filter_map(|(name, value)| {
            let whole = expression(value).filter(|found| *found == value.trim())?;
            let uses = super::step_uses::uses(whole, &(1..2), id);
            let [only] = uses.as_slice() else { return None };
            let output = only.output.filter(|_| only.text == inside(whole))?;
            Some((name.as_str(), output))
        })
        .collect()
}
