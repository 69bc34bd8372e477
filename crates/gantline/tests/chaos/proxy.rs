//! What lies between a client and the server, and ends connections: at a random byte, in three ways.
//!
//! A connection is *cut* (FIN in both directions), *reset* (RST), or becomes a *black hole*, which takes everything
//! and gives nothing until one end has had enough. Where that happens is drawn when the connection comes: a
//! direction, and an offset below 64, 1,024 or 16,384 bytes, so that it hits handshakes and midst of messages alike.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::random::Random;

/// A proxy that runs as long as the runtime.
pub(crate) struct Proxy {
    address: SocketAddr,
    server: watch::Sender<Option<SocketAddr>>,
    tally: Arc<watch::Sender<Tally>>,
    violence: Arc<watch::Sender<Violence>>,
}

/// How many connections were ended, and how.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) cut: u64,
    pub(crate) reset: u64,
    pub(crate) black_holes: u64,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} cut, {} reset, {} black holes", self.cut, self.reset, self.black_holes)
    }
}

impl Tally {
    pub(crate) const fn sum(self) -> u64 {
        self.cut + self.reset + self.black_holes
    }
}

/// Whether connections that come now end by violence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Violence {
    On,
    Off,
}

#[derive(Clone, Copy, Debug)]
enum Way {
    Cut,
    Reset,
    BlackHole,
}

/// How a connection ends.
#[derive(Clone, Copy, Debug)]
struct Fate {
    way: Way,
    from_client: bool,
    offset: u64,
}

impl Fate {
    fn draw(random: &mut Random) -> Self {
        let way = match random.below(20) {
            0..9 => Way::Cut,
            9..18 => Way::Reset,
            _ => Way::BlackHole,
        };
        let reach = [64, 1024, 16_384][random.below(3) as usize];
        Self { way, from_client: random.below(2) == 0, offset: random.below(reach) }
    }
}

impl Proxy {
    pub(crate) async fn start(random: Random) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (server, tally, violence) = (
            watch::Sender::new(None),
            Arc::new(watch::Sender::new(Tally::default())),
            Arc::new(watch::Sender::new(Violence::Off)),
        );
        let random = Arc::new(Mutex::new(random));
        let (to, told, wanted) = (server.subscribe(), Arc::clone(&tally), Arc::clone(&violence));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let fate = match *wanted.borrow() {
                    Violence::On => Some(Fate::draw(&mut random.lock().unwrap())),
                    Violence::Off => None,
                };
                let (server, told, mut wanted) = (*to.borrow(), Arc::clone(&told), wanted.subscribe());
                tokio::spawn(async move {
                    // Without a server the client is refused by closing.
                    let Some(server) = server else { return };
                    let Ok(server) = TcpStream::connect(server).await else { return };
                    tokio::select! {
                        () = relay(client, server, fate, &told) => {}
                        // One that came in peaceful times makes room for one with a fate.
                        Ok(_) = wanted.wait_for(|violence| *violence == Violence::On), if fate.is_none() => {}
                    }
                });
            }
        });
        Self { address, server, tally, violence }
    }

    pub(crate) fn url(&self) -> String {
        format!("mqtt://{}", self.address)
    }

    pub(crate) fn lead_to(&self, server: Option<SocketAddr>) {
        self.server.send_replace(server);
    }

    pub(crate) fn set(&self, violence: Violence) {
        self.violence.send_replace(violence);
    }

    pub(crate) fn tally(&self) -> Tally {
        *self.tally.borrow()
    }

    /// Waits until so many connections were ended.
    ///
    /// # Errors
    ///
    /// None is ended any more: the clients have given up.
    pub(crate) async fn reaches(&self, ends: u64) -> Result<(), String> {
        let mut tally = self.tally.subscribe();
        while tally.borrow_and_update().sum() < ends {
            let more = timeout(PATIENCE, tally.changed()).await;
            more.map_err(|_| format!("no connection to end for {PATIENCE:?}"))?.unwrap();
        }
        Ok(())
    }
}

async fn relay(
    mut client: TcpStream,
    mut server: TcpStream,
    fate: Option<Fate>,
    told: &watch::Sender<Tally>,
) {
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let limit = |from_client| match fate {
        Some(fate) if fate.from_client == from_client => fate.offset,
        _ => u64::MAX,
    };
    {
        let (mut from_client, mut to_client) = client.split();
        let (mut from_server, mut to_server) = server.split();
        // Whichever comes first: an end of its own, or the byte.
        let struck = tokio::select! {
            struck = pass(&mut from_client, &mut to_server, limit(true)) => struck,
            struck = pass(&mut from_server, &mut to_client, limit(false)) => struck,
        };
        if !struck {
            return;
        }
    }
    let Some(Fate { way, .. }) = fate else { return };
    told.send_modify(|tally| match way {
        Way::Cut => tally.cut += 1,
        Way::Reset => tally.reset += 1,
        Way::BlackHole => tally.black_holes += 1,
    });
    match way {
        Way::Cut => {
            let _ = tokio::join!(client.shutdown(), server.shutdown());
            // Who closes with something unread resets.
            let _ = timeout(LINGER, async { tokio::join!(swallow(&mut client), swallow(&mut server)) }).await;
        }
        Way::Reset => {
            let _ = (client.set_zero_linger(), server.set_zero_linger());
        }
        Way::BlackHole => {
            let _ = timeout(PATIENCE, async {
                tokio::select! {
                    () = swallow(&mut client) => {}
                    () = swallow(&mut server) => {}
                }
            })
            .await;
        }
    }
}

/// Passes so many bytes on. Returns whether they came; if not, one end has closed.
async fn pass(
    from: &mut (impl AsyncReadExt + Unpin),
    to: &mut (impl AsyncWriteExt + Unpin),
    mut limit: u64,
) -> bool {
    let mut buffer = [0; 4096];
    while limit > 0 {
        let most = buffer.len().min(usize::try_from(limit).unwrap_or(usize::MAX));
        match from.read(&mut buffer[..most]).await {
            Ok(0) | Err(_) => return false,
            Ok(count) => {
                if to.write_all(&buffer[..count]).await.is_err() {
                    return false;
                }
                limit -= count as u64;
            }
        }
    }
    true
}

/// Reads until the other end has had enough.
async fn swallow(stream: &mut TcpStream) {
    let mut buffer = [0; 4096];
    while matches!(stream.read(&mut buffer).await, Ok(1..)) {}
}

const PATIENCE: Duration = Duration::from_secs(30);
/// How long a connection that is cut is still read.
const LINGER: Duration = Duration::from_millis(100);
