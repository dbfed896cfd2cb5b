//! Row 28: no storm of logins, so that no vendor locks the client out.

use std::time::{Duration, Instant};

use http::StatusCode;
use tokenferry::demo::{Crewmojo, Fault, OAuth2};

use super::row_27_token_endpoint_down::outage;
use crate::harness::client::{assert_unavailable, get, text};
use crate::harness::eventually;
use crate::harness::load::Load;
use crate::harness::process::Process;
use crate::harness::proxy::Proxy;
use crate::harness::upstream::Upstream;
use crate::harness::vendors::{config, crewmojo, crewmojo_with, partner, route, simulate};
use crate::rotation::seconds;

/// The shortest waits between logins with refused credentials, in seconds; from then on a minute.
const WAITS: [u64; 4] = [5, 10, 20, 40];

/// At most so many logins in this time; fifteen in ten minutes.
fn most_in(seconds: u64) -> u64 {
    let mut at = 0;
    let begins = WAITS.into_iter().chain(std::iter::repeat(60)).map(|wait| {
        at += wait;
        at
    });
    1 + begins.take_while(|begin| *begin <= seconds).count() as u64
}

/// Ten minutes of it under a paused clock: `refused_credentials_are_tried_a_few_times_in_ten_minutes`
/// in `src/token/cell/tests.rs`. Here as long as `make soak` says.
#[tokio::test]
async fn refused_credentials_are_tried_seldom_however_many_ask() {
    assert_eq!(most_in(600), 13);
    let simulator = simulate(OAuth2::default()).await;
    simulator.adjust(|options| options.token_fault = Some(Fault::status(StatusCode::UNAUTHORIZED)));
    let yaml = config(&[partner(simulator.origin(), "")], &[route("data", simulator.origin(), "partner", "")]);
    let process = Process::start(&format!("workers: 2\n{yaml}"), &[]);
    let begun = Instant::now();
    let load = Load::of_gets(process.address, 8, Duration::from_millis(5), "/data/x");
    tokio::time::sleep(Duration::from_secs(seconds())).await;
    let tally = load.stop().await;
    let (logins, most) = (simulator.token_requests(), most_in(begun.elapsed().as_secs() + 1));
    assert!(tally.lost.is_empty() && tally.answers.len() > 100, "{} answers, {:?}", tally.answers.len(), tally.lost);
    for answer in &tally.answers {
        assert_unavailable(&answer.response, "token_unavailable");
    }
    println!("{} requests in {:?} made {logins} logins", tally.answers.len(), begun.elapsed());
    assert!(logins <= most, "{logins} logins in {:?}", begun.elapsed());
    assert_eq!(simulator.data_requests(), 0);
}

/// The next login would come after a minute.
#[tokio::test]
async fn a_mended_secret_is_tried_at_once() {
    let simulator = simulate(Crewmojo::default()).await;
    let upstream = format!("{}/v1", simulator.origin());
    let yaml = |secret: &str| {
        config(&[crewmojo_with(secret, simulator.origin(), "")], &[route("crewmojo", &upstream, "crewmojo", "")])
    };
    let proxy = Proxy::start(&yaml("wrong")).await;
    // As a vendor in trouble may say.
    simulator.adjust(|o| o.token_fault = Some(Fault::retry_after(StatusCode::UNAUTHORIZED, 3600)));
    assert_unavailable(&get(proxy.address(), "/crewmojo/a").await, "token_unavailable");
    simulator.adjust(|options| options.token_fault = None);
    let mended = Instant::now();
    proxy.rewrite(&yaml(&Crewmojo::default().client_secret));
    while get(proxy.address(), "/crewmojo/a").await.status() != 200 {
        assert!(mended.elapsed() < Duration::from_secs(5), "the mend is not tried");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(simulator.token_requests(), 2);
}

#[tokio::test]
async fn the_token_endpoint_answers_401() {
    let fault = Fault::status(StatusCode::UNAUTHORIZED);
    let outage = outage("", "", async |simulator| simulator.adjust(|o| o.token_fault = Some(fault))).await;
    outage.assert_served_to_its_end();
    let requests = outage.simulator.token_requests() - 1;
    assert!((1..=5).contains(&requests), "{requests} token requests");
    outage.assert_recovers_within(Duration::from_secs(8)).await;
}

#[tokio::test]
async fn a_vendor_that_says_when_to_come_again_is_not_asked_before() {
    let simulator = simulate(Crewmojo::default()).await;
    simulator.adjust(|o| o.token_fault = Some(Fault::retry_after(StatusCode::TOO_MANY_REQUESTS, 30)));
    let upstream = format!("{}/v1", simulator.origin());
    let yaml = config(&[crewmojo(simulator.origin(), "")], &[route("crewmojo", &upstream, "crewmojo", "")]);
    let proxy = Proxy::start(&yaml).await;
    for _ in 0..50 {
        let answer = get(proxy.address(), "/crewmojo/a").await;
        assert_unavailable(&answer, "token_unavailable");
        let after: u64 = answer.headers()["retry-after"].to_str().unwrap().parse().unwrap();
        assert!(after >= 20, "Retry-After: {after}");
    }
    assert_eq!((simulator.token_requests(), simulator.data_requests()), (1, 0));
}

/// A vendor that gives the same token until its end, refused or not.
#[tokio::test]
async fn the_same_token_again_is_not_asked_for_in_a_loop() {
    let body = r#"{"access_token":"same","expires_in":3600}"#;
    let simulator = simulate(OAuth2::default()).await;
    simulator.adjust(|options| options.token_fault = Some(Fault::body(body)));
    let upstream =
        Upstream::answering(|_| http::Response::builder().status(401).body(http_body_util::Full::from("no")).unwrap())
            .await;
    let yaml = config(&[partner(simulator.origin(), "")], &[route("data", &upstream.url(""), "partner", "")]);
    let proxy = Proxy::start(&yaml).await;
    for _ in 0..20 {
        let refused = get(proxy.address(), "/data/x").await;
        assert_eq!((refused.status().as_u16(), text(&refused).as_str()), (401, "no"), "the vendor's answer passes");
    }
    assert!(simulator.token_requests() <= 3, "{} logins", simulator.token_requests());
}
#[tokio::test]
async fn a_wrong_new_secret_is_told_while_the_old_token_goes_on_serving() {
    let simulator = simulate(Crewmojo::default()).await;
    let upstream = format!("{}/v1", simulator.origin());
    let yaml = |secret: &str| {
        config(&[crewmojo_with(secret, simulator.origin(), "")], &[route("crewmojo", &upstream, "crewmojo", "")])
    };
    let right = Crewmojo::default().client_secret;
    let process = Process::start(&yaml(&right), &[]);
    let load = Load::of_gets(process.address, 4, Duration::from_millis(5), "/crewmojo/a");
    eventually("the load is on", || simulator.data_requests() > 20).await;
    process.rewrite(&yaml("wr0ng-canary"));
    eventually("the failure is told", || process.log().contains("login failed")).await;
    let failed_at = simulator.data_requests();
    eventually("the old token serves on", || simulator.data_requests() > failed_at + 50).await;
    assert_eq!((simulator.tokens_issued(), simulator.refused()), (1, 0));
    process.rewrite(&yaml(&right));
    eventually("the mend is taken", || process.taken() == 3).await;
    load.stop().await.assert_all_served(70);
    assert_eq!(simulator.tokens_issued(), 1, "the token in hand is of the right secret: no login is needed");
    assert!(!process.log().contains("wr0ng-canary"));
}
