//! The client token as a file, as `agent-inject-token` of vault-k8s has it, against the real server: the token in the file is good, it
//! lasts as long as the pod needs it, and it is in no log and no status.

use std::fs;

use serde_json::{Value, json};

use crate::deliver::bao;
use crate::sidecar_process::{accessors, lives, put};
use crate::sidecar_token::server;
use crate::support::agent::Agent;
use crate::support::openbao::OpenBao;

const VAULT: &str = "mounts/%2Fvault%2Fsecrets";
const TOKEN: &str = "mounts/%2Fvault%2Fsecrets/token";

fn with_token(bao: &OpenBao) -> Agent {
    let token_file = json!({"file": "/vault/secrets:token", "mode": "0440"});
    Agent::for_bao(bao).with("/tokenFile", token_file)
}

fn raw(secret: &str) -> Value {
    json!({"secret": secret, "key": "a", "format": "raw", "file": "/vault/secrets:a", "mode": "0444"})
}

fn token(agent: &Agent) -> String {
    String::from_utf8(agent.delivered(TOKEN)).unwrap()
}

/// The accessor of the token in the file, as the app sees it. None: the server does not know the token.
fn accessor(bao: &OpenBao, token: &str) -> Option<String> {
    let (status, answer) = bao.call_as(token, "", "GET", "auth/token/lookup-self", &Value::Null);
    let accessor = answer["data"]["accessor"].as_str()?;
    (status == 200).then(|| accessor.to_owned())
}

/// The token is in no file but its own, also not in the status.
#[track_caller]
fn only_in_its_file(agent: &Agent, token: &str) {
    for place in agent.all_files() {
        let file = agent.volume().join(&place);
        let holds = fs::read_to_string(&file).is_ok_and(|text| text.contains(token));
        assert!(!holds || place.ends_with("/token"), "{place}");
    }
}

#[test]
fn without_a_sidecar_the_token_in_the_file_stays_good_after_init() {
    let bao = bao();
    put(bao, "arc-runners/data/token-once", "canary-first");
    let agent = with_token(bao)
        .canary("canary-first")
        .file(raw("arc-runners/data/token-once"));
    let run = agent.run();
    run.expect(0, &["delivered 1 file and the client token"]);
    let token = token(&agent);
    assert_eq!(token.trim_end(), token, "no newline");
    assert_eq!(agent.mode(TOKEN), 0o440);
    let accessor = accessor(bao, &token).expect("the app can use the token");
    assert!(run.stderr.contains("the containers have the token") && run.stderr.contains(&accessor));
    assert!(!run.stderr.contains(&token), "{}", run.stderr);
    only_in_its_file(&agent, &token);
    assert_eq!(agent.delivered(&format!("{VAULT}/a")), b"canary-first");
}

#[test]
fn a_token_without_any_secret_is_delivered_too() {
    let bao = bao();
    let agent = with_token(bao);
    agent.run().expect(0, &["the client token"]);
    assert!(accessor(bao, &token(&agent)).is_some());
}

#[test]
fn a_delivery_that_fails_leaves_no_token_in_the_pod_and_none_at_the_server() {
    let bao = bao();
    let missing = raw("arc-runners/data/that-is-missing");
    let unhanded = with_token(bao).refresh("5s");
    // The files are written before the handover.
    fs::create_dir_all(unhanded.root().join("podkey/handover/handover.json")).unwrap();
    for agent in [
        with_token(bao).file(missing.clone()),
        with_token(bao).file(missing).refresh("5s"),
        unhanded,
    ] {
        let run = agent.run();
        assert_ne!(run.code, 0);
        assert!(!agent.all_files().iter().any(|place| place.ends_with("/token")));
        let log: Vec<Value> = run
            .stderr
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let [accessor] = accessors(&log).try_into().unwrap();
        assert!(!lives(bao, &accessor), "revoked");
    }
}

#[test]
fn the_sidecar_renews_the_token_in_the_file_and_replaces_and_revokes_it_at_the_end() {
    let bao = server();
    let secret = "arc-runners/data/token-kept";
    put(&bao, secret, "canary-first");
    let agent = with_token(&bao)
        .with("/login/role", json!("20s"))
        .with(
            "/refresh",
            json!({"interval": "5s", "onChange": ["touch:/vault/secrets:reload"]}),
        )
        .canary("canary-first")
        .file(raw(secret));
    agent.run().expect(0, &["delivered 1 file and the client token"]);
    let first = token(&agent);
    let of_first = accessor(&bao, &first).unwrap();
    let sidecar = agent.sidecar();
    agent.until("a new token in the file", |agent| token(agent) != first);
    let second = token(&agent);
    let of_second = accessor(&bao, &second).unwrap();
    assert_eq!(accessors(&sidecar.log()), std::slice::from_ref(&of_second));
    // The leases of the app end with its token.
    let revoked = |accessor: &str| {
        let is_of_it = |entry: &Value| {
            entry["request"]["path"] == "auth/token/revoke-self" && entry["auth"]["accessor"] == accessor
        };
        bao.audit().iter().any(is_of_it)
    };
    assert!(!agent.volume().join(VAULT).join("reload").exists(), "no secret changed");
    only_in_its_file(&agent, &second);
    // After that login, and so after every revocation that it could lead to.
    agent.until("a third token in the file", |agent| token(agent) != second);
    assert!(!revoked(&of_first), "{of_first} ended by itself");
    let third = token(&agent);
    let of_third = accessor(&bao, &third).unwrap();
    let log = sidecar.stop();
    assert!(revoked(&of_third));
    for token in [&first, &second, &third] {
        assert!(!log.iter().any(|line| line.to_string().contains(token)));
    }
    assert!(
        !lives(&bao, &of_second) && !lives(&bao, &of_third),
        "revoked at the end"
    );
    assert_eq!(accessor(&bao, &token(&agent)), None);
}

#[test]
fn a_sidecar_that_was_killed_writes_the_token_of_its_own_login() {
    let bao = bao();
    let agent = with_token(bao).refresh("5s");
    agent.run().expect(0, &["the client token"]);
    let first = token(&agent);
    let sidecar = agent.sidecar();
    sidecar.until_said("with the client token of podkey-init");
    sidecar.kill();
    assert_eq!(token(&agent), first);
    let sidecar = agent.sidecar();
    agent.until("a new token in the file", |agent| token(agent) != first);
    assert!(accessor(bao, &token(&agent)).is_some());
    sidecar.stop();
    assert_eq!(accessor(bao, &token(&agent)), None);
}
