//! The paths of the plan: whether their mounts exist, and whether a path is written as its engine wants.

use serde_json::Value;

use super::examination::Examination;
use super::login::Session;
use super::wanted::Wanted;
use super::wire::{Caller, shown};
use crate::cli::doctor::finding::Findings;
use crate::text::nearest;

pub(super) const CHECK: &str = "vault-path";

/// A path with its mount.
pub(super) struct Located {
    pub(super) wanted: Wanted,
    pub(super) mount: Mount,
}

impl Located {
    /// See [`Wanted::capabilities`].
    pub(super) fn capabilities(&self) -> &'static [&'static str] {
        self.wanted.capabilities(&self.mount.engine)
    }

    pub(super) fn rule(&self) -> (String, &'static str) {
        self.wanted.rule(&self.mount.engine)
    }
}

/// The engine of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mount {
    /// With a slash at the end. Empty: the mount could not be seen.
    pub(super) path: String,
    pub(super) engine: String,
    pub(super) is_v2: bool,
}

/// What `sys/internal/ui/mounts` says of a path.
enum Found {
    Mount(Mount),
    /// There is no such mount, or the caller has no right below it.
    Refused,
    NoAnswer,
}

/// Finds the mount of each path. A path whose mount is wrong gets a finding, and is left out of the result.
pub(super) async fn locate(
    examination: &Examination<'_>,
    session: Option<&Session>,
    wanted: Vec<Wanted>,
    findings: &mut Findings,
) -> Vec<Located> {
    let of_pod = session
        .filter(|session| session.uses == 0)
        .map(|session| session.caller(examination));
    let mut located = Vec::new();
    for mut wanted in wanted {
        let mut found = Found::NoAnswer;
        for caller in examination.user.iter().chain(&of_pod) {
            found = mount_of(caller, &wanted.path, examination.anonymous.namespace.as_deref()).await;
            if matches!(found, Found::Mount(_)) {
                break;
            }
        }
        let mount = match found {
            Found::Mount(mount) => mount,
            Found::Refused if is_absent(examination, &wanted, findings).await => continue,
            Found::Refused | Found::NoAnswer => {
                if examination.user.is_some() {
                    let message = format!("the engine of {}: your token has no right below its mount", wanted.path);
                    findings.unseen(CHECK, message, None);
                }
                Mount {
                    path: String::new(),
                    engine: String::new(),
                    is_v2: false,
                }
            }
        };
        if examination.plan.mount_lookup.is_some() && mount.is_v2 && wanted.written.is_none() {
            insert_data(&mut wanted, &mount);
        }
        if fits(examination, &wanted, &mount, findings).await {
            located.push(Located { wanted, mount });
        }
    }
    located
}

async fn mount_of(caller: &Caller<'_>, path: &str, namespace: Option<&str>) -> Found {
    let Ok(answer) = caller.read(&format!("sys/internal/ui/mounts/{path}")).await else {
        return Found::NoAnswer;
    };
    let data = answer.data();
    let (true, Some(mount)) = (answer.is_good(), data["path"].as_str()) else {
        return Found::Refused;
    };
    // Vault puts the namespace in front of the mount.
    let mount = namespace
        .and_then(|namespace| mount.strip_prefix(namespace)?.strip_prefix('/'))
        .filter(|mount| path.starts_with(*mount))
        .unwrap_or(mount);
    Found::Mount(Mount {
        path: format!("{}/", mount.trim_end_matches('/')),
        engine: shown(data["type"].as_str().unwrap_or_default()),
        is_v2: data.pointer("/options/version").and_then(Value::as_str) == Some("2"),
    })
}

/// Whether the user's token sees all mounts, and none of them is the path's.
async fn is_absent(examination: &Examination<'_>, wanted: &Wanted, findings: &mut Findings) -> bool {
    let Some(user) = &examination.user else { return false };
    let Ok(answer) = user.read("sys/mounts").await else {
        return false;
    };
    let (true, Some(mounts)) = (answer.is_good(), answer.data().as_object()) else {
        return false;
    };
    let path = &wanted.path;
    if mounts
        .keys()
        .any(|mount| format!("{path}/").starts_with(mount.as_str()))
    {
        return false;
    }
    let (mount, version) = match path.split_once("/data/") {
        Some((mount, _)) => (mount, "-version=2"),
        None => (path.split('/').next().unwrap_or_default(), "-version=1"),
    };
    let known = mounts.keys().filter_map(|known| known.strip_suffix('/'));
    let near = nearest(mount, known).map_or_else(String::new, |near| format!("; the nearest mount is {}", shown(near)));
    let engine = engine_of(path);
    let message = format!("nothing is mounted at {mount}/, for the path {path}{near}");
    let mut arguments = vec![format!("-path={mount}")];
    if engine == "kv" {
        arguments.push(version.to_owned());
    }
    arguments.push(engine.to_owned());
    findings.fault(
        CHECK,
        message,
        Some(examination.server.line("secrets enable", arguments)),
    );
    true
}

/// The engine that a path looks like.
fn engine_of(path: &str) -> &'static str {
    match path.split('/').nth(1) {
        Some("issue" | "sign") => "pki",
        Some("creds" | "static-creds") => "database",
        _ => "kv",
    }
}

fn insert_data(wanted: &mut Wanted, mount: &Mount) {
    let path = wanted.path.clone();
    if let Some(rest) = path.strip_prefix(&mount.path)
        && !["data/", "metadata/", "subkeys/"]
            .iter()
            .any(|left| rest.starts_with(left))
    {
        wanted.path = format!("{}data/{rest}", mount.path);
    }
}

/// Whether a KV path has `data` exactly where the engine wants it.
async fn fits(examination: &Examination<'_>, wanted: &Wanted, mount: &Mount, findings: &mut Findings) -> bool {
    let path = &wanted.path;
    let Some(rest) = path.strip_prefix(&mount.path).filter(|_| !mount.path.is_empty()) else {
        return true;
    };
    let at = &mount.path;
    let is_kv = matches!(mount.engine.as_str(), "kv" | "generic");
    let subresources = ["data/", "metadata/", "subkeys/", "config"];
    let message = match (is_kv, mount.is_v2) {
        (true, true) if !subresources.iter().any(|known| rest.starts_with(known)) => {
            format!("{at} is KV v2, whose paths have /data/: write {at}data/{rest} in place of {path}")
        }
        (true, false) if rest.starts_with("data/") => {
            match is_listed(examination, path).await {
                // KV v1 may have a folder of that name.
                Some(true) => return true,
                Some(false) => {}
                None => {
                    let message = format!(
                        "{at} is KV v1, whose paths have no /data/: whether it has a folder data with {path}, you may not list"
                    );
                    findings.unseen(CHECK, message, None);
                    return true;
                }
            }
            let rest = rest.trim_start_matches("data/");
            format!(
                "{at} is KV v1, whose paths have no /data/, and {path} does not exist: write {at}{rest} in place of it"
            )
        }
        (true, false) if wanted.version.is_some() => {
            format!("{at} is KV v1, which has no versions: remove `version` of {path}")
        }
        _ => return true,
    };
    // Only the author can change the path.
    findings.fault(CHECK, message, None);
    false
}

/// Whether the path is in the list of its folder. None: the user may not list.
async fn is_listed(examination: &Examination<'_>, path: &str) -> Option<bool> {
    let (folder, name) = path.rsplit_once('/')?;
    let names = examination.user.as_ref()?.names(&format!("{folder}/")).await?;
    Some(names.iter().any(|listed| listed == name))
}
