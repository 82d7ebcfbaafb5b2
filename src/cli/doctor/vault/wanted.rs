//! The paths of a plan, each once, with what is done there.

use std::collections::{BTreeMap, BTreeSet};

use super::examination::Subject;
use crate::plan::{ApiPath, Content, Data, Part, PathTemplate, Plan, PlannedFile, Select, ValueStep};

/// A path of the plan.
pub(super) struct Wanted {
    /// The path to ask for. A KV path without `data` may get it, see `paths`.
    pub(super) path: String,
    pub(super) version: Option<u64>,
    /// The names of the fields that are written. None: the path is read.
    pub(super) written: Option<Data>,
    /// The fields that files and variables are made of.
    pub(super) fields: BTreeSet<String>,
}

impl Wanted {
    /// One of these capabilities lets the pod do what it does at the path. `engine`: empty, if it is not known. Only some engines
    /// tell the first write of a path from the others (`ExistenceCheck`):
    /// <https://github.com/openbao/openbao/blob/main/sdk/framework/backend.go>.
    pub(super) fn capabilities(&self, engine: &str) -> &'static [&'static str] {
        match (&self.written, engine) {
            (None, _) => &["read"],
            (Some(_), "" | "kv" | "generic" | "cubbyhole" | "transit") => &["create", "update"],
            (Some(_), _) => &["update"],
        }
    }

    /// The rule of a policy that lets the pod do this.
    pub(super) fn rule(&self, engine: &str) -> (String, &'static str) {
        let capabilities = match self.capabilities(engine) {
            ["read"] => r#""read""#,
            ["update"] => r#""update""#,
            _ => r#""create", "update""#,
        };
        (self.path.clone(), capabilities)
    }

    /// Whether the answer may have a lease: a path of an engine that makes credentials.
    pub(super) fn may_have_lease(&self) -> bool {
        self.path
            .split('/')
            .any(|segment| matches!(segment, "creds" | "issue" | "sts"))
    }
}

/// Each path of the pod, or each path without a placeholder of the job.
pub(super) fn of(plan: &Plan, subject: Subject) -> Vec<Wanted> {
    let mut paths = Paths::default();
    match subject {
        Subject::Account => {
            plan.files.iter().for_each(|file| paths.add_file(file, ApiPath::as_str));
            for env in &plan.env {
                paths.add(
                    env.secret.as_str(),
                    env.version.map(u64::from),
                    None,
                    selected(&env.select),
                );
            }
        }
        Subject::Job => {
            let job = plan.job.iter();
            let path = |path: &PathTemplate| path.as_path().clone();
            for file in job.clone().flat_map(|job| &job.files) {
                paths.add_file(file, |template| template.as_path().as_str());
            }
            for env in job.flat_map(|job| &job.env) {
                paths.add(
                    path(&env.secret).as_str(),
                    env.version.map(u64::from),
                    None,
                    selected(&env.select),
                );
            }
        }
    }
    paths.0.into_values().collect()
}

#[derive(Default)]
struct Paths(BTreeMap<(String, Option<u64>, Option<Data>), Wanted>);

impl Paths {
    fn add_file<P>(&mut self, file: &PlannedFile<P>, path: impl Fn(&P) -> &str) {
        for request in file.requests() {
            let fields = match &file.content {
                Content::Secret(content) => fields_of(&content.part),
                Content::Template(_) => Vec::new(),
            };
            let version = request.version.map(u64::from);
            self.add(path(&request.secret), version, request.data.clone(), fields);
        }
    }

    fn add(&mut self, path: &str, version: Option<u64>, written: Option<Data>, fields: Vec<String>) {
        // What a placeholder becomes, only the job knows.
        if path.contains('{') {
            return;
        }
        let key = (path.to_owned(), version, written.clone());
        let wanted = self.0.entry(key).or_insert_with(|| Wanted {
            path: path.to_owned(),
            version,
            written,
            fields: BTreeSet::new(),
        });
        wanted.fields.extend(fields);
    }
}

fn fields_of(part: &Part) -> Vec<String> {
    match part {
        Part::Whole => Vec::new(),
        Part::Key(key) => vec![key.clone()],
        Part::Keys(keys) => keys.iter().map(|key| key.field.clone()).collect(),
    }
}

fn selected(select: &Select) -> Vec<String> {
    match select {
        Select::Value { at, .. } => match at.first() {
            Some(ValueStep::Key(key)) => vec![key.clone()],
            _ => Vec::new(),
        },
        Select::UpperCase { .. } | Select::KeepCase { .. } => Vec::new(),
    }
}
