//! From a name and a port to a TCP connection: all of the name's addresses are tried, each with a small head start over
//! the next (RFC 8305).

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::error::TransportError;

const CONNECT: Duration = Duration::from_secs(5);
const HEAD_START: Duration = Duration::from_millis(250);

/// Connects, or says why not within five seconds. Names are looked up anew each time.
pub(super) async fn dial(host: &str, port: u16) -> Result<TcpStream, TransportError> {
    let place = match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    };
    timeout(CONNECT, first_to_answer(host, port, &place))
        .await
        .map_err(|_| TransportError::Connect(format!("no connection to {place} within 5s")))?
}

/// Connects to the first of the name's addresses that answers, each with a small head start over the next.
async fn first_to_answer(host: &str, port: u16, place: &str) -> Result<TcpStream, TransportError> {
    let addresses = tokio::net::lookup_host((host, port))
        .await
        .map_err(|error| TransportError::Resolve(format!("{}: {error}", host)))?;
    let mut addresses = interleave(addresses.collect()).into_iter();
    let failed = |error: &io::Error| TransportError::Connect(format!("{}: {error}", place));
    let mut tries = JoinSet::new();
    let mut last = TransportError::Resolve(format!("{}: no addresses", host));
    loop {
        if let Some(address) = addresses.next() {
            if tries.is_empty() && addresses.len() == 0 {
                let stream = TcpStream::connect(address).await.map_err(|error| failed(&error))?;
                return no_delay(stream);
            }
            tries.spawn(TcpStream::connect(address));
        }
        tokio::select! {
            done = tries.join_next() => match done {
                Some(Ok(Ok(stream))) => return no_delay(stream),
                Some(Ok(Err(error))) => last = failed(&error),
                Some(Err(_)) => {}
                None => return Err(last),
            },
            () = sleep(HEAD_START), if addresses.len() > 0 => {}
        }
    }
}

fn no_delay(stream: TcpStream) -> Result<TcpStream, TransportError> {
    // Only speed depends on it.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

/// The families by turns, the resolver's first choice first.
fn interleave(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (one, other): (Vec<_>, Vec<_>) = addresses.into_iter().partition(|a| a.is_ipv6() == first_is_v6);
    let mut other = other.into_iter();
    let mut all = Vec::new();
    for address in one {
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
