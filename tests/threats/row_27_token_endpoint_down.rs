//! Row 27: a token endpoint in trouble. A live token serves to its end, then the proxy says so at
//! once, sends nothing upstream, asks the vendor seldom, and comes back with it. Other routes do not
//! notice.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};
use tokenferry::demo::{Crewmojo, Fault, OAuth2, Simulator};

use crate::harness::client::{assert_unavailable, get};
use crate::harness::load::{Load, Tally};
use crate::harness::process::Process;
use crate::harness::proxy::Proxy;
use crate::harness::upstream::Upstream;
use crate::harness::vendors::{config, crewmojo, partner, route, simulate};

/// The life of a token here.
const LIFE: Duration = Duration::from_secs(2);
/// The load, from the outage on.
const LOAD: Duration = Duration::from_secs(6);

/// What came of an outage.
pub(super) struct Outage {
    pub(super) simulator: Simulator,
    process: Process,
    /// The token was asked for after the first and before the second.
    born: (Instant, Instant),
    tally: Tally,
    /// Token requests that the proxy made, by its own account.
    logins: usize,
}

/// Gets a token, breaks the token endpoint, and puts load on for a while.
pub(super) async fn outage(credential_more: &str, route_more: &str, break_it: impl AsyncFnOnce(&Simulator)) -> Outage {
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
    bystanders.stop().await.assert_all_served(50);
    assert_eq!(other.token_requests(), 1);
    Outage { simulator, process, born, tally, logins }
}

impl Outage {
    /// To its end the token serves; from then on there is a 503 that says when to come again.
    pub(super) fn assert_served_to_its_end(&self) {
        assert_served_to_the_end_of(self.born, &self.tally, 50, 20);
        // Nothing goes out without a token, or with a dead one but for what was on its way.
        assert!(self.simulator.refused() <= 6, "{} refused by the vendor", self.simulator.refused());
    }

    /// The endpoint is whole again; so is the proxy, within this.
    pub(super) async fn assert_recovers_within(self, patience: Duration) {
        self.simulator.adjust(|options| options.token_fault = None);
        self.simulator.set_login_down(false).await;
        let began = Instant::now();
        while get(self.process.address, "/crewmojo/a").await.status() != 200 {
            assert!(began.elapsed() < patience, "no recovery within {patience:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// A token that was born between these moments served to its end, and after it there was a 503.
fn assert_served_to_the_end_of(born: (Instant, Instant), tally: &Tally, some: usize, more: usize) {
    let Tally { answers, lost } = tally;
    assert!(lost.is_empty(), "{lost:?}");
    let (mut served, mut refused) = (0, 0);
    for answer in answers {
        if answer.ended < born.0 + LIFE {
            assert_eq!(answer.response.status(), 200, "{:?} before its end", born.0 + LIFE - answer.ended);
            served += 1;
        } else if answer.begun > born.1 + LIFE {
            let late = answer.response.body().windows(13).any(|w| w == b"token_timeout");
            assert_unavailable(&answer.response, if late { "token_timeout" } else { "token_unavailable" });
            refused += 1;
        }
    }
    assert!(served > some && refused > more, "{served} served, {refused} refused");
}

/// The longest back-off after a transient fault is 4 s.
const SECONDS: Duration = Duration::from_secs(5);

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
async fn the_token_endpoint_takes_requests_and_never_answers() {
    let hang = async |simulator: &Simulator| simulator.adjust(|options| options.token_fault = Some(Fault::Hang));
    let outage = outage(", timeout: 1s", ", timeouts: {token: 300ms}", hang).await;
    outage.assert_served_to_its_end();
    let requests = outage.simulator.token_requests() - 1;
    assert!((1..=12).contains(&requests), "{requests} token requests");
    // A login may be under way, and only fails after its second.
    outage.assert_recovers_within(SECONDS + Duration::from_secs(1)).await;
}

/// 429, a web page, an empty 200, half an answer, a redirect and a slow one: each at a vendor of its own.
#[tokio::test]
async fn the_token_endpoint_answers_whatever_is_no_token() {
    let elsewhere = Upstream::start().await;
    let faults = [
        ("limited", Fault::status(StatusCode::TOO_MANY_REQUESTS)),
        ("page", Fault::garbage()),
        ("empty", Fault::body("")),
        ("half", Fault::body(r#"{"access_token":"t0"#)),
        ("moved", Fault::redirect(HeaderValue::try_from(elsewhere.url("/token")).unwrap())),
        ("hangs", Fault::Hang),
    ];
    let (mut credentials, mut routes, mut simulators) = (Vec::new(), Vec::new(), Vec::new());
    for (name, _) in &faults {
        let simulator = simulate(OAuth2::default()).await;
        simulator.adjust(|options| options.lifetime = Some(LIFE));
        credentials.push(partner(simulator.origin(), ", timeout: 1s").replacen("partner", name, 1));
        routes.push(route(name, simulator.origin(), name, ""));
        simulators.push(simulator);
    }
    let process = Process::start(&config(&credentials, &routes), &[]);
    let mut loads = Vec::new();
    for ((name, fault), simulator) in faults.iter().zip(&simulators) {
        let target: &'static str = format!("/{name}/a").leak();
        let before = Instant::now();
        assert_eq!(get(process.address, target).await.status(), 200, "{name}");
        let born = (before, Instant::now());
        simulator.adjust(|options| options.token_fault = Some(fault.clone()));
        loads.push((target, born, Load::of_gets(process.address, 2, Duration::from_millis(20), target)));
    }
    tokio::time::sleep(LOAD).await;
    for ((target, born, load), simulator) in loads.into_iter().zip(&simulators) {
        assert_served_to_the_end_of(born, &load.stop().await, 10, 5);
        assert!(simulator.refused() <= 2, "{target}: {} refused by the vendor", simulator.refused());
        let logins = simulator.token_requests() - 1;
        assert!((1..=12).contains(&logins), "{target}: {logins} logins");
    }
    assert!(elsewhere.seen().is_empty(), "a login was sent where a redirect points");
    for simulator in &simulators {
        simulator.adjust(|options| options.token_fault = None);
    }
    let back = Instant::now();
    // A redirect is answered the same way again: it is asked about as seldom as refused credentials.
    for (name, _) in faults.iter().filter(|(name, _)| *name != "moved") {
        while get(process.address, &format!("/{name}/a")).await.status() != 200 {
            assert!(back.elapsed() < SECONDS + Duration::from_secs(1), "{name} has not recovered");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

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
