//! The reading of a connection: whether the socket is read, and what one read leads to.
//!
//! Relates to: `connection.rs`, whose turns begin with it. Leaves out: what packets lead to (`exchange.rs`).

use std::io;
use std::task::{Context, Poll};

use gantline_protocol::Moment;
use gantline_transport::{Framed, FramedError, ReadTurn, Turn, WebSocketFailure};

use super::Connection;
use crate::exchange::{End, Exchange};

/// What reading led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Read {
    Something,
    /// Nothing; what comes wakes.
    Pending,
    /// The client was not read: see [`Connection::may_read`].
    NotAllowed,
}

impl Connection {
    /// Reads once and handles what is whole.
    pub(super) fn read(&mut self, now: Moment, cx: &mut Context<'_>) -> Result<Read, End> {
        if !self.may_read() {
            return Ok(Read::NotAllowed);
        }
        let Self { framed, exchange, rate, .. } = self;
        exchange.begin();
        // Two calls, so that where there is no rate nothing asks for one.
        let (turn, ended) = match rate {
            None => read_frames(framed, exchange, now, cx, |_| Turn::Continue),
            Some(rate) => {
                if !rate.may_read(now, cx, &exchange.broker.counters, exchange.slot.id()) {
                    // It is us who keep silent, so the client is not given up for that.
                    exchange.machine.note_received(now);
                    exchange.slot.hear(now);
                    return Ok(Read::Pending);
                }
                read_frames(framed, exchange, now, cx, |frame| rate.take(frame))
            }
        };
        if let Poll::Ready(Ok(turn)) = &turn {
            exchange.tally.came(turn.frames, turn.bytes);
        }
        match (turn, ended) {
            (_, Some(end)) => Err(end),
            (Poll::Pending, None) => Ok(Read::Pending),
            (Poll::Ready(Ok(turn)), None) => {
                let progress = turn.bytes >= PROGRESS;
                if progress {
                    exchange.machine.note_received(now);
                }
                if progress || turn.frames > 0 {
                    exchange.slot.hear(now);
                }
                Ok(Read::Something)
            }
            (Poll::Ready(Err(FramedError::Violation(violation))), None) => Err(End::Violated(violation)),
            (Poll::Ready(Err(FramedError::Closed)), None) => Err(End::Lost),
            (Poll::Ready(Err(FramedError::Io(error))), None) => Err(self.lost(&error)),
        }
    }

    /// The end of a connection that cannot be read.
    #[cold]
    fn lost(&self, error: &io::Error) -> End {
        let (client, peer) = (self.exchange.slot.id(), self.framed.info());
        match WebSocketFailure::of(error) {
            Some(failure) => {
                self.exchange.broker.counters.violations.add(1);
                tracing::info!(%client, %peer, %failure, "breaks WebSocket");
            }
            None => tracing::debug!(%client, %peer, %error, "the connection failed"),
        }
        End::Lost
    }

    /// Whether the socket is read. It is not while the client does not read its answers; nor while the client is held
    /// back, unless acknowledgements for us may come through that socket: else two clients that publish to each other
    /// would wait for one another.
    pub(super) fn may_read(&self) -> bool {
        if self.stopping
            || self.exchange.is_paused()
            || self.framed.pending_out() > self.unwritten + MOST_ANSWERS
        {
            return false;
        }
        self.hold.is_none() || self.exchange.machine.inflight() > 0 || self.exchange.slot.mailbox.above_half()
    }
}

/// Reads once and handles what is whole, as long as `more` says so. Returns why the connection ends, if it does.
fn read_frames(
    framed: &mut Framed,
    exchange: &mut Exchange,
    now: Moment,
    cx: &mut Context<'_>,
    mut more: impl FnMut(&[u8]) -> Turn,
) -> (Poll<Result<ReadTurn, FramedError>>, Option<End>) {
    let (waker, inspects, mut ended) = (cx.waker(), exchange.inspects(), None);
    let turn = framed.poll_read_turn(cx, |frame: &[u8], out: &mut Vec<u8>| {
        if inspects && let Err(end) = exchange.inspect(frame) {
            ended = Some(end);
            return Turn::Stop;
        }
        match exchange.receive(now, waker, frame, out) {
            Ok(turn) => match more(frame) {
                Turn::Continue => turn,
                Turn::Stop => Turn::Stop,
            },
            Err(end) => {
                ended = Some(end);
                Turn::Stop
            }
        }
    });
    (turn, ended)
}

/// Answers above which a client that does not read them is not read either: 256 KiB.
const MOST_ANSWERS: usize = 256 << 10;
/// Bytes in one read that count as a sign of life without a whole packet [MQTT-3.1.2-22]: a large packet on a slow line
/// is one, a byte now and then is not.
const PROGRESS: usize = 1 << 10;
