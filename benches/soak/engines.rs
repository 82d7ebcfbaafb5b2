//! What the sidecar of the soak reads: a server that keeps its data on the disk, with secrets of each kind, and a database that
//! one of its engines makes users in. Everything that ends, ends soon.

use serde_json::{Value, json};

use crate::support::openbao::{ACCOUNT, MOUNT, NAMESPACE, OpenBao};
use crate::support::postgres::{ADMIN, ADMIN_PASSWORD, Postgres};

/// How long a client token lives without renewal, and at the most.
const TOKEN: [&str; 2] = ["2m", "10m"];

/// Secrets of KV version 2 with the field `value`, which change all the time.
pub(crate) const CHANGED: [&str; 9] = [
    "raw-0", "raw-1", "raw-2", "json", "yaml", "dotenv", "shell", "part-0", "part-1",
];
/// The one that is deleted and comes back.
pub(crate) const GONE: &str = "gone";

pub(crate) fn path(name: &str) -> String {
    format!("app/data/{name}")
}

/// The pod's annotations.
pub(crate) fn annotations(refresh: &str) -> Value {
    json!({
        "podkey.dev/files": json!(files()).to_string(), "podkey.dev/refresh": refresh, "podkey.dev/on-change": "touch:changed",
    })
}

/// The files that the pod asks for: 16 secrets in 16 files.
pub(crate) fn files() -> Vec<Value> {
    let whole = |format: &str| json!({"secret": path(format), "format": format, "file": format});
    let mut files: Vec<Value> = (0..3)
        .map(|number| json!({"secret": path(&format!("raw-{number}")), "key": "value", "format": "raw", "file": format!("raw-{number}")}))
        .collect();
    files.extend(["json", "yaml", "dotenv", "shell"].map(whole));
    let template = "{{ with secret \"app/data/part-0\" }}{{ .Data.data.value }}{{ end }}\n\
                    {{ with secret \"app/data/part-1\" }}{{ .Data.data.value | toJSON }}{{ end }}\n";
    files.push(json!({"file": "template", "template": template}));
    files.push(json!({"secret": "plain/config", "key": "value", "format": "raw", "file": "plain"}));
    files.push(json!({"secret": path(GONE), "key": "value", "format": "raw", "file": "gone", "when-gone": "delete"}));
    let web = json!({"common_name": "web.example.com", "ttl": "60s"});
    for field in ["certificate", "private_key"] {
        files.push(json!({"secret": "pki/issue/web", "data": web, "key": field, "format": "raw", "file": format!("web/{field}")}));
    }
    let bundle = "{{ with secret \"pki/issue/web\" \"common_name=api.example.com\" \"ttl=90s\" -}}\n\
                  {{ .Data.certificate }}\n{{ .Data.private_key }}\n{{ end -}}\n";
    files.push(json!({"file": "api.pem", "template": bundle}));
    for role in ["renewed", "short"] {
        files.push(
            json!({"secret": format!("database/creds/{role}"), "format": "json", "file": format!("database-{role}")}),
        );
    }
    files.push(json!({"secret": "totp/code/app", "key": "code", "format": "raw", "file": "code"}));
    files
}

/// Puts it all into the server.
pub(crate) fn set_up(bao: &OpenBao, postgres: &Postgres) {
    bao.enable_kubernetes("", MOUNT, &bao.cluster);
    let rights = [
        ("app/data/*", "read"),
        ("plain/*", "read"),
        ("pki/issue/*", "update"),
        ("totp/code/*", "read"),
        ("database/creds/*", "read"),
    ];
    let policy: String = rights
        .map(|(path, right)| format!("path \"{path}\" {{ capabilities = [\"{right}\"] }}\n"))
        .concat();
    bao.write("sys/policies/acl/soak", &json!({"policy": policy}));
    let role = json!({
        "bound_service_account_names": [ACCOUNT], "bound_service_account_namespaces": [NAMESPACE], "audience": "vault",
        "token_policies": ["soak"], "token_ttl": TOKEN[0], "token_max_ttl": TOKEN[1],
    });
    bao.write(&format!("auth/{MOUNT}/role/soak"), &role);
    for kind in ["pki", "totp", "database"] {
        bao.write(&format!("sys/mounts/{kind}"), &json!({"type": kind}));
    }
    // A server has it ready only some moments after it was made.
    bao.write("sys/mounts/plain", &json!({"type": "kv", "options": {"version": "1"}}));
    bao.write("sys/mounts/app", &json!({"type": "kv", "options": {"version": "2"}}));
    let root = json!({"common_name": "podkey soak root", "ttl": "240h", "key_type": "ec"});
    bao.write("pki/root/generate/internal", &root);
    // Certificates that nobody looks up again are not kept.
    let web = json!({
        "allowed_domains": ["example.com"], "allow_subdomains": true, "key_type": "ec", "max_ttl": "1h", "no_store": true,
    });
    bao.write("pki/roles/web", &web);
    bao.write(
        "totp/keys/app",
        &json!({"generate": true, "issuer": "podkey", "account_name": "app"}),
    );
    let url = format!(
        "postgresql://{{{{username}}}}:{{{{password}}}}@127.0.0.1:{}/postgres?sslmode=disable",
        postgres.port
    );
    let config = json!({
        "plugin_name": "postgresql-database-plugin", "allowed_roles": "*", "connection_url": url, "username": ADMIN,
        "password": ADMIN_PASSWORD,
    });
    bao.write("database/config/main", &config);
    for (role, ttl, most) in [("renewed", "60s", "180s"), ("short", "30s", "30s")] {
        let made = "CREATE ROLE \"{{name}}\" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'";
        let role_of = json!({"db_name": "main", "default_ttl": ttl, "max_ttl": most, "creation_statements": made});
        bao.write(&format!("database/roles/{role}"), &role_of);
    }
}
