//! What podkey finds in a manifest: for each object the decision about its pod, the problems and warnings, and where they stand.

use std::borrow::Cow;

use json_patch::Patch;
use serde_json::{Value, json};

use super::finding::{Finding, Level, Spot};
use super::manifest::{self, Broken, Object};
use super::places::{self, Place, PlacedNode};
use super::{KnownConfig, OfflineError, annotations};
use crate::inject::keys::PLAN;
use crate::inject::{Config, Decision, INIT_CONTAINER, INJECTED, PREFIX, Pod, Problem, Problems, decide};

/// An object of a manifest, examined.
#[derive(Debug)]
pub(crate) struct Examined {
    /// Kind and name, without control characters.
    pub(crate) name: String,
    /// The chart's template that made the object, as Helm says in a comment before the document, without control characters.
    pub(crate) source: Option<String>,
    /// Where the object begins. None: not known.
    pub(crate) at: Option<Place>,
    pub(crate) findings: Vec<Finding>,
    pub(crate) outcome: Outcome,
}

/// What comes of an object.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The kind has no pod.
    NoPod,
    /// The pod with podkey's changes, and the patch.
    Pod { pod: Value, patch: Value },
    /// The webhook would refuse the pod.
    Refused,
    /// The object cannot be read.
    Unusable(OfflineError),
}

/// Namespaces that the chart excludes in the webhook's configuration, besides the namespace of its release.
const LEFT_OUT: [&str; 3] = ["kube-system", "kube-node-lease", "kube-public"];

/// Examines every object of the manifest. An object that cannot be read does not hide the others. The error: there is no object, or
/// the text is not YAML.
pub(crate) fn examine(
    manifest: &str,
    namespace: Option<&str>,
    config: KnownConfig<'_>,
) -> Result<Vec<Examined>, OfflineError> {
    let objects = manifest::objects(manifest).map_err(|Broken { why, at }| OfflineError::Yaml(why, at))?;
    if objects.is_empty() {
        return Err(OfflineError::Kind("the manifest is empty".to_owned()));
    }
    let count = objects.last().map_or(0, |object| object.document + 1);
    let mut examined = Vec::with_capacity(objects.len());
    let mut places = Vec::with_capacity(objects.len());
    for object in objects {
        places.push((object.document, object.pointer.clone()));
        examined.push(examine_one(object, namespace, config));
    }
    // Most manifests have nothing to say of, and need no second look.
    if examined.iter().all(Examined::is_silent) {
        return Ok(examined);
    }
    let documents = places::documents(manifest);
    if documents.len() == count {
        let lines: Vec<&str> = manifest.lines().collect();
        for (object, (document, pointer)) in examined.iter_mut().zip(places) {
            let whole = documents.get(document);
            object.source = whole.and_then(|whole| helm_source(&lines, whole.at));
            if let Some(node) = whole.and_then(|whole| whole.find(&pointer)) {
                object.place(node);
            }
        }
    }
    Ok(examined)
}

/// The longest name of a chart's template in a message, in characters.
const MAX_SOURCE: usize = 253;

/// `web/templates/deployment.yaml`, from the comment that Helm writes before each document.
fn helm_source(lines: &[&str], document: Place) -> Option<String> {
    let mut before = lines[..document.line.saturating_sub(1).min(lines.len())].iter().rev();
    let comments = before
        .by_ref()
        .take_while(|line| line.is_empty() || line.starts_with('#'));
    let mut sources = comments.filter_map(|line| line.strip_prefix("# Source: "));
    let source = sources.next()?.trim();
    Some(source.chars().take(MAX_SOURCE).flat_map(char::escape_debug).collect())
}

impl Examined {
    /// Kind and name, and the chart's template. No control characters.
    pub(crate) fn shown(&self) -> String {
        match &self.source {
            Some(source) => format!("{} ({source})", self.name),
            None => self.name.clone(),
        }
    }

    /// Whether the pod is refused, or lacks what an annotation asks for.
    pub(crate) fn has_problem(&self) -> bool {
        self.findings.iter().any(|finding| finding.level == Level::Problem)
    }

    fn is_silent(&self) -> bool {
        self.findings.is_empty() && !matches!(self.outcome, Outcome::Unusable(_))
    }

    /// Fills in the places.
    fn place(&mut self, node: &PlacedNode<'_>) {
        self.at = Some(node.at);
        for finding in &mut self.findings {
            finding.at = finding.spot.place(node).or(Some(node.at));
        }
    }
}

/// The most misplaced annotations of one object that podkey tells one by one.
const MAX_MISPLACED: usize = 100;

fn examine_one(object: Object, namespace: Option<&str>, config: KnownConfig<'_>) -> Examined {
    let document = object.value;
    let mut examined = Examined {
        name: String::new(),
        source: None,
        at: None,
        findings: Vec::new(),
        outcome: Outcome::NoPod,
    };
    match manifest::name_of(&document) {
        Ok(name) => examined.name = name,
        Err(error) => {
            examined.name = "a document".to_owned();
            examined.outcome = Outcome::Unusable(error);
            return examined;
        }
    }
    let (misplaced, unknown) = annotations::misplaced(&document);
    let more = misplaced.len().saturating_sub(MAX_MISPLACED);
    for annotations::Misplaced { key, pointer, message } in misplaced.into_iter().take(MAX_MISPLACED) {
        examined.findings.push(Finding {
            spot: Spot::Annotation {
                map: pointer,
                key: key.clone(),
            },
            key: Some(key),
            ..Finding::of(Level::Problem, message)
        });
    }
    if more > 0 {
        let more = format!("and {more} more annotations of podkey from which no pod gets anything");
        examined.findings.push(Finding::of(Level::Problem, more));
    }
    examined.findings.extend(unknown.map(|note| Finding {
        spot: Spot::FirstOfOurs,
        ..Finding::of(Level::Warning, note)
    }));
    let template = manifest::template_in(&document);
    match manifest::pod_of(document) {
        Ok(Some(pod)) => examined.outcome = decide_one(pod, template, namespace, config, &mut examined.findings),
        Ok(None) => {
            let note = "skipped, podkey finds no pod in it";
            examined.findings.push(Finding::of(Level::Note, note));
        }
        Err(error) => examined.outcome = Outcome::Unusable(error),
    }
    examined
}

/// Why the webhook could not read a pod.
const NOT_A_POD: &str = "the object is not a v1 Pod: a field of the metadata or of the spec is missing, such as spec.containers, or has a \
    value of another type than Kubernetes takes";

fn decide_one(
    pod: Value,
    template: &str,
    namespace: Option<&str>,
    config: KnownConfig<'_>,
    findings: &mut Vec<Finding>,
) -> Outcome {
    let text = pod.to_string();
    // The error names a place in JSON that nobody has written.
    let Ok(view) = Pod::parse(&text) else {
        return Outcome::Unusable(OfflineError::Pod(NOT_A_POD.to_owned()));
    };
    let own_namespace = pod.pointer("/metadata/namespace").and_then(Value::as_str);
    let namespace = namespace.or(own_namespace).unwrap_or("default").to_owned();
    if matches!(config, KnownConfig::Assumed(_)) && template.is_empty() && is_injected(&pod) {
        return injected(pod, &view, &namespace, config, findings);
    }
    let (config, decision) = decide_by_all(&pod, &view, &namespace, config);
    let warn = |warning: String| Finding {
        spot: Spot::in_pod(template, &warning),
        ..Finding::of(Level::Warning, warning)
    };
    match decision {
        Decision::Ignore(warnings) => {
            findings.extend(warnings.into_iter().map(warn));
            let nothing = "podkey has nothing to do: the pod has no annotation that asks for a secret";
            findings.push(Finding::of(Level::Note, nothing));
            findings.extend(annotations::look_alike(&pod, &config));
            Outcome::Pod { pod, patch: json!([]) }
        }
        Decision::Deny(problems) => {
            push_problems(&problems, template, findings);
            Outcome::Refused
        }
        Decision::Inject(patch, warnings) => {
            findings.extend(warnings.into_iter().map(warn));
            if LEFT_OUT.contains(&&*namespace) {
                findings.push(warn(format!(
                    "podkey: its chart leaves the namespace {namespace} out: the webhook is not asked there, and the pod gets no secret"
                )));
            }
            patched(pod, patch.as_json())
        }
    }
}

/// The decision with the fewest problems of the configs that may decide, and its config. Warnings are those of the usual config: an
/// author should read them.
fn decide_by_all<'c>(
    pod: &Value,
    view: &Pod<'_>,
    namespace: &str,
    config: KnownConfig<'c>,
) -> (Cow<'c, Config>, Decision) {
    let problems = |decision: &Decision| match decision {
        Decision::Ignore(_) | Decision::Inject(..) => 0,
        Decision::Deny(problems) => problems.len(),
    };
    let (usual, other) = config.for_pod(pod);
    let decision = decide(view, namespace, &usual);
    let Some(other) = other.filter(|_| problems(&decision) > 0) else {
        return (usual, decision);
    };
    let second = decide(view, namespace, &other);
    match problems(&second) < problems(&decision) {
        true => (Cow::Owned(other), second),
        false => (usual, decision),
    }
}

/// What podkey finds without the operator's config in a pod that is injected already: what is wrong with its annotations. Whether
/// the rest is as podkey would make it, only the config tells.
fn injected(
    pod: Value,
    view: &Pod<'_>,
    namespace: &str,
    config: KnownConfig<'_>,
    findings: &mut Vec<Finding>,
) -> Outcome {
    if let (_, Decision::Deny(problems)) = decide_by_all(&pod, view, namespace, config) {
        let mut found = Vec::new();
        push_problems(&problems, "", &mut found);
        found.retain(|finding| finding.key.as_ref().is_some_and(|key| key.starts_with(PREFIX)));
        if !found.is_empty() {
            findings.append(&mut found);
            return Outcome::Refused;
        }
    }
    let note = "is injected already: without --config, podkey cannot tell whether the pod is as podkey would make it";
    findings.push(Finding::of(Level::Note, note));
    Outcome::Pod { pod, patch: json!([]) }
}

/// Whether the webhook has injected a pod, such as one that comes from a cluster. Its plan has the operator's connection.
pub(crate) fn is_injected(pod: &Value) -> bool {
    let annotation = |key: &str| pod["metadata"]["annotations"].get(key).is_some();
    let mut init_containers = pod["spec"]["initContainers"].as_array().into_iter().flatten();
    let has_init = init_containers.any(|container| container["name"] == INIT_CONTAINER);
    annotation(INJECTED) && (has_init || annotation(PLAN))
}

fn patched(mut pod: Value, patch: &[u8]) -> Outcome {
    let apply = |pod: &mut Value| -> Result<Value, String> {
        let patch: Value = serde_json::from_slice(patch).map_err(|error| error.to_string())?;
        let operations: Patch = serde_json::from_value(patch.clone()).map_err(|error| error.to_string())?;
        json_patch::patch(pod, &operations).map_err(|error| error.to_string())?;
        Ok(patch)
    };
    match apply(&mut pod) {
        Ok(patch) => Outcome::Pod { pod, patch },
        Err(error) => Outcome::Unusable(OfflineError::Pod(format!("the patch does not apply: {error}"))),
    }
}

/// A finding for each problem, for the number of further problems, and for the allow rule that is nearest.
fn push_problems(problems: &Problems, template: &str, findings: &mut Vec<Finding>) {
    let listed = problems.iter().map(|Problem { key, message, .. }| Finding {
        spot: Spot::in_pod(template, key),
        key: Some(key.clone()),
        ..Finding::of(Level::Problem, message.clone())
    });
    findings.extend(listed);
    let more = problems.len() - problems.iter().count();
    if more > 0 {
        let more = format!("and at least {more} more problems");
        findings.push(Finding::of(Level::Problem, more));
    }
    // The user of this command has the config, so may see its rules. (The webhook does not show them to a pod's author.)
    let no_rule = problems.no_rule();
    findings.extend(no_rule.map(|no_rule| Finding::of(Level::Note, no_rule.to_string())));
}
