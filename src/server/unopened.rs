//! Why a connection came to nothing before its first request, in a word for the metric and in plain
//! English for the log.

use std::borrow::Cow;
use std::io;

use rustls::{AlertDescription, CertificateError, Error};

/// The kinds of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Reason {
    /// On a listener with `proxy_protocol`, from somebody else than a trusted proxy.
    ProxyUntrusted,
    /// On such a listener, without a head of the PROXY protocol.
    ProxyMissing,
    /// A head of the PROXY protocol on a listener that has none, or a second one.
    ProxyUnexpected,
    /// No client certificate where there must be one.
    CertificateMissing,
    /// A client certificate that does not hold.
    CertificateRefused,
    /// The client does not take ours.
    OwnCertificate,
    /// HTTP where TLS is spoken.
    PlainHttp,
    /// Any other handshake that failed.
    Handshake,
    /// What comes before a request did not come in time.
    Timeout,
}

impl Reason {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::ProxyUntrusted => "proxy_untrusted",
            Self::ProxyMissing => "proxy_missing",
            Self::ProxyUnexpected => "proxy_unexpected",
            Self::CertificateMissing => "certificate_missing",
            Self::CertificateRefused => "certificate_refused",
            Self::OwnCertificate => "own_certificate",
            Self::PlainHttp => "plain_http",
            Self::Handshake => "handshake",
            Self::Timeout => "timeout",
        }
    }

    /// With these words for it.
    pub(super) fn of(self, error: impl Into<Cow<'static, str>>) -> Unopened {
        Unopened { reason: Some(self), error: error.into() }
    }
}

/// A connection that came to nothing.
#[derive(Debug)]
pub(super) struct Unopened {
    /// `None` where nobody asked for anything: a load balancer looks whether the port is open.
    pub(super) reason: Option<Reason>,
    pub(super) error: Cow<'static, str>,
}

impl Unopened {
    /// It was closed before its client had said anything.
    pub(super) fn silent() -> Self {
        Self { reason: None, error: "closed without a word".into() }
    }

    /// A handshake that failed.
    pub(super) fn handshake(error: &io::Error) -> Self {
        match error.get_ref().and_then(|cause| cause.downcast_ref::<Error>()) {
            Some(error) => of_tls(error),
            None => Reason::Handshake.of("the client went away in the middle of the TLS handshake"),
        }
    }
}

fn of_tls(error: &Error) -> Unopened {
    match error {
        Error::NoCertificatesPresented => Reason::CertificateMissing.of("the client showed no certificate"),
        Error::InvalidCertificate(error) => Reason::CertificateRefused.of(of_certificate(error)),
        Error::AlertReceived(
            alert @ (AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA),
        ) => Reason::OwnCertificate.of(format!("the client does not take this listener's certificate ({alert:?})")),
        Error::AlertReceived(alert) => {
            Reason::Handshake.of(format!("the client ended the TLS handshake with an alert ({alert:?})"))
        }
        Error::PeerIncompatible(_) | Error::NoApplicationProtocol => {
            Reason::Handshake.of("the client has no TLS version, cipher, key exchange or protocol in common with us")
        }
        Error::InvalidMessage(_)
        | Error::InappropriateMessage { .. }
        | Error::InappropriateHandshakeMessage { .. }
        | Error::PeerMisbehaved(_)
        | Error::PeerSentOversizedRecord
        | Error::DecryptError => Reason::Handshake.of("what the client sent is no sound TLS"),
        _ => Reason::Handshake.of("the TLS handshake failed"),
    }
}

fn of_certificate(error: &CertificateError) -> &'static str {
    use CertificateError as Flaw;

    match error {
        Flaw::Expired | Flaw::ExpiredContext { .. } => "the client's certificate has expired",
        Flaw::NotValidYet | Flaw::NotValidYetContext { .. } => "the client's certificate is not valid yet",
        Flaw::UnknownIssuer => "the client's certificate is of no authority in `client_ca`",
        Flaw::BadSignature => {
            "a signature does not fit: the client's own, or that of an authority in `client_ca` on its certificate"
        }
        Flaw::InvalidPurpose | Flaw::InvalidPurposeContext { .. } => {
            "the client's certificate is not meant for clients (extended key usage)"
        }
        Flaw::UnsupportedSignatureAlgorithmContext { .. }
        | Flaw::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "the client's certificate is signed in a way that is not supported"
        }
        // The verifier's own errors: their text is the name that they have in code.
        Flaw::Other(error) if error.to_string().contains("UnsupportedCertVersion") => {
            "the client's certificate is of version 1, and must be of version 3"
        }
        Flaw::Other(error) if error.to_string().contains("CaUsedAsEndEntity") => {
            "the client's certificate is that of an authority (CA:TRUE), and none for clients"
        }
        _ => "the client's certificate cannot be read, or breaks a rule for certificates",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn why_a_handshake_failed_is_told_in_plain_english() {
        #[derive(Debug, thiserror::Error)]
        #[error("UnsupportedCertVersion")]
        struct Version;
        let version = CertificateError::Other(rustls::OtherError(Arc::new(Version)));
        for (error, reason, words) in [
            (Error::NoCertificatesPresented, "certificate_missing", "no certificate"),
            (version.into(), "certificate_refused", "of version 1"),
            (CertificateError::UnknownIssuer.into(), "certificate_refused", "no authority in `client_ca`"),
            (CertificateError::BadSignature.into(), "certificate_refused", "a signature does not fit"),
            (CertificateError::Expired.into(), "certificate_refused", "has expired"),
            (Error::AlertReceived(AlertDescription::UnknownCA), "own_certificate", "this listener's certificate"),
            (Error::AlertReceived(AlertDescription::UserCanceled), "handshake", "an alert"),
            (Error::General("Debug(Text)".to_owned()), "handshake", "the TLS handshake failed"),
        ] {
            let told = Unopened::handshake(&io::Error::new(io::ErrorKind::InvalidData, error));
            assert_eq!(told.reason.map(Reason::as_str), Some(reason));
            assert!(told.error.contains(words) && !told.error.contains("Other("), "{}", told.error);
        }
        let gone = Unopened::handshake(&io::ErrorKind::UnexpectedEof.into());
        assert_eq!(gone.reason, Some(Reason::Handshake));
    }
}
