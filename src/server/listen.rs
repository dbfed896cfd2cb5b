//! Binds addresses, accepts connections, and hands each to the worker with the fewest.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, UnixListener};

use super::worker::{Accepted, Worker};
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
    Unix(UnixListener, PathBuf),
}

/// A bound listener.
#[derive(Debug)]
pub struct Bound {
    listener: Listener,
    address: ListenOn,
}

/// A connection between two runtimes.
#[derive(Debug)]
pub(super) enum Raw {
    Tcp(std::net::TcpStream, SocketAddr),
    Unix(StdUnixStream),
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
                (Listener::Unix(listener, path.clone()), on.clone())
            }
        };
        Ok(Self { listener, address })
    }

    /// The real address: port 0 has become a number.
    pub fn address(&self) -> &ListenOn {
        &self.address
    }

    async fn accept(&self) -> io::Result<Raw> {
        match &self.listener {
            Listener::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok(Raw::Tcp(stream.into_std()?, peer))
            }
            Listener::Unix(listener, _) => Ok(Raw::Unix(listener.accept().await?.0.into_std()?)),
        }
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        if let Listener::Unix(_, path) = &self.listener {
            // Left behind, it would only be in the way of the next start.
            drop(std::fs::remove_file(path));
        }
    }
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// A socket file that nobody listens on any more is removed first.
fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            let dead = StdUnixStream::connect(path).is_err_and(|e| e.kind() == io::ErrorKind::ConnectionRefused);
            if !dead {
                return Err(error);
            }
            std::fs::remove_file(path)?;
            UnixListener::bind(path)
        }
        bound => bound,
    }
}

/// Accepts until dropped. `place` is the listener's place in the configuration, which decides its TLS.
pub async fn accept(bound: &Bound, place: usize, live: &Live, workers: &[Worker]) {
    loop {
        let raw = match bound.accept().await {
            Ok(raw) => raw,
            Err(error) => {
                pause_after(&error).await;
                continue;
            }
        };
        // Without its door's settings a TLS listener would speak plainly; there is always one.
        let Some(door) = live.load().doors.get(place).cloned() else { continue };
        if let Some(worker) = workers.iter().filter(|worker| worker.is_alive()).min_by_key(|worker| worker.load()) {
            worker.hand(Accepted { raw, door });
        }
    }
}

/// A connection that went before it was accepted is nothing; anything else (no descriptors left, no
/// memory) would come again at once, so it waits a moment.
async fn pause_after(error: &io::Error) {
    if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
        return;
    }
    tracing::warn!(%error, "cannot accept connections");
    tokio::time::sleep(Duration::from_millis(100)).await;
}
