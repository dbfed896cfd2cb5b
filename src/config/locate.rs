//! From a place in the document to a line and column of the text, and the line as it may be shown.

use std::cell::OnceCell;
use std::collections::{BTreeMap, HashSet};

use crate::config::redact::{Item, guess, is_harmless, shown};
use crate::config::report::{At, Finding};
use crate::config::schema::VOCABULARY;
use crate::config::source::Source;
use crate::config::spot::{Path, Step};
use crate::config::tree::{Flaw, Mark, Marks, Node, Value, parse};
use crate::model::{Problem, Severity};

/// A longer line is not shown, in bytes.
const LONGEST_SHOWN: usize = 10_000;

/// Locates problems in one configuration file. Reads the text again for the places only once
/// there is something to locate.
#[derive(Debug)]
pub struct Locator {
    file: String,
    source: Source,
    /// Places that were read into secrets, as their paths' texts.
    secrets: HashSet<String>,
    tree: OnceCell<Option<Node>>,
    lines: OnceCell<BTreeMap<u32, Vec<Item>>>,
}

impl Locator {
    pub(crate) fn new(file: String, source: Source) -> Self {
        Self { file, source, secrets: HashSet::new(), tree: OnceCell::new(), lines: OnceCell::new() }
    }

    pub(crate) fn source(&self) -> &Source {
        &self.source
    }

    /// Notes which places hold secrets.
    pub(crate) fn note_secrets(&mut self, root: &Node) {
        fn walk(node: &Node, path: &mut Path, secrets: &mut HashSet<String>) {
            if node.secret.get() {
                secrets.insert(path.to_string());
            }
            let steps = node.entries().iter().map(|entry| (Step::Key(entry.key.clone()), &entry.node));
            let steps = steps.chain(node.elements().iter().enumerate().map(|(index, node)| (Step::Index(index), node)));
            for (step, node) in steps {
                path.0.push(step);
                walk(node, path, secrets);
                path.0.pop();
            }
        }
        walk(root, &mut Path::default(), &mut self.secrets);
    }

    /// A problem of a place, such as `routes[1].match.path`: its keys are letters, digits, `_` and
    /// `-`. Neither text may hold a value of the file.
    pub fn problem(
        &self,
        severity: Severity,
        path: &str,
        message: impl Into<String>,
        mend: impl Into<String>,
    ) -> Problem {
        let finding =
            Finding { severity, path: Path::parse(path), at: At::Value, message: message.into(), mend: mend.into() };
        self.locate(&finding)
    }

    /// A problem of the whole file.
    pub fn of_file(&self, severity: Severity, message: impl Into<String>, mend: impl Into<String>) -> Problem {
        self.at(severity, Mark::NONE, &Path::default(), None, message.into(), mend.into())
    }

    pub(crate) fn locate(&self, finding: &Finding) -> Problem {
        let mark = self.tree().map_or(Mark::NONE, |root| place(root, &self.source, &finding.path, finding.at));
        let own = (finding.at == At::Key).then_some(mark);
        let mut path = finding.path.clone();
        if finding.at == At::HiddenKey {
            path.0.pop();
        }
        self.at(finding.severity, mark, &path, own, finding.message.clone(), finding.mend.clone())
    }

    /// A flaw of the document; where there is no tree, its line is blanked by its look.
    pub(crate) fn flaw(&self, flaw: &Flaw) -> Problem {
        self.at(Severity::Error, flaw.mark, &flaw.path, Some(flaw.mark), flaw.message.clone(), flaw.mend.clone())
    }

    fn tree(&self) -> Option<&Node> {
        self.tree.get_or_init(|| parse(&self.source, Marks::All).0).as_ref()
    }

    fn at(
        &self,
        severity: Severity,
        mark: Mark,
        path: &Path,
        own_key: Option<Mark>,
        message: String,
        mend: String,
    ) -> Problem {
        let (line, column) = (mark.line as usize, mark.column as usize);
        let (source, caret) = match self.source.line(line) {
            // Comments are not shown, and a line of nothing else has nothing to point at.
            Some(text) if text.trim_start().starts_with('#') => (String::new(), 0),
            Some(text) => {
                let mut items = self.items(mark.line, text);
                for item in
                    items.iter_mut().filter(|item| item.is_key && own_key.is_some_and(|m| m.column == item.column))
                {
                    item.shown = true;
                }
                shown(text, &items, column)
            }
            None => (String::new(), 0),
        };
        Problem {
            severity,
            file: self.file.clone(),
            line,
            column,
            path: path.to_string(),
            message,
            mend,
            source,
            caret,
        }
    }

    /// For a text that the scanner is not to see: it would take too long over it.
    pub(crate) fn without_tree(self) -> Self {
        let _ = self.tree.set(None);
        self
    }

    fn items(&self, number: u32, text: &str) -> Vec<Item> {
        // Nobody writes such a line; to look for keys in it takes time that grows with its square.
        if text.len() > LONGEST_SHOWN {
            return Vec::new();
        }
        let Some(root) = self.tree() else {
            let before: Vec<&str> = (1..number as usize).filter_map(|line| self.source.line(line)).collect();
            return guess(&before, text);
        };
        let lines = self.lines.get_or_init(|| {
            let mut items = Items { secrets: &self.secrets, lines: BTreeMap::new() };
            items.walk(root, &mut Path::default());
            items.lines
        });
        lines.get(&number).cloned().unwrap_or_default()
    }
}

struct Items<'s> {
    secrets: &'s HashSet<String>,
    lines: BTreeMap<u32, Vec<Item>>,
}

impl Items<'_> {
    fn add(&mut self, mark: Mark, is_key: bool, shown: bool) {
        if !mark.is_known() {
            return;
        }
        let line = self.lines.entry(mark.line).or_default();
        // What an alias stands for stands at its anchor, once for each alias.
        match line.binary_search_by_key(&mark.column, |item| item.column) {
            Ok(there) => {
                if let Some(item) = line.get_mut(there) {
                    item.shown &= shown;
                }
            }
            Err(there) => line.insert(there, Item { column: mark.column, is_key, shown }),
        }
    }

    fn walk(&mut self, node: &Node, path: &mut Path) {
        match &node.value {
            Value::Map(entries) => {
                let named = matches!(path.0.as_slice(), [Step::Key(key)] if key == "credentials");
                for entry in entries {
                    self.add(entry.mark, true, named || VOCABULARY.contains(&entry.key));
                    path.0.push(Step::Key(entry.key.clone()));
                    self.walk(&entry.node, path);
                    path.0.pop();
                }
            }
            Value::List(elements) => {
                for (index, element) in elements.iter().enumerate() {
                    path.0.push(Step::Index(index));
                    self.walk(element, path);
                    path.0.pop();
                }
            }
            _ => {
                let secret = !self.secrets.is_empty() && self.secrets.contains(&path.to_string());
                self.add(node.mark, false, is_harmless(path) && !secret);
            }
        }
    }
}

/// Where a place stands, or what is next above it.
fn place(root: &Node, source: &Source, path: &Path, at: At) -> Mark {
    let mut path = path.clone();
    let mut wanted = at;
    loop {
        let found = match (wanted, path.0.last()) {
            (_, None) => return Mark::new(1, 1),
            (At::Key | At::HiddenKey, Some(Step::Key(_))) => root.key_mark(&path),
            _ => root.at(&path).and_then(|node| match &node.value {
                Value::Map(_) | Value::List(_) => root.key_mark(&path).or_else(|| beginning(node, source)),
                _ => Some(node.mark),
            }),
        };
        if let Some(mark) = found.filter(|mark| mark.is_known()) {
            return mark;
        }
        path.0.pop();
        wanted = At::Key;
    }
}

/// Where a list or map begins: at its first key or scalar, or at the bracket before that.
fn beginning(node: &Node, source: &Source) -> Option<Mark> {
    let first = match &node.value {
        Value::Map(entries) => entries.first()?.mark,
        Value::List(elements) => beginning(elements.first()?, source)?,
        _ => node.mark,
    };
    if matches!(node.value, Value::Map(_) | Value::List(_)) {
        let before: Vec<char> =
            source.line(first.line as usize)?.chars().take((first.column as usize).saturating_sub(1)).collect();
        let bare = before.iter().rposition(|c| !c.is_whitespace());
        if let Some(at) = bare.filter(|at| matches!(before.get(*at), Some('{' | '['))) {
            return Some(Mark::new(first.line as usize, at + 1));
        }
    }
    Some(first)
}
