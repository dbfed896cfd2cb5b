//! A secret's file is swapped under load, as the kubelet does it: no request fails, and the new
//! secret is in use within seconds. Five times in `make test`, a hundred in `make soak`.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http::Response;
use http_body_util::Full;
use tempfile::TempDir;

use crate::harness::client::{get, text};
use crate::harness::load::Load;
use crate::harness::process::Process;
use crate::harness::proxy::complete;
use crate::harness::soak::{figure, long_or};
use crate::harness::upstream::{Seen, Upstream};

/// By when a new secret is to be in use.
const SOON: Duration = Duration::from_secs(5);

/// A vendor's clients' secrets: which it takes for logins, and tokens that were got with which it takes.
#[derive(Clone, Default)]
struct Vendor {
    accepted: Arc<Mutex<BTreeSet<String>>>,
    /// Secrets that somebody tried in vain.
    refused: Arc<Mutex<Vec<String>>>,
}

impl Vendor {
    fn accept(&self, secrets: &[&str]) {
        *self.accepted.lock().unwrap() = secrets.iter().map(|&secret| secret.to_owned()).collect();
    }

    fn accepts(&self, secret: &str) -> bool {
        self.accepted.lock().unwrap().contains(secret)
    }

    async fn start(&self) -> Upstream {
        let vendor = self.clone();
        Upstream::answering(move |seen| if seen.path() == "/token" { vendor.login(&seen) } else { vendor.data(&seen) })
            .await
    }

    /// A token that says which secret it was got with.
    fn login(&self, seen: &Seen) -> Response<Full<bytes::Bytes>> {
        let form = String::from_utf8_lossy(&seen.body).into_owned();
        let secret = form.split('&').find_map(|pair| pair.strip_prefix("client_secret=")).unwrap_or_default();
        let answer = Response::builder().header("content-type", "application/json");
        if self.accepts(secret) {
            let token = format!(r#"{{"access_token": "{secret}", "token_type": "Bearer", "expires_in": 3600}}"#);
            return answer.body(Full::from(token)).unwrap();
        }
        self.refused.lock().unwrap().push(secret.to_owned());
        answer.status(401).body(Full::from(r#"{"error": "invalid_client"}"#)).unwrap()
    }

    fn data(&self, seen: &Seen) -> Response<Full<bytes::Bytes>> {
        let secret = seen.bearer().to_owned();
        let status = if self.accepts(&secret) { 200 } else { 401 };
        Response::builder().status(status).body(Full::from(secret)).unwrap()
    }
}

fn configuration(vendor: &Upstream, file: &str) -> String {
    complete(&format!(
        "credentials:\n  app: {{provider: oauth2, token_url: \"{}\", client_id: app, client_auth: body, client_secret: \
         \"${{file:{file}}}\"}}\nroutes:\n  - {{name: app, match: {{path: /}}, upstream: \"{}\", credential: app}}\n",
        vendor.url("/token"),
        vendor.url("")
    ))
}

/// As the kubelet does: a new folder, a link to it renamed over `..data`, the old folder removed.
fn swap(place: &Path, version: usize, content: &str) {
    let data = format!("..{version}");
    std::fs::create_dir(place.join(&data)).unwrap();
    std::fs::write(place.join(&data).join("key"), content).unwrap();
    std::os::unix::fs::symlink(&data, place.join("..data_tmp")).unwrap();
    std::fs::rename(place.join("..data_tmp"), place.join("..data")).unwrap();
    if version == 0 {
        std::os::unix::fs::symlink("..data/key", place.join("key")).unwrap();
    } else {
        std::fs::remove_dir_all(place.join(format!("..{}", version - 1))).unwrap();
    }
}

/// Waits until requests go with this secret's token; how long that took.
async fn until_used(process: &Process, secret: &str) -> Duration {
    let begun = Instant::now();
    loop {
        let answer = get(process.address, "/data").await;
        assert_eq!(answer.status(), 200, "{}", text(&answer));
        if text(&answer) == secret {
            return begun.elapsed();
        }
        assert!(begun.elapsed() < SOON, "{secret} is not in use: {}", process.log());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_secret_that_is_swapped_under_load_is_in_use_within_seconds_and_no_request_fails() {
    let swaps = long_or(100, 5);
    let vendor = Vendor::default();
    let upstream = vendor.start().await;
    vendor.accept(&["s-0"]);
    let folder = TempDir::new().unwrap();
    let place = folder.path().join("secret");
    std::fs::create_dir(&place).unwrap();
    swap(&place, 0, "s-0\n");
    std::fs::write(folder.path().join("proxy.yaml"), configuration(&upstream, "secret/key")).unwrap();
    let process = Process::start_in(folder, &[]);
    until_used(&process, "s-0").await;
    let load = Load::of_gets(process.address, 8, Duration::from_millis(10), "/data");
    let mut longest = Duration::ZERO;
    for number in 1..=swaps {
        let (old, new) = (format!("s-{}", number - 1), format!("s-{number}"));
        vendor.accept(&[&old, &new]);
        swap(&place, number, &format!("{new}\n"));
        longest = longest.max(until_used(&process, &new).await);
        // The overlap is over.
        vendor.accept(&[&new]);
    }
    let tally = load.stop().await;
    let logins = upstream.seen().iter().filter(|seen| seen.path() == "/token").count();
    figure(format!(
        "{swaps} secret swaps under load: {} requests, {} failed, the new secret in use after {:.0} ms at most, {logins} logins, {} with a \
         secret that was refused",
        tally.answers.len(),
        tally.lost.len() + tally.answers.iter().filter(|answer| answer.response.status() != 200).count(),
        longest.as_secs_f64() * 1000.0,
        vendor.refused.lock().unwrap().len(),
    ));
    tally.assert_all_served(50);
    assert!(vendor.refused.lock().unwrap().is_empty(), "{:?}", vendor.refused);
    assert!(logins <= swaps + 1, "{logins} logins");
}

/// The file is emptied, half written, and whole at last, each for longer than what counts as quiet.
#[tokio::test]
async fn a_secret_that_is_half_written_serves_nobody_and_the_old_one_goes_on() {
    let vendor = Vendor::default();
    let upstream = vendor.start().await;
    vendor.accept(&["s-old", "s-new"]);
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("key");
    std::fs::write(&file, "s-old\n").unwrap();
    std::fs::write(folder.path().join("proxy.yaml"), configuration(&upstream, "key")).unwrap();
    let process = Process::start_in(folder, &[]);
    until_used(&process, "s-old").await;
    let load = Load::of_gets(process.address, 4, Duration::from_millis(10), "/data");
    for half in ["", "s-"] {
        std::fs::write(&file, half).unwrap();
        let end = Instant::now() + Duration::from_millis(700);
        while Instant::now() < end {
            assert_eq!(text(&get(process.address, "/data").await), "s-old");
        }
    }
    std::fs::write(&file, "s-new\n").unwrap();
    until_used(&process, "s-new").await;
    load.stop().await.assert_all_served(20);
    assert!(vendor.refused.lock().unwrap().len() <= 2, "{:?}", vendor.refused);
}
