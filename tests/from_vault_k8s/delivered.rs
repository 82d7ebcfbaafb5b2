//! The bytes that a pod gets, before and after the migration, from the agent's binary and one real OpenBao.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::{Value, json};

use crate::pairs::{Injected, Pair, pairs};
use crate::support::agent::{Agent, Ended};
use crate::support::jwt::Claims;
use crate::support::openbao::{ACCOUNT, MOUNT, NAMESPACE, OpenBao};

/// The namespace whose mount `kv` is of KV version 1. In the root namespace it is of version 2.
const VERSION_1: &str = "old";

/// A server with `kv` of both versions and a PKI engine, and a role that may use them.
fn bao() -> &'static OpenBao {
    static BAO: OnceLock<OpenBao> = OnceLock::new();
    BAO.get_or_init(set_up)
}

fn set_up() -> OpenBao {
    let bao = OpenBao::start();
    bao.write(&format!("sys/namespaces/{VERSION_1}"), &json!({}));
    for (namespace, version) in [("", "2"), (VERSION_1, "1")] {
        bao.enable_kubernetes(namespace, MOUNT, &bao.cluster);
        let policy =
            "path \"kv/*\" { capabilities = [\"read\"] }\npath \"pki/issue/*\" { capabilities = [\"update\"] }";
        bao.write_in(namespace, "sys/policies/acl/pods", &json!({"policy": policy}));
        let role = json!({
            "bound_service_account_names": [ACCOUNT], "bound_service_account_namespaces": [NAMESPACE],
            "audience": "vault", "token_policies": ["pods"], "token_ttl": "20m",
        });
        bao.write_in(namespace, &format!("auth/{MOUNT}/role/pods"), &role);
        let mount = json!({"type": "kv", "options": {"version": version}});
        bao.write_in(namespace, "sys/mounts/kv", &mount);
    }
    bao.write("sys/mounts/pki", &json!({"type": "pki"}));
    bao.write(
        "pki/root/generate/internal",
        &json!({"common_name": "podkey test root", "ttl": "24h", "key_type": "ec"}),
    );
    bao.write(
        "pki/roles/web",
        &json!({"allowed_domains": ["example.com"], "allow_subdomains": true, "key_type": "ec", "max_ttl": "1h"}),
    );
    bao
}

/// A secret with the fields that the golden templates name, and with values that are printed in an unusual form.
fn secret(path: &str, version: u32) -> Value {
    json!({
        "a": "of a\n\n", "user": format!("canary-{path}-{version}"), "password": "it's \"q\" $HOME <&> \\ {{ .x }}\nZürich 🔑",
        "port": 5432, "large": 1_234_567_890_123_456_789_u64, "share": 0.25, "on": true, "empty": "",
        "nested": {"b": [1, {"c": null}], "a": "<"},
    })
}

/// Writes each secret to the mounts where a pod reads the secret.
fn write(pairs: &[Pair]) {
    let bao = bao();
    let unclear: BTreeSet<&str> = pairs.iter().flat_map(Pair::unclear_paths).collect();
    for path in unclear {
        bao.write_in(VERSION_1, path, &secret(path, 1));
    }
    let paths = pairs.iter().flat_map(|pair| pair.theirs.secrets());
    let versioned = paths
        .filter(|path| path.starts_with("kv/"))
        .map(|path| match path.starts_with("kv/data/") {
            true => path,
            false => path.replacen('/', "/data/", 1),
        });
    for path in versioned.collect::<BTreeSet<String>>() {
        // A pod of a case reads the third version.
        for version in 1..=4 {
            let body = json!({"data": secret(&path, version)});
            // A new mount of version 2 refuses for a moment.
            while bao.call_in("", "POST", &path, &body).0 != 200 {
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }
}

/// Mode and content of each file, by path and by the container that sees the file there.
type Delivered = BTreeMap<(String, String), (u32, String)>;

/// Runs podkey-init with the pod's plan against the server.
fn run(namespace: &str, injected: &Injected) -> (Agent, Ended) {
    let bao = bao();
    let mut plan = injected.plan.clone();
    plan["connection"] = json!({"name": "main", "address": bao.address(), "ca": bao.ca.pem()});
    if !namespace.is_empty() {
        plan["connection"]["namespace"] = json!(namespace);
    }
    plan["login"] = json!({"method": "kubernetes", "mount": MOUNT, "role": "pods"});
    let mut agent = Agent::new(plan).canary("canary-kv/");
    agent.token(&bao.cluster.sign(&Claims::new(NAMESPACE, ACCOUNT, "vault")));
    let ended = agent.run();
    (agent, ended)
}

/// The files of a pod whose podkey-init succeeds, as the pod's containers see the files through their mounts.
fn deliver(namespace: &str, injected: &Injected, case: &str) -> Delivered {
    let (agent, ended) = run(namespace, injected);
    assert_eq!(ended.code, 0, "{case}: {}", ended.stderr);
    let readers = injected.readers().into_iter();
    readers
        .map(|(reader, place)| {
            let place = agent.volume().join(place);
            let mode = fs::metadata(&place).unwrap_or_else(|error| panic!("{case}: {reader:?}: {error}"));
            let text = fs::read_to_string(&place).unwrap();
            (reader, (mode.permissions().mode() & 0o7777, text))
        })
        .collect()
}

/// Each certificate is another one: in place of its bytes, what both must have.
fn without_certificate(text: &str) -> Option<String> {
    const END: &str = "-----END CERTIFICATE-----";
    let (before, rest) = text.split_once("-----BEGIN CERTIFICATE-----")?;
    let (_, after) = rest.split_once(END)?;
    let pem = &text[before.len()..text.len() - after.len()];
    let (_, pem) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).unwrap();
    let certificate = pem.parse_x509().unwrap();
    Some(format!(
        "{before}{} by {}{after}",
        certificate.subject(),
        certificate.issuer()
    ))
}

/// Compares what the pod gets before and after the migration. Returns whether the bytes are the same; otherwise they are the same
/// but for their certificate.
fn compare(pair: &Pair, theirs: Delivered, ours: Delivered) -> bool {
    let mut theirs: Delivered = theirs
        .into_iter()
        .map(|((path, container), file)| ((pair.moved(&path), container), file))
        .collect();
    let mut ours = ours;
    let is_same = theirs == ours;
    if !is_same {
        for (_, text) in theirs.values_mut().chain(ours.values_mut()) {
            if let Some(shape) = without_certificate(text) {
                *text = shape;
            }
        }
    }
    assert!(!theirs.is_empty(), "{}", pair.case);
    assert_eq!(ours, theirs, "{}", pair.case);
    is_same
}

/// Every golden pod of vault-k8s: with what `migrate` prints in place of vault-k8s' annotations, each container finds the same
/// bytes with the same mode where the output says.
#[test]
fn what_migrate_prints_delivers_the_same_bytes() {
    let pairs = pairs();
    write(&pairs);
    let (mut files, mut certificates, mut version_1) = (0, 0, 0);
    for pair in &pairs {
        for namespace in ["", VERSION_1] {
            let is_version_2 = namespace.is_empty();
            // The operator's rules allow one form of the path only, which is the one with data/.
            let is_guarded = pair.theirs.plan["mountLookup"]["allowed"].is_array();
            if !is_version_2 && (pair.unclear_paths().is_empty() || is_guarded) {
                continue;
            }
            let ours = pair
                .ours(is_version_2)
                .unwrap_or_else(|why| panic!("{}: {why}", pair.case));
            let theirs = deliver(namespace, &pair.theirs, &pair.case);
            let ours = deliver(namespace, &ours, &pair.case);
            files += theirs.len();
            version_1 += usize::from(!is_version_2);
            certificates += usize::from(!compare(pair, theirs, ours));
        }
    }
    assert!(files >= pairs.len(), "{files} files");
    assert_eq!(certificates, 1, "certificates differ, and nothing else");
    assert!(version_1 >= 1, "{version_1} pods with KV version 1");
}

/// The difference that the output has a note of.
#[test]
fn a_missing_field_is_printed_before_the_migration_and_fails_after_it_as_the_note_says() {
    let pairs = pairs();
    let ends = |pair: &&Pair| pair.case.ends_with("vault-k8s-agent-inject-template-makes-the-text");
    let pair = pairs.iter().find(ends).unwrap();
    assert!(
        pair.printed
            .contains("a field that is missing, or null, fails the pod with the field's name")
    );
    // In this namespace, no pod of the other test reads the path.
    bao().write_in(
        VERSION_1,
        "kv/data/web/db",
        &json!({"data": {"name": "canary-kv/name"}}),
    );
    let theirs = deliver(VERSION_1, &pair.theirs, &pair.case);
    let texts: Vec<_> = theirs.values().map(|(_, text)| text.as_str()).collect();
    assert_eq!(texts, ["user=<no value>"]);
    let (agent, ended) = run(VERSION_1, &pair.ours(false).unwrap());
    ended.expect(66, &["there is no field user"]);
    assert!(agent.all_files().is_empty());
}
