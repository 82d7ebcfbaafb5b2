//! From what a plan asks for to bytes and names, all in memory: each secret is read once, and rendered for each file and
//! variable that is made of it. The same for what `init` reads and for what the job reads itself.

use std::num::NonZeroU64;
use std::time::{Duration, SystemTime};

use super::files::Rendered;
use super::outcome::{Delivered, LeaseEnd, Target};
use super::report::{Code, Failure};
use crate::job::select::{self, SelectError};
use crate::plan::{ApiPath, Destination, EnvName, EnvSecret, MAX_RENDERED_BYTES, PlannedFile, Select};
use crate::render::{self, Fields};
use crate::secret::Secret;
use crate::vault::{Kind, Reading, Session, Vault, VaultError, Wanted};

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
    /// What of it ends.
    pub leases: Vec<LeaseEnd>,
    bytes: usize,
}

/// What the server said, for each thing that was wanted.
pub(super) struct Answers {
    wanted: Vec<Wanted>,
    readings: Vec<Result<Reading, VaultError>>,
}

impl<P> Order<'_, P> {
    /// Each path and version once.
    pub(super) fn wanted(&self) -> Vec<Wanted> {
        let files = self.files.iter().map(|order| (order.path.clone(), version(order.file)));
        let env = self.env.iter().map(|order| (order.path.clone(), order.version));
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
        if session.uses > 0 && session.uses < wanted.len() as u64 + 1 {
            tracing::warn!(
                uses = session.uses,
                reads = wanted.len(),
                "the role's token_num_uses is too small for these reads and the revocation"
            );
        }
        let readings = vault.read_all(session, &wanted, self.ignore_not_found).await?;
        Ok(Answers { wanted, readings })
    }

    /// Makes files and variables of the answers.
    pub(super) fn render(&self, answers: &Answers, session: &Session) -> Result<Delivery, Failure> {
        let mut delivery = Delivery::default();
        for order in &self.files {
            let (file, path) = (order.file, &order.path);
            let reading = match answers.of(path, version(file))? {
                Found::Secret(reading) => reading,
                Found::Nothing(missing) => {
                    // The hint too: the path may be missing only because it is not written as its engine wants it.
                    tracing::warn!(secret = %path, file = %file.file, reason = missing.message, hint = missing.hint, "skipped");
                    if let Destination::Absolute(_) = file.file {
                        // A single-file mount needs its file, or the kubelet makes a directory of that name.
                        delivery.files.push(Rendered {
                            place: order.place.clone(),
                            mode: file.mode.bits(),
                            bytes: Secret::from(Vec::new()),
                        });
                    }
                    continue;
                }
            };
            for (destination, rendered) in order.render(reading)? {
                delivery.count(&rendered.bytes)?;
                delivery.delivered.push(Delivered {
                    to: Target::File(destination.path().into_owned()),
                    secret: path.to_string(),
                    version: reading.version,
                });
                delivery.files.push(rendered);
            }
        }
        for order in &self.env {
            let path = &order.path;
            let reading = match answers.of(path, order.version)? {
                Found::Secret(reading) => reading,
                Found::Nothing(missing) => {
                    tracing::warn!(secret = %path, reason = missing.message, hint = missing.hint, "skipped");
                    continue;
                }
            };
            for variable in order.render(reading)? {
                delivery.count(&variable.value)?;
                delivery.add(variable, path, reading.version)?;
            }
        }
        let now = SystemTime::now();
        for (reading, (path, _)) in answers.readings.iter().zip(&answers.wanted) {
            if let Ok(Reading { lease: Some(lease), .. }) = reading {
                // A lease ends with the client token that made it.
                let lasts = match session.ttl {
                    Duration::ZERO => lease.duration,
                    ttl => lease.duration.min(ttl),
                };
                tracing::warn!(
                    secret = %path,
                    ttl_s = lease.duration.as_secs(),
                    renewable = lease.renewable,
                    "a dynamic secret was delivered: nothing renews it, it ends with its TTL"
                );
                delivery.leases.push(LeaseEnd::new(path.as_str(), now + lasts));
            }
        }
        Ok(delivery)
    }
}

impl Answers {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.readings.len()
    }

    /// What was found at a path. Where nothing was and that is a failure, it has been told already.
    fn of(&self, path: &ApiPath, version: Option<u64>) -> Result<Found<'_>, Failure> {
        let mut all = self.wanted.iter().zip(&self.readings);
        match all.find(|((p, v), _)| p == path && *v == version) {
            Some((_, Ok(reading))) => Ok(Found::Secret(reading)),
            Some((_, Err(missing))) if missing.kind == Kind::NotFound => Ok(Found::Nothing(missing)),
            Some((_, Err(error))) => Err(error.clone().into()),
            // Every secret of the order was wanted.
            None => Err(Failure::new(Code::NotFound, format!("{path} was not read"), "")),
        }
    }
}

/// What was found at a path.
enum Found<'a> {
    Secret(&'a Reading),
    Nothing(&'a VaultError),
}

fn unselected(error: &SelectError, path: &ApiPath) -> Failure {
    let (code, hint) = match error {
        SelectError::NoMatch { .. } => (Code::NotFound, "names of fields are exact, upper and lower case too"),
        _ => (Code::BadData, "correct the secret, or the annotation that names it"),
    };
    Failure::new(code, format!("secret {path}: {error}"), hint)
}

impl Delivery {
    fn count(&mut self, bytes: &Secret) -> Result<(), Failure> {
        self.bytes += bytes.len();
        match self.bytes > MAX_RENDERED_BYTES {
            true => Err(Failure::new(
                Code::BadData,
                "the files and variables together are larger than 4 MiB",
                "deliver fewer or smaller secrets",
            )),
            false => Ok(()),
        }
    }

    fn add(&mut self, variable: Variable, path: &ApiPath, version: Option<u64>) -> Result<(), Failure> {
        let name = variable.name.as_str();
        let same = |other: &&Delivered| matches!(&other.to, Target::Env(other) if other == name);
        if let Some(other) = self.delivered.iter().find(same) {
            return Err(Failure::new(
                Code::BadData,
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

    /// Makes it of what was read: where the containers see it, and what is in it.
    pub(super) fn render(&self, reading: &Reading) -> Result<Vec<(Destination, Rendered)>, Failure> {
        let path = &self.path;
        let fields = Fields::parse(reading.data())
            .map_err(|error| Failure::new(Code::NotVault, format!("the answer for {path}: {error}"), ""))?;
        let bytes = render::render(self.file, &fields).map_err(|error| Failure::render(&error, path.as_str()))?;
        let rendered = Rendered {
            place: self.place.clone(),
            mode: self.file.mode.bits(),
            bytes,
        };
        Ok(vec![(self.file.file.clone(), rendered)])
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

    /// Makes the variables of what was read.
    pub(super) fn render(&self, reading: &Reading) -> Result<Vec<Variable>, Failure> {
        let data = select::inside(reading.whole_data());
        let values = select::select(self.select, data).map_err(|error| unselected(&error, &self.path))?;
        Ok(values.into_iter().map(|(name, value)| Variable { name, value }).collect())
    }
}

fn version<P>(file: &PlannedFile<P>) -> Option<u64> {
    file.version.map(NonZeroU64::get)
}
