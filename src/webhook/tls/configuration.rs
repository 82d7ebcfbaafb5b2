//! The `caBundle` in podkey's MutatingWebhookConfiguration: how podkey reads and patches the field.

use std::collections::BTreeSet;

use json_patch::Patch;
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::{MutatingWebhook, MutatingWebhookConfiguration};
use serde_json::json;

use super::SelfManaged;
use super::authority::CaCertificate;
use super::keyring::{CaBundle, read_bundle, write_bundle};

/// The `caBundle` of each webhook that calls podkey's Service.
pub(super) fn bundles(names: &SelfManaged, configuration: &MutatingWebhookConfiguration) -> Vec<CaBundle> {
    own_webhooks(names, configuration)
        .map(|(_, webhook)| match &webhook.client_config.ca_bundle {
            Some(bundle) => read_bundle(&bundle.0),
            None => CaBundle::default(),
        })
        .collect()
}

/// The patch that sets the `caBundle` of podkey's webhooks and nothing else. The first operation writes the resourceVersion that
/// was read: the API server answers 409 if the stored resourceVersion differs.
pub(super) fn patch(
    names: &SelfManaged,
    configuration: &MutatingWebhookConfiguration,
    authorities: &BTreeSet<CaCertificate>,
) -> serde_json::Result<Patch> {
    let bundle = ByteString(write_bundle(authorities).into_bytes());
    let version = &configuration.metadata.resource_version;
    let mut operations = vec![json!({"op": "replace", "path": "/metadata/resourceVersion", "value": version})];
    operations.extend(own_webhooks(names, configuration).map(
        |(index, _)| json!({"op": "add", "path": format!("/webhooks/{index}/clientConfig/caBundle"), "value": bundle}),
    ));
    serde_json::from_value(operations.into())
}

/// The webhooks that call podkey's Service, with their positions in the configuration.
fn own_webhooks<'a>(
    names: &'a SelfManaged,
    configuration: &'a MutatingWebhookConfiguration,
) -> impl Iterator<Item = (usize, &'a MutatingWebhook)> {
    let webhooks = configuration.webhooks.as_deref().unwrap_or_default();
    webhooks.iter().enumerate().filter(|(_, webhook)| {
        let service = webhook.client_config.service.as_ref();
        service.is_some_and(|service| service.name == names.service && service.namespace == names.namespace)
    })
}
