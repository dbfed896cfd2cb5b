//! A new process takes over from the running one, and nobody notices: not a client, not a vendor.

mod activation;
mod peers;
mod sockets;
mod tokens;

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tokenferry::demo::{Crewmojo, Simulator};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::harness::client::{Connection, get, read_until, text, token_number};
use crate::harness::eventually;
use crate::harness::process::Process;
use crate::harness::upstream::{Upstream, relay};
use crate::harness::vendors::{config, crewmojo, route, simulate};

/// Crewmojo at `/crewmojo`, by way of this upstream, and the handover socket `handover.sock`.
fn with_handover(simulator: &Simulator, upstream: &str) -> String {
    let routes = [route("crewmojo", upstream, "crewmojo", "")];
    format!("handover: handover.sock\n{}", config(&[crewmojo(simulator.origin(), "")], &routes))
}

fn data(simulator: &Simulator) -> String {
    format!("{}/v1", simulator.origin())
}

fn request(target: &str) -> Request<Full<Bytes>> {
    Request::get(target).body(Full::default()).unwrap()
}

/// Before a simulator: `/slow` waits for a word.
async fn held(simulator: &Simulator) -> (Upstream, watch::Sender<bool>) {
    let address = simulator.origin().trim_start_matches("http://").parse().unwrap();
    let (go, told) = watch::channel(false);
    let upstream = Upstream::answering_later(move |seen| {
        let mut told = told.clone();
        async move {
            if seen.path().ends_with("/slow") {
                drop(told.wait_for(|go| *go).await);
            }
            relay(address, seen).await
        }
    })
    .await;
    (upstream, go)
}

/// One request of `/crewmojo/slow` that has reached the upstream.
async fn under_way(process: &Process, upstream: &Upstream) -> tokio::task::JoinHandle<Response<Bytes>> {
    let mut connection = Connection::open(process.address).await;
    let slow = tokio::spawn(async move { connection.send(request("/crewmojo/slow")).await.expect("an answer") });
    eventually("the request is under way", || upstream.seen().iter().any(|seen| seen.path().ends_with("/slow"))).await;
    slow
}

/// Asserts that it ends well, and has handed over.
async fn has_handed_over(process: Process) -> String {
    let (status, log) = process.ended().await;
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("handed over") && log.contains("stopped"), "{log}");
    log
}

#[tokio::test]
async fn a_request_under_way_in_the_old_process_finishes_there() {
    let simulator = simulate(Crewmojo::default()).await;
    let (upstream, go) = held(&simulator).await;
    let mut old = Process::start(&with_handover(&simulator, &upstream.url("/v1")), &[]);
    let slow = under_way(&old, &upstream).await;
    let new = old.successor().await;
    assert_eq!(token_number(&get(new.address, "/crewmojo/a").await), Some(1));
    assert!(old.runs(), "{}", old.log());
    go.send(true).unwrap();
    let answer = slow.await.unwrap();
    assert_eq!((answer.status().as_u16(), token_number(&answer)), (200, Some(1)), "{}", text(&answer));
    assert_eq!(answer.headers()["connection"], "close", "the next request goes to the new one");
    has_handed_over(old).await;
    assert_eq!(simulator.token_requests(), 1);
}

#[tokio::test]
async fn a_silent_connection_is_let_ask_once_more_and_does_not_hold_up_the_end() {
    let simulator = simulate(Crewmojo::default()).await;
    let old = Process::start(&with_handover(&simulator, &data(&simulator)), &[]);
    let mut kept = Connection::open(old.address).await;
    assert_eq!(kept.send(request("/crewmojo/a")).await.unwrap().status(), 200);
    let silent = Connection::open(old.address).await;
    let mut fresh = Connection::open(old.address).await;
    let _new = old.successor().await;
    // The new process serves a moment before the old one begins to leave.
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let answer = kept.send(request("/crewmojo/a")).await.expect("an answer");
        assert_eq!(answer.status(), 200);
        if answer.headers().get("connection").is_some_and(|value| value == "close") {
            break;
        }
        assert!(Instant::now() < deadline, "it is not told that the old process leaves: {}", old.log());
    }
    // Either process may have accepted this one.
    assert_eq!(fresh.send(request("/crewmojo/a")).await.expect("an answer").status(), 200);
    let log = has_handed_over(old).await;
    assert!(!log.contains("cut off"), "{log}");
    drop(silent);
}

/// A stream and a tunnel live through the drain of a handover.
async fn outlives_the_handover(request: &str, answer: &str) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let it = route("it", &format!("http://{}/", listener.local_addr().unwrap()), "none", "");
    let yaml = format!("handover: handover.sock\nshutdown_timeout: 1m\nroutes:\n{it}");
    let mut old = Process::start(&yaml, &[]);
    let mut client = TcpStream::connect(old.address).await.unwrap();
    client.write_all(request.as_bytes()).await.unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    read_until(&mut server, "\r\n\r\n").await;
    server.write_all(answer.as_bytes()).await.unwrap();
    read_until(&mut client, "\r\n\r\n").await;
    let _new = old.successor().await;
    eventually("it drains", || old.log().contains("draining")).await;
    for n in 0..3 {
        server.write_all(format!("data: {n}\n\n").as_bytes()).await.unwrap();
        read_until(&mut client, &format!("data: {n}\n\n")).await;
    }
    assert!(old.runs(), "it ended with {}", old.log());
    drop((server, client));
    let log = has_handed_over(old).await;
    assert!(!log.contains("cut off"), "{log}");
}

#[tokio::test]
async fn an_event_stream_in_the_old_process_goes_on() {
    let request = "GET /it/events HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n";
    outlives_the_handover(request, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n").await;
}

#[tokio::test]
async fn a_tunnel_through_the_old_process_goes_on() {
    let request = "GET /it/chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    outlives_the_handover(request, answer).await;
}
