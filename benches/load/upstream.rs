//! The API behind the proxy: prebuilt answers, and 500 to whoever comes without the vendor's token.

use crate::token::token;
use crate::wire::{Intake, Verdict, field, length};
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::LazyLock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;

static EXPECTED: LazyLock<String> = LazyLock::new(|| format!("Bearer {}", token()));

/// Serves until its parent closes stdin; prints its address.
pub(crate) fn serve() -> ExitCode {
    std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        LocalSet::new().block_on(&runtime, accept());
    });
    crate::family::outlive_no_parent()
}

async fn accept() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("listening on {}", listener.local_addr().unwrap());
    let answers = Rc::new(Answers::new());
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            tokio::task::spawn_local(converse(stream, answers.clone()));
        }
    }
}

async fn converse(mut stream: TcpStream, answers: Rc<Answers>) {
    let _ = stream.set_nodelay(true);
    let mut intake = Intake::new(judge);
    while let Ok(count) = stream.read(intake.space()).await {
        match intake.took(count) {
            Err(_) => return,
            Ok(None) => {}
            Ok(Some(verdict)) => {
                if stream.write_all(answers.of(verdict.code)).await.is_err() {
                    return;
                }
            }
        }
    }
}

const SMALL: u16 = 0;
const LARGE: u16 = 1;
const SINK: u16 = 2;
const NOT_FOUND: u16 = 3;
const NO_TOKEN: u16 = 4;

fn judge(head: &[u8]) -> Result<Verdict, &'static str> {
    if field(head, "transfer-encoding").is_some() {
        return Err("chunked bodies are not measured");
    }
    let line = head.split(|&byte| byte == b'\r').next().unwrap_or_default();
    let code = if field(head, "authorization") != Some(EXPECTED.as_bytes()) {
        NO_TOKEN
    } else if line == b"GET /1k HTTP/1.1" {
        SMALL
    } else if line == b"GET /64k HTTP/1.1" {
        LARGE
    } else if line == b"POST /sink HTTP/1.1" {
        SINK
    } else {
        NOT_FOUND
    };
    Ok(Verdict { body: length(head).unwrap_or(0), code })
}

struct Answers([Vec<u8>; 5]);

impl Answers {
    fn new() -> Self {
        Self([
            answer("200 OK", &vec![b'x'; 1024]),
            answer("200 OK", &vec![b'x'; 64 * 1024]),
            answer("200 OK", b"taken"),
            answer("404 Not Found", b"no such path"),
            answer("500 No Token", b"the request came without the vendor's token"),
        ])
    }

    fn of(&self, code: u16) -> &[u8] {
        &self.0[usize::from(code)]
    }
}

fn answer(status: &str, body: &[u8]) -> Vec<u8> {
    let mut answer = format!(
        "HTTP/1.1 {status}\r\nServer: upstream\r\nContent-Type: application/octet-stream\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    answer.extend_from_slice(body);
    answer
}
