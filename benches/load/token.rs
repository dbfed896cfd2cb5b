//! The vendor's token endpoint: RFC 6749 section 4.4, strictly.

use crate::args::Vendor;
use crate::process::monotonic_ns;
use crate::wire::{Fields, Intake, Verdict};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{sleep, spawn};
use std::time::Duration;

pub(crate) const CLIENT_ID: &str = "bench";
pub(crate) const CLIENT_SECRET: &str = "bench-secret";

/// The only token where it does not change, as those know who have it without asking.
pub(crate) const FIXED: u64 = 1;

/// A token, as long as a vendor's usual JWT.
pub(crate) fn token(generation: u64) -> String {
    format!("token-{generation}-of-the-load-harness.").chars().cycle().take(900).collect()
}

thread_local! {
    /// The last Authorization header that held a token, and which: to make one for comparison costs more than the
    /// answer does.
    static LAST: RefCell<(Vec<u8>, u64)> = const { RefCell::new((Vec::new(), 0)) };
}

/// The token in an Authorization header, if it is one of these.
pub(crate) fn generation(authorization: &[u8]) -> Option<u64> {
    LAST.with_borrow_mut(|(last, generation)| {
        if last != authorization {
            *generation = read(authorization)?;
            authorization.clone_into(last);
        }
        Some(*generation)
    })
}

fn read(authorization: &[u8]) -> Option<u64> {
    let given = std::str::from_utf8(authorization).ok()?.strip_prefix("Bearer ")?;
    let generation = given.strip_prefix("token-")?.split_once('-')?.0.parse().ok()?;
    (given == token(generation)).then_some(generation)
}

/// Which token the vendor takes. Of an exclusive one, each login makes a new one, and the one before is dead before
/// the new one is told.
pub(crate) struct Tokens {
    exclusive: bool,
    current: AtomicU64,
    lifetime: u64,
    delay: Duration,
}

impl Tokens {
    pub(crate) fn new(vendor: &Vendor) -> Self {
        let delay = Duration::from_secs_f64(vendor.login_seconds);
        let current = AtomicU64::new(if vendor.exclusive { 0 } else { FIXED });
        Self { exclusive: vendor.exclusive, current, lifetime: vendor.lifetime, delay }
    }

    pub(crate) fn takes(&self, generation: u64) -> bool {
        self.current.load(Ordering::Acquire) == generation
    }

    fn issue(&self) -> String {
        let generation = if self.exclusive { self.current.fetch_add(1, Ordering::AcqRel) + 1 } else { FIXED };
        token(generation)
    }
}

/// Serves for ever; prints a line for each token request, with the moment of its answer.
pub(crate) fn serve(listener: TcpListener, tokens: Arc<Tokens>) {
    spawn(move || {
        for stream in listener.incoming().flatten() {
            let tokens = tokens.clone();
            // One at a time is plenty; a caller that keeps the connection must not keep out the next one.
            spawn(move || converse(stream, &tokens));
        }
    });
}

fn converse(mut stream: TcpStream, tokens: &Tokens) {
    let mut intake = Intake::new(judge);
    loop {
        let Ok(count) = stream.read(intake.space()) else { return };
        match intake.took(count) {
            Err(_) => return,
            Ok(None) => {}
            Ok(Some(verdict)) => {
                sleep(tokens.delay);
                let answer = answer(verdict.code, tokens);
                let told = monotonic_ns();
                if stream.write_all(&answer).is_err() {
                    return;
                }
                println!("token request {} {told}", verdict.code);
            }
        }
    }
}

fn judge(head: &[u8]) -> Result<Verdict, &'static str> {
    let fields = Fields::of(head);
    if fields.transfer_encoding.is_some() {
        return Err("a form without Content-Length");
    }
    let body = fields.length.unwrap_or(0);
    let basic = format!("Basic {}", STANDARD.encode(format!("{CLIENT_ID}:{CLIENT_SECRET}")));
    let form = fields
        .content_type
        .is_some_and(|kind| kind.to_ascii_lowercase().starts_with(b"application/x-www-form-urlencoded"));
    let code = if !head.starts_with(b"POST /token HTTP/1.1\r\n") || !form || body == 0 {
        400
    } else if fields.authorization == Some(basic.as_bytes()) {
        200
    } else {
        401
    };
    Ok(Verdict { body, code, generation: 0 })
}

fn answer(code: u16, tokens: &Tokens) -> Vec<u8> {
    let body = match code {
        200 => {
            let (token, lifetime) = (tokens.issue(), tokens.lifetime);
            format!(r#"{{"access_token":"{token}","token_type":"Bearer","expires_in":{lifetime}}}"#)
        }
        401 => r#"{"error":"invalid_client"}"#.to_owned(),
        _ => r#"{"error":"invalid_request"}"#.to_owned(),
    };
    format!(
        "HTTP/1.1 {code} X\r\nContent-Type: application/json\r\nCache-Control: no-store\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}
