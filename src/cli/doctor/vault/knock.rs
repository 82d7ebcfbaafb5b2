//! A first request to a server: whether a connection is possible, and whether Vault or OpenBao answers.

use std::net::SocketAddr;

use rustify::errors::ClientError;
use tokio::time::timeout;
use vaultrs::api::sys::requests::ReadHealthRequest;

use super::tls::Door;
use super::wire::{Answer, Caller, REQUEST, Wire};
use crate::plan::Address;

/// A server that answers.
pub(super) struct Reached {
    pub(super) wire: Wire,
    /// The answer of `sys/health`.
    pub(super) health: Answer,
}

/// Why there is no TCP connection: the beginning of a sentence.
pub(super) enum Unreachable {
    /// A machine with this address refuses.
    Closed(String),
    /// The name or the network may exist only where the pod is.
    NotFromHere(String),
}

/// The first address of the host that accepts a TCP connection.
pub(super) async fn reachable(address: &Address) -> Result<SocketAddr, Unreachable> {
    let (host, port) = (address.host(), address.port());
    let looked_up = timeout(REQUEST, tokio::net::lookup_host((host, port))).await;
    let addresses: Vec<SocketAddr> = match looked_up {
        Ok(Ok(addresses)) => addresses.take(16).collect(),
        _ => Vec::new(),
    };
    if addresses.is_empty() {
        let why = format!("the name {host} of {address} has no address on this machine");
        return Err(Unreachable::NotFromHere(why));
    }
    let mut is_refused = true;
    for address in &addresses {
        match timeout(REQUEST / 2, tokio::net::TcpStream::connect(address)).await {
            Ok(Ok(_)) => return Ok(*address),
            Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => {}
            _ => is_refused = false,
        }
    }
    let why = format!("nothing accepts a connection at {address}");
    Err(match is_refused {
        true => Unreachable::Closed(why),
        false => Unreachable::NotFromHere(format!("{why} from this machine")),
    })
}

pub(super) async fn knock(door: &Door<'_>, host: String) -> Result<Reached, Unreached> {
    let (client, base) = door.client().map_err(Unreached::Settings)?;
    let wire = Wire::new(client, base, host);
    let caller = Caller {
        wire: &wire,
        namespace: None,
        token: None,
    };
    let health = caller.ask(ReadHealthRequest::default()).await?;
    Ok(Reached { wire, health })
}

/// Whether the answer is one of Vault or OpenBao.
pub(super) fn is_vault(reached: &Reached) -> bool {
    reached.health.body.get("initialized").is_some()
}

/// Why there is no answer.
pub(super) enum Unreached {
    /// A whole sentence.
    Settings(String),
    Request(ClientError),
}

impl From<ClientError> for Unreached {
    fn from(error: ClientError) -> Self {
        Self::Request(error)
    }
}

/// The `Host` of podkey-agent's requests.
pub(super) fn host_header(address: &Address) -> String {
    let text = address.to_string();
    text.split_once("://")
        .map_or_else(|| text.clone(), |(_, host)| host.to_owned())
}
