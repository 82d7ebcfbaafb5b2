//! consul-template's functions of strings.

use std::rc::Rc;

use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, Engine};

use crate::template::error::Fault;
use crate::template::output::unicode::{chars, decode, trim_space};
use crate::template::run::sink::Sink;
use crate::template::run::value::{GoText, GoValue};
use crate::template::syntax::function::Id;

/// The most parts of one text.
const MAX_PARTS: usize = 250_000;

/// Go requires the padding, and ignores the bits that are left over.
const DECODING: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::RequireCanonical)
    .with_decode_allow_trailing_bits(true);

pub(crate) fn base64(out: &mut Sink, id: Id, text: &[u8]) -> Result<(), Fault> {
    let engine = match id {
        Id::Base64Encode => {
            out.str(&STANDARD.encode(text));
            return Ok(());
        }
        Id::Base64UrlEncode => {
            out.str(&URL_SAFE.encode(text));
            return Ok(());
        }
        Id::Base64Decode => GeneralPurpose::new(&alphabet::STANDARD, DECODING),
        _ => GeneralPurpose::new(&alphabet::URL_SAFE, DECODING),
    };
    // Go skips line breaks.
    let text: Vec<u8> = text.iter().copied().filter(|b| !matches!(b, b'\n' | b'\r')).collect();
    let bytes = engine.decode(text).map_err(|_| {
        Fault::value(format!(
            "the text is not {}",
            if id == Id::Base64Decode {
                "base64"
            } else {
                "URL-safe base64"
            }
        ))
    })?;
    out.write(&bytes);
    Ok(())
}

/// Go's `Split`, of a trimmed text. An empty text has no parts, an empty separator gives the characters.
pub(crate) fn split(separator: &GoText, text: &GoText) -> Result<GoValue, Fault> {
    let secret = text.is_secret() || separator.is_secret();
    let all = trim_space(text.bytes());
    let separator = separator.bytes();
    let mut ends: Vec<usize> = if separator.is_empty() {
        let widths = chars(all).map(|(_, width)| width).scan(0, |end, width| {
            *end += width;
            Some(*end)
        });
        widths.take(MAX_PARTS + 1).collect()
    } else {
        matches(all, separator)
    };
    if !separator.is_empty() && !all.is_empty() {
        ends.push(all.len());
    }
    if ends.len() > MAX_PARTS {
        return Err(Fault::bound(format!("split makes more than {MAX_PARTS} parts")));
    }
    let mut parts = Vec::with_capacity(ends.len());
    let mut start = 0;
    for end in ends {
        parts.push(GoText::new(all.get(start..end).unwrap_or_default(), secret));
        start = end + separator.len();
    }
    Ok(GoValue::Strings(Rc::new(parts)))
}

pub(crate) fn join(out: &mut Sink, separator: &GoText, list: Option<&GoValue>) {
    if let Some(GoValue::Strings(list)) = list {
        for (i, text) in list.iter().enumerate() {
            if i > 0 {
                out.write(separator.bytes());
            }
            out.write(text.bytes());
        }
    }
}

/// Go's `Trim`: takes the characters of `set` off both ends.
pub(crate) fn trim<'a>(text: &'a [u8], set: &[u8]) -> &'a [u8] {
    let mut set: Vec<char> = chars(set).map(|(c, _)| c).collect();
    set.sort_unstable();
    set.dedup();
    let is_in_set = |c: char| set.binary_search(&c).is_ok();
    let mut start = 0;
    while start < text.len() {
        let (c, width) = decode(text.get(start..).unwrap_or_default());
        if !is_in_set(c) {
            break;
        }
        start += width;
    }
    let mut end = text.len();
    while end > start {
        let (c, width) = last(text.get(start..end).unwrap_or_default());
        if !is_in_set(c) {
            break;
        }
        end -= width;
    }
    text.get(start..end).unwrap_or_default()
}

/// The last character and its width. A byte that is no UTF-8 is U+FFFD, of width 1.
fn last(text: &[u8]) -> (char, usize) {
    for width in 1..=4.min(text.len()) {
        let (c, decoded) = decode(text.get(text.len() - width..).unwrap_or_default());
        if decoded == width && (width > 1 || c != '\u{fffd}') {
            return (c, width);
        }
    }
    ('\u{fffd}', 1)
}

/// Go's `Replace` without a bound. An empty `from` is found before each character and at the end.
pub(crate) fn replace_all(out: &mut Sink, from: &[u8], to: &[u8], text: &[u8]) {
    let places: Vec<usize> = if from.is_empty() {
        let starts = chars(text).scan(0, |start, (_, width)| Some(std::mem::replace(start, *start + width)));
        starts.chain([text.len()]).collect()
    } else {
        matches(text, from)
    };
    let mut start = 0;
    for place in places {
        out.write(text.get(start..place).unwrap_or_default());
        out.write(to);
        start = place + from.len();
        if out.full() {
            break;
        }
    }
    out.write(text.get(start..).unwrap_or_default());
}

/// Whether a part is in a text.
pub(crate) fn contains(text: &[u8], part: &[u8]) -> bool {
    if let (Ok(text), Ok(part)) = (std::str::from_utf8(text), std::str::from_utf8(part)) {
        return text.contains(part);
    }
    part.is_empty() || !matches(text, part).is_empty()
}

/// Where a part, which is not empty, is in a text, from left to right.
fn matches(text: &[u8], part: &[u8]) -> Vec<usize> {
    if let (Ok(text), Ok(part)) = (std::str::from_utf8(text), std::str::from_utf8(part)) {
        return text.match_indices(part).map(|(at, _)| at).collect();
    }
    matches_of_bytes(text, part)
}

/// The same for bytes that are not UTF-8, for which Rust has no search: the algorithm of Knuth, Morris and Pratt, whose time is
/// linear for any input.
fn matches_of_bytes(text: &[u8], part: &[u8]) -> Vec<usize> {
    // For each length of a beginning of `part`: how long the longest shorter beginning is that also ends it.
    let mut borders = vec![0_usize; part.len()];
    let follow = |borders: &[usize], mut length: usize, byte: u8| {
        while length > 0 && part.get(length) != Some(&byte) {
            length = borders.get(length - 1).copied().unwrap_or(0);
        }
        length + usize::from(part.get(length) == Some(&byte))
    };
    let mut length = 0;
    for (at, byte) in part.iter().enumerate().skip(1) {
        length = follow(&borders, length, *byte);
        if let Some(border) = borders.get_mut(at) {
            *border = length;
        }
    }
    let mut found = Vec::new();
    length = 0;
    for (at, byte) in text.iter().enumerate() {
        length = follow(&borders, length, *byte);
        if length == part.len() {
            found.push(at + 1 - length);
            length = 0;
        }
    }
    found
}

/// Puts spaces in front of each line that is not empty.
pub(crate) fn indent(out: &mut Sink, spaces: Option<&GoValue>, text: &[u8]) -> Result<(), Fault> {
    let Some(GoValue::Int(spaces)) = spaces else {
        return Ok(());
    };
    let spaces = usize::try_from(*spaces).map_err(|_| Fault::value("the number of spaces of indent is negative"))?;
    let mut at_start = true;
    for byte in text {
        if at_start && *byte != b'\n' {
            out.repeat(b' ', spaces);
        }
        out.push(*byte);
        at_start = *byte == b'\n';
        if out.full() {
            break;
        }
    }
    Ok(())
}

pub(crate) fn sha256_hex(out: &mut Sink, text: &[u8]) {
    for byte in ring::digest::digest(&ring::digest::SHA256, text).as_ref() {
        out.str(&format!("{byte:02x}"));
    }
}
