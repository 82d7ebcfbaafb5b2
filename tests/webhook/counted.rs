//! Pods and reviews are counted separately.

use serde_json::json;

use super::support::webhook::{Webhook, eventually};
use super::{bytes, injected, pod, response, review};

#[test]
fn a_pod_that_is_reviewed_twice_is_counted_once() {
    let webhook = Webhook::start();
    let pods = |result: &str| webhook.metric(&format!("podkey_pods_total{{result=\"{result}\"}}"));
    let admissions = |result: &str| webhook.metric(&format!("podkey_admissions_total{{result=\"{result}\"}}"));
    assert_eq!((pods("injected"), pods("denied")), (0.0, 0.0));
    let patched = injected(&response(&webhook.post(&bytes(&review(pod())))), &pod());
    assert_eq!((pods("injected"), admissions("injected")), (1.0, 1.0));
    // The API server calls again after other webhooks, which may have added a container.
    response(&webhook.post(&bytes(&review(patched.clone()))));
    let mut grown = patched;
    grown["spec"]["containers"]
        .as_array_mut()
        .unwrap()
        .push(json!({"name": "mesh", "image": "i"}));
    response(&webhook.post(&bytes(&review(grown))));
    assert_eq!((pods("injected"), admissions("injected")), (1.0, 3.0));
    // A dry run creates no pod.
    let mut dry = review(pod());
    dry["request"]["dryRun"] = true.into();
    response(&webhook.post(&bytes(&dry)));
    assert_eq!((pods("injected"), admissions("injected")), (1.0, 4.0));
    // A refused pod counts. A pod that asks for nothing does not count.
    let mut refused = review(pod());
    refused["request"]["object"]["metadata"]["annotations"]["podkey.dev/rol"] = "x".into();
    response(&webhook.post(&bytes(&refused)));
    refused["request"]["dryRun"] = true.into();
    response(&webhook.post(&bytes(&refused)));
    let mut other = review(pod());
    other["request"]["object"]["metadata"]["annotations"] = json!({});
    response(&webhook.post(&bytes(&other)));
    assert_eq!((pods("injected"), pods("denied")), (1.0, 1.0));
    assert_eq!((admissions("denied"), admissions("ignored")), (2.0, 1.0));
}

#[test]
fn a_refused_pod_counts_in_its_namespace_with_a_reason_and_a_dry_run_does_not() {
    let webhook = Webhook::start();
    let refused = |namespace: &str, reason: &str| {
        let series = format!("podkey_refused_pods_total{{pod_namespace=\"{namespace}\",reason=\"{reason}\"}}");
        webhook.metric(&series)
    };
    assert_eq!(refused("_others", "pod"), 0.0);
    let post = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut request = review(pod());
        change(&mut request["request"]);
        assert_eq!(response(&webhook.post(&bytes(&request)))["allowed"], false);
    };
    let wrong_annotation = |request: &mut serde_json::Value| {
        request["object"]["metadata"]["annotations"]["podkey.dev/rol"] = "x".into();
    };
    post(&|request| {
        wrong_annotation(request);
        request["namespace"] = "shop".into();
    });
    post(&|request| {
        wrong_annotation(request);
        request["namespace"] = "shop".into();
        request["dryRun"] = true.into();
    });
    post(&|request| {
        request["namespace"] = "shop".into();
        request["object"]["spec"]["volumes"] = json!([{"name": "podkey-secrets", "emptyDir": {}}]);
    });
    post(&|request| {
        wrong_annotation(request);
        request["namespace"] = "x\"} 1\n".into();
    });
    assert_eq!((refused("shop", "annotations"), refused("shop", "pod")), (1.0, 1.0));
    assert_eq!(refused("_others", "annotations"), 1.0);
    webhook.wait_for_log("\"reason\":\"annotations\"");
}

#[test]
fn a_request_without_a_decision_counts_with_its_reason() {
    let webhook = Webhook::start();
    let invalid = |reason: &str| webhook.metric(&format!("podkey_invalid_requests_total{{reason=\"{reason}\"}}"));
    assert_eq!(webhook.post(b"{}").status, 400);
    assert_eq!(webhook.post(b"").status, 400);
    assert_eq!(webhook.post(&vec![b' '; 9 * 1024 * 1024]).status, 413);
    assert_eq!((invalid("not_a_review"), invalid("too_large")), (2.0, 1.0));
    assert_eq!(
        (invalid("too_slow"), invalid("overloaded"), invalid("fault")),
        (0.0, 0.0, 0.0)
    );
    assert_eq!(webhook.metric("podkey_admissions_total{result=\"invalid\"}"), 3.0);
}

#[test]
fn a_client_that_goes_away_within_the_body_does_not_count_as_no_review() {
    let webhook = Webhook::start();
    let invalid = |reason: &str| webhook.metric(&format!("podkey_invalid_requests_total{{reason=\"{reason}\"}}"));
    assert_eq!(invalid("broke_off"), 0.0);
    let mut client = webhook.connect();
    let head =
        "POST /mutate HTTP/1.1\r\nHost: podkey\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{";
    client.write(head.as_bytes()).unwrap();
    eventually("the request has begun", || {
        webhook.metric("podkey_admissions_in_flight") == 1.0
    });
    drop(client);
    eventually("the request counts", || invalid("broke_off") == 1.0);
    assert_eq!((invalid("not_a_review"), invalid("too_slow")), (0.0, 0.0));
}
