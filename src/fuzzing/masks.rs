//! The masks of a job's log.

#![allow(clippy::expect_used, reason = "a fuzz target panics if a law is broken")]

use super::input::{self, FORMATS};
use crate::job::masks::Masks;
use crate::plan::{Format, Mask};

/// A word of this length, of letters and digits, is no common word and no number: every rule hides it where it is a whole line.
const LONG_WORD: usize = 16;
/// How many bytes of masks each byte of a secret may make, and how many any secret may make.
const MASKS_FOR_BYTE: usize = 2000;
const MASKS_FOR_ANY: usize = 64 * 1024;

/// A secret, in each mode, in the format that the input's length chooses (with every format an input takes six times as long).
/// Laws: the masks are in proportion to the secret; no mask has a line break; each command is one line; a line that is one long word
/// is masked; no warning has such a word.
pub fn masks(bytes: &[u8]) {
    let words = long_words(bytes);
    let format = FORMATS[bytes.len() % FORMATS.len()];
    for mode in [Mask::Smart, Mask::Lines, Mask::Off] {
        let mut masks = Masks::new(mode);
        masks.add("NAME", format, bytes);
        insist_on_masks(&masks, bytes.len());
        for word in words.iter().filter(|_| format == Format::Raw && mode != Mask::Off) {
            assert!(masks.iter().any(|mask| mask == word), "{word} is in sight");
        }
        for warning in masks.warnings() {
            input::insist_on_a_line(&warning);
            assert!(!words.iter().any(|word| warning.contains(word.as_str())), "{warning}");
        }
    }
}

fn insist_on_masks(masks: &Masks, secret: usize) {
    let mut all = 0;
    let mut count = 0;
    for mask in masks.iter() {
        assert!(!mask.trim().is_empty() && !mask.contains(['\n', '\r']), "{mask:?}");
        all += mask.len();
        count += 1;
    }
    assert!(
        all <= MASKS_FOR_ANY + MASKS_FOR_BYTE * secret,
        "{all} bytes of masks for {secret}"
    );
    let mut lines = 0;
    let counted = masks.commands(|commands| {
        let text = std::str::from_utf8(commands).map_err(|_| ())?;
        for line in text.lines() {
            lines += 1;
            assert!(line.starts_with("::add-mask::"), "{line:?}");
        }
        assert!(!text.contains('\r') && text.ends_with('\n'));
        Ok::<(), ()>(())
    });
    counted.expect("commands are text");
    assert_eq!(lines, count, "a command for each mask");
}

/// The lines of a text that are one long word with a letter and a digit.
fn long_words(bytes: &[u8]) -> Vec<String> {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Vec::new();
    };
    // The text may be JSON or base64 as a whole: then its lines are no values.
    if text.contains(|c: char| !c.is_ascii_alphanumeric() && c != '\n') {
        return Vec::new();
    }
    let is_long = |line: &&str| {
        line.len() >= LONG_WORD
            && line.bytes().any(|b| b.is_ascii_digit())
            && line.bytes().any(|b| b.is_ascii_alphabetic())
    };
    // More lines than podkey examines are masked as lines, too, up to a limit that it reports.
    text.lines().take(1000).filter(is_long).map(str::to_owned).collect()
}
