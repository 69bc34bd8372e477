//! CONNECT, and what a CONNACK says.

use gantline::transport::Credentials;

use super::{Dialect, frame, remaining_length, string};

/// Seconds that a 5.0 broker shall keep a session; the older dialects have no such number.
const SESSION_EXPIRY: u32 = 3600;

/// What becomes of the session when the connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Session {
    /// It is begun anew, and ends with the connection.
    Clean,
    /// It is taken up if there is one, and kept.
    Kept,
}

/// Appends a CONNECT.
pub(crate) fn connect(
    out: &mut Vec<u8>,
    dialect: Dialect,
    client_id: &str,
    keep_alive: u16,
    session: Session,
    credentials: Option<&Credentials>,
) {
    let mut body = Vec::with_capacity(32 + client_id.len());
    string(&mut body, dialect.protocol_name().as_bytes());
    body.push(dialect.level());
    let user_name = credentials.map(Credentials::user_name);
    let password = credentials.and_then(Credentials::password);
    let flag = |set: bool, bit: u8| if set { bit } else { 0 };
    body.push(
        flag(session == Session::Clean, 0x02)
            | flag(user_name.is_some(), 0x80)
            | flag(password.is_some(), 0x40),
    );
    body.extend(keep_alive.to_be_bytes());
    // Receive Maximum is 65,535 by default; no aliases, so that all dialects carry the topic.
    if session == Session::Clean {
        dialect.no_properties(&mut body);
    } else if dialect.has_properties() {
        body.extend([5, 0x11]);
        body.extend(SESSION_EXPIRY.to_be_bytes());
    }
    for text in [Some(client_id), user_name, password].into_iter().flatten() {
        string(&mut body, text.as_bytes());
    }
    frame(out, 0x10, &body);
}

/// What a CONNACK says: how many QoS 1 and 2 messages may be unacknowledged, or the code of the refusal.
/// `None` if it is too short.
pub(crate) fn connack(dialect: Dialect, body: &[u8]) -> Option<Result<u32, u8>> {
    let &[_, code, ref properties @ ..] = body else { return None };
    if code != 0 {
        return Some(Err(code));
    }
    let properties = if dialect.has_properties() { properties } else { &[] };
    Some(Ok(receive_maximum(properties).unwrap_or(u16::MAX).into()))
}

/// Property 0x21 is the only one looked for; those that may stand before it are stepped over.
fn receive_maximum(properties: &[u8]) -> Option<u16> {
    let (_, width) = remaining_length(properties)?;
    let mut rest = &properties[width..];
    loop {
        let (&id, value) = rest.split_first()?;
        let first_two = || Some(u16::from_be_bytes([*value.first()?, *value.get(1)?]));
        let size = match id {
            0x21 => return first_two(),
            0x11 | 0x27 => 4,
            0x13 | 0x22 => 2,
            0x24 | 0x25 | 0x28 | 0x29 | 0x2A => 1,
            0x12 | 0x15 | 0x16 | 0x1A | 0x1C | 0x1F => 2 + usize::from(first_two()?),
            0x26 => {
                let name = 2 + usize::from(first_two()?);
                let text = value.get(name..name + 2)?;
                name + 2 + usize::from(u16::from_be_bytes([text[0], text[1]]))
            }
            _ => return None,
        };
        rest = value.get(size..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receive_maximum_is_found_behind_other_properties() {
        let body = [0, 0, 15, 0x11, 0, 0, 0, 9, 0x26, 0, 1, b'a', 0, 1, b'b', 0x21, 0, 20];
        assert_eq!(connack(Dialect::Properties, &body), Some(Ok(20)));
        assert_eq!(connack(Dialect::Properties, &[0, 0, 0]), Some(Ok(65_535)));
        assert_eq!(connack(Dialect::Plain, &[0, 5]), Some(Err(5)));
        assert_eq!(connack(Dialect::Plain, &[0]), None);
    }

    #[test]
    fn each_dialect_has_its_name_and_level() {
        for (dialect, name, level) in
            [(Dialect::Old, "MQIsdp", 3), (Dialect::Plain, "MQTT", 4), (Dialect::Properties, "MQTT", 5)]
        {
            let mut out = Vec::new();
            connect(&mut out, dialect, "a", 60, Session::Clean, None);
            assert_eq!(&out[4..4 + name.len()], name.as_bytes());
            assert_eq!(out[4 + name.len()], level);
        }
    }
}
