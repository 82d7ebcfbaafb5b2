//! What podkey costs runner pods that are created at once: fifty pods of each kind, turn and turn about. Each kind leaves out a part
//! of what podkey adds, so that the table tells which part costs what.

use std::io::Write as _;
use std::time::{Duration, SystemTime};

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::harness::api::cluster;
use crate::harness::decided;
use crate::harness::namespace::Namespace;
use crate::harness::openbao::Vault;
use crate::harness::pod::{container, pod};
use crate::harness::{LIMIT, merge, wait};
use crate::table::{Table, median, quantile};
use crate::{CLOCK, SECRET, create_at_once, since};

/// How many pods are created at once, and how often each kind has its turn.
pub(crate) struct Crowd {
    pub(crate) pods: usize,
    pub(crate) rounds: usize,
}

/// A kind of pod, with its name in the table.
struct Kind {
    name: &'static str,
    pod: Value,
}

pub(crate) fn measure(crowd: &Crowd) -> anyhow::Result<String> {
    let namespace = decided::namespace("bench-runners");
    let vault = Vault::new(&namespace);
    vault.put("web", &json!({"password": SECRET}));
    let kinds = kinds(&namespace, &vault);
    let mut starts: Vec<Vec<f64>> = kinds.iter().map(|_| Vec::new()).collect();
    // Not counted: the first pods fill caches.
    crowd_of(&namespace, &kinds[0].pod, "warm", crowd.pods.min(5))?;
    for round in 0..crowd.rounds {
        for turn in 0..kinds.len() {
            let kind = (turn + round) % kinds.len();
            let name = format!("runner-{round}-{kind}");
            let crowd = crowd_of(&namespace, &kinds[kind].pod, &name, crowd.pods)?;
            let p50 = median(crowd.iter().copied());
            writeln!(std::io::stderr(), "round {round}: {}: p50 {p50:.1} s", kinds[kind].name)?;
            starts[kind].extend(crowd);
        }
    }
    let mut table = Table::new(&[
        "from the first request to the runner's own clock, s",
        "p50",
        "p95",
        "p50 to the plain one",
    ]);
    let plain = median(starts[0].iter().copied());
    for (kind, starts) in kinds.iter().zip(&starts) {
        let p50 = median(starts.iter().copied());
        let p95 = quantile(starts.iter().copied(), 0.95);
        table.row(&[
            kind.name.to_owned(),
            format!("{p50:.1}"),
            format!("{p95:.1}"),
            format!("{:.2}", p50 / plain),
        ]);
    }
    let Crowd { pods, rounds } = crowd;
    Ok(format!(
        "{pods} runner pods created at once, {rounds} times for each kind.\n{}",
        table.text()
    ))
}

/// A runner pod that prints its clock and waits, as a runner waits for its job.
fn runner() -> Value {
    let mut runner = merge(
        pod("runner", ""),
        &json!({
            "metadata": {"labels": {"actions-ephemeral-runner": "True"}},
            "spec": {"securityContext": {"runAsUser": 1001}, "terminationGracePeriodSeconds": 0},
        }),
    );
    runner["spec"]["containers"] = json!([container("runner", &format!("{CLOCK}; exec sleep 3600"))]);
    runner
}

fn kinds(namespace: &Namespace, vault: &Vault<'_>) -> Vec<Kind> {
    let files = json!([
        {"secret": "web", "key": "password", "file": "password"},
        {"secret": "web", "key": "password", "file": "/tmp/kubeconfig"},
    ]);
    let job_files = json!([
        {"secret": "web", "key": "password", "file": "password", "as": "job"},
        {"secret": "web", "key": "password", "file": "/tmp/kube/config", "as": "job"},
    ]);
    let (copy, image) = (decided::config("copy"), decided::config("imageVolume"));
    let copied = decided::injected(&vault.annotate(runner(), &files), namespace, &copy);
    let of_image = decided::injected(&vault.annotate(runner(), &files), namespace, &image);
    let alone = decided::injected(&vault.annotate(runner(), &job_files), namespace, &image);
    let mut idle = copied.clone();
    idle["spec"]["initContainers"][0]["args"] = json!(["--version"]);
    let mut bare_init = idle.clone();
    for list in ["initContainers", "containers"] {
        bare_init["spec"][list][0]["volumeMounts"] = json!([]);
    }
    bare_init["spec"]["volumes"] = json!([]);
    let volumes = |of: &Value| without(of, |spec| spec["initContainers"] = json!([]));
    let copied_volumes = volumes(&copied);
    let no_sub_path = without(&copied_volumes, |spec| {
        for mount in spec["containers"][0]["volumeMounts"]
            .as_array_mut()
            .into_iter()
            .flatten()
        {
            mount.as_object_mut().map(|mount| mount.remove("subPath"));
        }
    });
    // One volume of the pod without podkey-init, with its mount.
    let only = |volume: &str| {
        without(&alone, |spec| {
            keep(&mut spec["volumes"], volume);
            keep(&mut spec["containers"][0]["volumeMounts"], volume);
        })
    };
    let (only_image, only_plan) = (only("podkey-bin"), only("podkey-plan"));
    let named = |name, pod| Kind { name, pod };
    vec![
        named("plain", runner()),
        named("podkey, the agent copied (`binary: copy`)", copied),
        named("podkey, `binary: imageVolume`, with podkey-init", of_image),
        named(
            "podkey, `binary: imageVolume`, the job reads everything: no podkey-init",
            alone,
        ),
        named("part: an init container that does nothing, and no volumes", bare_init),
        named("part: that, with the three volumes and their mounts", idle),
        named("part: the three volumes alone, two mounts by subPath", copied_volumes),
        named("part: the three volumes alone, no mount by subPath", no_sub_path),
        named("part: the volume of the image alone", only_image),
        named("part: the downwardAPI volume of the plan alone", only_plan),
    ]
}

/// The pod with a change of its spec.
fn without(pod: &Value, change: impl Fn(&mut Value)) -> Value {
    let mut pod = pod.clone();
    change(&mut pod["spec"]);
    pod
}

/// Removes the items of a list that have another name.
fn keep(list: &mut Value, name: &str) {
    if let Some(list) = list.as_array_mut() {
        list.retain(|item| item["name"] == name);
    }
}

/// Creates the pods, and gives the seconds until each runner has started.
fn crowd_of(namespace: &Namespace, pod: &Value, name: &str, count: usize) -> anyhow::Result<Vec<f64>> {
    let path = namespace.path("pods");
    let of = |number: usize| merge(pod.clone(), &json!({"metadata": {"name": format!("{name}-{number}")}}));
    let pods: Vec<Value> = (0..count).map(of).collect();
    let begun = SystemTime::now();
    create_at_once(&path, &pods);
    let pending =
        || cluster().get(&format!("{path}?fieldSelector=status.phase%3DPending&limit=1"))["items"] != json!([]);
    wait(4 * LIMIT, || {
        std::thread::sleep(Duration::from_millis(1000));
        (!pending()).then_some(())
    })
    .context("not all pods start")?;
    let mut starts = Vec::new();
    for number in 0..count {
        let pod = namespace.pod(&format!("{name}-{number}"));
        let log = wait(LIMIT, || Some(pod.log("runner")).filter(|log| log.contains('\n'))).context("no log")?;
        starts.push(since(begun, log.lines().next().unwrap_or_default())? / 1000.0);
    }
    cluster().delete(&format!("{path}?gracePeriodSeconds=0"));
    let gone = wait(4 * LIMIT, || {
        std::thread::sleep(Duration::from_millis(1000));
        (cluster().get(&format!("{path}?limit=1"))["items"] == json!([])).then_some(())
    });
    ensure!(gone.is_some(), "the pods do not go");
    // The kubelet still clears the pods' directories.
    std::thread::sleep(Duration::from_secs(3));
    Ok(starts)
}
