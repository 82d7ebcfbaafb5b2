//! What the Secret and the `caBundle` hold: reading them without trust, and writing them.
//!
//! The Secret's keys, all PEM. A key that is not among them is left as it is: a later version may have put it there.
//!
//! | key | holds |
//! | --- | --- |
//! | `tls.crt`, `tls.key` | the authority that signs |
//! | `next.crt`, `next.key` | during a renewal: its successor, which is to be trusted everywhere before it signs |
//! | `ca.crt` | every authority that is to be trusted: these two, and earlier ones until they run out |
//!
//! Every Secret that podkey has written has an annotation that says so. One with something else in it is somebody else's.

use std::collections::BTreeSet;
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::authority::{Authority, CaCertificate};

/// No more authorities than this are trusted at a time, the youngest ones: two are usual, and each makes the `caBundle` longer.
pub(super) const MOST_TRUSTED: usize = 32;
/// Of one value in the Secret, or of a `caBundle`. 32 certificates of ours have 24 KiB.
const MAX_BYTES: usize = 256 * 1024;

const CURRENT: [&str; 2] = ["tls.crt", "tls.key"];
const NEXT: [&str; 2] = ["next.crt", "next.key"];
const TRUSTED: &str = "ca.crt";
/// The annotation of a Secret that podkey has written. No label of the chart's: whoever applies the manifests puts those on
/// any Secret of that name.
const WRITTEN: [&str; 2] = ["podkey.dev/written-by", "podkey"];

/// The authorities that all replicas share.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Keyring {
    /// The one that signs.
    pub(super) current: Authority,
    /// The one that is going to.
    pub(super) next: Option<Authority>,
    /// As it is written. [`Keyring::trusted`] has the two above as well.
    pub(super) listed: BTreeSet<CaCertificate>,
}

/// What a Secret holds.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Contents {
    /// Nothing of ours yet: what an installation begins with, and what is left when somebody applies the empty Secret again.
    Blank,
    /// Something that cannot be used and that podkey has not written.
    Foreign,
    /// Something that cannot be used, and why.
    Broken(String),
    /// Usable.
    Keyring(Keyring),
    /// Usable, but what is not needed at once is broken, and why.
    Damaged(Keyring, String),
}

impl Keyring {
    pub(super) fn new(current: Authority) -> Self {
        Self {
            current,
            next: None,
            listed: BTreeSet::new(),
        }
    }

    /// Who is to be trusted.
    pub(super) fn trusted(&self) -> BTreeSet<CaCertificate> {
        let mut trusted = self.listed.clone();
        trusted.insert(self.current.certificate.clone());
        trusted.extend(self.next.as_ref().map(|next| next.certificate.clone()));
        trusted
    }

    /// Reads a Secret as the API server answers it.
    pub(super) fn read(secret: &Value) -> Contents {
        let value = |key: &str| -> Result<Option<Zeroizing<Vec<u8>>>, String> {
            match &secret["data"][key] {
                Value::Null => Ok(None),
                Value::String(text) if text.is_empty() => Ok(None),
                Value::String(text) if text.len() <= MAX_BYTES => BASE64
                    .decode(text)
                    .map(|bytes| Some(Zeroizing::new(bytes)))
                    .map_err(|_| format!("{key} is no base64")),
                _ => Err(format!("{key} is larger than {} KiB", MAX_BYTES / 1024)),
            }
        };
        let authority = |[certificate, key]: [&str; 2]| match (value(certificate)?, value(key)?) {
            (None, None) => Ok(None),
            (Some(_), None) => Err(format!("{key} is missing")),
            (None, Some(_)) => Err(format!("{certificate} is missing")),
            (Some(pem), Some(key_pem)) => Authority::from_pem(&pem, &key_pem)
                .map(Some)
                .map_err(|problem| format!("the pair {certificate} and {key} {problem}")),
        };
        let listed = || {
            let pem = value(TRUSTED)?.unwrap_or_default();
            match read_bundle(&pem) {
                Bundle { garbage: true, .. } => Err(format!("{TRUSTED} holds more than certificates of CAs")),
                bundle => Ok(bundle.authorities),
            }
        };
        let (next, listed) = (authority(NEXT), listed());
        let is_filled = |value: &Value| !value.is_null() && value != "";
        let holds_anything = secret["data"]
            .as_object()
            .is_some_and(|data| data.values().any(is_filled));
        let written = secret["metadata"]["annotations"][WRITTEN[0]] == WRITTEN[1];
        let current = match authority(CURRENT) {
            Ok(Some(current)) => current,
            _ if holds_anything && !written => return Contents::Foreign,
            Ok(None) if matches!(next, Ok(None)) && listed.as_ref().is_ok_and(BTreeSet::is_empty) => {
                return Contents::Blank;
            }
            Ok(None) => return Contents::Broken(format!("{} and {} are missing", CURRENT[0], CURRENT[1])),
            Err(problem) => return Contents::Broken(problem),
        };
        let damage = next.as_ref().err().or_else(|| listed.as_ref().err()).cloned();
        let keyring = Self {
            current,
            next: next.unwrap_or_default(),
            listed: listed.unwrap_or_default(),
        };
        match damage {
            None => Contents::Keyring(keyring),
            Some(damage) => Contents::Damaged(keyring, damage),
        }
    }

    /// The Secret with this in it: the one that was read, labels, owners and all, or a new one.
    pub(super) fn write(&self, read: Option<&Value>, namespace: &str, name: &str) -> Value {
        let mut secret = read.cloned().unwrap_or_else(|| {
            json!({
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": name, "namespace": namespace, "labels": {"app.kubernetes.io/name": "podkey"}},
                "type": "Opaque",
            })
        });
        let object = |value: Value| match value {
            Value::Object(object) => object,
            _ => Map::new(),
        };
        let mut metadata = object(secret["metadata"].take());
        let mut annotations = object(metadata.remove("annotations").unwrap_or_default());
        annotations.insert(WRITTEN[0].to_owned(), WRITTEN[1].into());
        metadata.insert("annotations".to_owned(), annotations.into());
        secret["metadata"] = metadata.into();
        let mut data = object(secret["data"].take());
        if data
            .values()
            .map(|value| value.as_str().map_or(0, str::len))
            .sum::<usize>()
            > MAX_BYTES
        {
            data.clear();
        }
        data.retain(|key, _| !CURRENT.contains(&key.as_str()) && !NEXT.contains(&key.as_str()));
        let mut put = |[certificate, key]: [&str; 2], authority: &Authority| {
            data.insert(
                certificate.to_owned(),
                BASE64.encode(authority.certificate.pem()).into(),
            );
            data.insert(key.to_owned(), BASE64.encode(authority.key_pem().as_bytes()).into());
        };
        put(CURRENT, &self.current);
        if let Some(next) = &self.next {
            put(NEXT, next);
        }
        data.insert(TRUSTED.to_owned(), BASE64.encode(write_bundle(&self.trusted())).into());
        secret["data"] = data.into();
        secret
    }
}

/// What a `caBundle` holds.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Bundle {
    pub(super) authorities: BTreeSet<CaCertificate>,
    /// Something that is no certificate of a CA, or much too much of everything.
    pub(super) garbage: bool,
}

/// Reads PEM, and says whether there was more than that.
pub(super) fn read_bundle(pem: &[u8]) -> Bundle {
    let mut bundle = Bundle::default();
    if pem.len() > MAX_BYTES {
        bundle.garbage = true;
        return bundle;
    }
    for certificate in CertificateDer::pem_slice_iter(pem) {
        match certificate.map(|der| CaCertificate::parse(der.to_vec())) {
            Ok(Ok(authority)) => {
                bundle.authorities.insert(authority);
            }
            _ => bundle.garbage = true,
        }
    }
    let too_many = bundle.authorities.len() > 2 * MOST_TRUSTED;
    if too_many || (bundle.authorities.is_empty() && !pem.trim_ascii().is_empty()) {
        bundle = Bundle {
            garbage: true,
            ..Bundle::default()
        };
    }
    bundle
}

/// PEM, the longest-lived first.
pub(super) fn write_bundle(authorities: &BTreeSet<CaCertificate>) -> String {
    authorities.iter().rev().map(CaCertificate::pem).collect()
}

/// The youngest of those that have not run out.
pub(super) fn youngest(
    authorities: impl IntoIterator<Item = CaCertificate>,
    now: SystemTime,
) -> BTreeSet<CaCertificate> {
    let mut authorities: BTreeSet<_> = authorities
        .into_iter()
        .filter(|authority| !authority.is_over(now))
        .collect();
    while authorities.len() > MOST_TRUSTED {
        authorities.pop_first();
    }
    authorities
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keyring() -> Keyring {
        let now = SystemTime::now();
        let mut keyring = Keyring::new(Authority::generate(now).unwrap());
        keyring.next = Some(Authority::generate(now).unwrap());
        keyring.listed = keyring.trusted();
        keyring
    }

    #[test]
    fn what_is_written_is_read() {
        let keyring = keyring();
        let secret = keyring.write(None, "podkey", "podkey-ca");
        assert_eq!(secret["metadata"]["name"], "podkey-ca");
        assert_eq!(Keyring::read(&secret), Contents::Keyring(keyring.clone()));

        // Into a Secret that is there: only our keys change, and it is ours from then on.
        let mut there = json!({"metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}, "ownerReferences": [{}]}, "type": "Opaque", "future": 1,
            "data": {"later.version": "eA==", "next.key": "old", "next.crt": "old"}});
        let without_next = Keyring { next: None, ..keyring };
        let written = without_next.write(Some(&there), "podkey", "podkey-ca");
        there["metadata"]["annotations"]["podkey.dev/written-by"] = "podkey".into();
        assert_eq!(written["metadata"], there["metadata"]);
        assert_eq!(written["future"], 1);
        assert_eq!(written["data"]["later.version"], "eA==");
        assert!(written["data"].get("next.key").is_none() && written["data"].get("next.crt").is_none());
    }

    #[test]
    fn what_cannot_be_used_is_told_apart() {
        let whole = keyring().write(None, "podkey", "podkey-ca");
        let other = keyring().write(None, "podkey", "podkey-ca");
        let leaf = rcgen::generate_simple_self_signed(["a".to_owned()]).unwrap();
        let encoded = |text: &str| Value::from(BASE64.encode(text));
        let changed = |key: &str, value: Value| {
            let mut secret = whole.clone();
            secret["data"][key] = value;
            Keyring::read(&secret)
        };
        for blank in [
            json!({}),
            json!({"data": null}),
            json!({"data": {}}),
            json!({"data": {"tls.crt": "", "tls.key": ""}}),
        ] {
            assert_eq!(Keyring::read(&blank), Contents::Blank, "{blank}");
        }
        for (key, value, problem) in [
            ("tls.crt", Value::Null, "tls.crt is missing"),
            ("tls.key", Value::Null, "tls.key is missing"),
            ("tls.crt", "!".into(), "tls.crt is no base64"),
            ("tls.crt", 7.into(), "tls.crt is larger"),
            ("tls.crt", "A".repeat(300_000).into(), "tls.crt is larger"),
            ("tls.crt", encoded("garbage"), "has no certificate in PEM form"),
            ("tls.crt", encoded(&leaf.cert.pem()), "is no certificate of a CA"),
            ("tls.key", encoded("garbage"), "has no private key"),
            ("tls.key", other["data"]["tls.key"].clone(), "does not belong"),
        ] {
            match changed(key, value) {
                Contents::Broken(why) => assert!(why.contains(problem), "{why}"),
                other => panic!("{key}: {problem}: {other:?}"),
            }
        }
        for (key, value, problem) in [
            ("next.key", Value::Null, "next.key is missing"),
            ("next.key", other["data"]["next.key"].clone(), "does not belong"),
            ("ca.crt", encoded("garbage"), "ca.crt holds more"),
            ("ca.crt", encoded(&leaf.cert.pem()), "ca.crt holds more"),
        ] {
            match changed(key, value) {
                Contents::Damaged(_, why) => assert!(why.contains(problem), "{why}"),
                other => panic!("{key}: {problem}: {other:?}"),
            }
        }
    }

    #[test]
    fn what_somebody_else_has_written_is_told_apart() {
        let mut ours = keyring().write(None, "podkey", "podkey-ca");
        let ca = BASE64.encode(Authority::generate(SystemTime::now()).unwrap().certificate.pem());
        for data in [
            json!({"ca.crt": ca}),
            json!({"tls.crt": ca}),
            json!({"password": "eA=="}),
        ] {
            // The chart's label is no mark: `kubectl apply` puts it onto whatever has the name.
            let labels = json!({"labels": {"app.kubernetes.io/name": "podkey"}});
            let foreign = json!({"metadata": labels, "data": data});
            assert_eq!(Keyring::read(&foreign), Contents::Foreign, "{foreign}");
        }
        // A CA that somebody has made for podkey is as good as podkey's own.
        ours["metadata"] = json!({});
        assert!(matches!(Keyring::read(&ours), Contents::Keyring(_)));
    }

    #[test]
    fn the_youngest_are_trusted_and_those_that_ran_out_are_not() {
        let now = SystemTime::now();
        let of = |days: u32| {
            Authority::generate(now - std::time::Duration::from_secs(86400) * days)
                .unwrap()
                .certificate
        };
        let many: Vec<_> = (0..40).map(of).collect();
        let kept = youngest(many.clone(), now);
        assert_eq!(kept.len(), MOST_TRUSTED);
        assert!(kept.contains(&many[0]) && !kept.contains(&many[39]));
        assert!(youngest([of(409), of(411)], now).len() == 1);
    }

    proptest! {
        #[test]
        fn nothing_makes_reading_panic(text in any::<Vec<u8>>(), key in "(tls|next|ca)\\.(crt|key)", raw in any::<bool>()) {
            let value = if raw { String::from_utf8_lossy(&text).into_owned() } else { BASE64.encode(&text) };
            let _ = Keyring::read(&json!({"data": {key: value}}));
            let bundle = read_bundle(&text);
            prop_assert!(bundle.authorities.is_empty());
        }
    }
}
