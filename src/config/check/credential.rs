//! Credentials: the fields of every provider, those of the vendor, and two that would kill each
//! other's tokens.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use crate::config::CredentialSettings;
use crate::config::check::header::is_own;
use crate::config::check::{Check, Credentials};
use crate::config::de::{Keep, one_of, read};
use crate::config::file::{Common, Inject, Refused};
use crate::config::nearest::nearest;
use crate::config::spot::{Path, Spot, plain};
use crate::config::tree::{Node, Value};
use crate::model::{JsonMatch, JsonRefusal, Margin, Place, Placement, RefusedWhen, UpstreamTls};
use crate::vendor::{self, FieldProblem, Vendor};

impl Check<'_> {
    pub(super) fn credentials(&mut self, root: &Node) -> Credentials {
        let spot = Spot::ROOT.key("credentials");
        let entries = match root.get("credentials").map(|node| &node.value) {
            None | Some(Value::Null) => return Credentials::new(),
            Some(Value::Map(entries)) => entries,
            Some(_) => {
                self.report.error(&spot, "must be a map", "write one `NAME: {provider: ...}` a line");
                return Credentials::new();
            }
        };
        let mut credentials = Credentials::new();
        let mut exclusive = HashMap::new();
        for entry in entries {
            let at = spot.key(&entry.key);
            if entry.key == "none" || entry.key.trim().is_empty() {
                self.report.error_at_key(
                    &at,
                    "a credential cannot have this name",
                    "choose another: `none` stands for no credential",
                );
            }
            let settings = self.credential(&entry.key, &entry.node, &at);
            if let Some(settings) = settings.as_ref().filter(|settings| settings.exclusive) {
                let key = settings.vendor.identity().client();
                if let Some(other) = exclusive.insert(key, entry.key.clone()) {
                    let other = plain(&other);
                    self.report.error_at_key(
                        &at,
                        format!("`{other}` fetches exclusive tokens for the same client: each would kill the other's"),
                        format!("use `{other}` in both routes, or take one of the two out"),
                    );
                }
            }
            credentials.insert(entry.key.clone(), settings.map(Arc::new));
        }
        credentials
    }

    fn credential(&mut self, name: &str, node: &Node, spot: &Spot<'_>) -> Option<CredentialSettings> {
        if !matches!(node.value, Value::Map(_)) {
            self.report.error(
                spot,
                format!("must be a map, not {}", node.kind()),
                "write at least `provider:` and what it asks for",
            );
            return None;
        }
        let common = read(node, Keep::Only(Common::FIELDS), &[], spot, self.report, Common::deserialize)?;
        let Some(provider) = common.provider.as_ref().map(|provider| provider.0.as_str()) else {
            self.missing(spot, node, "provider", format!("add `provider:` with {}", one_of(vendor::PROVIDERS)));
            return None;
        };
        if !vendor::PROVIDERS.contains(&provider) {
            let mend = match nearest(provider, vendor::PROVIDERS.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "`oauth2` is any RFC 6749 token endpoint, `custom` any other login".to_owned(),
            };
            let message = format!("must be {}", one_of(vendor::PROVIDERS));
            self.report.error(&spot.key("provider"), message, mend);
            return None;
        }
        let own = read(node, Keep::Except(Common::FIELDS), Common::FIELDS, spot, self.report, |reader| {
            vendor::parse(provider, reader)
        });
        let shows_certificate = own.as_ref().is_some_and(|own| own.shows_certificate());
        if shows_certificate && common.client_cert.is_none() && common.client_key.is_none() {
            let mend = "add client_cert and client_key: the PEM files of what the client logs in by";
            self.missing(spot, node, "client_cert", mend);
        }
        let tls = UpstreamTls {
            ca: self.ca(common.ca.as_ref(), &spot.key("ca")),
            client: self.client_identity(node, spot, common.client_cert.as_ref(), common.client_key.as_ref()),
            server_name: None,
            insecure: common.insecure.unwrap_or(false),
        };
        if tls.insecure {
            self.insecure(&spot.key("insecure"), &format!("the credential `{}`", plain(name)), "credential");
        }
        let inject = common.inject.as_ref().map(|places| self.placement(node, &spot.key("inject"), &places.0));
        let refused_when =
            common.refused_when.as_ref().map(|refused| self.refused(node, &spot.key("refused_when"), refused));
        let state = self.state(name, node, spot, &common);
        let vendor = match own?.build(common.token_url.map(|url| url.0)) {
            Ok(vendor) => vendor,
            Err(problems) => {
                for problem in problems {
                    self.field(node, spot, &problem);
                }
                return None;
            }
        };
        let egress = vendor.token_url().and_then(|url| self.egress(common.proxy.as_ref(), spot, url.origin()));
        if vendor.token_url().is_none() && common.proxy.is_some() {
            self.report.warning_at_key(&spot.key("proxy"), "has no effect: nothing is asked for", "take it out");
        }
        self.plain_endpoint(vendor.as_ref(), egress.is_some(), node, spot);
        self.shown(vendor.as_ref(), shows_certificate, node, spot);
        self.kept(vendor.as_ref(), node, spot);
        let defaults = vendor.defaults();
        Some(CredentialSettings {
            name: name.to_owned(),
            vendor,
            inject: inject.unwrap_or(defaults.inject),
            refused_when: refused_when.unwrap_or(defaults.refused_when),
            timeout: common.timeout.map_or(Duration::from_secs(10), |timeout| timeout.0),
            lifetime: common.lifetime.map(|lifetime| lifetime.0).or(defaults.lifetime),
            idle_lifetime: common.idle_lifetime.map(|lifetime| lifetime.0),
            refresh_before: common.refresh_before.map_or(Margin::default(), |margin| margin.0),
            drain: common.drain.map_or(Duration::from_secs(2), |drain| drain.0),
            exclusive: common.exclusive.unwrap_or(defaults.exclusive),
            tls,
            egress,
            state,
        })
    }

    /// What a vendor did not take, at its field, or where the field would be.
    fn field(&mut self, node: &Node, spot: &Spot<'_>, problem: &FieldProblem) {
        // What has a use depends on these words; one that was no such word was told of.
        let unsure = ["grant", "client_auth", "method"].iter().any(|field| node.told_of(field));
        let depends = ["has no use", "is missing", "is empty"].iter().any(|start| problem.message.starts_with(start));
        if unsure && depends {
            return;
        }
        let path = Path::parse(&problem.field);
        let told =
            (1..=path.0.len()).any(|depth| node.at(&Path(path.0[..depth].to_vec())).is_some_and(|node| node.out.get()));
        let there = node.at(&path);
        if told || (there.is_none() && node.told_of(&problem.field)) {
            return;
        }
        // A reference that stands for nothing is read as nothing; people see that something is written.
        let is_empty = there.and_then(Node::text).is_some_and(str::is_empty);
        let told =
            if is_empty { problem.message.replacen("is missing", "is empty", 1) } else { problem.message.clone() };
        let there = there.is_some();
        let message = format!("`{}` {told}", problem.field);
        let mend = problem.mend.clone();
        crate::config::de::with_spot(spot, &path.0, &mut |spot| {
            if there {
                self.report.error(spot, &message, &mend);
            } else {
                self.report.error_at_key(spot, &message, &mend);
            }
        });
    }

    /// Secrets over plain http are read by everyone on the way.
    fn plain_endpoint(&mut self, vendor: &dyn Vendor, proxied: bool, node: &Node, spot: &Spot<'_>) {
        let Some(url) = vendor.token_url() else { return };
        if url.origin().scheme() == crate::model::Scheme::Http && (proxied || !url.origin().is_loopback()) {
            let field = ["token_url", "base_url"].into_iter().find(|field| node.get(field).is_some());
            let warn = if proxied {
                "the login goes over plain http through an egress proxy, which can read its secrets"
            } else {
                "the login goes over plain http: its secrets can be read on the way"
            };
            match field {
                Some(field) => self.report.warning(&spot.key(field), warn, "use https://"),
                None => self.report.warning(spot, warn, "use https://"),
            }
        }
    }

    /// Warns that `who` verifies no certificate, though `what` goes there.
    pub(super) fn insecure(&mut self, spot: &Spot<'_>, who: &str, what: &str) {
        self.report.warning(
            spot,
            format!("{who}: no certificate is verified, and whoever answers gets the {what}"),
            "take it out, and name the server's root in `ca`",
        );
    }

    fn placement(&mut self, node: &Node, spot: &Spot<'_>, places: &[Inject]) -> Placement {
        const WRITE: &str = "write one of `header`, `query`, `json` and `parameter`";
        let written = node.get("inject");
        let is_list = written.is_some_and(|node| matches!(node.value, Value::List(_)));
        if places.is_empty() && written.is_some_and(|node| node.elements().is_empty()) {
            self.report.error(spot, "the token goes nowhere", WRITE);
        }
        let mut placement = Placement::new();
        for (index, place) in places.iter().enumerate() {
            let at = if is_list { spot.index(index) } else { *spot };
            let node = written.map(|node| if is_list { node.elements().get(index).unwrap_or(node) } else { node });
            let count =
                [place.header.is_some(), place.query.is_some(), place.json.is_some(), place.parameter.is_some()];
            let checked = match (count.iter().filter(|there| **there).count(), place) {
                (0, _) => {
                    if !node.is_some_and(|node| node.entries().iter().any(|entry| entry.node.out.get())) {
                        self.report.error(&at, "names no place for the token", WRITE);
                    }
                    continue;
                }
                (1, Inject { header: Some(name), scheme, .. }) => {
                    let name = &name.0;
                    if is_own(name) || name.as_str().starts_with("content-") || name.as_str() == "expect" {
                        self.report.error(
                            &at.key("header"),
                            "a token cannot go into a header that frames or describes the request",
                            "name another header, such as Authorization or X-Api-Key",
                        );
                    }
                    Place::Header { name: name.clone(), scheme: scheme.as_ref().map(|scheme| scheme.0.clone()) }
                }
                (1, Inject { scheme: Some(_), .. }) => {
                    self.report.error(&at.key("scheme"), "stands only beside `header`", "take it out");
                    continue;
                }
                (1, Inject { query: Some(name), .. }) => Place::Query { name: name.0.clone() },
                (1, Inject { json: Some(name), .. }) => Place::Json { name: name.0.clone() },
                (1, Inject { parameter: Some(name), .. }) => Place::Parameter { name: name.0.clone() },
                _ => {
                    self.report.error(&at, "names more than one place", "write a list with one place each");
                    continue;
                }
            };
            if placement.iter().any(|other| same_place(other, &checked)) {
                self.report.error(&at, "names the same place as another", "keep one of the two");
            }
            placement.push(checked);
        }
        placement
    }

    fn refused(&mut self, node: &Node, spot: &Spot<'_>, refused: &Refused) -> RefusedWhen {
        let written = node.get("refused_when").unwrap_or(node);
        let json = refused.json.as_ref().and_then(|json| {
            let (at, node) = (spot.key("json"), written.get("json").unwrap_or(written));
            if json.pointer.is_none() {
                self.missing(&at, node, "pointer", "add `pointer: /status/code`");
            }
            if json.matches.is_none() {
                self.missing(&at, node, "matches", "add `matches:` with a regular expression");
            }
            Some(JsonRefusal {
                pointer: json.pointer.as_ref()?.0.clone(),
                matches: JsonMatch::Pattern(json.matches.as_ref()?.0.clone()),
            })
        });
        let status = refused.status.iter().flatten().map(|status| status.0).collect();
        if refused.status.is_none() && refused.json.is_none() && written.entries().is_empty() {
            self.report.error(spot, "names neither `status` nor `json`", "write `status: [401]`, or take it out");
        }
        RefusedWhen { status, json }
    }
}

fn same_place(one: &Place, other: &Place) -> bool {
    match (one, other) {
        (Place::Header { name: one, .. }, Place::Header { name: other, .. }) => one == other,
        (Place::Query { name: one }, Place::Query { name: other })
        | (Place::Json { name: one }, Place::Json { name: other })
        | (
            Place::Parameter { name: one },
            Place::Parameter { name: other } | Place::Query { name: other } | Place::Json { name: other },
        )
        | (Place::Query { name: one } | Place::Json { name: one }, Place::Parameter { name: other }) => one == other,
        _ => false,
    }
}
