//! What podkey knows of the operator's config: all of it, or nothing.

use std::borrow::Cow;

use serde_json::Value;

use crate::inject::keys::CONNECTION;
use crate::inject::{Config, DEFAULT_CONNECTION};

/// The config that decides.
#[derive(Debug, Clone, Copy)]
pub(crate) enum KnownConfig<'c> {
    /// The operator's own.
    Operators(&'c Config),
    /// Nobody knows the operator's config: whatever a config can permit is permitted. The config has the default connection.
    Assumed(&'c Config),
}

impl<'c> KnownConfig<'c> {
    /// The config for this pod, and another config that an operator may have instead: the decision with fewer problems counts. An
    /// assumed config has the connection that the pod names.
    pub(super) fn for_pod(self, pod: &Value) -> (Cow<'c, Config>, Option<Config>) {
        let assumed = match self {
            Self::Operators(config) => return (Cow::Borrowed(config), None),
            Self::Assumed(config) => config,
        };
        let annotations = pod.pointer("/metadata/annotations");
        let named = annotations.and_then(|annotations| annotations.get(CONNECTION)?.as_str());
        let config = match named.map(str::trim) {
            None | Some(DEFAULT_CONNECTION) => Cow::Borrowed(assumed),
            Some(name) => Cow::Owned(Config::assumed(name).unwrap_or_else(|| assumed.without_connections())),
        };
        let other = config.where_the_cluster_picks_users();
        (config, Some(other))
    }
}
