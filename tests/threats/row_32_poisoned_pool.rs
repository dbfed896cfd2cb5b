//! Row 32: a connection to the upstream that is out of step, or another's.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::harness::proxy::Proxy;
use crate::harness::raw::{End, Wire, exchange};
use crate::harness::yaml::one_route;

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

/// As with NTLM: who has logged in on a connection is let in on it. Requests without that credential
/// must not come over it, whatever route they take to the same upstream.
#[tokio::test]
async fn a_connection_that_was_let_in_with_one_credential_is_closed_to_requests_with_another_or_none() {
    let upstream = Wire::start(|mut caller| async move {
        let mut let_in: Option<String> = None;
        while let Some(request) = caller.request().await {
            let credential = request.header("authorization").unwrap_or("nobody").to_owned();
            let user = let_in.get_or_insert(credential);
            caller.say(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{user}", user.len())).await;
        }
    })
    .await;
    let yaml = format!(
        "credentials:\n  a: {{provider: static, token: A}}\n  b: {{provider: static, token: B}}\nroutes:\n\
         \x20 - {{name: a, match: {{path: /a}}, upstream: {0}, credential: a}}\n\
         \x20 - {{name: b, match: {{path: /b}}, upstream: {0}, credential: b}}\n\
         \x20 - {{name: open, match: {{path: /none}}, upstream: {0}, credential: none}}\n",
        upstream.url("")
    );
    let proxy = Proxy::start(&yaml).await;
    for round in 0..5 {
        for (path, user) in [("/a", "Bearer A"), ("/none", "nobody"), ("/b", "Bearer B"), ("/none", "nobody")] {
            let answer = exchange(proxy.address(), format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
            assert_eq!(answer.text(), user, "{path} {round}");
        }
    }
    assert_eq!(upstream.accepted(), 3, "one a credential");
}

#[tokio::test]
async fn nobody_gets_anothers_answer_from_an_upstream_that_now_and_then_says_too_much_or_too_little() {
    const REQUESTS: usize = 800;
    let count = Arc::new(AtomicUsize::new(0));
    let its = Arc::clone(&count);
    let upstream = Wire::start(move |mut caller| {
        let count = Arc::clone(&its);
        async move {
            while let Some(request) = caller.request().await {
                let target = request.target();
                let body = format!("Content-Length: {}\r\n\r\n{target}", target.len());
                let ok = format!("HTTP/1.1 200 OK\r\n{body}");
                let evil = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL";
                match count.fetch_add(1, Ordering::SeqCst) % 12 {
                    0 => caller.say(format!("{ok}{evil}")).await,
                    2 => caller.say(format!("HTTP/1.1 204 No Content\r\n\r\n{evil}")).await,
                    4 => caller.say(format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: cow\r\n{body}{evil}")).await,
                    6 => {
                        caller.say("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nhalf").await;
                        return;
                    }
                    8 => {
                        caller
                            .say(format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\nEVIL{evil}"))
                            .await;
                    }
                    10 => caller.say(format!("{ok}HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n")).await,
                    _ => caller.say(ok).await,
                }
            }
        }
    })
    .await;
    let proxy = Proxy::start(&one_route(&upstream.url(""), "")).await;
    let address = proxy.address();
    let clients: Vec<_> = (0..8)
        .map(|client| {
            tokio::spawn(async move {
                let (mut own, mut end) = (0, End::connect(address).await);
                for number in 0..REQUESTS / 8 {
                    let target = format!("/{client}/{number}");
                    end.send(format!("POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")).await;
                    let answer = end.answer_if_any("POST").await;
                    let whole = answer.as_ref().is_some_and(|answer| answer.whole);
                    match answer {
                        Some(answer) if whole && answer.status() == 200 => {
                            assert_eq!(answer.text(), target);
                            own += 1;
                        }
                        Some(answer) => assert!(!whole || [204, 502].contains(&answer.status()), "{answer:?}"),
                        None => {}
                    }
                    if !whole {
                        end = End::connect(address).await;
                    }
                }
                own
            })
        })
        .collect();
    let mut own = 0;
    for client in clients {
        own += client.await.unwrap();
    }
    assert!(own >= REQUESTS / 2, "{own}");
}
