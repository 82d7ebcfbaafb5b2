//! The secrets that the job reads for itself: GitHub's token over TLS, a real OpenBao that trusts its issuer, and an issuer
//! that misbehaves.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::job_pod::{Pod, variable};
use crate::process::{Signalled, send, wait_for};
use crate::support::agent::Agent;
use crate::support::ca::Ca;
use crate::support::fake_vault::{FakeVault, Reply, json as answer, logged_in, secret_body};
use crate::support::github::{BEARER, GitHub, JOB_MOUNT, NAME};
use crate::support::http::Request;
use crate::support::jwt::POD_UID;
use crate::support::openbao::{NAMESPACE, OpenBao};

/// One server and one issuer for all tests of this file.
fn parts() -> &'static (OpenBao, GitHub, Ca) {
    static PARTS: OnceLock<(OpenBao, GitHub, Ca)> = OnceLock::new();
    PARTS.get_or_init(|| {
        let bao = OpenBao::with_scenario_1();
        let ca = Ca::new("GitHub's CA");
        let github = GitHub::start(&ca);
        github.trusted_by(&bao);
        let header = "sys/config/auditing/request-headers/x-correlation-id";
        bao.write(header, &json!({"hmac": false}));
        bao.write(
            "ci/data/octo-org/octo-repo/deploy",
            &json!({"data": {"KEY": "canary-of-deploy", "USER": "canary-of-user"}}),
        );
        bao.write(
            "ci/data/octo-org/octo-repo/prod",
            &json!({"data": {"KEY": "canary-of-prod"}}),
        );
        // The branch feature/x: three characters of the name are %2F.
        bao.write(
            "ci/data/by-branch/feature%252Fx",
            &json!({"data": {"KEY": "canary-of-branch"}}),
        );
        (bao, github, ca)
    })
}

/// The server that trusts GitHub's tokens.
pub(crate) fn bao() -> &'static OpenBao {
    &parts().0
}

/// The CA of its certificate.
pub(crate) fn ca() -> &'static Ca {
    &parts().2
}

fn login() -> Value {
    json!({"mount": JOB_MOUNT, "role": "ci", "audience": "https://vault.example.com"})
}

/// A pod whose job reads a variable and two files for itself, with the permission to.
pub(crate) fn pod() -> Pod {
    let (bao, github, ca) = parts();
    let mut pod = Pod::new(Agent::for_bao(bao))
        .with("/job/login", login())
        .entry("/job/env", variable("ci/data/{repository}/deploy", "KEY", "DEPLOY_KEY"))
        .entry("/job/files", json!({"secret": "ci/data/{repository}/deploy", "format": "json", "file": "/tmp/deploy", "mode": "0400"}))
        .entry("/job/files", json!({"secret": "ci/data/{repository}/{environment}", "key": "KEY", "format": "raw", "file": "dir/prod", "mode": "0440"}))
        .canary("canary-of-");
    for value in [
        "canary-of-deploy",
        "canary-of-user",
        "canary-of-prod",
        "canary-of-branch",
        BEARER,
    ] {
        pod.runner.watch(value);
    }
    pod.agent.plan.as_object_mut().unwrap().remove("login");
    may_ask(&mut pod, &github.request_url(), ca);
    pod
}

/// A pod on another server, whose job reads the field `k` of `p` for itself.
pub(crate) fn on(agent: Agent) -> Pod {
    may_read(agent).ready()
}

/// The same without an `init`.
pub(crate) fn alone(agent: Agent) -> Pod {
    let mut pod = may_read(agent).alone();
    pod.agent.plan.as_object_mut().unwrap().remove("login");
    pod.ready()
}

/// The same before its `init`.
fn may_read(agent: Agent) -> Pod {
    let (_, github, ca) = parts();
    let mut pod = Pod::new(agent)
        .with("/files", json!([]))
        .with("/job/login", login())
        .entry("/job/env", variable("p", "k", "K"));
    may_ask(&mut pod, &github.request_url(), ca);
    pod
}

/// Lets the job ask this issuer, whose certificate the CA signed.
pub(crate) fn may_ask(pod: &mut Pod, url: &str, ca: &Ca) {
    pod.runner
        .set("ACTIONS_ID_TOKEN_REQUEST_URL", url)
        .set("ACTIONS_ID_TOKEN_REQUEST_TOKEN", BEARER);
    fs::create_dir_all(pod.path("etc/ssl/certs")).unwrap();
    fs::write(pod.path("etc/ssl/certs/ca-certificates.crt"), ca.pem()).unwrap();
}

#[test]
fn a_job_token_with_too_few_uses_is_refused_before_the_first_read() {
    let (bao, ..) = parts();
    bao.write(
        &format!("auth/{JOB_MOUNT}/role/limited"),
        &json!({
            "role_type": "jwt", "user_claim": "repository", "bound_audiences": ["https://vault.example.com"],
            "token_policies": ["ci"], "token_num_uses": 1,
        }),
    );
    let before = bao.tokens();
    let mut pod = pod().with("/job/login/role", json!("limited")).ready();
    let step = pod.started();
    step.fails(&["token_num_uses of the role limited is 1, and 2 are needed"]);
    assert!(pod.is_closed("tmp/deploy"));
    wait_for(|| bao.tokens() <= before);
}

#[test]
fn a_job_reads_the_secrets_of_its_repository() {
    let (bao, ..) = parts();
    let before = bao.tokens();
    let mut pod = pod().ready();
    assert!(pod.is_closed("tmp/deploy"));
    let step = pod.started();
    step.succeeds();
    assert_eq!(step.variable("DEPLOY_KEY"), Some("canary-of-deploy"));
    assert_eq!(
        pod.text("tmp/deploy"),
        r#"{"KEY":"canary-of-deploy","USER":"canary-of-user"}"#
    );
    assert_eq!(pod.text("podkey/secrets/dir/prod"), "canary-of-prod");
    for value in ["canary-of-deploy", "canary-of-user", "canary-of-prod"] {
        assert_eq!(pod.runner.masked(value), "***");
    }
    for text in [
        "DEPLOY_KEY",
        "/tmp/deploy",
        "ci/data/octo-org/octo-repo/prod",
        "version 1",
    ] {
        assert!(step.summary.contains(text), "{text}: {}", step.summary);
    }
    // The job's own token is revoked. Tests beside this one have tokens of their own for a while.
    wait_for(|| bao.tokens() <= before);
    let asked = bao.audit();
    let line = step
        .log
        .iter()
        .find(|line| line.contains("logged in with GitHub's token"))
        .unwrap();
    let ours: Vec<_> = asked
        .iter()
        .filter(|entry| {
            entry["type"] == "request"
                && entry["auth"]["accessor"]
                    .as_str()
                    .is_some_and(|accessor| line.contains(accessor))
        })
        .collect();
    assert_eq!(ours.len(), 3, "two reads and the revocation");
    for entry in ours {
        let header = entry["request"]["headers"]["x-correlation-id"][0]
            .as_str()
            .unwrap_or_default();
        assert_eq!(
            header,
            format!(
                "podkey job pod={NAMESPACE}/runner-1 uid={POD_UID} claimed-repository=octo-org/octo-repo \
                 claimed-run=1234567 claimed-attempt=2 claimed-job=build"
            )
        );
        assert_eq!(entry["auth"]["metadata"]["repository"], "octo-org/octo-repo");
    }
    let step = pod.completed();
    assert_eq!(step.code, 0);
    assert!(pod.left().is_empty() && pod.is_closed("tmp/deploy"));
}

#[test]
fn a_job_reads_without_a_client_token_where_the_connection_is_inline() {
    let (bao, ..) = parts();
    let skip = bao.audit().len();
    let mut pod = pod().with("/job/login/inline", json!(true)).ready();
    let step = pod.started();
    step.succeeds();
    assert_eq!(step.variable("DEPLOY_KEY"), Some("canary-of-deploy"));
    assert_eq!(pod.text("podkey/secrets/dir/prod"), "canary-of-prod");
    assert!(
        !step
            .log
            .iter()
            .any(|line| line.contains("logged in with GitHub's token"))
    );
    let lines: Vec<_> = step
        .log
        .iter()
        .filter(|line| line.contains("read without a client token"))
        .collect();
    assert_eq!(lines.len(), 2, "{:?}", step.log);
    let audit: Vec<Value> = bao.audit().into_iter().skip(skip).collect();
    let ours = |line: &&Value| {
        let id = line["request"]["id"].as_str().unwrap_or_default();
        line["type"] == "response" && lines.iter().any(|said| said.contains(id))
    };
    let ours: Vec<_> = audit.iter().filter(ours).collect();
    assert_eq!(ours.len(), 2);
    for line in ours {
        assert_eq!(line["auth"]["metadata"]["repository"], "octo-org/octo-repo");
        let header = &line["request"]["headers"]["x-correlation-id"][0];
        assert!(header.as_str().unwrap().contains(" claimed-run=1234567 "), "{line}");
    }
    assert_eq!(pod.completed().code, 0);
    assert!(pod.left().is_empty());
}

/// Changes of the plan that the server refuses, and what the job is told.
fn refusals() -> [((&'static str, Value), &'static [&'static str]); 5] {
    [
        (
            ("/job/login/audience", json!("https://other.example.com")),
            &["podkey 77 stage=login", "audience", "https://other.example.com"],
        ),
        (("/job/login/role", json!("nope")), &["podkey 77 stage=login", "nope"]),
        (
            ("/job/env/0/secret", json!("ci/data/other-org/x")),
            &["podkey 77 stage=read", "ci/data/other-org/x"],
        ),
        (
            ("/job/env/0/secret", json!("ci/data/octo-org/octo-repo/gone")),
            &["podkey 66 stage=read", "gone"],
        ),
        (
            ("/job/env/0/select/value/at", json!(["NONE"])),
            &["podkey 66 stage=render", "NONE"],
        ),
    ]
}

#[test]
fn a_refused_job_is_told_without_a_client_token_as_with_it() {
    for (change, texts) in refusals() {
        let mut pod = pod()
            .with("/job/login/inline", json!(true))
            .with(change.0, change.1)
            .ready();
        pod.started().fails(texts);
        assert!(pod.left().is_empty() && pod.is_closed("tmp/deploy"));
    }
}

#[test]
fn names_that_steer_the_steps_of_a_job_are_refused_in_the_jobs_own_reads() {
    let (bao, ..) = parts();
    bao.write(
        "ci/data/octo-org/octo-repo/names",
        &json!({"data": {"BASH_ENV": "canary-of-script", "node-options": "canary-of-options", "OK": "canary-of-ok"}}),
    );
    let before = bao.tokens();
    let names = json!([crate::job_names::wildcard("ci/data/{repository}/names", "")]);
    let mut pod = pod().with("/job/env", names).ready();
    let step = pod.started();
    step.fails(&[
        "podkey 65 stage=render",
        "ci/data/octo-org/octo-repo/names",
        "\"BASH_ENV\"",
        "\"NODEOPTIONS\" (the field \"node-options\")",
        "path * | APP_",
    ]);
    assert!(step.env.as_ref().unwrap().is_empty() && pod.left().is_empty() && pod.is_closed("tmp/deploy"));
    wait_for(|| bao.tokens() <= before);
}

/// The pod's own file and variable were in their places, for steps that always run, while the server let the hook wait.
#[test]
fn a_hook_that_is_killed_while_it_waits_for_a_server_leaves_no_files() {
    let fake = FakeVault::plain(logged_in(|request: &Request, _| match request.target.as_str() {
        "/v1/p" => crate::process::stuck(),
        _ => answer(200, &secret_body(r#"{"a":"canary-of-init"}"#)),
    }));
    let mut pod = may_read(Agent::for_fake(&fake))
        .file(json!({"secret": "kv/web", "key": "a", "format": "raw", "file": "/tmp/secret", "mode": "0400"}))
        .file(json!({"secret": "kv/web", "key": "a", "format": "raw", "file": "dir/a", "mode": "0400"}))
        .env("kv/web", "a", "A")
        .ready();
    assert_eq!(pod.left().len(), 3);
    let (hook, arguments) = pod.hook_call("job-started.sh");
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut child = pod.runner.spawn(&hook, &arguments);
    wait_for(|| fake.requests().iter().any(|request| request.target == "/v1/p"));
    send("-KILL", &child);
    assert!(!child.wait().unwrap().success());
    assert!(pod.left().is_empty() && pod.is_closed("tmp/secret"), "{:?}", pod.left());
    assert_eq!(pod.completed().code, 0);
}

#[test]
fn a_branch_name_stays_one_segment_of_the_path() {
    let branch = |name: &str| {
        let mut pod = pod()
            .with("/job/files", json!([]))
            .with(
                "/job/env",
                json!([variable("ci/data/by-branch/{ref_name}", "KEY", "K")]),
            )
            .ready();
        pod.runner.set("GITHUB_REF_NAME", name);
        pod.started()
    };
    let step = branch("feature/x");
    step.succeeds();
    assert_eq!(step.variable("K"), Some("canary-of-branch"));
    branch("..").fails(&["podkey 65", "{ref_name}", "\"..\""]);
    branch("../../octo-org/octo-repo/deploy").fails(&["podkey 66", "%2F"]);
}

#[test]
fn without_the_permission_the_report_has_the_line_to_add() {
    for missing in ["ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"] {
        let mut pod = pod().ready();
        pod.runner.unset(missing);
        pod.started().fails(&[
            "podkey 77 stage=login",
            "permissions: {id-token: write, contents: read}",
        ]);
        assert!(pod.left().is_empty());
    }
}

#[test]
fn the_servers_reason_to_refuse_the_token_is_reported() {
    let (bao, _, ca) = parts();
    let before = bao.tokens();
    for (change, texts) in refusals() {
        let mut pod = pod().with(change.0, change.1).ready();
        pod.started().fails(texts);
        assert!(pod.left().is_empty() && pod.is_closed("tmp/deploy"));
    }
    // A stranger with the same words, whose keys the server does not know.
    let stranger = GitHub::start(ca);
    stranger.claim("iss", json!("https://token.actions.githubusercontent.com"));
    let mut pod = pod().ready();
    may_ask(&mut pod, &stranger.request_url(), ca);
    pod.started().fails(&["podkey 77 stage=login"]);
    let owner = GitHub::start(ca);
    let mut no_environment = self::pod().ready();
    owner.claim("environment", Value::Null);
    may_ask(&mut no_environment, &owner.request_url(), ca);
    no_environment.started().fails(&["podkey 65", "no environment"]);
    wait_for(|| bao.tokens() <= before);
}

#[test]
fn a_false_issuer_gives_a_job_nothing() {
    let (bao, _, ca) = parts();
    let before = bao.tokens();
    // Its keys are those that the server fetched; what it says of itself, of its audience or of the time is not true.
    let liar = GitHub::start(ca);
    liar.trusted_at(bao, "lying");

    for (claim, value, text) in [
        ("iss", json!("https://token.actions.githubusercontent.com"), "issuer"),
        ("aud", json!("https://evil.example.com"), "audience"),
        ("exp", json!(1), "expired"),
        ("repository_owner", json!("evil-org"), "repository_owner"),
    ] {
        let mut pod = pod().with("/job/login/mount", json!("lying")).ready();
        may_ask(&mut pod, &liar.request_url(), ca);
        let truth = liar.claimed(claim);
        liar.claim(claim, value);
        let step = pod.started();
        step.fails(&["podkey 77 stage=login", text]);
        assert!(pod.left().is_empty() && step.env.unwrap().is_empty(), "{claim}");
        liar.claim(claim, truth);
    }
    let mut pod = pod().with("/job/login/mount", json!("lying")).ready();
    may_ask(&mut pod, &liar.request_url(), ca);
    pod.started().succeeds();
    wait_for(|| bao.tokens() <= before);
}

#[test]
fn no_token_is_requested_if_the_policy_refuses_the_job() {
    let (_, _, ca) = parts();
    let github = GitHub::start(ca);
    let mut pod = pod()
        .with("/job/policies", json!([{"repositories": ["someone/else"]}]))
        .ready();
    may_ask(&mut pod, &github.request_url(), ca);
    pod.started().fails(&["podkey 77 stage=job"]);
    assert_eq!(github.asked(), 0);
}

#[test]
fn a_variable_from_both_annotations_is_refused() {
    let (bao, ..) = parts();
    bao.write("arc-runners/data/x", &json!({"data": {"a": "canary-of-init"}}));
    let mut pod = pod()
        .with(
            "/login",
            json!({"method": "kubernetes", "mount": "my-cluster/arc-runners", "role": "actions-vault"}),
        )
        .env("arc-runners/data/x", "a", "DEPLOY_KEY")
        .ready();
    pod.started().fails(&["podkey 65", "DEPLOY_KEY is made twice"]);
    assert!(pod.left().is_empty());
}

#[test]
fn where_nothing_is_exported_the_jobs_own_variables_are_files_too() {
    let mut pod = pod().with("/job/export", json!(false)).ready();
    pod.started().succeeds();
    assert_eq!(pod.text("podkey/secrets/env/DEPLOY_KEY"), "canary-of-deploy");
    pod.completed();
    assert!(pod.left().is_empty());
}

/// A server where a job can log in with its own token, which waits before it answers that.
fn slow_login(wait: impl Fn() + Send + Sync + 'static) -> FakeVault {
    let others = logged_in(|_, _| answer(200, &secret_body(r#"{"k":"canary-of-k"}"#)));
    FakeVault::plain(move |request: &Request, n| {
        if request.target.contains(JOB_MOUNT) {
            wait();
        }
        others(request, n)
    })
}

#[test]
fn a_login_of_the_job_that_is_under_way_may_finish_so_that_its_token_is_revoked() {
    let revoked = |fake: &FakeVault| {
        let requests = fake.requests();
        assert_eq!(requests.last().unwrap().target, "/v1/auth/token/revoke-self");
        assert!(
            requests[requests.len() - 2].target.contains(JOB_MOUNT),
            "nothing is read"
        );
    };
    // A signal comes.
    let signalled = Signalled::default();
    let seen = signalled.clone();
    let fake = slow_login(move || seen.wait());
    let mut pod = on(Agent::for_fake(&fake));
    let (hook, arguments) = pod.hook_call("job-started.sh");
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let child = pod.runner.spawn(&hook, &arguments);
    wait_for(|| {
        let requests = fake.requests();
        requests
            .last()
            .is_some_and(|request| request.target.contains(JOB_MOUNT))
    });
    send("-INT", &child);
    signalled.set();
    let step = pod.runner.take(child.wait_with_output().unwrap());
    step.fails(&["podkey 143", "stopped by SIGINT"]);
    revoked(&fake);
    // The time is over: of four seconds two are for reading, which begins with asking GitHub.
    let fake = slow_login(|| std::thread::sleep(Duration::from_millis(2050)));
    let mut pod = may_read(Agent::for_fake(&fake))
        .with("/job/deadline", json!("4s"))
        .ready();
    pod.started().fails(&["podkey 69"]);
    revoked(&fake);
}

#[test]
fn a_lease_keeps_its_token_only_if_the_authors_hook_succeeds() {
    let leased = r#"{"lease_id":"db/1","renewable":true,"lease_duration":3600,"data":{"k":"canary-of-leased"}}"#;
    for (code, last) in [(0, "/v1/p"), (3, "/v1/auth/token/revoke-self")] {
        let fake = FakeVault::plain(logged_in(move |_, _| answer(200, leased)));
        let mut pod = on(Agent::for_fake(&fake));
        let hook = pod.runner.dir().join("own.sh");
        fs::write(&hook, format!("exit {code}\n")).unwrap();
        pod.runner.set("PODKEY_NEXT_JOB_STARTED", hook.to_str().unwrap());
        let step = pod.started();
        assert_eq!(step.code, code, "{}", step.raw);
        assert_eq!(step.variable("K"), (code == 0).then_some("canary-of-leased"));
        assert_eq!(fake.requests().last().unwrap().target, last);
    }
}

/// A GitHub that answers like this.
fn misbehaving(script: impl Fn(&Request, usize) -> Reply + Send + Sync + 'static) -> FakeVault {
    let (_, _, ca) = parts();
    FakeVault::tls(ca.leaf(&["127.0.0.1"]).server_config(), script)
}

fn ask(github: &FakeVault) -> crate::support::runner::Step {
    let (_, _, ca) = parts();
    let mut pod = pod().with("/job/deadline", json!("8s")).ready();
    may_ask(&mut pod, &format!("{}/idtoken?x=1", github.address()), ca);
    let step = pod.started();
    assert!(pod.left().is_empty(), "{:?}", pod.left());
    step
}

#[test]
fn a_refusal_of_github_is_reported_and_no_redirect_is_followed() {
    let elsewhere = misbehaving(|_, _| answer(200, r#"{"value":"e30.e30.canary-of-stolen"}"#));
    let to = format!("{}/x", elsewhere.address());
    let redirecting =
        misbehaving(move |_, _| crate::support::fake_vault::with_headers(302, &format!("Location: {to}\r\n"), ""));
    ask(&redirecting).fails(&["podkey 76 stage=login", "redirect refused"]);
    assert_eq!(elsewhere.connections(), 0);
    for (status, body, texts) in [
        (200, "<html>", &["podkey 76", "is not GitHub's"][..]),
        (200, "{}", &["podkey 76", "is not GitHub's"]),
        (200, r#"{"value":""}"#, &["podkey 76"]),
        (200, r#"{"value":"not a\u0000token"}"#, &["podkey 76"]),
        (
            401,
            r#"{"message":"Bad credentials canary-request-token-of-the-job"}"#,
            &["podkey 77", "Bad credentials [redacted]"],
        ),
        // An answer that does not come from GitHub is reported as such, with status and content type: it may come from a proxy.
        (
            403,
            "<html>blocked</html>",
            &["podkey 76", "is not GitHub's: status 403 (application/json)"],
        ),
        (
            404,
            r#"{"error":"no route"}"#,
            &["podkey 76", "is not GitHub's: status 404"],
        ),
        (
            403,
            r#"{"message":"no id-token permission"}"#,
            &["podkey 77", "no id-token permission"],
        ),
        (500, "", &["podkey 69", "GitHub gave no ID token", "status 500"]),
    ] {
        let step = ask(&misbehaving(move |_, _| answer(status, body)));
        step.fails(texts);
        assert!(!step.raw.contains("canary-request-token"), "{}", step.raw);
    }
    let large = misbehaving(|_, _| answer(200, &format!(r#"{{"value":"{}"}}"#, "x".repeat(100_000))));
    ask(&large).fails(&["podkey 76", "larger than 64 KiB"]);
}

#[test]
fn the_hook_waits_for_a_slow_or_absent_github_within_the_deadline() {
    let begun = Instant::now();
    let stuck = misbehaving(|_, _| {
        Reply::Custom(Box::new(|_: &mut dyn Write| {
            std::thread::sleep(Duration::from_secs(60))
        }))
    });
    ask(&stuck).fails(&["podkey 69 stage=login", "ID token"]);
    assert!(
        begun.elapsed() < Duration::from_secs(40),
        "the runner has no limit of its own"
    );
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (_, github, ca) = parts();
    let mut pod = pod().with("/job/deadline", json!("3s")).ready();
    may_ask(&mut pod, &format!("https://127.0.0.1:{free}/"), ca);
    pod.started().fails(&["podkey 69", "GitHub gave no ID token"]);
    // And one that comes back.
    let target = github.port();
    let flaky = misbehaving(move |request, n| match n {
        0 => answer(502, ""),
        _ => {
            let _ = (request, target);
            answer(
                200,
                r#"{"value":"e30.eyJlbnZpcm9ubWVudCI6InByb2QifQ.canary-of-nobody"}"#,
            )
        }
    });
    ask(&flaky).fails(&["podkey 77 stage=login"]);
    assert_eq!(flaky.requests().len(), 2);
    let first = &flaky.requests()[0];
    assert_eq!(first.target, "/idtoken?x=1&audience=https%3A%2F%2Fvault.example.com");
    assert_eq!(
        first.header("authorization"),
        Some("Bearer canary-request-token-of-the-job")
    );
}

#[test]
fn a_certificate_that_the_runners_image_does_not_trust_is_refused() {
    let (_, github, _) = parts();
    let mut pod = pod().ready();
    may_ask(&mut pod, &github.request_url(), &Ca::new("another CA"));
    pod.started().fails(&["podkey 78 stage=login", "githubServerTLS"]);
    for (url, text) in [
        ("http://127.0.0.1:1/", "https://"),
        ("https://u:p@127.0.0.1/", "user"),
        ("::", "is not a URL"),
    ] {
        pod.runner.set("ACTIONS_ID_TOKEN_REQUEST_URL", url);
        pod.started()
            .fails(&["podkey 64", "ACTIONS_ID_TOKEN_REQUEST_URL", text]);
    }
}

#[test]
fn the_runners_proxy_is_for_github_and_not_for_vault() {
    let (_, github, ca) = parts();
    // The proxy answers for names that only it knows.
    let port = github.port();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = format!("http://us%40er:canary-password@{}", listener.local_addr().unwrap());
    let (told, asked) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let mut reader = std::io::BufReader::new(client.try_clone().unwrap());
            let Some(request) = Request::read(&mut reader) else {
                continue;
            };
            told.send(request).unwrap();
            let server = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
            let mut client = client;
            client
                .write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
                .unwrap();
            let (mut up, mut down) = (server.try_clone().unwrap(), client.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut client, &mut up));
            std::thread::spawn(move || {
                let mut server = server;
                std::io::copy(&mut server, &mut down)
            });
        }
    });
    let mut pod = pod()
        .with("/job/deadline", json!("8s"))
        .canary("canary-password")
        .ready();
    pod.runner
        .set("https_proxy", &proxy)
        .set("http_proxy", "http://127.0.0.1:1")
        .set("NO_PROXY", "vault.svc,10.0.0.0/8");
    // The tunnel is there, and the TLS inside it is judged as always: this name the certificate is not for.
    may_ask(&mut pod, &format!("https://other.example.com:{port}/idtoken?x=1"), ca);
    pod.started().fails(&["podkey 78", "another name"]);
    asked.recv().unwrap();
    // This one it is for, and the token comes through.
    let asked_before = github.asked();
    let mut pod = self::pod()
        .with("/job/deadline", json!("8s"))
        .canary("canary-password")
        .ready();
    pod.runner.set("https_proxy", &proxy);
    may_ask(&mut pod, &format!("https://{NAME}:{port}/idtoken?x=1"), ca);
    let step = pod.started();
    step.succeeds();
    assert_eq!(step.variable("DEPLOY_KEY"), Some("canary-of-deploy"));
    assert!(github.asked() > asked_before);
    let request = asked.recv().unwrap();
    assert_eq!(
        (request.method.as_str(), request.target.as_str()),
        ("CONNECT", format!("{NAME}:{port}").as_str())
    );
    assert_eq!(
        request.header("proxy-authorization"),
        Some("Basic dXNAZXI6Y2FuYXJ5LXBhc3N3b3Jk")
    );
    assert!(asked.try_recv().is_err(), "nobody else is asked for through the proxy");
    pod.runner.set("https_proxy", "https://proxy.example.com");
    pod.started().fails(&["podkey 64", "https_proxy", "the only kind"]);
}
