//! Connection validation: user code that judges each CONNECT before its client gets a session.
//!
//! A [`ConnectionValidator`], most often a closure, gets a [`ConnectionRequest`] and gives a [`Verdict`]. It runs in
//! the task of the connection, within the connect time-out and under no lock, so it may ask a database: no other client
//! waits for it. If it panics, the client is refused and nobody else notices. Relates to: `handshake.rs`, which asks
//! it, before the [authentication method](crate::Server::authentication_method) if CONNECT names one. Leaves out: what
//! the client may do once it is connected.

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::num::NonZeroU16;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use gantline_protocol::packet::Connect;
use gantline_protocol::{
    AuthenticationStep, ClientId, ConnAckProperties, Offer, PacketType, ProtocolVersion, QoS, ReasonCode,
    UserProperties, Will, async_trait,
};
use gantline_transport::PeerInfo;

use crate::rate::Rates;
use crate::session_items::SessionItems;

/// Judges connections. Every closure `|request: ConnectionRequest| async { verdict }` is one.
#[async_trait]
pub trait ConnectionValidator: Send + Sync {
    /// Decides whether the client may connect, and on which terms.
    async fn validate(&self, request: ConnectionRequest) -> Verdict;
}

#[async_trait]
impl<F, V> ConnectionValidator for F
where
    F: Fn(ConnectionRequest) -> V + Send + Sync,
    V: Future<Output = Verdict> + Send,
{
    async fn validate(&self, request: ConnectionRequest) -> Verdict {
        self(request).await
    }
}

/// Who wants to connect: everything that CONNECT says, and the connection that it came by. `Debug` shows no secrets.
#[derive(Clone, Debug)]
pub struct ConnectionRequest {
    connect: Connect,
    client_id: ClientId,
    peer: Arc<PeerInfo>,
    items: SessionItems,
}

impl ConnectionRequest {
    pub(crate) const fn new(
        connect: Connect,
        client_id: ClientId,
        peer: Arc<PeerInfo>,
        items: SessionItems,
    ) -> Self {
        Self { connect, client_id, peer, items }
    }

    /// The client id; one that the server made if the client sent none.
    pub const fn client_id(&self) -> &ClientId {
        &self.client_id
    }

    /// The user name.
    pub fn user_name(&self) -> Option<&str> {
        self.connect.user_name.as_deref()
    }

    /// The password, which need not be text.
    pub const fn password(&self) -> Option<&Bytes> {
        self.connect.password.as_ref()
    }

    /// What is published when the connection is lost.
    pub const fn will(&self) -> Option<&Will> {
        self.connect.will.as_ref()
    }

    /// The version of MQTT.
    pub const fn version(&self) -> ProtocolVersion {
        self.connect.version
    }

    /// The other end: its address, the transport, its TLS certificate.
    pub const fn peer(&self) -> &Arc<PeerInfo> {
        &self.peer
    }

    /// What the validator wants to be kept with the session. Empty at first; if the client is accepted, its values
    /// replace those of the same types that the session has.
    pub const fn items(&self) -> &SessionItems {
        &self.items
    }

    /// The whole CONNECT as it came, properties included.
    pub const fn connect(&self) -> &Connect {
        &self.connect
    }
}

/// What a [`ConnectionValidator`] decides.
#[derive(Clone, Debug)]
#[must_use]
pub enum Verdict {
    /// The client may connect, on these terms.
    Accept(Box<Acceptance>),
    /// It may not.
    Refuse(Box<Refusal>),
}

impl Verdict {
    /// The client may connect on the terms of the server's options.
    pub fn accept() -> Self {
        Acceptance::default().into()
    }

    /// The client may not connect, for this reason; of one that is no error, "not authorized" is made. Before 5.0 a
    /// client is told the return code that is nearest.
    pub fn refuse(reason: ReasonCode) -> Self {
        Refusal::new(reason).into()
    }
}

impl From<Acceptance> for Verdict {
    fn from(acceptance: Acceptance) -> Self {
        Self::Accept(Box::new(acceptance))
    }
}

impl From<Refusal> for Verdict {
    fn from(refusal: Refusal) -> Self {
        Self::Refuse(Box::new(refusal))
    }
}

/// The terms on which a client connects. What is not set is as the server's options say.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Acceptance {
    client_id: Option<ClientId>,
    told: ConnAckProperties,
    keep_alive_max: Option<NonZeroU16>,
    session_expiry_max: Option<u32>,
    receive_maximum: Option<NonZeroU16>,
    max_inflight: Option<NonZeroU16>,
    max_packet_size: Option<u32>,
    maximum_qos: Option<QoS>,
    retain_available: Option<bool>,
    max_message_rate: Option<u32>,
    max_byte_rate: Option<u32>,
}

impl Acceptance {
    /// Another client id than the one that the client sent: that of its session, and of everything that the server says
    /// of it. A 5.0 client that sent none is told.
    pub fn client_id(mut self, id: ClientId) -> Self {
        self.client_id = Some(id);
        self
    }

    /// A text for the people who read the client's log (5.0).
    pub fn reason_string(mut self, reason: impl Into<String>) -> Self {
        self.told.reason_string = Some(reason.into());
        self
    }

    /// A user property of CONNACK (5.0). May be called more than once.
    pub fn user_property(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.told.user_properties.push(name, value);
        self
    }

    /// Of what the client makes its response topics, if it asked (5.0) [MQTT-3.1.2-28].
    pub fn response_information(mut self, information: impl Into<String>) -> Self {
        self.told.response_information = Some(information.into());
        self
    }

    /// The longest keep alive in seconds, as [`ServerOptions::keep_alive_max`](crate::ServerOptions::keep_alive_max).
    pub const fn keep_alive_max(mut self, seconds: NonZeroU16) -> Self {
        self.keep_alive_max = Some(seconds);
        self
    }

    /// How many seconds the session outlives its connection at most, as
    /// [`ServerOptions::session_expiry_max`](crate::ServerOptions::session_expiry_max).
    pub const fn session_expiry_max(mut self, seconds: u32) -> Self {
        self.session_expiry_max = Some(seconds);
        self
    }

    /// How many of its QoS 1 and 2 messages may be unacknowledged, as
    /// [`ServerOptions::receive_maximum`](crate::ServerOptions::receive_maximum).
    pub const fn receive_maximum(mut self, messages: NonZeroU16) -> Self {
        self.receive_maximum = Some(messages);
        self
    }

    /// How many QoS 1 and 2 messages may be under way to it, as
    /// [`ServerOptions::max_inflight`](crate::ServerOptions::max_inflight).
    pub const fn max_inflight(mut self, messages: NonZeroU16) -> Self {
        self.max_inflight = Some(messages);
        self
    }

    /// The largest packet that it may send, in bytes; never more than
    /// [`ServerOptions::max_packet_size`](crate::ServerOptions::max_packet_size). 0 is taken for 1.
    pub const fn max_packet_size(mut self, bytes: u32) -> Self {
        self.max_packet_size = Some(bytes);
        self
    }

    /// The highest QoS that it may publish and subscribe with.
    pub const fn maximum_qos(mut self, qos: QoS) -> Self {
        self.maximum_qos = Some(qos);
        self
    }

    /// Whether it may publish retained messages.
    pub const fn retain_available(mut self, available: bool) -> Self {
        self.retain_available = Some(available);
        self
    }

    /// How many messages it may publish a second, as
    /// [`ServerOptions::max_message_rate`](crate::ServerOptions::max_message_rate). 0: no bound.
    pub const fn max_message_rate(mut self, messages_per_second: u32) -> Self {
        self.max_message_rate = Some(messages_per_second);
        self
    }

    /// How many bytes of packets it may send a second, as
    /// [`ServerOptions::max_byte_rate`](crate::ServerOptions::max_byte_rate). 0: no bound.
    pub const fn max_byte_rate(mut self, bytes_per_second: u32) -> Self {
        self.max_byte_rate = Some(bytes_per_second);
        self
    }

    /// How fast it may send, where the rates of the server are these.
    pub(crate) fn rates(&self, rates: Rates) -> Rates {
        Rates {
            messages: self.max_message_rate.unwrap_or(rates.messages),
            bytes: self.max_byte_rate.unwrap_or(rates.bytes),
        }
    }

    /// What the server grants, changed by these terms.
    pub(crate) fn grants<'a>(&self, offer: &'a Offer) -> Cow<'a, Offer> {
        let mut changed = offer.clone();
        changed.keep_alive_maximum = self.keep_alive_max.or(offer.keep_alive_maximum);
        changed.session_expiry_maximum = self.session_expiry_max.unwrap_or(offer.session_expiry_maximum);
        changed.receive_maximum = self.receive_maximum.map_or(offer.receive_maximum, NonZeroU16::get);
        changed.inflight = self.max_inflight.map_or(offer.inflight, NonZeroU16::get);
        let largest = self.max_packet_size.unwrap_or(u32::MAX).max(1);
        changed.maximum_packet_size = offer.maximum_packet_size.min(largest);
        changed.maximum_qos = self.maximum_qos.unwrap_or(offer.maximum_qos);
        changed.retain_available = self.retain_available.unwrap_or(offer.retain_available);
        if changed == *offer { Cow::Borrowed(offer) } else { Cow::Owned(changed) }
    }

    /// The client id, if it is another one, and what CONNACK is to say.
    pub(crate) fn into_parts(self, connect: &Connect) -> (Option<ClientId>, ConnAckProperties) {
        let mut told = self.told;
        if connect.properties.request_response_information != Some(true) {
            told.response_information = None;
        }
        (self.client_id, told)
    }
}

/// Why a client may not connect, and what it is told.
#[derive(Clone, Debug)]
#[must_use]
pub struct Refusal {
    reason: ReasonCode,
    told: ConnAckProperties,
}

impl Refusal {
    /// For this reason; see [`Verdict::refuse`].
    pub fn new(reason: ReasonCode) -> Self {
        let reason = AuthenticationStep::refusal(reason).adapted_to(PacketType::ConnAck);
        Self { reason, told: ConnAckProperties::default() }
    }

    /// A text for the people who read the client's log (5.0).
    pub fn reason_string(mut self, reason: impl Into<String>) -> Self {
        self.told.reason_string = Some(reason.into());
        self
    }

    /// Another server to use, beside the reasons "use another server" and "server moved" (5.0).
    pub fn server_reference(mut self, server: impl Into<String>) -> Self {
        self.told.server_reference = Some(server.into());
        self
    }

    /// A user property of CONNACK (5.0). May be called more than once.
    pub fn user_property(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.told.user_properties.push(name, value);
        self
    }

    pub(crate) fn boxed(reason: ReasonCode) -> Box<Self> {
        Box::new(Self::new(reason))
    }

    pub(crate) fn into_parts(self) -> (ReasonCode, ConnAckProperties) {
        (self.reason, self.told)
    }
}

/// Asks the validator. A panic of it is a refusal.
pub(crate) async fn validate(validator: &dyn ConnectionValidator, request: ConnectionRequest) -> Verdict {
    let id = request.client_id.clone();
    let panicked = || {
        tracing::error!(name: "validator.panicked", client = %id, "the connection validator panicked");
        Verdict::refuse(ReasonCode::UnspecifiedError)
    };
    let Ok(mut judging) = catch_unwind(AssertUnwindSafe(|| validator.validate(request))) else {
        return panicked();
    };
    let verdict = std::future::poll_fn(|cx| {
        // What a panic leaves behind is dropped unseen.
        match catch_unwind(AssertUnwindSafe(|| judging.as_mut().poll(cx))) {
            Ok(polled) => polled.map(Ok),
            Err(panic) => std::task::Poll::Ready(Err(panic)),
        }
    });
    verdict.await.unwrap_or_else(|_| panicked())
}

/// CONNACK without what is said in words, for a client that takes no packet of that size [MQTT-3.2.2-19]
/// [MQTT-3.2.2-20].
pub(crate) fn without_words(properties: ConnAckProperties) -> ConnAckProperties {
    ConnAckProperties { reason_string: None, user_properties: UserProperties::new(), ..properties }
}

impl fmt::Debug for dyn ConnectionValidator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ConnectionValidator")
    }
}
