//! Whose request it is: the socket's, and another's only on the word of a trusted proxy. Every client
//! here is on loopback: 127.0.0.2 is where a trusted proxy is, 127.0.0.1 is anybody.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use tempfile::TempDir;
use tokio::net::{TcpSocket, TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use crate::harness::client::{get, text};
use crate::harness::collector::{Collector, named};
use crate::harness::eventually;
use crate::harness::process::Process;
use crate::harness::proxy::Proxy;
use crate::harness::raw::{End, Message, Wire, soon};
use crate::harness::tls::Authority;
use crate::harness::yaml::{one_route, routes};
use crate::protocols::CollectText;

const ANYBODY: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const TRUSTED: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

/// The only one who is let in.
const FRIEND: &str = "access: {allow: [192.0.2.7]}";

async fn connect_from(from: IpAddr, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(from, 0)).unwrap();
    let stream = socket.connect(to).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

async fn from(from: IpAddr, to: SocketAddr) -> End {
    End::over(connect_from(from, to).await)
}

fn request(lines: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: x\r\n{lines}\r\n")
}

async fn ask(who: IpAddr, proxy: &Proxy, lines: &str) -> Message {
    let mut end = from(who, proxy.address()).await;
    end.send(request(lines)).await;
    end.answer().await
}

/// One route for the friend alone, behind a trusted proxy. `more` stands at the top level.
fn guarded(upstream: &Wire, more: &str) -> String {
    format!("trusted_proxies: [127.0.0.2]\n{more}{}", one_route(&upstream.url(""), FRIEND))
}

/// A listener with the PROXY protocol.
const INTRODUCED: &str = "listeners: [{address: '127.0.0.1:0', proxy_protocol: true}]\n";

/// A head of version 2: command, family, and what follows.
fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[command, family][..], &length, rest].concat()
}

/// The address that the upstream is told last.
fn told(upstream: &Wire) -> String {
    let seen = upstream.last();
    let told = seen.header("x-forwarded-for").unwrap();
    told.rsplit(',').next().unwrap().trim().to_owned()
}

#[tokio::test]
async fn x_forwarded_for_counts_from_a_trusted_proxy_alone() {
    let upstream = Wire::ok().await;
    let proxy = Proxy::start(&guarded(&upstream, "")).await;
    for (who, lines, status) in [
        (TRUSTED, "X-Forwarded-For: 192.0.2.7\r\n", 200),
        (TRUSTED, "x-forwarded-for: 192.0.2.7:4711\r\n", 200),
        (TRUSTED, "X-Forwarded-For: 198.51.100.1, 192.0.2.7\r\n", 200),
        (TRUSTED, "X-Forwarded-For: 198.51.100.1\r\nX-Forwarded-For: 192.0.2.7, 127.0.0.2\r\n", 200),
        (TRUSTED, "X-Forwarded-For: ::ffff:192.0.2.7\r\n", 200),
        // What the client itself wrote stands to the left of what it was asked from.
        (TRUSTED, "X-Forwarded-For: 192.0.2.7, 198.51.100.1\r\n", 403),
        (TRUSTED, "X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-For: 198.51.100.1\r\n", 403),
        (TRUSTED, "X-Forwarded-For: 192.0.2.7, unknown\r\n", 403),
        (TRUSTED, "X-Forwarded-For: 192.0.2.7,\r\n", 403),
        (TRUSTED, "X_Forwarded_For: 192.0.2.7\r\n", 403),
        (TRUSTED, "Forwarded: for=192.0.2.7\r\n", 403),
        (TRUSTED, "X-Real-IP: 192.0.2.7\r\n", 403),
        (TRUSTED, "True-Client-IP: 192.0.2.7\r\n", 403),
        (TRUSTED, "", 403),
        (ANYBODY, "X-Forwarded-For: 192.0.2.7\r\n", 403),
        (ANYBODY, "X-Forwarded-For: 192.0.2.7, 127.0.0.2\r\n", 403),
        (ANYBODY, "X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-For: 127.0.0.2\r\n", 403),
        (ANYBODY, "Forwarded: for=192.0.2.7\r\nX-Real-IP: 192.0.2.7\r\n", 403),
    ] {
        let arrived = upstream.seen().len();
        assert_eq!(ask(who, &proxy, lines).await.status(), status, "{who}: {lines}");
        assert_eq!(upstream.seen().len() - arrived, usize::from(status == 200), "{who}: {lines}");
    }
    // Where nobody is trusted, nobody is believed.
    let alone = Proxy::start(&one_route(&upstream.url(""), FRIEND)).await;
    assert_eq!(ask(TRUSTED, &alone, "X-Forwarded-For: 192.0.2.7\r\n").await.status(), 403);
}

#[tokio::test]
async fn requests_of_one_connection_are_each_their_own_clients() {
    let upstream = Wire::ok().await;
    let proxy = Proxy::start(&guarded(&upstream, "")).await;
    let mut end = from(TRUSTED, proxy.address()).await;
    for (client, status) in [("192.0.2.7", 200), ("192.0.2.8", 403), ("192.0.2.7", 200), ("127.0.0.2", 403)] {
        end.send(request(&format!("X-Forwarded-For: {client}\r\n"))).await;
        assert_eq!(end.answer().await.status(), status, "{client}");
    }
    let io = TokioIo::new(connect_from(TRUSTED, proxy.address()).await);
    let (mut client, connection) = http2::handshake::<_, _, Full<Bytes>>(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    for (address, status) in [("192.0.2.8", 403), ("192.0.2.7", 200), ("192.0.2.8", 403)] {
        let request = Request::get("http://x/").header("x-forwarded-for", address).body(Full::default()).unwrap();
        let answer = client.send_request(request).await.unwrap();
        assert_eq!(answer.status(), status, "{address} over HTTP/2");
    }
}

#[tokio::test]
async fn what_a_trusted_proxy_says_goes_on_and_what_anybody_else_says_does_not() {
    let upstream = Wire::ok().await;
    let proxy =
        Proxy::start(&format!("trusted_proxies: [127.0.0.2]\n{}", one_route(&upstream.url(""), "access: public")))
            .await;
    let claims = "X-Forwarded-For: 198.51.100.1\r\nX-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: https\r\n\
        X-Forwarded-Host: shop.example\r\nX-Forwarded-Port: 443\r\nX_Forwarded_For: 1.2.3.4\r\n\
        X_Forwarded_Proto: https\r\nX-Real-IP: 1.2.3.4\r\nForwarded: for=1.2.3.4\r\n";
    for (who, chain, proto, host) in
        [(TRUSTED, "198.51.100.1, 192.0.2.7, 127.0.0.2", "https", "shop.example"), (ANYBODY, "127.0.0.1", "http", "x")]
    {
        assert_eq!(ask(who, &proxy, claims).await.status(), 200);
        let seen = upstream.last();
        assert_eq!(seen.header("x-forwarded-for"), Some(chain));
        assert_eq!(seen.header("x-forwarded-proto"), Some(proto));
        assert_eq!(seen.header("x-forwarded-host"), Some(host));
        for gone in ["x-forwarded-port", "x_forwarded_for", "x_forwarded_proto", "x-real-ip", "forwarded"] {
            assert_eq!(seen.header(gone), None, "{who}: {gone}");
        }
    }
    // Nothing said: the proxy says it.
    ask(TRUSTED, &proxy, "").await;
    let seen = upstream.last();
    let said = ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"].map(|name| seen.header(name));
    assert_eq!(said, [Some("127.0.0.2"), Some("http"), Some("x")]);
}

#[tokio::test]
async fn nobodys_word_on_host_or_scheme_decides_anything() {
    let (upstream, wrong) = (
        Wire::always("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nSet-Cookie: a=1; Secure\r\n\r\n").await,
        Wire::ok().await,
    );
    let list = format!(
        "- {{name: secret, match: {{host: secret.example}}, upstream: '{}', credential: fixed}}\n\
         - {{name: all, upstream: '{}', credential: none}}",
        wrong.url(""),
        upstream.url("")
    );
    let proxy = Proxy::start(&format!("trusted_proxies: [127.0.0.0/8]\n{}", routes(&list))).await;
    let claims = "X-Forwarded-Host: secret.example\r\nX-Forwarded-Proto: https\r\nForwarded: host=secret.example\r\n\
        X-Original-Host: secret.example\r\nX-Host: secret.example\r\n";
    let answer = ask(TRUSTED, &proxy, claims).await;
    assert_eq!((answer.status(), answer.header("set-cookie")), (200, Some("a=1")), "the connection itself is plain");
    assert_eq!((upstream.seen().len(), wrong.accepted()), (1, 0));
}

#[tokio::test]
async fn the_log_and_the_trace_name_the_client_behind_the_proxy() {
    let (upstream, collector) = (Wire::ok().await, Collector::start().await);
    let yaml = format!(
        "trusted_proxies: [127.0.0.1]\nlog: {{format: json, access: all}}\ntelemetry: {{otlp: '{}', sample: 1}}\n{}",
        collector.url(),
        one_route(&upstream.url(""), "")
    );
    let process = Process::start(&yaml, &[]);
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let mut end = End::connect(process.address).await;
    end.send(request(&format!(
        "X-Forwarded-For: 10.6.6.6, 192.0.2.7\r\ntraceparent: 00-{trace}-00f067aa0ba902b7-01\r\n"
    )))
    .await;
    assert_eq!(end.answer().await.status(), 200);
    eventually("the access line", || process.log().contains("\"client\":\"192.0.2.7\"")).await;
    assert!(!process.log().contains("10.6.6.6"));
    let spans = collector.trace(trace, 3).await;
    assert_eq!(named(&spans, "GET only").says("client.address"), "192.0.2.7");
}

#[tokio::test]
async fn whom_to_trust_changes_with_a_reload_for_connections_that_are_open() {
    let upstream = Wire::ok().await;
    let proxy = Proxy::start(&guarded(&upstream, "")).await;
    let mut end = from(TRUSTED, proxy.address()).await;
    let mut status = async || {
        end.send(request("X-Forwarded-For: 192.0.2.7\r\n")).await;
        end.answer().await.status()
    };
    assert_eq!(status().await, 200);
    for (trusted, expected) in [("", 403), ("trusted_proxies: [127.0.0.0/8]\n", 200)] {
        proxy.rewrite(&format!("{trusted}{}", one_route(&upstream.url(""), FRIEND)));
        proxy.hang_up().await;
        soon("the reload", async { while status().await != expected {} }).await;
    }
}

#[tokio::test]
async fn a_proxy_on_a_unix_socket_is_trusted_where_the_file_says_so() {
    let upstream = Wire::ok().await;
    for (trusted, introduced, status) in
        [("[unix]", false, 200), ("[127.0.0.0/8, 0.0.0.0/0]", false, 403), ("[unix]", true, 200)]
    {
        let folder = TempDir::new().unwrap();
        let socket = folder.path().join("s");
        let yaml = format!(
            "listeners: [{{address: 'unix:{}', proxy_protocol: {introduced}}}]\ntrusted_proxies: {trusted}\n{}",
            socket.display(),
            one_route(&upstream.url(""), FRIEND)
        );
        let _proxy = Proxy::start_in(folder, &yaml, &[]).await;
        let mut end = End::over(UnixStream::connect(&socket).await.unwrap());
        if introduced {
            end.send("PROXY TCP4 192.0.2.7 192.0.2.1 4711 80\r\n").await;
            end.send(request("X-Forwarded-For: 198.51.100.1\r\n")).await;
        } else {
            end.send(request("X-Forwarded-For: 192.0.2.7\r\n")).await;
        }
        assert_eq!(end.answer().await.status(), status, "{trusted}");
        if status == 200 {
            // A Unix socket has no address to add.
            assert_eq!(upstream.last().header("x-forwarded-for"), Some("192.0.2.7"));
        }
    }
}

#[tokio::test]
async fn the_proxy_protocol_tells_the_client_in_both_versions_and_no_byte_behind_it_is_lost() {
    let upstream = Wire::ok().await;
    let yaml = one_route(&upstream.url(""), "access: public");
    let proxy = Proxy::start(&format!("{INTRODUCED}trusted_proxies: [127.0.0.2]\n{yaml}")).await;
    let v4 = [192, 0, 2, 7, 192, 0, 2, 1, 0x12, 0x34, 0, 80];
    let padded = [&v4[..], &[4, 0x0f, 0xf0], &[0; 0xff0]].concat();
    let mut v6 = [0; 36];
    v6[..16].copy_from_slice(&"2001:db8::7".parse::<std::net::Ipv6Addr>().unwrap().octets());
    let own = TRUSTED.to_string();
    for (head, client) in [
        (b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 80\r\n".to_vec(), "192.0.2.7"),
        (b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 80\r\n".to_vec(), "2001:db8::7"),
        (b"PROXY TCP6 ::ffff:192.0.2.7 ::ffff:192.0.2.1 4711 80\r\n".to_vec(), "192.0.2.7"),
        (v2(0x21, 0x11, &v4), "192.0.2.7"),
        (v2(0x21, 0x21, &v6), "2001:db8::7"),
        (v2(0x21, 0x11, &padded), "192.0.2.7"),
        // The proxy's own connections, as its health checks are, and those of no such address.
        (b"PROXY UNKNOWN\r\n".to_vec(), &own),
        (b"PROXY UNKNOWN 192.0.2.7 192.0.2.1 4711 80\r\n".to_vec(), &own),
        (v2(0x20, 0x00, &[]), &own),
        (v2(0x20, 0x11, &v4), &own),
        (v2(0x21, 0x00, &[]), &own),
    ] {
        // In one piece with the requests behind it, and byte by byte.
        let mut whole = from(TRUSTED, proxy.address()).await;
        whole.send([&head, request("").as_bytes(), request("").as_bytes()].concat()).await;
        for _ in 0..2 {
            assert_eq!(whole.answer().await.text(), "ok");
            assert_eq!(told(&upstream), client, "{head:?}");
        }
        if head.len() < 128 {
            let mut slow = from(TRUSTED, proxy.address()).await;
            for byte in [&head, request("").as_bytes()].concat() {
                slow.send([byte]).await;
                tokio::task::yield_now().await;
            }
            assert_eq!(slow.answer().await.text(), "ok");
            assert_eq!(told(&upstream), client, "{head:?}");
        }
    }
    // HTTP/2 with prior knowledge behind it.
    let mut end = from(TRUSTED, proxy.address()).await;
    end.send("PROXY TCP4 192.0.2.7 192.0.2.1 4711 80\r\n").await;
    let io = TokioIo::new(end.into_parts().1);
    let (mut client, connection) = http2::handshake::<_, _, Full<Bytes>>(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    let answer = client.send_request(Request::get("http://x/").body(Full::default()).unwrap()).await.unwrap();
    assert_eq!(answer.collect_text().await, "ok");
    assert_eq!(told(&upstream), "192.0.2.7");
}

#[tokio::test]
async fn the_proxy_protocol_comes_before_tls() {
    let (upstream, authority, folder) = (Wire::ok().await, Authority::new(), TempDir::new().unwrap());
    authority.identity(&["localhost"]).write(folder.path(), "server");
    let yaml = format!(
        "listeners: [{{address: '127.0.0.1:0', proxy_protocol: true, tls: {{cert: server.crt, key: server.key}}}}]\n{}",
        guarded(&upstream, "")
    );
    let proxy = Proxy::start_in(folder, &yaml, &[]).await;
    for (head, status) in
        [("PROXY TCP4 192.0.2.7 192.0.2.1 4711 443\r\n", 200), ("PROXY TCP4 192.0.2.8 192.0.2.1 4711 443\r\n", 403)]
    {
        let mut stream = connect_from(TRUSTED, proxy.address()).await;
        tokio::io::AsyncWriteExt::write_all(&mut stream, head.as_bytes()).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let stream = TlsConnector::from(authority.client(&[], None)).connect(name, stream).await.unwrap();
        let mut end = End::over(stream);
        end.send(request("X-Forwarded-For: 192.0.2.7\r\n")).await;
        assert_eq!(end.answer().await.status(), status, "{head}");
    }
    assert_eq!(upstream.last().header("x-forwarded-proto"), Some("https"));
}

#[tokio::test]
async fn without_a_good_head_of_a_trusted_proxy_a_connection_is_closed_without_a_word() {
    let upstream = Wire::ok().await;
    let yaml = one_route(&upstream.url(""), "access: public");
    let proxy = Proxy::start(&format!("{INTRODUCED}trusted_proxies: [127.0.0.2]\n{yaml}")).await;
    let good = b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 80\r\n".to_vec();
    let (get, v4) = (request(""), [192, 0, 2, 7, 192, 0, 2, 1, 0x12, 0x34, 0, 80]);
    for (who, head) in [
        (ANYBODY, good.clone()),
        (ANYBODY, v2(0x21, 0x11, &v4)),
        (ANYBODY, Vec::new()),
        (TRUSTED, Vec::new()),
        (TRUSTED, b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 80\n".to_vec()),
        (TRUSTED, b"PROXY TCP4 192.0.2.777 192.0.2.1 4711 80\r\n".to_vec()),
        (TRUSTED, b"PROXY TCP4 192.0.2.7 192.0.2.1 4711\r\n".to_vec()),
        (TRUSTED, b"PROXY TCP4 2001:db8::7 2001:db8::1 4711 80\r\n".to_vec()),
        (TRUSTED, b"proxy tcp4 192.0.2.7 192.0.2.1 4711 80\r\n".to_vec()),
        (TRUSTED, [&b"PROXY UNKNOWN "[..], &[b' '; 100], b"\r\n"].concat()),
        (TRUSTED, v2(0x31, 0x11, &v4)),
        (TRUSTED, v2(0x21, 0x11, &v4[..8])),
        (TRUSTED, v2(0x21, 0x11, &[&v4[..], &[0; 5000]].concat())),
        (TRUSTED, [&b"\r\n"[..], &v2(0x21, 0x11, &v4)].concat()),
    ] {
        let mut end = from(who, proxy.address()).await;
        end.send([&head, get.as_bytes()].concat()).await;
        let rest = end.rest().await;
        assert!(rest.is_empty(), "{who} {head:?}: {}", String::from_utf8_lossy(&rest));
    }
    assert_eq!(upstream.accepted(), 0);
    // The second head is the beginning of a request, and none.
    let mut end = from(TRUSTED, proxy.address()).await;
    end.send([&good[..], &good, get.as_bytes()].concat()).await;
    assert_eq!(end.answer().await.status(), 400);
    assert_eq!(upstream.accepted(), 0);
}

#[tokio::test]
async fn a_head_that_does_not_come_is_not_waited_for_longer_than_a_handshake() {
    let upstream = Wire::ok().await;
    let patience = "client: {handshake_timeout: 300ms, header_timeout: 60s}\n";
    let proxy = Proxy::start(&format!("{INTRODUCED}{}", guarded(&upstream, patience))).await;
    for sent in ["", "PROXY TCP4 192.0.2.7", "\r\n\r\n"] {
        let mut end = from(TRUSTED, proxy.address()).await;
        end.send(sent).await;
        let begun = std::time::Instant::now();
        assert!(end.is_over().await, "{sent:?}");
        assert!(begun.elapsed() < Duration::from_secs(10), "{sent:?}");
    }
    // The time of a request is its own.
    let mut end = from(TRUSTED, proxy.address()).await;
    end.send("PROXY TCP4 192.0.2.7 192.0.2.1 4711 80\r\nGET / HTTP/1.1\r\n").await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    end.send("Host: x\r\n\r\n").await;
    assert_eq!(end.answer().await.status(), 200);
}

#[tokio::test]
async fn x_forwarded_for_counts_behind_the_proxy_protocol_if_the_one_it_names_is_trusted() {
    let upstream = Wire::ok().await;
    let yaml = one_route(&upstream.url(""), FRIEND);
    let proxy = Proxy::start(&format!("{INTRODUCED}trusted_proxies: [127.0.0.2, 10.0.0.0/8]\n{yaml}")).await;
    for (source, claimed, status) in [
        // A second proxy in front of the first.
        ("10.1.2.3", "192.0.2.7", 200),
        ("10.1.2.3", "198.51.100.1", 403),
        ("198.51.100.1", "192.0.2.7", 403),
        ("192.0.2.7", "198.51.100.1", 200),
    ] {
        let mut end = from(TRUSTED, proxy.address()).await;
        end.send(format!("PROXY TCP4 {source} 192.0.2.1 4711 80\r\n")).await;
        end.send(request(&format!("X-Forwarded-For: {claimed}\r\n"))).await;
        assert_eq!(end.answer().await.status(), status, "{source} {claimed}");
    }
    assert_eq!(upstream.last().header("x-forwarded-for"), Some("192.0.2.7"));
    assert_eq!(upstream.seen()[0].header("x-forwarded-for"), Some("192.0.2.7, 10.1.2.3"));
}

#[tokio::test]
async fn nobody_speaks_for_a_connection_of_which_the_proxy_protocol_names_nobody() {
    let upstream = Wire::ok().await;
    let proxy = Proxy::start(&format!("{INTRODUCED}{}", guarded(&upstream, ""))).await;
    let unix = [0; 216];
    for head in [b"PROXY UNKNOWN\r\n".to_vec(), v2(0x21, 0, &[]), v2(0x21, 0x31, &unix), v2(0x20, 0, &[])] {
        let mut end = from(TRUSTED, proxy.address()).await;
        end.send([&head[..], request("X-Forwarded-For: 192.0.2.7\r\n").as_bytes()].concat()).await;
        assert_eq!(end.answer().await.status(), 403, "{head:?}");
    }
    assert_eq!(upstream.accepted(), 0);
}

#[tokio::test]
async fn the_proxy_protocol_is_turned_on_and_off_by_a_reload() {
    let yaml = |on: bool| {
        format!(
            "listeners: [{{address: '127.0.0.1:0', proxy_protocol: {on}}}]\ntrusted_proxies: [127.0.0.1]\n\
             routes: [{{name: a, respond: 204}}]\n"
        )
    };
    let proxy = Proxy::start(&yaml(false)).await;
    assert_eq!(text(&get(proxy.address(), "/").await), "");
    let status = async |head: &str| {
        let mut end = End::connect(proxy.address()).await;
        end.send(format!("{head}{}", request(""))).await;
        end.head().await.map(|head| head.status())
    };
    let head = "PROXY UNKNOWN\r\n";
    for on in [true, false] {
        proxy.rewrite(&yaml(on));
        proxy.hang_up().await;
        let (with, without) = if on { (head, "") } else { ("", head) };
        soon("the reload", async { while status(with).await != Some(204) {} }).await;
        assert_ne!(status(without).await, Some(204));
    }
}

#[tokio::test]
async fn a_connection_whose_proxy_protocol_is_not_as_the_listener_has_it_is_counted() {
    let head = "PROXY TCP4 192.0.2.7 10.0.0.1 1 2\r\n";
    let introduced =
        Proxy::start(&format!("{INTRODUCED}trusted_proxies: [127.0.0.2]\nroutes: [{{name: a, respond: 204}}]\n")).await;
    let plain = Proxy::start("routes: [{name: a, respond: 204}]\n").await;
    for (proxy, who, sent, reason) in [
        (&introduced, ANYBODY, request(head), "proxy_untrusted"),
        (&introduced, TRUSTED, request(""), "proxy_missing"),
        (&introduced, TRUSTED, format!("{head}{head}{}", request("")), "proxy_unexpected"),
        (&plain, ANYBODY, format!("{head}{}", request("")), "proxy_unexpected"),
        (
            &plain,
            ANYBODY,
            format!("{}{}", String::from_utf8(v2(0x20, 0, b"")).unwrap(), request("")),
            "proxy_unexpected",
        ),
    ] {
        let count = || {
            let rows = proxy.metrics.refused_connections();
            let row =
                rows.iter().find(|(listener, why, _)| **listener == *proxy.address().to_string() && *why == reason);
            row.map_or(0, |(.., count)| *count)
        };
        let before = count();
        let mut end = from(who, proxy.address()).await;
        end.send(sent).await;
        eventually("the count", || count() == before + 1).await;
    }
    // A balancer looks whether the port is open, and a client asks as it should.
    for _ in 0..3 {
        drop(connect_from(TRUSTED, introduced.address()).await);
    }
    let mut end = from(TRUSTED, introduced.address()).await;
    end.send(format!("{head}{}", request(""))).await;
    assert_eq!(end.answer().await.status(), 204);
    let total = |proxy: &Proxy| proxy.metrics.refused_connections().iter().map(|row| row.2).sum::<u64>();
    assert_eq!((total(&introduced), total(&plain)), (3, 2));
}
