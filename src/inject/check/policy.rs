//! Whether the operator's allow rules let a pod use a connection for what the pod asks for.

use std::collections::BTreeSet;

use crate::inject::config::{AllowRule, Condition};
use crate::inject::pod::Pod;
use crate::inject::problem::NoRule;
use crate::plan::{ApiPath, MAX_PLAN_BYTES, PathTemplate, Pattern, Plan, PlannedFile};

/// The first rule that allows everything that the pod asks for. The error: which rule comes nearest. The login of the job is not
/// checked: the operator chose it.
pub(crate) fn check<'r, C>(
    rules: &'r [AllowRule],
    pod: &Pod<'_>,
    namespace: &str,
    plan: &Plan<C>,
) -> Result<&'r AllowRule, NoRule> {
    let asked = AskedPaths::of(plan);
    let mut nearest: Option<(usize, Vec<(Condition, &str)>)> = None;
    for (rule, allowed) in rules.iter().enumerate() {
        let unmet = allowed.unmet(pod, namespace, plan, &asked);
        if unmet.is_empty() {
            return Ok(allowed);
        }
        if nearest.as_ref().is_none_or(|(_, fewest)| unmet.len() < fewest.len()) {
            nearest = Some((rule, unmet));
        }
    }
    Err(match nearest {
        None => NoRule::Empty,
        Some((rule, unmet)) => NoRule::Nearest {
            rule,
            unmet: unmet
                .into_iter()
                .map(|(condition, value)| (condition.field(), value.to_owned()))
                .collect(),
        },
    })
}

/// The paths that `init` asks for, each once, with what a rule is compared with.
struct AskedPaths<'v> {
    /// Each path that is read, with its forms if the agent looks up mounts.
    read: Vec<(&'v ApiPath, Vec<ApiPath>)>,
    written: Vec<&'v ApiPath>,
}

impl<'v> AskedPaths<'v> {
    fn of<C>(plan: &'v Plan<C>) -> Self {
        let mut seen = BTreeSet::new();
        let read = plan.read_paths().filter(|path| seen.insert(path.as_str()));
        let forms = |path: &ApiPath| match plan.mount_lookup.is_some() {
            true => path.forms(),
            false => Vec::new(),
        };
        Self {
            read: read.map(|path| (path, forms(path))).collect(),
            written: plan.written_paths().collect(),
        }
    }
}

impl AllowRule {
    /// The forms of the plan's paths that the agent may read after it has looked up their mounts, as far as they fit into a plan.
    /// None: the rule allows every path. (The rule must allow the pod.)
    pub(super) fn readable_forms<C>(&self, plan: &Plan<C>) -> Option<Vec<ApiPath>> {
        let patterns = self.secrets.as_deref()?;
        let mut readable = BTreeSet::new();
        let mut bytes = 0;
        for form in AskedPaths::of(plan).read.into_iter().flat_map(|(_, forms)| forms) {
            if patterns.iter().any(|pattern| pattern.matches(form.as_str())) {
                bytes += form.as_str().len();
                readable.insert(form);
            }
            // The plan is refused for its length.
            if bytes > MAX_PLAN_BYTES {
                break;
            }
        }
        Some(readable.into_iter().collect())
    }

    /// Each condition that the pod does not meet, with the pod's first value that does not match. Nothing: the rule allows the
    /// pod.
    fn unmet<'v, C>(
        &'v self,
        pod: &'v Pod<'_>,
        namespace: &'v str,
        plan: &'v Plan<C>,
        asked: &AskedPaths<'v>,
    ) -> Vec<(Condition, &'v str)> {
        let conditions = Condition::ALL.into_iter();
        let unmet = conditions
            .filter_map(|condition| Some((condition, self.first_unmet(condition, pod, namespace, plan, asked)?)));
        unmet.collect()
    }

    fn first_unmet<'v, C>(
        &self,
        condition: Condition,
        pod: &'v Pod<'_>,
        namespace: &'v str,
        plan: &'v Plan<C>,
        asked: &AskedPaths<'v>,
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
                let patterns = patterns?;
                let is_met = |(path, forms): &&(&ApiPath, Vec<ApiPath>)| match forms.as_slice() {
                    [] => matches(path.as_str()),
                    forms => forms.iter().any(|form| matches(form.as_str())),
                };
                let unmet = asked
                    .read
                    .iter()
                    .find(|asked| !is_met(asked))
                    .map(|(path, _)| path.as_str());
                let written = || {
                    asked
                        .written
                        .iter()
                        .map(|path| path.as_str())
                        .find(|path| !matches(path))
                };
                unmet.or_else(written).or_else(|| first_unmet_of_job(patterns, plan))
            }
            // `writes` that is left out matches nothing. A job only reads.
            Condition::Writes => asked
                .written
                .iter()
                .map(|path| path.as_str())
                .find(|path| !matches(path)),
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
            let name = path.replace('/', "-");
            let name = &name[name.len().saturating_sub(100)..];
            let mut file = json!({"secret": path, "format": "json", "file": name, "mode": "0400"});
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
    fn forms_that_do_not_fit_into_a_plan_are_not_collected() {
        let long = |file: usize| format!("kv/{}/{file}", ["x".repeat(70).as_str(); 13].join("/"));
        let paths: Vec<String> = (0..64).map(long).collect();
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        let (_, forms) = decided(json!([{"secrets": ["kv/**"]}]), &plan(&paths, &[])).unwrap();
        let bytes: usize = forms.unwrap().iter().map(String::len).sum();
        assert!((MAX_PLAN_BYTES..MAX_PLAN_BYTES + 4096).contains(&bytes), "{bytes}");
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
