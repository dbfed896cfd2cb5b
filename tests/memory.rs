//! Bodies stream: however large, they do not stay in memory.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::client::get;
use crate::harness::process::Process;
use crate::harness::vendors::{config, crewmojo, route, simulate};

const BODY: usize = 256 << 20;
/// In KiB.
const GROWTH: u64 = 24 << 10;
const BLOCK: &[u8] = &[b'x'; 64 << 10];

/// Reads a head; how many bytes of the body came with it.
async fn head(stream: &mut TcpStream) -> usize {
    let mut read = Vec::new();
    loop {
        assert_ne!(stream.read_buf(&mut read).await.unwrap(), 0, "closed");
        if let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") {
            return read.len() - end - 4;
        }
    }
}

async fn write_body(stream: &mut TcpStream) {
    for _ in 0..BODY / BLOCK.len() {
        stream.write_all(BLOCK).await.unwrap();
    }
}

async fn read_body(stream: &mut TcpStream, mut read: usize) {
    let mut buffer = vec![0; 64 << 10];
    while read < BODY {
        let more = stream.read(&mut buffer).await.unwrap();
        assert_ne!(more, 0, "closed after {read}");
        read += more;
    }
    assert_eq!(read, BODY);
}

/// A process with a token in hand, its client's connection, and the upstream's.
async fn connected(request: &str) -> (Process, TcpStream, TcpStream, u64) {
    let simulator = simulate(tokenferry::demo::Crewmojo::default()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let yaml = config(
        &[crewmojo(simulator.origin(), "")],
        &[
            route("warm", &format!("{}/v1", simulator.origin()), "crewmojo", ""),
            route("it", &format!("http://{}/", listener.local_addr().unwrap()), "crewmojo", ", limits: {body: 300MiB}"),
        ],
    );
    let process = Process::start(&yaml, &[]);
    for _ in 0..50 {
        assert_eq!(get(process.address, "/warm/a").await.status(), 200);
    }
    let before = process.memory_kib("VmRSS");
    let mut client = TcpStream::connect(process.address).await.unwrap();
    client.write_all(request.as_bytes()).await.unwrap();
    let (server, _) = listener.accept().await.unwrap();
    (process, client, server, before)
}

fn assert_small(process: &Process, before: u64) {
    let most = process.memory_kib("VmHWM");
    assert!(most < before + GROWTH, "{before} KiB became {most}");
}

#[tokio::test]
async fn a_quarter_of_a_gigabyte_down_does_not_stay_in_memory() {
    let request = "GET /it/large HTTP/1.1\r\nHost: a\r\n\r\n";
    let (process, mut client, mut server, before) = connected(request).await;
    let upstream = async {
        head(&mut server).await;
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {BODY}\r\n\r\n");
        server.write_all(answer.as_bytes()).await.unwrap();
        write_body(&mut server).await;
    };
    let client = async {
        // A client that is slow to begin: what comes meanwhile waits in the kernel, not here.
        tokio::time::sleep(Duration::from_millis(500)).await;
        let came = head(&mut client).await;
        read_body(&mut client, came).await;
    };
    tokio::join!(upstream, client);
    assert_small(&process, before);
}

#[tokio::test]
async fn a_quarter_of_a_gigabyte_up_does_not_stay_in_memory() {
    let request = format!("POST /it/large HTTP/1.1\r\nHost: a\r\nContent-Length: {BODY}\r\n\r\n");
    let (process, mut client, mut server, before) = connected(&request).await;
    let upstream = async {
        let came = head(&mut server).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        read_body(&mut server, came).await;
        server.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
    };
    let client = async {
        write_body(&mut client).await;
        assert_eq!(head(&mut client).await, 2);
    };
    tokio::join!(upstream, client);
    assert_small(&process, before);
}

/// Without a length, nothing says beforehand that the body is too large to be kept.
#[tokio::test]
async fn a_chunked_body_is_not_kept_for_longer_than_it_is_small() {
    let request = "POST /it/large HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let (process, mut client, mut server, before) = connected(request).await;
    let upstream = async {
        let mut buffer = vec![0; 64 << 10];
        let mut tail = Vec::new();
        while !tail.ends_with(b"\r\n0\r\n\r\n") {
            let read = server.read(&mut buffer).await.unwrap();
            assert_ne!(read, 0, "closed");
            tail.extend_from_slice(&buffer[..read]);
            tail.drain(..tail.len().saturating_sub(16));
        }
        server.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
    };
    let client = async {
        for _ in 0..(64 << 20) / BLOCK.len() {
            client.write_all(format!("{:x}\r\n", BLOCK.len()).as_bytes()).await.unwrap();
            client.write_all(BLOCK).await.unwrap();
            client.write_all(b"\r\n").await.unwrap();
        }
        client.write_all(b"0\r\n\r\n").await.unwrap();
        assert_eq!(head(&mut client).await, 2);
    };
    tokio::join!(upstream, client);
    assert_small(&process, before);
}
