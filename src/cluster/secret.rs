//! The calls for podkey's Secret: get, create, update.

use std::borrow::Cow;
use std::fmt;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, PostParams};
use kube::{Client, Resource};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::call::{Call, CallError, CallErrorKind};
use super::{Cluster, FIELD_MANAGER};

/// A Secret with every field that the API server sent: an update writes all of them back, also those that are newer than
/// k8s-openapi's type. (A patch would need one more right than podkey's Role gives.)
#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct StoredSecret {
    #[serde(flatten)]
    pub(crate) known: Secret,
    #[serde(flatten)]
    unknown: Map<String, Value>,
}

impl From<Secret> for StoredSecret {
    fn from(known: Secret) -> Self {
        Self {
            known,
            unknown: Map::new(),
        }
    }
}

impl fmt::Debug for StoredSecret {
    /// Leaves out the data, which has a private key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret {:?}", self.known.metadata.name)
    }
}

impl Resource for StoredSecret {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        Secret::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        Secret::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        Secret::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        Secret::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.known.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.known.metadata
    }
}

fn secrets(client: Client, namespace: &str) -> Api<StoredSecret> {
    Api::namespaced(client, namespace)
}

fn post() -> PostParams {
    PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    }
}

impl Cluster {
    /// `None`: there is no such Secret.
    pub(crate) async fn read_secret(&self, namespace: &str, name: &str) -> Result<Option<StoredSecret>, CallError> {
        let call = Call::GetSecret { namespace, name };
        let answer = self.call(call, async |client| secrets(client, namespace).get(name).await);
        match answer.await {
            Err(error) if error.kind == CallErrorKind::NotFound => Ok(None),
            answer => answer.map(Some),
        }
    }

    /// The error is a conflict if the Secret already exists.
    pub(crate) async fn create_secret(
        &self,
        namespace: &str,
        name: &str,
        secret: &StoredSecret,
    ) -> Result<(), CallError> {
        let call = Call::CreateSecret { namespace, name };
        let answer = self.call(call, async |client| {
            secrets(client, namespace).create(&post(), secret).await
        });
        answer.await.map(drop)
    }

    /// The error is a conflict if another client has changed the Secret since it was read.
    pub(crate) async fn update_secret(
        &self,
        namespace: &str,
        name: &str,
        secret: &StoredSecret,
    ) -> Result<(), CallError> {
        let call = Call::UpdateSecret { namespace, name };
        let answer = self.call(call, async |client| {
            secrets(client, namespace).replace(name, &post(), secret).await
        });
        answer.await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_field_that_is_newer_than_podkey_is_written_back() {
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}, "type": "Opaque",
            "data": {"k": "dg=="}, "future": {"a": 1}});
        let stored: StoredSecret = serde_json::from_value(secret.clone()).unwrap();
        assert_eq!(serde_json::to_value(&stored).unwrap(), secret);
    }

    #[test]
    fn no_debug_output_shows_a_secret_s_data() {
        let secret = json!({"metadata": {"name": "a"}, "data": {"tls.key": "a2V5"}, "future": "a2V5"});
        let stored: StoredSecret = serde_json::from_value(secret).unwrap();
        assert_eq!(format!("{stored:?}"), "Secret Some(\"a\")");
    }
}
