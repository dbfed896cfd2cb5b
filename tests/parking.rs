//! Connections that nobody uses are parked, and nobody notices: no byte is lost, no time limit
//! forgotten, and what comes next is answered as ever.

use std::time::Duration;

use tempfile::TempDir;

use crate::harness::eventually_within;
use crate::harness::process::Process;
use crate::harness::raw::{End, Wire};
use crate::harness::tls::Authority;
use crate::harness::yaml::one_route;

const GET: &str = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// Says back each request's target, or, to `/early`, that it need not hear the body.
async fn upstream() -> Wire {
    Wire::start(|mut caller| async move {
        while let Some(head) = caller.head().await {
            let target = head.target().to_owned();
            caller.say(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{target}", target.len())).await;
            if target == "/early" {
                return;
            }
        }
    })
    .await
}

fn parked(process: &Process) -> usize {
    process.log().matches("connection parked").count()
}

/// Waits until so many connections were parked since the start.
async fn until_parked(process: &Process, times: usize) {
    eventually_within(Duration::from_secs(20), "connections are parked", || parked(process) >= times).await;
}

async fn ask(client: &mut End, target: &str) {
    client.send(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n")).await;
    assert_eq!(client.answer().await.text(), target);
}

#[tokio::test]
async fn a_parked_connection_answers_on_over_tcp_and_tls() {
    let folder = TempDir::new().unwrap();
    let authority = Authority::new();
    authority.identity(&["localhost"]).write(folder.path(), "server");
    let upstream = upstream().await;
    for tls in [false, true] {
        let mut yaml = one_route(&upstream.url(""), "");
        if tls {
            yaml.insert_str(
                0,
                &format!(
                    "listeners: [{{address: '127.0.0.1:0', tls: {{cert: {0}/server.crt, key: {0}/server.key}}}}]\n",
                    folder.path().display()
                ),
            );
        }
        let process = Process::start(&yaml, &[]);
        let mut client = if tls {
            End::over(authority.connect(process.address, &["http/1.1"]).await.unwrap())
        } else {
            End::connect(process.address).await
        };
        for round in 1..=3 {
            ask(&mut client, "/a").await;
            ask(&mut client, "/b").await;
            until_parked(&process, round).await;
        }
        // Two at once, of which the second comes with the first one's bytes.
        client.send(GET.repeat(2)).await;
        for _ in 0..2 {
            assert_eq!(client.answer().await.text(), "/");
        }
        client.finish().await;
        assert!(client.is_over().await);
    }
}

/// The beginning of a head comes in one piece with the request before it, or by itself, whenever it
/// likes: none of its bytes is lost, whatever the parking does meanwhile.
#[tokio::test]
async fn a_head_that_comes_in_pieces_around_the_parking_is_read_whole() {
    let upstream = upstream().await;
    let process = Process::start(&one_route(&upstream.url(""), ""), &[]);
    let mut clients = tokio::task::JoinSet::new();
    for n in 0..60u64 {
        let address = process.address;
        clients.spawn(async move {
            let mut client = End::connect(address).await;
            let cut = 1 + usize::try_from(n).unwrap() % (GET.len() - 2);
            let (first, second) = GET.split_at(cut);
            client.send(format!("{GET}{first}")).await;
            assert_eq!(client.answer().await.text(), "/");
            tokio::time::sleep(Duration::from_millis(800 + 20 * n)).await;
            client.send(second).await;
            assert_eq!(client.answer().await.text(), "/", "cut at {cut}");
            tokio::time::sleep(Duration::from_millis(2000 - 20 * n)).await;
            client.send(first).await;
            tokio::time::sleep(Duration::from_millis(1500)).await;
            client.send(second).await;
            assert_eq!(client.answer().await.text(), "/", "cut at {cut}");
        });
    }
    while let Some(ended) = clients.join_next().await {
        ended.unwrap();
    }
    assert!(parked(&process) >= 60, "{} parked", parked(&process));
}

/// What follows the head of a request with a body is that body, however late it comes and whatever
/// was answered meanwhile: it must never be read as the next request.
#[tokio::test]
async fn a_request_whose_body_is_still_to_come_is_not_parked() {
    let upstream = upstream().await;
    let process = Process::start(&one_route(&upstream.url(""), ""), &[]);
    for framing in ["Content-Length: 36", "Transfer-Encoding: chunked"] {
        let mut client = End::connect(process.address).await;
        client.send(format!("POST /early HTTP/1.1\r\nHost: localhost\r\n{framing}\r\n\r\n")).await;
        assert_eq!(client.answer().await.text(), "/early");
        tokio::time::sleep(Duration::from_millis(2500)).await;
        client.send("GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n").await;
        let behind = client.rest_until_quiet().await;
        assert!(!String::from_utf8_lossy(&behind).contains("/smuggled"), "{framing}");
    }
    assert_eq!(parked(&process), 0);
    assert!(upstream.seen().iter().all(|request| request.target() == "/early"), "{:?}", upstream.seen());
}

#[tokio::test]
async fn a_parked_connection_is_closed_when_it_has_been_idle_too_long_and_when_the_proxy_ends() {
    let upstream = upstream().await;
    let process = Process::start(&format!("client: {{idle_timeout: 3s}}\n{}", one_route(&upstream.url(""), "")), &[]);
    let mut client = End::connect(process.address).await;
    ask(&mut client, "/a").await;
    until_parked(&process, 1).await;
    assert!(client.is_over().await, "idle for too long");

    let mut client = End::connect(process.address).await;
    ask(&mut client, "/a").await;
    until_parked(&process, 2).await;
    process.signal("TERM");
    assert!(client.is_over().await, "told to end");
    assert!(process.ended().await.0.success());
}

#[tokio::test]
async fn a_parked_connection_may_still_become_a_tunnel() {
    let upstream = Wire::start(|mut caller| async move {
        let Some(request) = caller.request().await else { return };
        if request.target() == "/chat" {
            caller.say("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n").await;
            while let Some(line) = caller.end.through(b"\n").await {
                caller.say(line).await;
            }
        } else {
            caller.say("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx").await;
        }
    })
    .await;
    let process = Process::start(&one_route(&upstream.url(""), "upgrades: [echo]\n"), &[]);
    let mut client = End::connect(process.address).await;
    client.send(GET).await;
    assert_eq!(client.answer().await.text(), "x");
    until_parked(&process, 1).await;
    client.send("GET /chat HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n").await;
    assert_eq!(client.answer().await.status(), 101);
    for _ in 0..2 {
        client.send("hello\n").await;
        assert_eq!(client.through(b"\n").await.as_deref(), Some(&b"hello\n"[..]));
        // A tunnel that says nothing is no idle connection.
        tokio::time::sleep(Duration::from_millis(1500)).await;
    }
    assert_eq!(parked(&process), 1);
}

/// Of its own, in KiB. Its share of the program's pages is left out: that grows when another process ends that had
/// them too.
fn memory(process: &Process) -> u64 {
    let rollup = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", process.pid())).unwrap();
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss_Anon:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn idle_connections_take_little_memory() {
    const CLIENTS: u64 = 1000;
    /// What one may take, in KiB: a third of what hyper's two buffers alone do. Of an optimised build the
    /// load harness measures it (`--scenario idle`), and holds it to 3.
    const EACH: u64 = 6;

    crate::harness::soak::open_files();
    let upstream = upstream().await;
    let process = Process::start(&format!("log: {{level: info}}\n{}", one_route(&upstream.url(""), "")), &[]);
    let mut clients = Vec::new();
    for _ in 0..50 {
        let mut client = End::connect(process.address).await;
        ask(&mut client, "/a").await;
        clients.push(client);
    }
    let before = memory(&process);
    for _ in 0..CLIENTS {
        let mut client = End::connect(process.address).await;
        ask(&mut client, "/a").await;
        clients.push(client);
    }
    let settled = || memory(&process) < before + CLIENTS * EACH;
    eventually_within(Duration::from_secs(30), "idle connections let go of their memory", settled).await;
    for client in &mut clients {
        ask(client, "/b").await;
    }
    eventually_within(Duration::from_secs(30), "they let go of it again", settled).await;
}
