//! What the environment says of an egress proxy: the variables that curl and most programs read.
//!
//! `https_proxy`, `http_proxy`, `all_proxy` and `no_proxy`, each also in upper case, but not
//! `HTTP_PROXY`: a server that runs under CGI has it from a request's `Proxy` header ("httpoxy"), and
//! curl does not read it either. The lower case goes first. An origin on loopback is never reached
//! through a proxy that only the environment names, as in Go: sidecars and tests would break.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::config::interpolate::Environment;
use crate::model::{EgressProxy, EgressProxyError, Origin, Scheme};
use crate::secret::Secret;

/// The environment's proxies, as found.
#[derive(Debug)]
pub(crate) struct EgressVariables {
    https: Option<Named>,
    http: Option<Named>,
    exceptions: NoProxy,
}

/// A variable and what is in it.
#[derive(Clone, Debug)]
struct Named {
    variable: &'static str,
    url: Secret,
}

/// A variable that is in force for an origin, and the proxy in it, or why it cannot be spoken to.
pub(crate) type Found = (&'static str, Result<EgressProxy, EgressProxyError>);

impl EgressVariables {
    /// Reads the variables, once.
    pub(crate) fn read(environment: Environment<'_>) -> Self {
        // An empty variable is as good as none: that is how one is switched off for one program.
        let text = |variable: &str| environment(variable).filter(|text| !text.trim().is_empty());
        let first = |variables: &[&'static str]| {
            variables.iter().find_map(|variable| Some(Named { variable, url: Secret::new(text(variable)?.trim()) }))
        };
        Self {
            https: first(&["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]),
            http: first(&["http_proxy", "all_proxy", "ALL_PROXY"]),
            exceptions: NoProxy::parse(&text("no_proxy").or_else(|| text("NO_PROXY")).unwrap_or_default()),
        }
    }

    /// What they say of this origin; `None` for: go there directly.
    pub(crate) fn of(&self, origin: &Origin) -> Option<Found> {
        let named = match origin.scheme() {
            Scheme::Https => self.https.as_ref(),
            Scheme::Http => self.http.as_ref(),
        }?;
        if origin.is_loopback() || self.exceptions.has(origin) {
            return None;
        }
        let url = named.url.expose();
        let read =
            if url.contains("://") { EgressProxy::parse(url) } else { EgressProxy::parse(&format!("http://{url}")) };
        Some((named.variable, read))
    }
}

/// `no_proxy`: what is reached directly.
#[derive(Debug, Default)]
struct NoProxy {
    all: bool,
    networks: Vec<IpNet>,
    /// Hosts and addresses, each with its port where only that is meant.
    hosts: Vec<(String, Option<u16>)>,
}

impl NoProxy {
    /// Reads a list with commas or spaces between. What is no sound entry stands for nothing, as
    /// everywhere.
    fn parse(list: &str) -> Self {
        let mut none = Self::default();
        for entry in list.split([',', ' ', '\t']).filter(|entry| !entry.is_empty()) {
            if entry == "*" {
                none.all = true;
            } else if let Ok(network) = entry.parse::<IpNet>() {
                none.networks.push(network);
            } else if let Some(ip) = address(entry) {
                none.networks.push(IpNet::from(ip));
            } else {
                let (host, port) = match entry.rsplit_once(':') {
                    Some((host, port)) => match port.parse() {
                        Ok(port) => (host, Some(port)),
                        Err(_) => continue,
                    },
                    None => (entry, None),
                };
                let host = host.strip_prefix('*').unwrap_or(host);
                let host = host.strip_prefix('.').unwrap_or(host);
                let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
                if !host.is_empty() {
                    none.hosts.push((host, port));
                }
            }
        }
        none
    }

    /// A name is meant with all that is below it, on label boundaries; a network means origins that
    /// are written as addresses, since names are not resolved for this.
    fn has(&self, origin: &Origin) -> bool {
        if self.all {
            return true;
        }
        let ip = origin.ip().map(|ip| ip.to_canonical());
        if ip.is_some_and(|ip| self.networks.iter().any(|network| network.contains(&ip))) {
            return true;
        }
        self.hosts.iter().any(|(host, port)| {
            port.is_none_or(|port| port == origin.port())
                && match ip {
                    Some(ip) => address(host) == Some(ip),
                    None => origin
                        .host()
                        .strip_suffix(host.as_str())
                        .is_some_and(|rest| rest.is_empty() || rest.ends_with('.')),
                }
        })
    }
}

/// An address, with or without brackets.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse::<IpAddr>().ok().map(|ip| ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::BaseUrl;

    fn found(variables: &[(&str, &str)], url: &str) -> Option<(&'static str, String)> {
        let environment =
            |name: &str| variables.iter().find(|(variable, _)| *variable == name).map(|(_, text)| (*text).to_owned());
        let (variable, proxy) = EgressVariables::read(&environment).of(BaseUrl::parse(url).unwrap().origin())?;
        Some((variable, proxy.map_or_else(|error| error.to_string(), |proxy| proxy.to_string())))
    }

    #[test]
    fn each_scheme_has_its_variable_and_the_lower_case_goes_first() {
        let (https, http) = ("https://api.example", "http://api.example");
        for (variables, url, variable) in [
            (&[("https_proxy", "http://p:1")][..], https, Some("https_proxy")),
            (&[("HTTPS_PROXY", "http://p:1")], https, Some("HTTPS_PROXY")),
            (&[("HTTPS_PROXY", "http://q:1"), ("https_proxy", "http://p:1")], https, Some("https_proxy")),
            (&[("HTTPS_PROXY", "http://p:1"), ("https_proxy", " ")], https, Some("HTTPS_PROXY")),
            (&[("https_proxy", "http://p:1"), ("HTTPS_PROXY", "http://p:1")], http, None),
            (&[("http_proxy", "http://p:1")], http, Some("http_proxy")),
            (&[("http_proxy", "http://p:1")], https, None),
            // "httpoxy": a request's header under CGI.
            (&[("HTTP_PROXY", "http://p:1")], http, None),
            (&[("ALL_PROXY", "http://p:1")], https, Some("ALL_PROXY")),
            (&[("all_proxy", "http://p:1")], http, Some("all_proxy")),
            (&[("ALL_PROXY", "http://q:1"), ("HTTPS_PROXY", "http://p:1")], https, Some("HTTPS_PROXY")),
            (&[("ALL_PROXY", "")], https, None),
            (&[("https_proxy", "p:1")], https, Some("https_proxy")),
            (&[], https, None),
        ] {
            assert_eq!(found(variables, url), variable.map(|v| (v, "http://p:1".to_owned())), "{variables:?} {url}");
        }
        let masked = found(&[("https_proxy", "user:pass@p:1")], https);
        assert_eq!(masked, Some(("https_proxy", "http://***@p:1".to_owned())));
    }

    #[test]
    fn a_proxy_that_cannot_be_spoken_to_is_told_of() {
        for (url, error) in [("socks5://p:1", EgressProxyError::Socks), ("https://p:1", EgressProxyError::Tls)] {
            assert_eq!(found(&[("ALL_PROXY", url)], "https://a.example"), Some(("ALL_PROXY", error.to_string())));
        }
    }

    #[test]
    fn an_origin_on_loopback_is_never_reached_through_the_environments_proxy() {
        for url in ["http://127.0.0.1:8080", "http://127.9.9.9", "http://localhost:1", "http://[::1]:1"] {
            assert_eq!(found(&[("all_proxy", "http://p:1")], url), None, "{url}");
        }
        // Nor is one that only looks like it left out.
        for url in ["http://localhost.example", "http://10.0.0.1"] {
            assert!(found(&[("all_proxy", "http://p:1")], url).is_some(), "{url}");
        }
    }

    #[test]
    fn what_no_proxy_lists_is_reached_directly() {
        for (list, url, direct) in [
            ("*", "https://api.example", true),
            ("", "https://api.example", false),
            ("example.com", "https://example.com", true),
            ("example.com", "https://api.example.com", true),
            ("example.com", "https://api.example.com:8443", true),
            ("EXAMPLE.com.", "https://Api.Example.Com", true),
            (".example.com", "https://api.example.com", true),
            (".example.com", "https://example.com", true),
            ("*.example.com", "https://api.example.com", true),
            ("example.com", "https://badexample.com", false),
            ("example.com", "https://example.com.evil", false),
            ("api.example.com", "https://example.com", false),
            ("example.com:8443", "https://example.com:8443", true),
            ("example.com:8443", "https://example.com", false),
            ("example.com:443", "https://example.com", true),
            ("example.com:none", "https://example.com", false),
            ("a.com, b.com\tc.com d.com", "https://b.com", true),
            ("a.com, b.com\tc.com d.com", "https://d.com", true),
            ("a.com,,b.com", "https://b.com", true),
            ("10.0.0.1", "https://10.0.0.1:8443", true),
            ("10.0.0.1", "https://10.0.0.10", false),
            ("10.0.0.1:8443", "https://10.0.0.1:8443", true),
            ("10.0.0.1:8443", "https://10.0.0.1", false),
            ("10.0.0.0/8", "https://10.200.3.4", true),
            ("10.0.0.0/8", "https://11.0.0.1", false),
            ("10.0.0.0/8", "https://ten.example", false),
            ("0.0.0.0/0", "https://[2001:db8::1]", false),
            ("10.0.0.1", "https://[::ffff:10.0.0.1]", true),
            ("2001:db8::1", "https://[2001:DB8::1]", true),
            ("[2001:db8::1]", "https://[2001:db8::1]:1", true),
            ("[2001:db8::1]:1", "https://[2001:db8::1]:1", true),
            ("[2001:db8::1]:1", "https://[2001:db8::1]:2", false),
            ("2001:db8::/32", "https://[2001:db8::77]", true),
            ("*, nothing", "https://10.0.0.1", true),
            ("*.", "https://example.com", false),
        ] {
            let variables = [("all_proxy", "http://p:1"), ("no_proxy", list)];
            assert_eq!(found(&variables, url).is_none(), direct, "{list:?} {url}");
        }
        let both = [("all_proxy", "http://p:1"), ("no_proxy", "a.com"), ("NO_PROXY", "b.com")];
        assert_eq!(found(&both, "https://a.com"), None);
        assert!(found(&both, "https://b.com").is_some());
        assert_eq!(found(&[("all_proxy", "http://p:1"), ("NO_PROXY", "b.com")], "https://b.com"), None);
    }
}
