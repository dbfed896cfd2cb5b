//! Through an egress proxy: everything goes by it, nothing is trusted to it that it need not have, and
//! its own faults are told apart from the vendor's.

use std::net::SocketAddr;
use std::time::Duration;

use http::Version;
use tempfile::TempDir;
use tokenferry::demo::{Crayon, Crewmojo, Rules, Simulator};

use crate::answers_of_its_own::is_problem;
use crate::harness::client::{assert_unavailable, get, text, token_number};
use crate::harness::egress::{BASIC, EgressProxy, Manner};
use crate::harness::eventually;
use crate::harness::nobody::Nobody;
use crate::harness::process::{self, Process};
use crate::harness::proxy::Proxy;
use crate::harness::raw::{End, Message, Wire, exchange, soon};
use crate::harness::tls::Authority;
use crate::harness::upstream::Upstream;
use crate::harness::vendors::{config, crayon, crewmojo, route, simulate};
use crate::harness::yaml::{one_route, routes};

const GET: &str = "GET /a HTTP/1.1\r\nHost: x\r\n\r\n";

/// An upstream at `https://api.example.test`, a name that only the egress proxy knows, and a folder with
/// its authority.
async fn https_upstream(alpn: &[&str]) -> (Upstream, TempDir) {
    let (authority, folder) = (Authority::new(), TempDir::new().unwrap());
    authority.write(&folder.path().join("ca.pem"));
    (Upstream::tls(authority.identity(&["api.example.test"]).server(alpn, None)).await, folder)
}

fn https_route(proxy: &str, more: &str) -> String {
    one_route(&format!("{{url: 'https://api.example.test/v1', ca: ca.pem, proxy: '{proxy}'}}"), more)
}

async fn ask(proxy: &Proxy) -> Message {
    soon("an answer", exchange(proxy.address(), GET)).await
}

#[tokio::test]
async fn an_https_upstream_is_reached_through_a_tunnel_that_shows_the_proxy_nothing() {
    for (alpn, version) in [(&["http/1.1"][..], Version::HTTP_11), (&["h2", "http/1.1"], Version::HTTP_2)] {
        let (upstream, folder) = https_upstream(alpn).await;
        let places = [("api.example.test:443", upstream.address)];
        let egress = EgressProxy::start(Manner::Lead(Some(BASIC)), &places).await;
        let proxy = Proxy::start_in(folder, &https_route(&egress.url_with_password(), ""), &[]).await;
        let mut client = End::connect(proxy.address()).await;
        for _ in 0..3 {
            client.send(GET).await;
            assert_eq!(client.answer().await.text(), "ok");
        }
        let seen = upstream.last();
        assert_eq!((seen.version, seen.target.as_str()), (version, "/v1/a"));
        assert_eq!(seen.header("authorization"), Some("Bearer T0K3N"));
        assert_eq!(seen.header("proxy-authorization"), None, "the password is the proxy's alone");

        let [asked] = egress.asked().try_into().expect("one tunnel, used again");
        assert_eq!((asked.method.as_str(), asked.target.as_str()), ("CONNECT", "api.example.test:443"));
        assert_eq!(asked.authorization.as_deref(), Some(BASIC));
        assert_eq!(asked.head.header("host"), Some("api.example.test:443"));
        assert_eq!(asked.head.header("authorization"), None, "the token is not the proxy's");
        assert_eq!(asked.first[0], 22, "a TLS handshake comes first");
        assert!(asked.carried.0 > 200 && asked.carried.1 > 200, "{:?}", asked.carried);
    }
}

#[tokio::test]
async fn the_tunnel_is_judged_by_the_upstreams_name() {
    let (authority, folder) = (Authority::new(), TempDir::new().unwrap());
    authority.write(&folder.path().join("ca.pem"));
    // Somebody else's certificate, by the right authority: what a proxy that leads astray would have.
    let astray = Upstream::tls(authority.identity(&["proxy.example.test", "127.0.0.1"]).server(&[], None)).await;
    let egress = EgressProxy::leading_to(&[("api.example.test:443", astray.address)]).await;
    let proxy = Proxy::start_in(folder, &https_route(&egress.url(), ""), &[]).await;
    let answer = ask(&proxy).await;
    is_problem(&answer, 502, "upstream_unreachable");
    assert_eq!(answer.header("proxy-status"), Some("tokenferry; error=tls_certificate_error"));
    assert!(astray.seen().is_empty());
}

#[tokio::test]
async fn a_plain_upstream_is_asked_for_by_its_whole_url() {
    let upstream = Wire::ok().await;
    let places = [("api.example.test:8080", upstream.address)];
    let egress = EgressProxy::start(Manner::Lead(Some(BASIC)), &places).await;
    let url = format!("{{url: 'http://api.example.test:8080/v1', proxy: '{}'}}", egress.url_with_password());
    let proxy = Proxy::start(&one_route(&url, "")).await;
    let mut client = End::connect(proxy.address()).await;
    client.send("GET /a?b=%20c HTTP/1.1\r\nHost: elsewhere.test\r\nProxy-Authorization: Basic bWluZQ==\r\n\r\n").await;
    assert_eq!(client.answer().await.text(), "ok");
    client.send("POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody").await;
    assert_eq!(client.answer().await.text(), "ok");
    let [first, second] = egress.asked().try_into().unwrap();
    assert_eq!((first.method.as_str(), first.target.as_str()), ("GET", "http://api.example.test:8080/v1/a?b=%20c"));
    assert_eq!(first.head.header("host"), Some("api.example.test:8080"));
    assert_eq!((second.method.as_str(), second.target.as_str()), ("POST", "http://api.example.test:8080/v1/a"));
    for asked in [first, second] {
        assert_eq!(asked.authorization.as_deref(), Some(BASIC), "this proxy's own, not the client's");
    }
    let seen = upstream.last();
    assert_eq!((seen.header("authorization"), seen.text().as_str()), (Some("Bearer T0K3N"), "body"));
}

#[tokio::test]
async fn where_the_host_must_arrive_as_it_is_even_plain_http_has_a_tunnel() {
    let upstream = Wire::ok().await;
    let egress = EgressProxy::leading_to(&[("api.example.test:80", upstream.address)]).await;
    let url = format!("{{url: 'http://api.example.test', proxy: '{}'}}", egress.url());
    let proxy = Proxy::start(&one_route(&url, "host_header: preserve")).await;
    let answer = exchange(proxy.address(), "GET /a HTTP/1.1\r\nHost: tenant.example\r\n\r\n").await;
    assert_eq!(answer.text(), "ok");
    assert_eq!(egress.targets(), ["CONNECT api.example.test:80"]);
    assert_eq!((upstream.last().target(), upstream.last().header("host")), ("/a", Some("tenant.example")));
}

#[tokio::test]
async fn http_2_without_tls_has_a_tunnel() {
    let upstream = Upstream::start().await;
    let egress = EgressProxy::leading_to(&[("api.example.test:80", upstream.address)]).await;
    let url = format!("{{url: 'http://api.example.test', protocol: h2c, proxy: '{}'}}", egress.url());
    let proxy = Proxy::start(&one_route(&url, "")).await;
    assert_eq!(ask(&proxy).await.text(), "ok");
    assert_eq!(upstream.last().version, Version::HTTP_2);
    assert_eq!(egress.targets(), ["CONNECT api.example.test:80"]);
}

/// Agrees to `websocket`, and says back what it hears.
async fn echo() -> Wire {
    Wire::start(|mut caller| async move {
        while let Some(request) = caller.request().await {
            if request.header("upgrade").is_none() {
                caller.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
                continue;
            }
            let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
            caller.say(switch).await;
            while let Some(line) = caller.end.through(b"\n").await {
                caller.say(line).await;
            }
            return;
        }
    })
    .await
}

#[tokio::test]
async fn an_upgrade_goes_through_a_tunnel_also_where_plain_requests_do_not() {
    let upstream = echo().await;
    let egress = EgressProxy::leading_to(&[("api.example.test:80", upstream.address)]).await;
    let url = format!("{{url: 'http://api.example.test', proxy: '{}'}}", egress.url());
    let proxy = Proxy::start(&one_route(&url, "")).await;
    assert_eq!(ask(&proxy).await.text(), "ok");
    let mut client = End::connect(proxy.address()).await;
    client.send("GET /chat HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n").await;
    assert_eq!(client.answer().await.status(), 101);
    for line in ["one\n", "two\n"] {
        client.send(line).await;
        assert_eq!(soon("the echo", client.through(b"\n")).await.unwrap(), line.as_bytes());
    }
    assert_eq!(egress.targets(), ["GET http://api.example.test/a", "CONNECT api.example.test:80"]);
    let seen = upstream.last();
    assert_eq!((seen.target(), seen.header("authorization")), ("/chat", Some("Bearer T0K3N")));
}

#[tokio::test]
async fn a_proxy_that_does_not_lead_on_is_told_apart_from_the_upstream() {
    for (manner, status, error) in [
        (Manner::Lead(Some("Basic b3RoZXI=")), 502, "proxy_configuration_error"),
        // As tinyproxy does.
        (Manner::Say("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"), 502, "proxy_configuration_error"),
        (Manner::Say("HTTP/1.1 403 Forbidden\r\n\r\n"), 502, "destination_unavailable"),
        (Manner::Say("HTTP/1.1 503 No\r\nContent-Length: 1000\r\n\r\n"), 502, "destination_unavailable"),
        (Manner::Say("SSH-2.0-OpenSSH_9.2\r\n"), 502, "http_protocol_error"),
        (Manner::Say(""), 502, "connection_terminated"),
        (Manner::Hang, 504, "connection_timeout"),
    ] {
        let (upstream, folder) = https_upstream(&[]).await;
        let egress = EgressProxy::start(manner, &[("api.example.test:443", upstream.address)]).await;
        let yaml = https_route(&egress.url_with_password(), "timeouts: {connect: 500ms}");
        let proxy = Proxy::start_in(folder, &yaml, &[]).await;
        let answer = ask(&proxy).await;
        is_problem(&answer, status, "egress_proxy");
        assert_eq!(answer.header("proxy-status"), Some(format!("tokenferry; error={error}").as_str()));
        assert!(!format!("{answer:?}").contains("secret"), "its words are not passed on: {answer:?}");
        assert_eq!(egress.targets(), ["CONNECT api.example.test:443"], "asked once");
        assert!(upstream.seen().is_empty());
    }
}

#[tokio::test]
async fn a_proxy_that_nobody_is_behind_is_told_apart_too() {
    let dead = Nobody::there();
    for (upstream, ca) in [("https://api.example.test", ", insecure: true"), ("http://api.example.test", "")] {
        let yaml = one_route(&format!("{{url: '{upstream}', proxy: 'http://{dead}'{ca}}}"), "");
        let answer = ask(&Proxy::start(&yaml).await).await;
        is_problem(&answer, 502, "egress_proxy");
        assert_eq!(answer.header("proxy-status"), Some("tokenferry; error=connection_refused"));
    }
}

#[tokio::test]
async fn a_wrong_password_is_never_the_clients_to_mend() {
    let upstream = Wire::ok().await;
    let egress =
        EgressProxy::start(Manner::Lead(Some("Basic b3RoZXI=")), &[("api.example.test:80", upstream.address)]).await;
    let url = format!("{{url: 'http://api.example.test', proxy: '{}'}}", egress.url_with_password());
    let answer = ask(&Proxy::start(&one_route(&url, "")).await).await;
    is_problem(&answer, 502, "egress_proxy");
    assert_eq!(answer.header("proxy-authenticate"), None);
    assert_eq!(egress.targets(), ["GET http://api.example.test/a"]);
    assert!(upstream.seen().is_empty());
}

/// A vendor's simulator behind TLS, as `https://NAME`.
async fn vendor_over_tls(simulator: &Simulator, authority: &Authority, name: &str) -> Upstream {
    let address: SocketAddr = simulator.origin().trim_start_matches("http://").parse().unwrap();
    Upstream::tls_before(authority.identity(&[name]).server(&["http/1.1"], None), address).await
}

/// The proxy for both calls of a vendor, the login and the data.
async fn both_calls(rules: impl Rules, name: &str, credential: impl Fn(&str, &str) -> String, path: &str) {
    let (authority, folder) = (Authority::new(), TempDir::new().unwrap());
    authority.write(&folder.path().join("ca.pem"));
    let simulator = simulate(rules).await;
    let host = format!("{name}.example.test");
    let front = vendor_over_tls(&simulator, &authority, &host).await;
    let egress = EgressProxy::start(Manner::Lead(Some(BASIC)), &[(&format!("{host}:443"), front.address)]).await;
    let way = format!(", ca: ca.pem, proxy: \"{}\"", egress.url_with_password());
    let upstream = format!("https://{host}{path}");
    let mapped = format!("{{url: \"{upstream}\"{way}}}");
    let route = route(name, &upstream, name, "").replace(&format!("\"{upstream}\""), &mapped);
    let yaml = config(&[credential(&format!("https://{host}"), &way)], &[route]);
    let proxy = Proxy::start_in(folder, &yaml, &[]).await;
    let answer = get(proxy.address(), &format!("/{name}/x")).await;
    assert_eq!((answer.status().as_u16(), token_number(&answer)), (200, Some(1)), "{}", text(&answer));
    let connect = format!("CONNECT {host}:443");
    assert_eq!(egress.targets(), [connect.clone(), connect], "the login's, and the data's");
    assert!(egress.asked().iter().all(|asked| asked.authorization.as_deref() == Some(BASIC)));
    assert_eq!(simulator.token_requests(), 1);
}

#[tokio::test]
async fn logins_and_data_of_each_vendor_go_through_the_proxy() {
    both_calls(Crewmojo::default(), "crewmojo", crewmojo, "/v1").await;
    both_calls(Crayon::default(), "crayon", crayon, "/api/v1").await;
}

#[tokio::test]
async fn a_login_over_plain_http_is_handed_to_the_proxy() {
    let simulator = simulate(Crewmojo::default()).await;
    let address: SocketAddr = simulator.origin().trim_start_matches("http://").parse().unwrap();
    let egress = EgressProxy::start(Manner::Lead(Some(BASIC)), &[("login.example.test:80", address)]).await;
    let credential = crewmojo("http://login.example.test", &format!(", proxy: \"{}\"", egress.url_with_password()));
    let proxy = Proxy::start(&config(
        &[credential],
        &[route("crewmojo", &format!("{}/v1", simulator.origin()), "crewmojo", "")],
    ))
    .await;
    assert_eq!(get(proxy.address(), "/crewmojo/x").await.status(), 200);
    assert_eq!(egress.targets(), ["POST http://login.example.test/v1/oauth/token"]);
    assert_eq!(egress.asked()[0].authorization.as_deref(), Some(BASIC));
}

/// What `token` says of a login that this proxy stands in the way of.
fn told(origin: &str, manner_proxy: &str) -> String {
    let credential = crewmojo(origin, &format!(", proxy: \"{manner_proxy}\", timeout: 1s"));
    let yaml = config(&[credential], &[route("crewmojo", "http://127.0.0.1:1", "crewmojo", "")]);
    let yaml = format!("listeners: [{{address: '127.0.0.1:0'}}]\n{yaml}");
    let output = process::run(&yaml, &["token", "crewmojo", "--force"], &[]);
    assert_eq!(output.status.code(), Some(1));
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(!said.contains("pass@") && !said.contains("dXNlcjpwYXNz"), "{said}");
    said
}

#[tokio::test]
async fn a_login_that_the_proxy_stands_in_the_way_of_is_not_laid_at_the_vendors_door() {
    for (manner, said) in [
        (
            Manner::Lead(Some("Basic b3RoZXI=")),
            "egress proxy on the way to the token endpoint answered 407; check the user and password of `proxy`",
        ),
        (Manner::Say("HTTP/1.1 403 No\r\n\r\n"), "egress proxy on the way to the token endpoint answered 403"),
        (
            Manner::Say("nonsense"),
            "the egress proxy on the way to the token endpoint does not lead there (what it answered is no HTTP)",
        ),
        (
            Manner::Hang,
            "the egress proxy on the way to the token endpoint does not lead there (it did not open the way in time)",
        ),
    ] {
        let egress = EgressProxy::start(manner, &[]).await;
        let url = egress.url_with_password();
        let output = tokio::task::spawn_blocking(move || told("https://login.example.test", &url)).await.unwrap();
        assert!(output.contains(said), "{output}");
    }
    let egress = EgressProxy::start(Manner::Lead(Some("Basic b3RoZXI=")), &[]).await;
    let url = egress.url_with_password();
    let output = tokio::task::spawn_blocking(move || told("http://login.example.test", &url)).await.unwrap();
    assert!(output.contains("answered 407; check the user and password of `proxy`"), "{output}");
}

#[tokio::test]
async fn requests_learn_that_there_is_no_token_and_the_log_says_why_without_the_password() {
    let egress = EgressProxy::start(Manner::Lead(Some("Basic b3RoZXI=")), &[]).await;
    let credential = crewmojo("https://login.example.test", &format!(", proxy: \"{}\"", egress.url_with_password()));
    let process = Process::start(
        &config(&[credential], &[route("crewmojo", "http://127.0.0.1:1", "crewmojo", "")]),
        &[("TOKENFERRY_LOG", "debug")],
    );
    assert_unavailable(&get(process.address, "/crewmojo/x").await, "token_unavailable");
    eventually("the log tells", || process.log().contains("egress proxy")).await;
    let log = process.log();
    assert!(log.contains("answered 407"), "{log}");
    assert!(!log.contains("pass@") && !log.contains("dXNlcjpwYXNz"), "{log}");
}

#[tokio::test]
async fn the_environment_names_the_proxy_for_what_is_not_on_this_machine() {
    let (upstream, folder) = https_upstream(&[]).await;
    let local = Wire::ok().await;
    let egress = EgressProxy::leading_to(&[
        ("api.example.test:443", upstream.address),
        ("plain.example.test:80", local.address),
    ])
    .await;
    let by = |name: &str, upstream: &str| {
        format!("- name: {name}\n  match: {{path: /{name}}}\n  upstream: {upstream}\n  credential: fixed\n")
    };
    let yaml = routes(
        &[
            by("out", "{url: 'https://api.example.test', ca: ca.pem}"),
            by("plain", "{url: 'http://plain.example.test'}"),
            by("local", &local.url("")),
            by("direct", "{url: 'https://direct.example.test', ca: ca.pem}"),
            by("off", "{url: 'https://api.example.test', ca: ca.pem, proxy: none}"),
        ]
        .concat(),
    );
    let url = egress.url();
    let variables =
        [("HTTPS_PROXY", url.as_str()), ("http_proxy", url.as_str()), ("NO_PROXY", "other.test,direct.example.test")];
    let proxy = Proxy::start_in(folder, &yaml, &variables).await;
    for (path, status) in [("/out/a", 200), ("/plain/a", 200), ("/local/a", 200), ("/direct/a", 502), ("/off/a", 502)] {
        let answer = get(proxy.address(), path).await;
        assert_eq!(answer.status(), status, "{path}: {}", text(&answer));
    }
    assert_eq!(egress.targets(), ["CONNECT api.example.test:443", "GET http://plain.example.test/a"]);
}

#[tokio::test]
async fn another_proxy_is_another_pool_and_an_unchanged_one_keeps_its_connections() {
    let (upstream, folder) = https_upstream(&["http/1.1"]).await;
    let places = [("api.example.test:443", upstream.address)];
    let (one, two) = (EgressProxy::leading_to(&places).await, EgressProxy::leading_to(&places).await);
    let proxy = Proxy::start_in(folder, &https_route(&one.url(), ""), &[]).await;
    assert_eq!(ask(&proxy).await.text(), "ok");
    proxy.rewrite(&https_route(&one.url(), "response_headers: {set: {X-Taken: first}}"));
    proxy.hang_up().await;
    until_taken(&proxy, "first").await;
    assert_eq!(one.asked().len(), 1, "its connections are carried over");
    proxy.rewrite(&https_route(&two.url(), "response_headers: {set: {X-Taken: second}}"));
    proxy.hang_up().await;
    until_taken(&proxy, "second").await;
    assert_eq!((one.asked().len(), two.asked().len()), (1, 1));
}

async fn until_taken(proxy: &Proxy, which: &str) {
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while ask(proxy).await.header("x-taken") != Some(which) {
        assert!(std::time::Instant::now() < deadline, "{which} is not taken");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[test]
fn explain_and_config_show_the_proxy_without_its_password() {
    let yaml = "listeners: [{address: '127.0.0.1:0'}]\n\
        credentials:\n  key: {provider: static, token: x}\n  \
        partner: {provider: oauth2, token_url: 'https://login.example.test/t', client_id: a, client_secret: b, proxy: 'http://user:CANARY@10.0.0.1:3128'}\n\
        routes:\n\
        - {name: field, match: {path: /field}, upstream: {url: 'https://a.example.test', proxy: 'http://user:CANARY@10.0.0.1:3128'}, credential: partner}\n\
        - {name: environment, match: {path: /environment}, upstream: 'https://b.example.test', credential: key}\n\
        - {name: reference, match: {path: /reference}, upstream: {url: 'https://c.example.test', proxy: '${WAY}'}, credential: key}\n\
        - {name: direct, match: {path: /direct}, upstream: {url: 'https://d.example.test', proxy: none}, credential: key}\n";
    let variables = [("https_proxy", "http://me:CANARY@proxy.example.test:8080"), ("WAY", "http://10.9.9.9:1")];
    let said = |arguments: &[&str]| {
        let output = process::run(yaml, arguments, &variables);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(!said.contains("CANARY") && !said.contains("10.9.9.9"), "{said}");
        said
    };
    for (path, through) in [
        ("/field", Some("http://***@10.0.0.1:3128 (`proxy` of the upstream)")),
        ("/environment", Some("http://***@proxy.example.test:8080 (https_proxy)")),
        ("/reference", Some("*** (`proxy` of the upstream)")),
        ("/direct", None),
    ] {
        let told = said(&["explain", "GET", path]);
        let line = told.lines().find_map(|line| line.strip_prefix("through: the egress proxy "));
        assert_eq!(line, through, "{told}");
    }
    let json: serde_json::Value =
        serde_json::from_str(&said(&["explain", "GET", "/field", "--format", "json"])).unwrap();
    assert_eq!(json["sent"]["egress_proxy"]["url"], "http://***@10.0.0.1:3128");
    let config: serde_json::Value = serde_json::from_str(&said(&["config", "--format", "json"])).unwrap();
    let proxies: Vec<_> = (0..4).map(|place| config["routes"][place]["upstream"]["proxy"].as_str().unwrap()).collect();
    assert_eq!(proxies, ["http://***@10.0.0.1:3128", "http://***@proxy.example.test:8080", "***", "none"]);
    assert_eq!(config["credentials"]["partner"]["proxy"], "http://***@10.0.0.1:3128");
    assert_eq!(config["credentials"]["key"]["proxy"], serde_json::Value::Null);
}

#[tokio::test]
async fn connections_beyond_the_cap_wait_and_then_are_told_to_come_again() {
    let upstream = Wire::start(|mut caller| async move {
        if caller.request().await.is_some_and(|request| request.target() != "/a/held") {
            caller.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        }
        std::future::pending::<()>().await;
    })
    .await;
    let yaml = one_route(&upstream.url("/a"), "limits: {connections: 1}\ntimeouts: {connect: 300ms}");
    let proxy = Proxy::start(&format!("workers: 2\n{yaml}")).await;
    let mut held = End::connect(proxy.address()).await;
    held.send("GET /held HTTP/1.1\r\nHost: x\r\n\r\n").await;
    eventually("it is under way", || !upstream.seen().is_empty()).await;
    for _ in 0..2 {
        let answer = ask(&proxy).await;
        is_problem(&answer, 503, "upstream_connections");
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert_eq!(answer.header("proxy-status"), Some("tokenferry; error=connection_limit_reached"));
    }
    assert_eq!(upstream.accepted(), 1);
    drop(held);
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while ask(&proxy).await.status() != 200 {
        assert!(std::time::Instant::now() < deadline, "the place does not become free");
    }
    assert_eq!(upstream.accepted(), 2);
}
