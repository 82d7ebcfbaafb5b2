//! The config file as a whole, from its text to a [`Config`].

use std::collections::BTreeMap;
use std::path::Path;

use super::agent::AgentConfig;
use super::connection::ConnectionConfig;
use super::connection_file::ConnectionFile;
use super::error::{ConfigError, wrong};
use super::place::ConnectionPlace;
use super::section::{given, section};
use super::vault_k8s::VaultK8sConfig;
use super::{agent, allow, auth, connection_file, job, vault_k8s};
use crate::inject::kubernetes::{ClusterFacts, KubernetesVersion};
use crate::inject::words::DocumentedKey;
use crate::inject::yaml::explain;

/// The whole config.
#[derive(Debug, Clone)]
pub struct Config {
    /// podkey's own containers.
    pub(crate) agent: AgentConfig,
    /// The connections, by name.
    pub connections: BTreeMap<String, ConnectionConfig>,
    /// Pods whose containers see each other's processes are injected too, although the job can then read the agent's memory.
    pub(crate) allow_shared_process_namespace: bool,
    /// The oldest version of the API server and all kubelets. None: not known.
    pub(crate) kubernetes_version: Option<KubernetesVersion>,
    /// The API server's version. None: not known.
    pub(crate) api_server_version: Option<KubernetesVersion>,
    /// Whether the kubelets can restart all containers of a pod in place. None: not known.
    pub(crate) restart_all_containers: Option<bool>,
    /// What pods with the annotations of vault-k8s get. None: podkey leaves them alone.
    pub(crate) vault_k8s: Option<VaultK8sConfig>,
}

section! {
    struct ConfigFile, CONFIG: ConfigKeys at "" {
        /// podkey's own containers.
        agent: AgentConfig = "agent": AllPods, default "required", example "{image: 'registry.example.com/podkey:0.2.0'}",
            value "a set of keys";
        /// The servers that pods can use, by name.
        connections: BTreeMap<String, ConnectionFile> = "connections": AllPods,
            default "required", example "{default: {address: 'https://vault.vault.svc:8200'}}",
            value "a set: the name of each connection, with its keys",
            details "Pods that name no connection use `default`.";
        /// Whether pods with `hostPID` or `shareProcessNamespace` are injected.
        #[serde(default)]
        allow_shared_process_namespace: bool = "allowSharedProcessNamespace": AllPods, default "`false`", example "true",
            details "In such a pod, the other containers see podkey's processes.";
        /// The oldest version of Kubernetes in the cluster, of the API server and of the kubelets: some annotations need a newer one.
        #[serde(default)]
        kubernetes_version: Option<String> = "kubernetesVersion": AllPods, default "asked of the API server", example "'1.33'",
            value "a version in quotes",
            details "podkey asks the API server only with `tls.mode: self`. Where no version is known, `auto` does not choose `kubelet`, podkey warns of `env-delivery: kubelet`, and `on-change: restart` is refused. `podkey inject` and `podkey lint` know only the config.";
        /// Whether the kubelets can restart all containers of a pod in place (feature gate RestartAllContainersOnContainerExits),
        /// which the action `restart` of `podkey.dev/on-change` needs.
        #[serde(default)]
        restart_all_containers: Option<bool> = "restartAllContainers": Refresh, default "asked of the API server", example "true";
        /// What pods with the annotations of vault-k8s get.
        #[serde(default, deserialize_with = "vault_k8s")]
        vault_k8s: Option<VaultK8sConfig> = "vaultK8s": AllPods, default "these pods are left alone", example "{connection: default}",
            value "a set of keys";
    }
}

/// Each key of the config. The fields of `job.policy` are in the table of job policies.
pub(crate) fn keys() -> impl Iterator<Item = &'static DocumentedKey> {
    [
        ConfigKeys::ALL,
        agent::AgentKeys::ALL,
        agent::ResourceKeys::ALL,
        connection_file::ConnectionKeys::ALL,
        auth::AuthKeys::ALL,
        job::JobKeys::ALL,
        allow::AllowKeys::ALL,
        vault_k8s::VaultK8sKeys::ALL,
    ]
    .into_iter()
    .flatten()
    .copied()
}

impl Config {
    /// Parses the text of the file. `read_ca` returns the certificates of a CA file as PEM, or what is wrong with the file.
    pub fn parse(text: &str, read_ca: impl Fn(&Path) -> Result<String, String>) -> Result<Self, ConfigError> {
        if is_blank(text) {
            let (image, connections) = (agent::AGENT.image.key, CONFIG.connections.key);
            return Err(ConfigError::Yaml(format!(
                "has nothing in it: it needs {image} and {connections}"
            )));
        }
        let file: ConfigFile =
            serde_saphyr::from_str(text).map_err(|error| ConfigError::Yaml(explain(&error, text)))?;
        let kubernetes_version = kubernetes_version(file.kubernetes_version.as_deref())?;
        file.agent.check(kubernetes_version)?;
        check_restart(file.restart_all_containers, kubernetes_version)?;
        if file.connections.is_empty() {
            return CONFIG.connections.wrong("is empty: name at least one server");
        }
        let mut connections = BTreeMap::new();
        for (name, connection) in file.connections {
            check_name(&name)?;
            let connection = connection.check(&name, &read_ca)?;
            connections.insert(name, connection);
        }
        if let Some(vault_k8s) = &file.vault_k8s {
            vault_k8s.check(&connections)?;
        }
        Ok(Self {
            agent: file.agent,
            connections,
            allow_shared_process_namespace: file.allow_shared_process_namespace,
            kubernetes_version,
            api_server_version: kubernetes_version,
            restart_all_containers: file.restart_all_containers,
            vault_k8s: file.vault_k8s,
        })
    }
}

impl Config {
    /// The file's config in a cluster with these facts. What the file says of the cluster replaces what podkey has learnt, but makes no
    /// older kubelet restart all containers.
    pub(crate) fn in_cluster(&self, facts: ClusterFacts) -> Self {
        let from_file = self.kubernetes_version;
        let mut config = Self {
            kubernetes_version: from_file.or(facts.oldest),
            api_server_version: from_file.or(facts.api_server),
            restart_all_containers: self.restart_all_containers.or(facts.restart_all_containers),
            ..self.clone()
        };
        // The oldest kubelet may be on a cordoned node, while all other nodes declare the feature.
        let is_older = config.older_than(KubernetesVersion::RESTART_ALL_CONTAINERS).is_some();
        if is_older && self.restart_all_containers == Some(true) {
            config.restart_all_containers = facts.restart_all_containers;
        }
        config
    }

    /// Whether the cluster, or a part of it, is known to be older than `needed`: that version. What is not known counts as new enough.
    pub(crate) fn older_than(&self, needed: KubernetesVersion) -> Option<KubernetesVersion> {
        let known = self.kubernetes_version.or(self.api_server_version);
        known.filter(|version| *version < needed)
    }

    /// Whether the kubelets can restart all containers of a pod in place. Where only the version is known, the feature is on from
    /// [`KubernetesVersion::RESTART_ALL_CONTAINERS_DEFAULT`].
    pub(crate) fn restarts_all_containers(&self) -> bool {
        let by_version = || {
            let version = self.kubernetes_version;
            version.is_some_and(|version| version >= KubernetesVersion::RESTART_ALL_CONTAINERS_DEFAULT)
        };
        self.restart_all_containers.unwrap_or_else(by_version)
    }

    /// Whether the file says of the cluster all that podkey would ask the API server.
    pub(crate) fn knows_cluster(&self) -> bool {
        self.kubernetes_version.is_some() && self.restart_all_containers.is_some()
    }

    /// What the operator should mend, although podkey serves with the config.
    pub(crate) fn warnings(&self) -> impl Iterator<Item = String> {
        let connections = self.connections.iter();
        connections.filter(|(_, connection)| connection.job.has_names_alone()).map(|(name, _)| {
            let key = ConnectionPlace { name }.key(&job::JOB.policy);
            format!(
                "{key} names repositories and no ids: whoever registers a name that became free, because its owner renamed or deleted the \
                 repository or the account, gets the secrets. Add repositoryIds or ownerIds, which \"gh api repos/OWNER/NAME --jq \
                 '.id, .owner.id'\" prints"
            )
        })
    }

    /// Whether podkey reads the annotations of vault-k8s.
    pub(crate) fn reads_vault_k8s(&self) -> bool {
        self.vault_k8s.is_some()
    }
}

/// The longest name of a connection, in bytes.
const MAX_NAME_BYTES: usize = 63;

/// Whether an operator can give a connection this name.
pub(crate) fn is_name_of_connection(name: &str) -> bool {
    let is_name_character = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    (1..=MAX_NAME_BYTES).contains(&name.len()) && name.bytes().all(is_name_character)
}

/// Refuses a name of a connection that pods could not name.
fn check_name(name: &str) -> Result<(), ConfigError> {
    if !is_name_of_connection(name) {
        return wrong(
            format!("{}.{name:?}", CONFIG.connections.key),
            format!("is not a name of up to {MAX_NAME_BYTES} letters, digits, -, _ and ."),
        );
    }
    Ok(())
}

/// Nobody knows what a section without keys means.
fn vault_k8s<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<VaultK8sConfig>, D::Error> {
    match serde::Deserialize::deserialize(deserializer)? {
        Some(section) => Ok(Some(section)),
        None => Err(serde::de::Error::custom(
            "vaultK8s is there without a key: write {connection: default}, or remove it to leave pods of vault-k8s alone",
        )),
    }
}

/// Whether a file has no line but comments.
fn is_blank(text: &str) -> bool {
    let text = text.trim_start_matches('\u{feff}');
    text.lines()
        .all(|line| matches!(line.trim_start().chars().next(), None | Some('#')))
}

/// Refuses `restartAllContainers: true` for a version whose kubelets cannot restart all containers.
fn check_restart(can_restart: Option<bool>, version: Option<KubernetesVersion>) -> Result<(), ConfigError> {
    let needed = KubernetesVersion::RESTART_ALL_CONTAINERS;
    match version.filter(|version| can_restart == Some(true) && *version < needed) {
        Some(version) => CONFIG.restart_all_containers.wrong(format!(
            "is true, which needs Kubernetes {needed} or later, and {} is {version}: write false",
            CONFIG.kubernetes_version.key
        )),
        None => Ok(()),
    }
}

fn kubernetes_version(text: Option<&str>) -> Result<Option<KubernetesVersion>, ConfigError> {
    let Some(text) = given(text) else { return Ok(None) };
    match text.parse() {
        Ok(version) => Ok(Some(version)),
        Err(why) => CONFIG.kubernetes_version.wrong(format!("{text:?} {why}")),
    }
}
