//! Entries of `podkey.dev/files` that parse, and those that do not.

use std::num::NonZeroU64;

use crate::inject::problem::Problems;
use crate::inject::request::files::entries::parse;
use crate::inject::request::files::file::{FileRequest, RequestedContent};
use crate::inject::words::keys::FILES;
use crate::plan::*;

fn short(problems: &Problems) -> String {
    problems.to_string().replace(FILES, "f")
}

/// The secret that `init` makes the file of.
fn secret(file: &FileRequest) -> &SecretContent {
    match &file.content {
        RequestedContent::Init(Content::Secret(content)) => content,
        _ => panic!("not one secret that init reads"),
    }
}

#[test]
fn the_documented_entry_parses() {
    let mut problems = Problems::default();
    let text = r#"
- secret: arc-runners/data/kubeconfig/rancher-cluster   # API path
  key: config
  decode: base64
  file: /tmp/kubeconfig
  mode: "0400"
  env: KUBECONFIG
- secret: apps/data/web
  format: dotenv
  file: web.env
  version: 3
"#;
    let files = parse(text, &mut problems);
    assert!(problems.is_empty(), "{problems}");
    let content: Vec<_> = files.iter().map(secret).collect();
    assert_eq!((content[0].decode, content[0].format), (Decode::Base64, Format::Raw));
    assert_eq!(files[0].mode, Some(Mode::OWNER));
    assert_eq!(content[1].format, Format::Dotenv);
    assert_eq!(content[1].request.version, NonZeroU64::new(3));
}

#[test]
fn data_keeps_the_text_of_scalars_and_templates_make_names() {
    let mut problems = Problems::default();
    let text = r#"
- secret: pki/issue/web
  data: { common_name: web.example.com, ttl: 0400, exclude_cn: true, alt_names: [a, 1.10], extensions: {permit-pty: ""} }
  file: "{{ .MountPath }}/{{ .SecretKey | replace \"_\" \"-\" }}.pem"
  when-gone: fail
"#;
    let files = parse(text, &mut problems);
    assert!(problems.is_empty(), "{problems}");
    assert_eq!(
        serde_json::to_string(&secret(&files[0]).request.data).unwrap(),
        r#"{"alt_names":["a","1.10"],"common_name":"web.example.com","exclude_cn":"true","extensions":{"permit-pty":""},"ttl":"0400"}"#
    );
    assert_eq!(
        files[0].file.to_string(),
        r#"pki/{{ .SecretKey | replace "_" "-" }}.pem"#
    );
    assert_eq!(
        (secret(&files[0]).format, files[0].when_gone),
        (Format::Raw, WhenGone::Fail)
    );
}

#[test]
fn each_problem_names_its_field_and_all_problems_are_reported_together() {
    let good = "- {secret: a/b, key: k, file: f";
    for (text, expected) in [
        ("", "f: is not a list of files"),
        ("secret: a", "f: is not a list of files"),
        ("[]", "f: is not a list of files"),
        ("- a", "f[0]: is not a set of fields"),
        ("- {file: f}", "f[0].secret: is missing"),
        ("- {secret: a/b, key: k}", "f[0].file: is missing"),
        (
            "- {secret: a/../b, key: k, file: f}",
            "f[0].secret: \"a/../b\" has a segment",
        ),
        (
            "- {secret: auth/token/lookup-self, key: id, file: f}",
            "f[0].secret: \"auth/token/lookup-self\" is about tokens",
        ),
        (
            "- {secret: a/b, key: k, file: ../f}",
            "f[0].file: \"../f\" has a segment",
        ),
        (
            &format!("{good}, secert: x}}"),
            "f[0].secert: is not a field of a file (did you mean \"secret\"?)",
        ),
        (
            &format!("{good}, mode: 0777}}"),
            "f[0].mode: \"0777\" lets every user write",
        ),
        (
            &format!("{good}, mode: [1]}}"),
            "f[0].mode: is a list, and takes one text",
        ),
        (&format!("{good}, mode: }}"), "f[0].mode: has no value"),
        (
            &format!("{good}, decode: bas64}}"),
            "f[0].decode: \"bas64\" is none of none, base64, base64url, hex (did you mean \"base64\"?)",
        ),
        (&format!("{good}, format: xml}}"), "f[0].format: \"xml\" is none of"),
        (&format!("{good}, version: 0}}"), "f[0].version: \"0\" is not a version"),
        (
            &format!("{good}, version: -1}}"),
            "f[0].version: \"-1\" is not a version",
        ),
        (&format!("{good}, env: 1A}}"), "f[0].env: \"1A\" is not a name"),
        (
            &format!("{good}, env: LD_PRELOAD}}"),
            "f[0].env: \"LD_PRELOAD\" is a variable that decides",
        ),
        (&format!("{good}, data: b}}"), "f[0].data: is not a set of fields"),
        (&format!("{good}, data: {{}}}}"), "f[0].data: has no field"),
        (&format!("{good}, data: {{a: }}}}"), "f[0].data.a: has no value"),
        (&format!("{good}, data: {{a: [b, ~]}}}}"), "f[0].data.a: has no value"),
        (&format!("{good}, data: {{a: [[b]]}}}}"), "f[0].data.a: is nested"),
        (&format!("{good}, data: {{a: {{b: [c]}}}}}}"), "f[0].data.a: is nested"),
        (&format!("{good}, data: {{'': b}}}}"), "f[0].data: has the field \"\""),
        (
            &format!("{good}, data: {{a: {}}}}}", "b".repeat(20_000)),
            "f[0].data: has 20001 bytes, allowed are 16384",
        ),
        (
            &format!("{good}, data: {{a: b}}, version: 2}}"),
            "f[0].version: is for a secret that is read",
        ),
        (
            "- {secret: team/sys/policies/acl/x, key: k, file: f, data: {policy: x}}",
            "f[0].data: \"team/sys/policies/acl/x\" belongs to the server itself",
        ),
        (
            "- {secret: 'pki/issue/{job}', key: k, file: f, as: job, data: {a: b}}",
            "f[0].data: \"pki/issue/{job}\" would be written by each job",
        ),
        (
            &format!("{good}, when-gone: deleted}}"),
            "f[0].when-gone: \"deleted\" is none of keep, delete, fail (did you mean \"delete\"?)",
        ),
        (
            "- {secret: a/b, file: '{{ .SecretKey }}', key: k, format: json, env: A}",
            "f[0].key: cannot be where `file` has {{ .SecretKey }}, which makes a file of each field: remove one of the two; \
             f[0].format: cannot be where",
        ),
        (
            "- {secret: a/b, file: '{{ .SecretKey }}', as: job}",
            "f[0].as: cannot be where `file` has {{ .SecretKey }}",
        ),
        (
            "- {secret: a/b, file: '{{ .SecretKye }}'}",
            "f[0].file: \"{{ .SecretKye }}\" has the placeholder \".SecretKye\", which is none of .MountPath, \
             .MountBaseName, .SecretPath, .SecretBaseName, .SecretKey (did you mean \".SecretKey\"?)",
        ),
        (
            "- {secret: a/b, file: '{{ .SecretPath }}'}\n- {secret: c/b, file: b}",
            "f[1].file: \"b\" is the destination of f[0]",
        ),
        (
            &format!("{good}, as: jobs}}"),
            "f[0].as: \"jobs\" is none of init, job (did you mean \"job\"?)",
        ),
        (
            "- {secret: 'a/{job}', key: k, file: f}",
            "f[0].secret: \"a/{job}\" has a placeholder, which only the job can fill in: add `as: job`",
        ),
        (
            "- {secret: 'a/{repo}', key: k, file: f, as: job}",
            "f[0].secret: \"a/{repo}\" has a brace that belongs to none of {repository}",
        ),
        (
            "- {secret: 'auth/token/{job}', key: k, file: f, as: job}",
            "is about tokens",
        ),
        (
            "- {secret: a, file: f, format: raw}",
            "f[0].format: \"raw\" needs a key",
        ),
        ("- {secret: a, file: f, decode: hex}", "f[0].decode: needs a key"),
        ("- {secret: a, key: \"\", file: f}", "f[0].key: is empty"),
        (
            "- {secret: a, key: k, file: /tmp/$x, env: A}",
            "f[0].env: cannot name a path with a $",
        ),
        (
            "- {secret: a, file: f}\n- {secret: b, file: f}",
            "f[1].file: \"f\" is the destination of f[0]",
        ),
        (
            "- {secret: a, file: f/g}\n- {secret: b, file: f}",
            "f[1].file: \"f\" is in conflict with f[0] (\"f/g\")",
        ),
        (
            "- {secret: a, file: f, env: A}\n- {secret: b, file: g, env: A}",
            "f[1].env: \"A\" is also set by f[0]",
        ),
    ] {
        let mut problems = Problems::default();
        parse(text, &mut problems);
        assert!(short(&problems).contains(expected), "{text:?}: {problems}");
    }
    let mut problems = Problems::default();
    parse("- {}\n- {secret: a, file: f, mode: x}", &mut problems);
    assert_eq!(problems.iter().count(), 3, "{problems}");
    let mut problems = Problems::default();
    parse(&"- {secret: a, file: f}\n".repeat(1000), &mut problems);
    assert_eq!(short(&problems), "f: has 1000 files, allowed are 64");
}
