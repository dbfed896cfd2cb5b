//! What is measured.

use clap::ValueEnum;

/// One kind of traffic.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// GET, an answer of 1 KiB, as fast as it goes
    #[value(name = "get-1k")]
    Get1k,
    /// GET, an answer of 64 KiB, as fast as it goes
    #[value(name = "get-64k")]
    Get64k,
    /// POST of 64 KiB, a short answer, as fast as it goes
    #[value(name = "post-64k")]
    Post64k,
    /// GET, an answer of 1 KiB, at a fixed rate
    #[value(name = "rate-1k")]
    Rate1k,
}

impl Scenario {
    pub(crate) const ALL: [Self; 4] = [Self::Get1k, Self::Get64k, Self::Post64k, Self::Rate1k];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Get1k => "get-1k",
            Self::Get64k => "get-64k",
            Self::Post64k => "post-64k",
            Self::Rate1k => "rate-1k",
        }
    }

    /// What the heading of its table says.
    pub(crate) fn title(self, connections: u32, rate: u32) -> String {
        let what = match self {
            Self::Get1k | Self::Rate1k => "GET, answer 1 KiB",
            Self::Get64k => "GET, answer 64 KiB",
            Self::Post64k => "POST 64 KiB",
        };
        let how = if self.paced() {
            format!("{rate} requests/s, latency from the intended start")
        } else {
            "closed loop".to_owned()
        };
        format!("{}: {what}, {how}, {connections} connections", self.name())
    }

    /// Whether requests start by the clock, not when the one before is answered.
    pub(crate) fn paced(self) -> bool {
        self == Self::Rate1k
    }

    /// The path at our own upstream.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Get1k | Self::Rate1k => "/1k",
            Self::Get64k => "/64k",
            Self::Post64k => "/sink",
        }
    }

    /// The request, as it goes over the wire. It carries a client's own, wrong, Authorization unless it is given
    /// the right one: that is what the proxies are there to replace.
    pub(crate) fn request(self, host: &str, path: &str, token: Option<&str>) -> Vec<u8> {
        let method = if self == Self::Post64k { "POST" } else { "GET" };
        let credential = token.unwrap_or("from-the-client");
        let mut request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: load\r\nAccept: */*\r\n\
             Authorization: Bearer {credential}\r\n"
        )
        .into_bytes();
        if self == Self::Post64k {
            let body = vec![b'x'; 64 * 1024];
            request.extend_from_slice(b"Content-Type: application/octet-stream\r\n");
            request.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
            request.extend_from_slice(&body);
        } else {
            request.extend_from_slice(b"\r\n");
        }
        request
    }
}
