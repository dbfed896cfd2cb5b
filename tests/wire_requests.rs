//! Requests as they come over the wire: framing, Host and spellings, judged by what an upstream saw.

use crate::harness::proxy::Proxy;
use crate::harness::raw::{End, Wire, exchange};
use crate::harness::yaml::one_route;

#[tokio::test]
async fn hop_by_hop_headers_end_here_and_the_rest_goes_on() {
    let upstream = Wire::ok().await;
    let proxy = Proxy::start(&one_route(&upstream.url(""), "")).await;
    let answer = exchange(
        proxy.address(),
        "GET / HTTP/1.1\r\nHost: me.example:8080\r\nConnection: keep-alive, X-Nominated\r\nX-Nominated: gone\r\n\
         Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nProxy-Authorization: Basic gone\r\n\
         TE: trailers, deflate\r\nUpgrade: h2c\r\nHTTP2-Settings: gone\r\nExpect: gone\r\n\
         Forwarded: for=gone\r\nX-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: gone\r\n\
         X_Forwarded_For: 6.6.6.6\r\nX-Forwarded-Port: gone\r\nX-Real-IP: gone\r\n\
         Via: 1.0 before\r\nVia: 1.1 there\r\nAccept: text/plain\r\nCookie: a=1\r\nCookie: b=2\r\nX-Other: \u{e9}\r\n\r\n",
    )
    .await;
    assert_eq!(answer.status(), 200);
    let seen = upstream.only();
    for gone in [
        "x-nominated",
        "connection",
        "keep-alive",
        "proxy-connection",
        "proxy-authorization",
        "te",
        "upgrade",
        "http2-settings",
        "expect",
        "forwarded",
        "x_forwarded_for",
        "x-forwarded-port",
        "x-real-ip",
    ] {
        assert_eq!(seen.all(gone), Vec::<&str>::new(), "{gone}");
    }
    assert!(!seen.head.contains("6.6.6.6") && !seen.head.contains("gone"));
    assert_eq!(seen.header("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(seen.header("x-forwarded-proto"), Some("http"));
    assert_eq!(seen.header("x-forwarded-host"), Some("me.example:8080"));
    let via = seen.header("via").unwrap();
    assert!(via.starts_with("1.0 before, 1.1 there, 1.1 tokenferry"), "{via}");
    assert_eq!(seen.header("accept"), Some("text/plain"));
    assert_eq!(seen.all("cookie").join("; "), "a=1; b=2");
    assert_eq!(seen.header("x-other"), Some("\u{e9}"));
}

#[tokio::test]
async fn hop_by_hop_headers_of_an_answer_end_here_too() {
    let upstream = Wire::always(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: X-Nominated, content-length\r\nX-Nominated: gone\r\n\
         Keep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\nProxy-Connection: close\r\nUpgrade: h2c\r\n\
         X-Kept: 1\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nWWW-Authenticate: Bearer\r\n\r\nok",
    )
    .await;
    let proxy = Proxy::start(&one_route(&upstream.url(""), "")).await;
    let mut client = End::connect(proxy.address()).await;
    for _ in 0..2 {
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        let answer = client.answer().await;
        for gone in ["x-nominated", "keep-alive", "proxy-authenticate", "proxy-connection", "upgrade", "connection"] {
            assert_eq!(answer.all(gone), Vec::<&str>::new(), "{gone}");
        }
        assert_eq!((answer.text().as_str(), answer.header("content-length")), ("ok", Some("2")));
        assert_eq!((answer.header("x-kept"), answer.header("www-authenticate")), (Some("1"), Some("Bearer")));
        assert_eq!(answer.all("set-cookie"), ["a=1", "b=2"]);
    }
}

#[tokio::test]
async fn header_names_are_written_as_configured_in_both_directions() {
    let upstream =
        Wire::always("HTTP/1.1 200 OK\r\ncontent-LENGTH: 2\r\nx-odd-NAME: a\r\nX-Rate-limit: 7\r\n\r\nok").await;
    let request = "GET / HTTP/1.1\r\nhost: x\r\nx-CUSTOM-name: a\r\nSOAPAction: b\r\naccept: c\r\n\r\n";
    for (case, sent, received) in [
        (
            "",
            &["X-Custom-Name: a", "Soapaction: b", "Accept: c"],
            &["X-Odd-Name: a", "X-Rate-Limit: 7", "Content-Length: 2"],
        ),
        (
            "lower",
            &["x-custom-name: a", "soapaction: b", "accept: c"],
            &["x-odd-name: a", "x-rate-limit: 7", "content-length: 2"],
        ),
        (
            "preserve",
            &["x-CUSTOM-name: a", "SOAPAction: b", "accept: c"],
            &["x-odd-NAME: a", "X-Rate-limit: 7", "content-LENGTH: 2"],
        ),
    ] {
        let field = if case.is_empty() { String::new() } else { format!(", header_case: {case}") };
        let yaml = one_route(&format!("{{url: '{}'{field}}}", upstream.url("")), "");
        let proxy = Proxy::start(&format!("listeners: [{{address: '127.0.0.1:0'{field}}}]\n{yaml}")).await;
        let answer = exchange(proxy.address(), request).await;
        let seen = upstream.last();
        for line in sent {
            assert!(seen.has_line(line), "{case}: {line}: {seen:?}");
        }
        for line in received {
            assert!(answer.has_line(line), "{case}: {line}: {answer:?}");
        }
        let own = exchange(proxy.address(), "TRACE / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        let expected = if case == "lower" { "content-type: " } else { "Content-Type: " };
        assert!(own.head.contains(expected) || case == "preserve", "{case}: {own:?}");
    }
}

#[tokio::test]
async fn headers_are_edited_as_configured_and_host_kept_where_asked_for() {
    let upstream = Wire::always(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nServer: old\r\nX-Powered-By: gone\r\nX-Twice: 1\r\nX-Twice: 2\r\n\r\nok",
    )
    .await;
    let more = "host_header: preserve\n\
                request_headers: {set: {X-Source: legacy, X-Forwarded-For: told}, remove: [Cookie, X-Both]}\n\
                response_headers: {set: {Server: new, X-Twice: once, Cache-Control: no-store}, remove: [X-Powered-By]}";
    let proxy = Proxy::start(&one_route(&upstream.url(""), more)).await;
    let answer = exchange(
        proxy.address(),
        "GET / HTTP/1.1\r\nHost: Legacy.Example:81\r\nCookie: a=1\r\nCookie: b=2\r\nX-Both: 1\r\nX-Source: mine\r\nx-source: mine\r\n\r\n",
    )
    .await;
    let seen = upstream.only();
    assert_eq!(seen.header("host"), Some("Legacy.Example:81"));
    assert_eq!((seen.header("cookie"), seen.header("x-both")), (None, None));
    assert_eq!((seen.header("x-source"), seen.header("x-forwarded-for")), (Some("legacy"), Some("told")));
    assert_eq!((answer.header("server"), answer.header("x-twice")), (Some("new"), Some("once")));
    assert_eq!((answer.header("cache-control"), answer.header("x-powered-by")), (Some("no-store"), None));
}
