//! The listeners' doors: TLS that has not changed is kept as it is, and a listener that the file no longer
//! has keeps what it had until a restart.

use std::sync::Arc;

use super::{AssembleError, Assembly, NextDoor, listen_on};
use crate::config::ListenerSettings;
use crate::live::Door;
use crate::model::ServerTls;
use crate::server::tls::server_config;

impl Assembly {
    /// The doors as the settings have them. TLS that has not changed is kept as it is: another one would
    /// resume no session of a client's.
    pub(super) fn next_doors(
        &self,
        listeners: &[ListenerSettings],
        record_case: bool,
        errors: &mut Vec<AssembleError>,
    ) -> Vec<NextDoor> {
        let made = |tls: &ServerTls| {
            let known = self.tls.iter().find(|(known, _)| known == tls).map(|(_, config)| Arc::clone(config));
            known.map_or_else(|| server_config(tls), Ok)
        };
        let mut doors = Vec::with_capacity(listeners.len());
        for (place, listener) in listeners.iter().enumerate() {
            match listener.tls.as_ref().map(made).transpose() {
                Ok(tls) => {
                    let ListenerSettings { proxy_protocol, header_case, connections, .. } = *listener;
                    let clients = listener.tls.as_ref().and_then(|tls| tls.clients.as_ref());
                    let voucher = clients.map(|clients| Arc::clone(&clients.roots));
                    let door = Door { tls, voucher, proxy_protocol, header_case, record_case, connections };
                    doors.push((listen_on(&listener.address), door));
                }
                Err(cause) => {
                    errors.push(AssembleError { path: format!("listeners[{place}].tls"), cause: cause.into() });
                }
            }
        }
        doors
    }

    /// The doors in the order in which they were bound. An address that came or went needs a
    /// restart; one that is no longer named keeps what it had, above all its TLS.
    pub(super) fn keep_doors(&mut self, next: Vec<NextDoor>) -> (Vec<Door>, Vec<String>) {
        if self.doors.is_empty() {
            self.doors = next;
            return (self.doors.iter().map(|(_, door)| door.clone()).collect(), Vec::new());
        }
        let mut restart = Vec::new();
        for (address, _) in next.iter().filter(|(a, _)| !self.doors.iter().any(|(known, _)| known == a)) {
            restart.push(format!("the listener {address} is new"));
        }
        for (address, door) in &mut self.doors {
            match next.iter().find(|(a, _)| a == address) {
                Some((_, found)) => *door = found.clone(),
                None => restart.push(format!("the listener {address} is gone from the file")),
            }
        }
        (self.doors.iter().map(|(_, door)| door.clone()).collect(), restart)
    }
}
