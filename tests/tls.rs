//! TLS on both sides.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Version};
use http_body_util::Full;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use crate::answers_of_its_own::is_problem;
use crate::harness::proxy::Proxy;
use crate::harness::raw::{End, Wire, exchange, soon};
use crate::harness::tls::Authority;
use crate::harness::upstream::Upstream;
use crate::harness::yaml::one_route;
use crate::protocols::CollectText;

const GET: &str = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

fn listener(yaml: &str) -> String {
    format!("listeners: [{{address: '127.0.0.1:0', tls: {{cert: server.crt, key: server.key}}}}]\n{yaml}")
}

#[tokio::test]
async fn clients_choose_http_2_or_1_1_by_alpn() {
    let folder = TempDir::new().unwrap();
    let authority = Authority::new();
    authority.identity(&["localhost"]).write(folder.path(), "server");
    let upstream =
        Wire::always("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nSet-Cookie: a=1; Secure; HttpOnly\r\n\r\nok").await;
    let proxy = Proxy::start_in(folder, &listener(&one_route(&upstream.url(""), "")), &[]).await;

    let stream = authority.connect(proxy.address(), &["h2", "http/1.1"]).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut client, connection) =
        http2::handshake::<_, _, Full<Bytes>>(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let answer = client.send_request(Request::get("https://localhost/").body(Full::default()).unwrap()).await.unwrap();
    assert_eq!(answer.version(), Version::HTTP_2);
    assert_eq!(answer.headers()["set-cookie"], "a=1; Secure; HttpOnly", "the client's connection is not plain");
    assert_eq!(answer.collect_text().await, "ok");
    assert_eq!(upstream.last().header("x-forwarded-proto"), Some("https"));

    for alpn in [&["http/1.1"][..], &[]] {
        let mut client = End::over(authority.connect(proxy.address(), alpn).await.unwrap());
        for _ in 0..2 {
            client.send(GET).await;
            assert_eq!(client.answer().await.text(), "ok");
        }
    }
    assert!(authority.connect(proxy.address(), &["smtp"]).await.is_err());
    assert!(Authority::new().connect(proxy.address(), &[]).await.is_err(), "the client refuses a stranger");

    assert_eq!(upstream.seen().len(), 5);
}

#[tokio::test]
async fn plain_http_to_a_tls_listener_is_told_so_and_what_is_neither_gets_no_http() {
    let (upstream, folder) = (Wire::ok().await, TempDir::new().unwrap());
    let authority = Authority::new();
    authority.identity(&["localhost"]).write(folder.path(), "server");
    let proxy = Proxy::start_in(folder, &listener(&one_route(&upstream.url(""), "")), &[]).await;
    let post = format!("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 40000\r\n\r\n{}", "x".repeat(40_000));
    for request in [GET, "GET / HTTP/1.0\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "P", &post] {
        let mut plain = End::connect(proxy.address()).await;
        plain.send(request).await;
        let answer = plain.answer().await;
        assert_eq!((answer.status(), answer.header("connection")), (400, Some("close")), "{request:.20}");
        assert!(answer.whole && answer.text().contains("write https:// instead"), "{answer:?}");
        plain.finish().await;
        assert!(plain.is_over().await, "{request:.20}");
    }
    for junk in
        [&b"\r\n"[..], b"get / http/1.1\r\n\r\n", b"\x80\x2e\x01\x03\x01", b"\0\0\0\0\0\0", b"\x16\x03\x01\x00\x02hi"]
    {
        let mut end = End::connect(proxy.address()).await;
        end.send(junk).await;
        end.finish().await;
        let rest = end.rest().await;
        assert!(!rest.starts_with(b"HTTP"), "{junk:?}: {}", String::from_utf8_lossy(&rest));
    }
    assert_eq!(upstream.accepted(), 0);
}

#[tokio::test]
async fn an_upstream_is_spoken_to_in_what_its_alpn_chooses() {
    let authority = Authority::new();
    let identity = authority.identity(&["localhost"]);
    for (offered, protocol, version) in [
        (&["h2", "http/1.1"][..], "auto", Some(Version::HTTP_2)),
        (&["http/1.1"], "auto", Some(Version::HTTP_11)),
        (&[], "auto", Some(Version::HTTP_11)),
        (&["h2", "http/1.1"], "http1", Some(Version::HTTP_11)),
        (&["h2"], "h2", Some(Version::HTTP_2)),
        (&["http/1.1"], "h2", None),
        (&[], "h2", None),
    ] {
        let upstream = Upstream::tls(identity.server(offered, None)).await;
        let folder = TempDir::new().unwrap();
        authority.write(&folder.path().join("ca.pem"));
        let url = format!("https://localhost:{}/v1", upstream.address.port());
        let yaml = one_route(&format!("{{url: '{url}', ca: ca.pem, protocol: {protocol}}}"), "");
        let proxy = Proxy::start_in(folder, &yaml, &[]).await;
        let mut client = End::connect(proxy.address()).await;
        for _ in 0..2 {
            client
                .send("POST /a HTTP/1.1\r\nHost: x\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n")
                .await;
            let answer = client.answer().await;
            let Some(version) = version else {
                is_problem(&answer, 502, "upstream_unreachable");
                assert_eq!(answer.header("proxy-status"), Some("tokenferry; error=tls_protocol_error"));
                assert!(upstream.seen().is_empty());
                continue;
            };
            assert_eq!(answer.text(), "ok", "{offered:?} {protocol}");
            let seen = upstream.last();
            assert_eq!((seen.version, seen.target.as_str(), seen.body.as_ref()), (version, "/v1/a", &b"hi"[..]));
            assert_eq!(seen.header("authorization"), Some("Bearer T0K3N"));
            assert_eq!(seen.header("te"), (version == Version::HTTP_2).then_some("trailers"), "{offered:?} {protocol}");
        }
    }
}

#[tokio::test]
async fn a_client_certificate_is_shown_where_one_is_configured() {
    let authority = Authority::new();
    let clients = Authority::new();
    let upstream = Upstream::tls(authority.identity(&["localhost"]).server(&["h2", "http/1.1"], Some(&clients))).await;
    let url = format!("https://localhost:{}", upstream.address.port());
    for (shown, good) in [(Some(&clients), true), (Some(&authority), false), (None, false)] {
        let folder = TempDir::new().unwrap();
        authority.write(&folder.path().join("ca.pem"));
        let mut more = String::new();
        if let Some(issuer) = shown {
            issuer.identity(&["client"]).write(folder.path(), "client");
            more = ", client_cert: client.crt, client_key: client.key".to_owned();
        }
        let proxy = Proxy::start_in(folder, &one_route(&format!("{{url: '{url}', ca: ca.pem{more}}}"), ""), &[]).await;
        let answer = exchange(proxy.address(), GET).await;
        assert_eq!(answer.status(), if good { 200 } else { 502 }, "{answer:?}");
    }
    assert_eq!(upstream.seen().len(), 1);
}

#[tokio::test]
async fn an_answer_cut_off_under_tls_is_no_whole_answer() {
    let authority = Authority::new();
    let acceptor = tokio_rustls::TlsAcceptor::from(authority.identity(&["localhost"]).server(&[], None));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = acceptor.accept(stream).await.unwrap();
            let mut head = [0; 1024];
            let _ = stream.read(&mut head).await;
            let mut end = End::over(stream);
            // No length, and no close_notify at the end: an attacker may have cut it.
            end.send("HTTP/1.1 200 OK\r\n\r\nhalf").await;
        }
    });
    let folder = TempDir::new().unwrap();
    authority.write(&folder.path().join("ca.pem"));
    let yaml = one_route(&format!("{{url: 'https://localhost:{port}', ca: ca.pem}}"), "");
    let proxy = Proxy::start_in(folder, &yaml, &[]).await;
    let answer = exchange(proxy.address(), GET).await;
    assert!(answer.status() == 502 || !answer.whole, "{answer:?}");
}

#[tokio::test]
async fn a_changed_certificate_is_shown_to_the_next_client() {
    let folder = TempDir::new().unwrap();
    let (old, new) = (Authority::new(), Authority::new());
    old.identity(&["localhost"]).write(folder.path(), "server");
    let upstream = Wire::ok().await;
    let proxy = Proxy::start_in(folder, &listener(&one_route(&upstream.url(""), "")), &[]).await;
    let mut before = End::over(old.connect(proxy.address(), &[]).await.unwrap());
    new.identity(&["localhost"]).write(&proxy.folder(), "server");
    proxy.hang_up().await;
    let connected = soon("the new certificate", async {
        loop {
            if let Ok(stream) = new.connect(proxy.address(), &[]).await {
                return stream;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    for client in [&mut End::over(connected.await), &mut before] {
        client.send(GET).await;
        assert_eq!(client.answer().await.text(), "ok");
    }
}
