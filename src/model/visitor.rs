//! Who is asking, as far as the connection and its proxies vouch for it.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

use super::ClientCertificate;

/// Who is asking.
#[derive(Clone, Copy, Debug, Default)]
pub struct Visitor<'a> {
    /// The client's address; `None` on a Unix socket.
    pub address: Option<IpAddr>,
    /// What it showed in the handshake.
    pub certificate: Option<&'a ClientCertificate>,
}

impl Visitor<'_> {
    /// Someone at this address, who showed nothing.
    pub fn at(address: Option<IpAddr>) -> Self {
        Self { address, certificate: None }
    }
}

/// Proxies in front of this one, whose word on a client's address counts.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TrustedProxies {
    /// Where they are.
    pub networks: Vec<IpNet>,
    /// Whether one that comes by a Unix socket is one of them.
    pub unix: bool,
}

/// A network of IPv4-mapped addresses (RFC 4291 section 2.5.5.2) as the IPv4 network that it is.
pub fn unmapped(network: IpNet) -> IpNet {
    let IpNet::V6(v6) = network else { return network };
    let v4 = v6.addr().to_ipv4_mapped().zip(v6.prefix_len().checked_sub(96));
    v4.and_then(|(address, bits)| Ipv4Net::new(address, bits).ok()).map_or(network, IpNet::V4)
}

impl TrustedProxies {
    /// Whether whoever is at this address is one of them; `None` is the other end of a Unix socket.
    /// The address is no IPv4-mapped one.
    pub fn trusts(&self, peer: Option<IpAddr>) -> bool {
        peer.map_or(self.unix, |peer| self.networks.iter().any(|network| network.contains(&peer)))
    }
}
