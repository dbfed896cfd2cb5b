//! Row 5: `Connection: Authorization` and the like. What a client nominates is taken off what it sent
//! itself, before anything of the proxy's is put in.

use crate::harness::proxy::Proxy;
use crate::harness::raw::{Wire, exchange};
use crate::harness::yaml::one_route;
use crate::threats::row_06_spoofed_header::{Place, arrives_exactly_once};

#[tokio::test]
async fn the_credential_arrives_exactly_once_whatever_the_client_nominates() {
    arrives_exactly_once(|Place { name, title, under, .. }| {
        vec![
            String::new(),
            format!("Connection: {title}\r\n"),
            format!("Connection: {title}\r\n{title}: mine\r\n"),
            format!("Connection: close, {name}, host, content-length, via, x-forwarded-for\r\n"),
            format!("Connection: {under}\r\n{under}: mine\r\n"),
            format!("Connection: keep-alive\r\nConnection: ,, {title} ,\r\n"),
            format!("Connection: \"{title}\"\r\n"),
            format!(
                "Connection: close, {title}, cookie, x-api-key, authorization, transfer-encoding\r\nCookie: mine\r\n"
            ),
            format!("Connection: {title}\r\nConnection: {title}\r\n{title}: mine\r\n"),
            format!("Connection: {title};q=1, {title} , {name}\t\r\n"),
            format!("Proxy-Connection: {title}\r\nKeep-Alive: {title}\r\n"),
        ]
    })
    .await;
}

#[tokio::test]
async fn what_the_operator_sets_cannot_be_nominated_away() {
    let upstream = Wire::ok().await;
    let more = "request_headers: {set: {X-Tenant: acme}}\nhost_header: preserve";
    let proxy = Proxy::start(&one_route(&upstream.url(""), more)).await;
    let names = "x-tenant, x-request-id, traceparent, via, x-forwarded-for, x-forwarded-proto, x-forwarded-host, host";
    let request = format!("GET / HTTP/1.1\r\nHost: kept.example\r\nX-Tenant: mine\r\nConnection: {names}\r\n\r\n");
    assert_eq!(exchange(proxy.address(), request).await.status(), 200);
    let seen = upstream.only();
    assert_eq!(seen.all("x-tenant"), ["acme"]);
    assert_eq!((seen.header("host"), seen.header("x-forwarded-host")), (Some("kept.example"), Some("kept.example")));
    for name in ["x-request-id", "via", "x-forwarded-for", "x-forwarded-proto"] {
        assert!(seen.header(name).is_some(), "{name}: {seen:?}");
    }
}
