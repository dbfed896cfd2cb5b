//! What a stranger does first: start the demo, and paste what it prints.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use super::harness::client;
use super::harness::process::command;

#[tokio::test]
async fn every_request_that_the_demo_prints_is_answered_200_with_one_login_each() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = command(folder.path()).arg("demo").stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let told: Vec<String> = lines.by_ref().take_while(|line| !line.starts_with("Ctrl-C")).collect();

    let urls: Vec<&str> = told.iter().filter_map(|line| line.strip_prefix("curl http://")).collect();
    assert_eq!(urls.len(), 3, "{told:#?}");
    for url in urls {
        let (address, path) = url.split_at(url.find('/').unwrap());
        let address: SocketAddr = address.parse().unwrap();
        for _ in 0..2 {
            let answer = client::get(address, path).await;
            assert_eq!(answer.status(), 200, "{url}: {}", client::text(&answer));
            assert!(client::text(&answer).contains("\"token_number\":1"), "{url}: {}", client::text(&answer));
        }
    }

    let page = told.iter().find_map(|line| line.strip_prefix("http://")?.strip_suffix('/')).unwrap();
    let answer = client::get(page.parse().unwrap(), "/").await;
    assert!(answer.status() == 200 && client::text(&answer).contains("<html"), "{page}");

    let config = told.iter().find_map(|line| line.strip_prefix('(')?.split(';').next()).unwrap();
    assert!(std::path::Path::new(config).exists(), "{config}");
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    let ended = tokio::task::spawn_blocking(move || child.wait().unwrap()).await.unwrap();
    assert!(ended.success(), "{ended}");
    assert!(!std::path::Path::new(config).exists(), "the demo leaves nothing behind");
}
