//! Inbound keys: what is wrong is told alike whatever is wrong, takes as long, and is slowed where it
//! comes too often. That keys are compared by nothing but a comparison in constant time is a rule of
//! the house (`house::keys_are_compared_in_constant_time_only`).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use argon2::{Argon2, Params, PasswordHasher as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use tokenferry::access::{Access, Passwords};
use tokenferry::demo::{Crewmojo, Simulator};
use tokenferry::model::{AccessPolicy, ApiKey, KeyDigest, Visitor};
use tokio::runtime::Handle;

use crate::answers_of_its_own::is_problem;
use crate::harness::eventually;
use crate::harness::process::Process;
use crate::harness::proxy::Proxy;
use crate::harness::raw::{End, Wire, exchange};
use crate::harness::upstream::Upstream;
use crate::harness::vendors::{config, crewmojo, route, simulate};
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

/// One wrong key an hour, then what is there.
const SLOW: &str = "limits: {wrong_keys: {rate: 1/h, burst: 1}}\n";

/// A route of one user, `alice:right`, whose password takes this much memory to check.
fn alice(memory: u32) -> String {
    let argon2 = Argon2::from(Params::new(memory, 2, 1, None).unwrap());
    let hash = argon2.hash_password(b"right").unwrap().to_string();
    format!(
        "{SLOW}{}",
        routes(&format!("- {{name: a, respond: 204, access: {{users: [{{name: alice, password: '{hash}'}}]}}}}\n"))
    )
}

fn by(pair: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {}\r\n\r\n", STANDARD.encode(pair))
}

#[tokio::test]
async fn passwords_that_are_tried_at_once_are_as_many_as_one_after_the_other() {
    let proxy = Proxy::start(&alice(19 << 10)).await;
    let address = proxy.address();
    let flood: Vec<_> = (0..60)
        .map(|n| tokio::spawn(async move { exchange(address, by(&format!("alice:wrong {n}"))).await.status() }))
        .collect();
    let mut statuses = BTreeMap::<u16, usize>::new();
    for one in flood {
        *statuses.entry(one.await.unwrap()).or_default() += 1;
    }
    assert_eq!(statuses, BTreeMap::from([(401, 1), (429, 59)]));
}

#[tokio::test]
async fn who_hangs_up_before_the_answer_has_tried_too() {
    let proxy = Proxy::start(&alice(64 << 10)).await;
    for n in 0..8 {
        let mut end = End::connect(proxy.address()).await;
        end.send(by(&format!("alice:wrong {n}"))).await;
        // Whatever the proxy has done of it by then, one of them at least has been read.
        tokio::time::sleep(Duration::from_millis(20)).await;
        drop(end);
    }
    let answer = exchange(proxy.address(), by("alice:wrong")).await;
    is_problem(&answer, 429, "too_many_wrong_keys");
}

/// A vendor, and a proxy whose route takes logins of those who have the key.
async fn with_logins(limits: &str, access: &str) -> (Proxy, (Upstream, Simulator)) {
    let simulator = simulate(Crewmojo::default()).await;
    let tap = Upstream::before(simulator.origin()).await;
    let listed = route("it", &tap.url("/v1"), "crewmojo", access);
    let yaml = format!("{limits}{}", config(&[crewmojo(&tap.url(""), "")], &[listed]));
    (Proxy::start(&yaml).await, (tap, simulator))
}

fn login_of(secret: &str) -> (String, String) {
    let body = format!("grant_type=client_credentials&client_id=a&client_secret={secret}");
    let form = "application/x-www-form-urlencoded";
    let length = body.len();
    (
        format!("POST /it/oauth/token HTTP/1.1\r\nHost: x\r\nContent-Type: {form}\r\nContent-Length: {length}\r\n\r\n"),
        body,
    )
}

async fn login(proxy: &Proxy, secret: &str) -> u16 {
    let (head, body) = login_of(secret);
    exchange(proxy.address(), head + &body).await.status()
}

#[tokio::test]
async fn logins_whose_bodies_come_all_at_once_are_as_many_as_one_after_the_other() {
    let access = ", access: {api_keys: [{name: a, key: k3y-one}]}";
    let (proxy, _vendor) = with_logins(SLOW, access).await;
    let mut all = Vec::new();
    for n in 0..50 {
        let (head, body) = login_of(&if n == 49 { "k3y-one".to_owned() } else { format!("wr{n:05}") });
        let mut end = End::connect(proxy.address()).await;
        end.send(head).await;
        all.push((end, body));
    }
    let mut statuses = Vec::new();
    for (mut end, body) in all {
        end.send(body).await;
        statuses.push(end.answer().await.status());
    }
    assert_eq!(statuses[0], 401);
    assert_eq!(statuses[1..], [429; 49], "the right one among them, too");
}

#[tokio::test]
async fn who_logged_in_before_goes_on_at_an_address_from_which_keys_are_tried() {
    let access = ", access: {api_keys: [{name: a, key: k3y-one}, {name: b, key: k3y-two}]}";
    let (proxy, _vendor) = with_logins(SLOW, access).await;
    assert_eq!(login(&proxy, "k3y-one").await, 200);
    assert_eq!([login(&proxy, "wrong").await, login(&proxy, "wrong").await], [401, 429]);
    assert_eq!(login(&proxy, "k3y-two").await, 429, "it is not looked at");
    assert_eq!(login(&proxy, "k3y-one").await, 200);
    // Its token is the key.
    let data = exchange(proxy.address(), with("k3y-one").replace(" / ", " /it/data ")).await;
    assert_eq!(data.status(), 200);
}

/// Somebody's own key, and another one that is tried beside it.
fn beside_own(path: &str, guess: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: x\r\nX-Api-Key: k3y-mine\r\nAuthorization: Bearer {guess}\r\n\r\n")
}

#[tokio::test]
async fn a_key_of_ones_own_lends_its_way_in_to_no_other() {
    let key = |name: &str| format!("{{name: {name}, key: k3y-{name}}}");
    let yaml = format!(
        "{SLOW}{}",
        routes(&format!(
            "- {{name: a, match: {{path: /a}}, respond: 204, access: {{api_keys: [{mine}]}}}}\n\
             - {{name: b, match: {{path: /b}}, respond: 204, access: {{api_keys: [{theirs}]}}}}\n",
            mine = key("mine"),
            theirs = key("theirs")
        ))
    );
    let proxy = Proxy::start(&yaml).await;
    let ask = async |path: &str, guess: &str| exchange(proxy.address(), beside_own(path, guess)).await;
    // On another route, where guesses were prepared beside the own key.
    let prepared: Vec<String> =
        (0..20).map(|n| if n == 19 { "k3y-theirs".to_owned() } else { format!("p{n}") }).collect();
    for guess in &prepared {
        assert_eq!(ask("/a", guess).await.status(), 204);
    }
    assert_eq!([ask("/b", "g1").await.status(), ask("/b", "g2").await.status()], [401, 429]);
    for guess in &prepared {
        is_problem(&ask("/b", guess).await, 429, "too_many_wrong_keys");
    }
    // The honest one, whose Authorization is another one's and changes.
    for n in 0..5 {
        assert_eq!(ask("/a", &format!("token-{n}")).await.status(), 204);
    }
}

#[tokio::test]
async fn beside_a_known_key_no_other_is_looked_at() {
    let key = |name: &str| format!("{{name: {name}, key: k3y-{name}}}");
    let list = format!(
        "- {{name: a, respond: 204, access: {{api_keys: [{}, {}]}}, limits: {{rate: {{rate: 1/h, per: key}}}}}}\n",
        key("mine"),
        key("theirs")
    );
    let proxy = Proxy::start(&format!("{SLOW}{}", routes(&list))).await;
    assert_eq!(exchange(proxy.address(), with("k3y-mine")).await.status(), 204);
    // Looked at, the right one would be told by its own bound, which nobody has used up.
    for guess in ["wrong", "k3y-theirs"] {
        is_problem(&exchange(proxy.address(), beside_own("/", guess)).await, 429, "rate_limited");
    }
}
