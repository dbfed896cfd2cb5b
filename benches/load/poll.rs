//! Readiness of many sockets, by epoll and nothing around it. Generator and upstream share a CPU where there are
//! only two: a runtime's tasks and timers would take from the proxy's load what the proxy is to be measured with.

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// What to be told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interest {
    Read,
    /// Room to write, and nothing else until it is written.
    Write,
}

impl Interest {
    fn flags(self) -> EventFlags {
        match self {
            Self::Read => EventFlags::IN | EventFlags::RDHUP,
            Self::Write => EventFlags::OUT,
        }
    }
}

pub(crate) struct Poll {
    epoll: OwnedFd,
    events: Vec<Event>,
}

impl Poll {
    pub(crate) fn new() -> io::Result<Self> {
        let none = Event { flags: EventFlags::empty(), data: EventData::new_u64(0) };
        Ok(Self { epoll: epoll::create(CreateFlags::CLOEXEC)?, events: vec![none; 512] })
    }

    /// Until it is closed.
    pub(crate) fn add(&self, source: impl AsFd, key: usize, interest: Interest) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, source, EventData::new_u64(key as u64), interest.flags())?)
    }

    pub(crate) fn change(&self, source: impl AsFd, key: usize, interest: Interest) -> io::Result<()> {
        Ok(epoll::modify(&self.epoll, source, EventData::new_u64(key as u64), interest.flags())?)
    }

    /// Puts the keys of what is ready into `ready`, after `patience` none.
    pub(crate) fn wait(&mut self, patience: Option<Duration>, ready: &mut Vec<usize>) -> io::Result<()> {
        ready.clear();
        let patience = patience.map(|patience| Timespec {
            tv_sec: patience.as_secs() as _,
            tv_nsec: i64::from(patience.subsec_nanos()) as _,
        });
        let count = match epoll::wait(&self.epoll, &mut self.events[..], patience.as_ref()) {
            Err(Errno::INTR) => 0,
            count => count?,
        };
        ready.extend(self.events[..count].iter().map(|event| event.data.u64() as usize));
        Ok(())
    }
}
