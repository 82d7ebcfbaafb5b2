//! The MutatingWebhookConfiguration: whether the API server sends the pod to podkey, and what it does when podkey is away.

use serde_json::{Value, json};

use super::CHECK;
use super::hook::Hook;
use super::release::Release;
use crate::cli::doctor::cluster::refusal::Refusal;
use crate::cli::doctor::cluster::selector::{self, Requirement};
use crate::cli::doctor::examined::{asks, has_parts};
use crate::cli::doctor::finding::Findings;
use crate::cli::doctor::situation::{Admission, ExaminedPod, Situation, items, text};
use crate::cli::doctor::words::command;

/// The name of the chart's condition.
const OWN_CONDITION: &str = "podkey-annotation";
/// The expression of the chart: see `manifests/chart/templates/webhook.yaml`.
const OWN_ANNOTATIONS: &str =
    "has(object.metadata.annotations) && object.metadata.annotations.exists(k, k.startsWith('podkey.dev/'))";

pub(super) fn check(
    hook: &Hook<'_>,
    situation: &Situation,
    labels: Option<&Value>,
    refusal: Option<&Refusal>,
    release: &Release,
    findings: &mut Findings,
) {
    let before = findings.all().len();
    let name = hook.name();
    if !items(hook.webhook, "/rules").any(is_for_new_pods) {
        let message = format!("the rules of the MutatingWebhookConfiguration {name} leave out new pods");
        findings.fault(CHECK, message, release.restore());
    }
    if let Some(labels) = labels {
        namespace(hook, situation, labels, findings);
    }
    if let Some(pod) = &situation.pod {
        objects(hook, pod, findings);
    }
    match_conditions(hook, situation.pod.as_ref(), refusal, release, findings);
    away(hook, release, findings);
    if findings.all().len() == before {
        let message = format!("the MutatingWebhookConfiguration {name} sends podkey each pod that asks for secrets");
        findings.ok(CHECK, message);
    }
}

fn is_for_new_pods(rule: &Value) -> bool {
    let has = |list: &str, word: &str| items(rule, list).any(|item| item == word || item == "*");
    has("/operations", "CREATE")
        && has("/apiGroups", "")
        && has("/apiVersions", "v1")
        && items(rule, "/resources").any(|item| ["pods", "*", "*/*"].iter().any(|name| item == name))
        && rule["scope"] != "Cluster"
}

fn namespace(hook: &Hook<'_>, situation: &Situation, labels: &Value, findings: &mut Findings) {
    let namespace = &situation.namespace;
    let all = selector::requirements(&hook.webhook["namespaceSelector"]);
    let broken: Vec<Requirement<'_>> = all
        .into_iter()
        .filter(|requirement| !requirement.holds(labels))
        .collect();
    if broken.is_empty() {
        return;
    }
    let conditions: Vec<String> = broken.iter().map(Requirement::to_string).collect();
    let message = format!(
        "the webhook leaves out the namespace {namespace}: the namespaceSelector of {} wants {}",
        hook.name(),
        conditions.join(" and ")
    );
    // Some namespaces are left out on purpose. That is a fault only for a pod that asks.
    if !situation
        .pod
        .as_ref()
        .is_some_and(|pod| asks(&pod.written) || has_parts(&pod.written))
    {
        return findings.ok("webhook-namespace", message);
    }
    let changes: Option<Vec<String>> = broken.iter().map(Requirement::change).collect();
    let label = changes.map(|changes| {
        let changes: Vec<&str> = changes.iter().map(String::as_str).collect();
        command(
            &[
                &["kubectl", "label", "--overwrite", "namespace", namespace],
                &changes[..],
            ]
            .concat(),
        )
    });
    findings.fault("webhook-namespace", message, label);
}

fn objects(hook: &Hook<'_>, pod: &ExaminedPod, findings: &mut Findings) {
    if !selector::matches(&hook.webhook["objectSelector"], &pod.written["metadata"]["labels"]) {
        let message = format!("the objectSelector of {} leaves out the pod by its labels", hook.name());
        findings.fault(CHECK, message, Some(hook.replace("objectSelector", &json!({}))));
    }
}

/// The doctor knows the chart's own condition. About another condition it asks the API server: by the pod's dry run.
fn match_conditions(
    hook: &Hook<'_>,
    pod: Option<&ExaminedPod>,
    refusal: Option<&Refusal>,
    release: &Release,
    findings: &mut Findings,
) {
    const CHECK: &str = "webhook-match-conditions";
    let is_own = |condition: &Value| {
        let expression = text(condition, "/expression").trim();
        expression == OWN_ANNOTATIONS || text(hook.webhook, "/name").starts_with("vault-k8s.")
    };
    let others: Vec<&str> = items(hook.webhook, "/matchConditions")
        .filter(|condition| !is_own(condition))
        .map(|condition| text(condition, "/name"))
        .collect();
    let Some(pod) = pod.filter(|pod| !others.is_empty() && asks(&pod.written)) else {
        return;
    };
    // The manifest brings back the condition of this name, and leaves others as they are.
    let own = json!([{"name": OWN_CONDITION, "expression": OWN_ANNOTATIONS}]);
    let restore = match others[..] {
        [OWN_CONDITION] => release.restore(),
        _ => Some(hook.replace("matchConditions", &own)),
    };
    let (name, others) = (hook.name(), others.join(", "));
    let is_admitted = matches!(pod.admission, Admission::Admitted(_)) && !pod.is_injected();
    // An expression that fails refuses the pod, and the API server quotes the expression.
    let fails = matches!(refusal, Some(Refusal::Other(message)) if message.contains("resulted in error")
        && items(hook.webhook, "/matchConditions").any(|condition| message.contains(text(condition, "/expression"))));
    if is_admitted || fails || matches!(refusal, Some(Refusal::Guard)) {
        let message = format!("a matchCondition of {name} leaves out the pod, or fails: {others}");
        findings.fault(CHECK, message, restore);
    } else {
        let message = format!("the matchConditions of {name} are not those of podkey's chart: {others}");
        findings.warning(CHECK, message, restore);
    }
}

/// What happens to a pod while podkey is away, and when a later webhook changes the pod.
fn away(hook: &Hook<'_>, release: &Release, findings: &mut Findings) {
    let name = hook.name();
    if hook.webhook["failurePolicy"] == "Ignore" {
        let message =
            format!("failurePolicy of {name} is Ignore: while podkey is away, pods start without their secrets");
        findings.warning("webhook-failure-policy", message, release.restore());
    }
    if hook.webhook["reinvocationPolicy"] == "Never" {
        let message =
            format!("reinvocationPolicy of {name} is Never: containers that a later webhook adds get no secrets");
        findings.warning("webhook-reinvocation", message, release.restore());
    }
}
