//! What single annotations of vault-k8s become, and that no annotations break the parser.

use serde_json::{Value, json};

use proptest::prelude::*;

use super::*;
use crate::inject::pod::Pod;

/// What a pod with these annotations of vault-k8s asks for, and what is wrong with them.
fn parsed(annotations: &Value) -> (InjectionRequest, String) {
    let pod = json!({"metadata": {"annotations": annotations}, "spec": {"containers": []}}).to_string();
    let pod = Pod::parse(&pod).unwrap();
    let mut problems = Problems::default();
    let request = parse(pod.metadata.annotations.as_ref().unwrap(), "web", &mut problems);
    (request, problems.to_string())
}

/// The annotations with a role, a secret and these.
fn with(name: &str, value: &str) -> Value {
    let mut annotations = json!({
        "vault.hashicorp.com/agent-inject": "true",
        "vault.hashicorp.com/role": "web",
        "vault.hashicorp.com/agent-inject-secret-db": "kv/data/db",
    });
    annotations[Family::Hashicorp.key(name)] = value.into();
    annotations
}

fn warnings(request: &InjectionRequest) -> &[String] {
    request.vault_k8s.as_ref().map_or(&[], |theirs| &theirs.warnings)
}

#[test]
fn the_default_templates_are_those_of_vault_k8s() {
    for (kind, expected) in [
        (
            "map",
            "{{ with secret \"kv/data/db\" }}{{ range $k, $v := .Data }}{{ $k }}: {{ $v }}\n{{ end }}{{ end }}",
        ),
        (
            "json",
            "{{ with secret \"kv/data/db\" }}{{ .Data | toJSON }}\n{{ end }}",
        ),
    ] {
        let (request, problems) = parsed(&with("agent-inject-default-template", kind));
        assert_eq!(problems, "");
        let plan = serde_json::to_value(request.files[0].for_init("0400".parse().unwrap()).unwrap()).unwrap();
        assert_eq!(plan["template"], expected);
        assert_eq!(plan["file"], "/vault/secrets:db");
        assert_eq!(plan["mode"], "0644");
    }
}

#[test]
fn the_token_goes_where_vault_k8s_writes_it_and_nowhere_else() {
    let token = |annotations: &Value| {
        let (request, problems) = parsed(annotations);
        (request.token_file.map(|file| file.to_string()), problems)
    };
    let mut annotations = with("agent-inject-token", "false");
    assert_eq!(token(&annotations), (None, String::new()));
    annotations = with("agent-inject-token", "true");
    assert_eq!(
        token(&annotations),
        (Some("/vault/secrets:token".to_owned()), String::new())
    );
    // The directory of one secret is not the directory of the token.
    annotations["vault.hashicorp.com/secret-volume-path-db"] = "/srv/db".into();
    annotations["vault.hashicorp.com/secret-volume-path"] = "/srv/all/".into();
    assert_eq!(token(&annotations), (Some("/srv/all:token".to_owned()), String::new()));
    for (name, value, why) in [
        (
            "agent-inject-token",
            "yes",
            "agent-inject-token: \"yes\" is not a boolean",
        ),
        (
            "agent-inject-secret-token",
            "kv/data/x",
            "agent-inject-token: puts the client token at",
        ),
        (
            "secret-volume-path",
            "srv",
            "secret-volume-path: \"srv\" is not an absolute path",
        ),
        ("secret-volume-path", "/etc", "secret-volume-path"),
    ] {
        let mut annotations = with("agent-inject-token", "true");
        annotations[Family::Hashicorp.key(name)] = value.into();
        let (_, problems) = token(&annotations);
        assert!(problems.contains(why), "{name}: {problems}");
    }
}

#[test]
fn a_path_with_a_quote_stays_one_path() {
    let (request, problems) = parsed(&with("agent-inject-secret-db", "kv/data/a\"b"));
    assert_eq!(problems, "");
    let secrets: Vec<_> = request.files[0]
        .requests()
        .map(|request| request.secret.as_str())
        .collect();
    assert_eq!(secrets, ["kv/data/a\"b"]);
}

#[test]
fn the_interval_is_the_nearest_that_podkey_has() {
    for (text, expected, warns) in [
        ("30s", "30s", false),
        ("300", "5m", false),
        ("1s", "5s", true),
        ("48h", "1day", true),
        ("", "5m", false),
    ] {
        let (request, problems) = parsed(&with("template-static-secret-render-interval", text));
        assert_eq!(problems, "", "{text}");
        assert_eq!(request.refresh.given().unwrap().to_string(), expected, "{text}");
        assert_eq!(!warnings(&request).is_empty(), warns, "{text}");
    }
}

#[test]
fn the_secrets_have_one_order_whatever_the_order_of_the_annotations() {
    let (request, _) = parsed(&json!({
        "vault.hashicorp.com/agent-inject": "true",
        "vault.hashicorp.com/role": "web",
        "vault.hashicorp.com/agent-inject-secret-z": "kv/data/z",
        "vault.hashicorp.com/agent-inject-template-a": "{{ with secret \"kv/data/a\" }}{{ .Data }}{{ end }}",
        "vault.hashicorp.com/agent-inject-secret-m": "kv/data/m",
    }));
    let paths: Vec<_> = request.files.iter().map(|file| file.file.path().into_owned()).collect();
    assert_eq!(paths, ["/vault/secrets/a", "/vault/secrets/m", "/vault/secrets/z"]);
}

#[test]
fn warnings_are_short_lines_of_ascii_however_many_keys_there_are() {
    let mut annotations = with("agent-pre-populate", "false");
    for index in 0..500 {
        annotations[Family::Hashicorp.key(&format!("{}é{index}", "x".repeat(60)))] = "x".into();
        annotations[Family::Hashicorp.key(&format!("agent-telemetry-{index}"))] = "x".into();
    }
    annotations[Family::Hashicorp.key("agent-service-account-token-volume-name")] = "token".into();
    annotations[Family::Hashicorp.key("template-static-secret-render-interval")] = "1s".into();
    let (request, _) = parsed(&annotations);
    let warnings = warnings(&request);
    assert!((3..=4).contains(&warnings.len()), "{warnings:?}");
    for warning in warnings {
        assert!(
            warning.len() < 120 && warning.bytes().all(|b| (b' '..=b'~').contains(&b)),
            "{warning}"
        );
    }
}

#[test]
fn a_value_that_is_no_text_is_reported_for_every_key_that_vault_k8s_knows() {
    for row in KEYS {
        let name = match row.suffix {
            Suffix::None | Suffix::OptionalName => row.key.to_owned(),
            Suffix::Name | Suffix::Parameter => format!("{}-x", row.key),
        };
        let mut annotations = with("role", "web");
        annotations[Family::Hashicorp.key(&name)] = json!([1]);
        let (_, problems) = parsed(&annotations);
        assert!(
            problems.contains(&format!("{name}: is not a text")),
            "{name}: {problems}"
        );
    }
}

#[test]
fn a_key_with_control_characters_does_not_reach_the_message_of_a_refusal() {
    let name = "agent-inject-secret-a\u{1b}[2J/\n..";
    let (_, problems) = parsed(&with(name, "kv/data/db"));
    assert!(
        problems.starts_with("vault.hashicorp.com/agent-inject-secret-a\\u{1b}[2J/\\n..: "),
        "{problems}"
    );
    assert!(!problems.contains(char::is_control), "{problems:?}");
}

#[test]
fn more_files_than_a_pod_may_have_are_refused_before_their_templates_are_parsed() {
    let mut annotations = with("role", "web");
    for index in 0..65 {
        annotations[Family::Hashicorp.key(&format!("agent-inject-template-{index}"))] = "{{ with".into();
    }
    let (request, problems) = parsed(&annotations);
    assert!(
        request.files.is_empty() && problems.contains("has 66 files"),
        "{problems}"
    );
}

#[test]
fn a_pod_with_more_annotations_than_are_kept_asks_and_is_refused() {
    let mut annotations = json!({});
    for index in 0..800 {
        annotations[Family::Hashicorp.key(&format!("a-{index}"))] = "x".into();
    }
    annotations[Family::Hashicorp.key(INJECT)] = "true".into();
    let pod = json!({"metadata": {"annotations": &annotations}, "spec": {"containers": []}}).to_string();
    assert!(asks(Pod::parse(&pod).unwrap().metadata.annotations.as_ref().unwrap()));
    let (_, problems) = parsed(&annotations);
    assert!(problems.contains("has more than 768 annotations"), "{problems}");
}

/// A key of the table with a NAME.
fn written_key() -> impl Strategy<Value = String> {
    (0..KEYS.len(), prop_oneof![Just("db".to_owned()), "[ -~]{0,20}"]).prop_map(|(row, name)| match KEYS[row].suffix {
        Suffix::None => KEYS[row].key.to_owned(),
        Suffix::OptionalName | Suffix::Name | Suffix::Parameter => format!("{}-{name}", KEYS[row].key),
    })
}

/// Values that are near to something that some key takes, and others.
fn written_value() -> impl Strategy<Value = String> {
    let words = [
        "true",
        "",
        "0",
        "/",
        "/vault/secrets",
        "json",
        "5m",
        "0400",
        "kv/data/a",
        "../x",
        "a:b",
        "[[",
        "kill -HUP $(pidof a)",
        "touch /vault/secrets/a",
        "{{ with secret \"kv/a\" }}{{ .Data.b }}{{ end }}",
        "https://vault.vault.svc:8200",
        "1000",
    ];
    prop_oneof![
        proptest::sample::select(words.to_vec()).prop_map(str::to_owned),
        "\\PC{0,40}",
        any::<String>()
    ]
}

proptest! {
    /// Whatever an author writes, the parser ends with a request or a problem; a file is below the directory that was named.
    #[test]
    fn no_annotations_break_the_parser(
        written in proptest::collection::vec((any::<bool>(), written_key(), written_value()), 0..12),
    ) {
        let mut annotations = with("role", "web");
        for (openbao, key, value) in written {
            let family = if openbao { Family::Openbao } else { Family::Hashicorp };
            annotations[family.key(&key)] = value.into();
        }
        let (request, _) = parsed(&annotations);
        for file in &request.files {
            let path = file.file.path();
            prop_assert!(path.starts_with('/') && !path.split('/').any(|segment| segment == ".."), "{}", path);
        }
        for warning in warnings(&request) {
            prop_assert!(warning.len() < 120 && warning.bytes().all(|b| (b' '..=b'~').contains(&b)), "{}", warning);
        }
    }
}
