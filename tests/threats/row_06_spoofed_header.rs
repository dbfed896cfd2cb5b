//! Row 6: the credential's own place, as a client fills it in: every spelling goes, and the upstream
//! sees the credential once.

use crate::harness::frames::{
    DATA, END_HEADERS, END_STREAM, Field, HEADERS, Http2, Outcome, block, field, frame, head,
};
use crate::harness::proxy::Proxy;
use crate::harness::raw::{Wire, exchange};
use crate::harness::yaml::{TOKEN, injecting, one_route};

const BEARER: &str = "Bearer T0K3N";

#[tokio::test]
async fn the_credential_arrives_exactly_once_whatever_the_client_sends_in_its_place() {
    arrives_exactly_once(|Place { name, title, under, value }| {
        vec![
            String::new(),
            format!("{title}: mine\r\n"),
            format!("{}: mine\r\n", name.to_uppercase()),
            format!("{title}: one\r\n{name}: two\r\n"),
            format!("{under}: mine\r\n"),
            format!("{}: a\r\n{title}: b\r\n{name}: c\r\n", under.to_uppercase()),
            format!("{title}: mine   \r\n"),
            format!("{title}:\r\n"),
            format!("{}: mine\r\n", mixed(title)),
            format!("{}: mine\r\n{under}: mine\r\n{title}: mine\r\n", mixed(under)),
            format!("{title}:\tmine\r\n{title}:mine\r\n"),
            format!("{title}: {value}\r\n{title}: {value}\r\n"),
        ]
    })
    .await;
}

/// Where a credential goes, in the spellings that a client might use.
pub(super) struct Place<'a> {
    pub(super) name: &'a str,
    pub(super) title: &'a str,
    pub(super) under: &'a str,
    pub(super) value: &'a str,
}

/// Sends a request with each of these further lines, for a credential in either header, and sees that the
/// upstream got it once, and nothing of the client's in its place.
pub(super) async fn arrives_exactly_once(lines: impl Fn(Place<'_>) -> Vec<String>) {
    let upstream = Wire::ok().await;
    let bearer = Proxy::start(&one_route(&upstream.url(""), "")).await;
    let custom = Proxy::start(&injecting(&upstream.url(""), "{header: X-Api-Key}", "")).await;
    for (proxy, title, value) in [(&bearer, "Authorization", BEARER), (&custom, "X-Api-Key", TOKEN)] {
        let (name, under) = (title.to_ascii_lowercase(), title.replace('-', "_"));
        let (name, under) = (name.as_str(), under.as_str());
        for lines in lines(Place { name, title, under, value }) {
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

/// In both cases, turn and turn about.
fn mixed(name: &str) -> String {
    name.chars()
        .enumerate()
        .map(|(at, c)| if at % 2 == 0 { c.to_ascii_lowercase() } else { c.to_ascii_uppercase() })
        .collect()
}

#[tokio::test]
async fn a_spelling_that_is_no_header_name_is_400_and_reaches_nobody() {
    let upstream = Wire::ok().await;
    let proxy = Proxy::start(&injecting(&upstream.url(""), "{header: X-Api-Key}", "")).await;
    for lines in [
        "X-Api-Key : mine",
        "X-Api-Key\t: mine",
        " X-Api-Key: mine",
        "X-Api-Key\0: mine",
        "X-Api-Key\x0b: mine",
        "X-Other: a\r\n X-Api-Key: mine",
        "X-Other: a\r\n\tX-Api-Key: mine",
        "X-Other: a\rX-Api-Key: mine",
        "X-Api-Key:\r\n mine",
        ":x-api-key: mine",
        "X\u{2010}Api\u{2010}Key: mine",
        "\"X-Api-Key\": mine",
        "X-Api-Key",
    ] {
        let answer = exchange(proxy.address(), format!("GET / HTTP/1.1\r\nHost: x\r\n{lines}\r\n\r\n")).await;
        assert_eq!(answer.status(), 400, "{lines:?}");
    }
    assert_eq!(upstream.accepted(), 0);
}

#[tokio::test]
async fn every_spelling_of_a_parameter_and_of_a_member_goes_too() {
    let upstream = Wire::ok().await;
    let query = Proxy::start(&injecting(&upstream.url(""), "{query: api_key}", "")).await;
    for (sent, expected) in [
        ("api_key=mine", "?api_key=T0K3N"),
        ("api_key=mine&api_key=mine", "?api_key=T0K3N"),
        ("%61pi_key=mine&a=1", "?a=1&api_key=T0K3N"),
        ("%61%70%69%5f%6B%65%79=mine", "?api_key=T0K3N"),
        ("a=1&api%5Fkey=mine&b=2", "?a=1&b=2&api_key=T0K3N"),
        ("api_key", "?api_key=T0K3N"),
        ("api_key=", "?api_key=T0K3N"),
        ("&&api_key=mine&&", "?&&&api_key=T0K3N"),
    ] {
        let answer = exchange(query.address(), format!("GET /?{sent} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
        assert_eq!(answer.status(), 200, "{sent}");
        let target = upstream.last().target().to_owned();
        assert!(!target.contains("mine") && target.matches(TOKEN).count() == 1, "{sent}: {target}");
        if !sent.starts_with('&') {
            assert_eq!(target, format!("/{expected}"), "{sent}");
        }
    }
    let json = Proxy::start(&injecting(&upstream.url(""), "{json: token}", "")).await;
    for body in [
        r#"{"token":"mine"}"#,
        r#"{"token":"mine","token":"mine","a":1}"#,
        r#"{"\u0074oken":"mine"}"#,
        r#"{"\u0074\u006F\u006b\u0065\u006E":"mine","a":[]}"#,
        "{ \"a\" : 1 ,\n\"token\"\t:\t{ \"x\": \"mine\" } }",
    ] {
        let length = body.len();
        let head = "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json";
        let answer = exchange(json.address(), format!("{head}\r\nContent-Length: {length}\r\n\r\n{body}")).await;
        assert_eq!(answer.status(), 200, "{body}");
        let seen = upstream.last();
        assert!(!seen.text().contains("mine") && seen.text().matches(TOKEN).count() == 1, "{body}: {}", seen.text());
        assert_eq!(seen.json()["token"], TOKEN, "{body}");
    }
}

#[tokio::test]
async fn a_header_that_the_operator_sets_or_removes_is_not_sent_in_another_spelling() {
    let upstream = Wire::ok().await;
    let more = "request_headers: {set: {X-Tenant: acme}, remove: [X-Admin-Of]}";
    let proxy = Proxy::start(&one_route(&upstream.url(""), more)).await;
    let lines = "X_Tenant: mine\r\nx-tenant: mine\r\nX_TENANT: mine\r\nX_Admin_Of: mine\r\nX-Admin_Of: mine\r\nX-Admin-Of: mine";
    let answer = exchange(proxy.address(), format!("GET / HTTP/1.1\r\nHost: x\r\n{lines}\r\n\r\n")).await;
    assert_eq!(answer.status(), 200);
    let seen = upstream.only();
    assert_eq!(seen.all("x-tenant"), ["acme"]);
    assert!(!seen.head.contains("mine"), "{seen:?}");
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
async fn no_trailer_undoes_what_the_operator_says_or_tells_where_a_request_came_from() {
    const TRAILERS: [&str; 12] = [
        "X-Tenant",
        "x_tenant",
        "X-Admin-Of",
        "x-admin_of",
        "X-Forwarded-For",
        "x_forwarded_host",
        "X-Forwarded-User",
        "Forwarded",
        "X-Real-IP",
        "X-Request-Id",
        "traceparent",
        "X-Sum",
    ];
    let upstream = Wire::ok().await;
    let more = "request_headers: {set: {X-Tenant: acme}, remove: [X-Admin-Of]}";
    let proxy = Proxy::start(&one_route(&upstream.url(""), more)).await;
    let names = TRAILERS.join(", ");
    let trailers: String = TRAILERS.iter().map(|name| format!("{name}: mine\r\n")).collect();
    let answer = exchange(
        proxy.address(),
        format!(
            "POST / HTTP/1.1\r\nHost: x\r\nTrailer: {names}\r\nTransfer-Encoding: chunked\r\n\r\n\
             2\r\nhi\r\n0\r\n{trailers}\r\n"
        ),
    )
    .await;
    assert_eq!(answer.status(), 200);

    let mut client = Http2::connect(proxy.address()).await;
    let mut fields = head("POST", "/");
    fields.push(field("trailer", names.to_lowercase()));
    let trailers: Vec<Field> = TRAILERS.iter().map(|name| field(name.to_lowercase(), "mine")).collect();
    client.send(frame(HEADERS, END_HEADERS, 1, &block(&fields))).await;
    client.send(frame(DATA, 0, 1, b"hi")).await;
    client.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&trailers))).await;
    assert_eq!(client.outcome(1).await, Outcome::Status(200));

    let seen = upstream.seen();
    assert_eq!(seen.len(), 2);
    for seen in seen {
        assert_eq!((seen.text().as_str(), seen.all("x-tenant")), ("hi", vec!["acme"]), "{seen:?}");
        assert_eq!(seen.trailers.to_lowercase(), "x-sum: mine\r\n", "{seen:?}");
    }
}
