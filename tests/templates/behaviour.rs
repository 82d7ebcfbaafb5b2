//! podkey's own rules: missing fields, masks, the list of calls, refusals, and errors without values.

use std::collections::BTreeMap;
use std::rc::Rc;

use podkey::template::{
    Bounds, ErrorKind, MissingField, SecretAnswer, SecretCall, SecretFunction, Template, TemplateError, TemplateOutput,
};

const ANSWER: &str = r#"{"lease_id":"db/1","lease_duration":3600,"renewable":true,"data":{"data":{
    "user":"hidden-user","password":"hidden-pass","port":5432,"big":9007199254740993,"flag":true,"nothing":null,"empty":"",
    "json":"{\"inner\":\"hidden-inner\",\"pin\":1234567}","b64":"aGlkZGVuLWRlY29kZWQ=","list":["hidden-a","hidden-b"]},
    "metadata":{"version":7}}}"#;

fn parse(text: &str) -> Result<Template, TemplateError> {
    Template::parse(text, ("{{", "}}"))
}

fn render(text: &str) -> Result<TemplateOutput, TemplateError> {
    let secret = Rc::new(SecretAnswer::from_answer(ANSWER.as_bytes()).unwrap());
    parse(text)?.render(&|_| Some(Rc::clone(&secret)), MissingField::Fail, Bounds::default())
}

/// Wraps an expression so that the dot is the map of fields.
fn within(inner: &str) -> String {
    format!("{{{{ with secret \"kv/data/app\" }}}}{{{{ with .Data.data }}}}{inner}{{{{ end }}}}{{{{ end }}}}")
}

fn output(inner: &str) -> String {
    String::from_utf8(render(&within(inner)).unwrap_or_else(|e| panic!("{inner}: {e}")).bytes).unwrap()
}

fn error(inner: &str) -> TemplateError {
    match render(&within(inner)) {
        Err(error) => error,
        Ok(r) => panic!("{inner} renders {:?}", String::from_utf8_lossy(&r.bytes)),
    }
}

#[test]
fn no_value_is_never_delivered() {
    for inner in [
        "{{ .nothing }}",
        "{{ .nosuch }}",
        "{{ index . \"nosuch\" }}",
        "{{ $x := index . \"nosuch\" }}{{ $x }}",
        "{{ print (index . \"nosuch\") }}",
        "{{ printf \"%s\" .nothing }}",
        "{{ html .nothing }}",
        "{{ .nothing | js }}",
        "{{ urlquery .nothing }}",
        "{{ println .nothing }}",
        "{{ or .nothing (index . \"nosuch\") }}",
        "{{ if .nosuch }}{{ end }}",
        "{{ range .nosuch }}{{ end }}",
        "{{ with .nosuch }}{{ end }}",
        "{{ .nothing.x }}",
        "{{ (index . \"nosuch\").x }}",
        "{{ $ }}",
        "{{ range parseJSON \"[null]\" }}{{ . }}{{ end }}",
    ] {
        assert_eq!(error(inner).kind, ErrorKind::Missing, "{inner}");
    }
}

#[test]
fn a_missing_element_is_empty_in_conditions() {
    for (inner, expected) in [
        ("{{ or (index . \"nosuch\") \"default\" }}", "default"),
        ("{{ if index . \"nosuch\" }}y{{ else }}n{{ end }}", "n"),
        ("{{ with index . \"nosuch\" }}y{{ else }}n{{ end }}", "n"),
        ("{{ range index . \"nosuch\" }}y{{ else }}n{{ end }}", "n"),
        ("{{ if .nothing }}y{{ else }}n{{ end }}", "n"),
        ("{{ if not (index . \"nosuch\") }}y{{ end }}", "y"),
        ("{{ eq (index . \"nosuch\") \"x\" }}", "false"),
        ("{{ toJSON .nothing }}", "null"),
        ("{{ .big }} {{ .port }}", "9007199254740993 5432"),
    ] {
        assert_eq!(output(inner), expected, "{inner}");
    }
}

#[test]
fn errors_say_what_there_is() {
    for (text, line, column, message) in [
        (
            within("\n  {{ .pasword }}"),
            2,
            6,
            "there is no field pasword; the fields are: b64, big, empty, flag, json, list, nothing, password, port, user",
        ),
        (
            "{{ with secret \"kv/data/app\" }}{{ .Data.password }}{{ end }}".to_owned(),
            1,
            35,
            "there is no field password; the fields are: data, metadata",
        ),
        (
            "{{ with secret \"kv/data/app\" }}{{ .password }}{{ end }}".to_owned(),
            1,
            35,
            "a secret has no field password; it has Data, LeaseID, LeaseDuration, Renewable",
        ),
        (
            "{{ .Data }}".to_owned(),
            1,
            4,
            "there is nothing here that could have the field Data",
        ),
        (
            within("{{ eq .port 5432 }}"),
            1,
            56,
            "a number of a secret (its own kind of text) and a number cannot be compared",
        ),
        (
            within("{{ toUpper .port }}"),
            1,
            64,
            "expected a string, got a number of a secret",
        ),
        (
            within("{{ join \",\" .list }}"),
            1,
            65,
            "expected a list that split made, got a list",
        ),
    ] {
        let error = render(&text).err().unwrap();
        assert_eq!(
            (error.line, error.column, error.message.as_str()),
            (line, column, message),
            "{text}: {error}"
        );
    }
    assert_eq!(error("{{ .pasword }}").hint, "Did you mean password?");
    let hint = render("{{ with secret \"kv/data/app\" }}{{ .Data.password }}{{ end }}")
        .err()
        .unwrap()
        .hint;
    assert_eq!(
        hint,
        "The fields of KV version 2 are one deeper: write .Data.data.password"
    );
}

/// Every kind of failure with secrets at hand: no message may hold one.
#[test]
fn no_error_holds_a_value() {
    for inner in [
        "{{ .password | base64Decode }}",
        "{{ .user | parseJSON }}",
        "{{ parseYAML (printf \"[%s\" .user) }}",
        "{{ .password.x }}",
        "{{ index .list .user }}",
        "{{ range .password }}{{ end }}",
        "{{ lt .password 1 }}",
        "{{ printf .list }}",
        "{{ .password 1 }}",
        "{{ len .flag }}",
        "{{ slice .password 9 2 }}",
        "{{ indent .port .user }}",
        "{{ eq .list .list }}",
        "{{ index . .list }}",
        "{{ join .user .list }}",
        "{{ parseJSON .b64 }}",
        "{{ .list.x }}",
        "{{ contains nil .password }}",
        "{{ index .password 1000 }}",
        "{{ range 2000000 }}{{ $.x }}{{ end }}",
        "{{ replaceAll \"\" (printf \"%900000s\" .user) .password }}",
        "{{ toJSON (slice .port 0 0 0) }}",
        "{{ printf \"%s\" (index . .password) }}",
        "{{ (index . .user).other }}",
    ] {
        let error = error(inner).to_string();
        assert!(!error.contains("hidden"), "{inner}: {error}");
    }
}

#[test]
fn printed_secrets_are_reported() {
    for (inner, expected) in [
        ("{{ .user }}", vec!["hidden-user"]),
        ("text {{ \"literal\" }}", vec![]),
        ("{{ if .password }}{{ .user }}{{ end }}", vec!["hidden-user"]),
        ("{{ if eq .password \"x\" }}{{ end }}", vec![]),
        ("{{ range $k, $v := . }}{{ $k }}{{ end }}", vec![]),
        (
            "{{ .b64 | base64Decode }}",
            vec!["aGlkZGVuLWRlY29kZWQ=", "hidden-decoded"],
        ),
        (
            "{{ $x := .user | toUpper }}{{ $x }}",
            vec!["HIDDEN-USER", "hidden-user"],
        ),
        ("{{ index .list 1 }}", vec!["hidden-b"]),
        ("{{ range .list }}{{ . }}{{ end }}", vec!["hidden-a", "hidden-b"]),
        (
            "{{ toJSON .list }}",
            vec!["[\"hidden-a\",\"hidden-b\"]", "hidden-a", "hidden-b"],
        ),
        ("{{ .list }}", vec!["hidden-a", "hidden-b"]),
        ("{{ .port }}", vec!["5432"]),
        ("{{ (parseJSON .json).inner }}", vec!["hidden-inner"]),
        ("{{ (parseJSON .json).pin }}", vec!["1.234567e+06"]),
        (
            "{{ printf \"%.0f\" (parseJSON .json).pin }}",
            vec!["1.234567e+06", "1234567"],
        ),
        (
            "{{ range $k, $v := parseJSON .json }}{{ $k }}{{ end }}",
            vec!["inner", "pin"],
        ),
        // The file does not have these values: it must not be possible to find them beside the file either.
        ("{{ slice .user 0 6 }}", vec!["hidden"]),
        ("{{ trimPrefix \"hidden-\" .user }}", vec!["user"]),
        ("{{ index (split \"-\" .user) 1 }}", vec!["user"]),
        ("{{ printf \"%.3s\" .password }}", vec!["hid"]),
        ("{{ if eq (base64Encode .password) \"x\" }}{{ end }}", vec![]),
        ("{{ $x := print .password }}{{ .user }}", vec!["hidden-user"]),
        (
            "{{ printf \"%s:%s\" .user .password | base64Encode }}",
            vec![
                "aGlkZGVuLXVzZXI6aGlkZGVuLXBhc3M=",
                "hidden-pass",
                "hidden-user",
                "hidden-user:hidden-pass",
            ],
        ),
    ] {
        let found: Vec<String> = render(&within(inner))
            .unwrap()
            .secrets
            .iter()
            .map(|s| String::from_utf8_lossy(s).into_owned())
            .collect();
        assert_eq!(found, expected, "{inner}");
    }
}

#[test]
fn a_hash_of_a_secret_is_printed_and_the_secret_is_not() {
    let secrets = render(&within("{{ sha256Hex .password }}")).unwrap().secrets;
    assert_eq!(secrets.len(), 1);
    assert_eq!(secrets.first().unwrap().len(), 64);
}

#[test]
fn an_error_does_not_name_the_keys_of_a_parsed_text() {
    for inner in ["{{ (parseJSON .json).missing }}", "{{ (parseJSON .json).inne }}"] {
        let error = error(inner);
        assert_eq!(error.kind, ErrorKind::Missing);
        assert!(!format!("{error:?}").contains("inner\""), "{error:?}");
        assert!(!format!("{error}").contains("pin"), "{error}");
    }
}

#[test]
fn calls_are_found() {
    let text = "{{ with secret \" /kv/data/app/ \" }}{{ end }}\n{{ if true }}  {{ with $c := pkiCert \"pki/issue/web\" \"common_name = a.b\" \"ttl=1h\" }}{{ end }}{{ end }}
{{ range split \",\" \"a,b\" }}{{ (secret \"kv/data/x?version=3\").Data.data.y }}{{ end }}{{ with secret \"kv1/w\" \"\" }}{{ end }}";
    let template = parse(text).unwrap();
    let found: Vec<_> = template
        .calls()
        .iter()
        .map(|c| (c.source, c.path.as_str(), c.version, c.data.clone(), c.line, c.column))
        .collect();
    let data = BTreeMap::from([
        ("common_name".to_owned(), "a.b".to_owned()),
        ("ttl".to_owned(), "1h".to_owned()),
    ]);
    assert_eq!(
        found,
        [
            (SecretFunction::Secret, "kv/data/app", None, None, 1, 9),
            (SecretFunction::PkiCert, "pki/issue/web", None, Some(data), 2, 30),
            (SecretFunction::Secret, "kv/data/x", Some(3), None, 3, 32),
            (SecretFunction::Secret, "kv1/w", None, Some(BTreeMap::new()), 3, 93),
        ]
    );
    let lookup = |call: &SecretCall| {
        (call.path == "kv/data/x")
            .then(|| Rc::new(SecretAnswer::from_answer(br#"{"data":{"data":{"y":"v"}}}"#).unwrap()))
    };
    assert_eq!(
        template
            .render(&lookup, MissingField::Fail, Bounds::default())
            .unwrap()
            .bytes,
        b"\n  \nvv"
    );
}

#[test]
fn refusals_say_what_to_write() {
    for (text, column, message, hint) in [
        (
            "{{ with secret (printf \"kv/%s\" .x) }}{{ end }}",
            9,
            "an argument of secret is not written in quotes",
            "{{ with secret \"kv/data/app\" }}",
        ),
        (
            "{{ $p := \"a\" }}{{ with secret $p }}{{ end }}",
            24,
            "an argument of secret is not written in quotes",
            "if and else",
        ),
        (
            "{{ \"kv/a\" | secret }}",
            13,
            "secret may not follow |",
            "{{ with secret \"path\" }}",
        ),
        ("{{ secret }}", 4, "secret needs a path in quotes", ""),
        ("{{ print secret }}", 10, "secret needs a path in quotes", ""),
        ("{{ secret \"  \" }}", 4, "the path of the secret is empty", ""),
        (
            "{{ secret \"a/b?x=1\" }}",
            4,
            "the path has a query that is not ?version=NUMBER",
            "?version=3",
        ),
        (
            "{{ secret \"a/b\" \"noequals\" }}",
            4,
            "an argument after the path is not key=value",
            "common_name",
        ),
        (
            "{{ define \"x\" }}{{ end }}",
            4,
            "define is not offered",
            "Write the text",
        ),
        ("{{ template \"x\" }}", 4, "template is not offered", ""),
        ("{{ block \"x\" . }}{{ end }}", 4, "block is not offered", ""),
        (
            "{{ env \"HOME\" }}",
            4,
            "the function env is not offered",
            "Write the value",
        ),
        ("{{ file \"/x\" }}", 4, "the function file is not offered", "Mount"),
        ("{{ key \"x\" }}", 4, "the function key is not offered", "secret"),
        (
            "{{ sprig_trim \"x\" }}",
            4,
            "the function sprig_trim is not offered",
            "consul-template's own",
        ),
        ("{{ timestamp }}", 4, "the function timestamp is not offered", ""),
        (
            "{{ toJson 1 }}",
            4,
            "there is no function toJson",
            "Did you mean toJSON?",
        ),
        (
            "{{ base64decode 1 }}",
            4,
            "there is no function base64decode",
            "Did you mean base64Decode?",
        ),
        ("{{ frobnicate }}", 4, "there is no function frobnicate", ""),
    ] {
        let error = parse(text).err().unwrap();
        assert_eq!(
            (error.kind, error.line, error.column),
            (ErrorKind::Refused, 1, column),
            "{text}: {error}"
        );
        assert!(
            error.message.starts_with(message) && error.hint.contains(hint),
            "{text}: {error}"
        );
    }
}

/// The functions of consul-template 0.41 and of Sprig that podkey does not offer.
#[rustfmt::skip]
const REFUSED: &[&str] = &[
    "add", "byKey", "byMeta", "byTag", "caLeaf", "caRoots", "call", "connect", "containsAll", "containsAny", "containsNone",
    "containsNotAll", "datacenters", "divide", "env", "envOrDefault", "executeTemplate", "explode", "explodeMap", "exportedServices",
    "file", "hmacSHA256Hex", "in", "key", "keyExists", "keyOrDefault", "loop", "ls", "maximum", "md5sum", "mergeMap",
    "mergeMapWithOverride", "minimum", "modulo", "multiply", "mustEnv", "node", "nodes", "nomadService", "nomadServices", "nomadVar",
    "nomadVarExists", "nomadVarList", "nomadVarListSafe", "parseBool", "parseFloat", "parseInt", "parseUint", "partitions", "peerings",
    "plugin", "regexMatch", "regexReplaceAll", "safeLs", "safeTree", "scratch", "secrets", "service", "services", "sockaddr",
    "splitToMap", "spew_dump", "spew_printf", "spew_sdump", "spew_sprintf", "subtract", "timestamp", "toTOML", "tree", "writeToFile",
    "sprig_upper", "sprig_genPassword", "byPort",
];

#[test]
fn every_refused_function_gives_its_reason_and_a_way_out() {
    for name in REFUSED {
        for text in [
            format!("{{{{ {name} \"x\" 1 }}}}"),
            format!("{{{{ \"x\" | {name} }}}}"),
            format!("{{{{ if 0 }}}}{{{{ print ({name}) }}}}{{{{ end }}}}"),
        ] {
            let error = parse(&text).err().unwrap_or_else(|| panic!("{text} is accepted"));
            assert_eq!(error.kind, ErrorKind::Refused, "{text}: {error}");
            let known = format!("the function {name} is not offered: ");
            let reason = error.message.strip_prefix(&known);
            assert!(reason.is_some_and(|reason| reason.len() > 10), "{text}: {error}");
            assert!(!error.hint.is_empty(), "{name} has no way out: {error}");
        }
    }
}

/// An error goes into the log of the pod and into its termination message: an author's name there is short and on one line.
#[test]
fn names_in_errors_are_short_and_printable() {
    let long = "x".repeat(20_000);
    let secret = format!(r#"{{"data":{{"a\u001b[31m\n::stop::":1,"{long}":2}}}}"#);
    let secret = Rc::new(SecretAnswer::from_answer(secret.as_bytes()).unwrap());
    let render = |text: &str| {
        let lookup = |_: &SecretCall| Some(Rc::clone(&secret));
        parse(text).and_then(|template| template.render(&lookup, MissingField::Fail, Bounds::default()))
    };
    for text in [
        format!("{{{{ {long} }}}}"),
        format!("{{{{ ${long} }}}}"),
        format!("{{{{ 1{} }}}}", "0".repeat(20_000)),
        format!("{{{{ 1{}z }}}}", "0".repeat(20_000)),
        format!("{{{{ sprig_{long} }}}}"),
        format!("{{{{ secret `{long}%` }}}}"),
        format!("{{{{ .{long} }}}}"),
        format!("{{{{ with secret `a/b` }}}}{{{{ .{long} }}}}{{{{ end }}}}"),
        format!("{{{{ with secret `a/b` }}}}{{{{ .Data.y{long} }}}}{{{{ end }}}}"),
        format!("{{{{ with secret `a/b` }}}}{{{{ .Data.{long}.y{long} }}}}{{{{ end }}}}"),
        "{{ with secret `a/b` }}{{ .Data.x }}{{ end }}".to_owned(),
    ] {
        let error = render(&text).err().unwrap().to_string();
        assert!(
            error.len() < 400 && !error.contains(char::is_control),
            "{} bytes: {error}",
            error.len()
        );
    }
}

#[test]
fn syntax_errors_have_a_place() {
    for (text, line, column, message) in [
        ("a\nb {{ if }}", 2, 9, "if has no value"),
        ("{{ if true }}\nx", 1, 4, "this if has no end"),
        (
            "x {{ end }}",
            1,
            6,
            "there is nothing open that this end or else could belong to",
        ),
        ("{{ \"x", 1, 4, "the string is not closed: expected \""),
        ("{{ .x ", 1, 1, "the action is not closed: expected }}"),
        ("{{ /* x */ }}", 1, 4, "unexpected '/' in an action"),
        ("{{/* x }}", 1, 3, "the comment is not closed: expected */"),
        ("{{ (.x }}", 1, 8, "a parenthesis is not closed: expected )"),
        ("{{ .x) }}", 1, 6, "unexpected )"),
        ("{{ $x }}", 1, 4, "the variable $x is not declared here"),
        ("{{ .a-b }}", 1, 6, "unexpected '-' in or after a name"),
        (
            "{{ if 1 }}{{ else }}{{ else }}{{ end }}",
            1,
            4,
            "this if has a second else: expected end",
        ),
        ("{{ break }}", 1, 4, "break is outside of range"),
        ("é{{ \"a\" \"b\" | 5 }}", 1, 15, "only a function may follow |"),
        (
            "{{ print 1\"a\" }}",
            1,
            11,
            "unexpected \"a\": expected a space between two values",
        ),
        ("{{ $x, $y := 1 }}", 1, 6, "only range declares two variables"),
        ("{{ 1x }}", 1, 4, "1 is followed by a character that no number has"),
        ("{{}}", 1, 3, "an action has no value"),
    ] {
        let error = parse(text).err().unwrap_or_else(|| panic!("{text} is fine"));
        assert_eq!(
            (error.kind, error.line, error.column, error.message.as_str()),
            (ErrorKind::Syntax, line, column, message),
            "{text}"
        );
    }
}

#[test]
fn other_delimiters() {
    let secret = Rc::new(SecretAnswer::from_answer(ANSWER.as_bytes()).unwrap());
    let template = Template::parse(
        "{{ x }}[[- with secret \"kv/data/app\" ]] [[ .Data.data.user -]]  ![[ end ]]",
        ("[[", "]]"),
    )
    .unwrap();
    let made = template
        .render(&|_| Some(Rc::clone(&secret)), MissingField::Fail, Bounds::default())
        .unwrap();
    assert_eq!(made.bytes, b"{{ x }} hidden-user!");
    for (left, right) in [
        ("", "}}"),
        ("{{", ""),
        ("{{", "{{"),
        ("a b", "}}"),
        ("12345678901234567", "}}"),
    ] {
        assert_eq!(
            Template::parse("x", (left, right)).err().unwrap().kind,
            ErrorKind::Refused
        );
    }
}

/// A fuzz target found this: the message went to the terminal of whoever ran `podkey inject`.
#[test]
fn an_error_shows_no_control_character_of_the_template() {
    for (text, delimiters) in [
        ("{{ \"a\\\u{1b}[31m\" }}", ("{{", "}}")),
        ("{{ \"a\\\u{202e}\" }}", ("{{", "}}")),
        ("{{ \"a\"`\u{1b}\n::error::` }}", ("{{", "}}")),
        ("{{ if }}\u{1b}[31m", ("{{", "}}\u{1b}[31m")),
        ("{{ x", ("{{", "}}\u{202e}")),
    ] {
        let error = Template::parse(text, delimiters).err().unwrap().to_string();
        let is_shown = |c: char| !c.is_control() && c != '\u{202e}';
        assert!(error.chars().all(is_shown), "{error:?}");
    }
}

/// A webhook keeps templates across threads.
#[test]
fn templates_can_be_shared() {
    fn shared<T: Send + Sync>(_: &T) {}
    shared(&parse("{{ with secret \"a/b\" }}{{ end }}").unwrap());
}

/// `pkiCert` takes the answer of `pki/issue` apart.
#[test]
fn certificates_have_three_parts() {
    let pem = |kind: &str, body: &str| format!("-----BEGIN {kind}-----\\n{body}\\n-----END {kind}-----");
    let answer = format!(
        r#"{{"data":{{"certificate":"{}","private_key":"{}","issuing_ca":"{}","ca_chain":["x"]}}}}"#,
        pem("CERTIFICATE", "AAAA"),
        pem("EC PRIVATE KEY", "BBBB"),
        pem("CERTIFICATE", "CCCC")
    );
    let secret = Rc::new(SecretAnswer::from_answer(answer.as_bytes()).unwrap());
    let made = |text: &str| parse(text)?.render(&|_| Some(Rc::clone(&secret)), MissingField::Fail, Bounds::default());
    let whole =
        made("{{ with pkiCert \"pki/issue/web\" \"common_name=a\" }}{{ .Cert }}{{ .Data.Key }}{{ .CA }}{{ end }}")
            .unwrap();
    assert_eq!(
        String::from_utf8(whole.bytes).unwrap(),
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n-----BEGIN EC PRIVATE KEY-----\nBBBB\n-----END EC PRIVATE KEY-----\n-----BEGIN CERTIFICATE-----\nCCCC\n-----END CERTIFICATE-----\n"
    );
    assert_eq!(whole.secrets.len(), 3);
    let error = made("{{ with pkiCert \"pki/issue/web\" }}{{ .CAChain }}{{ end }}")
        .err()
        .unwrap();
    assert_eq!(
        error.message,
        "a certificate has no field CAChain; it has Cert, Key, CA"
    );
}
