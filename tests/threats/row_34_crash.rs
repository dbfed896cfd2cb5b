//! A panic, no descriptors, no memory, a full disk, a credential in trouble: what cannot be done is
//! refused, what is under way goes on, and the process lives. That a panic is one failed request is
//! shown in `src/app/tests.rs`, since no build that anybody runs has a way to provoke one.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;
use http::Request;
use http_body_util::Full;
use tempfile::TempDir;
use tokio::sync::Semaphore;

use crate::answers_of_its_own::is_problem;
use crate::harness::process::{Process, command};
use crate::harness::proxy::{Proxy, complete};
use crate::harness::raw::{End, Message, Wire, exchange};
use crate::harness::yaml::one_route;
use crate::harness::{eventually, eventually_within};
use crate::protocols::http2_client;

const GET: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

/// The proxy, run by a shell with these words before it.
fn through_a_shell(yaml: &str, words: &str) -> Process {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("proxy.yaml"), complete(yaml)).unwrap();
    let run = shell(folder.path(), words);
    Process::launch(Arc::new(folder), run)
}

fn shell(folder: &Path, words: &str) -> Command {
    let direct = command(folder);
    let mut shell = Command::new("sh");
    shell.args(["-c", &words.replace("RUN", "exec \"$0\" run")]).arg(direct.get_program());
    shell.current_dir(folder).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    shell.stdin(std::process::Stdio::null());
    shell
}

/// An upstream that holds requests for `/hold` until there is a permit for each.
async fn holding(permits: &Arc<Semaphore>) -> Wire {
    let permits = Arc::clone(permits);
    Wire::start(move |mut caller| {
        let permits = Arc::clone(&permits);
        async move {
            while let Some(request) = caller.request().await {
                if request.target().starts_with("/hold") {
                    permits.acquire().await.unwrap().forget();
                }
                caller.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
            }
        }
    })
    .await
}

async fn ask(client: &mut End, target: &str) -> Option<Message> {
    client.send(format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
    match tokio::time::timeout(Duration::from_secs(3), client.head()).await {
        Ok(Some(mut answer)) => {
            let length = answer.header("content-length").unwrap().parse().unwrap();
            answer.body = client.exactly(length).await;
            Some(answer)
        }
        Ok(None) | Err(_) => None,
    }
}

async fn metric(process: &Process, line: &str) -> bool {
    let admin = process.admin().await;
    exchange(admin, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").await.text().lines().any(|l| l == line)
}

#[tokio::test]
async fn without_descriptors_new_connections_are_refused_and_the_old_ones_served() {
    let permits = Arc::new(Semaphore::new(0));
    let upstream = holding(&permits).await;
    let more = "admin: {address: '127.0.0.1:0'}\nlimits: {connections: 100000}\n";
    let yaml = format!("{more}{}", one_route(&upstream.url(""), ""));
    let process = through_a_shell(&yaml, "ulimit -n 256; RUN");
    let mut old: Vec<End> = Vec::new();
    let is_refused = || process.log().contains("cannot accept connections");
    while !is_refused() {
        let some = join_all((0..20).map(|_| async {
            let mut client = End::connect(process.address).await;
            let answered = tokio::time::timeout(Duration::from_secs(1), ask(&mut client, "/")).await;
            answered.ok().flatten().map(|answer| (client, answer.status()))
        }));
        for (client, status) in some.await.into_iter().flatten() {
            if status == 200 {
                old.push(client);
            }
        }
        assert!(old.len() < 256, "more than there may be");
    }
    assert!(old.len() > 100, "only {}", old.len());
    // Nobody of them is worse off, as long as there are upstream connections.
    for some in old.chunks_mut(10) {
        for answer in join_all(some.iter_mut().map(|client| ask(client, "/"))).await {
            assert_eq!(answer.expect("an old connection is served").status(), 200);
        }
    }
    assert_eq!(process.log().matches("cannot accept connections").count(), 1, "{}", process.log());
    assert!(metric(&process, "tokenferry_overloaded{resource=\"descriptors\"} 1").await, "the admin port answers");
    // All at once need more upstream connections than are left: that is no fault of the upstream's.
    let asked = join_all(old.iter_mut().map(|client| ask(client, "/hold")));
    let (answers, ()) = tokio::join!(asked, async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        permits.add_permits(10_000);
    });
    let (mut served, mut refused) = (0, 0);
    for answer in answers.into_iter().flatten() {
        if answer.status() == 200 {
            served += 1;
        } else {
            is_problem(&answer, 503, "overloaded");
            assert_eq!(answer.header("retry-after"), Some("1"));
            refused += 1;
        }
    }
    println!("{} old connections; at once {served} served, {refused} refused", old.len());
    assert!(served > 0 && refused > 0, "{served} served, {refused} refused");
    // Reloads have descriptors of their own, as the admin port has.
    process.rewrite(&yaml.replace("limits: {", "limits: {replay_total: 1MiB, "));
    eventually("the reload", || process.taken() == 2).await;
    old.truncate(10);
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let mut client = End::connect(process.address).await;
        if ask(&mut client, "/").await.is_some_and(|answer| answer.status() == 200) {
            break;
        }
        assert!(Instant::now() < deadline, "new connections are served again; log: {}", process.log());
    }
    eventually("the log says so", || process.log().contains("accepted again")).await;
}

/// So much of one request is kept for sending again.
const BODY: usize = 64 << 20;

fn keeping(upstream: &Wire, limit: &str) -> String {
    let total = format!("limits: {{replay_total: 1GiB{limit}}}\n");
    format!("admin: {{address: '127.0.0.1:0'}}\n{total}{}", one_route(&upstream.url(""), "limits: {replay: 128MiB}"))
}

/// A request with that body, which the upstream holds.
async fn large(process: &Process) -> End {
    let mut large = End::connect(process.address).await;
    large.send(format!("POST /hold HTTP/1.1\r\nHost: x\r\nContent-Length: {BODY}\r\n\r\n")).await;
    large.send(vec![b'x'; BODY]).await;
    large
}

#[tokio::test]
async fn while_memory_is_short_new_work_is_refused_and_what_is_under_way_goes_on() {
    let permits = Arc::new(Semaphore::new(0));
    let upstream = holding(&permits).await;
    let process = Process::start(&keeping(&upstream, ""), &[]);
    assert_eq!(exchange(process.address, GET).await.status(), 200);
    let limit = ((process.memory_kib("VmRSS") + (24 << 10)) * 1024).max(64 << 20);
    process.rewrite(&keeping(&upstream, &format!(", memory: {limit}")));
    eventually("the reload", || process.taken() == 2).await;
    let mut kept = End::connect(process.address).await;
    assert_eq!(ask(&mut kept, "/").await.unwrap().status(), 200);
    // One that asks again and again, and stays.
    let mut stays = http2_client::<Full<Bytes>>(process.address).await;
    let mut again = async || {
        let request = Request::get("http://x/").body(Full::<Bytes>::default()).unwrap();
        stays.send_request(request).await.expect("its connection stays").status().as_u16()
    };

    let mut large = large(&process).await;
    let deadline = Instant::now() + Duration::from_secs(10);
    let refusal = loop {
        again().await;
        let answer = ask(&mut kept, "/").await.expect("a kept connection is answered");
        if answer.status() != 200 {
            break answer;
        }
        assert!(Instant::now() < deadline, "{} KiB", process.memory_kib("VmRSS"));
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    is_problem(&refusal, 503, "overloaded");
    assert_eq!(refusal.header("retry-after"), Some("1"));
    assert!(kept.is_over().await, "a connection takes memory, too");
    assert!(metric(&process, "tokenferry_overloaded{resource=\"memory\"} 1").await, "the admin port answers");
    // One that comes now is not served, or was just accepted and is refused.
    let mut new = End::connect(process.address).await;
    new.send(GET).await;
    let waits = tokio::time::timeout(Duration::from_millis(300), new.head()).await;
    assert!(waits.as_ref().map_or(true, |head| head.as_ref().is_some_and(|head| head.status() == 503)), "{waits:?}");

    permits.add_permits(1);
    assert_eq!(large.answer().await.status(), 200, "what was under way");
    drop((large, kept, new));
    // Whatever the allocator keeps, and whoever asks meanwhile.
    let deadline = Instant::now() + Duration::from_secs(30);
    while again().await != 200 {
        assert!(Instant::now() < deadline, "new work is taken again; log: {}", process.log());
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    for _ in 0..20 {
        assert_eq!(exchange(process.address, GET).await.status(), 200);
        assert_eq!(again().await, 200);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let log = process.log();
    assert!(log.contains("memory is short") && log.contains("requests are taken again"), "{log}");
    assert!(log.matches("memory is short").count() <= 2, "at most once a minute: {log}");
}

#[tokio::test]
async fn a_memory_limit_that_is_below_what_is_in_use_is_told_and_does_not_refuse_for_ever() {
    let permits = Arc::new(Semaphore::new(0));
    let upstream = holding(&permits).await;
    let process = Process::start(&keeping(&upstream, ""), &[]);
    let mut large = large(&process).await;
    eventually("the body is kept", || process.memory_kib("VmRSS") > 80 << 10).await;
    process.rewrite(&keeping(&upstream, ", memory: 64MiB"));
    eventually("the log says so", || process.log().contains("less than is in use already")).await;
    permits.add_permits(1);
    assert_eq!(large.answer().await.status(), 200, "what was under way");
    drop(large);
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut in_a_row = 0;
    while in_a_row < 20 {
        assert!(Instant::now() < deadline, "{}", process.log());
        in_a_row = if exchange(process.address, GET).await.status() == 200 { in_a_row + 1 } else { 0 };
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_log_on_a_full_disk_costs_its_lines_and_no_request() {
    let upstream = Wire::ok().await;
    let yaml = format!("log: {{access: all, level: debug}}\n{}", one_route(&upstream.url(""), ""));
    let mut process = through_a_shell(&yaml, "RUN 2>/dev/full");
    for _ in 0..100 {
        assert_eq!(exchange(process.address, GET).await.status(), 200);
    }
    assert!(process.runs());
    process.signal("TERM");
    let (status, _) = process.ended().await;
    assert!(status.success(), "{status}");
}

/// In short with a thousand; with the ten thousand that may wait by default where the long runs are.
#[tokio::test]
async fn a_credential_in_trouble_takes_no_capacity_from_other_routes() {
    const STREAMS: usize = 100;

    let waiting: usize = if std::env::var_os("TOKENFERRY_SOAK_SECONDS").is_some() { 10_000 } else { 1000 };
    let upstream = Wire::ok().await;
    // Takes logins and answers none.
    let vendor = Wire::start(|mut caller| async move {
        caller.request().await;
        std::future::pending::<()>().await;
    })
    .await;
    let yaml = format!(
        "credentials:\n  fixed: {{provider: static, token: T}}\n  ill: {{provider: oauth2, token_url: '{}', \
         grant: client_credentials, client_id: a, client_secret: b, timeout: 60s}}\n\
         defaults: {{limits: {{waiting: {waiting}}}, timeouts: {{token: 60s}}}}\n\
         routes:\n  - {{name: ill, match: {{path: /ill}}, upstream: '{1}', credential: ill}}\n  \
         - {{name: well, upstream: '{1}', credential: fixed}}\n",
        vendor.url("/token"),
        upstream.url(""),
    );
    let proxy = Proxy::start(&yaml).await;
    let request = || Request::get("http://x/ill").body(Full::<Bytes>::default()).unwrap();
    let mut patient = Vec::new();
    // More than may wait: those that find no place are refused.
    for _ in 0..=waiting / STREAMS {
        let http2 = http2_client::<Full<Bytes>>(proxy.address()).await;
        for _ in 0..STREAMS {
            let mut http2 = http2.clone();
            patient.push(tokio::spawn(async move { http2.send_request(request()).await.map(|a| a.status()) }));
        }
    }
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut extra = Vec::new();
    let refusal = loop {
        // One that finds a place keeps it: let go of, it would be free for the next.
        let address = proxy.address();
        let mut asked = tokio::spawn(exchange(address, "GET /ill HTTP/1.1\r\nHost: x\r\n\r\n"));
        match tokio::time::timeout(Duration::from_millis(500), &mut asked).await {
            Ok(answer) => break answer.unwrap(),
            Err(_) => extra.push(asked),
        }
        assert!(Instant::now() < deadline, "all places are taken");
    };
    is_problem(&refusal, 503, "too_many_waiting");
    let began = Instant::now();
    for _ in 0..200 {
        assert_eq!(exchange(proxy.address(), GET).await.status(), 200);
    }
    println!("{waiting} wait; 200 requests of another route took {:?}", began.elapsed());
    let still = patient.iter().filter(|task| !task.is_finished()).count();
    assert!(still + 10 >= waiting, "those that wait still do: {still}");
    assert_eq!(vendor.accepted(), 1, "one login for all of them");
    eventually_within(Duration::from_secs(1), "no connection is kept from it", || upstream.accepted() > 0).await;
}
