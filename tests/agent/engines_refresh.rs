//! Secrets that end, kept alive by the sidecar: database users renewed, rotated and revoked, certificates replaced before
//! their end. These take as long as the secrets live.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::crypto::ring;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};

use crate::engines::{Engines, agent, engines, file, text};
use crate::support::agent::Agent;

/// The generation that containers see now, as a reader has it that opens the directory once.
fn generation(agent: &Agent) -> PathBuf {
    agent
        .secrets()
        .join(fs::read_link(agent.secrets().join("..data")).unwrap())
}

fn read(generation: &std::path::Path, place: &str) -> Option<String> {
    fs::read_to_string(generation.join(place)).ok()
}

#[test]
fn a_database_user_is_renewed_then_replaced_while_both_are_valid_and_revoked_with_the_pod() {
    let Engines { bao, postgres } = engines();
    // Renewed at 20 s for what is left of the maximum, so replaced at 37 s.
    bao.database_role("rotated", "30s", "44s");
    let agent = agent()
        .file(json!({
            "secret": "database/creds/rotated", "format": "raw", "file": "db/{{ .SecretKey }}", "mode": "0444",
        }))
        .refresh("5s");
    agent.run().expect(0, &["delivered 2 files"]);
    let sidecar = agent.sidecar();
    let pair = || {
        let now = generation(&agent);
        // A generation that was just cleared away is no pair.
        Some((read(&now, "db/username")?, read(&now, "db/password")?))
    };
    let (first, first_password) = pair().unwrap();
    agent.until("a renewal", |_| !sidecar.said("lease renewed").is_empty());
    assert_eq!(
        pair().unwrap(),
        (first.clone(), first_password.clone()),
        "renewed, not replaced"
    );

    agent.until("another user", |_| pair().is_some_and(|(user, _)| user != first));
    assert!(
        postgres.ask(&first, &first_password, "select 1").is_ok(),
        "renewed beyond its first TTL, and valid when the new one is there"
    );
    let (second, second_password) = pair().unwrap();
    assert_eq!(
        postgres.ask(&second, &second_password, "select current_user").unwrap(),
        second
    );
    // The limiter's word: in all this time, two.
    let made = bao
        .audit()
        .into_iter()
        .filter(|line| line["type"] == "response" && line["request"]["path"] == "database/creds/rotated");
    assert_eq!(made.count(), 2);

    let log = sidecar.stop();
    assert!(!Value::from(log).to_string().contains(&second_password));
    agent.until("no user is left", |_| {
        postgres.admin("select count(*) from pg_roles where rolname like '%rotated%'") == "0"
    });
    assert!(postgres.ask(&second, &second_password, "select 1").is_err());
}

#[test]
fn sixty_four_database_users_that_were_made_together_are_renewed_at_different_times() {
    let Engines { bao, .. } = engines();
    let path = |number: usize| format!("database/creds/spread-{number}");
    let mut agent = agent().refresh("24h");
    for number in 0..64 {
        bao.database_role(&format!("spread-{number}"), "80s", "24h");
        agent = agent.file(file(&path(number), &Value::Null, "username", &format!("user-{number}")));
    }
    agent.run().expect(0, &["delivered 64 files"]);
    let made = agent.status();
    let sidecar = agent.sidecar();
    agent.until("64 renewals", |_| sidecar.said("lease renewed").len() >= 64);
    let mut seconds = BTreeMap::<String, usize>::new();
    let mut renewed = BTreeSet::new();
    for line in bao.audit() {
        let lease = line["response"]["secret"]["lease_id"].as_str().unwrap_or_default();
        if line["type"] == "response" && line["request"]["path"] == "sys/leases/renew" && lease.contains("/spread-") {
            // The second, such as 2026-11-29T12:00:00.
            let time = line["time"].as_str().unwrap();
            *seconds.entry(time.chars().take(19).collect()).or_default() += 1;
            renewed.insert(lease.to_owned());
        }
    }
    assert!(renewed.len() >= 64, "{}: {seconds:?}", renewed.len());
    // A busy machine may delay some of them. Without the spread they are in five seconds.
    assert!(seconds.len() >= 10, "{seconds:?}");
    for number in 0..64 {
        let user = format!("user-{number}");
        assert_eq!(
            agent.status()["files"][&user]["version"],
            made["files"][&user]["version"],
            "not replaced"
        );
    }
    let replaced = bao.audit().into_iter().filter(|line| {
        let path = line["request"]["path"].as_str().unwrap_or_default();
        line["type"] == "request" && path.starts_with("database/creds/spread-")
    });
    assert_eq!(replaced.count(), 64, "one user for each file");
    sidecar.stop();
}

#[test]
fn a_certificate_is_replaced_with_its_key_before_it_expires() {
    let data = json!({"common_name": "short.example.com", "ttl": "60s"});
    let mut agent = agent().refresh("5s");
    for field in ["certificate", "private_key", "expiration"] {
        agent = agent.file(file("pki/issue/web", &data, field, &format!("tls/{field}")));
    }
    agent.run().expect(0, &[]);
    let sidecar = agent.sidecar();
    let seconds = |text: &str| text.parse::<u64>().unwrap();
    let end = seconds(&agent.text("tls/expiration").unwrap());
    let first = agent.text("tls/certificate").unwrap();
    let mut seen = 0;
    agent.until("another certificate", |agent| {
        let now = generation(agent);
        let [Some(certificate), Some(key)] = ["tls/certificate", "tls/private_key"].map(|place| read(&now, place))
        else {
            return false;
        };
        let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        CertifiedKey::from_der(chain, key, &ring::default_provider()).expect("at no time another's key");
        seen += 1;
        certificate != first
    });
    assert!(seen > 1);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    assert!(now < end, "the first one ended {} s ago", now - end);
    assert!(seconds(&agent.text("tls/expiration").unwrap()) > end);
    assert_eq!(crate::engines::asked("pki/issue/web", "short.example.com"), 2);
    sidecar.stop();
    // Nothing ends a certificate but its time.
    assert!(text(&agent, "files/tls/certificate").starts_with("-----BEGIN"));
}
