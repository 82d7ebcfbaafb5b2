//! Where files land: names that Kubernetes would expand, places that are volumes, tools that write, strict kernels.

use serde_json::json;

use crate::harness::namespace::Namespace;
use crate::harness::openbao::Vault;
use crate::harness::pod::{container, pod};
use crate::harness::settings::settings;
use crate::harness::{left_out, merge};

#[test]
fn dollars_in_paths_and_values_arrive_as_they_are() {
    let namespace = Namespace::new("dollars");
    let vault = Vault::new(&namespace);
    let value = "$$ $(HOME) ${HOME} $HOME {{ x }} \\u0024";
    vault.put("pa$$word/$x", &json!({"$x": value}));
    let files = json!([{"secret": "pa$$word/$x", "key": "$x", "file": "$x-$$.txt"}]);
    let app = pod("app", "cat '/podkey/secrets/$x-$$.txt'");
    // The shell's script is an argument, in which Kubernetes expands too.
    let script = json!(["sh", "-c", "cat '/podkey/secrets/$x-$$$$.txt'"]);
    let mut app = vault.annotate(app, &files);
    app["spec"]["containers"][0]["command"] = script;
    assert_eq!(namespace.create(&app).succeeds(), value);
}

#[test]
fn binary_values_arrive_byte_for_byte() {
    let namespace = Namespace::new("binary");
    let vault = Vault::new(&namespace);
    // Every byte there is.
    let bytes: Vec<u8> = (0..=255).collect();
    let encoded = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &bytes);
    vault.put("web", &json!({"key": encoded}));
    let files = json!([{"secret": "web", "key": "key", "decode": "base64", "file": "key"}]);
    let app = pod("app", "base64 -w 0 /podkey/secrets/key");
    assert_eq!(
        namespace.create(&vault.annotate(app, &files)).succeeds().trim(),
        encoded
    );
}

#[test]
fn a_single_file_lies_in_a_volume_at_tmp() {
    let namespace = Namespace::new("tmp-volume");
    let vault = Vault::new(&namespace);
    vault.put("web", &json!({"config": "s3cret"}));
    let files = json!([{"secret": "web", "key": "config", "file": "/tmp/kubeconfig", "env": "KUBECONFIG"}]);
    for (name, volume) in [("disk", json!({})), ("memory", json!({"medium": "Memory"}))] {
        let mut app = pod(
            name,
            "stat -c '%F %a' $KUBECONFIG; cat /tmp/kubeconfig; echo; echo more > /tmp/more; ls /tmp",
        );
        app["spec"]["volumes"] = json!([{"name": "tmp", "emptyDir": volume}]);
        app["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "tmp", "mountPath": "/tmp"}]);
        let pod = namespace.create(&vault.annotate(app, &files));
        assert_eq!(pod.succeeds(), "regular file 444\ns3cret\nkubeconfig\nmore\n", "{name}");
    }
}

#[test]
fn kubectl_reads_a_kubeconfig_that_it_cannot_change() {
    let namespace = Namespace::new("read-only");
    let vault = Vault::new(&namespace);
    let kubeconfig = "apiVersion: v1\nkind: Config\ncontexts:\n- name: one\n  context: {cluster: one, user: one}\n\
                      - name: two\n  context: {cluster: two, user: two}\ncurrent-context: one\n";
    vault.put("kubeconfig", &json!({"config": kubeconfig}));
    let files = json!([{"secret": "kubeconfig", "key": "config", "file": "/tmp/kubeconfig", "env": "KUBECONFIG"}]);
    let mut app = pod(
        "app",
        "kubectl config current-context
         kubectl config use-context two; echo \"exit $?\"; kubectl config current-context
         cp $KUBECONFIG /tmp/own; chmod 600 /tmp/own; KUBECONFIG=/tmp/own kubectl config use-context two",
    );
    app["spec"]["containers"][0]["image"] = json!(settings().kubectl);
    let context = json!({"spec": {"securityContext": {"runAsUser": 1001}}});
    let log = namespace
        .create(&vault.annotate(merge(app, &context), &files))
        .succeeds();
    println!("kubectl with a read-only kubeconfig:\n{log}");
    let lines: Vec<_> = log.lines().collect();
    assert_eq!(lines[0], "one", "{log}");
    // Changing it fails, and says why; the file is as it was. A copy can be changed.
    assert!(log.contains("exit 1\none\n"), "{log}");
    assert!(log.ends_with("Switched to context \"two\".\n"), "{log}");
}

/// `fs.protected_regular` and its like make the kernel refuse what a volume's sticky, world-writable root invites to.
/// They are the node's, so they are set only where these tests own it.
#[test]
fn strict_kernels_do_not_mind() {
    const STRICT: [(&str, &str); 4] = [
        ("protected_fifos", "2"),
        ("protected_hardlinks", "1"),
        ("protected_regular", "2"),
        ("protected_symlinks", "1"),
    ];
    struct Restored(Vec<(String, String)>);
    impl Drop for Restored {
        fn drop(&mut self) {
            for (path, value) in &self.0 {
                let _ = std::fs::write(path, value);
            }
        }
    }
    let mut restored = Restored(Vec::new());
    if settings().control.is_some() {
        for (name, strict) in STRICT {
            let path = format!("/proc/sys/fs/{name}");
            let before = std::fs::read_to_string(&path).unwrap_or_default();
            if before.trim() != strict && std::fs::write(&path, strict).is_ok() {
                restored.0.push((path, before));
            }
        }
    }
    let namespace = Namespace::new("strict");
    let vault = Vault::new(&namespace);
    vault.put("web", &json!({"password": "s3cret"}));
    let files = json!([
        {"secret": "web", "key": "password", "file": "deep/password"},
        {"secret": "web", "key": "password", "file": "/tmp/password"},
    ]);
    let names = STRICT.map(|(name, _)| format!("/proc/sys/fs/{name}")).join(" ");
    let script = format!("cat /podkey/secrets/deep/password /tmp/password; echo; cat {names}");
    let mut app = pod("app", "");
    app["spec"]["containers"] = json!([container("main", &script)]);
    let group = json!({"spec": {"securityContext": {"runAsUser": 1001, "fsGroup": 2000}}});
    let log = namespace.create(&vault.annotate(merge(app, &group), &files)).succeeds();
    let (secrets, kernel) = log.split_once('\n').unwrap();
    assert_eq!(secrets, "s3crets3cret");
    let strict = STRICT.map(|(_, strict)| strict).join("\n");
    if kernel.trim() == strict {
        println!("fs.protected_*: all strict");
    } else {
        left_out("strict fs.protected_*", &format!("the node has {kernel:?}"));
    }
}
