//! As much HTTP/1.1 as both ends of a measurement need: heads, and bodies with a length.
//!
//! No I/O here. The generator and the upstream share a CPU, so they must cost less than what they measure: a head
//! equal to the one before on its connection is recognised by comparison and not parsed again.

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
    last: Option<(Vec<u8>, Verdict)>,
}

impl Intake {
    pub(crate) fn new(judge: Judge) -> Self {
        Self::with_room(judge, 64 * 1024)
    }

    /// For heads of at most that many bytes.
    pub(crate) fn with_room(judge: Judge, room: usize) -> Self {
        Self { judge, buffer: vec![0; room].into(), filled: 0, open: None, last: None }
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
        if let Some((last, verdict)) = &self.last
            && bytes.starts_with(last)
        {
            return Ok(Some((*verdict, last.len())));
        }
        let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
        let head = &bytes[..at + 4];
        let verdict = (self.judge)(head)?;
        self.last = Some((head.to_vec(), verdict));
        Ok(Some((verdict, head.len())))
    }
}

/// Reads an answer's head.
pub(crate) fn answer(head: &[u8]) -> Result<Verdict, &'static str> {
    let status = std::str::from_utf8(head.get(9..12).ok_or("no status line")?).map_err(|_| "no status line")?;
    let code = status.parse().map_err(|_| "no status line")?;
    let body = length(head).ok_or("an answer without Content-Length")?;
    Ok(Verdict { body, code, generation: 0 })
}

/// The `Content-Length` of a head.
pub(crate) fn length(head: &[u8]) -> Option<usize> {
    std::str::from_utf8(field(head, "content-length")?).ok()?.parse().ok()
}

/// The first value of a header, without the spaces around it.
pub(crate) fn field<'a>(head: &'a [u8], name: &str) -> Option<&'a [u8]> {
    head.split(|&byte| byte == b'\n').skip(1).find_map(|line| {
        let (key, value) = line.split_at_checked(name.len())?;
        (key.eq_ignore_ascii_case(name.as_bytes()) && value.first() == Some(&b':')).then(|| value[1..].trim_ascii())
    })
}
