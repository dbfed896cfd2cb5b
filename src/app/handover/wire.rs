//! Lines of JSON over a Unix socket, with descriptors beside them (unix(7), `SCM_RIGHTS`).
//!
//! What is read or written may hold tokens: every buffer is wiped when it goes, also when it is
//! outgrown.

use std::io::{self, IoSlice, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use serde::Serialize;
use tokio::io::Interest;
use tokio::net::UnixStream;
use zeroize::Zeroizing;

/// Descriptors that go with one write; the kernel takes 253 at most (`SCM_MAX_FD`).
const BATCH: usize = 64;
/// Descriptors that are taken in all; more listeners than this nobody configures.
const MOST_DESCRIPTORS: usize = 1024;
/// How much is read at once.
const CHUNK: usize = 16 << 10;

/// Bytes that are wiped when they go. A `Vec` that grows would leave its earlier self behind.
#[derive(Default)]
pub(super) struct Wiped(Zeroizing<Vec<u8>>);

impl Wiped {
    fn extend(&mut self, bytes: &[u8]) {
        let wanted = self.0.len() + bytes.len();
        if wanted > self.0.capacity() {
            let mut larger = Zeroizing::new(Vec::with_capacity(wanted.next_power_of_two().max(CHUNK)));
            larger.extend_from_slice(&self.0);
            self.0 = larger;
        }
        self.0.extend_from_slice(bytes);
    }
}

impl Write for Wiped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl std::ops::Deref for Wiped {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

/// One end of a connection between two processes.
pub(super) struct Wire {
    stream: UnixStream,
    /// What came behind the last line.
    rest: Wiped,
    descriptors: Vec<OwnedFd>,
}

impl Wire {
    pub(super) fn new(stream: UnixStream) -> Self {
        Self { stream, rest: Wiped::default(), descriptors: Vec::new() }
    }

    /// Writes a line, with these descriptors beside its beginning.
    pub(super) async fn say(&self, message: &impl Serialize, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut line = Wiped::default();
        serde_json::to_writer(&mut line, message)?;
        line.extend(b"\n");
        let mut batches = descriptors.chunks(BATCH);
        let (mut batch, mut left) = (batches.next(), &line[..]);
        while !left.is_empty() {
            // A byte each, as long as there are more descriptors than go with one write.
            let bytes = if batches.len() > 0 { left.get(..1).unwrap_or(left) } else { left };
            let sent = self.stream.async_io(Interest::WRITABLE, || send(&self.stream, bytes, batch)).await?;
            left = left.get(sent..).unwrap_or_default();
            batch = batches.next();
        }
        if batch.is_some() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "more descriptors than a line can carry"));
        }
        Ok(())
    }

    /// Reads a line of at most so many bytes; `None` where the other end closed before one began.
    pub(super) async fn hear(&mut self, most: usize) -> io::Result<Option<Wiped>> {
        let mut looked = 0;
        loop {
            if let Some(end) = self.rest.iter().skip(looked).position(|byte| *byte == b'\n') {
                let (line, behind) = self.rest.split_at(looked + end);
                let (mut whole, mut rest) = (Wiped::default(), Wiped::default());
                whole.extend(line);
                rest.extend(behind.get(1..).unwrap_or_default());
                self.rest = rest;
                return Ok(Some(whole));
            }
            looked = self.rest.len();
            if looked > most {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a line that is too long"));
            }
            let mut chunk = Zeroizing::new(vec![0; CHUNK]);
            let (read, descriptors) =
                self.stream.async_io(Interest::READABLE, || receive(&self.stream, &mut chunk)).await?;
            self.descriptors.extend(descriptors);
            if self.descriptors.len() > MOST_DESCRIPTORS {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "too many descriptors"));
            }
            match chunk.get(..read) {
                Some([]) | None if self.rest.is_empty() => return Ok(None),
                Some([]) | None => return Err(io::ErrorKind::UnexpectedEof.into()),
                Some(bytes) => self.rest.extend(bytes),
            }
        }
    }

    /// The descriptors that came until now.
    pub(super) fn take_descriptors(&mut self) -> Vec<OwnedFd> {
        std::mem::take(&mut self.descriptors)
    }

    /// Whether the other end runs as the same user as this process.
    pub(super) fn is_own_users(&self) -> bool {
        self.stream.peer_cred().is_ok_and(|peer| peer.uid() == rustix::process::geteuid().as_raw())
    }
}

fn send(stream: &UnixStream, bytes: &[u8], descriptors: Option<&[BorrowedFd<'_>]>) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(BATCH))];
    let mut beside = SendAncillaryBuffer::new(&mut space);
    if let Some(descriptors) = descriptors.filter(|descriptors| !descriptors.is_empty())
        && !beside.push(SendAncillaryMessage::ScmRights(descriptors))
    {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // Without NOSIGNAL a peer that has gone would end this process.
    Ok(sendmsg(stream, &[IoSlice::new(bytes)], &mut beside, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)?)
}

fn receive(stream: &UnixStream, chunk: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(BATCH))];
    let mut beside = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let read = recvmsg(stream, &mut [IoSliceMut::new(chunk)], &mut beside, flags)?.bytes;
    let mut descriptors = Vec::new();
    for message in beside.drain() {
        if let RecvAncillaryMessage::ScmRights(taken) = message {
            descriptors.extend(taken);
        }
    }
    Ok((read, descriptors))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    fn pair() -> (Wire, Wire) {
        let (one, other) = UnixStream::pair().unwrap();
        (Wire::new(one), Wire::new(other))
    }

    #[tokio::test]
    async fn a_line_and_its_descriptors_arrive_whole_however_many() {
        for count in [0, 1, BATCH, BATCH + 1, 3 * BATCH] {
            let (one, mut other) = pair();
            let file = std::fs::File::open("/dev/null").unwrap();
            let descriptors = vec![file.as_fd(); count];
            let text = "x".repeat(3 * CHUNK);
            let (said, heard) = tokio::join!(one.say(&text, &descriptors), other.hear(1 << 20));
            said.unwrap();
            assert_eq!(heard.unwrap().unwrap().len(), text.len() + 2);
            assert_eq!(other.take_descriptors().len(), count);
        }
    }

    #[tokio::test]
    async fn lines_that_come_together_are_read_one_by_one() {
        let (one, mut other) = pair();
        one.say(&1, &[]).await.unwrap();
        one.say(&2, &[]).await.unwrap();
        drop(one);
        assert_eq!(&*other.hear(9).await.unwrap().unwrap(), b"1");
        assert_eq!(&*other.hear(9).await.unwrap().unwrap(), b"2");
        assert!(other.hear(9).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_line_without_bounds_or_an_end_is_an_error() {
        let (one, mut other) = pair();
        one.say(&"x".repeat(CHUNK), &[]).await.unwrap();
        assert_eq!(other.hear(100).await.err().unwrap().kind(), io::ErrorKind::InvalidData);
        let (one, mut other) = pair();
        one.stream.try_write(b"half").unwrap();
        drop(one);
        assert_eq!(other.hear(100).await.err().unwrap().kind(), io::ErrorKind::UnexpectedEof);
    }
}
