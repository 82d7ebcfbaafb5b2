//! The work of a decision does not multiply: whatever list of a pod grows, the work grows with the pod and not with the pod
//! times what it asks for. Work is counted in allocations, not in time. `benches/run decide` measures the time.
#![cfg(feature = "webhook")]
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test may fail where it stands")]

#[path = "support/lists.rs"]
mod lists;

use std::alloc::System;
use std::sync::{Mutex, OnceLock};

use lists::Texts;
use podkey::inject::{Config, Decision, Pod, decide};
use serde_json::{Value, json};
use stats_alloc::StatsAlloc;

#[global_allocator]
static COUNTING: StatsAlloc<System> = StatsAlloc::system();

/// The counter is everybody's.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Work {
    allocations: usize,
    bytes: usize,
}

/// The work of reading a pod, deciding, and writing the refusal's text.
fn work(pod: &str) -> (Work, String) {
    work_with(pod, config())
}

fn work_with(pod: &str, config: &Config) -> (Work, String) {
    let before = COUNTING.stats();
    let answer = match Pod::parse(pod) {
        Err(error) => error.to_string(),
        Ok(pod) => match decide(&pod, "ns", config) {
            Decision::Deny(problems) => problems.to_string(),
            Decision::Inject(..) => "injected".to_owned(),
            Decision::Ignore(_) => "ignored".to_owned(),
        },
    };
    let done = COUNTING.stats() - before;
    let work = Work {
        allocations: done.allocations + done.reallocations,
        bytes: done.bytes_allocated.saturating_add_signed(done.bytes_reallocated),
    };
    (work, answer)
}

const CONFIG: &str = "
agent: { image: podkey }
connections:
  default: { address: 'https://vault.example.com', auth: { role: web }, job: { role: job }, allow: [ { secrets: ['a/**', '**/b*c'] } ] }
";

fn config() -> &'static Config {
    static PARSED: OnceLock<Config> = OnceLock::new();
    PARSED.get_or_init(|| Config::parse(CONFIG, |_| Err(String::new())).unwrap())
}

/// What a pod asks for: much, or hardly anything.
#[derive(Debug, Clone, Copy)]
enum Asks {
    Once,
    Manifold,
}

/// The pod, as one that asks for so much. Its items stay what they are.
fn asking(mut pod: Value, asks: Asks, is_runner: bool) -> String {
    let count = match asks {
        Asks::Once => 1,
        Asks::Manifold => 64,
    };
    let files: String = (0..count)
        .map(|n| format!("- {{secret: a/b, key: k, file: /d/{n}, env: FILE_{n}}}\n"))
        .collect();
    let env: String = (0..count * 4).map(|n| format!("a/b k | VALUE_{n};")).collect();
    let metadata = pod["metadata"].as_object_mut().unwrap();
    let annotations = metadata.entry("annotations").or_insert_with(|| json!({}));
    annotations["podkey.dev/files"] = files.into();
    annotations["podkey.dev/env"] = env.into();
    if is_runner {
        pod["metadata"]["labels"]["actions-ephemeral-runner"] = "True".into();
        pod["spec"]["containers"][0]["name"] = "runner".into();
    }
    pod.to_string()
}

#[test]
fn the_lists_are_those_of_the_type() {
    let lists = lists::all();
    for list in [
        "metadata.annotations",
        "metadata.managedFields",
        "spec.containers",
        "spec.containers[].env",
        "spec.containers[].volumeDevices",
        "spec.containers[].resources.limits",
        "spec.initContainers[].securityContext.capabilities.drop",
        "spec.ephemeralContainers[].args",
        "spec.volumes[].projected.sources[].configMap.items",
        "spec.volumes[].csi.volumeAttributes",
        "spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[].labelSelector.matchLabels",
        "spec.hostAliases[].hostnames",
        "spec.tolerations",
    ] {
        assert!(
            lists.iter().any(|found| found == list),
            "{list} is not among {lists:#?}"
        );
    }
    assert!(lists.len() > 150, "{}", lists.len());
}

/// A list of a pod once cost its length times the number of files, and each conflict was written down.
#[test]
fn no_list_of_a_pod_multiplies_with_what_the_pod_asks_for() {
    let _alone = ONE_AT_A_TIME.lock();
    // Each problem that is kept is written, and no other.
    const PROBLEMS: usize = 256 * 20;
    // Each container gets a mount and a variable for each file, until they are too many bytes for one patch.
    const ADDITIONS: usize = 4 * 512 * 1024 / 160;
    let mut failures = String::new();
    for list in lists::all() {
        for (bytes, texts, is_runner) in [
            (10_000, Texts::Deep, true),
            (10_000, Texts::Same, false),
            (50_000, Texts::Short, true),
            (50_000, Texts::Long, false),
        ] {
            let (little, much) = (lists::pod(&list, 1, texts), lists::pod_of(&list, bytes, texts));
            let growth = |asks| {
                let (little, _) = work(&asking(little.clone(), asks, is_runner));
                let (much, answer) = work(&asking(much.clone(), asks, is_runner));
                (much.allocations.saturating_sub(little.allocations), answer)
            };
            let ((once, _), (manifold, answer)) = (growth(Asks::Once), growth(Asks::Manifold));
            let gets_files = list == "spec.containers";
            if manifold > 2 * once + PROBLEMS + if gets_files { ADDITIONS } else { 0 } {
                let case = format!("{list}, {bytes} bytes, {texts:?}, runner: {is_runner}");
                failures += &format!("{case}: {once} allocations for one file, {manifold} for 64: {answer}\n");
            }
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

/// A source of a projected volume, `{}`, once became four hundred bytes, and a container three hundred. (All that is ever
/// asked for counts here, be it given back at once.)
#[test]
fn no_list_of_a_pod_fills_the_memory() {
    let _alone = ONE_AT_A_TIME.lock();
    let mut failures = String::new();
    for list in lists::all() {
        let pod = asking(lists::pod_of(&list, 150_000, Texts::Short), Asks::Manifold, false);
        let (work, answer) = work(&pod);
        if work.bytes > 24 * pod.len() + 1_000_000 {
            failures += &format!("{list}: {} bytes for a pod of {}: {answer}\n", work.bytes, pod.len());
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

/// The memory of the sources was asked for where a pod carries podkey's parts already.
#[test]
fn a_million_sources_of_podkey_s_own_volume_are_not_kept() {
    let _alone = ONE_AT_A_TIME.lock();
    let mut pod = json!({"metadata": {}, "spec": {"containers": [{"name": "web", "command": ["x"]}]}});
    pod = serde_json::from_str(&asking(pod, Asks::Once, false)).unwrap();
    let text = pod.to_string();
    let Decision::Inject(patch, _) = decide(&Pod::parse(&text).unwrap(), "ns", config()) else {
        panic!("the pod is not injected");
    };
    let patch: json_patch::Patch = serde_json::from_slice(patch.as_json()).unwrap();
    json_patch::patch(&mut pod, &patch).unwrap();
    let volumes = pod["spec"]["volumes"].as_array_mut().unwrap();
    let token = volumes
        .iter_mut()
        .find(|volume| volume["name"] == "podkey-token")
        .unwrap();
    token["projected"]["sources"] = vec![json!({}); 100_000].into();
    let (work, answer) = work(&pod.to_string());
    assert!(
        answer.contains("podkey-token is another volume than podkey makes"),
        "{answer}"
    );
    assert!(work.bytes < 1_000_000, "{work:?}");
}

/// Our own names did not count, so any number of containers, volumes and mounts could have them.
#[test]
fn names_that_begin_like_podkey_s_are_counted_like_others() {
    let _alone = ONE_AT_A_TIME.lock();
    let containers = |name: &str| -> Value { (0..5_000).map(|_| json!({"name": name})).collect() };
    let mounts = |name: &str| -> Value {
        (0..11_000)
            .map(|n| json!({"name": name, "mountPath": format!("/d/{n}")}))
            .collect()
    };
    for name in ["podkey-x", "podkey-init", "podkey-secrets"] {
        for spec in [
            json!({"containers": containers(name)}),
            json!({"containers": [{"name": "web"}], "initContainers": containers(name)}),
            json!({"containers": [{"name": "web"}], "volumes": containers(name)}),
            json!({"containers": [{"name": "web", "volumeMounts": mounts(name)}]}),
        ] {
            let (_, answer) = work(&asking(json!({"metadata": {}, "spec": spec}), Asks::Manifold, false));
            assert!(answer.contains("the most that podkey accepts"), "{name}: {answer}");
        }
    }
}

/// 19 KB once made an answer of 1.9 MB: 64 files times 255 containers.
#[test]
fn a_small_pod_gets_no_large_answer() {
    let _alone = ONE_AT_A_TIME.lock();
    let containers: Value = (0..255)
        .map(|n| json!({"name": format!("c{n}"), "command": ["x"]}))
        .collect();
    let pod = json!({"metadata": {}, "spec": {"containers": containers}});
    let (one, answer) = work(&asking(pod.clone(), Asks::Once, false));
    assert_eq!(answer, "injected");
    let (many, answer) = work(&asking(pod, Asks::Manifold, false));
    assert!(answer.contains("name fewer containers"), "{answer}");
    assert!(
        many.bytes < 4 * one.bytes,
        "{} bytes, and {} for one file",
        many.bytes,
        one.bytes
    );
}

/// Each of 2,048 names was measured against each of 64 containers' names, of whatever length.
#[test]
fn names_of_containers_are_not_all_compared_with_each_other() {
    let _alone = ONE_AT_A_TIME.lock();
    let mut pod = json!({"metadata": {"annotations": {}}, "spec": {}});
    pod["spec"]["containers"] = (0..200)
        .map(|n| json!({"name": format!("{}{n}", "n".repeat(60))}))
        .collect();
    pod["metadata"]["annotations"]["podkey.dev/containers"] = (0..60)
        .map(|n| format!("{}{n}", "m".repeat(60)))
        .collect::<Vec<_>>()
        .join(",")
        .into();
    let (work, answer) = work(&asking(pod, Asks::Once, false));
    assert!(answer.contains("the pod has no container"), "{answer}");
    assert!(work.allocations < 5_000, "{work:?}");
    let bomb = json!({"containers": [{"name": "n".repeat(1_000_000)}]});
    let pod = json!({"metadata": {"annotations": {"podkey.dev/containers": "nn"}}, "spec": bomb});
    let (work, _) = self::work(&asking(pod, Asks::Once, false));
    assert!(work.bytes < 1_000_000, "{work:?}");
}

/// Each mount once parsed the command of its container again, and the variables, to know who sets the variables.
#[test]
fn the_mounts_of_a_container_do_not_multiply_with_its_command_and_variables() {
    let _alone = ONE_AT_A_TIME.lock();
    let config = Config::parse(&format!("kubernetesVersion: '1.37'{CONFIG}"), |_| Err(String::new())).unwrap();
    let command: Value = (0..20_000).map(|n| format!("{n}")).collect();
    // A name that JSON escapes is a text of its own in memory, each time.
    let env: Value = (0..4_000)
        .map(|n| json!({"name": format!("\\{n}"), "value": "x"}))
        .collect();
    for volume in ["podkey-bin", "podkey-secrets", "data"] {
        let with_mounts = |count| {
            let mounts: Value = (0..count)
                .map(|n| json!({"name": volume, "mountPath": format!("/m/{n}"), "readOnly": true}))
                .collect();
            let web = json!({"name": "web", "command": command, "env": env, "volumeMounts": mounts});
            let init = json!([{"name": "podkey-init"}]);
            let pod = json!({"metadata": {}, "spec": {"containers": [web], "initContainers": init}});
            let (work, answer) = work_with(&asking(pod, Asks::Once, false), &config);
            assert!(
                answer.contains("podkey-init is there") || answer.contains("remove the mount"),
                "{answer}"
            );
            work
        };
        let (few, many) = (with_mounts(10), with_mounts(2_000));
        assert!(
            many.allocations < 2 * few.allocations + 256 * 20,
            "{volume}: {few:?}, {many:?}"
        );
        assert!(many.bytes < 2 * few.bytes, "{volume}: {few:?}, {many:?}");
    }
}
