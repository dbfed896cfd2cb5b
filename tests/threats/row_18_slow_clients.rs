//! Clients that take their time: bounded each, and nobody else's loss. A few hundred in `make test`,
//! five thousand in `make soak`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tempfile::TempDir;

use crate::harness::bystanders::Bystanders;
use crate::harness::crowd::{self, Crowd};
use crate::harness::eventually;
use crate::harness::process::Process;
use crate::harness::proxy::Proxy;
use crate::harness::raw::{End, Wire, exchange};
use crate::harness::soak::{figure, long_or, open_files, time};
use crate::harness::tls::Authority;
use crate::harness::yaml::{one_route, routes};
use crate::protocols::http2_client;

const GET: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

#[tokio::test]
async fn a_head_that_does_not_come_in_time_closes_its_connection_while_others_are_served() {
    let upstream = Wire::ok().await;
    let proxy = Proxy::start(&format!("client: {{header_timeout: 1s}}\n{}", one_route(&upstream.url(""), ""))).await;
    let began = Instant::now();
    let mut silent = End::connect(proxy.address()).await;
    let mut preface = End::connect(proxy.address()).await;
    preface.send("PRI * HT").await;
    // A byte now and then is no head either.
    let address = proxy.address();
    let dripping = tokio::spawn(async move {
        let mut client = End::connect(address).await;
        client.send("GET / HTTP/1.1\r\nHost: x\r\nX: ").await;
        let mut sent = 0;
        while client.send_all(b"y").await && sent < 100 {
            sent += 1;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        (client.is_over().await, sent)
    });
    // So is the head of a later request.
    let mut second = End::connect(proxy.address()).await;
    second.send(GET).await;
    assert_eq!(second.answer().await.text(), "ok");
    second.send("GET /late HT").await;
    while began.elapsed() < Duration::from_millis(300) {
        assert_eq!(exchange(proxy.address(), GET).await.text(), "ok");
    }
    assert!(silent.is_over().await);
    assert!(preface.is_over().await);
    assert!(second.is_over().await);
    assert!(began.elapsed() > Duration::from_millis(500));
    let (over, sent) = dripping.await.unwrap();
    assert!(over && sent < 60, "{sent}");
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn an_idle_connection_is_closed_after_its_time_and_a_busy_one_is_not() {
    let upstream = Wire::start(|mut caller| async move {
        while let Some(request) = caller.request().await {
            if request.target() == "/slow" {
                tokio::time::sleep(Duration::from_millis(1500)).await;
            }
            caller.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        }
    })
    .await;
    let yaml = format!("client: {{idle_timeout: 500ms, header_timeout: 500ms}}\n{}", one_route(&upstream.url(""), ""));
    let proxy = Proxy::start(&yaml).await;
    let mut idle = End::connect(proxy.address()).await;
    idle.send(GET).await;
    assert_eq!(idle.answer().await.text(), "ok");
    let mut busy = End::connect(proxy.address()).await;
    busy.send("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let mut http2 = http2_client::<Full<Bytes>>(proxy.address()).await;
    let request = || Request::get("http://x/").body(Full::<Bytes>::default()).unwrap();
    assert_eq!(http2.send_request(request()).await.unwrap().status(), 200);
    assert!(idle.is_over().await);
    crate::harness::eventually("the HTTP/2 connection is closed", || http2.is_closed()).await;
    assert_eq!(busy.answer().await.text(), "ok", "longer than either of the times");
}

#[tokio::test]
async fn a_handshake_that_does_not_come_in_time_closes_its_connection() {
    let upstream = Wire::ok().await;
    let folder = TempDir::new().unwrap();
    let authority = Arc::new(Authority::new());
    authority.identity(&["localhost"]).write(folder.path(), "server");
    let yaml = format!(
        "listeners: [{{address: '127.0.0.1:0', tls: {{cert: server.crt, key: server.key}}}}]\n\
         client: {{handshake_timeout: 400ms}}\n{}",
        one_route(&upstream.url(""), "")
    );
    let proxy = Proxy::start_in(folder, &yaml, &[]).await;
    let began = Instant::now();
    let mut silent = End::connect(proxy.address()).await;
    let mut half = End::connect(proxy.address()).await;
    half.send([22, 3, 1, 0, 200, 1]).await;
    let mut good = End::over(authority.connect(proxy.address(), &[]).await.unwrap());
    good.send(GET).await;
    assert_eq!(good.answer().await.text(), "ok");
    assert!(silent.is_over().await);
    half.rest().await;
    assert!(began.elapsed() < Duration::from_secs(5));
    good.send(GET).await;
    assert_eq!(good.answer().await.text(), "ok", "who has shaken hands stays");
}

/// An upstream that writes for as long as somebody takes it, and notes when nobody does any more.
async fn endless(content_type: &'static str, cut: Arc<AtomicBool>) -> Wire {
    Wire::start(move |mut caller| {
        let cut = Arc::clone(&cut);
        async move {
            caller.request().await;
            caller.say(format!("HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\n\r\n")).await;
            let chunk = vec![b'x'; 64 * 1024];
            while caller.end.send_all(&chunk).await {}
            cut.store(true, Ordering::SeqCst);
        }
    })
    .await
}

#[tokio::test]
async fn a_client_that_does_not_read_is_given_up_after_timeouts_body_but_not_by_an_event_stream() {
    for (content_type, given_up) in [("text/plain", true), ("text/event-stream", false)] {
        let cut = Arc::new(AtomicBool::new(false));
        let upstream = endless(content_type, Arc::clone(&cut)).await;
        let proxy = Proxy::start(&one_route(&upstream.url(""), "timeouts: {body: 600ms}\n")).await;
        let mut client = End::connect(proxy.address()).await;
        client.send(GET).await;
        assert_eq!(client.head().await.unwrap().status(), 200);
        if given_up {
            eventually("the upstream is let go", || cut.load(Ordering::SeqCst)).await;
        } else {
            tokio::time::sleep(Duration::from_millis(2400)).await;
            assert!(!cut.load(Ordering::SeqCst), "an event stream has no bound");
        }
    }
}

/// What a slow connection may cost, in KiB: its tasks, buffers and, for bodies, its upstream's.
const EACH: u64 = 160;

#[tokio::test]
async fn a_crowd_of_slow_connections_is_nobody_elses_loss() {
    // Each has a descriptor here, and two in the proxy where its body goes on.
    let files = open_files();
    let size = long_or(5000, 300).min(usize::try_from(files / 3).unwrap());
    assert!(size >= long_or(5000, 1), "a crowd of 5,000 needs a hard limit of 15,000 open files; it is {files}");
    // The bystanders have an upstream of their own: neither it nor they wait for the crowd's clients.
    let (slow, quick) = (crowd::upstream(), crowd::upstream());
    let folder = TempDir::new().unwrap();
    Authority::new().identity(&["localhost"]).write(folder.path(), "server");
    let patience = long_or("", "client: {header_timeout: 1s, handshake_timeout: 1s, idle_timeout: 1500ms}\n");
    let yaml = format!(
        "listeners:\n  - address: 127.0.0.1:0\n  - address: 127.0.0.1:0\n    tls: {{cert: server.crt, key: server.key}}\n\
         workers: 2\nshutdown_timeout: 1s\n{patience}{}",
        routes(&format!(
            "- {{name: quick, match: {{path_exact: /quick}}, upstream: \"http://{quick}\", credential: fixed}}\n\
             - {{name: slow, upstream: \"http://{slow}\", credential: fixed}}\n"
        ))
    );
    std::fs::write(folder.path().join("proxy.yaml"), yaml).unwrap();
    let process = Process::start_in(folder, &[]);
    let told = || process.log().matches("listening on ").count() == 2 && process.log().ends_with('\n');
    eventually("both listeners are told", told).await;
    let told = process.log();
    let tls = told.rsplit("listening on ").next().unwrap().split_whitespace().next().unwrap().parse().unwrap();

    let quiet = Bystanders::start(process.address, "/quick");
    tokio::time::sleep(long_or(Duration::from_secs(5), Duration::from_millis(500))).await;
    figure(format!("no slow connections: {}", quiet.stop().await));
    let before = process.memory_kib("VmRSS");
    let bystanders = Bystanders::start(process.address, "/quick");
    let ramp = long_or(Duration::from_secs(5), Duration::from_millis(300));
    let crowd = Crowd::start(size, process.address, tls, ramp);
    tokio::time::sleep(ramp).await;
    let end = Instant::now() + time(40, 3000);
    let (mut most, mut held) = (0, 0);
    while Instant::now() < end {
        most = most.max(process.memory_kib("VmRSS"));
        held = held.max(process.open_files());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let seen = bystanders.stop().await;
    let (opened, closed) = crowd.stop().await;
    figure(format!(
        "{size} slow connections at a time (heads, bodies, reads, idle, handshakes, HTTP/2 without a window), {opened} in all, {closed} closed by the proxy, \
         up to {held} open files; RSS {before} KiB, at most {most} ({:.1} KiB each); {seen}",
        most.saturating_sub(before) as f64 / size as f64
    ));
    seen.assert_all_served(long_or(50, 5), "slow connections");
    seen.assert_quick("slow connections");
    assert!(held >= size, "only {held} files were open");
    assert!(closed > size as u64 / 6, "only {closed} were closed in time");
    assert!(most < before + EACH * size as u64 + (16 << 10), "{before} KiB became {most}");
}
