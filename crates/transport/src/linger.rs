//! The end of a connection that is refused before MQTT.
//!
//! Relates to: `tls/acceptor.rs` and `websocket/accept.rs`, which refuse. Leaves out: connections that got as far as
//! MQTT; their tasks close them.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::stream::Stream;

/// Says a last word and waits until the peer has closed, but not for long. To close while its bytes are unread would
/// make the system take the word back.
pub(crate) async fn linger(mut stream: Stream, last_word: &[u8]) {
    let heard = async {
        stream.write_all(last_word).await?;
        stream.shutdown().await?;
        let (mut scratch, mut left) = ([0; 1024], MOST);
        while let read @ 1.. = stream.read(&mut scratch).await? {
            left = left.saturating_sub(read);
            if left == 0 {
                break;
            }
        }
        Ok::<_, io::Error>(())
    };
    // Whoever does not hear it does not want to.
    let _ = timeout(LONGEST, heard).await;
}

const LONGEST: Duration = Duration::from_millis(500);
/// Bytes that are read away.
const MOST: usize = 64 << 10;
