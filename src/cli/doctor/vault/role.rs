//! The role of a login: whether the role exists, and what the tokens of the role are like.

use std::net::IpAddr;

use vaultrs::api::auth::kubernetes::requests::ReadKubernetesRoleRequest;
use vaultrs::api::auth::oidc::requests::ReadRoleRequest;

use super::examination::{Examination, PlannedLogin, Subject};
use super::role_data::{CHECK, Role};
use super::wanted::Wanted;
use super::wire::shown;
use super::{kubernetes_role, role_create, role_jwt};
use crate::cli::doctor::finding::Findings;
use crate::cli::doctor::situation::text;
use crate::plan::AuthMethod;
use crate::text::nearest;

/// Reads and checks the role. None: the role cannot be seen, or there is none.
pub(super) async fn check(
    examination: &Examination<'_>,
    login: &PlannedLogin,
    findings: &mut Findings,
) -> Option<Role> {
    let user = examination.user.as_ref()?;
    if !login.has_role_name() {
        let message = format!(
            "the role {:?} of the pod has a name that no role can have",
            shown(&login.role)
        );
        findings.fault(CHECK, message, None);
        return None;
    }
    let (mount, name) = (login.mount.clone(), login.role.clone());
    let answer = match login.method {
        AuthMethod::Kubernetes => user.ask(ReadKubernetesRoleRequest { mount, name }).await,
        AuthMethod::Jwt => user.ask(ReadRoleRequest { mount, name }).await,
    };
    match answer {
        Ok(answer) if answer.is_good() && answer.data().is_object() => {
            let role = Role(answer.data().clone());
            let before = findings.all().len();
            match login.method {
                AuthMethod::Kubernetes => kubernetes_role::check(examination, login, &role, findings).await,
                AuthMethod::Jwt => role_jwt::check(examination, login, &role, findings),
            }
            check_batch(examination, login, &role, findings);
            check_addresses(examination, login, &role, findings);
            if findings.all().len() == before {
                findings.ok(
                    CHECK,
                    format!("the role {} fits {}", login.role, examination.who(login)),
                );
            }
            Some(role)
        }
        Ok(answer) if answer.status == 404 => {
            missing(examination, login, findings).await;
            None
        }
        _ => {
            let path = login.role_path();
            let message = format!("the role {}: a policy of your token lacks `read` on {path}", login.role);
            findings.unseen(CHECK, message, None);
            None
        }
    }
}

async fn missing(examination: &Examination<'_>, login: &PlannedLogin, findings: &mut Findings) {
    let roles = match &examination.user {
        Some(user) => user
            .list(&format!("auth/{}/role", login.mount))
            .await
            .unwrap_or_default(),
        None => Vec::new(),
    };
    let near = nearest(&login.role, roles.iter().map(String::as_str));
    let near = near.map_or_else(String::new, |near| format!("; the nearest role is {}", shown(near)));
    let message = format!("auth/{} has no role {}{near}", login.mount, login.role);
    let create = role_create::create(examination, login).await;
    findings.fault(CHECK, message, create);
}

fn check_batch(examination: &Examination<'_>, login: &PlannedLogin, role: &Role, findings: &mut Findings) {
    let refreshes = login.subject == Subject::Account && examination.plan.refresh.is_some();
    if refreshes && matches!(role.text("token_type"), "batch" | "default-batch") {
        let message = format!(
            "the role {} gives batch tokens, which nobody can renew: with refresh, the sidecar logs in anew each time, and leases end with the token; token_type=service has tokens that can be renewed",
            login.role
        );
        findings.warning(CHECK, message, Some(login.show(examination)));
    }
}

fn check_addresses(examination: &Examination<'_>, login: &PlannedLogin, role: &Role, findings: &mut Findings) {
    let cidrs = role.list("token_bound_cidrs");
    if cidrs.is_empty() {
        return;
    }
    let listed = shown(&cidrs.join(", "));
    // The API server's copy of the pod has no address.
    match text(&examination.pod.written, "/status/podIP").parse::<IpAddr>() {
        Ok(ip) if login.subject == Subject::Account && !cidrs.iter().any(|cidr| contains(cidr, ip)) => {
            let message = format!(
                "the role {} takes logins from {listed} alone (token_bound_cidrs), and the pod has the address {ip}: each login fails, unless the network gives the server another address (SNAT). Add the addresses of the pods as the server sees them",
                login.role
            );
            findings.warning(CHECK, message, Some(login.show(examination)));
        }
        Ok(_) => {}
        Err(_) => {
            let message = format!(
                "whether the pod's address is in token_bound_cidrs of the role {}: {listed}",
                login.role
            );
            findings.unseen(CHECK, message, None);
        }
    }
}

/// Whether the address is in the block, such as `10.0.0.0/8`, or is the address.
fn contains(cidr: &str, ip: IpAddr) -> bool {
    let (base, length) = cidr.split_once('/').unwrap_or((cidr, "128"));
    let bits = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => (u128::from(ip.to_bits()) << 96, 32),
        IpAddr::V6(ip) => (ip.to_bits(), 128),
    };
    let (Ok(base), Ok(length)) = (base.parse::<IpAddr>(), length.parse::<u32>()) else {
        return false;
    };
    let ((base_bits, width), (ip_bits, _)) = (bits(base), bits(ip));
    let mask = match length.min(width) {
        0 => 0,
        length => u128::MAX << (128 - length),
    };
    base.is_ipv4() == ip.is_ipv4() && base_bits & mask == ip_bits & mask
}

/// Whether the tokens have enough uses.
pub(super) fn check_uses(
    examination: &Examination<'_>,
    login: &PlannedLogin,
    role: Option<&Role>,
    wanted: &[Wanted],
    findings: &mut Findings,
) {
    let Some(role) = role else { return };
    let uses = role.number("token_num_uses");
    if uses == 0 {
        return;
    }
    let with_lease = u64::from(wanted.iter().any(Wanted::may_have_lease));
    let needed = wanted.len() as u64 + with_lease;
    let refresh = login.subject == Subject::Account && examination.plan.refresh.is_some();
    let why = match refresh {
        true => "podkey refuses such a role with refresh".to_owned(),
        false if uses < needed => format!("the pod needs {needed}"),
        false => return,
    };
    let message = format!(
        "the tokens of the role {} have {uses} uses (token_num_uses), and {why}",
        login.role
    );
    let command = login.change(examination, role, &["token_num_uses=0".to_owned()]);
    findings.fault(CHECK, message, Some(command));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_their_blocks() {
        let is = |cidr: &str, ip: &str| contains(cidr, ip.parse().unwrap());
        assert!(is("10.0.0.0/8", "10.244.0.7"));
        assert!(!is("10.0.0.0/8", "11.0.0.1"));
        assert!(is("10.1.2.3", "10.1.2.3"));
        assert!(!is("10.1.2.3", "10.1.2.4"));
        assert!(is("0.0.0.0/0", "10.1.2.4"));
        assert!(!is("0.0.0.0/0", "::1"));
        assert!(is("fd00::/8", "fd12::1"));
        assert!(!is("x/8", "10.0.0.1"));
    }
}
