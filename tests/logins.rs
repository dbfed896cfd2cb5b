//! Each way to log in by OAuth 2, end to end. What becomes of refresh tokens: row 30 of the threats.

use std::fs;
use std::path::Path;

use http::Response;
use http_body_util::Full;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PKCS_RSA_SHA256};
use tempfile::TempDir;
use tokenferry::demo::{Fault, Issuer, OAuth2, Simulator};

use crate::harness::client::{assert_unavailable, get, text, token_number};
use crate::harness::process::Process;
use crate::harness::proxy::Proxy;
use crate::harness::tls::Authority;
use crate::harness::upstream::Upstream;
use crate::harness::vendors::{config, route, simulate};

/// 32 bytes in base64, of one letter each.
pub const KEY: &str = "YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE=";
pub const OTHER_KEY: &str = "YmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmI=";

/// The credential `partner` with these fields, and a route to the simulator.
pub fn yaml(simulator: &Simulator, fields: &str) -> String {
    let origin = simulator.origin();
    let credential = format!("  partner: {{provider: oauth2, token_url: \"{origin}/oauth2/token\", {fields}}}\n");
    config(&[credential], &[route("partner", origin, "partner", "")])
}

pub fn secret_client() -> String {
    let OAuth2 { client_id, client_secret, .. } = OAuth2::default();
    format!("client_id: \"{client_id}\", client_secret: \"{client_secret}\"")
}

/// Fields of a login by a refresh token that is kept in this file.
pub fn refreshing(state: &Path, keys: &str) -> String {
    let first = OAuth2::default().refresh_token;
    format!(
        "{}, grant: refresh_token, refresh_token: {first}, state_file: \"{}\", encryption_key: {keys}",
        secret_client(),
        state.display()
    )
}

fn key(algorithm: &'static rcgen::SignatureAlgorithm, folder: &Path) -> String {
    let key = KeyPair::generate_for(algorithm).unwrap();
    fs::write(folder.join("key.pem"), key.serialize_pem()).unwrap();
    key.public_key_pem()
}

#[tokio::test]
async fn a_client_logs_in_by_an_assertion_that_each_kind_of_key_signs() {
    for (kind, more) in [
        (&PKCS_ECDSA_P256_SHA256, ""),
        (&PKCS_ED25519, ", key_id: k1, body: json"),
        (&PKCS_RSA_SHA256, ", algorithm: PS256"),
    ] {
        let folder = TempDir::new().unwrap();
        let simulator = simulate(OAuth2 { client_key: Some(key(kind, folder.path())), ..OAuth2::default() }).await;
        let id = OAuth2::default().client_id;
        let fields =
            format!("client_id: \"{id}\", client_auth: private_key_jwt, private_key: \"${{file:key.pem}}\"{more}");
        let proxy = Proxy::start_in(folder, &yaml(&simulator, &fields), &[]).await;
        for number in 1..=2 {
            let answer = get(proxy.address(), "/partner/x").await;
            assert_eq!((answer.status().as_u16(), token_number(&answer)), (200, Some(number)), "{}", text(&answer));
            // Another login, with an assertion that was not used before.
            simulator.revoke_all();
        }
    }
}

#[tokio::test]
async fn an_assertion_brings_a_token_signed_here_or_elsewhere() {
    let folder = TempDir::new().unwrap();
    let issuer = Issuer {
        name: "billing".to_owned(),
        subject: "user@example".to_owned(),
        key: key(&PKCS_ECDSA_P256_SHA256, folder.path()),
    };
    let simulator = simulate(OAuth2 { issuer: Some(issuer), ..OAuth2::default() }).await;
    let signed = "assertion: {private_key: \"${file:key.pem}\", issuer: billing, subject: user@example, lifetime: 2m, claims: {scope: a}}";
    let fields = format!("grant: jwt_bearer, client_auth: none, {signed}");
    let proxy = Proxy::start_in(folder, &yaml(&simulator, &fields), &[]).await;
    for number in 1..=2 {
        assert_eq!(token_number(&get(proxy.address(), "/partner/x").await), Some(number));
        simulator.revoke_all();
    }

    // What somebody else has made is sent as it is.
    let tap = Upstream::answering(|_| {
        let answer = r#"{"access_token":"t0ken","token_type":"Bearer"}"#;
        Response::builder().header("content-type", "application/json").body(Full::from(answer)).unwrap()
    })
    .await;
    let credential = format!(
        "  partner: {{provider: oauth2, token_url: \"{}\", grant: jwt_bearer, client_auth: none, assertion: \"${{file:assertion}}\"}}\n",
        tap.url("/token")
    );
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("assertion"), "a.b.c\n").unwrap();
    let yaml = config(&[credential], &[route("partner", &tap.url("/"), "partner", "")]);
    let proxy = Proxy::start_in(folder, &yaml, &[]).await;
    assert_eq!(get(proxy.address(), "/partner/x").await.status(), 200);
    let [login, data] = tap.seen().try_into().unwrap();
    let grant = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=a.b.c";
    assert_eq!((login.body.as_ref(), data.bearer()), (grant.as_bytes(), "t0ken"));
}

#[tokio::test]
async fn a_token_is_exchanged_for_another() {
    let OAuth2 { subject_token, actor_token, .. } = OAuth2::default();
    let id_token = "requested_token_type: \"urn:ietf:params:oauth:token-type:id_token\"";
    for more in [String::new(), format!(", actor_token: {actor_token}, audience: api, {id_token}")] {
        let simulator = simulate(OAuth2::default()).await;
        let fields = format!("{}, grant: token_exchange, subject_token: {subject_token}{more}", secret_client());
        let proxy = Proxy::start(&yaml(&simulator, &fields)).await;
        let answer = get(proxy.address(), "/partner/x").await;
        assert_eq!((answer.status().as_u16(), token_number(&answer)), (200, Some(1)), "{more}: {}", text(&answer));
    }
}

#[tokio::test]
async fn a_client_logs_in_by_its_certificate() {
    let (authority, folder) = (Authority::new(), TempDir::new().unwrap());
    authority.write(&folder.path().join("ca.pem"));
    authority.identity(&["client"]).write(folder.path(), "client");
    let server = authority.identity(&["localhost", "127.0.0.1"]).server(&["http/1.1"], Some(&authority));
    let login = Upstream::tls_answering(server, |_| {
        let answer = r#"{"access_token":"t0ken","token_type":"Bearer"}"#;
        Response::builder().header("content-type", "application/json").body(Full::from(answer)).unwrap()
    })
    .await;
    let data = Upstream::start().await;
    let yaml = |certificate: &str| {
        let url = format!("https://localhost:{}/token", login.address.port());
        let credential = format!(
            "  partner: {{provider: oauth2, token_url: \"{url}\", ca: ca.pem, client_id: app, {certificate}}}\n"
        );
        config(&[credential], &[route("partner", &data.url("/"), "partner", "")])
    };
    let shown = yaml("client_auth: tls, client_cert: client.crt, client_key: client.key");
    let proxy = Proxy::start_in(folder, &shown, &[]).await;
    let answer = get(proxy.address(), "/partner/x").await;
    assert_eq!(answer.status(), 200, "{}", text(&answer));
    assert_eq!(login.last().body, "grant_type=client_credentials&client_id=app");
    assert_eq!(data.last().bearer(), "t0ken");

    // Beside a secret, too; and without one that server speaks to nobody.
    let folder = TempDir::new().unwrap();
    for file in ["ca.pem", "client.crt", "client.key"] {
        fs::copy(proxy.folder().join(file), folder.path().join(file)).unwrap();
    }
    let beside = yaml("client_secret: s, client_cert: client.crt, client_key: client.key");
    let with = Proxy::start_in(folder, &beside, &[]).await;
    assert_eq!(get(with.address(), "/partner/x").await.status(), 200);
    let folder = TempDir::new().unwrap();
    fs::copy(proxy.folder().join("ca.pem"), folder.path().join("ca.pem")).unwrap();
    let without = Proxy::start_in(folder, &yaml("client_secret: s"), &[]).await;
    assert_unavailable(&get(without.address(), "/partner/x").await, "token_unavailable");
}

#[tokio::test]
async fn a_kept_refresh_token_that_is_refused_is_named_as_such_and_not_tried_again_and_again() {
    let folder = TempDir::new().unwrap();
    let state = folder.path().join("state");
    let simulator = simulate(OAuth2::default()).await;
    let fields = refreshing(&state, KEY);
    let proxy = Proxy::start(&yaml(&simulator, &fields)).await;
    assert_eq!(get(proxy.address(), "/partner/x").await.status(), 200);
    proxy.stop().await;
    // The user takes the consent back.
    simulator.adjust(|options| {
        options.token_fault = Some(Fault::Answer {
            status: http::StatusCode::BAD_REQUEST,
            headers: Vec::new(),
            body: r#"{"error":"invalid_grant"}"#.into(),
        });
    });
    let process = Process::start(&yaml(&simulator, &fields), &[]);
    let before = simulator.token_requests();
    for _ in 0..5 {
        assert_unavailable(&get(process.address, "/partner/x").await, "token_unavailable");
    }
    assert_eq!(simulator.token_requests(), before + 1);
    let log = process.log();
    assert!(log.contains("refused the refresh token that was kept from an earlier login (invalid_grant)"), "{log}");
}

#[tokio::test]
async fn keys_are_rotated_without_losing_what_they_sealed() {
    let (simulator, folder) = (simulate(OAuth2::default()).await, TempDir::new().unwrap());
    let state = folder.path().join("state");
    let mut expected = 0;
    for keys in [KEY.to_owned(), format!("[\"{OTHER_KEY}\", \"{KEY}\"]"), OTHER_KEY.to_owned()] {
        let proxy = Proxy::start(&yaml(&simulator, &refreshing(&state, &keys))).await;
        for _ in 0..2 {
            expected += 1;
            assert_eq!(token_number(&get(proxy.address(), "/partner/x").await), Some(expected), "{keys}");
            simulator.revoke_all();
        }
        proxy.stop().await;
    }
}
