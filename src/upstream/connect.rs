//! TCP and TLS to an origin, or to the proxy before it, within a time and a number of connections.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::AlertDescription;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_rustls::TlsConnector;

use super::error::tls_cause;
use super::stream::{Stream, Transport};
use super::{ConnectError, EgressError, Upstream, egress};
use crate::limit::descriptors::{Reserve, exhausted, is_reserved};
use crate::model::{Egress, Origin, Protocol};

/// How long one address has before the next is tried beside it (RFC 8305 section 5).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// How long the peer may leave sent bytes unacknowledged, and how long a silent one takes to be
/// noticed: a peer that vanished without a word must not hold its connection for the quarter of
/// an hour that TCP alone would.
const DEAD_AFTER: Duration = Duration::from_secs(30);

/// What a connection is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Purpose {
    /// What the target's protocol says.
    Pool,
    /// HTTP/1.1 only: a token call.
    Call,
    /// HTTP/1.1 only, and a tunnel through whatever proxy there is.
    Upgrade,
}

/// What will be spoken over a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Spoken {
    Http1,
    Http2,
}

/// Dials, until the deadline; dropping the future drops whatever was under way. The permit, if any,
/// lives as long as the socket.
pub(super) async fn connect(
    upstream: &Upstream,
    purpose: Purpose,
    permit: Option<OwnedSemaphorePermit>,
    deadline: Instant,
) -> Result<(Stream, Spoken), ConnectError> {
    let tcp = match &upstream.target.egress {
        None => {
            timeout_at(deadline, reach(&upstream.target.origin, purpose)).await.map_err(|_| ConnectError::Timeout)??
        }
        // Its time is told apart: who is slow here is not the upstream.
        Some(hop) => {
            let way = timeout_at(deadline, through(upstream, hop, purpose)).await;
            way.unwrap_or(Err(EgressError::Timeout)).map_err(ConnectError::Egress)?
        }
    };
    timeout_at(deadline, greet(upstream, purpose, permit, tcp)).await.map_err(|_| ConnectError::Timeout)?
}

/// A connection to the egress proxy, and behind it to the origin, unless requests are handed to the
/// proxy one by one.
async fn through(upstream: &Upstream, hop: &Egress, purpose: Purpose) -> Result<TcpStream, EgressError> {
    let mut tcp = reach(hop.proxy.origin(), purpose).await.map_err(|error| EgressError::Unreached(Box::new(error)))?;
    if purpose == Purpose::Upgrade || upstream.forwarder().is_none() {
        egress::open(&mut tcp, &upstream.target.origin, &hop.proxy).await?;
    }
    Ok(tcp)
}

/// A connection to this place itself. Of the last descriptors, only logins take one.
async fn reach(origin: &Origin, purpose: Purpose) -> Result<TcpStream, ConnectError> {
    let addresses = match origin.ip() {
        Some(ip) => vec![SocketAddr::new(ip, origin.port())],
        None => lookup(origin.host(), origin.port()).await.map_err(ConnectError::Dns)?,
    };
    let tcp = dial(interleaved(addresses)).await?;
    if purpose != Purpose::Call && is_reserved(&tcp, Reserve::OldWork) {
        return Err(ConnectError::Tcp(exhausted()));
    }
    tune(&tcp);
    Ok(tcp)
}

/// What the system's resolver says now: asked anew for each connection, and so at least once an `age`
/// of the pool.
async fn lookup(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    #[cfg(test)]
    if let Some(addresses) = super::testing::resolved(host) {
        return Ok(addresses);
    }
    Ok(tokio::net::lookup_host((host, port)).await?.collect())
}

/// TLS, where it is spoken, and what is agreed on by it.
async fn greet(
    upstream: &Upstream,
    purpose: Purpose,
    permit: Option<OwnedSemaphorePermit>,
    tcp: TcpStream,
) -> Result<(Stream, Spoken), ConnectError> {
    let protocol = upstream.target.protocol;
    let Some(tls) = &upstream.tls else {
        let spoken = match (purpose, protocol) {
            (Purpose::Pool, Protocol::H2c) => Spoken::Http2,
            (Purpose::Pool, Protocol::H2) => return Err(ConnectError::NoHttp2),
            _ => Spoken::Http1,
        };
        return Ok((Stream::new(Transport::Plain(tcp), &upstream.open, permit), spoken));
    };
    let config = match purpose {
        Purpose::Pool => &tls.any,
        Purpose::Call | Purpose::Upgrade => &tls.http1,
    };
    let stream =
        TlsConnector::from(Arc::clone(config)).connect(tls.name.clone(), tcp).await.map_err(
            |error| match tls_cause(&error) {
                Some(rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol))
                    if config.alpn_protocols == [b"h2"] =>
                {
                    ConnectError::NoHttp2
                }
                _ => ConnectError::Tls(error),
            },
        )?;
    let offered_h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let spoken = match (purpose, protocol) {
        (Purpose::Pool, _) if offered_h2 => Spoken::Http2,
        (Purpose::Pool, Protocol::H2 | Protocol::H2c) => return Err(ConnectError::NoHttp2),
        _ => Spoken::Http1,
    };
    Ok((Stream::new(Transport::Tls(Box::new(stream)), &upstream.open, permit), spoken))
}

/// Options that only make a connection better; one that the system does not take is no fault.
fn tune(tcp: &TcpStream) {
    let _ = tcp.set_nodelay(true);
    let socket = SockRef::from(tcp);
    let keepalive = TcpKeepalive::new().with_time(DEAD_AFTER).with_interval(Duration::from_secs(10)).with_retries(3);
    let _ = socket.set_tcp_keepalive(&keepalive);
    #[cfg(target_os = "linux")]
    let _ = socket.set_tcp_user_timeout(Some(DEAD_AFTER));
}

/// The resolver's order, but with the address families by turns, so that a dead family costs one
/// delay and not one for each of its addresses (RFC 8305 section 4).
fn interleaved(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let Some(first) = addresses.first().map(SocketAddr::is_ipv6) else { return addresses };
    let (same, other): (Vec<_>, Vec<_>) = addresses.into_iter().partition(|a| a.is_ipv6() == first);
    let mut mixed = Vec::with_capacity(same.len() + other.len());
    let (mut same, mut other) = (same.into_iter(), other.into_iter());
    loop {
        let pair = [same.next(), other.next()];
        if pair == [None, None] {
            return mixed;
        }
        mixed.extend(pair.into_iter().flatten());
    }
}

/// The first address that takes the connection (RFC 8305): the next one is tried when one failed,
/// or beside it when it is slow.
async fn dial(addresses: Vec<SocketAddr>) -> Result<TcpStream, ConnectError> {
    if let [only] = addresses.as_slice() {
        return TcpStream::connect(only).await.map_err(ConnectError::Tcp);
    }
    let mut rest = addresses.into_iter();
    let mut attempts = JoinSet::new();
    let mut failure = None;
    loop {
        if let Some(address) = rest.next() {
            attempts.spawn(TcpStream::connect(address));
        }
        tokio::select! {
            Some(attempt) = attempts.join_next() => match attempt {
                Ok(Ok(tcp)) => return Ok(tcp),
                Ok(Err(error)) => failure = Some(error),
                Err(stopped) => failure = Some(io::Error::other(stopped)),
            },
            () = sleep(ATTEMPT_DELAY), if rest.len() > 0 => {}
            else => return Err(match failure {
                Some(error) => ConnectError::Tcp(error),
                None => ConnectError::Dns(io::Error::new(io::ErrorKind::NotFound, "no addresses")),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_families_take_turns_in_the_resolvers_order() {
        let parse = |list: &[&str]| list.iter().map(|a| a.parse().unwrap()).collect::<Vec<SocketAddr>>();
        assert_eq!(
            interleaved(parse(&["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1"])),
            parse(&["[::1]:1", "1.1.1.1:1", "[::2]:1", "[::3]:1"])
        );
        assert_eq!(interleaved(Vec::new()), Vec::new());
    }

    #[tokio::test]
    async fn a_dead_address_costs_only_itself() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let alive = listener.local_addr().unwrap();
        // Bound and dropped: nobody listens there.
        let dead = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let tcp = dial(vec![dead, dead, alive]).await.unwrap();
        assert_eq!(tcp.peer_addr().unwrap(), alive);
        assert!(matches!(dial(vec![dead, dead]).await, Err(ConnectError::Tcp(_))));
        assert!(matches!(dial(Vec::new()).await, Err(ConnectError::Dns(_))));
    }
}
