//! From frames to the bytes in them, in place and without a buffer.
//!
//! What carries MQTT are the payloads of binary frames, one behind the other [MQTT-6.0.0-2]; where frames and messages
//! begin means nothing. Relates to: `socket.rs`, which reads and answers. Leaves out: what a control frame is answered
//! with.

use super::failure::Breach;
use super::frame::{
    FINAL, LENGTH_16, LENGTH_64, LONGEST_CONTROL, LONGEST_HEAD, MASKED, Mask, Opcode, RESERVED, Side,
};

/// The state between two reads.
#[derive(Debug)]
pub(super) struct Decoder {
    side: Side,
    /// The most bytes of a message.
    max_message: u64,
    /// A head that has not come whole.
    head: [u8; LONGEST_HEAD],
    head_len: u8,
    /// Whether the head is done and `left` counts.
    inside: bool,
    opcode: Opcode,
    /// Bytes of the payload that are still to come.
    left: u64,
    mask: Option<Mask>,
    /// Whether a message goes on in the next data frame, and how long it is so far.
    unfinished: bool,
    message: u64,
    /// The payload of a control frame, as far as it came.
    control: Vec<u8>,
    /// What the last PING said, until it is taken.
    pub(super) ping: Option<Box<[u8]>>,
    /// Why the connection cannot go on, or that the peer closes it. Nothing is decoded behind it.
    pub(super) end: Option<End>,
}

/// After this nothing is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The peer said so, with this code.
    Closed(Option<u16>),
    /// The peer broke the rules.
    Broken(Breach),
}

impl Decoder {
    pub(super) const fn new(side: Side, max_message: u64) -> Self {
        Self {
            side,
            max_message,
            head: [0; LONGEST_HEAD],
            head_len: 0,
            inside: false,
            opcode: Opcode::Binary,
            left: 0,
            mask: None,
            unfinished: false,
            message: 0,
            control: Vec::new(),
            ping: None,
            end: None,
        }
    }

    /// Decodes what came: afterwards the payload stands at the front of `bytes`. Returns its length.
    pub(super) fn decode(&mut self, bytes: &mut [u8]) -> usize {
        let (mut from, mut to) = (0, 0);
        while from < bytes.len() && self.end.is_none() {
            if !self.inside {
                from += self.read_head(&bytes[from..]);
                continue;
            }
            let len =
                usize::try_from(self.left).map_or(bytes.len() - from, |left| left.min(bytes.len() - from));
            if matches!(self.opcode, Opcode::Binary | Opcode::Continuation) {
                if from != to {
                    bytes.copy_within(from..from + len, to);
                }
                self.unmask(&mut bytes[to..to + len]);
                to += len;
            } else {
                let start = self.control.len();
                self.control.extend_from_slice(&bytes[from..from + len]);
                let mut control = std::mem::take(&mut self.control);
                self.unmask(&mut control[start..]);
                self.control = control;
            }
            from += len;
            self.left -= len as u64;
            if self.left == 0 {
                self.finish();
            }
        }
        to
    }

    fn unmask(&mut self, bytes: &mut [u8]) {
        if let Some(mask) = &mut self.mask {
            mask.apply(bytes);
            *mask = mask.after(bytes.len());
        }
    }

    /// Takes what belongs to the head; returns how much that was.
    fn read_head(&mut self, bytes: &[u8]) -> usize {
        // Most of the time it is all there.
        if self.head_len == 0
            && let [first, second, ..] = *bytes
            && let len = head_len(second)
            && let Some(head) = bytes.get(..len)
        {
            self.begin(first, second, &head[2..]);
            return len;
        }
        let before = usize::from(self.head_len);
        let wanted = if before < 2 { 2 } else { head_len(self.head[1]) };
        let taken = bytes.len().min(wanted - before);
        self.head[before..before + taken].copy_from_slice(&bytes[..taken]);
        self.head_len += taken as u8;
        let (head, len) = (self.head, usize::from(self.head_len));
        if len >= 2 && len == head_len(head[1]) {
            self.head_len = 0;
            self.begin(head[0], head[1], &head[2..len]);
        } else if len == 2
            && let Err(breach) = self.judge(head[0], head[1])
        {
            // Who sends text need not finish it.
            self.end = Some(End::Broken(breach));
        }
        taken
    }

    /// Begins a frame.
    fn begin(&mut self, first: u8, second: u8, rest: &[u8]) {
        match self.judge(first, second).and_then(|opcode| self.measure(opcode, second, rest)) {
            Err(breach) => self.end = Some(End::Broken(breach)),
            Ok((opcode, left)) => {
                let key = (second & MASKED != 0).then(|| rest.last_chunk::<4>()).flatten();
                (self.opcode, self.left, self.mask) = (opcode, left, key.copied().map(Mask));
                self.inside = true;
                match opcode {
                    Opcode::Binary | Opcode::Continuation => {
                        self.message = if opcode == Opcode::Binary { left } else { self.message + left };
                        self.unfinished = first & FINAL == 0;
                    }
                    Opcode::Text | Opcode::Close | Opcode::Ping | Opcode::Pong => self.control.clear(),
                }
                if left == 0 {
                    self.finish();
                }
            }
        }
    }

    /// Whether a frame may begin like this here.
    fn judge(&self, first: u8, second: u8) -> Result<Opcode, Breach> {
        let opcode =
            Opcode::from_u8(first & 0xF).ok_or(Breach::Rule("a frame has an opcode that there is not"))?;
        if first & RESERVED != 0 {
            return Err(Breach::Rule("a frame has the bits of an extension that was not offered"));
        }
        match (opcode, self.unfinished) {
            // [MQTT-6.0.0-1]
            (Opcode::Text, _) => return Err(Breach::Text),
            (Opcode::Binary, true) => return Err(Breach::Rule("a message begins inside of another")),
            (Opcode::Continuation, false) => {
                return Err(Breach::Rule("a message goes on that did not begin"));
            }
            (Opcode::Close | Opcode::Ping | Opcode::Pong, _)
                if first & FINAL == 0 || usize::from(second & !MASKED) > LONGEST_CONTROL =>
            {
                return Err(Breach::Rule("a control frame is too long or in pieces"));
            }
            _ => {}
        }
        match (self.side, second & MASKED != 0) {
            (Side::Server, false) => Err(Breach::Rule("a client does not mask its frames")),
            (Side::Client, true) => Err(Breach::Rule("a server masks its frames")),
            _ => Ok(opcode),
        }
    }

    /// The length of the frame.
    fn measure(&self, opcode: Opcode, second: u8, rest: &[u8]) -> Result<(Opcode, u64), Breach> {
        let number =
            |len: usize| rest[..len].iter().fold(0, |number: u64, &byte| number << 8 | u64::from(byte));
        let len = match second & !MASKED {
            LENGTH_16 => number(2),
            LENGTH_64 => number(8),
            len => u64::from(len),
        };
        let before = if opcode == Opcode::Continuation { self.message } else { 0 };
        match before.checked_add(len) {
            Some(size) if size <= self.max_message => Ok((opcode, len)),
            _ if matches!(opcode, Opcode::Binary | Opcode::Continuation) => {
                Err(Breach::TooLarge { limit: self.max_message })
            }
            _ => Ok((opcode, len)),
        }
    }

    /// Ends a frame.
    fn finish(&mut self) {
        self.inside = false;
        match self.opcode {
            Opcode::Ping => self.ping = Some(std::mem::take(&mut self.control).into()),
            Opcode::Close => {
                self.end = Some(match *std::mem::take(&mut self.control).as_slice() {
                    [] => End::Closed(None),
                    [high, low, ref reason @ ..] => {
                        let code = u16::from_be_bytes([high, low]);
                        if may_be_sent(code) && std::str::from_utf8(reason).is_ok() {
                            End::Closed(Some(code))
                        } else {
                            End::Broken(Breach::Rule(
                                "a connection is closed with a code that must not be sent",
                            ))
                        }
                    }
                    [_] => End::Broken(Breach::Rule("a connection is closed with half a code")),
                });
            }
            Opcode::Pong => self.control = Vec::new(),
            Opcode::Binary | Opcode::Continuation | Opcode::Text => {}
        }
    }
}

/// The length of a head, from its second byte.
const fn head_len(second: u8) -> usize {
    let length = match second & !MASKED {
        LENGTH_16 => 2,
        LENGTH_64 => 8,
        _ => 0,
    };
    2 + length + if second & MASKED != 0 { 4 } else { 0 }
}

/// Whether this may be the code of a CLOSE (RFC 6455, section 7.4).
const fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio_tungstenite::tungstenite::protocol::frame::Frame;
    use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
    use tokio_tungstenite::tungstenite::protocol::frame::coding::{Control, Data, OpCode};

    use super::*;

    /// A frame as tungstenite writes it.
    fn frame(opcode: OpCode, is_final: bool, mask: Option<[u8; 4]>, payload: &[u8]) -> Vec<u8> {
        let header = FrameHeader { is_final, opcode, mask, ..FrameHeader::default() };
        let mut bytes = Vec::new();
        let frame = Frame::from_payload(header, payload.to_vec().into());
        frame.format(&mut bytes).unwrap();
        bytes
    }

    fn binary(mask: Option<[u8; 4]>, payload: &[u8]) -> Vec<u8> {
        frame(OpCode::Data(Data::Binary), true, mask, payload)
    }

    fn decoded(decoder: &mut Decoder, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        let len = decoder.decode(&mut bytes);
        bytes.truncate(len);
        bytes
    }

    fn breach(side: Side, bytes: &[u8]) -> Option<Breach> {
        let mut decoder = Decoder::new(side, 1000);
        decoded(&mut decoder, bytes);
        match decoder.end {
            Some(End::Broken(breach)) => Some(breach),
            _ => None,
        }
    }

    const KEY: Option<[u8; 4]> = Some([1, 2, 3, 4]);

    proptest! {
        /// However a stream is cut into frames and reads, with PINGs in between.
        #[test]
        fn the_bytes_come_out_in_order_however_they_are_cut(
            frames in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..300), any::<bool>(), any::<[u8; 4]>()), 1..20),
            cuts in prop::collection::vec(1_usize..200, 1..50),
        ) {
            let (mut wire, mut expected, mut inside) = (Vec::new(), Vec::new(), false);
            let mut pings = 0;
            for (at, (payload, is_final, key)) in frames.iter().enumerate() {
                let opcode = if inside { Data::Continue } else { Data::Binary };
                wire.extend(frame(OpCode::Data(opcode), *is_final, Some(*key), payload));
                expected.extend_from_slice(payload);
                inside = !is_final;
                if at % 3 == 0 {
                    wire.extend(frame(OpCode::Control(Control::Ping), true, Some(*key), &payload[..payload.len().min(125)]));
                    pings += 1;
                }
            }
            let mut decoder = Decoder::new(Side::Server, u64::MAX);
            let (mut came, mut seen, mut cuts) = (Vec::new(), 0, cuts.iter().cycle());
            let mut rest = wire.as_slice();
            while !rest.is_empty() {
                let (front, back) = rest.split_at(rest.len().min(*cuts.next().unwrap()));
                came.extend(decoded(&mut decoder, front));
                seen += usize::from(decoder.ping.take().is_some());
                rest = back;
            }
            prop_assert_eq!(&decoder.end, &None);
            prop_assert_eq!(came, expected);
            // Of several in one read, the last counts.
            prop_assert!(seen >= 1 && seen <= pings);
        }

        #[test]
        fn no_bytes_make_it_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            cut in 1_usize..50,
            server in any::<bool>(),
        ) {
            let mut decoder = Decoder::new(if server { Side::Server } else { Side::Client }, 1000);
            for chunk in bytes.chunks(cut) {
                let len = decoded(&mut decoder, chunk).len();
                prop_assert!(len <= chunk.len());
            }
        }
    }

    #[test]
    fn several_packets_in_one_frame_and_one_in_several_are_the_same_bytes() {
        let mut decoder = Decoder::new(Side::Client, 1000);
        let mut wire = binary(None, &[0xC0, 0, 0xC0, 0]);
        wire.extend(binary(None, &[0x30]));
        wire.extend(binary(None, &[3, 0]));
        wire.extend(binary(None, b"\x01tx"));
        assert_eq!(decoded(&mut decoder, &wire), [0xC0, 0, 0xC0, 0, 0x30, 3, 0, 1, b't', b'x']);
    }

    #[test]
    fn text_is_refused_from_its_first_bytes() {
        assert_eq!(breach(Side::Server, &[0x81, 0xFE]), Some(Breach::Text));
        assert_eq!(
            breach(Side::Client, &frame(OpCode::Data(Data::Text), true, None, b"hi")),
            Some(Breach::Text)
        );
    }

    #[test]
    fn what_came_before_a_breach_is_not_lost() {
        let mut decoder = Decoder::new(Side::Client, 1000);
        let wire = [binary(None, b"good"), vec![0x81, 1, b'x'], binary(None, b"late")].concat();
        assert_eq!(decoded(&mut decoder, &wire), b"good");
        assert_eq!(decoder.end, Some(End::Broken(Breach::Text)));
        assert!(decoded(&mut decoder, &binary(None, b"later")).is_empty());
    }

    #[test]
    fn the_rules_of_frames_are_kept() {
        let wrong: [(Side, Vec<u8>); 10] = [
            (Side::Server, binary(None, b"x")),
            (Side::Client, binary(KEY, b"x")),
            (Side::Client, vec![0xC2, 0]),
            (Side::Client, vec![0x83, 0]),
            (Side::Client, frame(OpCode::Data(Data::Continue), true, None, b"x")),
            (
                Side::Client,
                [frame(OpCode::Data(Data::Binary), false, None, b"x"), binary(None, b"x")].concat(),
            ),
            (Side::Client, frame(OpCode::Control(Control::Ping), false, None, b"x")),
            (Side::Client, frame(OpCode::Control(Control::Ping), true, None, &[0; 126])),
            (Side::Client, frame(OpCode::Control(Control::Close), true, None, &[3])),
            (Side::Client, frame(OpCode::Control(Control::Close), true, None, &1005_u16.to_be_bytes())),
        ];
        for (side, bytes) in wrong {
            assert!(matches!(breach(side, &bytes), Some(Breach::Rule(_))), "{bytes:?}");
        }
    }

    #[test]
    fn a_message_is_measured_over_all_its_frames() {
        let too_large = Some(Breach::TooLarge { limit: 1000 });
        assert_eq!(breach(Side::Client, &binary(None, &[0; 1000])), None);
        assert_eq!(breach(Side::Client, &[0x82, 126, 0x03, 0xE9]), too_large);
        assert_eq!(breach(Side::Client, &[0x82, 127, 255, 255, 255, 255, 255, 255, 255, 255]), too_large);
        let first = frame(OpCode::Data(Data::Binary), false, None, &[0; 600]);
        let second = frame(OpCode::Data(Data::Continue), true, None, &[0; 401]);
        assert_eq!(breach(Side::Client, &[first.clone(), second].concat()), too_large);
        let second = frame(OpCode::Data(Data::Continue), true, None, &[0; 400]);
        assert_eq!(breach(Side::Client, &[first, second, binary(None, &[0; 1000])].concat()), None);
    }

    #[test]
    fn a_close_has_a_code_or_none() {
        for (payload, code) in
            [(vec![], None), (vec![3, 0xE8], Some(1000)), (b"\x0F\xA0bye".to_vec(), Some(4000))]
        {
            let mut decoder = Decoder::new(Side::Server, 1000);
            decoded(&mut decoder, &frame(OpCode::Control(Control::Close), true, KEY, &payload));
            assert_eq!(decoder.end, Some(End::Closed(code)));
        }
    }
}
