//! What the shape of a path reveals of the secrets engine behind it: whether there can be versions, and whether the answer is
//! JSON. Only the server knows the engine: where another engine could give a good answer, the pod gets a warning, not a denial.

use std::collections::BTreeSet;
use std::num::NonZeroU64;

use crate::inject::problem::{Problems, quoted};
use crate::inject::request::InjectionRequest;
use crate::inject::request::files::FileRequest;
use crate::inject::words::keys::{ENV, JOB_ENV};
use crate::plan::ApiPath;

/// A path that the pod asks for.
struct RequestedPath<'r> {
    path: &'r ApiPath,
    version: Option<NonZeroU64>,
    origin: PathOrigin<'r>,
}

/// What asks for a path.
enum PathOrigin<'r> {
    File {
        file: &'r FileRequest,
        /// Not written with data.
        is_read: bool,
    },
    /// The annotation with this key.
    Annotation(&'static str),
}

impl RequestedPath<'_> {
    /// `podkey.dev/files[0].secret`, or the annotation's key.
    fn place(&self, field: &str) -> String {
        match self.origin {
            PathOrigin::File { file, .. } => file.place_of(file.field(field)),
            PathOrigin::Annotation(key) => key.to_owned(),
        }
    }

    /// The place in a warning, which has to be short.
    fn short(&self) -> String {
        match self.origin {
            PathOrigin::File { file, .. } => file.short(),
            PathOrigin::Annotation(key) => format!("a path in {key}"),
        }
    }

    /// Whether the path is read. A path with `data` is written.
    fn is_read(&self) -> bool {
        match self.origin {
            PathOrigin::File { is_read, .. } => is_read,
            PathOrigin::Annotation(_) => true,
        }
    }
}

/// Reports each path that cannot be read as the pod asks for it, and warns of paths that probably cannot.
pub(crate) fn check(request: &InjectionRequest, problems: &mut Problems, warnings: &mut Vec<String>) {
    let paths = requested_paths(request);
    // For these the agent asks the server which paths are of KV version 2.
    let looks_up = request.vault_k8s.is_some();
    if !looks_up {
        paths.iter().for_each(|path| check_version(path, problems));
    }
    for path in paths.iter().filter(|path| path.is_read()) {
        check_raw(path, problems, warnings);
    }
    if !looks_up {
        warnings.extend(without_data(&paths));
    }
}

/// Only KV version 2 has versions.
fn check_version(requested: &RequestedPath<'_>, problems: &mut Problems) {
    let Some(version) = requested.version.filter(|_| kv2_mount(requested.path).is_none()) else {
        return;
    };
    problems.push(
        requested.place("version"),
        format!(
            "asks for version {version} of {}, which has no versions: only paths of KV version 2 have, which contain \
             /data/{}. Write that path, or remove the version",
            quoted(requested.path.as_str()),
            with_data(requested.path),
        ),
    );
}

/// The agent reads answers in JSON only.
fn check_raw(requested: &RequestedPath<'_>, problems: &mut Problems, warnings: &mut Vec<String>) {
    let Some(raw) = RawEndpoint::of(requested.path) else {
        return;
    };
    if raw.is_certain {
        problems.push(
            requested.place("secret"),
            format!(
                "{} is answered with {} and not with JSON: read {} and its key {} instead",
                quoted(requested.path.as_str()),
                raw.form,
                quoted(&raw.instead),
                raw.key
            ),
        );
    } else {
        warnings.push(format!(
            "podkey: {} is not JSON if its mount is a PKI engine: read .../{} key {} then",
            requested.short(),
            raw.instead_below_mount(),
            raw.key
        ));
    }
}

fn requested_paths(request: &InjectionRequest) -> Vec<RequestedPath<'_>> {
    let files = request.files.iter().flat_map(|file| {
        file.requests().map(move |request| RequestedPath {
            path: request.secret,
            version: request.version,
            origin: PathOrigin::File {
                file,
                is_read: request.data.is_none(),
            },
        })
    });
    let env = request.env.iter().map(|env| RequestedPath {
        path: &env.secret,
        version: env.version,
        origin: PathOrigin::Annotation(ENV),
    });
    let job_env = request.job_env.iter().map(|env| RequestedPath {
        path: env.secret.as_path(),
        version: env.version,
        origin: PathOrigin::Annotation(JOB_ENV),
    });
    files.chain(env).chain(job_env).collect()
}

/// The mount of a path that has the form of KV version 2: `kv` of `kv/data/web`.
fn kv2_mount(path: &ApiPath) -> Option<&str> {
    path.as_str().split_once("/data/").map(|(mount, _)| mount)
}

/// `, such as "secret/data/web"`, for a path that lacks `/data/`.
fn with_data(path: &ApiPath) -> String {
    path.as_str().split_once('/').map_or_else(String::new, |(mount, rest)| {
        format!(", such as {}", quoted(&format!("{mount}/data/{rest}")))
    })
}

/// A warning of a path without `/data/` on a mount that another entry reads as KV version 2. (On KV version 1 `data` may be the
/// first segment of a secret's name.)
fn without_data(paths: &[RequestedPath<'_>]) -> Option<String> {
    /// The other endpoints of a KV version 2 engine.
    const OTHERS: [&str; 7] = [
        "config",
        "delete",
        "destroy",
        "detailed-metadata",
        "metadata",
        "subkeys",
        "undelete",
    ];
    let mounts: BTreeSet<_> = paths.iter().filter_map(|requested| kv2_mount(requested.path)).collect();
    let lacks = paths.iter().find(|requested| {
        let path = requested.path.as_str();
        let mut ends = path.match_indices('/').map(|(end, _)| end);
        kv2_mount(requested.path).is_none()
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

/// An endpoint that answers with a certificate or a key instead of JSON. Tried with OpenBao 2.7.2; `unified-crl` exists in Vault
/// Enterprise only. <https://openbao.org/api-docs/secret/pki/>
struct RawEndpoint {
    /// What the answer is: `PEM`, `DER` or `the key`.
    form: &'static str,
    /// The endpoint that answers with JSON.
    instead: String,
    /// The length of the mount in `instead`, with its slash.
    mount_bytes: usize,
    /// The field of the JSON that holds the certificate or key.
    key: &'static str,
    /// No other engine has such a path, or the mount is named after the engine.
    is_certain: bool,
}

impl RawEndpoint {
    fn of(path: &ApiPath) -> Option<Self> {
        const PEM: &str = "PEM";
        const DER: &str = "DER";
        // A secret of the KV engine may have any name.
        if kv2_mount(path).is_some() {
            return None;
        }
        let segments: Vec<&str> = path.segments().collect();
        let (mount, below): (&[&str], String) = match segments.as_slice() {
            // These answer with JSON.
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
        // Many secrets have the name public_key.
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
    fn for_an_endpoint_that_does_not_answer_with_json_the_endpoint_that_does_is_named() {
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
            let raw = RawEndpoint::of(&path.parse().unwrap()).expect(path);
            let perhaps = if raw.is_certain { "" } else { "perhaps " };
            assert_eq!(
                format!("{perhaps}{} {} {}", raw.form, raw.instead, raw.key),
                expected,
                "{path}"
            );
            assert!(RawEndpoint::of(&raw.instead.parse().unwrap()).is_none(), "{path}");
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
            assert!(RawEndpoint::of(&path.parse().unwrap()).is_none(), "{path}");
        }
    }
}
