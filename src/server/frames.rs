//! What HTTP/2 frames cost us that bring no request forward. The library bounds what a client can
//! make us keep; what it can make us do is bounded here.
//!
//! Counted by h2 (0.4) itself: CONTINUATION frames of one head, DATA frames that are empty or tiny,
//! streams that are reset before they were looked at, streams that it had to reset. Not counted by
//! it: PING, SETTINGS, PRIORITY, `WINDOW_UPDATE` and unknown frames, of which a connection could send
//! millions a second, and streams that are reset a moment after they were looked at. On its worker
//! everybody else would wait for them.
//!
//! So each frame takes from a purse, which fills up by time and by what we answer: Envoy's limits
//! are of this kind, nginx compares the bytes of frames with those of bodies.

/// A frame's type (RFC 9113 section 6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;

/// The length of a frame's head.
const HEAD: usize = 9;

/// What a client may spend at once: 128 streams that are cancelled with a PING each (as Go's client
/// does) four times over.
const FULL: u32 = 4_000;
/// What comes back in a second: 128 streams that are all given up after half a second, again and
/// again. As PINGs it is a thousandth of a worker's time.
const A_SECOND: u64 = 2_000;
/// What a frame costs.
const A_FRAME: u32 = 1;
/// A request that was begun for nothing is dearer than an answered PING.
const A_RESET: u32 = 5;
/// What an answer's head gives back: its request's own frames, and that the rest of it is cancelled.
const AN_ANSWER: u32 = 12;
/// What a DATA frame of ours gives back: the window is opened again for its stream and for the
/// connection, and a client may do that after each.
const OUR_DATA: u32 = 4;

/// A SETTINGS frame on a stream: whoever reads it must end the connection with GOAWAY (RFC 9113
/// section 6.5). It is how hyper, which offers no other way, is made to say that this is the end.
pub(super) const THE_END: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 1];

/// Finds frames in a stream of bytes, however it is cut.
#[derive(Debug, Default)]
struct Frames {
    head: [u8; HEAD],
    /// How much of the head has come.
    have: usize,
    /// How much is left of the payload.
    payload: usize,
}

impl Frames {
    /// Goes through the payload of the frame before and the next one's head, and gives its type and
    /// length; `None` where the bytes end earlier.
    fn next(&mut self, bytes: &mut &[u8]) -> Option<(u8, usize)> {
        let skipped = self.payload.min(bytes.len());
        self.payload -= skipped;
        *bytes = bytes.get(skipped..)?;
        for byte in self.head.iter_mut().skip(self.have) {
            let (first, rest) = bytes.split_first()?;
            (*byte, *bytes) = (*first, rest);
            self.have += 1;
        }
        let [a, b, c, kind, ..] = self.head;
        let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        (self.have, self.payload) = (0, length);
        Some((kind, length))
    }
}

/// Both directions of an HTTP/2 connection, and what its client has left to spend.
#[derive(Debug)]
pub(super) struct Purse {
    coming: Frames,
    going: Frames,
    left: u32,
    /// When it was last filled up, in milliseconds.
    filled: u64,
}

impl Purse {
    /// A full purse. `preface` is how many bytes come before the first frame.
    pub(super) fn new(preface: usize, now: u64) -> Self {
        Self {
            coming: Frames { payload: preface, ..Frames::default() },
            going: Frames::default(),
            left: FULL,
            filled: now,
        }
    }

    /// Pays for frames that came. Where the purse is overdrawn, the length after which no byte
    /// counts any more: the end of the frame that could not be paid.
    pub(super) fn pay(&mut self, bytes: &[u8], now: u64) -> Result<(), usize> {
        let gained = now.saturating_sub(self.filled).saturating_mul(A_SECOND) / 1000;
        if gained > 0 {
            self.filled = now;
            self.earn(u32::try_from(gained).unwrap_or(FULL));
        }
        let mut left = bytes;
        while let Some((kind, length)) = self.coming.next(&mut left) {
            let price = match kind {
                DATA if length > 0 => 0,
                RST_STREAM => A_RESET,
                _ => A_FRAME,
            };
            match self.left.checked_sub(price) {
                Some(rest) => self.left = rest,
                None => return Err(bytes.len() - left.len() + length),
            }
        }
        Ok(())
    }

    /// Credits frames of ours that went; whether any was of a body.
    pub(super) fn credit(&mut self, mut bytes: &[u8]) -> bool {
        let mut body = false;
        while let Some((kind, _)) = self.going.next(&mut bytes) {
            match kind {
                DATA => {
                    body = true;
                    self.earn(OUR_DATA);
                }
                HEADERS => self.earn(AN_ANSWER),
                _ => {}
            }
        }
        body
    }

    fn earn(&mut self, gained: u32) {
        self.left = self.left.saturating_add(gained).min(FULL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PING: u8 = 6;
    const WINDOW_UPDATE: u8 = 8;

    fn frame(kind: u8, length: u8) -> Vec<u8> {
        let mut frame = vec![0, 0, length, kind, 0, 0, 0, 0, 1];
        frame.resize(HEAD + usize::from(length), 0);
        frame
    }

    #[test]
    fn frames_are_found_wherever_the_bytes_are_cut() {
        let all = [vec![b'x'; 24], frame(HEADERS, 7), frame(DATA, 0), frame(PING, 8), frame(DATA, 200)].concat();
        for piece in 1..all.len() {
            let mut purse = Purse::new(24, 0);
            for bytes in all.chunks(piece) {
                assert_eq!(purse.pay(bytes, 0), Ok(()));
            }
            assert_eq!(purse.left, FULL - 3 * A_FRAME, "in pieces of {piece}");
        }
    }

    #[test]
    fn a_flood_is_cut_off_behind_the_frame_that_was_not_paid() {
        let ping = frame(PING, 8);
        let many = ping.repeat(FULL as usize + 3);
        assert_eq!(Purse::new(0, 0).pay(&many, 0), Err(ping.len() * (FULL as usize + 1)));
        // Time fills the purse, but never beyond its size.
        let mut purse = Purse::new(0, 0);
        purse.pay(&ping.repeat(FULL as usize), 0).unwrap();
        assert!(purse.pay(&ping, 0).is_err());
        let mut purse = Purse::new(0, 0);
        purse.pay(&ping.repeat(FULL as usize), 0).unwrap();
        purse.pay(&ping.repeat(usize::try_from(A_SECOND).unwrap() / 5), 200).unwrap();
        assert!(purse.pay(&ping, 200).is_err());
        assert!(Purse::new(0, 0).pay(&many, 3_600_000).is_err());
    }

    #[test]
    fn resets_of_unanswered_requests_are_dear_and_those_of_answered_ones_free() {
        let cancelled = [frame(HEADERS, 30), frame(RST_STREAM, 4)].concat();
        let mut purse = Purse::new(0, 0);
        let paid = (0..FULL).take_while(|_| purse.pay(&cancelled, 0).is_ok()).count();
        assert_eq!(paid, FULL as usize / (A_FRAME + A_RESET) as usize);
        let mut purse = Purse::new(0, 0);
        for _ in 0..100_000 {
            purse.pay(&cancelled, 0).unwrap();
            purse.pay(&frame(PING, 8), 0).unwrap();
            purse.credit(&frame(HEADERS, 30));
        }
    }

    #[test]
    fn a_download_pays_for_the_windows_that_it_needs_and_an_upload_costs_nothing() {
        let mut purse = Purse::new(0, 0);
        for _ in 0..100_000 {
            purse.credit(&frame(DATA, 1));
            purse.pay(&frame(WINDOW_UPDATE, 4).repeat(2), 0).unwrap();
            purse.pay(&frame(DATA, 1), 0).unwrap();
        }
    }
}
