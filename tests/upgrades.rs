//! Upgraded connections: WebSocket, other protocols, and what must not become a tunnel.

use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::answers_of_its_own::is_problem;
use crate::harness::proxy::Proxy;
use crate::harness::raw::{End, Wire, soon};
use crate::harness::upstream::Upstream;
use crate::harness::yaml::one_route;

const ASK: &str = "GET /chat HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo/1\r\n\r\n";

/// Agrees to `echo/1`, and says back what it hears.
async fn echo() -> Wire {
    Wire::start(|mut caller| async move {
        if caller.request().await.is_none() {
            return;
        }
        caller.say("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: Echo/1\r\n\r\nwelcome").await;
        while let Some(line) = caller.end.through(b"\n").await {
            caller.say(line).await;
        }
        caller.say("bye").await;
    })
    .await
}

#[tokio::test]
async fn a_websocket_talks_through_with_the_token_in_its_handshake() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (told, mut tells) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        #[allow(clippy::result_large_err, reason = "tungstenite's own signature")]
        let callback = move |request: &tokio_tungstenite::tungstenite::handshake::server::Request, response| {
            told.send((request.uri().to_string(), request.headers().clone())).unwrap();
            Ok(response)
        };
        let mut socket = tokio_tungstenite::accept_hdr_async(stream, callback).await.unwrap();
        while let Some(Ok(frame)) = futures_next(&mut socket).await {
            if frame.is_close() {
                break;
            }
            futures_send(&mut socket, frame).await;
        }
    });
    // No silence ends it.
    let proxy =
        Proxy::start(&one_route(&format!("http://{address}/ws"), "timeouts: {body: 100ms, response: 1s}")).await;
    let mut request = format!("ws://{}/chat?room=1", proxy.address()).into_client_request().unwrap();
    request.headers_mut().insert("authorization", "mine".parse().unwrap());
    let stream = TcpStream::connect(proxy.address()).await.unwrap();
    let (mut socket, response) = tokio_tungstenite::client_async(request, stream).await.unwrap();
    assert_eq!(response.status(), 101);
    let (target, headers) = tells.recv().await.unwrap();
    assert_eq!(target, "/ws/chat?room=1");
    assert_eq!(headers["authorization"], "Bearer T0K3N");
    assert_eq!(headers["host"], address.to_string());
    for text in ["one".to_owned(), "x".repeat(200_000)] {
        futures_send(&mut socket, Frame::text(text.clone())).await;
        let frame = soon("the echo", futures_next(&mut socket)).await.unwrap().unwrap();
        assert_eq!(frame.into_text().unwrap().as_str(), text);
    }
    tokio::time::sleep(Duration::from_millis(400)).await;
    futures_send(&mut socket, Frame::text("still there")).await;
    assert_eq!(soon("the echo", futures_next(&mut socket)).await.unwrap().unwrap(), Frame::text("still there"));
    socket.close(None).await.unwrap();
    while soon("the end", futures_next(&mut socket)).await.is_some_and(|frame| frame.is_ok()) {}
}

type Socket = tokio_tungstenite::WebSocketStream<TcpStream>;

async fn futures_next(socket: &mut Socket) -> Option<Result<Frame, tokio_tungstenite::tungstenite::Error>> {
    use futures_util::StreamExt as _;
    socket.next().await
}

async fn futures_send(socket: &mut Socket, frame: Frame) {
    use futures_util::SinkExt as _;
    socket.send(frame).await.unwrap();
}

#[tokio::test]
async fn a_configured_protocol_becomes_a_tunnel_with_nothing_lost_at_its_seams() {
    let upstream = echo().await;
    let proxy = Proxy::start(&one_route(&upstream.url(""), "upgrades: [websocket, echo/1]")).await;
    let mut client = End::connect(proxy.address()).await;
    // The first line comes with the head, before the 101: it waits for it.
    client.send(format!("{ASK}early\n")).await;
    let answer = client.head().await.unwrap();
    assert_eq!(answer.status(), 101);
    assert_eq!(answer.header("upgrade").map(str::to_lowercase).as_deref(), Some("echo/1"));
    assert_eq!(answer.header("connection").map(str::to_lowercase).as_deref(), Some("upgrade"));
    assert_eq!(client.exactly(13).await, b"welcomeearly\n");
    client.send("late\n").await;
    assert_eq!(client.exactly(5).await, b"late\n");
    // A half-closed tunnel still carries the other way.
    client.finish().await;
    assert_eq!(client.rest().await, b"bye");
    let seen = upstream.only();
    assert_eq!(seen.header("upgrade").map(str::to_lowercase).as_deref(), Some("echo/1"));
    assert_eq!(seen.header("authorization"), Some("Bearer T0K3N"));
}

#[tokio::test]
async fn an_upgrade_goes_out_as_1_1_also_where_http_2_is_spoken() {
    let upstream = echo().await;
    let yaml = one_route(&format!("{{url: '{}', protocol: h2c}}", upstream.url("")), "upgrades: [echo/1]");
    let proxy = Proxy::start(&yaml).await;
    let mut client = End::connect(proxy.address()).await;
    client.send(ASK).await;
    assert_eq!(client.head().await.unwrap().status(), 101);
    assert_eq!(client.exactly(7).await, b"welcome");
    assert_eq!(upstream.only().first_line(), "GET /chat HTTP/1.1");
}

#[tokio::test]
async fn a_tunnel_ends_with_either_of_its_ends() {
    let (gone, mut goes) = tokio::sync::mpsc::unbounded_channel();
    let upstream = Wire::start(move |mut caller| {
        let gone = gone.clone();
        async move {
            caller.request().await;
            caller.say("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo/1\r\n\r\n").await;
            if caller.end.through(b"hang up\n").await.is_none() {
                gone.send(()).unwrap();
            }
        }
    })
    .await;
    let proxy = Proxy::start(&one_route(&upstream.url(""), "upgrades: [echo/1]")).await;
    let mut client = End::connect(proxy.address()).await;
    client.send(ASK).await;
    assert_eq!(client.head().await.unwrap().status(), 101);
    client.send("hang up\n").await;
    assert!(client.is_over().await);

    let mut client = End::connect(proxy.address()).await;
    client.send(ASK).await;
    assert_eq!(client.head().await.unwrap().status(), 101);
    drop(client);
    soon("the upstream's end", goes.recv()).await.unwrap();
}

#[tokio::test]
async fn a_refused_upgrade_is_a_problem_and_reaches_nobody() {
    let upstream = Upstream::start().await;
    let more = "upgrades: [echo/1]\naccess: {api_keys: [{name: a, key: k3y}]}";
    let proxy = Proxy::start(&one_route(&upstream.url(""), more)).await;
    let mut client = End::connect(proxy.address()).await;
    client.send(ASK).await;
    is_problem(&client.answer().await, 401, "key_required");
    assert!(upstream.seen().is_empty());
}
