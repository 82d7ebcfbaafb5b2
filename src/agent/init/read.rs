//! The login and the reads of `init`, and rendering everything in memory.

use std::time::Duration;

use super::refreshed::SidecarShare;
use super::{InitProgress, terminated};
use crate::agent::Runtime;
use crate::agent::delivery::{Answers, Order, RenderedOrder};
use crate::agent::exec;
use crate::agent::handover::boot_time;
use crate::agent::kubelet_env;
use crate::agent::process::Stopwatch;
use crate::agent::report::{Failure, RunStage};
use crate::plan::{ApiPath, Login, Plan};
use crate::secret::Secret;
use crate::vault::{LoginToken, Session, Vault, log_why_session};

/// Everything that `init` delivers.
pub(super) struct InitRead {
    pub rendered: RenderedOrder,
    /// The kubelet's file of variables, if the kubelet sets them.
    pub kubelet_file: Option<Secret>,
    /// What the sidecar needs, if the plan has a refresh.
    pub share: Option<SidecarShare>,
}

/// Logs in, reads every secret, and renders every file and variable. A plan in which only the job reads has no login.
pub(super) async fn read_and_render(
    plan: &Plan,
    vault: &Vault,
    runtime: &Runtime,
    progress: &InitProgress,
) -> Result<InitRead, Failure> {
    let Some(login) = &plan.login else {
        return Ok(InitRead {
            rendered: RenderedOrder::default(),
            kubelet_file: None,
            share: None,
        });
    };
    let order = Order::of_pod(plan);
    let Read {
        answers,
        session,
        begun,
    } = read(plan, login, &order, vault, runtime, progress).await?;

    progress.stage.set(RunStage::Render);
    let watch = Stopwatch::start();
    let rendered = order.render(&answers, session)?;
    rendered.check_field_files(plan)?;
    let share = plan
        .refresh
        .as_ref()
        .and(session)
        .map(|session| SidecarShare::new(begun, &order, &answers, session));
    if share.is_none() {
        answers.warn_of_ends(session);
    }
    let bytes: usize = rendered.files.iter().map(|file| file.bytes.len()).sum();
    tracing::info!(
        files = rendered.files.len(),
        variables = rendered.variables.len(),
        bytes,
        took_ms = watch.ms(),
        "rendered"
    );
    if plan.exec {
        let mut variables = rendered.variables.iter();
        variables.try_for_each(|variable| exec::check(&variable.name, &variable.value))?;
    }
    let variables = rendered.variables.iter();
    let variables = variables.map(|variable| (variable.name.as_str(), &variable.value));
    let kubelet_file = plan.kubelet_env.then(|| kubelet_env::render(variables)).transpose()?;
    Ok(InitRead {
        rendered,
        kubelet_file,
        share,
    })
}

/// Every secret, as `init` read it.
struct Read<'p> {
    answers: Answers,
    /// None: the secrets were read without a client token.
    session: Option<&'p Session>,
    /// When the reads began ([`boot_time`]).
    begun: Duration,
}

/// Reads every secret: without a client token where the connection wants that and it serves, or else with a session.
async fn read<'p>(
    plan: &Plan,
    login: &Login,
    order: &Order<'_, ApiPath>,
    vault: &Vault,
    runtime: &Runtime,
    progress: &'p InitProgress,
) -> Result<Read<'p>, Failure> {
    let token_file = runtime.paths.token_file();
    let inline = reads_inline(plan, login).then_some((login, LoginToken::File(&token_file)));
    let (mut watch, mut begun) = (Stopwatch::start(), boot_time());
    let log_in = async || {
        let session = log_in(plan, login, vault, runtime, progress).await?;
        (watch, begun) = (Stopwatch::start(), boot_time());
        Ok(session)
    };
    let (answers, session) = order.read(vault, inline, &progress.stage, log_in).await?;
    tracing::info!(secrets = answers.len(), took_ms = watch.ms(), "read");
    Ok(Read {
        answers,
        session,
        begun,
    })
}

/// Whether to try without a client token first.
fn reads_inline(plan: &Plan, login: &Login) -> bool {
    if !login.inline {
        return false;
    }
    let needs_token = match (&plan.refresh, &plan.token_file) {
        (Some(_), _) => Some("the sidecar needs a client token"),
        (_, Some(_)) => Some("the containers are to have a client token"),
        _ => None,
    };
    if let Some(why) = needs_token {
        log_why_session(why);
        return false;
    }
    tracing::info!(
        connection = plan.connection.name,
        address = %plan.connection.address,
        namespace = plan.connection.namespace.as_ref().map(tracing::field::display),
        mount = %login.mount,
        role = %login.role,
        "reading with inline authentication"
    );
    true
}

async fn log_in<'p>(
    plan: &Plan,
    login: &Login,
    vault: &Vault,
    runtime: &Runtime,
    progress: &'p InitProgress,
) -> Result<&'p Session, Failure> {
    let watch = Stopwatch::start();
    let token_file = runtime.paths.token_file();
    let session = vault
        .login(login, LoginToken::File(&token_file), &progress.stop)
        .await?;
    // From here on the end of the run finds the session, and revokes the token.
    let session = progress.session.get_or_init(|| session);
    tracing::info!(
        connection = plan.connection.name,
        address = %plan.connection.address,
        namespace = plan.connection.namespace.as_ref().map(tracing::field::display),
        mount = %login.mount,
        role = %login.role,
        accessor = session.accessor,
        ttl_s = session.ttl.as_secs(),
        policies = session.policies.join(","),
        took_ms = watch.ms(),
        "logged in"
    );
    if progress.stop.is_requested() {
        // The report names the signal, not this failure.
        return Err(terminated("a signal", false));
    }
    if plan.refresh.is_some() {
        super::refreshed::check_token(session)?;
    }
    Ok(session)
}
