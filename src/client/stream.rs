//! Streams: what comes one after the other, awaited or waited for.
//!
//! A [`Watch`], a [`Scan`], a [`LogTail`], [`HandleEvents`] and [`SessionEvents`] are streams, and no iterators: something that
//! is both has two methods of each name (`next`, `map`, `take`), and where `futures::StreamExt` is imported none of them can be
//! called. A `for` makes a [`Blocking`] of one, which is an iterator and no stream.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;

use super::block_on::{block_on, block_on_timeout};
use super::error::Result;
use super::handle_events::{HandleEvent, HandleEvents};
use super::listing::Scan;
use super::log::{LogTail, Tailed};
use super::observe::SessionEvents;
use super::session::SessionEvent;
use super::watch::{Watch, WatchEvent};
use crate::namespace::command::Scanned;

/// What comes next of a stream; `None` once it is at its end. Await it on any runtime, or [`wait`](Self::wait) for it.
///
/// Nothing is taken from the stream before this is polled, and nothing of it is lost if this is dropped.
#[derive(Debug)]
#[must_use = "nothing is taken from the stream until this is awaited, or waited for"]
pub struct Next<'a, S>(&'a mut S);

/// A stream as an iterator: it blocks its thread until there is something, and ends with the stream. Not for threads of an
/// async runtime: await [`Next`] there.
///
/// Made by a `for` over the stream, or over a mutable borrow of it, which leaves the rest to be taken later.
#[derive(Debug)]
pub struct Blocking<S>(S);

impl<S: Stream + Unpin> Next<'_, S> {
    /// Blocks this thread until it comes. Not for threads of an async runtime: await there.
    pub fn wait(self) -> Option<S::Item> {
        block_on(self)
    }
}

impl<S: Stream + Unpin> Future for Next<'_, S> {
    type Output = Option<S::Item>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<S::Item>> {
        Pin::new(&mut *self.0).poll_next(context)
    }
}

impl<S: Stream + Unpin> Iterator for Blocking<S> {
    type Item = S::Item;

    /// Blocks this thread until there is something.
    fn next(&mut self) -> Option<S::Item> {
        Next(&mut self.0).wait()
    }
}

/// What each stream has besides: to be asked for what comes next without an import, and to be gone through by a `for`.
macro_rules! streams {
    ($($stream:ty: $item:ty),+ $(,)?) => {$(
        impl $stream {
            /// What comes next, to be awaited or waited for; no import is needed. Where `futures::StreamExt` is imported, this one
            /// is called still, and awaited it is the same.
            #[allow(clippy::should_implement_trait, reason = "as an iterator too it would have every adapter twice")]
            pub fn next(&mut self) -> Next<'_, Self> {
                Next(self)
            }

            /// Blocks this thread until something comes, for at most `timeout`: `None` if nothing did, and too once nothing more
            /// will ([`is_over`](Self::is_over)).
            pub fn next_timeout(&mut self, timeout: Duration) -> Option<$item> {
                block_on_timeout(Next(self), timeout).flatten()
            }
        }

        impl IntoIterator for $stream {
            type Item = $item;
            type IntoIter = Blocking<Self>;

            fn into_iter(self) -> Blocking<Self> {
                Blocking(self)
            }
        }

        impl<'a> IntoIterator for &'a mut $stream {
            type Item = $item;
            type IntoIter = Blocking<Self>;

            fn into_iter(self) -> Blocking<Self> {
                Blocking(self)
            }
        }
    )+};
}

streams! {
    HandleEvents: HandleEvent,
    LogTail: Result<Tailed>,
    Scan: Result<Scanned>,
    SessionEvents: SessionEvent,
    Watch: Result<WatchEvent>,
}
