//! From a host name and a port to a TCP connection: every address of the name is tried, each with a small head start over the
//! next (RFC 8305).

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::error::TransportError;

/// How long the DNS query and the connection may take together.
const CONNECT: Duration = Duration::from_secs(5);
const HEAD_START: Duration = Duration::from_millis(250);

/// Connects within five seconds. The name is resolved again each time.
pub(super) async fn dial(host: &str, port: u16) -> Result<TcpStream, TransportError> {
    let authority = authority(host, port);
    timeout(CONNECT, connect(host, port, &authority)).await.map_err(|_| {
        let limit = humantime::format_duration(CONNECT);
        TransportError::Connect(format!("no connection to {authority} within {limit}"))
    })?
}

/// `host:port` as a URL has it, an IPv6 address in brackets.
pub(super) fn authority(host: &str, port: u16) -> String {
    match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    }
}

/// Connects to the first address that answers.
async fn connect(host: &str, port: u16, authority: &str) -> Result<TcpStream, TransportError> {
    let addresses = tokio::net::lookup_host((host, port))
        .await
        .map_err(|error| TransportError::Resolve(format!("{host}: {error}")))?;
    let mut addresses = interleave(addresses.collect()).into_iter();
    let failed = |error: &io::Error| TransportError::Connect(format!("{authority}: {error}"));
    let mut attempts = JoinSet::new();
    let mut last = TransportError::Resolve(format!("{host}: no addresses"));
    loop {
        if let Some(address) = addresses.next() {
            if attempts.is_empty() && addresses.len() == 0 {
                let stream = TcpStream::connect(address).await.map_err(|error| failed(&error))?;
                return Ok(without_delay(stream));
            }
            attempts.spawn(TcpStream::connect(address));
        }
        tokio::select! {
            done = attempts.join_next() => match done {
                Some(Ok(Ok(stream))) => return Ok(without_delay(stream)),
                Some(Ok(Err(error))) => last = failed(&error),
                Some(Err(_)) => {}
                None => return Err(last),
            },
            () = sleep(HEAD_START), if addresses.len() > 0 => {}
        }
    }
}

fn without_delay(stream: TcpStream) -> TcpStream {
    // An error costs only speed.
    let _ = stream.set_nodelay(true);
    stream
}

/// IPv4 and IPv6 addresses in turn, beginning with the family that the resolver put first.
fn interleave(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (preferred, other): (Vec<_>, Vec<_>) = addresses.into_iter().partition(|a| a.is_ipv6() == first_is_v6);
    let mut other = other.into_iter();
    let mut all = Vec::new();
    for address in preferred {
        all.push(address);
        all.extend(other.next());
    }
    all.extend(other);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_families_take_turns() {
        let parse = |list: &[&str]| list.iter().map(|a| a.parse().unwrap()).collect::<Vec<SocketAddr>>();
        assert_eq!(
            interleave(parse(&["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1"])),
            parse(&["[::1]:1", "1.1.1.1:1", "[::2]:1", "[::3]:1"])
        );
        assert!(interleave(Vec::new()).is_empty());
    }
}
