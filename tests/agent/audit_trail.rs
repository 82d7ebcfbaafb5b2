//! From a job to its lines in a real audit log and back, by the commands of `docs/operate/audit-trail.md`; and headers that somebody else sends.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use serde_json::{Value, json};

use crate::job_own::may_ask;
use crate::job_pod::{Pod, variable};
use crate::process::{send, wait_for};
use crate::support::agent::Agent;
use crate::support::ca::Ca;
use crate::support::fake_vault::{FakeVault, json as answer, logged_in, secret_body};
use crate::support::github::{GitHub, JOB_MOUNT};
use crate::support::http;
use crate::support::jwt::{Claims, POD_UID};
use crate::support::openbao::{ACCOUNT, JWT_MOUNT, MOUNT, NAMESPACE, OpenBao};

const JOBS: usize = 50;
const AUDIENCE: &str = "https://vault.example.com";

/// What all tests of this file use. After the set-up nobody uses the root token.
struct Parts {
    bao: OpenBao,
    github: GitHub,
    ca: Ca,
    /// How many lines the audit log had after the set-up.
    before: usize,
}

fn parts() -> &'static Parts {
    static PARTS: OnceLock<Parts> = OnceLock::new();
    PARTS.get_or_init(|| {
        let bao = OpenBao::with_scenario_1();
        let ca = Ca::new("GitHub's CA");
        let github = GitHub::start(&ca);
        github.trusted_by(&bao);
        shell(&bao, &documented("bao write sys/config/auditing"), bao.directory());
        for (mount, role, mappings) in [
            (JOB_MOUNT, "ci", &["repository", "run_id"][..]),
            (
                JWT_MOUNT,
                "actions",
                &["/kubernetes.io/namespace", "/kubernetes.io/pod/name"],
            ),
        ] {
            let path = format!("auth/{mount}/role/{role}");
            let (_, known) = bao.call_in("", "GET", &path, &Value::Null);
            let mut role = known["data"].clone();
            role["claim_mappings"] = documented_mappings(mappings);
            bao.write(&path, &role);
        }
        for number in 0..JOBS {
            let data = json!({"data": {"KEY": format!("canary-of-{number}")}});
            bao.write(&format!("arc-runners/data/trail-{number}"), &data);
            bao.write(&format!("ci/data/octo-org/octo-repo/trail-{number}"), &data);
        }
        for path in ["arc-runners/data/other", "ci/data/octo-org/octo-repo/other"] {
            bao.write(path, &json!({"data": {"KEY": "canary-of-others"}}));
        }
        let before = bao.audit().len();
        Parts {
            bao,
            github,
            ca,
            before,
        }
    })
}

fn page() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operate/audit-trail.md")).unwrap()
}

/// The only command of the page that has this text.
fn documented(text: &str) -> String {
    let page = page();
    let is_command = |line: &&str| line.starts_with("jq ") || line.starts_with("bao ");
    let found: Vec<&str> = page.lines().map(str::trim).filter(is_command).collect();
    let found: Vec<&str> = found.into_iter().filter(|line| line.contains(text)).collect();
    assert_eq!(found.len(), 1, "{text}: {found:?}");
    found[0].to_owned()
}

/// The mappings of the page's role that has all these claims.
fn documented_mappings(claims: &[&str]) -> Value {
    let page = page();
    let roles = page.lines().filter(|line| line.starts_with("{ \"claim_mappings\""));
    let roles = roles.map(|line| serde_json::from_str::<Value>(line).unwrap()["claim_mappings"].clone());
    let mut fitting = roles.filter(|mappings| claims.iter().all(|claim| mappings.get(claim).is_some()));
    fitting.next().unwrap()
}

/// Runs a command of the page in this directory, as root of the server.
fn shell(bao: &OpenBao, command: &str, directory: &Path) -> String {
    let path = std::env::var("PATH").unwrap();
    let tools = concat!(env!("CARGO_MANIFEST_DIR"), "/.tools/bin");
    let output = Command::new("/bin/sh")
        .args(["-c", command])
        .env("PATH", format!("{path}:{tools}"))
        .env("BAO_ADDR", format!("http://127.0.0.1:{}", bao.http_port))
        .env("BAO_TOKEN", "root")
        .current_dir(directory)
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// The objects of `audit-trail.jq` in a folder of their own, for one test.
struct Trail(tempfile::TempDir);

impl Trail {
    fn of(bao: &OpenBao) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operate/audit-trail.jq");
        fs::copy(program, directory.path().join("audit-trail.jq")).unwrap();
        let log = fs::read_to_string(bao.directory().join("audit.log")).unwrap();
        // A line may be half written.
        let whole = &log[..log.rfind('\n').unwrap() + 1];
        fs::write(directory.path().join("audit.log"), whole).unwrap();
        let trail = Self(directory);
        trail.run(&documented("-f audit-trail.jq"));
        trail
    }

    /// The lines that a command of the page finds, with this in the place of a word.
    fn find(&self, command: &str, word: &str, value: &str) -> Vec<Value> {
        self.find_with(command, &[(word, value)])
    }

    fn find_with(&self, command: &str, values: &[(&str, &str)]) -> Vec<Value> {
        let mut command = documented(command);
        for (word, value) in values {
            assert!(command.contains(word), "{command}");
            command = command.replace(word, value);
        }
        let found = self.run(&command);
        found.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The lines that the server proves to be of the pod, whose account logged in at the kubernetes method.
    fn proved_of_pod(&self, pod: &str) -> Vec<Value> {
        self.proved(pod, &format!("{}-{NAMESPACE}-{ACCOUNT}", MOUNT.replace('/', "-")))
    }

    fn proved(&self, pod: &str, login: &str) -> Vec<Value> {
        let values = [("NAMESPACE/NAME", pod), ("MOUNT-NAMESPACE-ACCOUNT", login)];
        self.find_with(".display_name == $login", &values)
    }

    fn of_pod(&self, pod: &str) -> Vec<Value> {
        self.find("select(.pod == $pod)'", "NAMESPACE/NAME", pod)
    }

    fn run(&self, command: &str) -> String {
        shell(&parts().bao, command, self.0.path())
    }
}

fn header(line: &Value) -> &str {
    line["request"]["headers"]["x-correlation-id"][0]
        .as_str()
        .unwrap_or_default()
}

fn log_has(bao: &OpenBao, text: &str) -> bool {
    fs::read_to_string(bao.directory().join("audit.log"))
        .unwrap()
        .contains(text)
}

/// A job, and what GitHub, the pod's log and the job's log tell of it.
struct Job {
    number: usize,
    /// Nobody stopped its init or its hook.
    is_whole: bool,
    /// A signal ended its init or its hook before the end.
    is_cut: bool,
    /// The accessors that init and the hook logged.
    accessors: Vec<String>,
}

impl Job {
    fn runner(number: usize) -> String {
        format!("runner-{number}")
    }

    fn run(number: usize) -> String {
        format!("{}", 9_000_000 + number)
    }

    fn pod(&self) -> String {
        format!("{NAMESPACE}/{}", Self::runner(self.number))
    }

    /// Every third job is stopped: in its init or in its hook.
    fn of(number: usize) -> Self {
        let Parts { bao, github, ca, .. } = parts();
        let (runner, run) = (Self::runner(number), Self::run(number));
        let stopped = number % 6;
        let mut pod = Pod::new(Agent::for_bao(bao))
            .with(
                "/job/login",
                json!({"mount": JOB_MOUNT, "role": "ci", "audience": AUDIENCE}),
            )
            .with("/ignoreNotFound", json!(true))
            .file(file(&format!("arc-runners/data/trail-{number}"), "a"))
            .entry(
                "/job/env",
                variable(&format!("ci/data/{{repository}}/trail-{number}"), "KEY", "KEY"),
            );
        // So that there is a middle to be stopped in.
        for more in 0..if [2, 5].contains(&stopped) { 40 } else { 0 } {
            let path = format!("trail-{number}-gone-{more}");
            pod = pod
                .file(file(&format!("arc-runners/data/{path}"), &format!("gone-{more}")))
                .entry(
                    "/job/env",
                    variable(&format!("ci/data/{{repository}}/{path}"), "KEY", &format!("K{more}")),
                );
        }
        let claims = Claims {
            pod: runner.clone(),
            ..Claims::new(NAMESPACE, ACCOUNT, "vault")
        };
        pod.agent.token(&bao.cluster.sign(&claims));
        pod.runner.set("RUNNER_NAME", &runner).set("GITHUB_RUN_ID", &run);
        may_ask(&mut pod, &format!("{}&run_id={run}", github.request_url()), ca);

        let mut job = Self {
            number,
            is_whole: false,
            is_cut: false,
            accessors: Vec::new(),
        };
        let init = pod.agent.spawn();
        if stopped == 2 {
            wait_for(|| log_has(bao, &format!("podkey init pod={NAMESPACE}/{runner} ")));
            send("-TERM", &init);
        }
        let init = pod
            .agent
            .check(init.wait_with_output().unwrap(), std::time::Duration::ZERO);
        job.accessors.extend(accessors(&init.stderr));
        if stopped == 2 {
            assert!([0, 143].contains(&init.code), "{}", init.stderr);
            job.is_cut = init.code == 143;
            return job;
        }
        init.expect(0, &[]);
        pod.mount();
        let (hook, arguments) = pod.hook_call("job-started.sh");
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let child = pod.runner.spawn(&hook, &arguments);
        if stopped == 5 {
            wait_for(|| log_has(bao, &format!("podkey job pod={NAMESPACE}/{runner} ")));
            send("-TERM", &child);
        }
        let step = pod.runner.take(child.wait_with_output().unwrap());
        job.accessors.extend(accessors(&step.raw));
        match stopped {
            5 => job.is_cut = step.code != 0,
            _ => {
                step.succeeds();
                job.is_whole = true;
            }
        }
        job
    }
}

fn file(secret: &str, name: &str) -> Value {
    json!({"secret": secret, "key": "KEY", "format": "raw", "file": name, "mode": "0400"})
}

/// What stands behind the word accessor, in the JSON of init's log and in the text of a hook's.
fn accessors(log: &str) -> Vec<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric();
    let after = log.split("accessor").skip(1);
    let words = after.filter_map(|rest| rest.split(|c| !is_part(c)).find(|word| word.len() > 20));
    words.map(str::to_owned).collect()
}

#[test]
fn fifty_jobs_are_found_in_the_audit_log_and_each_line_leads_back_to_its_job() {
    let Parts { bao, before, .. } = parts();
    let jobs: Vec<Job> = std::thread::scope(|scope| {
        let workers =
            (0..4).map(|worker| scope.spawn(move || (worker..JOBS).step_by(4).map(Job::of).collect::<Vec<_>>()));
        let workers: Vec<_> = workers.collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    assert!(jobs.iter().filter(|job| job.is_whole).count() >= JOBS / 2);
    assert!(jobs.iter().any(|job| job.is_cut), "no signal came in time");
    // The log before the trail: a stopped job may still have a request under way. Then the trail has more lines, and never fewer.
    let log = bao.audit();
    let trail = Trail::of(bao);
    for line in &log[*before..] {
        assert!(header(line).contains(" pod="), "a line without a pod: {line}");
    }
    let owners: BTreeMap<&str, usize> = jobs
        .iter()
        .flat_map(|job| job.accessors.iter().map(|accessor| (accessor.as_str(), job.number)))
        .collect();
    for job in &jobs {
        let lines = trail.of_pod(&job.pod());
        assert!(lines.len() >= 2, "job {} has no lines", job.number);
        exactly_its_own(job, &lines, &log[*before..], &owners);
        if job.is_whole {
            requests_of_a_whole_job(job, &lines);
            from_the_run_and_back(job, &trail);
        }
    }
}

/// Every line of the pod is of the job, by its path or token; and every line with a token or a path of the job is of the pod.
fn exactly_its_own(job: &Job, lines: &[Value], log: &[Value], owners: &BTreeMap<&str, usize>) {
    let paths = [
        format!("arc-runners/data/trail-{}", job.number),
        format!("ci/data/octo-org/octo-repo/trail-{}", job.number),
    ];
    let is_own_path = |path: &str| {
        // The agent asks what is mounted where it finds nothing.
        let path = path.strip_prefix("sys/internal/ui/mounts/").unwrap_or(path);
        let rests = paths.iter().filter_map(|own| path.strip_prefix(own.as_str()));
        rests.into_iter().any(|rest| rest.is_empty() || rest.starts_with('-'))
    };
    for line in lines {
        let path = line["path"].as_str().unwrap();
        assert!(
            path.starts_with("auth/") || is_own_path(path),
            "job {}: {line}",
            job.number
        );
        let owner = line["accessor"].as_str().and_then(|accessor| owners.get(accessor));
        assert!(
            owner.is_none_or(|owner| *owner == job.number),
            "job {}: {line}",
            job.number
        );
        assert_eq!(line["uid"], POD_UID);
    }
    let found: BTreeSet<&str> = lines.iter().map(|line| line["id"].as_str().unwrap()).collect();
    for line in log {
        let accessor = line["auth"]["accessor"].as_str().unwrap_or_default();
        let is_own =
            job.accessors.iter().any(|own| own == accessor) || is_own_path(line["request"]["path"].as_str().unwrap());
        let id = line["request"]["id"].as_str().unwrap();
        assert!(!is_own || found.contains(id), "job {} misses {line}", job.number);
    }
}

fn requests_of_a_whole_job(job: &Job, lines: &[Value]) {
    let requests = lines.iter().filter(|line| line["type"] == "request");
    let requests =
        requests.map(|line| format!("{} {} {}", line["by"], line["operation"], line["path"]).replace('"', ""));
    let n = job.number;
    let expected = [
        format!("init update auth/{MOUNT}/login"),
        format!("init read arc-runners/data/trail-{n}"),
        "init update auth/token/revoke-self".to_owned(),
        format!("job update auth/{JOB_MOUNT}/login"),
        format!("job read ci/data/octo-org/octo-repo/trail-{n}"),
        "job update auth/token/revoke-self".to_owned(),
    ];
    assert_eq!(requests.collect::<Vec<_>>(), expected);
    assert_eq!(lines.len(), 2 * expected.len(), "each with its answer");
    for line in lines.iter().filter(|line| line["login"] != json!({})) {
        let is_job = line["by"] == "job";
        let confirmed = if is_job {
            json!(["repository", "run"])
        } else {
            json!(["namespace"])
        };
        assert_eq!(line["confirmed"], confirmed, "{line}");
    }
    let mounts: Vec<&str> = lines.iter().filter_map(|line| line["mount"].as_str()).collect();
    assert_eq!(mounts, [MOUNT, MOUNT, JOB_MOUNT, JOB_MOUNT]);
}

fn from_the_run_and_back(job: &Job, trail: &Trail) {
    let (run, pod) = (Job::run(job.number), job.pod());
    let claimed = trail.find("select(.run == $run)", "RUN", &run);
    assert_eq!(claimed.len(), 6, "{claimed:?}");
    // The request of the login has no token yet.
    let proved = trail.find(".login.run_id", "RUN", &run);
    assert_eq!(proved.len(), 5, "{proved:?}");
    let of_init = trail.proved_of_pod(&pod);
    assert_eq!(of_init.len(), 5, "{of_init:?}");
    assert!(of_init.iter().all(|line| line["by"] == "init"), "{of_init:?}");
    for line in claimed.iter().chain(&proved) {
        assert_eq!((&line["pod"], &line["run"]), (&json!(pod), &json!(run)));
    }
    let id = proved[1]["id"].as_str().unwrap();
    for line in trail.find("select(.id == $id)", "REQUEST_ID", id) {
        assert_eq!((&line["login"]["run_id"], &line["pod"]), (&json!(run), &json!(pod)));
    }
    assert_eq!(trail.find("select(.request.id == $id)", "REQUEST_ID", id).len(), 2);
    for accessor in [&job.accessors[0], job.accessors.last().unwrap()] {
        let found = trail.find("select(.auth.accessor == $accessor)", "ACCESSOR", accessor);
        assert_eq!(
            found.len(),
            5,
            "the answer to the login, a read, the revocation, and their answers: {found:?}"
        );
        assert!(found.iter().all(|line| header(line).contains(&format!(" pod={pod} "))));
    }
}

/// Sends a request with a forged header. An empty token is none.
fn forge(header: &str, method: &str, path: &str, token: &str, body: &Value) -> Value {
    let headers = [("X-Correlation-ID", header), ("X-Vault-Token", token)];
    let headers = &headers[..if token.is_empty() { 1 } else { 2 }];
    let (port, path) = (parts().bao.http_port, format!("/v1/{path}"));
    let (status, text) = http::call(port, method, &path, headers, &body.to_string()).unwrap();
    assert_eq!(status, 200, "{text}");
    serde_json::from_str(&text).unwrap()
}

fn assert_each_confirms(lines: &[Value], confirmed: &[&str]) {
    assert!(!lines.is_empty());
    for line in lines {
        assert_eq!(line["confirmed"], json!(confirmed), "{line}");
    }
}

/// A step of a job logs in with the job's own token, and names another pod, another run and podkey-init. Regression: with its own true
/// run and another pod, its lines were listed as proved lines of that pod.
#[test]
fn a_forged_header_is_recognised_by_the_login_of_its_line() {
    let Parts { bao, github, .. } = parts();
    let token = github.token(AUDIENCE, &json!({"repository": "octo-org/octo-repo", "run_id": "666"}));
    let mut ids = Vec::new();
    for header in [
        format!("podkey init pod={NAMESPACE}/victim uid={POD_UID}"),
        format!("podkey job pod={NAMESPACE}/victim uid={POD_UID} claimed-run=1"),
        format!("podkey job pod={NAMESPACE}/victim uid={POD_UID} claimed-repository=octo-org/other claimed-run=666"),
    ] {
        let login = json!({"role": "ci", "jwt": token});
        let login = forge(&header, "POST", &format!("auth/{JOB_MOUNT}/login"), "", &login);
        let client_token = login["auth"]["client_token"].as_str().unwrap();
        let read = forge(
            &header,
            "GET",
            "ci/data/octo-org/octo-repo/other",
            client_token,
            &json!({}),
        );
        ids.push(read["request_id"].as_str().unwrap().to_owned());
    }
    let trail = Trail::of(bao);
    let victim = format!("{NAMESPACE}/victim");
    assert_eq!(trail.of_pod(&victim).len(), 12);
    for (id, confirmed) in ids.iter().zip([&[][..], &[], &["run"]]) {
        let lines = trail.find("select(.id == $id)", "REQUEST_ID", id);
        assert_each_confirms(&lines, confirmed);
        for line in lines {
            assert_eq!(line["login"]["run_id"], "666", "{line}");
            assert_eq!(line["login"]["repository"], "octo-org/octo-repo", "{line}");
        }
    }
    let by_job = trail.proved(&victim, &format!("{JOB_MOUNT}-octo-org/octo-repo"));
    assert!(by_job.is_empty(), "{by_job:?}");
    assert!(trail.proved_of_pod(&victim).is_empty());
    let really = trail.find(".login.run_id", "RUN", "666");
    assert_eq!(
        really.len(),
        9,
        "an answer to a login, a read and its answer, three times: {really:?}"
    );
    let suspicious = trail.run(&documented(".confirmed == []"));
    assert!(suspicious.contains(&ids[0]), "{suspicious}");
    // The answer to a login that was cancelled is an error.
    let mut answered = suspicious.lines().filter(|line| !line.contains("\"error\":"));
    assert!(
        answered.all(|line| line.contains("/victim")),
        "honest lines: {suspicious}"
    );
}

#[test]
fn a_token_whose_creator_chose_its_metadata_confirms_nothing() {
    let header = format!("podkey init pod={NAMESPACE}/victim-of-a-child uid={POD_UID}");
    let chosen = json!({
        "service_account_namespace": NAMESPACE, "pod": "victim-of-a-child", "run_id": "777",
    });
    let child = json!({"policies": ["arc-kubeconfig"], "meta": chosen, "display_name": "arc-runners"});
    let child = forge(&header, "POST", "auth/token/create", "root", &child);
    let client_token = child["auth"]["client_token"].as_str().unwrap();
    let read = forge(&header, "GET", "arc-runners/data/other", client_token, &json!({}));
    let trail = Trail::of(&parts().bao);
    let lines = trail.find("select(.id == $id)", "REQUEST_ID", read["request_id"].as_str().unwrap());
    assert_each_confirms(&lines, &[]);
    assert_eq!(lines[0]["display_name"], "token-arc-runners");
    assert!(trail.find(".login.run_id", "RUN", "777").is_empty());
}

#[test]
fn a_role_that_copies_the_pod_of_the_token_confirms_the_pod() {
    let Parts { bao, .. } = parts();
    let mut agent = Agent::for_bao(bao)
        .with(
            "/login",
            json!({"method": "jwt", "mount": JWT_MOUNT, "role": "actions"}),
        )
        .file(file("arc-runners/data/other", "a"));
    let claims = Claims {
        pod: "proved".into(),
        ..Claims::new(NAMESPACE, ACCOUNT, "vault")
    };
    agent.token(&bao.cluster.sign(&claims));
    agent.run().expect(0, &[]);
    let trail = Trail::of(bao);
    let pod = format!("{NAMESPACE}/proved");
    let lines = trail.of_pod(&pod);
    assert_eq!(lines.len(), 6);
    assert_each_confirms(&lines[..1], &[]);
    assert_each_confirms(&lines[1..], &["pod"]);
    // The name of a pod proves something together with its mount alone: another cluster may have a pod of that name.
    assert!(trail.proved_of_pod(&pod).is_empty());
    let login = format!(
        "{}-system:serviceaccount:{NAMESPACE}:{ACCOUNT}",
        JWT_MOUNT.replace('/', "-")
    );
    assert_eq!(trail.proved(&pod, &login).len(), 5);
}

#[test]
fn reads_without_a_client_token_name_the_pod_and_are_found_by_the_logged_id() {
    let Parts { bao, .. } = parts();
    let mut agent = Agent::for_bao(bao)
        .with("/login/inline", json!(true))
        .file(file("arc-runners/data/other", "a"));
    let claims = Claims {
        pod: "tokenless".into(),
        ..Claims::new(NAMESPACE, ACCOUNT, "vault")
    };
    agent.token(&bao.cluster.sign(&claims));
    let run = agent.run();
    run.expect(0, &[]);
    let trail = Trail::of(bao);
    let lines = trail.of_pod(&format!("{NAMESPACE}/tokenless"));
    assert_eq!(lines.len(), 4);
    assert_each_confirms(&lines[..1], &[]);
    assert_each_confirms(&lines[1..], &["namespace"]);
    let logged = run.stderr.split("\"request_id\":\"").nth(1).unwrap();
    let id = logged.split('"').next().unwrap();
    let read = trail.find("select(.request.id == $id)", "REQUEST_ID", id);
    assert_eq!(read.len(), 2, "{read:?}");
    assert!(read.iter().all(|line| header(line).contains("/tokenless ")), "{read:?}");
}

#[test]
fn a_sidecar_names_its_pod_with_the_token_of_init_and_after_a_login_of_its_own() {
    let Parts { bao, .. } = parts();
    let mut agent = Agent::for_bao(bao)
        .refresh("5s")
        .file(file("arc-runners/data/other", "a"));
    let claims = Claims {
        pod: "fresh".into(),
        ..Claims::new(NAMESPACE, ACCOUNT, "vault")
    };
    agent.token(&bao.cluster.sign(&claims));
    agent.run().expect(0, &[]);
    let by_sidecar = |path: &str| {
        let is_meant = |line: &&Value| line["request"]["path"] == path && line["type"] == "response";
        let text = format!("podkey sidecar pod={NAMESPACE}/fresh uid={POD_UID}");
        bao.audit().iter().filter(is_meant).any(|line| header(line) == text)
    };
    let sidecar = agent.sidecar();
    agent.until("a read with the token of init", |_| {
        by_sidecar("arc-runners/data/other")
    });
    assert!(!by_sidecar(&format!("auth/{MOUNT}/login")));
    // Killed: the next sidecar finds no handover.
    drop(sidecar);
    let sidecar = agent.sidecar();
    agent.until("a login", |_| by_sidecar(&format!("auth/{MOUNT}/login")));
    sidecar.stop();
    assert!(by_sidecar("auth/token/revoke-self"));
}

#[test]
fn a_token_with_an_odd_pod_adds_nothing_to_a_request() {
    use base64::Engine as _;
    for (pod, expected) in [
        ("runner\r\nX-Vault-Token: s.forged", "podkey init"),
        ("runner uid=1 pod=other/pod", "podkey init"),
        ("runner-1", "podkey init pod=arc/runner-1 uid=1"),
    ] {
        let fake = FakeVault::plain(logged_in(|_, _| answer(200, &secret_body(r#"{"a":"1"}"#))));
        let mut agent = Agent::for_fake(&fake);
        let claims = json!({"kubernetes.io": {"namespace": "arc", "pod": {"name": pod, "uid": "1"}}}).to_string();
        let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(claims);
        agent.token(&format!("e30.{claims}.canary-signature"));
        agent.run().expect(0, &[]);
        let requests = fake.requests();
        assert_eq!(requests.len(), 3);
        for request in requests {
            assert_eq!(request.header("x-correlation-id"), Some(expected), "{}", request.target);
            assert_ne!(request.header("x-vault-token"), Some("s.forged"));
        }
    }
}

/// The hooks of a pod without podkey-init know no pod: the runner's name is the pod's, as the job claims.
#[test]
fn a_hook_without_podkey_init_names_its_runner() {
    let fake = FakeVault::plain(logged_in(|_, _| answer(200, &secret_body(r#"{"k":"canary-of-k"}"#))));
    let mut pod = crate::job_own::alone(Agent::for_fake(&fake));
    pod.started().succeeds();
    for request in fake.requests() {
        assert_eq!(
            request.header("x-correlation-id"),
            Some(
                "podkey job claimed-runner=arc-runner-set-7xk2p-runner-lq8hd claimed-repository=octo-org/octo-repo \
                 claimed-run=1234567 claimed-attempt=2 claimed-job=build"
            )
        );
    }
    assert!(!fake.requests().is_empty());
}
