//! Real readers read back what the formats write: `sh`, and a YAML 1.1 parser.

use std::io::Write;
use std::process::{Command, Stdio};

use podkey::plan::Format;
use proptest::prelude::*;
use serde_json::{Map, Value};

use crate::support;

fn rendered(object: &Value, format: Format) -> Vec<u8> {
    support::rendered::rendered(&object.to_string(), None, format).unwrap()
}

fn numbered(values: &[String]) -> Value {
    let fields: Map<String, Value> = values
        .iter()
        .enumerate()
        .map(|(n, value)| (format!("V{n}"), value.clone().into()))
        .collect();
    Value::Object(fields)
}

proptest! {
    // Each case starts a shell.
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn sh_gives_every_value_back(values in proptest::collection::vec("(?s)[^\u{0}]{0,40}", 1..5)) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("f"), rendered(&numbered(&values), Format::Dotenv)).unwrap();
        let names: Vec<String> = (0..values.len()).map(|n| format!("\"$V{n}\"")).collect();
        let script = format!("set -u; . ./f; printf '%s\\0' {}", names.join(" "));
        let output = Command::new("sh").args(["-c", &script]).current_dir(&dir).env_clear().output().unwrap();
        let read: Vec<&[u8]> = output.stdout.split(|b| *b == 0).take(values.len()).collect();
        prop_assert_eq!(read, values.iter().map(String::as_bytes).collect::<Vec<_>>());
    }
}

#[test]
fn a_yaml_1_1_parser_returns_every_value_unchanged() {
    let hostile: Vec<String> = [
        "",
        "on",
        "~",
        "1.10",
        "0x1f",
        "12:30:00",
        " lead",
        "a: b # c",
        "- x",
        "&a *b !c",
        "%d",
        "{a: b}",
        "'\"\\",
        "line\nline\r\n\ttab",
        "\u{0}\u{7}\u{7f}\u{85}\u{a0}\u{2028}\u{2029}\u{feff}\u{fffd}\u{fffe}\u{ffff}",
        "\u{1f600}\u{10fffe}\u{1fffe}\u{e000}",
        "\u{d7ff}",
    ]
    .map(str::to_owned)
    .to_vec();
    let mut object = numbered(&hostile);
    for key in ["on", "null", "a b", "k\u{e4}y", "", "-", "#", "\u{2028}", "1"] {
        object[key] = Value::from(key);
    }
    object["long ".repeat(300).as_str()] = Value::from("long");
    object["nested"] = serde_json::json!({"a": [1, 2.5, null, true, {"b": hostile}], "": {}});
    // Strict: what the parser gives must be equal as JSON.
    let script = "import json, sys\ntry:\n import yaml\nexcept ImportError:\n sys.exit(9)\n\
                  print(json.dumps(yaml.safe_load(sys.stdin.buffer.read())))";
    let child = Command::new("python3")
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let Ok(mut child) = child else {
        eprintln!("skipped: no python3");
        return;
    };
    child
        .stdin
        .take()
        .unwrap()
        .write_all(&rendered(&object, Format::Yaml))
        .unwrap();
    let output = child.wait_with_output().unwrap();
    if output.status.code() == Some(9) {
        eprintln!("skipped: python3 has no PyYAML");
        return;
    }
    assert!(output.status.success());
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap(), object);
}
