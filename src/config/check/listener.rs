//! Listeners: addresses, certificates, and which of them other machines can reach.

use serde::Deserialize;

use crate::config::check::Check;
use crate::config::de::{Keep, read};
use crate::config::file::Listener;
use crate::config::spot::Spot;
use crate::config::tree::{Node, Value};
use crate::config::{ListenAddress, ListenerSettings};

/// Whether other machines can reach it.
pub(super) fn is_open(address: &ListenAddress) -> bool {
    match address {
        ListenAddress::Tcp(address) => !address.ip().to_canonical().is_loopback(),
        ListenAddress::Unix(_) => false,
    }
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
    pub(super) fn listeners(&mut self, root: &Node) -> Vec<ListenerSettings> {
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

    fn listener(&mut self, node: &Node, spot: &Spot<'_>, listener: Listener) -> Option<ListenerSettings> {
        let tls = listener.tls.map(|tls| {
            let at = spot.key("tls");
            let node = node.get("tls").unwrap_or(node);
            if tls.cert.is_none() {
                self.missing(&at, node, "cert", "add the PEM file of the certificate");
            }
            if tls.key.is_none() {
                self.missing(&at, node, "key", "add the PEM file of the key");
            }
            self.identity((&tls.cert?.0, &at.key("cert")), (&tls.key?.0, &at.key("key")))
        });
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
            Some(identity) => identity,
        };
        let header_case = listener.header_case.map(Into::into).unwrap_or_default();
        let connections = listener.connections.map(std::num::NonZeroU32::get);
        Some(ListenerSettings { address: address.0, tls, header_case, connections })
    }
}
