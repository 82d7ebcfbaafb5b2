//! The config of an operator that nobody has told: for authors, who have no operator's config. It permits what a config can permit, so
//! that the checks find what is wrong whatever the operator has written.

use std::collections::BTreeMap;

use super::file::Config;

/// What the operator's config decides and an author cannot know, as the end of a sentence.
pub(crate) const NOT_CHECKED: &str = "whether the operator has the connection, a role for pods that name none, and a job identity; \
    the operator's allow rules and job policies; whether the operator allows shared process namespaces; the user of podkey's \
    containers where the pod names none; the version of the cluster; whether a pod that is injected already is as podkey would make it; \
    annotations of vault-k8s";

/// Names of the domain `invalid` never resolve: <https://www.rfc-editor.org/rfc/rfc2606#section-2>. The version is the first one whose
/// kubelets can do all that pods can ask of them.
const TEXT: &str = "
agent: {image: 'podkey.invalid/image-of-the-operator'}
kubernetesVersion: '1.36'
restartAllContainers: true
allowSharedProcessNamespace: true
connections:
  NAME:
    address: 'https://address-of-the-connection.invalid'
    auth: {role: role-of-the-connection}
    job: {role: job-role-of-the-connection}
";

impl Config {
    /// The config with this connection. None: the operator cannot have a connection of this name.
    pub(crate) fn assumed(connection: &str) -> Option<Self> {
        let name = serde_json::to_string(connection).ok()?;
        Self::parse(&TEXT.replace("NAME", &name), |_| Err("is not known".to_owned())).ok()
    }

    /// The same without any connection: the operator cannot have the connection that the pod names.
    pub(crate) fn without_connections(&self) -> Self {
        Self {
            connections: BTreeMap::new(),
            ..self.clone()
        }
    }

    /// The same where the cluster picks the user of podkey's containers, as OpenShift does.
    pub(crate) fn where_the_cluster_picks_users(&self) -> Self {
        let mut config = self.clone();
        config.agent.run_as_user = None;
        config
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assumed_config_has_the_connection_that_the_pod_names() {
        let config = Config::assumed("team-a.2").unwrap();
        assert_eq!(config.connections.keys().collect::<Vec<_>>(), ["team-a.2"]);
        assert!(config.connections["team-a.2"].role.is_some());
        assert!(config.connections["team-a.2"].job.login.is_some());
        for name in ["", "a b", "a: {}", "\n", "a\"b", &"a".repeat(64)] {
            assert!(Config::assumed(name).is_none(), "{name:?}");
        }
    }
}
