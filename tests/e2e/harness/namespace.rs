//! A namespace of a test's own, which goes with all that belongs to it when the test ends, however it does.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::api::{Answer, Api, cluster};
use super::pod::Pod;
use super::settings::settings;
use super::{LIMIT, install, merge, wait};

/// On everything that the tests make outside of namespaces, and on the namespaces.
pub const LABEL: &str = "podkey-e2e";

pub const CLUSTER_ROLES: &str = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
pub const CLUSTER_ROLE_BINDINGS: &str = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";

pub struct Namespace {
    pub name: String,
    /// What lies outside of the namespace: whose API, and the path to delete.
    outside: Mutex<Vec<(Api, String)>>,
}

impl Namespace {
    /// A new one, once podkey is installed. Its name begins with this.
    pub fn new(topic: &str) -> Self {
        Self::labelled(topic, &json!({}))
    }

    pub fn labelled(topic: &str, labels: &Value) -> Self {
        install::podkey();
        Self::bare(topic, labels)
    }

    /// A new one, whether or not podkey is there.
    pub fn bare(topic: &str, labels: &Value) -> Self {
        let name = format!("{topic}-{}", unique());
        let labels = merge(json!({LABEL: "namespace"}), labels);
        cluster().create(
            "/api/v1/namespaces",
            &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}),
        );
        let namespace = Self {
            name,
            outside: Mutex::default(),
        };
        for needed in ["serviceaccounts/default", "configmaps/kube-root-ca.crt"] {
            let path = namespace.path(needed);
            wait(LIMIT, || {
                cluster().call("GET", &path, &Value::Null).is_success().then_some(())
            })
            .unwrap_or_else(|| panic!("{path} does not appear"));
        }
        namespace
    }

    /// Where core objects of this namespace are.
    pub fn path(&self, what: &str) -> String {
        format!("/api/v1/namespaces/{}/{what}", self.name)
    }

    /// Where objects of an API group are, such as `apps/v1`.
    pub fn group_path(&self, group: &str, what: &str) -> String {
        format!("/apis/{group}/namespaces/{}/{what}", self.name)
    }

    /// Remembers what to delete in the end.
    pub fn delete_later(&self, api: &Api, path: String) {
        self.outside.lock().unwrap().push((api.clone(), path));
    }

    pub fn service_account(&self, name: &str) -> String {
        cluster().create(
            &self.path("serviceaccounts"),
            &json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}),
        );
        format!("system:serviceaccount:{}:{name}", self.name)
    }

    /// A token of a service account; for the API server's own audience unless another is given.
    pub fn token(&self, account: &str, audience: Option<&str>) -> String {
        self.token_of(account, &json!({"audiences": audience.into_iter().collect::<Vec<_>>()}))
    }

    pub fn token_of(&self, account: &str, spec: &Value) -> String {
        let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec});
        let answer = cluster().create(&self.path(&format!("serviceaccounts/{account}/token")), &request);
        answer["status"]["token"].as_str().unwrap().to_owned()
    }

    /// A cluster role of the test's own. Gives its name.
    pub fn cluster_role(&self, name: &str, rules: &Value) -> String {
        let name = format!("{LABEL}-{}-{name}", self.name);
        cluster().create(
            CLUSTER_ROLES,
            &json!({
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
                "metadata": {"name": name, "labels": {LABEL: "role"}}, "rules": rules,
            }),
        );
        self.delete_later(cluster(), format!("{CLUSTER_ROLES}/{name}"));
        name
    }

    /// Gives a service account of this namespace a cluster role in the whole cluster. Gives the binding's path.
    pub fn bind_cluster_role(&self, account: &str, role: &str) -> String {
        let name = format!("{LABEL}-{}-{account}", self.name);
        cluster().create(
            CLUSTER_ROLE_BINDINGS,
            &json!({
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
                "metadata": {"name": name, "labels": {LABEL: "binding"}},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
                "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": self.name}],
            }),
        );
        let path = format!("{CLUSTER_ROLE_BINDINGS}/{name}");
        self.delete_later(cluster(), path.clone());
        path
    }

    /// Lets a user do this and no more in this namespace.
    pub fn allow(&self, user: &str, rules: &Value) {
        let name = user.rsplit(':').next().unwrap();
        let group = "rbac.authorization.k8s.io";
        cluster().create(
            &self.group_path(&format!("{group}/v1"), "roles"),
            &json!({"apiVersion": format!("{group}/v1"), "kind": "Role", "metadata": {"name": name}, "rules": rules}),
        );
        cluster().create(
            &self.group_path(&format!("{group}/v1"), "rolebindings"),
            &json!({
                "apiVersion": format!("{group}/v1"), "kind": "RoleBinding", "metadata": {"name": name},
                "roleRef": {"apiGroup": group, "kind": "Role", "name": name},
                "subjects": [{"apiGroup": group, "kind": "User", "name": user}],
            }),
        );
    }

    /// Asks for a pod, and gives whatever is answered.
    pub fn try_create(&self, pod: &Value) -> Answer {
        self.try_create_as(cluster(), pod, "")
    }

    /// The same as somebody else, and with a query such as `?dryRun=All`.
    pub fn try_create_as(&self, api: &Api, pod: &Value, query: &str) -> Answer {
        let pod = merge(json!({"apiVersion": "v1", "kind": "Pod"}), pod);
        api.call("POST", &(self.path("pods") + query), &pod)
    }

    /// Creates a pod that must be admitted.
    #[track_caller]
    pub fn create(&self, pod: &Value) -> Pod<'_> {
        self.create_as(cluster(), pod)
    }

    #[track_caller]
    pub fn create_as(&self, api: &Api, pod: &Value) -> Pod<'_> {
        let answer = self.try_create_as(api, pod, "");
        assert!(
            answer.is_success(),
            "the pod is refused: {} {}",
            answer.status,
            answer.text
        );
        self.pod(answer.json()["metadata"]["name"].as_str().unwrap())
    }

    pub fn pod(&self, name: &str) -> Pod<'_> {
        Pod {
            namespace: self,
            name: name.to_owned(),
        }
    }

    /// The messages of the namespace's events, oldest first, with what they are about.
    pub fn events(&self) -> Vec<String> {
        let events = cluster().get(&self.path("events"));
        let items = events["items"].as_array().cloned().unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        items
            .iter()
            .map(|event| {
                let about = &event["involvedObject"];
                format!(
                    "{} {}: {}: {}",
                    text(&about["kind"]),
                    text(&about["name"]),
                    text(&event["reason"]),
                    text(&event["message"])
                )
            })
            .collect()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if std::thread::panicking() && settings().keep {
            println!("kept: namespace {}", self.name);
            return;
        }
        // The last made first; and the pods go before what they log in with.
        let _ = cluster().try_call("DELETE", &format!("/api/v1/namespaces/{}", self.name), &Value::Null);
        for (api, path) in self.outside.lock().unwrap().iter().rev() {
            let _ = api.try_call("DELETE", path, &Value::Null);
        }
    }
}

/// Something short that no other test, here or in another run, has in its names.
pub fn unique() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
    let mut number = time.wrapping_mul(64) + u64::from(COUNT.fetch_add(1, Ordering::Relaxed) % 64);
    let mut text = String::new();
    for _ in 0..7 {
        text.push(char::from_digit((number % 36) as u32, 36).unwrap());
        number /= 36;
    }
    text
}
