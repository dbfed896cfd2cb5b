//! The way to the server: TCP, TLS by this house's own rules, and why it failed without anything secret.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ConnectionAddr, ConnectionInfo, ErrorKind, ProtocolVersion, PushInfo, RedisError};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio_rustls::TlsConnector;

/// A peer that vanished is found out within about 25 s, also while nothing is said.
const KEEPALIVE: TcpKeepalive =
    TcpKeepalive::new().with_time(Duration::from_secs(10)).with_interval(Duration::from_secs(5));

/// A connection of whatever kind.
trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<W: AsyncRead + AsyncWrite + Send + Unpin> Wire for W {}

/// Where the store is, and whom to trust there.
#[derive(Debug)]
pub(super) struct Server {
    info: ConnectionInfo,
    ca: Option<Arc<Vec<CertificateDer<'static>>>>,
}

/// Why the store did not do as it was asked. Holds neither what was sent nor what was answered: a
/// server that does not know a command repeats its arguments, a password among them.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("no answer in time")]
    Timeout,
    #[error("no connection ({0})")]
    Io(io::ErrorKind),
    #[error("its host's name is not known, or the name service does not answer")]
    Unknown,
    #[error("its certificate was not accepted, or it speaks no TLS")]
    Tls,
    #[error("this system has no root certificates: name a `ca`")]
    NoRoots,
    #[error("the connection broke")]
    Broken,
    #[error("it answered {0}")]
    Refused(String),
    #[error("it answered what no store answers")]
    Nonsense,
}

impl From<RedisError> for Failure {
    fn from(error: RedisError) -> Self {
        if error.is_timeout() {
            return Self::Timeout;
        }
        match (error.kind(), error.code()) {
            // The first word of an error, such as WRONGPASS: it is the server's own.
            (_, Some(code)) if code.len() < 30 && code.bytes().all(|b| b.is_ascii_uppercase()) => {
                Self::Refused(code.to_owned())
            }
            (ErrorKind::AuthenticationFailed, _) => Self::Refused("that it does not take this password".to_owned()),
            (ErrorKind::RESP3NotSupported, _) => Self::Refused("as a server before Redis 6 does".to_owned()),
            (ErrorKind::Io, _) => Self::Broken,
            _ => Self::Nonsense,
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error.kind())
    }
}

impl Server {
    pub(super) fn new(info: ConnectionInfo, ca: Option<Arc<Vec<CertificateDer<'static>>>>) -> Self {
        // Its own name and version are nobody's business, and not every access list lets them be told.
        let settings = info.redis_settings().clone().set_skip_set_lib_name().set_protocol(ProtocolVersion::RESP3);
        Self { info: info.set_redis_settings(settings), ca }
    }

    /// A connection, and what drives it until it ends. What others publish there goes to `heard`.
    pub(super) async fn connect(
        &self,
        heard: Option<impl Fn(PushInfo) -> Result<(), ()> + Send + Sync + 'static>,
    ) -> Result<(MultiplexedConnection, impl Future<Output = ()> + Send + 'static), Failure> {
        let wire = self.wire().await?;
        // Waiting is bounded by whoever asks, once, not by each step.
        let mut config = AsyncConnectionConfig::new().set_response_timeout(None);
        if let Some(heard) = heard {
            config = config.set_push_sender(heard);
        }
        Ok(MultiplexedConnection::new_with_config(self.info.redis_settings(), wire, config).await?)
    }

    async fn wire(&self) -> Result<Box<dyn Wire>, Failure> {
        let (host, port, tls) = match self.info.addr() {
            ConnectionAddr::Tcp(host, port) => (host, *port, false),
            ConnectionAddr::TcpTls { host, port, .. } => (host, *port, true),
            _ => return Err(Failure::Io(io::ErrorKind::Unsupported)),
        };
        // The system's word for a name that it does not find is no word at all.
        let addresses: Vec<_> = lookup_host((host.as_str(), port)).await.map_err(|_| Failure::Unknown)?.collect();
        let stream = TcpStream::connect(addresses.as_slice()).await?;
        stream.set_nodelay(true)?;
        SockRef::from(&stream).set_tcp_keepalive(&KEEPALIVE)?;
        if !tls {
            return Ok(Box::new(stream));
        }
        let name = ServerName::try_from(host.clone()).map_err(|_| Failure::Tls)?;
        let connector = TlsConnector::from(Arc::new(self.tls()?));
        Ok(Box::new(connector.connect(name, stream).await.map_err(|_| Failure::Tls)?))
    }

    /// Made anew for each connection, which is seldom: what the system trusts may have changed.
    fn tls(&self) -> Result<ClientConfig, Failure> {
        let mut roots = RootCertStore::empty();
        match &self.ca {
            Some(ca) => drop(roots.add_parsable_certificates(ca.iter().cloned())),
            None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
        }
        if roots.is_empty() {
            return Err(Failure::NoRoots);
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        Ok(builder.map_err(|_| Failure::Tls)?.with_root_certificates(roots).with_no_client_auth())
    }
}
