//! Tokens of an issuer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Response;
use http_body_util::Full;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;

use super::get;
use crate::answers_of_its_own::is_problem;
use crate::harness::client::{self, text};
use crate::harness::eventually;
use crate::harness::issuer::{ISSUER, Issuer, claims, jwks, now};
use crate::harness::process::Process;
use crate::harness::proxy::Proxy;
use crate::harness::raw::{Message, Wire};
use crate::harness::tls::Authority;
use crate::harness::upstream::Upstream;
use crate::harness::yaml::one_route;

fn rules(jwks: &str, more: &str) -> String {
    format!("access: {{jwt: {{issuer: '{ISSUER}', audience: [billing, crm], jwks: '{jwks}'{more}}}}}")
}

/// A proxy whose route takes this issuer's tokens, by a file.
async fn with_file(upstream: &Wire, issuer: &Issuer, more: &str) -> Proxy {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("jwks.json"), jwks(&[issuer])).unwrap();
    Proxy::start_in(folder, &one_route(&upstream.url(""), &rules("jwks.json", more)), &[]).await
}

async fn present(proxy: &Proxy, token: &str) -> Message {
    get(proxy, &format!("Authorization: Bearer {token}\r\n")).await
}

async fn status(proxy: &Proxy, token: &str) -> u16 {
    present(proxy, token).await.status()
}

/// Waits until a token gets this status.
async fn becomes(proxy: &Proxy, token: &str, wanted: u16) {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let found = status(proxy, token).await;
        if found == wanted {
            return;
        }
        assert!(Instant::now() < deadline, "still {found}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_token_lets_in_and_goes_no_further() {
    let upstream = Wire::ok().await;
    let issuer = Issuer::new("one");
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("jwks.json"), jwks(&[&issuer])).unwrap();
    let yaml = one_route(&upstream.url(""), &rules("jwks.json", "")).replace("credential: fixed", "credential: none");
    let none = Proxy::start_in(folder, &yaml, &[]).await;
    let fixed = with_file(&upstream, &issuer, "").await;
    let token = issuer.token(&claims(&json!({})));
    for proxy in [&none, &fixed] {
        for lines in [
            format!("Authorization: Bearer {token}\r\n"),
            format!("AUTHORIZATION: bearer   {token}\r\n"),
            format!("authorization: Bearer {token}\r\nX-Api-Key: of-the-upstream\r\n"),
        ] {
            assert_eq!(get(proxy, &lines).await.status(), 200, "{lines}");
            assert!(!format!("{:?}", upstream.last()).contains(&token), "{lines}");
        }
    }
    present(&none, &token).await;
    assert_eq!(upstream.last().header("authorization"), None);
    let arrived = upstream.seen().len();
    for (lines, challenge) in [
        (String::new(), "Bearer realm=\"tokenferry\""),
        (format!("X-Api-Key: {token}\r\n"), "Bearer realm=\"tokenferry\""),
        (format!("Authorization: {token}\r\n"), "Bearer realm=\"tokenferry\""),
        ("Authorization: Bearer x\r\n".to_owned(), "Bearer realm=\"tokenferry\", error=\"invalid_token\""),
        (
            format!("Authorization: Bearer {token}\r\nAuthorization: Bearer {token}\r\n"),
            "Bearer realm=\"tokenferry\", error=\"invalid_token\"",
        ),
    ] {
        let answer = get(&none, &lines).await;
        is_problem(&answer, 401, "jwt_required");
        assert_eq!(answer.header("www-authenticate"), Some(challenge), "{lines}");
    }
    assert_eq!(upstream.seen().len(), arrived, "none of it went upstream");
}

#[tokio::test]
async fn no_forged_or_foreign_token_lets_in_and_none_is_told_why() {
    let upstream = Wire::ok().await;
    let issuer = Issuer::new("one");
    let proxy = with_file(&upstream, &issuer, ", claims: {scope: read, groups: staff}").await;
    let good = |more: Value| {
        let mut all = json!({"scope": "write read", "groups": ["staff"]});
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        claims(&all)
    };
    let token = issuer.token(&good(json!({})));
    assert_eq!(status(&proxy, &token).await, 200);
    let (head, rest) = token.split_once('.').unwrap();
    let (body, signature) = rest.split_once('.').unwrap();
    let b64 = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let mut forged = vec![
        format!("{}.{body}.", b64(r#"{"alg":"none","typ":"JWT"}"#)),
        format!("{}.{body}.{signature}", b64(r#"{"alg":"none","kid":"one"}"#)),
        format!("{}.{body}.{signature}", b64(r#"{"alg":"ES384","kid":"one"}"#)),
        format!("{head}.{}.{signature}", b64(&good(json!({"sub": "root"})).to_string())),
        format!("{head}.{body}."),
        format!("{head}.{body}"),
        Issuer::new("one").token(&good(json!({}))),
        Issuer::new("two").token(&good(json!({}))),
        issuer.token(&good(json!({"exp": now() - 90}))),
        issuer.token(&good(json!({"exp": null}))),
        issuer.token(&good(json!({"nbf": now() + 600}))),
        issuer.token(&good(json!({"aud": "other"}))),
        issuer.token(&good(json!({"iss": format!("{ISSUER}/")}))),
        issuer.token(&good(json!({"scope": "reader"}))),
        issuer.token(&good(json!({"groups": []}))),
        issuer.token(&good(json!({"long": "x".repeat(17 << 10)}))),
    ];
    forged.extend(issuer.token_by_hmac(&good(json!({}))));
    let arrived = upstream.seen().len();
    for token in &forged {
        let answer = present(&proxy, token).await;
        is_problem(&answer, 401, "jwt_required");
        assert_eq!(answer.json()["detail"], "no valid token of the issuer", "{token}");
    }
    assert_eq!(upstream.seen().len(), arrived);
}

#[tokio::test]
async fn a_key_that_a_token_names_is_asked_of_nobody() {
    let upstream = Wire::ok().await;
    let issuer = Issuer::new("one");
    let proxy = with_file(&upstream, &issuer, "").await;
    let mine = Issuer::new("one");
    let trap = Upstream::start().await;
    let header = jsonwebtoken::Header {
        jku: Some(trap.url("/jwks")),
        x5u: Some(trap.url("/x5u")),
        jwk: Some(serde_json::from_value(mine.jwk()).unwrap()),
        ..jsonwebtoken::Header::new(jsonwebtoken::Algorithm::ES256)
    };
    assert_eq!(status(&proxy, &mine.token_with(&header, &claims(&json!({})))).await, 401);
    assert!(trap.seen().is_empty());
    // Nor do they hurt where the key is the issuer's.
    assert_eq!(status(&proxy, &issuer.token_with(&header, &claims(&json!({})))).await, 200);
    assert!(trap.seen().is_empty());
}

#[tokio::test]
async fn a_file_of_keys_that_changes_is_taken_and_the_old_key_is_out() {
    let upstream = Wire::ok().await;
    let (old, new) = (Issuer::new("old"), Issuer::new("new"));
    let proxy = with_file(&upstream, &old, "").await;
    let (by_old, by_new) = (old.token(&claims(&json!({}))), new.token(&claims(&json!({}))));
    assert_eq!((status(&proxy, &by_old).await, status(&proxy, &by_new).await), (200, 401));
    let replace = |text: &str| {
        let next = proxy.folder().join("next.json");
        std::fs::write(&next, text).unwrap();
        std::fs::rename(next, proxy.folder().join("jwks.json")).unwrap();
    };
    replace(&jwks(&[&old, &new]));
    becomes(&proxy, &by_new, 200).await;
    assert_eq!(status(&proxy, &by_old).await, 200);
    replace(&jwks(&[&new]));
    becomes(&proxy, &by_old, 401).await;
    assert_eq!(status(&proxy, &by_new).await, 200);
}

/// Answers with this status and body, each of which may be changed.
struct Keys {
    server: Upstream,
    status: Arc<AtomicU16>,
}

async fn keys(body: String) -> Keys {
    let status = Arc::new(AtomicU16::new(200));
    let told = Arc::clone(&status);
    let server = Upstream::answering(move |_| {
        Response::builder().status(told.load(Ordering::SeqCst)).body(Full::from(body.clone())).unwrap()
    })
    .await;
    Keys { server, status }
}

#[tokio::test]
async fn keys_are_fetched_once_survive_a_reload_and_serve_while_the_issuer_is_away() {
    let upstream = Wire::ok().await;
    let issuer = Issuer::new("one");
    let keys = keys(jwks(&[&issuer])).await;
    let yaml = one_route(&upstream.url(""), &rules(&keys.server.url("/jwks?a=b"), ""));
    let proxy = Proxy::start(&yaml).await;
    let token = issuer.token(&claims(&json!({})));
    becomes(&proxy, &token, 200).await;
    assert_eq!(keys.server.last().target, "/jwks?a=b");
    // Made-up names of keys have nobody asked.
    for n in 0..20 {
        assert_eq!(status(&proxy, &Issuer::new(&format!("made up {n}")).token(&claims(&json!({})))).await, 401);
    }
    keys.status.store(500, Ordering::SeqCst);
    let longer = yaml.replace("audience: [billing, crm]", "audience: [crm]");
    proxy.rewrite(&longer);
    becomes(&proxy, &token, 401).await;
    // The same URL in another spelling.
    proxy.rewrite(&yaml.replace("/jwks?", "/${NONE:-jwks}?"));
    becomes(&proxy, &token, 200).await;
    assert_eq!(keys.server.seen().len(), 1, "the keys live on");
}

#[tokio::test]
async fn how_it_stands_with_an_issuers_keys_is_told_in_the_log_the_metrics_and_the_status() {
    let upstream = Wire::ok().await;
    let issuer = Issuer::new("one");
    let keys = keys(jwks(&[&issuer])).await;
    keys.status.store(500, Ordering::SeqCst);
    let route = one_route(&upstream.url(""), &rules(&keys.server.url("/jwks?a=b"), ""));
    let process = Process::start(&format!("admin: {{address: '127.0.0.1:0'}}\n{route}"), &[]);
    let (admin, url) = (process.admin().await, keys.server.url("/jwks"));
    let told = async || client::json(&client::get(admin, "/api/v1/status").await)["jwt_keys"][0].clone();
    let row = async |name: &str| {
        let page = text(&client::get(admin, "/metrics").await);
        let row = format!("tokenferry_jwt_keys_{name}{{route=\"only\"}} ");
        page.lines().find_map(|line| line.strip_prefix(&row)?.parse::<f64>().ok())
    };
    eventually("a fetch has failed", || process.log().contains("the keys of the tokens' issuer did not come")).await;
    assert_eq!(
        told().await,
        json!({"route": "only", "url": url, "age_seconds": null, "last_error": "the answer is 500 Internal Server Error, not 200"})
    );
    assert_eq!((row("failing").await, row("age_seconds").await), (Some(1.0), None));
    let log = process.log();
    let line = log.lines().find(|line| line.contains("WARN") && line.contains("did not come")).unwrap();
    assert!(line.contains(&url) && line.contains("no redirect is followed"), "{line}");
    keys.status.store(200, Ordering::SeqCst);
    eventually("the keys are there", || process.log().contains("issuer are fetched again")).await;
    let status = told().await;
    assert!(status["last_error"].is_null() && status["age_seconds"].is_number(), "{status}");
    assert_eq!(row("failing").await, Some(0.0));
    assert!(row("age_seconds").await.is_some_and(|age| (0.0..60.0).contains(&age)));
}

#[tokio::test]
async fn before_the_first_fetch_the_answer_is_503_and_later_all_is_well() {
    let upstream = Wire::ok().await;
    let issuer = Issuer::new("one");
    let keys = keys(jwks(&[&issuer])).await;
    keys.status.store(503, Ordering::SeqCst);
    let proxy = Proxy::start(&one_route(&upstream.url(""), &rules(&keys.server.url("/jwks"), ""))).await;
    let token = issuer.token(&claims(&json!({})));
    let answer = present(&proxy, &token).await;
    is_problem(&answer, 503, "jwt_keys_unavailable");
    assert_eq!(answer.header("retry-after"), Some("1"));
    // Without a token there is nothing to wait for.
    is_problem(&get(&proxy, "").await, 401, "jwt_required");
    keys.status.store(200, Ordering::SeqCst);
    becomes(&proxy, &token, 200).await;
}

#[tokio::test]
async fn an_answer_that_leads_elsewhere_or_is_too_large_gives_no_keys() {
    let upstream = Wire::ok().await;
    let issuer = Issuer::new("one");
    let elsewhere = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let there = format!("http://{}/jwks", elsewhere.local_addr().unwrap());
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    let trap = tokio::spawn(async move {
        while elsewhere.accept().await.is_ok() {
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    let redirecting = Upstream::answering(move |_| {
        Response::builder().status(302).header("location", &there).body(Full::default()).unwrap()
    })
    .await;
    let huge = keys(format!("{{\"x\": \"{}\", \"keys\": [{}]}}", "x".repeat(2 << 20), issuer.jwk())).await;
    let none = keys(r#"{"keys": [{"kty": "oct", "k": "AAAA", "kid": "one"}]}"#.to_owned()).await;
    for server in [&redirecting, &huge.server, &none.server] {
        let proxy = Proxy::start(&one_route(&upstream.url(""), &rules(&server.url("/jwks"), ""))).await;
        eventually("the keys are asked for again", || server.seen().len() > 1).await;
        is_problem(&present(&proxy, &issuer.token(&claims(&json!({})))).await, 503, "jwt_keys_unavailable");
    }
    assert_eq!(connections.load(Ordering::SeqCst), 0);
    trap.abort();
}

#[tokio::test]
async fn an_issuers_certificate_is_verified() {
    let upstream = Wire::ok().await;
    let issuer = Issuer::new("one");
    let (authority, stranger) = (Authority::new(), Authority::new());
    let text = jwks(&[&issuer]);
    let server = Upstream::tls_answering(authority.identity(&["localhost"]).server(&["http/1.1"], None), move |_| {
        Response::new(Full::from(text.clone()))
    })
    .await;
    let url = format!("https://localhost:{}/jwks", server.address.port());
    let token = issuer.token(&claims(&json!({})));
    let start = |ca: &Authority| {
        let folder = TempDir::new().unwrap();
        ca.write(&folder.path().join("ca.pem"));
        let yaml = one_route(&upstream.url(""), &rules(&url, ", ca: ca.pem"));
        async move { Proxy::start_in(folder, &yaml, &[]).await }
    };
    let trusting = start(&authority).await;
    becomes(&trusting, &token, 200).await;
    let arrived = server.seen().len();
    let wary = start(&stranger).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    is_problem(&present(&wary, &token).await, 503, "jwt_keys_unavailable");
    assert_eq!(server.seen().len(), arrived, "nothing was asked of whom it does not trust");
}

#[tokio::test]
async fn a_key_and_a_token_that_are_both_listed_must_both_be_there_and_neither_goes_on() {
    let upstream = Wire::ok().await;
    let issuer = Issuer::new("one");
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("jwks.json"), jwks(&[&issuer])).unwrap();
    let both = rules("jwks.json", "").replace("{jwt:", "{api_keys: [{name: billing, key: k3y}], jwt:");
    let yaml = one_route(&upstream.url(""), &both).replace("credential: fixed", "credential: none");
    let proxy = Proxy::start_in(folder, &yaml, &[]).await;
    let bearer = format!("Authorization: Bearer {}\r\n", issuer.token(&claims(&json!({}))));
    is_problem(&get(&proxy, &bearer).await, 401, "key_required");
    is_problem(&get(&proxy, "Authorization: Bearer k3y\r\n").await, 401, "key_required");
    is_problem(&get(&proxy, "X-Api-Key: k3y\r\n").await, 401, "jwt_required");
    is_problem(&get(&proxy, "X-Api-Key: k3y\r\nAuthorization: Bearer k3y\r\n").await, 401, "jwt_required");
    assert_eq!(get(&proxy, &format!("X-Api-Key: k3y\r\n{bearer}")).await.status(), 200);
    let seen = upstream.last();
    assert_eq!((seen.header("authorization"), seen.header("x-api-key")), (None, None));
}
