//! How podkey is installed: by Helm or by plain manifests. What is missing or was changed comes back by the same way.

use serde_json::Value;

use super::hook::Hook;
use crate::cli::doctor::api;
use crate::cli::doctor::situation::{items, text};
use crate::cli::doctor::words::{command, quote};
use crate::cli::kubeconfig::KubeClient;

/// The labels of podkey's objects.
const SELECTOR: &str = "labelSelector=app.kubernetes.io%2Fname%3Dpodkey";

pub(super) enum Release {
    Helm {
        name: String,
        namespace: String,
        deployment: Option<Value>,
    },
    Plain {
        deployment: Option<Value>,
    },
    /// The doctor sees neither the webhook's configuration nor a Deployment of podkey, and may not list Deployments.
    Unknown,
    /// There is none.
    None,
}

impl Release {
    /// Looks at the webhook's configuration, and at the Deployment.
    pub(super) async fn find(cluster: &KubeClient, hook: Option<&Hook<'_>>) -> Self {
        let place = hook
            .map(Hook::service_namespace)
            .filter(|namespace| !namespace.is_empty());
        let path = match place {
            Some(namespace) => format!(
                "/apis/apps/v1/namespaces/{}/deployments?{SELECTOR}",
                api::segment(namespace)
            ),
            None => format!("/apis/apps/v1/deployments?{SELECTOR}"),
        };
        let list = api::get(cluster, &path).await.ok();
        let deployments = list
            .as_ref()
            .map(|list| items(list, "/items").cloned().collect::<Vec<_>>());
        let seen = deployments.is_some();
        let deployment = deployments.into_iter().flatten().next();
        let configuration = hook.map(|hook| hook.configuration);
        let helm = [configuration, deployment.as_ref()]
            .into_iter()
            .flatten()
            .find_map(|object| {
                let annotation = |name: &str| object["metadata"]["annotations"][name].as_str().map(str::to_owned);
                annotation("meta.helm.sh/release-name").zip(annotation("meta.helm.sh/release-namespace"))
            });
        match (helm, seen) {
            (Some((name, namespace)), _) => Self::Helm {
                name,
                namespace,
                deployment,
            },
            (None, _) if hook.is_some() || deployment.is_some() => Self::Plain { deployment },
            (None, true) => Self::None,
            (None, false) => Self::Unknown,
        }
    }

    pub(super) fn deployment(&self) -> Option<&Value> {
        match self {
            Self::Helm { deployment, .. } | Self::Plain { deployment } => deployment.as_ref(),
            Self::Unknown | Self::None => None,
        }
    }

    /// The command that brings all objects of podkey back as they were installed.
    pub(super) fn restore(&self) -> Option<String> {
        match self {
            Self::Helm { name, namespace, .. } => {
                // To the revision that is installed: Helm itself applies its manifest again. With kubectl, Helm's marks would be
                // lost, or the next `helm upgrade` would end in a conflict. The last option is Helm 4's alone: without it another
                // owner of a field keeps the field.
                let version = command(&["helm", "get", "all", name, "--namespace", namespace, "--template"]);
                let place = command(&["--namespace", namespace]);
                let force = "$(helm rollback --help | grep -oe --force-conflicts | sort -u)";
                let name = quote(name);
                Some(format!(
                    r#"helm rollback {name} "$({version} '{{{{.Release.Version}}}}')" {place} {force}"#
                ))
            }
            Self::Plain { .. } => Some("kubectl apply -f podkey.yaml".to_owned()),
            Self::Unknown | Self::None => None,
        }
    }

    /// The command that installs podkey where it is not installed.
    pub(super) fn install(&self) -> Option<String> {
        let install = "helm install podkey manifests/chart --namespace podkey --create-namespace --values values.yaml";
        matches!(self, Self::None).then(|| install.to_owned())
    }

    /// `kubectl VERB deployment/NAME --namespace NAMESPACE`, with what follows.
    pub(super) fn kubectl(&self, verb: &[&str], more: &[&str]) -> Option<String> {
        let metadata = &self.deployment()?["metadata"];
        let name = format!("deployment/{}", text(metadata, "/name"));
        let namespace = ["--namespace", text(metadata, "/namespace")];
        Some(command(&[&["kubectl"][..], verb, &[&name], &namespace, more].concat()))
    }
}
