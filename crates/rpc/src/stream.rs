//! The next item of a stream, as a future. All that is needed of a library of combinators.

use std::future::poll_fn;
use std::pin::Pin;

use futures_core::Stream;

/// Cancel safe.
pub(crate) async fn next<S: Stream + Unpin>(stream: &mut S) -> Option<S::Item> {
    poll_fn(|cx| Pin::new(&mut *stream).poll_next(cx)).await
}
