//! One directory of files that the sidecar keeps fresh: which files the containers see now, and what the next swap changes. The
//! content of a file is not kept in memory; only a change that is not written yet has its bytes here.

use std::collections::BTreeMap;

use ring::digest::{SHA256, digest};

use super::generations::{Generations, NextContent};
use crate::agent::volume::{Staged, StatusFile, VolumeError};
use crate::plan::{MAX_RENDERED_BYTES, STATUS};
use crate::secret::Secret;

/// The longest status file, in bytes.
pub(super) const MAX_STATUS: usize = 4 * 1024 * 1024;

/// The refreshed files of one directory, by their paths below the directory.
pub(super) struct RefreshedDirectory {
    generations: Generations,
    shown: BTreeMap<String, ShownFile>,
    changes: BTreeMap<String, PendingChange>,
}

/// What the containers see of a file: enough to find out whether new content differs.
#[derive(Clone, Copy, PartialEq, Eq)]
struct ShownFile {
    /// The SHA-256 of the content. None: the file cannot be read.
    content: Option<[u8; 32]>,
    mode: u32,
    size: usize,
}

impl ShownFile {
    fn new(bytes: &Secret, mode: u32) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, bytes.expose()).as_ref());
        Self {
            content: Some(hash),
            mode,
            size: bytes.len(),
        }
    }
}

enum PendingChange {
    /// The content, and the permission bits.
    Put(Secret, u32),
    Remove,
}

impl RefreshedDirectory {
    /// Reads the current generation of the directory at this place of the volume.
    pub(super) fn open(volume: &Staged, place: &str) -> Result<Self, VolumeError> {
        const UNREADABLE: ShownFile = ShownFile {
            content: None,
            mode: 0,
            size: 0,
        };
        let generations = Generations::open(volume, place)?;
        let shown = generations.names().into_iter().map(|name| {
            let read = generations.read(&name, MAX_RENDERED_BYTES);
            let file = read.map_or(UNREADABLE, |(bytes, mode)| ShownFile::new(&bytes, mode));
            (name, file)
        });
        let shown = shown.collect();
        Ok(Self {
            generations,
            shown,
            changes: BTreeMap::new(),
        })
    }

    /// Whether the containers see this file after the next swap.
    pub(super) fn has(&self, name: &str) -> bool {
        match self.changes.get(name) {
            Some(PendingChange::Put(..)) => true,
            Some(PendingChange::Remove) => false,
            None => self.shown.contains_key(name),
        }
    }

    /// Every file that the containers see after the next swap.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let new = self.changes.keys().filter(|name| !self.shown.contains_key(*name));
        let all = self.shown.keys().chain(new).map(String::as_str);
        all.filter(|name| self.has(name))
    }

    /// The content of a file that the containers see now. None: there is no such file.
    pub(super) fn read(&self, name: &str) -> Option<Secret> {
        self.generations.read(name, MAX_RENDERED_BYTES).map(|(bytes, _)| bytes)
    }

    /// The next swap writes this content and mode, if the file differs from them.
    pub(super) fn put(&mut self, name: &str, bytes: Secret, mode: u32) {
        if self.shown.get(name) == Some(&ShownFile::new(&bytes, mode)) {
            self.changes.remove(name);
        } else {
            self.changes.insert(name.to_owned(), PendingChange::Put(bytes, mode));
        }
    }

    /// The next swap removes the file.
    pub(super) fn remove(&mut self, name: &str) {
        if self.shown.contains_key(name) {
            self.changes.insert(name.to_owned(), PendingChange::Remove);
        } else {
            self.changes.remove(name);
        }
    }

    /// How many bytes the file has after the next swap.
    pub(super) fn size(&self, name: &str) -> usize {
        match self.changes.get(name) {
            Some(PendingChange::Put(bytes, _)) => bytes.len(),
            Some(PendingChange::Remove) => 0,
            None => self.shown.get(name).map_or(0, |shown| shown.size),
        }
    }

    /// Whether the next swap changes this file.
    pub(super) fn changes(&self, name: &str) -> bool {
        self.changes.contains_key(name)
    }

    /// Whether the containers see a file with mode 0000: the secret of the file is gone.
    pub(super) fn is_closed(&self, name: &str) -> bool {
        self.shown.get(name).is_some_and(|shown| shown.mode == 0)
    }

    /// Whether the next swap changes any file.
    pub(super) fn has_changes(&self) -> bool {
        !self.changes.is_empty()
    }

    /// Shows all changes at once, and returns the names of the changed files. If that fails, nothing changes, and the next
    /// swap tries again.
    pub(super) fn swap(&mut self) -> Result<Vec<String>, VolumeError> {
        if self.changes.is_empty() {
            return Ok(Vec::new());
        }
        let mut next: Vec<(&str, NextContent<'_>)> = Vec::new();
        for name in self.shown.keys().filter(|name| !self.changes.contains_key(*name)) {
            next.push((name, NextContent::Same));
        }
        for (name, change) in &self.changes {
            if let PendingChange::Put(bytes, mode) = change {
                next.push((name, NextContent::New(bytes, *mode)));
            }
        }
        self.generations.swap(&next)?;
        drop(next);
        let changes = std::mem::take(&mut self.changes);
        let mut changed = Vec::with_capacity(changes.len());
        for (name, change) in changes {
            match change {
                PendingChange::Put(bytes, mode) => {
                    self.shown.insert(name.clone(), ShownFile::new(&bytes, mode));
                }
                PendingChange::Remove => drop(self.shown.remove(&name)),
            }
            changed.push(name);
        }
        Ok(changed)
    }

    /// Removes every file.
    pub(super) fn clear(&mut self) -> Result<(), VolumeError> {
        self.changes.clear();
        self.shown.clear();
        self.generations.clear()
    }

    /// The last status file. None: it is missing or does not parse.
    pub(super) fn read_status(&self) -> Option<StatusFile> {
        let json = self.generations.read_beside(STATUS, MAX_STATUS)?;
        serde_json::from_slice(json.expose()).ok()
    }

    /// Replaces the status file.
    pub(super) fn write_status(&self, status: &StatusFile) -> Result<(), VolumeError> {
        // Names, paths and numbers: serializing them does not fail.
        let json = serde_json::to_vec_pretty(status).unwrap_or_default();
        self.generations.write_beside(STATUS, 0o444, &json)
    }

    /// When [`Self::remove_replaced`] has something to remove.
    pub(super) fn removal_due(&self) -> Option<std::time::Instant> {
        self.generations.removal_due()
    }

    /// Removes the replaced generations that no reader needs any more.
    pub(super) fn remove_replaced(&mut self) {
        self.generations.remove_replaced();
    }
}
