//! Basic credentials of HTTP (RFC 7617).
//!
//! Relates to: `proxy/http.rs`, which tells them to a proxy, and `websocket/client.rs`, which tells them to a server.

use zeroize::Zeroizing;

/// The value of a header with these credentials; `None` if the user name has a colon, at which HTTP would end it.
pub(crate) fn basic(user_name: &str, password: &str) -> Option<Zeroizing<String>> {
    if user_name.contains(':') {
        return None;
    }
    let pair = Zeroizing::new(format!("{user_name}:{password}"));
    // Of its final size at once, so that no copy is left behind.
    let mut value = Zeroizing::new(String::with_capacity(SCHEME.len() + pair.len().div_ceil(3) * 4));
    value.push_str(SCHEME);
    push_base64(&mut value, pair.as_bytes());
    Some(value)
}

fn push_base64(text: &mut String, bytes: &[u8]) {
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().fold(0, |group: u32, &byte| group << 8 | u32::from(byte));
        let group = group << (8 * (3 - chunk.len()));
        for at in 0..4 {
            let digit = BASE64[(group >> (18 - 6 * at)) as usize & 0x3F];
            text.push(if at <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
}

const SCHEME: &str = "Basic ";
const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

#[cfg(test)]
mod tests {
    use super::basic;

    #[test]
    fn credentials_are_in_base64_and_a_user_name_has_no_colon() {
        for (user_name, password, expected) in [
            ("Aladdin", "open sesame", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
            ("a", "", "Basic YTo="),
            ("a", "b", "Basic YTpi"),
        ] {
            let value = basic(user_name, password).unwrap();
            assert_eq!((value.as_str(), value.capacity()), (expected, expected.len()));
        }
        assert!(basic("a:b", "c").is_none());
    }
}
