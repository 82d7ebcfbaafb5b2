//! Commands of the doctor that could do harm, and false alarms: each case did one of them once.

use std::process::{Child, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use serde_json::{Value, json};

use super::bench::Doctor;
use super::vault::{seeded_told, told, web, with_role};
use crate::harness::merge;
use crate::harness::namespace::Namespace;
use crate::harness::openbao::{ROLE, Vault};
use crate::harness::pod::pod;

#[test]
fn a_role_of_several_accounts_is_not_opened_to_more_than_the_pod() {
    let role = json!({"audience": "vault", "bound_service_account_names": ["*"], "bound_service_account_namespaces": ["other"]});
    let seed = |vault: &Vault<'_>| {
        vault.role(ROLE, &role);
        web(vault)
    };
    seeded_told("opens", seed, "vault-role", &["lets in more than the pod"]);
}

#[test]
fn a_role_that_others_use_keeps_its_audience() {
    let role = json!({"audience": "openbao", "bound_service_account_names": ["default", "other"]});
    let seed = |vault: &Vault<'_>| {
        vault.role(ROLE, &role);
        web(vault)
    };
    seeded_told("keeps-audience", seed, "vault-role", &["A role has one audience"]);
}

#[test]
fn an_issuer_is_told_and_the_reviewers_token_stays() {
    let namespace = Namespace::new("issuer");
    let vault = Vault::new(&namespace);
    vault.put("web", &json!({"password": "s3cret"}));
    let path = format!("/v1/auth/{}/config", vault.auth);
    let config = merge(
        vault.api.call("GET", &path, &Value::Null).json()["data"].clone(),
        &json!({
            "token_reviewer_jwt": namespace.token("openbao-reviewer", None), "disable_iss_validation": false,
            "issuer": "https://other.example.com",
        }),
    );
    vault.api.insist("POST", &path, &config);
    let doctor = Doctor::of(&namespace.name, &web(&vault)).with_token();
    told(&doctor, "vault-auth-config", &["disable_iss_validation"]);
}

#[test]
fn an_authority_of_another_cluster_is_told_and_no_reviewer_is_made() {
    let namespace = Namespace::new("authority");
    let vault = Vault::new(&namespace);
    vault.put("web", &json!({"password": "s3cret"}));
    let path = format!("/v1/auth/{}/config", vault.auth);
    let config = merge(
        vault.api.call("GET", &path, &Value::Null).json()["data"].clone(),
        &json!({
            "token_reviewer_jwt": namespace.token("openbao-reviewer", None),
            "kubernetes_ca_cert": crate::harness::settings::settings().openbao_ca,
        }),
    );
    vault.api.insist("POST", &path, &config);
    let doctor = Doctor::of(&namespace.name, &web(&vault)).with_token().arg("--login");
    let seen = doctor.examine();
    let said = seen
        .findings
        .iter()
        .any(|finding| finding.message.contains("without an authority of this cluster"));
    assert!(said, "{}", seen.story());
    assert!(!seen.story().contains("serviceaccount "), "{}", seen.story());
    assert!(!seen.story().contains("clusterrolebinding"), "{}", seen.story());
}

#[test]
fn a_role_for_logins_of_the_cluster_alone_is_no_fault_of_a_login_from_here() {
    let namespace = Namespace::new("cidrs");
    let vault = Vault::new(&namespace);
    vault.put("web", &json!({"password": "s3cret"}));
    vault.role(
        ROLE,
        &json!({"audience": "vault", "token_bound_cidrs": ["192.0.2.0/24"]}),
    );
    let seen = Doctor::of(&namespace.name, &web(&vault))
        .with_token()
        .arg("--login")
        .examine();
    assert!(seen.first_fault().is_none(), "{}", seen.story());
    let login = seen
        .findings
        .iter()
        .find(|finding| finding.check == "vault-login")
        .unwrap();
    assert_eq!(login.level, "unseen", "{}", seen.story());
}

#[test]
fn a_deny_is_not_overruled() {
    let seed = |vault: &Vault<'_>| {
        let rules = format!(
            "path \"{kv}/data/*\" {{ capabilities = [\"read\"] }}\npath \"{kv}/data/w*\" {{ capabilities = [\"deny\"] }}",
            kv = vault.kv
        );
        let path = format!("/v1/sys/policies/acl/{}", vault.kv);
        vault.api.insist("POST", &path, &json!({"policy": rules}));
        web(vault)
    };
    seeded_told("deny", seed, "vault-policy", &["a rule with `deny` decides"]);
}

#[test]
fn a_policy_that_cannot_be_read_keeps_its_rules() {
    let namespace = Namespace::new("keeps-rules");
    let vault = Vault::new(&namespace);
    vault.put("web", &json!({"password": "s3cret"}));
    let path = format!("/v1/sys/policies/acl/{}", vault.kv);
    let rule = format!("path \"{}/data/other\" {{ capabilities = [\"read\"] }}", vault.kv);
    vault.api.insist("POST", &path, &json!({"policy": rule}));
    let doctor = Doctor::of(&namespace.name, &web(&vault)).with_token();
    let seen = doctor.examine();
    let command = seen.first_fault().unwrap().command.clone().unwrap();
    // As if the read failed, and as it is.
    let status = doctor.try_run(&command.replacen("bao policy read", "false", 1));
    assert!(!status, "{command}");
    assert_eq!(
        vault.api.call("GET", &path, &Value::Null).json()["data"]["policy"],
        rule,
        "{command}"
    );
    doctor.run(&command);
    let after = vault.api.call("GET", &path, &Value::Null).json()["data"]["policy"].clone();
    let after = after.as_str().unwrap();
    assert!(after.contains(&rule) && after.contains("/data/web"), "{after}");
}

#[test]
fn a_policy_of_the_proposed_name_is_not_overwritten() {
    let namespace = Namespace::new("own-policy");
    let vault = Vault::new(&namespace);
    vault.put("web", &json!({"password": "s3cret"}));
    vault.role(ROLE, &json!({"audience": "vault", "token_policies": []}));
    let path = format!("/v1/sys/policies/acl/podkey-my-cluster-{}-{ROLE}", namespace.name);
    namespace.delete_later(&vault.api, path.clone());
    let rule = "path \"other/data/x\" { capabilities = [\"read\"] }";
    vault.api.insist("POST", &path, &json!({"policy": rule}));
    let doctor = Doctor::of(&namespace.name, &web(&vault)).with_token().arg("--login");
    doctor.mends("vault-policy", &["bao policy read podkey-my-cluster-"]);
    let after = vault.api.call("GET", &path, &Value::Null).json()["data"]["policy"].clone();
    assert!(after.as_str().unwrap().contains(rule), "{after}");
}

/// An engine KV v1 with a secret in a folder `data`, and a pod that reads this path.
fn kv1_with_folder(vault: &Vault<'_>, secret: &str) -> Value {
    let mount = vault.engine("kv", "data/*", "read");
    vault
        .api
        .insist("POST", &format!("/v1/{mount}/{secret}"), &json!({"password": "s3cret"}));
    let files = json!([{"secret": format!("{mount}/data/web"), "key": "password", "file": "web"}]);
    merge(
        pod("web", "true"),
        &json!({"metadata": {"annotations": vault.annotations_of(&files)}}),
    )
}

#[test]
fn a_folder_data_of_kv_v1_is_no_fault() {
    let namespace = Namespace::new("kv1-folder");
    let vault = Vault::new(&namespace);
    let healthy = kv1_with_folder(&vault, "data/web");
    Doctor::of(&namespace.name, &healthy)
        .with_token()
        .arg("--login")
        .is_content();
}

#[test]
fn a_path_of_kv_v1_with_data_that_is_not_there_is_told() {
    let seed = |vault: &Vault<'_>| kv1_with_folder(vault, "web");
    seeded_told("kv1-data", seed, "vault-path", &["KV v1, whose paths have no /data/"]);
}

#[test]
fn a_certificate_role_that_refuses_the_name_is_told_and_stays() {
    let seed = |vault: &Vault<'_>| {
        let mount = vault.engine("pki", "issue/web", "update");
        let role = json!({"allowed_domains": ["other.test"], "allow_subdomains": true});
        vault.api.insist("POST", &format!("/v1/{mount}/roles/web"), &role);
        let files =
            json!([{"secret": format!("{mount}/issue/web"), "data": {"common_name": "web.test"}, "file": "web"}]);
        merge(
            pod("web", "true"),
            &json!({"metadata": {"annotations": vault.annotations_of(&files)}}),
        )
    };
    seeded_told("pki-name", seed, "vault-path", &["does not take the name web.test"]);
}

#[test]
fn a_write_to_pki_needs_update() {
    let namespace = Namespace::new("pki-create");
    let vault = Vault::new(&namespace);
    let mount = vault.engine("pki", "issue/web", "create");
    vault.api.insist(
        "POST",
        &format!("/v1/{mount}/roles/web"),
        &json!({"allow_any_name": true}),
    );
    let files = json!([{"secret": format!("{mount}/issue/web"), "data": {"common_name": "web.test"}, "file": "web"}]);
    let pod = merge(
        pod("web", "true"),
        &json!({"metadata": {"annotations": vault.annotations_of(&files)}}),
    );
    for arg in [None, Some("--login")] {
        let doctor = Doctor::of(&namespace.name, &pod).with_token();
        let seen = arg.into_iter().fold(doctor, Doctor::arg).examine();
        let fault = seen.first_fault().unwrap_or_else(|| panic!("{}", seen.story()));
        assert_eq!(fault.check, "vault-policy", "{}", seen.story());
    }
}

#[test]
fn a_short_life_is_told_by_what_limits_it() {
    let namespace = Namespace::new("short");
    let vault = Vault::new(&namespace);
    vault.put("web", &json!({"password": "s3cret"}));
    vault.role(
        ROLE,
        &json!({"audience": "vault", "token_ttl": "5s", "token_max_ttl": "5s"}),
    );
    let seen = Doctor::of(&namespace.name, &web(&vault)).with_token().examine();
    let warning = seen.findings.iter().find(|finding| finding.level == "warning").unwrap();
    assert!(warning.message.contains("lives 5s"), "{}", seen.story());
    with_role(
        "audience-and-ttl",
        &json!({"audience": "openbao"}),
        "vault-role",
        &["audience=vault"],
    );
}

#[test]
fn a_role_is_a_name_and_no_path() {
    let namespace = Namespace::new("role-name");
    let doctor = Doctor::of(&namespace.name, &json!({}))
        .arg("--role")
        .arg("../../../sys/mounts?x=");
    assert_eq!(doctor.code(), Some(64));
}

/// Ctrl-C at any time leaves no token of the doctor's.
#[test]
fn ctrl_c_leaves_no_token() {
    let namespace = Namespace::new("interrupt");
    let vault = Vault::new(&namespace);
    vault.put("web", &json!({"password": "s3cret"}));
    let files: Vec<Value> = (0..60)
        .map(|number| json!({"secret": format!("web{number}"), "key": "password", "file": format!("f{number}")}))
        .collect();
    let pod = vault.annotate(pod("web", "true"), &Value::Array(files));
    let doctor = Doctor::of(&namespace.name, &pod).with_token().arg("--login");
    let start = || {
        let mut doctor = doctor.doctor();
        doctor.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
    };
    let interrupt = |child: Child| {
        let _ = rustix::process::kill_process(Pid::from_child(&child), Signal::INT);
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(vault.tokens(), 0, "{said}");
        (output.status.code(), said)
    };
    // The doctor is at another check each time.
    for step in 1..40 {
        let child = start();
        std::thread::sleep(Duration::from_millis(50 * step));
        if interrupt(child).0 == Some(1) {
            break;
        }
    }
    // The doctor has a token now: the signal comes between login and revocation, on a slow machine too.
    let is_between = (0..20).any(|_| {
        let mut child = start();
        while vault.tokens() == 0 && child.try_wait().unwrap().is_none() {}
        let (code, said) = interrupt(child);
        code == Some(130) && said.contains("logs in as")
    });
    assert!(
        is_between,
        "the doctor was never interrupted between login and revocation"
    );
}
