//! CRM.COM's tokens are given up when nobody uses them any more: at the end, and when a reload takes
//! the credential away; never while somebody goes on with them.

use std::time::Duration;

use http::Request;
use http_body_util::Full;
use tokenferry::demo::{CrmCom, Simulator};

use crate::harness::client::{Connection, get, token_number};
use crate::harness::eventually;
use crate::harness::mix::Mix;
use crate::harness::process::Process;
use crate::harness::redis::RedisServer;
use crate::harness::vendors::{config, crm, route, simulate};

fn yaml(simulator: &Simulator, more: &str) -> String {
    let upstream = format!("{}/crmapi/rest/v2", simulator.origin());
    let yaml = config(&[crm(simulator.origin(), ", release: true")], &[route("crm", &upstream, "crm", "")]);
    format!("{more}{yaml}")
}

/// A proxy that has a token.
async fn in_use(simulator: &Simulator, more: &str) -> Process {
    let process = Process::start(&yaml(simulator, more), &[]);
    assert!(token_number(&get(process.address, "/crm/a").await).is_some());
    process
}

#[tokio::test]
async fn a_proxy_that_ends_gives_its_token_up() {
    let simulator = simulate(CrmCom::default()).await;
    let process = in_use(&simulator, "").await;
    process.signal("TERM");
    let (status, log) = process.ended().await;
    assert!(status.success(), "{log}");
    assert_eq!((simulator.released(), simulator.tokens_issued()), (1, 1));
    assert!(log.contains("token given up"), "{log}");
}

#[tokio::test]
async fn an_admin_port_and_who_is_connected_to_it_keep_no_token() {
    let simulator = simulate(CrmCom::default()).await;
    let process = in_use(&simulator, "admin: {address: '127.0.0.1:0', ready_when: tokens}\n").await;
    let mut kept = Connection::open(process.admin().await).await;
    let status = kept.send(Request::get("/api/v1/status").body(Full::default()).unwrap()).await.unwrap();
    assert_eq!(status.status(), 200);
    process.signal("TERM");
    let (status, log) = process.ended().await;
    assert!(status.success(), "{log}");
    assert_eq!((simulator.released(), simulator.tokens_issued()), (1, 1), "{log}");
}

#[tokio::test]
async fn a_credential_that_is_taken_out_gives_its_token_up_once_no_request_is_under_way_with_it() {
    let simulator = simulate(CrmCom::default()).await;
    let process = in_use(&simulator, "").await;
    let slow = Mix { reads: 0, uploads: 0, late_answers: 1, late: Duration::from_secs(2), slow_uploads: 0 };
    let address = process.address;
    let before = simulator.data_requests();
    let clients = slow.start("/crm/a", move |_, _| address);
    eventually("a request is under way", || simulator.data_requests() > before).await;
    process.rewrite("routes: [{name: crm, respond: 204}]\n");
    eventually("it is taken", || process.taken() == 2).await;
    assert_eq!(simulator.released(), 0, "a request is under way with it");
    // Answered with the token that it began with; what it asks for after that is the new file's 204.
    let sum = clients.stop().await;
    assert_eq!(sum.statuses.get(&200), Some(&1), "{:?}", sum.statuses);
    eventually("it is given up", || simulator.released() == 1).await;
}

#[tokio::test]
async fn a_vendor_that_does_not_answer_holds_nobody_up() {
    let simulator = simulate(CrmCom::default()).await;
    let process = in_use(&simulator, "").await;
    drop(simulator);
    process.signal("TERM");
    let (status, log) = process.ended().await;
    assert!(status.success() && log.contains("could not be given up"), "{log}");
}

#[tokio::test]
async fn a_token_that_replicas_share_or_that_is_handed_over_is_not_given_up() {
    let (simulator, redis) = (simulate(CrmCom::default()).await, RedisServer::start());
    let store = format!(
        "store: {{kind: redis, url: \"{}\", encryption_key: q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA=}}\n",
        redis.url()
    );
    let process = in_use(&simulator, &store).await;
    process.signal("TERM");
    assert!(process.ended().await.0.success());
    assert_eq!(simulator.released(), 0, "another replica may use it");
    // And the next one does.
    let process = in_use(&simulator, &store).await;
    assert_eq!(simulator.tokens_issued(), 1);
    drop(process);

    let old = in_use(&simulator, "handover: next.sock\n").await;
    let new = old.successor().await;
    let (status, log) = old.ended().await;
    assert!(status.success(), "{log}");
    assert!(token_number(&get(new.address, "/crm/a").await).is_some());
    assert_eq!((simulator.released(), simulator.tokens_issued()), (0, 2));
}
