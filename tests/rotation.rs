//! An exclusive token that changes under load: nobody notices. The vendor holds one token valid,
//! ever; tokens live two seconds. A few seconds of it each in `make test`, a minute in `make soak`.

use std::time::{Duration, Instant};

use http::StatusCode;
use tokenferry::demo::{Crewmojo, CrmCom, Fault, Simulator};

use crate::harness::client::{get, json, text};
use crate::harness::eventually;

use crate::harness::mix::{Mix, Sum};
use crate::harness::process::Process;
use crate::harness::soak::{self, figure};
use crate::harness::vendors::{config, crewmojo, crm, route, simulate};

const MIX: Mix = Mix { reads: 12, uploads: 4, late_answers: 0, late: Duration::ZERO, slow_uploads: 0 };

/// How long each of these runs: `TOKENFERRY_SOAK_SECONDS`, or five seconds.
pub fn seconds() -> u64 {
    soak::seconds().unwrap_or(5)
}

/// A strict vendor whose tokens live two seconds.
pub async fn vendor() -> Simulator {
    let simulator = simulate(Crewmojo::default()).await;
    simulator.adjust(|options| options.lifetime = Some(Duration::from_secs(2)));
    simulator
}

fn proxy(simulator: &Simulator) -> Process {
    let upstream = format!("{}/v1", simulator.origin());
    let yaml = config(&[crewmojo(simulator.origin(), "")], &[route("crewmojo", &upstream, "crewmojo", "")]);
    Process::start(&format!("workers: 2\n{yaml}"), &[])
}

/// Runs the mix.
async fn run(simulator: &Simulator, process: &Process, mix: Mix) -> (Sum, Vec<Instant>) {
    let address = process.address;
    let clients = mix.start("/crewmojo/humans", move |_, _| address);
    let rotations = watch(simulator, seconds()).await;
    (clients.stop().await, rotations)
}

/// When the simulator gives out tokens, for so long.
pub async fn watch(simulator: &Simulator, seconds: u64) -> Vec<Instant> {
    let mut rotations = Vec::new();
    let mut issued = 0;
    let end = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < end {
        if simulator.tokens_issued() > issued {
            issued = simulator.tokens_issued();
            rotations.push(Instant::now());
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    rotations
}

/// Prints what the closing note wants to know.
pub fn tell(name: &str, sum: &Sum, rotations: &[Instant], simulator: &Simulator) {
    let near = |begun: Instant| {
        rotations.iter().any(|at| {
            at.saturating_duration_since(begun) < Duration::from_millis(250) && *at + Duration::from_millis(20) > begun
        })
    };
    let (around, elsewhere) = (sum.latency(near), sum.latency(|begun| !near(begun)));
    let millis = |histogram: &hdrhistogram::Histogram<u64>, quantile: f64| {
        Duration::from_micros(histogram.value_at_quantile(quantile)).as_secs_f64() * 1000.0
    };
    figure(format!(
        "{name}: {} requests, {} failed {:?}; {} logins; {} refused by the vendor and sent again; p50 {:.1} ms, p99.9 {:.1} ms",
        sum.all(),
        sum.failed(),
        sum.statuses,
        simulator.token_requests(),
        simulator.refused(),
        millis(&elsewhere, 0.5),
        millis(&elsewhere, 0.999),
    ));
    if !rotations.is_empty() {
        let added = millis(&around, 0.999) - millis(&elsewhere, 0.999);
        figure(format!(
            "    {} rotations; around them p50 {:.1} ms, p99.9 {:.1} ms (added {added:.1} ms)",
            rotations.len(),
            millis(&around, 0.5),
            millis(&around, 0.999),
        ));
    }
}

/// As many rotations as two-second lives make, give or take what a busy machine does.
fn assert_rotations(rotations: &[Instant]) {
    let seconds = seconds();
    let count = rotations.len() as u64;
    assert!((seconds / 3..=seconds + 2).contains(&count), "{count} rotations in {seconds} s");
}

#[tokio::test]
async fn nobody_notices_that_an_exclusive_token_changes_every_two_seconds() {
    let simulator = vendor().await;
    let process = proxy(&simulator);
    let (sum, rotations) = run(&simulator, &process, MIX).await;
    tell("one process", &sum, &rotations, &simulator);
    sum.assert_all_served(500);
    assert_rotations(&rotations);
}

#[tokio::test]
async fn nobody_notices_with_long_answers_and_slow_uploads_in_the_mix() {
    let simulator = vendor().await;
    let process = proxy(&simulator);
    let late = Duration::from_secs(seconds().min(10));
    let (sum, rotations) = run(&simulator, &process, Mix { late_answers: 3, late, slow_uploads: 3, ..MIX }).await;
    tell("long answers and slow uploads", &sum, &rotations, &simulator);
    sum.assert_all_served(500);
    assert_rotations(&rotations);
}

#[tokio::test]
async fn nobody_notices_that_every_third_login_fails() {
    for fault in [Fault::status(StatusCode::INTERNAL_SERVER_ERROR), Fault::Close, Fault::LoseAnswer] {
        let simulator = vendor().await;
        simulator.adjust(|options| (options.token_fault, options.token_fault_every) = (Some(fault.clone()), 3));
        let process = proxy(&simulator);
        let (sum, rotations) = run(&simulator, &process, MIX).await;
        tell(&format!("every third login: {fault:?}"), &sum, &rotations, &simulator);
        sum.assert_all_served(500);
    }
}

/// Somebody else logs in with the same client every 700 ms.
#[tokio::test]
async fn whoever_disturbs_is_named_and_requests_are_answered_all_the_same() {
    let simulator = simulate(Crewmojo::default()).await;
    let process = proxy(&simulator);
    let address = process.address;
    let clients = Mix { reads: 3, uploads: 1, ..MIX }.start("/crewmojo/humans", move |_, _| address);
    eventually("the load is on", || simulator.data_requests() > 20).await;
    let (rounds, before) = (seconds().min(30), simulator.token_requests());
    for _ in 0..rounds {
        // What their login does to our token.
        simulator.revoke_all();
        tokio::time::sleep(Duration::from_millis(700)).await;
    }
    let sum = clients.stop().await;
    tell("disturbed every 700 ms", &sum, &[], &simulator);
    assert_eq!(sum.failed(), 0, "{:?} {:?}", sum.statuses, sum.first_failure);
    let logins = simulator.token_requests() - before;
    assert!(logins <= rounds + 2, "{logins} logins of ours in {rounds} rounds");
    eventually("it is told", || process.log().contains("something else seems to log in with the same client")).await;
}

/// A request that the vendor refuses with any token, among others that it takes.
#[tokio::test]
async fn a_request_that_is_refused_with_any_token_costs_the_others_nothing() {
    let simulator = simulate(Crewmojo::default()).await;
    let forbidding = crate::harness::upstream::Upstream::answering(|seen| {
        let status = if seen.path().ends_with("forbidden") { 401 } else { 200 };
        http::Response::builder().status(status).body(http_body_util::Full::from("as it is")).unwrap()
    })
    .await;
    let yaml = config(&[crewmojo(simulator.origin(), "")], &[route("crewmojo", &forbidding.url(""), "crewmojo", "")]);
    let process = Process::start(&yaml, &[]);
    let address = process.address;
    let clients = Mix { reads: 2, uploads: 0, ..MIX }.start("/crewmojo/humans", move |_, _| address);
    let end = Instant::now() + Duration::from_secs(2);
    let mut refused = 0;
    while Instant::now() < end {
        let answer = get(address, "/crewmojo/forbidden").await;
        assert_eq!((answer.status().as_u16(), text(&answer).as_str()), (401, "as it is"), "the vendor's answer passes");
        refused += 1;
    }
    let sum = clients.stop().await;
    sum.assert_all_served(10);
    assert!(refused > 5, "{refused}");
    assert!(simulator.token_requests() <= 3, "{} logins", simulator.token_requests());
}

/// A vendor that looks at the token when it answers, and answers later than the token lives.
#[tokio::test]
async fn an_answer_that_outlasts_its_token_is_not_asked_for_without_end() {
    let simulator = vendor().await;
    simulator.adjust(|options| {
        options.lifetime = Some(Duration::from_secs(1));
        options.data_delay = Duration::from_millis(1500);
    });
    let process = proxy(&simulator);
    let answer = get(process.address, "/crewmojo/report").await;
    assert_eq!(answer.status(), 401, "the vendor's answer passes");
    assert!((2..=6).contains(&simulator.data_requests()), "{} times", simulator.data_requests());
    eventually("it is told", || process.log().contains("answers take longer than the token lives")).await;
}

/// A vendor that says inside a 200 that the token was at fault.
#[tokio::test]
async fn whoever_disturbs_is_named_also_where_a_refusal_stands_inside_an_answer() {
    let simulator = simulate(CrmCom::default()).await;
    let upstream = format!("{}/crmapi/rest/v2", simulator.origin());
    let yaml = config(&[crm(simulator.origin(), ", exclusive: true")], &[route("crm", &upstream, "crm", "")]);
    let process = Process::start(&yaml, &[]);
    for round in 1..=4 {
        // Taken once, and killed then.
        for _ in 0..2 {
            let answer = json(&get(process.address, "/crm/a").await);
            assert_eq!(answer["status"]["code"], "OK", "round {round}: {answer}");
        }
        simulator.revoke_all();
    }
    assert_eq!(json(&get(process.address, "/crm/a").await)["status"]["code"], "OK");
    eventually("it is told", || process.log().contains("something else seems to log in with the same client")).await;
}
