//! The client's part of SOCKS5 (RFC 1928), with user name and password (RFC 1929).
//!
//! Relates to: [`Proxy`](super::Proxy). Leaves out: BIND, UDP and GSSAPI.

use std::net::IpAddr;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use zeroize::Zeroizing;

use super::{ProxyFailure, SocksRefusal, Target, failed, read_exact};
use crate::address::Credentials;

/// Asks for a connection to `target`; afterwards `io` leads there, and not a byte of what comes from there was taken.
pub(super) async fn tunnel(
    io: &mut (impl AsyncRead + AsyncWrite + Unpin),
    target: &Target<'_>,
    credentials: Option<&Credentials>,
) -> Result<(), ProxyFailure> {
    // Before anything is sent.
    let login = credentials.map(login).transpose()?;
    greet(io, login.as_deref().map(Vec::as_slice)).await?;
    send(io, &request(target)).await?;
    let mut reply = [0; 4];
    read_exact(io, &mut reply).await?;
    let [VERSION, code, _, kind] = reply else { return Err(not_socks(&reply)) };
    if code != SUCCEEDED {
        return Err(ProxyFailure::Socks(SocksRefusal::new(code)));
    }
    // The address from which the proxy connects; of no use to us.
    let length = match kind {
        IPV4 => 4,
        IPV6 => 16,
        NAME => {
            let mut length = [0];
            read_exact(io, &mut length).await?;
            usize::from(length[0])
        }
        _ => return Err(ProxyFailure::Violated("its answer has an address of a kind that does not exist")),
    };
    let mut address = [0; 255 + 2];
    read_exact(io, &mut address[..length + 2]).await
}

/// Agrees on how we say who we are, and says it.
async fn greet(
    io: &mut (impl AsyncRead + AsyncWrite + Unpin),
    login: Option<&[u8]>,
) -> Result<(), ProxyFailure> {
    let greeting: &[u8] = match login {
        None => &[VERSION, 1, NO_LOGIN],
        Some(_) => &[VERSION, 2, NO_LOGIN, LOGIN],
    };
    send(io, greeting).await?;
    let mut answer = [0; 2];
    read_exact(io, &mut answer).await?;
    match (answer, login) {
        ([VERSION, NO_LOGIN], _) => Ok(()),
        ([VERSION, LOGIN], Some(login)) => {
            send(io, login).await?;
            read_exact(io, &mut answer).await?;
            // The first byte is a version, about which implementations do not agree.
            if answer[1] == SUCCEEDED { Ok(()) } else { Err(ProxyFailure::CredentialsRefused) }
        }
        ([VERSION, NONE_ACCEPTABLE], None) => Err(ProxyFailure::CredentialsMissing),
        ([VERSION, NONE_ACCEPTABLE], Some(_)) => Err(ProxyFailure::AuthenticationUnsupported {
            offered: "neither none nor a user name and password will do".to_owned(),
        }),
        ([VERSION, _], _) => Err(ProxyFailure::Violated("it chose an authentication that was not offered")),
        _ => Err(not_socks(&answer)),
    }
}

async fn send(io: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> Result<(), ProxyFailure> {
    io.write_all(bytes).await.map_err(failed)?;
    io.flush().await.map_err(failed)
}

fn login(credentials: &Credentials) -> Result<Zeroizing<Vec<u8>>, ProxyFailure> {
    let (user_name, password) = (credentials.user_name(), credentials.password().unwrap_or_default());
    let mut login = Zeroizing::new(Vec::with_capacity(3 + user_name.len() + password.len()));
    login.push(LOGIN_VERSION);
    for text in [user_name, password] {
        let length = u8::try_from(text.len()).map_err(|_| ProxyFailure::CredentialsUnfit {
            why: "SOCKS5 has room for 255 bytes of user name and as many of password",
        })?;
        login.push(length);
        login.extend_from_slice(text.as_bytes());
    }
    Ok(login)
}

fn request(target: &Target<'_>) -> Vec<u8> {
    let mut request = vec![VERSION, CONNECT, 0];
    match target.host.parse() {
        Ok(IpAddr::V4(ip)) => {
            request.push(IPV4);
            request.extend(ip.octets());
        }
        Ok(IpAddr::V6(ip)) => {
            request.push(IPV6);
            request.extend(ip.octets());
        }
        Err(_) => {
            // A target is no longer than that.
            request.extend([NAME, target.host.len() as u8]);
            request.extend_from_slice(target.host.as_bytes());
        }
    }
    request.extend(target.port.to_be_bytes());
    request
}

fn not_socks(sent: &[u8]) -> ProxyFailure {
    ProxyFailure::NotAProxy { expected: "SOCKS5", sent: sent.escape_ascii().to_string() }
}

const VERSION: u8 = 5;
const CONNECT: u8 = 1;
const SUCCEEDED: u8 = 0;
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;
const NO_LOGIN: u8 = 0;
const LOGIN: u8 = 2;
const NONE_ACCEPTABLE: u8 = 0xFF;
const LOGIN_VERSION: u8 = 1;

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    const TARGET: Target<'_> = Target { host: "broker.example", port: 1883 };

    /// What a proxy gets, one part after the other, and what it answers to each.
    type Script<'a> = &'a [(&'a [u8], &'a [u8])];

    async fn played(
        target: Target<'_>,
        credentials: Option<Credentials>,
        script: Script<'_>,
    ) -> Result<Vec<u8>, ProxyFailure> {
        let (mut ours, mut theirs) = tokio::io::duplex(1024);
        let proxy = async move {
            for (expected, answer) in script {
                let mut got = vec![0; expected.len()];
                theirs.read_exact(&mut got).await.unwrap();
                assert_eq!(got, *expected);
                theirs.write_all(answer).await.unwrap();
            }
        };
        let client = async move {
            tunnel(&mut ours, &target, credentials.as_ref()).await?;
            let mut rest = Vec::new();
            ours.read_to_end(&mut rest).await.unwrap();
            Ok(rest)
        };
        tokio::join!(client, proxy).0
    }

    fn ada(password: &str) -> Option<Credentials> {
        Some(Credentials::new("ada", Some(password.to_owned())))
    }

    const GREETING: (&[u8], &[u8]) = (&[5, 1, 0], &[5, 0]);

    #[tokio::test]
    async fn a_name_is_resolved_by_the_proxy_and_nothing_behind_its_answer_is_taken() {
        let request = b"\x05\x01\x00\x03\x0ebroker.example\x07\x5b";
        for address in [&b"\x01\x0a\0\0\x01"[..], b"\x03\x02ab", b"\x04abcdefghijklmnop"] {
            let answer = [b"\x05\0\0", address, b"\x12\x34behind"].concat();
            let rest = played(TARGET, None, &[GREETING, (request, &answer)]).await.unwrap();
            assert_eq!(rest, b"behind");
        }
    }

    #[tokio::test]
    async fn ip_addresses_are_sent_as_such() {
        let answer = b"\x05\0\0\x01\0\0\0\0\0\0";
        for (host, request) in [
            ("10.0.0.1", &b"\x05\x01\0\x01\x0a\0\0\x01\x07\x5b"[..]),
            ("::1", b"\x05\x01\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x07\x5b"),
        ] {
            let target = Target { host, port: 1883 };
            played(target, None, &[GREETING, (request, answer)]).await.unwrap();
        }
    }

    #[tokio::test]
    async fn credentials_are_told_if_the_proxy_wants_them() {
        let target = Target { host: "10.0.0.1", port: 1 };
        let request = (&b"\x05\x01\0\x01\x0a\0\0\x01\0\x01"[..], &b"\x05\0\0\x01\0\0\0\0\0\0"[..]);
        let wanted = [(&[5, 2, 0, 2][..], &[5, 2][..]), (b"\x01\x03ada\x06secret", &[1, 0]), request];
        played(target, ada("secret"), &wanted).await.unwrap();
        let not_wanted = [(&[5, 2, 0, 2][..], &[5, 0][..]), request];
        played(target, ada("secret"), &not_wanted).await.unwrap();
    }

    #[tokio::test]
    async fn credentials_that_are_wrong_missing_or_too_long_are_told_apart() {
        let refused = [(&[5, 2, 0, 2][..], &[5, 2][..]), (b"\x01\x03ada\x05wrong", &[1, 1])];
        let error = played(TARGET, ada("wrong"), &refused).await.unwrap_err();
        assert!(matches!(error, ProxyFailure::CredentialsRefused), "{error}");
        let error = played(TARGET, None, &[(&[5, 1, 0], &[5, 0xFF])]).await.unwrap_err();
        assert!(matches!(error, ProxyFailure::CredentialsMissing), "{error}");
        let error = played(TARGET, ada("x"), &[(&[5, 2, 0, 2], &[5, 0xFF])]).await.unwrap_err();
        assert!(matches!(error, ProxyFailure::AuthenticationUnsupported { .. }), "{error}");
        let error = played(TARGET, ada(&"x".repeat(256)), &[]).await.unwrap_err();
        assert!(matches!(error, ProxyFailure::CredentialsUnfit { .. }), "{error}");
        let error = played(TARGET, None, &[(&[5, 1, 0], &[5, 2])]).await.unwrap_err();
        assert!(matches!(error, ProxyFailure::Violated(_)), "nothing was offered: {error}");
    }

    #[tokio::test]
    async fn each_refusal_has_its_words() {
        let request = b"\x05\x01\x00\x03\x0ebroker.example\x07\x5b";
        for (code, words) in [
            (1, "general failure"),
            (2, "rules do not allow"),
            (3, "network of the server"),
            (4, "name is not known"),
            (5, "the server refused"),
            (6, "too far away"),
            (7, "makes no connections"),
            (8, "kind of address"),
            (9, "code 9"),
        ] {
            // Some proxies leave the address out then.
            let error = played(TARGET, None, &[GREETING, (request, &[5, code, 0, 1])]).await.unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
        }
    }

    #[tokio::test]
    async fn what_is_no_proxy_is_said_so() {
        let error = played(TARGET, None, &[(&[5, 1, 0], b"HTTP/1.1 400")]).await.unwrap_err();
        assert_eq!(error.to_string(), "what answers is no SOCKS5 proxy: it sent \"HT\"");
        let error = played(TARGET, None, &[(&[5, 1, 0], &[5])]).await.unwrap_err();
        assert!(matches!(error, ProxyFailure::Closed), "{error}");
        let request = b"\x05\x01\x00\x03\x0ebroker.example\x07\x5b";
        let error = played(TARGET, None, &[GREETING, (request, &[5, 0, 0, 9])]).await.unwrap_err();
        assert!(matches!(error, ProxyFailure::Violated(_)), "{error}");
    }
}
