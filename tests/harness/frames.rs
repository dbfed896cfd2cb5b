//! HTTP/2 down to its frames (RFC 9113 section 4.1) and header fields (RFC 7541 section 6.2.2), for
//! clients that send what no library would.

use std::net::SocketAddr;

use super::raw::End;

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

/// A name and a value, as bytes.
pub type Field = (Vec<u8>, Vec<u8>);

pub fn field(name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Field {
    (name.as_ref().to_vec(), value.as_ref().to_vec())
}

/// A frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A header block of literal fields, neither indexed nor Huffman-coded.
pub fn block(fields: &[Field]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            length(&mut block, text.len());
            block.extend_from_slice(text);
        }
    }
    block
}

/// RFC 7541 section 5.1, with a prefix of seven bits.
fn length(block: &mut Vec<u8>, length: usize) {
    if let Some(short) = u8::try_from(length).ok().filter(|short| *short < 127) {
        block.push(short);
        return;
    }
    block.push(127);
    let mut rest = length - 127;
    while rest >= 128 {
        block.push(u8::try_from(rest % 128).unwrap() | 128);
        rest /= 128;
    }
    block.push(u8::try_from(rest).unwrap());
}

/// A whole request without a body: HEADERS that ends its stream.
pub fn get(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &block(&head("GET", path)))
}

/// The head of a request with a body.
pub fn post(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &block(&head("POST", path)))
}

pub fn head(method: &str, path: &str) -> Vec<Field> {
    vec![field(":method", method), field(":scheme", "http"), field(":path", path), field(":authority", "x")]
}

pub fn reset(stream: u32) -> Vec<u8> {
    // CANCEL.
    frame(RST_STREAM, 0, stream, &8u32.to_be_bytes())
}

/// SETTINGS with the window that streams begin with.
pub fn initial_window(size: u32) -> Vec<u8> {
    frame(SETTINGS, 0, 0, &[&4u16.to_be_bytes()[..], &size.to_be_bytes()].concat())
}

pub fn window_update(stream: u32, increment: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &increment.to_be_bytes())
}

/// A frame as it came.
#[derive(Debug)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Frame {
    /// The error code of `RST_STREAM` or GOAWAY.
    pub fn code(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }

    /// The status of an answer's HEADERS.
    pub fn status(&self) -> u16 {
        status(&self.payload)
    }
}

/// What came of a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// `RST_STREAM` with this code.
    Reset(u32),
    /// GOAWAY with this code.
    GoAway(u32),
    /// The connection's end without a word.
    Closed,
    Status(u16),
}

/// A connection whose frames are written by hand.
pub struct Http2 {
    pub end: End,
}

impl Http2 {
    /// Connects, with a preface and empty SETTINGS.
    pub async fn connect(address: SocketAddr) -> Self {
        let mut end = End::connect(address).await;
        end.send([PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).await;
        Self { end }
    }

    pub async fn send(&mut self, frames: impl AsRef<[u8]>) {
        self.end.send(frames).await;
    }

    /// The next frame; `None` where the connection ended.
    pub async fn frame(&mut self) -> Option<Frame> {
        let head = self.end.exactly(9).await;
        if head.len() < 9 {
            return None;
        }
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let payload = self.end.exactly(length).await;
        let stream = u32::from_be_bytes(head[5..9].try_into().unwrap());
        (payload.len() == length).then_some(Frame { kind: head[3], flags: head[4], stream, payload })
    }

    /// What comes of this stream.
    pub async fn outcome(&mut self, stream: u32) -> Outcome {
        loop {
            let Some(frame) = self.frame().await else { return Outcome::Closed };
            match frame.kind {
                HEADERS if frame.stream == stream => return Outcome::Status(frame.status()),
                RST_STREAM if frame.stream == stream => return Outcome::Reset(frame.code()),
                GOAWAY => return Outcome::GoAway(frame.code()),
                _ => {}
            }
        }
    }
}

/// The first field of an answer's block: `:status`, indexed, or a literal with that name.
fn status(block: &[u8]) -> u16 {
    match block[0] {
        0x88 => 200,
        0x89 => 204,
        0x8c => 400,
        0x8d => 404,
        0x8e => 500,
        _ => {
            let length = usize::from(block[1] & 0x7f);
            digits(&block[2..2 + length], block[1] & 0x80 != 0)
        }
    }
}

/// Digits of RFC 7541 appendix B: `0`, `1` and `2` have five bits, the others six.
fn digits(bytes: &[u8], huffman: bool) -> u16 {
    if !huffman {
        return std::str::from_utf8(bytes).unwrap().parse().unwrap();
    }
    let bits: String = bytes.iter().map(|b| format!("{b:08b}")).collect();
    let (mut at, mut text) = (0, String::new());
    while text.len() < 3 {
        if let Some(digit) = ["00000", "00001", "00010"].iter().position(|code| bits[at..].starts_with(code)) {
            text.push_str(&digit.to_string());
            at += 5;
        } else {
            let code = u8::from_str_radix(&bits[at..at + 6], 2).unwrap();
            text.push_str(&(code - 0b01_1001 + 3).to_string());
            at += 6;
        }
    }
    text.parse().unwrap()
}
