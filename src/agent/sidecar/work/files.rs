//! What each file of the pod is made of, what becomes of it when its secret changes or goes, and who is told.

use std::collections::{BTreeMap, BTreeSet};

use super::{QUIET, Sidecar};
use crate::agent::delivery::{EnvOrder, FileOrder, Order, check_field_files};
use crate::agent::files::Rendered;
use crate::agent::handover::boot_time;
use crate::agent::outcome::{Delivered, Manifest, Outcome, Target};
use crate::agent::report::Failure;
use crate::agent::tools;
use crate::agent::view::{FileState, FileStatus, View, below_files};
use crate::env::select;
use crate::plan::{ApiPath, Destination, ENV_DIR, ExitCode, SECRETS_DIR, WhenGone};
use crate::secret::Secret;
use crate::vault::{Reading, Wanted};

/// A file that the containers see, or saw.
pub(super) struct File {
    pub(super) by: By,
    pub(super) secret: String,
    /// Seen to be made so by this process, not taken from an earlier one's words.
    sure: bool,
    /// Of what is in it.
    pub(super) version: Option<u64>,
    /// Of what the next swap puts into it.
    coming: Option<u64>,
    pub(super) state: FileState,
    pub(super) reason: Option<String>,
}

/// What makes a file: its number among the files, or the variables, of the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    File(usize),
    Variable(usize),
}

impl Sidecar<'_> {
    pub(super) fn wanted(&self, by: By) -> Option<Wanted> {
        match by {
            By::File(number) => self.order.files.get(number).map(FileOrder::wanted),
            By::Variable(number) => self.order.env.get(number).map(EnvOrder::wanted),
        }
    }

    pub(super) fn render(&self, by: By, reading: &Reading) -> Result<Vec<Rendered>, Failure> {
        Ok(match by {
            By::File(number) => match self.order.files.get(number) {
                Some(order) => order
                    .render(reading)?
                    .into_iter()
                    .map(|(_, rendered)| rendered)
                    .collect(),
                None => Vec::new(),
            },
            By::Variable(number) => match self.order.env.get(number) {
                Some(order) => {
                    let variables = order.render(reading)?;
                    variables
                        .iter()
                        .map(|variable| variable.file(self.plan.env_mode))
                        .collect()
                }
                None => Vec::new(),
            },
        })
    }

    /// Whether all files that a secret now makes can be beside each other and beside those of other secrets. (Names may come
    /// with the secret.)
    pub(super) fn check(&self, path: &ApiPath, made: &[(By, Result<Vec<Rendered>, Failure>)]) -> Result<(), Failure> {
        let twice = |place: &str, secret: &str| {
            let message = format!("{place} is made of {secret} already, and of {path}");
            Err(Failure::new(ExitCode::BadData, message, "rename the field"))
        };
        let is_each = |by: By| match by {
            By::File(number) => {
                let order = self.order.files.get(number);
                order.is_some_and(|order| matches!(order.file.file, Destination::EachField(_)))
            }
            By::Variable(_) => false,
        };
        let rendered = made.iter().flat_map(|(by, files)| {
            let files = files.iter().flatten();
            files.map(|file| (below_files(&file.place), *by))
        });
        let mut places = BTreeMap::new();
        for (place, by) in rendered {
            if places.insert(place, by).is_some() {
                return twice(place, path.as_str());
            }
        }
        let others = || {
            let others = self.files.iter().filter(|(place, _)| self.view.has(place));
            others.filter(|(_, file)| !made.iter().any(|(by, _)| *by == file.by))
        };
        let mut taken = others()
            // Another may take the place of one that is only kept.
            .filter(|(_, file)| file.sure && file.state != FileState::Gone);
        if let Some((place, file)) = taken.find(|(place, _)| places.contains_key(place.as_str())) {
            return twice(place, &file.secret);
        }
        let own = places.iter().filter(|(_, by)| is_each(**by));
        let own: Vec<_> = own
            .map(|(place, _)| (Destination::Relative((*place).to_owned()), path.clone()))
            .collect();
        if own.is_empty() {
            return Ok(());
        }
        let others = others().filter_map(|(place, file)| match file.by {
            By::File(number) if is_each(file.by) => Some((
                Destination::Relative(place.clone()),
                self.order.files.get(number)?.path.clone(),
            )),
            _ => None,
        });
        let all: Vec<_> = others.chain(own).collect();
        check_field_files(self.plan, all.iter().map(|(file, path)| (file, path)))
    }

    /// The next swap shows these files, and no others of this origin.
    pub(super) fn show(&mut self, by: By, files: Vec<Rendered>, version: Option<u64>) {
        let secret = self
            .wanted(by)
            .map(|wanted| wanted.path.to_string())
            .unwrap_or_default();
        let mut before = self.places(by);
        for Rendered { place, mode, bytes } in files {
            let place = below_files(&place);
            before.remove(place);
            self.view.put(place, bytes, mode);
            let file = self
                .files
                .entry(place.to_owned())
                .or_insert_with(|| File::new(by, &secret));
            (file.by, file.sure) = (by, true);
            (file.state, file.reason, file.coming) = (FileState::Fresh, None, version);
            if !self.view.changes(place) {
                file.version = version;
            }
        }
        let gone = Failure::new(ExitCode::NotFound, format!("the field is gone from {secret}"), "");
        for place in before {
            self.take_away(&place, &gone);
        }
    }

    /// The secret, or its field, is gone, or cannot be made a file of.
    pub(super) fn show_not(&mut self, by: By, failure: &Failure) {
        let mut places = self.places(by);
        if let (true, By::File(number)) = (places.is_empty(), by)
            && let Some(order) = self.order.files.get(number)
            && let Destination::Relative(place) = &order.file.file
        {
            self.files.insert(place.clone(), File::new(by, order.path.as_str()));
            places.insert(place.clone());
        }
        for place in places {
            match failure.code {
                ExitCode::NotFound => self.take_away(&place, failure),
                _ => {
                    if let Some(file) = self.files.get_mut(&place) {
                        (file.state, file.reason) = (FileState::Invalid, Some(failure.message.clone()));
                    }
                }
            }
        }
    }

    /// What its secret is made of is gone: what becomes of the file is its author's choice.
    fn take_away(&mut self, place: &str, failure: &Failure) {
        let Some(file) = self.files.get_mut(place) else {
            return;
        };
        (file.state, file.reason) = (FileState::Gone, Some(failure.message.clone()));
        let by_order = match file.by {
            By::File(number) => self.order.files.get(number),
            By::Variable(_) => None,
        };
        file.coming = None;
        match by_order.map_or(WhenGone::Keep, |order| order.file.when_gone) {
            _ if !self.view.has(place) => {}
            WhenGone::Keep => file.coming = file.version,
            WhenGone::Delete => self.view.remove(place),
            WhenGone::Fail => self.view.put(place, Secret::from(Vec::new()), 0),
        }
    }

    fn places(&self, by: By) -> BTreeSet<String> {
        let files = self.files.iter().filter(|(_, file)| file.by == by);
        files.map(|(place, _)| place.clone()).collect()
    }

    /// Shows the containers all that changed, at once, and tells whoever is to know.
    pub(super) fn publish(&mut self) {
        self.write_again = None;
        if !self.view.has_changes() {
            return;
        }
        let changed = match self.view.swap() {
            Ok(changed) => changed,
            Err(failure) => {
                self.write_again = Some(boot_time() + QUIET);
                self.complain("the files could not be changed", &failure.message, &failure.hint);
                return;
            }
        };
        for place in &changed {
            let Some(file) = self.files.get_mut(place) else {
                continue;
            };
            let old_version = std::mem::replace(&mut file.version, file.coming);
            tracing::info!(
                file = place,
                secret = file.secret,
                old_version,
                version = file.version,
                "{}",
                match (self.view.has(place), file.state) {
                    (false, _) => "file removed: its secret is gone",
                    (true, FileState::Gone) => "file emptied: its secret is gone",
                    (true, _) => "file changed",
                }
            );
        }
        let view = &self.view;
        let each = |by| match by {
            By::File(number) => self
                .order
                .files
                .get(number)
                .is_none_or(|order| matches!(order.file.file, Destination::EachField(_))),
            By::Variable(_) => true,
        };
        // A field's name may never come again.
        self.files.retain(|place, file| view.has(place) || !each(file.by));
        self.say_what_is_delivered();
        self.actions.run();
    }

    /// Leaves the job hooks, and `exec`, what is delivered now.
    pub(super) fn say_what_is_delivered(&mut self) {
        if !self.plan.exec && self.plan.job.is_none() {
            return;
        }
        let env = format!("{ENV_DIR}/");
        let there = self
            .files
            .iter()
            .filter(|(place, _)| self.view.has(place) && !self.view.is_closed(place));
        let delivered = there.map(|(place, file)| Delivered {
            to: match (file.by, place.strip_prefix(&env)) {
                (By::Variable(_), Some(name)) => Target::Env(name.to_owned()),
                _ => Target::File(format!("{SECRETS_DIR}/{place}")),
            },
            secret: file.secret.clone(),
            version: file.version,
        });
        let manifest = Manifest {
            accessor: self
                .sessions
                .get(&self.current)
                .map(|session| session.accessor.clone())
                .unwrap_or_default(),
            delivered: delivered.collect(),
            leases: Vec::new(),
        };
        if let Err(failure) = tools::commit(self.surroundings, &Outcome::Delivered(manifest)) {
            self.complain(
                "what is delivered could not be written down",
                &failure.message,
                &failure.hint,
            );
        }
    }
}

impl File {
    fn new(by: By, secret: &str) -> Self {
        Self {
            by,
            secret: secret.to_owned(),
            sure: false,
            version: None,
            coming: None,
            state: FileState::Fresh,
            reason: None,
        }
    }
}

/// The files that are there, or were, as far as the plan and the status tell what they are made of.
pub(super) fn known_files(
    order: &Order<'_, ApiPath>,
    view: &View,
    told: &BTreeMap<String, FileStatus>,
) -> BTreeMap<String, File> {
    let mut files = BTreeMap::new();
    let places: BTreeSet<&str> = view.places().chain(told.keys().map(String::as_str)).collect();
    for place in places {
        let status = told.get(place);
        let of_secret = |path: &ApiPath| status.is_some_and(|status| status.secret == path.as_str());
        let exact = order.files.iter().position(|order| below_files(&order.place) == place);
        let variable = || {
            let name = place.strip_prefix(ENV_DIR)?.strip_prefix('/')?;
            let mut env = order.env.iter();
            env.position(|order| of_secret(&order.path) && select::may_make(order.select, name))
        };
        let each = || {
            let each = |order: &FileOrder<'_, ApiPath>| match &order.file.file {
                Destination::EachField(name) => name.may_make(place),
                Destination::Absolute(_) | Destination::Relative(_) => false,
            };
            order
                .files
                .iter()
                .position(|order| each(order) && of_secret(&order.path))
        };
        let by = exact.map(By::File).or_else(|| variable().map(By::Variable));
        let Some(by) = by.or_else(|| each().map(By::File)) else {
            continue;
        };
        let secret = match by {
            By::File(number) => order.files.get(number).map(|order| order.path.as_str()),
            By::Variable(number) => order.env.get(number).map(|order| order.path.as_str()),
        };
        let mut file = File::new(by, secret.unwrap_or_default());
        file.version = status.and_then(|status| status.version);
        file.coming = file.version;
        file.state = match status.map(|status| status.state) {
            Some(state @ (FileState::Gone | FileState::Invalid)) => state,
            _ => FileState::Fresh,
        };
        files.insert(place.to_owned(), file);
    }
    files
}
