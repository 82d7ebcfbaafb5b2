//! What a job that is root in the runner container can read: its files, and nothing else of podkey's.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::harness::api::cluster;
use crate::harness::merge;
use crate::harness::namespace::Namespace;
use crate::harness::openbao::{ROLE, Vault};
use crate::harness::pod::{Pod, container, pod};
use crate::harness::settings::settings;

const FOREVER: &str = "trap 'exit 0' TERM; while :; do sleep 1; done";

fn files() -> Value {
    json!([
        {"secret": "web", "key": "password", "file": "deep/password"},
        {"secret": "web", "key": "password", "file": "/tmp/password"},
    ])
}

/// A runner pod (for podkey) whose job is root. Without job hooks, which give the job its own files.
fn runner(vault: &Vault<'_>, script: &str) -> Value {
    let mut runner = merge(
        pod("runner", ""),
        &json!({
            "metadata": {
                "labels": {"actions-ephemeral-runner": "True"}, "annotations": {"podkey.dev/job-hooks": "false"},
            },
            "spec": {"securityContext": {"runAsUser": 0}},
        }),
    );
    runner["spec"]["containers"] = json!([container("runner", script)]);
    vault.annotate(runner, &files())
}

/// Each section of a script's output that begins with a line `== NAME`.
fn section<'a>(log: &'a str, name: &str) -> Vec<&'a str> {
    let head = format!("== {name}");
    let mut lines = log.lines().skip_while(|line| *line != head);
    assert!(lines.next().is_some(), "no section {name} in\n{log}");
    lines.take_while(|line| !line.starts_with("== ")).collect()
}

const LOOK: &str = r#"
echo "== id"; id -u
echo "== mounts"; grep -E ' (/podkey|/tmp)' /proc/self/mountinfo | cut -d ' ' -f 5,6
echo "== names"; find / -xdev -name '*podkey*' 2>/dev/null; ls -A /podkey /podkey/*
echo "== env"; env | grep -i -e podkey -e vault_ -e bao_
echo "== jwt"; find / -path /proc -prune -o -path /sys -prune -o -type f -size -64k -print 2>/dev/null |
    xargs grep -l -s 'eyJ[A-Za-z0-9_-]*\.eyJ' 2>/dev/null
grep -l -a -s 'eyJ[A-Za-z0-9_-]*\.eyJ' /proc/[0-9]*/environ
echo "== tokens"; grep -r -l -s -e '^s\.[A-Za-z0-9]' -e 'hvs\.' /podkey /tmp /run /var /dev/shm 2>/dev/null
echo "== write"
for path in /tmp/password /podkey/secrets/deep/password; do
    (echo changed > $path) 2>&1
    rm -f $path 2>&1
    mount -o remount,rw $path 2>&1
    umount $path 2>&1
done
(echo new > /podkey/secrets/new) 2>&1; (mkdir /podkey/secrets/deep/new) 2>&1; chmod 777 /podkey/secrets 2>&1
cat /tmp/password /podkey/secrets/deep/password; echo
ls -A /podkey/secrets /podkey/secrets/deep
echo "== processes"; for process in /proc/[0-9]*; do readlink $process/exe; done
echo "== listening"; cat /proc/net/tcp /proc/net/tcp6 /proc/net/udp /proc/net/udp6 2>/dev/null | grep -v local_address
echo "== end"
"#;

#[test]
fn root_in_the_runner_container_finds_its_files_and_nothing_else_of_podkey_s() {
    let namespace = Namespace::new("job-view");
    let vault = Vault::new(&namespace);
    vault.put("web", &json!({"password": "s3cret"}));
    let pod = namespace.create(&runner(&vault, LOOK));
    let log = pod.succeeds();
    println!("{log}");
    assert_eq!(section(&log, "id"), ["0"]);
    let mounts = section(&log, "mounts");
    assert!(mounts.iter().all(|mount| mount.contains(" ro")), "writable: {mounts:?}");
    let mut places: Vec<_> = mounts.iter().filter_map(|mount| mount.split(' ').next()).collect();
    places.sort_unstable();
    assert_eq!(places, ["/podkey/secrets", "/tmp/password"]);
    assert_eq!(section(&log, "env"), [""; 0]);
    // The token that Kubernetes gives any pod; none of ours.
    let tokens = section(&log, "jwt");
    assert!(
        tokens.iter().all(|file| file.starts_with("/run/secrets/kubernetes.io/")
            || file.starts_with("/var/run/secrets/kubernetes.io/")),
        "{tokens:?}"
    );
    assert!(!tokens.is_empty(), "the search finds no token at all");
    assert_eq!(section(&log, "tokens"), [""; 0]);
    let write = section(&log, "write");
    assert!(write.contains(&"s3crets3cret"), "changed: {write:?}");
    assert_eq!(
        write[write.len() - 5..],
        ["/podkey/secrets:", "deep", "", "/podkey/secrets/deep:", "password"],
        "{write:?}"
    );
    let processes = section(&log, "processes");
    assert!(
        !processes.is_empty() && processes.iter().all(|program| program.ends_with("busybox")),
        "{processes:?}"
    );
    assert_eq!(section(&log, "listening"), [""; 0]);

    // What the job sees when it may read its own pod: no secret, no token.
    let shown = pod.object().to_string() + &pod.log("podkey-init") + &namespace.events().join("\n");
    assert!(!shown.contains("s3cret"), "{shown}");
    assert!(!shown.contains("eyJhbGciOi"), "{shown}");
}

/// The agent's own Vault token is revoked when the files are there.
#[test]
fn no_token_of_the_pod_s_is_left_in_openbao() {
    let namespace = Namespace::new("revoked");
    let vault = Vault::new(&namespace);
    vault.put("web", &json!({"password": "s3cret"}));
    // That we would see one.
    let jwt = namespace.token("default", Some("vault"));
    vault.admits(ROLE, &jwt);
    assert_eq!(vault.tokens(), 1);
    namespace.create(&runner(&vault, "true")).succeeds();
    assert_eq!(vault.tokens(), 1);
}

fn debug(pod: &Pod<'_>, name: &str, fields: &Value) -> (u16, String) {
    let path = format!("{}/ephemeralcontainers", pod.path());
    let container = json!({"name": name, "image": settings().busybox, "command": ["true"]});
    let container = merge(container, fields);
    let answer = cluster().call("PATCH", &path, &json!({"spec": {"ephemeralContainers": [container]}}));
    (answer.status, answer.message())
}

#[test]
fn an_ephemeral_container_may_not_read_podkey_s_volumes() {
    let namespace = Namespace::new("ephemeral");
    let vault = Vault::new(&namespace);
    vault.put("web", &json!({"password": "s3cret"}));
    let pod = namespace.create(&runner(&vault, FOREVER));
    pod.running();
    let mount = |volume: &str| json!({"volumeMounts": [{"name": volume, "mountPath": "/spy"}]});
    // The kubelet reads a variable's file as root, without a mount.
    let file = json!({"volumeName": "podkey-secrets", "path": "files/web.env", "key": "TOKEN"});
    let variable = json!({"env": [{"name": "SPY", "valueFrom": {"fileKeyRef": file}}]});
    for reads in [mount("podkey-secrets"), mount("podkey-token"), variable] {
        let (status, message) = debug(&pod, "spy", &reads);
        println!("{reads}: {status} {message}");
        assert_eq!(status, 403, "{reads}: {message}");
        assert!(
            message.contains("podkey: an ephemeral container must not mount"),
            "{message}"
        );
    }
    let (status, message) = debug(&pod, "plain", &json!({}));
    assert_eq!(status, 200, "{message}");
}

/// The connection's audience is the token's only use: it opens nothing at the API server.
#[test]
fn podkey_s_own_token_is_for_openbao_alone() {
    let namespace = Namespace::new("audience");
    let vault = Vault::new(&namespace);
    vault.put("web", &json!({"password": "s3cret"}));
    let pod = namespace.create(&runner(&vault, "true"));
    let object = pod.object();
    let volumes = object["spec"]["volumes"].as_array().unwrap();
    let volume = volumes.iter().find(|volume| volume["name"] == "podkey-token").unwrap();
    let source = &volume["projected"]["sources"][0]["serviceAccountToken"];
    assert_eq!(
        (&source["audience"], &source["expirationSeconds"]),
        (&json!("vault"), &json!(600))
    );

    let token = namespace.token("default", Some("vault"));
    let claims: Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap();
    assert_eq!(claims["aud"], json!(["vault"]));
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}});
    let answer = cluster().create("/apis/authentication.k8s.io/v1/tokenreviews", &review);
    assert_ne!(answer["status"]["authenticated"], true, "{answer}");
}
