//! Client tokens that end early: tokens with a number of uses (`token_num_uses`), whose last use ends every lease that the token
//! made, and tokens that live shorter than their leases.

use serde_json::{Value, json};

use crate::engines::said;
use crate::sidecar_token::{leases, server};
use crate::support::agent::Agent;
use crate::support::openbao::{ACCOUNT, MOUNT, NAMESPACE, OpenBao};

/// A role of the server's method, with these fields.
fn role(bao: &OpenBao, name: &str, fields: Value) {
    let mut role = json!({
        "bound_service_account_names": [ACCOUNT], "bound_service_account_namespaces": [NAMESPACE],
        "token_policies": ["arc-kubeconfig"], "audience": "vault",
    });
    role.as_object_mut()
        .unwrap()
        .extend(fields.as_object().unwrap().clone());
    bao.write(&format!("auth/{MOUNT}/role/{name}"), &role);
}

fn limited(bao: &OpenBao, uses: u64) -> Agent {
    let name = format!("limited-{uses}");
    role(bao, &name, json!({"token_num_uses": uses, "token_ttl": "10m"}));
    Agent::for_bao(bao)
        .with("/login/role", json!(name))
        .canary("PRIVATE KEY")
}

fn leased() -> Value {
    json!({
        "secret": "pki/issue/leased", "data": {"common_name": "web.example.com"}, "key": "certificate",
        "format": "raw", "file": "cert.pem", "mode": "0440",
    })
}

fn written(bao: &OpenBao, name: &str) -> Value {
    let secret = format!("arc-runners/data/{name}");
    bao.write(&secret, &json!({"data": {"a": "canary-of-the-secret"}}));
    json!({"secret": secret, "key": "a", "format": "raw", "file": name, "mode": "0440"})
}

/// Whether the token of a run is there yet.
fn lives(bao: &OpenBao, ended: &crate::support::agent::Ended) -> bool {
    let accessor = said(ended, "logged in")[0]["accessor"].clone();
    let (status, _) = bao.call_in("", "POST", "auth/token/lookup-accessor", &json!({"accessor": accessor}));
    status == 200
}

#[test]
fn the_last_use_of_a_token_ended_the_certificate_that_was_delivered_with_it() {
    let bao = server();
    let pod = |uses| limited(&bao, uses).file(leased()).file(written(&bao, "b"));
    let dead = pod(2);
    let run = dead.run();
    run.expect(
        77,
        &[
            "token_num_uses of the role limited-2 is 2, and 3 are needed",
            "2 requests",
        ],
    )
    .stage("read");
    assert!(dead.all_files().is_empty());
    assert!(!lives(&bao, &run));
    let accessor = &said(&run, "logged in")[0]["accessor"];
    let asked = bao.audit().into_iter();
    let asked = asked
        .filter(|entry| entry["auth"]["accessor"] == *accessor && entry["request"]["path"] != "auth/token/revoke-self");
    let asked = asked.filter(|entry| {
        !entry["request"]["path"]
            .as_str()
            .unwrap_or_default()
            .ends_with("/login")
    });
    assert_eq!(asked.count(), 0, "counted before the first read");

    let alive = pod(3);
    let run = alive.run();
    run.expect(0, &["delivered 2 files"]);
    assert!(lives(&bao, &run));
    assert_eq!(leases(&bao, "leased"), 1);
}

#[test]
fn one_lease_needs_two_uses_because_the_last_use_ends_the_lease() {
    let bao = server();
    let pod = limited(&bao, 1).file(leased());
    pod.run()
        .expect(77, &["token_num_uses", "2 are needed", "1 request "])
        .stage("read");
    assert!(pod.all_files().is_empty());
    limited(&bao, 2).file(leased()).run().expect(0, &[]);
}

#[test]
fn secrets_without_leases_need_one_use_for_each_read_and_an_ended_token_is_not_revoked() {
    let bao = server();
    let run = limited(&bao, 2).file(written(&bao, "a")).file(written(&bao, "b")).run();
    run.expect(0, &["delivered 2 files"]);
    assert!(!run.stderr.contains("WARN"), "{}", run.stderr);
    assert!(!lives(&bao, &run));
    let pod = limited(&bao, 1).file(written(&bao, "a")).file(written(&bao, "b"));
    pod.run().expect(77, &["token_num_uses", "2 are needed"]);
    assert!(pod.all_files().is_empty());
    // What is read once for two files is one request.
    let mut twice = written(&bao, "a");
    twice["file"] = json!("again");
    let pod = limited(&bao, 1).file(written(&bao, "a")).file(twice);
    pod.run().expect(0, &["delivered 2 files"]);
}

#[test]
fn refused_tries_use_up_a_token_too_and_the_reason_of_the_refusal_is_reported() {
    let bao = server();
    let mut denied = written(&bao, "a");
    denied["secret"] = json!("arc-elsewhere/data/a");
    let pod = limited(&bao, 3).file(leased()).file(denied);
    let run = pod.run();
    run.expect(77, &["may not read arc-elsewhere/data/a", "token_num_uses"])
        .stage("read");
    assert!(pod.all_files().is_empty());
    assert!(!lives(&bao, &run), "its last use revokes it");
    assert!(!run.stderr.contains("could not be revoked"), "{}", run.stderr);
}

#[test]
fn a_sidecar_refuses_a_token_with_a_limited_number_of_uses() {
    let bao = server();
    let pod = limited(&bao, 500).file(written(&bao, "a")).refresh("5s");
    let run = pod.run();
    run.expect(
        77,
        &["token_num_uses of the role limited-500 is 500", "podkey.dev/refresh"],
    );
    assert!(!pod.volume().join("files/a").exists());
    assert!(!lives(&bao, &run));
}

/// The answer to a login has the number of uses, also with the jwt method.
#[test]
fn the_jwt_method_s_tokens_are_counted_too() {
    let bao = server();
    let method = crate::support::openbao::JWT_MOUNT;
    bao.write(
        &format!("auth/{method}/role/limited"),
        &json!({
            "role_type": "jwt", "user_claim": "sub", "bound_audiences": ["vault"], "token_policies": ["arc-kubeconfig"],
            "token_num_uses": 1,
        }),
    );
    let pod = Agent::for_bao(&bao)
        .with("/login", json!({"method": "jwt", "mount": method, "role": "limited"}))
        .file(leased());
    pod.run().expect(77, &["token_num_uses", "2 are needed"]);
}

#[test]
fn a_lease_lasts_no_longer_than_its_token_in_the_log() {
    let bao = server();
    for (name, fields) in [
        ("ttl", json!({"token_ttl": "6s"})),
        ("maximum", json!({"token_max_ttl": "6s"})),
        ("explicit", json!({"token_ttl": "1h", "token_explicit_max_ttl": "6s"})),
        ("periodic", json!({"token_period": "6s"})),
        ("batch", json!({"token_type": "batch", "token_ttl": "6s"})),
    ] {
        role(&bao, name, fields);
        let pod = || {
            Agent::for_bao(&bao)
                .with("/login/role", json!(name))
                .file(leased())
                .canary("PRIVATE KEY")
        };
        let run = pod().run();
        run.expect(0, &["delivered 1 file"]);
        let ends = said(&run, "a dynamic secret was delivered");
        // Of six seconds some have passed by then.
        let is_the_tokens = |ttl: &Value| ttl.as_u64().is_some_and(|ttl| (1..=6).contains(&ttl));
        assert!(is_the_tokens(&ends[0]["ttl_s"]), "{name}: {ends:?}");
        let fresh = pod().refresh("5s");
        fresh.run().expect(0, &[]);
        assert!(
            is_the_tokens(&fresh.status()["files"]["cert.pem"]["ttlSeconds"]),
            "{name}"
        );
        let sidecar = fresh.sidecar();
        fresh.until("its own word", |pod| {
            pod.status()["files"]["cert.pem"]["nextTry"].is_string()
        });
        let ttl = &fresh.status()["files"]["cert.pem"]["ttlSeconds"];
        assert!(
            ttl.as_u64().is_some_and(|ttl| (1..=12).contains(&ttl)),
            "{name}: {ttl}, renewed once at the most"
        );
        sidecar.stop();
    }
    // Its own TTL is the shorter one.
    role(&bao, "long", json!({"token_ttl": "20h"}));
    let run = Agent::for_bao(&bao)
        .with("/login/role", json!("long"))
        .file(leased())
        .run();
    let ttl = &said(&run, "a dynamic secret was delivered")[0]["ttl_s"];
    // The server rounds down what is left of ten minutes.
    assert!(ttl.as_u64().is_some_and(|ttl| (590..=600).contains(&ttl)), "{ttl}");
}
