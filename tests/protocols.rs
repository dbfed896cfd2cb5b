//! The versions of HTTP on both sides, and what each of them has of its own.

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Full};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::convert::Infallible;
use std::net::SocketAddr;
use tokio::net::{TcpListener, TcpStream};

use crate::answers_of_its_own::is_problem;
use crate::harness::proxy::Proxy;
use crate::harness::raw::{End, Wire, exchange};
use crate::harness::upstream::Upstream;
use crate::harness::yaml::one_route;

/// An HTTP/2 client with prior knowledge.
pub(crate) async fn http2_client<B>(address: SocketAddr) -> http2::SendRequest<B>
where
    B: hyper::body::Body + Send + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let stream = TcpStream::connect(address).await.unwrap();
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

fn chunked(text: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{text}\r\n0\r\n\r\n", text.len())
}

#[tokio::test]
async fn http_1_0_is_served_without_host_and_without_chunks() {
    let upstream = Wire::always(chunked("hello")).await;
    let proxy = Proxy::start(&one_route(&upstream.url(""), "")).await;
    for (head, kept) in [
        ("GET /a HTTP/1.0\r\n\r\n", false),
        ("GET /a HTTP/1.0\r\nHost: old\r\n\r\n", false),
        ("GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", false), // no length is known, so its end is the connection's
    ] {
        let mut client = End::connect(proxy.address()).await;
        client.send(head).await;
        let answer = client.answer().await;
        assert!(answer.first_line().starts_with("HTTP/1.0 200") || answer.first_line().starts_with("HTTP/1.1 200"));
        assert_eq!((answer.text().as_str(), answer.header("transfer-encoding")), ("hello", None), "{answer:?}");
        assert_eq!(client.is_over().await, !kept);
        let seen = upstream.last();
        assert_eq!(seen.first_line(), "GET /a HTTP/1.1");
        assert_eq!(seen.header("host"), Some(upstream.address.to_string().as_str()));
        assert!(seen.header("via").unwrap().starts_with("1.0 tokenferry"));
    }

    let upstream = Wire::ok().await;
    let proxy = Proxy::start(&one_route(&upstream.url(""), "host_header: preserve")).await;
    let mut client = End::connect(proxy.address()).await;
    for _ in 0..2 {
        client.send("POST /a HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi").await;
        let answer = client.answer().await;
        assert_eq!(answer.text(), "ok");
        assert!(answer.header("connection").is_some_and(|c| c.eq_ignore_ascii_case("keep-alive")), "{answer:?}");
        assert_eq!(upstream.last().header("host"), Some(upstream.address.to_string().as_str()));
    }
    client.send("GET /a HTTP/1.0\r\n\r\n").await;
    assert_eq!(client.answer().await.text(), "ok");
    assert!(client.is_over().await);
    let refused = exchange(proxy.address(), "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n").await;
    assert_eq!(refused.status(), 400);
    is_problem(&exchange(proxy.address(), "GET /.. HTTP/1.0\r\n\r\n").await, 400, "bad_path");
}

#[tokio::test]
async fn an_http_1_0_upstream_is_spoken_to_in_1_1_and_its_answer_ends_with_its_connection() {
    let upstream = Wire::once("HTTP/1.0 200 OK\r\nX-A: b\r\n\r\nto the end").await;
    let proxy = Proxy::start(&one_route(&upstream.url(""), "")).await;
    let mut client = End::connect(proxy.address()).await;
    for _ in 0..2 {
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        let answer = client.answer().await;
        assert_eq!((answer.text().as_str(), answer.whole), ("to the end", true));
        assert_eq!(answer.first_line(), "HTTP/1.1 200 OK");
        assert_eq!(upstream.last().first_line(), "GET / HTTP/1.1");
    }
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_their_order() {
    let upstream = Upstream::answering_later(|seen| async move {
        // The first takes longest.
        let number: u64 = seen.target[1..].parse().unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(30 - 10 * number)).await;
        Response::new(Full::from([seen.target.as_bytes(), b" ", &seen.body].concat()))
    })
    .await;
    let proxy = Proxy::start(&one_route(&upstream.url(""), "")).await;
    let mut client = End::connect(proxy.address()).await;
    client
        .send(
            "GET /0 HTTP/1.1\r\nHost: x\r\n\r\nPOST /1 HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\none\
             POST /2 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ntwo\r\n0\r\n\r\n\
             TRACE / HTTP/1.1\r\nHost: x\r\n\r\nGET /3 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        )
        .await;
    for expected in ["/0 ", "/1 one", "/2 two"] {
        assert_eq!(client.answer().await.text(), expected);
    }
    assert_eq!(client.answer().await.status(), 405);
    let last = client.answer().await;
    assert_eq!((last.text().as_str(), last.header("connection")), ("/3 ", Some("close")));
    assert!(client.is_over().await);
}

#[tokio::test]
async fn head_gets_the_head_of_an_answer_and_no_body() {
    for (answer, length) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 12345\r\nETag: a\r\n\r\n", Some("12345")),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nETag: a\r\n\r\n", None),
        ("HTTP/1.1 200 OK\r\nETag: a\r\n\r\n", None),
        ("HTTP/1.1 304 Not Modified\r\nContent-Length: 12345\r\nETag: a\r\n\r\n", Some("12345")),
        ("HTTP/1.1 204 No Content\r\nETag: a\r\n\r\n", None),
    ] {
        let upstream = Wire::always(answer).await;
        let proxy = Proxy::start(&one_route(&upstream.url(""), "")).await;
        let mut client = End::connect(proxy.address()).await;
        for _ in 0..2 {
            client.send("HEAD /h HTTP/1.1\r\nHost: x\r\n\r\n").await;
            let got = client.answer_to("HEAD").await;
            assert_eq!(got.first_line(), answer.split("\r\n").next().unwrap());
            assert_eq!(got.header("etag"), Some("a"));
            assert!(got.header("content-length").is_none_or(|l| Some(l) == length), "{got:?} for {answer:?}");
            assert!(length.is_none() || got.header("content-length") == length || got.status() == 304, "{got:?}");
        }
        assert_eq!(upstream.accepted(), 1, "{answer:?}: no body is waited for");
        assert_eq!(upstream.last().first_line(), "HEAD /h HTTP/1.1");
    }
}

#[tokio::test]
async fn interim_answers_of_the_upstream_are_not_the_answer() {
    let upstream = Wire::always(
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    )
    .await;
    let proxy = Proxy::start(&one_route(&upstream.url(""), "")).await;
    assert_eq!(exchange(proxy.address(), "GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.text(), "ok");
}

#[tokio::test]
async fn a_client_that_expects_100_gets_it_when_its_body_is_wanted() {
    let upstream = Wire::ok().await;
    let proxy = Proxy::start(&one_route(&upstream.url(""), "")).await;
    let mut client = End::connect(proxy.address()).await;
    for _ in 0..2 {
        client.send("POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n").await;
        assert_eq!(client.head().await.unwrap().status(), 100);
        client.send("hello").await;
        assert_eq!(client.answer().await.text(), "ok");
        assert_eq!(upstream.last().text(), "hello");
        assert_eq!(upstream.last().header("expect"), None);
    }
}

#[tokio::test]
async fn a_client_that_expects_100_and_is_refused_gets_no_100() {
    let upstream = Wire::ok().await;
    let more = "limits: {body: 1KiB}\naccess: {api_keys: [{name: a, key: k3y}]}";
    let proxy = Proxy::start(&one_route(&upstream.url(""), more)).await;
    for (lines, status) in [
        ("Content-Length: 5\r\n", 401),
        ("X-Api-Key: k3y\r\nContent-Length: 2000\r\n", 413),
        ("Content-Length: 5\r\nHost: y\r\n", 400),
    ] {
        let mut client = End::connect(proxy.address()).await;
        client.send(format!("POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n{lines}\r\n")).await;
        assert_eq!(client.head().await.unwrap().status(), status, "{lines}");
    }
    assert_eq!(upstream.accepted(), 0);
}

#[tokio::test]
async fn bodies_of_unknown_length_go_both_ways_in_chunks() {
    let upstream = Wire::always(chunked("back")).await;
    let proxy = Proxy::start(&one_route(&upstream.url(""), "")).await;
    let mut client = End::connect(proxy.address()).await;
    for method in ["POST", "PUT", "PATCH", "DELETE", "GET", "OPTIONS"] {
        client.send(format!("{method} / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nto\r\n")).await;
        client.send("4;x=y\r\nward\r\n0\r\n\r\n").await;
        let answer = client.answer().await;
        assert_eq!((answer.text().as_str(), answer.header("transfer-encoding")), ("back", Some("chunked")));
        let seen = upstream.last();
        assert_eq!((seen.text().as_str(), seen.whole), ("toward", true), "{method}");
        assert_eq!(seen.header("transfer-encoding"), Some("chunked"), "{method}");
    }
    for (method, length) in [("POST", Some("0")), ("PUT", Some("0")), ("GET", None), ("DELETE", None)] {
        client.send(format!("{method} / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")).await;
        client.answer().await;
        assert_eq!(upstream.last().header("content-length"), length, "{method}");
        assert_eq!(upstream.last().header("transfer-encoding"), None, "{method}");
    }
    client.send("GET /with HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody").await;
    client.answer().await;
    assert_eq!((upstream.last().text().as_str(), upstream.last().header("content-length")), ("body", Some("4")));
}

#[tokio::test]
async fn trailers_go_through_to_clients_that_take_them() {
    let upstream = Wire::always(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 7\r\n\r\n",
    )
    .await;
    let proxy = Proxy::start(&one_route(&upstream.url(""), "")).await;
    let request = "POST / HTTP/1.1\r\nHost: x\r\nTE: trailers\r\nConnection: TE\r\nTrailer: X-Up\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Up: 8\r\n\r\n";
    let answer = exchange(proxy.address(), request).await;
    assert_eq!((answer.text().as_str(), answer.trailers.to_lowercase().as_str()), ("ok", "x-sum: 7\r\n"));
    assert_eq!(upstream.last().trailers.to_lowercase(), "x-up: 8\r\n");
}

#[tokio::test]
async fn http_2_with_prior_knowledge_comes_in_and_goes_on_as_1_1() {
    let upstream =
        Wire::always("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nKeep-Alive: timeout=5\r\nX-Odd: 1\r\n\r\nok").await;
    let proxy = Proxy::start(&one_route(&upstream.url("/v1"), "")).await;
    let mut client = http2_client::<Full<Bytes>>(proxy.address()).await;
    let request = Request::post("http://Legacy.example:81/a//b?q=%7e")
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .header("authorization", "mine")
        .header("te", "trailers")
        .body(Full::from("hello"))
        .unwrap();
    let answer = client.send_request(request).await.unwrap();
    assert_eq!((answer.status(), answer.version()), (StatusCode::OK, Version::HTTP_2));
    assert!(answer.headers()["x-odd"] == "1" && !answer.headers().contains_key("keep-alive"));
    assert_eq!(answer.collect_text().await, "ok");
    let seen = upstream.only();
    assert_eq!(seen.first_line(), "POST /v1/a//b?q=%7e HTTP/1.1");
    assert_eq!(seen.header("cookie"), Some("a=1; b=2"), "one line (RFC 9113 section 8.2.3)");
    assert_eq!(seen.header("authorization"), Some("Bearer T0K3N"));
    assert_eq!(seen.header("x-forwarded-host"), Some("Legacy.example:81"));
    assert!(seen.header("via").unwrap().starts_with("2.0 tokenferry"));
    assert_eq!((seen.header("te"), seen.text().as_str()), (None, "hello"));

    // A refusal is a problem here too, and the connection lives on.
    let answer = client.send_request(Request::get("http://x/a/../b").body(Full::default()).unwrap()).await.unwrap();
    assert_eq!(answer.status(), 400);
    assert!(answer.headers().contains_key("proxy-status"));
    assert!(!answer.headers().contains_key("connection"));
    let mut upload = Request::new(Full::from(vec![b'x'; 300_000]));
    *upload.uri_mut() = "http://x/trace".parse().unwrap();
    *upload.method_mut() = http::Method::TRACE;
    assert_eq!(client.send_request(upload).await.unwrap().status(), 405);
    let answer = client.send_request(Request::get("http://x/").body(Full::default()).unwrap()).await.unwrap();
    assert_eq!(answer.collect_text().await, "ok");
}

#[tokio::test]
async fn many_streams_of_one_http_2_connection_are_answered_at_once() {
    let upstream = Upstream::answering_later(|seen| async move {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        Response::new(Full::from(seen.target))
    })
    .await;
    let proxy = Proxy::start(&one_route(&upstream.url(""), "")).await;
    let client = http2_client::<Full<Bytes>>(proxy.address()).await;
    let began = std::time::Instant::now();
    let answers: Vec<_> = (0..50)
        .map(|n| {
            let mut client = client.clone();
            tokio::spawn(async move {
                let request = Request::get(format!("http://x/{n}")).body(Full::default()).unwrap();
                (n, client.send_request(request).await.unwrap().collect_text().await)
            })
        })
        .collect();
    for answer in answers {
        let (n, text) = answer.await.unwrap();
        assert_eq!(text, format!("/{n}"));
    }
    assert!(began.elapsed() < std::time::Duration::from_secs(4), "one after the other it would be 5 s");
}

#[tokio::test]
async fn http_2_goes_out_where_it_is_configured_and_http_1_elsewhere() {
    let upstream = Upstream::start().await;
    for (protocol, version) in [("auto", Version::HTTP_11), ("http1", Version::HTTP_11), ("h2c", Version::HTTP_2)] {
        let yaml = one_route(&format!("{{url: '{}', protocol: {protocol}}}", upstream.url("/v1")), "");
        let proxy = Proxy::start(&yaml).await;
        let mut client = End::connect(proxy.address()).await;
        for _ in 0..2 {
            client.send("POST /a?b HTTP/1.1\r\nHost: x\r\nTE: trailers\r\nContent-Length: 2\r\n\r\nhi").await;
            assert_eq!(client.answer().await.text(), "ok");
            let seen = upstream.last();
            assert_eq!((seen.version, seen.target.as_str(), seen.body.as_ref()), (version, "/v1/a?b", b"hi".as_ref()));
            assert_eq!(seen.header("authorization"), Some("Bearer T0K3N"));
            assert_eq!(seen.header("te"), (version == Version::HTTP_2).then_some("trailers"), "{protocol}");
        }
    }
    let http1_only = Wire::ok().await;
    let yaml = one_route(&format!("{{url: '{}', protocol: h2c}}", http1_only.url("")), "");
    let proxy = Proxy::start(&yaml).await;
    let answer = exchange(proxy.address(), "GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(answer.status(), 502, "{answer:?}");
}

#[tokio::test]
async fn grpc_passes_with_te_and_its_trailers_over_h2c() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let service = service_fn(|request: Request<Incoming>| async move {
                assert_eq!(request.headers()["te"], "trailers");
                let mut body = request.into_body();
                let mut frames: Vec<Result<Frame<Bytes>, Infallible>> = Vec::new();
                while let Some(frame) = body.frame().await {
                    frames.push(Ok(frame.unwrap()));
                }
                frames.retain(|frame| frame.as_ref().is_ok_and(Frame::is_data));
                let mut trailers = HeaderMap::new();
                trailers.insert("grpc-status", "0".parse().unwrap());
                frames.push(Ok(Frame::trailers(trailers)));
                let body = Frames(frames.into());
                let answer = Response::builder().header("content-type", "application/grpc").body(body).unwrap();
                Ok::<_, Infallible>(answer)
            });
            tokio::spawn(
                hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), service),
            );
        }
    });
    let yaml = one_route(&format!("{{url: 'http://{address}', protocol: h2c}}"), "");
    let proxy = Proxy::start(&yaml).await;
    let mut client = http2_client::<Full<Bytes>>(proxy.address()).await;
    let request = Request::post("http://x/package.Service/Method")
        .header("te", "trailers")
        .header("content-type", "application/grpc")
        .body(Full::from(&b"\0\0\0\0\x02hi"[..]))
        .unwrap();
    let answer = client.send_request(request).await.unwrap();
    assert_eq!(answer.headers()["content-type"], "application/grpc");
    let collected = answer.into_body().collect().await.unwrap();
    assert_eq!(collected.trailers().unwrap()["grpc-status"], "0");
    assert_eq!(collected.to_bytes().as_ref(), b"\0\0\0\0\x02hi");
}

/// A stream of what is there.
struct Frames(std::collections::VecDeque<Result<Frame<Bytes>, Infallible>>);

impl hyper::body::Body for Frames {
    type Data = Bytes;
    type Error = Infallible;
    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        std::task::Poll::Ready(self.0.pop_front())
    }
}

/// An answer's body as text.
pub(crate) trait CollectText {
    async fn collect_text(self) -> String;
}

impl CollectText for Response<Incoming> {
    async fn collect_text(self) -> String {
        let body = self.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8_lossy(&body).into_owned()
    }
}
