//! HTTP: metrics for Prometheus, health for whoever starts and restarts us.
//!
//! | path | answer |
//! |---|---|
//! | `/metrics` | every metric, OpenMetrics text |
//! | `/healthz` | 200 while the process runs |
//! | `/readyz` | 200 when statements are served, 503 while recovering |

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::error::Result;

/// What the pages read.
#[derive(Clone)]
pub struct Pages {
    pub metrics: Arc<Registry>,
    /// Or why not.
    pub ready: Arc<dyn Fn() -> Result<()> + Send + Sync>,
}

/// Serves until `stop` turns true.
pub async fn serve(listener: TcpListener, pages: Pages, mut stop: watch::Receiver<bool>) {
    let stopped = async move {
        let _ = stop.wait_for(|stop| *stop).await;
    };
    if let Err(error) = axum::serve(listener, router(pages)).with_graceful_shutdown(stopped).await {
        tracing::error!(%error, "the HTTP port is no longer served");
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
