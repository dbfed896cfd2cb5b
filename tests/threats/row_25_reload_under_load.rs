//! The configuration changes again and again under load: no request is lost, no token is fetched
//! anew, and memory does not grow. Fifty times in `make test`, a thousand in `make soak`.

use std::time::{Duration, Instant};

use http::Request;
use http_body_util::Full;
use tokenferry::demo::Crewmojo;

use crate::harness::client::{Connection, send, text};
use crate::harness::load::Load;
use crate::harness::process::Process;
use crate::harness::soak::{figure, long_or};
use crate::harness::vendors::simulate;
use crate::reload::{request, revision, revision_of};

/// What the process may grow by, in KiB, from before the first reload.
const GROWTH: u64 = 10 << 10;

#[tokio::test]
async fn reloads_under_load_lose_no_request_fetch_no_token_and_keep_no_memory() {
    let reloads = long_or(1000, 50);
    let simulator = simulate(Crewmojo::default()).await;
    let yaml = |number| format!("workers: 2\nadmin: {{address: '127.0.0.1:0'}}\n{}", revision(&simulator, number));
    let process = Process::start(&yaml(0), &[]);
    let admin = process.admin().await;
    let mut probe = Connection::open(process.address).await;
    probe.send(request("/crewmojo/a")).await.unwrap();
    let load = Load::start(process.address, 12, Duration::from_millis(10), |number| {
        let length = if number % 4 == 0 { 60_000 } else { 0 };
        let method = if length > 0 { "POST" } else { "GET" };
        Request::builder().method(method).uri("/crewmojo/b").body(Full::from(vec![b'x'; length])).unwrap()
    });
    // Connections, buffers and the token are there before memory is looked at; the reloads are not.
    tokio::time::sleep(long_or(Duration::from_secs(5), Duration::from_millis(500))).await;
    let before = process.memory_kib("VmRSS");
    let began = Instant::now();
    for number in 1..=reloads {
        process.rewrite(&yaml(number));
        // Some are asked for by signal, some by the admin port, and some are left to the file's watcher.
        match number % 5 {
            0 => {}
            1 => process.signal("HUP"),
            _ => {
                let answer = send(admin, Request::post("/api/v1/reload").body(Full::default()).unwrap()).await;
                assert_eq!(answer.status(), 200, "{}", text(&answer));
            }
        }
        let deadline = Instant::now() + Duration::from_secs(10);
        while revision_of(&probe.send(request("/crewmojo/a")).await.unwrap()) != number {
            assert!(Instant::now() < deadline, "revision {number} is not taken: {}", process.log());
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
        let pace = Duration::from_millis(80) * u32::try_from(number).unwrap();
        tokio::time::sleep(pace.saturating_sub(began.elapsed())).await;
    }
    let took = began.elapsed();
    let tally = load.stop().await;
    let meanwhile = began..began + took;
    let answered = tally.answers.iter().filter(|answer| meanwhile.contains(&answer.ended)).count();
    let after = process.memory_kib("VmRSS");
    let rate = answered as f64 / took.as_secs_f64();
    figure(format!(
        "{reloads} reloads in {:.1} s under {rate:.0} requests/s: {} requests, {} failed, {} token calls; RSS {before} KiB before, \
         {after} KiB after all",
        took.as_secs_f64(),
        tally.answers.len(),
        tally.lost.len() + tally.answers.iter().filter(|answer| answer.response.status() != 200).count(),
        simulator.token_requests(),
    ));
    tally.assert_all_served(long_or(5_000, 200));
    assert!(rate >= long_or(400.0, 1.0), "only {rate:.0} requests a second");
    assert_eq!(simulator.token_requests(), 1);
    assert_eq!(process.taken(), reloads + 1, "each was taken once");
    assert!(after < before + GROWTH, "{before} KiB became {after}");
}
