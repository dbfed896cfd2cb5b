//! What is wrong with a value, told without the value.

use std::fmt;

use serde::de::{self, Expected, Unexpected};

use crate::config::nearest::nearest;
use crate::config::spot::Step;

/// Stands between message and mend in the text of a custom error.
pub(crate) const MEND: char = '\u{1f}';

/// An error of the typed reading.
#[derive(Debug)]
pub(crate) struct Fault(Box<Inner>);

#[derive(Debug)]
struct Inner {
    /// From the place of the error upwards.
    steps: Vec<Step>,
    at_key: bool,
    kind: Kind,
}

/// What is wrong.
#[derive(Debug)]
pub(crate) enum Kind {
    /// A field that must be there.
    Missing(&'static str),
    /// A field that is not known.
    Unknown { key: String, expected: &'static [&'static str] },
    /// Anything else.
    Other { message: String, mend: String },
}

impl Fault {
    fn new(kind: Kind) -> Self {
        Self(Box::new(Inner { steps: Vec::new(), at_key: false, kind }))
    }

    /// A fault in words.
    pub(crate) fn told(message: impl Into<String>, mend: impl Into<String>) -> Self {
        Self::new(Kind::Other { message: message.into(), mend: mend.into() })
    }

    /// A value of the wrong kind.
    pub(crate) fn mismatch(expected: &dyn Expected, found: &str) -> Self {
        let wanted = in_words(expected);
        let mend = match (wanted.as_str(), found) {
            ("text", "a list" | "a map") => {
                "write one value; put text that begins with '{' or '[' into quotes".to_owned()
            }
            ("text", "nothing") => "write a value, or take the field out".to_owned(),
            ("a list", _) => "write [VALUE] or one '- VALUE' a line".to_owned(),
            ("a map", _) => "write {name: value} or one 'name: value' a line".to_owned(),
            ("a whole number", "text") => "write the number without unit and quotes".to_owned(),
            _ => format!("write {wanted}"),
        };
        Self::told(format!("must be {wanted}, not {found}"), mend)
    }

    /// Notes that the fault lies below this step.
    pub(crate) fn below(mut self, step: Step) -> Self {
        self.0.steps.push(step);
        self
    }

    /// Notes that the fault is that of a key.
    pub(crate) fn of_key(mut self, key: &str) -> Self {
        self.0.at_key = true;
        self.below(Step::Key(key.to_owned()))
    }

    /// The way down to it.
    pub(crate) fn way(&self) -> Vec<Step> {
        self.0.steps.iter().rev().cloned().collect()
    }

    pub(crate) fn is_at_key(&self) -> bool {
        self.0.at_key
    }

    pub(crate) fn kind(&self) -> &Kind {
        &self.0.kind
    }
}

/// serde's names for what it wants, as people say them.
fn in_words(expected: &dyn Expected) -> String {
    let text = expected.to_string();
    match text.as_str() {
        "a string" | "string" | "a borrowed string" | "a character" => "text".to_owned(),
        "u8" | "u16" | "u32" | "u64" | "usize" | "i8" | "i16" | "i32" | "i64" | "isize" | "an integer" => {
            "a whole number".to_owned()
        }
        "f32" | "f64" | "a float" => "a number".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a sequence" | "sequence" => "a list".to_owned(),
        "a map" | "map" => "a map".to_owned(),
        _ if text.starts_with("struct ") => "a map".to_owned(),
        _ if text.starts_with("a nonzero") => "a whole number above 0".to_owned(),
        _ => text,
    }
}

fn kind_of(unexpected: &Unexpected<'_>) -> &'static str {
    match unexpected {
        Unexpected::Bool(_) => "true or false",
        Unexpected::Unsigned(_) | Unexpected::Signed(_) => "a number",
        Unexpected::Float(_) => "a fraction",
        Unexpected::Char(_) | Unexpected::Str(_) | Unexpected::Bytes(_) => "text",
        Unexpected::Unit | Unexpected::Option => "nothing",
        Unexpected::Seq => "a list",
        Unexpected::Map | Unexpected::NewtypeStruct => "a map",
        _ => "something else",
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.kind {
            Kind::Missing(field) => write!(f, "`{field}` is missing"),
            Kind::Unknown { .. } => f.write_str("unknown field"),
            Kind::Other { message, .. } => f.write_str(message),
        }
    }
}

impl std::error::Error for Fault {}

impl de::Error for Fault {
    fn custom<T: fmt::Display>(text: T) -> Self {
        let text = text.to_string();
        match text.split_once(MEND) {
            Some((message, mend)) => Self::told(message, mend),
            None => Self::told(text, ""),
        }
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::mismatch(expected, kind_of(&unexpected))
    }

    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let wanted = in_words(expected);
        let range = match expected.to_string().as_str() {
            "u8" => " up to 255",
            "u16" => " up to 65535",
            "u32" => " up to 4294967295",
            "u64" | "usize" => " not below 0",
            "a nonzero u32" if matches!(unexpected, Unexpected::Unsigned(1..)) => ", at most 4294967295",
            _ => "",
        };
        Self::told(format!("must be {wanted}{range}"), format!("write {wanted}{range}"))
    }

    fn invalid_length(_: usize, expected: &dyn Expected) -> Self {
        let wanted = in_words(expected);
        Self::told(format!("must be {wanted}"), format!("write {wanted}"))
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let mend = match nearest(variant, expected.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "write one of them".to_owned(),
        };
        Self::told(format!("must be {}", one_of(expected)), mend)
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self::new(Kind::Unknown { key: field.to_owned(), expected })
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(Kind::Missing(field))
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::told(format!("`{field}` is here twice"), "keep one of the two")
    }
}

/// `` `a`, `b` or `c` ``.
pub(crate) fn one_of(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        None => "nothing".to_owned(),
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
    }
}
