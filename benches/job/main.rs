//! Measures `podkey-agent job-started` as the runner runs it, from the start of bash to its end, beside a hook that does
//! nothing and beside bash alone. `benches/run` calls it; `benches/README.md` says how each number is made.

#[path = "../../tests/support/mod.rs"]
mod support;
#[path = "../table.rs"]
mod table;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};
use support::ca::Ca;
use support::github::{BEARER, GitHub, JOB_MOUNT};
use support::jwt::Claims;
use support::openbao::{ACCOUNT, JWT_MOUNT, NAMESPACE, OpenBao};
use support::runner::Runner;
use table::{Table, aim, median, no_aim};

/// What the started hook may add to a job, in milliseconds: with what `init` left, and where it asks GitHub and the server.
const AIM_MS: f64 = 15.0;
/// For masking 1,000 secrets of 1 KiB.
const AIM_MASKS_MS: f64 = 100.0;
const AIM_SIZE_MB: f64 = 4.0;

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let (agent, turns) = match args[..] {
        [agent] => (agent, 30),
        [agent, "--quick"] => (agent, 3),
        // `cargo test --benches` and `cargo bench` without arguments measure nothing.
        [] | ["--bench" | "--test", ..] => {
            return Ok(writeln!(std::io::stderr(), "benches/run calls this with arguments")?);
        }
        _ => bail!("unknown arguments: {args:?}"),
    };
    let text = Bench::new(agent)?.measure(turns)?;
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}

/// The server, the issuer of the job's own tokens, and the agent.
struct Bench {
    bao: OpenBao,
    github: GitHub,
    ca: Ca,
    agent: PathBuf,
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
    fn new(agent: &str) -> anyhow::Result<Self> {
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
        Ok(Self {
            bao,
            github,
            ca,
            agent: fs::canonicalize(agent)?,
        })
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
    fn pod(&self, work: Work) -> anyhow::Result<(tempfile::TempDir, Runner)> {
        let root = tempfile::tempdir()?;
        fs::create_dir_all(root.path().join("podkey/token"))?;
        let token = self.bao.cluster.sign(&Claims::new(NAMESPACE, ACCOUNT, "vault"));
        fs::write(root.path().join("podkey/token/token"), token)?;
        let init = Command::new(&self.agent)
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
    fn hook(&self, work: Work) -> anyhow::Result<f64> {
        let (root, mut runner) = self.pod(work)?;
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

    fn measure(&self, turns: usize) -> anyhow::Result<String> {
        let mut runner = Runner::new();
        let nothing = runner.dir().join("nothing.sh");
        fs::write(&nothing, "true\n")?;
        let works = [Work::Ready, Work::Own, Work::Many];
        let mut took: [Vec<f64>; 5] = Default::default();
        // The first turn is not counted.
        for turn in 0..=turns {
            let mut all = [0.0; 5];
            all[0] = alone()?;
            all[1] = timed(&mut runner, &nothing, &[])?.0;
            for (of, work) in all[2..].iter_mut().zip(works) {
                *of = self.hook(work)?;
            }
            if turn > 0 {
                took.iter_mut().zip(all).for_each(|(took, ms)| took.push(ms));
            }
        }
        let middle = took.each_ref().map(|took| median(took.iter().copied()));
        let above = |index: usize| median(took[index].iter().zip(&took[1]).map(|(hook, nothing)| hook - nothing));
        let mut table = Table::new(&["wall, ms", "in all", "above a hook that does nothing", "aim", ""]);
        let mut row = |name: &str, index: usize, [its_aim, met]: [String; 2]| {
            let more = if index > 1 {
                format!("{:.1}", above(index))
            } else {
                String::new()
            };
            table.row(&[name.to_owned(), format!("{:.1}", middle[index]), more, its_aim, met]);
        };
        row("`bash -c true`", 0, no_aim());
        row("a hook that does nothing", 1, no_aim());
        row(
            "job-started: a file and 10 variables",
            2,
            aim(middle[2], AIM_MS, " ms in all"),
        );
        row("job-started: the same, and one read with GitHub's token", 3, no_aim());
        row(
            "job-started: 1,000 secrets of 1 KiB masked",
            4,
            aim(above(4), AIM_MASKS_MS, " ms more"),
        );
        let size = fs::metadata(&self.agent)?.len() as f64 / 1e6;
        let [its_aim, met] = aim(size, AIM_SIZE_MB, " MB");
        let mut sizes = Table::new(&["", "MB", "aim", ""]);
        sizes.row(&["the agent in the volume".to_owned(), format!("{size:.2}"), its_aim, met]);
        Ok(format!(
            "The median of {turns} turns, in milliseconds from fork to the end of the process.\n{}{}",
            table.text(),
            sizes.text()
        ))
    }
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
