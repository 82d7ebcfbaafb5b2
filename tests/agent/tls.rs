//! Certificates of every kind: only the right certificate opens the connection, and each wrong certificate is reported with the
//! reason.

use std::sync::OnceLock;

use serde_json::json;

use crate::deliver::{bao, kubeconfig};
use crate::support::agent::Agent;
use crate::support::ca::{Ca, Leaf, Validity};
use crate::support::fake_vault::{FakeVault, json as answer, logged_in, secret_body};
use crate::support::openbao::{Listener, OpenBao};

fn serve(leaf: &Leaf) -> FakeVault {
    FakeVault::tls(
        leaf.server_config(),
        logged_in(|_, _| answer(200, &secret_body(r#"{"a":"1"}"#))),
    )
}

fn agent(fake: &FakeVault, ca: &str) -> Agent {
    Agent::for_fake(fake).with("/connection/ca", json!(ca)).budget("4s")
}

#[test]
fn only_the_connections_own_authorities_are_trusted() {
    let (ours, other) = (Ca::new("ours"), Ca::new("other"));
    let fake = serve(&ours.leaf(&["127.0.0.1"]));
    agent(&fake, &ours.pem()).run().expect(0, &[]);
    let both = format!("{}{}", other.pem(), ours.pem());
    agent(&fake, &both).run().expect(0, &[]);
    let asked = fake.requests().len();
    agent(&fake, &other.pem())
        .run()
        .expect(78, &["not signed by", "caFile"])
        .stage("login");
    assert_eq!(fake.requests().len(), asked, "nothing is sent to a stranger");
    assert_eq!(fake.connections(), 4, "one more try for a rotation under way, no more");
    // An authority of the same name is another one.
    let twin = Ca::new("ours");
    agent(&fake, &twin.pem()).run().expect(78, &["not signed by"]);
    // The image's bundle does not have the authority either. If there is no bundle, the report says so.
    let mut bundled = agent(&fake, "");
    bundled.plan["connection"].as_object_mut().unwrap().remove("ca");
    let bundle = "/etc/ssl/certs/ca-certificates.crt";
    let text = if std::fs::metadata(bundle).is_ok_and(|m| m.len() > 0) {
        "not signed by"
    } else {
        bundle
    };
    bundled.run().expect(78, &[text]);
}

#[test]
fn a_certificate_for_another_name_is_reported_with_its_names() {
    let ca = Ca::new("ca");
    let fake = serve(&ca.leaf(&["vault.example.com", "10.1.2.3"]));
    let run = agent(&fake, &ca.pem()).run();
    run.expect(78, &["127.0.0.1", "vault.example.com", "tlsServerName"]);
    assert!(!run.stderr.contains("trying again"), "{}", run.stderr);
    let named = agent(&fake, &ca.pem()).with("/connection/tlsServerName", json!("vault.example.com"));
    named.run().expect(0, &[]);
    agent(&fake, &ca.pem())
        .with("/connection/tlsServerName", json!("10.1.2.3"))
        .run()
        .expect(0, &[]);
}

#[test]
fn an_expired_certificate_is_reported_with_the_local_time() {
    let ca = Ca::new("ca");
    for (validity, texts) in [
        (Validity::Past, &["expired at 2020-02-03", "local clock says 20"][..]),
        (
            Validity::Future,
            &["not valid before 2098-07-06", "local clock says 20"],
        ),
    ] {
        let fake = serve(&ca.leaf_valid(&["127.0.0.1"], validity));
        let run = agent(&fake, &ca.pem()).run();
        run.expect(78, texts);
        assert!(
            run.stderr.contains("trying again"),
            "clocks and certificates can be mended: {}",
            run.stderr
        );
    }
}

#[test]
fn a_self_signed_certificate_is_trusted_only_if_it_is_listed() {
    let own = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let leaf = Leaf {
        cert: own.cert.pem(),
        key: own.signing_key.serialize_pem(),
    };
    let fake = serve(&leaf);
    agent(&fake, &Ca::new("ca").pem()).run().expect(78, &["not signed by"]);
    agent(&fake, &leaf.cert).run().expect(0, &[]);
}

#[test]
fn a_certificate_of_openssl_req_x509_is_trusted_if_ca_file_has_the_same_bytes() {
    let own = Leaf::of_its_own(&["127.0.0.1"], Validity::Now);
    let fake = serve(&own);
    agent(&fake, &own.cert).run().expect(0, &[]);
    let among_others = format!("{}{}{}", Ca::new("a").pem(), own.cert, Ca::new("b").pem());
    agent(&fake, &among_others).run().expect(0, &[]);
    // Another one, of the same name and form.
    for listed in [
        Leaf::of_its_own(&["127.0.0.1"], Validity::Now).cert,
        Ca::new("ca").pem(),
    ] {
        agent(&fake, &listed)
            .run()
            .expect(78, &["CA:TRUE", "put this very certificate into caFile"]);
    }
    let signed = Ca::new("c").leaf(&["127.0.0.1"]);
    agent(&serve(&signed), &signed.cert).run().expect(0, &[]);
    // Who has the key of a listed server certificate is no authority for other servers.
    let server = Ca::of_a_server(&["127.0.0.1"]);
    let forged = serve(&server.leaf(&["127.0.0.1"]));
    for listed in [server.pem(), format!("{}{}", Ca::new("d").pem(), server.pem())] {
        agent(&forged, &listed)
            .run()
            .expect(78, &["not signed by any of the connection's CAs"]);
    }
    // Name and period hold for it as for every other one.
    let elsewhere = Leaf::of_its_own(&["vault.example.com"], Validity::Now);
    let fake = serve(&elsewhere);
    agent(&fake, &elsewhere.cert)
        .run()
        .expect(78, &["not for 127.0.0.1 but for vault.example.com"]);
    agent(&fake, &elsewhere.cert)
        .with("/connection/tlsServerName", json!("vault.example.com"))
        .run()
        .expect(0, &[]);
    for (validity, text) in [
        (Validity::Past, "expired at 2020-02-03"),
        (Validity::Future, "not valid before 2098-07-06"),
    ] {
        let out_of_time = Leaf::of_its_own(&["127.0.0.1"], validity);
        let fake = serve(&out_of_time);
        agent(&fake, &out_of_time.cert)
            .run()
            .expect(78, &["the server's certificate", text]);
    }
    // To show a listed certificate is not to have its key.
    let thief = Leaf {
        key: Leaf::of_its_own(&["127.0.0.1"], Validity::Now).key,
        ..own.clone()
    };
    let fake = FakeVault::tls(thief.server_config_unchecked(), |_, _| answer(200, "{}"));
    agent(&fake, &own.cert)
        .run()
        .expect(78, &["does not fit its certificate"]);
    assert!(fake.requests().is_empty());
}

/// A real server with listeners whose certificates podkey does not take, and with what else a TLS handshake can fail at.
fn odd_listeners() -> &'static OpenBao {
    static BAO: OnceLock<OpenBao> = OnceLock::new();
    BAO.get_or_init(|| {
        let ca = Ca::new("any");
        let good = ca.leaf(&["127.0.0.1"]);
        let good = format!("{}{}", good.cert, good.key);
        let listener = |pem: &str, settings| Listener {
            pem: pem.to_owned(),
            settings,
        };
        OpenBao::with_listeners(&[
            listener(include_str!("../support/certificates/p521.pem"), ""),
            listener(include_str!("../support/certificates/rsa1024.pem"), ""),
            listener(include_str!("../support/certificates/sha1.pem"), ""),
            listener(include_str!("../support/certificates/v1.pem"), ""),
            listener(include_str!("../support/certificates/small-authority.pem"), ""),
            listener(
                &good,
                "tls_require_and_verify_client_cert = true\n  tls_client_ca_file = \"$CA\"",
            ),
            listener(
                &good,
                "tls_require_and_verify_client_cert = true\n  tls_client_ca_file = \"$CA\"\n  tls_max_version = \"tls12\"",
            ),
            listener(&good, "tls_min_version = \"tls10\"\n  tls_max_version = \"tls11\""),
        ])
    })
}

#[test]
fn a_certificate_that_podkey_does_not_take_is_reported_with_the_reason() {
    let bao = odd_listeners();
    for (number, ca, texts) in [
        (
            0,
            include_str!("../support/certificates/p521-ca.pem"),
            &["a key on the curve P-521", "P-256, P-384"][..],
        ),
        (
            1,
            include_str!("../support/certificates/rsa1024-ca.pem"),
            &["an RSA key of 1024 bits", "2048 to 8192"],
        ),
        (
            2,
            include_str!("../support/certificates/sha1-ca.pem"),
            &["is signed with SHA-1 and RSA"],
        ),
        (
            3,
            include_str!("../support/certificates/v1-ca.pem"),
            &["X.509 certificate of version 1"],
        ),
        (
            4,
            include_str!("../support/certificates/small-authority-ca.pem"),
            &["the authority's certificate in the connection's caFile has an RSA key of 1024 bits"],
        ),
    ] {
        let run = Agent::for_bao(bao)
            .file(kubeconfig())
            .with(
                "/connection/address",
                json!(format!("https://127.0.0.1:{}", bao.listeners[number])),
            )
            .with("/connection/ca", json!(ca))
            .budget("4s")
            .run();
        run.expect(78, texts).stage("login");
        for untrue in ["TLS 1.2", "not signed by"] {
            assert!(!run.termination.contains(untrue), "{}", run.termination);
        }
    }
}

#[test]
fn a_listener_that_wants_a_client_certificate_or_old_tls_is_reported() {
    let bao = odd_listeners();
    for (number, texts) in [
        (5, &["wants a client certificate", "tls_disable_client_certs"][..]),
        (6, &["wants a client certificate", "tls_disable_client_certs"]),
        (7, &["no version of TLS that podkey speaks", "TLS 1.2 and 1.3"]),
    ] {
        // The handshake is over before the server looks at what it got, so trust has to be there.
        let pem = std::fs::read_to_string(bao.directory().join(format!("listener-{number}.pem"))).unwrap();
        Agent::for_bao(bao)
            .file(kubeconfig())
            .with(
                "/connection/address",
                json!(format!("https://127.0.0.1:{}", bao.listeners[number])),
            )
            .with("/connection/ca", json!(pem))
            .budget("4s")
            .run()
            .expect(78, texts)
            .stage("login");
    }
}

#[test]
fn a_certificate_name_of_a_kind_that_does_not_count_is_reported() {
    let ca = Ca::new("ca");
    let none = ca.leaf(&[]);
    agent(&serve(&none), &ca.pem()).run().expect(
        78,
        &["no subjectAltName", "issue it with a subjectAltName for 127.0.0.1"],
    );
    let as_dns = ca.leaf_with(|params| {
        params.subject_alt_names = vec![rcgen::SanType::DnsName("127.0.0.1".try_into().unwrap())];
    });
    agent(&serve(&as_dns), &ca.pem())
        .run()
        .expect(78, &["127.0.0.1 as a DNS name, not as an IP address", "IP:127.0.0.1"]);
    let constrained = Ca::constrained("example.com");
    let run = agent(&serve(&constrained.leaf(&["vault.test"])), &constrained.pem())
        .with("/connection/tlsServerName", json!("vault.test"))
        .run();
    run.expect(78, &["breaks a rule of X.509", "name constraints"]);
    assert!(!run.termination.contains("not signed by"), "{}", run.termination);
    let client = ca.leaf_with(|params| {
        params.subject_alt_names = vec![rcgen::SanType::IpAddress("127.0.0.1".parse().unwrap())];
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    });
    agent(&serve(&client), &ca.pem())
        .run()
        .expect(78, &["extended key usage has no serverAuth"]);
}

#[test]
fn the_wrong_scheme_is_reported() {
    let bao = bao();
    let plain = format!("https://127.0.0.1:{}", bao.http_port);
    Agent::for_bao(bao)
        .file(kubeconfig())
        .with("/connection/address", json!(plain))
        .run()
        .expect(78, &["does not speak TLS"]);
    Agent::for_bao(bao)
        .file(kubeconfig())
        .with(
            "/connection/address",
            json!(format!("http://127.0.0.1:{}", bao.tls_port)),
        )
        .with("/connection/allowInsecureHttp", json!(true))
        .run()
        .expect(78, &["speaks TLS", "https://"]);
}

#[test]
fn a_bad_ca_bundle_is_reported_with_the_bad_certificate() {
    let good = Ca::new("ca").pem();
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (bundle, text) in [
        (String::new(), "no certificate"),
        ("hello".into(), "no certificate"),
        (broken.into(), "certificate 1"),
        (format!("{good}{broken}"), "certificate 2"),
        (
            "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n".into(),
            "certificate 1",
        ),
    ] {
        Agent::for_bao(bao())
            .file(kubeconfig())
            .with("/connection/ca", json!(bundle))
            .run()
            .expect(78, &["CA bundle", text]);
    }
    let two_hundred: String = (0..50).map(|n| Ca::new(&format!("ca {n}")).pem()).collect::<String>() + &bao().ca.pem();
    Agent::for_bao(bao())
        .file(kubeconfig())
        .with("/connection/ca", json!(two_hundred))
        .run()
        .expect(0, &[]);
}
