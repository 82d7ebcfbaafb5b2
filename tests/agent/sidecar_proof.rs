//! Servers that look, at each renewal of a client token, at the service-account token that it was given for (OpenBao ≥ 2.6.4 and
//! 2.7.1, kubernetes method), against the real one. Its TokenReviews come to an endpoint of the test, which looks at `exp` as the
//! API server does; the tokens live a minute, and are replaced after four fifths of that, as the kubelet does it.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::engines::{Engines, agent, engines};
use crate::sidecar_process::accessors;
use crate::support::agent::Agent;
use crate::support::fake_vault::{FakeVault, Reply, json as answer, secret_body};
use crate::support::jwt::Claims;
use crate::support::openbao::{ACCOUNT, MOUNT, NAMESPACE, OpenBao};

/// A role whose client tokens live so long, and may be renewed for ever.
fn role(bao: &OpenBao, name: &str, ttl: &str) {
    bao.write(
        &format!("auth/{MOUNT}/role/{name}"),
        &json!({
            "bound_service_account_names": [ACCOUNT], "bound_service_account_namespaces": [NAMESPACE],
            "audience": "vault", "token_policies": ["engines"], "token_ttl": ttl, "token_max_ttl": "10h",
        }),
    );
}

/// Replaces the service-account token with a token that lives so many seconds, as the kubelet does.
fn project(agent: &Agent, bao: &OpenBao, seconds: i64) {
    let token = bao.cluster.sign(&Claims {
        lifetime: seconds,
        ..Claims::new(NAMESPACE, ACCOUNT, "vault")
    });
    let file = agent.root().join("podkey/token/token");
    let new = agent.root().join("podkey/token/..new");
    fs::write(&new, token).unwrap();
    fs::rename(new, file).unwrap();
}

/// The answers that this path had, to one of these client tokens: the statuses of those that failed are errors' texts.
fn answers(bao: &OpenBao, path: &str, of: &[String]) -> Vec<Option<String>> {
    let audit = bao.audit().into_iter();
    let ours = audit.filter(|entry| {
        let accessor = entry["auth"]["accessor"].as_str().unwrap_or_default();
        entry["type"] == "response" && entry["request"]["path"] == path && of.iter().any(|known| known == accessor)
    });
    ours.map(|entry| entry["error"].as_str().map(str::to_owned)).collect()
}

/// With tokens that were good for ten minutes, and never logged in for anew before they ended, each lease ended with its client
/// token: the first renewal after the ten minutes was denied.
#[test]
fn a_database_user_outlived_the_service_account_token_by_renewals_that_the_server_denies() {
    const LIFE: i64 = 60;
    let Engines { bao, postgres } = engines();
    role(bao, "proof", "24s");
    bao.database_role("proof", "40s", "1h");
    let agent = agent()
        .with("/login/role", json!("proof"))
        .file(json!({
            "secret": "database/creds/proof", "format": "raw", "file": "db/{{ .SecretKey }}", "mode": "0444",
        }))
        .refresh("5s");
    project(&agent, bao, LIFE);
    agent.run().expect(0, &["delivered 2 files"]);
    let sidecar = agent.sidecar();
    sidecar.until_said("with the client token of podkey-init");
    let first = sidecar.said("with the client token of podkey-init")[0]["accessor"]
        .as_str()
        .unwrap()
        .to_owned();

    // Three times as long as a service-account token lives, and more than seven times as long as a client token.
    let (begun, mut projected) = (Instant::now(), Instant::now());
    let (mut users, mut tries) = (Vec::new(), 0);
    while begun.elapsed() < Duration::from_secs(3 * LIFE as u64) {
        if projected.elapsed() > Duration::from_secs(LIFE as u64 * 4 / 5) {
            project(&agent, bao, LIFE);
            projected = Instant::now();
        }
        let now = agent
            .secrets()
            .join(fs::read_link(agent.secrets().join("..data")).unwrap());
        let read = |name: &str| fs::read_to_string(now.join("db").join(name));
        let (Ok(user), Ok(password)) = (read("username"), read("password")) else {
            panic!("a generation is there for longer than it is read")
        };
        let login = postgres.ask(&user, &password, "select 1");
        assert!(
            login.is_ok(),
            "after {:?}: {login:?}; {:?}",
            begun.elapsed(),
            sidecar.log()
        );
        tries += 1;
        if users.last() != Some(&user) {
            users.push(user);
        }
        sleep(Duration::from_millis(500));
    }
    let mut tokens = accessors(&sidecar.log());
    let logins = tokens.len();
    tokens.push(first);
    let renewals = answers(bao, "auth/token/renew-self", &tokens);
    let revoked = answers(bao, "auth/token/revoke-self", &tokens);
    eprintln!(
        "{tries} logins to the database, none refused; {logins} logins of the sidecar in {:?}, {} users, {} renewals of client tokens",
        begun.elapsed(),
        users.len(),
        renewals.len(),
    );
    assert!(tries > 150, "{tries}");
    assert!(
        renewals.len() > 4 && renewals.iter().all(Option::is_none),
        "{renewals:?}"
    );
    // One in each of the service-account token's lives, but for the last, which has not come to its end.
    assert!((2..=4).contains(&logins), "{logins}");
    assert_eq!(users.len(), logins + 1, "one for each client token");
    assert_eq!(revoked.len(), logins, "the old ones are given back");
    let log = sidecar.stop();
    let warned: Vec<_> = log.iter().filter(|line| line["level"] == "WARN").collect();
    assert!(warned.is_empty(), "{warned:?}");
}

/// The kubelet does not replace the file, or too late: the renewal is denied, and the client token good until its TTL.
#[test]
fn a_renewal_that_is_denied_costs_one_login_and_no_lease() {
    let Engines { bao, postgres } = engines();
    role(bao, "late", "45s");
    bao.database_role("late", "1h", "2h");
    let agent = agent()
        .with("/login/role", json!("late"))
        .file(json!({
            "secret": "database/creds/late", "format": "raw", "file": "db/{{ .SecretKey }}", "mode": "0444",
        }))
        .refresh("1h");
    project(&agent, bao, 12);
    agent.run().expect(0, &["delivered 2 files"]);
    let pair = |agent: &Agent| (agent.text("db/username").unwrap(), agent.text("db/password").unwrap());
    let (first, first_password) = pair(&agent);
    let sidecar = agent.sidecar();
    sleep(Duration::from_secs(16));
    project(&agent, bao, 600);
    agent.until("another user", |agent| pair(agent).0 != first);
    assert!(
        postgres.ask(&first, &first_password, "select 1").is_ok(),
        "both are good"
    );
    let (second, second_password) = pair(&agent);
    assert!(postgres.ask(&second, &second_password, "select 1").is_ok());
    assert_eq!(accessors(&sidecar.log()).len(), 1);
    sidecar.stop();
}

/// As OpenBao 2.6.4 and 2.7.1 say it of tokens that an older server has issued; they say so with one status or another.
#[test]
fn an_upgrade_of_the_server_costs_a_running_sidecar_one_login() {
    std::thread::scope(|scope| {
        for status in [400, 403, 500] {
            scope.spawn(move || upgraded_server_denies_renewal(status));
        }
    });
}

fn upgraded_server_denies_renewal(status: u16) {
    const WORDS: &str =
        "failed to renew entry: failed to fetch jwt during renewal; existing auth tokens need to be re-issued";
    let upgraded = Arc::new(AtomicBool::new(true));
    let (logins, renewals, denied) = (
        Arc::new(AtomicUsize::new(0)),
        Arc::new(AtomicUsize::new(0)),
        Arc::new(AtomicUsize::new(0)),
    );
    let (login, renewal, refused) = (Arc::clone(&logins), Arc::clone(&renewals), Arc::clone(&denied));
    let is_upgraded = Arc::clone(&upgraded);
    let fake = FakeVault::plain(move |request, _| {
        let token = request.header("x-vault-token").unwrap_or_default();
        if request.target.ends_with("/login") {
            let number = login.fetch_add(1, Ordering::SeqCst);
            return answer(200, &auth(&format!("s.canary-client-token-1{number}")));
        }
        if request.target.ends_with("/renew-self") {
            renewal.fetch_add(1, Ordering::SeqCst);
            if is_upgraded.load(Ordering::SeqCst) && token == "s.canary-client-token-10" {
                refused.fetch_add(1, Ordering::SeqCst);
                return answer(status, &json!({"errors": [WORDS]}).to_string());
            }
            return answer(200, &auth(token));
        }
        if request.target.ends_with("/revoke-self") {
            return Reply::Bytes(b"HTTP/1.1 204 No Content\r\n\r\n".to_vec());
        }
        answer(
            200,
            &secret_body(r#"{"data":{"a":"canary-of-a"},"metadata":{"version":1}}"#),
        )
    });
    let agent = Agent::for_fake(&fake).refresh("24h");
    agent.run().expect(0, &["delivered 1 file"]);
    let sidecar = agent.sidecar();
    agent.until("a renewal of the new token", |_| {
        renewals.load(Ordering::SeqCst) > denied.load(Ordering::SeqCst) + 1
    });
    assert_eq!(denied.load(Ordering::SeqCst), 1, "{status}: not tried again");
    assert_eq!(logins.load(Ordering::SeqCst), 2, "{status}: that of init, and one more");
    sidecar.stop();
}

fn auth(token: &str) -> String {
    let auth = json!({
        "client_token": token, "accessor": "fake-accessor", "policies": ["p"], "lease_duration": 15, "renewable": true,
        "token_type": "service",
    });
    json!({"request_id": "x", "lease_id": "", "auth": auth, "data": Value::Null}).to_string()
}
