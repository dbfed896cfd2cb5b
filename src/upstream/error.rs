//! What can go wrong between here and an upstream.

use std::io;

use http::Request;

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
    /// The HTTP handshake failed.
    #[error("the HTTP handshake failed")]
    Http(#[source] hyper::Error),
    /// Not within `timeouts.connect`.
    #[error("not connected in time")]
    Timeout,
    /// `limits.connections` is reached and none became free in time.
    #[error("too many connections to the upstream")]
    Limit,
}

/// Why a request got no answer's head.
#[derive(Debug)]
pub enum SendError<B> {
    /// Nothing of it left this process; it is given back and may be sent elsewhere, whatever its method.
    Unsent {
        /// The request as it was.
        request: Box<Request<B>>,
        /// Why there is no connection.
        cause: ConnectError,
    },
    /// Some of it may have been read by the upstream.
    Broken {
        /// What happened.
        cause: hyper::Error,
        /// Whether the connection had carried an answer before: then the upstream may just have closed it.
        reused: bool,
    },
}
