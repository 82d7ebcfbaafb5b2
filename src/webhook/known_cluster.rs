//! What the webhook knows of the cluster, beside the config: read before it serves, and read again every few minutes, because nodes
//! come and go and clusters are upgraded. A decision asks nobody: it takes the config of the last look.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::time::{sleep, timeout};

use crate::cluster::Cluster;
use crate::inject::{ClusterFacts, Config, KubernetesVersion, NodeFacts, SeenNodes};

/// The pause between two looks.
const PAUSE: Duration = Duration::from_secs(300);
/// The pause after a look that failed.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(30);
/// How long the list of nodes may delay the start. podkey serves nothing before.
const FIRST_LOOK: Duration = Duration::from_secs(5);
/// How long a later list of nodes may take.
const LATER_LOOK: Duration = Duration::from_secs(120);

/// The config that decisions take: the file's, in the cluster of the last look.
pub(super) type CurrentConfig = Arc<ArcSwap<Config>>;

/// Looks at the cluster.
pub(super) struct KnownCluster {
    /// None: podkey need not or cannot ask.
    cluster: Option<Arc<Cluster>>,
    file: Config,
    facts: ClusterFacts,
    current: CurrentConfig,
    /// Why the last look failed.
    failure: Option<String>,
}

impl KnownCluster {
    /// Looks for the first time.
    pub(super) async fn learn(file: Config, cluster: Option<Arc<Cluster>>) -> Self {
        let mut known = Self {
            cluster: cluster.filter(|_| !file.knows_cluster()),
            facts: ClusterFacts::default(),
            current: Arc::new(ArcSwap::from_pointee(file.clone())),
            file,
            failure: None,
        };
        if let Some(cluster) = known.cluster.clone() {
            known.look(&cluster, FIRST_LOOK).await;
        }
        known.log();
        known
    }

    /// The config for decisions. Later looks change it.
    pub(super) fn config(&self) -> CurrentConfig {
        self.current.clone()
    }

    /// Looks again and again.
    pub(super) async fn keep_looking(mut self) -> Infallible {
        let Some(cluster) = self.cluster.clone() else {
            return std::future::pending().await;
        };
        loop {
            let pause = match self.failure {
                None => PAUSE,
                Some(_) => PAUSE_AFTER_FAILURE,
            };
            sleep(pause).await;
            if self.look(&cluster, LATER_LOOK).await {
                self.log();
            }
        }
    }

    /// Looks once, within the limit for the nodes. Returns whether the facts have changed.
    async fn look(&mut self, cluster: &Cluster, limit: Duration) -> bool {
        let (facts, failure) = look(cluster, limit, self.facts).await;
        if let Some(error) = failure
            .as_ref()
            .filter(|failure| self.failure.as_ref() != Some(failure))
        {
            tracing::warn!(
                error,
                "podkey cannot learn what the cluster's nodes can do, and tries again"
            );
        }
        self.failure = failure;
        let is_new = self.facts != facts;
        if is_new {
            self.facts = facts;
            self.current.store(Arc::new(self.file.in_cluster(facts)));
        }
        is_new
    }

    fn log(&self) {
        let config = self.current.load();
        let text = |version: Option<KubernetesVersion>| version.map(tracing::field::display);
        tracing::info!(
            version = text(config.api_server_version),
            oldest = text(config.kubernetes_version),
            restart_all_containers = config.restart_all_containers,
            "what podkey knows of the cluster (kubernetesVersion and restartAllContainers in the config replace it)"
        );
    }
}

/// Asks the API server for its version and its nodes, these within the limit. Returns what is known then, and what failed: a failure
/// changes nothing of what was known before.
async fn look(cluster: &Cluster, limit: Duration, before: ClusterFacts) -> (ClusterFacts, Option<String>) {
    let version = cluster.version().await;
    let api_server = match version.and_then(|version| kubernetes_version(&version)) {
        Ok(version) => version,
        Err(why) => return (before, Some(why)),
    };
    let mut seen = SeenNodes::none(api_server);
    let nodes = cluster.each_node(|node| {
        seen.see(NodeFacts {
            kubelet_version: &node.status.node_info.kubelet_version,
            is_cordoned: node.spec.unschedulable,
            declared_features: &node.status.declared_features,
        });
    });
    let why = match timeout(limit, nodes).await {
        Ok(Ok(())) => return (seen.facts(), None),
        Ok(Err(error)) => error.message,
        Err(_) => format!("cannot list the nodes within {}", humantime::format_duration(limit)),
    };
    let facts = ClusterFacts {
        api_server: Some(api_server),
        ..before
    };
    (facts, Some(why))
}

/// Parses the API server's `gitVersion`.
fn kubernetes_version(text: &str) -> Result<KubernetesVersion, String> {
    const MAX_QUOTED_CHARS: usize = 64;
    text.parse().map_err(|why| {
        let text: String = text.chars().take(MAX_QUOTED_CHARS).collect();
        format!("the API server's answer {text:?} {why}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::answering;

    const VERSION: (&str, &str) = ("200 OK", r#"{"gitVersion":"v1.37.1"}"#);
    const NODES: (&str, &str) = (
        "200 OK",
        r#"{"items":[{"status":{"nodeInfo":{"kubeletVersion":"v1.36.3"},"declaredFeatures":["RestartAllContainersOnContainerExits"]}}]}"#,
    );
    const FORBIDDEN: (&str, &str) = ("403 Forbidden", r#"{"message":"no"}"#);

    fn file(text: &str) -> Config {
        let text = format!("{text}agent: {{image: i}}\nconnections: {{d: {{address: 'https://v'}}}}");
        Config::parse(&text, |_| Err(String::new())).unwrap()
    }

    /// API server, oldest, restart.
    fn known(config: &Config) -> (Option<String>, Option<String>, Option<bool>) {
        let text = |version: Option<KubernetesVersion>| version.map(|version| version.to_string());
        (
            text(config.api_server_version),
            text(config.kubernetes_version),
            config.restart_all_containers,
        )
    }

    fn facts(api_server: &str, oldest: &str, restart: bool) -> (Option<String>, Option<String>, Option<bool>) {
        (Some(api_server.to_owned()), Some(oldest.to_owned()), Some(restart))
    }

    #[test]
    fn a_text_that_is_not_a_version_is_quoted() {
        assert_eq!(kubernetes_version("v1.33.5+k3s1").unwrap().to_string(), "1.33");
        for text in ["", "new"] {
            let error = kubernetes_version(text).unwrap_err();
            assert!(
                error.contains(&format!("{text:?} is not a version of Kubernetes")),
                "{error}"
            );
        }
    }

    #[tokio::test]
    async fn what_the_config_says_replaces_what_the_api_server_says() {
        let learnt = async |text: &str, replies: &'static [(&str, &str)]| {
            let cluster = Some(Arc::new(answering(replies).await));
            known(&KnownCluster::learn(file(text), cluster).await.config().load())
        };
        assert_eq!(learnt("", &[VERSION, NODES]).await, facts("1.37", "1.36", true));
        let older = "kubernetesVersion: '1.28'\n";
        assert_eq!(learnt(older, &[VERSION, NODES]).await, facts("1.28", "1.28", true));
        let without = "restartAllContainers: false\n";
        assert_eq!(learnt(without, &[VERSION, NODES]).await, facts("1.37", "1.36", false));
        // No call.
        let both = "kubernetesVersion: '1.36'\nrestartAllContainers: true\n";
        assert_eq!(learnt(both, &[]).await, facts("1.36", "1.36", true));
        assert_eq!(
            learnt("", &[VERSION, FORBIDDEN]).await,
            (Some("1.37".to_owned()), None, None)
        );
        assert_eq!(learnt("", &[FORBIDDEN]).await, (None, None, None));
        let alone = KnownCluster::learn(file(""), None).await;
        assert_eq!(known(&alone.config().load()), (None, None, None));
    }

    /// The config's word once counted more than a version that knows no such restart, and the sidecar restarted alone.
    #[tokio::test]
    async fn no_word_of_the_config_makes_an_old_kubelet_restart_all_containers() {
        const OLD: (&str, &str) = ("200 OK", r#"{"gitVersion":"v1.34.0"}"#);
        let restarts = async |replies: &'static [(&str, &str)]| {
            let cluster = Some(Arc::new(answering(replies).await));
            let config = file("restartAllContainers: true\n");
            let learnt = KnownCluster::learn(config, cluster).await;
            learnt.config().load().restart_all_containers
        };
        assert_eq!(restarts(&[OLD, FORBIDDEN]).await, None);
        assert_eq!(restarts(&[VERSION, FORBIDDEN]).await, Some(true));
    }

    #[tokio::test]
    async fn a_later_look_changes_the_config_of_decisions_and_a_failed_look_does_not() {
        const UPGRADED: (&str, &str) = ("200 OK", r#"{"gitVersion":"v1.38.0"}"#);
        let replies: &'static [(&str, &str)] = &[VERSION, NODES, UPGRADED, FORBIDDEN, FORBIDDEN, UPGRADED, NODES];
        let cluster = Arc::new(answering(replies).await);
        let mut learnt = KnownCluster::learn(file(""), Some(cluster.clone())).await;
        let config = learnt.config();
        for (changes, api_server) in [(true, "1.38"), (false, "1.38"), (false, "1.38")] {
            assert_eq!(learnt.look(&cluster, LATER_LOOK).await, changes);
            assert_eq!(known(&config.load()), facts(api_server, "1.36", true));
        }
        assert_eq!(learnt.failure, None);
    }
}
