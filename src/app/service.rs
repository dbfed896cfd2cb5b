//! What the service manager is told (`sd_notify(3)`): ready, reloading, stopping, alive.
//!
//! A thread of its own does the telling: a manager that does not read holds up whoever sends, and the
//! proxy goes on serving meanwhile. Where there is no `NOTIFY_SOCKET`, nobody is told anything.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use super::Environment;
use crate::live::{Outcome, Reload};
use crate::model::Severity;
use crate::server::Rounds;

/// Messages that wait for a manager which does not read; what comes after them is not told.
const WAITING: usize = 64;

/// How long the end of the process waits for the last of them.
const PATIENCE: Duration = Duration::from_secs(1);

/// What the end may take besides the drain: tokens are given up, the threads come to an end.
const BEHIND_THE_DRAIN: Duration = Duration::from_secs(15);

/// One assignment of a message.
#[derive(Debug)]
enum Word {
    Ready,
    Reloading,
    Stopping,
    Alive,
    Status(String),
    /// How much longer the manager should wait than it may have been told to.
    Extend(Duration),
}

/// The service manager, where the process has one.
pub(super) struct Service {
    telling: Option<Telling>,
    /// What it was last told of the service's state.
    status: String,
}

struct Telling {
    messages: SyncSender<Vec<Word>>,
    over: oneshot::Receiver<()>,
    watching: Option<JoinHandle<()>>,
}

impl Service {
    /// The manager that the environment names.
    pub(super) fn of(environment: &Environment) -> Self {
        if environment("NOTIFY_SOCKET").is_none_or(|socket| socket.is_empty()) {
            return Self { telling: None, status: String::new() };
        }
        let (messages, inbox) = sync_channel(WAITING);
        let (end, over) = oneshot::channel();
        let thread = std::thread::Builder::new().name("service".to_owned()).spawn(move || {
            tell_all(&inbox);
            drop(end);
        });
        let telling = match thread {
            Ok(_) => Some(Telling { messages, over, watching: None }),
            Err(error) => {
                tracing::warn!(%error, "the service manager cannot be told anything");
                None
            }
        };
        Self { telling, status: String::new() }
    }

    /// The listeners accept. From now on the manager's watchdog, if it has one, is told that the
    /// workers go round; this task, that the control thread does.
    pub(super) fn serving(&mut self, generation: u64, rounds: Rounds) {
        self.status = status(generation);
        self.tell(vec![Word::Ready, Word::Status(self.status.clone())]);
        if let (Some(telling), Some(within)) = (&mut self.telling, sd_notify::watchdog_enabled()) {
            let messages = telling.messages.clone();
            telling.watching =
                Some(tokio::spawn(watch(messages, rounds, (within / 2).max(Rounds::EACH + Rounds::EACH / 2))));
        }
    }

    /// A reload was asked for. One that a changed file is the reason of is told with its result only:
    /// most looks at files find that nothing has changed.
    pub(super) fn reloading(&self) {
        self.tell(vec![Word::Reloading]);
    }

    /// What came of a reload, whether one was `asked` for.
    pub(super) fn reloaded(&mut self, reload: &Reload, asked: bool) {
        let mut status = status(reload.generation);
        if reload.outcome == Outcome::Refused {
            status.push_str("; the last reload was refused: ");
            status.push_str(&refusal(reload));
        }
        if asked || status != self.status {
            self.tell(vec![Word::Ready, Word::Status(status.clone())]);
            self.status = status;
        }
    }

    /// It ends, for this reason, and may take so long to finish what is under way.
    pub(super) fn stopping(&self, why: &str, within: Duration) {
        let extend = Word::Extend(within.saturating_add(BEHIND_THE_DRAIN));
        self.tell(vec![Word::Stopping, extend, Word::Status(format!("{why}, finishing what is under way"))]);
    }

    /// Waits a moment until the manager has been told everything.
    pub(super) async fn end(self) {
        let Some(Telling { messages, over, watching }) = self.telling else { return };
        if let Some(watching) = watching {
            watching.abort();
            // Only once the task is gone is its sender.
            drop(watching.await);
        }
        drop(messages);
        drop(tokio::time::timeout(PATIENCE, over).await);
    }

    fn tell(&self, message: Vec<Word>) {
        if let Some(telling) = &self.telling {
            // A manager that has left so much unread is not waited for.
            drop(telling.messages.try_send(message));
        }
    }
}

fn status(generation: u64) -> String {
    format!("serving, configuration generation {generation}")
}

/// In one short line; the log has it whole.
fn refusal(reload: &Reload) -> String {
    if let Some(error) = &reload.error {
        return error.clone();
    }
    let mut errors = reload.problems.iter().filter(|problem| problem.severity == Severity::Error);
    let Some(first) = errors.next() else { return "the configuration is invalid".to_owned() };
    let more = match errors.count() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{}:{}:{}: {}{more}", first.file, first.line, first.column, first.message)
}

/// Tells the watchdog at each look that all is well, as long as it is.
async fn watch(messages: SyncSender<Vec<Word>>, mut rounds: Rounds, every: Duration) {
    let mut looks = tokio::time::interval(every);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first comes at once, when a worker may not have ticked yet.
    looks.tick().await;
    loop {
        looks.tick().await;
        let silent = rounds.silent();
        if silent.is_empty() {
            drop(messages.try_send(vec![Word::Alive]));
        } else {
            tracing::error!(workers = ?silent, "workers hang: the service manager's watchdog is not told that all is well");
        }
    }
}

fn tell_all(inbox: &Receiver<Vec<Word>>) {
    let mut failed = false;
    for message in inbox {
        let states: Vec<_> = message.iter().flat_map(states).collect();
        match sd_notify::notify(&states) {
            Err(error) if !failed => {
                failed = true;
                tracing::warn!(%error, "the service manager cannot be told of the service's state");
            }
            Err(_) | Ok(()) => {}
        }
    }
}

fn states(word: &Word) -> Vec<NotifyState<'_>> {
    match word {
        Word::Ready => vec![NotifyState::Ready],
        // Without the time systemd 253 and later would wait for it, and end the service.
        Word::Reloading => match NotifyState::monotonic_usec_now() {
            Ok(now) => vec![NotifyState::Reloading, now],
            Err(_) => Vec::new(),
        },
        Word::Stopping => vec![NotifyState::Stopping],
        Word::Alive => vec![NotifyState::Watchdog],
        Word::Status(status) => vec![NotifyState::Status(status.lines().next().unwrap_or_default())],
        Word::Extend(by) => vec![NotifyState::ExtendTimeoutUsec(u32::try_from(by.as_micros()).unwrap_or(u32::MAX))],
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::server::Pulse;

    #[tokio::test(start_paused = true)]
    async fn the_watchdog_hears_nothing_while_a_worker_hangs() {
        let pulses = [Arc::new(Pulse::default()), Arc::new(Pulse::default())];
        let (messages, inbox) = sync_channel(WAITING);
        let rounds = Rounds::new(pulses.iter().cloned());
        let watching = tokio::spawn(watch(messages, rounds, Duration::from_secs(15)));
        let beats = |which: &[usize]| {
            let beating: Vec<_> = which.iter().map(|&number| Arc::clone(&pulses[number])).collect();
            async move {
                for _ in 0..150 {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    for pulse in &beating {
                        pulse.beat();
                    }
                }
            }
        };
        beats(&[0, 1]).await;
        let heard = inbox.try_iter().count();
        assert!((1..=2).contains(&heard), "half a minute, a look every 15 s: {heard}");
        beats(&[0]).await;
        beats(&[0]).await;
        let heard = inbox.try_iter().count();
        assert!(heard <= 1, "only the look that still found a beat of both: {heard}");
        beats(&[0, 1]).await;
        assert!(inbox.try_iter().count() >= 1, "what hung for a moment is well again");
        watching.abort();
    }

    #[test]
    fn a_status_is_one_line_and_a_long_drain_the_longest_that_can_be_said() {
        let word = Word::Status("one\nREADY=1".to_owned());
        assert_eq!(states(&word).iter().map(ToString::to_string).collect::<Vec<_>>(), ["STATUS=one"]);
        let word = Word::Extend(Duration::from_secs(86_400));
        let said = states(&word).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(said, [format!("EXTEND_TIMEOUT_USEC={}", u32::MAX)]);
    }

    #[test]
    fn reloading_is_said_with_the_time() {
        let said: Vec<_> = states(&Word::Reloading).iter().map(ToString::to_string).collect();
        assert_eq!(said[0], "RELOADING=1");
        assert!(said[1].strip_prefix("MONOTONIC_USEC=").is_some_and(|time| time.parse::<u64>().is_ok()), "{said:?}");
    }
}
