//! The handshake: from an accepted stream to a connection whose client is known.
//!
//! A stranger gets a bounded time, TLS included, and may send one bounded CONNECT; what comes behind it stays in the
//! socket until it is answered, but for the AUTH packets of its authentication method. Relates to: `claim.rs`, which
//! gives the session; `connection.rs`, which takes over. Leaves out: what happens on the connection.

mod authenticating;
mod refusing;

use std::borrow::Cow;
use std::pin::pin;
use std::sync::Arc;

use gantline_protocol::{
    ClientId, ConnAck, ConnAckProperties, Connect, FixedHeader, Limits, Moment, Offer, PacketType,
    ProtocolVersion, ReasonCode, Rule, ServerConnection, Violation,
};
use gantline_transport::{Clock, Framed, FramedError, HandshakeError, PeerInfo, Stream, WebSocketFailure};
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::Instrument;

use self::authenticating::{Unauthenticated, authenticate};
use self::refusing::{Refused, Stranger, answer, largest_for, refuse, untold, write_fitting};
use crate::admission::Admission;
use crate::authentication::Authentication;
use crate::broker::Broker;
use crate::broker::sessions::Terms;
use crate::claim::{SessionLease, claim};
use crate::connection::{Connection, farewell};
use crate::events::{DropCause, ServerEvent};
use crate::hooks::ClientContext;
use crate::intercepted::Interception;
use crate::rate::Rates;
use crate::review::{Reviewed, review};
use crate::session_items::SessionItems;
use crate::validation::{ConnectionRequest, Refusal, Verdict, validate};

/// Brings a stream through the handshake and starts the task of its connection. Ends early when the server stops.
pub(crate) async fn serve(
    stream: Stream,
    mut admission: Admission,
    clock: Clock,
    mut stopping: watch::Receiver<bool>,
) {
    let broker = admission.broker();
    let peer = Arc::clone(stream.info());
    let connection = {
        let shaken = shake_hands(&broker, stream, &mut admission, clock);
        // Pinned, because it is large and would be moved into each layer.
        let shaken = pin!(shaken.instrument(tracing::debug_span!("handshake", %peer)));
        tokio::select! {
            shaken = timeout(broker.options.connect_timeout, shaken) => shaken,
            _ = stopping.wait_for(|stops| *stops) => return,
        }
    };
    match connection {
        Ok(Ok(accepted)) => {
            let mut connection = Connection::new(accepted, clock, admission);
            // The order to all may have come too early for this one.
            if *stopping.borrow() {
                connection.stop();
            }
            drop(tokio::spawn(connection.run()));
        }
        Ok(Err(Refused::Told(reason, framed))) => {
            tracing::info!(name: "connection.refused", peer = %framed.info(), %reason, "refused");
            broker.events.announce(|| ServerEvent::Refused { peer: Arc::clone(framed.info()), reason });
            farewell(*framed, broker.options.close_timeout, admission).await;
        }
        Ok(Err(Refused::Untold(stranger, framed))) => {
            broker.counters.violations.add(1);
            stranger.report(framed.info());
            // MQTT has no word for it, but a layer below may have one.
            if framed.has_last_words() {
                farewell(*framed, broker.options.close_timeout, admission).await;
            }
        }
        Ok(Err(Refused::WithoutHandshake(error))) => {
            broker.counters.violations.add(u64::from(matches!(error, HandshakeError::ProxyProtocol(_))));
            tracing::info!(name: "connection.handshake_failed", %peer, %error, "its handshake failed");
        }
        Ok(Err(Refused::Left)) => {
            tracing::debug!(name: "connection.left", %peer, "left before it was accepted")
        }
        Err(_) => {
            broker.counters.timed_out.add(1);
            tracing::info!(
                name: "connection.timed_out",
                %peer,
                "its handshake, CONNECT or authentication did not end in time"
            );
        }
    }
}

/// A connection whose client is known.
pub(crate) struct Accepted {
    pub(crate) framed: Framed,
    pub(crate) machine: ServerConnection<SessionLease>,
    pub(crate) authentication: Option<Box<Authentication>>,
    pub(crate) interception: Option<Box<Interception>>,
    pub(crate) rates: Rates,
}

/// A client that may connect, and on which terms.
struct Judged<'a> {
    id: ClientId,
    offer: Cow<'a, Offer>,
    rates: Rates,
    /// What CONNACK is to say.
    told: ConnAckProperties,
    /// What the validator left for the session.
    items: Option<SessionItems>,
}

async fn shake_hands(
    broker: &Arc<Broker>,
    stream: Stream,
    admission: &mut Admission,
    clock: Clock,
) -> Result<Accepted, Refused> {
    let options = &broker.options;
    let largest = options.max_connect_size.min(options.offer.maximum_packet_size);
    let stream = stream.handshake().await.map_err(Refused::WithoutHandshake)?;
    admission.comes_from(stream.info());
    let (frame, mut framed) = first_frame(Framed::new(stream, largest)).await?;
    let connect = match read(&frame) {
        Ok(connect) => connect,
        Err(violation) => return Err(answer(&frame, violation, framed)),
    };
    let bytes = frame.len() as u64;
    // The inspector wants to see it when its client is known.
    let frame = options.hooks.inspect.is_some().then_some(frame);
    let received = &broker.counters.flows().received;
    received.packets.add(1);
    received.bytes.add(bytes);
    let version = connect.version;
    let identified = if admission.exceeds { Err(ReasonCode::QuotaExceeded) } else { identify(&connect) };
    let judged = match identified {
        Ok(id) => judge(broker, &connect, id, framed.info()).await,
        Err(reason) => Err(Refusal::boxed(reason)),
    };
    let Judged { id, offer, rates, told, items } = match judged {
        Ok(judged) => judged,
        Err(refusal) => return Err(refuse(*refusal, version, largest_for(&connect), framed)),
    };
    let limits = Limits::for_server(&connect, &offer);
    let mut connack = ConnAck { properties: told, ..ConnAck::default() };
    let authenticated =
        authenticate(broker, &connect, &id, &limits, &mut framed, &mut connack.properties).await;
    let authentication = match authenticated {
        Ok(authentication) => authentication,
        Err(Unauthenticated::Refused(reason)) => {
            broker.counters.unauthenticated.add(1);
            return Err(refuse(Refusal::new(reason), version, largest_for(&connect), framed));
        }
        Err(Unauthenticated::Violated(violation)) => {
            broker.counters.violations.add(1);
            tracing::debug!(
                name: "authentication.violation",
                client = %id,
                %violation,
                "does not answer AUTH as it must"
            );
            return Err(refuse(Refusal::new(violation.reason()), version, largest_for(&connect), framed));
        }
        Err(Unauthenticated::Left) => return Err(Refused::Left),
    };
    if broker.has_no_room_for(&id) {
        broker.counters.refused_sessions.add(1);
        let refusal = Refusal::new(ReasonCode::QuotaExceeded);
        return Err(refuse(refusal, version, largest_for(&connect), framed));
    }
    limits.describe(&offer, &connect, &mut connack.properties);
    if connect.client_id.is_empty() && version.has_properties() {
        connack.properties.assigned_client_identifier = Some(id.as_str().to_owned());
    }
    // A client that cannot be told is not let in, and nobody has to make room for it.
    if !write_fitting(&mut connack, version, largest_for(&connect), framed.out()) {
        return Err(untold(Rule::PacketTooLarge.into(), framed));
    }
    framed.out().clear();
    let client = (!options.hooks.is_empty()).then(|| {
        let user_name = connect.user_name.clone();
        let items = items.clone().unwrap_or_else(|| broker.items_of(&id));
        Arc::new(ClientContext::new(id.clone(), user_name, version, Arc::clone(framed.info()), items))
    });
    let reviewed = match &client {
        Some(client) if !connect.clean_start => review(broker, client).await,
        _ => Reviewed::default(),
    };
    let lease = claim(broker, clock, &id).await;
    // From here on nothing waits.
    let terms = Terms {
        clean_start: connect.clean_start,
        will: connect.will.as_ref(),
        limits: &limits,
        session_expiry_max: offer.session_expiry_maximum,
        client: client.as_ref(),
    };
    let machine = begin(broker, lease, &terms, reviewed, connack, &mut framed, clock.now())?;
    let slot = machine.session().slot();
    if let Some(items) = items {
        slot.record.items().take_over(&items);
    }
    framed.set_max_packet(offer.maximum_packet_size);
    slot.record.received.packets.add(1);
    slot.record.received.bytes.add(bytes);
    let interception = client.map(|client| {
        client.has_items(slot.record.items());
        let interception = Interception::new(broker, client, slot);
        if let Some(frame) = frame {
            framed.copy_payloads();
            interception.inspect_handshake(broker, &frame, framed.out());
        }
        interception
    });
    Ok(Accepted { framed, machine, authentication, interception, rates })
}

/// The first packet, whole, if it is one of MQTT.
async fn first_frame(mut framed: Framed) -> Result<(Vec<u8>, Framed), Refused> {
    let mut frame = Vec::new();
    match framed.next_frame(&mut frame).await {
        Ok(()) if frame.starts_with(&TLS_CLIENT_HELLO) => {
            Err(Refused::Untold(Stranger::Tls, Box::new(framed)))
        }
        Ok(()) if frame.starts_with(HTTP_GET) => Err(Refused::Untold(Stranger::Http, Box::new(framed))),
        Ok(()) => Ok((frame, framed)),
        Err(FramedError::Violation(violation)) => Err(untold(violation, framed)),
        Err(FramedError::Closed) => Err(Refused::Left),
        Err(FramedError::Io(error)) => Err(match WebSocketFailure::of(&error) {
            Some(failure) => Refused::Untold(Stranger::WebSocket(failure.clone()), Box::new(framed)),
            None => Refused::Left,
        }),
    }
}

/// Begins the connection with a session that was claimed, and writes CONNACK.
fn begin(
    broker: &Broker,
    mut lease: SessionLease,
    terms: &Terms<'_>,
    reviewed: Reviewed,
    mut connack: ConnAck,
    framed: &mut Framed,
    now: Moment,
) -> Result<ServerConnection<SessionLease>, Refused> {
    let slot = Arc::clone(lease.slot());
    let (peer, out) = (Arc::clone(framed.info()), framed.out());
    let version = terms.limits.version;
    reviewed.apply(broker, &mut lease, now);
    connack.session_present = lease.begin(terms, now);
    slot.record.begin_connection(Arc::clone(&peer), version, now);
    // As before, but for the session.
    connack.encode(version, out).map_err(|_| Refused::Left)?;
    let mut machine = ServerConnection::new(terms.limits.clone(), lease, now);
    if let Some(method) = connack.properties.authentication_method {
        machine.set_authentication_method(method);
    }
    if connack.session_present {
        let dropped = machine.resume(now, out);
        broker.count_lost(&slot, DropCause::TooLarge, dropped.len() as u32);
    }
    broker.counters.connected.add(1);
    // CONNACK, and what is sent again.
    let sent = 1 + machine.inflight() as u64;
    slot.record.sent.packets.add(sent);
    broker.counters.flows().sent.packets.add(sent);
    let client = slot.id();
    broker.events.announce(|| ServerEvent::Connected {
        client_id: client.clone(),
        peer: Arc::clone(&peer),
        version,
        session_present: connack.session_present,
    });
    tracing::debug!(
        name: "client.connected",
        %client,
        %version,
        %peer,
        resumed = connack.session_present,
        "connected"
    );
    Ok(machine)
}

fn read(frame: &[u8]) -> Result<Connect, Violation> {
    let Some(header) = FixedHeader::parse(frame)? else { return Err(Rule::IncompletePacket.into()) };
    if header.packet_type != PacketType::Connect {
        return Err(Violation::new(Rule::FirstPacketNotConnect).in_packet(header.packet_type));
    }
    let version = ProtocolVersion::default();
    header.check_flags(version)?;
    Connect::decode(&frame[usize::from(header.header_len)..], header.flags, version)
}

/// The client id.
fn identify(connect: &Connect) -> Result<ClientId, ReasonCode> {
    if connect.client_id.is_empty() {
        // [MQTT-3.1.3-8]: before 5.0 an empty id needs a clean session. 3.1 allows none.
        return if connect.version.has_properties()
            || (connect.clean_start && connect.version.has_session_present())
        {
            Ok(ClientId::random())
        } else {
            Err(ReasonCode::ClientIdentifierNotValid)
        };
    }
    let id = ClientId::new(&connect.client_id).map_err(|_| ReasonCode::ClientIdentifierNotValid)?;
    if id.fits(connect.version) { Ok(id) } else { Err(ReasonCode::ClientIdentifierNotValid) }
}

/// Whether the server takes a client with this CONNECT, and on which terms.
async fn judge<'a>(
    broker: &'a Broker,
    connect: &Connect,
    id: ClientId,
    peer: &Arc<PeerInfo>,
) -> Result<Judged<'a>, Box<Refusal>> {
    let options = &broker.options;
    let (id, offer, rates, told, items) = match &options.connection_validator {
        None => {
            let offer = Cow::Borrowed(&options.offer);
            (id, offer, options.rates, ConnAckProperties::default(), None)
        }
        Some(validator) => {
            let items = SessionItems::default();
            let request =
                ConnectionRequest::new(connect.clone(), id.clone(), Arc::clone(peer), items.clone());
            // Boxed, so that nobody else carries the room that it takes.
            let acceptance = match Box::pin(validate(&**validator, request)).await {
                Verdict::Accept(acceptance) => acceptance,
                Verdict::Refuse(refusal) => {
                    broker.counters.rejected.add(1);
                    return Err(refusal);
                }
            };
            let offer = acceptance.grants(&options.offer);
            let rates = acceptance.rates(options.rates);
            let (other, told) = acceptance.into_parts(connect);
            (other.unwrap_or(id), offer, rates, told, Some(items).filter(|items| !items.is_empty()))
        }
    };
    if let Some(will) = &connect.will {
        if will.qos > offer.maximum_qos {
            return Err(Refusal::boxed(ReasonCode::QoSNotSupported));
        }
        if will.retain && !offer.retain_available {
            return Err(Refusal::boxed(ReasonCode::RetainNotSupported));
        }
        if let Some(reason) = broker.topic_bounds.refusal(will.topic.as_str()) {
            return Err(Refusal::boxed(reason));
        }
    }
    Ok(Judged { id, offer, rates, told, items })
}

/// What TLS begins with. To MQTT it is a CONNECT with flags that CONNECT does not have.
const TLS_CLIENT_HELLO: [u8; 2] = [0x16, 3];
/// What an upgrade to WebSocket begins with. To MQTT it is a PUBACK with flags that PUBACK does not have.
const HTTP_GET: &[u8] = b"GET ";
