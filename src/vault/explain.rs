//! Why a read or write was refused, as far as the server tells whoever asks: one more request in the case of a failure, so that
//! the message names what to change. The server's own command line asks the same.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::Duration;

use http::Method;
use hyper::body::Bytes;
use serde::Deserialize;
use serde_json::json;
use tokio::time::timeout;

use super::answer::{self, Reading};
use super::error::{Kind, VaultError};
use super::transport::{Link, Outgoing, target};
use super::{Session, Vault, Wanted};

/// How many failures of one run are looked into.
const MOST: u32 = 8;
/// How long one request for that may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// What is mounted at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mount {
    /// With a slash at its end.
    path: String,
    /// Such as `kv`.
    kind: String,
    /// A KV engine's version is 2.
    versioned: bool,
}

impl Vault {
    /// The same failure with a hint that says more, where the server knows more. A client token whose uses are counted is not
    /// used for that.
    pub(super) async fn explain(
        &self,
        link: &mut Link,
        session: &Session,
        wanted: &Wanted,
        error: VaultError,
    ) -> VaultError {
        let may_ask = session.uses() == 0 && self.explained.get() < MOST;
        if !may_ask || !error.open {
            return error;
        }
        self.explained.set(self.explained.get() + 1);
        let hint = match (&wanted.data, error.kind) {
            (Some(_), Kind::Denied) => self.why_not_written(link, session, wanted).await,
            _ => self.why_not_read(link, session, wanted, error.kind).await,
        };
        match hint {
            Some(hint) => self.named(VaultError { hint, ..error }),
            None => error,
        }
    }

    /// <https://openbao.org/api-docs/system/capabilities-self/>, which the default policy allows.
    async fn why_not_written(&self, link: &mut Link, session: &Session, wanted: &Wanted) -> Option<String> {
        let path = wanted.path.as_str();
        let body = json!({ "paths": [path] }).to_string();
        let answer = self
            .look_up(link, session, Method::POST, "sys/capabilities-self", body)
            .await?;
        let capabilities: BTreeMap<String, serde_json::Value> = serde_json::from_str(answer.data()).ok()?;
        let may = capabilities.get(path)?.as_array()?;
        let writes = may
            .iter()
            .any(|may| ["update", "create", "root"].iter().any(|write| may == write));
        writes.then(|| {
            "a policy of the role allows to write there, but not with these fields of the entry's `data`: see its \
             allowed_parameters, denied_parameters and required_parameters"
                .to_owned()
        })
    }

    async fn why_not_read(&self, link: &mut Link, session: &Session, wanted: &Wanted, kind: Kind) -> Option<String> {
        let path = wanted.path.as_str();
        let mount = self.mount_of(link, session, path).await;
        let hint = hint(path, mount.as_ref(), kind)?;
        if kind == Kind::NotFound && wanted.version.is_some() && mount.is_some_and(|mount| mount.versioned) {
            // Whoever may read one version may read them all.
            let newest = self.look_up(link, session, Method::GET, path, String::new()).await;
            if let Some(newest) = newest.and_then(|reading| reading.version) {
                return Some(format!(
                    "the newest version is {newest}; old ones are removed beyond the secret's max_versions"
                ));
            }
        }
        Some(hint)
    }

    /// Whoever may do anything below a mount may ask what it is.
    async fn mount_of(&self, link: &mut Link, session: &Session, path: &str) -> Option<Mount> {
        #[derive(Deserialize)]
        struct Told {
            path: String,
            #[serde(rename = "type")]
            kind: String,
            #[serde(default)]
            options: Option<BTreeMap<String, serde_json::Value>>,
        }
        let asked = format!("sys/internal/ui/mounts/{path}");
        let answer = self.look_up(link, session, Method::GET, &asked, String::new()).await?;
        let told: Told = serde_json::from_str(answer.data()).ok()?;
        let version = told.options.and_then(|mut options| options.remove("version"));
        Some(Mount {
            path: told.path,
            kind: told.kind,
            versioned: version.is_some_and(|version| version == "2"),
        })
    }

    /// One try, in a moment.
    async fn look_up(
        &self,
        link: &mut Link,
        session: &Session,
        method: Method,
        path: &str,
        body: String,
    ) -> Option<Reading> {
        let out = Outgoing {
            method,
            target: target(path, None),
            body: Bytes::from(body),
            token: Some(&session.token),
            jwt: None,
            index: session.index.as_ref(),
            repeatable: true,
            sent: &Cell::default(),
        };
        let answer = timeout(PATIENCE, self.transport.exchange(link, &out))
            .await
            .ok()?
            .ok()?;
        let asked = Wanted {
            path: path.parse().ok()?,
            version: None,
            data: None,
        };
        let answer = Some(answer).filter(|answer| answer.status == 200)?;
        answer::reading(answer, &asked).ok()
    }
}

/// What to do about a path that cannot be read, or that is not there, on this mount. None: nothing more than is said anyway.
fn hint(path: &str, mount: Option<&Mount>, kind: Kind) -> Option<String> {
    let Some(mount) = mount else {
        // Not even its mount may be looked at, or there is none.
        let (first, rest) = path.split_once('/')?;
        let may_be_versioned = kind == Kind::Denied && !super::has_data_segment(path);
        return may_be_versioned.then(|| {
            format!(
                "add `read` on this path to a policy of the role; if {first}/ is a KV v2 engine, the path is written {first}/data/{rest}, here \
                 and in the policy; a path without a mount is answered the same way"
            )
        });
    };
    let rest = path.strip_prefix(&mount.path)?;
    let (at, kv) = (&mount.path, mount.kind == "kv" || mount.kind == "generic");
    let below_data = rest.strip_prefix("data/");
    match (kv, mount.versioned, below_data, kind) {
        (true, true, None, _) => Some(format!(
            "the mount {at} is a KV v2 engine: the path is written {at}data/{rest}, here and in the policy"
        )),
        (true, false, Some(plain), _) => Some(format!(
            "the mount {at} is a KV v1 engine, whose paths have no /data/: the path is written {at}{plain}"
        )),
        (true, _, _, Kind::NotFound) => Some(format!("the mount {at} has no such secret: check its name")),
        (false, _, _, Kind::NotFound) => Some(format!(
            "the mount {at} is of the engine {}: check the path against its API",
            mount.kind
        )),
        _ => Some(format!(
            "add `read` on this path to a policy of the role; the mount {at} is there"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_of_the_path_is_named_where_the_mount_tells() {
        let mount = |path: &str, kind: &str, versioned| Mount {
            path: path.to_owned(),
            kind: kind.to_owned(),
            versioned,
        };
        let (v2, v1, pki) = (
            mount("team/kv/", "kv", true),
            mount("old/", "kv", false),
            mount("pki/", "pki", false),
        );
        for (path, mount, kind, text) in [
            ("team/kv/web", Some(&v2), Kind::Denied, Some("team/kv/data/web")),
            ("team/kv/web", Some(&v2), Kind::NotFound, Some("team/kv/data/web")),
            ("team/kv/data/web", Some(&v2), Kind::NotFound, Some("no such secret")),
            ("team/kv/data/web", Some(&v2), Kind::Denied, Some("add `read`")),
            ("old/data/web", Some(&v1), Kind::NotFound, Some("written old/web")),
            ("old/data/web", Some(&v1), Kind::Denied, Some("written old/web")),
            ("old/web", Some(&v1), Kind::NotFound, Some("no such secret")),
            ("pki/cert/x", Some(&pki), Kind::NotFound, Some("engine pki")),
            ("secret/foo/bar", None, Kind::Denied, Some("secret/data/foo/bar")),
            ("secret/data/foo", None, Kind::Denied, None),
            ("secret/foo", None, Kind::NotFound, None),
            // Another mount than the path's: a server that lies.
            ("kv/x", Some(&v2), Kind::Denied, None),
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
