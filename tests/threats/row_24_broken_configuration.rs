//! A configuration that is half written, unreadable or hostile changes nothing, while requests go on.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use http::Request;
use http_body_util::Full;
use tempfile::TempDir;

use crate::harness::bystanders::Bystanders;
use crate::harness::client::{get, send, text};
use crate::harness::process::Process;
use crate::harness::raw::Wire;
use crate::harness::soak::figure;

/// The credential stands last, in quotes and braces, so that no beginning of the file is a
/// configuration. (Where one is, nobody can tell it from the operator's wish.)
fn configuration(upstream: &Wire, more: &str) -> String {
    format!(
        "listeners:\n  - address: 127.0.0.1:0\nadmin: {{address: '127.0.0.1:0'}}\nworkers: 1\nroutes:\n  - name: only\n    \
         match: {{path: /}}\n    upstream: {}\n    credential: fixed\n    timeouts: {{response: 10s}}\n{more}credentials:\n  fixed: \
         {{provider: static, token: \"T0K3N\"}}\n",
        upstream.url("")
    )
}

fn start(text: &str) -> Process {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("proxy.yaml"), text).unwrap();
    Process::start_in(folder, &[])
}

/// Asks for a reload: the status, and how long it took.
async fn reload(admin: SocketAddr) -> (u16, String, Duration) {
    let begun = Instant::now();
    let answer = send(admin, Request::post("/api/v1/reload").body(Full::default()).unwrap()).await;
    (answer.status().as_u16(), text(&answer), begun.elapsed())
}

async fn metric(admin: SocketAddr, name: &str) -> f64 {
    let metrics = text(&get(admin, "/metrics").await);
    let line =
        metrics.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("no {name}: {metrics}"));
    line.trim().parse().unwrap()
}

const REFUSED: &str = "tokenferry_config_reloads_total{outcome=\"refused\"}";
const SUCCESSFUL: &str = "tokenferry_config_last_reload_successful";
const GENERATION: &str = "tokenferry_config_generation";

#[tokio::test]
async fn a_file_cut_at_any_of_its_bytes_keeps_the_old_configuration_under_load() {
    let upstream = Wire::ok().await;
    let whole = configuration(&upstream, "");
    let process = start(&whole);
    let admin = process.admin().await;
    let file = process.folder.path().join("proxy.yaml");
    let bystanders = Bystanders::start(process.address, "/");
    let (mut rejected, mut equal) = (0, 0);
    for cut in 0..whole.len() {
        // In place, as a writer that stops in the middle leaves it.
        std::fs::write(&file, &whole[..cut]).unwrap();
        let (status, told, _) = reload(admin).await;
        match status {
            422 => rejected += 1,
            200 => {
                assert_eq!(whole[..cut].trim_end(), whole.trim_end(), "another configuration was taken: {told}");
                equal += 1;
            }
            _ => panic!("cut at {cut}: {status} {told}"),
        }
    }
    let seen = bystanders.stop().await;
    figure(format!("a configuration of {} bytes cut at each: {rejected} rejected, {equal} equal; {seen}", whole.len()));
    seen.assert_all_served(20, "cut configurations");
    assert_eq!((rejected, equal), (whole.len() - 1, 1));
    assert!(metric(admin, REFUSED).await >= f64::from(u32::try_from(rejected).unwrap()));
    assert!(process.log().contains("configuration refused"));
    std::fs::write(&file, whole.replace("10s", "11s")).unwrap();
    assert_eq!(reload(admin).await.0, 200);
    assert!((metric(admin, SUCCESSFUL).await - 1.0).abs() < 0.1);
}

/// Levels of lists, each with the one before ten times.
fn bomb() -> String {
    let mut text = String::from("x-0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]\n");
    for level in 1..10 {
        let before = format!("*a{}", level - 1);
        text.push_str(&format!("x-{level}: &a{level} [{}]\n", [before.as_str(); 10].join(", ")));
    }
    text
}

#[tokio::test]
async fn a_hostile_or_unreadable_file_is_refused_in_a_moment_and_changes_nothing() {
    let upstream = Wire::ok().await;
    let good = configuration(&upstream, "");
    let long_alias = format!("x-a: &a \"{}\"\nx-b: [{}]\n{good}", "y".repeat(100_000), vec!["*a"; 5000].join(", "));
    let blocks: String = (0..1000).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
    let hostile: Vec<(&str, Vec<u8>)> = vec![
        ("empty", Vec::new()),
        ("a comment", b"# later\n".to_vec()),
        ("NUL", b"\0".to_vec()),
        ("not UTF-8", [good.as_bytes(), b"# \xff\n"].concat()),
        ("UTF-16", b"\xff\xfea\0".to_vec()),
        ("an anchors bomb", format!("{}{good}", bomb()).into_bytes()),
        ("a long text five thousand times", long_alias.into_bytes()),
        ("an anchor in itself", format!("x-a: &a [*a]\n{good}").into_bytes()),
        ("100 MB of spaces", [vec![b' '; 100 << 20], good.clone().into_bytes()].concat()),
        ("100 MB of a comment", [b"#", &vec![b'x'; 100 << 20][..], b"\n", good.as_bytes()].concat()),
        ("keys twice", format!("{good}routes: []\n").into_bytes()),
        (
            "a key of a route twice",
            good.replace("    credential: fixed\n", "    credential: fixed\n    credential: none\n").into_bytes(),
        ),
        ("an unknown key", format!("{good}rutes: []\n").into_bytes()),
        ("an unknown key of a route", good.replace("    credential:", "    credentials:").into_bytes()),
        ("100,000 brackets", vec![b'['; 100_000]),
        ("100,000 lines of brackets", b"[\n".repeat(100_000)),
        ("100,000 braces", b"{a: ".repeat(100_000)),
        ("1,000 levels of blocks", blocks.into_bytes()),
        ("a tab", good.replace("    credential", "\tcredential").into_bytes()),
        ("two documents", format!("{good}---\n{good}").into_bytes()),
        ("a secret that is not there", good.replace("\"T0K3N\"", "\"${file:nowhere}\"").into_bytes()),
        ("a secret that is a folder", good.replace("\"T0K3N\"", "\"${file:.}\"").into_bytes()),
        ("a secret that has no end", good.replace("\"T0K3N\"", "\"${file:/dev/zero}\"").into_bytes()),
        ("a secret that is a pipe", good.replace("\"T0K3N\"", "\"${file:pipe}\"").into_bytes()),
    ];
    let process = start(&good);
    let admin = process.admin().await;
    let folder = process.folder.path().to_owned();
    pipe(&folder.join("pipe"));
    let file = folder.join("proxy.yaml");
    let before = process.memory_kib("VmRSS");
    let bystanders = Bystanders::start(process.address, "/");
    let mut longest = (Duration::ZERO, "");
    let mut count = 0;
    let mut refused = async |name: &'static str| {
        let refusals = metric(admin, REFUSED).await;
        let (status, told, took) = reload(admin).await;
        assert_eq!(status, 422, "{name}: {told}");
        assert!(took < Duration::from_secs(30), "{name}: {took:?}");
        assert!(metric(admin, REFUSED).await > refusals, "{name}");
        assert!(metric(admin, SUCCESSFUL).await.abs() < 0.1, "{name}");
        longest = longest.max((took, name));
        count += 1;
    };
    for (name, content) in &hostile {
        std::fs::write(&file, content).unwrap();
        refused(name).await;
    }
    std::fs::remove_file(&file).unwrap();
    refused("no file").await;
    std::fs::create_dir(&file).unwrap();
    refused("a folder").await;
    std::fs::remove_dir(&file).unwrap();
    std::fs::write(&file, "").unwrap();
    for (name, target) in
        [("a link to nowhere", "nowhere"), ("a link to itself", "proxy.yaml"), ("no end", "/dev/zero")]
    {
        std::fs::remove_file(&file).unwrap();
        std::os::unix::fs::symlink(target, &file).unwrap();
        refused(name).await;
    }
    let seen = bystanders.stop().await;
    figure(format!(
        "{count} hostile or unreadable configurations refused, the longest in {:.0} ms ({}); RSS {before} KiB, at most {}; {seen}",
        longest.0.as_secs_f64() * 1000.0,
        longest.1,
        process.memory_kib("VmHWM"),
    ));
    seen.assert_all_served(20, "hostile configurations");
    assert!((metric(admin, GENERATION).await - 1.0).abs() < 0.1, "nothing else was ever taken");
    assert_eq!(get(process.address, "/").await.status(), 200);
    std::fs::remove_file(&file).unwrap();
    std::fs::write(&file, good.replace("10s", "11s")).unwrap();
    assert_eq!(reload(admin).await.0, 200, "a good one is taken again");
}

fn pipe(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

/// A writer that takes its time, with pauses shorter than what counts as quiet.
#[tokio::test]
async fn a_file_that_is_being_written_is_not_taken_before_it_is_whole() {
    let upstream = Wire::ok().await;
    // Here every line is the end of a configuration.
    let route = |n: usize| {
        format!("  - {{name: r{n}, match: {{path: /{n}}}, upstream: \"{}\", credential: fixed}}\n", upstream.url(""))
    };
    let lines: Vec<String> = (1..=12).map(route).collect();
    let head = "listeners: [{address: '127.0.0.1:0'}]\nadmin: {address: '127.0.0.1:0'}\nworkers: 1\n\
                credentials:\n  fixed: {provider: static, token: T0K3N}\nroutes:\n";
    let process = start(&format!("{head}{}", lines.concat().replace("r1,", "before,")));
    let file = process.folder.path().join("proxy.yaml");
    for round in 1.. {
        let taken = process.taken();
        let mut written = head.replace("workers: 1", &format!("workers: 1\nx-round: {round}"));
        let (mut last, mut longest) = (Instant::now(), Duration::ZERO);
        for line in &lines {
            written.push_str(line);
            std::fs::write(&file, &written).unwrap();
            longest = longest.max(last.elapsed());
            last = Instant::now();
            std::thread::sleep(Duration::from_millis(20));
        }
        // A writer that a busy machine has held up for too long shows nothing.
        if longest < Duration::from_millis(120) || round == 10 {
            crate::harness::eventually("it is taken", || process.taken() > taken).await;
            assert_eq!(process.taken(), taken + 1, "{}", process.log());
            break;
        }
        crate::harness::eventually("it settles", || process.log().contains("configuration taken")).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    for n in 1..=12 {
        assert_eq!(get(process.address, &format!("/{n}/a")).await.status(), 200);
    }
    let log = process.log();
    assert!(!log.contains("configuration refused"), "{log}");
}
