//! Runs hyper's tasks, of which each is an HTTP/2 stream, so that one can be ended from outside: the
//! library offers no other way once the answer's head has gone.

use std::cell::OnceCell;
use std::future::Future;
use std::rc::Rc;

use tokio::task::AbortHandle;

tokio::task_local! {
    static STREAM: Cut;
}

/// What ends a stream.
#[derive(Clone, Debug, Default)]
pub(super) struct Cut(Rc<OnceCell<AbortHandle>>);

impl Cut {
    /// Drops the stream's task, with its request and answer: `RST_STREAM` with CANCEL.
    pub(super) fn cut(&self) {
        if let Some(task) = self.0.get() {
            task.abort();
        }
    }
}

/// What ends the stream whose task this is; outside of one, nothing.
pub(super) fn this_stream() -> Cut {
    STREAM.try_with(Cut::clone).unwrap_or_default()
}

/// Runs hyper's tasks on this worker's own thread.
#[derive(Clone, Copy, Debug)]
pub(super) struct LocalExecutor;

impl<F> hyper::rt::Executor<F> for LocalExecutor
where
    F: Future + 'static,
{
    fn execute(&self, future: F) {
        let cut = Cut::default();
        let task = tokio::task::spawn_local(STREAM.scope(cut.clone(), future));
        drop(cut.0.set(task.abort_handle()));
    }
}
