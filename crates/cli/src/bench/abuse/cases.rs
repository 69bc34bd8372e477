//! The list of bad input, and how MQTT wants each to end.
//!
//! Where the specification names a reason code (section 4.13 and the clause of the rule) it is held to that
//! code; before CONNECT is accepted a broker may close without a word. Leaves out: how it is played.

use super::case::{Case, Expected, Opening, Then};
use crate::bench::{
    args,
    link::LONG_KEEP_ALIVE,
    wire::{
        self, Dialect,
        connect::{self, Session},
    },
};

/// The longest that a fixed header can declare.
const LONGEST: usize = 268_435_455;
/// A CONNECT of this length is plausible.
const PLAUSIBLE_CONNECT: usize = 64 << 10;
/// Most of a run of random bytes.
const RANDOM: u64 = 4096;
/// Random bytes may be the beginning of a long packet, which only the keep-alive ends: seconds.
const SHORT_KEEP_ALIVE: u16 = 2;

/// Connections where one would do.
const FEW: u32 = 10;
const CLIENT: Opening = Opening::Client { keep_alive: LONG_KEEP_ALIVE };

/// All cases in the order in which they are played.
pub(crate) fn all(dialect: Dialect, options: &args::Abuse) -> Vec<Case> {
    let mut cases = Vec::from(trickles(dialect, options));
    cases.extend(random(options));
    cases.extend(connects(dialect));
    cases.extend(packets(dialect));
    cases
}

/// Declared lengths that come byte by byte.
fn trickles(dialect: Dialect, options: &args::Abuse) -> [Case; 4] {
    let trickle = |name, opening, first, length, expected| Case {
        name,
        connections: options.sockets,
        opening,
        bytes: Box::new(move |_| {
            let mut out = Vec::new();
            wire::header(&mut out, first, length);
            out
        }),
        then: Then::Trickle,
        expected,
    };
    let too_large = Expected::disconnect(dialect, &[0x95]);
    [
        trickle("CONNECT of 256 MB trickled", Opening::Stranger, 0x10, LONGEST, Expected::Closed),
        trickle("CONNECT of 64 KiB trickled", Opening::Stranger, 0x10, PLAUSIBLE_CONNECT, Expected::Closed),
        trickle("PUBLISH of 256 MB trickled", CLIENT, 0x30, LONGEST, too_large),
        trickle("PUBLISH of allowed size trickled", CLIENT, 0x30, options.allowed as usize, Expected::Any),
    ]
}

/// Bytes without meaning.
fn random(options: &args::Abuse) -> [Case; 2] {
    let seed = options.seed;
    let case = |name, opening, stream: u64| Case {
        name,
        connections: options.random,
        opening,
        bytes: Box::new(move |index| {
            let mut random = Random(seed ^ (stream << 32) ^ u64::from(index));
            let length = 1 + random.next() % RANDOM;
            (0..length).map(|_| random.next() as u8).collect()
        }),
        then: Then::Silence,
        expected: Expected::Closed,
    };
    let client = Opening::Client { keep_alive: SHORT_KEEP_ALIVE };
    [
        case("random bytes before CONNECT", Opening::Stranger, 1),
        case("random bytes behind CONNECT", client, 2),
    ]
}

/// CONNECTs that are wrong, or where they are.
fn connects(dialect: Dialect) -> [Case; 5] {
    let mut connect = Vec::new();
    let client_id = format!("b{}-late", std::process::id());
    connect::connect(&mut connect, dialect, &client_id, 60, Session::Clean, None);
    let truncated = |name, then| {
        let whole = connect.clone();
        // Cut at every place, from "nothing comes" to "the last byte is missing".
        let bytes = move |index| whole[..index as usize].to_vec();
        stranger(name, connect.len() as u32, then, Expected::Closed, Box::new(bytes))
    };
    let mut strange = connect.clone();
    // Behind two bytes of header, and the protocol name with its length, stands the level.
    strange[4 + dialect.protocol_name().len()] = 9;
    let refused = Expected::Told(wire::CONNACK, &[0x01, 0x84]);
    let ping = |_| wire::PINGREQ.to_vec();
    [
        truncated("truncated CONNECT, then the end", Then::Finish),
        truncated("truncated CONNECT, then silence", Then::Silence),
        stranger(
            "CONNECT of unknown version",
            FEW,
            Then::Silence,
            refused,
            Box::new(move |_| strange.clone()),
        ),
        stranger("PINGREQ before CONNECT", FEW, Then::Silence, Expected::Closed, Box::new(ping)),
        client(dialect, "second CONNECT", &[0x82], connect),
    ]
}

/// What is wrong with a packet of a client.
fn packets(dialect: Dialect) -> Vec<Case> {
    let packet = |name, codes, first: u8, body: Vec<u8>| {
        let mut out = Vec::new();
        wire::frame(&mut out, first, &body);
        client(dialect, name, codes, out)
    };
    let publish = |topic: &[u8], id: Option<u16>| {
        let mut body = Vec::new();
        wire::string(&mut body, topic);
        body.extend(id.iter().flat_map(|id| id.to_be_bytes()));
        dialect.no_properties(&mut body);
        body.push(b'!');
        body
    };
    let mut subscribe = vec![0, 1];
    dialect.no_properties(&mut subscribe);
    wire::string(&mut subscribe, b"bench/abuse");
    subscribe.push(0);
    let mut suback = vec![0, 1];
    dialect.no_properties(&mut suback);
    suback.push(0);
    vec![
        packet("+ in a PUBLISH topic", &[0x90], 0x30, publish(b"bench/+/abuse", None)),
        packet("# in a PUBLISH topic", &[0x90], 0x32, publish(b"bench/#", Some(1))),
        packet("packet type 0", &[0x81], 0x00, Vec::new()),
        packet("SUBSCRIBE with wrong flags", &[0x81], 0x80, subscribe),
        packet("PUBLISH with QoS 3", &[0x81], 0x36, publish(b"bench/abuse", Some(1))),
        packet("PUBLISH with packet id 0", &[0x82], 0x32, publish(b"bench/abuse", Some(0))),
        packet("PUBLISH topic not UTF-8", &[0x81], 0x30, publish(b"bench/\xFF\xFE", None)),
        packet("PUBLISH topic with U+0000", &[0x81], 0x30, publish(b"bench/\0", None)),
        packet("SUBACK from a client", &[0x82], 0x90, suback),
        client(dialect, "length of five bytes", &[0x81], vec![0x30, 0xFF, 0xFF, 0xFF, 0xFF, 1]),
    ]
}

/// Somebody who sends this before CONNECT.
fn stranger(
    name: &'static str,
    connections: u32,
    then: Then,
    expected: Expected,
    bytes: Box<dyn Fn(u32) -> Vec<u8>>,
) -> Case {
    Case { name, connections, opening: Opening::Stranger, bytes, then, expected }
}

/// A client that sends this behind CONNECT, on a few connections.
fn client(dialect: Dialect, name: &'static str, codes: &'static [u8], bytes: Vec<u8>) -> Case {
    Case {
        name,
        connections: FEW,
        opening: CLIENT,
        bytes: Box::new(move |_| bytes.clone()),
        then: Then::Silence,
        expected: Expected::disconnect(dialect, codes),
    }
}

/// The generator `splitmix64`: a seed gives the same numbers everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}
