//! What users complained of elsewhere, each as a test: answers of token endpoints that are none,
//! lifetimes written in every way, leaders that leave, secrets that are wrong, clocks that jump.

use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};
use tempfile::TempDir;
use tokenferry::demo::{Crewmojo, Fault, OAuth2, Simulator};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::harness::client::{assert_unavailable, get, text, token_number};
use crate::harness::eventually;
use crate::harness::load::Load;
use crate::harness::process::Process;
use crate::harness::proxy::{Proxy, complete};
use crate::harness::upstream::Upstream;
use crate::harness::vendors::{config, crewmojo, crewmojo_with, partner, route, simulate};

/// A token endpoint with this to say, and an upstream that takes any token.
async fn endpoint(answer: Option<Fault>, more: &str) -> (Simulator, Upstream, Proxy) {
    let (simulator, upstream) = (simulate(OAuth2::default()).await, Upstream::start().await);
    simulator.adjust(|options| options.token_fault = answer);
    let yaml = config(&[partner(simulator.origin(), more)], &[route("data", &upstream.url(""), "partner", "")]);
    let proxy = Proxy::start(&yaml).await;
    (simulator, upstream, proxy)
}

fn answer(status: u16, headers: &[(&'static str, &'static str)], body: impl Into<Bytes>) -> Fault {
    let header =
        |(name, value): &(&'static str, &'static str)| (HeaderName::from_static(name), HeaderValue::from_static(value));
    let headers = headers.iter().map(header).collect();
    Fault::Answer { status: StatusCode::from_u16(status).unwrap(), headers, body: body.into() }
}

/// Envoy took an empty 200 for a token and stopped trying.
#[tokio::test]
async fn an_answer_that_is_no_token_is_a_fault_that_passes_and_nothing_is_sent_upstream() {
    const JSON: (&str, &str) = ("content-type", "application/json");
    let gzip: &[u8] = b"\x1f\x8b\x08\0\0\0\0\0\0\x03\xab\x56\x4a\x4c\x4e\x4e\x2d\x2e\x8e\x2f\xc9\xcf\x4e\xcd\x03\0";
    let large = format!(r#"{{"access_token":"t","padding":"{}"}}"#, "x".repeat(2 << 20));
    for (name, fault) in [
        ("an empty 200", answer(200, &[JSON], "")),
        ("a 204", answer(204, &[], "")),
        ("a web page", Fault::garbage()),
        ("gzip", answer(200, &[JSON, ("content-encoding", "gzip")], gzip)),
        ("two megabytes", answer(200, &[JSON], large)),
        ("no token", answer(200, &[JSON], r#"{"token_type":"Bearer","expires_in":3600}"#)),
    ] {
        let (simulator, upstream, proxy) = endpoint(Some(fault), "").await;
        for _ in 0..20 {
            assert_unavailable(&get(proxy.address(), "/data/x").await, "token_unavailable");
        }
        assert!(upstream.seen().is_empty(), "{name}: a request left without a token");
        assert!((1..=4).contains(&simulator.token_requests()), "{name}: {} logins", simulator.token_requests());
        simulator.adjust(|options| options.token_fault = None);
        let mended = Instant::now();
        while get(proxy.address(), "/data/x").await.status() != 200 {
            assert!(mended.elapsed() < Duration::from_secs(5), "{name}: not taken up again");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

#[tokio::test]
async fn a_lifetime_in_whatever_form_makes_neither_a_login_a_request_nor_a_dead_token() {
    let forms = [
        r#""3600""#,
        "3600.0",
        "3600",
        "-1",
        "0",
        "1e12",
        r#""soon""#,
        "null",
        "[]",
        r#"" 60 ""#,
        "18446744073709551616",
    ];
    for form in forms.into_iter().map(|form| format!(r#","expires_in":{form}"#)).chain([String::new()]) {
        let body = format!(r#"{{"access_token":"t0ken","token_type":"Bearer"{form}}}"#);
        let (simulator, upstream, proxy) = endpoint(Some(Fault::body(body)), "").await;
        for _ in 0..10 {
            assert_eq!(get(proxy.address(), "/data/x").await.status(), 200, "{form}");
        }
        assert_eq!(simulator.token_requests(), 1, "{form}");
        assert!(upstream.seen().iter().all(|seen| seen.bearer() == "t0ken"), "{form}");
    }
}

#[tokio::test]
async fn a_life_shorter_than_the_margin_is_served_to_its_end() {
    let simulator = simulate(Crewmojo::default()).await;
    simulator.adjust(|options| options.lifetime = Some(Duration::from_secs(1)));
    let upstream = format!("{}/v1", simulator.origin());
    let credential = crewmojo(simulator.origin(), ", refresh_before: 10m");
    let proxy = Proxy::start(&config(&[credential], &[route("crewmojo", &upstream, "crewmojo", "")])).await;
    let load = Load::of_gets(proxy.address(), 4, Duration::from_millis(2), "/crewmojo/a");
    tokio::time::sleep(Duration::from_secs(3)).await;
    load.stop().await.assert_all_served(100);
    assert!((3..=5).contains(&simulator.token_requests()), "{} logins", simulator.token_requests());
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
async fn the_leader_leaves_and_those_behind_it_are_served_by_its_login() {
    let simulator = simulate(Crewmojo::default()).await;
    simulator.adjust(|options| options.token_delay = Duration::from_millis(400));
    let upstream = format!("{}/v1", simulator.origin());
    let yaml = config(&[crewmojo(simulator.origin(), "")], &[route("crewmojo", &upstream, "crewmojo", "")]);
    let proxy = Proxy::start(&yaml).await;
    let address = proxy.address();
    let mut leader = TcpStream::connect(address).await.unwrap();
    leader.write_all(b"GET /crewmojo/a HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    eventually("the login is under way", || simulator.token_requests() == 1).await;
    let behind: Vec<_> = (0..10).map(|_| tokio::spawn(async move { get(address, "/crewmojo/b").await })).collect();
    drop(leader);
    for request in behind {
        let served = request.await.unwrap();
        assert_eq!((served.status().as_u16(), token_number(&served)), (200, Some(1)), "{}", text(&served));
    }
    assert_eq!(simulator.token_requests(), 1);
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

/// The library that makes a process believe in another time of day. `make test` installs it.
fn faketime() -> String {
    let folders = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib"];
    let found = folders.iter().map(|folder| format!("{folder}/faketime/libfaketime.so.1"));
    found.into_iter().find(|file| Path::new(file).exists()).expect("libfaketime: apt-get install libfaketime")
}

/// The wall clock of the proxy is set an hour forth and two hours back while tokens live and change.
#[tokio::test]
async fn a_clock_that_is_set_back_and_forth_by_an_hour_is_not_noticed() {
    let simulator = simulate(Crewmojo::default()).await;
    simulator.adjust(|options| options.lifetime = Some(Duration::from_secs(2)));
    let upstream = format!("{}/v1", simulator.origin());
    let yaml = config(&[crewmojo(simulator.origin(), "")], &[route("crewmojo", &upstream, "crewmojo", "")]);
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("proxy.yaml"), complete(&yaml)).unwrap();
    let clock = folder.path().join("clock");
    std::fs::write(&clock, "+0").unwrap();
    let (library, file) = (faketime(), clock.to_str().unwrap().to_owned());
    let process = Process::start_in(
        folder,
        &[
            ("LD_PRELOAD", &library),
            ("FAKETIME_TIMESTAMP_FILE", &file),
            // Read at every look at the clock: the step is there at once.
            ("FAKETIME_NO_CACHE", "1"),
            // Only the time of day is set; what runs since boot runs on, as on a real machine.
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
            ("DONT_FAKE_MONOTONIC", "1"),
            ("TOKENFERRY_LOG", "info"),
        ],
    );
    let load = Load::of_gets(process.address, 4, Duration::from_millis(5), "/crewmojo/a");
    for step in ["+1h", "-1h", "+0"] {
        let before = simulator.tokens_issued();
        std::fs::write(&clock, step).unwrap();
        eventually("tokens change at their own pace", || simulator.tokens_issued() > before).await;
    }
    let logins = simulator.token_requests();
    load.stop().await.assert_all_served(100);
    assert!(logins <= 8, "{logins} logins: a step of the clock must cost none");
    assert_eq!(simulator.refused(), 0);
    // The log's own times show that the steps arrived.
    let hours: std::collections::BTreeSet<String> =
        process.log().lines().filter_map(|line| line.get(11..13).map(str::to_owned)).collect();
    assert!(hours.len() >= 3, "the process saw no other time: {hours:?}");
}
