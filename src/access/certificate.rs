//! Client certificates: whose lets in.

use crate::model::{CertificateRule, ClientCertificate};

/// The name by which a certificate lets in. What is shown was verified in the handshake.
pub(super) fn name_of<'v>(rule: &CertificateRule, shown: Option<&'v ClientCertificate>) -> Option<Option<&'v str>> {
    let shown = shown?;
    match rule {
        CertificateRule::Any => Some(shown.names.first().or(shown.common_name.as_ref()).map(String::as_str)),
        CertificateRule::Names(rules) => {
            let name = shown.names.iter().find(|name| rules.iter().any(|rule| rule.matches(name)))?;
            Some(Some(name))
        }
    }
}
