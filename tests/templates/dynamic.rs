//! Engines whose answers differ each time: PKI, SSH, transit, token, versions, database. `bao agent` writes the answer that it got
//! in front of its file; podkey renders with that answer.

use std::rc::Rc;

use podkey::template::{SecretAnswer, SecretCall};
use serde_json::json;

use crate::reference::{Case, Reference, difference, ours, table};
use crate::support::postgres::{ADMIN, ADMIN_PASSWORD, Postgres};

/// Writes the answer of `secret` in front.
const HEAD: &str = r#"{"lease_id":{{ toJSON .LeaseID }},"lease_duration":{{ .LeaseDuration }},"renewable":{{ .Renewable }},"data":{{ toUnescapedJSON .Data }}}@@"#;
/// Writes the answer of `pkiCert` in front.
const CERTIFICATE_HEAD: &str = r#"{"data":{"certificate":{{ toUnescapedJSON .Cert }},"private_key":{{ toUnescapedJSON .Key }},"issuing_ca":{{ toUnescapedJSON .CA }}}}@@"#;

#[test]
fn dynamic_secrets_are_what_bao_agent_writes() {
    let reference = Reference::start();
    engines(&reference);
    let database = Postgres::start();
    connect(&reference, &database);
    let cases: Vec<(&str, Case)> = table(include_str!("table/dynamic.txt"))
        .into_iter()
        .map(|(name, text)| {
            let dot = if name.contains("variable") { " $c." } else { " ." };
            let text = text
                .replace("@HEAD@", HEAD)
                .replace("@CERT@", &CERTIFICATE_HEAD.replace(" .", dot));
            (name, Case { text, strict: true })
        })
        .collect();
    let mut problems = Vec::new();
    // An agent of its own for each: equal calls in one agent share an answer, and one bad template would end all.
    for (name, case) in &cases {
        let theirs = match reference.render(std::slice::from_ref(case)) {
            Ok(mut theirs) => theirs.remove(0),
            Err(error) => {
                problems.push(format!("{name}: bao fails: {error}"));
                continue;
            }
        };
        let whole = String::from_utf8_lossy(&theirs).into_owned();
        let (head, _) = whole.split_once("@@").unwrap();
        let secret = Rc::new(SecretAnswer::from_answer(head.trim().as_bytes()).unwrap());
        let lookup = |_: &SecretCall| Some(Rc::clone(&secret));
        match ours(case, &lookup) {
            Ok(ours) if ours == theirs => {}
            Ok(ours) => problems.push(format!("{name}: {}", difference(&theirs, &ours))),
            Err(error) => problems.push(format!("{name}: {error}")),
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n\n"));
}

fn engines(reference: &Reference) {
    let bao = &reference.bao;
    bao.write("sys/mounts/kv", &json!({"type": "kv", "options": {"version": "2"}}));
    bao.write("kv/data/versions", &json!({"data": {"v": "one"}}));
    bao.write("kv/data/versions", &json!({"data": {"v": "two"}}));
    bao.write("sys/mounts/pki", &json!({"type": "pki"}));
    let root = json!({"common_name": "test root", "key_type": "ec", "key_bits": 256});
    bao.write("pki/root/generate/internal", &root);
    let role = json!({"max_ttl": "24h", "allowed_domains": "example.com", "allow_subdomains": true, "key_type": "ec", "key_bits": 256});
    bao.write("pki/roles/web", &role);
    bao.write("sys/mounts/ssh", &json!({"type": "ssh"}));
    bao.write(
        "ssh/config/ca",
        &json!({"generate_signing_key": true, "key_type": "ed25519"}),
    );
    let user = json!({"key_type": "ca", "allow_user_certificates": true, "allowed_users": "*",
        "default_extensions": {"permit-pty": ""}, "allow_user_key_ids": true, "ttl": "1h"});
    bao.write("ssh/roles/user", &user);
    let password = json!({"key_type": "otp", "default_user": "ubuntu", "cidr_list": "127.0.0.0/8"});
    bao.write("ssh/roles/otp", &password);
    bao.write("sys/mounts/transit", &json!({"type": "transit"}));
    bao.write("transit/keys/k", &json!({}));
}

fn connect(reference: &Reference, database: &Postgres) {
    let bao = &reference.bao;
    bao.write("sys/mounts/database", &json!({"type": "database"}));
    let url = format!(
        "postgresql://{{{{username}}}}:{{{{password}}}}@127.0.0.1:{}/postgres?sslmode=disable",
        database.port
    );
    let config = json!({"plugin_name": "postgresql-database-plugin", "allowed_roles": "*", "connection_url": url,
        "username": ADMIN, "password": ADMIN_PASSWORD});
    bao.write("database/config/main", &config);
    let role = json!({"db_name": "main", "default_ttl": "1h", "max_ttl": "2h",
        "creation_statements": "CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'"});
    bao.write("database/roles/app", &role);
}
