//! Client certificates: whose lets in.

use super::denied::Denied;
use crate::model::{CertificateRule, ClientCertificate};

/// The name by which a certificate lets in, where it has one. What is shown was verified in the handshake.
pub(super) fn name_of<'v>(
    rule: &CertificateRule,
    shown: Option<&'v ClientCertificate>,
) -> Result<Option<&'v str>, Denied> {
    let shown = shown.ok_or(Denied::Certificate)?;
    match rule {
        CertificateRule::Any => Ok(Some(shown.name()).filter(|name| !name.is_empty())),
        CertificateRule::Names(rules) => {
            let name = shown.names.iter().find(|name| rules.iter().any(|rule| rule.matches(name)));
            name.map(|name| Some(name.as_str())).ok_or(Denied::Certificate)
        }
    }
}
