//! Faults of OpenBao: each test has mounts, roles and policies of its own. The doctor logs in, as the user asked with `--login`.

use serde_json::{Value, json};

use super::bench::Doctor;
use crate::harness::api::cluster;
use crate::harness::merge;
use crate::harness::namespace::Namespace;
use crate::harness::openbao::{ROLE, Vault};
use crate::harness::pod::{fresh, pod};
use crate::harness::settings::settings;

/// A pod that gets the field `password` of the secret `web`.
pub fn web(vault: &Vault<'_>) -> Value {
    vault.annotate(
        pod("web", "true"),
        &json!([{"secret": "web", "key": "password", "file": "password"}]),
    )
}

/// A doctor for a pod, after `seed` has made something wrong.
pub fn seeded(topic: &str, seed: impl FnOnce(&Vault<'_>) -> Value, check: &str, parts: &[&str]) {
    let namespace = Namespace::new(topic);
    let vault = Vault::new(&namespace);
    vault.put("web", &json!({"password": "s3cret"}));
    let pod = seed(&vault);
    let parts: Vec<String> = parts.iter().map(|part| part.replace("NS", &namespace.name)).collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let doctor = Doctor::of(&namespace.name, &pod).with_token().arg("--login");
    // The values that a command takes from files.
    for field in ["password", "pasword"] {
        std::fs::write(doctor.folder.path().join(field), "new").unwrap();
    }
    doctor.mends(check, &parts);
}

/// A doctor for a pod that says what is wrong, and whose command only shows. `parts` are in the message.
pub fn told(doctor: &Doctor, check: &str, parts: &[&str]) {
    let seen = doctor.finds(check, || {});
    let fault = seen.first_fault().unwrap();
    for part in parts {
        assert!(fault.message.contains(part), "no {part:?}\n{}", seen.story());
    }
    let shows = |command: &String| command.starts_with("bao read ") || command.starts_with("bao kv metadata get ");
    assert!(fault.command.as_ref().is_none_or(shows), "{}", seen.story());
}

/// As [`seeded`], where the operator must decide.
pub fn seeded_told(topic: &str, seed: impl FnOnce(&Vault<'_>) -> Value, check: &str, parts: &[&str]) {
    let namespace = Namespace::new(topic);
    let vault = Vault::new(&namespace);
    vault.put("web", &json!({"password": "s3cret"}));
    let pod = seed(&vault);
    told(
        &Doctor::of(&namespace.name, &pod).with_token().arg("--login"),
        check,
        parts,
    );
}

/// As [`seeded`], with a pod that gets this file.
pub fn with_file(file: &Value, topic: &str, check: &str, parts: &[&str]) {
    seeded(
        topic,
        |vault| vault.annotate(pod("web", "true"), &json!([file])),
        check,
        parts,
    );
}

/// As [`seeded`], with a policy of one rule: a path in the mount, and a capability.
pub fn with_rule((path, capability): (&str, &str), topic: &str, check: &str, parts: &[&str]) {
    let seed = |vault: &Vault<'_>| {
        let rule = format!("path \"{}{path}\" {{ capabilities = [\"{capability}\"] }}", vault.kv);
        let policy = format!("/v1/sys/policies/acl/{}", vault.kv);
        vault.api.insist("POST", &policy, &json!({"policy": rule}));
        web(vault)
    };
    seeded(topic, seed, check, parts);
}

/// As [`seeded`], with a role that has these fields.
pub fn with_role(topic: &str, fields: &Value, check: &str, parts: &[&str]) {
    let seed = |vault: &Vault<'_>| {
        vault.role(ROLE, &merge(json!({"audience": "vault"}), fields));
        web(vault)
    };
    seeded(topic, seed, check, parts);
}

#[test]
fn a_role_of_another_account_gets_the_pods_account_too() {
    with_role(
        "account",
        &json!({"bound_service_account_names": ["other"]}),
        "vault-role",
        &[
            "bao write auth/my-cluster/NS/role/reader",
            "bound_service_account_names=other,default",
        ],
    );
}

#[test]
fn a_role_of_another_namespace_gets_the_pods_namespace_too() {
    with_role(
        "namespace",
        &json!({"bound_service_account_namespaces": ["other"]}),
        "vault-role",
        &["bound_service_account_namespaces=other,NS"],
    );
}

#[test]
fn a_role_without_an_audience_gets_the_connections() {
    with_role(
        "no-audience",
        &json!({"audience": ""}),
        "vault-role",
        &["audience=vault"],
    );
}

#[test]
fn a_role_of_another_audience_gets_the_connections() {
    with_role(
        "audience",
        &json!({"audience": "openbao"}),
        "vault-role",
        &["audience=vault"],
    );
}

#[test]
fn a_role_that_does_not_exist_is_created_with_its_policy() {
    let seed = |vault: &Vault<'_>| {
        merge(
            web(vault),
            &json!({"metadata": {"annotations": {"podkey.dev/role": "readers"}}}),
        )
    };
    seeded(
        "no-role",
        seed,
        "vault-role",
        &[
            "bao policy write podkey-my-cluster-NS-readers -",
            "bao write auth/my-cluster/NS/role/readers",
            "bound_service_account_names=default",
        ],
    );
}

#[test]
fn an_auth_mount_that_does_not_exist_is_named_with_its_nearest() {
    let namespace = Namespace::new("mount");
    let vault = Vault::new(&namespace);
    vault.put("web", &json!({"password": "s3cret"}));
    let mount = format!("{}s", vault.auth);
    let pod = merge(
        web(&vault),
        &json!({"metadata": {"annotations": {"podkey.dev/auth-mount": mount}}}),
    );
    namespace.delete_later(&vault.api, format!("/v1/sys/auth/{mount}"));
    let doctor = Doctor::of(&namespace.name, &pod).with_token().arg("--login");
    let seen = doctor.examine();
    let fault = seen.first_fault().unwrap_or_else(|| panic!("{}", seen.story()));
    assert_eq!(fault.check, "vault-auth", "{}", seen.story());
    assert!(
        fault.message.contains(&format!("nearest mount is {}", vault.auth)),
        "{}",
        seen.story()
    );
    // Each fault leads to the next: the mount, its configuration, the role. How the server reaches the cluster, the operator says.
    doctor.run(fault.command.as_deref().unwrap());
    told(&doctor, "vault-auth-config", &["Write kubernetes_host"]);
    let config = merge(
        vault
            .api
            .call("GET", &format!("/v1/auth/{}/config", vault.auth), &Value::Null)
            .json()["data"]
            .clone(),
        &json!({"token_reviewer_jwt": namespace.token("openbao-reviewer", None)}),
    );
    vault.api.insist("POST", &format!("/v1/auth/{mount}/config"), &config);
    doctor.mends("vault-role", &["bao write auth/my-cluster/"]);
}

#[test]
fn an_auth_mount_of_another_type_is_told() {
    let namespace = Namespace::new("type");
    let vault = Vault::new(&namespace);
    let mount = format!("{}-jwt", vault.auth);
    vault
        .api
        .insist("POST", &format!("/v1/sys/auth/{mount}"), &json!({"type": "jwt"}));
    namespace.delete_later(&vault.api, format!("/v1/sys/auth/{mount}"));
    let pod = merge(
        web(&vault),
        &json!({"metadata": {"annotations": {"podkey.dev/auth-mount": mount}}}),
    );
    let seen = Doctor::of(&namespace.name, &pod).with_token().examine();
    let fault = seen.first_fault().unwrap_or_else(|| panic!("{}", seen.story()));
    assert_eq!(
        (fault.check.as_str(), fault.message.contains("of the type jwt")),
        ("vault-auth", true),
        "{}",
        seen.story()
    );
}

#[test]
fn a_reviewer_that_may_not_review_is_told_and_no_account_gets_rights() {
    let seed = |vault: &Vault<'_>| {
        cluster().delete(&vault.reviewer);
        web(vault)
    };
    // The reviewer's account cannot be read, so no account gets a right.
    seeded_told(
        "reviewer",
        seed,
        "vault-login",
        &["system:auth-delegator", "kubernetes_ca_cert"],
    );
}

#[test]
fn a_token_with_one_use_gets_more_where_it_must_be_renewed() {
    let seed = |vault: &Vault<'_>| {
        vault.role(ROLE, &json!({"audience": "vault", "token_num_uses": 5}));
        fresh(web(vault), "1m")
    };
    seeded("uses-refresh", seed, "vault-role", &["token_num_uses=0"]);
}

#[test]
fn a_token_with_too_few_uses_for_the_paths_gets_more() {
    let seed = |vault: &Vault<'_>| {
        vault.put("db", &json!({"password": "s3cret"}));
        vault.role(ROLE, &json!({"audience": "vault", "token_num_uses": 1}));
        let files = json!([
            {"secret": "web", "key": "password", "file": "web"}, {"secret": "db", "key": "password", "file": "db"},
        ]);
        vault.annotate(pod("web", "true"), &files)
    };
    seeded("uses", seed, "vault-role", &["token_num_uses=0"]);
}

#[test]
fn a_path_that_no_policy_allows_is_added_to_the_roles_policy() {
    with_rule(
        ("/data/other", "read"),
        "policy",
        "vault-policy",
        &["bao policy read NS", "NS/data/web", "bao policy write NS -"],
    );
}

#[test]
fn a_policy_without_the_data_of_kv_v2_is_mended() {
    with_rule(("/web", "read"), "policy-data", "vault-policy", &["NS/data/web"]);
}

#[test]
fn a_policy_that_does_not_exist_is_written() {
    let name = format!("podkey-e2e-absent-{}", crate::harness::namespace::unique());
    with_role(
        "no-policy",
        &json!({"token_policies": [name]}),
        "vault-policy",
        &["bao policy write podkey-e2e-absent-"],
    );
}

#[test]
fn a_role_without_a_policy_gets_one() {
    with_role(
        "default-policy",
        &json!({"token_policies": []}),
        "vault-policy",
        &[
            "bao policy write podkey-my-cluster-NS-reader -",
            "token_policies=podkey-my-cluster-NS-reader",
        ],
    );
}

#[test]
fn list_is_not_read() {
    with_rule(("/data/*", "list"), "list", "vault-policy", &["\"read\""]);
}

#[test]
fn a_secret_that_does_not_exist_is_put() {
    with_file(
        &json!({"secret": "wep", "key": "password", "file": "password"}),
        "secret",
        "vault-path",
        &["bao kv put -cas=0 -mount=NS wep password=@password"],
    );
}

#[test]
fn a_field_that_does_not_exist_is_added() {
    with_file(
        &json!({"secret": "web", "key": "pasword", "file": "password"}),
        "field",
        "vault-path",
        &["bao kv patch -mount=NS web pasword=@pasword"],
    );
}

#[test]
fn a_version_that_does_not_exist_is_told() {
    let seed = |vault: &Vault<'_>| {
        vault.annotate(
            pod("web", "true"),
            &json!([{"secret": "web", "key": "password", "file": "password", "version": 2}]),
        )
    };
    seeded_told("version", seed, "vault-path", &["no readable version 2"]);
}

#[test]
fn a_deleted_secret_is_put_again() {
    let seed = |vault: &Vault<'_>| {
        vault
            .api
            .insist("DELETE", &format!("/v1/{}/data/web", vault.kv), &Value::Null);
        web(vault)
    };
    seeded(
        "deleted",
        seed,
        "vault-path",
        &["bao kv put -cas=1 -mount=NS web password=@password"],
    );
}

#[test]
fn an_engine_that_is_not_mounted_is_named() {
    let namespace = Namespace::new("engine");
    let vault = Vault::new(&namespace);
    let mount = format!("{}s", vault.kv);
    let files = json!([{"secret": format!("{mount}/data/web"), "file": "web"}]);
    let pod = merge(
        pod("web", "true"),
        &json!({"metadata": {"annotations": vault.annotations_of(&files)}}),
    );
    namespace.delete_later(&vault.api, format!("/v1/sys/mounts/{mount}"));
    let doctor = Doctor::of(&namespace.name, &pod).with_token().arg("--login");
    let seen = doctor.examine();
    let fault = seen.first_fault().unwrap_or_else(|| panic!("{}", seen.story()));
    assert_eq!(fault.check, "vault-path", "{}", seen.story());
    assert!(
        fault.message.contains(&format!("the nearest mount is {}", vault.kv)),
        "{}",
        seen.story()
    );
    assert!(
        fault.command.as_ref().unwrap().contains("secrets enable"),
        "{}",
        seen.story()
    );
}

#[test]
fn a_path_without_the_data_of_kv_v2_is_written_out() {
    let namespace = Namespace::new("data");
    let vault = Vault::new(&namespace);
    vault.put("web", &json!({"password": "s3cret"}));
    let files = json!([{"secret": format!("{}/web", vault.kv), "file": "web"}]);
    let pod = merge(
        pod("web", "true"),
        &json!({"metadata": {"annotations": vault.annotations_of(&files)}}),
    );
    let seen = Doctor::of(&namespace.name, &pod).with_token().examine();
    let fault = seen.first_fault().unwrap_or_else(|| panic!("{}", seen.story()));
    assert_eq!(fault.check, "vault-path", "{}", seen.story());
    assert!(
        fault.message.contains(&format!("write {}/data/web", vault.kv)),
        "{}",
        seen.story()
    );
}

#[test]
fn a_role_of_the_pki_engine_that_does_not_exist_is_made() {
    let seed = |vault: &Vault<'_>| {
        let mount = vault.engine("pki", "issue/web", "update");
        let root = json!({"common_name": "test", "ttl": "1h"});
        vault
            .api
            .insist("POST", &format!("/v1/{mount}/root/generate/internal"), &root);
        let files =
            json!([{"secret": format!("{mount}/issue/web"), "data": {"common_name": "web.test"}, "file": "web"}]);
        merge(
            pod("web", "true"),
            &json!({"metadata": {"annotations": vault.annotations_of(&files)}}),
        )
    };
    seeded(
        "pki",
        seed,
        "vault-path",
        &["bao write pki-NS/roles/web", "allowed_domains=web.test"],
    );
}

#[test]
fn a_write_that_a_policy_only_lets_read_is_allowed() {
    let seed = |vault: &Vault<'_>| {
        let mount = vault.engine("pki", "issue/web", "read");
        vault.api.insist(
            "POST",
            &format!("/v1/{mount}/roles/web"),
            &json!({"allow_any_name": true}),
        );
        let files =
            json!([{"secret": format!("{mount}/issue/web"), "data": {"common_name": "web.test"}, "file": "web"}]);
        merge(
            pod("web", "true"),
            &json!({"metadata": {"annotations": vault.annotations_of(&files)}}),
        )
    };
    seeded("write", seed, "vault-policy", &["[\"update\"]", "pki-NS/issue/web"]);
}

/// A doctor that must find neither a fault nor a warning.
fn healthy(topic: &str, seed: impl FnOnce(&Vault<'_>) -> Value) {
    let namespace = Namespace::new(topic);
    let vault = Vault::new(&namespace);
    vault.put("web", &json!({"password": "s3cret"}));
    let pod = seed(&vault);
    Doctor::of(&namespace.name, &pod)
        .with_token()
        .arg("--login")
        .is_content();
    // Without --login or a token the doctor sees less, and says nothing untrue.
    Doctor::of(&namespace.name, &pod).with_token().is_content();
    Doctor::of(&namespace.name, &pod).arg("--login").is_content();
    Doctor::of(&namespace.name, &pod).is_content();
}

/// The pod with another connection of the operator's.
pub fn by(connection: &str, pod: Value) -> Value {
    merge(
        pod,
        &json!({"metadata": {"annotations": {"podkey.dev/connection": connection}}}),
    )
}

#[test]
fn a_healthy_pod() {
    healthy("plain", web);
}

#[test]
fn a_healthy_pod_with_refresh() {
    healthy("refresh", |vault| fresh(web(vault), "1m"));
}

#[test]
fn a_healthy_pod_without_a_client_token() {
    healthy("inline", |vault| by("inline", web(vault)));
}

#[test]
fn a_healthy_pod_in_clear_text() {
    if settings().openbao_http.is_some() {
        healthy("http", |vault| by("http", web(vault)));
    }
}

#[test]
fn a_healthy_pod_with_the_api_servers_audience() {
    let namespace = Namespace::new("own-audience");
    let vault = Vault::new(&namespace);
    vault.put("web", &json!({"password": "s3cret"}));
    vault.role(ROLE, &json!({"audience": ""}));
    let seen = Doctor::of(&namespace.name, &by("no-audience", web(&vault)))
        .with_token()
        .arg("--login")
        .examine();
    // podkey itself warns of such a connection.
    let alarm = |level: &str, check: &str| level == "fault" || level == "warning" && check != "admission";
    let alarms = seen
        .findings
        .iter()
        .filter(|finding| alarm(&finding.level, &finding.check));
    assert_eq!(alarms.count(), 0, "{}", seen.story());
}

#[test]
fn a_healthy_role_with_patterns() {
    healthy("patterns", |vault| {
        let role = json!({
            "audience": "vault", "bound_service_account_names": ["def*"], "bound_service_account_namespaces": ["*"],
        });
        vault.role(ROLE, &role);
        web(vault)
    });
}

#[test]
fn a_healthy_pod_with_kv_v1() {
    healthy("kv1", |vault| {
        let mount = vault.engine("kv", "web", "read");
        vault
            .api
            .insist("POST", &format!("/v1/{mount}/web"), &json!({"password": "s3cret"}));
        let files = json!([{"secret": format!("{mount}/web"), "key": "password", "file": "web"}]);
        merge(
            pod("web", "true"),
            &json!({"metadata": {"annotations": vault.annotations_of(&files)}}),
        )
    });
}

#[test]
fn a_healthy_pod_with_a_certificate() {
    healthy("pki", |vault| {
        let mount = vault.engine("pki", "issue/web", "update");
        vault.api.insist(
            "POST",
            &format!("/v1/{mount}/roles/web"),
            &json!({"allow_any_name": true}),
        );
        let files =
            json!([{"secret": format!("{mount}/issue/web"), "data": {"common_name": "web.test"}, "file": "web"}]);
        merge(
            pod("web", "true"),
            &json!({"metadata": {"annotations": vault.annotations_of(&files)}}),
        )
    });
}

#[test]
fn a_healthy_pod_with_as_many_uses_as_it_needs() {
    healthy("uses", |vault| {
        vault.role(ROLE, &json!({"audience": "vault", "token_num_uses": 1}));
        web(vault)
    });
}

#[test]
fn a_healthy_pod_that_ignores_what_is_not_there() {
    healthy("ignore", |vault| {
        let files = json!([{"secret": "none", "key": "password", "file": "password"}]);
        let pod = vault.annotate(pod("web", "true"), &files);
        merge(
            pod,
            &json!({"metadata": {"annotations": {"podkey.dev/ignore-not-found": "true"}}}),
        )
    });
}

#[test]
fn a_healthy_pod_with_batch_tokens() {
    healthy("batch", |vault| {
        vault.role(ROLE, &json!({"audience": "vault", "token_type": "batch"}));
        web(vault)
    });
}

#[test]
fn a_connection_whose_authorities_did_not_sign_the_certificate_is_told() {
    let namespace = Namespace::new("untrusted");
    let vault = Vault::new(&namespace);
    let seen = Doctor::of(&namespace.name, &by("untrusted", web(&vault)))
        .with_token()
        .examine();
    let fault = seen.first_fault().unwrap_or_else(|| panic!("{}", seen.story()));
    assert_eq!(fault.check, "vault-connection", "{}", seen.story());
    assert!(fault.message.contains("no public authority signed"), "{}", seen.story());
    // By the user's own CA, the doctor goes on.
    assert!(
        seen.findings.iter().any(|finding| finding.check == "vault-role"),
        "{}",
        seen.story()
    );
}

#[test]
fn a_server_that_nobody_answers_for_is_told() {
    let namespace = Namespace::new("nobody");
    let vault = Vault::new(&namespace);
    let seen = Doctor::of(&namespace.name, &by("nobody", web(&vault))).examine();
    let fault = seen.first_fault().unwrap_or_else(|| panic!("{}", seen.story()));
    assert_eq!(fault.check, "vault-connection", "{}", seen.story());
    assert!(
        fault
            .message
            .contains("nothing accepts a connection at http://127.0.0.1:9"),
        "{}",
        seen.story()
    );
}

#[test]
fn no_token_is_printed_or_left() {
    let namespace = Namespace::new("tokens");
    let vault = Vault::new(&namespace);
    vault.put("web", &json!({"password": "s3cret"}));
    let seen = Doctor::of(&namespace.name, &web(&vault))
        .with_token()
        .arg("--login")
        .examine();
    let story = seen.story();
    assert!(story.contains("logs in as reader"), "{story}");
    for secret in [settings().openbao_token.as_str(), "s3cret", "eyJ"] {
        assert!(!story.contains(secret), "{secret}: {story}");
    }
    assert_eq!(vault.tokens(), 0, "{story}");
}

/// The doctor's own reading of policies says what the server's says, which the doctor asks after a login.
#[test]
fn the_doctor_reads_policies_as_the_server_does() {
    let namespace = Namespace::new("acl");
    let vault = Vault::new(&namespace);
    vault.put("web", &json!({"password": "s3cret"}));
    let pod = web(&vault);
    let kv = &vault.kv;
    let rule = |path: &str, capability: &str| format!("path \"{path}\" {{ capabilities = [\"{capability}\"] }}\n");
    for policy in [
        rule(&format!("{kv}/data/web"), "read"),
        rule(&format!("{kv}/data/w*"), "read") + &rule(&format!("{kv}/data/web"), "deny"),
        rule(&format!("{kv}/data/*"), "deny") + &rule(&format!("{kv}/data/web"), "read"),
        rule(&format!("{kv}/+/web"), "read") + &rule(&format!("{kv}/data/*"), "deny"),
        rule(&format!("{kv}/data/+"), "deny") + &rule(&format!("{kv}/+/web"), "read"),
        rule(&format!("{kv}/data/+"), "read") + &rule("+/data/web", "deny"),
        rule(&format!("{kv}/+/*"), "read") + &rule(&format!("{kv}/+/web"), "deny"),
        rule("+/+/web", "deny") + &rule("+/data/web", "read"),
        rule("*", "read"),
        rule(&format!("{kv}/data/web/"), "read"),
        rule(&format!("/{kv}/data/web"), "read"),
        format!("path \"{kv}/data/web\" {{ policy = \"read\" }}"),
    ] {
        vault.api.insist(
            "POST",
            &format!("/v1/sys/policies/acl/{}", vault.kv),
            &json!({"policy": policy}),
        );
        let refuses = |doctor: Doctor| {
            let seen = doctor.examine();
            let said = seen.findings.iter().find(|finding| finding.check == "vault-policy");
            let said = said.unwrap_or_else(|| panic!("{}", seen.story()));
            assert!(said.level == "ok" || said.level == "fault", "{}", seen.story());
            said.level == "fault"
        };
        let by_itself = refuses(Doctor::of(&namespace.name, &pod).with_token());
        let by_server = refuses(Doctor::of(&namespace.name, &pod).with_token().arg("--login"));
        assert_eq!(by_itself, by_server, "{policy}");
    }
}

#[test]
fn parameters_that_a_policy_refuses_are_told() {
    let namespace = Namespace::new("parameters");
    let vault = Vault::new(&namespace);
    let mount = vault.engine("pki", "issue/web", "update");
    vault.api.insist(
        "POST",
        &format!("/v1/{mount}/roles/web"),
        &json!({"allow_any_name": true}),
    );
    let rule =
        format!("path \"{mount}/issue/web\" {{ capabilities = [\"update\"] allowed_parameters = {{ \"ttl\" = [] }} }}");
    vault.api.insist(
        "POST",
        &format!("/v1/sys/policies/acl/{}", vault.kv),
        &json!({"policy": rule}),
    );
    let files = json!([{"secret": format!("{mount}/issue/web"), "data": {"common_name": "web.test"}, "file": "web"}]);
    let pod = merge(
        pod("web", "true"),
        &json!({"metadata": {"annotations": vault.annotations_of(&files)}}),
    );
    let seen = Doctor::of(&namespace.name, &pod).with_token().arg("--login").examine();
    let fault = seen.first_fault().unwrap_or_else(|| panic!("{}", seen.story()));
    assert!(
        fault.message.contains("allowed_parameters lack common_name"),
        "{}",
        seen.story()
    );
}
