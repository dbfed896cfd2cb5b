//! References in text: `${NAME}`, `${env:NAME}`, `${NAME:-text}`, `${file:PATH}`, and `$$`.
//!
//! They are resolved inside string scalars after the YAML is parsed, so that what they stand for
//! can't change the document's structure. What they stand for is not looked at for references again.

use std::collections::BTreeMap;

use zeroize::Zeroizing;

use crate::config::files::{Files, Unread};
use crate::config::report::Report;
use crate::config::spot::{Spot, plain};
use crate::config::tree::{Node, Resolved, Value};

/// The variables of the process, or of a test.
pub type Environment<'e> = &'e dyn Fn(&str) -> Option<String>;

/// What stands in place of what must not be seen.
pub(crate) const MASK: &str = "***";

/// Resolves every reference of a document.
pub(crate) struct References<'r> {
    environment: Environment<'r>,
    files: &'r mut Files,
    report: &'r mut Report,
    /// Variables that were looked at, with what they were: part of the fingerprint.
    used: BTreeMap<String, Option<Zeroizing<String>>>,
}

/// Why a reference stands for nothing: what is wrong, and the mend.
type Broken = (String, String);

impl<'r> References<'r> {
    pub(crate) fn new(environment: Environment<'r>, files: &'r mut Files, report: &'r mut Report) -> Self {
        Self { environment, files, report, used: BTreeMap::new() }
    }

    /// Resolves the document in place; free keys (`x-...`) are left alone. Gives back the
    /// variables that were looked at.
    pub(crate) fn resolve(mut self, root: &mut Node) -> BTreeMap<String, Option<Zeroizing<String>>> {
        if let Value::Map(entries) = &mut root.value {
            for entry in entries.iter_mut().filter(|entry| !entry.key.starts_with("x-")) {
                self.walk(&mut entry.node, &Spot::ROOT.key(&entry.key));
            }
        }
        self.used
    }

    fn walk(&mut self, node: &mut Node, spot: &Spot<'_>) {
        match &mut node.value {
            Value::List(elements) => {
                for (index, element) in elements.iter_mut().enumerate() {
                    self.walk(element, &spot.index(index));
                }
            }
            Value::Map(entries) => {
                for entry in entries {
                    self.walk(&mut entry.node, &spot.key(&entry.key));
                }
            }
            Value::Text(text) if text.contains('$') => match self.text(text, spot) {
                Some(resolved) if resolved.masked == *resolved.text => *text = resolved.masked,
                Some(resolved) => node.value = Value::Resolved(Box::new(resolved)),
                None => node.out.set(true),
            },
            _ => {}
        }
    }

    /// `None` when a reference is broken, which has been reported.
    fn text(&mut self, text: &str, spot: &Spot<'_>) -> Option<Resolved> {
        let mut resolved = Resolved { text: Zeroizing::new(String::new()), masked: String::new(), whole: false };
        let mut sound = true;
        let mut rest = text;
        while let Some(dollar) = rest.find('$') {
            let (before, behind) = rest.split_at(dollar);
            push(&mut resolved.text, before);
            resolved.masked.push_str(before);
            let behind = &behind[1..];
            rest = match behind.as_bytes().first() {
                Some(b'$') => {
                    push(&mut resolved.text, "$");
                    resolved.masked.push('$');
                    &behind[1..]
                }
                Some(b'{') => {
                    let Some(end) = behind.find('}') else {
                        self.report.error(
                            spot,
                            "a reference '${' is not closed with '}'",
                            "write ${NAME} or ${file:/path}, or $$ for a dollar sign",
                        );
                        return None;
                    };
                    match self.reference(&behind[1..end], spot) {
                        Ok(value) => {
                            resolved.whole |= before.is_empty() && rest.len() == text.len() && end + 1 == behind.len();
                            push(&mut resolved.text, &value);
                            resolved.masked.push_str(MASK);
                        }
                        Err((message, mend)) => {
                            self.report.error(spot, message, mend);
                            sound = false;
                        }
                    }
                    &behind[end + 1..]
                }
                _ => {
                    push(&mut resolved.text, "$");
                    resolved.masked.push('$');
                    behind
                }
            };
        }
        push(&mut resolved.text, rest);
        resolved.masked.push_str(rest);
        sound.then_some(resolved)
    }

    fn reference(&mut self, inner: &str, spot: &Spot<'_>) -> Result<Zeroizing<String>, Broken> {
        if let Some(path) = inner.strip_prefix("file:") {
            return self.file(path, spot);
        }
        let (name, default) = match inner.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inner, None),
        };
        let name = name.strip_prefix("env:").unwrap_or(name);
        if !is_name(name) {
            return Err((
                "a reference names no variable".to_owned(),
                "write ${NAME}, ${NAME:-default} or ${file:/path}; names have letters, digits and '_'".to_owned(),
            ));
        }
        let value = self.used.entry(name.to_owned()).or_insert_with(|| (self.environment)(name).map(Zeroizing::new));
        match (value, default) {
            (Some(value), None) => Ok(value.clone()),
            // As in a shell, `:-` also stands in for a variable that is set to nothing.
            (Some(value), Some(_)) if !value.is_empty() => Ok(value.clone()),
            (_, Some(default)) => Ok(Zeroizing::new(default.to_owned())),
            (None, None) => {
                let name = plain(name);
                Err((
                    format!("the environment variable {name} is not set"),
                    format!("set it, or give a default: ${{{name}:-text}}"),
                ))
            }
        }
    }

    fn file(&mut self, path: &str, spot: &Spot<'_>) -> Result<Zeroizing<String>, Broken> {
        if path.trim().is_empty() {
            return Err(("a reference names no file".to_owned(), "write ${file:/path}".to_owned()));
        }
        let (full, content) = self.files.read(path.trim());
        self.files.judge_mode(&full, self.report, spot);
        let name = plain(&full.display().to_string());
        let content = content.map_err(|unread| match unread {
            Unread::Missing => (
                format!("there is no file {name}"),
                "create it, or mend the path; a relative one is relative to this file".to_owned(),
            ),
            other => (format!("the file {name} {other}"), "mend the path or the file's permissions".to_owned()),
        })?;
        let text = std::str::from_utf8(&content)
            .map_err(|_| (format!("the file {name} is not UTF-8 text"), "write the secret as text".to_owned()))?;
        let text = text.strip_suffix('\n').map_or(text, |line| line.strip_suffix('\r').unwrap_or(line));
        Ok(Zeroizing::new(text.to_owned()))
    }
}

/// Adds to a text. One that has no room moves, and what is left behind is wiped.
fn push(text: &mut Zeroizing<String>, more: &str) {
    if text.capacity() - text.len() < more.len() {
        let mut roomier = Zeroizing::new(String::with_capacity(2 * (text.len() + more.len())));
        roomier.push_str(text);
        *text = roomier;
    }
    text.push_str(more);
}

fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::source::Source;
    use crate::config::tree::{Marks, parse};

    fn resolve(yaml: &str) -> (Node, Vec<String>) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("secret"), "from file\n\n").unwrap();
        std::fs::write(folder.path().join("crlf"), "crlf\r\n").unwrap();
        std::fs::write(folder.path().join("raw"), b"\xff").unwrap();
        for name in ["secret", "crlf", "raw"] {
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
            std::fs::set_permissions(folder.path().join(name), mode).unwrap();
        }
        let mut root = parse(&Source::new(yaml.as_bytes()).0, Marks::None).0.unwrap();
        let (mut files, mut report) = (Files::new(folder.path().to_owned()), Report::default());
        let environment = |name: &str| match name {
            "A" => Some("alpha".to_owned()),
            "EMPTY" => Some(String::new()),
            "NESTED" => Some("${A}".to_owned()),
            _ => None,
        };
        References::new(&environment, &mut files, &mut report).resolve(&mut root);
        let problems = report.into_findings().0.into_iter().map(|f| format!("{}: {}", f.path, f.message)).collect();
        (root, problems)
    }

    #[test]
    fn references_are_replaced_inside_text() {
        for (written, meant, whole) in [
            ("${A}", "alpha", true),
            ("${env:A}", "alpha", true),
            ("x${A}y${A}", "xalphayalpha", false),
            ("${A}${A}", "alphaalpha", false),
            ("${B:-be ta}", "be ta", true),
            ("${env:B:-}", "", true),
            ("${EMPTY:-full}", "full", true),
            ("${EMPTY}", "", true),
            ("${NESTED}", "${A}", true),
            ("${file:secret}", "from file\n", true),
            ("${file:crlf}", "crlf", true),
        ] {
            let (root, problems) = resolve(&format!("k: '{written}'\n"));
            assert_eq!(problems, Vec::<String>::new(), "{written}");
            let Value::Resolved(resolved) = &root.get("k").unwrap().value else { panic!("{written}") };
            assert_eq!((resolved.text.as_str(), resolved.whole), (meant, whole), "{written}");
            assert!(!resolved.masked.contains("alpha"), "{written}");
        }
    }

    #[test]
    fn a_dollar_is_a_dollar_unless_it_begins_a_reference() {
        for (written, meant) in
            [("pa$$word", "pa$word"), ("$", "$"), ("a$b$", "a$b$"), ("$${A}", "${A}"), ("^/v[0-9]+$", "^/v[0-9]+$")]
        {
            let (root, problems) = resolve(&format!("k: '{written}'\n"));
            assert_eq!(problems, Vec::<String>::new());
            assert!(matches!(&root.get("k").unwrap().value, Value::Text(text) if text == meant), "{written}");
        }
    }

    #[test]
    fn every_broken_reference_is_told_by_its_field() {
        let (_, problems) = resolve(
            "a: ${B}\nb: ['${C} ${D}', '${A', '${file:none}']\nc: ${no name}\nd: ${file:raw}\nx-free: ${B}\ne: ${}\n",
        );
        let tail: Vec<_> = problems.iter().map(|p| p.split(" /").next().unwrap_or(p)).collect();
        assert_eq!(
            tail,
            [
                "a: the environment variable B is not set",
                "b[0]: the environment variable C is not set",
                "b[0]: the environment variable D is not set",
                "b[1]: a reference '${' is not closed with '}'",
                "b[2]: there is no file",
                "c: a reference names no variable",
                "d: the file",
                "e: a reference names no variable",
            ]
        );
    }
}
