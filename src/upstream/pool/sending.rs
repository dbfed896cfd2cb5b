//! A request on its way to an upstream, up to its answer's head. These futures are written out: an `async` block
//! keeps what it awaits beside what it was made of, and one in the other the room, and the copying, multiplies.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::client::conn::TrySendError;
use pin_project_lite::pin_project;

use super::link::{Failure, Http1};
use super::{Answer, SendError};

pin_project! {
    /// A request over one HTTP/1 connection.
    pub(super) struct Answering<F, B> {
        #[pin]
        answer: F,
        link: Option<Rc<Http1<B>>>,
        // Whether the connection had carried a request before.
        reused: bool,
    }
}

impl<F, B> Answering<F, B> {
    pub(super) fn new(answer: F, link: Rc<Http1<B>>, reused: bool) -> Self {
        Self { answer, link: Some(link), reused }
    }
}

impl<F, B> Future for Answering<F, B>
where
    F: Future<Output = Result<Response<Incoming>, TrySendError<Request<B>>>>,
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Output = Result<Response<Answer>, Failure<B>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let answered = ready!(this.answer.poll(cx));
        match this.link.take() {
            Some(link) => Poll::Ready(link.answer(answered, *this.reused)),
            // It has been answered, and nobody asks again.
            None => Poll::Pending,
        }
    }
}

pin_project! {
    /// The way that a request takes.
    #[project = WayNow]
    pub(super) enum Way<W, C> {
        // Over a connection that lay ready.
        Warm { #[pin] answer: W },
        // In any other way.
        Cold { answer: Pin<Box<C>> },
        // Not through this pool.
        None,
    }
}

pin_project! {
    /// A request through a pool. `again` sends one on that a connection gave back, if that is still wanted.
    pub(super) struct Sending<W, C, A> {
        #[pin]
        way: Way<W, C>,
        again: A,
    }
}

impl<W, C, A> Sending<W, C, A> {
    pub(super) fn new(way: Way<W, C>, again: A) -> Self {
        Self { way, again }
    }
}

impl<W, C, A, B> Future for Sending<W, C, A>
where
    W: Future<Output = Result<Response<Answer>, Failure<B>>>,
    C: Future<Output = Result<Response<Answer>, SendError<B>>>,
    A: Fn(Request<B>) -> Option<Pin<Box<C>>>,
{
    type Output = Result<Response<Answer>, SendError<B>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let back = match this.way.as_mut().project() {
                WayNow::None => return Poll::Ready(Err(SendError::Elsewhere)),
                WayNow::Cold { answer } => return answer.as_mut().poll(cx),
                WayNow::Warm { answer } => match ready!(answer.poll(cx)) {
                    Ok(response) => return Poll::Ready(Ok(response)),
                    Err(Failure::Over(error)) => return Poll::Ready(Err(error)),
                    Err(Failure::Unsent(back, _)) => back,
                },
            };
            match (this.again)(*back) {
                Some(answer) => this.way.set(Way::Cold { answer }),
                None => return Poll::Ready(Err(SendError::Unwanted)),
            }
        }
    }
}
