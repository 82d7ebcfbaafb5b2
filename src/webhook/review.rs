//! AdmissionReview v1: from the bytes of a request to a decision, and from the decision to the bytes of the answer.
//! <https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#webhook-request-and-response>
//!
//! The types are podkey's own: a library's typed Pod would lose fields that are newer than the library.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::metrics::{AdmissionResult, PodResult};
use crate::inject::{Asker, Config, Decision, Mender, Pod, RefusalReason, Text, decide};

/// The answer to one request body.
pub(super) struct ReviewAnswer {
    /// An AdmissionReview.
    pub(super) body: Vec<u8>,
    pub(super) outcome: Outcome,
    /// Whether the pod counts in the metrics: neither a dry run nor a second review does.
    pub(super) counts: bool,
    pub(super) log: ReviewLog,
}

/// What podkey decided about a request. A refusal always has a reason, so none is left out of the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Ignored,
    Injected,
    Denied(RefusalReason),
}

impl Outcome {
    pub(super) fn result(self) -> AdmissionResult {
        match self {
            Self::Ignored => AdmissionResult::Ignored,
            Self::Injected => AdmissionResult::Injected,
            Self::Denied(_) => AdmissionResult::Denied,
        }
    }

    /// Why the pod is refused.
    pub(super) fn reason(self) -> Option<RefusalReason> {
        match self {
            Self::Denied(reason) => Some(reason),
            Self::Ignored | Self::Injected => None,
        }
    }
}

/// The facts of a review that are logged: the pod's name, and why podkey refused the pod. Nothing else of the pod, and nothing
/// of the patch.
pub(super) struct ReviewLog {
    pub(super) uid: String,
    pub(super) namespace: String,
    /// The pod's name, or `generateName` if the pod has no name yet.
    pub(super) name: String,
    pub(super) problems: Option<String>,
    /// Who asked for secrets, if the pod is refused.
    pub(super) asker: Option<Asker>,
    /// The operator's rules that are nearest to the request, if no rule allows the pod. Never in the answer.
    pub(super) rules: Option<String>,
}

/// The body is not an AdmissionReview v1, so an answer would have no uid.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct ReviewError(&'static str);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Review<'a, Object> {
    #[serde(borrow)]
    api_version: Cow<'a, str>,
    #[serde(borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow, bound(deserialize = "Object: Deserialize<'de>"))]
    request: Option<ReviewRequest<'a, Object>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReviewRequest<'a, Object> {
    #[serde(borrow)]
    uid: Cow<'a, str>,
    #[serde(borrow, default)]
    kind: Option<ReviewedKind<'a>>,
    #[serde(borrow, default)]
    resource: Option<ReviewedResource<'a>>,
    #[serde(borrow, default)]
    sub_resource: Option<Text<'a>>,
    #[serde(borrow, default)]
    name: Option<Text<'a>>,
    #[serde(borrow, default)]
    namespace: Option<Text<'a>>,
    #[serde(borrow)]
    operation: Cow<'a, str>,
    #[serde(bound(deserialize = "Object: Deserialize<'de>"))]
    object: Option<Object>,
    #[serde(default)]
    dry_run: Option<bool>,
}

#[derive(Deserialize)]
struct ReviewedKind<'a> {
    #[serde(borrow, default)]
    group: Cow<'a, str>,
    #[serde(borrow, default)]
    version: Cow<'a, str>,
    #[serde(borrow, default)]
    kind: Cow<'a, str>,
}

#[derive(Deserialize)]
struct ReviewedResource<'a> {
    #[serde(borrow, default)]
    group: Cow<'a, str>,
    #[serde(borrow, default)]
    resource: Cow<'a, str>,
}

impl<Object> ReviewRequest<'_, Object> {
    /// Whether the request creates a pod. podkey allows every other request: a webhook that handles updates can keep pods with
    /// finalizers from ever being deleted.
    fn creates_pod(&self) -> bool {
        self.operation == "CREATE"
            && self.sub_resource.as_deref().unwrap_or_default().is_empty()
            && self
                .kind
                .as_ref()
                .is_none_or(|kind| kind.group.is_empty() && kind.version == "v1" && kind.kind == "Pod")
            && self
                .resource
                .as_ref()
                .is_none_or(|resource| resource.group.is_empty() && resource.resource == "pods")
    }

    /// Whether an allowed request creates something.
    fn is_no_dry_run(&self) -> bool {
        self.dry_run != Some(true)
    }

    fn log(&self, name: Option<&str>) -> ReviewLog {
        let name = self.name.as_deref().filter(|name| !name.is_empty()).or(name);
        ReviewLog {
            uid: self.uid.clone().into_owned(),
            namespace: bounded(self.namespace.as_deref().unwrap_or_default(), MAX_NAME_BYTES).into_owned(),
            name: bounded(name.unwrap_or_default(), MAX_NAME_BYTES).into_owned(),
            problems: None,
            asker: None,
            rules: None,
        }
    }
}

/// The longest name in Kubernetes.
const MAX_NAME_BYTES: usize = 253;
/// The longest uid. The API server's uids have 36 bytes.
const MAX_UID_BYTES: usize = 128;
/// The longest text about a pod's problems. The pod's author reads it in an event, which holds 1 KiB.
pub(super) const MAX_PROBLEMS_BYTES: usize = 8 * 1024;

/// Cuts a text that comes from the request.
pub(super) fn bounded(text: &str, max_bytes: usize) -> Cow<'_, str> {
    if text.len() <= max_bytes {
        return text.into();
    }
    format!("{}…", &text[..text.floor_char_boundary(max_bytes)]).into()
}

/// Answers one AdmissionReview.
pub(super) fn answer(body: &[u8], config: &Config) -> Result<ReviewAnswer, ReviewError> {
    let text = std::str::from_utf8(body).map_err(|_| ReviewError("the body is not UTF-8"))?;
    // Most requests create a pod that podkey can parse: one pass over the text.
    if let Ok(review) = serde_json::from_str::<Review<'_, Pod<'_>>>(text)
        && review.is_v1()
        && let Some(request) = review.request
        && request.uid.len() <= MAX_UID_BYTES
        && request.creates_pod()
        && let Some(pod) = &request.object
    {
        return answer_pod(&request, pod, config);
    }
    // Other requests take two passes: the envelope first, for the uid.
    let Ok(review) = serde_json::from_str::<Review<'_, &RawValue>>(text) else {
        return Err(ReviewError("the body is not an AdmissionReview with a request"));
    };
    if !review.is_v1() {
        return Err(ReviewError(
            "the body is not of kind AdmissionReview, apiVersion admission.k8s.io/v1",
        ));
    }
    let Some(request) = review.request else {
        return Err(ReviewError("the AdmissionReview has no request"));
    };
    if request.uid.len() > MAX_UID_BYTES {
        return Err(ReviewError(
            "the request's uid is longer than any uid of the API server",
        ));
    }
    if !request.creates_pod() {
        let log = request.log(None);
        return respond(log, false, Allowed::Ignored(&[]));
    }
    match Pod::parse(request.object.map_or("null", RawValue::get)) {
        Ok(pod) => answer_pod(&request, &pod, config),
        // podkey allows every pod that asks for nothing, also a pod that podkey cannot parse.
        Err(_) if !Pod::may_have_annotations(request.object.map_or("null", RawValue::get)) => {
            let log = request.log(None);
            respond(log, false, Allowed::Ignored(&[]))
        }
        Err(error) => {
            let mut log = request.log(None);
            let message = error.to_string();
            log.problems = Some(message.clone());
            // The API server has parsed the pod before. So the pod has a shape that is newer than podkey, and the operator must
            // act.
            let refusal = PodRefusal {
                mender: Mender::Operator,
                reason: RefusalReason::Unreadable,
                message: &message,
            };
            respond(log, request.is_no_dry_run(), Allowed::No(refusal))
        }
    }
}

impl<Object> Review<'_, Object> {
    fn is_v1(&self) -> bool {
        self.api_version == "admission.k8s.io/v1" && self.kind == "AdmissionReview"
    }
}

fn answer_pod<Object>(
    request: &ReviewRequest<'_, Object>,
    pod: &Pod<'_>,
    config: &Config,
) -> Result<ReviewAnswer, ReviewError> {
    let metadata = &pod.metadata;
    let given = |name: &'_ Option<Text<'_>>| name.as_deref().is_some_and(|name| !name.is_empty());
    let name = if given(&metadata.name) {
        &metadata.name
    } else {
        &metadata.generate_name
    };
    let mut log = request.log(name.as_deref());
    // A pod with podkey's parts was counted at its first review.
    let counts = request.is_no_dry_run() && !pod.has_podkeys_parts();
    match decide(pod, request.namespace.as_deref().unwrap_or_default(), config) {
        Decision::Ignore(warnings) => respond(log, counts, Allowed::Ignored(&warnings)),
        Decision::Inject(patch, warnings) => {
            let json = (!patch.is_empty()).then(|| patch.as_json());
            respond(log, counts, Allowed::Injected(json, &warnings))
        }
        Decision::Deny(problems) => {
            let message = problems.to_string();
            log.problems = Some(message.clone());
            log.asker = Some(Asker::of(pod, config));
            log.rules = problems.no_rule().map(ToString::to_string);
            let refusal = PodRefusal {
                mender: problems.mender(),
                reason: problems.reason(),
                message: &message,
            };
            respond(log, counts, Allowed::No(refusal))
        }
    }
}

impl ReviewAnswer {
    /// How the pod counts in the metrics. None: it does not.
    pub(super) fn pod(&self) -> Option<PodResult> {
        let pod = match self.outcome {
            Outcome::Ignored => None,
            Outcome::Injected => Some(PodResult::Injected),
            Outcome::Denied(reason) => Some(PodResult::Denied(reason)),
        };
        pod.filter(|_| self.counts)
    }
}

/// The decision in the answer. The texts are warnings.
enum Allowed<'a> {
    Ignored(&'a [String]),
    /// With the patch, unless the pod has all of podkey's parts.
    Injected(Option<&'a [u8]>, &'a [String]),
    No(PodRefusal<'a>),
}

/// Why a pod is refused, and who can change that.
struct PodRefusal<'a> {
    mender: Mender,
    reason: RefusalReason,
    message: &'a str,
}

/// An AdmissionReview's `response`, without the patch.
#[derive(Serialize)]
struct ReviewResponse<'a> {
    uid: &'a str,
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<ReviewStatus<'a>>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    warnings: &'a [String],
}

/// The code depends on the person who can repair the cause. On 403 ARC gives up the runner, shows the message in the runner's
/// status, and uses the template again after a change. On 400 ARC shows nothing and retries with an equal pod: this helps if the
/// operator repairs the cause, and never if the template is wrong. There is no `reason`: clients ignore a `reason` that
/// Kubernetes does not define, and use the code.
#[derive(Serialize)]
struct ReviewStatus<'a> {
    code: u16,
    #[serde(serialize_with = "message")]
    message: &'a str,
}

fn message<S: serde::Serializer>(text: &&str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&bounded(text, MAX_PROBLEMS_BYTES))
}

/// What an answer has before its `response`.
const ENVELOPE: &str = r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","response":"#;
/// Where an answer has the request's uid.
pub(super) const UID_AT: usize = ENVELOPE.len() + r#"{"uid":""#.len();

fn respond(log: ReviewLog, counts: bool, allowed: Allowed<'_>) -> Result<ReviewAnswer, ReviewError> {
    let mut response = ReviewResponse {
        uid: &log.uid,
        allowed: true,
        status: None,
        warnings: &[],
    };
    let mut patch = None;
    let outcome = match allowed {
        Allowed::Ignored(warnings) => {
            response.warnings = warnings;
            Outcome::Ignored
        }
        Allowed::Injected(json, warnings) => {
            patch = json;
            response.warnings = warnings;
            Outcome::Injected
        }
        Allowed::No(PodRefusal {
            mender,
            reason,
            message,
        }) => {
            let code = match mender {
                Mender::Author => 403,
                Mender::Operator => 400,
            };
            response.allowed = false;
            response.status = Some(ReviewStatus { code, message });
            Outcome::Denied(reason)
        }
    };
    let response = serde_json::to_string(&response).map_err(|_| ReviewError("podkey cannot write its answer"))?;
    // The final size: a buffer that grows is copied, and may become twice as large as its content.
    let mut body = String::with_capacity(128 + response.len() + patch.map_or(0, |json| json.len().div_ceil(3) * 4));
    body.push_str(ENVELOPE);
    body.push_str(&response);
    if let Some(json) = patch {
        // Base64 has no character that JSON escapes. A search for such characters would cost as much as the rest of the answer.
        body.pop();
        body.push_str(r#","patchType":"JSONPatch","patch":""#);
        STANDARD.encode_string(json, &mut body);
        body.push_str("\"}");
    }
    body.push('}');
    Ok(ReviewAnswer {
        body: body.into_bytes(),
        outcome,
        counts,
        log,
    })
}
