//! From a connection to one that speaks HTTP: whose it is, by the PROXY protocol where the listener
//! has it; TLS; and which HTTP.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::ServerConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::connection::Knock;
use super::fresh::{FIRST, Fresh};
use super::proxy_protocol;
use super::roster::Watch;
use super::socket::Socket;
use super::unopened::{Reason, Unopened};
use crate::live::Patience;
use crate::model::{ClientCertificate, seconds, validity};
use crate::proxy::Proxy;

/// A connection that speaks HTTP.
pub(super) struct Opened {
    pub(super) socket: Socket,
    pub(super) http2: bool,
    /// The address of whoever is at its other end; `None` on a Unix socket.
    pub(super) peer: Option<IpAddr>,
    /// Whether the PROXY protocol named nobody: the address is the trusted proxy's own.
    pub(super) nameless: bool,
    /// What that one showed.
    pub(super) certificate: Option<ClientCertificate>,
}

/// What somebody is told who speaks HTTP where TLS is spoken; nginx says the same.
const PLAIN: &str = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 83\r\n\
    Connection: close\r\n\r\nThis port speaks HTTPS, and the request came as plain HTTP: write https:// instead.";

/// So much of such a request is read, so that its answer is not lost behind a reset.
const READ_ON: u64 = 64 * 1024;

/// Opens a connection. `None` where it came to nothing.
pub(super) async fn open(knock: Knock, watch: Arc<Watch>, patience: &Patience, proxy: &Proxy) -> Option<Opened> {
    let Knock { stream, peer: from, listener, door } = knock;
    let opening = async {
        let mut stream = Fresh::new(stream);
        let (mut peer, mut nameless) = (from, false);
        if door.proxy_protocol {
            if !proxy.trusts(from) {
                return Err(Reason::ProxyUntrusted.of("not of one of `trusted_proxies`"));
            }
            let named = introduced(&mut stream).await?;
            nameless = named.is_none();
            peer = named.or(from);
        }
        let Some(config) = &door.tls else { return Ok((Shaken::Plain(stream), peer, nameless)) };
        let stream = shake(stream, config, door.proxy_protocol).await?;
        Ok((Shaken::Tls(Box::new(stream)), peer, nameless))
    };
    let opened = if door.tls.is_some() || door.proxy_protocol {
        let late = || Reason::Timeout.of("no whole beginning came within `client.handshake_timeout`");
        tokio::time::timeout(patience.handshake, opening).await.unwrap_or_else(|_| Err(late()))
    } else {
        opening.await
    };
    let opened = match opened {
        // The roster keeps the time of what follows.
        Ok((Shaken::Plain(stream), peer, nameless)) => Socket::plain(stream, watch)
            .await
            .map(|it| (it, peer, nameless, None))
            .map_err(|error| Unopened { reason: None, error: error.to_string().into() }),
        Ok((Shaken::Tls(stream), peer, nameless)) => {
            certificate(&stream).map(|certificate| (Socket::tls(*stream, watch), peer, nameless, certificate))
        }
        Err(error) => Err(error),
    };
    let tell = |unopened: &Unopened| tell(unopened, &listener, from, proxy);
    match opened {
        Ok(((socket, http2), peer, nameless, certificate)) => {
            if proxy_protocol::is_begun(socket.early()) {
                // The HTTP library answers it as the bad request that it is.
                tell(&unexpected(door.proxy_protocol));
            }
            Some(Opened { socket, http2, peer, nameless, certificate })
        }
        Err(unopened) => {
            tell(&unopened);
            None
        }
    }
}

fn tell(unopened: &Unopened, listener: &Arc<str>, peer: Option<IpAddr>, proxy: &Proxy) {
    let Unopened { reason, error } = unopened;
    let (reason, peer) = (reason.map(Reason::as_str), peer.map(tracing::field::display));
    match reason.and_then(|reason| proxy.connection_refused(listener, reason)) {
        Some(0) => tracing::warn!(%listener, reason, %error, peer, "connection refused before its first request"),
        Some(more) => {
            tracing::warn!(%listener, reason, %error, peer, more, "connections refused before their first request");
        }
        None => tracing::debug!(%listener, reason, %error, peer, "connection not opened"),
    }
}

fn unexpected(is_second: bool) -> Unopened {
    Reason::ProxyUnexpected.of(if is_second {
        "a second head of the PROXY protocol behind the first"
    } else {
        "a PROXY protocol head, and the listener has no `proxy_protocol: true`"
    })
}

/// A stream on which what comes before HTTP is over.
enum Shaken {
    Plain(Fresh),
    Tls(Box<TlsStream<Fresh>>),
}

/// Reads the head of the PROXY protocol, and gives the address in it.
async fn introduced(stream: &mut Fresh) -> Result<Option<IpAddr>, Unopened> {
    loop {
        match proxy_protocol::read(stream.early()) {
            Ok(Some(head)) => {
                stream.skip(head.length);
                return Ok(head.source);
            }
            Ok(None) if matches!(stream.look(proxy_protocol::LONGEST).await, Ok(true)) => {}
            Ok(None) if stream.early().is_empty() => return Err(Unopened::silent()),
            Ok(None) => return Err(Reason::ProxyMissing.of("the head of the PROXY protocol broke off")),
            Err(malformed) => return Err(Reason::ProxyMissing.of(malformed.to_string())),
        }
    }
}

async fn shake(
    mut stream: Fresh,
    config: &Arc<ServerConfig>,
    is_introduced: bool,
) -> Result<TlsStream<Fresh>, Unopened> {
    if stream.early().is_empty() && !matches!(stream.look(FIRST).await, Ok(true)) {
        return Err(Unopened::silent());
    }
    if proxy_protocol::is_begun(stream.early()) {
        return Err(unexpected(is_introduced));
    }
    // A method, where a record of TLS would begin with 22 (RFC 8446 section 5.1).
    if stream.early().first().is_some_and(u8::is_ascii_uppercase) {
        // Whether the answer arrived changes nothing.
        drop(turn_away(stream).await);
        return Err(Reason::PlainHttp.of("plain HTTP where TLS is spoken"));
    }
    TlsAcceptor::from(Arc::clone(config)).accept(stream).await.map_err(|error| Unopened::handshake(&error))
}

async fn turn_away(mut stream: Fresh) -> io::Result<()> {
    stream.write_all(PLAIN.as_bytes()).await?;
    stream.shutdown().await?;
    tokio::io::copy(&mut stream.take(READ_ON), &mut tokio::io::sink()).await.map(drop)
}

/// What the client showed, which the handshake has judged: this one, or the one whose session is
/// resumed. That one may have expired since.
fn certificate(stream: &TlsStream<Fresh>) -> Result<Option<ClientCertificate>, Unopened> {
    let Some(leaf) = stream.get_ref().1.peer_certificates().and_then(<[_]>::first) else { return Ok(None) };
    if validity(leaf).is_some_and(|validity| validity.until < seconds(SystemTime::now())) {
        return Err(Reason::CertificateRefused.of("the certificate of a resumed session has expired"));
    }
    Ok(Some(ClientCertificate::of(leaf)))
}

#[cfg(test)]
mod tests {
    use super::PLAIN;

    #[test]
    fn the_answer_to_a_plain_request_is_as_long_as_it_says() {
        let (head, body) = PLAIN.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())), "{}", body.len());
    }
}
