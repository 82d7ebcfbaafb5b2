//! The process itself: signals, what other processes can see, and the tokens that it leaves behind.

use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Output};
use std::sync::{Arc, OnceLock};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::deliver::{KUBECONFIG, bao, kubeconfig, wrapped};
use crate::support::agent::Agent;
use crate::support::fake_vault::{FakeVault, Reply, json as answer, logged_in, login_body, secret_body};
use crate::support::http::Request;
use crate::support::openbao::OpenBao;

pub(crate) fn send(signal: &str, child: &Child) {
    Command::new("kill")
        .args([signal, &child.id().to_string()])
        .status()
        .unwrap();
}

pub(crate) fn stuck() -> Reply {
    Reply::Custom(Box::new(|_: &mut dyn Write| sleep(Duration::from_secs(20))))
}

/// A signal that is sent, as a server under way sees it.
#[derive(Clone, Default)]
pub(crate) struct Signalled(Arc<OnceLock<()>>);

impl Signalled {
    pub(crate) fn set(&self) {
        self.0.set(()).unwrap();
    }

    /// Waits for it, and until it was most likely seen: less than the grace of a login.
    pub(crate) fn wait(&self) {
        self.0.wait();
        sleep(Duration::from_millis(50));
    }
}

pub(crate) fn wait_for(what: impl Fn() -> bool) {
    let begun = Instant::now();
    while !what() {
        assert!(begun.elapsed() < Duration::from_secs(20), "it never came");
        sleep(Duration::from_millis(5));
    }
}

/// What a child has written, once it has ended; one that goes on is killed after a while.
pub(crate) fn ended(mut child: Child) -> Output {
    let begun = Instant::now();
    while child.try_wait().unwrap().is_none() && begun.elapsed() < Duration::from_secs(20) {
        sleep(Duration::from_millis(5));
    }
    let _ = child.kill();
    child.wait_with_output().unwrap()
}

#[test]
fn a_signal_stops_init_at_any_stage_and_the_token_is_revoked() {
    for signal in ["-TERM", "-INT"] {
        let fake = FakeVault::plain(logged_in(|_, _| stuck()));
        let agent = Agent::for_fake(&fake).budget("1m");
        let child = agent.spawn();
        wait_for(|| fake.requests().len() == 2);
        let begun = Instant::now();
        send(signal, &child);
        let run = agent.check(child.wait_with_output().unwrap(), begun.elapsed());
        run.expect(143, &["stopped by SIG"]).stage("read");
        assert_eq!(fake.requests().last().unwrap().target, "/v1/auth/token/revoke-self");
        assert!(agent.all_files().is_empty());
    }
}

#[test]
fn a_login_on_its_way_is_let_finish_so_that_its_token_can_be_revoked() {
    let signalled = Signalled::default();
    let seen = signalled.clone();
    let fake = FakeVault::plain(move |request: &Request, n| match n {
        0 => {
            seen.wait();
            answer(200, &login_body())
        }
        _ => logged_in(|_, _| stuck())(request, n),
    });
    let agent = Agent::for_fake(&fake).budget("1m");
    let child = agent.spawn();
    wait_for(|| fake.requests().len() == 1);
    send("-TERM", &child);
    signalled.set();
    agent
        .check(child.wait_with_output().unwrap(), Duration::ZERO)
        .expect(143, &[]);
    assert_eq!(fake.requests().last().unwrap().target, "/v1/auth/token/revoke-self");
}

#[test]
fn a_login_without_an_answer_before_the_end_is_reported() {
    for second in [false, true] {
        let fake = FakeVault::plain(|_, _| stuck());
        let agent = Agent::for_fake(&fake).budget("1m");
        let child = agent.spawn();
        wait_for(|| fake.requests().len() == 1);
        send("-TERM", &child);
        if second {
            sleep(Duration::from_millis(100));
            send("-TERM", &child);
        }
        let run = agent.check(child.wait_with_output().unwrap(), Duration::ZERO);
        run.expect(143, &["a client token may be left"]);
        assert!(run.stderr.contains("may have made a client token"), "{}", run.stderr);
    }
}

#[test]
fn a_second_signal_ends_init_at_once() {
    let fake = FakeVault::plain(|request: &Request, n| match request.target.ends_with("revoke-self") {
        true => stuck(),
        false => logged_in(|_, _| stuck())(request, n),
    });
    let agent = Agent::for_fake(&fake).budget("1m");
    let child = agent.spawn();
    wait_for(|| fake.requests().len() == 2);
    send("-TERM", &child);
    wait_for(|| fake.requests().len() == 3);
    send("-TERM", &child);
    agent
        .check(child.wait_with_output().unwrap(), Duration::ZERO)
        .expect(143, &["a client token may be left"]);
}

#[test]
fn a_revocation_without_an_answer_does_not_delay_the_end() {
    let fake = FakeVault::plain(|request: &Request, n| match request.target.ends_with("revoke-self") {
        true => stuck(),
        false => logged_in(|_, _| answer(200, &secret_body(r#"{"a":"1"}"#)))(request, n),
    });
    let run = Agent::for_fake(&fake).run();
    run.expect(0, &[]);
    assert!(run.took < Duration::from_secs(10), "{:?}", run.took);
}

#[test]
fn many_runs_leave_no_token_however_they_end() {
    // A server of its own: the other tests' tokens must not be counted.
    let bao = OpenBao::with_scenario_1();
    bao.write(
        "arc-runners/data/kubeconfig/rancher-cluster",
        &json!({"data": {"config": wrapped(KUBECONFIG)}}),
    );
    let before = bao.tokens();
    let outcomes: Vec<(i32, bool)> = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..4_u64)
            .map(|worker| {
                let bao = &bao;
                scope.spawn(move || {
                    let mut outcomes = Vec::new();
                    for round in 0..20_u64 {
                        let number = worker * 20 + round;
                        let mut agent = Agent::for_bao(bao).file(kubeconfig());
                        match number % 8 {
                            1 => agent = agent.with("/files/0/key", json!("gone")),
                            4 => agent = agent.with("/files/0/secret", json!("arc-runners/data/gone")),
                            _ => {}
                        }
                        let child = agent.spawn();
                        if number % 8 > 4 || number % 8 == 3 {
                            sleep(Duration::from_millis(number * 7 % 60));
                            send("-TERM", &child);
                        }
                        let output = child.wait_with_output().unwrap();
                        // Before its first instruction of ours nothing can handle a signal.
                        if output.status.signal() == Some(15) && output.stderr.is_empty() {
                            continue;
                        }
                        let run = agent.check(output, Duration::ZERO);
                        if run.code != 0 {
                            assert!(agent.all_files().is_empty(), "{}", run.stderr);
                        }
                        outcomes.push((run.code, run.stderr.contains("until its TTL")));
                    }
                    outcomes
                })
            })
            .collect();
        runs.into_iter().flat_map(|run| run.join().unwrap()).collect()
    });
    let codes: Vec<i32> = outcomes.iter().map(|(code, _)| *code).collect();
    assert!(codes.iter().all(|code| [0, 66, 143].contains(code)), "{codes:?}");
    assert!(codes.contains(&0) && codes.contains(&66), "{codes:?}");
    // On a slow machine a signal may end a run whose login takes longer than its grace: the report says so.
    let told = outcomes.iter().filter(|(_, told)| *told).count();
    let left = bao.tokens() - before;
    assert!(left <= told, "{left} tokens are left, {told} told: {outcomes:?}");
}

#[test]
fn init_starts_over_cleanly_after_it_was_killed() {
    let mut agent = Agent::for_bao(bao());
    for n in 0..64 {
        let mut file = kubeconfig();
        file["file"] = json!(format!("d{}/f{n}", n % 4));
        agent = agent.file(file);
    }
    for delay in [5, 15, 25, 30, 35, 40, 50] {
        let mut child = agent.spawn();
        sleep(Duration::from_millis(delay));
        child.kill().unwrap();
        child.wait().unwrap();
        // Whatever has its final name is whole.
        for name in agent.all_files().iter().filter(|name| !name.contains(".podkey-tmp-")) {
            assert_eq!(agent.delivered(name), KUBECONFIG, "{name}");
        }
    }
    agent.run().expect(0, &["delivered 64 files"]);
    assert_eq!(agent.all_files().len(), 64);
}

#[test]
fn no_other_process_can_read_the_memory_and_no_core_file_is_left() {
    use std::os::unix::fs::MetadataExt;
    use std::os::unix::process::CommandExt;
    let fake = FakeVault::plain(logged_in(|_, _| stuck()));
    let agent = Agent::for_fake(&fake).budget("1m");
    // Where cargo puts it, another user may not go.
    let program = agent.root().join("podkey-agent");
    std::fs::copy(crate::support::program("podkey-agent"), &program).unwrap();
    let agent = agent.program(&[program]);
    let mut command = agent.command();
    let is_root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
    if is_root {
        // Of a dumpable process of this user these files would be the user's.
        Command::new("chown")
            .args(["-R", "65532"])
            .arg(agent.root())
            .status()
            .unwrap();
        command.uid(65532);
    }
    let mut child = command.spawn().unwrap();
    wait_for(|| fake.requests().len() == 2);
    let proc = format!("/proc/{}", child.id());
    let limits = std::fs::read_to_string(format!("{proc}/limits")).unwrap();
    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"))
        .unwrap();
    assert_eq!(core.split_whitespace().collect::<Vec<_>>()[4..6], ["0", "0"]);
    assert_eq!(
        std::fs::metadata(format!("{proc}/environ")).unwrap().uid(),
        0,
        "dumpable"
    );
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn no_vault_variable_and_no_proxy_variable_has_an_effect() {
    let hostile = |mut agent: Agent| {
        for (name, value) in [
            ("VAULT_ADDR", "http://127.0.0.1:1"),
            ("BAO_ADDR", "http://127.0.0.1:1"),
            ("VAULT_TOKEN", "root"),
            ("VAULT_NAMESPACE", "nowhere"),
            ("VAULT_CACERT", "/nonexistent"),
            ("VAULT_SKIP_VERIFY", "yes"),
            ("VAULT_CLIENT_TIMEOUT", "0"),
            ("HTTPS_PROXY", "http://127.0.0.1:1"),
            ("https_proxy", "http://127.0.0.1:1"),
            ("HTTP_PROXY", "http://127.0.0.1:1"),
            ("ALL_PROXY", "http://127.0.0.1:1"),
            ("SSL_CERT_FILE", "/nonexistent"),
            ("SSL_CERT_DIR", "/nonexistent"),
            ("RUST_LOG", "trace"),
        ] {
            agent = agent.env(name, value);
        }
        agent
    };
    hostile(Agent::for_bao(bao()).file(kubeconfig())).run().expect(0, &[]);
    for skip in ["", "yes", "1"] {
        let stranger = crate::support::ca::Ca::new("another CA");
        hostile(
            Agent::for_bao(bao())
                .file(kubeconfig())
                .with("/connection/ca", json!(stranger.pem())),
        )
        .env("VAULT_SKIP_VERIFY", skip)
        .env("SSL_CERT_FILE", bao().directory().join("ca.pem").to_str().unwrap())
        .run()
        .expect(78, &["CA"]);
    }
}
