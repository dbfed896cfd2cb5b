//! Row 15: cookies and challenges. What an upstream says to one client is for that client: nothing of it is
//! kept, shown to another one, or sent back; and no connection is shared by two credentials.

use std::collections::HashSet;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use tempfile::TempDir;

use crate::harness::client::{Connection, get};
use crate::harness::proxy::Proxy;
use crate::harness::raw::{End, Wire, exchange};
use crate::harness::tls::Authority;
use crate::harness::upstream::Upstream;
use crate::harness::yaml::one_route;
use crate::protocols::http2_client;

const ASK: &str = "GET /a HTTP/1.1\r\nHost: x\r\n\r\n";

/// An upstream that gives each request another cookie, a challenge, and every leave to be cached.
async fn giver() -> Upstream {
    let given = std::sync::atomic::AtomicU64::new(0);
    Upstream::answering(move |_| {
        let number = given.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        http::Response::builder()
            .header("set-cookie", format!("sid={number}; Path=/"))
            .header("set-cookie", format!("other={number}"))
            .header("www-authenticate", "Basic realm=\"upstream\"")
            .header("cache-control", "public, max-age=3600, immutable")
            .header("etag", "\"always\"")
            .header("last-modified", "Wed, 21 Oct 2015 07:28:00 GMT")
            .body(Full::from(format!("answer {number}")))
            .unwrap()
    })
    .await
}

#[tokio::test]
async fn a_cookie_is_given_to_the_client_that_it_was_meant_for_and_never_sent_back_by_the_proxy() {
    let upstream = giver().await;
    let proxy = Proxy::start(&one_route(&upstream.url("/"), "")).await;
    let (mut one, mut other) = (End::connect(proxy.address()).await, End::connect(proxy.address()).await);
    for turn in 0..3 {
        for (client, number) in [(&mut one, 2 * turn), (&mut other, 2 * turn + 1)] {
            client.send(ASK).await;
            let answer = client.answer().await;
            let cookies = [format!("sid={number}; Path=/"), format!("other={number}")];
            assert_eq!(answer.all("set-cookie"), cookies.iter().map(String::as_str).collect::<Vec<_>>());
            assert_eq!(answer.header("www-authenticate"), Some("Basic realm=\"upstream\""));
        }
    }
    assert!(upstream.seen().iter().all(|seen| !seen.headers.contains_key("cookie")), "a cookie was sent back");
    one.send("GET /a HTTP/1.1\r\nHost: x\r\nCookie: sid=mine\r\n\r\n").await;
    one.answer().await;
    assert_eq!(upstream.last().header("cookie"), Some("sid=mine"), "a client's own passes");
    other.send(ASK).await;
    other.answer().await;
    assert!(!upstream.last().headers.contains_key("cookie"), "and is not another one's");
}

#[tokio::test]
async fn no_answer_is_given_twice_however_long_it_may_be_cached() {
    let upstream = giver().await;
    let proxy = Proxy::start(&one_route(&upstream.url("/"), "")).await;
    for number in 0..4 {
        let answer = exchange(proxy.address(), ASK).await;
        assert_eq!((answer.status(), answer.text()), (200, format!("answer {number}")));
        assert_eq!(answer.header("age"), None);
    }
    // A client's own validators go to the upstream, which judges them.
    let conditional =
        "GET /a HTTP/1.1\r\nHost: x\r\nIf-None-Match: \"always\"\r\nCache-Control: only-if-cached\r\n\r\n";
    assert_eq!(exchange(proxy.address(), conditional).await.text(), "answer 4");
    assert_eq!(upstream.last().header("if-none-match"), Some("\"always\""));
    assert_eq!(upstream.seen().len(), 5);
}

#[tokio::test]
async fn a_route_may_drop_cookies_and_challenges_both_ways() {
    let upstream = giver().await;
    let yaml = one_route(
        &upstream.url("/"),
        "request_headers: {remove: [Cookie]}\nresponse_headers: {remove: [Set-Cookie, WWW-Authenticate]}",
    );
    let proxy = Proxy::start(&yaml).await;
    let answer = exchange(proxy.address(), "GET /a HTTP/1.1\r\nHost: x\r\nCookie: sid=mine\r\n\r\n").await;
    assert_eq!((answer.all("set-cookie").len(), answer.header("www-authenticate")), (0, None), "{answer:?}");
    assert!(!upstream.last().headers.contains_key("cookie"));
}

/// Trailers are headers that come late: what a route takes out of a head, and what belongs to a hop or to a
/// head alone, does not come behind the body.
#[tokio::test]
async fn no_trailer_brings_a_cookie_or_what_the_route_drops_and_none_breaks_the_answer() {
    const TRAILERS: &str = "Set-Cookie: sid=1\r\nSet_Cookie: sid=1\r\nX-Internal: leak\r\nx_internal: leak\r\n\
        X-Source: upstream\r\nAlt-Svc: h2=\":1\"\r\nLocation: /a\r\nContent-Location: /a\r\nContent-Length: 7\r\n\
        Transfer-Encoding: chunked\r\nConnection: close\r\nKeep-Alive: timeout=5\r\nWWW-Authenticate: Basic\r\n";
    let names = TRAILERS.lines().filter_map(|line| line.split(':').next()).collect::<Vec<_>>().join(", ");
    for sum in ["X-Sum: 7\r\n", ""] {
        let upstream = Wire::always(format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: {names}, X-Sum\r\n\r\n2\r\nok\r\n0\r\n\
             {TRAILERS}{sum}\r\n"
        ))
        .await;
        let more = "response_headers: {set: {X-Source: ours}, remove: [X-Internal]}";
        let proxy = Proxy::start(&one_route(&upstream.url(""), more)).await;
        let ask = "GET / HTTP/1.1\r\nHost: x\r\nTE: trailers\r\nConnection: TE\r\n\r\n";
        let answer = exchange(proxy.address(), ask).await;
        assert_eq!((answer.whole, answer.text().as_str(), answer.header("x-source")), (true, "ok", Some("ours")));
        assert_eq!(answer.trailers.to_lowercase(), sum.to_lowercase());

        let mut client = http2_client::<Full<Bytes>>(proxy.address()).await;
        let request = http::Request::get("http://x/").header("te", "trailers").body(Full::default()).unwrap();
        let answer = client.send_request(request).await.unwrap();
        let collected = answer.into_body().collect().await.expect("a whole answer");
        let left = collected.trailers().cloned().unwrap_or_default();
        assert_eq!(left.len(), usize::from(!sum.is_empty()), "{left:?}");
        assert_eq!(left.contains_key("x-sum"), !sum.is_empty(), "{left:?}");
        assert_eq!(collected.to_bytes().as_ref(), b"ok");
    }
}

/// Two routes to one origin, each with its own credential.
fn two_credentials(upstream: &str, protocol: &str) -> String {
    let route = |name: &str, credential: &str| {
        format!(
            "  - {{name: {name}, match: {{path: /{name}}}, upstream: {{url: '{upstream}', protocol: {protocol}}}, \
             credential: {credential}}}\n"
        )
    };
    let routes = [route("one", "one"), route("two", "two"), route("same", "one"), route("bare", "none")].concat();
    format!(
        "credentials:\n  one: {{provider: static, token: token-one}}\n  two: {{provider: static, token: token-two}}\n\
         routes:\n{routes}"
    )
}

/// Some servers take whoever authenticated first for whoever comes after on that connection.
#[tokio::test]
async fn no_connection_to_an_upstream_carries_two_credentials() {
    for protocol in ["http1", "h2c"] {
        let upstream = Upstream::start().await;
        let proxy = Proxy::start(&two_credentials(&upstream.url("/"), protocol)).await;
        let mut client = Connection::open(proxy.address()).await;
        for _ in 0..5 {
            for path in ["/one/a", "/two/a", "/same/a", "/bare/a"] {
                let request = http::Request::get(path).body(Full::default()).unwrap();
                assert_eq!(client.send(request).await.unwrap().status(), 200);
            }
        }
        let mut carried: HashSet<(usize, Option<String>)> = HashSet::new();
        for seen in upstream.seen() {
            carried.insert((seen.connection, seen.header("authorization").map(str::to_owned)));
        }
        let connections: HashSet<usize> = carried.iter().map(|(connection, _)| *connection).collect();
        assert_eq!(carried.len(), connections.len(), "{protocol}: {carried:?}");
        assert_eq!(connections.len(), 3, "{protocol}: routes of one credential share a connection: {carried:?}");
    }
}

#[tokio::test]
async fn no_connection_to_an_upstream_is_shared_by_two_tls_identities() {
    let authority = Authority::new();
    for alpn in ["http/1.1", "h2"] {
        let folder = TempDir::new().unwrap();
        authority.write(&folder.path().join("ca.pem"));
        for client in ["one", "two"] {
            authority.identity(&[client]).write(folder.path(), client);
        }
        let server = authority.identity(&["localhost", "api.example.test"]);
        let upstream = Upstream::tls(server.server(&[alpn], None)).await;
        let url = format!("https://localhost:{}", upstream.address.port());
        let route = |name: &str, more: &str| {
            format!(
                "  - {{name: {name}, match: {{path: /{name}}}, upstream: {{url: '{url}', {more}}}, credential: fixed}}\n"
            )
        };
        let routes = [
            route("plain", "ca: ca.pem"),
            route("again", "ca: ca.pem"),
            route("named", "ca: ca.pem, server_name: api.example.test"),
            route("one", "ca: ca.pem, client_cert: one.crt, client_key: one.key"),
            route("two", "ca: ca.pem, client_cert: two.crt, client_key: two.key"),
            route("lax", "insecure: true"),
        ]
        .concat();
        let yaml = format!("credentials:\n  fixed: {{provider: static, token: k3y}}\nroutes:\n{routes}");
        let proxy = Proxy::start_in(folder, &yaml, &[]).await;
        for _ in 0..3 {
            for name in ["plain", "again", "named", "one", "two", "lax"] {
                assert_eq!(get(proxy.address(), &format!("/{name}/{name}")).await.status(), 200, "{name}");
            }
        }
        let carried: HashSet<(usize, String)> =
            upstream.seen().iter().map(|seen| (seen.connection, seen.path().replace("again", "plain"))).collect();
        let connections: HashSet<usize> = carried.iter().map(|(connection, _)| *connection).collect();
        assert_eq!((carried.len(), connections.len()), (5, 5), "{alpn}: {carried:?}");
    }
}
