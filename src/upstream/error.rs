//! What can go wrong between here and an upstream.

use std::error::Error as StdError;
use std::{fmt, io};

use http::Request;

use super::EgressError;
use crate::limit::descriptors::is_local_shortage;

/// Why TLS could not be made ready for a target.
#[derive(Debug, thiserror::Error)]
pub enum TlsSetupError {
    /// The system has no roots and the target names none.
    #[error("the system's certificate store is empty; install ca-certificates or name a `ca`")]
    NoRoots,
    /// rustls did not take the certificates or the key.
    #[error("TLS cannot be set up")]
    Rustls(#[from] rustls::Error),
    /// The server name is none.
    #[error("the server name is not valid")]
    ServerName,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The name does not resolve.
    #[error("the name does not resolve")]
    Dns(#[source] io::Error),
    /// TCP.
    #[error("cannot connect")]
    Tcp(#[source] io::Error),
    /// The handshake failed, the certificate was not accepted.
    #[error("the TLS handshake failed")]
    Tls(#[source] io::Error),
    /// HTTP/2 was asked for and not offered.
    #[error("the upstream does not offer HTTP/2")]
    NoHttp2,
    /// The HTTP handshake failed, or the connection was closed before anything was sent.
    #[error("the HTTP handshake failed")]
    Http(#[source] hyper::Error),
    /// The egress proxy on the way is at fault, not the upstream.
    #[error("the egress proxy on the way is at fault")]
    Egress(#[source] EgressError),
    /// Not within `timeouts.connect`.
    #[error("not connected in time")]
    Timeout,
    /// `limits.connections` is reached and none became free in time.
    #[error("too many connections to the upstream")]
    Limit,
}

impl ConnectError {
    /// The error type of RFC 9209 section 2.3, for `Proxy-Status` and logs.
    pub fn proxy_status(&self) -> &'static str {
        match self {
            Self::Dns(_) => "dns_error",
            Self::Tcp(error) => match error.kind() {
                io::ErrorKind::ConnectionRefused => "connection_refused",
                io::ErrorKind::TimedOut => "connection_timeout",
                io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => "destination_ip_unroutable",
                _ => "destination_unavailable",
            },
            Self::Tls(_) if self.is_certificate() => "tls_certificate_error",
            Self::Tls(error) => match tls_cause(error) {
                Some(rustls::Error::AlertReceived(_)) => "tls_alert_received",
                _ => "tls_protocol_error",
            },
            Self::NoHttp2 => "tls_protocol_error",
            Self::Http(_) => "connection_terminated",
            Self::Egress(error) => error.proxy_status(),
            Self::Timeout => "connection_timeout",
            Self::Limit => "connection_limit_reached",
        }
    }

    /// Whether this machine has too little of something, such as descriptors: no fault of the upstream's.
    pub fn is_shortage(&self) -> bool {
        match self {
            Self::Dns(error) | Self::Tcp(error) => is_local_shortage(error),
            Self::Egress(EgressError::Unreached(cause)) => cause.is_shortage(),
            _ => false,
        }
    }

    /// Whether it was the upstream's certificate that was not accepted: no matter of the
    /// network, and no use in trying again.
    pub fn is_certificate(&self) -> bool {
        use rustls::Error::{InvalidCertRevocationList, InvalidCertificate, NoCertificatesPresented};

        match self {
            Self::Tls(error) => matches!(
                tls_cause(error),
                Some(InvalidCertRevocationList(_) | InvalidCertificate(_) | NoCertificatesPresented)
            ),
            _ => false,
        }
    }
}

/// What rustls said, inside the error that tokio-rustls makes of it, which may be wrapped once more.
pub(super) fn tls_cause(error: &io::Error) -> Option<&rustls::Error> {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref() {
            return Some(error);
        }
        cause = match error.downcast_ref::<io::Error>() {
            // Not `source`: for an `io::Error` that is the source of what it holds, not what it holds.
            Some(error) => error.get_ref().map(|held| held as &(dyn StdError + 'static)),
            None => error.source(),
        };
    }
    None
}

/// A request that came back unsent. There may be a token in it, so that nobody outside gets at it: what
/// is sent anew is made anew, with its envelope.
pub struct Returned<B>(
    #[cfg_attr(not(test), expect(dead_code, reason = "only tests of the pool look at it"))] pub(super) Box<Request<B>>,
);

/// Why a request got no answer's head. Its `Debug` leaves the request out: there is a token in it.
pub enum SendError<B> {
    /// Nothing of it left this process, whatever its method.
    Unsent {
        /// The request as it was.
        request: Returned<B>,
        /// Why there is no connection.
        cause: ConnectError,
    },
    /// Nothing of it left this process: it was not wanted any more when its connection was there.
    Unwanted,
    /// Nothing of it left this process: it was addressed to another upstream.
    Elsewhere,
    /// Some of it may have been read by the upstream.
    Broken {
        /// What happened.
        cause: hyper::Error,
        /// Whether the connection had carried an answer before: then the upstream may just have closed it.
        reused: bool,
    },
    /// The answer's head was read and must not be passed on. The connection is closed.
    Malformed(Malformed),
    /// The egress proxy answered in the upstream's place. The request went no further.
    Egress(EgressError),
}

/// What was wrong with an answer's head that hyper itself would take.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Malformed {
    /// Transfer-Encoding beside Content-Length (RFC 9112 section 6.1: a sign of smuggling).
    #[error("the answer has both Transfer-Encoding and Content-Length")]
    TwoFramings,
    /// Content-Length more than once, or a list (RFC 9110 section 8.6).
    #[error("the answer has more than one Content-Length")]
    TwoLengths,
    /// A transfer coding other than `chunked`: none was asked for by `TE`.
    #[error("the answer has a transfer coding that was not asked for")]
    TransferCoding,
    /// 101 where no upgrade was asked for (RFC 9110 section 15.2.2).
    #[error("the answer switches protocols unasked")]
    Unasked101,
}

impl<B> SendError<B> {
    /// The error type of RFC 9209 section 2.3, for `Proxy-Status` and logs.
    pub fn proxy_status(&self) -> &'static str {
        match self {
            Self::Unsent { cause, .. } => cause.proxy_status(),
            Self::Unwanted | Self::Elsewhere => "proxy_internal_error",
            Self::Broken { cause, .. } if cause.is_parse_too_large() => "http_response_header_section_size",
            Self::Broken { cause, .. } if cause.is_parse() => "http_protocol_error",
            Self::Broken { cause, .. } if http2_cause(cause).is_some_and(|error| !error.is_io()) => {
                "http_protocol_error"
            }
            Self::Broken { .. } => "connection_terminated",
            Self::Malformed(_) => "http_protocol_error",
            Self::Egress(error) => error.proxy_status(),
        }
    }

    /// Whether the upstream said that it did nothing with the request although it was sent
    /// (HTTP/2, RFC 9113 section 8.7): it may then be sent again, whatever its method.
    pub fn is_unprocessed(&self) -> bool {
        match self {
            Self::Unsent { .. } | Self::Unwanted | Self::Elsewhere => true,
            Self::Broken { cause, .. } => http2_cause(cause).is_some_and(|error| {
                error.is_remote()
                    && (error.reason() == Some(h2::Reason::REFUSED_STREAM)
                        || (error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR)))
            }),
            Self::Malformed(_) | Self::Egress(_) => false,
        }
    }

    /// Whether the connection just ended, without a byte that made no sense: an idempotent
    /// request on a reused connection may then be sent again (RFC 9110 section 9.2.2).
    pub fn is_connection_loss(&self) -> bool {
        match self {
            Self::Unsent { .. } | Self::Unwanted | Self::Elsewhere => true,
            Self::Broken { cause, .. } => {
                !cause.is_parse()
                    && !cause.is_user()
                    && http2_cause(cause).is_none_or(|error| error.is_io() || error.is_go_away())
            }
            Self::Malformed(_) | Self::Egress(_) => false,
        }
    }
}

impl<B> fmt::Debug for SendError<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsent { cause, .. } => f.debug_struct("Unsent").field("cause", cause).finish_non_exhaustive(),
            Self::Unwanted => f.write_str("Unwanted"),
            Self::Elsewhere => f.write_str("Elsewhere"),
            Self::Broken { cause, reused } => {
                f.debug_struct("Broken").field("cause", cause).field("reused", reused).finish()
            }
            Self::Malformed(fault) => f.debug_tuple("Malformed").field(fault).finish(),
            Self::Egress(error) => f.debug_tuple("Egress").field(error).finish(),
        }
    }
}

fn http2_cause(error: &hyper::Error) -> Option<&h2::Error> {
    error.source()?.downcast_ref()
}
