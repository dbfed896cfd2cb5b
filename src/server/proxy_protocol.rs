//! The head of the PROXY protocol (`HAProxy`'s proxy-protocol.txt), by which a proxy in front of this
//! one tells whose connection it passes on. Pure; `opening` reads what it asks for.

use std::net::IpAddr;

use proxy_header::{ParseConfig, Protocol, ProxyHeader};

/// Version 1 is a line that begins so.
const LINE: &[u8] = b"PROXY ";

/// The longest line, its end included (section 2.1).
const LONGEST_LINE: usize = 107;

/// Version 2 begins so (section 2.2).
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// What of version 2 tells how long the rest is.
const FIXED: usize = 16;

/// The longest head. Addresses need 36 bytes; the rest is for what nobody here reads (names of
/// certificates and the like), which the protocol lets grow to 64 KiB.
pub const LONGEST: usize = FIXED + 4096;

/// A whole head.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Head {
    /// Whose connection it is; `None` where that is the proxy's own (its health checks), or of a kind
    /// that has no such address. An IPv4 address in IPv6 clothes is the IPv4 one.
    pub source: Option<IpAddr>,
    /// Its length; what follows is the client's.
    pub length: usize,
}

/// What is no head.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("no PROXY protocol, or a malformed head of it")]
pub struct Malformed;

/// The head at the beginning of these bytes. `None` where more are needed; never with [`LONGEST`] at hand.
pub fn read(bytes: &[u8]) -> Result<Option<Head>, Malformed> {
    if begins(bytes, LINE) {
        line(bytes)
    } else if begins(bytes, SIGNATURE) {
        binary(bytes)
    } else {
        Err(Malformed)
    }
}

/// Whether a head begins these bytes: where none is expected, since a method may be called `PROXY`, too.
pub fn is_begun(bytes: &[u8]) -> bool {
    let line = bytes.strip_prefix(LINE);
    line.is_some_and(|rest| rest.starts_with(b"TCP") || rest.starts_with(b"UNK")) || bytes.starts_with(SIGNATURE)
}

/// Whether these bytes are this beginning, or as much of it as there is yet.
fn begins(bytes: &[u8], beginning: &[u8]) -> bool {
    bytes.iter().zip(beginning).all(|(byte, wanted)| byte == wanted)
}

/// Version 1. The library looks for each field by its delimiter alone, wherever that stands, and takes
/// numbers as Rust writes them: what it is given is one line, of the letters of addresses.
fn line(bytes: &[u8]) -> Result<Option<Head>, Malformed> {
    let window = bytes.get(..LONGEST_LINE).unwrap_or(bytes);
    let Some(end) = window.iter().position(|byte| *byte == b'\n') else {
        return if bytes.len() < LONGEST_LINE { Ok(None) } else { Err(Malformed) };
    };
    let length = end + 1;
    let line = bytes.get(..length).ok_or(Malformed)?;
    let fields = line.strip_prefix(LINE).and_then(|rest| rest.strip_suffix(b"\r\n")).ok_or(Malformed)?;
    if fields == b"UNKNOWN" || fields.starts_with(b"UNKNOWN ") {
        return Ok(Some(Head { source: None, length }));
    }
    let addresses = fields.get(b"TCP4 ".len()..).unwrap_or_default();
    if !addresses.iter().all(|byte| byte.is_ascii_hexdigit() || b".: ".contains(byte)) {
        return Err(Malformed);
    }
    parsed(line).map(Some)
}

fn binary(bytes: &[u8]) -> Result<Option<Head>, Malformed> {
    /// Version 2, command LOCAL.
    const LOCAL: u8 = 0x20;

    let Some(fixed) = bytes.first_chunk::<FIXED>() else { return Ok(None) };
    let [.., command, _, high, low] = *fixed;
    let length = FIXED + usize::from(u16::from_be_bytes([high, low]));
    if length > LONGEST {
        return Err(Malformed);
    }
    let Some(head) = bytes.get(..length) else { return Ok(None) };
    if command == LOCAL {
        // Whatever else it says is to be ignored (section 2.2).
        return Ok(Some(Head { source: None, length }));
    }
    parsed(head).map(Some)
}

/// What the library finds in a head that is as long as these bytes.
fn parsed(head: &[u8]) -> Result<Head, Malformed> {
    let (found, length) = ProxyHeader::parse(head, ParseConfig::default()).map_err(|_| Malformed)?;
    if length != head.len() {
        return Err(Malformed);
    }
    // Datagrams are not what came here; such a head is to be taken for one without an address.
    let address = found.proxied_address().filter(|address| address.protocol == Protocol::Stream);
    Ok(Head { source: address.map(|address| address.source.ip().to_canonical()), length })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[command, family], &length, rest].concat()
    }

    const V4: &[u8] = &[192, 0, 2, 7, 10, 0, 0, 1, 0x30, 0x39, 1, 0xbb];

    fn v6(source: &str) -> Vec<u8> {
        let source: std::net::Ipv6Addr = source.parse().unwrap();
        [&source.octets()[..], &[0; 15], &[1, 0x30, 0x39, 1, 0xbb]].concat()
    }

    #[test]
    fn a_head_is_read_to_its_end_and_no_further_however_it_comes_in_pieces() {
        let tlv = [V4, &[3, 0, 4, 1, 2, 3, 4]].concat();
        for (head, source) in [
            (b"PROXY TCP4 192.0.2.7 10.0.0.1 12345 443\r\n".to_vec(), Some("192.0.2.7")),
            (b"PROXY TCP6 2001:db8::7 ::1 12345 443\r\n".to_vec(), Some("2001:db8::7")),
            (b"PROXY TCP6 ::ffff:192.0.2.7 ::1 12345 443\r\n".to_vec(), Some("192.0.2.7")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n".to_vec(), None),
            (v2(0x21, 0x11, V4), Some("192.0.2.7")),
            (v2(0x21, 0x11, &tlv), Some("192.0.2.7")),
            (v2(0x21, 0x21, &v6("2001:db8::7")), Some("2001:db8::7")),
            (v2(0x21, 0x21, &v6("::ffff:192.0.2.7")), Some("192.0.2.7")),
            (v2(0x20, 0x00, &[]), None),
            (v2(0x20, 0x11, V4), None),
            (v2(0x20, 0x77, b"whatever"), None),
            (v2(0x21, 0x00, &[]), None),
            (v2(0x21, 0x12, V4), None),
            (v2(0x21, 0x31, &[b'/'; 216]), None),
            (v2(0x21, 0x11, &[V4, &[0; 4096 - 12]].concat()), Some("192.0.2.7")),
        ] {
            for cut in 0..head.len() {
                assert_eq!(read(&head[..cut]), Ok(None), "{head:?} cut at {cut}");
            }
            let whole = Head { source: source.map(|source| source.parse().unwrap()), length: head.len() };
            for behind in [&b""[..], b"GET / HTTP/1.1\r\n", b"\n", &[0x16, 3, 1], &head] {
                assert_eq!(read(&[&head, behind].concat()), Ok(Some(whole)), "{head:?}");
            }
        }
    }

    #[test]
    fn what_is_no_head_is_found_out_at_the_first_byte_that_says_so() {
        for junk in [
            &b"G"[..],
            b"PROXX",
            b"proxy ",
            b"PROXY\t",
            b"\r\n\r\nG",
            &[0x16],
            b"PROXY TCP4 192.0.2.7 10.0.0.1 12345 443\n",
            b"PROXY TCP4 192.0.2.7 10.0.0.1 12345\r\n",
            b"PROXY TCP4 192.0.2.7 10.0.0.1 12345 443 1\r\n",
            b"PROXY TCP4 192.0.2.7  10.0.0.1 12345 443\r\n",
            b"PROXY TCP4 192.0.2.7 10.0.0.1 +1 443\r\n",
            b"PROXY TCP4 192.0.2.7 10.0.0.1 12345 65536\r\n",
            b"PROXY TCP4 2001:db8::7 ::1 12345 443\r\n",
            b"PROXY TCP4 192.0.2.07 10.0.0.1 12345 443\r\n",
            b"PROXY TCP6 192.0.2.7 10.0.0.1 12345 443\r\n",
            b"PROXY TCP4 \r\n",
            b"PROXY UDP4 192.0.2.7 10.0.0.1 12345 443\r\n",
            b"PROXY TCP4 192.0.2.7\r10.0.0.1 12345 443\r\n",
            b"PROXY UNKNOWNX\r\n",
            b"PROXY \r\n",
            &[&b"PROXY UNKNOWN "[..], &[b'x'; 93]].concat(),
            &[&b"PROXY UNKNOWN "[..], &[b'x'; 92], b"\r\n"].concat(),
            &v2(0x11, 0x11, V4),
            &v2(0x22, 0x11, V4),
            &v2(0x21, 0x41, V4),
            &v2(0x21, 0x11, &V4[1..]),
            &v2(0x21, 0x21, V4),
            &v2(0x21, 0x31, V4),
            &v2(0x21, 0x11, &[0; 4097])[..FIXED],
            &v2(0x20, 0x00, &vec![0; 65535])[..FIXED],
        ] {
            assert_eq!(read(junk), Err(Malformed), "{junk:?}");
        }
    }

    #[test]
    fn the_longest_line_has_room() {
        let line = [&b"PROXY UNKNOWN "[..], &[b'x'; 91], b"\r\n"].concat();
        assert_eq!(read(&line), Ok(Some(Head { source: None, length: LONGEST_LINE })));
    }
}
