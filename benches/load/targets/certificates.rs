//! A certificate on P-256 for 127.0.0.1, made anew for each run: for the proxies and the upstream.

use super::write;
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use std::path::{Path, PathBuf};

pub(crate) struct Certificates {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    /// Both in one file, as `HAProxy` wants them.
    pub(crate) both: PathBuf,
}

impl Certificates {
    pub(crate) fn make(folder: &Path) -> Result<Self, String> {
        let told = |e: rcgen::Error| format!("no certificate: {e}");
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(told)?;
        let names = ["127.0.0.1".to_owned(), "localhost".to_owned()];
        let certificate = CertificateParams::new(names).and_then(|params| params.self_signed(&key)).map_err(told)?;
        let (certificate, key) = (certificate.pem(), key.serialize_pem());
        let file = |name: &str, text: &str| {
            let file = folder.join(name);
            write(&file, text).map(|()| file)
        };
        Ok(Self {
            certificate: file("certificate.pem", &certificate)?,
            key: file("key.pem", &key)?,
            both: file("both.pem", &format!("{certificate}{key}"))?,
        })
    }
}
