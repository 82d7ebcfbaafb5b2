//! Files that change together. Each change is a directory of its own, a generation, and one rename of the symbolic link
//! `..data` shows it to every reader at once: the layout of the kubelet's own volumes (`AtomicWriter`), in a directory of
//! ours, because in a sticky one that all may write to, others could not follow our link (`fs.protected_symlinks`).
//!
//! ```text
//! files/..data       -> ..2026_11_22_10_31_45.0123456789abcdef
//! files/web.env      -> ..data/web.env
//! files/..2026_11_22_10_31_45.0123456789abcdef/web.env
//! ```
//!
//! Killed at any point, it leaves every reader a whole generation, and the next [`Generations::open`] sweeps the rest.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, readlinkat, renameat, statat, symlinkat, unlinkat};
use rustix::io::Errno;

use super::{DIRECTORY, Staged, cannot, content, enter, existing, sweep};
use crate::agent::report::Failure;
use crate::plan::{CURRENT, ExitCode};
use crate::secret::Secret;

/// [`CURRENT`], before it gets its name.
const NEXT: &str = "..data_tmp";
/// Whoever opened the directory of a generation just before a change has so long to open the files in it.
const READERS: Duration = Duration::from_secs(4);

const READING: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::CLOEXEC);

/// What a file of the next generation has in it.
pub(in crate::agent) enum Content<'a> {
    /// This, with these permission bits.
    New(&'a Secret, u32),
    /// What it has in the current one: the same file, with its inode and its times.
    Same,
}

/// The directory of the generations.
pub(in crate::agent) struct Generations {
    directory: OwnedFd,
    current: Option<String>,
    /// Those that a reader may still have open, and when each was replaced.
    replaced: Vec<(String, Instant)>,
}

impl Generations {
    /// Opens the directory `name` of the volume, made where it is missing, and clears what a killed run left in it. `create`
    /// makes the volume too (outside a container).
    pub(in crate::agent) fn open(volume: &Path, name: &str, create: bool) -> Result<Self, Failure> {
        let Staged { volume, .. } = &Staged::open(volume, create)?;
        let directory = enter(volume, name).map_err(|error| cannot("open the directory", name, error))?;
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

    /// What a file of the current generation has in it, if it is there and may be read: its bytes, at most `limit` of them,
    /// and its permission bits.
    pub(in crate::agent) fn read(&self, place: &str, limit: usize) -> Option<(Secret, u32)> {
        let (parent, name) = place.rsplit_once('/').unwrap_or(("", place));
        let directory = existing(&self.opened().ok()??, parent).ok()??;
        let found = statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        let mode = found.st_mode & 0o7777;
        // One that is closed to all, because its secret is gone, cannot even be opened by its owner.
        if found.st_size == 0 && FileType::from_raw_mode(found.st_mode) == FileType::RegularFile {
            return Some((Secret::from(Vec::new()), mode));
        }
        let file = std::fs::File::from(openat(&directory, name, READING, Mode::empty()).ok()?);
        Some((content(file, limit).ok()?, mode))
    }

    /// Every file of the current generation.
    pub(in crate::agent) fn places(&self) -> Vec<String> {
        let mut places = Vec::new();
        if let Ok(Some(current)) = self.opened() {
            walk(&current, "", &mut places);
        }
        places
    }

    /// Makes these, and no others, the files that readers see. Where it fails they go on seeing the current ones.
    pub(in crate::agent) fn swap(&mut self, files: &[(&str, Content<'_>)]) -> Result<(), Failure> {
        self.remove_replaced();
        match self.try_swap(files) {
            // Most likely the volume is full. What nobody should need any more makes room.
            Err(_) if !self.replaced.is_empty() => {
                self.remove_where(|_| true);
                self.try_swap(files)
            }
            outcome => outcome,
        }
    }

    fn try_swap(&mut self, files: &[(&str, Content<'_>)]) -> Result<(), Failure> {
        let name = name_generation();
        let unfinished = Unfinished(&self.directory, &name);
        let failed = |error: Errno| cannot("make the directory", &name, error);
        let next = enter(&self.directory, &name).map_err(failed)?;
        let current = self.opened()?;
        let mut staged = Staged::within(next.try_clone().map_err(|_| failed(Errno::MFILE))?);
        for (place, content) in files {
            match (content, &current) {
                (Content::New(bytes, mode), _) => staged.stage_from(place, *mode, &mut bytes.expose())?,
                (Content::Same, Some(current)) => staged.link(place, current)?,
                (Content::Same, None) => return Err(cannot("link", place, Errno::NOENT)),
            }
        }
        staged.publish()?;
        // Until `..data` leads to them these are links to nothing, which is what their readers found before.
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

    /// Takes every file away, those of replaced generations too, at once.
    pub(in crate::agent) fn clear(&mut self) -> Result<(), Failure> {
        if self.current.is_some() {
            self.try_swap(&[])?;
        }
        self.remove_where(|_| true);
        Ok(())
    }

    /// When the next of the replaced generations may be removed.
    pub(in crate::agent) fn removal_due(&self) -> Option<Instant> {
        self.replaced.first().map(|(_, since)| *since + READERS)
    }

    /// Removes the replaced generations that no reader should need any more.
    pub(in crate::agent) fn remove_replaced(&mut self) {
        let now = Instant::now();
        self.remove_where(|since| now.duration_since(since) >= READERS);
    }

    /// Writes a plain file beside the generations, which is replaced by itself.
    pub(in crate::agent) fn write_beside(&self, name: &str, mode: u32, bytes: &[u8]) -> Result<(), Failure> {
        let directory = self.directory.try_clone();
        let mut staged = Staged::within(directory.map_err(|_| cannot("open the directory of", name, Errno::MFILE))?);
        staged.stage_from(name, mode, &mut &*bytes)?;
        staged.publish().map(drop)
    }

    /// What a plain file beside the generations has in it.
    pub(in crate::agent) fn read_beside(&self, name: &str, limit: usize) -> Option<Secret> {
        let file = openat(&self.directory, name, READING, Mode::empty()).ok()?;
        content(file.into(), limit).ok()
    }

    fn remove_where(&mut self, unwanted: impl Fn(Instant) -> bool) {
        let directory = &self.directory;
        self.replaced.retain(|(name, since)| {
            if unwanted(*since) {
                // What cannot be removed now, the next `open` tries again.
                let _ = remove_tree(directory, name.as_str());
            }
            !unwanted(*since)
        });
    }

    /// The directory of the current generation.
    fn opened(&self) -> Result<Option<OwnedFd>, Failure> {
        let Some(name) = &self.current else {
            return Ok(None);
        };
        match openat(&self.directory, name.as_str(), DIRECTORY, Mode::empty()) {
            Err(Errno::NOENT) => Ok(None),
            opened => opened.map(Some).map_err(|error| foreign(name, error)),
        }
    }

    /// Removes what a run left that was killed, and names what it did not come to name.
    fn clear_up(&mut self) {
        // What cannot be swept does no harm.
        let _ = sweep(&self.directory);
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

    /// Removes those of the names that are our links.
    fn hide<'a>(&self, names: impl Iterator<Item = &'a String>) {
        for name in names.filter(|name| is_ours(&self.directory, name)) {
            let _ = unlinkat(&self.directory, name.as_str(), AtFlags::empty());
        }
    }
}

/// A generation that nobody sees yet: dropped, it is removed.
struct Unfinished<'a>(&'a OwnedFd, &'a str);

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        let _ = remove_tree(self.0, self.1);
    }
}

/// Such as `..2026_11_22_10_31_45.0123456789abcdef`: when it was made, for people, and what makes it different from all others.
fn name_generation() -> String {
    let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let now = now.trim_end_matches('Z').replace(|c: char| !c.is_ascii_digit(), "_");
    format!("..{now}.{:016x}", fastrand::u64(..))
}

/// Whether a directory beside [`CURRENT`] is one of ours, by its name.
pub(super) fn is_generation(name: &str) -> bool {
    let parts = name.strip_prefix("..").and_then(|rest| rest.split_once('.'));
    parts.is_some_and(|(time, random)| {
        time.len() == 19
            && time.bytes().all(|b| b.is_ascii_digit() || b == b'_')
            && random.len() == 16
            && random.bytes().all(|b| b.is_ascii_hexdigit())
    })
}

/// Gives a name of the generations its link, if it has none.
fn show(directory: &OwnedFd, name: &str) -> Result<(), Failure> {
    match symlinkat(through_current(name), directory, name) {
        Err(Errno::EXIST) if is_ours(directory, name) => Ok(()),
        Err(Errno::EXIST) => Err(foreign(name, Errno::EXIST)),
        made => made.map_err(|error| cannot("link", name, error)),
    }
}

fn through_current(name: &str) -> String {
    format!("{CURRENT}/{name}")
}

/// Whether a name is our link through the current generation.
fn is_ours(directory: &OwnedFd, name: &str) -> bool {
    let target = readlinkat(directory, name, Vec::new());
    target.is_ok_and(|target| target.as_bytes() == through_current(name).as_bytes())
}

fn foreign(name: &str, error: Errno) -> Failure {
    Failure::new(
        ExitCode::CannotWrite,
        format!("{name} is none of podkey's own links ({error}): podkey neither follows nor replaces it"),
        "nothing but podkey should write into its volume: delete the pod and find out what did",
    )
}

/// The names in a directory. Ours are text.
fn entries(directory: impl AsFd) -> Result<BTreeSet<String>, Errno> {
    let mut names = BTreeSet::new();
    for entry in Dir::read_from(directory)? {
        let name = entry?.file_name().to_owned();
        names.extend(
            name.into_string()
                .ok()
                .filter(|name| !matches!(name.as_str(), "." | "..")),
        );
    }
    Ok(names)
}

/// Every file below a directory, with its path.
fn walk(directory: &OwnedFd, above: &str, places: &mut Vec<String>) {
    for name in entries(directory).unwrap_or_default() {
        let place = match above {
            "" => name.clone(),
            above => format!("{above}/{name}"),
        };
        match openat(directory, name.as_str(), DIRECTORY, Mode::empty()) {
            Ok(inner) => walk(&inner, &place, places),
            Err(_) => places.push(place),
        }
    }
}

/// Removes a file, a link, or a directory with all that is in it; no link is followed. All of it is tried.
fn remove_tree(parent: impl AsFd, name: impl rustix::path::Arg + Copy) -> Result<(), Errno> {
    match unlinkat(&parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR) => {}
        Err(error) => return Err(error),
    }
    let directory = openat(&parent, name, DIRECTORY, Mode::empty())?;
    let mut outcome = Ok(());
    for name in entries(&directory)? {
        let removed = remove_tree(&directory, name.as_str());
        outcome = outcome.and(removed);
    }
    drop(directory);
    let removed = unlinkat(&parent, name, AtFlags::REMOVEDIR);
    outcome.and(removed)
}

#[cfg(test)]
mod tests;
