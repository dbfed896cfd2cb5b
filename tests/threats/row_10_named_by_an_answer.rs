//! Row 10: addresses that an answer names. The proxy speaks with origins of its configuration and with no
//! others, whoever suggests them.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use tokenferry::demo::{Fault, OAuth2};

use crate::harness::client::get;
use crate::harness::proxy::Proxy;
use crate::harness::raw::{Wire, exchange};
use crate::harness::upstream::Upstream;
use crate::harness::vendors::{config, partner, route, simulate};
use crate::harness::yaml::one_route;

/// Fields in which an answer may name another place.
const FIELDS: &[&str] = &[
    "Location: PLACE",
    "Content-Location: PLACE",
    "Link: <PLACE>; rel=preload, <PLACE>; rel=preconnect",
    "Refresh: 0; url=PLACE",
    "SourceMap: PLACE",
    "WWW-Authenticate: Bearer realm=\"PLACE\", resource_metadata=\"PLACE\", authorization_uri=\"PLACE\"",
    "Content-Security-Policy: report-uri PLACE",
    "NEL: {\"report_to\":\"PLACE\"}",
    "Report-To: {\"endpoints\":[{\"url\":\"PLACE\"}]}",
    "X-Accel-Redirect: PLACE",
    "X-Sendfile: PLACE",
];

fn fields(second: &Wire) -> String {
    let mut lines = String::new();
    for line in FIELDS {
        write!(lines, "{}\r\n", line.replace("PLACE", &second.url("/x"))).unwrap();
    }
    lines
}

#[tokio::test]
async fn no_address_in_an_answer_of_the_upstream_is_asked_anything() {
    let second = Wire::ok().await;
    for status in [200, 201, 202, 300, 401, 402, 403, 404, 410, 421, 503] {
        let early = format!("HTTP/1.1 103 Early Hints\r\n{}\r\n", fields(&second));
        let body = format!("{{\"next\":\"{0}\",\"jwks_uri\":\"{0}\"}}", second.url("/x"));
        let upstream = Wire::always(format!(
            "{early}HTTP/1.1 {status} Named\r\nContent-Type: application/json\r\n{}Content-Length: {}\r\n\r\n{body}",
            fields(&second),
            body.len()
        ))
        .await;
        let proxy = Proxy::start(&one_route(&upstream.url(""), "")).await;
        let answer = exchange(proxy.address(), "GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert_eq!((answer.status(), answer.text().as_str()), (status, body.as_str()));
        assert_eq!(answer.header("content-location"), Some(second.url("/x").as_str()), "it is the client's to see");
    }
    assert_eq!(second.accepted(), 0);
}

/// RFC 7838: `Alt-Svc` says who else answers for an origin, and to the client the proxy is that origin. Passed
/// on, it would lead clients past the proxy; heeded, it would lead the token elsewhere.
#[tokio::test]
async fn an_alternative_service_is_neither_used_nor_passed_on() {
    let second = Wire::ok().await;
    let port = second.address.port();
    let upstream = Wire::always(format!(
        "HTTP/1.1 200 OK\r\nAlt-Svc: h2=\"127.0.0.1:{port}\"; ma=3600, h3=\":{port}\"\r\nalt-svc: http/1.1=\":{port}\"\r\n\
         Content-Length: 2\r\n\r\nok"
    ))
    .await;
    let proxy = Proxy::start(&one_route(&upstream.url(""), "")).await;
    for _ in 0..3 {
        let answer = exchange(proxy.address(), "GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert_eq!((answer.status(), answer.all("alt-svc").len()), (200, 0), "{answer:?}");
    }
    assert_eq!((upstream.seen().len(), second.accepted()), (3, 0));
}

#[tokio::test]
async fn no_address_in_a_token_answer_is_asked_anything() {
    let second = Wire::ok().await;
    let place = second.url("/x");
    let names = [
        "issuer",
        "token_endpoint",
        "jwks_uri",
        "introspection_endpoint",
        "revocation_endpoint",
        "userinfo_endpoint",
        "instance_url",
        "api_server",
        "refresh_uri",
        "error_uri",
        "redirect_uri",
        "id",
        "scope",
        "audience",
    ];
    let named: String = names.iter().map(|name| format!(",\"{name}\":\"{place}\"")).collect();
    let simulator = simulate(OAuth2::default()).await;
    let upstream = Upstream::start().await;
    let yaml = config(&[partner(simulator.origin(), "")], &[route("data", &upstream.url("/"), "partner", "")]);
    let proxy = Proxy::start(&yaml).await;
    // First an error that names them, then a token that does.
    simulator.adjust(|options| {
        options.token_fault = Some(Fault::body(format!("{{\"error\":\"temporarily_unavailable\"{named}}}")));
    });
    assert_eq!(get(proxy.address(), "/data/x").await.status(), 503);
    let token = format!("{{\"access_token\":\"t0ken-of-a-talker\",\"expires_in\":2{named}}}");
    simulator.adjust(|options| options.token_fault = Some(Fault::body(token)));
    let deadline = Instant::now() + Duration::from_secs(10);
    while get(proxy.address(), "/data/x").await.status() != 200 {
        assert!(Instant::now() < deadline, "the token is not taken");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(upstream.last().bearer(), "t0ken-of-a-talker");
    // Renewed at the endpoint that the configuration names, whatever the answer said of one.
    let logins = simulator.token_requests();
    while simulator.token_requests() == logins {
        assert!(Instant::now() < deadline, "it is not renewed");
        assert_eq!(get(proxy.address(), "/data/x").await.status(), 200);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(second.accepted(), 0);
}
