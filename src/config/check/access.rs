//! Who may come in.

use std::collections::HashMap;

use crate::config::check::Check;
use crate::config::file::{Access, digest};
use crate::config::spot::Spot;
use crate::config::tree::Node;
use crate::model::{AccessPolicy, ApiKey};

impl Check<'_> {
    pub(super) fn access(&mut self, access: &Access, node: Option<&Node>, spot: &Spot<'_>) -> AccessPolicy {
        let Access::Rules(rules) = access else { return AccessPolicy::default() };
        if rules.api_keys.is_empty() && rules.allow.is_empty() && rules.deny.is_empty() {
            // What was wrong in it may have been taken out, which has been reported.
            if self.report.is_sound() {
                self.report.error(
                    spot,
                    "has no rule, and so lets everyone in",
                    "write `public` if that is meant, or add `api_keys`, `allow` or `deny`",
                );
            }
            return AccessPolicy::default();
        }
        let mut names = HashMap::new();
        let mut digests: HashMap<[u8; 32], usize> = HashMap::new();
        let mut api_keys = Vec::new();
        let keys = spot.key("api_keys");
        // What was taken out has been reported, and is not among the rules.
        let nodes = node.and_then(|node| node.get("api_keys")).map_or(&[][..], Node::elements);
        let nodes = nodes.iter().enumerate().filter(|(_, node)| !node.out.get());
        for (api_key, (index, node)) in rules.api_keys.iter().zip(nodes) {
            let at = keys.index(index);
            let Some(name) = &api_key.name else {
                self.missing(&at, node, "name", "say whose key it is: `name: billing`");
                continue;
            };
            if names.insert(name.0.clone(), index).is_some() {
                self.report.error(&at.key("name"), "another key has this name", "give each key a name of its own");
            }
            let Some(key) = &api_key.key else {
                self.missing(&at, node, "key", "add `key: ${NAME}`, or sha256: and its digest");
                continue;
            };
            match digest(key.expose()) {
                Err(complaint) => self.report.error(&at.key("key"), complaint.message, complaint.mend),
                Ok(digest) => {
                    if digests.insert(digest.0, index).is_some() {
                        self.report.error(
                            &at.key("key"),
                            "another name has this very key",
                            "give each name a key of its own",
                        );
                    }
                    api_keys.push(ApiKey { name: name.0.clone(), digest });
                }
            }
        }
        AccessPolicy {
            api_keys,
            allow: rules.allow.iter().map(|network| network.0).collect(),
            deny: rules.deny.iter().map(|network| network.0).collect(),
        }
    }
}
