//! A database user for a pod with vault-k8s' annotations: the webhook's decision, a real OpenBao and a real PostgreSQL.

use podkey::inject::{Config, Decision, Pod, decide};
use serde_json::{Value, json};

use crate::engines::{Engines, engines, text};
use crate::recipes::plan_in;
use crate::support::agent::Agent;
use crate::support::jwt::Claims;
use crate::support::openbao::{ACCOUNT, MOUNT, NAMESPACE};

/// The directory below the volume that the containers see as `/vault/secrets`.
const SECRETS: &str = "mounts/%2Fvault%2Fsecrets";

/// A pod with the map of vault-k8s' default template, and a connection string, both of the path.
fn pod(path: &str) -> Agent {
    let Engines { bao, postgres } = engines();
    let config = format!(
        "agent: {{image: podkey}}\nvaultK8s: {{connection: default}}\nconnections:\n  default:\n    address: {}\n    caFile: ca.pem\n    \
         auth: {{mount: {MOUNT}}}\n",
        bao.address()
    );
    let config = Config::parse(&config, |_| Ok(bao.ca.pem())).unwrap();
    let url = format!(
        "{{{{- with secret \"{path}\" -}}}}\npostgresql://{{{{ .Data.username }}}}:{{{{ .Data.password }}}}@127.0.0.1:{}/postgres\n{{{{- end }}}}\n",
        postgres.port
    );
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "shop", "annotations": {
            "vault.hashicorp.com/agent-inject": "true",
            "vault.hashicorp.com/role": "engines",
            "vault.hashicorp.com/agent-inject-secret-creds": path,
            "vault.hashicorp.com/agent-inject-secret-url": path,
            "vault.hashicorp.com/agent-inject-template-url": url,
        }},
        "spec": {"serviceAccountName": ACCOUNT, "containers": [{"name": "app", "image": "app:1"}]},
    });
    let pod = pod.to_string();
    let plan = match decide(&Pod::parse(&pod).unwrap(), NAMESPACE, &config) {
        Decision::Inject(patch, _) => plan_in(&serde_json::from_slice(patch.as_json()).unwrap()).expect("a plan"),
        Decision::Deny(problems) => panic!("{problems}"),
        Decision::Ignore(_) => panic!("not injected"),
    };
    let mut agent = Agent::new(plan);
    agent.token(&bao.cluster.sign(&Claims::new(NAMESPACE, ACCOUNT, "vault")));
    agent
}

/// How many users the server was asked for at the path.
fn made(path: &str) -> usize {
    let audit = engines().bao.audit().into_iter();
    audit
        .filter(|line: &Value| line["type"] == "response" && line["request"]["path"] == path)
        .count()
}

#[test]
fn the_files_of_one_database_path_have_one_user_who_works_until_the_pod_ends() {
    let Engines { bao, postgres } = engines();
    bao.database_role("vault-k8s", "1h", "24h");
    let path = "database/creds/vault-k8s";
    let agent = pod(path);
    let ended = agent.run();
    ended.expect(0, &["delivered 2 files"]);

    let map = text(&agent, &format!("{SECRETS}/creds"));
    let (password, user) = map
        .strip_prefix("password: ")
        .and_then(|rest| rest.strip_suffix('\n')?.split_once("\nusername: "))
        .unwrap_or_else(|| panic!("not the map of vault-k8s: {map:?}"));
    assert_eq!(
        text(&agent, &format!("{SECRETS}/url")),
        format!("postgresql://{user}:{password}@127.0.0.1:{}/postgres\n", postgres.port)
    );
    assert!(!ended.stderr.contains(password));
    assert_eq!(made(path), 1, "both files have the one user");

    let sidecar = agent.sidecar();
    sidecar.until_said("with the client token of podkey-init");
    assert_eq!(postgres.ask(user, password, "select current_user").unwrap(), user);
    let log = sidecar.stop();
    assert!(!Value::from(log).to_string().contains(password));
    assert_eq!(made(path), 1, "the sidecar keeps the user of podkey-init");
    agent.until("the user is gone with the pod", |_| {
        postgres.ask(user, password, "select 1").is_err()
    });
}
