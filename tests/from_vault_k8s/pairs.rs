//! Each golden pod of vault-k8s that podkey injects, twice: with vault-k8s' annotations, and with the annotations that
//! `podkey migrate vault-k8s` prints in their place, put there as the notes tell a person to.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use podkey::cli::inject::offline;
use podkey::inject::Config;
use serde_json::{Value, json};

/// What the keys of vault-k8s and of openbao-k8s begin with.
const THEIR_PREFIXES: [&str; 2] = ["vault.hashicorp.com/", "openbao.org/"];
/// Cases of `migrate` that go with the golden pods: one pod each, whose texts are harder to carry over.
const MORE: [&str; 2] = ["awkward-templates", "files-that-are-written-once"];
/// The volume of the secrets.
const VOLUME: &str = "podkey-secrets";

pub(crate) fn folders(parent: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(parent).unwrap().map(|entry| entry.unwrap().path());
    let mut folders: Vec<_> = entries.filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

/// What is printed for one pod: the annotations, and whether everything is carried over.
pub(crate) fn migrated(pod: &Value) -> (Value, bool, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_podkey"))
        .args(["migrate", "vault-k8s", "-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    serde_json::to_writer(child.stdin.take().unwrap(), pod).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let annotations = serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    (annotations, output.status.success(), text)
}

/// The plan in an injected pod, as JSON.
pub(crate) fn plan(pod: &Value) -> Value {
    let containers = pod["spec"]["initContainers"].as_array().unwrap().iter();
    let mut variables = containers.flat_map(|container| container["env"].as_array().into_iter().flatten());
    let plan = variables
        .find(|variable| variable["name"] == "PODKEY_PLAN")
        .expect("a plan");
    serde_json::from_str(plan["value"].as_str().unwrap()).unwrap()
}

/// A pod that podkey injected.
pub(crate) struct Injected {
    pub(crate) pod: Value,
    pub(crate) plan: Value,
}

/// A golden pod, with both kinds of annotations.
pub(crate) struct Pair {
    /// The folder.
    pub(crate) case: String,
    pub(crate) theirs: Injected,
    /// The manifest with podkey's annotations, before it is injected.
    ours: Value,
    /// What `migrate` prints.
    pub(crate) printed: String,
    config: Config,
}

/// Every golden pod whose annotations of vault-k8s podkey takes, and [`MORE`]. Panics where `migrate` does not carry everything over.
pub(crate) fn pairs() -> Vec<Pair> {
    let golden = folders("tests/inject").into_iter();
    let pairs: Vec<Pair> = golden
        .filter(|folder| folder.file_name().unwrap().to_string_lossy().starts_with("vault-k8s-"))
        .filter(|folder| folder.join("pod.yaml").exists() && folder.join("patched.yaml").exists())
        .chain(MORE.map(|name| Path::new("tests/from_vault_k8s").join(name)))
        .filter_map(|folder| pair(&folder).unwrap_or_else(|why| panic!("{}: {why}", folder.display())))
        .collect();
    assert!(pairs.len() >= 108, "{} cases", pairs.len());
    pairs
}

/// None: the pod has podkey's annotations, or gets the client token.
fn pair(folder: &Path) -> Result<Option<Pair>, String> {
    let own = std::fs::read_to_string(folder.join("config.yaml"));
    let config = own
        .or_else(|_| std::fs::read_to_string("tests/inject/vault-k8s.yaml"))
        .unwrap();
    let config = Config::parse(&config, |_| Err("no case may name a file".to_owned())).unwrap();
    let manifest = std::fs::read_to_string(folder.join("pod.yaml"))
        .or_else(|_| std::fs::read_to_string(folder.join("manifest.yaml")))
        .unwrap();
    let theirs = injected(&manifest, &config)?;
    let mut pod: Value = serde_saphyr::from_str(&manifest).map_err(|error| error.to_string())?;
    let (annotations, is_complete, printed) = migrated(&pod);
    if printed.ends_with("no pod template with annotations of vault-k8s\n") {
        return Ok(None);
    }
    // podkey's own annotations give no container the client token, and `migrate` says so.
    let lost = "agent-inject-token: podkey's own annotations give no container the client token";
    if theirs.plan.get("tokenFile").is_some() {
        return match !is_complete && printed.contains(lost) {
            true => Ok(None),
            false => Err(format!("the client token is not named as lost:\n{printed}")),
        };
    }
    if !is_complete {
        return Err(format!("something is not carried over:\n{printed}"));
    }
    put(&mut pod, &annotations, &printed, &theirs.plan)?;
    Ok(Some(Pair {
        case: folder.display().to_string(),
        theirs,
        ours: pod,
        printed,
        config,
    }))
}

fn injected(manifest: &str, config: &Config) -> Result<Injected, String> {
    let pods = offline::inject(manifest, None, config).map_err(|error| error.to_string())?;
    let pod = pods.into_iter().next().ok_or("no pod")?.pod;
    Ok(Injected { plan: plan(&pod), pod })
}

/// Puts the annotations on the pod as a person does who reads the notes.
fn put(pod: &mut Value, annotations: &Value, printed: &str, theirs: &Value) -> Result<(), String> {
    let template = match pod["kind"].as_str() {
        Some("Pod") => "",
        Some("CronJob") => "/spec/jobTemplate/spec/template",
        _ => "/spec/template",
    };
    if printed.contains("write shareProcessNamespace: true into the pod's spec") {
        pod.pointer_mut(&format!("{template}/spec")).ok_or("no spec")?["shareProcessNamespace"] = json!(true);
    }
    let on_pod = pod
        .pointer_mut(&format!("{template}/metadata/annotations"))
        .and_then(Value::as_object_mut)
        .ok_or("no annotations")?;
    on_pod.retain(|key, _| !THEIR_PREFIXES.iter().any(|prefix| key.starts_with(prefix)));
    on_pod.extend(annotations.as_object().cloned().unwrap_or_default());
    if printed.contains("in podkey.dev/connection") || printed.contains("or podkey.dev/connection must name") {
        // The person knows the names of the connections.
        on_pod.insert("podkey.dev/connection".to_owned(), theirs["connection"]["name"].clone());
    }
    Ok(())
}

impl Pair {
    /// The pod with podkey's annotations, injected. `with_data`: the mounts are of KV version 2, so that the person has written
    /// `data/` behind each mount, as the note says.
    pub(crate) fn ours(&self, with_data: bool) -> Result<Injected, String> {
        let manifest = match with_data {
            true => self.with_data(&self.ours),
            false => self.ours.clone(),
        };
        injected(&manifest.to_string(), &self.config).map_err(|why| format!("{why}\n{}", self.printed))
    }

    /// Puts `data/` behind the mount in each path that a note calls unclear.
    pub(crate) fn with_data(&self, value: &Value) -> Value {
        let text = self.unclear_paths().iter().fold(value.to_string(), |text, path| {
            text.replace(path, &path.replacen('/', "/data/", 1))
        });
        serde_json::from_str(&text).unwrap()
    }

    /// The paths without `data/` that a note names.
    pub(crate) fn unclear_paths(&self) -> Vec<&str> {
        let (_, rest) = self.printed.split_once("paths without data/: ").unwrap_or_default();
        let (paths, _) = rest.split_once(". If the mount").unwrap_or_default();
        paths.split(", ").filter(|path| !path.is_empty()).collect()
    }

    /// Where a file lies after the migration that their containers see at `path`: where the output says so, or where it was.
    pub(crate) fn moved(&self, path: &str) -> String {
        let begin = format!("#   {path} becomes ");
        let line = self.printed.lines().find_map(|line| line.strip_prefix(&begin));
        line.unwrap_or(path).to_owned()
    }
}

impl Injected {
    /// The place of each file below the volume, by path and by the containers that see the file there, from the mounts of the pod.
    pub(crate) fn readers(&self) -> BTreeMap<(String, String), PathBuf> {
        let paths: Vec<String> = self.files().iter().map(path).collect();
        let lists = [&self.pod["spec"]["initContainers"], &self.pod["spec"]["containers"]];
        let containers = lists.into_iter().flat_map(|list| list.as_array().into_iter().flatten());
        let mut readers = BTreeMap::new();
        for container in containers.filter(|container| container["command"][0] != "/podkey-agent") {
            for path in &paths {
                if let Some(place) = place(container, path) {
                    readers.insert((path.clone(), container["name"].as_str().unwrap().to_owned()), place);
                }
            }
        }
        readers
    }

    pub(crate) fn files(&self) -> &[Value] {
        self.plan["files"].as_array().unwrap()
    }

    /// The paths that the templates read or write, each once.
    pub(crate) fn secrets(&self) -> BTreeSet<String> {
        let templates = self.files().iter().filter_map(|file| file["template"].as_str());
        let calls = templates.flat_map(|template| template.split("secret \"").skip(1));
        calls
            .map(|call| call.split(['"', '?']).next().unwrap().to_owned())
            .collect()
    }
}

/// Where the containers see a file of a plan.
pub(crate) fn path(file: &Value) -> String {
    let written = file["file"].as_str().unwrap();
    match (written.split_once(':'), written.starts_with('/')) {
        (Some((directory, name)), _) => format!("{}/{name}", directory.trim_end_matches('/')),
        (None, true) => written.to_owned(),
        (None, false) => format!("/podkey/secrets/{written}"),
    }
}

/// The place below the volume that a container sees at `path`. None: no mount of the volume has the path.
fn place(container: &Value, path: &str) -> Option<PathBuf> {
    let mounts = container["volumeMounts"].as_array().into_iter().flatten();
    let mut places = mounts.filter(|mount| mount["name"] == VOLUME).filter_map(|mount| {
        let below = Path::new(path).strip_prefix(mount["mountPath"].as_str()?).ok()?;
        let place = Path::new(mount["subPath"].as_str()?);
        Some(match below.as_os_str().is_empty() {
            true => place.to_owned(),
            false => place.join(below),
        })
    });
    let place = places.next();
    assert_eq!(places.next(), None, "two mounts have {path}");
    place
}
