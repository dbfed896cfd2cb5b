//! What outlives a login, and what it shows of itself beside its secrets.

use crate::config::StateSettings;
use crate::config::check::Check;
use crate::config::check::seal::MAKE_A_KEY;
use crate::config::file::Common;
use crate::config::spot::{Spot, plain};
use crate::config::tree::{Node, Value};
use crate::model::Scheme;
use crate::vendor::Vendor;

impl Check<'_> {
    /// `state_file` and `encryption_key`, which stand together.
    pub(super) fn state(&mut self, name: &str, node: &Node, spot: &Spot<'_>, common: &Common) -> Option<StateSettings> {
        let at = spot.key("encryption_key");
        let keys = common.encryption_key.as_ref().and_then(|texts| self.seal_keys(texts, node, spot));
        let Some(path) = &common.state_file else {
            if common.encryption_key.is_some() && !node.told_of("state_file") {
                let message = "has no use: there is no state_file that it would seal";
                self.report.error(&at, message, "add `state_file: PATH`, or take it out");
            }
            return None;
        };
        if common.encryption_key.is_none() {
            let mend = format!("add `encryption_key: ${{NAME}}`, which seals the state file; {MAKE_A_KEY}");
            self.missing(spot, node, "encryption_key", mend);
        }
        let at = spot.key("state_file");
        let path = self.files.path(&path.0);
        if let Some(other) = self.state_files.insert(path.clone(), name.to_owned()) {
            let other = plain(&other);
            self.report.error(
                &at,
                format!("`{other}` keeps its refresh token in this very file: each would overwrite the other's"),
                "give each credential a file of its own",
            );
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        if folder.is_some_and(|folder| !folder.is_dir()) {
            self.report.error(&at, "its folder does not exist", "create the folder; the file is made by itself");
            return None;
        }
        if path.is_dir() || path.file_name().is_none() {
            self.report.error(&at, "is a folder", "name a file in it");
            return None;
        }
        self.files.judge_mode(&path, self.report, &at);
        Some(StateSettings { path, keys: keys? })
    }

    /// Whether there is something to keep, and a place for it.
    pub(super) fn kept(&mut self, vendor: &dyn Vendor, node: &Node, spot: &Spot<'_>) {
        let written = node.get("state_file").is_some_and(|node| !matches!(node.value, Value::Null));
        match (vendor.first_refresh_token(), written) {
            (None, true) => self.report.error(
                &spot.key("state_file"),
                "has no use: this login has no refresh token to keep",
                "take it out, with its encryption_key",
            ),
            (Some(_), false) if !self.is_shared => self.report.warning(
                &spot.key("refresh_token"),
                "where the vendor gives another in its place, that one is lost at a restart",
                "add `state_file: PATH` and `encryption_key`, or a `store`, unless the vendor never rotates refresh tokens",
            ),
            _ => {}
        }
    }

    /// Whether a certificate can be shown at all.
    pub(super) fn shown(&mut self, vendor: &dyn Vendor, must: bool, node: &Node, spot: &Spot<'_>) {
        let plain = vendor.token_url().is_none_or(|url| url.origin().scheme() == Scheme::Http);
        if !plain {
            return;
        }
        let is_written = node.get("client_cert").is_some();
        if must {
            let at = spot.key(if node.get("token_url").is_some() { "token_url" } else { "client_auth" });
            self.report.error(&at, "over plain http no certificate is shown", "use https://, or another client_auth");
        } else if is_written {
            let message = "has no effect: no certificate is shown but over https";
            self.report.warning(&spot.key("client_cert"), message, "use https://, or take it out");
        }
    }
}
