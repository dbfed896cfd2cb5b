//! How many files may be open, and how near that is.
//!
//! The kernel gives each new file the lowest number that is free. So a number near the limit says
//! that nearly all of them are taken, and those that are left can be kept for what must go on: first
//! for requests of connections that are there, the last for reloads, logins and the admin port.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// How many of the last numbers are not for everyone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reserve {
    /// What a new connection leaves: for requests of those that are there.
    NewWork,
    /// What such a request leaves: for reloads, logins and the admin port.
    OldWork,
}

impl Reserve {
    /// At most this many, and an eighth of all where there are few.
    const MOST: u64 = 64;

    fn size(self, limit: u64) -> u64 {
        let all = (limit / 8).min(Self::MOST);
        match self {
            Self::NewWork => all,
            Self::OldWork => all / 2,
        }
    }

    /// Whether a file with this number is one of those that are kept.
    fn holds(self, number: u64, limit: Option<u64>) -> bool {
        limit.is_some_and(|limit| number >= limit - self.size(limit))
    }
}

/// Whether this file, which was just opened, is one of those that are kept for other things.
pub fn is_reserved(file: &impl AsFd, reserve: Reserve) -> bool {
    let number = u64::try_from(file.as_fd().as_raw_fd()).unwrap_or(0);
    // One call of the kernel's a connection; the limit may be changed from outside (prlimit(2)).
    reserve.holds(number, getrlimit(Resource::Nofile).current)
}

/// What the system says in that case.
pub fn exhausted() -> io::Error {
    io::Error::from_raw_os_error(Errno::MFILE.raw_os_error())
}

/// Whether the fault is that this machine has too little of something, not the other side's.
pub fn is_local_shortage(error: &io::Error) -> bool {
    let of = [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::NOBUFS, Errno::ADDRNOTAVAIL, Errno::AGAIN];
    error.raw_os_error().is_some_and(|code| of.iter().any(|errno| errno.raw_os_error() == code))
}

/// Raises the number of files that may be open to what the system allows at most; how many that are,
/// or `None` for any number.
pub fn raise() -> Option<u64> {
    let now = getrlimit(Resource::Nofile);
    if now.current != now.maximum {
        // Not allowed to: it stays as it was.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: now.maximum, maximum: now.maximum });
    }
    getrlimit(Resource::Nofile).current
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_numbers_are_kept() {
        for (limit, new, old) in [(256, 224, 240), (1024, 960, 992), (1_048_576, 1_048_512, 1_048_544)] {
            assert!(!Reserve::NewWork.holds(new - 1, Some(limit)) && Reserve::NewWork.holds(new, Some(limit)));
            assert!(!Reserve::OldWork.holds(old - 1, Some(limit)) && Reserve::OldWork.holds(old, Some(limit)));
        }
        assert!(!Reserve::NewWork.holds(1 << 40, None));
    }

    #[test]
    fn a_refused_connection_is_no_shortage_of_ours() {
        assert!(is_local_shortage(&exhausted()));
        assert!(!is_local_shortage(&io::Error::from_raw_os_error(Errno::CONNREFUSED.raw_os_error())));
        assert!(!is_local_shortage(&io::ErrorKind::TimedOut.into()));
    }
}
