//! Whether the secrets of the plan are there, with their fields, and the roles of the engines that make credentials. No value is read:
//! KV v2 shows the names of fields alone (`subkeys`), KV v1 the names of secrets (`LIST`).

use std::collections::BTreeMap;

use serde_json::Value;

use super::examination::Examination;
use super::glob::glob;
use super::paths::{CHECK, Located, Mount};
use super::wanted::Wanted;
use super::wire::{Answer, Caller, shown, texts};
use crate::cli::doctor::finding::Findings;
use crate::plan;
use crate::text::nearest;

/// What a command with `@` needs.
const FROM_FILES: &str = ". A value after @ is the content of a file: write the files first";

/// Whether each secret is there, with the fields that the plan names.
pub(super) async fn check(examination: &Examination<'_>, located: &[Located], findings: &mut Findings) {
    let Some(user) = &examination.user else { return };
    for Located { wanted, mount } in located {
        let Some(rest) = wanted.path.strip_prefix(&mount.path).filter(|_| !mount.path.is_empty()) else {
            continue;
        };
        match (mount.engine.as_str(), mount.is_v2, wanted.written.is_some()) {
            ("kv" | "generic", true, false) => {
                if let Some(name) = rest.strip_prefix("data/") {
                    check_v2(examination, user, wanted, mount, name, findings).await;
                }
            }
            ("kv" | "generic", false, false) => check_v1(examination, user, wanted, mount, rest, findings).await,
            ("pki" | "database", ..) => check_role(examination, user, wanted, mount, rest, findings).await,
            _ => {}
        }
    }
}

async fn check_v2(
    examination: &Examination<'_>,
    user: &Caller<'_>,
    wanted: &Wanted,
    mount: &Mount,
    name: &str,
    findings: &mut Findings,
) {
    let (at, path) = (&mount.path, &wanted.path);
    let answer = user.read_version(&format!("{at}subkeys/{name}"), wanted.version).await;
    let Ok(answer) = answer else {
        findings.unseen(CHECK, format!("whether {path} exists: no answer"), None);
        return;
    };
    match answer.status {
        200 => {
            let subkeys = &answer.data()["subkeys"];
            check_fields(
                examination,
                wanted,
                subkeys,
                &[mount_flag(mount), name.to_owned()],
                findings,
            );
        }
        404 if examination.plan.ignore_not_found => {
            findings.ok(
                CHECK,
                format!("{path} does not exist, which the pod ignores (ignore-not-found)"),
            );
        }
        404 => absent_v2(examination, user, wanted, mount, name, &answer, findings).await,
        _ => {
            let message = format!("whether {path} exists: a policy of your token lacks `read` on {at}subkeys/{name}");
            findings.unseen(CHECK, message, None);
        }
    }
}

/// Tells that a KV v2 secret, or the version that the pod takes, is not there: never written, deleted or destroyed.
async fn absent_v2(
    examination: &Examination<'_>,
    user: &Caller<'_>,
    wanted: &Wanted,
    mount: &Mount,
    name: &str,
    answer: &Answer,
    findings: &mut Findings,
) {
    let (at, path) = (&mount.path, &wanted.path);
    let version = wanted.version.map_or_else(String::new, |version| format!(" {version}"));
    let directory = name
        .rsplit_once('/')
        .map_or(String::new(), |(directory, _)| format!("{directory}/"));
    let names = user
        .list(&format!("{at}metadata/{directory}"))
        .await
        .unwrap_or_default();
    let near = near_secret(name, &directory, &names);
    let is_listed = names.iter().any(|listed| format!("{directory}{listed}") == name);
    let mount = mount_flag(mount);
    // The server says of a deleted version which one it is.
    let deleted = answer.data().pointer("/metadata/version").and_then(Value::as_u64);
    let put = |last: u64| {
        // If somebody writes a newer version first, the server refuses this write.
        let arguments = vec![format!("-cas={last}"), mount.clone(), name.to_owned()];
        examination.server.line("kv put", put(wanted, arguments))
    };
    let (message, command) = match (deleted, is_listed) {
        (Some(_), _) | (_, true) if wanted.version.is_some() => (
            format!("the secret {path} has no readable version{version}"),
            examination
                .server
                .line("kv metadata get", [mount.clone(), name.to_owned()]),
        ),
        (Some(last), _) => (
            format!("the newest version of the secret {path} is deleted or destroyed{FROM_FILES}"),
            put(last),
        ),
        (None, true) => (
            format!("the newest version of the secret {path} is deleted or destroyed"),
            examination
                .server
                .line("kv metadata get", [mount.clone(), name.to_owned()]),
        ),
        (None, false) => (format!("the secret {path} does not exist{near}{FROM_FILES}"), put(0)),
    };
    findings.fault(CHECK, message, Some(command));
}

/// The flag by which the command line of the server names a mount.
fn mount_flag(mount: &Mount) -> String {
    format!("-mount={}", mount.path.trim_end_matches('/'))
}

fn near_secret(name: &str, directory: &str, names: &[String]) -> String {
    let last = name.strip_prefix(directory).unwrap_or(name);
    let near = nearest(last, names.iter().map(String::as_str));
    near.map_or_else(String::new, |near| {
        format!("; the nearest is {}", shown(&format!("{directory}{near}")))
    })
}

/// The arguments of `kv put`. Each value comes from a file, which the operator must make first: without the file nothing is written.
fn put(wanted: &Wanted, mut arguments: Vec<String>) -> Vec<String> {
    match wanted.fields.is_empty() {
        true => arguments.push("@secret.json".to_owned()),
        false => arguments.extend(wanted.fields.iter().map(|field| from_file(field))),
    }
    arguments
}

/// A field whose value is in the file of the field's name.
fn from_file(field: &str) -> String {
    let file: String = field
        .chars()
        .map(|c| if matches!(c, '/' | '\\') { '_' } else { c })
        .collect();
    format!("{field}=@{file}")
}

fn check_fields(
    examination: &Examination<'_>,
    wanted: &Wanted,
    subkeys: &Value,
    arguments: &[String],
    findings: &mut Findings,
) {
    let path = &wanted.path;
    let Some(subkeys) = subkeys.as_object() else { return };
    let missing: Vec<&String> = wanted
        .fields
        .iter()
        .filter(|field| !subkeys.contains_key(*field))
        .collect();
    if missing.is_empty() {
        findings.ok(
            CHECK,
            format!("the secret {path} exists, with the fields that the pod takes"),
        );
        return;
    }
    let near = nearest(missing[0], subkeys.keys().map(String::as_str));
    let near = near.map_or_else(String::new, |near| format!("; the nearest is {}", shown(near)));
    let names: Vec<&str> = missing.iter().map(|name| name.as_str()).collect();
    let message = format!("the secret {path} has no field {}{near}{FROM_FILES}", names.join(", "));
    let fields = missing.iter().map(|field| from_file(field));
    let patch = examination
        .server
        .line("kv patch", arguments.iter().cloned().chain(fields));
    findings.fault(CHECK, message, Some(patch));
}

async fn check_v1(
    examination: &Examination<'_>,
    user: &Caller<'_>,
    wanted: &Wanted,
    mount: &Mount,
    name: &str,
    findings: &mut Findings,
) {
    let (at, path) = (&mount.path, &wanted.path);
    let (directory, last) = match name.rsplit_once('/') {
        Some((directory, last)) => (format!("{directory}/"), last),
        None => (String::new(), name),
    };
    match user.names(&format!("{at}{directory}")).await {
        Some(names) if names.iter().any(|name| name == last) => {
            findings.ok(CHECK, format!("the secret {path} exists"));
        }
        Some(_) if examination.plan.ignore_not_found => {}
        Some(names) => {
            let near = near_secret(name, &directory, &names);
            let put = put(wanted, vec![mount_flag(mount), name.to_owned()]);
            let command = examination.server.line("kv put", put);
            findings.fault(
                CHECK,
                format!("the secret {path} does not exist{near}{FROM_FILES}"),
                Some(command),
            );
        }
        None => {
            let message = format!("whether {path} exists: a policy of your token lacks `list` on {at}{directory}");
            findings.unseen(CHECK, message, None);
        }
    }
}

/// The role of an engine that makes credentials.
async fn check_role(
    examination: &Examination<'_>,
    user: &Caller<'_>,
    wanted: &Wanted,
    mount: &Mount,
    rest: &str,
    findings: &mut Findings,
) {
    let mut segments = rest.split('/');
    let (Some(endpoint), Some(name), None) = (segments.next(), segments.next(), segments.next()) else {
        return;
    };
    let kind = match (mount.engine.as_str(), endpoint) {
        ("pki", "issue" | "sign") | ("database", "creds") => "roles",
        ("database", "static-creds") => "static-roles",
        _ => return,
    };
    let role = format!("{}{kind}/{name}", mount.path);
    let Ok(answer) = user.read(&role).await else { return };
    match answer.status {
        200 => {
            let why = common_name(wanted).and_then(|name| refuses(answer.data(), &name));
            match why.filter(|_| mount.engine == "pki") {
                // A write replaces the whole role.
                Some(why) => findings.fault(
                    CHECK,
                    format!("{role} gives {} no certificate: {why}", wanted.path),
                    Some(examination.server.line("read", [role.clone()])),
                ),
                None => findings.ok(CHECK, format!("{role} exists, for {}", wanted.path)),
            }
        }
        404 => {
            let names = user.list(&format!("{}{kind}", mount.path)).await.unwrap_or_default();
            let near = nearest(name, names.iter().map(String::as_str));
            let near = near.map_or_else(String::new, |near| format!("; the nearest is {}", shown(near)));
            let message = format!("{role} does not exist, so {} has no answer{near}", wanted.path);
            let command = match mount.engine.as_str() {
                "pki" => certificate_role(wanted).map(|fields| examination.server.write(&role, fields)),
                _ => Some(examination.server.line("list", [format!("{}{kind}", mount.path)])),
            };
            findings.fault(CHECK, message, command);
        }
        _ => findings.unseen(
            CHECK,
            format!("whether {role} exists: a policy of your token lacks `read` there"),
            None,
        ),
    }
}

/// The name that the pod asks a certificate for.
fn common_name(wanted: &Wanted) -> Option<String> {
    let data: BTreeMap<String, plan::Value> = wanted.written.clone()?.into();
    match data.get("common_name") {
        Some(plan::Value::Text(name)) => Some(name.clone()),
        _ => None,
    }
}

/// The fields of a new role of the PKI engine, for the name that the pod asks for. None: the pod names none.
fn certificate_role(wanted: &Wanted) -> Option<Vec<String>> {
    Some(vec![
        format!("allowed_domains={}", common_name(wanted)?),
        "allow_bare_domains=true".to_owned(),
        "max_ttl=72h".to_owned(),
    ])
}

/// Why a role of the PKI engine refuses the name, as `validateNames` does:
/// <https://github.com/openbao/openbao/blob/main/builtin/logical/pki/cert_util.go>. None: it does not, or only the server can tell.
fn refuses(role: &Value, name: &str) -> Option<String> {
    let is = |field: &str| role[field] == Value::Bool(true);
    let name = name.to_lowercase();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    let is_host = !name.is_empty() && name.chars().all(is_plain);
    let is_unchecked = texts(&role["cn_validations"]).iter().any(|check| check == "disabled");
    let domains = texts(&role["allowed_domains"]);
    let is_open = is("allow_any_name") || is("allowed_domains_template") || is("allow_token_displayname");
    if !is_host || is_unchecked || is_open || !role["allowed_domains"].is_array() {
        return None;
    }
    let is_local = name == "localhost" || name == "localdomain";
    let fits = |domain: &String| {
        let domain = domain.to_lowercase();
        is("allow_bare_domains") && name == domain
            || is("allow_subdomains") && name.ends_with(&format!(".{domain}"))
            || is("allow_glob_domains") && glob(&domain, &name)
            // A pattern may match more on the server than here.
            || is("allow_glob_domains") && domain.contains('*')
    };
    if domains.iter().any(fits) || is("allow_localhost") && (is_local || name.ends_with(".localhost")) {
        return None;
    }
    let listed = match domains.is_empty() {
        true => "none".to_owned(),
        false => shown(&domains.join(", ")),
    };
    Some(format!(
        "it does not take the name {name} (allowed_domains: {listed}; allow_bare_domains, allow_subdomains and allow_glob_domains say how they count)"
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_name_that_a_certificate_role_does_not_take() {
        for (role, refused) in [
            (json!({"allow_any_name": true, "allowed_domains": []}), false),
            (json!({"allowed_domains": ["web.test"]}), true),
            (
                json!({"allowed_domains": ["web.test"], "allow_bare_domains": true}),
                false,
            ),
            (json!({"allowed_domains": ["Test"], "allow_subdomains": true}), false),
            (json!({"allowed_domains": ["est"], "allow_subdomains": true}), true),
            (
                json!({"allowed_domains": ["*.test"], "allow_glob_domains": true}),
                false,
            ),
            (
                json!({"allowed_domains": ["x.test"], "allow_bare_domains": true, "allow_subdomains": true}),
                true,
            ),
            (
                json!({"allowed_domains": ["{{identity}}"], "allowed_domains_template": true}),
                false,
            ),
            (json!({"allowed_domains": [], "cn_validations": ["disabled"]}), false),
            (json!({}), false),
        ] {
            assert_eq!(refuses(&role, "web.test").is_some(), refused, "{role}");
        }
    }
}
