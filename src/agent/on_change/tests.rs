//! The actions against real processes, files and sockets.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _, symlink};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command};
use std::sync::mpsc;

use super::*;

const AT_ONCE: Patience = Patience {
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

fn told(action: &str, files: &Path) -> Result<String, Failed> {
    block_on(once(&action.parse().unwrap(), files))
}

/// A process that sleeps under a name of its own, and ends with the test.
struct Sleeper(Child);

impl Sleeper {
    fn called(name: &str) -> Self {
        Self(Command::new("sleep").arg0(name).arg("600").spawn().unwrap())
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn every_process_of_the_name_gets_the_signal_and_no_other() {
    // Names of this very run: other programs of the machine must not be meant.
    let name = format!("podkey-on-change-{}", std::process::id());
    let directory = format!("/somewhere/{name}");
    let mut meant = [Sleeper::called(&name), Sleeper::called(&directory)];
    let mut other = Sleeper::called(&format!("{name}-other"));
    let outcome = told(&format!("signal:SIGUSR1:{name}"), Path::new("/")).unwrap();
    assert_eq!(outcome, "processes signalled: 2");
    for sleeper in &mut meant {
        let ended = sleeper.0.wait().unwrap();
        assert_eq!(ended.signal(), Some(rustix::process::Signal::USR1.as_raw()));
    }
    assert!(other.0.try_wait().unwrap().is_none());

    // Those two are waited for and gone.
    let failed = told(&format!("signal:SIGUSR1:{name}"), Path::new("/")).unwrap_err();
    assert!(failed.why.contains("no process is called") && failed.hint.contains("shareProcessNamespace"));
}

#[test]
fn a_program_is_known_by_its_own_name_too() {
    let dir = tempfile::tempdir().unwrap();
    // At most 15 bytes: the kernel cuts it there.
    let name = format!("pk{}", std::process::id());
    let program = dir.path().join(&name);
    symlink("/bin/sleep", &program).unwrap();
    // As nginx does, it shows another command line.
    let mut sleeper = Sleeper(
        Command::new(&program)
            .arg0("a title of its own")
            .arg("600")
            .spawn()
            .unwrap(),
    );
    told(&format!("signal:SIGUSR1:{name}"), dir.path()).unwrap();
    assert_eq!(
        sleeper.0.wait().unwrap().signal(),
        Some(rustix::process::Signal::USR1.as_raw())
    );
}

#[test]
fn a_servers_children_are_left_to_it() {
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
fn another_users_process_is_told_with_a_hint() {
    const NAME: &str = "PODKEY_TEST_FOREIGN";
    if let Ok(name) = std::env::var(NAME) {
        // This very test again, as the user who may not.
        let failed = told(&format!("signal:SIGTERM:{name}"), Path::new("/")).unwrap_err();
        assert!(failed.why.contains("not permitted"), "{failed:?}");
        assert!(failed.hint.contains("runAsUser"), "{failed:?}");
        // It keeps nobody else's from being told, who then is not told again.
        let mut own = [Sleeper::called(&name), Sleeper::called(&name)];
        let outcome = told(&format!("signal:SIGTERM:{name}"), Path::new("/")).unwrap();
        assert_eq!(outcome, "processes signalled: 2; not allowed: 1");
        own.iter_mut()
            .for_each(|own| assert!(own.0.wait().unwrap().signal().is_some()));
        return;
    }
    if !rustix::process::geteuid().is_root() {
        return; // Only root can make a process of another user, and then be none.
    }
    let name = format!("podkey-foreign-{}", std::process::id());
    let mut foreign = Sleeper::called(&name);
    // Where it was built may be closed to that user.
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let program = dir.path().join("test");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let again = "agent::on_change::tests::another_users_process_is_told_with_a_hint";
    let mut tested = Command::new(program);
    tested.args(["--exact", again]).env(NAME, &name).uid(65534).gid(65534);
    let tested = loop {
        match tested.output() {
            // Another test's child still has the file open that we wrote, until it becomes its program.
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => {}
            ended => break ended.unwrap(),
        }
    };
    let printed = String::from_utf8_lossy(&tested.stdout);
    assert!(tested.status.success() && printed.contains("1 passed"), "{printed}");
    assert!(foreign.0.try_wait().unwrap().is_none());
}

#[test]
fn a_touched_file_is_made_readable_for_all_and_has_a_new_time() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("app/reload");
    told("touch:app/reload", dir.path()).unwrap();
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
    told("touch:app/reload", dir.path()).unwrap();
    assert!(file.metadata().unwrap().modified().unwrap() > long_ago);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "kept");
}

#[test]
fn touching_follows_no_link_and_opens_no_pipe() {
    let dir = tempfile::tempdir().unwrap();
    let files = dir.path().join("files");
    let outside = dir.path().join("outside");
    std::fs::create_dir(&files).unwrap();
    std::fs::create_dir(&outside).unwrap();
    symlink(&outside, files.join("directory")).unwrap();
    symlink(outside.join("made"), files.join("file")).unwrap();
    for place in ["directory/made", "file"] {
        let failed = told(&format!("touch:{place}"), &files).unwrap_err();
        assert!(failed.hint.contains("another place"), "{failed:?}");
    }
    assert_eq!(outside.read_dir().unwrap().count(), 0);

    let pipe = files.join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    assert!(pipe.symlink_metadata().unwrap().file_type().is_fifo());
    assert!(told("touch:pipe", &files).is_err());
}

/// An app that gives these answers, one a connection, and tells what it was asked.
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
fn a_reload_is_asked_for_with_a_post_without_a_body() {
    let (port, asked) = app(vec![
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.0 200 OK\r\n\r\nas long as it likes",
    ]);
    let action = format!("http:POST:http://127.0.0.1:{port}/-/reload?all=1");
    assert_eq!(told(&action, Path::new("/")).unwrap(), "status 204");
    let request = asked.recv().unwrap().to_ascii_lowercase();
    assert!(request.starts_with("post /-/reload?all=1 http/1.1\r\n"), "{request}");
    assert!(request.contains(&format!("host: 127.0.0.1:{port}\r\n")), "{request}");
    assert!(request.contains("content-length: 0\r\n"), "{request}");
    assert!(!request.contains("token"), "{request}");
    assert_eq!(told(&action, Path::new("/")).unwrap(), "status 200");
}

#[test]
fn what_is_no_success_is_none() {
    let refused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let failed = told(&format!("http:POST:http://127.0.0.1:{refused}/"), Path::new("/")).unwrap_err();
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
        let failed = told(&format!("http:POST:http://127.0.0.1:{port}/"), Path::new("/")).unwrap_err();
        assert!(failed.why.contains(why), "{failed:?}");
    }
    assert!(never_asked.try_recv().is_err(), "a redirection was followed");
}

#[test]
fn an_action_is_tried_again_until_it_succeeds_and_no_longer_than_its_patience() {
    let (no, yes) = ("HTTP/1.1 503 X\r\n\r\n", "HTTP/1.1 200 X\r\n\r\n");
    for (tries, answers, succeeds, asked_for) in [
        (4, vec![no, no, yes, yes], true, 3),
        (3, vec![no, no, no, yes], false, 3),
    ] {
        let (port, asked) = app(answers);
        let action = format!("http:POST:http://127.0.0.1:{port}/").parse().unwrap();
        let patience = Patience {
            tries,
            pause: Duration::from_millis(1),
        };
        assert_eq!(block_on(carry_out(&action, Path::new("/"), patience)), succeeds);
        assert_eq!(asked.try_iter().count(), asked_for);
    }
}

#[test]
fn the_actions_of_a_change_run_beside_it_and_give_way_to_the_next_ones() {
    let dir = tempfile::tempdir().unwrap();
    let (port, asked) = app(vec!["HTTP/1.1 200 X\r\n\r\n"]);
    // Accepts a connection, and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let planned = [
        format!("http:POST:http://{}/", silent.local_addr().unwrap()),
        format!("http:POST:http://127.0.0.1:{port}/"),
        "touch:told".into(),
    ];
    let planned = planned.iter().map(|action| action.parse().unwrap()).collect();
    block_on(async {
        let mut actions = Actions::new(planned, dir.path().to_owned());
        actions.patience = AT_ONCE;
        actions.run();
        // The slow one holds neither us nor the others up.
        while !dir.path().join("told").exists() || actions.running.len() > 1 {
            let _ = actions.running.try_join_next();
            tokio::task::yield_now().await;
            sleep(Duration::from_millis(1)).await;
        }
        assert!(asked.try_recv().is_ok());
        std::fs::remove_file(dir.path().join("told")).unwrap();
        actions.run();
        while !dir.path().join("told").exists() {
            sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(actions.running.len(), 3, "the earlier ones are gone");
    });
}
