//! From real pods to the lines of the table. `tests/status/kept.json` is a pod of the end-to-end tests; each case changes it.

use std::io::Write as _;

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::rows::{AgentLog, RunnerObject, job, log_of, refused_runner, row};
use super::table::{Table, TableStyle};
use super::*;
use crate::VERSION;

const NOW: &str = "2026-11-30T01:11:27Z";

fn kept() -> Value {
    let text = include_str!("../../../tests/status/kept.json").replace("{version}", VERSION);
    serde_json::from_str(&text).unwrap()
}

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

fn pod(change: &Value) -> Pod {
    let mut pod = kept();
    json_patch::merge(&mut pod, change);
    serde_json::from_value(pod).unwrap()
}

/// The pod with another status of `podkey-init`; the sidecar has not started.
fn with_init(change: &Value) -> Value {
    let mut status = kept()["status"]["initContainerStatuses"][0].clone();
    json_patch::merge(&mut status, change);
    json!({"status": {"initContainerStatuses": [status]}})
}

/// The pod with another status of `podkey-sidecar`.
fn with_sidecar(change: &Value) -> Value {
    let mut statuses = kept()["status"]["initContainerStatuses"].clone();
    json_patch::merge(&mut statuses[1], change);
    json!({"status": {"initContainerStatuses": statuses}})
}

fn ended(code: i32, message: &str, reason: &str) -> Value {
    json!({"exitCode": code, "message": message, "reason": reason, "finishedAt": "2026-11-30T01:10:27Z"})
}

fn style() -> TableStyle {
    TableStyle {
        all_namespaces: false,
        is_wide: false,
        has_header: false,
        width: None,
    }
}

/// The table without colours.
fn table(rows: &[Row], style: TableStyle) -> String {
    let mut text = anstream::StripStream::new(Vec::new());
    Table::new(style).write(rows, now(), &mut text).unwrap();
    text.flush().unwrap();
    String::from_utf8(text.into_inner()).unwrap()
}

/// The cells of the pod's line.
fn cells(change: &Value, log: Option<&str>) -> Vec<String> {
    let log = log.map(|log| AgentLog::parse(log, now()));
    let row = row(&pod(change), false, log.as_ref()).unwrap();
    let line = table(&[row], style());
    line.trim_end_matches('\n')
        .split("   ")
        .map(|cell| cell.trim().to_owned())
        .collect()
}

#[track_caller]
fn shows(change: &Value, log: Option<&str>, expected: &[&str]) {
    assert_eq!(cells(change, log), expected, "{change}");
}

const DENIED: &str = "podkey 77 stage=login connection=default: the role nope does not exist at auth/k (status 400). create the role, or correct it";

#[test]
fn the_end_of_init_is_the_name_of_its_exit_code_and_the_first_sentence_of_its_message() {
    let why = "the role nope does not exist at auth/k (status 400)";
    let terminated =
        |code, message, reason| json!({"state": {"running": null, "terminated": ended(code, message, reason)}});
    let cases = [
        (
            terminated(77, DENIED, "Error"),
            vec!["kept", "denied (77)", "0/1", "waiting", "-", "60s", why],
        ),
        (
            terminated(137, "", "OOMKilled"),
            vec!["kept", "OOMKilled (137)", "0/1", "waiting", "-", "60s"],
        ),
        (
            terminated(1, "exec: no such file", "StartError"),
            vec![
                "kept",
                "StartError (1)",
                "0/1",
                "waiting",
                "-",
                "60s",
                "exec: no such file",
            ],
        ),
        (
            terminated(
                0,
                "podkey 0 stage=write connection=d: delivered 2 files and 3 variables.",
                "",
            ),
            vec!["kept", "done", "2", "waiting", "-", "60s"],
        ),
    ];
    for (change, expected) in cases {
        shows(&with_init(&change), None, &expected);
    }
}

#[test]
fn a_retried_init_shows_the_reason_of_the_last_try() {
    let why = "the role nope does not exist at auth/k (status 400)";
    let last = ended(77, DENIED, "Error");
    let crash = json!({"reason": "CrashLoopBackOff", "message": "back-off 10s"});
    let waits =
        json!({"restartCount": 4, "state": {"terminated": null, "waiting": crash}, "lastState": {"terminated": last}});
    shows(
        &with_init(&waits),
        None,
        &["kept", "denied (77)", "0/1", "waiting", "-", "60s", why],
    );
    let running = json!({"startedAt": "2026-11-30T01:11:20Z"});
    let runs = json!({"state": {"terminated": null, "running": running}, "lastState": {"terminated": last}});
    shows(
        &with_init(&runs),
        None,
        &["kept", "running", "0/1", "waiting", "-", "7s", why],
    );
}

#[test]
fn an_image_that_cannot_be_pulled_and_a_pod_without_a_node_say_so() {
    let waiting = json!({"reason": "ErrImagePull", "message": "no such image"});
    let change = with_init(&json!({"state": {"terminated": null, "waiting": waiting}}));
    let expected = [
        "kept",
        "waiting",
        "0/1",
        "waiting",
        "-",
        "5m2s",
        "ErrImagePull: no such image",
    ];
    shows(&change, None, &expected);
    let condition =
        json!([{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}]);
    let change = json!({"status": {"initContainerStatuses": null, "conditions": condition}});
    let expected = [
        "kept",
        "pending",
        "0/1",
        "waiting",
        "-",
        "5m2s",
        "Unschedulable: 0/1 nodes",
    ];
    shows(&change, None, &expected);
}

#[test]
fn a_failure_that_is_left_to_the_job_is_no_success() {
    let message = format!("podkey 0 stage=login connection=default: left to the job hook: {DENIED}");
    let change = with_init(&json!({"state": {"terminated": ended(0, &message, "Completed")}}));
    let why = "the job fails: the role nope does not exist at auth/k (status 400)";
    shows(&change, None, &["kept", "denied (77)", "0/1", "-", "-", "60s", why]);
}

#[test]
fn a_sidecar_is_fresh_behind_or_unknown_by_its_log() {
    let none = json!({});
    shows(&none, Some(""), &["kept", "done", "1", "fresh", "-", "5m1s"]);
    shows(&none, None, &["kept", "done", "1", "?", "-", "5m1s"]);
    // As podkey-sidecar wrote it.
    let log = r#"{"timestamp":"2026-11-30T01:06:34.839360Z","level":"WARN","message":"a secret was not read: the files stay as they are, and it is tried again","reason":"the role reader may not read kv/data/web (status 403: permission denied)","hint":"add `read`"}
{"timestamp":"2026-11-30T01:06:34.854106Z","level":"WARN","message":"the file is not fresh","file":"password","secret":"kv/data/web","reason":"the role reader may not read kv/data/web (status 403: permission denied)","state":"Denied"}"#;
    let why = "password: the role reader may not read kv/data/web (status 403: permission denied)";
    shows(
        &none,
        Some(log),
        &["kept", "done", "1", "behind 4m52s", "-", "5m1s", why],
    );
}

#[test]
fn a_sidecar_that_does_not_run_is_waiting_restarting_ended_or_failed() {
    let state = |state: Value, last: Value| with_sidecar(&json!({"state": state, "lastState": last}));
    let stopped = |code| json!({"running": null, "terminated": ended(code, "", "")});
    let waits = json!({"running": null, "waiting": {"reason": "PodInitializing"}});
    for (change, expected) in [
        (state(waits.clone(), json!({})), "waiting"),
        (state(waits, json!({"terminated": ended(137, "", "")})), "restarting"),
        (state(stopped(0), json!({})), "ended"),
        (state(stopped(137), json!({})), "failed (137)"),
    ] {
        assert_eq!(log_of(&pod(&change)), None);
        assert_eq!(cells(&change, None)[3], expected, "{change}");
    }
}

#[test]
fn a_pod_that_asked_and_was_not_injected_shows_as_that_and_other_pods_do_not_show() {
    let plain = json!({"spec": {"initContainers": null}, "status": {"initContainerStatuses": null}});
    let with = |annotations: Value| {
        let mut change = plain.clone();
        change["metadata"] = json!({"annotations": annotations});
        change
    };
    let why = "the webhook did not see the pod: `podkey doctor -n shop kept` finds out why";
    let missed = ["kept", "not-injected", "-", "-", "-", "5m2s", why];
    shows(&with(json!({"podkey.dev/injected": null})), None, &missed);
    // The mark was copied from another pod: nothing of podkey's is in this one.
    shows(&with(json!({})), None, &missed);
    let nothing = with(Value::Null);
    assert_eq!(row(&pod(&nothing), false, None), None);
    assert_eq!(row(&pod(&nothing), true, None).unwrap().init.word, "not-asked");
}

#[test]
fn a_runner_whose_hooks_do_all_the_work_has_no_init() {
    let annotations = json!({"podkey.dev/plan": r#"{"version":9,"files":[1,2]}"#});
    let change = json!({
        "metadata": {"annotations": annotations}, "spec": {"initContainers": null}, "status": {"initContainerStatuses": null},
    });
    shows(&change, None, &["kept", "hooks-alone", "-", "-", "-", "5m2s"]);
}

fn runner(status: &Value) -> RunnerObject {
    let metadata = json!({"name": "kept", "namespace": "shop", "uid": "r"});
    serde_json::from_value(json!({"metadata": metadata, "status": status})).unwrap()
}

#[test]
fn a_runner_shows_the_job_of_its_own_object() {
    let owner =
        json!([{"apiVersion": "actions.github.com/v1alpha1", "kind": "EphemeralRunner", "name": "kept", "uid": "r"}]);
    let runner_pod = pod(&json!({"metadata": {"ownerReferences": owner}}));
    let busy = runner(&json!({
        "phase": "Running", "jobRepositoryName": "octo-org/app\u{1b}[2J", "workflowRunId": 42, "jobDisplayName": "build",
        "jobWorkflowRef": "octo-org/app/.github/workflows/ci.yml@refs/heads/main", "newField": [],
    }));
    let shown = |runners: &[RunnerObject]| {
        let mut row = row(&runner_pod, false, Some(&AgentLog::parse("", now()))).unwrap();
        row.job = job(&runner_pod, runners);
        let cells = table(&[row], style());
        cells.split("   ").nth(4).unwrap().to_owned()
    };
    assert_eq!(shown(&[busy]), "octo-org/app\\u{1b}[2J run 42");
    assert_eq!(shown(&[runner(&json!({}))]), "idle");
    assert_eq!(shown(&[]), "?");
    assert_eq!(job(&pod(&json!({})), &[]), None);
}

#[test]
fn a_runner_whose_pod_podkey_refuses_has_a_row() {
    let message = "Failed to create the pod: pods \"x\" is forbidden: admission webhook \"pods.podkey.dev\" denied the request: podkey.dev/role: is missing";
    let failed = runner(&json!({"phase": "Failed", "reason": "InvalidPod", "message": message}));
    let row = refused_runner(&failed).unwrap();
    assert_eq!(
        table(&[row], style()),
        "EphemeralRunner/kept   refused   -   -   -   -   podkey.dev/role: is missing\n"
    );
    for status in [
        json!({}),
        json!({"phase": "Failed", "message": "quota"}),
        json!({"phase": "Running", "message": message}),
    ] {
        assert_eq!(refused_runner(&runner(&status)), None);
    }
}

#[test]
fn a_narrow_terminal_cuts_the_reason_and_wide_shows_all_of_it() {
    let denied = with_init(&json!({"state": {"terminated": ended(77, DENIED, "Error")}}));
    let row = row(&pod(&denied), false, None).unwrap();
    let style = |is_wide| TableStyle {
        all_namespaces: true,
        is_wide,
        has_header: true,
        width: Some(100),
    };
    assert_eq!(
        table(std::slice::from_ref(&row), style(false)),
        "NAMESPACE   NAME   INIT          FILES   SIDECAR   JOB   SINCE   WHY\n\
         shop        kept   denied (77)   0/1     waiting   -     60s     the role nope does not exist at au…\n"
    );
    let wide = table(&[row], style(true));
    assert!(
        wide.contains("SINCE   VARIABLES   TRIES   AGE    NODE     WHY\n"),
        "{wide}"
    );
    assert!(wide.ends_with("create the role, or correct it\n"), "{wide}");
}

#[test]
fn a_table_that_follows_keeps_the_widths_of_its_columns() {
    let first = row(&pod(&json!({"metadata": {"name": "a-long-name"}})), false, None).unwrap();
    let second = row(&pod(&json!({"metadata": {"name": "b"}})), false, None).unwrap();
    let mut table = Table::new(style());
    let mut text = anstream::StripStream::new(Vec::new());
    for row in [first, second] {
        table.write(&[row], now(), &mut text).unwrap();
    }
    let text = String::from_utf8(text.into_inner()).unwrap();
    assert!(text.ends_with("\nb             done   1   ?   -   5m1s\n"), "{text}");
}

#[test]
fn a_forged_pod_cannot_steer_the_terminal() {
    let forged = json!({
        "metadata": {"name": "\u{1b}[2Jx", "annotations": {"podkey.dev/plan": "{\"files\":{}}"}},
        "spec": {"nodeName": "\u{9b}2J"},
    });
    let change = with_init(&json!({"state": {"terminated": ended(77, "\u{1b}]0;x\u{7}\nfake   done", "\u{1b}c")}}));
    let mut forged_pod = serde_json::to_value(pod(&change)).unwrap();
    json_patch::merge(&mut forged_pod, &forged);
    let row = row(&serde_json::from_value(forged_pod).unwrap(), false, None).unwrap();
    let text = table(
        &[row],
        TableStyle {
            is_wide: true,
            ..style()
        },
    );
    assert!(!text.trim_end().chars().any(char::is_control), "{text:?}");
    assert_eq!(text.lines().count(), 1);
}

#[test]
fn json_has_words_codes_and_whole_reasons() {
    let denied = with_init(&json!({"state": {"terminated": ended(77, DENIED, "Error")}}));
    let row = row(&pod(&denied), false, None).unwrap();
    assert_eq!(
        serde_json::to_value(&row).unwrap(),
        json!({
            "namespace": "shop", "kind": "Pod", "name": "kept", "init": "denied", "exitCode": 77, "plannedFiles": 1,
            "deliveredFiles": null, "deliveredVariables": null, "tries": 1, "sidecar": "waiting", "node": "node-1",
            "since": "2026-11-30T01:10:27Z", "created": "2026-11-30T01:06:25Z",
            "reason": "the role nope does not exist at auth/k (status 400). create the role, or correct it",
        })
    );
}

#[test]
fn names_of_pods_that_would_change_the_request_are_refused() {
    assert_eq!(pod_name("pod/web-0").unwrap(), "web-0");
    for name in ["", "..", "a/b", "a?b", "A", "pod/", "../secrets/x"] {
        assert!(pod_name(name).is_err(), "{name}");
    }
}

#[test]
fn an_init_that_tries_again_shows_the_reason_of_its_log() {
    let running = with_init(&json!({"state": {"terminated": null, "running": {"startedAt": "2026-11-30T01:10:27Z"}}}));
    assert_eq!(log_of(&pod(&running)), Some("podkey-init"));
    let log = r#"{"timestamp":"2026-11-30T01:11:00Z","level":"WARN","message":"login failed, trying again","reason":"403: not authorized"}"#;
    let cells = cells(&running, Some(log));
    assert_eq!(
        (cells[1].as_str(), cells.last().unwrap().as_str()),
        ("running", "403: not authorized")
    );
}
