//! The driver: the one task that does the IO of a connection.
//!
//! It has three wake sources (the socket, the mailbox and a timer) and never awaits user code, so everything a handle
//! offers may be called from wherever messages are handled. A turn reads once, looks at the mailbox and writes once;
//! all that a turn produced leaves in one write. Relates to: `exchange.rs`, what packets and commands lead to. Leaves
//! out: how the connection came to be, and whether another follows.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use gantline_protocol::{ClientConnection, DisconnectProperties, Moment, Outbound, ReasonCode};
use gantline_transport::{Framed, FramedError, Late, Load, Taken, Turn, Want};
use tokio::sync::oneshot;
use tokio::task::yield_now;
use tokio::time::Sleep;

use crate::command::{Command, Goodbye};
use crate::error::DisconnectCause;
use crate::exchange::Exchange;
use crate::session::Lease;
use crate::shared::Shared;

/// A connection and its task.
#[derive(Debug)]
pub(crate) struct Driver {
    shared: Arc<Shared>,
    framed: Framed,
    exchange: Exchange,
    taken: Taken<Command>,
    /// Something that came from the mailbox is not written yet: nothing more is taken.
    unwritten: bool,
    /// How many messages have left the mailbox.
    passed: Passed,
    flushes: Vec<Flush>,
    /// What remains to be done before we say goodbye.
    goodbye: Option<Farewell>,
    /// While the socket is left unread for the application.
    hold: Option<Hold>,
    /// The last turn left it to this one to write.
    postponed: bool,
    timer: Option<Pin<Box<Sleep>>>,
    close_timeout: Duration,
}

/// What a turn has led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Nothing is left to do, and whatever comes next wakes.
    Idle,
    Busy,
    /// Streams got messages, and there may be more to do.
    Delivered,
}

#[derive(Clone, Copy, Debug)]
struct Hold {
    since: Moment,
    until: Moment,
}

/// Messages of the two classes, counted since the connection began.
#[derive(Clone, Copy, Debug, Default)]
struct Passed {
    once: u64,
    queue: u64,
}

impl Passed {
    /// The count at which all of this load has passed too.
    fn and(self, (once, queue): (Load, Load)) -> Self {
        Self { once: self.once + u64::from(once.messages), queue: self.queue + u64::from(queue.messages) }
    }

    const fn reaches(self, goal: Self) -> bool {
        self.once >= goal.once && self.queue >= goal.queue
    }
}

/// Somebody who waits until this much has passed and is written.
#[derive(Debug)]
struct Flush {
    goal: Passed,
    reply: oneshot::Sender<()>,
}

/// A goodbye that is said when this much has passed, or when its time is over.
#[derive(Debug)]
struct Farewell {
    goal: Passed,
    deadline: Moment,
    reason: ReasonCode,
    properties: DisconnectProperties,
    /// Those who wait for the end.
    replies: Vec<oneshot::Sender<()>>,
}

impl Driver {
    pub(crate) fn new(
        shared: Arc<Shared>,
        framed: Framed,
        machine: ClientConnection<Lease>,
        close_timeout: Duration,
        operation_timeout: Option<Duration>,
    ) -> Self {
        let exchange = Exchange::new(Arc::clone(&shared), machine, operation_timeout);
        Self {
            shared,
            framed,
            exchange,
            taken: Taken::default(),
            unwritten: false,
            passed: Passed::default(),
            flushes: Vec::new(),
            goodbye: None,
            hold: None,
            postponed: false,
            timer: None,
            close_timeout,
        }
    }

    /// Runs the connection to its end. Dropping the future ends it at once.
    pub(crate) async fn run(mut self) {
        // Filters that lost their streams while there was no connection.
        self.exchange.tidy(self.shared.clock.now(), self.framed.out());
        let cause = std::future::poll_fn(|cx| self.poll(cx)).await;
        let says_goodbye = self.part(&cause);
        let requested = matches!(cause, DisconnectCause::Requested);
        self.exchange.machine.session_mut().ends(cause);
        // Whoever waits is told now, however long the closing takes.
        self.exchange.end();
        self.flushes.clear();
        let (deadline, mut replies) = match self.goodbye.take() {
            Some(farewell) => (farewell.deadline, farewell.replies),
            None => (self.shared.clock.now().plus(self.close_timeout), Vec::new()),
        };
        if !requested {
            replies.clear();
        }
        if says_goodbye {
            let deadline = self.shared.clock.instant(deadline);
            let closed = async {
                std::future::poll_fn(|cx| self.poll_close(cx)).await;
                self.shared.flush_journal().await;
            };
            match deadline {
                Some(deadline) => drop(tokio::time::timeout_at(deadline, closed).await),
                None => closed.await,
            }
        }
        // The session goes back first, so that whoever hears of the end finds no trace of the connection.
        drop(self);
        for reply in replies {
            let _ = reply.send(());
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<DisconnectCause> {
        for _ in 0..TURNS {
            match self.turn(cx) {
                // The application takes while its messages are in the cache, and their memory is used again. To wake is
                // not enough: the tasks in the queue have 61 turns before the future of `block_on` has one.
                Ok(Step::Delivered) => {
                    let _ = pin!(yield_now()).poll(cx);
                    return Poll::Pending;
                }
                Ok(Step::Busy) => {}
                Ok(Step::Idle) => return Poll::Pending,
                Err(cause) => return Poll::Ready(cause),
            }
        }
        // Others shall have their turn too.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// One turn.
    fn turn(&mut self, cx: &mut Context<'_>) -> Result<Step, DisconnectCause> {
        let now = self.shared.clock.now();
        let mut busy = self.read(now, cx)?;
        busy |= self.take(now, cx);
        self.exchange.check_authentication()?;
        self.exchange.conclude(self.framed.out());
        let delivered = self.exchange.has_delivered();
        if self.may_write_later(delivered) {
            return Ok(Step::Delivered);
        }
        busy |= match self.write(now, cx) {
            Err(DisconnectCause::Network(error)) => return Err(self.last_word(now, cx, error)),
            written => written?,
        };
        busy |= self.keep_time(now, cx)?;
        Ok(match busy {
            _ if delivered => Step::Delivered,
            true => Step::Busy,
            false => Step::Idle,
        })
    }

    /// Whether what there is to write waits for the next turn: the application has its turn before, and will most
    /// likely acknowledge more. A write costs as much as many messages. Not twice in a row.
    fn may_write_later(&mut self, delivered: bool) -> bool {
        self.postponed = delivered && !self.postponed && self.framed.pending_out() > 0;
        self.postponed
    }

    /// Why writing failed: what the server said before it closed tells more than the error.
    fn last_word(&mut self, now: Moment, cx: &mut Context<'_>, error: Arc<io::Error>) -> DisconnectCause {
        // However full the streams are: these few turns are all that comes.
        for _ in 0..TURNS {
            match self.read_once(now, cx) {
                Ok(true) => {}
                Ok(false) => break,
                Err(cause) => return cause,
            }
        }
        DisconnectCause::Network(error)
    }

    fn read(&mut self, now: Moment, cx: &mut Context<'_>) -> Result<bool, DisconnectCause> {
        if self.waits_for_application(now) || !self.may_read()? { Ok(false) } else { self.read_once(now, cx) }
    }

    /// Reads once and handles what is whole.
    fn read_once(&mut self, now: Moment, cx: &mut Context<'_>) -> Result<bool, DisconnectCause> {
        let (exchange, mut ended) = (&mut self.exchange, None);
        let turn = self.framed.poll_read_turn(cx, &mut |frame: &[u8], out: &mut Vec<u8>| match exchange
            .receive(now, frame, out)
        {
            Ok(turn) => turn,
            Err(cause) => {
                ended = Some(cause);
                Turn::Stop
            }
        });
        exchange.conclude(self.framed.out());
        match (turn, ended) {
            (_, Some(cause)) => Err(cause),
            (Poll::Pending, None) => Ok(false),
            (Poll::Ready(Ok(turn)), None) => {
                // Part of a large packet is a sign of life too.
                if turn.bytes > 0 {
                    exchange.machine.note_received(now);
                }
                Ok(true)
            }
            (Poll::Ready(Err(error)), None) => Err(match error {
                FramedError::Closed => DisconnectCause::ClosedByServer,
                FramedError::Io(error) => DisconnectCause::network(error),
                FramedError::Violation(violation) => DisconnectCause::ServerViolated(violation),
            }),
        }
    }

    /// Whether the socket is left unread because a stream is more than half full and has not been taken from, so that a
    /// burst which the application could bear loses nothing. That ends when a quarter is left, and otherwise after a
    /// while: a short one if something of ours waits for the server, whose answer comes through that socket. The
    /// streams that are still too full then are not waited for any more, until they have been taken from.
    fn waits_for_application(&mut self, now: Moment) -> bool {
        if !self.shared.gauge.is_pressing() {
            self.hold = None;
            return false;
        }
        let since = self.hold.map_or(now, |hold| hold.since);
        let until = since.plus(if self.exchange.awaits_server() { SHORT_HOLD } else { LONG_HOLD });
        if now < until {
            self.hold = Some(Hold { since, until });
            return true;
        }
        self.hold = None;
        self.exchange.stop_waiting();
        false
    }

    /// Whether the socket is read. It is not while a stream is above its bounds, unless something of ours waits for the
    /// server: its answer comes through that socket. Then we read on, up to a bound.
    fn may_read(&self) -> Result<bool, DisconnectCause> {
        if self.framed.pending_out() > MOST_OUTPUT || self.exchange.is_holding() {
            return Ok(false);
        }
        if !self.shared.gauge.is_over() {
            return Ok(true);
        }
        if !self.exchange.awaits_server() {
            return Ok(false);
        }
        let held = self.shared.dispatch.lock().held();
        if held > MOST_HELD { Err(DisconnectCause::ReceiverTooSlow { held }) } else { Ok(true) }
    }

    /// Takes what the handles have put into the mailbox. While the output is blocked, orders only.
    fn take(&mut self, now: Moment, cx: &mut Context<'_>) -> bool {
        let mailbox = &self.shared.mailbox;
        if self.unwritten {
            if mailbox.sleep_for_control(cx.waker()) {
                return false;
            }
            mailbox.take_control(&mut self.taken.control);
        } else {
            let want = Want { once: true, queue: self.exchange.quota() };
            let asleep = mailbox.take(want, self.framed.bare_out(), &mut self.taken, cx.waker());
            self.shared.rooms.freed();
            if asleep {
                return false;
            }
            self.unwritten = true;
            self.send(now);
        }
        let mut orders = std::mem::take(&mut self.taken.control);
        for order in orders.drain(..) {
            self.obey(now, order);
        }
        self.taken.control = orders;
        true
    }

    fn send(&mut self, now: Moment) {
        let Self { exchange, framed, taken, passed, shared, .. } = self;
        for late in taken.late.drain(..) {
            match late {
                Late::Message(message) => {
                    passed.once += 1;
                    exchange.send_once(now, &message, framed);
                }
                Late::Finished(frames, count) => {
                    passed.once += u64::from(count);
                    framed.out().extend_from_slice(&frames);
                }
            }
        }
        let mut back: Vec<Outbound> = Vec::new();
        for message in taken.queue.drain(..) {
            passed.queue += 1;
            back.extend(exchange.send(now, message, framed).err());
        }
        if !back.is_empty() {
            passed.queue -= back.len() as u64;
            shared.mailbox.put_back(back.into_iter());
        }
    }

    fn obey(&mut self, now: Moment, order: Command) {
        let (exchange, out) = (&mut self.exchange, self.framed.out());
        match order {
            Command::Subscribe(command) => exchange.subscribe(now, *command, out),
            Command::Unsubscribe(command) => exchange.unsubscribe(now, *command, out),
            Command::Tidy => exchange.tidy(now, out),
            Command::Acknowledge => exchange.acknowledge(None, out),
            Command::Collect(stream) => exchange.acknowledge(Some(&stream), out),
            Command::Authenticate(order) => exchange.authenticate(*order, out),
            Command::Ping(reply) => exchange.ping(now, reply, out),
            Command::Flush(reply) => {
                let goal = self.passed.and(self.shared.mailbox.load());
                self.flushes.push(Flush { goal, reply });
                self.unwritten = true;
            }
            Command::Disconnect(goodbye) => self.prepare_goodbye(now, *goodbye),
        }
    }

    /// The first goodbye is the one that is said; whoever asks behind it waits for the same end.
    fn prepare_goodbye(&mut self, now: Moment, goodbye: Goodbye) {
        let Goodbye { reason, properties, reply } = goodbye;
        self.shared.stop_accepting();
        let goal = self.passed.and(self.shared.mailbox.load());
        let deadline = now.plus(self.close_timeout);
        let farewell = Farewell { goal, deadline, reason, properties, replies: Vec::new() };
        self.goodbye.get_or_insert(farewell).replies.extend(reply);
        self.unwritten = true;
    }

    /// Writes; when all is written, tells those who wait for it.
    fn write(&mut self, now: Moment, cx: &mut Context<'_>) -> Result<bool, DisconnectCause> {
        match self.exchange.poll_release(cx) {
            Poll::Ready(released) => released?,
            Poll::Pending => {
                self.unwritten = true;
                return Ok(false);
            }
        }
        let Poll::Ready(written) = self.framed.poll_flush(cx) else { return Ok(false) };
        if written.map_err(DisconnectCause::network)? > 0 {
            self.exchange.machine.note_sent(now);
        }
        if !std::mem::take(&mut self.unwritten) {
            return Ok(false);
        }
        for flush in self.flushes.extract_if(.., |flush| self.passed.reaches(flush.goal)) {
            let _ = flush.reply.send(());
        }
        match &self.goodbye {
            Some(farewell) if self.passed.reaches(farewell.goal) => Err(DisconnectCause::Requested),
            _ => Ok(true),
        }
    }

    /// Does what is due and sets the timer for what comes next.
    fn keep_time(&mut self, now: Moment, cx: &mut Context<'_>) -> Result<bool, DisconnectCause> {
        if self.goodbye.as_ref().is_some_and(|farewell| farewell.deadline <= now) {
            return Err(DisconnectCause::Requested);
        }
        // While the store holds the output, a ping would not leave and its answer not be read.
        let timeout = match self.exchange.is_holding() {
            true => Moment::NEVER,
            false => self.exchange.machine.next_timeout(),
        };
        if timeout <= now {
            self.exchange.handle_timeout(now, self.framed.out())?;
            return Ok(true);
        }
        let answer = self.exchange.next_deadline();
        if answer <= now {
            self.exchange.expire(now);
            return Ok(true);
        }
        let farewell = self.goodbye.as_ref().map_or(Moment::NEVER, |farewell| farewell.deadline);
        let hold = self.hold.map_or(Moment::NEVER, |hold| hold.until);
        let due = timeout.min(farewell).min(hold).min(answer);
        let Some(due) = self.shared.clock.instant(due) else { return Ok(false) };
        match &mut self.timer {
            // A timer that is early is set anew when it fires: most packets only move the deadline on.
            Some(timer) if timer.deadline() <= due && !timer.is_elapsed() => {}
            Some(timer) => timer.as_mut().reset(due),
            None => self.timer = Some(Box::pin(tokio::time::sleep_until(due))),
        }
        Ok(self.timer.as_mut().is_some_and(|timer| timer.as_mut().poll(cx).is_ready()))
    }

    /// Writes what is to be said at the end; returns whether there is something.
    fn part(&mut self, cause: &DisconnectCause) -> bool {
        let (exchange, out) = (&mut self.exchange, self.framed.out());
        match (cause, &mut self.goodbye) {
            (DisconnectCause::Requested, Some(farewell)) => {
                exchange.disconnect(farewell.reason, std::mem::take(&mut farewell.properties), out);
            }
            (DisconnectCause::ServerViolated(violation), _) => exchange.machine.goodbye(violation, out),
            (DisconnectCause::Unauthenticated(failure), _) => {
                exchange.disconnect(failure.reason(), DisconnectProperties::default(), out);
            }
            (DisconnectCause::ReceiverTooSlow { .. }, _) => {
                exchange.disconnect(ReasonCode::QuotaExceeded, DisconnectProperties::default(), out);
            }
            _ => return false,
        }
        true
    }

    /// Closes. After a goodbye of ours it waits for the server to close: a socket that is closed while something is
    /// unread may take the goodbye back from the network, and the server would publish the will.
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if ready!(self.exchange.poll_release(cx)).is_err() {
            return Poll::Ready(());
        }
        if ready!(self.framed.poll_flush(cx)).is_err() || ready!(self.framed.poll_close(cx)).is_err() {
            return Poll::Ready(());
        }
        if !matches!(self.exchange.machine.session().ending(), DisconnectCause::Requested) {
            return Poll::Ready(());
        }
        loop {
            let turn = self.framed.poll_read_turn(cx, &mut |_: &[u8], _: &mut Vec<u8>| Turn::Continue);
            if ready!(turn).is_err() {
                // WebSocket was closed by both now, TLS below it was not.
                return self.framed.poll_close(cx).map(drop);
            }
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.exchange.end();
        // The session goes back with the machine, and with it the news of the end.
    }
}

/// Turns before others have theirs.
const TURNS: usize = 8;
/// Output above which a server that does not read is not read either: 1 MiB.
const MOST_OUTPUT: usize = 1 << 20;
/// The longest time for which the socket is left unread so that the application can take, and the same while something
/// of ours waits for the server.
const LONG_HOLD: Duration = Duration::from_secs(1);
const SHORT_HOLD: Duration = Duration::from_millis(50);
/// What may wait for the application while we cannot stop reading: 16 MiB.
const MOST_HELD: usize = 16 << 20;
