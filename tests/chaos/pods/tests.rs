//! What once went wrong with the pods' own book-keeping. No cluster is needed: `cargo test --test chaos pods::`.

use serde_json::{Value, json};

use super::{End, Kind, Pods, is_due};

fn begun(pods: &Pods, now: f64) -> (String, Kind) {
    pods.begin(0, now).expect("a pod")
}

/// A pod as the API server shows it.
fn shown(name: &str, phase: &str) -> Value {
    json!({
        "metadata": {"name": name, "annotations": {"podkey.dev/injected": "0.2.0"}},
        "spec": {"initContainers": [{"name": "podkey-init"}]},
        "status": {"phase": phase},
    })
}

#[test]
fn the_end_waits_for_a_pod_that_is_created_again() {
    let pods = Pods::default();
    let (first, kind) = begun(&pods, 0.0);
    assert!(!pods.have_all_ended());
    pods.look(&[shown(&first, "Failed")], 1.0);
    assert!(pods.is_owed() && !pods.have_all_ended());
    let (second, again) = begun(&pods, 2.0);
    assert_eq!(again, kind);
    assert!(!pods.is_owed() && !pods.have_all_ended());
    pods.look(&[shown(&second, "Succeeded")], 3.0);
    assert!(pods.have_all_ended());
}

#[test]
fn no_other_pod_begins_at_the_end() {
    let pods = Pods::default();
    let (name, _) = begun(&pods, 0.0);
    pods.0.lock().unwrap().is_closing = true;
    assert_eq!(pods.begin(1, 1.0), None);
    pods.look(&[shown(&name, "Failed")], 2.0);
    assert!(pods.begin(2, 3.0).is_some(), "the failed pod is created again");
    assert_eq!(pods.begin(3, 4.0), None);
}

#[test]
fn a_pod_that_is_refused_for_a_minute_is_not_lost() {
    let pods = Pods::default();
    let (name, _) = begun(&pods, 0.0);
    pods.look(&[], 100.0);
    assert!(pods.is_running(&name));
    pods.is_there(&name);
    pods.look(&[], 101.0);
    pods.with(|pods| assert_eq!(pods.ended[0].end, End::Lost));
}

#[test]
fn a_pod_that_is_created_twice_is_deleted() {
    let pods = Pods::default();
    let (name, _) = begun(&pods, 0.0);
    let deleted = pods.look(&[shown(&name, "Succeeded")], 1.0);
    assert_eq!(deleted, [(name.clone(), false)]);
    assert_eq!(pods.look(&[shown(&name, "Pending")], 3.0), [(name.clone(), false)]);
    let mut ending = shown(&name, "Running");
    ending["metadata"]["deletionTimestamp"] = json!("2026-11-30T00:00:00Z");
    assert_eq!(pods.look(&[ending], 5.0), []);
}

#[test]
fn the_sum_of_a_name_overflows_into_a_number() {
    for name in ["pod-1-0", "pod-424159561951-51"] {
        assert!(!is_due(name, 0.0) && is_due(name, 4.0), "{name}");
    }
}
