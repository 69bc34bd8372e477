//! Reviewing a session that is about to be resumed: may its client still have its subscriptions?
//!
//! Hooks are asked before the session is claimed, so that nobody waits for them. Relates to: `handshake.rs`. Leaves
//! out: connections that go on, which ask by themselves: see `intercepted.rs`.

use std::collections::HashSet;
use std::sync::Arc;
use std::task::Waker;

use gantline_protocol::{Moment, TopicFilter};

use crate::broker::Broker;
use crate::broker::sessions::is_wanted;
use crate::broker::slot::Order;
use crate::claim::SessionLease;
use crate::hooks::{Asked, ClientContext, Permission, Undecided, ask};

/// What hooks said about the subscriptions of a session.
#[derive(Debug, Default)]
pub(crate) struct Reviewed {
    permitted: HashSet<TopicFilter>,
    denied: Vec<TopicFilter>,
    /// Whether there was something to ask.
    asked: bool,
    /// How often all this was to be asked anew when it began to be asked.
    reauthorized: u32,
}

/// Asks about the subscriptions of a session. Who is not let know is denied.
pub(crate) async fn review(broker: &Broker, client: &Arc<ClientContext>) -> Reviewed {
    let mut reviewed = Reviewed::default();
    let hooks = &broker.options.hooks;
    if hooks.authorize.is_none() {
        return reviewed;
    }
    reviewed.asked = true;
    let Some(slot) = broker.clients.get(client.client_id().as_str()) else { return reviewed };
    // Before anything is asked.
    reviewed.reauthorized = slot.with_state(|state| state.reauthorized);
    for filter in slot.filters() {
        let asked =
            ask(Waker::noop(), broker.options.hook_timeout, || hooks.permits_subscription(client, &filter));
        let decided = match asked {
            Asked::Decided(permission) => Ok(permission),
            Asked::Panicked => Err(Undecided::Panicked),
            Asked::Waits(waiting) => waiting.await,
        };
        match decided {
            Ok(Permission::Allow | Permission::AllowOnce) => drop(reviewed.permitted.insert(filter)),
            Ok(Permission::Deny) => reviewed.denied.push(filter),
            Err(undecided) => {
                match undecided {
                    Undecided::Panicked => drop(broker.hook_panicked(client)),
                    Undecided::TimedOut => broker.counters.hook_timeouts.add(1),
                }
                reviewed.denied.push(filter);
            }
        }
    }
    reviewed
}

impl Reviewed {
    /// Ends the subscriptions that were denied, and forgets what waits for them or was in flight. What has been
    /// subscribed to meanwhile, and everything if permissions have changed meanwhile, is asked about by the connection.
    /// Before the connection begins, so that nothing more comes for what was denied.
    pub(crate) fn apply(self, broker: &Broker, lease: &mut SessionLease, now: Moment) {
        if !self.asked {
            return;
        }
        let slot = Arc::clone(lease.slot());
        for filter in &self.denied {
            tracing::info!(name: "subscription.withdrawn", client = %slot.id(), %filter, "its subscription is no longer permitted");
            broker.end_subscription(&slot, filter);
            lease.session_mut().stop_replay(filter);
        }
        let filters = slot.filters();
        if !self.denied.is_empty() {
            broker.withdraw_queued(&slot, now);
            let sent = lease.session_mut().flows.withdraw(|message| is_wanted(&filters, message));
            broker.withdraw_sent(&sent, now);
        }
        let is_outdated = slot.with_state(|state| state.reauthorized) != self.reauthorized;
        if is_outdated || filters.iter().any(|filter| !self.permitted.contains(filter)) {
            // We hold the session, so nobody sleeps on this mailbox.
            drop(slot.mailbox.push_control(Order::Reauthorize));
        }
    }
}
