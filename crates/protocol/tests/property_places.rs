//! Every property in every packet: table 2-4 of MQTT 5.0, written down a second time and compared.
//!
//! Leaves out: the rules for single values, which stand in `malformed.rs` and beside the property table.

use gantline_protocol::packet::Packet;
use gantline_protocol::{ProtocolVersion, ReasonCode, Rule};
use gantline_test_support::packets::bytes;

/// A name, and the packet around its properties, which `{}` stands for. The will is a place of its own.
const PLACES: &[(&str, &str)] = &[
    ("CONNECT", "10 .. 00 04 'MQTT' 05 02 00 00 {} 00 00"),
    ("Will", "10 .. 00 04 'MQTT' 05 06 00 00 00 00 00 {} 00 01 'w' 00 00"),
    ("CONNACK", "20 .. 00 00 {}"),
    ("PUBLISH", "30 .. 00 01 'a' {}"),
    ("PUBACK", "40 .. 00 01 00 {}"),
    ("PUBREC", "50 .. 00 01 00 {}"),
    ("PUBREL", "62 .. 00 01 00 {}"),
    ("PUBCOMP", "70 .. 00 01 00 {}"),
    ("SUBSCRIBE", "82 .. 00 01 {} 00 01 'a' 00"),
    ("SUBACK", "90 .. 00 01 {} 00"),
    ("UNSUBSCRIBE", "A2 .. 00 01 {} 00 01 'a'"),
    ("UNSUBACK", "B0 .. 00 01 {} 00"),
    ("DISCONNECT", "E0 .. 00 {}"),
    ("AUTH", "F0 .. 18 {}"),
];

/// A property with a value, and the places that may have it.
#[rustfmt::skip]
const PROPERTIES: &[(&str, &[&str])] = &[
    ("01 01",                 &["PUBLISH", "Will"]),
    ("02 00 00 00 01",        &["PUBLISH", "Will"]),
    ("03 00 01 't'",          &["PUBLISH", "Will"]),
    ("08 00 01 'r'",          &["PUBLISH", "Will"]),
    ("09 00 01 00",           &["PUBLISH", "Will"]),
    ("0B 01",                 &["PUBLISH", "SUBSCRIBE"]),
    ("11 00 00 00 01",        &["CONNECT", "CONNACK", "DISCONNECT"]),
    ("12 00 01 'i'",          &["CONNACK"]),
    ("13 00 01",              &["CONNACK"]),
    ("15 00 01 'm'",          &["CONNECT", "CONNACK", "AUTH"]),
    ("16 00 01 00",           &["CONNECT", "CONNACK", "AUTH"]),
    ("17 01",                 &["CONNECT"]),
    ("18 00 00 00 01",        &["Will"]),
    ("19 01",                 &["CONNECT"]),
    ("1A 00 01 'i'",          &["CONNACK"]),
    ("1C 00 01 's'",          &["CONNACK", "DISCONNECT"]),
    ("1F 00 01 'r'",          &["CONNACK", "PUBACK", "PUBREC", "PUBREL", "PUBCOMP", "SUBACK", "UNSUBACK", "DISCONNECT", "AUTH"]),
    ("21 00 01",              &["CONNECT", "CONNACK"]),
    ("22 00 01",              &["CONNECT", "CONNACK"]),
    ("23 00 01",              &["PUBLISH"]),
    ("24 01",                 &["CONNACK"]),
    ("25 01",                 &["CONNACK"]),
    ("26 00 01 'k' 00 01 'v'", &["CONNECT", "Will", "CONNACK", "PUBLISH", "PUBACK", "PUBREC", "PUBREL", "PUBCOMP", "SUBSCRIBE", "SUBACK", "UNSUBSCRIBE", "UNSUBACK", "DISCONNECT", "AUTH"]),
    ("27 00 00 00 01",        &["CONNECT", "CONNACK"]),
    ("28 01",                 &["CONNACK"]),
    ("29 01",                 &["CONNACK"]),
    ("2A 01",                 &["CONNACK"]),
];

/// The packet of a place with these properties.
fn packet(place: &str, around: &str, properties: &str) -> Vec<u8> {
    // Where a method is needed it is there.
    let needs_method = place == "AUTH" || place == "CONNECT" && properties.starts_with("16");
    let method = if needs_method && !properties.starts_with("15") { "15 00 01 'm' " } else { "" };
    let properties = format!("{method}{properties}");
    let length = bytes(&properties).len();
    bytes(&around.replace("{}", &format!("{length:02X} {properties}")))
}

fn decode(bytes: &[u8]) -> Result<Packet, (Rule, ReasonCode, Option<u32>)> {
    Packet::decode(bytes, ProtocolVersion::V5_0)
        .map_err(|violation| (violation.rule, violation.reason(), violation.value))
}

#[test]
fn a_property_is_read_where_it_may_be_and_refused_elsewhere() {
    assert_eq!(PROPERTIES.len(), 27);
    for (property, allowed) in PROPERTIES {
        let id = bytes(property)[0];
        for (place, around) in PLACES {
            let decoded = decode(&packet(place, around, property));
            if allowed.contains(place) {
                assert!(decoded.is_ok(), "{property} in {place}: {decoded:?}");
            } else {
                let refused = (Rule::PropertyNotAllowed, ReasonCode::MalformedPacket, Some(id.into()));
                assert_eq!(decoded, Err(refused), "{property} in {place}");
            }
        }
    }
}

#[test]
fn a_property_is_there_once() {
    for (property, allowed) in PROPERTIES {
        let id = bytes(property)[0];
        for (place, around) in PLACES.iter().filter(|(place, _)| allowed.contains(place)) {
            let decoded = decode(&packet(place, around, &format!("{property} {property}")));
            if id == 0x26 || (id, *place) == (0x0B, "PUBLISH") {
                assert!(decoded.is_ok(), "{property} in {place}: {decoded:?}");
            } else {
                let refused = (Rule::PropertyRepeated, ReasonCode::ProtocolError, Some(id.into()));
                assert_eq!(decoded, Err(refused), "{property} in {place}");
            }
        }
    }
}

#[test]
fn a_property_must_be_whole() {
    for (property, allowed) in PROPERTIES {
        let whole = bytes(property);
        for (place, around) in PLACES.iter().filter(|(place, _)| allowed.contains(place)) {
            for length in 1..whole.len() {
                let part: Vec<String> = whole[..length].iter().map(|byte| format!("{byte:02X}")).collect();
                let decoded = decode(&packet(place, around, &part.join(" ")));
                let refused = (Rule::IncompletePacket, ReasonCode::MalformedPacket, None);
                assert_eq!(decoded, Err(refused), "{length} bytes of {property} in {place}");
            }
        }
    }
}

#[test]
fn a_text_is_checked_wherever_it_is() {
    let texts = ["03", "08", "12", "15", "1A", "1C", "1F", "26"];
    let wrong = [
        ("00 01 00", Rule::StringContainsNull),
        ("00 01 FF", Rule::StringNotUtf8),
        ("00 02 C0 80", Rule::StringNotUtf8),
        ("00 03 ED A0 80", Rule::StringNotUtf8),
        ("00 04 F4 90 80 80", Rule::StringNotUtf8),
    ];
    for (property, allowed) in PROPERTIES.iter().filter(|(property, _)| texts.contains(&&property[..2])) {
        for (place, around) in PLACES.iter().filter(|(place, _)| allowed.contains(place)) {
            for (text, rule) in wrong {
                let pair = if property.starts_with("26") { "26 00 01 'k'" } else { &property[..2] };
                let decoded = decode(&packet(place, around, &format!("{pair} {text}")));
                assert_eq!(
                    decoded,
                    Err((rule, ReasonCode::MalformedPacket, None)),
                    "{pair} {text} in {place}"
                );
            }
        }
    }
}
