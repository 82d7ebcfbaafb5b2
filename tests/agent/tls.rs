//! Certificates of every kind: only the right one opens the connection, and each wrong one is told by its reason.

use serde_json::json;

use crate::deliver::{bao, kubeconfig};
use crate::support::agent::Agent;
use crate::support::ca::{Ca, Leaf, Validity};
use crate::support::fake_vault::{FakeVault, json as answer, logged_in, secret_body};

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
    // The image's bundle does not have it either; without a bundle that is said.
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
fn another_name_is_told_with_the_names_there_are() {
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
fn times_are_told_with_the_local_clocks() {
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
fn a_self_signed_certificate_is_an_authority_only_if_it_is_listed() {
    let own = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let leaf = Leaf {
        cert: own.cert.pem(),
        key: own.signing_key.serialize_pem(),
    };
    let fake = serve(&leaf);
    agent(&fake, &Ca::new("ca").pem()).run().expect(78, &["not signed by"]);
}

#[test]
fn the_wrong_scheme_is_told() {
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
fn a_bundle_that_is_none_is_told_with_the_certificate_that_is_bad() {
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
