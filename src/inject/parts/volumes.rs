//! podkey's own volumes, as the patch has them, and how podkey recognises them in a pod.

use serde::{Deserialize, Serialize};

use crate::inject::config::ConnectionConfig;
use crate::inject::kubernetes::TOKEN_SECONDS;
use crate::inject::parts::plan::PodPlan;
use crate::inject::pod::{Text, Volume};
use crate::inject::request::Freshness;
use crate::inject::survey::Survey;
use crate::inject::words::names::{BIN_VOLUME, ENV_VOLUME, HANDOVER_VOLUME, SECRETS_VOLUME, TOKEN_VOLUME, VOLUMES};
use crate::plan::MAX_RENDERED_BYTES;

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
    #[serde(skip_serializing_if = "Option::is_none")]
    empty_dir: Option<SizedEmptyDir>,
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
        SECRETS_VOLUME => plan.has_files(),
        BIN_VOLUME => plan.exec || plan.job.is_some(),
        HANDOVER_VOLUME => plan.refresh.is_some(),
        ENV_VOLUME => plan.kubelet_env,
        _ => true,
    };
    VOLUMES.into_iter().filter(|name| is_needed(name)).collect()
}

/// The volumes that this pod gets. `names` are those that it needs.
pub(crate) fn volumes<'s>(
    names: &[&'static str],
    survey: &Survey<'_>,
    connection: &'s ConnectionConfig,
) -> Vec<OwnVolume<'s>> {
    let names = names.iter().copied();
    names
        .map(|name| match name {
            TOKEN_VOLUME => token_volume(survey.freshness, connection),
            ENV_VOLUME => empty_dir(name, Some(MEMORY), ENV_BYTES),
            BIN_VOLUME => empty_dir(name, None, BIN_BYTES),
            HANDOVER_VOLUME => empty_dir(name, Some(MEMORY), HANDOVER_BYTES),
            _ => empty_dir(name, Some(MEMORY), SECRETS_BYTES),
        })
        .collect()
}

fn empty_dir(name: &'static str, medium: Option<&'static str>, size_limit: usize) -> OwnVolume<'static> {
    OwnVolume {
        empty_dir: Some(SizedEmptyDir { medium, size_limit }),
        name,
        projected: None,
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
        empty_dir: None,
        name: TOKEN_VOLUME,
        projected: Some(ProjectedVolume {
            sources: (TokenSource {
                service_account_token: token,
            },),
        }),
    }
}

/// Whether a volume of the pod, which has a name of podkey's, is the volume that podkey adds. The API server may have filled in
/// defaults.
pub(crate) fn is_ours(volume: &Volume<'_>, audience: Option<&str>) -> bool {
    match &*volume.name {
        SECRETS_VOLUME | HANDOVER_VOLUME | ENV_VOLUME => volume
            .empty_dir
            .as_ref()
            .is_some_and(|empty_dir| empty_dir.medium.as_deref() == Some(MEMORY)),
        BIN_VOLUME => volume.empty_dir.is_some(),
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
