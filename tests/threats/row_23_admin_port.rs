//! Row 23: the admin port and metrics: nobody reaches them who was not meant to, not by a page in an
//! operator's browser either.

use std::net::SocketAddr;

use crate::admin::{HEALTH, OTHERS};
use crate::harness::process;
use crate::harness::proxy::Proxy;
use crate::harness::raw::exchange;

const TOKEN: &str = "adm1n-t0ken-of-the-tests";

/// An admin port beside a route that answers by itself. `more` are further fields.
fn small(more: &str) -> String {
    format!("admin: {{address: '127.0.0.1:0'{more}}}\nroutes: [{{name: a, respond: 204}}]\n")
}

async fn status_of(address: SocketAddr, method: &str, path: &str, headers: &str) -> u16 {
    exchange(address, format!("{method} {path} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n")).await.status()
}

#[test]
fn it_does_not_start_where_others_reach_it_without_a_token() {
    let check = |admin: &str| {
        let yaml =
            format!("listeners: [{{address: '127.0.0.1:0'}}]\nadmin: {admin}\nroutes: [{{name: a, respond: 204}}]\n");
        let output = process::run(&yaml, &["check"], &[("EMPTY", "")]);
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for open in ["0.0.0.0:0", "[::]:0", "192.0.2.1:9901", "[2001:db8::1]:9901", "[::ffff:0.0.0.0]:9901"] {
        let (code, said) = check(&format!("{{address: '{open}'}}"));
        assert!(code == Some(78) && said.contains("admin"), "{open}: {code:?} {said}");
        for none in ["''", "~", "${EMPTY}"] {
            let (code, said) = check(&format!("{{address: '{open}', token: {none}}}"));
            assert_eq!(code, Some(78), "{open} {none}: {said}");
        }
        assert_eq!(check(&format!("{{address: '{open}', token: {TOKEN}}}")).0, Some(0), "{open}");
    }
    for own in ["127.0.0.1:0", "[::1]:0", "127.1.2.3:9901", "unix:/tmp/tokenferry-row-23.sock"] {
        assert_eq!(check(&format!("{{address: '{own}'}}")), (Some(0), String::new()), "{own}");
    }
    // Refused means that nothing listens: not even the listeners that are sound.
    let yaml =
        "listeners: [{address: '127.0.0.1:0'}]\nadmin: {address: '0.0.0.0:0'}\nroutes: [{name: a, respond: 204}]\n";
    let output = process::run(yaml, &["run"], &[]);
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(78), &b""[..]));
}

#[tokio::test]
async fn no_admin_port_is_there_unless_it_is_asked_for_and_the_listeners_serve_none_of_it() {
    let proxy = Proxy::start(&small("")).await;
    for (method, path) in OTHERS.iter().copied().chain(HEALTH.iter().map(|path| ("GET", *path))) {
        let answer = exchange(proxy.address(), format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")).await;
        assert_eq!(answer.status(), 204, "{method} {path}: the route's own answer");
    }
}

#[tokio::test]
async fn a_scrape_by_dns_rebinding_learns_nothing() {
    // evil.example was resolved to 127.0.0.1 after its page was loaded: to the browser this is that
    // page's own origin, so there is no foreign Origin, and `Host` is all that tells.
    let page =
        "Origin: http://evil.example:9901\r\nReferer: http://evil.example:9901/\r\nSec-Fetch-Site: same-origin\r\n";
    for (more, authorized) in
        [("", String::new()), (", token: adm1n-t0ken-of-the-tests", format!("Authorization: Bearer {TOKEN}\r\n"))]
    {
        let proxy = Proxy::start(&small(more)).await;
        for host in [
            "evil.example:9901",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "localhost@evil.example",
            "evil.example#localhost",
        ] {
            for (method, path) in OTHERS.iter().copied().chain(HEALTH.iter().map(|path| ("GET", *path))) {
                for headers in [
                    format!("Host: {host}\r\n"),
                    format!("Host: {host}\r\n{page}"),
                    format!("Host: {host}\r\nX-Forwarded-Host: localhost\r\n"),
                ] {
                    let request = format!("{method} {path} HTTP/1.1\r\n{headers}{authorized}Connection: close\r\n\r\n");
                    let answer = exchange(proxy.admin(), request).await;
                    assert!([400, 403].contains(&answer.status()), "{method} {path} {headers}: {answer:?}");
                    assert!(!answer.text().contains("tokenferry_"), "{answer:?}");
                    assert_eq!(answer.header("access-control-allow-origin"), None);
                }
            }
        }
        let preflight = format!(
            "OPTIONS /metrics HTTP/1.1\r\nHost: evil.example\r\nOrigin: http://evil.example\r\nAccess-Control-Request-Method: GET\r\n{authorized}\r\n"
        );
        assert_eq!(exchange(proxy.admin(), preflight).await.status(), 403);
        let allowed = format!("Host: localhost:9901\r\n{authorized}");
        assert_eq!(status_of(proxy.admin(), "GET", "/metrics", &allowed).await, 200, "the counter-check");
    }
}

#[tokio::test]
async fn a_foreign_host_or_origin_is_refused_on_every_path() {
    let proxy = Proxy::start(&small(", hosts: [tokenferry.example]")).await;
    let admin = proxy.admin();
    let all = HEALTH.iter().map(|path| ("GET", *path)).chain(OTHERS.iter().copied());
    for (method, path) in all {
        for (headers, code) in [
            ("Host: evil.example\r\n", "foreign_host"),
            ("Host: localhost.evil.example:9901\r\n", "foreign_host"),
            ("Host: localhost\r\nOrigin: http://evil.example\r\n", "foreign_origin"),
            ("Host: localhost\r\nOrigin: null\r\n", "foreign_origin"),
            ("Host: localhost\r\nSec-Fetch-Site: cross-site\r\n", "foreign_origin"),
            ("Host: localhost\r\nSec-Fetch-Site: same-site\r\n", "foreign_origin"),
        ] {
            let request = format!("{method} {path} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n");
            let answer = exchange(admin, request).await;
            assert_eq!(
                (answer.status(), answer.json()["code"].as_str()),
                (403, Some(code)),
                "{method} {path} {headers}"
            );
        }
        let absolute =
            format!("{method} http://evil.example{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        assert_eq!(exchange(admin, absolute).await.status(), 403, "{method} {path}");
        for headers in ["", "Host: localhost\r\nHost: localhost\r\n"] {
            assert_eq!(status_of(admin, method, path, headers).await, 400, "{method} {path}");
        }
    }
    for headers in [
        "Host: tokenferry.example\r\n",
        "Host: 10.1.2.3:9901\r\n",
        "Host: [::1]\r\nOrigin: http://[::1]\r\nSec-Fetch-Site: same-origin\r\n",
    ] {
        assert_eq!(status_of(admin, "GET", "/api/v1/status", headers).await, 200, "{headers}");
    }
    let old = exchange(admin, "GET /healthz HTTP/1.0\r\n\r\n").await;
    assert_eq!(old.status(), 200, "a probe that knows no Host");
}
