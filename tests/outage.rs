//! The token endpoint is down: a live token serves to its end, then the proxy says so at once, asks
//! the vendor seldom, and comes back with it. Other routes do not notice.

use std::time::{Duration, Instant};

use http::StatusCode;
use tokenferry::demo::{Crewmojo, Fault, OAuth2, Simulator};

use crate::harness::client::{assert_unavailable, get};
use crate::harness::load::{Load, Tally};
use crate::harness::process::Process;
use crate::harness::vendors::{config, crewmojo, partner, route, simulate};

/// The life of a token here.
const LIFE: Duration = Duration::from_secs(2);
/// The load, from the outage on.
const LOAD: Duration = Duration::from_secs(6);

/// What came of an outage.
struct Outage {
    simulator: Simulator,
    process: Process,
    /// The token was asked for after the first and before the second.
    born: (Instant, Instant),
    tally: Tally,
    /// Token requests that the proxy made, by its own account.
    logins: usize,
}

/// Gets a token, breaks the token endpoint, and puts load on for a while.
async fn outage(credential_more: &str, route_more: &str, break_it: impl AsyncFnOnce(&Simulator)) -> Outage {
    let (simulator, other) = (simulate(Crewmojo::default()).await, simulate(OAuth2::default()).await);
    simulator.adjust(|options| options.lifetime = Some(LIFE));
    let yaml = config(
        &[crewmojo(simulator.login_origin(), credential_more), partner(other.origin(), "")],
        &[
            route("crewmojo", &format!("{}/v1", simulator.origin()), "crewmojo", route_more),
            route("other", other.origin(), "partner", ""),
        ],
    );
    let process = Process::start(&yaml, &[("TOKENFERRY_LOG", "debug")]);
    assert_eq!(get(process.address, "/other/a").await.status(), 200);
    let before = Instant::now();
    assert_eq!(get(process.address, "/crewmojo/a").await.status(), 200);
    let born = (before, Instant::now());
    break_it(&simulator).await;

    let load = Load::of_gets(process.address, 6, Duration::from_millis(10), "/crewmojo/a");
    let bystanders = Load::of_gets(process.address, 2, Duration::from_millis(10), "/other/a");
    tokio::time::sleep(LOAD).await;
    let tally = load.stop().await;
    let logins = process.log().matches("login failed").count();
    bystanders.stop().await.assert_all_served(100);
    assert_eq!(other.token_requests(), 1);
    Outage { simulator, process, born, tally, logins }
}

impl Outage {
    /// To its end the token serves; from then on there is a 503 that says when to come again.
    fn assert_served_to_its_end(&self) {
        let Tally { answers, lost } = &self.tally;
        assert!(lost.is_empty(), "{lost:?}");
        let (mut served, mut refused) = (0, 0);
        for answer in answers {
            if answer.ended < self.born.0 + LIFE {
                assert_eq!(answer.response.status(), 200, "{:?} before its end", self.born.0 + LIFE - answer.ended);
                served += 1;
            } else if answer.begun > self.born.1 + LIFE {
                let code = if answer.response.body().windows(13).any(|w| w == b"token_timeout") {
                    "token_timeout"
                } else {
                    "token_unavailable"
                };
                assert_unavailable(&answer.response, code);
                refused += 1;
            }
        }
        assert!(served > 50 && refused > 20, "{served} served, {refused} refused");
        // Nothing goes out without a token, or with a dead one but for what was on its way.
        assert!(self.simulator.refused() <= 6, "{} refused by the vendor", self.simulator.refused());
    }

    /// The endpoint is whole again; so is the proxy, within this.
    async fn assert_recovers_within(self, patience: Duration) {
        self.simulator.adjust(|options| options.token_fault = None);
        self.simulator.set_login_down(false).await;
        let began = Instant::now();
        while get(self.process.address, "/crewmojo/a").await.status() != 200 {
            assert!(began.elapsed() < patience, "no recovery within {patience:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// The longest back-off after a transient fault is 4 s; the rest is for a loaded machine.
const SECONDS: Duration = Duration::from_secs(8);

#[tokio::test]
async fn nobody_listens_at_the_token_endpoint() {
    let outage = outage("", "", async |simulator| simulator.set_login_down(true).await).await;
    outage.assert_served_to_its_end();
    assert!((1..=12).contains(&outage.logins), "{} logins", outage.logins);
    outage.assert_recovers_within(SECONDS).await;
}

#[tokio::test]
async fn the_token_endpoint_answers_500() {
    let fault = Fault::status(StatusCode::INTERNAL_SERVER_ERROR);
    let outage = outage("", "", async |simulator| simulator.adjust(|o| o.token_fault = Some(fault))).await;
    outage.assert_served_to_its_end();
    let requests = outage.simulator.token_requests() - 1;
    assert!((1..=12).contains(&requests), "{requests} token requests");
    outage.assert_recovers_within(SECONDS).await;
}

#[tokio::test]
async fn the_token_endpoint_answers_401() {
    let fault = Fault::status(StatusCode::UNAUTHORIZED);
    let outage = outage("", "", async |simulator| simulator.adjust(|o| o.token_fault = Some(fault))).await;
    outage.assert_served_to_its_end();
    let requests = outage.simulator.token_requests() - 1;
    assert!((1..=5).contains(&requests), "{requests} token requests");
    outage.assert_recovers_within(SECONDS).await;
}

#[tokio::test]
async fn the_token_endpoint_takes_requests_and_never_answers() {
    let hang = async |simulator: &Simulator| simulator.adjust(|options| options.token_fault = Some(Fault::Hang));
    let outage = outage(", timeout: 1s", ", timeouts: {token: 300ms}", hang).await;
    outage.assert_served_to_its_end();
    let requests = outage.simulator.token_requests() - 1;
    assert!((1..=12).contains(&requests), "{requests} token requests");
    outage.assert_recovers_within(SECONDS).await;
}

#[tokio::test]
async fn a_vendor_that_says_when_to_come_again_is_not_asked_before() {
    let simulator = simulate(Crewmojo::default()).await;
    simulator.adjust(|o| o.token_fault = Some(Fault::retry_after(StatusCode::TOO_MANY_REQUESTS, 30)));
    let upstream = format!("{}/v1", simulator.origin());
    let yaml = config(&[crewmojo(simulator.origin(), "")], &[route("crewmojo", &upstream, "crewmojo", "")]);
    let proxy = crate::harness::proxy::Proxy::start(&yaml).await;
    for _ in 0..50 {
        let answer = get(proxy.address(), "/crewmojo/a").await;
        assert_unavailable(&answer, "token_unavailable");
        let after: u64 = answer.headers()["retry-after"].to_str().unwrap().parse().unwrap();
        assert!(after >= 20, "Retry-After: {after}");
    }
    assert_eq!((simulator.token_requests(), simulator.data_requests()), (1, 0));
}
