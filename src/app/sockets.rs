//! Which socket each listener gets: one of the process before this one, one of the service manager, or
//! a new one.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::handover::Socket;
use crate::server::{Bound, ListenError, ListenOn, local};

/// A socket that listens already.
struct Offer {
    /// The configured address of the process before this one.
    configured: Option<String>,
    real: ListenOn,
    socket: OwnedFd,
    /// Whether its file, if it has one, goes with this process.
    own_file: bool,
}

/// The listening sockets.
pub(super) struct Sockets {
    /// In the order of the addresses.
    pub(super) bound: Vec<Arc<Bound>>,
    /// Those whose files are the process's before this one until it hands them over.
    borrowed: Vec<Arc<Bound>>,
}

impl Sockets {
    /// Everything is this process's now: it removes the files of its sockets at its end, and those
    /// of sockets that its configuration does not want at once.
    pub(super) fn own(&mut self) {
        self.borrowed.drain(..).for_each(|bound| bound.keep_file(false));
    }
}

/// Finds or binds a socket for each address. `handed` comes from the process before this one, and
/// goes first; `activated` from the service manager.
pub(super) fn listen(
    addresses: &[ListenOn],
    handed: Vec<(Socket, OwnedFd)>,
    activated: Vec<OwnedFd>,
) -> Result<Sockets, ListenError> {
    let mut offers: Vec<Offer> = Vec::new();
    for (told, socket) in handed {
        offers.extend(offer(Some(told.configured), socket, !told.keeps_file));
    }
    for socket in activated {
        offers.extend(offer(None, socket, false));
    }
    let mut chosen: Vec<Option<Offer>> = addresses
        .iter()
        .map(|address| {
            let name = address.to_string();
            take(&mut offers, |offer| offer.configured.as_ref() == Some(&name))
        })
        .collect();
    for (address, chosen) in addresses.iter().zip(&mut chosen).filter(|(_, chosen)| chosen.is_none()) {
        // A port that was 0 may have been written down since.
        *chosen = take(&mut offers, |offer| offer.real == *address);
    }
    let mut sockets = Sockets { bound: Vec::with_capacity(addresses.len()), borrowed: Vec::new() };
    for offer in offers {
        tracing::warn!(address = %offer.real, "no listener of the configuration takes this socket: it is closed");
        if offer.own_file {
            let address = offer.real;
            sockets.borrowed.push(Arc::new(Bound::adopt(offer.socket, &address)?));
        }
    }
    for (address, chosen) in addresses.iter().zip(chosen) {
        let Some(offer) = chosen else {
            sockets.bound.push(Arc::new(Bound::bind(address)?));
            continue;
        };
        let bound = Arc::new(Bound::adopt(offer.socket, address)?);
        if offer.own_file {
            sockets.borrowed.push(Arc::clone(&bound));
        }
        sockets.bound.push(bound);
    }
    Ok(sockets)
}

/// A socket that cannot be listened on is no offer.
fn offer(configured: Option<String>, socket: OwnedFd, own_file: bool) -> Option<Offer> {
    match local(&socket) {
        Ok(real) => Some(Offer { configured, real, socket, own_file }),
        Err(error) => {
            tracing::warn!(%error, "a socket that was given to this process is not used");
            None
        }
    }
}

fn take(offers: &mut Vec<Offer>, fits: impl Fn(&Offer) -> bool) -> Option<Offer> {
    let place = offers.iter().position(fits)?;
    Some(offers.remove(place))
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn on(addresses: &[SocketAddr]) -> Vec<ListenOn> {
        addresses.iter().map(|address| ListenOn::Tcp(*address)).collect()
    }

    fn socket() -> (SocketAddr, OwnedFd) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        (listener.local_addr().unwrap(), listener.into())
    }

    fn told(configured: &str) -> Socket {
        Socket { configured: configured.to_owned(), keeps_file: false }
    }

    fn addresses(sockets: &Sockets) -> Vec<String> {
        sockets.bound.iter().map(|bound| bound.address().to_string()).collect()
    }

    #[tokio::test]
    async fn sockets_go_to_the_listeners_that_were_configured_alike_in_order() {
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let (one, first) = socket();
        let (two, second) = socket();
        let handed = vec![(told("127.0.0.1:0"), first), (told("127.0.0.1:0"), second)];
        let sockets = listen(&on(&[any, any, any]), handed, Vec::new()).unwrap();
        let got = addresses(&sockets);
        assert_eq!(got[..2], [one.to_string(), two.to_string()]);
        assert!(got[2] != got[0] && got[2] != got[1], "{got:?}");
    }

    #[tokio::test]
    async fn a_port_that_was_free_to_choose_may_be_written_down_since() {
        let (one, first) = socket();
        let sockets = listen(&on(&[one]), vec![(told("127.0.0.1:0"), first)], Vec::new()).unwrap();
        assert_eq!(addresses(&sockets), [one.to_string()]);
    }

    #[tokio::test]
    async fn the_process_before_goes_before_the_service_manager() {
        let (one, first) = socket();
        let same = first.try_clone().unwrap();
        let (two, second) = socket();
        let handed = vec![(told(&one.to_string()), first)];
        let sockets = listen(&on(&[two, one]), handed, vec![same, second]).unwrap();
        assert_eq!(addresses(&sockets), [two.to_string(), one.to_string()]);
    }

    #[tokio::test]
    async fn what_does_not_listen_is_no_offer() {
        let (one, first) = socket();
        let file = std::fs::File::open("/dev/null").unwrap();
        let stream = std::net::TcpStream::connect(one).unwrap();
        let sockets = listen(&on(&[one]), Vec::new(), vec![file.into(), stream.into(), first]).unwrap();
        assert_eq!(addresses(&sockets), [one.to_string()]);
    }
}
