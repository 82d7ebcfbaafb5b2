//! From a real pod to its lines in the server's audit log: the names are those of the cluster's API.

use serde_json::{Value, json};

use crate::harness::openbao::{Vault, openbao};
use crate::harness::settings::settings;
use crate::harness::{LIMIT, decided, left_out, wait};
use crate::hooks::{RUNNER, SECRET, runner, section};

#[test]
fn the_audit_log_has_the_name_and_uid_of_the_pod_and_so_has_the_jobs_log() {
    let Some(audit_log) = &settings().audit_log else {
        return left_out("the audit log", "PODKEY_E2E_OPENBAO_AUDIT_LOG is not set");
    };
    // One for all tests: nothing depends on it being absent.
    let header = "/v1/sys/config/auditing/request-headers/X-Correlation-ID";
    openbao().insist("POST", header, &json!({"hmac": false}));
    let namespace = decided::namespace("audit-trail");
    let vault = Vault::new(&namespace);
    vault.put("web", &json!({"password": SECRET}));
    let definition = decided::injected(&runner(&vault, RUNNER), &namespace, &decided::config("copy"));
    let pod = namespace.create(&definition);
    let log = pod.succeeds();
    println!("{log}");
    let metadata = &pod.object()["metadata"];
    let (name, uid) = (metadata["name"].as_str().unwrap(), metadata["uid"].as_str().unwrap());
    let pod = format!("pod={}/{name} uid={uid}", namespace.name);

    let revoked = "auth/token/revoke-self";
    let paths = [
        &format!("auth/{}/login", vault.auth),
        &format!("{}/data/web", vault.kv),
        revoked,
    ];
    let found = wait(LIMIT, || {
        let lines = std::fs::read_to_string(audit_log).unwrap();
        let lines = lines
            .lines()
            .filter(|line| line.contains(&pod) && line.contains(r#""type":"response""#));
        let lines: Vec<Value> = lines.filter_map(|line| serde_json::from_str(line).ok()).collect();
        (lines.len() >= paths.len()).then_some(lines)
    });
    let found = found.unwrap_or_else(|| panic!("{audit_log:?} has no lines of {pod}"));
    let asked: Vec<&str> = found
        .iter()
        .map(|line| line["request"]["path"].as_str().unwrap())
        .collect();
    assert_eq!(asked, paths);
    for line in &found {
        let sender = format!("podkey init {pod}");
        assert_eq!(
            line["request"]["headers"]["x-correlation-id"],
            json!([sender]),
            "{line}"
        );
        let login = &line["auth"]["metadata"];
        println!("{login}");
        assert_eq!(login["service_account_namespace"], namespace.name.as_str(), "{line}");
    }
    let started = section(&log, "started");
    let told = started
        .lines()
        .find(|line| line.contains(&format!("podkey job {pod} claimed-repository=")));
    assert!(told.is_some_and(|line| line.contains("accessor")), "{started}");
}
