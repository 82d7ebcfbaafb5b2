//! The pod that the doctor examines: one that exists, or the pod of a manifest. The API server admits a copy of the pod by a dry
//! run, as it would admit the pod if the user created it now. No object is stored.

use std::path::Path;

use serde_json::{Value, json};

use super::api::{self, ApiError};
use super::finding::Findings;
use super::mend::Manifest;
use super::situation::{Admission, ExaminedPod, items, text};
use super::words::command;
use crate::cli::inject::offline::manifest;
use crate::cli::kubeconfig::KubeClient;
use crate::inject::keys::{PLAN, ROLE};
use crate::inject::{INIT_CONTAINER, INJECTED, PREFIX};
use crate::plan::{PLAN_ENV, Plan};

/// The pod of a manifest, before the dry run.
pub(super) struct Written {
    pub(super) name: String,
    pub(super) pod: Value,
    /// The object of the manifest that the pod is made from.
    pub(super) object: Value,
    /// How many objects the manifest has.
    pub(super) objects: usize,
    pub(super) has_comments: bool,
    /// Whether the manifest makes the pod's service account too.
    pub(super) makes_account: bool,
}

/// The pods of the manifest that have annotations of podkey; without such a pod the first pod.
pub(super) fn of_manifest(file: &Path) -> anyhow::Result<Vec<Written>> {
    let yaml = crate::cli::input::read(file)?;
    // A `#` in a value counts too: too few files are rewritten rather than too many.
    let has_comments = yaml.contains('#');
    let documents = manifest::read(&yaml)?;
    let objects = documents.len();
    let accounts: Vec<(String, String)> = documents
        .iter()
        .filter(|document| manifest::group_and_kind(document) == ("", "ServiceAccount"))
        .map(|account| ["/metadata/namespace", "/metadata/name"].map(|place| text(account, place).to_owned()))
        .map(|[namespace, name]| (namespace, name))
        .collect();
    let mut all = Vec::new();
    for document in documents {
        let name = manifest::name_of(&document)?;
        let object = document.clone();
        let Some(pod) = manifest::pod_of(document)? else {
            continue;
        };
        let (namespace, account) = (text(&object, "/metadata/namespace"), account_of(&pod));
        let is_own = |(place, name): &(String, String)| {
            name == account && (place == namespace || place.is_empty() || namespace.is_empty())
        };
        all.push(Written {
            makes_account: accounts.iter().any(is_own),
            name,
            pod,
            object,
            objects,
            has_comments,
        });
    }
    let is_asking = |written: &Written| asks(&written.object) || asks(&written.pod);
    match all.iter().any(is_asking) {
        true => all.retain(is_asking),
        false => all.truncate(1),
    }
    match all.is_empty() {
        true => Err(anyhow::anyhow!("{} has no pod and no pod template", file.display())),
        false => Ok(all),
    }
}

impl Written {
    /// The file, if kubectl can patch it.
    pub(super) fn manifest(&self, file: &Path) -> Option<Manifest> {
        let (group, kind) = manifest::group_and_kind(&self.object);
        let template = match kind {
            "Pod" => "",
            _ => manifest::template_of(group, kind)?,
        };
        let is_known = ["", "apps", "batch"].contains(&group);
        (self.objects == 1 && is_known && file.as_os_str() != "-").then(|| Manifest {
            file: file.display().to_string(),
            template,
            has_comments: self.has_comments,
        })
    }
}

/// Whether the object has an annotation by which an author asks podkey.
pub(super) fn asks(object: &Value) -> bool {
    let annotations = object.pointer("/metadata/annotations").and_then(Value::as_object);
    let mut keys = annotations.into_iter().flatten().map(|(key, _)| key.as_str());
    keys.any(|key| key.starts_with(PREFIX) && key != INJECTED && key != PLAN)
}

/// Changes the annotation of the role. A pod that asks for nothing stays as it is.
pub(super) fn ask_for_role(pod: &mut Value, role: &str) {
    if asks(pod) {
        pod["metadata"]["annotations"][ROLE] = Value::from(role);
    }
}

/// Reads a pod that exists. None, with a finding: the doctor does not see the pod.
pub(super) async fn of_cluster(
    cluster: &KubeClient,
    namespace: &str,
    name: &str,
    findings: &mut Findings,
) -> Option<Value> {
    let path = format!(
        "/api/v1/namespaces/{}/pods/{}",
        api::segment(namespace),
        api::segment(name)
    );
    match api::get(cluster, &path).await {
        Ok(pod) => Some(pod),
        Err(ApiError::NotFound(_)) => {
            let look = command(&["kubectl", "get", "pods", "--namespace", namespace]);
            let message = format!("there is no pod {name:?} in the namespace {namespace}");
            findings.fault("pod", message, Some(look));
            None
        }
        Err(ApiError::Forbidden(_)) => {
            findings.unseen_right("pod", &format!("the pod {name}"), "get", "pods", Some(namespace));
            None
        }
        Err(error) => {
            findings.unseen("pod", format!("the pod {name} cannot be read: {error}"), None);
            None
        }
    }
}

/// What the doctor examines, before the dry run.
pub(super) struct Candidate {
    /// See [`ExaminedPod::name`].
    pub(super) name: String,
    pub(super) written: Value,
    pub(super) exists: bool,
    pub(super) manifest: Option<Manifest>,
    pub(super) object: Option<Value>,
    /// See [`ExaminedPod::makes_account`].
    pub(super) makes_account: bool,
}

/// Examines a pod: asks the API server to admit a copy by a dry run.
pub(super) async fn examine(cluster: Option<&KubeClient>, namespace: &str, candidate: Candidate) -> ExaminedPod {
    let written = candidate.written;
    let (admission, admitted) = match cluster {
        Some(cluster) => admit(cluster, namespace, &written, candidate.makes_account).await,
        None => (Admission::NotAsked, None),
    };
    let probe = match cluster {
        Some(cluster) if has_parts(&written) => Some(probe(cluster, namespace, &written["metadata"]).await),
        _ => None,
    };
    // The plan of a pod that exists is the plan that its agent has.
    let own = candidate.exists.then(|| plan_of(&written)).flatten();
    let pod = admitted.unwrap_or_else(|| written.clone());
    let account = match &admission {
        Admission::Admitted(_) if !candidate.makes_account => account_of(&pod),
        _ => account_of(&written),
    };
    ExaminedPod {
        name: candidate.name,
        account: account.to_owned(),
        makes_account: candidate.makes_account,
        probe,
        plan: own.or_else(|| plan_of(&pod)),
        pod,
        written,
        admission,
        exists: candidate.exists,
        manifest: candidate.manifest,
        object: candidate.object,
    }
}

/// Asks about a pod that podkey must refuse: whether the API server calls podkey. The pod has labels and annotations of `metadata`.
pub(super) async fn probe(cluster: &KubeClient, namespace: &str, metadata: &Value) -> Admission {
    let mut annotations = json!({PROBE: "is podkey called?"});
    for (key, value) in metadata["annotations"].as_object().into_iter().flatten() {
        annotations[key] = value.clone();
    }
    let pod = json!({
        "metadata": {"name": "podkey-doctor", "labels": metadata["labels"], "annotations": annotations},
        "spec": {"containers": [{"name": "main", "image": "podkey-doctor"}]},
    });
    dry_run(cluster, namespace, &pod).await.0
}

/// Whether the pod has parts of podkey's already.
pub(super) fn has_parts(pod: &Value) -> bool {
    items(pod, "/spec/initContainers").any(|container| container["name"] == INIT_CONTAINER)
        || pod["metadata"]["annotations"][PLAN].is_string()
}

/// The service account of a pod. `serviceAccount` is the old name of the field.
fn account_of(pod: &Value) -> &str {
    let names = ["/spec/serviceAccountName", "/spec/serviceAccount"].map(|place| text(pod, place));
    names.into_iter().find(|name| !name.is_empty()).unwrap_or("default")
}

/// An annotation that podkey does not know.
const PROBE: &str = "podkey.dev/doctor";

/// What the API server said, and the admitted pod. Without its service account no pod is admitted: then the pod of another account
/// shows what podkey does, so that the other checks can go on. Where the manifest makes the account, that is the whole answer.
async fn admit(
    cluster: &KubeClient,
    namespace: &str,
    written: &Value,
    makes_account: bool,
) -> (Admission, Option<Value>) {
    let (admission, admitted) = dry_run(cluster, namespace, written).await;
    if let Admission::Refused(error) = &admission
        && error.to_string().contains("error looking up service account")
    {
        let mut other = written.clone();
        if let Some(spec) = other["spec"].as_object_mut() {
            spec.remove("serviceAccountName");
            spec.remove("serviceAccount");
        }
        let (without, admitted) = dry_run(cluster, namespace, &other).await;
        return match makes_account {
            true => (without, admitted),
            false => (admission, admitted),
        };
    }
    (admission, admitted)
}

async fn dry_run(cluster: &KubeClient, namespace: &str, written: &Value) -> (Admission, Option<Value>) {
    let path = format!(
        "/api/v1/namespaces/{}/pods?dryRun=All&fieldManager=podkey-doctor",
        api::segment(namespace)
    );
    match api::post(cluster, &path, &fresh_copy(written, namespace)).await {
        Ok(answer) => (Admission::Admitted(answer.warnings), Some(answer.object)),
        Err(error) => (Admission::Refused(error), None),
    }
}

/// The pod as it would be sent to the API server now: without what the API server and the scheduler have added.
fn fresh_copy(written: &Value, namespace: &str) -> Value {
    let mut spec = written["spec"].clone();
    if let Some(fields) = spec.as_object_mut() {
        for field in ["nodeName", "ephemeralContainers"] {
            fields.remove(field);
        }
    }
    let name = match text(written, "/metadata/name") {
        "" => text(written, "/metadata/generateName"),
        name => name,
    };
    let name: String = name.chars().take(40).collect();
    let name = name.trim_end_matches(['-', '.']);
    let name = if name.is_empty() { "podkey-doctor" } else { name };
    let mut metadata = json!({"generateName": format!("{name}-"), "namespace": namespace});
    for field in ["labels", "annotations"] {
        if let Some(map) = written["metadata"][field].as_object() {
            let mut map = map.clone();
            map.remove(INJECTED);
            map.remove(PLAN);
            metadata[field] = Value::Object(map);
        }
    }
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
}

/// The plan in a pod: of a container of podkey's, or, where the job hooks do all the work, of an annotation.
fn plan_of(pod: &Value) -> Option<Plan> {
    let containers = items(pod, "/spec/initContainers");
    let mut env = containers
        .filter(|container| container["name"] == "podkey-init")
        .flat_map(|container| items(container, "/env"));
    let in_container = env.find(|var| var["name"] == PLAN_ENV);
    let json = in_container
        .and_then(|var| var["value"].as_str())
        .or_else(|| pod["metadata"]["annotations"][PLAN].as_str())?;
    Plan::parse(json).ok()
}
