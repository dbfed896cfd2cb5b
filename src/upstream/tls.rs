//! TLS towards upstreams: roots, client certificates, the judging of certificates, ALPN.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::client::{ClientSessionMemoryCache, Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::{Target, TlsSetupError};
use crate::model::{Protocol, Scheme};

/// RFC 7301 protocol ids.
const ALPN_H2: &[u8] = b"h2";
const ALPN_HTTP1: &[u8] = b"http/1.1";

/// Sessions remembered a target, for resumption.
const SESSIONS: usize = 64;

/// Makes aws-lc-rs the process's provider, for dependencies that ask for the default one; this
/// crate names it wherever it speaks TLS itself. A second call does nothing.
pub fn install_default() {
    // An error says only that a provider is already there.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// The system's root certificates, read once a configuration.
#[derive(Debug, Clone)]
pub struct Roots {
    store: Arc<RootCertStore>,
    problems: Arc<Vec<String>>,
}

impl Roots {
    /// Reads them (`SSL_CERT_FILE` and `SSL_CERT_DIR` are honoured). What could not be read is
    /// kept for [`Roots::problems`]; an empty set is an error only where a target needs it.
    pub fn system() -> Self {
        let found = rustls_native_certs::load_native_certs();
        let mut problems: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
        let mut store = RootCertStore::empty();
        let (_, unread) = store.add_parsable_certificates(found.certs);
        if unread > 0 {
            problems.push(format!("{unread} root certificates of the system cannot be read"));
        }
        Self { store: Arc::new(store), problems: Arc::new(problems) }
    }

    /// No roots at all: only targets with a `ca` of their own can be reached over TLS.
    pub fn none() -> Self {
        Self { store: Arc::new(RootCertStore::empty()), problems: Arc::default() }
    }

    /// What could not be read, for a warning at start.
    pub fn problems(&self) -> &[String] {
        &self.problems
    }

    /// How many roots there are.
    pub fn len(&self) -> usize {
        self.store.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.store.is_empty()
    }
}

/// What a handshake with one target needs.
#[derive(Clone)]
pub(super) struct ClientTls {
    /// Offers what the target's protocol says.
    pub(super) any: Arc<ClientConfig>,
    /// Offers HTTP/1.1 only: upgrades, which HTTP/2 has no place for, and token calls.
    pub(super) http1: Arc<ClientConfig>,
    /// What is asked for by SNI and looked for in the certificate.
    pub(super) name: ServerName<'static>,
}

/// `None` for a target without TLS.
pub(super) fn client_tls(target: &Target, roots: &Roots) -> Result<Option<ClientTls>, TlsSetupError> {
    if target.origin.scheme() == Scheme::Http {
        return Ok(None);
    }
    let host = match &target.tls.server_name {
        Some(name) => name.as_str(),
        None => target.origin.host().trim_start_matches('[').trim_end_matches(']'),
    };
    let name = ServerName::try_from(host.to_owned()).map_err(|_| TlsSetupError::ServerName)?;

    let provider = provider();
    let verifier: Arc<dyn ServerCertVerifier> = if target.tls.insecure {
        Arc::new(AcceptAny { algorithms: provider.signature_verification_algorithms })
    } else if let Some(ca) = &target.tls.ca {
        let mut store = RootCertStore::empty();
        for certificate in ca.iter() {
            store.add(certificate.clone())?;
        }
        Arc::new(OwnCa { webpki: webpki(store.into(), &provider)?, ca: Arc::clone(ca) })
    } else {
        webpki(Arc::clone(&roots.store), &provider)?
    };

    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut any = match &target.tls.client {
        Some(identity) => builder.with_client_auth_cert(identity.chain.clone(), identity.key.clone_key())?,
        None => builder.with_no_client_auth(),
    };
    // Worker threads share the sessions, so one full handshake serves all of them.
    any.resumption = Resumption::store(Arc::new(ClientSessionMemoryCache::new(SESSIONS)));
    any.alpn_protocols = match target.protocol {
        Protocol::Auto => vec![ALPN_H2.to_vec(), ALPN_HTTP1.to_vec()],
        Protocol::Http1 => vec![ALPN_HTTP1.to_vec()],
        Protocol::H2 | Protocol::H2c => vec![ALPN_H2.to_vec()],
    };
    let mut http1 = any.clone();
    http1.alpn_protocols = vec![ALPN_HTTP1.to_vec()];
    Ok(Some(ClientTls { any: Arc::new(any), http1: Arc::new(http1), name }))
}

fn webpki(
    roots: Arc<RootCertStore>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, TlsSetupError> {
    // The only fault a builder without revocation lists has is an empty store.
    WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(provider)).build().map_err(|_| TlsSetupError::NoRoots)
}

/// `ca`: like the web's rules, but for one thing. `openssl req -x509` makes a self-signed
/// certificate that is marked as an authority, people name that very file as `ca`, and OpenSSL's
/// clients (curl, nginx) take it; webpki does not take an authority as a server's own certificate.
/// Here it may be, if it is byte for byte one of those named; name and validity are still checked.
#[derive(Debug)]
struct OwnCa {
    webpki: Arc<WebPkiServerVerifier>,
    ca: Arc<Vec<CertificateDer<'static>>>,
}

impl ServerCertVerifier for OwnCa {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verdict = self.webpki.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verdict {
            // webpki looks at the validity before it looks at the mark, and has an error of its
            // own for an expired certificate; what is left over here is `CaUsedAsEndEntity`.
            Err(rustls::Error::InvalidCertificate(CertificateError::Other(_))) if self.ca.contains(end_entity) => {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.webpki.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.webpki.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}

/// `insecure: true`. Any certificate will do, but the peer must hold its key where the
/// certificate can be read at all.
#[derive(Debug)]
struct AcceptAny {
    algorithms: WebPkiSupportedAlgorithms,
}

impl AcceptAny {
    fn lenient(
        verdict: Result<HandshakeSignatureValid, rustls::Error>,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        match verdict {
            Err(rustls::Error::InvalidCertificate(fault)) if fault != CertificateError::BadSignature => {
                // A certificate that webpki cannot read: version 1, an unknown critical extension.
                Ok(HandshakeSignatureValid::assertion())
            }
            verdict => verdict,
        }
    }
}

impl ServerCertVerifier for AcceptAny {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Self::lenient(verify_tls12_signature(message, cert, dss, &self.algorithms))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Self::lenient(verify_tls13_signature(message, cert, dss, &self.algorithms))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests;
