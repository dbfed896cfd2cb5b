//! The table of threats in docs/security.md: each has its row, each row its tests, and each test that
//! it names is there.
//!
//! A row's last cell is a list of files, each with the names of its tests: `FILE`: `name`, `name`;
//! `FILE`: ... What stands in `tests/threats` is written there by a test; what stands elsewhere, by hand.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::page::root;

/// The threats, by their numbers.
const ALL: std::ops::RangeInclusive<u8> = 1..=35;

/// How to write the tests' names anew.
pub const RENEW: &str = super::reference::RENEW;

/// A row as it stands there.
struct Row {
    number: u8,
    /// Up to the last cell.
    front: String,
    /// Files, each with its tests.
    tests: Vec<(String, Vec<String>)>,
}

impl Row {
    fn parse(line: &str) -> Option<Self> {
        let cells: Vec<&str> = line.strip_prefix("| ")?.strip_suffix('|')?.split(" | ").collect();
        let number = cells.first()?.parse().ok()?;
        let [_, threat, deed, tests] = cells[..] else { panic!("a row of other cells: {line}") };
        let groups = tests.split(';').filter_map(|group| {
            let mut words = group.split('`').skip(1).step_by(2).map(str::to_owned);
            Some((words.next()?, words.collect()))
        });
        Some(Self { number, front: format!("| {number} | {threat} | {deed} | "), tests: groups.collect() })
    }

    fn write(&self) -> String {
        let group = |(file, names): &(String, Vec<String>)| {
            let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
            format!("`{file}`: {}", names.join(", "))
        };
        format!("{}{} |", self.front, self.tests.iter().map(group).collect::<Vec<_>>().join("; "))
    }

    /// Where its tests stand.
    fn place(&self) -> String {
        format!("tests/threats/row_{:02}_", self.number)
    }

    /// The same row with what stands in its place.
    fn renewed(self) -> Self {
        let mut tests = there(&self.place());
        tests.extend(self.tests.into_iter().filter(|(file, _)| !file.starts_with("tests/threats/")));
        Self { tests, ..self }
    }
}

/// The files whose names begin like this, each with its tests.
fn there(place: &str) -> Vec<(String, Vec<String>)> {
    let (mut files, mut folders) = (Vec::<PathBuf>::new(), vec![root().join("tests/threats")]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    let named = files.iter().map(|file| file.strip_prefix(root()).unwrap().to_str().unwrap().to_owned());
    let with_tests = named.filter(|file| file.starts_with(place)).map(|file| {
        let tests = tests_of(Path::new(&file)).unwrap();
        (file, tests)
    });
    with_tests.filter(|(_, tests)| !tests.is_empty()).collect()
}

/// The names of a file's tests, in its order; `None` where there is no such file.
fn tests_of(file: &Path) -> Option<Vec<String>> {
    let text = fs::read_to_string(root().join(file)).ok()?;
    let mut marked = false;
    let mut found = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            marked = true;
        } else if let Some((_, rest)) = line.split_once("fn ").filter(|_| marked) {
            found.push(rest.split('(').next().unwrap().to_owned());
            marked = false;
        }
    }
    Some(found)
}

/// The page with each row's tests as they are.
pub fn renewed(text: &str) -> String {
    let line = |line: &str| Row::parse(line).map_or_else(|| line.to_owned(), |row| row.renewed().write());
    text.lines().map(|text| line(text) + "\n").collect()
}

/// What is missing or wrong in the table.
pub fn faults(text: &str) -> Vec<String> {
    let rows: Vec<Row> = text.lines().filter_map(Row::parse).collect();
    let mut found = Vec::new();
    for number in ALL {
        if rows.iter().filter(|row| row.number == number).count() != 1 {
            found.push(format!("docs/security.md has no row {number}, or several"));
        }
    }
    for row in &rows {
        let number = row.number;
        let named: BTreeSet<(&str, &str)> = row
            .tests
            .iter()
            .flat_map(|(file, names)| names.iter().map(|name| (file.as_str(), name.as_str())))
            .collect();
        if named.is_empty() {
            found.push(format!("row {number} has no test: write one in {}*.rs", row.place()));
        }
        for (file, name) in &named {
            if !tests_of(Path::new(file)).is_some_and(|tests| tests.iter().any(|test| test == name)) {
                found.push(format!("row {number} names {name}, which is no test of {file}"));
            }
        }
        for (file, tests) in there(&row.place()) {
            let unnamed = tests.iter().filter(|test| !named.contains(&(file.as_str(), test.as_str())));
            found.extend(unnamed.map(|test| format!("row {number} does not name {test}; write it anew: {RENEW}")));
        }
    }
    found
}
