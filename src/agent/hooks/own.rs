//! The secrets that the job reads for itself, with a token from GitHub: Vault decides by the claims of the token, such as the
//! repository.

use std::time::Duration;

use super::{Hook, HookFile, HookPlan, HookProgress};
use crate::agent::delivery::{EnvOrder, FileOrder, Order, RenderedOrder, RenderedVariable};
use crate::agent::process::Stopwatch;
use crate::agent::report::{Failure, RunStage};
use crate::agent::volume::outcome::DeliveredItem;
use crate::agent::volume::{PrintedValues, RenderedFile};
use crate::http::{Deadline, IdTokenSource, Jwt, ProxyVariables, REQUEST_TOKEN_ENV, REQUEST_URL_ENV};
use crate::job::facts::{self, JobFacts};
use crate::job::placeholders::fill;
use crate::plan::{ApiPath, AuthMethod, Destination, ExitCode, JobLogin, Login, PathTemplate, Plan};
use crate::secret::Secret;
use crate::vault::{LoginToken, Sender, Vault, Wanted};

/// The secrets that the job read.
#[derive(Default)]
pub(super) struct OwnSecrets {
    files: Vec<(Destination, RenderedFile)>,
    /// The values that templates printed.
    printed: Vec<PrintedValues>,
    /// For the job's environment.
    pub variables: Vec<RenderedVariable>,
    /// Each file and variable with its secret.
    pub delivered: Vec<DeliveredItem>,
    /// A secret lives only as long as the client token.
    pub leased: bool,
}

/// Requests a token from GitHub, logs in with the token and reads everything, within the limit. The session is left in
/// `progress`: the caller ends it, whatever this function returns. `sender` is the text of [`Hook::sender`].
pub(super) async fn read(
    hook: &Hook,
    it: &HookPlan,
    login: &JobLogin,
    facts: &JobFacts,
    sender: &str,
    limit: Duration,
    progress: &HookProgress,
) -> Result<OwnSecrets, Failure> {
    let deadline = Deadline::start(limit);
    progress.stage.set(RunStage::Login);
    let watch = Stopwatch::start();
    let source = token_source(hook)?;
    let root = hook.seen.paths().root();
    let audience = login.audience.as_ref().map(|audience| audience.as_str());
    let token = source.request(audience, deadline, root).await?;
    facts
        .check_ids(|claim| token.claim(claim))
        .map_err(|other| Failure::new(ExitCode::Denied, other.to_string(), facts::OTHER_ID_HINT))?;
    let order = order(it, &token, facts)?;
    let vault = Vault::new(&it.plan.connection, deadline, Sender::OfJob(sender.to_owned()))?;
    let login = &Login {
        method: AuthMethod::Jwt,
        mount: login.mount.clone(),
        role: login.role.clone(),
        inline: login.inline,
    };
    let vault = progress.vault.get_or_init(|| vault);
    let inline = login.inline.then_some((login, LoginToken::Jwt(&token)));
    if inline.is_some() {
        tracing::info!("{sender}: reading with inline authentication, by GitHub's token");
    }
    let log_in = async || {
        let session = vault.login(login, LoginToken::Jwt(&token), &progress.stop).await?;
        // From here on the end of the run finds the session, and revokes the token.
        let session = progress.session.get_or_init(|| session);
        tracing::info!(
            mount = %login.mount,
            role = %login.role,
            accessor = session.accessor,
            ttl_s = session.ttl.as_secs(),
            policies = session.policies.join(","),
            took_ms = watch.ms(),
            "{sender}: logged in with GitHub's token"
        );
        if progress.stop.is_requested() {
            // The report names the reason of the stop, not this failure.
            return Err(Failure::new(ExitCode::Terminated, "the hook was stopped", ""));
        }
        Ok(session)
    };
    let (answers, session) = order.read(vault, inline, &progress.stage, log_in).await?;
    progress.stage.set(RunStage::Render);
    let rendered = order.render(&answers, session)?;
    answers.warn_of_ends(session);
    Ok(OwnSecrets::new(&it.plan, rendered))
}

impl OwnSecrets {
    fn new(plan: &Plan, rendered: RenderedOrder) -> Self {
        // A skipped file below `/podkey/secrets` is not rendered: so files are found by their places, not by their order.
        let files = rendered.files.into_iter().filter_map(|rendered| {
            let (file, _) = plan.placed_job_files().find(|(_, place)| *place == rendered.place)?;
            Some((file.file.clone(), rendered))
        });
        Self {
            files: files.collect(),
            printed: rendered.printed,
            variables: rendered.variables,
            delivered: rendered.delivered,
            leased: rendered.bound_to_token,
        }
    }

    /// The content of every file, every value that a template printed, and the value of every variable, by name.
    pub(super) fn secrets(&self) -> impl Iterator<Item = (&str, &Secret)> {
        let files = self.files.iter().map(|(destination, rendered)| match destination {
            Destination::Absolute(path) | Destination::Relative(path) => (path.as_str(), &rendered.bytes),
            // No plan has such a file for a job.
            Destination::EachField(_) | Destination::InDirectory { .. } => ("", &rendered.bytes),
        });
        let printed = self.printed.iter();
        let printed = printed.flat_map(|printed| printed.values.iter().map(|value| (printed.path.as_str(), value)));
        files.chain(printed).chain(
            self.variables
                .iter()
                .map(|variable| (variable.name.as_str(), &variable.value)),
        )
    }

    /// The content of a file. None: the job did not read the file.
    pub(super) fn file(&self, file: &Destination) -> Option<&Secret> {
        let mut files = self.files.iter();
        files.find_map(|(known, rendered)| (known == file).then_some(&rendered.bytes))
    }

    /// The files to write.
    pub(super) fn files(&self) -> impl Iterator<Item = HookFile<'_>> {
        self.files.iter().map(|(destination, rendered)| HookFile {
            path: destination.path(),
            mode: rendered.mode,
            bytes: &rendered.bytes,
        })
    }
}

/// Where to request a token: the runner sets these variables in jobs that may have a token.
fn token_source(hook: &Hook) -> Result<IdTokenSource, Failure> {
    let owned = |name: &str| hook.text(name).map(str::to_owned);
    let first = |names: [&str; 2]| names.into_iter().find_map(&owned);
    let (Some(url), Some(bearer)) = (owned(REQUEST_URL_ENV), owned(REQUEST_TOKEN_ENV)) else {
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

/// The job's order, with every placeholder in a path filled in.
fn order<'a>(it: &'a HookPlan, token: &Jwt, facts: &JobFacts) -> Result<Order<'a, PathTemplate>, Failure> {
    let environment = token.claim("environment");
    let filled = |path: &PathTemplate| -> Result<ApiPath, Failure> {
        fill(path, facts, environment.as_deref())
            .map_err(|error| Failure::new(ExitCode::BadData, error.to_string(), format!("the path is {path}")))
    };
    let files = it.plan.placed_job_files();
    Ok(Order {
        files: (it.plan.files.len()..)
            .zip(files)
            .map(|(number, (file, place))| {
                let wanted = file.requests().iter();
                let wanted = wanted.map(|request| Ok(Wanted::filled(request, filled(&request.secret)?)));
                let wanted = wanted.collect::<Result<_, Failure>>()?;
                Ok(FileOrder {
                    file,
                    wanted,
                    place,
                    number,
                })
            })
            .collect::<Result<_, Failure>>()?,
        env: it
            .job
            .env
            .iter()
            .map(|env| Ok(EnvOrder::new(env, filled(&env.secret)?)))
            .collect::<Result<_, Failure>>()?,
        ignore_not_found: it.plan.ignore_not_found,
        masks_printed: true,
    })
}
