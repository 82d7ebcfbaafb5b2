//! Decodes a field's text to bytes. Accepts what common tools write (line breaks, missing padding) and nothing else.

use base64::DecodeError;
use base64::engine::{DecodePaddingMode, Engine, GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

use crate::plan::Decode;

/// Padding is optional: `base64` of coreutils always pads, other tools never do.
const FORGIVING: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&base64::alphabet::STANDARD, FORGIVING);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&base64::alphabet::URL_SAFE, FORGIVING);

/// The decoded bytes. The error is the problem and its place, without any character of the text.
pub(super) fn decode(decode: Decode, text: &[u8]) -> Result<Zeroizing<Vec<u8>>, String> {
    if decode == Decode::None {
        return Ok(Zeroizing::new(text.to_vec()));
    }
    let mut packed = Zeroizing::new(Vec::with_capacity(text.len()));
    packed.extend(
        text.iter()
            .copied()
            .filter(|b| !matches!(b, b' ' | b'\t' | b'\r' | b'\n')),
    );
    match decode {
        Decode::Hex => hex(&packed),
        Decode::Base64url => base64(&URL_SAFE, &packed),
        Decode::None | Decode::Base64 => base64(&STANDARD, &packed),
    }
}

fn base64(engine: &GeneralPurpose, packed: &[u8]) -> Result<Zeroizing<Vec<u8>>, String> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(packed.len() / 4 * 3 + 3));
    match engine.decode_vec(packed, &mut bytes) {
        Ok(()) => Ok(bytes),
        Err(DecodeError::InvalidByte(at, _)) => Err(format!(
            "character {} of {} (spaces and line breaks not counted) does not belong to it",
            at + 1,
            packed.len()
        )),
        Err(DecodeError::InvalidLength(_)) => Err("it ends in the middle of a group".into()),
        Err(DecodeError::InvalidLastSymbol(_, _)) => Err("its last character cannot stand there".into()),
        Err(DecodeError::InvalidPadding) => Err("its padding is wrong".into()),
    }
}

fn hex(packed: &[u8]) -> Result<Zeroizing<Vec<u8>>, String> {
    let digit = |at: usize| match packed[at] {
        b @ b'0'..=b'9' => Ok(b - b'0'),
        b @ b'a'..=b'f' => Ok(b - b'a' + 10),
        b @ b'A'..=b'F' => Ok(b - b'A' + 10),
        _ => Err(format!(
            "character {} of {} is not a hexadecimal digit",
            at + 1,
            packed.len()
        )),
    };
    if !packed.len().is_multiple_of(2) {
        return Err("it has an odd number of digits".into());
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(packed.len() / 2));
    for pair in 0..packed.len() / 2 {
        bytes.push(digit(2 * pair)? << 4 | digit(2 * pair + 1)?);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn base64_of_common_tools_is_decoded() {
        for text in [
            "aGVsbG8gdw==",
            "aGVsbG8gdw",
            "aGVs\nbG8g\ndw==\n",
            " aGVsbG8\r\n gdw= =",
            "aGVsbG8gdw=\t=",
        ] {
            assert_eq!(
                **decode(Decode::Base64, text.as_bytes()).unwrap(),
                *b"hello w",
                "{text:?}"
            );
        }
        assert_eq!(**decode(Decode::Base64, b"").unwrap(), *b"");
        assert_eq!(**decode(Decode::Base64url, b"-_8").unwrap(), [0xfb, 0xff]);
        assert_eq!(**decode(Decode::Hex, b"00 fF\n10").unwrap(), [0, 0xff, 0x10]);
    }

    #[test]
    fn any_other_text_is_an_error_that_does_not_contain_the_text() {
        for (how, text) in [
            (Decode::Base64, "canary!canary"),
            (Decode::Base64, "-_8"),
            (Decode::Base64, "aGVsbG8gd"),
            (Decode::Base64, "aGVs=bG8"),
            (Decode::Base64, "aGVsbG8gdx=="),
            (Decode::Base64, "aGV\u{e4}"),
            (Decode::Base64url, "+/8"),
            (Decode::Hex, "0"),
            (Decode::Hex, "canary"),
        ] {
            let problem = decode(how, text.as_bytes()).expect_err(text);
            assert!(!problem.contains("canary") && !problem.contains(text), "{problem}");
        }
        assert!(
            decode(Decode::Base64, b"AAA\x21")
                .unwrap_err()
                .contains("character 4 of 4")
        );
    }

    proptest! {
        #[test]
        fn every_byte_string_is_decoded_unchanged(bytes in proptest::collection::vec(any::<u8>(), 0..300), width in 1_usize..80) {
            let encoded = STANDARD.encode(&bytes);
            let lines: Vec<&str> = encoded.as_bytes().chunks(width).map(|l| std::str::from_utf8(l).unwrap()).collect();
            prop_assert_eq!(&**decode(Decode::Base64, (lines.join("\n") + "\n").as_bytes()).unwrap(), &bytes);
            let unpadded = URL_SAFE.encode(&bytes).replace('=', "");
            prop_assert_eq!(&**decode(Decode::Base64url, unpadded.as_bytes()).unwrap(), &bytes);
            let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
            prop_assert_eq!(&**decode(Decode::Hex, hex.as_bytes()).unwrap(), &bytes);
        }
    }
}
