//! The reason of a refused read or write, as far as the server gives it to any client: one more request after a failure, so that
//! the message names what to change. The server's own command line makes the same requests.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::Duration;

use ::http::Method;
use hyper::body::Bytes;
use serde_json::json;
use tokio::time::timeout;

use super::Vault;
use super::answer::{self, Reading};
use super::error::{VaultError, VaultErrorKind};
use super::mount::EngineMount;
use super::session::Session;
use super::transport::{ApiRequest, target};
use super::wanted::{Wanted, has_data_segment};
use crate::http::KeptConnection;

/// How many failures of a run are explained.
const MAX_EXPLAINED: u32 = 8;
/// How long one request for that may take.
const LOOK_UP: Duration = Duration::from_secs(1);

impl Vault {
    /// The same error, with a better hint where the server knows more. Makes no request with a client token whose uses are
    /// limited, and none without a session: the server describes mounts for client tokens only.
    pub(super) async fn explain(
        &self,
        kept: &mut KeptConnection,
        session: Option<&Session>,
        wanted: &Wanted,
        error: VaultError,
    ) -> VaultError {
        let Some(session) = session else {
            let hint = error.explainable.then(|| hint(wanted.path.as_str(), None, error.kind));
            return match hint.flatten() {
                Some(hint) => self.with_namespace(VaultError { hint, ..error }),
                None => error,
            };
        };
        let may_ask = session.uses() == 0 && self.explained.get() < MAX_EXPLAINED;
        if !may_ask || !error.explainable {
            return error;
        }
        self.explained.set(self.explained.get() + 1);
        let hint = match (&wanted.data, error.kind) {
            (Some(_), VaultErrorKind::Denied) => self.why_not_written(kept, session, wanted).await,
            _ => self.why_not_read(kept, session, wanted, error.kind).await,
        };
        match hint {
            Some(hint) => self.with_namespace(VaultError { hint, ..error }),
            None => error,
        }
    }

    /// <https://openbao.org/api-docs/system/capabilities-self/>, which the default policy allows.
    async fn why_not_written(&self, kept: &mut KeptConnection, session: &Session, wanted: &Wanted) -> Option<String> {
        let path = wanted.path.as_str();
        let body = json!({ "paths": [path] }).to_string();
        let answer = self
            .look_up(kept, session, Method::POST, "sys/capabilities-self", body)
            .await?;
        let capabilities: BTreeMap<String, serde_json::Value> = serde_json::from_str(answer.data()).ok()?;
        let granted = capabilities.get(path)?.as_array()?;
        let may_write = granted
            .iter()
            .any(|granted| ["update", "create", "root"].iter().any(|write| granted == write));
        may_write.then(|| {
            "a policy of the role allows to write there, but not with these fields of the entry's `data`: see its \
             allowed_parameters, denied_parameters and required_parameters"
                .to_owned()
        })
    }

    async fn why_not_read(
        &self,
        kept: &mut KeptConnection,
        session: &Session,
        wanted: &Wanted,
        kind: VaultErrorKind,
    ) -> Option<String> {
        let path = wanted.path.as_str();
        let mount = self.mount_of(kept, session, path).await;
        let hint = hint(path, mount.as_ref(), kind)?;
        let is_versioned = mount.is_some_and(|mount| mount.versioned);
        if kind == VaultErrorKind::NotFound && wanted.version.is_some() && is_versioned {
            // A client that may read one version of a secret may read them all.
            let newest = self.look_up(kept, session, Method::GET, path, String::new()).await;
            if let Some(newest) = newest.and_then(|reading| reading.version) {
                return Some(format!(
                    "the newest version is {newest}; old ones are removed beyond the secret's max_versions"
                ));
            }
        }
        Some(hint)
    }

    /// The mount of a path. A client that has any permission below a mount may read this.
    async fn mount_of(&self, kept: &mut KeptConnection, session: &Session, path: &str) -> Option<EngineMount> {
        let mounts = format!("sys/internal/ui/mounts/{path}");
        let answer = self.look_up(kept, session, Method::GET, &mounts, String::new()).await?;
        EngineMount::parse(answer.data()).filter(|mount| !mount.path.is_empty())
    }

    /// One try, within [`LOOK_UP`].
    async fn look_up(
        &self,
        kept: &mut KeptConnection,
        session: &Session,
        method: Method,
        path: &str,
        body: String,
    ) -> Option<Reading> {
        let request = ApiRequest {
            method,
            target: target(path, None),
            body: Bytes::from(body),
            client_token: Some(&session.client_token),
            jwt: None,
            inline: None,
            index: session.index.as_ref(),
            repeatable: true,
            sent: &Cell::default(),
        };
        let exchanged = timeout(LOOK_UP, self.transport.exchange(kept, &request)).await;
        let answer = exchanged.ok()?.ok().filter(|answer| answer.status() == 200)?;
        let wanted = Wanted {
            path: path.parse().ok()?,
            version: None,
            data: None,
        };
        answer::reading(answer, &wanted).ok()
    }
}

/// What to do about a path on this mount that cannot be read, or that does not exist. None: nothing better than the error's own
/// hint.
fn hint(path: &str, mount: Option<&EngineMount>, kind: VaultErrorKind) -> Option<String> {
    let Some(mount) = mount else {
        // There is no such mount, or the client may not even look at it.
        let (first, rest) = path.split_once('/')?;
        let may_be_versioned = kind == VaultErrorKind::Denied && !has_data_segment(path);
        return may_be_versioned.then(|| {
            format!(
                "add `read` on this path to a policy of the role; if {first}/ is a KV v2 engine, the path is written {first}/data/{rest}, here \
                 and in the policy; a path without a mount is answered the same way"
            )
        });
    };
    let rest = path.strip_prefix(&mount.path)?;
    let (at, is_kv) = (&mount.path, mount.engine == "kv" || mount.engine == "generic");
    let below_data = rest.strip_prefix("data/");
    match (is_kv, mount.versioned, below_data, kind) {
        (true, true, None, _) => Some(format!(
            "the mount {at} is a KV v2 engine: the path is written {at}data/{rest}, here and in the policy"
        )),
        (true, false, Some(plain), _) => Some(format!(
            "the mount {at} is a KV v1 engine, whose paths have no /data/: the path is written {at}{plain}"
        )),
        (true, _, _, VaultErrorKind::NotFound) => Some(format!("the mount {at} has no such secret: check its name")),
        (false, _, _, VaultErrorKind::NotFound) => Some(format!(
            "the mount {at} is of the engine {}: check the path against its API",
            mount.engine
        )),
        _ => Some(format!(
            "add `read` on this path to a policy of the role; the mount {at} exists"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hint_has_the_path_as_the_mount_wants_it() {
        let mount = |path: &str, engine: &str, versioned| EngineMount {
            path: path.to_owned(),
            engine: engine.to_owned(),
            versioned,
        };
        let (v2, v1, pki) = (
            mount("team/kv/", "kv", true),
            mount("old/", "kv", false),
            mount("pki/", "pki", false),
        );
        for (path, mount, kind, text) in [
            (
                "team/kv/web",
                Some(&v2),
                VaultErrorKind::Denied,
                Some("team/kv/data/web"),
            ),
            (
                "team/kv/web",
                Some(&v2),
                VaultErrorKind::NotFound,
                Some("team/kv/data/web"),
            ),
            (
                "team/kv/data/web",
                Some(&v2),
                VaultErrorKind::NotFound,
                Some("no such secret"),
            ),
            (
                "team/kv/data/web",
                Some(&v2),
                VaultErrorKind::Denied,
                Some("add `read`"),
            ),
            (
                "old/data/web",
                Some(&v1),
                VaultErrorKind::NotFound,
                Some("written old/web"),
            ),
            (
                "old/data/web",
                Some(&v1),
                VaultErrorKind::Denied,
                Some("written old/web"),
            ),
            ("old/web", Some(&v1), VaultErrorKind::NotFound, Some("no such secret")),
            ("pki/cert/x", Some(&pki), VaultErrorKind::NotFound, Some("engine pki")),
            (
                "secret/foo/bar",
                None,
                VaultErrorKind::Denied,
                Some("secret/data/foo/bar"),
            ),
            ("secret/data/foo", None, VaultErrorKind::Denied, None),
            ("secret/foo", None, VaultErrorKind::NotFound, None),
            // A wrong answer: the mount of another path.
            ("kv/x", Some(&v2), VaultErrorKind::Denied, None),
        ] {
            let hint = hint(path, mount, kind);
            match text {
                None => assert_eq!(hint, None, "{path}"),
                Some(text) => assert!(
                    hint.as_deref().is_some_and(|hint| hint.contains(text)),
                    "{path}: {hint:?}"
                ),
            }
        }
    }
}
