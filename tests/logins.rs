//! Each way to log in by OAuth 2, end to end; and that no crash, restart or bad file loses a refresh
//! token that the vendor gave in place of another.

use std::fs;
use std::path::Path;
use std::time::Duration;

use http::Response;
use http_body_util::Full;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PKCS_RSA_SHA256};
use tempfile::TempDir;
use tokenferry::demo::{Fault, Issuer, OAuth2, Simulator};

use crate::harness::client::{Connection, assert_unavailable, get, text, token_number};
use crate::harness::eventually;
use crate::harness::process::Process;
use crate::harness::proxy::Proxy;
use crate::harness::tls::Authority;
use crate::harness::upstream::Upstream;
use crate::harness::vendors::{config, route, simulate};

/// 32 bytes in base64, of one letter each.
const KEY: &str = "YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE=";
const OTHER_KEY: &str = "YmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmI=";

/// The credential `partner` with these fields, and a route to the simulator.
fn yaml(simulator: &Simulator, fields: &str) -> String {
    let origin = simulator.origin();
    let credential = format!("  partner: {{provider: oauth2, token_url: \"{origin}/oauth2/token\", {fields}}}\n");
    config(&[credential], &[route("partner", origin, "partner", "")])
}

fn secret_client() -> String {
    let OAuth2 { client_id, client_secret, .. } = OAuth2::default();
    format!("client_id: \"{client_id}\", client_secret: \"{client_secret}\"")
}

/// Fields of a login by a refresh token that is kept in this file.
fn refreshing(state: &Path, keys: &str) -> String {
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
async fn a_rotated_refresh_token_outlives_a_restart() {
    let (simulator, folder) = (simulate(OAuth2::default()).await, TempDir::new().unwrap());
    let yaml = yaml(&simulator, &refreshing(&folder.path().join("state"), KEY));
    for number in 1..=6 {
        let proxy = Proxy::start(&yaml).await;
        assert_eq!(token_number(&get(proxy.address(), "/partner/x").await), Some(2 * number - 1));
        simulator.revoke_all();
        assert_eq!(token_number(&get(proxy.address(), "/partner/x").await), Some(2 * number));
        proxy.stop().await;
    }
}

#[tokio::test]
async fn without_a_file_a_rotated_refresh_token_outlives_a_reload_and_goes_into_one_that_is_added() {
    let (simulator, folder) = (simulate(OAuth2::default()).await, TempDir::new().unwrap());
    let in_memory =
        format!("{}, grant: refresh_token, refresh_token: {}", secret_client(), OAuth2::default().refresh_token);
    let proxy = Proxy::start(&yaml(&simulator, &in_memory)).await;
    for number in 1..=2 {
        assert_eq!(token_number(&get(proxy.address(), "/partner/x").await), Some(number));
        simulator.revoke_all();
    }
    let state = folder.path().join("state");
    proxy.rewrite(&yaml(&simulator, &format!("{}, scope: more", refreshing(&state, KEY))));
    let mut last = None;
    for _ in 0..200 {
        last = token_number(&get(proxy.address(), "/partner/x").await);
        if state.exists() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(state.exists() && last.is_some());
    proxy.stop().await;
    let proxy = Proxy::start(&yaml(&simulator, &refreshing(&state, KEY))).await;
    assert_eq!(get(proxy.address(), "/partner/x").await.status(), 200);
}

#[tokio::test]
async fn no_kill_between_an_answer_and_its_use_locks_the_credential_out() {
    let (simulator, folder) = (simulate(OAuth2::default()).await, TempDir::new().unwrap());
    let yaml = yaml(&simulator, &refreshing(&folder.path().join("state"), KEY));
    for round in 0..20 {
        let process = Process::start(&yaml, &[]);
        let address = process.address;
        let answer = get(address, "/partner/x").await;
        assert_eq!(answer.status(), 200, "locked out in round {round}: {}", process.log());
        // A second login, by the refresh token of the first; killed somewhere around its answer.
        simulator.revoke_all();
        let issued = simulator.tokens_issued();
        let under_way = tokio::spawn(async move {
            let request = http::Request::get("/partner/x").body(Full::default()).unwrap();
            Connection::open(address).await.send(request).await.map(|answer| answer.status())
        });
        eventually("the second login is answered", || simulator.tokens_issued() > issued).await;
        tokio::time::sleep(Duration::from_micros(fastrand::u64(0..4_000))).await;
        process.signal("KILL");
        drop(process);
        let _ = under_way.await;
    }
    let process = Process::start(&yaml, &[]);
    assert_eq!(get(process.address, "/partner/x").await.status(), 200, "{}", process.log());
}

#[tokio::test]
async fn a_state_file_that_does_not_open_is_told_of_and_no_older_token_is_used_instead() {
    let folder = TempDir::new().unwrap();
    let state = folder.path().join("state");
    for content in [&b"not a state file at all, but longer than a nonce and a tag"[..], b"\x01"] {
        let simulator = simulate(OAuth2::default()).await;
        fs::write(&state, content).unwrap();
        let process = Process::start(&yaml(&simulator, &refreshing(&state, KEY)), &[]);
        assert_unavailable(&get(process.address, "/partner/x").await, "token_unavailable");
        assert!(process.log().contains("the state file does not open"), "{}", process.log());
        assert_eq!(simulator.token_requests(), 0);
    }
    // Sealed with a key that is gone: the configured one was used up.
    let simulator = simulate(OAuth2::default()).await;
    fs::remove_file(&state).unwrap();
    let proxy = Proxy::start(&yaml(&simulator, &refreshing(&state, KEY))).await;
    for number in 1..=2 {
        assert_eq!(token_number(&get(proxy.address(), "/partner/x").await), Some(number));
        simulator.revoke_all();
    }
    proxy.stop().await;
    let before = simulator.token_requests();
    let process = Process::start(&yaml(&simulator, &refreshing(&state, OTHER_KEY)), &[]);
    assert_unavailable(&get(process.address, "/partner/x").await, "token_unavailable");
    let log = process.log();
    assert!(log.contains("a key that is not in the configuration"), "{log}");
    assert!(log.contains("or remove the file to begin with the configured refresh token"), "{log}");
    assert!(!log.contains("demo-oauth2-refresh"), "{log}");
    assert_eq!(simulator.token_requests(), before, "the vendor sees no refresh token a second time");
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

#[tokio::test]
async fn a_token_whose_refresh_token_cannot_be_written_is_not_used_until_it_can() {
    let (simulator, folder) = (simulate(OAuth2::default()).await, TempDir::new().unwrap());
    let below = folder.path().join("below");
    fs::create_dir(&below).unwrap();
    let state = below.join("state");
    let process = Process::start(&yaml(&simulator, &refreshing(&state, KEY)), &[]);
    assert_eq!(token_number(&get(process.address, "/partner/x").await), Some(1));
    // Not by its mode, which does not hold for everyone: the folder is gone.
    fs::remove_dir_all(&below).unwrap();
    fs::write(&below, "").unwrap();
    simulator.revoke_all();
    assert_unavailable(&get(process.address, "/partner/x").await, "token_unavailable");
    eventually("it is told", || process.log().contains("cannot be")).await;
    fs::remove_file(&below).unwrap();
    fs::create_dir(&below).unwrap();
    let mut answer = get(process.address, "/partner/x").await;
    for _ in 0..100 {
        if answer.status() == 200 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        answer = get(process.address, "/partner/x").await;
    }
    assert_eq!(answer.status(), 200, "{}", process.log());
    assert!(state.exists());
}
