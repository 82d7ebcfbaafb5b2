//! What status and doctor say of servers that a kubeconfig names by mistake, and of an API server that cannot answer.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::PathBuf;

use tempfile::TempDir;

use crate::{Ended, command, ended};

const UNAUTHORIZED: &str = r#"{"kind":"Status","apiVersion":"v1","status":"Failure","message":"Unauthorized","reason":"Unauthorized","code":401}"#;

/// A server that answers each request alike, and a kubeconfig that names the server.
struct Server {
    folder: TempDir,
    kubeconfig: PathBuf,
}

impl Server {
    /// `head`: the status line, and headers behind it.
    fn that_answers(head: &str, body: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let length = body.len();
        let answer = format!("HTTP/1.1 {head}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}");
        std::thread::spawn(move || {
            for mut connection in listener.incoming().flatten() {
                let mut request = Vec::new();
                let mut chunk = [0; 4096];
                while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                    match connection.read(&mut chunk) {
                        Ok(length) if length > 0 => request.extend_from_slice(&chunk[..length]),
                        _ => break,
                    }
                }
                let _ = connection.write_all(answer.as_bytes());
            }
        });
        let folder = tempfile::tempdir().unwrap();
        let kubeconfig = folder.path().join("my kubeconfig");
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: a\nclusters: [{{name: c, cluster: {{server: 'http://{address}'}}}}]\n\
             users: [{{name: u, user: {{token: sEcReT}}}}]\n\
             contexts: [{{name: a, context: {{cluster: c, user: u}}}}, {{name: b, context: {{cluster: c, user: u}}}}]\n"
        );
        fs::write(&kubeconfig, text).unwrap();
        Self { folder, kubeconfig }
    }

    fn run(&self, words: &[&str]) -> Ended {
        let mut line = words.to_vec();
        line.extend(["--kubeconfig", self.kubeconfig.to_str().unwrap(), "--context", "b"]);
        at(&self.folder, &line)
    }
}

/// Runs podkey with a home of its own, outside of any job.
fn at(folder: &TempDir, line: &[&str]) -> Ended {
    let mut command = command(env!("CARGO_BIN_EXE_podkey"), line);
    command.env("HOME", folder.path());
    for name in ["KUBECONFIG", "GITHUB_ACTIONS", "KUBERNETES_SERVICE_HOST"] {
        command.env_remove(name);
    }
    ended(command)
}

#[test]
fn status_said_nothing_for_minutes_while_the_api_server_answered_503_or_429() {
    for (head, status) in [
        ("503 Service Unavailable", "503"),
        ("429 Too Many Requests\r\nRetry-After: 1", "429"),
    ] {
        let server = Server::that_answers(head, "try later");
        for line in [&["status"][..], &["status", "web-0"], &["doctor"]] {
            let Ended { code, stdout, stderr } = server.run(line);
            let said = stdout + &stderr;
            assert_eq!(code, 69, "{line:?}: {said}");
            assert!(said.contains(status), "{line:?}: {said}");
            assert!(!said.contains("whoami"), "{line:?}: {said}");
        }
    }
}

#[test]
fn a_server_that_is_no_api_server_got_faults_of_the_user_and_of_podkey() {
    let answers = [
        ("404 Not Found", "<html>"),
        ("403 Forbidden", "<html>"),
        ("407 Proxy Authentication Required", ""),
        ("400 Bad Request", "{}"),
        ("301 Moved Permanently\r\nLocation: https://elsewhere.example/", ""),
        ("200 OK", "<html>"),
        ("200 OK", "{}"),
        ("404 Not Found", r#"{"message": "no Route matched"}"#),
    ];
    for (head, body) in answers {
        let server = Server::that_answers(head, body);
        for line in [&["status"][..], &["status", "web-0"], &["doctor"]] {
            let Ended { code, stdout, stderr } = server.run(line);
            let said = stdout + &stderr;
            assert_eq!(code, 69, "{line:?} {head} {body}: {said}");
            let is_named = said.contains("does not answer as an API server") || said.contains("the answer is not JSON");
            assert!(is_named, "{line:?} {head} {body}: {said}");
            assert!(
                !said.contains("helm") && !said.contains("whoami") && !said.contains("does not exist"),
                "{line:?} {head} {body}: {said}"
            );
        }
    }
    let server = Server::that_answers("502 Bad Gateway", "<html>");
    for line in ["status", "doctor"] {
        assert_eq!(server.run(&[line]).code, 69);
    }
}

#[test]
fn the_doctors_commands_went_to_another_cluster_than_the_examined_one() {
    let server = Server::that_answers("401 Unauthorized", UNAUTHORIZED);
    let said = server.run(&["doctor"]).stdout;
    let file = server.kubeconfig.to_str().unwrap();
    let command = format!("run: kubectl --kubeconfig '{file}' --context b auth whoami\n");
    assert!(said.contains(&command), "{said}");
}

#[test]
fn a_missing_kubeconfig_was_told_three_times_without_its_file_and_without_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["status", "doctor"] {
        let Ended { code, stderr, .. } = at(&folder, &[name]);
        assert_eq!(
            (code, stderr.as_str()),
            (
                64,
                "there is no kubeconfig (~/.kube/config): write --kubeconfig FILE or set KUBECONFIG\n"
            )
        );
        let Ended { code, stderr, .. } = at(&folder, &[name, "--kubeconfig", "/nowhere/file"]);
        assert_eq!(
            (code, stderr.as_str()),
            (
                64,
                "there is no kubeconfig (/nowhere/file): write --kubeconfig FILE or set KUBECONFIG\n"
            )
        );
    }
}

#[test]
fn a_kubeconfig_that_cannot_be_used_is_named_with_its_context_and_without_its_content() {
    let server = Server::that_answers("503 Service Unavailable", "");
    let file = server.kubeconfig.to_str().unwrap();
    let missing = at(&server.folder, &["status", "--kubeconfig", file, "--context", "prod"]).stderr;
    let expected = format!(
        "the kubeconfig {file} has no context \"prod\": write --context NAME; kubectl config get-contexts lists the names\n"
    );
    assert_eq!(missing, expected);
    let text = fs::read_to_string(file).unwrap();
    for broken in [
        text.replace("token: sEcReT", "token: [sEcReT"),
        text.replace("token: sEcReT", "token: {a: sEcReT}"),
        text.replace("server: 'http://", "server: 'http:// sEcReT"),
        text.replace("cluster: c, user: u", "cluster: gone, user: u"),
        "- sEcReT\n".to_owned(),
    ] {
        fs::write(file, &broken).unwrap();
        let Ended { code, stderr, .. } = at(&server.folder, &["status", "--kubeconfig", file]);
        assert_eq!(code, 64, "{broken}{stderr}");
        assert!(
            stderr.starts_with("cannot use the kubeconfig /") && stderr.lines().count() == 1,
            "{stderr}"
        );
        assert!(!stderr.contains("sEcReT"), "{stderr}");
    }
}
