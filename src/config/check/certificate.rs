//! Certificates, keys and CA bundles: read, known to fit, and not past their time.

use std::sync::Arc;
use std::time::SystemTime;

use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use crate::config::check::Check;
use crate::config::file::{Form, Of};
use crate::config::files::{Content, Unread};
use crate::config::spot::Spot;
use crate::config::tree::Node;
use crate::model::{ClientCertificate, Dated, ServerIdentity, seconds, validity};

/// Roots to trust.
pub(super) type Authorities = Arc<Vec<CertificateDer<'static>>>;

impl Check<'_> {
    fn content(&mut self, path: &str, spot: &Spot<'_>) -> Option<Content> {
        match self.files.read(path).1 {
            Ok(content) => Some(content),
            Err(unread) => {
                let mend = match unread {
                    Unread::Missing => "create it, or mend the path; a relative one is relative to this file",
                    Unread::Denied => "let the proxy's user read it",
                    _ => "name a PEM file",
                };
                self.report.error(spot, format!("the file {unread}"), mend);
                None
            }
        }
    }

    pub(super) fn chain(&mut self, path: &str, spot: &Spot<'_>) -> Option<Vec<CertificateDer<'static>>> {
        let content = self.content(path, spot)?;
        match CertificateDer::pem_slice_iter(&content).collect::<Result<Vec<_>, _>>() {
            Ok(chain) if !chain.is_empty() => Some(chain),
            Ok(_) => {
                self.report.error(spot, "the file holds no certificate", "it must hold -----BEGIN CERTIFICATE-----");
                None
            }
            Err(_) => {
                self.report.error(spot, "the file is not sound PEM", "copy the certificate file again");
                None
            }
        }
    }

    /// A certificate chain and the key that fits it, each by its file's name and its place.
    pub(super) fn identity(&mut self, cert: (&str, &Spot<'_>), key: (&str, &Spot<'_>)) -> Option<ServerIdentity> {
        let chain = self.chain(cert.0, cert.1);
        let content = self.content(key.0, key.1)?;
        let path = self.files.path(key.0);
        self.files.judge_mode(&path, self.report, key.1);
        let Ok(private) = PrivateKeyDer::from_pem_slice(&content) else {
            let mend = "it must hold one -----BEGIN PRIVATE KEY-----, not encrypted";
            self.report.error(key.1, "the file holds no private key", mend);
            return None;
        };
        let chain = chain?;
        let provider = default_provider();
        if provider.key_provider.load_private_key(private.clone_key()).is_err() {
            let mend = "make an RSA key of 2048 bits or more, or an ECDSA P-256, P-384 or Ed25519 key";
            self.report.error(key.1, "the key is of no kind that can be used", mend);
            return None;
        }
        match CertifiedKey::from_der(chain.clone(), private.clone_key(), &provider) {
            Ok(_) => {}
            Err(rustls::Error::InconsistentKeys(_)) => {
                let mend = "name the key that the certificate was made with; the server's certificate comes first";
                self.report.error(key.1, "the key does not fit the certificate", mend);
                return None;
            }
            Err(_) => {
                self.report.error(cert.1, "the certificate cannot be read", "copy the certificate file again");
                return None;
            }
        }
        if let Some(leaf) = chain.first() {
            self.in_time(leaf, cert.1);
            self.dated(leaf, cert.1);
        }
        Some(ServerIdentity { chain, key: Arc::new(private) })
    }

    /// The certificate and key that are shown to a server, where both are named.
    pub(super) fn client_identity<F>(
        &mut self,
        node: &Node,
        spot: &Spot<'_>,
        cert: Option<&Of<F>>,
        key: Option<&Of<F>>,
    ) -> Option<ServerIdentity>
    where
        F: Form<Value = String>,
    {
        match (cert, key) {
            (Some(cert), Some(key)) => {
                self.identity((&cert.0, &spot.key("client_cert")), (&key.0, &spot.key("client_key")))
            }
            (Some(_), None) => {
                self.missing(spot, node, "client_key", "add the PEM file of the certificate's key");
                None
            }
            (None, Some(_)) => {
                self.missing(spot, node, "client_cert", "add the PEM file of the key's certificate");
                None
            }
            (None, None) => None,
        }
    }

    fn in_time(&mut self, certificate: &CertificateDer<'_>, spot: &Spot<'_>) {
        let now = SystemTime::now();
        let Some(validity) = validity(certificate) else { return };
        if let Some(complaint) = validity.complaint(now) {
            let complaint = format!("the certificate {complaint}");
            self.report.warning(spot, complaint, "renew it; the file is read again when it changes");
        } else if validity.from > seconds(now) {
            self.report.warning(spot, "the certificate is not valid yet", "check this machine's clock, or wait");
        }
    }

    /// Notes a certificate that somebody has to renew in time.
    pub(super) fn dated(&mut self, certificate: &CertificateDer<'_>, spot: &Spot<'_>) {
        let Some(validity) = validity(certificate) else { return };
        let name = ClientCertificate::of(certificate).name().to_owned();
        self.certificates.push(Dated { field: spot.path().to_string(), name, validity });
    }

    /// The roots in a CA file.
    pub(super) fn ca<F>(&mut self, path: Option<&Of<F>>, spot: &Spot<'_>) -> Option<Authorities>
    where
        F: Form<Value = String>,
    {
        let path = &path?.0;
        let key = std::path::PathBuf::from(path);
        if let Some(known) = self.authorities.get(&key) {
            return known.clone();
        }
        let read = self.read_ca(path, spot);
        self.authorities.insert(key, read.clone());
        read
    }

    fn read_ca(&mut self, path: &str, spot: &Spot<'_>) -> Option<Authorities> {
        let roots = self.chain(path, spot)?;
        let mut store = RootCertStore::empty();
        for root in &roots {
            if store.add(root.clone()).is_err() {
                let mend = "name a PEM file of CA certificates (X.509)";
                self.report.error(spot, "a certificate in the file cannot be a root", mend);
                return None;
            }
        }
        if let Some(root) = roots.first() {
            self.in_time(root, spot);
        }
        Some(Arc::new(roots))
    }
}
