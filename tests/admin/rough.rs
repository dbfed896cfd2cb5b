//! Clients that are slow, many, or make no sense.

use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::*;
use crate::harness::client::{get, raw};
use crate::harness::proxy::Proxy;
use crate::harness::raw::{End, exchange};

#[tokio::test]
async fn what_makes_no_sense_is_refused_and_the_next_is_served() {
    let proxy = Proxy::start(&small("")).await;
    let long = "x".repeat(64 << 10);
    for (bytes, statuses) in [
        (format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: {long}\r\n\r\n"), &[431][..]),
        (format!("GET /{long} HTTP/1.1\r\nHost: localhost\r\n\r\n"), &[414, 431]),
        ("\x16\x03\x01\x02".repeat(20), &[400]),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), &[400, 505]),
        ("GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n".to_owned(), &[400]),
        ("CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), &[404, 405]),
    ] {
        let answer = raw(proxy.admin(), &bytes).await;
        // Some of it makes so little sense that the connection is closed.
        let status = answer.split(' ').nth(1).map_or(0, |status| status.parse().unwrap());
        assert!(status == 0 || statuses.contains(&status), "{}: {answer}", &bytes[..20]);
        assert_eq!(get(proxy.admin(), "/healthz").await.status(), 200);
    }
}

#[tokio::test]
async fn a_body_is_bounded_and_of_no_use() {
    let proxy = Proxy::start(&small("")).await;
    let post = |length: usize| {
        let body = "x".repeat(length);
        let head = format!(
            "POST /api/v1/reload HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        );
        exchange(proxy.admin(), head + &body)
    };
    assert_eq!(post(64 << 10).await.status(), 200);
    let refused = post((64 << 10) + 1).await;
    assert_eq!((refused.status(), refused.json()["code"].as_str()), (413, Some("body_too_large")));
}

#[tokio::test]
async fn a_crowd_that_says_nothing_keeps_no_probe_out() {
    let proxy = Proxy::start(&small("")).await;
    let mut crowd = Vec::new();
    for number in 0..300 {
        let mut stream = TcpStream::connect(proxy.admin()).await.unwrap();
        // A part of a head, or nothing.
        if number % 2 == 0 {
            stream.write_all(b"GET /healthz HTTP/1.1\r\nHo").await.unwrap();
        }
        crowd.push(stream);
    }
    let began = Instant::now();
    assert_eq!(get(proxy.admin(), "/readyz").await.status(), 200);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    let mut oldest = End::over(crowd.remove(0));
    // Sooner than a head that does not come would close it.
    let over = tokio::time::timeout(Duration::from_secs(10), oldest.is_over()).await;
    assert_eq!(over, Ok(true), "the oldest had to go");
    assert_eq!(get(proxy.address(), "/").await.status(), 204);
}
