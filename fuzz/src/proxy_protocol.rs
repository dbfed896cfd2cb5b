//! The head of the PROXY protocol: whatever comes in whatever pieces, one verdict; and an address only
//! where a reader that knows no more than the two layouts finds it, too.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tokenferry::server::proxy_protocol::{Head, LONGEST, read};

/// The input is what a connection begins with.
pub fn proxy_protocol(data: &[u8]) {
    let verdict = read(data);
    if data.len() >= LONGEST {
        assert_ne!(verdict, Ok(None), "with so much at hand one knows");
    }
    if let Ok(Some(head)) = verdict {
        assert!(head.length <= data.len() && head.length <= LONGEST);
        assert_eq!(head.source, source(&data[..head.length]), "{:?}", &data[..head.length]);
    }
    // A verdict stands: more bytes change none, and fewer never make another one.
    let cuts = (0..data.len().min(160)).chain(data.len().checked_sub(1));
    for cut in cuts {
        match read(&data[..cut]) {
            Ok(None) => {
                let early = matches!(verdict, Ok(Some(Head { length, .. })) if length <= cut);
                assert!(!early, "it was whole at {cut}");
            }
            known => assert_eq!(known, verdict, "cut at {cut}"),
        }
    }
}

/// The address that a whole head tells.
fn source(head: &[u8]) -> Option<IpAddr> {
    if let Some(line) = head.strip_prefix(b"PROXY ") {
        let line = std::str::from_utf8(line.strip_suffix(b"\r\n").expect("the end of a line")).ok()?;
        let [family, source, target, from, to] = line.split(' ').collect::<Vec<_>>()[..] else { return None };
        let is_port = |text: &str| text.parse::<u16>().is_ok();
        return match family {
            "TCP4" | "TCP6" => {
                let (source, target): (IpAddr, IpAddr) = (source.parse().unwrap(), target.parse().unwrap());
                assert!(is_port(from) && is_port(to), "{line}");
                assert!(source.is_ipv4() == (family == "TCP4") && target.is_ipv4() == (family == "TCP4"), "{line}");
                Some(source.to_canonical())
            }
            _ => None,
        };
    }
    let (command, family, addresses) = (head[12], head[13], &head[16..]);
    match (command, family) {
        (0x21, 0x11) => {
            assert!(addresses.len() >= 12);
            Some(Ipv4Addr::from(addresses.first_chunk::<4>().copied().unwrap_or_default()).into())
        }
        (0x21, 0x21) => {
            assert!(addresses.len() >= 36);
            let source = Ipv6Addr::from(addresses.first_chunk::<16>().copied().unwrap_or_default());
            Some(source.to_canonical())
        }
        _ => None,
    }
}
