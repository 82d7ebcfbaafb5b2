//! A bound on the connections that are served at a time.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use axum::{Extension, Router};
use axum_server::accept::Accept;
use tokio::sync::Semaphore;

/// Lets no more than so many connections through at a time, once they have shaken hands. The others wait in line; those that
/// only half-open a connection take no place.
#[derive(Debug, Clone)]
pub(super) struct Limited<A> {
    inner: A,
    places: Arc<Semaphore>,
}

impl<A> Limited<A> {
    pub(super) fn new(inner: A, most: usize) -> Self {
        let places = Arc::new(Semaphore::new(most));
        Self { inner, places }
    }
}

impl<A, I> Accept<I, Router> for Limited<A>
where
    A: Accept<I, Router, Service = Router>,
    A::Future: Send + 'static,
    A::Stream: Send,
{
    type Stream = A::Stream;
    type Service = Router;
    type Future = Pin<Box<dyn Future<Output = io::Result<(A::Stream, Router)>> + Send>>;

    fn accept(&self, stream: I, service: Router) -> Self::Future {
        let accepted = self.inner.accept(stream, service);
        let places = self.places.clone();
        Box::pin(async move {
            let (stream, service) = accepted.await?;
            let place = places.acquire_owned().await.map_err(io::Error::other)?;
            // The connection's own copy of the service lives as long as the connection, and with it the place.
            Ok((stream, service.layer(Extension(Arc::new(place)))))
        })
    }
}
