//! Where in the document something is: a chain on the stack while walking, a path once it is told.

use std::fmt;

/// One step down.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    /// Into a map.
    Key(String),
    /// Into a list.
    Index(usize),
}

/// A place in the document, such as `routes[1].match.path`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Path(pub(crate) Vec<Step>);

impl Path {
    /// The nearest map key at or above this place.
    pub(crate) fn last_key(&self) -> Option<&str> {
        self.0.iter().rev().find_map(|step| match step {
            Step::Key(key) => Some(key.as_str()),
            Step::Index(_) => None,
        })
    }

    /// Reads what [`fmt::Display`] writes, for keys of letters, digits, `_` and `-`.
    pub(crate) fn parse(text: &str) -> Self {
        let mut steps = Vec::new();
        for part in text.split('.').filter(|part| !part.is_empty()) {
            let mut pieces = part.split('[');
            if let Some(key) = pieces.next().filter(|key| !key.is_empty()) {
                steps.push(Step::Key(key.to_owned()));
            }
            steps.extend(pieces.filter_map(|index| index.trim_end_matches(']').parse().ok().map(Step::Index)));
        }
        Self(steps)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.0.iter().enumerate() {
            match step {
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Key(key) => {
                    if at > 0 {
                        f.write_str(".")?;
                    }
                    f.write_str(&key_name(key))?;
                }
            }
        }
        Ok(())
    }
}

/// A key as it may be printed. `{password:hunter2}`, without the space, is a key as a whole: what
/// stands behind the first character that no name has is left out.
pub(crate) fn key_name(key: &str) -> String {
    let odd = |c: char| c.is_whitespace() || matches!(c, ':' | '=' | '"' | '\'' | '@' | ',' | ';' | '{' | '[' | '#');
    match key.find(odd) {
        Some(end) => plain(&key[..end]) + "…",
        None => plain(key),
    }
}

/// A name as it may be printed: one line of printable characters, at most 60 of them.
pub(crate) fn plain(key: &str) -> String {
    let mut out: String = key.chars().take(60).map(|c| if c.is_control() { '?' } else { c }).collect();
    if key.chars().nth(60).is_some() {
        out.push('…');
    }
    out
}

/// A place in the document while it is walked; costs nothing until a problem is found there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spot<'a> {
    parent: Option<&'a Spot<'a>>,
    step: Option<Down<'a>>,
}

#[derive(Clone, Copy, Debug)]
enum Down<'a> {
    Key(&'a str),
    Index(usize),
}

impl<'a> Spot<'a> {
    /// The document.
    pub(crate) const ROOT: Self = Self { parent: None, step: None };

    /// The value under this key.
    pub(crate) fn key(&'a self, key: &'a str) -> Self {
        Self { parent: Some(self), step: Some(Down::Key(key)) }
    }

    /// The element at this place.
    pub(crate) fn index(&'a self, index: usize) -> Self {
        Self { parent: Some(self), step: Some(Down::Index(index)) }
    }

    /// The way from the document to here.
    pub(crate) fn path(&self) -> Path {
        let mut steps = Vec::new();
        let mut spot = Some(self);
        while let Some(Spot { parent, step }) = spot {
            match step {
                Some(Down::Key(key)) => steps.push(Step::Key((*key).to_owned())),
                Some(Down::Index(index)) => steps.push(Step::Index(*index)),
                None => {}
            }
            spot = *parent;
        }
        steps.reverse();
        Path(steps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spot_knows_its_way_and_the_way_reads_back() {
        let (routes, root) = ("routes", Spot::ROOT);
        let spot = root.key(routes);
        let spot = spot.index(1);
        let spot = spot.key("match");
        assert_eq!(spot.path().to_string(), "routes[1].match");
        assert_eq!(Path::parse("routes[1].match"), spot.path());
        assert_eq!(Path::parse(""), Path::default());
    }
}
