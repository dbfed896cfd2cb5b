//! A vendor's wrong clock costs nothing: only differences between its own times count.

use std::time::Duration;

use tokenferry::demo::{Crewmojo, CrmCom};

use crate::harness::client::{get, token_number};
use crate::harness::load::Load;
use crate::harness::proxy::Proxy;
use crate::harness::upstream::Upstream;
use crate::harness::vendors::{config, crewmojo, crm, route, simulate};

const TWO_HOURS: i64 = 7200;

#[tokio::test]
async fn a_clock_two_hours_off_makes_no_further_logins() {
    for skew in [TWO_HOURS, -TWO_HOURS] {
        let (first, second) = (simulate(CrmCom::default()).await, simulate(Crewmojo::default()).await);
        for simulator in [&first, &second] {
            simulator.adjust(|options| options.clock_skew = skew);
        }
        let yaml = config(
            &[crm(first.origin(), ""), crewmojo(second.origin(), "")],
            &[
                route("crm", &format!("{}/crmapi/rest/v2", first.origin()), "crm", ""),
                route("crewmojo", &format!("{}/v1", second.origin()), "crewmojo", ""),
            ],
        );
        let proxy = Proxy::start(&yaml).await;
        for _ in 0..20 {
            for path in ["/crm/a", "/crewmojo/a"] {
                assert_eq!(token_number(&get(proxy.address(), path).await), Some(1), "{path} {skew}");
            }
        }
        assert_eq!((first.token_requests(), second.token_requests()), (1, 1), "{skew}");
    }
}

/// The token's own times are the vendor's, and the `Date` that of a gateway before it, or the other
/// way round.
#[tokio::test]
async fn a_clock_that_is_off_from_its_own_gateways_makes_no_failure() {
    for skew in [TWO_HOURS, -TWO_HOURS] {
        let simulator = simulate(CrmCom::default()).await;
        simulator.adjust(|options| options.clock_skew = skew);
        let gateway = Upstream::before(simulator.origin()).await;
        let address = gateway.address;
        let dated = Upstream::answering_later(move |seen| async move {
            let mut response = crate::harness::upstream::relay(address, seen).await;
            let now = httpdate::fmt_http_date(std::time::SystemTime::now());
            response.headers_mut().insert("date", now.parse().unwrap());
            response
        })
        .await;
        let yaml = config(&[crm(&dated.url(""), "")], &[route("crm", &dated.url("/crmapi/rest/v2"), "crm", "")]);
        let proxy = Proxy::start(&yaml).await;
        for _ in 0..20 {
            assert_eq!(token_number(&get(proxy.address(), "/crm/a").await), Some(1), "{skew}");
        }
        assert_eq!((simulator.token_requests(), simulator.refused()), (1, 0), "{skew}");
    }
}

#[tokio::test]
async fn tokens_of_a_clock_two_hours_off_live_as_long_as_others() {
    let run = |skew| async move {
        let simulator = simulate(CrmCom::default()).await;
        simulator.adjust(|options| {
            options.clock_skew = skew;
            options.lifetime = Some(Duration::from_secs(3));
        });
        let upstream = format!("{}/crmapi/rest/v2", simulator.origin());
        let yaml = config(&[crm(simulator.origin(), "")], &[route("crm", &upstream, "crm", "")]);
        let proxy = Proxy::start(&yaml).await;
        let load = Load::of_gets(proxy.address(), 2, Duration::from_millis(20), "/crm/a");
        tokio::time::sleep(Duration::from_secs(7)).await;
        load.stop().await.assert_all_served(50);
        // Renewed after 80 % of three seconds, or a second earlier where `Date` was rounded down.
        assert!((3..=6).contains(&simulator.token_requests()), "{skew}: {}", simulator.token_requests());
        assert_eq!(simulator.refused(), 0, "{skew}");
    };
    tokio::join!(run(0), run(TWO_HOURS), run(-TWO_HOURS));
}
