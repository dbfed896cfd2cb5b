//! The admin port: an address of its own, and a token where others can reach it.

use std::path::Path;

use crate::config::check::Check;
use crate::config::check::listener::{clash, is_open};
use crate::config::file::General;
use crate::config::spot::Spot;
use crate::config::tree::Node;
use crate::config::{AdminSettings, ListenAddress, ListenerSettings};
use crate::secret::Secret;

/// A token or key that is shorter may be found by trying.
pub(super) const SHORT: usize = 16;

const MAKE_A_TOKEN: &str = "write `token: ${TOKENFERRY_ADMIN_TOKEN}`, of what `openssl rand -hex 16` prints";

impl Check<'_> {
    /// `None` where there is none, or an error was reported.
    pub(super) fn admin(
        &mut self,
        root: &Node,
        general: &General,
        listeners: &[ListenerSettings],
        handover: Option<&Path>,
    ) -> Option<AdminSettings> {
        let spot = Spot::ROOT.key("admin");
        let (admin, node) = (general.admin.as_ref()?, root.get("admin")?);
        if let Some(token) = &admin.token {
            self.admin_token(token, &spot.key("token"));
        }
        let Some(address) = &admin.address else {
            self.missing(&spot, node, "address", "write `address: 127.0.0.1:9901`");
            return None;
        };
        let (address, at) = (&address.0, spot.key("address"));
        if is_open(address) && admin.token.is_none() && !node.told_of("token") {
            self.report.error(&at, "other machines can reach it, and there is no `token`", MAKE_A_TOKEN);
        }
        let taken = listeners.iter().any(|listener| clash(&listener.address, address));
        if taken || handover.is_some_and(|path| *address == ListenAddress::Unix(path.to_owned())) {
            let message = if taken { "a listener has this address" } else { "the handover socket has this path" };
            self.report.error(&at, message, "give the admin port an address of its own, such as 127.0.0.1:9901");
        }
        Some(AdminSettings {
            address: address.clone(),
            token: admin.token.clone(),
            ready_when: admin.ready_when.map(Into::into).unwrap_or_default(),
            hosts: admin.hosts.iter().flatten().map(|host| host.0.clone()).collect(),
        })
    }

    fn admin_token(&mut self, token: &Secret, spot: &Spot<'_>) {
        let text = token.expose();
        if text.is_empty() {
            self.report.error(spot, "is empty", MAKE_A_TOKEN);
        } else if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            self.report.error(spot, "has a character that a header cannot carry", MAKE_A_TOKEN);
        } else if text.len() < SHORT {
            self.report.warning(spot, "is short enough to be found by trying", MAKE_A_TOKEN);
        }
    }
}
