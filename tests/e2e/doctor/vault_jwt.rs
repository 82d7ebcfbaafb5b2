//! Faults of the auth method jwt: the login of a pod by the cluster's keys.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::bench::Doctor;
use super::vault::{by, told, web};
use crate::harness::api::cluster;
use crate::harness::merge;
use crate::harness::namespace::Namespace;
use crate::harness::openbao::{ROLE, Vault};

/// A mount of the auth method jwt that knows the cluster's keys, with a role of these fields over a good one, and a pod that uses both.
fn by_jwt(vault: &Vault<'_>, namespace: &Namespace, over: &Value) -> Value {
    let mount = format!("{}-jwt", vault.auth);
    vault
        .api
        .insist("POST", &format!("/v1/sys/auth/{mount}"), &json!({"type": "jwt"}));
    namespace.delete_later(&vault.api, format!("/v1/sys/auth/{mount}"));
    let config = json!({"jwt_validation_pubkeys": keys_of_the_cluster()});
    vault.api.insist("POST", &format!("/v1/auth/{mount}/config"), &config);
    role(vault, namespace, over);
    merge(
        by("jwt", web(vault)),
        &json!({"metadata": {"annotations": {"podkey.dev/auth-mount": mount}}}),
    )
}

/// The role of that mount, with these fields over good ones.
fn role(vault: &Vault<'_>, namespace: &Namespace, over: &Value) {
    let role = json!({
        "role_type": "jwt", "user_claim": "sub", "bound_audiences": ["vault"], "token_policies": [vault.kv], "token_ttl": "20m",
        "bound_subject": format!("system:serviceaccount:{}:default", namespace.name),
    });
    let path = format!("/v1/auth/{}-jwt/role/{ROLE}", vault.auth);
    vault.api.insist("POST", &path, &merge(role, over));
}

/// The keys that sign the cluster's service-account tokens, in PEM.
fn keys_of_the_cluster() -> Vec<String> {
    let keys = cluster().get("/openid/v1/jwks");
    let number = |text: &Value| {
        let bytes = URL_SAFE_NO_PAD.decode(text.as_str().unwrap()).unwrap();
        // A first bit of 1 would be a sign.
        let sign: &[u8] = if bytes[0] < 128 { &[] } else { &[0] };
        der(2, &[sign, &bytes].concat())
    };
    let bytes = |text: &Value| URL_SAFE_NO_PAD.decode(text.as_str().unwrap()).unwrap();
    let pem = keys["keys"].as_array().unwrap().iter().map(|key| {
        // Each with its parameters: RFC 3279, 2.3.1 (rsaEncryption), and RFC 5480, 2.1.1 (prime256v1).
        let (algorithm, public): (&[u8], Vec<u8>) = match key["kty"].as_str() {
            Some("RSA") => (
                &[0x30, 13, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 13, 1, 1, 1, 5, 0],
                der(0x30, &[number(&key["n"]), number(&key["e"])].concat()),
            ),
            _ => (
                &[
                    0x30, 19, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7,
                ],
                [vec![4], bytes(&key["x"]), bytes(&key["y"])].concat(),
            ),
        };
        let bits = der(3, &[&[0], public.as_slice()].concat());
        let info = der(0x30, &[algorithm, &bits].concat());
        pem::encode(&pem::Pem::new("PUBLIC KEY", info))
    });
    pem.collect()
}

/// A value of ASN.1 with its tag and its length.
fn der(tag: u8, value: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(value.len()).unwrap().to_be_bytes();
    let length: &[u8] = match (high, low) {
        (0, ..128) => &[low],
        (0, _) => &[0x81, low],
        _ => &[0x82, high, low],
    };
    [&[tag], length, value].concat()
}

#[test]
fn a_healthy_pod_that_logs_in_by_jwt() {
    let namespace = Namespace::new("jwt");
    let vault = Vault::new(&namespace);
    vault.put("web", &json!({"password": "s3cret"}));
    let pod = by_jwt(&vault, &namespace, &json!({}));
    Doctor::of(&namespace.name, &pod)
        .with_token()
        .arg("--login")
        .is_content();
}

#[test]
fn a_jwt_role_of_another_audience_gets_the_pods_and_one_of_another_subject_keeps_it() {
    let namespace = Namespace::new("jwt-role");
    let vault = Vault::new(&namespace);
    vault.put("web", &json!({"password": "s3cret"}));
    let pod = by_jwt(&vault, &namespace, &json!({"bound_audiences": ["openbao"]}));
    Doctor::of(&namespace.name, &pod)
        .with_token()
        .arg("--login")
        .mends("vault-role", &["role_type=jwt", "bound_audiences=openbao,vault"]);
    // A subject of another pod's stays.
    role(
        &vault,
        &namespace,
        &json!({"bound_subject": "system:serviceaccount:other:default"}),
    );
    told(
        &Doctor::of(&namespace.name, &pod).with_token(),
        "vault-role",
        &["name a role of the pod's own"],
    );
}

#[test]
fn a_jwt_role_with_claims_of_another_namespace_is_mended() {
    let namespace = Namespace::new("jwt-claims");
    let vault = Vault::new(&namespace);
    vault.put("web", &json!({"password": "s3cret"}));
    let over = json!({
        "bound_subject": "", "bound_claims_type": "glob",
        "bound_claims": {"/kubernetes.io/namespace": ["other*"], "/kubernetes.io/serviceaccount/name": ["def*"]},
    });
    let pod = by_jwt(&vault, &namespace, &over);
    Doctor::of(&namespace.name, &pod)
        .with_token()
        .arg("--login")
        .mends("vault-role", &["bound_claims", "| bao write"]);
    // The other claims, the other values and the kind of the claims are still there.
    let role = vault
        .api
        .call("GET", &format!("/v1/auth/{}-jwt/role/{ROLE}", vault.auth), &Value::Null)
        .json();
    let role = &role["data"];
    assert_eq!(role["bound_claims_type"], "glob", "{role}");
    assert_eq!(
        role["bound_claims"]["/kubernetes.io/namespace"],
        json!(["other*", namespace.name]),
        "{role}"
    );
    assert_eq!(
        role["bound_claims"]["/kubernetes.io/serviceaccount/name"],
        json!(["def*"]),
        "{role}"
    );
}

#[test]
fn a_bound_issuer_of_another_cluster_is_told_without_a_login() {
    let namespace = Namespace::new("jwt-issuer");
    let vault = Vault::new(&namespace);
    vault.put("web", &json!({"password": "s3cret"}));
    let pod = by_jwt(&vault, &namespace, &json!({}));
    let config = json!({"jwt_validation_pubkeys": keys_of_the_cluster(), "bound_issuer": "https://other.example.com"});
    vault
        .api
        .insist("POST", &format!("/v1/auth/{}-jwt/config", vault.auth), &config);
    for arg in [None, Some("--login")] {
        let doctor = Doctor::of(&namespace.name, &pod).with_token();
        let doctor = arg.into_iter().fold(doctor, Doctor::arg);
        told(
            &doctor,
            "vault-auth-config",
            &["bound_issuer https://other.example.com"],
        );
    }
}
