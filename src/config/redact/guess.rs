//! A line of a file that is no YAML: keys by their look, values by the key before, and nothing
//! shown where the line may be something else than it looks like.

use std::sync::LazyLock;

use regex::Regex;

use crate::config::redact::{CONTAINERS, FREE, HARMLESS, Item, are_known, constant};
use crate::config::schema::VOCABULARY;

/// The items of a line of which there is no tree: keys by their look, values by the key before.
/// `None` where the line may be the inside of a longer text.
pub(crate) fn guess(before: &[&str], line: &str) -> Vec<Item> {
    static KEY: LazyLock<Regex> =
        LazyLock::new(|| constant(r#"(?:^|[\s{\[,-])(["']?[A-Za-z_][A-Za-z0-9_.-]*["']?)\s*:(?:\s|$)"#));
    if is_inside(before, line) {
        return Vec::new();
    }
    let mut free = {
        let above = ancestors(before, line);
        above.iter().any(|key| FREE.contains(key)) || !are_known(above.iter().rev().copied())
    };
    let column = |byte: usize| u32::try_from(line[..byte].chars().count() + 1).unwrap_or(u32::MAX);
    // A second key stands behind a bracket or, between brackets, a comma; else it is part of a value.
    let key_from = |mut from: usize| loop {
        let found = KEY.captures_at(line, from)?;
        let (whole, name) = (found.get(0)?, found.get(1)?);
        let before = line[..name.start()].trim_end();
        let begins = before.trim_start_matches([' ', '-']).is_empty();
        if begins || before.ends_with(['{', '[']) || (before.ends_with(',') && before.contains(['{', '['])) {
            return Some((whole, name));
        }
        from = name.end();
    };
    let mut items = Vec::new();
    let mut from = 0;
    while let Some((whole, name)) = key_from(from) {
        let key = name.as_str().trim_matches(['"', '\'']);
        items.push(Item {
            column: column(name.start()),
            is_key: true,
            shown: items.is_empty() || VOCABULARY.contains(key),
        });
        let rest = &line[whole.end()..];
        let value = whole.end() + (rest.len() - rest.trim_start_matches([' ', '{', '[']).len());
        let next = key_from(whole.end() - 1).map_or(line.len(), |(_, next)| next.start());
        if value < next && !line[value..].starts_with('#') {
            let ambiguous = matches!(key, "json" | "body" | "token" | "response");
            let shown = HARMLESS.contains(&key) && !ambiguous && !free;
            items.push(Item { column: column(value), is_key: false, shown });
            // Between brackets a value ends at a comma or bracket; what then is not a key is unknown.
            let text = &line[value..next];
            let end = text.find([',', '}', ']']).filter(|_| line[..value].contains(['{', '[']));
            let more = |end: &usize| text[*end..].contains(|c| !matches!(c, ' ' | ',' | ']' | '}' | '[' | '{'));
            if let Some(end) = end.filter(more) {
                items.push(Item { column: column(value + end), is_key: false, shown: false });
            }
        }
        let opens = line[whole.end()..].trim_start().starts_with('{');
        free |= FREE.contains(&key) || (opens && !CONTAINERS.contains(&key));
        from = whole.end() - 1;
    }
    items
}

/// The keys that a line lies under, by indentation.
fn ancestors<'l>(before: &[&'l str], line: &str) -> Vec<&'l str> {
    let indent = |line: &str| line.len() - line.trim_start_matches([' ', '-']).len();
    let mut depth = indent(line);
    let mut keys = Vec::new();
    let told = |line: &str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
    if line.trim_start().starts_with(['{', '[']) {
        // Brackets on a line of their own belong to the key above, whatever the indentation.
        let above = before.iter().rev().find(|above| told(above));
        keys.extend(above.and_then(|above| above.trim_start_matches([' ', '-']).split(':').next()));
    }
    for above in before.iter().rev().filter(|above| told(above)) {
        if indent(above) < depth {
            depth = indent(above);
            keys.extend(above.trim_start_matches([' ', '-']).split(':').next());
        }
    }
    keys
}

/// Whether a line may lie inside of what began above: a quoted text, a block, brackets, or a value
/// that goes on with more indentation.
fn is_inside(before: &[&str], line: &str) -> bool {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let mut quote: Option<char> = None;
    let mut brackets = 0usize;
    for above in before {
        let mut chars = above.char_indices().peekable();
        let mut last = ' ';
        while let Some((_, c)) = chars.next() {
            match quote {
                None if c == '#' && last.is_whitespace() => break,
                None if matches!(c, '"' | '\'') && matches!(last, ' ' | '{' | '[' | ',' | ':' | '\t') => {
                    quote = Some(c);
                }
                Some('"') if c == '\\' => {
                    chars.next();
                }
                Some(open) if c == open => quote = None,
                None if matches!(c, '{' | '[') && matches!(last, ' ' | '{' | '[' | ',' | '\t') => brackets += 1,
                None if matches!(c, '}' | ']') => brackets = brackets.saturating_sub(1),
                _ => {}
            }
            last = c;
        }
    }
    if quote.is_some() || brackets > 0 {
        return true;
    }
    let parent = before
        .iter()
        .rev()
        .filter(|above| !above.trim().is_empty() && !above.trim_start().starts_with('#'))
        .find(|above| indent(above) < indent(line));
    parent.is_some_and(|parent| {
        let parent = parent.find(" #").map_or(*parent, |comment| &parent[..comment]).trim_end();
        let opens = parent.ends_with(':') || parent.ends_with(['{', '[', ',']);
        // `- name: x` is followed by more keys of the same map, two columns further in.
        let item = parent.trim_start().starts_with("- ");
        let same_map = item && indent(parent) + 2 == indent(line) && !parent.ends_with(['|', '>', '-', '+']);
        !(opens || same_map)
    })
}
