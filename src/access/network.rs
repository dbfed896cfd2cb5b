//! Networks: where a client is.

use std::net::IpAddr;

use ipnet::IpNet;

/// Whether a client at this address may come in.
pub(super) fn is_let_in(peer: Option<IpAddr>, allow: &[IpNet], deny: &[IpNet]) -> bool {
    // An IPv4 client of a socket that listens for both is seen as `::ffff:a.b.c.d`.
    let peer = peer.map(|peer| peer.to_canonical());
    let within = |networks: &[IpNet]| peer.is_some_and(|peer| networks.iter().any(|network| network.contains(&peer)));
    !within(deny) && (allow.is_empty() || within(allow))
}

/// The place of the first network that this address is in.
pub(super) fn place_of(address: IpAddr, networks: &[IpNet]) -> Option<usize> {
    networks.iter().position(|network| network.contains(&address.to_canonical()))
}
