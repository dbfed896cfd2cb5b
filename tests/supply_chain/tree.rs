//! The crates that are built here, with the features that are used: `cargo tree` knows which, and
//! `cargo metadata`, which lists some that are not, what there is to know of them.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

use super::root;

/// One version of one crate.
pub struct Package {
    pub name: String,
    pub version: String,
    /// An SPDX expression; empty where the crate names none.
    pub licence: String,
    /// `None` for a path.
    pub source: Option<String>,
}

impl Package {
    /// Its version as numbers, without what is behind a `-` or `+`.
    pub fn number(&self) -> (u64, u64, u64) {
        let plain = self.version.split(['-', '+']).next().unwrap();
        let mut parts = plain.split('.').map(|part| part.parse().unwrap());
        (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap())
    }
}

/// Name and version.
type Id = (String, String);

/// All crates that are built on this machine.
pub struct Tree {
    known: BTreeMap<Id, Package>,
    all: BTreeSet<Id>,
    shipped: BTreeSet<Id>,
}

impl Tree {
    pub fn read() -> Self {
        let host = cargo(&["-vV"]).lines().find_map(|line| line.strip_prefix("host: ").map(str::to_owned)).unwrap();
        let metadata = cargo(&["metadata", "--format-version", "1", "--locked", "--filter-platform", &host]);
        let metadata: Value = serde_json::from_str(&metadata).unwrap();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut known = BTreeMap::new();
        for package in metadata["packages"].as_array().unwrap() {
            let (name, version) = (text(&package["name"]), text(&package["version"]));
            let source = package["source"].as_str().map(str::to_owned);
            let licence = text(&package["license"]);
            known.insert((name.clone(), version.clone()), Package { name, version, licence, source });
        }
        let tree = Self { known, all: listed("normal,build,dev"), shipped: listed("normal,no-proc-macro") };
        assert!(tree.shipped.len() > 100 && tree.all.len() > tree.shipped.len(), "the crates were not found");
        tree
    }

    /// All that is built, also for the tests.
    pub fn all(&self) -> impl Iterator<Item = &Package> {
        self.all.iter().map(|id| &self.known[id])
    }

    /// What is in the program.
    pub fn shipped(&self) -> impl Iterator<Item = &Package> {
        self.shipped.iter().map(|id| &self.known[id])
    }
}

/// What `cargo tree` lists along these edges.
fn listed(edges: &str) -> BTreeSet<Id> {
    let tree = cargo(&["tree", "--locked", "--edges", edges, "--prefix", "none", "--format", "{p}"]);
    let id = |line: &str| {
        let (name, rest) = line.split_once(" v")?;
        Some((name.to_owned(), rest.split(' ').next()?.to_owned()))
    };
    tree.lines().filter_map(id).collect()
}

fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO")).args(arguments).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "cargo {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
