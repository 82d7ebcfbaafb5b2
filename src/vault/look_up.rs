//! The look-up of a path's mount before the path is read, for paths without the `data` of KV v2 ([`MountLookup`]).

use std::borrow::Cow;
use std::cell::Cell;

use ::http::Method;
use hyper::body::Bytes;
use tokio::sync::Mutex;

use super::Vault;
use super::answer;
use super::classify::Operation;
use super::error::{VaultError, VaultErrorKind};
use super::fail_fast::FailFast;
use super::failed_try::FailedTry;
use super::mount::{EngineMount, KnownMount, MountOfPath};
use super::session::Session;
use super::transport::{ApiRequest, ApiResponse, target};
use super::wanted::Wanted;
use crate::http::KeptConnection;
use crate::plan::{ApiPath, MountLookup};

/// How the server says that the client has no permission in the mount of the path, or that there is no such mount.
const NO_PERMISSION_THERE: &str = "preflight capability check returned 403";

/// The mounts that were looked up.
pub(super) struct Mounts {
    lookup: MountLookup,
    /// Locked during a look-up, so that each mount is looked up once.
    known: Mutex<Vec<KnownMount>>,
}

impl Mounts {
    pub(super) fn new(lookup: MountLookup) -> Self {
        Self {
            lookup,
            known: Mutex::default(),
        }
    }

    /// The mount of the path is looked up again before the next read: it may have become another one.
    pub(super) fn forget(&self, path: &ApiPath) {
        if let Ok(mut known) = self.known.try_lock() {
            known.retain(|mount| !mount.has(path));
        }
    }
}

impl Vault {
    /// Looks up the mount of each path before the path is read.
    pub(crate) fn looking_up(mut self, lookup: Option<&MountLookup>) -> Self {
        self.mounts = lookup.cloned().map(Mounts::new);
        self
    }

    pub(super) fn looks_up_mounts(&self) -> bool {
        self.mounts.is_some()
    }

    /// What to read in place of `wanted`, after the look-up of the mount. Errors: the operator's rule does not allow the path, or the
    /// server does not answer.
    pub(super) async fn readable<'w>(
        &self,
        kept: &mut KeptConnection,
        session: &Session,
        wanted: &'w Wanted,
        fail_fast: Option<&FailFast>,
    ) -> Result<Cow<'w, Wanted>, VaultError> {
        let Some(mounts) = self.mounts.as_ref().filter(|_| wanted.data.is_none()) else {
            return Ok(Cow::Borrowed(wanted));
        };
        let mut known = mounts.known.lock().await;
        let mount = match known.iter().find(|mount| mount.has(&wanted.path)) {
            Some(mount) => Some(mount.clone()),
            None => {
                let mount = self.mount_of_path(kept, session, wanted, fail_fast).await?;
                known.extend(mount.clone());
                mount
            }
        };
        drop(known);
        let path = mount.map_or_else(|| wanted.path.clone(), |mount| mount.readable(&wanted.path));
        match mounts.lookup.allows(&path) {
            true => Ok(Cow::Owned(Wanted { path, ..wanted.clone() })),
            false => Err(not_allowed(&wanted.path, &path)),
        }
    }

    /// None: the path is read as written.
    async fn mount_of_path(
        &self,
        kept: &mut KeptConnection,
        session: &Session,
        wanted: &Wanted,
        fail_fast: Option<&FailFast>,
    ) -> Result<Option<KnownMount>, VaultError> {
        let path = &wanted.path;
        let request = ApiRequest {
            method: Method::GET,
            target: target(&format!("sys/internal/ui/mounts/{path}"), None),
            body: Bytes::new(),
            client_token: Some(&session.client_token),
            jwt: None,
            inline: None,
            index: session.index.as_ref(),
            repeatable: true,
            sent: &Cell::default(),
        };
        let operation = |_| Operation::LookUp {
            path: path.as_str(),
            since_login: session.age(),
        };
        let take = |answer| take_mount(answer, path, self.namespace.as_deref());
        match self.ask(kept, session, &request, fail_fast, operation, take).await {
            // consul-template reads the path as written after any failure. A failure that may pass is retried here, and then
            // reported: a wrong path would be reported as missing.
            Err(error) if matches!(error.kind, VaultErrorKind::Denied | VaultErrorKind::Refused) => {
                tracing::debug!(secret = %path, reason = error.message, "the path is read as written");
                Ok(None)
            }
            asked => asked,
        }
    }
}

fn take_mount(answer: ApiResponse, path: &ApiPath, namespace: Option<&str>) -> Result<Option<KnownMount>, FailedTry> {
    if answer.status() != 200 {
        let refusal = answer::error_response(&answer, path.as_str());
        let is_known = match answer.status() {
            403 => refusal.says(NO_PERMISSION_THERE),
            // A server from before the look-up (Vault 0.10) has only KV v1.
            404 => refusal.from_vault,
            _ => false,
        };
        return match is_known {
            true => Ok(None),
            false => Err(FailedTry::Refused(refusal.into())),
        };
    }
    let described = answer::reading(
        answer,
        &Wanted {
            path: path.clone(),
            version: None,
            data: None,
        },
    )?;
    let mount = EngineMount::parse(described.data()).ok_or(FailedTry::malformed("it describes no mount"))?;
    match mount.within(path, namespace) {
        MountOfPath::Known(mount) => Ok(Some(mount)),
        MountOfPath::Other => Ok(None),
        MountOfPath::Foreign => Err(FailedTry::malformed("it describes the mount of another path")),
    }
}

/// `written` is the path of the plan, and `path` the path that reads the secret.
fn not_allowed(written: &ApiPath, path: &ApiPath) -> VaultError {
    let why = match written == path {
        true => "the mount is no KV v2 engine, or the path has its `data` already".to_owned(),
        false => format!("the mount of {written} is a KV v2 engine"),
    };
    VaultError::new(
        VaultErrorKind::Denied,
        format!("the operator's rule does not let this pod read {path}: {why}"),
        "ask the operator to add the path to `secrets` of the rule",
    )
}
