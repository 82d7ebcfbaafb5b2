//! The address of a server, and the name that its certificate must have.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Invalid, checked_text, invalid};
use crate::text::quoted;

/// The address of a server: `https://host[:port]` and nothing after the port. Plain `http` is also valid here: see
/// [`Address::is_tls`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Address {
    tls: bool,
    host: String,
    port: u16,
}

checked_text!(Address);

impl Address {
    /// Whether the scheme is `https`.
    pub(crate) fn is_tls(&self) -> bool {
        self.tls
    }

    /// The host name or IP address. An IPv6 address has no brackets.
    pub(crate) fn host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    /// The port. Default: 443 for `https`, 80 for `http`.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

impl FromStr for Address {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let (tls, rest) = match text.split_once("://") {
            Some(("https", rest)) => (true, rest),
            Some(("http", rest)) => (false, rest),
            _ => return invalid("does not begin with https://: write https://, host and port"),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains('@') {
            return invalid("has a user or a password: write only https://, host and port");
        }
        if let Some((server, _)) = rest.split_once(['/', '?', '#', '\\']) {
            let scheme = if tls { "https" } else { "http" };
            return invalid(format!(
                "has something after host and port, where podkey puts /v1/ and the path itself: write {}",
                quoted(&format!("{scheme}://{server}"))
            ));
        }
        let Ok(authority) = rest.parse::<http::uri::Authority>() else {
            return invalid("has no valid host");
        };
        let host = authority.host();
        if host.trim_matches(['[', ']']).is_empty() {
            return invalid("has no host");
        }
        let port = match rest[host.len()..].strip_prefix(':') {
            None if tls => 443,
            None => 80,
            Some(digits) => match digits.parse::<u16>() {
                Ok(port) if port != 0 => port,
                _ => return invalid("has a port that is not a number from 1 to 65535"),
            },
        };
        Ok(Self {
            tls,
            host: host.to_owned(),
            port,
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}://{}:{}",
            if self.tls { "https" } else { "http" },
            self.host,
            self.port
        )
    }
}

/// A name to expect in a certificate: a DNS name or an IP address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct ServerName(String);

checked_text!(ServerName);

impl ServerName {
    /// The name as written.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ServerName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match rustls_pki_types::ServerName::try_from(text) {
            Ok(_) => Ok(Self(text.to_owned())),
            Err(_) => invalid("is neither a DNS name nor an IP address"),
        }
    }
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_scheme_host_and_port() {
        for (text, tls, host, port) in [
            ("https://vault.vault.svc:8200", true, "vault.vault.svc", 8200),
            ("https://vault.example.com", true, "vault.example.com", 443),
            ("https://vault.example.com/", true, "vault.example.com", 443),
            ("http://127.0.0.1:8200", false, "127.0.0.1", 8200),
            ("https://[::1]:8200", true, "::1", 8200),
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!(
                (address.is_tls(), address.host(), address.port()),
                (tls, host, port),
                "{text}"
            );
            assert_eq!(address.to_string().parse::<Address>().unwrap(), address, "{text}");
        }
        for bad in [
            "",
            "vault:8200",
            "ftp://vault",
            "https://",
            "https://:8200",
            "https://u:p@vault",
            "https://vault/v1",
            "https://vault?x=1",
            "https://vault#x",
            "https://vault:0",
            "https://vault:99999",
            "https://vault:",
            "https://va ult",
            "https://vault:82x0",
            "HTTPS://vault",
            "https://[::1",
            "https://vault\\@evil",
        ] {
            assert!(bad.parse::<Address>().is_err(), "{bad:?}");
        }
    }
}
