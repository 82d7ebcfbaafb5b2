//! The operator's connection that a pod uses, and how `podkey-init` logs in.

use crate::inject::config::{Config, ConnectionConfig, DEFAULT_CONNECTION, is_name_of_connection};
use crate::inject::problem::{Problems, did_you_mean, quoted};
use crate::inject::request::vault_k8s::asked::VaultK8sRequest;
use crate::inject::request::{InjectionRequest, Requested};
use crate::inject::words::keys::{CONNECTION, ROLE};
use crate::plan::Login;

/// The most connections that a message lists.
const MAX_LISTED: usize = 8;

/// The connection that the request names. None: there is no such connection, which is reported.
pub(super) fn choose<'c>(
    request: &InjectionRequest,
    config: &'c Config,
    problems: &mut Problems,
) -> Option<&'c ConnectionConfig> {
    if let Some(theirs) = &request.vault_k8s {
        return choose_for(theirs, config, problems);
    }
    let name = request.connection.as_deref().unwrap_or(DEFAULT_CONNECTION);
    let connection = config.connections.get(name);
    if connection.is_none() {
        let known = known_connections(name, config);
        match request.connection {
            // An operator cannot define a connection without a name.
            Some(_) if name.is_empty() => problems.push(CONNECTION, format!("is empty{known}")),
            Some(_) if !is_name_of_connection(name) => {
                problems.push(
                    CONNECTION,
                    format!("{} is no name of a connection{known}", quoted(name)),
                );
            }
            Some(_) => problems.push_for_operator(
                CONNECTION,
                format!("{} is not a connection of the operator's{known}", quoted(name)),
            ),
            None => problems.push_for_operator(
                CONNECTION,
                format!("is missing, and the operator has no connection named {DEFAULT_CONNECTION:?}{known}"),
            ),
        }
    }
    connection
}

/// The connection with the server and the namespace that the annotations of vault-k8s name; where they name none, the operator's
/// connection for such pods, or another one of the same server.
fn choose_for<'c>(
    theirs: &VaultK8sRequest,
    config: &'c Config,
    problems: &mut Problems,
) -> Option<&'c ConnectionConfig> {
    let usual = &config.vault_k8s.as_ref()?.connection;
    let usual = config.connections.get(usual);
    let address = theirs
        .service
        .as_ref()
        .or_else(|| usual.map(|usual| &usual.server.address))?;
    let is_there = |connection: &&ConnectionConfig| connection.server.address == *address;
    let is_in_namespace = |connection: &&ConnectionConfig| match &theirs.namespace {
        None => true,
        namespace => connection.server.namespace == *namespace,
    };
    let all = usual.into_iter().chain(config.connections.values());
    let of_server: Vec<_> = all.filter(is_there).collect();
    let found = of_server.iter().copied().find(is_in_namespace);
    let (key, what) = match (&found, &theirs.namespace, &theirs.service) {
        (Some(connection), ..) => {
            let other = theirs.method.filter(|method| *method != connection.method);
            let Some(method) = other else { return found };
            (
                "auth-type",
                format!(
                    "{} is not how the operator's connection logs in",
                    quoted(&method.to_string())
                ),
            )
        }
        (None, Some(namespace), _) if !of_server.is_empty() => (
            "namespace",
            format!(
                "{} is in no connection of the operator's to this server",
                quoted(namespace.as_str())
            ),
        ),
        _ => (
            "service",
            format!(
                "{} is the address of no connection of the operator's",
                quoted(&address.to_string())
            ),
        ),
    };
    problems.push_for_operator(
        theirs.family.key(key),
        format!("{what}: ask the operator, or remove it"),
    );
    None
}

/// The name that is nearest to the `written` one, or else a list of all names: pods' authors choose from these names, so they are
/// not secret. Empty: nobody knows the operator's connections.
fn known_connections(written: &str, config: &Config) -> String {
    if config.connections.is_empty() {
        return String::new();
    }
    let names = config.connections.keys().map(String::as_str);
    let nearest = did_you_mean(written, names.clone());
    if !nearest.is_empty() {
        return nearest;
    }
    let more = match names.len().saturating_sub(MAX_LISTED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let names: Vec<_> = names.take(MAX_LISTED).map(quoted).collect();
    format!(": write one of {}{more}", names.join(", "))
}

/// Neither the request nor the connection has a role.
pub(super) struct NoRole;

/// How `podkey-init` logs in. None: the job reads every secret, so `podkey-init` does not log in. The error is reported.
pub(super) fn login(
    request: &InjectionRequest,
    connection: &ConnectionConfig,
    problems: &mut Problems,
) -> Result<Option<Login>, NoRole> {
    if request.only_job_reads() {
        return Ok(None);
    }
    let role = match (&request.role, &connection.role) {
        (Requested::Given(role), _) | (Requested::Absent | Requested::Invalid, Some(role)) => role,
        (Requested::Invalid, None) => return Err(NoRole),
        (Requested::Absent, None) => {
            problems.push(ROLE, "is missing, and the connection has no role of its own");
            return Err(NoRole);
        }
    };
    Ok(Some(Login {
        method: connection.method,
        mount: request.auth_mount.clone().unwrap_or_else(|| connection.mount.clone()),
        role: role.clone(),
        inline: connection.inline,
    }))
}
