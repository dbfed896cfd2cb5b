//! Log lines on their way to stderr, which may be slow, full or closed: whoever writes a line never
//! waits for it. What does not fit is dropped, counted, and told of when there is room again.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use tracing_subscriber::fmt::MakeWriter;

/// Lines that wait.
const LINES: usize = 8192;

/// Bytes that wait; a line may have a path of tens of kilobytes in it.
const BYTES: usize = 1 << 20;

/// Between two looks whether there is room for a mark.
const BETWEEN: Duration = Duration::from_millis(5);

/// What the thread that writes is given.
enum Parcel {
    Line(Vec<u8>),
    /// Told when everything before it is written.
    Mark(SyncSender<()>),
}

/// The way to stderr.
#[derive(Clone)]
pub(super) struct Pipe {
    parcels: SyncSender<Parcel>,
    fill: Arc<Fill>,
}

#[derive(Default)]
struct Fill {
    waiting: AtomicUsize,
    dropped: AtomicU64,
}

/// The one way to the process's own stderr.
static STDERR: OnceLock<Pipe> = OnceLock::new();

impl Pipe {
    /// Lines go to stderr, in the background.
    pub(super) fn to_stderr() -> io::Result<Self> {
        let pipe = Self::new(io::stderr())?;
        Ok(STDERR.get_or_init(|| pipe).clone())
    }

    fn new(mut out: impl Write + Send + 'static) -> io::Result<Self> {
        let (parcels, inbox) = sync_channel(LINES);
        let fill = Arc::<Fill>::default();
        let its = Arc::clone(&fill);
        thread::Builder::new().name("log".to_owned()).spawn(move || its.carry(&inbox, &mut out))?;
        Ok(Self { parcels, fill })
    }

    fn put(&self, line: &[u8]) {
        let before = self.fill.waiting.fetch_add(line.len(), Ordering::Relaxed);
        let fits = before + line.len() <= BYTES;
        if !fits || self.parcels.try_send(Parcel::Line(line.to_vec())).is_err() {
            self.fill.waiting.fetch_sub(line.len(), Ordering::Relaxed);
            self.fill.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until what was put so far is written, but no longer than this.
    fn settle(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        let (done, wait) = sync_channel(1);
        let mut mark = Parcel::Mark(done);
        while let Err(TrySendError::Full(back)) = self.parcels.try_send(mark) {
            if Instant::now() >= deadline {
                return;
            }
            mark = back;
            thread::sleep(BETWEEN);
        }
        // An error is a reader who is too slow, or gone: nobody to wait for.
        let _ = wait.recv_timeout(deadline.saturating_duration_since(Instant::now()));
    }
}

impl Fill {
    fn carry(&self, inbox: &Receiver<Parcel>, out: &mut impl Write) {
        let mut told = 0;
        while let Ok(parcel) = inbox.recv() {
            match parcel {
                Parcel::Line(line) => {
                    self.waiting.fetch_sub(line.len(), Ordering::Relaxed);
                    // A reader who is gone may come back (a terminal, a named pipe): try again with the next.
                    if out.write_all(&line).is_err() {
                        self.dropped.fetch_add(1, Ordering::Relaxed);
                        continue;
                    }
                }
                Parcel::Mark(done) => {
                    let _ = done.try_send(());
                    continue;
                }
            }
            // Only behind a line that was read: to tell nobody of it would be one more line that is lost, for ever.
            let dropped = self.dropped.load(Ordering::Relaxed);
            if dropped > told && self.waiting.load(Ordering::Relaxed) == 0 {
                told = dropped;
                tracing::warn!(
                    lines = dropped,
                    "log lines were dropped since the process began: whoever reads them is too slow"
                );
            }
        }
    }
}

/// Lines that were dropped since the process began.
pub fn dropped_log_lines() -> u64 {
    STDERR.get().map_or(0, |pipe| pipe.fill.dropped.load(Ordering::Relaxed))
}

/// Before the process ends: lets what was logged reach stderr, unless its reader is slow.
pub fn settle_logs() {
    /// Nobody waits longer for a log.
    const PATIENCE: Duration = Duration::from_secs(1);

    if let Some(pipe) = STDERR.get() {
        pipe.settle(PATIENCE);
    }
}

impl Write for &Pipe {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.put(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Pipe {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::Sender;
    use std::sync::{Mutex, mpsc};

    use super::*;

    /// Takes a line when it is let.
    struct Gate {
        open: Receiver<()>,
        taken: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Gate {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            // Whoever is gone lets everything through.
            let _ = self.open.recv();
            self.taken.lock().unwrap().extend_from_slice(line);
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn gated() -> (Pipe, Sender<()>, Arc<Mutex<Vec<u8>>>) {
        let (gate, open) = mpsc::channel();
        let taken = Arc::<Mutex<Vec<u8>>>::default();
        let pipe = Pipe::new(Gate { open, taken: Arc::clone(&taken) }).unwrap();
        (pipe, gate, taken)
    }

    #[test]
    fn a_reader_who_does_not_read_costs_lines_and_nobodys_time() {
        let (pipe, gate, taken) = gated();
        for _ in 0..3 * LINES {
            pipe.put(b"line\n");
        }
        let dropped = pipe.fill.dropped.load(Ordering::Relaxed);
        assert!((2 * LINES as u64 - 1..=2 * LINES as u64).contains(&dropped), "{dropped}");
        drop(gate);
        pipe.settle(Duration::from_secs(60));
        let lines = taken.lock().unwrap().len() / 5;
        assert_eq!(lines as u64 + dropped, 3 * LINES as u64);
    }

    #[test]
    fn lines_that_are_long_wait_in_bounded_memory() {
        let (pipe, gate, _) = gated();
        let long = vec![b'a'; 256 << 10];
        for _ in 0..100 {
            pipe.put(&long);
        }
        assert!(pipe.fill.waiting.load(Ordering::Relaxed) <= BYTES);
        assert!(pipe.fill.dropped.load(Ordering::Relaxed) >= 95);
        drop(gate);
    }

    #[test]
    fn a_stuck_reader_does_not_hold_up_the_end() {
        let (pipe, _gate, _) = gated();
        pipe.put(b"line\n");
        pipe.settle(Duration::from_millis(1));
    }

    #[test]
    fn a_reader_who_is_gone_is_counted_and_the_next_line_tried() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let pipe = Pipe::new(Closed).unwrap();
        pipe.put(b"one\n");
        pipe.put(b"two\n");
        pipe.settle(Duration::from_secs(60));
        assert_eq!(pipe.fill.dropped.load(Ordering::Relaxed), 2);
    }
}
