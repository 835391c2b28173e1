//! HTTP: metrics for Prometheus, health for whoever starts and restarts us.
//!
//! | path | answer |
//! |---|---|
//! | `/metrics` | every metric, OpenMetrics text |
//! | `/healthz` | 200 while the process runs |
//! | `/readyz` | 200 when statements are served, 503 while recovering |

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::serve::Listener;
use prometheus_client::registry::Registry;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, Sleep};

use crate::error::Result;
use crate::server::{Crowd, Place};

/// What the pages read.
#[derive(Clone)]
pub struct Pages {
    pub metrics: Arc<Registry>,
    /// Or why not.
    pub ready: Arc<dyn Fn() -> Result<()> + Send + Sync>,
}

/// Connections at once.
const MOST: usize = 256;
/// How long a client may take to ask, and to take a piece of its answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Serves until `stop` turns true.
pub async fn serve(listener: TcpListener, pages: Pages, mut stop: watch::Receiver<bool>) {
    let stopped = async move {
        let _ = stop.wait_for(|stop| *stop).await;
    };
    if let Err(error) =
        axum::serve(Door { listener, crowd: Crowd::new(MOST) }, router(pages)).with_graceful_shutdown(stopped).await
    {
        tracing::error!(%error, "the HTTP port is no longer served");
    }
}

/// Lets so many in; whoever comes when all places are taken gets the next one that comes free, or the place of whoever has been
/// there longest.
struct Door {
    listener: TcpListener,
    crowd: Arc<Crowd>,
}

impl Listener for Door {
    type Io = Visitor;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Visitor, SocketAddr) {
        self.crowd.room().await;
        let (socket, address) = Listener::accept(&mut self.listener).await;
        let until = Box::pin(tokio::time::sleep(PATIENCE));
        (Visitor { socket, until, place: self.crowd.enter(), over: false }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that ends when it does nothing that counts for too long, or its place is needed.
struct Visitor {
    socket: TcpStream,
    /// By then a piece of an answer must have been taken.
    until: Pin<Box<Sleep>>,
    place: Place,
    over: bool,
}

impl Visitor {
    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        self.over = self.over
            || self.until.as_mut().poll(context).is_ready()
            || Pin::new(self.place.lost()).poll(context).is_ready();
        if self.over { Err(io::ErrorKind::TimedOut.into()) } else { Ok(()) }
    }
}

impl AsyncRead for Visitor {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.socket).poll_read(context, into)
    }
}

impl AsyncWrite for Visitor {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.check(context)?;
        let written = std::task::ready!(Pin::new(&mut self.socket).poll_write(context, bytes))?;
        self.until.as_mut().reset(Instant::now() + PATIENCE);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}

fn router(pages: Pages) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .with_state(pages)
}

async fn metrics(State(pages): State<Pages>) -> impl IntoResponse {
    // Some numbers are asked of the engine's threads, which may have to finish a step first.
    let encoded = tokio::task::spawn_blocking(move || {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &pages.metrics).map(|()| text)
    });
    match encoded.await {
        Ok(Ok(text)) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            (StatusCode::OK, [(header::CONTENT_TYPE, kind)], text)
        }
        _ => {
            let kind = "text/plain";
            (StatusCode::INTERNAL_SERVER_ERROR, [(header::CONTENT_TYPE, kind)], "metrics can't be written\n".into())
        }
    }
}

async fn ready(State(pages): State<Pages>) -> impl IntoResponse {
    match (pages.ready)() {
        Ok(()) => (StatusCode::OK, "ready\n".to_string()),
        Err(error) => match error.detail() {
            None => (StatusCode::SERVICE_UNAVAILABLE, "recovering\n".to_string()),
            Some(detail) => (StatusCode::SERVICE_UNAVAILABLE, format!("recovering: {detail}\n")),
        },
    }
}
