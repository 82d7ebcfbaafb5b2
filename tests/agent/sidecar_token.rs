//! The sidecar's token and its leases over time, against the real server: a maximum TTL that comes, a server that is away,
//! certificates that end, and what is left at the server when pods end.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::sidecar_process::{accessors, fresh, lives, put};
use crate::support::agent::Agent;
use crate::support::openbao::{ACCOUNT, MOUNT, NAMESPACE, OpenBao};

/// A server with a certificate authority, and roles whose tokens are short-lived.
pub(crate) fn server() -> OpenBao {
    let bao = OpenBao::with_scenario_1();
    bao.write(
        "sys/mounts/pki",
        &json!({"type": "pki", "config": {"max_lease_ttl": "24h"}}),
    );
    bao.write(
        "pki/root/generate/internal",
        &json!({"common_name": "a test's root", "ttl": "20h"}),
    );
    for (role, generate_lease, ttl) in [("leased", true, "10m"), ("short", false, "60s")] {
        bao.write(
            &format!("pki/roles/{role}"),
            &json!({"allow_any_name": true, "generate_lease": generate_lease, "ttl": ttl, "key_type": "ec", "key_bits": 256}),
        );
    }
    let policy = "path \"arc-runners/data/*\" { capabilities = [\"read\"] }\npath \"pki/issue/*\" { capabilities = [\"update\"] }";
    bao.write("sys/policies/acl/arc-kubeconfig", &json!({"policy": policy}));
    for (role, ttl) in [("20s", "20s"), ("60s", "60s")] {
        bao.write(
            &format!("auth/{MOUNT}/role/{role}"),
            &json!({
                "bound_service_account_names": [ACCOUNT], "bound_service_account_namespaces": [NAMESPACE],
                "token_policies": ["arc-kubeconfig"], "token_ttl": ttl, "token_max_ttl": ttl, "audience": "vault",
            }),
        );
    }
    bao
}

/// A pod with certificate and key of this role of the authority.
fn certificate(bao: &OpenBao, role: &str) -> Agent {
    let file = |key: &str, file: &str| {
        json!({
            "secret": format!("pki/issue/{role}"), "data": {"common_name": "web.example.com"}, "key": key,
            "format": "raw", "file": file, "mode": "0440",
        })
    };
    let agent = Agent::for_bao(bao).refresh("5s").canary("PRIVATE KEY");
    agent
        .file(file("certificate", "tls/cert.pem"))
        .file(file("private_key", "tls/key.pem"))
        .file(file("issuing_ca", "tls/ca.pem"))
}

/// How many leases of an authority's role there are.
pub(crate) fn leases(bao: &OpenBao, role: &str) -> usize {
    let (_, answer) = bao.call_in("", "LIST", &format!("sys/leases/lookup/pki/issue/{role}"), &Value::Null);
    answer["data"]["keys"].as_array().map_or(0, Vec::len)
}

#[test]
fn a_token_at_its_maximum_ttl_is_replaced_and_revoked() {
    let bao = server();
    let secret = "arc-runners/data/long-lived";
    let before = bao.tokens();
    let agent = fresh(&bao, secret).with("/login/role", json!("20s"));
    agent.run().expect(0, &[]);
    let sidecar = agent.sidecar();
    agent.until("two new logins", |_| sidecar.said("logged in").len() == 2);
    put(&bao, secret, "canary-second");
    agent.until("the change", |agent| {
        agent.text("a").as_deref() == Some("canary-second")
    });
    let of_now = accessors(&sidecar.log()).pop().unwrap();
    assert!(lives(&bao, &of_now));
    // One of the first `init`, whose handover the second one replaced, lasts for its TTL.
    agent.until("the old ones are gone", |_| bao.tokens() <= before + 2);
    let renewals = bao
        .audit()
        .iter()
        .filter(|entry| entry["request"]["path"] == "auth/token/renew-self")
        .count();
    assert!(renewals > 0);
    let log = sidecar.stop();
    assert!(!lives(&bao, &of_now));
    let warned: Vec<_> = log.iter().filter(|line| line["level"] == "WARN").collect();
    assert!(warned.is_empty(), "{warned:?}");
}

#[test]
fn a_leased_secret_is_replaced_before_its_token_is_revoked() {
    let bao = server();
    let agent = certificate(&bao, "leased").with("/login/role", json!("60s"));
    let run = agent.run();
    run.expect(0, &["delivered 3 files"]);
    assert!(
        !run.stderr.contains("WARN"),
        "the sidecar looks after it: {}",
        run.stderr
    );
    let first = agent.text("tls/cert.pem").unwrap();
    let sidecar = agent.sidecar();
    agent.until("another certificate", |agent| {
        agent.text("tls/cert.pem").unwrap() != first
    });
    agent.until("the revocation", |_| asked(&bao, "auth/token/revoke-self").len() == 1);
    agent.until("the first one's lease died with its token", |_| {
        leases(&bao, "leased") == 1
    });
    let [new] = accessors(&sidecar.log()).try_into().unwrap();
    let path = |(path, accessor): (String, Value)| (path, accessor == new.as_str());
    let asked: Vec<_> = asked(&bao, "").into_iter().map(path).collect();
    assert_eq!(
        asked,
        [
            ("pki/issue/leased".to_owned(), false),
            ("pki/issue/leased".to_owned(), true),
            ("auth/token/revoke-self".to_owned(), false),
        ],
        "made with the new token, and then the old one revoked"
    );
    let log = sidecar.stop();
    let changed = log.iter().filter(|line| line["message"] == "file changed").count();
    assert_eq!(changed, 2, "certificate and key, not the authority's own: {log:?}");
    assert!(!lives(&bao, &new));
    // The server ends a token's leases soon after it.
    agent.until("no lease", |_| leases(&bao, "leased") == 0);
}

/// What pods asked for that makes or ends a lease, and with which token; all of it, or of one path.
fn asked(bao: &OpenBao, path: &str) -> Vec<(String, Value)> {
    let audit = bao.audit().into_iter();
    // The server's first own token is root's.
    let audit = audit.filter(|entry| entry["type"] == "response" && entry["auth"]["display_name"] != "root");
    let asked = audit.map(|entry| {
        let path = entry["request"]["path"].as_str().unwrap_or_default().to_owned();
        (path, entry["auth"]["accessor"].clone())
    });
    let paths = ["pki/issue/leased", "auth/token/revoke-self"];
    asked
        .filter(|(asked, _)| paths.contains(&asked.as_str()) && asked.starts_with(path))
        .collect()
}

#[test]
fn a_certificate_and_its_key_are_replaced_together_before_they_expire() {
    let bao = server();
    let agent = certificate(&bao, "short");
    agent.run().expect(0, &[]);
    let sidecar = agent.sidecar();
    let mut pairs: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    let begun = Instant::now();
    while pairs.len() < 2 {
        assert!(begun.elapsed() < Duration::from_secs(58), "it ended");
        // The generation that a reader has opened stays whole while it reads.
        let generation = agent
            .secrets()
            .join(std::fs::read_link(agent.secrets().join("..data")).unwrap());
        let read = |name: &str| std::fs::read(generation.join("tls").join(name)).unwrap();
        let (cert, key) = (read("cert.pem"), read("key.pem"));
        assert_eq!(
            pairs.entry(cert).or_insert_with(|| key.clone()),
            &key,
            "one certificate has one key"
        );
        sleep(Duration::from_millis(5));
    }
    assert_eq!(agent.status()["files"]["tls/cert.pem"]["ttlSeconds"], 60);
    let log = sidecar.stop();
    let changed = log.iter().filter(|line| line["message"] == "file changed").count();
    assert_eq!(changed, 2, "{log:?}");
}

/// A proxy between the agent and the server that can be closed.
struct Between {
    port: u16,
    open: Arc<AtomicBool>,
}

impl Between {
    fn new(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let open = Arc::new(AtomicBool::new(true));
        let is_open = Arc::clone(&open);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if is_open.load(Ordering::SeqCst) {
                    let server = TcpStream::connect(("127.0.0.1", to)).unwrap();
                    pass(client.try_clone().unwrap(), server.try_clone().unwrap());
                    pass(server, client);
                }
            }
        });
        Self { port, open }
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream) {
    std::thread::spawn(move || {
        let mut buffer = [0; 16 * 1024];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            if to.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
    });
}

#[test]
fn the_sidecar_waits_for_a_server_that_is_away_and_finds_it_again() {
    let bao = server();
    let secret = "arc-runners/data/away";
    let between = Between::new(bao.tls_port);
    // Long enough for the token to end meanwhile.
    let agent = fresh(&bao, secret).with("/login/role", json!("20s")).with(
        "/connection/address",
        json!(format!("https://127.0.0.1:{}", between.port)),
    );
    agent.run().expect(0, &[]);
    let sidecar = agent.sidecar();
    sidecar.until_said("with the client token of podkey-init");
    between.open.store(false, Ordering::SeqCst);
    put(&bao, secret, "canary-second");
    agent.until("a failure", |agent| agent.status()["files"]["a"]["state"] == "stale");
    sleep(Duration::from_secs(22));
    assert_eq!(agent.text("a").as_deref(), Some("canary-first"), "the file stays");
    let warned = |log: Vec<Value>| log.iter().filter(|line| line["level"] == "WARN").count();
    assert_eq!(warned(sidecar.log()), 1, "one line a minute: {:?}", sidecar.log());
    between.open.store(true, Ordering::SeqCst);
    agent.until("the change", |agent| {
        agent.text("a").as_deref() == Some("canary-second")
    });
    agent.until("the state", |agent| agent.status()["state"] == "fresh");
    assert!(!sidecar.said("the server answers as it should again").is_empty());
    assert_eq!(sidecar.said("logged in").len(), 1);
    let log = sidecar.stop();
    let last = log.last().unwrap()["message"].as_str().unwrap();
    assert!(
        last.ends_with("nothing was left at the server"),
        "the token that ended meanwhile is no loss: {last}"
    );
}

#[test]
fn a_revoked_token_is_replaced_and_denied_files_are_reported() {
    let bao = server();
    let secret = "arc-runners/data/revoked";
    let agent = fresh(&bao, secret);
    let sidecar = agent.sidecar();
    sidecar.until_said("with the client token of podkey-init");
    let accessor = sidecar.said("with the client token of podkey-init")[0]["accessor"].clone();
    bao.write("auth/token/revoke-accessor", &json!({"accessor": accessor}));
    put(&bao, secret, "canary-second");
    agent.until("the change", |agent| {
        agent.text("a").as_deref() == Some("canary-second")
    });
    bao.write(
        "sys/policies/acl/arc-kubeconfig",
        &json!({"policy": "path \"kv1/*\" { capabilities = [\"read\"] }"}),
    );
    agent.until("the state", |agent| agent.status()["files"]["a"]["state"] == "denied");
    let reason = agent.status()["files"]["a"]["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("may not read"), "{reason}");
    assert_eq!(agent.text("a").as_deref(), Some("canary-second"));
    sidecar.stop();
}

/// How many pods the next test ends; the measure is 1,000.
fn pods() -> u64 {
    std::env::var("PODKEY_PODS").map_or(60, |text| text.parse().unwrap())
}

#[test]
fn pods_leave_neither_tokens_nor_leases_however_they_end() {
    let bao = server();
    let before = bao.tokens();
    let killed: usize = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4)
            .map(|worker| {
                let bao = &bao;
                scope.spawn(move || {
                    let mut killed = 0;
                    for number in (worker..pods()).step_by(4) {
                        let agent = certificate(bao, "leased").with("/login/role", json!("20s"));
                        agent.run().expect(0, &[]);
                        let sidecar = agent.sidecar();
                        match number % 5 {
                            0 => {
                                sidecar.kill();
                                killed += 1;
                            }
                            // A job that is cancelled while its pod starts.
                            1 => {
                                sidecar.until_said("keeping the files fresh");
                                sidecar.stop();
                            }
                            _ => {
                                agent.until("it works", |agent| {
                                    agent.status()["files"]["tls/cert.pem"]["nextTry"].is_string()
                                });
                                sidecar.stop();
                            }
                        }
                    }
                    killed
                })
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).sum()
    });
    let few = |left: usize| {
        let begun = Instant::now();
        while bao.tokens() > before + left || leases(&bao, "leased") > left {
            let left = (bao.tokens() - before, leases(&bao, "leased"));
            assert!(begun.elapsed() < Duration::from_secs(60), "tokens and leases: {left:?}");
            sleep(Duration::from_millis(200));
        }
    };
    // The tokens of those that were not killed are gone at once; the server ends their leases soon after.
    assert!(bao.tokens() <= before + killed, "{} tokens", bao.tokens() - before);
    few(killed);
    let left = (bao.tokens() - before, leases(&bao, "leased"));
    eprintln!(
        "{} pods, {killed} of them killed: (tokens, leases) {left:?} are left",
        pods()
    );
    // And theirs for no longer than they live.
    few(0);
}

#[test]
fn the_lease_of_a_killed_sidecar_is_replaced_before_its_token_ends() {
    let bao = server();
    let agent = certificate(&bao, "leased").with("/login/role", json!("60s"));
    agent.run().expect(0, &[]);
    // Once from the status of `init`, and once from the status of a sidecar.
    for _ in 0..2 {
        let sidecar = agent.sidecar();
        agent.until("the next try", |agent| {
            agent.status()["files"]["tls/cert.pem"]["nextTry"].is_string()
        });
        sidecar.kill();
        assert_eq!(agent.status()["files"]["tls/cert.pem"]["ttlSeconds"], 60);
    }
}
