//! The destinations of all files, sorted, so that the files around a path are found without a look at every file: a container may
//! name any number of paths.

use crate::inject::request::files::FileRequest;
use crate::plan::{self, Destination, SECRETS_DIR};

/// The destinations of all files.
pub(super) struct Destinations<'r> {
    /// Sorted by the segments of the paths: the paths below a directory come right behind the directory.
    sorted: Vec<(String, &'r FileRequest)>,
    /// Files whose names come from the fields of a secret.
    of_fields: Vec<&'r FileRequest>,
}

impl<'r> Destinations<'r> {
    pub(super) fn of(files: &'r [FileRequest]) -> Self {
        let (of_fields, named): (Vec<_>, Vec<_>) = files
            .iter()
            .partition(|file| matches!(file.file, Destination::EachField(_)));
        let path = |file: &'r FileRequest| (plan::real(&file.file.path()).to_owned(), file);
        let mut sorted: Vec<_> = named.into_iter().map(path).collect();
        sorted.sort_by(|(a, _), (b, _)| by_segments(a).cmp(by_segments(b)));
        Self { sorted, of_fields }
    }

    /// Whether the request has no files.
    pub(super) fn is_empty(&self) -> bool {
        self.sorted.is_empty() && self.of_fields.is_empty()
    }

    /// How many destinations come before the path.
    fn before(&self, path: &str) -> usize {
        self.sorted
            .partition_point(|(other, _)| by_segments(other).lt(by_segments(path)))
    }

    /// The file at this path, or the file in the place of a directory above the path. (Two such files are in conflict with each
    /// other. `plan::rules` has that rule.)
    pub(super) fn at_or_above(&self, path: &str) -> Option<&'r FileRequest> {
        // `/var` is above `/var/run/x`, but not above `/run/x`, the real path.
        let var = (plan::real(path) != path).then(|| self.at_or_above("/var")).flatten();
        if var.is_some() {
            return var;
        }
        let path = plan::real(path);
        let before = self.before(path);
        let near = self.sorted[before.saturating_sub(1)..].iter().take(2);
        let mut found = near.filter(|(other, _)| plan::contains(other, path));
        let of_field = |file: &&&FileRequest| match &file.file {
            Destination::EachField(name) => path
                .strip_prefix(SECRETS_DIR)
                .and_then(|rest| rest.strip_prefix('/'))
                .is_some_and(|place| name.may_make(place)),
            _ => false,
        };
        let found = found.next().map(|(_, file)| *file);
        found.or_else(|| self.of_fields.iter().find(of_field).copied())
    }

    /// The files below a directory, each with the path from the directory.
    pub(super) fn below<'s>(&'s self, directory: &'s str) -> impl Iterator<Item = (&'s str, &'r FileRequest)> {
        let directory = plan::real(directory);
        let all = self.sorted[self.before(directory)..].iter();
        all.map_while(move |(path, file)| {
            let rest = path.strip_prefix(directory)?;
            match directory.ends_with('/') {
                true => Some((rest, *file)),
                false => rest.strip_prefix('/').map(|rest| (rest, *file)),
            }
        })
    }
}

/// The bytes of a path, for comparing paths segment by segment: the slash comes before every other byte. (No path contains NUL.)
fn by_segments(path: &str) -> impl Iterator<Item = u8> {
    path.bytes().map(|byte| if byte == b'/' { 0 } else { byte })
}
