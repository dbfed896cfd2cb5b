//! What there is to read in a certificate (RFC 5280). Whether it is to be believed, others judge.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// When a certificate holds, in seconds since 1970 (RFC 5280 section 4.1.2.5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Validity {
    /// `notBefore`.
    pub from: i64,
    /// `notAfter`.
    pub until: i64,
}

impl Validity {
    /// How long before its end a certificate is asked to be renewed: those who issue them for 90 days
    /// renew at 30, so that at 14 somebody has to look.
    pub const EARLY: Duration = Duration::from_secs(14 * 24 * 3600);

    /// Seconds that are left of its life; below zero where it has expired.
    pub fn left(self, now: SystemTime) -> i64 {
        self.until.saturating_sub(seconds(now))
    }

    /// How its end is told where it is near, or over.
    pub fn complaint(self, now: SystemTime) -> Option<String> {
        let left = self.left(now);
        let early = Self::EARLY.as_secs().cast_signed();
        match left {
            ..0 => Some("has expired".to_owned()),
            0..86_400 => Some("expires in less than a day".to_owned()),
            _ if left < early => Some(format!("expires in less than {} days", left / 86_400 + 1)),
            _ => None,
        }
    }
}

/// A certificate that somebody has to renew in time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dated {
    /// Which field of the configuration names its file, such as `listeners[0].tls.cert`.
    pub field: String,
    /// Whose it is: its first alternative name, else its common name.
    pub name: String,
    /// When it holds.
    pub validity: Validity,
}

/// Seconds since 1970.
pub fn seconds(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |time| i64::try_from(time.as_secs()).unwrap_or(i64::MAX))
}

/// A certificate that the listener's `client_ca` vouches for, or one of our own: who it is for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ClientCertificate {
    /// Its subject alternative names (RFC 5280 section 4.2.1.6): DNS names in lower case, addresses,
    /// URIs and mail addresses as text.
    pub names: Vec<String>,
    /// Its subject's common name; only told, since access rules go by alternative names where there are any.
    pub common_name: Option<String>,
}

impl ClientCertificate {
    /// What a certificate says of its holder: nothing, where it cannot be read.
    pub fn of(der: &[u8]) -> Self {
        let Some(certificate) = read(der) else { return Self::default() };
        let common_name = certificate.subject().iter_common_name().find_map(|name| name.as_str().ok());
        let names = alternatives(&certificate).filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            GeneralName::IPAddress(bytes) => address(bytes).map(|address| address.to_string()),
            GeneralName::URI(text) | GeneralName::RFC822Name(text) => Some((*text).to_owned()),
            _ => None,
        });
        Self { names: names.collect(), common_name: common_name.map(str::to_owned) }
    }

    /// The first of its names; empty where it has none.
    pub fn name(&self) -> &str {
        self.names.first().or(self.common_name.as_ref()).map_or("", String::as_str)
    }
}

/// When a certificate holds; `None` for what is none.
pub fn validity(der: &[u8]) -> Option<Validity> {
    let certificate = read(der)?;
    let validity = certificate.validity();
    Some(Validity { from: validity.not_before.timestamp(), until: validity.not_after.timestamp() })
}

/// Whether others may be of this certificate's issuing: it is an authority's (RFC 5280 section 4.2.1.9), or
/// of a version that could not say so.
pub fn vouches(der: &[u8]) -> bool {
    let Some(certificate) = read(der) else { return false };
    let is_authority = certificate.basic_constraints().ok().flatten().is_some_and(|basic| basic.value.ca);
    is_authority || certificate.version().0 < 2
}

/// The hosts that a server's certificate is for, in lower case; `*.example.com` among them.
pub fn hosts(der: &[u8]) -> Vec<String> {
    let Some(certificate) = read(der) else { return Vec::new() };
    let hosts = alternatives(&certificate).filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    });
    hosts.collect()
}

fn read(der: &[u8]) -> Option<X509Certificate<'_>> {
    X509Certificate::from_der(der).ok().map(|(_, certificate)| certificate)
}

fn alternatives<'c>(certificate: &'c X509Certificate<'_>) -> impl Iterator<Item = &'c GeneralName<'c>> {
    let extension = certificate.subject_alternative_name().ok().flatten();
    extension.into_iter().flat_map(|extension| extension.value.general_names.iter())
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(v4).into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(|v6| Ipv6Addr::from(v6).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DnType, KeyPair, SanType, date_time_ymd};

    fn certificate(change: impl FnOnce(&mut CertificateParams)) -> rcgen::Certificate {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        change(&mut params);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap()
    }

    #[test]
    fn the_validity_of_a_real_certificate_is_found() {
        let made = certificate(|params| {
            params.not_before = date_time_ymd(2020, 1, 2);
            params.not_after = date_time_ymd(2021, 3, 4);
        });
        let found = validity(made.der()).unwrap();
        assert_eq!(found, Validity { from: 1_577_923_200, until: 1_614_816_000 });
        // Beyond 2049 the time has another form (RFC 5280 section 4.1.2.5.2).
        let late = certificate(|params| params.not_after = date_time_ymd(2100, 1, 1));
        assert_eq!(validity(late.der()).unwrap().until, 4_102_444_800);
    }

    #[test]
    fn what_is_no_certificate_has_no_validity_and_no_name() {
        let whole = certificate(|_| {}).der().to_vec();
        for junk in [&b"no certificate"[..], &[0x30, 0x89, 1, 1, 1, 1, 1, 1, 1, 1, 1], &[], &whole[..whole.len() / 2]] {
            assert_eq!(validity(junk), None);
            assert_eq!(ClientCertificate::of(junk), ClientCertificate::default());
            assert!(hosts(junk).is_empty());
        }
    }

    #[test]
    fn every_kind_of_name_is_read_in_its_order() {
        let made = certificate(|params| {
            params.distinguished_name.remove(DnType::CommonName);
            params.distinguished_name.push(DnType::CommonName, "billing service");
            params.subject_alt_names = vec![
                SanType::DnsName("Billing.Internal".try_into().unwrap()),
                SanType::DnsName("*.internal".try_into().unwrap()),
                SanType::IpAddress("192.0.2.7".parse().unwrap()),
                SanType::IpAddress("2001:db8::7".parse().unwrap()),
                SanType::URI("spiffe://acme/Billing".try_into().unwrap()),
                SanType::Rfc822Name("ops@acme.example".try_into().unwrap()),
            ];
        });
        let found = ClientCertificate::of(made.der());
        let names =
            ["billing.internal", "*.internal", "192.0.2.7", "2001:db8::7", "spiffe://acme/Billing", "ops@acme.example"];
        assert_eq!(found.names, names);
        assert_eq!((found.common_name.as_deref(), found.name()), (Some("billing service"), "billing.internal"));
        assert_eq!(hosts(made.der()), ["billing.internal", "*.internal"]);
    }

    #[test]
    fn two_weeks_before_its_end_somebody_is_asked_to_renew_it() {
        let now = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let ends_in = |left: i64| Validity { from: 0, until: 1_000_000_000 + left };
        let day = 24 * 3600;
        for (left, told) in [
            (-1, Some("has expired")),
            (3600, Some("expires in less than a day")),
            (day, Some("expires in less than 2 days")),
            (14 * day - 1, Some("expires in less than 14 days")),
            (14 * day, None),
            (i64::MAX - 1_000_000_000, None),
        ] {
            assert_eq!(ends_in(left).complaint(now).as_deref(), told, "{left}");
        }
    }
}
