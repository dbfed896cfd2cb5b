//! Row 3: an answer before the request's body has come. What is left of the body is never a request.

use std::time::{Duration, Instant};

use crate::answers_of_its_own::dead;
use crate::harness::eventually;
use crate::harness::proxy::Proxy;
use crate::harness::raw::{End, Wire, exchange, soon};
use crate::harness::yaml::{one_route, routes};

#[tokio::test]
async fn a_refused_body_is_never_read_as_the_next_request() {
    let upstream = Wire::ok().await;
    let yaml = routes(&format!(
        "- {{name: key, match: {{path: /key}}, upstream: {0}, credential: fixed, access: {{api_keys: [{{name: a, key: k3y}}]}}}}\n\
         - {{name: small, match: {{path: /small}}, upstream: {0}, credential: fixed, limits: {{body: 16}}}}\n\
         - {{name: dead, match: {{path: /dead}}, upstream: '{1}', credential: fixed}}\n\
         - {{name: no, match: {{path: /no}}, respond: 403}}\n\
         - {{name: rare, match: {{path: /rare}}, upstream: {0}, credential: fixed, limits: {{rate: 1/h}}}}\n\
         - {{name: slow, match: {{path: /slow}}, upstream: {0}, credential: fixed, timeouts: {{body: 200ms}}}}\n\
         - {{name: ok, match: {{path: /ok}}, upstream: {0}, credential: fixed}}\n",
        upstream.url(""),
        dead().await,
    ));
    let proxy = Proxy::start(&yaml).await;
    assert_eq!(exchange(proxy.address(), "GET /rare HTTP/1.1\r\nHost: x\r\n\r\n").await.status(), 200);
    let smuggled = "GET /ok/smuggled HTTP/1.1\r\nHost: x\r\n\r\n";
    // Too slow: what comes behind the answer is the body's rest.
    let mut client = End::connect(proxy.address()).await;
    client.send("POST /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n").await;
    assert_eq!(client.head().await.unwrap().status(), 408);
    client.send(smuggled).await;
    client.rest_until_quiet().await;
    for (path, status) in [
        ("/key", 401),
        ("/small", 413),
        ("/dead", 502),
        ("/no", 403),
        ("/rare", 429),
        ("/nowhere", 404),
        ("/a/../b", 400),
    ] {
        for late in [false, true] {
            let mut client = End::connect(proxy.address()).await;
            let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", smuggled.len());
            let next = "GET /ok/next HTTP/1.1\r\nHost: x\r\n\r\n";
            if late {
                client.send(&head).await;
                assert_eq!(client.head().await.unwrap().status(), status, "{path}");
                client.send(format!("{smuggled}{next}")).await;
            } else {
                client.send(format!("{head}{smuggled}{next}")).await;
                assert_eq!(client.answer().await.status(), status, "{path}");
            }
            // Whether the connection lives on or not: what came as a body is no request.
            client.rest_until_quiet().await;
            let seen = upstream.seen();
            assert!(seen.iter().all(|seen| !seen.target().contains("smuggled")), "{path} {late}: {seen:?}");
        }
    }
    assert!(
        upstream.seen().iter().any(|seen| seen.target() == "/next"),
        "a small body is skipped, and the next served"
    );
}

#[tokio::test]
async fn a_large_refused_upload_still_gets_its_answer() {
    let upstream = Wire::ok().await;
    let proxy = Proxy::start(&one_route(&upstream.url(""), "limits: {body: 1KiB}")).await;
    // A client that writes everything before it reads, as many do.
    let body = vec![b'x'; 4 << 20];
    for head in [
        format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len()),
        format!("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n", body.len()),
        format!("POST /.. HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len()),
    ] {
        let mut client = End::connect(proxy.address()).await;
        client.send(&head).await;
        assert!(soon("the upload", client.send_all(&body)).await, "the connection was reset: {head}");
        assert!([413, 400].contains(&client.answer().await.status()));
        assert!(client.is_over().await, "the rest of the body was not read");
    }
}

#[tokio::test]
async fn a_chunked_body_behind_a_refusal_is_no_request_either() {
    let upstream = Wire::ok().await;
    let yaml = routes(&format!(
        "- {{name: key, match: {{path: /key}}, upstream: {0}, credential: fixed, access: {{api_keys: [{{name: a, key: k3y}}]}}}}\n\
         - {{name: small, match: {{path: /small}}, upstream: {0}, credential: fixed, limits: {{body: 16}}}}\n\
         - {{name: no, match: {{path: /no}}, respond: 403}}\n\
         - {{name: ok, match: {{path: /ok}}, upstream: {0}, credential: fixed}}\n",
        upstream.url("")
    ));
    let proxy = Proxy::start(&yaml).await;
    let smuggled = "GET /ok/smuggled HTTP/1.1\r\nHost: x\r\n\r\n";
    let next = "GET /ok/next HTTP/1.1\r\nHost: x\r\n\r\n";
    for (path, status) in [("/key", 401), ("/small", 413), ("/no", 403), ("/nowhere", 404), ("/a/../b", 400)] {
        for (body, whole) in [
            (format!("{:x}\r\n{smuggled}\r\n0\r\n\r\n", smuggled.len()), true),
            // Chunks that break off into a request, or are none at all.
            (format!("1\r\nx\r\n{smuggled}"), false),
            (smuggled.to_owned(), false),
            (format!("0\r\n{smuggled}"), false),
        ] {
            let mut client = End::connect(proxy.address()).await;
            client
                .send(format!("POST {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{body}{next}"))
                .await;
            // What is no chunk may be found out before anything else is.
            let found = client.answer().await.status();
            assert!(found == status || (!whole && found == 400), "{path} {body:?}: {found}");
            let behind = String::from_utf8_lossy(&client.rest_until_quiet().await).into_owned();
            // The next answer is the next request's, or there is none.
            assert!(behind.is_empty() || (whole && behind.ends_with("ok")), "{path} {body:?}: {behind}");
        }
    }
    let seen = upstream.seen();
    assert!(seen.iter().all(|seen| !seen.target().contains("smuggled")), "{seen:?}");
}

#[tokio::test]
async fn a_body_behind_an_upstreams_early_answer_is_nobodys_request_to_a_careless_upstream() {
    // Answers from the head alone, and reads what comes then as the next head; in its own time.
    let upstream = Wire::start(|mut caller| async move {
        while let Some(head) = caller.head().await {
            let target = head.target();
            if target == "/smuggled" {
                tokio::time::sleep(Duration::from_millis(150)).await;
            }
            caller.say(format!("HTTP/1.1 403 No\r\nContent-Length: {}\r\n\r\n{target}", target.len())).await;
        }
    })
    .await;
    let proxy = Proxy::start(&one_route(&upstream.url(""), "")).await;
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n";
    for round in 0..5 {
        let mut client = End::connect(proxy.address()).await;
        let length = smuggled.len();
        client.send(format!("POST /first{round} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n")).await;
        let early = client.answer().await;
        assert_eq!((early.status(), early.text()), (403, format!("/first{round}")));
        client.send(smuggled).await;
        eventually("the body", || upstream.seen().iter().filter(|s| s.target() == "/smuggled").count() > round).await;
        // Nobody else's request goes out behind that body.
        for other in 0..2 {
            let target = format!("/other{round}/{other}");
            let answer = exchange(proxy.address(), format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
            assert_eq!(answer.text(), target);
        }
        client.send(format!("GET /next{round} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
        if let Some(next) = client.answer_if_any("GET").await {
            assert_eq!(next.text(), format!("/next{round}"));
        }
    }
}

#[tokio::test]
async fn a_body_that_is_sent_on_behind_its_refusal_is_read_for_a_while_and_no_longer() {
    let upstream = Wire::ok().await;
    let proxy = Proxy::start(&one_route(&upstream.url(""), "limits: {body: 1KiB}")).await;
    let began = Instant::now();
    let mut client = End::connect(proxy.address()).await;
    client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n").await;
    assert_eq!(client.answer().await.status(), 413);
    // Both a client that drips and one that pours are let go.
    while client.send_all(b"x").await {
        assert!(began.elapsed() < Duration::from_secs(20), "still read");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(upstream.seen().is_empty());
}
