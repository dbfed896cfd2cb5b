//! The handover socket itself.

use std::fs::{File, Permissions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::{UnixListener, UnixStream};

use crate::server::{ListenOn, local, over_leftover};

/// Who may connect: nobody but the proxy's own user.
const MODE: u32 = 0o600;
/// Peers that wait while one is dealt with.
const BACKLOG: i32 = 64;

/// A handover socket that is listened on. Its file goes with it, unless another process took over.
#[derive(Debug)]
pub(crate) struct Hatch {
    listener: UnixListener,
    path: PathBuf,
    keeps_file: AtomicBool,
}

impl Hatch {
    /// Makes the socket, in the place of one that nobody listens on any more.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Self::of(over_leftover(path, || bind(path))?, path, false)
    }

    /// Goes on listening on the socket of the process before this one, whose file it is until
    /// [`Hatch::keep_file`] says otherwise.
    pub(crate) fn adopt(socket: OwnedFd, path: &Path) -> io::Result<Self> {
        match local(&socket)? {
            ListenOn::Unix(_) => Self::of(socket.into(), path, true),
            ListenOn::Tcp(_) => Err(io::Error::new(io::ErrorKind::InvalidInput, "not a Unix socket")),
        }
    }

    fn of(socket: Socket, path: &Path, keeps_file: bool) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let listener = UnixListener::from_std(OwnedFd::from(socket).into())?;
        Ok(Self { listener, path: path.to_owned(), keeps_file: AtomicBool::new(keeps_file) })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) async fn accept(&self) -> io::Result<UnixStream> {
        Ok(self.listener.accept().await?.0)
    }

    /// Whether the file is left where it is when this is dropped, since another process listens there.
    pub(crate) fn keep_file(&self, keep: bool) {
        self.keeps_file.store(keep, Ordering::Relaxed);
    }
}

impl AsFd for Hatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

impl Drop for Hatch {
    fn drop(&mut self) {
        if !self.keeps_file.load(Ordering::Relaxed) {
            drop(std::fs::remove_file(&self.path));
        }
    }
}

/// Binds with the mode that it is to have: on Linux a Unix socket's file gets the mode of the socket
/// (less the umask), so that there is no moment at which it is wider.
fn bind(path: &Path) -> io::Result<Socket> {
    let socket = File::from(OwnedFd::from(Socket::new(Domain::UNIX, Type::STREAM, None)?));
    socket.set_permissions(Permissions::from_mode(MODE))?;
    let socket = Socket::from(OwnedFd::from(socket));
    socket.bind(&SockAddr::unix(path)?)?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}
