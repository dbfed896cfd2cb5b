//! Clients that send one kind of HTTP/2 frame as fast as they can, over blocking sockets on threads
//! of their own, and connect again as soon as they are closed.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::frames::{self, GOAWAY, PREFACE, SETTINGS, frame};

/// A kind of flood.
#[derive(Clone)]
pub struct Flood {
    pub name: &'static str,
    /// Sent first, behind the preface and empty SETTINGS.
    pub opening: Vec<u8>,
    /// Sent again and again; of the number of frames that were sent.
    pub round: Arc<dyn Fn(u32) -> (u32, Vec<u8>) + Send + Sync>,
    /// Between two rounds.
    pub pause: Duration,
    /// Each frame is answered, and the GOAWAY stands behind more answers than a flooding client reads.
    pub answered: bool,
}

/// What came of it.
#[derive(Default, Debug)]
pub struct Toll {
    pub connections: u64,
    pub frames: u64,
    /// Connections that were closed, by the error code of their GOAWAY.
    pub goaways: BTreeMap<u32, u64>,
    /// Connections that were closed without one.
    pub silent: u64,
    /// The longest time from a connection's first frame to its end.
    pub longest: Duration,
    /// Connections that nobody closed in time.
    pub open: u64,
}

impl Flood {
    /// The same bytes in each round.
    pub fn of(name: &'static str, opening: Vec<u8>, one: &[u8]) -> Self {
        const ROUND: u32 = 500;
        let round = one.repeat(ROUND as usize);
        Self { name, opening, round: Arc::new(move |_| (ROUND, round.clone())), pause: Duration::ZERO, answered: false }
    }

    /// Frames made for so many new streams in each round.
    pub fn of_streams(name: &'static str, streams: u32, make: impl Fn(u32) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let round = move |sent: u32| {
            let made: Vec<Vec<u8>> = (0..streams).map(|n| make((sent / 2 + n) * 2 + 1)).collect();
            (streams * 2, made.concat())
        };
        Self { name, opening: Vec::new(), round: Arc::new(round), pause: Duration::ZERO, answered: false }
    }

    /// Floods on so many connections at a time, for so long; the last ones go on until they are
    /// closed, or have lived for this long.
    pub async fn run(&self, address: SocketAddr, at_a_time: usize, time: Duration, life: Duration) -> Toll {
        let end = Instant::now() + time;
        let threads: Vec<_> = (0..at_a_time)
            .map(|_| {
                let flood = self.clone();
                tokio::task::spawn_blocking(move || flood.until(address, end, life))
            })
            .collect();
        let mut all = Toll::default();
        for thread in threads {
            all.add(thread.await.unwrap());
        }
        all
    }

    fn until(&self, address: SocketAddr, end: Instant, life: Duration) -> Toll {
        let mut toll = Toll::default();
        while Instant::now() < end {
            self.connection(address, life, &mut toll);
            // Else the ports of loopback would run out in a minute.
            std::thread::sleep(Duration::from_millis(5));
        }
        toll
    }

    fn connection(&self, address: SocketAddr, life: Duration, toll: &mut Toll) {
        let Ok(mut stream) = TcpStream::connect(address) else { return };
        stream.set_nodelay(true).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
        let reader = stream.try_clone().unwrap();
        let reader = std::thread::spawn(move || goaway(reader));
        toll.connections += 1;
        let begun = Instant::now();
        let mut sent = 0;
        let mut alive = stream.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[]), &self.opening].concat()).is_ok();
        while alive && begun.elapsed() < life {
            let (frames, bytes) = (self.round)(sent);
            alive = stream.write_all(&bytes).is_ok();
            sent += frames;
            toll.frames += u64::from(frames);
            if !self.pause.is_zero() {
                std::thread::sleep(self.pause);
            }
        }
        if alive {
            drop(stream.shutdown(std::net::Shutdown::Both));
        }
        let goaway = reader.join().unwrap();
        toll.longest = toll.longest.max(begun.elapsed());
        match goaway {
            Some(code) => *toll.goaways.entry(code).or_default() += 1,
            None if alive => toll.open += 1,
            None => toll.silent += 1,
        }
    }
}

/// Reads to the end; the last GOAWAY's error code.
fn goaway(mut stream: TcpStream) -> Option<u32> {
    let (mut said, mut head) = (None, [0; 9]);
    while stream.read_exact(&mut head).is_ok() {
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let mut payload = vec![0; length];
        if stream.read_exact(&mut payload).is_err() {
            break;
        }
        if head[3] == GOAWAY {
            said = Some(frames::Frame { kind: GOAWAY, flags: 0, stream: 0, payload }.code());
        }
    }
    said
}

impl Toll {
    /// Counts another's connections too.
    pub fn add(&mut self, other: Self) {
        self.connections += other.connections;
        self.frames += other.frames;
        self.silent += other.silent;
        self.open += other.open;
        self.longest = self.longest.max(other.longest);
        for (code, count) in other.goaways {
            *self.goaways.entry(code).or_default() += count;
        }
    }
}
