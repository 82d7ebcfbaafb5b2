//! The nodes, page by page, with only the fields that tell what a kubelet can do.

use kube::Client;
use kube::api::{ListParams, Request};
use serde::Deserialize;

use super::call::{Call, CallError};
use super::{Cluster, in_time};

/// Nodes in one answer. A node is some 10 to 30 KiB of JSON, most of it the names of images. An answer has at most 3 MiB.
const PAGE: u32 = 20;
/// The most pages of one list, so that it ends.
const MAX_PAGES: usize = 2500;
/// Kubelets label their nodes with the operating system
/// (<https://kubernetes.io/docs/reference/labels-annotations-taints/#kubernetes-io-os>). podkey injects no pod of Windows, and a
/// virtual kubelet, which names itself so (<https://github.com/virtual-kubelet/virtual-kubelet>), has a version of its own.
const SELECTOR: &str = "kubernetes.io/os=linux,type!=virtual-kubelet";

/// A node.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Node {
    #[serde(default)]
    pub(crate) spec: NodeSpec,
    #[serde(default)]
    pub(crate) status: NodeStatus,
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct NodeSpec {
    /// Whether the node gets no new pods.
    #[serde(default)]
    pub(crate) unschedulable: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NodeStatus {
    #[serde(default)]
    pub(crate) node_info: NodeInfo,
    /// Since Kubernetes 1.36.
    #[serde(default)]
    pub(crate) declared_features: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NodeInfo {
    #[serde(default)]
    pub(crate) kubelet_version: String,
}

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    metadata: PageMetadata,
    items: Vec<Node>,
}

#[derive(Default, Deserialize)]
struct PageMetadata {
    /// Where the next page begins. Empty: there is none.
    #[serde(default, rename = "continue")]
    next: String,
}

impl Cluster {
    /// Shows each node that runs Linux.
    pub(crate) async fn each_node(&self, mut see: impl FnMut(&Node)) -> Result<(), CallError> {
        let call = Call::ListNodes;
        // One connection for all pages.
        let client = self.client().map_err(|error| call.failed(&error))?;
        let mut next = String::new();
        for _ in 0..MAX_PAGES {
            let page = in_time(call, page(&client, &next)).await?;
            page.items.iter().for_each(&mut see);
            next = page.metadata.next;
            if next.is_empty() {
                return Ok(());
            }
        }
        Err(call.refused("the list does not end"))
    }
}

async fn page(client: &Client, next: &str) -> kube::Result<Page> {
    let params = ListParams::default().labels(SELECTOR).limit(PAGE);
    let params = match next {
        "" => params,
        next => params.continue_token(next),
    };
    let request = Request::new("/api/v1/nodes").list(&params);
    client.request(request.map_err(kube::Error::BuildRequest)?).await
}
