//! What the containers see of a plan whose files are kept fresh: which files there are, and what the next change makes of
//! them. No content is kept in memory but that of a change which has not been written yet.

mod status;

use std::collections::BTreeMap;
use std::path::Path;

use ring::digest::{SHA256, digest};

use super::files::{Content, Generations};
use super::report::Failure;
use crate::plan::{FILES_DIR, MAX_RENDERED_BYTES, STATUS, VOLUME_DIR};
use crate::secret::Secret;

pub(super) use self::status::{FileState, FileStatus, Status};

/// The files, by their paths below the directory that the containers see.
pub(super) struct View {
    generations: Generations,
    seen: BTreeMap<String, Seen>,
    changes: BTreeMap<String, Change>,
}

/// What a file has in it: enough to know whether that changed.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Seen {
    /// None where it cannot be read.
    content: Option<[u8; 32]>,
    mode: u32,
    size: usize,
}

enum Change {
    Put(Secret, u32),
    Remove,
}

impl View {
    /// Opens what is there. `root` gives the place of a path of the container; `create` makes it (outside a container).
    pub(super) fn open(root: impl Fn(&str) -> std::path::PathBuf, create: bool) -> Result<Self, Failure> {
        let generations = Generations::open(&root(VOLUME_DIR), FILES_DIR, create)?;
        let mut seen = BTreeMap::new();
        for place in generations.places() {
            let (content, mode, size) = match generations.read(&place, MAX_RENDERED_BYTES) {
                Some((bytes, mode)) => (Some(hash(&bytes)), mode, bytes.len()),
                None => (None, 0, 0),
            };
            seen.insert(place, Seen { content, mode, size });
        }
        Ok(Self {
            generations,
            seen,
            changes: BTreeMap::new(),
        })
    }

    /// Whether the containers see this file, or will.
    pub(super) fn has(&self, place: &str) -> bool {
        match self.changes.get(place) {
            Some(Change::Put(..)) => true,
            Some(Change::Remove) => false,
            None => self.seen.contains_key(place),
        }
    }

    /// All of them.
    pub(super) fn places(&self) -> impl Iterator<Item = &str> {
        let new = self.changes.keys().filter(|place| !self.seen.contains_key(*place));
        let all = self.seen.keys().chain(new).map(String::as_str);
        all.filter(|place| self.has(place))
    }

    /// The next swap gives the file this content, if it has another.
    pub(super) fn put(&mut self, place: &str, bytes: Secret, mode: u32) {
        let wanted = Seen {
            content: Some(hash(&bytes)),
            mode,
            size: bytes.len(),
        };
        if self.seen.get(place) == Some(&wanted) {
            self.changes.remove(place);
        } else {
            self.changes.insert(place.to_owned(), Change::Put(bytes, mode));
        }
    }

    /// The next swap takes the file away.
    pub(super) fn remove(&mut self, place: &str) {
        if self.seen.contains_key(place) {
            self.changes.insert(place.to_owned(), Change::Remove);
        } else {
            self.changes.remove(place);
        }
    }

    /// How many bytes the file has, or will have.
    pub(super) fn size(&self, place: &str) -> usize {
        match self.changes.get(place) {
            Some(Change::Put(bytes, _)) => bytes.len(),
            Some(Change::Remove) => 0,
            None => self.seen.get(place).map_or(0, |seen| seen.size),
        }
    }

    /// Whether the next swap changes this file.
    pub(super) fn changes(&self, place: &str) -> bool {
        self.changes.contains_key(place)
    }

    /// Whether the containers see a file here that nobody can read, instead of one whose secret is gone.
    pub(super) fn is_closed(&self, place: &str) -> bool {
        self.seen.get(place).is_some_and(|seen| seen.mode == 0)
    }

    /// Whether there is anything to swap.
    pub(super) fn has_changes(&self) -> bool {
        !self.changes.is_empty()
    }

    /// Shows all changes at once, and tells which files they were. Where it fails, nothing changes, and the next one tries
    /// again.
    pub(super) fn swap(&mut self) -> Result<Vec<String>, Failure> {
        if self.changes.is_empty() {
            return Ok(Vec::new());
        }
        let mut next: Vec<(&str, Content<'_>)> = Vec::new();
        for place in self.seen.keys().filter(|place| !self.changes.contains_key(*place)) {
            next.push((place, Content::Same));
        }
        for (place, change) in &self.changes {
            if let Change::Put(bytes, mode) = change {
                next.push((place, Content::New(bytes, *mode)));
            }
        }
        self.generations.swap(&next)?;
        drop(next);
        let changes = std::mem::take(&mut self.changes);
        let mut changed = Vec::with_capacity(changes.len());
        for (place, change) in changes {
            match change {
                Change::Put(bytes, mode) => {
                    let (content, size) = (Some(hash(&bytes)), bytes.len());
                    self.seen.insert(place.clone(), Seen { content, mode, size });
                }
                Change::Remove => drop(self.seen.remove(&place)),
            }
            changed.push(place);
        }
        Ok(changed)
    }

    /// Leaves no file.
    pub(super) fn clear(&mut self) -> Result<(), Failure> {
        self.changes.clear();
        self.seen.clear();
        self.generations.clear()
    }

    /// What was last told of the files.
    pub(super) fn status(&self) -> Option<Status> {
        let json = self.generations.read_beside(STATUS, MAX_STATUS)?;
        serde_json::from_slice(json.expose()).ok()
    }

    /// Tells of the files.
    pub(super) fn tell(&self, status: &Status) -> Result<(), Failure> {
        // Names, paths and numbers: nothing in them can fail.
        let json = serde_json::to_vec_pretty(status).unwrap_or_default();
        self.generations.write_beside(STATUS, 0o444, &json)
    }

    /// When [`Self::clear_up`] has something to do.
    pub(super) fn clear_up_due(&self) -> Option<std::time::Instant> {
        self.generations.removal_due()
    }

    /// Removes earlier contents that no reader should need any more.
    pub(super) fn clear_up(&mut self) {
        self.generations.remove_replaced();
    }
}

/// The longest status, in bytes.
const MAX_STATUS: usize = 4 * 1024 * 1024;

fn hash(bytes: &Secret) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, bytes.expose()).as_ref());
    hash
}

/// The place below the directory that the containers see, of one below the volume.
pub(super) fn below_files(place: &str) -> &str {
    Path::new(place)
        .strip_prefix(FILES_DIR)
        .ok()
        .and_then(Path::to_str)
        .unwrap_or(place)
}
