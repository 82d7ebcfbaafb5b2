//! The content of the Secret and of the `caBundle`: how podkey reads and writes it. The reader trusts nothing.
//!
//! The Secret's keys, all PEM. podkey does not change other keys: a later version may have written them.
//!
//! | key | holds |
//! | --- | --- |
//! | `tls.crt`, `tls.key` | the CA that signs |
//! | `next.crt`, `next.key` | during a renewal: the successor, which all API servers must trust before it signs |
//! | `ca.crt` | every trusted CA: the two CAs above, and earlier CAs until they expire |
//!
//! podkey puts an annotation on every Secret that it writes. A Secret with other data and without this annotation is not
//! podkey's.

use std::collections::BTreeSet;
use std::time::SystemTime;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::SelfManaged;
use super::authority::{Authority, CaCertificate};
use crate::cluster::StoredSecret;

/// The most CAs that are trusted at a time: the CAs that expire last. Two are usual, and each CA makes the `caBundle` longer.
pub(super) const MAX_TRUSTED: usize = 32;
/// The limit of one value in the Secret, and of a `caBundle`. 32 of podkey's certificates have 24 KiB.
const MAX_BYTES: usize = 256 * 1024;

const CURRENT: [&str; 2] = ["tls.crt", "tls.key"];
const NEXT: [&str; 2] = ["next.crt", "next.key"];
const TRUSTED: &str = "ca.crt";
/// The annotation of a Secret that podkey has written. The chart's labels are no sign: `kubectl apply` puts them on any
/// Secret of that name.
const WRITTEN_BY: [&str; 2] = ["podkey.dev/written-by", "podkey"];

/// The CAs that all replicas share.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Keyring {
    /// The CA that signs.
    pub(super) current: Authority,
    /// The CA that signs next.
    pub(super) next: Option<Authority>,
    /// The CAs that the Secret lists in `ca.crt`. [`Keyring::trusted`] also includes `current` and `next`.
    pub(super) listed: BTreeSet<CaCertificate>,
}

/// The content of a Secret.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum SecretContents {
    /// No data: a new installation, or somebody has applied the empty Secret again.
    Blank,
    /// Data that podkey cannot use and has not written.
    Foreign,
    /// Data of podkey that cannot be used, and why.
    Broken(String),
    /// A keyring.
    Keyring(Keyring),
    /// A keyring that can be used, although a value that is not needed now is broken, and why.
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

    /// The CAs to trust.
    pub(super) fn trusted(&self) -> BTreeSet<CaCertificate> {
        let mut trusted = self.listed.clone();
        trusted.insert(self.current.certificate.clone());
        trusted.extend(self.next.as_ref().map(|next| next.certificate.clone()));
        trusted
    }

    /// Reads a Secret.
    pub(super) fn read(secret: &StoredSecret) -> SecretContents {
        let (next, listed) = (authority(secret, NEXT), listed(secret));
        let current = match authority(secret, CURRENT) {
            Ok(Some(current)) => current,
            _ if holds_anything(secret) && !is_written_by_podkey(secret) => return SecretContents::Foreign,
            Ok(None) if matches!(next, Ok(None)) && listed.as_ref().is_ok_and(BTreeSet::is_empty) => {
                return SecretContents::Blank;
            }
            Ok(None) => return SecretContents::Broken(format!("{} and {} are missing", CURRENT[0], CURRENT[1])),
            Err(problem) => return SecretContents::Broken(problem),
        };
        let damage = next.as_ref().err().or_else(|| listed.as_ref().err()).cloned();
        let keyring = Self {
            current,
            next: next.unwrap_or_default(),
            listed: listed.unwrap_or_default(),
        };
        match damage {
            None => SecretContents::Keyring(keyring),
            Some(damage) => SecretContents::Damaged(keyring, damage),
        }
    }

    /// The Secret with this keyring: `read` with its labels, owners and other keys, or a new Secret.
    pub(super) fn write(&self, read: Option<&StoredSecret>, names: &SelfManaged) -> StoredSecret {
        let mut stored = read.cloned().unwrap_or_else(|| new_secret(names));
        let Secret { metadata, data, .. } = &mut stored.known;
        let [key, value] = WRITTEN_BY;
        let annotations = metadata.annotations.get_or_insert_default();
        annotations.insert(key.to_owned(), value.to_owned());
        let data = data.get_or_insert_default();
        if data.values().map(|value| value.0.len()).sum::<usize>() > MAX_BYTES {
            data.clear();
        }
        data.retain(|key, _| !CURRENT.contains(&key.as_str()) && !NEXT.contains(&key.as_str()));
        let mut put = |[certificate, key]: [&str; 2], authority: &Authority| {
            data.insert(
                certificate.to_owned(),
                ByteString(authority.certificate.pem().into_bytes()),
            );
            data.insert(key.to_owned(), ByteString(authority.key_pem().as_bytes().to_vec()));
        };
        put(CURRENT, &self.current);
        if let Some(next) = &self.next {
            put(NEXT, next);
        }
        data.insert(
            TRUSTED.to_owned(),
            ByteString(write_bundle(&self.trusted()).into_bytes()),
        );
        stored
    }
}

/// One value of the Secret. `None`: the value is missing or empty.
fn value<'s>(secret: &'s StoredSecret, key: &str) -> Result<Option<&'s [u8]>, String> {
    match secret.known.data.as_ref().and_then(|data| data.get(key)) {
        Some(value) if value.0.len() > MAX_BYTES => Err(format!("{key} is larger than {} KiB", MAX_BYTES / 1024)),
        Some(value) if !value.0.is_empty() => Ok(Some(&value.0)),
        _ => Ok(None),
    }
}

fn authority(secret: &StoredSecret, [certificate, key]: [&str; 2]) -> Result<Option<Authority>, String> {
    match (value(secret, certificate)?, value(secret, key)?) {
        (None, None) => Ok(None),
        (Some(_), None) => Err(format!("{key} is missing")),
        (None, Some(_)) => Err(format!("{certificate} is missing")),
        (Some(pem), Some(key_pem)) => Authority::from_pem(pem, key_pem)
            .map(Some)
            .map_err(|problem| format!("the pair {certificate} and {key} {problem}")),
    }
}

fn listed(secret: &StoredSecret) -> Result<BTreeSet<CaCertificate>, String> {
    match read_bundle(value(secret, TRUSTED)?.unwrap_or_default()) {
        CaBundle { garbage: true, .. } => Err(format!("{TRUSTED} holds something besides CA certificates")),
        bundle => Ok(bundle.authorities),
    }
}

fn holds_anything(secret: &StoredSecret) -> bool {
    let mut data = secret.known.data.iter().flatten();
    data.any(|(_, value)| !value.0.is_empty())
}

fn is_written_by_podkey(secret: &StoredSecret) -> bool {
    let [key, value] = WRITTEN_BY;
    let annotations = secret.known.metadata.annotations.as_ref();
    annotations
        .and_then(|annotations| annotations.get(key))
        .is_some_and(|found| found == value)
}

fn new_secret(names: &SelfManaged) -> StoredSecret {
    let labels = [("app.kubernetes.io/name".to_owned(), "podkey".to_owned())];
    Secret {
        metadata: ObjectMeta {
            name: Some(names.secret.clone()),
            namespace: Some(names.namespace.clone()),
            labels: Some(labels.into()),
            ..ObjectMeta::default()
        },
        type_: Some("Opaque".to_owned()),
        ..Secret::default()
    }
    .into()
}

/// The content of a `caBundle`.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct CaBundle {
    pub(super) authorities: BTreeSet<CaCertificate>,
    /// Whether the bundle has anything that is not a CA certificate, or far too many CAs or bytes.
    pub(super) garbage: bool,
}

/// Reads a bundle of PEM certificates.
pub(super) fn read_bundle(pem: &[u8]) -> CaBundle {
    let mut bundle = CaBundle::default();
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
    let too_many = bundle.authorities.len() > 2 * MAX_TRUSTED;
    if too_many || (bundle.authorities.is_empty() && !pem.trim_ascii().is_empty()) {
        bundle = CaBundle {
            garbage: true,
            ..CaBundle::default()
        };
    }
    bundle
}

/// The bundle as PEM. The CA that expires last is first.
pub(super) fn write_bundle(authorities: &BTreeSet<CaCertificate>) -> String {
    authorities.iter().rev().map(CaCertificate::pem).collect()
}

/// The CAs that have not expired, at most [`MAX_TRUSTED`]: those that expire last.
pub(super) fn youngest(
    authorities: impl IntoIterator<Item = CaCertificate>,
    now: SystemTime,
) -> BTreeSet<CaCertificate> {
    let mut authorities: BTreeSet<_> = authorities
        .into_iter()
        .filter(|authority| !authority.is_over(now))
        .collect();
    while authorities.len() > MAX_TRUSTED {
        authorities.pop_first();
    }
    authorities
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn names() -> SelfManaged {
        SelfManaged {
            namespace: "podkey".to_owned(),
            secret: "podkey-ca".to_owned(),
            ..SelfManaged::default()
        }
    }

    fn stored(secret: Value) -> StoredSecret {
        serde_json::from_value(secret).unwrap()
    }

    /// A Secret as the API server shows it.
    fn shown(secret: &StoredSecret) -> Value {
        serde_json::to_value(secret).unwrap()
    }

    fn with_value(secret: &StoredSecret, key: &str, value: impl Into<Vec<u8>>) -> StoredSecret {
        let mut secret = secret.clone();
        let data = secret.known.data.as_mut().unwrap();
        data.insert(key.to_owned(), ByteString(value.into()));
        secret
    }

    fn keyring() -> Keyring {
        let now = SystemTime::now();
        let mut keyring = Keyring::new(Authority::generate(now).unwrap());
        keyring.next = Some(Authority::generate(now).unwrap());
        keyring.listed = keyring.trusted();
        keyring
    }

    #[test]
    fn a_keyring_is_read_as_it_was_written() {
        let keyring = keyring();
        let secret = keyring.write(None, &names());
        assert_eq!(shown(&secret)["metadata"]["name"], "podkey-ca");
        assert_eq!(shown(&secret)["type"], "Opaque");
        assert_eq!(Keyring::read(&secret), SecretContents::Keyring(keyring.clone()));

        // In a Secret that exists, only podkey's keys change, and the Secret is podkey's afterwards.
        let mut there = json!({"metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"},
            "ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "o", "uid": "1"}]},
            "type": "Opaque", "future": 1,
            "data": {"later.version": "eA==", "next.key": "b2xk", "next.crt": "b2xk"}});
        let without_next = Keyring { next: None, ..keyring };
        let written = shown(&without_next.write(Some(&stored(there.clone())), &names()));
        there["metadata"]["annotations"]["podkey.dev/written-by"] = "podkey".into();
        assert_eq!(written["metadata"], there["metadata"]);
        assert_eq!(written["future"], 1);
        assert_eq!(written["data"]["later.version"], "eA==");
        assert!(written["data"].get("next.key").is_none() && written["data"].get("next.crt").is_none());
    }

    #[test]
    fn each_defect_of_a_secret_has_its_own_message() {
        let whole = keyring().write(None, &names());
        let other = keyring().write(None, &names());
        let other = |key: &str| other.known.data.as_ref().unwrap()[key].0.clone();
        let leaf = rcgen::generate_simple_self_signed(["a".to_owned()]).unwrap();
        for blank in [
            json!({}),
            json!({"data": null}),
            json!({"data": {}}),
            json!({"data": {"tls.crt": "", "tls.key": ""}}),
        ] {
            assert_eq!(Keyring::read(&stored(blank.clone())), SecretContents::Blank, "{blank}");
        }
        for (key, value, problem) in [
            ("tls.crt", Vec::new(), "tls.crt is missing"),
            ("tls.key", Vec::new(), "tls.key is missing"),
            ("tls.crt", b"A".repeat(300_000), "tls.crt is larger"),
            ("tls.crt", b"garbage".to_vec(), "has no certificate in PEM form"),
            ("tls.crt", leaf.cert.pem().into_bytes(), "is not a CA certificate"),
            ("tls.key", b"garbage".to_vec(), "has no private key"),
            ("tls.key", other("tls.key"), "does not belong"),
        ] {
            match Keyring::read(&with_value(&whole, key, value)) {
                SecretContents::Broken(why) => assert!(why.contains(problem), "{why}"),
                other => panic!("{key}: {problem}: {other:?}"),
            }
        }
        for (key, value, problem) in [
            ("next.key", Vec::new(), "next.key is missing"),
            ("next.key", other("next.key"), "does not belong"),
            ("ca.crt", b"garbage".to_vec(), "ca.crt holds something besides"),
            ("ca.crt", leaf.cert.pem().into_bytes(), "ca.crt holds something besides"),
        ] {
            match Keyring::read(&with_value(&whole, key, value)) {
                SecretContents::Damaged(_, why) => assert!(why.contains(problem), "{why}"),
                other => panic!("{key}: {problem}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_secret_that_another_client_has_written_is_foreign() {
        let mut own = keyring().write(None, &names());
        let ca = Authority::generate(SystemTime::now()).unwrap().certificate.pem();
        let ca = serde_json::to_value(ByteString(ca.into_bytes())).unwrap();
        for data in [
            json!({"ca.crt": ca}),
            json!({"tls.crt": ca}),
            json!({"password": "eA=="}),
        ] {
            // The chart's label does not count: `kubectl apply` puts it on any Secret of that name.
            let labels = json!({"labels": {"app.kubernetes.io/name": "podkey"}});
            let foreign = json!({"metadata": labels, "data": data});
            let contents = Keyring::read(&stored(foreign.clone()));
            assert_eq!(contents, SecretContents::Foreign, "{foreign}");
        }
        // podkey also uses a CA that somebody else has made for it.
        own.known.metadata = ObjectMeta::default();
        assert!(matches!(Keyring::read(&own), SecretContents::Keyring(_)));
    }

    #[test]
    fn the_cas_that_expire_last_are_trusted_and_expired_cas_are_not() {
        let now = SystemTime::now();
        let of = |days: u32| {
            Authority::generate(now - std::time::Duration::from_secs(86400) * days)
                .unwrap()
                .certificate
        };
        let many: Vec<_> = (0..40).map(of).collect();
        let kept = youngest(many.clone(), now);
        assert_eq!(kept.len(), MAX_TRUSTED);
        assert!(kept.contains(&many[0]) && !kept.contains(&many[39]));
        assert!(youngest([of(409), of(411)], now).len() == 1);
    }

    proptest! {
        #[test]
        fn no_content_causes_a_panic(text in any::<Vec<u8>>(), key in "(tls|next|ca)\\.(crt|key)") {
            let _ = Keyring::read(&with_value(&stored(json!({"data": {}})), &key, text.clone()));
            let bundle = read_bundle(&text);
            prop_assert!(bundle.authorities.is_empty());
        }
    }
}
