//! The labels of the metrics, and their fixed values.

use std::fmt::Write;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};

use crate::inject::RefusalReason;

/// How an admission request ended. [`AdmissionResult::Invalid`]: no AdmissionReview v1, too large, too slow, or podkey failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::webhook) enum AdmissionResult {
    Injected,
    Ignored,
    Denied,
    Invalid,
}

impl AdmissionResult {
    pub(super) const ALL: [Self; 4] = [Self::Injected, Self::Ignored, Self::Denied, Self::Invalid];

    /// The word in metrics and log.
    pub(in crate::webhook) fn as_str(self) -> &'static str {
        match self {
            Self::Injected => "injected",
            Self::Ignored => "ignored",
            Self::Denied => "denied",
            Self::Invalid => "invalid",
        }
    }
}

impl EncodeLabelValue for AdmissionResult {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> std::fmt::Result {
        encoder.write_str(self.as_str())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct AdmissionLabel {
    pub(super) result: AdmissionResult,
}

/// The decision about a pod. Each pod counts once: a second review (after another webhook has changed the pod) does not count,
/// and a dry run does not count, because it creates no pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::webhook) enum PodResult {
    Injected,
    Denied(RefusalReason),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct PodLabel {
    pub(super) result: &'static str,
}

impl PodLabel {
    pub(super) const ALL: [Self; 2] = [Self { result: "injected" }, Self { result: "denied" }];
}

impl From<PodResult> for PodLabel {
    fn from(result: PodResult) -> Self {
        let [injected, denied] = Self::ALL;
        match result {
            PodResult::Injected => injected,
            PodResult::Denied(_) => denied,
        }
    }
}

/// Why podkey answers a request without a decision about a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::webhook) enum InvalidReason {
    /// The body is no AdmissionReview v1 with a request.
    NotAReview,
    /// The body is larger than podkey reads.
    TooLarge,
    /// The body did not arrive in time.
    TooSlow,
    /// The client ended the connection within the body, as an API server does that restarts.
    BrokeOff,
    /// There was no memory for the body or for the answer.
    Overloaded,
    /// podkey panicked.
    Fault,
}

impl InvalidReason {
    pub(super) const ALL: [Self; 6] = [
        Self::NotAReview,
        Self::TooLarge,
        Self::TooSlow,
        Self::BrokeOff,
        Self::Overloaded,
        Self::Fault,
    ];
}

impl EncodeLabelValue for InvalidReason {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> std::fmt::Result {
        encoder.write_str(match self {
            Self::NotAReview => "not_a_review",
            Self::TooLarge => "too_large",
            Self::TooSlow => "too_slow",
            Self::BrokeOff => "broke_off",
            Self::Overloaded => "overloaded",
            Self::Fault => "fault",
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct InvalidLabel {
    pub(super) reason: InvalidReason,
}

/// Why podkey ended a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::webhook) enum CutReason {
    /// The TLS handshake took too long.
    Handshake,
    /// The client sent no valid review in time.
    Unproven,
    /// The client sent no request for a long time.
    Idle,
    /// A request took too long.
    SlowRequest,
    /// The client did not read its answer in time.
    SlowAnswer,
    /// The connection made room for a new one.
    NoPlace,
    /// The connection held memory that other requests waited for, and its client was too slow.
    NoMemory,
    /// The connection was new, and all others were working.
    Refused,
    /// The connection was still open when the server ended.
    Stopping,
}

impl EncodeLabelValue for CutReason {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> std::fmt::Result {
        encoder.write_str(match self {
            Self::Handshake => "handshake",
            Self::Unproven => "unproven",
            Self::Idle => "idle",
            Self::SlowRequest => "slow_request",
            Self::SlowAnswer => "slow_answer",
            Self::NoPlace => "no_place",
            Self::NoMemory => "no_memory",
            Self::Refused => "turned_away",
            Self::Stopping => "stopping",
        })
    }
}

impl CutReason {
    pub(super) const ALL: [Self; 9] = [
        Self::Handshake,
        Self::Unproven,
        Self::Idle,
        Self::SlowRequest,
        Self::SlowAnswer,
        Self::NoPlace,
        Self::NoMemory,
        Self::Refused,
        Self::Stopping,
    ];
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct CutLabel {
    pub(super) reason: CutReason,
}

/// A part of the account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::webhook) enum AccountPart {
    SmallBodies,
    LargeBodies,
    Answers,
}

impl EncodeLabelValue for AccountPart {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> std::fmt::Result {
        encoder.write_str(match self {
            Self::SmallBodies => "small_bodies",
            Self::LargeBodies => "large_bodies",
            Self::Answers => "answers",
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(in crate::webhook) struct AccountPartLabel {
    pub(in crate::webhook) part: AccountPart,
}

/// Why podkey cannot make or keep its own certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::webhook) enum UpkeepFailure {
    /// The API server does not answer.
    Unreachable,
    /// An RBAC right is missing.
    Forbidden,
    /// The API server refuses a call for another reason, or another client undoes podkey's writes.
    Refused,
    /// No webhook configuration calls podkey.
    NoConfiguration,
    /// podkey could not make a certificate.
    Certificate,
}

impl UpkeepFailure {
    pub(super) const ALL: [Self; 5] = [
        Self::Unreachable,
        Self::Forbidden,
        Self::Refused,
        Self::NoConfiguration,
        Self::Certificate,
    ];
}

impl EncodeLabelValue for UpkeepFailure {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> std::fmt::Result {
        encoder.write_str(match self {
            Self::Unreachable => "unreachable",
            Self::Forbidden => "forbidden",
            Self::Refused => "refused",
            Self::NoConfiguration => "no_configuration",
            Self::Certificate => "certificate",
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct UpkeepFailureLabel {
    pub(super) reason: UpkeepFailure,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct BuildLabel {
    pub(super) version: &'static str,
}
