//! Files that change together. Each change makes one directory, a generation; one rename of the symlink `..data` shows the
//! generation to every reader at once. This is the layout of the kubelet's own volumes (`AtomicWriter`). The generations
//! stand in a directory of podkey's: in a sticky directory that all may write to, other users could not follow podkey's
//! symlink (`fs.protected_symlinks`).
//!
//! ```text
//! files/..data       -> ..2026_11_22_10_31_45.0123456789abcdef
//! files/web.env      -> ..data/web.env
//! files/..2026_11_22_10_31_45.0123456789abcdef/web.env
//! ```
//!
//! A writer that is killed at any point leaves a whole generation to every reader; the next [`Generations::open`] removes
//! the unfinished one.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::{AtFlags, FileType, Mode, openat, readlinkat, renameat, statat, symlinkat, unlinkat};
use rustix::io::Errno;

use crate::agent::volume::VolumeError;
use crate::agent::volume::directory::{
    DIRECTORY, cannot, enter, entries, existing, remove_temporary_files, remove_tree, walk,
};
use crate::agent::volume::file::{READING, content};
use crate::agent::volume::split;
use crate::agent::volume::staged::Staged;
use crate::plan::CURRENT;
use crate::secret::Secret;

/// The symlink [`CURRENT`] before the rename.
const NEXT: &str = "..data_tmp";
/// How long a replaced generation stays: a reader may have opened the directory just before the change, and opens the files
/// in it after the change.
const READERS: Duration = Duration::from_secs(4);

/// The content of a file of the next generation.
pub(super) enum NextContent<'a> {
    /// These bytes, with these permission bits.
    New(&'a Secret, u32),
    /// The file of the current generation, with inode and times.
    Same,
}

/// The directory of the generations.
pub(super) struct Generations {
    directory: OwnedFd,
    /// The name of the generation that readers see.
    current: Option<String>,
    /// The generations that a reader may still have open, and when each was replaced.
    replaced: Vec<(String, Instant)>,
}

impl Generations {
    /// Opens the directory at this place of the volume, and removes what a killed run left in it. A missing directory is made.
    pub(super) fn open(volume: &Staged, place: &str) -> Result<Self, VolumeError> {
        let failed = |error| cannot("open the directory", place, error);
        let mut directory = volume.root().try_clone().map_err(|_| failed(Errno::MFILE))?;
        for segment in place.split('/') {
            directory = enter(&directory, segment).map_err(failed)?;
        }
        let current = match readlinkat(&directory, CURRENT, Vec::new()) {
            Err(Errno::NOENT) => None,
            Err(error) => return Err(foreign(CURRENT, error)),
            Ok(target) => match target.into_string() {
                Ok(target) if is_generation(&target) => Some(target),
                _ => return Err(foreign(CURRENT, Errno::LOOP)),
            },
        };
        let mut generations = Self {
            directory,
            current,
            replaced: Vec::new(),
        };
        if generations.opened()?.is_none() {
            generations.current = None;
        }
        generations.clear_up();
        Ok(generations)
    }

    /// The bytes and the permission bits of a file of the current generation. None: the file is missing, unreadable, or
    /// larger than `limit` bytes.
    pub(super) fn read(&self, shown: &str, limit: usize) -> Option<(Secret, u32)> {
        let (parent, name) = split(shown);
        let directory = existing(&self.opened().ok()??, parent).ok()??;
        let found = statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        let mode = found.st_mode & 0o7777;
        // The owner cannot open a file with mode 0000: the file of a secret that is gone.
        if found.st_size == 0 && FileType::from_raw_mode(found.st_mode) == FileType::RegularFile {
            return Some((Secret::from(Vec::new()), mode));
        }
        let file = std::fs::File::from(openat(&directory, name, READING, Mode::empty()).ok()?);
        Some((content(file, limit).ok()?, mode))
    }

    /// The shown name of every file of the current generation.
    pub(super) fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        if let Ok(Some(current)) = self.opened() {
            walk(&current, "", &mut names);
        }
        names
    }

    /// Makes these files, and no others, the files that readers see. If that fails, readers see the current generation.
    pub(super) fn swap(&mut self, files: &[(&str, NextContent<'_>)]) -> Result<(), VolumeError> {
        self.remove_replaced();
        match self.try_swap(files) {
            // The likely reason is a full volume: removing the replaced generations makes room.
            Err(_) if !self.replaced.is_empty() => {
                self.remove_replaced_if(|_| true);
                self.try_swap(files)
            }
            outcome => outcome,
        }
    }

    fn try_swap(&mut self, files: &[(&str, NextContent<'_>)]) -> Result<(), VolumeError> {
        let name = new_generation_name();
        let unfinished = UnfinishedGeneration(&self.directory, &name);
        let failed = |error: Errno| cannot("make the directory", &name, error);
        let next = enter(&self.directory, &name).map_err(failed)?;
        let current = self.opened()?;
        let mut staged = Staged::within(next.try_clone().map_err(|_| failed(Errno::MFILE))?);
        for (shown, content) in files {
            match (content, &current) {
                (NextContent::New(bytes, mode), _) => staged.stage_from(shown, *mode, &mut bytes.expose())?,
                (NextContent::Same, Some(current)) => staged.link(shown, current)?,
                (NextContent::Same, None) => return Err(cannot("link", shown, Errno::NOENT)),
            }
        }
        staged.publish()?;
        // Until `..data` leads to the new generation, symlinks to new files lead nowhere: readers find no file, as before.
        let names = entries(&next).map_err(failed)?;
        for name in &names {
            show(&self.directory, name)?;
        }
        let failed = |error: Errno| cannot("replace", CURRENT, error);
        remove_tree(&self.directory, NEXT).map_err(failed)?;
        symlinkat(&name, &self.directory, NEXT).map_err(failed)?;
        renameat(&self.directory, NEXT, &self.directory, CURRENT).map_err(failed)?;
        std::mem::forget(unfinished);
        let replaced = self.current.replace(name);
        self.replaced.extend(replaced.map(|name| (name, Instant::now())));
        let before = current.and_then(|current| entries(&current).ok()).unwrap_or_default();
        self.hide(before.difference(&names));
        Ok(())
    }

    /// Removes every file at once, also the files of replaced generations.
    pub(super) fn clear(&mut self) -> Result<(), VolumeError> {
        if self.current.is_some() {
            self.try_swap(&[])?;
        }
        self.remove_replaced_if(|_| true);
        Ok(())
    }

    /// When the next replaced generation may be removed.
    pub(super) fn removal_due(&self) -> Option<Instant> {
        self.replaced.first().map(|(_, since)| *since + READERS)
    }

    /// Removes the replaced generations that no reader needs any more.
    pub(super) fn remove_replaced(&mut self) {
        let now = Instant::now();
        self.remove_replaced_if(|since| now.duration_since(since) >= READERS);
    }

    /// Replaces a plain file beside the generations.
    pub(super) fn write_beside(&self, name: &str, mode: u32, bytes: &[u8]) -> Result<(), VolumeError> {
        let directory = self.directory.try_clone();
        let directory = directory.map_err(|_| cannot("open the directory of", name, Errno::MFILE))?;
        let mut staged = Staged::within(directory);
        staged.stage_from(name, mode, &mut &*bytes)?;
        staged.publish().map(drop)
    }

    /// The content of a plain file beside the generations.
    pub(super) fn read_beside(&self, name: &str, limit: usize) -> Option<Secret> {
        let file = openat(&self.directory, name, READING, Mode::empty()).ok()?;
        content(file.into(), limit).ok()
    }

    fn remove_replaced_if(&mut self, unwanted: impl Fn(Instant) -> bool) {
        let directory = &self.directory;
        self.replaced.retain(|(name, since)| {
            if unwanted(*since) {
                // If this fails, the next `open` removes the generation.
                let _ = remove_tree(directory, name.as_str());
            }
            !unwanted(*since)
        });
    }

    /// The directory of the current generation.
    fn opened(&self) -> Result<Option<OwnedFd>, VolumeError> {
        let Some(name) = &self.current else {
            return Ok(None);
        };
        match openat(&self.directory, name.as_str(), DIRECTORY, Mode::empty()) {
            Err(Errno::NOENT) => Ok(None),
            opened => opened.map(Some).map_err(|error| foreign(name, error)),
        }
    }

    /// Finishes what a killed run left: removes unfinished generations, and makes missing symlinks.
    fn clear_up(&mut self) {
        // A temporary file that cannot be removed does no harm.
        let _ = remove_temporary_files(&self.directory);
        let _ = remove_tree(&self.directory, NEXT);
        for name in entries(&self.directory).unwrap_or_default() {
            if is_generation(&name) && self.current.as_ref() != Some(&name) {
                let _ = remove_tree(&self.directory, name.as_str());
            }
        }
        let current = self.opened().ok().flatten();
        let names = current.and_then(|current| entries(&current).ok()).unwrap_or_default();
        for name in &names {
            let _ = show(&self.directory, name);
        }
        self.hide(entries(&self.directory).unwrap_or_default().difference(&names));
    }

    /// Removes the names that are symlinks into the current generation.
    fn hide<'a>(&self, names: impl Iterator<Item = &'a String>) {
        for name in names.filter(|name| is_ours(&self.directory, name)) {
            let _ = unlinkat(&self.directory, name.as_str(), AtFlags::empty());
        }
    }
}

/// A generation that no reader sees yet. Dropping this removes the generation.
struct UnfinishedGeneration<'a>(&'a OwnedFd, &'a str);

impl Drop for UnfinishedGeneration<'_> {
    fn drop(&mut self) {
        let _ = remove_tree(self.0, self.1);
    }
}

/// Such as `..2026_11_22_10_31_45.0123456789abcdef`: the time, for people, and a random number, so that each name is new.
fn new_generation_name() -> String {
    let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let now = now.trim_end_matches('Z').replace(|c: char| !c.is_ascii_digit(), "_");
    format!("..{now}.{:016x}", fastrand::u64(..))
}

/// Whether this is the name of a generation.
pub(in crate::agent::volume) fn is_generation(name: &str) -> bool {
    let parts = name.strip_prefix("..").and_then(|rest| rest.split_once('.'));
    parts.is_some_and(|(time, random)| {
        time.len() == 19
            && time.bytes().all(|b| b.is_ascii_digit() || b == b'_')
            && random.len() == 16
            && random.bytes().all(|b| b.is_ascii_hexdigit())
    })
}

/// Makes the symlink for a name of the current generation, if the symlink is missing.
fn show(directory: &OwnedFd, name: &str) -> Result<(), VolumeError> {
    match symlinkat(through_current(name), directory, name) {
        Err(Errno::EXIST) if is_ours(directory, name) => Ok(()),
        Err(Errno::EXIST) => Err(foreign(name, Errno::EXIST)),
        made => made.map_err(|error| cannot("link", name, error)),
    }
}

fn through_current(name: &str) -> String {
    format!("{CURRENT}/{name}")
}

/// Whether a name is a symlink into the current generation.
fn is_ours(directory: &OwnedFd, name: &str) -> bool {
    let target = readlinkat(directory, name, Vec::new());
    target.is_ok_and(|target| target.as_bytes() == through_current(name).as_bytes())
}

fn foreign(name: &str, error: Errno) -> VolumeError {
    VolumeError::new(
        format!("{name} is not a symbolic link that podkey made ({error}): podkey neither follows nor replaces it"),
        "nothing but podkey should write into podkey's volume: delete the pod and find out which program wrote there",
    )
}

#[cfg(test)]
mod tests;
