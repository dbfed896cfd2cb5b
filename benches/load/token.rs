//! The vendor's token endpoint: RFC 6749 section 4.4, strictly.

use crate::wire::{Intake, Verdict, field, length};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::ExitCode;

pub(crate) const CLIENT_ID: &str = "bench";
pub(crate) const CLIENT_SECRET: &str = "bench-secret";

/// The one token it hands out, as long as a vendor's usual JWT.
pub(crate) fn token() -> String {
    "token-of-the-load-harness.".chars().cycle().take(900).collect()
}

/// Serves until its parent closes stdin; prints its address, then a line for each token request.
pub(crate) fn serve() -> ExitCode {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    println!("listening on {}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            // One at a time is plenty; a caller that keeps the connection must not keep out the next one.
            std::thread::spawn(move || stream.map(converse));
        }
    });
    crate::family::outlive_no_parent()
}

fn converse(mut stream: TcpStream) {
    let mut intake = Intake::new(judge);
    loop {
        let Ok(count) = stream.read(intake.space()) else { return };
        match intake.took(count) {
            Err(_) => return,
            Ok(None) => {}
            Ok(Some(verdict)) => {
                println!("token request {}", verdict.code);
                if stream.write_all(&answer(verdict.code)).is_err() {
                    return;
                }
            }
        }
    }
}

fn judge(head: &[u8]) -> Result<Verdict, &'static str> {
    if field(head, "transfer-encoding").is_some() {
        return Err("a form without Content-Length");
    }
    let body = length(head).unwrap_or(0);
    let basic = format!("Basic {}", STANDARD.encode(format!("{CLIENT_ID}:{CLIENT_SECRET}")));
    let form = field(head, "content-type")
        .is_some_and(|kind| kind.to_ascii_lowercase().starts_with(b"application/x-www-form-urlencoded"));
    let code = if !head.starts_with(b"POST /token HTTP/1.1\r\n") || !form || body == 0 {
        400
    } else if field(head, "authorization") == Some(basic.as_bytes()) {
        200
    } else {
        401
    };
    Ok(Verdict { body, code })
}

fn answer(code: u16) -> Vec<u8> {
    let body = match code {
        200 => format!(r#"{{"access_token":"{}","token_type":"Bearer","expires_in":3600}}"#, token()),
        401 => r#"{"error":"invalid_client"}"#.to_owned(),
        _ => r#"{"error":"invalid_request"}"#.to_owned(),
    };
    format!(
        "HTTP/1.1 {code} X\r\nContent-Type: application/json\r\nCache-Control: no-store\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}
