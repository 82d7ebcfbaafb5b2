//! Each rule can be broken alone, and `Plan::parse` refuses exactly the plans that break a rule.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::plan::tests::{data, fresh_plan, plan, secret, template};
use crate::plan::{JobPlan, JobPolicy, Keys, Mode, NamedField, PathTemplate, SecretContent, TokenFile};

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
        Rule::EachFieldWithKeys => 31,
        Rule::EachFieldWithTemplate => 32,
        Rule::NotAVariable { .. } => 33,
        Rule::TooManyRequests(_) => 34,
        Rule::TouchedNowhere => 35,
        Rule::DirectoryWithHooks => 36,
        Rule::TokenFilePlace => 37,
        Rule::RestartNotAlone => 38,
        Rule::RestartWithHooks => 39,
        Rule::NothingForKubelet => 40,
        Rule::NamesUnknownToKubelet => 41,
        Rule::NameNotForKubelet => 42,
        Rule::NeedsInit => 43,
    }
}
/// The number of rules, which is the number of arms in [`position`].
const RULES: usize = 44;

type Change = fn(&mut Plan);

fn job(plan: &mut Plan) -> &mut JobPlan {
    plan.job.as_mut().unwrap()
}

fn written(path: &str) -> SecretRequest {
    SecretRequest {
        data: Some(data()),
        ..SecretRequest::read(path.parse().unwrap())
    }
}

fn keys(name: &str) -> Part {
    let named = NamedField {
        name: name.to_owned(),
        field: "k".to_owned(),
    };
    Part::Keys(Keys::try_from(vec![named]).unwrap())
}

/// Gives the first variable this name, in a plan whose variables the kubelet sets.
fn name_for_kubelet(plan: &mut Plan, written: &str) {
    if let Select::Value { name, .. } = &mut plan.env[0].select {
        *name = written.parse().unwrap();
    }
    (plan.kubelet_env, plan.job) = (true, None);
}

fn token_file(file: &str) -> Option<TokenFile> {
    Some(TokenFile {
        file: file.parse().unwrap(),
        mode: Mode::OWNER,
    })
}

/// Makes the plan one without `podkey-init`, which breaks no rule, and then changes the plan.
fn alone(plan: &mut Plan, change: Change) {
    (plan.files, plan.env, plan.login) = (Vec::new(), Vec::new(), None);
    (plan.binary, plan.hooks_alone) = (Binary::ImageVolume, true);
    job(plan).files[0].file = "/tmp/deep/kubeconfig".parse().unwrap();
    assert_eq!(super::plan(plan).count(), 0);
    change(plan);
}

fn on_change(plan: &mut Plan, actions: &[&str]) {
    let actions = actions.iter().map(|action| action.parse().unwrap());
    plan.refresh.as_mut().unwrap().on_change = actions.collect();
}

/// Changes of a plan with a job and without refresh, each with the one rule that it breaks.
const ONCE: &[(Change, Subject, Rule)] = &[
    (
        |p| p.token_file = token_file("token"),
        Subject::File(2),
        Rule::TokenFilePlace,
    ),
    (
        |p| p.token_file = token_file("/vault/secrets:token"),
        Subject::File(2),
        Rule::DirectoryWithHooks,
    ),
    (
        |p| {
            p.job = None;
            p.token_file = token_file("/tmp:token");
        },
        Subject::File(1),
        Rule::OverlappingDestination { other: 0 },
    ),
    (
        |p| {
            (p.files, p.env, p.job, p.login) = (Vec::new(), Vec::new(), None, None);
            p.token_file = token_file("/vault/secrets:token");
        },
        Subject::Login,
        Rule::InitNeedsLogin,
    ),
    (
        |p| secret(&mut p.files[0]).request.secret = "ns/auth/token/lookup-self".parse().unwrap(),
        Subject::Request { file: 0, number: 0 },
        Rule::SecretHoldsTokens,
    ),
    (
        |p| secret(&mut job(p).files[0]).request.secret = "auth/token/{job}".parse().unwrap(),
        Subject::Request { file: 1, number: 0 },
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
        |p| secret(&mut job(p).files[0]).request.data = Some(data()),
        Subject::Request { file: 1, number: 0 },
        Rule::DataForJob,
    ),
    (
        |p| secret(&mut p.files[0]).request = written("ns/sys/mounts/x"),
        Subject::Request { file: 0, number: 0 },
        Rule::DataForServer,
    ),
    (
        |p| secret(&mut p.files[0]).request = written("kv/data/web"),
        Subject::Request { file: 0, number: 0 },
        Rule::DataChangesEngine,
    ),
    (
        |p| {
            let request = &mut secret(&mut p.files[0]).request;
            *request = written("pki/issue/web");
            request.version = NonZeroU64::new(1);
        },
        Subject::Request { file: 0, number: 0 },
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
            file.file = "{{ .SecretKey }}".parse().unwrap();
            (secret(file).part, secret(file).format) = (Part::Whole, Format::Json);
        },
        Subject::File(0),
        Rule::EachFieldWithFormat,
    ),
    (
        |p| {
            let file = &mut job(p).files[0];
            file.file = "{{ .SecretKey }}".parse().unwrap();
            secret(file).format = Format::Raw;
        },
        Subject::File(1),
        Rule::EachFieldForJob,
    ),
    (
        |p| {
            let content = secret(&mut p.files[0]);
            (content.part, content.decode) = (Part::Whole, Decode::None);
        },
        Subject::File(0),
        Rule::RawNeedsKey,
    ),
    (
        |p| {
            let content = secret(&mut p.files[0]);
            (content.part, content.format) = (Part::Whole, Format::Yaml);
        },
        Subject::File(0),
        Rule::DecodeNeedsKey,
    ),
    (
        |p| {
            let file = &mut p.files[0];
            file.file = "{{ .SecretKey }}".parse().unwrap();
            (secret(file).part, secret(file).decode) = (keys("A"), Decode::None);
        },
        Subject::File(0),
        Rule::EachFieldWithKeys,
    ),
    (
        |p| {
            let file = &mut p.files[0];
            (file.file, file.content) = ("{{ .SecretKey }}".parse().unwrap(), template(&["kv/data/web"]));
        },
        Subject::File(0),
        Rule::EachFieldWithTemplate,
    ),
    (
        |p| {
            let content = secret(&mut p.files[0]);
            (content.part, content.decode, content.format) = (keys("A-B"), Decode::None, Format::Shell);
        },
        Subject::File(0),
        Rule::NotAVariable { key: 0 },
    ),
    (
        |p| p.files[0].content = template(&["kv/data/web", "auth/token/lookup-self"]),
        Subject::Request { file: 0, number: 1 },
        Rule::SecretHoldsTokens,
    ),
    (
        |p| {
            let of = |index| format!("f{index}").parse().unwrap();
            let content = template(&["kv/data/web"; 64]);
            p.files = vec![
                PlannedFile {
                    content,
                    ..p.files[0].clone()
                };
                4
            ];
            let files = p.files.iter_mut().enumerate().skip(1);
            files.for_each(|(index, file)| file.file = of(index));
            job(p).files[0].content = template(&["kv/data/{job}"]);
        },
        Subject::Templates,
        Rule::TooManyRequests(257),
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
    (|p| p.kubelet_env = true, Subject::KubeletEnv, Rule::NothingForKubelet),
    (
        |p| (p.kubelet_env, p.env, p.job) = (true, Vec::new(), None),
        Subject::KubeletEnv,
        Rule::NothingForKubelet,
    ),
    (
        |p| {
            let prefix = "APP_".to_owned();
            p.env[0].select = Select::UpperCase { prefix };
            (p.kubelet_env, p.job) = (true, None);
        },
        Subject::EnvEntry(0),
        Rule::NamesUnknownToKubelet,
    ),
    (
        |p| name_for_kubelet(p, "schlüssel"),
        Subject::EnvEntry(0),
        Rule::NameNotForKubelet,
    ),
    (
        |p| name_for_kubelet(p, "#A"),
        Subject::EnvEntry(0),
        Rule::NameNotForKubelet,
    ),
    (
        |p| name_for_kubelet(p, &"A".repeat(129)),
        Subject::EnvEntry(0),
        Rule::NameNotForKubelet,
    ),
    (
        |p| job(p).temp = Some([("A".parse().unwrap(), "b".parse().unwrap())].into()),
        Subject::Copy(0),
        Rule::CopyOfNoFile,
    ),
    (
        |p| alone(p, |p| p.binary = Binary::Copy),
        Subject::Plan,
        Rule::NeedsInit,
    ),
    (
        |p| alone(p, |p| job(p).files[0].file = "/etc/kubeconfig".parse().unwrap()),
        Subject::Plan,
        Rule::NeedsInit,
    ),
    (
        |p| alone(p, |p| job(p).files[0].file = "/tmp".parse().unwrap()),
        Subject::Plan,
        Rule::NeedsInit,
    ),
    (
        |p| {
            let files = p.files.clone();
            let login = p.login.clone();
            alone(p, |_| {});
            (p.files, p.login) = (files, login);
        },
        Subject::Plan,
        Rule::NeedsInit,
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
            p.job = None;
            p.token_file = token_file("/vault/secrets:..data");
        },
        Subject::File(2),
        Rule::TokenFilePlace,
    ),
    (
        |p| {
            p.job = None;
            p.token_file = token_file("/vault/secrets:token");
            on_change(p, &["touch:/vault/secrets:token"]);
        },
        Subject::Action(0),
        Rule::TouchedIsReplaced,
    ),
    (
        |p| {
            (p.files, p.env, p.login) = (Vec::new(), Vec::new(), None);
            on_change(p, &[]);
        },
        Subject::Refresh,
        Rule::NothingToRefresh,
    ),
    (
        |p| {
            p.job = None;
            on_change(p, &["restart", "touch:a"]);
        },
        Subject::OnChange,
        Rule::RestartNotAlone,
    ),
    (
        |p| on_change(p, &["restart"]),
        Subject::OnChange,
        Rule::RestartWithHooks,
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
    (
        |p| on_change(p, &["touch:/vault/secrets:reload"]),
        Subject::Action(0),
        Rule::TouchedNowhere,
    ),
    (
        |p| p.files[0].file = "/vault/secrets:a".parse().unwrap(),
        Subject::File(0),
        Rule::DirectoryWithHooks,
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
            init_delivers: self.init_logs_in(),
            has_job_policy: false,
            has_hooks: false,
            exports: true,
            has_job_env: false,
            files: std::iter::empty(),
            token_file: None,
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
        "/vault/secrets:a",
        "/vault/secrets:..data",
        "/srv:a",
    ])
}

prop_compose! {
    fn any_file()(
        path in prop::sample::select(vec!["kv/data/a", "pki/issue/a", "sys/x", "auth/token/lookup-self", "kv/data/{job}"]),
        file in destination(),
        part in prop::sample::select(vec![Part::Whole, Part::Key("k".to_owned()), keys("A"), keys("a.b")]),
        is_template in prop::bool::weighted(0.2),
        has_version in any::<bool>(),
        has_data in any::<bool>(),
        decode in prop::sample::select(Decode::NAMES),
        format in prop::sample::select(Format::NAMES),
        when_gone in prop::sample::select(WhenGone::NAMES),
    ) -> PlannedFile {
        let request = SecretRequest {
            secret: path.parse().unwrap(),
            version: has_version.then_some(NonZeroU64::MIN),
            data: has_data.then(data),
        };
        let content = Content::Secret(SecretContent {
            request,
            part,
            decode: decode.parse().unwrap(),
            format: format.parse().unwrap(),
        });
        PlannedFile {
            content: if is_template { template(&[path, "kv/data/b"]) } else { content },
            file: file.parse().unwrap(),
            mode: Mode::OWNER,
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
        kubelet_env in prop::bool::weighted(0.1),
        export in any::<bool>(),
        fresh in any::<bool>(),
        touched in prop::collection::vec(prop::sample::select(vec!["touch:a", "touch:b", "touch:env", "touch:/vault/secrets:a", "touch:/srv:b", "restart"]), 0..2),
        copied in prop::option::of(destination()),
        token in prop::option::weighted(0.3, destination()),
    ) -> Plan {
        let mut plan = plan();
        plan.files = files;
        plan.exec = exec;
        plan.kubelet_env = kubelet_env;
        plan.token_file = token.and_then(token_file);
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

fn for_job(file: PlannedFile) -> PlannedFile<PathTemplate> {
    let content = match file.content {
        Content::Secret(content) => Content::Secret(SecretContent {
            request: SecretRequest {
                secret: content.request.secret.as_str().parse().unwrap(),
                version: content.request.version,
                data: content.request.data,
            },
            part: content.part,
            decode: content.decode,
            format: content.format,
        }),
        Content::Template(_) => template(&["kv/data/{job}"]),
    };
    PlannedFile {
        content,
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
