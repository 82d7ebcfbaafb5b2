//! A plan survives the environment, and the agent refuses plans that it cannot carry out whole.

use std::collections::BTreeMap;

use super::*;

pub(super) fn plan() -> Plan {
    Plan {
        version: PLAN_VERSION,
        connection: Connection {
            name: "default".into(),
            address: "https://vault:8200".parse().unwrap(),
            ca: None,
            tls_server_name: None,
            namespace: None,
            allow_insecure_http: false,
        },
        login: Some(Login {
            inline: false,
            method: AuthMethod::Kubernetes,
            mount: "kubernetes".parse().unwrap(),
            role: "$$(HOME)$".parse().unwrap(),
        }),
        budget: Budget::default(),
        ignore_not_found: false,
        mount_lookup: None,
        files: vec![PlannedFile {
            content: Content::Secret(SecretContent {
                request: SecretRequest {
                    secret: "kv/data/$(HOME)".parse().unwrap(),
                    version: None,
                    data: None,
                },
                part: Part::Key("config".into()),
                decode: Decode::Base64,
                format: Format::Raw,
            }),
            file: "/tmp/kubeconfig".parse().unwrap(),
            mode: Mode::OWNER,
            when_gone: WhenGone::Keep,
        }],
        token_file: None,
        env: vec![variable()],
        env_mode: Mode::GROUP,
        exec: false,
        binary: Binary::Copy,
        hooks_alone: false,
        kubelet_env: false,
        job: Some(JobPlan {
            user: 1001,
            on_failure: OnFailure::FailJob,
            mask: Mask::Smart,
            export: true,
            deadline: "30s".parse().unwrap(),
            login: Some(JobLogin {
                inline: false,
                mount: "github".parse().unwrap(),
                role: "ci".parse().unwrap(),
                audience: Some("https://vault.example.com".parse().unwrap()),
            }),
            files: vec![PlannedFile {
                content: Content::Secret(SecretContent {
                    request: SecretRequest {
                        secret: "ci/data/{repository}/deploy".parse().unwrap(),
                        version: None,
                        data: None,
                    },
                    part: Part::Whole,
                    decode: Decode::None,
                    format: Format::Json,
                }),
                file: "deploy.json".parse().unwrap(),
                mode: Mode::OWNER,
                when_gone: WhenGone::Keep,
            }],
            env: vec![EnvSecret {
                secret: "ci/data/{repository}/env".parse().unwrap(),
                version: None,
                select: Select::KeepCase {
                    prefix: "$CI_".to_owned(),
                },
            }],
            policies: vec![JobPolicy {
                repositories: Some(vec!["octo-org/*".parse().unwrap()]),
                forks: Forks::Allow,
                ..JobPolicy::default()
            }],
            temp: Some([("KUBECONFIG".parse().unwrap(), "/tmp/kubeconfig".parse().unwrap())].into()),
        }),
        refresh: None,
    }
}

fn variable() -> EnvSecret {
    EnvSecret {
        secret: "kv/data/app".parse().unwrap(),
        version: std::num::NonZeroU64::new(2),
        select: Select::Value {
            at: vec![ValueStep::Key("a$b".to_owned()), ValueStep::Index(-1)],
            name: "TOKEN".parse().unwrap(),
        },
    }
}

#[test]
fn a_plan_without_job_and_variables_has_no_new_field() {
    let mut plan = plan();
    (plan.env, plan.env_mode, plan.job) = (Vec::new(), Mode::OWNER, None);
    let text = plan.to_env_value().unwrap();
    assert!(text.ends_with(r#""mode":"0400"}]}"#), "{text}");
    assert_eq!(Plan::parse(&text).unwrap(), plan);
}

#[test]
fn a_plan_of_a_token_alone_is_a_plan() {
    for refresh in [None, fresh_plan().refresh] {
        let mut plan = plan();
        (plan.files, plan.env, plan.env_mode, plan.job) = (Vec::new(), Vec::new(), Mode::OWNER, None);
        plan.refresh = refresh;
        plan.token_file = Some(TokenFile {
            file: "/vault/secrets:token".parse().unwrap(),
            mode: Mode::ALL,
        });
        let text = plan.to_env_value().unwrap();
        let token = r#""tokenFile":{"file":"/vault/secrets:token","mode":"0444"}"#;
        assert!(text.contains(token), "{text}");
        assert_eq!(Plan::parse(&text).unwrap(), plan);
    }
}

#[test]
fn the_files_of_the_job_are_numbered_after_the_files_of_init() {
    let mut plan = plan();
    plan.job.as_mut().unwrap().files[0].file = "/srv/deploy".parse().unwrap();
    assert_eq!(plan.placed_job_files().next().unwrap().1, "single/1");
    let seen: Vec<_> = plan.destinations().map(Destination::path).collect();
    assert_eq!(seen, ["/tmp/kubeconfig", "/srv/deploy"]);
}

#[test]
fn formats_are_listed_by_path_and_by_name() {
    let plan = plan();
    let formats: Vec<_> = plan.formats().into_iter().collect();
    assert_eq!(
        formats,
        [
            ("/podkey/secrets/deploy.json".into(), Format::Json),
            ("/tmp/kubeconfig".into(), Format::Raw),
            ("deploy.json".into(), Format::Json),
        ]
    );
}

#[test]
fn a_plan_survives_the_environment_and_has_no_dollar_that_kubernetes_expands() {
    let text = plan().to_env_value().unwrap();
    assert!(!text.contains('$'), "{text}");
    assert_eq!(Plan::parse(&text).unwrap(), plan());
}

pub(super) fn data() -> Data {
    Data::try_from(BTreeMap::from([(
        "common_name".to_owned(),
        Value::Text("web".to_owned()),
    )]))
    .unwrap()
}

/// The secret that the file is made of.
pub(super) fn secret<P>(file: &mut PlannedFile<P>) -> &mut SecretContent<P> {
    match &mut file.content {
        Content::Secret(content) => content,
        Content::Template(_) => panic!("the file is made by a template"),
    }
}

/// A template that reads these paths.
pub(super) fn template<P: std::str::FromStr<Err = Invalid>>(paths: &[&str]) -> Content<P> {
    let calls = paths
        .iter()
        .map(|path| format!("{{{{ with secret {path:?} }}}}{{{{ .Data.k }}}}{{{{ end }}}}"));
    let text: String = calls.collect();
    Content::Template(TemplateContent::of_plan(&text, None, crate::template::MissingField::Fail).unwrap())
}

pub(super) fn fresh_plan() -> Plan {
    let mut plan = plan();
    plan.job = None;
    plan.files[0].file = "web/kubeconfig".parse().unwrap();
    plan.files[0].when_gone = WhenGone::Fail;
    plan.files.push(PlannedFile {
        content: Content::Secret(SecretContent {
            request: SecretRequest {
                secret: "pki/issue/web".parse().unwrap(),
                version: None,
                data: Some(data()),
            },
            part: Part::Whole,
            decode: Decode::None,
            format: Format::Raw,
        }),
        file: "tls/{{ .SecretKey | replace \"_\" \"-\" }}.pem".parse().unwrap(),
        mode: Mode::OWNER,
        when_gone: WhenGone::Keep,
    });
    plan.refresh = Some(Refresh {
        interval: "15s".parse().unwrap(),
        on_change: vec!["touch:reload".parse().unwrap(), "signal:SIGHUP:nginx".parse().unwrap()],
    });
    plan
}

#[test]
fn a_plan_that_is_kept_fresh_survives_the_environment() {
    let text = fresh_plan().to_env_value().unwrap();
    assert_eq!(Plan::parse(&text).unwrap(), fresh_plan());
}

#[test]
fn files_that_cannot_be_kept_fresh_are_refused() {
    let text = |change: fn(&mut Plan)| {
        let mut plan = fresh_plan();
        change(&mut plan);
        Plan::parse(&plan.to_env_value().unwrap())
            .expect_err("refused")
            .to_string()
    };
    fn on_change(plan: &mut Plan, text: &str) {
        plan.refresh.as_mut().unwrap().on_change = vec![text.parse().unwrap()];
    }
    assert!(text(|p| p.files[0].file = "/tmp/kubeconfig".parse().unwrap()).contains("mounted on its own"));
    assert!(text(|p| p.files[0].file = "..data/x".parse().unwrap()).contains("keeps this name for itself"));
    assert!(text(|p| p.files[0].file = ".status.json".parse().unwrap()).contains("keeps this name for itself"));
    assert!(text(|p| p.files[1].file = "..{{ .SecretKey }}".parse().unwrap()).contains("keeps this name for itself"));
    let job = |change: fn(&mut JobPlan)| {
        let mut with_job = fresh_plan();
        with_job.job = plan().job.map(|mut job| {
            (job.files, job.policies, job.temp) = (Vec::new(), Vec::new(), None);
            change(&mut job);
            job
        });
        Plan::parse(&with_job.to_env_value().unwrap()).map_err(|error| error.to_string())
    };
    assert!(job(|_| {}).is_ok());
    assert!(job(|j| j.export = false).is_err_and(|why| why.contains("only the sidecar may write")));
    assert!(job(|j| j.files = plan().job.unwrap().files).is_err_and(|why| why.contains("the job reads this file")));
    assert!(
        job(|j| j.policies = plan().job.unwrap().policies)
            .is_err_and(|why| why.contains("what the job policy refuses"))
    );
    assert!(text(|p| (p.files, p.env) = (Vec::new(), Vec::new())).contains("no file and no variable"));
    let mut nothing = fresh_plan();
    nothing.job = plan().job;
    (nothing.files, nothing.env) = (Vec::new(), Vec::new());
    nothing.job.iter_mut().for_each(|job| job.temp = None);
    let error = Plan::parse(&nothing.to_env_value().unwrap()).unwrap_err().to_string();
    assert!(error.contains("init delivers nothing"), "{error}");
    assert!(
        text(|p| p.refresh.as_mut().unwrap().on_change = vec!["touch:a".parse().unwrap(); 9]).contains("9 actions")
    );
    assert!(text(|p| on_change(p, "touch:web/reload")).contains("replaces the touched file"));
    assert!(text(|p| on_change(p, "touch:tls")).contains("replaces the touched file"));
    assert!(text(|p| on_change(p, "touch:..data/x")).contains("replaces the touched file"));
    assert!(text(|p| on_change(p, "touch:env/x")).contains("replaces the touched file"));
}

#[test]
fn the_agent_refuses_plans_that_it_cannot_carry_out_whole() {
    let text = |change: fn(&mut Plan)| {
        let mut plan = plan();
        change(&mut plan);
        Plan::parse(&plan.to_env_value().unwrap())
            .expect_err("refused")
            .to_string()
    };
    assert!(text(|p| p.version = 2).contains("version 2"));
    assert!(text(|p| (p.files, p.env, p.job) = (Vec::new(), Vec::new(), None)).contains("no file and no variable"));
    assert!(text(|p| p.files = vec![p.files[0].clone(); 65]).contains("66 files"));
    assert!(
        text(|p| p.files.push(p.files[0].clone()))
            .contains("\"/tmp/kubeconfig\": another file has the same destination: \"/tmp/kubeconfig\"")
    );
    assert!(
        text(|p| secret(&mut p.files[0]).request.secret = "auth/token/lookup-self".parse().unwrap())
            .contains("about tokens")
    );
    fn written(p: &mut Plan, path: &str) {
        let data = [("a".to_owned(), Value::Text("b".to_owned()))];
        let request = &mut secret(&mut p.files[0]).request;
        (request.secret, request.data) = (
            path.parse().unwrap(),
            Some(std::collections::BTreeMap::from(data).try_into().unwrap()),
        );
    }
    assert!(text(|p| written(p, "kv/data/web")).contains("changes the engine"));
    assert!(text(|p| written(p, "ns1/sys/mounts/x")).contains("the server's own"));
    assert!(text(|p| p.connection.address = "http://vault".parse().unwrap()).contains("allowInsecureHttp"));
    assert!(text(|p| p.env = vec![variable(); 257]).contains("257 entries"));
    assert!(text(|p| p.env[0].secret = "cubbyhole/x".parse().unwrap()).contains("about tokens"));
    assert!(
        text(|p| p.files[0].file = "env/TOKEN".parse().unwrap()).contains("\"env/TOKEN\": the directory env is kept")
    );
    let job = |change: fn(&mut JobPlan)| {
        let mut plan = plan();
        plan.job.iter_mut().for_each(change);
        Plan::parse(&plan.to_env_value().unwrap())
            .expect_err("refused")
            .to_string()
    };
    assert!(job(|j| j.login = None).contains("the job reads"));
    assert!(text(|p| p.login = None).contains("init reads"));
    assert!(job(|j| j.env = vec![j.env[0].clone(); 257]).contains("257 entries"));
    assert!(job(|j| j.files = vec![j.files[0].clone(); 64]).contains("65 files"));
    assert!(
        job(|j| j.files[0].file = "/tmp/kubeconfig".parse().unwrap()).contains("same destination: \"/tmp/kubeconfig\"")
    );
    assert!(job(|j| j.env[0].secret = "auth/token/{job}".parse().unwrap()).contains("about tokens"));
    assert!(
        job(|j| j.temp = Some([("A".parse().unwrap(), "b".parse().unwrap())].into()))
            .contains("job.temp A: the plan delivers no such file")
    );
    assert!(text(|p| p.exec = true).contains("commands start with variables only"));
    assert!(text(|p| (p.exec, p.env, p.job) = (true, Vec::new(), None)).contains("commands start with variables only"));
    let file = |change: fn(&mut PlannedFile)| {
        let mut plan = plan();
        change(&mut plan.files[0]);
        Plan::parse(&plan.to_env_value().unwrap())
            .expect_err("refused")
            .to_string()
    };
    assert!(file(|f| f.when_gone = WhenGone::Delete).contains("when-gone needs refresh"));
    assert!(file(|f| f.file = "{{ .SecretKey }}".parse().unwrap()).contains("takes no key"));
    let whole = |f: &mut PlannedFile| secret(f).part = Part::Whole;
    assert!(file(whole).contains("raw needs a key"));
    let decoded = |f: &mut PlannedFile| (secret(f).part, secret(f).format) = (Part::Whole, Format::Json);
    assert!(file(decoded).contains("decode needs a key"));
    assert!(
        file(|f| {
            secret(f).request = SecretRequest {
                secret: "pki/issue/web".parse().unwrap(),
                version: variable().version,
                data: Some(data()),
            };
        })
        .contains("a version is for a secret that is read")
    );
    assert!(
        file(|f| {
            let request = &mut secret(f).request;
            (request.secret, request.data) = ("sys/x".parse().unwrap(), Some(data()));
        })
        .contains("the server's own")
    );
    assert!(
        job(|j| j.files[0].file = "{{ .SecretKey }}".parse().unwrap())
            .contains("the job cannot read one file for each field")
    );
    assert!(
        job(|j| secret(&mut j.files[0]).request.data = Some(data())).contains("only init and the sidecar write data")
    );
    assert!(Plan::parse(r#"{"version":1,"surprise":true}"#).is_err());
    assert!(Plan::parse("").is_err());
}
