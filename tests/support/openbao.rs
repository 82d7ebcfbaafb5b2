//! A real OpenBao server, in memory, with a TLS listener, an audit log, and scenario 1 of the design set up in it.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::ca::Ca;
use super::http;
use super::jwt::Cluster;

const ROOT: &str = "root";

/// A running server. Ends when dropped, and when this process ends, however it does.
pub struct OpenBao {
    child: Child,
    dir: TempDir,
    /// Plain http, for setting things up.
    pub http_port: u16,
    /// TLS, for everything else.
    pub tls_port: u16,
    pub ca: Ca,
    pub cluster: Cluster,
    /// The ports of the listeners of [`Self::with_listeners`], in their order.
    pub listeners: Vec<u16>,
}

/// One more TLS listener.
pub struct Listener {
    /// Certificate and key, PEM.
    pub pem: String,
    /// More lines of its configuration.
    pub settings: &'static str,
}

/// Where the server's binary is: `$PODKEY_BAO`, `bao` or `vault` in PATH, or where `make` puts it.
pub fn binary() -> PathBuf {
    if let Some(given) = std::env::var_os("PODKEY_BAO") {
        return given.into();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    ["bao", "vault"]
        .iter()
        .flat_map(|name| std::env::split_paths(&path).map(move |dir| dir.join(name)))
        .chain([Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/bin/bao")])
        .find(|candidate| candidate.is_file())
        .expect("no OpenBao: set PODKEY_BAO, put bao into PATH, or run make once")
}

impl OpenBao {
    /// Starts a server with nothing in it but a TLS certificate for localhost, 127.0.0.1 and `vault.vault.svc`.
    pub fn start() -> Self {
        Self::with_listeners(&[])
    }

    /// The same with more TLS listeners. `$CA` in their settings is the file of this server's authority.
    pub fn with_listeners(more: &[Listener]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ca = Ca::new("podkey test CA");
        let leaf = ca.leaf(&["localhost", "127.0.0.1", "vault.vault.svc"]);
        fs::write(dir.path().join("cert.pem"), &leaf.cert).unwrap();
        fs::write(dir.path().join("key.pem"), &leaf.key).unwrap();
        fs::write(dir.path().join("ca.pem"), ca.pem()).unwrap();
        let cluster = Cluster::start();
        for _ in 0..5 {
            let [http_port, tls_port, cluster_port] = free_ports();
            let listeners: Vec<[u16; 2]> = more.iter().map(|_| free_ports()).collect();
            let mut config = String::new();
            for (number, (listener, [port, cluster])) in more.iter().zip(&listeners).enumerate() {
                let pem = dir.path().join(format!("listener-{number}.pem"));
                fs::write(&pem, &listener.pem).unwrap();
                let settings = listener
                    .settings
                    .replace("$CA", &format!("{}/ca.pem", dir.path().display()));
                config.push_str(&format!(
                    "listener \"tcp\" {{\n  address = \"127.0.0.1:{port}\"\n  cluster_address = \"127.0.0.1:{cluster}\"\n  \
                     tls_cert_file = \"{0}\"\n  tls_key_file = \"{0}\"\n  {settings}\n}}\n",
                    pem.display()
                ));
            }
            let mut child = Self::spawn(dir.path(), http_port, tls_port, cluster_port, &config);
            if Self::wait(&mut child, http_port) {
                return Self {
                    child,
                    dir,
                    http_port,
                    tls_port,
                    ca,
                    cluster,
                    listeners: listeners.iter().map(|[port, _]| *port).collect(),
                };
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        let log = fs::read_to_string(dir.path().join("log")).unwrap_or_default();
        panic!("OpenBao does not start: {log}");
    }

    fn spawn(dir: &Path, http_port: u16, tls_port: u16, cluster_port: u16, listeners: &str) -> Child {
        let at = dir.display();
        let config = format!(
            r#"
            listener "tcp" {{
              address         = "127.0.0.1:{tls_port}"
              cluster_address = "127.0.0.1:{cluster_port}"
              tls_cert_file   = "{at}/cert.pem"
              tls_key_file    = "{at}/key.pem"
            }}
            audit "file" "file" {{
              options = {{ file_path = "{at}/audit.log", hmac_accessor = "false" }}
            }}
            {listeners}
            "#
        );
        fs::write(dir.join("config.hcl"), config).unwrap();
        // The shell ends the server as soon as its own standard input ends, which is when we do.
        Command::new("/bin/sh")
            .args(["-c", r#""$@" >log 2>&1 & p=$!; cat >/dev/null; kill -9 $p"#, "sh"])
            .arg(binary())
            .args([
                "server",
                "-dev",
                "-dev-root-token-id=root",
                "-dev-no-store-token",
                "-config=config.hcl",
            ])
            .arg(format!("-dev-listen-address=127.0.0.1:{http_port}"))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", dir)
            // Or Go would not sign with the small key that one test shows.
            .env("GODEBUG", "rsa1024min=0")
            .current_dir(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }

    fn wait(child: &mut Child, port: u16) -> bool {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(20) {
            if matches!(http::call(port, "GET", "/v1/sys/health", &[], ""), Ok((200, _))) {
                return true;
            }
            if matches!(child.try_wait(), Ok(Some(_))) {
                return false;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        false
    }

    pub fn address(&self) -> String {
        format!("https://127.0.0.1:{}", self.tls_port)
    }

    pub fn directory(&self) -> &Path {
        self.dir.path()
    }

    /// Everything that was asked of the server, one JSON object a line.
    pub fn audit(&self) -> Vec<Value> {
        fs::read_to_string(self.dir.path().join("audit.log"))
            .unwrap_or_default()
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    /// A request with the root token, in a namespace ("" is the root).
    pub fn call_in(&self, namespace: &str, method: &str, path: &str, body: &Value) -> (u16, Value) {
        self.call_as(ROOT, namespace, method, path, body)
    }

    /// A request with this client token.
    pub fn call_as(&self, token: &str, namespace: &str, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let body = match body {
            Value::Null => String::new(),
            other => other.to_string(),
        };
        let headers = [("X-Vault-Token", token), ("X-Vault-Namespace", namespace)];
        let headers = &headers[..if namespace.is_empty() { 1 } else { 2 }];
        let (status, text) = http::call(self.http_port, method, &format!("/v1/{path}"), headers, &body).unwrap();
        (status, serde_json::from_str(&text).unwrap_or_default())
    }

    /// Writes, and insists that it worked.
    pub fn write_in(&self, namespace: &str, path: &str, body: &Value) -> Value {
        let (status, answer) = self.call_in(namespace, "POST", path, body);
        assert!((200..300).contains(&status), "POST {path}: {status} {answer}");
        answer
    }

    pub fn write(&self, path: &str, body: &Value) -> Value {
        self.write_in("", path, body)
    }

    pub fn delete(&self, path: &str) {
        let (status, answer) = self.call_in("", "DELETE", path, &Value::Null);
        assert!((200..300).contains(&status), "DELETE {path}: {status} {answer}");
    }

    /// How many tokens there are.
    pub fn tokens(&self) -> usize {
        let (_, answer) = self.call_in("", "LIST", "auth/token/accessors", &Value::Null);
        answer["data"]["keys"].as_array().map_or(0, Vec::len)
    }

    /// A kubernetes auth method that asks this cluster.
    pub fn enable_kubernetes(&self, namespace: &str, mount: &str, cluster: &Cluster) {
        self.write_in(namespace, &format!("sys/auth/{mount}"), &json!({"type": "kubernetes"}));
        self.write_in(
            namespace,
            &format!("auth/{mount}/config"),
            &json!({
                "kubernetes_host": cluster.url, "kubernetes_ca_cert": self.ca.pem(),
                "token_reviewer_jwt": cluster.sign(&super::jwt::Claims::new("kube-system", "reviewer", super::jwt::API_AUDIENCE)),
                "disable_local_ca_jwt": true,
            }),
        );
    }

    /// Scenario 1 of the design, and beside it the other engines and auth methods.
    pub fn with_scenario_1() -> Self {
        let bao = Self::start();
        bao.write(
            "sys/mounts/arc-runners",
            &json!({"type": "kv", "options": {"version": "2"}}),
        );
        bao.write("sys/mounts/kv1", &json!({"type": "kv", "options": {"version": "1"}}));
        bao.write(
            "sys/policies/acl/arc-kubeconfig",
            &json!({"policy": "path \"arc-runners/data/*\" { capabilities = [\"read\"] }\n\
                               path \"kv1/*\" { capabilities = [\"read\"] }\n\
                               path \"team/data/*\" { capabilities = [\"read\"] }"}),
        );
        bao.enable_kubernetes("", MOUNT, &bao.cluster);
        let role = json!({
            "bound_service_account_names": [ACCOUNT], "bound_service_account_namespaces": [NAMESPACE],
            "token_policies": ["arc-kubeconfig"], "token_ttl": "20m",
        });
        bao.write(&format!("auth/{MOUNT}/role/actions"), &role);
        let with = |field: &str, value: Value| {
            let mut role = role.clone();
            role[field] = value;
            role
        };
        bao.write(
            &format!("auth/{MOUNT}/role/actions-vault"),
            &with("audience", json!("vault")),
        );
        bao.write(&format!("auth/{MOUNT}/role/batch"), &with("token_type", json!("batch")));
        bao.write(&format!("auth/{MOUNT}/role/once"), &with("token_num_uses", json!(1)));

        bao.write(&format!("sys/auth/{JWT_MOUNT}"), &json!({"type": "jwt"}));
        bao.write(
            &format!("auth/{JWT_MOUNT}/config"),
            &json!({"jwt_validation_pubkeys": [bao.cluster.public_pem()]}),
        );
        let role = json!({
            "role_type": "jwt", "user_claim": "sub", "token_policies": ["arc-kubeconfig"], "token_ttl": "10m",
            "bound_subject": format!("system:serviceaccount:{NAMESPACE}:{ACCOUNT}"),
        });
        bao.write(&format!("auth/{JWT_MOUNT}/role/no-audience"), &role);
        let mut bound = role;
        bound["bound_audiences"] = json!(["vault"]);
        bao.write(&format!("auth/{JWT_MOUNT}/role/actions"), &bound);
        bao
    }
}

/// Scenario 1's names.
pub const MOUNT: &str = "my-cluster/arc-runners";
pub const JWT_MOUNT: &str = "my-cluster/oidc/runners";
pub const NAMESPACE: &str = "arc-runners";
pub const ACCOUNT: &str = "arc-runner-set-gha-rs-no-permission";

impl Drop for OpenBao {
    fn drop(&mut self) {
        // Ends the shell's input, and with it the server.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

fn free_ports<const N: usize>() -> [u16; N] {
    let listeners: [TcpListener; N] = std::array::from_fn(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}
