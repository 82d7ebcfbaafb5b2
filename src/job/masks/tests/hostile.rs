//! Hostile secrets, made to cost time or memory or to cause a panic.

use super::*;

const FORMATS: [Format; 5] = [
    Format::Raw,
    Format::Json,
    Format::Yaml,
    Format::Dotenv,
    Format::Properties,
];

/// How many bytes of commands a secret makes.
fn printed(format: Format, value: &str) -> usize {
    let mut masks = Masks::new(Mask::Smart);
    masks.add("S", format, value.as_bytes());
    assert!(masks.warnings().iter().all(|warning| warning.len() < 600));
    masks.iter().map(str::len).sum()
}

#[test]
fn the_masks_of_a_repeated_piece_are_in_proportion_to_its_length() {
    const SIZE: usize = 64 * 1024;
    for part in [
        "'",
        "\"",
        "\\",
        "$",
        "&",
        "\u{e4}",
        ":",
        "=",
        "://",
        "a:b@",
        "password=",
        "password=\"",
        "password='\n",
        "://a:b@ ",
        "\\u0041",
        "\\\"",
        "{\\\"",
        "{",
        "[",
        "{\"a\":",
        "a: ",
        "&a ",
        "- ",
        "a=b ",
        "'\\''",
        "A='\\'\n",
        "--password x ",
        "machine a password b ",
        "Basic YTpi ",
        "authorization ",
        "<password>",
        "key=\"a\" value=\"",
        "%41",
        "A=\"x # ",
        "`",
        "a:b\n",
        "\"a\": \"b\", ",
        "x\r",
    ] {
        let value = part.repeat(SIZE / part.len());
        for format in FORMATS {
            let bytes = printed(format, &value);
            assert!(bytes <= 64 * SIZE, "{part:?} as {format:?}: {bytes}");
        }
    }
}

#[test]
fn a_text_inside_many_texts_is_not_examined_each_time() {
    // Each level makes two or more texts of the text of the level before.
    let nested = (0..12).fold("x".repeat(64 * 1024), |text, n| format!("&k{n} \"{text}\" # {n}"));
    for value in [format!("a: {nested}\nb: c\n"), format!("a = {nested}"), nested] {
        assert!(printed(Format::Raw, &value) <= 64 * 64 * 1024);
    }
}

#[test]
fn the_spellings_of_one_job_are_bounded_and_the_limit_is_reported() {
    let mut masks = Masks::new(Mask::Smart);
    for n in 0..600 {
        masks.add(
            "S",
            Format::Raw,
            format!("{n:04}{}", "'\\$\u{e4}".repeat(400)).as_bytes(),
        );
    }
    let total: usize = masks.iter().map(str::len).sum();
    assert!(total < 64 * 1024 * 1024, "{total}");
    let warnings = masks.warnings().concat();
    assert!(warnings.contains("spellings by shells and JSON"), "{warnings}");
}

proptest! {
    #[test]
    fn no_bytes_cause_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        for format in FORMATS {
            for mode in [Mask::Smart, Mask::Lines] {
                let mut masks = Masks::new(mode);
                masks.add("S", format, &bytes);
                masks.warnings();
            }
        }
    }

    #[test]
    fn no_text_with_odd_characters_causes_a_panic(
        text in "(password|machine|login|Basic|authorization|://|\\\\u00|=|:|@|'|\"|\\\\|%4|\\{|\\}|\\[|\\]|<|>|/|\n|\r| |\u{e4}|\u{1f511}|[a-z0-9]){0,60}"
    ) {
        for format in FORMATS {
            let bytes = printed(format, &text);
            prop_assert!(bytes < 64 * 1024 + 2000 * text.len(), "{}", bytes);
        }
    }
}
