//! TLS towards upstreams: roots, client certificates, ALPN.

use std::sync::Arc;

use super::{Target, TlsSetupError};

/// The system's root certificates, read once a configuration.
#[derive(Debug)]
pub struct Roots {}

impl Roots {
    /// Reads them (`SSL_CERT_FILE` and `SSL_CERT_DIR` are honoured).
    pub fn system() -> Self {
        todo!()
    }
}

pub(super) fn client_config(
    target: &Target,
    roots: &Roots,
) -> Result<Option<Arc<rustls::ClientConfig>>, TlsSetupError> {
    let _ = (target, roots);
    todo!()
}
