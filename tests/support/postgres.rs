//! A real PostgreSQL on the loopback address, for the database engine to make users in.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// PostgreSQL refuses to run as root: as nobody, then.
const NOBODY: u32 = 65534;

/// A running server with one database, `postgres`. Ends when dropped, and when this process ends, however it does.
pub struct Postgres {
    child: Child,
    _dir: TempDir,
    programs: PathBuf,
    pub port: u16,
}

/// The user that may do everything.
pub const ADMIN: &str = "admin";
pub const ADMIN_PASSWORD: &str = "of-the-test-admin";

/// Where its programs are: `$PODKEY_POSTGRES`, an installed Debian package, or where `make` unpacks one.
fn programs() -> PathBuf {
    if let Some(given) = std::env::var_os("PODKEY_POSTGRES") {
        return given.into();
    }
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/postgres/usr/lib/postgresql");
    let versions = ["/usr/lib/postgresql".into(), ours].into_iter();
    versions
        .filter_map(|directory| fs::read_dir(directory).ok())
        .flat_map(|versions| versions.flatten().map(|version| version.path().join("bin")))
        .find(|programs| programs.join("postgres").is_file())
        .expect("no PostgreSQL: set PODKEY_POSTGRES, install postgresql, or run `.ci/tools postgres`")
}

impl Postgres {
    pub fn start() -> Self {
        let programs = programs();
        let dir = tempfile::tempdir().unwrap();
        if rustix::process::geteuid().is_root() {
            chown(dir.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let data = dir.path().join("data");
        let password = dir.path().join("password");
        fs::write(&password, ADMIN_PASSWORD).unwrap();
        let made = command(&programs, "initdb", dir.path())
            .args([
                "--no-sync",
                "--locale=C",
                "--encoding=UTF8",
                "--auth=scram-sha-256",
                "--username",
                ADMIN,
            ])
            .arg("--pwfile")
            .arg(&password)
            .arg("--pgdata")
            .arg(&data)
            .output()
            .expect("initdb starts: may every user read the directory of PostgreSQL's programs?");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        for _ in 0..5 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            // The shell ends the server as soon as its own standard input ends, which is when we do.
            let mut shell = command(&programs, "/bin/sh", dir.path());
            shell
                .args([
                    "-c",
                    r#""$@" >log 2>&1 & p=$!; cat >/dev/null; kill -QUIT $p; wait $p"#,
                    "sh",
                ])
                .arg(programs.join("postgres"))
                .args(["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="])
                .args(["-c", "fsync=off", "-c", "dynamic_shared_memory_type=mmap", "-D"])
                .arg(&data)
                .arg("-p")
                .arg(port.to_string())
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            let mut child = shell.spawn().unwrap();
            if waits(&mut child, &programs, port) {
                return Self {
                    child,
                    _dir: dir,
                    programs,
                    port,
                };
            }
        }
        panic!(
            "PostgreSQL does not start: {}",
            fs::read_to_string(dir.path().join("log")).unwrap_or_default()
        );
    }

    /// What a user who logs in anew gets for a statement, or why he does not.
    pub fn ask(&self, user: &str, password: &str, statement: &str) -> Result<String, String> {
        ask(&self.programs, self.port, (user, password), statement)
    }

    /// What the admin gets.
    pub fn admin(&self, statement: &str) -> String {
        self.ask(ADMIN, ADMIN_PASSWORD, statement).unwrap()
    }
}

fn waits(child: &mut Child, programs: &Path, port: u16) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(20) {
        if ask(programs, port, (ADMIN, ADMIN_PASSWORD), "select 1").is_ok() {
            return true;
        }
        if matches!(child.try_wait(), Ok(Some(_))) {
            return false;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    false
}

fn ask(programs: &Path, port: u16, (user, password): (&str, &str), statement: &str) -> Result<String, String> {
    let output = command(programs, "psql", Path::new("/"))
        .args(["--no-psqlrc", "--tuples-only", "--no-align", "--no-password"])
        .args(["--host=127.0.0.1", "--dbname=postgres", "--port", &port.to_string()])
        .args(["--username", user, "--command", statement])
        .env("PGPASSWORD", password)
        .env("PGCONNECT_TIMEOUT", "10")
        .output()
        .unwrap();
    match output.status.success() {
        true => Ok(String::from_utf8(output.stdout).unwrap().trim().to_owned()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Ends the shell's input, and with it the server.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// A program of PostgreSQL's, or one beside them, with the libraries of an unpacked package.
fn command(programs: &Path, name: &str, directory: &Path) -> Command {
    let mut command = Command::new(programs.join(name));
    command
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("LC_ALL", "C")
        .current_dir(directory)
        .stdin(Stdio::null());
    // …/usr/lib/postgresql/15/bin: beside `postgresql` are the libraries.
    let unpacked = programs.ancestors().nth(3).filter(|lib| *lib != Path::new("/usr/lib"));
    let libraries = unpacked.map(|lib| lib.join(format!("{}-linux-gnu", std::env::consts::ARCH)));
    if let Some(libraries) = libraries.filter(|libraries| libraries.is_dir()) {
        command.env("LD_LIBRARY_PATH", libraries);
    }
    if rustix::process::geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}
