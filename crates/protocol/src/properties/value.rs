//! The types that property values have on the wire, and the rules for single values.
//!
//! Each type says how it is read in place ([`Wire::scan`]), taken over ([`Wire::own`]) and written. Relates to: the
//! table in `mod.rs`, which gives each property its type.

use std::num::{NonZeroU16, NonZeroU32};

use bytes::Bytes;

use super::table::{Field, Kind};
use crate::codec::{Reader, varint, writer};
use crate::error::{EncodeError, Rule, Violation};
use crate::qos::QoS;
use crate::topic::TopicName;

/// What the payload of a message is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PayloadFormat {
    /// Bytes of which nothing is said; the default.
    #[default]
    Unspecified,
    /// UTF-8 text.
    Utf8,
}

/// A format is written only if it says something; absent is unspecified.
impl<K: Kind<Wire = Format>> Field<K> for PayloadFormat {
    const REPEATS: bool = false;

    fn put(&mut self, value: Self) {
        *self = value;
    }

    fn values(&self) -> impl Iterator<Item = &Self> {
        (*self == Self::Utf8).then_some(self).into_iter()
    }
}

/// How a value is laid out, for stepping over values that were checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// So many bytes.
    Fixed(u8),
    /// A variable byte integer.
    Varint,
    /// A two byte length and what it says.
    Prefixed,
    /// Two of those.
    Pair,
}

impl Shape {
    /// The length of the value at the front of `bytes`, as far as there are bytes.
    #[inline]
    pub(super) fn len(self, bytes: &[u8]) -> usize {
        match self {
            Self::Fixed(length) => length.into(),
            Self::Varint => 1 + bytes.iter().take(3).take_while(|byte| **byte >= 0x80).count(),
            Self::Prefixed => prefixed_len(bytes),
            Self::Pair => {
                let first = prefixed_len(bytes);
                first + bytes.get(first..).map_or(0, prefixed_len)
            }
        }
    }
}

fn prefixed_len(bytes: &[u8]) -> usize {
    match bytes {
        [high, low, ..] => 2 + usize::from(u16::from_be_bytes([*high, *low])),
        _ => bytes.len(),
    }
}

/// A type on the wire.
pub(super) trait Wire {
    /// The value in a field.
    type Value: 'static;
    /// The value in place.
    type Scanned<'a>;
    /// The layout.
    const SHAPE: Shape;

    /// Reads and checks a value where it stands.
    fn scan<'a>(reader: &mut Reader<'a>) -> Result<Self::Scanned<'a>, Violation>;

    /// Checks a value and steps over it.
    #[inline]
    fn skip(reader: &mut Reader<'_>) -> Result<(), Violation> {
        Self::scan(reader).map(drop)
    }

    /// Takes a value over.
    fn own(scanned: Self::Scanned<'_>) -> Self::Value;

    /// The length on the wire in bytes.
    fn len(value: &Self::Value) -> usize;

    /// Appends a value that was checked.
    fn write(value: &Self::Value, out: &mut Vec<u8>);

    /// Whether a value can be sent. `field` is the name for the error.
    fn check(_value: &Self::Value, _field: &'static str) -> Result<(), EncodeError> {
        Ok(())
    }
}

/// Implements the types that are copied as they are: `Name: Value, layout, length, read, write;`.
macro_rules! scalars {
    ($($(#[$doc:meta])+ $wire:ident: $value:ty, $shape:expr, $len:expr, $read:expr, $write:expr;)+) => {$(
        $(#[$doc])+
        pub(super) enum $wire {}

        impl Wire for $wire {
            type Value = $value;
            type Scanned<'a> = $value;
            const SHAPE: Shape = $shape;

            #[inline]
            fn scan<'a>(reader: &mut Reader<'a>) -> Result<$value, Violation> {
                let read: fn(&mut Reader<'a>) -> Result<$value, Violation> = $read;
                read(reader)
            }

            #[inline]
            fn own(scanned: $value) -> $value {
                scanned
            }

            fn len(_value: &$value) -> usize {
                $len
            }

            #[inline]
            fn write(value: &$value, out: &mut Vec<u8>) {
                let write: fn($value, &mut Vec<u8>) = $write;
                write(*value, out);
            }
        }
    )+};
}

scalars! {
    /// A byte that is 0 or 1.
    Flag: bool, Shape::Fixed(1), 1,
        |reader| flag(reader), |value, out| out.push(value.into());
    /// A byte that is 0 or 1: the payload format.
    Format: PayloadFormat, Shape::Fixed(1), 1,
        |reader| Ok(if flag(reader)? { PayloadFormat::Utf8 } else { PayloadFormat::Unspecified }),
        |value, out| out.push((value == PayloadFormat::Utf8).into());
    /// A two byte integer.
    TwoBytes: u16, Shape::Fixed(2), 2,
        |reader| reader.u16(), |value, out| writer::u16(value, out);
    /// A two byte integer that is not zero.
    NonZeroTwoBytes: NonZeroU16, Shape::Fixed(2), 2,
        |reader| NonZeroU16::new(reader.u16()?).ok_or(REFUSED), |value, out| writer::u16(value.get(), out);
    /// A topic alias: a two byte integer that is not zero [MQTT-3.3.2-8], for which there is a reason code.
    Alias: NonZeroU16, Shape::Fixed(2), 2,
        |reader| {
            NonZeroU16::new(reader.u16()?).ok_or(Violation::new(Rule::TopicAliasOutOfRange).value(0))
        },
        |value, out| writer::u16(value.get(), out);
    /// A four byte integer.
    FourBytes: u32, Shape::Fixed(4), 4,
        |reader| reader.u32(), |value, out| writer::u32(value, out);
    /// A four byte integer that is not zero.
    NonZeroFourBytes: NonZeroU32, Shape::Fixed(4), 4,
        |reader| NonZeroU32::new(reader.u32()?).ok_or(REFUSED), |value, out| writer::u32(value.get(), out);
}

/// A byte that is 0 or 1: the Maximum QoS. QoS 2 is said by its absence.
pub(super) enum HighestQoS {}

impl Wire for HighestQoS {
    type Value = QoS;
    type Scanned<'a> = QoS;
    const SHAPE: Shape = Shape::Fixed(1);

    fn scan(reader: &mut Reader<'_>) -> Result<QoS, Violation> {
        Ok(if flag(reader)? { QoS::AtLeastOnce } else { QoS::AtMostOnce })
    }

    fn own(scanned: QoS) -> QoS {
        scanned
    }

    fn len(_value: &QoS) -> usize {
        1
    }

    fn write(value: &QoS, out: &mut Vec<u8>) {
        out.push(value.value());
    }

    fn check(value: &QoS, field: &'static str) -> Result<(), EncodeError> {
        match value {
            QoS::AtMostOnce | QoS::AtLeastOnce => Ok(()),
            QoS::ExactlyOnce => Err(EncodeError::OutOfRange { field, value: 2 }),
        }
    }
}

/// A variable byte integer that is not zero.
pub(super) enum NonZeroVarint {}

impl Wire for NonZeroVarint {
    type Value = u32;
    type Scanned<'a> = u32;
    const SHAPE: Shape = Shape::Varint;

    #[inline]
    fn scan(reader: &mut Reader<'_>) -> Result<u32, Violation> {
        match reader.varint()? {
            0 => Err(REFUSED),
            value => Ok(value),
        }
    }

    fn own(scanned: u32) -> u32 {
        scanned
    }

    fn len(value: &u32) -> usize {
        varint::len(*value)
    }

    fn write(value: &u32, out: &mut Vec<u8>) {
        varint::write(*value, out);
    }

    fn check(&value: &u32, field: &'static str) -> Result<(), EncodeError> {
        if value == 0 || value > varint::MAX { Err(EncodeError::OutOfRange { field, value }) } else { Ok(()) }
    }
}

/// A string.
pub(super) enum Text {}

impl Wire for Text {
    type Value = String;
    type Scanned<'a> = &'a str;
    const SHAPE: Shape = Shape::Prefixed;

    #[inline]
    fn scan<'a>(reader: &mut Reader<'a>) -> Result<&'a str, Violation> {
        reader.string()
    }

    #[inline]
    fn skip(reader: &mut Reader<'_>) -> Result<(), Violation> {
        reader.skip_string()
    }

    fn own(scanned: &str) -> String {
        scanned.to_owned()
    }

    fn len(value: &String) -> usize {
        2 + value.len()
    }

    fn write(value: &String, out: &mut Vec<u8>) {
        prefixed(value.as_bytes(), out);
    }

    fn check(value: &String, field: &'static str) -> Result<(), EncodeError> {
        writer::check_string(field, value)
    }
}

/// A string that is a topic name [MQTT-3.3.2-14].
pub(super) enum Topic {}

impl Wire for Topic {
    type Value = TopicName;
    type Scanned<'a> = &'a str;
    const SHAPE: Shape = Shape::Prefixed;

    #[inline]
    fn scan<'a>(reader: &mut Reader<'a>) -> Result<&'a str, Violation> {
        let text = reader.string()?;
        if TopicName::is_valid(text) { Ok(text) } else { Err(Violation::new(Rule::ResponseTopicInvalid)) }
    }

    fn own(scanned: &str) -> TopicName {
        TopicName::trusted(scanned)
    }

    fn len(value: &TopicName) -> usize {
        2 + value.as_str().len()
    }

    fn write(value: &TopicName, out: &mut Vec<u8>) {
        prefixed(value.as_str().as_bytes(), out);
    }
}

/// Binary data.
pub(super) enum Data {}

impl Wire for Data {
    type Value = Bytes;
    type Scanned<'a> = &'a [u8];
    const SHAPE: Shape = Shape::Prefixed;

    #[inline]
    fn scan<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], Violation> {
        reader.binary()
    }

    fn own(scanned: &[u8]) -> Bytes {
        Bytes::copy_from_slice(scanned)
    }

    fn len(value: &Bytes) -> usize {
        2 + value.len()
    }

    fn write(value: &Bytes, out: &mut Vec<u8>) {
        prefixed(value, out);
    }

    fn check(value: &Bytes, field: &'static str) -> Result<(), EncodeError> {
        writer::check_length(field, value)
    }
}

/// Two strings.
pub(super) enum Pair {}

impl Wire for Pair {
    type Value = (String, String);
    type Scanned<'a> = (&'a str, &'a str);
    const SHAPE: Shape = Shape::Pair;

    #[inline]
    fn scan<'a>(reader: &mut Reader<'a>) -> Result<(&'a str, &'a str), Violation> {
        Ok((reader.string()?, reader.string()?))
    }

    #[inline]
    fn skip(reader: &mut Reader<'_>) -> Result<(), Violation> {
        reader.skip_string()?;
        reader.skip_string()
    }

    fn own((name, value): (&str, &str)) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    fn len((name, value): &(String, String)) -> usize {
        4 + name.len() + value.len()
    }

    fn write((name, value): &(String, String), out: &mut Vec<u8>) {
        prefixed(name.as_bytes(), out);
        prefixed(value.as_bytes(), out);
    }

    fn check((name, value): &(String, String), field: &'static str) -> Result<(), EncodeError> {
        writer::check_string(field, name)?;
        writer::check_string(field, value)
    }
}

/// A value that its property must not have. Which property it is, is added by whoever knows.
const REFUSED: Violation = Violation { rule: Rule::PropertyValue, packet: None, value: None };

#[inline]
fn flag(reader: &mut Reader<'_>) -> Result<bool, Violation> {
    match reader.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(REFUSED),
    }
}

/// Appends a length and bytes that were checked to have it.
fn prefixed(bytes: &[u8], out: &mut Vec<u8>) {
    writer::u16(bytes.len() as u16, out);
    out.extend_from_slice(bytes);
}
