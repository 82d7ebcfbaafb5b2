//! From the plan to bytes and names, all in memory: an [`Order`] reads each secret once, and renders every file and variable
//! from the [`Answers`]. `init`, the sidecar and the job's own reads use the same orders.

mod answers;
mod field_files;
mod order;

pub(super) use self::answers::Answers;
use self::answers::ReadOutcome;
pub(super) use self::field_files::check_field_files;
pub(super) use self::order::{EnvOrder, FileOrder, MadeFile, Order};
use super::report::Failure;
use super::volume::outcome::{DeliveredAs, DeliveredItem, LeaseEnd};
use super::volume::{PrintedValues, RenderedFile};
use crate::plan::{ApiPath, Destination, EnvName, ExitCode, MAX_RENDERED_BYTES, Plan};
use crate::secret::Secret;
use crate::vault::{VaultError, Wanted};

/// A variable and its value.
pub(super) struct RenderedVariable {
    pub name: EnvName,
    pub value: Secret,
}

/// The files and variables of an order.
#[derive(Default)]
pub(super) struct RenderedOrder {
    pub files: Vec<RenderedFile>,
    pub variables: Vec<RenderedVariable>,
    /// The values that templates printed, if the job's masks need them.
    pub printed: Vec<PrintedValues>,
    /// Each file and variable with its secret.
    pub delivered: Vec<DeliveredItem>,
    /// The reads of each element of `delivered`.
    pub made_of: Vec<Vec<Wanted>>,
    /// The secrets that end.
    pub leases: Vec<LeaseEnd>,
    /// A secret ends with the client token.
    pub bound_to_token: bool,
    /// The files whose names came with the secret, with the path of the secret.
    field_files: Vec<(Destination, ApiPath)>,
    bytes: usize,
}

impl RenderedOrder {
    /// Applies [`check_field_files`] to the files of this order.
    pub(super) fn check_field_files<C>(&self, plan: &Plan<C>) -> Result<(), Failure> {
        check_field_files(plan, self.field_files.iter().map(|(file, path)| (file, path)))
    }

    /// Renders a file, or a file for each field.
    fn add_file<P>(&mut self, all: &Order<'_, P>, order: &FileOrder<'_, P>, answers: &Answers) -> Result<(), Failure> {
        let file = order.file;
        let mut missing = false;
        for wanted in &order.wanted {
            match answers.of(wanted) {
                // The failure is reported.
                None => return Ok(()),
                Some(ReadOutcome::Secret(_)) => {}
                Some(ReadOutcome::Missing(error)) => {
                    missing = true;
                    warn_skipped(&wanted.path, Some(&file.file), error);
                }
            }
        }
        if missing && !order.is_template() {
            if let Destination::Absolute(_) = file.file {
                // A single-file mount needs a file, or the kubelet makes a directory of that name.
                self.files.push(RenderedFile {
                    place: order.place.clone(),
                    mode: file.mode.bits(),
                    bytes: Secret::from(Vec::new()),
                });
            }
            return Ok(());
        }
        let version = order.version(|wanted| answers.reading(wanted));
        for made in all.render_file(order, |wanted| answers.reading(wanted))? {
            let MadeFile {
                destination,
                rendered,
                printed,
            } = made;
            self.count(rendered.bytes.len())?;
            if let Some(values) = printed {
                let printed = PrintedValues {
                    number: order.number,
                    path: destination.path().into_owned(),
                    mode: rendered.mode,
                    values,
                };
                self.count(printed.size())?;
                self.printed.push(printed);
            }
            if let (Destination::EachField(_), [wanted]) = (&file.file, order.wanted.as_slice()) {
                self.field_files.push((destination.clone(), wanted.path.clone()));
            }
            self.delivered.push(DeliveredItem {
                to: DeliveredAs::File(destination.path().into_owned()),
                secret: order.paths(),
                version,
            });
            self.made_of.push(order.wanted.clone());
            self.files.push(rendered);
        }
        Ok(())
    }

    /// Renders the variables of one entry.
    fn add_variables(&mut self, order: &EnvOrder<'_>, answers: &Answers) -> Result<(), Failure> {
        let path = &order.path;
        let reading = match answers.of(&order.wanted()) {
            None => return Ok(()),
            Some(ReadOutcome::Secret(reading)) => reading,
            Some(ReadOutcome::Missing(missing)) => {
                warn_skipped(path, None, missing);
                return Ok(());
            }
        };
        for variable in order.render(reading)? {
            self.count(variable.value.len())?;
            self.add_variable(variable, path, reading.version)?;
            self.made_of.push(vec![order.wanted()]);
        }
        Ok(())
    }

    fn count(&mut self, bytes: usize) -> Result<(), Failure> {
        self.bytes += bytes;
        match self.bytes > MAX_RENDERED_BYTES {
            true => Err(Failure::too_large()),
            false => Ok(()),
        }
    }

    fn add_variable(
        &mut self,
        variable: RenderedVariable,
        path: &ApiPath,
        version: Option<u64>,
    ) -> Result<(), Failure> {
        let name = variable.name.as_str();
        let same = |other: &&DeliveredItem| matches!(&other.to, DeliveredAs::Env(other) if other == name);
        if let Some(other) = self.delivered.iter().find(same) {
            let message = format!(
                "the variable {name} would be made twice: from {} and from {path}",
                other.secret
            );
            let hint = "give one variable another name (`| NAME`), or a wildcard another prefix (`* | PREFIX_`)";
            return Err(Failure::new(ExitCode::BadData, message, hint));
        }
        self.delivered.push(DeliveredItem {
            to: DeliveredAs::Env(name.to_owned()),
            secret: path.to_string(),
            version,
        });
        self.variables.push(variable);
        Ok(())
    }
}

/// Logs that a missing secret is skipped. The hint is logged too: the path may be missing because it is not written in the
/// form of its engine.
fn warn_skipped(path: &ApiPath, file: Option<&Destination>, missing: &VaultError) {
    let file = file.map(tracing::field::display);
    tracing::warn!(secret = %path, file, reason = missing.message, hint = missing.hint, "skipped");
}
