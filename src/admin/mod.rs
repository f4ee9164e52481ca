//! The admin listener: `/metrics`, `/live`, `/ready` and `/config` over HTTP, on loopback by default.

mod config;
mod metrics;

use crate::control::{Control, Phase};
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;

/// What Prometheus asks for.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

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
