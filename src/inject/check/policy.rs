//! Whether the operator's allow rules let a pod use a connection for what the pod asks for.

use crate::inject::config::{AllowRule, Condition};
use crate::inject::pod::Pod;
use crate::inject::problem::NoRule;
use crate::plan::{PathTemplate, Pattern, Plan, PlannedFile};

/// Succeeds if one rule allows everything that the pod asks for; else reports which rule comes nearest. The login of the job is
/// not checked: the operator chose it.
pub(crate) fn check<C>(rules: &[AllowRule], pod: &Pod<'_>, namespace: &str, plan: &Plan<C>) -> Result<(), NoRule> {
    if rules
        .iter()
        .any(|rule| rule.unmet(pod, namespace, plan).next().is_none())
    {
        return Ok(());
    }
    let unmet = rules.iter().map(|rule| rule.unmet(pod, namespace, plan));
    let nearest = unmet.enumerate().min_by_key(|(_, unmet)| unmet.clone().count());
    Err(match nearest {
        None => NoRule::Empty,
        Some((rule, unmet)) => NoRule::Nearest {
            rule,
            unmet: unmet
                .map(|(condition, value)| (condition.field(), value.to_owned()))
                .collect(),
        },
    })
}

impl AllowRule {
    /// Each condition that the pod does not meet, with the pod's first value that does not match. Nothing: the rule allows the
    /// pod.
    fn unmet<'v, C>(
        &'v self,
        pod: &'v Pod<'_>,
        namespace: &'v str,
        plan: &'v Plan<C>,
    ) -> impl Iterator<Item = (Condition, &'v str)> + Clone {
        let conditions = Condition::ALL.into_iter();
        conditions.filter_map(move |condition| Some((condition, self.first_unmet(condition, pod, namespace, plan)?)))
    }

    fn first_unmet<'v, C>(
        &self,
        condition: Condition,
        pod: &'v Pod<'_>,
        namespace: &'v str,
        plan: &'v Plan<C>,
    ) -> Option<&'v str> {
        let patterns = condition.patterns(self);
        let matches = |text: &str| {
            let mut patterns = patterns.unwrap_or_default().iter();
            patterns.any(|pattern| pattern.matches(text))
        };
        // A field that is left out matches all.
        let unmet = |text: &'v str| (patterns.is_some() && !matches(text)).then_some(text);
        match condition {
            Condition::Namespaces => unmet(namespace),
            Condition::ServiceAccounts => unmet(pod.service_account()),
            Condition::Roles => unmet(plan.login.as_ref()?.role.as_str()),
            Condition::AuthMounts => unmet(plan.login.as_ref()?.mount.as_str()),
            Condition::Secrets => {
                let files = plan
                    .files
                    .iter()
                    .flat_map(PlannedFile::requests)
                    .map(|request| &request.secret);
                let mut paths = files.chain(plan.env.iter().map(|env| &env.secret));
                let unmet = paths.find_map(|path| unmet(path.as_str()));
                unmet.or_else(|| first_unmet_of_job(patterns?, plan))
            }
            // `writes` that is left out matches nothing. A job only reads.
            Condition::Writes => {
                let requests = plan.files.iter().flat_map(PlannedFile::requests);
                let written = requests.filter(|request| request.data.is_some());
                let mut paths = written.map(|request| request.secret.as_str());
                paths.find(|path| !matches(path))
            }
        }
    }
}

/// The first path that the job reads and no pattern matches, whatever the job's placeholders become.
fn first_unmet_of_job<'v, C>(patterns: &[Pattern], plan: &'v Plan<C>) -> Option<&'v str> {
    let job = plan.job.as_ref()?;
    let files = job
        .files
        .iter()
        .flat_map(PlannedFile::requests)
        .map(|request| &request.secret);
    let mut paths = files.chain(job.env.iter().map(|env| &env.secret));
    let matches = |path: &PathTemplate| patterns.iter().any(|pattern| pattern.matches_template(path));
    paths.find(|path| !matches(path)).map(|path| path.as_path().as_str())
}
