//! podkey's own volumes, as the patch has them, and how podkey recognises them in a pod.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::inject::config::{AgentConfig, ConnectionConfig};
use crate::inject::kubernetes::TOKEN_SECONDS;
use crate::inject::parts::plan::PodPlan;
use crate::inject::pod::{Text, Volume};
use crate::inject::request::Freshness;
use crate::inject::survey::Survey;
use crate::inject::words::keys::PLAN;
use crate::inject::words::names::{
    BIN_VOLUME, ENV_VOLUME, HANDOVER_VOLUME, PLAN_VOLUME, SECRETS_VOLUME, TOKEN_VOLUME, VOLUMES,
};
use crate::plan::{Binary, MAX_RENDERED_BYTES, PLAN_FILE};

/// The token's path in its volume.
const TOKEN_PATH: &str = "token";

/// The medium of an `emptyDir` that is never on a disk.
const MEMORY: &str = "Memory";

const MIB: usize = 1024 * 1024;
/// The files, and as much again, because two generations lie side by side, and some room for the file system.
const SECRETS_BYTES: usize = 2 * MAX_RENDERED_BYTES + MIB;
/// The agent has at most 4 MiB; beside it lies the plan.
const BIN_BYTES: usize = 8 * MIB;
/// A client token.
const HANDOVER_BYTES: usize = MIB;
/// The kubelet's file, which has at most 64 KiB. Where the values are kept fresh: two generations of up to 256 values, each of which
/// takes a page of memory.
const ENV_BYTES: usize = 4 * MIB;

/// A volume of podkey's.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OwnVolume<'s> {
    #[serde(rename = "downwardAPI", skip_serializing_if = "Option::is_none")]
    downward_api: Option<PlanFiles<Cow<'static, str>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    empty_dir: Option<SizedEmptyDir>,
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<AgentImage<'s>>,
    name: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    projected: Option<ProjectedVolume<OwnToken<'s>>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct SizedEmptyDir {
    #[serde(skip_serializing_if = "Option::is_none")]
    medium: Option<&'static str>,
    #[serde(serialize_with = "mebibytes")]
    size_limit: usize,
}

fn mebibytes<S: serde::Serializer>(bytes: &usize, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{}Mi", bytes / MIB))
}

/// The agent's image.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct AgentImage<'s> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pull_policy: Option<&'static str>,
    reference: &'s str,
}

/// A downwardAPI volume of the annotation [`PLAN`] and nothing else.
#[derive(Debug, Serialize, Deserialize)]
struct PlanFiles<T> {
    items: (PlanItem<T>,),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PlanItem<T> {
    field_ref: FieldRef<T>,
    path: T,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct FieldRef<T> {
    field_path: T,
}

/// The annotation [`PLAN`], as a `fieldPath`.
fn plan_field() -> String {
    format!("metadata.annotations['{PLAN}']")
}

/// A projected volume of one token and nothing else. (Kubernetes' own type has some hundred bytes for each source, and an
/// author may write a million sources.)
#[derive(Debug, Serialize, Deserialize)]
struct ProjectedVolume<T> {
    sources: (TokenSource<T>,),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct TokenSource<T> {
    service_account_token: T,
}

/// The token as podkey asks for it. The API server may give it a shorter life.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct OwnToken<'s> {
    #[serde(skip_serializing_if = "Option::is_none")]
    audience: Option<&'s str>,
    expiration_seconds: i64,
    path: &'static str,
}

/// The token of a volume that the pod has.
#[derive(Debug, Deserialize)]
struct PresentToken<'a> {
    #[serde(borrow)]
    path: Text<'a>,
    #[serde(borrow, default)]
    audience: Option<Text<'a>>,
}

/// The names of the volumes that the plan needs, in their order.
pub(crate) fn needed(plan: &PodPlan<'_>) -> Vec<&'static str> {
    let is_needed = |name: &str| match name {
        // The state directory is in this volume too.
        SECRETS_VOLUME => plan.has_files() || plan.binary == Binary::ImageVolume,
        BIN_VOLUME => plan.exec || plan.job.is_some(),
        HANDOVER_VOLUME => plan.refresh.is_some(),
        ENV_VOLUME => plan.kubelet_env,
        TOKEN_VOLUME => !plan.hooks_alone,
        PLAN_VOLUME => plan.hooks_alone,
        _ => true,
    };
    VOLUMES.into_iter().filter(|name| is_needed(name)).collect()
}

/// The volumes that this pod gets. `names` are those that it needs.
pub(crate) fn volumes<'s>(
    names: &[&'static str],
    survey: &Survey<'_>,
    agent: &'s AgentConfig,
    connection: &'s ConnectionConfig,
) -> Vec<OwnVolume<'s>> {
    let names = names.iter().copied();
    names
        .map(|name| match name {
            TOKEN_VOLUME => token_volume(survey.freshness, connection),
            ENV_VOLUME => empty_dir(name, Some(MEMORY), ENV_BYTES),
            BIN_VOLUME => match survey.binary {
                Binary::Copy => empty_dir(name, None, BIN_BYTES),
                Binary::ImageVolume => agent_image(agent),
            },
            PLAN_VOLUME => plan_volume(),
            HANDOVER_VOLUME => empty_dir(name, Some(MEMORY), HANDOVER_BYTES),
            _ => empty_dir(name, Some(MEMORY), SECRETS_BYTES),
        })
        .collect()
}

/// A volume without its source.
fn named(name: &'static str) -> OwnVolume<'static> {
    OwnVolume {
        downward_api: None,
        empty_dir: None,
        image: None,
        name,
        projected: None,
    }
}

fn empty_dir(name: &'static str, medium: Option<&'static str>, size_limit: usize) -> OwnVolume<'static> {
    OwnVolume {
        empty_dir: Some(SizedEmptyDir { medium, size_limit }),
        ..named(name)
    }
}

fn agent_image(agent: &AgentConfig) -> OwnVolume<'_> {
    OwnVolume {
        image: Some(AgentImage {
            pull_policy: agent.image_pull_policy.map(|policy| policy.as_str()),
            reference: &agent.image,
        }),
        ..named(BIN_VOLUME)
    }
}

fn plan_volume() -> OwnVolume<'static> {
    let item = PlanItem {
        field_ref: FieldRef {
            field_path: Cow::Owned(plan_field()),
        },
        path: Cow::Borrowed(PLAN_FILE),
    };
    OwnVolume {
        downward_api: Some(PlanFiles { items: (item,) }),
        ..named(PLAN_VOLUME)
    }
}

fn token_volume(freshness: Freshness, connection: &ConnectionConfig) -> OwnVolume<'_> {
    let token = OwnToken {
        audience: connection.audience.as_deref(),
        expiration_seconds: match freshness {
            Freshness::WrittenOnce => TOKEN_SECONDS,
            Freshness::Refreshed => connection.refresh_token_seconds,
        },
        path: TOKEN_PATH,
    };
    OwnVolume {
        projected: Some(ProjectedVolume {
            sources: (TokenSource {
                service_account_token: token,
            },),
        }),
        ..named(TOKEN_VOLUME)
    }
}

/// Whether a volume of the pod, which has a name of podkey's, is the volume that podkey adds. The API server may have filled in
/// defaults.
pub(crate) fn is_ours(volume: &Volume<'_>, binary: Binary, audience: Option<&str>) -> bool {
    match &*volume.name {
        SECRETS_VOLUME | HANDOVER_VOLUME | ENV_VOLUME => volume
            .empty_dir
            .as_ref()
            .is_some_and(|empty_dir| empty_dir.medium.as_deref() == Some(MEMORY)),
        BIN_VOLUME => match binary {
            Binary::Copy => volume.empty_dir.is_some(),
            // Another webhook may have named a mirror of the image.
            Binary::ImageVolume => volume.image.is_some(),
        },
        PLAN_VOLUME => {
            let files = volume.downward_api.map(|raw| serde_json::from_str(raw.get()));
            files.is_some_and(|files| {
                files.is_ok_and(|PlanFiles { items: (item,) }: PlanFiles<Text<'_>>| {
                    *item.path == *PLAN_FILE && *item.field_ref.field_path == *plan_field()
                })
            })
        }
        _ => {
            let projected = volume.projected.map(|raw| serde_json::from_str(raw.get()));
            projected.is_some_and(|projected| {
                projected.is_ok_and(|ProjectedVolume { sources: (source,) }| {
                    let token: PresentToken<'_> = source.service_account_token;
                    let present = token.audience.as_deref().filter(|audience| !audience.is_empty());
                    &*token.path == TOKEN_PATH && present == audience
                })
            })
        }
    }
}
