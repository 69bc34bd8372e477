//! The other end of a receiver: says what a broker says to one client, then publishes to it as fast as it takes it.
//!
//! A broker between would be busier than the client, and its batches, not the client, would decide what a message
//! costs. With QoS 0 whole messages are written 64 KiB at a time and the socket sets the pace; with QoS 1 and 2 there
//! are always [`WINDOW`] messages in flight. Relates to: `ours` and `theirs`, which receive. Leaves out: all of MQTT
//! that those two do not send, and every check of it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use crate::{Failure, TOPIC, WINDOW};

const CONNECT: u8 = 1;
const PUBACK: u8 = 4;
const PUBREC: u8 = 5;
const PUBREL: u8 = 6;
const PUBCOMP: u8 = 7;
const SUBSCRIBE: u8 = 8;
const PINGREQ: u8 = 12;
/// How much is written at once with QoS 0, or one message if that is longer.
const CHUNK: usize = 64 * 1024;

/// Serves one client on a free port, which is printed, until it closes.
pub(crate) fn serve(qos: u8, size: usize) -> Result<(), Failure> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?.port());
    let (mut stream, _) = listener.accept()?;
    stream.set_nodelay(true)?;
    let mut input = Input { stream: stream.try_clone()?, buffer: Vec::new() };
    let mut out = Vec::new();
    let mut is_subscribed = false;
    while input.read() {
        let mut subscribed = false;
        input.packets(|first, body| {
            let id = [body.first().copied().unwrap_or(0), body.get(1).copied().unwrap_or(0)];
            match first >> 4 {
                CONNECT => out.extend([0x20, 2, 0, 0]),
                SUBSCRIBE => {
                    out.extend([0x90, 3, id[0], id[1], qos]);
                    subscribed = true;
                }
                PUBACK | PUBCOMP => publish(&mut out, qos, id, size),
                PUBREC => out.extend([PUBREL << 4 | 2, 2, id[0], id[1]]),
                PINGREQ => out.extend([0xD0, 0]),
                _ => {}
            }
        });
        if subscribed && !is_subscribed {
            is_subscribed = true;
            for id in 1..=WINDOW as u16 {
                publish(&mut out, qos, id.to_be_bytes(), size);
            }
        }
        if stream.write_all(&out).is_err() {
            break;
        }
        out.clear();
        if is_subscribed && qos == 0 {
            return flood(&mut stream, size);
        }
    }
    Ok(())
}

/// Messages with QoS 0, until the client closes.
fn flood(stream: &mut TcpStream, size: usize) -> Result<(), Failure> {
    let mut chunk = Vec::new();
    while chunk.len() < CHUNK {
        publish(&mut chunk, 0, [0, 0], size);
    }
    while stream.write_all(&chunk).is_ok() {}
    Ok(())
}

/// Appends a PUBLISH.
fn publish(out: &mut Vec<u8>, qos: u8, id: [u8; 2], size: usize) {
    out.push(0x30 | qos << 1);
    let mut length = 2 + TOPIC.len() + if qos > 0 { 2 } else { 0 } + size;
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend((TOPIC.len() as u16).to_be_bytes());
    out.extend(TOPIC.as_bytes());
    if qos > 0 {
        out.extend(id);
    }
    out.resize(out.len() + size, b'.');
}

/// What the client sends.
struct Input {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Input {
    /// Reads what is there; false at the end.
    fn read(&mut self) -> bool {
        let length = self.buffer.len();
        self.buffer.resize(length + CHUNK, 0);
        // Who goes away without a word has measured enough.
        let count = self.stream.read(&mut self.buffer[length..]).unwrap_or(0);
        self.buffer.truncate(length + count);
        count > 0
    }

    /// Takes whole packets. Those that come here have less than 128 bytes.
    fn packets(&mut self, mut each: impl FnMut(u8, &[u8])) {
        let mut used = 0;
        while let [first, length, rest @ ..] = &self.buffer[used..]
            && let Some(body) = rest.get(..usize::from(*length))
        {
            each(*first, body);
            used += 2 + usize::from(*length);
        }
        self.buffer.drain(..used);
    }
}
