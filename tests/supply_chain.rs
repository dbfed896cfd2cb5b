//! What this crate is made of: whose licences, from where, what may not be among it, and what stands
//! there twice. Where it comes from and what is banned is asked of both lock files, the fuzz targets'
//! too, and so of every platform and feature; licences and doubles of what is built here, which
//! `cargo metadata` tells without a network.
//!
//! Advisories are not looked up here: their database is on the network. `h2` and the like are held by
//! version below; `cargo audit` and `cargo deny check` (with `deny.toml`) ask the database.

mod licence;
mod lock;
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use licence::satisfied;
use lock::locked;
use tree::{Package, Tree};

/// Licences that ask for no more than to be named.
const LICENCES: [&str; 10] =
    ["Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0", "ISC", "MIT", "MIT-0", "Unicode-3.0", "Zlib"];

/// A name, the version from which on it may stand there (if ever), and why.
type Ban = (&'static str, Option<(u64, u64, u64)>, &'static str);

/// What may be in no tree of ours.
const BANNED: [Ban; 9] = [
    ("hyper", Some((1, 12, 0)), "0.14 brings an h2 that nobody mends; before 1.6 its limit of resets was off"),
    ("h2", Some((0, 4, 16)), "RUSTSEC-2026-0258: a queue of empty DATA frames without a bound"),
    ("rustls", Some((0, 23, 0)), "what is older gets no mends"),
    ("rsa", None, "RUSTSEC-2023-0071: its time tells the key"),
    ("openssl", None, "one TLS library is enough, and this one has to be mended by whoever installs it"),
    ("openssl-sys", None, "see openssl"),
    ("native-tls", None, "see openssl"),
    ("ring", None, "one library for cryptography is enough: aws-lc-rs"),
    ("serde_yaml", None, "nobody maintains it; yaml_serde is its fork"),
];

/// Banned crates that a lock file names though nobody builds them, and why.
const NOT_BUILT: [(&str, &str); 1] =
    [("ring", "rustls-webpki may use it where a feature asks for it, which none of ours does")];

/// Crates that stand there in several versions, and who holds the old one. One that has gone has to
/// go here, too.
const TWICE: [(&str, &str); 8] = [
    ("base64", "rcgen's pem has the new one; jsonwebtoken's, boon and we have the old one"),
    ("getrandom", "0.3 by opentelemetry_sdk's rand; 0.4 by argon2 and the tests"),
    ("pem", "4 by rcgen, in the tests; 3 by jsonwebtoken"),
    ("rand", "0.9 by opentelemetry_sdk; 0.10 by proptest and tungstenite, in the tests"),
    ("rand_core", "see rand"),
    ("syn", "2 by the derives of prost, tracing and zeroize; 3 by those of serde and clap; builds only"),
    ("synstructure", "0.13 by asn1-rs-derive; builds only"),
    ("untrusted", "0.7 by aws-lc-rs; 0.9 by rustls-webpki"),
];

/// What makes certificates, breaks things, measures: for the tests and benches alone.
const FOR_TESTS: [&str; 9] = [
    "boon",
    "criterion",
    "hdrhistogram",
    "plotters",
    "proptest",
    "rcgen",
    "tempfile",
    "tokio-tungstenite",
    "tungstenite",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn assert_none(found: &[String]) {
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn every_licence_is_one_that_asks_for_no_more_than_to_be_named() {
    let refused = |package: &&Package| !satisfied(&package.licence, &LICENCES);
    let tell = |package: &Package| format!("{} {}: {:?}", package.name, package.version, package.licence);
    assert_none(&Tree::read().all().filter(refused).map(tell).collect::<Vec<_>>());
}

#[test]
fn everything_comes_from_crates_io() {
    let elsewhere = |package: &&Package| match &package.source {
        Some(source) => source != "registry+https://github.com/rust-lang/crates.io-index",
        None => !["tokenferry", "tokenferry-fuzz"].contains(&package.name.as_str()),
    };
    let tell = |package: &Package| format!("{} {}: {:?}", package.name, package.version, package.source);
    let (tree, locked) = (Tree::read(), locked());
    assert_none(&tree.all().chain(&locked).filter(elsewhere).map(tell).collect::<Vec<_>>());
    // What is built here is what the lock file names.
    let names: BTreeSet<_> = locked.iter().map(|package| (&package.name, &package.version)).collect();
    let strange = tree.all().filter(|package| !names.contains(&(&package.name, &package.version)));
    assert_none(
        &strange.map(|package| format!("{} {} is not locked", package.name, package.version)).collect::<Vec<_>>(),
    );
}

#[test]
fn nothing_is_there_that_is_banned() {
    let judge = |package: &Package| {
        let (_, from, reason) = BANNED.iter().find(|(name, ..)| *name == package.name)?;
        let old = from.is_none_or(|from| package.number() < from);
        old.then(|| format!("{} {}: {reason}", package.name, package.version))
    };
    assert_none(&Tree::read().all().filter_map(judge).collect::<Vec<_>>());
    let is_built = |package: &&Package| NOT_BUILT.iter().all(|(name, _)| *name != package.name);
    assert_none(&locked().iter().filter(is_built).filter_map(judge).collect::<Vec<_>>());
}

#[test]
fn what_stands_there_twice_is_known() {
    let tree = Tree::read();
    let mut versions = BTreeMap::<&str, BTreeSet<&str>>::new();
    for package in tree.all() {
        versions.entry(&package.name).or_default().insert(&package.version);
    }
    versions.retain(|_, versions| versions.len() > 1);
    let known: BTreeSet<&str> = TWICE.iter().map(|(name, _)| *name).collect();
    let new = versions.iter().filter(|(name, _)| !known.contains(*name));
    let new = new.map(|(name, versions)| format!("{name} is there as {versions:?}: say why, or mend it"));
    let gone = known.iter().filter(|name| !versions.contains_key(*name));
    let gone = gone.map(|name| format!("{name} is there only once by now: take it from the list"));
    assert_none(&new.chain(gone).collect::<Vec<_>>());
}

#[test]
fn what_only_the_tests_need_is_not_in_the_program() {
    let tree = Tree::read();
    let strangers = tree.shipped().filter(|package| FOR_TESTS.contains(&package.name.as_str()));
    assert_none(&strangers.map(|package| format!("{} is in the program", package.name)).collect::<Vec<_>>());
    for name in FOR_TESTS {
        assert!(tree.all().any(|package| package.name == name), "{name} is not there at all");
    }
    println!("{} crates in the program, {} in all", tree.shipped().count(), tree.all().count());
}

/// Every source file of ours.
fn sources() -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders: Vec<PathBuf> = ["src", "tests", "benches", "fuzz"].map(|folder| root().join(folder)).into();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("target") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    assert!(files.len() > 200, "the sources were not found");
    files
}

#[test]
fn nothing_of_ours_is_unsafe() {
    let word =
        regex::Regex::new(r"\bunsafe\s*(\{|\(|fn\b|impl\b|extern\b|trait\b)|(allow|expect)\([^)]*unsafe_code").unwrap();
    let mut found = Vec::new();
    for file in sources() {
        let text = fs::read_to_string(&file).unwrap();
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap();
            if word.is_match(code) {
                found.push(format!("{}:{}", file.strip_prefix(root()).unwrap().display(), number + 1));
            }
        }
    }
    assert_none(&found);
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    assert!(manifest.contains("\nunsafe_code = \"forbid\"\n"), "the compiler is not told");
}
