//! What is needed to speak TLS, read from files and known to fit, but not yet a rustls config.

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::fmt;
use std::sync::Arc;
use zeroize::Zeroize;

/// What is spoken to an upstream.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Protocol {
    /// ALPN on https, HTTP/1.1 on http.
    #[default]
    Auto,
    /// HTTP/1.1 always.
    Http1,
    /// HTTP/2 over TLS; an upstream that does not offer it is an error.
    H2,
    /// HTTP/2 with prior knowledge, without TLS.
    H2c,
}

/// A certificate chain and its key; `check` has seen that they fit.
#[derive(Clone)]
pub struct ServerIdentity {
    /// The chain, leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// The leaf's key, wiped when nobody needs it any more.
    pub key: Arc<PrivateKeyDer<'static>>,
}

/// What a listener shows its clients, and asks of them.
#[derive(Clone, PartialEq, Debug)]
pub struct ServerTls {
    /// Shown where no other one has the name that is asked for.
    pub first: ServerIdentity,
    /// Further ones, by the names in them.
    pub further: Vec<ServerIdentity>,
    /// Who vouches for clients; `None` where none is asked for a certificate.
    pub clients: Option<ClientAuthority>,
    /// Whether clients get tickets, by which they resume their sessions.
    pub session_tickets: bool,
}

/// Who vouches for clients.
#[derive(Clone, PartialEq, Debug)]
pub struct ClientAuthority {
    /// Roots to trust.
    pub roots: Arc<Vec<CertificateDer<'static>>>,
    /// Whether a client without a certificate is turned away.
    pub is_required: bool,
}

/// A client certificate shown to an upstream.
pub type ClientIdentity = ServerIdentity;

impl Drop for ServerIdentity {
    fn drop(&mut self) {
        // Of the last that holds it.
        if let Some(key) = Arc::get_mut(&mut self.key) {
            key.zeroize();
        }
    }
}

impl PartialEq for ServerIdentity {
    fn eq(&self, other: &Self) -> bool {
        self.chain == other.chain && self.key.secret_der() == other.key.secret_der()
    }
}

impl fmt::Debug for ServerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "certificate chain of {}, key ***", self.chain.len())
    }
}

/// How an upstream's or a token endpoint's TLS is judged.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct UpstreamTls {
    /// Roots to trust instead of the system's.
    pub ca: Option<Arc<Vec<CertificateDer<'static>>>>,
    /// A certificate to show.
    pub client: Option<ClientIdentity>,
    /// The name to ask for and to verify, instead of the URL's host.
    pub server_name: Option<String>,
    /// Verify nothing. Loud.
    pub insecure: bool,
}
