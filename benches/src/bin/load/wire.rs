//! As much MQTT as a load generator needs, written down plainly: the packets that it sends, a cut of a
//! stream into frames, and the two answers that it reads closely (CONNACK and PUBLISH).

use std::io;

use clap::ValueEnum;

/// Which of the two wire forms is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Dialect {
    /// Without properties
    #[value(name = "3.1.1")]
    Plain,
    /// With properties
    #[value(name = "5.0", alias = "5")]
    Properties,
}

pub(crate) const CONNACK: u8 = 2;
pub(crate) const PUBLISH: u8 = 3;
pub(crate) const PUBACK: u8 = 4;
pub(crate) const PUBREC: u8 = 5;
pub(crate) const PUBREL: u8 = 6;
pub(crate) const PUBCOMP: u8 = 7;
pub(crate) const SUBACK: u8 = 9;
pub(crate) const PINGRESP: u8 = 13;
/// The type of DISCONNECT, which a 5.0 broker may send.
pub(crate) const GOODBYE: u8 = 14;

/// A PINGREQ.
pub(crate) const PINGREQ: [u8; 2] = [0xC0, 0];
/// A DISCONNECT without reason, good in both dialects.
pub(crate) const DISCONNECT: [u8; 2] = [0xE0, 0];

/// Appends a CONNECT with a clean session.
pub(crate) fn connect(out: &mut Vec<u8>, dialect: Dialect, client_id: &str, keep_alive: u16) {
    let mut body = Vec::with_capacity(16 + client_id.len());
    string(&mut body, b"MQTT");
    body.push(if dialect == Dialect::Plain { 4 } else { 5 });
    body.push(0x02);
    body.extend(keep_alive.to_be_bytes());
    if dialect == Dialect::Properties {
        // Receive Maximum 65,535 by default; no aliases, so that both dialects carry the topic.
        body.push(0);
    }
    string(&mut body, client_id.as_bytes());
    frame(out, 0x10, &body);
}

/// Appends a SUBSCRIBE with packet id 1.
pub(crate) fn subscribe(out: &mut Vec<u8>, dialect: Dialect, filter: &str, qos: u8) {
    let mut body = vec![0, 1];
    if dialect == Dialect::Properties {
        body.push(0);
    }
    string(&mut body, filter.as_bytes());
    body.push(qos);
    frame(out, 0x82, &body);
}

/// A PUBLISH whose packet id and payload are filled in for each message.
pub(crate) struct PublishTemplate {
    bytes: Vec<u8>,
    id_at: Option<usize>,
    payload_at: usize,
}

impl PublishTemplate {
    pub(crate) fn new(dialect: Dialect, topic: &str, qos: u8, payload: usize) -> Self {
        let mut body = Vec::new();
        string(&mut body, topic.as_bytes());
        let id_in_body = (qos > 0).then_some(body.len());
        if qos > 0 {
            body.extend([0, 0]);
        }
        if dialect == Dialect::Properties {
            body.push(0);
        }
        let payload_in_body = body.len();
        body.resize(payload_in_body + payload, b'.');
        let mut bytes = Vec::new();
        frame(&mut bytes, 0x30 | (qos << 1), &body);
        let header = bytes.len() - body.len();
        Self { bytes, id_at: id_in_body.map(|at| header + at), payload_at: header + payload_in_body }
    }

    /// Appends the PUBLISH of message `sequence`; `stamp` goes behind `label` into the payload.
    pub(crate) fn write(&mut self, out: &mut Vec<u8>, sequence: u64, label: u64, stamp: u64) {
        if let Some(at) = self.id_at {
            self.bytes[at..at + 2].copy_from_slice(&packet_id(sequence).to_be_bytes());
        }
        let at = self.payload_at;
        self.bytes[at..at + 8].copy_from_slice(&label.to_be_bytes());
        self.bytes[at + 8..at + 16].copy_from_slice(&stamp.to_be_bytes());
        out.extend_from_slice(&self.bytes);
    }
}

/// The packet id of message `sequence`: windows are smaller than the id space, so ids may go round.
fn packet_id(sequence: u64) -> u16 {
    (sequence % 65_535) as u16 + 1
}

/// Appends PUBACK, PUBREC, PUBREL or PUBCOMP.
pub(crate) fn ack(out: &mut Vec<u8>, kind: u8, id: [u8; 2]) {
    let flags = if kind == PUBREL { 2 } else { 0 };
    out.extend([(kind << 4) | flags, 2, id[0], id[1]]);
}

/// The parts of an incoming PUBLISH that are checked.
pub(crate) struct Incoming {
    pub(crate) qos: u8,
    pub(crate) id: [u8; 2],
    pub(crate) label: u64,
    pub(crate) stamp: u64,
}

/// Reads a PUBLISH; `None` when it is none of ours.
pub(crate) fn incoming(dialect: Dialect, first: u8, body: &[u8]) -> Option<Incoming> {
    let qos = (first >> 1) & 3;
    let topic = usize::from(u16::from_be_bytes([*body.first()?, *body.get(1)?]));
    let mut at = 2 + topic;
    let mut id = [0, 0];
    if qos > 0 {
        id = [*body.get(at)?, *body.get(at + 1)?];
        at += 2;
    }
    if dialect == Dialect::Properties {
        let (length, width) = remaining_length(body.get(at..)?)?;
        at += width + length;
    }
    let label = u64::from_be_bytes(body.get(at..at + 8)?.try_into().ok()?);
    let stamp = u64::from_be_bytes(body.get(at + 8..at + 16)?.try_into().ok()?);
    Some(Incoming { qos, id, label, stamp })
}

/// What a CONNACK allows: how many QoS 1 and 2 messages may be unacknowledged.
pub(crate) fn receive_maximum(dialect: Dialect, body: &[u8]) -> io::Result<u32> {
    let &[_, code, ref properties @ ..] = body else {
        return Err(io::Error::other("the CONNACK is too short"));
    };
    if code != 0 {
        return Err(io::Error::other(format!("the broker refused the connection with code {code:#04x}")));
    }
    if dialect == Dialect::Plain {
        return Ok(u32::from(u16::MAX));
    }
    // Property 0x21 is the only one looked for; the fixed-size ones that may stand before it are stepped over.
    let mut rest = remaining_length(properties).map_or(&[][..], |(_, width)| &properties[width..]);
    while let Some((&id, value)) = rest.split_first() {
        let size = match id {
            0x21 if value.len() >= 2 => return Ok(u32::from(u16::from_be_bytes([value[0], value[1]]))),
            0x11 | 0x27 => 4,
            0x13 | 0x22 => 2,
            0x24 | 0x25 | 0x28 | 0x29 | 0x2A => 1,
            0x12 | 0x15 | 0x16 | 0x1A | 0x1C | 0x1F if value.len() >= 2 => {
                2 + usize::from(u16::from_be_bytes([value[0], value[1]]))
            }
            _ => break,
        };
        rest = value.get(size..).unwrap_or_default();
    }
    Ok(u32::from(u16::MAX))
}

/// Cuts whole frames off `bytes`, hands first byte and body to `each`, returns how many bytes were used.
pub(crate) fn frames(bytes: &[u8], mut each: impl FnMut(u8, &[u8])) -> usize {
    let mut used = 0;
    while let Some((&first, rest)) = bytes[used..].split_first() {
        let Some((length, width)) = remaining_length(rest) else { break };
        let Some(body) = rest.get(width..width + length) else { break };
        each(first, body);
        used += 1 + width + length;
    }
    used
}

/// Value and width of a remaining length; `None` when it is not all there.
fn remaining_length(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0;
    for (index, byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, index + 1));
        }
    }
    None
}

/// Appends a whole packet.
pub(crate) fn frame(out: &mut Vec<u8>, first: u8, body: &[u8]) {
    header(out, first, body.len());
    out.extend_from_slice(body);
}

/// Appends a fixed header that declares `length` bytes.
pub(crate) fn header(out: &mut Vec<u8>, first: u8, mut length: usize) {
    out.push(first);
    loop {
        let low = (length & 0x7F) as u8;
        length >>= 7;
        out.push(if length > 0 { low | 0x80 } else { low });
        if length == 0 {
            break;
        }
    }
}

/// Appends a string, or any bytes in the place of one.
pub(crate) fn string(out: &mut Vec<u8>, text: &[u8]) {
    out.extend((text.len() as u16).to_be_bytes());
    out.extend_from_slice(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_publish_reads_back_in_both_dialects() {
        for (dialect, qos) in [(Dialect::Plain, 0), (Dialect::Plain, 2), (Dialect::Properties, 1)] {
            let mut out = Vec::new();
            PublishTemplate::new(dialect, "load/1", qos, 300).write(&mut out, 7, 9, 11);
            let mut seen = 0;
            let used = frames(&out, |first, body| {
                let message = incoming(dialect, first, body).unwrap();
                assert_eq!((message.qos, message.label, message.stamp), (qos, 9, 11));
                assert_eq!(message.id, if qos > 0 { [0, 8] } else { [0, 0] });
                seen += 1;
            });
            assert_eq!((used, seen), (out.len(), 1));
        }
    }

    #[test]
    fn half_a_frame_waits_for_its_rest() {
        let mut out = Vec::new();
        connect(&mut out, Dialect::Plain, "a", 60);
        for cut in 0..out.len() {
            assert_eq!(frames(&out[..cut], |_, _| panic!("not whole")), 0);
        }
    }

    #[test]
    fn receive_maximum_is_found_behind_other_properties() {
        let body = [0, 0, 8, 0x11, 0, 0, 0, 9, 0x21, 0, 20];
        assert_eq!(receive_maximum(Dialect::Properties, &body).unwrap(), 20);
        assert_eq!(receive_maximum(Dialect::Properties, &[0, 0, 0]).unwrap(), 65_535);
        assert!(receive_maximum(Dialect::Plain, &[0, 5]).is_err());
    }
}
