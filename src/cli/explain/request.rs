//! The request that the arguments describe.

use bytes::Bytes;
use http::header::HOST;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version};

use super::Args;
use crate::model::ClientCertificate;
use crate::proxy::preview::Asked;

/// A request to explain.
pub(super) struct Described {
    /// As it was typed.
    pub(super) method: String,
    /// As a URL, whatever was typed.
    pub(super) url: String,
    /// The request; `None` where no HTTP library takes its target.
    pub(super) asked: Option<Asked>,
}

/// Reads the arguments; an error says what cannot be meant. It repeats no header's value.
pub(super) fn read(args: &Args) -> Result<Described, String> {
    let method = Method::from_bytes(args.method.as_bytes())
        .map_err(|_| "METHOD is none: write GET, POST or the like".to_owned())?;
    let typed = Typed::read(&args.url)?;
    let mut headers = HeaderMap::new();
    for line in &args.headers {
        let (name, value) = header(line)?;
        headers.append(name, value);
    }
    if !headers.contains_key(HOST) {
        let value = HeaderValue::try_from(typed.host).map_err(|_| "the URL's host is none".to_owned())?;
        headers.insert(HOST, value);
    }
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or("(unreadable)");
    let scheme = if typed.tls { "https" } else { "http" };
    let url = format!("{scheme}://{host}{}", typed.target);
    let Ok(uri) = Uri::try_from(typed.target.as_str()) else {
        return Ok(Described { method: args.method.clone(), url, asked: None });
    };
    let mut head = Request::new(()).into_parts().0;
    head.method = method;
    head.uri = uri;
    head.version = Version::HTTP_11;
    head.headers = headers;
    let body = args.data.as_ref().map(|data| Bytes::copy_from_slice(data.as_bytes()));
    let names: Vec<_> = args.certificate_names.iter().map(|name| as_read(name)).collect();
    let certificate = (!names.is_empty()).then(|| ClientCertificate { names, ..ClientCertificate::default() });
    let asked = Asked { head, body, peer: args.peer, tls: typed.tls, certificate };
    Ok(Described { method: args.method.clone(), url, asked: Some(asked) })
}

/// A certificate's name as `ClientCertificate::of` would have it: no DNS name has one of these.
fn as_read(name: &str) -> String {
    if name.contains([':', '@']) { name.to_owned() } else { name.to_ascii_lowercase() }
}

/// A URL or path, taken apart but not judged.
struct Typed<'a> {
    tls: bool,
    host: &'a str,
    /// Path and query.
    target: String,
}

impl<'a> Typed<'a> {
    fn read(text: &'a str) -> Result<Self, String> {
        // A fragment never leaves a client.
        let text = text.split('#').next().unwrap_or(text);
        if text.starts_with('/') {
            return Ok(Self { tls: false, host: "localhost", target: text.to_owned() });
        }
        let scheme = |name: &str| text.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name));
        let (tls, rest) = match (scheme("http://"), scheme("https://")) {
            (true, _) => (false, text.get(7..)),
            (_, true) => (true, text.get(8..)),
            _ => return Err("URL must be a path that begins with /, or http://HOST/PATH".to_owned()),
        };
        let rest = rest.unwrap_or_default();
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (host, target) = rest.split_at(end);
        if host.is_empty() {
            return Err("URL has no host".to_owned());
        }
        if host.contains('@') {
            return Err("URL holds a user name or password: give them as -H 'Authorization: Basic ...'".to_owned());
        }
        let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
        Ok(Self { tls, host, target })
    }
}

fn header(line: &str) -> Result<(HeaderName, HeaderValue), String> {
    let wrong = || "-H must be 'NAME: VALUE'".to_owned();
    let (name, value) = line.split_once(':').ok_or_else(wrong)?;
    let name = HeaderName::from_bytes(name.trim().as_bytes()).map_err(|_| wrong())?;
    let value = HeaderValue::try_from(value.trim())
        .map_err(|_| format!("-H {name}: the value has a character that no header can hold"))?;
    Ok((name, value))
}
