//! What the tests enter by: the proxy in this process or as one of its own, upstreams that record
//! what reached them, and clients down to the raw socket.
#![allow(dead_code, reason = "each module of the binary uses its own part of the harness")]

pub mod bystanders;
pub mod client;
pub mod collector;
pub mod crowd;
pub mod editor;
pub mod egress;
pub mod flood;
pub mod frames;
pub mod habits;
pub mod issuer;
pub mod load;
pub mod mix;
pub mod nobody;
pub mod process;
pub mod proxy;
pub mod raw;
pub mod redis;
pub mod secrets;
pub mod soak;
pub mod terminal;
pub mod tls;
pub mod upstream;
pub mod vendors;
pub mod yaml;

use std::time::{Duration, Instant};

/// Waits until `condition` holds; fails, saying `what`, after ten seconds.
pub async fn eventually(what: &str, condition: impl FnMut() -> bool) {
    eventually_within(Duration::from_secs(10), what, condition).await;
}

/// The same with another patience.
pub async fn eventually_within(patience: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + patience;
    while !condition() {
        assert!(Instant::now() < deadline, "not within {patience:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
