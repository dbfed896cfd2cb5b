//! Connections to the upstream: used again, found closed, and what may be sent twice.

use std::collections::HashMap;
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
async fn requests_one_after_the_other_share_a_connection_and_routes_with_other_credentials_do_not() {
    let upstream = Wire::ok().await;
    let yaml = format!(
        "credentials:\n  a: {{provider: static, token: A}}\n  b: {{provider: static, token: B}}\nroutes:\n\
         \x20 - {{name: a, match: {{path: /a}}, upstream: {0}, credential: a}}\n\
         \x20 - {{name: a2, match: {{path: /a2}}, upstream: {0}, credential: a}}\n\
         \x20 - {{name: b, match: {{path: /b}}, upstream: {0}, credential: b}}\n",
        upstream.url("")
    );
    let proxy = Proxy::start(&yaml).await;
    for path in ["/a", "/a2", "/b", "/a", "/b"] {
        exchange(proxy.address(), format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
    }
    let connections: Vec<_> = upstream.seen().iter().map(|seen| seen.connection).collect();
    assert_eq!(connections, [0, 0, 1, 0, 1]);
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
async fn only_what_may_be_done_twice_is_sent_again_when_a_used_connection_breaks() {
    for (method, again) in [
        ("GET", true),
        ("HEAD", true),
        ("PUT", true),
        ("DELETE", true),
        ("OPTIONS", true),
        ("POST", false),
        ("PATCH", false),
    ] {
        // The first request of a connection is answered, the second is read and the connection closed.
        let upstream = Wire::start(|mut caller| async move {
            let warm = caller.request().await.unwrap();
            caller.say(if warm.first_line().starts_with("HEAD") { "HTTP/1.1 200 OK\r\n\r\n" } else { OK }).await;
            caller.request().await;
        })
        .await;
        let proxy = Proxy::start(&one_route(&upstream.url(""), "")).await;
        exchange(proxy.address(), "GET /warm HTTP/1.1\r\nHost: x\r\n\r\n").await;
        let answer =
            exchange(proxy.address(), format!("{method} /it HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody"))
                .await;
        let arrived: Vec<_> = upstream.seen().into_iter().filter(|seen| seen.target() == "/it").collect();
        assert!(arrived.iter().all(|seen| seen.text() == "body"), "{method}");
        if again {
            assert_eq!((answer.status(), arrived.len()), (200, 2), "{method}");
        } else {
            assert_eq!((answer.status(), arrived.len()), (502, 1), "{method}");
        }
    }
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
async fn a_thousand_posts_over_dying_connections_have_no_doubled_effect() {
    const POSTS: usize = 1000;
    let handled = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&handled);
    let upstream = Wire::start(move |mut caller| {
        let handled = Arc::clone(&count);
        async move {
            while caller.request().await.is_some() {
                // Every fifth is done and never answered, every seventh is answered and its connection closed.
                let number = handled.fetch_add(1, Ordering::SeqCst);
                if number % 5 == 4 {
                    return;
                }
                caller.say(OK).await;
                if number % 7 == 6 {
                    return;
                }
            }
        }
    })
    .await;
    let proxy = Proxy::start(&one_route(&upstream.url(""), "")).await;
    let address = proxy.address();
    let clients: Vec<_> = (0..10)
        .map(|client| {
            tokio::spawn(async move {
                let mut end = End::connect(address).await;
                let mut good = Vec::new();
                for number in 0..POSTS / 10 {
                    let id = format!("{client}-{number}");
                    end.send(post(&id)).await;
                    match end.answer().await.status() {
                        200 => good.push(id),
                        502 => {}
                        other => panic!("{other}"),
                    }
                }
                good
            })
        })
        .collect();
    let mut good = Vec::new();
    for client in clients {
        good.extend(client.await.unwrap());
    }
    let mut times: HashMap<String, usize> = HashMap::new();
    for seen in upstream.seen() {
        *times.entry(seen.text()).or_default() += 1;
    }
    assert!(times.values().all(|times| *times == 1), "{:?}", times.iter().find(|(_, times)| **times > 1));
    assert!(good.iter().all(|id| times.contains_key(id)));
    assert!(good.len() >= POSTS * 6 / 10, "{}", good.len());
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
