//! Row 31: clocks that jump and lifetimes that make no sense.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use http::Response;
use http_body_util::Full;
use tempfile::TempDir;
use tokenferry::demo::Crewmojo;

use crate::harness::client::{get, json};
use crate::harness::eventually;
use crate::harness::load::Load;
use crate::harness::process::Process;
use crate::harness::proxy::{Proxy, complete};
use crate::harness::upstream::Upstream;
use crate::harness::vendors::{config, crayon, crewmojo, crm, partner, route, simulate};

/// How a lifetime may be written, and which life it is, in seconds; `None` for the vendor's default.
const FORMS: [(&str, Option<u64>); 12] = [
    ("0", None),
    ("-1", None),
    ("-1e18", None),
    ("\"soon\"", None),
    ("null", None),
    ("[]", None),
    ("\"0x10\"", None),
    ("1e18", Some(86_400)),
    ("18446744073709551616", Some(86_400)),
    ("\"1e300\"", Some(86_400)),
    ("\" 1800 \"", Some(1800)),
    ("1800.5", Some(1800)),
];

/// The lives that hold where a vendor says nothing, in seconds.
const DEFAULTS: [(&str, u64); 5] =
    [("crewmojo", 30 * 60), ("crm", 2 * 60 * 60), ("crayon", 60 * 60), ("partner", 5 * 60), ("own", 5 * 60)];

/// Each vendor's answer with each of them, and with none.
#[tokio::test]
async fn whatever_a_vendor_says_a_token_lives_a_day_at_most_and_never_not_at_all() {
    let (mut credentials, mut routes, mut expected) = (Vec::new(), Vec::new(), Vec::new());
    let data = Upstream::start().await;
    let mut endpoints = Vec::new();
    for (number, (form, life)) in FORMS.iter().copied().chain([("", None)]).enumerate() {
        let login = Upstream::answering(move |seen| {
            let said = |name: &str| if form.is_empty() { String::new() } else { format!(",\"{name}\":{form}") };
            let body = match seen.path() {
                path if path.contains("crmapi") => {
                    format!(r#"{{"data":{{"token":"t0ken"{}}},"status":{{"code":"OK"}}}}"#, said("expires_in"))
                }
                path if path.contains("connect") => format!(r#"{{"AccessToken":"t0ken"{}}}"#, said("ExpiresIn")),
                _ => format!(r#"{{"access_token":"t0ken"{}}}"#, said("expires_in")),
            };
            Response::builder().header("content-type", "application/json").body(Full::from(body)).unwrap()
        })
        .await;
        let origin = login.url("");
        let origin = origin.trim_end_matches('/');
        let own = format!(
            "  own: {{provider: custom, request: {{url: \"{origin}/own\"}}, response: {{token: /access_token, expires_in: /expires_in}}}}\n"
        );
        let of_vendor =
            [crewmojo(origin, ", exclusive: false"), crm(origin, ""), crayon(origin, ""), partner(origin, ""), own];
        for ((name, default), credential) in DEFAULTS.iter().zip(of_vendor) {
            let unique = format!("{name}-{number}");
            credentials.push(credential.replacen(name, &unique, 1));
            routes.push(route(&unique, &data.url(""), &unique, ""));
            // The life of a CRM.COM token stands in the token alone.
            let life = if *name == "crm" { None } else { life };
            expected.push((unique, form, life.unwrap_or(*default)));
        }
        endpoints.push(login);
    }
    let yaml = config(&credentials, &routes);
    let proxy = Proxy::start(&format!("admin: {{address: '127.0.0.1:0'}}\n{yaml}")).await;
    for (name, form, _) in &expected {
        for _ in 0..2 {
            assert_eq!(get(proxy.address(), &format!("/{name}/a")).await.status(), 200, "{name}: {form}");
        }
    }
    let status = json(&get(proxy.admin(), "/api/v1/status").await);
    for (name, form, life) in &expected {
        let credential = status["credentials"].as_array().unwrap().iter().find(|c| c["name"] == name.as_str()).unwrap();
        let left = credential["expires_in_seconds"].as_f64().unwrap();
        let (longest, life) = (*life as f64 + 1.0, *life as f64);
        assert!(left <= longest && left > life - 60.0, "{name}: {form} is {left} s, not {life} s");
    }
    let logins: usize = endpoints.iter().map(|login| login.seen().len()).sum();
    assert_eq!(logins, expected.len(), "one login each");
}

#[tokio::test]
async fn a_life_shorter_than_the_margin_is_served_to_its_end() {
    let simulator = simulate(Crewmojo::default()).await;
    simulator.adjust(|options| options.lifetime = Some(Duration::from_secs(1)));
    let upstream = format!("{}/v1", simulator.origin());
    let credential = crewmojo(simulator.origin(), ", refresh_before: 10m");
    let proxy = Proxy::start(&config(&[credential], &[route("crewmojo", &upstream, "crewmojo", "")])).await;
    let load = Load::of_gets(proxy.address(), 4, Duration::from_millis(2), "/crewmojo/a");
    tokio::time::sleep(Duration::from_secs(3)).await;
    load.stop().await.assert_all_served(100);
    assert!((3..=5).contains(&simulator.token_requests()), "{} logins", simulator.token_requests());
}

/// The library that makes a process believe in another time of day. `make test` installs it.
fn faketime() -> String {
    let folders = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib"];
    let found = folders.iter().map(|folder| format!("{folder}/faketime/libfaketime.so.1"));
    found.into_iter().find(|file| Path::new(file).exists()).expect("libfaketime: apt-get install libfaketime")
}

/// The wall clock of the proxy is set an hour and a day back and forth while tokens live and change.
#[tokio::test]
async fn a_clock_that_is_set_back_and_forth_by_an_hour_and_a_day_is_not_noticed() {
    let simulator = simulate(Crewmojo::default()).await;
    simulator.adjust(|options| options.lifetime = Some(Duration::from_secs(2)));
    let upstream = format!("{}/v1", simulator.origin());
    let yaml = config(&[crewmojo(simulator.origin(), "")], &[route("crewmojo", &upstream, "crewmojo", "")]);
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("proxy.yaml"), complete(&yaml)).unwrap();
    let clock = folder.path().join("clock");
    std::fs::write(&clock, "+0").unwrap();
    let (library, file) = (faketime(), clock.to_str().unwrap().to_owned());
    let process = Process::start_in(
        folder,
        &[
            ("LD_PRELOAD", &library),
            ("FAKETIME_TIMESTAMP_FILE", &file),
            // Read at every look at the clock: the step is there at once.
            ("FAKETIME_NO_CACHE", "1"),
            // Only the time of day is set; what runs since boot runs on, as on a real machine.
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
            ("DONT_FAKE_MONOTONIC", "1"),
            ("TOKENFERRY_LOG", "info"),
        ],
    );
    let load = Load::of_gets(process.address, 4, Duration::from_millis(5), "/crewmojo/a");
    for step in ["+1h", "-1h", "+1d", "-1d", "+0"] {
        let before = simulator.tokens_issued();
        std::fs::write(&clock, step).unwrap();
        eventually("tokens change at their own pace", || simulator.tokens_issued() > before).await;
    }
    let logins = simulator.token_requests();
    load.stop().await.assert_all_served(100);
    assert!(logins <= 12, "{logins} logins: a step of the clock must cost none");
    assert_eq!(simulator.refused(), 0);
    // The log's own times show that the steps arrived.
    let hours: BTreeSet<String> =
        process.log().lines().filter_map(|line| line.get(11..13).map(str::to_owned)).collect();
    assert!(hours.len() >= 3, "the process saw no other time: {hours:?}");
}
