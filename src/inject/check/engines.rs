//! What the shape of a path tells of the secrets engine behind it: whether there can be versions, and whether the answer is
//! JSON at all. Only the server knows the engine, so what another engine could answer is a warning, not a problem.

use std::collections::BTreeSet;
use std::num::NonZeroU64;

use crate::inject::problem::{Problems, quoted};
use crate::inject::request::InjectionRequest;
use crate::inject::request::files::{FileRequest, Source};
use crate::inject::request::keys::{ENV, JOB_ENV};
use crate::plan::ApiPath;

/// A path that the pod asks for.
struct Asked<'r> {
    path: &'r ApiPath,
    version: Option<NonZeroU64>,
    file: Option<&'r FileRequest>,
    /// The annotation, where it is no file's.
    key: &'static str,
}

impl Asked<'_> {
    /// `podkey.dev/files[0].secret`, or the annotation's key.
    fn place(&self, field: &str) -> String {
        match self.file {
            Some(file) => format!("{}.{field}", file.place()),
            None => self.key.to_owned(),
        }
    }

    /// The same for a warning, which is short.
    fn short(&self) -> String {
        match self.file {
            Some(file) => format!("files[{}]", file.index),
            None => format!("a path in {}", self.key),
        }
    }
}

/// Tells of each path that cannot be read as it is asked for, and warns of those that probably cannot.
pub(crate) fn check(request: &InjectionRequest, problems: &mut Problems, warnings: &mut Vec<String>) {
    let asked = asked(request);
    for asked in &asked {
        if let Some(version) = asked.version
            && kv2_mount(asked.path).is_none()
        {
            problems.push(
                asked.place("version"),
                format!(
                    "asks for version {version} of {}, which has no versions: only paths of KV version 2 have, which contain \
                     /data/{}. Write that path, or remove the version",
                    quoted(asked.path.as_str()),
                    with_data(asked.path),
                ),
            );
        }
    }
    let is_read = |asked: &&Asked<'_>| asked.file.is_none_or(|file| file.data.is_none());
    for asked in asked.iter().filter(is_read) {
        let Some(raw) = Raw::of(asked.path) else { continue };
        if raw.is_certain {
            problems.push(
                asked.place("secret"),
                format!(
                    "{} is answered with {} and not with JSON: read {} and its key {} instead",
                    quoted(asked.path.as_str()),
                    raw.form,
                    quoted(&raw.instead),
                    raw.key
                ),
            );
        } else {
            warnings.push(format!(
                "podkey: {} is no JSON if its mount is a PKI engine: read .../{} key {} then",
                asked.short(),
                raw.instead_below_mount(),
                raw.key
            ));
        }
    }
    warnings.extend(without_data(&asked));
}

fn asked(request: &InjectionRequest) -> Vec<Asked<'_>> {
    let files = request.files.iter().map(|file| Asked {
        path: match &file.secret {
            Source::Init(path) => path,
            Source::Job(path) => path.as_path(),
        },
        version: file.version,
        file: Some(file),
        key: ENV,
    });
    let env = request.env.iter().map(|env| Asked {
        path: &env.secret,
        version: env.version,
        file: None,
        key: ENV,
    });
    let job_env = request.job_env.iter().map(|env| Asked {
        path: env.secret.as_path(),
        version: env.version,
        file: None,
        key: JOB_ENV,
    });
    files.chain(env).chain(job_env).collect()
}

/// The mount of a path that is written as KV version 2 wants: `kv` of `kv/data/web`.
fn kv2_mount(path: &ApiPath) -> Option<&str> {
    path.as_str().split_once("/data/").map(|(mount, _)| mount)
}

/// `, such as "secret/data/web"`, for a path that lacks `/data/`.
fn with_data(path: &ApiPath) -> String {
    path.as_str().split_once('/').map_or_else(String::new, |(mount, rest)| {
        format!(", such as {}", quoted(&format!("{mount}/data/{rest}")))
    })
}

/// A path without `/data/` on a mount that another entry reads as KV version 2. (On KV version 1 `data` may be the first word
/// of a secret's name.)
fn without_data(asked: &[Asked<'_>]) -> Option<String> {
    /// What a KV version 2 engine has besides.
    const OTHERS: [&str; 7] = [
        "config",
        "delete",
        "destroy",
        "detailed-metadata",
        "metadata",
        "subkeys",
        "undelete",
    ];
    let mounts: BTreeSet<_> = asked.iter().filter_map(|asked| kv2_mount(asked.path)).collect();
    let lacks = asked.iter().find(|asked| {
        let path = asked.path.as_str();
        let mut ends = path.match_indices('/').map(|(end, _)| end);
        kv2_mount(asked.path).is_none()
            && ends.any(|end| {
                let next = path[end + 1..].split('/').next().unwrap_or_default();
                mounts.contains(&path[..end]) && !OTHERS.contains(&next)
            })
    })?;
    Some(format!(
        "podkey: {} lacks /data/, but another entry uses its mount as KV version 2: add /data/ after the mount",
        lacks.short()
    ))
}

/// An endpoint that answers with a certificate or a key itself, and the one that answers with the same as JSON. Tried with
/// OpenBao 2.7.2; `unified-crl` is Vault Enterprise's. <https://openbao.org/api-docs/secret/pki/>
struct Raw {
    form: &'static str,
    instead: String,
    mount_bytes: usize,
    key: &'static str,
    /// Another engine has no such path, or the mount is named after the engine.
    is_certain: bool,
}

impl Raw {
    fn of(path: &ApiPath) -> Option<Self> {
        const PEM: &str = "PEM";
        const DER: &str = "DER";
        // A secret of the KV engine may be called anything.
        if kv2_mount(path).is_some() {
            return None;
        }
        let segments: Vec<&str> = path.segments().collect();
        let (mount, below): (&[&str], String) = match segments.as_slice() {
            // JSON.
            [.., "config", "ca"] | [.., "cert", _] | [.., "issuer", _, "crl"] | [.., "issuer", _, "crl", "delta"] => {
                return None;
            }
            [mount @ .., "cert", serial, "raw"] | [mount @ .., "cert", serial, "raw", "pem"] => {
                (mount, format!("cert/{serial}"))
            }
            [mount @ .., "issuer", issuer, "pem" | "der"] => (mount, format!("issuer/{issuer}/json")),
            [mount @ .., "issuer", issuer, "crl", "pem" | "der"] => (mount, format!("issuer/{issuer}/crl")),
            [mount @ .., "issuer", issuer, "crl", "delta", "pem" | "der"] => {
                (mount, format!("issuer/{issuer}/crl/delta"))
            }
            [mount @ .., crl @ ("crl" | "unified-crl"), "delta"]
            | [mount @ .., crl @ ("crl" | "unified-crl"), "delta", "pem"] => {
                (mount, format!("cert/{}", crl.replace("crl", "delta-crl")))
            }
            [mount @ .., crl @ ("crl" | "unified-crl")] | [mount @ .., crl @ ("crl" | "unified-crl"), "pem"] => {
                (mount, format!("cert/{crl}"))
            }
            [mount @ .., "ca"] | [mount @ .., "ca", "pem"] => (mount, "cert/ca".to_owned()),
            [mount @ .., "ca_chain"] => (mount, "cert/ca_chain".to_owned()),
            [mount @ .., "public_key"] => (mount, "config/ca".to_owned()),
            _ => return None,
        };
        let (last, mount) = (segments.last().copied().unwrap_or_default(), mount.join("/"));
        let is_ssh = last == "public_key";
        let is_named = mount.to_ascii_lowercase().contains(if is_ssh { "ssh" } else { "pki" });
        // Many secrets are called public_key.
        if mount.is_empty() || is_ssh && !is_named {
            return None;
        }
        Some(Self {
            form: match last {
                "pem" | "ca_chain" => PEM,
                "public_key" => "the key",
                _ => DER,
            },
            key: match below.as_str() {
                "config/ca" => "public_key",
                below if below.starts_with("issuer/") && below.contains("/crl") => "crl",
                _ => "certificate",
            },
            is_certain: is_named
                || below.starts_with("issuer/")
                || last == "raw"
                || segments.ends_with(&["raw", "pem"]),
            instead: format!("{mount}/{below}"),
            mount_bytes: mount.len() + 1,
        })
    }

    fn instead_below_mount(&self) -> &str {
        &self.instead[self.mount_bytes..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_that_answers_without_json_is_told_with_the_one_that_does() {
        for (path, expected) in [
            ("pki/ca", "DER pki/cert/ca certificate"),
            ("pki/ca/pem", "PEM pki/cert/ca certificate"),
            ("team/pki_int/ca_chain", "PEM team/pki_int/cert/ca_chain certificate"),
            ("pki/crl", "DER pki/cert/crl certificate"),
            ("pki/crl/pem", "PEM pki/cert/crl certificate"),
            ("pki/crl/delta", "DER pki/cert/delta-crl certificate"),
            ("pki/crl/delta/pem", "PEM pki/cert/delta-crl certificate"),
            ("pki/unified-crl/pem", "PEM pki/cert/unified-crl certificate"),
            ("pki/unified-crl/delta", "DER pki/cert/unified-delta-crl certificate"),
            ("x/cert/ca/raw", "DER x/cert/ca certificate"),
            ("x/cert/39-dd-2e/raw/pem", "PEM x/cert/39-dd-2e certificate"),
            ("x/issuer/default/pem", "PEM x/issuer/default/json certificate"),
            ("x/issuer/default/der", "DER x/issuer/default/json certificate"),
            ("x/issuer/default/crl/pem", "PEM x/issuer/default/crl crl"),
            ("x/issuer/default/crl/delta/der", "DER x/issuer/default/crl/delta crl"),
            ("ssh-client/public_key", "the key ssh-client/config/ca public_key"),
            ("corp/ca/pem", "perhaps PEM corp/cert/ca certificate"),
            ("secret/ca", "perhaps DER secret/cert/ca certificate"),
        ] {
            let raw = Raw::of(&path.parse().unwrap()).expect(path);
            let perhaps = if raw.is_certain { "" } else { "perhaps " };
            assert_eq!(
                format!("{perhaps}{} {} {}", raw.form, raw.instead, raw.key),
                expected,
                "{path}"
            );
            assert!(Raw::of(&raw.instead.parse().unwrap()).is_none(), "{path}");
        }
        for path in [
            "pki/cert/ca",
            "pki/cert/crl",
            "pki/cert/ca_chain",
            "pki/issuer/default",
            "pki/issuer/default/json",
            "pki/issuer/default/crl",
            "pki/issue/web",
            "kv/data/ca",
            "kv/data/pki/ca/pem",
            "ca",
            "secret/public_key",
            "ssh/config/ca",
        ] {
            assert!(Raw::of(&path.parse().unwrap()).is_none(), "{path}");
        }
    }
}
