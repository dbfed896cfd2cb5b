//! What the tests enter by: the proxy in this process or as one of its own, upstreams that record
//! what reached them, and clients down to the raw socket.
#![allow(dead_code, reason = "each module of the binary uses its own part of the harness")]

pub mod client;
pub mod load;
pub mod mix;
pub mod process;
pub mod proxy;
pub mod raw;
pub mod tls;
pub mod upstream;
pub mod vendors;
pub mod yaml;

use std::time::{Duration, Instant};

/// Waits until `condition` holds; fails, saying `what`, after ten seconds.
pub async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < deadline, "not within ten seconds: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
