//! Who is asking, as far as the connection and its proxies vouch for it.

use std::net::IpAddr;

/// A client certificate that the listener's `client_ca` vouches for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ClientCertificate {
    /// Its subject alternative names (RFC 5280 section 4.2.1.6): DNS names in lower case, addresses,
    /// URIs and mail addresses as text.
    pub names: Vec<String>,
    /// Its subject's common name; only told, since access rules go by alternative names where there are any.
    pub common_name: Option<String>,
}

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
