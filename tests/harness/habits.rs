//! How different servers read the same bytes as requests: by the letter, leniently, sloppily. Where
//! they disagree about what a proxy sends, somebody can smuggle a request past it.

/// What a server makes of several lengths.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lengths {
    /// Refuses them.
    One,
    First,
    Last,
}

/// Which `Transfer-Encoding` a server takes for chunks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Coding {
    /// `chunked`, once; anything else is refused.
    Exact,
    /// `chunked`, letter for letter; anything else is overlooked.
    ExactOrNone,
    /// Wherever the word stands.
    Contains,
    /// Where it stands last in the list.
    Last,
}

/// Which framing wins where both stand there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Both {
    Refuse,
    Coding,
    Length,
}

/// One server's habits.
#[allow(clippy::struct_excessive_bools, reason = "each is a habit of its own")]
#[derive(Clone, Copy, Debug)]
pub struct Habits {
    pub name: &'static str,
    /// Lines end in CR LF only, names are tokens, control characters are refused.
    pub by_the_letter: bool,
    /// A bare CR ends a line, too.
    pub bare_cr: bool,
    /// A line that begins with a space goes on with the one before it; else it is a line of its own.
    pub folds: bool,
    /// `_` is `-`.
    pub underscores: bool,
    /// Numbers are read as far as they go, after a sign or `0x`.
    pub loose_numbers: bool,
    /// Chunks are heeded in HTTP/1.0.
    pub old_chunks: bool,
    pub lengths: Lengths,
    pub coding: Coding,
    pub both: Both,
}

/// RFC 9112, and nothing that it lets a server tolerate.
pub const STRICT: Habits = Habits {
    name: "strict",
    by_the_letter: true,
    bare_cr: false,
    folds: false,
    underscores: false,
    loose_numbers: false,
    old_chunks: false,
    lengths: Lengths::One,
    coding: Coding::Exact,
    both: Both::Refuse,
};

/// What RFC 9112 lets a server tolerate, and what is widely tolerated.
pub const LENIENT: Habits = Habits {
    name: "lenient",
    by_the_letter: false,
    folds: true,
    lengths: Lengths::First,
    coding: Coding::Contains,
    both: Both::Coding,
    ..STRICT
};

/// Everybody.
pub const ALL: [Habits; 9] = [
    STRICT,
    LENIENT,
    Habits { name: "lenient, last length", lengths: Lengths::Last, ..LENIENT },
    Habits { name: "sloppy, length first", both: Both::Length, loose_numbers: true, ..LENIENT },
    Habits { name: "sloppy, chunked to the letter", coding: Coding::ExactOrNone, loose_numbers: true, ..LENIENT },
    Habits { name: "sloppy, last coding", coding: Coding::Last, lengths: Lengths::Last, folds: false, ..LENIENT },
    Habits { name: "sloppy, variables", underscores: true, loose_numbers: true, ..LENIENT },
    Habits { name: "sloppy, bare CR", bare_cr: true, old_chunks: true, ..LENIENT },
    Habits {
        name: "sloppy, all of it",
        bare_cr: true,
        underscores: true,
        loose_numbers: true,
        old_chunks: true,
        both: Both::Length,
        lengths: Lengths::Last,
        ..LENIENT
    },
];

/// A request as a server read it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    /// Its `X-Mark`.
    pub mark: String,
    pub target: String,
    pub body: Vec<u8>,
    /// Where it ends in the bytes.
    pub end: usize,
}

/// How the bytes end for a server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// With a request's end.
    Clean,
    /// Within a request.
    Unfinished,
    /// With a 400.
    Refused,
}

/// Why a request could not be read.
enum Stop {
    Unfinished,
    Refused,
}

type Read<T> = Result<T, Stop>;

fn token(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b))
}

/// Without what some take for white space.
fn trimmed(bytes: &[u8]) -> &[u8] {
    let blank = |b: &u8| b.is_ascii_whitespace() || matches!(b, 0 | 0x0b | 0x0c);
    let start = bytes.iter().position(|b| !blank(b)).unwrap_or(bytes.len());
    let end = bytes.iter().rposition(|b| !blank(b)).map_or(start, |at| at + 1);
    &bytes[start..end]
}

impl Habits {
    /// All requests in these bytes, and how they end.
    pub fn read(&self, bytes: &[u8]) -> (Vec<Request>, End) {
        let (mut requests, mut at) = (Vec::new(), 0);
        loop {
            if !self.by_the_letter {
                while bytes.get(at).is_some_and(|b| matches!(b, b'\r' | b'\n')) {
                    at += 1;
                }
            }
            if at == bytes.len() {
                return (requests, End::Clean);
            }
            match self.request(bytes, &mut at) {
                Ok(request) => requests.push(request),
                Err(Stop::Unfinished) => return (requests, End::Unfinished),
                Err(Stop::Refused) => return (requests, End::Refused),
            }
        }
    }

    fn request(&self, bytes: &[u8], at: &mut usize) -> Read<Request> {
        let first = self.line(bytes, at)?.to_vec();
        let text = String::from_utf8_lossy(&first).into_owned();
        let words: Vec<&str> =
            if self.by_the_letter { text.split(' ').collect() } else { text.split_whitespace().collect() };
        let (target, version) = match words[..] {
            [_, target, version @ ("HTTP/1.1" | "HTTP/1.0")] => (target, version),
            [_, target, version] if !self.by_the_letter && version.starts_with("HTTP/1") => (target, version),
            _ => return Err(Stop::Refused),
        };
        let fields = self.fields(bytes, at)?;
        let body = self.body(&fields, version == "HTTP/1.0", bytes, at)?;
        let mark = fields.iter().find(|(name, _)| name == "x-mark").map(|(_, value)| value.clone());
        let mark = String::from_utf8_lossy(&mark.unwrap_or_default()).into_owned();
        Ok(Request { mark, target: target.to_owned(), body, end: *at })
    }

    /// The line that begins there, without its end.
    fn line<'b>(&self, bytes: &'b [u8], at: &mut usize) -> Read<&'b [u8]> {
        let rest = &bytes[*at..];
        let ends = |b: &u8| *b == b'\n' || (self.bare_cr && *b == b'\r');
        let end = rest.iter().position(ends).ok_or(Stop::Unfinished)?;
        let mut line = &rest[..end];
        *at += end + 1;
        if rest[end] == b'\r' && rest.get(end + 1) == Some(&b'\n') {
            *at += 1;
        }
        if self.by_the_letter {
            line = line.strip_suffix(b"\r").ok_or(Stop::Refused)?;
            if line.iter().any(|b| b.is_ascii_control() && *b != b'\t') {
                return Err(Stop::Refused);
            }
        } else {
            line = line.strip_suffix(b"\r").unwrap_or(line);
        }
        Ok(line)
    }

    fn fields(&self, bytes: &[u8], at: &mut usize) -> Read<Vec<(String, Vec<u8>)>> {
        let mut fields: Vec<(String, Vec<u8>)> = Vec::new();
        loop {
            let line = self.line(bytes, at)?;
            if line.is_empty() {
                return Ok(fields);
            }
            let folded = matches!(line[0], b' ' | b'\t');
            if folded && self.by_the_letter {
                return Err(Stop::Refused);
            }
            if folded
                && self.folds
                && let Some((_, value)) = fields.last_mut()
            {
                value.push(b' ');
                value.extend_from_slice(trimmed(line));
                continue;
            }
            let Some(colon) = line.iter().position(|b| *b == b':') else {
                if self.by_the_letter {
                    return Err(Stop::Refused);
                }
                continue;
            };
            let (name, value) = (&line[..colon], &line[colon + 1..]);
            if self.by_the_letter && !token(name) {
                return Err(Stop::Refused);
            }
            let name = String::from_utf8_lossy(trimmed(name)).to_ascii_lowercase();
            let name = if self.underscores { name.replace('_', "-") } else { name };
            fields.push((name, trimmed(value).to_vec()));
        }
    }

    fn body(&self, fields: &[(String, Vec<u8>)], old: bool, bytes: &[u8], at: &mut usize) -> Read<Vec<u8>> {
        let values = |wanted: &str| -> Vec<&[u8]> {
            fields.iter().filter(|(name, _)| name == wanted).map(|(_, value)| value.as_slice()).collect()
        };
        let chunked = self.chunked(&values("transfer-encoding"), old)?;
        let length = self.length(&values("content-length"))?;
        match (chunked, length) {
            (true, Some(_)) if self.both == Both::Refuse => Err(Stop::Refused),
            (true, Some(length)) if self.both == Both::Length => sized(length, bytes, at),
            (true, _) => self.chunks(bytes, at),
            (false, Some(length)) => sized(length, bytes, at),
            (false, None) => Ok(Vec::new()),
        }
    }

    fn chunked(&self, lines: &[&[u8]], old: bool) -> Read<bool> {
        let Some(first) = lines.first() else { return Ok(false) };
        let word = |value: &[u8]| value.eq_ignore_ascii_case(b"chunked");
        let found = match self.coding {
            Coding::Exact if lines.len() == 1 && word(first) && !old => true,
            Coding::Exact => return Err(Stop::Refused),
            Coding::ExactOrNone => *first == b"chunked",
            Coding::Contains => lines.iter().any(|line| line.to_ascii_lowercase().windows(7).any(|w| w == b"chunked")),
            Coding::Last => lines.join(&b","[..]).rsplit(|b| *b == b',').next().is_some_and(|last| word(trimmed(last))),
        };
        Ok(found && (!old || self.old_chunks || self.by_the_letter))
    }

    fn length(&self, lines: &[&[u8]]) -> Read<Option<usize>> {
        let joined = lines.join(&b","[..]);
        if lines.is_empty() {
            return Ok(None);
        }
        let values: Vec<&[u8]> = joined.split(|b| *b == b',').map(trimmed).collect();
        let value = match self.lengths {
            Lengths::One if values.len() > 1 => return Err(Stop::Refused),
            Lengths::Last => values[values.len() - 1],
            Lengths::One | Lengths::First => values[0],
        };
        self.number(value, 10).map(Some)
    }

    fn number(&self, text: &[u8], radix: u32) -> Read<usize> {
        let mut text = String::from_utf8_lossy(text).into_owned();
        if self.loose_numbers {
            let bare = text.trim_start_matches([' ', '\t', '+', '"', '\'']);
            let bare = bare.strip_prefix("0x").unwrap_or(bare);
            text = bare.chars().take_while(|c| c.is_digit(radix)).collect();
        }
        if text.is_empty() || !text.chars().all(|c| c.is_digit(radix)) {
            return Err(Stop::Refused);
        }
        usize::from_str_radix(&text, radix).map_err(|_| Stop::Refused)
    }

    fn chunks(&self, bytes: &[u8], at: &mut usize) -> Read<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.line(bytes, at)?;
            let size = line.split(|b| *b == b';').next().unwrap_or_default();
            let size = self.number(if self.by_the_letter { size } else { trimmed(size) }, 16)?;
            if size == 0 {
                self.fields(bytes, at)?;
                return Ok(body);
            }
            body.extend(sized(size, bytes, at)?);
            match (bytes.get(*at), bytes.get(*at + 1)) {
                (Some(b'\r'), Some(b'\n')) => *at += 2,
                (Some(b'\r'), None) | (None, _) => return Err(Stop::Unfinished),
                _ if self.by_the_letter => return Err(Stop::Refused),
                (Some(b'\n' | b'\r'), _) => *at += 1,
                _ if self.loose_numbers => {}
                _ => return Err(Stop::Refused),
            }
        }
    }
}

fn sized(length: usize, bytes: &[u8], at: &mut usize) -> Read<Vec<u8>> {
    let end = at.checked_add(length).ok_or(Stop::Refused)?;
    let body = bytes.get(*at..end).ok_or(Stop::Unfinished)?.to_vec();
    *at = end;
    Ok(body)
}
