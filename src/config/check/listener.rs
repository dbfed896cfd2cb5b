//! Listeners: addresses, certificates, and which of them other machines can reach.

use std::collections::HashSet;

use serde::Deserialize;

use crate::config::check::Check;
use crate::config::check::access::asks_for_secrets;
use crate::config::de::{Keep, read};
use crate::config::file::{ClientAuth, Form, Listener, ListenerTls, Of};
use crate::config::spot::Spot;
use crate::config::tree::{Node, Value};
use crate::config::{ListenAddress, ListenerSettings, RouteSettings};
use crate::model::{ClientAuthority, ServerIdentity, ServerTls, TrustedProxies, hosts, vouches};

/// Whether other machines can reach it.
pub(super) fn is_open(address: &ListenAddress) -> bool {
    match address {
        ListenAddress::Tcp(address) => !address.ip().to_canonical().is_loopback(),
        ListenAddress::Unix(_) => false,
    }
}

/// Whether a listener asks its clients for certificates, also one with a mistake elsewhere.
pub(super) fn asks_for_certificates(root: &Node) -> bool {
    let listeners = root.get("listeners").map_or(&[][..], Node::elements);
    listeners.iter().any(|listener| listener.get("tls").is_some_and(|tls| tls.get("client_ca").is_some()))
}

/// Whether both cannot be bound at once.
pub(super) fn clash(one: &ListenAddress, other: &ListenAddress) -> bool {
    match (one, other) {
        (ListenAddress::Tcp(one), ListenAddress::Tcp(other)) => {
            let same_family = one.is_ipv4() == other.is_ipv4();
            let overlap = one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
            one.port() != 0 && one.port() == other.port() && same_family && overlap
        }
        (one, other) => one == other,
    }
}

impl Check<'_> {
    pub(super) fn listeners(&mut self, root: &Node, trusted: Option<&TrustedProxies>) -> Vec<ListenerSettings> {
        const WRITE: &str = "write `listeners: [{address: 127.0.0.1:8080}]`";
        let spot = Spot::ROOT.key("listeners");
        let elements = match root.get("listeners").map(|node| &node.value) {
            Some(Value::List(elements)) if !elements.is_empty() => elements,
            None => {
                self.report.error(&Spot::ROOT, "`listeners` is missing", WRITE);
                return Vec::new();
            }
            Some(Value::List(_) | Value::Null) => {
                self.report.error(&spot, "there is no listener", WRITE);
                return Vec::new();
            }
            Some(_) => {
                self.report.error(&spot, "must be a list", WRITE);
                return Vec::new();
            }
        };
        let mut listeners: Vec<ListenerSettings> = Vec::new();
        for (index, node) in elements.iter().enumerate() {
            let spot = spot.index(index);
            let read = read(node, Keep::All, &[], &spot, self.report, Listener::deserialize);
            let Some(listener) = read.and_then(|listener| self.listener(node, &spot, listener)) else { continue };
            if listener.proxy_protocol && !root.told_of("trusted_proxies") {
                self.somebody_is_trusted(&listener.address, trusted, &spot.key("proxy_protocol"));
            }
            if listeners.iter().any(|other| clash(&other.address, &listener.address)) {
                self.report.error(
                    &spot.key("address"),
                    "another listener has this address",
                    "give each listener an address or port of its own",
                );
            }
            listeners.push(listener);
        }
        listeners
    }

    /// With `proxy_protocol` nobody but `trusted_proxies` may connect.
    fn somebody_is_trusted(&mut self, address: &ListenAddress, trusted: Option<&TrustedProxies>, spot: &Spot<'_>) {
        let (message, mend) = match (trusted, address) {
            (None, _) => (
                "nobody is trusted to tell a client's address, and so nobody could connect",
                "add `trusted_proxies: [10.0.0.0/8]` at the top level: where the proxies in front are",
            ),
            (Some(trusted), ListenAddress::Unix(_)) if !trusted.unix => (
                "nobody who comes by a Unix socket is in `trusted_proxies`, and so nobody could connect",
                "add `unix` to `trusted_proxies`",
            ),
            (Some(trusted), ListenAddress::Tcp(_)) if trusted.networks.is_empty() => (
                "`trusted_proxies` has no address, and so nobody could connect",
                "add to `trusted_proxies` where the proxies in front are",
            ),
            _ => return,
        };
        self.report.error(spot, message, mend);
    }

    /// Where a proxy stands in front, TLS is that one's business.
    pub(super) fn warn_of_clear_keys(
        &mut self,
        listeners: &[ListenerSettings],
        routes: &[RouteSettings],
        has_trusted: bool,
    ) {
        let secret = routes.iter().any(|route| asks_for_secrets(&route.access));
        if !secret || has_trusted || !self.report.is_sound() {
            return;
        }
        let all = Spot::ROOT.key("listeners");
        for (index, listener) in listeners.iter().enumerate() {
            if is_open(&listener.address) && listener.tls.is_none() {
                self.report.warning(
                    &all.index(index).key("address"),
                    "keys and passwords come in the clear from other machines",
                    "add `tls`; or, where a proxy in front of this one speaks it, name that one in `trusted_proxies`",
                );
            }
        }
    }

    fn listener(&mut self, node: &Node, spot: &Spot<'_>, listener: Listener) -> Option<ListenerSettings> {
        let tls = listener.tls.map(|tls| self.listener_tls(node.get("tls").unwrap_or(node), &spot.key("tls"), &tls));
        if tls.is_none() && node.get("tls").is_some() && !node.told_of("tls") {
            self.report.error(
                &spot.key("tls"),
                "is empty, and the listener would speak plainly",
                "add `cert` and `key`, or take it out",
            );
        }
        let Some(address) = listener.address else {
            self.missing(spot, node, "address", "write `address: 127.0.0.1:8080`");
            return None;
        };
        let tls = match tls {
            None => None,
            // A listener that was to speak TLS never speaks without; the error has been reported.
            Some(None) => return None,
            Some(tls) => tls,
        };
        let header_case = listener.header_case.map(Into::into).unwrap_or_default();
        let proxy_protocol = listener.proxy_protocol.unwrap_or(false);
        let connections = listener.connections.map(std::num::NonZeroU32::get);
        Some(ListenerSettings { address: address.0, tls, proxy_protocol, header_case, connections })
    }

    fn listener_tls(&mut self, node: &Node, spot: &Spot<'_>, tls: &ListenerTls) -> Option<ServerTls> {
        let first = self.server_identity(node, spot, tls.cert.as_ref(), tls.key.as_ref());
        // Of several certificates with one name the first is shown.
        let names = |identity: &ServerIdentity| identity.chain.first().map_or_else(Vec::new, |leaf| hosts(leaf));
        let mut taken: HashSet<String> = first.iter().flat_map(names).collect();
        let (at, nodes) = (spot.key("certificates"), node.get("certificates").map_or(&[][..], Node::elements));
        let nodes = nodes.iter().enumerate().filter(|(_, node)| !node.out.get());
        let further: Vec<Option<ServerIdentity>> = tls
            .certificates
            .iter()
            .zip(nodes)
            .map(|(further, (index, node))| {
                let spot = at.index(index);
                let identity = self.server_identity(node, &spot, further.cert.as_ref(), further.key.as_ref())?;
                let names = names(&identity);
                if names.is_empty() {
                    let mend = "make one with a DNS name in its subjectAltName, or take it out";
                    self.report.warning(&spot.key("cert"), "the certificate names no host, and is never shown", mend);
                } else if names.iter().all(|name| taken.contains(name)) {
                    let message = "certificates before it have all of its names, and it is never shown";
                    self.report.warning(&spot.key("cert"), message, "put it before them, or take it out");
                }
                taken.extend(names);
                Some(identity)
            })
            .collect();
        let at = spot.key("client_ca");
        let roots = self.ca(tls.client_ca.as_ref(), &at);
        for root in roots.as_deref().into_iter().flatten() {
            self.dated(root, &at);
            // As an anchor it would be believed whatever it says of itself.
            if !vouches(root) {
                self.report.error(
                    &at,
                    "a certificate in the file is no authority's (CA:FALSE): whoever has its key could sign for any name",
                    "name the authority that signed the clients' certificates",
                );
            }
        }
        if tls.client_ca.is_none() && tls.client_auth.is_some() && !node.told_of("client_ca") {
            let mend = "add `client_ca: clients.pem`, or take it out";
            self.report.error(&spot.key("client_auth"), "there is nobody to vouch for clients' certificates", mend);
        }
        if tls.client_ca.is_some() && roots.is_none() {
            // Clients that were to show a certificate are never let in without; the error has been reported.
            return None;
        }
        let is_required = tls.client_auth.is_none_or(|auth| auth == ClientAuth::Require);
        let clients = roots.map(|roots| ClientAuthority { roots, is_required });
        let further = further.into_iter().collect::<Option<_>>()?;
        Some(ServerTls { first: first?, further, clients, session_tickets: tls.session_tickets.unwrap_or(true) })
    }

    /// A certificate to show to clients.
    fn server_identity<F>(
        &mut self,
        node: &Node,
        spot: &Spot<'_>,
        cert: Option<&Of<F>>,
        key: Option<&Of<F>>,
    ) -> Option<ServerIdentity>
    where
        F: Form<Value = String>,
    {
        if cert.is_none() && !node.told_of("certificate") {
            self.missing(spot, node, "cert", "add the PEM file of the certificate");
        }
        if key.is_none() {
            self.missing(spot, node, "key", "add the PEM file of the key");
        }
        match (cert, key) {
            (Some(cert), Some(key)) => self.identity((&cert.0, &spot.key("cert")), (&key.0, &spot.key("key"))),
            (Some(cert), None) => {
                // What is wrong with the one is told beside that the other is missing.
                self.chain(&cert.0, &spot.key("cert"));
                None
            }
            (None, _) => None,
        }
    }
}
