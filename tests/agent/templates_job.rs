//! Templates and chosen fields in a runner's job: every value that a template printed is masked, wherever the secrets come from, and
//! no list of these values stays.

use serde_json::{Value, json};

use crate::deliver::bao;
use crate::job_pod::Pod;
use crate::support::agent::Agent;
use crate::support::fake_vault::{FakeVault, json as answer, logged_in, secret_body};
use crate::support::openbao::OpenBao;
use crate::templates_init::template;

/// What a template makes of these: the values stand inside lines, where no rule of the masks would look for them.
const USER: &str = "canary-of-user";
const WORDS: &str = "canary of words";
const HIDDEN: &str = "canary-of-decoded";

fn text_of(path: &str) -> String {
    format!(
        "{{{{ with secret \"{path}\" }}}}<a x={{{{ .Data.user }}}}|{{{{ .Data.words }}}}|{{{{ .Data.encoded | base64Decode }}}}|{{{{ .Data.short }}}}>\
         {{{{ end }}}}"
    )
}

fn fake() -> FakeVault {
    let data = json!({"user": USER, "words": WORDS, "encoded": "Y2FuYXJ5LW9mLWRlY29kZWQ=", "short": "1"}).to_string();
    FakeVault::plain(logged_in(move |_, _| answer(200, &secret_body(&data))))
}

fn pod(fake: &FakeVault, file: &str) -> Pod {
    let mut pod = Pod::new(Agent::for_fake(fake))
        .with("/files", json!([]))
        .file(template(&text_of("kv/data/web"), file))
        .with("/files/0/mode", json!("0400"))
        .canary("canary-of");
    for value in [USER, HIDDEN] {
        pod.runner.watch(value);
    }
    pod
}

#[track_caller]
fn masks_each_value(pod: &Pod) {
    for value in [USER, WORDS, HIDDEN, "Y2FuYXJ5LW9mLWRlY29kZWQ="] {
        assert_eq!(pod.runner.masked(&format!("x {value} y")), "x *** y", "{value}");
    }
    assert_eq!(pod.runner.masked("1 of 100"), "1 of 100", "too short to be masked");
}

const MADE: &str = "<a x=canary-of-user|canary of words|canary-of-decoded|1>";

#[test]
fn every_value_that_a_template_of_init_printed_is_masked_and_no_list_of_them_stays() {
    for file in ["made", "dir/made", "/tmp/made"] {
        let fake = fake();
        let mut pod = pod(&fake, file).ready();
        let path = match file.strip_prefix('/') {
            Some(path) => path.to_owned(),
            None => format!("podkey/secrets/{file}"),
        };
        assert!(pod.path("podkey/secrets/.printed/0").exists());
        let step = pod.started();
        step.succeeds();
        masks_each_value(&pod);
        assert_eq!(pod.text(&path), MADE);
        assert!(!pod.path("podkey/secrets/.printed/0").exists());
        assert_eq!(pod.completed().code, 0);
        assert!(pod.left().is_empty(), "{:?}", pod.left());
    }
}

#[test]
fn a_list_of_printed_values_is_removed_with_a_refused_job_that_never_started() {
    let fake = fake();
    let mut pod = pod(&fake, "made").ready();
    assert_eq!(pod.completed().code, 0);
    assert!(pod.left().is_empty(), "{:?}", pod.left());
}

#[test]
fn a_job_whose_printed_values_cannot_be_read_fails_without_its_secrets() {
    for content in [None, Some("no list"), Some("[\"%\"]")] {
        let fake = fake();
        let mut pod = pod(&fake, "made").ready();
        let list = pod.path("podkey/secrets/.printed/0");
        std::fs::remove_file(&list).unwrap();
        if let Some(content) = content {
            std::fs::write(&list, content).unwrap();
        }
        pod.started()
            .fails(&["podkey 64", "/podkey/secrets/made", "the values to mask"]);
        assert!(pod.left().is_empty(), "{:?}", pod.left());
    }
}

#[test]
fn pods_without_job_hooks_have_no_list_of_printed_values() {
    let fake = fake();
    for agent in [Agent::for_fake(&fake), Agent::for_fake(&fake).refresh("30s")] {
        let agent = agent
            .with("/files", json!([]))
            .file(template(&text_of("kv/data/web"), "made"));
        agent.run().expect(0, &[]);
        assert!(
            !agent.all_files().iter().any(|file| file.contains(".printed")),
            "{:?}",
            agent.all_files()
        );
    }
}

/// Values of the new generation are masked, though `init` never saw them.
#[test]
fn values_that_the_sidecar_printed_are_masked() {
    let bao = bao();
    let write = |value: &str| bao.write("arc-runners/data/printed", &json!({"data": {"a": value}}));
    write("canary-of-init");
    let text = r#"{{ with secret "arc-runners/data/printed" }}<x={{ .Data.data.a }}>{{ end }}"#;
    let mut pod = Pod::new(Agent::for_bao(bao).refresh("5s"))
        .file(template(text, "made"))
        .canary("canary-of")
        .with("/files/0/mode", json!("0400"));
    pod.init().expect(0, &[]);
    let sidecar = pod.agent.sidecar();
    write("canary-of-change");
    pod.agent.until("the change", |agent| {
        agent.text("made").as_deref() == Some("<x=canary-of-change>")
    });
    let status = pod.agent.status();
    let names: Vec<&String> = status["files"].as_object().unwrap().keys().collect();
    assert_eq!(names, ["made"], "the list of values is no file of the pod's author");
    sidecar.stop();
    pod.mount();
    pod.runner.watch("canary-of-change");
    pod.started().succeeds();
    assert_eq!(pod.runner.masked("x canary-of-change y"), "x *** y");
}

/// A killed sidecar's list of values is known to the next one.
#[test]
fn a_template_that_is_gone_takes_its_printed_values_along() {
    let bao = bao();
    bao.write(
        "arc-runners/data/printed-gone",
        &json!({"data": {"a": "canary-of-init"}}),
    );
    let text = r#"{{ with secret "arc-runners/data/printed-gone" }}<x={{ .Data.data.a }}>{{ end }}"#;
    let pod = Pod::new(Agent::for_bao(bao).refresh("5s"))
        .file(template(text, "made"))
        .with("/files/0/whenGone", json!("delete"));
    pod.init().expect(0, &[]);
    let first = pod.agent.sidecar();
    first.until_said("with the client token of podkey-init");
    first.kill();
    bao.delete("arc-runners/data/printed-gone");
    let second = pod.agent.sidecar();
    pod.agent.until("gone", |agent| agent.text("made").is_none());
    pod.agent.until("no list", |agent| agent.text(".printed/0").is_none());
    second.stop();
}

#[test]
fn the_jobs_own_templates_are_made_and_masked() {
    let own: &OpenBao = crate::job_own::bao();
    own.write(
        "ci/data/octo-org/octo-repo/template",
        &json!({"data": {"user": USER, "words": WORDS, "encoded": "Y2FuYXJ5LW9mLWRlY29kZWQ=", "short": "1"}}),
    );
    let text = text_of("ci/data/{repository}/template").replace(".Data.", ".Data.data.");
    let keys = json!([{"name": "B", "field": "words"}, {"name": "A", "field": "user"}]);
    let chosen = |format: &str| -> Value {
        json!({"secret": "ci/data/{repository}/template", "keys": keys, "format": format, "file": format!("own.{format}"), "mode": "0400"})
    };
    let mut pod = crate::job_own::pod()
        .entry("/job/files", template(&text, "own"))
        .entry("/job/files", chosen("shell"))
        .entry("/job/files", chosen("json"))
        .ready();
    pod.started().succeeds();
    masks_each_value(&pod);
    assert_eq!(pod.text("podkey/secrets/own"), MADE);
    assert_eq!(
        pod.text("podkey/secrets/own.shell"),
        "export B='canary of words'\nexport A=canary-of-user\n"
    );
    assert_eq!(
        pod.text("podkey/secrets/own.json"),
        r#"{"B":"canary of words","A":"canary-of-user"}"#
    );
    assert_eq!(pod.completed().code, 0);
    assert!(pod.left().is_empty(), "{:?}", pod.left());
}

/// With `lines`, each line of the file and of each printed value.
#[test]
fn the_mask_lines_hides_the_printed_values_too() {
    let fake = fake();
    let mut pod = pod(&fake, "made").with("/job/mask", json!("lines")).ready();
    pod.started().succeeds();
    for value in [USER, WORDS, HIDDEN, MADE] {
        assert_eq!(pod.runner.masked(value), "***");
    }
}
