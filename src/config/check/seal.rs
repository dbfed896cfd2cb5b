//! Keys that seal what is kept outside the process.

use std::sync::Arc;

use crate::config::check::Check;
use crate::config::file::SealKeyTexts;
use crate::config::spot::Spot;
use crate::config::tree::{Node, Value};
use crate::secret::{SealKeyError, SealKeys};

/// Where a key comes from.
pub(super) const MAKE_A_KEY: &str = "make one with: openssl rand -base64 32";

impl Check<'_> {
    /// The keys of `encryption_key`, which stands in `node` at `spot`. `None` where an error was reported.
    pub(super) fn seal_keys(&mut self, texts: &SealKeyTexts, node: &Node, spot: &Spot<'_>) -> Option<Arc<SealKeys>> {
        let at = spot.key("encryption_key");
        match SealKeys::new(&texts.0) {
            Ok(keys) => Some(Arc::new(keys)),
            Err((_, error @ SealKeyError::None)) => {
                self.report.error(&at, error.to_string(), MAKE_A_KEY);
                None
            }
            Err((place, error)) => {
                let is_list = node.get("encryption_key").is_some_and(|node| matches!(node.value, Value::List(_)));
                let at = if is_list { at.index(place) } else { at };
                self.report.error(&at, format!("the key {error}"), MAKE_A_KEY);
                None
            }
        }
    }
}
