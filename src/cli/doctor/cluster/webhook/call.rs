//! Whether the API server can call podkey, and trusts its certificate. The judge is the API server itself: a dry run makes it call
//! the certificate that is really served.

use serde_json::Value;

use super::hook::Hook;
use super::release::Release;
use super::server::{logs, restart, restart_injector};
use crate::cli::doctor::api;
use crate::cli::doctor::cluster::refusal::Refusal;
use crate::cli::doctor::examined;
use crate::cli::doctor::finding::Findings;
use crate::cli::doctor::situation::{Admission, Situation, items, text};
use crate::cli::kubeconfig::KubeClient;

const CALL: &str = "webhook-call";
const CA: &str = "webhook-ca";

pub(super) async fn check(
    cluster: &KubeClient,
    situation: &Situation,
    hook: Option<&Hook<'_>>,
    labels: Option<&Value>,
    release: &Release,
    findings: &mut Findings,
) {
    if let Some(hook) = hook {
        bundle(hook, release, findings);
    }
    let serves = |labels: Option<&Value>| hook.zip(labels).is_none_or(|(hook, labels)| hook.is_for(labels));
    let Some(pod) = &situation.pod else {
        let place = match serves(labels) {
            true => Some(situation.namespace.clone()),
            false => served_namespace(cluster, hook).await,
        };
        let Some(place) = place else {
            return findings.unseen(
                CALL,
                "whether the API server calls podkey: the doctor sees no namespace that the webhook serves. Name a pod, or a namespace with -n",
                None,
            );
        };
        let answer = examined::probe(cluster, &place, &Value::Null).await;
        return asked(&answer, &place, hook, release, findings);
    };
    if let Some(answer) = &pod.probe {
        // Another finding says that the webhook leaves out the namespace, with the command that mends it.
        if pod.exists && serves(labels) {
            asked(answer, &situation.namespace, hook, release, findings);
        } else if !pod.exists {
            let message = format!(
                "{} has podkey's parts already: the API server need not call podkey",
                pod.name
            );
            findings.ok(CALL, message);
        }
        return;
    }
    match Refusal::in_answer(&pod.admission) {
        Some(refusal) => refused(&refusal, hook, release, findings),
        None if pod.is_injected() => findings.ok(CALL, CALLS),
        None => {}
    }
}

const CALLS: &str = "the API server calls podkey, and trusts its certificate";

/// A namespace that the webhook serves. None: the doctor sees none.
async fn served_namespace(cluster: &KubeClient, hook: Option<&Hook<'_>>) -> Option<String> {
    let list = api::get(cluster, "/api/v1/namespaces?limit=500").await.ok()?;
    let mut served = items(&list, "/items").filter(|namespace| {
        namespace["metadata"]["deletionTimestamp"].is_null()
            && hook.is_some_and(|hook| hook.is_for(&namespace["metadata"]["labels"]))
    });
    Some(text(served.next()?, "/metadata/name").to_owned())
}

/// What the API server said to a pod that podkey must refuse.
fn asked(answer: &Admission, namespace: &str, hook: Option<&Hook<'_>>, release: &Release, findings: &mut Findings) {
    match (Refusal::in_answer(answer), hook) {
        (Some(Refusal::NoRight), _) => {
            let what = "whether the API server calls podkey";
            findings.unseen_right(CALL, what, "create", "pods", Some(namespace));
        }
        (Some(Refusal::NoAnswer(error)), _) => {
            let message = format!("whether the API server calls podkey: no answer to a dry run: {error}");
            findings.unseen(CALL, message, None);
        }
        // A missing namespace has a finding of its own.
        (Some(Refusal::NoNamespace), _) => {}
        (Some(refusal @ (Refusal::Podkey(_) | Refusal::Call(_) | Refusal::Guard)), _) => {
            refused(&refusal, hook, release, findings);
        }
        (Some(_), _) => {
            let message =
                format!("whether the API server calls podkey: another part refuses a pod of {namespace} before");
            findings.unseen(CALL, message, None);
        }
        (None, Some(_)) => {
            let message = format!(
                "the API server admits a pod of the namespace {namespace} that asks for secrets without an answer of podkey: \
                 podkey is not called, or does not answer while failurePolicy is Ignore"
            );
            findings.fault(CALL, message, release.restore());
        }
        (None, None) => {
            let message = format!(
                "the API server does not send podkey a pod of the namespace {namespace}: the webhook leaves the namespace \
                 out, or podkey is not installed. The webhook's configuration is not seen"
            );
            findings.unseen(CALL, message, None);
        }
    }
}

fn refused(refusal: &Refusal, hook: Option<&Hook<'_>>, release: &Release, findings: &mut Findings) {
    match refusal {
        Refusal::Call(cause) => failed(cause, hook, release, findings),
        Refusal::Guard => {
            let message =
                "podkey's guard refuses the pod: podkey has not injected it. The API server did not call podkey";
            findings.fault(CALL, message, release.restore());
        }
        Refusal::Podkey(_) => findings.ok(CALL, CALLS),
        _ => {}
    }
}

/// A webhook without a caBundle is trusted by the API server's own CAs, which do not know podkey's certificate.
fn bundle(hook: &Hook<'_>, release: &Release, findings: &mut Findings) {
    if hook.webhook["clientConfig"]["caBundle"]
        .as_str()
        .is_none_or(str::is_empty)
    {
        let message = format!(
            "the MutatingWebhookConfiguration {} has no caBundle: the API server does not trust podkey",
            hook.name()
        );
        findings.fault(CA, message, trust(hook, release));
    }
}

/// The command that renews the caBundle.
fn trust(hook: &Hook<'_>, release: &Release) -> Option<String> {
    let annotations = &hook.configuration["metadata"]["annotations"];
    match annotations["cert-manager.io/inject-ca-from"].as_str() {
        Some(_) => Some(restart_injector()),
        None => restart(release).or_else(|| release.restore()),
    }
}

fn failed(cause: &str, hook: Option<&Hook<'_>>, release: &Release, findings: &mut Findings) {
    let has = |text: &str| cause.contains(text);
    let message = format!("the API server cannot call podkey: {cause}");
    if has("x509:") || has("failed to verify certificate") {
        let command = hook.map_or_else(|| restart(release), |hook| trust(hook, release));
        findings.fault(CA, message, command);
    } else if has("no service port") || (has("service \"") && has("not found")) {
        findings.fault("webhook-service", message, release.restore());
    } else if has("no endpoints available") {
        findings.fault("webhook-replicas", message, logs(release));
    } else {
        findings.fault(CALL, message, logs(release));
    }
}
