//! HTTP CONNECT (RFC 9110, section 9.3.6), with Basic credentials (RFC 7617).
//!
//! Relates to: [`Proxy`](super::Proxy). Leaves out: Digest, NTLM and other schemes of authentication.

use std::fmt::Write;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use zeroize::Zeroizing;

use super::{ProxyFailure, Target, failed, read_exact};
use crate::address::Credentials;
use crate::basic::basic;

/// Asks for a connection to `target`; afterwards `io` leads there, and not a byte of what comes from there was taken.
pub(super) async fn tunnel(
    io: &mut (impl AsyncRead + AsyncWrite + Unpin),
    target: &Target<'_>,
    credentials: Option<&Credentials>,
) -> Result<(), ProxyFailure> {
    let request = request(target, credentials)?;
    io.write_all(request.as_bytes()).await.map_err(failed)?;
    io.flush().await.map_err(failed)?;
    let mut most = LONGEST_ANSWER;
    loop {
        let head = read_head(io, &mut most).await?;
        let (status, reason) = status_of(&head).ok_or_else(|| not_http(&head))?;
        match status {
            // More is to come.
            100..=199 => {}
            200..=299 => return Ok(()),
            407 => return Err(unauthenticated(&head, credentials.is_some())),
            _ => return Err(ProxyFailure::Http { status, reason }),
        }
    }
}

fn request(
    target: &Target<'_>,
    credentials: Option<&Credentials>,
) -> Result<Zeroizing<String>, ProxyFailure> {
    let basic = match credentials {
        None => None,
        Some(credentials) => {
            let basic = basic(credentials.user_name(), credentials.password().unwrap_or_default());
            let why = "HTTP ends the user name at the first colon";
            Some(basic.ok_or(ProxyFailure::CredentialsUnfit { why })?)
        }
    };
    let secret = basic.as_ref().map_or(0, |basic| basic.len());
    // Of its final size at once, so that no copy is left behind.
    let mut request = Zeroizing::new(String::with_capacity(ROOM + 2 * target.host.len() + secret));
    // Writing into a string never fails.
    let _ = write!(request, "CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
    if let Some(basic) = &basic {
        request.push_str("Proxy-Authorization: ");
        request.push_str(basic);
        request.push_str("\r\n");
    }
    request.push_str("\r\n");
    Ok(request)
}

/// Reads until the empty line and not beyond it: as many bytes at a time as are missing at least.
async fn read_head(io: &mut (impl AsyncRead + Unpin), most: &mut usize) -> Result<Vec<u8>, ProxyFailure> {
    let mut head = Vec::new();
    loop {
        let seen = (1..=END.len()).rev().find(|&seen| head.ends_with(&END[..seen])).unwrap_or(0);
        let missing = END.len() - seen;
        if missing == 0 {
            return Ok(head);
        }
        *most = most.checked_sub(missing).ok_or(ProxyFailure::Violated("its answer does not end"))?;
        let mut next = [0; END.len()];
        read_exact(io, &mut next[..missing]).await?;
        head.extend_from_slice(&next[..missing]);
        // Who does not begin as HTTP does may never come to an end.
        if !head.starts_with(&HTTP[..HTTP.len().min(head.len())]) {
            return Err(not_http(&head));
        }
    }
}

/// Status and reason phrase of `HTTP/1.1 200 Connection established`.
fn status_of(head: &[u8]) -> Option<(u16, String)> {
    let line = head.split(|&byte| byte == b'\r').next()?;
    let line = line.strip_prefix(HTTP)?;
    let (_, rest) = line.split_at_checked(line.iter().position(|&byte| byte == b' ')? + 1)?;
    let (status, reason) = rest.split_at_checked(3)?;
    if !status.iter().all(u8::is_ascii_digit) || !matches!(reason.first(), None | Some(b' ')) {
        return None;
    }
    let status = std::str::from_utf8(status).ok()?.parse().ok()?;
    Some((status, shortened(String::from_utf8_lossy(reason).trim())))
}

/// What may be shown of a text that a stranger sent.
fn shortened(text: &str) -> String {
    text.chars().filter(|shown| !shown.is_control()).take(LONGEST_REASON).collect()
}

/// What 407 means: which schemes the proxy knows stands in its header.
fn unauthenticated(head: &[u8], had_credentials: bool) -> ProxyFailure {
    let head = String::from_utf8_lossy(head);
    let offered: Vec<&str> = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .filter(|(name, _)| name.eq_ignore_ascii_case("proxy-authenticate"))
        .filter_map(|(_, value)| value.split_whitespace().next())
        .collect();
    let basic = offered.is_empty() || offered.iter().any(|scheme| scheme.eq_ignore_ascii_case("basic"));
    match (basic, had_credentials) {
        (false, _) => ProxyFailure::AuthenticationUnsupported { offered: shortened(&offered.join(", ")) },
        (true, true) => ProxyFailure::CredentialsRefused,
        (true, false) => ProxyFailure::CredentialsMissing,
    }
}

fn not_http(head: &[u8]) -> ProxyFailure {
    let sent = head[..head.len().min(LONGEST_REASON)].escape_ascii().to_string();
    ProxyFailure::NotAProxy { expected: "HTTP", sent }
}

const HTTP: &[u8] = b"HTTP/1.";
const END: &[u8; 4] = b"\r\n\r\n";
/// Of the answer, interim ones included. Proxies send some hundred bytes.
const LONGEST_ANSWER: usize = 16 << 10;
/// As many characters of what a proxy says are shown.
const LONGEST_REASON: usize = 80;
/// For everything in a request that is always there.
const ROOM: usize = 128;

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    const TARGET: Target<'_> = Target { host: "broker.example", port: 1883 };

    /// The request that the proxy got, and what came after its answer.
    async fn played(
        target: Target<'_>,
        credentials: Option<(&str, &str)>,
        answer: &[u8],
    ) -> Result<(String, Vec<u8>), ProxyFailure> {
        let (mut ours, mut theirs) = tokio::io::duplex(LONGEST_ANSWER * 2);
        let credentials =
            credentials.map(|(user_name, password)| Credentials::new(user_name, Some(password.to_owned())));
        theirs.write_all(answer).await.unwrap();
        theirs.shutdown().await.unwrap();
        tunnel(&mut ours, &target, credentials.as_ref()).await?;
        let mut rest = Vec::new();
        ours.read_to_end(&mut rest).await.unwrap();
        drop(ours);
        let mut request = String::new();
        theirs.read_to_string(&mut request).await.unwrap();
        Ok((request, rest))
    }

    async fn failure(credentials: Option<(&str, &str)>, answer: &str) -> ProxyFailure {
        played(TARGET, credentials, answer.as_bytes()).await.unwrap_err()
    }

    #[tokio::test]
    async fn the_request_names_the_server_and_nothing_behind_the_answer_is_taken() {
        for answer in ["HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.0 200\r\nVia: x\r\n\r\n", "HTTP/1.1 204 \r\n\r\n"] {
            let answer = [answer.as_bytes(), b"\r\nbehind"].concat();
            let (request, rest) = played(TARGET, None, &answer).await.unwrap();
            assert_eq!(request, "CONNECT broker.example:1883 HTTP/1.1\r\nHost: broker.example:1883\r\n\r\n");
            assert_eq!(rest, b"\r\nbehind");
        }
        let (request, _) =
            played(Target { host: "::1", port: 8883 }, None, b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        assert!(request.starts_with("CONNECT [::1]:8883 HTTP/1.1\r\nHost: [::1]:8883\r\n"), "{request}");
    }

    #[tokio::test]
    async fn interim_answers_are_not_the_answer() {
        let answer = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\nbehind";
        assert_eq!(played(TARGET, None, answer).await.unwrap().1, b"behind");
    }

    #[tokio::test]
    async fn credentials_are_told() {
        let answer = b"HTTP/1.1 200 OK\r\n\r\n";
        let (request, _) = played(TARGET, Some(("a", "b")), answer).await.unwrap();
        assert!(request.ends_with("\r\nProxy-Authorization: Basic YTpi\r\n\r\n"), "{request}");
        let error = failure(Some(("a:b", "c")), "HTTP/1.1 200 OK\r\n\r\n").await;
        assert!(matches!(error, ProxyFailure::CredentialsUnfit { .. }), "{error}");
    }

    #[tokio::test]
    async fn a_proxy_that_wants_to_know_who_we_are_says_how() {
        let wanted =
            "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"x\"\r\n\r\n";
        let error = failure(None, wanted).await;
        assert!(matches!(error, ProxyFailure::CredentialsMissing), "{error}");
        let error = failure(Some(("a", "b")), wanted).await;
        assert!(matches!(error, ProxyFailure::CredentialsRefused), "{error}");
        let negotiate =
            "HTTP/1.1 407 No\r\nproxy-authenticate: Negotiate\r\nProxy-Authenticate: NTLM\r\n\r\n";
        assert_eq!(
            failure(Some(("a", "b")), negotiate).await.to_string(),
            "the proxy wants an authentication that we do not have: Negotiate, NTLM"
        );
    }

    #[tokio::test]
    async fn every_other_status_is_told() {
        for (answer, told) in [
            ("HTTP/1.1 403 Forbidden\r\n\r\n", "the proxy says: 403 Forbidden"),
            ("HTTP/1.1 503 Service\x1b Unavailable\r\n\r\n", "the proxy says: 503 Service Unavailable"),
            ("HTTP/1.1 302\r\nLocation: x\r\n\r\n", "the proxy says: 302 "),
        ] {
            assert_eq!(failure(None, answer).await.to_string(), told);
        }
    }

    #[tokio::test]
    async fn what_is_no_proxy_is_said_so_and_an_answer_has_an_end() {
        for answer in ["SSH-2.0-x\r\n", "HTTP/2 200\r\n\r\n", "HTTP/1.1 2xx\r\n\r\n", "HTTP/1.1 2000\r\n\r\n"]
        {
            let error = failure(None, answer).await;
            assert!(matches!(error, ProxyFailure::NotAProxy { .. }), "{answer}: {error}");
        }
        for answer in ["", "HTTP/1.1 200 OK\r\n"] {
            let error = failure(None, answer).await;
            assert!(matches!(error, ProxyFailure::Closed), "{answer}: {error}");
        }
        let endless = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(LONGEST_ANSWER));
        let error = failure(None, &endless).await;
        assert!(matches!(error, ProxyFailure::Violated(_)), "{error}");
    }
}
