//! The token in every place of the contract, and every other byte as it came.

use crate::answers_of_its_own::is_problem;
use crate::harness::proxy::Proxy;
use crate::harness::raw::{Message, Wire, exchange};
use crate::harness::yaml::{TOKEN, injecting};

async fn send(proxy: &Proxy, target: &str, content_type: &str, body: &str) -> Message {
    let kind = if content_type.is_empty() { String::new() } else { format!("Content-Type: {content_type}\r\n") };
    let length = body.len();
    exchange(
        proxy.address(),
        format!("POST {target} HTTP/1.1\r\nHost: x\r\n{kind}Content-Length: {length}\r\n\r\n{body}"),
    )
    .await
}

#[tokio::test]
async fn a_header_holds_the_bare_token_or_a_scheme_and_the_token() {
    let upstream = Wire::ok().await;
    for (inject, name, value) in [
        ("{header: Authorization, scheme: Bearer}", "authorization", "Bearer T0K3N"),
        ("{header: Authorization, scheme: CRMJWT}", "authorization", "CRMJWT T0K3N"),
        ("{header: Authorization}", "authorization", TOKEN),
        ("{header: X-Api-Key}", "x-api-key", TOKEN),
        ("{header: token}", "token", TOKEN),
    ] {
        let proxy = Proxy::start(&injecting(&upstream.url(""), inject, "")).await;
        let request =
            format!("GET /?token=q HTTP/1.1\r\nHost: x\r\n{name}: mine\r\n{}: mine\r\n\r\n", name.replace('-', "_"));
        assert_eq!(exchange(proxy.address(), request).await.status(), 200);
        let seen = upstream.last();
        assert_eq!(seen.all(name), [value], "{inject}");
        assert!(!seen.head.contains("mine"), "{inject}: {seen:?}");
        assert_eq!(seen.target(), "/?token=q", "the query is not its place");
        // A client's own Authorization is not the credential's place.
        exchange(proxy.address(), "GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Basic bWluZQ==\r\n\r\n").await;
        let own = if name == "authorization" { value } else { "Basic bWluZQ==" };
        assert_eq!(upstream.last().header("authorization"), Some(own), "{inject}");
    }
}

#[tokio::test]
async fn a_query_holds_the_token_once_and_its_other_bytes_as_they_came() {
    let upstream = Wire::ok().await;
    let proxy = Proxy::start(&injecting(&upstream.url("/v1"), "{query: api_key}", "")).await;
    for (query, expected) in [
        ("", "?api_key=T0K3N"),
        ("?", "?api_key=T0K3N"),
        ("?a=1", "?a=1&api_key=T0K3N"),
        ("?a=%2f+%zz&b&&c=d=e;f", "?a=%2f+%zz&b&&c=d=e;f&api_key=T0K3N"),
        ("?api_key=mine", "?api_key=T0K3N"),
        ("?api_key=mine&a=1&%61pi%5Fkey=mine&api_key", "?a=1&api_key=T0K3N"),
        ("?API_KEY=other&api_key2=b", "?API_KEY=other&api_key2=b&api_key=T0K3N"),
    ] {
        assert_eq!(send(&proxy, &format!("/x{query}"), "application/json", "[1,").await.status(), 200, "{query}");
        let seen = upstream.last();
        assert_eq!(seen.target(), format!("/v1/x{expected}"), "{query}");
        assert_eq!(seen.text(), "[1,", "the body is not its place");
        assert_eq!(seen.header("authorization"), None);
    }
}

#[tokio::test]
async fn a_json_body_holds_the_token_once_and_its_other_bytes_as_they_came() {
    let upstream = Wire::ok().await;
    let proxy = Proxy::start(&injecting(&upstream.url(""), "{json: token}", "limits: {splice: 1KiB}")).await;
    for (kind, body, expected) in [
        ("application/json", r#"{"a":1}"#, r#"{"token":"T0K3N","a":1}"#),
        ("Application/JSON; charset=utf-8", "{ }", r#"{"token":"T0K3N" }"#),
        (
            "application/vnd.api+json",
            "{\"a\" : [1.0e5,\t{\"token\":\"inner\"}] }\n",
            "{\"token\":\"T0K3N\",\"a\" : [1.0e5,\t{\"token\":\"inner\"}] }\n",
        ),
        ("application/json", r#"{"token":"mine","a":1,"\u0074oken":{"b":[]}}"#, r#"{"token":"T0K3N","a":1}"#),
        ("application/json", r#"{"a":1,"token":"mine"}"#, r#"{"token":"T0K3N","a":1}"#),
        ("application/json", "", r#"{"token":"T0K3N"}"#),
        ("", "", r#"{"token":"T0K3N"}"#),
        ("", "{\"a\":1}", "{\"token\":\"T0K3N\",\"a\":1}"),
        ("application/x-www-form-urlencoded", "", r#"{"token":"T0K3N"}"#),
    ] {
        let answer = send(&proxy, "/?token=q", kind, body).await;
        assert_eq!(answer.status(), 200, "{kind} {body}: {answer:?}");
        let seen = upstream.last();
        assert_eq!(seen.text(), expected, "{kind} {body}");
        assert_eq!(seen.header("content-length"), Some(expected.len().to_string().as_str()));
        assert_eq!(seen.target(), "/?token=q");
        if body.is_empty() {
            assert_eq!(seen.header("content-type"), Some("application/json"), "{kind}");
        }
    }
    let arrived = upstream.seen().len();
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(1024));
    for (kind, body, status, code) in [
        ("application/json", "[1]", 415, "not_spliceable"),
        ("application/json", "\"a\"", 415, "not_spliceable"),
        ("application/json", "null", 415, "not_spliceable"),
        ("text/plain", "{\"a\":1}", 415, "not_spliceable"),
        ("application/x-www-form-urlencoded", "a=1", 415, "not_spliceable"),
        ("application/json", "{\"a\":1", 400, "bad_json"),
        ("application/json", "{\"a\":1}}", 400, "bad_json"),
        ("application/json", "{'a':1}", 400, "bad_json"),
        ("application/json", "{\"a\":\"\n\"}", 400, "bad_json"),
        ("application/json", long.as_str(), 413, "splice_too_large"),
    ] {
        is_problem(&send(&proxy, "/", kind, body).await, status, code);
    }
    let coded = "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: 7\r\n\r\n{\"a\":1}";
    is_problem(&exchange(proxy.address(), coded).await, 415, "not_spliceable");
    let chunks = |body: &str| {
        let chunks: String =
            body.as_bytes().chunks(3).map(|c| format!("{:x}\r\n{}\r\n", c.len(), String::from_utf8_lossy(c))).collect();
        format!(
            "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n"
        )
    };
    is_problem(&exchange(proxy.address(), chunks(&long)).await, 413, "splice_too_large");
    assert_eq!(upstream.seen().len(), arrived, "none of it went upstream");
    assert_eq!(exchange(proxy.address(), chunks("{\"token\":\"mine\", \"a\":1}")).await.status(), 200);
    let seen = upstream.last();
    assert_eq!(seen.text(), "{\"token\":\"T0K3N\", \"a\":1}");
    assert_eq!((seen.header("transfer-encoding"), seen.header("content-length")), (None, Some("24")));
}

#[tokio::test]
async fn a_parameter_goes_into_the_json_object_or_else_into_the_query() {
    let upstream = Wire::ok().await;
    let proxy = Proxy::start(&injecting(&upstream.url(""), "{parameter: token}", "limits: {splice: 1KiB}")).await;
    for (target, kind, body, sent_target, sent_body) in [
        ("/a?b=1&token=mine", "application/json", "{\"c\":2}", "/a?b=1", "{\"token\":\"T0K3N\",\"c\":2}"),
        ("/a?token=mine", "application/json", "{\"token\":1}", "/a", "{\"token\":\"T0K3N\"}"),
        ("/a?b", "application/json", "[{\"token\":1}]", "/a?b&token=T0K3N", "[{\"token\":1}]"),
        ("/a", "application/json", "7", "/a?token=T0K3N", "7"),
        ("/a", "application/json", "", "/a?token=T0K3N", ""),
        ("/a", "", "", "/a?token=T0K3N", ""),
        ("/a?token=mine", "text/plain", "{\"token\":1}", "/a?token=T0K3N", "{\"token\":1}"),
        ("/a", "application/x-www-form-urlencoded", "token=form", "/a?token=T0K3N", "token=form"),
    ] {
        let answer = send(&proxy, target, kind, body).await;
        assert_eq!(answer.status(), 200, "{target} {kind} {body}: {answer:?}");
        let seen = upstream.last();
        assert_eq!((seen.target(), seen.text().as_str()), (sent_target, sent_body), "{target} {kind} {body}");
    }
    let big = "x".repeat(5000);
    assert_eq!(send(&proxy, "/a", "text/plain", &big).await.status(), 200, "only JSON is bounded by limits.splice");
    assert_eq!(upstream.last().text(), big);
    is_problem(&send(&proxy, "/a", "application/json", "{").await, 400, "bad_json");
    is_problem(&send(&proxy, "/a", "application/json", &format!("[\"{big}\"]")).await, 413, "splice_too_large");
}

#[tokio::test]
async fn a_list_of_places_is_served_whole() {
    let upstream = Wire::ok().await;
    let proxy =
        Proxy::start(&injecting(&upstream.url(""), "[{header: token}, {parameter: token}, {query: key}]", "")).await;
    send(&proxy, "/a?x=1&key=mine", "application/json", "{\"b\":1}").await;
    let seen = upstream.last();
    assert_eq!((seen.header("token"), seen.target()), (Some(TOKEN), "/a?x=1&key=T0K3N"));
    assert_eq!(seen.text(), "{\"token\":\"T0K3N\",\"b\":1}");
    exchange(proxy.address(), "GET /a HTTP/1.1\r\nHost: x\r\nTOKEN: mine\r\n\r\n").await;
    let seen = upstream.last();
    assert_eq!((seen.all("token"), seen.target()), (vec![TOKEN], "/a?token=T0K3N&key=T0K3N"));
}

#[tokio::test]
async fn a_json_place_asks_for_json_also_behind_a_parameter_place() {
    let upstream = Wire::ok().await;
    let proxy = Proxy::start(&injecting(&upstream.url(""), "[{parameter: t}, {json: u}]", "")).await;
    let answer = send(&proxy, "/a", "text/plain", "hello").await;
    assert_eq!((answer.status(), upstream.accepted()), (415, 0));
    send(&proxy, "/a", "application/json", "{\"b\":1}").await;
    assert_eq!(upstream.last().text(), "{\"u\":\"T0K3N\",\"t\":\"T0K3N\",\"b\":1}");
}

#[tokio::test]
async fn a_body_that_is_read_whole_is_bound_by_the_routes_limit_too() {
    let upstream = Wire::ok().await;
    let proxy = Proxy::start(&injecting(&upstream.url(""), "{json: token}", "limits: {body: 16}")).await;
    let request = "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n\
                   17\r\n{\"a\":\"0123456789012345\"}\r\n0\r\n\r\n";
    let answer = exchange(proxy.address(), request).await;
    assert_eq!(answer.status(), 413, "{answer:?}");
    assert_eq!(upstream.accepted(), 0);
}
