//! From the tree to the typed file: a serde deserializer whose errors hold no value of the file
//! and know their place, and a reading that goes on behind each error.

mod fault;
mod hint;
mod reader;

pub(crate) use fault::{Fault, MEND, one_of};
pub(crate) use reader::{Keep, Reader};

use crate::config::nearest::nearest;
use crate::config::report::Report;
use crate::config::spot::{Path, Spot, Step, key_name};
use crate::config::tree::{Node, Value};
use fault::Kind;

/// Reads a node with every error in it: what is wrong is reported and taken out, and the rest is
/// read again. `None` when what is left is not enough. `known` are further fields to suggest.
pub(crate) fn read<'n, T>(
    node: &'n Node,
    keep: Keep<'n>,
    known: &[&str],
    spot: &Spot<'_>,
    report: &mut Report,
    parse: impl Fn(Reader<'n>) -> Result<T, Fault>,
) -> Option<T> {
    loop {
        let fault = match parse(Reader::new(node, keep)) {
            Ok(value) => return Some(value),
            Err(fault) => fault,
        };
        let way = Path(fault.way());
        let culprit = node.at(&way)?;
        tell(&fault, culprit, &way, known, spot, report);
        if way.0.is_empty() || culprit.out.replace(true) {
            return None;
        }
        if let Kind::Unknown { key, expected } = fault.kind()
            && is_piece(culprit, key, expected, known)
            && let Some(map) = node.at(&Path(way.0.split_last().map_or(&[][..], |(_, above)| above).to_vec()))
        {
            take_out_rest(map, key, |key| nearest(key, expected.iter().chain(known).copied()).is_none());
        }
    }
}

/// Whether a field may be a piece of a value: between brackets one in no quotes ends at a comma, and
/// what is behind it reads as a key.
fn is_piece(field: &Node, key: &str, expected: &[&str], known: &[&str]) -> bool {
    matches!(field.value, Value::Null) && nearest(key, expected.iter().chain(known).copied()).is_none()
}

/// Takes the other pieces of a cut value out, and what is left of the value before the first: one
/// mistake is told once.
fn take_out_rest(map: &Node, first: &str, is_odd: impl Fn(&str) -> bool) {
    let entries = map.entries();
    let Some(at) = entries.iter().position(|entry| entry.key == first) else { return };
    let (before, pieces) = entries.split_at(at);
    let pieces = pieces.iter().take_while(|entry| matches!(entry.node.value, Value::Null) && is_odd(&entry.key));
    let cut = before.last().filter(|entry| entry.node.text().is_some());
    for entry in pieces.chain(cut) {
        entry.node.out.set(true);
    }
}

fn tell(fault: &Fault, culprit: &Node, way: &Path, known: &[&str], spot: &Spot<'_>, report: &mut Report) {
    with_spot(spot, &way.0, &mut |spot| match fault.kind() {
        Kind::Missing(field) => {
            if !culprit.told_of(field) {
                report.error_at_key(spot, format!("`{field}` is missing"), format!("add `{field}: ...` here"));
            }
        }
        Kind::Unknown { key, expected } => {
            if is_piece(culprit, key, expected, known) {
                report.error_at_hidden_key(
                    spot,
                    "a field without a value: perhaps the rest of a value with a comma in it",
                    "put such a value in quotes, or better write ${NAME}; or take the field out",
                );
                return;
            }
            let name = key_name(key);
            if key.contains(':') {
                report.error_at_key(spot, format!("unknown field `{name}`"), "put a space behind the ':'");
                return;
            }
            // Those further fields stand beside the ones of the node itself, not below them.
            let known = if way.0.len() == 1 { known } else { &[] };
            let near = nearest(key, expected.iter().copied().chain(known.iter().copied()));
            let mend = match (hint::home(&spot.path()), near) {
                (Some(home), _) => home.to_owned(),
                (None, Some(near)) => format!("did you mean `{near}`?"),
                (None, None) if expected.is_empty() && known.is_empty() => "take it out".to_owned(),
                (None, None) => {
                    let all: Vec<&str> = expected.iter().chain(known).copied().collect();
                    format!("known here: {}", all.join(", "))
                }
            };
            report.error_at_key(spot, format!("unknown field `{name}`"), mend);
        }
        Kind::Other { message, mend } => {
            let (path, shape) =
                (spot.path(), message.starts_with("must be a map") || message.starts_with("must be a list"));
            let better = if shape { hint::example(&path) } else { hint::refusal(&path, culprit.text()) };
            let mend = better.unwrap_or(mend);
            if fault.is_at_key() {
                report.error_at_key(spot, message, mend);
            } else {
                report.error(spot, message, mend);
            }
        }
    });
}

/// Walks `way` down from `spot`, and does `then` there.
pub(crate) fn with_spot(spot: &Spot<'_>, way: &[Step], then: &mut dyn FnMut(&Spot<'_>)) {
    match way.split_first() {
        None => then(spot),
        Some((Step::Key(key), rest)) => with_spot(&spot.key(key), rest, then),
        Some((Step::Index(index), rest)) => with_spot(&spot.index(*index), rest, then),
    }
}

#[cfg(test)]
mod tests;
