//! The pods that the doctor's tests examine.

use serde_json::{Value, json};

use crate::harness::api::cluster;
use crate::harness::namespace::Namespace;
use crate::harness::openbao::Vault;
use crate::harness::pod::pod;

/// A pod that gets the field `password` of a secret as a file. Its mounts of OpenBao's are of the namespace.
pub fn annotated(namespace: &Namespace) -> Value {
    let vault = Vault::new(namespace);
    vault.put("web", &json!({"password": "s3cret"}));
    let files = json!([{"secret": "web", "key": "password", "file": "password"}]);
    vault.annotate(pod("web", "true"), &files)
}

/// A NetworkPolicy of the namespace.
pub fn policy(namespace: &Namespace, spec: &Value) {
    let policy = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "limits"}, "spec": spec,
    });
    cluster().create(
        &namespace.group_path("networking.k8s.io/v1", "networkpolicies"),
        &policy,
    );
}
