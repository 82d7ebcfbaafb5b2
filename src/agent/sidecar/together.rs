//! Renders files that change together or not at all, and checks that they can stand beside all other files.

use std::collections::BTreeMap;

use super::answer::ServerAnswer;
use super::state::{FileOrigin, Sidecar};
use crate::agent::delivery::check_field_files;
use crate::agent::kubelet_env;
use crate::agent::report::Failure;
use crate::agent::volume::{FileState, PrintedValues, RenderedFile, env, shown_name};
use crate::plan::{ApiPath, Destination, ExitCode, MAX_RENDERED_BYTES};
use crate::vault::{Reading, Wanted};

/// The files of one origin.
pub(super) struct RenderedOrigin {
    pub(super) origin: FileOrigin,
    /// The files, or why there are none.
    pub(super) files: Result<Vec<RenderedFile>, Failure>,
    /// The version of the secret, if the files are made of one secret.
    pub(super) version: Option<u64>,
}

/// Files that change together.
pub(super) struct RenderedTogether {
    pub(super) all: Vec<RenderedOrigin>,
    /// One of the files cannot be used, and so none is.
    pub(super) is_refused: bool,
}

/// Finds the server's answer to a read. None: the server was not asked.
pub(super) type FindAnswer<'f, 'r> = &'f dyn Fn(&Wanted) -> Option<&'r ServerAnswer>;

impl Sidecar<'_> {
    /// Renders the files of these origins. If one of them cannot be used, none is.
    pub(super) fn render_together(&self, origins: &[FileOrigin], answer: FindAnswer<'_, '_>) -> RenderedTogether {
        let others = self.files.iter().filter(|(_, file)| !origins.contains(&file.origin));
        let mut bytes: usize = others.map(|(name, _)| self.shown.size(name)).sum();
        let mut all = Vec::with_capacity(origins.len());
        let mut unusable = None;
        for origin in origins {
            let rendered = self.render(*origin, answer);
            bytes += rendered
                .files
                .iter()
                .flatten()
                .map(|file| file.bytes.len())
                .sum::<usize>();
            unusable = match &rendered.files {
                Err(failure) if failure.code != ExitCode::NotFound => Some(failure.clone()),
                _ if bytes > MAX_RENDERED_BYTES => Some(Failure::too_large()),
                _ => None,
            };
            all.push(rendered);
            if unusable.is_some() {
                // Rendering more files would only take more memory.
                break;
            }
        }
        let Some(failure) = unusable.or_else(|| self.check_conflicts(&all).err()) else {
            return RenderedTogether { all, is_refused: false };
        };
        let refused = origins.iter().map(|origin| RenderedOrigin {
            origin: *origin,
            files: Err(failure.clone()),
            version: None,
        });
        RenderedTogether {
            all: refused.collect(),
            is_refused: true,
        }
    }

    fn render(&self, origin: FileOrigin, answer: FindAnswer<'_, '_>) -> RenderedOrigin {
        let reading = |wanted: &Wanted| match answer(wanted) {
            Some(ServerAnswer::Secret(reading)) => Some(reading),
            Some(ServerAnswer::Missing(_)) | None => None,
        };
        let version = match origin.wanted(&self.order).as_slice() {
            [wanted] => reading(wanted).and_then(|reading| reading.version),
            _ => None,
        };
        RenderedOrigin {
            origin,
            files: self
                .missing(origin, answer)
                .map_or_else(|| self.files_of(origin, reading), Err),
            version,
        }
    }

    /// The failure of a file whose secret does not exist. None: every secret exists, or the file does without it.
    fn missing(&self, origin: FileOrigin, answer: FindAnswer<'_, '_>) -> Option<Failure> {
        if origin.does_without(&self.order) {
            return None;
        }
        origin
            .wanted(&self.order)
            .iter()
            .find_map(|wanted| match answer(wanted)? {
                ServerAnswer::Missing(error) => Some(error.clone().into()),
                ServerAnswer::Secret(_) => None,
            })
    }

    fn files_of<'r>(
        &self,
        origin: FileOrigin,
        reading: impl Fn(&Wanted) -> Option<&'r Reading>,
    ) -> Result<Vec<RenderedFile>, Failure> {
        let mut files = Vec::new();
        if let Some(order) = origin.file(&self.order) {
            for made in self.order.render_file(order, &reading)? {
                let printed = made.printed.map(|values| PrintedValues {
                    number: order.number,
                    path: made.destination.path().into_owned(),
                    mode: made.rendered.mode,
                    values,
                });
                files.push(made.rendered);
                files.extend(printed.iter().map(PrintedValues::rendered));
            }
        }
        if let Some(order) = origin.variables(&self.order)
            && let Some(reading) = reading(&order.wanted())
        {
            let variables = order.render(reading)?;
            if self.plan.kubelet_env {
                let mut all = variables.iter();
                all.try_for_each(|variable| kubelet_env::check(&variable.name, &variable.value))?;
            }
            let rendered = variables
                .iter()
                .map(|variable| env::rendered(&variable.name, &variable.value, self.plan.env_mode));
            files.extend(rendered);
        }
        Ok(files)
    }

    /// Refuses files that conflict with each other or with other files. (The names of files may come with the secret.)
    fn check_conflicts(&self, made: &[RenderedOrigin]) -> Result<(), Failure> {
        let twice = |name: &str, secret: &str, origin: FileOrigin| {
            let message = format!(
                "{name} is made of {secret} already, and of {}",
                origin.paths(&self.order)
            );
            Err(Failure::new(ExitCode::BadData, message, "rename the field"))
        };
        let mut names = BTreeMap::new();
        for RenderedOrigin { origin, files, .. } in made {
            for file in files.iter().flatten() {
                let name = shown_name(&file.place);
                if let Some(other) = names.insert(name.clone(), *origin) {
                    return twice(&name, &other.paths(&self.order), *origin);
                }
            }
        }
        let others = || {
            let others = self.files.iter().filter(|(name, _)| self.shown.has(name));
            others.filter(|(_, file)| !made.iter().any(|made| made.origin == file.origin))
        };
        let mut taken = others()
            // A file that only stays because its secret is gone may be replaced by a file of another secret.
            .filter(|(_, file)| file.rendered_here && file.state != FileState::Gone);
        let taken = taken.find_map(|(name, file)| Some((name, file, *names.get(name.as_str())?)));
        if let Some((name, file, origin)) = taken {
            return twice(name, &file.secret, origin);
        }
        let own = names.iter().filter(|(_, origin)| origin.is_each_field(&self.order));
        let own: Vec<_> = own
            .filter_map(|(name, origin)| self.field_file(name, *origin))
            .collect();
        if own.is_empty() {
            return Ok(());
        }
        let others = others().filter(|(_, file)| file.origin.is_each_field(&self.order));
        let others = others.filter_map(|(name, file)| self.field_file(name, file.origin));
        let all: Vec<_> = others.chain(own).collect();
        check_field_files(self.plan, all.iter().map(|(file, path)| (file, path)))
    }

    /// A file that is named after a field, with the path of the secret.
    fn field_file(&self, name: &str, origin: FileOrigin) -> Option<(Destination, ApiPath)> {
        let wanted = origin.wanted(&self.order).into_iter().next()?;
        Some((Destination::Relative(name.to_owned()), wanted.path))
    }
}
