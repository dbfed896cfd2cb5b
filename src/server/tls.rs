//! TLS towards clients.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, NoClientAuth, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};

use crate::model::{ClientAuthority, ServerIdentity, ServerTls, hosts};

/// TLS 1.2 and 1.3 with aws-lc-rs, whose first key exchange is the post-quantum hybrid
/// X25519MLKEM768; HTTP/2 and HTTP/1.1 by ALPN. Where the operator lets them, sessions are resumed by
/// ticket, so also across the workers. Tickets of one configuration are not taken by the next: a changed
/// certificate or client authority is not survived by a session.
///
/// Fails where the key does not fit the certificate or is of a kind that is not supported, and where
/// the client authority is none.
pub fn server_config(tls: &ServerTls) -> Result<Arc<ServerConfig>, rustls::Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let certificates = ByName::new(tls, &provider)?;
    let clients = match &tls.clients {
        None => Arc::new(NoClientAuth),
        Some(authority) => client_verifier(authority, &provider)?,
    };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(clients)
        .with_cert_resolver(Arc::new(certificates));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    if tls.session_tickets {
        config.ticketer = aws_lc_rs::Ticketer::new()?;
        // One instead of two: every ticket costs a seal and a write in the handshake, and a ticket
        // that is kept by us for nothing may be used more than once.
        config.send_tls13_tickets = 1;
    } else {
        // Nor is a session kept here for a client to name.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Ok(Arc::new(config))
}

fn client_verifier(
    authority: &ClientAuthority,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, rustls::Error> {
    let mut roots = RootCertStore::empty();
    for root in authority.roots.iter() {
        roots.add(root.clone())?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let builder = if authority.is_required { builder } else { builder.allow_unauthenticated() };
    builder.build().map_err(|error| rustls::Error::General(error.to_string()))
}

/// The certificates of a listener, by the names in them.
#[derive(Debug)]
struct ByName {
    first: Arc<CertifiedKey>,
    exact: HashMap<String, Arc<CertifiedKey>>,
    /// Of `*.example.com`, by what is behind the first label.
    wildcard: HashMap<String, Arc<CertifiedKey>>,
}

impl ByName {
    fn new(tls: &ServerTls, provider: &CryptoProvider) -> Result<Self, rustls::Error> {
        let ready = |identity: &ServerIdentity| {
            CertifiedKey::from_der(identity.chain.clone(), identity.key.clone_key(), provider).map(Arc::new)
        };
        let first = ready(&tls.first)?;
        let mut found = Self { first: Arc::clone(&first), exact: HashMap::new(), wildcard: HashMap::new() };
        found.add(&tls.first, &first);
        for identity in &tls.further {
            found.add(identity, &ready(identity)?);
        }
        Ok(found)
    }

    /// Of several with one name the first is shown.
    fn add(&mut self, identity: &ServerIdentity, key: &Arc<CertifiedKey>) {
        for name in identity.chain.first().map(|leaf| hosts(leaf)).unwrap_or_default() {
            let (names, name) = match name.strip_prefix("*.") {
                Some(parent) => (&mut self.wildcard, parent.to_owned()),
                None => (&mut self.exact, name),
            };
            names.entry(name).or_insert_with(|| Arc::clone(key));
        }
    }

    /// A wildcard stands for one label (RFC 6125 section 6.4.3).
    fn find(&self, name: &str) -> Option<&Arc<CertifiedKey>> {
        let name = name.to_ascii_lowercase();
        let parent = || name.split_once('.').and_then(|(_, parent)| self.wildcard.get(parent));
        self.exact.get(&name).or_else(parent)
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let found = hello.server_name().and_then(|name| self.find(name));
        Some(Arc::clone(found.unwrap_or(&self.first)))
    }
}

#[cfg(test)]
mod tests;
