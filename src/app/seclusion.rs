//! Keeps what is in this process's memory in this process: no core dump, no debugger and no
//! `/proc/PID/environ` or `mem` for others of the same user, no request in a panic's message.

use std::panic::PanicHookInfo;

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// With any value but `0` or none, the process can be looked into: for whoever debugs it.
const DUMPABLE: &str = "TOKENFERRY_DUMPABLE";

/// Closes the process to others: tokens and secrets are in its memory, and secrets in its environment.
/// What the system does not allow is left as it was; nothing else depends on it.
pub fn seclude(environment: impl Fn(&str) -> Option<String>) {
    if environment(DUMPABLE).is_some_and(|value| !matches!(value.as_str(), "" | "0")) {
        return;
    }
    // PR_SET_DUMPABLE (prctl(2)): /proc/PID/ is root's from now on, and no dump is written, also not to
    // the program that `core_pattern` names, which a limit of 0 does not hold off.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    // Holds also for whatever this process might become.
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
}

/// Has panics told by their place alone, as a log line. What a panic says may quote a request.
pub fn tell_panics_by_place() {
    std::panic::set_hook(Box::new(tell));
}

fn tell(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(|at| format!("{}:{}", at.file(), at.line()));
    let thread = std::thread::current();
    tracing::error!(place, thread = thread.name(), "a panic: a fault of this program, please report it");
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_panic_is_told_by_its_place_and_without_what_it_says() {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
        let before = std::panic::take_hook();
        tell_panics_by_place();
        let caught = tracing::subscriber::with_default(subscriber, || {
            std::panic::catch_unwind(|| panic!("cannot read Authorization: Bearer {}", "k3y"))
        });
        std::panic::set_hook(before);
        assert!(caught.is_err());
        let told = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        assert!(told.contains("seclusion.rs:") && told.contains("a panic"), "{told}");
        assert!(!told.contains("k3y") && !told.contains("Bearer"), "{told}");
    }
}
