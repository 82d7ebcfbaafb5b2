//! What an answer of the server changes in the files: every file of the secret is rendered and put into the next swap. The files of
//! one secret change together or not at all.

use std::collections::BTreeSet;
use std::time::SystemTime;

use super::answer::ServerAnswer;
use super::state::{FileOrigin, Sidecar, TrackedFile};
use super::together::{RenderedOrigin, RenderedTogether};
use crate::agent::report::Failure;
use crate::agent::validity::Validity;
use crate::agent::volume::{FileState, RenderedFile, shown_name};
use crate::plan::{ApiPath, Destination, ExitCode, WhenGone};
use crate::schedule::{self, Lifetime, SecretIndex};
use crate::secret::Secret;
use crate::vault::{Reading, VaultError};

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
        let (answer, result) = ServerAnswer::of(answer);
        match (answer, &mut secret.combined) {
            (None, _) => {}
            (Some(answer), Some(combined)) => {
                combined.newer = Some(answer);
                self.unsettled.push(source);
            }
            (Some(answer), None) => {
                let origins = self.origins_of(&[source]);
                let rendered = self.render_together(&origins, &|_| Some(&answer));
                self.show(rendered);
            }
        }
        self.failures
            .note(Some(source), "a secret was not read", result)
            .map(|()| lifetime)
    }

    /// The next swap shows these files.
    pub(super) fn show(&mut self, rendered: RenderedTogether) {
        for RenderedOrigin { origin, files, version } in rendered.all {
            match files {
                Ok(files) => self.put(origin, files, version),
                Err(failure) => self.put_failure(origin, &failure),
            }
        }
    }

    /// The files stay as they are until the server has given this secret too.
    pub(super) fn wait_for(&mut self, origins: &[FileOrigin], path: &ApiPath) {
        let reason = format!("a file of this secret needs {path} too, which was not read yet");
        for file in self.files.values_mut().filter(|file| origins.contains(&file.origin)) {
            file.set_state(FileState::Stale, Some(&reason));
        }
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
