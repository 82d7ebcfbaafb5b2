//! The rules of masking, by cases, and by a property of every secret: in whatever form a program prints the secret, no part of
//! the secret is left in the line after the runner has applied the masks.

use base64::engine::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use proptest::prelude::*;

use super::*;

mod hostile;
mod inside;

impl Masks {
    fn len(&self) -> usize {
        self.iter().count()
    }

    fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    fn unmasked(&self) -> &[Unmasked] {
        &self.unmasked
    }
}

fn masks(mode: Mask, value: &str) -> Masks {
    let mut masks = Masks::new(mode);
    masks.add("S", Format::Raw, value.as_bytes());
    masks
}

fn smart(value: &str) -> Masks {
    masks(Mask::Smart, value)
}

/// The text of the warning about a value.
fn unmasked(value: &str) -> String {
    smart(value).unmasked().iter().map(ToString::to_string).collect()
}

/// The masks that are not encodings.
fn texts(value: &str) -> Vec<String> {
    let mut encoded = BTreeSet::new();
    let masks = smart(value);
    for text in masks.iter() {
        spellings::each(text, |form| {
            encoded.insert(form);
        });
        encodings::each(text.as_bytes(), true, |form| {
            encoded.insert(form);
        });
        encodings::wrapped(text.as_bytes(), |form| {
            encoded.insert(form);
        });
    }
    encodings::each(value.trim_end_matches('\n').as_bytes(), false, |form| {
        encoded.insert(form);
    });
    encodings::wrapped(value.trim_end_matches('\n').as_bytes(), |form| {
        encoded.insert(form);
    });
    masks
        .iter()
        .filter(|text| !encoded.contains(*text))
        .map(str::to_owned)
        .collect()
}

/// A log line as the runner shows it: each mask, and each of the runner's own encodings of the mask, becomes `***`. Masks that
/// overlap or touch become one `***`.
fn shown(masks: &Masks, line: &str) -> String {
    let mut hidden = vec![false; line.len()];
    for mask in masks.iter() {
        let bytes = mask.as_bytes();
        let json = serde_json::to_string(mask).unwrap();
        let mut forms = vec![mask.to_owned(), json[1..json.len() - 1].to_owned()];
        forms.extend((0..3).map(|shift| STANDARD.encode(bytes.get(shift..).unwrap_or(bytes))));
        for form in forms.iter().filter(|form| !form.is_empty()) {
            for (at, _) in line.match_indices(form.as_str()) {
                hidden[at..at + form.len()].fill(true);
            }
        }
    }
    let mut shown = String::new();
    for (at, c) in line.char_indices() {
        match (hidden[at], shown.ends_with("***")) {
            (true, true) => {}
            (true, false) => shown.push_str("***"),
            (false, _) => shown.push(c),
        }
    }
    shown
}

const KUBECONFIG: &str = "apiVersion: v1
kind: Config
clusters:
- name: rancher-cluster
  cluster:
    server: https://10.0.0.7:6443
    certificate-authority-data: LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCk1JSUJkekNDQVIyZ0F3SUJBZ0lCQURBSwotLS0tLUVORCBDRVJUSUZJQ0FURS0tLS0tCg==
users:
- name: deployer
  user:
    token: kubeconfig-user-x7k2p:9vzq4hdm
current-context: rancher-cluster
contexts:
- name: rancher-cluster
  context:
    cluster: rancher-cluster
    user: deployer
    namespace: web
preferences: {}
";

#[test]
fn a_kubeconfig_s_secrets_are_hidden_and_its_names_are_not() {
    let texts = texts(KUBECONFIG);
    for hidden in [
        "kubeconfig-user-x7k2p:9vzq4hdm",
        "https://10.0.0.7:6443",
        // The decoded certificate.
        "MIIBdzCCAR2gAwIBAgIBADAK",
    ] {
        assert!(texts.iter().any(|text| text == hidden), "{hidden}: {texts:?}");
    }
    for seen in [
        "rancher-cluster",
        "deployer",
        "v1",
        "Config",
        "web",
        "apiVersion: v1",
        "users:",
        "-----BEGIN CERTIFICATE-----",
    ] {
        assert!(!texts.iter().any(|text| text == seen), "{seen}: {texts:?}");
    }
    assert_eq!(
        unmasked(KUBECONFIG),
        "S: left unmasked: 9 a name in a Kubernetes object (line 1, 2, 4, 9, 12 …)"
    );
    let masks = smart(KUBECONFIG);
    assert_eq!(shown(&masks, "  token: kubeconfig-user-x7k2p:9vzq4hdm"), "  token: ***");
    assert_eq!(
        shown(&masks, "Switched to context \"rancher-cluster\"."),
        "Switched to context \"rancher-cluster\"."
    );
}

#[test]
fn in_other_kubernetes_objects_a_user_may_be_secret() {
    let secret =
        "apiVersion: v1\nkind: Secret\nmetadata: {name: db-login}\nstringData:\n  user: app-7f3k\n  url: db-url-1\n";
    assert!(texts(secret).contains(&"app-7f3k".to_owned()), "{:?}", texts(secret));
    assert!(
        unmasked(secret).contains("3 a name in a Kubernetes object"),
        "{}",
        unmasked(secret)
    );
    assert!(texts("kind: Config\nuser: app-7f3k\n").contains(&"app-7f3k".to_owned()));
}

#[test]
fn a_kubeconfig_in_wrapped_base64_is_hidden_in_both_forms() {
    let encoded = STANDARD.encode(KUBECONFIG);
    let lines: Vec<&str> = encoded
        .as_bytes()
        .chunks(76)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    let wrapped = lines.join("\n") + "\n";
    let masks = smart(&wrapped);
    for line in lines.iter().copied().chain([
        encoded.as_str(),
        "9vzq4hd is no secret",
        "kubeconfig-user-x7k2p:9vzq4hdm",
    ]) {
        let expected = if line.contains(' ') { line } else { "***" };
        assert_eq!(shown(&masks, line), expected);
    }
}

#[test]
fn structured_values_are_hidden_without_names_and_punctuation() {
    for (value, expected) in [
        (
            "{\n  \"user\": \"svc-app-7\",\n  \"pin\": 123456,\n  \"on\": true\n}",
            vec!["123456", "svc-app-7"],
        ),
        (r#"{"a":"s3cret1"}"#, vec!["s3cret1", r#"{"a":"s3cret1"}"#]),
        ("A=s3cret1\nexport B='s3cret 2'\n", vec!["s3cret 2", "s3cret1"]),
        ("- s3cret1\n- {x: s3cret2}\n", vec!["s3cret1", "s3cret2"]),
        (
            "-----BEGIN PRIVATE KEY-----\nMIIEvQIB\nADANBgkq\n-----END PRIVATE KEY-----\n",
            vec!["ADANBgkq", "MIIEvQIB"],
        ),
        (
            "first line\n\nsecond line\r\nthird\rfourth",
            vec!["first line", "fourth", "second line", "third"],
        ),
        // JSON in a string in JSON, and base64 inside, as in docker's config.
        (
            r#"{"auths":{"r.io":{"auth":"dXNlcm5hbWU6cGFzc3dvcmQ3"}}}"#,
            vec![
                "dXNlcm5hbWU6cGFzc3dvcmQ3",
                "password7",
                "username:password7",
                r#"{"auths":{"r.io":{"auth":"dXNlcm5hbWU6cGFzc3dvcmQ3"}}}"#,
            ],
        ),
        (" padded7 ", vec!["padded7"]),
    ] {
        assert_eq!(texts(value), expected, "{value:?}");
    }
    let block = texts("k: |\n  line-one\n  line-two\n");
    assert!(block.contains(&"line-one".to_owned()) && block.contains(&"line-two".to_owned()));
    assert!(!block.iter().any(|text| text.contains('|')), "{block:?}");
}

#[test]
fn a_short_or_common_text_is_not_hidden_and_is_reported() {
    for (value, expected) in [
        ("", ""),
        ("\n", ""),
        ("   \n \n", ""),
        ("abc", "1 too short (line 1)"),
        ("{}", "1 too short"),
        ("#!?", "1 too short"),
        ("TRUE", "1 too common a word (line 1)"),
        ("default\n", "1 too common a word"),
        ("{\n}\n", ""),
        (
            "{\"a\": 1,\n\"b\": \"xyz\", \"c\": \"main\", \"d\": false}",
            "2 too short (line 1, 2); 1 too common a word (line 2)",
        ),
        (
            "PORT=5432\nHOST=localhost\nPASSWORD=s3cret1\n",
            "1 too short (line 1); 1 too common a word (line 2)",
        ),
        ("long-enough\nabc\nab\n", "2 too short (line 2, 3)"),
        ("1234", ""),
        ("s3cret1", ""),
    ] {
        let text = unmasked(value);
        assert_eq!(text.is_empty(), expected.is_empty(), "{value:?}: {text}");
        assert!(text.contains(expected), "{value:?}: {text}");
    }
    for value in ["abc", "TRUE", "{}", "---\n", "12\n34\n"] {
        assert!(smart(value).is_empty(), "{value:?}: {:?}", texts(value));
    }
    let names: Vec<_> = smart("abc").unmasked().iter().map(|one| one.name.clone()).collect();
    assert_eq!(names, ["S"]);
}

#[test]
fn a_secret_is_hidden_in_the_forms_that_tools_print() {
    let value = "correct+horse/battery?staple=~\u{e4}";
    let masks = smart(value);
    let hex = |digits: fn(&u8) -> String| value.as_bytes().iter().map(digits).collect::<String>();
    for form in [
        value.to_owned(),
        STANDARD.encode(value),
        STANDARD.encode(format!("{value}\n")),
        URL_SAFE.encode(value),
        URL_SAFE_NO_PAD.encode(value),
        hex(|b| format!("{b:02x}")),
        hex(|b| format!("{b:02X}")),
    ] {
        let line = shown(&masks, &format!("value {form}"));
        assert!(
            line == "value ***" || line == "value ***=" || line == "value ***==",
            "{form}: {line}"
        );
    }
    // Between other bytes, one or two characters at each end depend on those bytes too.
    for before in ["", "u", "us", "user:"] {
        for after in ["", "x", "@h", "@host"] {
            for encoded in [
                STANDARD.encode(format!("{before}{value}{after}")),
                URL_SAFE_NO_PAD.encode(format!("{before}{value}{after}")),
            ] {
                let seen = shown(&masks, &encoded).replace("***", "");
                let others = (before.len() + after.len()).div_ceil(3) * 4 + 8;
                assert!(seen.len() <= others, "{before:?} {after:?}: {seen}");
            }
        }
    }
}

#[test]
fn wrapped_base64_is_hidden_line_by_line() {
    let value = "0123456789abcdef".repeat(20) + "!";
    let masks = smart(&value);
    for end in ["", "\n"] {
        for width in [64, 76] {
            for line in STANDARD.encode(format!("{value}{end}")).as_bytes().chunks(width) {
                let line = std::str::from_utf8(line).unwrap();
                let seen = shown(&masks, line);
                assert!(
                    seen.starts_with("***") && seen.trim_matches(['*', '=']).is_empty(),
                    "{width}: {line}: {seen}"
                );
            }
        }
    }
}

#[test]
fn bytes_that_are_not_text_are_hidden_as_base64_and_hex() {
    let value: Vec<u8> = (0..60_u8).map(|n| n.wrapping_mul(37) | 0x80).collect();
    let mut masks = Masks::new(Mask::Smart);
    masks.add("KEYSTORE", Format::Raw, &value);
    assert_eq!(shown(&masks, STANDARD.encode(&value).trim_end_matches('=')), "***");
    let hex: String = value.iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(shown(&masks, &hex), "***");
    assert_eq!(
        masks.unmasked()[0].to_string(),
        "KEYSTORE: left unmasked: it is binary: only its base64 and hex are masked"
    );
}

#[test]
fn text_in_another_encoding_is_hidden_line_by_line() {
    let mut masks = Masks::new(Mask::Smart);
    masks.add("CONFIG", Format::Raw, b"user=J\xf6rg\npassword=s3cret-in-latin1\n");
    assert_eq!(shown(&masks, "it is s3cret-in-latin1"), "it is ***");
}

#[test]
fn a_secret_in_the_line_of_a_pem_frame_is_hidden() {
    let line = "-----BEGIN PRIVATE KEY-----MIIEvQIBADANBgkq-----END PRIVATE KEY-----";
    assert_eq!(shown(&smart(&format!("first line\n{line}\n")), line), "***");
}

#[test]
fn a_value_is_also_hidden_with_the_escapes_of_its_file() {
    let json = "{\n \"p\": \"p\\u00e4ss\\/w0rd\"\n}";
    assert_eq!(shown(&smart(json), " \"p\": \"p\\u00e4ss\\/w0rd\""), " \"p\": \"***\"");
    assert_eq!(
        shown(&smart("A=b\nP=\"pa\\$sw0rd\"\n"), "P=\"pa\\$sw0rd\""),
        "P=\"***\""
    );
}

#[test]
fn lines_masks_as_vault_action_does_and_off_masks_nothing() {
    // Cases 40 and 41 of vault-action's tests.
    let lines = |value: &str| masks(Mask::Lines, value).iter().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(
        lines("a multi-line string\n\nwith blank lines\r\n\n"),
        ["a multi-line string", "with blank lines"]
    );
    assert_eq!(lines("{\n  \"x\":1\n}"), ["  \"x\":1", "{", "}"]);
    assert_eq!(lines(" \n"), Vec::<String>::new());
    assert!(masks(Mask::Off, "s3cret1").is_empty());
}

#[test]
fn the_commands_have_each_mask_once_on_a_separate_line() {
    let mut masks = Masks::new(Mask::Lines);
    masks.add("A", Format::Raw, b"100%\n::x\r\n");
    masks.add("B", Format::Raw, b"100%\n");
    let mut printed = Vec::new();
    let all = |lines: &[u8]| -> Result<(), ()> {
        printed.extend_from_slice(lines);
        Ok(())
    };
    masks.commands(all).unwrap();
    assert_eq!(printed, b"::add-mask::100%25\n::add-mask::::x\n");
}

#[test]
fn everything_beyond_the_limits_is_reported() {
    let long = "x7".repeat(MAX_ENCODED_BYTES);
    assert!(unmasked(&long).contains("longer than 16 KiB"), "{}", unmasked(&long));
    assert_eq!(shown(&smart(&long), &long), "***");
    let many: String = (0..=MAX_PARTS).map(|n| format!("line-{n}\n")).collect();
    assert!(unmasked(&many).contains("after its first 8192"), "{}", unmasked(&many));
    assert!(smart(&many).len() <= MAX_PARTS + 16);
    let mut masks = Masks::new(Mask::Smart);
    for n in 0..200 {
        masks.add(
            ["R", "S"][n % 2],
            Format::Raw,
            format!("{n:04}-{}", "y".repeat(4096)).as_bytes(),
        );
    }
    let left: Vec<_> = masks.unmasked().iter().map(ToString::to_string).collect();
    assert!(left.len() > 100 && left[0].contains("wrapped base64"), "{}", left.len());
    // GitHub shows only ten warnings of a step.
    masks.add("T", Format::Raw, b"abc");
    let warnings = masks.warnings();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    let names: Vec<&str> = left[..8].iter().map(|line| &line[..1]).collect();
    let more = format!(
        "{} and {} more: left unmasked: wrapped",
        names.join(", "),
        left.len() - 8
    );
    assert!(
        warnings.iter().any(|warning| warning.starts_with(&more)),
        "{warnings:?}"
    );
    // The values that one template printed have its name, which one warning names once.
    let mut masks = Masks::new(Mask::Smart);
    for value in ["a", "b", "c"] {
        masks.add("made", Format::Raw, value.as_bytes());
    }
    assert_eq!(masks.warnings(), ["made: left unmasked: 1 too short (line 1)"]);
    // A text that is base64 of base64 of base64, and so on.
    let mut nested = "innermost-secret".to_owned();
    for depth in 1..=10 {
        nested = STANDARD.encode(nested);
        let is_reported = unmasked(&nested).contains("8 levels deep");
        assert_eq!(is_reported, depth > MAX_DEPTH, "{depth}: {}", unmasked(&nested));
        let masks = smart(&nested);
        assert_eq!(shown(&masks, "innermost-secret") == "***", !is_reported, "{depth}");
        assert!(masks.len() < 200, "{}", masks.len());
    }
}

#[test]
fn a_list_in_one_line_is_hidden_to_its_end_or_the_rest_is_reported() {
    let list = |values: usize| {
        let values: Vec<String> = (0..values).map(|n| format!("value-{n:05}")).collect();
        format!("other: line\nlist: [{}]\n", values.join(", "))
    };
    assert!(!unmasked(&list(6000)).contains("after its first"));
    assert_eq!(shown(&smart(&list(6000)), "value-05999"), "***");
    assert!(unmasked(&list(MAX_PARTS + 1)).contains("after its first 8192"));
}

#[test]
fn a_password_in_a_docker_config_in_a_kubernetes_secret_is_hidden() {
    let config = r#"{"auths":{"r.io":{"auth":"dXNlcm5hbWU6cGFzc3dvcmQ3"}}}"#;
    let secret = format!(
        "apiVersion: v1\nkind: Secret\ndata:\n  .dockerconfigjson: {}\n",
        STANDARD.encode(config)
    );
    assert_eq!(shown(&smart(&secret), "login username:password7"), "login ***");
}

/// Words that are neither short nor common by the rules.
fn secret() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9+/=_.%:#'\"\\\\@ -]{6,40}x[A-Z0-9]{6}"
}

proptest! {
    #[test]
    fn no_log_line_shows_a_value_of_one_line(value in secret(), before in "[a-z ]{0,9}", after in "[a-z ]{0,9}") {
        let masks = smart(&value);
        // The parts may be short, or possible passwords.
        prop_assert!(masks.unmasked().is_empty() || value.contains([':', '=', ' ']));
        for form in [
            value.trim().to_owned(),
            STANDARD.encode(value.as_bytes()),
            STANDARD.encode(format!("{value}\n")).trim_end_matches('=').to_owned(),
        ] {
            let line = shown(&masks, &format!("{before}{form}{after}"));
            prop_assert!(!line.contains(form.as_str()), "{}", line);
        }
    }

    #[test]
    fn no_log_line_shows_a_string_of_a_structured_value(
        leaves in proptest::collection::vec("[a-zA-Z0-9+/_.%-]{6,20}x[A-Z0-9]{6}", 1..6),
        form in 0..4,
    ) {
        let names = || leaves.iter().enumerate();
        let value = match form {
            0 => serde_json::to_string_pretty(&leaves).unwrap(),
            1 => names().map(|(n, leaf)| format!("key{n}: \"{leaf}\"\n")).collect(),
            2 => names().map(|(n, leaf)| format!("NAME_{n}={leaf}\n")).collect(),
            _ => names().map(|(n, leaf)| format!("- nested:\n    k{n}: {leaf}\n")).collect::<String>(),
        };
        let value = if leaves.len() % 2 == 0 { STANDARD.encode(&value) } else { value };
        let masks = smart(&value);
        for leaf in &leaves {
            let line = shown(&masks, &format!("the value is {leaf}!"));
            prop_assert_eq!(line, "the value is ***!", "{}", &value);
        }
    }

    #[test]
    fn masks_are_bounded_and_none_is_blank_or_has_a_line_break(value in any::<String>(), lines in 0..50_usize) {
        let value = value + &"\nline and line".repeat(lines);
        for mode in [Mask::Smart, Mask::Lines] {
            let masks = masks(mode, &value);
            prop_assert!(masks.len() < 64 + 80 * (1 + lines + value.len() / 16), "{}", masks.len());
            for mask in masks.iter() {
                prop_assert!(!mask.trim().is_empty() && !mask.contains(['\n', '\r']), "{:?}", mask);
            }
            for one in masks.unmasked() {
                prop_assert!(one.to_string().len() < 500);
            }
        }
    }
}

#[test]
fn base64_of_a_value_with_white_space_around_it_is_hidden() {
    for value in [
        "abcdefgh ",
        " abcdefgh",
        "\tabcdefg\t",
        "abcdefghij  ",
        r#"{"k": "abcdefgh "}"#,
    ] {
        let inside = value.trim_start_matches(r#"{"k": ""#).trim_end_matches(r#""}"#);
        assert_eq!(shown(&smart(value), &STANDARD.encode(inside)), "***", "{value:?}");
    }
}

#[test]
fn a_value_of_dotenv_before_a_comment_is_hidden() {
    for value in [
        "DB=x\nPASSWORD=s3cret99 # production\n",
        "export PASSWORD=s3cret99\t# it is old # very",
    ] {
        assert_eq!(shown(&smart(value), "a s3cret99 b"), "a *** b", "{value:?}");
        assert!(!shown(&smart(value), value).contains("s3cret99"), "{value:?}");
    }
    // No comment.
    assert_eq!(shown(&smart("PASSWORD=s3cret#99"), "s3cret#99"), "***");
}

#[test]
fn values_behind_odd_names_and_in_lists_of_several_lines_are_hidden() {
    for value in [
        "a: 1\nDatabase Password: s3cret99\n",
        "a: 1\nsvc@example.com: s3cret99",
        "https://ghcr.io: s3cret99\nb: 2",
        "Database Password: |\n  s3cret99\n",
        "- Database Password: s3cret99\n- b",
        "a: {Database Password: s3cret99, x: y}",
        "{Database Password: s3cret99}",
        "a:\n  Database Password: 's3cret99' # old",
        "a: {user: bob12345,\n  pass: s3cret99}\n",
        "[ aaaa1111,\n  s3cret99 ]",
        "a: [ aaaa1111,\n  s3cret99,\n  bbbb2222 ]",
        "\u{feff}PASSWORD=s3cret99\nb=2",
        "\u{feff}{\"password\": \"s3cret99\"}",
        "\u{feff}s3cret99",
    ] {
        assert_eq!(shown(&smart(value), "a s3cret99 b"), "a *** b", "{value:?}");
    }
}

#[test]
fn a_short_password_in_base64_is_hidden() {
    for value in [
        "data:\n  password: czNjcmV0OTk=\n",
        r#"{"k": "czNjcmV0OTk="}"#,
        "czNjcmV0OTk=",
    ] {
        assert_eq!(shown(&smart(value), "a s3cret99 b"), "a *** b", "{value:?}");
    }
}

/// `echo "$P"` prints the value without the file's quotes, and the log has U+FFFD for bytes that are not UTF-8.
#[test]
fn a_value_of_dotenv_in_latin_1_is_hidden_as_a_shell_prints_it() {
    let mut masks = Masks::new(Mask::Smart);
    masks.add("x", Format::Dotenv, b"P='p\xe9'\\''ss word1'\n");
    assert_eq!(shown(&masks, "p\u{fffd}'ss word1"), "***");
    let value = b"p\xe9'ss word1";
    let hex: String = value.iter().map(|b| format!("{b:02x}")).collect();
    for encoded in [STANDARD.encode(value), STANDARD.encode(b"p\xe9'ss word1\n"), hex] {
        let shown = shown(&masks, &encoded);
        assert!(shown.trim_end_matches('=').len() <= 7, "{encoded}: {shown}");
    }
    assert!(masks.unmasked().is_empty(), "{:?}", masks.warnings());
}
