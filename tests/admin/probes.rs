//! Alive and ready: through start, drain and handover.

use std::time::{Duration, Instant};

use http::StatusCode;
use tempfile::TempDir;
use tokenferry::demo::{Crewmojo, CrmCom, Fault};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use super::*;
use crate::harness::client::get;
use crate::harness::eventually;
use crate::harness::proxy::complete;
use crate::harness::vendors::{crewmojo, crm, simulate};

async fn until(address: SocketAddr, path: &str, status: u16) -> String {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let answer = ask(address, "GET", path).await;
        if answer.status() == status {
            return text(&answer);
        }
        assert!(Instant::now() < deadline, "{path}: {} {}", answer.status(), text(&answer));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn it_is_not_ready_from_the_first_moment_of_the_drain_and_alive_to_its_end() {
    // Longer than any machine takes for what is asked meanwhile; the second signal cuts it short.
    let process = Process::start(&format!("drain_delay: 600s\n{}", small("")), &[]);
    let address = process.admin().await;
    assert_eq!(until(address, "/readyz", 200).await, "ready\n");
    process.signal("TERM");
    assert_eq!(until(address, "/readyz", 503).await, "draining\n");
    assert_eq!(until(address, "/healthz", 200).await, "ok\n");
    assert_eq!(get(process.address, "/").await.status(), 204, "it serves on meanwhile");
    let answer = ask(address, "GET", "/api/v1/status").await;
    assert_eq!((&json(&answer)["state"], &json(&answer)["ready"]), (&"draining".into(), &false.into()));
    assert_eq!(answer.headers()["connection"], "close");
    assert_eq!(ask(address, "POST", "/api/v1/reload").await.status(), 503);
    process.signal("TERM");
    let (_, log) = process.ended().await;
    assert!(log.contains("second signal"), "{log}");
    assert!(TcpStream::connect(address).await.is_err());
}

/// A proxy that is ready once these have tokens.
fn ready_when_tokens(credentials: &[String], origin: &str) -> Process {
    let routes = [route("it", origin, "crewmojo", "")];
    Process::start(&format!("{}{}", admin(", ready_when: tokens"), config(credentials, &routes)), &[])
}

#[tokio::test]
async fn with_the_policy_tokens_it_is_ready_once_every_credential_has_a_live_one() {
    let (mojo, com) = (simulate(Crewmojo::default()).await, simulate(CrmCom::default()).await);
    com.adjust(|options| options.token_fault = Some(Fault::status(StatusCode::SERVICE_UNAVAILABLE)));
    let credentials = [
        crewmojo(mojo.origin(), ""),
        crm(com.origin(), ", release: true"),
        "  fixed: {provider: static, token: k3y}\n".to_owned(),
    ];
    let process = ready_when_tokens(&credentials, mojo.origin());
    let address = process.admin().await;
    eventually("one of them logs in", || mojo.token_requests() == 1).await;
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let told = until(address, "/readyz", 503).await;
        if told == "no live token yet: crm\n" {
            break;
        }
        assert!(Instant::now() < deadline, "{told}");
    }
    assert_eq!(until(address, "/healthz", 200).await, "ok\n");
    com.adjust(|options| options.token_fault = None);
    assert_eq!(until(address, "/readyz", 200).await, "ready\n");
    let said = status(address).await;
    assert_eq!((&said["ready"], &said["ready_when"]), (&true.into(), &"tokens".into()));
    assert_eq!((mojo.data_requests(), com.data_requests()), (0, 0), "nobody has asked for anything");
}

#[tokio::test]
async fn with_the_policy_tokens_they_are_kept_fresh_though_nobody_uses_them() {
    let mojo = simulate(Crewmojo::default()).await;
    mojo.adjust(|options| options.lifetime = Some(Duration::from_secs(3)));
    let credentials = [crewmojo(mojo.origin(), "")];
    let process = ready_when_tokens(&credentials, mojo.origin());
    let address = process.admin().await;
    until(address, "/readyz", 200).await;
    eventually("it is renewed again and again", || mojo.token_requests() >= 3).await;
    assert_eq!(mojo.data_requests(), 0);
    until(address, "/readyz", 200).await;
}

#[tokio::test]
async fn a_successor_takes_the_admin_port_too() {
    let yaml = format!("handover: handover.sock\n{}", small(""));
    let mut process = Process::start(&yaml, &[]);
    let address = process.admin().await;
    for number in 0..2 {
        let begun = status(address).await["started"].clone();
        let mut kept = crate::harness::client::Connection::open(address).await;
        let request = || Request::get("/readyz").body(Full::<Bytes>::default()).unwrap();
        assert_eq!(kept.send(request()).await.unwrap().status(), 200);
        let next = process.successor().await;
        assert_eq!(next.admin().await, address, "deploy {number}");
        let old = std::mem::replace(&mut process, next);
        let (code, log) = old.ended().await;
        assert_eq!(code.code(), Some(0), "{log}");
        assert!(log.contains("handed over"), "{log}");
        let said = status(address).await;
        assert_eq!((&said["state"], &said["ready"]), (&"serving".into(), &true.into()), "after {begun}");
        assert_eq!(json(&ask(address, "POST", "/api/v1/reload").await)["outcome"], "unchanged");
    }
}

#[tokio::test]
async fn a_unix_socket_is_asked_under_any_name_and_its_file_goes_with_the_process() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("admin.sock");
    let yaml = format!("admin: {{address: 'unix:{}'}}\nroutes: [{{name: a, respond: 204}}]\n", path.display());
    std::fs::write(folder.path().join("proxy.yaml"), complete(&yaml)).unwrap();
    let process = Process::start_in(folder, &[]);
    eventually("it is told", || process.log().contains(&format!("admin on unix:{}", path.display()))).await;
    for (host, status) in [("anything.example", "200 OK"), ("localhost", "200 OK")] {
        let mut stream = UnixStream::connect(&path).await.unwrap();
        stream
            .write_all(format!("GET /api/v1/status HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes())
            .await
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
    }
    process.signal("TERM");
    assert_eq!(process.ended().await.0.code(), Some(0));
    assert!(!path.exists());
}

#[tokio::test]
async fn without_an_admin_port_nothing_listens_beside_the_listeners() {
    let process = Process::start("routes: [{name: a, respond: 204}]\n", &[]);
    assert_eq!(get(process.address, "/healthz").await.status(), 204, "a path like any other");
    process.signal("TERM");
    let (_, log) = process.ended().await;
    assert!(!log.contains("admin on"), "{log}");
}
