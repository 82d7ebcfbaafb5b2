//! Measures what podkey costs a pod in a cluster: until its main container starts, with 200 pods at once, and the API
//! server's wait for the webhook. `benches/run cluster` calls it, with the same variables as the end-to-end tests;
//! `benches/README.md` says how each number is made.

#[path = "../../tests/e2e/harness/mod.rs"]
#[allow(dead_code, unreachable_pub, reason = "the tests use all of it")]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "made for tests"
)]
mod harness;
mod runners;
#[path = "../table.rs"]
mod table;

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, ensure};
use harness::api::cluster;
use harness::namespace::Namespace;
use harness::openbao::Vault;
use harness::pod::{Pod, pod};
use harness::{LIMIT, merge, wait};
use runners::Crowd;
use serde_json::{Value, json};
use table::{Table, aim, aim_at_least, median, no_aim, quantile};

const SECRET: &str = "s3cret";
/// The container's own clock when it starts, to the nanosecond: busybox's `date` has none.
const CLOCK: &str = "touch /tmp/started; stat -c %y /tmp/started";
/// The kubelet looks at its containers this often.
const RELIST: Duration = Duration::from_secs(1);

/// How much is measured.
struct Effort {
    rounds: usize,
    at_once: usize,
    crowd: Crowd,
}

const FULL: Effort = Effort {
    rounds: 100,
    at_once: 200,
    crowd: Crowd { pods: 50, rounds: 2 },
};
const QUICK: Effort = Effort {
    rounds: 3,
    at_once: 10,
    crowd: Crowd { pods: 3, rounds: 1 },
};

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let effort = match args[..] {
        ["measure"] => FULL,
        ["measure", "--quick"] => QUICK,
        // Only the runner pods.
        ["runners"] => return print(&runners::measure(&FULL.crowd)?),
        ["runners", "--quick"] => return print(&runners::measure(&QUICK.crowd)?),
        // `cargo test --benches` and `cargo bench` without arguments measure nothing.
        _ => return Ok(()),
    };
    let namespace = Namespace::new("bench");
    let vault = Vault::new(&namespace);
    vault.put("web", &json!({"password": SECRET}));
    let (alone, at_once) = (
        alone(&namespace, &vault, &effort)?,
        at_once(&namespace, &vault, &effort)?,
    );
    let runners = runners::measure(&effort.crowd)?;
    print(&format!(
        "{}\n\n## One pod at a time\n\n{alone}\n## Pods at once\n\n{at_once}\n## Runner pods at once\n\n{runners}",
        about()
    ))
}

fn print(text: &str) -> anyhow::Result<()> {
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(())
}

fn about() -> String {
    let node = &cluster().get("/api/v1/nodes")["items"][0]["status"]["nodeInfo"];
    let text = |field: &str| node[field].as_str().unwrap_or_default().to_owned();
    format!(
        "One node: kubelet {}, {}; the API server, OpenBao and two replicas of podkey share it with the pods.",
        text("kubeletVersion"),
        text("containerRuntimeVersion")
    )
}

/// The three pods that are compared.
#[derive(Clone, Copy)]
enum Kind {
    /// Neither init container nor volume.
    Plain,
    /// What podkey adds, but that the init container does nothing.
    Idle,
    Podkey,
}

const KINDS: [Kind; 3] = [Kind::Plain, Kind::Idle, Kind::Podkey];
/// Each kind comes after each other one as often.
const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [1, 2, 0], [2, 0, 1], [0, 2, 1], [2, 1, 0], [1, 0, 2]];

fn plain(name: &str) -> Value {
    pod(name, CLOCK)
}

fn annotated(name: &str, vault: &Vault<'_>) -> Value {
    let pod = pod(name, &format!("{CLOCK}; cat /podkey/secrets/password"));
    vault.annotate(pod, &json!([{"secret": "web", "key": "password", "file": "password"}]))
}

/// The injected pod, made by podkey itself in a dry run, with an agent that ends at once.
fn idle(name: &str, namespace: &Namespace, vault: &Vault<'_>) -> anyhow::Result<Value> {
    let injected = namespace.try_create_as(cluster(), &annotated(name, vault), "?dryRun=All");
    ensure!(injected.is_success(), "{}", injected.text);
    let injected = injected.json();
    let of_podkey = |list: &Value| -> Value {
        let all = list.as_array().into_iter().flatten();
        let is = |item: &&Value| item["name"].as_str().is_some_and(|name| name.starts_with("podkey-"));
        all.filter(is).cloned().collect()
    };
    let mut init = injected["spec"]["initContainers"][0].clone();
    init = merge(
        init,
        &json!({"name": "idle", "command": ["/podkey-agent", "--version"], "args": null, "env": null}),
    );
    init["volumeMounts"] = of_podkey(&init["volumeMounts"]);
    let mut pod = plain(name);
    pod["spec"]["containers"][0]["volumeMounts"] = of_podkey(&injected["spec"]["containers"][0]["volumeMounts"]);
    pod["spec"]["initContainers"] = json!([init]);
    pod["spec"]["volumes"] = of_podkey(&injected["spec"]["volumes"]);
    Ok(pod)
}

fn alone(namespace: &Namespace, vault: &Vault<'_>, effort: &Effort) -> anyhow::Result<String> {
    let before = Admissions::now()?;
    // By kind, milliseconds from the request to the main container's first breath.
    let mut starts: [Vec<f64>; 3] = Default::default();
    let (mut logins, mut works) = (Vec::new(), Vec::new());
    // Not counted: the first ones fill caches.
    for round in 0..=effort.rounds {
        for kind in ORDERS[round % ORDERS.len()] {
            let name = format!("alone-{round}-{kind}");
            let object = match KINDS[kind] {
                Kind::Plain => plain(&name),
                Kind::Idle => idle(&name, namespace, vault)?,
                Kind::Podkey => annotated(&name, vault),
            };
            // The end of the pod before was seen just after the kubelet had looked. It finds the end of an init container
            // only at its next look: so each kind starts at each part of that second, and at the same ones.
            std::thread::sleep(RELIST.mul_f64(round as f64 / effort.rounds as f64));
            let asked = SystemTime::now();
            let pod = namespace.create(&object);
            ended(&pod)?;
            let log = pod.log("main");
            let mut lines = log.lines();
            let start = since(asked, lines.next().unwrap_or_default())?;
            if round > 0 {
                starts[kind].push(start);
            }
            if let Kind::Podkey = KINDS[kind] {
                ensure!(lines.next() == Some(SECRET), "{name} has no secret: {log}");
                let (login, work) = work(&pod)?;
                if round > 0 {
                    logins.push(login);
                    works.push(work);
                }
            }
            pod.delete();
        }
    }
    let [plain, idle, podkey] = starts;
    let mut text = format!(
        "{} pods of each kind, turn and turn about. From the request that creates the pod to its main container's own clock, ms.\n",
        effort.rounds
    );
    let mut table = Table::new(&["", "p50", "p99", "mean"]);
    let named = [
        ("neither init container nor volumes", &plain),
        ("podkey's volumes, and an init container that does nothing", &idle),
        ("with podkey", &podkey),
    ];
    for (name, values) in named {
        table.row(&[name.to_owned(), ms(p50(values)), ms(p99(values)), ms(mean(values))]);
    }
    text += &table.text();
    let mut table = Table::new(&[
        "with podkey, compared",
        "p50, ms",
        "p50, ratio",
        "mean, ms",
        "p99, ms",
        "aim for p50",
        "",
    ]);
    for (name, base, aim) in [
        (
            "to the one that does nothing",
            &idle,
            aim(p50(&podkey) - p50(&idle), 50.0, " ms"),
        ),
        ("to the plain one", &plain, no_aim()),
    ] {
        let cells = [
            name.to_owned(),
            difference(p50(&podkey), p50(base)),
            format!("{:.2}", p50(&podkey) / p50(base)),
            difference(mean(&podkey), mean(base)),
            difference(p99(&podkey), p99(base)),
        ];
        table.row(&[&cells[..], &aim].concat());
    }
    text += &table.text();
    let mut table = Table::new(&["podkey-init at work, ms", "p50", "p99", "aim for p50", ""]);
    let mut rows = vec![
        (
            "login, the review of the token by the API server included",
            logins.clone(),
            no_aim(),
        ),
        (
            "from there to its last word: read, write, revoke",
            less(&works, &logins),
            no_aim(),
        ),
        ("together", works.clone(), no_aim()),
    ];
    if let Some(audit) = audit()? {
        // The first one is not counted here either.
        let servers = &served(&audit, &vault.auth)[1..];
        let own = less(&works, servers);
        rows.push((
            "of which OpenBao answers its requests, by its audit log",
            servers.to_vec(),
            no_aim(),
        ));
        rows.push((
            "of which the rest: our own code, TLS, scheduling",
            own.clone(),
            aim(p50(&own), 20.0, " ms"),
        ));
    }
    for (name, values, aim) in rows {
        table.row(&[&[name.to_owned(), ms(p50(&values)), ms(p99(&values))][..], &aim].concat());
    }
    text += &table.text();
    text += &Admissions::now()?.since(&before);
    Ok(text)
}

fn less(all: &[f64], parts: &[f64]) -> Vec<f64> {
    all.iter().zip(parts).map(|(all, part)| all - part).collect()
}

/// Waits until it has succeeded, and looks often: what follows begins just after the kubelet saw the end.
fn ended(pod: &Pod<'_>) -> anyhow::Result<()> {
    let begun = Instant::now();
    loop {
        match pod.object()["status"]["phase"].as_str() {
            Some("Succeeded") => return Ok(()),
            Some("Failed") => anyhow::bail!("{} failed: {}", pod.name, pod.story()),
            _ => ensure!(begun.elapsed() < LIMIT, "{} does not end: {}", pod.name, pod.story()),
        }
        std::thread::sleep(Duration::from_millis(25));
    }
}

/// Milliseconds until a time as `stat` writes it: `2026-11-22 07:24:39.321786880 +0000`.
fn since(begun: SystemTime, time: &str) -> anyhow::Result<f64> {
    let utc = time.trim_end_matches(" +0000");
    let time = humantime::parse_rfc3339_weak(utc).with_context(|| format!("{time:?} is no time"))?;
    Ok(time.duration_since(begun)?.as_secs_f64() * 1000.0)
}

/// How long podkey-init logged in, and how long it worked in all, in milliseconds: by its own word about the login, and
/// the times at which the container runtime got its first line and its last.
fn work(pod: &Pod<'_>) -> anyhow::Result<(f64, f64)> {
    let path = format!("{}/log?container=podkey-init&timestamps=true", pod.path());
    let log = cluster().call("GET", &path, &Value::Null).text;
    let lines: Vec<(SystemTime, Value)> = log
        .lines()
        .filter_map(|line| {
            let (time, line) = line.split_once(' ')?;
            Some((
                humantime::parse_rfc3339_weak(time).ok()?,
                serde_json::from_str(line).ok()?,
            ))
        })
        .collect();
    let (first, line) = lines
        .iter()
        .find(|(_, line)| line["message"] == "logged in")
        .with_context(|| log.clone())?;
    let login = line["took_ms"].as_f64().context("took_ms")?;
    let (last, _) = lines.last().context("no line")?;
    Ok((login, login + last.duration_since(*first)?.as_secs_f64() * 1000.0))
}

/// Creates the pods, eight requests at a time.
fn create_at_once(path: &str, pods: &[Value]) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while let Some(pod) = pods.get(next.fetch_add(1, Ordering::Relaxed)) {
                    cluster().create(path, pod);
                }
            });
        }
    });
}

fn at_once(namespace: &Namespace, vault: &Vault<'_>, effort: &Effort) -> anyhow::Result<String> {
    let before = Admissions::now()?;
    let path = namespace.path("pods");
    let pods: Vec<Value> = (0..effort.at_once)
        .map(|number| {
            merge(
                json!({"apiVersion": "v1", "kind": "Pod"}),
                &annotated(&format!("at-once-{number}"), vault),
            )
        })
        .collect();
    let begun = SystemTime::now();
    create_at_once(&path, &pods);
    let created = begun.elapsed()?;
    let any = |phase: &str| {
        let list = cluster().get(&format!("{path}?fieldSelector=status.phase%3D{phase}&limit=1"));
        list["items"] != json!([])
    };
    wait(4 * LIMIT, || {
        std::thread::sleep(Duration::from_millis(500));
        (!any("Pending") && !any("Running")).then_some(())
    })
    .context("not all pods end")?;
    let mut starts = Vec::new();
    for pod in &pods {
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        let log = namespace.pod(name).log("main");
        let mut lines = log.lines();
        starts.push(since(begun, lines.next().unwrap_or_default())? / 1000.0);
        ensure!(lines.next() == Some(SECRET), "{name} has no secret: {log}");
    }
    let mut text = String::new();
    let mut table = Table::new(&["pods created at once", &pods.len().to_string(), "aim", ""]);
    let got = starts.len() as f64;
    table.row(
        &[
            &["got their secret".to_owned(), format!("{got}")][..],
            &aim_at_least(got, pods.len() as f64),
        ]
        .concat(),
    );
    if let Some(audit) = audit()? {
        // Without those of the pods before.
        let logins = (served(&audit, &vault.auth).len() - effort.rounds - 1) as f64;
        table.row(
            &[
                &["logins, a pod".to_owned(), format!("{:.2}", logins / got)][..],
                &aim(logins / got, 1.0, ""),
            ]
            .concat(),
        );
    }
    for (what, seconds) in [
        ("all are created after, s", created.as_secs_f64()),
        (
            "half of the main containers have started after, s",
            median(starts.iter().copied()),
        ),
        ("the last one, s", quantile(starts.iter().copied(), 1.0)),
    ] {
        table.row(&[&[what.to_owned(), format!("{seconds:.1}")][..], &no_aim()].concat());
    }
    text += table.text().trim_start();
    text += &Admissions::now()?.since(&before);
    Ok(text)
}

/// The server's audit log, where we may read it.
fn audit() -> anyhow::Result<Option<String>> {
    let path = std::env::var_os("PODKEY_E2E_OPENBAO_AUDIT_LOG").filter(|path| !path.is_empty());
    path.map(|path| std::fs::read_to_string(&path).with_context(|| path.display().to_string()))
        .transpose()
}

/// For each login at an auth mount, in their order: how long the server took for it and for the other requests on the
/// same connection, in milliseconds, from its audit log's line about the request to the one about the answer.
fn served(audit: &str, mount: &str) -> Vec<f64> {
    let login = json!(format!("auth/{mount}/login"));
    let mut begun: HashMap<String, SystemTime> = HashMap::new();
    // By connection: the number of its login, if it had such a login, and the time.
    let mut connections: HashMap<String, (Option<usize>, f64)> = HashMap::new();
    let mut logins = 0;
    for line in audit.lines() {
        let Ok(line) = serde_json::from_str::<Value>(line) else {
            continue;
        };
        let request = &line["request"];
        let Some(time) = line["time"]
            .as_str()
            .and_then(|time| humantime::parse_rfc3339_weak(time.trim_end_matches('Z')).ok())
        else {
            continue;
        };
        let id = request["id"].to_string();
        if line["type"] == "request" {
            begun.insert(id, time);
            continue;
        }
        let Some(begun) = begun.remove(&id) else { continue };
        let connection = format!("{} {}", request["remote_address"], request["remote_port"]);
        let entry = connections.entry(connection).or_default();
        if request["path"] == login {
            *entry = (Some(logins), 0.0);
            logins += 1;
        }
        entry.1 += time.duration_since(begun).unwrap_or_default().as_secs_f64() * 1000.0;
    }
    let mut served: Vec<_> = connections
        .into_values()
        .filter_map(|(login, took)| Some((login?, took)))
        .collect();
    served.sort_by_key(|(login, _)| *login);
    served.into_iter().map(|(_, took)| took).collect()
}

/// The API server's own histogram of how long it waited for the webhook.
struct Admissions {
    /// Answers within so many seconds, as the buckets have them.
    within: Vec<(String, f64)>,
    count: f64,
    seconds: f64,
}

impl Admissions {
    fn now() -> anyhow::Result<Self> {
        let metrics = cluster().insist("GET", "/metrics", &Value::Null).text;
        let mut found = Self {
            within: Vec::new(),
            count: 0.0,
            seconds: 0.0,
        };
        for line in metrics.lines() {
            let Some(rest) = line.strip_prefix("apiserver_admission_webhook_admission_duration_seconds_") else {
                continue;
            };
            if !rest.contains("name=\"pods.podkey.dev\"") || !rest.contains("rejected=\"false\"") {
                continue;
            }
            let value: f64 = rest.rsplit(' ').next().unwrap_or_default().parse()?;
            if rest.starts_with("count") {
                found.count += value;
            } else if rest.starts_with("sum") {
                found.seconds += value;
            } else if let Some((_, rest)) = rest.split_once("le=\"") {
                let bound = rest.split('"').next().unwrap_or_default();
                match found.within.iter_mut().find(|(other, _)| other == bound) {
                    Some((_, count)) => *count += value,
                    None => found.within.push((bound.to_owned(), value)),
                }
            }
        }
        Ok(found)
    }

    fn since(&self, before: &Self) -> String {
        let count = self.count - before.count;
        let mut table = Table::new(&["admission, as the API server measures it", ""]);
        table.row(&["reviews, dry runs included".to_owned(), format!("{count}")]);
        let mean = (self.seconds - before.seconds) / count * 1000.0;
        table.row(&["mean, ms".to_owned(), format!("{mean:.2}")]);
        for (bound, value) in &self.within {
            let earlier = before
                .within
                .iter()
                .find(|(other, _)| other == bound)
                .map_or(0.0, |(_, value)| *value);
            let share = (value - earlier) / count * 100.0;
            if bound.parse::<f64>().is_ok_and(|seconds| seconds <= 0.1) {
                table.row(&[format!("within {bound} s"), format!("{share:.1} %")]);
            }
        }
        table.text()
    }
}

fn p50(values: &[f64]) -> f64 {
    median(values.iter().copied())
}

fn p99(values: &[f64]) -> f64 {
    quantile(values.iter().copied(), 0.99)
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn ms(value: f64) -> String {
    format!("{value:.0}")
}

fn difference(value: f64, base: f64) -> String {
    format!("{:+.0}", value - base)
}
