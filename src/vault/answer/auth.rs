//! The answer to a login.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::warnings::{log_once, warnings};
use super::{AuthBlock, WRAPPED, envelope, object, refused};
use crate::http::{clean, redact};
use crate::secret::Secret;
use crate::vault::error_response::Meaning;
use crate::vault::failed_try::FailedTry;
use crate::vault::transport::ApiResponse;

/// How many policies, and how many MFA enforcements, are kept.
const MAX_POLICIES: usize = 32;
const MAX_ENFORCEMENTS: usize = 5;

/// What a login gives.
#[derive(Debug)]
pub(in crate::vault) struct Auth {
    pub(in crate::vault) client_token: Secret,
    pub(in crate::vault) accessor: String,
    pub(in crate::vault) policies: Vec<String>,
    pub(in crate::vault) ttl: Duration,
    pub(in crate::vault) renewable: bool,
    /// A batch token cannot be revoked.
    pub(in crate::vault) batch: bool,
    /// How often the client token may be used; 0 means no limit.
    pub(in crate::vault) uses: u64,
}

/// Reads the answer to a login.
pub(in crate::vault) fn auth(answer: &ApiResponse) -> Result<Auth, FailedTry> {
    let envelope = envelope(&answer.http.body)?;
    let Some(block) = envelope.auth else {
        return Err(FailedTry::malformed(match envelope.wrap_info {
            Some(_) => WRAPPED,
            None => "it has no auth block",
        }));
    };
    let block: AuthBlock<'_> =
        object(block.get()).ok_or_else(|| FailedTry::malformed("its auth block is not readable"))?;
    let token = match block.client_token {
        Some(token) if !token.is_empty() => token,
        _ => {
            return Err(match block.mfa_requirement {
                Some(requirement) => second_factor(requirement, answer),
                None => FailedTry::malformed("it has no client token"),
            });
        }
    };
    if !token.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(FailedTry::malformed(
            "its client token has characters that no token has",
        ));
    }
    let client_token = Secret::from(token.into_owned().into_bytes());
    let mut confidential = answer.confidential.clone();
    confidential.push(client_token.clone());
    log_once(&warnings(&envelope, &confidential), "the login");
    let shown = |text: &str| clean(&redact(text, &confidential), 128);
    let policies = block.token_policies.or(block.policies).unwrap_or_default();
    Ok(Auth {
        client_token,
        accessor: shown(&block.accessor.unwrap_or_default()),
        policies: policies.iter().take(MAX_POLICIES).map(|policy| shown(policy)).collect(),
        ttl: Duration::from_secs(block.lease_duration.unwrap_or(0)),
        renewable: block.renewable.unwrap_or(false),
        batch: block.token_type.is_some_and(|token_type| token_type == "batch"),
        uses: block.num_uses.unwrap_or(0),
    })
}

/// The login is subject to login MFA: names the enforcements. <https://openbao.org/docs/auth/login-mfa/>
fn second_factor(requirement: &RawValue, answer: &ApiResponse) -> FailedTry {
    #[derive(Deserialize)]
    struct MfaRequirement<'a> {
        #[serde(borrow, default)]
        mfa_constraints: Option<BTreeMap<String, &'a RawValue>>,
    }
    let constraints = object::<MfaRequirement<'_>>(requirement.get())
        .and_then(|requirement| requirement.mfa_constraints)
        .unwrap_or_default();
    let names = constraints.keys().take(MAX_ENFORCEMENTS);
    let names = names.map(|name| clean(&redact(name, &answer.confidential), 128));
    refused(answer, Meaning::SecondFactor(names.collect()))
}
