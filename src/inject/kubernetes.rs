//! Facts of Kubernetes: its version, because some features of podkey need a newer one, and the shortest life of a token.

use std::fmt;
use std::str::FromStr;

/// The shortest life that the API server gives a projected token, in seconds
/// (<https://kubernetes.io/docs/tasks/configure-pod-container/configure-service-account/#launch-a-pod-using-service-account-token-projection>).
pub(crate) const TOKEN_SECONDS: i64 = 600;

/// Major and minor version, such as `1.33`. The rest of the text (`v1.33.5+k3s1`, `v1.29.4-gke.1043002`) is not needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct KubernetesVersion {
    major: u32,
    minor: u32,
}

impl KubernetesVersion {
    /// The first version that keeps an init container with `restartPolicy: Always` running beside the containers. Older versions
    /// drop the field, and the pod waits for ever for the sidecar to end.
    /// <https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/>
    pub(crate) const NATIVE_SIDECARS: Self = Self { major: 1, minor: 29 };
    /// The first version whose kubelets set variables from files of an `emptyDir` (`fileKeyRef`, KEP-3721) without a feature gate.
    /// Older kubelets drop the field and set an empty variable.
    pub(crate) const FILE_KEY_REF: Self = Self { major: 1, minor: 35 };
}

impl FromStr for KubernetesVersion {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = |part: Option<&str>| {
            let part = part?;
            // `parse` would also take `+33`.
            part.bytes().all(|b| b.is_ascii_digit()).then(|| part.parse().ok())?
        };
        let text = text.strip_prefix('v').unwrap_or(text);
        let mut parts = text.split(['.', '-', '+']);
        match (number(parts.next()), number(parts.next())) {
            (Some(major), Some(minor)) => Ok(Self { major, minor }),
            _ => Err("is not a version of Kubernetes (for example \"1.33\")"),
        }
    }
}

impl fmt::Display for KubernetesVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_two_numbers_are_the_version() {
        for (text, expected) in [
            ("1.33", "1.33"),
            ("v1.33.13", "1.33"),
            ("v1.29.4-gke.1043002", "1.29"),
            ("v1.32.5+rke2r1", "1.32"),
            ("1.30+", "1.30"),
            ("v1.34.0-alpha.1", "1.34"),
            ("2.0", "2.0"),
        ] {
            assert_eq!(
                text.parse::<KubernetesVersion>().unwrap().to_string(),
                expected,
                "{text}"
            );
        }
        for bad in [
            "",
            "v",
            "1",
            "1.",
            ".1",
            "1.x",
            "one.two",
            "vv1.33",
            "1.99999999999",
            "-1.2",
            "1.+33",
        ] {
            assert!(bad.parse::<KubernetesVersion>().is_err(), "{bad}");
        }
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        let version = |text: &str| text.parse::<KubernetesVersion>().unwrap();
        assert!(version("1.9") < KubernetesVersion::NATIVE_SIDECARS);
        assert!(version("1.28.15") < KubernetesVersion::NATIVE_SIDECARS);
        assert!(version("1.29.0") >= KubernetesVersion::NATIVE_SIDECARS);
        assert!(version("1.100") >= KubernetesVersion::NATIVE_SIDECARS);
        assert!(version("2.0") >= KubernetesVersion::NATIVE_SIDECARS);
    }
}
