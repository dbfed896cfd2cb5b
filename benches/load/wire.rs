//! As much HTTP/1.1 as both ends of a measurement need: heads, and bodies with a length.
//!
//! No I/O here. The generator and the upstream share a CPU, so they must cost less than what they measure: a head
//! equal to the one before on its connection is recognised by comparison and not parsed again, and one that differs is
//! read in one pass.

use memchr::{memchr, memmem};

/// What a head said: the length of the body that follows, and the reader's own conclusion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) body: usize,
    /// The status of an answer; which answer a request gets.
    pub(crate) code: u16,
    /// Which of the vendor's tokens a request has.
    pub(crate) generation: u64,
}

/// Reads a head, up to and with its empty line.
pub(crate) type Judge = fn(&[u8]) -> Result<Verdict, &'static str>;

/// One connection's incoming messages, one at a time.
pub(crate) struct Intake {
    judge: Judge,
    buffer: Box<[u8]>,
    filled: usize,
    /// The message whose body is still arriving, and how much of it.
    open: Option<(Verdict, usize)>,
    /// The head before, and its verdict.
    last: Vec<u8>,
    known: Option<Verdict>,
}

impl Intake {
    pub(crate) fn new(judge: Judge) -> Self {
        Self::with_room(judge, 64 * 1024)
    }

    /// For heads of at most that many bytes.
    pub(crate) fn with_room(judge: Judge, room: usize) -> Self {
        Self { judge, buffer: vec![0; room].into(), filled: 0, open: None, last: Vec::new(), known: None }
    }

    /// Where the next bytes are to be read to.
    pub(crate) fn space(&mut self) -> &mut [u8] {
        &mut self.buffer[self.filled..]
    }

    /// Takes what was read there; the message's verdict once it is whole.
    pub(crate) fn took(&mut self, count: usize) -> Result<Option<Verdict>, &'static str> {
        if count == 0 {
            return Err("connection closed");
        }
        let (verdict, missing, here) = if let Some((verdict, missing)) = self.open.take() {
            (verdict, missing, count)
        } else {
            self.filled += count;
            match self.head()? {
                Some((verdict, length)) => (verdict, verdict.body, self.filled - length),
                None if self.filled == self.buffer.len() => return Err("head too long"),
                None => return Ok(None),
            }
        };
        self.filled = 0;
        match missing.checked_sub(here) {
            None => Err("more bytes than announced"),
            Some(0) => Ok(Some(verdict)),
            Some(rest) => {
                self.open = Some((verdict, rest));
                Ok(None)
            }
        }
    }

    /// The head in the buffer, if it is complete, and its length.
    fn head(&mut self) -> Result<Option<(Verdict, usize)>, &'static str> {
        let bytes = &self.buffer[..self.filled];
        if let Some(verdict) = self.known.filter(|_| bytes.starts_with(&self.last)) {
            return Ok(Some((verdict, self.last.len())));
        }
        let Some(at) = memmem::find(bytes, b"\r\n\r\n") else { return Ok(None) };
        let length = at + 4;
        let verdict = (self.judge)(&bytes[..length])?;
        self.last.clear();
        self.last.extend_from_slice(&bytes[..length]);
        self.known = Some(verdict);
        Ok(Some((verdict, length)))
    }
}

/// Reads an answer's head.
pub(crate) fn answer(head: &[u8]) -> Result<Verdict, &'static str> {
    let status = std::str::from_utf8(head.get(9..12).ok_or("no status line")?).map_err(|_| "no status line")?;
    let code = status.parse().map_err(|_| "no status line")?;
    let body = Fields::of(head).length.ok_or("an answer without Content-Length")?;
    Ok(Verdict { body, code, generation: 0 })
}

/// The header fields that matter here, without the spaces around them; of several of a name the first.
#[derive(Default)]
pub(crate) struct Fields<'a> {
    pub(crate) authorization: Option<&'a [u8]>,
    pub(crate) content_type: Option<&'a [u8]>,
    /// `Content-Length`.
    pub(crate) length: Option<usize>,
    pub(crate) transfer_encoding: Option<&'a [u8]>,
}

impl<'a> Fields<'a> {
    pub(crate) fn of(head: &'a [u8]) -> Self {
        let mut fields = Self::default();
        let mut rest = head;
        while let Some(end) = memchr(b'\n', rest) {
            fields.take(&rest[..end]);
            rest = &rest[end + 1..];
        }
        fields
    }

    fn take(&mut self, line: &'a [u8]) {
        let value = |name: &str| {
            let (key, value) = line.split_at_checked(name.len())?;
            (key.eq_ignore_ascii_case(name.as_bytes()) && value.first() == Some(&b':')).then(|| value[1..].trim_ascii())
        };
        match line.first().map(u8::to_ascii_lowercase) {
            Some(b'a') => self.authorization = self.authorization.or_else(|| value("authorization")),
            Some(b't') => self.transfer_encoding = self.transfer_encoding.or_else(|| value("transfer-encoding")),
            Some(b'c') => {
                let number = |digits| std::str::from_utf8(digits).ok()?.parse().ok();
                self.length = self.length.or_else(|| value("content-length").and_then(number));
                self.content_type = self.content_type.or_else(|| value("content-type"));
            }
            _ => {}
        }
    }
}
