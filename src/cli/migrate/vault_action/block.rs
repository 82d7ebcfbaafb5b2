//! One block of annotations for one runner: what all steps of all its jobs need, merged. What does not fit together is told, and not
//! merged.

use super::check;
use super::entries::way_out;
use super::found::{Found, RunningJob};
use super::logins::{Login, Logins, Server, other_server};
use super::operator::{self, Operator, role_commands};
use super::part::{Item, ItemList, StepPart};
use super::runner::Runner;
use crate::inject::Config;
use crate::inject::keys::{AUTH_MOUNT, ENV, EXPORT, FILES, IGNORE_NOT_FOUND, JOB_ENV, JOB_TEMP, ROLE};
use crate::plan::MAX_ENV_SECRETS;
use crate::text::quoted;

/// The most entries that are tried. The webhook takes fewer variables.
const MAX_ENTRIES: usize = 2 * MAX_ENV_SECRETS;

/// The block of one runner.
pub(super) struct Block<'a> {
    pub(super) runner: Runner,
    pub(super) parts: Vec<&'a StepPart<'a>>,
    /// The jobs that run there, also those without a step of vault-action.
    pub(super) jobs: Vec<&'a RunningJob>,
    /// Keys and values, in the order shown.
    pub(super) annotations: Vec<(&'static str, String)>,
    /// The entries in the annotations, each with the number of its step.
    pub(super) items: Vec<(usize, Item)>,
    pub(super) operator: Operator,
    /// The commands that make a role in Vault.
    pub(super) role: Vec<String>,
    pub(super) notes: Vec<String>,
    /// What cannot be carried over, each with an alternative.
    pub(super) lost: Vec<String>,
}

/// Annotations of all entries together.
#[derive(Default)]
struct Settings {
    mount: Option<String>,
    role: Option<String>,
    exports: bool,
    skips_missing: bool,
}

/// The block of each runner that has a step of vault-action, in the order of the steps.
pub(super) fn blocks<'a>(found: &'a Found, parts: &'a [StepPart<'a>]) -> Vec<Block<'a>> {
    let mut runners: Vec<&Runner> = Vec::new();
    for runner in parts.iter().flat_map(|part| &found.jobs[part.found.job].runners) {
        if !runners.iter().any(|other| other.is(runner)) {
            runners.push(runner);
        }
    }
    let runs_there = |job: &RunningJob, runner: &Runner| job.runners.iter().any(|other| other.is(runner));
    let block = |runner: &Runner| {
        let there = parts
            .iter()
            .filter(|part| runs_there(&found.jobs[part.found.job], runner));
        let jobs = found.jobs.iter().filter(|job| runs_there(job, runner));
        Block::of(runner.clone(), there.collect(), jobs.collect())
    };
    runners.into_iter().map(block).collect()
}

impl<'a> Block<'a> {
    fn of(runner: Runner, parts: Vec<&'a StepPart<'a>>, jobs: Vec<&'a RunningJob>) -> Self {
        let mut block = Self {
            runner,
            parts,
            jobs,
            annotations: Vec::new(),
            items: Vec::new(),
            operator: Operator::default(),
            role: Vec::new(),
            notes: Vec::new(),
            lost: Vec::new(),
        };
        let server = block.server();
        let (login, fits) = block.login(&server);
        let candidates = block.candidates(&fits);
        let by_pod = |item: &Item| item.list != ItemList::JobEnv && !item.text.ends_with("  as: job\n");
        let needs_pod = candidates.iter().any(|(_, item)| by_pod(item)) || candidates.is_empty();
        let job = block.job_login(&fits).or_else(|| {
            let needs_job = candidates.iter().any(|(_, item)| !by_pod(item));
            needs_job.then(Login::default)
        });
        block.operator = Operator::of(&server, needs_pod, job.as_ref());
        let (mount, role) = login.pod();
        let settings = Settings {
            mount: mount.filter(|_| needs_pod),
            role: needs_pod.then(|| role.clone().unwrap_or_else(|| operator::ROLE.to_owned())),
            exports: block.exports(&fits, &candidates),
            skips_missing: block.skips_missing(&fits),
        };
        block.take(candidates, &settings);
        if needs_pod && role.is_none() && !block.items.is_empty() {
            let paths = block.paths(|_| true);
            block.role = role_commands(settings.mount.as_deref(), &paths);
        }
        if let (true, Some(role)) = (needs_pod, &role) {
            block.role = block.other_logins(role);
        }
        block.circumstances();
        block.wildcards();
        block
    }

    /// The server of the runner's steps: a pod has one connection.
    fn server(&mut self) -> Server {
        let mut server = Server::default();
        server.namespace = self.parts.first().and_then(|part| part.server.namespace.clone());
        for part in self
            .parts
            .iter()
            .filter(|part| part.server.namespace == server.namespace)
        {
            server.address = server.address.or_else(|| part.server.address.clone());
            server.has_ca |= part.server.has_ca;
        }
        server
    }

    /// The pod's login, and which steps agree with it and with the server.
    fn login(&mut self, server: &Server) -> (Logins, Vec<bool>) {
        let mut logins = Logins::default();
        let mut fits = Vec::new();
        for part in &self.parts {
            let other_server = part.server.differs(server).then(other_server);
            let other = other_server.or_else(|| logins.add(&part.login));
            fits.push(other.is_none());
            self.lost
                .extend(other.map(|other| format!("{}: {other}", part.found.place())));
        }
        (logins, fits)
    }

    /// The login of the jobs, where steps name it.
    fn job_login(&self, fits: &[bool]) -> Option<Login> {
        let mut fitting = self.parts.iter().zip(fits).filter(|(_, fits)| **fits);
        fitting
            .find(|(part, _)| part.login.is_job())
            .map(|(part, _)| part.login.clone())
    }

    /// The entries of the steps that fit, each once.
    fn candidates(&self, fits: &[bool]) -> Vec<(usize, Item)> {
        let mut candidates: Vec<(usize, Item)> = Vec::new();
        for (number, part) in self.parts.iter().enumerate().filter(|(number, _)| fits[*number]) {
            for item in &part.items {
                if !candidates
                    .iter()
                    .any(|(_, other)| other.list == item.list && other.text == item.text)
                {
                    candidates.push((number, item.clone()));
                }
            }
        }
        candidates
    }

    /// Whether variables are exported: yes, unless every step left that out and used no output.
    fn exports(&self, fits: &[bool], candidates: &[(usize, Item)]) -> bool {
        let mut fitting = self.parts.iter().zip(fits).filter(|(_, fits)| **fits);
        let has_variables = candidates.iter().any(|(_, item)| item.list != ItemList::Files);
        !has_variables || fitting.any(|(part, _)| part.exports || part.has_uses)
    }

    fn skips_missing(&mut self, fits: &[bool]) -> bool {
        let fitting = self.parts.iter().zip(fits).filter(|(_, fits)| **fits);
        let (skipping, strict): (Vec<&StepPart<'_>>, Vec<&StepPart<'_>>) =
            fitting.map(|(part, _)| *part).partition(|part| part.skips_missing);
        if !strict.is_empty() {
            for part in skipping {
                self.lost.push(format!(
                    "{}: ignoreNotFound: {IGNORE_NOT_FOUND} is for all entries of a pod, and other steps here do not have it: without it \
                    a path that does not exist fails the job. Give the job a scale set of its own",
                    part.found.place()
                ));
            }
            return false;
        }
        true
    }

    /// Whether the block has the entry of a step, or an equal one.
    pub(super) fn has(&self, part: &StepPart<'_>, written: &str) -> bool {
        let mut of_entry = part.items.iter().filter(|item| item.written == written).peekable();
        let is_taken = |item: &Item| {
            self.items
                .iter()
                .any(|(_, taken)| taken.list == item.list && taken.text == item.text)
        };
        of_entry.peek().is_some() && of_entry.all(is_taken)
    }

    /// Takes the entries that the webhook takes together.
    fn take(&mut self, candidates: Vec<(usize, Item)>, settings: &Settings) {
        let config = match check::config(&self.operator.fields()) {
            Ok(config) => config,
            Err(why) => {
                self.lost.push(format!("the operator's connection is not valid: {why}"));
                return;
            }
        };
        let mut distinct = Vec::new();
        for (number, item) in candidates {
            if distinct.len() == MAX_ENTRIES {
                self.lose(number, &item, "the block has too many entries: use several scale sets");
                continue;
            }
            match self.conflict(&distinct, number, &item) {
                Some(why) => self.lose(number, &item, &why),
                None => distinct.push((number, item)),
            }
        }
        if check::verdict(&annotations(&distinct, settings), &config)
            .problems
            .is_empty()
        {
            self.items = distinct;
        } else {
            self.take_one_by_one(distinct, settings, &config);
        }
        self.annotations = annotations(&self.items, settings);
        if self.items.is_empty() {
            self.annotations.clear();
            return;
        }
        let warnings = check::verdict(&self.annotations, &config).warnings;
        self.notes
            .extend(warnings.into_iter().map(|warning| format!("at admission: {warning}")));
    }

    /// Adds one entry after the other, and tells which the webhook refuses.
    fn take_one_by_one(&mut self, candidates: Vec<(usize, Item)>, settings: &Settings, config: &Config) {
        let mut taken: Vec<(usize, Item)> = Vec::new();
        for (number, item) in candidates {
            taken.push((number, item.clone()));
            let problems = check::verdict(&annotations(&taken, settings), config).problems;
            if problems.is_empty() {
                continue;
            }
            taken.pop();
            let mut why = problems.join("; ");
            if let Some(way_out) = item.name.as_deref().and_then(way_out) {
                why = format!("{why}; {way_out}");
            }
            self.lose(number, &item, &format!("podkey refuses the entry: {why}"));
        }
        self.items = taken;
    }

    fn lose(&mut self, number: usize, item: &Item, why: &str) {
        let place = self.parts[number].found.place();
        self.lost
            .push(format!("{place}: secrets: {}: {why}", quoted(&item.written)));
    }

    /// The paths that the pod reads now, and that steps with another login than this role read before.
    fn other_logins(&self, role: &str) -> Vec<String> {
        let is_other = |number: usize| match &self.parts[number].login {
            Login::Pod { role: own, .. } => own.as_deref() != Some(role),
            Login::Job { .. } | Login::Other => true,
        };
        let paths = self.paths(is_other);
        if paths.is_empty() {
            return Vec::new();
        }
        let title = format!(
            "steps logged in otherwise: the role {} must also allow read of:",
            quoted(role)
        );
        let paths = paths.into_iter().map(|path| format!("  {path}"));
        std::iter::once(title).chain(paths).collect()
    }

    /// The paths that the pod reads for these steps.
    fn paths(&self, is_wanted: impl Fn(usize) -> bool) -> Vec<String> {
        let mut paths: Vec<String> = self
            .items
            .iter()
            .filter(|(number, _)| is_wanted(*number))
            .filter(|(_, item)| item.list != ItemList::JobEnv && !item.text.ends_with("  as: job\n"))
            .filter_map(|(_, item)| item.written.split_whitespace().next())
            .map(|path| {
                path.split('?')
                    .next()
                    .unwrap_or(path)
                    .trim_start_matches('/')
                    .to_owned()
            })
            .collect();
        paths.sort_unstable();
        paths.dedup();
        paths
    }

    /// What the machine means for the block.
    fn circumstances(&mut self) {
        let label = &self.runner.label;
        if self.runner.is_hosted {
            self.lost.push(format!(
                "runs-on: {label}: this is GitHub's own machine, where podkey does not run: let the jobs run on a scale set of yours, \
                or keep vault-action here"
            ));
        } else if self.runner.is_expression {
            self.notes.push(format!(
                "runs-on: {label}: if that is one of GitHub's own machines, podkey does not run there: name a scale set of yours"
            ));
        }
        let has_files = self.items.iter().any(|(_, item)| item.list == ItemList::Files);
        let in_containers: Vec<&str> = self
            .jobs
            .iter()
            .filter(|job| job.has_container)
            .map(|job| job.title.as_str())
            .collect();
        if has_files && !in_containers.is_empty() {
            self.notes.push(format!(
                "the steps of a job with container: see the variables, but no file at the paths above ({}): with {JOB_TEMP}: \"true\" they \
                see copies, whose paths the variables of env: have",
                in_containers.join(", ")
            ));
        }
        let by_job = self.items.iter().any(|(_, item)| item.text.contains('{'));
        if by_job && !self.parts.iter().any(|part| part.login.is_job()) {
            self.notes.push(
                "a path with a placeholder is read by the job with GitHub's token: the connection needs \"job:\", the job needs \
                \"permissions: id-token: write\""
                    .to_owned(),
            );
        }
    }
}

/// The annotations with these entries.
fn annotations(items: &[(usize, Item)], settings: &Settings) -> Vec<(&'static str, String)> {
    let mut annotations = Vec::new();
    annotations.extend(settings.mount.iter().map(|mount| (AUTH_MOUNT, mount.clone())));
    annotations.extend(settings.role.iter().map(|role| (ROLE, role.clone())));
    for (key, list) in [
        (ENV, ItemList::Env),
        (JOB_ENV, ItemList::JobEnv),
        (FILES, ItemList::Files),
    ] {
        let of_list = items.iter().filter(|(_, item)| item.list == list);
        let text: String = of_list.map(|(_, item)| item.text.as_str()).collect();
        if !text.is_empty() {
            annotations.push((key, text));
        }
    }
    if !settings.exports {
        annotations.push((EXPORT, "false".to_owned()));
    }
    if settings.skips_missing {
        annotations.push((IGNORE_NOT_FOUND, "true".to_owned()));
    }
    annotations
}
