//! What a plan says of secrets that change while the pod lives: how often they are read again, what becomes of a file whose
//! secret is gone, and whom to tell of a change.

use core::net::{IpAddr, SocketAddr};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Destination, ENV_DIR, Invalid, checked_text, invalid};
use crate::text::is_printable;

/// Where `podkey-init` and `podkey-sidecar`, and nobody else, mount the volume `podkey-handover`.
pub const HANDOVER_DIR: &str = "/podkey/handover";
/// The client token and the leases that `init` leaves for the sidecar there.
pub const HANDOVER_FILE: &str = "/podkey/handover/handover.json";
/// The link to the files of now, beside their names, in the directory that the containers see. (The kubelet's own name for
/// it in the volumes that it refreshes.)
pub const CURRENT: &str = "..data";
/// What the sidecar tells apps and people of each file, likewise.
pub const STATUS: &str = ".status.json";
/// The most actions that one change starts.
pub const MAX_ON_CHANGE: usize = 8;

const SHORTEST: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// The sidecar's part of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Refresh {
    /// How often a secret without a lease is read again.
    pub interval: Interval,
    /// What to do after the files have changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on_change: Vec<OnChange>,
}

/// A time between two reads: 5 seconds to a day. Written as `15s`, `1m 30s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Interval(Duration);

checked_text!(Interval);

impl Interval {
    /// As a duration.
    pub fn duration(self) -> Duration {
        self.0
    }
}

impl FromStr for Interval {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match humantime::parse_duration(text) {
            Err(_) => invalid("is no duration such as 30s or 5m"),
            Ok(duration) if duration < SHORTEST => invalid("is shorter than 5s"),
            Ok(duration) if duration > LONGEST => invalid("is longer than 24h"),
            Ok(duration) => Ok(Self(duration)),
        }
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", humantime::format_duration(self.0))
    }
}

/// What becomes of a file when its secret, or the field that it is made of, is no longer there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WhenGone {
    /// It stays as it was.
    #[default]
    Keep,
    /// It goes away.
    Delete,
    /// It is emptied and closed to all (mode 0000), so that whatever opens it fails.
    Fail,
}

impl WhenGone {
    /// Every value as the author writes it.
    pub const NAMES: [&str; 3] = ["keep", "delete", "fail"];

    pub(super) fn is_keep(&self) -> bool {
        *self == Self::Keep
    }
}

impl FromStr for WhenGone {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text {
            "keep" => Ok(Self::Keep),
            "delete" => Ok(Self::Delete),
            "fail" => Ok(Self::Fail),
            _ => invalid("is none of keep, delete, fail"),
        }
    }
}

/// What to do after the files have changed. Nothing of it is given to a shell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum OnChange {
    /// `signal:SIGHUP:nginx`: every process of the pod with that name gets the signal, but for the children of such a one.
    Signal(Signal, String),
    /// `touch:reload`: that file, below the directory of the files, has a new modification time.
    Touch(String),
    /// `http:POST:http://127.0.0.1:9000/-/reload`: asked for at an address of the pod itself.
    Post(LoopbackUrl),
}

checked_text!(OnChange);

impl OnChange {
    /// The file that it touches.
    pub fn touched(&self) -> Option<Destination> {
        match self {
            Self::Touch(path) => Some(Destination::Relative(path.clone())),
            Self::Signal(..) | Self::Post(_) => None,
        }
    }

    /// The same where podkey replaces it, with these files, as a whole.
    pub fn replaced<'a>(&self, mut files: impl Iterator<Item = &'a Destination>) -> Option<Destination> {
        let touched = self.touched()?;
        let variables = Destination::Relative(ENV_DIR.to_owned());
        let is_replaced =
            touched.is_reserved() || touched.is_beside(&variables) || files.any(|file| touched.is_beside(file));
        is_replaced.then_some(touched)
    }
}

/// Signals that programs read their files again for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// `SIGHUP`
    Hup,
    /// `SIGINT`
    Int,
    /// `SIGQUIT`
    Quit,
    /// `SIGTERM`
    Term,
    /// `SIGUSR1`
    Usr1,
    /// `SIGUSR2`
    Usr2,
    /// `SIGWINCH`
    Winch,
}

impl Signal {
    /// Every one with its name.
    const ALL: [(Self, &str); 7] = [
        (Self::Hup, "SIGHUP"),
        (Self::Int, "SIGINT"),
        (Self::Quit, "SIGQUIT"),
        (Self::Term, "SIGTERM"),
        (Self::Usr1, "SIGUSR1"),
        (Self::Usr2, "SIGUSR2"),
        (Self::Winch, "SIGWINCH"),
    ];

    /// Its name, such as `SIGHUP`.
    pub fn name(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(signal, _)| *signal == self)
            .map_or("", |(_, name)| name)
    }
}

impl FromStr for OnChange {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text.split_once(':') {
            Some(("signal", rest)) => {
                let Some((signal, process)) = rest.split_once(':') else {
                    return invalid("is not signal:SIGHUP:<process name>");
                };
                let Some((signal, _)) = Signal::ALL.iter().find(|(_, name)| *name == signal) else {
                    return invalid(
                        "names none of the signals SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH",
                    );
                };
                if process.is_empty()
                    || process.len() > 255
                    || process.contains('/')
                    || !process.chars().all(is_printable)
                {
                    return invalid("names no process: the name of its program, without directories");
                }
                Ok(Self::Signal(*signal, process.to_owned()))
            }
            Some(("touch", path)) => match path.parse()? {
                Destination::Relative(path) => Ok(Self::Touch(path)),
                _ => invalid("touches no plain path below /podkey/secrets: it is relative to that"),
            },
            Some(("http", rest)) => match rest.strip_prefix("POST:") {
                Some(url) => Ok(Self::Post(url.parse()?)),
                None => invalid("is not http:POST:http://127.0.0.1:<port>/<path>"),
            },
            _ => invalid("is none of signal:…, touch:…, http:POST:…"),
        }
    }
}

impl fmt::Display for OnChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signal(signal, process) => write!(f, "signal:{}:{process}", signal.name()),
            Self::Touch(path) => write!(f, "touch:{path}"),
            Self::Post(url) => write!(f, "http:POST:{url}"),
        }
    }
}

/// A plain-http URL of the pod's own loopback address: no name that a resolver could send elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoopbackUrl {
    address: SocketAddr,
    target: String,
}

impl LoopbackUrl {
    /// Where to connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Path and query, as the request line has them.
    pub fn target(&self) -> &str {
        &self.target
    }
}

impl FromStr for LoopbackUrl {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        const SHAPE: &str = "is no http://127.0.0.1:<port>/<path>: only the pod's own loopback address may be asked";
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
    fn intervals_have_bounds() {
        assert_eq!("15s".parse::<Interval>().unwrap().to_string(), "15s");
        for bad in ["", "15", "4s", "25h", "never", "-1s"] {
            assert!(bad.parse::<Interval>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn actions_survive_the_plan() {
        for text in [
            "signal:SIGHUP:nginx",
            "touch:reload",
            "touch:app/reload",
            "http:POST:http://127.0.0.1:9000/-/reload",
            "http:POST:http://127.0.0.1:80/",
            "http:POST:http://[::1]:8080/a?b=c",
        ] {
            assert_eq!(text.parse::<OnChange>().unwrap().to_string(), text);
        }
        let local = "http:POST:http://localhost:9000/x".parse::<OnChange>().unwrap();
        assert_eq!(local.to_string(), "http:POST:http://127.0.0.1:9000/x");
    }

    #[test]
    fn nothing_but_the_three_kinds_and_the_pod_itself_is_an_action() {
        for bad in [
            "",
            "sh:reload",
            "signal:SIGKILL:nginx",
            "signal:SIGHUP:",
            "signal:SIGHUP:/bin/x",
            "signal:nginx",
            "touch:/etc/passwd",
            "touch:../x",
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
