//! What is counted of real requests.

use tokenferry::demo::Crewmojo;
use tokenferry::telemetry::metrics::{Connections, Metrics, RouteTotals};

use crate::harness::client::{Connection, get, post};
use crate::harness::eventually;
use crate::harness::nobody::Nobody;
use crate::harness::proxy::Proxy;
use crate::harness::raw::{End, Wire};
use crate::harness::upstream::Upstream;
use crate::harness::vendors::{config, crewmojo, route, simulate};
use crate::harness::yaml::one_route;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// The sums of this route, once there are so many requests in them: a request is counted with its
/// answer's last byte, which the client may have before.
async fn counted(metrics: &Metrics, name: &str, requests: u64) -> RouteTotals {
    let of = || metrics.routes().into_iter().find(|route| &*route.name == name);
    eventually(&format!("{requests} requests of {name}"), || of().is_some_and(|route| route.requests >= requests))
        .await;
    let sums = of().unwrap();
    assert_eq!(sums.requests, requests, "{sums:?}");
    sums
}

#[tokio::test]
async fn requests_are_counted_by_route_method_and_status_over_all_workers() {
    let upstream = Upstream::start().await;
    let routes = [route("a", &upstream.url("/"), "none", ""), route("b", &upstream.url("/"), "none", "")];
    let yaml = format!("workers: 3\n{}", config(&[], &routes).replace("credentials:\n", ""));
    let proxy = Proxy::start(&yaml).await;
    for _ in 0..6 {
        get(proxy.address(), "/a/x").await;
    }
    post(proxy.address(), "/a/x", "text/plain", "12345").await;
    get(proxy.address(), "/b").await;
    get(proxy.address(), "/nowhere").await;

    let a = counted(&proxy.metrics, "a", 7).await;
    assert_eq!(a.answers, [(("GET", 200), 6), (("POST", 200), 1)].into());
    assert_eq!((a.errors, a.received, a.sent), (0, 5, 14), "bytes of bodies");
    assert_eq!((a.duration.count(), a.upstream.count()), (7, 7));
    assert!(a.duration.sum_seconds >= a.upstream.sum_seconds && a.upstream.sum_seconds > 0.0, "{a:?}");
    assert_eq!(a.token_wait.count(), 0, "it needs no token");
    assert!(a.refusals.is_empty() && a.replays.is_empty(), "{a:?}");
    assert_eq!(counted(&proxy.metrics, "b", 1).await.sent, 2);
    let nowhere = counted(&proxy.metrics, "none", 1).await;
    assert_eq!(nowhere.answers, [(("GET", 404), 1)].into());
    assert_eq!((nowhere.refusals.values().sum::<u64>(), nowhere.upstream.count()), (1, 0), "{nowhere:?}");
}

#[tokio::test]
async fn waits_for_tokens_and_replays_after_a_refused_one_are_counted() {
    let simulator = simulate(Crewmojo::default()).await;
    simulator.adjust(|options| options.token_delay = std::time::Duration::from_millis(120));
    let upstream = format!("{}/v1", simulator.origin());
    let proxy =
        Proxy::start(&config(&[crewmojo(simulator.origin(), "")], &[route("it", &upstream, "crewmojo", "")])).await;
    for _ in 0..3 {
        assert_eq!(get(proxy.address(), "/it/humans").await.status(), 200);
    }
    let sums = counted(&proxy.metrics, "it", 3).await;
    assert_eq!(sums.token_wait.count(), 3, "each needed one");
    assert_eq!(sums.token_wait.buckets[0], 2, "for two it was at hand: {:?}", sums.token_wait);
    assert!(sums.token_wait.sum_seconds >= 0.12, "{:?}", sums.token_wait);
    assert!(sums.replays.is_empty(), "{sums:?}");

    simulator.revoke_all();
    assert_eq!(get(proxy.address(), "/it/humans").await.status(), 200);
    let sums = counted(&proxy.metrics, "it", 4).await;
    assert_eq!(sums.replays, [("token_answered", 1)].into());
    assert_eq!(sums.answers, [(("GET", 200), 4)].into(), "the client saw no refusal");

    simulator.adjust(|options| options.refuse_every_token = true);
    assert_eq!(get(proxy.address(), "/it/humans").await.status(), 401);
    let sums = counted(&proxy.metrics, "it", 5).await;
    assert!(sums.replays.get("token_refused").is_some_and(|count| *count >= 1), "{sums:?}");
    assert_eq!((sums.answers.get(&("GET", 401)), sums.errors), (Some(&1), 0));
}

#[tokio::test]
async fn a_request_that_goes_out_again_on_another_connection_is_counted() {
    // The first request of a connection is answered, the second is read and the connection closed.
    let upstream = Wire::start(|mut caller| async move {
        caller.request().await;
        caller.say(OK).await;
        caller.request().await;
    })
    .await;
    let proxy = Proxy::start(&one_route(&upstream.url(""), "")).await;
    for _ in 0..2 {
        assert_eq!(get(proxy.address(), "/a").await.status(), 200);
    }
    let sums = counted(&proxy.metrics, "only", 2).await;
    assert_eq!(sums.replays, [("connection_answered", 1)].into());
}

#[tokio::test]
async fn a_client_that_goes_before_its_answer_is_counted_without_a_status() {
    let upstream = Wire::start(|mut caller| async move {
        caller.request().await;
        std::future::pending::<()>().await;
    })
    .await;
    let routes = [route("slow", &upstream.url("/"), "none", "")];
    let proxy = Proxy::start(&config(&[], &routes).replace("credentials:\n", "")).await;
    let mut client = End::connect(proxy.address()).await;
    client.send("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await;
    eventually("it reached the upstream", || !upstream.seen().is_empty()).await;
    drop(client);
    assert_eq!(counted(&proxy.metrics, "slow", 1).await.answers, [(("GET", 0), 1)].into());
}

#[tokio::test]
async fn an_upstream_that_is_away_is_an_error_with_its_refusals_code() {
    let gone = Nobody::there();
    let routes = [route("gone", &format!("http://{gone}/"), "none", "")];
    let proxy = Proxy::start(&config(&[], &routes).replace("credentials:\n", "")).await;
    get(proxy.address(), "/gone").await;
    let sums = counted(&proxy.metrics, "gone", 1).await;
    assert_eq!((sums.answers.clone(), sums.errors), ([(("GET", 502), 1)].into(), 1));
    assert_eq!(sums.refusals.values().sum::<u64>(), 1, "{sums:?}");
}

#[tokio::test]
async fn connections_are_counted_on_both_sides_while_they_are_open() {
    let (close, closing) = tokio::sync::watch::channel(false);
    let upstream = Wire::start(move |mut caller| {
        let mut closing = closing.clone();
        async move {
            let answers = async {
                while caller.request().await.is_some() {
                    caller.say(OK).await;
                }
            };
            tokio::select! {
                () = answers => {}
                _ = closing.wait_for(|now| *now) => {}
            }
        }
    })
    .await;
    let routes = [route("a", &upstream.url("/"), "none", "")];
    let proxy = Proxy::start(&format!("workers: 2\n{}", config(&[], &routes).replace("credentials:\n", ""))).await;
    let mut clients = Vec::new();
    for _ in 0..4 {
        let mut client = Connection::open(proxy.address()).await;
        let request = http::Request::get("/a").body(http_body_util::Full::default()).unwrap();
        client.send(request).await.unwrap();
        clients.push(client);
    }
    let open = || proxy.metrics.connections();
    assert_eq!(open().clients, 4);
    assert!((1..=4).contains(&open().upstreams), "{:?}", open());
    drop(clients);
    eventually("the clients' are closed", || open().clients == 0).await;
    close.send(true).unwrap();
    eventually("the upstream's are closed", || open() == Connections::default()).await;
}

#[tokio::test]
async fn a_tunnel_is_a_connection_on_either_side_until_it_ends() {
    let upstream = Wire::start(|mut caller| async move {
        caller.request().await;
        caller.say("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo/1\r\n\r\n").await;
        while caller.end.through(b"\n").await.is_some() {
            caller.say("yes\n").await;
        }
    })
    .await;
    let proxy = Proxy::start(&one_route(&upstream.url(""), "upgrades: [echo/1]")).await;
    let mut client = End::connect(proxy.address()).await;
    client.send("GET /chat HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo/1\r\n\r\n").await;
    assert_eq!(client.head().await.unwrap().status(), 101);
    client.send("there?\n").await;
    assert_eq!(client.exactly(4).await, b"yes\n");
    let open = || proxy.metrics.connections();
    eventually("one on either side", || open() == Connections { clients: 1, upstreams: 1 }).await;
    drop(client);
    eventually("it has ended", || open() == Connections::default()).await;
}

#[tokio::test]
async fn counts_outlive_a_reload_and_a_route_that_is_gone_is_forgotten() {
    let upstream = Upstream::start().await;
    let yaml = |names: &[&str]| {
        let routes: Vec<_> = names.iter().map(|name| route(name, &upstream.url("/"), "none", "")).collect();
        config(&[], &routes).replace("credentials:\n", "")
    };
    let proxy = Proxy::start(&yaml(&["stays", "goes"])).await;
    get(proxy.address(), "/stays").await;
    get(proxy.address(), "/goes").await;
    counted(&proxy.metrics, "stays", 1).await;
    counted(&proxy.metrics, "goes", 1).await;
    proxy.rewrite(&yaml(&["stays", "new"]));
    let names = || proxy.metrics.routes().iter().map(|route| route.name.to_string()).collect::<Vec<_>>();
    eventually("the reload is taken by the worker", || names() == ["new", "none", "stays"]).await;
    get(proxy.address(), "/stays").await;
    counted(&proxy.metrics, "stays", 2).await;
}
