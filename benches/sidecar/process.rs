//! A sidecar's process: started in a folder of its own, watched from outside, killed when dropped.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::{FILES, cpu};

fn command(program: &Path, args: &[&str], env: &[(&str, String)], folder: &Path) -> anyhow::Result<Command> {
    let mut command = Command::new(program);
    command
        .args(args)
        .env_clear()
        .env("HOME", folder)
        .env("PATH", "/usr/bin:/bin")
        .envs(env.iter().map(|(name, value)| (name, value)))
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::options().create(true).append(true).open(folder.join("log"))?);
    Ok(command)
}

/// Runs a program that must succeed.
pub(crate) fn run(program: &Path, args: &[&str], env: &[(&str, String)], folder: &Path) -> anyhow::Result<()> {
    let status = command(program, args, env, folder)?.status()?;
    let log = fs::read_to_string(folder.join("log")).unwrap_or_default();
    ensure!(status.success(), "{} {args:?}: {status}: {log}", program.display());
    Ok(())
}

pub(crate) struct Sidecar {
    child: Child,
    folder: tempfile::TempDir,
}

/// What a process has taken until now.
#[derive(Clone, Copy)]
pub(crate) struct Used {
    pub(crate) rss_kib: f64,
    pub(crate) peak_kib: f64,
    pub(crate) cpu: Duration,
    /// How often its threads went to sleep: as often they were woken.
    #[allow(dead_code, reason = "the soak does not count them")]
    pub(crate) switches: u64,
}

impl Sidecar {
    pub(crate) fn start(
        program: &Path,
        args: &[&str],
        env: &[(&str, String)],
        folder: tempfile::TempDir,
    ) -> anyhow::Result<Self> {
        let child = command(program, args, env, folder.path())?.spawn()?;
        Ok(Self { child, folder })
    }

    #[allow(dead_code, reason = "the soak alone looks at the process and its folder itself")]
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    #[allow(dead_code, reason = "see `id`")]
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Waits for its end.
    #[allow(dead_code, reason = "see `id`")]
    pub(crate) fn ended(&mut self) -> anyhow::Result<ExitStatus> {
        Ok(self.child.wait()?)
    }

    /// How many files are not as new as they should be, by what the sidecar says, which must know of so many files.
    #[allow(dead_code, reason = "see `id`")]
    pub(crate) fn not_fresh(&self, files: usize) -> anyhow::Result<usize> {
        let text = self.content(".status.json").context("no .status.json")?;
        let status: Value = serde_json::from_str(&text).with_context(|| format!(".status.json: {text}"))?;
        let known = status["files"].as_object().context("no files in .status.json")?;
        ensure!(
            known.len() == files,
            ".status.json has {} files, not {files}: {text}",
            known.len()
        );
        Ok(known.values().filter(|file| file["state"] != "fresh").count())
    }

    /// The content of a file as the pod's containers see it.
    pub(crate) fn content(&self, file: &str) -> Option<String> {
        fs::read_to_string(self.folder.path().join(FILES).join(file)).ok()
    }

    /// Waits until the file has this content.
    pub(crate) fn shows(&self, file: &str, content: &str) -> anyhow::Result<()> {
        let begun = Instant::now();
        while self.content(file).as_deref() != Some(content) {
            let log = || fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            ensure!(begun.elapsed() < Duration::from_secs(60), "no {file}: {}", log());
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    pub(crate) fn used(&self) -> anyhow::Result<Used> {
        let proc = Path::new("/proc").join(self.child.id().to_string());
        let status = fs::read_to_string(proc.join("status"))?;
        let number = |text: &str, name: &str| -> anyhow::Result<u64> {
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix(name))
                .context("no line")?;
            Ok(line.split_whitespace().nth(1).context(line.to_owned())?.parse()?)
        };
        let mut switches = 0;
        for task in fs::read_dir(proc.join("task"))? {
            // A thread may end meanwhile.
            if let Ok(status) = fs::read_to_string(task?.path().join("status")) {
                switches += number(&status, "voluntary_ctxt_switches")?;
            }
        }
        Ok(Used {
            rss_kib: number(&status, "VmRSS")? as f64,
            peak_kib: number(&status, "VmHWM")? as f64,
            cpu: cpu::of_process(self.child.id())?,
            switches,
        })
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
