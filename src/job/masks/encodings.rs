//! The encodings of a secret that the runner does not mask without podkey: base64 inside a longer base64 text, base64url, hex,
//! wrapped base64. And decoding: the text that a secret encodes in base64.

use base64::engine::{DecodePaddingMode, Engine, GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

const CONFIG: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_encode_padding(false)
    .with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&base64::alphabet::STANDARD, CONFIG);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&base64::alphabet::URL_SAFE, CONFIG);

/// The length of lines of `openssl base64` and PEM, and of `base64` and MIME. A line of either length is whole groups of three bytes.
const WIDTHS: [usize; 2] = [64, 76];
/// The encodings of fewer bytes are so short that they occur in any log.
const MIN_ENCODED_BYTES: usize = 8;
/// In a value of more bytes, the last two bytes get no masks of their own.
const LONG: usize = 64;
const HEX: [&[u8; 16]; 2] = [b"0123456789abcdef", b"0123456789ABCDEF"];
/// Fewer characters in the last line of wrapped base64 reveal little and occur in any log.
const MIN_WRAPPED_CHARS: usize = 8;

/// Passes each encoding without line breaks to `add`. `is_masked`: the value is a mask, so the runner makes some encodings.
pub(super) fn each(value: &[u8], is_masked: bool, mut add: impl FnMut(String)) {
    if value.len() < MIN_ENCODED_BYTES {
        return;
    }
    // Inside a longer text the value begins at any of three places of a group, and its last group may contain bytes of the text
    // after the value. The groups in between depend on the value alone.
    for dropped in 0..3 {
        let rest = &value[dropped..];
        let groups = &rest[..rest.len() / 3 * 3];
        let standard = STANDARD.encode(groups);
        if let Some(url_safe) = url_safe(&standard) {
            add(url_safe);
        }
        // Without padding, the runner's own encoder makes these groups.
        if !is_masked || groups.len() < rest.len() {
            add(standard);
        }
    }
    // The last group, where the value ends or a line feed follows (`echo "$SECRET" | base64`). For a long value, [`wrapped`] has
    // that group if the value is wrapped; otherwise the group reveals nothing.
    if value.len() <= LONG {
        if !value.len().is_multiple_of(3) {
            let standard = STANDARD.encode(value);
            if let Some(url_safe) = url_safe(&standard) {
                add(url_safe);
            }
            add(standard);
        }
        add(STANDARD.encode([value, b"\n"].concat()));
    }
    for digits in HEX {
        let mut hex = vec![0; 2 * value.len()];
        for (pair, byte) in hex.chunks_exact_mut(2).zip(value) {
            // Not as one slice: a compiler that optimises for size would copy these two bytes by a slow call.
            pair[0] = digits[usize::from(byte >> 4)];
            pair[1] = digits[usize::from(byte & 15)];
        }
        if let Ok(hex) = String::from_utf8(hex) {
            add(hex);
        }
    }
}

/// Base64url, if it differs from base64.
fn url_safe(standard: &str) -> Option<String> {
    let differs = standard.contains('+') || standard.contains('/');
    differs.then(|| standard.replace('+', "-").replace('/', "_"))
}

/// The most lines that [`wrapped`] makes.
pub(super) fn wrapped_lines(bytes: usize) -> usize {
    let chars = bytes.div_ceil(3) * 4;
    if chars <= WIDTHS[0] {
        return 0;
    }
    // The last line has two forms.
    WIDTHS.iter().map(|width| chars.div_ceil(*width) + 2).sum()
}

/// Passes each line of wrapped base64 to `add`, with and without a line feed at the value's end.
pub(super) fn wrapped(value: &[u8], mut add: impl FnMut(String)) {
    if wrapped_lines(value.len()) == 0 {
        return;
    }
    let with_newline = [value, b"\n"].concat();
    for width in WIDTHS {
        let of_a_line = width / 4 * 3;
        for line in value.chunks(of_a_line) {
            add_line(line, &mut add);
        }
        if let Some(last) = with_newline.chunks(of_a_line).next_back() {
            add_line(last, &mut add);
        }
    }
}

fn add_line(bytes: &[u8], add: &mut impl FnMut(String)) {
    let line = STANDARD.encode(bytes);
    if line.len() >= MIN_WRAPPED_CHARS {
        add(line);
    }
}

/// The text that this text encodes in base64 or base64url, with or without line breaks. None: the text is not base64, or encodes
/// binary data.
pub(super) fn text_of_base64(text: &str, least: usize) -> Option<Zeroizing<String>> {
    let is_space = |b: &u8| matches!(b, b' ' | b'\t' | b'\r' | b'\n');
    let is_base64 = |b: u8| b.is_ascii_alphanumeric() || b"+/-_=".contains(&b);
    // Most texts are not base64: the first character of another kind ends the check.
    if text.len() < least || !text.bytes().all(|b| is_base64(b) || is_space(&b)) {
        return None;
    }
    let without_space: Zeroizing<Vec<u8>>;
    let packed = if text.bytes().any(|b| is_space(&b)) {
        without_space = Zeroizing::new(text.bytes().filter(|b| !is_space(b)).collect());
        without_space.as_slice()
    } else {
        text.as_bytes()
    };
    let engine = if packed.contains(&b'-') || packed.contains(&b'_') {
        URL_SAFE
    } else {
        STANDARD
    };
    let bytes = Zeroizing::new(engine.decode(packed).ok()?);
    let decoded = std::str::from_utf8(&bytes).ok()?;
    let is_text = packed.len() >= least
        && decoded
            .chars()
            .all(|c| !c.is_control() || matches!(c, '\n' | '\r' | '\t'));
    is_text.then(|| Zeroizing::new(decoded.to_owned()))
}
