//! What the admin port may tell of a configuration.

use crate::assemble::Assembled;
use crate::config::{CredentialSettings, Loaded, RouteAction, RouteSettings, Settings};
use crate::live::{Directory, Insecure, Listed, Signpost};
use crate::model::PathRule;

/// Names and places, with `***` for what came from a reference.
pub(super) fn directory(loaded: &Loaded, assembled: &Assembled) -> Directory {
    let settings = &loaded.settings;
    Directory {
        ready_when: settings.admin.as_ref().map(|admin| admin.ready_when).unwrap_or_default(),
        credentials: settings.credentials.values().filter_map(|credential| listed(credential, assembled)).collect(),
        routes: settings.routes.iter().enumerate().map(|(place, route)| signpost(loaded, place, route)).collect(),
        certificates: settings.certificates.clone(),
        insecure: insecure(settings),
        ..Directory::default()
    }
}

/// Who verifies no certificate of the server's.
fn insecure(settings: &Settings) -> Vec<Insecure> {
    let credentials = settings.credentials.values().filter(|credential| credential.tls.insecure);
    let credentials = credentials.map(|credential| Insecure::Credential(credential.name.clone()));
    let routes = settings
        .routes
        .iter()
        .filter(|route| matches!(&route.action, RouteAction::Forward(forward) if forward.tls.insecure));
    credentials.chain(routes.map(|route| Insecure::Route(route.label.clone()))).collect()
}

fn listed(credential: &CredentialSettings, assembled: &Assembled) -> Option<Listed> {
    Some(Listed {
        name: credential.name.clone(),
        provider: credential.vendor.provider(),
        exclusive: credential.exclusive,
        logs_in: credential.vendor.token_url().is_some(),
        cell: assembled.cells.get(&credential.name)?.clone(),
    })
}

fn signpost(loaded: &Loaded, place: usize, route: &RouteSettings) -> Signpost {
    let shown = |field: &str, value: String| {
        let masked = loaded.masked(&format!("routes[{place}].{field}"));
        masked.map_or(value, str::to_owned)
    };
    let (upstream, credential) = match &route.action {
        RouteAction::Respond(_) => (None, None),
        RouteAction::Forward(forward) => {
            let field = if loaded.masked(&format!("routes[{place}].upstream.url")).is_some() {
                "upstream.url"
            } else {
                "upstream"
            };
            (Some(shown(field, forward.upstream.to_string())), forward.credential.clone())
        }
    };
    let matches = matches(route, &shown);
    Signpost { name: shown("name", route.name.clone()), matches, upstream, credential }
}

/// `POST crm.internal/contacts`, and what else there is to match.
fn matches(route: &RouteSettings, shown: &dyn Fn(&str, String) -> String) -> String {
    let matcher = &route.matcher;
    let mut methods = matcher.methods.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if !methods.is_empty() {
        methods.push(' ');
    }
    let host = matcher.host.as_ref().map(|host| shown("match.host", host.to_string())).unwrap_or_default();
    let path = match &matcher.path {
        PathRule::Prefix(prefix) => shown("match.path", prefix.to_string()),
        PathRule::Exact(path) => format!("{} (exactly)", shown("match.path_exact", path.clone())),
        PathRule::Regex(regex) => format!(" ~ {}", shown("match.path_regex", regex.to_string())),
    };
    // A header's value may be a key.
    let headers = matcher.headers.iter().map(|header| header.name.as_str()).collect::<Vec<_>>().join(", ");
    let with = if headers.is_empty() { "" } else { " with " };
    format!("{methods}{host}{path}{with}{headers}").trim_start().to_owned()
}
