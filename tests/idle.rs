//! A token that dies when unused, and one that is used.

use std::time::Duration;

use tokenferry::demo::CrmCom;

use crate::harness::client::{get, token_number};
use crate::harness::load::Load;
use crate::harness::proxy::Proxy;
use crate::harness::vendors::{config, crm, route, simulate};

#[tokio::test]
async fn a_token_unused_for_its_idle_lifetime_is_dead_and_one_in_use_is_not() {
    let simulator = simulate(CrmCom::default()).await;
    let upstream = format!("{}/crmapi/rest/v2", simulator.origin());
    let idle = ", idle_lifetime: 3s";
    let proxy = Proxy::start(&config(&[crm(simulator.origin(), idle)], &[route("crm", &upstream, "crm", "")])).await;
    let load = Load::of_gets(proxy.address(), 2, Duration::from_millis(50), "/crm/a");
    tokio::time::sleep(Duration::from_secs(4)).await;
    load.stop().await.assert_all_served(10);
    assert_eq!(simulator.token_requests(), 1, "a token in use lives on");
    tokio::time::sleep(Duration::from_millis(3200)).await;
    assert_eq!(simulator.token_requests(), 1, "none is fetched while nobody asks");
    assert_eq!(token_number(&get(proxy.address(), "/crm/a").await), Some(2));
    assert_eq!(simulator.token_requests(), 2);
}

#[tokio::test]
async fn a_token_that_nobody_uses_is_not_renewed() {
    let simulator = simulate(CrmCom::default()).await;
    simulator.adjust(|options| options.lifetime = Some(Duration::from_secs(2)));
    let upstream = format!("{}/crmapi/rest/v2", simulator.origin());
    let proxy = Proxy::start(&config(&[crm(simulator.origin(), "")], &[route("crm", &upstream, "crm", "")])).await;
    assert_eq!(token_number(&get(proxy.address(), "/crm/a").await), Some(1));
    tokio::time::sleep(Duration::from_millis(3200)).await;
    assert_eq!(simulator.token_requests(), 1);
    assert_eq!(token_number(&get(proxy.address(), "/crm/a").await), Some(2));
    assert_eq!(simulator.refused(), 0);
}
