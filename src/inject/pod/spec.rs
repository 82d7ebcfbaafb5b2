//! The pod's spec: the fields that a decision depends on.

use std::borrow::Cow;

use serde::Deserialize;

use crate::inject::pod::container::{Container, Resources};
use crate::inject::pod::limits::{MOST_CONTAINERS, MOST_VOLUMES};
use crate::inject::pod::list::BoundedList;
use crate::inject::pod::text::Text;
use crate::inject::pod::volumes::Volume;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Spec<'a> {
    #[serde(borrow, default)]
    pub(crate) volumes: Option<BoundedList<Volume<'a>, MOST_VOLUMES>>,
    #[serde(borrow, default)]
    pub(crate) init_containers: Option<BoundedList<Container<'a>, MOST_CONTAINERS>>,
    #[serde(borrow)]
    pub(crate) containers: BoundedList<Container<'a>, MOST_CONTAINERS>,
    #[serde(default)]
    pub(super) security_context: Option<PodSecurityContext>,
    #[serde(default, rename = "hostPID")]
    pub(crate) host_pid: Option<bool>,
    #[serde(default)]
    pub(crate) host_network: Option<bool>,
    /// false: the users of the pod are others on the node.
    #[serde(default)]
    pub(crate) host_users: Option<bool>,
    #[serde(default)]
    pub(crate) share_process_namespace: Option<bool>,
    #[serde(borrow, default)]
    pub(crate) restart_policy: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) os: Option<Os<'a>>,
    #[serde(borrow, default)]
    pub(super) node_selector: Option<NodeSelector<'a>>,
    #[serde(borrow, default)]
    pub(super) service_account_name: Option<Text<'a>>,
    /// The older name of `service_account_name`.
    #[serde(borrow, default)]
    pub(super) service_account: Option<Text<'a>>,
    /// For all containers together.
    #[serde(borrow, default)]
    pub(crate) resources: Option<Resources<'a>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PodSecurityContext {
    #[serde(default)]
    pub(super) run_as_user: Option<i64>,
    #[serde(default)]
    pub(super) run_as_group: Option<i64>,
    #[serde(default)]
    pub(super) fs_group: Option<i64>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Os<'a> {
    #[serde(borrow)]
    pub(super) name: Cow<'a, str>,
}

#[derive(Debug, Deserialize)]
pub(super) struct NodeSelector<'a> {
    #[serde(borrow, default, rename = "kubernetes.io/os")]
    pub(super) os: Option<Text<'a>>,
}
