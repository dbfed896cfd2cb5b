//! Who may ask.

use super::*;
use crate::harness::proxy::Proxy;
use crate::harness::raw::exchange;

async fn status_of(address: SocketAddr, method: &str, path: &str, headers: &str) -> u16 {
    exchange(address, format!("{method} {path} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n")).await.status()
}

#[tokio::test]
async fn everything_but_health_asks_for_the_token() {
    let proxy = Proxy::start_with(&small(", token: '${ADMIN}'"), &[("ADMIN", TOKEN)]).await;
    for path in HEALTH {
        assert_eq!(status_of(proxy.admin(), "GET", path, "Host: localhost\r\n").await, 200, "{path}");
    }
    let basic = "Basic OmFkbTFuLXQwa2VuLW9mLXRoZS10ZXN0cw==";
    for (method, path) in OTHERS {
        for none in [
            "",
            "Authorization: Bearer wrong\r\n",
            "Authorization: Basic OndyMG5n\r\n",
            "X-Api-Key: adm1n-t0ken-of-the-tests\r\n",
        ] {
            let headers = format!("Host: localhost\r\n{none}");
            assert_eq!(status_of(proxy.admin(), method, path, &headers).await, 401, "{method} {path} {none}");
        }
        for some in [&format!("Bearer {TOKEN}"), basic] {
            let headers = format!("Host: localhost\r\nAuthorization: {some}\r\n");
            let status = status_of(proxy.admin(), method, path, &headers).await;
            assert_ne!(status, 401, "{method} {path} {some}");
        }
    }
}

#[tokio::test]
async fn a_wrong_token_learns_nothing_and_a_browser_is_asked_for_it() {
    let proxy = Proxy::start(&small(&format!(", token: {TOKEN}"))).await;
    let answer = |headers: &str| {
        let request = format!("GET /api/v1/status HTTP/1.1\r\nHost: localhost\r\n{headers}Connection: close\r\n\r\n");
        exchange(proxy.admin(), request)
    };
    let missing = answer("").await;
    for wrong in ["Bearer a", &format!("Bearer {}x", &TOKEN[..TOKEN.len() - 1]), &format!("Bearer {TOKEN}{TOKEN}")] {
        let wrong = answer(&format!("Authorization: {wrong}\r\n")).await;
        assert_eq!((wrong.status(), wrong.text()), (401, missing.text()), "nothing tells wrong from missing");
    }
    let token = format!("Authorization: Bearer {TOKEN}\r\n");
    let metrics = exchange(
        proxy.admin(),
        format!("GET /metrics HTTP/1.1\r\nHost: localhost\r\n{token}Connection: close\r\n\r\n"),
    )
    .await;
    assert!(
        metrics.text().contains("\ntokenferry_admin_denied_total 3\n"),
        "a browser asks without one first: {}",
        metrics.text()
    );
    assert_eq!(missing.header("content-type"), Some("application/problem+json"));
    assert_eq!(missing.json()["code"], "token_required");
    let challenges = missing.all("www-authenticate");
    assert!(challenges[0].starts_with("Bearer ") && challenges[1].starts_with("Basic "), "{challenges:?}");
}

#[tokio::test]
async fn a_form_of_another_site_moves_nothing() {
    let proxy = Proxy::start(&small("")).await;
    let form = |headers: &str| {
        exchange(
            proxy.admin(),
            format!(
                "POST /api/v1/reload HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Length: 3\r\nConnection: close\r\n\r\na=b"
            ),
        )
    };
    assert_eq!(
        form("Content-Type: application/x-www-form-urlencoded\r\nOrigin: http://evil.example\r\n").await.status(),
        403
    );
    for media in ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data; boundary=x"] {
        assert_eq!(form(&format!("Content-Type: {media}\r\n")).await.status(), 415, "{media}");
    }
    assert_eq!(status(proxy.admin()).await["reload"], Value::Null, "nothing was reloaded");
    assert_eq!(form("Content-Type: application/json; charset=utf-8\r\n").await.status(), 200);
}

#[tokio::test]
async fn no_answer_is_kept_framed_or_guessed_at() {
    let proxy = Proxy::start(&small("")).await;
    for path in ["/", "/status.js", "/status.css", "/api/v1/status", "/healthz", "/nowhere"] {
        let answer = ask(proxy.admin(), "GET", path).await;
        let headers = answer.headers();
        assert_eq!(headers["cache-control"], "no-store", "{path}");
        assert_eq!(headers["x-content-type-options"], "nosniff", "{path}");
        assert_eq!(headers["referrer-policy"], "no-referrer", "{path}");
        assert_eq!(headers["x-frame-options"], "DENY", "{path}");
        let policy = headers["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self';") && !policy.contains("unsafe"), "{policy}");
    }
}

#[tokio::test]
async fn who_tries_tokens_is_slowed_and_who_had_the_right_one_is_served_on() {
    let limits = "limits: {wrong_keys: {rate: 1/m, burst: 5}}\n";
    let proxy = Proxy::start(&format!("{limits}{}", small(&format!(", token: {TOKEN}")))).await;
    let ask = |path: &str, token: &str| {
        let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n");
        exchange(proxy.admin(), format!("{head}Connection: close\r\n\r\n"))
    };
    assert_eq!(ask("/metrics", TOKEN).await.status(), 200);
    for guess in 0..5 {
        assert_eq!(ask("/metrics", &format!("guess-{guess}")).await.status(), 401, "{guess}");
    }
    for path in ["/metrics", "/api/v1/status", "/nowhere"] {
        let slowed = ask(path, "another").await;
        assert_eq!((slowed.status(), slowed.json()["code"].as_str()), (429, Some("too_many_wrong_tokens")));
        let wait: u64 = slowed.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=60).contains(&wait), "{wait}");
    }
    assert_eq!(ask("/metrics", TOKEN).await.status(), 200, "it was let in before");
    let basic =
        "GET /metrics HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic OmFkbTFuLXQwa2VuLW9mLXRoZS10ZXN0cw==\r\n";
    let unknown = exchange(proxy.admin(), format!("{basic}Connection: close\r\n\r\n")).await;
    assert_eq!(unknown.status(), 429, "a right one among many wrong ones tells nothing");
    assert_eq!(ask("/healthz", "another").await.status(), 200, "health asks for none");
}
