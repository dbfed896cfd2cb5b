//! The whole way: from a file's name to settings, or to every problem of the file.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use zeroize::{Zeroize, Zeroizing};

use crate::config::check::check;
use crate::config::effective::is_hidden;
use crate::config::files::{Files, too_wide};
use crate::config::interpolate::{Environment, MASK, References};
use crate::config::locate::Locator;
use crate::config::report::Report;
use crate::config::source::{MOST_BYTES, Source, Unreadable};
use crate::config::spot::{Path as Place, Step};
use crate::config::tree::{Flaw, Marks, Node, Value, parse};
use crate::config::{Problems, Settings};
use crate::model::{Problem, Severity};

/// A configuration that was taken.
#[derive(Debug)]
pub struct Loaded {
    /// What it says.
    pub settings: Settings,
    /// What is odd about it, in the order of the file.
    pub warnings: Vec<Problem>,
    /// Locates what is found out about it later.
    pub locator: Locator,
    /// The document as written, secrets masked.
    pub(crate) written: Node,
}

impl Loaded {
    /// A scalar as it may be shown, where it must not be shown as it is: with `***` for what came
    /// from a reference or is a secret. `path` is such as `routes[0].upstream.url`.
    pub fn masked(&self, path: &str) -> Option<&str> {
        let node = self.written.at(&Place::parse(path))?;
        match &node.value {
            Value::Resolved(resolved) => Some(&resolved.masked),
            Value::Text(text) if node.secret.get() => Some(text),
            _ => None,
        }
    }

    /// Whether what stands there came from a reference, if only in part.
    pub fn is_reference(&self, path: &str) -> bool {
        self.written.at(&Place::parse(path)).is_some_and(|node| matches!(node.value, Value::Resolved(_)))
    }

    /// The same for a value in a map whose keys are header names.
    pub fn masked_header(&self, path: &str, name: &str) -> Option<&str> {
        let entries = self.written.at(&Place::parse(path))?.entries();
        let node = &entries.iter().find(|entry| entry.key.eq_ignore_ascii_case(name))?.node;
        match &node.value {
            Value::Resolved(resolved) => Some(&resolved.masked),
            _ if node.secret.get() || is_hidden(name) => Some(MASK),
            _ => None,
        }
    }
}

/// Reads and checks a configuration file. Relative paths in it are relative to its folder.
pub fn load(path: &Path, environment: Environment<'_>) -> Result<Loaded, Problems> {
    let file = path.display().to_string();
    let (bytes, wide) = match read(path) {
        Ok(read) => read,
        Err((message, mend)) => {
            let (source, _) = Source::new(b"");
            let problem = Locator::new(file, source).of_file(Severity::Error, message, mend);
            return Err(Problems { list: vec![problem], files: vec![path.to_owned()] });
        }
    };
    examine(path, &bytes, wide.as_deref(), environment)
}

/// The same for content that was read already; `path` is its name and the folder of its files.
pub fn load_bytes(path: &Path, bytes: &[u8], environment: Environment<'_>) -> Result<Loaded, Problems> {
    examine(path, bytes, None, environment)
}

/// `wide` is what is to be told of the file's mode where secrets stand in it.
fn examine(path: &Path, bytes: &[u8], wide: Option<&str>, environment: Environment<'_>) -> Result<Loaded, Problems> {
    let (source, verdict) = Source::new(bytes);
    let mut locator = Locator::new(path.display().to_string(), source);
    let refuse = |list: Vec<Problem>, files: Vec<PathBuf>| Err(Problems { list, files });
    if let Err(Unreadable { mark, message, mend }) = verdict {
        let flaw = Flaw { mark, path: Place::default(), message: message.to_owned(), mend: mend.to_owned() };
        return refuse(vec![locator.without_tree().flaw(&flaw)], vec![path.to_owned()]);
    }
    let (root, flaws) = parse(locator.source(), Marks::None);
    let Some(mut root) = root else {
        return refuse(flaws.iter().map(|flaw| locator.flaw(flaw)).collect(), vec![path.to_owned()]);
    };
    let folder = path.parent().unwrap_or(Path::new("")).to_owned();
    let (mut files, mut report) = (Files::new(folder), Report::default());
    let used = References::new(environment, &mut files, &mut report).resolve(&mut root);
    let settings = check(&root, &mut report, &mut files, environment);
    locator.note_secrets(&root);
    if let Some(wide) = wide
        && let Some(place) = plain_secret(&root)
    {
        let mend = "chmod 0640, or less; or write ${NAME} or ${file:/path} in its place";
        report.warning_there(place, format!("a secret stands in this file, and {wide}"), mend);
    }

    let mut paths = vec![path.to_owned()];
    paths.extend_from_slice(files.paths());
    let (findings, errors, warnings) = report.into_findings();
    let mut list: Vec<Problem> = flaws.iter().map(|flaw| locator.flaw(flaw)).collect();
    list.extend(findings.iter().map(|finding| locator.locate(finding)));
    list.sort_by_key(|problem| (problem.line, problem.column));
    for (count, severity, what) in [(errors, Severity::Error, "errors"), (warnings, Severity::Warning, "warnings")] {
        if count > 0 {
            list.push(locator.of_file(severity, format!("and {count} more {what}"), ""));
        }
    }
    match settings {
        Some(mut settings) if list.iter().all(|problem| problem.severity == Severity::Warning) => {
            let mut hasher = Sha256::new();
            hasher.update(bytes.len().to_be_bytes());
            hasher.update(bytes);
            files.digest(&mut hasher);
            for (name, value) in &used {
                hasher.update(name.as_bytes());
                hasher.update(if value.is_some() { b"\0=" } else { b"\0-" });
                hasher.update(value.as_ref().map_or(0, |value| value.len()).to_be_bytes());
                hasher.update(value.as_ref().map_or(&b""[..], |value| value.as_bytes()));
            }
            settings.files = paths;
            settings.fingerprint = hasher.finalize().into();
            mask(&mut root);
            Ok(Loaded { settings, warnings: list, locator, written: root })
        }
        _ => refuse(list, paths),
    }
}

/// The first secret that is written out: no reference, and no digest of it.
fn plain_secret(node: &Node) -> Option<Place> {
    let below = |step: Step, node: &Node| {
        let mut place = plain_secret(node)?;
        place.0.insert(0, step);
        Some(place)
    };
    match &node.value {
        Value::Map(entries) => entries.iter().find_map(|entry| below(Step::Key(entry.key.clone()), &entry.node)),
        Value::List(elements) => elements.iter().enumerate().find_map(|(index, node)| below(Step::Index(index), node)),
        Value::Text(text) if text.starts_with("sha256:") || text.starts_with("$argon2") => None,
        // An address in which nobody is named.
        Value::Text(text) if text.contains("://") && !text.contains('@') => None,
        Value::Null | Value::Resolved(_) => None,
        _ => node.secret.get().then(Place::default),
    }
}

/// Takes the secrets out of the document: what is kept for showing holds none.
fn mask(node: &mut Node) {
    let secret = node.secret.get();
    match &mut node.value {
        Value::Map(entries) => entries.iter_mut().for_each(|entry| mask(&mut entry.node)),
        Value::List(elements) => elements.iter_mut().for_each(mask),
        Value::Resolved(resolved) => {
            if secret {
                MASK.clone_into(&mut resolved.masked);
            }
            resolved.text.zeroize();
            resolved.text.push_str(&resolved.masked);
        }
        Value::Text(text) if secret => {
            text.zeroize();
            text.push_str(MASK);
        }
        value if secret => *value = Value::Text(MASK.to_owned()),
        _ => {}
    }
}

/// A file's content, in which secrets may stand, and what is to be told of its mode.
type Content = (Zeroizing<Vec<u8>>, Option<String>);

/// Reads the file, or says what is wrong and what to do.
pub(crate) fn read(path: &Path) -> Result<Content, (String, String)> {
    use std::io::Read;

    let told = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => (
            "there is no such file".to_owned(),
            "name the configuration with -c FILE or TOKENFERRY_CONFIG; the shipped proxy.yaml is an example".to_owned(),
        ),
        std::io::ErrorKind::PermissionDenied => {
            ("the file may not be read (permission denied)".to_owned(), "let the proxy's user read it".to_owned())
        }
        std::io::ErrorKind::IsADirectory => {
            ("this is a folder".to_owned(), "name the file in it, such as proxy.yaml".to_owned())
        }
        _ => ("the file cannot be read".to_owned(), "check the file and its disk".to_owned()),
    };
    let file = std::fs::File::open(path).map_err(told)?;
    let meta = file.metadata().map_err(told)?;
    let length = meta.len().min(MOST_BYTES as u64 + 4);
    // Read without growing, which would leave copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(length).unwrap_or(0) + 2));
    file.take(MOST_BYTES as u64 + 4).read_to_end(&mut bytes).map_err(told)?;
    Ok((bytes, too_wide(&meta)))
}
