//! Row 35: the end. Told to stop, the proxy takes no more, lets finish what is under way, and ends in time; and
//! one after the other may take its place without anybody noticing.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokenferry::demo::Crewmojo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::harness::client::{Connection, get, read_until, text, token_number};
use crate::harness::eventually;
use crate::harness::load::Load;
use crate::harness::process::Process;
use crate::harness::upstream::Upstream;
use crate::harness::vendors::{config, crewmojo, route, simulate};

/// A route `/it` without a credential, which all of this is not about.
fn to(upstream: &str, top: &str) -> String {
    format!(
        "{top}{}",
        config(&["  none-used: {provider: static, token: k3y}\n".to_owned()], &[route("it", upstream, "none", "")])
    )
}

/// An upstream that answers `/slow` once it is told to, and everything else at once.
async fn held() -> (Upstream, mpsc::Sender<()>) {
    let (go, told) = mpsc::channel::<()>(1);
    let told = std::sync::Arc::new(tokio::sync::Mutex::new(told));
    let upstream = Upstream::answering_later(move |seen| {
        let told = std::sync::Arc::clone(&told);
        async move {
            if seen.path() == "/slow" {
                told.lock().await.recv().await;
            }
            Response::new(Full::<Bytes>::from("done"))
        }
    })
    .await;
    (upstream, go)
}

async fn refuses_connections(process: &Process) {
    let address = process.address;
    let deadline = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect(address).await.is_ok() {
        assert!(Instant::now() < deadline, "it still accepts");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// One request of `/it/slow` that has reached the upstream.
async fn under_way(process: &Process, upstream: &Upstream) -> tokio::task::JoinHandle<Option<Response<Bytes>>> {
    let mut connection = Connection::open(process.address).await;
    let request = Request::get("/it/slow").body(Full::default()).unwrap();
    let slow = tokio::spawn(async move { connection.send(request).await.ok() });
    eventually("the request is under way", || upstream.seen().iter().any(|seen| seen.path() == "/slow")).await;
    slow
}

#[tokio::test]
async fn a_slow_request_finishes_and_nothing_new_is_taken() {
    for signal in ["TERM", "INT"] {
        let (upstream, go) = held().await;
        let process = Process::start(&to(&upstream.url("/"), ""), &[]);
        let mut idle = Connection::open(process.address).await;
        idle.send(Request::get("/it/a").body(Full::default()).unwrap()).await.unwrap();
        let slow = under_way(&process, &upstream).await;
        process.signal(signal);
        refuses_connections(&process).await;
        go.send(()).await.unwrap();
        let answer = slow.await.unwrap().expect("an answer");
        assert_eq!((answer.status().as_u16(), text(&answer).as_str()), (200, "done"));
        let (status, log) = process.ended().await;
        assert_eq!(status.code(), Some(0), "{log}");
        assert!(log.contains("draining") && log.contains("stopped"), "{log}");
        assert!(!log.contains("cut off"), "{log}");
    }
}

#[tokio::test]
async fn an_idle_connection_does_not_hold_up_the_end() {
    let (upstream, _go) = held().await;
    let process = Process::start(&to(&upstream.url("/"), "shutdown_timeout: 1m\n"), &[]);
    let mut idle = Connection::open(process.address).await;
    idle.send(Request::get("/it/a").body(Full::default()).unwrap()).await.unwrap();
    let _silent = TcpStream::connect(process.address).await.unwrap();
    assert_eq!(get(process.address, "/it/a").await.status(), 200);
    process.signal("TERM");
    let (status, log) = process.ended().await;
    assert_eq!(status.code(), Some(0), "{log}");
    let next = idle.send(Request::get("/it/a").body(Full::default()).unwrap()).await;
    assert!(next.is_err());
}

#[tokio::test]
async fn a_connection_on_which_a_body_was_refused_does_not_hold_up_the_end() {
    let (upstream, _go) = held().await;
    let process = Process::start(&to(&upstream.url("/"), "shutdown_timeout: 1m\n"), &[]);
    let mut idle = Connection::open(process.address).await;
    let refused = Request::post("/nowhere").body(Full::from("whole")).unwrap();
    assert_eq!(idle.send(refused).await.unwrap().status(), 404);
    let began = Instant::now();
    // A client's pool that looks at its connections only when it needs one.
    let stream = TcpStream::connect(process.address).await.unwrap();
    let mut raw = stream;
    raw.write_all(b"POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx").await.unwrap();
    read_until(&mut raw, "no_route").await;
    process.signal("TERM");
    let (status, log) = process.ended().await;
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}: {log}", began.elapsed());
    drop((idle, raw));
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let (upstream, _go) = held().await;
    let process = Process::start(&to(&upstream.url("/"), "shutdown_timeout: 1m\n"), &[]);
    let slow = under_way(&process, &upstream).await;
    process.signal("TERM");
    refuses_connections(&process).await;
    process.signal("INT");
    let (_, log) = process.ended().await;
    assert!(log.contains("second signal"), "{log}");
    assert!(slow.await.unwrap().is_none());
}

#[tokio::test]
async fn the_deadline_cuts_off_what_does_not_finish() {
    let (upstream, _go) = held().await;
    let process = Process::start(&to(&upstream.url("/"), "shutdown_timeout: 1s\n"), &[]);
    let slow = under_way(&process, &upstream).await;
    let began = Instant::now();
    process.signal("TERM");
    let (status, log) = process.ended().await;
    assert!(began.elapsed() >= Duration::from_secs(1));
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("cut off"), "{log}");
    assert!(slow.await.unwrap().is_none());
}

#[tokio::test]
async fn the_drain_delay_serves_on_before_the_listeners_close() {
    let (upstream, _go) = held().await;
    let process = Process::start(&to(&upstream.url("/"), "drain_delay: 1s\n"), &[]);
    assert_eq!(get(process.address, "/it/a").await.status(), 200);
    let began = Instant::now();
    process.signal("TERM");
    eventually("it heard the signal", || process.log().contains("draining")).await;
    // Load balancers go on sending until they have noticed; on a machine that stood still for the
    // whole second there is nothing to see.
    if let Ok(mut late) = Connection::try_open(process.address).await {
        let answer = late.send(Request::get("/it/a").body(Full::default()).unwrap()).await;
        assert!(answer.is_ok_and(|answer| answer.status() == 200) || began.elapsed() >= Duration::from_secs(1));
    } else {
        assert!(began.elapsed() >= Duration::from_secs(1));
    }
    assert_eq!(process.ended().await.0.code(), Some(0));
    assert!(began.elapsed() >= Duration::from_secs(1));
}

/// A stream and a tunnel live through the drain, as requests do, and it ends with them.
async fn outlives_the_signal(request: &str, answer: &str, both_ways: bool) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let process =
        Process::start(&to(&format!("http://{}/", listener.local_addr().unwrap()), "shutdown_timeout: 1m\n"), &[]);
    let mut client = TcpStream::connect(process.address).await.unwrap();
    client.write_all(request.as_bytes()).await.unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    read_until(&mut server, "\r\n\r\n").await;
    server.write_all(answer.as_bytes()).await.unwrap();
    read_until(&mut client, "\r\n\r\n").await;
    process.signal("TERM");
    refuses_connections(&process).await;
    for n in 0..3 {
        server.write_all(format!("data: {n}\n\n").as_bytes()).await.unwrap();
        read_until(&mut client, &format!("data: {n}\n\n")).await;
        if both_ways {
            client.write_all(format!("echo {n}").as_bytes()).await.unwrap();
            read_until(&mut server, &format!("echo {n}")).await;
        }
    }
    let mut process = process;
    assert!(process.runs(), "it ended with {}", process.log());
    drop(server);
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).await.unwrap();
    drop(client);
    let (status, log) = process.ended().await;
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(!log.contains("cut off"), "{log}");
}

#[tokio::test]
async fn an_event_stream_counts_as_under_way() {
    let request = "GET /it/events HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n";
    outlives_the_signal(request, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n", false).await;
}

#[tokio::test]
async fn a_tunnel_counts_as_under_way() {
    let request = "GET /it/chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    outlives_the_signal(request, answer, true).await;
}

/// Reads HTTP/2 frames until one of this type has come; its payload.
async fn frame(stream: &mut TcpStream, kind: u8) -> Vec<u8> {
    let patience = Duration::from_secs(10);
    loop {
        let mut head = [0; 9];
        tokio::time::timeout(patience, stream.read_exact(&mut head)).await.expect("a frame").expect("a frame");
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let mut payload = vec![0; length];
        tokio::time::timeout(patience, stream.read_exact(&mut payload)).await.expect("all of it").expect("all of it");
        if head[3] == kind {
            return payload;
        }
    }
}

/// RFC 9113 section 6.8: GOAWAY without an error, and the connection is closed once nothing is open on it.
#[tokio::test]
async fn an_http_2_client_is_told_to_go_away() {
    let (upstream, _go) = held().await;
    let process = Process::start(&to(&upstream.url("/"), "shutdown_timeout: 1m\n"), &[]);
    let mut idle = TcpStream::connect(process.address).await.unwrap();
    // The preface and empty SETTINGS; the server's own come back, and their acknowledgement of ours.
    idle.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    frame(&mut idle, 4).await;
    idle.write_all(b"\0\0\0\x04\x01\0\0\0\0").await.unwrap();
    process.signal("TERM");
    let goaway = frame(&mut idle, 7).await;
    assert_eq!(goaway.get(4..8), Some(&[0; 4][..]), "NO_ERROR");
    drop(idle);
    assert_eq!(process.ended().await.0.code(), Some(0));
}

#[tokio::test]
async fn a_stream_under_way_finishes_behind_the_goaway_and_no_new_one_is_taken() {
    let (upstream, go) = held().await;
    let process = Process::start(&to(&upstream.url("/"), "shutdown_timeout: 1m\n"), &[]);
    let stream = TcpStream::connect(process.address).await.unwrap();
    let (mut client, connection) =
        http2::handshake::<_, _, Full<Bytes>>(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let ask = |path: &str| {
        Request::get(format!("http://{}/it/{path}", process.address)).body(Full::<Bytes>::default()).unwrap()
    };
    let slow = tokio::spawn(client.send_request(ask("slow")));
    eventually("the request is under way", || upstream.seen().iter().any(|seen| seen.path() == "/slow")).await;
    process.signal("TERM");
    refuses_connections(&process).await;
    // Until the client has heard of it a request may still go out; one that is taken is answered.
    let deadline = Instant::now() + Duration::from_secs(10);
    while client.send_request(ask("fast")).await.is_ok() {
        assert!(Instant::now() < deadline, "the connection takes more requests");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    go.send(()).await.unwrap();
    assert_eq!(slow.await.unwrap().expect("an answer").status(), 200);
    assert!(connection.await.unwrap().is_ok(), "it ends without an error");
    let (status, log) = process.ended().await;
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(!log.contains("cut off"), "{log}");
}

/// Five of them, and in `make soak` a hundred.
fn restarts() -> u32 {
    if std::env::var_os("TOKENFERRY_SOAK_SECONDS").is_some() { 100 } else { 5 }
}

#[tokio::test]
async fn restarts_in_a_row_under_load_lose_no_request_and_make_no_login() {
    let simulator = simulate(Crewmojo::default()).await;
    let routes = [route("crewmojo", &format!("{}/v1", simulator.origin()), "crewmojo", "")];
    let yaml = format!("handover: handover.sock\n{}", config(&[crewmojo(simulator.origin(), "")], &routes));
    let mut process = Process::start(&yaml, &[]);
    assert_eq!(get(process.address, "/crewmojo/a").await.status(), 200);
    // Half of them keep their connection, the others take a new one for each request.
    let load = Load::start(process.address, 8, Duration::from_millis(2), |number| {
        let connection = if number % 2 == 0 { "keep-alive" } else { "close" };
        Request::get("/crewmojo/b").header("connection", connection).body(Full::default()).unwrap()
    });
    for _ in 0..restarts() {
        let seen = simulator.data_requests();
        eventually("the load is on", || simulator.data_requests() > seen + 50).await;
        let next = process.successor().await;
        assert_eq!(next.address, process.address);
        let old = std::mem::replace(&mut process, next);
        let (status, log) = old.ended().await;
        assert_eq!(status.code(), Some(0), "{log}");
        assert!(log.contains("handed over") && log.contains("stopped") && !log.contains("cut off"), "{log}");
    }
    let tally = load.stop().await;
    tally.assert_all_served(60 * restarts() as usize);
    println!("{} restarts, {} requests, none lost", restarts(), tally.answers.len());
    assert_eq!((simulator.token_requests(), simulator.refused()), (1, 0));
    assert_eq!(token_number(&get(process.address, "/crewmojo/a").await), Some(1));
}
