//! The state and the version of the server.

use serde_json::Value;

use super::command::ServerCommand;
use super::environment::Environment;
use super::wire::{Answer, shown};
use crate::cli::doctor::finding::Findings;
use crate::plan::Plan;

/// Inline authentication exists from this version of OpenBao on: <https://openbao.org/docs/auth/#inline-authentication>.
const INLINE_FROM: (u64, u64) = (2, 4);

/// Whether the server works. None: it answers no further request.
pub(super) fn check(
    health: &Answer,
    plan: &Plan,
    environment: &Environment,
    findings: &mut Findings,
) -> Option<ServerCommand> {
    let is = |field: &str| health.body[field] == Value::Bool(true);
    let version = shown(health.body["version"].as_str().unwrap_or("of an unknown version"));
    let is_openbao = is_openbao(&health.body);
    let namespace = plan
        .connection
        .namespace
        .as_ref()
        .map(|namespace| namespace.as_str().to_owned());
    let command = ServerCommand {
        is_openbao,
        without_namespace_variable: namespace.is_none() && environment.namespace.is_some(),
        namespace,
    };
    let program = if is_openbao { "bao" } else { "vault" };
    if !is("initialized") {
        let message = "the server is not initialised: it has no keys and no data yet. Who keeps the keys, decide before you run `operator init`";
        findings.fault("vault-seal", message, Some(format!("{program} operator init -status")));
        return None;
    }
    if is("sealed") {
        let message = "the server is sealed: pods wait until it is unsealed";
        findings.fault("vault-seal", message, Some(format!("{program} operator unseal")));
        return None;
    }
    let product = if is_openbao { "OpenBao" } else { "Vault" };
    let standby = if is("standby") {
        ", a standby, which forwards requests"
    } else {
        ""
    };
    findings.ok("vault-seal", format!("{product} {version} is unsealed{standby}"));
    check_inline(plan, is_openbao, &version, findings);
    Some(command)
}

fn check_inline(plan: &Plan, is_openbao: bool, version: &str, findings: &mut Findings) {
    let of_pod = plan.login.as_ref().is_some_and(|login| login.inline);
    let of_job = plan.job.as_ref().and_then(|job| job.login.as_ref());
    if !of_pod && !of_job.is_some_and(|login| login.inline) {
        return;
    }
    if is_openbao && number(version).is_some_and(|version| version >= INLINE_FROM) {
        findings.ok(
            "vault-version",
            "the server knows inline authentication, which the connection wants",
        );
        return;
    }
    let message = format!(
        "the connection {} has inline: true, which OpenBao knows from 2.4 on and Vault does not: each pod sends one request in vain. Set inline: false",
        plan.connection.name
    );
    findings.warning("vault-version", message, None);
}

/// Vault's answer has the field `enterprise` since 1.17. OpenBao's answer does not. OpenBao begins with 2.0.
fn is_openbao(health: &Value) -> bool {
    let version = health["version"].as_str().and_then(number);
    health.get("enterprise").is_none() && version.is_some_and(|(major, _)| major >= 2)
}

fn number(version: &str) -> Option<(u64, u64)> {
    let mut numbers = version.trim_start_matches('v').split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::doctor::finding::Level;

    #[test]
    fn vault_and_openbao_are_told_apart() {
        assert!(is_openbao(&json!({"version": "2.7.2"})));
        assert!(!is_openbao(&json!({"version": "1.15.2+ent"})));
        assert!(!is_openbao(&json!({"version": "2.0.1", "enterprise": false})));
        assert!(!is_openbao(&json!({"version": 7})));
        assert_eq!(number("2.10.0-beta1"), Some((2, 10)));
    }

    #[test]
    fn inline_authentication_that_the_server_does_not_know_earns_a_warning() {
        let plan = |connection: &str| -> Plan {
            let plan = format!(
                r#"{{"version": 1, "connection": {{"name": "default", "address": "https://vault:8200"}}, "budget": "1m", "files": [], "login": {connection}}}"#
            );
            serde_json::from_str(&plan).unwrap()
        };
        let inline = plan(r#"{"role": "web", "mount": "kubernetes", "method": "kubernetes", "inline": true}"#);
        let with_a_token = plan(r#"{"role": "web", "mount": "kubernetes", "method": "kubernetes"}"#);
        let found = |plan: &Plan, is_openbao: bool, version: &str| {
            let mut findings = Findings::default();
            check_inline(plan, is_openbao, version, &mut findings);
            findings.all().iter().map(|finding| finding.level).collect::<Vec<_>>()
        };
        assert_eq!(found(&inline, true, "2.7.2"), [Level::Ok]);
        assert_eq!(found(&inline, true, "2.3.1"), [Level::Warning]);
        assert_eq!(found(&inline, false, "1.20.0"), [Level::Warning]);
        assert_eq!(found(&with_a_token, false, "1.20.0"), []);
    }

    #[test]
    fn a_server_that_is_sealed_or_new_says_what_to_run() {
        let plan = r#"{"version": 1, "connection": {"name": "default", "address": "https://vault:8200"}, "budget": "1m", "files": []}"#;
        let plan: Plan = serde_json::from_str(plan).unwrap();
        let environment = Environment {
            address: None,
            unusable_address: None,
            token: None,
            ca: None,
            server_name: None,
            namespace: None,
        };
        for (health, command) in [
            (
                json!({"initialized": false, "sealed": true, "version": "2.7.2"}),
                Some("bao operator init -status"),
            ),
            (
                json!({"initialized": true, "sealed": true, "version": "2.7.2"}),
                Some("bao operator unseal"),
            ),
            (
                json!({"initialized": true, "sealed": true, "version": "1.20.0"}),
                Some("vault operator unseal"),
            ),
            (
                json!({"initialized": true, "sealed": false, "standby": true, "version": "2.7.2"}),
                None,
            ),
        ] {
            let mut findings = Findings::default();
            let answer = Answer {
                status: 503,
                body: health,
            };
            let server = check(&answer, &plan, &environment, &mut findings);
            assert_eq!(server.is_some(), command.is_none());
            assert_eq!(findings.all()[0].command.as_deref(), command);
        }
    }
}
