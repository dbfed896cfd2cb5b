//! Rust source as text: what of it is code, and which paths it takes into the crate. No parser, but
//! enough of the lexer that comments, literals and tests are not taken for code.

/// One file below `src`.
pub(super) struct Source {
    /// Its path below `src`, with slashes.
    pub(super) place: String,
    /// Comments, literals and test items blanked; lines stay lines.
    pub(super) code: String,
    /// Comments and test items blanked; literals stay.
    pub(super) without_comments: String,
}

impl Source {
    pub(super) fn new(place: &str, text: &str) -> Self {
        let spans = spans(text);
        let comments = spans.iter().filter(|span| span.comment).map(|span| (span.start, span.end)).collect::<Vec<_>>();
        let all = spans.iter().map(|span| (span.start, span.end)).collect::<Vec<_>>();
        let code = blank(text, &all);
        let tests = test_items(&code);
        Self {
            place: place.to_owned(),
            without_comments: blank(&blank(text, &comments), &tests),
            code: blank(&code, &tests),
        }
    }
}

/// Where a comment or a literal stands, in bytes.
struct Span {
    start: usize,
    end: usize,
    comment: bool,
}

fn spans(text: &str) -> Vec<Span> {
    let mut spans = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let after_word = text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let (length, comment) = if rest.starts_with("//") {
            (rest.find('\n').unwrap_or(rest.len()), true)
        } else if rest.starts_with("/*") {
            (block_comment(rest), true)
        } else if let Some(length) = raw_string(rest).filter(|_| !after_word) {
            (length, false)
        } else if rest.starts_with('"') {
            (string(rest), false)
        } else if let Some(length) = character(rest) {
            (length, false)
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
            continue;
        };
        spans.push(Span { start: at, end: at + length, comment });
        at += length;
    }
    spans
}

fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        if text[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                break;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    at
}

fn raw_string(text: &str) -> Option<usize> {
    let open = text.strip_prefix("br").or_else(|| text.strip_prefix("cr")).or_else(|| text.strip_prefix('r'))?;
    let hashes = open.len() - open.trim_start_matches('#').len();
    let body = open[hashes..].strip_prefix('"')?;
    let close = format!("\"{}", "#".repeat(hashes));
    let end = body.find(&close).map_or(body.len(), |end| end + close.len());
    Some(text.len() - body.len() + end)
}

fn string(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// A character literal, not a lifetime.
fn character(text: &str) -> Option<usize> {
    let body = text.strip_prefix('\'')?;
    if let Some(escape) = body.strip_prefix('\\') {
        let first = escape.chars().next()?.len_utf8();
        return escape[first..].find('\'').map(|end| end + first + 3);
    }
    let first = body.chars().next()?.len_utf8();
    body[first..].starts_with('\'').then_some(first + 2)
}

/// Replaces what stands in these places by spaces, and leaves line breaks.
fn blank(text: &str, places: &[(usize, usize)]) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for byte in places.iter().flat_map(|(start, end)| *start..*end) {
        if bytes[byte] != b'\n' {
            bytes[byte] = b' ';
        }
    }
    String::from_utf8(bytes).unwrap()
}

/// Items and statements under `#[cfg(test)]`, in code without comments and literals.
fn test_items(code: &str) -> Vec<(usize, usize)> {
    let mut items = Vec::new();
    let mut from = 0;
    while let Some(found) = code[from..].find("#[cfg(test)]") {
        let start = from + found;
        let end = start + item_length(&code[start..]);
        items.push((start, end));
        from = end;
    }
    items
}

/// To the closing brace or the semicolon that ends the item, attributes before it included.
fn item_length(code: &str) -> usize {
    let mut depth = 0_usize;
    for (at, c) in code.char_indices() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' => depth = depth.saturating_sub(1),
            '}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + 1;
                }
            }
            ';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    code.len()
}

/// The crate's modules that the code names by `crate::` or by climbing out with `super::`, each
/// with its line.
pub(super) fn paths_into_crate(source: &Source) -> Vec<(usize, String)> {
    let depth = depth(&source.place);
    let words = words(&source.code);
    let mut found = Vec::new();
    for (at, (line, word)) in words.iter().enumerate() {
        let root = match *word {
            "crate" => at + 1,
            // The first of a chain that is long enough to reach the root.
            "super" if at < 2 || words[at - 2].1 != "super" => {
                let steps = words[at..].chunks(2).take_while(|c| c.len() == 2 && c[0].1 == "super").count();
                if steps < depth {
                    continue;
                }
                at + 2 * depth - 1
            }
            _ => continue,
        };
        if words.get(root).is_some_and(|(_, word)| *word == "::") {
            found.extend(heads(&words[root + 1..]).into_iter().map(|head| (*line, head.to_owned())));
        }
    }
    found
}

/// How many `super` lead from this file's module to the crate.
fn depth(place: &str) -> usize {
    let folders = place.matches('/').count();
    if place.ends_with("/mod.rs") { folders } else { folders + 1 }
}

/// The first names of a path, or of each path in a group.
fn heads<'c>(words: &[(usize, &'c str)]) -> Vec<&'c str> {
    match words.first() {
        Some((_, "{")) => {}
        Some((_, word)) => return vec![word],
        None => return Vec::new(),
    }
    let mut heads = Vec::new();
    let mut depth = 0;
    let mut before = "";
    for (_, word) in words {
        match *word {
            "{" => depth += 1,
            "}" if depth == 1 => break,
            "}" => depth -= 1,
            "," => {}
            name if depth == 1 && matches!(before, "{" | ",") => heads.push(name),
            _ => {}
        }
        before = word;
    }
    heads
}

/// Identifiers, `::` and single signs, each with its line.
fn words(code: &str) -> Vec<(usize, &str)> {
    let mut words = Vec::new();
    for (line, text) in (1..).zip(code.lines()) {
        let mut rest = text.trim_start();
        while let Some(first) = rest.chars().next() {
            let name = |c: char| c.is_alphanumeric() || c == '_';
            let length = if name(first) {
                rest.find(|c| !name(c)).unwrap_or(rest.len())
            } else if rest.starts_with("::") {
                2
            } else {
                first.len_utf8()
            };
            words.push((line, &rest[..length]));
            rest = rest[length..].trim_start();
        }
    }
    words
}
