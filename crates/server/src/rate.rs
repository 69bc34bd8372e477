//! Rates: how fast one client may send.
//!
//! A bucket of tokens for messages and one for bytes, each filled at its rate and holding a second's worth. What is
//! above the rate is left in the socket, so that nothing is lost and the network slows the client down. Relates to:
//! `connection.rs`, which asks before each packet and does not read while a bucket is empty. Leaves out: how much is
//! sent to a client.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use gantline_protocol::{ClientId, Moment, PacketType};
use gantline_transport::Turn;
use tokio::time::{Sleep, sleep};

use crate::broker::counters::Counters;

/// How many messages and bytes one client may send a second; 0 is no bound.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rates {
    pub(crate) messages: u32,
    pub(crate) bytes: u32,
}

/// How fast one client may send, and how fast it has sent.
#[derive(Debug)]
pub(crate) struct Rate {
    messages: Bucket,
    bytes: Bucket,
    filled: Moment,
    /// There while nothing is read.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Rate {
    /// The rate of a client; `None` if there is none.
    pub(crate) fn new(Rates { messages, bytes }: Rates, now: Moment) -> Option<Box<Self>> {
        (messages > 0 || bytes > 0).then(|| {
            let (messages, bytes) = (Bucket::new(messages), Bucket::new(bytes));
            Box::new(Self { messages, bytes, filled: now, timer: None })
        })
    }

    /// A packet has come. Says whether the next one may come too.
    pub(crate) fn take(&mut self, frame: &[u8]) -> Turn {
        let is_message = frame.first().is_some_and(|first| first >> 4 == PacketType::Publish.value());
        let message = self.messages.take(u64::from(is_message));
        if self.bytes.take(frame.len() as u64) && message { Turn::Continue } else { Turn::Stop }
    }

    /// Whether the client is to be read. If not, the task is woken when it is.
    pub(crate) fn may_read(
        &mut self,
        now: Moment,
        cx: &mut Context<'_>,
        counters: &Counters,
        client: &ClientId,
    ) -> bool {
        let elapsed = now.since(self.filled);
        self.filled = now;
        self.messages.fill(elapsed);
        self.bytes.fill(elapsed);
        let wait = self.messages.wait().max(self.bytes.wait());
        if wait.is_zero() {
            self.timer = None;
            return true;
        }
        let timer = self.timer.get_or_insert_with(|| {
            counters.throttled.add(1);
            tracing::debug!(name: "client.throttled", %client, ?wait, "sends faster than it may");
            Box::pin(sleep(wait))
        });
        // It was for a moment ago, or our clock is a little behind: it has to be asked once more.
        while timer.as_mut().poll(cx) == Poll::Ready(()) {
            timer.set(sleep(wait));
        }
        false
    }
}

/// Tokens in thousandths, so that a millisecond of a low rate counts too. Below zero, what was taken is not there yet.
#[derive(Debug)]
struct Bucket {
    /// Tokens a second; 0 is no bound.
    rate: u32,
    level: i64,
}

impl Bucket {
    fn new(rate: u32) -> Self {
        Self { rate, level: i64::from(rate) * THOUSAND }
    }

    /// Takes tokens; returns whether there are more.
    fn take(&mut self, tokens: u64) -> bool {
        if self.rate == 0 {
            return true;
        }
        let tokens = i64::try_from(tokens).unwrap_or(i64::MAX).saturating_mul(THOUSAND);
        self.level = self.level.saturating_sub(tokens);
        self.level > 0
    }

    fn fill(&mut self, elapsed: Duration) {
        let millis = i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX);
        let full = i64::from(self.rate) * THOUSAND;
        // A rate is tokens a second, which is thousandths a millisecond.
        self.level = self.level.saturating_add(millis.saturating_mul(self.rate.into())).min(full);
    }

    /// How long it takes until there is a token.
    fn wait(&self) -> Duration {
        if self.rate == 0 || self.level > 0 {
            return Duration::ZERO;
        }
        // The next thousandth is enough to be above zero, so one millisecond more than it takes to get there.
        let millis = self.level.unsigned_abs() / u64::from(self.rate) + 1;
        Duration::from_millis(millis)
    }
}

const THOUSAND: i64 = 1_000;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Bucket;

    #[test]
    fn a_bucket_gives_its_rate_and_a_second_at_once() {
        let mut bucket = Bucket::new(10);
        let mut given = 0;
        for millis in 0..10_000 {
            while bucket.wait().is_zero() {
                bucket.take(1);
                given += 1;
            }
            assert!(bucket.wait() <= Duration::from_millis(101), "{millis}");
            bucket.fill(Duration::from_millis(1));
        }
        assert!((109..=111).contains(&given), "{given}");
    }

    #[test]
    fn what_is_larger_than_the_bucket_is_paid_back() {
        let mut bucket = Bucket::new(100);
        assert!(!bucket.take(1_100));
        let wait = bucket.wait();
        assert_eq!(wait, Duration::from_millis(10_001));
        bucket.fill(wait);
        assert!(bucket.wait().is_zero());
        bucket.fill(Duration::from_secs(1 << 40));
        assert!(bucket.take(99) && !bucket.take(1));
    }

    #[test]
    fn without_a_rate_there_is_no_bound() {
        let mut bucket = Bucket::new(0);
        assert!(bucket.take(u64::MAX) && bucket.wait().is_zero());
    }
}
