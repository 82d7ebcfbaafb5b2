//! Whether the operator's allow rules let a pod use a connection for what the pod asks for.

use std::collections::BTreeSet;

use crate::inject::config::{AllowRule, Condition};
use crate::inject::pod::Pod;
use crate::inject::problem::NoRule;
use crate::plan::{ApiPath, PathTemplate, Pattern, Plan, PlannedFile, SecretRequest};

/// The first rule that allows everything that the pod asks for. The error: which rule comes nearest. The login of the job is not
/// checked: the operator chose it.
pub(crate) fn check<'r, C>(
    rules: &'r [AllowRule],
    pod: &Pod<'_>,
    namespace: &str,
    plan: &Plan<C>,
) -> Result<&'r AllowRule, NoRule> {
    let mut allowing = rules
        .iter()
        .filter(|rule| rule.unmet(pod, namespace, plan).next().is_none());
    if let Some(rule) = allowing.next() {
        return Ok(rule);
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
    /// The forms of the plan's paths that the agent may read after it has looked up their mounts. None: the rule allows every path.
    /// (The rule must allow the pod.)
    pub(super) fn readable_forms<C>(&self, plan: &Plan<C>) -> Option<Vec<ApiPath>> {
        let patterns = self.secrets.as_deref()?;
        let forms = plan.read_paths().flat_map(ApiPath::forms);
        let allowed = forms.filter(|form| patterns.iter().any(|pattern| pattern.matches(form.as_str())));
        Some(allowed.collect::<BTreeSet<_>>().into_iter().collect())
    }

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
                let looks_up = |request: &SecretRequest| plan.mount_lookup.is_some() && request.data.is_none();
                let files = plan.files.iter().flat_map(PlannedFile::requests);
                let files = files.map(|request| (&request.secret, looks_up(request)));
                let env = plan.env.iter().map(|env| (&env.secret, plan.mount_lookup.is_some()));
                let unmet = files.chain(env).find_map(|(path, looks_up)| match looks_up {
                    true if path.forms().iter().any(|form| matches(form.as_str())) => None,
                    _ => unmet(path.as_str()),
                });
                unmet.or_else(|| first_unmet_of_job(patterns?, plan))
            }
            // `writes` that is left out matches nothing. A job only reads.
            Condition::Writes => {
                let mut paths = plan.written_paths().map(ApiPath::as_str);
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::plan::MountLookup;

    /// A plan that reads these paths and writes the others, and looks up mounts.
    fn plan(read: &[&str], written: &[&str]) -> Plan {
        let file = |path: &&str, data: Value| {
            let mut file = json!({"secret": path, "format": "json", "file": path.replace('/', "-"), "mode": "0400"});
            if !data.is_null() {
                file["data"] = data;
            }
            file
        };
        let read = read.iter().map(|path| file(path, Value::Null));
        let written = written.iter().map(|path| file(path, json!({"common_name": "x"})));
        let plan = json!({
            "version": 1, "connection": {"name": "default", "address": "https://vault:8200"}, "budget": "5m",
            "login": {"method": "kubernetes", "mount": "kubernetes", "role": "web"}, "mountLookup": {},
            "files": read.chain(written).collect::<Vec<_>>(),
        });
        Plan::parse(&plan.to_string()).unwrap()
    }

    /// The place of the rule that allows the plan, and the forms that it allows. The error: the first unmet value of each condition.
    fn decided(rules: Value, plan: &Plan) -> Result<(usize, Option<Vec<String>>), Vec<String>> {
        let rules: Vec<AllowRule> = serde_json::from_value(rules).unwrap();
        let pod = Pod::parse(r#"{"metadata": {}, "spec": {"containers": []}}"#).unwrap();
        match check(&rules, &pod, "apps", plan) {
            Ok(rule) => {
                let place = rules.iter().position(|other| std::ptr::eq(other, rule)).unwrap();
                let forms = rule.readable_forms(plan);
                Ok((
                    place,
                    forms.map(|forms| forms.iter().map(ToString::to_string).collect()),
                ))
            }
            Err(NoRule::Nearest { unmet, .. }) => Err(unmet.into_iter().map(|(_, value)| value).collect()),
            Err(NoRule::Empty) => Err(Vec::new()),
        }
    }

    #[test]
    fn a_path_without_data_is_allowed_by_a_rule_for_any_of_its_forms_and_only_those_forms_are_read() {
        let app = plan(&["secret/app"], &[]);
        for (pattern, forms) in [
            ("secret/data/*", vec!["secret/data/app"]),
            ("secret/app", vec!["secret/app"]),
            ("secret/**", vec!["secret/app", "secret/app/data", "secret/data/app"]),
        ] {
            let rules = json!([{"secrets": ["other/*"]}, {"secrets": [pattern]}]);
            let forms = forms.into_iter().map(str::to_owned).collect();
            assert_eq!(decided(rules, &app), Ok((1, Some(forms))), "{pattern}");
        }
        assert_eq!(
            decided(json!([{}]), &app),
            Ok((0, None)),
            "a rule without secrets allows all"
        );
        let other = decided(json!([{"secrets": ["secret/data/web"]}]), &app);
        assert_eq!(other, Err(vec!["secret/app".to_owned()]));
    }

    #[test]
    fn one_rule_must_allow_all_paths_and_the_first_such_rule_decides_what_is_read() {
        let two = plan(&["secret/a", "secret/b"], &[]);
        let rules = json!([
            {"secrets": ["secret/data/a"]},
            {"secrets": ["secret/data/a", "secret/b"]},
            {"secrets": ["secret/**"]},
        ]);
        let forms = ["secret/b", "secret/data/a"].map(str::to_owned).to_vec();
        assert_eq!(decided(rules, &two), Ok((1, Some(forms))));
    }

    #[test]
    fn a_path_that_is_written_and_a_path_without_look_up_have_one_form() {
        let written = plan(&[], &["pki/issue/web"]);
        let rules = json!([{"secrets": ["pki/data/issue/web"], "writes": ["pki/issue/web"]}]);
        assert_eq!(decided(rules, &written), Err(vec!["pki/issue/web".to_owned()]));
        let rules = json!([{"secrets": ["pki/**"], "writes": ["pki/data/issue/web"]}]);
        assert_eq!(decided(rules, &written), Err(vec!["pki/issue/web".to_owned()]));

        let mut as_written = plan(&["secret/app"], &[]);
        as_written.mount_lookup = None;
        let refused = decided(json!([{"secrets": ["secret/data/*"]}]), &as_written);
        assert_eq!(refused, Err(vec!["secret/app".to_owned()]));
    }

    #[test]
    fn whatever_the_agent_may_read_is_a_form_that_the_rule_allows() {
        let paths = ["a", "a/b", "a/data", "a/data/b", "a/metadata/b", "a/b/c/d"];
        let patterns = ["a/**", "a/*", "*/data/**", "a/b/data/*", "**", "a/data/data/b"];
        for pattern in patterns {
            for (index, path) in paths.iter().enumerate() {
                let plan = plan(&[path, paths[(index + 1) % paths.len()]], &[]);
                let Ok((_, Some(forms))) = decided(json!([{"secrets": [pattern]}]), &plan) else {
                    continue;
                };
                let compiled: Pattern = pattern.parse().unwrap();
                let lookup = MountLookup {
                    allowed: Some(forms.iter().map(|form| form.parse().unwrap()).collect()),
                };
                for path in plan.read_paths() {
                    assert!(path.forms().iter().any(|form| lookup.allows(form)), "{path} {pattern}");
                    for form in path.forms() {
                        assert_eq!(
                            lookup.allows(&form),
                            compiled.matches(form.as_str()),
                            "{form} {pattern}"
                        );
                    }
                }
            }
        }
    }
}
