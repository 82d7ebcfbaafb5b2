//! OpenBao as its chart runs it for high availability: three servers on one raft behind one Service, which leads to any of
//! them, also to a sealed one. No other test may run at the same time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::api::{Api, cluster};
use crate::harness::control::{Beside, control};
use crate::harness::install;
use crate::harness::namespace::Namespace;
use crate::harness::openbao::{ROLE, Vault, server};
use crate::harness::pod::{Pod, fresh, pod, status, watch};
use crate::harness::{LIMIT, merge, wait};

const SERVERS: [&str; 3] = ["openbao-1", "openbao-2", "openbao-3"];
const SECRET: &str = "s3cret";

struct Raft {
    beside: Beside,
    /// Each server, asked directly.
    servers: Vec<Api>,
}

impl Raft {
    /// `None`: this run may not start servers on the cluster's machine.
    fn up(test: &str) -> Option<Self> {
        let beside = Beside::up(control(test)?, "--raft", &[]);
        let read = |name: &str| std::fs::read_to_string(&beside.env[name]).unwrap();
        let (ca, token) = (read("PODKEY_E2E_OPENBAO_CA"), read("PODKEY_E2E_OPENBAO_TOKEN_FILE"));
        let servers = addresses(&beside);
        let servers = servers.map(|address| server(address, &ca, token.trim())).collect();
        let raft = Self { beside, servers };
        raft.all_vote();
        Some(raft)
    }

    /// Waits until each server may become the leader. The first server makes the others voters after some ten seconds, if it
    /// leads for that long.
    fn all_vote(&self) {
        let path = "/v1/sys/storage/raft/configuration";
        let servers = || {
            // Between two leaders there is none to ask.
            let answer = self.servers[0].try_call("GET", path, &Value::Null);
            let answer = answer.map(|answer| answer.json()).unwrap_or_default();
            answer["data"]["config"]["servers"]
                .as_array()
                .cloned()
                .unwrap_or_default()
        };
        let all = || {
            let voters = servers().iter().filter(|server| server["voter"] == true).count();
            (voters == SERVERS.len()).then_some(())
        };
        wait(LIMIT, all).unwrap_or_else(|| panic!("not all vote: {:#?}", servers()));
    }

    /// Connects podkey with the servers by one address, as the connection `raft`.
    fn serve(&self, namespace: &Namespace) {
        let service = cluster().create(
            &namespace.path("services"),
            &json!({
                "apiVersion": "v1", "kind": "Service", "metadata": {"name": "openbao"},
                "spec": {"ports": [{"name": "https", "port": 8200}]},
            }),
        );
        // One machine has all three: each at a port of its own, so in a slice of its own.
        for (name, address) in SERVERS.iter().zip(addresses(&self.beside)) {
            let (host, port) = address.trim_start_matches("https://").split_once(':').unwrap();
            cluster().create(
                &namespace.group_path("discovery.k8s.io/v1", "endpointslices"),
                &json!({
                    "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
                    "metadata": {"name": name, "labels": {"kubernetes.io/service-name": "openbao"}},
                    "endpoints": [{"addresses": [host], "conditions": {"ready": true}}],
                    "ports": [{"name": "https", "port": port.parse::<u16>().unwrap(), "protocol": "TCP"}],
                }),
            );
        }
        let address = format!("https://{}:8200", service["spec"]["clusterIP"].as_str().unwrap());
        let ca = std::fs::read_to_string(&self.beside.env["PODKEY_E2E_OPENBAO_CA"]).unwrap();
        let connection = json!({
            "address": address, "caFile": "/etc/podkey/vault-ca.pem", "tlsServerName": "openbao", "budget": "3m",
        });
        install::connect("raft", connection, &ca);
    }

    fn leader(&self) -> Option<&Api> {
        let is = |server: &&Api| {
            let answer = server.try_call("GET", "/v1/sys/leader", &Value::Null);
            answer.is_ok_and(|answer| answer.json()["is_self"] == true)
        };
        self.servers.iter().find(is)
    }

    /// Lets the leader lead for five seconds, however long the election took, and asks it to step down. Gives whether it did.
    fn step_down(&self) -> bool {
        wait(LIMIT, || self.leader()).expect("one leads");
        std::thread::sleep(Duration::from_secs(5));
        let asked = |leader: &Api| leader.try_call("PUT", "/v1/sys/step-down", &Value::Null);
        self.leader()
            .is_some_and(|leader| asked(leader).is_ok_and(|answer| answer.is_success()))
    }

    /// The servers for a test, once every server takes logins: standbys load the config of a new auth method each half minute.
    fn vault<'a>(&self, namespace: &'a Namespace) -> Vault<'a> {
        let mut vault = Vault::on(&self.servers[0], namespace);
        let jwt = namespace.token("default", Some("vault"));
        for server in &self.servers {
            vault.api = server.clone();
            vault.admits(ROLE, &jwt);
        }
        vault
    }

    /// Restarts all servers. They stay sealed.
    fn seal(&self) {
        for name in SERVERS {
            self.beside
                .control
                .run(&["restart", name, "--sealed", &self.beside.name]);
        }
    }

    fn unseal(&self) {
        for name in SERVERS {
            self.beside.control.run(&["start", name, &self.beside.name]);
        }
    }
}

fn addresses(beside: &Beside) -> impl Iterator<Item = &str> {
    (1..=SERVERS.len()).map(|number| beside.env[&format!("PODKEY_E2E_OPENBAO_{number}_ADDR")].as_str())
}

/// A pod that prints its secret, by the connection `raft`.
fn app(vault: &Vault<'_>, name: &str) -> Value {
    let files = json!([{"secret": "web", "key": "password", "file": "password"}]);
    let connection = json!({"metadata": {"annotations": {"podkey.dev/connection": "raft"}}});
    merge(
        vault.annotate(pod(name, "cat /podkey/secrets/password"), &files),
        &connection,
    )
}

/// The pod got its secret, and podkey-init ran once. Gives how often podkey-init retried a request.
#[track_caller]
fn succeeds(pod: &Pod<'_>) -> usize {
    assert_eq!(pod.succeeds(), SECRET, "{}", pod.name);
    assert_eq!(status(&pod.object(), "podkey-init")["restartCount"], 0, "{}", pod.name);
    pod.log("podkey-init").matches("trying again").count()
}

#[test]
fn a_hundred_pods_start_while_each_leader_steps_down_after_five_seconds() {
    let Some(raft) = Raft::up("a leader that steps down") else {
        return;
    };
    let namespace = Namespace::new("step-down");
    raft.serve(&namespace);
    let vault = raft.vault(&namespace);
    vault.put("web", &json!({"password": SECRET}));

    let (begun, done) = (Instant::now(), AtomicBool::new(false));
    let (retried, again, steps) = std::thread::scope(|scope| {
        let steps = scope.spawn(|| {
            let mut steps = 0;
            while !done.load(Ordering::Relaxed) {
                steps += usize::from(raft.step_down());
            }
            steps
        });
        // However this ends, so does that.
        let end = Ends(&done);
        let pods: Vec<_> = (0..100)
            .map(|number| {
                std::thread::sleep((Duration::from_millis(500) * number).saturating_sub(begun.elapsed()));
                namespace.create(&app(&vault, &format!("app-{number}")))
            })
            .collect();
        let again: Vec<_> = pods.iter().map(succeeds).collect();
        drop(end);
        let retried = again.iter().filter(|again| **again > 0).count();
        (retried, again.iter().sum::<usize>(), steps.join().unwrap())
    });
    println!(
        "100 pods in {:.0} s, the leader stepped down {steps} times: all succeed, {retried} of them after {again} tries more",
        begun.elapsed().as_secs_f64()
    );
    assert!(retried > 0, "nobody noticed: the leader did not step down in time");
}

struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn pods_wait_until_the_three_are_unsealed_and_those_that_run_keep_their_files() {
    let Some(raft) = Raft::up("three servers sealed") else {
        return;
    };
    let namespace = Namespace::new("raft-sealed");
    raft.serve(&namespace);
    let vault = raft.vault(&namespace);
    vault.put("web", &json!({"password": SECRET}));
    let mut kept_fresh = fresh(app(&vault, "fresh"), "5s");
    kept_fresh["spec"]["containers"][0]["command"] = json!(["sh", "-c", watch("password")]);
    let running = namespace.create(&kept_fresh);
    running.shows(SECRET);
    raft.seal();
    let pods: Vec<_> = (0..3)
        .map(|number| namespace.create(&app(&vault, &format!("app-{number}"))))
        .collect();
    for pod in &pods {
        pod.until("waiting", |pod| {
            status(pod, "podkey-init")["state"]["running"].is_object()
        });
    }
    std::thread::sleep(Duration::from_secs(10));
    assert_eq!(running.log("main"), format!("{SECRET}\n"));
    // By hand, one after the other, as after each restart of Vault's chart.
    raft.unseal();
    pods.iter().for_each(|pod| {
        succeeds(pod);
    });
    // Nobody had to start the sidecar anew.
    vault.put("web", &json!({"password": "changed"}));
    let took = running.shows("changed");
    println!(
        "the sidecar of a pod that ran shows a change {:.0} s after the unsealing",
        took.as_secs_f64()
    );
    let object = running.object();
    for container in ["podkey-sidecar", "main"] {
        assert_eq!(status(&object, container)["restartCount"], 0, "{container}");
    }
}
