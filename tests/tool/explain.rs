//! `podkey explain`: every name is found as people write it, and every example goes through `podkey inject` as it is shown.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::{Ended, podkey};

/// What the examples of annotations need of the operator.
const CONFIG: &str = "
agent: {image: registry.example.com/podkey:1}
vaultK8s: {connection: default}
connections: {default: {address: 'https://vault.vault.svc:8200', job: {role: ci}}}
";

/// A pod that the example of each key of the config admits.
const POD: &str = "
apiVersion: v1
kind: Pod
metadata:
  name: web
  namespace: web
  annotations:
    podkey.dev/role: web
    podkey.dev/auth-mount: kubernetes
    podkey.dev/files: '- {secret: kv/data/web/db, file: db.json}'
spec:
  serviceAccountName: web
  containers: [{name: web, image: registry.example.com/web:1.0.0}]
";

fn explained(args: &[&str]) -> Vec<Value> {
    let mut all = vec!["explain", "-o", "json"];
    all.extend(args);
    let Ended { code, stdout, stderr } = podkey(&all);
    assert_eq!(code, 0, "{args:?}: {stderr}");
    let Value::Array(entries) = serde_json::from_str(&stdout).unwrap() else {
        panic!("{stdout}");
    };
    entries
}

fn text<'a>(entry: &'a Value, field: &str) -> &'a str {
    entry[field].as_str().unwrap_or_default()
}

fn names(args: &[&str]) -> Vec<String> {
    explained(args)
        .iter()
        .map(|entry| text(entry, "name").to_owned())
        .collect()
}

fn inject(folder: &Path, config: &str, manifest: &str) -> Ended {
    let (config_file, manifest_file) = (folder.join("config.yaml"), folder.join("manifest.yaml"));
    fs::write(&config_file, config).unwrap();
    fs::write(&manifest_file, manifest).unwrap();
    let (config_file, manifest_file) = (config_file.to_str().unwrap(), manifest_file.to_str().unwrap());
    let linted = podkey(&["lint", "--strict", "--config", config_file, manifest_file]);
    assert_eq!(linted.code, 0, "{}{}{manifest}", linted.stdout, linted.stderr);
    podkey(&["inject", "--config", config_file, "-f", manifest_file])
}

#[test]
fn every_example_goes_through_inject_as_it_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    fs::write(
        &ca,
        rcgen::generate_simple_self_signed(["v".to_owned()]).unwrap().cert.pem(),
    )
    .unwrap();
    let mut without = Vec::new();
    for entry in explained(&[]) {
        let (name, example) = (text(&entry, "name"), text(&entry, "example"));
        let kind = text(&entry, "kind");
        if example.is_empty() {
            without.push(name.to_owned());
            continue;
        }
        let injected = if kind.starts_with("field of /podkey/secrets/.status.json") {
            let status: Value = serde_json::from_str(example).unwrap();
            let field = name.rsplit('.').next().unwrap();
            let of_file = status["files"].as_object().unwrap().values();
            assert!(
                of_file.chain([&status]).any(|fields| fields.get(field).is_some()),
                "{name}\n{example}"
            );
            continue;
        } else if kind.starts_with("exit code") {
            assert!(example.starts_with("kubectl logs POD -c podkey-"), "{example}");
            continue;
        } else if kind.contains("config") && !kind.contains("vault-k8s") {
            inject(
                folder.path(),
                &example.replace("/etc/podkey/vault-ca.pem", ca.to_str().unwrap()),
                POD,
            )
        } else {
            assert_eq!(
                example.matches("podkey.dev/role: web").count(),
                usize::from(!kind.contains("vault-k8s"))
            );
            inject(folder.path(), CONFIG, example)
        };
        assert_eq!(injected.code, 0, "{name}: {}\n{example}", injected.stderr);
        assert!(injected.stdout.contains("podkey-init"), "{name}\n{}", injected.stdout);
        let last = name
            .rsplit(['.', '/'])
            .next()
            .unwrap()
            .replace("-NAME", "-web")
            .replace("[-web]", "");
        assert!(
            example.contains(&format!("{last}:")),
            "{name} is not in its example\n{example}"
        );
    }
    // podkey writes the first two itself, and the last two are lists of names; what vault-k8s' other annotations do, podkey does otherwise or not at all.
    let ours: Vec<_> = without
        .iter()
        .filter(|name| !name.starts_with("vault.hashicorp.com/"))
        .collect();
    let no_manifest = [
        "podkey.dev/plan",
        "podkey.dev/injected",
        "reserved-variables",
        "wildcard-variables",
    ];
    assert_eq!(ours, no_manifest);
}

#[test]
fn an_annotation_of_vault_k8s_that_podkey_translates_has_an_example() {
    let without = explained(&[])
        .into_iter()
        .filter(|entry| text(entry, "treatment").starts_with("podkey does the same") && entry.get("example").is_none());
    let names: Vec<_> = without
        .map(|entry| text(&entry, "name").replace("vault.hashicorp.com/", ""))
        .collect();
    // podkey writes the first; the others choose one of the operator's connections.
    assert_eq!(names, ["agent-inject-status", "service", "namespace"]);
}

#[test]
fn every_name_of_the_list_is_found_as_the_list_shows_it() {
    let list = podkey(&["explain"]).stdout;
    let all = explained(&[]);
    assert!(all.len() > 150, "{}", all.len());
    for entry in all {
        let name = text(&entry, "name");
        assert!(
            list.lines().any(|line| line.trim_start().starts_with(name)),
            "{name} is not in the list"
        );
        let written = name.split(" (").next().unwrap();
        assert!(names(&[written]).contains(&name.to_owned()), "{written}");
    }
}

#[test]
fn a_name_is_found_as_manifests_configs_and_messages_write_it() {
    let cases: &[(&str, &[&str])] = &[
        ("refresh", &["podkey.dev/refresh"]),
        ("podkey.dev/refresh", &["podkey.dev/refresh"]),
        ("podkey.dev/refresh:", &["podkey.dev/refresh"]),
        ("files.mode", &["files.mode"]),
        ("podkey.dev/files[1].mode", &["files.mode"]),
        ("podkey.dev/files[0].mode: \"0999\" is not a mode", &["files.mode"]),
        ("<podkey.dev/files[1].mode>", &["files.mode"]),
        ("MODE", &["files.mode"]),
        ("job-policy.events", &["job-policy.events"]),
        ("connections.NAME.job.policy.events", &["job-policy.events"]),
        ("connections.prod-1.job.policy.events", &["job-policy.events"]),
        ("connections.NAME.auth.inline", &["connections.NAME.auth.inline"]),
        ("connections.prod.auth.inline", &["connections.NAME.auth.inline"]),
        ("connections.<name>.auth.inline", &["connections.NAME.auth.inline"]),
        ("auth.inline", &["connections.NAME.auth.inline"]),
        ("connections.prod.allow[0].writes", &["connections.NAME.allow[].writes"]),
        ("connections.NAME.allow[].writes", &["connections.NAME.allow[].writes"]),
        ("connections.prod", &["connections"]),
        (
            "vault.hashicorp.com/agent-inject-secret",
            &["vault.hashicorp.com/agent-inject-secret-NAME"],
        ),
        (
            "vault.hashicorp.com/agent-inject-secret-db",
            &["vault.hashicorp.com/agent-inject-secret-NAME"],
        ),
        (
            "openbao.org/agent-inject-template-file-x",
            &["vault.hashicorp.com/agent-inject-template-file-NAME"],
        ),
        ("77", &["77 (denied)"]),
        ("exit 77", &["77 (denied)"]),
        ("exit code 77", &["77 (denied)"]),
        ("denied", &["77 (denied)"]),
        ("lastSuccess", &["status.files.NAME.lastSuccess"]),
        ("status.state", &["status.state"]),
        ("files", &["podkey.dev/files"]),
        ("reserved-variables", &["reserved-variables"]),
    ];
    for (written, wanted) in cases {
        assert_eq!(names(&[written]), *wanted, "{written}");
    }
    assert_eq!(names(&["exit", "77"]), ["77 (denied)"]);
}

#[test]
fn a_name_that_several_tables_have_shows_each_of_them() {
    let role = [
        "podkey.dev/role",
        "connections.NAME.auth.role",
        "connections.NAME.job.role",
        "vault.hashicorp.com/role",
    ];
    assert_eq!(names(&["role"]), role);
    let shown = podkey(&["explain", "role"]).stdout;
    assert_eq!(shown.matches("NAME:     ").count(), role.len(), "{shown}");
}

#[test]
fn a_section_lists_its_fields_and_a_word_its_meaning() {
    for section in [
        "files",
        "job-policy",
        "connections",
        "connections.x.auth",
        "connections.x.allow",
        "connections.x.job.policy",
        "agent",
    ] {
        let entry = &explained(&[section])[0];
        let fields = entry["fields"].as_array().expect(section);
        assert!(
            fields.len() >= 4 && fields.iter().all(|field| !text(field, "meaning").is_empty()),
            "{section}"
        );
    }
    let format = podkey(&["explain", "files.format"]).stdout;
    assert!(format.contains("\n  dotenv"), "{format}");
    let fields = podkey(&["explain", "files"]).stdout;
    assert!(fields.contains("\n  when-gone  "), "{fields}");
}

#[test]
fn an_unknown_name_ends_with_64_and_what_may_be_meant() {
    let cases = [
        (
            "fiels",
            "\"fiels\" is not a name that podkey explains (did you mean \"files\"?)",
        ),
        (
            "files.mod",
            "(did you mean \"mode\"?): podkey.dev/files has the fields as, secret,",
        ),
        (
            "job-policy.branches",
            "podkey.dev/job-policy has the fields repositories,",
        ),
        (
            "connections.prod.auth.inlin",
            "(did you mean \"inline\"?): connections.NAME.auth has the fields method,",
        ),
        ("hook", "job-hooks"),
        ("\u{1b}[31mred", "is not a name that podkey explains"),
        ("", "is not a name that podkey explains"),
    ];
    for (written, message) in cases {
        let Ended { code, stdout, stderr } = podkey(&["explain", written]);
        assert_eq!((code, stdout.as_str()), (64, ""), "{written}");
        assert!(
            stderr.contains(message) && stderr.contains("`podkey explain` lists all names"),
            "{written}: {stderr}"
        );
        assert!(!stderr.contains('\u{1b}') && stderr.lines().count() == 1, "{stderr:?}");
    }
    let long = "a.".repeat(40_000);
    let Ended { code, stderr, .. } = podkey(&["explain", &long]);
    assert!(code == 64 && stderr.len() < 1000, "{code} {}", stderr.len());
}

#[test]
fn names_that_no_table_has_got_nonsense_suggestions() {
    for written in [
        "",
        "podkey",
        "podkey.dev",
        "podkey.dev/",
        &"a".repeat(600),
        &"a".repeat(100),
        "1",
        "200",
    ] {
        let Ended { code, stderr, .. } = podkey(&["explain", written]);
        assert_eq!(code, 64, "{written}: {stderr}");
        assert!(!stderr.contains("did you mean"), "{written}: {stderr}");
    }
    for (written, signal) in [("137", "the signal 9 (SIGKILL)"), ("139", "the signal 11 ended")] {
        let stderr = podkey(&["explain", written]).stderr;
        assert!(
            stderr.contains("nor an exit code of podkey-agent: ") && stderr.contains(signal),
            "{written}: {stderr}"
        );
    }
}

#[test]
fn a_name_below_a_map_and_a_word_of_a_value_are_found() {
    assert_eq!(names(&["podkey.dev/files[0].keys.password"]), ["files.keys"]);
    assert_eq!(names(&["agent.resources.limits.cpu"]), ["agent.resources.limits"]);
    assert_eq!(names(&["never"]), ["podkey.dev/refresh"]);
    assert_eq!(names(&["base64url"]), ["files.decode"]);
    // The name of an exit code, before it is a word of podkey.dev/on-change.
    assert!(podkey(&["explain", "restart"]).stdout.contains("restart"));
}

#[test]
fn a_name_shows_what_its_value_is_and_what_else_to_know() {
    let shown = podkey(&["explain", "podkey.dev/refresh"]).stdout;
    assert!(
        shown.contains("\nVALUE:    `never`, or a duration from `5s` to `24h`\n"),
        "{shown}"
    );
    assert!(shown.contains("\nDETAILS:  The sidecar also renews leases"), "{shown}");
    let shown = podkey(&["explain", "status.state"]).stdout;
    assert!(shown.contains("\n  unwritten  "), "{shown}");
    let shown = podkey(&["explain", "reserved-variables"]).stdout;
    assert!(shown.contains("\n  LD_*  "), "{shown}");
}
