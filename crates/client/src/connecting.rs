//! Connecting: from the options to an open connection, driven by the caller's own future.
//!
//! Until CONNACK nothing runs but that future, so dropping it leaves nothing behind: the stream is closed and the lease
//! gives the session back. What follows CONNACK happens at once, without awaiting. Relates to: `driver.rs`, the task
//! that takes over. Leaves out: trying again.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use gantline_protocol::{
    ClientConnection, ConnAckProperties, Connected, Disconnect, DisconnectProperties, FixedHeader, Moment,
    Packet, PacketType, ProtocolVersion, ReasonCode, Received, Rule, Violation,
};
use gantline_transport::{Framed, Stream, TlsFailure, TransportError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};
use zeroize::{Zeroize, Zeroizing};

use crate::authentication::{Authentication, Conversation};
use crate::dispatch::Effects;
use crate::driver::Driver;
use crate::error::{AuthenticationFailure, ConnectError, ConnectStage, Refusal};
use crate::event::{ConnectionInfo, Event};
use crate::options::{ConnectOptions, OptionsError, check_credentials};
use crate::session::Lease;
use crate::shared::Shared;

/// Connects, over this stream or to the address of the options, and tells the listeners of a failure.
pub(crate) async fn connect(shared: &Arc<Shared>, stream: Option<Stream>) -> Result<(), ConnectError> {
    let result = connect_or_fall_back(shared, stream).await;
    if let Err(error) = &result {
        // An attempt that was not begun is no event.
        if !matches!(error, ConnectError::AlreadyConnected | ConnectError::AlreadyConnecting) {
            tracing::debug!(%error, "connect failed");
            shared.listeners.tell(&Event::ConnectFailed(error.clone()));
        }
    }
    result
}

async fn connect_or_fall_back(shared: &Arc<Shared>, stream: Option<Stream>) -> Result<(), ConnectError> {
    let options = Arc::clone(&shared.station.lock().options);
    let deadline = after(options.connect_timeout);
    let once_more = stream.is_none();
    let Err(error) = attempt(shared, &options, options.version, stream, deadline).await else {
        return Ok(());
    };
    match options.fallback {
        Some(version) if once_more && is_unsupported(&error) && options.check_for(version).is_ok() => {
            attempt(shared, &options, version, None, deadline).await
        }
        _ => Err(error),
    }
}

/// Loads the session from its store, if it has one that is not loaded yet.
pub(crate) async fn load_session(shared: &Arc<Shared>) -> Result<(), ConnectError> {
    let Some(journal) = &shared.journal else { return Ok(()) };
    let options = Arc::clone(&shared.station.lock().options);
    journal.check(&options.identity)?;
    if journal.is_loaded() {
        return Ok(());
    }
    let (mut lease, plan) = Lease::claim(shared, &options).await?;
    journal.prepare(&mut lease, &plan, &shared.pending).await
}

/// So much later than now, or later than anybody waits.
fn after(span: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(span).unwrap_or_else(|| now + AGES)
}

fn is_unsupported(error: &ConnectError) -> bool {
    matches!(error, ConnectError::Refused(refusal) if refusal.reason == ReasonCode::UnsupportedProtocolVersion)
}

async fn attempt(
    shared: &Arc<Shared>,
    options: &ConnectOptions,
    version: ProtocolVersion,
    stream: Option<Stream>,
    deadline: Instant,
) -> Result<(), ConnectError> {
    options.check_for(version)?;
    if let Some(journal) = &shared.journal {
        journal.check(&options.identity)?;
    }
    let claimed = timeout_at(deadline, Lease::claim(shared, options)).await;
    let (mut lease, plan) = claimed.map_err(|_| ConnectError::AlreadyConnected)??;
    let timed_out = |waiting_for| ConnectError::TimedOut { limit: options.connect_timeout, waiting_for };
    if let Some(journal) = &shared.journal {
        let prepared = timeout_at(deadline, journal.prepare(&mut lease, &plan, &shared.pending)).await;
        prepared.map_err(|_| timed_out(ConnectStage::Store))??;
    }
    let asked = timeout_at(deadline, options.ask_credentials(plan.client_id.as_ref())).await;
    let asked = asked.map_err(|_| timed_out(ConnectStage::Credentials))?;
    let credentials = asked.map_err(|cause| ConnectError::CredentialsUnavailable(cause.into()))?;
    check_credentials(&credentials, version)?;
    let method = options.method_for(&credentials);
    let (mut conversation, data) = match &method {
        None => (None, None),
        Some(method) => {
            let begun = timeout_at(deadline, method.begin(plan.client_id.as_ref())).await;
            let (conversation, data) = begun.map_err(|_| timed_out(ConnectStage::Authentication))??;
            (Some(conversation), data)
        }
    };
    let mut stream = reach_in_time(options, stream, deadline).await?;
    let mut request = Zeroizing::new(Vec::with_capacity(ROOM));
    let mut connect = options.connect(version, plan.client_id.as_ref(), plan.clean_start, &credentials);
    connect.properties.authentication_data = data;
    let machine = ClientConnection::new(&connect, lease, shared.clock.now(), &mut request);
    connect.user_name.zeroize();
    let mut machine = machine?;
    let maximum = options.maximum_packet_size;
    let mut stage = ConnectStage::Answer;
    let answered = timeout_at(deadline, async {
        let frame = ask(&mut stream, &request, maximum).await?;
        match &mut conversation {
            None => Ok(frame),
            Some(conversation) => {
                let mut talk = Talk { stream: &mut stream, conversation, stage: &mut stage, maximum };
                talk.authenticate(&mut machine, shared, frame).await
            }
        }
    });
    let answered: Result<Result<Vec<u8>, ConnectError>, _> = answered.await;
    let answered = answered.map_err(|_| timed_out(stage))?;
    let frame = answered.map_err(|error| of_handshake(error, options))?;
    let mut framed = Framed::new(stream, options.maximum_packet_size);
    let connected = answer_of(&mut machine, shared.clock.now(), &frame, framed.out())?;
    complete(shared, options, framed, machine, connected, method, plan.clean_start);
    Ok(())
}

/// Opens the transport to the address of the options, within their time-out.
pub(crate) async fn open(options: &ConnectOptions) -> Result<Stream, ConnectError> {
    reach_in_time(options, None, after(options.connect_timeout)).await
}

async fn reach_in_time(
    options: &ConnectOptions,
    stream: Option<Stream>,
    deadline: Instant,
) -> Result<Stream, ConnectError> {
    let reached = timeout_at(deadline, reach(options, stream)).await;
    let waiting_for = if options.proxied { ConnectStage::Proxy } else { ConnectStage::Transport };
    let stream =
        reached.map_err(|_| ConnectError::TimedOut { limit: options.connect_timeout, waiting_for })??;
    Ok(match &options.inspector {
        Some(inspector) => inspector.watch(stream),
        None => stream,
    })
}

/// Gets a stream that leads to the server, over the given one if there is one.
async fn reach(options: &ConnectOptions, stream: Option<Stream>) -> Result<Stream, ConnectError> {
    match (stream, &options.address) {
        (None, None) => Err(OptionsError::NoAddress.into()),
        (None, Some(address)) => Ok(gantline_transport::connect(address, &options.dial).await?),
        (Some(stream), Some(address)) => {
            Ok(gantline_transport::connect_over(stream, address, &options.dial).await?)
        }
        (Some(_), None) if options.proxied => {
            Err(TransportError::OptionOverStream { option: "proxy" }.into())
        }
        (Some(stream), None) => Ok(stream),
    }
}

/// In TLS 1.3 a server judges our certificate after our part of the handshake; what it says then is a failure to reach
/// it.
fn of_handshake(error: ConnectError, options: &ConnectOptions) -> ConnectError {
    match (&error, &options.address) {
        (ConnectError::Network(cause), Some(address)) => match TlsFailure::of(cause) {
            Some(failure) => {
                TransportError::Handshake { address: address.clone(), failure: Box::new(failure.clone()) }
                    .into()
            }
            None => error,
        },
        _ => error,
    }
}

/// An authentication that lies between CONNECT and the end of the attempt.
struct Talk<'a> {
    stream: &'a mut Stream,
    conversation: &'a mut Conversation,
    /// What is waited for.
    stage: &'a mut ConnectStage,
    maximum: u32,
}

impl Talk<'_> {
    /// Answers each AUTH of the server until CONNACK comes; returns that, once the method is content with it. Only then
    /// the machine gets it, so that an attempt which ends here has changed nothing.
    async fn authenticate(
        &mut self,
        machine: &mut ClientConnection<Lease>,
        shared: &Shared,
        mut frame: Vec<u8>,
    ) -> Result<Vec<u8>, ConnectError> {
        let version = machine.limits().version;
        while frame.first().is_some_and(|first| first >> 4 == PacketType::Auth.value()) {
            let mut request = Vec::new();
            let auth = match machine.receive(shared.clock.now(), &frame, &mut request) {
                Ok(Received::Auth(auth)) => auth,
                Ok(_) => return Err(unexpected(PacketType::Auth)),
                Err(violation) => return Err(ConnectError::ServerViolated(violation)),
            };
            *self.stage = ConnectStage::Authentication;
            let answer = self.conversation.answer(auth.properties.authentication_data.as_deref()).await?;
            *self.stage = ConnectStage::Answer;
            machine.auth(&answer, &mut request).map_err(AuthenticationFailure::Unwritable)?;
            frame = ask(self.stream, &request, self.maximum).await.map_err(|error| match error {
                // By now it is known that it does.
                ConnectError::NotMqtt(violation) => ConnectError::ServerViolated(violation),
                ConnectError::NeedsTls => unexpected(PacketType::Connect),
                ConnectError::NeedsWebSocket => unexpected(PacketType::PubAck),
                error => error,
            })?;
        }
        // What cannot be read, and refusals, are for the machine to judge.
        if let Ok(Packet::ConnAck(connack)) = Packet::decode(&frame, version)
            && !connack.reason.is_error()
        {
            *self.stage = ConnectStage::Authentication;
            let data = connack.properties.authentication_data;
            if let Err(failure) = self.conversation.conclude(data.as_deref()).await {
                self.say_goodbye(failure.reason(), version).await;
                return Err(failure.into());
            }
        }
        Ok(frame)
    }

    /// The server has accepted us and we do not accept it (section 4.12). Whether it hears that is of no matter.
    async fn say_goodbye(&mut self, reason: ReasonCode, version: ProtocolVersion) {
        let mut goodbye = Vec::new();
        let disconnect = Disconnect { reason, properties: DisconnectProperties::default() };
        if disconnect.encode(version, &mut goodbye).is_ok() && self.stream.write_all(&goodbye).await.is_ok() {
            let _ = self.stream.shutdown().await;
        }
    }
}

/// Sends CONNECT or AUTH and returns the packet that answers it. What follows that packet stays in the stream.
async fn ask(stream: &mut Stream, request: &[u8], maximum: u32) -> Result<Vec<u8>, ConnectError> {
    let mut frame = Vec::new();
    if let Err(error) = send(stream, request).await {
        // Who closes while we write may have said why before.
        return Err(match stream.read_buf(&mut frame).await {
            Err(said) if TlsFailure::of(&said).is_some() => failed(said),
            _ => failed(error),
        });
    }
    loop {
        let wanted = missing(&frame, maximum)?;
        if wanted == 0 {
            return Ok(frame);
        }
        if (&mut *stream).take(wanted).read_buf(&mut frame).await.map_err(failed)? == 0 {
            return Err(match frame.len() {
                0 => ConnectError::ClosedByServer,
                _ => failed(io::ErrorKind::UnexpectedEof.into()),
            });
        }
    }
}

async fn send(stream: &mut Stream, request: &[u8]) -> io::Result<()> {
    stream.write_all(request).await?;
    stream.flush().await
}

fn failed(error: io::Error) -> ConnectError {
    ConnectError::Network(Arc::new(error))
}

/// How many bytes an answer still lacks, as far as one can tell. The first byte is judged at once: another protocol
/// does not go on as ours would, and one would wait for the rest in vain.
fn missing(frame: &[u8], maximum: u32) -> Result<u64, ConnectError> {
    let Some(first) = frame.first() else { return Ok(SHORTEST_PACKET) };
    // No server sends CONNECT, let alone one with these flags.
    if *first == TLS_ALERT {
        return Err(ConnectError::NeedsTls);
    }
    if *first == HTTP {
        return Err(ConnectError::NeedsWebSocket);
    }
    let violation = match PacketType::from_u8(first >> 4) {
        Some(PacketType::ConnAck | PacketType::Auth) if first & 0xF == 0 => None,
        Some(kind) => Some(Violation::new(Rule::UnexpectedPacket).in_packet(kind)),
        None => Some(Rule::ReservedPacketType.into()),
    };
    if let Some(violation) = violation {
        return Err(ConnectError::NotMqtt(violation));
    }
    match FixedHeader::parse(frame).map_err(ConnectError::NotMqtt)? {
        None => Ok(1),
        Some(header) if header.frame_len() > maximum as usize => {
            let violation = Violation::new(Rule::PacketTooLarge).in_packet(header.packet_type);
            Err(ConnectError::ServerViolated(violation))
        }
        Some(header) => Ok((header.frame_len() - frame.len()) as u64),
    }
}

/// Hands everything over to the driver. Nothing in here awaits.
fn complete(
    shared: &Arc<Shared>,
    options: &ConnectOptions,
    framed: Framed,
    mut machine: ClientConnection<Lease>,
    connected: Box<Connected>,
    method: Option<Authentication>,
    clean_start: bool,
) {
    let Connected { connack, lost } = *connected;
    let version = machine.limits().version;
    let resumable = machine.limits().session_expiry_interval > 0;
    // Where the version cannot say whether the session was present, it is as we asked.
    let resumed = if version.has_session_present() { connack.session_present } else { !clean_start };
    let now = shared.clock.now();
    let messages = lost.iter().filter_map(|lost| lost.message.as_ref());
    let undelivered = messages.map(|message| message.to_message(now)).collect();
    let info = Arc::new(ConnectionInfo { connack, lost: lost.len(), undelivered });
    machine.session_mut().opened(Arc::clone(&info), version, method, resumable);
    let mut effects = Effects { events: vec![Event::Connected(info)], ..Effects::default() };
    if let Some(journal) = &shared.journal
        && !(resumed && lost.is_empty())
    {
        journal.rewrite(machine.session(), &shared.pending);
    }
    shared.abandon(&lost);
    let mut dispatch = shared.dispatch.lock();
    dispatch.thaw(resumed, &mut effects);
    if !resumed {
        dispatch.end_subscriptions(&mut effects);
    }
    drop(dispatch);
    shared.open(machine.limits(), options);
    tracing::debug!(resumed, "connected");
    // Told before the driver runs, which may have more to tell.
    shared.perform(&mut effects);
    let driver =
        Driver::new(Arc::clone(shared), framed, machine, options.close_timeout, options.operation_timeout);
    tokio::spawn(driver.run());
}

/// What the first packet of the server means.
fn answer_of(
    machine: &mut ClientConnection<Lease>,
    now: Moment,
    frame: &[u8],
    out: &mut Vec<u8>,
) -> Result<Box<Connected>, ConnectError> {
    if let Some(reason) = older_refusal(machine.limits().version, frame) {
        return Err(refused(reason, ConnAckProperties::default()));
    }
    match machine.receive(now, frame, out) {
        Ok(Received::Connected(connected)) if connected.connack.reason.is_error() => {
            Err(refused(connected.connack.reason, connected.connack.properties))
        }
        Ok(Received::Connected(connected)) => Ok(connected),
        // Without a method the machine refuses AUTH [MQTT-4.12.0-6]; with one it was answered before.
        Ok(_) => Err(unexpected(PacketType::Auth)),
        Err(violation) => Err(ConnectError::ServerViolated(violation)),
    }
}

/// The refusal of a server that does not know our version and therefore answers in an older one: a CONNACK without
/// properties, which is too short for ours.
fn older_refusal(version: ProtocolVersion, frame: &[u8]) -> Option<ReasonCode> {
    match *frame {
        [CONNACK, 2, _, code] if code != 0 && version.has_properties() => ReasonCode::from_return_code(code),
        _ => None,
    }
}

fn unexpected(kind: PacketType) -> ConnectError {
    ConnectError::ServerViolated(Violation::new(Rule::UnexpectedPacket).in_packet(kind))
}

fn refused(reason: ReasonCode, properties: ConnAckProperties) -> ConnectError {
    ConnectError::Refused(Box::new(Refusal { reason, properties }))
}

/// The first byte of every CONNACK.
const CONNACK: u8 = 0x20;
/// The first byte of what a WebSocket server answers to MQTT: that of PUBACK with flags that it does not have.
const HTTP: u8 = b'H';
/// The first byte of what a TLS server answers to MQTT.
const TLS_ALERT: u8 = 0x15;
/// A fixed header.
const SHORTEST_PACKET: u64 = 2;
/// For a CONNECT as it usually is: a buffer that grows leaves a copy behind.
const ROOM: usize = 4096;
/// Thirty years.
const AGES: Duration = Duration::from_secs(30 * 365 * 86_400);
