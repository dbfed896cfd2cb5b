//! `token`.

use std::time::Duration;

use tokenferry::demo::Crewmojo;

use super::{in_folder, partner, ran, ran_async};
use crate::harness::client::{get, token_number};
use crate::harness::eventually;
use crate::harness::load::Load;
use crate::harness::nobody::Nobody;
use crate::harness::process::Process;
use crate::harness::redis::RedisServer;
use crate::harness::vendors::{config, crewmojo, route, simulate};

#[tokio::test]
async fn a_fresh_login_is_told_without_the_token() {
    let (_vendor, yaml) = partner().await;
    let out = ran_async(&yaml, &["token", "partner"]).await.done();
    let mut lines: Vec<&str> = out.lines().collect();
    // The renewal is spread a little, so that replicas do not renew together.
    let renewed = lines.remove(3);
    assert_eq!(
        lines,
        [
            "credential: partner (oauth2)",
            "from:       a fresh login",
            "lifetime:   1h, as the vendor's answer says",
            "clock:      the vendor's clock agrees with this machine's",
            "token:      ***",
            "            (--reveal prints it)",
        ]
    );
    assert!(renewed.starts_with("renewed:    after 5") && renewed.ends_with(", if it is in use then"), "{renewed}");
}

#[tokio::test]
async fn only_reveal_prints_the_token() {
    let (_vendor, yaml) = partner().await;
    let revealed = ran_async(&yaml, &["token", "partner", "--reveal"]).await.done();
    let token = revealed.lines().last().unwrap().strip_prefix("token:      ").unwrap();
    assert!(token.starts_with("demo-oauth2-"), "{revealed}");

    let masked = ran_async(&yaml, &["token", "partner", "--format", "json"]).await.json();
    assert_eq!(
        [&masked["credential"], &masked["provider"], &masked["token"], &masked["lifetime_source"]],
        ["partner", "oauth2", "***", "answer"]
    );
    assert_eq!(masked["lifetime_seconds"], 3600.0);
    let revealed = ran_async(&yaml, &["token", "partner", "--reveal", "--format", "json"]).await.json();
    assert!(revealed["token"].as_str().unwrap().starts_with("demo-oauth2-"));
}

#[tokio::test]
async fn a_fault_is_one_plain_sentence() {
    let (_vendor, yaml) = partner().await;
    let ran = ran_async(&yaml.replace("demo/oauth2+secret", "wrong"), &["token", "partner"]).await;
    assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""));
    assert_eq!(
        ran.err,
        "tokenferry: partner: no token: the token endpoint answered 401 (invalid_client); \
         check the credential's ids and secrets, and that they are for this environment\n"
    );
}

#[test]
fn an_endpoint_that_is_not_there_is_told_at_once() {
    let nobody = Nobody::there();
    let yaml = format!(
        "\
listeners: [{{address: 127.0.0.1:8080}}]
credentials:
  partner: {{provider: oauth2, token_url: http://{nobody}/t, grant: client_credentials, client_id: a, client_secret: b}}
routes:
  - {{name: one, upstream: http://127.0.0.1:1, credential: partner}}
"
    );
    let ran = ran(&yaml, &["token", "partner"]);
    assert_eq!(ran.code, Some(1));
    assert_eq!(
        ran.err,
        "tokenferry: partner: no token: the token endpoint cannot be reached (Connection refused (os error 111)); \
         check the host and port of its URL, and whether this machine may reach it\n"
    );
}

#[tokio::test]
async fn programs_are_told_a_fault_in_words_that_stay() {
    let (_vendor, yaml) = partner().await;
    let wrong = yaml.replace("demo/oauth2+secret", "wrong");
    let refused = ran_async(&wrong, &["token", "partner", "--format", "json"]).await.json();
    assert_eq!(refused["outcome"], "no token");
    assert_eq!([&refused["fault"]["reason"], &refused["fault"]["code"]], ["status", "invalid_client"]);

    let nobody = Nobody::there();
    let away = format!("http://{nobody}/t");
    let start = yaml.find("token_url: ").unwrap() + "token_url: ".len();
    let end = start + yaml[start..].find('\n').unwrap();
    let unreachable = format!("{}{away}{}", &yaml[..start], &yaml[end..]);
    let told = ran_async(&unreachable, &["token", "partner", "--format", "json"]).await.json();
    assert_eq!(told["fault"]["reason"], "unreachable");
    assert_eq!(told["fault"]["code"], serde_json::Value::Null, "no text of the operating system: {told}");
    assert!(told["fault"]["message"].as_str().unwrap().contains("Connection refused"), "{told}");
}

#[tokio::test]
async fn an_exclusive_token_is_not_killed_unless_forced() {
    let (vendor, yaml) = partner().await;
    let yaml = yaml.replace("    grant:", "    exclusive: true\n    grant:");
    let ran = ran_async(&yaml, &["token", "partner"]).await;
    assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""));
    assert_eq!(
        ran.err,
        "tokenferry: partner: a new token of this credential invalidates the earlier ones, and so the one that \
         a running proxy may be using; --force logs in all the same\n"
    );
    let json = ran_async(&yaml, &["token", "partner", "--format", "json"]).await;
    assert_eq!((json.code, json.err.as_str()), (Some(1), ""));
    assert_eq!(json.json()["outcome"], "not tried");
    assert_eq!(vendor.token_requests(), 0);
    ran_async(&yaml, &["token", "partner", "--force"]).await.done();
    assert_eq!(vendor.token_requests(), 1);
}

#[test]
fn a_name_that_is_not_there_gets_the_nearest() {
    let yaml = "\
listeners: [{address: 127.0.0.1:8080}]
credentials:
  key: {provider: static, token: x}
  other: {provider: static, token: y}
routes:
  - {name: one, match: {path: /one}, upstream: https://api.example.com/v1, credential: key}
  - {name: two, upstream: https://api.example.com/v1, credential: other}
";
    let near = ran(yaml, &["token", "othr"]);
    assert_eq!(
        (near.code, near.err.as_str()),
        (Some(2), "tokenferry: there is no credential `othr`; did you mean `other`?\n")
    );
    let far = ran(yaml, &["token", "x\ny"]);
    assert_eq!(
        (far.code, far.err.as_str()),
        (Some(2), "tokenferry: there is no credential `x\\ny`; there is key or other\n")
    );
    let fixed = ran(yaml, &["token", "key"]).done();
    assert_eq!(
        fixed,
        "\
credential: key (static)
from:       the configuration
lifetime:   for ever
renewed:    never
token:      ***
            (--reveal prints it)
"
    );
}

#[tokio::test]
async fn a_vendors_wrong_clock_is_told() {
    for (skew, told) in [(7200, "2h ahead of"), (-90, "1m 30s behind")] {
        let (vendor, yaml) = partner().await;
        vendor.adjust(|options| options.clock_skew = skew);
        let out = ran_async(&yaml, &["token", "partner"]).await.done();
        // The answer may be a second on its way.
        let near = told.replace("1m 30s", "1m 31s");
        assert!(out.contains(&format!("the vendor's clock is {told}")) || out.contains(&near), "{out}");
        let json = ran_async(&yaml, &["token", "partner", "--format", "json"]).await.json();
        assert!((json["clock_skew_seconds"].as_i64().unwrap() - skew).abs() <= 2, "{json}");
        let checked = ran_async(&yaml, &["check", "--connect"]).await.done();
        assert!(checked.contains("the vendor's clock is "), "{checked}");
    }
}

#[tokio::test]
async fn the_running_proxys_token_is_told_and_stays_alive() {
    let simulator = simulate(Crewmojo::default()).await;
    let upstream = format!("{}/v1", simulator.origin());
    let yaml = config(&[crewmojo(simulator.origin(), "")], &[route("crewmojo", &upstream, "crewmojo", "")]);
    let process = Process::start(&format!("handover: next.sock\n{yaml}"), &[]);
    let folder = process.folder.path().to_owned();

    // It has none yet, and logs in for it.
    let fresh = in_folder(&folder, &["token", "crewmojo"]).await.done();
    assert!(fresh.contains("from:       a login by the running proxy"), "{fresh}");
    assert_eq!((token_number(&get(process.address, "/crewmojo/a").await), simulator.tokens_issued()), (Some(1), 1));

    let out = in_folder(&folder, &["token", "crewmojo", "--reveal"]).await.done();
    assert!(out.contains("from:       the running proxy") && out.contains("left:       "), "{out}");
    assert!(out.contains("lifetime:   30m, as the vendor's answer says"), "{out}");
    let checked = in_folder(&folder, &["check", "--connect"]).await.done();
    assert!(checked.contains("more, from the running proxy"), "{checked}");
    assert_eq!((token_number(&get(process.address, "/crewmojo/a").await), simulator.tokens_issued()), (Some(1), 1));

    // What is forced is the proxy's own, which it goes on with.
    in_folder(&folder, &["token", "crewmojo", "--force"]).await.done();
    assert_eq!((token_number(&get(process.address, "/crewmojo/a").await), simulator.tokens_issued()), (Some(2), 2));
    assert_eq!(simulator.refused(), 0);

    // Nobody there, and why is said.
    drop(process);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(
        folder.join("proxy.yaml"),
        format!("listeners: [{{address: 127.0.0.1:0}}]\nhandover: next.sock\n{yaml}"),
    )
    .unwrap();
    let ran = in_folder(&folder, &["token", "crewmojo"]).await;
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(ran.code == Some(1) && ran.err.contains("(no proxy runs at next.sock)"), "{ran:?}");
    assert_eq!(simulator.tokens_issued(), 2);
}

#[tokio::test]
async fn the_token_that_replicas_share_is_told_and_a_forced_login_is_theirs_too() {
    let (simulator, redis) = (simulate(Crewmojo::default()).await, RedisServer::start());
    let upstream = format!("{}/v1", simulator.origin());
    // So much patience that a busy machine does not use it up.
    let credential = crewmojo(simulator.origin(), ", drain: 5s");
    let yaml = config(&[credential], &[route("crewmojo", &upstream, "crewmojo", "")]);
    let store = format!(
        "store: {{kind: redis, url: \"{}\", timeout: 5s, encryption_key: q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA=}}\n",
        redis.url()
    );
    let process = Process::start(&format!("{store}{yaml}"), &[]);
    let folder = process.folder.path().to_owned();

    // The store has none: the login is made for all replicas.
    let fresh = in_folder(&folder, &["token", "crewmojo"]).await.done();
    assert!(fresh.contains("from:       a fresh login"), "{fresh}");
    assert_eq!((token_number(&get(process.address, "/crewmojo/a").await), simulator.tokens_issued()), (Some(1), 1));
    let out = in_folder(&folder, &["token", "crewmojo"]).await.done();
    assert!(out.contains("from:       the store that replicas share"), "{out}");
    let checked = in_folder(&folder, &["check", "--connect"]).await.done();
    assert!(checked.contains("store: ok\n") && checked.contains("from the store"), "{checked}");

    // Requests go on all the while, and none of them meets the end of its token.
    let load = Load::of_gets(process.address, 4, Duration::from_millis(1), "/crewmojo/b");
    in_folder(&folder, &["token", "crewmojo", "--force"]).await.done();
    assert_eq!((token_number(&get(process.address, "/crewmojo/a").await), simulator.tokens_issued()), (Some(2), 2));
    load.stop().await.assert_all_served(4);
    assert_eq!(simulator.refused(), 0, "the replica was told before its token died");
}

#[tokio::test]
async fn a_token_in_the_store_that_does_not_open_here_is_not_killed_unasked() {
    let (simulator, redis) = (simulate(Crewmojo::default()).await, RedisServer::start());
    let upstream = format!("{}/v1", simulator.origin());
    let yaml = config(&[crewmojo(simulator.origin(), "")], &[route("crewmojo", &upstream, "crewmojo", "")]);
    let store = |key: &str| format!("store: {{kind: redis, url: \"{}\", encryption_key: {key}}}\n", redis.url());
    let process = Process::start(&format!("{}{yaml}", store("q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA=")), &[]);
    assert_eq!(token_number(&get(process.address, "/crewmojo/a").await), Some(1));
    eventually("the token lies in the store", || redis.has_token()).await;
    let other = store("ASNFZ4mrze8BI0VniavN7wEjRWeJq83vASNFZ4mrze8=");
    std::fs::write(
        process.folder.path().join("other.yaml"),
        format!("listeners: [{{address: 127.0.0.1:0}}]\n{other}{yaml}"),
    )
    .unwrap();
    let ran = in_folder(process.folder.path(), &["token", "-c", "other.yaml", "crewmojo"]).await;
    assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""), "{ran:?}");
    assert!(ran.err.contains("--force") && ran.err.contains("does not open"), "{}", ran.err);
    assert_eq!((token_number(&get(process.address, "/crewmojo/b").await), simulator.tokens_issued()), (Some(1), 1));
}

#[tokio::test]
async fn a_store_that_is_away_fails_the_check_and_spares_the_token() {
    let (simulator, mut redis) = (simulate(Crewmojo::default()).await, RedisServer::start());
    let upstream = format!("{}/v1", simulator.origin());
    let yaml = config(&[crewmojo(simulator.origin(), "")], &[route("crewmojo", &upstream, "crewmojo", "")]);
    let store = format!(
        "store: {{kind: redis, url: \"{}\", encryption_key: q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA=}}\n",
        redis.url()
    );
    redis.kill();
    let yaml = format!("listeners: [{{address: 127.0.0.1:0}}]\n{store}{yaml}");
    let checked = ran_async(&yaml, &["check", "--connect"]).await;
    assert_eq!(checked.code, Some(1), "{checked:?}");
    assert!(
        checked.out.contains("store: cannot be reached") && checked.out.contains("(the store cannot be reached)"),
        "{checked:?}"
    );
    let json = ran_async(&yaml, &["check", "--connect", "--format", "json"]).await;
    assert_eq!((json.code, json.json()["store"].as_str()), (Some(1), Some("away")));
    assert_eq!(simulator.token_requests(), 0);
}
