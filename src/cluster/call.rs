//! One call to the API server: its object, the right that it needs, and its errors.

use std::error::Error;
use std::fmt;

use http::StatusCode;
use http_body_util::LengthLimitError;

use super::answer::AnswerError;

/// A call, for messages.
#[derive(Clone, Copy)]
pub(super) enum Call<'a> {
    GetSecret { namespace: &'a str, name: &'a str },
    CreateSecret { namespace: &'a str, name: &'a str },
    UpdateSecret { namespace: &'a str, name: &'a str },
    GetConfiguration { name: &'a str },
    PatchConfiguration { name: &'a str },
    GetVersion,
    ListNodes,
}

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct CallError {
    pub(crate) kind: CallErrorKind,
    /// For the operator: what is wrong, with which object, and what to do.
    pub(crate) message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallErrorKind {
    /// There is no such object.
    NotFound,
    /// Another client has changed the object between read and write, or has created it.
    Conflict,
    /// No answer, or an answer that asks for a retry.
    Unreachable,
    /// A right is missing, or the token is not accepted.
    Forbidden,
    /// Any other answer.
    Refused,
}

impl fmt::Display for Call<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb(), self.object())
    }
}

impl Call<'_> {
    fn verb(self) -> &'static str {
        match self {
            Self::GetSecret { .. } | Self::GetConfiguration { .. } | Self::GetVersion => "get",
            Self::ListNodes => "list",
            Self::CreateSecret { .. } => "create",
            Self::UpdateSecret { .. } => "update",
            Self::PatchConfiguration { .. } => "patch",
        }
    }

    fn object(self) -> String {
        match self {
            Self::GetSecret { namespace, name }
            | Self::CreateSecret { namespace, name }
            | Self::UpdateSecret { namespace, name } => format!("the Secret {namespace}/{name}"),
            Self::GetConfiguration { name } | Self::PatchConfiguration { name } => {
                format!("the MutatingWebhookConfiguration {name}")
            }
            Self::GetVersion => "Kubernetes' version".to_owned(),
            Self::ListNodes => "the nodes".to_owned(),
        }
    }

    /// The RBAC rule that allows the call.
    fn rule(self) -> String {
        let verb = self.verb();
        match self {
            // A rule with resourceNames does not allow create: the API server does not know the name yet.
            Self::CreateSecret { namespace, .. } => {
                format!("a Role in the namespace {namespace} with the verb create on secrets (without resourceNames)")
            }
            Self::GetSecret { namespace, name } | Self::UpdateSecret { namespace, name } => {
                format!("a Role in the namespace {namespace} with the verb {verb} on secrets, resourceNames [{name}]")
            }
            Self::GetConfiguration { name } | Self::PatchConfiguration { name } => format!(
                "a ClusterRole with the verb {verb} on mutatingwebhookconfigurations.admissionregistration.k8s.io, \
                 resourceNames [{name}]"
            ),
            Self::GetVersion => "the ClusterRole system:public-info-viewer, which every cluster has,".to_owned(),
            Self::ListNodes => format!("a ClusterRole with the verb {verb} on nodes"),
        }
    }

    /// The error of the call. The message never quotes a successful answer: a Secret has a private key.
    pub(super) fn failed(self, error: &kube::Error) -> CallError {
        match error {
            kube::Error::SerdeError(_) | kube::Error::FromUtf8(_) => {
                self.refused("the API server's answer is not such an object in JSON")
            }
            kube::Error::Service(source) => match source.downcast_ref::<AnswerError>() {
                Some(AnswerError::Status { status, message }) => self.answered(*status, message),
                Some(clock @ AnswerError::Clock { .. }) => self.refused(&clock.to_string()),
                None if source.is::<kube::client::AuthError>() => self.refused(&source.to_string()),
                None if source.is::<LengthLimitError>() => self.unreachable("the answer is too long"),
                None => self.unreachable(&root_cause(source.as_ref())),
            },
            kube::Error::HyperError(source) => self.unreachable(&root_cause(source)),
            // kube cannot make the client, because it cannot read the token or the CA.
            other => self.refused(&other.to_string()),
        }
    }

    fn answered(self, status: StatusCode, message: &str) -> CallError {
        match (status, self) {
            // The read before has found the object, so another client has deleted it since.
            (StatusCode::NOT_FOUND, Self::UpdateSecret { .. } | Self::PatchConfiguration { .. })
            | (StatusCode::CONFLICT, _) => CallError {
                kind: CallErrorKind::Conflict,
                message: format!("{} was changed by another client at the same time", self.object()),
            },
            (StatusCode::NOT_FOUND, _) => CallError {
                kind: CallErrorKind::NotFound,
                message: format!("cannot {self}: {status}: {message}"),
            },
            (StatusCode::FORBIDDEN, _) => CallError {
                kind: CallErrorKind::Forbidden,
                message: format!(
                    "may not {self} (403): bind {} to podkey's service account, as its chart and manifests do. The API \
                     server says: {message}",
                    self.rule()
                ),
            },
            (StatusCode::UNAUTHORIZED, _) => CallError {
                kind: CallErrorKind::Forbidden,
                message: format!("cannot {self}: the API server does not accept podkey's service-account token (401)"),
            },
            (StatusCode::TOO_MANY_REQUESTS, _) => self.unreachable("429 too many requests"),
            _ if status.is_server_error() => self.unreachable(&format!("{status}: {message}")),
            _ => self.refused(&format!("{status}: {message}")),
        }
    }

    pub(super) fn unreachable(self, cause: &str) -> CallError {
        CallError {
            kind: CallErrorKind::Unreachable,
            message: format!("cannot {self}: {cause}"),
        }
    }

    pub(super) fn refused(self, cause: &str) -> CallError {
        CallError {
            kind: CallErrorKind::Refused,
            message: format!("cannot {self}: {cause}"),
        }
    }
}

/// The innermost error. The errors around it have no information, such as "client error (Connect)".
fn root_cause(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
