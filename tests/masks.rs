//! The law of masks: whatever the fields of a secret are, and in whichever format podkey writes the file, a log that prints the
//! file, its values or their lines, as they are or as shells spell them, shows none of them. The masks go through the runner of
//! `support/runner.rs`, which adds the forms that GitHub's adds, and nothing else.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code outside of #[test] functions"
)]

mod support;

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt as _;
use std::process::Command;

use podkey::job::masks::{COMMON, Masks};
use podkey::plan::{Format, Mask};
use proptest::prelude::*;
use serde_json::Value;

use support::rendered::rendered;
use support::runner::Runner;

const FORMATS: [Format; 4] = [Format::Json, Format::Yaml, Format::Dotenv, Format::Properties];

/// The file that podkey makes of a secret, or of one of its fields. None: the format cannot hold that.
fn file(fields: &BTreeMap<String, Value>, key: Option<&str>, format: Format) -> Option<Vec<u8>> {
    rendered(&serde_json::to_string(fields).unwrap(), key, format)
}

/// A runner that read the masks of a file from a hook's output.
fn runner(format: Format, file: &[u8]) -> Runner {
    let mut masks = Masks::new(Mask::Smart);
    masks.add("FILE", format, file);
    let mut runner = Runner::new();
    let print = |commands: &[u8]| -> Result<(), ()> {
        runner.read(std::str::from_utf8(commands).unwrap());
        Ok(())
    };
    masks.commands(print).unwrap();
    runner
}

/// A log as the runner shows it, line by line. No mask has a line break, so all lines are masked at once.
fn log(runner: &Runner, printed: &str) -> Vec<String> {
    let shown = runner.masked(&printed.replace('\r', "\n"));
    shown.split('\n').map(str::to_owned).collect()
}

/// Whether the rule hides a text of one line. What is short, common, a small number or the name of a field stays in sight.
fn is_hidden(text: &str) -> bool {
    let text = text.trim();
    let chars = text.chars().count();
    let is_number = text.bytes().all(|b| b.is_ascii_digit() || b"+-.,_eE".contains(&b));
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    chars >= 4
        && (chars >= 8 || text.chars().any(char::is_alphanumeric))
        && !COMMON.iter().any(|word| word.eq_ignore_ascii_case(text))
        && !(is_number && digits < 6)
        // The runner's own stars.
        && !text.chars().all(|c| c == '*')
}

/// What the rule hides of a line of a value of several lines. Such a value may be a file of its own, whose names are no secret.
fn hidden_part(line: &str) -> Option<&str> {
    let line = line.trim();
    let is_name = |c: char| c.is_alphanumeric() || "_.-/ \"'".contains(c);
    let bare = line.trim_start_matches(['-', ' ', '\t']);
    let bare = bare.strip_prefix("export ").unwrap_or(bare);
    let named = bare
        .split_once([':', '='])
        .filter(|(name, _)| name.chars().all(is_name));
    let begins_a_structure = line.starts_with(|c: char| "{[|>&!#\"'-}],".contains(c));
    match named {
        Some((_, value)) => {
            let value = value.trim();
            Some(value)
                .filter(|value| is_hidden(value) && value.chars().all(char::is_alphanumeric) && line.contains(": "))
        }
        None => {
            Some(line).filter(|line| is_hidden(line) && line.chars().any(char::is_alphanumeric) && !begins_a_structure)
        }
    }
}

/// What of a value must not be seen: the whole, or its lines.
fn parts(value: &str) -> Vec<&str> {
    let value = value.trim_matches(['\n', '\r']);
    let value = value.strip_prefix('\u{feff}').unwrap_or(value);
    match value.contains(['\n', '\r']) {
        false => Some(value.trim()).into_iter().filter(|text| is_hidden(text)).collect(),
        true => value.split(['\n', '\r']).filter_map(hidden_part).collect(),
    }
}

/// As bash's and dash's `set -x` and `export -p` print a value: between apostrophes, in double quotes, between `$'` and `'`.
fn spelled(value: &str) -> Vec<String> {
    let mut double = String::new();
    let mut ansi = String::new();
    let mut octal = String::new();
    for c in value.chars() {
        if matches!(c, '"' | '\\' | '$' | '`') {
            double.push('\\');
        }
        double.push(c);
        let escape = match c {
            '\'' | '\\' => format!("\\{c}"),
            '\n' => "\\n".to_owned(),
            '\r' => "\\r".to_owned(),
            '\t' => "\\t".to_owned(),
            '\u{1b}' => "\\E".to_owned(),
            '\u{7}' => "\\a".to_owned(),
            '\u{8}' => "\\b".to_owned(),
            '\u{b}' => "\\v".to_owned(),
            '\u{c}' => "\\f".to_owned(),
            '\0'..='\u{1f}' | '\u{7f}' => format!("\\{:03o}", u32::from(c)),
            c => c.to_string(),
        };
        ansi.push_str(&escape);
        match c.is_ascii() {
            true => octal.push_str(&escape),
            false => octal.extend(c.to_string().bytes().map(|byte| format!("\\{byte:03o}"))),
        }
    }
    vec![
        value.replace('\'', r"'\''"),
        value.replace('\'', r#"'"'"'"#),
        double,
        ansi,
        octal,
    ]
}

fn awkward() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[a-zA-Z0-9]{1,8}",
        4 => "[:=\\\\'\"#!$`&<>|;,{}\\[\\]()*?%@~^ \t-]{1,4}",
        1 => "[\n\r]{1,2}",
        1 => "[\u{e4}\u{20ac}\u{1f511}\u{2028}\u{85}\u{7f}\u{1}\u{1b}\u{feff}]{1,2}",
        1 => any::<String>(),
        1 => Just("x".repeat(300)),
        1 => Just("it's".to_owned()),
    ];
    proptest::collection::vec(piece, 0..7).prop_map(|pieces| pieces.concat())
}

fn fields() -> impl Strategy<Value = BTreeMap<String, Value>> {
    let value = prop_oneof![
        8 => awkward().prop_map(Value::from),
        1 => any::<i32>().prop_map(Value::from),
        1 => any::<bool>().prop_map(Value::from),
        2 => proptest::collection::vec(awkward(), 1..3).prop_map(Value::from),
        1 => awkward().prop_map(|text| serde_json::json!({"nested": {"key": text}})),
    ];
    proptest::collection::btree_map(prop_oneof!["[A-Za-z_]{1,12}", awkward()], value, 1..4)
}

/// The strings in a value: of a format that has no lists of its own, what is nested is one text of JSON.
fn strings(value: &Value, format: Format) -> Vec<String> {
    match (value, format) {
        (Value::String(text), _) => vec![text.clone()],
        (Value::Array(values), Format::Json | Format::Yaml) => {
            values.iter().flat_map(|value| strings(value, format)).collect()
        }
        (Value::Object(members), Format::Json | Format::Yaml) => {
            members.values().flat_map(|value| strings(value, format)).collect()
        }
        (Value::Array(_) | Value::Object(_), _) => vec![value.to_string()],
        _ => Vec::new(),
    }
}

/// Insists that no part of the values is seen.
fn check(format: Format, file: &[u8], values: &[String]) -> Result<(), TestCaseError> {
    let runner = runner(format, file);
    let mut printed = vec![String::from_utf8_lossy(file).into_owned()];
    for value in values {
        printed.extend([value.clone(), format!("+ echo '{value}'")]);
        printed.extend(spelled(value));
    }
    let shown = log(&runner, &printed.join("\n"));
    let parts: Vec<&str> = values.iter().flat_map(|value| parts(value)).collect();
    for part in &parts {
        let line = shown.iter().find(|line| line.contains(part));
        prop_assert!(line.is_none(), "{:?} is in sight: {:?}", part, line);
    }
    // Nor as it is spelled there.
    let forms: Vec<String> = parts.into_iter().flat_map(spelled).collect();
    for (form, line) in forms.iter().zip(log(&runner, &forms.join("\n"))) {
        let is_hidden = line.trim_matches(['*', '\'', '"', '\\', ' ']).is_empty();
        prop_assert!(is_hidden, "{}: {}", form, line);
    }
    Ok(())
}

fn named(fields: BTreeMap<String, Value>, format: Format) -> BTreeMap<String, Value> {
    // Names that the format takes, and that make no Kubernetes object.
    let name = |(n, (name, value)): (usize, (String, Value))| match format {
        Format::Dotenv => (format!("X{n}"), value),
        _ => (format!("{name}-{n}"), value),
    };
    fields.into_iter().enumerate().map(name).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_value_of_a_file_that_podkey_wrote_is_in_sight(fields in fields()) {
        for format in FORMATS {
            let fields = named(fields.clone(), format);
            let values: Vec<String> = fields.values().flat_map(|value| strings(value, format)).collect();
            if let Some(file) = file(&fields, None, format) {
                check(format, &file, &values)?;
            }
            for (key, value) in &fields {
                if let Some(file) = file(&fields, Some(key), format) {
                    check(format, &file, &strings(value, format))?;
                }
                if let (Value::String(text), Some(file)) = (value, file(&fields, Some(key), Format::Raw)) {
                    check(Format::Raw, &file, std::slice::from_ref(text))?;
                }
            }
        }
    }
}

/// The values of the attack, each of which stayed in sight in one format or another.
const ATTACKED: [&str; 12] = [
    "pa:ss=w0rd#1!x",
    r"C:\new\folder\s3cret",
    "it's a s3cret",
    "'s3cret99'",
    "don't'say's3cret",
    "p\u{e4}ssw\u{f6}rd-\u{1f511}",
    "first line of 2\nsecond's line",
    " leading s3cret",
    "trailing s3cret ",
    "tab\there\rand CR s3cret",
    "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkq\nhkiG9w0BAQEFAASC\n-----END PRIVATE KEY-----\n",
    "a\u{1}b\u{1b}c\u{7f}s3cret",
];

#[test]
fn properties_and_dotenv_left_values_in_sight_that_they_had_to_escape() {
    for value in ATTACKED {
        let fields: BTreeMap<String, Value> = [
            ("KEY".to_owned(), value.into()),
            ("OTHER".to_owned(), "another-s3cret".into()),
        ]
        .into();
        for format in FORMATS {
            for key in [None, Some("KEY")] {
                let file = file(&fields, key, format).unwrap();
                check(format, &file, &[value.to_owned()]).unwrap();
            }
        }
    }
}

#[test]
fn every_inner_line_of_a_pem_key_inside_properties_was_in_sight() {
    let key = ATTACKED[10];
    let fields: BTreeMap<String, Value> = [
        ("tls.key".to_owned(), key.into()),
        ("x".to_owned(), "another-s3cret".into()),
    ]
    .into();
    let file = file(&fields, None, Format::Properties).unwrap();
    let runner = runner(Format::Properties, &file);
    assert_eq!(
        log(&runner, key),
        [
            "-----BEGIN PRIVATE KEY-----",
            "***",
            "***",
            "-----END PRIVATE KEY-----",
            ""
        ]
    );
    assert_eq!(
        log(&runner, &String::from_utf8(file).unwrap()),
        ["tls.key=***", "x=***", ""]
    );
}

#[test]
fn every_form_of_a_value_that_a_real_shell_prints_is_hidden() {
    // `declare -p` is bash's own.
    let scripts = [
        (
            "bash",
            "export -p; set -x; : \"$VALUE\"; X=$VALUE; declare -p VALUE; printf '%q\\n' \"$VALUE\"; set",
        ),
        ("dash", "export -p; set -x; : \"$VALUE\"; X=$VALUE; set"),
        ("busybox", "export -p; set -x; : \"$VALUE\"; X=$VALUE; set"),
    ];
    for value in ATTACKED.into_iter().chain(["pa$w`rd\"99\\x", "!h~x#y*z?[q]{,}^"]) {
        let runner = runner(Format::Raw, value.as_bytes());
        for (shell, script) in scripts {
            for locale in ["C", "C.UTF-8"] {
                let mut command = Command::new(shell);
                if shell == "busybox" {
                    command.arg("sh");
                }
                let output = command
                    .args(["-c", script])
                    .env("LC_ALL", locale)
                    .env("VALUE", std::ffi::OsStr::from_bytes(value.as_bytes()))
                    .output();
                let Ok(output) = output else {
                    // No such shell here; bash always is, for the runner needs one.
                    assert_ne!(shell, "bash");
                    continue;
                };
                let printed = [output.stdout, output.stderr].concat();
                let shown = log(&runner, &String::from_utf8_lossy(&printed)).join("\n");
                for part in parts(value)
                    .into_iter()
                    .flat_map(|part| [part.to_owned()].into_iter().chain(spelled(part)))
                {
                    assert!(
                        !shown.contains(&part),
                        "{shell} in {locale}: {part:?} of {value:?} in {shown}"
                    );
                }
                // The words of which no form may be seen.
                for word in ["s3cret", "w0rd", "second", "MIIE"] {
                    let is_in = value.contains(word) && shown.contains(word);
                    assert!(!is_in, "{shell} in {locale}: {word} of {value:?} in {shown}");
                }
            }
        }
    }
}

#[test]
fn lines_hides_each_line_of_each_field_whatever_the_format() {
    let fields: BTreeMap<String, Value> = [("k".to_owned(), "a:b\nit's".into())].into();
    for format in FORMATS {
        let mut masks = Masks::new(Mask::Lines);
        masks.add("FILE", format, &file(&fields, None, format).unwrap());
        for line in ["a:b", "it's"] {
            assert!(masks.iter().any(|mask| mask == line), "{format:?}: {line}");
        }
    }
}
