//! What is left when all pods are gone: tokens, leases and database users at the server, and secrets on the node's disk.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::Run;
use crate::harness::api::cluster;
use crate::harness::settings::settings;
use crate::harness::{LIMIT, wait};
use crate::secrets::{Secrets, TOKEN_TTL};

#[derive(Debug)]
#[allow(dead_code, reason = "shown where a token is left")]
pub struct Token {
    /// Seconds until it ends by itself; 0: never.
    pub ttl: i64,
    /// The pod whose it was.
    pub pod: String,
}

#[derive(Debug)]
pub struct Left {
    /// A few seconds after the last pod.
    pub tokens: Vec<Token>,
    pub leases: usize,
    pub users: usize,
    /// After the TTL of a token that nobody renews.
    pub tokens_then: Vec<Token>,
    pub leases_then: usize,
    pub users_then: usize,
    /// Files on the node's disk that have a secret in them, or why they could not be searched.
    pub files: Vec<String>,
    /// What was never there during the run: it would not be found at the end either.
    pub never_seen: Vec<&'static str>,
}

/// Counts during the run until there was one of each. Gives what there never was.
pub fn never_seen(run: &Run, secrets: &Secrets<'_>) -> Vec<&'static str> {
    let mut missing = vec!["tokens", "leases", "database users"];
    while !run.is_over() && !missing.is_empty() {
        missing.retain(|what| {
            // The server may be away.
            let count = match *what {
                "tokens" => secrets.vault.try_leases(&login(secrets)),
                "leases" => leases(secrets),
                _ => Ok(users(secrets)),
            };
            count.unwrap_or_default() == 0
        });
        std::thread::sleep(Duration::from_secs(2));
    }
    missing
}

impl Left {
    /// Counts twice: when the pods are gone, and when what nobody renews has ended.
    pub fn find(secrets: &Secrets<'_>, never_seen: Vec<&'static str>) -> Self {
        let path = secrets.namespace.path("pods");
        let gone = || {
            let listed = cluster().try_call("GET", &path, &Value::Null).ok()?;
            let pods = listed.json()["items"].as_array()?.len();
            (pods == 0).then_some(())
        };
        wait(LIMIT, gone).expect("all pods are gone");
        std::thread::sleep(Duration::from_secs(5));
        let counted = || {
            let tokens = tokens(secrets).expect("the tokens");
            (tokens, leases(secrets).expect("the leases"), users(secrets))
        };
        let (tokens, leases, users) = counted();
        // A search that fails is a fault of the run, whose report is to be written all the same.
        let files = on_disk(&cluster_folder(), &secrets.canary).unwrap_or_else(|why| vec![why]);
        std::thread::sleep(TOKEN_TTL + Duration::from_secs(20));
        let (tokens_then, leases_then, users_then) = counted();
        Self {
            tokens,
            leases,
            users,
            tokens_then,
            leases_then,
            users_then,
            files,
            never_seen,
        }
    }
}

/// The path of the pods' logins. Each client token of a pod has a lease below this path.
fn login(secrets: &Secrets<'_>) -> String {
    format!("auth/{}/login", secrets.vault.auth)
}

/// The client tokens of pods. Only when all pods are gone: OpenBao revokes a token that is looked up while its login is under way.
fn tokens(secrets: &Secrets<'_>) -> Result<Vec<Token>, String> {
    let login = login(secrets);
    let mut tokens = Vec::new();
    for accessor in secrets.vault.list("auth/token/accessors")? {
        let path = "/v1/auth/token/lookup-accessor";
        let answer = secrets
            .vault
            .api
            .try_call("POST", path, &json!({"accessor": accessor}))?;
        let token = &answer.json()["data"];
        match answer.status {
            200 if token["path"] == login.as_str() => tokens.push(Token {
                ttl: token["ttl"].as_i64().unwrap_or_default(),
                pod: token["meta"].to_string(),
            }),
            // A token of another login, or a token that has ended since the list was made. (root may look up every living token.)
            200 | 403 | 404 => {}
            400 if answer.text.contains("invalid accessor") => {}
            status => return Err(format!("{path}: {status} {}", answer.text)),
        }
    }
    Ok(tokens)
}

fn leases(secrets: &Secrets<'_>) -> Result<usize, String> {
    let mut count = 0;
    for path in [&secrets.database, &secrets.certificate] {
        count += secrets.vault.try_leases(path)?;
    }
    Ok(count)
}

fn users(secrets: &Secrets<'_>) -> usize {
    let users = secrets
        .postgres
        .admin("select count(*) from pg_roles where rolname like 'v-%'");
    users.parse().unwrap()
}

/// The folder of the test cluster: containers' layers and logs, the kubelet's folders, etcd.
fn cluster_folder() -> PathBuf {
    let kubeconfig = &settings().kubeconfig;
    kubeconfig.ancestors().nth(2).expect("the cluster's folder").to_owned()
}

/// Files with this text, on the file system of the folder: volumes in memory are other file systems. A file with the text is put there
/// first, and must be found. An error says why the search says nothing.
fn on_disk(folder: &Path, text: &str) -> Result<Vec<String>, String> {
    let planted = tempfile::Builder::new().prefix("chaos-").tempfile_in(folder).unwrap();
    fs::write(&planted, format!("planted: {text}\n")).unwrap();
    // A pod's network namespace is mounted on a file, which -xdev does not leave out, and which cannot be read.
    // -D skip: reads no pipe that took a file's name meanwhile.
    let search = "find \"$1\" -xdev -type f ! -fstype nsfs -exec grep -l -D skip -F -e \"$0\" {} +";
    let output = Command::new("sh")
        .args(["-c", search, text])
        .arg(folder)
        .env("LC_ALL", "C")
        .output()
        .unwrap();
    // grep's code is 1 where it finds nothing, and find passes that on. A file may be deleted meanwhile.
    let said = String::from_utf8_lossy(&output.stderr);
    let failed = said.lines().find(|line| !line.ends_with(": No such file or directory"));
    let is_done = matches!(output.status.code(), Some(0 | 1)) && failed.is_none();
    if !is_done {
        let why = failed.unwrap_or_default();
        return Err(format!(
            "{} is not searched: {}: {why}",
            folder.display(),
            output.status
        ));
    }
    let mut found: Vec<String> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(str::to_owned)
        .collect();
    let count = found.len();
    found.retain(|file| Path::new(file) != planted.path());
    match found.len() < count {
        true => Ok(found),
        false => Err(format!("the search does not find {}", planted.path().display())),
    }
}

#[test]
fn the_search_for_secrets_finds_files_and_fails_where_it_cannot_search() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(on_disk(folder.path(), "canary-chaos-x"), Ok(vec![]));
    let below = folder.path().join("a b");
    fs::create_dir(&below).unwrap();
    fs::write(below.join("log"), b"\x00canary-chaos-x\xff").unwrap();
    assert_eq!(
        on_disk(folder.path(), "canary-chaos-x"),
        Ok(vec![below.join("log").display().to_string()])
    );
    // find does not go through a link.
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&below, &link).unwrap();
    let said = on_disk(&link, "canary-chaos-x").unwrap_err();
    assert!(said.starts_with("the search does not find"), "{said}");
}
