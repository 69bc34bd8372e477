//! Headers as load balancers send them, and everything that is none.

use std::io;

use proptest::prelude::*;

use super::*;

/// What a header says, and what was left in the stream behind it.
async fn parsed(bytes: &[u8]) -> (Result<Option<Endpoint>, HandshakeError>, Vec<u8>) {
    let mut rest = bytes;
    let result = read(&mut rest).await;
    (result, rest.to_vec())
}

async fn source_of(header: &[u8]) -> Option<String> {
    let (source, rest) = parsed(&[header, b"\x10behind"].concat()).await;
    assert_eq!(rest, b"\x10behind", "exactly the header is read");
    source.unwrap().map(|source| source.to_string())
}

async fn refused(header: &[u8]) -> ProxyHeaderError {
    match parsed(&[header, &[0xEE; 300]].concat()).await.0 {
        Err(HandshakeError::ProxyProtocol(error)) => error,
        other => panic!("{}: {other:?}", header.escape_ascii()),
    }
}

fn binary(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u16).to_be_bytes();
    [&SIGNATURE[..], &[command, family], &length, body].concat()
}

const IPV4: &[u8] = b"\xC0\x00\x02\x01\x0A\x00\x00\x01\x30\x39\x07\x5B";

#[tokio::test]
async fn a_line_tells_the_source() {
    for (line, source) in [
        ("PROXY TCP4 192.0.2.1 10.0.0.1 12345 1883\r\n", Some("192.0.2.1:12345")),
        ("PROXY TCP6 2001:db8::1 ::1 1 65535\r\n", Some("[2001:db8::1]:1")),
        ("PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n", Some("0.0.0.0:0")),
        ("PROXY UNKNOWN\r\n", None),
        ("PROXY UNKNOWN ffff:f...f:ffff 65535 whatever\r\n", None),
    ] {
        assert_eq!(source_of(line.as_bytes()).await.as_deref(), source, "{line:?}");
    }
    let address = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
    let longest = format!("PROXY TCP6 {address} {address} 65535 65535\r\n");
    assert_eq!(source_of(longest.as_bytes()).await.unwrap(), format!("[{address}]:65535"));
}

#[tokio::test]
async fn a_line_that_is_wrong_is_refused() {
    for line in [
        "PROXY TCP5 192.0.2.1 10.0.0.1 1 1\r\n",
        "PROXY  TCP4 192.0.2.1 10.0.0.1 1 1\r\n",
        "PROXY TCP4 192.0.2.1  10.0.0.1 1 1\r\n",
        "PROXY TCP4 192.0.2.1 10.0.0.1 1\r\n",
        "PROXY TCP4 192.0.2.1 10.0.0.1 1 1 \r\n",
        "PROXY TCP4 192.0.2.1 10.0.0.1 1 65536\r\n",
        "PROXY TCP4 192.0.2.1 10.0.0.1 +1 1\r\n",
        "PROXY TCP4 192.0.2.1 10.0.0.1 01 1\r\n",
        "PROXY TCP4 192.0.2.01 10.0.0.1 1 1\r\n",
        "PROXY TCP4 ::1 10.0.0.1 1 1\r\n",
        "PROXY TCP4 ::ffff:192.0.2.1 ::1 1 1\r\n",
        "PROXY TCP6 192.0.2.1 10.0.0.1 1 1\r\n",
        "PROXY tcp4 192.0.2.1 10.0.0.1 1 1\r\n",
        "PROXY TCP4 192.0.2.1 10.0.0.1 1 1\n",
        "PROXY TCP4 host 10.0.0.1 1 1\r\n",
    ] {
        let error = refused(line.as_bytes()).await;
        assert!(matches!(error, ProxyHeaderError::Malformed(_)), "{line:?}: {error}");
    }
    let endless = format!("PROXY UNKNOWN {}", "x".repeat(200));
    assert_eq!(refused(endless.as_bytes()).await, ProxyHeaderError::Malformed("its line does not end"));
}

#[tokio::test]
async fn a_binary_header_tells_the_source() {
    assert_eq!(source_of(&binary(0x21, 0x11, IPV4)).await.unwrap(), "192.0.2.1:12345");
    let ipv6 = [&b"\x20\x01\x0D\xB8\0\0\0\0\0\0\0\0\0\0\0\x01"[..], &[0; 16], &[0x30, 0x39, 0, 1]].concat();
    assert_eq!(source_of(&binary(0x21, 0x21, &ipv6)).await.unwrap(), "[2001:db8::1]:12345");
    let mut unix = [0; 216];
    unix[..9].copy_from_slice(b"/run/sock");
    assert_eq!(source_of(&binary(0x21, 0x31, &unix)).await.unwrap(), "/run/sock");
    assert_eq!(source_of(&binary(0x21, 0x00, b"whatever")).await, None, "unspecified");
    // A health check; its addresses and what else it says are disregarded, however wrong.
    for (family, body) in [(0x00, &b""[..]), (0x11, IPV4), (0x11, b"short"), (0xFF, b"x")] {
        assert_eq!(source_of(&binary(0x20, family, body)).await, None);
    }
}

#[tokio::test]
async fn extensions_are_passed_over_and_their_lengths_checked() {
    // ALPN, authority, a checksum, TLS with nested values, an empty one.
    let extras: &[&[u8]] = &[
        b"\x01\x00\x04mqtt",
        b"\x02\x00\x0bbroker.test",
        b"\x03\x00\x04\0\0\0\0",
        b"\x20\x00\x0F\x07\0\0\0\0\x21\x00\x07TLSv1.3",
        b"\x04\x00\x00",
    ];
    let all = [IPV4, &extras.concat()].concat();
    assert_eq!(source_of(&binary(0x21, 0x11, &all)).await.unwrap(), "192.0.2.1:12345");
    for cut in [1, 2, 3, 4, 6] {
        let error = refused(&binary(0x21, 0x11, &[IPV4, &extras[0][..cut]].concat())).await;
        assert_eq!(error, ProxyHeaderError::Malformed("its extensions do not end where it ends"));
    }
    let beyond = [IPV4, b"\x01\xFF\xFFmqtt"].concat();
    assert!(matches!(refused(&binary(0x21, 0x11, &beyond)).await, ProxyHeaderError::Malformed(_)));
}

#[tokio::test]
async fn a_binary_header_that_is_wrong_is_refused() {
    for (command, family, body) in [
        (0x22, 0x11, IPV4),
        (0x11, 0x11, IPV4),
        (0x01, 0x11, IPV4),
        (0x21, 0x12, IPV4),
        (0x21, 0x10, IPV4),
        (0x21, 0x41, IPV4),
        (0x21, 0x11, &IPV4[..11]),
        (0x21, 0x21, IPV4),
        (0x21, 0x31, IPV4),
    ] {
        let error = refused(&binary(command, family, body)).await;
        assert!(matches!(error, ProxyHeaderError::Malformed(_)), "{command:#x} {family:#x}: {error}");
    }
    let error = refused(&binary(0x21, 0x00, &[0; LONGEST + 1])).await;
    assert_eq!(error, ProxyHeaderError::TooLong(LONGEST + 1));
}

#[tokio::test]
async fn what_is_no_header_is_missing_and_what_is_cut_off_is_an_end() {
    for first in
        [&b"\x10\x10\x00\x04MQTT\x05\x02\x00\x3C"[..], b"\x16\x03\x01\x02\x00\x01\x00\x01\xFC\x03\x03\x00"]
    {
        assert_eq!(refused(first).await, ProxyHeaderError::Missing);
    }
    let whole = binary(0x21, 0x11, IPV4);
    for header in [&b"PROXY TCP4 192.0.2.1 10.0.0.1 1 1\r\n"[..], &whole] {
        for cut in 0..header.len() {
            let Err(HandshakeError::Io(error)) = parsed(&header[..cut]).await.0 else { panic!("{cut}") };
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        }
    }
}

proptest! {
    #[test]
    fn whatever_comes_is_answered_within_bounds(
        begins in prop_oneof![Just(TEXT.to_vec()), Just(SIGNATURE.to_vec()), Just(Vec::new())],
        bytes in proptest::collection::vec(any::<u8>(), 0..6000),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let bytes = [begins, bytes].concat();
        let (_, rest) = runtime.block_on(parsed(&bytes));
        prop_assert!(bytes.len() - rest.len() <= 16 + LONGEST);
    }
}
