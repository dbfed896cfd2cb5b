//! The log: a line a request where it is asked for, a name for every request, settings that change
//! live, and readers who are slow or gone and cost no request.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokenferry::demo::{Crewmojo, Options, Simulator};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::harness::client::{Connection, get, json, send, text};
use crate::harness::issuer::{ISSUER, Issuer, claims, jwks, now};
use crate::harness::nobody::Nobody;
use crate::harness::process::{Process, command};
use crate::harness::proxy::{Proxy, complete};
use crate::harness::upstream::Upstream;
use crate::harness::vendors::{config, crewmojo, route, simulate};
use crate::harness::yaml::one_route;

/// Waits for something that the log says by and by.
async fn wait_for<T>(what: &str, process: &Process, look: impl Fn(&str) -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(found) = look(&process.log()) {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}; log: {}", process.log());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The access lines of a JSON log.
fn access_lines(log: &str) -> Vec<Value> {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["target"] == "access").collect()
}

/// The access line of the request with this path.
async fn access_line(process: &Process, path: &str) -> Value {
    wait_for(path, process, |log| access_lines(log).into_iter().find(|line| line["path"] == path)).await
}

fn request(target: &str) -> http::request::Builder {
    Request::get(target)
}

fn empty(builder: http::request::Builder) -> Request<Full<Bytes>> {
    builder.body(Full::default()).unwrap()
}

#[tokio::test]
async fn an_access_line_tells_all_of_a_request_but_its_secrets() {
    let simulator = simulate(Crewmojo::default()).await;
    let keyed = ", access: {api_keys: [{name: billing, key: k3y-of-billing}]}";
    let yaml = config(
        &[crewmojo(simulator.login_origin(), "")],
        &[route("crewmojo", &format!("{}/v1", simulator.origin()), "crewmojo", keyed)],
    );
    let process = Process::start(&format!("log: {{format: json, access: all}}\n{yaml}"), &[]);
    let post = Request::post("/crewmojo/a?password=hush")
        .header("x-api-key", "k3y-of-billing")
        .header("x-request-id", "mine-1")
        .body(Full::from("0123456789"))
        .unwrap();
    let answer = send(process.address, post).await;
    assert_eq!((answer.status().as_u16(), &answer.headers()["x-request-id"]), (200, &"mine-1".parse().unwrap()));

    let line = access_line(&process, "/crewmojo/a").await;
    for (field, expected) in [
        ("route", Value::from("crewmojo")),
        ("method", "POST".into()),
        ("status", 200.into()),
        ("key", "billing".into()),
        ("credential", "crewmojo".into()),
        ("generation", 1.into()),
        ("sendings", 1.into()),
        ("received", 10.into()),
        ("sent", answer.body().len().into()),
        ("client", "127.0.0.1".into()),
        ("upstream", simulator.origin().trim_start_matches("http://").into()),
        ("request_id", "mine-1".into()),
        ("level", "INFO".into()),
    ] {
        assert_eq!(line[field], expected, "{field}: {line}");
    }
    let [total, upstream, wait] =
        ["duration_ms", "upstream_ms", "token_wait_ms"].map(|field| line[field].as_f64().unwrap());
    assert!(upstream > 0.0 && wait > 0.0 && total >= upstream + wait, "{line}");
    let log = process.log();
    assert!(!log.contains("hush") && !log.contains("k3y-of-billing"), "{log}");

    get(process.address, "/crewmojo/refused").await;
    let line = access_line(&process, "/crewmojo/refused").await;
    assert_eq!((&line["status"], &line["refusal"]), (&401.into(), &"key_required".into()), "{line}");
    assert!(line.get("generation").is_none() && line.get("upstream_ms").is_none(), "{line}");
    assert_eq!(line["request_id"].as_str().unwrap().len(), 32, "{line}");
}

#[tokio::test]
async fn where_only_errors_are_asked_for_only_they_have_lines_and_say_why() {
    let gone = Nobody::there();
    let upstream = Upstream::answering(|seen| {
        Response::builder().status(if seen.path() == "/bad" { 500 } else { 404 }).body(Full::default()).unwrap()
    })
    .await;
    let yaml = format!(
        "log: {{format: json, access: errors}}\nroutes:\n\
         - {{name: up, upstream: \"http://{}\", credential: none}}\n\
         - {{name: told, match: {{path: /told}}, respond: 403}}\n\
         - {{name: gone, match: {{path: /gone}}, upstream: \"http://{gone}\", credential: none}}\n",
        upstream.address
    );
    let process = Process::start(&yaml, &[]);
    for (path, status) in [
        ("/fine", 404),
        ("/told", 403),
        ("/bad", 500),
        ("/gone", 502),
        ("/%5c", 400),
        ("/fine/too", 404),
        ("/%00", 400),
    ] {
        assert_eq!(get(process.address, path).await.status(), status, "{path}");
    }
    access_line(&process, "/%00").await;
    let lines = access_lines(&process.log());
    let told: Vec<_> = lines.iter().map(|line| line["path"].as_str().unwrap()).collect();
    assert_eq!(told, ["/bad", "/gone", "/%5c", "/%00"], "{lines:?}");
    assert_eq!(lines[1]["refusal"], "upstream_unreachable");
    assert!(lines[1]["cause"].as_str().unwrap().contains("refused"), "{}", lines[1]);
    assert_eq!((&lines[2]["refusal"], lines[2].get("route")), (&"bad_path".into(), None));
}

#[tokio::test]
async fn why_a_token_of_an_issuer_is_refused_is_told_in_the_log_alone() {
    let (issuer, stranger) = (Issuer::new("one"), Issuer::new("another"));
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("jwks.json"), jwks(&[&issuer])).unwrap();
    let access = format!("jwt: {{issuer: '{ISSUER}', audience: billing, jwks: jwks.json}}");
    let route = format!("routes: [{{name: only, respond: 204, access: {{{access}}}}}]\n");
    let yaml = format!("log: {{level: debug, format: json, access: errors}}\n{route}");
    std::fs::write(folder.path().join("proxy.yaml"), complete(&yaml)).unwrap();
    let process = Process::start_in(folder, &[]);
    for (path, token, cause) in [
        ("/none", None, "no token is presented as Authorization: Bearer"),
        ("/late", Some(issuer.token(&claims(&json!({"exp": now() - 440})))), "it expired 44"),
        ("/aud", Some(issuer.token(&claims(&json!({"aud": "secret-aud"})))), "its aud is not of `audience`"),
        ("/iss", Some(issuer.token(&claims(&json!({"iss": "secret-iss"})))), "its iss is not `issuer`"),
        ("/kid", Some(stranger.token(&claims(&json!({})))), "the issuer has no key with its kid `another`"),
        ("/alg", issuer.token_by_hmac(&claims(&json!({}))).pop(), "its alg HS256 is not taken"),
    ] {
        let mut request = request(path);
        if let Some(token) = &token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let answer = send(process.address, empty(request)).await;
        assert_eq!(answer.status(), 401, "{path}");
        assert!(!text(&answer).contains(cause), "{path}");
        let line = access_line(&process, path).await;
        assert!(line["cause"].as_str().is_some_and(|told| told.starts_with(cause)), "{line}");
        let id = line["request_id"].as_str().unwrap();
        let log = process.log();
        let debug = log.lines().find(|line| line.contains("request refused") && line.contains(id)).unwrap();
        assert!(debug.contains(cause), "{debug}");
        assert!(!log.contains("secret-") && token.is_none_or(|token| !log.contains(&token)), "{log}");
    }
}

#[tokio::test]
async fn a_client_that_goes_away_before_its_answer_has_a_line_without_a_status() {
    let upstream = Upstream::answering_later(|_| std::future::pending()).await;
    let yaml = one_route(&format!("http://{}", upstream.address), "");
    let process = Process::start(&format!("log: {{format: json, access: errors}}\n{yaml}"), &[]);
    let mut connection = Connection::open(process.address).await;
    let asking = tokio::spawn(async move { connection.send(empty(request("/long"))).await });
    while upstream.seen().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    asking.abort();
    drop(asking.await);
    let line = access_line(&process, "/long").await;
    assert!(line.get("status").is_none() && line["route"].is_string(), "{line}");
}

#[tokio::test]
async fn a_reload_changes_what_is_logged_and_how() {
    let upstream = Upstream::start().await;
    let yaml = |log: &str| format!("log: {log}\n{}", one_route(&format!("http://{}", upstream.address), ""));
    let process = Process::start(&yaml("{level: error}"), &[]);
    get(process.address, "/before").await;
    assert!(!process.log().contains("configuration taken"), "{}", process.log());

    process.rewrite(&yaml("{level: debug, format: json, access: all}"));
    wait_for("a line in JSON", &process, |log| log.contains("\"message\":\"configuration taken\"").then_some(())).await;
    get(process.address, "/after").await;
    access_line(&process, "/after").await;
    get(process.address, "/%5c").await;
    wait_for("what was refused", &process, |log| log.contains("\"message\":\"request refused\"").then_some(())).await;
    assert!(!process.log().contains("/before"));

    process.rewrite(&yaml("{level: info, format: text}"));
    wait_for("a line as text", &process, |log| {
        log.lines().any(|l| !l.starts_with('{') && l.contains("configuration taken")).then_some(())
    })
    .await;
    get(process.address, "/quiet").await;
    assert!(!process.log().contains("/quiet"));
}

#[tokio::test]
async fn the_environment_goes_before_the_file() {
    let upstream = Upstream::start().await;
    let yaml = |n: u32| {
        format!(
            "workers: {n}\nlog: {{level: trace, format: text}}\n{}",
            one_route(&format!("http://{}", upstream.address), "")
        )
    };
    let process = Process::start(&yaml(1), &[("TOKENFERRY_LOG", "info"), ("TOKENFERRY_LOG_FORMAT", "json")]);
    process.rewrite(&yaml(2));
    wait_for("a reload", &process, |log| (log.matches("configuration taken").count() == 2).then_some(())).await;
    let log = process.log();
    let odd = log.lines().filter(|line| !line.starts_with("listening on") && !line.starts_with('{'));
    assert_eq!(odd.collect::<Vec<_>>(), Vec::<&str>::new());
    assert!(!log.contains("\"level\":\"TRACE\"") && !log.contains("\"level\":\"DEBUG\""), "{log}");
}

#[tokio::test]
async fn a_request_has_one_name_everywhere() {
    let upstream = Upstream::answering(|_| {
        Response::builder().header("x-request-id", "the-upstreams-own").body(Full::default()).unwrap()
    })
    .await;
    let proxy = Proxy::start(&one_route(&format!("http://{}", upstream.address), "")).await;
    for (given, kept) in
        [(Some("a-b.c:1"), true), (None, false), (Some("a b"), false), (Some(&*"x".repeat(129)), false)]
    {
        let builder = given.into_iter().fold(request("/"), |builder, given| builder.header("x-request-id", given));
        let answer = send(proxy.address(), empty(builder)).await;
        let seen = upstream.seen().last().unwrap().header("x-request-id").unwrap().to_owned();
        assert_eq!(answer.headers()["x-request-id"].to_str().unwrap(), seen, "{given:?}");
        assert_eq!(given == Some(&*seen), kept, "{given:?}: {seen}");
        assert!(kept || seen.len() == 32 && seen.bytes().all(|b| b.is_ascii_hexdigit()), "{seen}");
    }
    let refused = send(proxy.address(), empty(request("/%00").header("x-request-id", "find-me"))).await;
    assert_eq!(refused.headers()["x-request-id"], "find-me");
    assert_eq!(json(&refused)["request_id"], "find-me", "{}", text(&refused));
}

/// The binary, whose log nobody reads. `FOLDER` in its configuration is its own.
fn unread(yaml: &str) -> (TempDir, Child, SocketAddr) {
    let folder = TempDir::new().unwrap();
    let yaml = complete(yaml).replace("FOLDER", folder.path().to_str().unwrap());
    std::fs::write(folder.path().join("proxy.yaml"), yaml).unwrap();
    let mut child = command(folder.path()).arg("run").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    // Closed behind this line.
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("listening on ").unwrap().parse().unwrap();
    (folder, child, address)
}

/// What the proxy says of lines that it lost.
async fn dropped_lines(folder: &Path) -> u64 {
    let mut stream = UnixStream::connect(folder.join("admin.sock")).await.unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).await.unwrap();
    let line = page.lines().find_map(|line| line.strip_prefix("tokenferry_log_lines_dropped_total "));
    line.unwrap_or_else(|| panic!("{page}")).trim().parse().unwrap()
}

fn end(mut child: Child) {
    let status = std::process::Command::new("kill").arg(child.id().to_string()).status().unwrap();
    assert!(status.success());
    assert!(child.wait().unwrap().success());
}

/// So many requests write more to the log than a pipe holds and the proxy keeps.
async fn ask_often(address: SocketAddr, times: usize) {
    let mut connection = Connection::open(address).await;
    let path = format!("/{}", "a".repeat(2000));
    for _ in 0..times {
        let answer = connection.send(empty(request(&path))).await.unwrap();
        assert_eq!(answer.status(), 200);
    }
}

#[tokio::test]
async fn a_log_that_nobody_reads_costs_lines_and_no_request() {
    let upstream = Upstream::start().await;
    let yaml = format!("log: {{access: all}}\n{}", one_route(&format!("http://{}", upstream.address), ""));
    let (_folder, mut child, address) = unread(&yaml);
    ask_often(address, 900).await;

    // What was dropped is told as soon as there is room.
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let reading = tokio::task::spawn_blocking(move || {
        let told = stderr.by_ref().lines().any(|line| line.unwrap().contains("log lines were dropped"));
        (told, stderr)
    });
    let (told, _stderr) = reading.await.unwrap();
    assert!(told, "the log ended before it was told");
    ask_often(address, 1).await;
    tokio::task::spawn_blocking(move || end(child)).await.unwrap();
}

#[tokio::test]
async fn closed_outputs_are_no_reason_not_to_serve_nor_to_end_well() {
    let upstream = Upstream::start().await;
    let yaml = format!(
        "log: {{access: all}}\nadmin: {{address: 'unix:FOLDER/admin.sock'}}\n{}",
        one_route(&format!("http://{}", upstream.address), "")
    );
    let (folder, mut child, address) = unread(&yaml);
    drop(child.stderr.take());
    ask_often(address, 100).await;
    // Each line is lost once: to tell of it would be the next to be lost.
    while dropped_lines(folder.path()).await < 100 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    ask_often(address, 100).await;
    let dropped = dropped_lines(folder.path()).await;
    assert!(dropped <= 205, "{dropped}");
    tokio::task::spawn_blocking(move || end(child)).await.unwrap();
}

#[tokio::test]
async fn each_change_of_a_credential_is_one_line() {
    let options = Options { lifetime: Some(Duration::from_secs(3600)), ..Options::default() };
    let simulator = Simulator::start(Crewmojo::default(), options).await.unwrap();
    let yaml = config(
        &[crewmojo(simulator.login_origin(), "")],
        &[route("crewmojo", &format!("{}/v1", simulator.origin()), "crewmojo", "")],
    );
    let process = Process::start(&format!("log: {{format: json}}\n{yaml}"), &[]);
    for _ in 0..20 {
        assert_eq!(get(process.address, "/crewmojo/a").await.status(), 200);
    }
    let lines: Vec<Value> = process.log().lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let told: Vec<_> = lines.iter().filter(|line| line["credential"] == "crewmojo").collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!((&told[0]["outcome"], &told[0]["generation"]), (&"obtained".into(), &1.into()));
}
