//! Which route takes a request, what becomes of its path, and how answers are mapped back.

use tempfile::TempDir;

use crate::answers_of_its_own::is_problem;
use crate::harness::proxy::Proxy;
use crate::harness::raw::{End, Wire, exchange};
use crate::harness::tls::Authority;
use crate::harness::yaml::{injecting, one_route, routes};

/// The upstream's path tells which route it was.
fn to(upstream: &Wire, list: &[(&str, &str)]) -> String {
    let lines: Vec<_> = list
        .iter()
        .map(|(name, matched)| {
            format!(
                "- {{name: {name}, match: {{{matched}}}, upstream: {}/{name}, credential: fixed, strip_prefix: false}}",
                upstream.url("")
            )
        })
        .collect();
    routes(&lines.join("\n"))
}

#[tokio::test]
async fn the_most_particular_route_takes_a_request() {
    let upstream = Wire::ok().await;
    let yaml = to(
        &upstream,
        &[
            ("root", ""),
            ("a", "path: /a"),
            ("ab", "path: /a/b"),
            ("regex2", "path_regex: '^/v[0-9]+/x'"),
            ("regex", "path_regex: '^/v[0-9]+/'"),
            ("exact", "path_exact: /v1/exact"),
            ("posts", "path: /a, methods: [POST, PUT]"),
            ("tenant", "path: /a, headers: {X-Tenant: acme}"),
            ("both", "path: /a, headers: {X-Tenant: acme, x-more: '1'}"),
            ("method_first", "path: /a/b, methods: [DELETE]"),
            ("host", "host: crm.internal"),
            ("host_a", "host: crm.internal, path: /a"),
            ("wild", "host: '*.internal'"),
            ("wilder", "host: '*.deep.internal', path: /"),
            ("six", "host: '[::1]'"),
        ],
    );
    let proxy = Proxy::start(&yaml).await;
    for (line, host, headers, expected) in [
        ("GET /", "x", "", "root"),
        ("GET /a", "x", "", "a"),
        ("GET /a/", "x", "", "a"),
        ("GET /ab", "x", "", "root"),
        ("GET /A", "x", "", "root"),
        ("GET /a/b/c", "x", "", "ab"),
        ("GET /%61/%62", "x", "", "ab"),
        ("GET //a/b", "x", "", "root"),
        ("GET /v12/y", "x", "", "regex"),
        ("GET /v12/x", "x", "", "regex2"),
        ("GET /v1/exact", "x", "", "exact"),
        ("GET /v1/exact/", "x", "", "regex"),
        ("POST /a", "x", "", "posts"),
        ("PUT /a/c", "x", "X-Tenant: acme\r\n", "posts"),
        ("GET /a", "x", "x-tenant: acme\r\n", "tenant"),
        ("GET /a", "x", "x-tenant: ACME\r\n", "a"),
        ("GET /a", "x", "X-Tenant: other\r\nX-Tenant: acme\r\nX-More: 1\r\n", "both"),
        ("DELETE /a/b", "x", "X-Tenant: acme\r\n", "method_first"),
        ("GET /z", "crm.internal", "", "host"),
        ("GET /z", "CRM.Internal.:8080", "", "host"),
        ("GET /a/b", "crm.internal", "", "host_a"),
        ("GET /a/b", "other.internal", "", "wild"),
        ("GET /a/b", "a.b.internal", "", "wild"),
        ("GET /a/b", "a.b.deep.internal", "", "wilder"),
        ("GET /a/b", "internal", "", "ab"),
        ("GET /a/b", "xinternal", "", "ab"),
        ("GET /a/b", "[::1]:80", "", "six"),
        ("GET /a/b", "[0:0::1]", "", "six"),
    ] {
        exchange(proxy.address(), format!("{line} HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n")).await;
        let path = line.split(' ').nth(1).unwrap();
        assert_eq!(upstream.last().target(), format!("/{expected}{path}"), "{line} {host} {headers:?}");
    }
    // HTTP/1.0 without a host is none's.
    exchange(proxy.address(), "GET /a/b HTTP/1.0\r\n\r\n").await;
    assert_eq!(upstream.last().target(), "/ab/a/b");
}

#[tokio::test]
async fn paths_are_forwarded_as_the_contract_says() {
    let upstream = Wire::ok().await;
    let base = upstream.url("/v1");
    let root = upstream.url("");
    let list = format!(
        "- {{name: crewmojo, match: {{path: /crewmojo}}, upstream: {base}, credential: fixed}}\n\
         - {{name: slash, match: {{path: /slash/}}, upstream: {base}/, credential: fixed}}\n\
         - {{name: bare, match: {{path: /bare}}, upstream: '{root}', credential: fixed}}\n\
         - {{name: exact, match: {{path_exact: /exact}}, upstream: {base}/there, credential: fixed}}\n\
         - {{name: regex, match: {{path_regex: '^/r[0-9]'}}, upstream: {base}, credential: fixed}}\n\
         - {{name: kept, match: {{path: /kept}}, upstream: {base}, credential: fixed, strip_prefix: false}}\n\
         - {{name: rest, upstream: {base}, credential: fixed}}\n"
    );
    let proxy = Proxy::start(&routes(&list)).await;
    for (target, expected) in [
        ("/crewmojo/employees?page=2", "/v1/employees?page=2"),
        ("/crewmojo", "/v1"),
        ("/crewmojo/", "/v1/"),
        ("/crewmojo?a", "/v1?a"),
        ("/crewmojo//a//b/", "/v1//a//b/"),
        ("/%63rewmojo/%7e%41%3a", "/v1/%7e%41%3a"),
        ("/crewmojox", "/v1/crewmojox"),
        ("/slash/a", "/v1/a"),
        ("/slash", "/v1"),
        ("/bare", "/"),
        ("/bare?q", "/?q"),
        ("/bare/", "/"),
        ("/bare//x", "//x"),
        ("/exact?q=1", "/v1/there?q=1"),
        ("/r1/x?y", "/v1/r1/x?y"),
        ("/kept/x", "/v1/kept/x"),
        ("/", "/v1/"),
        ("/a;b=c/d,e:f@g!$&'()*+=~-._", "/v1/a;b=c/d,e:f@g!$&'()*+=~-._"),
        ("/.well-known/...", "/v1/.well-known/..."),
        ("/%252e%252e/", "/v1/%252e%252e/"),
        ("/a?", "/v1/a?"),
        ("/a??b=/../&c=%2e%2F%00%zz&&+;", "/v1/a??b=/../&c=%2e%2F%00%zz&&+;"),
        ("/a?b[]={x}|y^z`\\", "/v1/a?b[]={x}|y^z`\\"),
    ] {
        let answer = exchange(proxy.address(), format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
        assert_eq!(answer.status(), 200, "{target}: {answer:?}");
        assert_eq!(upstream.last().target(), expected, "{target}");
    }
}

/// Sends one request and gives back the answer's header; the upstream answers with this header.
async fn mapped(yaml: &str, head: &str, upstream_address: &str) -> String {
    let proxy = Proxy::start(yaml).await;
    let answer = exchange(proxy.address(), format!("GET {head} HTTP/1.1\r\nHost: legacy:81\r\n\r\n")).await;
    answer.head.replace(upstream_address, "UP")
}

#[tokio::test]
async fn what_points_into_the_upstream_comes_back_as_a_path_of_the_route() {
    let upstream = Wire::start(|mut caller| async move {
        while let Some(request) = caller.request().await {
            let location = request.header("x-want").unwrap().to_owned();
            caller.say(format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Location: {location}\r\nContent-Length: 0\r\n\r\n")).await;
        }
    })
    .await;
    let up = upstream.address.to_string();
    let port = upstream.address.port();
    let yaml = injecting(&upstream.url("/v1"), "{query: api_key}", "match: {path: /crm}");
    let proxy = Proxy::start(&yaml).await;
    for (sent, expected) in [
        (format!("http://{up}/v1/employees/7?a=b#c"), "/crm/employees/7?a=b#c"),
        (format!("HTTP://{up}/v1"), "/crm"),
        (format!("http://{up}/v1/"), "/crm/"),
        (format!("//{up}/v1/x"), "/crm/x"),
        ("/v1/x?api_key=T0K3N&b=1".to_owned(), "/crm/x?b=1"),
        ("/v1/x?api_key=T0K3N".to_owned(), "/crm/x"),
        ("/v1?%61pi_key=T0K3N#f".to_owned(), "/crm#f"),
        ("/v1//evil.example/".to_owned(), "/crm//evil.example/"),
        ("next?api_key=T0K3N".to_owned(), "next"),
        ("?page=2".to_owned(), "?page=2"),
        ("/v10/x".to_owned(), "/v10/x"),
        ("/other".to_owned(), "/other"),
        (format!("http://127.0.0.1:{}/v1/x", port - 1), "SAME"),
        (format!("https://{up}/v1/x"), "SAME"),
        ("https://login.example/v1/x?api_key=theirs".to_owned(), "SAME"),
        ("mailto:a@b".to_owned(), "SAME"),
    ] {
        let answer =
            exchange(proxy.address(), format!("GET /crm/a HTTP/1.1\r\nHost: legacy\r\nX-Want: {sent}\r\n\r\n")).await;
        let expected = if expected == "SAME" { sent.as_str() } else { expected };
        assert_eq!(answer.status(), 302, "no redirect is followed");
        assert_eq!(answer.header("location"), Some(expected), "{sent}");
        assert_eq!(answer.header("content-location"), Some(expected), "{sent}");
    }
    assert_eq!(upstream.last().target(), "/v1/a?api_key=T0K3N");

    let off = format!("{yaml}    rewrite_response: false\n");
    let proxy = Proxy::start(&off).await;
    let answer = exchange(proxy.address(), "GET /crm/a HTTP/1.1\r\nHost: legacy\r\nX-Want: /v1/x\r\n\r\n").await;
    assert_eq!(answer.header("location"), Some("/v1/x"));
}

#[tokio::test]
async fn cookies_come_back_for_the_route() {
    let upstream = Wire::always(
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\
         Set-Cookie: a=1; Domain=api.example.com; Path=/v1/sub; Secure; HttpOnly; SameSite=None\r\n\
         Set-Cookie: b=2; path=/; SECURE\r\nSet-Cookie: c=\"3; x\"; Expires=Wed, 21 Oct 2037 07:28:00 GMT\r\n\
         Set-Cookie: d=4; Path=/elsewhere\r\nSet-Cookie: e=5; PATH=/v1\r\n\r\n",
    )
    .await;
    let yaml = one_route(&upstream.url("/v1"), "match: {path: /crm}");
    let head = mapped(&yaml, "/crm/x", &upstream.address.to_string()).await;
    for line in [
        "Set-Cookie: a=1; Path=/crm/sub; HttpOnly; SameSite=None",
        "Set-Cookie: b=2; path=/crm",
        "Set-Cookie: c=\"3; x\"; Expires=Wed, 21 Oct 2037 07:28:00 GMT",
        "Set-Cookie: d=4; Path=/crm",
        "Set-Cookie: e=5; PATH=/crm",
    ] {
        assert!(head.split("\r\n").any(|found| found == line), "{line}: {head}");
    }
    let off = mapped(&format!("{yaml}    rewrite_response: false\n"), "/crm/x", "UP").await;
    assert!(off.contains("Domain=api.example.com; Path=/v1/sub; Secure"), "{off}");

    let folder = TempDir::new().unwrap();
    let authority = Authority::new();
    authority.identity(&["localhost"]).write(folder.path(), "server");
    let tls = format!("listeners: [{{address: '127.0.0.1:0', tls: {{cert: server.crt, key: server.key}}}}]\n{yaml}");
    let proxy = Proxy::start_in(folder, &tls, &[]).await;
    let mut client = End::over(authority.connect(proxy.address(), &[]).await.unwrap());
    client.send("GET /crm/x HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    let answer = client.answer().await;
    assert!(answer.has_line("Set-Cookie: a=1; Path=/crm/sub; Secure; HttpOnly; SameSite=None"), "{answer:?}");
}

#[tokio::test]
async fn a_login_in_another_spelling_of_its_path_is_no_less_a_login() {
    let upstream = Wire::ok().await;
    let yaml = format!(
        "credentials:\n  c: {{provider: oauth2, token_url: '{0}/v1/oauth/token', client_id: a, client_secret: b}}\n\
         routes:\n  - {{name: r, match: {{path: /api}}, upstream: '{0}/v1', credential: c, token_endpoint: refuse}}\n",
        upstream.url("")
    );
    let proxy = Proxy::start(&yaml).await;
    for path in [
        "/api/oauth/token",
        "/api/oauth/token/",
        "/api/oauth/%74oken",
        "/%61pi/%6Fauth/token?x=y",
        "/api//oauth///token",
    ] {
        let answer =
            exchange(proxy.address(), format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")).await;
        is_problem(&answer, 403, "token_endpoint_refused");
    }
    assert_eq!(upstream.accepted(), 0);
}
