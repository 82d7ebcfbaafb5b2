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
    /// Of the server of [`Self::on_raft`].
    unseal_key: Option<String>,
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
            let dev = [
                "-dev".to_owned(),
                "-dev-root-token-id=root".to_owned(),
                "-dev-no-store-token".to_owned(),
                format!("-dev-listen-address=127.0.0.1:{http_port}"),
            ];
            let mut child = Self::spawn(dir.path(), &dev, tls_port, cluster_port, &config);
            if Self::wait(&mut child, http_port) {
                return Self {
                    child,
                    dir,
                    http_port,
                    tls_port,
                    ca,
                    cluster,
                    listeners: listeners.iter().map(|[port, _]| *port).collect(),
                    unseal_key: None,
                };
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        let log = fs::read_to_string(dir.path().join("log")).unwrap_or_default();
        panic!("OpenBao does not start: {log}");
    }

    /// A server that keeps its data in a raft on the disk. Nothing is set up in it, either.
    pub fn on_raft() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ca = Ca::new("podkey test CA");
        let leaf = ca.leaf(&["localhost", "127.0.0.1"]);
        fs::write(dir.path().join("cert.pem"), &leaf.cert).unwrap();
        fs::write(dir.path().join("key.pem"), &leaf.key).unwrap();
        fs::write(dir.path().join("ca.pem"), ca.pem()).unwrap();
        let [http_port, tls_port, cluster_port, raft_port] = free_ports();
        let at = dir.path().display();
        fs::create_dir(dir.path().join("raft")).unwrap();
        let more = format!(
            "listener \"tcp\" {{\n  address = \"127.0.0.1:{http_port}\"\n  cluster_address = \"127.0.0.1:{raft_port}\"\n  \
             tls_disable = true\n}}\nstorage \"raft\" {{\n  path = \"{at}/raft\"\n  node_id = \"one\"\n}}\n\
             telemetry {{\n  prometheus_retention_time = \"1h\"\n  disable_hostname = true\n}}\n\
             api_addr = \"http://127.0.0.1:{http_port}\"\ncluster_addr = \"https://127.0.0.1:{raft_port}\"\n"
        );
        let child = Self::spawn(dir.path(), &[], tls_port, cluster_port, &more);
        let mut bao = Self {
            child,
            dir,
            http_port,
            tls_port,
            ca,
            cluster: Cluster::start(),
            listeners: Vec::new(),
            unseal_key: None,
        };
        let until = |call: &dyn Fn() -> Option<Value>| {
            let begun = Instant::now();
            loop {
                match call() {
                    Some(answer) => return answer,
                    None => assert!(begun.elapsed() < Duration::from_secs(120), "the raft has no leader"),
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        };
        let put = |path: &str, headers: &[(&str, &str)], body: &Value| {
            let (status, text) =
                http::call(http_port, "PUT", &format!("/v1/{path}"), headers, &body.to_string()).ok()?;
            (200..300)
                .contains(&status)
                .then(|| serde_json::from_str(&text).unwrap_or_default())
        };
        let made = until(&|| put("sys/init", &[], &json!({"secret_shares": 1, "secret_threshold": 1})));
        until(&|| put("sys/unseal", &[], &json!({"key": made["keys"][0]})));
        let token = made["root_token"].as_str().unwrap();
        // A root token with the id that all other functions use.
        let root = json!({"id": ROOT, "policies": ["root"], "no_parent": true});
        until(&|| put("auth/token/create", &[("X-Vault-Token", token)], &root));
        bao.unseal_key = made["keys"][0].as_str().map(str::to_owned);
        bao
    }

    /// Kills the server of [`Self::on_raft`], which keeps its data.
    pub fn kill(&mut self) {
        drop(self.child.stdin.take());
        self.child.wait().unwrap();
    }

    /// Starts it again, sealed.
    pub fn start_again(&mut self) {
        self.child = Self::start_shell(self.dir.path(), &[]);
    }

    /// Unseals the server of [`Self::on_raft`], and waits until it answers with what it holds.
    pub fn unseal(&self) {
        let key = json!({"key": self.unseal_key.as_deref().unwrap()}).to_string();
        let begun = Instant::now();
        while !matches!(
            http::call(self.http_port, "GET", "/v1/sys/health", &[], ""),
            Ok((200, _))
        ) {
            assert!(begun.elapsed() < Duration::from_secs(120), "it cannot be unsealed");
            let _ = http::call(self.http_port, "PUT", "/v1/sys/unseal", &[], &key);
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// How many entries the server has written into the raft.
    pub fn raft_entries(&self) -> u64 {
        let headers = [("X-Vault-Token", ROOT)];
        let (_, text) = http::call(self.http_port, "GET", "/v1/sys/metrics?format=prometheus", &headers, "").unwrap();
        let counter = text.lines().find_map(|line| line.strip_prefix("vault_raft_apply "));
        let counter = counter.unwrap_or_else(|| panic!("no counter in {text}"));
        counter.parse::<f64>().unwrap() as u64
    }

    /// `dev`: more arguments.
    fn spawn(dir: &Path, dev: &[String], tls_port: u16, cluster_port: u16, listeners: &str) -> Child {
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
        Self::start_shell(dir, dev)
    }

    /// The process of a server whose configuration is in `dir`.
    fn start_shell(dir: &Path, dev: &[String]) -> Child {
        // The shell ends the server as soon as its own standard input ends, which is when we do.
        Command::new("/bin/sh")
            .args([
                "-c",
                r#""$@" >log 2>&1 & p=$!; echo $p >pid; cat >/dev/null; kill -9 $p"#,
                "sh",
            ])
            .arg(binary())
            .args(["server", "-config=config.hcl"])
            .args(dev)
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

    /// The server's process.
    pub fn pid(&self) -> u32 {
        let pid = fs::read_to_string(self.dir.path().join("pid")).unwrap();
        pid.trim().parse().unwrap()
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
        Self::start().set_up_scenario_1()
    }

    /// See [`Self::with_scenario_1`].
    pub fn set_up_scenario_1(self) -> Self {
        let bao = self;
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
