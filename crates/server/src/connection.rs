//! The task of a connection: the one that reads and writes its socket.
//!
//! It has three wake sources: the socket, the mailbox, and a timer only while the client is held back. A turn reads
//! once, handles what is whole, takes from the mailbox, and writes once. Everything else that is timed (keep alive,
//! will, session expiry) reaches it as an order in the mailbox, so that an idle connection has no timer. Relates to:
//! `connection/reading.rs`, the first half of a turn; `exchange.rs`, what packets lead to; `handshake.rs`, how a
//! connection comes to be. Leaves out: what packets mean.
//!
//! Memory of an idle connection, on top of what tokio and the system keep: this task, and the client's slot. A test
//! below holds the sizes.

mod reading;

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use gantline_protocol::Moment;
use gantline_transport::{Clock, Framed, Taken, Want};
use tokio::time::timeout;

use self::reading::Read;
use crate::admission::Admission;
use crate::broker::slot::Order;
use crate::events::ServerEvent;
use crate::exchange::{End, Exchange};
use crate::handshake::Accepted;
use crate::hold::{Hold, HoldCredit};
use crate::rate::Rate;

/// A connection whose client was accepted.
#[derive(Debug)]
pub(crate) struct Connection {
    framed: Framed,
    exchange: Exchange,
    clock: Clock,
    hold: Option<Box<Hold>>,
    credit: HoldCredit,
    /// There if the client may not send as fast as it can.
    rate: Option<Box<Rate>>,
    /// How long the output was when something from the mailbox or a replay was last added, or the server began to stop.
    /// Unless it is 0, that is not written yet, and nothing more is taken.
    unwritten: usize,
    /// Messages of the mailbox have used the client's window last, so that a replay comes first now.
    replay_is_next: bool,
    /// The server stops: nothing more is read.
    stopping: bool,
    admission: Admission,
}

/// What a wake-up has still to look at. A half of the turn that has found nothing is left alone from then on, because
/// what comes for it wakes; but what the other half does may concern it too.
#[derive(Debug)]
struct Ahead {
    reading: bool,
    sending: bool,
}

impl Connection {
    pub(crate) fn new(accepted: Accepted, clock: Clock, admission: Admission) -> Self {
        let Accepted { framed, machine, authentication, interception, rates } = accepted;
        let exchange = Exchange::new(admission.broker(), machine, authentication, interception);
        let unwritten = framed.pending_out();
        let rate = Rate::new(rates, clock.now());
        exchange.slot.patience.unblock();
        Self {
            framed,
            exchange,
            clock,
            hold: None,
            credit: HoldCredit::default(),
            rate,
            unwritten,
            replay_is_next: false,
            stopping: false,
            admission,
        }
    }

    /// Sends what is under way, says that the server stops, and ends.
    pub(crate) fn stop(&mut self) {
        self.stopping = true;
        self.hold = None;
        self.exchange.release(self.framed.out());
        // The end waits for all of that.
        self.unwritten = self.framed.pending_out();
    }

    /// The task that runs the connection to its end. Dropping it ends the connection at once; the session goes back all
    /// the same.
    pub(crate) const fn run(self) -> Running {
        Running(Some(self))
    }

    /// Says goodbye where that is ours to do, and gives the session back before the peer is waited for.
    fn finish(self, end: &End) {
        // Whatever ends it now, it is the server that stops: no will is published.
        let end = if self.stopping { &End::Stopped } else { end };
        let Self { mut framed, mut exchange, admission, .. } = self;
        let (client, peer) = (exchange.slot.id(), framed.info());
        exchange.broker.events.announce(|| ServerEvent::Disconnected {
            client_id: client.clone(),
            peer: Arc::clone(peer),
            cause: end.cause(),
        });
        match end {
            End::Violated(violation) => {
                tracing::info!(name: "client.disconnected", %client, %peer, %violation, "disconnected")
            }
            end => tracing::debug!(name: "client.disconnected", %client, %peer, ?end, "disconnected"),
        }
        let speaks = exchange.end(end, framed.out());
        if speaks {
            // An inspector that panics now can end nothing more.
            let _ = inspect(&mut exchange, &mut framed);
        }
        // Who says goodbye, or only that it sends no more, has still asked for what it sent before: the CONNACK of its
        // CONNECT for one. Where the network has failed, this fails at once.
        if speaks || framed.has_last_words() {
            let timeout = exchange.broker.options.close_timeout;
            tokio::spawn(farewell(framed, timeout, admission));
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let now = self.clock.now();
        let polled = if tracing::level_enabled!(tracing::Level::TRACE) {
            self.span().in_scope(|| self.take_turns(now, cx))
        } else {
            self.take_turns(now, cx)
        };
        self.exchange.account(now);
        polled
    }

    /// What encloses the work of one wake-up, user code included.
    #[cold]
    fn span(&self) -> tracing::Span {
        let (client, peer) = (self.exchange.slot.id(), self.framed.info());
        tracing::trace_span!("client.turn", %client, %peer)
    }

    #[inline(never)]
    fn take_turns(&mut self, now: Moment, cx: &mut Context<'_>) -> Poll<End> {
        let mut ahead = Ahead { reading: true, sending: true };
        for _ in 0..TURNS {
            match self.turn(now, cx, &mut ahead) {
                Ok(true) => {}
                Ok(false) => return Poll::Pending,
                Err(end) => return Poll::Ready(end),
            }
        }
        // Others shall have their turn too.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// One turn, of what is still ahead. `Ok(false)`: nothing is left to do, and whatever comes next wakes.
    fn turn(&mut self, now: Moment, cx: &mut Context<'_>, ahead: &mut Ahead) -> Result<bool, End> {
        let hooked = self.exchange.interception.is_some();
        let mut read = Read::Pending;
        if ahead.reading || hooked {
            read = self.take_in(now, cx, hooked)?;
            ahead.reading = read != Read::Pending;
        }
        let mut busy = read == Read::Something;
        if busy || ahead.sending || hooked {
            ahead.sending = self.give_out(now, cx, hooked)?;
            busy |= ahead.sending;
        }
        Ok(busy || (read == Read::NotAllowed && self.may_read()))
    }

    /// The first half of a turn: what comes from the client, up to the mailboxes of others.
    #[inline]
    fn take_in(&mut self, now: Moment, cx: &mut Context<'_>, hooked: bool) -> Result<Read, End> {
        if hooked {
            self.begin_inspecting();
        }
        // What waited for a hook comes before what is read.
        let resumed = if hooked { self.exchange.resume(now, cx, self.framed.bare_out()) } else { Ok(false) };
        let read = if resumed.is_ok() { self.read(now, cx) } else { Ok(Read::Pending) };
        let released = self.hand_over(now, cx);
        let read = read?;
        Ok(if resumed? | released { Read::Something } else { read })
    }

    /// The second half: what goes to the client. Returns whether it has more to do than to wait.
    #[inline]
    fn give_out(&mut self, now: Moment, cx: &mut Context<'_>, hooked: bool) -> Result<bool, End> {
        let mut busy = self.exchange.authenticate(cx, self.framed.bare_out())?;
        let has_room = self.unwritten == 0;
        busy |= hooked && has_room && self.deliver(now, cx)?;
        busy |= self.take(now, cx)?;
        busy |= has_room && self.replay(now);
        if hooked {
            self.inspect()?;
        }
        busy |= self.write(now, cx)?;
        Ok(busy)
    }

    /// Hands over what was published, wakes those who get it, and holds the client back if they cannot keep up. Returns
    /// whether it is no longer held back.
    fn hand_over(&mut self, now: Moment, cx: &mut Context<'_>) -> bool {
        self.exchange.settle(now);
        let counters = &self.exchange.broker.counters;
        if let Some(publisher) = &mut self.exchange.publishing.publisher {
            publisher.after.wake();
            let filled = &mut publisher.after.filled;
            if !filled.is_empty() {
                match &mut self.hold {
                    Some(hold) => hold.extend(filled.drain(..)),
                    None => self.hold = self.credit.hold(counters, filled.drain(..), now).map(Box::new),
                }
                if self.hold.is_some() {
                    self.exchange.hold();
                }
            }
        }
        let Some(hold) = &mut self.hold else { return false };
        if hold.poll(&self.exchange.broker.counters, now, cx).is_pending() {
            return false;
        }
        self.credit.used(hold, now);
        self.hold = None;
        self.exchange.release(self.framed.out());
        true
    }

    /// Takes what waits in the mailbox. While the output is blocked, orders only.
    fn take(&mut self, now: Moment, cx: &mut Context<'_>) -> Result<bool, End> {
        let yields = self.replay_is_next && self.has_replay();
        let Self { framed, exchange, unwritten, replay_is_next, .. } = self;
        let mailbox = &exchange.slot.mailbox;
        let mut taken = TAKEN.take().unwrap_or_default();
        let asleep = if *unwritten > 0 || exchange.is_delivering() {
            let asleep = mailbox.sleep_for_control(cx.waker());
            if !asleep {
                mailbox.take_control(&mut taken.control);
            }
            asleep
        } else {
            let before = framed.pending_out();
            let want = Want { once: true, queue: if yields { 0 } else { exchange.machine.quota() } };
            let asleep = mailbox.take(want, framed.bare_out(), &mut taken, cx.waker());
            exchange.slot.patience.observe(|| !mailbox.above_quarter(), now);
            if !asleep {
                *replay_is_next |= !taken.queue.is_empty();
                exchange.send(now, &mut taken, cx, framed)?;
                *unwritten = framed.pending_out();
                exchange.tally.send_bytes(*unwritten - before);
            }
            asleep
        };
        let mut obeyed = Ok(());
        if !taken.control.is_empty() {
            let mut orders = std::mem::take(&mut taken.control);
            obeyed = orders.drain(..).try_for_each(|order| self.obey(now, order));
            taken.control = orders;
        }
        TAKEN.set(Some(taken));
        obeyed?;
        if asleep && self.stopping && self.framed.pending_out() == 0 && !self.exchange.waits_for_a_hook() {
            return Err(End::Stopped);
        }
        Ok(!asleep)
    }

    fn obey(&mut self, now: Moment, order: Order) -> Result<(), End> {
        match order {
            Order::Kick(reason) => Err(End::Kicked(reason)),
            Order::Shutdown => {
                self.stop();
                Ok(())
            }
            Order::Reauthorize => {
                if let Some(interception) = &mut self.exchange.interception {
                    interception.reauthorize();
                }
                Ok(())
            }
            // It is we who do not read.
            Order::KeepAlive if self.exchange.is_paused() => {
                self.exchange.machine.note_received(now);
                self.exchange.slot.hear(now);
                Ok(())
            }
            Order::KeepAlive => {
                let machine = &mut self.exchange.machine;
                machine.handle_timeout(now, self.framed.out()).map_err(End::Violated)
            }
            Order::Trim => {
                self.exchange.trim(now);
                Ok(())
            }
        }
    }

    /// Sends messages that waited for a hook.
    #[cold]
    fn deliver(&mut self, now: Moment, cx: &mut Context<'_>) -> Result<bool, End> {
        let before = self.framed.pending_out();
        let delivered = self.exchange.deliver(now, cx, &mut self.framed)?;
        if delivered {
            self.unwritten = self.framed.pending_out();
            self.exchange.tally.send_bytes(self.unwritten - before);
        }
        Ok(delivered)
    }

    /// What waits in the output by now was shown to the inspector.
    #[cold]
    fn begin_inspecting(&mut self) {
        if let Some(interception) = &mut self.exchange.interception {
            interception.shown = self.framed.pending_out();
        }
    }

    /// Shows the inspector what has come into the output.
    #[cold]
    fn inspect(&mut self) -> Result<(), End> {
        inspect(&mut self.exchange, &mut self.framed)
    }

    /// Sends retained messages in turn with what comes from the mailbox: a page whenever the output is written, and the
    /// window every other time, so that neither keeps the other from a slow client.
    fn replay(&mut self, now: Moment) -> bool {
        let before = self.framed.pending_out();
        let replayed = self.has_replay() && self.exchange.replay(now, REPLAYED_AT_ONCE, &mut self.framed);
        if replayed {
            self.replay_is_next = false;
            self.unwritten = self.framed.pending_out();
            self.exchange.tally.send_bytes(self.unwritten - before);
        }
        replayed
    }

    fn has_replay(&self) -> bool {
        self.exchange.machine.session().has_replay() && !self.stopping && !self.exchange.is_delivering()
    }

    fn write(&mut self, now: Moment, cx: &mut Context<'_>) -> Result<bool, End> {
        let before = self.framed.pending_out();
        let patience = &self.exchange.slot.patience;
        let Poll::Ready(written) = self.framed.poll_flush(cx) else {
            let written = before - self.framed.pending_out();
            patience.block(now, written > 0);
            self.exchange.tally.write(written);
            return Ok(false);
        };
        patience.unblock();
        let written = written.map_err(|_| End::Lost)?;
        self.exchange.tally.write(written);
        // The mailbox and a replay, or the end, may have waited for this.
        Ok(std::mem::take(&mut self.unwritten) > 0)
    }
}

/// Shows the inspector, if there is one, what has come into the output since it was shown something last.
fn inspect(exchange: &mut Exchange, framed: &mut Framed) -> Result<(), End> {
    let Some(interception) = exchange.interception.as_mut().filter(|it| it.inspects()) else {
        return Ok(());
    };
    let before = std::mem::replace(&mut interception.shown, framed.pending_out());
    let added = interception.shown.saturating_sub(before);
    let out = framed.out();
    let shown = interception.inspect_all(&out[out.len().saturating_sub(added)..]);
    if shown { Ok(()) } else { Err(interception.panicked(&exchange.broker)) }
}

/// The future of a connection. Written by hand, because that of an `async fn` would hold the connection twice.
#[derive(Debug)]
pub(crate) struct Running(Option<Connection>);

impl Future for Running {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(connection) = &mut self.0 else { return Poll::Ready(()) };
        let end = ready!(connection.poll(cx));
        if let Some(connection) = self.0.take() {
            connection.finish(&end);
        }
        Poll::Ready(())
    }
}

/// Writes what is left, closes every layer, and waits for the peer to close: a socket that is closed while something is
/// unread may take the goodbye back from the network.
pub(crate) async fn farewell(mut framed: Framed, limit: Duration, _admission: Admission) {
    let closed = async {
        framed.close().await?;
        framed.drain().await?;
        // WebSocket was closed by both now, TLS below it was not.
        framed.close().await
    };
    // Whoever does not close in time is closed by us.
    let _ = timeout(limit, closed).await;
}

thread_local! {
    /// What is taken from a mailbox in one turn.
    static TAKEN: Cell<Option<Box<Taken<Order>>>> = const { Cell::new(None) };
}

/// Turns before others have theirs.
const TURNS: usize = 8;
/// What a replay may add to the output in one turn: 64 KiB.
const REPLAYED_AT_ONCE: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use gantline_protocol::ServerConnection;

    use super::Running;
    use crate::claim::SessionLease;

    #[test]
    fn an_idle_connection_stays_within_its_memory_budget() {
        let sizes = [size_of::<ServerConnection<SessionLease>>(), size_of::<Running>()];
        assert!(sizes[0] <= 280 && sizes[1] <= 640, "{sizes:?}");
    }
}
