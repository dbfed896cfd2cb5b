//! Users who log in by Basic, several keys, and how they are named in the log.

use std::time::{Duration, Instant};

use argon2::{Argon2, Params, PasswordHasher as _};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::get;
use crate::answers_of_its_own::is_problem;
use crate::harness::eventually;
use crate::harness::issuer::{ISSUER, Issuer, claims, jwks};
use crate::harness::process::Process;
use crate::harness::proxy::Proxy;
use crate::harness::raw::{Wire, exchange};
use crate::harness::yaml::{one_route, routes};
use crate::limits::exchange_from;

/// A hash whose check takes a moment, as those of the command do.
fn hash(password: &str, memory: u32) -> String {
    Argon2::from(Params::new(memory, 2, 1, None).unwrap()).hash_password(password.as_bytes()).unwrap().to_string()
}

fn basic(pair: &str) -> String {
    format!("Authorization: Basic {}\r\n", STANDARD.encode(pair))
}

fn alice(password: &str, memory: u32) -> String {
    format!("access: {{users: [{{name: alice, password: '{}'}}]}}", hash(password, memory))
}

#[tokio::test]
async fn a_user_is_let_in_by_name_and_password_and_neither_goes_further() {
    let upstream = Wire::ok().await;
    let yaml = one_route(&upstream.url(""), &alice("p4ss:word", 64));
    let fixed = Proxy::start(&yaml).await;
    let none = Proxy::start(&yaml.replace("credential: fixed", "credential: none")).await;
    let right = basic("alice:p4ss:word");
    for proxy in [&fixed, &none] {
        // The second time it is known.
        for lines in [right.clone(), right.clone(), right.replace("Basic", "bAsIc").replace("Auth", "AUTH")] {
            assert_eq!(get(proxy, &lines).await.status(), 200, "{lines}");
            let seen = upstream.last();
            assert!(!format!("{seen:?}").contains(&STANDARD.encode("alice:p4ss:word")), "{seen:?}");
        }
    }
    assert_eq!(get(&none, &right).await.status(), 200);
    assert_eq!(upstream.last().header("authorization"), None);
    let arrived = upstream.seen().len();
    for lines in [
        String::new(),
        basic("alice:p4ss"),
        basic("alice:"),
        basic("bob:p4ss:word"),
        basic("alice"),
        "Authorization: Bearer p4ss:word\r\n".to_owned(),
        "X-Api-Key: p4ss:word\r\n".to_owned(),
        format!("{right}{right}"),
    ] {
        let answer = get(&none, &lines).await;
        is_problem(&answer, 401, "user_required");
        assert_eq!(answer.header("www-authenticate"), Some("Basic realm=\"tokenferry\", charset=\"UTF-8\""));
    }
    assert_eq!(upstream.seen().len(), arrived, "none of it went upstream");
}

#[tokio::test]
async fn beside_keys_it_is_the_user_whom_an_answer_asks_for() {
    let upstream = Wire::ok().await;
    let both = alice("p4ss", 64).replace("{users:", "{api_keys: [{name: billing, key: k3y-of-billing}], users:");
    let proxy = Proxy::start(&one_route(&upstream.url(""), &both)).await;
    for (lines, code) in [("", "key_required"), ("X-Api-Key: k3y-of-billing\r\n", "user_required")] {
        let answer = get(&proxy, lines).await;
        is_problem(&answer, 401, code);
        assert_eq!(answer.header("www-authenticate"), Some("Basic realm=\"tokenferry\", charset=\"UTF-8\""));
    }
}

#[tokio::test]
async fn a_flood_of_wrong_passwords_stops_nobody_who_is_known_and_no_other_route() {
    let upstream = Wire::ok().await;
    let list = format!(
        "- {{name: open, match: {{path: /open}}, upstream: {0}, credential: fixed}}\n\
         - {{name: only, upstream: {0}, credential: fixed, {1}}}\n",
        upstream.url(""),
        alice("right", 19 << 10)
    );
    let proxy = Proxy::start(&routes(&list)).await;
    assert_eq!(get(&proxy, &basic("alice:right")).await.status(), 200);
    let address = proxy.address();
    // From many addresses, none of which has tried so often that it is slowed.
    let flood: Vec<_> = (0..150)
        .map(|n| {
            let head = format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", basic(&format!("alice:wrong {n}")));
            tokio::spawn(async move { exchange_from(&format!("127.0.0.{}", 2 + n / 25), address, &head).await })
        })
        .collect();
    let mut bystanders = 0;
    while !flood.iter().all(tokio::task::JoinHandle::is_finished) || bystanders == 0 {
        assert_eq!(get(&proxy, &basic("alice:right")).await.status(), 200);
        assert_eq!(exchange(address, "GET /open HTTP/1.1\r\nHost: x\r\n\r\n").await.status(), 200);
        bystanders += 1;
    }
    let (mut wrong, mut crowded) = (0, 0);
    for answer in flood {
        let answer = answer.await.unwrap();
        if answer.status() == 401 {
            is_problem(&answer, 401, "user_required");
            wrong += 1;
        } else {
            is_problem(&answer, 503, "too_many_passwords");
            assert_eq!(answer.header("retry-after"), Some("1"));
            crowded += 1;
        }
    }
    assert!(wrong > 0 && crowded > 0, "{wrong} checked, {crowded} sent away");
}

#[tokio::test]
async fn keys_and_passwords_move_with_a_reload_and_what_is_rotated_out_stops_at_once() {
    let upstream = Wire::ok().await;
    let with = |keys: &str| one_route(&upstream.url(""), &format!("access: {{api_keys: [{keys}]}}"));
    let (old, new) = ("{name: billing-1, key: k3y-old}", "{name: billing-2, key: k3y-new}");
    let proxy = Proxy::start(&with(old)).await;
    let status = async |lines: &str| get(&proxy, lines).await.status();
    let becomes = async |lines: &str, wanted: u16| {
        let deadline = Instant::now() + Duration::from_secs(10);
        while get(&proxy, lines).await.status() != wanted {
            assert!(Instant::now() < deadline, "{lines} is not {wanted}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let (by_old, by_new) = ("X-Api-Key: k3y-old\r\n", "X-Api-Key: k3y-new\r\n");
    assert_eq!((status(by_old).await, status(by_new).await), (200, 401));
    proxy.rewrite(&with(&format!("{old}, {new}")));
    becomes(by_new, 200).await;
    assert_eq!(status(by_old).await, 200);
    proxy.rewrite(&with(new));
    becomes(by_old, 401).await;
    assert_eq!(status(by_new).await, 200);

    let (first, second) = (basic("alice:first"), basic("alice:second"));
    proxy.rewrite(&one_route(&upstream.url(""), &alice("first", 64)));
    becomes(&first, 200).await;
    proxy.rewrite(&one_route(&upstream.url(""), &alice("second", 64)));
    becomes(&first, 401).await;
    assert_eq!(status(&second).await, 200);
}

#[tokio::test]
async fn the_log_names_who_came_in_and_nobody_who_did_not() {
    let upstream = Wire::ok().await;
    let issuer = Issuer::new("one");
    let folder = tempfile::TempDir::new().unwrap();
    std::fs::write(folder.path().join("jwks.json"), jwks(&[&issuer])).unwrap();
    let to = format!("upstream: {}, credential: fixed", upstream.url(""));
    let list = format!(
        "- {{name: k, match: {{path: /k}}, {to}, access: {{api_keys: [{{name: one, key: k3y-1}}, {{name: two, key: k3y-2}}]}}}}\n\
         - {{name: u, match: {{path: /u}}, {to}, {}}}\n\
         - {{name: t, match: {{path: /t}}, {to}, access: {{jwt: {{issuer: '{ISSUER}', audience: billing, jwks: jwks.json}}}}}}\n",
        alice("p4ssword", 64),
    );
    let yaml = format!("log: {{format: json, access: all}}\n{}", routes(&list));
    std::fs::write(folder.path().join("proxy.yaml"), crate::harness::proxy::complete(&yaml)).unwrap();
    let process = Process::start_in(folder, &[("TOKENFERRY_LOG", "trace,hyper=trace")]);
    let address = process.address;
    let token = issuer.token(&claims(&json!({"sub": "svc\n\u{1b}[31m-billing"})));
    let forged = Issuer::new("one").token(&claims(&json!({"sub": "mallory"})));
    let asked = [
        ("/k/1", "X-Api-Key: k3y-1\r\n".to_owned(), Some("one")),
        ("/k/2", "Authorization: Bearer k3y-2\r\n".to_owned(), Some("two")),
        ("/k/3", "X-Api-Key: k3y-wrong\r\n".to_owned(), None),
        ("/u/1", basic("alice:p4ssword"), Some("alice")),
        ("/u/2", basic("alice:p4ssword"), Some("alice")),
        ("/u/3", basic("alice:p4sswrong"), None),
        ("/u/4", basic("mallory:p4sswrong"), None),
        ("/t/1", format!("Authorization: Bearer {token}\r\n"), Some("svc[31m-billing")),
        ("/t/2", format!("Authorization: Bearer {forged}\r\n"), None),
    ];
    for (path, lines, who) in &asked {
        let answer = exchange(address, format!("GET {path} HTTP/1.1\r\nHost: x\r\n{lines}\r\n")).await;
        assert_eq!(answer.status(), if who.is_some() { 200 } else { 401 }, "{path}");
    }
    let line = |log: &str, path: &str| -> Option<Value> {
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["target"] == "access").find(|line| line["path"] == path)
    };
    eventually("every request has its line", || asked.iter().all(|(path, ..)| line(&process.log(), path).is_some()))
        .await;
    process.signal("TERM");
    let (_, log) = process.ended().await;
    for (path, _, who) in &asked {
        assert_eq!(line(&log, path).unwrap().get("key").and_then(Value::as_str), *who, "{path}");
    }
    assert!(!log.contains("mallory"), "who was not let in is not named");
    let pairs = ["alice:p4ssword", "alice:p4sswrong", "mallory:p4sswrong"].map(|pair| STANDARD.encode(pair));
    let tokens = [&token, &forged].map(|token| token.rsplit('.').next().unwrap().to_owned());
    for secret in ["k3y-", "p4ss", "$argon2"].map(str::to_owned).iter().chain(&pairs).chain(&tokens) {
        let line = log.lines().find(|line| line.contains(secret.as_str()));
        assert_eq!(line, None, "{secret}");
    }
}
