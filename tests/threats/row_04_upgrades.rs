//! Row 4: tunnels that nobody agreed on. There is one only behind a 101 that was asked for, on a route
//! that allows the protocol.

use crate::answers_of_its_own::is_problem;
use crate::harness::frames::{
    DATA, END_HEADERS, GOAWAY, HEADERS, Http2, RST_STREAM, SETTINGS, block, field, frame, head,
};
use crate::harness::proxy::Proxy;
use crate::harness::raw::{End, Wire, exchange};
use crate::harness::yaml::one_route;

const PROTOCOL_ERROR: u32 = 1;
const ASK: &str = "GET /chat HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo/1\r\n\r\n";

#[tokio::test]
async fn an_upgrade_that_the_route_does_not_allow_is_forwarded_plainly() {
    let upstream = Wire::ok().await;
    for (more, lines) in [
        ("", "Connection: Upgrade\r\nUpgrade: echo/1\r\n"),
        ("upgrades: []", "Connection: Upgrade\r\nUpgrade: websocket\r\n"),
        ("", "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"),
        ("upgrades: [websocket]", "Upgrade: websocket\r\n"),
        ("upgrades: [websocket]", "Connection: keep-alive\r\nUpgrade: websocket\r\n"),
    ] {
        let proxy = Proxy::start(&one_route(&upstream.url(""), more)).await;
        let mut client = End::connect(proxy.address()).await;
        client.send(format!("GET /a HTTP/1.1\r\nHost: x\r\n{lines}\r\n")).await;
        assert_eq!(client.answer().await.text(), "ok", "{lines:?}");
        let seen = upstream.last();
        for gone in ["upgrade", "connection", "http2-settings"] {
            assert_eq!(seen.header(gone), None, "{lines:?}: {seen:?}");
        }
        // What follows is the next request.
        client.send("GET /b HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert_eq!(client.answer().await.text(), "ok", "{lines:?}");
        assert_eq!(upstream.last().target(), "/b");
    }
}

#[tokio::test]
async fn http_1_0_and_http_2_clients_upgrade_nothing() {
    let upstream = Wire::ok().await;
    let proxy = Proxy::start(&one_route(&upstream.url(""), "upgrades: [websocket]")).await;
    let mut client = End::connect(proxy.address()).await;
    client.send("GET /a HTTP/1.0\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n").await;
    assert_eq!(client.answer().await.text(), "ok");
    assert_eq!((upstream.only().header("upgrade"), upstream.only().header("connection")), (None, None));
    // RFC 9113 section 8.2.2, and RFC 8441 section 3: nothing was said of extended CONNECT.
    let extended = vec![
        field(":method", "CONNECT"),
        field(":protocol", "websocket"),
        field(":scheme", "http"),
        field(":path", "/a"),
        field(":authority", "x"),
        field("sec-websocket-version", "13"),
    ];
    let plain = [head("GET", "/a"), vec![field("upgrade", "websocket")]].concat();
    let both = [head("GET", "/a"), vec![field("connection", "upgrade"), field("upgrade", "websocket")]].concat();
    for asked in [extended, plain, both] {
        let mut client = Http2::connect(proxy.address()).await;
        client.send([frame(HEADERS, END_HEADERS, 1, &block(&asked)), frame(DATA, 0, 1, b"hello")].concat()).await;
        let outcome = loop {
            let frame = client.frame().await.expect("an answer");
            match frame.kind {
                // SETTINGS_ENABLE_CONNECT_PROTOCOL is 8.
                SETTINGS => assert!(frame.payload.chunks(6).all(|one| one[..2] != [0, 8]), "{frame:?}"),
                RST_STREAM | GOAWAY => break frame.code(),
                HEADERS => panic!("{} to {asked:?}", frame.status()),
                _ => {}
            }
        };
        assert_eq!(outcome, PROTOCOL_ERROR, "{asked:?}");
    }
    assert_eq!(upstream.seen().len(), 1, "none of them went on");
}

#[tokio::test]
async fn bytes_behind_an_upgrade_that_the_upstream_refuses_are_the_next_request() {
    let upstream = Wire::always("HTTP/1.1 426 Upgrade Required\r\nContent-Length: 2\r\nUpgrade: other\r\n\r\nno").await;
    let proxy = Proxy::start(&one_route(&upstream.url(""), "upgrades: [echo/1]")).await;
    let mut client = End::connect(proxy.address()).await;
    client.send(format!("{ASK}GET /next HTTP/1.1\r\nHost: x\r\nAuthorization: mine\r\n\r\n")).await;
    for _ in 0..2 {
        let answer = client.answer().await;
        assert_eq!((answer.status(), answer.text().as_str()), (426, "no"));
    }
    let seen = upstream.seen();
    assert_eq!(seen.len(), 2, "{seen:?}");
    assert_eq!((seen[1].target(), seen[1].header("authorization")), ("/next", Some("Bearer T0K3N")));
}

#[tokio::test]
async fn an_upstream_that_switches_to_something_else_is_502_and_no_tunnel() {
    for head in ["Connection: upgrade\r\nUpgrade: other\r\n", "Connection: upgrade\r\n"] {
        let upstream = Wire::always(format!("HTTP/1.1 101 Switching Protocols\r\n{head}\r\nsecret")).await;
        let proxy = Proxy::start(&one_route(&upstream.url(""), "upgrades: [echo/1]")).await;
        let mut client = End::connect(proxy.address()).await;
        client.send(ASK).await;
        is_problem(&client.answer().await, 502, "upstream_broke_off");
        assert!(!String::from_utf8_lossy(&client.rest_until_quiet().await).contains("secret"));
    }
}

#[tokio::test]
async fn h2c_is_never_asked_for_whatever_a_route_allows_and_however_it_is_spelled() {
    let upstream = Wire::ok().await;
    for more in ["", "upgrades: [websocket]", "upgrades: [echo/1]"] {
        let proxy = Proxy::start(&one_route(&upstream.url(""), more)).await;
        for lines in [
            "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n",
            "Connection: upgrade,http2-settings\r\nupgrade: H2C\r\nhttp2-settings: AAMAAABk\r\n",
            "Connection: Upgrade\r\nUpgrade: h2c, websocket\r\nHTTP2_Settings: AAMAAABk\r\n",
            "Connection: Upgrade\r\nUpgrade: HTTP/2.0\r\nHTTP2-Settings: AAMAAABk\r\n",
            "Connection: Upgrade\r\nUpgrade: h2\r\n",
            "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n",
            "Connection: HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n",
            "Connection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\nHTTP2-Settings: AAMAAABk\r\n",
        ] {
            // What a client that believes in the upgrade sends next is not HTTP/1, and not passed on.
            let request = format!("GET /h2c HTTP/1.1\r\nHost: x\r\n{lines}\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
            let before = upstream.seen().len();
            let mut client = End::connect(proxy.address()).await;
            client.send(request).await;
            let answer = client.answer().await;
            assert_eq!((answer.status(), answer.text().as_str()), (200, "ok"), "{lines:?}");
            client.rest_until_quiet().await;
            let seen = upstream.seen().split_off(before);
            assert_eq!(seen.len(), 1, "{lines:?}: {seen:?}");
            for gone in ["upgrade", "connection", "http2-settings", "http2_settings"] {
                assert_eq!(seen[0].header(gone), None, "{lines:?}: {seen:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_protocol_that_the_upstream_answers_200_to_is_no_tunnel() {
    let upstream = Wire::ok().await;
    for more in ["", "upgrades: [foo]"] {
        let proxy = Proxy::start(&one_route(&upstream.url(""), more)).await;
        let before = upstream.seen().len();
        let mut client = End::connect(proxy.address()).await;
        let ask = "GET /foo HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: foo\r\n\r\n";
        client.send(format!("{ask}GET /next HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer mine\r\n\r\n")).await;
        for _ in 0..2 {
            assert_eq!(client.answer().await.text(), "ok");
        }
        // The bytes behind it are a request like any other, and get a credential of their own.
        let seen = upstream.seen().split_off(before);
        let told: Vec<_> = seen.iter().map(|seen| (seen.target(), seen.all("authorization"))).collect();
        assert_eq!(told, [("/foo", vec!["Bearer T0K3N"]), ("/next", vec!["Bearer T0K3N"])], "{more}");
    }
}

#[tokio::test]
async fn bytes_in_front_of_the_101_wait_for_it_and_are_the_tunnels_only_then() {
    let (saw, mut sees) = tokio::sync::mpsc::unbounded_channel();
    let upstream = Wire::start(move |mut caller| {
        let saw = saw.clone();
        async move {
            caller.request().await;
            saw.send(String::from_utf8_lossy(&caller.end.rest_until_quiet().await).into_owned()).unwrap();
            caller.say("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo/1\r\n\r\n").await;
            let behind = caller.end.through(b"\n").await.unwrap_or_default();
            saw.send(String::from_utf8_lossy(&behind).into_owned()).unwrap();
        }
    })
    .await;
    let proxy = Proxy::start(&one_route(&upstream.url(""), "upgrades: [echo/1]")).await;
    let mut client = End::connect(proxy.address()).await;
    client.send(format!("{ASK}GET /early HTTP/1.1 early\n")).await;
    assert_eq!(client.head().await.unwrap().status(), 101);
    assert_eq!(sees.recv().await.unwrap(), "", "nothing of it before the 101");
    assert_eq!(sees.recv().await.unwrap(), "GET /early HTTP/1.1 early\n");
}

#[tokio::test]
async fn a_101_that_nobody_asked_for_is_502() {
    for answer in [
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\nsecret",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\nsecret",
        "HTTP/1.1 101 Switching Protocols\r\n\r\nsecret",
    ] {
        let upstream = Wire::always(answer).await;
        let proxy = Proxy::start(&one_route(&upstream.url(""), "upgrades: [websocket]")).await;
        for lines in ["", "Connection: Upgrade\r\nUpgrade: echo/1\r\n", "Upgrade: websocket\r\n"] {
            let mut client = End::connect(proxy.address()).await;
            client.send(format!("GET / HTTP/1.1\r\nHost: x\r\n{lines}\r\n")).await;
            is_problem(&client.answer().await, 502, "upstream_broke_off");
            assert!(!String::from_utf8_lossy(&client.rest_until_quiet().await).contains("secret"));
        }
        let connections: Vec<_> = upstream.seen().iter().map(|seen| seen.connection).collect();
        assert_eq!(connections, [0, 1, 2], "none is used again");
    }
}

#[tokio::test]
async fn connect_makes_no_tunnel_and_reaches_nobody() {
    let upstream = Wire::ok().await;
    let proxy = Proxy::start(&one_route(&upstream.url(""), "upgrades: [websocket]")).await;
    for head in [
        format!("CONNECT {} HTTP/1.1\r\nHost: {0}\r\n", upstream.address),
        format!("CONNECT {} HTTP/1.0\r\n", upstream.address),
        "CONNECT x:443 HTTP/1.1\r\nHost: y\r\n".to_owned(),
        "CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\nContent-Length: 5\r\n".to_owned(),
        "CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\nConnection: upgrade\r\nUpgrade: websocket\r\n".to_owned(),
        "CONNECT / HTTP/1.1\r\nHost: x\r\n".to_owned(),
    ] {
        let mut client = End::connect(proxy.address()).await;
        client.send(format!("{head}\r\nhello")).await;
        let answer = client.answer().await;
        assert!([400, 405].contains(&answer.status()), "{head:?}: {answer:?}");
        client.rest_until_quiet().await;
    }
    assert_eq!(upstream.accepted(), 0);
    let plain = exchange(proxy.address(), "CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\n\r\n").await;
    is_problem(&plain, 405, "method_not_forwarded");
}

#[tokio::test]
async fn a_websocket_handshake_with_a_body_is_a_plain_request() {
    let upstream = Wire::ok().await;
    let proxy = Proxy::start(&one_route(&upstream.url(""), "")).await;
    for body in ["Content-Length: 5\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"] {
        let mut client = End::connect(proxy.address()).await;
        let head =
            "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n";
        client.send(format!("{head}{body}GET /next HTTP/1.1\r\nHost: x\r\n\r\n")).await;
        for _ in 0..2 {
            assert_eq!(client.answer().await.text(), "ok", "{body:?}");
        }
        let seen = upstream.seen();
        let [.., asked, next] = &seen[..] else { panic!("{seen:?}") };
        assert_eq!((asked.header("upgrade"), asked.header("connection")), (None, None), "{asked:?}");
        assert_eq!((asked.text().as_str(), next.target()), ("hello", "/next"));
    }
}

#[tokio::test]
async fn a_101_before_the_request_has_come_whole_is_no_tunnel() {
    let upstream = Wire::start(|mut caller| async move {
        caller.head().await;
        caller.say("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo/1\r\n\r\nsecret").await;
        caller.end.rest().await;
    })
    .await;
    let proxy = Proxy::start(&one_route(&upstream.url(""), "upgrades: [echo/1]")).await;
    let mut client = End::connect(proxy.address()).await;
    let head = "POST / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo/1\r\nContent-Length: 10\r\n\r\n";
    client.send(format!("{head}hello")).await;
    is_problem(&client.answer().await, 502, "upstream_broke_off");
    client.send("worldGET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(!String::from_utf8_lossy(&client.rest_until_quiet().await).contains("secret"));
}
