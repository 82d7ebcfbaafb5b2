//! Who sends a request, as the header `X-Correlation-ID` of every request says: the server may write the header into its audit log.
//! The form of the text is an interface, which `docs/operate/audit-trail.md` describes:
//!
//! ```text
//! podkey init pod=NAMESPACE/NAME uid=UID
//! podkey sidecar pod=NAMESPACE/NAME uid=UID
//! podkey job pod=NAMESPACE/NAME uid=UID claimed-repository=OWNER/NAME claimed-run=ID claimed-attempt=N claimed-job=KEY
//! ```
//!
//! A fact that is not known is left out. The server checks no word of the text: whoever has a client token can send any text.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};

use ::http::header::HeaderValue;

use super::service_account;
use crate::http::Jwt;
use crate::plan::BoundPod;

/// Who sends the requests.
pub(crate) enum Sender {
    /// `podkey-init` or `podkey-sidecar`. The service-account token in the file names the pod. The kubelet may write the file late:
    /// the text is made for the first request that finds the file.
    OfPod {
        program: &'static str,
        token_file: PathBuf,
        known: OnceCell<Option<HeaderValue>>,
    },
    /// A job hook. The text is that of [`sender_text`].
    OfJob(String),
}

/// A fact besides the pod: the key in the text, the value (empty: not known), and the longest value in bytes.
pub(crate) type SenderFact<'a> = (&'static str, &'a str, usize);

impl Sender {
    /// A program of podkey's own container.
    pub(crate) fn of_pod(program: &'static str, token_file: PathBuf) -> Self {
        Self::OfPod {
            program,
            token_file,
            known: OnceCell::new(),
        }
    }

    /// The value of the header.
    pub(super) fn header(&self) -> Option<HeaderValue> {
        match self {
            Self::OfJob(text) => HeaderValue::from_str(text).ok(),
            Self::OfPod {
                program,
                token_file,
                known,
            } => {
                if let Some(known) = known.get() {
                    return known.clone();
                }
                let token = service_account::read(token_file).ok();
                let pod = token.as_ref().and_then(pod_of);
                let header = HeaderValue::from_str(&sender_text(program, pod.as_ref(), &[])).ok();
                match token {
                    Some(_) => known.get_or_init(|| header).clone(),
                    None => header,
                }
            }
        }
    }
}

/// The pod that the service-account token in this file is bound to. None: the file has no token, or the token names no pod.
pub(crate) fn bound_pod(token_file: &Path) -> Option<BoundPod> {
    pod_of(&service_account::read(token_file).ok()?)
}

fn pod_of(token: &Jwt) -> Option<BoundPod> {
    let [namespace, name, uid] = token.bound_pod()?;
    Some(BoundPod { namespace, name, uid })
}

/// The text for this program. A pod or fact that could be read as another text is left out. The lengths are those of a namespace
/// (RFC 1123 label), of a pod's name (RFC 1123 subdomain), and of a UUID.
pub(crate) fn sender_text(program: &str, pod: Option<&BoundPod>, facts: &[SenderFact<'_>]) -> String {
    let mut text = format!("podkey {program}");
    let is_name = |name: &str, longest| is_fact(name, longest) && !name.contains('/');
    if let Some(BoundPod { namespace, name, uid }) = pod
        && is_name(namespace, 63)
        && is_name(name, 253)
    {
        text.push_str(&format!(" pod={namespace}/{name}"));
        if is_name(uid, 36) {
            text.push_str(&format!(" uid={uid}"));
        }
    }
    for (key, value, longest) in facts {
        if is_fact(value, *longest) {
            text.push_str(&format!(" {key}={value}"));
        }
    }
    text
}

/// Whether the text can stand behind a key: no longer than that, and without a character that could end it or begin another fact.
fn is_fact(text: &str, longest: usize) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
    (1..=longest).contains(&text.len()) && text.bytes().all(is_plain)
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;

    use super::*;

    fn token(claims: &str) -> String {
        let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(claims);
        format!("e30.{claims}.canary")
    }

    fn bound_to(namespace: &str, name: &str, uid: &str) -> String {
        let claims = serde_json::json!({"kubernetes.io": {"namespace": namespace, "pod": {"name": name, "uid": uid}}});
        token(&claims.to_string())
    }

    fn header(sender: &Sender) -> String {
        sender.header().unwrap().to_str().unwrap().to_owned()
    }

    #[test]
    fn the_first_request_that_finds_the_token_names_the_pod_for_good() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("token");
        let sender = Sender::of_pod("init", file.clone());
        assert_eq!(header(&sender), "podkey init");
        std::fs::write(&file, bound_to("arc", "runner-1", "0f1e-2d")).unwrap();
        assert_eq!(header(&sender), "podkey init pod=arc/runner-1 uid=0f1e-2d");
        std::fs::remove_file(&file).unwrap();
        assert_eq!(header(&sender), "podkey init pod=arc/runner-1 uid=0f1e-2d");
    }

    #[test]
    fn a_claim_with_odd_characters_never_reaches_the_header() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("token");
        let long = "a".repeat(254);
        for (claims, expected) in [
            (bound_to("arc", "a\r\nX-Vault-Token: s.x", "u"), "podkey init"),
            (bound_to("arc", "a uid=b", "u"), "podkey init"),
            (bound_to("arc", "a/b", "u"), "podkey init"),
            (bound_to("arc/a", "b", "u"), "podkey init"),
            (bound_to("arc", "ä", "u"), "podkey init"),
            (bound_to("", "a", "u"), "podkey init"),
            (bound_to("arc", &long, "u"), "podkey init"),
            (bound_to("arc", "a", "u u"), "podkey init pod=arc/a"),
            (bound_to("arc", "a", &long), "podkey init pod=arc/a"),
            (
                token(r#"{"kubernetes.io":{"namespace":"arc","pod":{"name":1,"uid":"u"}}}"#),
                "podkey init",
            ),
            (token(r#"{"kubernetes.io":{"namespace":"arc"}}"#), "podkey init"),
            (token("no json"), "podkey init"),
            ("no token".to_owned(), "podkey init"),
        ] {
            std::fs::write(&file, &claims).unwrap();
            assert_eq!(header(&Sender::of_pod("init", file.clone())), expected, "{claims}");
            let text = sender_text("init", bound_pod(&file).as_ref(), &[]);
            assert_eq!(text, expected, "{claims}");
        }
    }

    #[test]
    fn a_fact_with_odd_characters_is_left_out_and_can_add_no_other_fact() {
        let claimed = |value| sender_text("job", None, &[("claimed-run", value, 20), ("claimed-job", "build", 10)]);
        assert_eq!(claimed("123"), "podkey job claimed-run=123 claimed-job=build");
        for odd in ["", "1 pod=arc/other", "1\n2", "a=b", "ä", &"1".repeat(21)] {
            assert_eq!(claimed(odd), "podkey job claimed-job=build", "{odd:?}");
        }
    }
}
