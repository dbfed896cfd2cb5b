//! Requests as they come over the wire: framing, Host and spellings, judged by what an upstream saw.

use crate::harness::proxy::Proxy;
use crate::harness::raw::{End, Wire, exchange};
use crate::harness::yaml::{TOKEN, injecting, one_route};

const BEARER: &str = "Bearer T0K3N";

/// What a head comes to.
enum Fate {
    /// This status; nothing reaches an upstream.
    Refused(u16),
    /// One request with this body.
    Forwarded(&'static str),
}
use Fate::{Forwarded, Refused};

#[tokio::test]
async fn ambiguous_framing_is_refused_or_framed_anew() {
    let upstream = Wire::ok().await;
    let proxy = Proxy::start(&one_route(&upstream.url(""), "")).await;
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n";
    for (lines, body, fate) in [
        // Both framings: the length is dropped, and the connection closed behind it.
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "2\r\nhi\r\n0\r\n\r\n", Forwarded("hi")),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "2\r\nhi\r\n0\r\n\r\n", Forwarded("hi")),
        ("Content-Length: 2\r\nContent-Length: 2\r\n", "hi", Forwarded("hi")),
        ("Content-Length: 2\r\nContent-Length: 3\r\n", "hi!", Refused(400)),
        ("Content-Length: 2, 2\r\n", "hi", Refused(400)),
        ("Content-Length: +2\r\n", "hi", Refused(400)),
        ("Content-Length: -2\r\n", "hi", Refused(400)),
        ("Content-Length: 0x2\r\n", "hi", Refused(400)),
        ("Content-Length: 2 2\r\n", "hi", Refused(400)),
        ("Content-Length: 2a\r\n", "hi", Refused(400)),
        ("Content-Length: \r\n", "", Refused(400)),
        ("Content-Length: 99999999999999999999999\r\n", "hi", Refused(400)),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "2\r\nhi\r\n0\r\n\r\n", Refused(400)),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "2\r\nhi\r\n0\r\n\r\n", Refused(400)),
        ("Transfer-Encoding: gzip, chunked\r\n", "2\r\nhi\r\n0\r\n\r\n", Refused(400)),
        ("Transfer-Encoding: cow, chunked\r\n", "2\r\nhi\r\n0\r\n\r\n", Refused(400)),
        ("Transfer-Encoding: ,chunked\r\n", "2\r\nhi\r\n0\r\n\r\n", Refused(400)),
        ("Transfer-Encoding: chunked,\r\n", "2\r\nhi\r\n0\r\n\r\n", Refused(400)),
        ("Transfer-Encoding: chunked, identity\r\n", "hi", Refused(400)),
        ("Transfer-Encoding: identity\r\n", "hi", Refused(400)),
        ("Transfer-Encoding: xchunked\r\n", "2\r\nhi\r\n0\r\n\r\n", Refused(400)),
        ("Transfer-Encoding: \"chunked\"\r\n", "2\r\nhi\r\n0\r\n\r\n", Refused(400)),
        ("Transfer-Encoding:\x0bchunked\r\n", "2\r\nhi\r\n0\r\n\r\n", Refused(400)),
        ("Transfer-Encoding : chunked\r\n", "2\r\nhi\r\n0\r\n\r\n", Refused(400)),
        ("Transfer-Encoding: CHUNKED\r\n", "2\r\nhi\r\n0\r\n\r\n", Forwarded("hi")),
        ("Transfer-Encoding:\tchunked \r\n", "2\r\nhi\r\n0\r\n\r\n", Forwarded("hi")),
        // Another name to a server that takes one for the other: never forwarded.
        ("Transfer_Encoding: chunked\r\nContent-Length: 2\r\n", "hi", Forwarded("hi")),
        ("Content_Length: 7\r\nContent-Length: 2\r\n", "hi", Forwarded("hi")),
        // Folds, bare line ends, NUL, no name.
        ("X: a\r\n b\r\n", "", Refused(400)),
        ("X: a\r\n\tTransfer-Encoding: chunked\r\n", "", Refused(400)),
        (" X: a\r\n", "", Refused(400)),
        ("X: a\0b\r\n", "", Refused(400)),
        ("X: a\rTransfer-Encoding: chunked\r\n", "", Refused(400)),
        (": a\r\n", "", Refused(400)),
        ("X Y: a\r\n", "", Refused(400)),
        ("X\r\n", "", Refused(400)),
        // Chunks.
        ("Transfer-Encoding: chunked\r\n", "+2\r\nhi\r\n0\r\n\r\n", Refused(400)),
        ("Transfer-Encoding: chunked\r\n", "0x2\r\nhi\r\n0\r\n\r\n", Refused(400)),
        ("Transfer-Encoding: chunked\r\n", "2\nhi\r\n0\r\n\r\n", Refused(400)),
        ("Transfer-Encoding: chunked\r\n", "2\r\nhi0\r\n\r\n", Refused(400)),
        ("Transfer-Encoding: chunked\r\n", "10000000000000002\r\nhi\r\n0\r\n\r\n", Refused(400)),
        ("Transfer-Encoding: chunked\r\n", "2;a=b\r\nhi\r\n0\r\n\r\n", Forwarded("hi")),
        ("Transfer-Encoding: chunked\r\n", "002\r\nhi\r\n0\r\n\r\n", Forwarded("hi")),
    ] {
        let before = upstream.seen().len();
        let mut client = End::connect(proxy.address()).await;
        client.send(format!("POST /first HTTP/1.1\r\nHost: x\r\n{lines}\r\n{body}{smuggled}")).await;
        let answer = client.answer().await;
        client.rest_until_quiet().await;
        let seen: Vec<_> =
            upstream.seen().split_off(before).into_iter().filter(|seen| seen.target() != "/smuggled").collect();
        // What is left of a refused request is never a request.
        let smuggled = upstream.seen().len() - before - seen.len();
        match fate {
            Refused(status) => {
                assert_eq!(answer.status(), status, "{lines:?} {body:?}");
                assert!(seen.iter().all(|seen| !seen.whole), "{lines:?} {body:?}: {seen:?}");
                assert_eq!(smuggled, 0, "{lines:?} {body:?}");
            }
            Forwarded(expected) => {
                assert_eq!(answer.status(), 200, "{lines:?} {body:?}");
                assert_eq!(seen.len(), 1, "{lines:?} {body:?}: {seen:?}");
                let seen = &seen[0];
                assert_eq!((seen.text().as_str(), seen.whole), (expected, true), "{lines:?} {body:?}");
                let framings = seen.all("content-length").len() + seen.all("transfer-encoding").len();
                assert_eq!(framings, 1, "{lines:?}: {seen:?}");
                assert!(!seen.head.contains('_'), "{lines:?}: {seen:?}");
                assert_eq!(seen.header("authorization"), Some(BEARER));
                if lines.contains("Length") && lines.contains("Encoding: chunked") && !lines.contains('_') {
                    assert_eq!(smuggled, 0, "closed behind an ambiguous request: {lines:?}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_credential_goes_to_its_routes_upstream_only_whatever_the_head_says() {
    let upstream = Wire::ok().await;
    let other = Wire::ok().await;
    let (ours, theirs) = (upstream.address.to_string(), other.address.to_string());
    let proxy = Proxy::start(&one_route(&upstream.url("/base"), "")).await;
    let own = proxy.address().to_string();
    for (head, fate) in [
        // One Host, exactly.
        (format!("GET /p HTTP/1.1\r\nHost: {own}\r\n"), Some("/base/p")),
        (format!("GET /p HTTP/1.1\r\nHost: {theirs}\r\n"), Some("/base/p")),
        (format!("GET /p HTTP/1.1\r\nhOsT:   {theirs}  \r\n"), Some("/base/p")),
        ("GET /p HTTP/1.1\r\nHost: EXAMPLE.com.\r\n".to_owned(), Some("/base/p")),
        ("GET /p HTTP/1.1\r\nHost: [::1]:80\r\n".to_owned(), Some("/base/p")),
        ("GET /p HTTP/1.1\r\n".to_owned(), None),
        (format!("GET /p HTTP/1.1\r\nHost: {own}\r\nHost: {own}\r\n"), None),
        (format!("GET /p HTTP/1.1\r\nHost: {own}\r\nHost: {theirs}\r\n"), None),
        (format!("GET /p HTTP/1.1\r\nHost: {own}, {theirs}\r\n"), None),
        (format!("GET /p HTTP/1.1\r\nHost: a@{theirs}\r\n"), None),
        (format!("GET /p HTTP/1.1\r\nHost: {own}/@{theirs}\r\n"), None),
        (format!("GET /p HTTP/1.1\r\nHost: http://{theirs}\r\n"), None),
        ("GET /p HTTP/1.1\r\nHost: a/b@c\r\n".to_owned(), None),
        ("GET /p HTTP/1.1\r\nHost: a b\r\n".to_owned(), None),
        ("GET /p HTTP/1.1\r\nHost: a:b\r\n".to_owned(), None),
        ("GET /p HTTP/1.1\r\nHost: a:99999\r\n".to_owned(), None),
        ("GET /p HTTP/1.1\r\nHost: a:80:80\r\n".to_owned(), None),
        ("GET /p HTTP/1.1\r\nHost: a?b\r\n".to_owned(), None),
        ("GET /p HTTP/1.1\r\nHost: a#b\r\n".to_owned(), None),
        ("GET /p HTTP/1.1\r\nHost: ::1\r\n".to_owned(), None),
        ("GET /p HTTP/1.1\r\nHost: [::1\r\n".to_owned(), None),
        ("GET /p HTTP/1.1\r\nHost: a..b\r\n".to_owned(), None),
        ("GET /p HTTP/1.1\r\nHost: caf\u{e9}\r\n".to_owned(), None),
        ("GET /p HTTP/1.1\r\nHost: \r\n".to_owned(), None),
        // The absolute form.
        (format!("GET http://{own}/p?q HTTP/1.1\r\nHost: {own}\r\n"), Some("/base/p?q")),
        (format!("GET http://{theirs}/p HTTP/1.1\r\nHost: {theirs}\r\n"), Some("/base/p")),
        ("GET http://a/p HTTP/1.1\r\nHost: a:80\r\n".to_owned(), Some("/base/p")),
        ("GET http://a HTTP/1.1\r\nHost: a\r\n".to_owned(), Some("/base/")),
        ("GET http://a?q=1 HTTP/1.1\r\nHost: a\r\n".to_owned(), Some("/base/?q=1")),
        (format!("GET http://{theirs}/p HTTP/1.1\r\nHost: {own}\r\n"), None),
        (format!("GET http://{theirs}/p HTTP/1.1\r\n"), None),
        (format!("GET http://u@{own}/p HTTP/1.1\r\nHost: {own}\r\n"), None),
        (format!("GET http://{own}@{theirs}/p HTTP/1.1\r\nHost: {own}\r\n"), None),
        (format!("GET ftp://{own}/p HTTP/1.1\r\nHost: {own}\r\n"), None),
        (format!("GET file:///p HTTP/1.1\r\nHost: {own}\r\n"), None),
        (format!("GET {theirs} HTTP/1.1\r\nHost: {theirs}\r\n"), None),
        (format!("GET p HTTP/1.1\r\nHost: {own}\r\n"), None),
        (format!("GET @{theirs}/p HTTP/1.1\r\nHost: {own}\r\n"), None),
        (format!("GET * HTTP/1.1\r\nHost: {own}\r\n"), None),
        (format!("OPTIONS * HTTP/1.1\r\nHost: {own}\r\n"), None),
        // What looks like a host in a path is a path.
        (format!("GET //{theirs}/p HTTP/1.1\r\nHost: {own}\r\n"), Some("/base//THEIRS/p")),
        (format!("GET /@{theirs}/p HTTP/1.1\r\nHost: {own}\r\n"), Some("/base/@THEIRS/p")),
        (format!("GET /http://{theirs}/p HTTP/1.1\r\nHost: {own}\r\n"), Some("/base/http://THEIRS/p")),
        (format!("GET /p HTTP/1.1\r\nHost: {own}\r\nX-Forwarded-Host: {theirs}\r\n"), Some("/base/p")),
        (format!("GET /p HTTP/1.1\r\nHost: {own}\r\nForwarded: host={theirs}\r\n"), Some("/base/p")),
        // Versions and request lines.
        (format!("GET /p HTTP/2.0\r\nHost: {own}\r\n"), None),
        (format!("GET /p HTTP/0.9\r\nHost: {own}\r\n"), None),
        (format!("GET /p\r\nHost: {own}\r\n"), None),
        (format!("GET  /p HTTP/1.1\r\nHost: {own}\r\n"), None),
        (format!("GET\t/p HTTP/1.1\r\nHost: {own}\r\n"), None),
        (format!("GET /p x HTTP/1.1\r\nHost: {own}\r\n"), None),
        (format!("G@T /p HTTP/1.1\r\nHost: {own}\r\n"), None),
    ] {
        let before = upstream.seen().len();
        let answer = exchange(proxy.address(), format!("{head}\r\n")).await;
        let seen = upstream.seen().split_off(before);
        match fate {
            None => {
                assert_eq!(answer.status(), 400, "{head:?}");
                assert!(seen.is_empty(), "{head:?}: {seen:?}");
            }
            Some(target) => {
                assert_eq!(answer.status(), 200, "{head:?}");
                assert_eq!(seen.len(), 1, "{head:?}: {seen:?}");
                assert_eq!(seen[0].target(), target.replace("THEIRS", &theirs), "{head:?}");
                assert_eq!(seen[0].header("host"), Some(ours.as_str()), "{head:?}");
                assert_eq!(seen[0].header("authorization"), Some(BEARER), "{head:?}");
            }
        }
    }
    assert_eq!(other.accepted(), 0, "nobody else was spoken to");
}

#[tokio::test]
async fn the_credential_arrives_exactly_once_whatever_the_client_sends_in_its_place_or_nominates() {
    let upstream = Wire::ok().await;
    let bearer = Proxy::start(&one_route(&upstream.url(""), "")).await;
    let custom = Proxy::start(&injecting(&upstream.url(""), "{header: X-Api-Key}", "")).await;
    for (proxy, name, value) in [(&bearer, "authorization", BEARER), (&custom, "x-api-key", TOKEN)] {
        let title = if name == "authorization" { "Authorization" } else { "X-Api-Key" };
        let under = title.replace('-', "_");
        for lines in [
            String::new(),
            format!("{title}: mine\r\n"),
            format!("{}: mine\r\n", name.to_uppercase()),
            format!("{title}: one\r\n{name}: two\r\n"),
            format!("{under}: mine\r\n"),
            format!("{}: a\r\n{title}: b\r\n{name}: c\r\n", under.to_uppercase()),
            format!("{title}: mine   \r\n"),
            format!("{title}:\r\n"),
            format!("Connection: {title}\r\n"),
            format!("Connection: {title}\r\n{title}: mine\r\n"),
            format!("Connection: close, {name}, host, content-length, via, x-forwarded-for\r\n"),
            format!("Connection: {under}\r\n{under}: mine\r\n"),
            format!("Connection: keep-alive\r\nConnection: ,, {title} ,\r\n"),
            format!("Connection: \"{title}\"\r\n"),
            format!("Proxy-Connection: {title}\r\nKeep-Alive: {title}\r\n"),
        ] {
            let request = format!("POST / HTTP/1.1\r\nHost: x\r\n{lines}Content-Length: 2\r\n\r\nhi");
            let answer = exchange(proxy.address(), request).await;
            assert_eq!(answer.status(), 200, "{lines:?}");
            let seen = upstream.last();
            assert_eq!(seen.all(name), [value], "{lines:?}: {seen:?}");
            assert!(!seen.head.contains("mine") && !seen.head.contains('_'), "{lines:?}: {seen:?}");
            assert_eq!(seen.header("host"), Some(upstream.address.to_string().as_str()), "{lines:?}");
            assert_eq!((seen.text().as_str(), seen.header("content-length")), ("hi", Some("2")), "{lines:?}");
            assert!(seen.header("via").is_some() && seen.header("x-forwarded-for").is_some(), "{lines:?}: {seen:?}");
            assert_eq!(seen.header("connection"), None, "{lines:?}: {seen:?}");
        }
    }
}

#[tokio::test]
async fn no_trailer_carries_a_credential_or_framing() {
    let upstream = Wire::ok().await;
    let proxy = Proxy::start(&injecting(&upstream.url(""), "{header: X-Api-Key}", "")).await;
    let trailers =
        "X-Api-Key: mine\r\nx_api_key: mine\r\nAuthorization: mine\r\nContent-Length: 7\r\nHost: mine\r\nX-Sum: 1\r\n";
    let answer = exchange(
        proxy.address(),
        format!(
            "POST / HTTP/1.1\r\nHost: x\r\nTE: trailers\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n\
             2\r\nhi\r\n0\r\n{trailers}\r\n"
        ),
    )
    .await;
    assert_eq!(answer.status(), 200);
    let seen = upstream.only();
    assert_eq!((seen.text().as_str(), seen.all("x-api-key")), ("hi", vec![TOKEN]));
    assert!(!format!("{}{}", seen.head, seen.trailers).contains("mine"), "{seen:?} {}", seen.trailers);
    assert!(seen.trailers.is_empty() || seen.trailers.eq_ignore_ascii_case("x-sum: 1\r\n"), "{}", seen.trailers);
}

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
