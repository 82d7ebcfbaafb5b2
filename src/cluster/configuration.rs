//! The calls for the MutatingWebhookConfiguration: get, patch.

use json_patch::Patch as JsonPatch;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use kube::Client;
use kube::api::{Api, Patch, PatchParams};

use super::call::{Call, CallError, CallErrorKind};
use super::{Cluster, FIELD_MANAGER};

fn configurations(client: Client) -> Api<MutatingWebhookConfiguration> {
    Api::all(client)
}

impl Cluster {
    /// `None`: there is no such configuration.
    pub(crate) async fn read_configuration(
        &self,
        name: &str,
    ) -> Result<Option<MutatingWebhookConfiguration>, CallError> {
        let call = Call::GetConfiguration { name };
        let answer = self.call(call, async |client| configurations(client).get(name).await);
        match answer.await {
            Err(error) if error.kind == CallErrorKind::NotFound => Ok(None),
            answer => answer.map(Some),
        }
    }

    /// A JSON Patch rather than an update with the whole object: the object that was read has no field that is newer than
    /// k8s-openapi's type, and an update would remove such fields from the cluster.
    pub(crate) async fn patch_configuration(&self, name: &str, patch: JsonPatch) -> Result<(), CallError> {
        let params = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let call = Call::PatchConfiguration { name };
        let answer = self.call(call, async |client| {
            configurations(client)
                .patch(name, &params, &Patch::Json::<()>(patch))
                .await
        });
        answer.await.map(drop)
    }
}
