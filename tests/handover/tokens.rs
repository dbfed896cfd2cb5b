//! Tokens on their way from one process to the next.

use std::path::Path;

use tokenferry::app::handover::peek;
use tokenferry::config::load;
use tokenferry::token::TokenKey;

use super::*;

#[tokio::test]
async fn a_request_in_the_old_process_gets_its_newer_token_from_the_new_one() {
    let simulator = simulate(Crewmojo::default()).await;
    let (upstream, go) = held(&simulator).await;
    let old = Process::start(&with_handover(&simulator, &upstream.url("/v1")), &[]);
    let slow = under_way(&old, &upstream).await;
    let new = old.successor().await;
    simulator.revoke_all();
    go.send(true).unwrap();
    let answer = slow.await.unwrap();
    assert_eq!((answer.status().as_u16(), token_number(&answer)), (200, Some(2)), "{}: {}", text(&answer), old.log());
    assert_eq!(token_number(&get(new.address, "/crewmojo/a").await), Some(2));
    assert_eq!(simulator.token_requests(), 2, "the new process logged in, and the old one did not");
    has_handed_over(old).await;
}

#[tokio::test]
async fn a_request_in_the_oldest_of_three_asks_whoever_serves_now() {
    let simulator = simulate(Crewmojo::default()).await;
    let (upstream, go) = held(&simulator).await;
    let oldest = Process::start(&with_handover(&simulator, &upstream.url("/v1")), &[]);
    let slow = under_way(&oldest, &upstream).await;
    let old = oldest.successor().await;
    let new = old.successor().await;
    has_handed_over(old).await;
    // The new one has replaced the token already.
    simulator.revoke_all();
    assert_eq!(token_number(&get(new.address, "/crewmojo/a").await), Some(2));
    go.send(true).unwrap();
    let answer = slow.await.unwrap();
    assert_eq!((answer.status().as_u16(), token_number(&answer)), (200, Some(2)), "{}", text(&answer));
    assert_eq!(simulator.token_requests(), 2);
    has_handed_over(oldest).await;
}

fn key(config: &Path) -> TokenKey {
    let loaded = load(config, &|_| None).unwrap();
    let vendor = &loaded.settings.credentials["crewmojo"].vendor;
    TokenKey::of(vendor.provider(), &vendor.identity())
}

#[tokio::test]
async fn the_running_processs_token_is_shown_without_a_login() {
    let simulator = simulate(Crewmojo::default()).await;
    let process = Process::start(&with_handover(&simulator, &data(&simulator)), &[]);
    let path = process.folder.path().join("handover.sock");
    let key = key(&process.folder.path().join("proxy.yaml"));
    assert!(peek(&path, &key).await.unwrap().is_none(), "asleep");
    assert_eq!(simulator.token_requests(), 0);
    assert_eq!(get(process.address, "/crewmojo/a").await.status(), 200);
    let peeked = peek(&path, &key).await.unwrap().expect("a token");
    assert_eq!(peeked.generation, 1);
    assert!(peeked.token.left <= Duration::from_secs(1800) && peeked.token.left > Duration::from_secs(1700));
    assert_eq!(simulator.token_requests(), 1);
    let mut direct = Connection::open(simulator.origin().trim_start_matches("http://").parse().unwrap()).await;
    let bearer = format!("Bearer {}", peeked.token.token.expose());
    let asked = Request::get("/v1/a").header("authorization", bearer).body(Full::default()).unwrap();
    assert_eq!(direct.send(asked).await.unwrap().status(), 200);
    process.signal("TERM");
    process.ended().await;
    assert!(peek(&path, &key).await.is_err(), "nobody is there");
}
