//! What a service manager is told, on a real notification socket (`sd_notify(3)`).

use std::time::Duration;

use tempfile::TempDir;
use tokio::net::UnixDatagram;

use crate::harness::client::get;
use crate::harness::eventually;
use crate::harness::process::Process;

const FIRST: &str = "listeners: [{address: 127.0.0.1:0}]\nroutes: [{name: a, respond: 204}]\n";
const SECOND: &str = "listeners: [{address: 127.0.0.1:0}]\nroutes: [{name: a, respond: 205}]\n";
const BROKEN: &str = "listeners: [{address: 127.0.0.1:0}]\nroutes: [{name: a, respond: 204, mtach: {}}]\nworkers: no\n";

/// The manager's end of the socket.
struct Manager {
    socket: UnixDatagram,
    path: String,
    _folder: TempDir,
}

impl Manager {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        Self { socket, path: path.to_str().unwrap().to_owned(), _folder: folder }
    }

    async fn start(&self, yaml: &str, more: &[(&str, &str)]) -> Process {
        let folder = TempDir::new().unwrap();
        std::fs::write(folder.path().join("proxy.yaml"), crate::harness::proxy::complete(yaml)).unwrap();
        let variables: Vec<_> =
            [("NOTIFY_SOCKET", self.path.as_str())].into_iter().chain(more.iter().copied()).collect();
        let variables: Vec<_> = variables.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
        let start = move || {
            let variables: Vec<_> = variables.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
            Process::start_in(folder, &variables)
        };
        tokio::task::spawn_blocking(start).await.unwrap()
    }

    /// The next message's assignments.
    async fn hears(&self) -> Vec<String> {
        let mut buffer = vec![0; 4096];
        let received = tokio::time::timeout(Duration::from_secs(10), self.socket.recv(&mut buffer)).await;
        let length = received.expect("a message within ten seconds").unwrap();
        std::str::from_utf8(&buffer[..length]).unwrap().lines().map(str::to_owned).collect()
    }

    /// That a reload begins, with the time that systemd 253 and later insist on.
    async fn hears_of_a_reload(&self) {
        let heard = self.hears().await;
        assert_eq!(heard[0], "RELOADING=1", "{heard:?}");
        assert!(heard[1].strip_prefix("MONOTONIC_USEC=").is_some_and(|time| time.parse::<u64>().is_ok()), "{heard:?}");
    }
}

#[tokio::test]
async fn it_is_told_of_the_start_of_every_verdict_on_a_reload_and_of_the_end() {
    let manager = Manager::new();
    let process = manager.start(FIRST, &[]).await;
    assert_eq!(manager.hears().await, ["READY=1", "STATUS=serving, configuration generation 1"]);

    process.rewrite(SECOND);
    assert_eq!(manager.hears().await, ["READY=1", "STATUS=serving, configuration generation 2"]);

    process.rewrite(BROKEN);
    let heard = manager.hears().await;
    assert_eq!(heard[0], "READY=1", "what was in force serves on");
    let status = heard[1].strip_prefix("STATUS=serving, configuration generation 2; the last reload was refused: ");
    let status = status.unwrap_or_else(|| panic!("{heard:?}"));
    assert!(
        status.starts_with("proxy.yaml:") && status.contains("`mtach`") && status.ends_with(" and 1 more"),
        "{status}"
    );

    // One that is asked for is told of before it begins, with the time, and with its verdict behind it.
    process.signal("HUP");
    manager.hears_of_a_reload().await;
    let again = manager.hears().await;
    assert_eq!(again, heard, "no better than before");

    process.rewrite(SECOND);
    assert_eq!(manager.hears().await, ["READY=1", "STATUS=serving, configuration generation 2"], "valid again");

    process.signal("HUP");
    manager.hears_of_a_reload().await;
    assert_eq!(manager.hears().await, ["READY=1", "STATUS=serving, configuration generation 2"], "unchanged");

    process.signal("TERM");
    let heard = manager.hears().await;
    assert_eq!(heard[0], "STOPPING=1");
    assert_eq!(heard[1], "EXTEND_TIMEOUT_USEC=20000000", "the drain's five seconds, and some for what comes behind");
    assert_eq!(heard[2], "STATUS=stopping, finishing what is under way");
    assert_eq!(process.ended().await.0.code(), Some(0));
}

#[tokio::test]
async fn it_is_not_told_ready_by_what_never_serves() {
    let manager = Manager::new();
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("proxy.yaml"), BROKEN).unwrap();
    let mut command = crate::harness::process::command(folder.path());
    command.arg("run").env("NOTIFY_SOCKET", &manager.path);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert_eq!(output.status.code(), Some(78));
    let mut buffer = [0; 4096];
    assert!(manager.socket.try_recv(&mut buffer).is_err(), "nothing was said");
}

#[tokio::test]
async fn its_watchdog_is_told_at_half_of_its_time_that_all_is_well() {
    let manager = Manager::new();
    let process = manager.start(FIRST, &[("WATCHDOG_USEC", "2000000")]).await;
    assert_eq!(manager.hears().await[0], "READY=1");
    for _ in 0..3 {
        assert_eq!(manager.hears().await, ["WATCHDOG=1"]);
    }
    process.signal("TERM");
    assert_eq!(process.ended().await.0.code(), Some(0));
}

#[tokio::test]
async fn a_watchdog_that_is_another_processs_is_left_alone() {
    let manager = Manager::new();
    let process = manager.start(FIRST, &[("WATCHDOG_USEC", "200000"), ("WATCHDOG_PID", "1")]).await;
    assert_eq!(manager.hears().await[0], "READY=1");
    let mut buffer = [0; 4096];
    let more = tokio::time::timeout(Duration::from_secs(1), manager.socket.recv(&mut buffer)).await;
    assert!(more.is_err(), "ten times its time, and not a word");
    process.signal("TERM");
    assert_eq!(process.ended().await.0.code(), Some(0));
}

/// A manager that is not there, or reads nothing, is no reason not to serve, to reload and to end.
#[tokio::test]
async fn a_manager_that_does_not_listen_holds_nothing_up() {
    let manager = Manager::new();
    let mut process = manager.start(FIRST, &[]).await;
    // Two messages each: where the kernel's queue is short, as it is by default, it and ours are full.
    for reload in 1..=50 {
        process.signal("HUP");
        eventually("a reload", || process.log().matches("configuration unchanged").count() >= reload).await;
    }
    process.rewrite(SECOND);
    eventually("the reload", || process.taken() == 2).await;
    assert_eq!(get(process.address, "/").await.status(), 205);
    assert!(process.runs());
    process.signal("TERM");
    assert_eq!(process.ended().await.0.code(), Some(0));

    let process = manager.start(FIRST, &[("NOTIFY_SOCKET", "/nowhere/notify")]).await;
    assert_eq!(get(process.address, "/").await.status(), 204);
    process.signal("TERM");
    let (status, log) = process.ended().await;
    assert_eq!(status.code(), Some(0));
    assert_eq!(log.matches("the service manager cannot be told").count(), 1, "told once\n{log}");
}
