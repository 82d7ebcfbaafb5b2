//! Engines that make secrets, in earnest: certificates, ssh keys, one-time codes, decrypted texts, and users of a real
//! PostgreSQL. What is delivered does what it is for.

use std::sync::{Arc, OnceLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::crypto::ring;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use serde_json::{Value, json};

use crate::job_pod::Pod;
use crate::support::agent::{Agent, Ended};
use crate::support::fake_vault::{FakeVault, Reply, json as answer, logged_in, secret_body};
use crate::support::openbao::{ACCOUNT, MOUNT, NAMESPACE, OpenBao};
use crate::support::postgres::{ADMIN, ADMIN_PASSWORD, Postgres};

/// A server with an engine of each kind, and the database that one of them makes users in.
pub(crate) struct Engines {
    pub(crate) bao: OpenBao,
    pub(crate) postgres: Postgres,
}

pub(crate) fn engines() -> &'static Engines {
    static ENGINES: OnceLock<Engines> = OnceLock::new();
    ENGINES.get_or_init(|| {
        let (bao, postgres) = (OpenBao::start(), Postgres::start());
        bao.enable_kubernetes("", MOUNT, &bao.cluster);
        let rights = [
            ("app/data/*", "read"),
            ("plain/*", "read"),
            ("pki/issue/*", "update"),
            ("ssh/*", "update"),
            ("totp/code/*", "read"),
            ("transit/*", "update"),
            ("database/creds/*", "read"),
            ("kv1/*", "create\", \"update"),
        ];
        let policy: String = rights
            .map(|(path, right)| format!("path \"{path}\" {{ capabilities = [\"{right}\"] }}\n"))
            .concat();
        bao.write("sys/policies/acl/engines", &json!({"policy": policy}));
        bao.write(
            &format!("auth/{MOUNT}/role/engines"),
            &json!({
                "bound_service_account_names": [ACCOUNT], "bound_service_account_namespaces": [NAMESPACE],
                "audience": "vault", "token_policies": ["engines"], "token_ttl": "20m",
            }),
        );
        for kind in ["pki", "ssh", "totp", "transit", "database"] {
            bao.write(&format!("sys/mounts/{kind}"), &json!({"type": kind}));
        }
        bao.write("sys/mounts/app", &json!({"type": "kv", "options": {"version": "2"}}));
        bao.write("sys/mounts/plain", &json!({"type": "kv", "options": {"version": "1"}}));
        bao.write("sys/mounts/kv1", &json!({"type": "kv", "options": {"version": "1"}}));
        bao.write(
            "pki/root/generate/internal",
            &json!({"common_name": "podkey test root", "ttl": "24h", "key_type": "ec"}),
        );
        bao.write(
            "pki/roles/web",
            &json!({"allowed_domains": ["example.com"], "allow_subdomains": true, "key_type": "ec", "max_ttl": "1h"}),
        );
        bao.write("ssh/config/ca", &json!({"generate_signing_key": true, "key_type": "ed25519"}));
        bao.write(
            "ssh/roles/user",
            &json!({
                "key_type": "ca", "allow_user_certificates": true, "allowed_users": "*", "default_user": "runner",
                "allowed_extensions": "permit-pty", "ttl": "10m",
            }),
        );
        bao.write(
            "ssh/roles/otp",
            &json!({"key_type": "otp", "default_user": "runner", "cidr_list": "10.0.0.0/8"}),
        );
        bao.write(
            "totp/keys/app",
            &json!({"generate": true, "issuer": "podkey", "account_name": "app"}),
        );
        bao.write("transit/keys/app", &json!({}));
        bao.write(
            "database/config/main",
            &json!({
                "plugin_name": "postgresql-database-plugin", "allowed_roles": "*",
                "connection_url": format!("postgresql://{{{{username}}}}:{{{{password}}}}@127.0.0.1:{}/postgres?sslmode=disable", postgres.port),
                "username": ADMIN, "password": ADMIN_PASSWORD,
            }),
        );
        bao.database_role("web", "1h", "24h");
        Engines { bao, postgres }
    })
}

impl OpenBao {
    /// A role of the database engine whose users live so long.
    pub(crate) fn database_role(&self, name: &str, ttl: &str, max_ttl: &str) {
        self.write(
            &format!("database/roles/{name}"),
            &json!({
                "db_name": "main", "default_ttl": ttl, "max_ttl": max_ttl,
                "creation_statements":
                    "CREATE ROLE \"{{name}}\" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'",
            }),
        );
    }
}

pub(crate) fn agent() -> Agent {
    Agent::for_bao(&engines().bao).with("/login/role", json!("engines"))
}

pub(crate) fn file(path: &str, data: &Value, key: &str, place: &str) -> Value {
    let mut file = json!({"secret": path, "key": key, "format": "raw", "file": place, "mode": "0444"});
    if !data.is_null() {
        file["data"] = data.clone();
    }
    file
}

pub(crate) fn text(agent: &Agent, place: &str) -> String {
    String::from_utf8(agent.delivered(place)).unwrap()
}

/// What the run's log says with this message, one JSON object a line.
pub(crate) fn said(ended: &Ended, message: &str) -> Vec<Value> {
    let lines = ended
        .stderr
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines
        .filter(|line| line["message"].as_str().is_some_and(|said| said.starts_with(message)))
        .collect()
}

/// The client token of a run, whether it is there yet.
fn token_lives(ended: &Ended) -> bool {
    let accessor = said(ended, "logged in")[0]["accessor"].clone();
    let (status, _) = engines()
        .bao
        .call_in("", "POST", "auth/token/lookup-accessor", &json!({"accessor": accessor}));
    status == 200
}

/// How long the run says that the secret at this path lasts.
fn ttl(ended: &Ended, path: &str) -> Option<u64> {
    let ends = said(ended, "a dynamic secret was delivered");
    ends.iter().find(|end| end["secret"] == path)?["ttl_s"].as_u64()
}

/// How often a path was asked for by the role's tokens, with this in the body.
pub(crate) fn asked(path: &str, common_name: &str) -> usize {
    let hashed = engines()
        .bao
        .write("sys/audit-hash/file", &json!({"input": common_name}));
    let asked = engines().bao.audit().into_iter().filter(|line| {
        line["type"] == "request"
            && line["request"]["path"] == path
            && line["request"]["data"]["common_name"] == hashed["data"]["hash"]
    });
    asked.count()
}

#[test]
fn certificate_key_and_chain_are_files_of_one_write() {
    let data = json!({"common_name": "web.example.com", "ttl": "30m"});
    let agent = agent()
        .file(file("pki/issue/web", &data, "certificate", "tls/tls.crt"))
        .file(file("pki/issue/web", &data, "private_key", "tls/tls.key"))
        .file(file("pki/issue/web", &data, "ca_chain", "tls/ca.crt"));
    let ended = agent.run();
    ended.expect(0, &["delivered 3 files"]);
    assert_eq!(asked("pki/issue/web", "web.example.com"), 1);

    let certificate = CertificateDer::from_pem_slice(&agent.delivered("files/tls/tls.crt")).unwrap();
    let key = PrivateKeyDer::from_pem_slice(&agent.delivered("files/tls/tls.key")).unwrap();
    CertifiedKey::from_der(vec![certificate.clone()], key, &ring::default_provider()).expect("they are a pair");
    let chain = agent.delivered("files/tls/ca.crt");
    assert!(chain.ends_with(b"-----END CERTIFICATE-----\n"));
    let mut roots = rustls::RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(&chain) {
        roots.add(root.unwrap()).unwrap();
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::new(ring::default_provider()));
    let name = "web.example.com".try_into().unwrap();
    verifier
        .build()
        .unwrap()
        .verify_server_cert(&certificate, &[], &name, &[], UnixTime::now())
        .expect("the chain is the certificate's");

    // Its end is its own: it needs no client token to live on.
    let left = ttl(&ended, "pki/issue/web").expect("a certificate ends");
    assert!((1700..=1800).contains(&left), "{left} s");
    assert!(!token_lives(&ended));
}

#[test]
fn different_data_makes_a_different_write() {
    let name = |name: &str| json!({"common_name": format!("{name}.example.com")});
    let agent = agent()
        .file(file("pki/issue/web", &name("one"), "serial_number", "one"))
        .file(file("pki/issue/web", &name("two"), "serial_number", "two"));
    agent.run().expect(0, &[]);
    assert_ne!(agent.delivered("files/one"), agent.delivered("files/two"));
}

#[test]
fn the_refusal_of_an_engine_is_quoted() {
    let refused = |path: &str, data: &Value, code: i32, texts: &[&str]| {
        let agent = agent().file(file(path, data, "certificate", "a"));
        agent.run().expect(code, texts);
        assert_eq!(agent.all_files(), [""; 0]);
    };
    let foreign = json!({"common_name": "web.example.org"});
    refused(
        "pki/issue/web",
        &foreign,
        77,
        &[
            "refuses to write pki/issue/web",
            "web.example.org not allowed",
            "`data`",
        ],
    );
    refused("pki/issue/none", &foreign, 77, &["unknown role"]);
    refused(
        "pki/sign/web",
        &foreign,
        77,
        &["may not write pki/sign/web", "`update`"],
    );
    refused("pki/issue/web", &Value::Null, 77, &["may not read pki/issue/web"]);
    // Written with success, and no secret comes of it.
    refused("kv1/a", &json!({"a": "b"}), 66, &["answered with no data"]);
}

#[test]
fn an_ssh_key_is_signed_and_its_expiry_is_known() {
    let mut blob = b"\0\0\0\x0bssh-ed25519\0\0\0\x20".to_vec();
    blob.extend([7; 32]);
    let data = json!({
        "public_key": format!("ssh-ed25519 {}", STANDARD.encode(blob)), "valid_principals": "runner", "ttl": "90s",
        "extensions": {"permit-pty": ""},
    });
    let agent = agent().file(file("ssh/sign/user", &data, "signed_key", "id-cert.pub"));
    let ended = agent.run();
    ended.expect(0, &[]);
    let signed = text(&agent, "files/id-cert.pub");
    assert!(signed.starts_with("ssh-ed25519-cert-v01@openssh.com "), "{signed}");
    let inside = STANDARD.decode(signed.split(' ').nth(1).unwrap().trim()).unwrap();
    let has = |text: &[u8]| inside.windows(text.len()).any(|window| window == text);
    assert!(has(b"permit-pty") && has(b"runner"));
    let left = ttl(&ended, "ssh/sign/user").expect("a certificate ends");
    assert!((60..=90).contains(&left), "{left} s");
    assert!(!token_lives(&ended));
}

#[test]
fn a_one_time_password_for_ssh_is_taken_once() {
    let agent = agent().file(file("ssh/creds/otp", &json!({"ip": "10.1.2.3"}), "key", "otp"));
    let ended = agent.run();
    ended.expect(0, &[]);
    assert!(token_lives(&ended), "the lease would die with it");
    let otp = json!({"otp": text(&agent, "files/otp")});
    let verified = engines().bao.write("ssh/verify", &otp);
    assert_eq!(verified["data"]["ip"], "10.1.2.3");
    assert_ne!(engines().bao.call_in("", "POST", "ssh/verify", &otp).0, 200);
}

#[test]
fn a_totp_code_is_current() {
    let agent = agent().file(file("totp/code/app", &Value::Null, "code", "code"));
    let ended = agent.run();
    ended.expect(0, &[]);
    let code = text(&agent, "files/code");
    assert_eq!(code.len(), 6);
    let checked = engines().bao.write("totp/code/app", &json!({"code": code}));
    assert_eq!(checked["data"]["valid"], true);
    assert_eq!(ttl(&ended, "totp/code/app"), None, "the answer tells no end");
}

#[test]
fn transit_decrypts_and_derives() {
    let bytes = b"canary-of-transit\x00\xff {{ .x }}";
    let sealed = engines()
        .bao
        .write("transit/encrypt/app", &json!({"plaintext": STANDARD.encode(bytes)}));
    let mut opened = file(
        "transit/decrypt/app",
        &json!({"ciphertext": sealed["data"]["ciphertext"]}),
        "plaintext",
        "opened",
    );
    opened["decode"] = "base64".into();
    let derived = json!({
        "secret": "transit/datakey/plaintext/app", "data": {"bits": "256"}, "format": "raw", "mode": "0444",
        "file": "key/{{ .SecretKey | uppercase }}",
    });
    let agent = agent().file(opened).file(derived).canary("canary-of-transit");
    agent.run().expect(0, &[]);
    assert_eq!(agent.delivered("files/opened"), bytes);
    assert_eq!(STANDARD.decode(text(&agent, "files/key/PLAINTEXT")).unwrap().len(), 32);
    let again = json!({"ciphertext": text(&agent, "files/key/CIPHERTEXT")});
    let again = engines().bao.write("transit/decrypt/app", &again);
    assert_eq!(again["data"]["plaintext"], text(&agent, "files/key/PLAINTEXT"));
}

#[test]
fn a_database_user_logs_in_until_it_is_revoked() {
    let Engines { bao, postgres } = engines();
    let agent = agent().file(json!({
        "secret": "database/creds/web", "format": "raw", "file": "db/{{ .SecretKey }}", "mode": "0444",
    }));
    let ended = agent.run();
    ended.expect(0, &["delivered 2 files"]);
    assert_eq!(
        agent.all_files(),
        ["files/db/password", "files/db/username"],
        "a pair of one read"
    );
    let (user, password) = (text(&agent, "files/db/username"), text(&agent, "files/db/password"));
    assert!(!ended.stderr.contains(&password));
    assert_eq!(postgres.ask(&user, &password, "select current_user").unwrap(), user);
    assert!(
        postgres
            .ask(&user, "wrong", "select 1")
            .unwrap_err()
            .contains("authentication failed")
    );

    let left = ttl(&ended, "database/creds/web").expect("a lease");
    // Its client token's, which is shorter.
    assert!((1190..=1200).contains(&left), "{left}");
    // As it is without a sidecar: nothing but the token's end ends it.
    assert!(token_lives(&ended));
    let accessor = said(&ended, "logged in")[0]["accessor"].clone();
    bao.write("auth/token/revoke-accessor", &json!({"accessor": accessor}));
    let mut tries = 0..200;
    while postgres.ask(&user, &password, "select 1").is_ok() {
        tries.next().expect("the revocation reaches the database");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

#[test]
fn a_run_that_fails_leaves_no_database_user() {
    let Engines { bao, postgres } = engines();
    bao.database_role("unlucky", "1h", "24h");
    let agent = agent()
        .file(file("database/creds/unlucky", &Value::Null, "username", "user"))
        .file(file("database/creds/unlucky", &Value::Null, "nothing", "nothing"));
    let ended = agent.run();
    ended.expect(66, &["nothing"]);
    assert!(!token_lives(&ended));
    let users = "select count(*) from pg_roles where rolname like '%unlucky%'";
    let mut tries = 0..200;
    while postgres.admin(users) != "0" {
        tries.next().expect("the revocation reaches the database");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let made = bao
        .audit()
        .into_iter()
        .filter(|line| line["request"]["path"] == "database/creds/unlucky");
    assert!(made.count() > 0, "there was one");
}

#[test]
fn a_write_whose_answers_are_lost_is_not_repeated_without_end() {
    let data = json!({"common_name": "web"});
    let fake = FakeVault::plain(logged_in(|_, _| Reply::Custom(Box::new(|_| {}))));
    let mut agent = Agent::for_fake(&fake).budget("1m").with("/files", json!([]));
    agent = agent.file(file("pki/issue/web", &data, "certificate", "a"));
    let ended = agent.run();
    ended.expect(
        69,
        &["3 answers to the write of pki/issue/web did not arrive", "no further"],
    );
    let writes = |fake: &FakeVault| {
        let requests = fake.requests();
        requests
            .iter()
            .filter(|request| request.target == "/v1/pki/issue/web")
            .count()
    };
    assert_eq!(writes(&fake), 3);
    assert_eq!(said(&ended, "the write of pki/issue/web had no whole answer").len(), 3);

    // What came on a connection that the server closed in between is counted too, and a whole answer ends it.
    let fake = FakeVault::plain(logged_in(|request, n| {
        assert_eq!(request.body, br#"{"common_name":"web"}"#);
        match n {
            0 | 1 => Reply::Custom(Box::new(|out| {
                drop(out.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n{"))
            })),
            _ => answer(200, &secret_body(r#"{"certificate":"canary-certificate"}"#)),
        }
    }));
    let mut agent = Agent::for_fake(&fake).budget("1m").with("/files", json!([]));
    agent = agent
        .file(file("pki/issue/web", &data, "certificate", "a"))
        .canary("canary-certificate");
    let ended = agent.run();
    ended.expect(0, &[]);
    assert_eq!(writes(&fake), 3);
    assert_eq!(said(&ended, "the write of pki/issue/web had no whole answer").len(), 2);
}

#[test]
fn a_file_that_is_named_after_a_field_replaces_no_other_file() {
    let fake = |data: &'static str| FakeVault::plain(logged_in(move |_, _| answer(200, &secret_body(data))));
    let each = |path: &str, name: &str| json!({"secret": path, "format": "raw", "file": name, "mode": "0444"});
    for (data, files, texts) in [
        (
            r#"{"web":"canary-value"}"#,
            vec![
                each("kv/one", "{{ .SecretKey }}"),
                file("kv/two", &Value::Null, "web", "web"),
            ],
            ["/podkey/secrets/web", "kv/one"],
        ),
        (
            r#"{"web":"canary-value"}"#,
            vec![
                each("kv/one", "{{ .SecretKey }}"),
                file("kv/two", &Value::Null, "web", "web/inside"),
            ],
            ["/podkey/secrets/web/inside", "kv/one"],
        ),
        (
            r#"{"web":"canary-value"}"#,
            vec![
                each("kv/one", "a/{{ .SecretKey }}"),
                each("kv/two", "a/{{ .SecretKey | lowercase }}"),
            ],
            ["of kv/one", "of a field of kv/two"],
        ),
        (
            r#"{"Web":"canary-value","WEB":"x"}"#,
            vec![each("kv/one", "a/{{ .SecretKey | lowercase }}")],
            ["\"WEB\" and \"Web\"", "a/web"],
        ),
        (
            r#"{"good":"canary-value","../bad":"x"}"#,
            vec![each("kv/one", "a/{{ .SecretKey }}")],
            ["kv/one", "\"../bad\""],
        ),
    ] {
        let fake = fake(data);
        let mut agent = Agent::for_fake(&fake)
            .with("/files", json!(files))
            .canary("canary-value");
        agent.plan["budget"] = json!("5s");
        let ended = agent.run();
        ended.expect(65, &texts).stage("render");
        assert_eq!(agent.all_files(), [""; 0], "before anything is written");
    }
    // The variables have a directory there.
    let fake = fake(r#"{"env":"canary-value"}"#);
    let agent = Agent::for_fake(&fake)
        .with("/files", json!([each("kv/one", "{{ .SecretKey }}")]))
        .with(
            "/env",
            json!([{"secret": "kv/two", "select": {"value": {"at": ["env"], "name": "A"}}}]),
        )
        .canary("canary-value");
    agent.run().expect(65, &["the directory of the variables"]);
}

#[test]
fn files_that_are_named_after_fields_are_masked_and_cleared_with_the_job() {
    for directory in ["", "db/"] {
        let fake = FakeVault::plain(logged_in(|_, n| match n {
            0 => answer(
                200,
                &secret_body(r#"{"user":"canary-user-name","password":"canary-of-fields-1"}"#),
            ),
            _ => answer(404, r#"{"errors":[]}"#),
        }));
        let each = json!({
            "secret": "kv/web", "format": "raw", "file": format!("{directory}{{{{ .SecretKey }}}}"), "mode": "0400",
        });
        let pod = Pod::new(Agent::for_fake(&fake).with("/files", json!([each])));
        let mut pod = pod.canary("canary-of-fields-1").ready();
        assert_eq!(
            pod.text(&format!("podkey/secrets/{directory}password")),
            "canary-of-fields-1"
        );
        let step = pod.started();
        assert!(!step.failed, "{}", step.raw);
        for secret in ["canary-user-name", "canary-of-fields-1"] {
            assert!(step.raw.contains(&format!("::add-mask::{secret}")), "{}", step.raw);
        }
        pod.completed();
        assert_eq!(pod.left(), [""; 0], "{directory:?}");
    }
}

#[test]
fn a_failure_that_is_left_to_the_job_leaves_no_file_that_is_named_after_a_field() {
    let fake = FakeVault::plain(logged_in(|_, n| match n {
        0 => answer(200, &secret_body(r#"{"user":"canary-user-name"}"#)),
        _ => answer(404, r#"{"errors":[]}"#),
    }));
    let each = json!({"secret": "kv/web", "format": "raw", "file": "db/{{ .SecretKey }}", "mode": "0400"});
    let pod = Pod::new(Agent::for_fake(&fake).with("/files", json!([each])));
    pod.init().expect(0, &["delivered 1 file"]);
    assert_eq!(pod.agent.all_files(), ["files/db/user"]);
    // As the kubelet does after a restart of the node.
    pod.init().expect(0, &["kv/web"]);
    assert_eq!(pod.agent.all_files(), [""; 0]);
}

#[test]
fn a_client_token_that_ended_while_the_server_failed_was_told_as_a_missing_right() {
    let bao = &engines().bao;
    // Nobody listens there: the server answers each read with 500.
    bao.write(
        "database/config/away",
        &json!({
            "plugin_name": "postgresql-database-plugin", "allowed_roles": "*", "verify_connection": false,
            "connection_url": "postgresql://{{username}}:{{password}}@127.0.0.1:9/postgres?sslmode=disable",
            "username": ADMIN, "password": ADMIN_PASSWORD,
        }),
    );
    let role = json!({"db_name": "away", "default_ttl": "1h", "max_ttl": "1h", "creation_statements": "select 1"});
    bao.write("database/roles/away", &role);
    bao.write(
        &format!("auth/{MOUNT}/role/brief"),
        &json!({
            "bound_service_account_names": [ACCOUNT], "bound_service_account_namespaces": [NAMESPACE],
            "audience": "vault", "token_policies": ["engines"], "token_ttl": "6s", "token_max_ttl": "6s",
        }),
    );
    let away = || agent().file(file("database/creds/away", &Value::Null, "username", "user"));
    let ended = away().with("/login/role", json!("brief")).budget("60s").run();
    ended
        .expect(
            69,
            &[
                "client token of the role brief ended after 6 s",
                "database/creds/away",
                "token_ttl",
            ],
        )
        .stage("read");
    assert!(!ended.stderr.contains("may not read"), "{}", ended.stderr);

    // A budget that ends before the token: what the server said.
    let ended = away().with("/login/role", json!("brief")).budget("2s").run();
    ended.expect(69, &["status 500"]).stage("read");
    // A right that is missing: at once, whatever the TTL.
    let ended = agent()
        .file(file("sys/mounts", &Value::Null, "a", "a"))
        .with("/login/role", json!("engines"))
        .run();
    ended.expect(77, &["may not read sys/mounts"]).stage("read");
}
