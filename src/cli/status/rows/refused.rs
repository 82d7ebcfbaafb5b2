//! Controllers whose pods podkey refuses: there is no pod to show, only an event of the controller.

use k8s_openapi::api::core::v1::Event;
use serde_json::Value;

use super::text::clean;
use super::{Init, Row};
use crate::inject::vocabulary::{GUARD_SAYS, WEBHOOK_SUFFIX};

/// A controller whose pods are, or were, refused.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::cli::status) struct Refusal {
    pub(in crate::cli::status) row: Row,
    /// `apps/v1`, of the controller.
    pub(in crate::cli::status) api_version: String,
    uid: String,
}

/// Reads an event. None: the event is not about a pod that podkey refused.
pub(in crate::cli::status) fn refusal(event: &Event) -> Option<Refusal> {
    let why = refused_by_podkey(event.message.as_deref()?)?;
    let about = &event.involved_object;
    let (namespace, kind, name) = (
        about.namespace.as_deref()?,
        about.kind.as_deref()?,
        about.name.as_deref()?,
    );
    let mut row = Row::new(namespace, kind, name, Init::bad("refused"));
    let first = event.first_timestamp.as_ref().map(|time| time.0);
    let created = event.metadata.creation_timestamp.as_ref().map(|time| time.0);
    row.since = first.or(created);
    row.why = Some(why);
    Some(Refusal {
        row,
        api_version: about.api_version.clone().unwrap_or_default(),
        uid: about.uid.clone().unwrap_or_default(),
    })
}

impl Refusal {
    /// Whether the controller, as it is now, still lacks pods. Events stay for an hour after somebody has mended the template.
    pub(in crate::cli::status) fn still_holds(&self, controller: &Value) -> bool {
        let number = |pointer: &str| controller.pointer(pointer).and_then(Value::as_i64);
        if controller.pointer("/metadata/uid").and_then(Value::as_str) != Some(&self.uid) {
            return false;
        }
        match self.row.kind.as_str() {
            "DaemonSet" => number("/status/currentNumberScheduled") < number("/status/desiredNumberScheduled"),
            "Job" => {
                let pods =
                    ["active", "succeeded", "failed"].map(|field| number(&format!("/status/{field}")).unwrap_or(0));
                controller.pointer("/status/completionTime").is_none() && pods.iter().sum::<i64>() == 0
            }
            _ => number("/status/replicas").unwrap_or(0) < number("/spec/replicas").unwrap_or(1),
        }
    }
}

/// What podkey said, if the message of the API server is about podkey's webhook or guard.
pub(super) fn refused_by_podkey(message: &str) -> Option<String> {
    if let Some(begin) = message.find(GUARD_SAYS) {
        return Some(clean(&message[begin..]));
    }
    let (before, said) = message.split_once(&format!("{WEBHOOK_SUFFIX}\""))?;
    if let Some(said) = said.trim_start().strip_prefix("denied the request: ") {
        return Some(clean(said));
    }
    before
        .contains("failed calling webhook")
        .then(|| clean(&format!("the webhook cannot be called{said}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(message: &str) -> Event {
        serde_json::from_value(json!({
            "metadata": {"creationTimestamp": "2026-11-30T01:00:00Z"}, "reason": "FailedCreate", "message": message,
            "involvedObject": {"apiVersion": "apps/v1", "kind": "ReplicaSet", "namespace": "shop", "name": "web-1", "uid": "u"},
        }))
        .unwrap()
    }

    #[test]
    fn a_refusal_has_the_words_of_podkey_alone() {
        let message =
            "Error creating: admission webhook \"pods.podkey.dev\" denied the request: podkey.dev/role: is missing";
        let refusal = refusal(&event(message)).unwrap();
        let row = &refusal.row;
        assert_eq!(
            (row.kind.as_str(), row.name.as_str(), row.init.word.as_str()),
            ("ReplicaSet", "web-1", "refused")
        );
        assert_eq!(row.why.as_deref(), Some("podkey.dev/role: is missing"));
        assert_eq!(row.since.unwrap().to_string(), "2026-11-30T01:00:00Z");
    }

    #[test]
    fn a_webhook_that_is_away_refuses_too_and_the_webhooks_of_others_do_not() {
        let away = "Error creating: Internal error occurred: failed calling webhook \"pods.podkey.dev\": failed to call webhook: \
                    Post \"https://podkey.podkey.svc:443/mutate\": no endpoints";
        let why = refusal(&event(away)).unwrap().row.why.unwrap();
        assert!(why.starts_with("the webhook cannot be called: failed to call"), "{why}");
        for other in [
            "admission webhook \"other.example.com\" denied the request: no",
            "quota",
            "podkey.dev\" denied",
        ] {
            assert_eq!(refusal(&event(other)), None, "{other}");
        }
    }

    #[test]
    fn a_pod_that_the_guard_refuses_shows_what_the_guard_says() {
        let message = "Error creating: pods \"web-1-x\" is forbidden: ValidatingAdmissionPolicy 'podkey-guard' with binding \
                       'podkey-guard' denied request: podkey: the pod's annotations ask for secrets, but podkey has not injected the pod";
        let why = refusal(&event(message)).unwrap().row.why.unwrap();
        assert_eq!(
            why,
            "podkey: the pod's annotations ask for secrets, but podkey has not injected the pod"
        );
    }

    #[test]
    fn an_event_of_a_controller_that_is_mended_scaled_or_made_again_is_over() {
        let mut refusal = refusal(&event("webhook \"pods.podkey.dev\" denied the request: x")).unwrap();
        let set = |uid: &str, wanted: u32, made: u32| json!({"metadata": {"uid": uid}, "spec": {"replicas": wanted}, "status": {"replicas": made}});
        for (controller, holds) in [
            (set("u", 2, 1), true),
            (set("u", 2, 2), false),
            (set("u", 0, 0), false),
            (set("other", 2, 1), false),
            (json!({}), false),
        ] {
            assert_eq!(refusal.still_holds(&controller), holds, "{controller}");
        }
        refusal.row.kind = "Job".to_owned();
        assert!(refusal.still_holds(&json!({"metadata": {"uid": "u"}, "status": {}})));
        assert!(!refusal.still_holds(&json!({"metadata": {"uid": "u"}, "status": {"active": 1}})));
        refusal.row.kind = "DaemonSet".to_owned();
        let scheduled = json!({"currentNumberScheduled": 1, "desiredNumberScheduled": 2});
        assert!(refusal.still_holds(&json!({"metadata": {"uid": "u"}, "status": scheduled})));
    }
}
