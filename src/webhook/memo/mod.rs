//! Remembers answers. Pods of one template come in thousands, and their reviews differ only in names that no decision depends on:
//! such a review gets the answer of an earlier one, with its own uid.
//!
//! A decision is pure, so an answer holds as long as the config. A remembered review is compared byte by byte with a new one; there
//! is no hash. What the memo costs is bounded, whatever clients send: at most [`SAME_LENGTH`] comparisons for each review, and a
//! second decision for the first [`TRIES_AT_ONCE`] reviews that are not remembered, and for each [`LEARN_EVERY`]th.

mod template;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::limits::{MEMO_BYTES, USUAL_ANSWER_BYTES, USUAL_BODY_BYTES};
use super::review::{self, Outcome, ReviewAnswer, ReviewError, ReviewLog, UID_AT};
use crate::inject::Config;
use template::Template;

/// The most remembered reviews of one length.
const SAME_LENGTH: usize = 4;
/// How many reviews the memo tries to learn at once, for each config, while the memo has room.
const TRIES_AT_ONCE: usize = 256;
/// After that, the memo tries to learn one of this many reviews that are not remembered.
const LEARN_EVERY: u64 = 64;

/// Answers reviews, and remembers the answers. All threads share this value.
#[derive(Default)]
pub(super) struct Memo {
    table: Mutex<Table>,
    /// Reviews so far that were worth learning, and not remembered.
    unknown: AtomicU64,
}

#[derive(Default)]
struct Table {
    /// The config of all answers in the table.
    config: Option<Arc<Config>>,
    remembered: Vec<Arc<Remembered>>,
    /// The memory of `remembered`.
    bytes: usize,
    /// Reviews so far.
    reviews: u64,
    /// How many times the memo tried to learn a review. What was tried counts, not what was learned: a review that cannot be
    /// learned costs as much.
    tries: usize,
}

/// What the table has for one review.
struct Found {
    /// The remembered reviews of this length and config.
    candidates: [Option<Arc<Remembered>>; SAME_LENGTH],
    /// [`Table::reviews`] at this review.
    now: u64,
    /// Whether to learn the review at once, if it is not remembered.
    has_room: bool,
}

/// The answer to all reviews of one template.
struct Remembered {
    template: Template,
    /// The answer to the template's own text.
    answer: Vec<u8>,
    /// All memory of this value.
    bytes: usize,
    outcome: Outcome,
    counts: bool,
    namespace: String,
    /// The pod's name, if it is the same in all reviews of the template.
    pod_name: String,
    /// [`Table::reviews`] when this was last used.
    used: AtomicU64,
}

impl Memo {
    /// Answers one AdmissionReview, as [`review::answer`] does.
    pub(super) fn answer(&self, body: &[u8], config: &Arc<Config>) -> Result<ReviewAnswer, ReviewError> {
        if body.len() > USUAL_BODY_BYTES {
            return review::answer(body, config);
        }
        // Compares without the lock.
        let found = self.table().find(body.len(), config);
        if let Some(answer) = found.recall(body) {
            return Ok(answer);
        }
        let answer = review::answer(body, config)?;
        if is_worth_learning(&answer)
            && self.tries(found.has_room)
            && let Some(remembered) = Remembered::of(body, &answer, config)
        {
            self.table().learn(remembered, config);
        }
        Ok(answer)
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether to try to learn a review that is not remembered. A client that sends ever other texts must neither double the work
    /// nor displace what other clients need.
    fn tries(&self, has_room: bool) -> bool {
        let unknown = 1 + self.unknown.fetch_add(1, Ordering::Relaxed);
        let tries = has_room || unknown.is_multiple_of(LEARN_EVERY);
        if tries {
            self.table().tries += 1;
        }
        tries
    }
}

/// Refusals and large answers are never remembered.
fn is_worth_learning(answer: &ReviewAnswer) -> bool {
    let allows = matches!(answer.outcome, Outcome::Injected | Outcome::Ignored);
    allows && answer.body.len() <= USUAL_ANSWER_BYTES
}

impl Found {
    fn recall(&self, body: &[u8]) -> Option<ReviewAnswer> {
        let known = self
            .candidates
            .iter()
            .flatten()
            .find(|known| known.template.matches(body))?;
        known.used.store(self.now, Ordering::Relaxed);
        known.answer_to(body)
    }
}

impl Table {
    /// Finds the remembered reviews that may be equal to this review. Removes the answers of another config.
    fn find(&mut self, length: usize, config: &Arc<Config>) -> Found {
        if !self.config.as_ref().is_some_and(|known| Arc::ptr_eq(known, config)) {
            *self = Self::default();
            self.config = Some(config.clone());
        }
        self.reviews += 1;
        let mut of_length = self.remembered.iter().filter(|known| known.length() == length);
        let candidates = std::array::from_fn(|_| of_length.next().cloned());
        let has_place = candidates.iter().any(Option::is_none);
        Found {
            candidates,
            now: self.reviews,
            has_room: has_place && self.bytes + Remembered::MAX_BYTES <= MEMO_BYTES && self.tries < TRIES_AT_ONCE,
        }
    }

    /// Remembers the answer. If there is no room, the review that was unused for the longest time is removed.
    fn learn(&mut self, new: Remembered, config: &Arc<Config>) {
        let is_of_config = self.config.as_ref().is_some_and(|known| Arc::ptr_eq(known, config));
        // Another thread may have learned the review meanwhile.
        if !is_of_config
            || self
                .remembered
                .iter()
                .any(|known| known.template.matches(new.template.text()))
        {
            return;
        }
        let (length, bytes) = (new.length(), new.bytes);
        let of_length = self.remembered.iter().filter(|known| known.length() == length);
        if of_length.count() >= SAME_LENGTH {
            self.evict(|known| known.length() == length);
        }
        while self.bytes + bytes > MEMO_BYTES && self.evict(|_| true) {}
        self.bytes += bytes;
        new.used.store(self.reviews, Ordering::Relaxed);
        self.remembered.push(Arc::new(new));
    }

    /// Removes the review that was unused for the longest time. Returns whether there was such a review.
    fn evict(&mut self, which: impl Fn(&Remembered) -> bool) -> bool {
        let known = self.remembered.iter().enumerate().filter(|(_, known)| which(known));
        let Some((oldest, _)) = known.min_by_key(|(_, known)| known.used.load(Ordering::Relaxed)) else {
            return false;
        };
        self.bytes -= self.remembered.swap_remove(oldest).bytes;
        true
    }
}

impl Remembered {
    /// The most memory of one remembered review: text, names (each of at least two characters of the text, with quotes) and answer.
    const MAX_BYTES: usize = 64 * 1024;

    /// The most that the allocator adds to a block of memory: its own numbers, and what it rounds up.
    const BLOCK_BYTES: usize = 32;

    /// What to remember of a review and its answer. None: that is too much, or the answer is not the answer to the review's template.
    fn of(body: &[u8], answer: &ReviewAnswer, config: &Config) -> Option<Self> {
        let template = Template::of(body)?;
        let log = &answer.log;
        let texts = [answer.body.len(), log.namespace.len(), log.name.len()];
        // Each text is a block, and so are the template's two and the value itself.
        let blocks = (texts.len() + 3) * Self::BLOCK_BYTES;
        let bytes = size_of::<Self>() + template.bytes() + texts.iter().sum::<usize>() + blocks;
        if bytes > Self::MAX_BYTES {
            return None;
        }
        // Every review of the template gets this answer, so no name may be part of the answer.
        let mut blank = review::answer(template.text(), config).ok()?;
        let is_same = without_uid(answer)? == without_uid(&blank)?
            && (answer.outcome, answer.counts) == (blank.outcome, blank.counts)
            && answer.log.namespace == blank.log.namespace;
        let name_in = |text| in_text(text, template.pod_name.as_ref()?);
        let is_named = match template.pod_name {
            Some(_) => name_in(body) == Some(&answer.log.name) && name_in(template.text()) == Some(&blank.log.name),
            None => answer.log.name == blank.log.name,
        };
        blank.body.shrink_to_fit();
        let remembered = Self {
            template,
            answer: blank.body,
            bytes,
            outcome: blank.outcome,
            counts: blank.counts,
            namespace: blank.log.namespace,
            pod_name: blank.log.name,
            used: AtomicU64::new(0),
        };
        (is_same && is_named).then_some(remembered)
    }

    /// The length of the review's text.
    fn length(&self) -> usize {
        self.template.text().len()
    }

    /// The answer to a review of the template.
    fn answer_to(&self, body: &[u8]) -> Option<ReviewAnswer> {
        let uid = in_text(body, &self.template.uid)?;
        let mut answer = self.answer.clone();
        answer
            .get_mut(UID_AT..UID_AT + uid.len())?
            .copy_from_slice(uid.as_bytes());
        let name = match &self.template.pod_name {
            Some(place) => in_text(body, place)?,
            None => &self.pod_name,
        };
        Some(ReviewAnswer {
            body: answer,
            outcome: self.outcome,
            counts: self.counts,
            log: ReviewLog {
                uid: uid.to_owned(),
                namespace: self.namespace.clone(),
                name: name.to_owned(),
                problems: None,
                asker: None,
                rules: None,
            },
        })
    }
}

/// The name at this place of a review's text.
fn in_text<'t>(text: &'t [u8], place: &Range<usize>) -> Option<&'t str> {
    std::str::from_utf8(text.get(place.clone())?).ok()
}

/// What an answer has before and after its uid. None: its uid is not at [`UID_AT`].
fn without_uid(answer: &ReviewAnswer) -> Option<(&[u8], &[u8])> {
    let (before, rest) = answer.body.split_at_checked(UID_AT)?;
    Some((before, rest.strip_prefix(answer.log.uid.as_bytes())?))
}
