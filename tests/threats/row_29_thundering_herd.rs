//! Row 29: a herd of requests for one token. However many wait, one login is under way.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Request;
use http_body_util::Full;
use tokenferry::demo::{Crewmojo, CrmCom};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::Barrier;

use crate::harness::client::{Connection, assert_unavailable, get, text, token_number};
use crate::harness::eventually;
use crate::harness::proxy::Proxy;
use crate::harness::vendors::{config, crewmojo, crm, route, simulate};

#[tokio::test]
async fn five_hundred_cold_requests_at_once_make_one_token_request() {
    const CLIENTS: usize = 500;
    let simulator = simulate(Crewmojo::default()).await;
    simulator.adjust(|options| options.token_delay = Duration::from_secs(1));
    let yaml = config(
        &[crewmojo(simulator.origin(), "")],
        &[route("crewmojo", &format!("{}/v1", simulator.origin()), "crewmojo", "")],
    );
    let proxy = Proxy::start(&format!("workers: 2\n{yaml}")).await;
    let start = Arc::new(Barrier::new(CLIENTS));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (start, address) = (Arc::clone(&start), proxy.address());
            tokio::spawn(async move {
                let mut connection = Connection::open(address).await;
                start.wait().await;
                connection.send(Request::get("/crewmojo/employees").body(Full::default()).unwrap()).await.unwrap()
            })
        })
        .collect();
    for client in clients {
        let answer = client.await.unwrap();
        assert_eq!((answer.status().as_u16(), token_number(&answer)), (200, Some(1)), "{}", text(&answer));
    }
    assert_eq!((simulator.token_requests(), simulator.tokens_issued()), (1, 1));
}

/// A token that nobody used is not renewed, and is dead when they all come.
#[tokio::test]
async fn a_herd_at_the_end_of_a_token_makes_one_token_request() {
    let simulator = simulate(Crewmojo::default()).await;
    simulator.adjust(|options| options.lifetime = Some(Duration::from_secs(1)));
    let upstream = format!("{}/v1", simulator.origin());
    let yaml = config(&[crewmojo(simulator.origin(), "")], &[route("crewmojo", &upstream, "crewmojo", "")]);
    let proxy = Proxy::start(&format!("workers: 2\n{yaml}")).await;
    let address = proxy.address();
    assert_eq!(token_number(&get(address, "/crewmojo/a").await), Some(1));
    tokio::time::sleep(Duration::from_millis(1100)).await;
    simulator.adjust(|options| {
        options.lifetime = None;
        options.token_delay = Duration::from_millis(500);
    });
    let herd: Vec<_> = (0..200).map(|_| tokio::spawn(async move { get(address, "/crewmojo/b").await })).collect();
    for request in herd {
        let answer = request.await.unwrap();
        assert_eq!((answer.status().as_u16(), token_number(&answer)), (200, Some(2)), "{}", text(&answer));
    }
    assert_eq!((simulator.token_requests(), simulator.refused()), (2, 0));
}

#[tokio::test]
async fn who_asked_first_may_go_and_the_login_goes_on_for_the_others() {
    let simulator = simulate(CrmCom::default()).await;
    simulator.adjust(|options| options.token_delay = Duration::from_secs(1));
    let yaml = config(
        &[crm(simulator.origin(), "")],
        &[route("crm", &format!("{}/crmapi/rest/v2", simulator.origin()), "crm", "")],
    );
    let proxy = Proxy::start(&yaml).await;
    let mut first = TcpStream::connect(proxy.address()).await.unwrap();
    first.write_all(b"GET /crm/a HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    eventually("the login is under way", || simulator.token_requests() == 1).await;
    drop(first);
    let second = get(proxy.address(), "/crm/b").await;
    assert_eq!((token_number(&second), simulator.token_requests()), (Some(1), 1));
}

#[tokio::test]
async fn a_requests_patience_ends_and_the_login_goes_on() {
    let simulator = simulate(Crewmojo::default()).await;
    simulator.adjust(|options| options.token_delay = Duration::from_secs(2));
    let patience = ", timeouts: {token: 200ms}";
    let yaml = config(
        &[crewmojo(simulator.origin(), "")],
        &[route("crewmojo", &format!("{}/v1", simulator.origin()), "crewmojo", patience)],
    );
    let proxy = Proxy::start(&yaml).await;
    let began = Instant::now();
    assert_unavailable(&get(proxy.address(), "/crewmojo/a").await, "token_timeout");
    assert!(began.elapsed() >= Duration::from_millis(200));
    eventually("the token has come", || simulator.tokens_issued() == 1).await;
    let deadline = Instant::now() + Duration::from_secs(10);
    let served = loop {
        let answer = get(proxy.address(), "/crewmojo/a").await;
        if answer.status() == 200 {
            break answer;
        }
        assert!(Instant::now() < deadline, "{}", text(&answer));
    };
    assert_eq!((token_number(&served), simulator.token_requests()), (Some(1), 1));
}

#[tokio::test]
async fn two_routes_and_two_names_of_one_login_share_its_token() {
    let simulator = simulate(CrmCom::default()).await;
    let origin = simulator.origin();
    let upstream = format!("{origin}/crmapi/rest/v2");
    let other = crm(origin, ", lifetime: 1h").replacen("crm:", "again:", 1);
    let yaml = config(
        &[crm(origin, ""), other],
        &[route("a", &upstream, "crm", ""), route("b", &upstream, "crm", ""), route("c", &upstream, "again", "")],
    );
    let proxy = Proxy::start(&format!("workers: 2\n{yaml}")).await;
    for path in ["/a/x", "/b/x", "/c/x", "/a/y"] {
        assert_eq!(token_number(&get(proxy.address(), path).await), Some(1), "{path}");
    }
    assert_eq!(simulator.token_requests(), 1);
}

#[tokio::test]
async fn more_than_may_wait_are_told_so_at_once() {
    let simulator = simulate(Crewmojo::default()).await;
    simulator.adjust(|options| options.token_delay = Duration::from_secs(2));
    let upstream = format!("{}/v1", simulator.origin());
    let few = ", limits: {waiting: 3}";
    let yaml = config(&[crewmojo(simulator.origin(), "")], &[route("crewmojo", &upstream, "crewmojo", few)]);
    let proxy = Proxy::start(&yaml).await;
    let address = proxy.address();
    let requests: Vec<_> = (0..20).map(|_| tokio::spawn(async move { get(address, "/crewmojo/a").await })).collect();
    let (mut served, mut refused) = (0, 0);
    for request in requests {
        let answer = request.await.unwrap();
        if answer.status() == 200 {
            served += 1;
        } else {
            assert_unavailable(&answer, "too_many_waiting");
            refused += 1;
        }
    }
    // One that came after the login was over would be served, too.
    assert!(served >= 3 && refused > 0, "{served} served, {refused} refused");
    assert_eq!(simulator.token_requests(), 1);
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
