//! Orders: which files and variables are made from which reads.

use std::cell::Cell;
use std::num::NonZeroU64;
use std::time::{Duration, SystemTime};

use super::{Answers, RenderedOrder, RenderedVariable};
use crate::agent::report::{Failure, RunStage};
use crate::agent::volume::outcome::LeaseEnd;
use crate::agent::volume::{RenderedFile, place};
use crate::env::select;
use crate::plan::{
    ApiPath, Content, Destination, EnvSecret, ExitCode, Login, Plan, PlannedFile, SecretContent, Select,
};
use crate::render::{self, Fields};
use crate::secret::Secret;
use crate::vault::{LoginToken, Reading, Session, Vault, Wanted};

/// A file to render, and what to read for it.
pub(in crate::agent) struct FileOrder<'a, P> {
    pub file: &'a PlannedFile<P>,
    /// The read for each request of the file, with every placeholder filled in.
    pub wanted: Vec<Wanted>,
    /// See [`RenderedFile::place`].
    pub place: String,
    /// The position of the file among [`Plan::destinations`].
    pub number: usize,
}

/// A file that an order has made.
pub(in crate::agent) struct MadeFile {
    pub destination: Destination,
    pub rendered: RenderedFile,
    /// The values of secrets in the file, if a template made the file and the job's masks need them.
    pub printed: Option<Vec<Secret>>,
}

/// Variables to render, and the path to read for them.
pub(in crate::agent) struct EnvOrder<'a> {
    pub select: &'a Select,
    /// The path with every placeholder filled in.
    pub path: ApiPath,
    version: Option<u64>,
}

/// Everything that one agent reads.
pub(in crate::agent) struct Order<'a, P> {
    pub files: Vec<FileOrder<'a, P>>,
    pub env: Vec<EnvOrder<'a>>,
    /// Missing secrets are skipped.
    pub ignore_not_found: bool,
    /// The pod has job hooks, which mask the values that templates print.
    pub masks_printed: bool,
}

impl<'a> Order<'a, ApiPath> {
    /// What `init` and the sidecar read.
    pub(in crate::agent) fn of_pod(plan: &'a Plan) -> Self {
        Self {
            files: (0..)
                .zip(plan.placed_files())
                .map(|(number, (file, place))| FileOrder {
                    file,
                    wanted: file.requests().iter().map(Wanted::of).collect(),
                    place,
                    number,
                })
                .collect(),
            env: plan
                .env
                .iter()
                .map(|env| EnvOrder::new(env, env.secret.clone()))
                .collect(),
            ignore_not_found: plan.ignore_not_found,
            masks_printed: plan.job.is_some(),
        }
    }
}

impl<P> Order<'_, P> {
    /// Each read once. Two reads differ in the path, the version, or the data that is written.
    pub(in crate::agent) fn wanted(&self) -> Vec<Wanted> {
        let files = self.files.iter().flat_map(|order| order.wanted.iter().cloned());
        let env = self.env.iter().map(EnvOrder::wanted);
        let mut wanted: Vec<Wanted> = Vec::new();
        for read in files.chain(env) {
            if !wanted.contains(&read) {
                wanted.push(read);
            }
        }
        wanted
    }

    /// Whether a template uses this secret together with another one.
    pub(in crate::agent) fn combines(&self, wanted: &Wanted) -> bool {
        let mut files = self.files.iter();
        files.any(|order| order.wanted.contains(wanted) && order.combines())
    }

    /// Renders a file by [`FileOrder::render`], and drops the printed values that no mask needs.
    pub(in crate::agent) fn render_file<'r>(
        &self,
        order: &FileOrder<'_, P>,
        reading: impl Fn(&Wanted) -> Option<&'r Reading>,
    ) -> Result<Vec<MadeFile>, Failure> {
        let mut made = order.render(reading)?;
        if !self.masks_printed {
            made.iter_mut().for_each(|made| made.printed = None);
        }
        Ok(made)
    }

    /// Reads every secret: with the login that each read may carry (`inline`) where there is one and it serves, or else with the
    /// session that `log_in` gives. The session is None where none was needed. `stage` becomes [`RunStage::Read`] once the server
    /// has accepted a login.
    pub(in crate::agent) async fn read<'s>(
        &self,
        vault: &Vault,
        inline: Option<(&Login, LoginToken<'_>)>,
        stage: &Cell<RunStage>,
        log_in: impl AsyncFnOnce() -> Result<&'s Session, Failure>,
    ) -> Result<(Answers, Option<&'s Session>), Failure> {
        let mut answers = Answers::none(self.wanted(), self.ignore_not_found);
        if let Some((login, token)) = inline {
            let read = vault.read_all_inline(login, token, answers.wanted(), self.ignore_not_found);
            answers.fill(read.await?);
            let (failures, unread) = answers.failures();
            // After a failure a session would be in vain.
            if !failures.is_empty() || unread == 0 {
                stage.set(RunStage::Read);
                return Ok((self.complete(answers)?, None));
            }
        }
        let session = log_in().await?;
        stage.set(RunStage::Read);
        let left = answers.unread();
        check_uses(&left, session)?;
        answers.fill(vault.read_all(session, &left, self.ignore_not_found).await);
        Ok((self.complete(answers)?, Some(session)))
    }

    /// The same answers, or every failure.
    fn complete(&self, answers: Answers) -> Result<Answers, Failure> {
        let (mut failures, unread) = answers.failures();
        if failures.is_empty() && unread == 0 {
            return Ok(answers);
        }
        // The secrets that were read may have faults too: all faults are reported at once.
        failures.extend(self.render_all(&answers).1);
        Err(Failure::together(failures, unread)
            .unwrap_or_else(|| Failure::new(ExitCode::Unavailable, "nothing was read", "")))
    }

    /// Renders every file and variable, or fails.
    pub(in crate::agent) fn render(
        &self,
        answers: &Answers,
        session: Option<&Session>,
    ) -> Result<RenderedOrder, Failure> {
        let (mut rendered, failures) = self.render_all(answers);
        if let Some(failure) = Failure::together(failures, 0) {
            return Err(failure);
        }
        let now = SystemTime::now();
        for (wanted, lease) in answers.leases() {
            if let Some(session) = session.filter(|session| lease.id.is_some() && session.is_used_up()) {
                // The path looked like a path without leases, and several requests were under way at once.
                let reads = answers.len() as u64;
                return Err(too_few_uses(session, reads, reads + 1));
            }
            let lasts = super::answers::lasts(lease, session);
            rendered.bound_to_token |= lease.id.is_some();
            // A server may name a duration that no clock can show.
            let until = now
                .checked_add(lasts)
                .unwrap_or_else(|| now + Duration::from_secs(u32::MAX.into()));
            rendered.leases.push(LeaseEnd::new(wanted.path.as_str(), until));
        }
        Ok(rendered)
    }

    /// What can be rendered, and every failure.
    fn render_all(&self, answers: &Answers) -> (RenderedOrder, Vec<Failure>) {
        let (mut rendered, mut failures) = (RenderedOrder::default(), Vec::new());
        let files = self
            .files
            .iter()
            .map(|order| rendered.add_file(self, order, answers).err());
        failures.extend(files.flatten());
        let env = self
            .env
            .iter()
            .map(|order| rendered.add_variables(order, answers).err());
        failures.extend(env.flatten());
        (rendered, failures)
    }
}

impl<'a, P> FileOrder<'a, P> {
    /// The paths that are read for the file, for people.
    pub(in crate::agent) fn paths(&self) -> String {
        paths(&self.wanted)
    }

    /// Whether the file is a template of several secrets.
    pub(in crate::agent) fn combines(&self) -> bool {
        self.wanted.iter().any(|wanted| Some(wanted) != self.wanted.first())
    }

    /// Whether the file is a template, which chooses itself what it makes of a missing secret.
    pub(in crate::agent) fn is_template(&self) -> bool {
        matches!(self.file.content, Content::Template(_))
    }

    /// The version of the secret, if the file is made of one secret.
    pub(in crate::agent) fn version<'r>(&self, reading: impl Fn(&Wanted) -> Option<&'r Reading>) -> Option<u64> {
        match self.wanted.as_slice() {
            [wanted] => reading(wanted)?.version,
            _ => None,
        }
    }

    /// Renders the file, or a file for each field. `reading` gives the answer to each read. None: the secret does not exist, which
    /// is no failure; a file of one secret is then not made. A failure with [`ExitCode::NotFound`] is a missing field; every other
    /// failure is unusable data.
    fn render<'r>(&self, reading: impl Fn(&Wanted) -> Option<&'r Reading>) -> Result<Vec<MadeFile>, Failure> {
        let mut printed = None;
        let made = match &self.file.content {
            Content::Template(template) => {
                let answers: Vec<_> = self.wanted.iter().map(|wanted| Some(reading(wanted)?.body())).collect();
                let rendered = render::render_template(template, &answers);
                let rendered = rendered.map_err(|error| Failure::template(&error, &self.file.file))?;
                printed = Some(rendered.printed);
                vec![(self.file.file.clone(), rendered.bytes)]
            }
            Content::Secret(content) => {
                let read = self.wanted.iter().filter_map(|wanted| Some((wanted, reading(wanted)?)));
                let made = read.map(|(wanted, read)| secret_files(content, &self.file.file, &wanted.path, read));
                made.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect()
            }
        };
        let placed = made.into_iter().map(|(destination, bytes)| {
            let rendered = RenderedFile {
                place: match &destination {
                    Destination::Relative(shown) => place(shown),
                    _ => self.place.clone(),
                },
                mode: self.file.mode.bits(),
                bytes,
            };
            MadeFile {
                destination,
                rendered,
                printed: printed.take(),
            }
        });
        Ok(placed.collect())
    }
}

/// The files that one secret becomes.
fn secret_files<P>(
    content: &SecretContent<P>,
    destination: &Destination,
    path: &ApiPath,
    reading: &Reading,
) -> Result<Vec<(Destination, Secret)>, Failure> {
    let fields = Fields::parse(reading.data())
        .map_err(|error| Failure::new(ExitCode::NotVault, format!("the answer for {path}: {error}"), ""))?;
    render::render_all(content, destination, &fields).map_err(|error| Failure::render(&error, path))
}

/// The different paths of these reads, with commas between them.
fn paths(wanted: &[Wanted]) -> String {
    let mut paths: Vec<&str> = Vec::new();
    for wanted in wanted {
        if !paths.contains(&wanted.path.as_str()) {
            paths.push(wanted.path.as_str());
        }
    }
    paths.join(", ")
}

impl<'a> EnvOrder<'a> {
    pub(in crate::agent) fn new<P>(env: &'a EnvSecret<P>, path: ApiPath) -> Self {
        Self {
            select: &env.select,
            path,
            version: env.version.map(NonZeroU64::get),
        }
    }

    /// The read that these variables are made of.
    pub(in crate::agent) fn wanted(&self) -> Wanted {
        Wanted {
            path: self.path.clone(),
            version: self.version,
            data: None,
        }
    }

    /// Renders the variables. Failures are as those of [`FileOrder::render`].
    pub(in crate::agent) fn render(&self, reading: &Reading) -> Result<Vec<RenderedVariable>, Failure> {
        let data = select::inside(reading.whole_data());
        let values = select::select(self.select, data).map_err(|error| Failure::select(&error, &self.path))?;
        Ok(values
            .into_iter()
            .map(|(name, value)| RenderedVariable { name, value })
            .collect())
    }
}

/// Refuses a client token with too few uses. The last use of a token ends the token and all leases that the token made:
/// where there may be a lease, one use must stay left.
fn check_uses(wanted: &[Wanted], session: &Session) -> Result<(), Failure> {
    let reads = wanted.len() as u64;
    let may_lease = wanted.iter().any(Wanted::may_mint);
    if may_lease {
        session.keep_last_use();
    }
    let needed = reads + u64::from(may_lease);
    match session.uses() {
        0 => Ok(()),
        uses if uses >= needed => Ok(()),
        _ => Err(too_few_uses(session, reads, needed)),
    }
}

fn too_few_uses(session: &Session, reads: u64, needed: u64) -> Failure {
    let plural = if reads == 1 { "" } else { "s" };
    let rest = match needed > reads {
        true => ", and one use must stay left: the last use of a token ends the leases that the token made",
        false => "",
    };
    Failure::new(
        ExitCode::Denied,
        format!(
            "token_num_uses of the role {} is {}, and {needed} are needed: {reads} request{plural} for the pod's secrets{rest}",
            session.role(),
            session.uses()
        ),
        format!("set token_num_uses of the role to {needed} or more, or to 0, which is no limit"),
    )
}
