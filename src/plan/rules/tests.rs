//! Each rule can be broken alone, and `Plan::parse` refuses exactly the plans that break a rule.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::plan::tests::{data, fresh_plan, plan};
use crate::plan::{JobPlan, JobPolicy};

/// The position of a rule among all rules.
fn position(rule: Rule) -> usize {
    match rule {
        Rule::SecretHoldsTokens => 0,
        Rule::DataForJob => 1,
        Rule::DataForServer => 2,
        Rule::DataChangesEngine => 3,
        Rule::DataWithVersion => 4,
        Rule::EachFieldWithKey => 5,
        Rule::EachFieldWithFormat => 6,
        Rule::EachFieldForJob => 7,
        Rule::RawNeedsKey => 8,
        Rule::DecodeNeedsKey => 9,
        Rule::SameDestination { .. } => 10,
        Rule::OverlappingDestination { .. } => 11,
        Rule::InVariablesDirectory => 12,
        Rule::WhenGoneNeedsRefresh => 13,
        Rule::OnChangeNeedsRefresh => 14,
        Rule::NothingToRefresh => 15,
        Rule::PolicyWithRefresh => 16,
        Rule::VariableFilesWithRefresh => 17,
        Rule::JobFileWithRefresh => 18,
        Rule::MountWithRefresh => 19,
        Rule::ReservedWithRefresh => 20,
        Rule::TooManyActions(_) => 21,
        Rule::TouchedIsReplaced => 22,
        Rule::NothingToDeliver => 23,
        Rule::TooManyFiles(_) => 24,
        Rule::TooManyVariables(_) => 25,
        Rule::NothingToStart => 26,
        Rule::CopyOfNoFile => 27,
        Rule::InitNeedsLogin => 28,
        Rule::JobNeedsLogin => 29,
        Rule::InsecureHttp => 30,
    }
}
/// The number of rules, which is the number of arms in [`position`].
const RULES: usize = 31;

type Change = fn(&mut Plan);

fn job(plan: &mut Plan) -> &mut JobPlan {
    plan.job.as_mut().unwrap()
}

fn on_change(plan: &mut Plan, actions: &[&str]) {
    let actions = actions.iter().map(|action| action.parse().unwrap());
    plan.refresh.as_mut().unwrap().on_change = actions.collect();
}

/// Changes of a plan with a job and without refresh, each with the one rule that it breaks.
const ONCE: &[(Change, Subject, Rule)] = &[
    (
        |p| p.files[0].secret = "ns/auth/token/lookup-self".parse().unwrap(),
        Subject::File(0),
        Rule::SecretHoldsTokens,
    ),
    (
        |p| job(p).files[0].secret = "auth/token/{job}".parse().unwrap(),
        Subject::File(1),
        Rule::SecretHoldsTokens,
    ),
    (
        |p| p.env[0].secret = "cubbyhole/x".parse().unwrap(),
        Subject::EnvEntry(0),
        Rule::SecretHoldsTokens,
    ),
    (
        |p| job(p).env[0].secret = "cubbyhole/{job}".parse().unwrap(),
        Subject::JobEnvEntry(0),
        Rule::SecretHoldsTokens,
    ),
    (
        |p| job(p).files[0].data = Some(data()),
        Subject::File(1),
        Rule::DataForJob,
    ),
    (
        |p| (p.files[0].secret, p.files[0].data) = ("ns/sys/mounts/x".parse().unwrap(), Some(data())),
        Subject::File(0),
        Rule::DataForServer,
    ),
    (
        |p| (p.files[0].secret, p.files[0].data) = ("kv/data/web".parse().unwrap(), Some(data())),
        Subject::File(0),
        Rule::DataChangesEngine,
    ),
    (
        |p| {
            let file = &mut p.files[0];
            (file.secret, file.version) = ("pki/issue/web".parse().unwrap(), std::num::NonZeroU64::new(1));
            file.data = Some(data());
        },
        Subject::File(0),
        Rule::DataWithVersion,
    ),
    (
        |p| p.files[0].file = "{{ .SecretKey }}".parse().unwrap(),
        Subject::File(0),
        Rule::EachFieldWithKey,
    ),
    (
        |p| {
            let file = &mut p.files[0];
            (file.file, file.key, file.format) = ("{{ .SecretKey }}".parse().unwrap(), None, Format::Json);
        },
        Subject::File(0),
        Rule::EachFieldWithFormat,
    ),
    (
        |p| {
            let file = &mut job(p).files[0];
            (file.file, file.format) = ("{{ .SecretKey }}".parse().unwrap(), Format::Raw);
        },
        Subject::File(1),
        Rule::EachFieldForJob,
    ),
    (
        |p| (p.files[0].key, p.files[0].decode) = (None, Decode::None),
        Subject::File(0),
        Rule::RawNeedsKey,
    ),
    (
        |p| (p.files[0].key, p.files[0].format) = (None, Format::Yaml),
        Subject::File(0),
        Rule::DecodeNeedsKey,
    ),
    (
        |p| p.files.push(p.files[0].clone()),
        Subject::File(1),
        Rule::SameDestination { other: 0 },
    ),
    (
        |p| job(p).files[0].file = "/tmp/kubeconfig/x".parse().unwrap(),
        Subject::File(1),
        Rule::OverlappingDestination { other: 0 },
    ),
    (
        |p| job(p).files[0].file = "env/TOKEN".parse().unwrap(),
        Subject::File(1),
        Rule::InVariablesDirectory,
    ),
    (
        |p| p.files[0].when_gone = WhenGone::Delete,
        Subject::File(0),
        Rule::WhenGoneNeedsRefresh,
    ),
    (
        |p| job(p).files[0].when_gone = WhenGone::Fail,
        Subject::File(1),
        Rule::WhenGoneNeedsRefresh,
    ),
    (
        |p| {
            (p.files, p.env, p.login) = (Vec::new(), Vec::new(), None);
            (job(p).files, job(p).env) = (Vec::new(), Vec::new());
        },
        Subject::Plan,
        Rule::NothingToDeliver,
    ),
    (
        |p| {
            let of = |index| format!("f{index}").parse().unwrap();
            p.files = vec![p.files[0].clone(); 64];
            let files = p.files.iter_mut().enumerate().skip(1);
            files.for_each(|(index, file)| file.file = of(index));
        },
        Subject::Plan,
        Rule::TooManyFiles(65),
    ),
    (
        |p| p.env = vec![p.env[0].clone(); 257],
        Subject::Env,
        Rule::TooManyVariables(257),
    ),
    (
        |p| job(p).env = vec![job(p).env[0].clone(); 257],
        Subject::JobEnv,
        Rule::TooManyVariables(257),
    ),
    (|p| p.exec = true, Subject::Exec, Rule::NothingToStart),
    (
        |p| (p.exec, p.env, p.job) = (true, Vec::new(), None),
        Subject::Exec,
        Rule::NothingToStart,
    ),
    (
        |p| job(p).temp = Some([("A".parse().unwrap(), "b".parse().unwrap())].into()),
        Subject::Copy(0),
        Rule::CopyOfNoFile,
    ),
    (|p| p.login = None, Subject::Login, Rule::InitNeedsLogin),
    (|p| job(p).login = None, Subject::JobLogin, Rule::JobNeedsLogin),
    (
        |p| p.connection.address = "http://vault".parse().unwrap(),
        Subject::Connection,
        Rule::InsecureHttp,
    ),
];

/// Changes of a plan with refresh and a job that exports its variables, each with the one rule that it breaks.
const FRESH: &[(Change, Subject, Rule)] = &[
    (
        |p| {
            (p.files, p.env, p.login) = (Vec::new(), Vec::new(), None);
            on_change(p, &[]);
        },
        Subject::Refresh,
        Rule::NothingToRefresh,
    ),
    (
        |p| job(p).policies = vec![JobPolicy::default()],
        Subject::Refresh,
        Rule::PolicyWithRefresh,
    ),
    (
        |p| job(p).export = false,
        Subject::Export,
        Rule::VariableFilesWithRefresh,
    ),
    (
        |p| job(p).files = plan().job.unwrap().files,
        Subject::File(2),
        Rule::JobFileWithRefresh,
    ),
    (
        |p| p.files[0].file = "/tmp/kubeconfig".parse().unwrap(),
        Subject::File(0),
        Rule::MountWithRefresh,
    ),
    (
        |p| p.files[1].file = "..{{ .SecretKey }}".parse().unwrap(),
        Subject::File(1),
        Rule::ReservedWithRefresh,
    ),
    (
        |p| on_change(p, &["touch:a"; 9]),
        Subject::OnChange,
        Rule::TooManyActions(9),
    ),
    (
        |p| on_change(p, &["touch:a", "touch:web/reload"]),
        Subject::Action(1),
        Rule::TouchedIsReplaced,
    ),
    (
        |p| on_change(p, &["touch:env/x"]),
        Subject::Action(0),
        Rule::TouchedIsReplaced,
    ),
];

/// [`plan`] without copies, which would lose their files in some rows.
fn plan_without_copies() -> Plan {
    let mut plan = plan();
    job(&mut plan).temp = None;
    plan
}

/// [`fresh_plan`] with a job that refresh allows.
fn fresh_plan_with_job() -> Plan {
    let mut fresh = fresh_plan();
    fresh.job = plan().job.map(|job| JobPlan {
        files: Vec::new(),
        policies: Vec::new(),
        temp: None,
        ..job
    });
    fresh
}

#[test]
fn each_rule_can_be_broken_alone() {
    let mut seen = BTreeSet::new();
    for (base, rows) in [
        (plan_without_copies as fn() -> Plan, ONCE),
        (fresh_plan_with_job, FRESH),
    ] {
        assert_eq!(super::plan(&base()).next(), None);
        for (change, subject, rule) in rows {
            let mut plan = base();
            change(&mut plan);
            let violations: Vec<_> = super::plan(&plan).collect();
            assert_eq!(violations, [subject.breaks(*rule)]);
            assert!(Plan::parse(&plan.to_env_value().unwrap()).is_err(), "{rule:?}");
            seen.insert(position(*rule));
        }
    }
    // A plan without refresh has no actions: only a request can ask for them.
    let actions = ["touch:a".parse().unwrap()];
    let shape = RefreshShape {
        is_on: false,
        on_change: &actions,
        ..plan().refresh_shape_without_files()
    };
    assert_eq!(
        refresh(shape).collect::<Vec<_>>(),
        [Subject::OnChange.breaks(Rule::OnChangeNeedsRefresh)]
    );
    seen.insert(position(Rule::OnChangeNeedsRefresh));
    assert_eq!(seen, (0..RULES).collect(), "a rule has no row");
}

impl Plan {
    fn refresh_shape_without_files(&self) -> RefreshShape<'static, std::iter::Empty<FileShape<'static>>> {
        RefreshShape {
            is_on: self.refresh.is_some(),
            init_reads: self.init_reads(),
            has_job_policy: false,
            exports: true,
            has_job_env: false,
            files: std::iter::empty(),
            on_change: &[],
        }
    }
}

#[test]
fn every_rule_has_its_own_sentence() {
    let rules = ONCE.iter().chain(FRESH).map(|(_, _, rule)| *rule);
    let sentences: BTreeSet<_> = rules.clone().map(|rule| rule.to_string()).collect();
    let positions: BTreeSet<_> = rules.map(position).collect();
    assert_eq!(sentences.len(), positions.len(), "{sentences:?}");
}

fn destination() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "a",
        "a/b",
        "env",
        "/srv/a",
        "/srv/a/b",
        "..data",
        ".status.json",
        "{{ .SecretKey }}",
        "a/{{ .SecretKey }}",
    ])
}

prop_compose! {
    fn any_file()(
        secret in prop::sample::select(vec!["kv/data/a", "pki/issue/a", "sys/x", "auth/token/lookup-self", "kv/data/{job}"]),
        file in destination(),
        has_key in any::<bool>(),
        has_version in any::<bool>(),
        has_data in any::<bool>(),
        decode in prop::sample::select(Decode::NAMES),
        format in prop::sample::select(Format::NAMES),
        when_gone in prop::sample::select(WhenGone::NAMES),
    ) -> PlannedFile {
        PlannedFile {
            secret: secret.parse().unwrap(),
            version: has_version.then_some(std::num::NonZeroU64::MIN),
            data: has_data.then(data),
            key: has_key.then(|| "k".to_owned()),
            decode: decode.parse().unwrap(),
            format: format.parse().unwrap(),
            file: file.parse().unwrap(),
            mode: crate::plan::Mode::OWNER,
            when_gone: when_gone.parse().unwrap(),
        }
    }
}

prop_compose! {
    fn any_plan()(
        files in prop::collection::vec(any_file(), 0..3),
        job_files in prop::collection::vec(any_file(), 0..2),
        keep_env in any::<bool>(),
        keep_job_env in any::<bool>(),
        keep_job in any::<bool>(),
        keep_policies in any::<bool>(),
        keep_login in prop::bool::weighted(0.9),
        keep_job_login in prop::bool::weighted(0.9),
        exec in prop::bool::weighted(0.1),
        export in any::<bool>(),
        fresh in any::<bool>(),
        touched in prop::collection::vec(prop::sample::select(vec!["touch:a", "touch:b", "touch:env"]), 0..2),
        copied in prop::option::of(destination()),
    ) -> Plan {
        let mut plan = plan();
        plan.files = files;
        plan.exec = exec;
        if !keep_env {
            plan.env.clear();
        }
        if !keep_login {
            plan.login = None;
        }
        if fresh {
            plan.refresh = fresh_plan().refresh;
            on_change(&mut plan, &touched);
        }
        let job = plan.job.as_mut().unwrap();
        job.files = job_files.into_iter().map(for_job).collect();
        job.export = export;
        job.temp = copied.map(|file| [("A".parse().unwrap(), file.parse().unwrap())].into());
        if !keep_job_env {
            job.env.clear();
        }
        if !keep_policies {
            job.policies.clear();
        }
        if !keep_job_login {
            job.login = None;
        }
        if !keep_job {
            plan.job = None;
        }
        plan
    }
}

fn for_job(file: PlannedFile) -> PlannedFile<crate::plan::PathTemplate> {
    PlannedFile {
        secret: file.secret.as_str().parse().unwrap(),
        version: file.version,
        data: file.data,
        key: file.key,
        decode: file.decode,
        format: file.format,
        file: file.file,
        mode: file.mode,
        when_gone: file.when_gone,
    }
}

proptest! {
    #[test]
    fn a_plan_parses_if_and_only_if_no_rule_is_broken(plan in any_plan()) {
        let broken: Vec<_> = super::plan(&plan).collect();
        let parsed = Plan::parse(&plan.to_env_value().unwrap());
        match parsed {
            Ok(parsed) => {
                prop_assert!(broken.is_empty(), "{broken:?}");
                prop_assert_eq!(parsed, plan);
            }
            Err(why) => {
                prop_assert!(!broken.is_empty(), "{why}");
                prop_assert!(why.to_string().contains(&broken[0].rule.to_string()), "{why}");
            }
        }
    }
}
