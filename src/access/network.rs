//! Networks: where a client is.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

/// Whether a client at this address may come in.
pub(super) fn is_let_in(peer: Option<IpAddr>, allow: &[IpNet], deny: &[IpNet]) -> bool {
    // An IPv4 client of a socket that listens for both is seen as `::ffff:a.b.c.d`.
    let peer = peer.map(|peer| peer.to_canonical());
    let within = |networks: &[IpNet]| peer.is_some_and(|peer| networks.iter().any(|network| network.contains(&peer)));
    !within(deny) && (allow.is_empty() || within(allow))
}

/// A network of IPv4-mapped addresses (RFC 4291 section 2.5.5.2) as the IPv4 network that it is.
pub(super) fn unmapped(network: IpNet) -> IpNet {
    let IpNet::V6(v6) = network else { return network };
    let v4 = v6.addr().to_ipv4_mapped().zip(v6.prefix_len().checked_sub(96));
    v4.and_then(|(address, bits)| Ipv4Net::new(address, bits).ok()).map_or(network, IpNet::V4)
}
