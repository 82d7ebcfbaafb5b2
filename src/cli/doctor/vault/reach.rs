//! Whether the server can be reached as the pod reaches it: by the connection's name and authorities.

use std::net::SocketAddr;

use super::environment::Environment;
use super::knock::{Reached, Unreachable, Unreached, host_header, is_vault, knock, reachable};
use super::tls::{Door, TlsProblem, causes, problem};
use super::user_way;
use crate::cli::doctor::finding::Findings;
use crate::cli::doctor::words::quote;
use crate::plan::{Address, Connection};

const CHECK: &str = "vault-connection";

/// The two ways to the server. No token of the user goes the way of the pod: a pod that somebody made by hand could collect tokens.
pub(super) struct Ways {
    /// By the connection's address, name and authorities.
    pub(super) of_pod: Option<Reached>,
    /// By `VAULT_ADDR`, and by the name and the authorities that the user's variables say.
    pub(super) of_user: Option<Reached>,
}

impl Ways {
    /// The way for what needs no token of the user: as the pod does it, if that is possible from here.
    pub(super) fn anonymous(&self) -> Option<&Reached> {
        self.of_pod.as_ref().or(self.of_user.as_ref())
    }
}

/// The way of the pod, as far as it can be seen from here.
struct Way<'a> {
    connection: &'a Connection,
    /// The address that the doctor dials.
    dialled: &'a Address,
    address: SocketAddr,
}

/// The name that the connection expects in the server's certificate.
pub(super) fn expected_name(connection: &Connection) -> &str {
    let name = connection.tls_server_name.as_ref();
    name.map_or_else(|| connection.address.host(), |name| name.as_str())
}

/// Reaches the server.
pub(super) async fn check(connection: &Connection, environment: &Environment, findings: &mut Findings) -> Ways {
    if let Some(why) = &environment.unusable_address {
        findings.warning(CHECK, why.clone(), None);
    }
    if !connection.address.is_tls() && !connection.allow_insecure_http {
        let message = format!("the connection {} has a plain http address", connection.name);
        findings.fault(CHECK, message, None);
    }
    let of_pod = as_pod(connection, environment, findings).await;
    let of_user = match &environment.address {
        Some(address) => user_way::reach(address, environment, findings).await,
        None => None,
    };
    compare(of_pod.as_ref(), of_user.as_ref(), findings);
    Ways { of_pod, of_user }
}

/// As the pod does it: at the connection's address, or through a forward of this machine to it.
async fn as_pod(connection: &Connection, environment: &Environment, findings: &mut Findings) -> Option<Reached> {
    let own = &connection.address;
    let forwarded = environment.address.as_ref().filter(|given| is_forward(given, own));
    let dialled = forwarded.unwrap_or(own);
    match reachable(dialled).await {
        Ok(address) => {
            let way = Way {
                connection,
                dialled,
                address,
            };
            way.by_connection(findings).await
        }
        Err(Unreachable::Closed(why)) if forwarded.is_none() => {
            let look = format!("curl -ik {}", quote(&format!("{dialled}/v1/sys/health")));
            findings.fault(CHECK, why, forward(connection).or(Some(look)));
            None
        }
        Err(Unreachable::Closed(why) | Unreachable::NotFromHere(why)) => {
            let message = format!(
                "{why}: whether the pod reaches the server, and trusts it, is not seen. Set VAULT_ADDR to a way to the server, such as a port-forward"
            );
            findings.unseen(CHECK, message, forward(connection));
            None
        }
    }
}

/// Two servers of two clusters: what the user's token sees is not what the pod meets.
fn compare(of_pod: Option<&Reached>, of_user: Option<&Reached>, findings: &mut Findings) {
    let cluster = |reached: &Reached| reached.health.body["cluster_id"].as_str().map(str::to_owned);
    let (Some(of_pod), Some(of_user)) = (of_pod.and_then(cluster), of_user.and_then(cluster)) else {
        return;
    };
    if of_pod != of_user {
        let message = "your VAULT_ADDR and the connection's address lead to two servers with different cluster ids: what follows is from yours";
        findings.warning(CHECK, message, None);
    }
}

fn is_same(given: &Address, own: &Address) -> bool {
    given.to_string() == own.to_string()
}

/// Whether the address is one of this machine, so that the server behind it shows what the pod sees.
fn is_forward(given: &Address, own: &Address) -> bool {
    let host = given.host();
    let is_loopback = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    is_loopback && given.is_tls() == own.is_tls() && !is_same(given, own)
}

/// The command that makes the server's Service reachable, if the connection's address is one of a Service.
fn forward(connection: &Connection) -> Option<String> {
    let address = &connection.address;
    let mut labels = address.host().split('.');
    let (service, namespace, kind) = (labels.next()?, labels.next()?, labels.next());
    // The short name of a Service is `vault.vault`.
    (kind.is_none() && service.parse::<u8>().is_err() || kind == Some("svc")).then(|| {
        let scheme = if address.is_tls() { "https" } else { "http" };
        let port = address.port();
        format!(
            "kubectl port-forward -n {} {} {port}:{port} & export VAULT_ADDR={scheme}://127.0.0.1:{port}",
            quote(namespace),
            quote(&format!("svc/{service}"))
        )
    })
}

impl Way<'_> {
    /// As the pod does it.
    async fn by_connection(&self, findings: &mut Findings) -> Option<Reached> {
        let connection = self.connection;
        let name = expected_name(connection);
        let door = Door {
            tls: self.dialled.is_tls(),
            address: self.address,
            name,
            ca: connection.ca.as_deref(),
        };
        let error = match knock(&door, host_header(&connection.address)).await {
            Ok(reached) => return self.accept(reached, findings),
            Err(Unreached::Settings(message)) => {
                findings.fault(CHECK, message, None);
                return None;
            }
            Err(Unreached::Request(error)) => error,
        };
        let dialled = self.dialled;
        let Some(problem) = problem(&error) else {
            findings.fault(CHECK, format!("{dialled} does not answer: {}", causes(&error)), None);
            return None;
        };
        let why = why(&problem, connection);
        findings.fault(CHECK, format!("{dialled}: {why}"), Some(self.mend(&problem)));
        None
    }

    fn accept(&self, reached: Reached, findings: &mut Findings) -> Option<Reached> {
        let (connection, dialled) = (self.connection, self.dialled);
        if !is_vault(&reached) {
            let message = format!(
                "{dialled} answers, but not as Vault or OpenBao do: status {}",
                reached.health.status
            );
            let command = format!("curl -ik {}", quote(&format!("{dialled}/v1/sys/health")));
            let hint = match (dialled.is_tls(), reached.health.status) {
                (false, 400) => ", as a server that wants https",
                (_, 300..400) => ", a redirect, which podkey does not follow",
                _ => "",
            };
            findings.fault(CHECK, format!("{message}{hint}"), Some(command));
            return None;
        }
        let trusted = match (dialled.is_tls(), &connection.ca) {
            (false, _) => "in clear text".to_owned(),
            (true, Some(_)) => format!("with the connection's CA and the name {}", expected_name(connection)),
            (true, None) => format!("with a public CA and the name {}", expected_name(connection)),
        };
        findings.ok(CHECK, format!("the server answers at {dialled} {trusted}"));
        Some(reached)
    }

    /// The command that shows what the operator must change in the connection.
    fn mend(&self, problem: &TlsProblem) -> String {
        let at = format!("{}:{}", self.dialled.host(), self.dialled.port());
        let name = quote(expected_name(self.connection));
        match problem {
            TlsProblem::NoTls => format!("curl -i {}", quote(&format!("http://{at}/v1/sys/health"))),
            TlsProblem::UnknownAuthority => {
                let at = quote(&at);
                format!("openssl s_client -connect {at} -servername {name} -showcerts </dev/null")
            }
            _ => format!(
                "openssl s_client -connect {} -servername {name} </dev/null | openssl x509 -noout -subject -dates -ext subjectAltName",
                quote(&at)
            ),
        }
    }
}

/// Why TLS fails, and what the operator changes.
fn why(problem: &TlsProblem, connection: &Connection) -> String {
    let name = expected_name(connection);
    let of = &connection.name;
    match problem {
        TlsProblem::UnknownAuthority => match &connection.ca {
            Some(_) => {
                format!("none of the authorities in the caFile of the connection {of} signed the server's certificate")
            }
            None => format!("no public authority signed the server's certificate: set caFile of the connection {of}"),
        },
        TlsProblem::WrongName { presented } if presented.is_empty() => {
            format!("the server's certificate is not for the name {name}: set tlsServerName of the connection {of}")
        }
        TlsProblem::WrongName { presented } => format!(
            "the server's certificate is not for the name {name} but for {}: set tlsServerName of the connection {of}",
            presented.join(", ")
        ),
        TlsProblem::Expired => "the server's certificate, or one of its authorities', has expired".to_owned(),
        TlsProblem::NotYetValid => "the server's certificate is not valid yet".to_owned(),
        TlsProblem::NoTls => {
            format!("the server speaks no TLS there, and the address of the connection {of} begins with https")
        }
        TlsProblem::Other(why) => format!("TLS fails: {why}"),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::sync::mpsc;

    use super::super::{examination, server};
    use super::*;
    use crate::plan::Plan;

    /// A server that says to everything that it is a healthy OpenBao, and gives what it was asked.
    fn listening() -> (Address, mpsc::Receiver<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (asked, requests) = mpsc::channel();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut request = [0; 4096];
                let length = stream.read(&mut request).unwrap_or_default();
                if length == 0 {
                    continue;
                }
                let text = String::from_utf8_lossy(request.get(..length).unwrap()).to_lowercase();
                let body = r#"{"initialized": true, "sealed": false, "version": "2.7.2", "data": {}}"#;
                let head = format!(
                    "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
                    body.len()
                );
                // The test reads the channel after the last answer. So the text goes into the channel before the answer goes out.
                let _ = asked.send(text);
                let _ = stream.write_all((head + body).as_bytes());
            }
        });
        (address.parse().unwrap(), requests)
    }

    fn environment(address: Option<Address>) -> Environment {
        Environment {
            address,
            unusable_address: None,
            token: Some("s.root".to_owned().into()),
            ca: None,
            server_name: None,
            namespace: None,
        }
    }

    async fn ask(address: &str, environment: &Environment) -> Findings {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let plan = format!(
            r#"{{"version": 1, "connection": {{"name": "default", "address": "{address}", "allowInsecureHttp": true}}, "budget": "1m", "files": []}}"#
        );
        let plan: Plan = serde_json::from_str(&plan).unwrap();
        let mut findings = Findings::default();
        let ways = check(&plan.connection, environment, &mut findings).await;
        if let Some(reached) = ways.anonymous() {
            let command = server::check(&reached.health, &plan, environment, &mut findings).unwrap();
            let _ = examination::user(ways.of_user.as_ref(), &plan, environment, &command, &mut findings).await;
        }
        findings
    }

    #[tokio::test]
    async fn a_pod_made_by_hand_cannot_name_the_host_that_gets_the_users_token() {
        let (address, requests) = listening();
        let own = address.to_string();
        ask("http://evil.invalid", &environment(Some(address))).await;
        let requests: Vec<String> = requests.try_iter().collect();
        let host = own.trim_start_matches("http://");
        let with_token: Vec<&String> = requests.iter().filter(|request| request.contains("s.root")).collect();
        assert!(!with_token.is_empty(), "{requests:?}");
        for request in with_token {
            assert!(request.contains(&format!("host: {host}\r\n")), "{request}");
            assert!(!request.contains("evil"), "{request}");
        }
    }

    #[tokio::test]
    async fn the_plans_own_address_gets_no_token_of_the_user() {
        let (evil, requests) = listening();
        let (good, _asked) = listening();
        ask(&evil.to_string(), &environment(None)).await;
        ask(&evil.to_string(), &environment(Some(good))).await;
        assert!(requests.try_iter().all(|request| !request.contains("s.root")));
    }

    #[tokio::test]
    async fn a_name_that_only_the_cluster_knows_is_no_fault() {
        for address in ["http://vault.vault.invalid:8200", "http://vault.internal.invalid"] {
            let findings = ask(address, &environment(None)).await;
            assert!(!findings.has_fault(), "{findings:?}");
            assert!(findings.all()[0].message.contains("Set VAULT_ADDR"), "{findings:?}");
        }
    }
}
