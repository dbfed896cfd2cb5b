//! A terminal, for what is shown to people only.

use std::fs::File;
use std::io::Read;
use std::process::{Command, Stdio};
use std::thread::JoinHandle;

use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};

/// One end of a pseudo-terminal; the other is a program's stderr.
pub struct Terminal {
    program: File,
    reading: JoinHandle<String>,
}

impl Terminal {
    pub fn open() -> Self {
        // Of nobody's session: the test's own terminal stays as it is.
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
        let ours = openpt(flags | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        let program = ioctl_tiocgptpeer(&ours, flags | OpenptFlags::CLOEXEC).unwrap().into();
        let mut ours = File::from(ours);
        let reading = std::thread::spawn(move || {
            let (mut seen, mut buffer) = (Vec::new(), [0; 4096]);
            // Ends with EIO, once nobody has the other end.
            while let Ok(read @ 1..) = ours.read(&mut buffer) {
                seen.extend_from_slice(&buffer[..read]);
            }
            String::from_utf8(seen).unwrap()
        });
        Self { program, reading }
    }

    /// Runs a command with this terminal as its stderr: what it wrote to stdout, and what was seen here.
    pub fn run(self, command: &mut Command) -> (String, String) {
        let output = command.stderr(Stdio::from(self.program)).output().unwrap();
        // The command keeps what it was given.
        command.stderr(Stdio::null());
        (String::from_utf8(output.stdout).unwrap(), self.reading.join().unwrap())
    }
}
