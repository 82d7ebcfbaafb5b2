//! Why the API server refuses a pod: its message, sorted by the part that refuses. The texts are those of Kubernetes 1.30 to 1.37
//! (<https://github.com/kubernetes/kubernetes/tree/master/plugin/pkg/admission> and `staging/src/k8s.io/apiserver/pkg/admission`).

use crate::cli::doctor::api::ApiError;
use crate::cli::doctor::situation::Admission;
use crate::inject::vocabulary::{GUARD_SAYS, WEBHOOK_SUFFIX};

/// Which part refuses the pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// podkey itself: its problems.
    Podkey(Vec<String>),
    /// The API server cannot call podkey: the cause.
    Call(String),
    /// podkey's guard: podkey has not injected the pod.
    Guard,
    /// Another webhook or policy, with its message.
    Other(String),
    PodSecurity(String),
    LimitRange(String),
    /// The message, behind the name of the quota.
    Quota {
        name: String,
        message: String,
    },
    Account,
    /// The user may not create pods.
    NoRight,
    NoNamespace,
    /// No answer, or an error of the server.
    NoAnswer(String),
}

impl Refusal {
    /// None: the API server has not refused the pod.
    pub(super) fn in_answer(admission: &Admission) -> Option<Self> {
        match admission {
            Admission::Refused(error) => Some(Self::of(error)),
            Admission::Admitted(_) | Admission::NotAsked => None,
        }
    }

    pub(super) fn of(error: &ApiError) -> Self {
        let message = error.to_string();
        if let ApiError::NoAnswer(_) | ApiError::Foreign(_) = error {
            return Self::NoAnswer(message);
        }
        if let ApiError::NotFound(message) = error
            && message.starts_with("namespaces ")
        {
            return Self::NoNamespace;
        }
        Self::of_webhook(&message).unwrap_or_else(|| Self::of_plugin(message))
    }

    fn of_webhook(message: &str) -> Option<Self> {
        if let Some((_, rest)) = message.split_once("failed calling webhook \"") {
            let (name, cause) = rest.split_once("\": ")?;
            return Some(match name.ends_with(WEBHOOK_SUFFIX) {
                true => Self::Call(cause.to_owned()),
                false => Self::Other(message.to_owned()),
            });
        }
        let (_, rest) = message.split_once("admission webhook \"")?;
        let (name, said) = rest.split_once("\" denied the request")?;
        Some(match name.ends_with(WEBHOOK_SUFFIX) {
            true => Self::Podkey(problems(said.trim_start_matches(": "))),
            false => Self::Other(message.to_owned()),
        })
    }

    fn of_plugin(message: String) -> Self {
        let has = |text: &str| message.contains(text);
        if has(GUARD_SAYS) {
            Self::Guard
        } else if has("violates PodSecurity \"") {
            Self::PodSecurity(message)
        } else if has("cannot create resource \"pods\"") {
            Self::NoRight
        } else if has("error looking up service account") {
            Self::Account
        } else if let Some((_, rest)) = message
            .split_once("exceeded quota: ")
            .or_else(|| message.split_once("failed quota: "))
        {
            let name = rest.split([',', ':']).next().unwrap_or_default();
            Self::Quota {
                name: name.to_owned(),
                message,
            }
        } else if [
            "usage per ",
            "limit to request ratio per ",
            "No limit is specified",
            "No request is specified",
        ]
        .iter()
        .any(|text| has(text))
        {
            Self::LimitRange(message)
        } else {
            Self::Other(message)
        }
    }
}

/// The problems in podkey's answer. Between two problems is `; `, and each problem begins with its key.
fn problems(text: &str) -> Vec<String> {
    let mut problems: Vec<String> = Vec::new();
    for part in text.split("; ") {
        let is_key = [
            "podkey.dev/",
            "spec.",
            "metadata.",
            "vault.hashicorp.com/",
            "openbao.org/",
            "and at least ",
        ]
        .iter()
        .any(|begin| part.starts_with(begin));
        match problems.last_mut() {
            Some(last) if !is_key => {
                last.push_str("; ");
                last.push_str(part);
            }
            _ => problems.push(part.to_owned()),
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forbidden(message: &str) -> Refusal {
        Refusal::of(&ApiError::Forbidden(message.to_owned()))
    }

    #[test]
    fn each_problem_of_podkey_is_one_problem() {
        let refusal = forbidden(
            "admission webhook \"pods.podkey.dev\" denied the request: podkey.dev/role: \"x y\" is not a role; it has a \
             blank; spec.hostPID: must be off",
        );
        let expected = [
            "podkey.dev/role: \"x y\" is not a role; it has a blank",
            "spec.hostPID: must be off",
        ];
        assert_eq!(refusal, Refusal::Podkey(expected.map(str::to_owned).to_vec()));
    }

    #[test]
    fn a_webhook_of_others_is_not_podkey() {
        let message = "admission webhook \"pods.example.com\" denied the request: no";
        assert_eq!(forbidden(message), Refusal::Other(message.to_owned()));
    }

    #[test]
    fn a_quota_is_known_by_its_name() {
        let message = "pods \"web\" is forbidden: exceeded quota: team, requested: limits.memory=64Mi, used: limits.memory=0, \
                       limited: limits.memory=32Mi";
        let Refusal::Quota { name, .. } = forbidden(message) else {
            panic!("{:?}", forbidden(message));
        };
        assert_eq!(name, "team");
        let message = "pods \"web\" is forbidden: failed quota: team: must specify limits.cpu for: main";
        assert!(matches!(forbidden(message), Refusal::Quota { name, .. } if name == "team"));
    }

    #[test]
    fn a_missing_right_is_no_refusal_of_the_pod() {
        let message =
            "pods is forbidden: User \"a\" cannot create resource \"pods\" in API group \"\" in the namespace \"b\"";
        assert_eq!(forbidden(message), Refusal::NoRight);
    }
}
