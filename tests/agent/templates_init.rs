//! Files that `init` makes from templates, and files of chosen fields, against a real OpenBao: all engines in one template, each
//! path read once, all or nothing, and failures that name the place and no value.

use std::process::Command;

use rustls::crypto::ring;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};

use crate::deliver::bao;
use crate::engines::{asked, engines, text};
use crate::support::agent::Agent;
use crate::support::fake_vault::{FakeVault, json as answer, logged_in, secret_body};

pub(crate) fn template(text: &str, file: &str) -> Value {
    json!({"template": text, "file": file, "mode": "0440"})
}

/// A pod with this template of the secret `arc-runners/data/NAME`.
fn with_template(name: &str, data: &Value, text: &str) -> Agent {
    let bao = bao();
    bao.write(&format!("arc-runners/data/{name}"), &json!({"data": data}));
    let text = text.replace("$SECRET", &format!("secret \"arc-runners/data/{name}\""));
    Agent::for_bao(bao)
        .canary("canary-of-init")
        .file(template(&text, "made"))
}

#[test]
fn one_template_has_secrets_of_every_engine() {
    let (bao, postgres) = (&engines().bao, &engines().postgres);
    bao.write(
        "app/data/every",
        &json!({"data": {"password": "canary-of-init", "port": 5432}}),
    );
    bao.write("plain/every", &json!({"host": "db.example.com"}));
    let text_of = r#"{{- with secret "app/data/every" }}{{ .Data.data.password }} {{ .Data.data.port }}
{{ end }}{{ with secret "plain/every" }}{{ .Data.host }}
{{ end }}{{ with secret "database/creds/web" }}{{ .Data.username }} {{ .Data.password }} {{ .LeaseDuration }} {{ .Renewable }}
{{ end }}{{ with secret "pki/issue/web" "common_name=template.example.com" "ttl=30m" }}{{ .Data.certificate }}
{{ .Data.private_key }}{{ end }}"#;
    let agent = crate::engines::agent()
        .canary("canary-of-init")
        .file(template(text_of, "made"));
    agent.run().expect(0, &["delivered 1 file"]);
    let made = text(&agent, "files/made");
    let lines: Vec<&str> = made.lines().collect();
    assert_eq!(lines[..2], ["canary-of-init 5432", "db.example.com"]);
    let [user, password, ttl, renewable] = lines[2].split(' ').collect::<Vec<_>>().try_into().unwrap();
    assert_eq!((ttl, renewable), ("3600", "true"));
    assert_eq!(postgres.ask(user, password, "select current_user").unwrap(), user);
    let certificate = CertificateDer::from_pem_slice(made.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(made.as_bytes()).unwrap();
    CertifiedKey::from_der(vec![certificate], key, &ring::default_provider()).expect("they are a pair");
    assert_eq!(asked("pki/issue/web", "template.example.com"), 1);
}

#[test]
fn a_path_that_a_template_a_file_and_a_variable_share_is_read_once() {
    let fake = FakeVault::plain(logged_in(|_, _| answer(200, &secret_body(r#"{"a":"canary-of-init"}"#))));
    let agent = Agent::for_fake(&fake)
        .canary("canary-of-init")
        .file(template(
            r#"{{ with secret "kv/data/web" }}{{ .Data.a }}{{ end }}{{ (secret "kv/data/web").Data.a }}"#,
            "made",
        ))
        .with(
            "/env",
            json!([{"secret": "kv/data/web", "select": {"value": {"at": ["a"], "name": "A"}}}]),
        );
    agent.run().expect(0, &["delivered 2 files and 1 variable"]);
    assert_eq!(text(&agent, "files/made"), "canary-of-initcanary-of-init");
    assert_eq!(text(&agent, "files/a"), "canary-of-init");
    let reads = fake
        .requests()
        .into_iter()
        .filter(|request| request.target == "/v1/kv/data/web");
    assert_eq!(reads.count(), 1);
}

#[test]
fn a_template_that_fails_leaves_no_file_of_the_pod() {
    let data = json!({"user": "u", "password": "canary-of-init", "port": 5432});
    let bad = [
        ("{{ with $SECRET }}a\n  {{ .Data.data.pasword }}{{ end }}", 66, "line 2"),
        (
            "{{ with $SECRET }}{{ .Data.data.password | base64Decode }}{{ end }}",
            65,
            "line 1",
        ),
        ("{{ with $SECRET }}{{ range 2000000 }}{{ end }}{{ end }}", 65, "steps"),
        (
            "{{ with $SECRET }}{{ range 200000 }}{{ $s := . }}canary{{ end }}{{ end }}",
            65,
            "bytes",
        ),
    ];
    for (text, code, place) in bad {
        for first in [true, false] {
            let good = json!({"secret": "arc-runners/data/bad", "key": "user", "format": "raw", "file": "good", "mode": "0400"});
            let mut agent = with_template("bad", &data, text);
            if first {
                agent.plan["files"].as_array_mut().unwrap().insert(0, good);
            } else {
                agent = agent.file(good);
            }
            let ended = agent.run();
            ended.stage("render").expect(code, &["the template of made", place]);
            assert!(agent.all_files().is_empty(), "{:?}", agent.all_files());
        }
    }
}

#[test]
fn a_missing_field_is_named_with_the_fields_that_there_are() {
    let data = json!({"user": "u", "password": "canary-of-init"});
    let agent = with_template(
        "missing",
        &data,
        "{{ with $SECRET }}\n\n{{ .Data.data.pasword }}{{ end }}",
    );
    agent.run().expect(
        66,
        &[
            "line 3, column",
            "there is no field pasword",
            "password, user",
            "Did you mean password?",
        ],
    );
}

#[test]
fn a_secret_that_is_missing_is_left_to_the_template_only_with_ignore_not_found() {
    let text = r#"{{ with secret "arc-runners/data/never-was" }}{{ .Data.data.a }}{{ else }}none{{ end }}"#;
    let agent = || Agent::for_bao(bao()).file(template(text, "made"));
    let strict = agent();
    strict.run().expect(66, &["arc-runners/data/never-was"]);
    assert!(strict.all_files().is_empty());
    let lenient = agent().with("/ignoreNotFound", json!(true));
    lenient.run().expect(0, &["delivered 1 file"]);
    assert_eq!(lenient.delivered("files/made"), b"none");
}

/// Values that a reader could take for something else.
fn awkward() -> Value {
    json!({
        "quote": "it's \"q\" $HOME `id` \\ {{ .x }}", "lines": "a\nb\n", "umlaut": "zw\u{f6}lf \u{1f511}", "number": 1234567890123456_u64,
        "yes": "on", "empty": "", "left-out": "canary-of-init",
    })
}

const NAMES: [(&str, &str); 6] = [
    ("Z_QUOTE", "quote"),
    ("LINES", "lines"),
    ("UMLAUT", "umlaut"),
    ("NUMBER", "number"),
    ("YES", "yes"),
    ("EMPTY", "empty"),
];

/// An entry with the fields of [`NAMES`].
pub(crate) fn chosen(secret: &str, format: &str, file: &str) -> Value {
    let keys: Vec<_> = NAMES
        .map(|(name, field)| json!({"name": name, "field": field}))
        .to_vec();
    json!({"secret": secret, "keys": keys, "format": format, "file": file, "mode": "0444"})
}

/// What a reader of the file must find under each name.
fn expected() -> Vec<(String, String)> {
    let data = awkward();
    let text = |field: &str| match &data[field] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    NAMES.map(|(name, field)| (name.to_owned(), text(field))).to_vec()
}

/// What `sh` has in these variables after it has read the file, or in those of its children.
fn in_sh(file: &std::path::Path, exported: bool) -> Vec<(String, String)> {
    let print = match exported {
        true => "exec env -0".to_owned(),
        false => NAMES
            .map(|(name, _)| format!("printf '%s=%s\\0' {name} \"${name}\""))
            .join("\n"),
    };
    let script = format!(". {}\n{print}", file.display());
    let output = Command::new("sh")
        .args(["-euc", &script])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let printed = String::from_utf8(output.stdout).unwrap();
    let mut found: Vec<(String, String)> = printed
        .split_terminator('\0')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let position = |name: &str| NAMES.iter().position(|(known, _)| *known == name);
    found.retain(|(name, _)| position(name).is_some());
    found.sort_by_key(|(name, _)| position(name));
    found
}

#[test]
fn chosen_fields_arrive_in_every_format_as_its_reader_reads_them() {
    let bao = bao();
    bao.write("arc-runners/data/chosen", &json!({"data": awkward()}));
    let mut agent = Agent::for_bao(bao).canary("canary-of-init");
    for format in ["json", "yaml", "dotenv", "shell", "properties"] {
        agent = agent.file(chosen("arc-runners/data/chosen", format, format));
    }
    agent.run().expect(0, &["delivered 5 files"]);
    let place = |format: &str| agent.volume().join("files").join(format);
    assert_eq!(in_sh(&place("dotenv"), false), expected());
    assert_eq!(in_sh(&place("shell"), true), expected());
    let json: Value = serde_json::from_slice(&agent.delivered("files/json")).unwrap();
    let in_order: Vec<_> = json.as_object().unwrap().keys().cloned().collect();
    assert_eq!(in_order, NAMES.map(|(name, _)| name));
    for (name, value) in expected() {
        let found = &json[&name];
        assert_eq!(found.as_str().map_or_else(|| found.to_string(), str::to_owned), value);
    }
    for format in ["json", "yaml", "dotenv", "shell", "properties"] {
        assert!(
            !text(&agent, &format!("files/{format}")).contains("canary-of-init"),
            "{format}: a field that is not named"
        );
    }
    in_python(
        &place("yaml"),
        "import yaml\nread = yaml.safe_load(open(sys.argv[1], 'rb'))",
    );
    in_python(&place("json"), "read = json.load(open(sys.argv[1], 'rb'))");
    assert_eq!(
        text(&agent, "files/properties"),
        "Z_QUOTE=it's \"q\" $HOME `id` \\\\ {{ .x }}\nLINES=a\\nb\\n\nUMLAUT=zw\\u00F6lf \\uD83D\\uDD11\nNUMBER=1234567890123456\nYES=on\nEMPTY=\n"
    );
}

/// Python's reader finds each value, in its order.
fn in_python(file: &std::path::Path, read: &str) {
    let script = format!(
        "import json, sys\ntry:\n  import yaml\nexcept ImportError:\n  pass\n{read}\nprint(json.dumps(list(map(list, read.items()))))"
    );
    let output = Command::new("python3").args(["-c", &script]).arg(file).output();
    let Ok(output) = output else {
        eprintln!("skipped: no python3");
        return;
    };
    if String::from_utf8_lossy(&output.stderr).contains("No module named 'yaml'") {
        eprintln!("skipped: python3 has no PyYAML");
        return;
    }
    assert!(output.status.success(), "{output:?}");
    let found: Vec<(String, Value)> = serde_json::from_slice(&output.stdout).unwrap();
    let data = awkward();
    assert_eq!(found, NAMES.map(|(name, field)| (name.to_owned(), data[field].clone())));
}

#[test]
fn a_chosen_field_that_is_missing_or_null_delivers_nothing() {
    let bao = bao();
    bao.write(
        "arc-runners/data/chosen-bad",
        &json!({"data": {"user": "canary-of-init", "nothing": null}}),
    );
    for (field, said) in [("pasword", "\"pasword\""), ("nothing", "is null")] {
        let keys = json!([{"name": "A", "field": "user"}, {"name": "B", "field": field}]);
        let agent = Agent::for_bao(bao).canary("canary-of-init").file(
            json!({"secret": "arc-runners/data/chosen-bad", "keys": keys, "format": "shell", "file": "x", "mode": "0444"}),
        );
        agent.run().expect(66, &[said]);
        assert!(agent.all_files().is_empty());
    }
}
