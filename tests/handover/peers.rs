//! Whoever comes to the handover socket, the running process goes on.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Output;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener, UnixStream};

use super::*;
use crate::harness::process::command;

fn hatch(process: &Process) -> PathBuf {
    process.folder.path().join("handover.sock")
}

/// Runs a second process in the folder of the first, to its end.
async fn fails(process: &Process) -> Output {
    let folder = std::sync::Arc::clone(&process.folder);
    let run = move || command(folder.path()).arg("run").output().unwrap();
    tokio::task::spawn_blocking(run).await.unwrap()
}

/// Asserts that it serves, and can log in still: the token in hand is dead.
async fn renews(process: &Process, simulator: &Simulator) {
    let logins = simulator.token_requests();
    simulator.revoke_all();
    let answer = get(process.address, "/crewmojo/a").await;
    assert_eq!((answer.status().as_u16(), token_number(&answer)), (200, Some(logins + 1)), "{}", text(&answer));
}

#[tokio::test]
async fn the_socket_is_for_its_user_alone_under_any_umask() {
    for umask in ["000", "077"] {
        let simulator = simulate(Crewmojo::default()).await;
        let folder = tempfile::TempDir::new().unwrap();
        let yaml = crate::harness::proxy::complete(&with_handover(&simulator, &data(&simulator)));
        std::fs::write(folder.path().join("proxy.yaml"), yaml).unwrap();
        let mut shell = std::process::Command::new("sh");
        shell.current_dir(folder.path()).args(["-c", &format!("umask {umask}; exec \"$0\" run")]);
        shell.arg(env!("CARGO_BIN_EXE_tokenferry"));
        let process = Process::launch(std::sync::Arc::new(folder), shell);
        let mode = std::fs::symlink_metadata(hatch(&process)).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600, "umask {umask}");
        let next = process.successor().await;
        let mode = std::fs::symlink_metadata(hatch(&next)).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600, "handed over");
    }
}

#[tokio::test]
async fn a_new_process_with_a_bad_configuration_leaves_the_old_one_alone() {
    let simulator = simulate(Crewmojo::default()).await;
    let process = Process::start(&with_handover(&simulator, &data(&simulator)), &[]);
    assert_eq!(get(process.address, "/crewmojo/a").await.status(), 200);
    process.rewrite(&format!("nonsense: 1\n{}", with_handover(&simulator, &data(&simulator))));
    let output = fails(&process).await;
    assert_eq!(output.status.code(), Some(78), "{output:?}");
    renews(&process, &simulator).await;
}

#[tokio::test]
async fn a_new_process_that_cannot_bind_gives_everything_back() {
    let simulator = simulate(Crewmojo::default()).await;
    let process = Process::start(&with_handover(&simulator, &data(&simulator)), &[]);
    assert_eq!(get(process.address, "/crewmojo/a").await.status(), 200);
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();
    let listeners = format!("listeners: [{{address: '127.0.0.1:0'}}, {{address: '{address}'}}]\n");
    process.rewrite(&format!("{listeners}{}", with_handover(&simulator, &data(&simulator))));
    let output = fails(&process).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("another process listens there"), "{output:?}");
    eventually("it noticed", || process.log().contains("goes on as before")).await;
    renews(&process, &simulator).await;
}

/// Takes everything, as a new process does, and reads the answer; the sockets are let go at once.
async fn taker(process: &Process) -> (UnixStream, String) {
    let mut stream = UnixStream::connect(hatch(process)).await.unwrap();
    stream.write_all(b"{\"take\":1,\"version\":\"by hand\"}\n").await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\n") {
        assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0, "{answer:?}");
    }
    (stream, String::from_utf8(answer).unwrap())
}

#[tokio::test]
async fn a_new_process_that_dies_before_it_serves_changes_nothing() {
    let simulator = simulate(Crewmojo::default()).await;
    let process = Process::start(&with_handover(&simulator, &data(&simulator)), &[]);
    assert_eq!(get(process.address, "/crewmojo/a").await.status(), 200);
    for last_words in ["", "{\"serving\":false}\n", "{\"serv", "nonsense\n"] {
        let (mut stream, answer) = taker(&process).await;
        assert!(answer.contains("\"configured\":\"127.0.0.1:0\""), "{answer}");
        stream.write_all(last_words.as_bytes()).await.unwrap();
        drop(stream);
        assert_eq!(token_number(&get(process.address, "/crewmojo/a").await), Some(1));
    }
    renews(&process, &simulator).await;
    let next = process.successor().await;
    has_handed_over(process).await;
    assert_eq!(token_number(&get(next.address, "/crewmojo/a").await), Some(2));
}

#[tokio::test]
async fn no_login_is_begun_while_a_process_takes_over() {
    let simulator = simulate(Crewmojo::default()).await;
    let process = Process::start(&with_handover(&simulator, &data(&simulator)), &[]);
    assert_eq!(get(process.address, "/crewmojo/a").await.status(), 200);
    let (stream, _) = taker(&process).await;
    simulator.revoke_all();
    let address = process.address;
    let waiting = tokio::spawn(async move { get(address, "/crewmojo/a").await });
    eventually("its token is refused", || simulator.refused() == 1).await;
    // Other requests come and go meanwhile.
    for _ in 0..20 {
        assert_eq!(get(address, "/nowhere").await.status(), 404);
    }
    assert!(!waiting.is_finished());
    assert_eq!(simulator.token_requests(), 1);
    drop(stream);
    let answer = waiting.await.unwrap();
    assert_eq!((answer.status().as_u16(), token_number(&answer)), (200, Some(2)), "{}", text(&answer));
}

#[tokio::test]
async fn two_that_take_over_at_once_do_so_one_after_the_other() {
    let simulator = simulate(Crewmojo::default()).await;
    let process = Process::start(&with_handover(&simulator, &data(&simulator)), &[]);
    assert_eq!(get(process.address, "/crewmojo/a").await.status(), 200);
    let (one, other) = tokio::join!(process.successor(), process.successor());
    has_handed_over(process).await;
    let left = |process: &Process| process.log().contains("handed over");
    eventually("one took over from the other", || left(&one) || left(&other)).await;
    let (first, second) = if left(&one) { (one, other) } else { (other, one) };
    has_handed_over(first).await;
    assert_eq!(token_number(&get(second.address, "/crewmojo/a").await), Some(1));
}

#[tokio::test]
async fn nonsense_at_the_socket_is_turned_away() {
    let simulator = simulate(Crewmojo::default()).await;
    let process = Process::start(&with_handover(&simulator, &data(&simulator)), &[]);
    assert_eq!(get(process.address, "/crewmojo/a").await.status(), 200);
    let megabyte = vec![b'x'; 1 << 20];
    let later = b"{\"take\":2,\"version\":\"9\"}\n";
    for said in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"\0\xff\n", b"{}\n", b"{\"take\":1", &megabyte, later, b""] {
        let mut stream = UnixStream::connect(hatch(&process)).await.unwrap();
        // It may be closed before all of it is written.
        let _ = stream.write_all(said).await;
        let _ = stream.shutdown().await;
        let mut answer = String::new();
        let _ = tokio::time::timeout(Duration::from_secs(10), stream.read_to_string(&mut answer)).await.unwrap();
        assert!(answer.is_empty() || answer.starts_with("{\"error\":"), "{answer}");
    }
    let _silent = UnixStream::connect(hatch(&process)).await.unwrap();
    assert_eq!(token_number(&get(process.address, "/crewmojo/a").await), Some(1));
    let next = process.successor().await;
    has_handed_over(process).await;
    renews(&next, &simulator).await;
}

#[tokio::test]
async fn a_new_process_does_not_fight_one_that_it_does_not_understand() {
    for (said, told) in [
        ("HTTP/1.1 400 Bad Request\n", "cannot be understood"),
        ("{}\n", "cannot be understood"),
        ("{\"error\":\"not today\"}\n", "not today"),
        ("{\"lis", "cannot be asked"),
    ] {
        let simulator = simulate(Crewmojo::default()).await;
        let folder = tempfile::TempDir::new().unwrap();
        let yaml = crate::harness::proxy::complete(&with_handover(&simulator, &data(&simulator)));
        std::fs::write(folder.path().join("proxy.yaml"), yaml).unwrap();
        let stranger = UnixListener::bind(folder.path().join("handover.sock")).unwrap();
        let answering = tokio::spawn(async move {
            loop {
                let (mut stream, _) = stranger.accept().await.unwrap();
                let mut asked = Vec::new();
                while !asked.ends_with(b"\n") {
                    stream.read_buf(&mut asked).await.unwrap();
                }
                stream.write_all(said.as_bytes()).await.unwrap();
            }
        });
        let place = folder.path().to_owned();
        let run = move || command(&place).arg("run").output().unwrap();
        let output = tokio::task::spawn_blocking(run).await.unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}: {output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(told), "{said}: {output:?}");
        answering.abort();
    }
}

#[tokio::test]
async fn what_a_dead_process_left_behind_is_replaced_and_a_file_is_not() {
    let simulator = simulate(Crewmojo::default()).await;
    let process = Process::start(&with_handover(&simulator, &data(&simulator)), &[]);
    process.signal("KILL");
    let (folder, path) = (std::sync::Arc::clone(&process.folder), hatch(&process));
    process.ended().await;
    assert!(path.exists());
    let mut again = command(folder.path());
    again.arg("run");
    let again = Process::launch(folder, again);
    assert_eq!(get(again.address, "/crewmojo/a").await.status(), 200);
    again.signal("TERM");
    let folder = std::sync::Arc::clone(&again.folder);
    assert_eq!(again.ended().await.0.code(), Some(0));
    assert!(!path.exists(), "it goes with the last process");
    std::fs::write(&path, "somebody's").unwrap();
    let output = command(folder.path()).arg("run").output().unwrap();
    assert_eq!(output.status.code(), Some(78), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("is a file, not a socket"), "{output:?}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "somebody's");
}
