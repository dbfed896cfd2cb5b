//! Certificates, keys and CA bundles: read, known to fit, and not past their time.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use zeroize::Zeroizing;

use crate::config::check::Check;
use crate::config::file::{Form, Of};
use crate::config::files::{Content, Unread};
use crate::config::spot::Spot;
use crate::config::tree::Node;
use crate::model::ServerIdentity;

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

    fn chain(&mut self, path: &str, spot: &Spot<'_>) -> Option<Vec<CertificateDer<'static>>> {
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
        let Ok(private) = PrivateKeyDer::from_pem_slice(&content).map(Zeroizing::new) else {
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
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs().cast_signed());
        match validity(certificate) {
            Some((_, end)) if end < now => {
                self.report.warning(
                    spot,
                    "the certificate has expired",
                    "renew it; the file is read again when it changes",
                );
            }
            Some((start, _)) if start > now => {
                self.report.warning(spot, "the certificate is not valid yet", "check this machine's clock, or wait");
            }
            _ => {}
        }
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

/// `notBefore` and `notAfter` (RFC 5280 section 4.1), in seconds since 1970. `None` for what does
/// not look like a certificate; whether it is one, others judge.
fn validity(certificate: &[u8]) -> Option<(i64, i64)> {
    let (_, certificate, _) = element(certificate)?;
    let (_, mut body, _) = element(certificate)?;
    // Behind an optional version [0]: serial number, signature algorithm, issuer.
    let mut skip = if *body.first()? == 0xa0 { 4 } else { 3 };
    while skip > 0 {
        body = element(body)?.2;
        skip -= 1;
    }
    let (_, times, _) = element(body)?;
    let (first_tag, first, rest) = element(times)?;
    let (second_tag, second, _) = element(rest)?;
    Some((time(first_tag, first)?, time(second_tag, second)?))
}

/// Tag, content and what follows of a DER element.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&length, rest) = rest.split_first()?;
    let (length, rest) = if length < 0x80 {
        (usize::from(length), rest)
    } else {
        let (digits, rest) = rest.split_at_checked(usize::from(length & 0x7f).min(9))?;
        (digits.iter().try_fold(0usize, |sum, digit| sum.checked_mul(256)?.checked_add(usize::from(*digit)))?, rest)
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// `YYMMDDHHMMSSZ` (tag 23) or `YYYYMMDDHHMMSSZ` (tag 24), RFC 5280 section 4.1.2.5.
fn time(tag: u8, text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let (year, rest) = match tag {
        23 => {
            let year: i64 = text.get(..2)?.parse().ok()?;
            (if year >= 50 { 1900 + year } else { 2000 + year }, text.get(2..)?)
        }
        24 => (text.get(..4)?.parse().ok()?, text.get(4..)?),
        _ => return None,
    };
    let part = |at: usize| rest.get(at..at + 2)?.parse::<i64>().ok();
    let (month, day) = (part(0)?, part(2)?);
    // Days from civil (H. Hinnant): the year begins in March, so that the leap day is its last.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let era = y.div_euclid(400);
    let of_era = y - era * 400;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + (153 * m + 2) / 5 + day - 1 - 719_468;
    Some(((days * 24 + part(4)?) * 60 + part(6)?) * 60 + part(8)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_certificates_are_read() {
        assert_eq!(time(23, b"700101000000Z"), Some(0));
        assert_eq!(time(24, b"20240229123456Z"), Some(1_709_210_096));
        assert_eq!(time(23, b"491231235959Z"), Some(2_524_607_999));
        assert_eq!(time(23, b"x"), None);
        assert_eq!(validity(b"no certificate"), None);
        assert_eq!(validity(&[0x30, 0x89, 1, 1, 1, 1, 1, 1, 1, 1, 1]), None);
    }

    #[test]
    fn the_validity_of_a_real_certificate_is_found() {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2020, 1, 2);
        params.not_after = rcgen::date_time_ymd(2021, 3, 4);
        let certificate = params.self_signed(&key).unwrap();
        assert_eq!(validity(certificate.der()), Some((1_577_923_200, 1_614_816_000)));
    }
}
