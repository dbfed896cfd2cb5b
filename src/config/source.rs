//! The text of the file: what may be read at all, and its lines as the YAML scanner counts them.

use zeroize::Zeroizing;

use crate::config::tree::Mark;

/// Ten thousand routes are about 2 MiB.
pub(crate) const MOST_BYTES: usize = 16 << 20;

/// Deeper nesting of `[` and `{` costs the scanner time that grows with its square.
const DEEPEST: usize = 200;

/// Why a file is not taken as text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Unreadable {
    pub(crate) mark: Mark,
    pub(crate) message: &'static str,
    pub(crate) mend: &'static str,
}

/// The file's text, less a byte order mark.
#[derive(Debug)]
pub(crate) struct Source {
    /// Secrets may stand in it.
    text: Zeroizing<String>,
    /// Byte range of each line, without its end.
    lines: Vec<(usize, usize)>,
}

impl Source {
    /// Takes the file's bytes as text. Even what is refused has lines as far as it is text.
    pub(crate) fn new(bytes: &[u8]) -> (Self, Result<(), Unreadable>) {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        if bytes.len() > MOST_BYTES {
            let mend = "a configuration may have up to 16 MiB";
            return (Self::of(""), Err(Unreadable { mark: Mark::NONE, message: "the file is too large", mend }));
        }
        if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
            let mend = "save the file as UTF-8";
            return (Self::of(""), Err(Unreadable { mark: Mark::NONE, message: "the file is UTF-16", mend }));
        }
        match std::str::from_utf8(bytes) {
            Ok(text) => {
                let source = Self::of(text);
                let verdict = source.scan();
                (source, verdict)
            }
            Err(error) => {
                let source = Self::of(&String::from_utf8_lossy(&bytes[..error.valid_up_to()]));
                let mark = source.mark_at(source.text.len());
                let (message, mend) = ("here is a byte that is not UTF-8", "save the file as UTF-8");
                (source, Err(Unreadable { mark, message, mend }))
            }
        }
    }

    fn of(text: &str) -> Self {
        let mut lines = Vec::new();
        let mut start = 0;
        let mut chars = text.char_indices().peekable();
        while let Some((at, c)) = chars.next() {
            // The breaks that the scanner counts (YAML 1.1 section 5.4).
            let mut end = at + c.len_utf8();
            match c {
                '\r' => {
                    if let Some((next, _)) = chars.next_if(|(_, c)| *c == '\n') {
                        end = next + 1;
                    }
                }
                '\n' | '\u{85}' | '\u{2028}' | '\u{2029}' => {}
                _ => continue,
            }
            lines.push((start, at));
            start = end;
        }
        lines.push((start, text.len()));
        Self { text: Zeroizing::new(text.to_owned()), lines }
    }

    /// What the scanner would refuse without saying where, or take too long over.
    fn scan(&self) -> Result<(), Unreadable> {
        let mut depth = 0usize;
        for (at, c) in self.text.char_indices() {
            let message = match c {
                '\0' => "here is a NUL character",
                '\t' | '\n' | '\r' | '\u{85}' => continue,
                c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => "here is a control character",
                '[' | '{' => {
                    depth += 1;
                    if depth <= DEEPEST {
                        continue;
                    }
                    "brackets are nested too deep"
                }
                ']' | '}' => {
                    depth = depth.saturating_sub(1);
                    continue;
                }
                _ => continue,
            };
            let mend = if depth > DEEPEST { "close them, or nest less" } else { "take it out" };
            return Err(Unreadable { mark: self.mark_at(at), message, mend });
        }
        Ok(())
    }

    /// The whole text.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// A line, from 1.
    pub(crate) fn line(&self, number: usize) -> Option<&str> {
        let (start, end) = *self.lines.get(number.checked_sub(1)?)?;
        self.text.get(start..end)
    }

    /// The line and column of a byte.
    fn mark_at(&self, byte: usize) -> Mark {
        let line = self.lines.partition_point(|(start, _)| *start <= byte).max(1);
        let start = self.lines.get(line - 1).map_or(0, |(start, _)| *start);
        let column = self.text.get(start..byte).map_or(0, |s| s.chars().count()) + 1;
        Mark::new(line, column)
    }

    /// The line on which a second document begins: the first `---` after something else than comments.
    pub(crate) fn second_document(&self) -> Mark {
        let marks = |line: &str, mark: &str| {
            line.strip_prefix(mark).is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace))
        };
        let mut begun = false;
        for number in 1..=self.lines.len() {
            let line = self.line(number).unwrap_or_default();
            if begun && marks(line, "---") {
                return Mark::new(number, 1);
            }
            let bare = line.trim();
            begun |= !(bare.is_empty() || bare.starts_with('#') || bare.starts_with('%'));
        }
        Mark::NONE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_as_the_scanner_counts_them() {
        let (source, verdict) = Source::new("\u{feff}a\r\nb\rc\u{2028}d\n".as_bytes());
        assert!(verdict.is_ok());
        assert_eq!((1..=5).map(|n| source.line(n).unwrap()).collect::<Vec<_>>(), ["a", "b", "c", "d", ""]);
        assert_eq!(source.line(0), None);
        assert_eq!(source.line(6), None);
    }

    #[test]
    fn what_is_no_text_is_refused_where_it_stops_being_text() {
        for (bytes, mark) in [
            (&b"a: b\nc: \xff\n"[..], Mark::new(2, 4)),
            (b"a: \0", Mark::new(1, 4)),
            (b"a: b\n\x1b: c", Mark::new(2, 1)),
            (b"\xff\xfea\0", Mark::NONE),
        ] {
            assert_eq!(Source::new(bytes).1.unwrap_err().mark, mark);
        }
        let deep = "[".repeat(100_000);
        assert_eq!(Source::new(deep.as_bytes()).1.unwrap_err().mark, Mark::new(1, DEEPEST + 1));
        assert!(Source::new(&vec![b' '; MOST_BYTES + 1]).1.is_err());
    }
}
