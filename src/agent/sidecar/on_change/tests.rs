//! The actions against real processes, files and sockets.

use std::collections::BTreeSet;
use std::io::{self, Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _, symlink};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::mpsc;
use std::time::SystemTime;

use super::signal::{Process, named, processes};
use super::*;

const NO_RETRY: Retries = Retries {
    tries: 1,
    pause: Duration::ZERO,
};

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(work)
}

/// Runs an action. `root` is the prefix of the container's paths.
fn inform(action: &str, root: &Path) -> Result<String, ActionError> {
    block_on(run_once(&action.parse().unwrap(), &paths(root)))
}

fn paths(root: &Path) -> ContainerPaths {
    ContainerPaths::new(Some(root.to_owned()))
}

/// The directory of the files, made.
fn files_directory(root: &Path) -> PathBuf {
    let directory = paths(root).volume_directory().join("files");
    std::fs::create_dir_all(&directory).unwrap();
    directory
}

/// A process that sleeps under a name of its own, and ends with the test.
struct Sleeper(Child);

impl Sleeper {
    fn called(name: &str) -> Self {
        Self::started(&mut Command::new("sleep"), name)
    }

    /// `spawn` returns when the kernel has thrown away the old program, which is before the process has the names of the new
    /// program: on a busy machine no process would be called by `name` yet.
    fn started(program: &mut Command, name: &str) -> Self {
        let sleeper = Self(program.arg0(name).arg("600").spawn().unwrap());
        let command_line = format!("/proc/{}/cmdline", sleeper.0.id());
        while !std::fs::read(&command_line).unwrap().starts_with(name.as_bytes()) {
            std::thread::yield_now();
        }
        sleeper
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn every_process_with_the_name_gets_the_signal_and_no_other_process_does() {
    // The names belong to this run: no other program of the machine may have them.
    let name = format!("podkey-on-change-{}", std::process::id());
    let directory = format!("/somewhere/{name}");
    let mut meant = [Sleeper::called(&name), Sleeper::called(&directory)];
    let mut other = Sleeper::called(&format!("{name}-other"));
    let outcome = inform(&format!("signal:SIGUSR1:{name}"), Path::new("/")).unwrap();
    assert_eq!(outcome, "processes signalled: 2");
    for sleeper in &mut meant {
        let ended = sleeper.0.wait().unwrap();
        assert_eq!(ended.signal(), Some(rustix::process::Signal::USR1.as_raw()));
    }
    assert!(other.0.try_wait().unwrap().is_none());

    // Both processes have ended.
    let failed = inform(&format!("signal:SIGUSR1:{name}"), Path::new("/")).unwrap_err();
    assert!(failed.why.contains("no process is called") && failed.hint.contains("shareProcessNamespace"));
}

#[test]
fn a_program_is_found_by_its_own_name_if_the_command_line_differs() {
    let dir = tempfile::tempdir().unwrap();
    // At most 15 bytes: the kernel cuts a longer name.
    let name = format!("pk{}", std::process::id());
    let program = dir.path().join(&name);
    symlink("/bin/sleep", &program).unwrap();
    // The process shows another command line, as nginx does.
    let mut sleeper = Sleeper::started(&mut Command::new(&program), "a title of its own");
    inform(&format!("signal:SIGUSR1:{name}"), dir.path()).unwrap();
    assert_eq!(
        sleeper.0.wait().unwrap().signal(),
        Some(rustix::process::Signal::USR1.as_raw())
    );
}

#[test]
fn the_children_of_a_server_get_no_signal() {
    let process = |pid: i32, parent: i32, name: &str, called: &str| Process {
        pid,
        parent,
        name: name.into(),
        called: called.into(),
    };
    let running = [
        process(1, 0, "pause", "pause"),
        process(7, 0, "nginx", "nginx: master process nginx"),
        process(8, 7, "nginx", "nginx: worker process"),
        process(9, 0, "sh", "sh"),
        process(10, 9, "nginx", "nginx"),
        process(20, 0, "podkey-agent", "podkey-agent"),
    ];
    let pids = |name: &str| -> BTreeSet<i32> {
        named(&running, name, 20)
            .into_iter()
            .map(|pid| pid.as_raw_nonzero().get())
            .collect()
    };
    assert_eq!(pids("nginx"), [7, 10].into());
    assert_eq!(pids("sh"), [9].into());
    assert_eq!(pids("pause"), [].into(), "process 1");
    assert_eq!(pids("podkey-agent"), [].into(), "ourselves");
    assert_eq!(pids("ngin"), [].into());
    // Where the app itself is process 1, all others are its children.
    let alone = [process(1, 0, "app", "app"), process(5, 1, "app", "app")];
    assert_eq!(named(&alone, "app", 20).len(), 1);
}

#[test]
fn processes_are_read_as_the_kernel_writes_them() {
    let dir = tempfile::tempdir().unwrap();
    let add = |pid: &str, stat: &str, cmdline: &str| {
        std::fs::create_dir(dir.path().join(pid)).unwrap();
        std::fs::write(dir.path().join(pid).join("stat"), stat).unwrap();
        std::fs::write(dir.path().join(pid).join("cmdline"), cmdline).unwrap();
    };
    add("12", "12 (a) b (c)) S 7 12 12 0", "/usr/bin/my-app\0--flag\0");
    add("13", "13 (gone) Z 12 12 12 0", "");
    add("14", "14 (garbage", "x");
    add("15", "", "");
    add("self", "12 (x) S 7 12", "x");
    std::fs::create_dir(dir.path().join("16")).unwrap();
    assert_eq!(
        processes(dir.path()).unwrap(),
        [Process {
            pid: 12,
            parent: 7,
            name: "a) b (c)".into(),
            called: "my-app".into(),
        }]
    );
}

#[test]
fn a_process_of_another_user_is_reported_with_a_hint() {
    const NAME: &str = "PODKEY_TEST_FOREIGN";
    if let Ok(name) = std::env::var(NAME) {
        // This test runs again here, as a user who may not send the signal.
        let failed = inform(&format!("signal:SIGTERM:{name}"), Path::new("/")).unwrap_err();
        assert!(failed.why.contains("not permitted"), "{failed:?}");
        assert!(failed.hint.contains("runAsUser"), "{failed:?}");
        // Other processes still get the signal, and get it once.
        let mut own = [Sleeper::called(&name), Sleeper::called(&name)];
        let outcome = inform(&format!("signal:SIGTERM:{name}"), Path::new("/")).unwrap();
        assert_eq!(outcome, "processes signalled: 2; not allowed: 1");
        own.iter_mut()
            .for_each(|own| assert!(own.0.wait().unwrap().signal().is_some()));
        return;
    }
    if !rustix::process::geteuid().is_root() {
        return; // Only root can start a process as another user.
    }
    let name = format!("podkey-foreign-{}", std::process::id());
    let mut foreign = Sleeper::called(&name);
    // The other user may not be able to read the build directory.
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let program = dir.path().join("test");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let again = "agent::sidecar::on_change::tests::a_process_of_another_user_is_reported_with_a_hint";
    let mut tested = Command::new(program);
    tested.args(["--exact", again]).env(NAME, &name).uid(65534).gid(65534);
    let tested = loop {
        match tested.output() {
            // A child of another test still has the written file open, until the child executes its program.
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => {}
            ended => break ended.unwrap(),
        }
    };
    let printed = String::from_utf8_lossy(&tested.stdout);
    assert!(tested.status.success() && printed.contains("1 passed"), "{printed}");
    assert!(foreign.0.try_wait().unwrap().is_none());
}

#[test]
fn a_touched_file_is_readable_for_all_and_has_a_new_time() {
    let dir = tempfile::tempdir().unwrap();
    let file = files_directory(dir.path()).join("app/reload");
    inform("touch:app/reload", dir.path()).unwrap();
    let made = file.metadata().unwrap();
    assert_eq!((made.len(), made.permissions().mode() & 0o7777), (0, 0o644));

    std::fs::write(&file, "kept").unwrap();
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
    std::fs::File::options()
        .write(true)
        .open(&file)
        .unwrap()
        .set_modified(long_ago)
        .unwrap();
    inform("touch:app/reload", dir.path()).unwrap();
    assert!(file.metadata().unwrap().modified().unwrap() > long_ago);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "kept");
}

#[test]
fn touching_follows_no_symlink_and_opens_no_pipe() {
    let dir = tempfile::tempdir().unwrap();
    let files = files_directory(dir.path());
    let outside = dir.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    symlink(&outside, files.join("directory")).unwrap();
    symlink(outside.join("made"), files.join("file")).unwrap();
    for place in ["directory/made", "file"] {
        let failed = inform(&format!("touch:{place}"), dir.path()).unwrap_err();
        assert!(failed.hint.contains("another place"), "{failed:?}");
    }
    assert_eq!(outside.read_dir().unwrap().count(), 0);

    let pipe = files.join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    assert!(pipe.symlink_metadata().unwrap().file_type().is_fifo());
    assert!(inform("touch:pipe", dir.path()).is_err());
}

/// An app that gives these answers, one for each connection, and passes on each request.
fn app(answers: Vec<&'static str>) -> (u16, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, asked) = mpsc::channel();
    std::thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            let mut byte = [0];
            while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) > 0 {
                request.push(byte[0]);
            }
            tell.send(String::from_utf8(request).unwrap()).unwrap();
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    (port, asked)
}

#[test]
fn a_reload_is_requested_with_a_post_without_a_body() {
    let (port, asked) = app(vec![
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.0 200 OK\r\n\r\nas long as it likes",
    ]);
    let action = format!("http:POST:http://127.0.0.1:{port}/-/reload?all=1");
    assert_eq!(inform(&action, Path::new("/")).unwrap(), "status 204");
    let request = asked.recv().unwrap().to_ascii_lowercase();
    assert!(request.starts_with("post /-/reload?all=1 http/1.1\r\n"), "{request}");
    assert!(request.contains(&format!("host: 127.0.0.1:{port}\r\n")), "{request}");
    assert!(request.contains("content-length: 0\r\n"), "{request}");
    assert!(!request.contains("token"), "{request}");
    assert_eq!(inform(&action, Path::new("/")).unwrap(), "status 200");
}

#[test]
fn only_a_status_of_2xx_is_a_success() {
    let refused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let failed = inform(&format!("http:POST:http://127.0.0.1:{refused}/"), Path::new("/")).unwrap_err();
    assert!(failed.hint.contains("listen"), "{failed:?}");
    let (elsewhere, never_asked) = app(vec!["HTTP/1.1 200 OK\r\n\r\n"]);
    let redirect = format!("HTTP/1.1 307 X\r\nLocation: http://127.0.0.1:{elsewhere}/\r\nContent-Length: 0\r\n\r\n");
    let endless = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(200_000));
    for (answer, why) in [
        (redirect.as_str(), "status 307"),
        ("HTTP/1.1 500 Internal Server Error\r\n\r\n", "status 500"),
        ("SSH-2.0-OpenSSH_9.2\r\n\r\n", ""),
        ("", ""),
        (endless.as_str(), ""),
    ] {
        let (port, _asked) = app(vec![answer.to_owned().leak()]);
        let failed = inform(&format!("http:POST:http://127.0.0.1:{port}/"), Path::new("/")).unwrap_err();
        assert!(failed.why.contains(why), "{failed:?}");
    }
    assert!(never_asked.try_recv().is_err(), "a redirection was followed");
}

#[test]
fn an_action_is_tried_again_until_it_succeeds_or_no_try_is_left() {
    let (no, yes) = ("HTTP/1.1 503 X\r\n\r\n", "HTTP/1.1 200 X\r\n\r\n");
    for (tries, answers, succeeds, asked_for) in [
        (4, vec![no, no, yes, yes], true, 3),
        (3, vec![no, no, no, yes], false, 3),
    ] {
        let (port, asked) = app(answers);
        let action = format!("http:POST:http://127.0.0.1:{port}/").parse().unwrap();
        let retries = Retries {
            tries,
            pause: Duration::from_millis(1),
        };
        assert_eq!(
            block_on(run_with_retries(&action, &paths(Path::new("/")), retries)),
            succeeds
        );
        assert_eq!(asked.try_iter().count(), asked_for);
    }
}

#[test]
fn the_actions_of_a_change_run_beside_each_other_and_stop_when_the_next_change_comes() {
    let dir = tempfile::tempdir().unwrap();
    let touched = files_directory(dir.path()).join("informed");
    let (port, asked) = app(vec!["HTTP/1.1 200 X\r\n\r\n"]);
    // Accepts a connection, and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let planned = [
        format!("http:POST:http://{}/", silent.local_addr().unwrap()),
        format!("http:POST:http://127.0.0.1:{port}/"),
        "touch:informed".into(),
    ];
    let planned: Vec<_> = planned.iter().map(|action| action.parse().unwrap()).collect();
    block_on(async {
        let mut actions = Actions::new(&planned, paths(dir.path()));
        actions.retries = NO_RETRY;
        actions.run();
        // The action without an answer delays neither the sidecar nor the other actions.
        while !touched.exists() || actions.running.len() > 1 {
            let _ = actions.running.try_join_next();
            tokio::task::yield_now().await;
            sleep(Duration::from_millis(1)).await;
        }
        assert!(asked.try_recv().is_ok());
        std::fs::remove_file(&touched).unwrap();
        actions.run();
        while !touched.exists() {
            sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(actions.running.len(), 3, "the earlier actions are stopped");
    });
}
