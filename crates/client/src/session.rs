//! Who has the session, and what becomes of it between connections.
//!
//! The session of a client lies in its [`Station`] and is lent to one attempt to connect or one driver at a time. The
//! [`Lease`] gives it back when it is dropped, however that comes: a refused attempt, a connect future that its owner
//! dropped, a panic, a runtime that is shut down. Leaves out: what is in a session.

use std::ops::{Deref, DerefMut};
use std::pin::pin;
use std::sync::Arc;

use gantline_protocol::session::Lost;
use gantline_protocol::{ClientId, ProtocolVersion, Session};

use crate::authentication::Authentication;
use crate::error::{ConnectError, DisconnectCause};
use crate::event::{ConnectionInfo, Event};
use crate::options::{ConnectOptions, Identity};
use crate::shared::Shared;

/// What a client keeps between connections.
#[derive(Debug)]
pub(crate) struct Station {
    pub(crate) options: Arc<ConnectOptions>,
    phase: Phase,
    session: Session,
    /// Whose session it is.
    client_id: Option<ClientId>,
    /// Whether the session outlives its last connection, so that the next one resumes it.
    resumable: bool,
    /// Whether the session is one of an earlier process, and no connection has been made with it.
    restored: bool,
    /// What the server granted to the present connection, and its version.
    pub(crate) info: Option<Arc<ConnectionInfo>>,
    pub(crate) version: Option<ProtocolVersion>,
    /// What the present connection authenticates with, or the last one if there is none.
    pub(crate) authentication: Option<Authentication>,
    pub(crate) last_cause: Option<DisconnectCause>,
    /// The last handle is gone.
    pub(crate) abandoned: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Idle,
    Connecting,
    Connected,
    /// The connection takes no orders any more and has not ended yet.
    Closing,
}

/// What an attempt to connect needs to know besides the options.
#[derive(Debug)]
pub(crate) struct Plan {
    /// `None` if the server is to assign one.
    pub(crate) client_id: Option<ClientId>,
    pub(crate) clean_start: bool,
    /// The flows of an earlier session were given up.
    pub(crate) cleared: bool,
}

impl Station {
    pub(crate) fn new(options: ConnectOptions) -> Self {
        Self {
            options: Arc::new(options),
            phase: Phase::Idle,
            session: Session::default(),
            client_id: None,
            resumable: false,
            restored: false,
            info: None,
            version: None,
            authentication: None,
            last_cause: None,
            abandoned: false,
        }
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.phase == Phase::Idle
    }

    /// The id of the session, or the one that the options give to the first.
    pub(crate) fn client_id(&self) -> Option<ClientId> {
        self.client_id.clone().or_else(|| match &self.options.identity {
            Identity::Given(id) => Some(id.clone()),
            Identity::Generated | Identity::Assigned => None,
        })
    }

    /// The connection says goodbye, or is lost: nothing more is accepted.
    pub(crate) fn closing(&mut self) {
        self.phase = Phase::Closing;
    }

    /// The connection is over, as far as anybody can see.
    pub(crate) fn closed(&mut self, cause: DisconnectCause) {
        self.closing();
        self.info = None;
        self.version = None;
        self.last_cause = Some(cause);
    }

    /// Sets the id to connect with; a generated or assigned one is kept, because it names the session. For another
    /// client the session begins anew, because what this one had in flight is nothing to it; returns what it had. So it
    /// does when the session has ended with its connection: 3.1 has no way to tell [MQTT-3.1.2-6 of 3.1.1].
    fn identify(&mut self, identity: &Identity) -> Vec<Lost> {
        let wanted = match identity {
            Identity::Given(id) => Some(id.clone()),
            Identity::Generated => Some(self.client_id.clone().unwrap_or_else(ClientId::random)),
            Identity::Assigned => self.client_id.clone(),
        };
        if self.client_id == wanted && (self.resumable || self.restored) {
            return Vec::new();
        }
        self.client_id = wanted;
        (self.resumable, self.restored) = (false, false);
        self.session.clear()
    }
}

/// The session while it is lent.
#[derive(Debug)]
pub(crate) struct Lease {
    shared: Arc<Shared>,
    session: Session,
    /// Set once the connection is open: why it ended, as far as is known.
    ending: Option<DisconnectCause>,
    /// Whether the session outlives the connection.
    kept: bool,
    /// Whether the session is one of an earlier process, and no connection has been made with it.
    restored: bool,
}

impl Lease {
    /// Borrows the session for an attempt to connect. Waits for a connection that is closing.
    pub(crate) async fn claim(
        shared: &Arc<Shared>,
        options: &ConnectOptions,
    ) -> Result<(Self, Plan), ConnectError> {
        loop {
            let mut idle = pin!(shared.idle.notified());
            // From here on no notice is missed.
            idle.as_mut().enable();
            match Self::try_claim(shared, options)? {
                Some(claimed) => return Ok(claimed),
                None => idle.await,
            }
        }
    }

    /// `None` while a connection is closing.
    fn try_claim(
        shared: &Arc<Shared>,
        options: &ConnectOptions,
    ) -> Result<Option<(Self, Plan)>, ConnectError> {
        let mut station = shared.station.lock();
        match station.phase {
            Phase::Idle => station.phase = Phase::Connecting,
            Phase::Connecting => return Err(ConnectError::AlreadyConnecting),
            Phase::Connected => return Err(ConnectError::AlreadyConnected),
            Phase::Closing => return Ok(None),
        }
        let was_empty = station.session.is_empty();
        let former = station.identify(&options.identity);
        let cleared = !was_empty && station.session.is_empty();
        let clean_start = options.clean_start && !station.resumable;
        let plan = Plan { client_id: station.client_id.clone(), clean_start, cleared };
        let (session, kept) = (std::mem::take(&mut station.session), station.resumable);
        let restored = station.restored;
        drop(station);
        shared.abandon(&former);
        let shared = Arc::clone(shared);
        Ok(Some((Self { shared, session, ending: None, kept, restored }, plan)))
    }

    /// Puts the session of an earlier process in its place. It stays, if the attempt fails.
    pub(crate) fn restore(&mut self, session: Session) {
        self.session = session;
        self.restored = true;
    }

    /// The server accepted. From here on the end of the lease is the end of a connection.
    pub(crate) fn opened(
        &mut self,
        info: Arc<ConnectionInfo>,
        version: ProtocolVersion,
        authentication: Option<Authentication>,
        kept: bool,
    ) {
        let mut station = self.shared.station.lock();
        station.phase = Phase::Connected;
        if station.client_id.is_none() {
            // An id that is none stays unknown; then the next connection asks for another one.
            let assigned = info.connack.properties.assigned_client_identifier.as_ref();
            station.client_id = assigned.and_then(|assigned| ClientId::new(assigned).ok());
        }
        station.info = Some(info);
        station.version = Some(version);
        let former = std::mem::replace(&mut station.authentication, authentication);
        drop(station);
        // Not under the lock: there is user code in it.
        drop(former);
        (self.kept, self.restored) = (kept, false);
        self.ending = Some(DisconnectCause::RuntimeStopped);
    }

    /// Says why the connection ends.
    pub(crate) fn ends(&mut self, cause: DisconnectCause) {
        self.ending = Some(cause);
    }

    /// Says whether the session outlives the connection.
    pub(crate) fn keeps(&mut self, kept: bool) {
        self.kept = kept;
    }

    /// Why the connection ends, as far as is known.
    pub(crate) fn ending(&self) -> DisconnectCause {
        self.ending.clone().unwrap_or(DisconnectCause::RuntimeStopped)
    }
}

impl Deref for Lease {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.session
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut Session {
        &mut self.session
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut station = self.shared.station.lock();
        station.session = std::mem::take(&mut self.session);
        station.phase = Phase::Idle;
        station.resumable = self.kept;
        station.restored = self.restored;
        station.info = None;
        station.version = None;
        let abandoned = station.abandoned;
        drop(station);
        self.shared.idle.notify_waiters();
        // Told last, so that whoever hears of it can connect again at once.
        if let Some(cause) = self.ending.take() {
            tracing::debug!(%cause, "disconnected");
            self.shared.listeners.tell(&Event::Disconnected { cause });
        }
        if abandoned {
            self.shared.end();
        }
    }
}
