//! OpenBao as a test needs it: an auth mount that asks the cluster, a KV engine, policies and roles, all of the test's
//! own and named after its namespace.

use std::sync::LazyLock;
use std::time::Duration;

use serde_json::{Value, json};

use super::api::{Answer, Api, cluster, kubernetes_host};
use super::namespace::Namespace;
use super::settings::settings;
use super::{LIMIT, merge, wait};

/// OpenBao, as root.
pub fn openbao() -> &'static Api {
    static OPENBAO: LazyLock<Api> = LazyLock::new(|| {
        let settings = settings();
        server(&settings.openbao, &settings.openbao_ca, &settings.openbao_token)
    });
    &OPENBAO
}

/// An OpenBao server, asked with this token.
pub fn server(address: &str, ca: &str, token: &str) -> Api {
    use rustls_pki_types::{CertificateDer, pem::PemObject as _};
    let mut config = kube::Config::new(address.parse().unwrap());
    let cas = CertificateDer::pem_slice_iter(ca.as_bytes());
    config.root_cert = Some(cas.map(|ca| ca.unwrap().to_vec()).collect());
    Api::new(config, vec![("X-Vault-Token", token.to_owned())])
}

/// What a test has of OpenBao.
pub struct Vault<'a> {
    namespace: &'a Namespace,
    /// The server, as root.
    pub api: Api,
    /// Where the kubernetes auth method is mounted.
    pub auth: String,
    /// The KV v2 engine.
    pub kv: String,
    /// The cluster role binding that lets OpenBao review tokens.
    pub reviewer: String,
}

/// The role that every test has.
pub const ROLE: &str = "reader";

impl<'a> Vault<'a> {
    /// Sets it up, with the role [`ROLE`] for the audience `vault` and the namespace's service account `default`.
    pub fn new(namespace: &'a Namespace) -> Self {
        Self::on(openbao(), namespace)
    }

    /// The same on another server.
    pub fn on(api: &Api, namespace: &'a Namespace) -> Self {
        let vault = Self::set_up(
            api,
            namespace,
            &format!("my-cluster/{}", namespace.name),
            &namespace.name,
        );
        vault.role(ROLE, &json!({"audience": "vault"}));
        vault
    }

    /// Sets it up at these mounts, without a role.
    pub fn at(namespace: &'a Namespace, auth: &str, kv: &str) -> Self {
        Self::set_up(openbao(), namespace, auth, kv)
    }

    /// Sets it up as scenario 4 has it, with its `role1`; what a cluster has once is named after the namespace.
    pub fn of_scenario_4(namespace: &'a Namespace) -> Self {
        let vault = Self::at(
            namespace,
            &format!("demo-auth-mount-{}", namespace.name),
            &namespace.name,
        );
        vault.role("role1", &json!({"audience": "vault", "token_ttl": "24h"}));
        vault
    }

    fn set_up(api: &Api, namespace: &'a Namespace, auth: &str, kv: &str) -> Self {
        let account = "openbao-reviewer";
        namespace.service_account(account);
        let reviewer = namespace.bind_cluster_role(account, "system:auth-delegator");
        let token = namespace.token_of(account, &json!({"expirationSeconds": 7200}));
        let ca = cluster().get(&namespace.path("configmaps/kube-root-ca.crt"))["data"]["ca.crt"].clone();

        let made = |path: &str, body: Value| {
            api.insist("POST", &format!("/v1/sys/{path}"), &body);
            namespace.delete_later(api, format!("/v1/sys/{path}"));
        };
        made(&format!("auth/{auth}"), json!({"type": "kubernetes"}));
        api.insist(
            "POST",
            &format!("/v1/auth/{auth}/config"),
            &json!({
                "kubernetes_host": kubernetes_host(), "kubernetes_ca_cert": ca, "token_reviewer_jwt": token,
                "disable_local_ca_jwt": true,
            }),
        );
        made(
            &format!("mounts/{kv}"),
            json!({"type": "kv", "options": {"version": "2"}}),
        );
        let rule = format!("path \"{kv}/data/*\" {{ capabilities = [\"read\"] }}");
        made(&format!("policies/acl/{}", namespace.name), json!({"policy": rule}));
        Self {
            namespace,
            api: api.clone(),
            auth: auth.to_owned(),
            kv: kv.to_owned(),
            reviewer,
        }
    }

    /// Mounts an engine of the test's own, and lets pods do this at a path below it. Gives the mount.
    pub fn engine(&self, kind: &str, path: &str, capability: &str) -> String {
        let mount = format!("{kind}-{}", self.namespace.name);
        self.api
            .insist("POST", &format!("/v1/sys/mounts/{mount}"), &json!({"type": kind}));
        self.namespace
            .delete_later(&self.api, format!("/v1/sys/mounts/{mount}"));
        let rule = format!("path \"{mount}/{path}\" {{ capabilities = [\"{capability}\"] }}");
        let policy = format!("/v1/sys/policies/acl/{}", self.namespace.name);
        self.api.insist("POST", &policy, &json!({"policy": rule}));
        mount
    }

    /// How many leases there are below a path.
    #[track_caller]
    pub fn leases(&self, path: &str) -> usize {
        self.try_leases(path).unwrap_or_else(|why| panic!("{why}"))
    }

    /// As [`Self::leases`], for tests in which the server may be away.
    pub fn try_leases(&self, path: &str) -> Result<usize, String> {
        Ok(self.list(&format!("sys/leases/lookup/{path}"))?.len())
    }

    /// The entries below a path. The server answers 404 where there are none.
    pub fn list(&self, path: &str) -> Result<Vec<Value>, String> {
        let answer = self.api.try_call("LIST", &format!("/v1/{path}"), &Value::Null)?;
        match answer.status {
            200 => Ok(answer.json()["data"]["keys"].as_array().cloned().unwrap_or_default()),
            404 => Ok(Vec::new()),
            status => Err(format!("{path}: {status} {}", answer.text)),
        }
    }

    /// A role for the namespace's service accounts, with the test's policy; what is given comes over that.
    pub fn role(&self, name: &str, over: &Value) {
        let role = merge(
            json!({
                "bound_service_account_names": ["default"], "bound_service_account_namespaces": [self.namespace.name],
                "token_policies": [self.namespace.name], "token_ttl": "20m",
            }),
            over,
        );
        self.api
            .insist("POST", &format!("/v1/auth/{}/role/{name}", self.auth), &role);
    }

    /// Stores a secret. A new KV v2 engine takes a moment to be one.
    pub fn put(&self, secret: &str, data: &Value) {
        let path = format!("/v1/{}/data/{secret}", self.kv);
        let mut last = None;
        wait(Duration::from_secs(30), || {
            let answer = self.api.call("POST", &path, &json!({"data": data}));
            let stored = answer.is_success().then_some(());
            last = Some(answer);
            stored
        })
        .unwrap_or_else(|| panic!("POST {path}: {last:?}"));
    }

    /// Logs in as a pod would, and gives what is answered.
    pub fn login(&self, role: &str, jwt: &str) -> Answer {
        let path = format!("/v1/auth/{}/login", self.auth);
        self.api.call("POST", &path, &json!({"role": role, "jwt": jwt}))
    }

    /// Logs in as a pod would, once: the API server learns a moment late that OpenBao may review tokens.
    #[track_caller]
    pub fn admits(&self, role: &str, jwt: &str) {
        let mut said = String::new();
        wait(LIMIT, || {
            let login = self.login(role, jwt);
            let admitted = login.is_success().then_some(());
            said = login.text;
            admitted
        })
        .unwrap_or_else(|| panic!("{role}: {said}"));
    }

    /// How many client tokens of the test's auth mount live. Each of these tokens has a lease, so this counts leases. A look-up by
    /// accessor would do harm: while a login is under way, its token has no lease yet, and OpenBao revokes a token that is looked up then.
    #[track_caller]
    pub fn tokens(&self) -> usize {
        self.leases(&format!("auth/{}/login", self.auth))
    }

    /// The annotations that ask for these files as [`ROLE`]. A `secret` in them is a path below the test's engine.
    pub fn annotations(&self, files: &Value) -> Value {
        let mut files = files.clone();
        for file in files.as_array_mut().unwrap() {
            file["secret"] = json!(format!("{}/data/{}", self.kv, file["secret"].as_str().unwrap()));
        }
        self.annotations_of(&files)
    }

    /// The same with whole paths.
    pub fn annotations_of(&self, files: &Value) -> Value {
        json!({
            "podkey.dev/role": ROLE, "podkey.dev/auth-mount": self.auth, "podkey.dev/files": files.to_string(),
        })
    }

    /// A pod with those annotations.
    pub fn annotate(&self, pod: Value, files: &Value) -> Value {
        merge(pod, &json!({"metadata": {"annotations": self.annotations(files)}}))
    }
}
