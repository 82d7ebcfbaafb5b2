//! The runner's proxy, for the one request that goes to GitHub: which proxy the variables name for a host, by the rules of the
//! runner itself (`RunnerWebProxy.cs`), and the tunnel through that proxy.

use ::http::Uri;
use base64::Engine as _;
use percent_encoding::percent_decode_str;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use zeroize::Zeroizing;

use super::dial::{authority, dial};
use super::error::TransportError;
use crate::secret::Secret;

/// The longest head of a proxy's answer, in bytes.
const MAX_HEAD: usize = 8 * 1024;

/// The proxy variables of the runner, as the hook finds them. ARC sets them on the runner's container alone.
#[derive(Debug, Clone, Default)]
pub(crate) struct ProxyVariables {
    /// `https_proxy`, else `HTTPS_PROXY`. May hold a password.
    pub(crate) https_proxy: Option<Secret>,
    /// `no_proxy`, else `NO_PROXY`.
    pub(crate) no_proxy: Option<String>,
}

/// A proxy that opens tunnels (`CONNECT`).
pub(super) struct Proxy {
    host: String,
    port: u16,
    /// The value of the header `Proxy-Authorization`.
    authorization: Option<Secret>,
}

impl ProxyVariables {
    /// The proxy for a TLS connection to this host and port, if there is one. The error says what is wrong with the
    /// variable `https_proxy`, and never quotes it.
    pub(super) fn proxy_for(&self, host: &str, port: u16) -> Result<Option<Proxy>, &'static str> {
        let Some(url) = &self.https_proxy else {
            return Ok(None);
        };
        let text = std::str::from_utf8(url.expose()).map_err(|_| "is not UTF-8")?.trim();
        if text.is_empty() || is_loopback(host) || self.bypasses(host, port) {
            return Ok(None);
        }
        Proxy::parse(text).map(Some)
    }

    /// Whether `no_proxy` has the host. A name in the list means that host and all below it; `*` means every host. A port in the
    /// list must be equal to `port`. Addresses are ignored, as the runner ignores them.
    fn bypasses(&self, host: &str, port: u16) -> bool {
        let host = host.to_ascii_lowercase();
        let list = self.no_proxy.as_deref().unwrap_or_default();
        let mut entries = list.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        entries.any(|entry| {
            let (name, entry_port) = entry.split_once(':').unwrap_or((entry, ""));
            let name = name.to_ascii_lowercase();
            let covers = match name.starts_with('.') {
                true => host.ends_with(&name),
                false => host == name || host.strip_suffix(&name).is_some_and(|rest| rest.ends_with('.')),
            };
            let is_name = !name.is_empty() && name.parse::<std::net::Ipv4Addr>().is_err();
            name == "*" || is_name && covers && (entry_port.is_empty() || entry_port == port.to_string())
        })
    }
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

impl Proxy {
    fn parse(text: &str) -> Result<Self, &'static str> {
        // The runner accepts `proxy:3128` too.
        let with_scheme = Zeroizing::new(match text.contains("://") {
            true => text.to_owned(),
            false => format!("http://{text}"),
        });
        let uri: Uri = with_scheme.parse().map_err(|_| "is not a URL")?;
        match uri.scheme_str() {
            Some("http") => {}
            _ => return Err("does not begin with http://, the only kind of proxy that podkey supports"),
        }
        let authority = uri.authority().ok_or("has no host")?;
        let host = authority.host().trim_matches(['[', ']']);
        if host.is_empty() {
            return Err("has no host");
        }
        let authorization = authority.as_str().rsplit_once('@').map(|(user_info, _)| {
            let plain = percent_decoded(user_info);
            let encoded = Zeroizing::new(base64::engine::general_purpose::STANDARD.encode(&*plain));
            Secret::from(format!("Basic {}", *encoded).into_bytes())
        });
        Ok(Self {
            host: host.to_owned(),
            port: authority.port_u16().unwrap_or(80),
            authorization,
        })
    }

    /// A connection to `host:port` through the proxy.
    pub(super) async fn tunnel(&self, host: &str, port: u16) -> Result<TcpStream, TransportError> {
        let destination = authority(host, port);
        let mut stream = dial(&self.host, self.port).await.map_err(|error| match error {
            TransportError::Resolve(why) => TransportError::Resolve(format!("the proxy {why}")),
            TransportError::Connect(why) => TransportError::Connect(format!("through the proxy: {why}")),
            other => other,
        })?;
        let cut = |error: std::io::Error| TransportError::Cut(format!("by the proxy: {}", error.kind()));
        let request = self.connect_request(&destination);
        stream.write_all(&request).await.map_err(cut)?;
        let mut head = Vec::with_capacity(512);
        // Byte by byte: whatever follows the head belongs to the tunnel. The server sends nothing before podkey does.
        while !head.ends_with(b"\r\n\r\n") {
            if head.len() >= MAX_HEAD {
                return Err(TransportError::Proxy("its answer has no end".into()));
            }
            head.push(stream.read_u8().await.map_err(cut)?);
        }
        match status(&head) {
            Some(200..300) => Ok(stream),
            Some(407) => Err(TransportError::Proxy(
                "it does not accept the user and password of https_proxy (status 407)".into(),
            )),
            Some(status) => Err(TransportError::Proxy(format!(
                "it refused {destination} with status {status}"
            ))),
            None => Err(TransportError::Proxy("its answer is not HTTP".into())),
        }
    }

    fn connect_request(&self, destination: &str) -> Zeroizing<Vec<u8>> {
        let start = format!("CONNECT {destination} HTTP/1.1\r\nHost: {destination}\r\n");
        let Some(authorization) = &self.authorization else {
            return Zeroizing::new((start + "\r\n").into_bytes());
        };
        let parts: [&[u8]; 4] = [
            start.as_bytes(),
            b"Proxy-Authorization: ",
            authorization.expose(),
            b"\r\n\r\n",
        ];
        Zeroizing::new(parts.concat())
    }
}

/// The head of a proxy's answer, for the fuzz target `http`.
#[cfg(all(any(test, feature = "fuzzing"), feature = "webhook"))]
pub(super) fn fuzzed_head(head: &[u8]) {
    status(head);
}

/// The status code in the head of an answer.
fn status(head: &[u8]) -> Option<u16> {
    let rest = head.strip_prefix(b"HTTP/1.")?.get(2..5)?;
    std::str::from_utf8(rest).ok()?.parse().ok()
}

/// The text without its `%XX` escapes. The buffer never grows, so that no copy of a password stays in freed memory.
fn percent_decoded(text: &str) -> Zeroizing<Vec<u8>> {
    let mut decoded = Zeroizing::new(Vec::with_capacity(text.len()));
    decoded.extend(percent_decode_str(text));
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(https_proxy: &str, no_proxy: &str) -> ProxyVariables {
        ProxyVariables {
            https_proxy: Some(Secret::from(https_proxy.as_bytes().to_vec())),
            no_proxy: Some(no_proxy.to_owned()),
        }
    }

    #[test]
    fn no_proxy_is_read_as_the_runner_reads_it() {
        for (list, bypassed) in [
            ("", false),
            ("ghes.example.com", true),
            ("example.com", true),
            (".example.com", true),
            ("GHES.example.com:443", true),
            ("ghes.example.com:8443", false),
            ("hes.example.com", false),
            ("other.com, example.com ,", true),
            ("*", true),
            ("other.com,*", true),
            ("*.example.com", false),
            ("10.0.0.1", false),
        ] {
            let found = variables("http://proxy:3128", list).proxy_for("ghes.example.com", 443);
            assert_eq!(found.unwrap().is_none(), bypassed, "no_proxy {list:?}");
        }
        assert!(
            variables("http://proxy", "")
                .proxy_for("127.0.0.1", 443)
                .unwrap()
                .is_none()
        );
        assert!(variables(" ", "").proxy_for("github.com", 443).unwrap().is_none());
        assert!(
            ProxyVariables::default()
                .proxy_for("github.com", 443)
                .unwrap()
                .is_none()
        );
    }

    #[test]
    fn only_a_percent_sign_with_two_hexadecimal_digits_is_decoded() {
        for (text, plain) in [("a%40b", "a@b"), ("a%+1b", "a%+1b"), ("%4", "%4"), ("%zz%2f", "%zz/")] {
            assert_eq!(*percent_decoded(text), plain.as_bytes(), "{text}");
        }
    }

    #[test]
    fn a_proxy_is_a_plain_http_url() {
        let proxy = Proxy::parse("http://us%40er:p%3Aw@proxy.example.com:3128/").unwrap();
        assert_eq!((proxy.host.as_str(), proxy.port), ("proxy.example.com", 3128));
        let expected = base64::engine::general_purpose::STANDARD.encode("us@er:p:w");
        assert_eq!(
            proxy.authorization.unwrap().expose(),
            format!("Basic {expected}").as_bytes()
        );
        assert_eq!(Proxy::parse("http://proxy").unwrap().port, 80);
        let bare = Proxy::parse("u:p@proxy:3128").unwrap();
        assert_eq!((bare.host.as_str(), bare.port), ("proxy", 3128));
        assert!(bare.authorization.is_some());
        for (bad, why) in [
            ("pro xy:3128", "is not a URL"),
            ("https://proxy", "the only kind"),
            ("socks5://proxy", "the only kind"),
            ("http://", "is not a URL"),
        ] {
            let error = Proxy::parse(bad).map(|_| ()).expect_err(bad);
            assert!(error.contains(why), "{bad}: {error}");
        }
    }
}
