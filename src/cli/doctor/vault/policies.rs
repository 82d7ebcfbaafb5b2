//! What the role's policies let the token do, by the capabilities that the server computes.

use serde_json::{Map, Value, json};

use super::acl::{Acl, Permissions};
use super::examination::{Examination, PlannedLogin, Subject};
use super::hcl;
use super::login::Session;
use super::paths::Located;
use super::role_data::{Role, with_own_policy};
use super::wire::{Answer, shown, texts};
use crate::cli::doctor::finding::Findings;

const CHECK: &str = "vault-policy";
const RENEW: &str = "auth/token/renew-self";
const REVOKE: &str = "auth/token/revoke-self";
const RENEW_LEASE: &str = "sys/leases/renew";

pub(super) async fn check(
    examination: &Examination<'_>,
    login: &PlannedLogin,
    role: Option<&Role>,
    session: Option<&Session>,
    located: &[Located],
    findings: &mut Findings,
) {
    let policies = policies(role, session);
    let absent = absent(examination, &policies).await;
    match session {
        Some(session) => {
            let acl = acl(examination, role, &policies).await;
            let asked: Vec<&str> = located.iter().map(|located| located.wanted.path.as_str()).collect();
            let capabilities = capabilities(examination, session, &asked).await;
            match capabilities {
                Some(capabilities) => {
                    let allowed = Allowed {
                        login,
                        role,
                        policies: &policies,
                        absent: &absent,
                        acl: acl.as_ref(),
                        located,
                    };
                    allowed.check_paths(examination, &capabilities, findings).await;
                    check_own_token(examination, &allowed, &capabilities, findings);
                }
                None => {
                    let message = "what the token may do: it may not ask sys/capabilities-self, which the policy `default` allows";
                    findings.unseen(CHECK, message, None);
                }
            }
        }
        None => {
            if let Some(role) = role {
                let acl = acl(examination, Some(role), &policies).await;
                let allowed = Allowed {
                    login,
                    role: Some(role),
                    policies: &policies,
                    absent: &absent,
                    acl: acl.as_ref(),
                    located,
                };
                allowed.check_without_session(examination, findings).await;
            }
        }
    }
    let writes = located.iter().any(|located| located.wanted.written.is_some());
    if let (true, Some(acl)) = (writes, acl(examination, role, &policies).await) {
        check_parameters(examination, login, located, &acl, findings);
    }
    if let Some(name) = absent.first() {
        let message = format!(
            "the role {} has the policy {}, which does not exist",
            login.role,
            shown(name)
        );
        findings.warning(CHECK, message, Some(examination.server.line("policy list", [""; 0])));
    }
}

/// The policies of the role, without `default`.
fn policies(role: Option<&Role>, session: Option<&Session>) -> Vec<String> {
    let mut policies = match (role, session) {
        (Some(role), _) => role.list("token_policies"),
        (None, Some(session)) => session.policies.clone(),
        (None, None) => Vec::new(),
    };
    policies.retain(|policy| policy != "default");
    policies
}

/// The policies that do not exist, as far as the user's token sees.
async fn absent(examination: &Examination<'_>, policies: &[String]) -> Vec<String> {
    let Some(user) = &examination.user else {
        return Vec::new();
    };
    let mut absent = Vec::new();
    // A role has a few policies.
    for policy in policies.iter().take(32).filter(|policy| !policy.contains("{{")) {
        let answer = user.read(&format!("sys/policies/acl/{policy}")).await;
        if answer.is_ok_and(|answer| answer.status == 404) {
            absent.push(policy.clone());
        }
    }
    absent
}

/// <https://openbao.org/api-docs/system/capabilities-self/>. The user's token may ask for a token whose uses are limited, or which may
/// not ask itself.
async fn capabilities(examination: &Examination<'_>, session: &Session, paths: &[&str]) -> Option<Map<String, Value>> {
    let mut paths = paths.to_vec();
    paths.extend([RENEW, REVOKE, RENEW_LEASE]);
    let of = |answer: Answer| match (answer.is_good(), answer.data()) {
        (true, Value::Object(data)) => Some(data.clone()),
        _ => None,
    };
    if let (Some(user), Some(accessor)) = (&examination.user, session.accessor()) {
        let body = json!({"accessor": accessor, "paths": paths});
        let by_user = user.write("sys/capabilities-accessor", body).await;
        if let Some(capabilities) = by_user.ok().and_then(of) {
            return Some(capabilities);
        }
    }
    let body = json!({ "paths": paths });
    let itself = session.caller(examination).write("sys/capabilities-self", body).await;
    itself.ok().and_then(of)
}

/// What the policies of a role must allow, and what is known of them.
struct Allowed<'a> {
    login: &'a PlannedLogin,
    role: Option<&'a Role>,
    policies: &'a [String],
    /// Those of the policies that do not exist.
    absent: &'a [String],
    /// None: the doctor cannot read the policies, or only the server can evaluate them.
    acl: Option<&'a Acl>,
    located: &'a [Located],
}

impl Allowed<'_> {
    async fn check_paths(
        &self,
        examination: &Examination<'_>,
        capabilities: &Map<String, Value>,
        findings: &mut Findings,
    ) {
        let may = |path: &str, any: &[&str]| {
            let granted = capabilities.get(path).map(texts).unwrap_or_default();
            granted
                .iter()
                .any(|granted| granted == "root" || any.contains(&granted.as_str()))
        };
        let missing = self.located.iter();
        let missing = missing.filter(|located| !may(&located.wanted.path, located.capabilities()));
        self.report(examination, &missing.collect::<Vec<_>>(), findings).await;
    }

    /// What the role's policies say, where nobody has logged in.
    async fn check_without_session(&self, examination: &Examination<'_>, findings: &mut Findings) {
        let Some(acl) = self.acl else {
            let message = format!(
                "what the policies of the role {} allow: they cannot be read, or only the server can evaluate them",
                self.login.role
            );
            findings.unseen(CHECK, message, None);
            return;
        };
        let missing = self.located.iter().filter(|located| {
            let rule = acl.at(&located.wanted.path);
            !rule.is_some_and(|rule| rule.may(located.capabilities()))
        });
        self.report(examination, &missing.collect::<Vec<_>>(), findings).await;
    }

    /// One finding for all paths.
    async fn report(&self, examination: &Examination<'_>, missing: &[&Located], findings: &mut Findings) {
        let role = &self.login.role;
        if missing.is_empty() {
            if !self.located.is_empty() {
                findings.ok(
                    CHECK,
                    format!("the policies of the role {role} allow every path of the pod"),
                );
            }
            return;
        }
        let rules: Vec<(String, &'static str)> = missing.iter().map(|located| located.rule()).collect();
        let listed: Vec<String> = rules
            .iter()
            .map(|(path, rule)| format!("`{}` on {path}", rule.replace('"', "").replace("create, ", "")))
            .collect();
        let message = format!("no policy of the role {role} allows {}", listed.join(", "));
        let denied = |located: &&&Located| {
            let rule = self.acl.and_then(|acl| acl.at(&located.wanted.path));
            rule.is_some_and(Permissions::is_denied)
        };
        if let Some(located) = missing.iter().find(denied) {
            let message = format!(
                "{message}: a rule with `deny` decides about {}. Whether the pod may have it, the author of that rule decides",
                located.wanted.path
            );
            findings.fault(CHECK, message, None);
            return;
        }
        let command = match self.acl {
            Some(_) => self.allow(examination, &rules).await,
            None => None,
        };
        findings.fault(CHECK, message, command);
    }

    /// The command that allows the paths: in the role's first policy, or in a new one.
    async fn allow(&self, examination: &Examination<'_>, rules: &[(String, &'static str)]) -> Option<String> {
        if let Some(policy) = self.policies.first() {
            let exists = !self.absent.contains(policy);
            return Some(examination.server.add_to_policy(policy, rules, exists));
        }
        let (policy, command) = with_own_policy(examination, self.login, rules).await?;
        let fields = [format!("token_policies={policy}")];
        let change = self.login.change(examination, self.role?, &fields);
        Some(format!("{command} && {change}"))
    }
}

/// Whether the token may renew and revoke itself, and renew its leases.
fn check_own_token(
    examination: &Examination<'_>,
    allowed: &Allowed<'_>,
    capabilities: &Map<String, Value>,
    findings: &mut Findings,
) {
    let login = allowed.login;
    let refreshes = login.subject == Subject::Account && examination.plan.refresh.is_some();
    let has_leases = allowed.located.iter().any(|located| located.wanted.may_have_lease());
    let needed = [
        (REVOKE, true),
        (RENEW, refreshes),
        (RENEW_LEASE, refreshes && has_leases),
    ];
    let missing: Vec<&str> = needed
        .iter()
        .filter(|(path, needed)| {
            let granted = capabilities.get(*path).map(texts).unwrap_or_default();
            *needed && !granted.iter().any(|granted| granted == "update" || granted == "root")
        })
        .map(|(path, _)| *path)
        .collect();
    if missing.is_empty() {
        return;
    }
    let message = format!(
        "the token of the role {} may not write {}: podkey cannot {} it",
        login.role,
        missing.join(", "),
        if missing.contains(&RENEW) { "renew" } else { "revoke" }
    );
    let rules: Vec<_> = missing.iter().map(|path| ((*path).to_owned(), r#""update""#)).collect();
    // The policy `default` is everybody's, and stays as it is.
    let own = allowed.policies.iter().find(|policy| !allowed.absent.contains(policy));
    let command = own.map(|policy| examination.server.add_to_policy(policy, &rules, true));
    findings.warning("vault-refresh", message, command);
}

/// The rules of all policies, as far as the user's token may read them. None: some of them are not known.
async fn acl(examination: &Examination<'_>, role: Option<&Role>, policies: &[String]) -> Option<Acl> {
    let user = examination.user.as_ref()?;
    let with_default = !role.is_some_and(|role| role.is("token_no_default_policy"));
    let default = with_default.then_some("default");
    let mut acl = Acl::default();
    for policy in policies.iter().map(String::as_str).chain(default) {
        let answer = user.read(&format!("sys/policies/acl/{policy}")).await.ok()?;
        if answer.status == 404 {
            continue;
        }
        let text = answer.data()["policy"].as_str()?;
        match hcl::rules(text) {
            Some(rules) => rules.into_iter().for_each(|rule| acl.add(rule)),
            // The default policy has templates, for the identity's own paths alone.
            None if policy == "default" && text.contains("{{identity") => {}
            None => return None,
        }
    }
    Some(acl)
}

/// Whether the rules let the pod write what it writes: the server's capabilities say nothing of parameters.
fn check_parameters(
    examination: &Examination<'_>,
    login: &PlannedLogin,
    located: &[Located],
    acl: &Acl,
    findings: &mut Findings,
) {
    for located in located {
        let Some(data) = &located.wanted.written else { continue };
        let rule = acl
            .at(&located.wanted.path)
            .filter(|rule| rule.may(located.capabilities()));
        if let Some(why) = rule.and_then(|rule| rule.refuses(data)) {
            let message = format!(
                "a policy of the role {} allows to write {}, but not with the pod's `data`: {}",
                login.role,
                located.wanted.path,
                shown(&why)
            );
            let command = examination.server.line("policy list", [""; 0]);
            findings.fault(CHECK, message, Some(command));
        }
    }
}
