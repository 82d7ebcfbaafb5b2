//! The user's own way to the server: `VAULT_ADDR`, with the name and the authorities that the user's variables say.

use super::environment::Environment;
use super::knock::{Reached, Unreachable, Unreached, host_header, is_vault, knock, reachable};
use super::tls::{Door, TlsProblem, causes, problem};
use crate::cli::doctor::finding::Findings;
use crate::plan::Address;

/// As the user's own command line does it. Nothing here comes from the plan.
pub(super) async fn reach(address: &Address, environment: &Environment, findings: &mut Findings) -> Option<Reached> {
    const CHECK: &str = "vault-address";
    let rest = "what needs your token is not checked";
    let dialled = match reachable(address).await {
        Ok(dialled) => dialled,
        Err(Unreachable::Closed(why) | Unreachable::NotFromHere(why)) => {
            findings.unseen(CHECK, format!("your VAULT_ADDR: {why}; {rest}"), None);
            return None;
        }
    };
    let door = Door {
        tls: address.is_tls(),
        address: dialled,
        name: environment.server_name.as_deref().unwrap_or_else(|| address.host()),
        ca: environment.ca.as_deref(),
    };
    let why = match knock(&door, host_header(address)).await {
        Ok(reached) if is_vault(&reached) => {
            findings.ok(CHECK, format!("the server answers you at {address}"));
            return Some(reached);
        }
        Ok(reached) => format!(
            "the answer is not one of Vault or OpenBao: status {}",
            reached.health.status
        ),
        Err(Unreached::Settings(why)) => why,
        Err(Unreached::Request(error)) => match problem(&error) {
            Some(problem) => {
                let (why, set) = why_user(&problem, door.name);
                format!("{why}; {set}")
            }
            None => causes(&error),
        },
    };
    findings.unseen(CHECK, format!("your VAULT_ADDR {address}: {why}; {rest}"), None);
    None
}

/// Why TLS fails for the user, and what the user sets.
fn why_user(problem: &TlsProblem, name: &str) -> (String, &'static str) {
    let set_name = "set VAULT_TLS_SERVER_NAME to the name in its certificate";
    match problem {
        TlsProblem::UnknownAuthority => (
            "no authority that you trust signed the certificate".to_owned(),
            "set VAULT_CACERT to its authority",
        ),
        TlsProblem::WrongName { presented } if presented.is_empty() => {
            (format!("the certificate is not for {name}"), set_name)
        }
        TlsProblem::WrongName { presented } => (
            format!("the certificate is not for {name} but for {}", presented.join(", ")),
            set_name,
        ),
        TlsProblem::Expired => ("the certificate has expired".to_owned(), "the operator renews it"),
        TlsProblem::NotYetValid => ("the certificate is not valid yet".to_owned(), "look at the clock"),
        TlsProblem::NoTls => ("the server speaks no TLS there".to_owned(), "look at the address"),
        TlsProblem::Other(why) => (format!("TLS fails: {why}"), "look at the address"),
    }
}
