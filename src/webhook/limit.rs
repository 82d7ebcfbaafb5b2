//! Bounds on the connections that are open at a time, one for each listener: what many of them hold would fill the memory.

use std::collections::VecDeque;
use std::future::{Future, Ready, ready};
use std::io;
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use axum::{Extension, Router};
use axum_server::accept::Accept;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

/// Lets no more than so many connections through at a time, once they have shaken hands. Whoever comes later is cut off: to
/// wait in line would take as much memory. So the API server keeps the connections that it has. Those that only half-open
/// a connection take no place; of them, the newest as many are kept.
#[derive(Debug, Clone)]
pub(super) struct Limited<A> {
    inner: A,
    shaking_hands: Newest,
    places: Arc<Semaphore>,
}

impl<A> Limited<A> {
    pub(super) fn new(inner: A, most: usize) -> Self {
        Self {
            inner,
            shaking_hands: Newest::new(most),
            places: Arc::new(Semaphore::new(most)),
        }
    }
}

impl<A> Accept<TcpStream, Router> for Limited<A>
where
    A: Accept<TcpStream, Router, Service = Router> + Clone + Send + 'static,
    A::Future: Send + 'static,
    A::Stream: Send,
{
    type Stream = A::Stream;
    type Service = Router;
    type Future = Pin<Box<dyn Future<Output = io::Result<(A::Stream, Router)>> + Send>>;

    fn accept(&self, stream: TcpStream, service: Router) -> Self::Future {
        let entered = self.shaking_hands.enter(stream);
        let (inner, places) = (self.inner.clone(), self.places.clone());
        Box::pin(async move {
            let (stream, handle) = entered?;
            let (stream, service) = inner.accept(stream, service).await?;
            drop(handle);
            let place = places.try_acquire_owned().map_err(io::Error::other)?;
            // The connection's own copy of the service lives as long as the connection, and with it the place.
            Ok((stream, service.layer(Extension(Arc::new(place)))))
        })
    }
}

/// Keeps the newest so many connections, and cuts off the one that was opened first: whoever opens many and stays silent
/// keeps nobody out that comes later, such as the kubelet with its probes, which are answered at once.
#[derive(Debug, Clone)]
pub(super) struct Newest {
    most: usize,
    /// In the order they came, for as long as they count.
    open: Arc<Mutex<VecDeque<Weak<std::net::TcpStream>>>>,
}

impl Newest {
    pub(super) fn new(most: usize) -> Self {
        let open = Arc::default();
        Self { most, open }
    }

    /// The connection counts until the handle that comes with it is dropped.
    fn enter(&self, stream: TcpStream) -> io::Result<(TcpStream, Arc<std::net::TcpStream>)> {
        let stream = stream.into_std()?;
        let handle = Arc::new(stream.try_clone()?);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|other| other.strong_count() > 0);
        open.push_back(Arc::downgrade(&handle));
        if open.len() > self.most
            && let Some(first) = open.pop_front().and_then(|first| first.upgrade())
        {
            // It may have ended by itself.
            let _ = first.shutdown(Shutdown::Both);
        }
        Ok((TcpStream::from_std(stream)?, handle))
    }
}

impl Accept<TcpStream, Router> for Newest {
    type Stream = TcpStream;
    type Service = Router;
    type Future = Ready<io::Result<(TcpStream, Router)>>;

    fn accept(&self, stream: TcpStream, service: Router) -> Self::Future {
        // The connection's own copy of the service lives as long as the connection, and with it the handle.
        let entered = self.enter(stream);
        ready(entered.map(|(stream, handle)| (stream, service.layer(Extension(handle)))))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn only_the_newest_connections_stay_open_and_those_that_ended_do_not_count() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let newest = Newest::new(2);
        let enter = async || {
            let client = TcpStream::connect(address).await.unwrap();
            let (server, _) = listener.accept().await.unwrap();
            let (server, handle) = newest.enter(server).unwrap();
            (client, server, handle)
        };
        // A connection that is cut off takes nothing from its server, and its client finds the end.
        let arrives = async |(client, server, _): &mut (TcpStream, TcpStream, _)| {
            let _ = server.write_all(b"x").await;
            let read = timeout(Duration::from_secs(20), client.read(&mut [0])).await;
            read.unwrap().unwrap() == 1
        };
        let mut first = enter().await;
        drop(enter().await);
        let mut third = enter().await;
        assert!(
            arrives(&mut first).await,
            "the second has ended, and this is one of two"
        );
        let mut fourth = enter().await;
        assert!(!arrives(&mut first).await, "the oldest of three");
        assert!(arrives(&mut third).await && arrives(&mut fourth).await);
        assert_eq!(newest.open.lock().unwrap().len(), 2);
    }
}
