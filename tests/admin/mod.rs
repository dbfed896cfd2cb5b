//! The admin port: who may ask it, what it tells, and what it does.

mod api;
mod entry;
mod probes;
mod rough;

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use serde_json::Value;

use crate::harness::client::{json, send, text};
use crate::harness::process::Process;
use crate::harness::vendors::{config, route};

const TOKEN: &str = "adm1n-t0ken-of-the-tests";

/// Paths for which no token is asked.
pub(crate) const HEALTH: &[&str] = &["/healthz", "/livez", "/readyz"];
/// Paths for which one is.
pub(crate) const OTHERS: &[(&str, &str)] = &[
    ("GET", "/"),
    ("GET", "/status.css"),
    ("GET", "/status.js"),
    ("GET", "/metrics"),
    ("GET", "/api/v1/status"),
    ("POST", "/api/v1/reload"),
    ("POST", "/api/v1/credentials/none/refresh"),
    ("GET", "/nowhere"),
];

/// An admin port on a free port, with these further fields.
fn admin(more: &str) -> String {
    format!("admin: {{address: '127.0.0.1:0'{more}}}\n")
}

/// An admin port beside a route that answers by itself.
fn small(more: &str) -> String {
    format!("{}routes: [{{name: a, respond: 204}}]\n", admin(more))
}

/// A request with the token.
async fn ask(address: SocketAddr, method: &str, path: &str) -> Response<Bytes> {
    let request = Request::builder().method(method).uri(path).header("authorization", format!("Bearer {TOKEN}"));
    send(address, request.body(Full::default()).unwrap()).await
}

async fn status(address: SocketAddr) -> Value {
    let answer = ask(address, "GET", "/api/v1/status").await;
    assert_eq!(answer.status(), 200, "{}", text(&answer));
    json(&answer)
}

/// The credential of this name.
async fn credential(address: SocketAddr, name: &str) -> Value {
    let status = status(address).await;
    let all = status["credentials"].as_array().unwrap();
    all.iter().find(|credential| credential["name"] == name).unwrap_or_else(|| panic!("no {name}: {status}")).clone()
}
