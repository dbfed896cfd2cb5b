//! Connections to the upstream: used again, found closed, and what may be sent twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use crate::answers_of_its_own::is_problem;
use crate::harness::proxy::Proxy;
use crate::harness::raw::{End, Wire, exchange};
use crate::harness::upstream::Upstream;
use crate::harness::yaml::one_route;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn post(body: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

#[tokio::test]
async fn a_post_goes_out_again_unseen_where_the_upstream_had_closed_its_idle_connection() {
    let closed = Arc::new(Notify::new());
    let tell = Arc::clone(&closed);
    let upstream = Wire::start(move |mut caller| {
        let closed = Arc::clone(&tell);
        async move {
            caller.request().await;
            caller.say(OK).await;
            drop(caller);
            closed.notify_one();
        }
    })
    .await;
    let proxy = Proxy::start(&one_route(&upstream.url(""), "")).await;
    let mut client = End::connect(proxy.address()).await;
    for round in 0..20 {
        client.send(post(&format!("{round}"))).await;
        assert_eq!(client.answer().await.status(), 200, "round {round}");
        closed.notified().await;
    }
    let bodies: Vec<_> = upstream.seen().iter().map(super::harness::raw::Message::text).collect();
    assert_eq!(bodies, (0..20).map(|n| n.to_string()).collect::<Vec<_>>(), "each once");
}

#[tokio::test]
async fn a_head_that_goes_again_is_the_same_to_the_last_header() {
    // The second request on a connection breaks it; the third is the second once more, on another connection.
    let upstream = Wire::start(|mut caller| async move {
        while let Some(request) = caller.request().await {
            if request.connection == 0 && request.target() == "/again" {
                return;
            }
            caller.say(OK).await;
        }
    })
    .await;
    let route = one_route(&upstream.url(""), "request_headers: {set: {X-Tenant: a}}");
    let proxy = Proxy::start(&route).await;
    let mut client = End::connect(proxy.address()).await;
    let many: String = (0..30).map(|n| format!("X-Own-{n}: {}\r\n", "v".repeat(n * 20))).collect();
    for target in ["/", "/again"] {
        let lines = format!("Cookie: a=1\r\nX-Twice: 1\r\nX-Twice: 2\r\nX-Empty:\r\n{many}");
        client.send(format!("GET {target} HTTP/1.1\r\nHost: x\r\n{lines}\r\n")).await;
        assert_eq!(client.answer().await.status(), 200, "{target}");
    }
    let heads: Vec<String> = upstream.seen().into_iter().map(|request| request.head).collect();
    let [_, first, second] = heads.as_slice() else { panic!("{heads:#?}") };
    assert!(first.contains("\r\nX-Own-29: v") && first.contains("\r\nX-Tenant: a"), "{first}");
    assert_eq!(sorted(first), sorted(second));
}

fn sorted(head: &str) -> Vec<&str> {
    let mut lines: Vec<_> = head.split("\r\n").collect();
    lines.sort_unstable();
    lines
}

#[tokio::test]
async fn a_fresh_connection_that_breaks_is_the_upstreams_answer() {
    let upstream = Wire::start(|mut caller| async move {
        caller.request().await;
    })
    .await;
    let proxy = Proxy::start(&one_route(&upstream.url(""), "")).await;
    for _ in 0..2 {
        is_problem(&exchange(proxy.address(), "GET / HTTP/1.1\r\nHost: x\r\n\r\n").await, 502, "upstream_broke_off");
    }
    assert_eq!(upstream.seen().len(), 2);
}

#[tokio::test]
async fn a_connection_is_not_used_again_when_it_has_been_idle_or_alive_for_too_long() {
    for (pool, expected) in [("pool: {idle: 200ms}", 2), ("pool: {age: 200ms}", 2), ("pool: {idle: 1m}", 1)] {
        let upstream = Wire::ok().await;
        let proxy = Proxy::start(&one_route(&format!("{{url: '{}', {pool}}}", upstream.url("")), "")).await;
        for _ in 0..2 {
            assert_eq!(exchange(proxy.address(), post("x")).await.status(), 200);
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        assert_eq!(upstream.accepted(), expected, "{pool}");
    }
}

#[tokio::test]
async fn no_more_connections_are_made_than_the_route_allows() {
    let now = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let (current, highest) = (Arc::clone(&now), Arc::clone(&most));
    let upstream = Wire::start(move |mut caller| {
        let (now, most) = (Arc::clone(&current), Arc::clone(&highest));
        async move {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            while caller.request().await.is_some() {
                tokio::time::sleep(Duration::from_millis(5)).await;
                caller.say(OK).await;
            }
            now.fetch_sub(1, Ordering::SeqCst);
        }
    })
    .await;
    let proxy =
        Proxy::start(&format!("workers: 2\n{}", one_route(&upstream.url(""), "limits: {connections: 2}"))).await;
    let address = proxy.address();
    let clients: Vec<_> =
        (0..20).map(|_| tokio::spawn(async move { exchange(address, post("x")).await.status() })).collect();
    for client in clients {
        assert_eq!(client.await.unwrap(), 200);
    }
    assert!(most.load(Ordering::SeqCst) <= 2, "{most:?}");
}

#[tokio::test]
async fn a_request_that_is_sent_again_after_a_refusal_has_its_whole_patience() {
    let tokens = Upstream::answering(|_| {
        http::Response::builder()
            .header("content-type", "application/json")
            .body("{\"access_token\":\"t\",\"token_type\":\"Bearer\",\"expires_in\":3600}".into())
            .unwrap()
    })
    .await;
    let count = Arc::new(AtomicUsize::new(0));
    let upstream = Wire::start(move |mut caller| {
        let count = Arc::clone(&count);
        async move {
            while caller.request().await.is_some() {
                if count.fetch_add(1, Ordering::SeqCst) == 0 {
                    caller.say("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n").await;
                } else {
                    // Longer than `timeouts.body`, within `timeouts.response`.
                    tokio::time::sleep(Duration::from_millis(800)).await;
                    caller.say(OK).await;
                }
            }
        }
    })
    .await;
    let yaml = format!(
        "credentials:\n  c: {{provider: oauth2, token_url: '{}', client_id: a, client_secret: b}}\n\
         routes:\n  - {{name: r, upstream: {}, credential: c, timeouts: {{body: 300ms, response: 5s}}}}\n",
        tokens.url("/token"),
        upstream.url("")
    );
    let proxy = Proxy::start(&yaml).await;
    let answer = exchange(proxy.address(), post("body")).await;
    assert_eq!(answer.status(), 200, "{answer:?}");
    let bodies: Vec<_> = upstream.seen().iter().map(super::harness::raw::Message::text).collect();
    assert_eq!(bodies, ["body", "body"]);
}
