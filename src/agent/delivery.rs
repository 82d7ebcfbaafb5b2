//! From what a plan asks for to bytes and names, all in memory: each secret is read once, and rendered for each file and
//! variable that is made of it. The same for what `init` reads and for what the job reads itself.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::time::{Duration, SystemTime};

use super::files::Rendered;
use super::handover::whole_seconds;
use super::outcome::{Delivered, LeaseEnd, Target};
use super::report::Failure;
use crate::env::select;
use crate::plan::{
    ApiPath, Destination, ENV_DIR, EnvName, EnvSecret, ExitCode, FILES_DIR, MAX_RENDERED_BYTES, Mode, OnChange, Plan,
    PlannedFile, Select,
};
use crate::render::{self, Fields};
use crate::secret::{Lease, Secret};
use crate::vault::{Reading, Readings, Session, Vault, VaultError, Wanted};

/// A file to make, with the path to read for it.
pub(super) struct FileOrder<'a, P> {
    pub file: &'a PlannedFile<P>,
    pub path: ApiPath,
    /// Where it is written; see [`Rendered::place`].
    pub place: String,
}

/// Variables to make, likewise.
pub(super) struct EnvOrder<'a> {
    pub select: &'a Select,
    pub path: ApiPath,
    pub version: Option<u64>,
}

/// All that one agent is to read.
pub(super) struct Order<'a, P> {
    pub files: Vec<FileOrder<'a, P>>,
    pub env: Vec<EnvOrder<'a>>,
    /// What is not there is skipped.
    pub ignore_not_found: bool,
}

/// A variable's value.
pub(super) struct Variable {
    pub name: EnvName,
    pub value: Secret,
}

/// What came of an order.
#[derive(Default)]
pub(super) struct Delivery {
    pub files: Vec<Rendered>,
    pub variables: Vec<Variable>,
    /// What of it came from where.
    pub delivered: Vec<Delivered>,
    /// What each of these was made of.
    pub made_of: Vec<Wanted>,
    /// What of it ends.
    pub leases: Vec<LeaseEnd>,
    /// Some of it ends with the client token.
    pub bound_to_token: bool,
    /// Files whose names came with their secret, with its path.
    field_files: Vec<(Destination, ApiPath)>,
    bytes: usize,
}

/// What the server said, for each thing that was wanted.
pub(super) struct Answers {
    wanted: Vec<Wanted>,
    readings: Readings,
    /// What is not there is no failure.
    ignore_not_found: bool,
}

impl<P> Order<'_, P> {
    /// Each path, with its version and what it is written with, once.
    pub(super) fn wanted(&self) -> Vec<Wanted> {
        let files = self.files.iter().map(FileOrder::wanted);
        let env = self.env.iter().map(EnvOrder::wanted);
        let mut wanted: Vec<Wanted> = Vec::new();
        for one in files.chain(env) {
            if !wanted.contains(&one) {
                wanted.push(one);
            }
        }
        wanted
    }

    /// Reads all of it.
    pub(super) async fn read(&self, vault: &Vault, session: &Session) -> Result<Answers, Failure> {
        let wanted = self.wanted();
        enough_uses(&wanted, session)?;
        let readings = vault.read_all(session, &wanted, self.ignore_not_found).await;
        let answers = Answers {
            wanted,
            readings,
            ignore_not_found: self.ignore_not_found,
        };
        let (mut failures, unread) = answers.failures();
        if failures.is_empty() && unread == 0 {
            return Ok(answers);
        }
        // What was read may be wrong too: all is told at once.
        failures.extend(self.render_all(&answers).1);
        Err(Failure::together(failures, unread)
            .unwrap_or_else(|| Failure::new(ExitCode::Unavailable, "nothing was read", "")))
    }

    /// Makes files and variables of the answers, all or nothing.
    pub(super) fn render(&self, answers: &Answers, session: &Session) -> Result<Delivery, Failure> {
        let (mut delivery, failures) = self.render_all(answers);
        if let Some(failure) = Failure::together(failures, 0) {
            return Err(failure);
        }
        let now = SystemTime::now();
        for (wanted, lease) in answers.leases() {
            if lease.id.is_some() && session.is_used_up() {
                // The path looked like one without leases, and several requests were under way at once.
                let reads = answers.len() as u64;
                return Err(too_few_uses(session, reads, reads + 1));
            }
            let lasts = lasts(lease, session);
            delivery.bound_to_token |= lease.id.is_some();
            // What a server may say is not always a time that a clock can show.
            let until = now
                .checked_add(lasts)
                .unwrap_or_else(|| now + Duration::from_secs(u32::MAX.into()));
            delivery.leases.push(LeaseEnd::new(wanted.path.as_str(), until));
        }
        Ok(delivery)
    }

    /// What can be made of the answers, and what cannot.
    fn render_all(&self, answers: &Answers) -> (Delivery, Vec<Failure>) {
        let (mut delivery, mut failures) = (Delivery::default(), Vec::new());
        let files = self.files.iter().map(|order| delivery.take_file(order, answers).err());
        failures.extend(files.flatten());
        let env = self
            .env
            .iter()
            .map(|order| delivery.take_variables(order, answers).err());
        failures.extend(env.flatten());
        (delivery, failures)
    }
}

/// Refuses a client token that is good for fewer requests than are needed. The server ends a token with its last use, and with
/// the token all leases that it made: where there may be a lease, one use must stay left.
fn enough_uses(wanted: &[Wanted], session: &Session) -> Result<(), Failure> {
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
        true => ", and one use must stay left: a token's last use ends the leases that the token made",
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

impl Answers {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.readings.len()
    }

    /// All that was wanted, with what was read, where there was anything.
    pub(super) fn all(&self) -> impl Iterator<Item = (&Wanted, Option<&Reading>)> {
        let all = self.wanted.iter().zip(&self.readings);
        all.map(|(wanted, reading)| (wanted, reading.as_ref().and_then(|reading| reading.as_ref().ok())))
    }

    /// What could not be read, in the order of the plan, and how much was not.
    fn failures(&self) -> (Vec<Failure>, usize) {
        let failed = self
            .readings
            .iter()
            .flatten()
            .filter_map(|reading| reading.as_ref().err());
        let failed = failed.filter(|error| !(self.ignore_not_found && error.kind.is_missing()));
        let unread = self.readings.iter().filter(|reading| reading.is_none()).count();
        (failed.cloned().map(Failure::from).collect(), unread)
    }

    /// What ends by itself, with how it does.
    fn leases(&self) -> impl Iterator<Item = (&Wanted, &Lease)> {
        self.all()
            .filter_map(|(wanted, reading)| Some((wanted, reading?.lease.as_ref()?)))
    }

    /// Says of each such secret that nobody looks after it.
    pub(super) fn warn_of_ends(&self, session: &Session) {
        for (wanted, lease) in self.leases() {
            let lasts = lasts(lease, session);
            let end = match lasts == lease.duration {
                true => "it ends with its TTL",
                false => "it ends with the client token, before its lease would",
            };
            tracing::warn!(
                secret = %wanted.path,
                ttl_s = whole_seconds(lasts),
                renewable = lease.renewable,
                "a dynamic secret was delivered: nothing renews it, {end}"
            );
        }
    }

    /// What was found. None: it failed, which [`Self::failures`] reports.
    fn of(&self, wanted: &Wanted) -> Option<Found<'_>> {
        let mut all = self.wanted.iter().zip(&self.readings);
        match all.find(|(one, _)| *one == wanted)?.1.as_ref()? {
            Ok(reading) => Some(Found::Secret(reading)),
            Err(missing) if self.ignore_not_found && missing.kind.is_missing() => Some(Found::Nothing(missing)),
            Err(_) => None,
        }
    }
}

/// What was found at a path.
enum Found<'a> {
    Secret(&'a Reading),
    Nothing(&'a VaultError),
}

/// How long a secret lasts that ends by itself. A lease ends with the client token that made it; one without a TTL of its own
/// has no other end.
fn lasts(lease: &Lease, session: &Session) -> Duration {
    match session.left() {
        Some(left) if lease.id.is_some() && lease.duration.is_zero() => left,
        Some(left) if lease.id.is_some() => lease.duration.min(left),
        _ => lease.duration,
    }
}

impl Delivery {
    /// See [`check_field_files`].
    pub(super) fn check_field_files<C>(&self, plan: &Plan<C>) -> Result<(), Failure> {
        check_field_files(plan, self.field_files.iter().map(|(file, path)| (file, path)))
    }

    /// Makes a file, or one for each field.
    fn take_file<P>(&mut self, order: &FileOrder<'_, P>, answers: &Answers) -> Result<(), Failure> {
        let (file, path) = (order.file, &order.path);
        let reading = match answers.of(&order.wanted()) {
            None => return Ok(()),
            Some(Found::Secret(reading)) => reading,
            Some(Found::Nothing(missing)) => {
                // The hint too: the path may be missing only because it is not written as its engine wants it.
                tracing::warn!(secret = %path, file = %file.file, reason = missing.message, hint = missing.hint, "skipped");
                if let Destination::Absolute(_) = file.file {
                    // A single-file mount needs its file, or the kubelet makes a directory of that name.
                    self.files.push(Rendered {
                        place: order.place.clone(),
                        mode: file.mode.bits(),
                        bytes: Secret::from(Vec::new()),
                    });
                }
                return Ok(());
            }
        };
        for (destination, rendered) in order.render(reading)? {
            self.count(&rendered.bytes)?;
            if let Destination::EachField(_) = file.file {
                self.field_files.push((destination.clone(), path.clone()));
            }
            self.delivered.push(Delivered {
                to: Target::File(destination.path().into_owned()),
                secret: path.to_string(),
                version: reading.version,
            });
            self.made_of.push(order.wanted());
            self.files.push(rendered);
        }
        Ok(())
    }

    /// Makes variables.
    fn take_variables(&mut self, order: &EnvOrder<'_>, answers: &Answers) -> Result<(), Failure> {
        let path = &order.path;
        let reading = match answers.of(&order.wanted()) {
            None => return Ok(()),
            Some(Found::Secret(reading)) => reading,
            Some(Found::Nothing(missing)) => {
                tracing::warn!(secret = %path, reason = missing.message, hint = missing.hint, "skipped");
                return Ok(());
            }
        };
        for variable in order.render(reading)? {
            self.count(&variable.value)?;
            self.add(variable, path, reading.version)?;
            self.made_of.push(order.wanted());
        }
        Ok(())
    }

    fn count(&mut self, bytes: &Secret) -> Result<(), Failure> {
        self.bytes += bytes.len();
        match self.bytes > MAX_RENDERED_BYTES {
            true => Err(Failure::too_large()),
            false => Ok(()),
        }
    }

    fn add(&mut self, variable: Variable, path: &ApiPath, version: Option<u64>) -> Result<(), Failure> {
        let name = variable.name.as_str();
        let same = |other: &&Delivered| matches!(&other.to, Target::Env(other) if other == name);
        if let Some(other) = self.delivered.iter().find(same) {
            return Err(Failure::new(
                ExitCode::BadData,
                format!(
                    "the variable {name} would be made twice: of {} and of {path}",
                    other.secret
                ),
                "give one of them another name (`| NAME`), or another prefix for a wildcard (`* | PREFIX_`)",
            ));
        }
        self.delivered.push(Delivered {
            to: Target::Env(name.to_owned()),
            secret: path.to_string(),
            version,
        });
        self.variables.push(variable);
        Ok(())
    }
}

impl<'a, P> FileOrder<'a, P> {
    /// Of this file, with its final path.
    pub(super) fn new(file: &'a PlannedFile<P>, path: ApiPath, place: String) -> Self {
        Self { file, path, place }
    }

    /// What is asked for to make it.
    pub(super) fn wanted(&self) -> Wanted {
        Wanted {
            path: self.path.clone(),
            version: self.file.version.map(NonZeroU64::get),
            data: self.file.data.clone(),
        }
    }

    /// Makes it of what was read: where the containers see it, and what is in it. A failure with [`ExitCode::NotFound`] is a field
    /// that is gone, any other one data that is not usable.
    pub(super) fn render(&self, reading: &Reading) -> Result<Vec<(Destination, Rendered)>, Failure> {
        let path = &self.path;
        let fields = Fields::parse(reading.data())
            .map_err(|error| Failure::new(ExitCode::NotVault, format!("the answer for {path}: {error}"), ""))?;
        let files = render::render_all(self.file, &fields).map_err(|error| Failure::render(&error, path))?;
        let placed = files.into_iter().map(|(destination, bytes)| {
            let rendered = Rendered {
                place: match &destination {
                    Destination::Relative(place) => format!("{FILES_DIR}/{place}"),
                    Destination::Absolute(_) | Destination::EachField(_) => self.place.clone(),
                },
                mode: self.file.mode.bits(),
                bytes,
            };
            (destination, rendered)
        });
        Ok(placed.collect())
    }
}

impl<'a> EnvOrder<'a> {
    /// Of this entry, with its final path.
    pub(super) fn new<P>(env: &'a EnvSecret<P>, path: ApiPath) -> Self {
        Self {
            select: &env.select,
            path,
            version: env.version.map(NonZeroU64::get),
        }
    }

    /// What is asked for to make them.
    pub(super) fn wanted(&self) -> Wanted {
        Wanted {
            path: self.path.clone(),
            version: self.version,
            data: None,
        }
    }

    /// Makes the variables of what was read; failures are those of [`FileOrder::render`].
    pub(super) fn render(&self, reading: &Reading) -> Result<Vec<Variable>, Failure> {
        let data = select::inside(reading.whole_data());
        let values = select::select(self.select, data).map_err(|error| Failure::select(&error, &self.path))?;
        Ok(values
            .into_iter()
            .map(|(name, value)| Variable { name, value })
            .collect())
    }
}

impl Variable {
    /// Its value as a file of its own.
    pub(super) fn file(&self, mode: Mode) -> Rendered {
        Rendered {
            place: format!("{FILES_DIR}/{ENV_DIR}/{}", self.name),
            mode: mode.bits(),
            bytes: self.value.clone(),
        }
    }
}

/// Whether files whose names came with their secrets can be beside all others of the plan, and beside each other: each is
/// given with the path of its secret. (Names that were known when the plan was made have been compared there.)
pub(super) fn check_field_files<'a, C>(
    plan: &Plan<C>,
    made: impl IntoIterator<Item = (&'a Destination, &'a ApiPath)>,
) -> Result<(), Failure> {
    let known = plan
        .destinations()
        .filter(|file| !matches!(file, Destination::EachField(_)));
    let mut taken: BTreeMap<String, String> = known
        .map(|file| (file.path().into_owned(), "another file of the plan".to_owned()))
        .collect();
    // Both stand for all that is below their first name.
    let touched = plan.refresh.iter().flat_map(|refresh| &refresh.on_change);
    let touched = touched
        .filter_map(OnChange::touched)
        .map(|file| (file, "what on-change touches"));
    let env = Destination::Relative(ENV_DIR.to_owned());
    let has_env = !plan.env.is_empty() || plan.job.iter().any(|job| !job.env.is_empty());
    let apart: Vec<_> = touched
        .chain(has_env.then_some((env, "the directory of the variables")))
        .collect();
    for (file, secret) in made {
        let path = file.path().into_owned();
        let other = apart.iter().find(|(other, _)| file.is_beside(other));
        let other = other.map(|(other, what)| (other.path().into_owned(), (*what).to_owned()));
        if let Some((other, what)) = other.or_else(|| beside(&taken, &path)) {
            return Err(Failure::new(
                ExitCode::BadData,
                format!("the file {path}, of a field of {secret}, and {other}, {what}, cannot both be delivered"),
                "rename the field, or give the files a directory of their own, such as web/{{ .SecretKey }}",
            ));
        }
        taken.insert(path, format!("of {secret}"));
    }
    Ok(())
}

/// A path that is this one, or inside or around it.
fn beside(taken: &BTreeMap<String, String>, path: &str) -> Option<(String, String)> {
    let around = path.match_indices('/').map(|(at, _)| &path[..at]).chain([path]);
    let mut around = around.filter_map(|path| taken.get_key_value(path));
    let below = format!("{path}/");
    let mut inside = taken
        .range(below.clone()..)
        .take_while(|(path, _)| path.starts_with(&below));
    around
        .next()
        .or_else(|| inside.next())
        .map(|(path, what)| (path.clone(), what.clone()))
}
