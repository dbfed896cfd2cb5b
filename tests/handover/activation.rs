//! Sockets of a service manager, as systemd passes them.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::process::Stdio;
use std::sync::Arc;

use tempfile::TempDir;

use super::*;
use crate::harness::process::command;

/// A folder with a configuration that listens here.
fn folder(address: &str, more: &str) -> TempDir {
    let folder = TempDir::new().unwrap();
    let listeners = format!("listeners: [{{address: '{address}'}}]\n{more}");
    let yaml = format!("{listeners}routes: [{{name: a, respond: 204}}]\n");
    std::fs::write(folder.path().join("proxy.yaml"), crate::harness::proxy::complete(&yaml)).unwrap();
    folder
}

/// Becomes the proxy with this socket as its descriptor 3, which is what `LISTEN_FDS=1` announces.
fn activated(folder: &Arc<TempDir>, socket: OwnedFd) -> std::process::Command {
    let mut shell = std::process::Command::new("sh");
    shell.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).current_dir(folder.path());
    let script = "exec 3<&0 </dev/null; export LISTEN_FDS=1 LISTEN_PID=$$; exec \"$0\" run";
    shell.args(["-c", script, env!("CARGO_BIN_EXE_tokenferry")]).stdin(Stdio::from(socket));
    shell
}

#[tokio::test]
async fn connections_that_come_while_no_process_runs_are_answered_by_the_next() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let folder = Arc::new(folder(&address.to_string(), ""));
    let first = Process::launch(Arc::clone(&folder), activated(&folder, socket.try_clone().unwrap().into()));
    assert_eq!(first.address, address);
    assert_eq!(get(address, "/").await.status(), 204);
    first.signal("TERM");
    assert_eq!(first.ended().await.0.code(), Some(0));
    let waiting: Vec<_> = (0..8).map(|_| tokio::spawn(async move { get(address, "/").await })).collect();
    let next = activated(&folder, socket.into());
    let place = Arc::clone(&folder);
    let _second = tokio::task::spawn_blocking(move || Process::launch(place, next)).await.unwrap();
    for answer in waiting {
        assert_eq!(answer.await.unwrap().status(), 204);
    }
}

#[tokio::test]
async fn the_file_of_the_service_managers_socket_is_left_to_it() {
    let place = TempDir::new().unwrap();
    let path = place.path().join("a.sock");
    let socket = UnixListener::bind(&path).unwrap();
    let listeners = format!("127.0.0.1:0'}}, {{address: 'unix:{}", path.display());
    let folder = Arc::new(folder(&listeners, "handover: handover.sock\n"));
    let first = Process::launch(Arc::clone(&folder), activated(&folder, socket.into()));
    let second = first.successor().await;
    has_handed_over(first).await;
    second.signal("TERM");
    assert_eq!(second.ended().await.0.code(), Some(0));
    assert!(path.exists());
}

#[tokio::test]
async fn a_socket_that_no_listener_wants_is_told_and_closed() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let folder = Arc::new(folder("127.0.0.1:0", ""));
    let process = Process::launch(Arc::clone(&folder), activated(&folder, socket.into()));
    assert_ne!(process.address, address);
    eventually("it is told", || process.log().contains("no listener of the configuration takes this socket")).await;
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn what_is_no_listening_socket_is_refused() {
    let folder = Arc::new(folder("127.0.0.1:0", ""));
    let file: OwnedFd = std::fs::File::open("/dev/null").unwrap().into();
    let output = activated(&folder, file).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("socket of the service manager"), "{output:?}");
    // Meant for another process.
    let mut other = command(folder.path());
    other.arg("run").envs([("LISTEN_FDS", "1"), ("LISTEN_PID", "1")]);
    let process = Process::launch(Arc::clone(&folder), other);
    assert_eq!(get(process.address, "/").await.status(), 204);
}
