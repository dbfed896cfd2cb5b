//! Row 7: a credential on its way to the wrong host. Where a request goes is its route's upstream and
//! nothing else; a head that names two hosts, or none that is one, is refused.

use tempfile::TempDir;

use crate::harness::proxy::Proxy;
use crate::harness::raw::{End, Wire, exchange};
use crate::harness::tls::Authority;
use crate::harness::yaml::one_route;

const BEARER: &str = "Bearer T0K3N";

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

/// Two hosts, two upstreams, two credentials.
fn two_hosts(one: &Wire, two: &Wire) -> String {
    format!(
        "credentials:\n  one: {{provider: static, token: 'ONE'}}\n  two: {{provider: static, token: 'TWO'}}\nroutes:\n\
         \x20 - {{name: one, match: {{host: one.internal}}, upstream: '{}/up1', credential: one}}\n\
         \x20 - {{name: two, match: {{host: '*.two.internal'}}, upstream: '{}/up2', credential: two}}\n",
        one.url(""),
        two.url("")
    )
}

/// Where a head leads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Leads {
    One,
    Two,
    /// To no route.
    Nowhere,
    /// To a refusal of the head.
    Bad,
}
use Leads::{Bad, Nowhere, One, Two};

#[tokio::test]
async fn a_head_leads_to_one_hosts_upstream_with_its_credential_or_to_none() {
    let (one, two) = (Wire::ok().await, Wire::ok().await);
    let proxy = Proxy::start(&two_hosts(&one, &two)).await;
    let port = two.address.port();
    for (head, leads) in [
        ("GET /p HTTP/1.1\r\nHost: one.internal", One),
        ("GET /p HTTP/1.1\r\nHost: ONE.Internal", One),
        ("GET /p HTTP/1.1\r\nHost: one.internal.", One),
        ("GET /p HTTP/1.1\r\nHost: one.internal:1234", One),
        ("GET /p HTTP/1.1\r\nHost: one.internal:", One),
        ("GET /p HTTP/1.1\r\nHost: a.two.internal", Two),
        ("GET /p HTTP/1.1\r\nHost: a.b.two.internal.:80", Two),
        ("GET /p HTTP/1.1\r\nHost: two.internal", Nowhere),
        ("GET /p HTTP/1.1\r\nHost: xtwo.internal", Nowhere),
        ("GET /p HTTP/1.1\r\nHost: one.internal.evil", Nowhere),
        ("GET /p HTTP/1.1\r\nHost: evil-one.internal", Nowhere),
        ("GET /p HTTP/1.1\r\nHost: 127.0.0.1:PORT", Nowhere),
        ("GET /p HTTP/1.1\r\nHost: [::1]", Nowhere),
        ("GET /p HTTP/1.1\r\nHost: [::ffff:127.0.0.1]:PORT", Nowhere),
        ("GET /p HTTP/1.0", Nowhere),
        ("GET /p HTTP/1.0\r\nHost: one.internal", One),
        // Two hosts in one head.
        ("GET /p HTTP/1.1\r\nHost: one.internal\r\nHost: a.two.internal", Bad),
        ("GET /p HTTP/1.1\r\nHost: a.two.internal\r\nHost: one.internal", Bad),
        ("GET /p HTTP/1.1\r\nHost: one.internal\r\nHost: one.internal", Bad),
        ("GET /p HTTP/1.1\r\nHost: one.internal, a.two.internal", Bad),
        ("GET /p HTTP/1.1\r\nHost: one.internal a.two.internal", Bad),
        ("GET /p HTTP/1.1\r\nHost: one.internal;a.two.internal", Bad),
        ("GET /p HTTP/1.1\r\nHost: one.internal\ta.two.internal", Bad),
        ("GET /p HTTP/1.1\r\nHost: one.internal\r\n Host: a.two.internal", Bad),
        ("GET /p HTTP/1.1\r\nHost: one.internal\rHost: a.two.internal", Bad),
        ("GET /p HTTP/1.1\r\nHost: one.internal\0.two.internal", Bad),
        ("GET http://a.two.internal/p HTTP/1.1\r\nHost: one.internal", Bad),
        ("GET http://one.internal/p HTTP/1.1\r\nHost: a.two.internal", Bad),
        ("GET http://a.two.internal/p HTTP/1.0\r\nHost: one.internal", Bad),
        ("GET http://one.internal:81/p HTTP/1.1\r\nHost: one.internal", Bad),
        ("GET https://one.internal/p HTTP/1.1\r\nHost: one.internal:80", Bad),
        // One host in another spelling.
        ("GET http://one.internal/p HTTP/1.1\r\nHost: one.internal", One),
        ("GET HTTP://ONE.internal:80/p HTTP/1.1\r\nHost: one.internal", One),
        ("GET http://a.two.internal/p HTTP/1.1\r\nHost: A.Two.Internal.", Two),
        ("GET http://a.two.internal/p HTTP/1.0", Two),
        // Userinfo, and what looks like a host and is none.
        ("GET http://one.internal@a.two.internal/p HTTP/1.1\r\nHost: one.internal", Bad),
        ("GET http://one.internal@a.two.internal/p HTTP/1.1\r\nHost: a.two.internal", Bad),
        ("GET http://u:p@one.internal/p HTTP/1.1\r\nHost: one.internal", Bad),
        // A fragment is no part of a request target, and cut off before anybody reads it.
        ("GET http://one.internal#@a.two.internal/p HTTP/1.1\r\nHost: one.internal", One),
        ("GET http://one.internal\\@a.two.internal/p HTTP/1.1\r\nHost: one.internal", Bad),
        ("GET http:///p HTTP/1.1\r\nHost: one.internal", Bad),
        ("GET http:a.two.internal/p HTTP/1.1\r\nHost: one.internal", Bad),
        ("GET a.two.internal:80 HTTP/1.1\r\nHost: one.internal", Bad),
        ("GET ws://one.internal/p HTTP/1.1\r\nHost: one.internal", Bad),
        ("GET /p HTTP/1.1\r\nHost: one.internal@a.two.internal", Bad),
        ("GET /p HTTP/1.1\r\nHost: one.internal#a.two.internal", Bad),
        ("GET /p HTTP/1.1\r\nHost: one.internal\\a.two.internal", Bad),
        ("GET /p HTTP/1.1\r\nHost: one.internal/a.two.internal", Bad),
        ("GET /p HTTP/1.1\r\nHost: one.internal?a.two.internal", Bad),
        ("GET /p HTTP/1.1\r\nHost: one.internal%2ea.two.internal", Bad),
        ("GET /p HTTP/1.1\r\nHost: one.internal..", Bad),
        ("GET /p HTTP/1.1\r\nHost: one.internal:80:PORT", Bad),
        ("GET /p HTTP/1.1\r\nHost: one.internal:+80", Bad),
        ("GET /p HTTP/1.1\r\nHost: \u{ff4f}ne.internal", Bad),
        ("GET /p HTTP/1.1\r\nHost: one\u{3002}internal", Bad),
        ("GET /p HTTP/1.1\r\nHost: ::1", Bad),
        ("GET /p HTTP/1.1\r\nHost: [::1%25lo]", Bad),
        ("GET /p HTTP/1.1\r\nHost:", Bad),
        ("GET /p HTTP/1.1", Bad),
        // What others said about it.
        ("GET /p HTTP/1.1\r\nHost: one.internal\r\nX-Forwarded-Host: a.two.internal", One),
        ("GET /p HTTP/1.1\r\nHost: one.internal\r\nX-Host: a.two.internal\r\nX-Original-Host: a.two.internal", One),
        ("GET /p HTTP/1.1\r\nHost: one.internal\r\nForwarded: host=a.two.internal;proto=https", One),
        ("GET /p HTTP/1.1\r\nHost: one.internal\r\nX-Original-URL: http://a.two.internal/p", One),
        (
            "GET /p HTTP/1.1\r\nHost: a.two.internal\r\nX-Forwarded-Host: one.internal\r\nX_Forwarded_Host: one.internal",
            Two,
        ),
        // A path is a path.
        ("GET //a.two.internal:PORT/p HTTP/1.1\r\nHost: one.internal", One),
        ("GET /http://a.two.internal:PORT/p HTTP/1.1\r\nHost: one.internal", One),
        ("GET /@127.0.0.1:PORT/p HTTP/1.1\r\nHost: one.internal", One),
        ("GET /\\127.0.0.1:PORT/p HTTP/1.1\r\nHost: one.internal", Bad),
    ] {
        let head = head.replace("PORT", &port.to_string());
        let before = [one.seen().len(), two.seen().len()];
        let answer = exchange(proxy.address(), format!("{head}\r\n\r\n")).await;
        let came = [one.seen().split_off(before[0]), two.seen().split_off(before[1])];
        let expected = match leads {
            One => (200, [1, 0]),
            Two => (200, [0, 1]),
            Nowhere => (404, [0, 0]),
            Bad => (400, [0, 0]),
        };
        assert_eq!((answer.status(), [came[0].len(), came[1].len()]), expected, "{head:?}: {answer:?}");
        for (seen, wire, token, path) in
            [(&came[0], &one, "Bearer ONE", "/up1"), (&came[1], &two, "Bearer TWO", "/up2")]
        {
            for seen in seen {
                assert_eq!(seen.all("authorization"), [token], "{head:?}");
                assert_eq!(seen.header("host"), Some(wire.address.to_string().as_str()), "{head:?}");
                assert!(seen.target().starts_with(path), "{head:?}: {seen:?}");
            }
        }
    }
}

#[tokio::test]
async fn the_name_in_the_tls_handshake_chooses_no_upstream() {
    let (one, two) = (Wire::ok().await, Wire::ok().await);
    let folder = TempDir::new().unwrap();
    let authority = Authority::new();
    authority.identity(&["localhost", "one.internal"]).write(folder.path(), "server");
    let tls = "listeners: [{address: '127.0.0.1:0', tls: {cert: server.crt, key: server.key}}]\n";
    let proxy = Proxy::start_in(folder, &format!("{tls}{}", two_hosts(&one, &two)), &[]).await;
    for (head, leads) in [
        ("GET /p HTTP/1.1\r\nHost: a.two.internal", 1),
        ("GET https://a.two.internal/p HTTP/1.1\r\nHost: a.two.internal:443", 1),
        ("GET /p HTTP/1.1\r\nHost: one.internal", 0),
    ] {
        let before = [one.seen().len(), two.seen().len()];
        // Its handshake names localhost.
        let mut client = End::over(authority.connect(proxy.address(), &[]).await.unwrap());
        client.send(format!("{head}\r\n\r\n")).await;
        assert_eq!(client.answer().await.status(), 200, "{head}");
        let came = [one.seen().split_off(before[0]), two.seen().split_off(before[1])];
        assert_eq!([came[0].len(), came[1].len()], if leads == 0 { [1, 0] } else { [0, 1] }, "{head}");
        assert_eq!(came[leads][0].all("authorization"), [["Bearer ONE", "Bearer TWO"][leads]], "{head}");
    }
}
