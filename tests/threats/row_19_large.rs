//! Large: head, one header, many headers, URI, trailers, chunk extensions, body. Each has its bound and
//! its answer, and a thousand clients that are stuck before it take little memory.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};

use crate::answers_of_its_own::is_problem;
use crate::harness::process::Process;
use crate::harness::proxy::Proxy;
use crate::harness::raw::{End, Wire, exchange};
use crate::harness::yaml::one_route;
use crate::protocols::http2_client;

fn long(length: usize) -> String {
    "x".repeat(length)
}

/// The status of what answers this, where the connection is then closed.
async fn closed_with(proxy: &Proxy, request: &str) -> u16 {
    let mut client = End::connect(proxy.address()).await;
    client.send(request).await;
    let status = client.answer().await.status();
    client.rest().await;
    status
}

#[tokio::test]
async fn each_part_of_a_head_has_its_bound_and_what_is_over_it_is_refused_and_the_connection_closed() {
    let upstream = Wire::ok().await;
    let proxy = Proxy::start(&one_route(&upstream.url(""), "")).await;
    let many = |count: usize| (0..count).map(|n| format!("X-{n}: y\r\n")).collect::<String>();
    for (what, request, status) in [
        ("one header of 60 KiB", format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", long(60 << 10)), 200),
        ("one header of 70 KiB", format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", long(70 << 10)), 431),
        ("one header of 1 MiB", format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", long(1 << 20)), 431),
        ("a name of 70 KiB", format!("GET / HTTP/1.1\r\nHost: x\r\n{}: y\r\n\r\n", long(70 << 10)), 431),
        ("90 headers", format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", many(90)), 200),
        ("101 headers", format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", many(100)), 431),
        ("10,000 headers", format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", many(10_000)), 431),
        ("a URI of 60 KiB", format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", long(60 << 10)), 200),
        ("a URI of 70 KiB", format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", long(70 << 10)), 431),
    ] {
        if status == 200 {
            assert_eq!(exchange(proxy.address(), &request).await.status(), 200, "{what}");
        } else {
            assert_eq!(closed_with(&proxy, &request).await, status, "{what}");
        }
    }
    assert_eq!(upstream.seen().len(), 3, "what was refused went nowhere");
    // Where a head may be larger, a URI still may not.
    let larger = Proxy::start(&format!("client: {{head_size: 1MiB}}\n{}", one_route(&upstream.url(""), ""))).await;
    let request = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", long(70 << 10));
    assert_eq!(closed_with(&larger, &request).await, 414);
}

#[tokio::test]
async fn the_bound_on_header_lines_is_the_operators_and_the_same_over_http2() {
    let upstream = Wire::ok().await;
    let proxy = Proxy::start(&format!("client: {{header_count: 20}}\n{}", one_route(&upstream.url(""), ""))).await;
    for (count, status) in [(15, 200), (25, 431)] {
        let lines: String = (0..count).map(|n| format!("X-{n}: y\r\n")).collect();
        let request = format!("GET / HTTP/1.1\r\nHost: x\r\n{lines}\r\n");
        assert_eq!(exchange(proxy.address(), request).await.status(), status, "{count}");
        let mut http2 = http2_client::<Full<Bytes>>(proxy.address()).await;
        let mut request = Request::get("http://x/");
        for n in 0..count {
            request = request.header(format!("x-{n}"), "y");
        }
        let answer = http2.send_request(request.body(Full::default()).unwrap()).await.unwrap();
        assert_eq!(answer.status(), status, "{count} over HTTP/2");
        if status == 431 {
            let body = answer.into_body().collect().await.unwrap().to_bytes();
            let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(problem["code"], "too_many_headers");
            let again = Request::get("http://x/").body(Full::default()).unwrap();
            assert_eq!(http2.send_request(again).await.unwrap().status(), 200, "the other streams go on");
        }
    }
}

#[tokio::test]
async fn a_head_over_its_size_is_refused_over_http2_too() {
    let upstream = Wire::ok().await;
    let proxy = Proxy::start(&one_route(&upstream.url(""), "")).await;
    let mut http2 = http2_client::<Full<Bytes>>(proxy.address()).await;
    let large = Request::get("http://x/").header("x", long(70 << 10)).body(Full::default()).unwrap();
    if let Ok(answer) = http2.send_request(large).await {
        assert_eq!(answer.status(), 431);
    }
    assert_eq!(upstream.accepted(), 0);
    let mut http2 = http2_client::<Full<Bytes>>(proxy.address()).await;
    let small = Request::get("http://x/").body(Full::default()).unwrap();
    assert_eq!(http2.send_request(small).await.unwrap().status(), 200);
}

/// hyper bounds both at 16 KiB (its `CHUNKED_EXTENSIONS_LIMIT` and `TRAILER_LIMIT`); the body is then
/// broken, and nothing of it is a whole request upstream.
#[tokio::test]
async fn chunk_extensions_and_trailers_have_their_bounds() {
    let upstream = Wire::ok().await;
    let proxy = Proxy::start(&one_route(&upstream.url(""), "")).await;
    let head = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    let trailers: String = (0..200).map(|n| format!("X-{n}: y\r\n")).collect();
    for (what, body, fits) in [
        ("an extension", format!("1;a={}\r\nx\r\n0\r\n\r\n", long(1 << 10)), true),
        ("a large extension", format!("1;a={}\r\nx\r\n0\r\n\r\n", long(20 << 10)), false),
        ("many extensions", format!("{}0\r\n\r\n", format!("1;a={}\r\nx\r\n", long(100)).repeat(200)), false),
        ("a trailer", "1\r\nx\r\n0\r\nX: y\r\n\r\n".to_owned(), true),
        ("a large trailer", format!("1\r\nx\r\n0\r\nX: {}\r\n\r\n", long(100 << 10)), false),
        ("many trailers", format!("1\r\nx\r\n0\r\n{trailers}\r\n"), false),
    ] {
        let before = upstream.seen().iter().filter(|seen| seen.whole).count();
        let mut client = End::connect(proxy.address()).await;
        client.send(format!("{head}{body}")).await;
        let answer = client.answer().await;
        assert_eq!(answer.status(), if fits { 200 } else { 400 }, "{what}: {answer:?}");
        if !fits {
            is_problem(&answer, 400, "body_broken");
            client.rest().await;
            assert_eq!(upstream.seen().iter().filter(|seen| seen.whole).count(), before, "{what}");
        }
    }
}

#[tokio::test]
async fn a_body_over_its_bound_is_refused_and_the_connection_closed() {
    let upstream = Wire::ok().await;
    let proxy = Proxy::start(&one_route(&upstream.url(""), "limits: {body: 1KiB}")).await;
    let mut client = End::connect(proxy.address()).await;
    client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\nx").await;
    is_problem(&client.answer().await, 413, "body_too_large");
    client.finish().await;
    assert!(client.is_over().await);
    assert_eq!(upstream.accepted(), 0);
}

#[tokio::test]
async fn a_thousand_clients_that_are_stuck_in_their_heads_and_bodies_take_little_memory() {
    const CLIENTS: usize = 1000;
    /// For each, in KiB: what a head may have, and as much again.
    const EACH: u64 = 128;

    tokenferry::limit::descriptors::raise();
    let upstream = Wire::start(|mut caller| async move {
        if caller.head().await.is_some_and(|head| head.target() == "/whole") {
            caller.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        }
        caller.end.rest().await;
    })
    .await;
    let process = Process::start(&one_route(&upstream.url(""), ""), &[]);
    let whole = "GET /whole HTTP/1.1\r\nHost: x\r\n\r\n";
    assert_eq!(exchange(process.address, whole).await.status(), 200);
    let before = process.memory_kib("VmRSS");
    let heads = [
        format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}", long(60 << 10)),
        format!("GET /{}", long(60 << 10)),
        format!("GET / HTTP/1.1\r\n{}", (0..90).map(|n| format!("X-{n}: {}\r\n", long(500))).collect::<String>()),
        format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n{}", long(16 << 10)),
    ];
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        let mut client = End::connect(process.address).await;
        client.send(&heads[number % heads.len()]).await;
        clients.push(client);
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let grown = process.memory_kib("VmRSS").saturating_sub(before);
    println!("{CLIENTS} stuck clients: {grown} KiB");
    assert!(grown < CLIENTS as u64 * EACH, "{grown} KiB for {CLIENTS} clients");
    assert_eq!(exchange(process.address, whole).await.status(), 200, "a bystander is served");
}
