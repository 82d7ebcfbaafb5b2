//! Faults that are planted into pages: each check finds its own.

use std::fs;
use std::time::Duration;

use crate::page::Page;
use crate::{book, commands, links, root, run_within, yaml};

fn page(path: &str, text: &str) -> Page {
    Page {
        path: path.to_owned(),
        text: text.to_owned(),
    }
}

fn block(language: &str, text: &str) -> Page {
    page("docs/a.md", &format!("# A\n\n```{language}\n{text}\n```\n"))
}

#[test]
fn a_bad_yaml_block_of_each_kind_is_found() {
    let pod = |annotations: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata:\n  name: web\n  annotations:\n    {annotations}\n\
             spec:\n  containers: [{{ name: web, image: web }}]"
        )
    };
    let cases: Vec<(String, &str)> = vec![
        (pod("podkey.dev/file: '- {secret: kv/data/a, file: a}'"), "podkey.dev/file"),
        (
            "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\n  annotations:\n    podkey.dev/files: '- {secret: a/b, file: c}'\n\
             spec:\n  selector: {}\n  template:\n    spec:\n      containers: [{ name: web, image: web }]"
                .to_owned(),
            "spec.template.metadata.annotations",
        ),
        ("metadata:\n  annotations:\n    podkey.dev/refresh: often".to_owned(), "podkey.dev/refresh"),
        ("podkey.dev/roles: web".to_owned(), "podkey.dev/roles"),
        ("template:\n  metadata:\n    annotations:\n      podkey.dev/mask: some".to_owned(), "podkey.dev/mask"),
        ("- { secret: kv/data/web, file: a, fromat: json }".to_owned(), "fromat"),
        ("file: a\nsecret: kv/data/web\nmode: '0999'".to_owned(), "mode"),
        ("connections: { default: { adress: 'https://v' } }".to_owned(), "adress"),
        ("config: { connections: { default: { address: 'ftp://v' } } }".to_owned(), "address"),
        ("job: { role: ci, policy: { event: [push] } }".to_owned(), "event"),
        ("allow: [{ namespace: [web] }]".to_owned(), "namespace"),
        ("repositoryIds: [octo-org/octo-repo]".to_owned(), "is not an id"),
        ("annotations:\n  podkey.dev/export: maybe".to_owned(), "podkey.dev/export"),
        ("a: [".to_owned(), "is not valid YAML"),
        ("web:\n  podkey.dev/role: web".to_owned(), "neither a manifest nor a part of a pod"),
        (
            "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: a }\ndata:\n  content: |\n    metadata:\n      annotations:\n        podkey.dev/rolle: a"
                .to_owned(),
            "podkey.dev/rolle",
        ),
        (
            "vault.hashicorp.com/agent-inject: 'true'\nvault.hashicorp.com/agent-inject-secret-a: kv/data/a".to_owned(),
            "vault.hashicorp.com/role",
        ),
    ];
    for (text, wanted) in cases {
        let problems = yaml::check(&[block("yaml", &text)]).problems;
        assert!(
            problems.len() == 1 && problems[0].starts_with("docs/a.md:3") && problems[0].contains(wanted),
            "{text}\n{problems:?}"
        );
    }
}

#[test]
fn a_good_yaml_block_of_each_kind_passes() {
    for text in [
        "podkey.dev/refresh: 15s\npodkey.dev/on-change: touch:reload",
        "podkey.dev/on-change: signal:SIGHUP:nginx\npodkey.dev/refresh: 15s",
        "podkey.dev/mask: lines",
        "podkey.dev/env: kv/data/web token | TOKEN",
        "podkey.dev/containers: web, migrate",
        "- { secret: kv/data/web, file: a, as: job }",
        "repositoryIds: ['1']",
        "allow: [{ namespaces: [web] }]",
        "vaultK8s: { connection: default }",
        "template:\n  spec:\n    containers: [{ name: runner, image: ghcr.io/actions/actions-runner }]",
        "vault.hashicorp.com/agent-inject: 'true'\nvault.hashicorp.com/role: web\nvault.hashicorp.com/agent-inject-secret-a: kv/data/a",
        "steps:\n- run: podkey lint",
    ] {
        let problems = yaml::check(&[block("yaml", text)]).problems;
        assert!(problems.is_empty(), "{text}\n{problems:?}");
    }
}

#[test]
fn only_a_comment_with_a_reason_keeps_a_block_from_the_check() {
    let bad = "```yaml\npodkey.dev/roles: web\n```\n";
    for (before, problems) in [
        ("<!-- not checked: the pod is denied -->\n", 0),
        ("<!-- not checked: -->\n", 1),
        ("<!-- not checked: the pod is denied -->\n\n", 1),
        ("<!-- the pod is denied -->\n", 1),
    ] {
        let checked = yaml::check(&[page("docs/a.md", &format!("# A\n\n{before}{bad}"))]);
        assert_eq!(checked.problems.len(), problems, "{before}");
        assert_eq!(
            checked.summary().contains("docs/a.md:4: the pod is denied"),
            problems == 0,
            "{before}"
        );
    }
}

#[test]
fn a_command_line_that_does_not_parse_is_found() {
    for text in [
        "podkey lnt web.yaml",
        "podkey lint --stict web.yaml",
        "kubectl podkey status -o table",
        "cat pod.yaml | podkey inject --file -",
        "echo \"$(podkey explain -o xml)\"",
        "podkey-agent inti",
        "dist/amd64/kubectl-podkey explian",
        "A=1 make tset",
        "podkey doctor \\\n  --nope",
    ] {
        let problems = commands::problems(&[block("sh", text)]);
        assert!(
            problems.len() == 1 && problems[0].starts_with("docs/a.md:4: "),
            "{text}: {problems:?}"
        );
    }
    let good = "podkey lint web.yaml   # podkey lnt\nhelm template a b | podkey inject -f -\nmake dist ARCHES=amd64\nkubectl podkey doctor -n web POD\n";
    assert_eq!(commands::problems(&[block("sh", good)]), Vec::<String>::new());
    assert_eq!(
        commands::problems(&[block("console", "$ podkey lnt\npodkey printed this")]).len(),
        1
    );
}

#[test]
fn no_command_of_a_page_is_run_by_exec() {
    let folder = tempfile::tempdir().unwrap();
    let made = folder.path().join("made");
    // A pod in which all is delivered: `exec` would become the command.
    let root = folder.path().join("podkey/bin");
    fs::create_dir_all(&root).unwrap();
    let outcome = r#"{"delivered": {"accessor": "", "delivered": [], "leases": []}}"#;
    fs::write(root.join("outcome.json"), outcome).unwrap();
    let line = format!(
        "podkey-agent --root {} exec -- touch {}",
        folder.path().display(),
        made.display()
    );
    assert_eq!(commands::problems(&[block("sh", &line)]), Vec::<String>::new());
    assert!(!made.exists());
    for line in [
        "podkey-agent exec",
        "podkey-agent exec --",
        "podkey-agent exec touch a",
        "podkey-agent exec --a -- b",
    ] {
        assert_eq!(commands::problems(&[block("sh", line)]).len(), 1, "{line}");
    }
}

#[test]
fn a_command_that_does_not_end_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let run = |deadline, seconds| {
        run_within(
            Duration::from_millis(deadline),
            "/bin/sleep",
            "sleep",
            &[seconds],
            folder.path(),
        )
    };
    assert!(run(100, "1000").is_none());
    assert!(run(120_000, "0").is_some_and(|output| output.status.success()));
}

#[test]
fn a_link_that_leads_nowhere_is_found() {
    for (link, wanted) in [
        ("[a](b.md)", "no such file"),
        ("[a](#b)", "no such heading"),
        ("[a](../README.md#no-such-heading)", "no such heading"),
        ("![a](pictures/none.svg)", "no such file"),
        ("<img src=\"none.svg\">", "no such file"),
        ("[a](../Makefile#help)", "only pages"),
        ("[a](/docs/a.md)", "absolute"),
        ("[a][b]\n\n[b]: c.md", "no such file"),
    ] {
        let problems = links::problems(&[page("docs/a.md", &format!("# A\n\n{link}\n"))]);
        assert!(
            problems.len() == 1 && problems[0].contains(wanted),
            "{link}: {problems:?}"
        );
    }
    let good = "# A\n\n## B c\n\n[a](#b-c), [b](a.md#a), [c](../Makefile), [d](https://example.com/e#f), `[e](f.md)`\n";
    assert_eq!(links::problems(&[page("docs/a.md", good)]), Vec::<String>::new());
}

#[test]
fn a_link_into_the_source_is_found() {
    for link in [
        "../src/lib.rs",
        "../tests/inject",
        "https://github.com/podkey/podkey/blob/main/src/lib.rs",
    ] {
        let text = format!("# A\n\n[a]({link})\n");
        assert_eq!(links::into_the_source(&[page("docs/a.md", &text)]).len(), 1, "{link}");
    }
    let text = "# A\n\n[a](../../src/lib.rs)\n";
    assert_eq!(
        links::into_the_source(&[page("docs/develop/a.md", text)]),
        Vec::<String>::new()
    );
}

#[test]
fn a_page_that_the_book_lacks_or_has_twice_is_found() {
    let summary = |list: &str| page(book::SUMMARY, &format!("# Summary\n\n{list}"));
    let a = || page("docs/a.md", "# A\n");
    let problems = |list: &str| book::problems(&[summary(list), a()]).join("; ");
    assert_eq!(problems("- [A](a.md)\n"), "");
    assert_eq!(problems(""), "docs/SUMMARY.md does not have docs/a.md");
    assert_eq!(
        problems("- [A](a.md)\n- [B](a.md)\n"),
        "docs/SUMMARY.md has docs/a.md 2 times"
    );
    assert!(problems("- [A](a.md)\n- [B](b.md)\n").contains("docs/b.md, which does not exist"));
    assert!(root().join("docs").is_dir());
}
