//! What holds on one connection: the result of CONNECT and CONNACK.
//!
//! [`Limits`] is what the machines obey. It is computed on both sides from the same two packets: by the server from
//! CONNECT and its [`Offer`] ([`Limits::for_server`]), by the client from CONNECT and CONNACK
//! ([`Limits::for_client`]). A connection whose version negotiates nothing has neutral values, so that nobody above
//! this file asks for the version. Leaves out: timers and quotas, which the connection derives from it.

use std::num::{NonZeroU16, NonZeroU32};

use crate::packet::{ConnAck, Connect};
use crate::properties::ConnAckProperties;
use crate::qos::QoS;
use crate::version::ProtocolVersion;

/// What one side of a connection accepts from the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// How many QoS 1 and 2 publishes may be unacknowledged at a time. Neutral: 65,535, which is no limit.
    pub receive_maximum: u16,
    /// The largest packet in bytes, fixed header included. Neutral: [`MAXIMUM_PACKET_SIZE`].
    pub maximum_packet_size: u32,
    /// The highest topic alias; 0 for none. Neutral: 0.
    pub topic_alias_maximum: u16,
    /// The highest QoS of a publish. Neutral: QoS 2. Only a server can state another.
    pub maximum_qos: QoS,
    /// Whether a publish may be retained. Neutral: true. Only a server can state otherwise.
    pub retain_available: bool,
}

impl Bounds {
    /// The values of a side that said nothing.
    pub const NEUTRAL: Self = Self {
        receive_maximum: u16::MAX,
        maximum_packet_size: MAXIMUM_PACKET_SIZE,
        topic_alias_maximum: 0,
        maximum_qos: QoS::ExactlyOnce,
        retain_available: true,
    };
}

impl Default for Bounds {
    fn default() -> Self {
        Self::NEUTRAL
    }
}

/// The limits in force on a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// What the peer accepts: what we may send.
    pub peer: Bounds,
    /// What we accept: what the peer may send.
    pub own: Bounds,
    /// How long the session lives after the connection, in seconds. 0: it ends with it; `u32::MAX`: for ever.
    pub session_expiry_interval: u32,
    /// Whether the client asked for its session to be kept. Only then may its DISCONNECT say for how long (section
    /// 3.14.2.2.2), also if it was granted nothing.
    pub session_expiry_requested: bool,
    /// In seconds; 0 switches it off. The server closes after one and a half times this.
    pub keep_alive: u16,
    /// How many topic filters a SUBSCRIBE or UNSUBSCRIBE of the client may have. Only the server holds to it; the
    /// client is not told.
    pub maximum_filters: u16,
    /// The version of the connection.
    pub version: ProtocolVersion,
    /// Whether the client may subscribe with wildcards.
    pub wildcard_subscriptions_available: bool,
    /// Whether the client may subscribe with `$share`.
    pub shared_subscriptions_available: bool,
    /// Whether the client may give its subscriptions identifiers.
    pub subscription_identifiers_available: bool,
    /// Whether the client wants reason strings and user properties in packets other than PUBLISH, CONNACK and
    /// DISCONNECT [MQTT-3.1.2-29].
    pub request_problem_information: bool,
    /// Whether the client is another server, as CONNECT says by a bit before 5.0: it wants RETAIN as it was published
    /// and none of its own messages back.
    pub bridge: bool,
}

impl Limits {
    /// A connection of this version on which neither side asked for anything.
    pub const fn neutral(version: ProtocolVersion) -> Self {
        Self {
            peer: Bounds::NEUTRAL,
            own: Bounds::NEUTRAL,
            session_expiry_interval: 0,
            session_expiry_requested: false,
            keep_alive: 0,
            maximum_filters: u16::MAX,
            version,
            wildcard_subscriptions_available: true,
            shared_subscriptions_available: true,
            subscription_identifiers_available: true,
            request_problem_information: true,
            bridge: false,
        }
    }

    /// What the server holds to with this client.
    ///
    /// A client that cannot be told what is offered still meets it where the server must protect itself: packet size,
    /// QoS and RETAIN. What only the two together can keep (quotas, aliases, a shorter keep alive) is neutral then.
    pub fn for_server(connect: &Connect, offer: &Offer) -> Self {
        let asked = &connect.properties;
        let inflight = offer.inflight.max(1);
        let mut limits = Self {
            peer: Bounds { receive_maximum: inflight, ..Bounds::NEUTRAL },
            own: Bounds {
                maximum_packet_size: offer.maximum_packet_size,
                maximum_qos: offer.maximum_qos,
                retain_available: offer.retain_available,
                ..Bounds::NEUTRAL
            },
            keep_alive: connect.keep_alive,
            maximum_filters: offer.maximum_filters,
            bridge: connect.bridge,
            wildcard_subscriptions_available: offer.wildcard_subscriptions_available,
            shared_subscriptions_available: offer.shared_subscriptions_available,
            subscription_identifiers_available: offer.subscription_identifiers_available,
            ..Self::neutral(connect.version)
        };
        if !connect.version.has_properties() {
            let wanted = if connect.clean_start { 0 } else { u32::MAX };
            limits.session_expiry_interval = wanted.min(offer.session_expiry_maximum);
            return limits;
        }
        let wanted = asked.session_expiry_interval.unwrap_or(0);
        limits.session_expiry_interval = wanted.min(offer.session_expiry_maximum);
        limits.session_expiry_requested = wanted > 0;
        limits.peer = asked_bounds(
            asked.receive_maximum,
            asked.maximum_packet_size,
            asked.topic_alias_maximum.map(|maximum| maximum.min(offer.outgoing_topic_aliases)),
        );
        limits.peer.receive_maximum = limits.peer.receive_maximum.min(inflight);
        limits.own.receive_maximum = offer.receive_maximum.max(1);
        limits.own.topic_alias_maximum = offer.topic_alias_maximum;
        limits.keep_alive = offer.keep_alive(connect.keep_alive);
        limits.request_problem_information = asked.request_problem_information.unwrap_or(true);
        limits
    }

    /// Writes into the CONNACK of the server what the client cannot know otherwise: all that differs from what the
    /// client asked for or from the default of the specification. Other fields stay as they are.
    pub fn describe(&self, offer: &Offer, connect: &Connect, connack: &mut ConnAckProperties) {
        if !self.version.has_properties() {
            return;
        }
        let unavailable = |available: bool| (!available).then_some(false);
        let asked_expiry = connect.properties.session_expiry_interval.unwrap_or(0);
        connack.session_expiry_interval =
            (self.session_expiry_interval != asked_expiry).then_some(self.session_expiry_interval);
        connack.receive_maximum =
            NonZeroU16::new(self.own.receive_maximum).filter(|&maximum| maximum != NonZeroU16::MAX);
        connack.maximum_qos = (offer.maximum_qos < QoS::ExactlyOnce).then_some(offer.maximum_qos);
        connack.retain_available = unavailable(offer.retain_available);
        connack.maximum_packet_size = NonZeroU32::new(self.own.maximum_packet_size)
            .filter(|maximum| maximum.get() < MAXIMUM_PACKET_SIZE);
        connack.topic_alias_maximum = Some(self.own.topic_alias_maximum).filter(|&maximum| maximum > 0);
        connack.wildcard_subscription_available = unavailable(offer.wildcard_subscriptions_available);
        connack.subscription_identifiers_available = unavailable(offer.subscription_identifiers_available);
        connack.shared_subscription_available = unavailable(offer.shared_subscriptions_available);
        connack.server_keep_alive = (self.keep_alive != connect.keep_alive).then_some(self.keep_alive);
    }

    /// What the client holds to after this CONNACK.
    pub fn for_client(connect: &Connect, connack: &ConnAck) -> Self {
        let (asked, granted) = (&connect.properties, &connack.properties);
        if !connect.version.has_properties() {
            return Self {
                session_expiry_interval: if connect.clean_start { 0 } else { u32::MAX },
                keep_alive: connect.keep_alive,
                ..Self::neutral(connect.version)
            };
        }
        Self {
            peer: Bounds {
                maximum_qos: granted.maximum_qos.unwrap_or(QoS::ExactlyOnce),
                retain_available: granted.retain_available.unwrap_or(true),
                ..asked_bounds(
                    granted.receive_maximum,
                    granted.maximum_packet_size,
                    granted.topic_alias_maximum,
                )
            },
            own: asked_bounds(asked.receive_maximum, asked.maximum_packet_size, asked.topic_alias_maximum),
            session_expiry_interval: granted
                .session_expiry_interval
                .or(asked.session_expiry_interval)
                .unwrap_or(0),
            session_expiry_requested: asked.session_expiry_interval.is_some_and(|seconds| seconds > 0),
            // The server's word counts [MQTT-3.2.2-21].
            keep_alive: granted.server_keep_alive.unwrap_or(connect.keep_alive),
            maximum_filters: u16::MAX,
            version: connect.version,
            wildcard_subscriptions_available: granted.wildcard_subscription_available.unwrap_or(true),
            shared_subscriptions_available: granted.shared_subscription_available.unwrap_or(true),
            subscription_identifiers_available: granted.subscription_identifiers_available.unwrap_or(true),
            request_problem_information: asked.request_problem_information.unwrap_or(true),
            bridge: connect.bridge,
        }
    }
}

/// What a server is willing to grant to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// QoS 1 and 2 publishes of the client that may be unacknowledged. Default 1,024; not 0.
    pub receive_maximum: u16,
    /// The largest packet that the server accepts, in bytes. Default 16 MiB; not 0.
    pub maximum_packet_size: u32,
    /// The highest topic alias that the client may assign. Default 32. Each costs up to 64 KiB of memory.
    pub topic_alias_maximum: u16,
    /// QoS 1 and 2 publishes in flight to the client, if it does not ask for fewer. Default 1,024; not 0.
    pub inflight: u16,
    /// The highest topic alias that the server assigns, if the client allows as many. Default 32.
    pub outgoing_topic_aliases: u16,
    /// The longest keep alive in seconds; a longer one or none is replaced by it where the version can tell. Default
    /// `None`: as the client wants.
    pub keep_alive_maximum: Option<NonZeroU16>,
    /// The longest life of a session after its connection, in seconds. Default `u32::MAX`: for ever.
    pub session_expiry_maximum: u32,
    /// The most topic filters in one SUBSCRIBE or UNSUBSCRIBE of the client. Default 10,000; not 0.
    pub maximum_filters: u16,
    /// The highest QoS that clients may publish with. Default QoS 2.
    pub maximum_qos: QoS,
    /// Whether clients may publish retained messages. Default true.
    pub retain_available: bool,
    /// Whether clients may subscribe with wildcards. Default true.
    pub wildcard_subscriptions_available: bool,
    /// Whether clients may subscribe with `$share`. Default true.
    pub shared_subscriptions_available: bool,
    /// Whether clients may give their subscriptions identifiers. Default true.
    pub subscription_identifiers_available: bool,
}

impl Offer {
    /// The keep alive for a client that asks for this one.
    fn keep_alive(&self, asked: u16) -> u16 {
        match self.keep_alive_maximum {
            Some(maximum) if asked == 0 => maximum.get(),
            Some(maximum) => asked.min(maximum.get()),
            None => asked,
        }
    }
}

impl Default for Offer {
    fn default() -> Self {
        Self {
            receive_maximum: 1024,
            maximum_packet_size: 16 << 20,
            topic_alias_maximum: 32,
            inflight: 1024,
            outgoing_topic_aliases: 32,
            keep_alive_maximum: None,
            session_expiry_maximum: u32::MAX,
            maximum_filters: 10_000,
            maximum_qos: QoS::ExactlyOnce,
            retain_available: true,
            wildcard_subscriptions_available: true,
            shared_subscriptions_available: true,
            subscription_identifiers_available: true,
        }
    }
}

/// The bounds that a side stated in its properties.
fn asked_bounds(
    receive_maximum: Option<NonZeroU16>,
    maximum_packet_size: Option<NonZeroU32>,
    topic_alias_maximum: Option<u16>,
) -> Bounds {
    Bounds {
        receive_maximum: receive_maximum.map_or(u16::MAX, NonZeroU16::get),
        maximum_packet_size: maximum_packet_size
            .map_or(MAXIMUM_PACKET_SIZE, |maximum| maximum.get().min(MAXIMUM_PACKET_SIZE)),
        topic_alias_maximum: topic_alias_maximum.unwrap_or(0),
        ..Bounds::NEUTRAL
    }
}

/// The largest packet that MQTT can express: a remaining length of 268,435,455 and 5 bytes of fixed header.
pub const MAXIMUM_PACKET_SIZE: u32 = 268_435_455 + 5;

#[cfg(test)]
mod tests {
    use super::{Limits, Offer};
    use crate::packet::{ConnAck, Connect};
    use crate::version::ProtocolVersion;

    #[test]
    fn limits_are_small_enough_for_every_idle_connection() {
        assert!(size_of::<Limits>() <= 40, "{}", size_of::<Limits>());
    }

    #[test]
    fn both_sides_reach_mirrored_limits() {
        let mut connect = Connect { keep_alive: 600, ..Connect::default() };
        connect.properties.session_expiry_interval = Some(7200);
        connect.properties.topic_alias_maximum = Some(5);
        let offer = Offer {
            keep_alive_maximum: std::num::NonZeroU16::new(60),
            session_expiry_maximum: 3600,
            ..Offer::default()
        };
        let server = Limits::for_server(&connect, &offer);
        let mut connack = ConnAck::default();
        server.describe(&offer, &connect, &mut connack.properties);
        let client = Limits::for_client(&connect, &connack);
        assert_eq!(client.own.topic_alias_maximum, server.peer.topic_alias_maximum);
        assert_eq!(client.peer, server.own);
        assert_eq!((client.keep_alive, client.session_expiry_interval), (60, 3600));
        assert_eq!((server.keep_alive, server.session_expiry_interval), (60, 3600));
    }

    #[test]
    fn a_client_that_cannot_be_told_gets_neutral_limits() {
        let connect = Connect { version: ProtocolVersion::V3_1_1, clean_start: false, ..Connect::default() };
        let limits = Limits::for_server(&connect, &Offer::default());
        assert_eq!(limits.own.receive_maximum, u16::MAX);
        assert_eq!(limits.own.topic_alias_maximum, 0);
        assert_eq!(limits.session_expiry_interval, u32::MAX);
    }
}
