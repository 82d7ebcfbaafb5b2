//! A server that does what a real one won't do on demand. It listens on a real socket, plain or TLS, keeps connections
//! alive, remembers every request, and answers as its script says.

use std::io::{BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::http::Request;

/// Writes what it likes.
pub type Act = Box<dyn FnOnce(&mut dyn Write)>;

/// How a request is answered.
pub enum Reply {
    /// These bytes, then the next request.
    Bytes(Vec<u8>),
    /// These bytes, then the connection is closed.
    Last(Vec<u8>),
    /// Whatever this does, then the connection is closed.
    Custom(Act),
}

/// The `n`-th request (from 0) gets its reply from this.
pub type Script = dyn Fn(&Request, usize) -> Reply + Send + Sync;

pub struct FakeVault {
    pub port: u16,
    tls: bool,
    requests: Arc<Mutex<Vec<Request>>>,
    connections: Arc<AtomicUsize>,
}

impl FakeVault {
    pub fn plain(script: impl Fn(&Request, usize) -> Reply + Send + Sync + 'static) -> Self {
        Self::start(None, Arc::new(script))
    }

    pub fn tls(config: Arc<ServerConfig>, script: impl Fn(&Request, usize) -> Reply + Send + Sync + 'static) -> Self {
        Self::start(Some(config), Arc::new(script))
    }

    fn start(tls: Option<Arc<ServerConfig>>, script: Arc<Script>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let fake = Self {
            port: listener.local_addr().unwrap().port(),
            tls: tls.is_some(),
            requests: Arc::default(),
            connections: Arc::default(),
        };
        let (requests, connections) = (Arc::clone(&fake.requests), Arc::clone(&fake.connections));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                connections.fetch_add(1, Ordering::SeqCst);
                // Or each handshake would wait for the client's delayed acknowledgement.
                let _ = stream.set_nodelay(true);
                let (tls, script, requests) = (tls.clone(), Arc::clone(&script), Arc::clone(&requests));
                std::thread::spawn(move || match tls {
                    None => serve(BufReader::new(stream), &*script, &requests),
                    Some(config) => {
                        let connection = ServerConnection::new(config).unwrap();
                        serve(
                            BufReader::new(StreamOwned::new(connection, stream)),
                            &*script,
                            &requests,
                        );
                    }
                });
            }
        });
        fake
    }

    pub fn address(&self) -> String {
        format!("{}://127.0.0.1:{}", if self.tls { "https" } else { "http" }, self.port)
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

trait Closes {
    fn close(&mut self);
}

impl Closes for TcpStream {
    fn close(&mut self) {}
}

impl Closes for StreamOwned<ServerConnection, TcpStream> {
    fn close(&mut self) {
        self.conn.send_close_notify();
        let _ = self.flush();
    }
}

fn serve<S: Read + Write + Closes>(mut stream: BufReader<S>, script: &Script, requests: &Mutex<Vec<Request>>) {
    while let Some(request) = Request::read(&mut stream) {
        let count = {
            let mut all = requests.lock().unwrap();
            all.push(request.clone());
            all.len() - 1
        };
        match script(&request, count) {
            Reply::Bytes(bytes) => {
                if stream.get_mut().write_all(&bytes).is_err() || stream.get_mut().flush().is_err() {
                    return;
                }
            }
            Reply::Last(bytes) => {
                let _ = stream.get_mut().write_all(&bytes);
                let _ = stream.get_mut().flush();
                break;
            }
            Reply::Custom(act) => {
                act(stream.get_mut());
                break;
            }
        }
    }
    stream.get_mut().close();
}

/// An answer with a JSON body.
pub fn json(status: u16, body: &str) -> Reply {
    with_headers(status, "Content-Type: application/json\r\n", body)
}

pub fn with_headers(status: u16, headers: &str, body: &str) -> Reply {
    Reply::Bytes(bytes(status, headers, body))
}

pub fn bytes(status: u16, headers: &str, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status} X\r\nContent-Length: {}\r\n{headers}\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// The client token that the fake gives.
pub const CLIENT_TOKEN: &str = "s.canary-client-token-1";

pub fn login_body() -> String {
    format!(
        r#"{{"request_id":"x","lease_id":"","auth":{{"client_token":"{CLIENT_TOKEN}","accessor":"fake-accessor","policies":["p"],"lease_duration":600,"renewable":true,"token_type":"service"}}}}"#
    )
}

pub fn secret_body(data: &str) -> String {
    format!(
        r#"{{"request_id":"x","lease_id":"","renewable":false,"lease_duration":0,"data":{data},"wrap_info":null,"warnings":null,"auth":null}}"#
    )
}

/// Answers logins and revocations well, and leaves reads to the script, which sees how many came before.
pub fn logged_in(read: impl Fn(&Request, usize) -> Reply + Send + Sync + 'static) -> impl Fn(&Request, usize) -> Reply {
    let reads = AtomicUsize::new(0);
    move |request: &Request, _| {
        if request.target.ends_with("/login") {
            json(200, &login_body())
        } else if request.target.ends_with("/revoke-self") {
            Reply::Bytes(b"HTTP/1.1 204 No Content\r\n\r\n".to_vec())
        } else {
            read(request, reads.fetch_add(1, Ordering::SeqCst))
        }
    }
}
