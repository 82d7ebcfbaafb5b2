//! Scenario 1 and its neighbours, on real parts.

use std::sync::OnceLock;

use base64::Engine as _;
use serde_json::json;

use crate::support::agent::Agent;
use crate::support::jwt::{API_AUDIENCE, Claims};
use crate::support::openbao::{ACCOUNT, JWT_MOUNT, NAMESPACE, OpenBao};

/// One server for all tests of this binary. It ends with the process.
pub(crate) fn bao() -> &'static OpenBao {
    static BAO: OnceLock<OpenBao> = OnceLock::new();
    BAO.get_or_init(|| {
        let bao = OpenBao::with_scenario_1();
        bao.write(
            "arc-runners/data/kubeconfig/rancher-cluster",
            &json!({"data": {"config": wrapped(KUBECONFIG)}}),
        );
        bao
    })
}

pub(crate) const KUBECONFIG: &[u8] =
    b"apiVersion: v1\nkind: Config\nclusters: []\n# canary-kubeconfig {{ .x }} $(HOME) $$\n\xc3\xa4\x00\xff\r\nend";

/// As coreutils' `base64` writes it: lines of 76 characters, a newline at the end.
pub(crate) fn wrapped(bytes: &[u8]) -> String {
    let encoded = base64::engine::general_purpose::STANDARD.encode(bytes);
    encoded
        .as_bytes()
        .chunks(76)
        .map(|line| std::str::from_utf8(line).unwrap().to_owned() + "\n")
        .collect()
}

pub(crate) fn kubeconfig() -> serde_json::Value {
    json!({
        "secret": "arc-runners/data/kubeconfig/rancher-cluster", "key": "config", "decode": "base64",
        "format": "raw", "file": "/tmp/kubeconfig", "mode": "0400",
    })
}

#[test]
fn scenario_1_arrives_byte_for_byte() {
    let agent = Agent::for_bao(bao()).file(kubeconfig()).canary("canary-kubeconfig");
    agent.run().expect(0, &["delivered 1 file"]).stage("write");
    assert_eq!(agent.delivered("single/0"), KUBECONFIG);
    assert_eq!(agent.mode("single/0"), 0o400);
    assert_eq!(agent.mode("single"), 0o755);
    assert_eq!(agent.all_files(), ["single/0"]);
}

#[test]
fn a_role_without_an_audience_takes_a_token_for_the_api_server() {
    let mut agent = Agent::for_bao(bao())
        .file(kubeconfig())
        .with("/login/role", json!("actions"));
    agent.token(&bao().cluster.sign(&Claims::new(NAMESPACE, ACCOUNT, API_AUDIENCE)));
    agent.run().expect(0, &[]);
}

#[test]
fn the_jwt_method_at_a_nested_mount_needs_no_review() {
    let agent = Agent::for_bao(bao()).file(kubeconfig()).with(
        "/login",
        json!({"method": "jwt", "mount": JWT_MOUNT, "role": "actions"}),
    );
    agent.run().expect(0, &[]);
    assert_eq!(agent.delivered("single/0"), KUBECONFIG);
}
