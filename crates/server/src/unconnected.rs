//! Hooks about messages that no connection brings: wills, and what the application publishes.
//!
//! Relates to: `intercepted.rs`, the same for what clients publish. Leaves out: the publishing itself.

use std::sync::Arc;
use std::task::Waker;

use gantline_protocol::{Message, Moment, Outbound, PacketType, ReasonCode};
use gantline_transport::Clock;
use tokio::runtime::Handle;

use crate::broker::Broker;
use crate::broker::publication::Publication;
use crate::broker::slot::ClientSlot;
use crate::error::PublishError;
use crate::hooks::{Asked, ClientContext, Outcome, Sender, Undecided, ask, refusal};

/// Lets hooks see wills before they are published.
pub(crate) fn intercept_wills(broker: &Arc<Broker>, clock: Clock) {
    if !broker.options.hooks.sees_publishes() {
        return;
    }
    let weak = Arc::downgrade(broker);
    let publish = move |will: Outbound, slot: &Arc<ClientSlot>, client: Arc<ClientContext>| {
        let Some(broker) = weak.upgrade() else { return };
        let Ok(runtime) = Handle::try_current() else {
            // The runtime of the server ends, and with it everybody who could get it.
            return broker.counters.intercepted.add(1);
        };
        let slot = Arc::clone(slot);
        let now = clock.now();
        match asked(&broker, Sender::Will(&client), &will, now) {
            Asked::Waits(waiting) => {
                runtime.spawn(async move {
                    let decided = waiting.await;
                    publish_will(&broker, &will, &slot, &client, decided, clock.now());
                });
            }
            Asked::Decided(outcome) => publish_will(&broker, &will, &slot, &client, Ok(outcome), now),
            Asked::Panicked => {
                publish_will(&broker, &will, &slot, &client, Err(Undecided::Panicked), now);
            }
        }
    };
    // There is one start of a server.
    let _ = broker.will_hook.set(Box::new(publish));
}

/// What becomes of a message of the application: the message to be published, or nothing.
///
/// # Errors
///
/// It is refused.
pub(crate) async fn judge(
    broker: &Broker,
    message: &Message,
    now: Moment,
) -> Result<Option<Message>, PublishError> {
    let outbound = Outbound::new(message, now);
    let decided = match asked(broker, Sender::Server, &outbound, now) {
        Asked::Decided(outcome) => Ok(outcome),
        Asked::Panicked => Err(Undecided::Panicked),
        Asked::Waits(waiting) => waiting.await,
    };
    match settle(broker, decided) {
        Outcome::Forward => Ok(Some(message.clone())),
        Outcome::Replace(other) => {
            other.check()?;
            Ok(Some(other))
        }
        Outcome::Drop => {
            broker.counters.intercepted.add(1);
            Ok(None)
        }
        Outcome::Refuse(reason) | Outcome::Close(reason) => {
            broker.counters.intercepted.add(1);
            Err(PublishError::Refused(refusal(reason, PacketType::PubAck)))
        }
    }
}

/// Tells that a message of the application had no receiver.
pub(crate) fn tell_undelivered(broker: &Broker, message: &Outbound, now: Moment) {
    let publication = Publication::of_message(message);
    if !broker.options.hooks.tell_undelivered(Sender::Server, &publication, now) {
        broker.counters.hook_panics.add(1);
    }
}

fn asked(broker: &Broker, sender: Sender<'_>, message: &Outbound, now: Moment) -> Asked<Outcome<Message>> {
    let options = &broker.options;
    ask(Waker::noop(), options.hook_timeout, || {
        options.hooks.judge_publish(sender, None, &mut Publication::of_message(message), now).into()
    })
}

fn settle(broker: &Broker, decided: Result<Outcome<Message>, Undecided>) -> Outcome<Message> {
    match decided {
        Ok(outcome) => return outcome,
        Err(Undecided::Panicked) => {
            tracing::error!(name: "hook.panicked", "a hook panicked about a message without connection");
            broker.counters.hook_panics.add(1);
        }
        Err(Undecided::TimedOut) => broker.counters.hook_timeouts.add(1),
    }
    Outcome::Refuse(ReasonCode::UnspecifiedError)
}

fn publish_will(
    broker: &Broker,
    will: &Outbound,
    slot: &Arc<ClientSlot>,
    client: &Arc<ClientContext>,
    decided: Result<Outcome<Message>, Undecided>,
    now: Moment,
) {
    let replaced;
    let will = match settle(broker, decided) {
        Outcome::Forward => will,
        Outcome::Replace(other) if other.check().is_ok() => {
            replaced = Outbound::new(&other, now);
            &replaced
        }
        Outcome::Replace(_) | Outcome::Drop | Outcome::Refuse(_) | Outcome::Close(_) => {
            tracing::info!(name: "will.refused", %client, topic = will.frame.topic(), "a hook does not let its will pass");
            return broker.counters.intercepted.add(1);
        }
    };
    let receivers = broker.publish_message(will, Some(slot), now);
    let hooks = &broker.options.hooks;
    if receivers == 0 && !hooks.tell_undelivered(Sender::Will(client), &Publication::of_message(will), now) {
        broker.counters.hook_panics.add(1);
    }
}
