//! What is measured.

use clap::ValueEnum;
use clap::builder::PossibleValue;
use std::fmt::Write as _;

/// One kind of traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scenario {
    Get1k,
    Get1kTwoWorkers,
    Get64k,
    Get1m,
    Post64k,
    TlsIn,
    TlsOut,
    TlsHandshake,
    Connect,
    H2In,
    HalfLoad,
    Rate1k,
    Routes1000,
    Idle,
    ColdStart,
    Rotation,
    Reloads,
    Counts,
}

/// What the client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Client {
    Plain,
    Tls,
    /// HTTP/2 with prior knowledge.
    H2c,
}

/// What sets the pace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// Each connection sends its next request as soon as the one before is answered.
    Closed,
    /// The same, each request on a new connection.
    Fresh,
    /// Requests start by the clock, at `--rate` a second.
    Rate,
    /// By the clock, at half of what the slowest proxy managed in `get-1k`.
    Half,
    /// One request a connection, which then stays open.
    Once,
    /// One request a connection, all at once.
    Storm,
}

/// A scenario's parts.
pub(crate) struct Traffic {
    pub(crate) name: &'static str,
    pub(crate) says: &'static str,
    pub(crate) client: Client,
    /// Whether the upstream is spoken to over TLS.
    pub(crate) upstream_tls: bool,
    pub(crate) pace: Pace,
    pub(crate) method: &'static str,
    /// At our own upstream.
    pub(crate) path: &'static str,
    /// Of the request.
    pub(crate) body: usize,
}

impl Scenario {
    /// What is run where none is named: every row of what must hold.
    pub(crate) const ALL: [Self; 17] = [
        Self::Get1k,
        Self::Get1kTwoWorkers,
        Self::Get64k,
        Self::Get1m,
        Self::Post64k,
        Self::TlsIn,
        Self::TlsOut,
        Self::TlsHandshake,
        Self::Connect,
        Self::H2In,
        Self::HalfLoad,
        Self::Routes1000,
        Self::Idle,
        Self::ColdStart,
        Self::Rotation,
        Self::Reloads,
        Self::Counts,
    ];

    pub(crate) fn traffic(self) -> Traffic {
        let get = Traffic {
            name: "get-1k",
            says: "GET, answer 1 KiB, keep-alive, as fast as it goes",
            client: Client::Plain,
            upstream_tls: false,
            pace: Pace::Closed,
            method: "GET",
            path: "/1k",
            body: 0,
        };
        match self {
            Self::Get1k => get,
            Self::Get1kTwoWorkers => Traffic {
                name: "get-1k-two-workers",
                says: "GET, answer 1 KiB, keep-alive, as fast as it goes, two workers",
                ..get
            },
            Self::Get64k => Traffic {
                name: "get-64k",
                says: "GET, answer 64 KiB, keep-alive, as fast as it goes",
                path: "/64k",
                ..get
            },
            Self::Get1m => Traffic {
                name: "get-1m",
                says: "GET, answer 1 MiB, keep-alive, as fast as it goes",
                path: "/1m",
                ..get
            },
            Self::Post64k => Traffic {
                name: "post-64k",
                says: "POST of 64 KiB, keep-alive, as fast as it goes",
                method: "POST",
                path: "/sink",
                body: 64 * 1024,
                ..get
            },
            Self::TlsIn => Traffic {
                name: "tls-in",
                says: "GET, answer 1 KiB, keep-alive, TLS from the client",
                client: Client::Tls,
                ..get
            },
            Self::TlsOut => Traffic {
                name: "tls-out",
                says: "GET, answer 1 KiB, keep-alive, TLS to the upstream",
                upstream_tls: true,
                ..get
            },
            Self::TlsHandshake => Traffic {
                name: "tls-handshake",
                says: "GET, answer 1 KiB, a new TLS connection a request, its handshake in full",
                client: Client::Tls,
                pace: Pace::Fresh,
                ..get
            },
            Self::Connect => Traffic {
                name: "connect",
                says: "GET, answer 1 KiB, a new plain connection a request",
                pace: Pace::Fresh,
                ..get
            },
            Self::H2In => Traffic {
                name: "h2-in",
                says: "GET, answer 1 KiB, one HTTP/2 connection (prior knowledge), 100 streams at a time",
                client: Client::H2c,
                ..get
            },
            Self::HalfLoad => Traffic {
                name: "half-load",
                says: "GET, answer 1 KiB, at half the rate that the slowest proxy managed in get-1k; latency from the intended start",
                pace: Pace::Half,
                ..get
            },
            Self::Rate1k => Traffic {
                name: "rate-1k",
                says: "GET, answer 1 KiB, at --rate; latency from the intended start (only where it is asked for)",
                pace: Pace::Rate,
                ..get
            },
            Self::Routes1000 => Traffic {
                name: "routes-1000",
                says: "GET, answer 1 KiB, through one of 1,000 routes, metrics read every second, access log `errors`; beside one route",
                ..get
            },
            Self::Idle => Traffic {
                name: "idle",
                says: "idle keep-alive connections that have had one answer: memory; and a minute after they are closed",
                pace: Pace::Once,
                ..get
            },
            Self::ColdStart => Traffic {
                name: "cold-start",
                says: "requests that wait for one token, whose login takes a second, on two workers",
                pace: Pace::Storm,
                ..get
            },
            Self::Rotation => {
                Traffic { name: "rotation", says: "get-1k while an exclusive token changes every two seconds", ..get }
            }
            Self::Reloads => Traffic {
                name: "reloads",
                says: "get-1k while the configuration file is rewritten again and again",
                ..get
            },
            Self::Counts => Traffic {
                name: "counts",
                says: "GET, answer 1 KiB, on one connection, through one of 1,000 routes, metrics on, access log `errors`: counted, not timed",
                ..get
            },
        }
    }

    pub(crate) fn name(self) -> &'static str {
        self.traffic().name
    }

    /// What the heading of its table says.
    pub(crate) fn title(self) -> String {
        let traffic = self.traffic();
        format!("{}: {}", traffic.name, traffic.says)
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::value_variants().iter().copied().find(|scenario| scenario.name() == name)
    }
}

impl ValueEnum for Scenario {
    fn value_variants<'a>() -> &'a [Self] {
        const VARIANTS: [Scenario; 18] = {
            let mut variants = [Scenario::Rate1k; 18];
            let mut index = 0;
            while index < Scenario::ALL.len() {
                variants[index] = Scenario::ALL[index];
                index += 1;
            }
            variants
        };
        &VARIANTS
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let traffic = self.traffic();
        Some(PossibleValue::new(traffic.name).help(traffic.says))
    }
}

impl Traffic {
    /// The request, as it goes over the wire in HTTP/1.1. It carries a client's own, wrong, Authorization unless it
    /// is given the right one: that is what the proxies are there to replace.
    pub(crate) fn request(&self, host: &str, path: &str, headers: &[String], token: Option<&str>) -> Vec<u8> {
        let (method, credential) = (self.method, token.unwrap_or("from-the-client"));
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: load\r\nAccept: */*\r\n");
        if !headers.iter().any(|header| header.to_ascii_lowercase().starts_with("authorization:")) {
            let _ = write!(request, "Authorization: Bearer {credential}\r\n");
        }
        for header in headers {
            let _ = write!(request, "{header}\r\n");
        }
        if self.pace == Pace::Fresh {
            request.push_str("Connection: close\r\n");
        }
        if self.body > 0 {
            let length = self.body;
            let _ = write!(request, "Content-Type: application/octet-stream\r\nContent-Length: {length}\r\n");
        }
        request.push_str("\r\n");
        let mut request = request.into_bytes();
        request.resize(request.len() + self.body, b'x');
        request
    }
}
