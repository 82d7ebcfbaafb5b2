//! Vault's half of the doctor: whether the server, its auth method, role, policies and secrets let the pod have what its plan asks
//! for. Nothing is written but a login, and only with `--login`; no secret's value is read.

mod acl;
mod command;
mod environment;
mod examination;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod glob;
mod hcl;
mod job;
mod knock;
mod kubernetes_config;
mod kubernetes_role;
mod life;
mod login;
mod mount;
mod order;
mod paths;
mod policies;
mod reach;
mod role;
mod role_create;
mod role_data;
mod role_jwt;
mod secrets;
mod server;
mod stop;
mod tls;
mod user_way;
mod wanted;
mod wire;

use std::path::PathBuf;
use std::time::Duration;

use self::environment::Environment;
use self::examination::Examination;
pub(super) use self::examination::is_role_name;
use self::stop::Stop;
use super::finding::Findings;
use super::situation::Situation;

/// Examines the server of the pod's plan, at most this long. Gives whether the user interrupted the checks.
pub(super) async fn check(
    situation: &Situation,
    workflows: &[PathBuf],
    limit: Duration,
    findings: &mut Findings,
) -> bool {
    let Some(pod) = &situation.pod else {
        let is_missing = findings.all().iter().any(|finding| finding.check == "pod");
        let message = match is_missing {
            true => "Vault: the pod cannot be seen, so its server and role are not known",
            false => "Vault: name a pod, or a manifest with -f",
        };
        findings.unseen("vault", message, None);
        return false;
    };
    let Some(plan) = &pod.plan else {
        let message = format!(
            "Vault: {} has no plan of podkey, so its server and role are not known",
            pod.name
        );
        findings.unseen("vault", message, None);
        return false;
    };
    // A second installation in one process changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let environment = Environment::read();
    job::check_workflows(plan, workflows, findings);
    let stop = Stop::new(limit, situation.login);
    let reaching = async {
        let ways = reach::check(&plan.connection, &environment, findings).await;
        let server = server::check(&ways.anonymous()?.health, plan, &environment, findings)?;
        let user = examination::user(ways.of_user.as_ref(), plan, &environment, &server, findings).await;
        // The borrowed callers are made again below.
        let has_user = user.is_some();
        drop(user);
        Some((ways, server, has_user))
    };
    if let Some(Some((ways, server, has_user))) = stop.or(reaching).await
        && let Some(reached) = ways.anonymous()
    {
        let user = ways.of_user.as_ref().filter(|_| has_user);
        let examination = Examination {
            situation,
            pod,
            plan,
            server,
            anonymous: examination::anonymous(&reached.wire, plan),
            user: user.map(|way| examination::anonymous(&way.wire, plan).with_token(environment.token.clone())),
        };
        examination.run(&stop, findings).await;
    }
    stop.tell(findings)
}
