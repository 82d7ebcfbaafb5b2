//! From the pod's annotations to an [`InjectionRequest`]: each value is parsed by its annotation's parser.

use std::collections::BTreeSet;

use crate::inject::job_policy;
use crate::inject::pod::Annotations;
use crate::inject::problem::{Problems, did_you_mean, unquoted};
use crate::inject::request::env_delivery::EnvDelivery;
use crate::inject::request::injection::InjectionRequest;
use crate::inject::request::value::AnnotationValue;
use crate::inject::request::{files, refresh, variables};
use crate::inject::words::keys::{ANNOTATIONS, AnnotationKey, FILES, INJECTED, PREFIX, ValueShape};
use crate::plan::{Mask, OnFailure, spelling};

/// The longest list of container names, in bytes.
const MAX_CONTAINERS_BYTES: usize = 4096;

/// Whether the author asks for anything at all.
pub(crate) fn asks(annotations: &Annotations<'_>) -> bool {
    annotations.ours.iter().any(|(name, _)| !is_injected(name))
}

/// Whether the pod carries exactly this mark of podkey's.
pub(crate) fn says_injected(annotations: &Annotations<'_>, mark: &str) -> bool {
    let mut ours = annotations.ours.iter();
    ours.any(|(name, value)| is_injected(name) && value.as_deref() == Ok(mark))
}

fn is_injected(name: &str) -> bool {
    INJECTED.strip_prefix(PREFIX) == Some(name)
}

/// Parses each of podkey's annotations, and reports what is wrong with any of them.
pub(crate) fn parse(annotations: &Annotations<'_>, problems: &mut Problems) -> InjectionRequest {
    let mut request = InjectionRequest::default();
    let mut names_secrets = false;
    if annotations.too_many {
        problems.push(PREFIX, format!("has more than {} annotations", annotations.ours.len()));
    }
    for (name, value) in &annotations.ours {
        let Some(annotation) = ANNOTATIONS.iter().find(|annotation| annotation.name == name) else {
            // Nobody means a key that only podkey writes.
            let authors = |key| !matches!(key, AnnotationKey::Injected | AnnotationKey::Plan);
            let known = ANNOTATIONS.iter().filter(|annotation| authors(annotation.key));
            let hint = did_you_mean(name, known.map(|annotation| annotation.name));
            problems.push(
                format!("{PREFIX}{}", unquoted(name)),
                format!("is not an annotation of podkey{hint}"),
            );
            continue;
        };
        names_secrets |= annotation.shape == ValueShape::Secrets;
        let mut value = AnnotationValue {
            annotation,
            value: value.as_deref().map_err(|shape| *shape),
            problems,
        };
        parse_value(&mut value, &mut request);
    }
    if !names_secrets {
        // A misspelt key is reported too, with the key that was meant.
        problems.push(
            FILES,
            "is missing: the pod has other annotations of podkey, but asks for no secret",
        );
    }
    request
}

/// Calls the annotation's parser, which reports what is wrong with the value, and keeps the result in the request. Runs for a value
/// that is no text, too. An annotation without a parser does not compile.
fn parse_value(value: &mut AnnotationValue<'_>, request: &mut InjectionRequest) {
    match value.annotation.key {
        AnnotationKey::Connection => request.connection = value.word().map(str::to_owned),
        AnnotationKey::Role => request.role = value.spelled(spelling::of_role),
        AnnotationKey::AuthMount => request.auth_mount = value.spelled(spelling::of_mount).given(),
        AnnotationKey::Files => files::annotation(value, request),
        AnnotationKey::Env => variables::env(value, request),
        AnnotationKey::Containers => containers(value, request),
        AnnotationKey::Refresh => refresh::interval(value, request),
        AnnotationKey::OnChange => refresh::on_change(value, request),
        AnnotationKey::OnFailure => request.on_failure = value.one_of(OnFailure::NAMES).given(),
        AnnotationKey::JobHooks => request.job_hooks = value.boolean(),
        AnnotationKey::Export => request.export = value.boolean(),
        AnnotationKey::EnvDelivery => request.env_delivery = value.one_of(EnvDelivery::NAMES),
        AnnotationKey::Mask => request.mask = value.one_of(Mask::NAMES).given(),
        AnnotationKey::JobEnv => variables::job_env(value, request),
        AnnotationKey::JobPolicy => request.job_policy = value.parsed_by(job_policy::parse).flatten(),
        AnnotationKey::JobTemp => request.job_temp = value.boolean().given().unwrap_or_default(),
        AnnotationKey::IgnoreNotFound => request.ignore_not_found = value.boolean().given().unwrap_or_default(),
        AnnotationKey::Injected | AnnotationKey::Plan => (),
    }
}

/// Parses the names of `podkey.dev/containers`.
fn containers(value: &mut AnnotationValue<'_>, request: &mut InjectionRequest) {
    let Some(text) = value.text() else { return };
    if text.len() > MAX_CONTAINERS_BYTES {
        value.problem(format!("is longer than {MAX_CONTAINERS_BYTES} bytes"));
        request.containers = Some(Vec::new());
        return;
    }
    let mut seen = BTreeSet::new();
    let mut names = Vec::new();
    for name in text.split(',').map(str::trim) {
        if name.is_empty() {
            value.problem("has an empty name: write container names with commas between them");
        } else if seen.insert(name) {
            names.push(name.to_owned());
        }
    }
    request.containers = Some(names);
}
