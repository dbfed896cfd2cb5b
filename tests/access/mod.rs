//! Who may come in, and by which door.

mod certificates;
mod tokens;
mod users;

use std::path::Path;

use tempfile::TempDir;
use tokio::net::UnixStream;

use crate::answers_of_its_own::is_problem;
use crate::harness::proxy::Proxy;
use crate::harness::raw::{End, Message, Wire, exchange};
use crate::harness::yaml::{one_route, routes};

// base64 of "anyone:k3y-billing", "anyone:wrong" and "k3y-billing".
const BASIC: &str = "Basic YW55b25lOmszeS1iaWxsaW5n";
const WRONG_BASIC: &str = "Basic YW55b25lOndyb25n";
const NO_BASIC: &str = "Basic azN5LWJpbGxpbmc=";

async fn get(proxy: &Proxy, lines: &str) -> Message {
    exchange(proxy.address(), format!("GET / HTTP/1.1\r\nHost: x\r\n{lines}\r\n")).await
}

#[tokio::test]
async fn a_key_lets_in_from_each_of_its_places_and_goes_no_further() {
    let upstream = Wire::ok().await;
    // SHA-256 of "k3y-hashed".
    let digest = "sha256:PLACEHOLDER";
    let digest = digest.replace("PLACEHOLDER", &hex_sha256(b"k3y-hashed"));
    let access =
        format!("access: {{api_keys: [{{name: billing, key: k3y-billing}}, {{name: hashed, key: '{digest}'}}]}}");
    let proxy = Proxy::start(&one_route(&upstream.url(""), &access)).await;
    let none =
        Proxy::start(&one_route(&upstream.url(""), &access).replace("credential: fixed", "credential: none")).await;
    for lines in [
        "Authorization: Bearer k3y-billing\r\n",
        "authorization: bearer   k3y-billing\r\n",
        "Authorization: Bearer k3y-hashed\r\n",
        &format!("Authorization: {BASIC}\r\n"),
        "X-Api-Key: k3y-billing\r\n",
        "x-api-key: k3y-hashed\r\n",
        "X-Api-Key: k3y-billing\r\nAuthorization: Bearer k3y-billing\r\n",
        "X-Api-Key: k3y-billing\r\nX_Api_Key: k3y-billing\r\n",
    ] {
        for proxy in [&proxy, &none] {
            assert_eq!(get(proxy, lines).await.status(), 200, "{lines}");
            let seen = upstream.last();
            let text = format!("{seen:?}");
            assert!(!text.contains("k3y") && !text.contains(BASIC), "{lines}: {seen:?}");
        }
        assert_eq!(upstream.last().header("authorization"), None, "{lines}");
    }
    // What is not the key may be meant for the upstream.
    assert_eq!(get(&none, "X-Api-Key: k3y-billing\r\nAuthorization: Digest mine\r\n").await.status(), 200);
    assert_eq!(upstream.last().header("authorization"), Some("Digest mine"));

    let arrived = upstream.seen().len();
    for lines in [
        "",
        "Authorization: Bearer k3y-billin\r\n",
        "Authorization: Bearer k3y-billingx\r\n",
        "Authorization: Bearer K3Y-BILLING\r\n",
        "Authorization: k3y-billing\r\n",
        "Authorization: Bearer\r\n",
        "Authorization: Token k3y-billing\r\n",
        &format!("Authorization: {WRONG_BASIC}\r\n"),
        &format!("Authorization: {NO_BASIC}\r\n"),
        "Authorization: Basic !!!\r\n",
        "X-Api-Key:\r\n",
        &format!("X-Api-Key: {digest}\r\n"),
        "X_Api_Key: k3y-billing\r\n",
        "Api-Key: k3y-billing\r\n",
        "Cookie: x-api-key=k3y-billing\r\n",
        "X-Api-Key: k3y-billing\r\nX-Api-Key: other\r\n",
        "Authorization: Bearer other\r\nAuthorization: Bearer k3y-billing\r\n",
    ] {
        let answer = get(&proxy, lines).await;
        is_problem(&answer, 401, "key_required");
        assert!(answer.header("www-authenticate").is_some_and(|scheme| scheme.starts_with("Bearer")), "{answer:?}");
    }
    assert_eq!(upstream.seen().len(), arrived, "none of it went upstream");
}

fn hex_sha256(text: &[u8]) -> String {
    use sha2::Digest as _;
    sha2::Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn networks_are_judged_by_the_connection_and_before_the_key() {
    let upstream = Wire::ok().await;
    for (access, status) in [
        ("{allow: [127.0.0.0/8]}", 200),
        ("{allow: [10.0.0.0/8, 127.0.0.1]}", 200),
        ("{allow: ['::ffff:127.0.0.0/104']}", 200),
        ("{allow: [10.0.0.0/8]}", 403),
        ("{deny: [127.0.0.0/8]}", 403),
        ("{deny: [10.0.0.0/8]}", 200),
        ("{allow: [127.0.0.0/8], deny: [127.0.0.1]}", 403),
        ("{allow: ['::1']}", 403),
        ("{allow: [10.0.0.0/8], api_keys: [{name: a, key: k3y}]}", 403),
        ("{allow: [127.0.0.0/8], api_keys: [{name: a, key: k3y}]}", 401),
        ("public", 200),
    ] {
        let proxy = Proxy::start(&one_route(&upstream.url(""), &format!("access: {access}"))).await;
        let answer =
            get(&proxy, "X-Forwarded-For: 10.0.0.1\r\nX-Real-IP: 10.0.0.1\r\nForwarded: for=10.0.0.1\r\n").await;
        assert_eq!(answer.status(), status, "{access}: {answer:?}");
        if status == 403 {
            is_problem(&answer, 403, "network_denied");
        }
    }
}

#[tokio::test]
async fn what_every_route_inherits_holds_where_a_route_says_nothing() {
    let upstream = Wire::ok().await;
    let list = format!(
        "- {{name: open, match: {{path: /open}}, upstream: {0}, credential: fixed, access: public}}\n\
         - {{name: rest, upstream: {0}, credential: fixed}}\n",
        upstream.url("")
    );
    let yaml = format!("defaults: {{access: {{api_keys: [{{name: a, key: k3y}}]}}}}\n{}", routes(&list));
    let proxy = Proxy::start(&yaml).await;
    assert_eq!(get(&proxy, "").await.status(), 401);
    assert_eq!(get(&proxy, "X-Api-Key: k3y\r\n").await.status(), 200);
    assert_eq!(exchange(proxy.address(), "GET /open HTTP/1.1\r\nHost: x\r\n\r\n").await.status(), 200);
}

#[tokio::test]
async fn ipv6_and_unix_sockets_are_listened_on() {
    let upstream = Wire::ok().await;
    let folder = TempDir::new().unwrap();
    let socket = folder.path().join("proxy.sock");
    let yaml = format!(
        "listeners:\n  - address: '[::1]:0'\n  - address: unix:{}\n{}",
        socket.display(),
        one_route(&upstream.url(""), "")
    );
    let proxy = Proxy::start_in(folder, &yaml, &[]).await;
    assert!(proxy.address().is_ipv6());
    assert_eq!(get(&proxy, "").await.text(), "ok");
    assert_eq!(upstream.last().header("x-forwarded-for"), Some("::1"));

    let answer = over_unix(&socket, "GET /u HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n").await;
    assert_eq!(answer.text(), "ok");
    let seen = upstream.last();
    assert_eq!((seen.target(), seen.header("x-forwarded-for")), ("/u", None));
    proxy.stop().await;
    assert!(!socket.exists(), "the socket is not left behind");
}

#[tokio::test]
async fn a_unix_sockets_client_is_in_no_network() {
    let upstream = Wire::ok().await;
    for (access, status) in [("{allow: [127.0.0.0/8]}", 403), ("{deny: [127.0.0.0/8]}", 200)] {
        let folder = TempDir::new().unwrap();
        let socket = folder.path().join("s");
        let yaml = format!(
            "listeners: [{{address: 'unix:{}'}}]\n{}",
            socket.display(),
            one_route(&upstream.url(""), &format!("access: {access}"))
        );
        let _proxy = Proxy::start_in(folder, &yaml, &[]).await;
        assert_eq!(over_unix(&socket, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.status(), status, "{access}");
    }
}

async fn over_unix(socket: &Path, request: &str) -> Message {
    let mut client = End::over(UnixStream::connect(socket).await.unwrap());
    client.send(request).await;
    client.answer().await
}
