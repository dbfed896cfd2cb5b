//! Inbound keys: what is wrong is told alike whatever is wrong, takes as long, and is slowed where it
//! comes too often. That keys are compared by nothing but a comparison in constant time is a rule of
//! the house (`house::keys_are_compared_in_constant_time_only`).

use std::time::{Duration, Instant};

use http::HeaderMap;
use tokenferry::access::{Access, Passwords};
use tokenferry::model::{AccessPolicy, ApiKey, KeyDigest, Visitor};
use tokio::runtime::Handle;

use crate::answers_of_its_own::is_problem;
use crate::harness::eventually;
use crate::harness::process::Process;
use crate::harness::proxy::Proxy;
use crate::harness::raw::{Wire, exchange};
use crate::harness::yaml::{one_route, routes};
use crate::limits::exchange_from;

fn with(key: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: x\r\nX-Api-Key: {key}\r\n\r\n")
}

const ACCESS: &str = "access: {api_keys: [{name: a, key: k3y-one}, {name: b, key: k3y-two}]}";

#[tokio::test]
async fn an_unknown_key_a_nearly_right_one_and_none_are_answered_alike() {
    let upstream = Wire::ok().await;
    let proxy = Proxy::start(&one_route(&upstream.url(""), ACCESS)).await;
    let mut told = Vec::new();
    for request in [with("nothing-like-it"), with("k3y-onf"), with("k3y-one2"), GET.to_owned()] {
        let answer = exchange(proxy.address(), request).await;
        is_problem(&answer, 401, "key_required");
        let mut problem = answer.json();
        problem["request_id"] = "".into();
        let lines = answer.head.lines().filter(|line| {
            let line = line.to_ascii_lowercase();
            !line.starts_with("x-request-id") && !line.starts_with("date")
        });
        told.push((lines.map(str::to_owned).collect::<Vec<_>>(), problem));
    }
    assert!(told.windows(2).all(|pair| pair[0] == pair[1]), "{told:?}");
    assert_eq!(upstream.accepted(), 0);
}

const GET: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

/// How long a key takes to be judged must not tell how near it is. Of a hundred thousand tries, the
/// medians of the four kinds lie within a wide band, which a search that ends at the first of the keys
/// would leave at once.
#[tokio::test]
async fn a_hundred_thousand_keys_take_as_long_whatever_is_wrong_with_them() {
    const KEYS: usize = 8;
    const TRIES: usize = 25_000;

    let named = |n: usize| format!("k3y-{n:04}-{}", "s".repeat(24));
    let api_keys =
        (0..KEYS).map(|n| ApiKey { name: n.to_string(), digest: KeyDigest::of(named(n).as_bytes()) }).collect();
    let access =
        Access::new(AccessPolicy { api_keys, ..AccessPolicy::default() }, None, Passwords::new(Handle::current()));
    let headers = |key: &str| {
        let mut headers = HeaderMap::new();
        headers.insert("x-api-key", key.parse().unwrap());
        headers
    };
    let mut nearly = named(0);
    nearly.replace_range(nearly.len() - 1.., "t");
    let kinds = [headers(&"u".repeat(named(0).len())), headers(&nearly), headers(&named(0)), headers(&named(KEYS - 1))];
    let mut times = vec![Vec::with_capacity(TRIES); kinds.len()];
    // One after the other, so that what else this machine does is shared alike.
    for _ in 0..TRIES {
        for (kind, times) in kinds.iter().zip(&mut times) {
            let began = Instant::now();
            let _ = std::hint::black_box(access.admit(&Visitor::default(), kind));
            times.push(began.elapsed());
        }
    }
    let medians: Vec<Duration> = times
        .iter_mut()
        .map(|times| {
            times.sort_unstable();
            times[times.len() / 2]
        })
        .collect();
    let (least, most) = (*medians.iter().min().unwrap(), *medians.iter().max().unwrap());
    println!("medians: {medians:?}");
    assert!(most < least.mul_f64(1.3), "unknown, nearly right, the first and the last right one: {medians:?}");
}

#[tokio::test]
async fn who_tries_keys_is_slowed_and_a_right_one_among_them_tells_nothing() {
    let upstream = Wire::ok().await;
    let yaml = format!("limits: {{wrong_keys: {{rate: 10/h, burst: 10}}}}\n{}", one_route(&upstream.url(""), ACCESS));
    let process = Process::start(&yaml, &[]);
    let (there, here) = ("127.0.0.2", "127.0.0.1");
    // Somebody honest works at the address from which the guessing will come.
    assert_eq!(exchange_from(there, process.address, &with("k3y-two")).await.status(), 200);
    for n in 0..10 {
        let answer = exchange_from(there, process.address, &with(&format!("guess-{n}"))).await;
        is_problem(&answer, 401, "key_required");
    }
    for key in ["guess-11", "k3y-one", "guess-12"] {
        let answer = exchange_from(there, process.address, &with(key)).await;
        is_problem(&answer, 429, "too_many_wrong_keys");
        let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((300..=360).contains(&wait), "{wait}");
    }
    assert_eq!(upstream.seen().len(), 1, "the right one was not looked at");
    assert_eq!(exchange_from(there, process.address, &with("k3y-two")).await.status(), 200, "the honest one goes on");
    is_problem(&exchange_from(there, process.address, GET).await, 401, "key_required");
    assert_eq!(exchange_from(here, process.address, &with("k3y-one")).await.status(), 200, "others are not slowed");
    eventually("the log tells of it", || process.log().contains("too many wrong keys")).await;
    let log = process.log();
    assert_eq!(log.matches("too many wrong keys").count(), 1, "{log}");
    assert!(log.contains("127.0.0.2") && !log.contains("guess-") && !log.contains("k3y-"), "{log}");
}

#[tokio::test]
async fn a_missing_key_is_no_guess_and_an_open_route_looks_at_none() {
    let yaml = format!(
        "limits: {{wrong_keys: {{rate: 1/h, burst: 1}}}}\n{}",
        routes(&format!(
            "- {{name: open, match: {{path: /open}}, respond: 204}}\n- {{name: a, respond: 204, {ACCESS}}}\n"
        ))
    );
    let proxy = Proxy::start(&yaml).await;
    for _ in 0..5 {
        assert_eq!(exchange(proxy.address(), GET).await.status(), 401);
        assert_eq!(exchange(proxy.address(), with("x").replace(" / ", " /open ")).await.status(), 204);
    }
    assert_eq!(exchange(proxy.address(), with("k3y-one")).await.status(), 204);
    assert_eq!(exchange(proxy.address(), with("x")).await.status(), 401);
    assert_eq!(exchange(proxy.address(), with("x")).await.status(), 429);
    assert_eq!(exchange(proxy.address(), with("k3y-one")).await.status(), 204, "known from here");
    assert_eq!(exchange(proxy.address(), with("k3y-two")).await.status(), 429);
}
