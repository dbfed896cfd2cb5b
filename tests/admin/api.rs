//! What it tells and does.

use std::io::Write;
use std::time::{Duration, Instant};

use http::StatusCode;
use tokenferry::demo::{Crewmojo, CrmCom, Fault};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::harness::client::get;
use crate::harness::eventually;
use crate::harness::load::Load;
use crate::harness::process::command;
use crate::harness::proxy::{Proxy, complete};
use crate::harness::vendors::{crewmojo, crm, simulate};

/// What `check --format json` says of the configuration in this process's folder.
fn checked(process: &Process) -> Value {
    let output = command(process.folder.path()).args(["check", "--format", "json"]).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test]
async fn the_status_tells_how_things_stand() {
    let simulator = simulate(Crewmojo::default()).await;
    let yaml = format!(
        "{}{}",
        admin(""),
        config(
            &[crewmojo(simulator.origin(), ""), "  key: {provider: static, token: k3y}\n".to_owned()],
            &[
                route("crewmojo", &format!("{}/v1", simulator.origin()), "crewmojo", ""),
                "  - {name: never, match: {host: a.internal, path_exact: /x, methods: [GET, POST], headers: {X-Key: s3cret}}, respond: 403}\n".to_owned(),
            ],
        )
    );
    let proxy = Proxy::start(&yaml).await;
    let before = status(proxy.admin()).await;
    assert_eq!(before["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(
        (&before["state"], &before["ready"], &before["ready_when"]),
        (&"serving".into(), &true.into(), &"serving".into())
    );
    assert!(before["started"].as_str().unwrap().ends_with('Z') && before["uptime_seconds"].is_number(), "{before}");
    assert_eq!(before["config"]["generation"], 1);
    assert!(before["config"]["file"].as_str().unwrap().ends_with("proxy.yaml"), "{before}");
    assert!(before["config"]["taken"].as_str().unwrap().starts_with("20"), "{before}");
    assert_eq!(before["reload"], Value::Null);
    assert_eq!(before["reloads"], serde_json::json!({"taken": 0, "unchanged": 0, "refused": 0}));
    assert_eq!(before["listeners"], serde_json::json!([proxy.address().to_string()]));
    assert_eq!(before["store"]["kind"], "memory");
    let asleep = &before["credentials"][0];
    assert_eq!(
        (&asleep["name"], &asleep["provider"], &asleep["exclusive"]),
        (&"crewmojo".into(), &"crewmojo".into(), &true.into())
    );
    assert_eq!(
        (&asleep["state"], &asleep["live"], &asleep["generation"]),
        (&"asleep".into(), &false.into(), &0.into())
    );
    for absent in ["expires_in_seconds", "lifetime_source", "last_error", "retry_in_seconds", "clock_skew_seconds"] {
        assert_eq!(asleep[absent], Value::Null, "{absent}");
    }
    assert_eq!(before["credentials"][1]["name"], "key", "also one that no route uses");
    let mut never = before["routes"][1].clone();
    let traffic = never.as_object_mut().unwrap();
    assert!(traffic.remove("history").unwrap()["requests"].is_array());
    assert_eq!(
        never,
        serde_json::json!({
            "requests": 0, "errors": 0, "requests_per_second": 0.0, "error_share": null, "p50_ms": null, "p99_ms": null,
            "name": "never", "match": "GET, POST a.internal/x (exactly) with x-key", "upstream": null, "credential": null,
        })
    );
    assert_eq!(before["routes"][0]["upstream"], format!("{}/v1", simulator.origin()));

    assert_eq!(get(proxy.address(), "/crewmojo/a").await.status(), 200);
    let live = credential(proxy.admin(), "crewmojo").await;
    assert_eq!(
        (&live["state"], &live["live"], &live["generation"], &live["logins"]),
        (&"live".into(), &true.into(), &1.into(), &1.into())
    );
    assert_eq!((&live["renewals"], &live["failed_logins"], &live["refused"]), (&0.into(), &0.into(), &0.into()));
    assert_eq!(live["lifetime_seconds"], 1800.0);
    let said = status(proxy.admin()).await;
    let traffic = &said["routes"][0];
    assert_eq!(
        (&traffic["requests"], &traffic["errors"], &traffic["error_share"]),
        (&1.into(), &0.into(), &0.0.into())
    );
    assert!(traffic["p50_ms"].as_f64().unwrap() > 0.0 && traffic["requests_per_second"].is_number(), "{traffic}");
    let metrics = text(&ask(proxy.admin(), "GET", "/metrics").await);
    assert!(
        metrics.contains("tokenferry_requests_total{") && metrics.contains("tokenferry_config_generation 1"),
        "{metrics}"
    );
    let left = live["expires_in_seconds"].as_f64().unwrap();
    assert!((1.0..=1800.0).contains(&left) && live["lifetime_source"] == "the vendor's answer", "{live}");
}

#[tokio::test]
async fn a_login_that_fails_is_told_in_words_with_what_to_do() {
    let simulator = simulate(CrmCom::default()).await;
    simulator.adjust(|options| options.token_fault = Some(Fault::status(StatusCode::SERVICE_UNAVAILABLE)));
    let routes = [route("crm", &format!("{}/crmapi/rest/v2", simulator.origin()), "crm", "")];
    let proxy = Proxy::start(&format!("{}{}", admin(""), config(&[crm(simulator.origin(), "")], &routes))).await;
    get(proxy.address(), "/crm/contacts").await;
    let failing = credential(proxy.admin(), "crm").await;
    assert_eq!((&failing["state"], &failing["live"]), (&"failing".into(), &false.into()));
    assert_eq!(
        failing["last_error"],
        serde_json::json!({
            "class": "transient", "code": null, "message": "the token endpoint answered 503",
            "mend": "the vendor is in trouble: try again later",
        })
    );
    let answer = ask(proxy.admin(), "POST", "/api/v1/credentials/crm/refresh").await;
    assert_eq!(answer.status(), 502);
    let told = json(&answer);
    assert_eq!(
        (&told["outcome"], &told["last_error"]["message"]),
        (&"failed".into(), &"the token endpoint answered 503".into())
    );
    simulator.adjust(|options| options.token_fault = None);
    let answer = ask(proxy.admin(), "POST", "/api/v1/credentials/crm/refresh").await;
    assert_eq!(answer.status(), 200, "whatever the back-off: {}", text(&answer));
    assert_eq!(credential(proxy.admin(), "crm").await["last_error"], Value::Null);
}

#[tokio::test]
async fn a_reload_has_a_verdict_in_the_same_words_as_check() {
    let process = Process::start(&small(""), &[]);
    let address = process.admin().await;
    let unchanged = ask(address, "POST", "/api/v1/reload").await;
    assert_eq!(unchanged.status(), 200);
    assert_eq!(
        json(&unchanged),
        serde_json::json!({"outcome": "unchanged", "generation": 1, "problems": [], "restart_needed": []})
    );

    process.rewrite(
        &small("").replace("respond: 204", "respond: 999, upstrem: x, access: {api_keys: [{name: a, key: CANARY}]}"),
    );
    let refused = ask(address, "POST", "/api/v1/reload").await;
    assert_eq!(refused.status(), 422);
    let told = json(&refused);
    let expected = checked(&process)["problems"].clone();
    assert!(expected.as_array().unwrap().len() >= 2, "{expected}");
    assert_eq!((&told["outcome"], &told["problems"]), (&"refused".into(), &expected));
    assert!(!text(&refused).contains("CANARY"));
    let status_after = status(address).await;
    assert_eq!(
        (&status_after["reload"]["outcome"], &status_after["reload"]["problems"]),
        (&"refused".into(), &expected)
    );
    assert_eq!(status_after["config"]["generation"], 1, "what was in force stays");
    assert!(status_after["ready"].as_bool().unwrap());

    // A warning, and what needs a restart.
    let next = format!("workers: 2\n{}", small("").replace("respond: 204}", "respond: 403}, {name: b, respond: 204}"));
    process.rewrite(&next);
    let taken = ask(address, "POST", "/api/v1/reload").await;
    assert_eq!(taken.status(), 200);
    let told = json(&taken);
    // The watcher may have come before.
    assert!(told["outcome"] == "taken" || told["outcome"] == "unchanged", "{told}");
    assert_eq!(
        (&told["generation"], &told["restart_needed"]),
        (&2.into(), &serde_json::json!(["`workers` has changed"]))
    );
    assert_eq!(told["problems"], checked(&process)["problems"]);
    assert_eq!(told["problems"][0]["severity"], "warning");
    assert_eq!(get(process.address, "/").await.status(), 403);
}

#[tokio::test]
async fn a_change_of_the_admin_port_needs_a_restart_and_the_rest_is_taken() {
    let proxy = Proxy::start(&small("")).await;
    for (admin, needed) in [
        (format!(", token: {TOKEN}"), true),
        (", hosts: [a.example]".to_owned(), true),
        (", ready_when: tokens".to_owned(), false),
        (String::new(), false),
    ] {
        proxy.rewrite(&small(&admin));
        let told = json(&ask(proxy.admin(), "POST", "/api/v1/reload").await);
        let expected = if needed { serde_json::json!(["`admin` has changed"]) } else { serde_json::json!([]) };
        assert_eq!(told["restart_needed"], expected, "{admin}: {told}");
    }
    proxy.rewrite(&small(", ready_when: tokens"));
    ask(proxy.admin(), "POST", "/api/v1/reload").await;
    assert_eq!(status(proxy.admin()).await["ready_when"], "tokens", "live");
    proxy.rewrite("routes: [{name: a, respond: 404}]\n");
    let told = json(&ask(proxy.admin(), "POST", "/api/v1/reload").await);
    assert_eq!(told["restart_needed"], serde_json::json!(["`admin` has changed"]));
    assert_eq!(get(proxy.address(), "/").await.status(), 404);
}

#[tokio::test]
async fn a_client_that_goes_away_cancels_no_reload_and_many_at_once_have_one_verdict_each() {
    // Nobody but who asks has it reload.
    let proxy = Proxy::start_unwatched(&small("")).await;
    // A file that can be read to its end only when this test has written it: the reload is under way until then.
    let file = proxy.folder().join("proxy.yaml");
    std::fs::remove_file(&file).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&file).status().unwrap().success());
    let mut stream = TcpStream::connect(proxy.admin()).await.unwrap();
    stream.write_all(b"POST /api/v1/reload HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let opening = tokio::task::spawn_blocking(move || std::fs::OpenOptions::new().write(true).open(file));
    let mut file = tokio::time::timeout(Duration::from_secs(10), opening).await.expect("it reloads").unwrap().unwrap();
    // The client goes, and is seen to have gone: its connection ends without an answer.
    stream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert!(answer.is_empty(), "{}", String::from_utf8_lossy(&answer));
    assert_eq!(status(proxy.admin()).await["config"]["generation"], 1);
    file.write_all(complete(&small("").replace("204", "403")).as_bytes()).unwrap();
    drop(file);
    let deadline = Instant::now() + Duration::from_secs(10);
    while status(proxy.admin()).await["config"]["generation"] != 2 {
        assert!(Instant::now() < deadline, "the reload went away with its client");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(get(proxy.address(), "/").await.status(), 403);

    proxy.rewrite(&small("").replace("204", "404"));
    for _ in 0..20 {
        let mut stream = TcpStream::connect(proxy.admin()).await.unwrap();
        stream.write_all(b"POST /api/v1/reload HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    }
    let asking: Vec<_> = (0..20).map(|_| tokio::spawn(ask(proxy.admin(), "POST", "/api/v1/reload"))).collect();
    for asked in asking {
        let answer = asked.await.unwrap();
        assert_eq!((answer.status().as_u16(), &json(&answer)["generation"]), (200, &3.into()));
    }
    assert_eq!(get(proxy.address(), "/").await.status(), 404);
}

#[tokio::test]
async fn a_token_is_renewed_on_demand_and_no_request_notices() {
    let simulator = simulate(Crewmojo::default()).await;
    simulator.adjust(|options| options.data_delay = Duration::from_millis(5));
    let routes = [route("crewmojo", &format!("{}/v1", simulator.origin()), "crewmojo", "")];
    let credentials = [crewmojo(simulator.origin(), ""), "  fixed: {provider: static, token: k3y}\n".to_owned()];
    let proxy = Proxy::start(&format!("{}{}", admin(""), config(&credentials, &routes))).await;
    let refresh = |name: &'static str| {
        let admin = proxy.admin();
        async move { ask(admin, "POST", &format!("/api/v1/credentials/{name}/refresh")).await }
    };
    let first = refresh("crewmojo").await;
    assert_eq!((first.status().as_u16(), &json(&first)["generation"]), (200, &1.into()), "asleep until now");
    let load = Load::of_gets(proxy.address(), 8, Duration::from_millis(1), "/crewmojo/a");
    eventually("the load is on", || simulator.data_requests() > 50).await;
    for generation in 2..=4 {
        let seen = simulator.data_requests();
        let answer = refresh("crewmojo").await;
        let told = json(&answer);
        assert_eq!(
            (answer.status().as_u16(), &told["outcome"], &told["generation"]),
            (200, &"renewed".into(), &generation.into())
        );
        assert!(told["expires_in_seconds"].as_f64().unwrap() > 0.0, "{told}");
        eventually("the load goes on", || simulator.data_requests() > seen + 20).await;
    }
    load.stop().await.assert_all_served(100);
    assert_eq!((simulator.token_requests(), simulator.refused()), (4, 0), "through the barrier: none met a dead token");
    assert_eq!(refresh("none").await.status(), 404);
    assert_eq!(refresh("fixed").await.status(), 409);
}

#[tokio::test]
async fn what_is_not_there_or_not_done_is_told() {
    let proxy = Proxy::start(&small("")).await;
    let admin = proxy.admin();
    for (method, path, status, allow) in [
        ("GET", "/nowhere", 404, None),
        ("GET", "/api/v1/status/", 404, None),
        ("GET", "//healthz", 404, None),
        ("POST", "/api/v1/credentials/%ff/refresh", 404, None),
        ("GET", "/api/v1/reload", 405, Some("POST")),
        ("POST", "/api/v1/status", 405, Some("GET, HEAD")),
        ("DELETE", "/healthz", 405, Some("GET, HEAD")),
        ("OPTIONS", "/api/v1/reload", 405, Some("POST")),
        ("GET", "/api/v1/credentials/a/refresh", 405, Some("POST")),
    ] {
        let answer = ask(admin, method, path).await;
        assert_eq!(answer.status(), status, "{method} {path}");
        assert_eq!(answer.headers().get("allow").map(|value| value.to_str().unwrap()), allow, "{method} {path}");
        assert_eq!(answer.headers()["content-type"], "application/problem+json", "{method} {path}");
        assert_eq!(json(&answer)["status"], status);
    }
    for path in ["/", "/healthz", "/readyz", "/api/v1/status"] {
        let (head, get) = (ask(admin, "HEAD", path).await, ask(admin, "GET", path).await);
        assert_eq!((head.status(), head.body().len()), (get.status(), 0), "{path}");
        assert_eq!(head.headers()["content-type"], get.headers()["content-type"], "{path}");
    }
}

#[tokio::test]
async fn no_answer_shows_a_secret() {
    let simulator = simulate(CrmCom::default()).await;
    let yaml = format!(
        "{}\
credentials:
  crm: {{provider: crm_com, base_url: '${{URL}}/crmapi/rest/v2', method: web_api_key, key: '${{KEY}}'}}
  partner: {{provider: oauth2, token_url: '${{URL}}/CANARY-path/token', client_id: CANARY-id, client_secret: CANARY-secret, grant: client_credentials}}
  fixed: {{provider: static, token: CANARY-static}}
routes:
  - {{name: crm, match: {{path: /crm, headers: {{X-A: CANARY-header}}}}, upstream: '${{URL}}/crmapi/rest/v2', credential: crm}}
  - {{name: partner, match: {{host: '${{HOST}}', path: /p}}, upstream: {{url: '${{URL}}/v1'}}, credential: partner, access: {{api_keys: [{{name: one, key: CANARY-key}}]}}}}
  - {{name: fixed, match: {{path: '/${{SEGMENT}}'}}, upstream: 'http://127.0.0.1:1', credential: fixed, request_headers: {{set: {{X-B: CANARY-set}}}}}}
",
        admin(&format!(", token: {TOKEN}"))
    );
    let url = simulator.origin().to_owned();
    let variables = [
        ("URL", url.as_str()),
        ("KEY", "CANARY-crm-key"),
        ("HOST", "canary-host.internal"),
        ("SEGMENT", "CANARY-segment"),
    ];
    let proxy = Proxy::start_with(&yaml, &variables).await;
    get(proxy.address(), "/crm/a").await;
    let mut shown = String::new();
    for (method, path) in [
        ("POST", "/api/v1/credentials/crm/refresh"),
        ("POST", "/api/v1/credentials/partner/refresh"),
        ("POST", "/api/v1/credentials/fixed/refresh"),
        ("POST", "/api/v1/credentials/CANARY-none/refresh"),
        ("POST", "/api/v1/reload"),
        ("GET", "/api/v1/status"),
        ("GET", "/metrics"),
        ("GET", "/"),
        ("GET", "/readyz"),
        ("GET", "/CANARY"),
    ] {
        let answer = ask(proxy.admin(), method, path).await;
        shown.push_str(&format!("{method} {path}: {:?} {}\n", answer.headers(), text(&answer)));
    }
    proxy.rewrite(
        &yaml
            .replace("provider: static, token:", "provider: static, tokn:")
            .replace("key: CANARY-key", "kee: CANARY-key"),
    );
    for (method, path) in [("POST", "/api/v1/reload"), ("GET", "/api/v1/status")] {
        shown.push_str(&text(&ask(proxy.admin(), method, path).await));
    }
    shown.push_str(&text(&get(proxy.admin(), "/api/v1/status").await));
    let lines: Vec<&str> = shown
        .lines()
        .filter(|line| {
            line.to_lowercase()
                .replace("post /api/v1/credentials/canary-none", "")
                .replace("get /canary:", "")
                .contains("canary")
        })
        .collect();
    assert!(lines.is_empty(), "{lines:#?}");
    assert!(!shown.contains(TOKEN) && !shown.contains(&url), "{shown}");
}
