//! The admin listener: `/metrics`, `/live`, `/ready`, `/config` and `/sessions` over HTTP, on loopback by default.

mod config;
mod metrics;
mod sessions;

use crate::control::{Control, Phase};
use axum::Router;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;

/// What Prometheus asks for.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Sessions of one shard that are shown at most, running and ended: its media waits while they are gathered.
const MOST_SESSIONS: usize = 1_000;

/// Bind the admin address.
///
/// # Errors
/// Those of `bind(2)`.
pub async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Answer until the task is dropped.
///
/// # Errors
/// Those of `accept(2)` that do not pass.
pub async fn serve(listener: TcpListener, control: Arc<Control>) -> io::Result<()> {
    axum::serve(listener, router(control)).await
}

fn router(control: Arc<Control>) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/live", get(live))
        .route("/ready", get(ready))
        .route("/config", get(config))
        .route("/sessions", get(sessions))
        .with_state(control)
}

async fn metrics(State(control): State<Arc<Control>>) -> Response {
    match metrics::render(control) {
        Ok(text) => ([(header::CONTENT_TYPE, OPENMETRICS)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// Alive is whoever answers.
async fn live() -> &'static str {
    "live\n"
}

/// A balancer sends new calls only where this is 200.
async fn ready(State(control): State<Arc<Control>>) -> (StatusCode, &'static str) {
    match control.phase() {
        Phase::Starting => (StatusCode::SERVICE_UNAVAILABLE, "starting\n"),
        Phase::Ready => (StatusCode::OK, "ready\n"),
        Phase::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
    }
}

async fn config(State(control): State<Arc<Control>>) -> Response {
    let text = format!("{:#}\n", config::json(&control.loaded()));
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

/// How many sessions of each shard are shown, running and ended.
#[derive(Debug, serde::Deserialize)]
#[serde(default)]
struct Shown {
    limit: usize,
}

impl Default for Shown {
    fn default() -> Self {
        Self { limit: 100 }
    }
}

async fn sessions(State(control): State<Arc<Control>>, Query(shown): Query<Shown>) -> Response {
    let most = shown.limit.min(MOST_SESSIONS);
    let asked = tokio::task::spawn_blocking(move || {
        format!("{:#}\n", sessions::json(&control.loaded().mapping, &control.sessions(most)))
    });
    match asked.await {
        Ok(text) => ([(header::CONTENT_TYPE, "application/json")], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
