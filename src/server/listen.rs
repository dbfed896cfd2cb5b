//! Binds addresses, accepts connections, and hands each to the worker with the fewest.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream, UnixListener};

use super::fresh::Plain;
use super::turnstile::{self, Turnstile};
use super::worker::{Accepted, Worker};
use crate::limit::Sign;
use crate::limit::descriptors::{Reserve, exhausted, is_local_shortage, is_reserved};
use crate::live::Live;

/// Connections that the kernel holds until they are accepted; what nginx and `HAProxy` ask for or more.
const BACKLOG: i32 = 4096;

/// An address to bind.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ListenOn {
    /// TCP.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

impl ListenOn {
    /// Whether other machines can reach it.
    pub fn is_open(&self) -> bool {
        match self {
            Self::Tcp(address) => !address.ip().to_canonical().is_loopback(),
            Self::Unix(_) => false,
        }
    }
}

impl fmt::Display for ListenOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {cause}{}", mend(.cause))]
pub struct ListenError {
    /// The address.
    pub address: ListenOn,
    /// What the system said.
    #[source]
    pub cause: io::Error,
}

fn mend(cause: &io::Error) -> &'static str {
    match cause.kind() {
        io::ErrorKind::AddrInUse => "; another process listens there: end it, or choose another port",
        io::ErrorKind::PermissionDenied => {
            "; ports below 1024 need CAP_NET_BIND_SERVICE, a Unix socket a folder that may be written to"
        }
        io::ErrorKind::AddrNotAvailable => "; this machine has no such address",
        _ => "",
    }
}

#[derive(Debug)]
enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// A bound listener.
#[derive(Debug)]
pub struct Bound {
    listener: Listener,
    configured: ListenOn,
    address: ListenOn,
    /// Whether the file of a Unix socket is somebody else's to remove.
    keeps_file: AtomicBool,
}

/// A connection between two runtimes.
#[derive(Debug)]
pub(super) enum Raw {
    Tcp(std::net::TcpStream, SocketAddr),
    Unix(StdUnixStream),
}

impl AsFd for Raw {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream, _) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }
}

impl Raw {
    /// The client's address; an IPv4 address in IPv6 clothes counts as the IPv4 one.
    pub(super) fn peer(&self) -> Option<IpAddr> {
        match self {
            Self::Tcp(_, address) => Some(address.ip().to_canonical()),
            Self::Unix(_) => None,
        }
    }
}

impl Bound {
    /// Binds an address. Needs a tokio runtime.
    pub fn bind(on: &ListenOn) -> Result<Self, ListenError> {
        let fail = |cause| ListenError { address: on.clone(), cause };
        let (listener, address) = match on {
            ListenOn::Tcp(address) => {
                let listener = bind_tcp(*address).map_err(fail)?;
                let real = listener.local_addr().map_err(fail)?;
                (Listener::Tcp(listener), ListenOn::Tcp(real))
            }
            ListenOn::Unix(path) => {
                let listener = bind_unix(path).map_err(fail)?;
                (Listener::Unix(listener), on.clone())
            }
        };
        Ok(Self { listener, configured: on.clone(), address, keeps_file: AtomicBool::new(false) })
    }

    /// Takes over a socket that listens already, from the process before this one or from the service
    /// manager. Its file is left alone until [`Bound::keep_file`] says otherwise. Needs a tokio runtime.
    pub fn adopt(socket: OwnedFd, configured: &ListenOn) -> Result<Self, ListenError> {
        let fail = |cause| ListenError { address: configured.clone(), cause };
        let address = local(&socket).map_err(fail)?;
        let socket = Socket::from(socket);
        // A non-blocking accept is what tokio asks for, and whoever made the socket may have left it.
        let listener = socket.set_nonblocking(true).and_then(|()| match &address {
            ListenOn::Tcp(_) => listening(socket.into()).map(Listener::Tcp),
            ListenOn::Unix(_) => UnixListener::from_std(OwnedFd::from(socket).into()).map(Listener::Unix),
        });
        let listener = listener.map_err(fail)?;
        Ok(Self { listener, configured: configured.clone(), address, keeps_file: AtomicBool::new(true) })
    }

    /// The address as it was asked for.
    pub fn configured(&self) -> &ListenOn {
        &self.configured
    }

    /// Whether the file of a Unix socket is left where it is when this is dropped, since it is
    /// somebody else's.
    pub fn keep_file(&self, keep: bool) {
        self.keeps_file.store(keep, Ordering::Relaxed);
    }

    /// What [`Bound::keep_file`] said.
    pub fn keeps_file(&self) -> bool {
        self.keeps_file.load(Ordering::Relaxed)
    }

    /// The real address: port 0 has become a number.
    pub fn address(&self) -> &ListenOn {
        &self.address
    }

    /// The next connection, for whoever serves it on this runtime, and whose it is.
    pub async fn connection(&self) -> io::Result<(Plain, Option<IpAddr>)> {
        match &self.listener {
            Listener::Tcp(listener) => {
                let (stream, peer) = accept_tcp(listener).await?;
                Ok((Plain::Tcp(stream), Some(peer.ip().to_canonical())))
            }
            Listener::Unix(listener) => Ok((Plain::Unix(listener.accept().await?.0), None)),
        }
    }

    async fn accept(&self) -> io::Result<Raw> {
        match &self.listener {
            Listener::Tcp(listener) => {
                let (stream, peer) = accept_tcp(listener).await?;
                Ok(Raw::Tcp(stream.into_std()?, peer))
            }
            Listener::Unix(listener) => Ok(Raw::Unix(listener.accept().await?.0.into_std()?)),
        }
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        if let ListenOn::Unix(path) = &self.address
            && !self.keeps_file()
        {
            // Left behind, it would only be in the way of the next start.
            drop(std::fs::remove_file(path));
        }
    }
}

impl AsFd for Bound {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.listener {
            Listener::Tcp(listener) => listener.as_fd(),
            Listener::Unix(listener) => listener.as_fd(),
        }
    }
}

/// Where a socket listens; an error for one that does not, or not for a stream of bytes.
pub fn local(socket: &OwnedFd) -> io::Result<ListenOn> {
    let socket = SockRef::from(socket);
    if socket.r#type()? != Type::STREAM || !socket.is_listener()? {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a listening stream socket"));
    }
    let address = socket.local_addr()?;
    match (address.as_socket(), address.as_pathname()) {
        (Some(address), _) => Ok(ListenOn::Tcp(address)),
        (None, Some(path)) => Ok(ListenOn::Unix(path.to_owned())),
        (None, None) => Err(io::Error::new(io::ErrorKind::InvalidInput, "a socket of neither the internet nor a file")),
    }
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    listening(socket.into())
}

/// Whether what is accepted has its listener's options: Linux makes it as a copy of that.
const INHERITS: bool = cfg!(target_os = "linux");

fn listening(socket: std::net::TcpListener) -> io::Result<TcpListener> {
    SockRef::from(&socket).set_tcp_nodelay(true)?;
    TcpListener::from_std(socket)
}

async fn accept_tcp(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    let (stream, peer) = listener.accept().await?;
    if !INHERITS {
        stream.set_nodelay(true)?;
    }
    Ok((stream, peer))
}

fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    over_leftover(path, || UnixListener::bind(path))
}

/// Binds a Unix socket; a socket file there that nobody listens on any more is removed first.
pub fn over_leftover<T>(path: &Path, bind: impl Fn() -> io::Result<T>) -> io::Result<T> {
    match bind() {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            // Connecting to a file that is no socket is refused, too, and that file is no leftover.
            let socket = std::fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket());
            let dead = StdUnixStream::connect(path).is_err_and(|e| e.kind() == io::ErrorKind::ConnectionRefused);
            if !socket || !dead {
                return Err(error);
            }
            std::fs::remove_file(path)?;
            bind()
        }
        bound => bound,
    }
}

/// How long after trouble with descriptors it is looked whether there are some again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Accepts until dropped. `place` is the listener's place in the configuration, which decides its TLS;
/// `all` counts the connections of all listeners, of which there may be `most` where the configuration
/// does not say.
pub async fn accept(
    bound: &Bound,
    place: usize,
    live: &Live,
    workers: &[Worker],
    (all, most): (&Arc<Turnstile>, Option<usize>),
) {
    let bounds = turnstile::Bound { own: Arc::default(), all, most, place };
    let listener: Arc<str> = bound.address().to_string().into();
    let mut trouble = Trouble::default();
    // A descriptor that is short is short for all listeners; each shows it as long as it is in trouble.
    let mut shown = None;
    loop {
        bounds.room(live).await;
        // Nobody may come for a while, and what is shown would then be long over.
        let patience = if shown.is_some() { LOOK_AGAIN } else { Duration::MAX };
        let Ok(accepted) = tokio::time::timeout(patience, bound.accept()).await else {
            let one_more = bound.as_fd().try_clone_to_owned();
            if one_more.is_ok_and(|file| !is_reserved(&file, Reserve::NewWork)) {
                trouble.is_over();
                shown = None;
            }
            continue;
        };
        let accepted =
            accepted.and_then(|raw| if is_reserved(&raw, Reserve::NewWork) { Err(exhausted()) } else { Ok(raw) });
        let raw = match accepted {
            Ok(raw) => raw,
            Err(error) => {
                if is_local_shortage(&error) && shown.is_none() {
                    shown = Some(live.strain().show(Sign::Descriptors));
                }
                trouble.pause_after(&error).await;
                continue;
            }
        };
        trouble.is_over();
        shown = None;
        let ticket = bounds.enter(live).await;
        // Without its door's settings a TLS listener would speak plainly; there is always one.
        let Some(door) = live.load().doors.get(place).cloned() else { continue };
        if let Some(worker) = workers.iter().filter(|worker| worker.is_alive()).min_by_key(|worker| worker.load()) {
            worker.hand(Accepted { raw, listener: Arc::clone(&listener), door, ticket });
        }
    }
}

/// What keeps a listener from accepting: told once, and once when it is over.
#[derive(Default, Debug)]
pub struct Trouble {
    since: Option<Instant>,
}

impl Trouble {
    /// A connection that went before it was accepted is nothing; anything else (no descriptors left, no
    /// memory) would come again at once, so it waits a moment.
    pub async fn pause_after(&mut self, error: &io::Error) {
        if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
            return;
        }
        if self.since.is_none() {
            tracing::warn!(%error, "cannot accept connections; those that are open are served");
            self.since = Some(Instant::now());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }

    /// A connection was accepted.
    pub fn is_over(&mut self) {
        if let Some(since) = self.since.take() {
            tracing::info!(seconds = since.elapsed().as_secs_f64(), "connections are accepted again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_accepted_sends_small_answers_at_once_whoever_made_the_listener() {
        let any = ListenOn::Tcp(SocketAddr::from(([127, 0, 0, 1], 0)));
        let inherited = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        for bound in [Bound::bind(&any).unwrap(), Bound::adopt(inherited.into(), &any).unwrap()] {
            let ListenOn::Tcp(address) = bound.address() else { panic!("{bound:?}") };
            let _client = TcpStream::connect(address).await.unwrap();
            let Raw::Tcp(stream, _) = bound.accept().await.unwrap() else { panic!("{bound:?}") };
            assert!(stream.nodelay().unwrap());
        }
    }
}
