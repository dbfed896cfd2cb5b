//! How often, how many at once, how slowly: what is over a bound is refused, and nobody else pays.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;
use http::Request;
use http_body_util::Full;
use tokio::net::TcpSocket;
use tokio::sync::Semaphore;

use crate::answers_of_its_own::is_problem;
use crate::harness::eventually;
use crate::harness::proxy::Proxy;
use crate::harness::raw::{End, Message, Wire, exchange};
use crate::harness::yaml::{one_route, routes};
use crate::protocols::http2_client;

const GET: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

/// Connects from this address of loopback.
pub(crate) async fn connect_from(address: &str, to: SocketAddr) -> End {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(address.parse().unwrap(), 0)).unwrap();
    End::over(socket.connect(to).await.unwrap())
}

/// One request from this address of loopback.
pub(crate) async fn exchange_from(address: &str, to: SocketAddr, request: &str) -> Message {
    let mut end = connect_from(address, to).await;
    end.send(request).await;
    end.answer().await
}

/// Statuses of so many requests.
async fn ask(proxy: &Proxy, request: &str, times: usize) -> Vec<u16> {
    let mut statuses = Vec::new();
    for _ in 0..times {
        statuses.push(exchange(proxy.address(), request).await.status());
    }
    statuses
}

fn over(answer: &Message, code: &str) {
    is_problem(answer, 429, code);
    let wait: u64 = answer.header("retry-after").unwrap_or_else(|| panic!("{answer:?}")).parse().unwrap();
    assert!((1..=3600).contains(&wait), "{answer:?}");
}

/// An upstream that holds each request until there is a permit for it.
async fn holding(permits: &Arc<Semaphore>) -> Wire {
    let permits = Arc::clone(permits);
    Wire::start(move |mut caller| {
        let permits = Arc::clone(&permits);
        async move {
            while caller.request().await.is_some() {
                permits.acquire().await.unwrap().forget();
                caller.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_route_over_its_rate_is_answered_429_and_others_are_served() {
    let upstream = Wire::ok().await;
    let yaml = routes(&format!(
        "- {{name: few, match: {{path: /few}}, upstream: {0}, credential: none, limits: {{rate: 2/h, burst: 3}}}}\n\
         - {{name: rest, upstream: {0}, credential: none}}\n",
        upstream.url("")
    ));
    let proxy = Proxy::start(&yaml).await;
    let few = GET.replace(" / ", " /few ");
    assert_eq!(ask(&proxy, &few, 4).await, [200, 200, 200, 429]);
    over(&exchange(proxy.address(), &few).await, "rate_limited");
    assert_eq!(ask(&proxy, GET, 4).await, [200; 4]);
    // Refused over one connection, and asked on over the same one.
    let mut client = End::connect(proxy.address()).await;
    for (request, status) in [(few.as_str(), 429), (GET, 200), (few.as_str(), 429)] {
        client.send(request).await;
        assert_eq!(client.answer().await.status(), status);
    }
    let few_seen = upstream.seen().iter().filter(|seen| seen.target() == "/").count();
    assert_eq!(few_seen, upstream.seen().len(), "a prefix is replaced");
    assert_eq!(upstream.seen().len(), 3 + 4 + 1, "what was refused went nowhere");
}

#[tokio::test]
async fn a_reload_leaves_what_was_used_of_a_rule_that_it_does_not_change() {
    let yaml =
        |rate: &str, status: u16| routes(&format!("- {{name: a, respond: {status}, limits: {{rate: {rate}}}}}\n"));
    let proxy = Proxy::start_unwatched(&yaml("1/h", 204)).await;
    assert_eq!(ask(&proxy, GET, 2).await, [204, 429]);
    for (rate, statuses) in [("1/h", [429, 429]), ("2/h", [205, 429])] {
        proxy.rewrite(&yaml(rate, 205));
        proxy.hang_up().await;
        // Once the new one is in force another path's refusal does not tell; the generation does.
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(ask(&proxy, GET, 2).await, statuses, "{rate}");
    }
}

#[tokio::test]
async fn addresses_are_counted_each_for_itself() {
    let yaml = routes("- {name: a, respond: 204, limits: {rate: {rate: 2/h, burst: 2, per: address}}}\n");
    let proxy = Proxy::start(&yaml).await;
    for address in ["127.0.0.1", "127.0.0.2"] {
        for status in [204, 204, 429, 429] {
            assert_eq!(exchange_from(address, proxy.address(), GET).await.status(), status, "{address}");
        }
    }
    over(&exchange_from("127.0.0.2", proxy.address(), GET).await, "rate_limited");
}

#[tokio::test]
async fn keys_are_counted_each_for_itself_and_a_flood_without_one_takes_nothing_from_them() {
    let yaml = routes(
        "- {name: a, respond: 204, access: {api_keys: [{name: one, key: k3y-one}, {name: two, key: k3y-two}]}, \
         limits: {rate: [{rate: 2/h, burst: 2, per: key}, {rate: 3/h, burst: 3}]}}\n",
    );
    let proxy = Proxy::start(&yaml).await;
    assert_eq!(ask(&proxy, GET, 20).await, [401; 20]);
    let by = |key: &str| format!("GET / HTTP/1.1\r\nHost: x\r\nX-Api-Key: {key}\r\n\r\n");
    assert_eq!(ask(&proxy, &by("k3y-one"), 10).await[..3], [204, 204, 429]);
    assert_eq!(ask(&proxy, &by("k3y-two"), 2).await, [204, 429], "three for all, and one of them was left");
}

#[tokio::test]
async fn only_so_many_requests_are_under_way_on_a_route_whatever_becomes_of_them() {
    let permits = Arc::new(Semaphore::new(0));
    let upstream = holding(&permits).await;
    let yaml = format!("workers: 2\n{}", one_route(&upstream.url(""), "limits: {concurrency: 3}"));
    let proxy = Proxy::start(&yaml).await;
    let begin = || async {
        let mut client = End::connect(proxy.address()).await;
        client.send(GET).await;
        client
    };
    let mut three = Vec::new();
    for begun in 1..=3 {
        three.push(begin().await);
        eventually("it is at the upstream", || upstream.seen().len() == begun).await;
    }
    for _ in 0..5 {
        let answer = exchange(proxy.address(), GET).await;
        over(&answer, "too_many_requests");
        assert_eq!(answer.header("retry-after"), Some("1"));
    }
    // The first has its answer, and one client goes away: there is room for two.
    permits.add_permits(1);
    assert_eq!(three.remove(0).answer().await.status(), 200);
    drop(three.pop());
    let two = crowd(proxy.address(), 2).await;
    over(&exchange(proxy.address(), GET).await, "too_many_requests");
    permits.add_permits(20);
    for mut client in three.into_iter().chain(two) {
        assert_eq!(client.answer().await.status(), 200);
    }
}

/// So many that are let in and wait for their answer, as soon as there is room for them.
async fn crowd(address: SocketAddr, size: usize) -> Vec<End> {
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut crowd = Vec::new();
    while crowd.len() < size {
        assert!(Instant::now() < deadline, "room for {size}, and {} found it", crowd.len());
        let mut client = End::connect(address).await;
        client.send(GET).await;
        match tokio::time::timeout(Duration::from_millis(500), client.head()).await {
            Err(_) => crowd.push(client),
            Ok(head) => assert_eq!(head.unwrap().status(), 429),
        }
    }
    crowd
}

#[tokio::test]
async fn a_request_is_under_way_no_longer_however_it_ended() {
    let permits = Arc::new(Semaphore::new(0));
    let its = Arc::clone(&permits);
    let upstream = Wire::start(move |mut caller| {
        let permits = Arc::clone(&its);
        async move {
            while let Some(head) = caller.head().await {
                match head.target() {
                    "/breaks-off" => return,
                    "/in-the-body" => return caller.say("HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nok").await,
                    "/tunnel" => {
                        let switch =
                            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo/1\r\n\r\n";
                        return caller.say(switch).await;
                    }
                    _ => permits.acquire().await.unwrap().forget(),
                }
                caller.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
            }
        }
    })
    .await;
    let more = "upgrades: [echo/1]\nlimits: {concurrency: 3}";
    let yaml = format!("workers: 2\n{}", one_route(&upstream.url(""), more));
    let proxy = Proxy::start(&yaml).await;
    let ends = [
        "GET /breaks-off HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /in-the-body HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /tunnel HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo/1\r\n\r\n",
    ];
    for (request, status) in ends.into_iter().zip([502, 200, 101]) {
        let mut met = Vec::new();
        for _ in 0..3 {
            let mut client = End::connect(proxy.address()).await;
            client.send(request).await;
            // After 502 the connection stays.
            let head = if status == 502 { client.answer().await } else { client.head().await.unwrap() };
            met.push(head.status());
            if status != 502 {
                client.rest().await;
            }
        }
        assert_eq!(met, [status; 3], "{request}");
        three_fit(&proxy, &permits).await;
    }
    // Streams of HTTP/2 that are reset, while their connection stays.
    let http2 = http2_client::<Full<Bytes>>(proxy.address()).await;
    let before = upstream.seen().len();
    let streams: Vec<_> = (0..3)
        .map(|_| {
            let mut http2 = http2.clone();
            let request = Request::get("http://x/").body(Full::<Bytes>::default()).unwrap();
            tokio::spawn(async move { http2.send_request(request).await.map(|answer| answer.status()) })
        })
        .collect();
    eventually("three are at the upstream", || upstream.seen().len() == before + 3).await;
    for stream in streams {
        stream.abort();
    }
    three_fit(&proxy, &permits).await;
}

/// Three are let in at once, and no fourth.
async fn three_fit(proxy: &Proxy, permits: &Semaphore) {
    let three = crowd(proxy.address(), 3).await;
    over(&exchange(proxy.address(), GET).await, "too_many_requests");
    // Those whose clients are gone may take some of them.
    permits.add_permits(6);
    for mut client in three {
        assert_eq!(client.answer().await.status(), 200);
    }
    permits.forget_permits(6);
}

#[tokio::test]
async fn connections_above_the_bound_wait_until_one_closes() {
    for whole in [false, true] {
        let listener = if whole { "" } else { ", connections: 2" };
        let all = if whole { "limits: {connections: 2}\n" } else { "" };
        let yaml = format!(
            "listeners: [{{address: '127.0.0.1:0'{listener}}}]\n{all}{}",
            routes("- {name: a, respond: 204}\n")
        );
        let proxy = Proxy::start(&yaml).await;
        let mut two = Vec::new();
        for _ in 0..2 {
            let mut client = End::connect(proxy.address()).await;
            client.send(GET).await;
            assert_eq!(client.answer().await.status(), 204);
            two.push(client);
        }
        let mut third = End::connect(proxy.address()).await;
        third.send(GET).await;
        let waits = tokio::time::timeout(Duration::from_millis(500), third.head()).await;
        assert!(waits.is_err(), "{waits:?}");
        two[1].send(GET).await;
        assert_eq!(two[1].answer().await.status(), 204, "who is in is served");
        drop(two.remove(0));
        assert_eq!(third.answer().await.status(), 204);
    }
}

#[tokio::test]
async fn several_listeners_together_let_in_no_more_than_there_may_be_in_all() {
    let yaml = format!(
        "listeners: [{{address: '127.0.0.1:0'}}, {{address: '127.0.0.2:0'}}, {{address: '127.0.0.3:0'}}]\n\
         limits: {{connections: 1}}\n{}",
        routes("- {name: a, respond: 204}\n")
    );
    let proxy = Proxy::start(&yaml).await;
    let mut clients = Vec::new();
    for place in 0..3 {
        let mut client = End::connect(proxy.address_of(place)).await;
        client.send(GET).await;
        clients.push(client);
        if place == 0 {
            assert_eq!(clients[0].answer().await.status(), 204);
        }
    }
    for waits in &mut clients[1..] {
        let served = tokio::time::timeout(Duration::from_millis(500), waits.head()).await;
        assert!(served.is_err(), "{served:?}");
    }
    drop(clients.remove(0));
    let turns = clients.into_iter().map(|mut client| async move { client.answer().await.status() });
    assert_eq!(join_all(turns.map(tokio::spawn)).await.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [204; 2]);
}

#[tokio::test]
async fn connections_that_nobody_uses_make_room_for_those_that_wait() {
    let yaml = format!("limits: {{connections: 2}}\n{}", routes("- {name: a, respond: 204}\n"));
    let proxy = Proxy::start(&yaml).await;
    let mut idle = Vec::new();
    for _ in 0..2 {
        let mut client = End::connect(proxy.address()).await;
        client.send(GET).await;
        assert_eq!(client.answer().await.status(), 204);
        idle.push(client);
    }
    let mut waits = End::connect(proxy.address()).await;
    waits.send(GET).await;
    // Far sooner than `client.idle_timeout` of 75 s.
    assert_eq!(waits.answer().await.status(), 204);
    assert!(idle[0].is_over().await && idle[1].is_over().await);
}

#[tokio::test]
async fn a_body_that_drips_is_answered_408_and_one_that_comes_at_a_pace_is_taken() {
    let upstream = Wire::ok().await;
    let plain = one_route(&upstream.url(""), "timeouts: {body: 1s}\nlimits: {body_rate: 100}");
    let spliced = plain.replace("token: T0K3N", "token: T0K3N, inject: {json: token}");
    for yaml in [&plain, &spliced] {
        let proxy = Proxy::start(yaml).await;
        let mut client = End::connect(proxy.address()).await;
        client
            .send("POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n")
            .await;
        let began = Instant::now();
        // Twenty bytes a second, and none of them late.
        let mut answered = false;
        while began.elapsed() < Duration::from_secs(10) && !answered {
            client.send(" ").await;
            answered = tokio::time::timeout(Duration::from_millis(50), client.peek()).await.is_ok();
        }
        is_problem(&client.answer().await, 408, "body_timeout");
        assert!(client.is_over().await);
        assert!((Duration::from_millis(900)..Duration::from_secs(5)).contains(&began.elapsed()));
    }
    let proxy = Proxy::start(&plain).await;
    let mut client = End::connect(proxy.address()).await;
    client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2000\r\n\r\n").await;
    for _ in 0..20 {
        client.send([b'x'; 100]).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(client.answer().await.status(), 200);
}

#[tokio::test]
async fn a_body_that_its_upstream_does_not_take_is_no_slow_client() {
    let permits = Arc::new(Semaphore::new(0));
    let its = Arc::clone(&permits);
    let upstream = Wire::start(move |mut caller| {
        let its = Arc::clone(&its);
        async move {
            caller.head().await;
            its.acquire().await.unwrap().forget();
            caller.end.exactly(4 << 20).await;
            caller.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        }
    })
    .await;
    let yaml = one_route(&upstream.url(""), "timeouts: {body: 5s}\nlimits: {body_rate: 1MiB}");
    let proxy = Proxy::start(&yaml).await;
    let mut client = End::connect(proxy.address()).await;
    client.send(format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", 4 << 20)).await;
    let release = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        permits.add_permits(1);
    };
    let body = vec![b'x'; 4 << 20];
    tokio::join!(client.send(body), release);
    assert_eq!(client.answer().await.status(), 200);
}
