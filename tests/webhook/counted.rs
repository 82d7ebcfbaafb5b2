//! Pods and reviews are counted separately.

use serde_json::json;

use super::support::webhook::Webhook;
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
