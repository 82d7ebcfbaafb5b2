//! Asks the API server for what the table shows. Lists come in pages, logs a few at a time, so that a large cluster needs little memory.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Event, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, ListParams, LogParams};
use kube::core::Status;
use kube::{Api, Client};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::task::JoinSet;

use super::rows::{
    AgentLog, MAX_LOG_BYTES, MAX_LOG_LINES, Refusal, Row, RunnerObject, job, log_of, refusal, refused_runner, row,
};
use crate::inject::vocabulary::SIDECAR;

/// Objects in one answer of the API server. A pod has up to about 100 KiB.
const PAGE: u32 = 250;
/// How many requests run at the same time.
const AT_ONCE: usize = 8;
/// How many refused controllers are asked for and shown.
const MAX_REFUSED: usize = 100;
/// How long one log may take. The API server asks the kubelet, which may be away.
const LOG_TIME: Duration = Duration::from_secs(10);

/// Which pods.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    /// None: all namespaces.
    pub(super) namespace: Option<String>,
    /// Empty: all pods that ask for secrets.
    pub(super) names: Vec<String>,
    pub(super) selector: Option<String>,
}

/// What there is now.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) rows: Vec<Row>,
    /// What could not be looked at, in sentences.
    pub(super) notes: BTreeSet<String>,
    /// Named pods that do not exist.
    pub(super) missing: Vec<String>,
}

/// Looks once.
pub(super) async fn look(client: &Client, wanted: &Wanted) -> Result<Seen, kube::Error> {
    let mut seen = Seen::default();
    let runners = runners(client, wanted).await?;
    let known = runners.as_deref().unwrap_or_default();
    let mut shown = Vec::new();
    if wanted.names.is_empty() {
        let api: Api<Pod> = api(client, wanted.namespace.as_deref());
        let mut pages = Pages::of(wanted.selector.clone(), None);
        while let Some(pods) = pages.next(&api).await? {
            if pages.is_restarted {
                shown.clear();
            }
            shown.extend(show(client, pods, false, known, &mut seen).await);
        }
    } else {
        let pods = named(client, wanted, &mut seen).await?;
        shown.extend(show(client, pods, true, known, &mut seen).await);
    }
    let without_right = shown.iter().any(|row| row.job.is_some()) && runners.is_none();
    if without_right {
        let note = "the jobs of runners are not shown: you may not list ephemeralrunners.actions.github.com";
        seen.notes.insert(note.to_owned());
    }
    let pods: BTreeSet<_> = shown.iter().map(Row::key).collect();
    seen.rows.extend(shown);
    if wanted.names.is_empty() && wanted.selector.is_none() {
        let refused = known.iter().filter_map(refused_runner).take(MAX_REFUSED);
        seen.rows.extend(refused.filter(|row| {
            let pod = (row.namespace.clone(), "Pod".to_owned(), row.name.clone());
            !pods.contains(&pod)
        }));
        refused_controllers(client, wanted, &mut seen).await?;
    }
    seen.rows.sort_by_key(Row::key);
    Ok(seen)
}

/// The rows of these pods.
async fn show(client: &Client, pods: Vec<Pod>, are_named: bool, runners: &[RunnerObject], seen: &mut Seen) -> Vec<Row> {
    let logs = logs(client, &pods, seen).await;
    let rows = pods.iter().filter_map(|pod| {
        let log = pod.metadata.uid.as_ref().and_then(|uid| logs.get(uid));
        let mut row = row(pod, are_named, log)?;
        row.job = job(pod, runners);
        Some(row)
    });
    rows.collect()
}

/// The logs of the sidecars and inits that run, by the UID of their pods.
async fn logs(client: &Client, pods: &[Pod], seen: &mut Seen) -> BTreeMap<String, AgentLog> {
    let mut logs = BTreeMap::new();
    let mut tasks: JoinSet<(String, Result<String, String>)> = JoinSet::new();
    let mut take = |(uid, text): (String, Result<String, String>)| match text {
        Ok(text) => {
            logs.insert(uid, AgentLog::parse(&text, Timestamp::now()));
        }
        Err(note) => {
            seen.notes.insert(note);
        }
    };
    for pod in pods {
        let (Some(container), Some(uid), Some(name)) =
            (log_of(pod), pod.metadata.uid.clone(), pod.metadata.name.clone())
        else {
            continue;
        };
        let api: Api<Pod> = api(client, pod.metadata.namespace.as_deref());
        if tasks.len() >= AT_ONCE
            && let Some(Ok(done)) = tasks.join_next().await
        {
            take(done);
        }
        tasks.spawn(async move { (uid, log(&api, &name, container).await) });
    }
    while let Some(done) = tasks.join_next().await {
        if let Ok(done) = done {
            take(done);
        }
    }
    logs
}

/// The last lines of a container's log; or the note, why there are none.
async fn log(api: &Api<Pod>, name: &str, container: &str) -> Result<String, String> {
    let params = LogParams {
        container: Some(container.to_owned()),
        tail_lines: Some(MAX_LOG_LINES),
        limit_bytes: Some(MAX_LOG_BYTES),
        ..LogParams::default()
    };
    match tokio::time::timeout(LOG_TIME, api.logs(name, &params)).await {
        Ok(Ok(text)) => Ok(text),
        Ok(Err(kube::Error::Api(status))) if status.code == 403 => {
            let unseen = match container {
                SIDECAR => "whether sidecars are behind",
                _ => "why an init still runs",
            };
            Err(format!("{unseen} is not shown: you may not get pods/log"))
        }
        Ok(Err(_)) | Err(_) if container == SIDECAR => {
            Err("the log of a sidecar cannot be read: its SIDECAR is ?".to_owned())
        }
        // Init has not written a line yet, or has just ended.
        Ok(Err(_)) | Err(_) => Ok(String::new()),
    }
}

/// Whether the API server has answered: an error of another server, or of a proxy, is no `Status` object, and kube makes a `Status` with
/// this reason. Of a path that the API server does not know, its answer is no such object either.
pub(super) fn is_of_api_server(status: &Status) -> bool {
    status.status.is_some() && status.reason != "Failed to parse error data"
}

/// The pods that the user names.
async fn named(client: &Client, wanted: &Wanted, seen: &mut Seen) -> Result<Vec<Pod>, kube::Error> {
    let api: Api<Pod> = api(client, wanted.namespace.as_deref());
    let mut pods = Vec::new();
    for name in &wanted.names {
        match api.get(name).await {
            Ok(pod) => pods.push(pod),
            Err(kube::Error::Api(status)) if status.code == 404 && is_of_api_server(&status) => {
                seen.missing.push(name.clone());
            }
            Err(error) => return Err(error),
        }
    }
    Ok(pods)
}

/// ARC's runners. None: the user may not list them. Without ARC there are none.
async fn runners(client: &Client, wanted: &Wanted) -> Result<Option<Vec<RunnerObject>>, kube::Error> {
    let kind = GroupVersionKind::gvk("actions.github.com", "v1alpha1", "EphemeralRunner");
    let api = dynamic(client, wanted.namespace.as_deref(), &ApiResource::from_gvk(&kind));
    let mut pages = Pages::of(None, None);
    let mut runners = Vec::new();
    loop {
        match pages.next(&api).await {
            Ok(Some(page)) => {
                if pages.is_restarted {
                    runners.clear();
                }
                runners.extend(page.into_iter().filter_map(read::<RunnerObject>));
            }
            Ok(None) => return Ok(Some(runners)),
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(Some(Vec::new())),
            Err(kube::Error::Api(status)) if status.code == 403 => return Ok(None),
            Err(error) => return Err(error),
        }
    }
}

/// Adds the controllers whose pods are refused now.
async fn refused_controllers(client: &Client, wanted: &Wanted, seen: &mut Seen) -> Result<(), kube::Error> {
    let api: Api<Event> = api(client, wanted.namespace.as_deref());
    let mut pages = Pages::of(None, Some("reason=FailedCreate".to_owned()));
    let mut last: BTreeMap<_, Refusal> = BTreeMap::new();
    loop {
        match pages.next(&api).await {
            Ok(Some(events)) => {
                let refusals = events.iter().filter_map(refusal);
                last.extend(refusals.map(|refusal| (refusal.row.key(), refusal)));
            }
            Ok(None) => break,
            Err(kube::Error::Api(status)) if status.code == 403 => {
                let note = "controllers whose pods podkey refuses are not shown: you may not list events";
                seen.notes.insert(note.to_owned());
                return Ok(());
            }
            Err(error) => return Err(error),
        }
    }
    if last.len() > MAX_REFUSED {
        let note =
            format!("there are more than {MAX_REFUSED} controllers whose pods podkey refuses: not all are shown");
        seen.notes.insert(note);
    }
    for refusal in last.into_values().take(MAX_REFUSED) {
        if still_refused(client, &refusal).await? {
            seen.rows.push(refusal.row);
        }
    }
    Ok(())
}

/// Whether the controller still lacks pods. A controller that may not be read counts as such.
async fn still_refused(client: &Client, refusal: &Refusal) -> Result<bool, kube::Error> {
    let (group, version) = refusal
        .api_version
        .split_once('/')
        .unwrap_or(("", &refusal.api_version));
    let kind = GroupVersionKind::gvk(group, version, &refusal.row.kind);
    let api = dynamic(client, Some(&refusal.row.namespace), &ApiResource::from_gvk(&kind));
    match api.get_opt(&refusal.row.name).await {
        Ok(Some(object)) => Ok(read::<Value>(object).is_some_and(|object| refusal.still_holds(&object))),
        Ok(None) => Ok(false),
        Err(kube::Error::Api(_)) => Ok(true),
        Err(error) => Err(error),
    }
}

fn read<T: DeserializeOwned>(object: DynamicObject) -> Option<T> {
    serde_json::from_value(serde_json::to_value(object).ok()?).ok()
}

fn api<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

fn dynamic(client: &Client, namespace: Option<&str>, resource: &ApiResource) -> Api<DynamicObject> {
    match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, resource),
        None => Api::all_with(client.clone(), resource),
    }
}

/// A list in pages.
struct Pages {
    /// None: the last page was read.
    params: Option<ListParams>,
    /// Whether this page is the first of a new list: the old list was too old for its next page (410 Gone).
    is_restarted: bool,
    restarts: u32,
}

impl Pages {
    fn of(labels: Option<String>, fields: Option<String>) -> Self {
        Self {
            params: Some(ListParams {
                label_selector: labels,
                field_selector: fields,
                limit: Some(PAGE),
                ..ListParams::default()
            }),
            is_restarted: false,
            restarts: 0,
        }
    }

    /// The next page. None: there is no more.
    async fn next<K>(&mut self, api: &Api<K>) -> Result<Option<Vec<K>>, kube::Error>
    where
        K: Clone + DeserializeOwned + std::fmt::Debug,
    {
        let Some(params) = &mut self.params else {
            return Ok(None);
        };
        self.is_restarted = false;
        let list = match api.list(params).await {
            Err(kube::Error::Api(status)) if status.code == 410 && self.restarts < 3 => {
                params.continue_token = None;
                (self.is_restarted, self.restarts) = (true, self.restarts + 1);
                api.list(params).await?
            }
            list => list?,
        };
        match list.metadata.continue_.filter(|next| !next.is_empty()) {
            Some(next) => params.continue_token = Some(next),
            None => self.params = None,
        }
        Ok(Some(list.items))
    }
}
