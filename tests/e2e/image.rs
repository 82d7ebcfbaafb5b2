//! The agent comes as the volume of its image (Kubernetes 1.36): runners and commands with podkey-init, and runners without it.

use std::io::{BufReader, Write};
use std::net::TcpListener;
use std::time::Duration;

use rustls::{ServerConnection, StreamOwned};
use serde_json::{Value, json};

use crate::ca::Ca;
use crate::harness::api::cluster;
use crate::harness::namespace::Namespace;
use crate::harness::openbao::{ROLE, Vault};
use crate::harness::pod::{container, init_containers, pod};
use crate::harness::settings::settings;
use crate::harness::{decided, left_out, merge};
use crate::hooks::{RUNNER, SECRET, runner, section};
use crate::http::Request;

/// The pod as podkey injects it where the agent comes as an image.
fn with_image(pod: &Value, namespace: &Namespace) -> Value {
    decided::injected(pod, namespace, &decided::config("imageVolume"))
}

#[test]
fn a_runner_whose_agent_comes_as_an_image_gets_its_secrets_and_cannot_change_the_hooks() {
    for user in [1001, 0] {
        let namespace = decided::namespace("image");
        let vault = Vault::new(&namespace);
        vault.put("web", &json!({"password": SECRET}));
        let script = format!(
            "{RUNNER}\n(echo x >/podkey/state/plan.json) 2>&1; rm -f /podkey/state/outcome.json 2>&1; ls /podkey/state"
        );
        let definition = merge(
            runner(&vault, &script),
            &json!({"spec": {"securityContext": {"runAsUser": user}}}),
        );
        let log = namespace.create(&with_image(&definition, &namespace)).succeeds();
        println!("UID {user}\n{log}");
        let started = section(&log, "started");
        assert!(
            started.starts_with("::add-mask::") && started.ends_with("exit 0\n"),
            "{log}"
        );
        assert!(section(&log, "variables").contains(SECRET), "{log}");
        assert_eq!(section(&log, "job"), format!("400\n{SECRET}\n{SECRET}\n"), "{log}");
        assert!(section(&log, "forged").contains("Read-only file system"), "{log}");
        assert!(section(&log, "completed").ends_with("exit 0\n"), "{log}");
        assert!(!section(&log, "after").contains(SECRET), "{log}");
        let end = section(&log, "end");
        assert_eq!(end.matches("Read-only file system").count(), 2, "{log}");
        assert!(end.ends_with("outcome.json\nplan.json\n"), "{log}");
    }
}

#[test]
fn a_command_starts_with_its_variables_and_no_copy_of_the_agent() {
    let namespace = decided::namespace("image-exec");
    let vault = Vault::new(&namespace);
    vault.put("web", &json!({"password": SECRET}));
    let mut definition = merge(
        pod("web", "echo $PASSWORD; ls -A /podkey/bin /podkey/state"),
        &json!({"metadata": {"annotations": vault.annotations(&json!([]))}}),
    );
    let annotations = &mut definition["metadata"]["annotations"];
    annotations["podkey.dev/env"] = json!(format!("{}/data/web password | PASSWORD", vault.kv));
    annotations.as_object_mut().unwrap().remove("podkey.dev/files");
    let log = namespace.create(&with_image(&definition, &namespace)).succeeds();
    println!("{log}");
    assert!(log.starts_with(&format!("{SECRET}\n")), "{log}");
    assert!(log.contains("podkey-agent") && log.contains("outcome.json"), "{log}");
}

/// A runner pod whose job reads everything: a file at an absolute place, which is in a directory below `/tmp`, one below
/// `/podkey/secrets`, and a variable.
fn alone(vault: &Vault<'_>, script: &str) -> Value {
    let script = script.replace("/tmp/password", "/tmp/deep/password");
    let mut runner = runner(vault, &script);
    runner["spec"]["containers"] = json!([container("runner", &script)]);
    let files = json!([
        {"secret": "web", "key": "password", "file": "deep/password", "as": "job"},
        {"secret": "web", "key": "password", "file": "/tmp/deep/password", "as": "job"},
    ]);
    let mut runner = vault.annotate(runner, &files);
    let annotations = &mut runner["metadata"]["annotations"];
    let env = annotations.as_object_mut().unwrap().remove("podkey.dev/env").unwrap();
    annotations["podkey.dev/job-env"] = env;
    runner
}

/// GitHub's token service, in this process, at this host: every job gets the same token. Its thread ends with the test run.
struct TokenService {
    ca: String,
    url: String,
}

impl TokenService {
    fn start(host: &str, token: &str) -> Self {
        let ca = Ca::new("podkey e2e token service");
        let config = ca.leaf(&[host]).server_config();
        let listener = TcpListener::bind("0.0.0.0:0").unwrap();
        let url = format!("https://{host}:{}/idtoken?", listener.local_addr().unwrap().port());
        let body = json!({"value": token}).to_string();
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let _ = stream.set_read_timeout(Some(Duration::from_secs(10)));
                let tls = StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), stream);
                let mut stream = BufReader::new(tls);
                if Request::read(&mut stream).is_some() {
                    let _ = stream.get_mut().write_all(answer.as_bytes());
                    stream.get_mut().conn.send_close_notify();
                    let _ = stream.get_mut().flush();
                }
            }
        });
        Self { ca: ca.pem(), url }
    }
}

/// The service's CA as the runner's image would have it.
fn trusting(mut runner: Value, namespace: &Namespace, service: &TokenService) -> Value {
    let path = namespace.path("configmaps");
    let data = json!({"ca-certificates.crt": service.ca});
    cluster().create(
        &path,
        &json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "cas"}, "data": data}),
    );
    runner["spec"]["volumes"] = json!([{"name": "cas", "configMap": {"name": "cas"}}]);
    runner["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "cas", "mountPath": "/etc/ssl/certs"}]);
    runner["spec"]["containers"][0]["env"] = json!([
        {"name": "ACTIONS_ID_TOKEN_REQUEST_URL", "value": service.url},
        {"name": "ACTIONS_ID_TOKEN_REQUEST_TOKEN", "value": "of-the-job"},
    ]);
    runner
}

/// A token of the pod's service account stands for GitHub's token: OpenBao takes the cluster for the issuer.
#[test]
fn a_runner_whose_job_reads_everything_starts_without_podkey_init_and_its_hooks_deliver() {
    let Some(host) = &settings().host else {
        return left_out("a job that reads everything", "PODKEY_E2E_HOST_ADDRESS is not set");
    };
    let namespace = decided::namespace("image-job");
    let vault = Vault::new(&namespace);
    vault.put("web", &json!({"password": SECRET}));
    let token = namespace.token("default", Some("vault"));
    vault.admits(ROLE, &token);
    let service = TokenService::start(host, &token);
    let job = json!({"mount": vault.auth, "role": ROLE, "audience": "vault"});
    let config = merge(
        decided::config("imageVolume"),
        &json!({"connections": {"default": {"job": job}}}),
    );
    let runner = trusting(alone(&vault, RUNNER), &namespace, &service);
    let definition = decided::injected(&runner, &namespace, &config);
    assert_eq!(init_containers(&definition), [""; 0]);
    let log = namespace.create(&definition).succeeds();
    println!("{log}");
    let started = section(&log, "started");
    assert!(
        started.contains(&format!("::add-mask::{SECRET}")) && started.ends_with("exit 0\n"),
        "{log}"
    );
    assert!(section(&log, "variables").contains(SECRET), "{log}");
    assert_eq!(section(&log, "job"), format!("777\n{SECRET}\n{SECRET}\n"), "{log}");
    assert!(section(&log, "completed").ends_with("exit 0\n"), "{log}");
    assert!(!section(&log, "after").contains(SECRET), "{log}");
}

/// Where the job may not ask for a token, the hook finds its plan all the same, and fails the job.
#[test]
fn a_runner_whose_job_reads_everything_starts_without_podkey_init_and_its_hook_finds_the_plan() {
    let namespace = decided::namespace("image-alone");
    let vault = Vault::new(&namespace);
    let script = format!(
        "{RUNNER}\nstat -c '%u %a' /podkey/secrets; readlink /tmp/password; (echo x >/podkey/state/plan.json) 2>&1; rm -f /podkey/state/plan.json 2>&1; \
         ls /podkey /podkey/state"
    );
    let definition = with_image(&alone(&vault, &script), &namespace);
    assert_eq!(init_containers(&definition), [""; 0]);
    let log = namespace.create(&definition).succeeds();
    println!("{log}");
    let started = section(&log, "started");
    assert!(
        started.contains("podkey 77 stage=login") && started.ends_with("exit 1\n"),
        "{log}"
    );
    assert!(started.contains("id-token: write"), "{log}");
    // Empty, and closed to all: kubectl must not fall back to the pod's own account.
    assert!(section(&log, "job").starts_with("777\n"), "a symlink: {log}");
    assert!(section(&log, "forged").contains("Read-only file system"), "{log}");
    assert!(section(&log, "completed").ends_with("exit 0\n"), "{log}");
    let end = section(&log, "end");
    assert!(end.starts_with("0 1777\n/podkey/secrets/.linked/1\n"), "{log}");
    assert_eq!(end.matches("Read-only file system").count(), 2, "{log}");
    assert!(
        end.contains("bin\nsecrets\nstate\n") && end.ends_with("plan.json\n"),
        "{log}"
    );
}
