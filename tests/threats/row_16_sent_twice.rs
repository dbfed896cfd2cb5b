//! Row 16: what must not be done twice. A request that may have been heard is sent again only where
//! doing it twice is doing it once.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::harness::proxy::Proxy;
use crate::harness::raw::{End, Wire, exchange};
use crate::harness::yaml::one_route;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

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

/// Where an upstream ends its connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Ends {
    BeforeTheHead,
    AfterTheHead,
    WithinTheBody,
    BeforeTheAnswer,
    WithinTheAnswersHead,
    WithinTheAnswersBody,
    AfterTheAnswer,
    Not,
}

const ENDS: [Ends; 12] = [
    Ends::BeforeTheHead,
    Ends::AfterTheHead,
    Ends::WithinTheBody,
    Ends::BeforeTheAnswer,
    Ends::WithinTheAnswersHead,
    Ends::WithinTheAnswersBody,
    Ends::AfterTheAnswer,
    Ends::Not,
    Ends::Not,
    Ends::Not,
    Ends::Not,
    Ends::Not,
];

/// What has happened at the upstream, by the request's number.
#[derive(Default)]
struct Effects {
    heard: Mutex<HashMap<String, usize>>,
    done: Mutex<HashMap<String, usize>>,
    ends: Mutex<HashMap<Ends, usize>>,
}

fn note<K: std::hash::Hash + Eq>(counts: &Mutex<HashMap<K, usize>>, key: K) {
    *counts.lock().unwrap().entry(key).or_default() += 1;
}

#[tokio::test]
async fn a_thousand_posts_over_dying_connections_have_no_doubled_effect() {
    const POSTS: usize = 1000;
    const CLIENTS: usize = 10;
    // Long enough to be on its way in pieces.
    const BODY: usize = 40_000;
    let effects = Arc::new(Effects::default());
    let (its, number) = (Arc::clone(&effects), Arc::new(AtomicUsize::new(0)));
    let upstream = Wire::start(move |mut caller| {
        let (effects, number) = (Arc::clone(&its), Arc::clone(&number));
        async move {
            loop {
                let mut rng = fastrand::Rng::with_seed(number.fetch_add(1, Ordering::SeqCst) as u64);
                let ends = ENDS[rng.usize(..ENDS.len())];
                note(&effects.ends, ends);
                if ends == Ends::BeforeTheHead {
                    // Some of it may be in the socket: the other side does not know.
                    if rng.bool() {
                        caller.end.exactly(1).await;
                    }
                    return;
                }
                let Some(head) = caller.head().await else { return };
                let id = head.header("x-id").unwrap().to_owned();
                note(&effects.heard, id.clone());
                if ends == Ends::AfterTheHead {
                    return;
                }
                let want = if ends == Ends::WithinTheBody { rng.usize(..BODY) } else { BODY };
                if caller.end.exactly(want).await.len() < BODY {
                    return;
                }
                note(&effects.done, id);
                let said = match ends {
                    Ends::BeforeTheAnswer => 0,
                    Ends::WithinTheAnswersHead => rng.usize(1..OK.len() - 4),
                    Ends::WithinTheAnswersBody => OK.len() - 1,
                    _ => OK.len(),
                };
                caller.say(&OK[..said]).await;
                if ends != Ends::Not {
                    return;
                }
            }
        }
    })
    .await;
    let proxy = Proxy::start(&one_route(&upstream.url(""), "")).await;
    let address = proxy.address();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            tokio::spawn(async move {
                let (mut end, mut good, body) = (End::connect(address).await, Vec::new(), "x".repeat(BODY));
                for number in 0..POSTS / CLIENTS {
                    let id = format!("{client}-{number}");
                    end.send(format!(
                        "POST / HTTP/1.1\r\nHost: x\r\nX-Id: {id}\r\nContent-Length: {BODY}\r\n\r\n{body}"
                    ))
                    .await;
                    let answer = end.answer_if_any("POST").await;
                    let whole = answer.as_ref().is_some_and(|answer| answer.whole);
                    match answer.map(|answer| answer.status()) {
                        Some(200) if whole => good.push(id),
                        Some(200 | 502) | None => {}
                        Some(other) => panic!("{other}"),
                    }
                    if !whole {
                        end = End::connect(address).await;
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
    let (heard, done) = (effects.heard.lock().unwrap(), effects.done.lock().unwrap());
    println!("{POSTS} POSTs, {} heard of, {} done, {} answered well", heard.len(), done.len(), good.len());
    println!("connections ended: {:?}", effects.ends.lock().unwrap());
    for (what, counts) in [("heard of", &heard), ("done", &done)] {
        let twice: Vec<_> = counts.iter().filter(|(_, times)| **times > 1).collect();
        assert!(twice.is_empty(), "{what} more than once: {twice:?}");
    }
    // Who was told that it is done was told the truth.
    assert!(good.iter().all(|id| done.contains_key(id)));
    assert!(good.len() >= POSTS * 4 / 10, "{}", good.len());
    assert!(done.len() < POSTS, "connections died in time");
}
