//! Hooks: what the application decides about messages, subscriptions and deliveries.
//!
//! Each hook is a closure, given to [`Server`](crate::Server). It runs in the task of the connection that it is about,
//! under no lock: a publish hook in the publisher's, a delivery hook in the receiver's. One that returns a future
//! suspends that connection only, in order, for at most the [hook time-out](crate::ServerOptions::hook_timeout). One
//! that panics ends it. Without hooks a message costs nothing more.
//!
//! Relates to: `intercepted.rs`, which asks the hooks of a connection. Leaves out: who may connect, which is
//! `validation.rs`.

mod asking;
mod attempts;
mod client;
mod decision;
mod permits;
mod registering;

use std::fmt;
use std::sync::Arc;

use gantline_protocol::packet::SubscribeFilter;
use gantline_protocol::{AuthenticationStep, Message, Moment, Outbound, PacketType, ReasonCode, TopicFilter};

pub(crate) use self::asking::{Asked, Undecided, Waiting, ask, guarded, tell, wait};
pub use self::attempts::{
    Access, Action, DeliveryAttempt, PacketDirection, PacketView, PublishAttempt, SubscribeAttempt,
    UnsubscribeAttempt,
};
pub use self::client::{ClientContext, Sender};
pub(crate) use self::decision::Ruling;
pub use self::decision::{Decision, IntoDecision, Outcome, Permission};
pub(crate) use self::permits::Permits;
use crate::broker::Broker;
use crate::broker::publication::Publication;

type PublishHook = dyn Fn(&PublishAttempt<'_>) -> Ruling<Message> + Send + Sync;
type SubscribeHook = dyn Fn(&SubscribeAttempt<'_>) -> Decision<Outcome<SubscribeFilter>> + Send + Sync;
type UnsubscribeHook = dyn Fn(&UnsubscribeAttempt<'_>) -> Decision<Outcome<TopicFilter>> + Send + Sync;
type DeliveryHook = dyn Fn(&DeliveryAttempt<'_>) -> Decision<Outcome<Message>> + Send + Sync;
type AccessHook = dyn Fn(&Access<'_>) -> Decision<Permission> + Send + Sync;
type UndeliveredHook = dyn Fn(&PublishAttempt<'_>) + Send + Sync;
type PacketHook = dyn Fn(&PacketView<'_>) + Send + Sync;

/// All hooks of a server.
#[derive(Clone, Default)]
pub(crate) struct Hooks {
    pub(crate) authorize: Option<Arc<AccessHook>>,
    pub(crate) publish: Option<Arc<PublishHook>>,
    pub(crate) subscribe: Option<Arc<SubscribeHook>>,
    pub(crate) unsubscribe: Option<Arc<UnsubscribeHook>>,
    pub(crate) deliver: Option<Arc<DeliveryHook>>,
    pub(crate) undelivered: Option<Arc<UndeliveredHook>>,
    pub(crate) inspect: Option<Arc<PacketHook>>,
}

impl Hooks {
    /// Whether connections have to ask at all.
    pub(crate) const fn is_empty(&self) -> bool {
        !self.sees_publishes()
            && self.subscribe.is_none()
            && self.unsubscribe.is_none()
            && self.deliver.is_none()
            && self.inspect.is_none()
    }

    /// Whether a message that is published concerns a hook.
    pub(crate) const fn sees_publishes(&self) -> bool {
        self.judges_publishes() || self.undelivered.is_some()
    }

    /// Whether a hook decides about a message that is published.
    pub(crate) const fn judges_publishes(&self) -> bool {
        self.publish.is_some() || self.authorize.is_some()
    }

    /// What is to become of a message: permission first, then the interceptor. `permits` are what its client may
    /// publish to without being asked about.
    #[inline]
    pub(crate) fn judge_publish(
        &self,
        sender: Sender<'_>,
        permits: Option<&Permits>,
        publication: &mut Publication<'_>,
        now: Moment,
    ) -> Ruling<Message> {
        if let Some(authorize) = &self.authorize
            && let Some(ruling) = self.judge_access(&**authorize, sender, permits, publication, now)
        {
            return ruling;
        }
        match &self.publish {
            Some(publish) => publish(&PublishAttempt { sender, publication, now }),
            None => Ruling::Forward,
        }
    }

    /// Asks whether a message may be published. `None` if it may; else what is to become of it.
    #[inline(never)]
    fn judge_access(
        &self,
        authorize: &AccessHook,
        sender: Sender<'_>,
        permits: Option<&Permits>,
        publication: &mut Publication<'_>,
        now: Moment,
    ) -> Option<Ruling<Message>> {
        let (topic, retain) = (publication.topic, publication.retain);
        let client =
            sender.client().filter(|_| !permits.is_some_and(|permits| permits.has(topic, retain)))?;
        match authorize(&Access { client, action: Action::Publish { topic, retain } }) {
            Decision::Now(Permission::AllowOnce) => None,
            Decision::Now(Permission::Allow) => {
                permits.into_iter().for_each(|permits| permits.add(topic, retain));
                None
            }
            Decision::Now(Permission::Deny) => {
                Some(Ruling::Otherwise(Box::new(Outcome::Refuse(ReasonCode::NotAuthorized))))
            }
            Decision::Later(permission) => {
                let later = Judging {
                    publish: self.publish.clone(),
                    sender: OwnedSender::of(sender),
                    permits: permits.cloned(),
                    message: publication.outbound(publication.qos, retain, None),
                    now,
                };
                Some(Ruling::Later(Box::pin(later.judge(permission))))
            }
        }
    }

    /// Tells that a message had no receiver. Whether the hook did not panic.
    pub(crate) fn tell_undelivered(
        &self,
        sender: Sender<'_>,
        publication: &Publication<'_>,
        now: Moment,
    ) -> bool {
        match &self.undelivered {
            Some(undelivered) => tell(|| undelivered(&PublishAttempt { sender, publication, now })),
            None => true,
        }
    }

    /// Asks whether a client may have a subscription.
    pub(crate) fn permits_subscription(
        &self,
        client: &Arc<ClientContext>,
        filter: &TopicFilter,
    ) -> Decision<Permission> {
        match &self.authorize {
            Some(authorize) => authorize(&Access { client, action: Action::Subscribe { filter } }),
            None => Decision::Now(Permission::Allow),
        }
    }

    /// What is to become of a subscription: permission first, then the interceptor.
    pub(crate) fn judge_subscription(
        &self,
        client: &Arc<ClientContext>,
        subscription: &SubscribeFilter,
        id: Option<u32>,
    ) -> Decision<Outcome<SubscribeFilter>> {
        match self.permits_subscription(client, &subscription.filter) {
            Decision::Now(Permission::Deny) => Decision::Now(Outcome::Refuse(ReasonCode::NotAuthorized)),
            Decision::Now(_) => match &self.subscribe {
                Some(subscribe) => subscribe(&SubscribeAttempt { client, subscription, id }),
                None => Decision::Now(Outcome::Forward),
            },
            Decision::Later(permission) => {
                let (subscribe, client) = (self.subscribe.clone(), Arc::clone(client));
                let subscription = subscription.clone();
                Decision::later(async move {
                    match (permission.await, subscribe) {
                        (Permission::Deny, _) => Outcome::Refuse(ReasonCode::NotAuthorized),
                        (_, None) => Outcome::Forward,
                        (_, Some(subscribe)) => {
                            let attempt =
                                SubscribeAttempt { client: &client, subscription: &subscription, id };
                            let decision = subscribe(&attempt);
                            decision.made().await
                        }
                    }
                })
            }
        }
    }
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hooks")
    }
}

/// A message whose permission takes its time.
struct Judging {
    publish: Option<Arc<PublishHook>>,
    sender: OwnedSender,
    permits: Option<Permits>,
    message: Outbound,
    now: Moment,
}

impl Judging {
    async fn judge(self, permission: impl Future<Output = Permission>) -> Outcome<Message> {
        let permission = permission.await;
        if permission == Permission::Deny {
            return Outcome::Refuse(ReasonCode::NotAuthorized);
        }
        if permission == Permission::Allow
            && let Some(permits) = &self.permits
        {
            permits.add(self.message.frame.topic(), self.message.retain);
        }
        let Some(publish) = &self.publish else { return Outcome::Forward };
        let decision = Decision::from({
            let publication = Publication::of_message(&self.message);
            let sender = self.sender.view();
            publish(&PublishAttempt { sender, publication: &publication, now: self.now })
        });
        decision.made().await
    }
}

/// A [`Sender`] of its own.
#[derive(Clone, Debug)]
enum OwnedSender {
    Client(Arc<ClientContext>),
    Will(Arc<ClientContext>),
    Server,
}

impl OwnedSender {
    fn of(sender: Sender<'_>) -> Self {
        match sender {
            Sender::Client(client) => Self::Client(Arc::clone(client)),
            Sender::Will(client) => Self::Will(Arc::clone(client)),
            Sender::Server => Self::Server,
        }
    }

    const fn view(&self) -> Sender<'_> {
        match self {
            Self::Client(client) => Sender::Client(client),
            Self::Will(client) => Sender::Will(client),
            Self::Server => Sender::Server,
        }
    }
}

/// A reason that this packet can carry and that says that something is wrong.
pub(crate) fn refusal(reason: ReasonCode, packet: PacketType) -> ReasonCode {
    AuthenticationStep::refusal(reason).adapted_to(packet)
}

impl Broker {
    /// A hook panicked: that is counted, and its client told.
    pub(crate) fn hook_panicked(&self, client: &ClientContext) -> ReasonCode {
        tracing::error!(name: "hook.panicked", %client, "a hook panicked");
        self.counters.hook_panics.add(1);
        ReasonCode::UnspecifiedError
    }
}
