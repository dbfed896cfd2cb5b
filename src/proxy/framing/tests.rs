use http::{Request, Response};
use proptest::prelude::*;

use super::*;

fn parts(version: Version, target: &str, lines: &[(&str, &str)]) -> request::Parts {
    let mut request = Request::builder().version(version).uri(target);
    for (name, value) in lines {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn checked(version: Version, target: &str, lines: &[(&str, &str)]) -> Result<RequestHost, Malformed> {
    surveyed(&parts(version, target, lines))
}

fn surveyed(head: &request::Parts) -> Result<RequestHost, Malformed> {
    check(head, Survey::of(&head.headers))
}

fn h1(host: &str) -> Result<RequestHost, Malformed> {
    checked(Version::HTTP_11, "/", &[("host", host)])
}

/// Threats row 1: `cow, chunked`, `,chunked` and two lines passed a bare hyper proxy.
#[test]
fn a_transfer_encoding_that_two_servers_read_differently_is_refused() {
    for value in
        ["cow, chunked", ",chunked", "chunked, chunked", "gzip, chunked", "chunked;q=1", "", "\u{b}chunked", "identity"]
    {
        let mut parts = parts(Version::HTTP_11, "/", &[("host", "a")]);
        let Ok(value) = HeaderValue::from_str(value) else { continue };
        parts.headers.insert(TRANSFER_ENCODING, value);
        assert_eq!(surveyed(&parts), Err(Malformed::TransferEncoding), "{parts:?}");
    }
    let lines = [("host", "a"), ("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")];
    assert_eq!(checked(Version::HTTP_11, "/", &lines), Err(Malformed::TransferEncoding));
    assert!(checked(Version::HTTP_11, "/", &[("host", "a"), ("transfer-encoding", "Chunked")]).is_ok());
}

/// h2 lets equal lines through.
#[test]
fn a_repeated_content_length_is_refused() {
    let lines = [("content-length", "5"), ("content-length", "5")];
    assert_eq!(checked(Version::HTTP_2, "http://a/", &lines), Err(Malformed::ContentLength));
    assert!(checked(Version::HTTP_2, "http://a/", &lines[..1]).is_ok());
}

/// Threats row 7: a bare hyper proxy forwards a missing, doubled and invalid Host.
#[test]
fn a_host_that_is_missing_doubled_or_no_host_is_refused() {
    assert_eq!(checked(Version::HTTP_11, "/", &[]), Err(Malformed::HostMissing));
    assert_eq!(checked(Version::HTTP_11, "http://a/", &[]), Err(Malformed::HostMissing));
    assert_eq!(checked(Version::HTTP_2, "/", &[]), Err(Malformed::HostMissing));
    for version in [Version::HTTP_10, Version::HTTP_11, Version::HTTP_2] {
        assert_eq!(checked(version, "/", &[("host", "a"), ("host", "a")]), Err(Malformed::HostRepeated));
        assert_eq!(checked(version, "/", &[("host", "a"), ("host", "b")]), Err(Malformed::HostRepeated));
    }
    for host in [
        "",
        "a/b@c",
        "a/b",
        "a@b",
        "u:p@a",
        "a b",
        "a,b",
        "a, b",
        "a:b",
        "a:80:80",
        "a:-1",
        "a:+1",
        "a:65536",
        "a: 80",
        ":80",
        ".",
        "..",
        "a..b",
        ".a",
        "a..",
        "a%2fb",
        "a%00",
        "a?b",
        "a#b",
        "a\\b",
        "a;b",
        "*",
        "*.a",
        "http://a",
        "[::1",
        "::1",
        "[::1]x",
        "[::1]]",
        "[]",
        "[a]",
        "[v1.x]",
        "[fe80::1%25eth0]",
        "[::1]:x",
        "[::1].",
        "(a)",
        "a\tb",
        "a'b",
        "a|b",
    ] {
        assert_eq!(h1(host), Err(Malformed::HostInvalid), "{host}");
    }
    let mut latin = parts(Version::HTTP_11, "/", &[]);
    latin.headers.insert(HOST, HeaderValue::from_bytes(b"caf\xe9").unwrap());
    assert_eq!(surveyed(&latin), Err(Malformed::HostInvalid));
}

#[test]
fn the_host_is_lower_case_without_port_and_dot_and_the_authority_as_it_came() {
    for (written, host) in [
        ("a", "a"),
        ("crm.internal", "crm.internal"),
        ("CRM.Internal.:8080", "crm.internal"),
        ("a.b.:443", "a.b"),
        ("a:", "a"),
        ("my_host-1", "my_host-1"),
        ("127.0.0.1:80", "127.0.0.1"),
        ("[::1]", "[::1]"),
        ("[2001:DB8::1]:8080", "[2001:db8::1]"),
        ("[::ffff:127.0.0.1]:1", "[::ffff:127.0.0.1]"),
    ] {
        let found = h1(written).unwrap();
        assert_eq!(found.host(), host, "{written}");
        assert_eq!(found.authority().unwrap(), written);
    }
    assert!(h1("crm.internal:80").unwrap().lower.is_none(), "nothing is copied in the common case");
    let none = checked(Version::HTTP_10, "/", &[]).unwrap();
    assert_eq!((none.host(), none.authority()), ("", None));
}

/// Threats row 7: absolute form, and `:authority` beside Host.
#[test]
fn a_target_that_names_another_host_is_refused() {
    for version in [Version::HTTP_10, Version::HTTP_11, Version::HTTP_2] {
        for (target, host) in [
            ("http://evil/", "a"),
            ("http://a:81/", "a"),
            ("https://a:80/", "a"),
            ("http://a/", "a:443"),
            ("http://aa/", "a"),
            ("http://[::1]/", "[::2]"),
        ] {
            assert_eq!(checked(version, target, &[("host", host)]), Err(Malformed::HostDiffers), "{target} {host}");
        }
        for (target, host) in [
            ("http://a/x?y", "a"),
            ("HTTP://A/", "a"),
            ("http://a.:80/", "a"),
            ("https://a/", "a:443"),
            ("http://a:8080/", "A:8080"),
            ("http://[::1]:1/", "[::1]:1"),
        ] {
            let found = checked(version, target, &[("host", host)]).unwrap();
            assert_eq!(found.authority().unwrap(), host, "{target}");
        }
        assert_eq!(checked(version, "http://u:p@a/", &[("host", "a")]), Err(Malformed::AuthorityInvalid));
        assert_eq!(checked(version, "http://a@a/", &[("host", "a")]), Err(Malformed::AuthorityInvalid));
        assert_eq!(checked(version, "ftp://a/", &[("host", "a")]), Err(Malformed::Scheme));
        assert_eq!(checked(version, "a", &[("host", "a")]), Err(Malformed::Target));
    }
    for version in [Version::HTTP_10, Version::HTTP_2] {
        let found = checked(version, "http://API.example:8080/", &[]).unwrap();
        assert_eq!(found.host(), "api.example");
        assert_eq!(found.authority().unwrap(), "API.example:8080");
    }
}

#[test]
fn connect_is_left_to_be_refused_by_its_method() {
    for (version, lines) in [(Version::HTTP_11, &[("host", "proxy")][..]), (Version::HTTP_2, &[])] {
        let mut parts = parts(version, "evil:443", lines);
        parts.method = Method::CONNECT;
        assert!(surveyed(&parts).is_ok());
    }
}

proptest! {
    #[test]
    fn an_accepted_host_is_one_that_the_uri_parser_reads_alike(host in "(\\[?[a-zA-Z0-9:._-]{0,8}\\]?:?[0-9]{0,5}|[ -~]{0,8})") {
        if let Ok(found) = h1(&host) {
            let authority: http::uri::Authority = host.strip_suffix(':').unwrap_or(&host).parse().unwrap();
            let read = authority.host().to_ascii_lowercase();
            prop_assert_eq!(found.host(), read.strip_suffix('.').unwrap_or(&read));
            prop_assert!(!found.host().is_empty() && !authority.as_str().contains('@'));
        }
    }
}

/// What stands on the wire, through hyper's own server and then [`check`]: the answer's head, and
/// the request's headers if one came through.
async fn wire(head: &[u8]) -> (String, Option<HeaderMap>) {
    use std::sync::{Arc, Mutex};

    use http_body_util::Empty;
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let (mut client, server) = tokio::io::duplex(1 << 16);
    let seen = Arc::new(Mutex::new(None));
    let seen_by = seen.clone();
    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
        let parts = request.into_parts().0;
        let status = if surveyed(&parts).is_ok() { 200 } else { 400 };
        *seen_by.lock().unwrap() = (status == 200).then_some(parts.headers);
        std::future::ready(Response::builder().status(status).body(Empty::<&[u8]>::new()))
    });
    client.write_all(head).await.unwrap();
    client.shutdown().await.unwrap();
    // What the server makes of a refused head is its answer, not the error that it returns.
    let _ = hyper::server::conn::http1::Builder::new()
        .half_close(true)
        .serve_connection(TokioIo::new(server), service)
        .await;
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    let seen = seen.lock().unwrap().take();
    (answer, seen)
}

/// Threats rows 1 and 7, from the wire: either the library refuses or we do.
#[tokio::test]
async fn ambiguous_heads_get_400_from_the_library_or_from_here() {
    for head in [
        "GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n\t2\r\n\r\n",
        "GET / HTTP/1.1\r\n Host: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r2\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: 1\x002\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: 1\x7f\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX(): 1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n: 1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n",
        "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
        "GET / HTTP/1.2\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a/b@c\r\n\r\n",
        "GET / HTTP/1.1\r\nHost:\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET http://a@b/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET http:/b HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET a HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 3\r\n\r\nabc",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x3\r\n\r\nabc",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -3\r\n\r\nabc",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\nabc",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\nabc",
        "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: cow\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: cow, chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, cow\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: cow\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
    ] {
        let (answer, seen) = wire(head.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400") || answer.starts_with("HTTP/1.0 400"), "{head:?} got {answer:?}");
        assert!(seen.is_none(), "{head:?}");
    }
}

#[tokio::test]
async fn content_length_beside_chunked_is_settled_by_the_library_and_the_connection_ends() {
    for head in [
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: +3\r\n\r\n0\r\n\r\n",
    ] {
        let (answer, seen) = wire(head.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("connection: close"), "{head:?} got {answer:?}");
        assert!(!seen.unwrap().contains_key(CONTENT_LENGTH), "{head:?}");
    }
}
