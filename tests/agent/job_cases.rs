//! vault-action's acceptance cases (its tests, and what its release 3.4.0 was seen to do), by their numbers. A case *passes*
//! where the job gets the same variables with the same values, or fails too where vault-action fails (in words, and at a
//! time, of podkey's own); it *differs* where podkey's own rules win, and what they come to is asserted; the rest is about
//! what podkey does not have. What passes or differs runs: the grammar alone, or the real agent with a real OpenBao.

use std::collections::BTreeSet;
use std::panic::catch_unwind;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use podkey::env::grammar::parse;
use podkey::plan::{ApiPath, EnvSecret, Select};
use serde_json::{Value, json};

use crate::job_pod::Pod;
use crate::support::agent::{Agent, Ended};
use crate::support::fake_vault::{FakeVault, json as answer, logged_in, secret_body};
use crate::support::jwt::Claims;
use crate::support::openbao::{ACCOUNT, NAMESPACE, OpenBao};
use crate::support::runner::Step;

enum Case {
    Passes(fn()),
    /// Why podkey's own rule wins.
    Differs(&'static str, fn()),
    /// Why there is nothing to compare.
    NotApplicable(&'static str),
}
use Case::{Differs, NotApplicable, Passes};

/// Every case there is.
const NUMBERS: [u32; 67] = [
    1, 2, 4, 5, 7, 8, 10, 11, 13, 14, 16, 17, 19, 20, 22, 23, 25, 26, 28, 29, 31, 32, 34, 35, 37, 38, 40, 41, 43, 44,
    46, 47, 49, 50, 52, 53, 55, 56, 58, 59, 61, 62, 64, 65, 67, 68, 70, 71, 73, 74, 76, 77, 79, 80, 82, 83, 85, 86, 88,
    89, 91, 92, 94, 95, 97, 98, 100,
];

#[rustfmt::skip]
const CASES: &[(u32, &str, Case)] = &[
    // Parsing
    (1, "test key", Passes(|| names("test key", "test KEY"))),
    (2, "test key|testName", Passes(|| names("test key|testName", "test testName"))),
    (4, "|testName", Passes(|| refused("|testName", "is not a path and a key"))),
    (5, "two entries", Passes(|| names("first a;second b;", "first A, second B"))),
    (7, "three lines", Passes(|| names("\n  first a;\n  second b;\n  third c | SOME_C;\n", "first A, second B, third SOME_C"))),
    (8, "blank entries", Passes(|| names(";;p k;;", "p K"))),
    (10, "one word, or three", Passes(|| { refused("one", "is not a path and a key"); refused("a b c", "is not a path and a key"); })),
    (11, "two names", Passes(|| refused("p k | A | B", "is not a path and a key"))),
    (13, "no blank before the |", Passes(|| names("p k|X", "p X"))),
    (14, "a comment", Passes(|| refused("# c\np k", "is not a path and a key"))),

    // Selectors
    (16, "p dash-key", Passes(|| refused("p dash-key", "makes no name"))),
    (17, "p dash-key | X", Passes(|| gives("dash-key | X", r#"{"dash-key":"v"}"#, &[("X", "v")]))),
    (19, "p \"1num\"; p 1num | X", Differs("a key that begins with a digit needs no quotes", || {
        gives("\"1num\"", r#"{"1num":"v"}"#, &[("1NUM", "v")]);
        gives("1num | X", r#"{"1num":"v"}"#, &[("X", "v")]);
    })),
    (20, "a key with a dot, without backticks", Passes(|| {
        for selector in ["dot.key", "\"dot.key\" | X"] {
            finds_nothing(selector, r#"{"dot.key":"v"}"#, "write backticks");
        }
    })),
    (22, "p `dash-key` | X; p 'dash-key' | X", Passes(|| {
        refused("p `dash-key` | X", "write \"dash-key | NAME\"");
        refused("p 'dash-key' | X", "write \"dash-key | NAME\"");
    })),
    (23, "p key.value", Passes(|| gives("key.value", r#"{"key":{"value":1}}"#, &[("KEY__VALUE", "1")]))),
    (25, "p nested.`c-d` | X; p nested.\"c-d\" | X", Passes(|| {
        gives("nested.`c-d` | X", r#"{"nested":{"c-d":"v"}}"#, &[("X", "v")]);
        refused("p nested.\"c-d\" | X", "write backticks");
    })),
    (26, "JSONata's functions", Differs("none is read, so nested.$string() is refused too: the value is given as JSON anyway", || {
        for selector in ["$keys(nested)", "$string(nested) | X", "nested.$string() | X"] {
            refused(&format!("p {selector}"), "JSONata's function");
        }
        gives("nested | X", r#"{"nested":{"a":1}}"#, &[("X", r#"{"a":1}"#)]);
    })),
    (28, "p $.$ | X", Passes(|| gives("$.$ | X", r#"{"a":"1","b":[2]}"#, &[("X", r#"{"a":"1","b":[2]}"#)]))),
    (29, "Chinese characters", Passes(|| {
        bao().write("secret/data/测试", &json!({"data": {"测试": "值"}}));
        let (step, _) = delivered("secret/data/测试 测试");
        assert_eq!(variables(&step), [("测试".to_owned(), "值".to_owned())]);
    })),

    // Values
    (31, "true, null, an empty string", Passes(|| {
        gives("*", r#"{"a":true,"b":null,"c":""}"#, &[("A", "true"), ("B", "null"), ("C", "")]);
        let (step, _) = delivered(&secret(r#"{"c":""}"#, "c"));
        assert!(!step.order.contains(&"mask"), "an empty string is no mask");
    })),
    (32, "a map", Passes(|| gives("k", r#"{"k":{"x":1,"y":"q\"x"}}"#, &[("K", r#"{"x":1,"y":"q\"x"}"#)]))),
    (34, "JSON text in several lines", Passes(|| gives("k", r#"{"k":"{\n  \"x\": 1\r\n}\n"}"#, &[("K", "{\n  \"x\": 1\r\n}\n")]))),
    (35, "an escaped line feed in JSON text; a map jsonData", Passes(|| {
        gives("k", r#"{"k":"{\"x\":\"a\\nb\"}"}"#, &[("K", r#"{"x":"a\nb"}"#)]);
        gives("jsonData", r#"{"jsonData":{"x":1,"y":"qux"}}"#, &[("JSONDATA", r#"{"x":1,"y":"qux"}"#)]);
    })),
    (37, "secretEncodingType base64", Differs("a file is decoded, a variable is not: `decode` of podkey.dev/files", || {
        decoded("base64", "MQ==").expect(0, &[]);
    })),
    (38, "secretEncodingType hex on other text; BASE64", Differs("what cannot be decoded fails, and an unknown encoding is no plan", || {
        decoded("hex", "no hex").expect(65, &["hex"]);
        decoded("BASE64", "MQ==").expect(64, &["BASE64"]);
    })),

    // Masks
    (40, "four lines", Differs("the client token never comes near the job, so it needs no mask", || {
        assert_eq!(masks_of_lines("a multi-line\nstring of\n1\nfour"), ["1", "a multi-line", "four", "string of"]);
    })),
    (41, "blank lines", Passes(|| assert_eq!(masks_of_lines("one\n\n \ntwo\n"), ["one", "two"]))),
    (43, "100%A", Passes(|| {
        let (step, _) = delivered(&secret(r#"{"k":"100%A"}"#, "k"));
        assert!(step.raw.contains("\n::add-mask::100%25A\n") || step.raw.starts_with("::add-mask::100%25A\n"), "{}", step.raw);
    })),
    (44, "the token's mask comes first", NotApplicable("the client token never comes near the job; the secrets' masks come first of all, as tests of the hook hold")),

    // KV and engines
    (46, "KV v2", Passes(|| gives("k", r#"{"k":"v"}"#, &[("K", "v")]))),
    (47, "KV v1, nested, a dash", Passes(|| {
        bao().write("kv1/nested/test", &json!({"other-Secret-dash": "v"}));
        let (step, _) = delivered("kv1/nested/test \"other-Secret-dash\"");
        assert_eq!(variables(&step), [("OTHERSECRETDASH".to_owned(), "v".to_owned())]);
    })),
    (49, "KV v1 with a field `data` that is a map", Passes(|| {
        bao().write("kv1/inner", &json!({"data": {"k": "v"}}));
        assert_eq!(variables(&delivered("kv1/inner k").0), [("K".to_owned(), "v".to_owned())]);
    })),
    (50, "KV v2 with a field `data`", Passes(|| gives("data", r#"{"data":"v"}"#, &[("DATA", "v")]))),
    (52, "an answer without data", Differs("the error says so", || {
        let fake = FakeVault::plain(logged_in(|_, _| answer(200, r#"{"request_id":"x"}"#)));
        started(&mut entries(Agent::for_fake(&fake), "p k")).fails(&["podkey 76", "p"]);
    })),
    (53, "database credentials", Passes(|| {
        let reads = FakeVault::plain(logged_in(|_, n| answer(200, &secret_body(&format!(r#"{{"username":"u{n}","password":"p{n}"}}"#)))));
        let step = started(&mut entries(Agent::for_fake(&reads), "database/creds/x username | U; database/creds/x password | P"));
        assert_eq!(variables(&step), [("P".to_owned(), "p0".to_owned()), ("U".to_owned(), "u0".to_owned())]);
        assert_eq!(reads.requests().len(), 3, "login, one read, revocation");
    })),

    // Wildcards
    (55, "*", Passes(|| gives("*", r#"{"secret":"s"}"#, &[("SECRET", "s")]))),
    (56, "* | GROUP_", Passes(|| gives("* | GROUP_", r#"{"secret":"s"}"#, &[("GROUP_SECRET", "s")]))),
    (58, "KV v1, nested, *", Passes(|| {
        bao().write("kv1/nested/dash", &json!({"other-Secret-dash": "v"}));
        assert_eq!(variables(&delivered("kv1/nested/dash *").0), [("OTHERSECRETDASH".to_owned(), "v".to_owned())]);
    })),
    (59, "keys with dots", Passes(|| gives("*", r#"{"secret.foo":"1","secret.foo.bar":"2"}"#, &[("SECRET__FOO", "1"), ("SECRET__FOO__BAR", "2")]))),
    (61, "* | my_", Passes(|| gives("* | my_", r#"{"secret":"s"}"#, &[("MY_SECRET", "s")]))),
    (62, "** | p.q-", Passes(|| gives("** | p.q-", r#"{"Key":"s"}"#, &[("p__qKey", "s")]))),
    (64, "a key with a double quote", Differs("it works", || gives("*", r#"{"a\"b":"s"}"#, &[("AB", "s")]))),
    (65, "a-b and ab", Differs("neither is dropped in silence: the job fails with both", || {
        let (mut pod, _) = prepared(&secret(r#"{"a-b":"1","ab":"2"}"#, "*"));
        started(&mut pod).fails(&["podkey 65", "the variable AB would be made twice"]);
    })),

    // Paths and errors
    (67, "?version=1", Passes(|| {
        let path = path();
        bao().write(&path, &json!({"data": {"k": "first"}}));
        bao().write(&path, &json!({"data": {"k": "second"}}));
        assert_eq!(variables(&delivered(&format!("{path}?version=1 k")).0), [("K".to_owned(), "first".to_owned())]);
    })),
    (68, "an address with a slash at its end", Passes(|| {
        let address = json!(format!("{}/", bao().address()));
        let mut pod = entries(agent().with("/connection/address", address), &secret(r#"{"k":"v"}"#, "k"));
        assert_eq!(variables(&started(&mut pod)), [("K".to_owned(), "v".to_owned())]);
    })),
    (70, "ignoreNotFound", Passes(|| {
        let there = secret(r#"{"a":"1","b":"2"}"#, "*");
        let mut pod = entries(agent().with("/ignoreNotFound", json!(true)), &format!("secret/data/nowhere k; {there}"));
        assert_eq!(variables(&started(&mut pod)), [("A".to_owned(), "1".to_owned()), ("B".to_owned(), "2".to_owned())]);
    })),
    (71, "ignoreNotFound and a missing key", Passes(|| {
        let mut pod = entries(agent().with("/ignoreNotFound", json!(true)), &secret(r#"{"a":"1"}"#, "gone"));
        started(&mut pod).fails(&["podkey 66", "gone"]);
    })),
    (73, "any failure", Passes(|| {
        let mut pod = entries(agent(), &format!("{}; secret/data/nowhere k", secret(r#"{"a":"1"}"#, "a")));
        let step = started(&mut pod);
        step.fails(&["podkey 66", "secret/data/nowhere"]);
        assert!(variables(&step).is_empty() && pod.left().is_empty());
    })),

    // Retry and cache
    (74, "412, then 200", Passes(|| assert_eq!(answered(&[412]), (Some("v".to_owned()), 2)))),
    (76, "429, then 200", Passes(|| assert_eq!(answered(&[429]), (Some("v".to_owned()), 2)))),
    (77, "500 three times", Differs("it goes on until the connection's budget is used up", || {
        assert_eq!(answered(&[500, 500, 500]), (Some("v".to_owned()), 4));
    })),
    (79, "connection refused", Differs("likewise, and the login is tried again too", || {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let fake = FakeVault::plain(logged_in(|_, _| answer(404, "{}")));
        let agent = Agent::for_fake(&fake).with("/connection/address", json!(format!("http://127.0.0.1:{free}"))).budget("1s");
        started(&mut entries(agent, "p k")).fails(&["podkey 69 stage=login"]);
    })),
    (80, "two keys of one path", Passes(|| {
        let fake = FakeVault::plain(logged_in(|_, _| answer(200, &secret_body(r#"{"a":"1","b":"2"}"#))));
        started(&mut entries(Agent::for_fake(&fake), "p a; p b")).succeeds();
        assert_eq!(fake.requests().len(), 3, "login, one read, revocation");
    })),

    // Auth
    (82, "github", NotApplicable("the pod logs in with its service account, the job with GitHub's OIDC token")),
    (83, "kubernetes with a mount of its own", Differs("a token's file may end with a line feed, which is no part of the token", || {
        let fake = FakeVault::plain(logged_in(|_, _| answer(200, &secret_body(r#"{"k":"v"}"#))));
        let mut agent = Agent::for_fake(&fake).with("/login/mount", json!("my/mount"));
        agent.token(&format!("{}\n", crate::support::agent::FAKE_JWT));
        started(&mut entries(agent, "p k")).succeeds();
        let login = &fake.requests()[0];
        assert_eq!((login.method.as_str(), login.target.as_str()), ("POST", "/v1/auth/my/mount/login"));
        assert_eq!(serde_json::from_slice::<Value>(&login.body).unwrap(), json!({"jwt": crate::support::agent::FAKE_JWT, "role": "web"}));
    })),
    (85, "jwt with the OIDC token", Passes(|| {
        let fake = FakeVault::plain(logged_in(|_, _| answer(200, &secret_body(r#"{"k":"canary-of-own"}"#))));
        let mut pod = crate::job_own::on(Agent::for_fake(&fake));
        pod.started().succeeds();
        let requests = fake.requests();
        let login = requests.iter().find(|request| request.target == "/v1/auth/github/login").unwrap();
        let body: Value = serde_json::from_slice(&login.body).unwrap();
        assert_eq!((&body["role"], body["jwt"].as_str().unwrap().split('.').count()), (&json!("ci"), 3));
    })),
    (86, "a private key of one's own; an audience; no role", Differs("no key is taken, and a role is always asked for; the audience is `job.audience`, as other tests hold", || {
        let mut pod = entries(agent(), "p k");
        pod.agent.plan["login"].as_object_mut().unwrap().remove("role");
        pod.init().expect(64, &["role"]);
    })),
    (88, "no id-token permission", Differs("told at once, with the line to add", || {
        let fake = FakeVault::plain(logged_in(|_, _| answer(200, &secret_body(r#"{"k":"v"}"#))));
        let mut pod = crate::job_own::on(Agent::for_fake(&fake));
        pod.runner.unset("ACTIONS_ID_TOKEN_REQUEST_URL");
        pod.started().fails(&["podkey 77 stage=login", "id-token: write"]);
    })),
    (89, "userpass, ldap", NotApplicable("no password is needed in a pod")),
    (91, "method token without a token", NotApplicable("no token is needed in a pod")),

    // Export, headers, namespaces, TLS, PKI
    (92, "exportToken, outputToken", NotApplicable("the client token is revoked before the job starts; nothing gives it to the job")),
    (94, "extraHeaders", NotApplicable("none is sent: an address, a namespace and a token are all that podkey's connections have")),
    (95, "a namespace", Differs("every way of reading works there; approle is not there", in_a_namespace)),
    (97, "a private CA; a client certificate; tlsSkipVerify", Differs("the CA is the connection's; there is no client certificate, and TLS is never skipped", || {
        let (mut pod, _) = prepared(&secret(r#"{"k":"v"}"#, "k"));
        started(&mut pod).succeeds();
        let other = crate::support::ca::Ca::new("another").pem();
        let mut pod = entries(agent().with("/connection/ca", json!(other)), "secret/data/x k");
        started(&mut pod).fails(&["podkey 78"]);
    })),
    (98, "pki", NotApplicable("podkey reads; a secret that comes of a write cannot be asked for yet")),
    (100, "NODE_OPTIONS", Differs("refused when the pod is made, as is whatever else takes over a job", || {
        refused("p k | NODE_OPTIONS", "decides what a program runs");
        // A plan made by hand does not get past the hook.
        for name in ["GITHUB_TOKEN", "node_options"] {
            let (mut pod, _) = prepared(&secret(r#"{"k":"v"}"#, &format!("k | {name}")));
            started(&mut pod).fails(&["podkey 65", name, "the runner's own"]);
        }
    })),
];

#[test]
fn every_case_of_vault_action_is_listed_once() {
    let numbers: Vec<u32> = CASES.iter().map(|(number, ..)| *number).collect();
    let all = BTreeSet::from(NUMBERS);
    assert_eq!(numbers, all.iter().copied().collect::<Vec<_>>(), "each once, in order");
    for (number, what, case) in CASES {
        let why = match case {
            Passes(_) => "-",
            Differs(why, _) | NotApplicable(why) => why,
        };
        assert!(!what.is_empty() && !why.is_empty(), "case {number} says nothing");
    }
}

#[test]
fn every_case_has_the_result_of_the_table() {
    let mut failed = Vec::new();
    for (number, what, case) in CASES {
        if let Passes(runs) | Differs(_, runs) = case
            && catch_unwind(runs).is_err()
        {
            failed.push(format!("case {number}: {what}"));
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

/// A server with vault-action's mounts, and a role that reads all of them.
fn bao() -> &'static OpenBao {
    static BAO: OnceLock<OpenBao> = OnceLock::new();
    BAO.get_or_init(|| {
        let bao = OpenBao::with_scenario_1();
        open(&bao, "");
        bao.write_in("", "sys/namespaces/ns1", &Value::Null);
        open(&bao, "ns1");
        bao.write_in(
            "ns1",
            "sys/mounts/kv1",
            &json!({"type": "kv", "options": {"version": "1"}}),
        );
        bao
    })
}

fn open(bao: &OpenBao, namespace: &str) {
    // With the in-memory server `secret/` is there in the root namespace.
    let (_, mounts) = bao.call_in(namespace, "GET", "sys/mounts", &Value::Null);
    if mounts["secret/"].is_null() && mounts["data"]["secret/"].is_null() {
        bao.write_in(
            namespace,
            "sys/mounts/secret",
            &json!({"type": "kv", "options": {"version": "2"}}),
        );
    }
    let policy = ["secret/*", "kv1/*"].map(|path| format!("path \"{path}\" {{ capabilities = [\"read\"] }}"));
    bao.write_in(
        namespace,
        "sys/policies/acl/cases",
        &json!({"policy": policy.join("\n")}),
    );
    bao.write_in(namespace, "sys/auth/cases", &json!({"type": "jwt"}));
    bao.write_in(
        namespace,
        "auth/cases/config",
        &json!({"jwt_validation_pubkeys": [bao.cluster.public_pem()]}),
    );
    bao.write_in(
        namespace,
        "auth/cases/role/all",
        &json!({"role_type": "jwt", "user_claim": "sub", "token_policies": ["cases"], "bound_audiences": ["vault"]}),
    );
}

fn agent() -> Agent {
    let mut agent = Agent::for_bao(bao()).with("/login", json!({"method": "jwt", "mount": "cases", "role": "all"}));
    agent.token(&bao().cluster.sign(&Claims::new(NAMESPACE, ACCOUNT, "vault")));
    agent
}

/// A path of KV v2 that no other case writes.
fn path() -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    format!("secret/data/case-{}", NEXT.fetch_add(1, Ordering::SeqCst))
}

/// Writes a secret, and gives the entry that reads it.
fn secret(data: &str, selector: &str) -> String {
    let path = path();
    bao().write(&path, &json!({"data": serde_json::from_str::<Value>(data).unwrap()}));
    format!("{path} {selector}")
}

/// A pod whose annotation is this text.
fn entries(agent: Agent, text: &str) -> Pod {
    let parsed = parse::<ApiPath>(text).unwrap_or_else(|problems| panic!("{text}: {problems:?}"));
    let files = if agent.plan["files"][0]["secret"] == "kv/data/web" {
        json!([])
    } else {
        agent.plan["files"].clone()
    };
    Pod::new(agent)
        .with("/files", files)
        .with("/env", serde_json::to_value(parsed).unwrap())
}

fn prepared(text: &str) -> (Pod, Ended) {
    let pod = entries(agent(), text);
    let ended = pod.init();
    (pod, ended)
}

/// The started hook, after `init` if that has not run.
fn started(pod: &mut Pod) -> Step {
    if !pod.path("podkey/bin/outcome.json").exists() {
        pod.init().expect(0, &[]);
    }
    if !pod.path("podkey/secrets").exists() {
        pod.mount();
    }
    pod.started()
}

/// What a job with this annotation gets.
fn delivered(text: &str) -> (Step, Pod) {
    let (mut pod, ended) = prepared(text);
    ended.expect(0, &[]);
    let step = started(&mut pod);
    step.succeeds();
    (step, pod)
}

fn variables(step: &Step) -> Vec<(String, String)> {
    step.env.clone().unwrap().into_iter().collect()
}

/// The job gets these variables of a secret with this data.
#[track_caller]
fn gives(selector: &str, data: &str, expected: &[(&str, &str)]) {
    let (step, _) = delivered(&secret(data, selector));
    let expected: Vec<_> = expected
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_string()))
        .collect();
    assert_eq!(variables(&step), expected, "{selector} of {data}");
}

#[track_caller]
fn finds_nothing(selector: &str, data: &str, hint: &str) {
    let (mut pod, _) = prepared(&secret(data, selector));
    started(&mut pod).fails(&["podkey 66", hint]);
}

/// Paths and names of the entries.
#[track_caller]
fn names(text: &str, expected: &str) {
    let name = |entry: EnvSecret| match entry.select {
        Select::Value { name, .. } => format!("{} {name}", entry.secret),
        other => panic!("{other:?}"),
    };
    let names: Vec<String> = parse::<ApiPath>(text).unwrap().into_iter().map(name).collect();
    assert_eq!(names.join(", "), expected);
}

/// The pod is denied.
#[track_caller]
fn refused(text: &str, why: &str) {
    let problems = parse::<ApiPath>(text).unwrap_err();
    assert!(
        problems.iter().any(|problem| problem.to_string().contains(why)),
        "{text}: {problems:?}"
    );
}

/// A file of what is encoded so.
fn decoded(decode: &str, text: &str) -> Ended {
    let path = path();
    bao().write(&path, &json!({"data": {"k": text}}));
    let agent = agent()
        .file(json!({"secret": path, "key": "k", "decode": decode, "format": "raw", "file": "a", "mode": "0400"}));
    let pod = Pod::new(agent).with("/job/onFailure", json!("fail-pod"));
    let ended = pod.init();
    if ended.code == 0 {
        assert_eq!(pod.agent.delivered("files/a"), b"1");
    }
    ended
}

/// The masks of a value with `mask: lines`, which is vault-action's way.
fn masks_of_lines(value: &str) -> Vec<String> {
    let text = secret(&json!({"k": value}).to_string(), "k");
    let mut pod = entries(agent(), &text).with("/job/mask", json!("lines"));
    let step = started(&mut pod);
    let masks = step.raw.lines().filter_map(|line| line.strip_prefix("::add-mask::"));
    masks.map(str::to_owned).collect()
}

/// What a read comes to that is answered with these first, and how often it was tried.
fn answered(statuses: &'static [u16]) -> (Option<String>, usize) {
    let fake = FakeVault::plain(logged_in(|_, n| match statuses.get(n) {
        Some(status) => answer(*status, r#"{"errors":["not now"]}"#),
        None => answer(200, &secret_body(r#"{"k":"v"}"#)),
    }));
    let step = started(&mut entries(Agent::for_fake(&fake).budget("30s"), "p k"));
    let reads = fake
        .requests()
        .iter()
        .filter(|request| request.target == "/v1/p")
        .count();
    (step.variable("K").map(str::to_owned), reads)
}

fn in_a_namespace() {
    let write = |path: &str, body: Value| bao().write_in("ns1", path, &body);
    write("secret/data/test", json!({"data": {"secret": "s", "otherSecret": "o"}}));
    write("secret/data/nested/test", json!({"data": {"otherSecret": "n"}}));
    write("kv1/test", json!({"secret": "1"}));
    write("kv1/nested/test", json!({"otherSecret": "n1"}));
    for (text, expected) in [
        ("secret/data/test secret", "SECRET=s"),
        ("secret/data/test secret | NAMED", "NAMED=s"),
        ("secret/data/test *", "OTHERSECRET=o SECRET=s"),
        ("secret/data/test * | P_", "P_OTHERSECRET=o P_SECRET=s"),
        ("secret/data/nested/test otherSecret", "OTHERSECRET=n"),
        (
            "secret/data/test secret; secret/data/nested/test otherSecret",
            "OTHERSECRET=n SECRET=s",
        ),
        ("kv1/test secret", "SECRET=1"),
        ("kv1/test secret | NAMED", "NAMED=1"),
        ("kv1/nested/test otherSecret", "OTHERSECRET=n1"),
    ] {
        let mut pod = entries(agent().with("/connection/namespace", json!("ns1")), text);
        let step = started(&mut pod);
        step.succeeds();
        let got: Vec<String> = variables(&step)
            .into_iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        assert_eq!(got.join(" "), expected, "{text}");
    }
    // In the root namespace there is no such secret.
    started(&mut entries(agent(), "kv1/test secret")).fails(&["podkey 66"]);
}
