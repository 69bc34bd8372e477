//! PUBLISH: a template that is filled in for each message, and what is read of one that arrives.
//!
//! The payload begins with a label (who sent it, its number) and a stamp (when); the rest is filling.

use super::{Dialect, frame, read_string, skip_properties, string, variable_length};

/// The number of digits in which a counter at the end of a topic is written.
pub(crate) const COUNTER: &str = "000000";

/// What all messages of a publisher have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outline<'a> {
    pub(crate) dialect: Dialect,
    /// If it ends with [`COUNTER`], messages take turns at topics.
    pub(crate) topic: &'a str,
    pub(crate) turns: Turns,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    /// In bytes: 0, or at least the 16 of label and stamp.
    pub(crate) payload: usize,
    pub(crate) user_properties: u32,
}

/// Which topic is whose, if there are several: message `n` has number `first + n`, modulo `topics`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Turns {
    pub(crate) first: u64,
    pub(crate) topics: u64,
}

impl Turns {
    /// Each message has a topic of its own, as long as the digits last.
    pub(crate) const ALONE: Self = Self { first: 0, topics: 10_u64.pow(COUNTER.len() as u32) };

    const fn topic(self, sequence: u64) -> u64 {
        (self.first + sequence) % self.topics
    }
}

/// A PUBLISH in which packet id, counter and payload are filled in for each message.
pub(crate) struct PublishTemplate {
    bytes: Vec<u8>,
    counter_at: Option<usize>,
    turns: Turns,
    id_at: Option<usize>,
    payload_at: Option<usize>,
}

impl PublishTemplate {
    pub(crate) fn new(outline: &Outline<'_>) -> Self {
        let mut body = Vec::new();
        string(&mut body, outline.topic.as_bytes());
        let counter = outline.topic.ends_with(COUNTER).then(|| body.len() - COUNTER.len());
        let id = (outline.qos > 0).then_some(body.len());
        if outline.qos > 0 {
            body.extend([0, 0]);
        }
        if outline.dialect.has_properties() {
            let properties = user_properties(outline.user_properties);
            variable_length(&mut body, properties.len());
            body.extend(properties);
        }
        let payload = (outline.payload >= 16).then_some(body.len());
        body.resize(body.len() + outline.payload, b'.');
        let mut bytes = Vec::new();
        frame(&mut bytes, 0x30 | (outline.qos << 1) | u8::from(outline.retain), &body);
        let header = bytes.len() - body.len();
        let place = |at: Option<usize>| at.map(|at| header + at);
        Self {
            bytes,
            counter_at: place(counter),
            turns: outline.turns,
            id_at: place(id),
            payload_at: place(payload),
        }
    }

    /// Appends the PUBLISH of message `sequence`; `stamp` goes behind `label` into the payload.
    pub(crate) fn write(&mut self, out: &mut Vec<u8>, sequence: u64, label: u64, stamp: u64) {
        if let Some(at) = self.counter_at {
            let mut rest = self.turns.topic(sequence);
            for digit in self.bytes[at..at + COUNTER.len()].iter_mut().rev() {
                *digit = b'0' + (rest % 10) as u8;
                rest /= 10;
            }
        }
        if let Some(at) = self.id_at {
            self.bytes[at..at + 2].copy_from_slice(&packet_id(sequence).to_be_bytes());
        }
        if let Some(at) = self.payload_at {
            self.bytes[at..at + 8].copy_from_slice(&label.to_be_bytes());
            self.bytes[at + 8..at + 16].copy_from_slice(&stamp.to_be_bytes());
        }
        out.extend_from_slice(&self.bytes);
    }
}

fn user_properties(count: u32) -> Vec<u8> {
    let mut properties = Vec::new();
    for number in 0..count {
        properties.push(0x26);
        string(&mut properties, format!("property-{number}").as_bytes());
        string(&mut properties, format!("value-{number}").as_bytes());
    }
    properties
}

/// The packet id of message `sequence`: windows are smaller than the id space, so ids may go round.
fn packet_id(sequence: u64) -> u16 {
    (sequence % 65_535) as u16 + 1
}

/// The parts of an incoming PUBLISH that are looked at.
pub(crate) struct Incoming<'a> {
    pub(crate) topic: &'a [u8],
    pub(crate) qos: u8,
    pub(crate) id: [u8; 2],
    /// Absent when the payload is too short to be one of ours.
    pub(crate) mark: Option<Mark>,
}

/// What our payloads begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) label: u64,
    pub(crate) stamp: u64,
}

/// Reads a PUBLISH; `None` when it is malformed.
pub(crate) fn incoming(dialect: Dialect, first: u8, body: &[u8]) -> Option<Incoming<'_>> {
    let qos = (first >> 1) & 3;
    let (topic, mut rest) = read_string(body)?;
    let mut id = [0, 0];
    if qos > 0 {
        let (found, behind) = rest.split_first_chunk()?;
        (id, rest) = (*found, behind);
    }
    let payload = skip_properties(dialect, rest)?;
    let number = |at: usize| Some(u64::from_be_bytes(payload.get(at..at + 8)?.try_into().ok()?));
    let mark = number(0).zip(number(8)).map(|(label, stamp)| Mark { label, stamp });
    Some(Incoming { topic, qos, id, mark })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::wire::frames;

    #[test]
    fn a_publish_reads_back_in_all_dialects() {
        let cases = [
            (Dialect::Old, 1, 0),
            (Dialect::Plain, 0, 0),
            (Dialect::Plain, 2, 0),
            (Dialect::Properties, 1, 0),
            (Dialect::Properties, 0, 30),
        ];
        for (dialect, qos, user_properties) in cases {
            let topic = format!("bench/{COUNTER}");
            let outline = Outline {
                dialect,
                topic: &topic,
                turns: Turns::ALONE,
                qos,
                retain: false,
                payload: 300,
                user_properties,
            };
            let mut out = Vec::new();
            PublishTemplate::new(&outline).write(&mut out, 70, 9, 11);
            let mut seen = 0;
            let used = frames(&out, |first, body| {
                let message = incoming(dialect, first, body).unwrap();
                assert_eq!((message.topic, message.qos), (&b"bench/000070"[..], qos));
                assert_eq!(message.mark, Some(Mark { label: 9, stamp: 11 }));
                assert_eq!(message.id, if qos > 0 { [0, 71] } else { [0, 0] });
                seen += 1;
            });
            assert_eq!((used, seen), (out.len(), 1));
        }
    }

    #[test]
    fn topics_are_taken_in_turns() {
        let turns = Turns { first: 5, topics: 7 };
        assert_eq!([0, 1, 2, 9].map(|sequence| turns.topic(sequence)), [5, 6, 0, 0]);
    }

    #[test]
    fn an_empty_payload_is_no_message_of_ours() {
        let outline = Outline {
            dialect: Dialect::Plain,
            topic: "a",
            turns: Turns::ALONE,
            qos: 0,
            retain: true,
            payload: 0,
            user_properties: 0,
        };
        let mut out = Vec::new();
        PublishTemplate::new(&outline).write(&mut out, 0, 0, 0);
        assert_eq!(out, [0x31, 3, 0, 1, b'a']);
        assert_eq!(incoming(Dialect::Plain, 0x31, &out[2..]).unwrap().mark, None);
    }
}
