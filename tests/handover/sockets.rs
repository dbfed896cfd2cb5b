//! Which listening sockets go over, and what becomes of their files.

use std::path::Path;
use std::sync::Arc;

use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;

use super::*;
use crate::harness::process::replace;

/// A free port on TCP first, then Unix sockets of these names in the folder.
fn listening(folder: &Path, names: &[&str]) -> String {
    let mut yaml = "handover: handover.sock\nlisteners:\n  - address: 127.0.0.1:0\n".to_owned();
    for name in names {
        yaml.push_str(&format!("  - address: unix:{}/{name}\n", folder.display()));
    }
    crate::harness::proxy::complete(&format!("{yaml}routes: [{{name: a, respond: 204}}]\n"))
}

/// The status line by way of a Unix socket.
async fn status_by(path: &Path) -> std::io::Result<String> {
    let mut stream = UnixStream::connect(path).await?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer.lines().next().unwrap_or_default().to_owned())
}

const SERVED: &str = "HTTP/1.1 204 No Content";

fn started(names: &[&str]) -> Process {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("proxy.yaml"), listening(folder.path(), names)).unwrap();
    Process::start_in(folder, &[])
}

#[tokio::test]
async fn a_unix_sockets_file_outlives_the_old_process_and_goes_with_the_last() {
    let mut process = started(&["a.sock"]);
    let folder = Arc::clone(&process.folder);
    let path = folder.path().join("a.sock");
    for _ in 0..3 {
        assert_eq!(status_by(&path).await.unwrap(), SERVED);
        let next = process.successor().await;
        has_handed_over(std::mem::replace(&mut process, next)).await;
    }
    assert_eq!(status_by(&path).await.unwrap(), SERVED);
    process.signal("TERM");
    assert_eq!(process.ended().await.0.code(), Some(0));
    assert!(!path.exists() && !folder.path().join("handover.sock").exists());
}

#[tokio::test]
async fn a_listener_that_is_new_is_bound_and_one_that_is_gone_is_closed() {
    let first = started(&["a.sock", "b.sock"]);
    let folder = Arc::clone(&first.folder);
    let at = |name: &str| folder.path().join(name);
    replace(&at("proxy.yaml"), &listening(folder.path(), &["c.sock", "b.sock"]));
    let second = first.successor().await;
    assert_eq!(second.address, first.address);
    has_handed_over(first).await;
    for name in ["b.sock", "c.sock"] {
        assert_eq!(status_by(&at(name)).await.unwrap(), SERVED, "{name}");
    }
    assert!(!at("a.sock").exists());
    assert_eq!(get(second.address, "/").await.status(), 204);
}

#[tokio::test]
async fn the_files_of_the_old_process_stay_where_the_new_one_fails() {
    let process = started(&["a.sock"]);
    let folder = Arc::clone(&process.folder);
    std::fs::create_dir(folder.path().join("b.sock")).unwrap();
    replace(&folder.path().join("proxy.yaml"), &listening(folder.path(), &["b.sock"]));
    let place = Arc::clone(&folder);
    let run = move || crate::harness::process::command(place.path()).arg("run").output().unwrap();
    let output = tokio::task::spawn_blocking(run).await.unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(status_by(&folder.path().join("a.sock")).await.unwrap(), SERVED);
    assert!(folder.path().join("handover.sock").exists());
}

#[tokio::test]
async fn a_reload_says_that_a_change_of_the_handover_socket_needs_a_restart() {
    let process = started(&[]);
    let yaml = listening(process.folder.path(), &[]).replace("handover.sock", "other.sock");
    replace(&process.folder.path().join("proxy.yaml"), &yaml);
    eventually("it is told", || process.log().contains("`handover` has changed: this needs a restart")).await;
    assert!(!process.folder.path().join("other.sock").exists());
}

#[tokio::test]
async fn the_admin_port_is_the_new_processs_at_once_however_long_the_old_one_drains() {
    let simulator = simulate(Crewmojo::default()).await;
    let (upstream, go) = held(&simulator).await;
    let yaml = format!("admin: {{address: '127.0.0.1:0'}}\n{}", with_handover(&simulator, &upstream.url("/v1")));
    let mut old = Process::start(&yaml, &[]);
    let address = old.admin().await;
    let slow = under_way(&old, &upstream).await;
    let mut kept = Connection::open(address).await;
    assert_eq!(kept.send(request("/readyz")).await.unwrap().status(), 200);
    let new = old.successor().await;
    assert_eq!(new.admin().await, address);
    eventually("it drains", || old.log().contains("draining")).await;
    for _ in 0..50 {
        let status: serde_json::Value = serde_json::from_str(&text(&get(address, "/api/v1/status").await)).unwrap();
        assert_eq!((&status["state"], &status["ready"]), (&"serving".into(), &true.into()), "{status}");
    }
    let last = kept.send(request("/readyz")).await.unwrap();
    assert_eq!((last.status().as_u16(), last.headers()["connection"].to_str().unwrap()), (503, "close"));
    assert!(old.runs(), "{}", old.log());
    go.send(true).unwrap();
    slow.await.unwrap();
    has_handed_over(old).await;
}
