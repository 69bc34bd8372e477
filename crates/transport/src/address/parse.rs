//! From the text of a URL to an [`Address`].
//!
//! Relates to: [`Address`], the only user. Leaves out: what MQTT addresses never have, such as relative references.

use std::net::Ipv6Addr;

use zeroize::Zeroizing;

use super::{Address, AddressProblem, Credentials, HIDDEN, Scheme};

pub(super) fn address(text: &str) -> Result<Address, AddressProblem> {
    let (scheme, rest) = text.split_once("://").ok_or(AddressProblem::SchemeMissing)?;
    let scheme = Scheme::from_name(scheme).ok_or(AddressProblem::SchemeUnknown)?;
    if scheme == Scheme::Unix {
        return unix(rest);
    }
    if !scheme.is_websocket() && has_bare_slash(rest) {
        return Err(AddressProblem::CredentialsInvalid);
    }
    let Authority { credentials, host, port, path } = authority(rest)?;
    let credentials = credentials.map(Box::new);
    let path = self::path(scheme, path)?;
    if scheme == Scheme::Memory {
        if port.is_some() {
            return Err(AddressProblem::PortNotAllowed);
        }
        if host.is_empty() {
            return Err(AddressProblem::HostMissing);
        }
        return Ok(Address { credentials, ..Address::from_memory_name(host) });
    }
    if host.is_empty() && port.is_none() {
        return Err(AddressProblem::HostMissing);
    }
    let host = host.to_ascii_lowercase();
    Ok(Address { scheme, host, port: port.or(scheme.default_port()), path, credentials })
}

/// What stands behind the `://` of a URL.
pub(crate) struct Authority<'a> {
    pub(crate) credentials: Option<Credentials>,
    pub(crate) host: String,
    pub(crate) port: Option<u16>,
    /// What follows, as it is.
    pub(crate) path: &'a str,
}

pub(crate) fn authority(text: &str) -> Result<Authority<'_>, AddressProblem> {
    let (authority, path) = split(text);
    let (credentials, place) = match authority.rsplit_once('@') {
        Some((credentials, place)) => (Some(self::credentials(credentials)?), place),
        None => (None, authority),
    };
    let (host, port) = host_and_port(place)?;
    Ok(Authority { credentials, host, port, path })
}

fn split(text: &str) -> (&str, &str) {
    text.split_at(text.find(['/', '?', '#']).unwrap_or(text.len()))
}

/// Most likely a password with a bare slash, which ended the authority too early.
pub(crate) fn has_bare_slash(text: &str) -> bool {
    let (authority, path) = split(text);
    !authority.contains('@') && path.contains('@')
}

/// The text without its password and query, also if it is no address.
pub(crate) fn masked(text: &str) -> String {
    let start = text.find("://").map_or(0, |at| at + 3);
    let end = text[start..].rfind('@').map(|length| start + length);
    let colon = end.and_then(|end| Some((start + text[start..end].find(':')?, end)));
    let masked = match colon {
        Some((colon, end)) => format!("{}:{HIDDEN}{}", &text[..colon], &text[end..]),
        None => text.to_owned(),
    };
    match masked.split_once('?') {
        Some((place, query)) if !query.is_empty() => format!("{place}?{HIDDEN}"),
        _ => masked,
    }
}

fn unix(path: &str) -> Result<Address, AddressProblem> {
    if path.len() < 2 || !path.starts_with('/') || path.contains('\0') {
        return Err(AddressProblem::PathInvalid);
    }
    let (host, path) = (String::new(), path.to_owned());
    Ok(Address { scheme: Scheme::Unix, host, port: None, path, credentials: None })
}

fn path(scheme: Scheme, path: &str) -> Result<String, AddressProblem> {
    if path.contains('#') {
        return Err(AddressProblem::FragmentNotAllowed);
    }
    // It becomes part of an HTTP request, where a line break would begin something else.
    if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(AddressProblem::PathCharacterInvalid);
    }
    match (scheme.is_websocket(), path) {
        (true, path) if path.starts_with('/') => Ok(path.to_owned()),
        (true, query) => Ok(format!("/{query}")),
        (false, "" | "/") => Ok(String::new()),
        (false, _) => Err(AddressProblem::PathNotAllowed),
    }
}

fn credentials(text: &str) -> Result<Credentials, AddressProblem> {
    let (user_name, password) = match text.split_once(':') {
        Some((user_name, password)) => (user_name, Some(percent_decoded(password)?)),
        None => (text, None),
    };
    Ok(Credentials::of_url(percent_decoded(user_name)?, password))
}

fn host_and_port(text: &str) -> Result<(String, Option<u16>), AddressProblem> {
    if let Some(bracketed) = text.strip_prefix('[') {
        let (host, rest) = bracketed.split_once(']').ok_or(AddressProblem::Ipv6Invalid)?;
        let port = match rest.strip_prefix(':') {
            Some(port) => Some(self::port(port)?),
            None if rest.is_empty() => None,
            None => return Err(AddressProblem::PortInvalid),
        };
        return Ok((ipv6(host)?, port));
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, _)) if host.contains(':') => return Err(AddressProblem::BracketsMissing),
        Some((host, port)) => (host, Some(self::port(port)?)),
        None => (text, None),
    };
    if host.chars().any(|c| !c.is_alphanumeric() && !"-._~".contains(c)) {
        return Err(AddressProblem::HostInvalid);
    }
    Ok((host.to_owned(), port))
}

fn ipv6(text: &str) -> Result<String, AddressProblem> {
    let (ip, zone) = text.split_once('%').map_or((text, None), |(ip, zone)| (ip, Some(zone)));
    let ip: Ipv6Addr = ip.parse().map_err(|_| AddressProblem::Ipv6Invalid)?;
    match zone {
        None => Ok(ip.to_string()),
        Some(zone) => {
            // RFC 6874 writes the sign before the zone as %25; people write it bare.
            let zone = zone.strip_prefix("25").filter(|zone| !zone.is_empty()).unwrap_or(zone);
            let fits =
                !zone.is_empty() && zone.chars().all(|c| c.is_ascii_alphanumeric() || "-._~".contains(c));
            if fits { Ok(format!("{ip}%{zone}")) } else { Err(AddressProblem::Ipv6Invalid) }
        }
    }
}

fn port(text: &str) -> Result<u16, AddressProblem> {
    // `u16::from_str` takes a sign, a URL does not.
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(AddressProblem::PortInvalid);
    }
    text.parse().map_err(|_| AddressProblem::PortInvalid)
}

fn percent_decoded(text: &str) -> Result<Zeroizing<String>, AddressProblem> {
    // Of its final size at once, so that no copy is left behind.
    let mut decoded = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let byte = match byte {
            b'%' => hex_digit(bytes.next())? << 4 | hex_digit(bytes.next())?,
            byte => byte,
        };
        decoded.push(byte);
    }
    match String::from_utf8(std::mem::take(&mut *decoded)) {
        Ok(text) => Ok(Zeroizing::new(text)),
        Err(error) => {
            drop(Zeroizing::new(error.into_bytes()));
            Err(AddressProblem::CredentialsInvalid)
        }
    }
}

fn hex_digit(byte: Option<u8>) -> Result<u8, AddressProblem> {
    let digit =
        byte.and_then(|byte| char::from(byte).to_digit(16)).ok_or(AddressProblem::CredentialsInvalid)?;
    Ok(digit as u8)
}
