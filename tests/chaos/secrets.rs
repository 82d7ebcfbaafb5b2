//! What the pods ask for: a server's engines of this run's own, with credentials that end soon, and values that change.

use std::time::Duration;

use serde_json::{Value, json};

use crate::Run;
use crate::harness::namespace::{Namespace, unique};
use crate::harness::openbao::{ROLE, Vault};
use crate::harness::settings::settings;
use crate::left::Left;
use crate::postgres::{ADMIN, ADMIN_PASSWORD, Postgres};

/// With this each value of the KV engine begins. What follows is this run's own, and must be on no disk.
pub const BEGINS: &str = "canary-chaos-";
/// How long a client token lives without renewal.
pub const TOKEN_TTL: Duration = Duration::from_secs(120);

/// A connection whose budget is shorter than OpenBao is away at times.
pub fn connection() -> Value {
    json!({"address": settings().openbao, "caFile": "/etc/podkey/vault-ca.pem", "budget": "15s"})
}

pub struct Secrets<'a> {
    pub namespace: &'a Namespace,
    pub vault: Vault<'a>,
    pub postgres: Postgres,
    pub canary: String,
    pub database: String,
    pub certificate: String,
}

impl<'a> Secrets<'a> {
    pub fn new(namespace: &'a Namespace) -> Self {
        let vault = Vault::new(namespace);
        let postgres = Postgres::start();
        let canary = format!("{BEGINS}{}", unique());
        vault.role(
            ROLE,
            &json!({"audience": "vault", "token_ttl": format!("{}s", TOKEN_TTL.as_secs()), "token_max_ttl": "10m"}),
        );
        let database = vault.engine("database", "creds/app", "read");
        let certificate = vault.engine("pki", "issue/app", "update");
        let insist = |path: &str, body: &Value| {
            vault.api.insist("POST", &format!("/v1/{path}"), body);
        };
        let rule = |path: &str, right: &str| format!("path \"{path}\" {{ capabilities = [\"{right}\"] }}\n");
        let rules = [
            rule(&format!("{}/data/*", vault.kv), "read"),
            rule(&format!("{database}/creds/app"), "read"),
            rule(&format!("{certificate}/issue/app"), "update"),
        ];
        insist(
            &format!("sys/policies/acl/{}", namespace.name),
            &json!({"policy": rules.concat()}),
        );
        insist(
            &format!("{database}/config/main"),
            &json!({
                "plugin_name": "postgresql-database-plugin", "allowed_roles": "*",
                "connection_url": format!("postgresql://{{{{username}}}}:{{{{password}}}}@127.0.0.1:{}/postgres?sslmode=disable", postgres.port),
                "username": ADMIN, "password": ADMIN_PASSWORD,
            }),
        );
        let create = "CREATE ROLE \"{{name}}\" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'";
        insist(
            &format!("{database}/roles/app"),
            &json!({"db_name": "main", "default_ttl": "40s", "max_ttl": "3m", "creation_statements": create}),
        );
        insist(
            &format!("{certificate}/root/generate/internal"),
            &json!({"common_name": "podkey chaos", "key_type": "ec", "ttl": "24h"}),
        );
        // With leases: a token's end revokes the certificates.
        insist(
            &format!("{certificate}/roles/app"),
            &json!({"allow_any_name": true, "key_type": "ec", "max_ttl": "1h", "generate_lease": true}),
        );
        vault.put("web", &json!({"password": format!("{canary}-0")}));
        vault.admits(ROLE, &namespace.token("default", Some("vault")));
        Self {
            namespace,
            vault,
            postgres,
            canary,
            database: format!("{database}/creds/app"),
            certificate: format!("{certificate}/issue/app"),
        }
    }

    /// Another value every few seconds, while the server takes it.
    pub fn change(&self, run: &Run) {
        let path = format!("/v1/{}/data/web", self.vault.kv);
        for number in 1.. {
            if run.is_over() {
                return;
            }
            let body = json!({"data": {"password": format!("{}-{number}", self.canary)}});
            let _ = self.vault.api.try_call("POST", &path, &body);
            std::thread::sleep(Duration::from_secs(4));
        }
    }

    /// What is left when all pods are gone.
    pub fn left(&self, never_seen: Vec<&'static str>) -> Left {
        Left::find(self, never_seen)
    }
}
