//! The secrets that the job reads for itself, with the token that GitHub gives it: Vault decides by the repository and by
//! what else the token says.

use std::path::Path;
use std::time::Duration;

use super::deliver::JobFile;
use super::{Hook, HookPlan, Progress};
use crate::agent::Clock;
use crate::agent::delivery::{Delivery, EnvOrder, FileOrder, Order, Variable};
use crate::agent::files::Rendered;
use crate::agent::outcome::Delivered;
use crate::agent::report::{Failure, RunStage};
use crate::job::facts::JobFacts;
use crate::job::placeholders::fill;
use crate::plan::{ApiPath, AuthMethod, Destination, ExitCode, JobLogin, Login, PathTemplate};
use crate::secret::Secret;
use crate::vault::{Credential, Deadline, IdTokenSource, Jwt, ProxyVariables, Vault};

/// What the job read.
#[derive(Default)]
pub(super) struct OwnSecrets {
    files: Vec<(Destination, Rendered)>,
    /// For the job's environment.
    pub variables: Vec<Variable>,
    /// What came from where.
    pub delivered: Vec<Delivered>,
    /// A secret lives only as long as the client token.
    pub leased: bool,
}

/// Asks GitHub for a token, logs in with it and reads everything, within the limit. The session is left for the caller to
/// end, however this ends.
pub(super) async fn read(
    hook: &Hook,
    it: &HookPlan,
    login: &JobLogin,
    facts: &JobFacts,
    limit: Duration,
    progress: &Progress,
) -> Result<OwnSecrets, Failure> {
    let deadline = Deadline::start(limit);
    progress.stage.set(RunStage::Login);
    let clock = Clock::start();
    let source = source(hook)?;
    let root = hook.root.as_deref().unwrap_or_else(|| Path::new("/"));
    let token = source.ask(login.audience.as_ref(), deadline, root).await?;
    let order = order(it, &token, facts)?;
    let vault = Vault::new(&it.plan.connection, deadline)?.correlated(&hook.job());
    let planned = Login {
        method: AuthMethod::Jwt,
        mount: login.mount.clone(),
        role: login.role.clone(),
    };
    let session = vault.login(&planned, Credential::Token(&token), &progress.stop).await?;
    // From here on whoever ends the run finds the session, to revoke it.
    let (vault, session) = progress.session.get_or_init(|| (vault, session));
    tracing::info!(
        mount = %login.mount,
        role = %login.role,
        accessor = session.accessor,
        ttl_s = session.ttl.as_secs(),
        policies = session.policies.join(","),
        took_ms = clock.ms(),
        "{}: logged in with GitHub's token",
        hook.job()
    );
    if progress.stop.is_asked() {
        // What is reported is why.
        return Err(Failure::new(ExitCode::Terminated, "the hook was stopped", ""));
    }
    progress.stage.set(RunStage::Read);
    let answers = order.read(vault, session).await?;
    progress.stage.set(RunStage::Render);
    let Delivery {
        files,
        variables,
        delivered,
        bound_to_token,
        ..
    } = order.render(&answers, session)?;
    answers.warn_of_ends(session);
    // Files come out in their order; one that was skipped and is seen in a directory does not come out at all.
    let destinations = |rendered: &Rendered| {
        let found = it.plan.placed_job_files().find(|(_, place)| *place == rendered.place);
        found.map(|(file, _)| file.file.clone())
    };
    let files = files
        .into_iter()
        .filter_map(|rendered| Some((destinations(&rendered)?, rendered)));
    Ok(OwnSecrets {
        files: files.collect(),
        variables,
        delivered,
        leased: bound_to_token,
    })
}

impl OwnSecrets {
    /// All of it, by name.
    pub(super) fn secrets(&self) -> impl Iterator<Item = (&str, &Secret)> {
        let files = self.files.iter().map(|(destination, rendered)| match destination {
            Destination::Absolute(path) | Destination::Relative(path) => (path.as_str(), &rendered.bytes),
            // No plan has one among the job's files.
            Destination::EachField(_) => ("", &rendered.bytes),
        });
        files.chain(
            self.variables
                .iter()
                .map(|variable| (variable.name.as_str(), &variable.value)),
        )
    }

    /// A file's content, if the job read it.
    pub(super) fn file(&self, file: &Destination) -> Option<&Secret> {
        let mut files = self.files.iter();
        files.find_map(|(known, rendered)| (known == file).then_some(&rendered.bytes))
    }

    /// The files to write.
    pub(super) fn files(&self) -> impl Iterator<Item = JobFile<'_>> {
        self.files.iter().map(|(destination, rendered)| JobFile {
            path: destination.path(),
            mode: rendered.mode,
            bytes: &rendered.bytes,
        })
    }
}

/// Where to ask, as the runner tells jobs that may.
fn source(hook: &Hook) -> Result<IdTokenSource, Failure> {
    let asked = |name: &str| hook.text(name).map(str::to_owned);
    let first = |names: [&str; 2]| names.into_iter().find_map(&asked);
    let (Some(url), Some(bearer)) = (
        asked("ACTIONS_ID_TOKEN_REQUEST_URL"),
        asked("ACTIONS_ID_TOKEN_REQUEST_TOKEN"),
    ) else {
        return Err(Failure::new(
            ExitCode::Denied,
            "the job may not ask GitHub for an ID token, and so cannot read the secrets that it is to read itself",
            "add this line to the job in its workflow, beside `runs-on`: `permissions: {id-token: write, contents: read}` (a \
             pull request from a fork never gets a token)",
        ));
    };
    Ok(IdTokenSource {
        url,
        bearer: Secret::from(bearer.into_bytes()),
        proxy: ProxyVariables {
            https_proxy: first(["https_proxy", "HTTPS_PROXY"]).map(|url| Secret::from(url.into_bytes())),
            no_proxy: first(["no_proxy", "NO_PROXY"]),
        },
    })
}

/// What the job reads, its paths filled in.
fn order<'a>(it: &'a HookPlan, token: &Jwt, facts: &JobFacts) -> Result<Order<'a, PathTemplate>, Failure> {
    let environment = token.claim("environment");
    let filled = |path: &PathTemplate| -> Result<ApiPath, Failure> {
        fill(path, facts, environment.as_deref())
            .map_err(|error| Failure::new(ExitCode::BadData, error.to_string(), format!("the path is {path}")))
    };
    let files = it.plan.placed_job_files();
    Ok(Order {
        files: files
            .map(|(file, place)| Ok(FileOrder::new(file, filled(&file.secret)?, place)))
            .collect::<Result<_, Failure>>()?,
        env: it
            .job
            .env
            .iter()
            .map(|env| Ok(EnvOrder::new(env, filled(&env.secret)?)))
            .collect::<Result<_, Failure>>()?,
        ignore_not_found: it.plan.ignore_not_found,
    })
}
