//! Certificates that come near their end: told of at every start and reload with the configuration's
//! other warnings, and here once a day, since nobody may touch a configuration for months. One that has
//! expired takes no place of one that has not.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::live::{Directory, Live};
use crate::model::Dated;

/// Between two looks.
const EACH: Duration = Duration::from_secs(24 * 3600);

/// Looks once a day, until dropped.
pub(super) async fn watch_certificates(live: Arc<Live>) {
    loop {
        tokio::time::sleep(EACH).await;
        let snapshot = live.load_full();
        for complaint in complaints(&snapshot.directory, SystemTime::now()) {
            let Complaint { field, name, what } = complaint;
            tracing::warn!(field, name, mend = "renew it; the file is read again when it changes", "{what}");
        }
    }
}

/// What is told of a certificate.
#[derive(PartialEq, Eq, Debug)]
struct Complaint<'d> {
    field: &'d str,
    name: &'d str,
    what: String,
}

fn complaints(directory: &Directory, now: SystemTime) -> Vec<Complaint<'_>> {
    let told = directory.certificates.iter().filter_map(|dated| {
        let what = format!("a certificate {}", dated.validity.complaint(now)?);
        Some(Complaint { field: &dated.field, name: &dated.name, what })
    });
    told.collect()
}

/// What has expired, and would take the place of what has not. Roots are trusted whatever they say of
/// their end.
pub(super) fn worse<'n>(before: &[Dated], next: &'n [Dated], now: SystemTime) -> Vec<&'n Dated> {
    let has_expired = |dated: &Dated| dated.validity.left(now) < 0;
    let takes_a_place = |dated: &Dated| {
        let is_new = !before.iter().any(|other| (&other.name, other.validity) == (&dated.name, dated.validity));
        is_new && before.iter().any(|other| other.field == dated.field && !has_expired(other))
    };
    let worse = next.iter().filter(|dated| has_expired(dated) && takes_a_place(dated));
    worse.filter(|dated| !dated.field.ends_with(".client_ca")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Validity, seconds};

    #[test]
    fn what_ends_within_two_weeks_is_told_again_every_day() {
        let now = SystemTime::now();
        let dated = |name: &str, days: i64| Dated {
            field: "listeners[0].tls.cert".to_owned(),
            name: name.to_owned(),
            validity: Validity { from: 0, until: seconds(now) + days * 24 * 3600 },
        };
        let certificates = vec![dated("late.example", 3), dated("good.example", 30), dated("over.example", -1)];
        let directory = Directory { certificates, ..Directory::default() };
        let told = complaints(&directory, now);
        let told: Vec<_> = told.iter().map(|told| (told.name, told.what.as_str())).collect();
        assert_eq!(
            told,
            [
                ("late.example", "a certificate expires in less than 4 days"),
                ("over.example", "a certificate has expired")
            ]
        );
    }

    #[test]
    fn what_has_expired_is_worse_than_what_has_not_and_no_worse_than_itself() {
        let now = SystemTime::now();
        let dated = |field: &str, name: &str, days: i64| Dated {
            field: field.to_owned(),
            name: name.to_owned(),
            validity: Validity { from: 0, until: seconds(now) + days * 24 * 3600 },
        };
        let before = [dated("cert", "good", 3), dated("other", "old", -3), dated("a.client_ca", "root", 3)];
        for (field, name, days, is_worse) in [
            ("cert", "good", -1, true),
            ("cert", "good", 90, false),
            ("cert", "another", -1, true),
            // In a list the places move.
            ("cert", "old", -3, false),
            ("other", "old", -1, false),
            ("new", "good", -1, false),
            ("a.client_ca", "root", -1, false),
        ] {
            let next = [dated(field, name, days)];
            assert_eq!(!worse(&before, &next, now).is_empty(), is_worse, "{field} {name} {days}");
        }
    }
}
