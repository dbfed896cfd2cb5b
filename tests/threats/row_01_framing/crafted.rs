//! Requests that two servers could read differently, as many as are wanted: every spelling of a
//! framing line with every body at least once, then both put together by chance.

use fastrand::Rng;

/// What a client sends on one connection.
pub struct Crafted {
    pub number: usize,
    pub bytes: Vec<u8>,
}

/// The body of the honest request at the end.
pub fn honest_body(number: usize) -> String {
    format!("honest {number}")
}

const LENGTH_NAMES: [&str; 8] = [
    "Content-Length",
    "content-length",
    "CONTENT-LENGTH",
    "Content_Length",
    "Content-Length ",
    " Content-Length",
    "Content-Length\t",
    "Content-Length\0",
];

/// `{B}` is the length of the body, `{A}` that with the request behind it, `{H}` the first in
/// hexadecimal digits.
const LENGTHS: [&str; 27] = [
    "{B}",
    "{A}",
    "0",
    "5",
    "+{B}",
    "-{B}",
    "-0",
    "0x{H}",
    "00{B}",
    "{B}, {B}",
    "{B},{A}",
    "0,{A}",
    "{A},0",
    ",{B}",
    "{B},",
    "{B};",
    "{B} {A}",
    "\"{B}\"",
    "{B}.0",
    "1e1",
    "{H}h",
    "",
    "18446744073709551616",
    "99999999999999999999",
    "{B}\x0b",
    "{B}\0",
    "{B}\r",
];

const CODING_NAMES: [&str; 10] = [
    "Transfer-Encoding",
    "transfer-encoding",
    "Transfer_Encoding",
    "TRANSFER-ENCODING",
    "Transfer-Encoding ",
    " Transfer-Encoding",
    "Transfer-Encoding\t",
    "Transfer-Encoding\x0b",
    "X: a\r\n Transfer-Encoding",
    "X: a\rTransfer-Encoding",
];

const CODINGS: [&str; 34] = [
    "chunked",
    "Chunked",
    "CHUNKED",
    "chunKed",
    " chunked",
    "\tchunked",
    "chunked ",
    "chunked\t",
    "\x0bchunked",
    "chunked\x0b",
    "\x0cchunked",
    "\0chunked",
    "chunked\0",
    "chunked\r",
    "\r\n chunked",
    "\r\n\tchunked",
    "\n chunked",
    "chunked,",
    ",chunked",
    "chunked;",
    "chunked;q=1",
    "chunked, chunked",
    "chunked, identity",
    "identity, chunked",
    "cow, chunked",
    "chunked, cow",
    "gzip, chunked",
    "identity",
    "xchunked",
    "chunkedx",
    "\"chunked\"",
    "chunk\u{e9}d",
    "\u{feff}chunked",
    "",
];

const SEPARATORS: [&str; 6] = [": ", ":", ":\t", ":  ", ": \x0b", "\r: "];

const BODIES: [&str; 40] = [
    "5\r\nhello\r\n0\r\n\r\n",
    "",
    "hello",
    "0\r\n\r\n",
    "05\r\nhello\r\n0\r\n\r\n",
    "+5\r\nhello\r\n0\r\n\r\n",
    "-5\r\nhello\r\n0\r\n\r\n",
    "0x5\r\nhello\r\n0\r\n\r\n",
    " 5\r\nhello\r\n0\r\n\r\n",
    "5 \r\nhello\r\n0\r\n\r\n",
    "5\t\r\nhello\r\n0\r\n\r\n",
    "5\x0b\r\nhello\r\n0\r\n\r\n",
    "5_\r\nhello\r\n0\r\n\r\n",
    "5h\r\nhello\r\n0\r\n\r\n",
    "5;\r\nhello\r\n0\r\n\r\n",
    "5;a=b\r\nhello\r\n0\r\n\r\n",
    "5;a=\"\r\n\"\r\nhello\r\n0\r\n\r\n",
    "5;a\nb\r\nhello\r\n0\r\n\r\n",
    "5;a\rb\r\nhello\r\n0\r\n\r\n",
    "5,0\r\nhello\r\n0\r\n\r\n",
    "5\nhello\n0\n\n",
    "5\r\nhello\n0\r\n\r\n",
    "5\rhello\r0\r\r",
    "5\r\r\nhello\r\n0\r\n\r\n",
    "5\r\nhello0\r\n\r\n",
    "5\r\nhelloX\r\n0\r\n\r\n",
    "5\r\nhello\r\n\r\n0\r\n\r\n",
    "\r\n5\r\nhello\r\n0\r\n\r\n",
    "5\r\nhello\r\n\r\n",
    "5\r\nhello\r\n0\r\n",
    "5\r\nhello\r\n0\n\n",
    "5\r\nhello\r\n00000000\r\n\r\n",
    "5\r\nhello\r\n0;a\r\n\r\n",
    "5\r\nhello\r\n0\r\nX: y\r\n\r\n",
    "5\r\nhello\r\n0\r\nX: y\n\r\n",
    "5\r\nhello\r\n0\r\nContent-Length: 7\r\nHost: evil\r\nTransfer-Encoding: chunked\r\nX-Mark: evil\r\n\r\n",
    "5\r\nhello\r\n0\r\nX: y\r\n folded\r\n\r\n",
    "ffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    "10000000000000005\r\nhello\r\n0\r\n\r\n",
    "7fffffff\r\nhello\r\n0\r\n\r\n",
];

/// Most are as they should be: what else is wrong shows only then.
const REQUEST_LINES: [&str; 24] = [
    "POST /crafted HTTP/1.1",
    "POST /crafted HTTP/1.1",
    "POST /crafted HTTP/1.1",
    "POST /crafted HTTP/1.1",
    "POST /crafted HTTP/1.1",
    "POST /crafted HTTP/1.1",
    "PUT /crafted HTTP/1.1",
    "GET /crafted HTTP/1.1",
    "GET /crafted HTTP/1.1",
    "HEAD /crafted HTTP/1.1",
    "OPTIONS /crafted HTTP/1.1",
    "DELETE /crafted HTTP/1.1",
    "POST /crafted HTTP/1.0",
    "POST /crafted HTTP/1.0",
    "POST /crafted HTTP/1.2",
    "POST /crafted HTTP/2.0",
    "POST /crafted HTTP/0.9",
    "POST /crafted http/1.1",
    "POST /crafted",
    "POST  /crafted HTTP/1.1",
    "POST\t/crafted\tHTTP/1.1",
    "POST /crafted HTTP/1.1 ",
    "\r\nPOST /crafted HTTP/1.1",
    "\nPOST /crafted HTTP/1.1",
];

const LINE_ENDS: [&str; 12] =
    ["\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\n", "\n", "\r", "\r\r\n"];

fn lengths() -> impl Iterator<Item = String> {
    LENGTH_NAMES.into_iter().flat_map(|name| LENGTHS.into_iter().map(move |value| format!("{name}: {value}")))
}

fn codings() -> impl Iterator<Item = String> {
    CODING_NAMES.into_iter().flat_map(|name| CODINGS.into_iter().map(move |value| format!("{name}: {value}")))
}

/// So many of them, always the same.
pub fn crafted(count: usize) -> impl Iterator<Item = Crafted> {
    let mut rng = Rng::with_seed(0x5eed_0001);
    let single: Vec<String> = lengths().chain(codings()).collect();
    (0..count).map(move |number| {
        let rng = &mut rng;
        if let Some(line) = single.get(number) {
            let body = BODIES[number % BODIES.len()];
            return build(number, REQUEST_LINES[0], std::slice::from_ref(line), body, "\r\n", rng);
        }
        let lines: Vec<String> = match rng.u8(..10) {
            0 => vec![],
            1..=3 => vec![coding(rng)],
            4 | 5 => vec![length(rng)],
            6 => vec![length(rng), coding(rng)],
            7 => vec![coding(rng), length(rng)],
            8 => vec![coding(rng), coding(rng)],
            _ => vec![length(rng), length(rng)],
        };
        let (first, body) = (mostly(rng, &REQUEST_LINES), now_and_then(rng, &BODIES));
        let end = mostly(rng, &LINE_ENDS);
        build(number, first, &lines, body, end, rng)
    })
}

fn pick<'t>(rng: &mut Rng, list: &[&'t str]) -> &'t str {
    list[rng.usize(..list.len())]
}

/// One part in two is as it should be: too much at once is refused for the first thing.
fn mostly<'t>(rng: &mut Rng, list: &[&'t str]) -> &'t str {
    if rng.bool() { list[0] } else { pick(rng, list) }
}

/// The same, one in three.
fn now_and_then<'t>(rng: &mut Rng, list: &[&'t str]) -> &'t str {
    if rng.u8(..3) == 0 { list[0] } else { pick(rng, list) }
}

fn length(rng: &mut Rng) -> String {
    let name = mostly(rng, &LENGTH_NAMES);
    format!("{name}{}{}", mostly(rng, &SEPARATORS), now_and_then(rng, &LENGTHS))
}

fn coding(rng: &mut Rng) -> String {
    let name = mostly(rng, &CODING_NAMES);
    format!("{name}{}{}", mostly(rng, &SEPARATORS), now_and_then(rng, &CODINGS))
}

fn build(number: usize, first: &str, lines: &[String], body: &str, end: &str, rng: &mut Rng) -> Crafted {
    let smuggled = format!("GET /smuggled HTTP/1.1\r\nHost: x\r\nX-Mark: {number}s\r\n\r\n");
    let honest = honest_body(number);
    let honest = format!(
        "POST /honest HTTP/1.1\r\nHost: x\r\nX-Mark: {number}h\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{honest}",
        honest.len()
    );
    let mut all: Vec<String> = vec!["Host: x".to_owned(), format!("X-Mark: {number}c")];
    for line in lines {
        let line = line.replace("{B}", &body.len().to_string()).replace("{H}", &format!("{:x}", body.len()));
        let line = line.replace("{A}", &(body.len() + smuggled.len()).to_string());
        all.insert(rng.usize(..=all.len()), line);
    }
    // A line that begins with a space goes on with the request line when it comes first.
    let mut text = format!("{first}{end}");
    for line in all {
        text.push_str(&line);
        text.push_str(end);
    }
    text.push_str(end);
    text.push_str(body);
    text.push_str(&smuggled);
    text.push_str(&honest);
    Crafted { number, bytes: text.into_bytes() }
}
