//! The configuration changes while requests are under way, and nobody notices; one that is bad
//! changes nothing, and is reported.

use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tempfile::TempDir;
use tokenferry::demo::{Crewmojo, CrmCom, Simulator};

use crate::harness::client::{Connection, assert_unavailable, get, text, token_number};
use crate::harness::eventually;
use crate::harness::load::Load;
use crate::harness::process::{Process, replace};
use crate::harness::proxy::{Proxy, complete};
use crate::harness::raw::soon;
use crate::harness::upstream::Upstream;
use crate::harness::vendors::{config, crewmojo, crewmojo_with, crm, route, simulate};

/// Crewmojo at `/crewmojo`, whose answers say which revision of the configuration they came by.
pub fn revision(simulator: &Simulator, number: usize) -> String {
    let more = format!(", response_headers: {{set: {{X-Revision: \"{number}\"}}}}");
    config(
        &[crewmojo(simulator.origin(), "")],
        &[route("crewmojo", &format!("{}/v1", simulator.origin()), "crewmojo", &more)],
    )
}

pub fn revision_of(answer: &Response<Bytes>) -> usize {
    answer.headers()["x-revision"].to_str().unwrap().parse().unwrap()
}

pub fn request(target: &str) -> Request<Full<Bytes>> {
    Request::get(target).body(Full::default()).unwrap()
}

/// Waits for an answer with this status.
async fn until_status(address: std::net::SocketAddr, target: &str, status: u16) -> Response<Bytes> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let answer = get(address, target).await;
        if answer.status() == status {
            return answer;
        }
        assert!(Instant::now() < deadline, "{target}: {} and not {status}: {}", answer.status(), text(&answer));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_request_finishes_by_the_configuration_it_began_with() {
    let (go, told) = tokio::sync::oneshot::channel::<()>();
    let told = std::sync::Arc::new(tokio::sync::Mutex::new(Some(told)));
    let upstream = Upstream::answering_later(move |seen| {
        let told = std::sync::Arc::clone(&told);
        async move {
            if seen.path() == "/slow" {
                told.lock().await.take().unwrap().await.unwrap();
            }
            Response::new(Full::from("done"))
        }
    })
    .await;
    let key = "  keys: {provider: static, token: k3y}\n".to_owned();
    let with = |routes: &[String]| config(std::slice::from_ref(&key), routes);
    let old = route("old", &upstream.url("/"), "keys", ", response_headers: {set: {X-Old: \"yes\"}}");
    let new = route("new", &upstream.url("/"), "keys", "");
    let proxy = Proxy::start(&with(&[old])).await;
    let address = proxy.address();
    let slow = tokio::spawn(async move { get(address, "/old/slow").await });
    eventually("the request is under way", || upstream.seen().len() == 1).await;

    proxy.rewrite(&with(&[new]));
    until_status(address, "/old/a", 404).await;
    assert_eq!(get(address, "/new/a").await.status(), 200);
    go.send(()).unwrap();
    let answer = slow.await.unwrap();
    assert_eq!((answer.status().as_u16(), text(&answer).as_str()), (200, "done"));
    assert_eq!(answer.headers()["x-old"], "yes");
}

#[tokio::test]
async fn a_bad_file_changes_nothing_and_is_reported_without_its_secrets() {
    let simulator = simulate(Crewmojo::default()).await;
    let process = Process::start(&revision(&simulator, 1), &[]);
    assert_eq!(get(process.address, "/crewmojo/a").await.status(), 200);
    let broken = revision(&simulator, 2)
        .replace("client_secret: \"demo-crewmojo-secret\"", "client_secrets: \"hunter2-canary\"")
        .replace("credential: crewmojo", "credential: crewmoo");
    for bad in [complete(&broken).as_str(), "routes: [", "", "\u{0}", "a: 1\n---\nb: 2\n"] {
        let refusals = process.log().matches("configuration refused").count();
        replace(&process.folder.path().join("proxy.yaml"), bad);
        eventually("it is reported", || process.log().matches("configuration refused").count() > refusals).await;
        let answer = get(process.address, "/crewmojo/a").await;
        assert_eq!((answer.status().as_u16(), revision_of(&answer)), (200, 1));
    }
    let log = process.log();
    for told in ["unknown field `client_secrets`", "there is no credential of this name", "proxy.yaml:6:119"] {
        assert!(log.contains(told), "{told}: {log}");
    }
    assert!(!log.contains("hunter2-canary"), "{log}");
    assert_eq!(process.taken(), 1);
    process.rewrite(&revision(&simulator, 3));
    eventually("the mended file is taken", || process.taken() == 2).await;
    assert_eq!(revision_of(&get(process.address, "/crewmojo/a").await), 3);
    assert_eq!(simulator.token_requests(), 1);
}

#[tokio::test]
async fn the_same_content_is_no_reload() {
    let simulator = simulate(Crewmojo::default()).await;
    let process = Process::start(&revision(&simulator, 1), &[("TOKENFERRY_LOG", "debug")]);
    let unchanged = || process.log().matches("configuration unchanged").count();
    process.rewrite(&revision(&simulator, 1));
    let before = unchanged();
    process.signal("HUP");
    eventually("the signal is answered", || unchanged() > before).await;
    process.rewrite(&revision(&simulator, 2));
    eventually("a change is taken", || process.taken() == 2).await;
    process.rewrite(&revision(&simulator, 1));
    eventually("and the change back", || process.taken() == 3).await;
}

#[tokio::test]
async fn a_route_that_is_removed_stops_and_one_that_is_added_works() {
    let simulator = simulate(CrmCom::default()).await;
    let upstream = format!("{}/crmapi/rest/v2", simulator.origin());
    let with = |name: &str| config(&[crm(simulator.origin(), "")], &[route(name, &upstream, "crm", "")]);
    let proxy = Proxy::start(&with("before")).await;
    let mut kept = Connection::open(proxy.address()).await;
    assert_eq!(kept.send(request("/before/a")).await.unwrap().status(), 200);
    proxy.rewrite(&with("after"));
    until_status(proxy.address(), "/before/a", 404).await;
    assert_eq!(kept.send(request("/before/a")).await.unwrap().status(), 404, "on an old connection, too");
    let answer = kept.send(request("/after/a")).await.unwrap();
    assert_eq!((answer.status().as_u16(), token_number(&answer)), (200, Some(1)), "with the same token");
}

#[tokio::test]
async fn a_mended_secret_is_tried_at_once() {
    let simulator = simulate(Crewmojo::default()).await;
    let with = |secret: &str| {
        let upstream = format!("{}/v1", simulator.origin());
        config(&[crewmojo_with(secret, simulator.origin(), "")], &[route("crewmojo", &upstream, "crewmojo", "")])
    };
    let proxy = Proxy::start(&with("wrong")).await;
    assert_unavailable(&get(proxy.address(), "/crewmojo/a").await, "token_unavailable");
    assert_unavailable(&get(proxy.address(), "/crewmojo/a").await, "token_unavailable");
    assert_eq!(simulator.token_requests(), 1);
    let began = Instant::now();
    proxy.rewrite(&with(&Crewmojo::default().client_secret));
    proxy.hang_up().await;
    until_status(proxy.address(), "/crewmojo/a", 200).await;
    assert_eq!(simulator.token_requests(), 2);
    // The back-off after a refused secret is five seconds at least.
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_secret_that_is_wrong_does_not_take_the_living_token_away() {
    let simulator = simulate(Crewmojo::default()).await;
    let with = |secret: &str| {
        let upstream = format!("{}/v1", simulator.origin());
        config(&[crewmojo_with(secret, simulator.origin(), "")], &[route("crewmojo", &upstream, "crewmojo", "")])
    };
    let good = Crewmojo::default().client_secret;
    let process = Process::start(&with(&good), &[]);
    let load = Load::of_gets(process.address, 4, Duration::from_millis(5), "/crewmojo/a");
    eventually("the load is on", || simulator.data_requests() > 20).await;
    process.rewrite(&with("wrong"));
    eventually("it is tried", || simulator.token_requests() == 2).await;
    eventually("its failure is visible", || process.log().contains("login failed")).await;
    let seen = simulator.data_requests();
    eventually("the load goes on", || simulator.data_requests() > seen + 50).await;
    process.rewrite(&with(&good));
    eventually("the change back is taken", || process.taken() == 3).await;
    load.stop().await.assert_all_served(50);
    assert_eq!(simulator.token_requests(), 2, "the token in hand was got with this very secret");
}

/// A secret in a file, as an orchestrator mounts it.
fn with_secret_file(simulator: &Simulator, file: &str) -> String {
    let secret = format!("${{file:{file}}}");
    let upstream = format!("{}/v1", simulator.origin());
    config(&[crewmojo_with(&secret, simulator.origin(), "")], &[route("crewmojo", &upstream, "crewmojo", "")])
}

#[tokio::test]
async fn a_secret_files_change_is_a_reload() {
    let good = format!("{}\n", Crewmojo::default().client_secret);
    let by_rename = |file: &Path| replace(file, &good);
    let in_place = |file: &Path| std::fs::write(file, &good).unwrap();
    for mend in [&by_rename as &dyn Fn(&Path), &in_place] {
        let simulator = simulate(Crewmojo::default()).await;
        let folder = TempDir::new().unwrap();
        std::fs::create_dir(folder.path().join("secrets")).unwrap();
        let file = folder.path().join("secrets/crewmojo");
        std::fs::write(&file, "wrong\n").unwrap();
        let proxy = Proxy::start_in(folder, &with_secret_file(&simulator, "secrets/crewmojo"), &[]).await;
        assert_unavailable(&get(proxy.address(), "/crewmojo/a").await, "token_unavailable");
        mend(&file);
        until_status(proxy.address(), "/crewmojo/a", 200).await;
        assert_eq!(simulator.tokens_issued(), 1);
    }
}

#[tokio::test]
async fn a_config_maps_and_a_secrets_swap_of_data_are_reloads() {
    let simulator = simulate(Crewmojo::default()).await;
    let folder = TempDir::new().unwrap();
    std::fs::create_dir(folder.path().join("secret")).unwrap();
    // As the kubelet does: a new folder, a link to it renamed over `..data`, the old folder removed.
    let swap = |place: &Path, version: usize, name: &str, content: &str| {
        let data = format!("..{version}");
        std::fs::create_dir(place.join(&data)).unwrap();
        std::fs::write(place.join(&data).join(name), content).unwrap();
        std::os::unix::fs::symlink(&data, place.join("..data_tmp")).unwrap();
        std::fs::rename(place.join("..data_tmp"), place.join("..data")).unwrap();
        if version == 1 {
            std::os::unix::fs::symlink(Path::new("..data").join(name), place.join(name)).unwrap();
        } else {
            std::fs::remove_dir_all(place.join(format!("..{}", version - 1))).unwrap();
        }
    };
    let (map, secret) = (folder.path().to_owned(), folder.path().join("secret"));
    let revised = |number: usize| {
        let more = format!(", credential: crewmojo, response_headers: {{set: {{X-Revision: \"{number}\"}}}}");
        complete(&with_secret_file(&simulator, "secret/key")).replace(", credential: crewmojo", &more)
    };
    swap(&secret, 1, "key", "wrong");
    swap(&map, 1, "proxy.yaml", &revised(1));
    let process = Process::start_in(folder, &[]);
    assert_unavailable(&get(process.address, "/crewmojo/a").await, "token_unavailable");
    swap(&secret, 2, "key", &Crewmojo::default().client_secret);
    let answer = until_status(process.address, "/crewmojo/a", 200).await;
    assert_eq!((token_number(&answer), revision_of(&answer)), (Some(1), 1));
    for number in 2..=4 {
        let taken = process.taken();
        swap(&map, number, "proxy.yaml", &revised(number));
        eventually("the swap is taken", || process.taken() > taken).await;
        let answer = get(process.address, "/crewmojo/a").await;
        assert_eq!((token_number(&answer), revision_of(&answer)), (Some(1), number));
    }
    assert_eq!(process.taken(), 5);
}

#[tokio::test]
async fn a_file_that_is_refused_again_for_the_same_reason_is_told_of_once_a_moment() {
    let admin = "limits: {connections: 4000000000}\nadmin: {address: '127.0.0.1:0'}\n";
    let with_status = |status: &str| format!("{admin}routes: [{{name: a, respond: {status}}}]\n");
    let process = Process::start(&with_status("204"), &[]);
    let port = process.admin().await;
    let refused = async || {
        let page = text(&get(port, "/metrics").await);
        let row = "tokenferry_config_reloads_total{outcome=\"refused\"} ";
        page.lines().find_map(|line| line.strip_prefix(row)?.parse::<u64>().ok()).unwrap()
    };
    let told = || process.log().matches("configuration refused; the one before stays in force").count();
    let mut before = Instant::now();
    for (more, count) in [("", 1), ("# again\n", 2), ("# and again\n", 3)] {
        let (begun, lines) = (Instant::now(), told());
        process.rewrite(&format!("{}{more}", with_status("99")));
        soon("the refusal", async { while refused().await != count {} }).await;
        // A busy machine may be too late for it to be one moment.
        if count > 1 && before.elapsed() < Duration::from_secs(2) {
            assert_eq!(told(), lines, "{}", process.log());
        }
        before = begun;
    }
    // Whoever saves the same mistakes later is told of them again.
    let lines = told();
    tokio::time::sleep(Duration::from_millis(2100)).await;
    process.rewrite(&format!("{}# later\n", with_status("99")));
    eventually("the later refusal", || told() == lines + 1).await;
    process.rewrite(&with_status("98"));
    eventually("another file's refusal", || told() == lines + 2).await;
    assert!(process.log().contains("`limits.connections` is more than there are files for"), "{}", process.log());
}
