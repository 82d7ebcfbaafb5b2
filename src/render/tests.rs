//! The text of each format, and the values that it refuses. `tests/agent/formats.rs` reads the files with real readers.

use proptest::prelude::*;

use super::*;
use crate::plan::SecretRequest;

fn file(key: Option<&str>, decode: Decode, format: Format) -> SecretContent {
    SecretContent {
        request: SecretRequest::read("kv/data/web".parse().unwrap()),
        part: key.map_or(Part::Whole, |key| Part::Key(key.to_owned())),
        decode,
        format,
    }
}

/// The content of the file of a whole secret, or of one field.
pub(crate) fn rendered(json: &str, key: Option<&str>, format: Format) -> Result<String, RenderError> {
    let fields = Fields::parse(json).unwrap();
    render(&file(key, Decode::None, format), &fields).map(|bytes| String::from_utf8(bytes.expose().to_vec()).unwrap())
}

#[test]
fn raw_is_the_field_and_nothing_else() {
    let json = r#"{"text":"{{ .x }} $(HOME) \u00e4\n","big":12345678901234567890,"exact":1.10,"exp":1E+2,
        "yes":true,"nested":{ "a" : [ 1.10 , "x y" ] },"empty":""}"#;
    for (key, text) in [
        ("text", "{{ .x }} $(HOME) \u{e4}\n"),
        ("big", "12345678901234567890"),
        ("exact", "1.10"),
        ("exp", "1E+2"),
        ("yes", "true"),
        ("nested", r#"{"a":[1.10,"x y"]}"#),
        ("empty", ""),
    ] {
        assert_eq!(rendered(json, Some(key), Format::Raw).unwrap(), text, "{key}");
    }
}

#[test]
fn a_field_that_is_null_or_missing_is_reported_with_the_names_of_existing_fields() {
    let null = rendered(r#"{"a":"canary","none":null}"#, Some("none"), Format::Raw).unwrap_err();
    assert!(null.to_string().contains("\"none\" is null"), "{null}");
    for key in ["gone", "A"] {
        let error = rendered(r#"{"a":"canary","none":null}"#, Some(key), Format::Raw).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains(&format!("{key:?}")) && text.contains("2 fields"),
            "{text}"
        );
        assert!(!text.contains("canary"), "{text}");
    }
    let many: Vec<String> = (0..50).map(|n| format!("\"f{n}\":1")).collect();
    let text = rendered(&format!("{{{}}}", many.join(",")), Some("x"), Format::Raw)
        .unwrap_err()
        .to_string();
    assert!(text.contains("50 fields") && text.len() < 300, "{text}");
}

#[test]
fn json_keeps_every_token_of_the_server() {
    let json = "{ \"b\" : 1.10,\n \"a\" : \"x \\u003c \\\" y\" , \"n\": null }";
    assert_eq!(
        rendered(json, None, Format::Json).unwrap(),
        r#"{"b":1.10,"a":"x \u003c \" y","n":null}"#
    );
    assert_eq!(rendered(json, Some("a"), Format::Json).unwrap(), r#""x < \" y""#);
    assert_eq!(rendered(json, Some("b"), Format::Json).unwrap(), "1.10");
}

#[test]
fn yaml_has_one_line_for_each_field_and_yaml_1_1_and_1_2_read_equal_values() {
    let json =
        r#"{"a":"x: #y","no":"on","k k":"\u0085\u2028\ufeff\u0007\u007f","n":null,"o":{"p":[1.10,"\ud83d\ude00\/"]}}"#;
    assert_eq!(
        rendered(json, None, Format::Yaml).unwrap(),
        "a: \"x: #y\"\n\"k k\": \"\\u0085\\u2028\\ufeff\\u0007\\u007f\"\n\"n\": null\n\"no\": \"on\"\no: {\"p\": [1.10, \"\u{1f600}/\"]}\n"
    );
    assert_eq!(rendered("{}", None, Format::Yaml).unwrap(), "{}\n");
    assert_eq!(rendered(json, Some("a"), Format::Yaml).unwrap(), "\"x: #y\"\n");
}

#[test]
fn yaml_marks_keys_in_which_a_parser_does_not_find_the_colon() {
    let long = "k".repeat(161);
    let nested = rendered(
        &format!(r#"{{"o":{{"{long}":{{"a":1}},"b":"{long}"}}}}"#),
        None,
        Format::Yaml,
    );
    assert_eq!(
        nested.unwrap(),
        format!("o: {{? \"{long}\": {{\"a\": 1}}, \"b\": \"{long}\"}}\n")
    );
    let first = rendered(&format!(r#"{{"{long}":1}}"#), None, Format::Yaml);
    assert_eq!(first.unwrap(), format!("? {long}\n: 1\n"));
    // The longest keys that get no mark. Each byte of them becomes six characters in the file.
    let escaped = serde_json::json!({"o": {"\u{1}".repeat(26): 1}, "\u{1}".repeat(160): 2}).to_string();
    for line in rendered(&escaped, None, Format::Yaml).unwrap().lines() {
        let before = line.find("\":").unwrap();
        assert!(before < 1024 && !line.contains("? "), "{before}: {line}");
    }
}

#[test]
fn dotenv_takes_a_name_that_the_author_chose() {
    let one = rendered(r#"{"GITHUB_PAT":"x"}"#, Some("GITHUB_PAT"), Format::Dotenv);
    assert_eq!(one.unwrap(), "GITHUB_PAT=x\n");
    assert!(rendered(r#"{"GITHUB_PAT":"x"}"#, None, Format::Dotenv).is_err());
}

#[test]
fn dotenv_refuses_variables_that_would_take_over_a_shell_or_a_job() {
    for name in [
        "PATH",
        "LD_PRELOAD",
        "BASH_ENV",
        "ENV",
        "IFS",
        "NODE_OPTIONS",
        "PYTHONPATH",
        "PYTHONSTARTUP",
        "GITHUB_ENV",
        "RUNNER_TEMP",
        "ACTIONS_X",
        "a-b",
        "1a",
        "",
        "a=b",
        "a b",
        "x;id",
        "\u{e4}",
    ] {
        let error = rendered(&format!("{{{name:?}:\"canary\"}}"), None, Format::Dotenv).expect_err(name);
        assert!(
            matches!(&error, RenderError::Format { field, .. } if field == name),
            "{error}"
        );
        assert!(!error.to_string().contains("canary"), "{error}");
    }
    assert!(
        rendered(r#"{"A":"x\u0000y"}"#, None, Format::Dotenv)
            .unwrap_err()
            .to_string()
            .contains("NUL")
    );
    assert_eq!(
        rendered(
            r#"{"A":"plain-1.2","B":"it's","C":"","D":null,"E":1.10,"F":[1, 2]}"#,
            None,
            Format::Dotenv
        )
        .unwrap(),
        "A=plain-1.2\nB='it'\\''s'\nC=''\nE=1.10\nF='[1,2]'\n"
    );
}

#[test]
fn properties_are_escaped_as_java_reads_them() {
    assert_eq!(
        rendered(
            r#"{"a b:=#!":" x=y\n\\","u":"\u00e4\ud83d\ude00","n":null}"#,
            None,
            Format::Properties
        )
        .unwrap(),
        "a\\ b\\:\\=\\#\\!=\\ x\\=y\\n\\\\\nu=\\u00E4\\uD83D\\uDE00\n"
    );
}

#[test]
fn decoded_bytes_that_are_not_text_need_the_format_raw() {
    let fields = Fields::parse(r#"{"B":"/w==","T":"aGk="}"#).unwrap();
    let one = |key, format| render(&file(Some(key), Decode::Base64, format), &fields);
    assert_eq!(one("B", Format::Raw).unwrap().expose(), [0xff]);
    assert_eq!(one("T", Format::Dotenv).unwrap().expose(), b"T=hi\n");
    for format in [Format::Json, Format::Yaml, Format::Dotenv, Format::Properties] {
        assert!(one("B", format).unwrap_err().to_string().contains("binary"));
    }
}

#[test]
fn data_that_is_not_an_object_with_distinct_fields_is_refused() {
    for json in ["[]", "1", "null", r#"{"a":1,"a":2}"#, r#"{"a":1,"\u0061":2}"#, ""] {
        assert!(Fields::parse(json).is_err(), "{json}");
    }
    let lone = rendered(r#"{"a":"\ud800"}"#, Some("a"), Format::Raw).unwrap_err();
    assert!(matches!(lone, RenderError::NotText { .. }), "{lone}");
}

proptest! {
    #[test]
    fn readers_get_every_value_back_from_raw_and_json(value in any::<String>()) {
        let json = serde_json::json!({"k": value}).to_string();
        prop_assert_eq!(&rendered(&json, Some("k"), Format::Raw).unwrap(), &value);
        let quoted = rendered(&json, Some("k"), Format::Json).unwrap();
        prop_assert_eq!(serde_json::from_str::<String>(&quoted).unwrap(), value);
    }

    #[test]
    fn no_error_contains_a_value(value in "canary[ -~]{0,20}", decode in 0..3_usize) {
        let fields_json = serde_json::json!({"k": value}).to_string();
        let fields = Fields::parse(&fields_json).unwrap();
        let decode = [Decode::Base64, Decode::Base64url, Decode::Hex][decode];
        if let Err(error) = render(&file(Some("k"), decode, Format::Dotenv), &fields) {
            let shown = format!("{error} {error:?}");
            prop_assert!(!shown.contains("canary"));
        }
    }
}

fn each(name: &str, decode: Decode, json: &str) -> Result<Vec<(String, Vec<u8>)>, RenderError> {
    let planned = file(None, decode, Format::Raw);
    let files = render_all(&planned, &name.parse().unwrap(), &Fields::parse(json).unwrap())?;
    let shown = files
        .into_iter()
        .map(|(file, bytes)| (file.to_string(), bytes.expose().to_vec()));
    Ok(shown.collect())
}

#[test]
fn each_field_becomes_a_separate_file() {
    let json = r#"{"user":"web","port":5432,"none":null,"Nested":{ "a":1 }}"#;
    let name = "db/{{ .SecretKey | uppercase }}.txt";
    let made = each(name, Decode::None, json).unwrap();
    let expected = [
        ("db/NESTED.txt", r#"{"a":1}"#),
        ("db/PORT.txt", "5432"),
        ("db/USER.txt", "web"),
    ];
    assert_eq!(
        made,
        expected.map(|(file, text)| (file.to_owned(), text.as_bytes().to_vec()))
    );
    let decoded = each("{{ .SecretKey }}", Decode::Base64, r#"{"key":"/wA=\n"}"#).unwrap();
    assert_eq!(decoded, [("key".to_owned(), vec![0xff, 0])]);
    assert_eq!(each(name, Decode::None, "{}").unwrap(), []);
}

#[test]
fn a_field_that_cannot_name_a_file_or_shares_its_name_is_reported() {
    let problem = |name: &str, json: &str| each(name, Decode::None, json).unwrap_err().to_string();
    let long = format!(r#"{{"{}":"canary"}}"#, "x".repeat(256));
    for field in [
        r#"{"a/b":"canary"}"#,
        r#"{"../../etc/passwd":"canary"}"#,
        r#"{".":"canary"}"#,
        r#"{"..":"canary"}"#,
        r#"{"":"canary"}"#,
        r#"{"a\u0000b":"canary"}"#,
        r#"{"a\nb":"canary"}"#,
        r#"{"a:b":"canary"}"#,
        r#"{"..data":"canary"}"#,
        r#"{".status.json":"canary"}"#,
        &long,
    ] {
        // Beside a valid field: still no file at all.
        let json = field.replace('}', r#","good":"canary"}"#);
        let text = problem("{{ .SecretKey }}", &json);
        assert!(text.contains("for the field") && !text.contains("canary"), "{text}");
    }
    let text = problem(
        "x/{{ .SecretKey | lowercase }}",
        r#"{"Token":"canary","TOKEN":"canary"}"#,
    );
    assert!(
        text.contains("\"TOKEN\" and \"Token\"") && text.contains("x/token"),
        "{text}"
    );
    assert!(!text.contains("canary"), "{text}");
    // A problem of a value is reported with the name of the field.
    let text = each("{{ .SecretKey }}", Decode::Hex, r#"{"a":"00","b":"canary"}"#)
        .unwrap_err()
        .to_string();
    assert!(text.contains("\"b\"") && !text.contains("canary"), "{text}");
    let many: Vec<String> = (0..=MAX_FIELD_FILES).map(|n| format!("\"f{n}\":1")).collect();
    assert!(problem("{{ .SecretKey }}", &format!("{{{}}}", many.join(","))).contains("257 fields"));
}

#[test]
fn a_list_of_pem_blocks_is_written_as_pem() {
    let block = |n: u8| format!("-----BEGIN CERTIFICATE-----\\n{n}\\n-----END CERTIFICATE-----");
    let (one, two) = (block(1), block(2));
    let json = format!(
        r#"{{"ca_chain":["{one}","{two}\n"],"one":["{one}"],"mixed":["{one}","x"],"empty":[],"deep":[["{one}"]],"texts":["-----BEGIN x-----"]}}"#
    );
    let lines = |text: &str| text.replace("\\n", "\n");
    let raw = |key: &str| rendered(&json, Some(key), Format::Raw).unwrap();
    assert_eq!(raw("ca_chain"), format!("{}\n{}\n", lines(&one), lines(&two)));
    assert_eq!(raw("one"), format!("{}\n", lines(&one)));
    assert_eq!(raw("mixed"), format!(r#"["{one}","x"]"#));
    assert_eq!(raw("empty"), "[]");
    assert_eq!(raw("deep"), format!(r#"[["{one}"]]"#));
    assert_eq!(raw("texts"), r#"["-----BEGIN x-----"]"#);
    assert_eq!(
        rendered(&json, Some("one"), Format::Json).unwrap(),
        format!(r#"["{one}"]"#),
        "only raw"
    );
    let files = each("{{ .SecretKey }}", Decode::None, &json).unwrap();
    assert!(files.contains(&("one".into(), format!("{}\n", lines(&one)).into_bytes())));
}
