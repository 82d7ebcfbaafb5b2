//! The pod's volumes, and where its containers mount them.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::inject::pod::list::ListItem;
use crate::inject::pod::text::Text;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Volume<'a> {
    #[serde(borrow)]
    pub(crate) name: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(crate) empty_dir: Option<EmptyDir<'a>>,
    #[serde(borrow, default)]
    pub(crate) projected: Option<&'a RawValue>,
    #[serde(default)]
    config_map: Option<IgnoredAny>,
    #[serde(default)]
    secret: Option<IgnoredAny>,
    #[serde(borrow, default, rename = "downwardAPI")]
    pub(crate) downward_api: Option<&'a RawValue>,
    #[serde(default)]
    pub(crate) image: Option<IgnoredAny>,
    #[serde(default)]
    persistent_volume_claim: Option<MaybeReadOnly>,
    #[serde(default)]
    csi: Option<MaybeReadOnly>,
    #[serde(default)]
    nfs: Option<MaybeReadOnly>,
    #[serde(default)]
    iscsi: Option<MaybeReadOnly>,
    #[serde(default)]
    fc: Option<MaybeReadOnly>,
    #[serde(default)]
    rbd: Option<MaybeReadOnly>,
    #[serde(default)]
    cephfs: Option<MaybeReadOnly>,
    #[serde(default)]
    azure_file: Option<MaybeReadOnly>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct EmptyDir<'a> {
    #[serde(borrow, default)]
    pub(crate) medium: Option<Text<'a>>,
    /// Kubernetes 1.37, alpha: the permissions of the directory.
    #[serde(default)]
    pub(crate) mode: Option<IgnoredAny>,
}

/// A volume source with the field `readOnly`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct MaybeReadOnly {
    #[serde(default)]
    read_only: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct VolumeMount<'a> {
    /// The volume's name.
    #[serde(borrow)]
    pub(crate) name: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) mount_path: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(crate) sub_path: Option<Text<'a>>,
    #[serde(default)]
    read_only: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct VolumeDevice<'a> {
    #[serde(borrow)]
    pub(crate) device_path: Cow<'a, str>,
}

impl ListItem for Volume<'_> {}
impl ListItem for VolumeMount<'_> {}
impl ListItem for VolumeDevice<'_> {}

impl Volume<'_> {
    /// Whether nothing can be created in the volume, not even a mount point.
    pub(crate) fn is_read_only(&self) -> bool {
        let sources = [
            &self.persistent_volume_claim,
            &self.csi,
            &self.nfs,
            &self.iscsi,
            &self.fc,
            &self.rbd,
            &self.cephfs,
            &self.azure_file,
        ];
        self.config_map.is_some()
            || self.secret.is_some()
            || self.projected.is_some()
            || self.downward_api.is_some()
            || self.image.is_some()
            || sources
                .into_iter()
                .flatten()
                .any(|source| source.read_only == Some(true))
    }
}

impl VolumeMount<'_> {
    /// Whether the container mounts the volume read-only.
    pub(crate) fn is_read_only(&self) -> bool {
        self.read_only == Some(true)
    }
}
