//! A scale set's template is changed.

use std::time::Instant;

use serde_json::{Value, json};

use super::scale_set::{STEP, ScaleSet};
use crate::harness::{LIMIT, merge, wait};

#[test]
fn a_pod_that_podkey_refuses_is_made_once_the_template_is_mended() {
    let Some(set) = ScaleSet::new("a refused pod") else {
        return;
    };
    let vault = set.vault();
    let good = set.annotations(&vault);
    set.install(
        &merge(good.clone(), &json!({"podkey.dev/files": "no list"})),
        &json!({}),
    );
    set.queue(1, STEP);
    let refused = wait(LIMIT, || {
        let said = set.controller_says("denied the request");
        (!said.is_empty()).then_some(said)
    });
    let refused = refused.expect("ARC's log shows the refusal");
    assert!(refused[0].contains("podkey.dev/files"), "{}", refused[0]);
    assert!(set.pods().is_empty());
    let told = set.told();
    println!(
        "while refused: EphemeralRunner {told:?}, events {:?}",
        set.namespace.events()
    );
    // Since 0.8.0 ARC gives up a runner whose pod is refused with 403, and tells why.
    let shown = told
        .iter()
        .any(|told| told.starts_with("Failed") && told.contains("denied the request"));
    assert_eq!(shown, !set.is_older_than(0, 8, 0), "{told:?}");
    set.install(&good, &json!({}));
    let mended = Instant::now();
    if shown {
        set.delete_runners();
    }
    set.delivers();
    println!("the job is done {:.1?} after the template was mended", mended.elapsed());
}

#[test]
fn changed_annotations_reach_idle_runners_and_a_busy_one_keeps_its_job() {
    let Some(set) = ScaleSet::new("changed annotations") else {
        return;
    };
    let vault = set.vault();
    let one = |number: u32| {
        let mut annotations = set.annotations(&vault);
        let env = annotations["podkey.dev/env"].as_str().unwrap();
        annotations["podkey.dev/env"] = json!(format!("{env}; {}/data/web next | ROUND_{number}", vault.kv));
        annotations
    };
    let idle = json!({"minRunners": 1});
    let runs = |number: u32| {
        move |pod: &Value| {
            pod["metadata"]["annotations"]["podkey.dev/env"]
                .as_str()
                .unwrap()
                .ends_with(&format!("ROUND_{number}"))
                && pod["status"]["phase"] == "Running"
                && pod["metadata"]["deletionTimestamp"].is_null()
        }
    };
    set.install(&one(2), &idle);
    set.pod("idle", runs(2));
    set.install(&one(3), &idle);
    let changed = Instant::now();
    set.pod("idle with the new annotations", runs(3));
    println!("an idle runner is replaced {:.1?} after the change", changed.elapsed());

    set.queue(1, &format!("while [ ! -e /tmp/go ]; do sleep 0.2; done\n{STEP}"));
    wait(LIMIT, || (set.github.jobs()[0]["state"] == "running").then_some(())).expect("a job runs");
    let busy = set.github.jobs()[0]["runner"].as_str().unwrap().to_owned();
    set.install(&one(4), &idle);
    let changed = Instant::now();
    let other = wait(std::time::Duration::from_secs(10), || {
        set.pods().into_iter().find(|pod| runs(4)(pod))
    });
    match other {
        Some(_) => println!(
            "beside the busy runner there is a new one {:.1?} after the change",
            changed.elapsed()
        ),
        None => println!("no new runner while one is busy"),
    }
    let pod = set.namespace.pod(&busy);
    pod.exec("runner", &["touch", "/tmp/go"]).unwrap();
    set.delivers();
    let ended = Instant::now();
    set.pod("idle with the newest annotations", runs(4));
    println!(
        "a runner with the new annotations waits {:.1?} after the busy one's job",
        ended.elapsed()
    );
}
