//! The laws of the decision, on pods that nobody would think of: whatever the pod, a patch applies, only adds, leaves all
//! else as it was, is the same each time, and leaves nothing to do the second time.
#![cfg(feature = "webhook")]
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::collections::BTreeMap;

use podkey::VERSION;
use podkey::inject::{Config, Decision, INJECTED, Pod, decide};
use podkey::plan::{Destination, PLAN_ENV, Plan};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::TestCaseResult;
use serde_json::{Map, Value, json};

const CONFIG: &str = "
agent: { image: podkey }
allowSharedProcessNamespace: true
vaultK8s: { connection: default }
connections:
  default: { address: 'https://vault.example.com' }
  team: { address: 'https://team.example.com', auth: { role: team-reader, audience: '' }, job: { role: team-job } }
  governed: { address: 'https://governed.example.com', job: { policy: { events: [push] } } }
";

fn config() -> Config {
    config_of("1.37")
}

/// The same where Kubernetes is of this version.
fn config_of(version: &str) -> Config {
    let text = format!("kubernetesVersion: {version:?}{CONFIG}");
    Config::parse(&text, |_| Err(String::new())).unwrap()
}

// ------------------------------------------------------------------------------------------------ the generators

/// Any JSON, with keys that JSON Pointers must escape.
fn anything() -> BoxedStrategy<Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
        "[a-z$~/{}]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((key(), inner), 0..4).prop_map(|entries| entries.into_iter().collect::<Map<_, _>>().into()),
        ]
    })
    .boxed()
}

fn key() -> BoxedStrategy<String> {
    prop_oneof![Just("a/b~c".to_owned()), Just("~1".to_owned()), "[a-z/~]{0,6}"].boxed()
}

/// One of them, or null, or nothing at all.
fn maybe(name: &'static str, value: impl Strategy<Value = Value> + 'static) -> BoxedStrategy<Vec<(String, Value)>> {
    prop_oneof![
        2 => Just(Vec::new()),
        1 => Just(vec![(name.to_owned(), Value::Null)]),
        5 => value.prop_map(move |value| vec![(name.to_owned(), value)]),
    ]
    .boxed()
}

/// Fields that podkey has never heard of, and known ones of other types than expected that it has no business with.
fn unrelated() -> BoxedStrategy<Vec<(String, Value)>> {
    let name = prop_oneof![
        select(vec![
            "future/~",
            "ports",
            "lifecycle",
            "status",
            "tolerations",
            "affinity",
            "probe"
        ])
        .prop_map(str::to_owned),
        "x[a-z~/]{1,4}",
    ];
    vec((name, anything()), 0..3).boxed()
}

/// An object of these fields in any order.
fn object(fields: Vec<BoxedStrategy<Vec<(String, Value)>>>) -> BoxedStrategy<Value> {
    fields
        .prop_map(|fields| fields.into_iter().flatten().collect::<Vec<_>>())
        .prop_shuffle()
        .prop_map(|fields| fields.into_iter().collect::<Map<_, _>>().into())
        .boxed()
}

fn list(item: BoxedStrategy<Value>, most: usize) -> BoxedStrategy<Value> {
    vec(item, 0..=most).prop_map(Value::from).boxed()
}

fn strings(texts: &[&'static str]) -> BoxedStrategy<Value> {
    select(texts.to_vec()).prop_map(Value::from).boxed()
}

/// A field that is there.
fn field(name: &'static str, value: impl Strategy<Value = Value> + 'static) -> BoxedStrategy<Vec<(String, Value)>> {
    value.prop_map(move |value| vec![(name.to_owned(), value)]).boxed()
}

fn quantities() -> BoxedStrategy<Value> {
    object(vec![
        maybe(
            "cpu",
            prop_oneof![strings(&["1", "1000m", "500m", "0.5"]), Just(json!(1))],
        ),
        maybe("memory", strings(&["1Gi", "1024Mi", "64Mi"])),
        unrelated(),
    ])
}

fn container(name: &'static str) -> BoxedStrategy<Value> {
    let user = prop_oneof![Just(0), Just(1000), Just(1001)].prop_map(Value::from);
    let variable = object(vec![
        field(
            "name",
            strings(&["A", "PATH", "KUBECONFIG", "TOKEN_FILE", HOOKS[0].0, HOOKS[1].0]),
        ),
        maybe(
            "value",
            strings(&["", "x", "/tmp/kubeconfig", "$(A)", "/x.sh", "$$(A)", HOOKS[0].1]),
        ),
        prop_oneof![9 => Just(Vec::new()), 1 => maybe("valueFrom", anything())].boxed(),
    ]);
    let mount = object(vec![
        field(
            "name",
            strings(&["data", "data", "conf", "conf", "podkey-secrets", "podkey-bin"]),
        ),
        field(
            "mountPath",
            strings(&[
                "/data",
                "/tmp",
                "/tmp/",
                "/etc//app",
                "/tmp/kubeconfig",
                "/podkey/secrets",
                "/podkey/bin",
                "/",
                "rel",
            ]),
        ),
        maybe("subPath", strings(&["", "files", "single/0", "x"])),
        maybe("readOnly", any::<bool>().prop_map(Value::from)),
        unrelated(),
    ]);
    // Mostly none: most random mounts are a reason to deny.
    let mounts = prop_oneof![5 => Just(json!([])), 2 => list(mount.clone(), 1), 1 => list(mount, 3)];
    let guaranteed = json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1000m", "memory": "1024Mi"}});
    let resources = prop_oneof![
        3 => Just(guaranteed),
        1 => object(vec![maybe("limits", quantities()), maybe("requests", quantities()), unrelated()]),
    ];
    object(vec![
        field("name", Just(json!(name))),
        maybe("env", list(variable, 3)),
        maybe(
            "envFrom",
            prop_oneof![3 => Just(json!([])), 3 => Just(json!([{"secretRef": {"name": "x"}}])), 1 => anything()],
        ),
        maybe("volumeMounts", mounts),
        prop_oneof![
            40 => field("command", vec(strings(&["/app", "$(A)", "--", "exec", ""]), 1..=3).prop_map(Value::from)),
            1 => field("command", prop_oneof![Just(json!(EXEC)), anything()]),
            6 => Just(Vec::new()),
        ]
        .boxed(),
        maybe("args", list(strings(&["-c", "exec", "--"]), 2)),
        maybe(
            "securityContext",
            object(vec![
                maybe("runAsUser", user),
                maybe(
                    "capabilities",
                    object(vec![maybe("drop", list(strings(&["ALL", "NET_RAW"]), 2)), unrelated()]),
                ),
                unrelated(),
            ]),
        ),
        prop_oneof![2 => field("resources", resources.clone()), 1 => maybe("resources", resources)].boxed(),
        maybe("restartPolicy", strings(&["Always", "Never", ""])),
        unrelated(),
    ])
}

fn volumes() -> BoxedStrategy<Value> {
    let source = prop_oneof![
        Just(vec![("emptyDir".to_owned(), json!({"mode": 448}))]),
        Just(vec![("configMap".to_owned(), json!({}))]),
        Just(vec![("unheardOf".to_owned(), json!({"~/": 1}))]),
    ];
    let volume = |name: &'static str| {
        object(vec![
            field("name", Just(json!(name))),
            source.clone().boxed(),
            unrelated(),
        ])
    };
    vec(prop_oneof![volume("data"), volume("conf")], 0..3)
        .prop_map(Value::from)
        .boxed()
}

/// Entries of `podkey.dev/files` that get along with each other.
const GOOD_FILES: [&str; 12] = [
    "- {secret: pki/issue/x, data: {name: $(A), alt: [$, 1.0], ext: {a: ''}}, key: certificate, file: pki/cert}\n",
    "- {secret: c/data/$$(X), file: 'each/$_{{ .SecretKey | uppercase }}', decode: hex}\n",
    "- {secret: kv/data/App, key: k, file: '{{ .MountPath }}-{{ .SecretBaseName | lowercase }}', env: APP}\n",
    "- {secret: a/b, key: k, file: /tmp/kubeconfig, env: KUBECONFIG}\n",
    "- {secret: a/$$(HOME), key: $$, file: token, env: TOKEN_FILE, mode: 0440}\n",
    "- {secret: c/d, file: conf/all.json}\n",
    "- {secret: c/d, file: /etc/app/all.yaml, format: yaml, mode: \"0400\"}\n",
    "- {secret: c/data/d, file: /srv/$$(A)/x, format: dotenv, version: 2}\n",
    "- {secret: c/d, keys: {$_A: k, b: $(A)}, format: json, file: /srv/chosen}\n",
    "- {template: '$(A){{ with secret \"c/d\" }}{{ $k := .Data.k }}{{ $k }}{{ end }}{{ with pkiCert \"pki/issue/x\" \"name=$(A)\" }}{{ .Key }}{{ end }}', file: made, env: MADE}\n",
    "- {secret: 'c/{repository}/d', file: /srv/deploy, key: k, as: job}\n",
    "- {template: '{{$(A)[[ with secret \"c/{job}/d\" ]][[ .Data.k | toJSON ]][[ end ]]', delims: ['[[', ']]'], file: /srv/made, as: job}\n",
];
/// How many of them, at the end, are for a job with an identity.
const FILES_OF_JOB: usize = 2;

/// The same of files that are kept fresh.
const FRESH_FILES: [&str; 8] = [
    "- {secret: c/d, keys: [b, a], format: shell, file: chosen.sh, when-gone: delete}\n",
    "- {template: '{{ with secret \"c/d\" }}{{ .Data.k }}{{ end }}{{ with secret \"c/data/e?version=2\" }}{{ .Data.data.k }}{{ end }}', file: made, when-gone: fail}\n",
    "- {secret: a/$$(HOME), key: $$, file: token, env: TOKEN_FILE, mode: 0440, when-gone: delete}\n",
    "- {secret: c/d, file: conf/all.json, when-gone: keep}\n",
    "- {secret: c/data/d, file: all.env, format: dotenv, version: 2}\n",
    "- {secret: pki/issue/x, data: {name: $(A), alt: [$, 1.0], ext: {a: ''}}, key: certificate, file: pki/cert}\n",
    "- {secret: c/data/$$(X), file: 'each/$_{{ .SecretKey | uppercase }}', when-gone: fail}\n",
    "- {secret: kv/data/App, key: k, file: '{{ .MountPath }}-{{ .SecretBaseName | lowercase }}', env: APP}\n",
];

/// What a pod is made for, as far as podkey is concerned.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Plain,
    Runner,
    /// A runner pod that may use a connection whose jobs have an identity.
    RunnerOfTeam,
}

/// Whether the pod asks for files that are kept fresh.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Wish {
    Once,
    Fresh,
}

/// What `podkey.dev/files` may say, mostly with sense.
fn files(kind: Kind, wish: Wish) -> BoxedStrategy<String> {
    let odd = prop_oneof![
        "- \\{secret: a, file: /?([a-z]/)?(\\.\\.|\\.|proc|podkey|dev|a)/[a-z]\\}\n",
        "- \\{secret: [a-z./$%]{1,6}, file: [a-z./:$]{1,9}\\}\n",
        "- \\{secret: a, file: [a-z./]{1,9}, (mode|key|env|decode|format|version|as|fiel|data|when-gone): [a-zA-Z0-9]{0,6}\\}\n",
        "- \\{secret: [a-z./${}]{1,6}, file: '([a-z./]{0,2}\\{\\{ ?\\.(SecretKey|SecretPath|MountPath|X)( \\| (uppercase|replace \"[a/]\" \"[./]\"))? ?\\}\\}){1,2}'\\}\n",
        "- \\{secret: a/b, file: f, (format: (raw|shell|dotenv), )?keys: (\\[[a-z$,]{0,6}\\]|\\{[a-zA$]{0,2}: [a-z\\[\\]]{0,3}\\})\\}\n",
        "- \\{file: f, (as: job, )?template: '(\\{\\{-? ?(with|if|end|secret \"[a-z/{?]{0,6}\"|\\$[a-z]|\\.Data|[ -&(-~]{0,6})( [a-z.\"/]{0,6})? ?-?\\}\\}|[a-z $({]{0,3}){0,6}'\\}\n",
        "- \\{secret: (a|sys|auth)/b, file: f, key: k, data: \\{[a-z]{0,2}: [\\[a-z$]{0,3}\\]?\\}\\}\n",
        ".{0,20}",
    ];
    let sensible = match wish {
        Wish::Once if kind == Kind::RunnerOfTeam => &GOOD_FILES[..],
        Wish::Once => &GOOD_FILES[..GOOD_FILES.len() - FILES_OF_JOB],
        Wish::Fresh => &FRESH_FILES,
    };
    let good = proptest::sample::subsequence(sensible.to_vec(), 1..=sensible.len()).prop_shuffle();
    let good = good.prop_map(|entries| entries.concat());
    prop_oneof![
        8 => good.clone(),
        2 => (good, odd.clone()).prop_map(|(good, odd)| good + &odd),
        1 => odd,
    ]
    .boxed()
}

fn annotations(kind: Kind, wish: Wish) -> BoxedStrategy<Value> {
    let rarely = |key: &'static str, values: &[&'static str]| {
        prop_oneof![5 => Just(Vec::new()), 1 => field(key, strings(values))].boxed()
    };
    // What only job hooks can do.
    let of_jobs = |key: &'static str, values: &[&'static str]| {
        let often = if kind == Kind::Plain { 1 } else { 8 };
        prop_oneof![40 - often => Just(Vec::new()), often => field(key, strings(values))].boxed()
    };
    object(vec![
        prop_oneof![19 => field("podkey.dev/role", Just(json!("web"))), 1 => Just(Vec::new())].boxed(),
        field("podkey.dev/files", files(kind, wish).prop_map(Value::from)),
        match kind {
            Kind::RunnerOfTeam => field("podkey.dev/connection", Just(json!("team"))),
            _ => rarely(
                "podkey.dev/connection",
                &["default", "team", " team", "team", "governed", "tema"],
            ),
        },
        rarely(
            "podkey.dev/job-hooks",
            match kind {
                Kind::Plain => &["false", "false", "true", "maybe"],
                _ => &["true", "true", "false", "maybe"],
            },
        ),
        prop_oneof![
            // Without job hooks they make the agent start the commands.
            2 => Just(Vec::new()),
            if kind == Kind::Plain { 6 } else { 1 } => field(
                "podkey.dev/env",
                strings(&[
                    "a/b k | K",
                    "a/b $k | K ; c/d *",
                    "a/b k",
                    "a/b k | K; c/d * | P_",
                    "c/d **",
                    "c/d ** | $(A)",
                    "a/b x.y[1] | A",
                    "a/b k | K",
                    "c/d k.l | L",
                    "a/b",
                ]),
            ),
        ]
        .boxed(),
        of_jobs(
            "podkey.dev/job-env",
            &["a/{job} k | J", "a/{repository}/$ **", "a/b k; a/b k2", "a/{x} k"],
        ),
        of_jobs("podkey.dev/job-temp", &["true", "true", "false"]),
        match kind {
            Kind::Plain => prop_oneof![
                2 => Just(Vec::new()),
                1 => field("podkey.dev/env-delivery", strings(&["kubelet", "kubelet", "auto", "exec", "hooks", "cubelet"])),
            ]
            .boxed(),
            _ => rarely("podkey.dev/env-delivery", &["hooks", "auto", "kubelet"]),
        },
        of_jobs("podkey.dev/export", &["true", "true", "false", "false", "no"]),
        of_jobs("podkey.dev/mask", &["smart", "lines", "off", " lines", "on"]),
        of_jobs(
            "podkey.dev/on-failure",
            &["fail-pod", "fail-pod", "fail-job", "fail-job", "fail"],
        ),
        of_jobs(
            "podkey.dev/job-policy",
            &[
                "{events: [push]}",
                "{forks: allow, repositories: [$$(A)/*]}",
                "{protectedRefs: true}",
                "{}",
            ],
        ),
        rarely(
            "podkey.dev/containers",
            &["web", "web,job", "prepare", "istio-proxy", "nobody", ""],
        ),
        rarely("podkey.dev/auth-mount", &["a/b", "$$", "../x"]),
        rarely("podkey.dev/injected", &["0.0.1", VERSION, ""]),
        match wish {
            Wish::Once => rarely("podkey.dev/refresh", &["never", "never", "never", "30s"]),
            Wish::Fresh => field(
                "podkey.dev/refresh",
                prop_oneof![20 => strings(&["5s", "30s", " 1m 30s", "24h"]), 1 => strings(&["4s", "never"])],
            ),
        },
        match wish {
            Wish::Once => Just(Vec::new()).boxed(),
            Wish::Fresh => prop_oneof![
                Just(Vec::new()),
                field(
                    "podkey.dev/on-change",
                    strings(&[
                        "touch:reload",
                        "touch:$$(A)/x\nhttp:POST:http://127.0.0.1:9000/$$",
                        "signal:SIGHUP:web",
                        "signal:SIGHUP:web\n\n touch:reload\n",
                        "touch:conf/x",
                        "sh -c true",
                    ]),
                ),
            ]
            .boxed(),
        },
        vec((key(), ".{0,5}".prop_map(Value::from)), 0..3).boxed(),
    ])
}

fn labels(kind: Kind) -> BoxedStrategy<Vec<(String, Value)>> {
    let labels = vec((key(), anything()), 0..3);
    if kind == Kind::Plain {
        return maybe(
            "labels",
            labels.prop_map(|labels| labels.into_iter().collect::<Map<_, _>>().into()),
        );
    }
    let labels = (labels, anything()).prop_map(|(mut labels, value)| {
        labels.push(("actions-ephemeral-runner".to_owned(), value));
        labels.into_iter().collect::<Map<_, _>>().into()
    });
    field("labels", labels)
}

prop_compose! {
    fn pod()(
        kind in select(vec![Kind::Plain, Kind::Plain, Kind::Runner, Kind::RunnerOfTeam]),
        wish in select(vec![Wish::Once, Wish::Fresh]),
        main in proptest::sample::subsequence(vec!["web", "job", "runner", "istio-proxy"], 1..=3),
        init in proptest::sample::subsequence(vec!["prepare", "istio-proxy", "migrate", "linkerd-proxy"], 0..=3),
    )(
        containers in if kind == Kind::Plain || main.contains(&"runner") { main } else { [main, vec!["runner"]].concat() }.iter().map(|name| container(name)).collect::<Vec<_>>().prop_map(Value::from),
        init in maybe("initContainers", init.iter().map(|name| container(name)).collect::<Vec<_>>().prop_map(Value::from)),
        volumes in maybe("volumes", volumes()),
        more in unrelated(),
        context in maybe("securityContext", object(vec![
            maybe("runAsUser", prop_oneof![Just(0), Just(1000)].prop_map(Value::from)),
            maybe("fsGroup", Just(json!(2000))),
            unrelated(),
        ])),
        metadata in object(vec![
            field("annotations", annotations(kind, wish)),
            labels(kind),
            unrelated(),
        ]),
        shared in prop_oneof![1 => Just(Vec::new()), 2 => maybe("shareProcessNamespace", any::<bool>().prop_map(Value::from))],
        top in unrelated(),
        seed in any::<u64>(),
    ) -> Value {
        let mut spec: Vec<_> = [init, volumes, more, context, shared].concat();
        let place = seed as usize % (spec.len() + 1);
        spec.insert(place, ("containers".to_owned(), containers));
        let mut pod: Map<_, _> = top.into_iter().collect();
        pod.insert("metadata".to_owned(), metadata);
        pod.insert("spec".to_owned(), spec.into_iter().collect::<Map<_, _>>().into());
        pod.into()
    }
}

/// What the keys of vault-k8s and of openbao-k8s begin with.
const VAULT_K8S: [&str; 2] = ["vault.hashicorp.com/", "openbao.org/"];

/// Keys of vault-k8s with values that they take, most of the time.
fn annotations_of_vault_k8s() -> BoxedStrategy<Value> {
    let key = |name: &'static str, values: &'static [&'static str]| {
        let written = (select(VAULT_K8S.to_vec()), select(values.to_vec()));
        let written = written.prop_map(move |(family, value)| vec![(format!("{family}{name}"), Value::from(value))]);
        prop_oneof![3 => Just(Vec::new()), 1 => written].boxed()
    };
    let asks = [
        ("vault.hashicorp.com/agent-inject", "true"),
        ("vault.hashicorp.com/role", "web"),
        ("openbao.org/agent-inject-secret-db", "kv/data/db"),
    ];
    let asks = asks.map(|(key, value)| field(key, Just(json!(value))));
    let others = vec![
        key(
            "agent-inject-template-tls",
            &["{{ with secret \"pki/issue/a\" \"common_name=b\" }}{{ .Data.c }}{{ end }}"],
        ),
        key("agent-inject-secret-UP", &["kv/up", "kv/data/up?version=2"]),
        key("agent-inject-file-db", &["a/b", "/c", ".status.json", "tls"]),
        key("secret-volume-path", &["/foo", "/vault/secrets/", "/tmp", "/var/run/x"]),
        key("secret-volume-path-db", &["/foo/bar", "/foo", "/vault/secrets"]),
        key("preserve-secret-case", &["true"]),
        key("agent-inject-perms-db", &["0400", "0640"]),
        key("agent-pre-populate", &["false", "true"]),
        key("agent-pre-populate-only", &["true", "false"]),
        key("agent-inject-containers", &["web", "web,job", "istio-proxy", "nobody"]),
        key("agent-inject-status", &["injected", "update"]),
        key("agent-share-process-namespace", &["true", "false"]),
        key("agent-run-as-user", &["1000", "2000"]),
        key("agent-run-as-same-user", &["true"]),
        key(
            "agent-inject-command-db",
            &[
                "curl -X POST http://127.0.0.1/",
                "touch /vault/secrets/x",
                "pkill -HUP web",
            ],
        ),
        key("template-static-secret-render-interval", &["1m", "1s"]),
        key("agent-limits-cpu", &["1"]),
        key("unknown", &["x"]),
    ];
    object(asks.into_iter().chain(others).collect())
}

prop_compose! {
    fn pod_of_vault_k8s()(mut pod in pod(), annotations in annotations_of_vault_k8s()) -> Value {
        pod["metadata"]["annotations"] = annotations;
        pod
    }
}

// ------------------------------------------------------------------------------------------------------ the laws

/// Every law on one pod. Says whether it was injected.
fn check(pod: &Value) -> Result<bool, TestCaseError> {
    let config = config();
    let text = pod.to_string();
    let Ok(view) = Pod::parse(&text) else { return Ok(false) };
    let patch = match decide(&view, "ns", &config) {
        Decision::Ignore(_) => return Ok(false),
        Decision::Deny(problems) => {
            let message = problems.to_string();
            prop_assert!(
                !message.is_empty() && message.len() <= 4096 + 32,
                "{} bytes",
                message.len()
            );
            prop_assert!(!message.contains(char::is_control), "{message:?}");
            prop_assert!(
                !message.contains("example.com") && !message.contains("team-reader"),
                "{message}"
            );
            return Ok(false);
        }
        Decision::Inject(patch, warnings) => {
            prop_assert!(warnings.len() <= 5);
            String::from_utf8(patch.as_json().to_vec()).unwrap()
        }
    };
    let Decision::Inject(again, _) = decide(&Pod::parse(&text).unwrap(), "ns", &config) else {
        return Err(TestCaseError::fail("another decision the second time"));
    };
    prop_assert_eq!(
        std::str::from_utf8(again.as_json()).unwrap(),
        &patch,
        "another patch the second time"
    );

    let operations: Vec<Value> = serde_json::from_str(&patch).unwrap();
    prop_assert!(operations.iter().all(|operation| operation["op"] == "add"), "{patch}");
    let operations: json_patch::Patch = serde_json::from_str(&patch).unwrap();
    let mut patched = pod.clone();
    if let Err(error) = json_patch::patch(&mut patched, &operations) {
        return Err(TestCaseError::fail(format!("{patch} does not apply: {error}")));
    }
    survives(pod, &patched)?;
    podkey_s_containers_are_restricted(&patched)?;
    files_are_kept_fresh_by_a_sidecar_alone(&patched)?;
    no_kubernetes_without_native_sidecars_gets_one(&text, &patch)?;
    only_podkey_sees_its_volumes(&patched)?;
    hooks_are_chained(pod, &patched)?;
    commands_start_with_their_variables(pod, &patched)?;
    the_kubelet_sets_all_variables_or_none(&patched)?;
    if is_guaranteed(pod) {
        prop_assert!(is_guaranteed(&patched), "no longer Guaranteed");
    }

    let text = patched.to_string();
    match decide(&Pod::parse(&text).unwrap(), "ns", &config) {
        Decision::Inject(patch, _) => prop_assert!(
            patch.is_empty(),
            "patched twice: {}",
            String::from_utf8_lossy(patch.as_json())
        ),
        Decision::Deny(problems) => return Err(TestCaseError::fail(format!("denied the second time: {problems}"))),
        Decision::Ignore(_) => return Err(TestCaseError::fail("ignored the second time")),
    }
    another_webhook_may_add_a_container(&patched, &config)?;
    Ok(true)
}

/// The plan of podkey's first visit once no longer fitted the pod, and the author was told to remove podkey-init from the template.
fn another_webhook_may_add_a_container(patched: &Value, config: &Config) -> TestCaseResult {
    for container in [
        json!({"name": "added", "command": ["/added"]}),
        json!({"name": "added"}),
    ] {
        let mut pod = patched.clone();
        pod["spec"]["containers"].as_array_mut().unwrap().push(container);
        let pod = pod.to_string();
        if let Decision::Deny(problems) = decide(&Pod::parse(&pod).unwrap(), "ns", config) {
            let problems = problems.to_string();
            prop_assert!(!problems.contains("another plan"), "{problems}");
        }
    }
    Ok(())
}

fn items<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().map_or(&[], Vec::as_slice)
}

/// Without what podkey adds the pod is the author's again, byte for byte: every value, every list's and every key's order.
fn survives(pod: &Value, patched: &Value) -> TestCaseResult {
    let mut rest = patched.clone();
    let annotations = rest["metadata"]["annotations"].as_object_mut().unwrap();
    match pod["metadata"]["annotations"].get(INJECTED) {
        None => annotations.shift_remove(INJECTED),
        Some(before) => annotations.insert(INJECTED.to_owned(), before.clone()),
    };
    for family in VAULT_K8S {
        let status = format!("{family}agent-inject-status");
        match pod["metadata"]["annotations"].get(&status) {
            None => annotations.shift_remove(&status),
            Some(before) => annotations.insert(status, before.clone()),
        };
    }
    let asks_to_share = VAULT_K8S
        .iter()
        .any(|family| annotations.contains_key(&format!("{family}agent-share-process-namespace")));
    let spec = &mut rest["spec"];
    if asks_to_share && spec["shareProcessNamespace"] == true {
        match pod["spec"].get("shareProcessNamespace") {
            None => drop(spec.as_object_mut().unwrap().shift_remove("shareProcessNamespace")),
            Some(before) => spec["shareProcessNamespace"] = before.clone(),
        }
    }
    if let Some(containers) = spec["initContainers"].as_array_mut() {
        containers.retain(|container| !is_podkey_s(container));
    }
    restore(&pod["spec"], spec, "initContainers");
    let had = items(&pod["spec"], "volumes").len();
    if let Some(volumes) = spec["volumes"].as_array_mut() {
        prop_assert!((had + 2..=had + 5).contains(&volumes.len()), "{volumes:?}");
        volumes.truncate(had);
    }
    restore(&pod["spec"], spec, "volumes");
    for place in ["initContainers", "containers"] {
        let before = items(&pod["spec"], place);
        prop_assert_eq!(items(spec, place).len(), before.len());
        for (index, before) in before.iter().enumerate() {
            if let Some(command) = spec[place][index].get_mut("command").and_then(Value::as_array_mut) {
                let added = command.len() - items(before, "command").len();
                let words: Vec<_> = command.drain(..added).collect();
                prop_assert!(words.is_empty() || words == EXEC, "{words:?}");
            }
            for name in ["env", "volumeMounts"] {
                if let Some(entries) = spec[place][index].get_mut(name).and_then(Value::as_array_mut) {
                    let of_kubelet = entries.iter().take_while(|entry| is_of_the_kubelet(entry)).count();
                    entries.drain(..of_kubelet);
                    entries.truncate(items(before, name).len());
                }
                restore(before, &mut spec[place][index], name);
            }
        }
    }
    prop_assert_eq!(rest.to_string(), pod.to_string());
    Ok(())
}

/// Whether a variable is one that the kubelet sets, from podkey's volume.
fn is_of_the_kubelet(variable: &Value) -> bool {
    variable["valueFrom"]["fileKeyRef"]["volumeName"] == "podkey-env"
}

/// Takes an emptied list away again where there was none.
fn restore(before: &Value, after: &mut Value, name: &str) {
    if after.get(name).is_some_and(|list| *list == json!([])) {
        match before.get(name) {
            Some(before) => after[name] = before.clone(),
            None => {
                after.as_object_mut().unwrap().shift_remove(name);
            }
        }
    }
}

fn podkey_init(pod: &Value) -> &Value {
    let all = items(&pod["spec"], "initContainers");
    all.iter().find(|container| container["name"] == "podkey-init").unwrap()
}

fn is_podkey_s(container: &Value) -> bool {
    container["name"] == "podkey-init" || container["name"] == "podkey-sidecar"
}

fn plan(pod: &Value) -> Plan {
    let variables = items(podkey_init(pod), "env");
    let plan = variables.iter().find(|variable| variable["name"] == PLAN_ENV).unwrap();
    Plan::parse(plan["value"].as_str().unwrap()).unwrap()
}

/// <https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted>
fn podkey_s_containers_are_restricted(pod: &Value) -> TestCaseResult {
    let all = items(&pod["spec"], "initContainers").iter();
    all.filter(|container| is_podkey_s(container))
        .try_for_each(is_restricted)
}

fn is_restricted(container: &Value) -> TestCaseResult {
    let mut context = container["securityContext"].clone();
    let user = context.as_object_mut().unwrap().shift_remove("runAsUser");
    prop_assert!(user.is_some_and(|user| user.as_i64().is_some_and(|user| user > 0)));
    prop_assert_eq!(
        context,
        json!({
            "allowPrivilegeEscalation": false,
            "capabilities": {"drop": ["ALL"]},
            "privileged": false,
            "readOnlyRootFilesystem": true,
            "runAsNonRoot": true,
            "seccompProfile": {"type": "RuntimeDefault"},
        })
    );
    for kind in ["requests", "limits"] {
        prop_assert!(
            container["resources"][kind]["cpu"].is_string() && container["resources"][kind]["memory"].is_string()
        );
    }
    Ok(())
}

/// Where the plan asks for it there is a sidecar, right behind podkey-init and in all like it but for what it is to do; only
/// these two have the handover. What is mounted on its own is not kept fresh, and nobody else writes.
fn files_are_kept_fresh_by_a_sidecar_alone(pod: &Value) -> TestCaseResult {
    let plan = plan(pod);
    let init_containers = items(&pod["spec"], "initContainers");
    let place = init_containers
        .iter()
        .position(|container| container["name"] == "podkey-init");
    let sidecars = init_containers
        .iter()
        .filter(|container| container["name"] == "podkey-sidecar");
    let all = init_containers.iter().chain(items(&pod["spec"], "containers"));
    let mounts = |volume: &'static str| {
        all.clone().filter(move |container| {
            items(container, "volumeMounts")
                .iter()
                .any(|mount| mount["name"] == volume)
        })
    };
    let volumes = items(&pod["spec"], "volumes").iter();
    let handovers = volumes.filter(|volume| volume["name"] == "podkey-handover").count();
    if plan.refresh.is_none() {
        prop_assert_eq!(
            (sidecars.count(), handovers, mounts("podkey-handover").count()),
            (0, 0, 0)
        );
        return Ok(());
    }
    prop_assert_eq!((sidecars.count(), handovers), (1, 1));
    prop_assert!(mounts("podkey-handover").all(is_podkey_s) && mounts("podkey-handover").count() == 2);
    let (init, mut sidecar) = (podkey_init(pod), init_containers[place.unwrap() + 1].clone());
    prop_assert_eq!(
        (
            sidecar["name"].take(),
            sidecar["args"].take(),
            sidecar["restartPolicy"].take()
        ),
        (json!("podkey-sidecar"), json!(["sidecar"]), json!("Always"))
    );
    let mut init = init.clone();
    (init["name"], init["args"], init["restartPolicy"]) = (Value::Null, Value::Null, Value::Null);
    prop_assert_eq!(init, sidecar);
    prop_assert!(
        plan.destinations()
            .all(|file| !matches!(file, Destination::Absolute(_)))
    );
    for container in all.clone().filter(|container| !is_podkey_s(container)) {
        let mut mounts = items(container, "volumeMounts").iter();
        prop_assert!(mounts.all(|mount| mount["name"] != "podkey-secrets" || mount["readOnly"] == true));
    }
    Ok(())
}

/// The version decides only whether there may be a sidecar, and whether the kubelet may set variables.
fn no_kubernetes_without_native_sidecars_gets_one(pod: &str, patch: &str) -> TestCaseResult {
    let decided = |version| match decide(&Pod::parse(pod).unwrap(), "ns", &config_of(version)) {
        Decision::Inject(patch, _) => Ok(String::from_utf8(patch.as_json().to_vec()).unwrap()),
        other => Err(format!("{other:?}")),
    };
    let new = decided("v1.37.1+k3s1");
    prop_assert_eq!(new.as_deref(), Ok(patch));
    match decided("1.28") {
        Ok(old) => prop_assert!(
            old == patch && !patch.contains("podkey-sidecar") && !patch.contains("fileKeyRef"),
            "{old}"
        ),
        Err(why) => prop_assert!(
            patch.contains("podkey-sidecar") && why.contains("needs Kubernetes 1.29")
                || patch.contains("fileKeyRef")
                    && (why.contains("needs Kubernetes 1.35") || why.contains("needs the command of")),
            "{why}"
        ),
    }
    Ok(())
}

/// The volume's root and the token are for podkey's containers alone; others read what the plan puts where they have it mounted.
fn only_podkey_sees_its_volumes(pod: &Value) -> TestCaseResult {
    let variables = items(podkey_init(pod), "env");
    let plan = variables.iter().find(|variable| variable["name"] == PLAN_ENV).unwrap();
    let text = plan["value"].as_str().unwrap();
    prop_assert!(!text.contains('$'), "Kubernetes would expand {text}");
    let plan = Plan::parse(text).unwrap();
    let hooks = plan.job.is_some();
    let mut places = vec!["files".to_owned()];
    let files = plan.placed_files().map(|(file, place)| (&file.file, place));
    for (file, place) in files.chain(plan.placed_job_files().map(|(file, place)| (&file.file, place))) {
        let inside = ["files/", "single/", "mounts/"]
            .iter()
            .any(|directory| place.starts_with(directory));
        prop_assert!(
            inside && place.split('/').all(|segment| !matches!(segment, "" | "." | "..")),
            "{place}"
        );
        if let Destination::Absolute(path) = file {
            let free = !["/proc", "/sys", "/dev", "/podkey"]
                .iter()
                .any(|root| podkey::plan::contains(root, path));
            prop_assert!(
                free && path
                    .split('/')
                    .skip(1)
                    .all(|segment| !matches!(segment, "" | "." | "..")),
                "{path}"
            );
        }
        // A directory with a mount of its own is seen whole.
        if let (Some(directory), true) = (place.rsplit_once('/'), place.starts_with("mounts/")) {
            places.push(directory.0.split('/').take(2).collect::<Vec<_>>().join("/"));
        }
        places.push(place);
    }
    let all = items(&pod["spec"], "initContainers")
        .iter()
        .chain(items(&pod["spec"], "containers"));
    for container in all.filter(|container| !is_podkey_s(container)) {
        let mounts = items(container, "volumeMounts");
        for mount in mounts {
            prop_assert!(
                mount["name"] != "podkey-token" && mount["name"] != "podkey-env",
                "{mount}"
            );
            let runs_hooks = hooks && container["name"] == "runner";
            let may_write = runs_hooks && plan.refresh.is_none();
            if mount["name"] == "podkey-bin" {
                prop_assert!((runs_hooks || plan.exec) && mount["readOnly"] == true, "{mount}");
            }
            if mount["name"] == "podkey-secrets" {
                prop_assert!(may_write || mount["readOnly"] == true, "{mount}");
                let sub_path = mount["subPath"].as_str().unwrap_or_default();
                // The author may mount another single file than there is, and sees an empty directory.
                prop_assert!(
                    places.iter().any(|place| place == sub_path) || sub_path == "single/0",
                    "{mount}"
                );
            }
        }
    }
    Ok(())
}

/// With hooks, the runner calls ours, and ours knows the one that the runner would have called; without, nothing changes.
fn hooks_are_chained(pod: &Value, patched: &Value) -> TestCaseResult {
    let plan = plan(patched);
    for (before, after) in items(&pod["spec"], "containers")
        .iter()
        .zip(items(&patched["spec"], "containers"))
    {
        let runs_hooks = plan.job.is_some() && before["name"] == "runner";
        let (was, is) = (environment(before), environment(after));
        let mounts = items(after, "volumeMounts");
        let has_tool = mounts.iter().any(|mount| mount["name"] == "podkey-bin");
        prop_assert!((has_tool || !runs_hooks) && (runs_hooks || plan.exec || !has_tool));
        for (name, ours, next) in HOOKS {
            let (was, next) = (was.get(name), is.get(next));
            if !runs_hooks {
                prop_assert_eq!(is.get(name), was);
                prop_assert_eq!(next, None);
                continue;
            }
            prop_assert_eq!(is.get(name).map(String::as_str), Some(ours));
            let none = was.is_none_or(|was| was.is_empty() || was == ours);
            match next {
                None => prop_assert!(none, "{:?} is lost", was),
                // Where there was none, the reference stays as it is, or is empty.
                Some(next) => prop_assert!(
                    Some(next) == was || (none && (next.is_empty() || next.starts_with("$("))),
                    "{next} for {was:?}"
                ),
            }
        }
    }
    Ok(())
}

/// A container has each variable from the kubelet or none, in front of the author's own. Values are files only where somebody reads them.
fn the_kubelet_sets_all_variables_or_none(patched: &Value) -> TestCaseResult {
    let plan = plan(patched);
    let volumes = items(&patched["spec"], "volumes").iter();
    let volumes = volumes.filter(|volume| volume["name"] == "podkey-env").count();
    prop_assert_eq!(volumes, usize::from(plan.kubelet_env));
    let containers = items(&patched["spec"], "containers").iter();
    let all = items(&patched["spec"], "initContainers").iter().chain(containers);
    let mut found = false;
    for container in all {
        let env = items(container, "env");
        let of_kubelet = env.iter().take_while(|entry| is_of_the_kubelet(entry)).count();
        prop_assert!(!env[of_kubelet..].iter().any(is_of_the_kubelet), "{container}");
        prop_assert!(of_kubelet == 0 || plan.kubelet_env, "{container}");
        found |= of_kubelet > 0;
        if of_kubelet > 0 && plan.files.is_empty() {
            let mut mounts = items(container, "volumeMounts").iter();
            prop_assert!(mounts.all(|mount| mount["name"] != "podkey-secrets"), "{container}");
        }
    }
    prop_assert_eq!(found, plan.kubelet_env);
    Ok(())
}

/// What a command begins with that gets variables.
const EXEC: [&str; 3] = ["/podkey/bin/podkey-agent", "exec", "--"];

/// Only where the agent is to start commands does it, and it has what it needs there.
fn commands_start_with_their_variables(pod: &Value, patched: &Value) -> TestCaseResult {
    let plan = plan(patched);
    let mut started = 0;
    for place in ["initContainers", "containers"] {
        let after = items(&patched["spec"], place).iter();
        let after = after.filter(|container| !is_podkey_s(container));
        for (before, after) in items(&pod["spec"], place).iter().zip(after) {
            let starts = |container: &Value| {
                let lists = ["command", "args"].map(|name| items(container, name).windows(EXEC.len()));
                lists.into_iter().flatten().any(|words| words == EXEC)
            };
            prop_assert!(plan.exec || before["command"] == after["command"]);
            let mounted = |volume: &str, path: &str| {
                let mut mounts = items(after, "volumeMounts").iter();
                mounts.any(|mount| mount["name"] == volume && mount["mountPath"] == path)
            };
            let has_all = mounted("podkey-secrets", "/podkey/secrets") && mounted("podkey-bin", "/podkey/bin");
            prop_assert!(has_all || starts(before) == starts(after), "{after}");
            started += usize::from(has_all && starts(after));
        }
    }
    prop_assert!(!plan.exec || started > 0);
    Ok(())
}

const HOOKS: [(&str, &str, &str); 2] = [
    (
        "ACTIONS_RUNNER_HOOK_JOB_STARTED",
        "/podkey/bin/job-started.sh",
        "PODKEY_NEXT_JOB_STARTED",
    ),
    (
        "ACTIONS_RUNNER_HOOK_JOB_COMPLETED",
        "/podkey/bin/job-completed.sh",
        "PODKEY_NEXT_JOB_COMPLETED",
    ),
];

/// A container's environment as the kubelet makes it: of two entries with one name the last, `$(NAME)` from those before,
/// `$$` for a dollar (kubernetes/kubernetes, third_party/forked/golang/expansion).
fn environment(container: &Value) -> BTreeMap<String, String> {
    let mut environment = BTreeMap::new();
    for entry in items(container, "env") {
        let Some(name) = entry["name"].as_str() else { continue };
        // No API server lets such an entry through, and podkey does not see it.
        if entry
            .get("value")
            .is_some_and(|value| !value.is_null() && !value.is_string())
        {
            continue;
        }
        let value = match entry.get("valueFrom") {
            None | Some(Value::Null) => expand(entry["value"].as_str().unwrap_or_default(), &environment),
            Some(_) => "from elsewhere".to_owned(),
        };
        environment.insert(name.to_owned(), value);
    }
    environment
}

fn expand(text: &str, environment: &BTreeMap<String, String>) -> String {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        expanded.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            expanded.push('$');
            rest = after;
        } else if let Some((name, after)) = rest.strip_prefix('(').and_then(|rest| rest.split_once(')')) {
            match environment.get(name) {
                Some(value) => expanded.push_str(value),
                None => expanded.push_str(&format!("$({name})")),
            }
            rest = after;
        } else {
            expanded.push('$');
        }
    }
    expanded + rest
}

/// Kubernetes' own rule, for the quantities that the generator makes.
fn is_guaranteed(pod: &Value) -> bool {
    let amount = |value: &Value| match value {
        Value::Null => None,
        Value::String(text) if text.ends_with("Mi") => text.trim_end_matches("Mi").parse::<f64>().ok(),
        Value::String(text) if text.ends_with("Gi") => {
            text.trim_end_matches("Gi").parse().ok().map(|n: f64| n * 1024.0)
        }
        Value::String(text) if text.ends_with('m') => text.trim_end_matches('m').parse().ok().map(|n: f64| n / 1000.0),
        Value::String(text) => text.parse().ok(),
        other => other.as_f64(),
    };
    let all = items(&pod["spec"], "initContainers")
        .iter()
        .chain(items(&pod["spec"], "containers"));
    all.clone().count() > 0
        && all
            .flat_map(|container| ["cpu", "memory"].map(|name| (container, name)))
            .all(|(container, name)| {
                let limit = amount(&container["resources"]["limits"][name]);
                let request = &container["resources"]["requests"][name];
                let request = if request.is_null() { limit } else { amount(request) };
                limit.is_some() && limit == request
            })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn every_law_holds_for_any_pod(pod in pod()) {
        check(&pod)?;
    }

    /// One place of the pod holds something else than it should; no list for an object, which serde takes for one.
    #[test]
    fn every_law_holds_for_a_pod_with_nonsense_in_it(mut pod in pod(), place in any::<prop::sample::Index>(), nonsense in anything()) {
        let mut places = Vec::new();
        pointers(&pod, String::new(), &mut places);
        let place: &String = place.get(&places);
        let place = pod.pointer_mut(place).unwrap();
        if !(place.is_object() && nonsense.is_array()) {
            *place = nonsense;
        }
        check(&pod)?;
    }

    #[test]
    fn no_annotation_text_makes_decide_panic(
        values in vec((select(vec![
            "connection", "role", "auth-mount", "files", "env", "containers", "refresh", "on-change", "on-failure", "job-hooks", "export",
            "env-delivery", "mask", "job-env", "job-policy", "job-temp", "ignore-not-found", "injected", "", "~/",
        ]), prop_oneof![any::<String>(), files(Kind::RunnerOfTeam, Wish::Once), files(Kind::Plain, Wish::Fresh), "(signal:SIG|touch:|http:POST:http://)[A-Z0-9a-z.:/$\\[\\]?-]{0,15}", "[a-z/{}$.`'\"*|; \\[\\]0-9-]{0,30}", "[-{}\\[\\]:,&*!|>'\" a-z\n]{0,40}"]), 0..6),
        key in option::of(any::<String>()),
    ) {
        let mut annotations: Map<_, _> =
            values.into_iter().map(|(key, value)| (format!("podkey.dev/{key}"), value.into())).collect();
        annotations.extend(key.map(|key| (format!("podkey.dev/{key}"), Value::from(key))));
        check(&json!({"metadata": {"annotations": annotations}, "spec": {"containers": [{"name": "web"}]}}))?;
    }

    /// The pod asks vault-k8s, and podkey for nothing.
    #[test]
    fn every_law_holds_for_a_pod_of_vault_k8s(pod in pod_of_vault_k8s()) {
        check(&pod)?;
    }

    #[test]
    fn no_json_makes_parsing_panic(value in anything(), text in any::<String>()) {
        let _ = Pod::parse(&value.to_string()).is_ok();
        let _ = Pod::parse(&text).is_ok();
    }
}

fn pointers(value: &Value, at: String, into: &mut Vec<String>) {
    match value {
        Value::Array(values) => {
            for (index, value) in values.iter().enumerate() {
                pointers(value, format!("{at}/{index}"), into);
            }
        }
        Value::Object(values) => {
            for (key, value) in values {
                pointers(
                    value,
                    format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")),
                    into,
                );
            }
        }
        _ => {}
    }
    into.push(at);
}

/// A generator whose pods are all denied would prove nothing.
#[test]
fn many_of_the_generated_pods_are_injected() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let pods: Vec<_> = (0..2000)
        .map(|_| pod().new_tree(&mut runner).unwrap().current())
        .filter(|pod| check(pod).unwrap())
        .collect();
    assert!(pods.len() > 80, "{} of 2000", pods.len());
    let of_vault_k8s = (0..500)
        .map(|_| pod_of_vault_k8s().new_tree(&mut runner).unwrap().current())
        .filter(|pod| check(pod).unwrap());
    let of_vault_k8s: Vec<_> = of_vault_k8s.collect();
    assert!(of_vault_k8s.len() > 40, "{} of 500", of_vault_k8s.len());
    let with_hooks = |pod: &&Value| {
        let labels = &pod["metadata"]["labels"];
        let wished = &pod["metadata"]["annotations"]["podkey.dev/job-hooks"];
        wished == "true" || (*wished != "false" && !labels["actions-ephemeral-runner"].is_null())
    };
    let hooks = pods.iter().filter(with_hooks).count();
    assert!(hooks > 10, "{hooks} of 2000 with hooks");
    let starts = |pod: &&Value| {
        let annotations = &pod["metadata"]["annotations"];
        annotations["podkey.dev/env"].is_string() && annotations["podkey.dev/export"] != "false" && !with_hooks(pod)
    };
    let asks_kubelet = |pod: &&Value| pod["metadata"]["annotations"]["podkey.dev/env-delivery"] == "kubelet";
    let exec = pods.iter().filter(starts).filter(|pod| !asks_kubelet(pod)).count();
    assert!(exec > 25, "{exec} of 2000 with exec");
    let kubelet = pods.iter().filter(starts).filter(asks_kubelet).count();
    assert!(kubelet > 3, "{kubelet} of 2000 with the kubelet");
    let refresh = |pod: &&Value| {
        pod["metadata"]["annotations"]["podkey.dev/refresh"]
            .as_str()
            .is_some_and(|refresh| refresh != "never")
    };
    let fresh = pods.iter().filter(refresh);
    assert!(fresh.clone().count() > 20, "{} of 2000 with refresh", fresh.count());
    for (key, word) in [("on-change", "signal:"), ("files", "SecretKey"), ("files", "data:")] {
        let text = |pod: &&Value| {
            pod["metadata"]["annotations"][format!("podkey.dev/{key}")]
                .as_str()
                .map(str::to_owned)
        };
        let found = fresh
            .clone()
            .filter(|pod| text(pod).is_some_and(|text| text.contains(word)))
            .count();
        assert!(found > 0, "none of 2000 with {word}");
    }
}

// ----------------------------------------------------------------------------------------------- hostile inputs

/// A pod with this text in every place that podkey passes over.
fn around(text: &str) -> String {
    format!(
        r#"{{"future":{text},"metadata":{{"future":{text},"labels":{{"x":{text}}},"annotations":{{"x":{text},
        "podkey.dev/role":"web","podkey.dev/files":"- {{secret: a, key: k, file: /tmp/x, env: X}}"}}}},
        "spec":{{"future":{text},"containers":[{{"name":"web","future":{text},"env":[{{"name":"A","valueFrom":{text}}}],
        "volumeMounts":[{{"name":"v","mountPath":"/v","future":{text}}}]}}],
        "volumes":[{{"name":"v","configMap":{text},"future":{text}}}]}}}}"#
    )
}

/// On a small stack, as a recursive parser would need a large one.
fn decides(pod: String) -> Result<(), String> {
    let run = move || {
        let pod = Pod::parse(&pod).map_err(|error| error.to_string())?;
        match decide(&pod, "ns", &config()) {
            Decision::Inject(..) => Ok(()),
            Decision::Deny(problems) => Err(problems.to_string()),
            Decision::Ignore(_) => Err("ignored".to_owned()),
        }
    };
    let thread = std::thread::Builder::new().stack_size(512 * 1024).spawn(run).unwrap();
    thread.join().unwrap()
}

#[test]
fn hostile_json_in_fields_that_do_not_matter_is_passed_over() {
    let deep = 100_000;
    for (name, text) in [
        ("deep lists", "[".repeat(deep) + &"]".repeat(deep)),
        ("deep objects", r#"{"a":"#.repeat(deep) + "1" + &"}".repeat(deep)),
        ("a million elements", format!("[0{}]", ",0".repeat(1_000_000))),
        ("a lone surrogate", r#""\ud800""#.to_owned()),
        ("a huge number", "1".repeat(10_000)),
        ("a huge exponent", "1e999999999".to_owned()),
        ("one key twice", r#"{"a":1,"a":2}"#.to_owned()),
        ("3 MiB of text", format!("\"{}\"", "x".repeat(3 * 1024 * 1024))),
    ] {
        assert_eq!(decides(around(&text)), Ok(()), "{name}");
    }
}

#[test]
fn hostile_json_in_fields_that_matter_is_an_error() {
    let pod = |annotations: &str, spec: &str| {
        format!(
            r#"{{"metadata":{{"annotations":{{{annotations}}}}},"spec":{{"containers":[{{"name":"web"}}]{spec}}}}}"#
        )
    };
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    let good = r#""podkey.dev/role":"web","podkey.dev/files":"- {secret: a, file: f}""#;
    assert_eq!(decides(pod(good, "")), Ok(()));
    for text in [
        pod(&format!("{good},\"podkey.dev/containers\":{deep}"), ""),
        pod(&format!("{good},\"podkey.dev/containers\":\"\\ud800\""), ""),
        pod(&format!("{good},\"podkey.dev/\\ud800\":\"x\""), ""),
        pod(
            &format!("\"podkey.dev/role\":\"web\",\"podkey.dev/files\":\"{deep}\""),
            "",
        ),
        pod(
            &format!(
                "\"podkey.dev/role\":\"web\",\"podkey.dev/files\":\"{}\"",
                "- ".repeat(30_000)
            ),
            "",
        ),
        pod(
            &format!(
                "\"podkey.dev/role\":\"web\",\"podkey.dev/files\":\"{}\"",
                "{a: ".repeat(16_000)
            ),
            "",
        ),
        pod(good, &format!(",\"volumes\":{deep}")),
        pod(good, ",\"securityContext\":{\"runAsUser\":1e400}"),
        pod(good, ",\"securityContext\":{\"runAsUser\":99999999999999999999}"),
        pod(good, ",\"hostPID\":true,\"hostPID\":false"),
        pod(good, ",\"containers\":[]"),
        pod(good, ",\"initContainers\":[{\"name\":\"a\",\"env\":{}}]"),
        pod(good, "")[1..].to_owned(),
        String::new(),
        deep,
    ] {
        assert!(
            decides(text.clone()).is_err(),
            "{}",
            text.chars().take(300).collect::<String>()
        );
    }
}

#[test]
fn of_an_annotation_that_is_there_twice_the_last_counts() {
    let text = r#"{"metadata":{"annotations":{"podkey.dev/role":"","podkey.dev/files":"x","podkey.dev/role":"web",
        "podkey.dev/files":"- {secret: a, file: f}"}},"spec":{"containers":[{"name":"web"}]}}"#;
    assert_eq!(decides(text.to_owned()), Ok(()));
}

#[test]
fn pods_of_3_mib_are_injected() {
    let mut pod = json!({
        "metadata": {"annotations": {
            "podkey.dev/role": "web", "podkey.dev/files": "- {secret: a, key: k, file: /tmp/x, env: X}"}},
        "spec": {"containers": []}});
    let variables: Vec<_> = (0..1000)
        .map(|n| json!({"name": format!("V{n}"), "value": "x".repeat(10)}))
        .collect();
    let mounts: Vec<_> = (0..100)
        .map(|n| json!({"name": "v", "mountPath": format!("/v/{n}")}))
        .collect();
    let containers = (0..100).map(|n| json!({"name": format!("c{n}"), "env": variables, "volumeMounts": mounts}));
    pod["spec"]["containers"] = containers.collect();
    assert!(pod.to_string().len() > 3 * 1024 * 1024);
    assert!(check(&pod).unwrap());
}

/// Two pods like this once took 12 seconds, in which no probe was answered: each device was compared with each of 64 files,
/// and each conflict was written down.
#[test]
fn eighty_thousand_volume_devices_are_refused_before_anything_is_compared() {
    let files: String = (0..64)
        .map(|n| format!("- {{secret: a, key: k, file: /d/{n}}}\n"))
        .collect();
    let devices: Vec<_> = (0..80_000).map(|_| json!({"name": "d", "devicePath": "/d"})).collect();
    let pod = json!({
        "metadata": {"annotations": {"podkey.dev/role": "web", "podkey.dev/files": files}},
        "spec": {"containers": [{"name": "web", "volumeDevices": devices}]}});
    assert_eq!(
        decides(pod.to_string()),
        Err(
            "spec.containers.volumeDevices: has more than 1000 items, the most that podkey accepts: use fewer"
                .to_owned()
        )
    );
}

/// Of a product of two lists no more is written down than is kept.
#[test]
fn ten_thousand_conflicts_of_sixty_four_files_end_with_the_last_problem_that_is_kept() {
    let files: String = (0..64)
        .map(|n| format!("- {{secret: a, key: k, file: /d/{n}}}\n"))
        .collect();
    let mounts: Vec<_> = (0..10_000)
        .map(|n| json!({"name": "v", "mountPath": format!("/d/{}/{n}", n % 64)}))
        .collect();
    let pod = json!({
        "metadata": {"annotations": {"podkey.dev/role": "web", "podkey.dev/files": files}},
        "spec": {"containers": [{"name": "web", "volumeMounts": mounts}]}})
    .to_string();
    let Decision::Deny(problems) = decide(&Pod::parse(&pod).unwrap(), "ns", &config()) else {
        panic!("the pod is not refused");
    };
    assert_eq!((problems.iter().count(), problems.len()), (256, 256), "{problems}");
}

/// Each of these once filled hundreds of megabytes, or took seconds.
#[test]
fn what_would_keep_the_webhook_busy_is_denied_at_once() {
    let files = "- {secret: a, key: k, file: /tmp/x}";
    let pod = |annotations: Value, spec: Value| json!({"metadata": {"annotations": annotations}, "spec": spec});
    let web = json!({"containers": [{"name": "web"}]});
    let denied = |pod: &Value| match decide(&Pod::parse(&pod.to_string()).unwrap(), "ns", &config()) {
        Decision::Deny(problems) => problems.to_string(),
        other => panic!("{other:?}"),
    };
    let names = (0..120_000).map(|n| format!("c{n}")).collect::<Vec<_>>().join(",");
    for containers in [",".repeat(2_900_000), names] {
        let annotations =
            json!({"podkey.dev/files": files, "podkey.dev/role": "r", "podkey.dev/containers": containers});
        assert_eq!(
            denied(&pod(annotations, web.clone())),
            "podkey.dev/containers: is longer than 4096 bytes"
        );
    }
    let many: Map<_, _> = (0..20_000).map(|n| (format!("podkey.dev/a{n}"), json!("x"))).collect();
    let message = denied(&pod(Value::Object(many), web.clone()));
    assert!(
        message.starts_with("podkey.dev/: has more than 32 annotations; "),
        "{message}"
    );
    let fields = (0..2_000).map(|n| format!("  k{n}: v\n")).collect::<String>();
    let message = denied(&pod(json!({"podkey.dev/files": format!("- secret: a\n{fields}")}), web));
    assert!(
        message.contains("has more than 64 fields in one set, in line"),
        "{message}"
    );
    let annotations = json!({"podkey.dev/files": files, "podkey.dev/role": "r"});
    let volumes: Vec<_> = (0..10_000)
        .map(|n| json!({"name": format!("v{n}"), "emptyDir": {}}))
        .collect();
    let mounts: Vec<_> = (0..10_001).map(|_| json!({"name": "v", "mountPath": "/"})).collect();
    let containers: Vec<_> = (0..257).map(|n| json!({"name": format!("c{n}")})).collect();
    for (spec, expected) in [
        (
            json!({"containers": [{"name": "web"}], "volumes": volumes}),
            "spec.volumes: has more than 1000 items",
        ),
        (
            json!({"containers": [{"name": "web", "volumeMounts": mounts}]}),
            "spec.containers.volumeMounts: has more than 10000",
        ),
        (
            json!({"containers": containers}),
            "spec.containers: has more than 256 items",
        ),
    ] {
        let message = denied(&pod(annotations.clone(), spec));
        assert!(message.contains(expected), "{message}");
    }
}

/// Found by `every_law_holds_for_any_pod`: the author was told to remove podkey-init, too.
#[test]
fn a_container_that_the_job_hooks_cannot_clear_makes_no_other_plan() {
    for file in [
        "{secret: c/d, file: /etc/app/all.yaml, format: yaml, mode: '0400'}",
        "{secret: c/d, file: all.yaml, format: yaml, as: job}",
    ] {
        let pod = json!({
            "metadata": {"annotations": {
                "podkey.dev/role": "web", "podkey.dev/connection": "team", "podkey.dev/files": format!("- {file}\n"),
                "podkey.dev/job-hooks": "true",
            }},
            "spec": {"containers": [{"name": "runner", "command": ["/app"], "securityContext": {"runAsUser": 1001}}]},
        });
        assert!(check(&pod).unwrap(), "{file}");
    }
}

/// The same, where the plan is an annotation, because the job hooks do all the work.
#[test]
fn a_container_that_the_job_hooks_cannot_clear_leaves_the_plan_of_the_annotation() {
    let text = format!(
        "kubernetesVersion: '1.37'{}",
        CONFIG.replace("image: podkey", "image: podkey, binary: imageVolume")
    );
    let config = Config::parse(&text, |_| Err(String::new())).unwrap();
    let mut pod = json!({
        "metadata": {"annotations": {
            "podkey.dev/connection": "team", "podkey.dev/job-env": "c/d token | TOKEN", "podkey.dev/job-hooks": "true",
        }},
        "spec": {"containers": [{"name": "runner", "securityContext": {"runAsUser": 1001}}]},
    });
    let text = pod.to_string();
    let Decision::Inject(patch, _) = decide(&Pod::parse(&text).unwrap(), "ns", &config) else {
        panic!("denied")
    };
    let patch: json_patch::Patch = serde_json::from_slice(patch.as_json()).unwrap();
    json_patch::patch(&mut pod, &patch).unwrap();
    assert!(pod["metadata"]["annotations"]["podkey.dev/plan"].is_string(), "{pod}");
    pod["spec"]["containers"]
        .as_array_mut()
        .unwrap()
        .push(json!({"name": "added"}));
    let text = pod.to_string();
    let Decision::Deny(problems) = decide(&Pod::parse(&text).unwrap(), "ns", &config) else {
        panic!("not denied")
    };
    let problems = problems.to_string();
    assert!(
        problems.contains("cannot clear the files") && !problems.contains("from the template"),
        "{problems}"
    );
}
