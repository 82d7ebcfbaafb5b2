//! Facts of Kubernetes: what a cluster can do, because some features of podkey need a newer one, and the shortest life of a token.

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

    /// The first version whose kubelets can restart all containers of a pod in place, if their feature gate is on (KEP-5532).
    pub(crate) const RESTART_ALL_CONTAINERS: Self = Self { major: 1, minor: 35 };
    /// The first version whose kubelets restart all containers of a pod unless the operator of the cluster switches that off.
    pub(crate) const RESTART_ALL_CONTAINERS_DEFAULT: Self = Self { major: 1, minor: 36 };

    /// The first version in which the volume of an image is generally available.
    /// <https://kubernetes.io/docs/concepts/storage/volumes/#image>
    pub(crate) const IMAGE_VOLUMES: Self = Self { major: 1, minor: 36 };
}

/// The name under which a node declares that its kubelet can restart all containers of a pod in place (KEP-5532)
/// (<https://kubernetes.io/docs/reference/command-line-tools-reference/feature-gates/>).
const RESTART_ALL_CONTAINERS: &str = "RestartAllContainersOnContainerExits";

/// What a cluster can do, as its API server tells. `None`: not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct ClusterFacts {
    /// The API server's version.
    pub(crate) api_server: Option<KubernetesVersion>,
    /// The oldest version of the API server and all kubelets: what a kubelet does not know, it leaves out without a word.
    pub(crate) oldest: Option<KubernetesVersion>,
    /// Whether every kubelet that gets new pods can restart all containers of a pod in place.
    pub(crate) restart_all_containers: Option<bool>,
}

/// A node, as far as the facts of the cluster depend on the node.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NodeFacts<'a> {
    /// `status.nodeInfo.kubeletVersion`.
    pub(crate) kubelet_version: &'a str,
    /// Whether the node gets no new pods (`spec.unschedulable`).
    pub(crate) is_cordoned: bool,
    /// `status.declaredFeatures`.
    pub(crate) declared_features: &'a [String],
}

/// Makes the facts of a cluster from its nodes, one by one.
#[derive(Debug)]
pub(crate) struct SeenNodes {
    api_server: KubernetesVersion,
    /// The oldest version so far. None: a kubelet's version does not parse.
    oldest: Option<KubernetesVersion>,
    any: bool,
    any_open: bool,
    all_open_restart: bool,
}

impl SeenNodes {
    /// No node yet, in a cluster whose API server has this version.
    pub(crate) fn none(api_server: KubernetesVersion) -> Self {
        Self {
            api_server,
            oldest: Some(api_server),
            any: false,
            any_open: false,
            all_open_restart: true,
        }
    }

    /// Adds a node. The scheduler puts a pod that needs a declared feature on no node without it; for anything else a pod may go to
    /// each node, and to a cordoned node later.
    pub(crate) fn see(&mut self, node: NodeFacts<'_>) {
        self.any = true;
        let version = node.kubelet_version.parse().ok();
        self.oldest = self.oldest.zip(version).map(|(oldest, version)| oldest.min(version));
        if !node.is_cordoned {
            self.any_open = true;
            self.all_open_restart &= node
                .declared_features
                .iter()
                .any(|feature| feature == RESTART_ALL_CONTAINERS);
        }
    }

    /// The facts. A cluster without nodes tells nothing of the nodes to come.
    pub(crate) fn facts(&self) -> ClusterFacts {
        ClusterFacts {
            api_server: Some(self.api_server),
            oldest: self.oldest.filter(|_| self.any),
            restart_all_containers: self.any_open.then_some(self.all_open_restart),
        }
    }
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
    fn a_cluster_is_as_old_as_its_oldest_kubelet_and_restarts_pods_if_each_open_node_does() {
        let restarts = ["RestartAllContainersOnContainerExits".to_owned(), "Other".to_owned()];
        let other = ["RestartAllContainers".to_owned()];
        let node = |kubelet_version: &'static str, is_cordoned, restarts_pods| NodeFacts {
            kubelet_version,
            is_cordoned,
            declared_features: if restarts_pods { &restarts[..] } else { &other[..] },
        };
        for (name, nodes, oldest, restart) in [
            ("no node", vec![], None, None),
            ("one", vec![node("v1.37.1", false, true)], Some("1.37"), Some(true)),
            (
                "a newer kubelet",
                vec![node("v1.38.0", false, true)],
                Some("1.37"),
                Some(true),
            ),
            (
                "an older kubelet",
                vec![node("v1.37.1", false, true), node("v1.34.2+k3s1", false, false)],
                Some("1.34"),
                Some(false),
            ),
            (
                "a new kubelet without the feature",
                vec![node("v1.37.1", false, false), node("v1.37.1", false, true)],
                Some("1.37"),
                Some(false),
            ),
            (
                "a cordoned node before its upgrade",
                vec![node("v1.35.1", true, false), node("v1.37.1", false, true)],
                Some("1.35"),
                Some(true),
            ),
            (
                "only cordoned nodes",
                vec![node("v1.37.1", true, true)],
                Some("1.37"),
                None,
            ),
            (
                "a version that does not parse",
                vec![node("new", false, true), node("v1.37.1", false, true)],
                None,
                Some(true),
            ),
        ] {
            let api_server = "1.37".parse().unwrap();
            let mut seen = SeenNodes::none(api_server);
            for node in nodes {
                seen.see(node);
            }
            let expected = ClusterFacts {
                api_server: Some(api_server),
                oldest: oldest.map(|version| version.parse().unwrap()),
                restart_all_containers: restart,
            };
            assert_eq!(seen.facts(), expected, "{name}");
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
