//! Signature Version 4 of AWS, in the query of a URL.
//!
//! AWS IoT wants it for WebSocket, with one quirk: the token of temporary keys is appended after signing, where other
//! services sign it along. Relates to: [`Endpoint::presigned_url`](super::Endpoint::presigned_url). Leaves out:
//! requests with a body or more headers than the host.

use std::fmt;
use std::time::SystemTime;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::PATH;
use super::encoding::{PERCENT_ENCODED, hex, push_percent_encoded, timestamp};

/// Keys of AWS, those of a user or temporary ones of a role. `Debug` shows the id only.
#[derive(Clone)]
pub struct AwsCredentials {
    access_key_id: String,
    secret_access_key: Zeroizing<String>,
    session_token: Option<Zeroizing<String>>,
}

impl AwsCredentials {
    /// An access key: its id and its secret.
    pub fn new(access_key_id: impl Into<String>, secret_access_key: impl Into<String>) -> Self {
        let secret_access_key = Zeroizing::new(secret_access_key.into());
        Self { access_key_id: access_key_id.into(), secret_access_key, session_token: None }
    }

    /// The token that comes with temporary keys. Default: none.
    #[must_use]
    pub fn session_token(mut self, token: impl Into<String>) -> Self {
        self.session_token = Some(Zeroizing::new(token.into()));
        self
    }
}

impl fmt::Debug for AwsCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwsCredentials").field("access_key_id", &self.access_key_id).finish_non_exhaustive()
    }
}

/// The path with the query with which AWS IoT lets a WebSocket in.
pub(super) fn device_gateway_path(
    credentials: &AwsCredentials,
    host: &str,
    region: &str,
    at: SystemTime,
) -> Zeroizing<String> {
    let request =
        Request { host, path: PATH, region, service: "iotdevicegateway", expires: None, payload: NO_PAYLOAD };
    let query = Zeroizing::new(request.signed_query(credentials, at));
    let token = credentials.session_token.as_ref().map_or("", |token| token.as_str());
    // Of its final size at once, so that no copy is left behind.
    let room = PATH.len() + 1 + query.len() + TOKEN.len() + PERCENT_ENCODED * token.len();
    let mut path = Zeroizing::new(String::with_capacity(room));
    for part in [PATH, "?", &query] {
        path.push_str(part);
    }
    if !token.is_empty() {
        path.push_str(TOKEN);
        push_percent_encoded(&mut path, token);
    }
    path
}

/// What is signed: a GET request.
struct Request<'a> {
    host: &'a str,
    path: &'a str,
    region: &'a str,
    service: &'a str,
    /// Seconds; `None` leaves it to the service.
    expires: Option<u32>,
    /// The hash of the body, or what stands for it.
    payload: &'a str,
}

impl Request<'_> {
    fn signed_query(&self, credentials: &AwsCredentials, at: SystemTime) -> String {
        let at = timestamp(at);
        let (date, _) = at.split_at(8);
        let scope = format!("{date}/{}/{}/aws4_request", self.region, self.service);
        let query = self.query(&credentials.access_key_id, &scope, &at);
        let Self { host, path, payload, .. } = self;
        let canonical = format!("GET\n{path}\n{query}\nhost:{host}\n\nhost\n{payload}");
        let to_sign = format!("{ALGORITHM}\n{at}\n{scope}\n{}", hex(&Sha256::digest(canonical)));
        let key = self.signing_key(&credentials.secret_access_key, date);
        format!("{query}&X-Amz-Signature={}", hex(&hmac(&*key, &to_sign)))
    }

    /// Its parameters in the order of their names.
    fn query(&self, access_key_id: &str, scope: &str, at: &str) -> String {
        let mut credential = String::new();
        push_percent_encoded(&mut credential, &format!("{access_key_id}/{scope}"));
        let expires = self.expires.map_or_else(String::new, |seconds| format!("&X-Amz-Expires={seconds}"));
        format!(
            "X-Amz-Algorithm={ALGORITHM}&X-Amz-Credential={credential}&X-Amz-Date={at}{expires}&X-Amz-SignedHeaders=host"
        )
    }

    fn signing_key(&self, secret: &str, date: &str) -> Zeroizing<[u8; 32]> {
        let secret = Zeroizing::new(format!("AWS4{secret}"));
        let mut key = Zeroizing::new(hmac(secret.as_bytes(), date));
        for part in [self.region, self.service, "aws4_request"] {
            *key = hmac(&*key, part);
        }
        key
    }
}

fn hmac(key: &[u8], text: &str) -> [u8; 32] {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().into()
}

const TOKEN: &str = "&X-Amz-Security-Token=";
const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// The hash of nothing.
const NO_PAYLOAD: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    /// The example of a presigned URL in the documentation of Amazon S3.
    #[test]
    fn a_url_is_signed_as_amazon_signs_it() {
        let credentials =
            AwsCredentials::new("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY");
        let request = Request {
            host: "examplebucket.s3.amazonaws.com",
            path: "/test.txt",
            region: "us-east-1",
            service: "s3",
            expires: Some(86_400),
            payload: "UNSIGNED-PAYLOAD",
        };
        let query = request.signed_query(&credentials, UNIX_EPOCH + Duration::from_secs(1_369_353_600));
        assert_eq!(
            query,
            "X-Amz-Algorithm=AWS4-HMAC-SHA256\
             &X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request\
             &X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host\
             &X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
        );
    }

    /// The example of a signing key in the documentation of AWS.
    #[test]
    fn a_signing_key_is_derived_as_amazon_derives_it() {
        let request =
            Request { host: "", path: "", region: "us-east-1", service: "iam", expires: None, payload: "" };
        let key = request.signing_key("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "20150830");
        assert_eq!(hex(&*key), "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9");
    }

    #[test]
    fn the_hash_of_nothing_is_right() {
        assert_eq!(hex(&Sha256::digest("")), NO_PAYLOAD);
    }
}
