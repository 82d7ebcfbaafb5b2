//! A LimitRange that refuses the pod: <https://kubernetes.io/docs/concepts/policy/limit-range/>.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::cli::doctor::api::{self, ApiError};
use crate::cli::doctor::finding::Findings;
use crate::cli::doctor::situation::{items, text};
use crate::cli::doctor::words::command;
use crate::cli::kubeconfig::KubeClient;

const CHECK: &str = "limit-range";

/// One bound of a LimitRange that the pod breaks.
#[derive(Debug, PartialEq, Eq)]
struct Violation {
    /// The field of the LimitRange: max, min or maxLimitRequestRatio.
    bound: &'static str,
    resource: String,
    /// Container or Pod.
    of: String,
    /// The bound as it is.
    is: String,
    /// What the bound must become. None: the pod names no value.
    wanted: Option<String>,
}

pub(super) async fn refused(cluster: &KubeClient, namespace: &str, message: &str, findings: &mut Findings) {
    let said = message.split_once("is forbidden: ").map_or(message, |(_, said)| said);
    let said = said.trim_matches(['[', ']']);
    let sentence =
        format!("a LimitRange of the namespace {namespace} refuses the pod with podkey's containers: {said}");
    let path = format!("/api/v1/namespaces/{}/limitranges", api::segment(namespace));
    match api::get(cluster, &path).await {
        Ok(list) => findings.fault(CHECK, sentence, mend(namespace, &list, &violations(said))),
        Err(error) => {
            findings.fault(CHECK, sentence, None);
            if let ApiError::Forbidden(_) = error {
                findings.unseen_right(CHECK, "the LimitRanges", "list", "limitranges", Some(namespace));
            }
        }
    }
}

/// The violations in the API server's message. Text that is not known has no violation.
fn violations(said: &str) -> Vec<Violation> {
    let mut parts: Vec<String> = Vec::new();
    for part in said.split(", ") {
        match parts.last_mut() {
            Some(last) if part.starts_with("but ") => *last = format!("{last}, {part}"),
            _ => parts.push(part.to_owned()),
        }
    }
    parts.iter().filter_map(|part| violation(part)).collect()
}

fn violation(part: &str) -> Option<Violation> {
    let (rule, but) = part.split_once(", but ")?;
    let (subject, is) = rule.split_once(" is ")?;
    let (what, of) = subject.split_once(" per ")?;
    let last = || but.rsplit(' ').next();
    let (bound, resource, wanted) = if let Some(rest) = what.strip_prefix("maximum ") {
        ("max", rest.strip_suffix(" usage")?, last())
    } else if let Some(rest) = what.strip_prefix("minimum ") {
        ("min", rest.strip_suffix(" usage")?, last())
    } else {
        let resource = what.strip_suffix(" max limit to request ratio")?;
        ("maxLimitRequestRatio", resource, last())
    };
    let is_given = !but.starts_with("no ");
    let wanted = wanted.filter(|_| is_given).map(|wanted| match bound {
        // `4.000000`
        "maxLimitRequestRatio" => wanted
            .parse::<f64>()
            .map_or_else(|_| wanted.to_owned(), |ratio| format!("{:.0}", ratio.ceil())),
        _ => wanted.to_owned(),
    });
    Some(Violation {
        bound,
        resource: resource.to_owned(),
        of: of.to_owned(),
        is: is.to_owned(),
        wanted,
    })
}

/// The command that lets the pod in: a JSON patch for each LimitRange. None: a bound is not found, or the pod names no value.
fn mend(namespace: &str, list: &Value, violations: &[Violation]) -> Option<String> {
    let mut patches: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    for violation in violations {
        let wanted = violation.wanted.as_ref()?;
        let (name, index) = items(list, "/items").find_map(|range| {
            let broken = |limit: &Value| {
                limit["type"] == violation.of.as_str()
                    && limit[violation.bound][&violation.resource] == violation.is.as_str()
            };
            let index = items(range, "/spec/limits").position(broken)?;
            Some((text(range, "/metadata/name"), index))
        })?;
        let resource = violation.resource.replace('~', "~0").replace('/', "~1");
        let path = format!("/spec/limits/{index}/{}/{resource}", violation.bound);
        let operation = json!({"op": "replace", "path": path, "value": wanted});
        patches.entry(name).or_default().push(operation);
    }
    let commands: Vec<String> = patches
        .into_iter()
        .map(|(name, operations)| {
            let operations = Value::from(operations).to_string();
            command(&[
                "kubectl",
                "patch",
                "limitrange",
                name,
                "--namespace",
                namespace,
                "--type=json",
                "-p",
                &operations,
            ])
        })
        .collect();
    (!commands.is_empty()).then(|| commands.join(" && "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bound_in_the_message_is_found() {
        let said = "maximum memory usage per Container is 32Mi, but limit is 64Mi, minimum cpu usage per Pod is 1, but request \
                    is 10m, memory max limit to request ratio per Container is 2, but provided ratio is 3.200000";
        let found = violations(said);
        let wanted: Vec<_> = found.iter().map(|v| (v.bound, v.wanted.as_deref().unwrap())).collect();
        assert_eq!(wanted, [("max", "64Mi"), ("min", "10m"), ("maxLimitRequestRatio", "4")]);
        assert_eq!((found[1].of.as_str(), found[1].is.as_str()), ("Pod", "1"));
    }

    #[test]
    fn a_pod_that_names_no_value_has_no_command() {
        let said = "memory max limit to request ratio per Container is 2, but no request is specified or request is 0";
        let list = json!({"items": [{"metadata": {"name": "lr"}, "spec": {"limits": [
            {"type": "Container", "maxLimitRequestRatio": {"memory": "2"}},
        ]}}]});
        assert_eq!(mend("team", &list, &violations(said)), None);
        assert_eq!(mend("team", &list, &violations("something else")), None);
    }
}
