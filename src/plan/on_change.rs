//! The actions of the sidecar after the files have changed.

use core::net::{IpAddr, SocketAddr};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{
    Destination, Invalid, SECRETS_DIR, checked_text, invalid,
    words::{none_of, words},
};
use crate::text::is_printable;

/// An action after the files have changed. No part of an action is given to a shell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) enum OnChange {
    /// `signal:SIGHUP:nginx`: every process of the pod with that name gets the signal, except children of such a process.
    Signal(Signal, String),
    /// `touch:reload`: the file with that path below [`SECRETS_DIR`] gets a new modification time. Or
    /// `touch:/vault/secrets:reload`, for a directory that is mounted at a path of its own.
    Touch(Destination),
    /// `http:POST:http://127.0.0.1:9000/-/reload`: a request to an address of the pod itself.
    Post(LoopbackUrl),
    /// `restart`: the kubelet restarts all containers of the pod in place, `podkey-init` first.
    /// <https://github.com/kubernetes/enhancements/tree/master/keps/sig-node/5532-restart-all-containers-on-container-exits>
    Restart,
}

checked_text!(OnChange);

impl OnChange {
    /// Each form of an action, with its meaning for people.
    pub(crate) const FORMS: [(&str, &str); 4] = [
        (
            "signal:…",
            "`signal:SIGHUP:nginx`: every process of the pod with that name gets the signal.",
        ),
        (
            "touch:…",
            "`touch:reload`: the file with that path below `/podkey/secrets` gets a new modification time.",
        ),
        (
            "http:POST:…",
            "`http:POST:http://127.0.0.1:9000/-/reload`: a request to an address of the pod itself.",
        ),
        ("restart", "The kubelet restarts all containers of the pod in place."),
    ];

    /// The file that the action touches.
    pub(crate) fn touched(&self) -> Option<Destination> {
        match self {
            Self::Touch(path) => Some(path.clone()),
            Self::Signal(..) | Self::Post(_) | Self::Restart => None,
        }
    }

    /// The touched file, if each change of the files replaces it: the name is reserved, or is beside the variables or beside one of
    /// `files`.
    pub(crate) fn replaced<'a>(&self, mut files: impl Iterator<Item = &'a Destination>) -> Option<Destination> {
        let touched = self.touched()?;
        let is_replaced =
            touched.is_reserved() || touched.is_beside_variables() || files.any(|file| touched.is_beside(file));
        is_replaced.then_some(touched)
    }
}

words! {
    /// A signal after which programs read their files again.
    pub(crate) enum Signal {
        /// Hang-up: most servers read their settings again.
        Hup = "SIGHUP",
        /// Interrupt.
        Int = "SIGINT",
        /// Quit: some servers end gracefully.
        Quit = "SIGQUIT",
        /// Terminate: programs end.
        Term = "SIGTERM",
        /// User-defined signal 1.
        Usr1 = "SIGUSR1",
        /// User-defined signal 2.
        Usr2 = "SIGUSR2",
        /// Window size: some servers end their workers gracefully.
        Winch = "SIGWINCH",
    }
}

/// The kind of an action: the text before its first `:`.
const SIGNAL: &str = "signal";
const TOUCH: &str = "touch";
const HTTP: &str = "http";
const RESTART: &str = "restart";
/// The only method of a request.
const POST: &str = "POST";

impl FromStr for OnChange {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text.split_once(':') {
            Some((SIGNAL, rest)) => signal(rest),
            Some((TOUCH, path)) => match path.parse()? {
                path @ (Destination::Relative(_) | Destination::InDirectory { .. }) => Ok(Self::Touch(path)),
                Destination::Absolute(_) | Destination::EachField(_) => {
                    invalid(format!("is not touch:<path>, with a path relative to {SECRETS_DIR}"))
                }
            },
            Some((HTTP, rest)) => match rest.split_once(':') {
                Some((POST, url)) => Ok(Self::Post(url.parse()?)),
                _ => invalid("is not http:POST:http://127.0.0.1:<port>/<path>"),
            },
            None if text == RESTART => Ok(Self::Restart),
            _ => Err(none_of(&Self::FORMS.map(|(form, _)| form))),
        }
    }
}

fn signal(text: &str) -> Result<OnChange, Invalid> {
    let Some((signal, process)) = text.split_once(':') else {
        return invalid("is not signal:SIGHUP:<process name>");
    };
    let Ok(signal) = signal.parse() else {
        return invalid(format!("has none of the signals {}", Signal::NAMES.join(", ")));
    };
    let is_name = !process.is_empty() && process.len() <= 255 && !process.contains('/');
    match is_name && process.chars().all(is_printable) {
        true => Ok(OnChange::Signal(signal, process.to_owned())),
        false => invalid("has no name of a process: write the name of the program, without directories"),
    }
}

impl fmt::Display for OnChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signal(signal, process) => write!(f, "{SIGNAL}:{signal}:{process}"),
            Self::Touch(path) => write!(f, "{TOUCH}:{path}"),
            Self::Post(url) => write!(f, "{HTTP}:{POST}:{url}"),
            Self::Restart => f.write_str(RESTART),
        }
    }
}

/// A plain-http URL of the pod's own loopback address, without a host name that a resolver could send elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LoopbackUrl {
    address: SocketAddr,
    target: String,
}

impl LoopbackUrl {
    /// The address and the port to connect to.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Path and query, as in the request line.
    pub(crate) fn target(&self) -> &str {
        &self.target
    }
}

impl FromStr for LoopbackUrl {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        const SHAPE: &str = "is not http://127.0.0.1:<port>/<path>: only the pod's own loopback address is allowed";
        let Some(rest) = text.strip_prefix("http://") else {
            return invalid(SHAPE);
        };
        if text.len() > 1024 || !text.bytes().all(|b| b.is_ascii_graphic()) || text.contains(['@', '#', '\\']) {
            return invalid(SHAPE);
        }
        let at = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(at);
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => (host, port),
            _ => (authority, "80"),
        };
        let host = match host {
            "localhost" => "127.0.0.1",
            host => host
                .strip_prefix('[')
                .and_then(|host| host.strip_suffix(']'))
                .unwrap_or(host),
        };
        match (host.parse::<IpAddr>(), port.parse::<u16>()) {
            (Ok(ip), Ok(port)) if ip.is_loopback() && port != 0 => Ok(Self {
                address: (ip, port).into(),
                target: match target.starts_with('/') {
                    true => target.to_owned(),
                    false => format!("/{target}"),
                },
            }),
            _ => invalid(SHAPE),
        }
    }
}

impl fmt::Display for LoopbackUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.address, self.target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_survive_the_plan() {
        for text in [
            "signal:SIGHUP:nginx",
            "touch:reload",
            "touch:app/reload",
            "touch:/vault/secrets:app/reload",
            "http:POST:http://127.0.0.1:9000/-/reload",
            "http:POST:http://127.0.0.1:80/",
            "http:POST:http://[::1]:8080/a?b=c",
            "restart",
        ] {
            assert_eq!(text.parse::<OnChange>().unwrap().to_string(), text);
        }
        let local = "http:POST:http://localhost:9000/x".parse::<OnChange>().unwrap();
        assert_eq!(local.to_string(), "http:POST:http://127.0.0.1:9000/x");
    }

    #[test]
    fn other_kinds_of_actions_and_other_addresses_are_refused() {
        for bad in [
            "",
            "sh:reload",
            "restart:web",
            "Restart",
            "signal:SIGKILL:nginx",
            "signal:SIGHUP:",
            "signal:SIGHUP:/bin/x",
            "signal:nginx",
            "touch:/etc/passwd",
            "touch:../x",
            "touch:/etc/passwd:x",
            "touch:",
            "http:GET:http://127.0.0.1:9000/",
            "http:POST:https://127.0.0.1:9000/",
            "http:POST:http://10.0.0.1:9000/",
            "http:POST:http://169.254.169.254/",
            "http:POST:http://127.0.0.1.example.com/",
            "http:POST:http://user@127.0.0.1/",
            "http:POST:http://0.0.0.0:9000/",
            "http:POST:http://[::ffff:10.0.0.1]/",
            "http:POST:http://0x7f000001/",
            "http:POST:http://127.1/",
            "http:POST:http://127.0.0.1:99999/",
            "http:POST:http://127.0.0.1:0/",
            "http:POST:http://127.0.0.1:80/\r\nX: y",
        ] {
            assert!(bad.parse::<OnChange>().is_err(), "{bad:?}");
        }
    }
}
