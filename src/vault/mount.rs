//! The mount of a path, as the server describes it, and the path that reads a secret of KV v2 where its author left `data` out. The
//! decisions are consul-template's: <https://github.com/hashicorp/consul-template/blob/main/dependency/vault_common.go> (`isKVv2`)
//! and `vault_read.go` (`shimKVv2Path`).

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::plan::ApiPath;

/// An engine that is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EngineMount {
    /// The mount path, with a slash at its end.
    pub(super) path: String,
    /// The engine, such as `kv`.
    pub(super) engine: String,
    /// It is a KV engine of version 2.
    pub(super) versioned: bool,
}

impl EngineMount {
    /// From the data of `sys/internal/ui/mounts/<path>`. None: the data is of something else.
    pub(super) fn parse(data: &str) -> Option<Self> {
        #[derive(Deserialize)]
        struct MountData {
            #[serde(default)]
            path: String,
            #[serde(default, rename = "type")]
            engine: String,
            #[serde(default)]
            options: Option<BTreeMap<String, Value>>,
        }
        // serde would take an array for a struct.
        let data = data.trim_start().starts_with('{').then_some(data)?;
        let MountData { path, engine, options } = serde_json::from_str(data).ok()?;
        let version = options.and_then(|mut options| options.remove("version"));
        Some(Self {
            path,
            engine,
            versioned: version.is_some_and(|version| version == "2"),
        })
    }

    /// The mount in the words of the request's namespace.
    pub(super) fn within(&self, path: &ApiPath, namespace: Option<&str>) -> MountOfPath {
        // Vault puts the namespace of the request in front of the mount. OpenBao does not.
        let below_namespace = namespace.and_then(|namespace| self.path.strip_prefix(namespace)?.strip_prefix('/'));
        let mut spellings = below_namespace.into_iter().chain([self.path.as_str()]);
        let prefix = spellings.find_map(|mount| {
            let mount = mount.strip_suffix('/').unwrap_or(mount);
            is_mount_of(mount, path).then(|| mount.to_owned())
        });
        let is_kv_v2 = self.engine == "kv" && self.versioned;
        match prefix {
            Some(prefix) => MountOfPath::Known(KnownMount { prefix, is_kv_v2 }),
            // The path of an auth method begins with `auth/`, and its mount does not.
            None if !is_kv_v2 => MountOfPath::Other,
            None => MountOfPath::Foreign,
        }
    }
}

/// What a described mount is for a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum MountOfPath {
    /// A mount that the path lies in.
    Known(KnownMount),
    /// No mount of a secrets engine: the path is read as written.
    Other,
    /// A mount of KV v2 in which the path does not lie: no answer of a server.
    Foreign,
}

/// A mount of a secrets engine, as the beginning of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KnownMount {
    /// Without a slash at the end.
    prefix: String,
    is_kv_v2: bool,
}

impl KnownMount {
    /// Whether the path lies in this mount. No mount is inside another mount.
    pub(super) fn has(&self, path: &ApiPath) -> bool {
        is_mount_of(&self.prefix, path)
    }

    /// The path that reads the secret.
    pub(super) fn readable(&self, path: &ApiPath) -> ApiPath {
        let inserted = self.is_kv_v2.then(|| path.with_data_behind(self.prefix.len()));
        inserted.flatten().unwrap_or_else(|| path.clone())
    }
}

fn is_mount_of(mount: &str, path: &ApiPath) -> bool {
    let rest = path.as_str().strip_prefix(mount).filter(|_| !mount.is_empty());
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(path: &str, engine: &str, options: &str) -> EngineMount {
        let data = format!(r#"{{"path": "{path}", "type": "{engine}", "options": {options}, "uuid": "x"}}"#);
        EngineMount::parse(&data).unwrap()
    }

    /// The rows of consul-template's tests of `shimKVv2Path`, in our own words, and the answers of a real OpenBao.
    #[test]
    fn a_path_gets_data_behind_its_mount_as_consul_template_puts_it() {
        let v2 = r#"{"version": "2"}"#;
        for (path, at, engine, options, namespace, expected) in [
            ("secret/app", "secret/", "kv", v2, None, "secret/data/app"),
            ("secret/app/deep", "secret/", "kv", v2, None, "secret/data/app/deep"),
            ("secret/data/app", "secret/", "kv", v2, None, "secret/data/app"),
            ("secret/metadata/app", "secret/", "kv", v2, None, "secret/metadata/app"),
            ("secret/subkeys/app", "secret/", "kv", v2, None, "secret/subkeys/app"),
            ("secret/delete/app", "secret/", "kv", v2, None, "secret/data/delete/app"),
            // The secret "data" of the mount.
            ("secret/data", "secret/", "kv", v2, None, "secret/data/data"),
            ("secret/database", "secret/", "kv", v2, None, "secret/data/database"),
            ("secret", "secret/", "kv", v2, None, "secret/data"),
            ("team/kv/app", "team/kv/", "kv", v2, None, "team/kv/data/app"),
            ("team/kv/data/app", "team/kv/", "kv", v2, None, "team/kv/data/app"),
            // Other engines, and other versions.
            ("old/app", "old/", "kv", "null", None, "old/app"),
            ("old/app", "old/", "kv", "{}", None, "old/app"),
            ("old/app", "old/", "kv", r#"{"version": "1"}"#, None, "old/app"),
            ("old/app", "old/", "kv", r#"{"version": ""}"#, None, "old/app"),
            ("old/app", "old/", "kv", r#"{"version": null}"#, None, "old/app"),
            ("old/app", "old/", "kv", r#"{"version": "3"}"#, None, "old/app"),
            ("old/app", "old/", "generic", v2, None, "old/app"),
            ("pki/cert/ca", "pki/", "pki", "null", None, "pki/cert/ca"),
            (
                "auth/token/lookup-self",
                "token/",
                "token",
                "null",
                None,
                "auth/token/lookup-self",
            ),
            // Namespaces: with the namespace in front (Vault), without (OpenBao), and a path that names the namespace itself.
            ("kv/app", "ns1/kv/", "kv", v2, Some("ns1"), "kv/data/app"),
            ("kv/app", "ns1/sub/kv/", "kv", v2, Some("ns1/sub"), "kv/data/app"),
            ("kv/app", "kv/", "kv", v2, Some("ns1"), "kv/data/app"),
            ("deep/kv/app", "deep/kv/", "kv", v2, Some("ns1/sub"), "deep/kv/data/app"),
            ("ns1/kv/app", "ns1/kv/", "kv", v2, None, "ns1/kv/data/app"),
            ("sub/kv/app", "ns1/sub/kv/", "kv", v2, Some("ns1"), "sub/kv/data/app"),
            // A mount with the name of the namespace.
            ("ns1/app", "ns1/", "kv", v2, Some("ns1"), "ns1/data/app"),
            ("team/kv/app", "team/kv/", "kv", v2, Some("team"), "team/kv/data/app"),
        ] {
            let parsed: ApiPath = path.parse().unwrap();
            let readable = match mount(at, engine, options).within(&parsed, namespace) {
                MountOfPath::Known(known) => known.readable(&parsed),
                MountOfPath::Other => parsed.clone(),
                MountOfPath::Foreign => panic!("{path} {at}"),
            };
            assert_eq!(readable.as_str(), expected, "{path} in {at}, namespace {namespace:?}");
            assert!(parsed.forms().contains(&readable), "{path}: {readable} is no form");
        }
    }

    #[test]
    fn a_mount_of_another_path_decides_nothing() {
        let other = |path: &str, at: &str| {
            let path: ApiPath = path.parse().unwrap();
            mount(at, "kv", r#"{"version": "2"}"#).within(&path, Some("ns"))
        };
        for (path, at) in [
            ("kv/app", "other/"),
            ("kv/app", "k/"),
            ("kv/app", "kv/app/deep/"),
            ("kv/app", ""),
            ("kv/app", "/"),
            ("kv/app", "ns/"),
        ] {
            assert_eq!(other(path, at), MountOfPath::Foreign, "{path} {at}");
        }
    }

    #[test]
    fn a_description_without_a_path_or_with_other_types_is_no_kv_v2() {
        for data in ["{}", r#"{"type": "kv"}"#, r#"{"options": {"version": "2"}}"#] {
            let parsed: ApiPath = "kv/app".parse().unwrap();
            let described = EngineMount::parse(data).unwrap();
            assert_eq!(described.within(&parsed, None), MountOfPath::Other, "{data}");
        }
        for data in ["", "[]", r#"{"path": 1}"#, r#"{"options": []}"#] {
            assert_eq!(EngineMount::parse(data), None, "{data}");
        }
    }
}
