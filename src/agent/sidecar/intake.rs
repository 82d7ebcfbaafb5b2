//! What an answer of the server changes in the files: renders every file of the secret, checks the files, and puts them into
//! the next swap. The files of one secret change together or not at all.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use super::state::{FileOrigin, Sidecar, TrackedFile};
use crate::agent::delivery::check_field_files;
use crate::agent::report::Failure;
use crate::agent::validity::Validity;
use crate::agent::volume::{FileState, RenderedFile, env, shown_name};
use crate::plan::{ApiPath, Destination, ExitCode, MAX_RENDERED_BYTES, WhenGone};
use crate::schedule::{self, Lifetime, SecretIndex};
use crate::secret::Secret;
use crate::vault::{Reading, VaultError, VaultErrorKind, Wanted};

/// The files of one origin, or why there are none.
type RenderedOrigin = (FileOrigin, Result<Vec<RenderedFile>, Failure>);

impl Sidecar<'_> {
    /// Takes in a secret, or why it was not read. The next [`Self::publish`] shows the files.
    pub(super) fn take_in(
        &mut self,
        source: SecretIndex,
        answer: Result<Reading, VaultError>,
    ) -> Result<Lifetime, schedule::WorkFailure> {
        let Some(secret) = self.secrets.get_mut(source.0) else {
            return Err(schedule::WorkFailure::Failed);
        };
        match &answer {
            Ok(reading) => {
                secret.validity = Validity::new(&secret.wanted, reading.lease.as_ref());
                secret.last_success = Some(SystemTime::now());
                secret.reason = None;
            }
            Err(error) => secret.reason = Some(error.message.clone()),
        }
        let lifetime = secret.validity.lifetime();
        let wanted = secret.wanted.clone();
        let version = answer.as_ref().ok().and_then(|reading| reading.version);
        for (origin, rendered) in self.render_secret(&wanted, &answer) {
            match rendered {
                Ok(files) => self.put(origin, files, version),
                Err(failure) => self.put_failure(origin, &failure),
            }
        }
        self.failures
            .note(Some(source), "a secret was not read", answer)
            .map(|_| lifetime)
    }

    /// Renders every file of a secret. If one of them cannot be used, none is.
    fn render_secret(&self, wanted: &Wanted, answer: &Result<Reading, VaultError>) -> Vec<RenderedOrigin> {
        let files = (0..self.order.files.len()).map(FileOrigin::File);
        let mut origins: Vec<_> = files
            .chain((0..self.order.env.len()).map(FileOrigin::Variable))
            .collect();
        origins.retain(|origin| origin.wanted(&self.order).contains(wanted));
        let others = self.files.iter().filter(|(_, file)| !origins.contains(&file.origin));
        let mut bytes: usize = others.map(|(name, _)| self.shown.size(name)).sum();
        let mut all = Vec::with_capacity(origins.len());
        let mut unusable = None;
        for origin in &origins {
            let rendered = match answer {
                Ok(reading) => self.render(*origin, reading),
                Err(error) if error.kind == VaultErrorKind::NotFound => Err(error.clone().into()),
                Err(_) => continue,
            };
            bytes += rendered.iter().flatten().map(|file| file.bytes.len()).sum::<usize>();
            unusable = match &rendered {
                Err(failure) if failure.code != ExitCode::NotFound => Some(failure.clone()),
                _ if bytes > MAX_RENDERED_BYTES => Some(Failure::too_large()),
                _ => None,
            };
            all.push((*origin, rendered));
            if unusable.is_some() {
                // Rendering more files would only take more memory.
                break;
            }
        }
        match unusable.or_else(|| self.check_conflicts(&wanted.path, &all).err()) {
            None => all,
            Some(failure) => origins.iter().map(|origin| (*origin, Err(failure.clone()))).collect(),
        }
    }

    fn render(&self, origin: FileOrigin, reading: &Reading) -> Result<Vec<RenderedFile>, Failure> {
        let mut rendered = Vec::new();
        if let Some(order) = origin.file(&self.order) {
            rendered.extend(order.render(|_| Some(reading))?.into_iter().map(|(_, file)| file));
        }
        if let Some(order) = origin.variables(&self.order) {
            let variables = order.render(reading)?;
            let files = variables
                .iter()
                .map(|variable| env::rendered(&variable.name, &variable.value, self.plan.env_mode));
            rendered.extend(files);
        }
        Ok(rendered)
    }

    /// Refuses files of a secret that conflict with each other or with files of other secrets. (The names of files may come
    /// with the secret.)
    fn check_conflicts(&self, path: &ApiPath, made: &[RenderedOrigin]) -> Result<(), Failure> {
        let twice = |name: &str, secret: &str| {
            let message = format!("{name} is made of {secret} already, and of {path}");
            Err(Failure::new(ExitCode::BadData, message, "rename the field"))
        };
        let mut names = BTreeMap::new();
        for (origin, files) in made {
            for file in files.iter().flatten() {
                let name = shown_name(&file.place);
                if names.insert(name.clone(), *origin).is_some() {
                    return twice(&name, path.as_str());
                }
            }
        }
        let others = || {
            let others = self.files.iter().filter(|(name, _)| self.shown.has(name));
            others.filter(|(_, file)| !made.iter().any(|(origin, _)| *origin == file.origin))
        };
        let mut taken = others()
            // A file that only stays because its secret is gone may be replaced by a file of another secret.
            .filter(|(_, file)| file.rendered_here && file.state != FileState::Gone);
        if let Some((name, file)) = taken.find(|(name, _)| names.contains_key(name.as_str())) {
            return twice(name, &file.secret);
        }
        let own = names.iter().filter(|(_, origin)| origin.is_each_field(&self.order));
        let own: Vec<_> = own
            .map(|(name, _)| (Destination::Relative((*name).to_string()), path.clone()))
            .collect();
        if own.is_empty() {
            return Ok(());
        }
        let others = others().filter(|(_, file)| file.origin.is_each_field(&self.order));
        let others = others.filter_map(|(name, file)| {
            let path = file.secret.parse().ok()?;
            Some((Destination::Relative(name.clone()), path))
        });
        let all: Vec<_> = others.chain(own).collect();
        check_field_files(self.plan, all.iter().map(|(file, path)| (file, path)))
    }

    /// The next swap shows these files, and no other files of this origin.
    fn put(&mut self, origin: FileOrigin, files: Vec<RenderedFile>, version: Option<u64>) {
        let secret = origin.paths(&self.order);
        let mut before = self.names_of(origin);
        for RenderedFile { place, mode, bytes } in files {
            let name = shown_name(&place);
            before.remove(&*name);
            self.shown.put(&name, bytes, mode);
            let file = self
                .files
                .entry(name.to_string())
                .or_insert_with(|| TrackedFile::new(origin, &secret));
            (file.origin, file.rendered_here, file.next_version) = (origin, true, version);
            file.set_state(FileState::Fresh, None);
            if !self.shown.changes(&name) {
                file.version = version;
            }
        }
        let gone = format!("the field is gone from {secret}");
        for name in before {
            self.take_away(&name, &gone);
        }
    }

    /// The secret or the field is gone, or the data cannot be rendered.
    fn put_failure(&mut self, origin: FileOrigin, failure: &Failure) {
        let mut names = self.names_of(origin);
        if names.is_empty()
            && let Some(order) = origin.file(&self.order)
            && !matches!(order.file.file, Destination::EachField(_))
        {
            let (name, file) = (shown_name(&order.place), TrackedFile::new(origin, &order.paths()));
            self.files.insert(name.to_string(), file);
            names.insert(name.into_owned());
        }
        for name in names {
            match failure.code {
                ExitCode::NotFound => self.take_away(&name, &failure.message),
                _ => {
                    if let Some(file) = self.files.get_mut(&name) {
                        file.set_state(FileState::Invalid, Some(&failure.message));
                    }
                }
            }
        }
    }

    /// The secret of a file is gone: the pod's author chose with `when-gone` what happens to the file.
    fn take_away(&mut self, name: &str, reason: &str) {
        let Some(file) = self.files.get_mut(name) else {
            return;
        };
        file.set_state(FileState::Gone, Some(reason));
        file.next_version = None;
        match file.origin.when_gone(&self.order) {
            _ if !self.shown.has(name) => {}
            WhenGone::Keep => file.next_version = file.version,
            WhenGone::Delete => self.shown.remove(name),
            WhenGone::Fail => self.shown.put(name, Secret::from(Vec::new()), 0),
        }
    }

    fn names_of(&self, origin: FileOrigin) -> BTreeSet<String> {
        let files = self.files.iter().filter(|(_, file)| file.origin == origin);
        files.map(|(name, _)| name.clone()).collect()
    }
}
