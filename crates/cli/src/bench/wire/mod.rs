//! As much MQTT as a load generator needs, written down plainly: a cut of a stream into frames, the packets
//! without content of their own, and the dialects.
//!
//! It shares nothing with the crates of this workspace, so that it treats every broker alike and cannot share
//! a fault with ours. CONNECT is in [`connect`], PUBLISH in [`publish`], the names of codes in [`reason`].

pub(crate) mod connect;
pub(crate) mod publish;
pub(crate) mod reason;

use clap::ValueEnum;

/// Which of the wire forms is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Dialect {
    /// Without properties, under the first name of the protocol
    #[value(name = "3.1")]
    Old,
    /// Without properties
    #[value(name = "3.1.1")]
    Plain,
    /// With properties
    #[value(name = "5.0", alias = "5")]
    Properties,
}

impl Dialect {
    /// As it is written on the command line.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Old => "3.1",
            Self::Plain => "3.1.1",
            Self::Properties => "5.0",
        }
    }

    /// Whether packets have properties, acknowledgements have reasons, and brokers say why they close.
    pub(crate) const fn has_properties(self) -> bool {
        matches!(self, Self::Properties)
    }

    /// The name of the protocol in CONNECT.
    pub(crate) const fn protocol_name(self) -> &'static str {
        if matches!(self, Self::Old) { "MQIsdp" } else { "MQTT" }
    }

    const fn level(self) -> u8 {
        match self {
            Self::Old => 3,
            Self::Plain => 4,
            Self::Properties => 5,
        }
    }

    /// Appends the length of an empty list of properties, where there is one.
    pub(crate) fn no_properties(self, body: &mut Vec<u8>) {
        if self.has_properties() {
            body.push(0);
        }
    }
}

pub(crate) const CONNECT: u8 = 1;
pub(crate) const CONNACK: u8 = 2;
pub(crate) const PUBLISH: u8 = 3;
pub(crate) const PUBACK: u8 = 4;
pub(crate) const PUBREC: u8 = 5;
pub(crate) const PUBREL: u8 = 6;
pub(crate) const PUBCOMP: u8 = 7;
pub(crate) const SUBSCRIBE: u8 = 8;
pub(crate) const SUBACK: u8 = 9;
pub(crate) const PING: u8 = 12;
pub(crate) const PINGRESP: u8 = 13;
/// The type of DISCONNECT, which a 5.0 broker may send.
pub(crate) const GOODBYE: u8 = 14;

/// A PINGREQ.
pub(crate) const PINGREQ: [u8; 2] = [0xC0, 0];
/// A DISCONNECT without reason, good in all dialects.
pub(crate) const DISCONNECT: [u8; 2] = [0xE0, 0];

/// Appends a SUBSCRIBE with packet id 1.
pub(crate) fn subscribe(out: &mut Vec<u8>, dialect: Dialect, filters: &[impl AsRef<str>], qos: u8) {
    let mut body = vec![0, 1];
    dialect.no_properties(&mut body);
    for filter in filters {
        string(&mut body, filter.as_ref().as_bytes());
        body.push(qos);
    }
    frame(out, 0x82, &body);
}

/// Appends PUBACK, PUBREC, PUBREL or PUBCOMP.
pub(crate) fn ack(out: &mut Vec<u8>, kind: u8, id: [u8; 2]) {
    let flags = if kind == PUBREL { 2 } else { 0 };
    out.extend([(kind << 4) | flags, 2, id[0], id[1]]);
}

/// Cuts whole frames off `bytes`, hands first byte and body to `each`, returns how many bytes were used.
pub(crate) fn frames(bytes: &[u8], mut each: impl FnMut(u8, &[u8])) -> usize {
    let mut used = 0;
    while let Some((first, body, length)) = first_frame(&bytes[used..]) {
        each(first, body);
        used += length;
    }
    used
}

/// First byte, body and whole length of the frame at the beginning of `bytes`; `None` when it is not all there.
pub(crate) fn first_frame(bytes: &[u8]) -> Option<(u8, &[u8], usize)> {
    let (&first, rest) = bytes.split_first()?;
    let (length, width) = remaining_length(rest)?;
    Some((first, rest.get(width..width + length)?, 1 + width + length))
}

/// Value and width of a remaining length; `None` when it is not all there.
pub(crate) fn remaining_length(bytes: &[u8]) -> Option<(usize, usize)> {
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
pub(crate) fn header(out: &mut Vec<u8>, first: u8, length: usize) {
    out.push(first);
    variable_length(out, length);
}

/// Appends a length of one to four bytes.
pub(crate) fn variable_length(out: &mut Vec<u8>, mut length: usize) {
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

/// The string at the beginning of `bytes`, and what follows it.
pub(crate) fn read_string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&[high, low], rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes([high, low])))
}

/// What follows the properties at the beginning of `bytes`, where the dialect has them.
pub(crate) fn skip_properties(dialect: Dialect, bytes: &[u8]) -> Option<&[u8]> {
    if !dialect.has_properties() {
        return Some(bytes);
    }
    let (length, width) = remaining_length(bytes)?;
    bytes.get(width + length..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_frame_waits_for_its_rest() {
        let mut out = Vec::new();
        subscribe(&mut out, Dialect::Plain, &["a/b", "c"], 1);
        for cut in 0..out.len() {
            assert_eq!(frames(&out[..cut], |_, _| panic!("not whole")), 0);
        }
        assert_eq!(first_frame(&out).map(|(first, body, _)| (first, body.len())), Some((0x82, 12)));
    }

    #[test]
    fn strings_and_properties_are_stepped_over() {
        assert_eq!(read_string(&[0, 1, b'a', 7]), Some((&b"a"[..], &[7][..])));
        assert_eq!(read_string(&[0, 2, b'a']), None);
        assert_eq!(skip_properties(Dialect::Properties, &[2, 0, 0, 9]), Some(&[9][..]));
        assert_eq!(skip_properties(Dialect::Plain, &[2]), Some(&[2][..]));
    }
}
