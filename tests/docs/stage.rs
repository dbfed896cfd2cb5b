//! A folder in which what a page shows can be done: its configuration's files are there, its
//! variables are set, its addresses are free, and a simulator stands in the vendor's place.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Output;

use tempfile::TempDir;

use crate::harness::process;

/// What a variable holds that nobody set: also a key of 32 bytes in base64.
const PLACEHOLDER: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

/// The names that a page may use, and where they stand in the folder.
const ABSOLUTE: [&str; 5] = ["/run/", "/etc/", "/var/", "/usr/local/bin/", "/srv/"];

/// The folder.
pub struct Stage {
    folder: TempDir,
    /// What is written in a page, and what stands for it here.
    pub stand_ins: Vec<(String, String)>,
    variables: BTreeMap<String, String>,
}

impl Stage {
    pub fn new() -> Self {
        Self { folder: TempDir::new().unwrap(), stand_ins: Vec::new(), variables: BTreeMap::new() }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn set(&mut self, name: &str, value: &str) {
        self.variables.insert(name.to_owned(), value.to_owned());
    }

    pub fn variables(&self) -> &BTreeMap<String, String> {
        &self.variables
    }

    /// A page's text as it is used here: absolute paths lie in the folder, and what stands in for
    /// something is put in its place.
    pub fn staged(&self, text: &str) -> String {
        let mut staged = text.to_owned();
        for (written, here) in &self.stand_ins {
            staged = staged.replace(written, here);
        }
        for place in ABSOLUTE {
            let there = format!("{}{place}", self.path().display());
            // Not inside another path.
            for before in [" ", ":", "\"", "'", "=", "(", ","] {
                staged = staged.replace(&format!("{before}{place}"), &format!("{before}{there}"));
            }
        }
        staged
    }

    /// Writes a configuration, and makes what it names.
    pub fn configure(&mut self, yaml: &str) -> PathBuf {
        let staged = self.staged(yaml);
        for reference in references(&staged) {
            if let Some(file) = reference.strip_prefix("file:") {
                self.make(file, Path::new(file).extension().is_some_and(|kind| kind == "pem"));
                continue;
            }
            let name = reference.strip_prefix("env:").unwrap_or(&reference);
            let name = name.split(":-").next().unwrap().to_owned();
            self.variables.entry(name).or_insert_with(|| PLACEHOLDER.to_owned());
        }
        for field in
            ["cert", "ca", "client_cert", "client_ca", "key", "client_key", "state_file", "handover", "address"]
        {
            for value in values(&staged, field) {
                self.file_of(field, &value);
            }
        }
        let file = self.path().join("proxy.yaml");
        std::fs::write(&file, staged).unwrap();
        file
    }

    fn file_of(&self, field: &str, value: &str) {
        let value = value.strip_prefix("unix:").unwrap_or(value);
        let is_file = value.contains('/') || [".pem", ".crt", ".key"].iter().any(|e| value.ends_with(e));
        if !is_file || value.contains("${") {
            return;
        }
        match field {
            "cert" | "ca" | "client_cert" | "client_ca" => self.write(value, &pair().0),
            "key" | "client_key" => self.write(value, &pair().1),
            _ => self.folder_of(value),
        }
    }

    fn make(&self, file: &str, key: bool) {
        self.write(file, if key { &pair().1 } else { PLACEHOLDER });
    }

    fn folder_of(&self, file: &str) {
        std::fs::create_dir_all(self.path().join(file).parent().unwrap()).unwrap();
    }

    fn write(&self, file: &str, content: &str) {
        self.folder_of(file);
        std::fs::write(self.path().join(file), content).unwrap();
    }

    /// Runs the real `check` on a configuration.
    pub fn check(&mut self, yaml: &str) -> Output {
        self.configure(yaml);
        process::command(self.path()).args(["check"]).envs(&self.variables).output().unwrap()
    }
}

/// A certificate and its key: the same for every file, so that they belong together.
fn pair() -> &'static (String, String) {
    static PAIR: std::sync::LazyLock<(String, String)> = std::sync::LazyLock::new(|| {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    });
    &PAIR
}

/// What stands in `${...}`; `$$` is no reference.
fn references(text: &str) -> Vec<String> {
    let text = text.replace("$$", "");
    let inside = |part: &str| part.split_once('}').map(|(inside, _)| inside.to_owned());
    text.split("${").skip(1).filter_map(inside).collect()
}

/// The values of a field, wherever it stands.
fn values(yaml: &str, field: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in yaml.lines() {
        // The same before every name, also at the beginning of a line.
        let line = format!(" {}", line.split(" #").next().unwrap_or_default());
        for start in [format!("{{{field}: "), format!(", {field}: "), format!(" {field}: ")] {
            for part in line.split(&start).skip(1) {
                let value = part.split([',', '}', ']']).next().unwrap_or_default().trim().trim_matches('"');
                found.push(value.to_owned());
            }
        }
    }
    found
}

/// A whole file made of a fragment.
pub fn completed(yaml: &str) -> String {
    let has = |key: &str| yaml.lines().any(|line| line.starts_with(&format!("{key}:")));
    let mut whole = yaml.to_owned();
    if !has("listeners") {
        whole.push_str("listeners: [{address: 127.0.0.1:0}]\n");
    }
    if !has("routes") {
        whole.push_str("routes: [{name: nothing, respond: 404, access: public}]\n");
    }
    whole
}
