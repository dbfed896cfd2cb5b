//! Bodies as streams: nothing is kept back, nothing is gathered, nothing ends that has not ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Notify;

use crate::harness::proxy::Proxy;
use crate::harness::raw::{End, Wire, exchange, soon};
use crate::harness::yaml::{injecting, one_route};
use crate::protocols::http2_client;

const MIB: usize = 1 << 20;
const GET: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

/// What is the same for a while is as much as there will be.
async fn settled(count: &AtomicUsize) -> usize {
    let mut last = usize::MAX;
    loop {
        let now = count.load(Ordering::SeqCst);
        if now == last && now > 0 {
            return now;
        }
        last = now;
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

/// The byte at a place of a long body.
fn byte(at: usize) -> u8 {
    u8::try_from(at % 251).unwrap()
}

fn is_the_body(bytes: &[u8], from: usize) -> bool {
    bytes.iter().enumerate().all(|(at, b)| *b == byte(from + at))
}

/// A connection with a small window of its own, so that what the kernel holds is little.
async fn narrow(address: std::net::SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(32 * 1024).unwrap();
    socket.set_send_buffer_size(32 * 1024).unwrap();
    socket.connect(address).await.unwrap()
}

/// An upstream whose answer is this long, and counts how much of it it could write.
async fn long_answer(length: usize, written: Arc<AtomicUsize>) -> Wire {
    Wire::start(move |mut caller| {
        let written = Arc::clone(&written);
        async move {
            caller.request().await;
            caller.say(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n")).await;
            let mut at = 0;
            while at < length {
                let chunk: Vec<u8> = (at..(at + 64 * 1024).min(length)).map(byte).collect();
                if !caller.end.send_all(&chunk).await {
                    return;
                }
                at += chunk.len();
                written.store(at, Ordering::SeqCst);
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_client_that_reads_slowly_slows_the_upstream_down() {
    const LENGTH: usize = 128 * MIB;
    let written = Arc::new(AtomicUsize::new(0));
    let upstream = long_answer(LENGTH, Arc::clone(&written)).await;
    let proxy = Proxy::start(&one_route(&upstream.url(""), "")).await;
    let mut client = End::over(narrow(proxy.address()).await);
    client.send(GET).await;
    assert_eq!(client.head().await.unwrap().status(), 200);
    let stuck = settled(&written).await;
    assert!(stuck < 64 * MIB, "{stuck} bytes were taken from the upstream for a client that reads none");
    let mut at = 0;
    while at < LENGTH {
        let chunk = client.exactly(MIB).await;
        assert_eq!(chunk.len(), MIB);
        assert!(is_the_body(&chunk, at));
        at += MIB;
    }
}

#[tokio::test]
async fn an_http_2_client_that_reads_slowly_slows_the_upstream_down() {
    const LENGTH: usize = 128 * MIB;
    let written = Arc::new(AtomicUsize::new(0));
    let upstream = long_answer(LENGTH, Arc::clone(&written)).await;
    let proxy = Proxy::start(&one_route(&upstream.url(""), "")).await;
    let mut client = http2_client::<Full<Bytes>>(proxy.address()).await;
    let answer = client.send_request(Request::get("http://x/").body(Full::default()).unwrap()).await.unwrap();
    let stuck = settled(&written).await;
    assert!(stuck < 64 * MIB, "{stuck} bytes were taken from the upstream for a client that reads none");
    let mut body = answer.into_body();
    let mut at = 0;
    while let Some(frame) = body.frame().await {
        let data = frame.unwrap().into_data().unwrap();
        assert!(is_the_body(&data, at));
        at += data.len();
    }
    assert_eq!(at, LENGTH);
}

#[tokio::test]
async fn an_upstream_that_reads_slowly_slows_the_client_down() {
    const LENGTH: usize = 96 * MIB;
    let go = Arc::new(Notify::new());
    let reading = Arc::clone(&go);
    let upstream = Wire::start(move |mut caller| {
        let reading = Arc::clone(&reading);
        async move {
            caller.head().await;
            reading.notified().await;
            let mut at = 0;
            while at < LENGTH {
                let chunk = caller.end.exactly(MIB).await;
                assert!(chunk.len() == MIB && is_the_body(&chunk, at));
                at += MIB;
            }
            caller.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        }
    })
    .await;
    let proxy = Proxy::start(&one_route(&upstream.url(""), "")).await;
    let stream = TcpStream::connect(proxy.address()).await.unwrap();
    let (reader, mut writer) = stream.into_split();
    let written = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&written);
    let upload = tokio::spawn(async move {
        use tokio::io::AsyncWriteExt as _;
        let head = format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {LENGTH}\r\n\r\n");
        writer.write_all(head.as_bytes()).await.unwrap();
        let mut at = 0;
        while at < LENGTH {
            let chunk: Vec<u8> = (at..at + 64 * 1024).map(byte).collect();
            writer.write_all(&chunk).await.unwrap();
            at += chunk.len();
            count.store(at, Ordering::SeqCst);
        }
        writer
    });
    let stuck = settled(&written).await;
    assert!(stuck < 80 * MIB, "{stuck} bytes were taken from the client for an upstream that reads none");
    go.notify_one();
    let writer = upload.await.unwrap();
    let mut client = End::over(reader.reunite(writer).unwrap());
    assert_eq!(client.answer().await.text(), "ok");
}

#[tokio::test]
async fn events_arrive_one_by_one_and_no_silence_between_them_is_too_long() {
    let next = Arc::new(Notify::new());
    let upstreams = Arc::clone(&next);
    let upstream = Wire::start(move |mut caller| {
        let next = Arc::clone(&upstreams);
        async move {
            caller.request().await;
            caller.say("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n\r\n").await;
            for number in 0..3 {
                caller.say(format!("data: {number}\n\n")).await;
                next.notified().await;
            }
        }
    })
    .await;
    let proxy = Proxy::start(&one_route(&upstream.url(""), "timeouts: {body: 200ms, response: 1s}")).await;
    let mut client = End::connect(proxy.address()).await;
    client.send(GET).await;
    assert_eq!(client.head().await.unwrap().header("content-type"), Some("text/event-stream; charset=utf-8"));
    for number in 0..3 {
        assert_eq!(client.chunk().await, Some(Some(format!("data: {number}\n\n").into_bytes())));
        // Longer than `timeouts.body`.
        tokio::time::sleep(Duration::from_millis(if number == 0 { 500 } else { 0 })).await;
        next.notify_one();
    }
    assert_eq!(client.chunk().await, Some(None));
}

#[tokio::test]
async fn an_answers_first_bytes_arrive_while_the_upstream_is_still_at_it() {
    let (go, wait) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let go_on = Arc::clone(&go);
    let upstream = Wire::start(move |mut caller| {
        let go = Arc::clone(&go_on);
        async move {
            caller.request().await;
            caller.say("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n[\"on").await;
            go.notified().await;
            caller.say("e\", 2 ]").await;
        }
    })
    .await;
    drop(wait);
    let proxy = Proxy::start(&one_route(&upstream.url(""), "")).await;
    let mut client = End::connect(proxy.address()).await;
    client.send(GET).await;
    client.head().await.unwrap();
    assert_eq!(client.exactly(4).await, b"[\"on");
    go.notify_one();
    assert_eq!(client.exactly(7).await, b"e\", 2 ]");
}

#[tokio::test]
async fn an_upload_goes_on_while_its_answer_has_begun() {
    let upstream = Wire::start(|mut caller| async move {
        caller.head().await;
        caller.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nready\r\n").await;
        // Says every line back as it comes.
        while let Some(Some(chunk)) = caller.end.chunk().await {
            caller.say(format!("{:x}\r\n", chunk.len())).await;
            caller.say(chunk).await;
            caller.say("\r\n").await;
        }
        caller.say("0\r\n\r\n").await;
    })
    .await;
    let proxy = Proxy::start(&one_route(&upstream.url(""), "")).await;
    let mut client = End::connect(proxy.address()).await;
    client.send("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    assert_eq!(client.head().await.unwrap().status(), 200);
    assert_eq!(client.chunk().await, Some(Some(b"ready".to_vec())));
    for word in ["one", "two", "three"] {
        client.send(format!("{:x}\r\n{word}\r\n", word.len())).await;
        assert_eq!(client.chunk().await, Some(Some(word.as_bytes().to_vec())));
    }
    client.send("0\r\n\r\n").await;
    assert_eq!(client.chunk().await, Some(None));
    client.send("GET /next HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(client.head().await.unwrap().status(), 200, "the connection lives on");
}

#[tokio::test]
async fn an_early_answer_reaches_a_client_that_is_still_sending() {
    let upstream = Wire::start(|mut caller| async move {
        caller.head().await;
        caller.say("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno").await;
        caller.end.finish().await;
        // It reads no more, but does not reset the connection either.
        std::future::pending::<()>().await;
    })
    .await;
    let proxy = Proxy::start(&one_route(&upstream.url(""), "")).await;
    let mut client = End::connect(proxy.address()).await;
    client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n0123456789").await;
    let answer = client.answer().await;
    assert_eq!((answer.status(), answer.text().as_str()), (403, "no"));
}

#[tokio::test]
async fn an_answer_that_stands_still_is_broken_off_not_ended() {
    let upstream = Wire::start(|mut caller| async move {
        let request = caller.request().await.unwrap();
        let head = if request.target() == "/length" { "Content-Length: 10" } else { "Transfer-Encoding: chunked" };
        let part = if request.target() == "/length" { "half" } else { "4\r\nhalf\r\n" };
        caller.say(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{part}")).await;
        std::future::pending::<()>().await;
    })
    .await;
    let proxy = Proxy::start(&one_route(&upstream.url(""), "timeouts: {body: 300ms}")).await;
    for target in ["/length", "/chunked"] {
        let answer = exchange(proxy.address(), format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
        assert_eq!((answer.text().as_str(), answer.whole), ("half", false), "{target}");
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_reaches_the_client_as_broken_off() {
    for (head, part) in [
        ("Content-Length: 10", "half"),
        ("Transfer-Encoding: chunked", "4\r\nhalf\r\n"),
        ("Transfer-Encoding: chunked", "4\r\nhalf\r\n6\r\nanot"),
        ("Transfer-Encoding: chunked", "4\r\nhalf\r\nXY\r\n"),
    ] {
        let upstream = Wire::once(format!("HTTP/1.1 200 OK\r\n{head}\r\nContent-Type: text/plain\r\n\r\n{part}")).await;
        let proxy = Proxy::start(&one_route(&upstream.url(""), "")).await;
        let answer = exchange(proxy.address(), GET).await;
        assert!(answer.status() == 502 || !answer.whole, "{part:?}: {answer:?}");

        let mut client = http2_client::<Full<Bytes>>(proxy.address()).await;
        let answer = client.send_request(Request::get("http://x/").body(Full::default()).unwrap()).await.unwrap();
        assert!(answer.status() == 502 || answer.into_body().collect().await.is_err(), "{part:?}");
    }
}

#[tokio::test]
async fn a_json_answer_that_breaks_off_while_it_is_looked_into_or_behind_that_is_broken_off() {
    // An answer of CRM.COM's kind: a refusal may stand inside it, so its beginning is looked at first.
    let long = format!("{{\"status\":{{\"code\":\"OK\"}},\"data\":\"{}", "x".repeat(100_000));
    for (part, broken_in_head) in
        [("{\"data\":[1,2", true), ("{\"status\":{\"code\":\"OK\"},\"data\":[1,2", false), (long.as_str(), false)]
    {
        for framing in ["Content-Length: 1000000".to_owned(), "Transfer-Encoding: chunked".to_owned()] {
            let body =
                if framing.starts_with('C') { part.to_owned() } else { format!("{:x}\r\n{part}\r\n", part.len()) };
            let upstream =
                Wire::once(format!("HTTP/1.1 200 OK\r\n{framing}\r\nContent-Type: application/json\r\n\r\n{body}"))
                    .await;
            let yaml = injecting(&upstream.url(""), "{header: token}", "").replace(
                "inject: {header: token}",
                "inject: {header: token}, refused_when: {json: {pointer: /status/code, matches: INVALID}}",
            );
            let proxy = Proxy::start(&yaml).await;
            let answer = exchange(proxy.address(), GET).await;
            if broken_in_head {
                assert_eq!(answer.status(), 502, "{framing}: {answer:?}");
            } else {
                assert_eq!((answer.status(), answer.whole), (200, false), "{framing}");
                assert!(part.starts_with(&answer.text()), "{framing}");
            }
        }
    }
}

#[tokio::test]
async fn a_json_answer_that_is_looked_into_comes_through_byte_for_byte() {
    let body = format!("{{\"data\" : \"{}\",\r\n \"status\":{{\"code\":\"OK\"}} }}\n", "y".repeat(40_000));
    let upstream = Wire::always(format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nContent-Type: application/json\r\n\r\n{body}",
        body.len()
    ))
    .await;
    let yaml = injecting(&upstream.url(""), "{header: token}", "").replace(
        "inject: {header: token}",
        "inject: {header: token}, refused_when: {json: {pointer: /status/code, matches: INVALID}}",
    );
    let proxy = Proxy::start(&yaml).await;
    let mut client = End::connect(proxy.address()).await;
    for _ in 0..2 {
        client.send("GET / HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip, br\r\n\r\n").await;
        let answer = client.answer().await;
        assert_eq!(
            (answer.text().as_str(), answer.header("content-length")),
            (body.as_str(), Some(body.len().to_string().as_str()))
        );
        assert_eq!(upstream.last().header("accept-encoding"), Some("identity"));
    }
    assert_eq!(upstream.accepted(), 1);
}

#[tokio::test]
async fn a_client_that_goes_away_takes_its_request_with_it() {
    let (gone, mut goes) = tokio::sync::mpsc::unbounded_channel();
    let upstream = Wire::start(move |mut caller| {
        let gone = gone.clone();
        async move {
            caller.request().await;
            if caller.end.is_over().await {
                gone.send(()).unwrap();
            }
        }
    })
    .await;
    let proxy = Proxy::start(&one_route(&upstream.url(""), "")).await;
    let mut client = End::connect(proxy.address()).await;
    client.send(GET).await;
    crate::harness::eventually("the request arrives", || !upstream.seen().is_empty()).await;
    drop(client);
    soon("the upstream's end", goes.recv()).await.unwrap();
}
