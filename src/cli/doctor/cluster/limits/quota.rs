//! A ResourceQuota that refuses the pod: <https://kubernetes.io/docs/concepts/policy/resource-quotas/>.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::cli::doctor::finding::Findings;
use crate::cli::doctor::situation::{ExaminedPod, items};
use crate::cli::doctor::words::command;
use crate::inject::Quantity;

const CHECK: &str = "resource-quota";

pub(super) fn refused(namespace: &str, name: &str, message: &str, pod: &ExaminedPod, findings: &mut Findings) {
    let said = message.split_once("is forbidden: ").map_or(message, |(_, said)| said);
    if let Some((_, missing)) = said.split_once("must specify ") {
        let sentence =
            format!("the ResourceQuota {name} of the namespace {namespace} wants each container to name {missing}");
        return findings.fault(CHECK, sentence, named(missing, pod));
    }
    let sentence = format!(
        "the ResourceQuota {name} of the namespace {namespace} has no room for the pod with podkey's containers: {said}"
    );
    if pod.exists {
        let sentence = format!("beside this pod, a second one like it would not fit: {sentence}");
        return findings.warning(CHECK, sentence, None);
    }
    let patch = room(said).map(|hard| {
        let patch = json!({"spec": {"hard": hard}}).to_string();
        command(&[
            "kubectl",
            "patch",
            "resourcequota",
            name,
            "--namespace",
            namespace,
            "--type=merge",
            "-p",
            &patch,
        ])
    });
    findings.fault(CHECK, sentence, patch);
}

/// The values of `spec.hard` that have room: what is used, and what the pod wants.
fn room(said: &str) -> Option<Map<String, Value>> {
    let (_, rest) = said.split_once("requested: ")?;
    let (requested, rest) = rest.split_once(", used: ")?;
    let (used, _) = rest.split_once(", limited: ")?;
    let used = amounts(used);
    let mut hard = Map::new();
    for (resource, wanted) in amounts(requested) {
        let total = wanted + used.get(resource)?;
        hard.insert(resource.to_owned(), Value::from(written(resource, total)));
    }
    (!hard.is_empty()).then_some(hard)
}

/// `limits.memory=64Mi,pods=1`.
fn amounts(list: &str) -> BTreeMap<&str, f64> {
    let pairs = list.split(',').filter_map(|pair| pair.split_once('='));
    pairs
        .filter_map(|(resource, quantity)| Some((resource, quantity.parse::<Quantity>().ok()?.amount())))
        .collect()
}

/// An amount as people write it: CPU in thousandths, memory in MiB where that is exact.
fn written(resource: &str, amount: f64) -> String {
    const MIB: f64 = 1_048_576.0;
    // Thousandths are not exact in floating point.
    let up = |amount: f64| (amount - 1e-6).ceil();
    if resource.contains("cpu") {
        format!("{:.0}m", up(amount * 1000.0))
    } else if amount >= MIB && (amount / MIB).fract() == 0.0 {
        format!("{:.0}Mi", amount / MIB)
    } else {
        format!("{:.0}", up(amount))
    }
}

/// The command that gives the author's containers the values that they must name: `limits.cpu for: main; limits.memory for: main`.
fn named(missing: &str, pod: &ExaminedPod) -> Option<String> {
    let manifest = pod.manifest.as_ref()?;
    let mut resources: BTreeMap<&str, Value> = BTreeMap::new();
    for part in missing.split("; ") {
        let (resource, containers) = part.split_once(" for: ")?;
        let (kind, resource) = resource.split_once('.').unwrap_or(("requests", resource));
        let value = match resource {
            "cpu" => "100m",
            "memory" => "128Mi",
            _ => return None,
        };
        for container in containers.split(',') {
            resources.entry(container).or_insert_with(|| json!({}))[kind][resource] = Value::from(value);
        }
    }
    let mut spec = json!({});
    for list in ["containers", "initContainers"] {
        let named = items(&pod.written, &format!("/spec/{list}"))
            .filter_map(|container| {
                let name = container["name"].as_str()?;
                Some(json!({"name": name, "resources": resources.remove(name)?}))
            })
            .collect::<Vec<_>>();
        if !named.is_empty() {
            spec[list] = Value::from(named);
        }
    }
    // What is left are containers of podkey's, whose values are the operator's.
    resources.is_empty().then(|| manifest.patch_pod(json!({"spec": spec})))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_gets_room_for_what_is_used_and_for_the_pod() {
        let said = "exceeded quota: q, requested: limits.cpu=600m,limits.memory=64Mi,pods=1, used: \
                    limits.cpu=1200m,limits.memory=1Gi,pods=3, limited: limits.cpu=1,limits.memory=1Gi,pods=3";
        let hard = Value::Object(room(said).unwrap());
        assert_eq!(
            hard,
            json!({"limits.cpu": "1800m", "limits.memory": "1088Mi", "pods": "4"})
        );
    }
}
