//! Row 30: refresh tokens that rotate. The vendor takes each once, and whoever loses the last one is
//! locked out: it is written down before the access token beside it is used, and replicas take turns.

use std::fs;
use std::time::{Duration, Instant};

use http_body_util::Full;
use tempfile::TempDir;
use tokenferry::demo::OAuth2;

use crate::harness::client::{Connection, assert_unavailable, get, token_number};
use crate::harness::eventually;
use crate::harness::load::Load;
use crate::harness::process::Process;
use crate::harness::proxy::Proxy;
use crate::harness::redis::RedisServer;
use crate::harness::vendors::simulate;
use crate::logins::{KEY, OTHER_KEY, refreshing, secret_client, yaml};

/// A hundred in `make soak`.
fn rounds() -> usize {
    if std::env::var_os("TOKENFERRY_SOAK_SECONDS").is_some() { 100 } else { 20 }
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
    for round in 0..rounds() {
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
        eventually("it is told", || process.log().contains("the state file does not open")).await;
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
    eventually("it is told", || process.log().contains("a key that is not in the configuration")).await;
    eventually("and the mend", || {
        process.log().contains("or remove the file to begin with the configured refresh token")
    })
    .await;
    let log = process.log();
    assert!(!log.contains("demo-oauth2-refresh"), "{log}");
    assert_eq!(simulator.token_requests(), before, "the vendor sees no refresh token a second time");
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

/// Each login uses the refresh token up; one that is used twice kills them all.
#[tokio::test]
async fn replicas_take_turns_and_none_uses_a_refresh_token_twice() {
    let (simulator, redis) = (simulate(OAuth2::default()).await, RedisServer::start());
    simulator.adjust(|options| options.lifetime = Some(Duration::from_secs(1)));
    let first = OAuth2::default().refresh_token;
    let fields = format!("{}, grant: refresh_token, refresh_token: {first}", secret_client());
    let store = format!("store: {{kind: redis, url: \"{}\", encryption_key: {KEY}}}\n", redis.url());
    let yaml = format!("{store}{}", yaml(&simulator, &fields));
    let one = Process::start(&yaml, &[]);
    let begun = Instant::now();
    let clients = |process: &Process| Load::of_gets(process.address, 2, Duration::from_millis(20), "/partner/x");
    let of_one = clients(&one);
    for round in 0..3 {
        let issued = simulator.tokens_issued();
        let other = Process::start(&yaml, &[]);
        let of_other = clients(&other);
        eventually("tokens change", || simulator.tokens_issued() >= issued + 2).await;
        of_other.stop().await.assert_all_served(5);
        // It dies; the next one knows what both knew.
        other.signal("KILL");
        assert!(one.log().matches("login failed").count() == 0, "locked out in round {round}: {}", one.log());
    }
    of_one.stop().await.assert_all_served(20);
    // Renewed after 80 % of a second, by one of the two.
    let (logins, most) = (simulator.token_requests(), u64::try_from(begun.elapsed().as_millis() / 700).unwrap() + 3);
    assert!(logins <= most, "{logins} logins in {:?}", begun.elapsed());
}
