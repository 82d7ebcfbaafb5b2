//! Measures `podkey-agent job-started` as the runner runs it, from the start of bash to its end, beside a hook that does
//! nothing and beside bash alone. `benches/run` calls it; `benches/README.md` says how each number is made.

#[path = "../../tests/support/mod.rs"]
mod support;
#[path = "../table.rs"]
mod table;
#[path = "../versions.rs"]
mod versions;
#[path = "../volumes.rs"]
mod volumes;

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use support::ca::Ca;
use support::github::{BEARER, GitHub, JOB_MOUNT};
use support::jwt::Claims;
use support::openbao::{ACCOUNT, JWT_MOUNT, NAMESPACE, OpenBao};
use support::runner::Runner;
use table::{Aim, Row, beside, number, with_aims};
use versions::{Arguments, Version};

/// What the started hook may add to a job, in milliseconds: with what `init` left, and where it asks GitHub and the server.
const AIM_MS: f64 = 15.0;
/// For masking 1,000 secrets of 1 KiB.
const AIM_MASKS_MS: f64 = 100.0;
const AIM_SIZE_MB: f64 = 4.0;

fn main() -> anyhow::Result<()> {
    let Some(arguments) = Arguments::read()? else {
        return Ok(());
    };
    ensure!(arguments.words.is_empty(), "unknown arguments: {:?}", arguments.words);
    let turns = if arguments.is_quick { 3 } else { 30 };
    let text = Bench::new()?.measure(&arguments.versions, turns)?;
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}

/// The server, and the issuer of the job's own tokens.
struct Bench {
    bao: OpenBao,
    github: GitHub,
    ca: Ca,
}

/// A kind of job.
#[derive(Clone, Copy)]
enum Work {
    /// A kubeconfig, and 10 variables that `init` read.
    Ready,
    /// The same, and a variable that the job reads for itself with GitHub's token.
    Own,
    /// 1,000 variables of 1 KiB.
    Many,
}

impl Bench {
    fn new() -> anyhow::Result<Self> {
        let bao = OpenBao::with_scenario_1();
        let ca = Ca::new("GitHub's CA");
        let github = GitHub::start(&ca);
        github.trusted_by(&bao);
        let config: String = (0..60)
            .map(|n| format!("key-{n}: a line of a file that stands for a kubeconfig {n:04}\n"))
            .collect();
        bao.write("arc-runners/data/kubeconfig", &json!({"data": {"config": config}}));
        let fields = |first: usize, count: usize, bytes: usize| -> Value {
            let value =
                |n: usize| format!("{n:06}-{}", "s3cret-of-a-job.".repeat(bytes.div_ceil(16)))[..bytes].to_owned();
            (0..count)
                .map(|n| (format!("K{n}"), json!(value(first + n))))
                .collect::<serde_json::Map<_, _>>()
                .into()
        };
        bao.write("arc-runners/data/ten", &json!({"data": fields(0, 10, 40)}));
        // A server takes no secret as large as all of them.
        for part in 0..4 {
            bao.write(
                &format!("arc-runners/data/many-{part}"),
                &json!({"data": fields(part * 250, 250, 1024)}),
            );
        }
        bao.write(
            "ci/data/octo-org/octo-repo/deploy",
            &json!({"data": {"KEY": "s3cret-of-the-job-itself"}}),
        );
        Ok(Self { bao, github, ca })
    }

    fn plan(&self, work: Work) -> Value {
        let whole = |path: &str, prefix: &str| json!({"secret": path, "select": {"keepCase": {"prefix": prefix}}});
        let mut job =
            json!({"user": fs_user(), "onFailure": "fail-job", "mask": "smart", "export": true, "deadline": "30s"});
        let (mut files, mut env) = (json!([]), json!([whole("arc-runners/data/ten", "")]));
        match work {
            // They would be more than an environment holds: such a job keeps them in files.
            Work::Many => {
                env = (0..4)
                    .map(|part| whole(&format!("arc-runners/data/many-{part}"), &format!("P{part}_")))
                    .collect();
                job["export"] = json!(false);
            }
            Work::Ready | Work::Own => {
                files = json!([{"secret": "arc-runners/data/kubeconfig", "key": "config", "format": "raw", "file": "kubeconfig", "mode": "0400"}]);
            }
        }
        if let Work::Own = work {
            job["login"] = json!({"mount": JOB_MOUNT, "role": "ci", "audience": "https://vault.example.com"});
            job["env"] = json!([{"secret": "ci/data/{repository}/deploy", "select": {"value": {"at": ["KEY"], "name": "DEPLOY_KEY"}}}]);
        }
        json!({
            "version": 1, "budget": "5m", "files": files, "env": env, "job": job,
            "connection": {"name": "default", "address": self.bao.address(), "ca": self.bao.ca.pem()},
            "login": {"method": "jwt", "mount": JWT_MOUNT, "role": "actions"},
        })
    }

    /// A pod after its init container, and its runner.
    fn pod(&self, agent: &Path, work: Work) -> anyhow::Result<(tempfile::TempDir, Runner)> {
        let root = volumes::folder()?;
        fs::create_dir_all(root.path().join("podkey/token"))?;
        let token = self.bao.cluster.sign(&Claims::new(NAMESPACE, ACCOUNT, "vault"));
        fs::write(root.path().join("podkey/token/token"), token)?;
        let init = Command::new(agent)
            .args(["init", "--root"])
            .arg(root.path())
            .env_clear()
            .env("PODKEY_PLAN", self.plan(work).to_string())
            .output()?;
        ensure!(init.status.success(), "{}", String::from_utf8_lossy(&init.stderr));
        fs::rename(
            root.path().join("podkey/volume/files"),
            root.path().join("podkey/secrets"),
        )?;
        let mut runner = Runner::new();
        if let Work::Own = work {
            let bundle = root.path().join("etc/ssl/certs");
            fs::create_dir_all(&bundle)?;
            fs::write(bundle.join("ca-certificates.crt"), self.ca.pem())?;
            runner
                .set("ACTIONS_ID_TOKEN_REQUEST_URL", &self.github.request_url())
                .set("ACTIONS_ID_TOKEN_REQUEST_TOKEN", BEARER);
        }
        Ok((root, runner))
    }

    /// How long the started hook of such a job takes, in milliseconds.
    fn hook(&self, agent: &Path, work: Work) -> anyhow::Result<f64> {
        let (root, mut runner) = self.pod(agent, work)?;
        let root = root.path().to_str().context("a path that is text")?;
        let hook = Path::new(root).join("podkey/bin/job-started.sh");
        let (took, output) = timed(&mut runner, &hook, &["--root", root])?;
        let masks = output
            .stdout
            .split(|byte| *byte == b'\n')
            .filter(|line| line.starts_with(b"::add-mask::"));
        let least = if let Work::Many = work { 1000 } else { 10 };
        ensure!(masks.count() >= least, "masks are missing");
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let expected = match work {
            Work::Ready => 10,
            Work::Own => 11,
            // Nothing is exported, and the test's runner would take minutes to search for so many masks.
            Work::Many => return Ok(took),
        };
        let step = runner.take(output);
        ensure!(
            step.env.is_ok_and(|set| set.len() == expected),
            "the job got something else"
        );
        Ok(took)
    }

    fn measure(&self, versions: &[Version], turns: usize) -> anyhow::Result<String> {
        let mut runner = Runner::new();
        let nothing = runner.dir().join("nothing.sh");
        fs::write(&nothing, "true\n")?;
        let mut took: Vec<Vec<Turn>> = versions.iter().map(|_| Vec::new()).collect();
        // The first turn is not counted.
        for turn in 0..=turns {
            for (version, took) in versions.iter().zip(&mut took) {
                let hook = |work| self.hook(&version.agent, work);
                let of = Turn {
                    bash: alone()?,
                    nothing: timed(&mut runner, &nothing, &[])?.0,
                    ready: hook(Work::Ready)?,
                    own: hook(Work::Own)?,
                    many: hook(Work::Many)?,
                };
                if turn > 0 {
                    took.push(of);
                }
            }
        }
        let names: Vec<&str> = versions.iter().map(|version| version.name.as_str()).collect();
        let mut sizes = Vec::new();
        for version in versions {
            sizes.push(vec![fs::metadata(&version.agent)?.len() as f64 / 1e6]);
        }
        let size = with_aims(
            "the agent in the volume",
            2,
            |size| *size,
            &[Aim::AtMost(AIM_SIZE_MB, " MB")],
        );
        Ok(format!(
            "The median of {turns} turns, in milliseconds from fork to the end of the process.\n{}{}",
            beside("wall, ms", &names, &took, &rows()),
            beside("MB", &names, &sizes, &[size])
        ))
    }
}

fn rows() -> [Row<'static, Turn>; 8] {
    const ALL: &[Aim] = &[Aim::AtMost(AIM_MS, " ms")];
    const MASKS: &[Aim] = &[Aim::AtMost(AIM_MASKS_MS, " ms")];
    const ABOVE: &str = "the same, above the hook that does nothing";
    [
        number("`bash -c true`", 1, |turn: &Turn| turn.bash),
        number("a hook that does nothing", 1, |turn| turn.nothing),
        with_aims("job-started: a file and 10 variables", 1, |turn| turn.ready, ALL),
        number(ABOVE, 1, |turn| turn.ready - turn.nothing),
        number("job-started: the same, and one read with GitHub's token", 1, |turn| {
            turn.own
        }),
        number(ABOVE, 1, |turn| turn.own - turn.nothing),
        number("job-started: 1,000 secrets of 1 KiB masked", 1, |turn| turn.many),
        with_aims(ABOVE, 1, |turn| turn.many - turn.nothing, MASKS),
    ]
}

/// What each hook took in a turn, in milliseconds.
struct Turn {
    bash: f64,
    nothing: f64,
    ready: f64,
    own: f64,
    many: f64,
}

/// A hook as the runner starts it, and how long it took.
fn timed(runner: &mut Runner, hook: &Path, arguments: &[&str]) -> anyhow::Result<(f64, std::process::Output)> {
    let mut command = runner.command(hook, arguments);
    let begun = Instant::now();
    let output = command.output()?;
    Ok((begun.elapsed().as_secs_f64() * 1e3, output))
}

fn alone() -> anyhow::Result<f64> {
    let mut command = Command::new("bash");
    command.args(["-c", "true"]);
    let begun = Instant::now();
    ensure!(command.output()?.status.success(), "bash fails");
    Ok(begun.elapsed().as_secs_f64() * 1e3)
}

fn fs_user() -> u32 {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata("/proc/self").map_or(0, |own| own.uid())
}
