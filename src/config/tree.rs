//! The YAML document as a tree that keeps what the typed reading needs: the order of keys, what a
//! plain scalar looked like, and (when asked) where everything stands.
//!
//! The YAML library tells a place only in an error. A visitor that refuses a scalar has consumed
//! it, so the walk can go on behind the refusal; the value is handed over on the side
//! ([`Builder::pending`]) and the place is read from the refusal's text. Numbers are read that way
//! always (their text is kept exact), everything else only once there is a problem to locate.

use std::cell::Cell;
use std::collections::HashSet;
use std::fmt;

use serde::de::{self, DeserializeSeed, EnumAccess, MapAccess, SeqAccess, VariantAccess, Visitor};

use zeroize::Zeroizing;

use crate::config::nearest::nearest;
use crate::config::source::Source;
use crate::config::spot::{Path, Step, key_name};

/// A place in the text, from 1, in characters; 0 where it is not known.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Mark {
    pub(crate) line: u32,
    pub(crate) column: u32,
}

impl Mark {
    /// Nowhere in particular.
    pub(crate) const NONE: Self = Self { line: 0, column: 0 };

    pub(crate) fn new(line: usize, column: usize) -> Self {
        Self { line: u32::try_from(line).unwrap_or(0), column: u32::try_from(column).unwrap_or(0) }
    }

    pub(crate) fn is_known(self) -> bool {
        self.line > 0
    }
}

/// A value of the document.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) value: Value,
    /// Of a scalar; lists and maps have none.
    pub(crate) mark: Mark,
    /// Taken out: a problem was found here, and what else there is to find is found without it.
    pub(crate) out: Cell<bool>,
    /// Read into a secret.
    pub(crate) secret: Cell<bool>,
}

/// What a node is.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Null,
    Bool(bool, Box<str>),
    Int(i128, Box<str>),
    Float(f64, Box<str>),
    Text(String),
    /// A text that had references in it.
    Resolved(Box<Resolved>),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A text whose references were replaced.
#[derive(Clone, Debug)]
pub(crate) struct Resolved {
    /// The text as meant.
    pub(crate) text: Zeroizing<String>,
    /// The text with `***` in place of what came from references.
    pub(crate) masked: String,
    /// Whether it was nothing but one reference, and so is read as its field's type.
    pub(crate) whole: bool,
}

/// A key and its value.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) mark: Mark,
    pub(crate) node: Node,
}

impl Node {
    fn new(value: Value, mark: Mark) -> Self {
        Self { value, mark, out: Cell::new(false), secret: Cell::new(false) }
    }

    /// The value under a key of a map.
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.node)
    }

    fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.key == key)
    }

    /// Whether a field of this map that is not to be had has been told of: its value was wrong, or
    /// another name stands here that was meant to be this one.
    pub(crate) fn told_of(&self, field: &str) -> bool {
        self.entries().iter().any(|entry| entry.node.out.get() && nearest(&entry.key, [field]).is_some())
    }

    /// The entries of a map; none of anything else.
    pub(crate) fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The elements of a list; none of anything else.
    pub(crate) fn elements(&self) -> &[Node] {
        match &self.value {
            Value::List(elements) => elements,
            _ => &[],
        }
    }

    /// The text of a scalar.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Bool(_, text) | Value::Int(_, text) | Value::Float(_, text) => Some(text),
            Value::Text(text) => Some(text),
            Value::Resolved(resolved) => Some(&resolved.text),
            Value::Null | Value::List(_) | Value::Map(_) => None,
        }
    }

    fn step(&self, step: &Step) -> Option<&Node> {
        match step {
            Step::Key(key) => self.get(key),
            Step::Index(index) => self.elements().get(*index),
        }
    }

    /// The node at the end of a path.
    pub(crate) fn at(&self, path: &Path) -> Option<&Node> {
        path.0.iter().try_fold(self, |node, step| node.step(step))
    }

    /// Where the key at the end of a path stands.
    pub(crate) fn key_mark(&self, path: &Path) -> Option<Mark> {
        let (last, above) = path.0.split_last()?;
        let Step::Key(key) = last else { return None };
        above.iter().try_fold(self, |node, step| node.step(step))?.entry(key).map(|entry| entry.mark)
    }

    /// What it is, in words.
    pub(crate) fn kind(&self) -> &'static str {
        match &self.value {
            Value::Null => "nothing",
            Value::Bool(..) => "true or false",
            Value::Int(..) | Value::Float(..) => "a number",
            Value::Text(_) | Value::Resolved(_) => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }
}

/// Something in the document that is YAML but not taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Flaw {
    pub(crate) mark: Mark,
    pub(crate) path: Path,
    pub(crate) message: String,
    pub(crate) mend: String,
}

/// Whether places are wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Marks {
    /// Not yet: the quick way.
    None,
    /// Of every key and scalar.
    All,
}

/// More values than this are no configuration (and aliases can make many of a few lines).
const MOST_NODES: usize = 1_000_000;

/// More text than this cannot stand in a file that is not too large itself; aliases can make any
/// amount of a long text.
const MOST_TEXT: usize = 2 * crate::config::source::MOST_BYTES;

/// Reads the document, with everything in it that is not taken. No document: the text is not YAML.
pub(crate) fn parse(source: &Source, marks: Marks) -> (Option<Node>, Vec<Flaw>) {
    let mut documents = serde_yaml::Deserializer::from_str(source.text());
    let mut builder = Builder {
        source,
        marks,
        pending: None,
        nodes: 0,
        text: 0,
        path: Vec::new(),
        flaws: Vec::new(),
        tagged: false,
        stop: None,
    };
    let Some(first) = documents.next() else {
        return (Some(Node::new(Value::Null, Mark::NONE)), Vec::new());
    };
    let root = match (NodeSeed { builder: &mut builder }).deserialize(first) {
        Ok(root) => root,
        Err(error) => {
            let flaw = builder.stop.take().unwrap_or_else(|| syntax(source, &error));
            builder.flaws.push(flaw);
            return (None, builder.flaws);
        }
    };
    if documents.next().is_some() {
        builder.flaws.push(Flaw {
            mark: source.second_document(),
            path: Path::default(),
            message: "a second document begins here".to_owned(),
            mend: "keep one document in the file: take '---' and what follows out".to_owned(),
        });
    }
    let unplaced = builder.flaws.iter().any(|flaw| !flaw.mark.is_known());
    let flaws = builder.flaws;
    if unplaced && marks == Marks::None {
        return (Some(root), parse(source, Marks::All).1);
    }
    (Some(root), flaws)
}

/// The library's syntax errors hold no text of the file; still, only those known are passed on.
fn syntax(source: &Source, error: &serde_yaml::Error) -> Flaw {
    const SHAPE: &str = "check the indentation here, and that every quote and bracket above is closed";
    let text = error.to_string();
    let knows = |part: &str| text.contains(part);
    let mark = error.location().map_or(Mark::NONE, |l| Mark::new(l.line(), l.column()));
    let sign = || source.line(mark.line as usize)?.chars().nth((mark.column as usize).checked_sub(1)?);
    let (message, mend) = if knows("mapping values are not allowed") {
        ("a key is not allowed here", "check the indentation, and put a value that holds ': ' into quotes")
    } else if knows("cannot start any token") && sign() == Some('\t') {
        ("a tab cannot indent", "indent with spaces")
    } else if knows("cannot start any token") {
        ("a value cannot begin so", "put a value that begins with @, % or ` into quotes")
    } else if knows("unexpected end of stream") || knows("unexpected document indicator") {
        ("a quote is not closed", "close it with the same quote that it begins with")
    } else if knows("expected ',' or") || knows("flow") {
        (
            "a '{' or '[' is not closed, or something between is not in quotes",
            "close it, separate with ',', and put references between brackets into quotes: \"${NAME}\"",
        )
    } else if knows("unknown escape") || knows("escape") {
        ("a backslash in double quotes begins no known escape", "double the backslash, or use single quotes")
    } else if knows("unknown anchor") {
        (
            "an alias names no anchor before it",
            "define it above with '&NAME', or put a value that begins with '*' into quotes",
        )
    } else if knows("recursion limit") {
        ("this is nested too deep", "nest less; an anchor must not hold itself")
    } else if knows("repetition limit") {
        ("aliases are repeated too often", "write out what the aliases stand for")
    } else if knows("could not find expected ':'") {
        ("a key has no ':'", "write 'key: value', and check the indentation")
    } else if knows("tab") {
        ("a tab cannot indent", "indent with spaces")
    } else {
        ("this is not valid YAML", SHAPE)
    };
    // At its end the scanner points behind the last line: the last one that has text says more.
    let mut line = mark.line as usize;
    while line > 1 && source.line(line).is_none_or(|text| text.trim().is_empty()) {
        line -= 1;
    }
    let mark = if line == mark.line as usize {
        mark
    } else {
        Mark::new(line, source.line(line).map_or(0, |text| text.trim_end().chars().count()) + 1)
    };
    Flaw { mark, path: Path::default(), message: message.to_owned(), mend: mend.to_owned() }
}

struct Builder<'s> {
    source: &'s Source,
    marks: Marks,
    /// A scalar that was refused only so that the refusal tells its place.
    pending: Option<Value>,
    nodes: usize,
    /// Bytes of all texts.
    text: usize,
    path: Vec<Step>,
    flaws: Vec<Flaw>,
    /// The node just read had a tag.
    tagged: bool,
    /// Why the walk ended early.
    stop: Option<Flaw>,
}

impl Builder<'_> {
    fn flaw(&mut self, mark: Mark, message: impl Into<String>, mend: impl Into<String>) {
        if self.flaws.len() < 100 {
            let path = Path(self.path.clone());
            self.flaws.push(Flaw { mark, path, message: message.into(), mend: mend.into() });
        }
    }

    /// The exact text of a plain scalar, where it is one; `canonical` for the rest (`!!int "7"`).
    fn exact(&self, mark: Mark, canonical: &str) -> Box<str> {
        let line = self.source.line(mark.line as usize).unwrap_or_default();
        let rest: String = line
            .chars()
            .skip((mark.column as usize).saturating_sub(1))
            .take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.' | '_'))
            .collect();
        if rest.is_empty() { canonical.into() } else { rest.into() }
    }
}

struct NodeSeed<'b, 's> {
    builder: &'b mut Builder<'s>,
}

impl<'de> DeserializeSeed<'de> for NodeSeed<'_, '_> {
    type Value = Node;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        match deserializer.deserialize_any(NodeVisitor { builder: &mut *self.builder }) {
            Ok(node) => Ok(node),
            Err(refusal) => {
                let Some(mut value) = self.builder.pending.take() else { return Err(refusal) };
                let mark = place_told_by(&refusal);
                if let Value::Bool(_, text) | Value::Int(_, text) | Value::Float(_, text) = &mut value {
                    *text = self.builder.exact(mark, text);
                }
                Ok(Node::new(value, mark))
            }
        }
    }
}

/// `... at line 3 column 5`; the very first character is told by silence.
fn place_told_by(refusal: &impl fmt::Display) -> Mark {
    let text = refusal.to_string();
    let told = text.rsplit_once(" at line ").and_then(|(_, place)| {
        let (line, column) = place.split_once(" column ")?;
        Some(Mark::new(line.parse().ok()?, column.parse().ok()?))
    });
    told.unwrap_or(Mark { line: 1, column: 1 })
}

struct NodeVisitor<'b, 's> {
    builder: &'b mut Builder<'s>,
}

impl NodeVisitor<'_, '_> {
    fn refuse<E: de::Error>(mut self, value: Value) -> Result<Node, E> {
        self.count()?;
        self.builder.pending = Some(value);
        Err(E::custom("place"))
    }

    fn take<E: de::Error>(mut self, value: Value) -> Result<Node, E> {
        if self.builder.marks == Marks::All {
            return self.refuse(value);
        }
        self.count()?;
        Ok(Node::new(value, Mark::NONE))
    }

    fn count<E: de::Error>(&mut self) -> Result<(), E> {
        self.builder.nodes += 1;
        if self.builder.nodes > MOST_NODES {
            let mend = "a configuration may have a million; aliases count each time";
            return self.stop("the file has too many values", mend);
        }
        Ok(())
    }

    /// Counts a text.
    fn measure<E: de::Error>(&mut self, text: &str) -> Result<(), E> {
        self.builder.text += text.len();
        if self.builder.text > MOST_TEXT {
            let mend = "a configuration may have 32 MiB; aliases count each time";
            return self.stop("the file's values are too long", mend);
        }
        Ok(())
    }

    fn stop<E: de::Error>(&mut self, message: &str, mend: &str) -> Result<(), E> {
        let (message, mend) = (message.to_owned(), mend.to_owned());
        self.builder.stop = Some(Flaw { mark: Mark::NONE, path: Path::default(), message, mend });
        Err(E::custom("too much"))
    }
}

impl<'de> Visitor<'de> for NodeVisitor<'_, '_> {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("YAML")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Node, E> {
        self.take(Value::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Node, E> {
        // The empty document: there is no event whose place could be told.
        Ok(Node::new(Value::Null, Mark::NONE))
    }

    fn visit_bool<E: de::Error>(self, v: bool) -> Result<Node, E> {
        self.refuse(Value::Bool(v, v.to_string().into()))
    }

    fn visit_u64<E: de::Error>(self, v: u64) -> Result<Node, E> {
        self.visit_i128(v.into())
    }

    fn visit_i64<E: de::Error>(self, v: i64) -> Result<Node, E> {
        self.visit_i128(v.into())
    }

    fn visit_i128<E: de::Error>(self, v: i128) -> Result<Node, E> {
        self.refuse(Value::Int(v, v.to_string().into()))
    }

    fn visit_u128<E: de::Error>(self, v: u128) -> Result<Node, E> {
        match i128::try_from(v) {
            Ok(v) => self.visit_i128(v),
            #[expect(clippy::cast_precision_loss, reason = "only its text is of use, and that is kept exact")]
            Err(_) => self.refuse(Value::Float(v as f64, v.to_string().into())),
        }
    }

    fn visit_f64<E: de::Error>(self, v: f64) -> Result<Node, E> {
        self.refuse(Value::Float(v, v.to_string().into()))
    }

    fn visit_str<E: de::Error>(mut self, v: &str) -> Result<Node, E> {
        self.measure(v)?;
        self.take(Value::Text(v.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<Node, A::Error> {
        self.count()?;
        let mut elements = Vec::new();
        loop {
            self.builder.path.push(Step::Index(elements.len()));
            let element = seq.next_element_seed(NodeSeed { builder: &mut *self.builder })?;
            self.builder.path.pop();
            match element {
                Some(element) => elements.push(element),
                None => return Ok(Node::new(Value::List(elements), Mark::NONE)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Node, A::Error> {
        self.count()?;
        let builder = self.builder;
        let mut entries: Vec<Entry> = Vec::new();
        let mut seen: HashSet<String> = HashSet::new();
        builder.tagged = false;
        while let Some(key) = map.next_key_seed(NodeSeed { builder: &mut *builder })? {
            let mark = key.mark;
            // `!key: value` without a space behind '!key:' is a tag and a key; that has been told, and
            // what is the key then may be what was meant as a secret value.
            let name = key.text().map(str::to_owned).filter(|_| !builder.tagged);
            let tagged = std::mem::take(&mut builder.tagged);
            builder.path.push(Step::Key(name.clone().unwrap_or_default()));
            let node = map.next_value_seed(NodeSeed { builder: &mut *builder })?;
            builder.tagged = false;
            let flaw = match &name {
                None if tagged => None,
                None => Some((format!("a key must be text, not {}", key.kind()), "write 'name: value'")),
                Some(name) if name == "<<" => Some((
                    "merge keys ('<<') are not supported".to_owned(),
                    "write the fields out, use 'defaults', or repeat a whole value with '&NAME' and '*NAME'",
                )),
                Some(name) if !seen.insert(name.clone()) => {
                    Some((format!("the key `{}` is here twice", key_name(name)), "keep one of the two"))
                }
                Some(_) => None,
            };
            let taken = name.is_some() && flaw.is_none();
            if name.is_none() {
                builder.path.pop();
            }
            if let Some((message, mend)) = flaw {
                builder.flaw(mark, message, mend);
            }
            if name.is_some() {
                builder.path.pop();
            }
            let name = name.unwrap_or_default();
            if taken {
                entries.push(Entry { key: name, mark, node });
            } else if builder.marks == Marks::All {
                // Under a key that nothing asks for: what is not taken stands on its line all the same.
                entries.push(Entry { key: format!("\0{name}"), mark, node });
            }
        }
        Ok(Node::new(Value::Map(entries), Mark::NONE))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, data: A) -> Result<Node, A::Error> {
        let (_tag, variant): (String, _) = data.variant()?;
        let node = variant.newtype_variant_seed(NodeSeed { builder: &mut *self.builder })?;
        self.builder.tagged = true;
        self.builder.flaw(
            node.mark,
            "tags ('!name') are not supported",
            "take the tag out, or put the value into quotes",
        );
        Ok(node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> (Option<Node>, Vec<Flaw>) {
        parse(&Source::new(text.as_bytes()).0, Marks::All)
    }

    fn quick(text: &str) -> (Option<Node>, Vec<Flaw>) {
        parse(&Source::new(text.as_bytes()).0, Marks::None)
    }

    #[test]
    fn every_key_and_scalar_knows_its_place() {
        let text = "a: b\nlist:\n  - x\n  - {y: 007, z: 'q'}\n\u{e9}: \"w\"\nend: ~\n";
        let (root, flaws) = all(text);
        let root = root.unwrap();
        assert_eq!(flaws, []);
        let mark = |path: &str| root.at(&Path::parse(path)).unwrap().mark;
        assert_eq!(mark("a"), Mark::new(1, 4));
        assert_eq!(mark("list[0]"), Mark::new(3, 5));
        assert_eq!(mark("list[1].y"), Mark::new(4, 9));
        assert_eq!(mark("list[1].z"), Mark::new(4, 17));
        assert_eq!(root.get("\u{e9}").unwrap().mark, Mark::new(5, 4));
        assert_eq!(root.key_mark(&Path::parse("list[1].z")), Some(Mark::new(4, 14)));
        assert_eq!(root.key_mark(&Path::parse("a")), Some(Mark::new(1, 1)));
        assert_eq!(mark("end"), Mark::new(6, 6));
    }

    #[test]
    fn numbers_keep_their_text() {
        let (root, _) = quick("a: 1.10\nb: 0x1F\nc: +5\nd: 12345678901234567890123\ne: [1e3, True]\nf: 007\n");
        let root = root.unwrap();
        for (path, text) in [
            ("a", "1.10"),
            ("b", "0x1F"),
            ("c", "+5"),
            ("d", "12345678901234567890123"),
            ("e[0]", "1e3"),
            ("e[1]", "True"),
            ("f", "007"),
        ] {
            assert_eq!(root.at(&Path::parse(path)).unwrap().text(), Some(text));
        }
    }

    #[test]
    fn all_duplicate_keys_are_found_where_they_stand() {
        let (_, flaws) = quick("a: 1\nb:\n  c: x\n  c: y\na: 2\nb: {d: 1, d: 2}\n");
        let places: Vec<_> = flaws.iter().map(|flaw| (flaw.path.to_string(), flaw.mark)).collect();
        assert_eq!(
            places,
            [
                ("b.c".to_owned(), Mark::new(4, 3)),
                ("a".to_owned(), Mark::new(5, 1)),
                ("b.d".to_owned(), Mark::new(6, 11)),
                ("b".to_owned(), Mark::new(6, 1)),
            ]
        );
    }

    #[test]
    fn merge_keys_tags_and_odd_keys_are_named() {
        for (text, message, mark) in [
            ("a: &x {b: 1}\nc:\n  <<: *x\n", "merge keys", Mark::new(3, 3)),
            ("a: !secret hunter2\n", "tags", Mark::new(1, 4)),
            ("? [a, b]\n: c\n", "a key must be text, not a list", Mark::NONE),
            ("a: b\n---\nc: d\n", "a second document", Mark::new(2, 1)),
        ] {
            let (_, flaws) = quick(text);
            assert!(flaws[0].message.contains(message), "{text}: {flaws:?}");
            assert_eq!(flaws[0].mark, mark, "{text}");
        }
    }

    #[test]
    fn syntax_errors_have_their_place() {
        for (text, line, column, message) in [
            ("a: b\n c: d\n", 2, 3, "a key is not allowed here"),
            ("a: b: c\n", 1, 5, "a key is not allowed here"),
            ("a: {b: ${X}}\n", 1, 9, "'{'"),
            ("a: \"x\nb: c\n", 2, 5, "a quote is not closed"),
            ("a:\n\tb: c\n", 2, 1, "a tab cannot indent"),
            ("a: @b\n", 1, 4, "begin so"),
            ("a: *x\n", 1, 4, "alias"),
            ("a: [b\n", 1, 6, "'['"),
        ] {
            let (root, flaws) = quick(text);
            assert!(root.is_none(), "{text}");
            assert_eq!((flaws[0].mark.line, flaws[0].mark.column), (line, column), "{text:?} {flaws:?}");
            assert!(flaws[0].message.contains(message) || flaws[0].mend.contains(message), "{text:?} {flaws:?}");
        }
    }

    #[test]
    fn a_bomb_is_refused_quickly() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..9 {
            let before = format!("*a{},", level - 1).repeat(9);
            text.extend([format!("a{level}: &a{level} [{before}]\n")]);
        }
        assert!(quick(&text).0.is_none());
        assert!(quick("a: &a [*a]\n").0.is_none());
    }

    #[test]
    fn an_empty_document_is_nothing() {
        for text in ["", "\n", "# only a comment\n", "---\n"] {
            assert!(matches!(quick(text).0.unwrap().value, Value::Null), "{text:?}");
        }
    }
}
