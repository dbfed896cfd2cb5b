//! The vendor: its API, plain and over TLS, with prebuilt answers; 500 to whoever comes without a token of its own,
//! and 401 to one with a token that is dead. Its token endpoint is in the same process, so that a new token
//! kills the one before it at once.

use crate::args::Vendor;
use crate::line::{Line, server_config};
use crate::poll::{Interest, Poll};
use crate::token::{self, Tokens, generation};
use crate::wire::{Fields, Intake, Verdict};
use rustls::ServerConfig;
use std::io::{self, ErrorKind};
use std::net::TcpListener;
use std::process::ExitCode;
use std::sync::Arc;

/// Serves until its parent closes stdin; prints its addresses.
pub(crate) fn serve(vendor: &Vendor) -> ExitCode {
    let tokens = Arc::new(Tokens::new(vendor));
    let tls = server_config(&vendor.certificate, &vendor.key).unwrap();
    let bind = |what: &str| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        println!("{what} on {}", listener.local_addr().unwrap());
        listener
    };
    let (plain, secure, login) = (bind("plain"), bind("tls"), bind("token"));
    token::serve(login, tokens.clone());
    std::thread::spawn(move || Api::new([plain, secure], tls, tokens).and_then(Api::run).unwrap());
    crate::family::outlive_no_parent()
}

/// The keys of the listeners; connections come behind.
const LISTENERS: usize = 2;
const SECURE: usize = 1;

struct Api {
    poll: Poll,
    listeners: [TcpListener; LISTENERS],
    tls: Arc<ServerConfig>,
    tokens: Arc<Tokens>,
    answers: Answers,
    callers: Vec<Option<Caller>>,
    free: Vec<usize>,
}

struct Caller {
    line: Line,
    intake: Intake,
    /// The answer that is not all sent, and how much of it is.
    answering: Option<(u16, usize)>,
}

/// That the connection is over.
struct Gone;

impl From<io::Error> for Gone {
    fn from(_: io::Error) -> Self {
        Self
    }
}

impl Api {
    fn new(listeners: [TcpListener; LISTENERS], tls: Arc<ServerConfig>, tokens: Arc<Tokens>) -> io::Result<Self> {
        let poll = Poll::new()?;
        for (key, listener) in listeners.iter().enumerate() {
            listener.set_nonblocking(true)?;
            poll.add(listener, key, Interest::Read)?;
        }
        Ok(Self { poll, listeners, tls, tokens, answers: Answers::new(), callers: Vec::new(), free: Vec::new() })
    }

    fn run(mut self) -> io::Result<()> {
        let mut ready = Vec::new();
        loop {
            self.poll.wait(None, &mut ready)?;
            for &key in &ready {
                if key < LISTENERS {
                    self.accept(key)?;
                } else if self.go_on(key).is_err() {
                    self.callers[key - LISTENERS] = None;
                    self.free.push(key - LISTENERS);
                }
            }
        }
    }

    fn accept(&mut self, listener: usize) -> io::Result<()> {
        while let Ok((stream, _)) = self.listeners[listener].accept() {
            let line = if listener == SECURE { Line::server(stream, &self.tls) } else { Line::plain(stream) };
            let Ok(line) = line else { continue };
            let place = self.free.pop().unwrap_or(self.callers.len());
            self.poll.add(&line, place + LISTENERS, Interest::Read)?;
            let caller = Caller { line, intake: Intake::new(judge), answering: None };
            if place == self.callers.len() {
                self.callers.push(None);
            }
            self.callers[place] = Some(caller);
        }
        Ok(())
    }

    fn go_on(&mut self, key: usize) -> Result<(), Gone> {
        // The same wake-up may have told of a connection that is gone by now.
        let Some(caller) = &mut self.callers[key - LISTENERS] else { return Ok(()) };
        if caller.answering.is_some() {
            if !caller.answer(&self.answers)? {
                return Ok(());
            }
            self.poll.change(&caller.line, key, Interest::Read)?;
        }
        let Some(verdict) = caller.request()? else { return Ok(()) };
        let code = match verdict.code {
            NO_TOKEN => NO_TOKEN,
            _ if !self.tokens.takes(verdict.generation) => DEAD_TOKEN,
            code => code,
        };
        caller.answering = Some((code, 0));
        if !caller.answer(&self.answers)? {
            self.poll.change(&caller.line, key, Interest::Write)?;
        }
        Ok(())
    }
}

impl Caller {
    /// The next request, once it is whole.
    fn request(&mut self) -> Result<Option<Verdict>, Gone> {
        loop {
            let count = match self.line.read(self.intake.space()) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                count => count?,
            };
            if let Some(verdict) = self.intake.took(count).map_err(|_| Gone)? {
                return Ok(Some(verdict));
            }
        }
    }

    /// Whether all of it is sent.
    fn answer(&mut self, answers: &Answers) -> Result<bool, Gone> {
        let Some((code, sent)) = &mut self.answering else { return Ok(true) };
        let answer = answers.of(*code);
        while *sent < answer.len() {
            match self.line.write(&answer[*sent..]) {
                Ok(count) => *sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(_) => return Err(Gone),
            }
        }
        let all = self.line.flush()?;
        if all {
            self.answering = None;
        }
        Ok(all)
    }
}

const SMALL: u16 = 0;
const MIDDLING: u16 = 1;
const LARGE: u16 = 2;
const SINK: u16 = 3;
const NOT_FOUND: u16 = 4;
const NO_TOKEN: u16 = 5;
const DEAD_TOKEN: u16 = 6;

fn judge(head: &[u8]) -> Result<Verdict, &'static str> {
    let fields = Fields::of(head);
    if fields.transfer_encoding.is_some() {
        return Err("chunked bodies are not measured");
    }
    let line = head.split(|&byte| byte == b'\r').next().unwrap_or_default();
    let token = fields.authorization.and_then(generation);
    let code = match line {
        _ if token.is_none() => NO_TOKEN,
        b"GET /1k HTTP/1.1" => SMALL,
        b"GET /64k HTTP/1.1" => MIDDLING,
        b"GET /1m HTTP/1.1" => LARGE,
        b"POST /sink HTTP/1.1" => SINK,
        _ => NOT_FOUND,
    };
    Ok(Verdict { body: fields.length.unwrap_or(0), code, generation: token.unwrap_or(0) })
}

struct Answers([Vec<u8>; 7]);

impl Answers {
    fn new() -> Self {
        Self([
            answer("200 OK", &vec![b'x'; 1024]),
            answer("200 OK", &vec![b'x'; 64 * 1024]),
            answer("200 OK", &vec![b'x'; 1024 * 1024]),
            answer("200 OK", b"taken"),
            answer("404 Not Found", b"no such path"),
            answer("500 No Token", b"the request came without the vendor's token"),
            answer("401 Unauthorized", b"the token is dead"),
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
