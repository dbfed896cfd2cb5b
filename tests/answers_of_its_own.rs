//! The proxy's own answers: each row of the contract's table, as a client sees it.

use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

use crate::harness::proxy::Proxy;
use crate::harness::raw::{End, Message, Wire, exchange};
use crate::harness::yaml::{TOKEN, one_route, routes};

/// A problem of RFC 9457 with a `Proxy-Status` of RFC 9209, and nothing secret in it.
pub(crate) fn is_problem(answer: &Message, status: u16, code: &str) {
    assert_eq!(answer.status(), status, "{answer:?}");
    assert!(answer.whole, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{answer:?}");
    let proxy_status = answer.header("proxy-status").unwrap_or_else(|| panic!("{answer:?}"));
    assert!(proxy_status.starts_with("tokenferry; error="), "{proxy_status}");
    let problem = answer.json();
    assert_eq!(problem["status"], status, "{answer:?}");
    assert_eq!(problem["code"], code, "{answer:?}");
    for field in ["type", "title", "detail", "request_id"] {
        assert!(problem[field].as_str().is_some_and(|text| !text.is_empty()), "{field}: {answer:?}");
    }
    assert!(!format!("{answer:?}").contains(TOKEN));
}

/// A port where nobody listens.
pub(crate) async fn dead() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

#[tokio::test]
async fn what_no_route_takes_is_answered_404_and_the_connection_lives_on() {
    let upstream = Wire::ok().await;
    let yaml =
        routes(&format!("- {{name: a, match: {{path: /a}}, upstream: {}, credential: none}}\n", upstream.url("")));
    let proxy = Proxy::start(&yaml).await;
    let mut client = End::connect(proxy.address()).await;
    client.send("GET /b HTTP/1.1\r\nHost: x\r\n\r\n").await;
    is_problem(&client.answer().await, 404, "no_route");
    client.send("GET /a HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(client.answer().await.text(), "ok");
}

#[tokio::test]
async fn a_method_of_nobodys_own_is_forwarded() {
    let upstream = Wire::ok().await;
    let proxy = Proxy::start(&one_route(&upstream.url(""), "")).await;
    for method in ["PROPFIND", "PURGE", "OPTIONS"] {
        exchange(proxy.address(), format!("{method} / HTTP/1.1\r\nHost: x\r\n\r\n")).await;
        assert_eq!(upstream.last().first_line(), format!("{method} / HTTP/1.1"));
    }
}

#[tokio::test]
async fn a_body_that_stands_still_is_answered_408_and_the_connection_closes() {
    let upstream = Wire::ok().await;
    let json = "inject: {json: token}";
    let streamed = one_route(&upstream.url(""), "timeouts: {body: 300ms}");
    let spliced = streamed.replace("token: T0K3N", &format!("token: T0K3N, {json}"));
    for yaml in [streamed, spliced] {
        let proxy = Proxy::start(&yaml).await;
        let mut client = End::connect(proxy.address()).await;
        client
            .send("POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n{\"a\"")
            .await;
        is_problem(&client.answer().await, 408, "body_timeout");
        assert!(client.is_over().await);
    }
}

#[tokio::test]
async fn a_body_that_moves_now_and_then_is_not_too_slow() {
    let upstream = Wire::ok().await;
    let proxy = Proxy::start(&one_route(&upstream.url(""), "timeouts: {body: 500ms}")).await;
    let mut client = End::connect(proxy.address()).await;
    client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\n").await;
    for _ in 0..8 {
        tokio::time::sleep(Duration::from_millis(150)).await;
        client.send("x").await;
    }
    assert_eq!(client.answer().await.status(), 200);
    assert_eq!(upstream.only().text(), "xxxxxxxx");
}

#[tokio::test]
async fn a_body_over_the_limit_is_answered_413_before_the_upstream_has_it() {
    let upstream = Wire::ok().await;
    let proxy =
        Proxy::start(&one_route(&upstream.url(""), "limits: {body: 16B}\n".replace("16B", "1KiB").as_str())).await;
    let big = "x".repeat(1025);
    let answer =
        exchange(proxy.address(), format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1025\r\n\r\n{big}")).await;
    is_problem(&answer, 413, "body_too_large");
    assert_eq!(upstream.accepted(), 0, "known from the head");

    let chunked = format!("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n401\r\n{big}\r\n0\r\n\r\n");
    is_problem(&exchange(proxy.address(), chunked).await, 413, "body_too_large");
    assert!(upstream.seen().iter().all(|seen| !seen.whole), "no whole request: {:?}", upstream.seen());

    let fits = &big[1..];
    let answer =
        exchange(proxy.address(), format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1024\r\n\r\n{fits}")).await;
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn an_upstream_that_cannot_be_reached_is_502() {
    let proxy = Proxy::start(&one_route(&dead().await, "")).await;
    let mut client = End::connect(proxy.address()).await;
    for _ in 0..2 {
        client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi").await;
        let answer = client.answer().await;
        is_problem(&answer, 502, "upstream_unreachable");
        assert_eq!(answer.header("proxy-status"), Some("tokenferry; error=connection_refused"));
    }
}

#[tokio::test]
async fn an_upstream_that_is_too_slow_is_504() {
    let upstream = Wire::start(|mut caller| async move {
        caller.request().await;
        std::future::pending::<()>().await;
    })
    .await;
    let proxy = Proxy::start(&one_route(&upstream.url(""), "timeouts: {response: 200ms}")).await;
    let mut client = End::connect(proxy.address()).await;
    for request in ["GET / HTTP/1.1\r\nHost: x\r\n\r\n", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx"] {
        client.send(request).await;
        let answer = client.answer().await;
        is_problem(&answer, 504, "upstream_timeout");
        assert_eq!(answer.header("proxy-status"), Some("tokenferry; error=http_response_timeout"));
    }
    assert_eq!(upstream.accepted(), 2, "a connection that owes an answer is not used again");
}

#[tokio::test]
async fn an_upstream_that_takes_no_connection_is_504() {
    // A listener whose queue is full does not answer the handshake.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let mut filling = Vec::new();
    while let Ok(Ok(stream)) = tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(address)).await {
        filling.push(stream);
    }
    let proxy = Proxy::start(&one_route(&format!("http://{address}"), "timeouts: {connect: 200ms}")).await;
    let answer = exchange(proxy.address(), "GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    is_problem(&answer, 504, "upstream_connect_timeout");
}

#[tokio::test]
async fn a_credential_without_a_token_is_503_with_retry_after_and_nothing_goes_upstream() {
    let upstream = Wire::ok().await;
    let yaml = format!(
        "credentials:\n  gone: {{provider: oauth2, token_url: {}/token, client_id: a, client_secret: 'canary-secret'}}\n\
         routes:\n  - {{name: r, upstream: {}, credential: gone}}\n",
        dead().await,
        upstream.url("")
    );
    let proxy = Proxy::start(&yaml).await;
    let answer = exchange(proxy.address(), "GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    is_problem(&answer, 503, "token_unavailable");
    assert!(answer.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
    assert!(!format!("{answer:?}").contains("canary"));
    assert_eq!(upstream.accepted(), 0);
}

#[tokio::test]
async fn a_request_that_comes_back_to_its_proxy_is_508() {
    // A relay leads from the upstream's address to the proxy itself.
    let relay = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Proxy::start(&one_route(&format!("http://{}", relay.local_addr().unwrap()), "")).await;
    let address = proxy.address();
    tokio::spawn(async move {
        loop {
            let (mut from, _) = relay.accept().await.unwrap();
            tokio::spawn(async move {
                let mut to = TcpStream::connect(address).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut from, &mut to).await;
            });
        }
    });
    let answer = exchange(address, "GET /x HTTP/1.1\r\nHost: x\r\nVia: 1.0 somebody, 1.1 else (a, b\r\n\r\n").await;
    is_problem(&answer, 508, "loop");
}

#[tokio::test]
async fn a_head_that_is_too_large_is_431_or_414_and_closes() {
    let upstream = Wire::ok().await;
    let proxy = Proxy::start(&format!("client: {{head_size: 8KiB}}\n{}", one_route(&upstream.url(""), ""))).await;
    let long = "x".repeat(9000);
    let many: String = (0..1000).map(|n| format!("X{n}: y\r\n")).collect();
    for head in [
        format!("GET / HTTP/1.1\r\nHost: x\r\nLong: {long}\r\n\r\n"),
        format!("GET /{long} HTTP/1.1\r\nHost: x\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: x\r\n{many}\r\n"),
    ] {
        let mut client = End::connect(proxy.address()).await;
        client.send(&head).await;
        let answer = client.answer().await;
        assert!([431, 414].contains(&answer.status()), "{answer:?}");
        assert!(client.is_over().await);
    }
    let fits = "x".repeat(4000);
    let answer = exchange(proxy.address(), format!("GET /{fits} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(upstream.seen().len(), 1);
}

#[tokio::test]
async fn a_route_that_answers_by_itself_does_so_after_its_access_rules() {
    let upstream = Wire::ok().await;
    let yaml = routes(&format!(
        "- {{name: no, match: {{path: /secrets}}, respond: 403}}\n\
         - {{name: empty, match: {{path: /empty}}, respond: 204}}\n\
         - {{name: keyed, match: {{path: /keyed}}, respond: 410, access: {{api_keys: [{{name: a, key: k3y}}]}}}}\n\
         - {{name: rest, upstream: {}, credential: fixed}}\n",
        upstream.url("")
    ));
    let proxy = Proxy::start(&yaml).await;
    let mut client = End::connect(proxy.address()).await;
    let mut ask = async |method: &str, path: &str, header: &str| {
        client.send(format!("{method} {path} HTTP/1.1\r\nHost: x\r\n{header}\r\n")).await;
        client.answer_to(method).await
    };
    let answer = ask("GET", "/secrets/1", "").await;
    assert_eq!((answer.status(), answer.json()["code"].as_str()), (403, Some("respond")));
    assert_eq!(ask("HEAD", "/secrets", "").await.status(), 403);
    let empty = ask("GET", "/empty", "").await;
    assert_eq!((empty.status(), empty.header("content-length")), (204, None));
    assert_eq!(ask("GET", "/keyed", "").await.status(), 401);
    assert_eq!(ask("GET", "/keyed", "X-Api-Key: k3y\r\n").await.status(), 410);
    assert_eq!(ask("GET", "/secretsx", "").await.status(), 200);
    assert_eq!(upstream.seen().len(), 1);
}
