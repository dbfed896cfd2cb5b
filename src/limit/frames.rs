//! What HTTP/2 frames cost us that bring no request and no answer forward. The library bounds what a
//! peer can make us keep; what it can make us do is bounded here, for clients and for upstreams.
//!
//! Counted by h2 (0.4) itself: CONTINUATION frames of one head, DATA frames that are empty or tiny
//! while they lie unread, streams that are reset before they were looked at, streams that it had to
//! reset. Not counted by it: PING, SETTINGS, PRIORITY, `WINDOW_UPDATE` and unknown frames, of which a
//! connection could send millions a second, and streams that are reset a moment after they were
//! looked at. On its worker everybody else would wait for them. Tiny DATA frames that are
//! taken as they come cost nothing here, either way: they bring a body forward.
//!
//! So each frame takes from a purse, a long one more than a short one, which fills up by time, by what we
//! answer and by the bytes of bodies. Not by frames of bodies: how many of those there are is up to the client, which may open
//! its windows byte by byte (CVE-2019-9511). Envoy's limits are of this kind, nginx compares the
//! bytes of frames with those of bodies. An upstream earns by what it is asked as a client does by what
//! it is answered: interim answers (1xx) are frames like others.

use std::io::IoSlice;

/// What an HTTP/2 client sends first (RFC 9113 section 3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A frame's type (RFC 9113 section 6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;

/// The length of a frame's head.
const HEAD: usize = 9;

/// What a peer may spend at once: 128 streams that are cancelled with a PING each (as Go's client
/// does) four times over.
const FULL: u32 = 10_000;
/// What comes back in a second: a PING and a window for each of 5,000 small messages (gRPC's clients
/// measure the way with a PING a round trip), or 128 streams that are all given up after half a
/// second, again and again. As PINGs it is half a hundredth of a worker's time.
const A_SECOND: u64 = 10_000;
/// What a frame costs, and each whole KiB in it: heads are unpacked, whatever they bring.
const A_FRAME: u32 = 1;
const A_LOAD: usize = 1024;
/// A client's request that was begun for nothing is dearer than an answered PING.
const A_RESET: u32 = 17;
/// What a head of ours gives back: the frames of its stream, 16 KiB of a head among them, or that the rest
/// of it is cancelled.
const A_HEAD: u32 = 20;
/// So many bytes of a body, either way, give back a frame: whoever opens the windows of its stream and of
/// the connection behind each KiB pays for both. Go's client does so behind every 4 KiB.
const A_PIECE: usize = 512;

/// A SETTINGS frame on a stream: whoever reads it must end the connection with GOAWAY (RFC 9113
/// section 6.5). It is how hyper, which offers no other way, is made to say that this is the end.
pub const THE_END: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 1];

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

/// Both directions of an HTTP/2 connection, and what its peer has left to spend.
#[derive(Debug)]
pub struct Purse {
    coming: Frames,
    going: Frames,
    left: u32,
    /// What a stream costs that the peer resets.
    reset: u32,
    /// Bytes of bodies, either way, that have given nothing back yet.
    carried: usize,
    /// When it was last filled up, in milliseconds.
    filled: u64,
}

impl Purse {
    /// A client's full purse.
    pub fn of_client(now: u64) -> Self {
        Self::new(PREFACE.len(), 0, now)
    }

    /// An upstream's, which resets only what we began: it may have too much to do.
    pub fn of_upstream(now: u64) -> Self {
        Self { reset: A_FRAME, ..Self::new(0, PREFACE.len(), now) }
    }

    /// So many bytes come, and go, before the first frame.
    fn new(before_coming: usize, before_going: usize, now: u64) -> Self {
        let behind = |payload| Frames { payload, ..Frames::default() };
        let (coming, going) = (behind(before_coming), behind(before_going));
        Self { coming, going, left: FULL, reset: A_RESET, carried: 0, filled: now }
    }

    /// Pays for frames that came. Where the purse is overdrawn, the length after which no byte
    /// counts any more: the end of the frame that could not be paid.
    pub fn pay(&mut self, bytes: &[u8], now: u64) -> Result<(), usize> {
        let gained = now.saturating_sub(self.filled).saturating_mul(A_SECOND) / 1000;
        if gained > 0 {
            self.filled = now;
            self.earn(u32::try_from(gained).unwrap_or(FULL));
        }
        let mut left = bytes;
        while let Some((kind, length)) = self.coming.next(&mut left) {
            let price = match kind {
                DATA if length > 0 => {
                    self.carry(length);
                    0
                }
                RST_STREAM => self.reset,
                _ => A_FRAME + u32::try_from(length / A_LOAD).unwrap_or(FULL),
            };
            match self.left.checked_sub(price) {
                Some(rest) => self.left = rest,
                None => return Err(bytes.len() - left.len() + length),
            }
        }
        Ok(())
    }

    /// Credits as much of this as was written; whether any of it was of a body.
    pub fn credit(&mut self, mut written: usize, bufs: &[IoSlice<'_>]) -> bool {
        let mut body = false;
        for buf in bufs {
            let part = buf.get(..written.min(buf.len())).unwrap_or_default();
            written -= part.len();
            body |= self.went(part);
        }
        body
    }

    /// Credits frames of ours; whether any was of a body.
    fn went(&mut self, mut bytes: &[u8]) -> bool {
        let mut body = false;
        while let Some((kind, length)) = self.going.next(&mut bytes) {
            match kind {
                DATA => {
                    body = true;
                    self.carry(length);
                }
                HEADERS => self.earn(A_HEAD),
                _ => {}
            }
        }
        body
    }

    fn carry(&mut self, length: usize) {
        self.carried += length;
        self.earn(u32::try_from(self.carried / A_PIECE).unwrap_or(FULL));
        self.carried %= A_PIECE;
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

    fn frame(kind: u8, length: usize) -> Vec<u8> {
        let long = u32::try_from(length).unwrap().to_be_bytes();
        let mut frame = [&long[1..], &[kind, 0, 0, 0, 0, 1]].concat();
        frame.resize(HEAD + length, 0);
        frame
    }

    /// How many of so many rounds a full purse pays for, with no time going by.
    fn rounds(most: u32, mut round: impl FnMut(&mut Purse) -> Result<(), usize>) -> u32 {
        let mut purse = Purse::new(0, 0, 0);
        (0..most).find(|_| round(&mut purse).is_err()).unwrap_or(most)
    }

    #[test]
    fn frames_are_found_wherever_the_bytes_are_cut() {
        let all = [vec![b'x'; 24], frame(HEADERS, 7), frame(DATA, 0), frame(PING, 8), frame(DATA, 200)].concat();
        for piece in 1..all.len() {
            let mut purse = Purse::new(24, 0, 0);
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
        assert_eq!(Purse::new(0, 0, 0).pay(&many, 0), Err(ping.len() * (FULL as usize + 1)));
        // Time fills the purse, but never beyond its size.
        let mut purse = Purse::new(0, 0, 0);
        purse.pay(&ping.repeat(FULL as usize), 0).unwrap();
        assert!(purse.pay(&ping, 0).is_err());
        let mut purse = Purse::new(0, 0, 0);
        purse.pay(&ping.repeat(FULL as usize), 0).unwrap();
        purse.pay(&ping.repeat(usize::try_from(A_SECOND).unwrap() / 5), 200).unwrap();
        assert!(purse.pay(&ping, 200).is_err());
        assert!(Purse::new(0, 0, 0).pay(&many, 3_600_000).is_err());
    }

    #[test]
    fn resets_of_unanswered_requests_are_dear_and_those_of_answered_ones_free() {
        let cancelled = [frame(HEADERS, 30), frame(RST_STREAM, 4)].concat();
        let mut purse = Purse::new(0, 0, 0);
        let paid = (0..FULL).take_while(|_| purse.pay(&cancelled, 0).is_ok()).count();
        assert_eq!(paid, FULL as usize / (A_FRAME + A_RESET) as usize);
        let mut purse = Purse::new(0, 0, 0);
        for _ in 0..100_000 {
            purse.pay(&cancelled, 0).unwrap();
            purse.pay(&frame(PING, 8), 0).unwrap();
            purse.went(&frame(HEADERS, 30));
        }
    }

    #[test]
    fn a_download_pays_for_the_windows_of_whoever_reads_4_kib_at_a_time() {
        let (answer, windows) = (frame(DATA, 16 * 1024), frame(WINDOW_UPDATE, 4).repeat(8));
        let paid = rounds(100_000, |purse| {
            purse.went(&answer);
            purse.pay(&windows, 0)
        });
        assert_eq!(paid, 100_000);
    }

    #[test]
    fn an_upload_costs_nothing_and_pays_for_a_ping_now_and_then() {
        let (small, ping) = (frame(DATA, 128), frame(PING, 8));
        let paid = rounds(100_000, |purse| {
            (0..8).try_for_each(|_| purse.pay(&small, 0))?;
            purse.pay(&ping, 0)
        });
        assert_eq!(paid, 100_000);
    }

    #[test]
    fn windows_of_a_byte_earn_nothing_to_send_pings_with() {
        let (answer, window, ping) = (frame(DATA, 1), frame(WINDOW_UPDATE, 4), frame(PING, 8));
        for pings in [0, 1, 3] {
            let round = [window.clone(), ping.repeat(pings)].concat();
            let paid = rounds(100_000, |purse| {
                purse.pay(&round, 0)?;
                purse.went(&answer);
                Ok(())
            });
            assert!(paid < FULL + FULL / 100, "{pings} PINGs a window: {paid} rounds");
        }
    }

    #[test]
    fn a_ping_and_a_window_for_each_of_thousands_of_small_messages_a_second_are_paid_by_time() {
        let (message, asked) = (frame(DATA, 105), [frame(WINDOW_UPDATE, 4), frame(PING, 8)].concat());
        let mut purse = Purse::new(0, 0, 0);
        for now in 0..60_000 {
            for _ in 0..5 {
                purse.went(&message);
                purse.pay(&asked, now).unwrap();
            }
        }
    }

    #[test]
    fn an_upstream_is_paid_for_what_it_is_asked_and_not_for_what_it_says_of_itself() {
        let (asked, answered) = (frame(HEADERS, 30), [frame(HEADERS, 9), frame(DATA, 9), frame(HEADERS, 9)].concat());
        let mut purse = Purse::of_upstream(0);
        purse.credit(PREFACE.len(), &[IoSlice::new(PREFACE)]);
        for _ in 0..100_000 {
            purse.credit(asked.len(), &[IoSlice::new(&asked[..4]), IoSlice::new(&asked[4..])]);
            purse.pay(&answered, 0).unwrap();
        }
        let interim = frame(HEADERS, 9);
        let mut purse = Purse::of_upstream(0);
        let paid = (0..100_000).take_while(|_| purse.pay(&interim, 0).is_ok()).count();
        assert_eq!(paid, FULL as usize);
    }

    #[test]
    fn frames_that_bring_nothing_are_bounded_in_bytes_too() {
        const CONTINUATION: u8 = 9;
        for kind in [HEADERS, CONTINUATION, 0xbb] {
            for length in [A_LOAD - 1, 16 * 1024] {
                let flood = frame(kind, length);
                let paid = rounds(FULL, |purse| purse.pay(&flood, 0)) as usize * length;
                assert!(paid <= FULL as usize * A_LOAD, "{paid} bytes in frames {kind} of {length}");
            }
        }
    }

    #[test]
    fn heads_as_long_as_a_page_full_of_cookies_are_paid_by_their_answers() {
        let (asked, answer) = (frame(HEADERS, 16 * 1024), frame(HEADERS, 30));
        let paid = rounds(100_000, |purse| {
            purse.pay(&asked, 0)?;
            purse.went(&answer);
            Ok(())
        });
        assert_eq!(paid, 100_000);
    }

    #[test]
    fn an_upstream_that_resets_all_that_it_is_asked_at_once_is_overloaded_and_no_flood() {
        let (asked, reset) = (frame(HEADERS, 30), frame(RST_STREAM, 4));
        let mut purse = Purse::of_upstream(0);
        purse.credit(PREFACE.len(), &[IoSlice::new(PREFACE)]);
        for _ in 0..10 {
            purse.went(&asked.repeat(1000));
            purse.pay(&reset.repeat(1000), 0).unwrap();
        }
    }
}
