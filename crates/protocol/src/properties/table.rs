//! The two macros that turn the tables of `mod.rs` and `sets.rs` into types.
//!
//! `property_ids!` declares each property once: number, name, type on the wire. `property_set!` declares which
//! properties a packet may carry and how often. Reading, writing, length, and all checks follow from them. Relates to:
//! `value.rs`, which knows the types on the wire.

use super::PropertyId;
use super::value::Wire;
use crate::codec::{Reader, varint};
use crate::error::{EncodeError, Rule, Violation};

/// Declares the properties: `number Variant "name": WireType;`.
macro_rules! property_ids {
    ($($(#[doc = $doc:literal])+ $value:literal $variant:ident $name:literal: $wire:ident;)+) => {
        /// A property of MQTT 5.0.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum PropertyId {
            $($(#[doc = $doc])+ $variant = $value,)+
        }

        impl PropertyId {
            /// All properties in ascending order.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The property of this number; `None` if there is none.
            #[inline]
            pub const fn from_u8(value: u8) -> Option<Self> {
                match value {
                    $($value => Some(Self::$variant),)+
                    _ => None,
                }
            }

            /// The name as the specification writes it.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            /// Checks the value at the front of the reader and steps over it.
            #[inline]
            pub(in crate::properties) fn skip(self, reader: &mut Reader<'_>) -> Result<(), Violation> {
                match self {
                    $(Self::$variant => <$wire as Wire>::skip(reader),)+
                }
            }

            /// How the value is laid out.
            pub(in crate::properties) const fn shape(self) -> Shape {
                match self {
                    $(Self::$variant => <$wire as Wire>::SHAPE,)+
                }
            }
        }

        /// Each property as a type, so that sets can refer to its type on the wire.
        pub(super) mod kind {
            $(
                pub(in crate::properties) struct $variant;

                impl super::Kind for $variant {
                    const ID: super::PropertyId = super::PropertyId::$variant;
                    type Wire = super::$wire;
                }
            )+
        }
    };
}

/// Declares the properties of a packet: `field: Type = Property,`. The type says how often the property may be there,
/// see [`Field`].
macro_rules! property_set {
    (
        $(#[doc = $set_doc:literal])+
        $set:ident { $($(#[doc = $doc:literal])+ $field:ident: $type:ty = $kind:ident,)+ }
    ) => {
        $(#[doc = $set_doc])+
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct $set {
            $($(#[doc = $doc])+ pub $field: $type,)+
        }

        impl $set {
            /// One bit for each property that may be there.
            pub(super) const ALLOWED: u64 = 0 $(| PropertyId::$kind.bit())+;

            /// One bit for each property that may be there more than once.
            pub(super) const REPEATABLE: u64 =
                0 $(| if <$type as Field<kind::$kind>>::REPEATS { PropertyId::$kind.bit() } else { 0 })+;

            /// Reads the length and the properties.
            ///
            /// # Errors
            ///
            /// A property that is unknown, not allowed here, there twice, or has a value that it must not have.
            pub fn read(reader: &mut Reader<'_>) -> Result<Self, Violation> {
                let length = reader.varint()?;
                Self::parse(reader.bytes(length as usize)?)
            }

            /// Reads the properties, all bytes behind the length.
            ///
            /// # Errors
            ///
            /// As for [`read`](Self::read).
            pub fn parse(bytes: &[u8]) -> Result<Self, Violation> {
                let mut properties = Self::default();
                let mut reader = Reader::new(bytes);
                let mut seen = Seen::new(Self::ALLOWED, Self::REPEATABLE);
                while !reader.is_empty() {
                    match seen.next(&mut reader)? {
                        $(PropertyId::$kind => read_into::<kind::$kind>(&mut properties.$field, &mut reader)?,)+
                        other => return Err(Violation::new(Rule::PropertyNotAllowed).value(other.value().into())),
                    }
                }
                Ok(properties)
            }

            /// How many bytes the properties have, without their length.
            ///
            /// # Errors
            ///
            /// One of them cannot be sent.
            pub fn encoded_len(&self) -> Result<usize, EncodeError> {
                let mut length = 0;
                $(length += encoded_len::<kind::$kind>(&self.$field)?;)+
                Ok(length)
            }

            /// Appends the length and the properties.
            ///
            /// # Errors
            ///
            /// One of them cannot be sent, or all of them together. Then nothing is appended.
            pub fn write(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
                let length = self.encoded_len()?;
                write_length(length, out)?;
                $(write_all::<kind::$kind>(&self.$field, out);)+
                Ok(())
            }

            /// Whether there is no property.
            pub fn is_empty(&self) -> bool {
                $(is_absent::<kind::$kind>(&self.$field))&&+
            }
        }
    };
}

pub(super) use {property_ids, property_set};

/// A property as a type.
pub(super) trait Kind {
    /// Its number.
    const ID: PropertyId;
    /// Its type on the wire.
    type Wire: Wire;
}

/// The value of a property.
pub(super) type Value<K> = <<K as Kind>::Wire as Wire>::Value;

/// A field of a property set; it decides how often the property may be there: `Option` at most once, `Vec` any number
/// of times.
pub(super) trait Field<K: Kind> {
    /// Whether the property may be there more than once.
    const REPEATS: bool;

    /// Takes a value that was read.
    fn put(&mut self, value: Value<K>);

    /// The values to write.
    fn values(&self) -> impl Iterator<Item = &Value<K>>;
}

impl<K: Kind> Field<K> for Option<Value<K>> {
    const REPEATS: bool = false;

    #[inline]
    fn put(&mut self, value: Value<K>) {
        *self = Some(value);
    }

    #[inline]
    fn values(&self) -> impl Iterator<Item = &Value<K>> {
        self.iter()
    }
}

impl<K: Kind> Field<K> for Vec<Value<K>> {
    const REPEATS: bool = true;

    fn put(&mut self, value: Value<K>) {
        self.push(value);
    }

    fn values(&self) -> impl Iterator<Item = &Value<K>> {
        self.iter()
    }
}

/// Which properties of a packet were there already.
pub(super) struct Seen {
    allowed: u64,
    repeatable: u64,
    seen: u64,
}

impl Seen {
    pub(super) const fn new(allowed: u64, repeatable: u64) -> Self {
        Self { allowed, repeatable, seen: 0 }
    }

    /// Reads the number of the next property and judges whether it may be there.
    #[inline]
    pub(super) fn next(&mut self, reader: &mut Reader<'_>) -> Result<PropertyId, Violation> {
        // A number is a variable byte integer, of which no property needs more than one byte.
        let value = reader.u8()?;
        let refused = |rule| Err(Violation::new(rule).value(value.into()));
        let Some(id) = PropertyId::from_u8(value) else { return refused(Rule::PropertyUnknown) };
        if self.allowed & id.bit() == 0 {
            return refused(Rule::PropertyNotAllowed);
        }
        if self.seen & id.bit() & !self.repeatable != 0 {
            return refused(Rule::PropertyRepeated);
        }
        self.seen |= id.bit();
        Ok(id)
    }
}

/// Reads a value without taking it.
#[inline]
pub(super) fn scan<'a, K: Kind>(
    reader: &mut Reader<'a>,
) -> Result<<K::Wire as Wire>::Scanned<'a>, Violation> {
    K::Wire::scan(reader).map_err(|violation| in_property(violation, K::ID))
}

/// Adds the property to a violation that is about its value.
#[cold]
pub(super) const fn in_property(violation: Violation, id: PropertyId) -> Violation {
    match violation.rule {
        Rule::PropertyValue => violation.value(id.value() as u32),
        _ => violation,
    }
}

pub(super) fn read_into<K: Kind>(
    field: &mut impl Field<K>,
    reader: &mut Reader<'_>,
) -> Result<(), Violation> {
    field.put(K::Wire::own(scan::<K>(reader)?));
    Ok(())
}

pub(super) fn encoded_len<K: Kind>(field: &impl Field<K>) -> Result<usize, EncodeError> {
    let mut length = 0;
    for value in field.values() {
        K::Wire::check(value, K::ID.name())?;
        length += 1 + K::Wire::len(value);
    }
    Ok(length)
}

/// Appends values that were checked.
pub(super) fn write_all<K: Kind>(field: &impl Field<K>, out: &mut Vec<u8>) {
    for value in field.values() {
        out.push(K::ID.value());
        K::Wire::write(value, out);
    }
}

/// Appends values, but those that cannot be sent.
pub(super) fn write_valid<K: Kind>(field: &impl Field<K>, out: &mut Vec<u8>) {
    for value in field.values() {
        if K::Wire::check(value, K::ID.name()).is_ok() {
            out.push(K::ID.value());
            K::Wire::write(value, out);
        }
    }
}

pub(super) fn is_absent<K: Kind>(field: &impl Field<K>) -> bool {
    field.values().next().is_none()
}

pub(super) fn write_length(length: usize, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    match u32::try_from(length) {
        Ok(value) if value <= varint::MAX => {
            varint::write(value, out);
            Ok(())
        }
        _ => Err(EncodeError::TooLarge { length }),
    }
}
