//! An address where nobody listens, and nobody else will.

use std::fmt;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket};

/// A port that refuses connections. It is bound, so that no other test is given it meanwhile; free
/// again when dropped.
pub struct Nobody {
    socket: TcpSocket,
    pub address: SocketAddr,
}

impl Nobody {
    pub fn there() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = socket.local_addr().unwrap();
        Self { socket, address }
    }

    /// Somebody is there from now on.
    pub fn listens(self) -> TcpListener {
        self.socket.listen(1024).unwrap()
    }
}

impl fmt::Display for Nobody {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(out)
    }
}
