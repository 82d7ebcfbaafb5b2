//! A real sidecar informs the app of changes, and of nothing else.

use std::net::TcpListener;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::Command;

use serde_json::json;

use crate::deliver::bao;
use crate::support::agent::Agent;
use crate::support::fake_vault::{FakeVault, json as answer};

fn pod(name: &str, on_change: &[String]) -> Agent {
    let path = format!("arc-runners/data/{name}");
    bao().write(&path, &json!({"data": {"a": "canary-one"}}));
    Agent::for_bao(bao())
        .file(json!({"secret": path, "key": "a", "format": "raw", "file": "a", "mode": "0444"}))
        .refresh("5s")
        .with("/refresh/onChange", json!(on_change))
        .canary("canary-one")
        .canary("canary-two")
}

fn change(name: &str) {
    bao().write(
        &format!("arc-runners/data/{name}"),
        &json!({"data": {"a": "canary-two"}}),
    );
}

#[test]
fn an_app_is_informed_by_signal_file_and_request_after_the_swap() {
    let process = format!("podkey-app-{}", std::process::id());
    let mut app = Command::new("sleep").arg0(&process).arg("600").spawn().unwrap();
    let web = FakeVault::plain(|_, _| answer(200, "{}"));
    let pod = pod(
        "on-change",
        &[
            format!("signal:SIGUSR1:{process}"),
            "touch:told".into(),
            format!("http:POST:{}/-/reload", web.address()),
        ],
    );
    pod.run().expect(0, &[]);
    let sidecar = pod.sidecar();
    pod.until("the secret was looked at again", |pod| {
        pod.status()["files"]["a"]["lastSuccess"].is_string() && !bao_reads(pod).is_empty()
    });
    assert!(app.try_wait().unwrap().is_none() && pod.seen("told").is_none() && web.requests().is_empty());

    change("on-change");
    pod.until("the file was touched", |pod| pod.seen("told").is_some());
    assert_eq!(pod.text("a").unwrap(), "canary-two", "told after the swap");
    assert_eq!(
        app.wait().unwrap().signal(),
        Some(rustix::process::Signal::USR1.as_raw())
    );
    pod.until("the app was asked", |_| !web.requests().is_empty());
    let requests = web.requests();
    assert_eq!(
        (requests[0].method.as_str(), requests[0].target.as_str()),
        ("POST", "/-/reload")
    );
    pod.until("all of it was said", |_| {
        sidecar.said("the app was informed of the change").len() == 3
    });
    sidecar.stop();
    assert_eq!(web.requests().len(), 1);
    // The touched file is no secret's: it stays through further changes.
    assert_eq!(pod.seen("told").unwrap(), b"");
}

/// Reads of the sidecar's, of which each of the tests has a path of its own.
fn bao_reads(pod: &Agent) -> Vec<serde_json::Value> {
    let path = pod.plan["files"][0]["secret"].clone();
    let asked = bao()
        .audit()
        .into_iter()
        .filter(|line| line["type"] == "response" && line["request"]["path"] == path);
    // The test's own write, and init's read.
    asked.skip(2).collect()
}

#[test]
fn an_app_that_cannot_be_informed_does_not_stop_the_refresh() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let pod = pod(
        "deaf",
        &[
            format!("http:POST:http://{nobody}/"),
            format!("http:POST:http://{}/", silent.local_addr().unwrap()),
            "signal:SIGHUP:podkey-no-such-process".into(),
        ],
    );
    pod.run().expect(0, &[]);
    let sidecar = pod.sidecar();
    for (value, version) in [("canary-two", 2), ("canary-one", 3), ("canary-two", 4)] {
        bao().write("arc-runners/data/deaf", &json!({"data": {"a": value}}));
        pod.until("the new value", |pod| pod.text("a").as_deref() == Some(value));
        // The status follows the files.
        pod.until("its version", |pod| pod.status()["files"]["a"]["version"] == version);
    }
    sidecar.until_said("the app was not informed yet");
    sidecar.stop();
}
